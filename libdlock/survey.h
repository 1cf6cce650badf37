/*
 * survey.h - one question to all masters, on behalf of people.
 *
 * Owns: waiting for the masters to be known, asking all of them at once, and
 * not waiting for those that are stopped. For dlock_query() and its like;
 * nothing of the locks' own protocol goes this way.
 */
#ifndef DLOCK_SURVEY_H
#define DLOCK_SURVEY_H

#include "keeper.h"
#include "wire.h"

struct survey {
	struct cluster *cluster;
	void *context;
	/* An answer; under the mutex. May ask the same master again with survey_ask(). */
	void (*answered)(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value);
	unsigned pending;      /* questions without an answer */
	uint32_t heard;        /* masters that gave an answer that counts */
	bool abandoned;        /* nobody waits any more: the last answer frees it */
};

/* A cluster for `options`, with the mutex held, once its masters are known or node_timeout has
 * passed. `all`: also wait for those that are slow, when a majority is known. 0 or -errno (then nothing is held). */
int survey_enter(const char *name, const struct dlock_options *options, bool all, struct config *ret_config,
                 struct cluster **ret);
/* Gives the use of the cluster, the mutex and the configuration back. */
void survey_leave(struct cluster *cluster, struct config *config);

struct survey *survey_new(struct cluster *cluster);
/* Ask one master; it counts as pending if that worked. */
void survey_ask(struct survey *survey, unsigned master, const struct wire_command *command);
/* Wait until all have answered; or a majority has and the rest had a little time; or node_timeout. */
void survey_wait(struct survey *survey);
void survey_free(struct survey *survey);

/* The masters that can be asked. */
bool survey_can_ask(const struct cluster *cluster, unsigned master);

#endif
