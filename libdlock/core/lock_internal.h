/* lock_internal.h - what the files of the lock's state machine share. */
#ifndef DLOCK_LOCK_INTERNAL_H
#define DLOCK_LOCK_INTERNAL_H

#include "core/lock.h"

#define PROPOSALS_MAX 8
#define LOCK_HURRY_US 5000 /* how long a round waits for more answers than it needs */
#define LOCK_POLL_US 50000 /* between two polls of a waiter who is in no queue, +-50 % */
#define LOCK_SPLIT_US 2000 /* back-off after a split, doubling */

/* What a round of requests has come to. */
struct tally {
	unsigned same;     /* votes that carry the commonest fence */
	uint64_t fence;    /* that fence */
	unsigned yes, busy, outbid, free, failed, pending;
	unsigned rival;    /* masters that name the commonest other holder */
};

/* lock.c */
/* Whether it waits for a holder: what many do together is made rarer. */
void lock_waits(struct lock *lock, bool waits);
void lock_done(struct lock *lock, int error);
void lock_start(struct lock *lock, int64_t now_us);
void lock_close_attempt(struct lock *lock, int64_t now_us);
uint64_t lock_draw(struct lock *lock, uint64_t below);
unsigned lock_blocking(const struct lock *lock); /* N-q+1 */
void lock_load(struct lock *lock); /* the lock's cargo to its attempt */

/* lock_try.c */
void lock_try(struct lock *lock, int64_t now_us);
void lock_propose(struct lock *lock, int64_t now_us);
void lock_count(const struct lock *lock, struct tally *ret);
/* The answer to an A in the attempt's votes. */
void lock_record(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us);
void lock_try_answered(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us);
void lock_try_joined(struct lock *lock, uint32_t joined, int64_t now_us);
void lock_try_expire(struct lock *lock, int64_t now_us);
int64_t lock_try_next_us(const struct lock *lock, int64_t now_us);

void lock_try_judge(struct lock *lock, int64_t now_us);
bool lock_begin_attempt(struct lock *lock, int64_t now_us);
void lock_back_off_no_quorum(struct lock *lock, int64_t now_us);
/* Masters whose keys end by themselves free a majority then; NEVER_US. */
int64_t lock_free_at_us(const struct lock *lock);
/* Another holds it, as far as can be known. */
bool lock_is_held(const struct lock *lock, const struct tally *tally);

/* lock_wait.c */
void lock_poll(struct lock *lock, int64_t now_us);
/* The masters are busy: a blocking call waits for its turn. */
void lock_wait(struct lock *lock, const struct tally *tally, int64_t now_us);
/* WAIT and POLL: an answer has been recorded, or time has passed. */
void lock_wait_judge(struct lock *lock, int64_t now_us);
void lock_wait_answered(struct lock *lock, const struct request *request, const struct answer *answer, int64_t now_us);
void lock_wait_joined(struct lock *lock, uint32_t joined, int64_t now_us);
void lock_wait_granted(struct lock *lock, unsigned master, uint64_t fence, int64_t until_us, int64_t now_us);

/* lock_held.c */
void lock_held_granted(struct lock *lock, unsigned master, const struct grant *grant, int64_t until_us, int64_t now_us);
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
