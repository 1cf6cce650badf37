/* honest.c - see honest.h. */
#include "honest.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

void honest_start(struct honest *honest, unsigned number)
{
	if (!honest->in) {
		honest->in = malloc(HONEST_IN_MAX);
		honest->out = malloc(HONEST_OUT_MAX);
		fuzz_check(honest->in && honest->out);
	}
	model_start(&honest->model, number);
	honest->model.script_loaded = false;
	honest->in_size = honest->out_size = 0;
	honest->connections = 0;
}

void honest_connected(struct honest *honest)
{
	honest->in_size = 0;
	honest->connections++;
}

char *honest_room(struct honest *honest, size_t *ret_size)
{
	*ret_size = HONEST_IN_MAX - honest->in_size;
	return honest->in + honest->in_size;
}

/* ---- requests ---- */

/* "*3\r\n": the number behind the sign; -1: it has not come whole. */
static int64_t read_header(const char **at, const char *end, char sign)
{
	const char *line = memmem(*at, (size_t)(end - *at), "\r\n", 2);
	int64_t number = 0;

	if (!line)
		return -1;
	fuzz_check(**at == sign && line > *at + 1);
	for (const char *digit = *at + 1; digit < line; digit++) {
		fuzz_check(*digit >= '0' && *digit <= '9');
		number = number * 10 + *digit - '0';
	}
	*at = line + 2;
	return number;
}

/* Bytes of the first request; 0: it has not come whole. */
static size_t read_request(struct honest *honest)
{
	const char *at = honest->in, *end = honest->in + honest->in_size;
	int64_t count, length;

	if (honest->in_size == 0)
		return 0;
	count = read_header(&at, end, '*');
	if (count < 0)
		return 0;
	fuzz_check(count >= 1 && count <= HONEST_ARGUMENTS_MAX);
	honest->argc = (size_t)count;
	for (int64_t i = 0; i < count; i++) {
		length = at < end ? read_header(&at, end, '$') : -1;
		if (length < 0 || end - at < length + 2)
			return 0;
		honest->argv[i] = at;
		honest->lengths[i] = (size_t)length;
		at += length;
		fuzz_check(memcmp(at, "\r\n", 2) == 0);
		at += 2;
	}
	return (size_t)(at - honest->in);
}

static bool is_word(const struct honest *honest, size_t index, const char *word)
{
	return index < honest->argc && strlen(word) == honest->lengths[index] &&
	       memcmp(word, honest->argv[index], honest->lengths[index]) == 0;
}

static void copy_word(const struct honest *honest, size_t index, char *out, size_t size)
{
	fuzz_check(index < honest->argc && honest->lengths[index] < size);
	memcpy(out, honest->argv[index], honest->lengths[index]);
	out[honest->lengths[index]] = '\0';
}

static int64_t number_at(const struct honest *honest, size_t index)
{
	char text[32], *end;
	int64_t number;

	copy_word(honest, index, text, sizeof(text));
	number = strtoll(text, &end, 10);
	fuzz_check(end != text && *end == '\0');
	return number;
}

/* ---- answers ---- */

static void say(struct honest *honest, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct honest *honest, const char *format, ...)
{
	size_t room = HONEST_OUT_MAX - honest->out_size;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(honest->out + honest->out_size, room, format, arguments);
	va_end(arguments);
	fuzz_check(length >= 0 && (size_t)length < room);
	honest->out_size += (size_t)length;
}

static void say_bulk(struct honest *honest, const char *text)
{
	say(honest, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void say_bytes(struct honest *honest, const char *bytes, size_t size)
{
	say(honest, "$%zu\r\n", size);
	fuzz_check(size + 2 < HONEST_OUT_MAX - honest->out_size);
	memcpy(honest->out + honest->out_size, bytes, size);
	honest->out_size += size;
	say(honest, "\r\n");
}

static void say_number(struct honest *honest, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	say_bulk(honest, text);
}

static void say_info(struct honest *honest)
{
	const char *incarnation = honest->model.incarnation, *colon = strchr(incarnation, ':');
	char text[512];

	snprintf(text, sizeof(text),
	         "# Server\r\nredis_version:7.0.15\r\nrun_id:%.*s\r\nloading:0\r\naof_enabled:0\r\n"
	         "maxmemory:0\r\nmaxmemory_policy:noeviction\r\nrdb_last_bgsave_time_sec:-1\r\nrole:master\r\n"
	         "connected_slaves:0\r\nmaster_replid:%s\r\nsecond_repl_offset:-1\r\n",
	         (int)(colon - incarnation), incarnation, colon + 1);
	say_bulk(honest, text);
}

static void say_setting(struct honest *honest)
{
	char name[64];
	const char *value = "no";

	copy_word(honest, 2, name, sizeof(name));
	if (strcmp(name, "appendfsync") == 0)
		value = "everysec";
	if (strcmp(name, "save") == 0)
		value = "";
	say(honest, "*2\r\n");
	say_bulk(honest, name);
	say_bulk(honest, value);
}

static void say_view(struct honest *honest, const struct model_reply *reply)
{
	say(honest, "*6\r\n:1\r\n:%" PRId64 "\r\n", reply->us);
	say_bulk(honest, reply->epoch);
	say(honest, ":%" PRId64 "\r\n", reply->quarantine_ms);
	say_bulk(honest, reply->cluster);
	say(honest, ":%" PRId64 "\r\n", reply->fences);
}

static void say_vote(struct honest *honest, const struct model_call *call, const struct model_reply *reply)
{
	bool yes = reply->code == CODE_YES || reply->code == CODE_REPAIRED, yields = yes && call->operation == 'Y';
	bool versioned = yes && !yields && call->mode == 'X' && call->version > 0, mine = reply->code == CODE_MINE;

	say(honest, "*%d\r\n:%d\r\n:%" PRId64 "\r\n", reply->code == CODE_BUSY ? 7 : versioned || mine || yields ? 4 : 3,
	    reply->kept ? CODE_KEPT : reply->code, reply->us);
	say_number(honest, reply->fence);
	if (reply->code == CODE_BUSY) {
		say(honest, ":%" PRId64 "\r\n", reply->pttl_ms);
		say_bulk(honest, reply->holder);
		say(honest, ":%u\r\n", reply->rank);
		say_bulk(honest, reply->ahead);
	} else if (versioned) {
		say(honest, ":%" PRIu64 "\r\n", reply->version);
	} else if (mine) {
		say(honest, ":%" PRId64 "\r\n", reply->expiry_ms);
	} else if (yields) {
		say(honest, ":%u\r\n", reply->rank);
	}
}

static void say_reply(struct honest *honest, const struct model_call *call, const struct model_reply *reply)
{
	if (reply->error == MODEL_NOSCRIPT)
		say(honest, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
	else if (reply->error != MODEL_OK)
		say(honest, "-%s\r\n", reply->error == MODEL_OOM ? "OOM command not allowed" : "READONLY You can't write");
	else if (strchr("VIN", call->operation))
		say_view(honest, reply);
	else if (reply->code == CODE_EPOCH || reply->code == -5)
		say(honest, "*2\r\n:%d\r\n:%" PRId64 "\r\n", reply->code, reply->us);
	else if (model_call_is_plain(call) && reply->code == CODE_YES && !reply->kept)
		say(honest, ":%" PRId64 "\r\n", reply->us);
	else if (call->operation == 'R' && reply->count == 1 && !call->unload)
		say(honest, ":1\r\n");
	else if (strchr("RB", call->operation))
		say(honest, "*3\r\n:%d\r\n:%" PRId64 "\r\n:%" PRId64 "\r\n", reply->code, reply->us, reply->count);
	else
		say_vote(honest, call, reply);
}

/* ---- who is at a key ---- */

static void say_owner(struct honest *honest, const char *token, int64_t left_ms)
{
	say_bulk(honest, token);
	say(honest, ":%" PRId64 "\r\n", left_ms);
}

static void say_holders(struct honest *honest, const char *name, int64_t world_us)
{
	const struct model_master *model = &honest->model;
	const struct model_cargo *cargo = model_cargo(model, name, world_us);
	const struct model_key *key = NULL;
	int64_t ms = (world_us + model->clock_us) / 1000;

	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (strcmp(model->data.keys[i].name, name) == 0 && model_holds(model, name, NULL, world_us))
			key = &model->data.keys[i];
	if (cargo && (!key || key->kind != KIND_STRING || strcmp(cargo->token, key->token) != 0))
		cargo = NULL;
	say(honest, "*%u\r\n", !key ? 3 : key->kind == KIND_ZSET ? 3 + 2 * key->reader_count : cargo ? 7 : 5);
	say_bulk(honest, name);
	say_number(honest, model_fence(model, name));
	say_bulk(honest, !key ? "none" : key->kind == KIND_ZSET ? "zset" : "string");
	for (unsigned i = 0; key && key->kind == KIND_ZSET && i < key->reader_count; i++)
		say_owner(honest, key->readers[i].token, key->readers[i].expiry_ms - ms);
	if (key && key->kind == KIND_STRING)
		say_owner(honest, key->token, key->expiry_ms - ms);
	if (cargo) {
		say_number(honest, cargo->version);
		say_bytes(honest, cargo->bytes, cargo->size);
	}
}

/* Each as the library makes them: mode:ttl ms:channel:token. */
static void say_waiters(struct honest *honest, const char *name, int64_t world_us)
{
	const char *members[MODEL_WAITERS];
	unsigned count = model_queue(&honest->model, name, world_us, members, MODEL_WAITERS);

	say(honest, "*%u\r\n", count);
	for (unsigned i = 0; i < count; i++) {
		const char *token = strchr(strchr(members[i] + 2, ':') + 1, ':') + 1;

		say(honest, "$%zu\r\n%c:%s\r\n", strlen(token) + 2, members[i][0], token);
	}
	say(honest, ":%u\r\n", count);
}

static void say_list(struct honest *honest, int64_t world_us)
{
	const struct model_key *keys = honest->model.data.keys;
	const char *members[MODEL_WAITERS];
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_KEYS; i++)
		count += keys[i].name[0] && model_holds(&honest->model, keys[i].name, NULL, world_us);
	say(honest, "*%u\r\n:1\r\n:%" PRId64 "\r\n$1\r\n0\r\n", 3 + 2 * count, world_us + honest->model.clock_us);
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (keys[i].name[0] && model_holds(&honest->model, keys[i].name, NULL, world_us)) {
			say_holders(honest, keys[i].name, world_us);
			say(honest, ":%u\r\n", model_queue(&honest->model, keys[i].name, world_us, members, MODEL_WAITERS));
		}
}

/* ---- the script ---- */

static void take_introduction(const struct honest *honest, size_t at, struct model_call *call)
{
	copy_word(honest, at, call->incarnation, sizeof(call->incarnation));
	call->durable = honest->argv[at + 1][0];
	call->believe = honest->argv[at + 2][0];
	copy_word(honest, at + 3, call->cluster, sizeof(call->cluster));
	call->quarantine_ms = number_at(honest, at + 4);
}

static void take_cargo(const struct honest *honest, size_t at, struct model_call *call)
{
	if (call->mode != 'X' || at >= honest->argc)
		return;
	call->version = (uint64_t)number_at(honest, at);
	call->has_bytes = at + 1 < honest->argc;
	if (!call->has_bytes)
		return;
	call->size = honest->lengths[at + 1];
	fuzz_check(call->size <= MODEL_BYTES_MAX);
	memcpy(call->bytes, honest->argv[at + 1], call->size);
}

/* The place in the queue, and the ticket. */
static void take_place(const struct honest *honest, size_t at, struct model_call *call)
{
	copy_word(honest, at, call->place, sizeof(call->place));
	call->ticket = (uint64_t)number_at(honest, at + 1);
}

/* What stands behind the token. */
static void take_details(const struct honest *honest, size_t at, struct model_call *call)
{
	if (call->operation == 'R') {
		call->number = (uint64_t)number_at(honest, at);
		call->next = (uint64_t)number_at(honest, at + 1);
		call->offer_ms = number_at(honest, at + 2);
		if (at + 3 < honest->argc)
			copy_word(honest, at + 3, call->place, sizeof(call->place));
		call->unload = at + 4 < honest->argc;
		fuzz_check(!call->unload || is_word(honest, at + 4, "1"));
		return;
	}
	if (call->operation == 'Y') {
		take_place(honest, at, call);
		call->next = (uint64_t)number_at(honest, at + 2);
		call->offer_ms = number_at(honest, at + 3);
		return;
	}
	call->mode = honest->argv[at][0];
	fuzz_check(call->mode == 'X' || call->mode == 'S');
	if (call->operation == 'P') {
		take_place(honest, at + 1, call);
		return;
	}
	call->ttl_ms = number_at(honest, at + 1);
	if (call->operation == 'E') {
		call->repair = honest->argv[at + 2][0];
		call->number = (uint64_t)number_at(honest, at + 3);
		call->offer_ms = number_at(honest, at + 4);
		call->unload = call->mode == 'S' && at + 5 < honest->argc;
		take_cargo(honest, at + 5, call);
		return;
	}
	call->number = (uint64_t)number_at(honest, at + 2);
	if (at + 3 == honest->argc) {
		call->ticket = strtoull(call->token, NULL, 16);
		call->offer_ms = PLAIN_OFFER_MS;
		return;
	}
	call->floor = (uint64_t)number_at(honest, at + 3);
	take_place(honest, at + 4, call);
	call->offer_ms = number_at(honest, at + 6);
	take_cargo(honest, at + 7, call);
}

static char run_script(struct honest *honest, int64_t world_us)
{
	struct model_call call = {0};
	struct model_reply reply;
	size_t at = 4;

	fuzz_check(honest->argc >= 4 && is_word(honest, 1, script_sha()));
	if (is_word(honest, 2, "1"))
		copy_word(honest, 3, call.key, sizeof(call.key));
	else
		at = 3;
	call.operation = honest->argv[at++][0];
	if (!honest->model.script_loaded && strchr("QL", call.operation)) {
		say(honest, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
		return call.operation;
	}
	if (call.operation == 'L') {
		say_list(honest, world_us);
		return 'L';
	}
	if (call.operation == 'Q') {
		say(honest, "*5\r\n:1\r\n:%" PRId64 "\r\n", world_us + honest->model.clock_us);
		say_holders(honest, call.key, world_us);
		say_waiters(honest, call.key, world_us);
		return 'Q';
	}
	if (strchr("IN", call.operation)) {
		take_introduction(honest, at, &call);
	} else if (call.operation == 'B') {
		call.ttl_ms = number_at(honest, at + 1);
	} else if (call.operation != 'V') {
		copy_word(honest, at, call.epoch, sizeof(call.epoch));
		copy_word(honest, at + 1, call.token, sizeof(call.token));
		take_details(honest, at + 2, &call);
	}
	model_execute(&honest->model, &call, world_us, &reply);
	say_reply(honest, &call, &reply);
	return call.operation;
}

static char run(struct honest *honest, int64_t world_us)
{
	if (is_word(honest, 0, "EVALSHA"))
		return run_script(honest, world_us);
	if (is_word(honest, 0, "AUTH")) {
		say(honest, "+OK\r\n");
		return 'a';
	}
	if (is_word(honest, 0, "SELECT")) {
		say(honest, "+OK\r\n");
		return 's';
	}
	if (is_word(honest, 0, "INFO")) {
		say_info(honest);
		return 'i';
	}
	if (is_word(honest, 0, "CONFIG")) {
		say_setting(honest);
		return 'c';
	}
	if (is_word(honest, 0, "SCRIPT")) {
		honest->model.script_loaded = true;
		say_bulk(honest, script_sha());
		return 'l';
	}
	if (is_word(honest, 0, "SUBSCRIBE")) {
		fuzz_check(honest->argc == 2 && honest->lengths[1] > 13 && memcmp(honest->argv[1], "dlock!grants-", 13) == 0);
		say(honest, "*3\r\n$9\r\nsubscribe\r\n");
		say_bytes(honest, honest->argv[1], honest->lengths[1]);
		say(honest, ":1\r\n");
		return 'u';
	}
	if (is_word(honest, 0, "PUBLISH")) {
		fuzz_check(honest->argc == 3 && honest->lengths[2] == 0);
		say(honest, ":0\r\n");
		return 'p';
	}
	fuzz_check(is_word(honest, 0, "CLIENT"));
	say(honest, ":%" PRId64 "\r\n", is_word(honest, 1, "ID") ? honest->connections : 1);
	return is_word(honest, 1, "ID") ? 'i' : 'k';
}

char honest_next(struct honest *honest, int64_t world_us)
{
	size_t size = read_request(honest);
	char what;

	honest->out_size = 0;
	if (size == 0)
		return 0;
	what = run(honest, world_us);
	honest->in_size -= size;
	memmove(honest->in, honest->in + size, honest->in_size);
	return what;
}
