/*
 * model_mutants.h - model masters that break one rule each, to be found out.
 *
 * Owns: the rules that are broken. Must never: be part of the model itself, whose
 * callers shall never get one by mistake: a mutant changes what goes into the
 * model and what comes out.
 */
#ifndef TESTS_INTEGRATION_MODEL_MUTANTS_H
#define TESTS_INTEGRATION_MODEL_MUTANTS_H

#include "tests/unit/model_master.h"

struct mutant {
	const char *what; /* "a model in which ..." */
	/* Instead of model_execute(). */
	void (*execute)(struct model_master *master, const struct model_call *call, int64_t world_us,
	                struct model_reply *reply);
};

extern const struct mutant mutants[];
extern const unsigned mutant_count;

#endif
