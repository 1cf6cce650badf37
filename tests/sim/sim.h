/*
 * sim.h - the simulator: the real core, whatever may happen to it, and what must
 * hold all the same.
 *
 * Owns: runs. One 64-bit seed makes a plan, a list of actions of users and of
 * faults, each with its moment and a salt for its own details; a plan is run in a
 * world of model masters (core_fixture.h); the run is watched by the checks.
 * Must never: depend on anything but the plan. So a run replays exactly, and
 * an action that is left out leaves the others what they were: that is how a
 * failure is shrunk to the few actions that it needs.
 *
 * Modes:
 *   safety    all faults within the assumptions of docs/protocol.md: exclusion and
 *             the order of the tokens hold at every moment, and all comes to rest
 *   beyond    clocks step as they like and run at any rate, quarantines may be
 *             off, disks lie: only the order of the tokens must hold, and of that,
 *             once a master has lost its memory, what the two conditions of
 *             docs/protocol.md leave
 *   liveness  the faults stop, and everybody who waits gets the lock in time
 *   fair      nothing but users, and a network that delays: nobody is overtaken by who came later, nor waits
 *             for what nobody has, and nothing is lost
 *   no-quarantine, stepping, lying
 *             one of the conditions is broken, by design: the order of the tokens must break
 *             in some run, or the condition would not be needed
 */
#ifndef DLOCK_TESTS_SIM_H
#define DLOCK_TESTS_SIM_H

#include "../unit/core_fixture.h"

enum sim_mode { SIM_SAFETY, SIM_BEYOND, SIM_LIVENESS, SIM_FAIR, SIM_NO_QUARANTINE, SIM_STEPPING, SIM_LYING, SIM_MODES };

#define SIM_M_US (10 * SECONDS) /* max_ttl */
#define PLAN_MAX 256
#define SIM_CLIENTS 3
#define SIM_PARTIES 2 /* of each client */
#define SIM_KEYS 2
#define GRANTS_MAX 1024

enum what {
	/* Before anything runs. */
	SET_CLOCK, SET_MASTER_RATE, SET_CLIENT_RATE, SET_DURABLE, SET_NO_KILL, SET_VIRGIN, SET_JITTER, SET_TTL,
	SET_DELAY_LOCK, SET_LIST, SET_MAX_TTL, SET_NO_QUARANTINE, SET_ECHOES, SET_NO_GRANTS,
	/* Users. */
	USE_LOCK, USE_UNLOCK, USE_VERIFY, USE_DATA, USE_SIGNAL, USE_CLOSE,
	CLIENT_KILL, CLIENT_START, CLIENT_PAUSE, CLIENT_GO_ON, FOREIGN_LOCK, FOREIGN_UNLOCK,
	/* The network. */
	NET_BREAK, NET_HOLD, NET_ONE_WAY, NET_DELAY, NET_LATE, NET_PARTITION, NET_RING, NET_SWIZZLE,
	NET_UNSUBSCRIBE, NET_DEAF, NET_HEAL,
	/* Masters. */
	MASTER_STOP, MASTER_DOWN, MASTER_EMPTY, MASTER_KEPT, MASTER_SNAPSHOT, MASTER_RESTORED, MASTER_FLUSH,
	MASTER_PROMOTE, MASTER_COPY, MASTER_READONLY, MASTER_NOSCRIPT, MASTER_OOM, MASTER_BUSY, MASTER_LOADING, MASTER_STEP,
	MASTER_LIE, MASTER_DELETE, MASTER_HEAL,
	WHATS
};

struct action {
	enum what what;
	int64_t at_us; /* since the run began */
	uint64_t salt;
};

struct plan {
	enum sim_mode mode;
	uint64_t seed;
	unsigned masters, clients;
	bool two_keys;
	unsigned count;
	struct action actions[PLAN_MAX];
	bool left_out[PLAN_MAX]; /* by the shrinker */
};

struct sim_totals {
	unsigned long seeds, steps, calls, grants, faults, losses, loads;
	int64_t longest_wait_us; /* liveness: after the faults have stopped */
};

struct verdict {
	const char *violation; /* NULL: none */
	int64_t at_us;
	uint64_t fingerprint;
};

/* plan.c */
struct chance {
	uint64_t state;
};
uint64_t chance_draw(struct chance *chance, uint64_t below);
struct chance chance_from(uint64_t seed);
void plan_make(struct plan *plan, enum sim_mode mode, uint64_t seed);
bool plan_has(const struct plan *plan, enum what what);
extern const char *const mode_names[SIM_MODES];
/* Whether only the order of the tokens has to hold. */
bool mode_is_beyond(enum sim_mode mode);

/* run.c: what the actions and the checks share. */
struct later; /* something of the simulator's own that is due at a moment */

struct holding {
	uint64_t token;
	int64_t claimed_us;
};

struct history {
	unsigned count;
	struct holding grants[GRANTS_MAX];
	uint64_t highest, highest_exclusive;
};

struct seat {
	struct party *party; /* NULL: closed */
	unsigned key;
	char attempt[TOKEN_MAX]; /* of the lock that was granted last */
	uint64_t token;
	int64_t claimed_us;
	bool promises;           /* the call under way ends with a majority that has its data */
	uint64_t promised;
	int64_t waits_since_us;  /* liveness: NEVER_US: it does not wait */
	int64_t verifies_since_us; /* NEVER_US: it does not verify */
	int64_t in_line_us;      /* fair: since when its call is in the queue, or has the lock, at a majority; NEVER_US: it is not */
	int64_t asked_us;        /* fair: since when its call has reached some master */
	uint64_t ticket;         /* fair: of that call */
	enum mode wants;
	unsigned losses;         /* fair: of its party, as last seen */
	bool lapsed;             /* the lock that was granted last was seen when its time was over */
	unsigned fewest, fewest_when_asked; /* masters that had it at any time since the grant; until a proof was asked for */
};

struct foreigner {
	char value[16];
	unsigned count;      /* locks so far */
	bool asking, holds;
	unsigned got;
	int64_t began_us, until_us;
};

#define LATERS_MAX 64
enum later_what { LATER_FOREIGN_SET, LATER_FOREIGN_COUNT, LATER_FOREIGN_DEL, LATER_HOLD, LATER_LET, LATER_UNLOCK, LATER_LOCK, LATER_VERIFY, LATER_CUT, LATER_LATE };
struct later {
	enum later_what what;
	int64_t at_us;
	unsigned a, b;
};

#define RELEASED_MAX 64
struct released {
	unsigned master;
	char token[TOKEN_MAX];
};

/* What a master was last seen to have of what travels with a lock. */
struct loaded {
	char token[TOKEN_MAX]; /* "": nothing */
	uint64_t version;
	int64_t expiry_ms;     /* by the master's clock */
};

/* What a request has set or prolonged on a master, and until when by its own clock. */
#define LIVES_MAX 64
struct life {
	unsigned master, key;
	char token[TOKEN_MAX];
	int64_t until_ms;
	uint64_t fence; /* of the lock */
	unsigned steps; /* of the master's clock until then */
};

struct sim {
	const struct plan *plan;
	struct world *world;
	struct chance chance; /* of the network */
	struct seat seats[SIM_CLIENTS][SIM_PARTIES];
	struct history histories[SIM_KEYS];
	int64_t free_since_us[SIM_KEYS]; /* fair: since when nobody has it, and somebody is in line */
	struct foreigner foreigner;
	struct model_data *snapshots[WORLD_MASTERS]; /* NULL: none */
	bool has_forgotten[WORLD_MASTERS];
	unsigned stepped[WORLD_MASTERS]; /* how often its clock has stepped */
	bool forgot;        /* some master has lost memory */
	/* A condition of the order of the tokens is broken ("Fencing tokens"): a master votes that has forgotten and has
	 * not waited, whose clock has stepped as well, or that has not kept what it says to have kept. */
	bool broken;
	bool foreign_is_off;
	unsigned later_count;
	struct later laters[LATERS_MAX];
	struct loaded loaded[WORLD_MASTERS][SIM_KEYS];
	unsigned released_count;
	struct released released[RELEASED_MAX];
	unsigned life_count;
	struct life lives[LIVES_MAX];
	const char *violation;
	int64_t start_us;
	struct sim_totals totals;
};

extern const char *const key_names[SIM_KEYS];
int64_t sim_us(const struct sim *sim);
void sim_later(struct sim *sim, enum later_what what, int64_t after_us, unsigned a, unsigned b);
void sim_open(struct sim *sim, unsigned client, unsigned index);
void sim_connect(struct sim *sim, struct client *client);
void sim_heal(struct sim *sim);
void sim_add_totals(struct sim_totals *sum, const struct sim_totals *one);
struct verdict sim_run(struct world *world, const struct plan *plan, struct sim_totals *totals, bool tell);

/* actions.c */
void sim_set(struct sim *sim, const struct action *action, struct client_settings settings[SIM_CLIENTS]);
void sim_act(struct sim *sim, const struct action *action);
void sim_act_later(struct sim *sim, const struct later *later);
bool what_is_fault(enum what what);

/* checks.c */
#define ORDER_BROKEN "a token is not above those that were claimed before it was asked for"
void sim_violated(struct sim *sim, const char *what);
/* Whether the clock of any master has stepped. */
bool sim_any_stepped(const struct sim *sim);
void check_begin(struct sim *sim);
void check_forgot(struct sim *sim, unsigned master);
void check_given_back(struct sim *sim);
void check_end(struct sim *sim);

/* majority.c */
void check_majority(struct sim *sim, struct seat *seat);
void check_majority_fence(struct sim *sim, struct seat *seat);
void majority_ask_proof(struct seat *seat);
void check_majority_proof(struct sim *sim, const struct seat *seat);
void check_lives(struct sim *sim, unsigned master, const struct model_call *call, const struct model_reply *reply);
void majority_handed(struct world *world, unsigned master, const char *key, const struct model_grant *grant, void *context);

/* fair.c */
void check_lines(struct sim *sim);
void check_turn(struct sim *sim, const struct seat *seat);
void note_asked(struct sim *sim, const struct model_call *call);

/* shrink.c */
void sim_shrink(struct world *world, struct plan *plan, const char *violation);

#endif
