/*
 * cluster.c - the masters of one configuration, and the effects on them.
 *
 * Descriptors with the same servers, credentials and max_ttl share one cluster:
 * one connection a master. Everything here runs under the keeper's mutex.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "debug.h"
#include "keeper.h"
#include "wire.h"

#define IDLE_US 30000000 /* connections without a descriptor are kept that long */

/* ---- commands and their answers ---- */

static struct sent *new_sent(struct cluster *cluster)
{
	struct sent *sent = cluster->free_sent;

	if (sent) {
		cluster->free_sent = sent->next;
	} else {
		sent = malloc(sizeof(*sent));
		if (!sent)
			return NULL;
		sent->next_made = cluster->made_sent;
		cluster->made_sent = sent;
	}
	*sent = (struct sent){.next_made = sent->next_made};
	return sent;
}

static void free_sent(struct cluster *cluster, struct sent *sent)
{
	sent->next = cluster->free_sent;
	cluster->free_sent = sent;
}

static bool forget_closed(struct attempt *attempt)
{
	if (!attempt->link)
		return false;
	*attempt->link = attempt->next;
	if (attempt->next)
		attempt->next->link = attempt->link;
	attempt->link = NULL;
	return true;
}

/* There may be thousands, when many leases are lost at once: they are all looked at when the first has something to do,
 * not whenever one has changed. */
static void watch_closed(struct cluster *cluster, const struct attempt *attempt)
{
	int64_t next_us = attempt_next_us(attempt);

	if (next_us < cluster->closed_next_us)
		cluster->closed_next_us = next_us;
}

static void finish_attempt(struct cluster *cluster, struct attempt *attempt, int64_t now_us)
{
	if (!attempt_is_finished(attempt, now_us) || attempt->waiter)
		watch_closed(cluster, attempt);
	else if (forget_closed(attempt))
		attempt_free(attempt);
}

static struct handle *handle_of(const struct attempt *attempt)
{
	struct lock *lock = attempt->closed ? attempt->waiter : attempt->lock;

	return lock ? (struct handle *)((char *)lock - offsetof(struct handle, lock)) : NULL;
}

/* Tell the locks and the surveys what has changed among the masters since `before`. */
static void announce(struct cluster *cluster, uint32_t before, int64_t now_us)
{
	uint32_t joined = quorum_voters(&cluster->quorum) & ~before;
	struct effects effects;

	for (struct handle *h = cluster->handles; h; h = h->next) {
		effects.count = 0;
		lock_masters_changed(&h->lock, joined, now_us, &effects);
		cluster_run(cluster, h, &effects);
		cluster_settle(cluster, h);
	}
	survey_masters_changed(cluster);
}

void cluster_viewed(struct cluster *cluster, unsigned master, enum node_answer kind, const struct value *value,
                    int64_t now_us)
{
	uint32_t before = quorum_voters(&cluster->quorum);
	struct effects effects = {0};
	struct view view;

	if (kind == NODE_REPLY && wire_view(&view, value))
		quorum_viewed(&cluster->quorum, master, &view, now_us, &effects);
	else
		quorum_viewed(&cluster->quorum, master, NULL, now_us, &effects);
	cluster_run(cluster, NULL, &effects);
	announce(cluster, before, now_us);
}

static void core_answer(struct cluster *cluster, const struct request *request, const struct answer *answer,
                        int64_t now_us)
{
	struct attempt *attempt = request->attempt;
	struct handle *handle = handle_of(attempt);
	bool was_closed = attempt->closed;
	struct effects effects;

	effects.count = 0;
	lock_answered(request, answer, now_us, &effects);
	cluster_run(cluster, handle, &effects);
	/* One that this very step has closed belongs to cluster_run(), which may have freed it. */
	if (was_closed)
		finish_attempt(cluster, attempt, now_us);
	if (handle)
		cluster_settle(cluster, handle);
}

static void reconnect(struct cluster *cluster, unsigned master, const char *why)
{
	cluster->dirty |= UINT32_C(1) << master; /* its timer changes */
	node_reconnect(cluster->nodes[master], why, keeper_now_us());
}

/* A master that has lost the script gets it before whatever is sent again. */
static void remedy(struct cluster *cluster, unsigned master, const char *text, int64_t now_us)
{
	struct wire_command command;

	switch (wire_remedy(text)) {
	case WIRE_LOAD:
		wire_format_load(&command);
		if (node_send(cluster->nodes[master], command.argc, command.argv, command.lengths, NULL, now_us) == 0)
			cluster->dirty |= UINT32_C(1) << master;
		break;
	case WIRE_RECONNECT:
		reconnect(cluster, master, node_words(cluster->nodes[master], text));
		break;
	case WIRE_NOTHING:
		break;
	}
}

static void on_reply(void *context, struct node *node, void *tag, enum node_answer kind, const struct value *value,
                     const char *text, int64_t sent_us)
{
	struct cluster *cluster = context;
	unsigned master = node_index(node);
	int64_t now_us = keeper_now_us();
	struct sent *sent = tag, copy;
	struct answer answer;

	if (!sent) /* SCRIPT LOAD */
		return;
	copy = *sent;
	free_sent(cluster, sent);
	if (kind != NODE_BROKEN)
		quorum_answered(&cluster->quorum, master, sent_us, kind == NODE_REPLY ? wire_clock_us(value) : 0,
		                now_us);
	if (kind == NODE_ERROR) {
		debug_log(DEBUG_WIRE, "master %u answered with an error: %s", master, node_words(node, text));
		remedy(cluster, master, text, now_us);
	}
	if (copy.survey) {
		survey_answered(copy.survey, master, kind, value, text);
	} else if (!copy.request.attempt) {
		cluster_viewed(cluster, master, kind, value, now_us);
	} else {
		wire_answer(&answer, &copy.request, kind, value, text);
		debug_log(DEBUG_WIRE, "master %u: %c serial %u -> %d", master, (int)copy.request.op,
		          copy.request.serial, answer.code);
		core_answer(cluster, &copy.request, &answer, now_us);
	}
}

/* ---- effects ---- */

/* 0 or -errno. Bytes for which there is no room keep no renewal from leaving: it goes without them, and to the core
 * it is as if the master had refused them. */
static int write_request(struct cluster *cluster, struct sent *sent)
{
	struct request request = sent->request;
	struct node *node = cluster->nodes[request.master];
	struct wire_command command;
	int error;

	wire_format(&command, &request, &cluster->quorum);
	error = node_send(node, command.argc, command.argv, command.lengths, sent, request.sent_us);
	if ((error != -EAGAIN && error != -ENOMEM) || request.op != OP_EXTEND || !request.bytes)
		return error;
	request.bytes = false;
	wire_format(&command, &request, &cluster->quorum);
	return node_send(node, command.argc, command.argv, command.lengths, sent, request.sent_us);
}

static void send_request(struct cluster *cluster, const struct request *request)
{
	struct sent *sent = new_sent(cluster);

	if (!sent) {
		/* What a master is has to be answered some day, or it would be waited for until it breaks. */
		if (request->attempt) {
			attempt_not_sent(request->attempt, request);
			watch_closed(cluster, request->attempt);
		} else {
			reconnect(cluster, request->master, "out of memory");
		}
		return;
	}
	sent->request = *request;
	if (write_request(cluster, sent) == 0) {
		quorum_sent(&cluster->quorum, request->master, request->sent_us);
		cluster->dirty |= UINT32_C(1) << request->master;
		return;
	}
	/* Delivered by cluster_settle(): the core must not be entered from within its own step. */
	sent->next = NULL;
	if (cluster->failed_sent)
		cluster->failed_last->next = sent;
	else
		cluster->failed_sent = sent;
	cluster->failed_last = sent;
}

void cluster_run(struct cluster *cluster, struct handle *handle, struct effects *effects)
{
	struct attempt *attempt;

	for (size_t i = 0; i < effects->count; i++) {
		const struct effect *effect = &effects->list[i];

		switch (effect->kind) {
		case EFFECT_SEND:
			send_request(cluster, &effect->request);
			break;
		case EFFECT_DONE:
		case EFFECT_LOST:
			break; /* below */
		case EFFECT_RECONNECT:
			reconnect(cluster, effect->master, "it is not the server that it was, or does not answer");
			break;
		case EFFECT_LISTEN:
			grants_listen(cluster);
			break;
		}
	}
	while (handle && (attempt = lock_take_closed(&handle->lock))) {
		attempt->next = cluster->closed;
		attempt->link = &cluster->closed;
		if (attempt->next)
			attempt->next->link = &attempt->next;
		cluster->closed = attempt;
		finish_attempt(cluster, attempt, keeper_now_us());
	}
	/* What is told begins the next call, perhaps a release, which must leave after what this step has sent. */
	for (size_t i = 0; i < effects->count; i++)
		if (effects->list[i].kind == EFFECT_DONE)
			handle_done(handle, effects->list[i].error);
		else if (effects->list[i].kind == EFFECT_LOST)
			handle_lost(handle);
}

/* Requests that could not even be queued. */
static void deliver_failed(struct cluster *cluster)
{
	static const struct answer failed = {.code = CODE_REFUSED, .pttl_ms = -1};
	struct sent *sent;

	while ((sent = cluster->failed_sent)) {
		struct sent copy = *sent;

		cluster->failed_sent = sent->next;
		free_sent(cluster, sent);
		if (copy.request.attempt)
			core_answer(cluster, &copy.request, &failed, keeper_now_us());
		else
			cluster_viewed(cluster, copy.request.master, NODE_BROKEN, NULL, keeper_now_us());
	}
}

static int64_t cluster_next_us(const struct cluster *cluster, int64_t now_us)
{
	int64_t next_us = quorum_next_us(&cluster->quorum, now_us);

	return cluster->closed_next_us < next_us ? cluster->closed_next_us : next_us;
}

/* OpenSSL writes without MSG_NOSIGNAL. The keeper's thread blocks every signal; in a thread of
 * the user's, a SIGPIPE that our write has raised is taken away before it is seen. */
static void flush_guarded(struct node *node, int64_t now_us)
{
	sigset_t pipe, before, pending;
	bool was_pending;

	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &before);
	node_flush(node, now_us);
	if (!was_pending)
		keeper_drop_sigpipe();
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void flush(struct cluster *cluster, unsigned master, int64_t now_us)
{
	if (cluster->config.servers[master].tls)
		flush_guarded(cluster->nodes[master], now_us);
	else
		node_flush(cluster->nodes[master], now_us);
	timers_set(&keeper.timers, &cluster->node_timers[master], node_next_us(cluster->nodes[master]));
}

void cluster_settle(struct cluster *cluster, struct handle *handle)
{
	int64_t now_us = keeper_now_us();

	deliver_failed(cluster);
	for (unsigned i = 0; i < cluster->config.server_count; i++)
		if (cluster->dirty >> i & 1) {
			cluster->dirty &= ~(UINT32_C(1) << i); /* before: a connection that breaks steps the locks */
			flush(cluster, i, now_us);
		}
	if (handle)
		timers_set(&keeper.timers, &handle->timer, lock_next_us(&handle->lock, now_us));
	timers_set(&keeper.timers, &cluster->timer, cluster_next_us(cluster, now_us));
}

/* ---- events of the connections ---- */

static int on_watch(void *context, struct node *node, int fd, uint32_t events)
{
	return keeper_watch(fd, events, (struct watch){.kind = WATCH_NODE, .object = node, .cluster = context});
}

static void on_connected(void *context, struct node *node, const struct node_facts *facts)
{
	struct cluster *cluster = context;
	unsigned master = node_index(node);
	uint32_t before = quorum_voters(&cluster->quorum);
	int64_t now_us = keeper_now_us();
	struct introduction introduction;
	struct effects effects = {0};

	cluster->facts[master] = *facts;
	cluster->problems[master][0] = '\0';
	wire_introduction(&introduction, facts);
	quorum_connected(&cluster->quorum, master, &introduction, now_us, &effects);
	cluster_run(cluster, NULL, &effects);
	/* Releases that are owed go before anything new: section "release" of docs/protocol.md. */
	for (struct attempt *a = cluster->closed; a; a = a->next) {
		effects.count = 0;
		attempt_tick(a, now_us, &effects);
		cluster_run(cluster, NULL, &effects);
		watch_closed(cluster, a);
	}
	announce(cluster, before, now_us);
	cluster_settle(cluster, NULL);
}

static void on_disconnected(void *context, struct node *node, const char *why)
{
	struct cluster *cluster = context;
	unsigned master = node_index(node);
	uint32_t before = quorum_voters(&cluster->quorum);
	int64_t now_us = keeper_now_us();
	struct effects effects = {0};

	strncpy(cluster->problems[master], why, sizeof(cluster->problems[master]) - 1);
	quorum_disconnected(&cluster->quorum, master, now_us, &effects);
	cluster_run(cluster, NULL, &effects);
	for (struct attempt *a = cluster->closed; a; a = a->next) {
		attempt_disconnected(a, master, now_us);
		watch_closed(cluster, a);
	}
	for (struct handle *h = cluster->handles; h; h = h->next) {
		effects.count = 0;
		lock_disconnected(&h->lock, master, now_us, &effects);
		cluster_run(cluster, h, &effects);
	}
	announce(cluster, before, now_us);
	cluster_settle(cluster, NULL);
}

static void quorum_timer(struct cluster *cluster, int64_t now_us)
{
	uint32_t before = quorum_voters(&cluster->quorum);
	struct effects effects = {0};

	quorum_tick(&cluster->quorum, now_us, &effects);
	cluster_run(cluster, NULL, &effects);
	cluster->closed_next_us = INT64_MAX;
	for (struct attempt *a = cluster->closed, *next; a; a = next) {
		next = a->next;
		effects.count = 0;
		attempt_tick(a, now_us, &effects);
		cluster_run(cluster, NULL, &effects);
		finish_attempt(cluster, a, now_us);
	}
	announce(cluster, before, now_us);
	cluster_settle(cluster, NULL);
}

static void cluster_free(struct cluster *cluster);

void cluster_timer(struct cluster *cluster, struct timer *timer, int64_t now_us)
{
	if (timer->kind == TIMER_NODE) {
		unsigned master = (unsigned)(timer - cluster->node_timers);

		node_tick(cluster->nodes[master], now_us);
		timers_set(&keeper.timers, timer, node_next_us(cluster->nodes[master]));
		cluster_settle(cluster, NULL);
	} else if (timer->kind == TIMER_LISTENER) {
		grants_timer(cluster, timer, now_us);
	} else if (timer->kind == TIMER_CLUSTER) {
		quorum_timer(cluster, now_us);
	} else if (cluster->users == 0 && !cluster->closed) {
		cluster_free(cluster);
	} else if (cluster->users == 0) {
		timers_set(&keeper.timers, &cluster->idle_timer, now_us + IDLE_US);
	}
}

/* ---- life ---- */

/* Two connections a master, and the cluster's own. */
static size_t timers_of(unsigned server_count)
{
	return 2 * (size_t)server_count + 2;
}

static void cluster_free(struct cluster *cluster)
{
	for (struct cluster **link = &keeper.clusters; *link; link = &(*link)->next)
		if (*link == cluster) {
			*link = cluster->next;
			break;
		}
	for (unsigned i = 0; i < cluster->config.server_count; i++) {
		node_free(cluster->nodes[i]);
		timers_set(&keeper.timers, &cluster->node_timers[i], INT64_MAX);
	}
	grants_free(cluster);
	timers_set(&keeper.timers, &cluster->timer, INT64_MAX);
	timers_set(&keeper.timers, &cluster->idle_timer, INT64_MAX);
	keeper.timer_count -= timers_of(cluster->config.server_count);
	for (struct attempt *a = cluster->closed, *next; a; a = next) {
		next = a->next;
		attempt_free(a);
	}
	for (struct sent *s = cluster->made_sent, *next; s; s = next) {
		next = s->next_made;
		free(s);
	}
	config_clear(&cluster->config);
	free(cluster);
}

/* 0 or -errno. */
static int init_quorum(struct cluster *cluster)
{
	const struct config *config = &cluster->config;
	const char *addresses[SERVERS_MAX];
	struct quorum_settings settings = {
	    .count = config->server_count,
	    .ttl_us = config->ttl_us + config->lock_delay_us,
	    .max_ttl_us = config->max_ttl_us,
	    .node_timeout_us = config->node_timeout_us,
	    .quarantine = config->quarantine,
	};

	for (unsigned i = 0; i < config->server_count; i++) {
		addresses[i] = config->servers[i].address;
		quorum_fingerprint(settings.tags[i], &addresses[i], 1);
	}
	quorum_fingerprint(settings.fingerprint, addresses, config->server_count);
	if (grants_channel(settings.channel, sizeof(settings.channel), settings.quarantine) < 0)
		return -EIO;
	quorum_init(&cluster->quorum, &settings);
	return 0;
}

static int make_nodes(struct cluster *cluster)
{
	const struct node_owner owner = {
	    .context = cluster,
	    .watch = on_watch,
	    .connected = on_connected,
	    .disconnected = on_disconnected,
	    .reply = on_reply,
	};
	uint64_t random[SERVERS_MAX];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return -EIO;
	for (unsigned i = 0; i < cluster->config.server_count; i++) {
		cluster->nodes[i] = node_new(&cluster->config, &cluster->config.servers[i], i, &owner, random[i]);
		if (!cluster->nodes[i])
			return -ENOMEM;
		cluster->node_timers[i] = (struct timer){.owner = cluster, .kind = TIMER_NODE};
	}
	return 0;
}

static int cluster_new(struct config *config, struct cluster **ret)
{
	struct cluster *cluster = calloc(1, sizeof(*cluster));
	size_t timers = timers_of(config->server_count);
	int error;

	if (!cluster || keeper_reserve_timers(timers) < 0) {
		free(cluster);
		config_clear(config);
		return -ENOMEM;
	}
	keeper.timer_count += timers;
	cluster->config = *config;
	for (unsigned i = 0; i < config->server_count; i++)
		keeper.uses_tls = keeper.uses_tls || config->servers[i].tls;
	cluster->closed_next_us = INT64_MAX;
	cluster->timer = (struct timer){.owner = cluster, .kind = TIMER_CLUSTER};
	cluster->idle_timer = (struct timer){.owner = cluster, .kind = TIMER_IDLE};
	error = init_quorum(cluster);
	if (!error)
		error = make_nodes(cluster);
	if (error) {
		cluster_free(cluster);
		return error;
	}
	cluster->next = keeper.clusters;
	keeper.clusters = cluster;
	for (unsigned i = 0; i < cluster->config.server_count; i++) {
		node_start(cluster->nodes[i], keeper_now_us());
		timers_set(&keeper.timers, &cluster->node_timers[i], node_next_us(cluster->nodes[i]));
	}
	*ret = cluster;
	return 0;
}

int cluster_get(struct config *config, struct cluster **ret)
{
	struct cluster *cluster;
	int error;

	for (cluster = keeper.clusters; cluster; cluster = cluster->next)
		if (config_same_masters(&cluster->config, config))
			break;
	if (cluster) {
		struct effects effects = {0};

		quorum_ask_ttl(&cluster->quorum, config->ttl_us + config->lock_delay_us, keeper_now_us(), &effects);
		cluster_run(cluster, NULL, &effects);
		config_clear(config);
	} else {
		error = cluster_new(config, &cluster);
		if (error)
			return error;
	}
	cluster->users++;
	timers_set(&keeper.timers, &cluster->idle_timer, INT64_MAX);
	*ret = cluster;
	return 0;
}

void cluster_put(struct cluster *cluster)
{
	if (--cluster->users == 0)
		timers_set(&keeper.timers, &cluster->idle_timer, keeper_now_us() + IDLE_US);
}

void cluster_abandon_after_fork(struct cluster *cluster)
{
	for (unsigned i = 0; i < cluster->config.server_count; i++)
		if (cluster->nodes[i])
			node_abandon(cluster->nodes[i]);
	grants_abandon_after_fork(cluster);
}

int cluster_send_survey(struct cluster *cluster, unsigned master, const struct wire_command *command,
                        struct survey *survey, int64_t now_us)
{
	struct sent *sent = new_sent(cluster);
	int error;

	if (!sent)
		return -ENOMEM;
	sent->survey = survey;
	error = node_send(cluster->nodes[master], command->argc, command->argv, command->lengths, sent, now_us);
	if (error) {
		free_sent(cluster, sent);
		return error;
	}
	quorum_sent(&cluster->quorum, master, now_us);
	cluster->dirty |= UINT32_C(1) << master;
	return 0;
}
