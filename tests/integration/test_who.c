/*
 * test_who.c - how many wait, and who: dlock_who(), and the waiters of dlock_query() and dlock_list().
 *
 * Places in the queues are made by hand, as the masters keep them, so that they can
 * differ from master to master as a test wants it. Those of programs that wait come last.
 */
#include <criterion/criterion.h>

#include "tests/harness/fleet.h"
#include "tests/harness/liar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(who, .timeout = 100);
TestSuite(masters, .timeout = 100);
TestSuite(calls, .timeout = 100);
TestSuite(lies, .timeout = 100);
TestSuite(real, .timeout = 100);

#define MASTERS 5
#define LONG "node_timeout=60000 quorum_timeout=60000"
#define LONG_MS 60000
#define GRACE_MS 50 /* as dlock.h promises */
#define FIRST_US INT64_C(1700000000000000)
#define ALL 0x1f

static struct fleet fleet;

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())
#define fails(call, code) \
	do { \
		errno = 0; \
		cr_assert_eq((call), -1, "%s succeeded", #call); \
		cr_assert_eq(errno, (code), "%s: %s instead of " #code " (%s)", #call, strerror(errno), dlock_error_detail()); \
		cr_assert(*dlock_error_detail(), "%s fails without a sentence", #call); \
	} while (0)

static void begin(const char *settings)
{
	const struct fleet_setup setup = {.settings = settings};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
}

static void end(void)
{
	fleet_end(&fleet);
}

static int hold(const char *name, int operation)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	must(dlock_flock(fd, operation));
	cr_assert(fleet_keys_become(&fleet, name, MASTERS));
	return fd;
}

/* ---- places ---- */

/* A member of the queue of `name` on each of `masters`, a bit each. */
static void place(const char *name, unsigned masters, const char *member, int64_t score)
{
	for (int i = 0; i < MASTERS; i++) {
		char *reply;

		if (!(masters >> i & 1))
			continue;
		reply = servers_command(fleet.servers, i, "ZADD dlock!queue:dlock:%s %lld %s", name, (long long)score, member);
		cr_assert(reply && strcmp(reply, "1") == 0, "%s", reply ? reply : "no reply");
		free(reply);
	}
}

/* The token of the n-th to wait, counted from 1. */
static const char *token_of(int n)
{
	static char token[200];

	snprintf(token, sizeof(token), "%016" PRIx64 "-0123456789abcdef0123456789%06d-host%d/%d/program", (uint64_t)FIRST_US + (uint64_t)n,
	         n, n, 1000 + n);
	return token;
}

static void wait_at(const char *name, unsigned masters, int n, char mode)
{
	char member[300];

	snprintf(member, sizeof(member), "%c:30000:dlock!grants-0123456789abcdef0123456789abcdef:%s", mode, token_of(n));
	place(name, masters, member, FIRST_US + n);
}

/* From the first on, on each master. */
static void wait_many(const char *name, int count)
{
	for (int i = 0; i < MASTERS; i++) {
		char *reply = servers_command(fleet.servers, i,
		                              "EVAL %s 0 %s %d %s",
		                              "for i = 1, ARGV[2] do local n = string.format('%06d', i) "
		                              "redis.call('ZADD', 'dlock!queue:dlock:' .. ARGV[1], i, "
		                              "'X:30000:dlock!grants-0:' .. string.format('%016x', i) .. ARGV[3] .. n .. '-h/1/p') end "
		                              "return 'OK'",
		                              name, count, "-0123456789abcdef0123456789");

		cr_assert(reply && strcmp(reply, "OK") == 0, "%s", reply ? reply : "no reply");
		free(reply);
	}
}

/* ---- what is told, kept ---- */

#define KEPT_MAX 16

static struct kept {
	int count;
	struct one {
		struct dlock_who who;
		char name[64], host[80], program[80], owner[256];
	} at[KEPT_MAX];
} kept;

static int keep(const struct dlock_who *who, void *arg)
{
	struct kept *k = arg;
	struct one *one = &k->at[k->count < KEPT_MAX ? k->count : KEPT_MAX - 1];

	k->count++;
	one->who = *who;
	snprintf(one->name, sizeof(one->name), "%s", who->name);
	snprintf(one->host, sizeof(one->host), "%s", who->host);
	snprintf(one->program, sizeof(one->program), "%s", who->program);
	snprintf(one->owner, sizeof(one->owner), "%s", who->owner);
	cr_assert_eq(who->reserved, 0);
	cr_assert_eq(who->quorum, MASTERS / 2 + 1);
	return 0;
}

static int who(const char *name)
{
	memset(&kept, 0, sizeof(kept));
	return dlock_who_with(name, keep, &kept, fleet.options);
}

/* `masters`: at how many its place is. */
static void expect_waiter(int i, int n, int mode, unsigned masters)
{
	const struct one *one = &kept.at[i];
	char host[16];

	snprintf(host, sizeof(host), "host%d", n);
	cr_assert_eq(one->who.state, DLOCK_WHO_WAITER);
	cr_assert_str_eq(one->host, host);
	cr_assert_str_eq(one->program, "program");
	cr_assert_str_eq(one->owner, token_of(n));
	cr_assert_eq(one->who.pid, 1000 + n);
	cr_assert_eq(one->who.since_us, FIRST_US + n);
	cr_assert_eq(one->who.mode, mode);
	/* It ends when a majority agrees. */
	cr_assert(one->who.masters <= masters && one->who.masters + one->who.unheard >= masters, "%u masters, %u unheard",
	          one->who.masters, one->who.unheard);
	cr_assert_eq(one->who.ttl_ms, 0);
	cr_assert_eq(one->who.token, 0);
}

static int keep_waiters(const struct dlock_holder *holder, void *arg)
{
	*(int64_t *)arg = holder->waiters;
	return 0;
}

/* Of the last holder. */
static int64_t waiters_of(const char *name)
{
	int64_t waiters = -1;

	cr_assert_geq(dlock_query_with(name, keep_waiters, &waiters, fleet.options), 1, "%s", dlock_error_detail());
	return waiters;
}

static int64_t waiters_in_list(void)
{
	int64_t waiters = -1;

	cr_assert_geq(dlock_list_with(keep_waiters, &waiters, fleet.options), 1, "%s", dlock_error_detail());
	return waiters;
}

/* ---- who ---- */

Test(who, nobody)
{
	begin(LONG);
	cr_assert_eq(who("free"), 0, "%s", dlock_error_detail());
	cr_assert_eq(kept.count, 0);
	end();
}

/* Each master was told of them in another order. */
Test(who, waiters_of_a_name_that_nobody_holds)
{
	begin(LONG);
	for (int i = 0; i < MASTERS; i++)
		for (int n = 0; n < MASTERS; n++)
			wait_at("queue", 1u << i, (i + n) % MASTERS + 1, (i + n) % MASTERS == 1 ? 'S' : 'X');
	cr_assert_eq(who("queue"), MASTERS);
	for (int i = 0; i < MASTERS; i++) {
		expect_waiter(i, i + 1, i == 1 ? LOCK_SH : LOCK_EX, MASTERS);
		cr_assert_str_eq(kept.at[i].name, "queue");
		cr_assert_eq(kept.at[i].who.position, (unsigned)i + 1);
		cr_assert_eq(kept.at[i].who.waiters, MASTERS);
	}
	/* That is a list of what is held. */
	cr_assert_eq(dlock_list_with(keep_waiters, NULL, fleet.options), 0);
	cr_assert_eq(dlock_query_with("queue", NULL, NULL, fleet.options), 0);
	end();
}

Test(who, holder_comes_first)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	cr_assert_eq(who("held"), 1);
	cr_assert_eq(kept.at[0].who.waiters, 0);
	cr_assert_eq(waiters_of("held"), 0);
	wait_at("held", ALL, 2, 'X');
	wait_at("held", ALL, 1, 'S');
	wait_at("other", ALL, 3, 'S');
	cr_assert_eq(who("held"), 3);
	cr_assert_eq(kept.at[0].who.state, DLOCK_WHO_HOLDER);
	cr_assert_eq(kept.at[0].who.pid, getpid());
	cr_assert_eq(kept.at[0].who.token, dlock_token(fd));
	cr_assert_eq(kept.at[0].who.mode, LOCK_EX);
	cr_assert_eq(kept.at[0].who.position, 0);
	cr_assert_geq(kept.at[0].who.masters, 3);
	cr_assert_eq(kept.at[0].who.waiters, 2);
	cr_assert_gt(kept.at[0].who.ttl_ms, 0);
	cr_assert_gt(kept.at[0].who.since_us, FIRST_US);
	expect_waiter(1, 1, LOCK_SH, MASTERS);
	expect_waiter(2, 2, LOCK_EX, MASTERS);
	cr_assert_eq(kept.at[1].who.position, 1);
	cr_assert_eq(kept.at[2].who.position, 2);
	cr_assert_eq(waiters_of("held"), 2);
	cr_assert_eq(waiters_in_list(), 2);
	must(dlock_close(fd));
	end();
}

Test(who, readers)
{
	int fds[3];

	begin(LONG);
	for (int i = 0; i < 3; i++)
		fds[i] = hold("shared", LOCK_SH);
	wait_at("shared", ALL, 1, 'X');
	cr_assert_eq(who("shared"), 4, "%s", dlock_error_detail());
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(kept.at[i].who.state, DLOCK_WHO_HOLDER);
		cr_assert_eq(kept.at[i].who.mode, LOCK_SH);
		cr_assert_eq(kept.at[i].who.position, 0);
		cr_assert_eq(kept.at[i].who.waiters, 1);
	}
	expect_waiter(3, 1, LOCK_EX, MASTERS);
	cr_assert_eq(waiters_of("shared"), 1);
	cr_assert_eq(waiters_in_list(), 1);
	for (int i = 0; i < 3; i++)
		must(dlock_close(fds[i]));
	end();
}

/* One whose place some masters have not cleared yet; and one that has it everywhere, which can't be. */
Test(who, holder_does_not_wait)
{
	char member[400];
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	cr_assert_eq(who("held"), 1);
	snprintf(member, sizeof(member), "X:30000:dlock!grants-0:%s", kept.at[0].owner);
	place("held", 0x18, member, kept.at[0].who.since_us);
	wait_at("held", ALL, 1, 'X');
	cr_assert_eq(who("held"), 2);
	expect_waiter(1, 1, LOCK_EX, MASTERS);
	cr_assert_eq(kept.at[0].who.waiters, 1);
	cr_assert_eq(waiters_of("held"), 1);
	cr_assert_eq(waiters_in_list(), 1);
	place("held", 0x07, member, kept.at[0].who.since_us);
	cr_assert_eq(who("held"), 2);
	expect_waiter(1, 1, LOCK_EX, MASTERS);
	must(dlock_close(fd));
	end();
}

/* What is not ours comes last, without what nobody knows; what is no place is not told. */
Test(who, foreign_members)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	place("held", ALL, "X:30000:channel:0-a-0000", 1);
	place("held", ALL, "S:30000:channel:FF-f-zzz", 2);
	place("held", ALL, "X:30000:channel:0-a-", 21);
	place("held", ALL, "X:30000:channel:0-a", 22);
	place("held", ALL, "X:30000:channel:-a-b", 23);
	place("held", ALL, "X:30000:channel:0--b", 24);
	place("held", ALL, "X:30000:channel:0-g-b", 25);
	place("held", ALL, "X:30000:channel:owner", 26);
	place("held", ALL, "junk", 3);
	place("held", ALL, "Z:30000:channel:mode", 4);
	place("held", ALL, "?:30000:channel:mode", 5);
	place("held", ALL, "X:soon:channel:ttl", 6);
	place("held", ALL, "", 7);
	wait_at("held", ALL, 1, 'X');
	cr_assert_eq(who("held"), 4);
	expect_waiter(1, 1, LOCK_EX, MASTERS);
	for (int i = 2; i < 4; i++) {
		cr_assert_eq(kept.at[i].who.state, DLOCK_WHO_WAITER);
		cr_assert_str_eq(kept.at[i].owner, i == 2 ? "0-a-0000" : "FF-f-zzz");
		cr_assert_str_eq(kept.at[i].host, "");
		cr_assert_str_eq(kept.at[i].program, "");
		cr_assert_eq(kept.at[i].who.pid, 0);
		cr_assert_eq(kept.at[i].who.since_us, 0);
		cr_assert_eq(kept.at[i].who.token, 0);
		cr_assert_eq(kept.at[i].who.mode, i == 2 ? LOCK_EX : LOCK_SH);
		cr_assert_eq(kept.at[i].who.position, (unsigned)i);
	}
	cr_assert_eq(kept.at[0].who.waiters, 3);
	cr_assert_eq(waiters_of("held"), 3);
	must(dlock_close(fd));
	end();
}

/* Its place says more than who it is. */
Test(who, one_with_several_places_is_one)
{
	char member[300];

	begin(LONG);
	for (int i = 0; i < MASTERS; i++)
		for (int j = 0; j < 2; j++) {
			snprintf(member, sizeof(member), "%c:%d:dlock!grants-%d:%s", i == 4 ? 'S' : 'X', 1000 * (i + 1), j, token_of(1));
			place("queue", 1u << i, member, FIRST_US + 1);
		}
	cr_assert_eq(who("queue"), 1);
	expect_waiter(0, 1, LOCK_EX, MASTERS);
	end();
}

struct ordered {
	int64_t next_us;
	bool in_order;
};

static int expect_next(const struct dlock_who *one, void *arg)
{
	struct ordered *ordered = arg;

	ordered->in_order &= one->since_us == ordered->next_us && one->position == (uint32_t)ordered->next_us;
	ordered->in_order &= one->waiters == 2000 && one->masters >= one->quorum;
	ordered->next_us++;
	return 0;
}

Test(who, first_1000_of_2000)
{
	struct ordered ordered = {.next_us = 1, .in_order = true};
	int fd;

	begin(LONG);
	wait_many("queue", 2000);
	cr_assert_eq(dlock_who_with("queue", expect_next, &ordered, fleet.options), 1000, "%s", dlock_error_detail());
	cr_assert(ordered.in_order);
	cr_assert_eq(ordered.next_us, 1001);
	fd = hold("held", LOCK_EX);
	wait_many("held", 2000);
	cr_assert_eq(waiters_of("held"), 2000);
	cr_assert_eq(waiters_in_list(), 2000);
	cr_assert_eq(dlock_who_with("held", NULL, NULL, fleet.options), 1001);
	must(dlock_close(fd));
	end();
}

/* ---- masters that differ, and masters that are not there ---- */

Test(masters, majority_of_all)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	wait_at("held", 0x07, 1, 'X'); /* three */
	wait_at("held", 0x18, 2, 'X'); /* two */
	wait_at("held", 0x1c, 3, 'S'); /* three others */
	wait_at("held", 0x01, 4, 'X');
	cr_assert(FLEET_UNTIL(who("held") == 3 && kept.at[0].who.unheard == 0, 20000), "%d, %s", kept.count, dlock_error_detail());
	expect_waiter(1, 1, LOCK_EX, 3);
	expect_waiter(2, 3, LOCK_SH, 3);
	cr_assert_eq(kept.at[2].who.position, 2);
	cr_assert_eq(kept.at[0].who.waiters, 2);
	/* 2, 1, 2, 2, 2 wait as they say. */
	cr_assert(FLEET_UNTIL(waiters_of("held") == 2, 10000));
	cr_assert(FLEET_UNTIL(waiters_in_list() == 2, 10000));
	must(dlock_close(fd));
	end();
}

/* Not enough for a quorum is still the most of what is known. */
Test(masters, majority_of_those_heard)
{
	int fd;

	begin("node_timeout=2000");
	fd = hold("held", LOCK_EX);
	wait_at("held", 0x1b, 1, 'X');
	wait_at("held", 0x19, 2, 'X');
	wait_at("held", 0x07, 3, 'X');
	servers_kill9(fleet.servers, 3);
	servers_kill9(fleet.servers, 4);
	cr_assert(FLEET_UNTIL(who("held") == 3 && kept.at[0].who.unheard == 2, 20000), "%d, %s", kept.count, dlock_error_detail());
	expect_waiter(1, 1, LOCK_EX, 2);
	expect_waiter(2, 3, LOCK_EX, 3);
	cr_assert_eq(kept.at[0].who.waiters, 2);
	cr_assert_eq(kept.at[1].who.unheard, 2);
	/* 3, 2, 1 of those that are left: one is certain. */
	cr_assert_eq(waiters_of("held"), 1);
	cr_assert_eq(waiters_in_list(), 1);
	servers_kill9(fleet.servers, 2);
	fails(who("held"), ENOLCK);
	cr_assert_eq(kept.count, 0);
	cr_assert_not_null(strstr(dlock_error_detail(), "no quorum"));
	dlock_close(fd);
	end();
}

/* Masters that agree end it at once, also on who waits; one that can't be heard is given its 50 ms where they do not. */
Test(masters, when_it_ends)
{
	int64_t quickest_ms = LONG_MS, start_ms;

	begin(LONG);
	wait_at("agreed", ALL, 1, 'X');
	wait_at("open", 0x03, 1, 'X');
	cr_assert_eq(who("agreed"), 1);
	servers_stop(fleet.servers, 4);
	for (int i = 0; i < 50; i++) {
		start_ms = fleet_now_ms();
		cr_assert_eq(who("agreed"), 1, "%s", dlock_error_detail());
		if (fleet_now_ms() - start_ms < quickest_ms)
			quickest_ms = fleet_now_ms() - start_ms;
	}
	cr_assert_lt(quickest_ms, GRACE_MS);
	start_ms = fleet_now_ms();
	cr_assert_geq(who("open"), 0, "%s", dlock_error_detail());
	cr_assert_geq(fleet_now_ms() - start_ms, GRACE_MS);
	cr_assert_lt(fleet_now_ms() - start_ms, LONG_MS / 2);
	/* How many wait is nothing to wait for. */
	quickest_ms = LONG_MS;
	for (int i = 0; i < 50; i++) {
		start_ms = fleet_now_ms();
		cr_assert_eq(dlock_query_with("open", NULL, NULL, fleet.options), 0);
		if (fleet_now_ms() - start_ms < quickest_ms)
			quickest_ms = fleet_now_ms() - start_ms;
	}
	cr_assert_lt(quickest_ms, GRACE_MS);
	servers_cont(fleet.servers, 4);
	end();
}

/* ---- calls ---- */

static int stop_at(const struct dlock_who *one, void *arg)
{
	int *left = arg;

	(void)one;
	return --*left == 0;
}

Test(calls, callback_ends_the_telling)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	wait_at("held", ALL, 1, 'X');
	wait_at("held", ALL, 2, 'X');
	for (int n = 1; n <= 3; n++) {
		int left = n;

		cr_assert_eq(dlock_who_with("held", stop_at, &left, fleet.options), n);
		cr_assert_eq(left, 0);
	}
	must(dlock_close(fd));
	end();
}

static int ask_again(const struct dlock_who *one, void *arg)
{
	*(int *)arg += dlock_who_with(one->name, NULL, NULL, fleet.options);
	return 0;
}

Test(calls, callback_may_call)
{
	int told = 0;

	begin(LONG);
	wait_at("queue", ALL, 1, 'X');
	wait_at("queue", ALL, 2, 'X');
	cr_assert_eq(dlock_who_with("queue", ask_again, &told, fleet.options), 2);
	cr_assert_eq(told, 4);
	end();
}

Test(calls, wrong_arguments)
{
	struct dlock_options *reserved;
	char name[DLOCK_NAME_MAX + 2];

	begin(NULL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fails(dlock_who_with(NULL, keep, &kept, fleet.options), EINVAL);
	fails(dlock_who_with("", keep, &kept, fleet.options), EINVAL);
	fails(dlock_who_with(name, keep, &kept, fleet.options), ENAMETOOLONG);
	name[DLOCK_NAME_MAX] = '\0';
	cr_assert_eq(who(name), 0, "%s", dlock_error_detail());
	reserved = fleet_options(&fleet, NULL, NULL);
	cr_assert_eq(dlock_options_set(reserved, "prefix", ""), 0);
	fails(dlock_who_with("dlock!fence", keep, &kept, reserved), EINVAL);
	dlock_options_free(reserved);
	setenv("DLOCK_TTL", "soon", 1);
	fails(dlock_who("name", keep, &kept), EINVAL);
	cr_assert_not_null(strstr(dlock_error_detail(), "DLOCK_TTL"));
	end();
}

Test(calls, fork)
{
	int status;
	pid_t child;

	begin(LONG);
	wait_at("queue", ALL, 1, 'X');
	cr_assert_eq(who("queue"), 1);
	child = fork();
	if (child == 0)
		_exit(dlock_who_with("queue", NULL, NULL, fleet.options) == 1 ? 0 : 1);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's status is %#x", (unsigned)status);
	cr_assert_eq(who("queue"), 1);
	end();
}

/* ---- masters that say what is none ---- */

#define TRIO 3

static struct liar *liars[TRIO];

static void begin_trio(void)
{
	cr_assert_eq(fleet_start_behind(&fleet, liars, TRIO, LONG), 0);
}

static void end_trio(void)
{
	fleet_end(&fleet);
	for (int i = 0; i < TRIO; i++)
		liar_stop(liars[i]);
}

static void say(int from, char operation, const char *bytes)
{
	const struct liar_lie lie = {.operation = operation, .bytes = bytes, .size = strlen(bytes), .cut_after = -1, .times = -1};

	for (int i = from; i < TRIO; i++)
		liar_lie(liars[i], &lie);
}

#define HELD "*5\r\n$10\r\ndlock:name\r\n$1\r\n5\r\n$6\r\nstring\r\n$5\r\nowner\r\n:500\r\n"
#define NAME(n) "*" #n "\r\n:1\r\n:0\r\n" HELD
#define LIST(n) "*" #n "\r\n:1\r\n:0\r\n$1\r\n0\r\n"

static int count_one(const struct dlock_who *one, void *arg)
{
	*(uint32_t *)arg = one->waiters;
	return 0;
}

Test(lies, about_a_name)
{
	static const char *const malformed[] = {
	    NAME(3),
	    NAME(4) "*0\r\n",
	    NAME(5) ":0\r\n*0\r\n",
	    NAME(5) "*0\r\n$-1\r\n",
	    NAME(5) "*0\r\n*0\r\n",
	    NAME(5) "*0\r\n:-1\r\n",
	    NAME(5) "*0\r\n:1\r\n",
	    NAME(5) "*0\r\n$4\r\nmany\r\n",
	    NAME(5) "$3\r\nX:a\r\n:1\r\n",
	    NAME(5) "$-1\r\n:0\r\n",
	    NAME(5) "*1\r\n$3\r\nX:a\r\n:0\r\n",
	    NAME(5) "*1\r\n$3\r\nX:a\r\n:2\r\n",
	    NAME(5) "*2\r\n$3\r\nX:a\r\n$-1\r\n:2\r\n",
	    NAME(5) "*2\r\n$3\r\nX:a\r\n:1\r\n:2\r\n",
	    NAME(5) "*2\r\n$3\r\nX:a\r\n*0\r\n:2\r\n",
	    NAME(5) "*1\r\n$1\r\nX\r\n:1\r\n",
	    NAME(5) "*1\r\n$0\r\n\r\n:1\r\n",
	    NAME(5) "*1\r\n$3\r\nXX:\r\n:1\r\n",
	    NAME(5) "*1\r\n:5\r\n:1\r\n",
	};
	uint32_t waiters = 9;

	begin_trio();
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		/* Of two it is no majority's word, and the third can't help. */
		say(1, 'Q', malformed[i]);
		fails(dlock_who_with("name", NULL, NULL, fleet.options), ENOLCK);
		fails(dlock_query_with("name", NULL, NULL, fleet.options), ENOLCK);
	}
	say(0, 'Q', NAME(5) "*0\r\n:0\r\n");
	cr_assert_eq(dlock_who_with("name", count_one, &waiters, fleet.options), 1, "%s", dlock_error_detail());
	cr_assert_eq(waiters, 0);
	/* One without a name, and one that is told twice. */
	say(0, 'Q', NAME(5) "*5\r\n$7\r\nX:a-b-c\r\n$7\r\nX:a-b-c\r\n$2\r\nX:\r\n$7\r\n?:a-b-d\r\n$7\r\nX:z-b-c\r\n:5\r\n");
	cr_assert_eq(dlock_who_with("name", count_one, &waiters, fleet.options), 2, "%s", dlock_error_detail());
	cr_assert_eq(waiters, 2);
	end_trio();
}

Test(lies, about_all)
{
	static const char *const malformed[] = {
	    LIST(4) HELD,
	    LIST(4) ":0\r\n",
	    LIST(5) HELD HELD,
	    LIST(5) HELD "$-1\r\n",
	    LIST(5) HELD ":-1\r\n",
	    LIST(5) HELD "$4\r\nmany\r\n",
	    LIST(5) ":0\r\n" HELD,
	    LIST(5) "$1\r\nx\r\n:0\r\n",
	    LIST(6) HELD ":0\r\n" HELD,
	};
	int64_t waiters = -1;

	begin_trio();
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		say(1, 'L', malformed[i]);
		fails(dlock_list_with(keep_waiters, &waiters, fleet.options), ENOLCK);
	}
	say(0, 'L', LIST(5) HELD ":7\r\n");
	cr_assert_eq(dlock_list_with(keep_waiters, &waiters, fleet.options), 1, "%s", dlock_error_detail());
	cr_assert_eq(waiters, 7);
	say(0, 'L', LIST(5) HELD ":9223372036854775807\r\n");
	cr_assert_eq(dlock_list_with(keep_waiters, &waiters, fleet.options), 1, "%s", dlock_error_detail());
	cr_assert_eq(waiters, UINT32_MAX);
	end_trio();
}

/* ---- programs that wait ---- */

#define PEERS 3

static struct peer peers[PEERS];
static int fds[PEERS];

static void begin_peers(void)
{
	begin("quorum_timeout=60000");
	for (int i = 0; i < PEERS; i++) {
		cr_assert_eq(peer_start(&peers[i], fleet.options), 0);
		fds[i] = (int)peer_open(&peers[i], "real");
		cr_assert_geq(fds[i], 0);
	}
}

static void end_peers(void)
{
	for (int i = 0; i < PEERS; i++)
		peer_kill(&peers[i]);
	end();
}

static void begin_to_wait(int i, int operation, int timeout_ms)
{
	peer_ask(&peers[i], PEER_LOCK, fds[i], operation, timeout_ms, NULL);
}

static bool waits_at(int place, int i, int mode)
{
	const struct dlock_who *one = &kept.at[place].who;

	return one->state == DLOCK_WHO_WAITER && one->pid == peers[i].pid && one->mode == mode && one->position > 0 &&
	       one->since_us > FIRST_US && one->masters >= one->quorum - one->unheard && *kept.at[place].host && *kept.at[place].program;
}

static void expect_lock(int i)
{
	struct peer_answer answer;

	cr_assert(peer_answer(&peers[i], &answer, LONG_MS));
	cr_assert_eq(answer.result, 0, "%s: %s", strerror(answer.error), answer.detail);
}

static bool is_held_by(int i)
{
	return kept.count > 0 && kept.at[0].who.state == DLOCK_WHO_HOLDER && kept.at[0].who.pid == peers[i].pid &&
	       kept.at[0].who.masters >= kept.at[0].who.quorum;
}

Test(real, in_their_order)
{
	static const int modes[PEERS] = {LOCK_EX, LOCK_SH, LOCK_SH};
	int fd;

	begin_peers();
	fd = hold("real", LOCK_EX);
	for (int i = 0; i < PEERS; i++) {
		begin_to_wait(i, modes[i], -1);
		cr_assert(FLEET_UNTIL(who("real") == 2 + i && waits_at(1 + i, i, modes[i]), 20000), "%d: %d, %s", i, kept.count,
		          dlock_error_detail());
	}
	for (int i = 0; i < PEERS; i++)
		cr_assert(waits_at(1 + i, i, modes[i]) && kept.at[1 + i].who.position == 1u + (unsigned)i);
	cr_assert_eq(kept.at[0].who.pid, getpid());
	cr_assert(FLEET_UNTIL(waiters_of("real") == PEERS && waiters_in_list() == PEERS, 20000));
	/* The first has it, and does not wait any more. */
	must(dlock_close(fd));
	expect_lock(0);
	cr_assert(FLEET_UNTIL(who("real") == 3 && is_held_by(0) && waits_at(1, 1, LOCK_SH) && waits_at(2, 2, LOCK_SH), 20000), "%d",
	          kept.count);
	cr_assert(FLEET_UNTIL(waiters_of("real") == 2, 20000));
	/* And then those that read, both. */
	cr_assert_eq(peer_lock(&peers[0], fds[0], LOCK_UN), 0);
	expect_lock(1);
	expect_lock(2);
	cr_assert(FLEET_UNTIL(who("real") == 2 && kept.at[0].who.state == DLOCK_WHO_HOLDER && kept.at[1].who.state == DLOCK_WHO_HOLDER &&
	                          kept.at[0].who.mode == LOCK_SH && kept.at[0].who.waiters == 0, 20000), "%d", kept.count);
	end_peers();
}

/* Who does not wait is in no queue, who gives up leaves it, and who dies is skipped when its turn comes. */
Test(real, who_comes_and_goes)
{
	struct peer_answer answer;
	int fd;

	begin_peers();
	fd = hold("real", LOCK_EX);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(peer_lock(&peers[0], fds[0], LOCK_EX | LOCK_NB), -1);
		cr_assert_eq(who("real"), 1);
	}
	begin_to_wait(0, LOCK_EX, 2000);
	cr_assert(FLEET_UNTIL(who("real") == 2 && waits_at(1, 0, LOCK_EX), 20000), "%d", kept.count);
	begin_to_wait(1, LOCK_EX, -1);
	cr_assert(peer_answer(&peers[0], &answer, LONG_MS));
	cr_assert_eq(answer.error, ETIMEDOUT, "%s: %s", strerror(answer.error), answer.detail);
	cr_assert(FLEET_UNTIL(who("real") == 2 && waits_at(1, 1, LOCK_EX), 20000), "%d", kept.count);
	begin_to_wait(2, LOCK_EX, -1);
	cr_assert(FLEET_UNTIL(who("real") == 3 && waits_at(2, 2, LOCK_EX), 20000), "%d", kept.count);
	peer_kill(&peers[1]);
	must(dlock_close(fd));
	expect_lock(2);
	cr_assert(FLEET_UNTIL(who("real") == 1 && is_held_by(2) && kept.at[0].who.waiters == 0, 20000), "%d", kept.count);
	end_peers();
}

/* The same of one process, whose waiters have a channel in common. */
Test(real, in_one_process)
{
	int waiters[3], fd;

	begin("quorum_timeout=60000");
	fd = hold("real", LOCK_EX);
	for (int i = 0; i < 3; i++) {
		waiters[i] = dlock_open_with("real", DLOCK_CLOEXEC | DLOCK_NONBLOCK, fleet.options);
		cr_assert(dlock_flock(waiters[i], i == 1 ? LOCK_SH : LOCK_EX) == -1 && errno == EINPROGRESS);
		cr_assert(FLEET_UNTIL(who("real") == 2 + i, 20000), "%d", kept.count);
		cr_assert_eq(kept.at[1 + i].who.mode, i == 1 ? LOCK_SH : LOCK_EX);
	}
	must(dlock_close(fd));
	for (int i = 0; i < 3; i++) {
		cr_assert(FLEET_UNTIL(dlock_result(waiters[i]) == 0, 20000), "%s", dlock_error_detail());
		cr_assert(FLEET_UNTIL(who("real") == 3 - i && kept.at[0].who.token == dlock_token(waiters[i]), 20000), "%d: %d", i, kept.count);
		must(dlock_close(waiters[i]));
	}
	end();
}
