/*
 * bench.h - what the figures of `make bench` share.
 *
 * Owns: five servers for the length of the run, the lines that are printed, the
 * processes that use the library. Must never: use the library in the process that
 * measures (it forks, and a fork may not use what was opened before it), leave a
 * process or a server behind, or compare with a number of another run.
 *
 * A figure returns 0, or -1 after a sentence on standard error when it could not be
 * measured; that a bar is missed is a result, no failure.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dlock.h"
#include "tests/harness/servers.h"

struct bench {
	struct servers *servers;
	struct dlock_options *options; /* for the processes that use the library */
	double seconds;                /* how long each number of contenders runs */
};

int figure_handover(struct bench *bench);
int figure_contenders(struct bench *bench);
int figure_faults(struct bench *bench);
int figure_mount(struct bench *bench);
int figure_command(struct bench *bench);
int figure_scale(struct bench *bench); /* on demand only */

/* ---- results ---- */

enum bar {
	BAR_NONE,        /* told for people, held to nothing */
	BAR_RATIO_MOST,  /* ours / floor is at most that */
	BAR_RATIO_LEAST, /* ours / floor is at least that */
	BAR_ADDS_MOST,   /* ours - floor is at most that, in the figure's unit */
};

/* Prints one line and keeps it for JSON. The texts are copied. */
void result(const char *figure, const char *unit, double ours, double floor, enum bar bar, double limit);

/* One figure of several repetitions, in which what is compared takes turns: A B A B ... */
#define REPEATS_MAX 32

struct repeats {
	int count;
	double values[REPEATS_MAX];
};

void repeats_add(struct repeats *repeats, double value); /* what is too many is dropped */
double repeats_median(const struct repeats *repeats);    /* 0 when there are none */

/* The same for the medians of repetitions, with their spread; the bar holds for the median of the ratios, each of
 * them of one repetition. */
void result_repeated(const char *figure, const char *unit, const struct repeats *ours, const struct repeats *floor,
                     enum bar bar, double limit);
/* What a peer can't do, and what happened when it tried. */
void result_cannot(const char *figure, const char *what_happened);
/* A point of a growth curve: `series` is a line of it. */
void result_point(const char *curve, const char *series, double x, const char *unit, double y);
/* All of them, to a file: 0 or -1 after a sentence. */
int results_write_json(const char *path);
void results_head(void); /* the head of the table */

/* ---- samples ---- */

#define SAMPLES_MAX 20000

struct samples {
	int count;
	int64_t ns[SAMPLES_MAX];
};

void samples_add(struct samples *samples, int64_t ns); /* what is too many is dropped */
double samples_us(struct samples *samples, double part); /* part 0.5: the median; sorts; 0 when there are none */

/* ---- time ---- */

int64_t now_ns(void); /* CLOCK_MONOTONIC, the same for all processes */
void sleep_us(int us);

/* ---- servers ---- */

/* Scripts run until now: on one master, on all together. */
int64_t scripts_run_at(struct servers *servers, int i);
int64_t scripts_run(struct servers *servers);

/* ---- processes ---- */

/* Memory that forked processes share, all zero; NULL after a sentence. */
void *crew_memory(size_t size);
/* A process that runs `work`, whose result is its status, and dies with this one; -1 after a sentence. */
pid_t crew_start(int (*work)(void *arg), void *arg);
/* Kills those of `count` that still run, and forgets them. */
void crew_kill(pid_t *pids, int count);
/* Waits until all have ended by themselves with 0: 0, else -1 after a sentence, and none is left. */
int crew_end(pid_t *pids, int count, int limit_ms);
/* In such a process: a descriptor for NAME whose connections are up; -1 after a sentence. */
int crew_open(const struct bench *bench, const char *name);

/* ---- programs of the build tree: programs.c ---- */

/* The program itself, not libtool's wrapper: 0, or -1 if it is not built. */
int program_find(const char *folder, const char *name, char *path, size_t size);
/* One in which they find the library and the masters; NULL after a sentence. */
char **program_environment(const struct bench *bench);
void program_environment_free(char **environment); /* NULL is fine */
/* Runs argv[0], which writes to the file `log` and dies with this process; -1 after a sentence. */
pid_t program_start(const char *const *argv, char *const *environment, const char *log);

/* ---- the plain floor: floor.c ---- */

struct floor;

struct floor *floor_open(struct servers *servers);
void floor_close(struct floor *floor); /* NULL is fine */
/* `rounds` times a rest, then lock and unlock, which are a sample: 0 or -1 after a sentence. */
int floor_run(struct floor *floor, int rounds, int rest_us, struct samples *samples);

/* ---- two processes that hand one lock to each other: pair.c ---- */

enum phase { PHASE_PAUSE, PHASE_FIRST, PHASE_SECOND, PHASES, PHASE_END };

#define PAIR_HOLD_US 2000 /* from when the other asks */

struct pair;

struct pair *pair_start(struct bench *bench, const char *name);
/* Until there are `more` hand-overs more among the samples of the phase: 0 or -1 after a sentence. */
int pair_run(struct pair *pair, enum phase phase, int more);
struct samples *pair_samples(struct pair *pair, enum phase phase);
int pair_end(struct pair *pair); /* NULL is fine */

#endif
