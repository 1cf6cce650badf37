/*
 * node_facts.c - what a master is asked at the start, and what its answers mean.
 *
 * Owns: the questions of the handshake, their order, the reading of INFO and
 * CONFIG GET, and the sentences about a refusal.
 * Must never: repeat a password (a server may quote our own words back), or
 * trust that the other side is Redis.
 *
 * How it works. All questions go out in one write, and node.c hands the answers
 * over in order. A question that is forbidden (NOPERM) or unknown leaves its
 * facts unknown. Only a refused AUTH, SELECT or SCRIPT LOAD, and an answer that
 * Redis would not give, end the attempt.
 *
 * CLIENT KILL of the previous connection is asked when INFO has told that it is
 * still the same incarnation of the server: after a restart the numbers of
 * connections begin anew, and the old number may be somebody else's by now.
 *
 * A listener asks nothing but AUTH and SUBSCRIBE: channels know no database, and
 * no facts are needed of a server whose messages are only hints.
 */
#include "node_internal.h"
#include "script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUOTE_MAX 60

static const char *const question_names[] = {
	[QUESTION_AUTH] = "AUTH",
	[QUESTION_SELECT] = "SELECT",
	[QUESTION_CLIENT_ID] = "CLIENT ID",
	[QUESTION_INFO] = "INFO",
	[QUESTION_APPENDONLY] = "CONFIG GET",
	[QUESTION_APPENDFSYNC] = "CONFIG GET",
	[QUESTION_REWRITE] = "CONFIG GET",
	[QUESTION_SAVE] = "CONFIG GET",
	[QUESTION_SCRIPT] = "SCRIPT LOAD",
	[QUESTION_KILL] = "CLIENT KILL",
	[QUESTION_SUBSCRIBE] = "SUBSCRIBE",
};

/* --- words --------------------------------------------------------------------- */

static bool printable(unsigned char byte)
{
	return byte >= 0x20 && byte < 0x7f;
}

/* Copies the first `length` bytes of a server's word, unprintable ones as '?'. */
static void copy_word(char *ret, size_t size, const char *bytes, size_t length)
{
	size_t i;

	for (i = 0; i < length && i + 1 < size; i++)
		ret[i] = printable((unsigned char)bytes[i]) ? bytes[i] : '?';
	ret[i] = '\0';
}

static const char left_out[] = "(its words may repeat the password, so they are left out)";

static bool has_password(const struct node *node)
{
	return node->server->password != NULL && node->server->password[0] != '\0';
}

static bool tells_password(const struct node *node, const char *bytes, size_t length)
{
	const char *password = node->server->password;

	return has_password(node) && memmem(bytes, length, password, strlen(password)) != NULL;
}

/* Whether `bytes` may repeat what we said at AUTH, also in part. */
static bool tells_auth(const struct node *node, const char *bytes, size_t length)
{
	return has_password(node) && (tells_password(node, bytes, length) || memmem(bytes, length, "AUTH\r\n", 6) != NULL ||
	                              memmem(bytes, length, "args beginning", 14) != NULL);
}

const char *node_words(const struct node *node, const char *text)
{
	return tells_password(node, text, strlen(text)) ? left_out : text;
}

void node_quote(const struct node *node, const char *bytes, size_t length, char *ret, size_t size)
{
	size_t shown = 0;
	char words[QUOTE_MAX + 1];

	if (tells_auth(node, bytes, length)) {
		snprintf(ret, size, "%s", left_out);
		return;
	}
	while (shown < length && shown < QUOTE_MAX && bytes[shown] != '\r' && bytes[shown] != '\n' && bytes[shown] != '\0')
		shown++;
	copy_word(words, sizeof(words), bytes, shown);
	snprintf(ret, size, "\"%s\"%s", words, shown == QUOTE_MAX && shown < length ? "..." : "");
}

static const char *quote_text(const struct node *node, const char *text, char *ret, size_t size)
{
	node_quote(node, text, strlen(text), ret, size);
	return ret;
}

const char *node_not_redis(struct node *node)
{
	char quote[QUOTE_MAX + 64];
	bool alert = node->head_length > 0 && node->head[0] == 0x15 && !node->server->tls;

	node_quote(node, node->head, node->head_length, quote, sizeof(quote));
	return node_say(node, "answered, but not as a Redis server: %s%s", quote, alert ? " (it may want TLS)" : "");
}

/* --- the questions --------------------------------------------------------------- */

static int ask(struct node *node, enum node_question question, int argc, const char *const *argv, const size_t *lengths)
{
	size_t counted[4];

	for (int i = 0; i < argc && lengths == NULL; i++)
		counted[i] = strlen(argv[i]);
	node->questions[node->asked++] = question;
	return node_queue(node, argc, argv, lengths != NULL ? lengths : counted);
}

static int ask_auth(struct node *node)
{
	const struct server *server = node->server;

	if (server->password == NULL)
		return 0;
	if (server->user == NULL)
		return ask(node, QUESTION_AUTH, 2, (const char *[]){"AUTH", server->password}, NULL);
	return ask(node, QUESTION_AUTH, 3, (const char *[]){"AUTH", server->user, server->password}, NULL);
}

static int ask_select(struct node *node)
{
	char number[16];

	if (node->server->db == 0)
		return 0;
	snprintf(number, sizeof(number), "%d", node->server->db);
	return ask(node, QUESTION_SELECT, 2, (const char *[]){"SELECT", number}, NULL);
}

static int ask_config(struct node *node, enum node_question question, const char *setting)
{
	return ask(node, question, 3, (const char *[]){"CONFIG", "GET", setting}, NULL);
}

static int ask_script(struct node *node)
{
	size_t length;
	const char *text = script_text(&length);

	return ask(node, QUESTION_SCRIPT, 3, (const char *[]){"SCRIPT", "LOAD", text}, (const size_t[]){6, 4, length});
}

static int ask_kill(struct node *node)
{
	char number[24];

	snprintf(number, sizeof(number), "%" PRId64, node->previous_id);
	return ask(node, QUESTION_KILL, 4, (const char *[]){"CLIENT", "KILL", "ID", number}, NULL);
}

static int ask_subscribe(struct node *node)
{
	return ask(node, QUESTION_SUBSCRIBE, 2, (const char *[]){"SUBSCRIBE", node->channel}, NULL);
}

static void facts_reset(struct node *node)
{
	node->asked = node->answered = 0;
	node->head_length = 0;
	node->client_id = 0;
	memset(&node->facts, 0, sizeof(node->facts));
	node->facts.kill_permitted = true;
	node->appendonly[0] = node->appendfsync[0] = node->rewrite[0] = '\0';
	node->save_known = node->save_set = node->aof_enabled = node->rdb_saved = false;
}

int node_ask(struct node *node)
{
	int r;

	facts_reset(node);
	r = ask_auth(node);
	if (node->channel != NULL)
		return r == 0 ? ask_subscribe(node) : r;
	if (r == 0)
		r = ask_select(node);
	if (r == 0)
		r = ask(node, QUESTION_CLIENT_ID, 2, (const char *[]){"CLIENT", "ID"}, NULL);
	if (r == 0)
		r = ask(node, QUESTION_INFO, 1, (const char *[]){"INFO"}, NULL);
	if (r == 0)
		r = ask_config(node, QUESTION_APPENDONLY, "appendonly");
	if (r == 0)
		r = ask_config(node, QUESTION_APPENDFSYNC, "appendfsync");
	if (r == 0)
		r = ask_config(node, QUESTION_REWRITE, "no-appendfsync-on-rewrite");
	if (r == 0)
		r = ask_config(node, QUESTION_SAVE, "save");
	if (r == 0)
		r = ask_script(node);
	return r;
}

/* --- INFO ------------------------------------------------------------------------ */

struct field {
	const char *key, *value;
	size_t key_length, value_length;
};

/* The next "key:value" line; lines of another form are passed over. */
static bool next_field(const char **text, struct field *ret)
{
	while (**text != '\0') {
		const char *line = *text;
		size_t length = strcspn(line, "\r\n");
		const char *colon = memchr(line, ':', length);

		*text = line + length + strspn(line + length, "\r\n");
		if (colon == NULL || line[0] == '#')
			continue;
		*ret = (struct field){.key = line, .key_length = (size_t)(colon - line), .value = colon + 1};
		ret->value_length = length - ret->key_length - 1;
		return true;
	}
	return false;
}

static bool is_key(const struct field *field, const char *key)
{
	return strlen(key) == field->key_length && memcmp(key, field->key, field->key_length) == 0;
}

static long long number_of(const struct field *field)
{
	char digits[24];

	copy_word(digits, sizeof(digits), field->value, field->value_length);
	return strtoll(digits, NULL, 10);
}

/* "7.0.15" is 70015. */
static unsigned version_number(const char *text)
{
	unsigned parts[3] = {0};

	for (unsigned i = 0; i < 3; i++) {
		char *end;
		unsigned long part = strtoul(text, &end, 10);

		parts[i] = part > 9999 ? 9999 : (unsigned)part;
		if (end == text || *end != '.')
			break;
		text = end + 1;
	}
	return parts[0] * 10000 + (parts[1] > 99 ? 99 : parts[1]) * 100 + (parts[2] > 99 ? 99 : parts[2]);
}

static void take_version(struct node_facts *facts, const char *redis, const char *valkey)
{
	if (valkey[0] != '\0')
		snprintf(facts->version_text, sizeof(facts->version_text), "%s (valkey)", valkey);
	else
		snprintf(facts->version_text, sizeof(facts->version_text), "%s", redis);
	facts->version = version_number(valkey[0] != '\0' ? valkey : redis);
	facts->is_redis = redis[0] != '\0' || valkey[0] != '\0';
}

static void take_word(const struct field *field, const char *key, char *ret, size_t size)
{
	if (is_key(field, key))
		copy_word(ret, size, field->value, field->value_length);
}

static void take_numbers(struct node *node, const struct field *field, bool *limited)
{
	struct node_facts *facts = &node->facts;

	if (is_key(field, "loading"))
		facts->loading = number_of(field) != 0;
	else if (is_key(field, "connected_slaves"))
		facts->connected_replicas = (unsigned)(number_of(field) & 0xffff);
	else if (is_key(field, "second_repl_offset"))
		facts->was_replica = number_of(field) != -1;
	else if (is_key(field, "maxmemory"))
		*limited = number_of(field) > 0;
	else if (is_key(field, "aof_enabled"))
		node->aof_enabled = number_of(field) != 0;
	else if (is_key(field, "rdb_last_bgsave_time_sec"))
		node->rdb_saved = number_of(field) >= 0;
}

static void take_info(struct node *node, const char *text)
{
	struct node_facts *facts = &node->facts;
	char redis[32] = "", valkey[32] = "";
	bool limited = false;
	struct field field;

	while (next_field(&text, &field)) {
		take_word(&field, "redis_version", redis, sizeof(redis));
		take_word(&field, "valkey_version", valkey, sizeof(valkey));
		take_word(&field, "run_id", facts->run_id, sizeof(facts->run_id));
		take_word(&field, "role", facts->role, sizeof(facts->role));
		take_word(&field, "maxmemory_policy", facts->eviction, sizeof(facts->eviction));
		take_word(&field, "master_replid", facts->replid, sizeof(facts->replid));
		take_numbers(node, &field, &limited);
	}
	take_version(facts, redis, valkey);
	facts->is_master = strcmp(facts->role, "master") == 0;
	facts->evicts = limited && strcmp(facts->eviction, "noeviction") != 0;
	facts->info_known = facts->is_redis;
}

/* --- what the answers amount to ------------------------------------------------- */

static const char *persistence(const struct node *node)
{
	if (strcmp(node->appendonly, "yes") == 0) {
		if (strcmp(node->appendfsync, "no") == 0)
			return "no-fsync";
		return node->appendfsync[0] != '\0' ? node->appendfsync : "aof";
	}
	if (node->appendonly[0] == '\0' && node->aof_enabled)
		return "aof";
	if (node->save_known)
		return node->save_set ? "rdb" : "none";
	return node->rdb_saved ? "rdb" : "";
}

static void conclude(struct node *node)
{
	struct node_facts *facts = &node->facts;

	facts->always_known = node->appendonly[0] != '\0' && node->appendfsync[0] != '\0' && node->rewrite[0] != '\0';
	facts->always = strcmp(node->appendonly, "yes") == 0 && strcmp(node->appendfsync, "always") == 0 &&
	                strcmp(node->rewrite, "no") == 0;
	snprintf(facts->persistence, sizeof(facts->persistence), "%s", persistence(node));
}

/* The previous connection can only live on in the incarnation that it was made to. */
static bool must_kill(const struct node *node)
{
	return node->previous_exists && strcmp(node->previous_run_id, node->facts.run_id) == 0;
}

static enum node_handshake all_answered(struct node *node)
{
	if (node->channel != NULL)
		return HANDSHAKE_DONE;
	if (node->questions[node->asked - 1] != QUESTION_KILL && must_kill(node)) {
		if (node->previous_id != 0)
			return ask_kill(node) == 0 ? HANDSHAKE_GOES_ON : HANDSHAKE_FAILED;
		node->facts.kill_permitted = false;
	}
	conclude(node);
	return HANDSHAKE_DONE;
}

/* --- refusals -------------------------------------------------------------------- */

static bool begins(const char *text, const char *prefix)
{
	return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* A question was refused that we can do without. */
static enum node_handshake do_without(struct node *node, enum node_question question, const char *text)
{
	struct node_facts *facts = &node->facts;
	size_t used = strlen(facts->detail);
	char quote[QUOTE_MAX + 64];

	if (question == QUESTION_KILL) {
		/* It had already gone, or never had a number here. */
		if (strcasestr(text, "no such client") != NULL)
			return HANDSHAKE_GOES_ON;
		facts->kill_permitted = false;
	}
	/* Four settings are refused in one and the same way; once is enough. */
	if (strstr(facts->detail, question_names[question]) == NULL)
		snprintf(facts->detail + used, sizeof(facts->detail) - used, "%s%s was refused: %s", used > 0 ? "; " : "",
		         question_names[question], quote_text(node, text, quote, sizeof(quote)));
	return HANDSHAKE_GOES_ON;
}

static const char *auth_refusal(const char *text)
{
	if (begins(text, "WRONGPASS") || strcasestr(text, "invalid password") != NULL)
		return "wrong user or password";
	if (strcasestr(text, "without any password") != NULL || strcasestr(text, "no password is set") != NULL)
		return "a password is configured here, but the server has none";
	return "refused the user and password";
}

/* By the user's rules, or since the server has no such command for anybody. */
static void refuse_listener(struct node *node, const char *quote)
{
	node->refusal = true;
	node_say(node, "refused to be listened to, so who waits for a lock polls there: %s", quote);
}

static enum node_handshake refused(struct node *node, enum node_question question, const char *text)
{
	char quote[QUOTE_MAX + 64];

	quote_text(node, text, quote, sizeof(quote));
	if (begins(text, "NOAUTH"))
		node_say(node, "needs a password: %s", quote);
	else if (begins(text, "DENIED") || begins(text, "ERR max number of clients"))
		node_say(node, "refused the connection: %s", quote);
	else if (question == QUESTION_AUTH)
		node_say(node, "%s: %s", auth_refusal(text), quote);
	else if (question == QUESTION_SELECT)
		node_say(node, "refused database %d: %s", node->server->db, quote);
	else if (question == QUESTION_SUBSCRIBE)
		refuse_listener(node, quote);
	else if (question != QUESTION_SCRIPT)
		return do_without(node, question, text);
	else if (begins(text, "LOADING"))
		node_say(node, "is still loading its data: %s", quote);
	else if (begins(text, "MASTERDOWN"))
		node_say(node, "is a replica that has lost its master: %s", quote);
	else if (begins(text, "NOPERM"))
		node_say(node, "does not permit this user to load a script: %s", quote);
	else
		node_say(node, "did not load the script: %s", quote);
	return HANDSHAKE_FAILED;
}

/* --- answers --------------------------------------------------------------------- */

static bool take_setting(char *ret, size_t size, const struct value *value)
{
	size_t length = 0;
	const char *text = value_string(value_at(value, 1), &length);

	if (value_kind(value) != VALUE_ARRAY)
		return false;
	/* A setting that the server does not know is an empty array. */
	if (text != NULL)
		copy_word(ret, size, text, length);
	return true;
}

static bool take_save(struct node *node, const struct value *value)
{
	size_t length = 0;

	if (value_kind(value) != VALUE_ARRAY)
		return false;
	node->save_known = value_string(value_at(value, 1), &length) != NULL;
	node->save_set = length > 0;
	return true;
}

static bool take_client_id(struct node *node, const struct value *value)
{
	if (value_kind(value) != VALUE_INTEGER)
		return false;
	node->client_id = value_integer(value, 0);
	return true;
}

/* Of an array: {kind, channel, ...}, as Redis writes to who has subscribed. */
static bool is_of_channel(const struct node *node, const struct value *value, const char *kind)
{
	size_t length = 0, kind_length = 0;
	const char *channel = value_string(value_at(value, 1), &length);
	const char *first = value_string(value_at(value, 0), &kind_length);

	return value_count(value) == 3 && first != NULL && kind_length == strlen(kind) &&
	       memcmp(first, kind, kind_length) == 0 && channel != NULL && length == strlen(node->channel) &&
	       memcmp(channel, node->channel, length) == 0;
}

const char *node_message(const struct node *node, const struct value *value, size_t *ret_length)
{
	return is_of_channel(node, value, "message") ? value_string(value_at(value, 2), ret_length) : NULL;
}

static bool is_script_sha(const struct value *value)
{
	size_t length = 0;
	const char *text = value_string(value, &length);

	return text != NULL && length == 40 && strcasecmp(text, script_sha()) == 0;
}

/* Whether it is an answer as Redis gives it; if so, its facts are taken. */
static bool understood(struct node *node, enum node_question question, const struct value *value)
{
	const char *text = value_string(value, NULL);

	switch (question) {
	case QUESTION_AUTH:
	case QUESTION_SELECT:
		return text != NULL && strcmp(text, "OK") == 0;
	case QUESTION_CLIENT_ID:
		return take_client_id(node, value);
	case QUESTION_INFO:
		if (text != NULL)
			take_info(node, text);
		return text != NULL;
	case QUESTION_APPENDONLY:
		return take_setting(node->appendonly, sizeof(node->appendonly), value);
	case QUESTION_APPENDFSYNC:
		return take_setting(node->appendfsync, sizeof(node->appendfsync), value);
	case QUESTION_REWRITE:
		return take_setting(node->rewrite, sizeof(node->rewrite), value);
	case QUESTION_SAVE:
		return take_save(node, value);
	case QUESTION_SCRIPT:
		return is_script_sha(value);
	case QUESTION_SUBSCRIBE:
		return is_of_channel(node, value, "subscribe") && value_kind(value_at(value, 2)) == VALUE_INTEGER;
	case QUESTION_KILL:
		return value_kind(value) == VALUE_INTEGER || text != NULL;
	}
	return false;
}

enum node_handshake node_answer(struct node *node, const struct value *value)
{
	enum node_question question;
	const char *error = value_error(value);

	if (node->answered == node->asked) {
		node_not_redis(node);
		return HANDSHAKE_FAILED;
	}
	question = node->questions[node->answered++];
	node_say(node, "out of memory");
	if (error != NULL) {
		if (refused(node, question, error) == HANDSHAKE_FAILED)
			return HANDSHAKE_FAILED;
	} else if (!understood(node, question, value)) {
		if (question == QUESTION_SCRIPT && value_kind(value) == VALUE_STRING)
			node_say(node, "gave the script another SHA-1 than the one it has");
		else
			node_not_redis(node);
		return HANDSHAKE_FAILED;
	}
	return node->answered == node->asked ? all_answered(node) : HANDSHAKE_GOES_ON;
}
