/*
 * survey.c - see survey.h.
 *
 * How it works. A cluster has two lists, of the surveys under way and of those
 * that wait for their turn. Whatever may end a survey, an answer, a change of the
 * masters, its timer, comes to go_on(), which applies the rules. An answer finds
 * its survey through the tag of the command, so one that was released lives on,
 * as an empty shell, until its last answer has come or its connection has ended.
 */
#include "survey.h"

#include <errno.h>

#include "explain.h"
#include "handle.h"

/* ---- entering ---- */

int survey_enter(const char *name, const struct dlock_options *options, struct config *ret_config,
                 struct cluster **ret)
{
	struct config masters = {0};
	size_t length;
	int error = handle_config(name, options, ret_config, &length);

	if (error)
		return error;
	error = config_hand_over(ret_config, &masters);
	if (!error)
		error = keeper_enter();
	if (error) {
		config_clear(&masters);
		config_clear(ret_config);
		return error;
	}
	error = cluster_get(&masters, ret);
	if (error) {
		keeper_leave();
		config_clear(ret_config);
	}
	return error;
}

void survey_leave(struct cluster *cluster, struct config *config)
{
	cluster_put(cluster);
	keeper_leave();
	config_clear(config);
}

/* ---- the two lists ---- */

static void append(struct survey_list *list, struct survey *survey)
{
	survey->next = NULL;
	survey->previous = list->last;
	if (list->last)
		list->last->next = survey;
	else
		list->first = survey;
	list->last = survey;
	list->count++;
}

static void take_out(struct survey_list *list, struct survey *survey)
{
	if (survey->previous)
		survey->previous->next = survey->next;
	else
		list->first = survey->next;
	if (survey->next)
		survey->next->previous = survey->previous;
	else
		list->last = survey->previous;
	list->count--;
}

/* ---- the rules ---- */

static bool may_ask(const struct survey *survey, unsigned master, int64_t now_us)
{
	const struct quorum *quorum = &survey->cluster->quorum;
	const struct master *m = &quorum->masters[master];

	if (survey->asked >> master & 1 || !m->connected || !m->viewed)
		return false;
	if (survey->kind->all && m->asked) /* it is being asked what it is */
		return false;
	return !quorum_silent(quorum, master, now_us);
}

/* Rule 1. */
static void ask_known(struct survey *survey)
{
	int64_t now_us = keeper_now_us();

	for (unsigned i = 0; i < survey->cluster->quorum.settings.count; i++)
		if (may_ask(survey, i, now_us)) {
			survey->asked |= UINT32_C(1) << i;
			survey->kind->ask(survey, i);
		}
}

static bool has_majority(const struct survey *survey)
{
	return (unsigned)__builtin_popcount(survey->heard) >= survey->cluster->quorum.majority;
}

/* Rules 2 to 5. */
static bool is_over(const struct survey *survey, int64_t now_us)
{
	if (has_majority(survey) && survey->kind->agreed && survey->kind->agreed(survey))
		return true;
	if (now_us >= survey->end_us || now_us >= survey->grace_us)
		return true;
	return survey->pending == 0 && quorum_settled(&survey->cluster->quorum, now_us) &&
	       !(survey->kind->waits && survey->kind->waits(survey));
}

static void leave_lists(struct survey *survey)
{
	struct cluster *cluster = survey->cluster;

	take_out(survey->state == SURVEY_WAITING ? &cluster->surveys_waiting : &cluster->surveys, survey);
	survey->state = SURVEY_ENDED;
	timers_set(&keeper.timers, &survey->timer, INT64_MAX);
	keeper.timer_count--;
}

static void begin_next(struct cluster *cluster);

static void end(struct survey *survey)
{
	leave_lists(survey);
	if (survey->kind->ended)
		survey->kind->ended(survey);
	if (survey->waiter)
		waiting_finish(survey->waiter);
	begin_next(survey->cluster);
}

static void go_on(struct survey *survey)
{
	int64_t now_us = keeper_now_us();

	if (survey->state != SURVEY_UNDER_WAY)
		return;
	if (survey->grace_us == INT64_MAX && has_majority(survey) && !survey->kind->all)
		survey->grace_us = now_us + SURVEY_GRACE_US;
	if (is_over(survey, now_us))
		end(survey);
	else
		timers_set(&keeper.timers, &survey->timer,
		           survey->grace_us < survey->end_us ? survey->grace_us : survey->end_us);
}

/* Rule 6. One that is over at once makes room for the next: below, the loop goes on. */
static void begin_next(struct cluster *cluster)
{
	if (cluster->begins_surveys)
		return;
	cluster->begins_surveys = true;
	while (cluster->surveys_waiting.first && cluster->surveys.count < SURVEYS_MAX) {
		struct survey *survey = cluster->surveys_waiting.first;

		take_out(&cluster->surveys_waiting, survey);
		append(&cluster->surveys, survey);
		survey->state = SURVEY_UNDER_WAY;
		ask_known(survey);
		go_on(survey);
	}
	cluster->begins_surveys = false;
}

/* ---- what happens to it ---- */

void survey_masters_changed(struct cluster *cluster)
{
	struct survey *next;

	/* Those that begin meanwhile come last and know already. */
	for (struct survey *survey = cluster->surveys.first; survey; survey = next) {
		next = survey->next;
		ask_known(survey);
		go_on(survey);
	}
}

void survey_tick(struct survey *survey, int64_t now_us)
{
	struct cluster *cluster = survey->cluster;

	if (survey->state == SURVEY_WAITING && now_us >= survey->end_us)
		end(survey);
	else if (survey->state == SURVEY_WAITING)
		timers_set(&keeper.timers, &survey->timer, survey->end_us);
	else
		go_on(survey);
	cluster_settle(cluster, NULL);
}

static void discard(struct survey *survey)
{
	struct cluster *cluster = survey->cluster;

	survey->kind->free(survey);
	cluster_put(cluster);
}

void survey_answered(struct survey *survey, unsigned master, enum node_answer kind, const struct value *value,
                     const char *text)
{
	uint32_t bit = UINT32_C(1) << master;

	survey->pending--;
	if (survey->released) {
		if (survey->pending == 0)
			discard(survey);
		return;
	}
	if (survey->state != SURVEY_UNDER_WAY)
		return;
	if (kind == NODE_REPLY) {
		unsigned before = survey->pending;

		survey->kind->answered(survey, master, value);
		if (survey->pending > before)
			survey->end_us = keeper_now_us() + survey->timeout_us;
	} else if (kind == NODE_ERROR && wire_remedy(text) == WIRE_LOAD && !(survey->again & bit)) {
		/* The script is on its way to it, before this. */
		survey->again |= bit;
		survey->kind->ask(survey, master);
	} else if (kind == NODE_ERROR && survey->kind->refused) {
		survey->kind->refused(survey, master, text);
	}
	go_on(survey);
}

/* ---- for whoever asks ---- */

int survey_start(struct survey *survey, const struct survey_kind *kind, struct cluster *cluster, int64_t timeout_us)
{
	if (keeper_reserve_timers(1) < 0)
		return -ENOMEM;
	keeper.timer_count++;
	*survey = (struct survey){
	    .kind = kind,
	    .cluster = cluster,
	    .timer = {.owner = survey, .kind = TIMER_SURVEY},
	    .timeout_us = timeout_us,
	    .end_us = keeper_now_us() + timeout_us,
	    .grace_us = INT64_MAX,
	    .state = SURVEY_WAITING,
	};
	cluster->users++; /* answers that come late still find it */
	timers_set(&keeper.timers, &survey->timer, survey->end_us);
	append(&cluster->surveys_waiting, survey);
	begin_next(cluster);
	cluster_settle(cluster, NULL);
	return 0;
}

void survey_ask(struct survey *survey, unsigned master, const struct wire_command *command)
{
	int error = cluster_send_survey(survey->cluster, master, command, survey, keeper_now_us());

	if (error == 0)
		survey->pending++;
	else if (error == -ENOMEM)
		survey->error = error;
}

void survey_fail(struct survey *survey, int error)
{
	survey->error = error;
	survey->heard = 0;
	survey->end_us = 0;
}

void survey_wait(struct survey *survey)
{
	struct waiting ended;

	if (survey->state == SURVEY_ENDED)
		return;
	waiting_init(&ended);
	survey->waiter = &ended;
	keeper_wait_out(&ended);
	survey->waiter = NULL;
}

int survey_outcome(const struct survey *survey)
{
	if (has_majority(survey))
		return 0;
	return survey->error ? survey->error : -ENOLCK;
}

int survey_judge(const struct survey *survey)
{
	int error = survey_outcome(survey);

	if (error == -ENOLCK)
		explain_quorum(survey->cluster);
	return error;
}

void survey_release(struct survey *survey)
{
	struct cluster *cluster = survey->cluster;

	if (survey->state != SURVEY_ENDED) {
		leave_lists(survey);
		begin_next(cluster);
	}
	survey->released = true;
	if (survey->pending == 0)
		discard(survey);
}
