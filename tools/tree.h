/*
 * tree.h - the processes that a command consists of, and how they are stopped.
 *
 * Owns: finding them in /proc, and the order TERM, CONT, KILL.
 * Must never: signal a process that does not descend from the command: every
 * look is a fresh one, and process ids count only together with start times.
 *
 * How they are found: the command itself; what has a member as its parent; what
 * dlock has adopted as their subreaper since the command began; and, when dlock
 * is gone and can adopt no more, what carries the command's own environment
 * (DLOCK_NAME, DLOCK_TOKEN and DLOCK_PID together name one run).
 */
#ifndef DLOCK_TOOLS_TREE_H
#define DLOCK_TOOLS_TREE_H

#include <stdint.h>
#include <sys/types.h>

struct tree {
	pid_t command;
	uint64_t command_start; /* clock ticks since boot, as /proc tells it */
	pid_t reaper;           /* dlock */
	uint64_t reaper_start;
	pid_t watchdog;         /* dlock's other child: never a member; 0 for none */
	const char *name;       /* of the lock */
	uint64_t token;
};

/* When a process started, in clock ticks since boot; 0 when it is not there. */
uint64_t tree_start_of(pid_t pid);

/* Sends the signal (0: none) to every living member; how many there are. A
 * member that may not be signalled is counted. *ret_example: one of them. */
int tree_signal(const struct tree *tree, int signal_number, pid_t *ret_example);

/* SIGTERM to all, at `kill_at_us` SIGKILL to what is left, until none is left.
 * Returns when they are gone, or when ten seconds of SIGKILL have not helped:
 * then the number left, and it has been told. */
int tree_stop(const struct tree *tree, const char *shown_name, int64_t kill_at_us);

#endif
