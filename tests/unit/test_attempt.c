/*
 * test_attempt.c - where a token may be, and the duty to take it away again.
 *
 * How it works: one attempt over three masters that are told to be connected;
 * what it asks for is read from the effects.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/attempt.h"

#define MS INT64_C(1000)
#define NOW (INT64_C(1000) * MS)
#define TTL (INT64_C(500) * MS)
#define TOKEN "0005f1e2d3c4b5a6-00112233445566778899aabbccddeeff-h/1/p"

static struct quorum quorum;
static struct attempt *attempt;
static struct effects effects;

static void begin(void)
{
	struct quorum_settings settings = {.count = 3, .ttl_us = TTL, .node_timeout_us = 50 * MS};

	strcpy(settings.fingerprint, "00000000000000c1");
	quorum_init(&quorum, &settings);
	for (unsigned i = 0; i < 3; i++)
		quorum.masters[i].connected = true;
	effects.count = 0;
	attempt = attempt_new(&quorum, "db", 2, TOKEN, 0, TTL);
	cr_assert_not_null(attempt);
	attempt->mode = MODE_EXCLUSIVE;
	attempt->bid = true;
	attempt->highest = 700;
}

static void end(void)
{
	attempt_free(attempt);
}

TestSuite(attempt, .init = begin, .fini = end);

/* Ask for A; the request that went out. */
static struct request ask(unsigned master)
{
	struct request request = {.op = OP_ACQUIRE, .mode = MODE_EXCLUSIVE, .fence = attempt->highest};

	attempt_send(attempt, request, master, NOW, &effects);
	return effects.list[effects.count - 1].request;
}

/* As lock_answered() does, for an open attempt. */
static void answer(const struct request *request, int code, const char *holder)
{
	struct answer answer = {.code = code};

	strcpy(answer.holder, holder);
	attempt->in_flight--;
	attempt_voted(attempt, request, &answer);
}

static void answer_release(unsigned master, int code, int64_t now_us)
{
	struct request request = {.op = OP_RELEASE, .master = master, .attempt = attempt};
	struct answer answer = {.code = code};

	attempt_answered_closed(attempt, &request, &answer, now_us, &effects);
}

/* Close it; the masters that were sent a release, a bit each. */
static unsigned released_at(int64_t now_us)
{
	unsigned masters = 0;

	effects.count = 0;
	attempt_close(attempt, 0, now_us, &effects);
	for (size_t i = 0; i < effects.count; i++) {
		cr_assert_eq(effects.list[i].kind, EFFECT_SEND);
		cr_assert_eq(effects.list[i].request.op, OP_RELEASE);
		masters |= 1u << effects.list[i].request.master;
	}
	return masters;
}

Test(attempt, copies_its_key_and_token)
{
	cr_assert_eq(attempt->key_length, 2);
	cr_assert_arr_eq(attempt->key, "db", 3);
	cr_assert_str_eq(attempt->token, TOKEN);
}

Test(attempt, numbers_its_requests)
{
	struct request one = ask(0), two = ask(2);

	cr_assert_eq(one.serial, 1);
	cr_assert_eq(two.serial, 2);
	cr_assert_eq(two.sent_us, NOW);
	cr_assert_eq(two.ttl_us, TTL);
	cr_assert_eq(two.attempt, attempt);
	cr_assert_eq(attempt->in_flight, 2);
}

Test(attempt, never_asked_is_never_released)
{
	cr_assert_eq(released_at(NOW), 0);
	cr_assert(attempt_is_finished(attempt, NOW));
	cr_assert_eq(attempt_released(attempt), 3);
}

Test(attempt, release_goes_to_who_voted_or_has_not_answered)
{
	struct request yes = ask(0), refused = ask(2);

	ask(1);
	answer(&yes, CODE_YES, "");
	answer(&refused, CODE_BUSY, "somebody");
	cr_assert_eq(released_at(NOW), 3);
	cr_assert_eq(effects.list[0].request.fence, 701); /* the tombstone */
	cr_assert_eq(attempt_released(attempt), 1);
}

Test(attempt, refusals_leave_nothing_there)
{
	static const int codes[] = {CODE_BUSY, CODE_REJECTED, CODE_SKEWED};

	for (unsigned i = 0; i < 3; i++) {
		struct request request = ask(i);

		answer(&request, codes[i], "somebody");
	}
	cr_assert_eq(released_at(NOW), 0);
}

Test(attempt, whatever_is_no_refusal_leaves_it_open)
{
	static const int codes[] = {CODE_ERROR, CODE_BROKEN, CODE_OUTBID};

	for (unsigned i = 0; i < 3; i++) {
		struct request request = ask(i);

		answer(&request, codes[i], "");
	}
	cr_assert_eq(released_at(NOW), 7);
}

Test(attempt, later_answer_tells_of_the_same_master_only_what_it_knows)
{
	struct request request = ask(0);

	/* Taken, and then skewed: the key is still there. */
	answer(&request, CODE_YES, "");
	request = ask(0);
	answer(&request, CODE_SKEWED, "");
	/* Broken, and then refused: the broken one may still arrive. */
	request = ask(1);
	answer(&request, CODE_BROKEN, "");
	request = ask(1);
	answer(&request, CODE_BUSY, "somebody");
	/* An error, and then refused: the order holds. */
	request = ask(2);
	answer(&request, CODE_ERROR, "");
	request = ask(2);
	answer(&request, CODE_BUSY, "somebody");
	cr_assert_eq(released_at(NOW), 3);
}

Test(attempt, among_readers_in_the_way_may_be_itself)
{
	struct request request = ask(0);

	answer(&request, CODE_YES, "");
	request = ask(0);
	answer(&request, CODE_BUSY, "zset");
	request = ask(1);
	answer(&request, CODE_BUSY, "zset"); /* never was there */
	cr_assert_eq(released_at(NOW), 1);
}

Test(attempt, shared_one_leaves_no_tombstone)
{
	attempt->bid = false;
	attempt->mode = MODE_SHARED;
	ask(0);
	cr_assert_eq(released_at(NOW), 1);
	cr_assert_eq(effects.list[0].request.fence, 0);
}

Test(attempt, is_finished_when_all_have_confirmed)
{
	ask(0);
	ask(1);
	attempt->in_flight = 0; /* both were answered */
	released_at(NOW);
	cr_assert_not(attempt_is_finished(attempt, NOW));
	cr_assert(attempt_awaits_release(attempt, NOW));
	answer_release(0, CODE_YES, NOW);
	cr_assert_not(attempt_is_finished(attempt, NOW));
	answer_release(1, CODE_YES, NOW);
	cr_assert(attempt_is_finished(attempt, NOW));
	cr_assert_not(attempt_awaits_release(attempt, NOW));
	cr_assert_eq(attempt_released(attempt), 3);
}

Test(attempt, release_waits_for_the_connection)
{
	ask(0);
	attempt->in_flight = 0;
	quorum.masters[0].connected = false;
	cr_assert_eq(released_at(NOW), 0);
	cr_assert_not(attempt_is_finished(attempt, NOW));
	attempt_tick(attempt, NOW, &effects);
	cr_assert_eq(effects.count, 0);
	cr_assert_eq(attempt_next_us(attempt), attempt->until_us);
	quorum.masters[0].connected = true;
	cr_assert_leq(attempt_next_us(attempt), NOW);
	attempt_tick(attempt, NOW, &effects);
	cr_assert_eq(effects.count, 1);
	attempt_tick(attempt, NOW, &effects); /* once */
	cr_assert_eq(effects.count, 1);
}

Test(attempt, release_that_broke_is_sent_again)
{
	ask(0);
	attempt->in_flight = 0;
	released_at(NOW);
	attempt_disconnected(attempt, 0, NOW);
	answer_release(0, CODE_BROKEN, NOW);
	cr_assert_not(attempt_is_finished(attempt, NOW));
	effects.count = 0;
	attempt_tick(attempt, NOW, &effects);
	cr_assert_eq(effects.count, 1);
	cr_assert_eq(effects.list[0].request.fence, 701);
}

Test(attempt, release_that_failed_is_sent_again_after_a_while)
{
	ask(0);
	attempt->in_flight = 0;
	released_at(NOW);
	answer_release(0, CODE_ERROR, NOW);
	effects.count = 0;
	attempt_tick(attempt, NOW, &effects);
	cr_assert_eq(effects.count, 0);
	cr_assert_eq(attempt_next_us(attempt), NOW + 200 * MS);
	attempt_tick(attempt, NOW + 200 * MS, &effects);
	cr_assert_eq(effects.count, 1);
}

Test(attempt, release_where_the_script_is_missing_is_sent_at_once)
{
	ask(0);
	attempt->in_flight = 0;
	released_at(NOW);
	effects.count = 0;
	answer_release(0, CODE_NOT_CARRIED_OUT, NOW);
	cr_assert_eq(effects.count, 1);
	cr_assert_eq(effects.list[0].request.op, OP_RELEASE);
}

Test(attempt, release_is_not_sent_to_a_replica_that_can_only_refuse_it)
{
	struct introduction *in = &quorum.masters[0].introduction;

	ask(0);
	attempt->in_flight = 0;
	in->info_known = true;
	in->is_master = false;
	effects.count = 0;
	released_at(NOW);
	attempt_tick(attempt, NOW + 1, &effects);
	cr_assert_eq(effects.count, 0);
	cr_assert_eq(attempt_next_us(attempt), attempt->until_us); /* nothing is due before, as long as it is one */
	in->is_master = true;
	attempt_tick(attempt, NOW + 2, &effects);
	cr_assert_eq(effects.count, 1);
	cr_assert_eq(effects.list[0].request.op, OP_RELEASE);
}

Test(attempt, release_is_owed_until_the_key_has_ended_for_certain)
{
	ask(0);
	attempt->in_flight = 0;
	quorum.masters[0].connected = false;
	released_at(NOW);
	cr_assert_eq(attempt->until_us, NOW + TTL + quorum.quarantine_us);
	cr_assert_not(attempt_is_finished(attempt, attempt->until_us - 1));
	cr_assert(attempt_is_finished(attempt, attempt->until_us));
	quorum.masters[0].connected = true;
	effects.count = 0;
	attempt_tick(attempt, attempt->until_us, &effects);
	cr_assert_eq(effects.count, 0);
}

Test(attempt, asks_for_no_timer_in_the_past)
{
	int64_t until_us;

	ask(0);
	attempt->in_flight = 0;
	released_at(NOW);
	until_us = attempt->until_us;
	/* The release is on its way to a master that is silent. */
	cr_assert_eq(attempt_next_us(attempt), NEVER_US);
	cr_assert_not(attempt_is_finished(attempt, until_us));
	answer_release(0, CODE_ERROR, until_us + 1);
	cr_assert(attempt_is_finished(attempt, until_us + 1));
	attempt_tick(attempt, until_us + 1, &effects);
	cr_assert_eq(attempt_released(attempt), 3);
}

Test(attempt, request_that_was_not_sent_is_not_awaited)
{
	struct request request = ask(0);

	attempt_not_sent(attempt, &request);
	cr_assert_eq(attempt->in_flight, 0);
	cr_assert_eq(attempt->votes[0].unanswered, 0);
	cr_assert_eq(released_at(NOW), 1);
	request = effects.list[0].request;
	attempt_not_sent(attempt, &request);
	cr_assert_eq(attempt->in_flight, 0);
	cr_assert_not(attempt_is_finished(attempt, NOW));
	cr_assert(attempt_next_us(attempt) > NOW && attempt_next_us(attempt) < attempt->until_us);
}

Test(attempt, reconnect_makes_what_is_there_doubtful)
{
	ask(0);
	attempt_disconnected(attempt, 0, NOW);
	attempt_disconnected(attempt, 1, NOW);
	cr_assert(attempt->votes[0].doubtful);
	cr_assert_not(attempt->votes[1].doubtful);
}

/* ---- what travels with it (rule 5) ---- */

static char bytes[] = "bytes";

static void load(uint64_t version)
{
	attempt->cargo = (struct cargo){.bytes = bytes, .size = 5, .version = version};
}

static struct request extend(unsigned master, enum mode mode)
{
	struct request request = {.op = OP_EXTEND, .mode = mode, .fence = attempt->highest};

	attempt_send(attempt, request, master, NOW, &effects);
	return effects.list[effects.count - 1].request;
}

static void confirm(const struct request *request, uint64_t version)
{
	struct answer answer = {.code = CODE_YES, .version = version};

	attempt->in_flight--;
	attempt_voted(attempt, request, &answer);
}

Test(attempt, bytes_go_with_each_acquire_and_until_they_are_confirmed)
{
	struct request request;

	request = ask(0);
	cr_assert_eq(request.version, 0);
	cr_assert_not(request.bytes);
	confirm(&request, 0);
	load(3);
	request = ask(0);
	cr_assert_eq(request.version, 3);
	cr_assert(request.bytes);
	cr_assert_not(extend(0, MODE_EXCLUSIVE).bytes); /* they are under way */
	confirm(&request, 3);
	cr_assert_not(extend(0, MODE_EXCLUSIVE).bytes);
	cr_assert(ask(0).bytes);
	cr_assert_eq(attempt_carriers(attempt), 1);
	cr_assert(extend(1, MODE_EXCLUSIVE).bytes);
	load(4);
	cr_assert_eq(attempt_carriers(attempt), 0);
	cr_assert(extend(0, MODE_EXCLUSIVE).bytes);
}

Test(attempt, bytes_that_did_not_arrive_are_sent_again)
{
	static const int codes[] = {CODE_BROKEN, CODE_ERROR, CODE_NOT_CARRIED_OUT, CODE_BARE, CODE_BUSY, CODE_EPOCH};
	struct request request;

	load(1);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		request = extend(0, MODE_EXCLUSIVE);
		cr_assert(request.bytes, "%d", codes[i]);
		answer(&request, codes[i], "somebody");
	}
	request = extend(0, MODE_EXCLUSIVE);
	attempt_not_sent(attempt, &request);
	request = extend(0, MODE_EXCLUSIVE);
	cr_assert(request.bytes);
	confirm(&request, 0); /* refused */
	request = extend(0, MODE_EXCLUSIVE);
	cr_assert(request.bytes);
	confirm(&request, 1);
	/* Only what says that they are gone makes them go again. */
	request = extend(0, MODE_EXCLUSIVE);
	answer(&request, CODE_BROKEN, "");
	cr_assert_not(extend(0, MODE_EXCLUSIVE).bytes);
	answer(&request, CODE_BARE, "");
	cr_assert(extend(0, MODE_EXCLUSIVE).bytes);
}

Test(attempt, where_bytes_may_be_they_are_taken_away)
{
	struct request exclusive, shared;
	size_t first;

	load(1);
	exclusive = extend(0, MODE_EXCLUSIVE);
	confirm(&exclusive, 1);
	shared = extend(0, MODE_SHARED);
	cr_assert(shared.unload);
	cr_assert_eq(shared.version, 0);
	cr_assert_not(extend(1, MODE_SHARED).unload);
	cr_assert(extend(0, MODE_SHARED).unload); /* not confirmed yet */
	confirm(&shared, 0);
	shared = extend(0, MODE_SHARED);
	confirm(&shared, 0);
	cr_assert_not(extend(0, MODE_SHARED).unload);
	exclusive = extend(2, MODE_EXCLUSIVE);
	answer(&exclusive, CODE_BROKEN, "");
	first = effects.count;
	attempt_close(attempt, 0, NOW, &effects);
	cr_assert_null(attempt->cargo.bytes); /* the lock's, which may free them */
	cr_assert_eq(effects.count - first, 3);
	cr_assert_not(effects.list[first].request.unload);
	cr_assert_not(effects.list[first + 1].request.unload);
	cr_assert(effects.list[first + 2].request.unload);
}
