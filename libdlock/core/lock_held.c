/*
 * lock_held.c - keeping a lock: claim, renewal, proof and loss.
 *
 * Validity is counted from before each request was sent. Renewal sends E to all
 * masters at a third of the lease. A reply 1 says that the key was there all
 * the time; 3 that it was gone and is set again. Both count only while the
 * deadline has not passed (a lock that was lost is never revived, since LOST is
 * entered first), so that repair neither revives a lost lock nor lets the
 * quorum erode.
 *
 * A lock that was handed over has an offer only (1 s at least), and the first E
 * is due PROLONG_US after the claim: one that is given back before costs no E at
 * all, which under contention is a third of what the masters do.
 *
 * Proof (dlock_verify): a majority of masters answers 1, each of which has had
 * the key without a gap since the grant. A master that was repaired is such a
 * one again only after a round in which a majority of unbroken ones has
 * vouched: else two repairs after a real gap would look like a proof later. The
 * round must have begun when the repair was known: what a master vouched for
 * before is older than the gap may be.
 *
 * What travels with the lock: E tells the version, and the master answers which
 * one it has. Who lags behind is sent an E with the bytes at once. A master that
 * lost the key sets it again only together with the bytes: so that none that
 * names the holder has less than it once confirmed, and whoever hears q masters
 * name the holder hears of one at least that was among the q that confirmed.
 */
#include <errno.h>

#include "core/lease.h"
#include "core/lock_internal.h"

#define PROLONG_US 10000
#define UNANSWERED_MAX 4 /* renewals on their way to one master that is silent */

void lock_reckon(struct lock *lock, int64_t now_us)
{
	int64_t untils[SERVERS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if (lock->attempt->votes[i].until_us > 0)
			untils[count++] = lock->attempt->votes[i].until_us;
	lock->deadline_us = lease_quorum_us(untils, count, lock->quorum->majority);
	if (now_us >= lock->deadline_us)
		lock_lose(lock, now_us);
}

/* Rule 1 of lock.h. The clock was read after the answer had come. */
void lock_claim(struct lock *lock, uint64_t fence, int64_t now_us)
{
	struct attempt *attempt = lock->attempt;
	int64_t untils[SERVERS_MAX], deadline_us;
	unsigned count = 0;

	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		struct vote *vote = &attempt->votes[i];

		if (vote->ballot == BALLOT_YES && vote->fence == fence)
			untils[count++] = vote->until_us;
		else
			vote->until_us = 0;
	}
	deadline_us = lease_quorum_us(untils, count, lock->quorum->majority);
	if (now_us >= deadline_us) {
		/* Too slow: the votes ended before they were a majority. */
		if (lock->try_only)
			lock_close_attempt(lock, now_us);
		lock->wake_us = now_us;
		lock->state = LOCK_WAIT;
		lock->no_quorum_us = lock->no_quorum_us == NEVER_US ? lock->round_us : lock->no_quorum_us;
		return;
	}
	lock->state = LOCK_HELD;
	lock->held = lock->wanted;
	lock->fence = fence;
	lock->deadline_us = deadline_us;
	lock->round_serial = attempt->serial;
	lock->round_done = true;
	lock->prolong_us = attempt->granted ? now_us + PROLONG_US : NEVER_US;
	lock_done(lock, 0);
}

void lock_extend_one(struct lock *lock, unsigned master, int64_t now_us)
{
	const struct master *m = &lock->quorum->masters[master];
	struct request request = {.op = OP_EXTEND, .mode = lock->held, .fence = lock->fence};

	if (!m->connected || !m->viewed || lock->attempt->votes[master].unanswered >= UNANSWERED_MAX)
		return;
	/* It has forgotten and could only say so: what it voted stays good until its end. */
	if (m->standing == STANDING_QUARANTINED)
		return;
	/* A master that may not vote may still vouch, but is not repaired. Where the earlier connection could
	 * not be killed, a late E must not revive what was released. */
	request.repair = m->standing != STANDING_VOTING      ? REPAIR_NO
	                 : m->introduction.kill_permitted    ? REPAIR_YES
	                                                     : REPAIR_GUARDED;
	attempt_send(lock->attempt, request, master, now_us, lock->effects);
}

void lock_renew(struct lock *lock, int64_t now_us)
{
	lock->round_us = now_us;
	lock->round_serial = lock->attempt->serial;
	lock->round_done = false;
	lock->prolong_us = NEVER_US;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		lock_extend_one(lock, i, now_us);
}

void lock_lose(struct lock *lock, int64_t now_us)
{
	struct effects *effects = lock->effects;

	lock_close_attempt(lock, now_us);
	lock->state = LOCK_LOST;
	effects->list[effects->count++] = (struct effect){.kind = EFFECT_LOST};
	if (lock->call != CALL_NONE)
		lock_done(lock, ESTALE);
}

/* How the round stands: a majority has answered; a majority has vouched. */
static void judge_round(struct lock *lock)
{
	struct attempt *attempt = lock->attempt;
	unsigned extended = 0, vouched = 0;

	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		const struct vote *vote = &attempt->votes[i];

		if (vote->yes_serial <= lock->round_serial)
			continue;
		extended++;
		vouched += vote->proven;
	}
	if (extended >= lock->quorum->majority)
		lock->round_done = true;
	if (vouched >= lock->quorum->majority) {
		for (unsigned i = 0; i < lock->quorum->settings.count; i++)
			if (attempt->votes[i].yes_serial > lock->round_serial &&
			    attempt->votes[i].gap_serial <= lock->round_serial)
				attempt->votes[i].proven = true;
		if (lock->call == CALL_VERIFY)
			lock_done(lock, 0);
	}
	if (lock->round_done && lock->call == CALL_CONVERT_DOWN)
		lock_done(lock, 0);
	if (lock->call == CALL_DATA && attempt_carriers(attempt) >= lock->quorum->majority)
		lock_done(lock, 0);
}

/* The answer to an A or E of an exclusive lock: a master that lags behind gets the bytes now. One that was just sent
 * them has refused them, and is asked again with the next renewal. */
static void catch_up(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us)
{
	const struct vote *vote = &lock->attempt->votes[request->master];
	uint64_t version = lock->attempt->cargo.version;

	if (lock->held != MODE_EXCLUSIVE || vote->version >= version || vote->offered >= version)
		return;
	if (request->bytes && request->version >= version)
		return;
	if (answer->code == CODE_YES || answer->code == CODE_REPAIRED || answer->code == CODE_BARE)
		lock_extend_one(lock, request->master, now_us);
}

/* It was without the key, or may have been: what others vouch for from now on may make it proven again. */
static void found_gap(const struct lock *lock, struct vote *vote)
{
	vote->proven = false;
	vote->gap_serial = lock->attempt->serial;
}

static void extended(struct lock *lock, struct vote *vote, const struct request *request, bool repaired)
{
	int64_t until_us = lease_vote_until_us(request->sent_us, lock->settings.ttl_us);

	bool counts = attempt_may_count(lock->attempt, request->master);

	if (repaired || vote->doubtful || !counts)
		found_gap(lock, vote);
	vote->doubtful = false;
	vote->resent = 0;
	vote->yes_serial = request->serial;
	/* A clock that moved may end the key early: such a master vouches, but its expiry is not believed. */
	counts = counts && lock->quorum->masters[request->master].standing == STANDING_VOTING;
	if (counts && until_us > vote->until_us)
		vote->until_us = until_us;
}

/* A vote that came when the claim had been made. With the fence of the claim it is as good as those before: the
 * master has accepted it above everything that it had granted until then. So is one of a master that has kept what it
 * had handed over. */
static void late_vote(struct lock *lock, struct vote *vote, const struct request *request,
                      const struct answer *answer, int64_t now_us)
{
	bool kept = answer->kept && vote->proven && !vote->doubtful;

	lock_record(lock, request, answer, now_us);
	vote->proven = answer->code == CODE_YES && (answer->fence == lock->fence || kept);
	vote->doubtful = false;
	if (!vote->proven)
		found_gap(lock, vote);
}

/* A vote that came as a grant when the claim had been made: as good as late_vote(), but it ends soon. An E that is under
 * way may have been carried out before. */
void lock_held_granted(struct lock *lock, unsigned master, const struct grant *grant, int64_t until_us, int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[master];

	if (grant->fence == lock->fence && attempt_may_count(lock->attempt, master)) {
		vote->proven = true;
		vote->doubtful = false;
		vote->until_us = until_us > vote->until_us ? until_us : vote->until_us;
		lock_reckon(lock, now_us);
	} else {
		found_gap(lock, vote);
	}
	if (vote->unanswered > 0)
		vote->missed = true;
	else if (lock->state == LOCK_HELD && lock->call != CALL_CONVERT_UP && lock->prolong_us == NEVER_US)
		lock_extend_one(lock, master, now_us);
}

/* An answer that says nothing, since a grant has said more: an E that was carried out before it is sent again. */
static void granted_since(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[request->master];

	if (vote->missed && vote->unanswered == 0 && answer->code != CODE_BROKEN && lock->call != CALL_CONVERT_UP)
		lock_extend_one(lock, request->master, now_us);
	vote->missed = vote->missed && vote->unanswered > 0;
}

void lock_held_answered(struct lock *lock, const struct request *request, const struct answer *answer,
                        int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[request->master];

	if (lock->call == CALL_CONVERT_UP && request->op == OP_ACQUIRE) {
		lock_upgrade_answered(lock, request, answer, now_us);
		return;
	}
	if (!attempt_voted(lock->attempt, request, answer) || request->op == OP_POLL || request->op == OP_YIELD) {
		granted_since(lock, request, answer, now_us);
		return;
	}
	if (attempt_resend(lock->attempt, request, answer, now_us, lock->effects)) {
		/* Its answer will tell. */
	} else if (answer->code == CODE_BROKEN || answer->code == CODE_ERROR) {
		vote->doubtful = true; /* nobody knows whether it was carried out */
	} else if (request->op == OP_ACQUIRE) {
		if (request->serial == vote->last_serial)
			late_vote(lock, vote, request, answer, now_us);
		else if (answer->code == CODE_YES && !answer->kept) {
			/* A renewal was sent behind it, and its answer follows. One with another fence is of a round before, or
			 * of a conversion that has failed: it may have set the key anew. */
			vote->proven |= answer->fence == lock->fence;
			vote->doubtful = answer->fence != lock->fence;
		}
	} else if (answer->code == CODE_YES || answer->code == CODE_REPAIRED) {
		extended(lock, vote, request, answer->code == CODE_REPAIRED);
	} else if (answer->code == CODE_BUSY) {
		vote->until_us = 0; /* not mine */
		found_gap(lock, vote);
	} else if (answer->code == CODE_EPOCH || answer->code == CODE_BARE) {
		/* It has forgotten, and waits out every lease: what it voted stays good until its end. */
		found_gap(lock, vote);
	}
	lock_reckon(lock, now_us);
	if (lock->state != LOCK_HELD)
		return;
	catch_up(lock, request, answer, now_us);
	judge_round(lock);
}

void lock_held_joined(struct lock *lock, uint32_t joined, int64_t now_us)
{
	if (lock->call == CALL_CONVERT_UP)
		return;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if (joined >> i & 1)
			lock_extend_one(lock, i, now_us);
}

static int64_t renew_at_us(const struct lock *lock)
{
	int64_t next_us = lease_renew_us(lock->round_us, lock->settings.ttl_us);

	/* A round that found no majority is tried again soon. */
	if (!lock->round_done && lock->round_us + lock->settings.node_timeout_us < next_us)
		next_us = lock->round_us + lock->settings.node_timeout_us;
	return lock->prolong_us < next_us ? lock->prolong_us : next_us;
}

void lock_held_tick(struct lock *lock, int64_t now_us)
{
	bool too_long = now_us >= lock->call_end_us;

	if (now_us >= lock->deadline_us) {
		lock_lose(lock, now_us);
		return;
	}
	if (lock->call == CALL_CONVERT_UP) {
		lock_upgrade_tick(lock, now_us);
		return;
	}
	if (lock->call == CALL_VERIFY && too_long)
		lock_done(lock, lock->round_done ? ESTALE : ENOLCK);
	else if (lock->call == CALL_CONVERT_DOWN && too_long)
		lock_done(lock, 0);
	else if (lock->call == CALL_DATA && too_long)
		lock_done(lock, ENOLCK);
	if (now_us >= renew_at_us(lock))
		lock_renew(lock, now_us);
}

int64_t lock_held_next_us(const struct lock *lock, int64_t now_us)
{
	int64_t next_us = lock->deadline_us;

	if (lock->call == CALL_CONVERT_UP) {
		int64_t upgrade_us = lock_upgrade_next_us(lock, now_us);

		return upgrade_us < next_us ? upgrade_us : next_us;
	}
	if (lock->call != CALL_NONE && lock->call_end_us < next_us)
		next_us = lock->call_end_us;
	return renew_at_us(lock) < next_us ? renew_at_us(lock) : next_us;
}
