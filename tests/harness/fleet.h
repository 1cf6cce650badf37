/*
 * fleet.h - masters, settings for them, and further programs and threads, for tests of the library.
 *
 * Owns: the servers of one test, the options object with which it opens locks, and
 * peers: forked programs that use the library on the test's behalf, so that they can
 * be killed and stopped. Must never: assert (the test does), sleep for luck, or leave
 * a peer behind (the kernel kills them when the thread that started them ends).
 */
#ifndef TESTS_HARNESS_FLEET_H
#define TESTS_HARNESS_FLEET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "dlock.h"
#include "tests/harness/servers.h"

#define FLEET_MAX 8 /* masters of one list */

/* Leases are short, and the longest of them is little above the least that is accepted. */
#define FLEET_SETTINGS "ttl=1000 max_ttl=4500 node_timeout=300 quorum_timeout=1000"
#define FLEET_TTL_MS 1000
#define FLEET_MAX_TTL_MS 4500

struct fleet {
	struct servers *servers;
	struct dlock_options *options;
};

struct fleet_setup {
	struct servers_options servers;
	const char *settings; /* "key=value …", after FLEET_SETTINGS; NULL: none */
	bool virgin;          /* not declared new: the masters wait in quarantine */
};

/* 0, or -1 after a sentence on standard error. `setup` may be NULL. */
int fleet_start(struct fleet *fleet, const struct fleet_setup *setup);
void fleet_end(struct fleet *fleet);

/* The same for `count` masters behind a liar each, whose addresses are the ones that are locked by. */
struct liar;
int fleet_start_behind(struct fleet *fleet, struct liar **ret_liars, int count, const char *settings);

/* New options: the fleet's usual ones, then `settings`; for `list`, or the fleet's own. */
struct dlock_options *fleet_options(const struct fleet *fleet, const char *list, const char *settings);

/* On how many masters the key of the lock NAME is (a stopped one counts as none). */
int fleet_keys(const struct fleet *fleet, const char *name);
/* On how many what travels with it is. */
int fleet_cargoes(const struct fleet *fleet, const char *name);
/* That it is on COUNT of them, with time for the rest to follow when a call has returned on a majority's word. */
bool fleet_keys_become(const struct fleet *fleet, const char *name, int count);
bool fleet_cargoes_become(const struct fleet *fleet, const char *name, int count);

/* Gives each of `count` masters the command, whose reply must not be an error: 0 or -1. */
int fleet_command(const struct fleet *fleet, int first, int count, const char *command);

int64_t fleet_now_ms(void);
void fleet_sleep_ms(int ms);

/* Whether `condition` became true in `most_ms`, looking all the time. */
#define FLEET_UNTIL(condition, most_ms) \
	__extension__({ \
		int64_t end_ = fleet_now_ms() + (most_ms); \
		bool met_; \
		while (!(met_ = (condition)) && fleet_now_ms() < end_) \
			fleet_sleep_ms(3); \
		met_; \
	})

/* ---- what dlock_masters() tells, kept ---- */

struct fleet_sight {
	int count, voting;
	struct {
		int state, warning;
		int64_t quarantine_ms, max_ttl_ms;
		char address[160], problem[512], remedy[512], role[16], persistence[32], version[48];
	} at[FLEET_MAX];
};

/* The number of masters that vote, or -1 with errno. */
int fleet_look(const struct dlock_options *options, struct fleet_sight *sight);
int fleet_voting(const struct dlock_options *options);

/* ---- a call in a thread of its own ---- */

struct waiter {
	pthread_t thread;
	int fd, operation, timeout_ms;
	int result, error;
	atomic_bool finished;
};

/* dlock_timedlock(); 0 or an error. `waiter` must live until it was joined. */
int waiter_start(struct waiter *waiter, int fd, int operation, int timeout_ms);
/* False if it has not finished within `most_ms`. */
bool waiter_join(struct waiter *waiter, int most_ms);

/* ---- peers ---- */

struct peer {
	pid_t pid;
	int in, out;
};

enum peer_op {
	PEER_OPEN,        /* result: the descriptor, as the peer numbers it */
	PEER_LOCK,        /* dlock_timedlock(fd, argument, timeout_ms) */
	PEER_VERIFY,
	PEER_DATA,        /* dlock_set_data(fd) with the bytes of the name */
	PEER_KNOW,        /* token and remaining_ns only */
	PEER_READABLE,    /* result: 1 if fd polls readable within timeout_ms, else 0 */
	PEER_CLOSE,       /* dlock_close() */
	PEER_FORK_AND_GO, /* leaves a child with a copy of each descriptor and ends; result: the child */
	PEER_INIT,        /* dlock_init_with(argument) */
	PEER_VOTING,      /* result: masters that vote */
};

struct peer_answer {
	long result;
	int error; /* errno, when result is -1 */
	uint64_t token;
	int token_error;
	int64_t remaining_ns;
	char detail[1200];
};

/* 0 or -1. `options` must live until the peer has ended. */
int peer_start(struct peer *peer, const struct dlock_options *options);

/* SIGKILL, and gone. Fine for one that has ended, and for one that is all zero. */
void peer_kill(struct peer *peer);
int peer_stop(struct peer *peer); /* SIGSTOP; 0 when it has stopped */
void peer_cont(struct peer *peer);

void peer_ask(struct peer *peer, enum peer_op op, int fd, int argument, int timeout_ms, const char *name);
/* False if no answer came within `most_ms`. */
bool peer_answer(struct peer *peer, struct peer_answer *ret, int most_ms);

/* Asks and waits for the answer: result, with errno set from the peer's; -1 and EPIPE if none came. */
long peer_call(struct peer *peer, enum peer_op op, int fd, int argument, int timeout_ms);
long peer_open(struct peer *peer, const char *name);
int peer_lock(struct peer *peer, int fd, int operation);
int peer_data(struct peer *peer, int fd, const char *text);
struct peer_answer peer_know(struct peer *peer, int fd);

#endif
