/* model_survey.c - see model_survey.h. */
#include "tests/integration/model_survey.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the text ---- */

__attribute__((format(printf, 2, 3))) static void put(struct survey *survey, const char *format, ...)
{
	size_t left = survey->size - survey->length;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(survey->text + survey->length, left, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= left) {
		fprintf(stderr, "model survey: it does not fit\n");
		abort();
	}
	survey->length += (size_t)length;
}

void survey_line(struct survey *survey)
{
	if (survey->count == MODEL_KEYS)
		abort();
	if (survey->count > 0)
		put(survey, "\n");
	survey->lines[survey->count++] = survey->length;
}

void survey_number(struct survey *survey, int64_t number)
{
	put(survey, "%" PRId64 "|", number);
}

void survey_word(struct survey *survey, const char *word, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool plain = word[i] > ' ' && word[i] < '|' && word[i] != '\\';

		put(survey, plain ? "%c" : "\\%02x", (unsigned char)word[i]);
	}
	put(survey, "|");
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void survey_end(struct survey *survey)
{
	char *copy = strdup(survey->text), *lines[MODEL_KEYS];
	size_t length = 0;

	if (!copy)
		abort();
	for (unsigned i = 0; i < survey->count; i++) {
		lines[i] = copy + survey->lines[i];
		lines[i][strcspn(lines[i], "\n")] = '\0';
	}
	qsort(lines, survey->count, sizeof(lines[0]), compare_lines);
	for (unsigned i = 0; i < survey->count; i++)
		length += (size_t)sprintf(survey->text + length, i ? "\n%s" : "%s", lines[i]);
	free(copy);
}

/* ---- the model's ---- */

static void put_text(struct survey *survey, const char *text)
{
	survey_word(survey, text, strlen(text));
}

static int compare_readers(const void *a, const void *b)
{
	const struct model_reader *x = a, *y = b;

	if (x->expiry_ms != y->expiry_ms)
		return x->expiry_ms < y->expiry_ms ? -1 : 1;
	return strcmp(x->token, y->token);
}

static void put_readers(struct survey *survey, const struct model_key *key, int64_t ms)
{
	struct model_reader sorted[MODEL_READERS];

	memcpy(sorted, key->readers, key->reader_count * sizeof(sorted[0]));
	qsort(sorted, key->reader_count, sizeof(sorted[0]), compare_readers);
	for (unsigned i = 0; i < key->reader_count; i++) {
		put_text(survey, sorted[i].token);
		survey_number(survey, sorted[i].expiry_ms - ms);
	}
}

static int64_t left_ms(const struct model_key *key, int64_t ms)
{
	return key->expiry_ms == MODEL_FOREVER ? -1 : key->expiry_ms - ms;
}

static void put_fence(struct survey *survey, const struct model_data *data, const char *name)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		if (!data->fences[i].known || strcmp(data->fences[i].name, name) != 0)
			continue;
		survey_number(survey, (int64_t)data->fences[i].value);
		return;
	}
	put_text(survey, "");
}

/* The script's holders(), after settle(). The bytes that it tells L are the first 128, which here are all. */
static void put_holders(struct survey *survey, struct model_master *master, const char *name, enum model_kind kind,
                        int64_t world_us)
{
	static const char *const kinds[] = {"none", "string", "zset", "other"};
	struct model_key *key = model_key(&master->data, name);
	const struct model_cargo *cargo = model_cargo(master, name, world_us);
	int64_t ms = (world_us + master->clock_us) / 1000;

	survey_line(survey);
	put_text(survey, name);
	put_fence(survey, &master->data, name);
	put_text(survey, kinds[kind]);
	if (kind == KIND_ZSET)
		put_readers(survey, key, ms);
	if (kind != KIND_STRING)
		return;
	put_text(survey, key->token);
	survey_number(survey, left_ms(key, ms));
	if (!cargo || strcmp(cargo->token, key->token) != 0)
		return;
	put(survey, "%" PRIu64 "|", cargo->version);
	survey_word(survey, cargo->bytes, cargo->size);
}

static unsigned waiters_of(const struct model_master *master, const char *name, const char *members[MODEL_WAITERS],
                           int64_t world_us)
{
	return model_queue(master, name, world_us, members, MODEL_WAITERS);
}

/* The script's ^(.):%d+:[^:]*:(.+)$ */
static bool is_place(const char *member, const char **ret_token)
{
	size_t digits = member[0] && member[1] == ':' ? strspn(member + 2, "0123456789") : 0;
	const char *channel = member + 2 + digits + 1, *end = digits > 0 && channel[-1] == ':' ? strchr(channel, ':') : NULL;

	*ret_token = end ? end + 1 : NULL;
	return end && end[1];
}

/* In which mode, and who. */
static void put_waiters(struct survey *survey, const struct model_master *master, const char *name, int64_t world_us)
{
	const char *members[MODEL_WAITERS], *token;
	unsigned count = waiters_of(master, name, members, world_us);
	char text[PLACE_MAX + 4];

	survey_line(survey);
	for (unsigned i = 0; i < count; i++) {
		if (is_place(members[i], &token))
			snprintf(text, sizeof(text), "%c:%s", members[i][0], token);
		else
			snprintf(text, sizeof(text), "?:%s", members[i]);
		put_text(survey, text);
	}
	survey_number(survey, count);
}

/* Only where somebody is, for some time still. */
static bool is_listed(const struct model_key *key, enum model_kind kind, int64_t ms)
{
	return kind == KIND_ZSET || (kind == KIND_STRING && left_ms(key, ms) > 0);
}

static bool list(struct survey *survey, struct model_master *master, const char *pattern, int64_t world_us)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		struct model_key *key = &master->data.keys[i];
		const char *members[MODEL_WAITERS];
		char name[MODEL_NAME_MAX];
		enum model_kind kind;

		memcpy(name, key->name, sizeof(name));
		if (!name[0] || fnmatch(pattern, name, 0) != 0)
			continue;
		if (!model_settle(master, name, world_us, &kind))
			return false;
		if (!is_listed(key, kind, (world_us + master->clock_us) / 1000))
			continue;
		put_holders(survey, master, name, kind, world_us);
		survey_number(survey, waiters_of(master, name, members, world_us));
	}
	return true;
}

void model_survey(struct model_master *master, const struct model_call *call, int64_t world_us,
                  struct model_reply *reply, char text[SURVEY_MAX])
{
	struct survey survey = {.text = text, .size = SURVEY_MAX};
	enum model_kind kind;
	bool told;

	text[0] = '\0';
	reply->pttl_ms = -1;
	if (!master->script_loaded) {
		reply->error = MODEL_NOSCRIPT;
		return;
	}
	if (call->operation == 'L') {
		told = list(&survey, master, call->cluster, world_us);
	} else {
		told = model_settle(master, call->key, world_us, &kind);
		if (told) {
			put_holders(&survey, master, call->key, kind, world_us);
			put_waiters(&survey, master, call->key, world_us);
		}
	}
	if (told) {
		reply->code = 1;
		reply->us = world_us + master->clock_us;
		survey_end(&survey);
	} else {
		reply->error = MODEL_READONLY;
		text[0] = '\0';
	}
}
