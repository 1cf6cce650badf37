/* break.c - an operator's removal of a holder: dlock_break(). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlock.h"

#include "error.h"
#include "survey.h"

struct removal {
	struct survey survey;
	bool foreign; /* a master has something there that is no lock */
	char lifetime_ms[24];
	char key[2048];
};

static void ask(struct survey *survey, unsigned master)
{
	struct removal *removal = (struct removal *)survey;
	struct wire_command command;

	wire_format_survey(&command, 'B', removal->key, strlen(removal->key), "", removal->lifetime_ms);
	survey_ask(survey, master, &command);
}

static void answered(struct survey *survey, unsigned master, const struct value *value)
{
	if (value_integer(value_at(value, 0), 0) == 1)
		survey->heard |= UINT32_C(1) << master;
	else
		((struct removal *)survey)->foreign = true;
}

static void free_removal(struct survey *survey)
{
	free(survey);
}

static const struct survey_kind removal_kind = {.ask = ask, .answered = answered, .free = free_removal};

/* 0 or -errno, with the sentence for people. */
static int remove_holder(struct cluster *cluster, const struct config *config, const char *name)
{
	struct removal *removal = calloc(1, sizeof(*removal));
	int error;

	if (!removal)
		return -ENOMEM;
	snprintf(removal->key, sizeof(removal->key), "%s%s", config->prefix, name);
	/* The mark must outlive every renewal that may still be on its way. */
	snprintf(removal->lifetime_ms, sizeof(removal->lifetime_ms), "%lld",
	         (long long)cluster->quorum.quarantine_us / 500);
	if (survey_start(&removal->survey, &removal_kind, cluster, config->node_timeout_us) < 0) {
		free(removal);
		return -ENOMEM;
	}
	survey_wait(&removal->survey);
	error = survey_judge(&removal->survey);
	if (error && removal->foreign) {
		error = -EINVAL;
		error_detail_set("the key \"%s\" holds something that is no lock: it was not touched", removal->key);
	}
	survey_release(&removal->survey);
	return error;
}

int dlock_break_with(const char *name, const struct dlock_options *options)
{
	struct cluster *cluster;
	struct config config;
	int error;

	error_detail_clear();
	name = name ? name : "";
	error = survey_enter(name, options, &config, &cluster);
	if (error)
		return error_fail(-error);
	error = remove_holder(cluster, &config, name);
	survey_leave(cluster, &config);
	return error ? error_fail(-error) : 0;
}

int dlock_break(const char *name)
{
	return dlock_break_with(name, NULL);
}
