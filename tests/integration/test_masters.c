/*
 * test_masters.c - which masters vote, what is said of those that don't, and who
 * belongs to which cluster.
 *
 * What dlock_masters() says is compared by the words that a person needs: what is
 * wrong, and which other address or number it is about.
 */
#include <criterion/criterion.h>

#include "script.h"
#include "tests/harness/fake.h"
#include "tests/harness/fleet.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(quarantine, .timeout = 100);
TestSuite(refused, .timeout = 100);
TestSuite(cluster, .timeout = 100);
TestSuite(access, .timeout = 100);

static struct fleet fleet;
static struct fleet_sight sight;

static void begin_with(const struct fleet_setup *setup)
{
	cr_assert_eq(fleet_start(&fleet, setup), 0);
}

static void begin(enum servers_persistence persistence)
{
	const struct fleet_setup setup = {.servers = {.persistence = persistence}};

	begin_with(&setup);
}

static void begin_virgin(int count)
{
	const struct fleet_setup setup = {.servers = {.count = count}, .virgin = true};

	begin_with(&setup);
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

static void look(void)
{
	cr_assert(fleet_look(fleet.options, &sight) >= 0, "%s", dlock_error_detail());
}

static int state_of(int i)
{
	look();
	return sight.at[i].state;
}

static void expect_voting(int count, int most_ms)
{
	cr_assert(FLEET_UNTIL(fleet_voting(fleet.options) == count, most_ms), "%d vote, not %d", fleet_voting(fleet.options),
	          count);
}

#define says(i, words) \
	cr_assert_not_null(strstr(sight.at[i].problem, (words)), "\"%s\" does not say \"%s\"", sight.at[i].problem, (words))

/* A refusal is complete with what is wrong and what to do. */
static void expect(int i, int state, const char *words)
{
	cr_assert(FLEET_UNTIL(state_of(i) == state, 20000), "master %d: state %d, not %d: %s", i, sight.at[i].state, state,
	          sight.at[i].problem);
	says(i, words);
	cr_assert(sight.at[i].remedy[0] != '\0', "no remedy for: %s", sight.at[i].problem);
	cr_assert_eq(sight.at[i].warning, 0);
}

static int open_with(const char *name, const struct dlock_options *options)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

static int open_lock(const char *name)
{
	return open_with(name, fleet.options);
}

static struct dlock_stat stat_of(int fd)
{
	struct dlock_stat stat;

	must(dlock_stat(fd, &stat, sizeof(stat)));
	return stat;
}

/* The votes that a lock did not need come behind it. */
static void expect_held_by(int fd, unsigned masters)
{
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_held == masters, 2000), "%u hold it", stat_of(fd).masters_held);
}

static struct dlock_options *options_for(const char *list, const char *settings)
{
	struct dlock_options *options = fleet_options(&fleet, list, settings);

	cr_assert_not_null(options);
	return options;
}

/* "a,b,c" of the servers whose numbers are the digits of `which`. */
static const char *list_of(const char *which, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (const char *p = which; *p; p++)
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? "," : "",
		                         servers_address(fleet.servers, *p - '0'));
	return out;
}

/* ---- quarantine ---- */

/* Votes again only when max_ttl has passed since `since_ms`, and then soon. */
static void expect_waits_out(int i, int64_t since_ms)
{
	int64_t waited_ms;

	expect(i, DLOCK_MASTER_QUARANTINED, "started anew and waits out the longest lease");
	cr_assert(sight.at[i].quarantine_ms > 0 && sight.at[i].quarantine_ms <= FLEET_MAX_TTL_MS, "%d ms",
	          (int)sight.at[i].quarantine_ms);
	cr_assert(FLEET_UNTIL(state_of(i) == DLOCK_MASTER_VOTING, FLEET_MAX_TTL_MS + 3000), "%s", sight.at[i].problem);
	waited_ms = fleet_now_ms() - since_ms;
	cr_assert(waited_ms >= FLEET_MAX_TTL_MS, "it votes after %d ms", (int)waited_ms);
}

static void restarted(enum servers_persistence persistence, bool keep_data)
{
	int64_t since_ms;

	begin(persistence);
	expect_voting(5, 3000);
	since_ms = fleet_now_ms();
	must(servers_restart(fleet.servers, 2, keep_data));
	expect_waits_out(2, since_ms);
	end();
}

Test(quarantine, restarted_empty) { restarted(SERVERS_NONE, false); }
Test(quarantine, restarted_with_its_data_gone) { restarted(SERVERS_ALWAYS, false); }
Test(quarantine, restarted_where_the_last_second_may_be_lost) { restarted(SERVERS_EVERYSEC, true); }

Test(quarantine, restarted_durable)
{
	int64_t since_ms;
	int fd;

	begin(SERVERS_ALWAYS);
	fd = open_lock("durable");
	must(dlock_lock(fd));
	for (int i = 0; i < 5; i++) {
		since_ms = fleet_now_ms();
		must(servers_restart(fleet.servers, i, true));
		cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5 && state_of(i) == DLOCK_MASTER_VOTING, FLEET_MAX_TTL_MS - 500),
		          "%s", sight.at[i].problem);
		cr_assert(fleet_now_ms() - since_ms < FLEET_MAX_TTL_MS);
		cr_assert_str_eq(sight.at[i].persistence, "always");
	}
	must(dlock_close(fd));
	end();
}

/* Without a vote of those in quarantine there is no quorum, though all answer. */
Test(quarantine, a_majority_restarted_empty)
{
	int fd;
	int64_t since_ms, waited_ms;

	begin(SERVERS_NONE);
	fd = open_lock("majority");
	must(dlock_lock(fd));
	must(dlock_unlock(fd));
	since_ms = fleet_now_ms();
	for (int i = 0; i < 3; i++)
		must(servers_restart(fleet.servers, i, false));
	while (dlock_trylock(fd) != 0) {
		cr_assert_eq(errno, ENOLCK, "%s", strerror(errno));
		cr_assert(fleet_now_ms() - since_ms < FLEET_MAX_TTL_MS + 4000, "%s", dlock_error_detail());
		fleet_sleep_ms(5);
	}
	waited_ms = fleet_now_ms() - since_ms;
	cr_assert(waited_ms >= FLEET_MAX_TTL_MS, "a lock after %d ms", (int)waited_ms);
	must(dlock_close(fd));
	end();
}

/* The connection lives, the memory is gone: the next thing it is asked tells. */
static void flushed(enum servers_persistence persistence)
{
	int fd, other;
	int64_t since_ms;

	begin(persistence);
	fd = open_lock("flushed");
	other = open_lock("not held");
	must(dlock_lock(fd));
	since_ms = fleet_now_ms();
	must(servers_flush(fleet.servers, 1));
	must(dlock_lock(other));
	cr_assert(stat_of(other).masters_held <= 4, "a master that has forgotten voted");
	must(dlock_close(other));
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 4, 2000));
	expect_waits_out(1, since_ms);
	must(dlock_verify(fd));
	must(dlock_close(fd));
	end();
}

Test(quarantine, flushed_on_a_live_connection) { flushed(SERVERS_NONE); }
Test(quarantine, flushed_though_durable) { flushed(SERVERS_ALWAYS); }

/* Its epoch is in the snapshot: of an incarnation that has ended. */
Test(quarantine, old_snapshot)
{
	int fd;
	int64_t since_ms;

	begin(SERVERS_NONE);
	must(fleet_command(&fleet, 3, 1, "SAVE"));
	fd = open_lock("after the snapshot");
	must(dlock_lock(fd));
	since_ms = fleet_now_ms();
	must(servers_restart(fleet.servers, 3, true));
	expect_waits_out(3, since_ms);
	must(dlock_close(fd));
	end();
}

/* The snapshot was taken while the master was durable, and says so. But what came after it is gone. */
Test(quarantine, old_snapshot_of_a_durable_master)
{
	const struct fleet_setup setup = {.virgin = true};
	int fd;
	int64_t since_ms;

	begin_with(&setup);
	must(fleet_command(&fleet, 0, 5, "CONFIG SET appendonly yes"));
	must(fleet_command(&fleet, 0, 5, "CONFIG SET appendfsync always"));
	cr_assert_eq(dlock_init_with(0, fleet.options), 5, "%s", dlock_error_detail());
	expect_voting(5, 3000);
	look();
	cr_assert_str_eq(sight.at[3].persistence, "always");
	must(fleet_command(&fleet, 3, 1, "SAVE"));
	fd = open_lock("after the snapshot");
	must(dlock_lock(fd));
	since_ms = fleet_now_ms();
	must(servers_restart(fleet.servers, 3, true)); /* its configuration says: no append-only file */
	expect_waits_out(3, since_ms);
	must(dlock_close(fd));
	end();
}

static void demoted(enum servers_persistence persistence, int of)
{
	const struct fleet_setup setup = {.servers = {.tcp = true, .persistence = persistence}};
	int fd, other;
	int64_t since_ms;

	begin_with(&setup);
	fd = open_lock("demoted");
	other = open_lock("another");
	/* Who votes at the grant vouches for it later. */
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 10000));
	must(dlock_lock(fd));
	must(servers_demote(fleet.servers, 0, of));
	must(dlock_lock(other)); /* finds it out, and goes on */
	cr_assert(stat_of(other).masters_held <= 4);
	expect(0, DLOCK_MASTER_REFUSED, "is a replica (role slave)");
	if (of >= 0) /* it has taken over the data */
		cr_assert(FLEET_UNTIL(({
			char *info = servers_command(fleet.servers, 0, "INFO replication");
			bool up = info && strstr(info, "master_link_status:up");

			free(info);
			up;
		}), 8000));
	since_ms = fleet_now_ms();
	must(servers_promote(fleet.servers, 0));
	expect_waits_out(0, since_ms);
	must(dlock_verify(fd));
	must(dlock_close(other));
	must(dlock_close(fd));
	end();
}

Test(quarantine, demoted_and_promoted) { demoted(SERVERS_NONE, 1); }
Test(quarantine, demoted_and_promoted_though_durable) { demoted(SERVERS_ALWAYS, 1); }
Test(quarantine, demoted_and_promoted_with_its_own_data) { demoted(SERVERS_ALWAYS, -1); }

Test(quarantine, off)
{
	const struct fleet_setup setup = {.virgin = true, .settings = "quarantine=off"};
	int fd;

	begin_with(&setup);
	expect_voting(5, 3000);
	must(servers_restart(fleet.servers, 0, false));
	fd = open_lock("off");
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 3000));
	must(dlock_close(fd));
	end();
}

/* ---- refused ---- */

Test(refused, one_server_under_two_addresses)
{
	const struct fleet_setup setup = {
		.servers = {.count = 3, .tcp = true, .config = "unixsocket second.sock"}, .virgin = true};
	char list[512], second[128];
	int fd;

	begin_with(&setup);
	snprintf(second, sizeof(second), "unix:%s/1/second.sock", servers_dir(fleet.servers));
	snprintf(list, sizeof(list), "%s,%s,%s", servers_address(fleet.servers, 0), second, servers_address(fleet.servers, 1));
	must(dlock_options_set(fleet.options, "servers", list));
	cr_assert_eq(dlock_init_with(0, fleet.options), 2, "%s", dlock_error_detail());
	expect_voting(2, 3000);
	expect(1, DLOCK_MASTER_REFUSED, "is the same server as ");
	says(1, servers_address(fleet.servers, 0));
	fd = open_lock("twice");
	must(dlock_trylock(fd));
	expect_held_by(fd, 2);
	must(dlock_unlock(fd));
	/* Alone it is no majority, under however many addresses. */
	servers_kill9(fleet.servers, 1);
	fails(dlock_trylock(fd), ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), "is the same server as"), "%s", dlock_error_detail());
	must(dlock_close(fd));
	end();
}

Test(refused, eviction)
{
	begin(SERVERS_NONE);
	must(fleet_command(&fleet, 0, 4, "CONFIG SET maxmemory 100mb"));
	must(fleet_command(&fleet, 0, 1, "CONFIG SET maxmemory-policy allkeys-lru"));
	must(fleet_command(&fleet, 1, 1, "CONFIG SET maxmemory-policy volatile-ttl"));
	must(fleet_command(&fleet, 4, 1, "CONFIG SET maxmemory-policy allkeys-lru")); /* of no memory limit */
	expect_voting(3, 3000);
	expect(0, DLOCK_MASTER_REFUSED, "may evict keys when memory is full (maxmemory-policy allkeys-lru)");
	expect(1, DLOCK_MASTER_REFUSED, "(maxmemory-policy volatile-ttl)");
	must(fleet_command(&fleet, 0, 2, "CONFIG SET maxmemory-policy noeviction"));
	expect_voting(5, 4000);
	end();
}

/* A server that answers the handshake, with an INFO of our own. */
static struct fake *fake_with_info(const char *info)
{
	char script[2048];
	struct fake_options options = {.script = script, .cut_after = -1};
	struct fake *fake;

	options.script_size = (size_t)snprintf(script, sizeof(script),
	                                       "-NOPERM no CLIENT ID, so that a later connection kills none\r\n$%zu\r\n%s\r\n"
	                                       "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"
	                                       "*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n"
	                                       "*2\r\n$25\r\nno-appendfsync-on-rewrite\r\n$2\r\nno\r\n"
	                                       "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
	                                       "$40\r\n%s\r\n",
	                                       strlen(info), info, script_sha());
	fake = fake_start(&options);
	cr_assert_not_null(fake);
	return fake;
}

#define RUN_ID "run_id:0123456789012345678901234567890123456789\r\nmaster_replid:abcdef\r\n"

Test(refused, impostors)
{
	static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	const struct fake_options web = {.script = http, .script_size = sizeof(http) - 1, .cut_after = -1};
	const struct fake_options mute = {.cut_after = -1};
	struct fake *fakes[4];
	char list[1024];

	begin_virgin(3);
	fakes[0] = fake_with_info("redis_version:6.0.16\r\nrole:master\r\nloading:0\r\n" RUN_ID);
	fakes[1] = fake_with_info("redis_version:7.2.0\r\nrole:master\r\nloading:1\r\n" RUN_ID);
	fakes[2] = fake_start(&web);
	fakes[3] = fake_start(&mute);
	snprintf(list, sizeof(list), "%s,%s,%s,%s,%s,127.0.0.1:1", servers_address(fleet.servers, 0), fake_address(fakes[0]),
	         fake_address(fakes[1]), fake_address(fakes[2]), fake_address(fakes[3]));
	must(dlock_options_set(fleet.options, "servers", list));
	look();
	cr_assert_eq(sight.voting, 0);
	expect(0, DLOCK_MASTER_REFUSED, "has answered, but fewer than a majority of the masters have");
	expect(1, DLOCK_MASTER_REFUSED, "is too old: version 6.0.16");
	expect(2, DLOCK_MASTER_REFUSED, "is loading its data");
	expect(3, DLOCK_MASTER_UNREACHED, "not as a Redis server: \"HTTP/1.1 400 Bad Request\"");
	expect(4, DLOCK_MASTER_UNREACHED, "answer");
	expect(5, DLOCK_MASTER_UNREACHED, "refused");
	for (int i = 0; i < 4; i++)
		fake_stop(fakes[i]);
	end();
}

/* ---- clusters ---- */

/* {0,1,2} and {2,3,4} have one master in common, and no majority that both need. */
Test(cluster, lists_that_share_a_master)
{
	char first[512], second[512];
	struct dlock_options *one, *two;
	int a, b;

	begin_virgin(5);
	one = options_for(list_of("012", first, sizeof(first)), NULL);
	two = options_for(list_of("234", second, sizeof(second)), NULL);
	cr_assert_eq(dlock_init_with(0, one), 3, "%s", dlock_error_detail());
	b = open_with("shared", two);
	fails(dlock_trylock(b), ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), servers_address(fleet.servers, 2)), "%s", dlock_error_detail());
	cr_assert_eq(fleet_look(two, &sight), 0);
	cr_assert_eq(sight.at[0].state, DLOCK_MASTER_REFUSED, "%s", sight.at[0].problem);
	says(0, "cluster");
	fails(dlock_init_with(0, two), EEXIST);
	cr_assert_not_null(strstr(dlock_error_detail(), servers_address(fleet.servers, 2)), "%s", dlock_error_detail());

	/* The one list is undisturbed. */
	a = open_with("shared", one);
	must(dlock_trylock(a));
	expect_held_by(a, 3);
	must(dlock_unlock(a));
	/* By an operator's word the shared master changes sides: now the other list is refused there. */
	cr_assert_eq(dlock_init_with(DLOCK_INIT_FORCE, two), 3, "%s", dlock_error_detail());
	must(dlock_timedlock(b, LOCK_EX, 5000));
	cr_assert(FLEET_UNTIL(fleet_look(one, &sight) == 2 && sight.at[2].state == DLOCK_MASTER_REFUSED, 4000));
	says(2, "belongs to another cluster");
	must(dlock_timedlock(a, LOCK_EX, 5000)); /* its own two masters are a majority of three */
	expect_held_by(a, 2);
	must(dlock_close(a));
	must(dlock_close(b));
	dlock_options_free(one);
	dlock_options_free(two);
	end();
}

Test(cluster, another_number_of_masters)
{
	char three[512];
	struct dlock_options *one;
	int fd;

	begin_virgin(5);
	one = options_for(list_of("012", three, sizeof(three)), NULL);
	cr_assert_eq(dlock_init_with(0, one), 3, "%s", dlock_error_detail());
	for (int i = 0; i < 3; i++)
		expect(i, DLOCK_MASTER_REFUSED, "belongs to a cluster of 3 masters, but 5 are configured here");
	fd = open_lock("number");
	fails(dlock_trylock(fd), ENOLCK);
	must(dlock_close(fd));
	dlock_options_free(one);
	end();
}

Test(cluster, another_max_ttl)
{
	struct dlock_options *other, *silent;
	int fd;

	begin(SERVERS_NONE);
	other = options_for(NULL, "max_ttl=6000");
	cr_assert_eq(fleet_look(other, &sight), 0);
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(sight.at[i].state, DLOCK_MASTER_REFUSED);
		says(i, "max_ttl 4500 ms, but 6000 ms is configured here");
		cr_assert_eq(sight.at[i].max_ttl_ms, FLEET_MAX_TTL_MS);
	}
	/* Who does not care takes the cluster's, and may not have longer leases. */
	silent = options_for(NULL, "ttl=4000");
	must(dlock_options_set(silent, "max_ttl", NULL));
	fd = open_with("no care", silent);
	must(dlock_lock(fd));
	must(dlock_close(fd));
	must(dlock_options_set(silent, "ttl", "4501"));
	fd = open_with("too long", silent);
	fails(dlock_lock(fd), EINVAL);
	cr_assert_not_null(strstr(dlock_error_detail(), "4501 ms is longer than max_ttl 4500 ms"), "%s", dlock_error_detail());
	must(dlock_close(fd));
	must(dlock_options_set(silent, "ttl", "4000"));
	must(dlock_options_set(silent, "lock_delay", "501"));
	fd = open_with("too long a delay", silent);
	fails(dlock_lock(fd), EINVAL);
	must(dlock_close(fd));
	dlock_options_free(other);
	dlock_options_free(silent);
	end();
}

static const char *text_of_cluster(int i, char *out, size_t size)
{
	char *reply = servers_command(fleet.servers, i, "GET dlock!cluster");

	snprintf(out, size, "%s", reply ? reply : "");
	free(reply);
	return out;
}

/* Two clients, both the first, with the same masters in another order. */
static void race(const struct dlock_options *one, const struct dlock_options *two)
{
	const struct dlock_options *options[2] = {one, two};
	char first[128], other[128];
	struct peer peers[2];
	int taken = 0;

	for (int i = 0; i < 2; i++)
		must(peer_start(&peers[i], options[i]));
	for (int i = 0; i < 2; i++)
		peer_ask(&peers[i], PEER_VOTING, -1, 0, 0, NULL);
	for (int i = 0; i < 2; i++) {
		struct peer_answer answer;

		cr_assert(peer_answer(&peers[i], &answer, 10000));
		cr_assert(FLEET_UNTIL(peer_call(&peers[i], PEER_VOTING, -1, 0, 0) == 3, 3000), "client %d", i);
	}
	text_of_cluster(0, first, sizeof(first));
	for (int i = 1; i < 3; i++)
		cr_assert_str_eq(text_of_cluster(i, other, sizeof(other)), first);
	for (int i = 0; i < 2; i++) {
		long fd = peer_open(&peers[i], "race");

		cr_assert(fd >= 0);
		taken += peer_lock(&peers[i], (int)fd, LOCK_EX | LOCK_NB) == 0;
	}
	cr_assert_eq(taken, 1);
	peer_kill(&peers[0]);
	peer_kill(&peers[1]);
}

Test(cluster, first_clients_that_race_converge)
{
	char forth[512], back[512];
	struct dlock_options *one, *two;

	begin_virgin(3);
	one = options_for(list_of("012", forth, sizeof(forth)), "quarantine=off");
	two = options_for(list_of("210", back, sizeof(back)), "quarantine=off");
	for (int round = 0; round < 40; round++) {
		must(fleet_command(&fleet, 0, 3, "FLUSHALL"));
		race(one, two);
	}
	dlock_options_free(one);
	dlock_options_free(two);
	end();
}

Test(cluster, a_new_one_waits_once)
{
	struct peer peer;
	int64_t since_ms = fleet_now_ms();
	int fd;

	begin_virgin(3);
	fd = open_lock("new");
	fails(dlock_trylock(fd), ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), "waits out the longest lease"), "%s", dlock_error_detail());
	for (int i = 0; i < 3; i++)
		expect(i, DLOCK_MASTER_QUARANTINED, "started anew and waits out the longest lease");
	expect_voting(3, FLEET_MAX_TTL_MS + 3000);
	cr_assert(fleet_now_ms() - since_ms >= FLEET_MAX_TTL_MS);
	must(dlock_trylock(fd));
	must(dlock_close(fd));
	/* Another client finds it ready. */
	must(peer_start(&peer, fleet.options));
	cr_assert_eq(peer_call(&peer, PEER_VOTING, -1, 0, 0), 3);
	peer_kill(&peer);
	end();
}

Test(cluster, an_operator_declares_it_new)
{
	int fd;

	begin_virgin(5);
	fd = open_lock("init");
	fails(dlock_trylock(fd), ENOLCK);
	fails(dlock_init_with(2, fleet.options), EINVAL);
	cr_assert_eq(dlock_init_with(0, fleet.options), 5, "%s", dlock_error_detail());
	must(dlock_trylock(fd));
	expect_held_by(fd, 5);
	fails(dlock_init_with(0, fleet.options), EEXIST);
	cr_assert_not_null(strstr(dlock_error_detail(), servers_address(fleet.servers, 0)), "%s", dlock_error_detail());
	must(dlock_verify(fd));
	must(dlock_unlock(fd));
	cr_assert_eq(dlock_init_with(DLOCK_INIT_FORCE, fleet.options), 5, "%s", dlock_error_detail());
	must(dlock_timedlock(fd, LOCK_EX, 5000));
	must(dlock_unlock(fd));
	/* Of too few masters nobody can say that they are the cluster. */
	for (int i = 0; i < 3; i++)
		servers_kill9(fleet.servers, i);
	fails(dlock_init_with(DLOCK_INIT_FORCE, fleet.options), ENOLCK);
	must(dlock_close(fd));
	end();
}

Test(cluster, an_even_number)
{
	const struct fleet_setup setup = {.servers = {.count = 4}};
	int fd, rival;

	begin_with(&setup);
	expect_voting(4, 3000);
	fd = open_lock("even");
	rival = open_lock("even");
	must(dlock_lock(fd));
	fails(dlock_trylock(rival), EWOULDBLOCK);
	servers_kill9(fleet.servers, 0);
	must(dlock_verify(fd));
	must(dlock_unlock(fd));
	must(dlock_trylock(rival));
	must(dlock_unlock(rival));
	servers_kill9(fleet.servers, 1);
	fails(dlock_trylock(rival), ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), "3 of 4 masters needed"), "%s", dlock_error_detail());
	must(dlock_close(fd));
	must(dlock_close(rival));
	end();
}

/* ---- access ---- */

/* The rules after the password in the manual's own example. */
static void manual_rules(char *out, size_t size)
{
	const char *top = getenv("abs_top_srcdir");
	char path[4096], here[] = __FILE__, line[256];
	bool inside = false;
	FILE *page;

	snprintf(path, sizeof(path), "%s%s/man/libdlock.7", top ? top : dirname(here), top ? "" : "/../..");
	page = fopen(path, "re");
	cr_assert_not_null(page, "%s: %s", path, strerror(errno));
	out[0] = '\0';
	while (fgets(line, sizeof(line), page) && !(inside && line[0] == '.')) {
		const char *start = strstr(line, ">PASSWORD ");

		inside |= start != NULL;
		if (inside)
			snprintf(out + strlen(out), size - strlen(out), " %s", start ? start + strlen(">PASSWORD ") : line);
		out[strcspn(out, "\n")] = '\0';
	}
	fclose(page);
	cr_assert_not_null(strstr(out, "+evalsha"), "%s has no rules", path);
}

static void begin_as_user(const char *more_rules)
{
	char rules[2048];
	struct fleet_setup setup = {
		.servers = {.tcp = true, .user = "dlock", .password = "s3cret", .rules = rules, .persistence = SERVERS_ALWAYS}};

	manual_rules(rules, sizeof(rules));
	snprintf(rules + strlen(rules), sizeof(rules) - strlen(rules), " %s", more_rules);
	setup.virgin = strstr(more_rules, "-info") != NULL;
	begin_with(&setup);
}

/* Masters in whose queue somebody waits. */
static int queues(void)
{
	int count = 0;

	for (int i = 0; i < 5; i++) {
		char *text = servers_command(fleet.servers, i, "EXISTS dlock!queue:dlock:waits");

		count += text && strcmp(text, "1") == 0;
		free(text);
	}
	return count;
}

static int count_holder(const struct dlock_holder *holder, void *arg)
{
	(void)holder;
	(*(int *)arg)++;
	return 0;
}

/* Every function that talks to masters. */
static void use_everything(void)
{
	int a, b, found = 0;

	a = open_lock("user");
	b = open_lock("user");
	must(dlock_set_data(a, "before", 6));
	must(dlock_lock(a));
	expect_held_by(a, 5);
	must(dlock_set_data(a, "while", 5));
	fails(dlock_timedlock(b, LOCK_EX, 100), ETIMEDOUT); /* polls, too */
	must(dlock_flock(a, LOCK_SH));
	must(dlock_flock(b, LOCK_SH));
	must(dlock_unlock(b));
	must(dlock_flock(a, LOCK_EX | LOCK_NB));
	must(dlock_verify(a));
	must(fleet_command(&fleet, 0, 1, "DEL dlock:user"));
	must(dlock_verify(a)); /* with a repair */
	cr_assert_eq(dlock_query_with("user", count_holder, &found, fleet.options), 1, "%s", dlock_error_detail());
	cr_assert_eq(dlock_list_with(count_holder, &found, fleet.options), 1, "%s", dlock_error_detail());
	cr_assert_eq(found, 2);
	must(fleet_command(&fleet, 0, 5, "SCRIPT FLUSH"));
	must(dlock_verify(a));
	must(dlock_break_with("user", fleet.options));
	must(dlock_lock(b));
	must(dlock_close(a));
	must(dlock_close(b));
	cr_assert(fleet_keys_become(&fleet, "user", 0));
	cr_assert_eq(dlock_init_with(DLOCK_INIT_FORCE, fleet.options), 5, "%s", dlock_error_detail());
}

/* Until a call under way has ended. */
static void finish(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	cr_assert_eq(poll(&ready, 1, 3000), 1);
	must(dlock_result(fd));
}

/* One waits for another, in the queues of the masters or not, and gets the lock. */
static void wait_and_get(bool queued)
{
	int a = open_lock("waits"), b = dlock_open_with("waits", DLOCK_CLOEXEC | DLOCK_NONBLOCK, fleet.options);

	cr_assert(b >= 0);
	for (int i = 0; i < 3; i++) {
		must(dlock_lock(a));
		fails(dlock_lock(b), EINPROGRESS);
		cr_assert(FLEET_UNTIL(queues() == (queued ? 5 : 0), 2000), "%d queues", queues());
		usleep(100000);
		cr_assert_eq(queues(), queued ? 5 : 0);
		fails(dlock_result(b), EINPROGRESS);
		must(dlock_unlock(a));
		finish(b);
		fails(dlock_trylock(a), EWOULDBLOCK);
		fails(dlock_verify(b), EINPROGRESS);
		finish(b);
		fails(dlock_unlock(b), EINPROGRESS);
		finish(b);
	}
	must(dlock_close(a));
	must(dlock_close(b));
}

static void reconnect(void)
{
	int fd = open_lock("reconnected");

	must(fleet_command(&fleet, 0, 5, "CLIENT KILL TYPE normal USER dlock"));
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 4000));
	must(dlock_lock(fd));
	must(dlock_close(fd));
}

Test(access, the_user_of_the_manual)
{
	begin_as_user("");
	expect_voting(5, 3000);
	use_everything();
	wait_and_get(true);
	reconnect();
	look();
	for (int i = 0; i < 5; i++) {
		cr_assert_str_eq(sight.at[i].problem, "");
		cr_assert_str_eq(sight.at[i].persistence, "always");
		cr_assert_null(strstr(sight.at[i].address, "s3cret"));
	}
	/* Nothing was even tried that is forbidden. */
	for (int i = 0; i < 5; i++) {
		char *log = servers_command(fleet.servers, i, "ACL LOG");

		cr_assert_str_eq(log, "", "%s", log);
		free(log);
	}
	end();
}

static void without(const char *rule, const char *words)
{
	bool told = !strstr(rule, "-subscribe") && !strstr(rule, "resetchannels");
	int64_t since_ms;

	begin_as_user(rule);
	expect_voting(5, 3000);
	use_everything();
	wait_and_get(told);
	reconnect();
	look();
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(sight.at[i].state, DLOCK_MASTER_VOTING);
		cr_assert_eq(sight.at[i].warning, 1);
		says(i, words);
		cr_assert(sight.at[i].remedy[0] != '\0');
	}
	since_ms = fleet_now_ms();
	must(servers_restart(fleet.servers, 0, true));
	if (strstr(rule, "config"))
		expect_waits_out(0, since_ms); /* it is durable, but nobody may see that */
	end();
}

Test(access, without_config) { without("-config|get", "CONFIG GET is not permitted"); }
Test(access, without_client_kill) { without("-client|kill", "CLIENT KILL is not permitted"); }

Test(access, without_subscribe) { without("-subscribe", "refused to be listened to, so who waits for a lock polls there"); }
Test(access, without_channels) { without("resetchannels", "refused to be listened to, so who waits for a lock polls there"); }
Test(access, without_publish) { without("-publish", "PUBLISH is not permitted"); }

Test(access, without_info)
{
	int fd;

	begin_as_user("-info");
	for (int i = 0; i < 5; i++)
		expect(i, DLOCK_MASTER_REFUSED, "INFO is not permitted");
	cr_assert_eq(sight.voting, 0);
	fd = open_lock("no info");
	fails(dlock_trylock(fd), ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), "INFO is not permitted"), "%s", dlock_error_detail());
	must(dlock_close(fd));
	end();
}

static void expect_no_login(const char *list, const char *words)
{
	struct dlock_options *options = options_for(list, NULL);
	int fd;

	cr_assert_eq(fleet_look(options, &sight), 0);
	for (int i = 0; i < sight.count; i++) {
		cr_assert_eq(sight.at[i].state, DLOCK_MASTER_UNREACHED);
		says(i, words);
		cr_assert_null(strstr(sight.at[i].problem, "wr0ng"), "%s", sight.at[i].problem);
		cr_assert_null(strstr(sight.at[i].address, "wr0ng"), "%s", sight.at[i].address);
	}
	fd = open_with("login", options);
	fails(dlock_trylock(fd), ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), words), "%s", dlock_error_detail());
	cr_assert_null(strstr(dlock_error_detail(), "wr0ng"), "%s", dlock_error_detail());
	must(dlock_close(fd));
	dlock_options_free(options);
}

Test(access, passwords)
{
	const struct fleet_setup setup = {.servers = {.count = 3, .tcp = true, .password = "right"}};
	char wrong[512] = "";
	int fd;

	begin_with(&setup);
	for (int i = 0; i < 3; i++)
		snprintf(wrong + strlen(wrong), sizeof(wrong) - strlen(wrong), "%sredis://:wr0ng@%s", i ? "," : "",
		         servers_address(fleet.servers, i));
	expect_no_login(wrong, "wrong user or password");
	expect_no_login(servers_list(fleet.servers), "needs a password");
	fd = open_lock("login");
	must(dlock_lock(fd));
	must(dlock_close(fd));
	end();
}

/* Another database is another set of masters, with locks of its own. */
Test(access, databases)
{
	char other[512] = "";
	struct dlock_options *options;
	int a, b;

	begin_virgin(3);
	for (int i = 0; i < 3; i++)
		snprintf(other + strlen(other), sizeof(other) - strlen(other), "%s%s?db=7", i ? "," : "",
		         servers_address(fleet.servers, i));
	options = options_for(other, NULL);
	cr_assert_eq(dlock_init_with(0, fleet.options), 3, "%s", dlock_error_detail());
	cr_assert_eq(dlock_init_with(0, options), 3, "%s", dlock_error_detail());
	a = open_lock("database");
	b = open_with("database", options);
	must(dlock_trylock(a));
	must(dlock_trylock(b));
	must(dlock_verify(a));
	must(dlock_verify(b));
	cr_assert(fleet_keys_become(&fleet, "database", 3));
	must(dlock_close(a));
	cr_assert(fleet_keys_become(&fleet, "database", 0));
	must(dlock_verify(b));
	must(dlock_close(b));
	dlock_options_free(options);
	end();
}

Test(access, valkey)
{
	int fd;

	if (system("command -v valkey-server >/dev/null") != 0)
		cr_skip_test("valkey-server is not installed");
	setenv("DLOCK_TEST_SERVER", "valkey-server", 1);
	begin(SERVERS_ALWAYS);
	expect_voting(5, 3000);
	look();
	for (int i = 0; i < 5; i++) {
		cr_assert_not_null(strstr(sight.at[i].version, "(valkey)"), "%s", sight.at[i].version);
		cr_assert_str_eq(sight.at[i].problem, "");
	}
	fd = open_lock("valkey");
	must(dlock_lock(fd));
	must(servers_restart(fleet.servers, 0, true));
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 3000));
	must(servers_flush(fleet.servers, 1));
	must(dlock_verify(fd));
	must(dlock_close(fd));
	end();
}
