/* wire.c - see wire.h. */
#include "wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "script.h"

#define FENCE_MAX (INT64_C(1) << 53) /* what the script's numbers carry exactly */
#define MS_MAX (INT64_C(1) << 52)

static void add(struct wire_command *c, const char *text, size_t length)
{
	c->argv[c->argc] = text;
	c->lengths[c->argc++] = length;
}

static void add_text(struct wire_command *c, const char *text)
{
	add(c, text, strlen(text));
}

static void add_number(struct wire_command *c, unsigned slot, uint64_t number)
{
	int length = snprintf(c->text[slot], sizeof(c->text[slot]), "%" PRIu64, number);

	add(c, c->text[slot], (size_t)length);
}

static void begin(struct wire_command *c, const char *key, size_t key_length)
{
	c->argc = 0;
	add(c, "EVALSHA", 7);
	add(c, script_sha(), 40);
	add(c, key ? "1" : "0", 1);
	if (key)
		add(c, key, key_length);
}

static void format_introduction(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	const struct introduction *in = &quorum->masters[request->master].introduction;

	add_text(c, in->incarnation);
	add_text(c, !in->always_known ? "?" : in->always ? "1" : "0");
	/* A mark of durability says nothing of data that came from another server. And where nothing is appended
	 * now, what was loaded may be a snapshot that is older than the last promises. */
	add_text(c, in->was_replica || !in->always_known || !in->always ? "0" : "1");
	quorum_cluster_text(quorum, c->cluster, sizeof(c->cluster));
	add_text(c, c->cluster);
	add_number(c, 0, (uint64_t)(quorum->quarantine_us / 1000));
	add_text(c, quorum->settings.tags[request->master]);
}

static uint64_t milliseconds_up(int64_t us)
{
	return (uint64_t)((us + 999) / 1000);
}

/* What travels with an exclusive lock. As it is now: between the decision and the sending it may have been set anew,
 * and what had been decided on is gone. */
static void add_cargo(struct wire_command *c, const struct request *request)
{
	const struct cargo *cargo = &request->attempt->cargo;

	if (request->mode != MODE_EXCLUSIVE || cargo->version == 0)
		return;
	add_number(c, 4, cargo->version);
	if (request->op == OP_ACQUIRE || request->bytes)
		add(c, cargo->size ? cargo->bytes : "", cargo->size);
}

void wire_format(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	const struct attempt *attempt = request->attempt;
	static const char letters[] = {OP_VIEW, OP_INTRODUCE, OP_INIT, OP_ACQUIRE, OP_POLL, OP_EXTEND, OP_RELEASE};
	const char *letter = memchr(letters, (int)request->op, sizeof(letters));
	const char *mode = request->mode == MODE_EXCLUSIVE ? "X" : "S";

	begin(c, attempt ? attempt->key : NULL, attempt ? attempt->key_length : 0);
	add(c, letter, 1);
	if (!attempt) {
		if (request->op != OP_VIEW)
			format_introduction(c, request, quorum);
		return;
	}
	add_text(c, quorum->masters[request->master].view.epoch);
	add_text(c, attempt->token);
	if (request->op == OP_RELEASE) {
		add_number(c, 0, request->fence);
		if (request->unload)
			add(c, "1", 1);
		return;
	}
	add(c, mode, 1);
	if (request->op == OP_POLL)
		return;
	add_number(c, 0, milliseconds_up(request->ttl_us));
	if (request->op == OP_EXTEND) {
		c->text[1][0] = (char)request->repair;
		add(c, c->text[1], 1);
		add_number(c, 2, request->fence);
		if (request->unload)
			add(c, "0", 1);
		add_cargo(c, request);
		return;
	}
	add_number(c, 1, request->fence);
	add_number(c, 2, SKEW_US);
	add_number(c, 3, request->floor);
	add_cargo(c, request);
}

void wire_format_load(struct wire_command *c)
{
	size_t length;
	const char *text = script_text(&length);

	c->argc = 0;
	add(c, "SCRIPT", 6);
	add(c, "LOAD", 4);
	add(c, text, length);
}

void wire_format_survey(struct wire_command *c, char operation, const char *key, size_t key_length, const char *second,
                        const char *third)
{
	begin(c, key, key_length);
	c->text[0][0] = operation;
	add(c, c->text[0], 1);
	add_text(c, second);
	add_text(c, third);
	if (operation == 'B') /* B has its number where A has its mode */
		add_text(c, third);
}

int64_t wire_clock_us(const struct value *value)
{
	int64_t clock_us = value ? value_integer(value_at(value, 1), 0) : 0;

	return clock_us > 0 && clock_us <= FENCE_MAX ? clock_us : 0;
}

/* The version that an answer to A or E tells; -1: what can't be one. */
static int64_t version_of(const struct value *value)
{
	int64_t version = value_count(value) > 3 ? value_integer(value_at(value, 3), -1) : 0;

	return version <= FENCE_MAX ? version : -1;
}

/* What the script may say, whole: {code, clock, fence, ms left, holder}, or {code, clock, fence, version}, of which
 * each code has its part. A vote is only what can't be read as anything else. */
static bool is_answer(int64_t code, const struct value *value)
{
	int64_t fence = value_integer(value_at(value, 2), -1), ms = value_integer(value_at(value, 3), INT64_MIN);
	size_t length;

	switch (code) {
	case CODE_EPOCH:
		return true;
	case CODE_BUSY:
		if (ms < -2 || ms > MS_MAX || !value_string(value_at(value, 4), &length))
			return false;
		return fence >= 0 && fence <= FENCE_MAX;
	case CODE_YES:
	case CODE_REPAIRED:
		return fence >= 0 && fence <= FENCE_MAX && version_of(value) >= 0;
	case CODE_OUTBID:
	case CODE_BARE:
	case CODE_FREE:
	case CODE_SKEWED:
	case CODE_REJECTED:
		return fence >= 0 && fence <= FENCE_MAX;
	default:
		return false;
	}
}

/* A server that is busy with another script has done nothing, and will do nothing for a while. */
static int error_code(const char *text)
{
	if (wire_remedy(text) == WIRE_LOAD)
		return CODE_NOT_CARRIED_OUT;
	return text && strncmp(text, "BUSY", 4) == 0 ? CODE_REFUSED : CODE_ERROR;
}

void wire_answer(struct answer *ret, enum node_answer kind, const struct value *value, const char *text)
{
	const char *holder;
	size_t length = 0;
	int64_t code;

	memset(ret, 0, sizeof(*ret));
	ret->pttl_ms = -1;
	ret->code = CODE_ERROR;
	if (kind == NODE_BROKEN)
		ret->code = CODE_BROKEN;
	else if (kind == NODE_ERROR)
		ret->code = error_code(text);
	if (kind != NODE_REPLY || value_kind(value) != VALUE_ARRAY)
		return;
	code = value_integer(value_at(value, 0), CODE_ERROR);
	if (!is_answer(code, value))
		return;
	ret->code = (int)code;
	ret->master_us = wire_clock_us(value);
	ret->fence = (uint64_t)value_integer(value_at(value, 2), 0);
	if (code == CODE_YES || code == CODE_REPAIRED) {
		ret->version = (uint64_t)version_of(value);
		return;
	}
	ret->pttl_ms = value_integer(value_at(value, 3), -1);
	holder = value_string(value_at(value, 4), &length);
	if (holder && length < sizeof(ret->holder))
		memcpy(ret->holder, holder, length);
}

static bool copy_string(char *out, size_t size, const struct value *value)
{
	size_t length = 0;
	const char *text = value_string(value, &length);

	if (!text || length >= size || memchr(text, '\0', length))
		return false;
	memcpy(out, text, length);
	out[length] = '\0';
	return true;
}

bool wire_view(struct view *ret, const struct value *value)
{
	const char *cluster;
	size_t length = 0;

	memset(ret, 0, sizeof(*ret));
	if (value_kind(value) != VALUE_ARRAY || value_integer(value_at(value, 0), 0) != 1 || value_count(value) < 6)
		return false;
	/* An epoch that nobody of us wrote is as good as none: the master is introduced anew. */
	if (!copy_string(ret->epoch, sizeof(ret->epoch), value_at(value, 2)))
		ret->epoch[0] = '\0';
	ret->quarantine_ms = value_integer(value_at(value, 3), 0);
	if (ret->quarantine_ms == -1)
		ret->quarantine_ms = 1000; /* without an end, set by hand: looked at again and again */
	if (ret->quarantine_ms > MS_MAX)
		ret->quarantine_ms = MS_MAX;
	cluster = value_string(value_at(value, 4), &length);
	view_parse_cluster(ret, cluster, cluster ? length : 0);
	ret->fences = value_integer(value_at(value, 5), 0);
	return true;
}

void wire_introduction(struct introduction *ret, const struct node_facts *facts)
{
	memset(ret, 0, sizeof(*ret));
	ret->info_known = facts->info_known && facts->is_redis;
	ret->is_master = facts->is_master;
	ret->loading = facts->loading;
	ret->was_replica = facts->was_replica;
	ret->evicts = facts->evicts;
	ret->always_known = facts->always_known;
	ret->always = facts->always;
	ret->kill_permitted = facts->kill_permitted;
	ret->version = facts->version;
	if (facts->run_id[0] == '\0')
		return;
	snprintf(ret->incarnation, sizeof(ret->incarnation), "%s:%s", facts->run_id, facts->replid);
	ret->run_id_length = strlen(facts->run_id);
}

static bool begins(const char *text, const char *word)
{
	return strncmp(text, word, strlen(word)) == 0;
}

enum wire_remedy wire_remedy(const char *text)
{
	if (!text)
		return WIRE_NOTHING;
	if (begins(text, "NOSCRIPT"))
		return WIRE_LOAD;
	/* What the master is has changed: only a new handshake tells what it is now. Scripts
	 * report the errors of the commands in them with a prefix of their own. */
	if (begins(text, "READONLY") || begins(text, "LOADING") || begins(text, "MASTERDOWN") ||
	    begins(text, "NOAUTH") || strstr(text, "READONLY"))
		return WIRE_RECONNECT;
	return WIRE_NOTHING;
}
