/* plan.c - from a seed to the list of what will happen. */
#include "sim.h"

#include <string.h>

const char *const mode_names[SIM_MODES] = {"safety", "beyond", "liveness", "fair", "no-quarantine", "stepping", "lying"};

bool mode_is_beyond(enum sim_mode mode)
{
	return mode != SIM_SAFETY && mode != SIM_LIVENESS && mode != SIM_FAIR;
}

/* splitmix64 makes seeds that follow one another unlike; xorshift64* goes on from there. */
struct chance chance_from(uint64_t seed)
{
	uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (struct chance){(z ^ z >> 31) | 1};
}

uint64_t chance_draw(struct chance *chance, uint64_t below)
{
	uint64_t x = chance->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	chance->state = x;
	return (x * UINT64_C(0x2545f4914f6cdd1d) >> 11) % below;
}

/* How often each action is taken, of all that a mode takes. */
struct weight {
	enum what what;
	unsigned safety, beyond, liveness;
};

static const struct weight weights[] = {
    {USE_LOCK, 460, 460, 460},
    {USE_UNLOCK, 220, 220, 120},
    {USE_VERIFY, 60, 60, 20},
    {USE_DATA, 90, 40, 30},
    {USE_SIGNAL, 50, 20, 30},
    {USE_CLOSE, 30, 20, 30},
    {CLIENT_KILL, 8, 14, 8},
    {CLIENT_START, 16, 28, 16},
    {CLIENT_PAUSE, 30, 10, 20},
    {CLIENT_GO_ON, 30, 20, 30},
    {FOREIGN_LOCK, 14, 0, 8},
    {FOREIGN_UNLOCK, 14, 0, 8},
    {NET_BREAK, 50, 30, 50},
    {NET_HOLD, 40, 20, 40},
    {NET_ONE_WAY, 24, 10, 24},
    {NET_DELAY, 40, 30, 40},
    {NET_LATE, 40, 40, 30},
    {NET_PARTITION, 14, 10, 14},
    {NET_RING, 6, 4, 6},
    {NET_SWIZZLE, 8, 4, 8},
    {NET_UNSUBSCRIBE, 16, 10, 16},
    {NET_DEAF, 10, 6, 10},
    {NET_HEAL, 50, 50, 30},
    {MASTER_STOP, 14, 10, 14},
    {MASTER_DOWN, 10, 10, 10},
    {MASTER_EMPTY, 9, 9, 9},
    {MASTER_KEPT, 9, 5, 9},
    {MASTER_SNAPSHOT, 12, 12, 12},
    {MASTER_RESTORED, 7, 7, 7},
    {MASTER_FLUSH, 7, 7, 7},
    {MASTER_PROMOTE, 7, 7, 7},
    {MASTER_COPY, 5, 5, 5},
    {MASTER_READONLY, 6, 3, 6},
    {MASTER_NOSCRIPT, 9, 4, 9},
    {MASTER_OOM, 9, 4, 9},
    {MASTER_BUSY, 7, 3, 7},
    {MASTER_LOADING, 5, 3, 5},
    {MASTER_STEP, 24, 80, 8},
    {MASTER_LIE, 0, 10, 0},
    {MASTER_DELETE, 0, 20, 0},
    {MASTER_HEAL, 60, 40, 40},
};

/* Users, and a network that delays: a signal and a close are no faults. */
static unsigned weight_in_fair(enum what what)
{
	switch (what) {
	case USE_LOCK: return 500;
	case USE_UNLOCK: return 400;
	case USE_SIGNAL: return 20;
	case USE_CLOSE: return 10;
	default: return 0;
	}
}

static unsigned weight_of(const struct weight *weight, enum sim_mode mode)
{
	if (mode == SIM_FAIR)
		return weight_in_fair(weight->what);
	return mode == SIM_SAFETY ? weight->safety : mode == SIM_LIVENESS ? weight->liveness : weight->beyond;
}

/* In half of the runs no master loses its memory, and in half of them no clock steps: there more must hold. */
static bool may_happen(const struct plan *plan, enum what what, bool forgets, bool steps)
{
	switch (what) {
	case MASTER_STEP:
		return plan->mode == SIM_BEYOND || !mode_is_beyond(plan->mode) ? steps : plan->mode == SIM_STEPPING;
	case MASTER_LIE:
		return forgets && (plan->mode == SIM_BEYOND || plan->mode == SIM_LYING);
	case MASTER_EMPTY:
	case MASTER_RESTORED:
	case MASTER_FLUSH:
	case MASTER_PROMOTE:
	case MASTER_COPY:
		return forgets;
	default:
		return true;
	}
}

static enum what draw_what(struct chance *chance, const struct plan *plan, bool forgets, bool steps)
{
	size_t count = sizeof(weights) / sizeof(weights[0]);
	unsigned sum = 0;
	uint64_t at;

	for (size_t i = 0; i < count; i++)
		sum += weight_of(&weights[i], plan->mode);
	for (;;) {
		at = chance_draw(chance, sum);
		for (size_t i = 0; i < count; i++) {
			unsigned weight = weight_of(&weights[i], plan->mode);

			if (at >= weight) {
				at -= weight;
				continue;
			}
			if (!may_happen(plan, weights[i].what, forgets, steps))
				break;
			return weights[i].what;
		}
	}
}

static void add(struct plan *plan, struct chance *chance, enum what what, int64_t at_us)
{
	if (plan->count < PLAN_MAX)
		plan->actions[plan->count++] = (struct action){what, at_us, chance_draw(chance, UINT64_C(1) << 52)};
}

/* One in `of` runs has it; several, if it is about one of several things. */
static void maybe(struct plan *plan, struct chance *chance, enum what what, unsigned of, unsigned times)
{
	if (chance_draw(chance, of) > 0)
		return;
	for (unsigned i = 0; i < times; i++)
		add(plan, chance, what, 0);
}

static void make_settings(struct plan *plan, struct chance *chance, bool forgets)
{
	bool beyond = mode_is_beyond(plan->mode), breaks = beyond && plan->mode != SIM_BEYOND;

	if (plan->mode == SIM_FAIR) {
		maybe(plan, chance, SET_CLOCK, 2, plan->masters);
		maybe(plan, chance, SET_CLIENT_RATE, 2, plan->clients);
		maybe(plan, chance, SET_JITTER, 2, plan->clients);
		maybe(plan, chance, SET_TTL, 3, plan->clients);
		maybe(plan, chance, SET_ECHOES, 4, 1);
		return;
	}
	maybe(plan, chance, SET_CLOCK, breaks ? 1 : 2, plan->masters);
	maybe(plan, chance, SET_MASTER_RATE, 2, plan->masters);
	maybe(plan, chance, SET_CLIENT_RATE, 2, plan->clients);
	maybe(plan, chance, SET_DURABLE, plan->mode == SIM_LYING ? 1 : 3, plan->masters);
	maybe(plan, chance, SET_NO_KILL, 3, 1);
	maybe(plan, chance, SET_JITTER, 2, plan->clients);
	maybe(plan, chance, SET_TTL, 3, plan->clients);
	maybe(plan, chance, SET_DELAY_LOCK, 10, 1);
	maybe(plan, chance, SET_VIRGIN, 12, 1);
	maybe(plan, chance, SET_ECHOES, 4, 1);
	maybe(plan, chance, SET_NO_GRANTS, 8, plan->clients);
	/* A master that has forgotten takes the first list that comes: docs/protocol.md, "What is not promised". */
	if (plan->mode == SIM_SAFETY && !forgets && !plan_has(plan, SET_VIRGIN)) {
		maybe(plan, chance, SET_LIST, 12, 1);
		maybe(plan, chance, SET_MAX_TTL, 16, 1);
	}
	if (plan->mode == SIM_BEYOND || plan->mode == SIM_NO_QUARANTINE)
		maybe(plan, chance, SET_NO_QUARANTINE, plan->mode == SIM_BEYOND ? 4 : 1, 1);
}

void plan_make(struct plan *plan, enum sim_mode mode, uint64_t seed)
{
	static const unsigned counts[] = {1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7};
	static const int64_t spans_us[] = {300, 300, 300, 2000, 2000, 6000, 6000, 20000, 20000, 80000};
	struct chance chance = chance_from(seed ^ (uint64_t)mode << 60);
	bool forgets, steps;
	unsigned actions;
	int64_t at_us = 0;
	enum what what;

	memset(plan, 0, sizeof(*plan));
	plan->mode = mode;
	plan->seed = seed;
	plan->masters = counts[chance_draw(&chance, sizeof(counts) / sizeof(counts[0]))];
	plan->clients = 2 + (unsigned)chance_draw(&chance, SIM_CLIENTS - 1);
	plan->two_keys = chance_draw(&chance, 8) == 0;
	forgets = chance_draw(&chance, 2) == 0 || (mode_is_beyond(mode) && mode != SIM_BEYOND);
	steps = chance_draw(&chance, 2) == 0;
	make_settings(plan, &chance, forgets);
	actions = 30 + (unsigned)chance_draw(&chance, 90);
	for (unsigned i = 0; i < actions; i++) {
		/* Now and then so long that a quarantine may end. */
		at_us += (int64_t)chance_draw(&chance, (uint64_t)(chance_draw(&chance, 200) ? spans_us[chance_draw(&chance, 10)]
		                                                                         : 14 * SECONDS));
		what = draw_what(&chance, plan, forgets, steps);
		add(plan, &chance, what, at_us);
		/* Now and then it has waited out its quarantine when the next thing happens. */
		if (what >= MASTER_EMPTY && what <= MASTER_COPY && chance_draw(&chance, 6) == 0)
			at_us += SIM_M_US + (int64_t)chance_draw(&chance, 200 * MS);
	}
}

bool plan_has(const struct plan *plan, enum what what)
{
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->actions[i].what == what && !plan->left_out[i])
			return true;
	return false;
}
