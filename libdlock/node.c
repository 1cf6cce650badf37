/*
 * node.c - the life of one connection, and the queue of commands on it.
 *
 * Owns: the phases, the back-off, the bytes to write, the reading of replies,
 * and the order in which they answer the commands.
 * Must never: block, read a clock, free the reader below a callback, or raise
 * SIGPIPE (TLS excepted: OpenSSL writes by itself, and the keeper's thread
 * blocks all signals).
 *
 * How it works. node_send() appends a command to `out` and to the ring of
 * commands without an answer; node_flush() writes. When the socket is readable,
 * replies are taken from hiredis' reader one by one, and each answers the
 * oldest command of the ring. A socket that could not take everything is
 * watched for EPOLLOUT too.
 *
 * However a connection or an attempt at one ends, it ends in node_end(): close,
 * back-off, NODE_BROKEN for every command, oldest first, `disconnected`. A
 * callback that wants that (rule 2 in node_internal.h) leaves a note.
 */
#include "node_internal.h"
#include "debug.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKOFF_MIN_US 20000
#define BACKOFF_MAX_US 1000000
#define BACKOFF_REFUSED_US 10000000 /* of a listener that may not subscribe */
#define ATTEMPT_MIN_US 1000000
#define READ_SIZE 16384     /* what redisBufferRead() takes at once */
#define READS_MAX 64        /* at one event: other masters want their turn */
#define OUT_KEEP_MAX 262144 /* a larger buffer is given back once it is empty */
#define COMMANDS_MIN 64

/* --- small things ------------------------------------------------------------------- */

/* A sentence of at most NODE_SENTENCE_SIZE - 1 printable bytes. */
const char *node_say(struct node *node, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(node->sentence, sizeof(node->sentence), format, arguments);
	va_end(arguments);
	return node->sentence;
}

static void copy_sentence(char *ret, const char *text)
{
	size_t i;

	for (i = 0; text[i] != '\0' && i + 1 < NODE_SENTENCE_SIZE; i++)
		ret[i] = text[i] >= 0x20 && text[i] != 0x7f ? text[i] : '?';
	ret[i] = '\0';
}

/* splitmix64: enough to keep a fleet from knocking all at once. */
static uint64_t next_random(struct node *node)
{
	uint64_t x = node->random += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* The back-off that is due, 25 % more or less; the next one is twice as long. */
static int64_t next_backoff_us(struct node *node)
{
	int64_t backoff_us = node->backoff_us, spread_us = backoff_us / 2;

	node->backoff_us = backoff_us * 2 < BACKOFF_MAX_US ? backoff_us * 2 : BACKOFF_MAX_US;
	return backoff_us - spread_us / 2 + (int64_t)(next_random(node) % (uint64_t)(spread_us + 1));
}

int64_t node_attempt_us(const struct node *node)
{
	int64_t timeout_us = node->config->node_timeout_us;

	return timeout_us > ATTEMPT_MIN_US ? timeout_us : ATTEMPT_MIN_US;
}

int node_watch(struct node *node, uint32_t events)
{
	int r;

	if (node->watched == events)
		return 0;
	r = node->owner.watch(node->owner.context, node, node->fd, events);
	node->watched = r == 0 ? events : 0;
	return r;
}

static bool is_live(const struct node *node)
{
	return node->phase == NODE_ASKING || node->phase == NODE_CONNECTED;
}

/* --- the ring of commands -------------------------------------------------------------- */

static int commands_grow(struct node *node)
{
	unsigned size = node->command_size > 0 ? node->command_size * 2 : COMMANDS_MIN;
	struct node_command *commands = malloc(size * sizeof(*commands));

	if (commands == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < node->command_count; i++)
		commands[i] = node->commands[(node->command_first + i) & (node->command_size - 1)];
	free(node->commands);
	node->commands = commands;
	node->command_size = size;
	node->command_first = 0;
	return 0;
}

static struct node_command command_pop(struct node *node)
{
	struct node_command command = node->commands[node->command_first];

	node->command_first = (node->command_first + 1) & (node->command_size - 1);
	node->command_count--;
	return command;
}

/* --- bytes to write ---------------------------------------------------------------------- */

static size_t out_unsent(const struct node *node)
{
	return node->out_end - node->out_start + node->tls_unsent;
}

static int out_reserve(struct node *node, size_t more)
{
	size_t held = node->out_end - node->out_start, size = node->out_size > 0 ? node->out_size : 4096;
	char *out;

	if (more <= node->out_size - node->out_end)
		return 0;
	while (size - held < more)
		size *= 2;
	/* What is left of a long queue moves to the front, at most once per half buffer. */
	if (size == node->out_size && node->out_start >= size / 2) {
		memmove(node->out, node->out + node->out_start, held);
	} else {
		if (size == node->out_size)
			size *= 2;
		out = malloc(size);
		if (out == NULL)
			return -ENOMEM;
		if (held > 0)
			memcpy(out, node->out + node->out_start, held);
		free(node->out);
		node->out = out;
		node->out_size = size;
	}
	node->out_start = 0;
	node->out_end = held;
	return 0;
}

static void out_sent(struct node *node, size_t count)
{
	node->out_start += count;
	if (node->out_start < node->out_end)
		return;
	node->out_start = node->out_end = 0;
	if (node->out_size > OUT_KEEP_MAX) {
		free(node->out);
		node->out = NULL;
		node->out_size = 0;
	}
}

/* "*3\r\n": a sign, a number, the end of the line. */
static char *put_header(char *at, char sign, size_t number)
{
	char digits[24], *digit = digits + sizeof(digits);

	*at++ = sign;
	do {
		*--digit = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	at = mempcpy(at, digit, (size_t)(digits + sizeof(digits) - digit));
	return mempcpy(at, "\r\n", 2);
}

/* Appends one command as Redis' protocol writes it. */
int node_queue(struct node *node, int argc, const char *const *argv, const size_t *lengths)
{
	size_t size = 32;
	char *at;

	for (int i = 0; i < argc; i++)
		size += lengths[i] + 32;
	if (out_reserve(node, size) < 0)
		return -ENOMEM;
	at = put_header(node->out + node->out_end, '*', (size_t)argc);
	for (int i = 0; i < argc; i++) {
		at = put_header(at, '$', lengths[i]);
		at = mempcpy(at, argv[i], lengths[i]);
		at = mempcpy(at, "\r\n", 2);
	}
	node->out_end = (size_t)(at - node->out);
	return 0;
}

/* Errors are only noted: replies that have already come are read first. */
static void write_plain(struct node *node)
{
	while (node->out_start < node->out_end) {
		ssize_t n = send(node->fd, node->out + node->out_start, node->out_end - node->out_start, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			node->blocked = errno == EAGAIN || errno == EWOULDBLOCK;
			node->write_error = node->blocked ? 0 : errno;
			return;
		}
		out_sent(node, (size_t)n);
	}
	node->blocked = false;
}

static void write_tls(struct node *node)
{
	size_t count = node->out_end - node->out_start;
	int done = 0;

	node_tls_clear_errors(node);
	if (count > 0) {
		if (redisAppendFormattedCommand(node->context, node->out + node->out_start, count) != REDIS_OK) {
			node->write_error = ENOMEM;
			return;
		}
		node->tls_unsent += count;
		out_sent(node, count);
	}
	if (node->tls_unsent == 0)
		return;
	errno = 0;
	if (redisBufferWrite(node->context, &done) != REDIS_OK)
		node->write_error = errno != 0 ? errno : EPROTO;
	else if (done)
		node->tls_unsent = 0;
	node->blocked = node->tls_unsent > 0;
}

static void write_out(struct node *node)
{
	if (node->write_error != 0)
		return;
	if (node->tls != NULL)
		write_tls(node);
	else
		write_plain(node);
}

/* --- the end ----------------------------------------------------------------------------- */

static void report_broken(struct node *node)
{
	while (node->command_count > 0) {
		struct node_command command = command_pop(node);

		node->owner.reply(node->owner.context, node, command.tag, NODE_BROKEN, NULL, NULL, command.sent_us);
	}
}

/* What must be killed on the next connection before that is used. */
static void remember_connection(struct node *node)
{
	node->previous_exists = true;
	node->previous_id = node->client_id;
	memcpy(node->previous_run_id, node->facts.run_id, sizeof(node->previous_run_id));
}

void node_end(struct node *node, const char *why)
{
	copy_sentence(node->problem, why);
	node->tried = true;
	if (node->phase == NODE_CONNECTED && node->channel == NULL)
		remember_connection(node);
	else if (node->phase == NODE_ASKING)
		node->address_turn += node->address_tried;
	node->refused = node->refusal;
	node->refusal = false;
	if (node->refused)
		node->backoff_us = BACKOFF_REFUSED_US;
	node_connect_close(node);
	node->phase = NODE_WAITING;
	node->wake_us = node->now_us + next_backoff_us(node);
	node->out_start = node->out_end;
	out_sent(node, 0);
	node->tls_unsent = 0;
	node->write_error = 0;
	node->blocked = false;
	node->doomed = false;
	debug_log(DEBUG_NODE, "%s: %s; %u commands without an answer, again in %" PRId64 " ms", node->server->address,
	          node->problem, node->command_count, (node->wake_us - node->now_us) / 1000);
	node->callbacks++;
	report_broken(node);
	node->owner.disconnected(node->owner.context, node, node->problem);
	node->callbacks--;
}

static void end_for_write(struct node *node)
{
	char buffer[128];

	node_end(node, node_say(node, "the connection broke: %s",
	                        strerror_r(node->write_error, buffer, sizeof(buffer))));
}

static void end_for_read(struct node *node)
{
	const char *problem = node_tls_problem(node);

	if (problem != NULL)
		node_end(node, problem);
	else if (node->phase == NODE_ASKING && node->context->err == REDIS_ERR_EOF)
		node_end(node, node->answered > 0 ? "closed the connection before it had answered all questions"
		                                  : "closed the connection without an answer");
	else if (node->context->err == REDIS_ERR_EOF)
		node_end(node, "closed the connection");
	else
		node_end(node, node_say(node, "the connection broke: %.120s", node->context->errstr));
}

static void end_for_protocol(struct node *node)
{
	if (node->arena.problem != NULL)
		node_end(node, node->arena.problem);
	else if (node->context->err == REDIS_ERR_OOM)
		node_end(node, "out of memory");
	else if (node->phase == NODE_ASKING)
		node_end(node, node_not_redis(node));
	else
		node_end(node, node_say(node, "sent something that is no answer: %.120s", node->context->errstr));
}

/* --- replies ----------------------------------------------------------------------------- */

static void log_connected(const struct node *node)
{
	if (node->channel != NULL)
		debug_log(DEBUG_NODE, "%s: listens to %s", node->server->address, node->channel);
	else
		debug_log(DEBUG_NODE, "%s: connected: %s, role %s, persistence %s, connection %" PRId64 ", run %s%s%s",
		          node->server->address, node->facts.version_text, node->facts.role, node->facts.persistence,
		          node->client_id, node->facts.run_id, node->facts.detail[0] != '\0' ? "; " : "",
		          node->facts.detail);
}

static void become_connected(struct node *node)
{
	node->phase = NODE_CONNECTED;
	node->wake_us = INT64_MAX;
	node->backoff_us = BACKOFF_MIN_US;
	node->address_turn = node->address_tried > 0 ? node->address_turn + node->address_tried - 1 : 0;
	node->problem[0] = '\0';
	node->tried = true;
	node->refused = false;
	log_connected(node);
	node->callbacks++;
	node->owner.connected(node->owner.context, node, &node->facts);
	node->callbacks--;
}

/* One answer of the handshake. False: the attempt has ended. */
static bool take_answer(struct node *node, const struct value *value)
{
	switch (node_answer(node, value)) {
	case HANDSHAKE_FAILED:
		node_end(node, node->sentence);
		return false;
	case HANDSHAKE_DONE:
		become_connected(node);
		return true;
	case HANDSHAKE_GOES_ON:
		break;
	}
	return true;
}

/* What a listener hears. False: the connection has ended. */
static bool take_message(struct node *node, const struct value *value)
{
	size_t length = 0;
	const char *payload = node_message(node, value, &length);

	if (payload == NULL) {
		node_end(node, "sent something that is no message of the channel that was subscribed to");
		return false;
	}
	node->callbacks++;
	node->owner.message(node->owner.context, node, payload, length);
	node->callbacks--;
	return true;
}

/* The answer to the oldest command. False: the connection has ended. */
static bool take_reply(struct node *node, const struct value *value)
{
	const char *error = value_error(value);
	struct node_command command;

	if (node->command_count == 0 || value_is_push(value)) {
		node_end(node, "sent an answer to which there is no command");
		return false;
	}
	command = command_pop(node);
	node->latency_us = node->now_us > command.sent_us ? node->now_us - command.sent_us : 0;
	node->callbacks++;
	if (error != NULL)
		node->owner.reply(node->owner.context, node, command.tag, NODE_ERROR, NULL, error, command.sent_us);
	else
		node->owner.reply(node->owner.context, node, command.tag, NODE_REPLY, value, NULL, command.sent_us);
	node->callbacks--;
	return true;
}

static bool take_value(struct node *node, const struct value *value)
{
	if (node->phase == NODE_ASKING)
		return take_answer(node, value);
	return node->channel != NULL ? take_message(node, value) : take_reply(node, value);
}

/* Keeps how the reply that is read begins: after a protocol error hiredis has thrown
 * it away. `got` bytes have just come. */
static void remember_head(struct node *node, size_t got)
{
	const redisReader *reader = node->context->reader;
	size_t begin = reader->pos, length;

	if (node->phase != NODE_ASKING)
		return;
	if (reader->ridx == -1)
		node->head_length = 0;
	else
		begin = reader->len - got;
	length = reader->len - begin;
	if (length > sizeof(node->head) - node->head_length)
		length = sizeof(node->head) - node->head_length;
	if (length > 0)
		memcpy(node->head + node->head_length, reader->buf + begin, length);
	node->head_length += length;
}

/* hiredis' type of the element that is being read. */
static int current_type(const redisReader *reader)
{
	if (reader->ridx < 0)
		return -1;
#if HIREDIS_MAJOR >= 1
	return reader->task[reader->ridx]->type;
#else
	return reader->rstack[reader->ridx].type;
#endif
}

/* What has come and is no whole reply yet. hiredis itself knows no limits: neither of
 * the length of a line nor of the bytes that it waits for. */
static bool within_limits(const struct node *node)
{
	const redisReader *reader = node->context->reader;
	size_t length = reader->len - reader->pos;

	if (length > NODE_REPLY_BYTES_MAX)
		return false;
	if (length <= NODE_LINE_MAX)
		return true;
	/* A string whose length has come; all else is one line. */
	return current_type(reader) == REDIS_REPLY_STRING && memchr(reader->buf + reader->pos, '\n', 32) != NULL;
}

/* All replies that have come. False: the connection has ended. */
static bool take_replies(struct node *node, size_t got)
{
	for (;;) {
		void *reply = NULL;

		remember_head(node, got);
		if (redisGetReplyFromReader(node->context, &reply) != REDIS_OK) {
			end_for_protocol(node);
			return false;
		}
		if (reply == NULL)
			break;
		if (!take_value(node, reply))
			return false;
		value_arena_reset(&node->arena);
		if (node->doomed) {
			node_end(node, node->doom);
			return false;
		}
	}
	if (within_limits(node))
		return true;
	node_end(node, "sent a reply that is too large");
	return false;
}

/* Reads until the socket is empty, within reason. False: the connection has ended. */
static bool read_in(struct node *node)
{
	size_t before, got;

	for (unsigned i = 0; i < READS_MAX; i++) {
		before = node->context->reader->len;
		node_tls_clear_errors(node);
		if (redisBufferRead(node->context) != REDIS_OK) {
			end_for_read(node);
			return false;
		}
		got = node->context->reader->len - before;
		if (got > 0 && !take_replies(node, got))
			return false;
		/* TLS hands over one record at a time. */
		if (got == 0 || (got < READ_SIZE && node->tls == NULL))
			return true;
	}
	return true;
}

/* What the socket did not take is written when it tells that it will. */
static void settle(struct node *node)
{
	uint32_t events = EPOLLIN;

	if (node->write_error != 0) {
		/* What the master has still said, perhaps why, comes first. */
		if (read_in(node))
			end_for_write(node);
		return;
	}
	if (node->blocked && !node_tls_wants_read(node))
		events |= (uint32_t)EPOLLOUT;
	if (node_watch(node, events) < 0)
		node_end(node, "its descriptor cannot be watched");
}

static void io(struct node *node, uint32_t events)
{
	if ((events & ~(uint32_t)EPOLLOUT) != 0 && !read_in(node))
		return;
	/* Only what was already begun, and the handshake: the rest waits for node_flush(). */
	if ((events & EPOLLOUT) != 0 || node->phase == NODE_ASKING || (node->blocked && node->tls != NULL))
		write_out(node);
	settle(node);
}

/* --- the owner's side ---------------------------------------------------------------------- */

/* The socket is connected: all questions in one write. */
void node_established(struct node *node)
{
	if (node_ask(node) < 0) {
		node_end(node, "out of memory");
		return;
	}
	write_out(node);
	settle(node);
}

struct node *node_new(const struct config *config, const struct server *server, unsigned index,
                      const struct node_owner *owner, uint64_t random)
{
	struct node *node = calloc(1, sizeof(*node));

	if (node == NULL)
		return NULL;
	node->config = config;
	node->server = server;
	node->owner = *owner;
	node->index = index;
	node->random = random;
	node->phase = NODE_IDLE;
	node->wake_us = INT64_MAX;
	node->backoff_us = BACKOFF_MIN_US;
	node->latency_us = -1;
	node->fd = -1;
	snprintf(node->problem, sizeof(node->problem), "not connected yet");
	return node;
}

struct node *node_new_listener(const struct config *config, const struct server *server, unsigned index,
                               const struct node_owner *owner, uint64_t random, const char *channel)
{
	struct node *node = node_new(config, server, index, owner, random);

	if (node != NULL)
		node->channel = channel;
	return node;
}

void node_free(struct node *node)
{
	if (node == NULL)
		return;
	node_connect_close(node);
	node_tls_free(node);
	value_arena_clear(&node->arena);
	free(node->commands);
	free(node->out);
	free(node);
}

void node_start(struct node *node, int64_t now_us)
{
	node->now_us = now_us;
	if (node->phase == NODE_IDLE)
		node_attempt(node);
}

void node_ready(struct node *node, int fd, uint32_t events, int64_t now_us)
{
	node->now_us = now_us;
	if (node->phase == NODE_RESOLVING)
		node_resolver_ready(node, fd, events);
	else if (fd != node->fd || fd < 0)
		return; /* of a descriptor that was closed a moment ago */
	else if (node->phase == NODE_CONNECTING)
		node_connect_ready(node);
	else if (is_live(node))
		io(node, events);
}

int64_t node_next_us(const struct node *node)
{
	switch (node->phase) {
	case NODE_WAITING:
	case NODE_CONNECTING:
		return node->wake_us;
	case NODE_RESOLVING:
		return node_resolver_next_us(node);
	case NODE_ASKING:
		return node->deadline_us;
	case NODE_IDLE:
	case NODE_CONNECTED:
		break;
	}
	return INT64_MAX;
}

void node_tick(struct node *node, int64_t now_us)
{
	node->now_us = now_us;
	if (node->phase == NODE_RESOLVING)
		node_resolver_tick(node);
	else if (now_us < node_next_us(node))
		return;
	else if (node->phase == NODE_WAITING)
		node_attempt(node);
	else if (node->phase == NODE_CONNECTING)
		node_connect_late(node);
	else if (node->phase == NODE_ASKING)
		node_end(node, node_say(node, "connected, but did not answer within %lld ms",
		                        (long long)(node_attempt_us(node) / 1000)));
}

int node_send(struct node *node, int argc, const char *const *argv, const size_t *lengths, void *tag, int64_t now_us)
{
	size_t size = 0;

	if (!node_is_connected(node) || node->channel != NULL)
		return -ENOTCONN;
	for (int i = 0; i < argc; i++)
		size += lengths[i];
	if (node->command_count >= NODE_OUTSTANDING_MAX || size > NODE_BACKLOG_MAX ||
	    out_unsent(node) > NODE_BACKLOG_MAX - size)
		return -EAGAIN;
	if (node->command_count == node->command_size && commands_grow(node) < 0)
		return -ENOMEM;
	if (node_queue(node, argc, argv, lengths) < 0)
		return -ENOMEM;
	node->commands[(node->command_first + node->command_count) & (node->command_size - 1)] =
		(struct node_command){.tag = tag, .sent_us = now_us};
	node->command_count++;
	return 0;
}

void node_flush(struct node *node, int64_t now_us)
{
	if (!node_is_connected(node))
		return;
	if (now_us > node->now_us)
		node->now_us = now_us;
	write_out(node);
	/* Below a callback an error waits for the loop that called it. */
	if (node->callbacks == 0)
		settle(node);
	else if (node->blocked)
		(void)node_watch(node, EPOLLIN | (uint32_t)EPOLLOUT);
}

void node_reconnect(struct node *node, const char *why, int64_t now_us)
{
	if (node->phase == NODE_IDLE || node->phase == NODE_WAITING)
		return;
	if (now_us > node->now_us)
		node->now_us = now_us;
	if (node->callbacks == 0) {
		copy_sentence(node->doom, why);
		node_end(node, node->doom);
	} else if (!node->doomed) {
		node->doomed = true;
		copy_sentence(node->doom, why);
	}
}

bool node_is_connected(const struct node *node)
{
	return node->phase == NODE_CONNECTED && !node->doomed;
}

unsigned node_index(const struct node *node)
{
	return node->index;
}

const struct server *node_server(const struct node *node)
{
	return node->server;
}

const char *node_problem(const struct node *node)
{
	return node->doomed ? node->doom : node->problem;
}

bool node_is_refused(const struct node *node)
{
	return node->refused;
}

bool node_has_tried(const struct node *node)
{
	return node->tried;
}

int64_t node_oldest_sent_us(const struct node *node)
{
	return node->command_count > 0 ? node->commands[node->command_first].sent_us : INT64_MAX;
}

int64_t node_latency_us(const struct node *node)
{
	return node->latency_us;
}

void node_abandon(struct node *node)
{
	if (node->fd >= 0)
		close(node->fd);
	for (unsigned i = 0; i < node->resolver_fd_count; i++)
		close(node->resolver_fds[i]);
}
