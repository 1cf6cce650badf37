/* survey.c - see survey.h. */
#include "survey.h"

#include <stdlib.h>

#include "error.h"
#include "handle.h"

#define GRACE_US 50000 /* for the slow ones, once a majority has answered */

bool survey_can_ask(const struct cluster *cluster, unsigned master)
{
	const struct master *m = &cluster->quorum.masters[master];

	return m->connected && m->viewed && !quorum_silent(&cluster->quorum, master, keeper_now_us());
}

static unsigned known_masters(const struct cluster *cluster)
{
	unsigned known = 0;

	for (unsigned i = 0; i < cluster->quorum.settings.count; i++)
		known += survey_can_ask(cluster, i);
	return known;
}

int survey_enter(const char *name, const struct dlock_options *options, bool all, struct config *ret_config,
                 struct cluster **ret)
{
	int64_t start_us = keeper_now_us(), end_us, grace_us = start_us + GRACE_US;
	struct config masters = {0};
	size_t length;
	int error = handle_config(name, options, ret_config, &length);

	if (error)
		return error;
	error = config_hand_over(ret_config, &masters);
	if (!error)
		error = keeper_enter();
	if (error) {
		config_clear(&masters);
		config_clear(ret_config);
		return error;
	}
	error = cluster_get(&masters, ret);
	if (error) {
		keeper_leave();
		config_clear(ret_config);
		return error;
	}
	end_us = start_us + ret_config->node_timeout_us;
	while (!quorum_settled(&(*ret)->quorum, keeper_now_us())) {
		bool enough = !all && known_masters(*ret) >= (*ret)->quorum.majority;

		if (!keeper_wait(&(*ret)->changed, enough && grace_us < end_us ? grace_us : end_us) &&
		    (enough || keeper_now_us() >= end_us))
			break;
	}
	return 0;
}

void survey_leave(struct cluster *cluster, struct config *config)
{
	cluster_put(cluster);
	keeper_leave();
	config_clear(config);
}

struct survey *survey_new(struct cluster *cluster)
{
	struct survey *survey = calloc(1, sizeof(*survey));

	if (!survey)
		return NULL;
	survey->cluster = cluster;
	cluster->users++; /* answers that come late still find it */
	return survey;
}

void survey_ask(struct survey *survey, unsigned master, const struct wire_command *command)
{
	if (cluster_send_survey(survey->cluster, master, command, survey, keeper_now_us()) == 0)
		survey->pending++;
}

static void discard(struct survey *survey)
{
	cluster_put(survey->cluster);
	free(survey);
}

void survey_answered(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value,
                     const char *text)
{
	(void)text;
	survey->pending--;
	if (!survey->abandoned) {
		survey->answered(survey, master, kind, value);
		pthread_cond_broadcast(&survey->cluster->changed);
	} else if (survey->pending == 0) {
		discard(survey);
	}
}

void survey_wait(struct survey *survey)
{
	struct cluster *cluster = survey->cluster;
	int64_t start_us = keeper_now_us(), end_us = start_us + cluster->config.node_timeout_us;
	int64_t grace_us = start_us + GRACE_US;

	cluster_settle(cluster, NULL);
	while (survey->pending > 0) {
		bool enough = (unsigned)__builtin_popcount(survey->heard) >= cluster->quorum.majority;

		if (!keeper_wait(&cluster->changed, enough && grace_us < end_us ? grace_us : end_us) &&
		    (enough || keeper_now_us() >= end_us))
			break;
	}
}

void survey_free(struct survey *survey)
{
	if (survey->pending > 0)
		survey->abandoned = true;
	else
		discard(survey);
}
