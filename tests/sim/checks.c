/*
 * checks.c - what must hold, whatever happens.
 *
 * After each event: no two hold what only one may, of all descriptors and the
 * foreign client, each by its own clock (docs/protocol.md, "How long it is valid");
 * who hears a majority name the holder hears of what travels with the lock as it was
 * when a call that says so has ended; what is with a lock was set by its holder.
 * At each grant: its token is above those of the grants before ("Fencing tokens").
 * At each command on a master: no token comes back after its release ("Giving it
 * back"). At the end: nothing is left, nothing is owed, a new client can lock.
 */
#include <stdio.h>
#include <string.h>

#include "sim.h"

static struct seat *seat_of(struct sim *sim, const struct party *party)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++)
			if (sim->seats[i][j].party == party)
				return &sim->seats[i][j];
	return NULL; /* the new client's at the end */
}

void sim_violated(struct sim *sim, const char *what)
{
	if (!sim->violation) {
		sim->violation = what;
		world_tell(sim->world, "== %s", what);
	}
}

/* ---- exclusion ---- */

static bool foreigner_holds(struct sim *sim)
{
	struct foreigner *f = &sim->foreigner;

	if (f->holds && sim_us(sim) >= f->until_us)
		f->holds = false;
	return f->holds && !sim->foreign_is_off;
}

static void check_exclusion(struct sim *sim)
{
	unsigned readers[SIM_KEYS] = {0}, writers[SIM_KEYS] = {0};

	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			const struct seat *seat = &sim->seats[i][j];

			if (!seat->party || seat->party->lock.state != LOCK_HELD)
				continue;
			readers[seat->key] += party_holds(seat->party, MODE_SHARED);
			writers[seat->key] += party_holds(seat->party, MODE_EXCLUSIVE);
		}
	for (unsigned key = 0; key < SIM_KEYS; key++)
		if (writers[key] > 1 || (writers[key] > 0 && readers[key] > 0))
			sim_violated(sim, "two hold what only one may");
	if ((writers[0] > 0 || readers[0] > 0) && foreigner_holds(sim))
		sim_violated(sim, "a foreign client holds it beside another");
}

/* A lock whose time is over is lost for good, also when an answer that was under way would prolong it. */
static void check_sticky(struct sim *sim, struct seat *seat)
{
	const struct party *party = seat->party;
	bool held;

	if (!party || party->lock.state != LOCK_HELD || strcmp(party_token(party), seat->attempt) != 0)
		return;
	held = client_now_us(party->client) < party->lock.deadline_us;
	if (held && seat->lapsed)
		sim_violated(sim, "a lock is held again whose time was over");
	seat->lapsed |= !held;
}

static void check_all_sticky(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++)
			check_sticky(sim, &sim->seats[i][j]);
}

/* ---- what travels with the lock ---- */

/* It was set by the holder, and is what had that version. */
static void check_cargo(struct sim *sim, const char *owner, const struct model_cargo *cargo)
{
	struct token_parts parts;
	char expected[TOKEN_PROGRAM_MAX + 24];

	if (!token_parse(owner, strlen(owner), &parts)) {
		sim_violated(sim, "data of a token that is none");
		return;
	}
	snprintf(expected, sizeof(expected), "%s %llu", parts.program, (unsigned long long)cargo->version);
	if (cargo->size > 0 && (cargo->size != strlen(expected) || memcmp(cargo->bytes, expected, cargo->size) != 0))
		sim_violated(sim, "data that the holder did not set with that version");
}

static void check_promise(struct sim *sim, const struct seat *seat)
{
	const struct party *party = seat->party;

	if (!party || seat->promised == 0 || !party_holds(party, MODE_EXCLUSIVE) ||
	    strcmp(party_token(party), seat->attempt) != 0)
		return;
	if (world_lacking(sim->world, party, seat->promised) >= party->client->quorum.majority)
		sim_violated(sim, "a majority names the holder, and has not what it was told to have");
}

static void check_data(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++)
			check_promise(sim, &sim->seats[i][j]);
}

bool sim_any_stepped(const struct sim *sim)
{
	bool any = false;

	for (unsigned i = 0; i < sim->world->count; i++)
		any |= sim->stepped[i] > 0;
	return any;
}

static void check_step(struct world *world, void *context)
{
	struct sim *sim = context;

	(void)world;
	check_all_sticky(sim);
	if (sim->plan->mode == SIM_FAIR)
		check_lines(sim);
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++)
			check_majority(sim, &sim->seats[i][j]);
	/* Single keys that are deleted take nothing from who names the holder. */
	if (!mode_is_beyond(sim->plan->mode) || (!sim->forgot && !sim_any_stepped(sim)))
		check_data(sim);
	if (!mode_is_beyond(sim->plan->mode))
		check_exclusion(sim);
}

/* ---- tokens ---- */

/* Within the assumptions each grant comes after the one before has ended. */
static bool is_in_order(const struct history *history, uint64_t token)
{
	return token % 2 == 1 ? token >= history->highest_exclusive : token > history->highest;
}

/* Without any: a grant that was claimed before another was asked for has the smaller token. */
static bool is_after_the_claimed(const struct history *history, uint64_t token, int64_t asked_us)
{
	for (unsigned i = history->count; i-- > 0;) {
		const struct holding *grant = &history->grants[i];
		bool both_shared = token % 2 == 1 && grant->token % 2 == 1;

		if (token == grant->token && token % 2 == 0)
			return false;
		if (grant->claimed_us < asked_us && !both_shared && token <= grant->token)
			return false;
	}
	return true;
}

static void remember(struct sim *sim, struct history *history, uint64_t token)
{
	if (history->count < GRANTS_MAX)
		history->grants[history->count++] = (struct holding){token, sim->world->now_us};
	if (token % 2 == 0 && token > history->highest_exclusive)
		history->highest_exclusive = token;
	if (token > history->highest)
		history->highest = token;
}

static void check_token(struct sim *sim, const struct seat *seat, uint64_t token)
{
	struct history *history = &sim->histories[seat->key];
	bool claimed_order = is_after_the_claimed(history, token, seat->party->proposed_us);

	if (!mode_is_beyond(sim->plan->mode) && !(claimed_order && is_in_order(history, token)))
		sim_violated(sim, "a token is not above those before it");
	/* Once a master has lost its memory, it rests on the conditions. */
	if (!claimed_order && !(sim->plan->mode == SIM_BEYOND && sim->forgot && sim->broken))
		sim_violated(sim, ORDER_BROKEN);
	remember(sim, history, token);
}

/* dlock_verify() says that no majority has lacked the lock since it was granted. Then no other can have been granted
 * that is in its way: one that masters have accepted later, and that was claimed before the masters were asked. */
static void check_proof(struct sim *sim, const struct seat *seat)
{
	const struct history *history = &sim->histories[seat->key];

	for (unsigned i = history->count; i-- > 0;) {
		const struct holding *grant = &history->grants[i];

		if (grant->token > seat->token && !(grant->token % 2 == 1 && seat->token % 2 == 1) &&
		    grant->claimed_us > seat->claimed_us && grant->claimed_us < seat->verifies_since_us)
			sim_violated(sim, "verified, though another was granted it meanwhile");
	}
}

static void note_promise(struct sim *sim, struct seat *seat)
{
	const struct party *party = seat->party;

	if (!seat->promises || party->lock.held != MODE_EXCLUSIVE)
		return;
	seat->promised = party->lock.attempt->cargo.version;
	sim->totals.loads += seat->promised > 0;
}

static void note_wait(struct sim *sim, struct seat *seat, const struct party *party)
{
	int64_t waited_us = sim_us(sim) - seat->waits_since_us;

	if (seat->waits_since_us == NEVER_US)
		return;
	if (waited_us > sim->totals.longest_wait_us)
		sim->totals.longest_wait_us = waited_us;
	seat->waits_since_us = NEVER_US;
	sim_later(sim, LATER_UNLOCK, (int64_t)chance_draw(&sim->chance, 20 * MS), party->client->index,
	          (unsigned)(seat - sim->seats[party->client->index]));
}

static void granted(struct world *world, struct party *party, void *context)
{
	struct sim *sim = context;
	struct seat *seat = seat_of(sim, party);
	uint64_t token = lock_token(&party->lock);
	bool same;

	if (!seat)
		return;
	if (!party_holds(party, party->lock.held))
		sim_violated(sim, "a call has ended with a lock whose time is over");
	same = seat->token == token && strcmp(seat->attempt, party_token(party)) == 0;
	if (!same) {
		/* Verifying it, and asking for what is held, end with the lock that was there. */
		seat->token = token;
		seat->claimed_us = world->now_us;
		seat->promised = 0;
		seat->lapsed = false;
		snprintf(seat->attempt, sizeof(seat->attempt), "%s", party_token(party));
		sim->totals.grants++;
		check_token(sim, seat, token);
		check_majority_fence(sim, seat);
		check_turn(sim, seat);
		note_wait(sim, seat, party);
	} else if (seat->verifies_since_us != NEVER_US) {
		check_proof(sim, seat);
		check_majority_proof(sim, seat);
	}
	note_promise(sim, seat);
}

/* ---- what is given back ---- */

static bool was_released(const struct sim *sim, unsigned master, const char *token)
{
	for (unsigned i = 0; i < sim->released_count && i < RELEASED_MAX; i++)
		if (sim->released[i].master == master && strcmp(sim->released[i].token, token) == 0)
			return true;
	return false;
}

/* Who has given back is in no queue any more, unless a late request of a connection that could not be killed has put it
 * there again. Then it has the lock there for a while: docs/protocol.md, "Known holes". */
static void handed(struct world *world, unsigned master, const char *key, const struct model_grant *grant, void *context)
{
	struct sim *sim = context;

	majority_handed(world, master, key, grant, context);
	if (!was_released(sim, master, grant->token))
		return;
	if (!world->clients[0].links[0].no_kill && !sim->has_forgotten[master])
		sim_violated(sim, "a lock was handed to who has given it back");
	for (unsigned i = 0; i < sim->released_count && i < RELEASED_MAX; i++)
		if (sim->released[i].master == master && strcmp(sim->released[i].token, grant->token) == 0)
			sim->released[i].token[0] = '\0';
}

/* As long as it is there it does not go back: late requests bring older versions. (Where it has ended with the
 * lease, one of an ended connection that could not be killed may set both anew, as they were when it was sent.) */
static void check_loaded(struct sim *sim, unsigned master, const struct model_call *call)
{
	struct loaded *loaded = &sim->loaded[master][strcmp(call->key, key_names[1]) == 0];
	int64_t now_us = master_now_us(sim->world, master);
	const struct model_cargo *cargo = model_cargo(&sim->world->masters[master], call->key, now_us);
	bool has_stayed = (now_us + sim->world->masters[master].clock_us) / 1000 <= loaded->expiry_ms;

	if (cargo && has_stayed && strcmp(cargo->token, loaded->token) == 0 && cargo->version < loaded->version)
		sim_violated(sim, "a master has older data than before");
	snprintf(loaded->token, sizeof(loaded->token), "%s", cargo ? cargo->token : "");
	loaded->version = cargo ? cargo->version : 0;
	loaded->expiry_ms = cargo ? cargo->expiry_ms : 0;
}

static void executed(struct world *world, unsigned master, const struct model_call *call,
                     const struct model_reply *reply, void *context)
{
	struct sim *sim = context;

	if (reply->error != MODEL_OK)
		return;
	if (call->operation == 'R') {
		struct released *released = &sim->released[sim->released_count % RELEASED_MAX];

		/* No memory for the tombstone: what is late is kept off by the end of its connection only. */
		if (world->masters[master].out_of_memory && world->clients[0].links[0].no_kill)
			return;
		released->master = master;
		snprintf(released->token, sizeof(released->token), "%s", call->token);
		sim->released_count++;
		return;
	}
	check_lives(sim, master, call, reply);
	if (sim->plan->mode == SIM_FAIR && (call->operation == 'A' || call->operation == 'P'))
		note_asked(sim, call);
	if (call->operation != 'A' && call->operation != 'E')
		return;
	check_loaded(sim, master, call);
	if (mode_is_beyond(sim->plan->mode))
		return;
	if ((reply->code == CODE_YES || reply->code == CODE_REPAIRED)) {
		const char *owner = model_owner(&world->masters[master], call->key, master_now_us(world, master));
		const struct model_cargo *cargo = model_cargo(&world->masters[master], call->key, master_now_us(world, master));

		/* A late request of a reader is kept off by the end of its connection only. */
		bool kept_off = call->mode == 'X' || !world->clients[0].links[0].no_kill;

		if (kept_off && was_released(sim, master, call->token))
			sim_violated(sim, "a token has come back after its release");
		if (owner && cargo && strcmp(owner, cargo->token) == 0)
			check_cargo(sim, owner, cargo);
		/* An old memory may bring back what this client knows to be gone; it ends by itself. */
		if (kept_off && !sim->has_forgotten[master] && call->operation == 'E' && call->mode == 'S' && cargo &&
		    strcmp(call->token, cargo->token) == 0)
			sim_violated(sim, "data are there beside a shared lock");
	}
}

void check_forgot(struct sim *sim, unsigned master)
{
	sim->forgot = sim->foreign_is_off = sim->has_forgotten[master] = true;
	if (sim->stepped[master])
		sim->broken = true;
	memset(sim->loaded[master], 0, sizeof(sim->loaded[master]));
	for (unsigned i = 0; i < sim->released_count && i < RELEASED_MAX; i++)
		if (sim->released[i].master == master)
			sim->released[i].token[0] = '\0';
}

/* ---- the beginning and the end ---- */

void check_begin(struct sim *sim)
{
	sim->world->check = check_step;
	sim->world->granted = granted;
	sim->world->executed = executed;
	sim->world->handed = handed;
}

/* One that comes anew may be the first to find that a master was flushed, and wait for M. */
static void check_new_client(struct sim *sim)
{
	static const struct client_settings settings = {
	    .ttl_us = 300 * MS, .node_timeout_us = 50 * MS, .quorum_timeout_us = 20 * SECONDS, .max_ttl_us = SIM_M_US};
	struct client *client = world_client(sim->world, &settings);
	struct party *party = world_party(client, key_names[0]);

	world_connect_all(client);
	party_lock(party, MODE_EXCLUSIVE, -1);
	world_run_until_done(sim->world, party);
	if (!party_holds(party, MODE_EXCLUSIVE))
		sim_violated(sim, "a new client can't lock");
}

/* Whether the process that asked with it still lives: a token's random bits begin with who it was (world_party()). */
static bool is_of_the_living(const struct sim *sim, const char *token)
{
	unsigned number, index, life;

	if (sscanf(token, "%*16[0-9a-f]-%2x%2x%2x", &number, &index, &life) != 3 || number > sim->plan->clients)
		return false;
	return sim->world->clients[number - 1].alive && sim->world->clients[number - 1].life == life;
}

static bool living_is_left(struct sim *sim, unsigned master, const struct model_key *key)
{
	struct model_master *m = &sim->world->masters[master];
	int64_t now_us = master_now_us(sim->world, master);

	if (key->kind == KIND_STRING)
		return model_holds(m, key->name, key->token, now_us) && is_of_the_living(sim, key->token);
	for (unsigned i = 0; key->kind == KIND_ZSET && i < key->reader_count; i++)
		if (model_holds(m, key->name, key->readers[i].token, now_us) && is_of_the_living(sim, key->readers[i].token))
			return true;
	return false;
}

static bool living_waits(struct sim *sim, unsigned master, const char *key)
{
	const char *members[MODEL_WAITERS], *token;
	unsigned count = model_queue(&sim->world->masters[master], key, master_now_us(sim->world, master), members, MODEL_WAITERS);

	for (unsigned i = 0; i < count; i++) {
		token = strrchr(members[i], ':');
		if (token && is_of_the_living(sim, token + 1))
			return true;
	}
	return false;
}

/* Who closes gives back, everywhere, as soon as it can: nobody has to wait for the end of a lease. What an old copy of
 * a master's memory has brought back is not known to be there; nor what a late request has, if it is not killed. In a
 * run that is longer than M a release may have been given up before all was healed. */
void check_given_back(struct sim *sim)
{
	if (sim_us(sim) >= SIM_M_US)
		return;
	for (unsigned i = 0; i < sim->world->count; i++)
		for (unsigned j = 0; j < MODEL_KEYS; j++)
			if (!sim->has_forgotten[i] && !plan_has(sim->plan, SET_NO_KILL) &&
			    living_is_left(sim, i, &sim->world->masters[i].data.keys[j]))
				sim_violated(sim, "a lock that was closed was not given back");
	for (unsigned i = 0; i < sim->world->count; i++)
		for (unsigned j = 0; j < SIM_KEYS; j++)
			if (!sim->has_forgotten[i] && !plan_has(sim->plan, SET_NO_KILL) && living_waits(sim, i, key_names[j]))
				sim_violated(sim, "a place in a queue was not given back");
}

void check_end(struct sim *sim)
{
	for (unsigned key = 0; key < SIM_KEYS; key++) {
		if (world_carriers(sim->world, key_names[key]) > 0)
			sim_violated(sim, "a token was left behind");
		if (world_cargoes(sim->world, key_names[key]) > 0)
			sim_violated(sim, "data were left behind");
	}
	for (unsigned i = 0; i < sim->plan->clients; i++)
		if (sim->world->clients[i].alive && client_owed(&sim->world->clients[i]) > 0)
			sim_violated(sim, "a release is still owed");
	/* A client with another list may have made a cluster of its own of masters that had forgotten theirs. */
	if (!sim->violation && !(sim->forgot && (plan_has(sim->plan, SET_LIST) || plan_has(sim->plan, SET_MAX_TTL))))
		check_new_client(sim);
}
