/*
 * test_faults.c - the library while masters, holders and connections fail.
 *
 * Real servers, and peers (forked programs) that can be killed and stopped. Every
 * bound is either one that the library promises, or so wide that only a call that
 * hangs, or one that waited for a master that is gone, can pass it.
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
#include <sys/wait.h>
#include <unistd.h>

TestSuite(faults, .timeout = 100);
TestSuite(holder, .timeout = 100);
TestSuite(calls, .timeout = 100);
TestSuite(masters, .timeout = 100);

static struct fleet fleet;

static void begin(const char *settings, enum servers_persistence persistence)
{
	const struct fleet_setup setup = {.servers = {.persistence = persistence}, .settings = settings};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
}

static void end(void)
{
	fleet_end(&fleet);
}

/* ---- small words ---- */

static int open_lock(const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

static void start_peer(struct peer *peer, const char *name)
{
	cr_assert_eq(peer_start(peer, fleet.options), 0);
	if (name)
		cr_assert(peer_open(peer, name) >= 0, "%s", strerror(errno));
}

/* The descriptor of a peer that has opened one lock. All peers have the same. */
static int open_in_peer(struct peer *peer, const char *name)
{
	long fd = peer_open(peer, name);

	cr_assert(fd >= 0, "%s", strerror(errno));
	return (int)fd;
}

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())
#define fails(call, code) \
	do { \
		errno = 0; \
		cr_assert_eq((call), -1, "%s succeeded", #call); \
		cr_assert_eq(errno, (code), "%s: %s instead of " #code " (%s)", #call, strerror(errno), dlock_error_detail()); \
	} while (0)

static bool readable(int fd, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	return poll(&poller, 1, timeout_ms) == 1;
}

static struct dlock_stat stat_of(int fd)
{
	struct dlock_stat stat;

	must(dlock_stat(fd, &stat, sizeof(stat)));
	return stat;
}

/* With all masters, so that each has its part in what follows: one that is heard of only when the lock is held
 * is told afterwards, and does not vouch for the time before. */
static int open_ready(const char *name)
{
	int fd = open_lock(name);

	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 5000), "%u vote", stat_of(fd).masters_up);
	return fd;
}

static unsigned held_by(int fd)
{
	return stat_of(fd).masters_held;
}

/* ---- a call in a thread of its own ---- */

/* Back when the call waits. */
static void start_waiter(struct waiter *w, int fd, int operation, int timeout_ms)
{
	cr_assert_eq(waiter_start(w, fd, operation, timeout_ms), 0);
	cr_assert(FLEET_UNTIL(stat_of(fd).state == DLOCK_STATE_WAITING, 5000), "the call does not wait");
}

static void join_waiter(struct waiter *w, int most_ms)
{
	cr_assert(waiter_join(w, most_ms), "still waiting after %d ms", most_ms);
}

/* ---- two of five ---- */

enum fault { KILLED, STOPPED };

static void strike(enum fault fault, int first, int count)
{
	for (int i = first; i < first + count; i++) {
		if (fault == KILLED)
			servers_kill9(fleet.servers, i);
		else
			servers_stop(fleet.servers, i);
	}
}

static void revive(enum fault fault, int first, int count)
{
	for (int i = first; i < first + count; i++) {
		if (fault == KILLED)
			cr_assert_eq(servers_restart(fleet.servers, i, true), 0);
		else
			servers_cont(fleet.servers, i);
	}
}

/* Long time-outs: who waits for a master that is gone is seen by it. */
#define PATIENT "ttl=4000 node_timeout=3000"
#define PROMPT_MS 1500

static void lock_and_unlock(int fd)
{
	int64_t start_ms = fleet_now_ms(), took_ms;

	must(dlock_lock(fd));
	must(dlock_unlock(fd));
	took_ms = fleet_now_ms() - start_ms;
	cr_assert(took_ms < PROMPT_MS, "lock and unlock took %d ms", (int)took_ms);
}

static void two_gone_before_open(enum fault fault)
{
	int fd;

	begin(PATIENT, SERVERS_NONE);
	strike(fault, 1, 2);
	fd = open_lock("before");
	lock_and_unlock(fd);
	lock_and_unlock(fd);
	must(dlock_close(fd));
	end();
}

Test(faults, two_killed_before_open) { two_gone_before_open(KILLED); }
Test(faults, two_stopped_before_open) { two_gone_before_open(STOPPED); }

static void two_gone_while_idle(enum fault fault)
{
	int fd, other;

	begin(PATIENT, SERVERS_NONE);
	fd = open_lock("idle");
	other = open_lock("never used before");
	lock_and_unlock(fd);
	strike(fault, 0, 2);
	lock_and_unlock(fd);
	lock_and_unlock(other);
	must(dlock_close(fd));
	must(dlock_close(other));
	end();
}

Test(faults, two_killed_while_idle) { two_gone_while_idle(KILLED); }
Test(faults, two_stopped_while_idle) { two_gone_while_idle(STOPPED); }

/* Over more than a whole lease: three masters carry the renewals. */
static void two_gone_while_held(enum fault fault)
{
	int fd, rival;
	int64_t start_ms;

	begin("node_timeout=200", SERVERS_NONE);
	fd = open_ready("held");
	rival = open_lock("held");
	must(dlock_lock(fd));
	strike(fault, 3, 2);
	cr_assert_not(readable(fd, 2 * FLEET_TTL_MS), "the lock was lost");
	must(dlock_verify(fd));
	fails(dlock_trylock(rival), EWOULDBLOCK);
	start_ms = fleet_now_ms();
	must(dlock_unlock(fd));
	cr_assert(fleet_now_ms() - start_ms < PROMPT_MS);
	must(dlock_trylock(rival));
	must(dlock_close(rival));
	must(dlock_close(fd));
	end();
}

Test(faults, two_killed_while_held) { two_gone_while_held(KILLED); }
Test(faults, two_stopped_while_held) { two_gone_while_held(STOPPED); }

static void two_gone_between_lock_and_unlock(enum fault fault)
{
	int fd, rival;
	int64_t start_ms;

	begin(PATIENT, SERVERS_NONE);
	fd = open_lock("between");
	rival = open_lock("between");
	must(dlock_lock(fd));
	strike(fault, 0, 2);
	start_ms = fleet_now_ms();
	must(dlock_unlock(fd));
	must(dlock_lock(rival));
	cr_assert(fleet_now_ms() - start_ms < PROMPT_MS);
	must(dlock_close(rival));
	must(dlock_close(fd));
	end();
}

Test(faults, two_killed_between_lock_and_unlock) { two_gone_between_lock_and_unlock(KILLED); }
Test(faults, two_stopped_between_lock_and_unlock) { two_gone_between_lock_and_unlock(STOPPED); }

static void two_gone_while_one_waits(enum fault fault)
{
	struct waiter waiter;
	int fd, waiting;

	begin(PATIENT, SERVERS_NONE);
	fd = open_lock("waited for");
	waiting = open_lock("waited for");
	must(dlock_lock(fd));
	start_waiter(&waiter, waiting, LOCK_EX, -1);
	strike(fault, 2, 2);
	must(dlock_unlock(fd));
	join_waiter(&waiter, PROMPT_MS);
	cr_assert_eq(waiter.result, 0, "%s", strerror(waiter.error));
	must(dlock_verify(waiting));
	must(dlock_close(waiting));
	must(dlock_close(fd));
	end();
}

Test(faults, two_killed_while_one_waits) { two_gone_while_one_waits(KILLED); }
Test(faults, two_stopped_while_one_waits) { two_gone_while_one_waits(STOPPED); }

/* ---- three of five ---- */

static void check_no_quorum(int first)
{
	const char *detail = dlock_error_detail();

	for (int i = 0; i < 5; i++) {
		const char *address = servers_address(fleet.servers, i);

		if (i >= first)
			cr_assert_not_null(strstr(detail, address), "%s is not named: %s", address, detail);
		else
			cr_assert_null(strstr(detail, address), "%s is named: %s", address, detail);
	}
	cr_assert_not_null(strstr(detail, "3 of 5 masters needed"), "%s", detail);
}

static void three_gone(enum fault fault)
{
	int fd, young;
	int64_t start_ms, took_ms;

	begin("quorum_timeout=700", SERVERS_ALWAYS);
	fd = open_lock("quorum");
	must(dlock_lock(fd));
	must(dlock_unlock(fd));
	strike(fault, 2, 3);
	start_ms = fleet_now_ms();
	fails(dlock_trylock(fd), ENOLCK);
	check_no_quorum(2);
	young = open_lock("opened without a quorum");
	fails(dlock_trylock(young), ENOLCK);
	check_no_quorum(2);
	took_ms = fleet_now_ms() - start_ms;
	cr_assert(took_ms < 2000, "two tries took %d ms", (int)took_ms);

	start_ms = fleet_now_ms();
	fails(dlock_lock(fd), ENOLCK);
	check_no_quorum(2);
	took_ms = fleet_now_ms() - start_ms;
	cr_assert(took_ms >= 700 && took_ms < 6000, "ENOLCK after %d ms", (int)took_ms);
	start_ms = fleet_now_ms();
	fails(dlock_timedlock(young, LOCK_SH, 300), ENOLCK);
	took_ms = fleet_now_ms() - start_ms;
	cr_assert(took_ms >= 300 && took_ms < 6000, "ENOLCK after %d ms", (int)took_ms);

	revive(fault, 2, 3);
	cr_assert(FLEET_UNTIL(dlock_trylock(fd) == 0, 8000), "%s", dlock_error_detail());
	must(dlock_lock(young));
	cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 8000), "not all vote again");
	must(dlock_verify(fd));
	must(dlock_close(young));
	must(dlock_close(fd));
	end();
}

Test(faults, three_killed) { three_gone(KILLED); }
Test(faults, three_stopped) { three_gone(STOPPED); }

/* A waiter goes on by itself when the masters return. */
static void quorum_returns_while_one_waits(enum fault fault)
{
	struct waiter waiter;
	int fd;

	begin("quorum_timeout=forever", SERVERS_ALWAYS);
	fd = open_lock("patience");
	must(dlock_lock(fd));
	must(dlock_unlock(fd));
	strike(fault, 0, 3);
	start_waiter(&waiter, fd, LOCK_EX, -1);
	revive(fault, 0, 3);
	join_waiter(&waiter, 8000);
	cr_assert_eq(waiter.result, 0, "%s", strerror(waiter.error));
	must(dlock_close(fd));
	end();
}

Test(faults, killed_quorum_returns_while_one_waits) { quorum_returns_while_one_waits(KILLED); }
Test(faults, stopped_quorum_returns_while_one_waits) { quorum_returns_while_one_waits(STOPPED); }

/* ---- rolling restarts ---- */

static void roll(int fd, bool keep_data)
{
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(servers_restart(fleet.servers, i, keep_data), 0);
		cr_assert(FLEET_UNTIL(held_by(fd) == 5 && stat_of(fd).masters_up == 5, 8000),
		          "master %d: %u of 5 hold it, %u vote", i, held_by(fd), stat_of(fd).masters_up);
		cr_assert_not(readable(fd, 0), "lost with master %d", i);
	}
}

static void held_through_restarts(const char *settings, enum servers_persistence persistence, bool keep_data)
{
	int fd, rival;
	uint64_t token;

	begin(settings, persistence);
	fd = open_lock("rolling");
	rival = open_lock("rolling");
	must(dlock_lock(fd));
	token = dlock_token(fd);
	roll(fd, keep_data);
	cr_assert_eq(dlock_token(fd), token, "renewals keep the token");
	fails(dlock_trylock(rival), EWOULDBLOCK);
	must(dlock_unlock(fd));
	must(dlock_trylock(rival));
	cr_assert(dlock_token(rival) > token);
	must(dlock_close(rival));
	must(dlock_close(fd));
	end();
}

Test(faults, held_through_restarts_of_persistent_masters) { held_through_restarts(NULL, SERVERS_ALWAYS, true); }
Test(faults, held_through_restarts_of_empty_masters) { held_through_restarts("quarantine=off", SERVERS_NONE, false); }

/* With quarantine two at a time may go, once those before have waited: in the end a
 * majority has been replaced, and the lock lives by repair alone. */
Test(faults, held_while_a_majority_waits_in_quarantine_by_turns)
{
	int fd;

	begin(NULL, SERVERS_NONE);
	fd = open_lock("turns");
	must(dlock_lock(fd));
	for (int i = 0; i < 4; i += 2) {
		cr_assert_eq(servers_restart(fleet.servers, i, false), 0);
		cr_assert_eq(servers_restart(fleet.servers, i + 1, false), 0);
		cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 3, 3000), "%u vote", stat_of(fd).masters_up);
		cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5 && held_by(fd) == 5, FLEET_MAX_TTL_MS + 4000),
		          "%u vote, %u hold it", stat_of(fd).masters_up, held_by(fd));
	}
	cr_assert_not(readable(fd, 0), "lost");
	must(dlock_close(fd));
	end();
}

/* ---- holders ---- */

Test(holder, killed_frees_within_its_lease)
{
	struct peer peer;
	int64_t before_ms, sure_ms, killed_ms, got_ms;
	int fd, theirs;

	begin(NULL, SERVERS_NONE);
	fd = open_lock("killed");
	start_peer(&peer, NULL);
	theirs = open_in_peer(&peer, "killed");
	must(peer_lock(&peer, theirs, LOCK_EX));
	before_ms = fleet_now_ms();
	sure_ms = peer_know(&peer, theirs).remaining_ns / 1000000;
	cr_assert(sure_ms > 0);
	killed_ms = fleet_now_ms();
	peer_kill(&peer);
	must(dlock_lock(fd));
	got_ms = fleet_now_ms();
	/* It may have renewed in between, which makes it later only. One for rounding. */
	cr_assert(got_ms >= before_ms + sure_ms - 1, "%d ms too early", (int)(before_ms + sure_ms - got_ms));
	cr_assert(got_ms <= killed_ms + FLEET_TTL_MS + 1000, "%d ms after its end", (int)(got_ms - killed_ms));
	must(dlock_close(fd));
	end();
}

Test(holder, stopped_past_its_lease_is_told)
{
	struct peer peer;
	struct peer_answer known;
	uint64_t old;
	int fd, theirs;

	begin(NULL, SERVERS_NONE);
	fd = open_lock("stopped");
	start_peer(&peer, NULL);
	theirs = open_in_peer(&peer, "stopped");
	must(peer_lock(&peer, theirs, LOCK_EX));
	old = peer_know(&peer, theirs).token;
	must(peer_stop(&peer));
	must(dlock_lock(fd));
	cr_assert(old > 0 && dlock_token(fd) > old, "%llu then %llu", (unsigned long long)old,
	          (unsigned long long)dlock_token(fd));

	peer_cont(&peer);
	cr_assert_eq(peer_call(&peer, PEER_READABLE, theirs, 0, 2000), 1, "not told");
	known = peer_know(&peer, theirs);
	cr_assert(known.token == 0 && known.remaining_ns == 0 && known.token_error == ESTALE);
	fails(peer_call(&peer, PEER_VERIFY, theirs, 0, 0), ESTALE);
	fails(peer_lock(&peer, theirs, LOCK_EX), ESTALE);
	fails(peer_lock(&peer, theirs, LOCK_SH | LOCK_NB), ESTALE);
	must(dlock_verify(fd)); /* undisturbed by all that */

	must(peer_lock(&peer, theirs, LOCK_UN));
	cr_assert_eq(peer_call(&peer, PEER_READABLE, theirs, 0, 0), 0, "cleared, and still readable");
	fails(peer_lock(&peer, theirs, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	must(dlock_verify(fd));
	old = dlock_token(fd);
	must(dlock_unlock(fd));
	must(peer_lock(&peer, theirs, LOCK_EX));
	cr_assert(peer_know(&peer, theirs).token > old);
	peer_kill(&peer);
	must(dlock_close(fd));
	end();
}

/* Whoever comes back too late may not even look as if it held, whatever it is asked first. */
Test(holder, stopped_past_its_lease_by_itself)
{
	struct peer peer;
	struct peer_answer known;
	int theirs;

	begin(NULL, SERVERS_NONE);
	start_peer(&peer, NULL);
	theirs = open_in_peer(&peer, "alone");
	must(peer_lock(&peer, theirs, LOCK_EX));
	must(peer_stop(&peer));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "alone") == 0, FLEET_TTL_MS + 2000));
	/* The question is there before it runs again. */
	peer_ask(&peer, PEER_KNOW, theirs, 0, 0, NULL);
	peer_cont(&peer);
	cr_assert(peer_answer(&peer, &known, 5000));
	cr_assert(known.token == 0 && known.remaining_ns == 0, "a lock that had ended looks held");
	cr_assert_eq(known.token_error, ESTALE);
	peer_kill(&peer);
	end();
}

#define BY_HAND "ttl=3000 node_timeout=500"

Test(holder, keys_taken_away_by_hand)
{
	int fd;
	int64_t start_ms, took_ms;

	begin(BY_HAND, SERVERS_NONE);
	fd = open_lock("hand");
	must(dlock_lock(fd));
	cr_assert_not(readable(fd, 0));
	/* SET replaces: nobody can repair in between. */
	must(fleet_command(&fleet, 1, 3, "SET dlock:hand other PX 60000"));
	start_ms = fleet_now_ms();
	cr_assert(readable(fd, 4000), "not told");
	took_ms = fleet_now_ms() - start_ms;
	cr_assert(took_ms < 1000 + 3000, "told after %d ms: a renewal comes each 1000 ms", (int)took_ms);
	cr_assert_eq(stat_of(fd).state, DLOCK_STATE_LOST);
	fails(dlock_lock(fd), ESTALE);
	cr_assert(dlock_token(fd) == 0 && errno == ESTALE);
	must(dlock_unlock(fd));
	fails(dlock_trylock(fd), EWOULDBLOCK);
	must(fleet_command(&fleet, 1, 3, "DEL dlock:hand"));
	must(dlock_trylock(fd));
	must(dlock_close(fd));
	end();
}

Test(holder, a_minority_taken_away_by_hand_is_no_loss)
{
	int fd;

	begin(NULL, SERVERS_NONE);
	fd = open_ready("minority");
	must(dlock_lock(fd));
	must(fleet_command(&fleet, 0, 1, "DEL dlock:minority"));
	must(fleet_command(&fleet, 1, 1, "SET dlock:minority other PX 60000"));
	cr_assert_not(readable(fd, 3 * FLEET_TTL_MS / 2));
	must(dlock_verify(fd));
	cr_assert(FLEET_UNTIL(held_by(fd) == 4, 3000), "the deleted key is repaired, the foreign one is not touched");
	must(dlock_close(fd));
	cr_assert(fleet_keys_become(&fleet, "minority", 1));
	end();
}

/* Deleted everywhere and set again by repair: held as far as is known, but without the proof. */
Test(holder, a_gap_is_no_proof)
{
	int fd;

	begin(BY_HAND, SERVERS_NONE);
	fd = open_lock("gap");
	must(dlock_lock(fd));
	must(dlock_verify(fd));
	must(fleet_command(&fleet, 0, 5, "DEL dlock:gap"));
	fails(dlock_verify(fd), ESTALE);
	cr_assert_not_null(strstr(dlock_error_detail(), "no proof"), "%s", dlock_error_detail());
	fails(dlock_verify(fd), ESTALE);
	cr_assert_eq(stat_of(fd).state, DLOCK_STATE_HELD);
	must(dlock_unlock(fd));
	must(dlock_lock(fd));
	must(dlock_verify(fd));
	must(dlock_close(fd));
	end();
}

Test(holder, broken_by_an_operator)
{
	int fd, rival;
	uint64_t old;

	begin(BY_HAND, SERVERS_NONE);
	fd = open_lock("broken");
	rival = open_lock("broken");
	must(dlock_break_with("broken", fleet.options)); /* nobody holds it */
	must(dlock_lock(fd));
	old = dlock_token(fd);
	must(dlock_break_with("broken", fleet.options));
	must(dlock_trylock(rival));
	cr_assert(dlock_token(rival) > old);
	cr_assert(readable(fd, 4000), "not told");
	fails(dlock_verify(fd), ESTALE);
	must(dlock_unlock(fd));
	must(dlock_verify(rival));
	/* Also when nobody takes its place: a broken lock is not repaired. */
	must(dlock_break_with("broken", fleet.options));
	cr_assert(readable(rival, 2500), "not told");
	cr_assert(fleet_keys_become(&fleet, "broken", 0));
	must(dlock_close(rival));
	must(dlock_close(fd));
	end();
}

Test(holder, readers_broken_by_an_operator)
{
	int a, b, writer;

	begin(BY_HAND, SERVERS_NONE);
	a = open_lock("readers");
	b = open_lock("readers");
	writer = open_lock("readers");
	must(dlock_flock(a, LOCK_SH));
	must(dlock_flock(b, LOCK_SH));
	must(dlock_break_with("readers", fleet.options));
	must(dlock_trylock(writer));
	cr_assert(readable(a, 2500) && readable(b, 2500));
	must(dlock_close(a));
	must(dlock_close(b));
	must(dlock_verify(writer));
	must(dlock_close(writer));
	end();
}

Test(holder, verify)
{
	int fd;

	begin("ttl=4000 node_timeout=500", SERVERS_NONE);
	fd = open_ready("proof");
	fails(dlock_verify(fd), ENOLCK);
	must(dlock_lock(fd));
	must(dlock_verify(fd));
	must(dlock_flock(fd, LOCK_SH));
	must(dlock_verify(fd));
	strike(STOPPED, 0, 2);
	must(dlock_verify(fd));
	strike(STOPPED, 2, 1);
	fails(dlock_verify(fd), ENOLCK);
	cr_assert(dlock_remaining(fd) > 0, "no proof is not the loss");
	revive(STOPPED, 0, 3);
	must(dlock_unlock(fd));
	fails(dlock_verify(fd), ENOLCK);
	must(dlock_close(fd));
	fails(dlock_verify(fd), EBADF);
	end();
}

/* No renewal gets through: told when validity ends, not after it. */
Test(holder, lost_without_masters)
{
	int64_t end_ms;
	int fd;

	begin(NULL, SERVERS_NONE);
	fd = open_lock("lost");
	must(dlock_lock(fd));
	strike(STOPPED, 0, 3);
	end_ms = fleet_now_ms() + FLEET_TTL_MS;
	cr_assert(readable(fd, 3000), "not told");
	cr_assert(fleet_now_ms() <= end_ms + 300, "told %d ms late", (int)(fleet_now_ms() - end_ms));
	cr_assert(dlock_remaining(fd) == 0 && errno == ESTALE);
	revive(STOPPED, 0, 3);
	fails(dlock_lock(fd), ESTALE);
	must(dlock_unlock(fd));
	cr_assert(FLEET_UNTIL(dlock_trylock(fd) == 0, 5000), "%s", dlock_error_detail());
	must(dlock_close(fd));
	end();
}

/* ---- calls ---- */

#define UNHURRIED "ttl=4000 node_timeout=500" /* what must be gone goes long before a lease could end it */
#define SOON_MS 2500

static atomic_int handled;

static void handler(int signal)
{
	(void)signal;
	atomic_fetch_add(&handled, 1);
}

static void handle(int flags)
{
	const struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	atomic_store(&handled, 0);
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
}

Test(calls, a_handler_ends_the_wait)
{
	struct waiter waiter;
	int fd, waiting;

	begin(UNHURRIED, SERVERS_NONE);
	handle(0);
	fd = open_lock("interrupted");
	waiting = open_lock("interrupted");
	must(dlock_lock(fd));
	start_waiter(&waiter, waiting, LOCK_EX, -1);
	/* Again and again: the first may come just before it sleeps. */
	cr_assert(FLEET_UNTIL(pthread_kill(waiter.thread, SIGUSR1) != 0 || atomic_load(&waiter.finished), SOON_MS));
	join_waiter(&waiter, SOON_MS);
	cr_assert_eq(waiter.result, -1);
	cr_assert_eq(waiter.error, EINTR, "%s", strerror(waiter.error));
	cr_assert(atomic_load(&handled) > 0);
	must(dlock_close(fd));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "interrupted") == 0, SOON_MS), "something is left behind");
	must(dlock_trylock(waiting));
	must(dlock_close(waiting));
	end();
}

Test(calls, a_handler_with_restart_does_not)
{
	struct waiter waiter;
	int fd, waiting;

	begin(UNHURRIED, SERVERS_NONE);
	handle(SA_RESTART);
	fd = open_lock("restarted");
	waiting = open_lock("restarted");
	must(dlock_lock(fd));
	start_waiter(&waiter, waiting, LOCK_EX, -1);
	for (int i = 1; i <= 20; i++) {
		cr_assert_eq(pthread_kill(waiter.thread, SIGUSR1), 0);
		cr_assert(FLEET_UNTIL(atomic_load(&handled) >= i, SOON_MS));
	}
	cr_assert_eq(stat_of(waiting).state, DLOCK_STATE_WAITING);
	must(dlock_unlock(fd));
	join_waiter(&waiter, SOON_MS);
	cr_assert_eq(waiter.result, 0, "%s", strerror(waiter.error));
	must(dlock_close(waiting));
	must(dlock_close(fd));
	end();
}

Test(calls, timeouts)
{
	int fd, other;
	int64_t start_ms, took_ms;

	begin(UNHURRIED, SERVERS_NONE);
	fd = open_lock("time");
	other = open_lock("time");
	must(dlock_lock(fd));
	for (int operation = LOCK_SH; operation <= LOCK_EX; operation += LOCK_EX - LOCK_SH) {
		fails(dlock_flock(other, operation | LOCK_NB), EWOULDBLOCK);
		fails(dlock_timedlock(other, operation, 0), EWOULDBLOCK);
		start_ms = fleet_now_ms();
		fails(dlock_timedlock(other, operation, 250), ETIMEDOUT);
		took_ms = fleet_now_ms() - start_ms;
		cr_assert(took_ms >= 250 && took_ms < 6000, "%d ms", (int)took_ms);
	}
	fails(dlock_timedlock(other, LOCK_EX, -2), EINVAL);
	fails(dlock_flock(other, 0), EINVAL);
	fails(dlock_flock(other, LOCK_EX | LOCK_SH), EINVAL);
	must(dlock_verify(fd));
	must(dlock_close(fd));
	cr_assert(fleet_keys_become(&fleet, "time", 0));
	must(dlock_timedlock(other, LOCK_EX, 2000));
	must(dlock_close(other));
	end();
}

static void closed_by_another_thread(bool plainly)
{
	struct waiter waiter;
	int fd, waiting;

	begin(UNHURRIED, SERVERS_NONE);
	fd = open_lock("closed");
	waiting = open_lock("closed");
	must(dlock_lock(fd));
	start_waiter(&waiter, waiting, LOCK_EX, -1);
	must(plainly ? close(waiting) : dlock_close(waiting));
	join_waiter(&waiter, SOON_MS);
	cr_assert_eq(waiter.result, -1);
	cr_assert_eq(waiter.error, EBADF, "%s", strerror(waiter.error));
	fails(dlock_lock(waiting), EBADF);
	must(dlock_verify(fd));
	must(dlock_close(fd));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "closed") == 0, SOON_MS), "something is left behind");
	end();
}

Test(calls, dlock_close_ends_a_wait) { closed_by_another_thread(false); }
Test(calls, close_ends_a_wait) { closed_by_another_thread(true); }

Test(calls, the_last_close_releases)
{
	int fd, copy, rival;

	begin(UNHURRIED, SERVERS_NONE);
	fd = open_lock("copies");
	rival = open_lock("copies");
	must(dlock_lock(fd));
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	cr_assert(copy >= 0);
	cr_assert_eq(dlock_token(copy), dlock_token(fd));
	must(close(fd));
	fails(dlock_trylock(rival), EWOULDBLOCK);
	must(dlock_verify(copy));
	must(dlock_lock(copy)); /* held already */
	must(close(copy));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "copies") == 0, SOON_MS), "still held");
	must(dlock_trylock(rival));
	/* dlock_close() releases also where copies are open. */
	copy = fcntl(rival, F_DUPFD_CLOEXEC, 0);
	must(dlock_close(rival));
	cr_assert(fleet_keys_become(&fleet, "copies", 0));
	fails(dlock_lock(copy), EBADF);
	must(close(copy));
	end();
}

/* In the child: the number of the step that went wrong, or 0. */
static int child_of_fork(int fd)
{
	struct dlock_stat stat;
	int own;

	if (dlock_lock(fd) != -1 || errno != ECHILD)
		return 1;
	if (dlock_unlock(fd) != -1 || errno != ECHILD)
		return 2;
	if (dlock_token(fd) != 0 || errno != ECHILD)
		return 3;
	if (dlock_remaining(fd) != 0 || errno != ECHILD)
		return 4;
	if (dlock_stat(fd, &stat, sizeof(stat)) != -1 || errno != ECHILD)
		return 5;
	if (dlock_verify(fd) != -1 || errno != ECHILD)
		return 6;
	if (dlock_result(fd) != -1 || errno != ECHILD)
		return 7;
	own = dlock_open_with("forked", 0, fleet.options);
	if (own < 0 || dlock_trylock(own) != -1 || errno != EWOULDBLOCK)
		return 8;
	if (dlock_close(own) != 0)
		return 9;
	own = dlock_open_with("the child's", 0, fleet.options);
	if (own < 0 || dlock_lock(own) != 0 || dlock_verify(own) != 0 || dlock_close(own) != 0)
		return 10;
	if (dlock_close(fd) != 0)
		return 11;
	return dlock_lock(fd) == -1 && errno == EBADF ? 0 : 12;
}

Test(calls, after_fork)
{
	int fd, status, copy;
	pid_t child;

	begin(UNHURRIED, SERVERS_NONE);
	fd = open_lock("forked");
	copy = fcntl(fd, F_DUPFD, 0);
	must(dlock_lock(fd));
	child = fork();
	if (child == 0)
		_exit(child_of_fork(copy));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status), "signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d went wrong in the child", WEXITSTATUS(status));
	must(dlock_verify(fd));
	cr_assert(fleet_keys_become(&fleet, "forked", 5));
	must(dlock_close(fd));
	must(close(copy));
	end();
}

/* A child that keeps a copy keeps the lock from going, as long as its parent lives. */
Test(calls, exit_frees_though_a_child_keeps_a_copy)
{
	struct peer peer;
	struct peer_answer answer;
	int fd, theirs;
	int64_t start_ms, took_ms;

	begin(NULL, SERVERS_NONE);
	start_peer(&peer, NULL);
	theirs = open_in_peer(&peer, "orphan");
	must(peer_lock(&peer, theirs, LOCK_EX));
	fd = open_lock("orphan");
	fails(dlock_trylock(fd), EWOULDBLOCK);
	peer_ask(&peer, PEER_FORK_AND_GO, 0, 0, 0, NULL);
	cr_assert(peer_answer(&peer, &answer, 5000));
	start_ms = fleet_now_ms();
	must(dlock_lock(fd));
	took_ms = fleet_now_ms() - start_ms;
	cr_assert(took_ms <= FLEET_TTL_MS + 1000, "%d ms", (int)took_ms);
	kill((pid_t)answer.result, SIGKILL);
	peer_kill(&peer);
	must(dlock_close(fd));
	end();
}

/* ---- DLOCK_NONBLOCK ---- */

static int open_nonblock(const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC | DLOCK_NONBLOCK, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

#define under_way(call) fails(call, EINPROGRESS)

Test(calls, nonblock_success)
{
	int fd;

	begin(UNHURRIED, SERVERS_NONE);
	fd = open_nonblock("asynchronous");
	must(dlock_result(fd)); /* there was none */
	under_way(dlock_lock(fd));
	cr_assert(readable(fd, SOON_MS));
	cr_assert(readable(fd, 0), "until it is asked for");
	must(dlock_result(fd));
	cr_assert_not(readable(fd, 0));
	must(dlock_result(fd));
	cr_assert_eq(stat_of(fd).mode, LOCK_EX);
	must(dlock_lock(fd)); /* held: at once */
	under_way(dlock_verify(fd));
	cr_assert(readable(fd, SOON_MS));
	must(dlock_result(fd));
	under_way(dlock_flock(fd, LOCK_SH));
	cr_assert(readable(fd, SOON_MS));
	must(dlock_result(fd));
	cr_assert_eq(stat_of(fd).mode, LOCK_SH);
	under_way(dlock_unlock(fd));
	cr_assert(readable(fd, SOON_MS));
	must(dlock_result(fd));
	cr_assert_eq(stat_of(fd).state, DLOCK_STATE_IDLE);
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "asynchronous") == 0, SOON_MS));
	must(dlock_close(fd));
	end();
}

static void ends_with(int fd, int error)
{
	cr_assert(readable(fd, SOON_MS), "no end");
	fails(dlock_result(fd), error);
	cr_assert_not(readable(fd, 0));
}

Test(calls, nonblock_failure)
{
	int fd, holder;

	begin(UNHURRIED, SERVERS_NONE);
	holder = open_lock("refused");
	fd = open_nonblock("refused");
	must(dlock_lock(holder));
	under_way(dlock_trylock(fd));
	ends_with(fd, EWOULDBLOCK);
	under_way(dlock_timedlock(fd, LOCK_SH, 100));
	ends_with(fd, ETIMEDOUT);
	under_way(dlock_lock(fd));
	cr_assert_not(readable(fd, 0));
	fails(dlock_result(fd), EINPROGRESS);
	fails(dlock_lock(fd), EALREADY);
	fails(dlock_unlock(fd), EALREADY);
	fails(dlock_verify(fd), EALREADY);
	must(dlock_unlock(holder));
	cr_assert(readable(fd, SOON_MS));
	must(dlock_result(fd));
	/* Lost while nothing is under way. */
	must(dlock_break_with("refused", fleet.options));
	cr_assert(readable(fd, 3000), "not told");
	fails(dlock_result(fd), ESTALE);
	fails(dlock_result(fd), ESTALE);
	fails(dlock_lock(fd), ESTALE);
	must(dlock_unlock(fd));
	strike(STOPPED, 0, 3);
	under_way(dlock_trylock(fd));
	ends_with(fd, ENOLCK);
	cr_assert_not_null(strstr(dlock_error_detail(), servers_address(fleet.servers, 2)), "%s", dlock_error_detail());
	revive(STOPPED, 0, 3);
	must(dlock_close(fd));
	must(dlock_close(holder));
	end();
}

Test(calls, nonblock_closed_under_way)
{
	int fd, holder;

	begin(UNHURRIED, SERVERS_NONE);
	holder = open_lock("left");
	for (int plainly = 0; plainly < 2; plainly++) {
		must(dlock_lock(holder));
		fd = open_nonblock("left");
		under_way(dlock_lock(fd));
		must(plainly ? close(fd) : dlock_close(fd));
		must(dlock_unlock(holder));
		cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "left") == 0, SOON_MS));
	}
	must(dlock_close(holder));
	end();
}

/* ---- modes ---- */

/* Two descriptors, in one peer or in two. */
static void share_and_convert(struct peer *a, int fa, struct peer *b, int fb)
{
	uint64_t first, second;

	must(peer_lock(a, fa, LOCK_SH));
	must(peer_lock(b, fb, LOCK_SH));
	must(peer_lock(b, fb, LOCK_SH)); /* held already */
	fails(peer_lock(a, fa, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	must((int)peer_call(a, PEER_VERIFY, fa, 0, 0)); /* and kept */
	must(peer_lock(b, fb, LOCK_UN));
	must(peer_lock(a, fa, LOCK_EX | LOCK_NB));
	must((int)peer_call(a, PEER_VERIFY, fa, 0, 0));
	first = peer_know(a, fa).token;
	fails(peer_lock(b, fb, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	fails(peer_lock(b, fb, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	must(peer_lock(a, fa, LOCK_SH));
	must(peer_lock(b, fb, LOCK_SH | LOCK_NB));
	second = peer_know(b, fb).token;
	cr_assert(second > first, "a reader after a writer has the larger token");
	must(peer_lock(a, fa, LOCK_UN));
	must(peer_lock(b, fb, LOCK_EX));
	cr_assert(peer_know(b, fb).token > second);
	must(peer_lock(b, fb, LOCK_UN));
}

Test(calls, conversions_within_a_process)
{
	struct peer peer;
	int a, b;

	begin(UNHURRIED, SERVERS_NONE);
	start_peer(&peer, NULL);
	a = open_in_peer(&peer, "modes");
	b = open_in_peer(&peer, "modes");
	share_and_convert(&peer, a, &peer, b);
	share_and_convert(&peer, b, &peer, a);
	peer_kill(&peer);
	end();
}

Test(calls, conversions_between_processes)
{
	struct peer a, b;
	int fa, fb;

	begin(UNHURRIED, SERVERS_NONE);
	start_peer(&a, NULL);
	start_peer(&b, NULL);
	fa = open_in_peer(&a, "modes");
	fb = open_in_peer(&b, "modes");
	share_and_convert(&a, fa, &b, fb);
	share_and_convert(&b, fb, &a, fa);
	peer_kill(&a);
	peer_kill(&b);
	end();
}

/* Two readers that both wait to write: one after the other, and never both. */
Test(calls, two_readers_convert_at_once)
{
	struct waiter one, two;
	int a, b;

	begin(UNHURRIED, SERVERS_NONE);
	a = open_lock("upgrade");
	b = open_lock("upgrade");
	for (int round = 0; round < 5; round++) {
		must(dlock_flock(a, LOCK_SH));
		must(dlock_flock(b, LOCK_SH));
		start_waiter(&one, a, LOCK_EX, -1);
		cr_assert_eq(waiter_start(&two, b, LOCK_EX, -1), 0);
		cr_assert(FLEET_UNTIL(atomic_load(&one.finished) || atomic_load(&two.finished), 5000), "a deadlock");
		fleet_sleep_ms(round * 30); /* not for luck: the other shall be seen to wait */
		cr_assert(atomic_load(&one.finished) != atomic_load(&two.finished), "both hold it");
		must(dlock_unlock(atomic_load(&one.finished) ? a : b));
		join_waiter(&one, 5000);
		join_waiter(&two, 5000);
		cr_assert_eq(one.result, 0, "%s", strerror(one.error));
		cr_assert_eq(two.result, 0, "%s", strerror(two.error));
		must(dlock_unlock(a));
		must(dlock_unlock(b));
	}
	must(dlock_close(a));
	must(dlock_close(b));
	end();
}

Test(calls, readers_keep_the_writer_out)
{
	struct peer reader, writer;
	int fr, fw, here;

	begin(UNHURRIED, SERVERS_NONE);
	start_peer(&reader, NULL);
	start_peer(&writer, NULL);
	fr = open_in_peer(&reader, "library");
	fw = open_in_peer(&writer, "library");
	here = open_lock("library");
	must(peer_lock(&reader, fr, LOCK_SH));
	must(dlock_flock(here, LOCK_SH | LOCK_NB));
	fails(peer_lock(&writer, fw, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	must(peer_lock(&reader, fr, LOCK_UN));
	fails(peer_lock(&writer, fw, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	must(dlock_unlock(here));
	must(peer_lock(&writer, fw, LOCK_EX | LOCK_NB));
	fails(dlock_flock(here, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	fails(peer_lock(&reader, fr, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	/* A waiting reader is let in when the writer goes. */
	peer_ask(&reader, PEER_LOCK, fr, LOCK_SH, -1, NULL);
	must(peer_lock(&writer, fw, LOCK_UN));
	must(({
		struct peer_answer answer = {.result = -1};

		cr_assert(peer_answer(&reader, &answer, SOON_MS), "the reader waits for ever");
		(int)answer.result;
	}));
	peer_kill(&reader);
	peer_kill(&writer);
	must(dlock_close(here));
	end();
}

Test(calls, two_descriptors_contend)
{
	struct waiter waiter;
	int a, b, c;

	begin(UNHURRIED, SERVERS_NONE);
	a = open_lock("one name");
	b = open_lock("one name");
	c = open_lock("another name");
	must(dlock_lock(a));
	must(dlock_lock(a));
	fails(dlock_trylock(b), EWOULDBLOCK);
	must(dlock_trylock(c));
	must(dlock_unlock(b)); /* holds nothing: nothing happens */
	must(dlock_verify(a));
	start_waiter(&waiter, b, LOCK_EX, -1);
	must(dlock_unlock(a));
	join_waiter(&waiter, SOON_MS);
	cr_assert_eq(waiter.result, 0);
	fails(dlock_trylock(a), EWOULDBLOCK);
	must(dlock_close(a));
	must(dlock_close(b));
	must(dlock_close(c));
	end();
}

/* ---- what masters may do to us ---- */

/* Until the masters are left by their connections, so that the release meets none. */
static bool given_up(int first, int count)
{
	struct fleet_sight sight;
	int gone = 0;

	fleet_look(fleet.options, &sight);
	for (int i = first; i < first + count; i++)
		gone += sight.at[i].state == DLOCK_MASTER_UNREACHED;
	return gone == count;
}

static void release_reaches_those_that_return(enum fault fault, bool given_up_first, bool closed)
{
	int fd;

	begin("ttl=60000 max_ttl=60000 node_timeout=200", SERVERS_ALWAYS);
	fd = open_lock("owed");
	must(dlock_lock(fd));
	cr_assert(fleet_keys_become(&fleet, "owed", 5));
	strike(fault, 0, 2);
	if (given_up_first)
		cr_assert(FLEET_UNTIL(given_up(0, 2), 5000));
	must(closed ? dlock_close(fd) : dlock_unlock(fd));
	if (fault == STOPPED)
		cr_assert_eq(fleet_keys(&fleet, "owed"), 0);
	revive(fault, 0, 2);
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "owed") == 0, 6000), "%d keys are left, for a minute",
	          fleet_keys(&fleet, "owed"));
	if (!closed)
		must(dlock_close(fd));
	end();
}

Test(masters, release_reaches_the_stopped) { release_reaches_those_that_return(STOPPED, false, false); }
Test(masters, release_reaches_the_stopped_after_close) { release_reaches_those_that_return(STOPPED, false, true); }
Test(masters, release_reaches_the_given_up) { release_reaches_those_that_return(STOPPED, true, false); }
Test(masters, release_reaches_the_restarted) { release_reaches_those_that_return(KILLED, true, false); }
Test(masters, release_reaches_the_restarted_after_close) { release_reaches_those_that_return(KILLED, false, true); }

Test(masters, script_flush)
{
	int fd, other;

	begin(NULL, SERVERS_NONE);
	fd = open_ready("script");
	other = open_lock("script");
	must(dlock_lock(fd));
	must(fleet_command(&fleet, 0, 5, "SCRIPT FLUSH"));
	must(dlock_verify(fd));
	cr_assert(FLEET_UNTIL(held_by(fd) == 5, 500));
	must(fleet_command(&fleet, 0, 5, "SCRIPT FLUSH"));
	fails(dlock_trylock(other), EWOULDBLOCK);
	must(fleet_command(&fleet, 0, 5, "SCRIPT FLUSH"));
	must(dlock_unlock(fd));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "script") == 0, 500));
	for (int i = 0; i < 20; i++) {
		must(fleet_command(&fleet, i % 5, 1, "SCRIPT FLUSH"));
		must(dlock_lock(other));
		must(dlock_unlock(other));
	}
	must(dlock_close(fd));
	must(dlock_close(other));
	end();
}

Test(masters, connections_killed)
{
	struct waiter waiter;
	int fd, waiting;
	uint64_t token;

	begin("ttl=3000", SERVERS_NONE);
	fd = open_lock("cut");
	waiting = open_lock("cut");
	must(dlock_lock(fd));
	token = dlock_token(fd);
	start_waiter(&waiter, waiting, LOCK_EX, -1);
	for (int i = 0; i < 5; i++) {
		must(fleet_command(&fleet, 0, 5, "CLIENT KILL TYPE normal"));
		cr_assert(FLEET_UNTIL(stat_of(fd).masters_up == 5, 2500), "%u are back", stat_of(fd).masters_up);
	}
	cr_assert_not(readable(fd, 0), "lost");
	cr_assert_eq(dlock_token(fd), token);
	cr_assert_not(atomic_load(&waiter.finished), "%s", strerror(waiter.error));
	must(dlock_unlock(fd));
	join_waiter(&waiter, SOON_MS);
	cr_assert_eq(waiter.result, 0, "%s", strerror(waiter.error));
	must(fleet_command(&fleet, 0, 5, "CLIENT KILL TYPE normal"));
	must(dlock_unlock(waiting));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "cut") == 0, 2000), "the release was lost");
	must(dlock_close(fd));
	must(dlock_close(waiting));
	end();
}

Test(masters, memory_full)
{
	int fd;

	begin("ttl=4000 node_timeout=500", SERVERS_NONE);
	fd = open_lock("memory");
	must(dlock_lock(fd));
	must(fleet_command(&fleet, 0, 5, "CONFIG SET maxmemory 1"));
	must(dlock_verify(fd));
	must(dlock_unlock(fd));
	cr_assert(fleet_keys_become(&fleet, "memory", 0), "a release needs no memory");
	fails(dlock_trylock(fd), ENOLCK);
	must(fleet_command(&fleet, 0, 5, "CONFIG SET maxmemory 0"));
	cr_assert(FLEET_UNTIL(dlock_trylock(fd) == 0, 5000), "%s", dlock_error_detail());
	must(dlock_close(fd));
	cr_assert(FLEET_UNTIL(fleet_keys(&fleet, "memory") == 0, SOON_MS), "a half-taken lock is left");
	end();
}

Test(masters, paused)
{
	int fd, idle;

	begin("ttl=4000 quorum_timeout=5000", SERVERS_NONE);
	fd = open_ready("pause");
	idle = open_lock("idle in the pause");
	must(dlock_lock(fd));
	must(fleet_command(&fleet, 0, 2, "CLIENT PAUSE 60000"));
	lock_and_unlock(idle);
	must(dlock_verify(fd));
	must(fleet_command(&fleet, 2, 3, "CLIENT PAUSE 1200"));
	fails(dlock_trylock(idle), ENOLCK);
	must(dlock_lock(idle)); /* waits the pause out */
	cr_assert_not(readable(fd, 0), "lost");
	cr_assert(dlock_remaining(fd) > 0);
	must(dlock_close(fd));
	must(dlock_close(idle));
	end();
}
