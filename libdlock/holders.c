/*
 * holders.c - who holds what: dlock_query(), dlock_list(), dlock_break().
 *
 * Each master tells what it knows; the answers are sorted and merged, so that
 * a holder is told once with the number of masters that name it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "dlock.h"

#include "error.h"
#include "explain.h"
#include "survey.h"

/* What one master says of one holder. */
struct record {
	char *key, *owner; /* one allocation: key NUL owner NUL data */
	const char *data;  /* NULL: none */
	size_t data_size;
	int64_t version;   /* of the data, also of none: not every master need have the last; -1: no word of any */
	uint64_t fence;
	int64_t ttl_ms;
	bool shared;
};

struct records {
	struct record *list;
	size_t count, size;
	bool out_of_memory;
	char *pattern; /* L */
	uint32_t quorum, unheard;
};

/* `data` may be no value; `facts` has what remains, the numbers. */
static void add_record(struct records *records, const struct value *key, const struct value *owner,
                       const struct value *data, const struct record *facts)
{
	size_t key_length = 0, owner_length = 0, data_size = 0;
	const char *key_text = value_string(key, &key_length), *owner_text = value_string(owner, &owner_length);
	const char *bytes = value_string(data, &data_size);
	struct record *record;

	if (!key_text || !owner_text)
		return;
	if (records->count == records->size) {
		size_t size = records->size ? 2 * records->size : 64;
		struct record *list = realloc(records->list, size * sizeof(*list));

		records->out_of_memory |= !list;
		if (!list)
			return;
		records->list = list;
		records->size = size;
	}
	record = &records->list[records->count];
	*record = *facts;
	record->key = malloc(key_length + owner_length + 2 + data_size);
	records->out_of_memory |= !record->key;
	if (!record->key)
		return;
	record->owner = record->key + key_length + 1;
	memcpy(record->key, key_text, key_length);
	memcpy(record->owner, owner_text, owner_length);
	record->key[key_length] = record->owner[owner_length] = '\0';
	if (data_size > 0) {
		record->data = memcpy(record->owner + owner_length + 1, bytes, data_size);
		record->data_size = data_size;
	}
	records->count++;
}

/* {key, fence, 'string', owner, ms} or {..., owner, ms, version, data} for an exclusive lock,
 * {key, fence, 'zset', owner, ms, owner, ms...} for a shared one. */
static void add_holders(struct records *records, const struct value *found)
{
	size_t length = 0, count = value_count(found);
	const char *type = value_string(value_at(found, 2), &length);
	struct record facts = {
	    .fence = (uint64_t)value_integer(value_at(found, 1), 0),
	    .shared = type && length == 4 && memcmp(type, "zset", 4) == 0,
	};
	const struct value *data = facts.shared ? NULL : value_at(found, 6);

	facts.version = data ? value_integer(value_at(found, 5), -1) : -1;
	if (!facts.shared && count > 5)
		count = 5;
	for (size_t i = 3; i + 1 < count; i += 2) {
		facts.ttl_ms = value_integer(value_at(found, i + 1), -1);
		add_record(records, value_at(found, 0), value_at(found, i), data, &facts);
	}
}

static void query_answered(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value)
{
	if (kind != NODE_REPLY || value_count(value) < 3)
		return;
	add_holders(survey->context, value_at(value, 2));
	survey->heard |= UINT32_C(1) << master;
}

static void list_answered(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value)
{
	struct records *records = survey->context;
	struct wire_command command;
	char cursor[32];
	size_t length = 0;
	const char *text = value_string(value_at(value, 2), &length);

	if (kind != NODE_REPLY || !text || length >= sizeof(cursor))
		return;
	for (size_t i = 3; i < value_count(value); i++)
		add_holders(records, value_at(value, i));
	memcpy(cursor, text, length);
	cursor[length] = '\0';
	if (strcmp(cursor, "0") == 0) {
		survey->heard |= UINT32_C(1) << master;
		return;
	}
	wire_format_survey(&command, 'L', NULL, 0, cursor, records->pattern);
	survey_ask(survey, master, &command);
	cluster_settle(survey->cluster, NULL);
}

static int compare_records(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order : strcmp(x->owner, y->owner);
}

static void free_records(struct records *records)
{
	for (size_t i = 0; i < records->count; i++)
		free(records->list[i].key);
	free(records->list);
	free(records->pattern);
}

/* The fence that most of the masters carry: attempts of others may have raised it on some. */
static uint64_t common_fence(const struct record *list, size_t count)
{
	uint64_t common = 0;
	size_t most = 0;

	for (size_t i = 0; i < count; i++) {
		size_t same = 0;

		for (size_t j = 0; j < count; j++)
			same += list[j].fence == list[i].fence;
		if (same > most) {
			most = same;
			common = list[i].fence;
		}
	}
	return common;
}

/* The one whose data are the latest. */
static const struct record *latest(const struct record *list, size_t count)
{
	const struct record *latest = list;

	for (size_t i = 1; i < count; i++)
		if (list[i].version > latest->version)
			latest = &list[i];
	return latest;
}

static int tell_holder(const struct records *records, const struct record *list, size_t count, size_t prefix_length,
                       dlock_holder_fn *each, void *arg)
{
	const struct record *data = latest(list, count);
	struct dlock_holder holder = {
	    .name = list->key + prefix_length,
	    .owner = list->owner,
	    .host = "",
	    .program = "",
	    .mode = list->shared ? LOCK_SH : LOCK_EX,
	    .masters = (uint32_t)count,
	    .quorum = records->quorum,
	    .data = data->data,
	    .data_size = data->data_size,
	    .unheard = records->unheard,
	};
	struct token_parts parts;

	for (size_t i = 0; i < count; i++)
		if (list[i].ttl_ms > holder.ttl_ms)
			holder.ttl_ms = list[i].ttl_ms;
	if (token_parse(list->owner, strlen(list->owner), &parts)) {
		holder.host = parts.host;
		holder.program = parts.program;
		holder.pid = parts.pid;
		holder.since_us = (int64_t)parts.ticket;
		holder.token = 2 * common_fence(list, count) + list->shared;
	}
	return each(&holder, arg);
}

/* Outside the mutex. The number of holders. */
static int tell_all(struct records *records, const char *prefix, dlock_holder_fn *each, void *arg)
{
	size_t prefix_length = strlen(prefix), run;
	int told = 0;

	if (records->count)
		qsort(records->list, records->count, sizeof(struct record), compare_records);
	for (size_t i = 0; i < records->count; i += run) {
		for (run = 1; i + run < records->count; run++)
			if (compare_records(&records->list[i], &records->list[i + run]) != 0)
				break;
		told++;
		if (each && tell_holder(records, &records->list[i], run, prefix_length, each, arg) != 0)
			break;
	}
	return told;
}

/* SCAN's pattern for keys that begin with `prefix`, whatever bytes it has. */
static char *prefix_pattern(const char *prefix)
{
	char *pattern = malloc(2 * strlen(prefix) + 2), *out = pattern;

	if (!pattern)
		return NULL;
	for (; *prefix; prefix++) {
		if (strchr("*?[]\\^", *prefix))
			*out++ = '\\';
		*out++ = *prefix;
	}
	*out++ = '*';
	*out = '\0';
	return pattern;
}

static void ask_all(struct survey *survey, const struct wire_command *command)
{
	for (unsigned i = 0; i < survey->cluster->quorum.settings.count; i++)
		if (survey_can_ask(survey->cluster, i))
			survey_ask(survey, i, command);
	survey_wait(survey);
}

/* The outcome of a survey that needs a majority: 0 or -errno. */
static int judge(const struct survey *survey)
{
	if ((unsigned)__builtin_popcount(survey->heard) >= survey->cluster->quorum.majority)
		return 0;
	explain_quorum(survey->cluster);
	return -ENOLCK;
}

/* `name` NULL: all. */
static int look(const char *name, dlock_holder_fn *each, void *arg, const struct dlock_options *options)
{
	struct records records = {0};
	struct wire_command command;
	struct cluster *cluster;
	struct survey *survey;
	struct config config;
	char key[2048];
	int error;

	error_detail_clear();
	error = survey_enter(name, options, false, &config, &cluster);
	if (error)
		return error_fail(-error);
	records.pattern = prefix_pattern(config.prefix);
	survey = records.pattern ? survey_new(cluster) : NULL;
	if (survey) {
		survey->context = &records;
		survey->answered = name ? query_answered : list_answered;
		snprintf(key, sizeof(key), "%s%s", config.prefix, name ? name : "");
		wire_format_survey(&command, name ? 'Q' : 'L', name ? key : NULL, strlen(key), name ? "" : "0",
		                   records.pattern);
		ask_all(survey, &command);
		error = records.out_of_memory ? -ENOMEM : judge(survey);
		records.unheard = cluster->quorum.settings.count - (unsigned)__builtin_popcount(survey->heard);
		survey_free(survey);
	} else {
		error = -ENOMEM;
	}
	records.quorum = cluster->quorum.majority;
	cluster_put(cluster);
	keeper_leave();
	if (!error)
		error = tell_all(&records, config.prefix, each, arg);
	config_clear(&config);
	free_records(&records);
	return error < 0 ? error_fail(-error) : error;
}

int dlock_query_with(const char *name, dlock_holder_fn *each, void *arg, const struct dlock_options *options)
{
	return look(name ? name : "", each, arg, options);
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
	return look(NULL, each, arg, options);
}

int dlock_list(dlock_holder_fn *each, void *arg)
{
	return dlock_list_with(each, arg, NULL);
}

/* ---- break ---- */

static void break_answered(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value)
{
	bool *foreign = survey->context;

	if (kind != NODE_REPLY)
		return;
	if (value_integer(value_at(value, 0), 0) == 1)
		survey->heard |= UINT32_C(1) << master;
	else
		*foreign = true;
}

int dlock_break_with(const char *name, const struct dlock_options *options)
{
	struct wire_command command;
	struct cluster *cluster;
	struct survey *survey;
	struct config config;
	char key[2048], lifetime_ms[24];
	bool foreign = false;
	int error;

	error_detail_clear();
	error = survey_enter(name ? name : "", options, false, &config, &cluster);
	if (error)
		return error_fail(-error);
	survey = survey_new(cluster);
	error = survey ? 0 : -ENOMEM;
	if (survey) {
		survey->context = &foreign;
		survey->answered = break_answered;
		snprintf(key, sizeof(key), "%s%s", config.prefix, name);
		/* The mark must outlive every renewal that may still be on its way. */
		snprintf(lifetime_ms, sizeof(lifetime_ms), "%lld", (long long)cluster->quorum.quarantine_us / 500);
		wire_format_survey(&command, 'B', key, strlen(key), "", lifetime_ms);
		ask_all(survey, &command);
		error = judge(survey);
		if (error && foreign) {
			error = -EINVAL;
			error_detail_set("the key \"%s\" holds something that is no lock: it was not touched", key);
		}
		survey_free(survey);
	}
	survey_leave(cluster, &config);
	return error ? error_fail(-error) : 0;
}

int dlock_break(const char *name)
{
	return dlock_break_with(name, NULL);
}
