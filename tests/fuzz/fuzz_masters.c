/*
 * fuzz_masters.c - the whole library against masters that fail and lie.
 *
 * The input is text, a step a line: what the program does, what becomes of the masters,
 * how time passes. "|" in what a master says stands for the end of a line.
 *
 *   first line      N masters (1, 3, 5), then "q" for quarantine
 *   oHn             open the lock n (a, b, c) as the descriptor H (0 to 3); OHn: with DLOCK_NONBLOCK
 *   xHt sHt         exclusive, shared, waiting 0, 10, 100, 400, 2000 ms (t from 0 to 4)
 *   uH vH cH CH     unlock, verify, dlock_close(), close(2)
 *   dHbytes         data that travels (at most 24 bytes)
 *   rH              dlock_result(), dlock_stat()
 *   qn hn l bn m i I  query, who, list, break, masters, init, init by force
 *   n n             a set of look-ups: starts one of n and of all, or takes what has ended
 *   tN              N ms pass
 *   wHbytes         the program writes into its descriptor
 *   eN              the next N waits are interrupted
 *   LMk...          what master M (0 to 4) does from now on, k is one of
 *     h honest   s swallows answers   S swallows requests   k closes now   K down   U up
 *     rX... says this instead of its next answer to operation X (.: any); RX...: the next 50 times
 *     p...  says this before its next answer; tN cuts its next answer there and closes
 *     xNc   byte N of its next answer becomes c
 *     f flushed   z restarted   Z restarted with nothing   N script flushed   P promoted
 *     o memory full or not   e read-only or not   cN clock N ms further
 *     gtext   tells its listener this, as a message; "~" is the last grant   G... says it just this
 *     E ends the listener's connection   j refuses listeners or not   y swallows grants or not
 *     W may publish or not
 *
 * All of it runs in one thread, on a clock of its own that moves when nothing else can.
 *
 * Besides crashes: a call ends, with an errno that its contract names; a lock is granted
 * only after a majority of masters said what can be read as a vote since the call; as long
 * as masters only fail, do not lie, and are not tampered with, an exclusive lock excludes
 * and fencing tokens grow; and when all is closed nothing is left.
 */
#include "fuzz.h"
#include "honest.h"

#include "libdlock/keeper.h"

#include <dlock.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MASTERS_MAX 5
#define HANDLES_MAX 4
#define STEPS_MAX 64
#define TURNS_MAX 60000
#define TURN_US 20
#define LIES_MAX 50
#define FRESH_MAX 2
#define GRANT_MAX 512
#define START_US INT64_C(1000000000)
#define WORLD_US INT64_C(1800000000000000)

/* What a master does to its next answer, or to all. */
enum lie { LIE_NONE, LIE_REPLACE, LIE_BEFORE, LIE_CUT, LIE_FLIP };

struct party {
	struct honest honest;
	int fd; /* the server's end; -1: no connection */
	int fresh[FRESH_MAX];   /* connections of which nothing was heard yet; -1: none */
	int ear;                /* the listener's; -1: none */
	char channel[64];       /* to which it has subscribed; "": not yet */
	char grant[GRANT_MAX];  /* the last, as a message */
	bool refuses, mute;
	bool down, swallows, deaf;
	enum lie lie;
	char operation; /* '.': any */
	unsigned times; /* how often that is left */
	char *bytes;
	size_t size, place;
	char said[16384]; /* what was no truth, on this connection */
	size_t said_size;
	bool voted; /* may have, since it was last looked at */
};

struct descriptor {
	int fd; /* -1: not open */
	char name;
	bool nonblock;
	uint64_t token; /* of the grant */
};

static struct party masters[MASTERS_MAX];
static struct world {
	unsigned count;
	int64_t now_us;
	uint64_t random;
	unsigned turns, interruptions, breaks;
	bool running;
	bool lied; /* or was tampered with: nothing is promised any more */
	bool quarantine;
	struct descriptor descriptors[HANDLES_MAX];
	struct dlock_looks *looks;
	unsigned started;
	uint64_t last_token[3];
} world;

/* ---- the machine, as the library sees it ---- */

int __wrap_socket(int family, int type, int protocol);
int __real_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms);
int __real_epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old);
int __wrap_signalfd(int fd, const sigset_t *mask, int flags);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_sem_wait(sem_t *semaphore);

static int connecting_client = -1, connecting_server = -1;
static void *(*keeper_thread)(void *);
static jmp_buf turn_end;
static bool in_turn;
static int turn_events;

int __wrap_open(const char *path, int flags, ...)
{
	va_list arguments;
	int mode;

	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
	va_end(arguments);
	if (!world.running)
		return __real_open(path, flags, mode);
	errno = ENOENT;
	return -1;
}

int __wrap_socket(int family, int type, int protocol)
{
	int ends[2];

	(void)family;
	fuzz_check(connecting_server < 0);
	if (socketpair(AF_UNIX, type, protocol, ends) < 0)
		return -1;
	connecting_client = ends[0];
	connecting_server = ends[1];
	return ends[0];
}

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void disconnect(struct party *master)
{
	hang_up(&master->fd);
}

/* All of its connections. */
static void disconnect_all(struct party *master)
{
	disconnect(master);
	hang_up(&master->ear);
	for (unsigned i = 0; i < FRESH_MAX; i++)
		hang_up(&master->fresh[i]);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)address;
	struct party *master = &masters[path->sun_path[6] - '0'];
	int server = connecting_server, *place = &master->fresh[0];

	fuzz_check(fd == connecting_client && length == sizeof(*path));
	connecting_server = -1;
	if (master->down) {
		close(server);
		errno = ECONNREFUSED;
		return -1;
	}
	/* The library may have given up one of which nothing was heard, but has two at most. */
	if (*place >= 0)
		place = &master->fresh[1];
	hang_up(place);
	*place = server;
	return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int64_t us = world.now_us + (clock == CLOCK_REALTIME ? WORLD_US : 0);

	ret->tv_sec = us / 1000000;
	ret->tv_nsec = us % 1000000 * 1000;
	return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t size, unsigned flags)
{
	uint8_t *out = bytes;

	(void)flags;
	for (size_t i = 0; i < size; i++) {
		world.random = world.random * 6364136223846793005u + 1442695040888963407u;
		out[i] = (uint8_t)(world.random >> 56);
	}
	return (ssize_t)size;
}

/* The keeper's thread does not run: it is called, for one turn, until it would wait again. */
int __wrap_epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
	if (timeout_ms == 0) {
		turn_events = __real_epoll_wait(fd, events, most, 0);
		return turn_events;
	}
	if (!in_turn)
		longjmp(turn_end, 1);
	in_turn = false;
	turn_events = 0;
	return __real_epoll_wait(fd, events, most, 0);
}

/* Without it no thread drives by itself: who waits does so on a semaphore, and that is the world's turn. */
int __wrap_signalfd(int fd, const sigset_t *mask, int flags)
{
	(void)fd;
	(void)mask;
	(void)flags;
	errno = EMFILE;
	return -1;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	(void)fd;
	(void)flags;
	(void)value;
	(void)old;
	return 0;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	(void)attributes;
	fuzz_check(!argument);
	keeper_thread = run;
	*thread = pthread_self();
	return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
	(void)thread;
	(void)name;
	return 0;
}

/* ---- what a master says ---- */

static void say(struct party *master, const char *bytes, size_t size)
{
	ssize_t sent = master->fd >= 0 && size > 0 ? send(master->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (sent < 0 || (size_t)sent < size)
		disconnect(master);
}

/* Whether an array in it may begin with the code of a vote, 1, 3 or 6, as a number or in a string; or it has a number,
 * which alone is a yes to A. */
static bool may_be_vote(const char *bytes, size_t size)
{
	const char *end = bytes + size, *at = bytes;

	for (const char *number = bytes; (number = memchr(number, ':', (size_t)(end - number))); number++)
		if (number + 1 < end && number[1] >= '1' && number[1] <= '9')
			return true;
	while ((at = memchr(at, '*', (size_t)(end - at)))) {
		const char *code = memmem(at, (size_t)(end - at), "\r\n", 2);
		char text[24] = "";

		at++;
		if (code && code + 2 < end && code[2] == '$')
			code = memmem(code + 2, (size_t)(end - code - 2), "\r\n", 2);
		else if (code)
			code++; /* the sign is passed over below, as a line end is */
		if (!code || end - code < 3)
			continue;
		code += 2;
		memcpy(text, code, end - code < 23 ? (size_t)(end - code) : 23);
		if (strtoul(text, NULL, 10) == 1 || strtoul(text, NULL, 10) == 3 || strtoul(text, NULL, 10) == 6)
			return true;
	}
	return false;
}

/* All that was said besides the truth on this connection is looked at together: it may come in pieces. */
static void note_lie(struct party *master)
{
	if (master->size > sizeof(master->said) - master->said_size) {
		master->voted = true;
		master->said_size = 0;
		return;
	}
	if (master->size > 0)
		memcpy(master->said + master->said_size, master->bytes, master->size);
	master->said_size += master->size;
	master->voted |= may_be_vote(master->said, master->said_size);
}

static bool lies_to(const struct party *master, char what)
{
	return master->lie != LIE_NONE && (master->operation == '.' || master->operation == what);
}

static void tell_lie(struct party *master)
{
	char *out = master->honest.out;
	size_t size = master->honest.out_size;

	switch (master->lie) {
	case LIE_BEFORE:
	case LIE_REPLACE:
		say(master, master->bytes, master->size);
		note_lie(master);
		if (master->lie == LIE_BEFORE)
			say(master, out, size);
		world.lied = true;
		break;
	case LIE_FLIP:
		if (master->place < size && master->size > 0)
			out[master->place] = master->bytes[0];
		master->voted = true; /* whatever has become of it */
		say(master, out, size);
		world.lied = true;
		break;
	case LIE_CUT:
		say(master, out, master->place < size ? master->place : size);
		disconnect(master);
		break;
	case LIE_NONE:
		break;
	}
	if (--master->times == 0)
		master->lie = LIE_NONE;
}

/* True if there was a request. */
static bool answer_one(struct party *master)
{
	char what = honest_next(&master->honest, WORLD_US + world.now_us);

	if (!what)
		return false;
	if (strchr("AEP", what)) /* what could be an honest vote; a lie is looked at below */
		master->voted |= master->honest.out[0] == ':' || memcmp(master->honest.out + 4, ":1\r\n", 4) == 0 || memcmp(master->honest.out + 4, ":3\r\n", 4) == 0 ||
		                 memcmp(master->honest.out + 4, ":6\r\n", 4) == 0;
	if (lies_to(master, what))
		tell_lie(master);
	else if (!master->swallows)
		say(master, master->honest.out, master->honest.out_size);
	return true;
}

/* ---- the listener ---- */

static void tell_ear(struct party *master, const char *bytes, size_t size)
{
	ssize_t sent = master->ear >= 0 && size > 0 ? send(master->ear, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (sent < 0 || (size_t)sent < size)
		hang_up(&master->ear);
}

static void tell_message(struct party *master, const char *text, size_t size)
{
	char head[256];
	int length = snprintf(head, sizeof(head), "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(master->channel),
	                      master->channel, size);

	if (!master->channel[0])
		return;
	tell_ear(master, head, (size_t)length);
	tell_ear(master, text, size);
	tell_ear(master, "\r\n", 2);
}

/* The script's PUBLISH. */
static bool on_publish(void *context, struct model_master *model, const char *channel, const struct model_grant *grant)
{
	struct party *master = context;

	(void)model;
	if (master->ear < 0 || strcmp(master->channel, channel) != 0)
		return false;
	if (!grant) {
		tell_message(master, "", 0);
		return true;
	}
	snprintf(master->grant, sizeof(master->grant), "G %llu %lld %lld %s %s", (unsigned long long)grant->fence,
	         (long long)grant->us, (long long)grant->expiry_ms, grant->epoch, grant->token);
	master->voted = true;
	if (!master->mute)
		tell_message(master, master->grant, strlen(master->grant));
	return true;
}

/* It subscribes, and says nothing else ever. */
static bool serve_ear(struct party *master)
{
	static const char head[] = "*2\r\n$9\r\nSUBSCRIBE\r\n$";
	char bytes[128];
	ssize_t got = master->ear >= 0 ? recv(master->ear, bytes, sizeof(bytes) - 1, MSG_DONTWAIT) : -1;
	size_t length;
	char *channel;

	if (got == 0)
		hang_up(&master->ear);
	if (got <= 0 || master->deaf)
		return got == 0;
	bytes[got] = '\0';
	fuzz_check(!master->channel[0] && (size_t)got > sizeof(head) && memcmp(bytes, head, sizeof(head) - 1) == 0);
	length = strtoul(bytes + sizeof(head) - 1, &channel, 10);
	fuzz_check(length < sizeof(master->channel) && channel + 2 + length + 2 == bytes + got);
	if (master->refuses) {
		tell_ear(master, "-NOPERM no\r\n", 12);
		return true;
	}
	memcpy(master->channel, channel + 2, length);
	master->channel[length] = '\0';
	fuzz_check(strncmp(master->channel, "dlock!grants-", 13) == 0);
	snprintf(bytes, sizeof(bytes), "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n", length, master->channel);
	tell_ear(master, bytes, strlen(bytes));
	return true;
}

/* By what it says first. */
static bool sort_connection(struct party *master, int *fresh)
{
	char head[16];
	ssize_t got = *fresh >= 0 ? recv(*fresh, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT) : -1;

	if (got == 0)
		hang_up(fresh);
	if (got <= 0)
		return got == 0;
	if ((size_t)got == sizeof(head) && memcmp(head, "*2\r\n$9\r\nSUBSCRIB", sizeof(head)) == 0) {
		hang_up(&master->ear);
		master->ear = *fresh;
		master->channel[0] = '\0';
	} else {
		disconnect(master);
		master->fd = *fresh;
		master->said_size = 0;
		honest_connected(&master->honest);
	}
	*fresh = -1;
	return true;
}

static bool serve_others(struct party *master)
{
	bool something = serve_ear(master);

	for (unsigned i = 0; i < FRESH_MAX; i++)
		something |= sort_connection(master, &master->fresh[i]);
	return something;
}

static bool serve(struct party *master)
{
	size_t room;
	bool something = serve_others(master);
	char *at = honest_room(&master->honest, &room);
	ssize_t got = master->fd >= 0 ? recv(master->fd, at, room, MSG_DONTWAIT) : -1;

	if (got == 0)
		disconnect(master);
	if (got > 0 && !master->deaf)
		master->honest.in_size += (size_t)got;
	while (master->fd >= 0 && answer_one(master))
		something = true;
	return something || got >= 0;
}

/* ---- turns ---- */

/* Until it would wait; true if there was something to do at once. */
static bool run_keeper(void)
{
	if (!keeper_thread)
		return false;
	in_turn = true;
	if (setjmp(turn_end) == 0)
		keeper_thread(NULL);
	in_turn = false;
	return turn_events > 0;
}

/* One turn of everything; false if nothing happened in it. */
static bool turn(void)
{
	bool something = false;

	fuzz_check(world.turns++ < TURNS_MAX);
	world.now_us += TURN_US;
	for (unsigned i = 0; i < world.count; i++)
		something |= serve(&masters[i]);
	return run_keeper() || something;
}

/* What the library writes when a timer goes off is served in the turn after. */
static bool is_idle(void)
{
	return !turn() && !turn();
}

static void settle(void)
{
	while (!is_idle())
		;
}

/* To the next moment in which the library wants to do something, or `limit_us`. */
static void pass(int64_t limit_us)
{
	const struct timer *first = timers_first(&keeper.timers);
	int64_t next_us = first && first->at_us < limit_us ? first->at_us : limit_us;

	fuzz_check(next_us != INT64_MAX); /* else it would be waited for for ever */
	if (next_us > world.now_us)
		world.now_us = next_us;
}

int __wrap_sem_wait(sem_t *semaphore)
{
	int value;

	while (sem_trywait(semaphore) < 0) {
		if (world.interruptions > 0) {
			world.interruptions--;
			errno = EINTR;
			return -1;
		}
		/* Its end may have come within the turn: no time passes then. */
		if (is_idle() && sem_getvalue(semaphore, &value) == 0 && value == 0)
			pass(INT64_MAX);
	}
	return 0;
}

static void sleep_us(int64_t us)
{
	int64_t end_us = world.now_us + us;

	settle();
	while (world.now_us < end_us) {
		pass(end_us);
		settle();
	}
}

/* ---- what must hold ---- */

static bool is_held(const struct descriptor *d, struct dlock_stat *ret)
{
	return d->fd >= 0 && dlock_stat(d->fd, ret, sizeof(*ret)) == 0 && ret->state == DLOCK_STATE_HELD && ret->remaining_ns > 0;
}

/* As long as masters only fail. */
static void check_exclusion(void)
{
	struct dlock_stat one, other;

	for (unsigned i = 0; !world.lied && i < HANDLES_MAX; i++)
		for (unsigned j = 0; j < i; j++)
			if (world.descriptors[i].name == world.descriptors[j].name && is_held(&world.descriptors[i], &one) &&
			    is_held(&world.descriptors[j], &other))
				fuzz_check(one.mode == LOCK_SH && other.mode == LOCK_SH);
}

static void check_grant(struct descriptor *d, const struct dlock_stat *before, int operation)
{
	uint64_t *last = &world.last_token[d->name - 'a'];
	struct dlock_stat stat;
	unsigned votes = 0;

	if (!is_held(d, &stat))
		return; /* time has passed since */
	fuzz_check(stat.token != 0 && stat.mode == (operation & ~LOCK_NB));
	for (unsigned i = 0; i < world.count; i++)
		votes += masters[i].voted;
	if (before->state != DLOCK_STATE_HELD)
		fuzz_check(votes >= world.count / 2 + 1);
	if (before->state != DLOCK_STATE_HELD && stat.mode == LOCK_EX && !world.lied) {
		fuzz_check(stat.token > *last);
		*last = stat.token;
	}
	check_exclusion();
}

static void check_failed(int result, const int *allowed)
{
	if (result >= 0)
		return;
	fuzz_check(dlock_error_detail()[0] != '\0');
	bool the_contract_names_it = false;
	for (unsigned i = 0; allowed[i] != 0; i++)
		the_contract_names_it = the_contract_names_it || errno == allowed[i];
	if (!the_contract_names_it)
		fprintf(stderr, "errno %s: %s\n", strerrorname_np(errno), dlock_error_detail());
	fuzz_check(the_contract_names_it);
}

#define check_call(result, ...) check_failed((result), (const int[]){__VA_ARGS__, 0})

/* ---- the program ---- */

static struct dlock_options *options_of(unsigned count, bool quarantine)
{
	static struct dlock_options *kept[MASTERS_MAX + 1][2];
	struct dlock_options **place = &kept[count][quarantine];
	char list[256] = "";

	if (*place)
		return *place;
	*place = dlock_options_new();
	for (unsigned i = 0; i < count; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "unix:/fuzz/%u,", i);
	/* "/fuzz/" and the number: see __wrap_connect(). */
	fuzz_check(dlock_options_set(*place, "servers", list) == 0);
	fuzz_check(dlock_options_set(*place, "ttl", "1000") == 0);
	fuzz_check(dlock_options_set(*place, "prefix", "k:") == 0);
	fuzz_check(dlock_options_set(*place, "node_timeout", "100") == 0);
	fuzz_check(dlock_options_set(*place, "quorum_timeout", "400") == 0);
	fuzz_check(dlock_options_set(*place, "quarantine", quarantine ? "auto" : "off") == 0);
	fuzz_check(dlock_options_resolve(*place) == 0); /* from now on no file is looked at */
	return *place;
}

static const struct dlock_options *options(void)
{
	return options_of(world.count, world.quarantine);
}

static void open_lock(struct descriptor *d, char name, bool nonblock)
{
	char text[2] = {(char)('a' + (unsigned char)name % 3), '\0'};

	if (d->fd >= 0)
		return;
	d->fd = dlock_open_with(text, DLOCK_CLOEXEC | (nonblock ? DLOCK_NONBLOCK : 0), options());
	fuzz_check(d->fd >= 0);
	d->name = text[0];
	d->nonblock = nonblock;
}

static void take_lock(struct descriptor *d, int operation, char timeout)
{
	static const int timeouts_ms[] = {0, 10, 100, 400, 2000};
	struct dlock_stat before;
	int result;

	if (d->fd < 0)
		return;
	fuzz_check(dlock_stat(d->fd, &before, sizeof(before)) == 0);
	for (unsigned i = 0; i < world.count; i++)
		masters[i].voted = false;
	result = dlock_timedlock(d->fd, operation, timeouts_ms[(unsigned char)timeout % 5]);
	check_call(result, EWOULDBLOCK, ETIMEDOUT, ENOLCK, ESTALE, EINTR, EINPROGRESS, EALREADY, EINVAL);
	fuzz_check(d->nonblock || result == 0 || (errno != EINPROGRESS && errno != EALREADY));
	if (result == 0)
		check_grant(d, &before, operation);
}

static void call_on(struct descriptor *d, char what, const char *bytes, size_t size)
{
	struct dlock_stat stat;

	if (d->fd < 0)
		return;
	if (what == 'u')
		check_call(dlock_unlock(d->fd), EINTR, EINPROGRESS, EALREADY, ENOLCK);
	else if (what == 'v')
		check_call(dlock_verify(d->fd), ENOLCK, ESTALE, EINTR, EINPROGRESS, EALREADY);
	else if (what == 'd')
		check_call(dlock_set_data(d->fd, bytes, size < MODEL_BYTES_MAX ? size : MODEL_BYTES_MAX), ENOLCK, ESTALE, EINTR,
		           EINPROGRESS, EALREADY, ETIMEDOUT);
	else if (what == 'w')
		(void)!send(d->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (what == 'c')
		fuzz_check(dlock_close(d->fd) == 0);
	else if (what == 'C')
		fuzz_check(close(d->fd) == 0);
	if (what == 'c' || what == 'C') {
		d->fd = -1;
		return;
	}
	check_call(dlock_result(d->fd), EWOULDBLOCK, ETIMEDOUT, ENOLCK, ESTALE, EINTR, EINPROGRESS, EINVAL);
	fuzz_check(dlock_stat(d->fd, &stat, sizeof(stat)) == 0);
	fuzz_check(stat.masters == world.count && stat.masters_up <= world.count && stat.masters_held <= world.count);
	fuzz_check((stat.state == DLOCK_STATE_HELD) == (stat.mode != LOCK_UN));
}

static int see_holder(const struct dlock_holder *holder, void *arg)
{
	(void)arg;
	fuzz_check(holder->name && holder->owner && holder->host && holder->program);
	fuzz_check(holder->masters >= 1 && holder->masters <= world.count);
	return 0;
}

static int see_one(const struct dlock_who *one, void *arg)
{
	uint32_t *position = arg;

	fuzz_check(one->name && one->owner && one->host && one->program && one->masters >= 1 && one->masters <= world.count);
	fuzz_check(one->masters + one->unheard <= world.count && one->mode != LOCK_UN && one->reserved == 0);
	if (one->state == DLOCK_WHO_HOLDER) {
		fuzz_check(*position == 0 && one->position == 0);
		return 0;
	}
	fuzz_check(one->state == DLOCK_WHO_WAITER && one->position == ++*position && one->position <= one->waiters);
	fuzz_check(one->ttl_ms == 0 && one->token == 0 && 2 * one->masters > world.count - one->unheard);
	return 0;
}

static int see_master(const struct dlock_master *master, void *arg)
{
	(void)arg;
	fuzz_check(strncmp(master->address, "unix:/fuzz/", 11) == 0);
	fuzz_check(strlen(master->problem) < 1024 && strlen(master->remedy) < 1024);
	fuzz_check(master->state == DLOCK_MASTER_VOTING || master->problem[0]);
	return 0;
}

static void look_again(void)
{
	uint64_t tag;
	int result;

	if (!world.looks) {
		world.looks = dlock_looks_new(options());
		fuzz_check(world.looks != NULL);
		fuzz_check(dlock_looks_start(world.looks, "a", 1) == 0);
		fuzz_check(dlock_looks_start(world.looks, NULL, 2) == 0);
		world.started = 2;
		return;
	}
	sleep_us(50000);
	while ((result = dlock_looks_next(world.looks, &tag, see_holder, NULL)) >= 0 || errno != EAGAIN) {
		check_call(result, ENOLCK);
		fuzz_check((tag == 1 || tag == 2) && world.started > 0);
		world.started--;
	}
	if (world.started == 0) {
		dlock_looks_free(world.looks);
		world.looks = NULL;
	}
}

static void look(char what, char name)
{
	char text[2] = {(char)('a' + (unsigned char)name % 3), '\0'};
	uint32_t position = 0;

	if (what == 'q') {
		check_call(dlock_query_with(text, see_holder, NULL, options()), ENOLCK);
	} else if (what == 'h') {
		check_call(dlock_who_with(text, see_one, &position, options()), ENOLCK);
	} else if (what == 'l') {
		check_call(dlock_list_with(see_holder, NULL, options()), ENOLCK);
	} else if (what == 'm') {
		fuzz_check(dlock_masters_with(see_master, NULL, options()) >= 0);
	} else if (what == 'b' && world.breaks++ < 2) {
		check_call(dlock_break_with(text, options()), ENOLCK, EINVAL, EBUSY);
		world.lied = true; /* the holder does not know it yet */
	} else if (what == 'i' || what == 'I') {
		check_call(dlock_init_with(what == 'I' ? DLOCK_INIT_FORCE : 0, options()), EEXIST, ENOLCK);
		world.lied = true;
	}
}

/* ---- what becomes of the masters ---- */

/* "|" is the end of a line. */
static void take_bytes(struct party *master, const char *text, size_t length)
{
	free(master->bytes);
	master->bytes = malloc(2 * length + 1);
	master->size = 0;
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '|')
			master->bytes[master->size++] = '\r';
		master->bytes[master->size++] = text[i] == '|' ? '\n' : text[i];
	}
}

static void set_lie(struct party *master, enum lie lie, unsigned times, char operation)
{
	master->lie = lie;
	master->times = times;
	master->operation = operation;
}

static void begin_lie(struct party *master, char kind, const char *text, size_t length)
{
	char *end = (char *)text;

	master->place = kind == 't' || kind == 'x' ? (size_t)strtoul(text, &end, 10) : 0;
	if (kind == 'r' || kind == 'R') {
		take_bytes(master, length > 0 ? text + 1 : "", length > 0 ? length - 1 : 0);
		set_lie(master, LIE_REPLACE, kind == 'R' ? LIES_MAX : 1, length > 0 ? text[0] : '.');
		return;
	}
	take_bytes(master, end, length - (size_t)(end - text));
	set_lie(master, kind == 'p' ? LIE_BEFORE : kind == 't' ? LIE_CUT : LIE_FLIP, 1, '.');
}

/* A message, or anything, to the listener. */
static void lie_to_ear(struct party *master, char kind, const char *text, size_t length)
{
	char bytes[2 * GRANT_MAX];
	size_t size = 0, grant = strlen(master->grant);

	for (size_t i = 0; i < length && size + grant + 2 < sizeof(bytes); i++) {
		if (text[i] == '~') {
			memcpy(bytes + size, master->grant, grant);
			size += grant;
			continue;
		}
		if (text[i] == '|')
			bytes[size++] = '\r';
		bytes[size++] = text[i] == '|' ? '\n' : text[i];
	}
	master->voted = true; /* whatever it is taken for */
	world.lied = true;
	if (kind == 'g')
		tell_message(master, bytes, size);
	else
		tell_ear(master, bytes, size);
}

static void do_to_ear(struct party *master, char kind)
{
	if (kind == 'E') {
		hang_up(&master->ear);
	} else if (kind == 'j') {
		master->refuses = !master->refuses;
		hang_up(&master->ear);
	} else if (kind == 'y') {
		master->mute = !master->mute;
	} else {
		master->honest.model.no_publish = !master->honest.model.no_publish;
	}
}

static void crash(struct party *master, char kind)
{
	struct model_master *model = &master->honest.model;

	if (kind == 'k')
		disconnect(master);
	else
		disconnect_all(master);
	if (kind == 'z' || kind == 'Z') {
		model_restart(model, kind == 'z');
		model->script_loaded = false;
	} else if (kind == 'P') {
		model_promote(model);
	} else if (kind == 'f') {
		model_flush(model);
	}
	/* Forgetting is only made good by the quarantine. */
	world.lied |= !world.quarantine && kind != 'k';
}

static void do_to_master(struct party *master, const char *text, size_t length)
{
	char kind = length > 0 ? text[0] : 'h';

	if (strchr("rRptx", kind)) {
		begin_lie(master, kind, text + 1, length - 1);
	} else if (strchr("kzZPf", kind)) {
		crash(master, kind);
	} else if (kind == 'g' || kind == 'G') {
		lie_to_ear(master, kind, text + 1, length - 1);
	} else if (strchr("EjyW", kind)) {
		do_to_ear(master, kind);
	} else if (kind == 'h') {
		master->lie = LIE_NONE;
		master->swallows = master->deaf = master->refuses = master->mute = false;
	} else if (kind == 's') {
		master->swallows = true;
	} else if (kind == 'S') {
		master->deaf = true;
	} else if (kind == 'K' || kind == 'U') {
		master->down = kind == 'K';
		if (master->down)
			disconnect_all(master);
	} else if (kind == 'N') {
		master->honest.model.script_loaded = false;
	} else if (kind == 'o') {
		master->honest.model.out_of_memory = !master->honest.model.out_of_memory;
	} else if (kind == 'e') {
		master->honest.model.read_only = !master->honest.model.read_only;
	} else if (kind == 'c') {
		master->honest.model.clock_us += (int64_t)(strtol(text + 1, NULL, 10) % 100000) * 1000;
		world.lied = true;
	}
}

/* ---- a run ---- */

static void step(const char *line, size_t length)
{
	unsigned index = length > 1 ? (unsigned char)line[1] : 0;
	struct descriptor *d = &world.descriptors[index % HANDLES_MAX];
	char third = length > 2 ? line[2] : '0';

	if (length == 0)
		return;
	if (line[0] == 'o' || line[0] == 'O')
		open_lock(d, third, line[0] == 'O');
	else if (line[0] == 'x' || line[0] == 's')
		take_lock(d, line[0] == 'x' ? LOCK_EX : LOCK_SH, third);
	else if (strchr("uvcCdrw", line[0]))
		call_on(d, line[0], line + (length > 1 ? 2 : 1), length > 2 ? length - 2 : 0);
	else if (strchr("qhlbmiI", line[0]))
		look(line[0], (char)index);
	else if (line[0] == 'n')
		look_again();
	else if (line[0] == 't')
		sleep_us((int64_t)(strtoul(line + 1, NULL, 10) % 30000) * 1000);
	else if (line[0] == 'e')
		world.interruptions = (unsigned)strtoul(line + 1, NULL, 10) % 8;
	else if (line[0] == 'L')
		do_to_master(&masters[index % MASTERS_MAX % world.count], line + (length > 1 ? 2 : 1), length > 2 ? length - 2 : 0);
	check_exclusion();
}

static void begin(const char *line, size_t length)
{
	bool is_one = length > 0 && line[0] == '1', is_five = length > 0 && line[0] == '5';

	/* The machinery is left running from run to run; the world is new. */
	world = (struct world){.now_us = START_US, .count = is_one ? 1 : is_five ? 5 : 3};
	world.quarantine = length > 1 && line[1] == 'q';
	for (unsigned i = 0; i < HANDLES_MAX; i++)
		world.descriptors[i].fd = -1;
	for (unsigned i = 0; i < MASTERS_MAX; i++) {
		struct party *master = &masters[i];

		master->fd = master->ear = -1;
		for (unsigned j = 0; j < FRESH_MAX; j++)
			master->fresh[j] = -1;
		master->channel[0] = master->grant[0] = '\0';
		master->refuses = master->mute = false;
		master->down = master->swallows = master->deaf = master->voted = false;
		master->lie = LIE_NONE;
		master->size = master->said_size = 0;
		honest_start(&master->honest, i + 1);
		master->honest.model.publish = on_publish;
		master->honest.model.publish_context = master;
	}
	(void)options();
	world.running = true;
}

/* With masters that answer nothing may be left after the time in which connections are kept. */
static void end(void)
{
	world.interruptions = 0;
	for (unsigned i = 0; i < HANDLES_MAX; i++)
		if (world.descriptors[i].fd >= 0)
			fuzz_check(dlock_close(world.descriptors[i].fd) == 0);
	dlock_looks_free(world.looks);
	for (unsigned i = 0; i < world.count; i++) {
		do_to_master(&masters[i], "h", 1);
		masters[i].down = false;
		masters[i].honest.model.out_of_memory = masters[i].honest.model.read_only = false;
		masters[i].honest.model.no_publish = false;
	}
	settle();
	while (keeper.clusters) {
		pass(INT64_MAX);
		settle();
	}
	fuzz_check(keeper.handle_count == 0 && keeper.timer_count == 0 && keeper.timers.count == 0);
	for (unsigned i = 0; i < MASTERS_MAX; i++) {
		disconnect_all(&masters[i]);
		free(masters[i].bytes);
		masters[i].bytes = NULL;
	}
	world.running = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};

	for (unsigned i = 0; i < STEPS_MAX && (i == 0 || input.left > 0); i++) {
		size_t length;
		char *line = fuzz_until(&input, "\n", &length);

		if (i == 0)
			begin(line, length);
		else
			step(line, length);
		free(line);
	}
	end();
	return 0;
}
