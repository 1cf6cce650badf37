/*
 * fleet.h - the locks of files in flock mode: those of this mount's programs, and the
 * one lock of the fleet that keeps all other hosts out meanwhile.
 *
 * Owns: for each path that somebody locks, the locks of its programs (flock(2)'s and
 * fcntl(2)'s, which do not see each other), who waits, and the descriptor of the
 * fleet's lock, which is held as long as one of them needs it: exclusive while an
 * exclusive one is held, else shared.
 * Must never: wait, or answer a request (that is locking's).
 *
 *  1. A request is granted when nothing local is in its way and the fleet's lock is held
 *     in a mode that suffices. The fleet's lock is asked for on behalf of the oldest
 *     request that nothing local is in the way of.
 *  2. When the last local lock is gone and nobody waits, the fleet's lock is given back
 *     at once. While somebody waits it is handed on, but not for longer than BATCH: then
 *     it is given back, and not asked for again before the waiters of other mounts, who
 *     look from time to time, had a chance.
 *  3. Who has the fleet's lock shared and needs it exclusively tries again and again
 *     while other local locks rest on it; the library's own waiting would give the
 *     shared lock away under them.
 *  4. Without a quorum who waits waits on, for ever; who only tries is told ENOLCK.
 *  5. When the lease is lost all local locks of the path are gone, and their handles are
 *     told; who waits waits on, with a new descriptor.
 *  6. The lock's name is the path, since that is what other hosts know: two files of one
 *     path (the first was removed) exclude each other. What was removed together with its
 *     directory has no path any more and is locked on this host only. A name that this mount holds anyway (it was
 *     made by mkdir, O_EXCL and the like) keeps the others out by itself.
 */
#ifndef DLOCKFS_FLEET_H
#define DLOCKFS_FLEET_H

#include "ranges.h"
#include "serve.h"

enum fleet_kind { FLEET_FLOCK, FLEET_RANGES };
#define FLEET_KINDS 2

struct fleet;

/* A node's part in it, from its first lock or wait to its last. */
struct fleet_file {
	struct range_file range;
	struct node *node;
	struct fleet *fleet;
	struct fleet_file *next;
};

/* A request for a lock, until it has ended. */
struct claim {
	struct range_wait wait;
	struct fleet *fleet;
	bool tries;         /* LOCK_NB: it is answered soon */
	bool queued;        /* somebody waited already when it came */
	int64_t since_us;   /* when it came */
	struct alarm alarm; /* tries: then, at the latest */
	/* 0: granted; EWOULDBLOCK, EDEADLK, ENOLCK. Nothing here knows the claim any more. */
	void (*end)(struct claim *claim, int error);
};

/* Somebody who is answered when the masters know what was given back, or after op_timeout. */
struct settler {
	struct fleet *fleet;
	struct settler *next, **link;
	struct alarm alarm;
	void (*end)(struct settler *settler);
};

/* `lost` is told of each local lock that is gone with the lease. 0 or -errno. */
int fleets_open(struct daemon *daemon, void (*lost)(struct daemon *daemon, const struct range *range),
                bool (*is_process)(const struct range_wait *wait));
/* Everything ends now: what waits is told ENOLCK. */
void fleets_close(struct daemon *daemon);
/* The same, but every lock is given back first; `moving` of the daemon counts those that are not yet. */
void fleets_give_all_back(struct daemon *daemon);
/* The daemon's settings are others: whatever is asked for from now on is asked with these. */
void fleets_settings_changed(struct daemon *daemon);

/* The part of a node, made if there is none; NULL: out of memory. Each of the calls below may end it, when there are no
 * locks and waits; who makes none of them leaves. */
struct fleet_file *fleet_enter(struct daemon *daemon, struct node *node);
void fleet_leave(struct fleet_file *file);

/* Asks for claim->wait.range, of which `file` and the owner are set; may end at once. */
void fleet_claim(struct fleet_file *file, enum fleet_kind kind, struct claim *claim);
/* Who asked has no time any more: a try on its behalf that is under way decides, and it ends within a moment. False: there
 * is none, and the claim is as it was. (Signals that come faster than masters answer would let nobody ever succeed.) */
bool fleet_hurry(struct claim *claim);
/* It waits no more; its end is not told. */
void fleet_withdraw(struct claim *claim);

/* The owner gives back what it has in the range. 0 or -ENOMEM, and then `settler` is not told. */
int fleet_unlock(struct fleet_file *file, enum fleet_kind kind, const struct range *range, struct settler *settler);
/* The same without waiting for the masters: all that an owner or a handle has, in either kind. */
void fleet_drop_owner(struct fleet_file *file, uint64_t owner);
void fleet_drop_handle(struct fleet_file *file, const void *handle);
/* flock(2) gives a shared lock away before it waits for the exclusive one; a claim follows at once. */
void fleet_drop_before_claim(struct fleet_file *file, const void *handle);

/* Tells the settler when nothing is to be given back any more: perhaps at once. */
void fleet_settle(struct fleet *fleet, struct settler *settler);
/* The same for the end of a claim, within which nothing else here may be called. */
void fleet_settle_next(struct fleet_file *file, struct settler *settler);

/* What is there: */
const struct ranges *fleet_ranges(const struct fleet *fleet, enum fleet_kind kind);
/* the mode in which this mount has it: LOCK_EX, LOCK_SH (then others may have it shared, too), 0; */
int fleet_mode(const struct fleet *fleet);
/* the lock's name; NULL: only this host knows the file. */
const char *fleet_name(const struct fleet *fleet);

#endif
