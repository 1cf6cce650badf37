/*
 * floor.c - the plain floor: what no client of these servers can beat.
 *
 * One socket a master, commands that are formatted once, one poll loop, no library:
 * `SET key token NX PX 10000` to all and back at the q-th OK, then the classic
 * release to all and back at the q-th 1. No fence, no queue, no renewal.
 *
 * Replies come in the order of the commands, and each of them is one line; so the
 * q+1st and later ones need not be waited for: a line counts when it is the reply to
 * the last command sent on that socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"

#define MASTERS_MAX 16
#define REPLY_MS 5000

#define TOKEN "0123456789abcdef0123456789abcdef"

static const char lock_format[] =
	"*6\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$32\r\n" TOKEN "\r\n$2\r\nNX\r\n$2\r\nPX\r\n$5\r\n10000\r\n";
static const char release_format[] =
	"*5\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n1\r\n$%zu\r\n%s\r\n$32\r\n" TOKEN "\r\n";

static const char release_script[] =
	"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

struct floor {
	int count;
	struct pollfd sockets[MASTERS_MAX];
	unsigned sent[MASTERS_MAX];     /* commands */
	unsigned answered[MASTERS_MAX]; /* lines that have ended */
	char first[MASTERS_MAX];        /* of the line that comes in; 0: none of it yet */
	char second[MASTERS_MAX];
	char lock_command[256];
	char release_command[256];
};

static int connect_to(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	const char *colon = strrchr(address, ':');
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	to.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0));
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool load_release(struct floor *floor, struct servers *servers, int i, const char *key)
{
	char *sha = servers_command(servers, i, "SCRIPT LOAD %s", release_script);
	bool loaded = sha && strlen(sha) == 40;

	if (loaded)
		snprintf(floor->release_command, sizeof(floor->release_command), release_format, sha, strlen(key), key);
	free(sha);
	return loaded;
}

struct floor *floor_open(struct servers *servers)
{
	return floor_open_key(servers, "bench-floor");
}

struct floor *floor_open_key(struct servers *servers, const char *key)
{
	struct floor *floor = calloc(1, sizeof(*floor));

	if (floor)
		snprintf(floor->lock_command, sizeof(floor->lock_command), lock_format, strlen(key), key);
	while (floor && floor->count < servers_count(servers) && floor->count < MASTERS_MAX) {
		int i = floor->count;
		int fd = load_release(floor, servers, i, key) ? connect_to(servers_address(servers, i)) : -1;

		if (fd < 0) {
			fprintf(stderr, "floor: no connection to %s: %s\n", servers_address(servers, i), strerror(errno));
			floor_close(floor);
			return NULL;
		}
		floor->sockets[i] = (struct pollfd){.fd = fd, .events = POLLIN};
		floor->count++;
	}
	return floor;
}

void floor_close(struct floor *floor)
{
	for (int i = 0; floor && i < floor->count; i++)
		close(floor->sockets[i].fd);
	free(floor);
}

static int send_all(struct floor *floor, const char *command, size_t size)
{
	for (int i = 0; i < floor->count; i++) {
		if (send(floor->sockets[i].fd, command, size, MSG_NOSIGNAL) != (ssize_t)size) {
			fprintf(stderr, "floor: a command could not be sent: %s\n", strerror(errno));
			return -1;
		}
		floor->sent[i]++;
	}
	return 0;
}

/* How many of the lines are `wanted` and the reply to the last command; -1: the connection has ended. */
static int read_lines(struct floor *floor, int i, const char *wanted)
{
	char bytes[512];
	ssize_t size = recv(floor->sockets[i].fd, bytes, sizeof(bytes), 0);
	int counted = 0;

	if (size <= 0)
		return size < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
	for (ssize_t at = 0; at < size; at++) {
		if (bytes[at] == '\n') {
			floor->answered[i]++;
			counted += floor->answered[i] == floor->sent[i] && floor->first[i] == wanted[0] &&
			           floor->second[i] == wanted[1];
			floor->first[i] = floor->second[i] = '\0';
		} else if (!floor->first[i]) {
			floor->first[i] = bytes[at];
		} else if (!floor->second[i]) {
			floor->second[i] = bytes[at];
		}
	}
	return counted;
}

static int await_quorum(struct floor *floor, const char *wanted)
{
	int votes = 0;

	while (votes < floor->count / 2 + 1) {
		if (poll(floor->sockets, (nfds_t)floor->count, REPLY_MS) <= 0) {
			fprintf(stderr, "floor: %d replies %s in %d ms\n", votes, wanted, REPLY_MS);
			return -1;
		}
		for (int i = 0; i < floor->count; i++) {
			int counted = floor->sockets[i].revents ? read_lines(floor, i, wanted) : 0;

			if (counted < 0) {
				fprintf(stderr, "floor: a server has closed the connection\n");
				return -1;
			}
			votes += counted;
		}
	}
	return 0;
}

int floor_run(struct floor *floor, int rounds, int rest_us, struct samples *samples)
{
	size_t lock_size = strlen(floor->lock_command), release_size = strlen(floor->release_command);

	for (int round = 0; round < rounds; round++) {
		int64_t begin_ns;

		if (rest_us)
			sleep_us(rest_us);
		begin_ns = now_ns();
		if (send_all(floor, floor->lock_command, lock_size) < 0 || await_quorum(floor, "+O") < 0 ||
		    send_all(floor, floor->release_command, release_size) < 0 || await_quorum(floor, ":1") < 0)
			return -1;
		samples_add(samples, now_ns() - begin_ns);
	}
	return 0;
}
