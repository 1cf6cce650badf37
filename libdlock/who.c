/*
 * who.c - dlock_who(): who holds a name, and who waits for it.
 *
 * A look-up at one name that gathers the queues too. Masters whose queues differ
 * are what is usual while some come and go, so a waiter needs no quorum, as a holder
 * does, but a majority of the masters that were heard: each of them tells all who
 * wait there, the first 1,000, and what a place is worth that only few of them know
 * nobody can say.
 */
#include <errno.h>

#include "dlock.h"

#include "error.h"
#include "look.h"

/* How it is told, to whom, and how far. */
struct telling {
	dlock_who_fn *each;
	void *arg;
	int32_t state;
	uint32_t waiters; /* all */
	unsigned least;   /* masters that must name one */
	uint32_t position;
	int told;
	bool ended;
};

static int tell(const struct dlock_holder *holder, void *arg)
{
	struct telling *telling = arg;
	bool waits = telling->state == DLOCK_WHO_WAITER;
	const struct dlock_who who = {
	    .name = holder->name,
	    .host = holder->host,
	    .program = holder->program,
	    .owner = holder->owner,
	    .pid = holder->pid,
	    .since_us = holder->since_us,
	    .ttl_ms = waits ? 0 : holder->ttl_ms,
	    .token = waits ? 0 : holder->token,
	    .mode = holder->mode,
	    .state = telling->state,
	    .position = waits ? telling->position + 1 : 0,
	    .masters = holder->masters,
	    .quorum = holder->quorum,
	    .unheard = holder->unheard,
	    .waiters = telling->waiters,
	};

	if (holder->masters < telling->least)
		return 0;
	telling->position++;
	telling->told++;
	telling->ended = telling->each && telling->each(&who, telling->arg) != 0;
	return telling->ended;
}

/* The number that was told, or -errno. */
static int tell_all(struct finding *finding, dlock_who_fn *each, void *arg)
{
	struct telling telling = {.each = each, .arg = arg, .state = DLOCK_WHO_HOLDER};
	unsigned least = finding->heard / 2 + 1;
	uint32_t waiting, named;

	if (finding->error)
		return finding->error;
	holders_leave_out(&finding->waiters, &finding->holders);
	waiting = holders_waiting(&finding->holders);
	named = holders_named(&finding->waiters, least);
	telling.waiters = waiting > named ? waiting : named;
	holders_tell(&finding->holders, finding->unheard, tell, &telling);
	if (telling.ended)
		return telling.told;
	telling.state = DLOCK_WHO_WAITER;
	telling.least = least;
	telling.position = 0;
	holders_tell(&finding->waiters, finding->unheard, tell, &telling);
	return telling.told;
}

int dlock_who_with(const char *name, dlock_who_fn *each, void *arg, const struct dlock_options *options)
{
	struct finding finding;
	struct cluster *cluster;
	struct config config;
	int result;

	error_detail_clear();
	name = name ? name : "";
	result = survey_enter(name, options, &config, &cluster);
	if (result)
		return error_fail(-result);
	look_and_wait(cluster, &config, name, true, &finding);
	survey_leave(cluster, &config);
	result = tell_all(&finding, each, arg);
	finding_clear(&finding);
	return result < 0 ? error_fail(-result) : result;
}

int dlock_who(const char *name, dlock_who_fn *each, void *arg)
{
	return dlock_who_with(name, each, arg, NULL);
}
