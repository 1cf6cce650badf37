/*
 * fleet_lock.c - the lock of the fleet behind the local ones; see fleet.h.
 *
 * One call of the library at a time. Which one comes next follows from what is held
 * and what is needed whenever the last has ended, so that nothing needs to be
 * remembered of how it came to that. A wait that nobody needs any more is ended by
 * closing the descriptor, which never blocks; the library gives back what may have
 * been granted meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet_internal.h"
#include "log.h"
#include "names.h"

#define BATCH_US 200000  /* the lock is handed on here for so long, */
#define CHANCE_US 80000  /* and then left to others for longer than the library's waiters sleep between two looks */
#define BUSY_US 1000000  /* who takes and releases it without end leaves it to others that often, */
#define RIVALS_US 5000000 /* and as often as who hands it on while it is not so long since others wanted it */
#define RAISE_US 50000   /* between two attempts to make a shared lock exclusive */
#define PACE_US 100000   /* between two attempts without a quorum */
#define GHOST_US 30000   /* an ended wait may be on its way back for so long, and be taken for another holder */
#define GHOST_PAUSE_US 5000

static void fleet_ready(struct source *source);

void fleet_lock_init(struct fleet *fleet)
{
	fleet->source.ready = fleet_ready;
	fleet->fd = -1;
}

/* ---- what is known ---- */

/* This mount holds the name itself, and so keeps the others out. */
static bool is_ours(const struct fleet *fleet)
{
	const struct name *name = names_find(fleet->daemon, fleet->name);

	return name && name->fd >= 0;
}

bool fleet_suffices(const struct fleet *fleet, int mode)
{
	return fleet->held >= mode || !fleet->name || is_ours(fleet);
}

bool fleet_exhausted(const struct fleet *fleet)
{
	return fleet->held && fleet->handed_on && fleet_need(fleet) == 0 &&
	       loop_now_us() - fleet->held_since_us >= BATCH_US;
}

bool fleet_owes(const struct fleet *fleet)
{
	if (fleet->call == FLEET_RELEASING || fleet->call == FLEET_LOWERING || fleet->unconfirmed)
		return true;
	return fleet->held && fleet_need(fleet) == 0 && !fleet_first_claim(fleet);
}

bool fleet_has_no_quorum(const struct fleet *fleet)
{
	struct dlock_stat stat;

	if (fleet->no_quorum)
		return true;
	return fleet->fd >= 0 && dlock_stat(fleet->fd, &stat, sizeof(stat)) == 0 && 2 * stat.masters_up <= stat.masters;
}

/* ---- the descriptor ---- */

static void begin_moving(struct fleet *fleet)
{
	if (!fleet->moving)
		fleet->daemon->moving++;
	fleet->moving = true;
}

static void end_moving(struct fleet *fleet)
{
	struct daemon *daemon = fleet->daemon;

	if (!fleet->moving)
		return;
	fleet->moving = false;
	serve_moved(daemon);
}

void fleet_close(struct fleet *fleet)
{
	bool asks = fleet->call == FLEET_TRYING || fleet->call == FLEET_WAITING;

	loop_drop_alarm(&fleet->alarm);
	/* At the end there is no time for the library to see the hang-up; nothing is held that it could wait for. */
	if (fleet->fd >= 0 && fleet->daemon->closing && asks)
		dlock_close(fleet->fd);
	else if (fleet->fd >= 0)
		close(fleet->fd);
	if (asks)
		fleet->cancelled_us = loop_now_us();
	fleet->fd = -1;
	fleet->held = 0;
	fleet->call = FLEET_QUIET;
	fleet->outdated = false;
	end_moving(fleet);
}

/* 0 or an errno. */
static int open_lock(struct fleet *fleet)
{
	struct daemon *daemon = fleet->daemon;
	int error;

	if (fleet->fd >= 0 && !fleet->outdated)
		return 0;
	fleet_close(fleet);
	fleet->fd = dlock_open_with(fleet->name, DLOCK_CLOEXEC | DLOCK_NONBLOCK, daemon->settings);
	if (fleet->fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		fleets_drop_idle(daemon->fleets, 0);
		fleet->fd = dlock_open_with(fleet->name, DLOCK_CLOEXEC | DLOCK_NONBLOCK, daemon->settings);
	}
	if (fleet->fd < 0)
		return errno;
	error = -loop_watch(&daemon->loop, fleet->fd, &fleet->source);
	if (error)
		fleet_close(fleet);
	return error;
}

/* ---- loss ---- */

static void lose(struct fleet *fleet)
{
	struct daemon *daemon = fleet->daemon;
	size_t count = 0;

	for (int kind = 0; kind < FLEET_KINDS; kind++) {
		for (struct range_held *held = fleet->ranges[kind].first; held; held = held->next)
			daemon->fleets->lost(daemon, &held->range);
		count += fleet->ranges[kind].count;
		ranges_drop_all(&fleet->ranges[kind]);
	}
	if (count > 0)
		log_warning("\"%s\": the lease was lost, and with it %zu lock%s of programs here", fleet->name, count,
		            count == 1 ? "" : "s");
	fleet_close(fleet);
	fleet->again = true;
}

void fleet_check_lease(struct fleet *fleet)
{
	if (fleet->held && fleet->call != FLEET_RELEASING && dlock_remaining(fleet->fd) == 0 && errno == ESTALE)
		lose(fleet);
}

/* ---- how a call has ended ---- */

static void obtained(struct fleet *fleet)
{
	int64_t now_us = loop_now_us();

	fleet->held = fleet->wanted;
	fleet->held_since_us = now_us;
	fleet->handed_on = fleet->no_quorum = fleet->tried = fleet->unconfirmed = false;
	if (fleet->free_since_us == 0 || now_us - fleet->free_since_us >= CHANCE_US)
		fleet->busy_since_us = now_us;
}

/* LOCK_UN also succeeds when too few masters answered in time. */
static bool is_unconfirmed(const struct fleet *fleet)
{
	struct dlock_stat stat;

	return dlock_stat(fleet->fd, &stat, sizeof(stat)) < 0 || stat.masters_released <= stat.masters / 2;
}

static void given_back(struct fleet *fleet)
{
	fleet->free_since_us = loop_now_us();
	if (fleet->yields)
		fleet->not_before_us = fleet->free_since_us + CHANCE_US;
	fleet->yields = false;
	end_moving(fleet);
}

static void no_quorum(struct fleet *fleet)
{
	fleet->no_quorum = fleet->tried = true;
	fleet->retry_us = loop_now_us() + PACE_US;
	fleet_refuse_tries(fleet, LOCK_SH, ENOLCK);
}

static void refused(struct fleet *fleet)
{
	const struct claim *claim = fleet_first_claim(fleet);
	int64_t now_us = loop_now_us();

	fleet->no_quorum = false;
	if (claim && now_us - fleet->cancelled_us < GHOST_US && now_us - claim->since_us < GHOST_US) {
		fleet->not_before_us = now_us + GHOST_PAUSE_US;
		return;
	}
	fleet->tried = true;
	fleet->rivals_us = now_us;
	fleet_refuse_tries(fleet, fleet->wanted, EWOULDBLOCK);
}

/* Asking again would not help: too long a lease for these masters, no memory, no descriptor. */
static void failed(struct fleet *fleet, int error)
{
	log_error("\"%s\": %s", fleet->name, dlock_strerror(error));
	if (fleet->call == FLEET_RAISING)
		fleet_refuse_tries(fleet, LOCK_EX, ENOLCK);
	else
		fleet_refuse_all(fleet, ENOLCK);
	fleet->retry_us = loop_now_us() + PACE_US;
}

static void ask_ended(struct fleet *fleet, int error)
{
	if (error == 0)
		obtained(fleet);
	else if (error == EWOULDBLOCK)
		refused(fleet);
	else if (error == ENOLCK || error == ETIMEDOUT)
		no_quorum(fleet);
	else
		failed(fleet, error);
}

static void raise_ended(struct fleet *fleet, int error)
{
	fleet->retry_us = loop_now_us() + RAISE_US;
	if (error == 0)
		fleet->held = LOCK_EX;
	else if (error == EWOULDBLOCK)
		fleet_refuse_tries(fleet, LOCK_EX, EWOULDBLOCK);
	else if (error == ENOLCK)
		no_quorum(fleet);
	else
		failed(fleet, error);
}

static void ended(struct fleet *fleet, int error)
{
	enum fleet_call call = fleet->call;

	loop_drop_alarm(&fleet->alarm);
	fleet->again = true;
	if (error == ESTALE) {
		lose(fleet);
		return;
	}
	switch (call) {
	case FLEET_TRYING:
	case FLEET_WAITING:
		ask_ended(fleet, error);
		break;
	case FLEET_RAISING:
		raise_ended(fleet, error);
		break;
	case FLEET_RELEASING:
		fleet->unconfirmed = is_unconfirmed(fleet);
		given_back(fleet);
		break;
	case FLEET_LOWERING:
	case FLEET_QUIET:
		break;
	}
	fleet->call = FLEET_QUIET;
}

static void fleet_ready(struct source *source)
{
	struct fleet *fleet = CONTAINER(source, struct fleet, source);
	int error = dlock_result(fleet->fd) < 0 ? errno : 0;

	if (error == EINPROGRESS || (fleet->call == FLEET_QUIET && error != ESTALE))
		return;
	ended(fleet, error);
	fleet_step(fleet);
}

/* ---- calls ---- */

static void go_on(struct alarm *alarm)
{
	fleet_step(CONTAINER(alarm, struct fleet, alarm));
}

static void wait_for(struct fleet *fleet, int64_t until_us, int64_t now_us)
{
	loop_set_alarm(&fleet->daemon->loop, &fleet->alarm, until_us - now_us, go_on);
}

static void begin(struct fleet *fleet, enum fleet_call call, int operation)
{
	fleet->call = call;
	if (dlock_flock(fleet->fd, operation) == 0)
		ended(fleet, 0);
	else if (errno != EINPROGRESS)
		ended(fleet, errno);
}

/* When it may be asked for next on behalf of this claim. */
static int64_t may_ask_us(const struct fleet *fleet, const struct claim *claim)
{
	int64_t at_us = fleet->not_before_us, busy_us = fleet->free_since_us - fleet->busy_since_us;
	bool rivals = fleet->rivals_us && fleet->free_since_us - fleet->rivals_us < RIVALS_US;

	/* Taken and given back again and again, it was never free for long enough to be found free. */
	if (busy_us >= (rivals ? BATCH_US : BUSY_US) && at_us < fleet->free_since_us + CHANCE_US)
		at_us = fleet->free_since_us + CHANCE_US;
	if (!claim->tries && at_us < fleet->retry_us)
		at_us = fleet->retry_us;
	return at_us;
}

static void ask(struct fleet *fleet, const struct claim *claim)
{
	int64_t now_us = loop_now_us(), at_us = may_ask_us(fleet, claim);
	int error;

	if (now_us < at_us) {
		wait_for(fleet, at_us, now_us);
		return;
	}
	fleet->wanted = claim_mode(claim);
	error = open_lock(fleet);
	if (error) {
		failed(fleet, error);
		fleet->again = true;
	} else if (claim->tries || !fleet->tried) {
		begin(fleet, FLEET_TRYING, fleet->wanted | LOCK_NB);
	} else {
		begin(fleet, FLEET_WAITING, fleet->wanted);
	}
}

/* It is held shared, and nothing rests on it here: the library's way of converting will do. */
static void raise_alone(struct fleet *fleet, const struct claim *claim)
{
	fleet->wanted = LOCK_EX;
	if (claim->tries) {
		begin(fleet, FLEET_RAISING, LOCK_EX | LOCK_NB);
		return;
	}
	fleet->held = 0;
	begin(fleet, FLEET_WAITING, LOCK_EX);
}

static void raise_beside_others(struct fleet *fleet)
{
	int64_t now_us = loop_now_us();

	if (fleet->tries == 0 && now_us < fleet->retry_us)
		wait_for(fleet, fleet->retry_us, now_us);
	else
		begin(fleet, FLEET_RAISING, LOCK_EX | LOCK_NB);
}

/* The library goes on giving it back without the descriptor. */
static void release_late(struct alarm *alarm)
{
	struct fleet *fleet = CONTAINER(alarm, struct fleet, alarm);

	fleet_close(fleet);
	given_back(fleet);
	fleet_step(fleet);
}

static void release(struct fleet *fleet)
{
	struct daemon *daemon = fleet->daemon;

	fleet->held = 0; /* nothing is granted here that others may have as soon */
	fleet->yields = fleet_first_claim(fleet) != NULL;
	fleet->unconfirmed = false;
	begin_moving(fleet);
	loop_set_alarm(&daemon->loop, &fleet->alarm, daemon->options->op_timeout_us, release_late);
	begin(fleet, FLEET_RELEASING, LOCK_UN);
}

/* A call is under way: whether it is what is needed now. */
static bool is_wanted(const struct fleet *fleet)
{
	const struct claim *claim = fleet_first_claim(fleet);

	if (fleet->call == FLEET_TRYING)
		return claim != NULL;
	/* Who only tries, and is the oldest now that another has gone, is to have an answer. */
	return fleet->call != FLEET_WAITING || (claim && !claim->tries && claim_mode(claim) == fleet->wanted);
}

void fleet_lock_go_on(struct fleet *fleet)
{
	const struct claim *claim = fleet_first_claim(fleet);
	int need = fleet_need(fleet);

	if (fleet->call != FLEET_QUIET && is_wanted(fleet))
		return;
	if (fleet->call != FLEET_QUIET)
		fleet_close(fleet);
	loop_drop_alarm(&fleet->alarm);
	if (!claim)
		fleet->tried = false;
	if (!fleet->held) {
		if (claim)
			ask(fleet, claim);
	} else if (need == 0) {
		if (!claim || fleet_exhausted(fleet))
			release(fleet);
		else
			raise_alone(fleet, claim);
	} else if (claim && fleet->held < LOCK_EX) {
		raise_beside_others(fleet);
	} else if (need < fleet->held) {
		fleet->held = LOCK_SH;
		begin(fleet, FLEET_LOWERING, LOCK_SH);
	}
}
