/*
 * liar.c - see liar.h.
 *
 * One thread polls. A command that has come whole is passed on and its answer
 * awaited, before the next: only one connection is ever busy, and answers can't
 * be mixed up. What the server says of itself, to who has subscribed, is passed on
 * as it is.
 */
#include "tests/harness/liar.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 32
#define TIMEOUT_S 5

struct buffer {
	char *bytes;
	size_t length, size;
};

struct connection {
	int client, upstream; /* -1: this place is free */
	struct buffer in, answer;
};

struct liar {
	pthread_t thread;
	pthread_mutex_t mutex; /* of lie, told, size */
	struct liar_lie lie;
	unsigned told;
	size_t answer_size;
	int listener, orders[2];
	char dir[80], address[128], upstream[128];
	struct connection connections[CONNECTIONS_MAX];
};

/* ---- Redis' protocol ---- */

/* The length of the line at `at` with its end, and its number; 0: not whole yet. */
static size_t line_length(const char *bytes, size_t at, size_t length, long *ret_number)
{
	const char *end = memchr(bytes + at, '\n', length - at);

	if (!end)
		return 0;
	*ret_number = strtol(bytes + at + 1, NULL, 10);
	return (size_t)(end - bytes) + 1 - at;
}

/* The length of the first value, 0: not whole yet. */
static size_t value_length(const char *bytes, size_t length)
{
	size_t at = 0;

	for (long left = 1; left > 0; left--) {
		long number;
		size_t line = at < length ? line_length(bytes, at, length, &number) : 0;

		if (line == 0)
			return 0;
		if (bytes[at] == '*')
			left += number > 0 ? number : 0;
		else if (bytes[at] == '$' && number >= 0)
			line += (size_t)number + 2;
		at += line;
		if (at > length)
			return 0;
	}
	return at;
}

/* Argument `index` of a whole command; NULL: it has fewer. */
static const char *argument(const char *command, size_t length, int index, long *ret_length)
{
	size_t at = line_length(command, 0, length, ret_length);

	for (int i = 0; at < length; i++) {
		size_t line = line_length(command, at, length, ret_length);

		if (i == index)
			return command + at + line;
		at += line + (size_t)*ret_length + 2;
	}
	return NULL;
}

/* The script's operation, or 0. */
static char operation_of(const char *command, size_t length)
{
	long size = 0;
	const char *word = argument(command, length, 0, &size), *keys;

	if (!word || size != 7 || memcmp(word, "EVALSHA", 7) != 0)
		return 0;
	keys = argument(command, length, 2, &size);
	word = keys ? argument(command, length, 3 + (*keys == '1'), &size) : NULL;
	return word ? *word : 0;
}

/* ---- bytes ---- */

static bool receive(int fd, struct buffer *buffer)
{
	ssize_t got;

	if (buffer->size - buffer->length < 4096) {
		char *bytes = realloc(buffer->bytes, buffer->size + 65536);

		if (!bytes)
			return false;
		buffer->bytes = bytes;
		buffer->size += 65536;
	}
	do {
		got = recv(fd, buffer->bytes + buffer->length, buffer->size - buffer->length, 0);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		buffer->length += (size_t)got;
	return got > 0;
}

static bool send_all(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		bytes += sent;
		size -= (size_t)sent;
	}
	return true;
}

static void consume(struct buffer *buffer, size_t length)
{
	buffer->length -= length;
	memmove(buffer->bytes, buffer->bytes + length, buffer->length);
}

static void end(struct connection *c)
{
	if (c->client >= 0)
		close(c->client);
	if (c->upstream >= 0)
		close(c->upstream);
	c->client = c->upstream = -1;
	c->in.length = c->answer.length = 0;
}

/* ---- lying ---- */

/* Whether this answer is to be a lie, and which. */
static bool lie_now(struct liar *liar, char operation, size_t size, struct liar_lie *ret)
{
	bool lies;

	pthread_mutex_lock(&liar->mutex);
	lies = liar->lie.operation && liar->lie.operation == operation;
	if (lies)
		liar->answer_size = size;
	lies = lies && liar->lie.times != 0;
	if (lies && liar->lie.times > 0)
		liar->lie.times--;
	liar->told += lies;
	*ret = liar->lie;
	pthread_mutex_unlock(&liar->mutex);
	return lies;
}

static long long time_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* False: the connection is to end. */
static bool answer(struct liar *liar, struct connection *c, char operation)
{
	const char *bytes = c->answer.bytes, *at;
	char dated[512];
	size_t size = value_length(c->answer.bytes, c->answer.length), cut;
	struct liar_lie lie;

	if (!lie_now(liar, operation, size, &lie))
		return send_all(c->client, bytes, size);
	if (lie.bytes) {
		bytes = lie.bytes;
		size = lie.size;
	}
	at = lie.dated ? memchr(bytes, '@', size) : NULL;
	if (at) {
		size = (size_t)snprintf(dated, sizeof(dated), "%.*s%lld%.*s", (int)(at - bytes), bytes, time_us(),
		                        (int)(bytes + size - at - 1), at + 1);
		bytes = dated;
	}
	if (lie.cut_after < 0)
		return send_all(c->client, bytes, size);
	cut = (size_t)lie.cut_after < size ? (size_t)lie.cut_after : size;
	send_all(c->client, bytes, cut);
	return false;
}

/* One command, from client to server and back. */
static bool pass(struct liar *liar, struct connection *c, size_t length)
{
	char operation = operation_of(c->in.bytes, length);
	bool fine = send_all(c->upstream, c->in.bytes, length);

	consume(&c->in, length);
	c->answer.length = 0;
	while (fine && value_length(c->answer.bytes, c->answer.length) == 0)
		fine = receive(c->upstream, &c->answer);
	return fine && answer(liar, c, operation);
}

static void from_client(struct liar *liar, struct connection *c)
{
	bool fine = receive(c->client, &c->in);
	size_t length;

	while (fine && (length = value_length(c->in.bytes, c->in.length)) > 0)
		fine = pass(liar, c, length);
	if (!fine)
		end(c);
}

static void from_server(struct connection *c)
{
	c->answer.length = 0;
	if (!receive(c->upstream, &c->answer) || !send_all(c->client, c->answer.bytes, c->answer.length))
		end(c);
}

/* ---- connections ---- */

static int connect_upstream(const char *path)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, strnlen(path, sizeof(address.sun_path) - 1));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return fd;
}

static void accept_one(struct liar *liar)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	int fd = accept4(liar->listener, NULL, NULL, SOCK_CLOEXEC);
	struct connection *c = NULL;

	for (int i = 0; i < CONNECTIONS_MAX; i++)
		if (liar->connections[i].client < 0)
			c = &liar->connections[i];
	if (fd < 0)
		return;
	if (!c) {
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	c->client = fd;
	c->upstream = connect_upstream(liar->upstream);
	if (c->upstream < 0)
		end(c);
}

static void end_all(struct liar *liar)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		end(&liar->connections[i]);
}

static void *serve(void *argument_)
{
	struct liar *liar = argument_;
	struct pollfd polls[2 * CONNECTIONS_MAX + 2], *upstreams = polls + CONNECTIONS_MAX + 2;
	char order;

	for (;;) {
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			polls[i] = (struct pollfd){.fd = liar->connections[i].client, .events = POLLIN};
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			upstreams[i] = (struct pollfd){.fd = liar->connections[i].upstream, .events = POLLIN};
		polls[CONNECTIONS_MAX] = (struct pollfd){.fd = liar->listener, .events = POLLIN};
		polls[CONNECTIONS_MAX + 1] = (struct pollfd){.fd = liar->orders[0], .events = POLLIN};
		if (poll(polls, 2 * CONNECTIONS_MAX + 2, -1) < 0 && errno != EINTR)
			return NULL;
		/* Before a command: what has come is no answer to it. */
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			if (upstreams[i].fd >= 0 && upstreams[i].revents)
				from_server(&liar->connections[i]);
		for (int i = 0; i < CONNECTIONS_MAX; i++)
			if (polls[i].fd >= 0 && polls[i].fd == liar->connections[i].client && polls[i].revents)
				from_client(liar, &liar->connections[i]);
		if (polls[CONNECTIONS_MAX].revents)
			accept_one(liar);
		if (polls[CONNECTIONS_MAX + 1].revents) {
			if (read(liar->orders[0], &order, 1) != 1 || order == 's')
				return NULL;
			end_all(liar);
		}
	}
}

/* ---- from outside ---- */

static bool listen_at(struct liar *liar)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *base = getenv("TMPDIR");

	if (!base || !*base || strlen(base) > 60) /* a unix socket's path has 107 bytes */
		base = "/tmp";
	snprintf(liar->dir, sizeof(liar->dir), "%s/liar-XXXXXX", base);
	if (!mkdtemp(liar->dir))
		return false;
	snprintf(liar->address, sizeof(liar->address), "unix:%s/sock", liar->dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", liar->address + 5);
	liar->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return liar->listener >= 0 && bind(liar->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	       listen(liar->listener, 64) == 0;
}

struct liar *liar_start(const char *upstream)
{
	struct liar *liar = calloc(1, sizeof(*liar));

	if (!liar || strncmp(upstream, "unix:", 5) != 0)
		return NULL;
	pthread_mutex_init(&liar->mutex, NULL);
	snprintf(liar->upstream, sizeof(liar->upstream), "%s", upstream + 5);
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		liar->connections[i].client = liar->connections[i].upstream = -1;
	if (listen_at(liar) && pipe(liar->orders) == 0 && pthread_create(&liar->thread, NULL, serve, liar) == 0)
		return liar;
	perror("liar");
	free(liar);
	return NULL;
}

void liar_stop(struct liar *liar)
{
	if (!liar || write(liar->orders[1], "s", 1) != 1)
		return;
	pthread_join(liar->thread, NULL);
	end_all(liar);
	for (int i = 0; i < CONNECTIONS_MAX; i++) {
		free(liar->connections[i].in.bytes);
		free(liar->connections[i].answer.bytes);
	}
	close(liar->listener);
	close(liar->orders[0]);
	close(liar->orders[1]);
	unlink(liar->address + 5);
	rmdir(liar->dir);
	free(liar);
}

const char *liar_address(const struct liar *liar)
{
	return liar->address;
}

void liar_lie(struct liar *liar, const struct liar_lie *lie)
{
	pthread_mutex_lock(&liar->mutex);
	liar->lie = lie ? *lie : (struct liar_lie){0};
	liar->told = 0;
	pthread_mutex_unlock(&liar->mutex);
}

unsigned liar_told(struct liar *liar)
{
	unsigned told;

	pthread_mutex_lock(&liar->mutex);
	told = liar->told;
	pthread_mutex_unlock(&liar->mutex);
	return told;
}

size_t liar_size(struct liar *liar)
{
	size_t size;

	pthread_mutex_lock(&liar->mutex);
	size = liar->answer_size;
	pthread_mutex_unlock(&liar->mutex);
	return size;
}

void liar_drop(struct liar *liar)
{
	if (write(liar->orders[1], "d", 1) != 1)
		perror("liar");
}
