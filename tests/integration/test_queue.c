/*
 * test_queue.c - waiters in the queue: who is handed the lock, when, and what is left behind.
 *
 * Real servers, and peers (forked programs) that wait, are killed and stopped. Nothing here is measured: that a waiter
 * was handed the lock, and did not find it free when it polled, is told by bounds below which polls can't come, over
 * many hand-overs. Waiters are known to be in the queue by the masters' own word.
 */
#include <criterion/criterion.h>

#include "tests/harness/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(queue, .timeout = 120);

/* Leases outlast every test, also on a machine that is busy: nothing ends by itself, unless a test wants it. */
#define LASTING "ttl=300000 max_ttl=600000 node_timeout=3000 quorum_timeout=20000"
#define MASTERS 5
#define LATE_MS 20000 /* only what hangs takes as long */
#define PEERS 12
/* Hand-overs, and a time in which so many polls can't be: the first poll comes 0.56 s after a waiter has joined. */
#define HAND_OVERS 20
#define HAND_OVERS_MS 5000

static struct fleet fleet;
static struct peer peers[PEERS];
static int fds[PEERS];

/* ---- small words ---- */

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())
#define fails(call, code) \
	do { \
		errno = 0; \
		cr_assert_eq((call), -1, "%s succeeded", #call); \
		cr_assert_eq(errno, (code), "%s: %s instead of " #code " (%s)", #call, strerror(errno), dlock_error_detail()); \
	} while (0)

static void begin_as(const struct fleet_setup *setup)
{
	cr_assert_eq(fleet_start(&fleet, setup), 0);
}

static void begin_with(const char *settings, const char *config)
{
	begin_as(&(struct fleet_setup){.servers = {.config = config}, .settings = settings});
}

static void begin(void)
{
	begin_with(LASTING, NULL);
}

static void tear_down(void)
{
	for (int i = 0; i < PEERS; i++)
		peer_kill(&peers[i]);
	fleet_end(&fleet);
}

static int open_with(const char *name, int flags)
{
	int fd = dlock_open_with(name, flags | DLOCK_CLOEXEC, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

static int open_lock(const char *name)
{
	return open_with(name, 0);
}

static struct dlock_stat stat_of(int fd)
{
	struct dlock_stat stat;

	must(dlock_stat(fd, &stat, sizeof(stat)));
	return stat;
}

/* With all masters, each of which has its part in what follows. */
static int open_ready(const char *name)
{
	int fd = open_lock(name);

	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == MASTERS, LATE_MS), "%u vote", stat_of(fd).masters_up);
	return fd;
}

/* A process knows the masters' clocks, by which waiters are ordered, as well as its best round trip is short. In one that
 * has just begun, on a machine that is busy, that may be milliseconds. */
static void learn_clocks(struct peer *peer)
{
	int fd = (int)peer_open(peer, "clocks");

	for (int i = 0; i < 4; i++) {
		must(peer_lock(peer, fd, LOCK_SH));
		must(peer_lock(peer, fd, LOCK_UN));
	}
	must(peer_call(peer, PEER_CLOSE, fd, 0, 0));
}

static void start_peers(int first, int count, const char *name)
{
	for (int i = first; i < first + count; i++) {
		cr_assert_eq(peer_start(&peers[i], fleet.options), 0);
		fds[i] = (int)peer_open(&peers[i], name);
		cr_assert(fds[i] >= 0, "%s", strerror(errno));
		cr_assert(FLEET_UNTIL(peer_call(&peers[i], PEER_VOTING, -1, 0, 0) == MASTERS, LATE_MS));
		learn_clocks(&peers[i]);
	}
}

/* ---- the queue, as the masters tell ---- */


static long places(int i, const char *name)
{
	char *reply = servers_command(fleet.servers, i, "ZCARD dlock!queue:dlock:%s", name);
	long number = reply ? strtol(reply, NULL, 10) : -1;

	free(reply);
	return number;
}

static bool all_have(int first, int last, const char *name, long count)
{
	for (int i = first; i < last; i++)
		if (places(i, name) != count)
			return false;
	return true;
}

/* On the masters from FIRST on. */
static void queue_becomes_from(int first, const char *name, long count)
{
	cr_assert(FLEET_UNTIL(all_have(first, MASTERS, name, count), LATE_MS), "%s: %ld %ld %ld %ld %ld places instead of %ld",
	          name, places(0, name), places(1, name), places(2, name), places(3, name), places(4, name), count);
}

static void queue_becomes(const char *name, long count)
{
	queue_becomes_from(0, name, count);
}

/* Neither keys, nor places, nor what travelled. */
static void all_is_left(const char *name)
{
	queue_becomes(name, 0);
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, name) == 0, LATE_MS), "%d keys", fleet_keys(&fleet, name));
	cr_assert(FLEET_UNTIL(fleet_cargoes(&fleet, name) == 0, LATE_MS));
}

/* ---- peers that wait ---- */

static void ask_for(int peer, int operation)
{
	peer_ask(&peers[peer], PEER_LOCK, fds[peer], operation, -1, NULL);
}

/* In the queue, behind all that are there: later than they by more than clocks are known. */
static void line_up(int peer, int operation, const char *name, long place)
{
	fleet_sleep_ms(5);
	ask_for(peer, operation);
	queue_becomes(name, place);
}

static void must_get(int peer)
{
	struct peer_answer answer;

	cr_assert(peer_answer(&peers[peer], &answer, LATE_MS), "%d still waits", peer);
	cr_assert_eq(answer.result, 0, "%d: %s (%s)", peer, strerror(answer.error), answer.detail);
	cr_assert(answer.token > 0);
}

static bool has_answered(int peer, int most_ms)
{
	struct pollfd poller = {.fd = peers[peer].out, .events = POLLIN};

	return poll(&poller, 1, most_ms) == 1;
}

/* Who of the peers answers first; -1 if none does. */
static int first_of(int first, int last)
{
	struct pollfd pollers[PEERS] = {0};

	for (int i = first; i < last; i++)
		pollers[i - first] = (struct pollfd){.fd = peers[i].out, .events = POLLIN};
	if (poll(pollers, (nfds_t)(last - first), LATE_MS) <= 0)
		return -1;
	for (int i = first; i < last; i++)
		if (pollers[i - first].revents)
			return i;
	return -1;
}

static void unlock(int peer)
{
	must(peer_lock(&peers[peer], fds[peer], LOCK_UN));
}

/* One after the other, in this order and each by itself; `first` is told by who unlocks before. */
static void served_in_order(int first, int last)
{
	for (int i = first; i < last; i++) {
		cr_assert_eq(first_of(first, last), i);
		must_get(i);
		must(peer_call(&peers[i], PEER_VERIFY, fds[i], 0, 0));
		unlock(i);
	}
}

/* ---- threads that wait ---- */

static void start_waiter(struct waiter *w, int fd, int operation, int timeout_ms)
{
	cr_assert_eq(waiter_start(w, fd, operation, timeout_ms), 0);
}

static void join_waiter(struct waiter *w, int error)
{
	cr_assert(waiter_join(w, LATE_MS), "still waiting");
	cr_assert_eq(w->result, error ? -1 : 0, "%d: %s", w->result, strerror(w->error));
	if (error)
		cr_assert_eq(w->error, error, "%s instead of %s", strerror(w->error), strerror(error));
}

/* ---- hand-overs ---- */

Test(queue, another_process_is_handed_the_lock_at_once, .fini = tear_down)
{
	int64_t start_ms, spent_ms = 0;
	struct waiter waiter;
	int fd;

	begin();
	fd = open_ready("to and fro");
	start_peers(0, 1, "to and fro");
	must(dlock_lock(fd));
	for (int i = 0; i < HAND_OVERS / 2; i++) {
		line_up(0, LOCK_EX, "to and fro", 1);
		start_ms = fleet_now_ms();
		must(dlock_unlock(fd));
		must_get(0);
		spent_ms += fleet_now_ms() - start_ms;
		must(peer_call(&peers[0], PEER_VERIFY, fds[0], 0, 0));
		start_waiter(&waiter, fd, LOCK_EX, -1);
		queue_becomes("to and fro", 1);
		start_ms = fleet_now_ms();
		unlock(0);
		join_waiter(&waiter, 0);
		spent_ms += fleet_now_ms() - start_ms;
		must(dlock_verify(fd));
	}
	cr_assert_lt(spent_ms, HAND_OVERS_MS);
	must(dlock_close(fd));
	all_is_left("to and fro");
}

Test(queue, another_thread_is_handed_the_lock_at_once, .fini = tear_down)
{
	int64_t start_ms, spent_ms = 0;
	struct waiter waiter;
	int pair[2];

	begin();
	pair[0] = open_ready("two threads");
	pair[1] = open_ready("two threads");
	must(dlock_lock(pair[0]));
	for (int i = 0; i < HAND_OVERS; i++) {
		start_waiter(&waiter, pair[(i + 1) % 2], LOCK_EX, -1);
		queue_becomes("two threads", 1);
		start_ms = fleet_now_ms();
		must(dlock_unlock(pair[i % 2]));
		join_waiter(&waiter, 0);
		spent_ms += fleet_now_ms() - start_ms;
		must(dlock_verify(pair[(i + 1) % 2]));
		fails(dlock_trylock(pair[i % 2]), EWOULDBLOCK);
	}
	cr_assert_lt(spent_ms, HAND_OVERS_MS);
	must(dlock_close(pair[0]));
	must(dlock_close(pair[1]));
	all_is_left("two threads");
}

Test(queue, in_the_order_in_which_they_came, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("ten");
	start_peers(0, 10, "ten");
	must(dlock_lock(fd));
	for (int i = 0; i < 10; i++)
		line_up(i, LOCK_EX, "ten", i + 1);
	must(dlock_unlock(fd));
	served_in_order(0, 10);
	all_is_left("ten");
}

Test(queue, waiters_that_do_not_block_are_told, .fini = tear_down)
{
	int holder, waiting[6];

	begin();
	holder = open_ready("asynchronous");
	must(dlock_lock(holder));
	for (int i = 0; i < 6; i++) {
		waiting[i] = open_with("asynchronous", DLOCK_NONBLOCK);
		fails(dlock_lock(waiting[i]), EINPROGRESS);
		queue_becomes("asynchronous", i + 1);
		fails(dlock_lock(waiting[i]), EALREADY);
	}
	must(dlock_unlock(holder));
	for (int i = 0; i < 6; i++) {
		struct pollfd poller = {.fd = waiting[i], .events = POLLIN};

		cr_assert_eq(poll(&poller, 1, LATE_MS), 1);
		must(dlock_result(waiting[i]));
		cr_assert(dlock_token(waiting[i]) > 0);
		for (int j = i + 1; j < 6; j++)
			fails(dlock_result(waiting[j]), EINPROGRESS);
		must(dlock_close(waiting[i]));
	}
	must(dlock_close(holder));
	all_is_left("asynchronous");
}

/* Of a descriptor with DLOCK_NONBLOCK. */
static void unlock_and_wait(int fd)
{
	if (dlock_unlock(fd) == 0)
		return;
	cr_assert_eq(errno, EINPROGRESS);
	cr_assert_eq(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, LATE_MS), 1);
	must(dlock_result(fd));
}

/* Masters come back from a disk that still has places in their queues which were given up since: of attempts that have
 * ended, in processes that live and listen. Each is given back at once, and costs no offer. */
Test(queue, places_that_come_back_from_a_disk_cost_nothing, .fini = tear_down)
{
	enum { STALE = 8 };
	char *member[STALE];
	int holder, waiting[STALE];
	int64_t start_ms;

	begin();
	holder = open_ready("restored");
	must(dlock_lock(holder));
	for (int i = 0; i < STALE; i++) {
		waiting[i] = open_with("restored", DLOCK_NONBLOCK);
		fails(dlock_lock(waiting[i]), EINPROGRESS);
		queue_becomes("restored", i + 1);
		member[i] = servers_command(fleet.servers, 0, "ZRANGE dlock!queue:dlock:restored %d %d", i, i);
		cr_assert_not_null(member[i]);
	}
	must(dlock_unlock(holder));
	for (int i = 0; i < STALE; i++) {
		struct pollfd poller = {.fd = waiting[i], .events = POLLIN};

		cr_assert_eq(poll(&poller, 1, LATE_MS), 1);
		must(dlock_result(waiting[i]));
		unlock_and_wait(waiting[i]);
	}
	all_is_left("restored");
	must(dlock_lock(holder));
	fails(dlock_lock(waiting[0]), EINPROGRESS);
	queue_becomes("restored", 1);
	for (int i = 0; i < STALE; i++)
		for (int m = 0; m < MASTERS; m++)
			free(servers_command(fleet.servers, m, "ZADD dlock!queue:dlock:restored %d %s", i + 1, member[i]));
	queue_becomes("restored", STALE + 1);
	start_ms = fleet_now_ms();
	must(dlock_unlock(holder));
	cr_assert_eq(poll(&(struct pollfd){.fd = waiting[0], .events = POLLIN}, 1, LATE_MS), 1);
	must(dlock_result(waiting[0]));
	/* An offer is 1 s at least. */
	cr_assert_lt(fleet_now_ms() - start_ms, STALE * 1000 / 2);
	unlock_and_wait(waiting[0]);
	for (int i = 0; i < STALE; i++) {
		must(dlock_close(waiting[i]));
		free(member[i]);
	}
	must(dlock_close(holder));
	all_is_left("restored");
}

static int keep_data(const struct dlock_holder *holder, void *arg)
{
	snprintf(arg, 64, "%.*s", (int)holder->data_size, holder->data_size ? (const char *)holder->data : "");
	return 0;
}

Test(queue, what_travels_with_the_lock_comes_with_it, .fini = tear_down)
{
	char data[64];
	int fd;

	begin();
	fd = open_ready("laden");
	start_peers(0, 2, "laden");
	for (int i = 0; i < 2; i++)
		must(peer_data(&peers[i], fds[i], i == 0 ? "first" : "second"));
	must(dlock_lock(fd));
	for (int round = 0; round < 3; round++) {
		line_up(0, LOCK_EX, "laden", 1);
		line_up(1, LOCK_EX, "laden", 2);
		must(dlock_unlock(fd));
		for (int i = 0; i < 2; i++) {
			must_get(i);
			cr_assert_eq(dlock_query_with("laden", keep_data, data, fleet.options), 1);
			cr_assert_str_eq(data, i == 0 ? "first" : "second");
			unlock(i);
		}
		must(dlock_lock(fd));
	}
	must(dlock_close(fd));
	all_is_left("laden");
}

/* ---- a process that ends at once ---- */

struct passer {
	pid_t pid;
	int in, out;
};

static bool has_all(int fd)
{
	struct dlock_stat stat;

	return dlock_stat(fd, &stat, sizeof(stat)) == 0 && stat.masters_held == MASTERS;
}

/* Takes the lock, says so when it has it from all masters, and ends right after it has given it back when it is told to.
 * (Not while an answer is under way: a server that writes to who has ended does not read any more what that one sent
 * last, and keeps the key until the lease ends.) */
static void pass(int in, int out)
{
	int fd = dlock_open_with("passed on", DLOCK_CLOEXEC, fleet.options);
	char byte = 0;

	if (fd < 0 || dlock_lock(fd) < 0 || !FLEET_UNTIL(has_all(fd), LATE_MS))
		_exit(1);
	if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1)
		_exit(1);
	_exit(dlock_unlock(fd) == 0 ? 0 : 2);
}

static void start_passer(struct passer *passer)
{
	int to[2], from[2];

	cr_assert(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
	passer->pid = fork();
	cr_assert(passer->pid >= 0);
	if (passer->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		pass(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	passer->in = to[1];
	passer->out = from[0];
}

static void end_passer(struct passer *passer)
{
	int status;

	cr_assert_eq(waitpid(passer->pid, &status, 0), passer->pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
	close(passer->in);
	close(passer->out);
}

static void must_hold(const struct passer *passer)
{
	struct pollfd poller = {.fd = passer->out, .events = POLLIN};
	char byte;

	cr_assert_eq(poll(&poller, 1, LATE_MS), 1);
	cr_assert_eq(read(passer->out, &byte, 1), 1);
}

Test(queue, who_ends_after_its_unlock_holds_nobody_up, .fini = tear_down)
{
	const char *times = getenv("DLOCK_TEST_PASSERS");
	int count = times ? atoi(times) : HAND_OVERS;
	int64_t start_ms, spent_ms = 0, longest_ms = 0;
	struct passer holder, next;

	begin();
	start_passer(&holder);
	must_hold(&holder);
	for (int i = 0; i < count; i++) {
		int64_t took_ms;

		start_passer(&next);
		queue_becomes("passed on", 1);
		start_ms = fleet_now_ms();
		cr_assert_eq(write(holder.in, "", 1), 1);
		must_hold(&next);
		took_ms = fleet_now_ms() - start_ms;
		spent_ms += took_ms;
		longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
		end_passer(&holder);
		holder = next;
	}
	cr_assert_lt(spent_ms, HAND_OVERS_MS * count / HAND_OVERS);
	if (times)
		printf("longest %d ms, together %d ms\n", (int)longest_ms, (int)spent_ms);
	cr_assert_eq(write(holder.in, "", 1), 1);
	end_passer(&holder);
	all_is_left("passed on");
}

/* What it sent to masters that had not answered yet is carried out, although its connections are closed. */
static void end_before_all_have_answered(bool tcp)
{
	struct passer holder;

	begin_as(&(struct fleet_setup){.servers = {.tcp = tcp}, .settings = LASTING});
	for (int i = 0; i < 10; i++) {
		start_passer(&holder);
		must_hold(&holder);
		servers_stop(fleet.servers, i % MASTERS);
		servers_stop(fleet.servers, (i + 1) % MASTERS);
		cr_assert_eq(write(holder.in, "", 1), 1);
		end_passer(&holder);
		servers_cont(fleet.servers, i % MASTERS);
		servers_cont(fleet.servers, (i + 1) % MASTERS);
		all_is_left("passed on");
	}
}

Test(queue, who_ends_before_all_have_answered, .fini = tear_down)
{
	end_before_all_have_answered(false);
}

Test(queue, who_ends_before_all_have_answered_tcp, .fini = tear_down)
{
	end_before_all_have_answered(true);
}

/* ---- who dies ---- */

Test(queue, the_dead_are_skipped, .fini = tear_down)
{
	int64_t start_ms, spent_ms = 0;
	int fd;

	begin();
	fd = open_ready("dead");
	must(dlock_lock(fd));
	for (int round = 0; round < 5; round++) {
		start_peers(0, 5, "dead");
		for (int i = 0; i < 5; i++)
			line_up(i, LOCK_EX, "dead", i + 1);
		peer_kill(&peers[0]); /* the head, the one behind it, and one in the middle */
		peer_kill(&peers[1]);
		peer_kill(&peers[3]);
		start_ms = fleet_now_ms();
		must(dlock_unlock(fd));
		must_get(2);
		unlock(2);
		must_get(4);
		spent_ms += fleet_now_ms() - start_ms;
		unlock(4);
		all_is_left("dead");
		peer_kill(&peers[2]);
		peer_kill(&peers[4]);
		must(dlock_lock(fd));
	}
	/* Ten hand-overs, none of which waited for an offer (1 s) to end. */
	cr_assert_lt(spent_ms, HAND_OVERS_MS);
	must(dlock_close(fd));
}

/* What is handed to a process that stands still is kept for it for one offer. Continued, it finds the grant that it
 * was sent; another has the lock by then. */
Test(queue, who_stands_still_costs_one_offer, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("stopped");
	start_peers(0, 2, "stopped");
	must(dlock_lock(fd));
	line_up(0, LOCK_EX, "stopped", 1);
	line_up(1, LOCK_EX, "stopped", 2);
	must(peer_stop(&peers[0]));
	must(dlock_unlock(fd));
	must_get(1);
	peer_cont(&peers[0]);
	for (int i = 0; i < 5; i++) {
		cr_assert_not(has_answered(0, 300), "two hold it");
		must(peer_call(&peers[1], PEER_VERIFY, fds[1], 0, 0));
	}
	queue_becomes("stopped", 1);
	unlock(1);
	must_get(0);
	unlock(0);
	must(dlock_close(fd));
	all_is_left("stopped");
}

/* One that stands still for less than the offer has it, and not for a moment longer than it may. */
Test(queue, who_stands_still_for_a_moment_is_served, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("a moment");
	start_peers(0, 2, "a moment");
	must(dlock_lock(fd));
	for (int i = 0; i < 3; i++) {
		line_up(0, LOCK_EX, "a moment", 1);
		line_up(1, LOCK_EX, "a moment", 2);
		must(peer_stop(&peers[0]));
		must(dlock_unlock(fd));
		fleet_sleep_ms(100);
		peer_cont(&peers[0]);
		cr_assert(first_of(0, 2) >= 0);
		for (int left = 2; left > 0; left--) {
			int first = first_of(0, 2);

			must_get(first);
			cr_assert_not(has_answered(1 - first, 100), "two hold it");
			must(peer_call(&peers[first], PEER_VERIFY, fds[first], 0, 0));
			unlock(first);
		}
		must(dlock_lock(fd));
	}
	must(dlock_close(fd));
	all_is_left("a moment");
}

/* ---- who leaves ---- */

static void leave_at_once(int signal)
{
	(void)signal;
	_exit(0);
}

static void do_nothing(int signal)
{
	(void)signal;
}

Test(queue, who_gives_up_leaves_no_place, .fini = tear_down)
{
	struct peer_answer answer;
	int fd;

	begin();
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = do_nothing}, NULL); /* without SA_RESTART */
	fd = open_ready("left");
	start_peers(0, 3, "left");
	must(dlock_lock(fd));
	line_up(0, LOCK_EX, "left", 1);
	/* The time is over. */
	peer_ask(&peers[1], PEER_LOCK, fds[1], LOCK_EX, 1500, NULL);
	queue_becomes("left", 2);
	cr_assert(peer_answer(&peers[1], &answer, LATE_MS));
	cr_assert(answer.result == -1 && answer.error == ETIMEDOUT, "%s", strerror(answer.error));
	queue_becomes("left", 1);
	/* A signal. */
	line_up(1, LOCK_SH, "left", 2);
	cr_assert_eq(kill(peers[1].pid, SIGUSR1), 0);
	cr_assert(peer_answer(&peers[1], &answer, LATE_MS));
	cr_assert(answer.result == -1 && answer.error == EINTR, "%s", strerror(answer.error));
	queue_becomes("left", 1);
	/* Who was behind those is not forgotten. */
	line_up(2, LOCK_EX, "left", 2);
	must(dlock_unlock(fd));
	must_get(0);
	unlock(0);
	must_get(2);
	unlock(2);
	must(dlock_close(fd));
	all_is_left("left");
}

Test(queue, who_closes_leaves_no_place, .fini = tear_down)
{
	struct waiter waiter;
	int fd, waiting;

	begin();
	fd = open_ready("closed");
	must(dlock_lock(fd));
	for (int i = 0; i < 3; i++) {
		waiting = open_with("closed", i == 2 ? DLOCK_NONBLOCK : 0);
		if (i == 2)
			fails(dlock_lock(waiting), EINPROGRESS);
		else
			start_waiter(&waiter, waiting, LOCK_EX, -1);
		queue_becomes("closed", 1);
		cr_assert_eq(i == 0 ? dlock_close(waiting) : close(waiting), 0);
		if (i < 2)
			join_waiter(&waiter, EBADF);
		queue_becomes("closed", 0);
	}
	must(dlock_verify(fd));
	must(dlock_close(fd));
	all_is_left("closed");
}

/* It had no time to leave the queues: it is left out, at once, and its place is gone. */
Test(queue, who_exits_is_left_out, .fini = tear_down)
{
	int64_t start_ms, spent_ms = 0;
	int fd;

	begin();
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = leave_at_once}, NULL);
	fd = open_ready("exited");
	must(dlock_lock(fd));
	for (int round = 0; round < 8; round++) {
		start_peers(0, 2, "exited");
		line_up(0, LOCK_EX, "exited", 1);
		line_up(1, LOCK_EX, "exited", 2);
		cr_assert_eq(kill(peers[0].pid, SIGUSR1), 0);
		peer_kill(&peers[0]); /* waits for its end, too */
		start_ms = fleet_now_ms();
		must(dlock_unlock(fd));
		must_get(1);
		spent_ms += fleet_now_ms() - start_ms;
		unlock(1);
		peer_kill(&peers[1]);
		all_is_left("exited");
		must(dlock_lock(fd));
	}
	cr_assert_lt(spent_ms, HAND_OVERS_MS - 1000);
	must(dlock_close(fd));
}

/* A copy of its descriptor, and of its connections' numbers, in a child that lives on is no waiter. */
Test(queue, the_child_of_a_waiter_does_not_wait, .fini = tear_down)
{
	int fd, waiting;
	pid_t child;

	begin();
	fd = open_ready("forked");
	start_peers(0, 1, "forked");
	must(dlock_lock(fd));
	waiting = open_with("forked", DLOCK_NONBLOCK);
	fails(dlock_lock(waiting), EINPROGRESS);
	queue_becomes("forked", 1);
	line_up(0, LOCK_EX, "forked", 2);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		for (;;)
			pause();
	}
	must(dlock_close(waiting)); /* here alone */
	queue_becomes("forked", 1);
	must(dlock_unlock(fd));
	must_get(0);
	unlock(0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	must(dlock_close(fd));
	all_is_left("forked");
}

/* The waiter itself is served, whatever its children do. */
Test(queue, a_waiter_that_forks_is_served, .fini = tear_down)
{
	struct waiter waiter;
	int fd, waiting, status;

	begin();
	fd = open_ready("forks");
	waiting = open_ready("forks");
	must(dlock_lock(fd));
	start_waiter(&waiter, waiting, LOCK_EX, -1);
	queue_becomes("forks", 1);
	for (int i = 0; i < 5; i++) {
		pid_t child = fork();

		if (child == 0) {
			int other = dlock_open_with("forks", DLOCK_CLOEXEC, fleet.options);

			if (other < 0 || dlock_timedlock(other, LOCK_EX, 100) == 0 || (errno != ETIMEDOUT && errno != ENOLCK))
				_exit(1);
			_exit(i % 2 ? 0 : dlock_close(waiting));
		}
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
	}
	must(dlock_unlock(fd));
	join_waiter(&waiter, 0);
	must(dlock_verify(waiting));
	must(dlock_close(waiting));
	must(dlock_close(fd));
	all_is_left("forks");
}

/* ---- who does not wait ---- */

Test(queue, who_only_tries_does_not_queue, .fini = tear_down)
{
	int fd, other;

	begin();
	fd = open_ready("tried");
	other = open_ready("tried");
	must(dlock_lock(fd));
	for (int i = 0; i < 20; i++)
		fails(dlock_flock(other, (i % 2 ? LOCK_SH : LOCK_EX) | LOCK_NB), EWOULDBLOCK);
	cr_assert(all_have(0, MASTERS, "tried", 0));
	must(dlock_close(other));
	must(dlock_close(fd));
	all_is_left("tried");
}

/* When the holder's key ends by itself, the lock is the waiter's, however often somebody tries. */
Test(queue, who_only_tries_does_not_go_first, .fini = tear_down)
{
	int fd;

	begin_with("ttl=2000 max_ttl=4500 node_timeout=1500 quorum_timeout=9000", NULL);
	fd = open_ready("barging");
	start_peers(0, 2, "barging");
	for (int round = 0; round < 2; round++) {
		must(peer_lock(&peers[0], fds[0], LOCK_EX));
		line_up(1, LOCK_EX, "barging", 1);
		peer_kill(&peers[0]);
		while (!has_answered(1, 0))
			fails(dlock_trylock(fd), EWOULDBLOCK);
		must_get(1);
		unlock(1);
		start_peers(0, 1, "barging");
	}
	must(dlock_close(fd));
	all_is_left("barging");
}

/* ---- shared locks ---- */

Test(queue, readers_are_let_in_together, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("readers");
	start_peers(0, 6, "readers");
	must(dlock_lock(fd));
	for (int i = 0; i < 4; i++)
		line_up(i, LOCK_SH, "readers", i + 1);
	line_up(4, LOCK_EX, "readers", 5);
	line_up(5, LOCK_SH, "readers", 6);
	must(dlock_unlock(fd));
	for (int i = 0; i < 4; i++)
		must_get(i); /* none has given it back yet */
	for (int i = 0; i < 4; i++)
		must(peer_call(&peers[i], PEER_VERIFY, fds[i], 0, 0));
	queue_becomes("readers", 2);
	cr_assert_not(has_answered(4, 1000) || has_answered(5, 0));
	for (int i = 0; i < 4; i++)
		unlock(i);
	cr_assert_eq(first_of(4, 6), 4);
	must_get(4);
	cr_assert_not(has_answered(5, 1000));
	unlock(4);
	must_get(5);
	unlock(5);
	must(dlock_close(fd));
	all_is_left("readers");
}

/* By who had it alone: gives it back, or becomes a reader as well. */
static void let_two_readers_in(int how)
{
	int64_t start_ms, spent_ms = 0;
	int fd;

	begin();
	fd = open_ready("let in");
	start_peers(0, 2, "let in");
	for (int round = 0; round < HAND_OVERS / 2; round++) {
		must(dlock_lock(fd));
		line_up(0, LOCK_SH, "let in", 1);
		line_up(1, LOCK_SH, "let in", 2);
		start_ms = fleet_now_ms();
		must(dlock_flock(fd, how));
		must_get(0);
		must_get(1);
		spent_ms += fleet_now_ms() - start_ms;
		must(dlock_unlock(fd));
		unlock(0);
		unlock(1);
	}
	cr_assert_lt(spent_ms, HAND_OVERS_MS / 2);
	must(dlock_close(fd));
	all_is_left("let in");
}

Test(queue, readers_are_let_in_at_once, .fini = tear_down)
{
	let_two_readers_in(LOCK_UN);
}

Test(queue, readers_are_let_in_at_once_by_a_reader, .fini = tear_down)
{
	let_two_readers_in(LOCK_SH);
}

Test(queue, a_writer_is_not_starved, .fini = tear_down)
{
	int fd, trying;

	begin();
	fd = open_ready("starved");
	trying = open_ready("starved");
	start_peers(0, 3, "starved");
	must(dlock_flock(fd, LOCK_SH));
	line_up(0, LOCK_EX, "starved", 1);
	for (int i = 0; i < 20; i++)
		fails(dlock_flock(trying, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	line_up(1, LOCK_SH, "starved", 2);
	line_up(2, LOCK_SH, "starved", 3);
	cr_assert_not(has_answered(1, 1000) || has_answered(2, 0) || has_answered(0, 0));
	must(dlock_unlock(fd));
	cr_assert_eq(first_of(0, 3), 0);
	must_get(0);
	cr_assert_not(has_answered(1, 1000) || has_answered(2, 0));
	unlock(0);
	must_get(1);
	must_get(2);
	unlock(1);
	unlock(2);
	must(dlock_close(trying));
	must(dlock_close(fd));
	all_is_left("starved");
}

/* ---- conversions ---- */

Test(queue, a_reader_that_wants_to_write_queues, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("upwards");
	start_peers(0, 2, "upwards");
	must(dlock_flock(fd, LOCK_SH));
	must(peer_lock(&peers[0], fds[0], LOCK_SH));
	line_up(1, LOCK_EX, "upwards", 1);
	line_up(0, LOCK_EX, "upwards", 2); /* has given back what it had, and waits behind the other */
	cr_assert_not(has_answered(0, 1000) || has_answered(1, 0));
	must(dlock_verify(fd));
	must(dlock_unlock(fd));
	cr_assert_eq(first_of(0, 2), 1);
	must_get(1);
	cr_assert_not(has_answered(0, 1000));
	unlock(1);
	must_get(0);
	must(peer_call(&peers[0], PEER_VERIFY, fds[0], 0, 0));
	fails(dlock_flock(fd, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	unlock(0);
	must(dlock_close(fd));
	all_is_left("upwards");
}

Test(queue, a_writer_that_wants_to_read_lets_readers_in, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("downwards");
	start_peers(0, 4, "downwards");
	must(dlock_lock(fd));
	line_up(0, LOCK_SH, "downwards", 1);
	line_up(1, LOCK_SH, "downwards", 2);
	line_up(2, LOCK_EX, "downwards", 3);
	line_up(3, LOCK_SH, "downwards", 4);
	must(dlock_flock(fd, LOCK_SH));
	must_get(0);
	must_get(1);
	must(dlock_verify(fd));
	cr_assert_not(has_answered(2, 1000) || has_answered(3, 0));
	must(dlock_unlock(fd));
	unlock(0);
	unlock(1);
	must_get(2);
	cr_assert_not(has_answered(3, 1000));
	unlock(2);
	must_get(3);
	unlock(3);
	must(dlock_close(fd));
	all_is_left("downwards");
}

/* ---- masters that fail ---- */

Test(queue, two_masters_that_stand_still_hold_nobody_up, .fini = tear_down)
{
	int64_t start_ms;
	int fd;

	begin();
	fd = open_ready("still");
	start_peers(0, 4, "still");
	must(dlock_lock(fd));
	for (int i = 0; i < 4; i++)
		line_up(i, LOCK_EX, "still", i + 1);
	servers_stop(fleet.servers, 0);
	servers_stop(fleet.servers, 1);
	start_ms = fleet_now_ms();
	must(dlock_unlock(fd));
	for (int i = 0; i < 4; i++) {
		int first = first_of(i, 4); cr_assert_eq(first, i, "%d instead of %d", first, i);
		must_get(i);
		unlock(i);
	}
	cr_assert_lt(fleet_now_ms() - start_ms, HAND_OVERS_MS);
	servers_cont(fleet.servers, 0);
	servers_cont(fleet.servers, 1);
	must(dlock_close(fd));
	all_is_left("still");
}

Test(queue, a_master_that_comes_back_hears_of_who_waits, .fini = tear_down)
{
	int fd;

	begin_with("ttl=4000 max_ttl=4500 node_timeout=1500 quorum_timeout=9000", NULL);
	fd = open_ready("restarted");
	start_peers(0, 2, "restarted");
	must(dlock_lock(fd));
	line_up(0, LOCK_EX, "restarted", 1);
	line_up(1, LOCK_EX, "restarted", 2);
	servers_kill9(fleet.servers, 0);
	cr_assert_eq(servers_restart(fleet.servers, 0, false), 0);
	/* Empty, in quarantine: once that is over both wait there, too. */
	queue_becomes("restarted", 2);
	must(dlock_verify(fd));
	servers_kill9(fleet.servers, 1);
	must(dlock_unlock(fd));
	for (int i = 0; i < 2; i++) {
		must_get(i);
		unlock(i);
	}
	cr_assert_eq(servers_restart(fleet.servers, 1, false), 0);
	must(dlock_close(fd));
	all_is_left("restarted");
}

Test(queue, two_masters_that_forget_everything, .fini = tear_down)
{
	int fd, other;

	begin_with("ttl=4000 max_ttl=4500 node_timeout=1500 quorum_timeout=9000", NULL);
	fd = open_ready("forgotten");
	other = open_ready("forgotten");
	start_peers(0, 2, "forgotten");
	must(dlock_lock(fd));
	line_up(0, LOCK_EX, "forgotten", 1);
	line_up(1, LOCK_EX, "forgotten", 2);
	must(servers_flush(fleet.servers, 3));
	must(servers_flush(fleet.servers, 4));
	for (int i = 0; i < 10; i++)
		fails(dlock_trylock(other), EWOULDBLOCK);
	cr_assert_not(has_answered(0, 500) || has_answered(1, 0));
	must(dlock_verify(fd));
	must(dlock_unlock(fd));
	for (int i = 0; i < 2; i++) {
		must_get(i);
		fails(dlock_trylock(other), EWOULDBLOCK);
		unlock(i);
	}
	must(dlock_close(other));
	must(dlock_close(fd));
	all_is_left("forgotten");
}

static void lose_key(int first, int last, const char *name)
{
	char command[64];

	snprintf(command, sizeof(command), "DEL dlock:%s", name);
	must(fleet_command(&fleet, first, last - first, command));
}

/* Three masters lose the holder's key, and the waiter has the lock by these. At the others it waits on, until they lose
 * the key as well, and it sets its own: then it is no waiter any more, and readers pass when it becomes one. */
Test(queue, who_repairs_its_key_does_not_wait_for_it, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("repaired");
	start_peers(0, 2, "repaired");
	must(dlock_lock(fd));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "repaired") == MASTERS, LATE_MS));
	line_up(0, LOCK_EX, "repaired", 1);
	lose_key(0, 3, "repaired");
	must_get(0);
	must(peer_call(&peers[0], PEER_VERIFY, fds[0], 0, 0));
	cr_assert(all_have(0, 3, "repaired", 0) && all_have(3, MASTERS, "repaired", 1));
	lose_key(3, MASTERS, "repaired");
	must(peer_call(&peers[0], PEER_VERIFY, fds[0], 0, 0));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "repaired") == MASTERS, LATE_MS));
	queue_becomes("repaired", 0);
	must(peer_lock(&peers[0], fds[0], LOCK_SH));
	must(peer_lock(&peers[1], fds[1], LOCK_SH | LOCK_NB));
	unlock(0);
	unlock(1);
	must(dlock_close(fd));
	all_is_left("repaired");
}

/* ---- grants that are lost ---- */

Test(queue, connections_that_hear_of_grants_are_killed, .fini = tear_down)
{
	int fd;

	begin();
	fd = open_ready("killed");
	start_peers(0, 2, "killed");
	must(dlock_lock(fd));
	for (int i = 0; i < 5; i++) {
		line_up(0, LOCK_EX, "killed", 1);
		line_up(1, LOCK_EX, "killed", 2);
		must(fleet_command(&fleet, 0, MASTERS, "CLIENT KILL TYPE pubsub"));
		must(dlock_unlock(fd));
		for (int left = 2; left > 0; left--) {
			int first = first_of(0, 2);

			cr_assert(first >= 0, "nobody is served");
			must_get(first);
			must(peer_call(&peers[first], PEER_VERIFY, fds[first], 0, 0));
			unlock(first);
		}
		must(dlock_lock(fd));
	}
	must(dlock_close(fd));
	all_is_left("killed");
}

/* Nobody hears of anything: all poll. */
Test(queue, nobody_can_listen, .fini = tear_down)
{
	int fd;

	begin_with(LASTING, "rename-command SUBSCRIBE \"\"");
	fd = open_ready("deaf");
	start_peers(0, 3, "deaf");
	must(dlock_lock(fd));
	for (int i = 0; i < 3; i++)
		ask_for(i, LOCK_EX);
	cr_assert_not(has_answered(0, 1000) || has_answered(1, 0) || has_answered(2, 0));
	cr_assert(all_have(0, MASTERS, "deaf", 0));
	must(dlock_unlock(fd));
	for (int left = 3; left > 0; left--) {
		int first = first_of(0, 3);

		cr_assert(first >= 0);
		must_get(first);
		unlock(first);
	}
	must(dlock_close(fd));
	all_is_left("deaf");
}
