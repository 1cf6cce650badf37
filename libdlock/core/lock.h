/*
 * lock.h - one descriptor's lock: the state machine.
 *
 *   IDLE     lock call                                     -> GATHER
 *   GATHER   a majority of the masters may be asked        -> TRY
 *   TRY      the same fence at q live votes                -> HELD
 *            rejected proposals: propose again (at most 8)
 *            held by another: LOCK_NB gives up; else       -> WAIT
 *            split, or too few masters: back off           -> WAIT
 *   WAIT     granted the same fence by q masters           -> HELD
 *            timer, or some grants                         -> POLL
 *   POLL     free, or its own, at a majority               -> TRY
 *   HELD     a third of the lease: renew;
 *            deadline, or more than N-q say "not mine"     -> LOST
 *            unlock                                        -> RELEASING -> IDLE
 *   LOST     sticky; unlock clears it                      -> IDLE
 *
 * Rules (docs/protocol.md tells them at length):
 *  1. A claim needs q live votes that carry exactly the same fence, each from
 *     a master that may vote, and a deadline that has not passed.
 *  2. A vote is good from before its request was sent; the lock's deadline is
 *     the q-th largest of the votes'. It is LOST, for good, from then on.
 *  3. Renewal repairs masters that lost the key; a master that was repaired
 *     proves nothing until a majority of unbroken ones has vouched for a round.
 *  4. Every attempt that ends without a claim is closed: attempt.h.
 *  5. LOCK_NB never waits for a holder. A split between contenders of which none
 *     has a majority is tried again, one master first, so that one of them wins.
 *  6. Blocking callers wait in the queue of each master, and are handed the lock
 *     there (lock_wait.c). They poll without taking (P), so that they never hinder
 *     the holder's repair, and only in case a message was lost.
 *  7. An exclusive lock is granted on votes that were given together with what
 *     travels with it. What is set while it is held has travelled when q
 *     masters have confirmed it; each that lags behind gets it as soon as an
 *     answer tells so.
 */
#ifndef DLOCK_LOCK_H
#define DLOCK_LOCK_H

#include "core/attempt.h"

#define LOCK_IDENTITY_MAX (TOKEN_MAX - 50) /* host/pid/program, with the NUL */

enum lock_state { LOCK_IDLE, LOCK_GATHER, LOCK_TRY, LOCK_WAIT, LOCK_POLL, LOCK_HELD, LOCK_RELEASING, LOCK_LOST };

enum call { CALL_NONE, CALL_LOCK, CALL_CONVERT_UP, CALL_CONVERT_DOWN, CALL_UNLOCK, CALL_VERIFY, CALL_DATA };

struct lock_settings {
	int64_t ttl_us, lock_delay_us, node_timeout_us;
	int64_t quorum_timeout_us; /* -1: for ever */
	uint8_t random[16];        /* makes this lock's tokens unlike all others */
	uint64_t jitter;           /* seeds the back-off */
};

struct lock {
	struct quorum *quorum;
	struct lock_settings settings;
	char *key;
	size_t key_length;
	char identity[LOCK_IDENTITY_MAX];

	struct cargo cargo;       /* what travels with the exclusive lock; the bytes are its own */

	enum lock_state state;
	enum mode held;           /* HELD */
	uint64_t fence;           /* HELD: F */
	int64_t deadline_us;      /* HELD */
	struct attempt *attempt;  /* open; NULL in IDLE, GATHER, WAIT, RELEASING, LOST */
	struct attempt *releasing; /* RELEASING: owned by the shell */
	unsigned released;         /* masters that had the last lock back when its unlock call ended */
	struct attempt *closed;    /* to be taken over by the shell */
	bool last;                 /* its next unlock call is the last: the process may end with it */

	enum call call;
	enum mode wanted;
	bool try_only;            /* LOCK_NB */
	bool contended;           /* what the last round met: another holder, or no quorum */
	int64_t give_up_us;       /* the caller's time-out */
	int64_t call_end_us;      /* HELD: when a round that the caller waits for has taken too long */
	int64_t no_quorum_us;     /* when the quorum was missed first; NEVER_US: it is there */

	uint64_t seen_fence;      /* the largest ever seen for this key */
	bool floor_moves;         /* TRY: a master that knows no fence has refused a proposal that is old by its clock */
	unsigned attempts;        /* so far: no token is used twice */
	int64_t round_us;         /* when the round began (TRY, POLL, HELD) */
	uint32_t round_serial;    /* HELD: serial before the round */
	bool round_done;          /* HELD: a majority has answered the round */
	int64_t prolong_us;       /* HELD: when what was handed over is prolonged; NEVER_US: that was done */
	unsigned proposals;       /* TRY */
	unsigned splits;
	bool waits;               /* counted in quorum->waiters */
	bool serial;              /* TRY: one master first */
	int64_t wake_us;          /* WAIT */
	uint64_t random_state;
	struct effects *effects;  /* of the step that is running */
};

/* 0 or -ENOMEM. `key` and `identity` are copied. */
int lock_init(struct lock *lock, struct quorum *quorum, const struct lock_settings *settings, const char *key,
              size_t key_length, const char *identity);
/* The attempt must have been closed by lock_abandon(). */
void lock_clear(struct lock *lock);

/* Events. At most one call is under way; each ends with EFFECT_DONE, perhaps in
 * this very step. `timeout_us`: -1 for ever, 0 LOCK_NB. The closed attempts
 * that a step leaves are handed over by lock_take_closed(). */
void lock_call(struct lock *lock, enum mode mode, int64_t timeout_us, int64_t now_us, struct effects *effects);
void lock_unlock(struct lock *lock, int64_t now_us, struct effects *effects);
void lock_verify(struct lock *lock, int64_t now_us, struct effects *effects);
/* What travels with the exclusive lock from now on: `bytes` are taken over, from malloc(); of size 0: nothing. They
 * stay in place also when the call ends with an error. */
void lock_set_data(struct lock *lock, void *bytes, size_t size, int64_t now_us, struct effects *effects);
/* The same while another call is under way, and no exclusive lock is held: no call of its own. */
void lock_put_data(struct lock *lock, void *bytes, size_t size, int64_t now_us, struct effects *effects);
/* End the call under way with `error`, if it can still be undone. */
void lock_cancel(struct lock *lock, int error, int64_t now_us, struct effects *effects);
/* The descriptor is gone: give everything up. */
void lock_abandon(struct lock *lock, int64_t now_us, struct effects *effects);

/* The answer to a request of an attempt, open or closed. */
void lock_answered(const struct request *request, const struct answer *answer, int64_t now_us,
                   struct effects *effects);
/* `master` has said by itself that the lock is handed to a token, perhaps this lock's. */
void lock_granted(struct lock *lock, unsigned master, const struct grant *grant, int64_t now_us,
                  struct effects *effects);
/* The same where the token is of an attempt of this lock that has ended, and of those in `closed` (a list by `next`) none
 * is to be released there any more: a master has come back with a place in its queue that was given up since. It is
 * given back, and so passed on. */
void lock_stray(struct lock *lock, unsigned master, const struct grant *grant, const struct attempt *closed,
                int64_t now_us, struct effects *effects);
/* The grants of a master are heard from now on. */
void lock_listening(struct lock *lock, unsigned master, int64_t now_us, struct effects *effects);
/* Masters began or ceased to vote, or to be connected. */
void lock_masters_changed(struct lock *lock, uint32_t joined, int64_t now_us, struct effects *effects);
void lock_disconnected(struct lock *lock, unsigned master, int64_t now_us, struct effects *effects);
void lock_tick(struct lock *lock, int64_t now_us, struct effects *effects);
int64_t lock_next_us(const struct lock *lock, int64_t now_us);

/* A closed attempt to keep until it is finished, or NULL. */
struct attempt *lock_take_closed(struct lock *lock);

/* What holds at `now_us`. */
uint64_t lock_token(const struct lock *lock);
unsigned lock_live_votes(const struct lock *lock, int64_t now_us);

#endif
