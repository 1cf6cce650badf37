/* wire.c - see wire.h. */
#include "wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define FENCE_MAX (INT64_C(1) << 53) /* what the script's numbers carry exactly */
#define MS_MAX (INT64_C(1) << 52)
#define CLOCK_MIN_US INT64_C(1000000000000000) /* in 2001 */

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

static const char *mode_text(enum mode mode)
{
	return mode == MODE_EXCLUSIVE ? "X" : "S";
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

static bool has_place(const struct request *request, const struct quorum *quorum)
{
	return request->queued && quorum->settings.channel[0];
}

/* The member of the queue: the same for as long as the attempt waits. */
static void add_place(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	const char *channel = quorum->settings.channel;
	int length;

	if (!has_place(request, quorum)) {
		add(c, "", 0);
		return;
	}
	length = snprintf(c->place, sizeof(c->place), "%s:%" PRIu64 ":%s:%s", mode_text(request->attempt->waits_for),
	                  milliseconds_up(request->ttl_us), channel, request->attempt->token);
	add(c, c->place, (size_t)length);
}

/* What stands behind the proposal is what the script takes for granted. */
static bool is_plain(const struct request *request, const struct quorum *quorum)
{
	const struct attempt *attempt = request->attempt;

	return request->mode == MODE_EXCLUSIVE && request->floor == 0 && !has_place(request, quorum) &&
	       attempt->cargo.version == 0 && milliseconds_up(request->offer_us) == milliseconds_up(OFFER_MIN_US) &&
	       strtoull(attempt->token, NULL, 16) == attempt->ticket;
}

static void format_acquire(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	add_text(c, mode_text(request->mode));
	add_number(c, 0, milliseconds_up(request->ttl_us));
	add_number(c, 1, request->fence);
	if (is_plain(request, quorum))
		return;
	add_number(c, 3, request->floor);
	add_place(c, request, quorum);
	add_number(c, 5, request->attempt->ticket);
	add_number(c, 6, milliseconds_up(request->offer_us));
	add_cargo(c, request);
}

static void format_extend(struct wire_command *c, const struct request *request)
{
	add_text(c, mode_text(request->mode));
	add_number(c, 0, milliseconds_up(request->ttl_us));
	c->text[1][0] = (char)request->repair;
	add(c, c->text[1], 1);
	add_number(c, 2, request->fence);
	add_number(c, 3, milliseconds_up(request->offer_us));
	if (request->unload)
		add(c, "0", 1);
	add_cargo(c, request);
}

static void format_release(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	add_number(c, 0, request->fence);
	add_number(c, 1, request->next);
	add_number(c, 2, milliseconds_up(request->offer_us));
	if (has_place(request, quorum) || request->unload)
		add_place(c, request, quorum);
	if (request->unload)
		add_text(c, "1");
}

static void format_yield(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	add_place(c, request, quorum);
	add_number(c, 0, request->attempt->ticket);
	add_number(c, 1, request->next);
	add_number(c, 2, milliseconds_up(request->offer_us));
}

static void format_poll(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	add_text(c, mode_text(request->mode));
	add_place(c, request, quorum);
	add_number(c, 0, request->attempt->ticket);
}

void wire_format(struct wire_command *c, const struct request *request, const struct quorum *quorum)
{
	const struct attempt *attempt = request->attempt;
	static const char letters[] = {OP_VIEW,    OP_INTRODUCE, OP_INIT,    OP_ACQUIRE,
	                               OP_POLL,    OP_EXTEND,    OP_RELEASE, OP_YIELD};
	const char *letter = memchr(letters, (int)request->op, sizeof(letters));

	begin(c, attempt ? attempt->key : NULL, attempt ? attempt->key_length : 0);
	add(c, letter, 1);
	if (!attempt) {
		if (request->op != OP_VIEW)
			format_introduction(c, request, quorum);
		return;
	}
	add_text(c, quorum->masters[request->master].view.epoch);
	add_text(c, attempt->token);
	switch (request->op) {
	case OP_ACQUIRE:
		format_acquire(c, request, quorum);
		break;
	case OP_POLL:
		format_poll(c, request, quorum);
		break;
	case OP_EXTEND:
		format_extend(c, request);
		break;
	case OP_RELEASE:
		format_release(c, request, quorum);
		break;
	case OP_YIELD:
		format_yield(c, request, quorum);
		break;
	case OP_VIEW:
	case OP_INTRODUCE:
	case OP_INIT:
		break;
	}
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

void wire_format_probe(struct wire_command *c, const char *channel)
{
	c->argc = 0;
	add(c, "PUBLISH", 7);
	add_text(c, channel);
	add(c, "", 0);
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

/* Of a number the clock is the whole, if it can be one of today: no other number may be taken for it. */
int64_t wire_clock_us(const struct value *value)
{
	bool alone = value && value_kind(value) == VALUE_INTEGER;
	int64_t clock_us = alone ? value_integer(value, 0) : value ? value_integer(value_at(value, 1), 0) : 0;

	return clock_us > (alone ? CLOCK_MIN_US : 0) && clock_us <= FENCE_MAX ? clock_us : 0;
}

/* The version that an answer to A or E tells; -1: what can't be one. */
static int64_t version_of(const struct value *value)
{
	int64_t version = value_count(value) > 3 ? value_integer(value_at(value, 3), -1) : 0;

	return version <= FENCE_MAX ? version : -1;
}

static bool is_fence(int64_t fence)
{
	return fence >= 0 && fence <= FENCE_MAX;
}

/* {0, clock, fence, ms left, holder, rank, ahead} */
static bool is_busy(const struct value *value)
{
	int64_t ms = value_integer(value_at(value, 3), INT64_MIN), rank = value_integer(value_at(value, 5), -1);

	return ms >= -2 && ms <= MS_MAX && value_string(value_at(value, 4), NULL) && rank >= 0 && rank <= INT32_MAX &&
	       value_string(value_at(value, 6), NULL);
}

/* What the script may say, whole: {code, clock, fence} and what each code has besides. A vote is only what can't be
 * read as anything else. */
static bool is_answer(int64_t code, const struct value *value)
{
	int64_t fence = value_integer(value_at(value, 2), -1), expiry = value_integer(value_at(value, 3), 0);

	switch (code) {
	case CODE_EPOCH:
		return true;
	case CODE_BUSY:
		return is_fence(fence) && is_busy(value);
	case CODE_MINE:
		return is_fence(fence) && expiry > 0 && expiry <= MS_MAX;
	case CODE_YES:
	case CODE_KEPT:
	case CODE_REPAIRED:
		return is_fence(fence) && version_of(value) >= 0;
	case CODE_OUTBID:
	case CODE_BARE:
	case CODE_FREE:
	case CODE_SKEWED:
	case CODE_REJECTED:
		return is_fence(fence);
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

/* A holder; "" if it is longer than any of ours. */
static void take_holder(char ret[HOLDER_MAX], const struct value *value)
{
	size_t length = 0;
	const char *text = value_string(value, &length);

	if (text && length < HOLDER_MAX)
		memcpy(ret, text, length);
}

static void take_answer(struct answer *ret, const struct value *value)
{
	ret->master_us = wire_clock_us(value);
	ret->fence = (uint64_t)value_integer(value_at(value, 2), 0);
	switch (ret->code) {
	case CODE_YES:
	case CODE_REPAIRED:
		ret->version = (uint64_t)version_of(value);
		break;
	case CODE_MINE:
		ret->expiry_ms = value_integer(value_at(value, 3), 0);
		break;
	case CODE_BUSY:
		ret->pttl_ms = value_integer(value_at(value, 3), -1);
		take_holder(ret->holder, value_at(value, 4));
		ret->rank = (unsigned)value_integer(value_at(value, 5), 0);
		take_holder(ret->ahead, value_at(value, 6));
		break;
	default:
		break;
	}
}

/* A yes that is a number: the clock of an A that has taken the lock with its own proposal, or the 1 of a release. */
static bool take_number_alone(struct answer *ret, const struct request *request, const struct value *value)
{
	int64_t clock_us = wire_clock_us(value);

	if (request->op == OP_ACQUIRE && request->mode == MODE_EXCLUSIVE && clock_us > 0) {
		ret->master_us = clock_us;
		ret->fence = request->fence;
		return true;
	}
	return request->op == OP_RELEASE && value_integer(value, 0) == 1;
}

void wire_answer(struct answer *ret, const struct request *request, enum node_answer kind, const struct value *value,
                 const char *text)
{
	int64_t code;

	memset(ret, 0, sizeof(*ret));
	ret->pttl_ms = -1;
	ret->code = CODE_ERROR;
	if (kind == NODE_BROKEN)
		ret->code = CODE_BROKEN;
	else if (kind == NODE_ERROR)
		ret->code = error_code(text);
	if (kind == NODE_REPLY && value_kind(value) == VALUE_INTEGER && take_number_alone(ret, request, value))
		ret->code = CODE_YES;
	if (kind != NODE_REPLY || value_kind(value) != VALUE_ARRAY)
		return;
	code = value_integer(value_at(value, 0), CODE_ERROR);
	if (!is_answer(code, value))
		return;
	ret->kept = code == CODE_KEPT;
	ret->code = ret->kept ? CODE_YES : (int)code;
	take_answer(ret, value);
}

/* ---- grants ---- */

/* The word up to the next space or the end, of less than `size` printable bytes. */
static bool take_word(const char **at, const char *end, char *out, size_t size)
{
	const char *space = memchr(*at, ' ', (size_t)(end - *at));
	size_t length = (size_t)((space ? space : end) - *at);

	if (length == 0 || length >= size)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((*at)[i] < 0x21 || (*at)[i] > 0x7e)
			return false;
	memcpy(out, *at, length);
	out[length] = '\0';
	*at += length + (space ? 1 : 0);
	return true;
}

/* A decimal number from 1 to `most`, as the script writes it. */
static bool take_number(const char **at, const char *end, int64_t most, int64_t *ret)
{
	char word[20];
	int64_t number = 0;

	if (!take_word(at, end, word, sizeof(word)) || word[0] == '0')
		return false;
	for (const char *digit = word; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return false;
		number = number * 10 + (*digit - '0');
		if (number > most)
			return false;
	}
	*ret = number;
	return true;
}

/* "G FENCE CLOCK EXPIRY EPOCH TOKEN", with one space between. */
bool wire_grant(struct grant *ret, const char *payload, size_t length)
{
	const char *at = payload + 2, *end = payload + length;
	int64_t fence;

	if (length < 2 || memcmp(payload, "G ", 2) != 0 || payload[length - 1] == ' ')
		return false;
	memset(ret, 0, sizeof(*ret));
	if (!take_number(&at, end, FENCE_MAX, &fence) || !take_number(&at, end, FENCE_MAX, &ret->master_us) ||
	    !take_number(&at, end, MS_MAX, &ret->expiry_ms) || !take_word(&at, end, ret->epoch, sizeof(ret->epoch)) ||
	    !take_word(&at, end, ret->token, sizeof(ret->token)))
		return false;
	ret->fence = (uint64_t)fence;
	return at == end && token_parse(ret->token, strlen(ret->token), NULL);
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
