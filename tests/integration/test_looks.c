/*
 * test_looks.c - look-ups: those that do not wait, when they end, and what is
 * told of a holder.
 *
 * Where one must end long before its time, that time is so long that only a
 * failure can reach it.
 */
#include <criterion/criterion.h>

#include "tests/harness/fleet.h"
#include "tests/harness/liar.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(looks, .timeout = 100);
TestSuite(rules, .timeout = 100);
TestSuite(life, .timeout = 100);
TestSuite(told, .timeout = 100);

#define MASTERS 5
#define LONG "node_timeout=60000 quorum_timeout=60000"
#define LONG_MS 60000
#define GRACE_MS 50 /* as dlock.h promises */
#define NO_TAG UINT64_C(0xdead)

static struct fleet fleet;
static struct dlock_looks *looks;

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())
#define fails(call, code) \
	do { \
		errno = 0; \
		cr_assert_eq((call), -1, "%s succeeded", #call); \
		cr_assert_eq(errno, (code), "%s: %s instead of " #code " (%s)", #call, strerror(errno), dlock_error_detail()); \
		cr_assert(*dlock_error_detail(), "%s fails without a sentence", #call); \
	} while (0)

static struct dlock_looks *new_looks(const struct dlock_options *options)
{
	struct dlock_looks *set = dlock_looks_new(options);

	cr_assert_not_null(set, "%s", dlock_error_detail());
	return set;
}

static void begin(const char *settings)
{
	const struct fleet_setup setup = {.settings = settings};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
	looks = new_looks(fleet.options);
}

static void end(void)
{
	dlock_looks_free(looks);
	fleet_end(&fleet);
}

static int hold(const char *name, int operation)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	must(dlock_flock(fd, operation));
	return fd;
}

static bool is_readable(struct dlock_looks *set, int timeout_ms)
{
	struct pollfd polled = {.fd = dlock_looks_fd(set), .events = POLLIN};

	return poll(&polled, 1, timeout_ms) == 1 && polled.revents == POLLIN;
}

/* ---- what is told, kept ---- */

static struct kept {
	int count;
	struct dlock_holder last;
	char name[DLOCK_NAME_MAX + 1], host[80], program[80], owner[256], data[256];
} kept;

static int keep(const struct dlock_holder *holder, void *arg)
{
	struct kept *k = arg;

	k->count++;
	k->last = *holder;
	snprintf(k->name, sizeof(k->name), "%s", holder->name);
	snprintf(k->host, sizeof(k->host), "%s", holder->host);
	snprintf(k->program, sizeof(k->program), "%s", holder->program);
	snprintf(k->owner, sizeof(k->owner), "%s", holder->owner);
	cr_assert_eq(holder->data == NULL, holder->data_size == 0);
	cr_assert_leq(holder->data_size, sizeof(k->data));
	if (holder->data)
		memcpy(k->data, holder->data, holder->data_size);
	return 0;
}

/* The next that ends, of which only one is under way: holders, or -1 with errno. */
static int answer(uint64_t *ret_tag)
{
	memset(&kept, 0, sizeof(kept));
	cr_assert(is_readable(looks, LONG_MS), "nothing has ended");
	return dlock_looks_next(looks, ret_tag, keep, &kept);
}

/* One look-up from its start to its end. */
static int look(const char *name)
{
	uint64_t tag = NO_TAG;
	int result;

	must(dlock_looks_start(looks, name, 42));
	result = answer(&tag);
	cr_assert_eq(tag, 42);
	return result;
}

static void expect_nothing(struct dlock_looks *set)
{
	uint64_t tag = NO_TAG;

	cr_assert_not(is_readable(set, 0));
	fails(dlock_looks_next(set, &tag, NULL, NULL), EAGAIN);
	cr_assert_eq(tag, NO_TAG);
}

/* ---- a name, and all names ---- */

Test(looks, free_name)
{
	begin(NULL);
	expect_nothing(looks);
	cr_assert_eq(look("free"), 0, "%s", dlock_error_detail());
	cr_assert_eq(kept.count, 0);
	expect_nothing(looks);
	end();
}

Test(looks, held_name)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	cr_assert_eq(look("held"), 1, "%s", dlock_error_detail());
	cr_assert_eq(kept.count, 1);
	cr_assert_str_eq(kept.name, "held");
	cr_assert_eq(kept.last.mode, LOCK_EX);
	cr_assert_eq(kept.last.pid, getpid());
	cr_assert_eq(kept.last.token, dlock_token(fd));
	cr_assert_eq(kept.last.quorum, 3);
	cr_assert_geq(kept.last.masters, 3);
	cr_assert_leq(kept.last.masters + kept.last.unheard, MASTERS);
	cr_assert_eq(kept.last.reserved, 0);
	cr_assert_null(kept.last.data);
	cr_assert_gt(kept.last.ttl_ms, 0);
	cr_assert(*kept.host && *kept.program && *kept.owner);
	expect_nothing(looks);
	must(dlock_close(fd));
	end();
}

Test(looks, shared_by_three)
{
	int fds[3];

	begin(LONG);
	for (int i = 0; i < 3; i++)
		fds[i] = hold("shared", LOCK_SH);
	cr_assert(FLEET_UNTIL(look("shared") == 3, 10000), "%d", kept.count);
	cr_assert_eq(kept.last.mode, LOCK_SH);
	cr_assert_geq(kept.last.masters, 3);
	cr_assert_eq(dlock_query_with("shared", NULL, NULL, fleet.options), 3);
	for (int i = 0; i < 3; i++)
		must(dlock_close(fds[i]));
	end();
}

/* Keys of `count` other clients on `masters` masters, the first ones. */
static void make_keys(const char *stem, int from, int count, int masters)
{
	for (int i = 0; i < masters; i++) {
		char *reply = servers_command(fleet.servers, i,
		                              "EVAL %s 0 %s %d %d",
		                              "for i = ARGV[2], ARGV[2] + ARGV[3] - 1 do "
		                              "redis.call('SET', 'dlock:' .. ARGV[1] .. string.format('%04d', i), 'v' .. i, 'PX', 600000) end "
		                              "return 'OK'",
		                              stem, from, count);

		cr_assert(reply && strcmp(reply, "OK") == 0, "%s", reply ? reply : "no reply");
		free(reply);
	}
}

struct ordered {
	int next;
	bool in_order;
};

static int expect_next(const struct dlock_holder *holder, void *arg)
{
	struct ordered *ordered = arg;
	char name[32], owner[32];

	snprintf(name, sizeof(name), "n%04d", ordered->next);
	snprintf(owner, sizeof(owner), "v%d", ordered->next++);
	ordered->in_order &= strcmp(holder->name, name) == 0 && strcmp(holder->owner, owner) == 0;
	ordered->in_order &= holder->masters >= holder->quorum && holder->token == 0;
	return 0;
}

Test(looks, list_of_1000)
{
	struct ordered ordered = {.in_order = true};
	uint64_t tag = NO_TAG;

	begin(LONG);
	make_keys("n", 0, 1000, MASTERS);
	must(dlock_looks_start(looks, NULL, 7));
	cr_assert(is_readable(looks, LONG_MS));
	cr_assert_eq(dlock_looks_next(looks, &tag, expect_next, &ordered), 1000, "%s", dlock_error_detail());
	cr_assert_eq(tag, 7);
	cr_assert_eq(ordered.next, 1000);
	cr_assert(ordered.in_order);
	ordered = (struct ordered){.in_order = true};
	cr_assert_eq(dlock_list_with(expect_next, &ordered, fleet.options), 1000);
	cr_assert(ordered.in_order);
	end();
}

static int stop_at_second(const struct dlock_holder *holder, void *arg)
{
	(void)holder;
	return ++*(int *)arg == 2;
}

Test(looks, callback_ends_the_telling)
{
	int told = 0;

	begin(LONG);
	make_keys("n", 0, 10, MASTERS);
	must(dlock_looks_start(looks, NULL, 1));
	cr_assert(is_readable(looks, LONG_MS));
	cr_assert_eq(dlock_looks_next(looks, NULL, stop_at_second, &told), 2);
	cr_assert_eq(told, 2);
	expect_nothing(looks);
	end();
}

/* More than may be under way on the masters at a time; every second name is held. Begun before any connection is. */
Test(looks, many_at_once)
{
	enum { COUNT = 2500 };
	static char seen[COUNT];
	uint64_t tag = NO_TAG;
	char name[32];

	begin(LONG);
	for (int i = 0; i < COUNT; i += 500)
		make_keys("held", i, 250, MASTERS);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "held%04d", i);
		must(dlock_looks_start(looks, name, (uint64_t)i));
	}
	for (int i = 0; i < COUNT; i++) {
		int result;

		memset(&kept, 0, sizeof(kept));
		cr_assert(is_readable(looks, LONG_MS), "%d of %d have ended", i, COUNT);
		result = dlock_looks_next(looks, &tag, keep, &kept);
		cr_assert_lt(tag, COUNT);
		cr_assert_eq(seen[tag]++, 0, "%d has ended twice", (int)tag);
		cr_assert_eq(result, tag % 500 < 250, "%d: %d %s", (int)tag, result, dlock_error_detail());
		snprintf(name, sizeof(name), "held%04d", (int)tag);
		cr_assert(result == 0 || strcmp(kept.name, name) == 0);
	}
	expect_nothing(looks);
	end();
}

Test(looks, descriptor_is_readable_while_any_has_ended)
{
	begin(LONG);
	for (uint64_t i = 0; i < 3; i++)
		must(dlock_looks_start(looks, "free", i));
	for (int i = 0; i < 3; i++) {
		cr_assert(is_readable(looks, LONG_MS));
		cr_assert(is_readable(looks, 0)); /* looking takes nothing away */
		cr_assert_eq(dlock_looks_next(looks, NULL, NULL, NULL), 0);
	}
	expect_nothing(looks);
	end();
}

Test(looks, two_sets_do_not_mix)
{
	struct dlock_looks *other;
	uint64_t tag = NO_TAG;

	begin(LONG);
	other = new_looks(fleet.options);
	must(dlock_looks_start(other, "free", 5));
	cr_assert_eq(look("free"), 0);
	cr_assert(is_readable(other, LONG_MS));
	cr_assert_eq(dlock_looks_next(other, &tag, NULL, NULL), 0);
	cr_assert_eq(tag, 5);
	expect_nothing(other);
	expect_nothing(looks);
	dlock_looks_free(other);
	end();
}

Test(looks, wrong_arguments)
{
	struct dlock_options *reserved;
	struct dlock_looks *other;
	char name[DLOCK_NAME_MAX + 2];

	begin(NULL);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fails(dlock_looks_start(looks, "", 0), EINVAL);
	fails(dlock_looks_start(looks, name, 0), ENAMETOOLONG);
	name[DLOCK_NAME_MAX] = '\0';
	cr_assert_eq(look(name), 0);
	fails(dlock_looks_start(NULL, "a", 0), EINVAL);
	fails(dlock_looks_next(NULL, NULL, NULL, NULL), EINVAL);
	fails(dlock_looks_fd(NULL), EINVAL);
	dlock_looks_free(NULL);
	reserved = fleet_options(&fleet, NULL, NULL);
	cr_assert_eq(dlock_options_set(reserved, "prefix", ""), 0);
	other = new_looks(reserved);
	fails(dlock_looks_start(other, "dlock!fence", 0), EINVAL);
	must(dlock_looks_start(other, "dlock", 0));
	dlock_looks_free(other);
	dlock_options_free(reserved);
	expect_nothing(looks);
	setenv("DLOCK_TTL", "soon", 1);
	errno = 0;
	cr_assert_null(dlock_looks_new(NULL));
	cr_assert_eq(errno, EINVAL);
	cr_assert_not_null(strstr(dlock_error_detail(), "DLOCK_TTL"));
	end();
}

/* ---- when it ends ---- */

/* The quickest of some: no slowness of the machine takes all of them as long as the grace, which is never shorter. */
static int64_t quickest_ms(const char *name, int expected)
{
	int64_t quickest = INT64_MAX;

	for (int i = 0; i < 50; i++) {
		int64_t start_ms = fleet_now_ms(), took_ms;

		cr_assert_eq(look(name), expected, "%s", dlock_error_detail());
		took_ms = fleet_now_ms() - start_ms;
		quickest = took_ms < quickest ? took_ms : quickest;
	}
	return quickest;
}

Test(rules, one_master_stopped_and_the_others_agree)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	cr_assert(fleet_keys_become(&fleet, "held", MASTERS));
	cr_assert_eq(look("free"), 0);
	servers_stop(fleet.servers, 4);
	cr_assert_lt(quickest_ms("free", 0), GRACE_MS);
	cr_assert_lt(quickest_ms("held", 1), GRACE_MS);
	cr_assert_lt(quickest_ms(NULL, 1), GRACE_MS);
	cr_assert_eq(look("held"), 1);
	cr_assert_geq(kept.last.masters, 3);
	cr_assert_geq(kept.last.unheard, 1);
	cr_assert_leq(kept.last.masters + kept.last.unheard, MASTERS);
	servers_cont(fleet.servers, 4);
	must(dlock_close(fd));
	end();
}

/* The same for the first look-up of a process, which has no connection yet. */
Test(rules, one_master_stopped_before_the_first)
{
	const struct fleet_setup setup = {.settings = LONG};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
	servers_stop(fleet.servers, 0);
	looks = new_looks(fleet.options);
	cr_assert_eq(look("free"), 0, "%s", dlock_error_detail());
	cr_assert_eq(look(NULL), 0, "%s", dlock_error_detail());
	servers_cont(fleet.servers, 0);
	end();
}

Test(rules, one_master_gone)
{
	int fd;

	begin(LONG);
	fd = hold("held", LOCK_EX);
	servers_kill9(fleet.servers, 2);
	for (int i = 0; i < 50; i++) {
		cr_assert_eq(look("held"), 1, "%s", dlock_error_detail());
		cr_assert_eq(look("free"), 0, "%s", dlock_error_detail());
	}
	must(dlock_close(fd));
	end();
}

Test(rules, three_masters_stopped)
{
	const int count = 50;

	begin("node_timeout=1000");
	cr_assert_eq(look("free"), 0);
	for (int i = 0; i < 3; i++)
		servers_stop(fleet.servers, i);
	for (int i = 0; i < count; i++)
		must(dlock_looks_start(looks, i % 5 ? "free" : NULL, (uint64_t)i));
	for (int i = 0; i < count; i++) {
		uint64_t tag = NO_TAG;

		cr_assert(is_readable(looks, LONG_MS));
		fails(dlock_looks_next(looks, &tag, NULL, NULL), ENOLCK);
		cr_assert_lt(tag, count);
		cr_assert_not_null(strstr(dlock_error_detail(), "no quorum (3 of 5 masters needed)"), "%s",
		                   dlock_error_detail());
	}
	/* They leave questions unanswered and are not asked any more: it fails at once, or nearly so. */
	cr_assert_eq(look("free"), -1);
	cr_assert_eq(errno, ENOLCK);
	fails(dlock_query_with("free", NULL, NULL, fleet.options), ENOLCK);
	for (int i = 0; i < 3; i++)
		servers_cont(fleet.servers, i);
	cr_assert(FLEET_UNTIL(look("free") == 0, 20000));
	end();
}

/* Its time runs while connections are made, too. */
Test(rules, three_masters_stopped_before_the_first)
{
	const struct fleet_setup setup = {.settings = "node_timeout=1000"};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
	for (int i = 0; i < 3; i++)
		servers_stop(fleet.servers, i);
	looks = new_looks(fleet.options);
	cr_assert_eq(look("free"), -1);
	cr_assert_eq(errno, ENOLCK);
	for (int i = 0; i < 3; i++)
		servers_cont(fleet.servers, i);
	end();
}

Test(rules, no_master_runs)
{
	begin("node_timeout=1000");
	for (int i = 0; i < MASTERS; i++)
		servers_kill9(fleet.servers, i);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(look("free"), -1);
		cr_assert_eq(errno, ENOLCK);
	}
	cr_assert_lt(quickest_ms("free", -1), 1000);
	cr_assert_eq(look("free"), -1);
	cr_assert_not_null(strstr(dlock_error_detail(), servers_address(fleet.servers, 4)), "%s", dlock_error_detail());
	end();
}

/* Each on a minority, so that whichever three are heard, one of the others may still make a majority. */
Test(rules, disagreement_of_all)
{
	begin(LONG);
	make_keys("d", 0, 1, 2);
	for (int i = 2; i < 4; i++)
		free(servers_command(fleet.servers, i, "SET dlock:d0000 other PX 600000"));
	/* All five, unless one takes longer than the grace. */
	cr_assert(FLEET_UNTIL(look("d0000") == 2 && kept.last.unheard == 0, 20000), "%d, %u unheard", kept.count,
	          kept.last.unheard);
	cr_assert_eq(kept.last.masters, 2);
	cr_assert_eq(kept.last.quorum, 3);
	cr_assert_str_eq(kept.owner, "v0");
	/* Nobody else is waited for then. */
	cr_assert_lt(quickest_ms("d0000", 2), GRACE_MS);
	end();
}

/* And where one can't be heard, for the grace. Of the four others no three name nobody. */
Test(rules, disagreement_without_one)
{
	int64_t start_ms;

	begin(LONG);
	make_keys("d", 0, 1, 2);
	cr_assert_eq(look("free"), 0);
	servers_stop(fleet.servers, 4);
	start_ms = fleet_now_ms();
	cr_assert_eq(look("d0000"), 1, "%s", dlock_error_detail());
	cr_assert_geq(fleet_now_ms() - start_ms, GRACE_MS);
	cr_assert_lt(fleet_now_ms() - start_ms, LONG_MS / 2);
	cr_assert(FLEET_UNTIL(look("d0000") == 1 && kept.last.masters == 2 && kept.last.unheard == 1, 20000), "%u, %u unheard",
	          kept.last.masters, kept.last.unheard);
	/* A list has the same rules. */
	start_ms = fleet_now_ms();
	cr_assert_eq(look(NULL), 1, "%s", dlock_error_detail());
	cr_assert_geq(fleet_now_ms() - start_ms, GRACE_MS);
	cr_assert_lt(fleet_now_ms() - start_ms, LONG_MS / 2);
	servers_cont(fleet.servers, 4);
	end();
}

/* Three that have forgotten everything agree on nothing: those that know are given their grace. */
Test(rules, masters_in_quarantine_do_not_agree)
{
	int64_t start_ms;

	begin("node_timeout=60000 quorum_timeout=60000 max_ttl=600000");
	make_keys("q", 0, 1, 2);
	for (int i = 2; i < MASTERS; i++)
		cr_assert_eq(servers_restart(fleet.servers, i, false), 0);
	cr_assert(FLEET_UNTIL(fleet_voting(fleet.options) == 2, 20000));
	cr_assert(FLEET_UNTIL(look("q0000") == 1 && kept.last.unheard == 0, 20000), "%s", dlock_error_detail());
	servers_stop(fleet.servers, 0);
	servers_stop(fleet.servers, 1);
	start_ms = fleet_now_ms();
	cr_assert_eq(look("q0000"), 0, "%s", dlock_error_detail());
	cr_assert_geq(fleet_now_ms() - start_ms, GRACE_MS);
	servers_cont(fleet.servers, 0);
	servers_cont(fleet.servers, 1);
	end();
}

/* A master that has lost the script is asked again. */
Test(rules, script_is_lost)
{
	begin(LONG);
	make_keys("s", 0, 3, MASTERS);
	cr_assert_eq(look("s0001"), 1);
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(fleet_command(&fleet, 0, MASTERS, "SCRIPT FLUSH"), 0);
		cr_assert_eq(look(round == 1 ? NULL : "s0001"), round == 1 ? 3 : 1, "%s", dlock_error_detail());
	}
	cr_assert_eq(fleet_command(&fleet, 0, MASTERS, "SCRIPT FLUSH"), 0);
	cr_assert_eq(dlock_query_with("s0001", NULL, NULL, fleet.options), 1, "%s", dlock_error_detail());
	end();
}

/* ---- life ---- */

/* Its answers come when it is gone. */
Test(life, freed_while_under_way)
{
	begin(LONG);
	cr_assert_eq(look("free"), 0);
	for (int i = 0; i < MASTERS; i++)
		servers_stop(fleet.servers, i);
	for (int i = 0; i < 3000; i++)
		must(dlock_looks_start(looks, i % 100 ? "free" : NULL, (uint64_t)i));
	expect_nothing(looks);
	dlock_looks_free(looks);
	looks = new_looks(fleet.options);
	must(dlock_looks_start(looks, "free", 1));
	for (int i = 0; i < MASTERS; i++)
		servers_cont(fleet.servers, i);
	cr_assert_eq(answer(NULL), 0, "%s", dlock_error_detail());
	cr_assert_eq(look("free"), 0, "%s", dlock_error_detail());
	end();
}

/* Or never, because the connections end. */
Test(life, freed_while_under_way_and_masters_gone)
{
	begin(LONG);
	make_keys("g", 0, 100, MASTERS);
	cr_assert_eq(look("free"), 0);
	for (int i = 0; i < 3; i++)
		servers_stop(fleet.servers, i);
	for (int i = 0; i < 500; i++)
		must(dlock_looks_start(looks, i % 2 ? NULL : "g0001", (uint64_t)i));
	dlock_looks_free(looks);
	looks = new_looks(fleet.options);
	for (int i = 0; i < MASTERS; i++)
		cr_assert_eq(servers_restart(fleet.servers, i, false), 0);
	cr_assert(FLEET_UNTIL(look("free") == 0, 20000), "%s", dlock_error_detail());
	end();
}

Test(life, freed_with_what_has_ended)
{
	begin(LONG);
	make_keys("e", 0, 100, MASTERS);
	for (int i = 0; i < 100; i++)
		must(dlock_looks_start(looks, i % 10 ? "e0001" : NULL, (uint64_t)i));
	cr_assert(is_readable(looks, LONG_MS));
	cr_assert_eq(dlock_looks_next(looks, NULL, NULL, NULL) >= 0, 1);
	cr_assert(is_readable(looks, LONG_MS));
	end();
}

static int free_the_set(const struct dlock_holder *holder, void *arg)
{
	(void)holder;
	dlock_looks_free(*(struct dlock_looks **)arg);
	*(struct dlock_looks **)arg = NULL;
	return 0;
}

static int start_another(const struct dlock_holder *holder, void *arg)
{
	return dlock_looks_start(arg, holder->name, 8);
}

Test(life, callback_may_use_the_set_and_free_it)
{
	uint64_t tag = NO_TAG;

	begin(LONG);
	make_keys("c", 0, 1, MASTERS);
	must(dlock_looks_start(looks, "c0000", 7));
	cr_assert(is_readable(looks, LONG_MS));
	cr_assert_eq(dlock_looks_next(looks, &tag, start_another, looks), 1);
	cr_assert_eq(tag, 7);
	cr_assert(is_readable(looks, LONG_MS));
	cr_assert_eq(dlock_looks_next(looks, &tag, free_the_set, &looks), 1);
	cr_assert_eq(tag, 8);
	cr_assert_null(looks);
	end();
}

/* In a child: 0, or the number of the step that went wrong. */
static int use_in_child(void)
{
	struct dlock_looks *own;
	uint64_t tag = NO_TAG;
	struct pollfd polled;

	if (dlock_looks_start(looks, "c0000", 1) != -1 || errno != ECHILD || !strstr(dlock_error_detail(), "fork"))
		return 1;
	if (dlock_looks_next(looks, &tag, NULL, NULL) != -1 || errno != ECHILD || tag != NO_TAG)
		return 2;
	own = dlock_looks_new(fleet.options);
	if (!own || dlock_looks_start(own, "c0000", 3) != 0)
		return 3;
	/* With a keeper of its own it is still the parent's. */
	if (dlock_looks_start(looks, "c0000", 1) != -1 || errno != ECHILD)
		return 4;
	dlock_looks_free(looks);
	polled = (struct pollfd){.fd = dlock_looks_fd(own), .events = POLLIN};
	if (poll(&polled, 1, LONG_MS) != 1 || dlock_looks_next(own, &tag, NULL, NULL) != 1 || tag != 3)
		return 5;
	dlock_looks_free(own);
	return 0;
}

Test(life, fork)
{
	int status;
	pid_t child;

	begin(LONG);
	make_keys("c", 0, 1, MASTERS);
	/* One that has ended, and some that are under way. */
	must(dlock_looks_start(looks, "c0000", 1));
	cr_assert(is_readable(looks, LONG_MS));
	for (uint64_t i = 2; i < 100; i++)
		must(dlock_looks_start(looks, "c0000", i));
	child = fork();
	if (child == 0)
		_exit(use_in_child());
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's status is %#x", (unsigned)status);
	for (int i = 1; i < 100; i++)
		cr_assert_eq(answer(NULL), 1, "%s", dlock_error_detail());
	expect_nothing(looks);
	end();
}

/* Opened with a resolved object, as a daemon does it: the file has other masters by then. */
Test(life, resolved_options)
{
	struct dlock_options *options;
	char path[200];
	FILE *file;
	int fd;

	begin(LONG);
	snprintf(path, sizeof(path), "%s/dlock.conf", servers_dir(fleet.servers));
	file = fopen(path, "we");
	cr_assert(file && fprintf(file, "servers = %s\nttl = 1000\nmax_ttl = 4500\nnode_timeout = 60000\n",
	                          servers_list(fleet.servers)) > 0 && fclose(file) == 0);
	setenv("DLOCK_CONFIG", path, 1);
	options = dlock_options_new();
	cr_assert_eq(dlock_options_resolve(options), 0, "%s", dlock_error_detail());
	cr_assert_str_eq(dlock_options_get(options, "servers"), servers_list(fleet.servers));
	setenv("DLOCK_TTL", "soon", 1);
	file = fopen(path, "we");
	cr_assert(file && fputs("servers = 127.0.0.1:1\n", file) >= 0 && fclose(file) == 0);
	fd = dlock_open_with("resolved", DLOCK_CLOEXEC, options);
	cr_assert(fd >= 0, "%s", dlock_error_detail());
	must(dlock_lock(fd));
	cr_assert_eq(dlock_query_with("resolved", NULL, NULL, options), 1, "%s", dlock_error_detail());
	dlock_looks_free(looks);
	looks = new_looks(options);
	dlock_options_free(options);
	cr_assert_eq(look("resolved"), 1, "%s", dlock_error_detail());
	must(dlock_close(fd));
	end();
}

/* ---- what masters say of a holder ---- */

#define TRIO 3

static struct liar *liars[TRIO];

/* Three masters, whose answers to Q and L are the test's. */
static void begin_trio(void)
{
	cr_assert_eq(fleet_start_behind(&fleet, liars, TRIO, LONG), 0);
	looks = new_looks(fleet.options);
}

static void end_trio(void)
{
	end();
	for (int i = 0; i < TRIO; i++)
		liar_stop(liars[i]);
}

#define OWNER "00061f0c0a0b0c0d-0123456789abcdef0123456789abcdef-host/7/program"

/* The clock is not read in Q and L; a liar knows no length of "@", so none is given. */
struct say {
	char bytes[1024];
	size_t size;
};

static void say(struct say *to, const char *bytes, size_t size)
{
	cr_assert_leq(to->size + size, sizeof(to->bytes));
	memcpy(to->bytes + to->size, bytes, size);
	to->size += size;
}

static void say_string(struct say *to, const char *bytes, size_t size)
{
	char head[32];

	say(to, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", size));
	say(to, bytes, size);
	say(to, "\r\n", 2);
}

/* {1, us, found, {}, 0} for a name; {1, us, "0", found, 0} for the list: nobody waits. say_queue() ends it. */
static void say_found(struct say *to, bool lists, const char *key, const char *type, int elements)
{
	char head[64];

	to->size = 0;
	say(to, head, (size_t)snprintf(head, sizeof(head), "*5\r\n:1\r\n:0\r\n%s*%d\r\n", lists ? "$1\r\n0\r\n" : "",
	                               elements));
	say_string(to, key, strlen(key));
	say_string(to, "1000000", 7);
	say_string(to, type, strlen(type));
}

static void say_owner(struct say *to, const char *owner)
{
	say_string(to, owner, strlen(owner));
	say(to, ":500\r\n", 6);
}

static void say_queue(struct say *to, bool lists)
{
	const char *queue = lists ? ":0\r\n" : "*0\r\n:0\r\n";

	say(to, queue, strlen(queue));
}

static struct say said[TRIO];

static void lies(char operation)
{
	for (int i = 0; i < TRIO; i++) {
		const struct liar_lie lie = {.operation = operation, .bytes = said[i].bytes, .size = said[i].size,
		                             .cut_after = -1, .times = -1};

		liar_lie(liars[i], &lie);
	}
}

/* Each master in turn says {version, data}; NULL: neither. */
static void say_data(int i, bool lists, const char *version, const char *data, size_t size)
{
	say_found(&said[i], lists, "dlock:name", "string", version ? 7 : 5);
	say_owner(&said[i], OWNER);
	if (version) {
		say_string(&said[i], version, strlen(version));
		say_string(&said[i], data, size);
	}
	say_queue(&said[i], lists);
}

static void expect_data(const char *data, size_t size)
{
	cr_assert_eq(kept.count, 1);
	cr_assert_str_eq(kept.owner, OWNER);
	cr_assert_str_eq(kept.program, "program");
	cr_assert_eq(kept.last.token, 2000000);
	cr_assert_eq(kept.last.data_size, size, "%zu bytes", kept.last.data_size);
	cr_assert_eq(memcmp(kept.data, data, size), 0);
}

/* Two of three have the last version, whichever are heard. */
static void expect_latest(bool lists, const char *old, const char *new)
{
	static const char first[] = "first", second[] = "sec\0nd\r\n";

	for (int late = 0; late < TRIO; late++) {
		for (int i = 0; i < TRIO; i++)
			say_data(i, lists, i == late ? old : new, i == late ? first : second,
			         i == late ? sizeof(first) - 1 : sizeof(second));
		lies(lists ? 'L' : 'Q');
		for (int times = 0; times < 5; times++) {
			cr_assert_eq(look(lists ? NULL : "name"), 1, "%s", dlock_error_detail());
			expect_data(second, sizeof(second));
		}
		memset(&kept, 0, sizeof(kept));
		cr_assert_eq(lists ? dlock_list_with(keep, &kept, fleet.options)
		                   : dlock_query_with("name", keep, &kept, fleet.options), 1);
		expect_data(second, sizeof(second));
	}
}

Test(told, latest_data_of_a_name)
{
	begin_trio();
	expect_latest(false, "9", "10");
	expect_latest(false, NULL, "0");
	expect_latest(false, "1", "9007199254740993");
	end_trio();
}

Test(told, latest_data_of_a_list)
{
	begin_trio();
	expect_latest(true, "9", "10");
	expect_latest(true, NULL, "1");
	end_trio();
}

Test(told, no_data)
{
	begin_trio();
	for (int i = 0; i < TRIO; i++)
		say_data(i, false, NULL, NULL, 0);
	lies('Q');
	cr_assert_eq(look("name"), 1);
	expect_data("", 0);
	/* Taken away in a later version. */
	for (int i = 0; i < TRIO; i++)
		say_data(i, false, i ? "3" : "2", i ? "" : "data", i ? 0 : 4);
	lies('Q');
	cr_assert_eq(look("name"), 1);
	expect_data("", 0);
	/* A version that is no number is none. */
	for (int i = 0; i < TRIO; i++)
		say_data(i, false, i ? "soon" : "2", i ? "no data" : "data", i ? 7 : 4);
	lies('Q');
	cr_assert_eq(look("name"), 1);
	cr_assert(kept.last.data_size == 0 || memcmp(kept.data, "data", 4) == 0);
	end_trio();
}

/* Of readers each element is an owner or a time, however many there are. */
Test(told, readers_have_no_data)
{
	begin_trio();
	for (int i = 0; i < TRIO; i++) {
		say_found(&said[i], false, "dlock:name", "zset", 9);
		say_owner(&said[i], OWNER);
		say_owner(&said[i], OWNER "2");
		say_owner(&said[i], OWNER "3");
		say_queue(&said[i], false);
	}
	lies('Q');
	cr_assert_eq(look("name"), 3);
	cr_assert_eq(kept.last.mode, LOCK_SH);
	cr_assert_eq(kept.last.token, 2000001);
	cr_assert_null(kept.last.data);
	end_trio();
}

/* What nobody asked for: other keys, and keys that are shorter than the prefix. */
Test(told, answers_about_other_keys)
{
	static const char *const keys[] = {"", "dlock", "dlock:", "dlock:nam", "dlock:name2", "other:name"};

	begin_trio();
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
		for (int i = 0; i < TRIO; i++) {
			say_found(&said[i], false, keys[k], "string", 5);
			say_owner(&said[i], OWNER);
			say_queue(&said[i], false);
		}
		lies('Q');
		cr_assert_eq(look("name"), 0, "\"%s\" was taken", keys[k]);
		for (int i = 0; i < TRIO; i++) {
			say_found(&said[i], true, keys[k], "string", 5);
			say_owner(&said[i], OWNER);
			say_queue(&said[i], true);
		}
		lies('L');
		cr_assert_eq(look(NULL), strncmp(keys[k], "dlock:n", 7) == 0, "\"%s\"", keys[k]);
	}
	end_trio();
}

/* A master counts once, in what is told and in whether a majority agrees. */
Test(told, holder_named_twice_by_each)
{
	begin_trio();
	for (int i = 0; i < TRIO; i++) {
		say_found(&said[i], false, "dlock:name", "zset", i ? 7 : 9);
		say_owner(&said[i], OWNER);
		say_owner(&said[i], OWNER);
		if (i == 0)
			say_owner(&said[i], OWNER "2");
		say_queue(&said[i], false);
	}
	lies('Q');
	/* All three have to be heard because of the one whom only one names. */
	cr_assert(FLEET_UNTIL(look("name") == 2 && kept.last.unheard == 0, 10000), "%d, %u unheard", kept.count,
	          kept.last.unheard);
	cr_assert_str_eq(kept.owner, OWNER "2");
	cr_assert_eq(kept.last.masters, 1);
	for (int i = 0; i < TRIO; i++) {
		say_found(&said[i], false, "dlock:name", "zset", 7);
		say_owner(&said[i], OWNER);
		say_owner(&said[i], OWNER);
		say_queue(&said[i], false);
	}
	lies('Q');
	cr_assert(FLEET_UNTIL(look("name") == 1 && kept.last.masters + kept.last.unheard == TRIO, 10000), "%u and %u",
	          kept.last.masters, kept.last.unheard);
	end_trio();
}
