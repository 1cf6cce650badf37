/*
 * fair.c - nobody is overtaken by who came later ("In which order" in docs/protocol.md), and nobody waits for nothing.
 *
 * A call is in line from when a majority of masters has it in its queue, or gives it the lock. Who has a younger ticket, and
 * has reached any master only after that, does not get it first, if only one may have it. (Who has reached one before may:
 * two that come at once are not told apart by all masters alike.) Only where there are no faults: a message that is late
 * or lost may cost a place. There, as well, nobody is in line for long while nobody has the lock, and no lock is lost.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* A few messages of up to 2 ms, and the back-off of those that split the masters. */
#define IDLE_MAX_US (40 * MS)

static bool is_queued(struct sim *sim, const struct seat *seat, unsigned master, const char *token)
{
	const char *members[MODEL_WAITERS], *end;
	unsigned count = model_queue(&sim->world->masters[master], key_names[seat->key], master_now_us(sim->world, master),
	                             members, MODEL_WAITERS);

	for (unsigned i = 0; i < count; i++) {
		end = strrchr(members[i], ':');
		if (end && strcmp(end + 1, token) == 0)
			return true;
	}
	return false;
}

static bool is_in_line(struct sim *sim, const struct seat *seat)
{
	const char *token = party_token(seat->party);
	unsigned count = 0;

	for (unsigned i = 0; i < sim->world->count; i++)
		count += is_queued(sim, seat, i, token) ||
		         model_carries(&sim->world->masters[i], key_names[seat->key], token, master_now_us(sim->world, i));
	return count >= sim->world->count / 2 + 1;
}

static void note_line(struct sim *sim, struct seat *seat)
{
	const struct party *party = seat->party;
	const struct attempt *attempt = party ? party->lock.attempt : NULL;

	if (!attempt || party->lock.call != CALL_LOCK || !party->client->alive) {
		seat->in_line_us = NEVER_US;
		return;
	}
	if (seat->ticket != attempt->ticket)
		seat->in_line_us = seat->asked_us = NEVER_US;
	seat->ticket = attempt->ticket;
	seat->wants = party->lock.wanted;
	/* Who does not wait overtakes, but is not overtaken; nor is who has left the line: it gave a vote back where it was in no
	 * queue yet. */
	if (party->lock.try_only || !is_in_line(sim, seat))
		seat->in_line_us = NEVER_US;
	else if (seat->in_line_us == NEVER_US)
		seat->in_line_us = sim_us(sim);
}

/* A request has been carried out, whatever the answer. */
void note_asked(struct sim *sim, const struct model_call *call)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			struct seat *seat = &sim->seats[i][j];

			if (!seat->party || !seat->party->lock.attempt || strcmp(party_token(seat->party), call->token) != 0)
				continue;
			note_line(sim, seat);
			if (seat->asked_us == NEVER_US)
				seat->asked_us = sim_us(sim);
		}
}

/* Who may not count a majority, since clocks are off, can't have it. */
static bool may_have_it(const struct seat *seat)
{
	const struct party *party = seat->party;

	return party && party->client->quorum.voting >= party->client->quorum.majority;
}

/* Who is first in line is told within a few messages: nobody has to wait for the end of a key, or for a poll. */
static void check_idle(struct sim *sim, unsigned key)
{
	bool held = false, wanted = false;

	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			const struct seat *seat = &sim->seats[i][j];

			if (!seat->party || seat->key != key)
				continue;
			held |= seat->party->lock.state == LOCK_HELD || seat->party->lock.state == LOCK_RELEASING;
			/* What is handed to who may not count a majority, or was taken before that was so, is of no use until it ends. */
			held |= seat->party->lock.call == CALL_LOCK && !may_have_it(seat);
			wanted |= seat->in_line_us != NEVER_US && seat->party->lock.call == CALL_LOCK;
		}
	if (held || !wanted)
		sim->free_since_us[key] = NEVER_US;
	else if (sim->free_since_us[key] == NEVER_US)
		sim->free_since_us[key] = sim_us(sim);
	else if (sim_us(sim) - sim->free_since_us[key] > IDLE_MAX_US)
		sim_violated(sim, "nobody has what somebody waits for");
}

static void check_loss(struct sim *sim, struct seat *seat)
{
	unsigned losses = seat->party ? seat->party->losses : 0;

	if (losses > seat->losses && may_have_it(seat))
		sim_violated(sim, "a lock was lost, and nothing was wrong");
	seat->losses = losses;
}

void check_lines(struct sim *sim)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			note_line(sim, &sim->seats[i][j]);
			check_loss(sim, &sim->seats[i][j]);
		}
	for (unsigned key = 0; key < SIM_KEYS; key++)
		check_idle(sim, key);
}

/* At a grant to `seat`. What a call that has just ended was noted before is still there. */
void check_turn(struct sim *sim, const struct seat *seat)
{
	if (sim->plan->mode != SIM_FAIR || seat->asked_us == NEVER_US)
		return;
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			const struct seat *other = &sim->seats[i][j];

			if (other == seat || other->key != seat->key || !other->party || other->in_line_us == NEVER_US ||
			    other->party->lock.call != CALL_LOCK || !may_have_it(other))
				continue;
			if ((other->wants == MODE_EXCLUSIVE || seat->wants == MODE_EXCLUSIVE) && other->ticket < seat->ticket &&
			    other->in_line_us < seat->asked_us)
				sim_violated(sim, "a waiter was overtaken by one that came later");
		}
}
