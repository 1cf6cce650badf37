/*
 * holders.h - what the masters say of holders, put together; or of waiters.
 *
 * Owns: one entry for each holder that any master names, whichever and how many
 * do, how many wait, and the order and form in which they are told.
 * Must never: ask a master, wait, or take the mutex.
 *
 * How it works. Each answer is merged when it comes, so the memory does not grow
 * with the masters, and whether the answers agree is known at any time: a count
 * of the holders that fewer than a quorum name. A master that names a holder
 * twice, as SCAN may, counts once.
 *
 * Those that wait for one name are a table of their own, filled by
 * holders_add_waiters(): each is named by masters as a holder is, and what is asked
 * of them is the same, whether the answers agree among it.
 *
 * How many wait is a number of each master, and what is told is the largest that a
 * quorum reaches. A holder whose place some masters have not cleared yet is not
 * counted thereby: those that gave it their votes have, and they are a quorum, so too
 * few are left that have it.
 */
#ifndef DLOCK_HOLDERS_H
#define DLOCK_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlock.h"
#include "config.h"
#include "node.h"

struct holder;

struct holders {
	const char *prefix;   /* before each key; only keys that begin so are taken */
	size_t prefix_length;
	unsigned masters, quorum;
	struct holder **slots; /* a hash table; after holders_tell() a sorted list */
	size_t size, count;
	size_t lacking;        /* holders that fewer than `quorum` masters name */
	uint32_t waiting[SERVERS_MAX]; /* of a single key: how many wait, as each master says */
	bool out_of_memory;    /* something is missing */
};

/* `prefix` must live until the last answer was added. */
void holders_init(struct holders *holders, const char *prefix, unsigned masters, unsigned quorum);
void holders_clear(struct holders *holders);

/*
 * What `master` says of a key: {key, fence, 'string', owner, ms} or {..., owner,
 * ms, version, data} for an exclusive lock, {key, fence, 'zset', owner, ms,
 * owner, ms...} for a shared one. `key` NULL: any key. And how many wait for it.
 */
void holders_add(struct holders *holders, unsigned master, const struct value *found, const char *key,
                 uint32_t waiting);

/* Whether 'X:owner' or 'S:owner', as a master tells a place in a queue, is one that waits: only who has a mode, and an
 * owner that looks like a token, is ever handed a lock. The same as in the script's head(). */
bool holders_is_waiter(const char *text, size_t length);
/* What `master` says of those that wait for `key`: an array of that. */
void holders_add_waiters(struct holders *waiters, unsigned master, const struct value *list, const char *key);
/* Those of them that have the lock do not wait any more. Before anything is told. */
void holders_leave_out(struct holders *waiters, const struct holders *holders);

/* Each that is named is named by a quorum, or nobody is named. */
bool holders_agree(const struct holders *holders);
/* Those that at least so many masters name. */
uint32_t holders_named(const struct holders *holders, unsigned least);
/* Of a single key: how many wait, as a quorum says at least. */
uint32_t holders_waiting(const struct holders *holders);

/* Sorted by name, then by when they asked; what tells no time comes last. `each` may be NULL. The number that were told. Nothing can be added after. */
int holders_tell(struct holders *holders, unsigned unheard, dlock_holder_fn *each, void *arg);

#endif
