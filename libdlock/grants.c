/*
 * grants.c - what masters hand over to who waits.
 *
 * Owns: the listeners, a second connection a master on which it tells, over this
 * process's channel, to whom it has handed a lock; and the way of each such grant
 * to the lock that it is for.
 * Must never: believe a grant (the core does, or does not), or let a listener's
 * fate count for the master's: where it can't be listened to, who waits polls.
 *
 * How it works. The core asks for the listeners when somebody has to wait for the
 * first time; they stay for the cluster's life. A grant names a token, and the
 * first random bytes of that tell the descriptor. Everything here runs under the
 * keeper's mutex, and the listeners in the keeper's thread alone.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "debug.h"
#include "keeper.h"
#include "wire.h"

#define CHANNEL_RANDOM 16
#define NO_MEMORY_US 1000000 /* until it is tried again */

int grants_channel(char *out, size_t size, bool quarantine)
{
	uint8_t random[CHANNEL_RANDOM];
	int n = snprintf(out, size, quarantine ? "dlock!grants-" : "dlock!grants-off-");

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(out + n, size - (size_t)n, "%02x", random[i]);
	return 0;
}

/* ---- what is heard ---- */

static void on_message(void *context, struct node *node, const char *payload, size_t length)
{
	struct cluster *cluster = context;
	unsigned master = node_index(node);
	struct handle *handle;
	struct effects effects;
	struct grant grant;

	if (length == 0) /* asks whether anybody listens */
		return;
	if (!wire_grant(&grant, payload, length)) {
		debug_log(DEBUG_GRANTS, "master %u told what is no grant, %zu bytes: %.100s", master, length, payload);
		return;
	}
	handle = handle_find_token(grant.token);
	if (!handle || handle->cluster != cluster) {
		debug_log(DEBUG_GRANTS, "master %u hands over to nobody here: %s", master, grant.token);
		return;
	}
	debug_log(DEBUG_GRANTS, "master %u hands %s over with fence %llu: %s", master, handle->lock.key,
	          (unsigned long long)grant.fence, grant.token);
	effects.count = 0;
	lock_granted(&handle->lock, master, &grant, keeper_now_us(), &effects);
	lock_stray(&handle->lock, master, &grant, cluster->closed, keeper_now_us(), &effects);
	cluster_run(cluster, handle, &effects);
	cluster_settle(cluster, handle);
}

/* ---- the listeners ---- */

static int on_watch(void *context, struct node *node, int fd, uint32_t events)
{
	return keeper_watch(fd, events, (struct watch){.kind = WATCH_LISTENER, .object = node, .cluster = context});
}

/* Who waits registers there now. */
static void on_connected(void *context, struct node *node, const struct node_facts *facts)
{
	struct cluster *cluster = context;
	unsigned master = node_index(node);
	struct effects effects;

	(void)facts;
	debug_log(DEBUG_GRANTS, "master %u is listened to", master);
	quorum_listening(&cluster->quorum, master, true);
	for (struct handle *h = cluster->handles; h; h = h->next) {
		effects.count = 0;
		lock_listening(&h->lock, master, keeper_now_us(), &effects);
		cluster_run(cluster, h, &effects);
		cluster_settle(cluster, h);
	}
	survey_masters_changed(cluster);
}

static void on_disconnected(void *context, struct node *node, const char *why)
{
	struct cluster *cluster = context;
	unsigned master = node_index(node);

	debug_log(DEBUG_GRANTS, "master %u is not listened to: %s", master, why);
	quorum_listening(&cluster->quorum, master, false);
	survey_masters_changed(cluster);
}

/* A listener takes no commands. */
static void on_reply(void *context, struct node *node, void *tag, enum node_answer answer, const struct value *value,
                     const char *text, int64_t sent_us)
{
	(void)context, (void)node, (void)tag, (void)answer, (void)value, (void)text, (void)sent_us;
}

static struct node *new_listener(struct cluster *cluster, unsigned master)
{
	const struct node_owner owner = {.context = cluster,
	                                 .watch = on_watch,
	                                 .connected = on_connected,
	                                 .disconnected = on_disconnected,
	                                 .reply = on_reply,
	                                 .message = on_message};
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return NULL;
	return node_new_listener(&cluster->config, &cluster->config.servers[master], master, &owner, random,
	                         cluster->quorum.settings.channel);
}

/* The timers begin it, and so the keeper's thread: this one may be the user's, within a step of the core. */
void grants_listen(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->config.server_count && !cluster->listens; i++) {
		cluster->listener_timers[i] = (struct timer){.owner = cluster, .kind = TIMER_LISTENER};
		timers_set(&keeper.timers, &cluster->listener_timers[i], keeper_now_us());
	}
	cluster->listens = true;
}

bool grants_unknown(const struct cluster *cluster)
{
	for (unsigned i = 0; cluster->listens && i < cluster->config.server_count; i++)
		if (cluster->quorum.masters[i].connected &&
		    !(cluster->listeners[i] && node_has_tried(cluster->listeners[i])))
			return true;
	return false;
}

static void set_timer(struct cluster *cluster, unsigned master)
{
	timers_set(&keeper.timers, &cluster->listener_timers[master], node_next_us(cluster->listeners[master]));
	cluster_settle(cluster, NULL);
}

void grants_ready(struct cluster *cluster, struct node *listener, int fd, uint32_t events, int64_t now_us)
{
	node_ready(listener, fd, events, now_us);
	set_timer(cluster, node_index(listener));
}

void grants_timer(struct cluster *cluster, struct timer *timer, int64_t now_us)
{
	unsigned master = (unsigned)(timer - cluster->listener_timers);

	if (!cluster->listeners[master])
		cluster->listeners[master] = new_listener(cluster, master);
	if (!cluster->listeners[master]) {
		timers_set(&keeper.timers, timer, now_us + NO_MEMORY_US);
		return;
	}
	node_start(cluster->listeners[master], now_us);
	node_tick(cluster->listeners[master], now_us);
	set_timer(cluster, master);
}

/* ---- life ---- */

void grants_free(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->config.server_count; i++) {
		node_free(cluster->listeners[i]);
		timers_set(&keeper.timers, &cluster->listener_timers[i], INT64_MAX);
	}
}

void grants_abandon_after_fork(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->config.server_count; i++)
		if (cluster->listeners[i])
			node_abandon(cluster->listeners[i]);
}
