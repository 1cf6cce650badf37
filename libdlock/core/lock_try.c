/*
 * lock_try.c - taking a lock: rounds of requests, and what follows from them.
 *
 * A round asks every master that may be asked (or, after contenders have split
 * the masters among them, one master first, the same for all contenders). It
 * ends when its outcome is certain, or after node_timeout: a master that is
 * stopped is never waited for when the others suffice.
 */
#include <errno.h>
#include <string.h>

#include "core/lease.h"
#include "core/lock_internal.h"

#define SPLITS_MAX 7      /* of a LOCK_NB call, before it says EWOULDBLOCK */
#define LEAP_US 1000      /* beyond a floor that moves */

static uint64_t hash_text(const char *text, size_t length)
{
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)text[i]) * 1099511628211u;
	return hash;
}

bool lock_begin_attempt(struct lock *lock, int64_t now_us)
{
	uint64_t ticket = quorum_ticket(lock->quorum, now_us);
	uint8_t random[TOKEN_RANDOM];
	char token[TOKEN_MAX];

	/* Tickets grow, but only as long as the masters' clocks do; and the first half tells which lock it is. */
	memcpy(random, lock->settings.random, sizeof(random));
	for (unsigned i = 0, count = lock->attempts++; i < sizeof(count); i++)
		random[TOKEN_RANDOM - 1 - i] ^= (uint8_t)(count >> 8 * i);
	if (token_format(token, ticket, random, lock->identity) == 0)
		lock->attempt = attempt_new(lock->quorum, lock->key, lock->key_length, token, ticket,
		                            lock->settings.ttl_us + lock->settings.lock_delay_us);
	if (!lock->attempt) {
		lock->state = LOCK_IDLE;
		lock_done(lock, ENOMEM);
		return false;
	}
	lock->attempt->lock = lock;
	lock->attempt->mode = lock->attempt->waits_for = lock->wanted;
	lock->attempt->bid = lock->wanted == MODE_EXCLUSIVE;
	lock_load(lock);
	return true;
}

static void acquire_from(struct lock *lock, unsigned master, int64_t now_us)
{
	struct request request = {
	    .op = OP_ACQUIRE, .mode = lock->wanted, .fence = lock->attempt->highest, .floor = lock->attempt->floor};

	request.queued = !lock->try_only && lock->quorum->masters[master].listening;
	lock->attempt->votes[master].ballot = BALLOT_ASKED;
	lock->attempt->votes[master].until_us = 0;
	attempt_send(lock->attempt, request, master, now_us, lock->effects);
}

/* The master that every contender asks first after a split. */
static int first_master(const struct lock *lock, int64_t now_us)
{
	unsigned count = lock->quorum->settings.count;
	unsigned start = (unsigned)(hash_text(lock->key, lock->key_length) % count);

	for (unsigned i = 0; i < count; i++)
		if (quorum_askable(lock->quorum, (start + i) % count, now_us) &&
		    lock->attempt->votes[(start + i) % count].ballot != BALLOT_FAILED)
			return (int)((start + i) % count);
	return -1;
}

/* p = max(median of the masters' clocks, largest fence seen + 1). What counts for an absent fence grows with the
 * master's clock: it is above what was seen by the time that the proposal needs to get there. But a process that stood
 * still for long must not leap as far: no master accepts more than S beyond its clock, and the tombstone of such a
 * proposal would keep everybody off until the clocks are there. */
static uint64_t next_proposal(const struct lock *lock, int64_t now_us)
{
	uint64_t clock = (uint64_t)quorum_clock_us(lock->quorum, now_us), above = lock->seen_fence + 1;
	uint64_t most = clock + SKEW_US;

	if (lock->floor_moves && above < most) {
		above += 2 * (uint64_t)(now_us - lock->round_us) + LEAP_US;
		above = above < most ? above : most;
	}
	return clock > above ? clock : above;
}

void lock_propose(struct lock *lock, int64_t now_us)
{
	struct attempt *attempt = lock->attempt;
	int first = lock->serial ? first_master(lock, now_us) : -1;

	attempt_propose(attempt, next_proposal(lock, now_us));
	lock->floor_moves = false;
	attempt->floor = lock->proposals ? lock->seen_fence : 0;
	lock->proposals++;
	lock->round_us = now_us;
	lock->serial = first >= 0;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		attempt->votes[i].ballot = BALLOT_NONE;
		if (quorum_askable(lock->quorum, i, now_us) && (first < 0 || (unsigned)first == i))
			acquire_from(lock, i, now_us);
	}
}

void lock_try(struct lock *lock, int64_t now_us)
{
	if (!lock->attempt && !lock_begin_attempt(lock, now_us))
		return;
	lock->state = LOCK_TRY;
	lock->proposals = 0;
	lock_propose(lock, now_us);
}

/* ---- counting ---- */

void lock_count(const struct lock *lock, struct tally *ret)
{
	const struct attempt *attempt = lock->attempt;
	unsigned count = lock->quorum->settings.count;

	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < count; i++) {
		const struct vote *vote = &attempt->votes[i];
		unsigned same = 0, rival = 0;

		ret->yes += vote->ballot == BALLOT_YES;
		ret->busy += vote->ballot == BALLOT_BUSY;
		ret->outbid += vote->ballot == BALLOT_OUTBID;
		ret->free += vote->ballot == BALLOT_FREE;
		ret->failed += vote->ballot == BALLOT_FAILED;
		ret->pending += vote->ballot == BALLOT_ASKED;
		for (unsigned j = 0; j < count; j++) {
			const struct vote *other = &attempt->votes[j];

			same += vote->ballot == BALLOT_YES && other->ballot == BALLOT_YES && other->fence == vote->fence;
			rival += vote->ballot == BALLOT_BUSY && other->ballot == BALLOT_BUSY &&
			         other->holder_hash == vote->holder_hash;
		}
		if (same > ret->same) {
			ret->same = same;
			ret->fence = vote->fence;
		}
		ret->rival = rival > ret->rival ? rival : ret->rival;
	}
}

/* The earliest moment at which keys that end by themselves free a majority. */
int64_t lock_free_at_us(const struct lock *lock)
{
	int64_t ends[SERVERS_MAX];
	unsigned count = 0, needed = lock_blocking(lock);

	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if (lock->attempt->votes[i].ballot == BALLOT_BUSY)
			ends[count++] = lock->attempt->votes[i].free_at_us;
	if (count < needed)
		return NEVER_US;
	/* Once all but N-q of the busy ones have ended: the (N-q+1)-th largest. */
	return lease_quorum_us(ends, count, needed);
}

/* Another holds it, as far as can be known: what it may have makes a majority. (With an
 * even number of masters two contenders may have as many each as keep the other out.) */
bool lock_is_held(const struct lock *lock, const struct tally *tally)
{
	unsigned others = tally->yes + tally->outbid + tally->busy - tally->rival;

	return tally->rival >= lock_blocking(lock) &&
	       lock->quorum->settings.count - others >= lock->quorum->majority;
}

/* LOCK_NB: another holds it, or contenders have split the masters among them. That is tried again from the beginning,
 * one master first, after a while that makes it unlikely that the same happens. */
static void back_off_try(struct lock *lock, const struct tally *tally, int64_t now_us)
{
	unsigned shift = lock->splits < 4 ? lock->splits : 4;

	lock_close_attempt(lock, now_us);
	lock->contended = true;
	lock->no_quorum_us = NEVER_US;
	if (lock_is_held(lock, tally) || lock->splits >= SPLITS_MAX) {
		lock->state = LOCK_IDLE;
		lock_done(lock, EWOULDBLOCK);
		return;
	}
	lock->serial = true;
	lock->splits++;
	lock->wake_us = now_us + (int64_t)lock_draw(lock, (uint64_t)LOCK_SPLIT_US << shift);
	lock->state = LOCK_WAIT;
}

static void back_off_contended(struct lock *lock, const struct tally *tally, int64_t now_us)
{
	if (lock->try_only)
		back_off_try(lock, tally, now_us);
	else
		lock_wait(lock, tally, now_us);
}

/* Too few masters gave an answer that counts. */
void lock_back_off_no_quorum(struct lock *lock, int64_t now_us)
{
	lock->contended = false;
	if (lock->no_quorum_us == NEVER_US)
		lock->no_quorum_us = lock->round_us;
	if (lock->try_only) {
		lock_close_attempt(lock, now_us);
		lock->state = LOCK_IDLE;
		lock_done(lock, ENOLCK);
		return;
	}
	lock->wake_us = now_us + LOCK_POLL_US / 2 + (int64_t)lock_draw(lock, LOCK_POLL_US);
	lock->state = LOCK_WAIT;
}

/* When a round goes on without those that have not answered: for the one that is asked first
 * not before a few of its usual round trips, or far masters would never be asked one first. */
static int64_t hurry_at_us(const struct lock *lock)
{
	int64_t hurry_us = LOCK_HURRY_US;

	if (lock->state == LOCK_TRY && lock->serial)
		for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
			int64_t trips_us = 4 * lock->quorum->masters[i].best_rtt_us;

			if (lock->attempt->votes[i].ballot == BALLOT_ASKED && trips_us > hurry_us)
				hurry_us = trips_us;
		}
	return lock->round_us + hurry_us;
}

/* One master first: its yes opens the round to all, and so does its silence: it may be stopped. */
static void open_round(struct lock *lock, int64_t now_us)
{
	lock->serial = false;
	lock->round_us = now_us; /* the others have their full time */
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if (lock->attempt->votes[i].ballot == BALLOT_NONE && quorum_askable(lock->quorum, i, now_us))
			acquire_from(lock, i, now_us);
}

static void judge_first(struct lock *lock, const struct tally *tally, int64_t now_us)
{
	/* A first master that has just stopped is not waited for either. */
	if (tally->yes || (tally->pending && now_us >= lock->round_us + LOCK_HURRY_US)) {
		open_round(lock, now_us);
	} else if (tally->outbid && lock->proposals < PROPOSALS_MAX) {
		lock_propose(lock, now_us);
	} else if (tally->busy) {
		back_off_contended(lock, tally, now_us);
	} else if (tally->outbid || tally->failed) {
		/* Whatever it is that this one wants (its clock may be off): the others may be content. */
		lock->serial = false;
		lock_propose(lock, now_us);
	}
}

void lock_try_judge(struct lock *lock, int64_t now_us)
{
	unsigned q = lock->quorum->majority;
	struct tally t;

	lock_count(lock, &t);
	/* A master that is stopped is not waited for once the others have decided. */
	if (now_us >= lock->round_us + LOCK_HURRY_US && t.yes + t.outbid + t.busy >= q)
		t.pending = 0;
	if (lock->serial) {
		judge_first(lock, &t, now_us);
	} else if (t.same >= q) {
		lock_claim(lock, t.fence, now_us);
	} else if (t.same + t.pending >= q) {
		return; /* it may still succeed */
	} else if (t.yes + t.outbid >= q && lock->proposals < PROPOSALS_MAX) {
		lock_propose(lock, now_us);
	} else if (t.yes + t.outbid + t.pending >= q && t.pending > 0) {
		return; /* whether to propose again is not known yet */
	} else if (t.rival >= lock_blocking(lock) && t.rival < q && t.pending > 0) {
		return; /* an even number: whether the other has a majority is not known yet */
	} else if (!lock->try_only && t.yes + t.outbid > 0 && t.pending > 0) {
		return; /* whom to leave these to is not known yet */
	} else if (t.yes + t.outbid + t.busy >= q || t.rival >= lock_blocking(lock)) {
		back_off_contended(lock, &t, now_us);
	} else if (t.pending == 0) {
		lock_back_off_no_quorum(lock, now_us);
	}
}

/* ---- events ---- */

static void record_busy(const struct attempt *attempt, struct vote *vote, const struct answer *answer, int64_t now_us)
{
	bool is_ours = token_parse(answer->ahead, strlen(answer->ahead), NULL);
	bool is_known = strcmp(answer->holder, "zset") == 0 || strcmp(answer->holder, "none") == 0;

	vote->ballot = BALLOT_BUSY;
	/* Tokens begin with the ticket. */
	vote->older = is_ours ? strcmp(answer->ahead, attempt->token) < 0 : strcmp(answer->ahead, "none") != 0;
	vote->foreign = !is_known && !token_parse(answer->holder, strlen(answer->holder), NULL);
	vote->holder_hash = hash_text(answer->holder, strlen(answer->holder));
	vote->free_at_us = answer->pttl_ms >= 0 ? now_us + answer->pttl_ms * 1000 : NEVER_US;
}

void lock_record(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[request->master];
	bool votes = lock->quorum->masters[request->master].standing == STANDING_VOTING;

	votes = votes && attempt_may_count(lock->attempt, request->master);
	switch (answer->code) {
	case CODE_YES:
		vote->ballot = votes ? BALLOT_YES : BALLOT_FAILED;
		vote->fence = answer->fence;
		vote->until_us = votes ? lease_vote_until_us(request->sent_us, lock->settings.ttl_us) : 0;
		vote->proven = true;
		vote->doubtful = false;
		break;
	case CODE_FREE: /* to P: no vote, but it could become one */
		vote->ballot = BALLOT_FREE;
		break;
	case CODE_BUSY:
		record_busy(lock->attempt, vote, answer, now_us);
		break;
	case CODE_REJECTED:
		vote->ballot = BALLOT_OUTBID;
		lock->floor_moves |= answer->fence + SKEW_US == (uint64_t)answer->master_us;
		break;
	case CODE_OUTBID:
		vote->ballot = BALLOT_OUTBID;
		break;
	default:
		vote->ballot = BALLOT_FAILED;
		break;
	}
}

void lock_try_answered(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us)
{
	struct vote *vote = &lock->attempt->votes[request->master];
	bool granted;

	if (!attempt_voted(lock->attempt, request, answer))
		return;
	/* The answer to a proposal that was raised meanwhile decides nothing; one that is later than a grant says more. */
	granted = vote->granted_us > 0 && (vote->ballot == BALLOT_YES || vote->ballot == BALLOT_OUTBID);
	if (request->serial != vote->last_serial || request->op != OP_ACQUIRE || !(vote->ballot == BALLOT_ASKED || granted))
		return;
	if (attempt_resend(lock->attempt, request, answer, now_us, lock->effects))
		return;
	vote->resent = 0;
	lock_record(lock, request, answer, now_us);
	lock_try_judge(lock, now_us);
}

void lock_try_joined(struct lock *lock, uint32_t joined, int64_t now_us)
{
	if (lock->serial)
		return;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		if ((joined >> i & 1) && lock->attempt->votes[i].ballot != BALLOT_ASKED &&
		    lock->attempt->votes[i].ballot != BALLOT_YES && quorum_askable(lock->quorum, i, now_us))
			acquire_from(lock, i, now_us);
}

/* After LOCK_HURRY_US, and for good after node_timeout, the round goes on without
 * those that are silent. */
void lock_try_expire(struct lock *lock, int64_t now_us)
{
	bool over = now_us >= lock->round_us + lock->settings.node_timeout_us;

	for (unsigned i = 0; over && i < lock->quorum->settings.count; i++)
		if (lock->attempt->votes[i].ballot == BALLOT_ASKED)
			lock->attempt->votes[i].ballot = BALLOT_FAILED;
	if (now_us < lock->round_us + LOCK_HURRY_US)
		return;
	if (lock->state == LOCK_POLL)
		lock_wait_judge(lock, now_us);
	else
		lock_try_judge(lock, now_us);
}

int64_t lock_try_next_us(const struct lock *lock, int64_t now_us)
{
	int64_t hurry_us = hurry_at_us(lock), end_us = lock->round_us + lock->settings.node_timeout_us;

	return now_us < hurry_us && hurry_us < end_us ? hurry_us : end_us;
}
