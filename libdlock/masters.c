/* masters.c - what the masters are: dlock_masters() and dlock_init(). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlock.h"

#include "error.h"
#include "explain.h"
#include "survey.h"

/* A copy that can be told without the mutex. */
struct report {
	char address[160], role[16], version[48], persistence[32], eviction[32], run_id[64];
	struct explanation explanation;
	struct dlock_master master;
};

static int public_state(const struct cluster *cluster, unsigned index)
{
	const struct master *m = &cluster->quorum.masters[index];

	if (m->standing != STANDING_UNREACHED && quorum_silent(&cluster->quorum, index, keeper_now_us()))
		return DLOCK_MASTER_UNREACHED;
	switch (m->standing) {
	case STANDING_VOTING:
		return DLOCK_MASTER_VOTING;
	case STANDING_QUARANTINED:
		return DLOCK_MASTER_QUARANTINED;
	case STANDING_REFUSED:
		return DLOCK_MASTER_REFUSED;
	default:
		return m->reason == REASON_UNDECIDED ? DLOCK_MASTER_REFUSED : DLOCK_MASTER_UNREACHED;
	}
}

static void fill_report(const struct cluster *cluster, unsigned i, struct report *r)
{
	const struct master *m = &cluster->quorum.masters[i];
	const struct node_facts *facts = &cluster->facts[i];
	int64_t left_us = m->quarantined_until_us - keeper_now_us();

	explain_master(cluster, i, &r->explanation);
	snprintf(r->address, sizeof(r->address), "%s", cluster->config.servers[i].address);
	if (m->connected) {
		snprintf(r->role, sizeof(r->role), "%s", facts->role);
		snprintf(r->version, sizeof(r->version), "%s", facts->version_text);
		snprintf(r->persistence, sizeof(r->persistence), "%s", facts->persistence);
		snprintf(r->eviction, sizeof(r->eviction), "%s", facts->eviction);
		snprintf(r->run_id, sizeof(r->run_id), "%s", facts->run_id);
	}
	r->master = (struct dlock_master){
	    .latency_us = m->connected ? node_latency_us(cluster->nodes[i]) : -1,
	    .clock_offset_us = m->connected && m->clock_known ? m->offset_us - quorum_median_offset_us(&cluster->quorum) : 0,
	    .quarantine_ms = m->standing == STANDING_QUARANTINED && left_us > 0 ? left_us / 1000 + 1 : 0,
	    .max_ttl_ms = m->viewed && m->view.cluster_understood ? m->view.max_ttl_ms : 0,
	    .state = public_state(cluster, i),
	    .warning = r->explanation.warning,
	};
}

static int tell_reports(struct report *reports, unsigned count, dlock_master_fn *each, void *arg)
{
	for (unsigned i = 0; i < count; i++) {
		struct report *r = &reports[i];

		r->master.address = r->address;
		r->master.version = r->version;
		r->master.role = r->role;
		r->master.persistence = r->persistence;
		r->master.eviction = r->eviction;
		r->master.run_id = r->run_id;
		r->master.problem = r->explanation.problem;
		r->master.remedy = r->explanation.remedy;
		if (each(&r->master, arg) != 0)
			break;
	}
	return 0;
}

/* ---- asking all of them ---- */

struct view_survey {
	struct survey survey;
	uint32_t among; /* a bit a master that may be asked */
	bool declares;  /* them new; else what they know of themselves */
};

static void view_ask(struct survey *survey, unsigned master)
{
	const struct view_survey *view = (struct view_survey *)survey;
	struct request request = {.op = OP_INIT, .master = master};
	struct wire_command command;

	if (!(view->among >> master & 1))
		return;
	if (view->declares)
		wire_format(&command, &request, &survey->cluster->quorum);
	else
		wire_format_survey(&command, 'V', NULL, 0, "", "");
	survey_ask(survey, master, &command);
}

/* First what it knows of itself; then, for who only looks, whether it may hand locks over. */
static void view_answered(struct survey *survey, unsigned master, const struct value *value)
{
	struct cluster *cluster = survey->cluster;
	struct wire_command command;

	if (survey->heard >> master & 1) {
		cluster->mute &= ~(UINT32_C(1) << master);
		return;
	}
	cluster_viewed(cluster, master, NODE_REPLY, value, keeper_now_us());
	survey->heard |= UINT32_C(1) << master;
	if (((const struct view_survey *)survey)->declares)
		return;
	wire_format_probe(&command, cluster->quorum.settings.channel);
	survey_ask(survey, master, &command);
}

static void view_refused(struct survey *survey, unsigned master, const char *text)
{
	if (survey->heard >> master & 1 && strncmp(text, "NOPERM", strlen("NOPERM")) == 0)
		survey->cluster->mute |= UINT32_C(1) << master;
}

/* Who only looks wants to know as well whether grants can be heard. */
static bool view_waits(const struct survey *survey)
{
	return !((const struct view_survey *)survey)->declares && grants_unknown(survey->cluster);
}

static void view_free(struct survey *survey)
{
	free(survey);
}

static const struct survey_kind view_kind = {
	.all = true,
	.ask = view_ask,
	.answered = view_answered,
	.refused = view_refused,
	.waits = view_waits,
	.free = view_free,
};

/* Asks all of `among` and waits. The masters that answered, a bit each, or -ENOMEM. */
static int64_t ask_all(struct cluster *cluster, const struct config *config, uint32_t among, bool declares)
{
	struct view_survey *view = calloc(1, sizeof(*view));
	int64_t heard;

	if (!view)
		return -ENOMEM;
	view->among = among;
	view->declares = declares;
	if (survey_start(&view->survey, &view_kind, cluster, config->node_timeout_us) < 0) {
		free(view);
		return -ENOMEM;
	}
	survey_wait(&view->survey);
	heard = view->survey.heard;
	survey_release(&view->survey);
	return heard;
}

/* See every master now, not as it was when it was last heard. 0 or -ENOMEM. */
static int view_all(struct cluster *cluster, const struct config *config)
{
	return ask_all(cluster, config, UINT32_MAX, false) < 0 ? -ENOMEM : 0;
}

int dlock_masters_with(dlock_master_fn *each, void *arg, const struct dlock_options *options)
{
	struct report *reports;
	struct cluster *cluster;
	struct config config;
	unsigned count, voting = 0;
	int error;

	error_detail_clear();
	if (!each) {
		error_detail_set("dlock_masters() needs a function to call");
		return error_fail(EINVAL);
	}
	error = survey_enter(NULL, options, &config, &cluster);
	if (error)
		return error_fail(-error);
	count = cluster->quorum.settings.count;
	grants_listen(cluster);
	error = view_all(cluster, &config);
	reports = calloc(count, sizeof(*reports));
	for (unsigned i = 0; reports && i < count; i++) {
		fill_report(cluster, i, &reports[i]);
		voting += reports[i].master.state == DLOCK_MASTER_VOTING;
	}
	survey_leave(cluster, &config);
	if (error || !reports) {
		free(reports);
		return error_fail(ENOMEM);
	}
	tell_reports(reports, count, each, arg);
	free(reports);
	return (int)voting;
}

int dlock_masters(dlock_master_fn *each, void *arg)
{
	return dlock_masters_with(each, arg, NULL);
}

/* ---- init ---- */

/* Whether a lease may have been given by this master, or it is another cluster's. */
static bool was_used(const struct quorum *quorum, const struct master *m)
{
	return m->view.fences > 0 ||
	       (m->view.has_cluster && strcmp(m->view.cluster_id, quorum->settings.fingerprint) != 0);
}

static int refuse_used(const struct cluster *cluster)
{
	const struct quorum *quorum = &cluster->quorum;

	for (unsigned i = 0; i < quorum->settings.count; i++) {
		const struct master *m = &quorum->masters[i];

		if (!m->connected || !m->viewed || !was_used(quorum, m))
			continue;
		error_detail_set("%s was used before (%lld locks remembered, cluster %s): waiving its quarantine is safe only if no "
		                 "lease can still be held",
		                 cluster->config.servers[i].address, (long long)m->view.fences,
		                 m->view.has_cluster ? m->view.cluster_id : "none");
		return -EEXIST;
	}
	return 0;
}

/* Only those that were looked at: one that is reached a moment later may be another's. */
static uint32_t to_declare(const struct cluster *cluster)
{
	uint32_t among = 0;

	for (unsigned i = 0; i < cluster->quorum.settings.count; i++) {
		const struct master *m = &cluster->quorum.masters[i];

		if (m->connected && m->viewed && m->reason != REASON_DUPLICATE)
			among |= UINT32_C(1) << i;
	}
	return among;
}

/* The number of masters reached, or -errno. */
static int declare_new(struct cluster *cluster, const struct config *config)
{
	uint32_t among = to_declare(cluster);
	int64_t heard;

	quorum_found(&cluster->quorum);
	heard = ask_all(cluster, config, among, true);
	if (heard < 0)
		return (int)heard;
	if (__builtin_popcount((uint32_t)heard) >= (int)cluster->quorum.majority)
		return __builtin_popcount((uint32_t)heard);
	explain_quorum(cluster);
	return -ENOLCK;
}

int dlock_init_with(int flags, const struct dlock_options *options)
{
	struct cluster *cluster;
	struct config config;
	int error;

	error_detail_clear();
	if (flags & ~DLOCK_INIT_FORCE) {
		error_detail_set("unknown flags 0x%x: DLOCK_INIT_FORCE is known", (unsigned)flags);
		return error_fail(EINVAL);
	}
	error = survey_enter(NULL, options, &config, &cluster);
	if (error)
		return error_fail(-error);
	error = view_all(cluster, &config);
	if (!error && !(flags & DLOCK_INIT_FORCE))
		error = refuse_used(cluster);
	if (!error)
		error = declare_new(cluster, &config);
	survey_leave(cluster, &config);
	return error < 0 ? error_fail(-error) : error;
}

int dlock_init(int flags)
{
	return dlock_init_with(flags, NULL);
}
