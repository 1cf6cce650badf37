/* run.c - a plan is carried out. */
#include "sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

const char *const key_names[SIM_KEYS] = {"db", "other"};

static jmp_buf gave_up_here;
static const char *gave_up_why;

static void gave_up(const char *what)
{
	gave_up_why = what;
	longjmp(gave_up_here, 1);
}

int64_t sim_us(const struct sim *sim)
{
	return sim->world->now_us - sim->start_us;
}

void sim_later(struct sim *sim, enum later_what what, int64_t after_us, unsigned a, unsigned b)
{
	if (sim->later_count < LATERS_MAX)
		sim->laters[sim->later_count++] = (struct later){what, sim_us(sim) + after_us, a, b};
}

static struct later *next_later(struct sim *sim)
{
	struct later *next = NULL;

	for (unsigned i = 0; i < sim->later_count; i++)
		if (!next || sim->laters[i].at_us < next->at_us)
			next = &sim->laters[i];
	return next;
}

/* What is the simulator's own until then, and the world's. */
static void run_until(struct sim *sim, int64_t at_us)
{
	while (!sim->violation) {
		struct later *next = next_later(sim), later;

		if (next && next->at_us > at_us)
			next = NULL;
		if (world_step(sim->world, sim->start_us + (next ? next->at_us : at_us)))
			continue; /* it may have planned something */
		if (!next)
			return;
		later = *next;
		*next = sim->laters[--sim->later_count];
		sim_act_later(sim, &later);
	}
}

void sim_open(struct sim *sim, unsigned client, unsigned index)
{
	struct seat *seat = &sim->seats[client][index];

	memset(seat, 0, sizeof(*seat));
	seat->key = sim->plan->two_keys ? index : 0;
	seat->waits_since_us = seat->verifies_since_us = NEVER_US;
	seat->in_line_us = seat->asked_us = NEVER_US;
	seat->party = world_party(&sim->world->clients[client], key_names[seat->key]);
}

void sim_connect(struct sim *sim, struct client *client)
{
	for (unsigned master = 1; master <= sim->world->count; master++) {
		struct link *link = world_link(client, master);

		if (link && !link->connected && link->connect_at_us == NEVER_US)
			link->connect_at_us = sim->world->now_us + 1 + (int64_t)chance_draw(&sim->chance, 500);
	}
}

static uint64_t draw(void *context, uint64_t below)
{
	struct sim *sim = context;

	return chance_draw(&sim->chance, below);
}

/* All faults are taken back. */
void sim_heal(struct sim *sim)
{
	struct world *world = sim->world;

	for (unsigned master = 1; master <= world->count; master++) {
		struct model_master *m = world_master(world, master);

		world_continue(world, master);
		world->down[master - 1] = false;
		m->out_of_memory = m->read_only = m->busy = m->loading = false;
	}
	for (unsigned i = 0; i < world->client_count; i++) {
		struct client *client = &world->clients[i];

		client->paused = false;
		for (unsigned master = 1; master <= world->count; master++) {
			struct link *link = world_link(client, master);

			world_let(client, master);
			world_deliver_late(client, master);
			if (!link)
				continue;
			link->there_us = link->back_us = 100;
			link->deaf = false;
		}
		if (client->alive)
			sim_connect(sim, client);
	}
}

static void begin(struct sim *sim, struct world *world, const struct plan *plan, bool tell)
{
	static const struct client_settings usual = {
	    .ttl_us = 300 * MS, .node_timeout_us = 50 * MS, .quorum_timeout_us = 20 * SECONDS, .max_ttl_us = SIM_M_US};
	struct client_settings settings[SIM_CLIENTS] = {usual, usual, usual};

	/* Who gives up after a while begins anew, which may help where waiting does not. */
	for (unsigned i = 0; plan->mode == SIM_LIVENESS && plan->seed % 2 && i < SIM_CLIENTS; i++)
		settings[i].quorum_timeout_us = -1;
	memset(sim, 0, sizeof(*sim));
	sim->plan = plan;
	sim->world = world;
	sim->chance = chance_from(~plan->seed);
	world_reset(world, plan->masters);
	world->silent = !tell;
	world->plain = tell;
	world->draw = draw;
	world->context = sim;
	sim->start_us = world->now_us;
	sim->free_since_us[0] = sim->free_since_us[1] = NEVER_US;
	check_begin(sim);
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->actions[i].what < USE_LOCK && !plan->left_out[i])
			sim_set(sim, &plan->actions[i], settings);
	for (unsigned i = 0; i < plan->clients; i++)
		world_client(world, &settings[i]);
	if (!plan_has(plan, SET_VIRGIN))
		world_init_masters(world, &world->clients[0]); /* dlock --init */
	for (unsigned i = 0; i < plan->count; i++)
		if (plan->actions[i].what < USE_LOCK && !plan->left_out[i])
			sim_set(sim, &plan->actions[i], NULL);
	for (unsigned i = 0; i < plan->clients; i++) {
		sim_connect(sim, &world->clients[i]);
		for (unsigned j = 0; j < SIM_PARTIES; j++)
			sim_open(sim, i, j);
	}
	run_until(sim, 5 * MS);
}

static void carry_out(struct sim *sim)
{
	const struct plan *plan = sim->plan;

	for (unsigned i = 0; i < plan->count && !sim->violation; i++) {
		const struct action *action = &plan->actions[i];

		if (action->what < USE_LOCK || plan->left_out[i])
			continue;
		run_until(sim, 5 * MS + action->at_us);
		if (sim->violation)
			return;
		sim->totals.faults += what_is_fault(action->what);
		sim_act(sim, action);
	}
}

/* ---- the end of a run ---- */

static void close_all(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			struct seat *seat = &sim->seats[i][j];

			if (seat->party && seat->party->client->alive)
				party_close(seat->party);
			seat->party = NULL;
		}
}

static void heal_well(struct sim *sim)
{
	sim_heal(sim);
	run_until(sim, sim_us(sim) + 20 * MS);
	sim_heal(sim); /* what was broken meanwhile */
}

/* Once nothing is in the way: a release that was answered by an error is sent again after 200 ms, and one that a
 * replica could only refuse when it is known to be none any more, which is looked at every second. */
#define GIVEN_BACK_US (1400 * MS)
/* M, and what was owed. */
#define REST_US (25 * SECONDS)

static void come_to_rest(struct sim *sim)
{
	close_all(sim);
	run_until(sim, sim_us(sim) + GIVEN_BACK_US);
	if (!sim->violation)
		check_given_back(sim);
	run_until(sim, sim_us(sim) + REST_US);
	if (!sim->violation)
		check_end(sim);
}

/* What a waiter may have to wait for after the last fault: M for masters that forgot, M again for clocks that have
 * moved, the leases of those that were killed, and its turn. */
#define SERVED_WITHIN_US (40 * SECONDS)

static void everybody_waits(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			struct seat *seat = &sim->seats[i][j];

			if (!seat->party || !seat->party->client->alive)
				continue;
			seat->waits_since_us = sim_us(sim);
			if (seat->party->calling)
				party_cancel(seat->party, EINTR);
			if (seat->party->calling)
				continue; /* it gives back, and asks when that is done */
			if (seat->party->lock.state == LOCK_LOST || seat->party->lock.state == LOCK_HELD)
				party_unlock(seat->party);
			else
				party_lock(seat->party, MODE_EXCLUSIVE, -1);
		}
}

static bool anybody_waits(struct sim *sim)
{
	bool waits = false;

	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			struct seat *seat = &sim->seats[i][j];

			if (!seat->party || seat->waits_since_us == NEVER_US)
				continue;
			waits = true;
			/* Whose earlier call has ended, asks now; whose lock call has failed, asks again. */
			if (!seat->party->calling && seat->party->lock.state != LOCK_HELD) {
				if (seat->party->lock.state == LOCK_LOST)
					party_unlock(seat->party);
				else
					party_lock(seat->party, MODE_EXCLUSIVE, -1);
			}
		}
	return waits;
}

static void serve_everybody(struct sim *sim)
{
	int64_t until_us = sim_us(sim) + SERVED_WITHIN_US;

	everybody_waits(sim);
	while (!sim->violation && anybody_waits(sim)) {
		if (sim_us(sim) >= until_us) {
			sim->violation = "somebody still waits long after the last fault";
			return;
		}
		run_until(sim, sim_us(sim) + 20 * MS);
	}
}

static void run_all(struct sim *sim)
{
	carry_out(sim);
	if (!sim->violation)
		heal_well(sim);
	if (!sim->violation && sim->plan->mode == SIM_LIVENESS)
		serve_everybody(sim);
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++)
			sim->totals.losses += sim->seats[i][j].party ? sim->seats[i][j].party->losses : 0;
	if (!sim->violation && !mode_is_beyond(sim->plan->mode))
		come_to_rest(sim);
}

void sim_add_totals(struct sim_totals *sum, const struct sim_totals *one)
{
	sum->seeds += one->seeds;
	sum->steps += one->steps;
	sum->calls += one->calls;
	sum->grants += one->grants;
	sum->faults += one->faults;
	sum->losses += one->losses;
	sum->loads += one->loads;
	if (one->longest_wait_us > sum->longest_wait_us)
		sum->longest_wait_us = one->longest_wait_us;
}

static void add_totals(struct sim *sim, struct sim_totals *totals)
{
	sim->totals.seeds = 1;
	sim->totals.steps = sim->world->steps;
	sim_add_totals(totals, &sim->totals);
}

struct verdict sim_run(struct world *world, const struct plan *plan, struct sim_totals *totals, bool tell)
{
	static struct sim sim;
	struct verdict verdict;

	world_gave_up = gave_up;
	if (setjmp(gave_up_here) == 0) {
		begin(&sim, world, plan, tell);
		run_all(&sim);
	} else {
		sim.violation = gave_up_why;
	}
	world_gave_up = NULL;
	if (totals)
		add_totals(&sim, totals);
	for (unsigned i = 0; i < WORLD_MASTERS; i++) {
		free(sim.snapshots[i]);
		sim.snapshots[i] = NULL;
	}
	verdict = (struct verdict){sim.violation, sim_us(&sim), world->fingerprint};
	return verdict;
}
