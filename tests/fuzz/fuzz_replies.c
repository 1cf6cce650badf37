/*
 * fuzz_replies.c - whatever a server says on one connection, at every state of it.
 *
 * The input: a byte of switches, a byte that says which commands are sent once the node is
 * connected, then parts, each ended by a line "%%": one for each connection that is made.
 * A part begins with two bytes: how many answers are honest ("0", "1", ...: the handshake
 * has 8 or more), and into pieces of how many bytes the rest is cut ("0": not at all). The
 * rest is what the server says then. Then it falls silent or, as the switches say, closes.
 *
 * As a switch says it is a listener, of which the handshake has two answers at most, and
 * all that comes behind them is a message or its end.
 *
 * All that was said is parsed a second time, here and in another way. Besides crashes: a
 * command has exactly one outcome, in order; what the node hands on as a reply is what was
 * said, value by value; a grant is exactly what the script writes; only what can be read as nothing else is a vote; and no sentence
 * tells the password.
 */
#include "fuzz.h"
#include "honest.h"

#include "libdlock/holders.h"
#include "libdlock/node_internal.h"
#include "libdlock/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECRET "s3cr3t"
#define NOW_US INT64_C(1000000000)
#define CLOCK_US INT64_C(1800000000000000)
#define CHANNEL "dlock!grants-0123456789abcdef0123456789abcdef"
#define STREAM_MAX (1 << 20)
#define COMMANDS_MAX 8
#define STEPS_MAX 20000

enum { WITH_PASSWORD = 1, WITH_USER = 2, WITH_DB = 4, CLOSES = 8, AT_ONCE = 16, LISTENS = 32 };

/* ---- what the server has said, read a second time ---- */

enum kind { SAID_BAD, SAID_NIL, SAID_ERROR, SAID_STRING, SAID_INTEGER, SAID_ARRAY };

struct said {
	enum kind kind;
	const char *bytes; /* of a string or an error */
	size_t size;
	int64_t integer;   /* the number; of an array: its elements, which follow */
};

static char stream[STREAM_MAX];
static size_t stream_size, stream_read;
static bool lost; /* something was said that only newer versions of hiredis understand: no more is compared */

/* A decimal number and nothing else. */
static bool read_number(const char *text, size_t length, int64_t *ret)
{
	size_t i = length > 0 && text[0] == '-';
	__int128 number = 0;

	if (i == length)
		return false;
	for (; i < length; i++) {
		if (text[i] < '0' || text[i] > '9' || number > INT64_MAX)
			return false;
		number = number * 10 + (text[i] - '0');
	}
	number = text[0] == '-' ? -number : number;
	*ret = (int64_t)number;
	return number >= INT64_MIN && number <= INT64_MAX;
}

/* The value at *at, without the elements of an array. */
static struct said next_value(size_t *at)
{
	const char *line = stream + *at, *end = memmem(line, stream_size - *at, "\r\n", 2);
	struct said bad = {.kind = SAID_BAD}, said = bad;
	size_t length;

	if (*at >= stream_size || !end)
		return bad;
	length = (size_t)(end - line);
	*at += length + 2;
	said.bytes = line + 1;
	said.size = length - 1;
	if (*line == '+' || *line == '-') {
		said.kind = *line == '+' ? SAID_STRING : SAID_ERROR;
		return said;
	}
	/* RESP3 */
	if (*line && strchr("%~,#(|=>_", *line)) {
		bad.bytes = line;
		return bad;
	}
	if (!strchr(":$*", *line) || *line == '\0' || !read_number(line + 1, length - 1, &said.integer))
		return bad;
	said.kind = *line == ':' ? SAID_INTEGER : *line == '*' ? SAID_ARRAY : SAID_STRING;
	if (*line == ':')
		return said;
	if (said.integer == -1)
		said.kind = SAID_NIL;
	else if (said.integer < 0)
		return bad;
	if (said.kind != SAID_STRING)
		return said;
	if ((uint64_t)said.integer + 2 > stream_size - *at)
		return bad;
	said.bytes = stream + *at;
	said.size = (size_t)said.integer;
	*at += said.size + 2; /* hiredis does not look at the two bytes behind */
	return said;
}

/* Whether the next value of the stream is this one. */
static void check_same(size_t *at, const struct value *value)
{
	struct said said = next_value(at);
	size_t length = 0;
	const char *bytes = value_string(value, &length);

	if (said.kind == SAID_BAD && said.bytes)
		lost = true;
	if (lost)
		return;
	fuzz_check(said.kind != SAID_BAD);
	switch (value_kind(value)) {
	case VALUE_NIL:
		fuzz_check(said.kind == SAID_NIL);
		break;
	case VALUE_INTEGER:
		fuzz_check(said.kind == SAID_INTEGER && said.integer == value_integer(value, !said.integer));
		break;
	case VALUE_STRING:
		fuzz_check(said.kind == SAID_STRING && said.size == length && memcmp(said.bytes, bytes, length) == 0);
		fuzz_check(bytes[length] == '\0');
		break;
	case VALUE_ARRAY:
		fuzz_check(said.kind == SAID_ARRAY && (uint64_t)said.integer == value_count(value));
		for (size_t i = 0; i < value_count(value); i++)
			check_same(at, value_at(value, i));
		fuzz_check(!value_at(value, value_count(value)));
		break;
	case VALUE_OTHER: /* an error within an array */
		fuzz_check(said.kind == SAID_ERROR);
		break;
	}
}

/* A number, also one in a string. */
static bool as_number(const struct said *said, int64_t *ret)
{
	*ret = said->integer;
	return said->kind == SAID_INTEGER || (said->kind == SAID_STRING && read_number(said->bytes, said->size, ret));
}

/* Whether the reply at `at` is a yes to A or E, by docs/protocol.md; to A in few words and to R it may be a number. */
static bool is_vote(size_t at, char operation)
{
	struct said array = next_value(&at), element;
	int64_t number;

	if (array.kind == SAID_INTEGER && operation == 'A')
		return array.integer > INT64_C(1000000000000000) && array.integer <= INT64_C(1) << 53;
	if (array.kind == SAID_INTEGER && operation == 'R')
		return array.integer == 1;
	if (array.kind != SAID_ARRAY || array.integer < 3)
		return false;
	element = next_value(&at);
	if (!as_number(&element, &number) || (number != CODE_YES && number != CODE_KEPT && number != CODE_REPAIRED))
		return false;
	element = next_value(&at); /* the clock: any value, but only a flat one is told of here */
	if (element.kind == SAID_ARRAY || element.kind == SAID_BAD)
		return true;
	element = next_value(&at);
	if (!as_number(&element, &number) || number < 0 || number > INT64_C(1) << 53)
		return false;
	if (array.integer == 3)
		return true;
	element = next_value(&at);
	return as_number(&element, &number) && number >= 0 && number <= INT64_C(1) << 53;
}

/* ---- the server ---- */

static struct honest honest;
static int client_end = -1, server_end = -1, watched_fd = -1;
static uint32_t watched_events;

int __wrap_socket(int family, int type, int protocol);
int __real_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const void *address, socklen_t length);
int __real_connect(int fd, const void *address, socklen_t length);

int __wrap_socket(int family, int type, int protocol)
{
	int ends[2];

	if (family != AF_UNIX)
		return __real_socket(family, type, protocol);
	fuzz_check(server_end < 0);
	fuzz_check(socketpair(AF_UNIX, type, 0, ends) == 0);
	client_end = ends[0];
	server_end = ends[1];
	return client_end;
}

int __wrap_connect(int fd, const void *address, socklen_t length)
{
	return fd == client_end ? 0 : __real_connect(fd, address, length);
}

static void close_server(void)
{
	if (server_end >= 0)
		close(server_end);
	server_end = -1;
}

static void take_requests(void)
{
	size_t room;
	char *at = honest_room(&honest, &room);
	ssize_t got = server_end >= 0 ? recv(server_end, at, room, MSG_DONTWAIT) : 0;

	if (got > 0)
		honest.in_size += (size_t)got;
}

static void tell(const void *bytes, size_t size)
{
	ssize_t sent;

	if (size == 0 || server_end < 0 || size > STREAM_MAX - stream_size)
		return;
	sent = send(server_end, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent <= 0)
		return;
	memcpy(stream + stream_size, bytes, (size_t)sent);
	stream_size += (size_t)sent;
}

/* ---- the owner of the node ---- */

struct command {
	char operation;
	bool sent, ended;
};

static struct run {
	uint8_t switches, which;
	struct node *node;
	struct command commands[COMMANDS_MAX];
	unsigned sent, ended; /* of this connection */
	unsigned connections, ends;
	int64_t now_us;
} run;

static void check_sentence(const char *text)
{
	fuzz_check(strlen(text) < 256);
	fuzz_check(!(run.switches & WITH_PASSWORD) || !strstr(text, SECRET));
	for (; *text; text++)
		fuzz_check((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static int on_watch(void *context, struct node *node, int fd, uint32_t events)
{
	(void)context;
	(void)node;
	fuzz_check(fd >= 0 && !(events & ~(uint32_t)(EPOLLIN | EPOLLOUT)));
	watched_fd = events ? fd : -1;
	watched_events = events;
	return 0;
}

static void check_facts(const struct node_facts *facts)
{
	check_sentence(facts->version_text);
	check_sentence(facts->detail);
	fuzz_check(memchr(facts->run_id, '\0', sizeof(facts->run_id)) && memchr(facts->replid, '\0', sizeof(facts->replid)));
	fuzz_check(memchr(facts->role, '\0', sizeof(facts->role)) && memchr(facts->eviction, '\0', sizeof(facts->eviction)));
	fuzz_check(!facts->always || facts->always_known);
	fuzz_check(!facts->info_known || facts->is_redis);
}

/* Where the answers to the handshake's questions end. */
static void skip_handshake(unsigned questions)
{
	stream_read = 0;
	for (unsigned i = 0; i < questions && !lost; i++) {
		int64_t open = 1;

		while (open > 0 && !lost) {
			struct said said = next_value(&stream_read);

			lost = said.kind == SAID_BAD && said.bytes;
			fuzz_check(lost || said.kind != SAID_BAD);
			open += (said.kind == SAID_ARRAY ? said.integer : 0) - 1;
		}
	}
}

/* One command of each kind that the library has, in an order that the input tells. */
static void send_command(unsigned index, int64_t now_us)
{
	static const char operations[] = "VIAPERQL";
	struct command *command = &run.commands[index];
	struct wire_command words;

	*command = (struct command){.operation = operations[(run.which + index) % 8], .sent = true};
	if (command->operation == 'Q')
		wire_format_survey(&words, 'Q', "dlock:a", 7, "", "");
	else
		wire_format_survey(&words, command->operation == 'L' ? 'L' : 'V', NULL, 0, "0", "dlock:*");
	fuzz_check(node_send(run.node, words.argc, words.argv, words.lengths, command, now_us) == 0);
	run.sent++;
}

static void on_connected(void *context, struct node *node, const struct node_facts *facts)
{
	struct introduction introduction;

	(void)context;
	fuzz_check(node_is_connected(node) && run.sent == 0 && node_problem(node)[0] == '\0');
	check_facts(facts);
	wire_introduction(&introduction, facts);
	fuzz_check(strlen(introduction.incarnation) < sizeof(introduction.incarnation));
	fuzz_check(introduction.run_id_length <= strlen(introduction.incarnation));
	/* From here on each answer is a command's. */
	skip_handshake(node->asked);
	for (unsigned i = 0; !(run.switches & LISTENS) && i <= run.which / 8u % COMMANDS_MAX; i++)
		send_command(i, run.now_us);
	if (run.switches & AT_ONCE)
		node_flush(node, run.now_us);
}

static void on_disconnected(void *context, struct node *node, const char *why)
{
	(void)context;
	fuzz_check(why[0] != '\0' && !node_is_connected(node));
	check_sentence(why);
	fuzz_check(run.ended == run.sent);
	run.ends++;
	run.sent = run.ended = 0;
	close_server();
}

static int count_holder(const struct dlock_holder *holder, void *arg)
{
	(void)arg;
	fuzz_check(strlen(holder->name) > 0 && strlen(holder->host) <= TOKEN_HOST_MAX);
	fuzz_check(holder->masters == 1 && (holder->data || holder->data_size == 0));
	return 0;
}

/* What a look-up makes of it. */
static void take_holders(const struct value *value)
{
	struct holders holders, waiters;
	uint32_t named;

	holders_init(&holders, "dlock:", 1, 1);
	holders_init(&waiters, "dlock:", 1, 1);
	holders_add(&holders, 0, value_at(value, 2), "dlock:a", run.which);
	for (size_t i = 3; i < value_count(value); i++) {
		holders_add(&holders, 0, value_at(value, i), NULL, 1);
		holders_add_waiters(&waiters, 0, value_at(value, i), "dlock:a");
	}
	fuzz_check(holders_agree(&holders) && holders_agree(&waiters));
	fuzz_check(holders_waiting(&holders) == 0 || holders_waiting(&holders) == run.which);
	named = holders_named(&waiters, 1);
	fuzz_check(named == waiters.count);
	holders_leave_out(&waiters, &holders);
	fuzz_check(holders_named(&waiters, 1) <= named);
	fuzz_check(holders_tell(&waiters, 0, NULL, NULL) == (int)named);
	fuzz_check(holders_tell(&holders, 0, count_holder, NULL) >= 0);
	holders_clear(&waiters);
	holders_clear(&holders);
}

static void take_view(const struct value *value)
{
	struct view view;

	if (!wire_view(&view, value))
		return;
	fuzz_check(memchr(view.epoch, '\0', sizeof(view.epoch)) && memchr(view.cluster_id, '\0', sizeof(view.cluster_id)));
	fuzz_check(!view.cluster_understood || (view.has_cluster && view.max_ttl_ms > 0));
}

static void check_answer(char operation, enum node_answer kind, const struct value *value, const char *text, size_t at)
{
	const struct request request = {.op = (enum operation)operation, .mode = MODE_EXCLUSIVE, .fence = 1};
	struct answer answer;

	wire_answer(&answer, &request, kind, value, text);
	fuzz_check(memchr(answer.holder, '\0', sizeof(answer.holder)));
	fuzz_check(answer.fence <= UINT64_C(1) << 53 && answer.master_us >= 0);
	if (answer.code == CODE_YES || answer.code == CODE_REPAIRED)
		fuzz_check(kind == NODE_REPLY && (lost || is_vote(at, operation)));
	fuzz_check((answer.code == CODE_BROKEN) == (kind == NODE_BROKEN));
}

static void on_reply(void *context, struct node *node, void *tag, enum node_answer kind, const struct value *value,
                     const char *text, int64_t sent_us)
{
	struct command *command = tag;
	size_t at = stream_read;

	(void)context;
	fuzz_check(command == &run.commands[run.ended] && command->sent && !command->ended && sent_us <= run.now_us);
	command->ended = true;
	run.ended++;
	if (kind == NODE_REPLY) {
		check_same(&stream_read, value);
	} else if (kind == NODE_ERROR) {
		struct said said = next_value(&stream_read);

		fuzz_check(lost || (said.kind == SAID_ERROR && strncmp(text, said.bytes, said.size) == 0));
		if (wire_remedy(text) == WIRE_RECONNECT)
			node_reconnect(node, node_words(node, text), run.now_us);
	}
	check_answer(command->operation, kind, value, text, at);
	if (kind == NODE_REPLY && strchr("QL", command->operation))
		take_holders(value);
	if (kind == NODE_REPLY && strchr("VI", command->operation))
		take_view(value);
	wire_clock_us(value);
	/* A new one for each of the first. */
	if (kind == NODE_REPLY && run.sent < COMMANDS_MAX && node_is_connected(node))
		send_command(run.sent, run.now_us);
}

/* The next value of the stream is this string. */
static void check_string(const char *bytes, size_t size)
{
	struct said said = next_value(&stream_read);

	lost |= said.kind == SAID_BAD && said.bytes;
	fuzz_check(lost || (said.kind == SAID_STRING && said.size == size && memcmp(said.bytes, bytes, size) == 0));
}

/* What is taken for a grant has one form only. */
static void take_grant(const char *payload, size_t length)
{
	struct grant grant;
	char text[1024];
	int n;

	if (!wire_grant(&grant, payload, length))
		return;
	fuzz_check(grant.fence > 0 && grant.fence <= UINT64_C(1) << 53 && grant.master_us > 0 && grant.expiry_ms > 0);
	fuzz_check(token_parse(grant.token, strlen(grant.token), NULL));
	n = snprintf(text, sizeof(text), "G %llu %lld %lld %s %s", (unsigned long long)grant.fence, (long long)grant.master_us,
	             (long long)grant.expiry_ms, grant.epoch, grant.token);
	fuzz_check(n > 0 && (size_t)n == length && memcmp(text, payload, length) == 0);
}

static void on_message(void *context, struct node *node, const char *payload, size_t length)
{
	struct said array = next_value(&stream_read);
	const char *argv[] = {"PING"};
	size_t lengths[] = {4};

	(void)context;
	fuzz_check(run.switches & LISTENS && node_is_connected(node) && payload[length] == '\0');
	lost |= array.kind == SAID_BAD && array.bytes;
	fuzz_check(lost || (array.kind == SAID_ARRAY && array.integer == 3));
	check_string("message", 7);
	check_string(CHANNEL, strlen(CHANNEL));
	check_string(payload, length);
	take_grant(payload, length);
	fuzz_check(node_send(node, 1, argv, lengths, NULL, run.now_us) == -ENOTCONN);
	if (run.which & 1 && length == 1)
		node_reconnect(node, "the test wants it", run.now_us);
}

/* ---- a connection ---- */

static void ready(void)
{
	if (watched_fd < 0)
		return;
	run.now_us += 10;
	node_ready(run.node, watched_fd, EPOLLIN | (watched_events & EPOLLOUT), run.now_us);
	if (node_is_connected(run.node))
		node_flush(run.node, run.now_us);
	take_requests();
}

/* `count` honest answers, as far as there are questions. */
static void be_honest(unsigned count)
{
	for (unsigned i = 0; i < count && server_end >= 0; i++) {
		take_requests();
		if (!honest_next(&honest, CLOCK_US))
			return;
		tell(honest.out, honest.out_size);
		ready();
	}
}

static void be_free(const uint8_t *bytes, size_t size, size_t piece)
{
	for (size_t at = 0; at < size && server_end >= 0; at += piece) {
		tell(bytes + at, size - at < piece ? size - at : piece);
		ready();
	}
}

/* Whatever state it is in, it ends in the time that a connection may take. */
static void end_connection(void)
{
	if (run.switches & CLOSES) {
		close_server();
		ready();
	}
	if (node_is_connected(run.node))
		node_reconnect(run.node, "the test ends it", run.now_us);
	for (unsigned i = 0; server_end >= 0; i++) {
		fuzz_check(i < 10 && node_next_us(run.node) != INT64_MAX);
		run.now_us = node_next_us(run.node);
		node_tick(run.node, run.now_us);
	}
}

static void connection(const char *part, size_t size)
{
	unsigned count = size > 0 ? (uint8_t)(part[0] - '0') : 8;
	size_t piece = size > 1 ? (uint8_t)(part[1] - '0') : 0, before = run.ends;

	stream_size = stream_read = 0;
	lost = false;
	honest_connected(&honest);
	run.connections++;
	if (run.connections == 1)
		node_start(run.node, run.now_us);
	for (unsigned i = 0; server_end < 0; i++) {
		fuzz_check(i < 10 && node_next_us(run.node) != INT64_MAX);
		run.now_us = node_next_us(run.node);
		node_tick(run.node, run.now_us);
	}
	be_honest(count);
	if (size > 2)
		be_free((const uint8_t *)part + 2, size - 2, piece ? piece : size);
	end_connection();
	fuzz_check(run.ends == before + 1 && run.sent == 0 && node_oldest_sent_us(run.node) == INT64_MAX);
	check_sentence(node_problem(run.node));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};
	const struct node_owner owner = {
		.watch = on_watch, .connected = on_connected, .disconnected = on_disconnected, .reply = on_reply,
		.message = on_message};
	struct server server = {.kind = SERVER_UNIX, .path = (char *)"/fuzz/socket", .address = (char *)"unix:/fuzz/socket"};
	struct config config = {.servers = &server, .server_count = 1, .node_timeout_us = 100000};

	run = (struct run){.switches = fuzz_byte(&input), .which = fuzz_byte(&input), .now_us = NOW_US};
	if (run.switches & (WITH_PASSWORD | WITH_USER))
		server.password = (char *)SECRET;
	run.switches |= server.password ? WITH_PASSWORD : 0;
	server.user = run.switches & WITH_USER ? (char *)"user" : NULL;
	server.db = run.switches & WITH_DB ? 3 : 0;
	honest_start(&honest, 1);
	run.node = run.switches & LISTENS ? node_new_listener(&config, &server, 0, &owner, 1, CHANNEL)
	                                  : node_new(&config, &server, 0, &owner, 1);
	fuzz_check(run.node != NULL);
	for (unsigned i = 0; i == 0 || (input.left > 0 && i < 4); i++) {
		size_t length;
		char *part = fuzz_until(&input, "%%\n", &length);

		connection(part, length);
		free(part);
	}
	node_free(run.node);
	close_server();
	return 0;
}
