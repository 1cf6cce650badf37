/* model_real.c - see model_real.h. */
#include "tests/integration/model_real.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "script.h"
#include "tests/harness/server_clock.h"
#include "tests/integration/model_survey.h"

struct real {
	struct servers *servers;
	struct server_clock *clock;
	redisContext *context;
	redisContext *listener; /* to the channels in steps_listen */
	bool publishes;         /* it is permitted */
	char *dump;        /* the text of the script that tells all keys */
	char dump_sha[41];
	char name[64];
};

/*
 * All keys as model_keys_text() has them. Whatever may be there is looked at first, which
 * removes what has expired. An expiry is now and what is left: time stands still. At last a message says that this
 * was all that was published.
 */
#define LAST_CHANNEL "that's all"

static const char dump_script[] =
	"redis.call('EXISTS', unpack(universe))\n"
	"local time = redis.call('TIME')\n"
	"local ms = time[1] * 1000 + math.floor(time[2] / 1000)\n"
	"local function whole(x) return string.format('%.0f', x) end\n"
	"local tell = {}\n"
	"function tell.string(name) return redis.call('GET', name) end\n"
	"function tell.list(name) return table.concat(redis.call('LRANGE', name, 0, -1), ' ') end\n"
	"function tell.set(name) return table.concat(redis.call('SMEMBERS', name), ' ') end\n"
	"function tell.zset(name)\n"
	"  local all = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')\n"
	"  for i = 2, #all, 2 do all[i] = whole(all[i]) end\n"
	"  return table.concat(all, ' ')\n"
	"end\n"
	"function tell.hash(name)\n"
	"  local all, fields = redis.call('HGETALL', name), {}\n"
	"  for i = 1, #all, 2 do fields[#fields + 1] = all[i] .. '=' .. all[i + 1] end\n"
	"  table.sort(fields)\n"
	"  return table.concat(fields, ' ')\n"
	"end\n"
	"local names, lines = redis.call('KEYS', '*'), {}\n"
	"table.sort(names)\n"
	"for i, name in ipairs(names) do\n"
	"  local kind, left = redis.call('TYPE', name).ok, redis.call('PTTL', name)\n"
	"  lines[i] = name .. ' ' .. kind .. ' ' .. (left < 0 and left or whole(ms + left)) .. ' ' .. tell[kind](name) .. '\\n'\n"
	"end\n"
	"redis.pcall('PUBLISH', \"" LAST_CHANNEL "\", '')\n"
	"return table.concat(lines)\n";

/* The script with the names of all keys in it. */
static char *make_dump(void)
{
	static char names[STEPS_NAMES_MAX][TOKEN_MAX + 16];
	size_t size, count = steps_names(names);
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "local universe = {");
	for (size_t i = 0; i < count; i++)
		fprintf(out, "'%s',", names[i]);
	fprintf(out, "}\n%s", dump_script);
	fclose(out);
	return text;
}

/* ---- commands ---- */

static redisReply *next_of(redisContext *context)
{
	void *reply = NULL;

	if (redisGetReply(context, &reply) != REDIS_OK) {
		fprintf(stderr, "real server: %s\n", context->errstr);
		return NULL;
	}
	return reply;
}

static redisReply *next_reply(struct real *real)
{
	return next_of(real->context);
}

static redisReply *command(struct real *real, int argc, const char **argv, const size_t *lengths)
{
	redisAppendCommandArgv(real->context, argc, argv, lengths);
	return next_reply(real);
}

static bool is_ok(struct real *real, const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = {a, b, c, d};
	redisReply *reply = command(real, d ? 4 : c ? 3 : b ? 2 : 1, argv, NULL);
	bool ok = reply && reply->type != REDIS_REPLY_ERROR;

	if (reply && !ok)
		fprintf(stderr, "real server: %s %s: %s\n", a, b ? b : "", reply->str);
	freeReplyObject(reply);
	return ok;
}

static bool load_dump(struct real *real)
{
	const char *argv[] = {"SCRIPT", "LOAD", real->dump};
	redisReply *reply = command(real, 3, argv, NULL);
	bool ok = reply && reply->type == REDIS_REPLY_STRING && reply->len == 40;

	if (ok)
		memcpy(real->dump_sha, reply->str, 41);
	freeReplyObject(reply);
	return ok;
}

static bool load_script(struct real *real)
{
	size_t length;
	const char *argv[] = {"SCRIPT", "LOAD", script_text(&length)};

	return is_ok(real, argv[0], argv[1], argv[2], NULL);
}

static bool connect_to(const struct real *real, redisContext **context)
{
	const struct timeval timeout = {.tv_sec = 60};
	const char *address = servers_address(real->servers, 0);

	redisFree(*context);
	*context = redisConnectUnix(address + strlen("unix:"));
	if (!*context || (*context)->err) {
		fprintf(stderr, "real server: %s\n", *context ? (*context)->errstr : "no memory");
		return false;
	}
	redisSetTimeout(*context, timeout);
	return true;
}

static bool listen_to_all(struct real *real)
{
	const char *words[STEP_WORDS_MAX];
	bool ok = true;
	int count = 0;

	while (steps_listen[count]) {
		words[count] = steps_listen[count];
		count++;
	}
	words[count++] = LAST_CHANNEL;
	redisAppendCommandArgv(real->listener, count, words, NULL);
	for (int i = 1; i < count && ok; i++) {
		redisReply *reply = next_of(real->listener);

		ok = reply && reply->type != REDIS_REPLY_ERROR;
		freeReplyObject(reply);
	}
	return ok;
}

/*
 * Keys that have expired are removed when they are looked at, one millisecond after the one in which they
 * expire. What servers remove by themselves, by chance, is switched off: Redis 8 does so in that millisecond
 * already (which is within the 2 ms that libdlock leaves for rounding).
 */
static bool connect_and_prepare(struct real *real)
{
	return connect_to(real, &real->context) && connect_to(real, &real->listener) &&
	       is_ok(real, "DEBUG", "SET-ACTIVE-EXPIRE", "0", NULL) && listen_to_all(real);
}

/* From 7.0 on DEBUG has to be permitted, by a word that earlier servers do not know. NULL: not needed. */
static const char *permit_debug(const char *program)
{
	char command[4200], line[256] = "", *version;
	FILE *pipe;

	snprintf(command, sizeof(command), "'%s' --version", program);
	pipe = popen(command, "re");
	if (pipe && !fgets(line, sizeof(line), pipe))
		line[0] = '\0';
	if (pipe)
		pclose(pipe);
	version = strstr(line, "v=");
	return version && atoi(version + 2) >= 7 ? "enable-debug-command local" : NULL;
}

/* ---- start and end ---- */

static void find_name(struct real *real)
{
	char *info = servers_command(real->servers, 0, "INFO server");
	const char *valkey = info ? strstr(info, "valkey_version:") : NULL;
	const char *redis = info ? strstr(info, "redis_version:") : NULL;
	const char *version = valkey ? valkey : redis ? redis : "?:?";

	version = strchr(version, ':') + 1;
	snprintf(real->name, sizeof(real->name), "%s %.*s", valkey ? "valkey" : "redis", (int)strcspn(version, "\r\n"),
	         version);
	free(info);
}

struct real *real_start(const char *program, bool restarts)
{
	const struct servers_options options = {.count = 1,
	                                        .persistence = restarts ? SERVERS_ALWAYS : SERVERS_NONE,
	                                        .config = permit_debug(program)};
	struct real *real = calloc(1, sizeof(*real));

	if (!real)
		return NULL;
	real->dump = make_dump();
	real->clock = server_clock_new();
	if (real->dump && real->clock) {
		server_clock_freeze(real->clock, INT64_C(1700000000000000));
		server_clock_preload(real->clock, true);
		setenv("DLOCK_TEST_SERVER", program, 1);
		real->servers = servers_start(&options);
		server_clock_preload(real->clock, false);
	}
	if (!real->servers || !connect_and_prepare(real)) {
		real_free(real);
		return NULL;
	}
	find_name(real);
	return real;
}

void real_free(struct real *real)
{
	if (!real)
		return;
	redisFree(real->context);
	redisFree(real->listener);
	servers_free(real->servers);
	server_clock_free(real->clock);
	free(real->dump);
	free(real);
}

const char *real_name(const struct real *real)
{
	return real->name;
}

bool real_reset(struct real *real, int64_t clock_us)
{
	server_clock_freeze(real->clock, clock_us);
	real->publishes = true;
	return is_ok(real, "ACL", "SETUSER", "default", "+publish") && is_ok(real, "REPLICAOF", "NO", "ONE", NULL) &&
	       is_ok(real, "CONFIG", "SET", "maxmemory", "0") && is_ok(real, "FLUSHALL", NULL, NULL, NULL) &&
	       is_ok(real, "SCRIPT", "FLUSH", NULL, NULL) &&
	       load_script(real) && load_dump(real);
}

/* ---- replies ---- */

static int64_t integer_at(const redisReply *reply, size_t i)
{
	return i < reply->elements && reply->element[i]->type == REDIS_REPLY_INTEGER ? reply->element[i]->integer
	                                                                              : INT64_MIN;
}

static bool text_at(const redisReply *reply, size_t i, char *out, size_t size)
{
	const redisReply *text = i < reply->elements ? reply->element[i] : NULL;

	if (!text || text->type != REDIS_REPLY_STRING || (size_t)text->len >= size || memchr(text->str, 0, (size_t)text->len))
		return false;
	memcpy(out, text->str, (size_t)text->len + 1);
	return true;
}

/* Digits and nothing else. */
static bool fence_at(const redisReply *reply, size_t i, uint64_t *ret)
{
	char text[32], *end;

	if (!text_at(reply, i, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
		return false;
	*ret = strtoull(text, &end, 10);
	return *end == '\0';
}

static bool parse_view(const redisReply *reply, struct model_reply *ret)
{
	ret->quarantine_ms = integer_at(reply, 3);
	ret->fences = integer_at(reply, 5);
	return reply->elements == 6 && text_at(reply, 2, ret->epoch, sizeof(ret->epoch)) &&
	       text_at(reply, 4, ret->cluster, sizeof(ret->cluster));
}

/* Each code with just the elements that it has. */
static bool parse_vote(const redisReply *reply, const struct model_call *call, struct model_reply *ret)
{
	bool carries;

	ret->kept = ret->code == CODE_KEPT;
	ret->code = ret->kept ? CODE_YES : ret->code;
	carries = (ret->code == CODE_YES || ret->code == CODE_REPAIRED) && call->mode == 'X' && call->version > 0;

	if (ret->code == CODE_EPOCH)
		return reply->elements == 2;
	if (!fence_at(reply, 2, &ret->fence))
		return false;
	if (ret->code == CODE_BUSY) {
		ret->pttl_ms = integer_at(reply, 3);
		ret->rank = (unsigned)integer_at(reply, 5);
		return reply->elements == 7 && text_at(reply, 4, ret->holder, sizeof(ret->holder)) &&
		       text_at(reply, 6, ret->ahead, sizeof(ret->ahead));
	}
	if (ret->code == CODE_MINE || call->operation == 'Y') {
		ret->expiry_ms = ret->code == CODE_MINE ? integer_at(reply, 3) : 0;
		ret->rank = ret->code == CODE_MINE ? 0 : (unsigned)integer_at(reply, 3);
		return reply->elements == 4;
	}
	if (carries)
		ret->version = (uint64_t)integer_at(reply, 3);
	return reply->elements == (carries ? 4 : 3);
}

/* As model_survey() has it. */
static bool flatten(const redisReply *reply, struct survey *survey)
{
	if (reply->type == REDIS_REPLY_ARRAY) {
		survey_line(survey);
		for (size_t i = 0; i < reply->elements; i++)
			if (!flatten(reply->element[i], survey))
				return false;
	} else if (reply->type == REDIS_REPLY_INTEGER) {
		survey_number(survey, reply->integer);
	} else if (reply->type == REDIS_REPLY_STRING) {
		survey_word(survey, reply->str, (size_t)reply->len);
	} else {
		return false;
	}
	return true;
}

/* Who is there and who waits: of L after a cursor that says that this was all. */
static bool parse_survey(const redisReply *reply, const struct model_call *call, struct outcome *ret)
{
	struct survey survey = {.text = ret->said, .size = sizeof(ret->said)};
	size_t first = call->operation == 'L' ? 3 : 2;
	char cursor[8];

	if (reply->elements < first || (first == 2 && reply->elements != 5))
		return false;
	if (first == 3 && (!text_at(reply, 2, cursor, sizeof(cursor)) || strcmp(cursor, "0") != 0))
		return false;
	for (size_t i = first; i < reply->elements; i++) {
		/* Of L in pairs: one that is there, and how many wait for it. Of Q one more array before the number. */
		bool number = call->operation == 'L' ? i % 2 == 0 : i == 4;

		if (reply->element[i]->type != (number ? REDIS_REPLY_INTEGER : REDIS_REPLY_ARRAY) ||
		    !flatten(reply->element[i], &survey))
			return false;
	}
	survey_end(&survey);
	return true;
}

/* A number alone: the clock, of an A in few words that has taken the lock; 1, of an R that had it, with no clock. */
static bool parse_number(const redisReply *reply, const struct model_call *call, int64_t clock_us, struct model_reply *ret)
{
	ret->code = CODE_YES;
	ret->us = call->operation == 'R' ? clock_us : reply->integer;
	ret->fence = call->operation == 'A' ? call->number : 0;
	ret->count = call->operation == 'R';
	return model_call_is_plain(call) || (call->operation == 'R' && reply->integer == 1);
}

static bool parse(const redisReply *reply, const struct model_call *call, int64_t clock_us, struct outcome *outcome)
{
	struct model_reply *ret = &outcome->reply;

	outcome->alone = reply->type == REDIS_REPLY_INTEGER;
	if (outcome->alone)
		return parse_number(reply, call, clock_us, ret);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2)
		return false;
	ret->code = (int)integer_at(reply, 0);
	ret->us = integer_at(reply, 1);
	switch (call->operation) {
	case 'V':
	case 'I':
	case 'N': return parse_view(reply, ret);
	case 'Q':
	case 'L': return parse_survey(reply, call, outcome);
	case 'B':
		if (ret->code == -5)
			return reply->elements == 2;
		/* fall through */
	case 'R':
		ret->count = integer_at(reply, 2);
		return reply->elements == 3;
	default: return parse_vote(reply, call, ret);
	}
}

/* The servers' versions have words of their own around the error of a command in a script. */
static enum model_error error_of(const char *text)
{
	if (strncmp(text, "NOSCRIPT", 8) == 0)
		return MODEL_NOSCRIPT;
	return strstr(text, "READONLY") ? MODEL_READONLY : strstr(text, "OOM") ? MODEL_OOM : MODEL_OK;
}

static void take_call(const redisReply *reply, const struct model_call *call, int64_t clock_us, struct outcome *ret)
{
	ret->reply.pttl_ms = -1;
	if (reply->type == REDIS_REPLY_ERROR)
		ret->reply.error = error_of(reply->str);
	if (ret->reply.error != MODEL_OK || parse(reply, call, clock_us, ret))
		return;
	/* Nothing that the model can say. */
	snprintf(ret->said, sizeof(ret->said), "not a reply: type %d, %zu elements: %s", reply->type, reply->elements,
	         reply->str ? reply->str : "");
}

static void take_foreign(const redisReply *reply, struct outcome *ret)
{
	int length = reply->str ? (int)reply->len : 0;

	if (reply->type == REDIS_REPLY_ERROR)
		length = (int)strcspn(reply->str, " ");
	if (reply->type == REDIS_REPLY_INTEGER)
		snprintf(ret->said, sizeof(ret->said), "%lld", reply->integer);
	else if (reply->type == REDIS_REPLY_NIL)
		snprintf(ret->said, sizeof(ret->said), "(nil)");
	else
		snprintf(ret->said, sizeof(ret->said), "%.*s", length, reply->str ? reply->str : "?");
}

/* Up to the message that says that these were all. */
static bool take_messages(struct real *real, struct outcome *ret)
{
	size_t length = 0;
	bool last = !real->publishes;

	ret->messages[0] = '\0';
	while (!last) {
		redisReply *reply = next_of(real->listener);
		const char *channel = reply && reply->elements == 3 ? reply->element[1]->str : NULL;

		if (!channel) {
			freeReplyObject(reply);
			return false;
		}
		last = strcmp(channel, LAST_CHANNEL) == 0;
		if (!last && length < sizeof(ret->messages))
			length += (size_t)snprintf(ret->messages + length, sizeof(ret->messages) - length, "%s %s\n", channel,
			                           reply->element[2]->str);
		freeReplyObject(reply);
	}
	return true;
}

static bool take_keys(const redisReply *reply, struct outcome *ret)
{
	if (reply->type != REDIS_REPLY_STRING || (size_t)reply->len > sizeof(ret->keys)) {
		fprintf(stderr, "real server: its keys: %s\n", reply->str ? reply->str : "?");
		return false;
	}
	ret->keys_length = (size_t)reply->len;
	memcpy(ret->keys, reply->str, ret->keys_length);
	return true;
}

/* ---- steps ---- */

/* A millisecond earlier, until nothing is removed by chance any more: what is gone then would be gone now. */
static bool restart(struct real *real, bool keep, int64_t clock_us)
{
	int result;

	server_clock_freeze(real->clock, clock_us - 1000);
	server_clock_preload(real->clock, true);
	result = servers_restart(real->servers, 0, keep);
	server_clock_preload(real->clock, false);
	if (result < 0 || !connect_and_prepare(real))
		return false;
	server_clock_freeze(real->clock, clock_us);
	real->publishes = true;
	return load_script(real) && load_dump(real);
}

static bool switch_over(struct real *real, const struct step *step)
{
	struct step_words words;
	redisReply *reply;
	bool ok;

	switch (step->kind) {
	case STEP_RESTART_KEPT: return restart(real, true, step->clock_us);
	case STEP_RESTART_EMPTY: return restart(real, false, step->clock_us);
	case STEP_SCRIPT_LOAD: return load_script(real);
	case STEP_FORBID_PUBLISH: real->publishes = false; break;
	case STEP_PERMIT_PUBLISH: real->publishes = true; break;
	default: break;
	}
	step_words(&words, step);
	reply = command(real, words.argc, words.argv, words.lengths);
	ok = reply && reply->type != REDIS_REPLY_ERROR;
	freeReplyObject(reply);
	return ok && (step->kind != STEP_SCRIPT_FLUSH || load_dump(real));
}

static void append_dump(struct real *real)
{
	const char *argv[] = {"EVALSHA", real->dump_sha, "0"};

	redisAppendCommandArgv(real->context, 3, argv, NULL);
}

bool real_step(struct real *real, const struct step *step, struct outcome *ret)
{
	bool asks = step->kind == STEP_CALL || step->kind == STEP_FOREIGN, ok = true;
	struct step_words words;
	redisReply *reply;

	memset(&ret->reply, 0, sizeof(ret->reply));
	ret->said[0] = '\0';
	ret->alone = false;
	server_clock_freeze(real->clock, step->clock_us);
	if (asks) {
		step_words(&words, step);
		redisAppendCommandArgv(real->context, words.argc, words.argv, words.lengths);
	} else if (!switch_over(real, step)) {
		return false;
	}
	append_dump(real);
	if (asks) {
		reply = next_reply(real);
		if (!reply)
			return false;
		if (step->kind == STEP_CALL)
			take_call(reply, &step->call, step->clock_us, ret);
		else
			take_foreign(reply, ret);
		freeReplyObject(reply);
	}
	reply = next_reply(real);
	ok = reply && take_keys(reply, ret) && take_messages(real, ret);
	freeReplyObject(reply);
	return ok;
}
