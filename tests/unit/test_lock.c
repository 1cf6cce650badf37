/*
 * test_lock.c - taking, keeping, converting and giving back a lock, by traces.
 *
 * How it works: core_fixture.h tells how a trace reads. Where the moments come
 * from a random back-off, states are compared instead.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core_fixture.h"

#define says(world, expected) cr_assert(world_said(world, expected), "the trace differs")

#define X MODE_EXCLUSIVE
#define S MODE_SHARED

/* A ready world with one party of each client: a and b and c. */
static struct party *party_in(struct world *world, unsigned client)
{
	struct party *party = world_party(&world->clients[client], NULL);

	cr_assert_not_null(party);
	return party;
}

static struct party *holder_in(struct world *world, unsigned client, enum mode mode)
{
	struct party *party = party_in(world, client);

	party_lock(party, mode, 0);
	world_run_until_done(world, party);
	cr_assert_eq(party->error, 0);
	world_run(world, 10 * MS - (world->now_us - world->zero_us) % (10 * MS));
	world_hush(world);
	return party;
}

/* ---- taking ---- */

Test(lock, free_one_is_taken_in_one_round_at_the_third_of_five)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, X, -1);
	world_run(w, 10 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3 4 5: A X +0\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n"
	        "0.200 4 to a: yes +0\n"
	        "0.200 5 to a: yes +0\n");
	/* The deadline: the moment of sending + 1 s - 1 % - 2 ms. */
	cr_assert_eq(a->lock.deadline_us, w->zero_us + 988 * MS);
	cr_assert_eq(lock_token(&a->lock) % 2, 0);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 5);
	world_free(w);
}

Test(lock, late_votes_improve_the_deadline)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);

	world_hold(&w->clients[0], 4);
	world_hold(&w->clients[0], 5);
	party_lock(a, X, -1);
	world_run(w, 1 * MS);
	/* With three votes, one that goes is the end. */
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_let(&w->clients[0], 4);
	world_let(&w->clients[0], 5);
	world_run(w, 1 * MS);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 5);
	model_delete(world_master(w, 1), "db");
	model_delete(world_master(w, 2), "db");
	world_run(w, 5 * SECONDS);
	cr_assert(party_holds(a, X));
	cr_assert_eq(a->losses, 0);
	world_free(w);
}

Test(lock, lock_delay_lengthens_the_keys_and_not_the_lease)
{
	struct world *w = world_new(3);
	struct client_settings settings = {.ttl_us = 1 * SECONDS, .lock_delay_us = 2 * SECONDS, .node_timeout_us = 50 * MS};
	struct client *client = world_client(w, &settings);
	struct party *a = party_in(w, 0);

	world_init_masters(w, client);
	world_connect_all(client);
	world_run(w, 1 * MS);
	world_zero(w);
	party_lock(a, X, -1);
	world_run(w, 1 * MS);
	cr_assert_eq(a->lock.deadline_us, w->zero_us + 988 * MS);
	client_vanish(client);
	world_run(w, 2990 * MS);
	cr_assert_eq(world_carriers(w, "db"), 3);
	world_run(w, 20 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, answers_that_come_after_the_votes_have_ended_are_no_lock)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	for (unsigned i = 1; i <= 3; i++)
		world_link(&w->clients[0], i)->back_us = 40 * MS;
	a->lock.settings.ttl_us = 40 * MS; /* - 0.4 - 2 ms: ends before the answers come */
	party_lock(a, X, 0);
	world_run(w, 60 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "40.100 1 to a: yes +0\n"
	        "40.100 2 to a: yes +0\n"
	        "40.100 a asks 1 2 3: R +1\n"
	        "40.100 3 to a: yes +0\n"
	        "40.100 a asks 1 2 3: A X +40100\n"
	        "50.000 a asks 1 2 3: R +40101\n"
	        "50.000 a: ENOLCK\n");
	world_run(w, 1 * SECONDS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, readers_share)
{
	struct world *w = world_ready(3, 2);
	struct party *a = party_in(w, 0), *b = party_in(w, 1);

	party_lock(a, S, -1);
	world_run(w, 1 * MS);
	party_lock(b, S, -1);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants S\n"
	        "0.000 a asks 1 2 3: A S +0\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 a has S +0 until 988.000\n"
	        "0.200 3 to a: yes +0\n"
	        "1.000 b wants S\n"
	        "1.000 b asks 1 2 3: A S +1000\n"
	        "1.200 1 to b: yes +0\n"
	        "1.200 2 to b: yes +0\n"
	        "1.200 b has S +0 until 989.000\n"
	        "1.200 3 to b: yes +0\n");
	cr_assert_eq(lock_token(&a->lock), lock_token(&b->lock));
	cr_assert_eq(lock_token(&a->lock) % 2, 1);
	world_free(w);
}

Test(lock, a_reader_writes_its_fence_back_where_fences_differ)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, X), *b = party_in(w, 1);

	/* Master 3 has seen a later attempt that came to nothing. */
	party_unlock(a);
	world_run(w, 1 * MS);
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (w->masters[2].data.fences[i].known)
			w->masters[2].data.fences[i].value += 500;
	world_hush(w);
	world_hold(&w->clients[1], 1); /* so that 2 and 3 are the majority */
	party_lock(b, S, -1);
	world_run(w, 10 * MS);
	says(w,
	        "11.000 b wants S\n"
	        "11.000 b asks 1 2 3: A S +11000\n"
	        "11.200 2 to b: yes +1\n"
	        "11.200 3 to b: yes +501\n"
	        "16.000 b asks 1 2 3: A S +16000 floor +501\n"
	        "16.200 2 to b: kept +501\n"
	        "16.200 3 to b: kept +501\n"
	        "16.200 b has S +501 until 1004.000\n");
	cr_assert_eq(model_fence(world_master(w, 2), "db"), b->lock.fence);
	cr_assert_eq(model_fence(world_master(w, 3), "db"), b->lock.fence);
	world_free(w);
}

Test(lock, votes_with_another_fence_do_not_count)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	party_unlock(a);
	world_run(w, 1 * MS);
	w->masters[0].data.fences[0].value += 500;
	w->masters[1].data.fences[0].value += 600;
	party_lock(a, S, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a, S));
	cr_assert_eq(a->lock.fence, model_fence(world_master(w, 3), "db"));
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_free(w);
}

Test(lock, tokens_of_writers_and_readers_are_ordered)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);
	static const enum mode modes[] = {X, S, X, X, S, S, X};
	uint64_t last = 0, last_exclusive = 0;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		party_lock(a, modes[i], 0);
		world_run_until_done(w, a);
		if (modes[i] == X)
			cr_assert(lock_token(&a->lock) > last);
		else
			cr_assert(lock_token(&a->lock) > last_exclusive);
		cr_assert_eq(lock_token(&a->lock), 2 * a->lock.fence + (modes[i] == S));
		last = lock_token(&a->lock);
		last_exclusive = modes[i] == X ? last : last_exclusive;
		party_unlock(a);
		world_run_until_done(w, a);
	}
	world_free(w);
}

Test(lock, rejected_proposals_are_raised_above_the_largest_and_own_keys_stay)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	party_unlock(a);
	world_run(w, 1 * MS);
	/* Fences ahead of the clock, as other clients' tombstones may be. */
	for (unsigned m = 2; m < 5; m++)
		w->masters[m].data.fences[0].value += 100000 * m;
	world_hush(w);
	party_lock(a, X, -1);
	world_run(w, 10 * MS);
	says(w,
	        "11.000 a wants X\n"
	        "11.000 a asks 1 2 3 4 5: A X +11000\n"
	        "11.200 1 to a: yes +11000\n"
	        "11.200 2 to a: yes +11000\n"
	        "11.200 3 to a: rejected +200001\n"
	        "11.200 4 to a: rejected +300001\n"
	        "11.200 5 to a: rejected +400001\n"
	        "11.200 a asks 1 2 3 4 5: A X +400002 floor +400001\n"
	        "11.400 1 to a: kept +400002\n"
	        "11.400 2 to a: kept +400002\n"
	        "11.400 3 to a: yes +400002\n"
	        "11.400 a has X +400002 until 999.200\n"
	        "11.400 4 to a: yes +400002\n"
	        "11.400 5 to a: yes +400002\n");
	world_free(w);
}

Test(lock, proposals_are_raised_eight_times_at_most)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);
	const char *at;
	unsigned asked = 0;

	party_lock(a, X, 0);
	for (unsigned i = 0; i < 20; i++) {
		/* Somebody raises the fences of two again and again. */
		for (unsigned m = 0; m < 2; m++) {
			struct model_fence *fence = &w->masters[m].data.fences[0];

			fence->known = true;
			strcpy(fence->name, "db");
			fence->value = a->lock.attempt->highest + 10;
		}
		world_run(w, 200);
		if (a->lock.state != LOCK_TRY)
			break;
	}
	for (at = w->trace; (at = strstr(at, "asks 1 2 3: A X")); at++)
		asked++;
	cr_assert_eq(asked, 8, "%u rounds\n%s", asked, w->trace);
	cr_assert_eq(a->lock.state, LOCK_WAIT);
	world_run(w, 1 * SECONDS);
	cr_assert_eq(a->error, 0);
	world_free(w);
}

Test(lock, a_proposal_too_far_in_a_masters_future_is_no_vote)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);

	a->lock.seen_fence = (uint64_t)(w->now_us + w->masters[0].clock_us + 3 * SECONDS);
	party_lock(a, X, 0);
	world_run(w, 10 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3 4 5: A X +3000001\n"
	        "0.200 1 to a: skewed\n"
	        "0.200 2 to a: skewed\n"
	        "0.200 3 to a: skewed\n"
	        "0.200 4 to a: skewed\n"
	        "0.200 5 to a: skewed\n"
	        "0.200 a: ENOLCK\n");
	/* No release: a tombstone that far ahead would lock everybody out. */
	cr_assert_eq(model_fence(world_master(w, 1), "db"), 0);
	world_free(w);
}

/* ---- held by another ---- */

Test(lock, nonblocking_is_refused_as_soon_as_no_majority_is_left)
{
	struct world *w = world_ready(5, 2);
	struct party *b;

	holder_in(w, 0, X);
	b = party_in(w, 1);
	world_hold(&w->clients[1], 4);
	world_hold(&w->clients[1], 5);
	world_zero(w);
	party_lock(b, X, 0);
	world_run(w, 1 * MS);
	/* Who has not answered is given up, too: its release waits behind its A. */
	says(w,
	        "0.000 b wants X\n"
	        "0.000 b asks 1 2 3 4 5: A X +0\n"
	        "0.200 1 to b: busy, a 990 ms\n"
	        "0.200 2 to b: busy, a 990 ms\n"
	        "0.200 3 to b: busy, a 990 ms\n"
	        "0.200 b asks 4 5: R +1\n"
	        "0.200 b: EWOULDBLOCK\n");
	world_let(&w->clients[1], 4);
	world_let(&w->clients[1], 5);
	world_run(w, 1 * MS);
	says(w,
	        "1.100 4 to b: busy, a 989 ms\n"
	        "1.100 5 to b: busy, a 989 ms\n"
	        "1.101 4 to b: released\n"
	        "1.101 5 to b: released\n");
	cr_assert_eq(client_owed(&w->clients[1]), 0);
	world_free(w);
}

Test(lock, waiter_only_looks_while_it_is_held)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, X), *b = party_in(w, 1);
	uint64_t token;

	world_zero(w);
	party_lock(b, X, -1);
	world_run(w, 300 * MS);
	world_hush(w);
	world_run(w, 5 * SECONDS);
	cr_assert_null(strstr(w->trace, ": A "), "%s", w->trace);
	cr_assert_not_null(strstr(w->trace, "b asks 1 2 3: P X"));
	cr_assert(party_holds(a, X));
	token = lock_token(&a->lock);
	party_unlock(a);
	world_run(w, 100 * MS);
	cr_assert(party_holds(b, X));
	cr_assert(lock_token(&b->lock) > token);
	world_free(w);
}

Test(lock, waiter_wakes_when_a_dead_holders_keys_end)
{
	struct world *w = world_ready(3, 2);
	struct party *b;

	holder_in(w, 0, X);
	b = party_in(w, 1);
	client_vanish(&w->clients[0]);
	world_zero(w);
	party_lock(b, X, -1);
	world_run(w, 980 * MS);
	cr_assert(b->calling);
	world_run(w, 15 * MS); /* the keys were set 10 ms before zero for 1 s */
	cr_assert(party_holds(b, X), "%s", w->trace);
	world_free(w);
}

Test(lock, waiting_ends_with_the_time_it_was_given)
{
	struct world *w = world_ready(3, 2);
	struct party *b;

	holder_in(w, 0, X);
	b = party_in(w, 1);
	world_zero(w);
	party_lock(b, X, 200 * MS);
	world_run_until_done(w, b);
	cr_assert_eq(b->error, ETIMEDOUT);
	cr_assert_eq(world_ms(w), 200);
	world_run(w, 10 * MS);
	cr_assert_eq(client_owed(&w->clients[1]), 0);
	world_free(w);
}

Test(lock, cancelled_call_leaves_nothing_behind)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, X, -1);
	world_run(w, 150); /* the keys are set, the answers under way */
	cr_assert_eq(world_carriers(w, "db"), 3);
	party_cancel(a, EINTR);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.150 a asks 1 2 3: R +1\n"
	        "0.150 a: EINTR\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.350 1 to a: released\n"
	        "0.350 2 to a: released\n"
	        "0.350 3 to a: released\n");
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_free(w);
}

Test(lock, closing_during_a_call_leaves_nothing_behind)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, X, -1);
	world_run(w, 50);
	party_close(a);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.050 a closes\n"
	        "0.050 a asks 1 2 3: R +1\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.250 1 to a: released\n"
	        "0.250 2 to a: released\n"
	        "0.250 3 to a: released\n");
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_free(w);
}

Test(lock, two_locks_of_one_client_contend)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X), *a2 = party_in(w, 0);

	party_lock(a2, X, 0);
	world_run(w, 1 * MS);
	cr_assert_eq(a2->error, EWOULDBLOCK);
	party_unlock(a);
	world_run(w, 1 * MS);
	party_lock(a2, X, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a2, X));
	world_free(w);
}

Test(lock, other_programs_keys_are_busy_and_stay)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	for (unsigned m = 1; m <= 3; m++)
		model_set_foreign(world_master(w, m), "db", "f00d", 400, w->now_us);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: busy, f00d 400 ms\n"
	        "0.200 2 to a: busy, f00d 400 ms\n"
	        "0.200 a asks 3: R +1\n"
	        "0.200 a: EWOULDBLOCK\n"
	        "0.200 3 to a: busy, f00d 400 ms\n"
	        "0.400 3 to a: released\n");
	party_lock(a, X, -1);
	world_run(w, 390 * MS);
	cr_assert_eq(world_carriers(w, "db"), 3);
	cr_assert(a->calling);
	world_run(w, 100 * MS);
	cr_assert(party_holds(a, X));
	world_free(w);
}

/* ---- split ---- */

/* Each of the contenders reaches another master first. */
static void split(struct world *w, unsigned contenders)
{
	for (unsigned c = 0; c < contenders; c++)
		for (unsigned m = 0; m < w->count; m++)
			world_link(&w->clients[c], m + 1)->there_us = m % contenders == c ? 50 : 300;
}

static unsigned winners(struct party **parties, unsigned count)
{
	unsigned won = 0;

	for (unsigned i = 0; i < count; i++)
		won += party_holds(parties[i], X);
	return won;
}

static void contend(unsigned masters, unsigned contenders, int64_t timeout_us)
{
	struct world *w = world_ready(masters, contenders);
	struct party *parties[3];

	split(w, contenders);
	for (unsigned i = 0; i < contenders; i++) {
		parties[i] = party_in(w, i);
		party_lock(parties[i], X, timeout_us);
	}
	world_run(w, 500);
	cr_assert_eq(winners(parties, contenders), 0, "the masters should have been split:\n%s", w->trace);
	world_run(w, 500 * MS);
	cr_assert_eq(winners(parties, contenders), 1, "%s", w->trace);
	for (unsigned i = 0; i < contenders; i++) {
		if (party_holds(parties[i], X))
			continue;
		cr_assert_eq(parties[i]->calling, timeout_us != 0);
		if (timeout_us == 0)
			cr_assert_eq(parties[i]->error, EWOULDBLOCK);
	}
	world_free(w);
}

Test(lock, split_between_two_or_three_has_one_winner_that_does_not_block)
{
	contend(5, 3, 0);
	contend(3, 3, 0);
	contend(4, 2, 0);
}

Test(lock, split_between_two_or_three_has_one_winner_and_waiters)
{
	contend(5, 3, -1);
	contend(3, 3, -1);
	contend(4, 2, -1);
}

Test(lock, after_a_split_one_master_is_asked_first)
{
	struct world *w = world_ready(4, 2);
	struct party *a = party_in(w, 0), *b = party_in(w, 1);

	split(w, 2);
	party_lock(a, X, 0);
	party_lock(b, X, 0);
	world_run(w, 600);
	world_hush(w);
	world_run_until_done(w, a);
	world_run_until_done(w, b);
	cr_assert(party_holds(a, X) != party_holds(b, X));
	/* The first round of each asks the same one alone. */
	cr_assert_not_null(strstr(w->trace, "a asks 4: A X"), "%s", w->trace);
	cr_assert_not_null(strstr(w->trace, "b asks 4: A X"), "%s", w->trace);
	world_free(w);
}

/* ---- masters that do not answer ---- */

Test(lock, stopped_masters_are_not_waited_for)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);

	world_stop(w, 1);
	world_stop(w, 3);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3 4 5: A X +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 4 to a: yes +0\n"
	        "0.200 5 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n");
	party_unlock(a);
	world_run(w, 1 * MS);
	says(w,
	        "1.000 a unlocks\n"
	        "1.000 a asks 1 2 3 4 5: R +1\n"
	        "1.200 2 to a: released\n"
	        "1.200 4 to a: released\n"
	        "1.200 5 to a: released\n"
	        "1.200 a: done\n");
	/* After node_timeout they are not even asked. */
	world_run(w, 60 * MS);
	world_hush(w);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "62.000 a wants X\n"
	        "62.000 a asks 2 4 5: A X +62000\n"
	        "62.200 2 to a: yes +62000\n"
	        "62.200 4 to a: yes +62000\n"
	        "62.200 5 to a: yes +62000\n"
	        "62.200 a has X +62000 until 1050.000\n");
	world_free(w);
}

Test(lock, undecided_round_hurries_past_a_stopped_master)
{
	struct world *w = world_ready(5, 2);
	struct party *a = party_in(w, 0), *b = party_in(w, 1);

	/* a has 1 and 2, b has 3; 4 and 5 are stopped. */
	world_stop(w, 4);
	world_stop(w, 5);
	world_link(&w->clients[1], 3)->there_us = 10;
	party_lock(a, X, 0);
	party_lock(b, X, 0);
	world_run(w, 4999);
	cr_assert_eq(a->lock.state, LOCK_TRY);
	world_run(w, 1);
	cr_assert_eq(a->lock.state, LOCK_WAIT);
	world_run(w, 500 * MS);
	cr_assert_neq(a->calling + b->calling, 2);
	cr_assert(party_holds(a, X) != party_holds(b, X), "%s", w->trace);
	world_free(w);
}

/* Whichever master it is that stops, also the one that a waiter asks first when it finds the lock free. */
Test(lock, waiter_does_not_wait_for_a_master_that_has_just_stopped)
{
	for (unsigned stopped = 1; stopped <= 5; stopped++) {
		struct world *w = world_ready(5, 2);
		struct party *a = holder_in(w, 0, X), *b = party_in(w, 1);

		b->lock.settings.node_timeout_us = 2 * SECONDS;
		w->clients[1].quorum.settings.node_timeout_us = 2 * SECONDS;
		party_lock(b, X, -1);
		world_run(w, 200 * MS);
		party_unlock(a);
		world_run(w, 1 * MS);
		world_stop(w, stopped);
		world_run(w, 300 * MS);
		cr_assert(party_holds(b, X), "master %u had stopped\n%s", stopped, w->trace);
		world_free(w);
	}
}

Test(lock, trying_without_a_majority_takes_node_timeout)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);

	for (unsigned i = 1; i <= 3; i++)
		world_stop(w, i);
	party_lock(a, X, 0);
	world_run(w, 51 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3 4 5: A X +0\n"
	        "0.200 4 to a: yes +0\n"
	        "0.200 5 to a: yes +0\n"
	        "50.000 a asks 1 2 3 4 5: R +1\n"
	        "50.000 a: ENOLCK\n"
	        "50.200 4 to a: released\n"
	        "50.200 5 to a: released\n");
	/* Then it is known, and a call fails at once. */
	party_lock(a, X, 0);
	cr_assert_not(a->calling);
	cr_assert_eq(a->error, ENOLCK);
	for (unsigned i = 1; i <= 3; i++)
		world_continue(w, i);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_free(w);
}

Test(lock, waiting_without_a_majority_ends_after_quorum_timeout)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_break(&w->clients[0], 1, false);
	world_break(&w->clients[0], 2, false);
	party_lock(a, X, -1);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	cr_assert_eq(world_ms(w), 5000);
	/* A shorter time of the caller's ends it earlier, in the same way. */
	world_zero(w);
	party_lock(a, X, 300 * MS);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	cr_assert_eq(world_ms(w), 300);
	/* -1: for ever. */
	a->lock.settings.quorum_timeout_us = -1;
	party_lock(a, X, -1);
	world_run(w, 3600 * SECONDS);
	cr_assert(a->calling);
	world_connect(&w->clients[0], 1);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a, X));
	world_free(w);
}

/* A master that knows no fence takes nothing that is older than S by its clock. One whose clock is ahead by more
 * refuses what the others' clocks propose, with a floor that moves on; and if it is ahead by twice that, nothing
 * contents it and the others at once. After a contention it may be the one that is asked first. */
static void serve_with_clock_ahead(unsigned master, int64_t ahead_us, int64_t max_ttl_us)
{
	const struct client_settings settings = {
	    .ttl_us = 1 * SECONDS, .node_timeout_us = 50 * MS, .quorum_timeout_us = 5 * SECONDS, .max_ttl_us = max_ttl_us};
	struct world *w = world_new(3);
	struct client *client_a = world_client(w, &settings), *client_b = world_client(w, &settings);
	struct party *a, *b;

	world_init_masters(w, client_a);
	world_master(w, master)->clock_us += ahead_us;
	world_connect_all(client_a);
	world_connect_all(client_b);
	/* Its refusal comes first: so no release is sent there, whose tombstone would be a fence that stands still. */
	for (unsigned i = 1; i <= 3; i++)
		world_link(client_a, i)->back_us = world_link(client_b, i)->back_us = i == master ? 100 : 300;
	world_run(w, max_ttl_us + 3 * SECONDS); /* a clock that stands off is believed when it has been stable for M */
	cr_assert_eq(client_a->quorum.voting, 3);
	a = world_party(client_a, NULL);
	b = world_party(client_b, NULL);
	party_lock(b, X, 0);
	world_run(w, 5 * MS);
	cr_assert(party_holds(b, X));
	party_lock(a, X, -1);
	world_run(w, 200 * MS);
	party_unlock(b);
	world_run(w, 200 * MS);
	cr_expect(party_holds(a, X), "master %u, %lld ms ahead", master, (long long)(ahead_us / MS));
	world_free(w);
}

Test(lock, waiter_is_served_though_one_masters_clock_is_far_ahead)
{
	for (unsigned master = 1; master <= 3; master++) {
		serve_with_clock_ahead(master, 2100 * MS, 10 * SECONDS);
		serve_with_clock_ahead(master, 10 * SECONDS, 60 * SECONDS);
	}
}

/* A world of three, of which 2 is ahead, and needed, since 1 is out of reach. */
static struct world *world_that_needs_one_ahead(int64_t quorum_timeout_us)
{
	const struct client_settings settings = {
	    .ttl_us = 1 * SECONDS, .node_timeout_us = 50 * MS, .quorum_timeout_us = quorum_timeout_us};
	struct world *w = world_new(3);
	struct client *client = world_client(w, &settings);

	world_init_masters(w, client);
	world_master(w, 2)->clock_us += 2100 * MS;
	world_connect_all(client);
	world_run(w, 13 * SECONDS);
	world_break(client, 1, false);
	return w;
}

/* And where that master is needed for a majority, the proposal has to come above its floor. */
Test(lock, proposal_leaps_over_a_floor_that_moves)
{
	struct world *w = world_that_needs_one_ahead(5 * SECONDS);
	struct party *a = party_in(w, 0);

	world_zero(w);
	party_lock(a, X, 0);
	world_run(w, 5 * MS);
	says(w, "0.000 a wants X\n"
	        "0.000 a asks 2 3: A X +0\n"
	        "0.200 2 to a: rejected +100100\n"
	        "0.200 3 to a: yes +0\n"
	        "0.200 a asks 2 3: A X +101501 floor +100100\n"
	        "0.400 2 to a: yes +101501\n"
	        "0.400 3 to a: kept +101501\n"
	        "0.400 a has X +101501 until 988.200\n");
	world_free(w);
}

/* But not by the time for which the process stood still: no master would accept that, and what it gives back with it would
 * keep all others off for as long. */
Test(lock, proposal_does_not_leap_into_the_future)
{
	struct world *w = world_that_needs_one_ahead(90 * SECONDS);
	struct party *a = party_in(w, 0);

	party_lock(a, X, -1);
	w->clients[0].paused = true;
	world_run(w, 30 * SECONDS);
	w->clients[0].paused = false;
	world_run(w, 1 * SECONDS);
	cr_assert_leq(model_fence(world_master(w, 3), "db"), (uint64_t)(w->now_us + world_master(w, 3)->clock_us + SKEW_US + 1));
	world_free(w);
}

/* The median of the clocks falls with the masters that are lost; the tombstone has to be above the first proposal as well. */
Test(lock, proposals_of_an_attempt_only_grow)
{
	struct world *w = world_new(3);
	struct client *client = world_client(w, NULL);
	uint64_t first;
	struct party *a;

	world_init_masters(w, client);
	world_master(w, 2)->clock_us += 40 * MS;
	world_master(w, 3)->clock_us += 80 * MS;
	world_connect_all(client);
	world_run(w, 10 * MS);
	for (unsigned m = 1; m <= 3; m++)
		world_hold(client, m);
	a = world_party(client, NULL);
	party_lock(a, X, -1);
	first = a->proposal;
	world_run(w, 1 * MS);
	world_break(client, 2, false);
	world_break(client, 3, false);
	party_set_data(a, "x");
	cr_assert(a->calling);
	cr_assert_gt(a->proposal, first);
	world_free(w);
}

/* A master that has forgotten its fences takes "now - S" for them. A release that was owed must not store less. */
Test(lock, late_tombstone_does_not_lower_what_an_absent_fence_counts_for)
{
	struct world *w = world_ready(3, 2);
	struct party *a = party_in(w, 0);
	struct model_master *master = world_master(w, 2);

	world_hold(&w->clients[0], 2);
	party_lock(a, X, 0);
	world_run(w, 10 * MS);
	party_unlock(a); /* owed to 2 */
	world_run(w, 10 * MS);
	model_flush(master);
	world_let(&w->clients[0], 2);
	world_run(w, 10 * MS);
	cr_expect_eq(model_fence(master, "db"), 0, "a tombstone on a master that has forgotten");
	world_run(w, 11 * SECONDS); /* its quarantine */
	cr_assert_eq(w->clients[0].quorum.voting, 3);
	/* An old one, to a master that votes and knows no fence. */
	{
		struct model_call call = {.operation = 'R', .key = "db", .token = "nobody's", .number = 1000};
		struct model_reply reply;

		memcpy(call.epoch, master->data.epoch, sizeof(call.epoch));
		model_execute(master, &call, w->now_us, &reply);
	}
	cr_expect_eq(model_fence(master, "db"), 0);
	world_free(w);
}

/* Fences are collected by what is a day below the highest of them. */
static uint64_t fence_after_release_at(struct world *w, const char *key, int64_t after_us, uint64_t tombstone)
{
	struct model_call call = {.operation = 'R', .key = "other", .token = "nobody's"};
	struct model_reply reply;

	memcpy(call.epoch, w->masters[0].data.epoch, sizeof(call.epoch));
	call.number = (tombstone + 63) / 64 * 64; /* not with each release */
	model_execute(&w->masters[0], &call, w->now_us + after_us, &reply);
	cr_assert_eq(reply.code, 1);
	return model_fence(&w->masters[0], key);
}

Test(lock, clock_that_jumps_for_a_moment_makes_no_master_forget_its_fences)
{
	static const int64_t days_2_us = 2 * 86400 * SECONDS;
	struct world *w = world_ready(1, 1);
	struct party *a = party_in(w, 0);
	uint64_t fence;

	party_lock(a, X, 0);
	world_run(w, 5 * MS);
	fence = a->lock.fence;
	cr_assert_neq(fence, 0);
	cr_expect_eq(fence_after_release_at(w, "db", days_2_us, fence), fence);
	cr_expect_eq(fence_after_release_at(w, "db", days_2_us, fence + (uint64_t)days_2_us / 4), fence);
	cr_expect_eq(fence_after_release_at(w, "db", 0, fence + (uint64_t)days_2_us), 0);
	world_free(w);
}

Test(lock, call_gathers_a_majority_first)
{
	struct world *w = world_ready(5, 0);
	struct client *client = world_client(w, NULL);
	struct party *a = party_in(w, 0);

	world_init_masters(w, client);
	party_lock(a, X, 0);
	for (unsigned i = 1; i <= 5; i++) {
		world_run(w, 1 * MS);
		world_connect(client, i);
	}
	world_run(w, 10 * MS);
	/* A new cluster key is not decided on before all are heard; an old one by a majority. */
	says(w,
	        "0.000 a wants X\n"
	        "1.000 a connects to 1\n"
	        "1.000 a asks 1: V\n"
	        "1.200 1 to a: known; asked\n"
	        "2.000 a connects to 2\n"
	        "2.000 a asks 2: V\n"
	        "2.200 2 to a: known; asked\n"
	        "3.000 a connects to 3\n"
	        "3.000 a asks 3: V\n"
	        "3.200 3 to a: known; voting\n"
	        "3.200 a asks 1 2 3: A X +3200\n"
	        "3.400 1 to a: yes +3200\n"
	        "3.400 2 to a: yes +3200\n"
	        "3.400 3 to a: yes +3200\n"
	        "3.400 a has X +3200 until 991.200\n"
	        "4.000 a connects to 4\n"
	        "4.000 a asks 4: V\n"
	        "4.200 4 to a: known; voting\n"
	        "4.200 a asks 4: E X +3200\n"
	        "4.400 4 to a: repaired\n"
	        "5.000 a connects to 5\n"
	        "5.000 a asks 5: V\n"
	        "5.200 5 to a: known; voting\n"
	        "5.200 a asks 5: E X +3200\n"
	        "5.400 5 to a: repaired\n");
	world_free(w);
}

Test(lock, trying_ends_when_all_masters_are_known_to_be_away)
{
	struct world *w = world_ready(3, 0);
	struct client *client = world_client(w, NULL);
	struct party *a = party_in(w, 0);

	world_init_masters(w, client);
	party_lock(a, X, 0);
	for (unsigned i = 1; i <= 3; i++)
		world_refuse(client, i);
	says(w, "0.000 a wants X\n"
	        "0.000 a: ENOLCK\n");
	world_free(w);
}

Test(lock, lease_longer_than_the_clusters_limit_is_refused)
{
	struct world *w = world_ready(3, 1);
	struct client_settings settings = {.ttl_us = 11 * SECONDS, .node_timeout_us = 50 * MS};
	struct party *b;

	world_connect_all(world_client(w, &settings));
	world_run(w, 1 * MS);
	b = party_in(w, 1);
	party_lock(b, X, -1);
	cr_assert_eq(b->error, EINVAL);
	cr_assert_not(b->calling);
	world_free(w);
}

/* ---- giving back ---- */

Test(lock, unlock_waits_for_a_majority)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	world_zero(w);
	party_unlock(a);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a unlocks\n"
	        "0.000 a asks 1 2 3 4 5: R -9999\n"
	        "0.200 1 to a: released\n"
	        "0.200 2 to a: released\n"
	        "0.200 3 to a: released\n"
	        "0.200 a: done\n"
	        "0.200 4 to a: released\n"
	        "0.200 5 to a: released\n");
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	cr_assert_eq(a->lock.released, 3);
	party_unlock(a); /* of what is not held */
	cr_assert_eq(a->error, 0);
	world_free(w);
}

Test(lock, unlock_waits_node_timeout_at_most)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_stop(w, 1);
	world_stop(w, 2);
	world_zero(w);
	party_unlock(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	cr_assert_eq(world_ms(w), 50);
	cr_assert_eq(a->lock.released, 1);
	world_continue(w, 1);
	world_continue(w, 2);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, waiter_goes_on_when_silent_masters_answer_again)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_stop(w, 1);
	world_stop(w, 2);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	party_lock(a, X, -1);
	world_run(w, 300 * MS);
	cr_assert(a->calling);
	world_continue(w, 1);
	world_continue(w, 2);
	world_run(w, 300 * MS);
	cr_assert_not(a->calling);
	cr_assert_eq(a->error, 0);
	world_free(w);
}

Test(lock, unreachable_master_gets_its_release_when_it_is_back)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_zero(w);
	world_break(&w->clients[0], 2, false);
	party_unlock(a);
	world_run(w, 100 * MS);
	cr_assert_eq(client_owed(&w->clients[0]), 1);
	world_connect(&w->clients[0], 2);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a breaks with 2\n"
	        "0.000 a unlocks\n"
	        "0.000 a asks 1 3: R -9999\n"
	        "0.200 1 to a: released\n"
	        "0.200 3 to a: released\n"
	        "0.200 a: done\n"
	        "100.000 a connects to 2\n"
	        "100.000 a asks 2: V\n"
	        "100.000 a asks 2: R -9999\n"
	        "100.200 2 to a: known; voting\n"
	        "100.201 2 to a: released\n");
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, release_is_given_up_when_its_key_has_ended_for_certain)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_break(&w->clients[0], 2, false);
	party_unlock(a);
	world_run(w, 10998 * MS); /* ttl + M, but 2 ms */
	cr_assert_eq(client_owed(&w->clients[0]), 1);
	world_run(w, 2 * MS);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_hush(w);
	world_connect(&w->clients[0], 2);
	world_run(w, 10 * MS);
	cr_assert_null(strstr(w->trace, ": R"), "%s", w->trace);
	world_free(w);
}

Test(lock, release_to_a_silent_master_asks_for_no_timer_in_the_past)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_stop(w, 2);
	w->reconnect_us = 1 * MS;
	party_unlock(a);
	world_run(w, 20 * SECONDS); /* the fixture ends the test if time does not go on */
	world_continue(w, 2);
	world_run(w, 1 * SECONDS);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_free(w);
}

Test(lock, release_that_was_refused_is_sent_again)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_master(w, 2)->script_loaded = false;
	world_zero(w);
	party_unlock(a);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a unlocks\n"
	        "0.000 a asks 1 2 3: R -9999\n"
	        "0.200 1 to a: released\n"
	        "0.200 2 to a: no script\n"
	        "0.200 a asks 2: R -9999\n"
	        "0.200 3 to a: released\n"
	        "0.200 a: done\n"
	        "0.400 2 to a: released\n");
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, late_acquire_is_refused_by_the_tombstone)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_link(&w->clients[0], 3)->no_kill = true;
	party_lock(a, X, -1);
	world_break(&w->clients[0], 3, true); /* the A is still under way in the network */
	world_run(w, 1 * MS);
	party_unlock(a);
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_deliver_late(&w->clients[0], 3);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, broken_request_and_a_refusal_leave_the_release_owed)
{
	struct world *w = world_ready(3, 2);
	struct party *a = party_in(w, 0), *b = party_in(w, 1);

	/* Its first A to 3 is under way when the connection ends; the second is refused, since b is there. */
	world_link(&w->clients[0], 3)->no_kill = true;
	world_hold(&w->clients[0], 1);
	world_hold(&w->clients[0], 2);
	party_lock(a, X, -1);
	world_break(&w->clients[0], 3, true);
	party_lock(b, X, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(b, X));
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	cr_assert_not_null(strstr(w->trace, "3 to a: busy"), "%s", w->trace);
	party_cancel(a, EINTR);
	party_unlock(b);
	world_run(w, 1 * MS);
	world_deliver_late(&w->clients[0], 3);
	cr_assert_eq(model_holds(world_master(w, 3), "db", NULL, w->now_us), false, "%s", w->trace);
	world_free(w);
}

Test(lock, connection_that_is_killed_delivers_nothing_late)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, S, -1);
	world_break(&w->clients[0], 3, true);
	world_run(w, 1 * MS);
	party_unlock(a);
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	world_deliver_late(&w->clients[0], 3);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

/* ---- keeping ---- */

Test(lock, lease_is_renewed_at_each_third)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, X, 0);
	world_run(w, 700 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n"
	        "0.200 3 to a: yes +0\n"
	        "333.333 a asks 1 2 3: E X +0\n"
	        "333.533 1 to a: yes +0\n"
	        "333.533 2 to a: yes +0\n"
	        "333.533 3 to a: yes +0\n"
	        "666.666 a asks 1 2 3: E X +0\n"
	        "666.866 1 to a: yes +0\n"
	        "666.866 2 to a: yes +0\n"
	        "666.866 3 to a: yes +0\n");
	cr_assert_eq(a->lock.deadline_us, w->zero_us + 666666 + 988 * MS);
	world_run(w, 60 * SECONDS);
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(lock, key_that_a_master_lost_is_repaired)
{
	struct world *w = world_ready(3, 1);

	holder_in(w, 0, X);
	model_delete(world_master(w, 2), "db");
	world_zero(w);
	world_run(w, 330 * MS);
	says(w,
	        "323.333 a asks 1 2 3: E X -10000\n"
	        "323.533 1 to a: yes -10000\n"
	        "323.533 2 to a: repaired\n"
	        "323.533 3 to a: yes -10000\n");
	cr_assert_eq(world_carriers(w, "db"), 3);
	world_free(w);
}

Test(lock, lease_is_lost_at_its_deadline_and_never_revived)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_stop(w, 1);
	world_stop(w, 2);
	w->clients[0].settings.node_timeout_us = 10 * SECONDS;
	w->clients[0].quorum.settings.node_timeout_us = 10 * SECONDS; /* the connections stay */
	world_run(w, a->lock.deadline_us - w->now_us - 1);
	cr_assert(party_holds(a, X));
	cr_assert_eq(a->losses, 0);
	world_hush(w);
	world_zero(w);
	world_run(w, 1);
	cr_assert_eq(a->losses, 1);
	cr_assert_eq(a->lock.state, LOCK_LOST);
	/* The renewals that come through now change nothing. */
	world_continue(w, 1);
	world_continue(w, 2);
	world_run(w, 1 * MS);
	says(w,
	        "0.001 a asks 1 2 3: R -987998\n"
	        "0.001 a has lost it\n"
	        "0.101 1 to a: yes -987999\n"
	        "0.101 2 to a: yes -987999\n"
	        "0.102 1 to a: yes -987999\n"
	        "0.102 2 to a: yes -987999\n"
	        "0.103 1 to a: yes -987999\n"
	        "0.103 2 to a: yes -987999\n"
	        "0.104 1 to a: yes -987999\n"
	        "0.104 2 to a: yes -987999\n"
	        "0.201 1 to a: released\n"
	        "0.201 2 to a: released\n"
	        "0.201 3 to a: released\n");
	cr_assert_eq(lock_token(&a->lock), 0);
	cr_assert_eq(world_carriers(w, "db"), 0);
	party_lock(a, X, 0);
	cr_assert_eq(a->error, ESTALE);
	party_verify(a);
	cr_assert_eq(a->error, ESTALE);
	party_unlock(a);
	cr_assert_eq(a->error, 0);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a, X));
	cr_assert_eq(a->losses, 1);
	world_free(w);
}

Test(lock, deadline_that_no_timer_noticed_is_seen_by_the_call)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	/* The machine slept: no timer has run. */
	w->now_us = a->lock.deadline_us;
	party_verify(a);
	cr_assert_eq(a->error, ESTALE);
	cr_assert_eq(a->losses, 1);
	world_free(w);
}

/* Who stood still has answers to read, and may read them before its timer runs. */
Test(lock, answers_that_were_under_way_at_the_deadline_revive_nothing)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);
	int64_t deadline_us = a->lock.deadline_us;

	w->clients[0].settings.node_timeout_us = 10 * SECONDS;
	w->clients[0].quorum.settings.node_timeout_us = 10 * SECONDS; /* the connections stay */
	world_run(w, 500 * MS);
	for (unsigned master = 1; master <= 3; master++)
		world_link(&w->clients[0], master)->held_back = true;
	party_verify(a);
	world_run(w, 1 * MS);
	w->clients[0].paused = true;
	world_run(w, deadline_us + 400 * MS - w->now_us);
	world_hush(w);
	for (unsigned master = 1; master <= 3; master++)
		world_let(&w->clients[0], master);
	w->clients[0].paused = false;
	world_zero(w);
	world_step(w, w->now_us + 1);
	says(w,
	        "0.000 1 to a: yes -1388000\n"
	        "0.000 a asks 1 2 3: R -1387999\n"
	        "0.000 a has lost it\n"
	        "0.000 a: ESTALE\n");
	world_run(w, 10 * MS);
	cr_assert_eq(a->lock.state, LOCK_LOST);
	cr_assert_eq(a->losses, 1);
	world_free(w);
}

Test(lock, lease_is_lost_when_too_many_say_not_mine)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 2; m++)
		model_set_foreign(world_master(w, m), "db", "f00d", 60000, w->now_us);
	world_run(w, 1 * SECONDS);
	cr_assert(party_holds(a, X));
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	model_set_foreign(world_master(w, 5), "db", "f00d", 60000, w->now_us);
	world_zero(w);
	world_run(w, 340 * MS);
	says(w,
	        "323.332 a asks 1 2 3 4 5: E X -1010000\n"
	        "323.532 1 to a: busy, f00d 58677 ms\n"
	        "323.532 2 to a: busy, f00d 58677 ms\n"
	        "323.532 3 to a: yes -1010000\n"
	        "323.532 4 to a: yes -1010000\n"
	        "323.532 5 to a: busy, f00d 59677 ms\n"
	        "323.532 a asks 3 4: R -1009999\n"
	        "323.532 a has lost it\n"
	        "323.732 3 to a: released\n"
	        "323.732 4 to a: released\n");
	world_free(w);
}

Test(lock, broken_connection_keeps_its_vote_until_its_end)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	world_break(&w->clients[0], 3, false);
	world_run(w, 986 * MS);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_run(w, 1 * MS);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 2);
	cr_assert(party_holds(a, X));
	/* Back again it is repaired at once, not at the next third. */
	world_hush(w);
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	says(w,
	        "988.000 a connects to 3\n"
	        "988.000 a asks 3: V\n"
	        "988.200 3 to a: known; voting\n"
	        "988.200 a asks 3: E X +0\n"
	        "988.400 3 to a: yes +0\n");
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_free(w);
}

Test(lock, master_that_forgot_keeps_its_vote_and_renews_none)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_break(&w->clients[0], 1, false); /* 2 and 3 are the majority */
	party_lock(a, X, 0);
	world_run(w, 100 * MS);
	model_restart(world_master(w, 2), false);
	world_break_master(w, 2);
	world_connect_master(w, 2);
	world_run(w, 880 * MS);
	/* It is in quarantine and is not asked, but what it said until 988 ms stands. */
	cr_assert_eq(w->clients[0].quorum.masters[1].standing, STANDING_QUARANTINED);
	cr_assert(party_holds(a, X), "%s", w->trace);
	cr_assert_eq(a->lock.deadline_us, w->zero_us + 988 * MS);
	world_connect(&w->clients[0], 1);
	world_run(w, 20 * MS);
	cr_assert(party_holds(a, X), "%s", w->trace);
	world_run(w, 20 * SECONDS);
	cr_assert(party_holds(a, X));
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_free(w);
}

Test(lock, flushed_master_is_found_by_the_epoch_in_the_vote)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	model_flush(world_master(w, 2));
	world_zero(w);
	world_run(w, 340 * MS);
	says(w,
	        "323.333 a asks 1 2 3: E X -10000\n"
	        "323.533 1 to a: yes -10000\n"
	        "323.533 2 to a: another epoch\n"
	        "323.533 a reconnects 2\n"
	        "323.533 a breaks with 2\n"
	        "323.533 3 to a: yes -10000\n"
	        "324.533 a connects to 2\n"
	        "324.533 a asks 2: V\n"
	        "324.733 2 to a: virgin; asked\n"
	        "324.733 a asks 2: I\n"
	        "324.933 2 to a: known, in quarantine; quarantined\n");
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(lock, missing_script_is_loaded_and_asked_again)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_master(w, 1)->script_loaded = false;
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: no script\n"
	        "0.200 a asks 1: A X +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n"
	        "0.400 1 to a: yes +0\n");
	world_master(w, 2)->script_loaded = false;
	world_run(w, 340 * MS);
	says(w,
	        "333.333 a asks 1 2 3: E X +0\n"
	        "333.533 1 to a: yes +0\n"
	        "333.533 2 to a: no script\n"
	        "333.533 a asks 2: E X +0\n"
	        "333.533 3 to a: yes +0\n"
	        "333.733 2 to a: yes +0\n");
	world_free(w);
}

Test(lock, missing_script_is_not_asked_again_for_what_was_given_up)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_master(w, 1)->script_loaded = false;
	party_lock(a, X, -1);
	world_run(w, 150);
	party_cancel(a, EINTR);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.150 a asks 1 2 3: R +1\n"
	        "0.150 a: EINTR\n"
	        "0.200 1 to a: no script\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.350 1 to a: released\n"
	        "0.350 2 to a: released\n"
	        "0.350 3 to a: released\n");
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, masters_without_memory_do_not_vote_but_release)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 3; m++)
		world_master(w, m)->out_of_memory = true;
	/* Renewal needs no memory. */
	world_run(w, 3 * SECONDS);
	cr_assert(party_holds(a, X));
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_zero(w);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: error\n"
	        "0.200 2 to a: error\n"
	        "0.200 3 to a: error\n"
	        "0.200 a asks 1 2 3: R +1\n"
	        "0.200 a: ENOLCK\n"
	        "0.400 1 to a: released\n"
	        "0.400 2 to a: released\n"
	        "0.400 3 to a: released\n");
	world_free(w);
}

Test(lock, master_that_became_a_replica_is_asked_what_it_is)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_master(w, 2)->read_only = true;
	party_lock(a, X, 0);
	world_run(w, 5 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: error\n"
	        "0.200 a reconnects 2\n"
	        "0.200 a breaks with 2\n"
	        "0.200 3 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n"
	        "1.200 a connects to 2\n");
	cr_assert_eq(w->clients[0].quorum.masters[1].reason, REASON_ROLE);
	world_free(w);
}

Test(lock, vote_of_a_master_whose_clock_jumps_does_not_count)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_master(w, 1)->clock_us += 1 * SECONDS;
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n");
	cr_assert_eq(w->clients[0].quorum.masters[0].reason, REASON_CLOCK);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 2);
	/* Seen stable for M it votes again. */
	world_run(w, 9900 * MS);
	cr_assert_eq(w->clients[0].quorum.voting, 2);
	world_run(w, 1200 * MS);
	cr_assert_eq(w->clients[0].quorum.voting, 3);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_free(w);
}

/* ---- proof ---- */

Test(lock, verify_is_one_round)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	world_zero(w);
	party_verify(a);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a verifies\n"
	        "0.000 a asks 1 2 3 4 5: E X -10000\n"
	        "0.200 1 to a: yes -10000\n"
	        "0.200 2 to a: yes -10000\n"
	        "0.200 3 to a: yes -10000\n"
	        "0.200 a has X -10000 until 988.000\n"
	        "0.200 4 to a: yes -10000\n"
	        "0.200 5 to a: yes -10000\n");
	world_free(w);
}

Test(lock, verify_of_nothing)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_verify(a);
	cr_assert_eq(a->error, ENOLCK);
	world_free(w);
}

Test(lock, verify_without_enough_answers_proves_neither)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_stop(w, 1);
	world_stop(w, 2);
	world_zero(w);
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	cr_assert_eq(world_ms(w), 50);
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(lock, repaired_masters_prove_nothing)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 3; m++)
		model_delete(world_master(w, m), "db");
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	cr_assert(party_holds(a, X)); /* repaired before the deadline */
	party_verify(a); /* all five say 1 now, and it is still no proof */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	world_free(w);
}

Test(lock, repaired_masters_prove_again_after_a_majority_has_vouched)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	model_delete(world_master(w, 1), "db");
	model_delete(world_master(w, 2), "db");
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_run(w, 1 * MS);
	party_verify(a); /* the repairs are known: 3, 4 and 5 vouch for what was before */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_run(w, 1 * MS);
	model_delete(world_master(w, 4), "db");
	model_delete(world_master(w, 5), "db");
	party_verify(a); /* 1 and 2 stand with 3 */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_free(w);
}

/* All had the key when the round was answered, which says nothing of what came after it. */
Test(lock, repairs_after_a_round_are_not_vouched_for_by_that_round)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, X), *b;

	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_run(w, 1 * MS);
	for (unsigned m = 1; m <= 3; m++)
		model_delete(world_master(w, m), "db");
	b = holder_in(w, 1, X);
	party_unlock(b);
	world_run(w, 10 * MS);
	for (unsigned m = 1; m <= 3; m++) {
		world_break(&w->clients[0], m, false);
		world_connect(&w->clients[0], m);
	}
	world_run(w, 10 * MS); /* repaired, one after the other */
	cr_assert(party_holds(a, X));
	cr_assert_eq(world_carriers(w, "db"), 3);
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	world_free(w);
}

Test(lock, late_votes_with_the_claims_fence_prove_as_well)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X); /* 4 and 5 came late */

	model_delete(world_master(w, 1), "db");
	model_delete(world_master(w, 2), "db");
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(lock, answer_after_a_reconnect_proves_nothing)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 2; m++) {
		world_break(&w->clients[0], m, false);
		world_connect(&w->clients[0], m);
	}
	world_run(w, 10 * MS);
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(lock, answer_after_one_reconnect_is_vouched_for_by_the_others)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 3; m++) {
		world_break(&w->clients[0], m, false);
		world_connect(&w->clients[0], m);
		world_run(w, 10 * MS);
		party_verify(a);
		world_run_until_done(w, a);
		cr_assert_eq(a->error, 0);
		world_run(w, 10 * MS);
	}
	world_free(w);
}

/* Where it was accepted it may have set the key anew. */
Test(lock, conversion_that_failed_proves_nothing)
{
	struct world *w = world_ready(5, 2);
	struct party *a = holder_in(w, 0, S);

	holder_in(w, 1, S);
	world_run(w, 10 * MS);
	model_delete(world_master(w, 1), "db");
	model_delete(world_master(w, 2), "db");
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, EWOULDBLOCK);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a, S));
	model_delete(world_master(w, 4), "db");
	party_verify(a); /* 3 and 5 alone are proof */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	world_free(w);
}

/* But where it was accepted although the key was there, that has had no gap. */
Test(lock, conversion_that_failed_is_no_gap_where_the_key_was_kept)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, S), *b = party_in(w, 1);

	world_break(&w->clients[1], 3, false);
	party_lock(b, S, 0); /* at 1 and 2 */
	world_run(w, 1 * MS);
	world_link(&w->clients[0], 3)->there_us = world_link(&w->clients[0], 3)->back_us = 50;
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, EWOULDBLOCK);
	world_run(w, 1 * MS);
	model_delete(world_master(w, 1), "db");
	party_verify(a); /* 2 and 3 are proof */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_free(w);
}

/* The lock that begins with it is proven by those that have accepted it. */
Test(lock, conversion_begins_the_proof_anew)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);

	world_run(w, 10 * MS);
	for (unsigned m = 1; m <= 3; m++)
		model_delete(world_master(w, m), "db");
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	cr_assert(party_holds(a, X));
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_free(w);
}

Test(lock, loss_during_verify_ends_it)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 2; m++)
		model_set_foreign(world_master(w, m), "db", "f00d", 1000, w->now_us);
	world_zero(w);
	party_verify(a);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a verifies\n"
	        "0.000 a asks 1 2 3: E X -10000\n"
	        "0.200 1 to a: busy, f00d 1000 ms\n"
	        "0.200 2 to a: busy, f00d 1000 ms\n"
	        "0.200 a asks 3: R -9999\n"
	        "0.200 a has lost it\n"
	        "0.200 a: ESTALE\n"
	        "0.200 3 to a: yes -10000\n"
	        "0.400 3 to a: released\n");
	world_free(w);
}

/* ---- converting ---- */

Test(lock, writer_becomes_a_reader_in_place)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, X), *b = party_in(w, 1);
	uint64_t token = lock_token(&a->lock);

	world_zero(w);
	party_lock(a, S, -1);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants S\n"
	        "0.000 a asks 1 2 3: E S -10000\n"
	        "0.200 1 to a: yes -10000\n"
	        "0.200 2 to a: yes -10000\n"
	        "0.200 a has S -10000 until 988.000\n"
	        "0.200 3 to a: yes -10000\n");
	cr_assert_eq(lock_token(&a->lock), token + 1);
	party_lock(b, S, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(b, S));
	world_free(w);
}

Test(lock, only_reader_becomes_a_writer_in_place)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);
	uint64_t token = lock_token(&a->lock);

	world_zero(w);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: kept +0\n"
	        "0.200 2 to a: kept +0\n"
	        "0.200 a has X +0 until 988.000\n"
	        "0.200 3 to a: kept +0\n");
	cr_assert(lock_token(&a->lock) > token);
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, masters_where_it_only_reads_do_not_count_for_a_writer)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, S);

	world_hold(&w->clients[0], 4);
	world_hold(&w->clients[0], 5);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a, X));
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_free(w);
}

Test(lock, one_of_two_readers_keeps_its_lock_when_it_does_not_block)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, S), *b = holder_in(w, 1, S);

	world_zero(w);
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.200 1 to a: busy, zset 990 ms\n"
	        "0.200 2 to a: busy, zset 990 ms\n"
	        "0.200 a asks 1 2 3: E S -20000\n"
	        "0.200 a: EWOULDBLOCK\n"
	        "0.200 3 to a: busy, zset 990 ms\n"
	        "0.400 1 to a: yes -20000\n"
	        "0.400 2 to a: yes -20000\n"
	        "0.400 3 to a: yes -20000\n");
	world_run(w, 5 * SECONDS);
	cr_assert(party_holds(a, S));
	cr_assert(party_holds(b, S));
	cr_assert_eq(a->losses + b->losses, 0);
	world_free(w);
}

Test(lock, conversion_that_won_some_masters_is_undone_there)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, S), *b = party_in(w, 1);

	/* b reads at 1 and 2 only. */
	world_break(&w->clients[1], 3, false);
	party_lock(b, S, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(b, S));
	world_zero(w);
	world_link(&w->clients[0], 3)->there_us = world_link(&w->clients[0], 3)->back_us = 50;
	party_lock(a, X, 0);
	world_run(w, 2 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.100 3 to a: kept +0\n"
	        "0.200 1 to a: busy, zset 999 ms\n"
	        "0.200 2 to a: busy, zset 999 ms\n"
	        "0.200 a asks 1 2 3: E S -11000\n"
	        "0.200 a: EWOULDBLOCK\n"
	        "0.300 3 to a: yes +0\n"
	        "0.400 1 to a: yes -11000\n"
	        "0.400 2 to a: yes -11000\n");
	world_connect(&w->clients[1], 3);
	world_run(w, 1 * MS);
	cr_assert_eq(lock_live_votes(&b->lock, w->now_us), 3); /* nobody writes there any more */
	world_free(w);
}

Test(lock, blocking_conversion_gives_back_and_waits)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, S), *b = holder_in(w, 1, S);
	uint64_t token = lock_token(&b->lock);

	party_lock(a, X, -1);
	world_run(w, 300 * MS);
	cr_assert(a->calling);
	cr_assert(party_holds(b, S));
	cr_assert_not(party_holds(a, S));
	party_unlock(b);
	world_run(w, 100 * MS);
	cr_assert(party_holds(a, X));
	cr_assert(lock_token(&a->lock) > token);
	world_free(w);
}

Test(lock, two_readers_that_both_convert_do_not_wait_for_each_other)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, S), *b = holder_in(w, 1, S);

	party_lock(a, X, -1);
	party_lock(b, X, -1);
	world_run(w, 500 * MS);
	cr_assert(party_holds(a, X) != party_holds(b, X), "%s", w->trace);
	party_unlock(party_holds(a, X) ? a : b);
	world_run(w, 500 * MS);
	cr_assert(party_holds(a, X) != party_holds(b, X));
	world_free(w);
}

Test(lock, conversion_hurries_past_a_stopped_master)
{
	struct world *w = world_ready(5, 2);
	struct party *a = holder_in(w, 0, S);

	holder_in(w, 1, S);
	world_stop(w, 4);
	world_stop(w, 5);
	/* 1 and 2 are free of b by an accident, so that a might still win with 4 and 5. */
	for (unsigned m = 1; m <= 2; m++)
		model_delete(world_master(w, m), "db");
	world_zero(w);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, EWOULDBLOCK);
	cr_assert_eq(world_ms(w), 5, "%s", w->trace);
	cr_assert(party_holds(a, S));
	world_free(w);
}

Test(lock, interrupted_conversion_keeps_the_shared_lock)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);

	party_lock(a, X, -1);
	world_run(w, 150);
	party_cancel(a, EINTR);
	world_run(w, 10 * MS);
	cr_assert_eq(a->error, EINTR);
	cr_assert(party_holds(a, S));
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	world_free(w);
}

Test(lock, conversion_without_a_majority_keeps_the_shared_lock)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);

	world_stop(w, 1);
	world_stop(w, 2);
	world_zero(w);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	cr_assert_eq(world_ms(w), 50);
	cr_assert(party_holds(a, S));
	/* The caller's time, where it is shorter. */
	world_zero(w);
	world_continue(w, 1);
	world_continue(w, 2);
	world_run(w, 400 * MS);
	world_stop(w, 1);
	world_stop(w, 2);
	world_zero(w);
	party_lock(a, X, 20 * MS);
	world_run_until_done(w, a);
	cr_assert_eq(world_ms(w), 20);
	cr_assert_eq(a->error, ETIMEDOUT);
	cr_assert(party_holds(a, S));
	world_free(w);
}

Test(lock, conversion_where_the_script_is_missing)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);

	for (unsigned m = 1; m <= 3; m++)
		world_master(w, m)->script_loaded = false;
	party_lock(a, X, 0);
	world_run(w, 1 * MS);
	cr_assert(party_holds(a, X), "%s", w->trace);
	world_free(w);
}

Test(lock, loss_during_a_conversion_ends_it)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);

	world_stop(w, 1);
	world_stop(w, 2);
	w->clients[0].quorum.settings.node_timeout_us = 10 * SECONDS; /* they count as slow, not as away */
	world_run(w, a->lock.deadline_us - w->now_us - 1 * MS);
	party_lock(a, X, -1);
	world_run(w, 10 * MS);
	cr_assert_eq(a->error, ESTALE);
	cr_assert_eq(a->losses, 1);
	world_free(w);
}

Test(lock, mode_already_held_is_no_round)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	party_lock(a, X, 0);
	cr_assert_eq(a->error, 0);
	cr_assert_null(strstr(w->trace, "asks"));
	world_free(w);
}

/* ---- what travels with it ---- */

/* As it is on one master: "" also when nothing is there, or it is not the party's. */
static const char *data_on(struct world *w, unsigned master, const struct party *party)
{
	static char text[MODEL_BYTES_MAX + 1];
	const struct model_cargo *cargo = model_cargo(world_master(w, master), party->lock.key, w->now_us);

	text[0] = '\0';
	if (cargo && strcmp(cargo->token, party_token(party)) == 0)
		snprintf(text, sizeof(text), "%.*s", (int)cargo->size, cargo->bytes);
	return text;
}

static struct party *loaded_holder_in(struct world *world, unsigned client, const char *text)
{
	struct party *party = party_in(world, client);

	party_set_data(party, text);
	cr_assert_not(party->calling);
	cr_assert_eq(party->error, 0);
	party_lock(party, X, 0);
	world_run_until_done(world, party);
	cr_assert_eq(party->error, 0);
	cr_assert_geq(world_loaded(world, party, party->lock.cargo.version), party->client->quorum.majority);
	world_run(world, 10 * MS - (world->now_us - world->zero_us) % (10 * MS));
	world_hush(world);
	return party;
}

Test(data, set_before_it_travels_with_the_votes_and_then_by_its_version)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_set_data(a, "one");
	party_lock(a, X, -1);
	world_run(w, 340 * MS);
	says(w,
	        "0.000 a sets its data\n"
	        "0.000 a: done\n"
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0, data 1 sent\n"
	        "0.200 1 to a: yes +0, data 1\n"
	        "0.200 2 to a: yes +0, data 1\n"
	        "0.200 a has X +0 until 988.000\n"
	        "0.200 3 to a: yes +0, data 1\n"
	        "333.333 a asks 1 2 3: E X +0, data 1\n"
	        "333.533 1 to a: yes +0, data 1\n"
	        "333.533 2 to a: yes +0, data 1\n"
	        "333.533 3 to a: yes +0, data 1\n");
	for (unsigned m = 1; m <= 3; m++)
		cr_assert_str_eq(data_on(w, m, a), "one");
	/* It lives as long as the key. */
	world_run(w, 60 * SECONDS);
	cr_assert_eq(world_loaded(w, a, 1), 3);
	client_vanish(&w->clients[0]);
	world_run(w, 2 * SECONDS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	world_free(w);
}

Test(data, set_while_held_is_a_renewal_that_ends_with_a_majority)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	world_zero(w);
	w->clients[0].quorum.settings.node_timeout_us = 10 * SECONDS; /* it counts as slow, not as away */
	world_hold(&w->clients[0], 5);
	party_set_data(a, "two");
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a sets its data\n"
	        "0.000 a asks 1 2 3 4 5: E X -10000, data 1 sent\n"
	        "0.200 1 to a: yes -10000, data 1\n"
	        "0.200 2 to a: yes -10000, data 1\n"
	        "0.200 3 to a: yes -10000, data 1\n"
	        "0.200 a has X -10000 until 988.000\n"
	        "0.200 4 to a: yes -10000, data 1\n");
	cr_assert_str_eq(data_on(w, 3, a), "two");
	/* What is under way is not sent a second time. */
	world_run(w, 340 * MS);
	cr_assert_not_null(strstr(w->trace, "a asks 1 2 3 4 5: E X -10000, data 1\n"), "%s", w->trace);
	world_let(&w->clients[0], 5);
	world_run(w, 1 * MS);
	cr_assert_str_eq(data_on(w, 5, a), "two");
	world_free(w);
}

Test(data, set_again_before_all_have_answered_the_last_one_stays)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_zero(w);
	party_set_data(a, "one");
	world_run(w, 100);
	party_cancel(a, EINTR);
	party_set_data(a, "two");
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a sets its data\n"
	        "0.000 a asks 1 2 3: E X -10000, data 1 sent\n"
	        "0.100 a: EINTR\n"
	        "0.100 a sets its data\n"
	        "0.100 a asks 1 2 3: E X -10000, data 2 sent\n"
	        "0.200 1 to a: yes -10000, data 1\n"
	        "0.200 2 to a: yes -10000, data 1\n"
	        "0.200 3 to a: yes -10000, data 1\n"
	        "0.300 1 to a: yes -10000, data 2\n"
	        "0.300 2 to a: yes -10000, data 2\n"
	        "0.300 a has X -10000 until 988.100\n"
	        "0.300 3 to a: yes -10000, data 2\n");
	for (unsigned m = 1; m <= 3; m++)
		cr_assert_str_eq(data_on(w, m, a), "two");
	world_free(w);
}

Test(data, interrupted_it_travels_all_the_same)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 3; m++)
		world_hold(&w->clients[0], m);
	party_set_data(a, "one");
	party_cancel(a, EINTR);
	cr_assert_eq(a->error, EINTR);
	for (unsigned m = 1; m <= 3; m++)
		world_break(&w->clients[0], m, false);
	for (unsigned m = 1; m <= 3; m++) {
		world_let(&w->clients[0], m);
		world_connect(&w->clients[0], m);
	}
	world_run(w, 1 * MS);
	cr_assert_eq(world_loaded(w, a, 1), 3);
	world_free(w);
}

Test(data, key_that_is_gone_comes_back_together_with_it)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	model_delete(world_master(w, 2), "db");
	model_delete_cargo(world_master(w, 2), "db");
	world_zero(w);
	world_run(w, 330 * MS);
	says(w,
	        "323.333 a asks 1 2 3: E X -10000, data 1\n"
	        "323.533 1 to a: yes -10000, data 1\n"
	        "323.533 2 to a: gone, and the data not sent\n"
	        "323.533 a asks 2: E X -10000, data 1 sent\n"
	        "323.533 3 to a: yes -10000, data 1\n"
	        "323.733 2 to a: repaired, data 1\n");
	cr_assert_eq(world_loaded(w, a, 1), 3);
	cr_assert_eq(lock_live_votes(&a->lock, w->now_us), 3);
	world_free(w);
}

Test(data, key_that_is_gone_alone_needs_no_bytes)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	model_delete(world_master(w, 2), "db");
	world_zero(w);
	world_run(w, 330 * MS);
	says(w,
	        "323.333 a asks 1 2 3: E X -10000, data 1\n"
	        "323.533 1 to a: yes -10000, data 1\n"
	        "323.533 2 to a: repaired, data 1\n"
	        "323.533 3 to a: yes -10000, data 1\n");
	cr_assert_eq(world_loaded(w, a, 1), 3);
	world_free(w);
}

Test(data, gone_alone_it_is_sent_as_soon_as_that_is_told)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	model_delete_cargo(world_master(w, 2), "db");
	world_zero(w);
	world_run(w, 330 * MS);
	says(w,
	        "323.333 a asks 1 2 3: E X -10000, data 1\n"
	        "323.533 1 to a: yes -10000, data 1\n"
	        "323.533 2 to a: yes -10000\n"
	        "323.533 a asks 2: E X -10000, data 1 sent\n"
	        "323.533 3 to a: yes -10000, data 1\n"
	        "323.733 2 to a: yes -10000, data 1\n");
	cr_assert_eq(world_loaded(w, a, 1), 3);
	world_free(w);
}

/* A majority at once: the lock lives by repair, and proves nothing, as without data. */
Test(data, majority_that_is_gone_is_repaired_with_it)
{
	struct world *w = world_ready(5, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	for (unsigned m = 1; m <= 3; m++) {
		model_delete(world_master(w, m), "db");
		model_delete_cargo(world_master(w, m), "db");
	}
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	cr_assert(party_holds(a, X));
	cr_assert_eq(world_loaded(w, a, 1), 5);
	world_run(w, 5 * SECONDS);
	cr_assert(party_holds(a, X));
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	world_free(w);
}

Test(data, flushed_master_gets_it_when_it_votes_again)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	model_flush(world_master(w, 2));
	world_run(w, 9 * SECONDS);
	cr_assert_eq(world_loaded(w, a, 1), 2);
	world_hush(w);
	world_run(w, 3 * SECONDS);
	cr_assert_eq(world_loaded(w, a, 1), 3);
	cr_assert_not_null(strstr(w->trace, "a asks 2: E X +0, data 1 sent"), "%s", w->trace);
	cr_assert_null(strstr(w->trace, "gone"), "%s", w->trace);
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(data, master_that_joins_gets_it_with_the_repair)
{
	struct world *w = world_ready(3, 1);
	struct party *a;

	world_break(&w->clients[0], 3, false);
	a = loaded_holder_in(w, 0, "one");
	world_zero(w);
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	cr_assert_str_eq(data_on(w, 3, a), "one");
	says(w,
	        "0.000 a connects to 3\n"
	        "0.000 a asks 3: V\n"
	        "0.200 3 to a: known; voting\n"
	        "0.200 a asks 3: E X -10000, data 1 sent\n"
	        "0.400 3 to a: repaired, data 1\n");
	world_free(w);
}

/* After a reconnect the version is enough, if it is still there. */
Test(data, reconnecting_costs_no_bytes)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	world_zero(w);
	world_break(&w->clients[0], 3, false);
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a breaks with 3\n"
	        "0.000 a connects to 3\n"
	        "0.000 a asks 3: V\n"
	        "0.200 3 to a: known; voting\n"
	        "0.200 a asks 3: E X -10000, data 1\n"
	        "0.400 3 to a: yes -10000, data 1\n");
	cr_assert_eq(world_loaded(w, a, 1), 3);
	world_free(w);
}

Test(data, late_renewal_does_not_bring_back_what_was_before)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_link(&w->clients[0], 3)->no_kill = true;
	party_set_data(a, "one");
	world_break(&w->clients[0], 3, true); /* the E with it is still under way in the network */
	world_run_until_done(w, a);
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	party_set_data(a, "two");
	world_run(w, 1 * MS);
	cr_assert_str_eq(data_on(w, 3, a), "two");
	cr_assert_eq(world_link(&w->clients[0], 3)->late_count, 1);
	world_deliver_late(&w->clients[0], 3);
	cr_assert_str_eq(data_on(w, 3, a), "two");
	world_free(w);
}

/* Nor does an A of the same proposal. */
Test(data, late_acquire_does_not_bring_back_what_was_before)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	world_link(&w->clients[0], 3)->no_kill = true;
	party_set_data(a, "one");
	party_lock(a, X, -1);
	world_break(&w->clients[0], 3, true);
	world_run_until_done(w, a);
	party_set_data(a, "two");
	world_connect(&w->clients[0], 3);
	world_run(w, 1 * MS);
	cr_assert_str_eq(data_on(w, 3, a), "two");
	world_deliver_late(&w->clients[0], 3);
	cr_assert_str_eq(data_on(w, 3, a), "two");
	cr_assert(party_holds(a, X));
	world_free(w);
}

/* The votes of 4 and 5 come with what travelled when they were asked for. */
Test(data, late_vote_is_brought_up_to_date)
{
	struct world *w = world_ready(5, 1);
	struct party *a = party_in(w, 0);

	party_set_data(a, "one");
	world_link(&w->clients[0], 4)->there_us = 20 * MS;
	world_stop(w, 5);
	party_lock(a, X, -1);
	world_run(w, 1 * MS);
	party_set_data(a, "two");
	world_run(w, 30 * MS);
	world_continue(w, 5);
	world_run(w, 30 * MS);
	for (unsigned m = 1; m <= 5; m++)
		cr_assert_str_eq(data_on(w, m, a), "two");
	world_free(w);
}

Test(data, too_few_masters_end_the_call_and_not_the_lock)
{
	struct world *w = world_ready(5, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 3; m++)
		world_stop(w, m);
	world_zero(w);
	party_set_data(a, "one");
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	cr_assert_eq(world_ms(w), 50);
	cr_assert(party_holds(a, X));
	cr_assert_eq(world_loaded(w, a, 1), 2);
	for (unsigned m = 1; m <= 3; m++)
		world_continue(w, m);
	world_run(w, 400 * MS);
	cr_assert_eq(world_loaded(w, a, 1), 5);
	cr_assert(party_holds(a, X));
	cr_assert_eq(a->losses, 0);
	world_free(w);
}

/* The time that the call may take is node_timeout, however often the lease is renewed meanwhile. */
Test(data, renewal_does_not_lengthen_the_call)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	a->lock.settings.node_timeout_us = w->clients[0].quorum.settings.node_timeout_us = 600 * MS;
	world_stop(w, 1);
	world_stop(w, 2);
	world_zero(w);
	party_set_data(a, "one");
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	cr_assert_eq(world_ms(w), 600);
	cr_assert(party_holds(a, X));
	world_free(w);
}

Test(data, loss_ends_the_call_and_what_was_set_travels_with_the_next_lock)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	for (unsigned m = 1; m <= 2; m++)
		model_set_foreign(world_master(w, m), "db", "f00d", 1000, w->now_us);
	party_set_data(a, "one");
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	cr_assert_eq(a->losses, 1);
	party_set_data(a, "two"); /* lost is lost until it is given back */
	cr_assert_eq(a->error, ESTALE);
	party_unlock(a);
	world_run(w, 2 * SECONDS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	cr_assert_str_eq(data_on(w, 1, a), "two");
	world_free(w);
}

Test(data, deadline_that_no_timer_noticed_is_seen_by_the_call)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	w->now_us = a->lock.deadline_us;
	party_set_data(a, "one");
	cr_assert_eq(a->error, ESTALE);
	cr_assert_eq(a->losses, 1);
	world_free(w);
}

Test(data, release_takes_it_away)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	/* Also where only the key was gone. */
	model_delete(world_master(w, 3), "db");
	world_zero(w);
	party_unlock(a);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a unlocks\n"
	        "0.000 a asks 1 2 3: R -9999, unloads\n"
	        "0.200 1 to a: released\n"
	        "0.200 2 to a: released\n"
	        "0.200 a: done\n"
	        "0.200 3 to a: released\n");
	cr_assert_eq(world_cargoes(w, "db"), 0);
	/* It stays with the descriptor, until it is set anew. */
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_str_eq(data_on(w, 2, a), "one");
	party_close(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	world_free(w);
}

Test(data, release_takes_no_others_away)
{
	struct world *w = world_ready(3, 2);
	struct party *a = loaded_holder_in(w, 0, "one"), *b = party_in(w, 1);

	party_set_data(b, "two");
	for (unsigned m = 1; m <= 3; m++)
		model_delete(world_master(w, m), "db");
	party_lock(b, X, 0);
	world_run_until_done(w, b);
	cr_assert_eq(b->error, 0);
	party_close(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_loaded(w, b, 1), 3);
	world_free(w);
}

Test(data, what_is_left_of_another_is_not_the_holders)
{
	struct world *w = world_ready(3, 2);
	struct party *b;

	loaded_holder_in(w, 0, "one");
	client_vanish(&w->clients[0]);
	for (unsigned m = 1; m <= 3; m++)
		model_delete(world_master(w, m), "db");
	b = holder_in(w, 1, X);
	cr_assert_eq(world_cargoes(w, "db"), 3);
	for (unsigned m = 1; m <= 3; m++)
		cr_assert_str_eq(data_on(w, m, b), "");
	/* Its version may be the same: it is another token's. */
	party_set_data(b, "two");
	world_run_until_done(w, b);
	for (unsigned m = 1; m <= 3; m++)
		cr_assert_str_eq(data_on(w, m, b), "two");
	world_free(w);
}

Test(data, broken_lock_leaves_none)
{
	struct world *w = world_ready(3, 1);
	struct model_call call = {.operation = 'B', .key = "db", .ttl_ms = 20000};
	struct model_reply reply;
	struct party *a = loaded_holder_in(w, 0, "one");

	for (unsigned m = 1; m <= 3; m++)
		model_execute(world_master(w, m), &call, w->now_us, &reply);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	party_set_data(a, "two");
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	world_free(w);
}

Test(data, nothing_costs_nothing)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_set_data(a, "one");
	party_set_data(a, NULL);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	party_set_data(a, NULL);
	cr_assert_not(a->calling);
	cr_assert_eq(a->error, 0);
	world_run(w, 1 * SECONDS);
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_null(strstr(w->trace, ", data"), "%s", w->trace);
	cr_assert_null(strstr(w->trace, "unloads"), "%s", w->trace);
	world_free(w);
}

/* Where something travelled, that nothing does has to be told: else the older bytes would be believed. */
Test(data, nothing_replaces_something)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	world_zero(w);
	party_set_data(a, NULL);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a sets its data\n"
	        "0.000 a asks 1 2 3: E X -10000, data 2 sent\n"
	        "0.200 1 to a: yes -10000, data 2\n"
	        "0.200 2 to a: yes -10000, data 2\n"
	        "0.200 a has X -10000 until 988.000\n"
	        "0.200 3 to a: yes -10000, data 2\n");
	cr_assert_str_eq(data_on(w, 1, a), "");
	cr_assert_eq(world_loaded(w, a, 2), 3);
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	world_free(w);
}

Test(data, masters_without_memory_refuse_it_and_keep_the_lock)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	for (unsigned m = 1; m <= 2; m++)
		world_master(w, m)->out_of_memory = true;
	world_zero(w);
	party_set_data(a, "two");
	world_run(w, 60 * MS);
	/* It is not sent again before the next renewal. */
	says(w,
	        "0.000 a sets its data\n"
	        "0.000 a asks 1 2 3: E X -10000, data 2 sent\n"
	        "0.200 1 to a: yes -10000, data 1\n"
	        "0.200 2 to a: yes -10000, data 1\n"
	        "0.200 3 to a: yes -10000, data 2\n"
	        "50.000 a: ENOLCK\n");
	world_run(w, 3 * SECONDS);
	cr_assert(party_holds(a, X));
	cr_assert_eq(world_loaded(w, a, 1), 3);
	cr_assert_eq(world_loaded(w, a, 2), 1);
	for (unsigned m = 1; m <= 2; m++)
		world_master(w, m)->out_of_memory = false;
	world_run(w, 340 * MS);
	cr_assert_eq(world_loaded(w, a, 2), 3);
	for (unsigned m = 1; m <= 3; m++)
		world_master(w, m)->out_of_memory = true;
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db") + world_cargoes(w, "db"), 0);
	party_lock(a, X, 0); /* with it no vote, as without it */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ENOLCK);
	world_free(w);
}

Test(data, where_the_script_is_missing_it_is_sent_again_as_it_is_now)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	for (unsigned m = 1; m <= 3; m++)
		world_master(w, m)->script_loaded = false;
	party_set_data(a, "one");
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_run(w, 1 * MS);
	cr_assert_eq(world_loaded(w, a, 1), 3);
	world_hush(w);
	world_zero(w);
	world_master(w, 1)->script_loaded = false;
	party_set_data(a, "two");
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a sets its data\n"
	        "0.000 a asks 1 2 3: E X -1400, data 2 sent\n"
	        "0.200 1 to a: no script\n"
	        "0.200 a asks 1: E X -1400, data 2 sent\n"
	        "0.200 2 to a: yes -1400, data 2\n"
	        "0.200 3 to a: yes -1400, data 2\n"
	        "0.200 a has X -1400 until 988.000\n"
	        "0.400 1 to a: yes -1400, data 2\n");
	world_free(w);
}

/* ---- converting with it ---- */

Test(data, becoming_a_reader_drops_it_and_becoming_a_writer_brings_it)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	world_zero(w);
	party_lock(a, S, -1);
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants S\n"
	        "0.000 a asks 1 2 3: E S -10000, unloads\n"
	        "0.200 1 to a: yes -10000\n"
	        "0.200 2 to a: yes -10000\n"
	        "0.200 a has S -10000 until 988.000\n"
	        "0.200 3 to a: yes -10000\n");
	cr_assert_eq(world_cargoes(w, "db"), 0);
	/* Once that is done it costs nothing. */
	world_run(w, 340 * MS);
	cr_assert_not_null(strstr(w->trace, "a asks 1 2 3: E S -10000\n"), "%s", w->trace);
	/* A shared lock carries none: what is set waits. */
	party_set_data(a, "two");
	cr_assert_not(a->calling);
	cr_assert_eq(a->error, 0);
	world_run(w, 1 * MS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	for (unsigned m = 1; m <= 2; m++)
		cr_assert_str_eq(data_on(w, m, a), "two");
	party_unlock(a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	world_free(w);
}

Test(data, conversion_that_is_undone_leaves_none)
{
	struct world *w = world_ready(3, 2);
	struct party *a = party_in(w, 0), *b = party_in(w, 1);

	party_set_data(a, "one");
	party_lock(a, S, 0);
	world_run_until_done(w, a);
	world_break(&w->clients[1], 3, false); /* b reads at 1 and 2 only */
	party_lock(b, S, 0);
	world_run_until_done(w, b);
	cr_assert_eq(b->error, 0);
	world_link(&w->clients[0], 3)->there_us = world_link(&w->clients[0], 3)->back_us = 50;
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, EWOULDBLOCK);
	cr_assert_eq(world_cargoes(w, "db"), 1);
	world_run(w, 1 * MS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	cr_assert(party_holds(a, S));
	world_free(w);
}

/* ---- set while a lock call is under way ---- */

Test(data, set_during_the_round_the_masters_are_asked_anew)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_set_data(a, "one");
	world_hush(w);
	party_lock(a, X, -1);
	world_run(w, 150);
	party_set_data(a, "two");
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0, data 1 sent\n"
	        "0.150 a sets its data meanwhile\n"
	        "0.150 a asks 1 2 3: A X +150, data 2 sent\n"
	        "0.200 1 to a: yes +0, data 1\n"
	        "0.200 2 to a: yes +0, data 1\n"
	        "0.200 3 to a: yes +0, data 1\n"
	        "0.350 1 to a: kept +150, data 2\n"
	        "0.350 2 to a: kept +150, data 2\n"
	        "0.350 a has X +150 until 988.150\n"
	        "0.350 3 to a: kept +150, data 2\n");
	world_free(w);
}

Test(data, set_while_waiting_it_travels_with_the_lock_that_comes)
{
	struct world *w = world_ready(3, 2);
	struct party *a = holder_in(w, 0, X), *b = party_in(w, 1);

	party_lock(b, X, -1);
	world_run(w, 200 * MS);
	party_set_data(b, "one");
	world_run(w, 30 * MS);
	party_unlock(a);
	world_run(w, 200 * MS);
	cr_assert(party_holds(b, X));
	cr_assert_eq(world_loaded(w, b, 1), 3);
	world_free(w);
}

/* At every moment of a wait: while it looks, while it rests, while it takes. */
Test(data, set_at_any_moment_of_a_wait)
{
	for (int64_t at_us = 0; at_us < 120 * MS; at_us += 37) {
		struct world *w = world_ready(3, 2);
		struct party *a = holder_in(w, 0, X), *b = party_in(w, 1);
		unsigned version;

		w->silent = true;
		party_set_data(b, "one");
		party_lock(b, X, -1);
		world_run(w, at_us / 2);
		party_unlock(a);
		world_run(w, at_us - at_us / 2);
		party_set_data(b, "two");
		version = (unsigned)b->lock.cargo.version;
		if (b->calling)
			world_run_until_done(w, b);
		cr_assert_eq(b->error, 0);
		cr_assert(party_holds(b, X));
		cr_assert_geq(world_loaded(w, b, version), 2, "set after %lld us", (long long)at_us);
		world_free(w);
	}
}

Test(data, set_during_a_conversion_the_masters_are_asked_anew)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, S);

	world_zero(w);
	party_lock(a, X, 0);
	world_run(w, 150);
	party_set_data(a, "one");
	world_run(w, 1 * MS);
	says(w,
	        "0.000 a wants X\n"
	        "0.000 a asks 1 2 3: A X +0\n"
	        "0.150 a sets its data meanwhile\n"
	        "0.150 a asks 1 2 3: A X +150, data 1 sent\n"
	        "0.200 1 to a: kept +0\n"
	        "0.200 2 to a: kept +0\n"
	        "0.200 3 to a: kept +0\n"
	        "0.350 1 to a: kept +150, data 1\n"
	        "0.350 2 to a: kept +150, data 1\n"
	        "0.350 a has X +150 until 988.150\n"
	        "0.350 3 to a: kept +150, data 1\n");
	world_free(w);
}

Test(data, set_again_and_again_during_the_round_wears_out_no_proposals)
{
	struct world *w = world_ready(3, 1);
	struct party *a = party_in(w, 0);

	party_lock(a, X, 0);
	for (unsigned i = 0; i < 20; i++) {
		world_run(w, 150);
		party_set_data(a, i % 2 ? "odd" : "even");
	}
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	cr_assert_eq(a->lock.proposals, 1);
	cr_assert_eq(world_loaded(w, a, 20), 3);
	world_free(w);
}

Test(data, set_while_it_is_given_back_it_waits_for_the_next_lock)
{
	struct world *w = world_ready(3, 1);
	struct party *a = loaded_holder_in(w, 0, "one");

	party_unlock(a);
	party_set_data(a, "two");
	world_run_until_done(w, a);
	world_run(w, 1 * MS);
	cr_assert_eq(world_cargoes(w, "db"), 0);
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	cr_assert_str_eq(data_on(w, 1, a), "two");
	world_free(w);
}

/* ---- grants ---- */

enum spoilt {
	NOTHING, ITS_TOKEN, ITS_EPOCH, ITS_TIME, ITS_CLOCK, ITS_FENCE, ITS_END, ITS_MASTER, ITS_PLACE, BY_A_YIELD, SPOILT
};

/* What the first master would tell who waits. */
static struct grant grant_for(const struct world *w, const struct party *party)
{
	int64_t master_us = master_now_us(w, 0) + w->masters[0].clock_us;
	struct grant grant = {.fence = (uint64_t)master_us, .master_us = master_us, .expiry_ms = master_us / 1000 + 1000};

	snprintf(grant.epoch, sizeof(grant.epoch), "%s", party->client->quorum.masters[0].view.epoch);
	snprintf(grant.token, sizeof(grant.token), "%s", party_token(party));
	return grant;
}

static void spoil(struct party *party, struct grant *grant, enum spoilt what)
{
	struct vote *vote = &party->lock.attempt->votes[0];

	switch (what) {
	case ITS_TOKEN: grant->token[strcspn(grant->token, "-") + 32] ^= 1; break;
	case ITS_EPOCH: grant->epoch[0] ^= 1; break;
	case ITS_TIME:
		grant->master_us = vote->answered_us;
		grant->expiry_ms = vote->answered_us / 1000 + 1000;
		break;
	case ITS_CLOCK:
		grant->master_us += 500 * MS;
		grant->expiry_ms += 500;
		break;
	case ITS_FENCE: grant->fence += SKEW_US + 1 * SECONDS; break;
	case ITS_END: grant->expiry_ms += 1000; break;
	case ITS_MASTER: party->client->quorum.masters[0].standing = STANDING_QUARANTINED; break;
	case ITS_PLACE: vote->queued = false; break;
	case BY_A_YIELD: vote->yielding = true; break;
	default: break;
	}
}

/* Who waits stands in the queues of all masters then. */
static void wait_behind(struct world *w, struct party *holder, struct party *waiter)
{
	party_lock(holder, X, -1);
	world_run(w, 1 * MS);
	party_lock(waiter, X, -1);
	world_run(w, 10 * MS);
}

Test(grants, count_only_if_all_fits)
{
	for (enum spoilt what = NOTHING; what < SPOILT; what++) {
		struct world *w = world_ready(3, 2);
		struct party *holder = party_in(w, 0), *a = party_in(w, 1);
		struct effects effects = {0};
		struct grant grant;

		wait_behind(w, holder, a);
		grant = grant_for(w, a);
		spoil(a, &grant, what);
		lock_granted(&a->lock, 0, &grant, client_now_us(a->client), &effects);
		cr_assert_eq(a->lock.attempt->votes[0].ballot == BALLOT_YES, what == NOTHING, "%d", (int)what);
		cr_assert_eq(a->lock.attempt->votes[0].missed, what == BY_A_YIELD, "%d", (int)what);
		cr_assert_eq(effects.count, 0);
		world_free(w);
	}
}

/* Masters come back with a queue of which the first one was served since: it costs no offer. */
Test(grants, for_an_attempt_that_has_ended_are_given_back)
{
	struct world *w = world_ready(5, 3);
	struct party *holder = party_in(w, 0), *a = party_in(w, 1), *b = party_in(w, 2);
	struct model_waiter place;
	int64_t begin_us;

	wait_behind(w, holder, a);
	place = model_find_queue(&w->masters[0].data, "db", false)->waiters[0];
	party_unlock(holder);
	world_run_until_done(w, a);
	party_unlock(a);
	world_run(w, 20 * MS);
	wait_behind(w, holder, b);
	for (unsigned i = 0; i < 5; i++)
		model_put_waiter(model_find_queue(&w->masters[i].data, "db", false), place.member, place.ticket, true);
	begin_us = w->now_us;
	party_unlock(holder);
	world_run_until_done(w, b);
	cr_assert_eq(b->error, 0);
	cr_assert_lt(w->now_us - begin_us, 20 * MS, "%lld us", (long long)(w->now_us - begin_us));
	world_free(w);
}

/* Its release is on its way, and no second one is sent. */
Test(grants, for_an_attempt_that_is_being_given_back_need_no_answer)
{
	struct world *w = world_ready(3, 2);
	struct party *holder = party_in(w, 0), *a = party_in(w, 1);
	struct effects effects = {0};
	struct attempt *closed;
	struct grant grant;

	wait_behind(w, holder, a);
	grant = grant_for(w, a);
	lock_stray(&a->lock, 0, &grant, NULL, client_now_us(a->client), &effects);
	cr_assert_eq(effects.count, 0); /* it is of the attempt that waits */
	grant.token[strcspn(grant.token, "-") + 32] ^= 1;
	closed = attempt_new(&a->client->quorum, "db", 2, grant.token, 0, 1 * SECONDS);
	closed->votes[0].touched = true;
	lock_stray(&a->lock, 0, &grant, closed, client_now_us(a->client), &effects);
	cr_assert_eq(effects.count, 0);
	lock_stray(&holder->lock, 0, &grant, NULL, client_now_us(a->client), &effects);
	cr_assert_eq(effects.count, 0); /* another's */
	closed->votes[0].touched = false; /* it was given back there, or never was there */
	lock_stray(&a->lock, 0, &grant, closed, client_now_us(a->client), &effects);
	attempt_free(closed);
	cr_assert_eq(effects.count, 1);
	cr_assert_eq(effects.list[0].request.op, OP_RELEASE);
	cr_assert_eq(effects.list[0].request.master, 0);
	cr_assert_eq(effects.list[0].request.fence, 0); /* no tombstone: what was asked for is long decided */
	cr_assert_eq(lock_take_closed(&a->lock), effects.list[0].request.attempt);
	attempt_free(effects.list[0].request.attempt);
	world_free(w);
}

Test(grants, told_again_say_nothing)
{
	struct world *w = world_ready(3, 2);
	struct party *holder = party_in(w, 0), *a = party_in(w, 1);
	struct effects effects = {0};
	struct grant grant;

	wait_behind(w, holder, a);
	grant = grant_for(w, a);
	lock_granted(&a->lock, 0, &grant, client_now_us(a->client), &effects);
	cr_assert_eq(a->lock.attempt->votes[0].ballot, BALLOT_YES);
	a->lock.attempt->votes[0].ballot = BALLOT_BUSY;
	lock_granted(&a->lock, 0, &grant, client_now_us(a->client), &effects);
	cr_assert_eq(a->lock.attempt->votes[0].ballot, BALLOT_BUSY);
	world_free(w);
}

Test(grants, after_the_claim_are_proof_only_with_its_fence)
{
	for (unsigned other = 0; other <= 1; other++) {
		struct world *w = world_ready(3, 2);
		struct party *holder = party_in(w, 0), *a = party_in(w, 1);
		struct effects effects = {0};
		struct grant grant;

		wait_behind(w, holder, a);
		party_unlock(holder);
		world_run(w, 20 * MS);
		cr_assert(party_holds(a, X));
		grant = grant_for(w, a);
		grant.fence = a->lock.fence + other;
		a->lock.attempt->votes[0].queued = true; /* as where the first grant has come late */
		lock_granted(&a->lock, 0, &grant, client_now_us(a->client), &effects);
		cr_assert_eq(a->lock.attempt->votes[0].proven, !other);
		/* It ends soon, and is prolonged at once. */
		cr_assert_eq(effects.count, 1);
		cr_assert_eq(effects.list[0].request.op, OP_EXTEND);
		world_free(w);
	}
}

/* A third of the masters' work, where many wait and each holds it for a moment. */
Test(grants, are_prolonged_after_a_while_or_never)
{
	for (unsigned long_enough = 0; long_enough <= 1; long_enough++) {
		struct world *w = world_ready(3, 2);
		struct party *holder = party_in(w, 0), *a = party_in(w, 1);
		unsigned extended = 0;

		wait_behind(w, holder, a);
		party_unlock(holder);
		world_run(w, 5 * MS);
		cr_assert(party_holds(a, X));
		cr_assert_leq(a->lock.deadline_us, client_now_us(a->client) + 1 * SECONDS);
		if (long_enough)
			world_run(w, 10 * MS);
		for (unsigned i = 0; i < 3; i++)
			extended += a->lock.attempt->votes[i].yes_serial > 0;
		cr_assert_eq(extended, long_enough ? 3 : 0);
		party_unlock(a);
		world_run(w, 2 * MS);
		cr_assert_eq(world_carriers(w, "db"), 0);
		world_free(w);
	}
}

/* One that waits, and asks how it stands just when the holder's keys have gone. */
static struct party *waiter_that_asks(struct world *w)
{
	struct party *a = party_in(w, 1);

	party_lock(party_in(w, 0), X, -1);
	world_run(w, 1 * MS);
	party_lock(a, X, -1);
	world_run(w, 10 * MS);
	for (unsigned m = 1; m <= 3; m++)
		model_delete(world_master(w, m), "db");
	a->lock.wake_us = client_now_us(a->client);
	world_zero(w);
	world_run(w, 150);
	return a;
}

/* Its own A, which was under way when the grants came, raises the fence of what was handed over, and says so. */
Test(grants, are_proof_although_an_acquire_was_under_way)
{
	struct world *w = world_ready(3, 3);
	struct party *a = waiter_that_asks(w);

	party_lock(party_in(w, 2), X, 0);
	world_run(w, 400);
	says(w,
	        "0.000 b asks 1 2 3: P X\n"
	        "0.150 c wants X\n"
	        "0.150 c asks 1 2 3: A X +151\n"
	        "0.200 1 to b: free\n"
	        "0.200 2 to b: free\n"
	        "0.200 b asks 1 2 3: A X +200\n"
	        "0.200 3 to b: free\n"
	        "0.350 1 grants b +151\n"
	        "0.350 2 grants b +151\n"
	        "0.350 b has X +151 until 987.901\n"
	        "0.350 3 grants b +151\n"
	        "0.350 1 to c: busy, b 1000 ms\n"
	        "0.350 2 to c: busy, b 1000 ms\n"
	        "0.350 c asks 3: R +152\n"
	        "0.350 c: EWOULDBLOCK\n"
	        "0.350 3 to c: busy, b 1000 ms\n"
	        "0.400 1 to b: kept +200\n"
	        "0.400 2 to b: kept +200\n"
	        "0.400 3 to b: kept +200\n"
	        "0.550 3 to c: released\n");
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	world_free(w);
}

/* The same, but the key was gone at a majority when the A came: it has set it anew. */
Test(grants, are_no_proof_where_an_acquire_has_set_the_key_anew)
{
	struct world *w = world_ready(3, 3);
	struct party *a = waiter_that_asks(w);

	party_lock(party_in(w, 2), X, 0);
	for (unsigned m = 1; m <= 3; m++)
		world_link(a->client, m)->there_us = 500;
	world_run(w, 300); /* handed over, and the A is under way */
	cr_assert(party_holds(a, X));
	model_delete(world_master(w, 1), "db");
	model_delete(world_master(w, 2), "db");
	world_run(w, 5 * MS);
	party_verify(a);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, ESTALE);
	world_free(w);
}

/* ---- out of memory ---- */

/* Linked with -Wl,--wrap=malloc,--wrap=calloc: each allocation of the core can be made to fail. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static long fail_at = -1; /* the allocation that fails: 0 is the next; negative: none */
static unsigned failed;

static bool fails(void)
{
	if (fail_at < 0 || fail_at-- > 0)
		return false;
	failed++;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

Test(lock, want_of_memory_is_told_and_leaves_nothing_behind)
{
	struct world *w = world_ready(3, 2);
	struct party *a, *b;

	fail_at = 0;
	cr_assert_null(world_party(&w->clients[0], NULL)); /* lock_init() */
	cr_assert_eq(failed, 1);
	b = holder_in(w, 1, X);
	a = party_in(w, 0);
	fail_at = 0;
	party_lock(a, X, -1); /* the first attempt */
	cr_assert_eq(a->error, ENOMEM);
	cr_assert_eq(failed, 2);
	party_lock(a, X, -1);
	fail_at = 0; /* waiting needs none */
	world_run(w, 2 * SECONDS);
	party_unlock(b);
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
	cr_assert_eq(failed, 2);
	fail_at = -1;
	party_unlock(a);
	world_run(w, 10 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(client_owed(&w->clients[0]), 0);
	world_free(w);
}

/* Each of the allocations of a story in turn; giving back needs none. */
static bool story(struct world *w, long nth)
{
	struct party *a = holder_in(w, 0, S), *b = holder_in(w, 1, S);
	bool all;

	world_hush(w);
	fail_at = nth;
	party_lock(a, X, 400 * MS); /* gives back and waits */
	world_run(w, 100 * MS);
	party_lock(b, X, 0); /* in place */
	world_run_until_done(w, b);
	party_unlock(b);
	world_run_until_done(w, b);
	party_lock(b, X, 400 * MS); /* behind a */
	world_run_until_done(w, a);
	if (a->error == 0)
		party_unlock(a);
	world_run_until_done(w, b);
	all = fail_at >= 0; /* it was not reached */
	fail_at = -1;
	cr_assert(a->error == 0 || (a->error == ENOMEM && !all) || (a->error == ETIMEDOUT && !all), "%d", a->error);
	cr_assert(b->error == 0 || b->error == ENOMEM, "%d", b->error);
	party_close(a);
	party_close(b);
	world_run(w, 1 * MS);
	cr_assert_eq(world_carriers(w, "db"), 0);
	cr_assert_eq(client_owed(&w->clients[0]) + client_owed(&w->clients[1]), 0);
	return all;
}

Test(lock, each_allocation_fails_in_turn)
{
	bool all = false;
	long nth = 0;

	for (; !all && nth < 100; nth++) {
		struct world *w = world_ready(3, 2);

		all = story(w, nth);
		world_free(w);
	}
	cr_assert(all);
	cr_assert(nth > 2, "only %ld allocations failed", nth - 1);
	cr_assert_eq(failed, nth - 1);
}

/* The process may end with it: what it has sent must have been read. */
Test(lock, last_unlock_waits_a_little_for_all)
{
	struct world *w = world_ready(3, 1);
	struct party *a = holder_in(w, 0, X);

	world_link(&w->clients[0], 3)->back_us = 5 * MS;
	world_run(w, 10 * MS);
	world_zero(w);
	world_hush(w);
	a->lock.last = true;
	party_unlock(a);
	world_run_until_done(w, a);
	says(w,
	     "0.000 a unlocks\n"
	     "0.000 a asks 1 2 3: R -19999\n"
	     "0.200 1 to a: released\n"
	     "0.200 2 to a: released\n"
	     "5.100 3 to a: released\n"
	     "5.100 a: done\n");
	party_lock(a, X, 0);
	world_run_until_done(w, a);
	world_hold(&w->clients[0], 3);
	world_zero(w);
	world_hush(w);
	party_unlock(a);
	world_run_until_done(w, a);
	cr_assert_eq(world_ms(w), 20);
	world_free(w);
}
