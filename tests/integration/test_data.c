/*
 * test_data.c - dlock_set_data() against real servers: what travels with a lock.
 *
 * What others see is asked of dlock_query(), and what is on a master of the master
 * itself. The script is called by hand where an order of requests is wanted that a
 * connection never gives.
 */
#include <criterion/criterion.h>

#include "tests/harness/fleet.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "script.h"

TestSuite(data, .timeout = 100);
TestSuite(script, .timeout = 100);

static struct fleet fleet;

static void begin_with(const char *settings, enum servers_persistence persistence)
{
	const struct fleet_setup setup = {.servers = {.persistence = persistence}, .settings = settings};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
}

static void begin(void)
{
	begin_with(NULL, SERVERS_NONE);
}

static void end(void)
{
	fleet_end(&fleet);
}

/* ---- small words ---- */

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())
#define fails(call, code) \
	do { \
		errno = 0; \
		cr_assert_eq((call), -1, "%s succeeded", #call); \
		cr_assert_eq(errno, (code), "%s: %s instead of " #code " (%s)", #call, strerror(errno), dlock_error_detail()); \
	} while (0)
#define says(words) cr_assert_not_null(strstr(dlock_error_detail(), words), "%s", dlock_error_detail())

static struct dlock_stat stat_of(int fd)
{
	struct dlock_stat stat;

	must(dlock_stat(fd, &stat, sizeof(stat)));
	return stat;
}

static int open_flags(const char *name, int flags)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC | flags, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 5000), "%u vote", stat_of(fd).masters_up);
	return fd;
}

static int open_lock(const char *name)
{
	return open_flags(name, 0);
}

static void set_text(int fd, const char *text)
{
	must(dlock_set_data(fd, text, strlen(text)));
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, timeout_ms) == 1;
}

static void strike(int count)
{
	for (int i = 0; i < count; i++)
		servers_stop(fleet.servers, i);
}

static void revive(int count)
{
	for (int i = 0; i < count; i++)
		servers_cont(fleet.servers, i);
}

/* ---- what others see ---- */

struct told {
	int holders;
	bool any; /* data */
	size_t size;
	char bytes[DLOCK_DATA_MAX];
};

static struct told told;

static int take_down(const struct dlock_holder *holder, void *arg)
{
	const char *name = arg;

	if (name && strcmp(holder->name, name) != 0)
		return 0;
	told.holders++;
	told.any = holder->data != NULL;
	told.size = holder->data_size;
	cr_assert_leq(told.size, sizeof(told.bytes));
	if (told.size > 0)
		memcpy(told.bytes, holder->data, told.size);
	return 0;
}

static bool is_told(const char *name, const void *bytes, size_t size)
{
	memset(&told, 0, sizeof(told));
	cr_assert_geq(dlock_query_with(name, take_down, NULL, fleet.options), 0, "%s", dlock_error_detail());
	return told.holders == 1 && told.any == (size > 0) && told.size == size && memcmp(told.bytes, bytes, size) == 0;
}

#define tells(name, expected, length) \
	cr_assert(is_told(name, expected, length), "%d holders, %zu bytes: %.64s", told.holders, told.size, told.bytes)
#define tells_text(name, expected) tells(name, expected, strlen(expected))

static bool is_on(int master, const char *name, const char *field, const char *expected)
{
	char *reply = servers_command(fleet.servers, master, "HGET dlock!data:dlock:%s %s", name, field);
	bool same = reply && strcmp(reply, expected) == 0;

	free(reply);
	return same;
}

/* On all five in the end: the call has waited for three. */
static void on_all(const char *name, const char *text)
{
	for (int i = 0; i < 5; i++)
		cr_assert(FLEET_UNTIL(is_on(i, name, "d", text), 2000), "master %d", i);
}

static void fill(char *bytes, size_t size)
{
	unsigned state = 1;

	for (size_t i = 0; i < size; i++) {
		state = state * 1103515245u + 12345u;
		bytes[i] = (char)(state >> 16); /* any byte, NUL too */
	}
}

/* ---- set and seen ---- */

Test(data, set_before_the_lock)
{
	int fd;

	begin();
	fd = open_lock("before");
	set_text(fd, "hello");
	cr_assert_eq(fleet_cargoes(&fleet, "before"), 0);
	must(dlock_lock(fd));
	tells_text("before", "hello");
	on_all("before", "hello");
	for (int i = 0; i < 5; i++) {
		char *owner = servers_command(fleet.servers, i, "GET dlock:before");

		cr_assert(is_on(i, "before", "t", owner), "%s", owner);
		cr_assert(is_on(i, "before", "v", "1"));
		free(owner);
	}
	/* It lives as long as the lock. */
	cr_assert_not(readable(fd, 2 * FLEET_TTL_MS));
	tells_text("before", "hello");
	must(dlock_close(fd));
	end();
}

Test(data, set_while_held)
{
	int fd;
	char text[32];

	begin();
	fd = open_lock("while");
	must(dlock_lock(fd));
	tells("while", "", 0);
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "number %d", i);
		set_text(fd, text);
		tells_text("while", text);
	}
	on_all("while", "number 49");
	must(dlock_set_data(fd, NULL, 0));
	tells("while", "", 0);
	set_text(fd, "again");
	tells_text("while", "again");
	must(dlock_verify(fd));
	must(dlock_close(fd));
	end();
}

Test(data, every_size)
{
	static char bytes[DLOCK_DATA_MAX + 1];
	static const size_t sizes[] = {1, 2, 127, 128, 129, 4096, 65536, DLOCK_DATA_MAX};
	int fd;

	begin_with("ttl=4000 node_timeout=3000", SERVERS_NONE);
	fill(bytes, sizeof(bytes));
	fd = open_lock("size");
	must(dlock_lock(fd));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t head = sizes[i] < 128 ? sizes[i] : 128;

		must(dlock_set_data(fd, bytes, sizes[i]));
		tells("size", bytes, sizes[i]);
		/* The list tells the beginning. */
		memset(&told, 0, sizeof(told));
		cr_assert_eq(dlock_list_with(take_down, NULL, fleet.options), 1);
		cr_assert_eq(told.size, head);
		cr_assert_arr_eq(told.bytes, bytes, head);
	}
	/* Too much, or nothing that can be read, changes nothing. */
	fails(dlock_set_data(fd, bytes, DLOCK_DATA_MAX + 1), E2BIG);
	says("524289 bytes are more than can travel with a lock");
	fails(dlock_set_data(fd, NULL, 1), EINVAL);
	must(dlock_verify(fd));
	tells("size", bytes, DLOCK_DATA_MAX);
	/* With the votes, too. */
	must(dlock_unlock(fd));
	must(dlock_lock(fd));
	tells("size", bytes, DLOCK_DATA_MAX);
	must(dlock_set_data(fd, "", 0));
	tells("size", "", 0);
	must(dlock_close(fd));
	cr_assert(fleet_cargoes_become(&fleet, "size", 0));
	end();
}

Test(data, it_stays_with_the_descriptor)
{
	int fd, other;

	begin();
	fd = open_lock("stays");
	other = open_lock("stays");
	set_text(fd, "mine");
	for (int i = 0; i < 3; i++) {
		must(dlock_lock(fd));
		tells_text("stays", "mine");
		must(dlock_unlock(fd));
		cr_assert(fleet_cargoes_become(&fleet, "stays", 0));
		/* Another's lock, with none, tells none. */
		must(dlock_lock(other));
		tells("stays", "", 0);
		must(dlock_unlock(other));
	}
	must(dlock_close(fd));
	must(dlock_close(other));
	end();
}

Test(data, shared_locks_carry_none)
{
	int fd;

	begin();
	fd = open_lock("shared");
	set_text(fd, "one");
	must(dlock_flock(fd, LOCK_SH));
	tells("shared", "", 0);
	cr_assert_eq(fleet_cargoes(&fleet, "shared"), 0);
	set_text(fd, "two");
	must(dlock_flock(fd, LOCK_EX | LOCK_NB));
	tells_text("shared", "two");
	must(dlock_flock(fd, LOCK_SH));
	tells("shared", "", 0);
	cr_assert(fleet_cargoes_become(&fleet, "shared", 0));
	must(dlock_flock(fd, LOCK_EX | LOCK_NB));
	tells_text("shared", "two");
	must(dlock_close(fd));
	cr_assert(fleet_cargoes_become(&fleet, "shared", 0));
	end();
}

/* ---- the end of it ---- */

Test(data, every_way_to_give_back_takes_it_away)
{
	begin();
	for (int way = 0; way < 4; way++) {
		int fd = open_lock("back");

		set_text(fd, "one");
		must(dlock_lock(fd));
		if (way > 0)
			set_text(fd, "two");
		if (way == 3) /* only the key is gone from one */
			must(fleet_command(&fleet, 1, 1, "DEL dlock:back"));
		if (way % 2)
			must(dlock_unlock(fd));
		cr_assert_eq(way < 2 ? dlock_close(fd) : close(fd), 0);
		cr_assert(fleet_cargoes_become(&fleet, "back", 0), "way %d", way);
		cr_assert(fleet_keys_become(&fleet, "back", 0), "way %d", way);
	}
	end();
}

Test(data, dead_holder_leaves_none_when_its_lease_has_ended)
{
	struct peer peer = {0};
	int fd;

	begin();
	must(peer_start(&peer, fleet.options));
	fd = (int)peer_open(&peer, "dead");
	must(peer_data(&peer, fd, "a"));
	must(peer_lock(&peer, fd, LOCK_EX));
	must(peer_data(&peer, fd, "b"));
	tells_text("dead", "b");
	peer_kill(&peer);
	cr_assert_geq(fleet_cargoes(&fleet, "dead"), 3);
	cr_assert(FLEET_UNTIL(fleet_cargoes(&fleet, "dead") == 0, FLEET_TTL_MS + 2000));
	cr_assert_eq(fleet_keys(&fleet, "dead"), 0);
	end();
}

Test(data, break_takes_it_away)
{
	int fd;

	begin();
	fd = open_lock("break");
	set_text(fd, "one");
	must(dlock_lock(fd));
	must(dlock_break_with("break", fleet.options));
	cr_assert(fleet_cargoes_become(&fleet, "break", 0));
	fails(dlock_set_data(fd, "two", 3), ESTALE);
	fails(dlock_set_data(fd, "three", 5), ESTALE);
	cr_assert_eq(fleet_cargoes(&fleet, "break"), 0);
	/* What was set last travels with the next lock. */
	must(dlock_unlock(fd));
	must(dlock_lock(fd));
	tells_text("break", "three");
	must(dlock_close(fd));
	end();
}

/* Of a holder that can't take it away itself. */
Test(data, break_of_a_dead_holders_lock_takes_it_away)
{
	struct peer peer = {0};
	int fd;

	begin_with("ttl=4000", SERVERS_NONE);
	must(peer_start(&peer, fleet.options));
	fd = (int)peer_open(&peer, "dead and broken");
	must(peer_data(&peer, fd, "one"));
	must(peer_lock(&peer, fd, LOCK_EX));
	cr_assert(fleet_cargoes_become(&fleet, "dead and broken", 5));
	peer_kill(&peer);
	must(dlock_break_with("dead and broken", fleet.options));
	cr_assert(fleet_cargoes_become(&fleet, "dead and broken", 0));
	end();
}

/* ---- masters that fail ---- */

Test(data, flushed_masters_get_it_back)
{
	int fd;

	begin_with("quarantine=off", SERVERS_NONE);
	fd = open_lock("flushed");
	set_text(fd, "kept");
	must(dlock_lock(fd));
	for (int i = 0; i < 5; i++) {
		must(servers_flush(fleet.servers, i));
		must(dlock_verify(fd));
		cr_assert(FLEET_UNTIL(is_on(i, "flushed", "d", "kept"), 5000), "master %d", i);
		tells_text("flushed", "kept");
	}
	must(dlock_close(fd));
	end();
}

static void restart_all(enum servers_persistence persistence, const char *settings, bool keep)
{
	int fd;

	begin_with(settings, persistence);
	fd = open_lock("restarted");
	must(dlock_lock(fd));
	set_text(fd, "kept");
	for (int i = 0; i < 5; i++) {
		must(servers_restart(fleet.servers, i, keep));
		cr_assert(FLEET_UNTIL(is_on(i, "restarted", "d", "kept") && stat_of(fd).masters_held == 5, 8000), "master %d", i);
		tells_text("restarted", "kept");
	}
	must(dlock_close(fd));
	cr_assert(fleet_cargoes_become(&fleet, "restarted", 0));
	end();
}

Test(data, restarted_masters_get_it_back) { restart_all(SERVERS_NONE, "quarantine=off", false); }
Test(data, restarted_masters_keep_it) { restart_all(SERVERS_ALWAYS, NULL, true); }

/* The key and what travels with it, gone by themselves: the one comes back with the other. */
Test(data, what_was_deleted_by_hand_comes_back)
{
	int fd;

	begin();
	fd = open_lock("deleted");
	set_text(fd, "kept");
	must(dlock_lock(fd));
	must(fleet_command(&fleet, 0, 1, "DEL dlock:deleted dlock!data:dlock:deleted"));
	must(fleet_command(&fleet, 1, 1, "DEL dlock!data:dlock:deleted"));
	must(fleet_command(&fleet, 2, 1, "DEL dlock:deleted"));
	on_all("deleted", "kept");
	cr_assert(fleet_keys_become(&fleet, "deleted", 5));
	must(dlock_close(fd));
	end();
}

Test(data, two_stopped_masters_are_not_waited_for)
{
	int64_t start_ms;
	int fd;

	begin_with("ttl=4000 node_timeout=3000", SERVERS_NONE);
	fd = open_lock("two stopped");
	must(dlock_lock(fd));
	strike(2);
	start_ms = fleet_now_ms();
	set_text(fd, "one");
	set_text(fd, "two");
	cr_assert_lt(fleet_now_ms() - start_ms, 1500);
	revive(2);
	on_all("two stopped", "two");
	must(dlock_close(fd));
	end();
}

Test(data, three_stopped_masters_end_the_call_and_not_the_lock)
{
	int64_t start_ms, took_ms;
	uint64_t token;
	int fd;

	begin_with("ttl=4000 node_timeout=300", SERVERS_NONE);
	fd = open_lock("three stopped");
	must(dlock_lock(fd));
	token = dlock_token(fd);
	strike(3);
	start_ms = fleet_now_ms();
	fails(dlock_set_data(fd, "late", 4), ENOLCK);
	took_ms = fleet_now_ms() - start_ms;
	says("the data have reached 2 of 5 masters, and 3 are needed; the lock is held");
	cr_assert(took_ms >= 300 && took_ms < 2000, "%d ms", (int)took_ms);
	cr_assert_gt(dlock_remaining(fd), 0);
	revive(3);
	/* A later renewal brings it. */
	on_all("three stopped", "late");
	tells_text("three stopped", "late");
	cr_assert_eq(dlock_token(fd), token);
	must(dlock_close(fd));
	end();
}

static void set_memory(const char *limit)
{
	char command[64];

	snprintf(command, sizeof(command), "CONFIG SET maxmemory %s", limit);
	must(fleet_command(&fleet, 0, 5, command));
}

Test(data, full_masters_refuse_it_and_keep_the_lock)
{
	int fd;

	begin();
	fd = open_lock("full");
	set_text(fd, "one");
	must(dlock_lock(fd));
	on_all("full", "one");
	set_memory("1");
	fails(dlock_set_data(fd, "two", 3), ENOLCK);
	says("the data have reached 0 of 5 masters");
	says("have no memory for them");
	cr_assert_not(readable(fd, 2 * FLEET_TTL_MS), "lost");
	must(dlock_verify(fd));
	tells_text("full", "one");
	/* Giving back works; with data there is no vote, as without. */
	must(dlock_unlock(fd));
	cr_assert(fleet_keys_become(&fleet, "full", 0) && fleet_cargoes_become(&fleet, "full", 0));
	fails(dlock_trylock(fd), ENOLCK);
	set_memory("0");
	must(dlock_trylock(fd));
	tells_text("full", "two");
	must(dlock_close(fd));
	end();
}

/* ---- what it costs ---- */

static long info_of(int master, const char *section, const char *field)
{
	char *text = servers_command(fleet.servers, master, "INFO %s", section), *at = text ? strstr(text, field) : NULL;
	long number = at ? atol(at + strlen(field)) : 0;

	free(text);
	return number;
}

Test(data, locks_without_it_ask_for_nothing)
{
	int fd;

	begin();
	fd = open_lock("bare");
	must(fleet_command(&fleet, 0, 5, "CONFIG RESETSTAT"));
	must(dlock_lock(fd));
	must(dlock_verify(fd));
	must(dlock_set_data(fd, NULL, 0));
	must(dlock_flock(fd, LOCK_SH));
	must(dlock_flock(fd, LOCK_EX | LOCK_NB));
	must(dlock_unlock(fd));
	cr_assert(fleet_keys_become(&fleet, "bare", 0));
	for (int i = 0; i < 5; i++) {
		cr_assert_geq(info_of(i, "commandstats", "cmdstat_evalsha:calls="), 5);
		cr_assert_eq(info_of(i, "commandstats", "cmdstat_hmget:calls="), 0);
		cr_assert_eq(info_of(i, "commandstats", "cmdstat_hset:calls="), 0);
		/* One of the key itself each. */
		cr_assert_leq(info_of(i, "commandstats", "cmdstat_del:calls="), 2);
		cr_assert_leq(info_of(i, "commandstats", "cmdstat_pexpireat:calls="), 4);
	}
	must(dlock_close(fd));
	end();
}

Test(data, renewals_carry_no_bytes_that_are_confirmed)
{
	static char bytes[DLOCK_DATA_MAX];
	int fd;

	begin_with("ttl=4000 node_timeout=3000", SERVERS_NONE);
	fill(bytes, sizeof(bytes));
	fd = open_lock("light");
	must(dlock_set_data(fd, bytes, sizeof(bytes)));
	must(dlock_lock(fd));
	cr_assert(fleet_cargoes_become(&fleet, "light", 5));
	must(dlock_verify(fd));
	must(fleet_command(&fleet, 0, 5, "CONFIG RESETSTAT"));
	for (int i = 0; i < 10; i++)
		must(dlock_verify(fd));
	for (int i = 0; i < 5; i++)
		cr_assert_lt(info_of(i, "stats", "total_net_input_bytes:"), 20000);
	must(dlock_close(fd));
	end();
}

/* How a call on a descriptor that does not block has ended. */
static int ended(int fd)
{
	cr_assert(readable(fd, 20000));
	return dlock_result(fd);
}

static int outcome(int fd, int result)
{
	return result < 0 && errno == EINPROGRESS ? ended(fd) : result;
}

/* More than is ever queued for one master: the renewals go without the bytes, and prove what they proved. */
Test(data, more_than_a_queue_takes_costs_no_lease)
{
	enum { LOCKS = 40 };
	static char bytes[DLOCK_DATA_MAX];
	int fds[LOCKS];
	char name[16];

	begin_with("ttl=4000 node_timeout=3000", SERVERS_NONE);
	fill(bytes, sizeof(bytes));
	for (int i = 0; i < LOCKS; i++) {
		snprintf(name, sizeof(name), "much %d", i);
		fds[i] = open_flags(name, DLOCK_NONBLOCK);
		must(outcome(fds[i], dlock_lock(fds[i])));
	}
	strike(3);
	for (int i = 0; i < LOCKS; i++)
		fails(dlock_set_data(fds[i], bytes, sizeof(bytes)), EINPROGRESS);
	revive(3);
	for (int i = 0; i < LOCKS; i++)
		if (ended(fds[i]) < 0)
			cr_assert_eq(errno, ENOLCK, "%d: %s", i, strerror(errno));
	for (int i = 0; i < LOCKS; i++) {
		must(outcome(fds[i], dlock_verify(fds[i])));
		snprintf(name, sizeof(name), "much %d", i);
		cr_assert(FLEET_UNTIL(fleet_cargoes(&fleet, name) == 5, 20000), "%s: %d", name, fleet_cargoes(&fleet, name));
	}
	for (int i = 0; i < LOCKS; i++)
		must(dlock_close(fds[i]));
	end();
}

/* ---- calls ---- */

Test(data, nonblocking)
{
	int fd, result;

	begin_with("ttl=4000 node_timeout=300", SERVERS_NONE);
	fd = open_flags("nonblocking", DLOCK_NONBLOCK);
	set_text(fd, "before"); /* at once */
	must(dlock_result(fd));
	result = dlock_lock(fd);
	cr_assert(result == 0 || errno == EINPROGRESS);
	cr_assert(readable(fd, 5000));
	must(dlock_result(fd));
	tells_text("nonblocking", "before");
	fails(dlock_set_data(fd, "while", 5), EINPROGRESS);
	cr_assert(readable(fd, 5000));
	must(dlock_result(fd));
	tells_text("nonblocking", "while");
	cr_assert_not(readable(fd, 0));
	strike(3);
	fails(dlock_set_data(fd, "late", 4), EINPROGRESS);
	fails(dlock_set_data(fd, "meanwhile", 9), EALREADY);
	cr_assert(readable(fd, 5000));
	fails(dlock_result(fd), ENOLCK);
	says("the data have reached 2 of 5 masters");
	revive(3);
	on_all("nonblocking", "late");
	fails(dlock_set_data(fd, "last", 4), EINPROGRESS);
	cr_assert(readable(fd, 5000));
	must(dlock_result(fd));
	must(dlock_close(fd)); /* also right behind a call */
	end();
}

Test(data, closed_while_it_is_under_way)
{
	begin_with("ttl=4000 node_timeout=3000", SERVERS_NONE);
	for (int way = 0; way < 2; way++) {
		int fd = open_flags("closed", DLOCK_NONBLOCK);

		cr_assert(dlock_lock(fd) == 0 || errno == EINPROGRESS);
		cr_assert(readable(fd, 5000));
		must(dlock_result(fd));
		strike(3);
		fails(dlock_set_data(fd, "never", 5), EINPROGRESS);
		revive(3);
		cr_assert_eq(way ? dlock_close(fd) : close(fd), 0);
		cr_assert(fleet_keys_become(&fleet, "closed", 0) && fleet_cargoes_become(&fleet, "closed", 0));
	}
	end();
}

/* It does not wait for the lock, and that comes with it. */
Test(data, set_while_another_thread_waits_for_the_lock)
{
	struct waiter waiter;
	int holder, fd;

	begin();
	holder = open_lock("waiting");
	fd = open_lock("waiting");
	must(dlock_lock(holder));
	set_text(fd, "early");
	cr_assert_eq(waiter_start(&waiter, fd, LOCK_EX, -1), 0);
	cr_assert(FLEET_UNTIL(stat_of(waiter.fd).state == DLOCK_STATE_WAITING, 5000));
	for (int i = 0; i < 20; i++) {
		set_text(waiter.fd, i % 2 ? "odd" : "even");
		fleet_sleep_ms(7);
	}
	cr_assert_not(atomic_load(&waiter.finished));
	must(dlock_unlock(holder));
	cr_assert(waiter_join(&waiter, 5000));
	cr_assert_eq(waiter.result, 0, "%s", strerror(waiter.error));
	tells_text("waiting", "odd");
	must(dlock_close(waiter.fd));
	must(dlock_close(holder));
	end();
}

static void do_nothing(int number)
{
	(void)number;
}

Test(data, interrupted)
{
	struct sigaction action = {.sa_handler = do_nothing};
	struct itimerval soon = {.it_value = {.tv_usec = 100000}};
	int fd;

	begin_with("ttl=4000 node_timeout=3000", SERVERS_NONE);
	fd = open_lock("interrupted");
	must(dlock_lock(fd));
	strike(3);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	fails(dlock_set_data(fd, "kept", 4), EINTR);
	revive(3);
	on_all("interrupted", "kept");
	must(dlock_close(fd));
	end();
}

Test(data, wrong_descriptors)
{
	int fd, status, ends[2];
	pid_t child;

	begin();
	fd = open_lock("wrong");
	must(pipe(ends));
	fails(dlock_set_data(-1, "x", 1), EBADF);
	fails(dlock_set_data(ends[0], "x", 1), EBADF);
	child = fork();
	if (child == 0)
		_exit(dlock_set_data(fd, "x", 1) == -1 && errno == ECHILD ? 0 : 1);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	must(dlock_close(fd));
	fails(dlock_set_data(fd, "x", 1), EBADF);
	close(ends[0]);
	close(ends[1]);
	end();
}

/* ---- the script itself ---- */

/* What a client knows of one master: as arguments for calls by hand. */
static struct {
	char *epoch, *owner, *fence;
} known;

static void know(const char *name)
{
	known.epoch = servers_command(fleet.servers, 0, "GET dlock!epoch");
	known.owner = servers_command(fleet.servers, 0, "GET dlock:%s", name);
	known.fence = servers_command(fleet.servers, 0, "ZSCORE dlock!fence dlock:%s", name);
	cr_assert(known.epoch && known.owner && known.fence);
}

static void forget(void)
{
	free(known.epoch);
	free(known.owner);
	free(known.fence);
}

/* The fields of an answer, but the clock, in one line. */
static const char *answer_of(char *reply)
{
	static char line[256];
	char *rest = NULL;
	unsigned field = 0;

	line[0] = '\0';
	for (char *word = strtok_r(reply, "\n", &rest); word; word = strtok_r(NULL, "\n", &rest), field++)
		if (field != 1)
			snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s%s", field ? " " : "",
			         strcmp(word, known.fence) == 0 ? "F" : word);
	free(reply);
	return line;
}

#define answers(expected, format, ...) \
	do { \
		const char *answer_ = answer_of( \
		    servers_command(fleet.servers, 0, "EVALSHA %s 1 dlock:script " format, script_sha(), __VA_ARGS__)); \
		cr_assert_str_eq(answer_, expected); \
	} while (0)
#define extend(expected, repair, more) \
	answers(expected, "E %s %s X 60000 " repair " %s 0 " more, known.epoch, known.owner, known.fence)

/* The lock is another connection's here: no keeper of this process is in the way. */
static void take_by_hand(struct peer *peer)
{
	int fd;

	must(peer_start(peer, fleet.options));
	fd = (int)peer_open(peer, "script");
	must(peer_data(peer, fd, "own"));
	must(peer_lock(peer, fd, LOCK_EX));
	cr_assert(fleet_keys_become(&fleet, "script", 5));
	must(peer_stop(peer));
	know("script");
	/* So that the peer's lease ends where time plays no part. */
	must(fleet_command(&fleet, 0, 1, "PERSIST dlock:script"));
	must(fleet_command(&fleet, 0, 1, "PERSIST dlock!data:dlock:script"));
}

Test(script, versions_never_go_back)
{
	struct peer peer = {0};

	begin();
	take_by_hand(&peer);
	extend("1 F 5", "1", "5 five");
	extend("1 F 5", "1", "4 four");
	extend("1 F 5", "1", "5 other");
	extend("1 F 5", "1", "6");
	extend("1 F", "1", "");
	cr_assert(is_on(0, "script", "d", "five"));
	cr_assert(is_on(0, "script", "v", "5"));
	/* Nor by an A of the same proposal that comes late. */
	answers("7 F 5", "A %s %s X 60000 %s 2000000 0 - 1 0 1 own", known.epoch, known.owner, known.fence);
	cr_assert(is_on(0, "script", "d", "five"));
	extend("1 F 10", "1", "10 ten"); /* as numbers, not as text */
	cr_assert(is_on(0, "script", "d", "ten"));
	peer_kill(&peer);
	forget();
	end();
}

Test(script, no_key_without_its_data)
{
	struct peer peer = {0};

	begin();
	take_by_hand(&peer);
	must(fleet_command(&fleet, 0, 1, "DEL dlock:script dlock!data:dlock:script"));
	extend("4 F", "1", "2");
	cr_assert_eq(fleet_keys(&fleet, "script"), 4);
	extend("3 F 2", "1", "2 two");
	cr_assert_eq(fleet_keys(&fleet, "script"), 5);
	/* With the key alone gone, what is there is enough; unless it is older. */
	must(fleet_command(&fleet, 0, 1, "DEL dlock:script"));
	extend("4 F", "1", "3");
	extend("3 F 2", "1", "2");
	/* Without the right to repair it is not there. */
	must(fleet_command(&fleet, 0, 1, "DEL dlock:script"));
	extend("0 F -2 none 0 none", "0", "2");
	peer_kill(&peer);
	forget();
	end();
}

Test(script, only_the_holder_takes_it_away)
{
	struct peer peer = {0};
	char busy[256];

	begin();
	take_by_hand(&peer);
	answers("1 0", "R %s %s 0 0 0 %s 1", known.epoch, "somebody", "");
	cr_assert(is_on(0, "script", "d", "own"));
	snprintf(busy, sizeof(busy), "0 F -1 %s 0 %s", known.owner, known.owner);
	answers(busy, "E %s %s X 60000 1 %s 0 7 seven", known.epoch, "somebody", "1");
	cr_assert(is_on(0, "script", "d", "own"));
	/* A reader believes only what is the holder's. */
	must(fleet_command(&fleet, 0, 1, "HSET dlock!data:dlock:script t somebody"));
	tells_text("script", "own"); /* of the four others */
	peer_kill(&peer);
	answers("1 1", "R %s %s 0 0 0 %s 1", known.epoch, known.owner, "");
	cr_assert(is_on(0, "script", "d", "own")); /* not its own: it ends by itself */
	forget();
	end();
}

Test(script, shared_drops_what_is_its_own)
{
	struct peer peer = {0};

	begin();
	take_by_hand(&peer);
	answers("1 F", "E %s %s S 60000 1 %s 0 0", known.epoch, known.owner, known.fence);
	cr_assert(is_on(0, "script", "d", "(nil)"));
	answers("1 1", "R %s %s 0", known.epoch, known.owner);
	peer_kill(&peer);
	forget();
	end();
}
