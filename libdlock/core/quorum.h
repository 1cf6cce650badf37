/*
 * quorum.h - the masters as this client sees them.
 *
 * Owns: which masters may vote and why the others may not, the estimate of
 * their clocks, and the identity of the cluster.
 * Must never: know a connection, a clock, or what a lock is.
 *
 * Rules (docs/protocol.md tells them at length):
 *  1. A master votes only if it is a master, is not loading, is new enough,
 *     evicts no keys, and is the only one of the configured with its run id.
 *  2. A master votes only under the epoch that names this incarnation
 *     (run id and replication id). One that carries no such epoch has
 *     forgotten: it is introduced, and waits out the longest lease (M), unless
 *     it had been marked durable and has not been promoted from a replica.
 *  3. A master votes only in the cluster that a majority of this client's
 *     masters belongs to. A new cluster takes the fingerprint of the list as
 *     its id, so that clients that race agree. A master of another cluster, of
 *     another number of masters or of another M is refused by name: two
 *     clients with lists that differ can never have disjoint majorities.
 *  4. A master whose clock moved by more than clocks may drift (1 % and 2 ms) in
 *     the time since it was seen last, in the shortest lease at least and in M at
 *     most, or stands off the median by more than in M, does not vote until its
 *     clock was seen stable for M.
 *  5. A master that leaves requests unanswered, or answers so late that it would be as good, is not asked anew.
 */
#ifndef DLOCK_QUORUM_H
#define DLOCK_QUORUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/effect.h"

#define INCARNATION_MAX 144
#define CLUSTER_ID_SIZE 17

enum standing {
	STANDING_UNREACHED,   /* no connection */
	STANDING_ASKED,       /* connected, not known yet */
	STANDING_REFUSED,     /* may not vote; `reason` says why */
	STANDING_QUARANTINED, /* rule 2 */
	STANDING_VOTING,
};

enum reason {
	REASON_NONE,
	REASON_UNKNOWN,    /* INFO is not permitted or was not understood */
	REASON_ROLE,
	REASON_LOADING,
	REASON_VERSION,
	REASON_EVICTION,
	REASON_DUPLICATE,  /* rule 1; `other` is the first master of that run id */
	REASON_CLUSTER,    /* rule 3: of another cluster */
	REASON_COUNT,      /* rule 3: of another number of masters */
	REASON_MAX_TTL,    /* rule 3: of another M than configured */
	REASON_UNDECIDED,  /* rule 3: no cluster has a majority */
	REASON_SKEW,       /* M is not above 2 S + 2 skew */
	REASON_CLOCK,      /* rule 4 */
};

/* What a master said of itself when it was connected. */
struct introduction {
	bool info_known, is_master, loading, was_replica, evicts;
	bool always_known, always;
	bool kill_permitted;
	unsigned version; /* 70015 */
	char incarnation[INCARNATION_MAX]; /* run id, ':', replication id */
	size_t run_id_length;              /* of it, the run id */
};

/* The reply to V, I and N. */
struct view {
	char epoch[EPOCH_MAX];
	int64_t quarantine_ms;
	bool has_cluster, cluster_understood;
	char cluster_id[CLUSTER_ID_SIZE];
	unsigned cluster_count;
	int64_t max_ttl_ms;
	int64_t fences; /* locks that it remembers */
};

struct master {
	enum standing standing;
	enum reason reason;
	unsigned other;          /* REASON_DUPLICATE */
	bool connected, viewed, asked, tried;
	struct introduction introduction;
	struct view view;
	int64_t quarantined_until_us;
	int64_t probe_at_us;     /* when to look again */
	/* clock: master's minus ours, as an interval that must contain it */
	bool clock_known;
	int64_t offset_low_us, offset_high_us, offset_us, best_rtt_us;
	int64_t clock_seen_us;    /* when it was observed last */
	int64_t stable_since_us; /* rule 4 */
	bool clock_moved;
	int64_t heard_sent_us, heard_master_us; /* the last answer that told the clock: when it was asked for, and the clock */
	bool listening;          /* its grants are heard */
	/* rule 5 */
	unsigned unanswered;
	int64_t silent_since_us;
	int64_t lag_us; /* how late its last answer was, if others are still to come */
};

struct quorum_settings {
	unsigned count;              /* N */
	int64_t ttl_us;              /* the longest lease plus lock_delay asked for so far */
	int64_t max_ttl_us;          /* M if configured, else 0 */
	int64_t node_timeout_us;
	bool quarantine;
	char fingerprint[CLUSTER_ID_SIZE];
	char tags[SERVERS_MAX][CLUSTER_ID_SIZE]; /* of each master: the fingerprint of its address */
	char channel[64];            /* where this client hears its grants; "": nowhere */
};

struct quorum {
	struct quorum_settings settings;
	unsigned majority;           /* q = N/2+1 */
	int64_t shortest_us;         /* the shortest lease asked for so far */
	bool decided;                /* rule 3 */
	char cluster_id[CLUSTER_ID_SIZE];
	int64_t lease_limit_us;      /* the smallest M seen: no lease may be longer */
	int64_t quarantine_us;       /* the largest M seen: what a quarantine lasts */
	int64_t last_ticket_us;
	unsigned voting;
	bool listens;                /* some lock has wanted grants */
	unsigned waiters;            /* locks of this process that wait for a holder */
	struct master masters[SERVERS_MAX];
};

void quorum_init(struct quorum *quorum, const struct quorum_settings *settings);

/* The fingerprint of a list of addresses: the same in any order. */
void quorum_fingerprint(char out[CLUSTER_ID_SIZE], const char *const *addresses, size_t count);

/* Events. Each ends with a new judgement of all masters. The masters that began
 * or ceased to vote are the difference of quorum_voters() before and after. */
void quorum_connected(struct quorum *quorum, unsigned index, const struct introduction *introduction, int64_t now_us,
                      struct effects *effects);
void quorum_disconnected(struct quorum *quorum, unsigned index, int64_t now_us, struct effects *effects);
/* The answer to V, I or N; `view` NULL: it was refused or lost. */
void quorum_viewed(struct quorum *quorum, unsigned index, const struct view *view, int64_t now_us,
                   struct effects *effects);
void quorum_tick(struct quorum *quorum, int64_t now_us, struct effects *effects);
int64_t quorum_next_us(const struct quorum *quorum, int64_t now_us);

/* An operator's word: these masters are a new cluster, of this client's list and M. */
void quorum_found(struct quorum *quorum);

/* A client with this lease uses the masters too. */
void quorum_ask_ttl(struct quorum *quorum, int64_t ttl_us, int64_t now_us, struct effects *effects);

/* Bookkeeping for rules 4 and 5: of every request sent and every answer. */
void quorum_sent(struct quorum *quorum, unsigned index, int64_t now_us);
void quorum_answered(struct quorum *quorum, unsigned index, int64_t sent_us, int64_t master_us, int64_t now_us);

/* The channel for grants of a master is heard, or not any more. */
void quorum_listening(struct quorum *quorum, unsigned index, bool listening);
/* Rule 4 for what a master has said without having been asked: no clock that has not stepped ahead can have said it
 * by now. */
bool quorum_clock_fits(const struct quorum *quorum, unsigned index, int64_t master_us, int64_t now_us);
/* Until when a vote is good that ends at `expiry_us` by the master's clock: counted from the last answer that told that
 * clock, never from the receipt of the vote. 0: never. */
int64_t quorum_until_us(const struct quorum *quorum, unsigned index, int64_t expiry_us);
/* Of all masters, as far as is known; 0: of none. */
int64_t quorum_longest_rtt_us(const struct quorum *quorum);
/* For how long who is handed a lock has it at first: time to learn of it, and to prolong it. */
int64_t quorum_offer_us(const struct quorum *quorum);

/* A bit a master. */
uint32_t quorum_voters(const struct quorum *quorum);
/* May be asked for a new vote: votes, and does not leave us waiting. */
bool quorum_askable(const struct quorum *quorum, unsigned index, int64_t now_us);
bool quorum_silent(const struct quorum *quorum, unsigned index, int64_t now_us);
/* Owes an answer for longer than that. (An answer to an earlier command, read late, begins the time anew.) */
bool quorum_owes(const struct quorum *quorum, unsigned index, int64_t for_us, int64_t now_us);
/* Nothing more is to be expected soon of any master that does not vote. */
bool quorum_settled(const struct quorum *quorum, int64_t now_us);

/* The median of the masters' clocks, µs since 1970; 0 when none is known. */
int64_t quorum_clock_us(const struct quorum *quorum, int64_t now_us);
int64_t quorum_median_offset_us(const struct quorum *quorum);
/* A ticket: the median clock, but above every ticket before. */
uint64_t quorum_ticket(struct quorum *quorum, int64_t now_us);

/* What to write as the cluster key. */
void quorum_cluster_text(const struct quorum *quorum, char *out, size_t size);
bool view_parse_cluster(struct view *view, const char *text, size_t length);

#endif
