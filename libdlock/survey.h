/*
 * survey.h - one question to all masters, besides the locks.
 *
 * Owns: whom to ask and when, and when enough has been heard. Behind
 * dlock_query(), the look-ups of dlock_looks_start(), dlock_masters() and their
 * like; nothing of the locks' own protocol goes this way.
 * Must never: wait (but for survey_wait()), or know what is asked.
 *
 * Rules:
 *  1. A master is asked as soon as it is known, while others may not be yet; each
 *     once, and once more when it had lost the script.
 *  2. When a majority has been heard and `agreed` says that this is enough, it ends.
 *  3. Else it ends SURVEY_GRACE_US after a majority has been heard (not for `all`);
 *  4. or when all that were asked have answered, no other will be known soon, and
 *     nothing else is waited for (`waits`);
 *  5. at the latest at `end_us`; which is set anew when a master has answered that has
 *     more to tell: the bound is for those that do not answer.
 *  6. Of one cluster's surveys SURVEYS_MAX are under way at most, and the others
 *     wait for their turn, in order: what the locks have to say to a master must not
 *     stand behind all the questions that somebody can think of. Waiting counts:
 *     rule 5 is about both.
 *
 * All of it needs the keeper's mutex.
 */
#ifndef DLOCK_SURVEY_H
#define DLOCK_SURVEY_H

#include "keeper.h"
#include "wire.h"

#define SURVEY_GRACE_US 50000
#define SURVEYS_MAX 1000

struct survey_kind {
	bool all; /* wants to hear all masters, when what they are is known */
	/* Put the question to one master, with survey_ask(). */
	void (*ask)(struct survey *survey, unsigned master);
	/* An answer: sets its bit in `heard` if it counts, and may ask the same master more. */
	void (*answered)(struct survey *survey, unsigned master, const struct value *value);
	/* An error that is final; may be NULL. */
	void (*refused)(struct survey *survey, unsigned master, const char *text);
	bool (*waits)(const struct survey *survey);  /* for something besides the answers: rule 4; NULL: never */
	bool (*agreed)(const struct survey *survey); /* rule 2; NULL: never */
	void (*ended)(struct survey *survey);        /* may be NULL; must not release it */
	void (*free)(struct survey *survey);         /* what survey_start() was given */
};

enum survey_state { SURVEY_WAITING, SURVEY_UNDER_WAY, SURVEY_ENDED };

/* The first field of a structure of whoever asks. */
struct survey {
	const struct survey_kind *kind;
	struct cluster *cluster;
	struct survey *next, *previous; /* in one of the cluster's lists, until it has ended */
	struct timer timer;
	int64_t timeout_us, end_us, grace_us;
	enum survey_state state;
	int error;                 /* why a majority may not have been heard */
	uint32_t asked, again;     /* a bit a master: rule 1 */
	uint32_t heard;            /* masters that gave an answer that counts */
	unsigned pending;          /* questions without an answer */
	struct waiting *waiter;
	bool released;             /* the last answer frees it */
};

/* A cluster for `options`, with the mutex held, for a question about `name` (NULL: about no lock).
 * 0, or -errno and nothing is held. */
int survey_enter(const char *name, const struct dlock_options *options, struct config *ret_config,
                 struct cluster **ret);
/* Gives the use of the cluster, the mutex and the configuration back. */
void survey_leave(struct cluster *cluster, struct config *config);

/* Begin; `ended` may be called from within. The structure belongs to it until survey_release().
 * 0, or -ENOMEM, and then the structure is still the caller's. */
int survey_start(struct survey *survey, const struct survey_kind *kind, struct cluster *cluster, int64_t timeout_us);
/* Ask one master; from `ask` and `answered` only. */
void survey_ask(struct survey *survey, unsigned master, const struct wire_command *command);
/* It is over: what was heard is of no use any more. */
void survey_fail(struct survey *survey, int error);
/* Until it has ended, with the mutex given back meanwhile. */
void survey_wait(struct survey *survey);
/* Of one that has ended: 0 if a majority was heard, else -ENOLCK, or -ENOMEM if that was why. */
int survey_outcome(const struct survey *survey);
/* What survey_outcome() gives, with the sentence for people. */
int survey_judge(const struct survey *survey);
/* Nobody wants to know any more, ended or not. Answers that come later find nothing. */
void survey_release(struct survey *survey);

#endif
