/*
 * majority.c - what must be on the masters while the clients believe what they believe.
 *
 * The checks of checks.c see that something has gone wrong between two clients: that
 * takes two, at the right moment. These see what it rests on, as soon as it is missing:
 * a majority of masters has the lock as long as its holder says so, and has its fence
 * once it is claimed ("Acquire", "Fencing tokens" in docs/protocol.md); no moment
 * without a majority is within what dlock_verify() vouches for; and no master has a token
 * for longer than the ttl after the last request that set or renewed it.
 */
#include <stdio.h>
#include <string.h>

#include "sim.h"

static struct life *life_of(struct sim *sim, unsigned master, unsigned key, const char *token)
{
	for (unsigned i = 0; i < LIVES_MAX; i++)
		if (sim->lives[i].master == master && sim->lives[i].key == key && strcmp(sim->lives[i].token, token) == 0)
			return &sim->lives[i];
	return NULL;
}

static bool carries(const struct sim *sim, const struct seat *seat, unsigned master)
{
	return model_carries(&sim->world->masters[master], key_names[seat->key], seat->attempt,
	                     master_now_us(sim->world, master));
}

/* Also those that have not been asked yet: when they accept, nobody has been granted more there until then. And where a
 * clock steps, what nobody has seen missing: it may step back. */
static bool lacks_for_certain(struct sim *sim, const struct seat *seat, unsigned master)
{
	const struct life *life = life_of(sim, master, seat->key, seat->attempt);

	if (carries(sim, seat, master) || !life || life->fence != seat->token / 2)
		return false;
	return !sim->stepped[master] ||
	       !model_carries(&sim->world->masters[master], key_names[seat->key], seat->attempt, INT64_MIN / 2);
}

static void note_fewest(struct sim *sim, struct seat *seat)
{
	unsigned count = 0;

	for (unsigned i = 0; i < sim->world->count; i++)
		count += !lacks_for_certain(sim, seat, i);
	if (count < seat->fewest)
		seat->fewest = count;
}

static int64_t clock_ms(const struct sim *sim, unsigned master)
{
	return (master_now_us(sim->world, master) + sim->world->masters[master].clock_us) / 1000;
}

/* A vote does not count for longer than the key lives, whatever its master's clock says, unless that has stepped since: for
 * rates that differ there is one per cent, which the holder has taken off. */
static void check_votes(struct sim *sim, const struct seat *seat)
{
	const struct lock *lock = &seat->party->lock;
	int64_t now_us = client_now_us(seat->party->client), left_us;

	for (unsigned i = 0; i < lock->quorum->settings.count; i++) {
		unsigned master = (seat->party->client->settings.first + i) % sim->world->count;
		const struct life *life = life_of(sim, master, seat->key, seat->attempt);

		if (lock->attempt->votes[i].until_us <= now_us || !life || life->steps != sim->stepped[master] ||
		    sim->has_forgotten[master])
			continue;
		left_us = (life->until_ms + 1) * 1000 - clock_ms(sim, master) * 1000;
		if (lock->attempt->votes[i].until_us - now_us > left_us + left_us / 50)
			sim_violated(sim, "a vote counts for longer than the key lives");
	}
}

/* Within the assumptions, and as long as no master has forgotten: also for lock_delay after its end. Notes what
 * check_majority_proof() looks at. */
void check_majority(struct sim *sim, struct seat *seat)
{
	const struct party *party = seat->party;
	unsigned count = 0;

	if (!party || party->lock.state != LOCK_HELD || strcmp(party_token(party), seat->attempt) != 0)
		return;
	note_fewest(sim, seat);
	if (!mode_is_beyond(sim->plan->mode) && sim_any_stepped(sim))
		check_votes(sim, seat);
	if (mode_is_beyond(sim->plan->mode) || sim->forgot || sim_any_stepped(sim) ||
	    !(party_holds(party, MODE_EXCLUSIVE) || party_holds(party, MODE_SHARED)))
		return;
	for (unsigned i = 0; i < sim->world->count; i++)
		count += model_carries(&sim->world->masters[i], key_names[seat->key], seat->attempt,
		                       master_now_us(sim->world, i) + party->lock.settings.lock_delay_us);
	if (count < sim->world->count / 2 + 1)
		sim_violated(sim, "a lock is held that a majority does not have");
}

/* At each grant: the order of the tokens rests on it. */
void check_majority_fence(struct sim *sim, struct seat *seat)
{
	unsigned count = 0;

	seat->fewest = sim->world->count;
	note_fewest(sim, seat);
	if (sim->forgot)
		return;
	for (unsigned i = 0; i < sim->world->count; i++)
		count += model_fence(&sim->world->masters[i], key_names[seat->key]) >= seat->token / 2;
	if (count < sim->world->count / 2 + 1)
		sim_violated(sim, "a token is claimed whose fence a majority does not have");
}

/* When a proof is asked for: so it was until then. */
void majority_ask_proof(struct seat *seat)
{
	seat->fewest_when_asked = seat->fewest;
}

void check_majority_proof(struct sim *sim, const struct seat *seat)
{
	if (seat->fewest_when_asked < sim->world->count / 2 + 1)
		sim_violated(sim, "verified, though a majority has lacked it meanwhile");
}

/* ---- no key outlives its ttl ---- */

static struct life *begin_life(struct sim *sim, unsigned master, unsigned key, const char *token)
{
	struct life *life = life_of(sim, master, key, token);

	if (!life) {
		life = &sim->lives[sim->life_count++ % LIVES_MAX];
		life->master = master;
		life->key = key;
		snprintf(life->token, sizeof(life->token), "%s", token);
	}
	return life;
}

/* The offer of who hands it over counts as if its holder had asked for it. */
void majority_handed(struct world *world, unsigned master, const char *key, const struct model_grant *grant, void *context)
{
	struct life *life = begin_life(context, master, strcmp(key, key_names[1]) == 0, grant->token);

	(void)world;
	/* It may be there already, by a repair, and then for longer. */
	if (life->until_ms < grant->expiry_ms)
		life->until_ms = grant->expiry_ms;
	life->fence = grant->fence;
	life->steps = ((const struct sim *)context)->stepped[master];
}

static void prolong(struct sim *sim, unsigned master, unsigned key, const struct model_call *call,
                    const struct model_reply *reply)
{
	struct life *life = begin_life(sim, master, key, call->token);

	life->until_ms = clock_ms(sim, master) + call->ttl_ms;
	life->steps = sim->stepped[master];
	if (call->operation == 'A')
		life->fence = reply->fence;
	else if (reply->code == CODE_REPAIRED)
		life->fence = call->number;
}

static void check_life(struct sim *sim, unsigned master, unsigned key, const char *token)
{
	const struct life *life = life_of(sim, master, key, token);

	if (life && clock_ms(sim, master) > life->until_ms)
		sim_violated(sim, "a token has outlived its ttl");
}

/* After a command on a key: what has ended there was dropped by it. */
void check_lives(struct sim *sim, unsigned master, const struct model_call *call, const struct model_reply *reply)
{
	bool sets = call->operation == 'A' || call->operation == 'E';
	unsigned index = strcmp(call->key, key_names[1]) == 0;
	const struct model_key *key = model_key(&sim->world->masters[master].data, call->key);

	if (sets && (reply->code == CODE_YES || reply->code == CODE_REPAIRED))
		prolong(sim, master, index, call, reply);
	/* A master that has forgotten may have got tokens otherwise: by a copy of another's memory. */
	if (!key || sim->has_forgotten[master])
		return;
	if (key->kind == KIND_STRING && clock_ms(sim, master) <= key->expiry_ms)
		check_life(sim, master, index, key->token);
	for (unsigned i = 0; key->kind == KIND_ZSET && i < key->reader_count; i++)
		check_life(sim, master, index, key->readers[i].token);
}
