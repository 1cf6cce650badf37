/*
 * explain.h - the state of the masters in sentences for people.
 *
 * Owns: for each standing and reason of quorum.h, what is wrong, why it
 * matters, and what to do. Runs under the keeper's mutex.
 */
#ifndef DLOCK_EXPLAIN_H
#define DLOCK_EXPLAIN_H

#include "keeper.h"

#define EXPLAIN_MAX 400

struct explanation {
	bool warning;              /* it votes all the same */
	char problem[EXPLAIN_MAX]; /* "" when nothing is wrong */
	char remedy[EXPLAIN_MAX];
};

void explain_master(const struct cluster *cluster, unsigned master, struct explanation *ret);

/* Sets dlock_error_detail() to why there is no quorum: each master and its error. */
void explain_quorum(const struct cluster *cluster);

/* The same for an errno that a lock call has ended with. */
void explain_call(const struct handle *handle, int error);

#endif
