/*
 * fake.c - a server for tests that misbehaves as told; see fake.h.
 *
 * One thread polls the listening socket, a pipe for the test's orders and two
 * descriptors a connection. Sending blocks, but never for longer than
 * SEND_TIMEOUT_S: a client that does not read is cut.
 */
#include "tests/harness/fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define SEND_TIMEOUT_S 5

/* Orders through the pipe. */
#define ORDER_STOP 's'
#define ORDER_DROP 'd'

struct connection {
	int client;   /* -1: this place is free */
	int upstream; /* -1: none */
	int64_t left; /* bytes until the cut; -1: no cut */
	bool greeted; /* the script has been sent */
	bool mute;    /* was cut, and stays open */
};

struct fake {
	struct fake_options options; /* its pointers are ours */
	int listener;
	int orders[2];
	int done[2]; /* answers to ORDER_DROP */
	pthread_t thread;
	char dir[80]; /* of the unix socket; "" with TCP */
	char address[128];
	struct connection connections[CONNECTIONS_MAX]; /* of the thread alone */
	atomic_uint accepted;
	atomic_ullong received;
	atomic_llong cut_after;
};

/* ---------------------------------------------------------------- sockets */

static socklen_t unix_address(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
	return sizeof(*address);
}

static socklen_t loopback_address(struct sockaddr_in *address, int port)
{
	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	address->sin_port = htons((uint16_t)port);
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(*address);
}

static int connect_upstream(const char *where)
{
	struct sockaddr_storage address;
	const char *colon = strrchr(where, ':');
	bool is_unix = strncmp(where, "unix:", 5) == 0;
	socklen_t size = is_unix ? unix_address((struct sockaddr_un *)&address, where + 5)
				 : loopback_address((struct sockaddr_in *)&address, colon ? atoi(colon + 1) : 0);
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int listen_tcp(struct fake *fake)
{
	struct sockaddr_in address;
	socklen_t size = loopback_address(&address, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		return -1;
	snprintf(fake->address, sizeof(fake->address), "127.0.0.1:%d", ntohs(address.sin_port));
	return fd;
}

static int listen_unix(struct fake *fake)
{
	struct sockaddr_un address;
	const char *base = getenv("TMPDIR");
	socklen_t size;
	int fd;

	/* A unix socket's path has 107 bytes. */
	if (!base || !*base || strlen(base) > 60)
		base = "/tmp";
	snprintf(fake->dir, sizeof(fake->dir), "%s/fake-XXXXXX", base);
	if (!mkdtemp(fake->dir)) {
		fake->dir[0] = '\0';
		return -1;
	}
	snprintf(fake->address, sizeof(fake->address), "unix:%s/sock", fake->dir);
	size = unix_address(&address, fake->address + 5);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 64) < 0)
		return -1;
	return fd;
}

/* ---------------------------------------------------------------- connections */

static void end(struct connection *connection)
{
	if (connection->client >= 0)
		close(connection->client);
	if (connection->upstream >= 0)
		close(connection->upstream);
	connection->client = connection->upstream = -1;
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

/* The script follows what upstream had sent; without upstream it is what was cut. */
static void cut(struct fake *fake, struct connection *connection)
{
	const struct fake_options *options = &fake->options;

	if (options->upstream && options->script)
		send_all(connection->client, options->script, options->script_size);
	connection->mute = true;
	if (!options->silent)
		end(connection);
}

/* To the client, up to the cut. */
static void tell(struct fake *fake, struct connection *connection, const char *bytes, size_t size)
{
	size_t part = size;

	if (connection->left >= 0 && (uint64_t)connection->left < size)
		part = (size_t)connection->left;
	if (!send_all(connection->client, bytes, part)) {
		end(connection);
		return;
	}
	if (connection->left < 0)
		return;
	connection->left -= (int64_t)part;
	if (connection->left == 0)
		cut(fake, connection);
}

static void tell_script(struct fake *fake, struct connection *connection)
{
	const struct fake_options *options = &fake->options;

	if (connection->greeted && !options->repeat)
		return;
	connection->greeted = true;
	if (options->script)
		tell(fake, connection, options->script, options->script_size);
}

static void from_client(struct fake *fake, struct connection *connection)
{
	char bytes[16384];
	ssize_t size = read(connection->client, bytes, sizeof(bytes));

	if (size <= 0) {
		end(connection);
		return;
	}
	atomic_fetch_add(&fake->received, (unsigned long long)size);
	if (connection->mute)
		return;
	if (!fake->options.upstream)
		tell_script(fake, connection);
	else if (!send_all(connection->upstream, bytes, (size_t)size))
		end(connection);
}

static void from_upstream(struct fake *fake, struct connection *connection)
{
	char bytes[16384];
	ssize_t size = read(connection->upstream, bytes, sizeof(bytes));

	if (size <= 0)
		end(connection);
	else if (!connection->mute)
		tell(fake, connection, bytes, (size_t)size);
}

static void begin(struct fake *fake, struct connection *connection, int client)
{
	const struct timeval timeout = { .tv_sec = SEND_TIMEOUT_S };

	setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	*connection = (struct connection){ .client = client, .upstream = -1 };
	connection->left = atomic_load(&fake->cut_after);
	if (fake->options.upstream) {
		connection->upstream = connect_upstream(fake->options.upstream);
		if (connection->upstream < 0)
			end(connection);
	} else if (fake->options.greet) {
		tell_script(fake, connection);
	}
}

static void accept_one(struct fake *fake)
{
	int client = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
	int i = 0;

	if (client < 0)
		return;
	atomic_fetch_add(&fake->accepted, 1);
	while (i < CONNECTIONS_MAX && fake->connections[i].client >= 0)
		i++;
	if (i < CONNECTIONS_MAX)
		begin(fake, &fake->connections[i], client);
	else
		close(client);
}

static void end_all(struct fake *fake)
{
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		end(&fake->connections[i]);
}

/* ---------------------------------------------------------------- the thread */

/* False when the thread shall end. */
static bool obey(struct fake *fake)
{
	char order;

	if (read(fake->orders[0], &order, 1) != 1 || order == ORDER_STOP)
		return false;
	end_all(fake);
	return write(fake->done[1], &order, 1) == 1;
}

static void *serve(void *argument)
{
	struct fake *fake = argument;
	struct pollfd polls[2 + 2 * CONNECTIONS_MAX];

	for (;;) {
		polls[0] = (struct pollfd){ .fd = fake->orders[0], .events = POLLIN };
		polls[1] = (struct pollfd){ .fd = fake->listener, .events = POLLIN };
		for (int i = 0; i < CONNECTIONS_MAX; i++) {
			polls[2 + 2 * i] = (struct pollfd){ .fd = fake->connections[i].client, .events = POLLIN };
			polls[3 + 2 * i] = (struct pollfd){ .fd = fake->connections[i].upstream, .events = POLLIN };
		}
		if (poll(polls, 2 + 2 * CONNECTIONS_MAX, -1) < 0)
			continue;
		if (polls[0].revents && !obey(fake))
			break;
		/* A number may have been closed, and given anew, in this same turn:
		 * so each connection is looked at with the numbers it was polled by. */
		for (int i = 0; i < CONNECTIONS_MAX; i++) {
			struct connection *connection = &fake->connections[i];

			if (polls[2 + 2 * i].revents && connection->client == polls[2 + 2 * i].fd)
				from_client(fake, connection);
			if (polls[3 + 2 * i].revents && connection->client >= 0 &&
			    connection->upstream == polls[3 + 2 * i].fd)
				from_upstream(fake, connection);
		}
		if (polls[1].revents)
			accept_one(fake);
	}
	end_all(fake);
	return NULL;
}

/* ---------------------------------------------------------------- the test's side */

static bool copy_options(struct fake *fake, const struct fake_options *options)
{
	fake->options = *options;
	fake->options.script = NULL;
	fake->options.upstream = options->upstream ? strdup(options->upstream) : NULL;
	if (options->script) {
		/* One byte more, because a script may be empty. */
		void *script = malloc(options->script_size + 1);

		if (script)
			memcpy(script, options->script, options->script_size);
		fake->options.script = script;
	}
	return !options->upstream == !fake->options.upstream && !options->script == !fake->options.script;
}

static void give_back(struct fake *fake)
{
	const int fds[] = { fake->listener, fake->orders[0], fake->orders[1], fake->done[0], fake->done[1] };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	if (fake->dir[0]) {
		unlink(fake->address + 5);
		rmdir(fake->dir);
	}
	free((void *)(uintptr_t)fake->options.script);
	free((void *)(uintptr_t)fake->options.upstream);
	free(fake);
}

struct fake *fake_start(const struct fake_options *options)
{
	struct fake *fake = calloc(1, sizeof(*fake));

	if (!fake)
		return NULL;
	fake->listener = fake->orders[0] = fake->orders[1] = fake->done[0] = fake->done[1] = -1;
	for (int i = 0; i < CONNECTIONS_MAX; i++)
		fake->connections[i].client = fake->connections[i].upstream = -1;
	atomic_store(&fake->cut_after, options->cut_after);
	if (!copy_options(fake, options) || pipe(fake->orders) < 0 || pipe(fake->done) < 0 ||
	    (fake->listener = options->tcp ? listen_tcp(fake) : listen_unix(fake)) < 0 ||
	    (errno = pthread_create(&fake->thread, NULL, serve, fake)) != 0) {
		fprintf(stderr, "fake: cannot start: %s\n", strerror(errno));
		give_back(fake);
		return NULL;
	}
	return fake;
}

static void order(struct fake *fake, char what)
{
	while (write(fake->orders[1], &what, 1) < 0 && errno == EINTR)
		continue;
}

void fake_stop(struct fake *fake)
{
	if (!fake)
		return;
	order(fake, ORDER_STOP);
	pthread_join(fake->thread, NULL);
	give_back(fake);
}

const char *fake_address(const struct fake *fake)
{
	return fake->address;
}

unsigned fake_accepted(struct fake *fake)
{
	return atomic_load(&fake->accepted);
}

uint64_t fake_received(struct fake *fake)
{
	return atomic_load(&fake->received);
}

void fake_cut_after(struct fake *fake, int64_t bytes)
{
	atomic_store(&fake->cut_after, bytes);
}

void fake_drop(struct fake *fake)
{
	char done;

	order(fake, ORDER_DROP);
	while (read(fake->done[0], &done, 1) < 0 && errno == EINTR)
		continue;
}
