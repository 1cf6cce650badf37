/*
 * run.h - takes the lock, runs the command, gives the lock back.
 *
 * Owns: the life of one lock in one dlock process, and the exit status.
 */
#ifndef DLOCK_TOOLS_RUN_H
#define DLOCK_TOOLS_RUN_H

struct options;

/* The status to exit with. May end the process by the signal that ended the
 * wait or the command. `environment`: the one that dlock was started with. */
int run(const struct options *options, char **environment);

/* 0 if NAME can be the name of a lock, else EX_NOINPUT, as flock(1) has it for
 * a file that cannot be opened, and the reason has been told. */
int run_check_name(const char *name);

#endif
