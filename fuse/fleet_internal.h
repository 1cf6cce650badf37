/*
 * fleet_internal.h - what the two halves of fleet share: the local locks and who waits
 * (fleet.c), and the lock of the fleet (fleet_lock.c).
 */
#ifndef DLOCKFS_FLEET_INTERNAL_H
#define DLOCKFS_FLEET_INTERNAL_H

#include "fleet.h"

/* What the library is doing with the descriptor. */
enum fleet_call {
	FLEET_QUIET,
	FLEET_TRYING,    /* asks once, whoever wants it: the answer tells whether others have it */
	FLEET_WAITING,   /* asks until it is granted */
	FLEET_RAISING,   /* from shared to exclusive, once; the shared lock stays in any case */
	FLEET_LOWERING,  /* from exclusive to shared */
	FLEET_RELEASING,
};

struct fleet {
	struct source source;
	struct daemon *daemon;
	char *name; /* NULL: only this host knows the file */
	struct fleet_file *files;
	struct ranges ranges[FLEET_KINDS];
	unsigned tries; /* claims that only try */
	struct settler *settlers;
	struct fleet *next, *previous; /* idle, or without a name */

	int fd;                /* of the fleet's lock; -1: none */
	int held;              /* 0, LOCK_SH, LOCK_EX: each more than the one before */
	enum fleet_call call;
	int wanted;            /* its mode */
	struct alarm alarm;    /* when to go on; while releasing: when that has lasted too long */
	bool outdated;         /* the descriptor was opened with earlier settings */
	bool moving;           /* counted by the daemon */
	bool again;            /* something has changed within the step */
	bool no_quorum;        /* the last that was heard */
	bool unconfirmed;      /* given back, as far as is known, by fewer than a majority of the masters */
	bool tried;            /* in vain: from now on it is waited for */
	bool handed_on;        /* something was granted since it is held */
	bool yields;           /* it is given back for the sake of others */
	int64_t held_since_us; /* granted by the masters */
	int64_t free_since_us; /* given back; 0: never was held */
	int64_t busy_since_us; /* taken after others had a chance */
	int64_t rivals_us;     /* another host had it, as was last seen */
	int64_t not_before_us; /* do not ask, whoever wants it */
	int64_t retry_us;      /* do not ask on behalf of those who wait */
	int64_t cancelled_us;  /* what was asked for may still be on its way back */
	int64_t idle_since_us;
};

struct fleets {
	void *named;           /* tsearch(3) */
	struct fleet *nameless;
	struct fleet *idle, *last_idle; /* the youngest first */
	unsigned idle_count;
	struct alarm idle_alarm;
	struct daemon *daemon;
	struct range_graph graph;
	void (*lost)(struct daemon *daemon, const struct range *range);
};

/* ---- fleet.c ---- */

/* What the local locks need: 0, LOCK_SH, LOCK_EX. */
int fleet_need(const struct fleet *fleet);
/* The oldest that nothing local is in the way of; NULL: none. */
struct claim *fleet_first_claim(const struct fleet *fleet);
int claim_mode(const struct claim *claim);
void claim_end(struct claim *claim, int error);
/* Ends those that only try, and want `mode` or more. */
void fleet_refuse_tries(struct fleet *fleet, int mode, int error);
/* Ends all that wait for the fleet's lock. */
void fleet_refuse_all(struct fleet *fleet, int error);
/* Everything that follows from the state. */
void fleet_step(struct fleet *fleet);
/* Descriptors are scarce: closes what is kept in case it is needed again. */
void fleets_drop_idle(struct fleets *fleets, unsigned keep);

/* ---- fleet_lock.c ---- */

void fleet_lock_init(struct fleet *fleet);
/* Whether no other host has it in a mode against this one; and whether the time for handing it on is over. */
bool fleet_suffices(const struct fleet *fleet, int mode);
bool fleet_exhausted(const struct fleet *fleet);
/* Whether masters may still have what is not needed any more. */
bool fleet_owes(const struct fleet *fleet);
/* Looks whether the lease has just run out. */
void fleet_check_lease(struct fleet *fleet);
/* Asks for, changes, or gives back the fleet's lock, as the local locks need it. */
void fleet_lock_go_on(struct fleet *fleet);
void fleet_close(struct fleet *fleet);
/* No answer: as far as is known the masters are not there. */
bool fleet_has_no_quorum(const struct fleet *fleet);

#endif
