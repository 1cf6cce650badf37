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

#define QUEUE_TOLD 1000 /* waiters of a name, the first, as the script tells them */

/* How many wait; -1 where that is no number of them. */
static int64_t waiting_in(const struct value *value)
{
	int64_t waiting = value_integer(value, -1);

	return waiting > UINT32_MAX ? UINT32_MAX : waiting;
}

/* How many wait of `members`, of which `list`, {mode ':' owner...}, are the first. What is no waiter, and in the queue
 * all the same, does not count: the master drops it when its turn has come. -1 if that is no queue. */
static int64_t waiting_of(const struct value *list, int64_t members)
{
	size_t count = value_count(list), length = 0;
	int64_t waiting = members;

	if (value_kind(list) != VALUE_ARRAY || members < 0 || count != (members < QUEUE_TOLD ? (size_t)members : QUEUE_TOLD))
		return -1;
	for (size_t i = 0; i < count; i++) {
		const char *text = value_string(value_at(list, i), &length);

		if (!text || length < 2 || text[1] != ':')
			return -1;
		waiting -= !holders_is_waiter(text, length);
	}
	return waiting;
}

static void name_answered(struct look *look, unsigned master, const struct value *value)
{
	int64_t waiting = waiting_of(value_at(value, 3), waiting_in(value_at(value, 4)));

	if (waiting < 0)
		return;
	holders_add(&look->holders, master, value_at(value, 2), look->key, (uint32_t)waiting);
	if (look->who)
		holders_add_waiters(&look->waiters, master, value_at(value, 3), look->key);
	look->survey.heard |= UINT32_C(1) << master;
}

/* {holders, how many wait, holders, how many wait...} from the third on. */
static bool is_list(const struct value *value)
{
	for (size_t i = 3; i < value_count(value); i += 2)
		if (value_kind(value_at(value, i)) != VALUE_ARRAY || waiting_in(value_at(value, i + 1)) < 0)
			return false;
	return true;
}

/* One step of SCAN; the master counts as heard after the last. */
static void list_answered(struct look *look, unsigned master, const struct value *value)
{
	struct wire_command command;
	char cursor[32];
	size_t length = 0;
	const char *text = value_string(value_at(value, 2), &length);

	if (!text || length >= sizeof(cursor) || !is_list(value))
		return;
	for (size_t i = 3; i + 1 < value_count(value); i += 2)
		holders_add(&look->holders, master, value_at(value, i), NULL,
		            (uint32_t)waiting_in(value_at(value, i + 1)));
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
	if (look->holders.out_of_memory || look->waiters.out_of_memory)
		survey_fail(survey, -ENOMEM);
}

/* That nobody is named agrees only from masters that vote: one that has forgotten names nobody. */
static bool agreed(const struct survey *survey)
{
	const struct quorum *quorum = &survey->cluster->quorum;

	if (!holders_agree(&look_of(survey)->holders) || !holders_agree(&look_of(survey)->waiters))
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
	holders_init(&look->waiters, config->prefix, cluster->quorum.settings.count, cluster->quorum.majority);
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
	ret->heard = (unsigned)__builtin_popcount(look->survey.heard);
	ret->unheard = look->holders.masters - ret->heard;
	ret->holders = look->holders;
	ret->waiters = look->waiters;
	look->holders = look->waiters = (struct holders){0};
}

void look_release(struct look *look)
{
	holders_clear(&look->holders);
	holders_clear(&look->waiters);
	survey_release(&look->survey);
}

int finding_tell(struct finding *finding, dlock_holder_fn *each, void *arg)
{
	return finding->error ? finding->error : holders_tell(&finding->holders, finding->unheard, each, arg);
}

void finding_clear(struct finding *finding)
{
	holders_clear(&finding->holders);
	holders_clear(&finding->waiters);
}

void look_and_wait(struct cluster *cluster, const struct config *config, const char *name, bool who,
                   struct finding *ret)
{
	struct look *look = look_new(cluster, config, name);

	*ret = (struct finding){.error = -ENOMEM};
	if (!look)
		return;
	look->who = who;
	if (look_start(look, config->node_timeout_us) < 0) {
		look_free(look);
		return;
	}
	survey_wait(&look->survey);
	look_take(look, ret);
	look_release(look);
}

/* ---- dlock_query() and dlock_list() ---- */

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
	look_and_wait(cluster, &config, name, false, &finding);
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
