/*
 * look.h - for people who look, and for operators who mend.
 *
 * Owns: the output of --list, --who, --watch, --break, --doctor and --init.
 * Each gives the status to exit with. What is printed for people may change;
 * what --json prints only grows.
 */
#ifndef DLOCK_TOOLS_LOOK_H
#define DLOCK_TOOLS_LOOK_H

struct options;

int look_list(const struct options *options);

/* 0: held; 1: free. */
int look_who(const struct options *options);

/* Until a signal, or until nobody reads any more: then 0. */
int look_watch(const struct options *options);

/* Asks first, unless --yes. 1: declined. */
int look_break(const struct options *options);

/* Asks if the masters have been used before, unless --yes. 1: declined. */
int look_init(const struct options *options);

/* 0: a majority of the masters votes and none is refused; 1: locks are unsafe. */
int doctor(const struct options *options);

#endif
