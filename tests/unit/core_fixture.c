/* core_fixture.c - see core_fixture.h. */
#include "core_fixture.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_US INT64_C(1000000000)              /* CLOCK_BOOTTIME when the world begins */
#define UNIX_US INT64_C(1700000000000000)         /* the masters' clocks then */
#define STEPS_AT_ONCE_MAX 20000                   /* more at one moment: the core does not come to rest */
#define DEFAULT_FINGERPRINT "00000000000000c1"

/* ---- the trace ---- */

static void out_of_bounds(const char *what)
{
	fprintf(stderr, "core fixture: %s\n", what);
	abort();
}

/* What the world was at when it could not go on. */
static void stuck(struct world *world, const char *what)
{
	size_t shown = world->trace_length < 2000 ? world->trace_length : 2000;

	if (shown)
		fprintf(stderr, "... %s\n", world->trace + world->trace_length - shown);
	out_of_bounds(what);
}

__attribute__((format(printf, 2, 3))) static void put(struct world *world, const char *format, ...)
{
	va_list args;
	int length;

	if (world->silent)
		return;
	if (world->trace_size - world->trace_length < 512) {
		world->trace_size = 2 * world->trace_size + 4096;
		world->trace = realloc(world->trace, world->trace_size);
		if (!world->trace)
			out_of_bounds("no memory for the trace");
	}
	va_start(args, format);
	length = vsnprintf(world->trace + world->trace_length, 512, format, args);
	va_end(args);
	world->trace_length += (size_t)length;
}

static void put_time(struct world *world)
{
	int64_t us = world->now_us - world->zero_us;

	put(world, "%lld.%03lld ", (long long)(us / 1000), (long long)(us % 1000));
}

/* A fence, as µs after the masters' clocks at zero. */
static long long short_fence(const struct world *world, uint64_t fence)
{
	return (long long)fence - (UNIX_US - START_US + world->zero_us);
}

static void put_fence(struct world *world, uint64_t fence)
{
	if (fence == 0)
		put(world, " none");
	else
		put(world, " %+lld", short_fence(world, fence));
}

static const char *label_of(const struct client *client, const struct attempt *attempt)
{
	for (unsigned i = 0; attempt && i < WORLD_PARTIES; i++) {
		const struct party *party = &client->parties[i];

		if (party->open && (party->lock.attempt == attempt || party->lock.releasing == attempt))
			return party->label;
	}
	return client->name;
}

static void put_request(struct world *world, const struct request *request)
{
	put(world, "%c", (int)request->op);
	if (!request->attempt)
		return;
	if (request->op == OP_RELEASE) {
		if (request->fence)
			put_fence(world, request->fence);
		if (request->unload)
			put(world, ", unloads");
		return;
	}
	put(world, " %c", request->mode == MODE_EXCLUSIVE ? 'X' : 'S');
	if (request->op == OP_POLL)
		return;
	put_fence(world, request->fence);
	if (request->op == OP_ACQUIRE && request->floor) {
		put(world, " floor");
		put_fence(world, request->floor);
	}
	if (request->op == OP_EXTEND && request->repair != REPAIR_YES)
		put(world, request->repair == REPAIR_NO ? " no repair" : " guarded");
	if (request->version)
		put(world, ", data %llu%s", (unsigned long long)request->version, request->bytes ? " sent" : "");
	if (request->unload)
		put(world, ", unloads");
}

static bool alike(const struct request *a, const struct request *b)
{
	return a->op == b->op && a->attempt == b->attempt && a->mode == b->mode && a->repair == b->repair &&
	       a->fence == b->fence && a->floor == b->floor && a->version == b->version && a->bytes == b->bytes &&
	       a->unload == b->unload;
}

/* One line for the same request to several masters. */
static void put_sends(struct world *world, const struct client *client, const struct effects *effects, size_t from)
{
	const struct request *request = &effects->list[from].request;

	if (from > 0 && effects->list[from - 1].kind == EFFECT_SEND && alike(&effects->list[from - 1].request, request))
		return;
	put_time(world);
	put(world, "%s asks", label_of(client, request->attempt));
	for (size_t i = from; i < effects->count && effects->list[i].kind == EFFECT_SEND; i++) {
		if (!alike(&effects->list[i].request, request))
			break;
		put(world, " %u", effects->list[i].request.master + 1);
	}
	put(world, ": ");
	put_request(world, request);
	put(world, "\n");
}

static const char *error_text(int error)
{
	switch (error) {
	case 0: return "done";
	case EWOULDBLOCK: return "EWOULDBLOCK";
	case ENOLCK: return "ENOLCK";
	case ESTALE: return "ESTALE";
	case ETIMEDOUT: return "ETIMEDOUT";
	case EINTR: return "EINTR";
	case EINVAL: return "EINVAL";
	case EBADF: return "EBADF";
	case ENOMEM: return "ENOMEM";
	default: return "an unexpected error";
	}
}

/* Whose token it is that is in the way. */
static const char *owner_of(const struct world *world, const char *token)
{
	struct token_parts parts;
	static char owner[TOKEN_PROGRAM_MAX + 1];

	(void)world;
	if (!token_parse(token, strlen(token), &parts))
		return token;
	memcpy(owner, parts.program, sizeof(owner));
	return owner;
}

static void put_answer(struct world *world, const struct client *client, const struct request *request,
                       const struct answer *answer)
{
	put_time(world);
	put(world, "%u to %s: ", request->master + 1, label_of(client, request->attempt));
	switch (answer->code) {
	case CODE_BUSY: put(world, "busy, %s %lld ms", owner_of(world, answer->holder), (long long)answer->pttl_ms); break;
	case CODE_YES: put(world, request->op == OP_RELEASE ? "released" : "yes"); break;
	case CODE_OUTBID: put(world, "outbid"); break;
	case CODE_REPAIRED: put(world, "repaired"); break;
	case CODE_BARE: put(world, "gone, and the data not sent"); break;
	case CODE_FREE: put(world, "free"); break;
	case CODE_EPOCH: put(world, "another epoch"); break;
	case CODE_SKEWED: put(world, "skewed"); break;
	case CODE_REJECTED: put(world, "rejected"); break;
	case CODE_NOT_CARRIED_OUT: put(world, "no script"); break;
	case CODE_ERROR: put(world, "error"); break;
	case CODE_BROKEN: put(world, "broken"); break;
	default: put(world, "code %d", answer->code); break;
	}
	if ((answer->code == CODE_YES && request->op != OP_RELEASE) || answer->code == CODE_OUTBID ||
	    answer->code == CODE_REJECTED)
		put_fence(world, answer->fence);
	if (answer->version)
		put(world, ", data %llu", (unsigned long long)answer->version);
	put(world, "\n");
}

static void put_view(struct world *world, const struct client *client, unsigned master, const struct view *view)
{
	static const char *const standings[] = {"unreached", "asked", "refused", "quarantined", "voting"};

	put_time(world);
	put(world, "%u to %s: ", master + 1, client->name);
	if (!view)
		put(world, "no view");
	else
		put(world, "%s%s", view->epoch[0] ? "known" : "virgin", view->quarantine_ms > 0 ? ", in quarantine" : "");
	put(world, "; %s\n", standings[client->quorum.masters[master].standing]);
}

static void put_done(struct world *world, const struct party *party, int error)
{
	const struct lock *lock = &party->lock;
	int64_t until_us = lock->deadline_us - world->zero_us;

	put_time(world);
	if (error || lock->state != LOCK_HELD) {
		put(world, "%s: %s\n", party->label, error_text(error));
		return;
	}
	put(world, "%s has %c", party->label, lock->held == MODE_EXCLUSIVE ? 'X' : 'S');
	put_fence(world, lock->fence);
	put(world, " until %lld.%03lld\n", (long long)(until_us / 1000), (long long)(until_us % 1000));
}

static void put_event(struct world *world, const char *who, const char *what, unsigned master)
{
	put_time(world);
	if (master)
		put(world, "%s %s %u\n", who, what, master);
	else
		put(world, "%s %s\n", who, what);
}

/* ---- the shell's part ---- */

static void run_effects(struct client *client, struct party *party, struct effects *effects);

static struct party *party_of(struct client *client, const struct attempt *attempt)
{
	const struct lock *lock = attempt->closed ? attempt->waiter : attempt->lock;

	for (unsigned i = 0; lock && i < WORLD_PARTIES; i++)
		if (&client->parties[i].lock == lock)
			return &client->parties[i];
	return NULL;
}

static void finish_attempts(struct client *client)
{
	struct attempt **at = &client->closed;

	while (*at) {
		struct attempt *attempt = *at;

		if (attempt->waiter || !attempt_is_finished(attempt, client->world->now_us)) {
			at = &attempt->next;
			continue;
		}
		*at = attempt->next;
		attempt_free(attempt);
	}
}

static void announce(struct client *client, uint32_t before)
{
	uint32_t joined = quorum_voters(&client->quorum) & ~before;
	struct effects effects;

	for (unsigned i = 0; i < WORLD_PARTIES; i++) {
		effects.count = 0;
		if (!client->parties[i].open)
			continue;
		lock_masters_changed(&client->parties[i].lock, joined, client->world->now_us, &effects);
		run_effects(client, &client->parties[i], &effects);
	}
}

static void tell_answer(struct client *client, const struct request *request, const struct answer *answer)
{
	struct party *party = party_of(client, request->attempt);
	struct effects effects;

	effects.count = 0;
	put_answer(client->world, client, request, answer);
	lock_answered(request, answer, client->world->now_us, &effects);
	run_effects(client, party, &effects);
}

static void tell_view(struct client *client, const struct request *request, const struct view *view)
{
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	effects.count = 0;
	quorum_viewed(&client->quorum, request->master, view, client->world->now_us, &effects);
	put_view(client->world, client, request->master, view);
	run_effects(client, NULL, &effects);
	announce(client, before);
}

/* What could not be written is an error, told when the step that wanted it is over. */
static void tell_failed(struct client *client)
{
	static const struct answer failed = {.code = CODE_ERROR, .pttl_ms = -1};

	while (client->failed_count > 0) {
		struct request request = client->failed[0].request;

		memmove(&client->failed[0], &client->failed[1], --client->failed_count * sizeof(client->failed[0]));
		if (request.attempt)
			tell_answer(client, &request, &failed);
		else
			tell_view(client, &request, NULL);
	}
}

static void format_introduction(struct model_call *call, const struct quorum *quorum, unsigned master)
{
	const struct introduction *in = &quorum->masters[master].introduction;

	memcpy(call->incarnation, in->incarnation, sizeof(call->incarnation));
	call->durable = !in->always_known ? '?' : in->always ? '1' : '0';
	call->believe = in->was_replica || !in->always_known || !in->always ? '0' : '1';
	quorum_cluster_text(quorum, call->cluster, sizeof(call->cluster));
	call->quarantine_ms = quorum->quarantine_us / 1000;
}

/* As it is when the request leaves. */
static void format_cargo(struct model_call *call, const struct request *request)
{
	const struct cargo *cargo = &request->attempt->cargo;

	call->unload = request->unload;
	if (request->mode != MODE_EXCLUSIVE || cargo->version == 0 ||
	    (request->op != OP_ACQUIRE && request->op != OP_EXTEND))
		return;
	call->version = cargo->version;
	call->has_bytes = request->op == OP_ACQUIRE || request->bytes;
	if (!call->has_bytes)
		return;
	if (cargo->size > sizeof(call->bytes))
		out_of_bounds("too many bytes of data");
	if (cargo->size > 0)
		memcpy(call->bytes, cargo->bytes, cargo->size);
	call->size = cargo->size;
}

/* The same as libdlock/wire.c does. */
static void format_call(struct model_call *call, const struct request *request, const struct quorum *quorum)
{
	const struct attempt *attempt = request->attempt;

	memset(call, 0, sizeof(*call));
	call->operation = (char)request->op;
	if (!attempt) {
		format_introduction(call, quorum, request->master);
		return;
	}
	if (attempt->key_length >= sizeof(call->key))
		out_of_bounds("the name is too long");
	memcpy(call->key, attempt->key, attempt->key_length);
	memcpy(call->epoch, quorum->masters[request->master].view.epoch, sizeof(call->epoch));
	memcpy(call->token, attempt->token, sizeof(call->token));
	call->mode = request->mode == MODE_EXCLUSIVE ? 'X' : 'S';
	call->ttl_ms = (request->ttl_us + 999) / 1000;
	call->number = request->fence;
	call->skew_us = SKEW_US;
	call->floor = request->floor;
	call->repair = (char)request->repair;
	format_cargo(call, request);
}

static void send_request(struct client *client, const struct request *request)
{
	struct link *link = &client->links[request->master];
	struct message *message;
	int64_t at_us = client->world->now_us + link->there_us;

	if (!link->connected) {
		if (client->failed_count == sizeof(client->failed) / sizeof(client->failed[0]))
			out_of_bounds("too many requests without a connection");
		client->failed[client->failed_count++].request = *request;
		return;
	}
	if (link->count == LINK_MAX)
		out_of_bounds("too many requests under way");
	if (link->count > link->executed && link->queue[link->count - 1].there_at_us > at_us)
		at_us = link->queue[link->count - 1].there_at_us;
	message = &link->queue[link->count++];
	message->request = *request;
	message->there_at_us = at_us;
	format_call(&message->call, request, &client->quorum);
	quorum_sent(&client->quorum, request->master, client->world->now_us);
}

static void told_done(struct client *client, struct party *party, int error)
{
	struct world *world = client->world;

	if (!party || !party->calling)
		out_of_bounds("a call has ended that was not under way");
	party->calling = false;
	party->error = error;
	party->calls++;
	put_done(world, party, error);
	if (error == 0 && party->lock.state == LOCK_HELD && world->granted)
		world->granted(world, party, world->context);
}

static void told_reconnect(struct client *client, unsigned master)
{
	struct world *world = client->world;

	if (!client->links[master].connected)
		return;
	put_event(world, client->name, "reconnects", master + 1);
	/* Not within the core's step; at this same moment. */
	client->links[master].connect_at_us = world->now_us;
}

static void run_effects(struct client *client, struct party *party, struct effects *effects)
{
	struct attempt *attempt;

	if (effects->count > EFFECTS_MAX)
		out_of_bounds("too many effects");
	for (size_t i = 0; i < effects->count; i++) {
		const struct effect *effect = &effects->list[i];

		switch (effect->kind) {
		case EFFECT_SEND:
			put_sends(client->world, client, effects, i);
			send_request(client, &effect->request);
			break;
		case EFFECT_DONE:
			told_done(client, party, effect->error);
			break;
		case EFFECT_LOST:
			put_event(client->world, party->label, "has lost it", 0);
			party->losses++;
			break;
		case EFFECT_RECONNECT:
			told_reconnect(client, effect->master);
			break;
		}
	}
	while (party && (attempt = lock_take_closed(&party->lock))) {
		attempt->next = client->closed;
		client->closed = attempt;
	}
}

/* At the end of each event. */
static void settle(struct client *client)
{
	tell_failed(client);
	finish_attempts(client);
	if (client->world->check)
		client->world->check(client->world, client->world->context);
}

/* ---- links ---- */

static void answer_of(struct answer *answer, const struct model_reply *reply)
{
	memset(answer, 0, sizeof(*answer));
	answer->pttl_ms = -1;
	if (reply->error != MODEL_OK) {
		answer->code = reply->error == MODEL_NOSCRIPT ? CODE_NOT_CARRIED_OUT : CODE_ERROR;
		return;
	}
	answer->code = reply->code;
	answer->master_us = reply->us;
	answer->fence = reply->fence;
	answer->version = reply->version;
	answer->pttl_ms = reply->pttl_ms;
	memcpy(answer->holder, reply->holder, sizeof(answer->holder));
}

static void view_of(struct view *view, const struct model_reply *reply)
{
	memset(view, 0, sizeof(*view));
	memcpy(view->epoch, reply->epoch, sizeof(view->epoch));
	view->quarantine_ms = reply->quarantine_ms;
	view_parse_cluster(view, reply->cluster, strlen(reply->cluster));
	view->fences = reply->fences;
}

static void arrive_there(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];
	struct message *message = &link->queue[link->executed];
	int64_t back_at_us = client->world->now_us + link->back_us;

	model_execute(&client->world->masters[master], &message->call, client->world->now_us, &message->reply);
	if (link->executed > 0 && link->queue[link->executed - 1].back_at_us > back_at_us)
		back_at_us = link->queue[link->executed - 1].back_at_us;
	message->back_at_us = back_at_us;
	link->executed++;
}

static void arrive_back(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];
	struct request request = link->queue[0].request;
	struct model_reply reply = link->queue[0].reply;
	struct answer answer;
	struct view view;

	memmove(&link->queue[0], &link->queue[1], --link->count * sizeof(link->queue[0]));
	link->executed--;
	quorum_answered(&client->quorum, master, request.sent_us, reply.error ? 0 : reply.us, client->world->now_us);
	if (reply.error == MODEL_NOSCRIPT)
		client->world->masters[master].script_loaded = true;
	if (request.attempt) {
		answer_of(&answer, &reply);
		tell_answer(client, &request, &answer);
	} else {
		view_of(&view, &reply);
		tell_view(client, &request, reply.error ? NULL : &view);
	}
	/* What the master is has changed: the shell asks it anew. */
	if (reply.error == MODEL_READONLY)
		told_reconnect(client, master);
	settle(client);
}

void world_break(struct client *client, unsigned number, bool keep_late)
{
	static const struct answer broken = {.code = CODE_BROKEN, .pttl_ms = -1};
	unsigned master = number - 1;
	struct link *link = &client->links[master];
	uint32_t before;
	struct effects effects;

	if (!link->connected)
		return;
	put_event(client->world, client->name, "breaks with", number);
	link->connected = false;
	link->connect_at_us = NEVER_US;
	for (unsigned i = link->executed; keep_late && i < link->count; i++) {
		if (link->late_count == LATE_MAX)
			out_of_bounds("too many late requests");
		link->late[link->late_count++] = link->queue[i];
	}
	while (link->count > 0) {
		struct request request = link->queue[0].request;

		memmove(&link->queue[0], &link->queue[1], --link->count * sizeof(link->queue[0]));
		if (request.attempt)
			tell_answer(client, &request, &broken);
		else
			tell_view(client, &request, NULL);
	}
	link->executed = 0;
	before = quorum_voters(&client->quorum);
	effects.count = 0;
	quorum_disconnected(&client->quorum, master, client->world->now_us, &effects);
	run_effects(client, NULL, &effects);
	for (struct attempt *a = client->closed; a; a = a->next)
		attempt_disconnected(a, master, client->world->now_us);
	for (unsigned i = 0; i < WORLD_PARTIES; i++) {
		effects.count = 0;
		if (!client->parties[i].open)
			continue;
		lock_disconnected(&client->parties[i].lock, master, client->world->now_us, &effects);
		run_effects(client, &client->parties[i], &effects);
	}
	announce(client, before);
	settle(client);
}

static void introduce(struct introduction *in, const struct model_master *master, bool kill_permitted)
{
	memset(in, 0, sizeof(*in));
	in->info_known = true;
	in->is_master = !master->read_only;
	in->was_replica = master->was_replica;
	in->always_known = master->always_known;
	in->always = master->always;
	in->kill_permitted = kill_permitted;
	in->version = 70015;
	memcpy(in->incarnation, master->incarnation, sizeof(in->incarnation));
	in->run_id_length = strcspn(master->incarnation, ":");
}

static void tick_closed(struct client *client)
{
	struct effects effects;

	for (struct attempt *a = client->closed; a; a = a->next) {
		effects.count = 0;
		attempt_tick(a, client->world->now_us, &effects);
		run_effects(client, NULL, &effects);
	}
}

void world_connect(struct client *client, unsigned number)
{
	unsigned master = number - 1;
	struct link *link = &client->links[master];
	struct model_master *model = &client->world->masters[master];
	uint32_t before = quorum_voters(&client->quorum);
	struct introduction introduction;
	struct effects effects;

	if (link->connected)
		return;
	put_event(client->world, client->name, "connects to", number);
	link->connected = true;
	link->connect_at_us = NEVER_US;
	if (!link->no_kill)
		link->late_count = 0; /* CLIENT KILL ID */
	model->script_loaded = true;
	introduce(&introduction, model, !link->no_kill);
	effects.count = 0;
	quorum_connected(&client->quorum, master, &introduction, client->world->now_us, &effects);
	run_effects(client, NULL, &effects);
	tick_closed(client);
	announce(client, before);
	settle(client);
}

void world_refuse(struct client *client, unsigned master)
{
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	effects.count = 0;
	quorum_disconnected(&client->quorum, master - 1, client->world->now_us, &effects);
	run_effects(client, NULL, &effects);
	announce(client, before);
	settle(client);
}

void world_connect_all(struct client *client)
{
	for (unsigned i = 1; i <= client->world->count; i++)
		world_connect(client, i);
}

void world_deliver_late(struct client *client, unsigned master)
{
	struct link *link = &client->links[master - 1];
	struct model_reply ignored;

	for (unsigned i = 0; i < link->late_count; i++)
		model_execute(&client->world->masters[master - 1], &link->late[i].call, client->world->now_us,
		              &ignored);
	link->late_count = 0;
}

struct link *world_link(struct client *client, unsigned master)
{
	return &client->links[master - 1];
}

void world_hold(struct client *client, unsigned master)
{
	client->links[master - 1].held = true;
}

void world_let(struct client *client, unsigned master)
{
	client->links[master - 1].held = false;
}

struct model_master *world_master(struct world *world, unsigned master)
{
	return &world->masters[master - 1];
}

void world_break_master(struct world *world, unsigned master)
{
	for (unsigned i = 0; i < world->client_count; i++)
		world_break(&world->clients[i], master, false);
}

void world_connect_master(struct world *world, unsigned master)
{
	for (unsigned i = 0; i < world->client_count; i++)
		if (world->clients[i].alive)
			world_connect(&world->clients[i], master);
}

void world_stop(struct world *world, unsigned master)
{
	world->stopped[master - 1] = true;
}

void world_continue(struct world *world, unsigned master)
{
	world->stopped[master - 1] = false;
}

/* ---- time ---- */

enum event_kind { EVENT_NONE, EVENT_THERE, EVENT_BACK, EVENT_CONNECT, EVENT_QUORUM, EVENT_CLOSED, EVENT_LOCK };

struct event {
	enum event_kind kind;
	int64_t at_us;
	struct client *client;
	unsigned index; /* master or party */
};

static void consider(struct event *best, enum event_kind kind, int64_t at_us, struct client *client, unsigned index)
{
	if (at_us < client->world->now_us)
		at_us = client->world->now_us;
	if (at_us < best->at_us)
		*best = (struct event){kind, at_us, client, index};
}

static void consider_link(struct event *best, struct client *client, unsigned master)
{
	struct link *link = &client->links[master];

	if (link->connect_at_us != NEVER_US)
		consider(best, EVENT_CONNECT, link->connect_at_us, client, master);
	if (!link->connected || link->held)
		return;
	if (link->executed < link->count && !client->world->stopped[master])
		consider(best, EVENT_THERE, link->queue[link->executed].there_at_us, client, master);
	if (link->executed > 0)
		consider(best, EVENT_BACK, link->queue[0].back_at_us, client, master);
}

static void consider_client(struct event *best, struct client *client)
{
	int64_t now_us = client->world->now_us;

	for (unsigned i = 0; i < client->world->count; i++)
		consider_link(best, client, i);
	consider(best, EVENT_QUORUM, quorum_next_us(&client->quorum, now_us), client, 0);
	for (const struct attempt *a = client->closed; a; a = a->next)
		consider(best, EVENT_CLOSED, attempt_next_us(a), client, 0);
	for (unsigned i = 0; i < WORLD_PARTIES; i++)
		if (client->parties[i].open)
			consider(best, EVENT_LOCK, lock_next_us(&client->parties[i].lock, now_us), client, i);
}

static void quorum_timer(struct client *client)
{
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	effects.count = 0;
	quorum_tick(&client->quorum, client->world->now_us, &effects);
	run_effects(client, NULL, &effects);
	announce(client, before);
	settle(client);
}

static void lock_timer(struct client *client, struct party *party)
{
	struct effects effects;

	effects.count = 0;
	lock_tick(&party->lock, client->world->now_us, &effects);
	run_effects(client, party, &effects);
	settle(client);
}

/* EFFECT_RECONNECT first ends the connection, then makes it anew. */
static void connect_timer(struct client *client, unsigned master)
{
	if (client->links[master].connected) {
		world_break(client, master + 1, false);
		client->links[master].connect_at_us = client->world->now_us + client->world->reconnect_us;
	} else {
		world_connect(client, master + 1);
	}
}

bool world_step(struct world *world, int64_t until_us)
{
	struct event best = {.kind = EVENT_NONE, .at_us = NEVER_US};

	for (unsigned i = 0; i < world->client_count; i++)
		if (world->clients[i].alive)
			consider_client(&best, &world->clients[i]);
	if (best.kind == EVENT_NONE || best.at_us > until_us) {
		world->now_us = until_us;
		return false;
	}
	world->steps_at_once = best.at_us > world->now_us ? 0 : world->steps_at_once + 1;
	if (world->steps_at_once > STEPS_AT_ONCE_MAX)
		stuck(world, best.kind == EVENT_QUORUM   ? "time does not go on: the quorum's timer is always due"
		             : best.kind == EVENT_CLOSED ? "time does not go on: a closed attempt's timer is always due"
		             : best.kind == EVENT_LOCK   ? "time does not go on: a lock's timer is always due"
		                                         : "time does not go on");
	world->now_us = best.at_us;
	switch (best.kind) {
	case EVENT_THERE: arrive_there(best.client, best.index); break;
	case EVENT_BACK: arrive_back(best.client, best.index); break;
	case EVENT_CONNECT: connect_timer(best.client, best.index); break;
	case EVENT_QUORUM: quorum_timer(best.client); break;
	case EVENT_CLOSED:
		tick_closed(best.client);
		settle(best.client);
		break;
	default: lock_timer(best.client, &best.client->parties[best.index]); break;
	}
	return true;
}

void world_run(struct world *world, int64_t us)
{
	int64_t until_us = world->now_us + us;

	while (world_step(world, until_us))
		;
}

void world_run_until_done(struct world *world, struct party *party)
{
	while (party->calling)
		if (!world_step(world, world->now_us + 60 * SECONDS))
			out_of_bounds("a call does not end");
}

int64_t world_ms(const struct world *world)
{
	return (world->now_us - world->zero_us) / 1000;
}

/* ---- clients and parties ---- */

static const struct client_settings default_settings = {
    .ttl_us = 1 * SECONDS,
    .node_timeout_us = 50 * MS,
    .quorum_timeout_us = 5 * SECONDS,
};

struct client *world_client(struct world *world, const struct client_settings *settings)
{
	struct client *client = &world->clients[world->client_count];
	struct quorum_settings quorum_settings = {.count = world->count};

	if (world->client_count == WORLD_CLIENTS)
		out_of_bounds("too many clients");
	client->world = world;
	client->index = world->client_count++;
	client->alive = true;
	snprintf(client->name, sizeof(client->name), "%c", 'a' + client->index);
	client->settings = settings ? *settings : default_settings;
	settings = &client->settings;
	for (unsigned i = 0; i < world->count; i++) {
		struct link *link = &client->links[i];

		link->there_us = link->back_us = 100;
		link->connect_at_us = NEVER_US;
	}
	quorum_settings.ttl_us = settings->ttl_us + settings->lock_delay_us;
	quorum_settings.max_ttl_us = settings->max_ttl_us;
	quorum_settings.node_timeout_us = settings->node_timeout_us;
	quorum_settings.quarantine = !settings->no_quarantine;
	snprintf(quorum_settings.fingerprint, sizeof(quorum_settings.fingerprint), "%s",
	         settings->fingerprint ? settings->fingerprint : DEFAULT_FINGERPRINT);
	quorum_init(&client->quorum, &quorum_settings);
	return client;
}

void world_init_masters(struct world *world, const struct client *client)
{
	struct model_reply reply;

	for (unsigned i = 0; i < world->count; i++) {
		struct model_call call = {.operation = 'N'};

		memcpy(call.incarnation, world->masters[i].incarnation, sizeof(call.incarnation));
		call.durable = world->masters[i].always ? '1' : '0';
		quorum_cluster_text(&client->quorum, call.cluster, sizeof(call.cluster));
		model_execute(&world->masters[i], &call, world->now_us, &reply);
	}
}

struct party *world_party(struct client *client, const char *key)
{
	const struct client_settings *s = &client->settings;
	struct lock_settings settings = {.ttl_us = s->ttl_us,
	                                 .lock_delay_us = s->lock_delay_us,
	                                 .node_timeout_us = s->node_timeout_us,
	                                 .quorum_timeout_us = s->quorum_timeout_us};
	struct party *party = client->parties;
	char identity[LOCK_IDENTITY_MAX];
	unsigned index;

	while (party->open)
		party++;
	index = (unsigned)(party - client->parties);
	if (index >= WORLD_PARTIES)
		out_of_bounds("too many parties");
	memset(party, 0, sizeof(*party));
	snprintf(party->label, sizeof(party->label), index ? "%s%u" : "%s", client->name, index + 1);
	snprintf(identity, sizeof(identity), "host/%u/%s", client->index + 1, party->label);
	settings.random[0] = (uint8_t)(client->index + 1);
	settings.random[1] = (uint8_t)index;
	settings.jitter = (client->index + 1) * 1000 + index;
	key = key ? key : "db";
	if (lock_init(&party->lock, &client->quorum, &settings, key, strlen(key), identity) < 0)
		return NULL;
	party->client = client;
	party->open = true;
	return party;
}

static void begin_call(struct party *party, const char *what)
{
	if (party->calling)
		out_of_bounds("two calls at once");
	party->calling = true;
	put_event(party->client->world, party->label, what, 0);
}

static void end_step(struct party *party, struct effects *effects)
{
	run_effects(party->client, party, effects);
	settle(party->client);
}

void party_lock(struct party *party, enum mode mode, int64_t timeout_us)
{
	struct effects effects;

	effects.count = 0;
	begin_call(party, mode == MODE_EXCLUSIVE ? "wants X" : "wants S");
	lock_call(&party->lock, mode, timeout_us, party->client->world->now_us, &effects);
	end_step(party, &effects);
}

void party_unlock(struct party *party)
{
	struct effects effects;

	effects.count = 0;
	begin_call(party, "unlocks");
	lock_unlock(&party->lock, party->client->world->now_us, &effects);
	end_step(party, &effects);
}

void party_verify(struct party *party)
{
	struct effects effects;

	effects.count = 0;
	begin_call(party, "verifies");
	lock_verify(&party->lock, party->client->world->now_us, &effects);
	end_step(party, &effects);
}

void party_set_data(struct party *party, const char *text)
{
	size_t size = text ? strlen(text) : 0;
	void *bytes = size ? malloc(size) : NULL;
	int64_t now_us = party->client->world->now_us;
	struct effects effects;

	if (size && !bytes)
		out_of_bounds("no memory for data");
	if (size)
		memcpy(bytes, text, size);
	effects.count = 0;
	if (party->calling) {
		if (party->lock.state == LOCK_HELD && party->lock.held == MODE_EXCLUSIVE)
			out_of_bounds("data are set while an exclusive lock is held and another call is under way");
		put_event(party->client->world, party->label, "sets its data meanwhile", 0);
		lock_put_data(&party->lock, bytes, size, now_us, &effects);
	} else {
		begin_call(party, "sets its data");
		lock_set_data(&party->lock, bytes, size, now_us, &effects);
	}
	end_step(party, &effects);
}

void party_cancel(struct party *party, int error)
{
	struct effects effects;

	effects.count = 0;
	lock_cancel(&party->lock, error, party->client->world->now_us, &effects);
	end_step(party, &effects);
}

void party_close(struct party *party)
{
	struct effects effects;

	effects.count = 0;
	put_event(party->client->world, party->label, "closes", 0);
	lock_abandon(&party->lock, party->client->world->now_us, &effects);
	party->calling = false;
	end_step(party, &effects);
	party->open = false;
	lock_clear(&party->lock);
}

bool party_holds(const struct party *party, enum mode mode)
{
	return party->open && party->lock.state == LOCK_HELD && party->lock.held == mode &&
	       party->client->world->now_us < party->lock.deadline_us;
}

const char *party_token(const struct party *party)
{
	return party->lock.attempt ? party->lock.attempt->token : "";
}

static void forget_client(struct client *client)
{
	for (unsigned i = 0; i < WORLD_PARTIES; i++) {
		struct party *party = &client->parties[i];
		struct attempt *attempt;

		if (!party->open)
			continue;
		attempt_free(party->lock.attempt);
		while ((attempt = lock_take_closed(&party->lock)))
			attempt_free(attempt);
		lock_clear(&party->lock);
		party->open = false;
	}
	for (struct attempt *a = client->closed, *next; a; a = next) {
		next = a->next;
		attempt_free(a);
	}
	client->closed = NULL;
}

void client_vanish(struct client *client)
{
	put_event(client->world, client->name, "vanishes", 0);
	forget_client(client);
	client->alive = false;
	for (unsigned i = 0; i < client->world->count; i++) {
		struct link *link = &client->links[i];

		/* What the network has already is executed some time. */
		for (unsigned j = link->executed; link->connected && j < link->count && link->late_count < LATE_MAX; j++)
			link->late[link->late_count++] = link->queue[j];
		link->connected = false;
		link->count = link->executed = 0;
	}
}

unsigned world_carriers(struct world *world, const char *key)
{
	unsigned count = 0;

	for (unsigned i = 0; i < world->count; i++)
		count += model_holds(&world->masters[i], key, NULL, world->now_us);
	return count;
}

static unsigned count_loaded(struct world *world, const struct party *party, uint64_t version, bool loaded)
{
	const char *token = party_token(party), *key = party->lock.key;
	unsigned count = 0;

	for (unsigned i = 0; i < world->count; i++) {
		const char *owner = model_owner(&world->masters[i], key, world->now_us);
		const struct model_cargo *cargo = model_cargo(&world->masters[i], key, world->now_us);
		bool has = cargo && strcmp(cargo->token, token) == 0 && cargo->version >= version;

		count += owner && strcmp(owner, token) == 0 && has == loaded;
	}
	return count;
}

unsigned world_loaded(struct world *world, const struct party *party, uint64_t version)
{
	return count_loaded(world, party, version, true);
}

unsigned world_lacking(struct world *world, const struct party *party, uint64_t version)
{
	return count_loaded(world, party, version, false);
}

unsigned world_cargoes(struct world *world, const char *key)
{
	unsigned count = 0;

	for (unsigned i = 0; i < world->count; i++)
		count += model_cargo(&world->masters[i], key, world->now_us) != NULL;
	return count;
}

unsigned client_owed(const struct client *client)
{
	unsigned count = 0;

	for (const struct attempt *a = client->closed; a; a = a->next)
		count++;
	return count;
}

/* ---- the world ---- */

void world_reset(struct world *world, unsigned count)
{
	for (unsigned i = 0; i < world->client_count; i++) {
		struct client *client = &world->clients[i];

		forget_client(client);
		for (unsigned j = 0; j < WORLD_MASTERS; j++) {
			struct link *link = &client->links[j];

			link->connected = link->held = link->no_kill = false;
			link->count = link->executed = link->late_count = 0;
		}
		client->failed_count = 0;
	}
	world->client_count = 0;
	world->count = count;
	world->now_us = world->zero_us = START_US;
	world->reconnect_us = 1 * MS;
	world->steps_at_once = 0;
	for (unsigned i = 0; i < count; i++) {
		world->stopped[i] = false;
		model_start(&world->masters[i], i + 1);
		world->masters[i].clock_us = UNIX_US - START_US;
	}
	world_hush(world);
}

struct world *world_new(unsigned count)
{
	struct world *world = calloc(1, sizeof(*world));

	if (!world || count > WORLD_MASTERS)
		out_of_bounds("no memory for a world, or too many masters");
	world_reset(world, count);
	return world;
}

struct world *world_ready(unsigned count, unsigned clients)
{
	struct world *world = world_new(count);

	for (unsigned i = 0; i < clients; i++)
		world_client(world, NULL);
	world_init_masters(world, &world->clients[0]);
	for (unsigned i = 0; i < clients; i++)
		world_connect_all(&world->clients[i]);
	world_run(world, 10 * MS);
	world_zero(world);
	return world;
}

void world_free(struct world *world)
{
	for (unsigned i = 0; i < world->client_count; i++)
		forget_client(&world->clients[i]);
	free(world->trace);
	free(world);
}

void world_hush(struct world *world)
{
	world->trace_length = 0;
	if (world->trace)
		world->trace[0] = '\0';
}

void world_zero(struct world *world)
{
	world->zero_us = world->now_us;
	world_hush(world);
}

bool world_said(struct world *world, const char *expected)
{
	const char *trace = world->trace ? world->trace : "";
	bool same = strcmp(trace, expected) == 0;

	if (!same)
		fprintf(stderr, "--- expected\n%s--- but this happened\n%s---\n", expected, trace);
	world_hush(world);
	return same;
}
