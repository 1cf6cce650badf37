/*
 * lease.h - the arithmetic of validity: pure functions of times.
 *
 * Every time-out and margin of the protocol that follows from the lease is
 * computed here and nowhere else.
 */
#ifndef DLOCK_LEASE_H
#define DLOCK_LEASE_H

#include <stddef.h>
#include <stdint.h>

/* How much of a span may be lost to clocks that run at different rates, and to
 * the master's rounding to milliseconds: 1 % and 2 ms. */
int64_t lease_drift_us(int64_t span_us);

/* Until when a vote is good that was asked for at `sent_us`: counted from before
 * the request left, never from the receipt of the answer. */
int64_t lease_vote_until_us(int64_t sent_us, int64_t ttl_us);

/* When to renew a lease of which a round began at `round_us`. */
int64_t lease_renew_us(int64_t round_us, int64_t ttl_us);

/* The q-th largest of `count` times; 0 when there are fewer than q. Reorders
 * `times`. */
int64_t lease_quorum_us(int64_t *times, size_t count, size_t q);

#endif
