/*
 * lock_wait.c - waiting for a lock that others have: the queue, grants, and whom to leave a split to.
 *
 * A blocking call has one attempt, with one ticket, until it ends. Each master that has another holder keeps a place for
 * it in its queue; who releases there hands the lock to the first of the queue, and the master tells the waiter (a
 * grant). The waiter claims with the q-th, and prolongs soon (lock_held.c): a grant lasts for an offer only.
 *
 * Rules:
 *  1. A grant is a vote: of the fence that it names, until the end that it names, counted from the last answer that told
 *     the master's clock, never from its receipt. What counts as a grant: lock.c, grant_counts().
 *  2. Masters do not all hear of a waiter at once, so the first of their queues may differ for a moment, and what they
 *     hand over may be no majority for anyone. Who has such votes, and no majority, gives them back (Y) and stays in
 *     the queues: where another has a majority, to nobody, since that one comes for them; where somebody older is in the
 *     way, or somebody who has no ticket, to who is older. The oldest keeps them: the others come to give way.
 *  3. A waiter polls (P) only in case something was lost: its registration, a grant, or a holder that does not release.
 *     P takes nothing and hands over nothing. A follows only where a majority is free, or the waiter's own, already: who
 *     took single masters would keep the holder from repairing them.
 *  4. How often: about once in less than the shortest offer, so that a waiter that stands still costs no more than its
 *     offer; less often behind the first of the queue, and where very many wait in one process; and when the keys that
 *     are in the way end by themselves. Who is in no
 *     queue, since the grants of too few masters are heard, or waits for somebody who will hand over nothing, a client
 *     of another make, has only this, and polls often.
 *  5. What travels with an exclusive lock (rule 7 of lock.h) is not there with a grant: such a lock is claimed by an A
 *     that brings it, when a majority was handed over.
 */
#include <string.h>

#include "core/lease.h"
#include "core/lock_internal.h"

#define FALLBACK_US 750000  /* +-25 %; below the shortest offer */
#define NEAR_RANK 8         /* who is nearer to its turn watches the end of the keys as well */
#define RANKS_A_STEP 4      /* behind so many waiters the fallback is twice as long, and so on */
#define WAITERS_A_STEP 1000 /* the same for so many of one process */
#define STEPS_MAX 40
#define EARLY_US 5000       /* with some of the votes, for the rest of them */
#define SPLITS_SHIFT_MAX 8

static unsigned place_of(const struct lock *lock, unsigned master)
{
	return lock->quorum->masters[master].listening ? lock->attempt->votes[master].rank : 0;
}

/* In the queues of a majority, or handed the lock there: somebody will tell. *ret: the foremost place. */
static bool is_registered(const struct lock *lock, unsigned *ret)
{
	unsigned count = 0, foremost = 0;

	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		unsigned place = place_of(lock, i);

		count += place > 0 || lock->attempt->votes[i].there;
		if (place > 0 && (foremost == 0 || place < foremost))
			foremost = place;
	}
	*ret = foremost;
	return count >= lock->quorum->majority;
}

static bool waits_for_foreign(const struct lock *lock)
{
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if (lock->attempt->votes[i].ballot == BALLOT_BUSY && lock->attempt->votes[i].foreign)
			return true;
	return false;
}

/* Rule 4. */
static int64_t next_poll_us(struct lock *lock, const struct tally *tally, int64_t now_us)
{
	int64_t free_us = lock_free_at_us(lock), wake_us;
	unsigned foremost, steps;

	if (!is_registered(lock, &foremost) || waits_for_foreign(lock)) {
		wake_us = now_us + LOCK_POLL_US / 2 + (int64_t)lock_draw(lock, LOCK_POLL_US);
	} else {
		steps = (1 + foremost / RANKS_A_STEP) * (1 + lock->quorum->waiters / WAITERS_A_STEP);
		steps = steps < STEPS_MAX ? steps : STEPS_MAX;
		wake_us = now_us + steps * (FALLBACK_US * 3 / 4 + (int64_t)lock_draw(lock, FALLBACK_US / 2));
	}
	if (tally->rival < lock->quorum->majority) {
		/* Nobody has it: those that are to give way do so within a few messages. */
		unsigned shift = lock->splits < SPLITS_SHIFT_MAX ? lock->splits : SPLITS_SHIFT_MAX;
		int64_t split_us = now_us + LOCK_SPLIT_US + (int64_t)lock_draw(lock, (uint64_t)LOCK_SPLIT_US << shift);

		lock->splits++;
		wake_us = split_us < wake_us ? split_us : wake_us;
	} else {
		lock->splits = 0;
	}
	if (foremost <= NEAR_RANK && free_us < wake_us)
		wake_us = (free_us > now_us ? free_us : now_us) + 1000;
	return wake_us;
}

/* Rule 2. */
static bool gives_way(const struct lock *lock, const struct tally *tally)
{
	if (tally->rival >= lock->quorum->majority)
		return true;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if (lock->attempt->votes[i].ballot == BALLOT_BUSY && lock->attempt->votes[i].older)
			return true;
	return false;
}

static void yield(struct lock *lock, const struct tally *tally, int64_t now_us)
{
	struct attempt *attempt = lock->attempt;
	struct request request = {.op = OP_YIELD, .mode = lock->wanted};

	if (!gives_way(lock, tally))
		return;
	request.next = attempt_next_fence(attempt, lock->seen_fence + 1, now_us);
	request.offer_us = tally->rival >= lock->quorum->majority ? 0 : quorum_offer_us(lock->quorum);
	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		struct vote *vote = &attempt->votes[i];

		if (!vote->there || vote->yielding || !lock->quorum->masters[i].connected)
			continue;
		request.queued = lock->quorum->masters[i].listening;
		attempt_send(attempt, request, i, now_us, lock->effects);
		vote->ballot = BALLOT_NONE;
		vote->until_us = 0;
	}
}

void lock_wait(struct lock *lock, const struct tally *tally, int64_t now_us)
{
	struct effects *effects = lock->effects;

	lock_waits(lock, true);
	lock->contended = true;
	lock->no_quorum_us = NEVER_US;
	if (!lock->quorum->listens)
		effects->list[effects->count++] = (struct effect){.kind = EFFECT_LISTEN};
	lock->quorum->listens = true;
	lock->wake_us = next_poll_us(lock, tally, now_us);
	yield(lock, tally, now_us);
	lock->state = LOCK_WAIT;
}

/* ---- polls ---- */

static void poll_one(struct lock *lock, unsigned master, int64_t now_us)
{
	struct request request = {.op = OP_POLL, .mode = lock->wanted};

	request.queued = lock->quorum->masters[master].listening;
	lock->attempt->votes[master].ballot = BALLOT_ASKED;
	attempt_send(lock->attempt, request, master, now_us, lock->effects);
}

void lock_poll(struct lock *lock, int64_t now_us)
{
	if (!lock->attempt && !lock_begin_attempt(lock, now_us))
		return;
	lock->state = LOCK_POLL;
	lock->round_us = now_us;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		struct vote *vote = &lock->attempt->votes[i];

		if (quorum_askable(lock->quorum, i, now_us))
			poll_one(lock, i, now_us);
		else if (vote->ballot != BALLOT_YES)
			vote->ballot = BALLOT_NONE;
	}
}

static void judge_poll(struct lock *lock, struct tally *tally, int64_t now_us)
{
	unsigned q = lock->quorum->majority, mine = tally->yes + tally->outbid, open = mine + tally->free;

	if (now_us >= lock->round_us + LOCK_HURRY_US && open + tally->busy >= q)
		tally->pending = 0;
	if (open >= q) {
		lock->no_quorum_us = NEVER_US;
		lock_try(lock, now_us);
	} else if (open + tally->pending >= q && tally->busy < lock_blocking(lock)) {
		return;
	} else if (open + tally->busy >= q) {
		/* Whom to leave what is its own to is known when all have answered. */
		if (mine == 0 || tally->pending == 0)
			lock_wait(lock, tally, now_us);
	} else if (tally->pending == 0) {
		lock_back_off_no_quorum(lock, now_us);
	}
}

void lock_wait_judge(struct lock *lock, int64_t now_us)
{
	unsigned q = lock->quorum->majority;
	struct tally t;

	lock_count(lock, &t);
	/* Rule 5, also for votes that were given before the data were set. */
	if (t.same >= q && lock->attempt->cargo.version == 0)
		lock_claim(lock, t.fence, now_us);
	else if (lock->state == LOCK_POLL)
		judge_poll(lock, &t, now_us);
	else if (lock->state == LOCK_WAIT && t.yes + t.outbid >= q && lock->attempt->cargo.version > 0)
		lock_try(lock, now_us);
}

/* ---- events ---- */

/* The lock is this attempt's on `master`. */
static void record_mine(struct lock *lock, unsigned master, uint64_t fence, int64_t until_us, int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[master];
	bool counts = until_us > now_us && lock->attempt->cargo.version == 0;

	counts = counts && lock->quorum->masters[master].standing == STANDING_VOTING && attempt_may_count(lock->attempt, master);
	vote->ballot = counts ? BALLOT_YES : BALLOT_OUTBID;
	vote->fence = fence;
	vote->until_us = counts ? until_us : 0;
	vote->proven = true;
	vote->doubtful = false;
	lock->attempt->granted = true;
}

/* The rest of the grants is under way, or there will be none. */
static void wake_early(struct lock *lock, int64_t now_us)
{
	int64_t trips_us = 2 * quorum_longest_rtt_us(lock->quorum);
	int64_t early_us = now_us + (trips_us > EARLY_US ? trips_us : EARLY_US);

	if (lock->state == LOCK_WAIT && early_us < lock->wake_us)
		lock->wake_us = early_us;
}

void lock_wait_granted(struct lock *lock, unsigned master, uint64_t fence, int64_t until_us, int64_t now_us)
{
	record_mine(lock, master, fence, until_us, now_us);
	wake_early(lock, now_us);
	if (lock->state == LOCK_TRY)
		lock_try_judge(lock, now_us);
	else
		lock_wait_judge(lock, now_us);
}

void lock_wait_answered(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[request->master];
	int64_t left_us = answer->expiry_ms * 1000 - answer->master_us;

	if (!attempt_voted(lock->attempt, request, answer))
		return;
	/* What came meanwhile, or was not asked for: a place in the queue there. */
	if (request->op == OP_YIELD && (vote->missed || (lock->quorum->masters[request->master].listening && !vote->queued))) {
		vote->missed = false;
		poll_one(lock, request->master, now_us);
		return;
	}
	if (request->serial != vote->last_serial ||
	    attempt_resend(lock->attempt, request, answer, now_us, lock->effects))
		return;
	vote->resent = 0;
	if (request->op == OP_YIELD)
		return;
	if (answer->code == CODE_MINE) {
		left_us = left_us > 0 ? left_us : 0;
		record_mine(lock, request->master, answer->fence,
		            lease_vote_until_us(request->sent_us, left_us) - lock->settings.lock_delay_us, now_us);
	} else {
		lock_record(lock, request, answer, now_us);
	}
	if (vote->ballot == BALLOT_YES || vote->ballot == BALLOT_OUTBID || vote->ballot == BALLOT_FREE)
		wake_early(lock, now_us);
	lock_wait_judge(lock, now_us);
}

/* A master votes anew, or is heard anew: the place in its queue is asked for, and nothing was missed there. */
void lock_wait_joined(struct lock *lock, uint32_t joined, int64_t now_us)
{
	for (unsigned i = 0; lock->attempt && !lock->try_only && i < lock->quorum->settings.count; i++)
		if ((joined >> i & 1) && !lock->attempt->votes[i].yielding && quorum_askable(lock->quorum, i, now_us))
			poll_one(lock, i, now_us);
}
