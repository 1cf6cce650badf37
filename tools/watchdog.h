/*
 * watchdog.h - a process that stops the command when dlock cannot.
 *
 * Owns: the promise that a command ends before its lease does, also when dlock
 * is stopped, hung or killed with -9. It is forked before the library starts
 * its thread, lives in a session of its own (so that Ctrl-Z and Ctrl-C of the
 * terminal do not reach it) and knows only what it is told.
 * Must never: take part in locking, or outlive the command and dlock.
 *
 * How it works: dlock tells it, through a socket, the moment until which the
 * lock is certain (again at every renewal). The margin before that moment is a
 * fifth of the lease, 50 ms to 2 s: SIGTERM goes to the command's processes one
 * margin before, SIGKILL a third of the margin before. End of file means that
 * dlock has died without saying so: SIGTERM at once, SIGKILL a second later or
 * at the same moment as above, whichever comes first.
 */
#ifndef DLOCK_TOOLS_WATCHDOG_H
#define DLOCK_TOOLS_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watchdog {
	pid_t pid;  /* 0: there is none */
	int socket; /* dlock's end; readable when the watchdog has begun to stop the command */
};

/* Forks it. 0, or -1 with errno. Call it while the process has one thread. */
int watchdog_start(struct watchdog *ret_watchdog, const char *name, const char *shown_name);

/* The lock is certain until `deadline_us`; `lease_us` is its full length. */
void watchdog_tell_lease(const struct watchdog *watchdog, int64_t deadline_us, int64_t lease_us);

/* Called by the command itself between fork and exec: so no death of dlock can
 * come between its start and the watchdog's knowing of it. Async-signal-safe
 * enough for a child of a process with threads: it allocates nothing. */
void watchdog_tell_command(const struct watchdog *watchdog, uint64_t token);

/* The lock is lost already: stop the command now. */
void watchdog_tell_lost(const struct watchdog *watchdog);

/* Whether it has begun to stop the command. */
bool watchdog_has_stopped(const struct watchdog *watchdog);

/* The command has ended by itself: end the watchdog and reap it. */
void watchdog_end(struct watchdog *watchdog);

#endif
