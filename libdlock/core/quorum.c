/* quorum.c - see quorum.h. */
#include "core/quorum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/lease.h"

#define VERSION_OLDEST 60200       /* PXAT */
#define DEFAULT_MAX_TTL_US 10000000
#define OFFER_TRIPS 10
#define OFFER_LAGS 5
#define PROBE_MIN_US 50000
#define PROBE_MAX_US 1000000
#define CLUSTER_VERSION 1
#define MAX_TTL_MOST_MS (INT64_C(1) << 52) /* so that microseconds can be added */

static void judge(struct quorum *quorum, int64_t now_us, struct effects *effects);

static int64_t own_max_ttl_us(const struct quorum_settings *settings)
{
	if (settings->max_ttl_us)
		return settings->max_ttl_us;
	return settings->ttl_us > DEFAULT_MAX_TTL_US ? settings->ttl_us : DEFAULT_MAX_TTL_US;
}

void quorum_init(struct quorum *quorum, const struct quorum_settings *settings)
{
	memset(quorum, 0, sizeof(*quorum));
	quorum->settings = *settings;
	quorum->majority = settings->count / 2 + 1;
	quorum->lease_limit_us = quorum->quarantine_us = own_max_ttl_us(settings);
	quorum->shortest_us = settings->ttl_us;
	for (unsigned i = 0; i < settings->count; i++)
		quorum->masters[i].probe_at_us = NEVER_US;
}

/* FNV-1a of each address, added up: the sum does not know an order. */
void quorum_fingerprint(char out[CLUSTER_ID_SIZE], const char *const *addresses, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t hash = 14695981039346656037u;

		for (const char *p = addresses[i]; *p; p++)
			hash = (hash ^ (uint8_t)*p) * 1099511628211u;
		/* Mix before adding, so that lists that are permuted within do not meet. */
		hash ^= hash >> 31;
		hash *= 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
		sum += hash;
	}
	snprintf(out, CLUSTER_ID_SIZE, "%016llx", (unsigned long long)sum);
}

bool view_parse_cluster(struct view *view, const char *text, size_t length)
{
	char copy[96], id[CLUSTER_ID_SIZE];
	unsigned version, count;
	long long max_ttl_ms;
	int end = 0;

	view->has_cluster = length > 0;
	view->cluster_understood = false;
	if (length == 0 || length >= sizeof(copy))
		return length == 0;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (sscanf(copy, "%u %16[0-9a-f] %u %lld%n", &version, id, &count, &max_ttl_ms, &end) != 4 ||
	    (size_t)end != length || version != CLUSTER_VERSION || max_ttl_ms <= 0 ||
	    max_ttl_ms > MAX_TTL_MOST_MS || count == 0)
		return false;
	memcpy(view->cluster_id, id, sizeof(view->cluster_id));
	view->cluster_count = count;
	view->max_ttl_ms = max_ttl_ms;
	view->cluster_understood = true;
	return true;
}

void quorum_cluster_text(const struct quorum *quorum, char *out, size_t size)
{
	snprintf(out, size, "%d %s %u %lld", CLUSTER_VERSION,
	         quorum->decided ? quorum->cluster_id : quorum->settings.fingerprint, quorum->settings.count,
	         (long long)(quorum->quarantine_us / 1000));
}

static void ask_master(struct quorum *quorum, unsigned index, enum operation op, int64_t now_us,
                       struct effects *effects)
{
	struct effect *effect = &effects->list[effects->count++];

	quorum->masters[index].asked = true;
	quorum->masters[index].probe_at_us = NEVER_US;
	effect->kind = EFFECT_SEND;
	memset(&effect->request, 0, sizeof(effect->request));
	effect->request.op = op;
	effect->request.master = index;
	effect->request.sent_us = now_us;
}

void quorum_connected(struct quorum *quorum, unsigned index, const struct introduction *introduction, int64_t now_us,
                      struct effects *effects)
{
	struct master *m = &quorum->masters[index];

	m->connected = true;
	m->viewed = false;
	m->introduction = *introduction;
	m->unanswered = 0;
	m->lag_us = 0;
	m->best_rtt_us = 0;
	/* A replica or a server that loads refuses scripts that may write. */
	if (introduction->info_known && introduction->is_master && !introduction->loading &&
	    introduction->version >= VERSION_OLDEST)
		ask_master(quorum, index, OP_VIEW, now_us, effects);
	else
		m->probe_at_us = now_us + PROBE_MAX_US;
	judge(quorum, now_us, effects);
}

void quorum_disconnected(struct quorum *quorum, unsigned index, int64_t now_us, struct effects *effects)
{
	struct master *m = &quorum->masters[index];

	m->connected = m->viewed = m->asked = false;
	m->tried = true;
	m->unanswered = 0;
	m->lag_us = 0;
	m->probe_at_us = NEVER_US;
	judge(quorum, now_us, effects);
}

void quorum_viewed(struct quorum *quorum, unsigned index, const struct view *view, int64_t now_us,
                   struct effects *effects)
{
	struct master *m = &quorum->masters[index];

	m->asked = false;
	if (!m->connected)
		return;
	if (view) {
		m->viewed = true;
		m->view = *view;
		/* The master's quarantine ends by its clock; whether it has is asked again then. */
		m->quarantined_until_us = view->quarantine_ms > 0 ? now_us + view->quarantine_ms * 1000 : 0;
	} else {
		/* What was known may be what a failed introduction was to change: asked for anew, and not at once, or
		 * a master that always fails would be asked without a pause. */
		m->viewed = false;
		m->probe_at_us = now_us + PROBE_MAX_US;
	}
	judge(quorum, now_us, effects);
}

void quorum_found(struct quorum *quorum)
{
	memcpy(quorum->cluster_id, quorum->settings.fingerprint, CLUSTER_ID_SIZE);
	quorum->lease_limit_us = quorum->quarantine_us = own_max_ttl_us(&quorum->settings);
	quorum->decided = true;
}

void quorum_ask_ttl(struct quorum *quorum, int64_t ttl_us, int64_t now_us, struct effects *effects)
{
	if (ttl_us < quorum->shortest_us)
		quorum->shortest_us = ttl_us;
	if (ttl_us <= quorum->settings.ttl_us)
		return;
	quorum->settings.ttl_us = ttl_us;
	if (!quorum->decided)
		quorum->lease_limit_us = quorum->quarantine_us = own_max_ttl_us(&quorum->settings);
	judge(quorum, now_us, effects);
}

/* How far a clock may have gone astray since it was seen last without a step. Less than what each lease allows for
 * anyway is none. */
static int64_t astray_us(const struct quorum *quorum, const struct master *m, int64_t now_us)
{
	int64_t span_us = now_us - m->clock_seen_us;

	if (span_us < quorum->shortest_us)
		span_us = quorum->shortest_us;
	return lease_drift_us(span_us < quorum->quarantine_us ? span_us : quorum->quarantine_us);
}

/* Rule 4. Both ends of the offset are certain: the master's clock was read after
 * the request left and before the answer came. */
static void observe_clock(struct quorum *quorum, struct master *m, int64_t sent_us, int64_t master_us, int64_t now_us)
{
	int64_t low = master_us - now_us, high = master_us - sent_us, rtt = now_us - sent_us;
	int64_t margin = astray_us(quorum, m, now_us);

	m->clock_seen_us = now_us;
	if (!m->clock_known) {
		m->clock_known = true;
		m->stable_since_us = now_us;
		m->offset_low_us = low;
		m->offset_high_us = high;
	} else if (low > m->offset_high_us + margin || high < m->offset_low_us - margin) {
		m->clock_moved = true;
		m->stable_since_us = now_us;
		m->offset_low_us = low;
		m->offset_high_us = high;
		m->best_rtt_us = 0;
	} else if (low > m->offset_high_us || high < m->offset_low_us) {
		m->offset_low_us = low; /* drifted out of what was known: follow it */
		m->offset_high_us = high;
	} else {
		m->offset_low_us = low > m->offset_low_us ? low : m->offset_low_us;
		m->offset_high_us = high < m->offset_high_us ? high : m->offset_high_us;
	}
	/* The estimate comes from quick answers; the bound relaxes, so that a route that
	 * became slower is believed in the end. */
	if (m->best_rtt_us == 0 || rtt <= m->best_rtt_us + m->best_rtt_us / 2 + 20) {
		m->offset_us = low + rtt / 2;
		if (m->best_rtt_us == 0 || rtt < m->best_rtt_us)
			m->best_rtt_us = rtt;
	} else {
		m->best_rtt_us += m->best_rtt_us / 64 + 1;
	}
}

void quorum_sent(struct quorum *quorum, unsigned index, int64_t now_us)
{
	struct master *m = &quorum->masters[index];

	if (m->unanswered++ == 0)
		m->silent_since_us = now_us;
}

void quorum_answered(struct quorum *quorum, unsigned index, int64_t sent_us, int64_t master_us, int64_t now_us)
{
	struct master *m = &quorum->masters[index];
	bool moved = m->clock_moved;

	if (m->unanswered > 0)
		m->unanswered--;
	m->silent_since_us = now_us;
	m->lag_us = m->unanswered > 0 ? now_us - sent_us : 0;
	if (master_us <= 0)
		return;
	observe_clock(quorum, m, sent_us, master_us, now_us);
	m->heard_sent_us = sent_us;
	m->heard_master_us = master_us;
	if (m->clock_moved && !moved && m->standing == STANDING_VOTING) {
		/* At once, not at the next judgement: the vote in this very answer must not count. */
		m->standing = STANDING_REFUSED;
		m->reason = REASON_CLOCK;
		m->probe_at_us = now_us + PROBE_MAX_US;
		quorum->voting--;
	}
}

void quorum_listening(struct quorum *quorum, unsigned index, bool listening)
{
	quorum->masters[index].listening = listening;
}

bool quorum_clock_fits(const struct quorum *quorum, unsigned index, int64_t master_us, int64_t now_us)
{
	const struct master *m = &quorum->masters[index];

	return m->clock_known && master_us - now_us <= m->offset_high_us + astray_us(quorum, m, now_us);
}

int64_t quorum_until_us(const struct quorum *quorum, unsigned index, int64_t expiry_us)
{
	const struct master *m = &quorum->masters[index];

	if (m->heard_master_us == 0 || expiry_us <= m->heard_master_us)
		return 0;
	return lease_vote_until_us(m->heard_sent_us, expiry_us - m->heard_master_us);
}

int64_t quorum_longest_rtt_us(const struct quorum *quorum)
{
	int64_t longest_us = 0;

	for (unsigned i = 0; i < quorum->settings.count; i++)
		if (quorum->masters[i].best_rtt_us > longest_us)
			longest_us = quorum->masters[i].best_rtt_us;
	return longest_us;
}

int64_t quorum_offer_us(const struct quorum *quorum)
{
	int64_t trips_us = OFFER_TRIPS * quorum_longest_rtt_us(quorum);

	/* Masters that have much to do carry out what prolongs it as late. */
	for (unsigned i = 0; i < quorum->settings.count; i++)
		if (OFFER_LAGS * quorum->masters[i].lag_us > trips_us)
			trips_us = OFFER_LAGS * quorum->masters[i].lag_us;
	return trips_us > OFFER_MIN_US ? trips_us : OFFER_MIN_US;
}

bool quorum_silent(const struct quorum *quorum, unsigned index, int64_t now_us)
{
	const struct master *m = &quorum->masters[index];

	return m->unanswered > 0 && (now_us - m->silent_since_us > quorum->settings.node_timeout_us ||
	                             m->lag_us > quorum->settings.node_timeout_us);
}

bool quorum_owes(const struct quorum *quorum, unsigned index, int64_t for_us, int64_t now_us)
{
	const struct master *m = &quorum->masters[index];

	return m->unanswered > 0 && now_us - m->silent_since_us > for_us;
}

bool quorum_askable(const struct quorum *quorum, unsigned index, int64_t now_us)
{
	return quorum->masters[index].standing == STANDING_VOTING && !quorum_silent(quorum, index, now_us);
}

uint32_t quorum_voters(const struct quorum *quorum)
{
	uint32_t voters = 0;

	for (unsigned i = 0; i < quorum->settings.count; i++)
		if (quorum->masters[i].standing == STANDING_VOTING)
			voters |= UINT32_C(1) << i;
	return voters;
}

/* A master of which nothing was heard yet, but may be soon. */
static bool still_unheard(const struct quorum *quorum, unsigned index, int64_t now_us)
{
	const struct master *m = &quorum->masters[index];

	if (!m->connected)
		return !m->tried;
	return m->asked && !m->viewed && !quorum_silent(quorum, index, now_us);
}

bool quorum_settled(const struct quorum *quorum, int64_t now_us)
{
	for (unsigned i = 0; i < quorum->settings.count; i++) {
		const struct master *m = &quorum->masters[i];

		if (still_unheard(quorum, i, now_us))
			return false;
		if (m->standing == STANDING_ASKED && m->asked && !quorum_silent(quorum, i, now_us))
			return false;
	}
	return true;
}

/* Every master was heard or given up: only then may a new cluster be made. */
static bool all_heard(const struct quorum *quorum, int64_t now_us)
{
	for (unsigned i = 0; i < quorum->settings.count; i++)
		if (still_unheard(quorum, i, now_us))
			return false;
	return true;
}

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t quorum_median_offset_us(const struct quorum *quorum)
{
	int64_t offsets[SERVERS_MAX];
	size_t count = 0;

	for (unsigned i = 0; i < quorum->settings.count; i++)
		if (quorum->masters[i].connected && quorum->masters[i].clock_known)
			offsets[count++] = quorum->masters[i].offset_us;
	if (count == 0)
		return 0;
	qsort(offsets, count, sizeof(offsets[0]), compare_times);
	return offsets[(count - 1) / 2];
}

int64_t quorum_clock_us(const struct quorum *quorum, int64_t now_us)
{
	int64_t offset = quorum_median_offset_us(quorum);

	return offset ? now_us + offset : 0;
}

uint64_t quorum_ticket(struct quorum *quorum, int64_t now_us)
{
	int64_t ticket = quorum_clock_us(quorum, now_us);

	if (ticket <= quorum->last_ticket_us)
		ticket = quorum->last_ticket_us + 1;
	quorum->last_ticket_us = ticket;
	return (uint64_t)ticket;
}

/* ---- judgement ---- */

static bool same_cluster(const struct master *m, const char *id)
{
	return m->view.cluster_understood && strcmp(m->view.cluster_id, id) == 0;
}

static unsigned carriers(const struct quorum *quorum, const char *id)
{
	unsigned count = 0;

	for (unsigned i = 0; i < quorum->settings.count; i++)
		if (quorum->masters[i].viewed && same_cluster(&quorum->masters[i], id))
			count++;
	return count;
}

static void adopt(struct quorum *quorum, const char *id)
{
	int64_t own = own_max_ttl_us(&quorum->settings), low = 0, high = 0;

	/* Clients that raced to make the cluster may have written different M: the
	 * smallest bounds the leases and the largest the quarantines, which is safe
	 * whichever of them a client has seen. */
	for (unsigned i = 0; i < quorum->settings.count; i++) {
		const struct master *m = &quorum->masters[i];
		int64_t max_ttl_us = m->view.max_ttl_ms * 1000;

		if (!m->viewed || !same_cluster(m, id))
			continue;
		low = low == 0 || max_ttl_us < low ? max_ttl_us : low;
		high = max_ttl_us > high ? max_ttl_us : high;
	}
	memmove(quorum->cluster_id, id, CLUSTER_ID_SIZE);
	/* What is known of the cluster stays known while no master of it is at hand. */
	if (low || !quorum->decided) {
		quorum->lease_limit_us = low ? low : own;
		quorum->quarantine_us = high ? high : own;
	}
	quorum->decided = true;
}

/* Rule 3: which cluster is ours. */
static void decide_cluster(struct quorum *quorum, int64_t now_us)
{
	const char *own = quorum->settings.fingerprint;
	unsigned viewed = 0, virgin = 0, foreign = 0;

	if (quorum->decided) {
		adopt(quorum, quorum->cluster_id);
		return;
	}
	for (unsigned i = 0; i < quorum->settings.count; i++) {
		const struct master *m = &quorum->masters[i];

		if (!m->viewed)
			continue;
		viewed++;
		if (!m->view.has_cluster)
			virgin++;
		else if (!same_cluster(m, own))
			foreign++;
		if (m->view.cluster_understood && carriers(quorum, m->view.cluster_id) >= quorum->majority) {
			adopt(quorum, m->view.cluster_id);
			return;
		}
	}
	/* A new cluster, or one of which a majority has forgotten. Not before every
	 * master was heard or given up: one that is slow may carry another id. */
	if (viewed >= quorum->majority && all_heard(quorum, now_us) &&
	    (foreign == 0 || viewed - virgin - foreign > 0) && viewed - foreign >= quorum->majority)
		adopt(quorum, own);
}

static enum reason refuse_by_facts(const struct quorum *quorum, unsigned index, unsigned *ret_other)
{
	const struct introduction *in = &quorum->masters[index].introduction;

	if (!in->info_known || in->incarnation[0] == '\0')
		return REASON_UNKNOWN;
	if (in->version < VERSION_OLDEST)
		return REASON_VERSION;
	if (!in->is_master)
		return REASON_ROLE;
	if (in->loading)
		return REASON_LOADING;
	if (in->evicts)
		return REASON_EVICTION;
	for (unsigned i = 0; i < index; i++) {
		const struct master *m = &quorum->masters[i];

		if (m->connected && m->introduction.info_known && m->introduction.run_id_length == in->run_id_length &&
		    memcmp(m->introduction.incarnation, in->incarnation, in->run_id_length) == 0) {
			*ret_other = i;
			return REASON_DUPLICATE;
		}
	}
	return REASON_NONE;
}

static enum reason refuse_by_cluster(const struct quorum *quorum, const struct master *m)
{
	const struct quorum_settings *s = &quorum->settings;

	if (!quorum->decided)
		return REASON_UNDECIDED;
	if (m->view.has_cluster && !same_cluster(m, quorum->cluster_id))
		return REASON_CLUSTER;
	if (m->view.has_cluster && m->view.cluster_count != s->count)
		return REASON_COUNT;
	if (s->max_ttl_us && m->view.has_cluster && m->view.max_ttl_ms * 1000 != s->max_ttl_us)
		return REASON_MAX_TTL;
	return REASON_NONE;
}

static bool known_incarnation(const struct master *m)
{
	size_t length = strlen(m->introduction.incarnation);

	return strncmp(m->view.epoch, m->introduction.incarnation, length) == 0 && m->view.epoch[length] == ':';
}

static bool durability_is_told(const struct master *m)
{
	size_t length = strlen(m->view.epoch);
	bool marked = length > 7 && strcmp(m->view.epoch + length - 7, ":always") == 0;

	return !m->introduction.always_known || m->introduction.always == marked;
}

/* Rule 4, of a master that is fine otherwise. */
static enum reason refuse_by_clock(const struct quorum *quorum, struct master *m, int64_t now_us)
{
	int64_t median = quorum_median_offset_us(quorum), margin = lease_drift_us(quorum->quarantine_us);
	int64_t off = m->offset_low_us > median ? m->offset_low_us - median
	              : m->offset_high_us < median ? median - m->offset_high_us
	                                           : 0;

	if (quorum->quarantine_us <= 2 * SKEW_US + 2 * off)
		return REASON_SKEW;
	if (now_us - m->stable_since_us >= quorum->quarantine_us) {
		m->clock_moved = false;
		return REASON_NONE;
	}
	return m->clock_moved || off > margin ? REASON_CLOCK : REASON_NONE;
}

static void judge_one(struct quorum *quorum, unsigned index, int64_t now_us, struct effects *effects)
{
	struct master *m = &quorum->masters[index];

	m->reason = REASON_NONE;
	if (!m->connected) {
		m->standing = STANDING_UNREACHED;
		return;
	}
	m->standing = STANDING_REFUSED;
	m->reason = refuse_by_facts(quorum, index, &m->other);
	if (m->reason != REASON_NONE)
		return;
	if (!m->viewed) {
		m->standing = STANDING_ASKED;
		return;
	}
	m->reason = refuse_by_cluster(quorum, m);
	/* While masters are still being heard, the cluster is only not decided yet. */
	if (m->reason == REASON_UNDECIDED && !all_heard(quorum, now_us))
		m->standing = STANDING_ASKED;
	if (m->reason != REASON_NONE)
		return;
	if (!known_incarnation(m) || !m->view.has_cluster || !durability_is_told(m)) {
		m->standing = STANDING_ASKED;
		if (!m->asked)
			ask_master(quorum, index, OP_INTRODUCE, now_us, effects);
		return;
	}
	if (m->view.quarantine_ms > 0 && quorum->settings.quarantine) {
		m->standing = STANDING_QUARANTINED;
		return;
	}
	m->reason = refuse_by_clock(quorum, m, now_us);
	m->standing = m->reason == REASON_NONE ? STANDING_VOTING : STANDING_REFUSED;
}

/* When a master that does not vote is looked at again. */
static void plan_probe(struct master *m, int64_t now_us)
{
	int64_t at_us = now_us + PROBE_MAX_US;

	if (!m->connected || m->asked || m->standing == STANDING_VOTING) {
		m->probe_at_us = NEVER_US;
		return;
	}
	if (m->standing == STANDING_QUARANTINED)
		at_us = m->quarantined_until_us > now_us + PROBE_MIN_US ? m->quarantined_until_us : now_us + PROBE_MIN_US;
	if (m->probe_at_us > at_us)
		m->probe_at_us = at_us;
}

static void judge(struct quorum *quorum, int64_t now_us, struct effects *effects)
{
	decide_cluster(quorum, now_us);
	quorum->voting = 0;
	for (unsigned i = 0; i < quorum->settings.count; i++) {
		judge_one(quorum, i, now_us, effects);
		plan_probe(&quorum->masters[i], now_us);
		quorum->voting += quorum->masters[i].standing == STANDING_VOTING;
	}
}

void quorum_tick(struct quorum *quorum, int64_t now_us, struct effects *effects)
{
	for (unsigned i = 0; i < quorum->settings.count; i++) {
		struct master *m = &quorum->masters[i];
		bool by_facts = m->reason >= REASON_UNKNOWN && m->reason <= REASON_EVICTION;

		/* A connection that answers nothing for long is no connection. */
		if (m->connected && m->unanswered > 0 && now_us - m->silent_since_us > 4 * quorum->settings.node_timeout_us) {
			effects->list[effects->count++] = (struct effect){.kind = EFFECT_RECONNECT, .master = i};
			m->silent_since_us = now_us;
			continue;
		}
		if (m->probe_at_us > now_us)
			continue;
		m->probe_at_us = NEVER_US;
		/* Role, memory limit and the like are told by a fresh handshake. */
		if (m->connected && m->standing == STANDING_REFUSED && by_facts)
			effects->list[effects->count++] = (struct effect){.kind = EFFECT_RECONNECT, .master = i};
		else if (m->connected && !m->asked)
			ask_master(quorum, i, OP_VIEW, now_us, effects);
	}
	judge(quorum, now_us, effects);
}

int64_t quorum_next_us(const struct quorum *quorum, int64_t now_us)
{
	int64_t next_us = NEVER_US;

	for (unsigned i = 0; i < quorum->settings.count; i++) {
		const struct master *m = &quorum->masters[i];

		if (m->probe_at_us < next_us)
			next_us = m->probe_at_us;
		if (m->connected && m->unanswered > 0) {
			int64_t silent_us = m->silent_since_us + quorum->settings.node_timeout_us + 1;

			/* Two moments: when it is not asked any more, and when it is given up. */
			if (silent_us <= now_us)
				silent_us = m->silent_since_us + 4 * quorum->settings.node_timeout_us + 1;
			if (silent_us < next_us)
				next_us = silent_us;
		}
	}
	return next_us;
}
