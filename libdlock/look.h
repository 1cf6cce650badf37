/*
 * look.h - one look-up: who holds a name (and who waits for it), or all names.
 *
 * Owns: the question to each master, the steps through a list, and the holders
 * that were named so far. When it ends is the business of survey.
 * Must never: wait, or call the user's code.
 *
 * All of it but finding_tell() and finding_clear() needs the keeper's mutex.
 */
#ifndef DLOCK_LOOK_H
#define DLOCK_LOOK_H

#include "holders.h"
#include "survey.h"

struct look;
struct dlock_looks;

struct look {
	struct survey survey;
	struct holders holders;
	struct holders waiters;   /* asked for with `who` only */
	bool lists;               /* all names: `key` is the pattern */
	bool who;                 /* of one name, also who waits; may be set before look_start() */
	/* Of a set's: looks.c */
	struct dlock_looks *set;  /* NULL: of none */
	struct look *next, *previous;
	uint64_t tag;
	char key[];
};

/* What a look-up has found, apart from it. */
struct finding {
	struct holders holders, waiters;
	unsigned heard, unheard; /* masters */
	int error; /* 0 or -errno; then there is nothing to tell */
};

/* Of the masters of `cluster`, under `config`'s prefix, which must live until it is released. `name` NULL: all
 * names. Begun by look_start(). NULL: out of memory. */
struct look *look_new(struct cluster *cluster, const struct config *config, const char *name);
/* It may end at once. 0 or -ENOMEM, and then it was not begun. */
int look_start(struct look *look, int64_t timeout_us);
/* One that was not begun. */
void look_free(struct look *look);
/* Of one that has ended, with the sentence for people if it has failed; what is found is moved. */
void look_take(struct look *look, struct finding *ret);
void look_release(struct look *look);
/* The whole of one look-up. */
void look_and_wait(struct cluster *cluster, const struct config *config, const char *name, bool who,
                   struct finding *ret);

/* Its set is told; in looks.c. */
void looks_ended(struct look *look);

/* The number of holders told, or -errno. */
int finding_tell(struct finding *finding, dlock_holder_fn *each, void *arg);
void finding_clear(struct finding *finding);

#endif
