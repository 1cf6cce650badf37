/* lock_internal.h - what the files of the lock's state machine share. */
#ifndef DLOCK_LOCK_INTERNAL_H
#define DLOCK_LOCK_INTERNAL_H

#include "core/lock.h"

#define PROPOSALS_MAX 8
#define LOCK_HURRY_US 5000 /* how long a round waits for more answers than it needs */

/* What a round of requests has come to. */
struct tally {
	unsigned same;     /* votes that carry the commonest fence */
	uint64_t fence;    /* that fence */
	unsigned yes, busy, outbid, failed, pending;
	unsigned rival;    /* masters that name the commonest other holder */
};

/* lock.c */
void lock_done(struct lock *lock, int error);
void lock_start(struct lock *lock, int64_t now_us);
void lock_close_attempt(struct lock *lock, int64_t now_us);
uint64_t lock_draw(struct lock *lock, uint64_t below);
unsigned lock_blocking(const struct lock *lock); /* N-q+1 */
void lock_load(struct lock *lock); /* the lock's cargo to its attempt */

/* lock_try.c */
void lock_try(struct lock *lock, int64_t now_us);
void lock_poll(struct lock *lock, int64_t now_us);
void lock_propose(struct lock *lock, int64_t now_us);
void lock_count(const struct lock *lock, struct tally *ret);
/* The answer to an A in the attempt's votes. */
void lock_record(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us);
void lock_try_answered(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us);
void lock_try_joined(struct lock *lock, uint32_t joined, int64_t now_us);
void lock_try_expire(struct lock *lock, int64_t now_us);
int64_t lock_try_next_us(const struct lock *lock, int64_t now_us);

/* lock_held.c */
void lock_claim(struct lock *lock, uint64_t fence, int64_t now_us);
void lock_renew(struct lock *lock, int64_t now_us);
void lock_extend_one(struct lock *lock, unsigned master, int64_t now_us);
/* The deadline from the votes as they are; LOST if it has passed. */
void lock_reckon(struct lock *lock, int64_t now_us);
void lock_lose(struct lock *lock, int64_t now_us);
void lock_held_answered(struct lock *lock, const struct request *request, const struct answer *answer,
                        int64_t now_us);
void lock_held_joined(struct lock *lock, uint32_t joined, int64_t now_us);
void lock_held_tick(struct lock *lock, int64_t now_us);
int64_t lock_held_next_us(const struct lock *lock, int64_t now_us);

/* lock_convert.c */
void lock_upgrade(struct lock *lock, int64_t now_us);
/* Asks anew, with what travels now. */
void lock_upgrade_again(struct lock *lock, int64_t now_us);
void lock_downgrade(struct lock *lock, int64_t now_us);
void lock_upgrade_answered(struct lock *lock, const struct request *request, const struct answer *answer,
                           int64_t now_us);
void lock_upgrade_tick(struct lock *lock, int64_t now_us);
int64_t lock_upgrade_next_us(const struct lock *lock, int64_t now_us);
void lock_upgrade_undo(struct lock *lock, int error, int64_t now_us);

#endif
