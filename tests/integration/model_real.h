/*
 * model_real.h - a real server for the steps, whose clock stands still.
 *
 * Owns: one server, its clock, one connection and another that listens. Must never: judge.
 */
#ifndef TESTS_INTEGRATION_MODEL_REAL_H
#define TESTS_INTEGRATION_MODEL_REAL_H

#include "tests/harness/servers.h"
#include "tests/integration/model_steps.h"
#include "tests/integration/model_survey.h"

/* What came of a step, of the model's or of the real server's. */
struct outcome {
	struct model_reply reply;     /* of a call */
	bool alone;                   /* it was a number and nothing else */
	char said[SURVEY_MAX];        /* of anything else; of Q and L, who is there; or what is no reply of the script's */
	char messages[8192];          /* what was published to whom somebody listens, a line each: channel, message */
	size_t keys_length;
	char keys[32768];             /* see model_keys_text() */
};

struct real;

/* NULL after a sentence on standard error. `program`: the server's. */
struct real *real_start(const char *program, bool restarts);
void real_free(struct real *real);
/* As it tells itself: "redis 7.0.15". */
const char *real_name(const struct real *real);

/* Empty, writable, with memory and with the script. False after a sentence. */
bool real_reset(struct real *real, int64_t clock_us);
/* False after a sentence: the server is gone. */
bool real_step(struct real *real, const struct step *step, struct outcome *ret);

#endif
