/*
 * model_steps.h - random steps for a model master and a real one.
 *
 * Owns: what is drawn from a seed, and the words of a step for a server and for people.
 * Must never: depend on anything but the seed and the model, so that a seed is a sequence.
 *
 * How it works: a step holds all that it needs, its clock too, so that steps can be
 * left out of a sequence. What is drawn collides often: a few names, a few tokens,
 * fences at and beside those that are there, and moments at which something expires.
 */
#ifndef TESTS_INTEGRATION_MODEL_STEPS_H
#define TESTS_INTEGRATION_MODEL_STEPS_H

#include "tests/unit/model_foreign.h"

enum step_kind {
	STEP_CALL,
	STEP_FOREIGN,
	STEP_SCRIPT_FLUSH,
	STEP_SCRIPT_LOAD,
	STEP_MEMORY_FULL,
	STEP_MEMORY_FREE,
	STEP_DEMOTE,        /* a replica of nobody: read-only */
	STEP_PROMOTE,
	STEP_FORBID_PUBLISH,
	STEP_PERMIT_PUBLISH,
	STEP_RESTART_KEPT,  /* with its data; a client loads the script again */
	STEP_RESTART_EMPTY,
};

struct step {
	enum step_kind kind;
	int64_t clock_us; /* the master's, while the step runs */
	struct model_call call; /* or Q or L, see model_survey.h; of L `cluster` is the pattern */
	struct foreign foreign;
};

struct steps {
	uint64_t random;
	int64_t clock_us;
	bool restarts; /* draw these, too */
	char epochs[4][EPOCH_MAX]; /* that were there, the last ones */
	unsigned epoch_count;
};

void steps_init(struct steps *steps, uint64_t seed, bool restarts);

/* The next step, for a master that is as `model` is. */
void steps_draw(struct steps *steps, const struct model_master *model, struct step *ret);

/* Channels of waiters to which somebody listens: the words of a command that does, up to NULL. */
extern const char *const steps_listen[];
/* Whether that is one of these. */
bool steps_is_heard(const char *channel);

/* All keys that may ever be there, in full. */
#define STEPS_NAMES_MAX 64
size_t steps_names(char names[STEPS_NAMES_MAX][TOKEN_MAX + 16]);

#define STEP_WORDS_MAX 18

/* A command; the pointers live as long as this and the step. */
struct step_words {
	int argc;
	const char *argv[STEP_WORDS_MAX];
	size_t lengths[STEP_WORDS_MAX];
	char text[10][32];
};

void step_words(struct step_words *ret, const struct step *step);
/* Whether wire.c has the same words for this call; also true for what the library never sends. */
bool step_words_are_the_librarys(const struct step *step, bool *ret_sent);

/* One line, without its end, to read. */
void step_text(const struct step *step, char *out, size_t size);

#endif
