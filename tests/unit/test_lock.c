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
