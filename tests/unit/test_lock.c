/*
 * test_lock.c - taking, keeping, converting and giving back a lock, by traces.
 *
 * How it works: core_fixture.h tells how a trace reads. Where the moments come
 * from a random back-off, states are compared instead.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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
	        "16.200 2 to b: yes +501\n"
	        "16.200 3 to b: yes +501\n"
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
	        "11.400 1 to a: yes +400002\n"
	        "11.400 2 to a: yes +400002\n"
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
	        "1.100 4 to b: released\n"
	        "1.100 5 to b: busy, a 989 ms\n"
	        "1.100 5 to b: released\n");
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
	        "100.200 2 to a: released\n");
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
	        "0.101 1 to a: yes -987999\n"
	        "0.101 1 to a: yes -987999\n"
	        "0.101 1 to a: yes -987999\n"
	        "0.101 2 to a: yes -987999\n"
	        "0.101 2 to a: yes -987999\n"
	        "0.101 2 to a: yes -987999\n"
	        "0.101 2 to a: yes -987999\n"
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
	model_delete(world_master(w, 4), "db");
	model_delete(world_master(w, 5), "db");
	party_verify(a); /* 1 and 2 stand with 3 */
	world_run_until_done(w, a);
	cr_assert_eq(a->error, 0);
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
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 a has X +0 until 988.000\n"
	        "0.200 3 to a: yes +0\n");
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
	        "0.200 a: EWOULDBLOCK\n"
	        "0.200 a asks 1 2 3: E S -20000\n"
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
	        "0.100 3 to a: yes +0\n"
	        "0.200 1 to a: busy, zset 999 ms\n"
	        "0.200 2 to a: busy, zset 999 ms\n"
	        "0.200 a: EWOULDBLOCK\n"
	        "0.200 a asks 1 2 3: E S -11000\n"
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
	        "0.350 1 to a: yes +150, data 2\n"
	        "0.350 2 to a: yes +150, data 2\n"
	        "0.350 a has X +150 until 988.150\n"
	        "0.350 3 to a: yes +150, data 2\n");
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
	        "0.200 1 to a: yes +0\n"
	        "0.200 2 to a: yes +0\n"
	        "0.200 3 to a: yes +0\n"
	        "0.350 1 to a: yes +150, data 1\n"
	        "0.350 2 to a: yes +150, data 1\n"
	        "0.350 a has X +150 until 988.150\n"
	        "0.350 3 to a: yes +150, data 1\n");
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
	world_run(w, 10 * MS);
	fail_at = 0;
	world_run_until_done(w, a); /* the attempt of the first poll */
	cr_assert_eq(a->error, ENOMEM);
	cr_assert_eq(failed, 3);
	party_unlock(b);
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
	world_run_until_done(w, a);
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
	cr_assert(nth > 3, "only %ld allocations failed", nth - 1);
	cr_assert_eq(failed, nth - 1);
}

/* ---- stress ---- */

/*
 * Three clients, three or five masters, and everything that may happen to them, by
 * chance. After each event exclusion holds within validity; each exclusive grant has
 * a token above all before it; whoever hears a majority name the holder hears of what
 * travels with the lock as it was when a call that says so has ended, or later; and
 * when the faults stop, nothing is left behind and a new client can lock. A failure names its seed: DLOCK_TEST_SEED=n runs that one and
 * prints its trace. DLOCK_TEST_RUNS: how many.
 */
#define STRESS_CLIENTS 3
#define STRESS_RUNS 20000

struct stress {
	uint64_t random;
	struct world *world;
	struct party *parties[STRESS_CLIENTS];
	uint64_t highest_exclusive, highest;
	unsigned grants, losses, loads;
	/* Of each party: whether the call under way ends with a majority that has its data, and what of which token has
	 * been promised. */
	bool promises[STRESS_CLIENTS];
	uint64_t promised[STRESS_CLIENTS];
	char token[STRESS_CLIENTS][TOKEN_MAX];
	const char *violation;
};

static uint64_t draw(struct stress *s, uint64_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (s->random >> 11) % below;
}

/* STRESS_CLIENTS: the new client's at the end. */
static unsigned index_of(const struct stress *s, const struct party *party)
{
	unsigned i = 0;

	while (i < STRESS_CLIENTS && s->parties[i] != party)
		i++;
	return i;
}

/* What is with a lock was set by its holder, and is what had that version. */
static void check_owner(struct stress *s, const struct model_master *master)
{
	const char *owner = model_owner(master, "db", s->world->now_us);
	const struct model_cargo *cargo = model_cargo(master, "db", s->world->now_us);
	struct token_parts parts;
	char expected[TOKEN_PROGRAM_MAX + 24];

	if (!owner || !cargo || strcmp(owner, cargo->token) != 0)
		return;
	if (!token_parse(owner, strlen(owner), &parts)) {
		s->violation = "data of a token that is none";
		return;
	}
	snprintf(expected, sizeof(expected), "%s %llu", parts.program, (unsigned long long)cargo->version);
	if (cargo->size > 0 && (cargo->size != strlen(expected) || memcmp(cargo->bytes, expected, cargo->size) != 0))
		s->violation = "data that the holder did not set with that version";
}

static void check_data(struct stress *s)
{
	for (unsigned i = 0; i < s->world->count; i++)
		check_owner(s, &s->world->masters[i]);
	for (unsigned i = 0; i < STRESS_CLIENTS; i++) {
		const struct party *party = s->parties[i];

		if (!party || !party->client->alive || s->promised[i] == 0 || !party_holds(party, X) ||
		    strcmp(party_token(party), s->token[i]) != 0)
			continue;
		if (world_lacking(s->world, party, s->promised[i]) >= party->client->quorum.majority)
			s->violation = "a majority names the holder, and has not what it was told to have";
	}
}

static void check_exclusion(struct world *world, void *context)
{
	struct stress *s = context;
	unsigned readers = 0, writers = 0;

	(void)world;
	for (unsigned i = 0; i < STRESS_CLIENTS; i++) {
		const struct party *party = s->parties[i];

		if (!party || !party->client->alive)
			continue;
		readers += party_holds(party, S);
		writers += party_holds(party, X);
	}
	if (writers > 1 || (writers > 0 && readers > 0))
		s->violation = "two hold what only one may";
	check_data(s);
}

static void note_data(struct stress *s, const struct party *party)
{
	unsigned i = index_of(s, party);

	if (i == STRESS_CLIENTS || !s->promises[i] || party->lock.held != X)
		return;
	s->promised[i] = party->lock.attempt->cargo.version;
	snprintf(s->token[i], sizeof(s->token[i]), "%s", party_token(party));
	s->loads += s->promised[i] > 0;
}

static void check_token(struct world *world, struct party *party, void *context)
{
	struct stress *s = context;
	uint64_t token = lock_token(&party->lock);
	bool shared = token % 2 == 1;

	(void)world;
	note_data(s, party);
	/* Calls in the mode held, and verify, end with the token that was there. */
	if (!shared && token == s->highest_exclusive)
		return;
	s->grants++;
	if (shared ? token < s->highest_exclusive : token <= s->highest)
		s->violation = "a token is not above those before it";
	if (!shared)
		s->highest_exclusive = token;
	if (token > s->highest)
		s->highest = token;
}

static void act_data(struct stress *s, struct party *party)
{
	char text[MODEL_BYTES_MAX];

	snprintf(text, sizeof(text), "%s %llu", party->label, (unsigned long long)party->lock.cargo.version + 1);
	party_set_data(party, draw(s, 5) ? text : NULL);
}

static void act_party(struct stress *s, struct party *party)
{
	static const int64_t timeouts_us[] = {0, 0, 40 * MS, 300 * MS, 2 * SECONDS, -1};
	bool *promises = &s->promises[index_of(s, party)];

	if (!party->client->alive)
		return;
	if (party->calling) {
		if (draw(s, 6) == 0)
			party_cancel(party, EINTR);
		else if (draw(s, 6) == 0 && !(party->lock.state == LOCK_HELD && party->lock.held == X))
			act_data(s, party);
		return;
	}
	*promises = false;
	switch (draw(s, 7)) {
	case 0:
		party_unlock(party);
		break;
	case 1:
		party_verify(party);
		break;
	case 2:
	case 3:
		*promises = true;
		act_data(s, party);
		break;
	default:
		if (party->lock.state == LOCK_LOST) {
			party_unlock(party);
			break;
		}
		/* A call in the mode already held makes no round. */
		*promises = !(party->lock.state == LOCK_HELD && party->lock.held == X);
		party_lock(party, draw(s, 3) ? X : S, timeouts_us[draw(s, 6)]);
	}
}

static int64_t draw_delay_us(struct stress *s)
{
	return 20 + (int64_t)draw(s, draw(s, 8) ? 2000 : 80000);
}

static void act_link(struct stress *s)
{
	struct client *client = &s->world->clients[draw(s, STRESS_CLIENTS)];
	unsigned master = (unsigned)draw(s, s->world->count) + 1;
	struct link *link = world_link(client, master);

	if (!client->alive)
		return;
	switch (draw(s, 4)) {
	case 0:
		world_break(client, master, draw(s, 2));
		link->connect_at_us = s->world->now_us + (int64_t)draw(s, 300 * MS);
		break;
	case 1:
		world_hold(client, master);
		break;
	case 2:
		link->there_us = draw_delay_us(s);
		link->back_us = draw_delay_us(s);
		break;
	default:
		world_deliver_late(client, master);
	}
}

static void restart_master(struct stress *s, unsigned master)
{
	model_restart(world_master(s->world, master), draw(s, 2));
	world_break_master(s->world, master);
	for (unsigned i = 0; i < STRESS_CLIENTS; i++)
		if (s->world->clients[i].alive)
			world_link(&s->world->clients[i], master)->connect_at_us =
			    s->world->now_us + 500 + (int64_t)draw(s, 50 * MS);
}

static void act_master(struct stress *s)
{
	unsigned master = (unsigned)draw(s, s->world->count) + 1;

	switch (draw(s, 5)) {
	case 0:
		restart_master(s, master);
		break;
	case 1:
		model_flush(world_master(s->world, master));
		break;
	case 2:
		world_master(s->world, master)->script_loaded = false;
		break;
	case 3:
		world_master(s->world, master)->out_of_memory = draw(s, 2);
		break;
	default:
		world_stop(s->world, master);
	}
}

static void heal(struct stress *s)
{
	for (unsigned master = 1; master <= s->world->count; master++) {
		world_continue(s->world, master);
		world_master(s->world, master)->out_of_memory = false;
		for (unsigned i = 0; i < STRESS_CLIENTS; i++) {
			struct client *client = &s->world->clients[i];
			struct link *link = world_link(client, master);

			world_let(client, master);
			link->there_us = link->back_us = 100;
			world_deliver_late(client, master);
			if (client->alive)
				world_connect(client, master);
		}
	}
}

static const struct client_settings stress_settings = {
    .ttl_us = 300 * MS, .node_timeout_us = 50 * MS, .quorum_timeout_us = 20 * SECONDS};

static void stress_begin(struct stress *s, struct world *world, uint64_t seed)
{
	bool no_kill;

	memset(s, 0, sizeof(*s));
	s->random = seed * 0x9e3779b97f4a7c15u | 1;
	s->world = world;
	for (unsigned i = 0; i < 8; i++)
		draw(s, 2);
	world_reset(world, draw(s, 2) ? 3 : 5);
	no_kill = draw(s, 5) == 0;
	for (unsigned i = 0; i < world->count; i++)
		world->masters[i].clock_us += (int64_t)draw(s, 100 * MS) - 50 * MS;
	world->check = check_exclusion;
	world->granted = check_token;
	world->context = s;
	for (unsigned i = 0; i < STRESS_CLIENTS; i++) {
		struct client *client = world_client(world, &stress_settings);

		if (i == 0)
			world_init_masters(world, client);
		for (unsigned master = 1; master <= world->count; master++)
			world_link(client, master)->no_kill = no_kill;
		world_connect_all(client);
		s->parties[i] = world_party(client, NULL);
	}
	world_run(world, 5 * MS);
}

/* The faults have stopped. */
static void stress_end(struct stress *s)
{
	struct world *world = s->world;
	struct client *client;
	struct party *party;

	heal(s);
	world_run(world, 20 * MS);
	heal(s);
	for (unsigned i = 0; i < STRESS_CLIENTS; i++)
		if (s->parties[i]->client->alive)
			party_close(s->parties[i]);
	world_run(world, 25 * SECONDS); /* M, and what was owed */
	if (world_carriers(world, "db") > 0)
		s->violation = "a token was left behind";
	if (world_cargoes(world, "db") > 0)
		s->violation = "data were left behind";
	for (unsigned i = 0; i < STRESS_CLIENTS; i++)
		if (world->clients[i].alive && client_owed(&world->clients[i]) > 0)
			s->violation = "a release is still owed";
	client = world_client(world, &stress_settings);
	world_connect_all(client);
	party = world_party(client, NULL);
	/* It may be the first to find that a master was flushed, and wait for M. */
	party_lock(party, X, -1);
	world_run_until_done(world, party);
	if (!party_holds(party, X))
		s->violation = "a new client can't lock";
}

static void stress_run(struct stress *s, struct world *world, uint64_t seed)
{
	static const int64_t spans_us[] = {300, 300, 300, 2000, 2000, 10000, 10000, 30000, 30000, 120000, 12000000};
	unsigned steps;

	stress_begin(s, world, seed);
	steps = 20 + (unsigned)draw(s, 50);
	for (unsigned i = 0; i < steps && !s->violation; i++) {
		uint64_t what = draw(s, 160);

		if (what < 104)
			act_party(s, s->parties[draw(s, STRESS_CLIENTS)]);
		else if (what < 136)
			act_link(s);
		else if (what < 147)
			act_master(s);
		else if (what < 159)
			heal(s);
		else
			client_vanish(&world->clients[STRESS_CLIENTS - 1]);
		world_run(world, (int64_t)draw(s, (uint64_t)spans_us[draw(s, 11)]));
	}
	for (unsigned i = 0; i < STRESS_CLIENTS; i++)
		s->losses += s->parties[i]->losses;
	if (!s->violation)
		stress_end(s);
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

Test(lock_stress, exclusion_order_and_rest_whatever_happens)
{
	struct world *world = world_new(3);
	uint64_t seed = number_from("DLOCK_TEST_SEED", 0), runs = number_from("DLOCK_TEST_RUNS", STRESS_RUNS);
	uint64_t first = seed ? seed : 1, last = seed ? seed : runs;
	unsigned long grants = 0, losses = 0, loads = 0;
	struct stress s;

	world->silent = seed == 0;
	for (uint64_t i = first; i <= last; i++) {
		stress_run(&s, world, i);
		grants += s.grants;
		losses += s.losses;
		loads += s.loads;
		cr_assert_null(s.violation, "%s; again with DLOCK_TEST_SEED=%llu\n%s", s.violation, (unsigned long long)i,
		               world->trace ? world->trace : "");
	}
	/* Else it has tested nothing. */
	cr_expect(seed || (grants > 2 * runs && losses > runs / 20 && loads > runs), "%lu grants, %lu losses, %lu loads",
	          grants, losses, loads);
	world_free(world);
}
