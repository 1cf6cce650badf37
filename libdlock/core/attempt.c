/* attempt.c - see attempt.h. */
#include "core/attempt.h"

#include <stdlib.h>
#include <string.h>

#define RELEASE_RETRY_US 200000 /* a release that was answered by an error */

struct attempt *attempt_new(struct quorum *quorum, const char *key, size_t key_length, const char *token,
                            uint64_t ticket, int64_t ttl_us)
{
	size_t votes_size = quorum->settings.count * sizeof(struct vote);
	struct attempt *attempt = calloc(1, sizeof(*attempt) + votes_size + key_length + 1);
	char *copy;

	if (!attempt)
		return NULL;
	copy = (char *)attempt + sizeof(*attempt) + votes_size;
	memcpy(copy, key, key_length);
	attempt->quorum = quorum;
	attempt->key = copy;
	attempt->key_length = key_length;
	attempt->ttl_us = ttl_us;
	attempt->ticket = ticket;
	strncpy(attempt->token, token, sizeof(attempt->token) - 1);
	return attempt;
}

void attempt_free(struct attempt *attempt)
{
	free(attempt);
}

static void emit(struct attempt *attempt, const struct request *request, int64_t now_us, struct effects *effects)
{
	struct effect *effect = &effects->list[effects->count++];

	effect->kind = EFFECT_SEND;
	effect->request = *request;
	effect->request.attempt = attempt;
	effect->request.serial = ++attempt->serial;
	effect->request.sent_us = now_us;
	attempt->in_flight++;
	attempt->votes[request->master].last_serial = attempt->serial;
}

/* Rule 5. */
static void load(const struct attempt *attempt, struct vote *vote, struct request *request)
{
	uint64_t version = attempt->cargo.version;

	request->version = 0;
	request->bytes = request->unload = false;
	if (request->mode == MODE_SHARED) {
		request->unload = request->op == OP_EXTEND && vote->laden;
		return;
	}
	if (version == 0)
		return;
	request->version = version;
	request->bytes = request->op == OP_ACQUIRE || (vote->version < version && vote->offered < version);
	if (request->bytes)
		vote->offered = version;
	vote->laden = true;
}

void attempt_send(struct attempt *attempt, struct request request, unsigned master, int64_t now_us,
                  struct effects *effects)
{
	struct vote *vote = &attempt->votes[master];

	request.master = master;
	request.ttl_us = attempt->ttl_us;
	request.offer_us = request.op == OP_YIELD ? request.offer_us : quorum_offer_us(attempt->quorum);
	if (request.queued)
		vote->queued = vote->touched = true;
	if (request.op == OP_YIELD)
		vote->yielding = true;
	if (request.op == OP_ACQUIRE || request.op == OP_EXTEND) {
		load(attempt, vote, &request);
		attempt->laden |= vote->laden;
		vote->touched = true;
		vote->unanswered++;
	}
	emit(attempt, &request, now_us, effects);
}

void attempt_propose(struct attempt *attempt, uint64_t wanted)
{
	attempt->highest = wanted > attempt->highest ? wanted : attempt->highest + 1;
}

bool attempt_may_count(const struct attempt *attempt, unsigned master)
{
	return !attempt->votes[master].yield_lost || attempt->quorum->masters[master].introduction.kill_permitted;
}

void attempt_granted(struct attempt *attempt, unsigned master, uint64_t fence)
{
	struct vote *vote = &attempt->votes[master];

	vote->there = vote->touched = true;
	vote->rank = 0;
	/* The script has taken it out of the queue, and nothing is under way that would put it in again. */
	if (vote->heard_serial == vote->last_serial)
		vote->queued = false;
	if (fence > attempt->highest)
		attempt->highest = fence;
}

bool attempt_resend(struct attempt *attempt, const struct request *request, const struct answer *answer,
                    int64_t now_us, struct effects *effects)
{
	struct vote *vote = &attempt->votes[request->master];

	if (answer->code != CODE_NOT_CARRIED_OUT || attempt->closed || request->serial != vote->last_serial ||
	    vote->resent >= RESENT_MAX)
		return false;
	vote->resent++;
	attempt_send(attempt, *request, request->master, now_us, effects);
	return true;
}

static void forget_offer(struct vote *vote, const struct request *request)
{
	if (request->bytes && request->version == vote->offered)
		vote->offered = 0;
}

void attempt_not_sent(struct attempt *attempt, const struct request *request)
{
	struct vote *vote = &attempt->votes[request->master];

	forget_offer(vote, request);
	attempt->in_flight--;
	if (request->op == OP_RELEASE) {
		vote->release = RELEASE_OWED;
		vote->retry_us = request->sent_us + RELEASE_RETRY_US;
	} else if (request->op == OP_ACQUIRE || request->op == OP_EXTEND) {
		vote->unanswered--;
	} else if (request->op == OP_YIELD) {
		vote->yielding = false;
	}
}

unsigned attempt_carriers(const struct attempt *attempt)
{
	unsigned count = 0;

	for (unsigned i = 0; i < attempt->quorum->settings.count; i++)
		count += attempt->votes[i].version >= attempt->cargo.version;
	return count;
}

/* What an answer to A or E tells of the cargo. */
static void cargo_answered(struct vote *vote, const struct request *request, const struct answer *answer)
{
	forget_offer(vote, request);
	switch (answer->code) {
	case CODE_YES:
	case CODE_REPAIRED:
		vote->version = answer->version;
		if (request->unload && request->serial == vote->last_serial)
			vote->laden = false;
		break;
	case CODE_BUSY:
	case CODE_BARE:
	case CODE_REJECTED:
	case CODE_EPOCH:
		vote->version = 0;
		break;
	default: /* all is as it was, or nobody knows: an E without the bytes finds out */
		break;
	}
}

/* Where the token is after an A or E. */
static void place_token(struct vote *vote, const struct answer *answer)
{
	switch (answer->code) {
	case CODE_YES:
	case CODE_REPAIRED:
	case CODE_OUTBID:
	case CODE_ERROR: /* it may have stopped half-way */
		vote->there = true;
		break;
	case CODE_BROKEN:
		vote->unsure = true;
		break;
	case CODE_BUSY:
		/* Among several readers may be this one. */
		vote->there = vote->there && strcmp(answer->holder, "zset") == 0;
		break;
	case CODE_REJECTED:
		vote->there = false;
		break;
	default: /* not carried out: all is as it was */
		break;
	}
}

bool attempt_voted(struct attempt *attempt, const struct request *request, const struct answer *answer)
{
	struct vote *vote = &attempt->votes[request->master];
	bool is_vote = request->op == OP_ACQUIRE || request->op == OP_EXTEND;
	bool is_old = request->serial <= vote->granted_serial && answer->master_us > 0 && answer->master_us < vote->granted_us;

	if (is_vote) {
		cargo_answered(vote, request, answer);
		vote->unanswered--;
	}
	if (request->op == OP_YIELD) {
		vote->yielding = false;
		vote->yield_lost |= answer->code == CODE_BROKEN;
	}
	if (answer->master_us > 0)
		vote->answered_us = answer->master_us;
	vote->heard_serial = request->serial;
	if (request->op == OP_ACQUIRE && request->queued && answer->code == CODE_YES && request->serial == vote->last_serial)
		vote->queued = false;
	if (is_old)
		return false;
	if (is_vote)
		place_token(vote, answer);
	else if (answer->code == CODE_MINE)
		attempt_granted(attempt, request->master, answer->fence);
	else if (answer->code == CODE_FREE || answer->code == CODE_BUSY || (request->op == OP_YIELD && answer->code == CODE_YES))
		vote->there = false;
	else if (request->op == OP_YIELD && (answer->code == CODE_BROKEN || answer->code == CODE_ERROR))
		vote->unsure = true; /* it may have been handed over again since */
	if (answer->code == CODE_BUSY)
		vote->rank = answer->rank;
	vote->touched = vote->there || vote->unsure || vote->queued || vote->unanswered > 0;
	return true;
}

/* A replica can only refuse it, and would be connected anew to find out what it is, again and again. */
static bool can_release(const struct attempt *attempt, unsigned master)
{
	const struct master *m = &attempt->quorum->masters[master];
	const struct introduction *in = &m->introduction;

	return m->connected && (!in->info_known || (in->is_master && !in->loading));
}

static void send_release(struct attempt *attempt, unsigned master, int64_t now_us, struct effects *effects)
{
	struct request request = {.op = OP_RELEASE, .master = master, .mode = attempt->mode};

	/* Rule 4. A shared attempt has no proposal that a late A could win with. */
	if (attempt->bid)
		request.fence = attempt->highest + 1;
	request.unload = attempt->votes[master].laden;
	request.queued = attempt->votes[master].queued;
	request.next = attempt->heir_fence;
	request.offer_us = quorum_offer_us(attempt->quorum);
	request.ttl_us = attempt->ttl_us;
	attempt->votes[master].release = RELEASE_SENT;
	emit(attempt, &request, now_us, effects);
}

uint64_t attempt_next_fence(const struct attempt *attempt, uint64_t above, int64_t now_us)
{
	uint64_t clock = (uint64_t)quorum_clock_us(attempt->quorum, now_us);

	/* Above the tombstone, too. */
	above = above > attempt->highest + 2 ? above : attempt->highest + 2;
	return clock > above ? clock : above;
}

void attempt_close(struct attempt *attempt, uint64_t above, int64_t now_us, struct effects *effects)
{
	struct quorum *quorum = attempt->quorum;

	attempt->closed = true;
	attempt->heir_fence = attempt_next_fence(attempt, above, now_us);
	attempt->lock = NULL;
	attempt->cargo = (struct cargo){0}; /* the lock may free the bytes now */
	/* The key may live ttl from the last E, and a late E from M at most: docs/protocol.md. */
	attempt->until_us = now_us + attempt->ttl_us + quorum->quarantine_us;
	for (unsigned i = 0; i < quorum->settings.count; i++) {
		struct vote *vote = &attempt->votes[i];

		if (!vote->touched)
			continue;
		vote->release = RELEASE_OWED;
		if (can_release(attempt, i))
			send_release(attempt, i, now_us, effects);
	}
}

void attempt_answered_closed(struct attempt *attempt, const struct request *request, const struct answer *answer,
                             int64_t now_us, struct effects *effects)
{
	struct vote *vote = &attempt->votes[request->master];

	attempt->in_flight--;
	/* A late vote needs nothing: the release was sent behind its A (rule 3). */
	if (request->op != OP_RELEASE)
		return;
	if (answer->code == CODE_YES) {
		vote->release = RELEASE_DONE;
		vote->touched = false;
	} else if (answer->code == CODE_NOT_CARRIED_OUT && vote->resent < RESENT_MAX) {
		vote->resent++;
		if (can_release(attempt, request->master))
			send_release(attempt, request->master, now_us, effects);
		else
			vote->release = RELEASE_OWED;
	} else {
		vote->release = RELEASE_OWED;
		vote->retry_us = answer->code == CODE_BROKEN ? 0 : now_us + RELEASE_RETRY_US;
	}
}

void attempt_tick(struct attempt *attempt, int64_t now_us, struct effects *effects)
{
	for (unsigned i = 0; i < attempt->quorum->settings.count; i++) {
		struct vote *vote = &attempt->votes[i];

		if (vote->release != RELEASE_OWED)
			continue;
		if (now_us >= attempt->until_us)
			vote->release = RELEASE_DONE; /* what was there has ended by itself */
		else if (can_release(attempt, i) && vote->retry_us <= now_us)
			send_release(attempt, i, now_us, effects);
	}
}

int64_t attempt_next_us(const struct attempt *attempt)
{
	/* With a request in flight, its answer or the end of its connection comes first. */
	int64_t next_us = attempt->in_flight > 0 ? NEVER_US : attempt->until_us;

	for (unsigned i = 0; i < attempt->quorum->settings.count; i++) {
		const struct vote *vote = &attempt->votes[i];

		if (vote->release == RELEASE_OWED && can_release(attempt, i) && vote->retry_us < next_us)
			next_us = vote->retry_us;
	}
	return next_us;
}

void attempt_disconnected(struct attempt *attempt, unsigned master, int64_t now_us)
{
	struct vote *vote = &attempt->votes[master];

	(void)now_us;
	if (vote->release == RELEASE_SENT)
		vote->release = RELEASE_OWED;
	vote->retry_us = 0;
	if (vote->touched)
		vote->doubtful = true;
}

bool attempt_is_finished(const struct attempt *attempt, int64_t now_us)
{
	if (!attempt->closed || attempt->in_flight > 0)
		return false;
	if (now_us >= attempt->until_us)
		return true;
	for (unsigned i = 0; i < attempt->quorum->settings.count; i++)
		if (attempt->votes[i].release == RELEASE_OWED)
			return false;
	return true;
}

unsigned attempt_released(const struct attempt *attempt)
{
	unsigned count = 0;

	for (unsigned i = 0; i < attempt->quorum->settings.count; i++)
		count += attempt->votes[i].release == RELEASE_NONE || attempt->votes[i].release == RELEASE_DONE;
	return count;
}

bool attempt_awaits_release(const struct attempt *attempt, int64_t now_us)
{
	for (unsigned i = 0; i < attempt->quorum->settings.count; i++)
		if (attempt->votes[i].release == RELEASE_SENT && !quorum_silent(attempt->quorum, i, now_us))
			return true;
	return false;
}
