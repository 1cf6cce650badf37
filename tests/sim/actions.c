/* actions.c - what each action does to the world. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define HOUR_US (3600 * SECONDS)

bool what_is_fault(enum what what)
{
	return what == CLIENT_KILL || what == CLIENT_PAUSE || what == USE_SIGNAL || what == USE_CLOSE ||
	       (what >= NET_BREAK && what != NET_HEAL && what != MASTER_SNAPSHOT && what != MASTER_HEAL);
}

/* ---- settings ---- */

/* In safety mode a clock is off by what clocks may be off (M is more than 4 s and twice the skew), and rates differ by
 * one per cent at most. */
static void set_clock(struct sim *sim, unsigned master, struct chance *chance)
{
	/* In liveness more often: whoever is refused for that would wait for ever. */
	unsigned far = sim->plan->mode == SIM_LIVENESS ? 2 : 6;
	int64_t most_us = chance_draw(chance, far) ? 50 * MS : 1100 * MS;
	int64_t ahead_us;

	if (mode_is_beyond(sim->plan->mode) && chance_draw(chance, 3) == 0)
		most_us = 4 * SECONDS;
	ahead_us = chance_draw(chance, 2) ? (int64_t)chance_draw(chance, 2 * (uint64_t)most_us) - most_us
	           : chance_draw(chance, 2) ? most_us
	                                    : -most_us;
	/* Twice the same master: who is farther behind than a proposal may be ahead refuses for ever. */
	if (sim->plan->mode == SIM_LIVENESS && sim->world->masters[master].clock_us + ahead_us < -1100 * MS)
		return;
	sim->world->masters[master].clock_us += ahead_us;
	world_tell(sim->world, "-- the clock of %u is %lld ms ahead", master + 1, (long long)(ahead_us / 1000));
}

static int64_t draw_rate(const struct sim *sim, struct chance *chance)
{
	int64_t most = mode_is_beyond(sim->plan->mode) ? 300000 : 5000;

	/* Half of them as far off as may be. */
	if (chance_draw(chance, 2))
		return chance_draw(chance, 2) ? most : -most;
	return (int64_t)chance_draw(chance, 2 * (uint64_t)most) - most;
}

static void set_of_client(struct sim *sim, const struct action *action, struct client_settings *s, unsigned client,
                          struct chance *chance)
{
	static const int64_t ttls_us[] = {100 * MS, 1 * SECONDS, 4 * SECONDS};
	char name = (char)('a' + client);

	switch (action->what) {
	case SET_TTL:
		s->ttl_us = ttls_us[chance_draw(chance, 3)];
		world_tell(sim->world, "-- %c has a ttl of %lld ms", name, (long long)(s->ttl_us / 1000));
		break;
	case SET_DELAY_LOCK:
		s->lock_delay_us = 200 * MS;
		world_tell(sim->world, "-- %c has a lock_delay of 200 ms", name);
		break;
	case SET_LIST:
		if (sim->plan->masters < 2 || plan_has(sim->plan, SET_VIRGIN))
			break;
		s->first = (unsigned)chance_draw(chance, sim->plan->masters);
		s->count = 1 + (unsigned)chance_draw(chance, sim->plan->masters - 1);
		s->fingerprint = "00000000000000c2";
		world_tell(sim->world, "-- %c knows only %u masters, from %u on", name, s->count, s->first + 1);
		break;
	case SET_NO_GRANTS:
		s->no_grants = true;
		world_tell(sim->world, "-- %c may not subscribe", name);
		break;
	case SET_MAX_TTL:
		s->max_ttl_us = 6 * SECONDS;
		world_tell(sim->world, "-- %c has a max_ttl of 6 s", name);
		break;
	default:
		break;
	}
}

static void set_of_world(struct sim *sim, enum what what, unsigned master, struct chance *chance)
{
	switch (what) {
	case SET_CLOCK:
		set_clock(sim, master, chance);
		break;
	case SET_MASTER_RATE:
		sim->world->rates_ppm[master] = draw_rate(sim, chance);
		world_tell(sim->world, "-- the clock of %u runs faster by %lld ppm", master + 1,
		           (long long)sim->world->rates_ppm[master]);
		break;
	case SET_DURABLE:
		sim->world->masters[master].always = true;
		world_tell(sim->world, "-- %u is durable", master + 1);
		break;
	default:
		break;
	}
}

static void set_of_process(struct sim *sim, enum what what, struct client *client, struct chance *chance)
{
	if (what == SET_CLIENT_RATE) {
		client->rate_ppm = draw_rate(sim, chance);
		world_tell(sim->world, "-- the clock of %s runs faster by %lld ppm", client->name,
		           (long long)client->rate_ppm);
	} else if (what == SET_JITTER) {
		for (unsigned i = 0; i < client->count; i++)
			client->links[i].jitter_us = 1 + (int64_t)chance_draw(chance, 2 * MS);
		world_tell(sim->world, "-- the network of %s has jitter", client->name);
	}
}

/* Called twice: with the settings, before there are clients; and then without. */
void sim_set(struct sim *sim, const struct action *action, struct client_settings settings[SIM_CLIENTS])
{
	struct chance chance = chance_from(action->salt);
	unsigned client = (unsigned)chance_draw(&chance, sim->plan->clients);
	unsigned master = (unsigned)chance_draw(&chance, sim->plan->masters);
	struct world *world = sim->world;

	/* The operator is one of the others. */
	if (client == 0 && (action->what == SET_LIST || action->what == SET_MAX_TTL))
		client = 1;
	if (settings && action->what == SET_NO_QUARANTINE) {
		for (unsigned i = 0; i < SIM_CLIENTS; i++)
			settings[i].no_quarantine = true;
		sim->broken = true;
		world_tell(world, "-- quarantines are off");
	} else if (settings) {
		set_of_client(sim, action, &settings[client], client, &chance);
		set_of_world(sim, action->what, master, &chance);
	} else if (action->what == SET_NO_KILL) {
		for (unsigned i = 0; i < world->client_count; i++)
			for (unsigned j = 0; j < WORLD_MASTERS; j++)
				world->clients[i].links[j].no_kill = true;
		world_tell(world, "-- CLIENT KILL is not permitted");
	} else if (action->what == SET_ECHOES) {
		world->echoes = 2;
		world_tell(world, "-- grants may be told more than once");
	} else {
		set_of_process(sim, action->what, &world->clients[client], &chance);
	}
}

/* ---- users ---- */

static void set_data(struct seat *seat, struct chance *chance)
{
	char text[MODEL_BYTES_MAX];

	snprintf(text, sizeof(text), "%s %llu", seat->party->label,
	         (unsigned long long)seat->party->lock.cargo.version + 1);
	party_set_data(seat->party, chance_draw(chance, 5) ? text : NULL);
}

static void call_lock(struct sim *sim, struct seat *seat, struct chance *chance)
{
	static const int64_t timeouts_us[] = {0, 0, 40 * MS, 300 * MS, 2 * SECONDS, -1};
	struct party *party = seat->party;
	enum mode mode = chance_draw(chance, 3) ? MODE_EXCLUSIVE : MODE_SHARED;

	if (party->lock.state == LOCK_LOST) {
		party_unlock(party);
		return;
	}
	/* A call in the mode already held makes no round, and promises nothing of the data. */
	seat->promises = !(party->lock.state == LOCK_HELD && party->lock.held == MODE_EXCLUSIVE);
	sim->totals.calls++;
	party_lock(party, mode, timeouts_us[chance_draw(chance, 6)]);
}

static bool may_set_data_meanwhile(const struct party *party)
{
	return !(party->lock.state == LOCK_HELD && party->lock.held == MODE_EXCLUSIVE);
}

static void use(struct sim *sim, enum what what, unsigned client, struct chance *chance)
{
	unsigned index = (unsigned)chance_draw(chance, SIM_PARTIES);
	struct seat *seat = &sim->seats[client][index];
	struct party *party = seat->party;

	if (!party || !party->client->alive || party->client->paused)
		return;
	if (what == USE_CLOSE) {
		party_close(party);
		sim_open(sim, client, index);
	} else if (what == USE_SIGNAL) {
		party_cancel(party, EINTR);
	} else if (what == USE_DATA && (!party->calling || may_set_data_meanwhile(party))) {
		seat->promises = !party->calling || seat->promises;
		if (!party->calling)
			seat->verifies_since_us = NEVER_US;
		set_data(seat, chance);
	} else if (!party->calling) {
		seat->promises = false;
		seat->verifies_since_us = what == USE_VERIFY ? sim->world->now_us : NEVER_US;
		majority_ask_proof(seat);
		if (what == USE_UNLOCK)
			party_unlock(party);
		else if (what == USE_VERIFY)
			party_verify(party);
		else
			call_lock(sim, seat, chance);
	}
}

static void start_client(struct sim *sim, struct client *client)
{
	client_restart(client);
	sim_connect(sim, client);
	for (unsigned i = 0; i < SIM_PARTIES; i++)
		sim_open(sim, client->index, i);
}

static void others_want(struct sim *sim, struct chance *chance)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		if (chance_draw(chance, 2))
			sim_later(sim, LATER_LOCK, (int64_t)chance_draw(chance, 20 * MS), i, 0);
}

static void act_client(struct sim *sim, enum what what, struct client *client, struct chance *chance)
{
	if (what == CLIENT_START && !client->alive) {
		start_client(sim, client);
	} else if (what == CLIENT_KILL && client->alive) {
		client_vanish(client);
		for (unsigned i = 0; i < SIM_PARTIES; i++)
			sim->seats[client->index][i].party = NULL;
	} else if (what == CLIENT_PAUSE && client->alive) {
		client->paused = true;
		world_tell(sim->world, "-- %s is stopped", client->name);
		/* Others want what it may hold, and take it as soon as its lease has ended. */
		others_want(sim, chance);
	} else if (what == CLIENT_GO_ON && client->paused) {
		client->paused = false;
		world_tell(sim->world, "-- %s goes on", client->name);
	}
}

/* ---- a Redlock client that knows nothing of us ---- */

#define FOREIGN_TTL_US (400 * MS)
#define FOREIGN_ROUND_US (40 * MS)

static void foreign_lock(struct sim *sim, struct chance *chance)
{
	struct foreigner *f = &sim->foreigner;

	if (f->asking || f->holds)
		return;
	f->asking = true;
	f->got = 0;
	f->began_us = sim_us(sim);
	snprintf(f->value, sizeof(f->value), "foreign%u", ++f->count);
	world_tell(sim->world, "-- a foreign client asks");
	for (unsigned i = 0; i < sim->world->count; i++)
		sim_later(sim, LATER_FOREIGN_SET, (int64_t)chance_draw(chance, chance_draw(chance, 6) ? 2 * MS : 60 * MS), i,
		          f->count);
	sim_later(sim, LATER_FOREIGN_COUNT, FOREIGN_ROUND_US, 0, f->count);
}

static void foreign_unlock(struct sim *sim)
{
	struct foreigner *f = &sim->foreigner;

	f->holds = f->asking = false;
	world_tell(sim->world, "-- the foreign client gives back");
	for (unsigned i = 0; i < sim->world->count; i++)
		sim_later(sim, LATER_FOREIGN_DEL, (int64_t)chance_draw(&sim->chance, 3 * MS), i, f->count);
}

static void foreign_set(struct sim *sim, unsigned master, unsigned count)
{
	struct foreigner *f = &sim->foreigner;
	struct model_master *m = &sim->world->masters[master];
	int64_t now_us = master_now_us(sim->world, master);

	if (f->count != count || sim->world->stopped[master] || sim->world->down[master] || m->loading || m->read_only ||
	    m->out_of_memory || model_holds(m, key_names[0], NULL, now_us))
		return;
	model_set_foreign(m, key_names[0], f->value, FOREIGN_TTL_US / 1000, now_us);
	f->got += f->asking;
}

static void foreign_count(struct sim *sim, unsigned count)
{
	struct foreigner *f = &sim->foreigner;

	if (!f->asking || f->count != count)
		return;
	f->asking = false;
	f->until_us = f->began_us + FOREIGN_TTL_US - FOREIGN_TTL_US / 100 - 2 * MS;
	f->holds = f->got >= sim->world->count / 2 + 1 && sim_us(sim) < f->until_us;
	if (!f->holds)
		foreign_unlock(sim);
	else
		world_tell(sim->world, "-- the foreign client has it");
}

static void foreign_del(struct sim *sim, unsigned master, unsigned count)
{
	struct model_master *m = &sim->world->masters[master];
	const char *owner = model_owner(m, key_names[0], master_now_us(sim->world, master));
	char value[16];

	snprintf(value, sizeof(value), "foreign%u", count);
	if (owner && strcmp(owner, value) == 0)
		model_delete(m, key_names[0]);
}

/* ---- the network ---- */

static void hold(struct sim *sim, unsigned client, unsigned master, bool there, bool back)
{
	struct link *link = world_link(&sim->world->clients[client], master + 1);

	if (!link)
		return;
	link->held_there |= there;
	link->held_back |= back;
	world_tell(sim->world, "-- nothing goes %s%s%s between %s and %u", there ? "there" : "", there && back ? " and " : "",
	           back ? "back" : "", sim->world->clients[client].name, master + 1);
}

/* Some clients on one side with some masters. */
static void partition(struct sim *sim, struct chance *chance)
{
	uint64_t clients = chance_draw(chance, 1 << SIM_CLIENTS), masters = chance_draw(chance, 1 << WORLD_MASTERS);

	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < sim->world->count; j++)
			if ((clients >> i & 1) != (masters >> j & 1))
				hold(sim, i, j, true, true);
}

/* Each client lacks another master. */
static void ring(struct sim *sim, struct chance *chance)
{
	unsigned first = (unsigned)chance_draw(chance, sim->world->count);

	for (unsigned i = 0; i < sim->plan->clients; i++)
		hold(sim, i, (first + i) % sim->world->count, true, true);
}

/* One link after the other is clogged, and then, in another order, freed. */
static void swizzle(struct sim *sim, struct chance *chance)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < sim->world->count; j++) {
			if (chance_draw(chance, 2))
				continue;
			sim_later(sim, LATER_HOLD, (int64_t)chance_draw(chance, 200 * MS), i, j);
			sim_later(sim, LATER_LET, 200 * MS + (int64_t)chance_draw(chance, 200 * MS), i, j);
		}
}

static void cut(struct sim *sim, struct client *client, unsigned master, bool late, int64_t again_us)
{
	struct link *link = world_link(client, master + 1);

	if (!link || !client->alive)
		return;
	world_break(client, master + 1, late);
	if (late && chance_draw(&sim->chance, 2))
		sim_later(sim, LATER_LATE, (int64_t)chance_draw(&sim->chance, 100 * MS), client->index, master);
	if (!link->connected)
		link->connect_at_us = sim->world->now_us + again_us;
}

static int64_t draw_delay_us(struct chance *chance)
{
	static const int64_t most_us[] = {2 * MS, 2 * MS, 2 * MS, 2 * MS, 20 * MS, 45 * MS, 80 * MS};

	return 20 + (int64_t)chance_draw(chance, (uint64_t)most_us[chance_draw(chance, 7)]);
}

static void act_net(struct sim *sim, enum what what, unsigned at, unsigned master, struct chance *chance)
{
	struct client *client = &sim->world->clients[at];
	struct link *link = world_link(client, master + 1);
	bool there;

	switch (what) {
	case NET_BREAK:
		cut(sim, client, master, chance_draw(chance, 2), (int64_t)chance_draw(chance, 300 * MS));
		break;
	case NET_HOLD:
		hold(sim, at, master, true, true);
		break;
	case NET_ONE_WAY:
		there = chance_draw(chance, 2);
		hold(sim, at, master, there, !there);
		break;
	case NET_DELAY:
		if (!link)
			break;
		link->there_us = draw_delay_us(chance);
		link->back_us = draw_delay_us(chance);
		world_tell(sim->world, "-- between %s and %u it takes %lld µs there and %lld back", client->name, master + 1,
		           (long long)link->there_us, (long long)link->back_us);
		break;
	case NET_LATE:
		world_deliver_late(client, master + 1);
		break;
	case NET_PARTITION:
		partition(sim, chance);
		break;
	case NET_RING:
		ring(sim, chance);
		break;
	case NET_SWIZZLE:
		swizzle(sim, chance);
		break;
	case NET_UNSUBSCRIBE:
		world_unsubscribe(client, master + 1);
		break;
	case NET_DEAF:
		if (link)
			link->deaf = true;
		world_tell(sim->world, "-- what %u grants %s is lost", master + 1, client->name);
		break;
	default:
		for (unsigned i = 0; i < sim->world->count; i++) {
			struct link *one = world_link(client, i + 1);

			world_let(client, i + 1);
			if (one)
				one->deaf = false;
		}
		world_tell(sim->world, "-- the network of %s is whole again", client->name);
		break;
	}
}

/* ---- masters ---- */

static void cut_all(struct sim *sim, unsigned master, struct chance *chance)
{
	for (unsigned i = 0; i < sim->plan->clients; i++)
		cut(sim, &sim->world->clients[i], master, chance_draw(chance, 2), 500 + (int64_t)chance_draw(chance, 50 * MS));
}

static void take_snapshot(struct sim *sim, unsigned master)
{
	struct model_data **at = &sim->snapshots[master];

	if (!*at)
		*at = malloc(sizeof(**at));
	if (!*at)
		abort();
	**at = sim->world->masters[master].data;
	world_tell(sim->world, "-- of %u there is a snapshot", master + 1);
}

/* It has lost what was written last, locks and fences, but not what was written when it was introduced. */
static void lag(struct sim *sim, unsigned master)
{
	struct model_data *data = &sim->world->masters[master].data;

	memset(data->keys, 0, sizeof(data->keys));
	memset(data->fences, 0, sizeof(data->fences));
	memset(data->cargo, 0, sizeof(data->cargo));
	memset(data->queues, 0, sizeof(data->queues));
	check_forgot(sim, master);
}

/* A master that says to be durable has not forgotten: else its disk lies. */
static bool may_lie(const struct sim *sim)
{
	return sim->plan->mode == SIM_BEYOND || sim->plan->mode == SIM_LYING;
}

/* Its memory is an old one, and that it is durable is switched off before clients look again. */
static void restore(struct sim *sim, unsigned master, struct chance *chance)
{
	struct model_master *m = &sim->world->masters[master];

	if (!sim->snapshots[master])
		return;
	if (m->always && may_lie(sim) && chance_draw(chance, 2))
		sim->broken = true;
	else
		m->always = false;
	m->data = *sim->snapshots[master];
	model_restart(m, true);
	check_forgot(sim, master);
	world_tell(sim->world, "-- %u starts anew from its snapshot", master + 1);
	cut_all(sim, master, chance);
}

/* A replica that lagged behind, was promoted, and starts anew before any client has looked is believed to be the
 * master that it followed: docs/protocol.md, "Known holes". */
static bool hides_promotion(const struct model_master *m)
{
	return m->was_replica && m->always && strncmp(m->data.epoch, m->incarnation, strlen(m->incarnation)) != 0;
}

static void restart(struct sim *sim, unsigned master, bool keep, struct chance *chance)
{
	struct model_master *m = &sim->world->masters[master];
	bool was_durable = m->always && !keep;

	if (hides_promotion(m))
		return;
	if (was_durable && chance_draw(chance, 2)) {
		m->always = false; /* switched off, and then the last writes were lost */
		lag(sim, master);
	}
	keep |= was_durable; /* else MASTER_LIE is another thing */
	model_restart(m, keep);
	if (!m->always) /* its fences are not believed any more */
		check_forgot(sim, master);
	world_tell(sim->world, "-- %u starts anew, %s", master + 1,
	           !keep                       ? "empty"
	           : was_durable && !m->always ? "durable no more, without what was written last"
	                                       : "with its data");
	cut_all(sim, master, chance);
}

/* A replica takes over, which has what its master had, or had a while ago. */
static void promote(struct sim *sim, unsigned master, struct chance *chance)
{
	struct model_master *m = &sim->world->masters[master];

	if (sim->snapshots[master] && chance_draw(chance, 2))
		m->data = *sim->snapshots[master];
	else if (chance_draw(chance, 2))
		lag(sim, master);
	check_forgot(sim, master);
	model_promote(m);
	world_tell(sim->world, "-- a replica of %u takes over", master + 1);
	cut_all(sim, master, chance);
}

/* Another one, and rather one that lacks what others have. */
static unsigned draw_original(const struct sim *sim, unsigned master, struct chance *chance)
{
	unsigned count = sim->world->count, other = (unsigned)chance_draw(chance, count);

	for (unsigned i = 0; i < count && (other == master || model_key(&sim->world->masters[other].data, key_names[0])); i++)
		other = (other + 1) % count;
	return other != master ? other : (other + 1) % count;
}

/* It is made a replica of another of the masters, and started anew as a master when it has copied everything. */
static void copy(struct sim *sim, unsigned master, struct chance *chance)
{
	struct model_master *m = &sim->world->masters[master];
	unsigned other = draw_original(sim, master, chance);

	if (other == master)
		return; /* there is no other: that would be a restart */
	m->data = sim->world->masters[other].data;
	model_restart(m, true);
	check_forgot(sim, master);
	world_tell(sim->world, "-- %u starts anew with what it has copied from %u", master + 1, other + 1);
	cut_all(sim, master, chance);
	others_want(sim, chance);
}

/* In safety mode: a step that is noticed (docs/protocol.md), one a master, and on so few that the others are a
 * majority. Of the two conditions of the order a step breaks one, if it is as large as the skew that is accepted. */
static void step_clock(struct sim *sim, unsigned master, struct chance *chance)
{
	static const int64_t spans_us[] = {5 * MS, 100 * MS, 1500 * MS, 20 * SECONDS, 60 * SECONDS, 50 * HOUR_US};
	unsigned count = sim->world->count, stepped = 0;
	bool beyond = mode_is_beyond(sim->plan->mode);
	int64_t by_us;

	for (unsigned i = 0; i < count; i++)
		stepped += sim->stepped[i] > 0;
	if (beyond) {
		by_us = (int64_t)chance_draw(chance, (uint64_t)spans_us[chance_draw(chance, 6)]);
	} else if (sim->stepped[master] || stepped + 1 > count - (count / 2 + 1)) {
		return;
	} else {
		by_us = 300 * MS + (int64_t)chance_draw(chance, 2 * SECONDS);
	}
	if (chance_draw(chance, 2))
		by_us = -by_us;
	sim->stepped[master]++;
	sim->foreign_is_off = true;
	if (sim->has_forgotten[master])
		sim->broken = true;
	sim->world->masters[master].clock_us += by_us;
	world_tell(sim->world, "-- the clock of %u steps by %lld ms", master + 1, (long long)(by_us / 1000));
}

/* Faults that are there until they are taken back. */
static void disturb(struct sim *sim, enum what what, unsigned master)
{
	struct model_master *m = &sim->world->masters[master];
	static const char *const words[WHATS] = {
	    [MASTER_STOP] = "is stopped", [MASTER_DOWN] = "is down", [MASTER_READONLY] = "is a replica for a while",
	    [MASTER_NOSCRIPT] = "has lost the script", [MASTER_OOM] = "has no memory left",
	    [MASTER_BUSY] = "is busy with another script", [MASTER_LOADING] = "is loading"};

	sim->world->stopped[master] |= what == MASTER_STOP;
	sim->world->down[master] |= what == MASTER_DOWN;
	m->read_only |= what == MASTER_READONLY;
	m->script_loaded &= what != MASTER_NOSCRIPT;
	m->out_of_memory |= what == MASTER_OOM;
	m->busy |= what == MASTER_BUSY;
	m->loading |= what == MASTER_LOADING;
	world_tell(sim->world, "-- %u %s", master + 1, words[what]);
}

static void mend(struct sim *sim, unsigned master)
{
	struct model_master *m = &sim->world->masters[master];

	sim->world->stopped[master] = sim->world->down[master] = false;
	m->read_only = m->out_of_memory = m->busy = m->loading = false;
	world_tell(sim->world, "-- %u is well again", master + 1);
}

/* Another takes what was taken from the holder, and gives it back; and then the holders want to know. */
static void profit(struct sim *sim, struct chance *chance)
{
	unsigned client = (unsigned)chance_draw(chance, sim->plan->clients), party = (unsigned)chance_draw(chance, SIM_PARTIES);
	int64_t after_us = (int64_t)chance_draw(chance, 2 * MS), asks_us;
	uint64_t cuts = chance_draw(chance, 2) ? 0 : chance_draw(chance, 2) ? 100 : 2 * MS;

	sim_later(sim, LATER_LOCK, after_us, client, party);
	after_us += (int64_t)chance_draw(chance, 6 * MS);
	sim_later(sim, LATER_UNLOCK, after_us, client, party);
	for (unsigned i = 0; i < sim->plan->clients; i++)
		for (unsigned j = 0; j < SIM_PARTIES; j++) {
			if (i == client && j == party)
				continue;
			asks_us = after_us + (int64_t)chance_draw(chance, 6 * MS);
			sim_later(sim, LATER_VERIFY, asks_us, i, j);
			/* Perhaps the answers are lost, and what they would have told. */
			for (unsigned k = 0; cuts && k < sim->plan->masters; k++)
				sim_later(sim, LATER_CUT, asks_us + 100 + (int64_t)chance_draw(chance, cuts), i, k);
			sim_later(sim, LATER_VERIFY, asks_us + 10 * MS + (int64_t)chance_draw(chance, 60 * MS), i, j);
		}
}

/* By hand, on one or on all. */
static void delete_key(struct sim *sim, unsigned master, struct chance *chance)
{
	bool all = chance_draw(chance, 2);

	for (unsigned i = 0; i < sim->world->count; i++)
		if (all || i == master)
			model_delete(&sim->world->masters[i], key_names[0]);
	if (all) {
		world_tell(sim->world, "-- the key is deleted everywhere");
		profit(sim, chance);
	} else {
		world_tell(sim->world, "-- on %u the key is deleted", master + 1);
	}
}

static void act_master(struct sim *sim, enum what what, unsigned master, struct chance *chance)
{
	struct model_master *m = &sim->world->masters[master];

	switch (what) {
	case MASTER_EMPTY:
	case MASTER_KEPT:
		restart(sim, master, what == MASTER_KEPT, chance);
		break;
	case MASTER_SNAPSHOT:
		take_snapshot(sim, master);
		break;
	case MASTER_RESTORED:
		restore(sim, master, chance);
		break;
	case MASTER_FLUSH:
		model_flush(m);
		check_forgot(sim, master);
		world_tell(sim->world, "-- %u is flushed", master + 1);
		break;
	case MASTER_PROMOTE:
		promote(sim, master, chance);
		break;
	case MASTER_COPY:
		copy(sim, master, chance);
		break;
	case MASTER_STEP:
		step_clock(sim, master, chance);
		break;
	case MASTER_LIE:
		sim->broken = true;
		m->always = true;
		model_restart(m, false);
		check_forgot(sim, master);
		world_tell(sim->world, "-- %u lies: it is durable, and starts anew empty", master + 1);
		cut_all(sim, master, chance);
		break;
	case MASTER_DELETE:
		delete_key(sim, master, chance);
		break;
	case MASTER_HEAL:
		mend(sim, master);
		break;
	default:
		disturb(sim, what, master);
		if (what == MASTER_DOWN)
			cut_all(sim, master, chance);
		break;
	}
}

/* ---- what is called ---- */

void sim_act(struct sim *sim, const struct action *action)
{
	struct chance chance = chance_from(action->salt);
	unsigned client = (unsigned)chance_draw(&chance, sim->plan->clients);
	unsigned master = (unsigned)chance_draw(&chance, sim->plan->masters);

	if (action->what <= USE_CLOSE)
		use(sim, action->what, client, &chance);
	else if (action->what <= CLIENT_GO_ON)
		act_client(sim, action->what, &sim->world->clients[client], &chance);
	else if (action->what == FOREIGN_LOCK)
		foreign_lock(sim, &chance);
	else if (action->what == FOREIGN_UNLOCK)
		foreign_unlock(sim);
	else if (action->what <= NET_HEAL)
		act_net(sim, action->what, client, master, &chance);
	else
		act_master(sim, action->what, master, &chance);
}

/* A call that is made if none is under way. */
static void act_later_call(struct sim *sim, const struct later *later)
{
	struct seat *seat = &sim->seats[later->a][later->b];
	struct party *party = seat->party;

	if (!party || !party->client->alive || party->client->paused || party->calling)
		return;
	seat->promises = false;
	seat->verifies_since_us = later->what == LATER_VERIFY ? sim->world->now_us : NEVER_US;
	majority_ask_proof(seat);
	if (later->what == LATER_UNLOCK)
		party_unlock(party);
	else if (later->what == LATER_VERIFY)
		party_verify(party);
	else if (party->lock.state == LOCK_IDLE)
		party_lock(party, MODE_EXCLUSIVE, 1 * SECONDS);
}

void sim_act_later(struct sim *sim, const struct later *later)
{
	switch (later->what) {
	case LATER_FOREIGN_SET:
		foreign_set(sim, later->a, later->b);
		break;
	case LATER_FOREIGN_COUNT:
		foreign_count(sim, later->b);
		break;
	case LATER_FOREIGN_DEL:
		foreign_del(sim, later->a, later->b);
		break;
	case LATER_HOLD:
		hold(sim, later->a, later->b, true, true);
		break;
	case LATER_LET:
		world_let(&sim->world->clients[later->a], later->b + 1);
		world_tell(sim->world, "-- between %s and %u all goes again", sim->world->clients[later->a].name, later->b + 1);
		break;
	case LATER_CUT:
		cut(sim, &sim->world->clients[later->a], later->b, true, 5 * MS);
		break;
	case LATER_LATE:
		world_deliver_late(&sim->world->clients[later->a], later->b + 1);
		break;
	case LATER_UNLOCK:
	case LATER_LOCK:
	case LATER_VERIFY:
		act_later_call(sim, later);
		break;
	}
}
