/*
 * lock_convert.c - from one mode to the other.
 *
 * EX to SH happens in place: a renewal in the new mode. SH to EX: A in the new
 * mode succeeds on each master where this descriptor is the only reader; q
 * equal fences make it exclusive. Else it is undone by a renewal in the old
 * mode: a LOCK_NB caller keeps the shared lock; a blocking one gives it back
 * and starts afresh, which flock(2) permits (two readers that both wait to
 * write would wait for ever otherwise).
 *
 * While a conversion to EX is under way nothing is renewed: its A's extend the
 * lease, and an E in the old mode would undo what they did.
 *
 * An A that is accepted may have set the key anew, unless it says that it was there still. So
 * after a conversion that has failed such a master is no proof of the shared lock (lock_held.c,
 * "verify").
 *
 * What travels with an exclusive lock travels with those A's, and goes from each
 * master with the renewal that makes the lock shared there.
 */
#include <errno.h>

#include "core/lease.h"
#include "core/lock_internal.h"

void lock_downgrade(struct lock *lock, int64_t now_us)
{
	lock->call = CALL_CONVERT_DOWN;
	lock->held = MODE_SHARED;
	lock->attempt->mode = MODE_SHARED;
	lock->call_end_us = now_us + lock->settings.node_timeout_us;
	lock_renew(lock, now_us);
}

static void bid(struct lock *lock, int64_t now_us)
{
	struct attempt *attempt = lock->attempt;
	uint64_t clock = (uint64_t)quorum_clock_us(lock->quorum, now_us);
	struct request request = {.op = OP_ACQUIRE, .mode = MODE_EXCLUSIVE};

	attempt->bid = true;
	attempt_propose(attempt, clock > lock->seen_fence ? clock : lock->seen_fence + 1);
	request.fence = attempt->highest;
	lock->proposals++;
	lock->round_us = now_us;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		struct vote *vote = &attempt->votes[i];

		vote->ballot = BALLOT_NONE;
		if (!quorum_askable(lock->quorum, i, now_us))
			continue;
		vote->ballot = BALLOT_ASKED;
		attempt_send(attempt, request, i, now_us, lock->effects);
	}
}

void lock_upgrade(struct lock *lock, int64_t now_us)
{
	/* Nothing prolongs it until the conversion has ended. */
	if (lock->prolong_us != NEVER_US)
		lock_renew(lock, now_us);
	lock->call = CALL_CONVERT_UP;
	lock->proposals = 0;
	bid(lock, now_us);
	/* With too few masters to ask, the end of the round decides. */
}

void lock_upgrade_again(struct lock *lock, int64_t now_us)
{
	bid(lock, now_us);
}

void lock_upgrade_undo(struct lock *lock, int error, int64_t now_us)
{
	lock->attempt->mode = MODE_SHARED;
	lock->call = CALL_NONE;
	lock_renew(lock, now_us);
	lock_done(lock, error);
}

/* Another reader is in the way, or no majority answers. */
static void upgrade_failed(struct lock *lock, int error, int64_t now_us)
{
	if (lock->try_only) {
		lock_upgrade_undo(lock, error, now_us);
		return;
	}
	lock->call = CALL_LOCK;
	lock_close_attempt(lock, now_us);
	lock->contended = error == EWOULDBLOCK;
	lock_start(lock, now_us);
}

static void upgraded(struct lock *lock, uint64_t fence, int64_t now_us)
{
	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		struct vote *vote = &lock->attempt->votes[i];

		/* Where the key is only shared it keeps no other reader out. */
		if (vote->ballot != BALLOT_YES || vote->fence != fence) {
			vote->until_us = 0;
		} else {
			vote->proven = true; /* of the lock that begins now */
			vote->doubtful = false;
		}
	}
	lock->held = MODE_EXCLUSIVE;
	lock->attempt->mode = MODE_EXCLUSIVE;
	lock->fence = fence;
	lock->round_serial = lock->attempt->serial;
	lock->round_done = true;
	lock_reckon(lock, now_us); /* may be lost at once: then the call ends with ESTALE */
	if (lock->state == LOCK_HELD)
		lock_done(lock, 0);
}

static void judge_upgrade(struct lock *lock, int64_t now_us)
{
	unsigned q = lock->quorum->majority;
	struct tally t;

	lock_count(lock, &t);
	if (now_us >= lock->round_us + LOCK_HURRY_US && t.yes + t.outbid + t.busy >= q)
		t.pending = 0;
	if (t.same >= q)
		upgraded(lock, t.fence, now_us);
	else if (t.same + t.pending >= q)
		return;
	else if (t.yes + t.outbid >= q && lock->proposals < PROPOSALS_MAX)
		bid(lock, now_us);
	else if (t.yes + t.outbid + t.pending >= q && t.pending > 0)
		return;
	else if (t.yes + t.outbid + t.busy >= q)
		upgrade_failed(lock, EWOULDBLOCK, now_us);
	else if (t.pending == 0)
		upgrade_failed(lock, ENOLCK, now_us);
}

/* Until the key there is exclusive it is still this descriptor's shared lock: a vote for
 * that, and a busy answer takes nothing from it. */
void lock_upgrade_answered(struct lock *lock, const struct request *request, const struct answer *answer,
                           int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[request->master];
	int64_t until_us = vote->until_us;
	bool proven = vote->proven, doubtful = vote->doubtful;

	if (!attempt_voted(lock->attempt, request, answer))
		return;
	if (request->serial != vote->last_serial || vote->ballot != BALLOT_ASKED) {
		vote->doubtful |= answer->code == CODE_YES && !answer->kept;
		return;
	}
	if (attempt_resend(lock->attempt, request, answer, now_us, lock->effects))
		return;
	vote->resent = 0;
	lock_record(lock, request, answer, now_us);
	vote->proven = proven;
	if (vote->until_us < until_us)
		vote->until_us = until_us;
	/* lock_record() has taken the vote for one of a lock that begins. */
	vote->doubtful = doubtful || (answer->code == CODE_YES && !answer->kept) || answer->code == CODE_BROKEN ||
	                 answer->code == CODE_ERROR;
	judge_upgrade(lock, now_us);
}

void lock_upgrade_tick(struct lock *lock, int64_t now_us)
{
	if (now_us >= lock->give_up_us) {
		lock_upgrade_undo(lock, ETIMEDOUT, now_us);
		return;
	}
	if (now_us >= lock->round_us + lock->settings.node_timeout_us)
		for (unsigned i = 0; i < lock->quorum->settings.count; i++)
			if (lock->attempt->votes[i].ballot == BALLOT_ASKED)
				lock->attempt->votes[i].ballot = BALLOT_FAILED;
	judge_upgrade(lock, now_us);
}

int64_t lock_upgrade_next_us(const struct lock *lock, int64_t now_us)
{
	int64_t round_us = lock_try_next_us(lock, now_us);

	return lock->give_up_us < round_us ? lock->give_up_us : round_us;
}
