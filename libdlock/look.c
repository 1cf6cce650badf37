/*
 * look.c - see look.h; and dlock_query() and dlock_list(), which wait for one.
 */
#include "look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dlock.h"

#include "error.h"

static struct look *look_of(const struct survey *survey)
{
	return (struct look *)(uintptr_t)survey; /* its first field */
}

/* ---- the question and its answers ---- */

static void ask(struct survey *survey, unsigned master)
{
	struct look *look = look_of(survey);
	struct wire_command command;

	if (look->lists)
		wire_format_survey(&command, 'L', NULL, 0, "0", look->key);
	else
		wire_format_survey(&command, 'Q', look->key, strlen(look->key), "", "");
	survey_ask(survey, master, &command);
}

static void name_answered(struct look *look, unsigned master, const struct value *value)
{
	if (value_count(value) < 3)
		return;
	holders_add(&look->holders, master, value_at(value, 2), look->key);
	look->survey.heard |= UINT32_C(1) << master;
}

/* One step of SCAN; the master counts as heard after the last. */
static void list_answered(struct look *look, unsigned master, const struct value *value)
{
	struct wire_command command;
	char cursor[32];
	size_t length = 0;
	const char *text = value_string(value_at(value, 2), &length);

	if (!text || length >= sizeof(cursor))
		return;
	for (size_t i = 3; i < value_count(value); i++)
		holders_add(&look->holders, master, value_at(value, i), NULL);
	memcpy(cursor, text, length);
	cursor[length] = '\0';
	if (strcmp(cursor, "0") == 0) {
		look->survey.heard |= UINT32_C(1) << master;
		return;
	}
	wire_format_survey(&command, 'L', NULL, 0, cursor, look->key);
	survey_ask(&look->survey, master, &command);
}

static void answered(struct survey *survey, unsigned master, const struct value *value)
{
	struct look *look = look_of(survey);

	if (look->lists)
		list_answered(look, master, value);
	else
		name_answered(look, master, value);
	if (look->holders.out_of_memory)
		survey_fail(survey, -ENOMEM);
}

/* That nobody is named agrees only from masters that vote: one that has forgotten names nobody. */
static bool agreed(const struct survey *survey)
{
	const struct quorum *quorum = &survey->cluster->quorum;

	if (!holders_agree(&look_of(survey)->holders))
		return false;
	return (unsigned)__builtin_popcount(survey->heard & quorum_voters(quorum)) >= quorum->majority;
}

static void ended(struct survey *survey)
{
	struct look *look = look_of(survey);

	if (look->set)
		looks_ended(look);
}

static void free_look(struct survey *survey)
{
	free(look_of(survey));
}

static const struct survey_kind look_kind = {
	.ask = ask,
	.answered = answered,
	.agreed = agreed,
	.ended = ended,
	.free = free_look,
};

/* ---- life ---- */

/* SCAN's pattern for keys that begin with `prefix`, whatever bytes it has. */
static void write_pattern(char *out, const char *prefix)
{
	for (; *prefix; prefix++) {
		if (strchr("*?[]\\^", *prefix))
			*out++ = '\\';
		*out++ = *prefix;
	}
	*out++ = '*';
	*out = '\0';
}

struct look *look_new(struct cluster *cluster, const struct config *config, const char *name)
{
	size_t prefix_length = strlen(config->prefix);
	size_t key_size = name ? prefix_length + strlen(name) + 1 : 2 * prefix_length + 2;
	struct look *look = calloc(1, sizeof(*look) + key_size);

	if (!look)
		return NULL;
	look->survey.cluster = cluster;
	look->lists = !name;
	if (name)
		strcpy(mempcpy(look->key, config->prefix, prefix_length), name);
	else
		write_pattern(look->key, config->prefix);
	holders_init(&look->holders, config->prefix, cluster->quorum.settings.count, cluster->quorum.majority);
	return look;
}

int look_start(struct look *look, int64_t timeout_us)
{
	return survey_start(&look->survey, &look_kind, look->survey.cluster, timeout_us);
}

void look_free(struct look *look)
{
	free(look);
}

void look_take(struct look *look, struct finding *ret)
{
	ret->error = survey_judge(&look->survey);
	ret->unheard = look->holders.masters - (unsigned)__builtin_popcount(look->survey.heard);
	ret->holders = look->holders;
	look->holders = (struct holders){0};
}

void look_release(struct look *look)
{
	holders_clear(&look->holders);
	survey_release(&look->survey);
}

int finding_tell(struct finding *finding, dlock_holder_fn *each, void *arg)
{
	return finding->error ? finding->error : holders_tell(&finding->holders, finding->unheard, each, arg);
}

void finding_clear(struct finding *finding)
{
	holders_clear(&finding->holders);
}

/* ---- dlock_query() and dlock_list() ---- */

/* With the mutex: the whole of one look-up. */
static void look_and_wait(struct cluster *cluster, const struct config *config, const char *name, struct finding *ret)
{
	struct look *look = look_new(cluster, config, name);

	*ret = (struct finding){.error = -ENOMEM};
	if (!look)
		return;
	if (look_start(look, config->node_timeout_us) < 0) {
		look_free(look);
		return;
	}
	survey_wait(&look->survey);
	look_take(look, ret);
	look_release(look);
}

/* `name` NULL: all. */
static int query(const char *name, dlock_holder_fn *each, void *arg, const struct dlock_options *options)
{
	struct finding finding;
	struct cluster *cluster;
	struct config config;
	int result;

	error_detail_clear();
	result = survey_enter(name, options, &config, &cluster);
	if (result)
		return error_fail(-result);
	look_and_wait(cluster, &config, name, &finding);
	survey_leave(cluster, &config);
	result = finding_tell(&finding, each, arg);
	finding_clear(&finding);
	return result < 0 ? error_fail(-result) : result;
}

int dlock_query_with(const char *name, dlock_holder_fn *each, void *arg, const struct dlock_options *options)
{
	return query(name ? name : "", each, arg, options);
}

int dlock_query(const char *name, dlock_holder_fn *each, void *arg)
{
	return dlock_query_with(name, each, arg, NULL);
}

int dlock_list_with(dlock_holder_fn *each, void *arg, const struct dlock_options *options)
{
	if (!each) {
		error_detail_set("dlock_list() needs a function to call");
		return error_fail(EINVAL);
	}
	return query(NULL, each, arg, options);
}

int dlock_list(dlock_holder_fn *each, void *arg)
{
	return dlock_list_with(each, arg, NULL);
}
