/*
 * ranges.h - who on this host holds which bytes of a file, and who waits for them.
 *
 * Owns: the locks of one kind (fcntl's ranges, or flock's whole files) that the
 * programs of this mount hold under one path, the requests that wait for them, and
 * the graph of who waits for whom, over all paths.
 * Must never: do I/O, read a clock, or know the fleet: a request that nothing here
 * stands in the way of is a candidate, and whether it is granted is the caller's
 * matter.
 *
 * The rules are those of fcntl(2) and flock(2) on a local file system of Linux:
 *
 *  1. Two locks conflict if they have a byte in common, different owners, and one of
 *     them is exclusive. Requests that wait keep nobody out.
 *  2. An owner has one lock on a byte: what it takes replaces what it had there, and
 *     what is left of that, at either end, stays.
 *  3. Neighbouring bytes with the same lock are one range. (Not where they were taken
 *     through different handles: a handle that is closed takes its own with it. They
 *     are told as one all the same.)
 *  4. Who waits is served in the order of asking, each as soon as nothing that is held
 *     stands in its way.
 *  5. A process is not let to wait for somebody who waits, by however many steps, for
 *     that process.
 *
 * A file that was removed and made anew has the same path and another identity: their
 * locks exclude each other, as they do seen from another host, and a process that has
 * both open is another owner in each.
 */
#ifndef DLOCKFS_RANGES_H
#define DLOCKFS_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANGE_END INT64_MAX /* the last byte that a file can have */

/* What the locks and waits of one file have in common. */
struct range_file {
	size_t uses; /* how many there are */
};

/* A lock that is held or asked for. */
struct range {
	int64_t start, end; /* both belong to it */
	bool exclusive;
	uint64_t owner;     /* as the kernel numbers processes and open files */
	struct range_file *file;
	void *handle;       /* through which it was taken */
	int64_t pid;        /* of the process that took it */
	uint64_t pid_since; /* tells that process from a later one of the same number */
};

struct range_wait;

struct range_list {
	struct range_wait *first, *last;
};

struct range_held {
	struct range range;
	struct range_held *next, *previous; /* by start */
	struct range_list waits; /* those that it was last found to be in the way of */
};

#define RANGE_GRAPH_SIZE 512

/* What all paths of a mount share. */
struct range_graph {
	uint64_t ticket; /* the youngest */
	uint64_t search;
	struct range_wait *waiting[RANGE_GRAPH_SIZE]; /* by owner */
	/* Whether it is a process that waits: an open file is no party to a deadlock, because whoever has it
	 * open may unlock it. Asked only when it matters; NULL: they all are. */
	bool (*is_process)(const struct range_wait *wait);
};

struct ranges {
	struct range_graph *graph;
	bool detects;             /* rule 5 holds: ranges, not flock */
	struct range_held *first; /* by start */
	size_t count, exclusive;  /* of the locks that are held */
	struct range_list candidates;
};

/* A request that waits; part of what the caller remembers of it. */
struct range_wait {
	struct range range;
	struct ranges *ranges;
	uint64_t ticket;
	struct range_wait *next, *previous;
	struct range_list *list; /* where it is: a candidate, or in the way of a lock */
	struct range_wait *next_of_owner, **link; /* in the graph */
	struct range_wait *next_found;            /* of one search */
	uint64_t search;
};

void ranges_init(struct ranges *ranges, struct range_graph *graph, bool detects);

/* ---- what is held ---- */

/* Whether a lock that is held is in the way: the one that begins first, as fcntl(F_GETLK) tells it. */
bool ranges_test(const struct ranges *ranges, const struct range *wanted, struct range *ret);

/* Whether the owner has a lock of that kind on any byte of the range. */
bool ranges_has(const struct ranges *ranges, const struct range *range, bool exclusive);

/* Takes what nothing is in the way of. 0 or -ENOMEM, and nothing has changed. */
int ranges_set(struct ranges *ranges, const struct range *range);

/* Gives back what the owner has in the range. 0 or -ENOMEM, and nothing has changed. */
int ranges_unset(struct ranges *ranges, const struct range *range);

/* Everything that an owner has in a file; that was taken through a handle; at all. Whether there was any. */
bool ranges_drop_owner(struct ranges *ranges, const struct range_file *file, uint64_t owner);
bool ranges_drop_handle(struct ranges *ranges, const void *handle);
bool ranges_drop_all(struct ranges *ranges);

/* ---- who waits ---- */

/* It becomes the youngest candidate; its `range` is set. */
void ranges_wait(struct ranges *ranges, struct range_wait *wait);

/* The oldest candidate, and the next; NULL: none. */
struct range_wait *ranges_first(const struct ranges *ranges);
struct range_wait *ranges_next(const struct range_wait *wait);

/* Looks again at a candidate: 0: nothing is in its way; -EAGAIN: a lock is, and it is a candidate again when that has
 * changed; -EDEADLK: one is, and it would be in the way for ever: it must leave. */
int ranges_weigh(struct range_wait *wait);

/* A candidate that nothing is in the way of has the lock now, and waits no more. 0 or -ENOMEM: it still waits. */
int ranges_grant(struct range_wait *wait);

void ranges_leave(struct range_wait *wait);

#endif
