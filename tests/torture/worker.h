/*
 * worker.h - what the clients of the torture share: time, chance, history, register.
 *
 * A worker is one program with several ways to lock (see worker.c). It is compiled by
 * torture.py against the installed library, and uses nothing but <dlock.h>.
 */
#ifndef TORTURE_WORKER_H
#define TORTURE_WORKER_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define NAMES_MAX 64

/* One line of the history; see history.c. Zero is `-` for token, return, deadline and patience. */
struct event {
	int fd;
	const char *operation, *mode, *name;
	int error; /* 0: ok */
	uint64_t token;
	int64_t call_ns, return_ns, deadline_ns;
	const char *patience; /* of a lock call: nb, milliseconds, or NULL for as long as it takes */
	int64_t value;        /* of a register */
	bool has_value;
};

/* Set by SIGTERM: give everything back and end. */
extern volatile sig_atomic_t stopping;

/* CLOCK_BOOTTIME, as all times here. */
int64_t now_ns(void);
void sleep_us(int64_t us);

/* A number from 0 to below `limit`; one state a thread. */
uint64_t chance(uint64_t *state, uint64_t limit);

/* Names that begin with l are held for long: up to LONG_US. */
#define LONG_US 3000000
bool is_long(const char *name);

/* Opens HISTORY/PROC.log, to which tell() adds; ends the process when it cannot. */
void history_open(const char *proc);
const char *history_proc(void);
void tell(const struct event *event);
/* This process was to run, and stood still meanwhile. */
void tell_late(int64_t from_ns, int64_t to_ns);

/*
 * The register of `name`: what the lock protects. Both are refused (false) when it has
 * seen a higher token, else they are remembered and told in one step.
 */
bool register_read(const struct event *holder, int64_t *ret_value);
bool register_write(const struct event *holder, int64_t value);

/* The ways to lock. Each returns the exit status. */
int run_locks(uint64_t seed, int threads, char **names);
int run_crowd(uint64_t seed, int threads, char **names);
int run_under(const char *mode, uint64_t hold_us, int64_t call_ns, const char *patience);
int run_mkdir(uint64_t seed, const char *folder, char **names);
int run_flock(uint64_t seed, const char *folder, char **names);

#endif /* TORTURE_WORKER_H */
