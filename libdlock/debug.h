/*
 * debug.h - lines on stderr for whoever sets DLOCK_DEBUG.
 *
 * Owns: the masks, and the form of a line: time stamp, pid, mask, text.
 * Must never: print when it was not asked to, print a secret, change errno, or
 * cost more than one load and one branch when the mask is off.
 *
 * A user's name, a password or an AUTH command must never be an argument:
 * servers are told by `address`, which holds neither.
 *
 * DLOCK_DEBUG is read once, with secure_getenv(): "node,wire", "all", or "help"
 * for the list.
 */
#ifndef DLOCK_DEBUG_H
#define DLOCK_DEBUG_H

#include <stdatomic.h>
#include <stdbool.h>

enum debug_mask {
	DEBUG_CONFIG = 1 << 0, /* where the settings came from */
	DEBUG_CORE = 1 << 1,   /* events and effects of the locks */
	DEBUG_NODE = 1 << 2,   /* connections to the masters */
	DEBUG_WIRE = 1 << 3,   /* commands and replies */
	DEBUG_KEEPER = 1 << 4, /* the thread, its timers and requests */
	DEBUG_HANDLE = 1 << 5, /* descriptors and public calls */
	DEBUG_GRANTS = 1 << 6, /* what masters hand over, and the connections for it */
	DEBUG_UNREAD = 1 << 7, /* not a mask: DLOCK_DEBUG was not read yet */
};

extern atomic_uint debug_masks; /* private to debug_on() */

bool debug_on_slow(enum debug_mask mask);
void debug_line(enum debug_mask mask, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether lines of `mask` are wanted; for text that is costly to make. */
#define debug_on(mask) \
	(__builtin_expect((atomic_load_explicit(&debug_masks, memory_order_relaxed) & \
	                   (unsigned)((mask) | DEBUG_UNREAD)) != 0, 0) && debug_on_slow(mask))

/* One line, printf-like, without a newline. The arguments are evaluated only
 * if it is wanted. */
#define debug_log(mask, ...) \
	do { \
		if (debug_on(mask)) \
			debug_line((mask), __VA_ARGS__); \
	} while (0)

#endif
