/*
 * stress_waiters.c - very many waiters, for one lock and for many, against real servers.
 *
 * A plain program, because ThreadSanitizer can't run Criterion. What must hold: all are served, in the order in which
 * they came, as far as the masters could tell it; counting under the lock loses nothing; and when all is over the
 * masters have neither keys nor queues, and the process no descriptor that it did not have before.
 *
 * Children only exit; the parent judges. DLOCK_STRESS_WAITERS (default 1000) is how many wait in one process.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/stress.h"

#define PROCESSES 50
#define ROUNDS 4
#define LATE_MS 200000 /* only what hangs takes as long */

static struct servers *servers;
static struct dlock_options *options;

/* ---- the queue, as the masters tell ---- */

static long places(int i, const char *name)
{
	char *reply = servers_command(servers, i, "ZCARD dlock!queue:dlock:%s", name);
	long number = reply ? strtol(reply, NULL, 10) : -1;

	free(reply);
	return number;
}

static bool queue_becomes(const char *name, long count)
{
	int64_t end_ms = stress_now_ms() + LATE_MS;
	int there = 0;

	while (there < servers_count(servers) && stress_now_ms() < end_ms) {
		if (places(there, name) == count)
			there++;
		else
			stress_sleep_ms(10);
	}
	if (there < servers_count(servers))
		fprintf(stderr, "%s: %ld wait at master %d, instead of %ld\n", name, places(there, name), there, count);
	return there == servers_count(servers);
}

/* ---- many processes that count ---- */

/* Shared by all of them, and protected by nothing but the lock. */
struct book {
	long counter;
	int served, order[PROCESSES * ROUNDS];
};

static struct book *book;

/* Waiters are ordered by the masters' clocks, which a process knows as well as its best round trip is short. */
static void learn_clocks(void)
{
	int fd = dlock_open_with("clocks", DLOCK_CLOEXEC, options);

	for (int i = 0; i < 4; i++) {
		CHECK_CALL(dlock_flock(fd, LOCK_SH) == 0);
		CHECK_CALL(dlock_unlock(fd) == 0);
	}
	CHECK_CALL(dlock_close(fd) == 0);
}

static int count_in_child(int number)
{
	int fd = dlock_open_with("counter", DLOCK_CLOEXEC, options);
	uint64_t last = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK_CALL(fd >= 0);
	learn_clocks();
	for (int i = 0; i < ROUNDS && CHECK_CALL(dlock_lock(fd) == 0); i++) {
		long now = *(volatile long *)&book->counter;

		CHECK(dlock_token(fd) > last);
		last = dlock_token(fd);
		book->order[book->served++] = number;
		*(volatile long *)&book->counter = now + 1;
		CHECK_CALL(dlock_unlock(fd) == 0);
	}
	CHECK_CALL(dlock_close(fd) == 0);
	return stress_failures() ? 1 : 0;
}

/* All join the queue one after the other before the first is served: that is their order in the first round. Who was
 * served joins at its end, so each is served about once in PROCESSES: not exactly, since who has given the lock
 * back and who is on its way to the end of the queues run side by side. */
static void check_order(void)
{
	int latest[PROCESSES];

	for (int i = 0; i < PROCESSES; i++)
		CHECK(book->order[i] == i);
	for (int i = 0; i < PROCESSES; i++)
		latest[i] = i;
	for (int i = PROCESSES; i < book->served; i++) {
		CHECK(i - latest[book->order[i]] <= 2 * PROCESSES);
		latest[book->order[i]] = i;
	}
}

static void test_processes(void)
{
	int holder = dlock_open_with("counter", DLOCK_CLOEXEC, options);
	pid_t children[PROCESSES];

	CHECK_CALL(holder >= 0 && dlock_lock(holder) == 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(count_in_child(i));
		if (!CHECK(queue_becomes("counter", i + 1)))
			break;
	}
	CHECK_CALL(dlock_close(holder) == 0);
	for (int i = 0; i < PROCESSES; i++)
		CHECK(stress_reap(children[i], LATE_MS) == 0);
	if (!CHECK(book->counter == (long)PROCESSES * ROUNDS))
		fprintf(stderr, "counted to %ld\n", book->counter);
	check_order();
	CHECK(queue_becomes("counter", 0));
	CHECK(stress_all_free(servers));
}

/* ---- many waiters in one process ---- */

static int waiter_count(void)
{
	const char *count = getenv("DLOCK_STRESS_WAITERS");

	return stress_times(count ? atoi(count) : 1000);
}

static void permit_descriptors(int count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < (rlim_t)count)
		limit.rlim_cur = limit.rlim_max < (rlim_t)count ? limit.rlim_max : (rlim_t)count;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Each gives it back when it has it; in the order in which they were started. */
static void serve_all(int epoll, const int *fds, int count)
{
	for (int served = 0; served < count; served++) {
		struct epoll_event event;

		if (!CHECK(epoll_wait(epoll, &event, 1, LATE_MS) == 1))
			break;
		CHECK_CALL(dlock_result(event.data.fd) == 0);
		CHECK_CALL(dlock_token(event.data.fd) > 0);
		CHECK(event.data.fd == fds[served]);
		CHECK_CALL(dlock_close(event.data.fd) == 0);
	}
}

static void let_wait(int epoll, int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		struct epoll_event event = {.events = EPOLLIN};

		fds[i] = dlock_open_with("many", DLOCK_CLOEXEC | DLOCK_NONBLOCK, options);
		if (!CHECK_CALL(fds[i] >= 0))
			return;
		event.data.fd = fds[i];
		CHECK_CALL(dlock_lock(fds[i]) == -1 && errno == EINPROGRESS);
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
	}
}

/* Half of them with dlock_close(), half with close(2); nobody has their places then. */
static void give_up_all(const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		CHECK((i % 2 ? dlock_close(fds[i]) : close(fds[i])) == 0);
	CHECK(queue_becomes("many", 0));
}

static void wait_for_holder(int count, bool served)
{
	int *fds = calloc((size_t)count, sizeof(*fds)), epoll = epoll_create1(EPOLL_CLOEXEC);
	int holder = dlock_open_with("many", DLOCK_CLOEXEC, options);

	CHECK_CALL(holder >= 0 && dlock_lock(holder) == 0);
	let_wait(epoll, fds, count);
	CHECK(queue_becomes("many", count));
	if (!served)
		give_up_all(fds, count);
	CHECK_CALL(dlock_verify(holder) == 0);
	CHECK_CALL(dlock_close(holder) == 0);
	if (served)
		serve_all(epoll, fds, count);
	close(epoll);
	free(fds);
}

/* In a process of its own, whose descriptors can be counted. */
static int wait_in_one_process(void)
{
	int descriptors;

	permit_descriptors(3 * waiter_count() + 200);
	wait_for_holder(10, true); /* starts whatever is kept */
	descriptors = stress_descriptors();
	wait_for_holder(waiter_count(), true);
	wait_for_holder(waiter_count(), false);
	CHECK(stress_descriptors() == descriptors);
	return stress_failures() ? 1 : 0;
}

static void test_one_process(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(wait_in_one_process());
	CHECK(stress_reap(child, 2 * LATE_MS) == 0);
	CHECK(queue_becomes("many", 0));
	CHECK(stress_all_free(servers));
}

/* ---- many names in one process ---- */

#define EACH 10 /* waiters on a name */

static int name_count(void)
{
	return stress_times(100);
}

static int open_named(int name, int flags)
{
	char text[32];

	snprintf(text, sizeof(text), "name-%d", name);
	return dlock_open_with(text, DLOCK_CLOEXEC | flags, options);
}

/* One more on each name, once those before them stand in the queues. */
static void let_one_more_wait(int epoll, int *fds, int count, int round)
{
	for (int name = 0; name < count; name++) {
		int i = round * count + name;
		struct epoll_event event = {.events = EPOLLIN, .data.fd = i};

		fds[i] = open_named(name, DLOCK_NONBLOCK);
		CHECK_CALL(fds[i] >= 0 && dlock_lock(fds[i]) == -1 && errno == EINPROGRESS);
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
	}
	for (int name = 0; name < count; name++) {
		char text[32];

		snprintf(text, sizeof(text), "name-%d", name);
		CHECK(queue_becomes(text, round + 1));
	}
	stress_sleep_ms(20);
}

/* All names at once, and each in the order in which it was asked for. */
static void serve_names(int epoll, const int *fds, int count)
{
	int *next = calloc((size_t)count, sizeof(*next));

	for (int served = 0; served < count * EACH; served++) {
		struct epoll_event event;
		int i;

		if (!CHECK(epoll_wait(epoll, &event, 1, LATE_MS) == 1))
			break;
		i = event.data.fd;
		CHECK_CALL(dlock_result(fds[i]) == 0);
		CHECK(i / count == next[i % count]);
		next[i % count]++;
		CHECK_CALL(dlock_close(fds[i]) == 0);
	}
	free(next);
}

static int wait_for_names(void)
{
	int count = name_count(), epoll = epoll_create1(EPOLL_CLOEXEC);
	int *holders = calloc((size_t)count, sizeof(*holders));
	int *fds = calloc((size_t)count * EACH, sizeof(*fds));

	permit_descriptors(2 * count * (EACH + 1) + 200);
	for (int name = 0; name < count; name++) {
		holders[name] = open_named(name, 0);
		CHECK_CALL(holders[name] >= 0 && dlock_lock(holders[name]) == 0);
	}
	for (int round = 0; round < EACH && !stress_failures(); round++)
		let_one_more_wait(epoll, fds, count, round);
	for (int name = 0; name < count; name++)
		CHECK_CALL(dlock_close(holders[name]) == 0);
	if (!stress_failures())
		serve_names(epoll, fds, count);
	free(holders);
	free(fds);
	close(epoll);
	return stress_failures() ? 1 : 0;
}

static void test_names(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(wait_for_names());
	CHECK(stress_reap(child, 2 * LATE_MS) == 0);
	CHECK(stress_all_free(servers));
}

int main(void)
{
	int status = servers_require();

	if (status)
		return status;
	servers = servers_start(NULL);
	if (!servers)
		return 1;
	options = stress_options(servers);
	/* Nothing ends by itself, however slow the machine is. */
	CHECK_CALL(options && dlock_options_set(options, "ttl", "60000") == 0 &&
	           dlock_options_set(options, "max_ttl", "120000") == 0);
	book = mmap(NULL, sizeof(*book), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(book != MAP_FAILED);
	test_processes();
	test_one_process();
	test_names();
	dlock_options_free(options);
	servers_free(servers);
	return stress_failures() ? 1 : 0;
}
