/* lock.c - the calls, the events, and the states without a lock; see lock.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/lock_internal.h"

int lock_init(struct lock *lock, struct quorum *quorum, const struct lock_settings *settings, const char *key,
              size_t key_length, const char *identity)
{
	memset(lock, 0, sizeof(*lock));
	lock->key = malloc(key_length + 1);
	if (!lock->key)
		return -ENOMEM;
	memcpy(lock->key, key, key_length);
	lock->key[key_length] = '\0';
	lock->key_length = key_length;
	lock->quorum = quorum;
	lock->settings = *settings;
	lock->random_state = settings->jitter | 1;
	lock->no_quorum_us = lock->give_up_us = NEVER_US;
	strncpy(lock->identity, identity, sizeof(lock->identity) - 1);
	return 0;
}

void lock_clear(struct lock *lock)
{
	free(lock->key);
	free(lock->cargo.bytes);
	lock->key = NULL;
	lock->cargo = (struct cargo){0};
}

/* xorshift64*: the jitter of the back-off needs no better. */
uint64_t lock_draw(struct lock *lock, uint64_t below)
{
	uint64_t x = lock->random_state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	lock->random_state = x;
	return (x * 0x2545f4914f6cdd1du >> 11) % below;
}

unsigned lock_blocking(const struct lock *lock)
{
	return lock->quorum->settings.count - lock->quorum->majority + 1;
}

void lock_waits(struct lock *lock, bool waits)
{
	if (waits && !lock->waits)
		lock->quorum->waiters++;
	else if (!waits && lock->waits)
		lock->quorum->waiters--;
	lock->waits = waits;
}

void lock_done(struct lock *lock, int error)
{
	struct effects *effects = lock->effects;

	lock->call = CALL_NONE;
	lock->give_up_us = NEVER_US;
	lock_waits(lock, false);
	effects->list[effects->count++] = (struct effect){.kind = EFFECT_DONE, .error = error};
}

void lock_close_attempt(struct lock *lock, int64_t now_us)
{
	struct attempt *attempt = lock->attempt;

	if (!attempt)
		return;
	lock->attempt = NULL;
	attempt_close(attempt, lock->seen_fence + 1, now_us, lock->effects);
	attempt->next = lock->closed;
	lock->closed = attempt;
}

struct attempt *lock_take_closed(struct lock *lock)
{
	struct attempt *attempt = lock->closed;

	if (attempt) {
		lock->closed = attempt->next;
		attempt->next = NULL;
	}
	return attempt;
}

static void end_call(struct lock *lock, int error, int64_t now_us)
{
	lock_close_attempt(lock, now_us);
	lock->state = LOCK_IDLE;
	lock_done(lock, error);
}

/* When a caller stops waiting for masters that are missing. */
static int64_t gather_until_us(const struct lock *lock)
{
	if (lock->no_quorum_us == NEVER_US)
		return NEVER_US;
	if (lock->try_only)
		return lock->no_quorum_us + lock->settings.node_timeout_us;
	if (lock->settings.quorum_timeout_us < 0)
		return NEVER_US;
	return lock->no_quorum_us + lock->settings.quorum_timeout_us;
}

#define GATHER_US 50000 /* between two looks at the masters */

/* GATHER: begin as soon as a majority may be asked. */
void lock_start(struct lock *lock, int64_t now_us)
{
	struct quorum *quorum = lock->quorum;
	unsigned askable = 0;

	for (unsigned i = 0; i < quorum->settings.count; i++)
		askable += quorum_askable(quorum, i, now_us);
	if (quorum->decided && lock->settings.ttl_us + lock->settings.lock_delay_us > quorum->lease_limit_us) {
		end_call(lock, EINVAL, now_us);
		return;
	}
	if (askable >= quorum->majority) {
		/* A holder was seen: ask without taking, so as not to be in its way. */
		if (lock->contended && !lock->try_only)
			lock_poll(lock, now_us);
		else
			lock_try(lock, now_us);
		return;
	}
	if (lock->no_quorum_us == NEVER_US)
		lock->no_quorum_us = now_us;
	lock->state = LOCK_GATHER;
	lock->wake_us = now_us + GATHER_US; /* nobody tells when a master that was silent answers again */
	if (now_us >= gather_until_us(lock) || (lock->try_only && quorum_settled(quorum, now_us)))
		end_call(lock, ENOLCK, now_us);
}

void lock_call(struct lock *lock, enum mode mode, int64_t timeout_us, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->state == LOCK_HELD && now_us >= lock->deadline_us)
		lock_lose(lock, now_us);
	if (lock->state == LOCK_LOST) {
		lock_done(lock, ESTALE);
		return;
	}
	lock->call = CALL_LOCK;
	lock->wanted = mode;
	lock->try_only = timeout_us == 0;
	lock->give_up_us = timeout_us > 0 ? now_us + timeout_us : NEVER_US;
	lock->no_quorum_us = NEVER_US;
	lock->contended = lock->serial = false;
	lock->splits = 0;
	if (lock->state != LOCK_HELD)
		lock_start(lock, now_us);
	else if (lock->held == mode)
		lock_done(lock, 0);
	else if (mode == MODE_SHARED)
		lock_downgrade(lock, now_us);
	else
		lock_upgrade(lock, now_us);
}

/* A server that has answered an earlier request to a process that has ended does not read what that has sent behind it:
 * who may end with its last call waits a little for those that have not confirmed yet, beyond the majority. */
#define LAST_US 20000

static int64_t release_until_us(const struct lock *lock)
{
	bool enough = !lock->releasing || attempt_released(lock->releasing) >= lock->quorum->majority;
	int64_t timeout_us = lock->settings.node_timeout_us;

	if (enough)
		timeout_us = !lock->last ? 0 : LAST_US < timeout_us ? LAST_US : timeout_us;
	return lock->round_us + timeout_us;
}

static void release_progress(struct lock *lock, int64_t now_us)
{
	struct attempt *attempt = lock->releasing;

	if (attempt && attempt_awaits_release(attempt, now_us) && now_us < release_until_us(lock))
		return;
	lock->released = attempt ? attempt_released(attempt) : 0;
	if (attempt)
		attempt->waiter = NULL;
	lock->releasing = NULL;
	lock->state = LOCK_IDLE;
	lock_done(lock, 0);
}

void lock_unlock(struct lock *lock, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->state == LOCK_HELD) {
		lock->releasing = lock->attempt;
		lock->releasing->waiter = lock;
		lock_close_attempt(lock, now_us);
		lock->call = CALL_UNLOCK;
		lock->state = LOCK_RELEASING;
		lock->round_us = now_us;
		lock->released = 0;
		release_progress(lock, now_us);
		return;
	}
	if (lock->state == LOCK_LOST)
		lock->state = LOCK_IDLE;
	lock_done(lock, 0);
}

void lock_verify(struct lock *lock, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->state == LOCK_HELD && now_us >= lock->deadline_us)
		lock_lose(lock, now_us);
	if (lock->state != LOCK_HELD) {
		lock_done(lock, lock->state == LOCK_LOST ? ESTALE : ENOLCK);
		return;
	}
	lock->call = CALL_VERIFY;
	lock->call_end_us = now_us + lock->settings.node_timeout_us;
	lock_renew(lock, now_us);
}

/* Where nothing ever travelled nothing has to be told: such a lock costs nothing more. */
void lock_load(struct lock *lock)
{
	struct attempt *attempt = lock->attempt;

	attempt->cargo = lock->cargo;
	if (lock->cargo.size == 0 && !attempt->laden)
		attempt->cargo.version = 0;
}

static void set_cargo(struct lock *lock, void *bytes, size_t size)
{
	free(lock->cargo.bytes);
	lock->cargo.bytes = bytes;
	lock->cargo.size = size;
	lock->cargo.version++;
	if (lock->attempt)
		lock_load(lock);
}

void lock_set_data(struct lock *lock, void *bytes, size_t size, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	set_cargo(lock, bytes, size);
	if (lock->state == LOCK_HELD && now_us >= lock->deadline_us)
		lock_lose(lock, now_us);
	if (lock->state == LOCK_LOST) {
		lock_done(lock, ESTALE);
	} else if (lock->state != LOCK_HELD || lock->held != MODE_EXCLUSIVE || lock->attempt->cargo.version == 0) {
		lock_done(lock, 0);
	} else {
		lock->call = CALL_DATA;
		lock->call_end_us = now_us + lock->settings.node_timeout_us;
		lock_renew(lock, now_us);
	}
}

/* Votes that were asked for with what was to travel before would be a lock without what travels now. */
void lock_put_data(struct lock *lock, void *bytes, size_t size, int64_t now_us, struct effects *effects)
{
	uint64_t before = lock->attempt ? lock->attempt->cargo.version : 0;
	unsigned proposals = lock->proposals;

	lock->effects = effects;
	set_cargo(lock, bytes, size);
	if (!lock->attempt || lock->attempt->cargo.version == before)
		return;
	if (lock->state == LOCK_TRY && lock->wanted == MODE_EXCLUSIVE)
		lock_propose(lock, now_us);
	else if (lock->call == CALL_CONVERT_UP)
		lock_upgrade_again(lock, now_us);
	lock->proposals = proposals; /* nobody has outbid it */
}

void lock_cancel(struct lock *lock, int error, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	switch (lock->call) {
	case CALL_LOCK:
		end_call(lock, error, now_us);
		break;
	case CALL_CONVERT_UP:
		lock_upgrade_undo(lock, error, now_us);
		break;
	case CALL_VERIFY:
	case CALL_DATA:
		lock_done(lock, error);
		break;
	default: /* what only gives back is not undone, and ends within node_timeout */
		break;
	}
}

void lock_abandon(struct lock *lock, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->releasing)
		lock->releasing->waiter = NULL;
	lock->releasing = NULL;
	lock_close_attempt(lock, now_us);
	lock_waits(lock, false);
	lock->state = LOCK_IDLE;
	lock->call = CALL_NONE;
}

void lock_answered(const struct request *request, const struct answer *answer, int64_t now_us,
                   struct effects *effects)
{
	struct attempt *attempt = request->attempt;
	struct lock *lock = attempt->closed ? attempt->waiter : attempt->lock;

	if (lock)
		lock->effects = effects;
	/* A process that stood still may read its answers before it looks at its timers: what comes when the lock's time is
	 * over does not prolong it any more. */
	if (!attempt->closed && lock->state == LOCK_HELD && now_us >= lock->deadline_us) {
		lock_lose(lock, now_us);
		lock = attempt->waiter;
	}
	if (attempt->closed) {
		attempt_answered_closed(attempt, request, answer, now_us, effects);
		if (lock)
			release_progress(lock, now_us);
		return;
	}
	attempt->in_flight--;
	/* No master accepts a fence beyond its clock and the skew: one that tells of such a fence would only make
	 * every further proposal one that all the others refuse. */
	if (answer->fence > lock->seen_fence &&
	    answer->fence <= (uint64_t)(quorum_clock_us(lock->quorum, now_us) + SKEW_US))
		lock->seen_fence = answer->fence;
	if (answer->code == CODE_EPOCH)
		effects->list[effects->count++] =
		    (struct effect){.kind = EFFECT_RECONNECT, .master = request->master};
	if (lock->state == LOCK_HELD)
		lock_held_answered(lock, request, answer, now_us);
	else if (lock->state == LOCK_TRY)
		lock_try_answered(lock, request, answer, now_us);
	else
		lock_wait_answered(lock, request, answer, now_us);
}

/* The grant is of this attempt, later than what is known (rule 7 of attempt.h), under the epoch that is known, of a
 * master that votes, and told by a clock and with a fence that no master of which all is known can have. */
static bool grant_counts(const struct lock *lock, unsigned master, const struct grant *grant, int64_t now_us)
{
	const struct attempt *attempt = lock->attempt;
	const struct master *m = &lock->quorum->masters[master];
	const struct vote *vote;

	if (!attempt || strcmp(grant->token, attempt->token) != 0)
		return false;
	vote = &attempt->votes[master];
	return vote->queued && m->standing == STANDING_VOTING && strcmp(grant->epoch, m->view.epoch) == 0 &&
	       grant->master_us > vote->answered_us && grant->master_us > vote->granted_us &&
	       quorum_clock_fits(lock->quorum, master, grant->master_us, now_us) &&
	       grant->fence <= (uint64_t)(quorum_clock_us(lock->quorum, now_us) + SKEW_US) &&
	       grant->expiry_ms <= (grant->master_us + attempt->ttl_us) / 1000 + 1;
}

void lock_granted(struct lock *lock, unsigned master, const struct grant *grant, int64_t now_us,
                  struct effects *effects)
{
	int64_t until_us = quorum_until_us(lock->quorum, master, grant->expiry_ms * 1000);
	struct vote *vote;

	lock->effects = effects;
	if (lock->state == LOCK_HELD && now_us >= lock->deadline_us)
		lock_lose(lock, now_us);
	if (!grant_counts(lock, master, grant, now_us))
		return;
	vote = &lock->attempt->votes[master];
	/* It may have been given before the Y was carried out: its answer tells when that was, and P what is now. */
	if (vote->yielding) {
		vote->missed = true;
		return;
	}
	vote->granted_us = grant->master_us;
	vote->granted_serial = lock->attempt->serial;
	attempt_granted(lock->attempt, master, grant->fence);
	if (grant->fence > lock->seen_fence)
		lock->seen_fence = grant->fence;
	until_us -= lock->settings.lock_delay_us;
	if (lock->state == LOCK_HELD)
		lock_held_granted(lock, master, grant, until_us, now_us);
	else
		lock_wait_granted(lock, master, grant->fence, until_us, now_us);
}

static bool is_own_token(const struct lock *lock, const char *token)
{
	return token_parse(token, strlen(token), NULL) && token_text_route(token) == token_route(lock->settings.random);
}

void lock_stray(struct lock *lock, unsigned master, const struct grant *grant, const struct attempt *closed,
                int64_t now_us, struct effects *effects)
{
	struct attempt *stray;

	if ((lock->attempt && strcmp(grant->token, lock->attempt->token) == 0) || !is_own_token(lock, grant->token))
		return;
	for (; closed; closed = closed->next)
		if (closed->votes[master].touched && strcmp(grant->token, closed->token) == 0)
			return; /* its release is on its way */
	stray = attempt_new(lock->quorum, lock->key, lock->key_length, grant->token, 0, lock->settings.ttl_us);
	if (!stray)
		return; /* it ends by itself */
	stray->votes[master].touched = true;
	attempt_close(stray, grant->fence + 1, now_us, effects);
	stray->next = lock->closed;
	lock->closed = stray;
}

void lock_listening(struct lock *lock, unsigned master, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->state == LOCK_WAIT || lock->state == LOCK_POLL)
		lock_wait_joined(lock, UINT32_C(1) << master, now_us);
}

void lock_masters_changed(struct lock *lock, uint32_t joined, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->state == LOCK_GATHER)
		lock_start(lock, now_us);
	else if (lock->state == LOCK_TRY)
		lock_try_joined(lock, joined, now_us);
	else if (lock->state == LOCK_WAIT || lock->state == LOCK_POLL)
		lock_wait_joined(lock, joined, now_us);
	else if (lock->state == LOCK_HELD && now_us >= lock->deadline_us)
		lock_lose(lock, now_us); /* nothing is repaired any more */
	else if (lock->state == LOCK_HELD)
		lock_held_joined(lock, joined, now_us);
}

void lock_disconnected(struct lock *lock, unsigned master, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->attempt)
		attempt_disconnected(lock->attempt, master, now_us);
	if (lock->state == LOCK_RELEASING)
		release_progress(lock, now_us);
}

void lock_tick(struct lock *lock, int64_t now_us, struct effects *effects)
{
	lock->effects = effects;
	if (lock->state == LOCK_HELD) {
		lock_held_tick(lock, now_us);
		return;
	}
	if (lock->state == LOCK_RELEASING) {
		release_progress(lock, now_us);
		return;
	}
	if (lock->call != CALL_LOCK)
		return;
	if (now_us >= lock->give_up_us) {
		end_call(lock, lock->contended ? ETIMEDOUT : ENOLCK, now_us);
	} else if (now_us >= gather_until_us(lock)) {
		end_call(lock, ENOLCK, now_us);
	} else if (lock->state == LOCK_TRY || lock->state == LOCK_POLL) {
		lock_try_expire(lock, now_us);
	} else if (lock->state == LOCK_GATHER || (lock->state == LOCK_WAIT && now_us >= lock->wake_us)) {
		lock_start(lock, now_us);
	}
}

int64_t lock_next_us(const struct lock *lock, int64_t now_us)
{
	int64_t next_us, gather_us;

	if (lock->state == LOCK_HELD)
		return lock_held_next_us(lock, now_us);
	if (lock->state == LOCK_RELEASING)
		return release_until_us(lock);
	if (lock->call != CALL_LOCK)
		return NEVER_US;
	next_us = lock->give_up_us;
	gather_us = gather_until_us(lock);
	next_us = gather_us < next_us ? gather_us : next_us;
	if (lock->state == LOCK_WAIT || lock->state == LOCK_GATHER)
		return lock->wake_us < next_us ? lock->wake_us : next_us;
	if (lock->state == LOCK_TRY || lock->state == LOCK_POLL) {
		int64_t round_us = lock_try_next_us(lock, now_us);

		return round_us < next_us ? round_us : next_us;
	}
	return next_us;
}

uint64_t lock_token(const struct lock *lock)
{
	if (lock->state != LOCK_HELD)
		return 0;
	return 2 * lock->fence + (lock->held == MODE_SHARED);
}

unsigned lock_live_votes(const struct lock *lock, int64_t now_us)
{
	unsigned live = 0;

	if (lock->state != LOCK_HELD)
		return 0;
	for (unsigned i = 0; i < lock->quorum->settings.count; i++)
		live += lock->attempt->votes[i].until_us > now_us;
	return live;
}
