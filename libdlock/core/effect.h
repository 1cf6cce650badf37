/*
 * effect.h - what the core says to the world, and what the world answers.
 *
 * The core decides, the shell does: a step takes an event and the time, and
 * leaves effects here. Nothing in core/ does I/O, reads a clock, draws random
 * numbers or knows hiredis; time is CLOCK_BOOTTIME in microseconds and comes
 * in as `now_us`.
 */
#ifndef DLOCK_EFFECT_H
#define DLOCK_EFFECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h" /* SERVERS_MAX */

#define SKEW_US 2000000      /* S: the clock skew between masters that is accepted */
#define OFFER_MIN_US 1000000 /* for so long at least who is handed a lock has it; where A tells none, so long (dlock.lua) */
#define NEVER_US INT64_MAX
#define EPOCH_MAX 192

enum mode { MODE_NONE, MODE_SHARED, MODE_EXCLUSIVE };

/* The letters of dlock.lua. */
enum operation {
	OP_VIEW = 'V',
	OP_INTRODUCE = 'I',
	OP_INIT = 'N',
	OP_ACQUIRE = 'A',
	OP_POLL = 'P',
	OP_EXTEND = 'E',
	OP_RELEASE = 'R',
	OP_YIELD = 'Y',
};

enum repair { REPAIR_NO = '0', REPAIR_YES = '1', REPAIR_GUARDED = 'g' };

struct attempt;

/* One thing to ask one master. */
struct request {
	enum operation op;
	unsigned master;
	uint32_t serial;         /* of the attempt: its requests in the order sent */
	struct attempt *attempt; /* NULL: about the master, not about a lock */
	enum mode mode;
	enum repair repair;
	uint64_t fence;  /* A: proposal; E: the lock's fence; R: tombstone, 0 for none */
	uint64_t floor;  /* A, shared */
	bool queued;     /* A, P, Y, R: with the attempt's place in the queue */
	uint64_t next;   /* R, Y: the fence of who is handed the lock; 0: one above the fence that is there */
	int64_t offer_us; /* A, E, R, Y: for how long who is handed the lock has it at first; 0: nobody is handed it */
	uint64_t version; /* A, E, exclusive: of what travels with the lock; 0: nothing */
	bool bytes;       /* A, E: and these as well, not only their version */
	bool unload;      /* R; E, shared: data of this token may be there */
	int64_t ttl_us;  /* A, E: how long the key lives */
	int64_t sent_us; /* when the core decided to send it */
};

/* The codes of dlock.lua, and the shell's own for what was no reply of it. */
enum code {
	CODE_BUSY = 0,
	CODE_YES = 1,         /* taken, extended, released */
	CODE_OUTBID = 2,      /* the key is mine, but the fence is above my proposal */
	CODE_REPAIRED = 3,
	CODE_BARE = 4,        /* E: not repaired, since the bytes that travel with the lock were not sent along */
	CODE_FREE = 5,        /* P: an A would be answered by something else than "held" */
	CODE_MINE = 6,        /* P: it was taken, or handed over, before */
	CODE_KEPT = 7,        /* A: as YES, and it was mine already; in an answer: YES, and `kept` */
	CODE_EPOCH = -1,      /* the master is not the one that we know */
	CODE_SKEWED = -2,     /* the proposal lies too far in the master's future */
	CODE_REJECTED = -3,   /* free, but the fence is above the proposal */
	CODE_NOT_CARRIED_OUT = -100, /* an error that says so: NOSCRIPT */
	CODE_ERROR = -101,           /* any other error */
	CODE_BROKEN = -102,          /* the connection ended first */
	CODE_REFUSED = -103,         /* an error that says that nothing was carried out, nor would be if asked again now */
};

#define HOLDER_MAX 192

struct answer {
	int code;
	bool kept;         /* YES to A: the key was mine already */
	int64_t master_us; /* the master's clock; 0 when it did not tell */
	uint64_t fence;
	uint64_t version;         /* YES, REPAIRED to A, E: of the data that is there; 0: none */
	int64_t expiry_ms;        /* MINE: when it ends, by the master's clock */
	unsigned rank;            /* BUSY: the place in the queue, from 1 on; 0: none */
	int64_t pttl_ms;          /* BUSY: until the key there ends; -1: never */
	char holder[HOLDER_MAX];  /* BUSY: the token there, or "zset", "other", "none" */
	char ahead[HOLDER_MAX];   /* BUSY: the oldest token that is in the way */
};

/* What a master has told a waiter on its own: it has the lock there now. */
struct grant {
	uint64_t fence;
	int64_t master_us, expiry_ms; /* by the master's clock: when it was given, and when it ends */
	char epoch[EPOCH_MAX];        /* under which */
	char token[HOLDER_MAX];
};

enum effect_kind {
	EFFECT_SEND,      /* ask a master */
	EFFECT_DONE,      /* the call under way has ended with `error` */
	EFFECT_LOST,      /* the lease was lost */
	EFFECT_RECONNECT, /* the connection to `master` is of no use any more */
	EFFECT_LISTEN,    /* the grants of all masters are wanted from now on */
};

struct effect {
	enum effect_kind kind;
	union {
		struct request request; /* SEND */
		int error;              /* DONE: 0 or an errno */
		unsigned master;        /* RECONNECT */
	};
};

/* A step gives up all masters of one attempt and asks all for another, at most. */
#define EFFECTS_MAX (4 * SERVERS_MAX + 8)

struct effects {
	size_t count;
	struct effect list[EFFECTS_MAX];
};

#endif
