/*
 * holders.h - what the masters say of holders, put together.
 *
 * Owns: one entry for each holder that any master names, whichever and how many
 * do, and the order and form in which they are told.
 * Must never: ask a master, wait, or take the mutex.
 *
 * How it works. Each answer is merged when it comes, so the memory does not grow
 * with the masters, and whether the answers agree is known at any time: a count
 * of the holders that fewer than a quorum name. A master that names a holder
 * twice, as SCAN may, counts once.
 */
#ifndef DLOCK_HOLDERS_H
#define DLOCK_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dlock.h"
#include "node.h"

struct holder;

struct holders {
	const char *prefix;   /* before each key; only keys that begin so are taken */
	size_t prefix_length;
	unsigned masters, quorum;
	struct holder **slots; /* a hash table; after holders_tell() a sorted list */
	size_t size, count;
	size_t lacking;        /* holders that fewer than `quorum` masters name */
	bool out_of_memory;    /* something is missing */
};

/* `prefix` must live until the last answer was added. */
void holders_init(struct holders *holders, const char *prefix, unsigned masters, unsigned quorum);
void holders_clear(struct holders *holders);

/*
 * What `master` says of a key: {key, fence, 'string', owner, ms} or {..., owner,
 * ms, version, data} for an exclusive lock, {key, fence, 'zset', owner, ms,
 * owner, ms...} for a shared one. `key` NULL: any key.
 */
void holders_add(struct holders *holders, unsigned master, const struct value *found, const char *key);

/* Each that is named is named by a quorum, or nobody is named. */
bool holders_agree(const struct holders *holders);

/* Sorted by name, then owner. `each` may be NULL. The number that were told. Nothing can be added after. */
int holders_tell(struct holders *holders, unsigned unheard, dlock_holder_fn *each, void *arg);

#endif
