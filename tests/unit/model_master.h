/*
 * model_master.h - a master in C: what dlock.lua does, without a server.
 *
 * Owns: the keys of one model master, and its incarnation, clock and errors.
 * Must never: know the core's state, draw random numbers or read a clock; it
 * allocates nothing, so that copying the struct is a snapshot.
 *
 * How it works: a call holds the script's arguments, named; model_execute()
 * follows the script branch by branch, in its order, with the server's own
 * rules of expiry (a key is gone once the clock is past its expiry, a reader
 * as soon as it reaches it). tests/integration/stress_model.c holds it against real
 * servers. The simulator uses the same file.
 */
#ifndef DLOCK_TESTS_MODEL_MASTER_H
#define DLOCK_TESTS_MODEL_MASTER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/effect.h"
#include "core/quorum.h"
#include "token.h"

#define MODEL_KEYS 8
#define MODEL_READERS 16
#define MODEL_BROKEN 16
#define MODEL_WAITERS 32
#define MODEL_NAME_MAX 32
#define MODEL_BYTES_MAX 24
#define PLACE_MAX 320 /* of a member of the queue: mode:ttl ms:channel:token */
#define MODEL_FOREVER INT64_MAX /* the expiry of what has none */

/* The arguments of one call of the script. */
struct model_call {
	char operation; /* V I N A P Y E R B */
	char key[MODEL_NAME_MAX];
	char epoch[EPOCH_MAX];
	char token[TOKEN_MAX];
	char mode;        /* X S */
	int64_t ttl_ms;   /* A E; B: how long the mark lives */
	uint64_t number;  /* A: proposal; E: fence of the lock; R: tombstone */
	uint64_t floor;   /* A */
	char repair;      /* E */
	uint64_t version; /* A, E, exclusive: of what travels with the lock; 0: not told */
	bool has_bytes;   /* A, E: and these */
	char bytes[MODEL_BYTES_MAX];
	size_t size;
	bool unload;      /* R; E, shared: data of this token may be there */
	char place[PLACE_MAX]; /* A P Y R: in the queue; "": none */
	uint64_t ticket;  /* A P Y */
	int64_t offer_ms; /* A Y R E: for how long who waits gets it; 0: nobody is handed anything */
	uint64_t next;    /* Y R: what the fence becomes then */
	char incarnation[INCARNATION_MAX]; /* I N */
	char durable, believe;
	char tag[CLUSTER_ID_SIZE]; /* which master it is */
	char cluster[96];
	int64_t quarantine_ms;
};

enum model_error { MODEL_OK, MODEL_NOSCRIPT, MODEL_OOM, MODEL_READONLY, MODEL_BUSY, MODEL_LOADING };

struct model_reply {
	enum model_error error; /* else the rest */
	int code;
	bool kept; /* A, yes: it was there before */
	int64_t us;
	uint64_t fence;
	uint64_t version; /* A, E: of the data that is there */
	int64_t pttl_ms;
	char holder[TOKEN_MAX];
	unsigned rank;          /* A P, busy; Y: the place in the queue; 0: none */
	char ahead[HOLDER_MAX]; /* A P E, busy: the oldest that is in the way */
	int64_t expiry_ms;      /* P, mine: its end */
	int64_t count; /* R: 1 if it was there; B: how many were removed */
	/* V I N */
	char epoch[EPOCH_MAX];
	int64_t quarantine_ms;
	char cluster[96];
	int64_t fences;
};

enum model_kind { KIND_NONE, KIND_STRING, KIND_ZSET, KIND_OTHER };

struct model_reader {
	char token[TOKEN_MAX];
	int64_t expiry_ms;
};

struct model_key {
	char name[MODEL_NAME_MAX]; /* "": not used */
	enum model_kind kind;
	char token[TOKEN_MAX];     /* KIND_STRING; KIND_OTHER: the type's name */
	int64_t expiry_ms;         /* MODEL_FOREVER: none */
	struct model_reader readers[MODEL_READERS];
	unsigned reader_count;     /* KIND_OTHER: the number of its elements */
	bool foreign;              /* KIND_ZSET: others than the script have put members into it */
};

struct model_fence {
	char name[MODEL_NAME_MAX];
	bool known;
	uint64_t value;
};

/* The hash with what travels with a lock. */
struct model_cargo {
	char name[MODEL_NAME_MAX]; /* of the lock's key; "": not used */
	char token[TOKEN_MAX];
	uint64_t version;
	char bytes[MODEL_BYTES_MAX];
	size_t size;
	int64_t expiry_ms;
};

struct model_waiter {
	char member[PLACE_MAX];
	int64_t ticket;
};

/* Who waits for a lock, in order. */
struct model_queue {
	char name[MODEL_NAME_MAX]; /* of the lock's key; "": not used */
	struct model_waiter waiters[MODEL_WAITERS];
	unsigned count;
	int64_t expiry_ms;
};

/* An operator's mark on one token. */
struct model_mark {
	char token[TOKEN_MAX];
	int64_t expiry_ms;
};

/* What the server keeps. */
struct model_data {
	struct model_key keys[MODEL_KEYS];
	struct model_fence fences[MODEL_KEYS];
	struct model_cargo cargo[MODEL_KEYS];
	struct model_queue queues[MODEL_KEYS];
	struct model_mark marks[MODEL_BROKEN];
	char epoch[EPOCH_MAX];
	char cluster[96];
	int64_t quarantine_until_ms; /* 0: none; MODEL_FOREVER: set by hand, without an end */
};

/* What a waiter is told that is handed the lock. */
struct model_grant {
	uint64_t fence;
	int64_t us, expiry_ms;
	char epoch[EPOCH_MAX];
	char token[TOKEN_MAX];
};

struct model_master {
	struct model_data data;
	/* A message to a channel; without a grant an empty one, which only asks. Whether anybody listens there;
	 * without this function nobody does. */
	bool (*publish)(void *context, struct model_master *master, const char *channel, const struct model_grant *grant);
	void *publish_context;
	bool no_publish; /* it is forbidden to the script */
	int64_t clock_us; /* the master's clock minus the world's */
	char incarnation[INCARNATION_MAX];
	unsigned starts;
	unsigned number;
	bool script_loaded, out_of_memory, read_only;
	bool busy;    /* another script runs for too long */
	bool loading;
	bool always_known, always, was_replica; /* as INFO and CONFIG tell */
};

/* What A takes for granted where it is told nothing else: no floor, no place, no data, the ticket with which the token
 * begins, and this offer. */
#define PLAIN_OFFER_MS (OFFER_MIN_US / 1000)
bool model_call_is_plain(const struct model_call *call);

/* A server that has just been installed. */
void model_start(struct model_master *master, unsigned number);
/* Its process ends and starts again, with its data or without. */
void model_restart(struct model_master *master, bool keep);
/* A replica of it, with all of its data, takes over behind the same address. */
void model_promote(struct model_master *master);
/* FLUSHALL */
void model_flush(struct model_master *master);
/* FLUSHALL of one lock's key alone: a vote is lost, the fence stays, and so does what travelled with it. */
void model_delete(struct model_master *master, const char *key);
/* And of that alone. */
void model_delete_cargo(struct model_master *master, const char *key);
/* A foreign client's SET key value PX ttl. */
void model_set_foreign(struct model_master *master, const char *key, const char *value, int64_t ttl_ms,
                       int64_t world_us);

/* For model_foreign.c: a queue, whether or not its expiry has passed; NULL: none. `make`: then an empty one. */
struct model_queue *model_find_queue(struct model_data *data, const char *name, bool make);
/* ZADD; false: it was there, with this ticket now unless `only_new`. */
bool model_put_waiter(struct model_queue *queue, const char *member, int64_t ticket, bool only_new);
/* The place of a key, whether or not its expiry has passed; NULL: none. */
struct model_key *model_key(struct model_data *data, const char *name);
/* An empty place for it: what was there is gone. */
struct model_key *model_new_key(struct model_data *data, const char *name);

/* The script's settle() at a lock's key. False: it would have to write, and the master is read-only. */
bool model_settle(struct model_master *master, const char *key, int64_t world_us, enum model_kind *ret);

void model_execute(struct model_master *master, const struct model_call *call, int64_t world_us,
                   struct model_reply *reply);

/* Whether `token`, or with NULL anybody, is at `key` now. */
bool model_holds(const struct model_master *master, const char *key, const char *token, int64_t world_us);
/* The same of a token that is no foreigner's, and quickly: for checks at each step. */
bool model_carries(const struct model_master *master, const char *key, const char *token, int64_t world_us);
/* Whether clients that have looked count it: it carries an epoch of this incarnation, and is not in quarantine. */
bool model_may_vote(const struct model_master *master, int64_t world_us);
/* Whose exclusive lock is at `key` now; NULL: nobody's. */
const char *model_owner(const struct model_master *master, const char *key, int64_t world_us);
uint64_t model_fence(const struct model_master *master, const char *key);
/* Who waits for `key` now, in order, at most `max`: their number. The members live until the data is changed. */
unsigned model_queue(const struct model_master *master, const char *key, int64_t world_us, const char *members[],
                     unsigned max);
/* The hash that is there for a lock's key now, of whichever token; NULL: none. */
const struct model_cargo *model_cargo(const struct model_master *master, const char *key, int64_t world_us);

#endif
