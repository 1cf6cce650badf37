/* explain.c - see explain.h. */
#include "explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "error.h"

static void say(struct explanation *e, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct explanation *e, const char *remedy, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(e->problem, sizeof(e->problem), format, arguments);
	va_end(arguments);
	snprintf(e->remedy, sizeof(e->remedy), "%s", remedy);
}

static unsigned answering(const struct quorum *quorum)
{
	unsigned count = 0;

	for (unsigned i = 0; i < quorum->settings.count; i++)
		count += quorum->masters[i].connected && quorum->masters[i].viewed;
	return count;
}

static void explain_cluster(const struct quorum *quorum, const struct master *m, struct explanation *e)
{
	switch (m->reason) {
	case REASON_CLUSTER:
		say(e, "Clients with different lists of servers could both hold one lock: give all clients the same list, or, if this "
		       "master is to move, run dlock --init --yes with the new list.",
		    "belongs to another cluster (%s; the other masters of this list belong to %s)", m->view.cluster_id,
		    quorum->cluster_id);
		break;
	case REASON_COUNT:
		say(e, "Clients that count different majorities could both hold one lock: give all clients the same list, or run "
		       "dlock --init --yes with the new list when no lock is held.",
		    "belongs to a cluster of %u masters, but %u are configured here", m->view.cluster_count,
		    quorum->settings.count);
		break;
	case REASON_MAX_TTL:
		say(e, "A master that restarts waits max_ttl before it votes, so all clients must agree on it: configure the same "
		       "max_ttl everywhere, or leave it out.",
		    "its cluster was made with max_ttl %" PRId64 " ms, but %" PRId64 " ms is configured here",
		    m->view.max_ttl_ms, quorum->settings.max_ttl_us / 1000);
		break;
	case REASON_UNDECIDED:
		if (answering(quorum) < quorum->majority) {
			say(e, "It is fine itself, and votes as soon as a majority of the masters can be reached.",
			    "has answered, but fewer than a majority of the masters have");
			break;
		}
		/* fall through */
	default:
		say(e, "Masters of several clusters, or too few of one: give all clients the same list, or run dlock --init --yes "
		       "with the list that is right.",
		    "which cluster it belongs to can't be told: no cluster has a majority of the configured masters");
		break;
	}
}

static void explain_refusal(const struct cluster *cluster, unsigned master, struct explanation *e)
{
	const struct quorum *quorum = &cluster->quorum;
	const struct master *m = &quorum->masters[master];
	const struct node_facts *facts = &cluster->facts[master];

	switch (m->reason) {
	case REASON_UNKNOWN:
		say(e, "What it is can't be verified without INFO, so it may not vote: permit the user the INFO command.",
		    "INFO is not permitted, or its answer was not understood%s%s", facts->detail[0] ? ": " : "", facts->detail);
		break;
	case REASON_ROLE:
		say(e, "A replica can lose what it acknowledged, so its vote would not be safe: configure independent masters.",
		    "is a replica (role %s), not a master", facts->role);
		break;
	case REASON_LOADING:
		say(e, "It votes when it has loaded its data: wait.", "is loading its data");
		break;
	case REASON_VERSION:
		say(e, "Needed are Redis 6.2 or later, or Valkey.", "is too old: version %s", facts->version_text);
		break;
	case REASON_EVICTION:
		say(e, "A lock that is evicted is lost without notice: set maxmemory-policy noeviction.",
		    "may evict keys when memory is full (maxmemory-policy %s)", facts->eviction);
		break;
	case REASON_DUPLICATE:
		say(e, "One server must have one vote: remove one of the two addresses from the list.",
		    "is the same server as %s", cluster->config.servers[m->other].address);
		break;
	case REASON_SKEW:
		say(e, "Fencing tokens rest on max_ttl being longer than twice the skew and 4 s: set the clocks, or raise max_ttl.",
		    "its clock stands %" PRId64 " ms off the median", (m->offset_us - quorum_median_offset_us(quorum)) / 1000);
		break;
	case REASON_CLOCK:
		say(e, "A clock that jumps ends leases early. It votes again once its clock was stable for max_ttl: run an NTP client "
		       "that slews on it.",
		    m->clock_moved ? "its clock has jumped (it stands %" PRId64 " ms off the median)"
		                   : "its clock stands %" PRId64 " ms off the median",
		    (m->offset_us - quorum_median_offset_us(quorum)) / 1000);
		break;
	default:
		explain_cluster(quorum, m, e);
		break;
	}
}

static void explain_silence(const struct cluster *cluster, unsigned master, int64_t now_us, struct explanation *e)
{
	say(e, "It does not count until it answers: see whether the server is stopped, overloaded or cut off.",
	    "has not answered for %" PRId64 " ms", (now_us - cluster->quorum.masters[master].silent_since_us) / 1000);
}

static void warn(const struct cluster *cluster, unsigned master, struct explanation *e)
{
	const struct node_facts *facts = &cluster->facts[master];

	if (facts->connected_replicas > 0)
		say(e, "It votes, but if a replica is promoted in its place it will wait out max_ttl: independent masters need no replicas.",
		    "has %u replica(s)", facts->connected_replicas);
	else if (!facts->kill_permitted)
		say(e, "Commands of a broken connection may arrive late: a lock may stay taken for up to its ttl, and one that was "
		       "converted from shared to exclusive may be shared again until its next renewal. Permit the user CLIENT ID and CLIENT KILL.",
		    "CLIENT KILL is not permitted");
	else if (!facts->always_known)
		say(e, "Its durability can't be verified, so after a restart it waits out max_ttl. Permit the user CONFIG GET.",
		    "CONFIG GET is not permitted");
	else if (cluster->listeners[master] && node_is_refused(cluster->listeners[master]))
		say(e, "It votes, but who waits for a lock has to ask it again and again, is not served in turn by it, and notices a "
		       "release later. Permit the user SUBSCRIBE, PUBLISH, and the channels dlock!grants*.",
		    "%s", node_problem(cluster->listeners[master]));
	else if (cluster->mute >> master & 1)
		say(e, "It votes, but hands a lock that is released over to nobody who waits: they notice the release later, and are "
		       "not served in turn. Permit the user PUBLISH, and the channels dlock!grants*.",
		    "PUBLISH is not permitted");
	e->warning = e->problem[0] != '\0';
}

void explain_master(const struct cluster *cluster, unsigned master, struct explanation *ret)
{
	const struct master *m = &cluster->quorum.masters[master];
	int64_t now_us = keeper_now_us();

	memset(ret, 0, sizeof(*ret));
	if (m->standing != STANDING_UNREACHED && quorum_silent(&cluster->quorum, master, now_us)) {
		explain_silence(cluster, master, now_us, ret);
		return;
	}
	switch (m->standing) {
	case STANDING_UNREACHED:
		say(ret, "It does not count until it can be reached.", "%s",
		    cluster->problems[master][0] ? cluster->problems[master] : "has not answered so far");
		break;
	case STANDING_ASKED:
		if (m->reason == REASON_UNDECIDED) {
			explain_cluster(&cluster->quorum, m, ret);
			break;
		}
		say(ret, "It does not count until it has answered.", "is still being asked what it is");
		break;
	case STANDING_QUARANTINED:
		say(ret, "It has forgotten what it promised, so it must not vote before every old lease has ended. If these masters "
		         "are new and no lease was ever given, dlock --init waives the wait.",
		    "started anew and waits out the longest lease: %" PRId64 " s more",
		    (m->quarantined_until_us > now_us ? m->quarantined_until_us - now_us + 999999 : 1000000) / 1000000);
		break;
	case STANDING_REFUSED:
		explain_refusal(cluster, master, ret);
		break;
	case STANDING_VOTING:
		warn(cluster, master, ret);
		break;
	}
}

/* What is wrong with each master goes behind the `used` bytes of `text`; if nothing is, `otherwise`. */
static void explain_each(const struct cluster *cluster, char text[ERROR_DETAIL_MAX], size_t used, const char *otherwise)
{
	const size_t size = ERROR_DETAIL_MAX;
	int64_t now_us = keeper_now_us(), waited_us = cluster->quorum.settings.node_timeout_us / 2;
	unsigned missing = 0;

	for (unsigned i = 0; i < cluster->quorum.settings.count && used < size; i++) {
		struct explanation e;

		explain_master(cluster, i, &e);
		/* The call has waited for it, even if it is not silent yet: its time may have begun anew meanwhile. */
		if ((!e.problem[0] || e.warning) && quorum_owes(&cluster->quorum, i, waited_us, now_us)) {
			explain_silence(cluster, i, now_us, &e);
			e.warning = false;
		}
		if (!e.problem[0] || e.warning)
			continue;
		used += (size_t)snprintf(text + used, size - used, "%s %s: %s", missing++ ? ";" : ":",
		                         cluster->config.servers[i].address, e.problem);
	}
	if (missing == 0 && used < size)
		snprintf(text + used, size - used, ": %s", otherwise);
	error_detail_set("%s", text);
}

void explain_quorum(const struct cluster *cluster)
{
	char text[ERROR_DETAIL_MAX];
	int used = snprintf(text, sizeof(text), "no quorum (%u of %u masters needed)", cluster->quorum.majority,
	                    cluster->quorum.settings.count);

	explain_each(cluster, text, (size_t)used, "too few of them answered in time");
}

static void explain_data(const struct handle *handle)
{
	const struct quorum *quorum = &handle->cluster->quorum;
	char text[ERROR_DETAIL_MAX];
	int used = snprintf(text, sizeof(text), "the data have reached %u of %u masters, and %u are needed; the lock is held",
	                    attempt_carriers(handle->lock.attempt), quorum->settings.count, quorum->majority);

	explain_each(handle->cluster, text, (size_t)used, "the others did not answer in time, or have no memory for them");
}

/* An exclusive lock of which too few masters have what travels with it. */
static bool lags_behind(const struct lock *lock)
{
	return lock->state == LOCK_HELD && lock->held == MODE_EXCLUSIVE &&
	       attempt_carriers(lock->attempt) < lock->quorum->majority;
}

void explain_call(const struct handle *handle, int error)
{
	const struct cluster *cluster = handle->cluster;

	switch (error) {
	case 0:
		error_detail_clear();
		break;
	case ENOLCK:
		if (lags_behind(&handle->lock))
			explain_data(handle);
		else
			explain_quorum(cluster);
		break;
	case EINVAL:
		error_detail_set("ttl (with lock_delay) %" PRId64 " ms is longer than max_ttl %" PRId64 " ms of these masters",
		                 (handle->lock.settings.ttl_us + handle->lock.settings.lock_delay_us) / 1000,
		                 cluster->quorum.lease_limit_us / 1000);
		break;
	case EWOULDBLOCK:
	case ETIMEDOUT:
		error_detail_set("the lock is held by another");
		break;
	case ESTALE:
		if (handle->lock.state == LOCK_HELD)
			error_detail_set("the masters' answers are no proof that the lock was held without a gap");
		else
			error_detail_set("the lease was lost: unlock or close, and lock again");
		break;
	default:
		error_detail_clear();
		break;
	}
}
