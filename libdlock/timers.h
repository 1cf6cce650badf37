/*
 * timers.h - many moments, the earliest first.
 *
 * Owns: a binary heap of timers that live in other structures.
 * Must never: read a clock or call anybody.
 */
#ifndef DLOCK_TIMERS_H
#define DLOCK_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
	int64_t at_us;
	size_t place; /* in the heap, from 1; 0: not set */
	void *owner;
	int kind; /* the owner's own business */
};

struct timers {
	struct timer **heap;
	size_t count, size;
};

/* Room for one timer more, so that timers_set() can't fail. 0 or -ENOMEM. */
int timers_reserve(struct timers *timers, size_t count);
/* Set, move, or (INT64_MAX) unset. */
void timers_set(struct timers *timers, struct timer *timer, int64_t at_us);
struct timer *timers_first(const struct timers *timers); /* NULL: none */
void timers_clear(struct timers *timers);

#endif
