/*
 * floor.c - the floors: what no client of these servers, or of this protocol, can beat.
 *
 * One socket a master, commands that are formatted once, one poll loop, no library: the lock
 * command to all and on at the q-th yes, then the release to all and done at the q-th yes. No
 * leases that are watched, no renewal. With many names all that is due goes out in one write a
 * master and turn of the loop.
 *
 * Replies come in the order of the commands. The q+1st and later ones are not waited for: one
 * counts when it is of the phase that its name is in.
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
#include <time.h>
#include <unistd.h>

#include "bench/floor.h"

#define REPLY_MS 5000
#define BEHIND_MAX 32768 /* replies of one master that is slower than the others, or more with many names */
#define ROUNDS_BEHIND_MAX 256
#define IN_MAX (1 << 16)

struct slot {
	struct floor_commands commands;
	enum floor_phase phase;
	int votes;
	unsigned serial; /* of the phase that it is in */
};

/* A reply that is to come. */
struct awaited {
	int slot;
	unsigned serial;
};

struct link {
	char *out; /* not sent yet */
	size_t out_size, out_room;
	char in[IN_MAX];
	size_t in_size;
	struct awaited *awaited;
	unsigned asked, answered;
};

struct floor {
	int masters, names;
	unsigned awaited_max; /* replies of one master */
	struct pollfd sockets[FLOOR_MASTERS_MAX];
	struct link links[FLOOR_MASTERS_MAX];
	struct slot *slots;
	int to_begin, to_end; /* pairs */
};

/* ---- open and close ---- */

int floor_connect(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	const char *colon = strrchr(address, ':');
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	to.sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0)
		return fd;
	fprintf(stderr, "floor: no connection to %s: %s\n", address, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool connect_all(struct floor *floor, struct servers *servers)
{
	for (int i = 0; i < servers_count(servers) && i < FLOOR_MASTERS_MAX; i++) {
		struct link *link = &floor->links[i];
		int fd = floor_connect(servers_address(servers, i));

		if (fd < 0)
			return false;
		floor->sockets[floor->masters++] = (struct pollfd){.fd = fd, .events = POLLIN};
		link->awaited = calloc(floor->awaited_max, sizeof(*link->awaited));
		if (!link->awaited)
			return false;
	}
	return true;
}

struct floor *floor_open(struct bench *bench, enum floor_kind kind, int first, int names)
{
	struct floor *floor = calloc(1, sizeof(*floor));
	struct floor_template *commands = floor ? floor_template_new(bench, kind) : NULL;
	bool ready;

	if (floor)
		floor->awaited_max = names > BEHIND_MAX / ROUNDS_BEHIND_MAX ? ROUNDS_BEHIND_MAX * (unsigned)names : BEHIND_MAX;
	ready = commands && connect_all(floor, bench->servers);
	if (ready)
		floor->slots = calloc((size_t)names, sizeof(*floor->slots));
	ready = ready && floor->slots;
	for (int i = 0; ready && i < names; i++) {
		floor->names++;
		ready = floor_commands_make(&floor->slots[i].commands, commands, first + i) == 0;
	}
	floor_template_free(commands);
	if (ready)
		return floor;
	floor_close(floor);
	return NULL;
}

void floor_close(struct floor *floor)
{
	if (!floor)
		return;
	for (int i = 0; i < floor->names; i++)
		floor_commands_clear(&floor->slots[i].commands);
	for (int i = 0; i < floor->masters; i++) {
		close(floor->sockets[i].fd);
		free(floor->links[i].awaited);
		free(floor->links[i].out);
	}
	free(floor->slots);
	free(floor);
}

/* ---- out ---- */

static int64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void write_number(char *at, int64_t number)
{
	for (int i = 15; i >= 0; i--, number /= 10)
		at[i] = (char)('0' + number % 10);
}

static char *room_for(struct link *link, size_t size)
{
	while (link->out_room - link->out_size < size) {
		size_t room = link->out_room ? 2 * link->out_room : 4096;
		char *out = realloc(link->out, room);

		if (!out)
			return NULL;
		link->out = out;
		link->out_room = room;
	}
	return link->out + link->out_size;
}

static int queue_command(struct link *link, struct floor_command *command, int64_t proposal)
{
	char *at = room_for(link, command->size);

	if (!at)
		return -1;
	for (int i = 0; i < command->numbers; i++)
		write_number(command->text + command->at[i], proposal + command->offset_us[i]);
	memcpy(at, command->text, command->size);
	link->out_size += command->size;
	return 0;
}

static int begin_phase(struct floor *floor, int index, enum floor_phase phase)
{
	struct slot *slot = &floor->slots[index];
	int64_t now_us = clock_us();

	slot->phase = phase;
	slot->votes = 0;
	slot->serial++;
	for (int i = 0; i < floor->masters; i++) {
		struct link *link = &floor->links[i];

		if (link->asked - link->answered == floor->awaited_max || queue_command(link, &slot->commands.of[i][phase], now_us) < 0) {
			fprintf(stderr, "floor: master %d is too far behind\n", i);
			return -1;
		}
		link->awaited[link->asked++ % floor->awaited_max] = (struct awaited){index, slot->serial};
	}
	return 0;
}

static int flush_all(struct floor *floor)
{
	for (int i = 0; i < floor->masters; i++) {
		struct link *link = &floor->links[i];
		ssize_t sent;

		if (link->out_size == 0)
			continue;
		sent = send(floor->sockets[i].fd, link->out, link->out_size, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN) {
			fprintf(stderr, "floor: a command could not be sent: %s\n", strerror(errno));
			return -1;
		}
		if (sent > 0 && (size_t)sent < link->out_size)
			memmove(link->out, link->out + sent, link->out_size - (size_t)sent);
		link->out_size -= sent > 0 ? (size_t)sent : 0;
		floor->sockets[i].events = (short)(link->out_size ? POLLIN | POLLOUT : POLLIN);
	}
	return 0;
}

/* ---- in ---- */

/* Behind the line that begins here; NULL: it has not ended. */
static const char *line_end(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return newline ? newline + 1 : NULL;
}

/* Behind the reply that begins here, NULL when it is not whole. The number that it is, or begins with; "+OK" is 1. */
static const char *read_reply(const char *at, const char *end, long *ret)
{
	const char *next = at < end ? line_end(at, end) : NULL;
	long number, other;

	if (!next)
		return NULL;
	number = strtol(at + 1, NULL, 10);
	*ret = *at == '+' ? 1 : *at == ':' ? number : -1;
	if (*at == '$' && number >= 0) {
		next += number + 2;
		return next <= end ? next : NULL;
	}
	for (long i = 0; *at == '*' && next && i < number; i++)
		next = read_reply(next, end, i == 0 ? ret : &other);
	return next;
}

/* A yes to what the name is at: it goes on with the q-th. */
static int count_vote(struct floor *floor, int index)
{
	struct slot *slot = &floor->slots[index];

	if (++slot->votes < floor->masters / 2 + 1)
		return 0;
	if (slot->phase == FLOOR_LOCK)
		return begin_phase(floor, index, FLOOR_RELEASE);
	slot->serial++; /* all that is still to come of it is late */
	floor->to_end--;
	if (floor->to_begin == 0)
		return 0;
	floor->to_begin--;
	return begin_phase(floor, index, FLOOR_LOCK);
}

static int take_replies(struct floor *floor, int master)
{
	struct link *link = &floor->links[master];
	const char *at = link->in, *end = link->in + link->in_size, *next;
	int error = 0;
	long code;

	while (error == 0 && (next = read_reply(at, end, &code))) {
		const struct awaited *awaited = &link->awaited[link->answered++ % floor->awaited_max];

		/* A number alone is a yes from 1 on, and so is a code of 1. */
		if ((code == 1 || (*at == ':' && code > 1)) && awaited->serial == floor->slots[awaited->slot].serial)
			error = count_vote(floor, awaited->slot);
		at = next;
	}
	link->in_size = (size_t)(end - at);
	memmove(link->in, at, link->in_size);
	return error;
}

static int read_from(struct floor *floor, int master)
{
	struct link *link = &floor->links[master];
	ssize_t size = recv(floor->sockets[master].fd, link->in + link->in_size, IN_MAX - link->in_size, 0);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (size <= 0) {
		fprintf(stderr, "floor: a server has closed the connection\n");
		return -1;
	}
	link->in_size += (size_t)size;
	return take_replies(floor, master);
}

/* ---- pairs ---- */

static int finish_pairs(struct floor *floor)
{
	while (floor->to_end > 0) {
		if (flush_all(floor) < 0)
			return -1;
		if (poll(floor->sockets, (nfds_t)floor->masters, REPLY_MS) <= 0) {
			fprintf(stderr, "floor: no quorum in %d ms\n", REPLY_MS);
			return -1;
		}
		for (int i = 0; i < floor->masters; i++)
			if (floor->sockets[i].revents & ~POLLOUT && read_from(floor, i) < 0)
				return -1;
	}
	return 0;
}

int floor_flight(struct floor *floor, int pairs)
{
	floor->to_end = floor->to_begin = pairs;
	for (int i = 0; i < floor->names && floor->to_begin > 0; i++) {
		floor->to_begin--;
		if (begin_phase(floor, i, FLOOR_LOCK) < 0)
			return -1;
	}
	return finish_pairs(floor);
}

int floor_run(struct floor *floor, int rounds, int rest_us, struct samples *samples)
{
	for (int round = 0; round < rounds; round++) {
		int64_t begin_ns;

		if (rest_us)
			sleep_us(rest_us);
		begin_ns = now_ns();
		floor->to_end = 1;
		floor->to_begin = 0;
		if (begin_phase(floor, 0, FLOOR_LOCK) < 0 || finish_pairs(floor) < 0)
			return -1;
		samples_add(samples, now_ns() - begin_ns);
	}
	return 0;
}
