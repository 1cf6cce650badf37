/* core_fixture.c - see core_fixture.h. */
#include "core_fixture.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_US INT64_C(1000000000)              /* CLOCK_BOOTTIME when the world begins */
#define UNIX_US INT64_C(1700000000000000)         /* the masters' clocks then */
#define CONNECT_AGAIN_US (20 * MS) /* after a connection that could not be made */
#define LISTEN_US 500 /* to connect, and to subscribe */
#define STEPS_AT_ONCE_MAX 20000                   /* more at one moment: the core does not come to rest */
#define DEFAULT_FINGERPRINT "00000000000000c1"

/* ---- clocks ---- */

static int64_t paced_us(const struct world *world, int64_t ppm)
{
	return ppm ? (world->now_us - START_US) * ppm / 1000000 : 0;
}

int64_t client_now_us(const struct client *client)
{
	return client->world->now_us + paced_us(client->world, client->rate_ppm);
}

/* When the client's clock shows `at_us`, or just after. */
static int64_t client_world_us(const struct client *client, int64_t at_us)
{
	int64_t ppm = client->rate_ppm;

	if (ppm == 0)
		return at_us;
	return START_US + (at_us - START_US) * 1000000 / (1000000 + ppm) + 1;
}

/* The time that a model master adds its clock to. */
int64_t master_now_us(const struct world *world, unsigned master)
{
	return world->now_us + paced_us(world, world->rates_ppm[master]);
}

/* A client's list of masters may begin with any of them; it numbers them itself. */
static unsigned master_of(const struct client *client, unsigned index)
{
	return (client->first + index) % client->world->count;
}

static int index_of_master(const struct client *client, unsigned number)
{
	unsigned index = (number - 1 + client->world->count - client->first) % client->world->count;

	return index < client->count ? (int)index : -1;
}

/* ---- the trace ---- */

void (*world_gave_up)(const char *what);

static void out_of_bounds(const char *what)
{
	if (world_gave_up)
		world_gave_up(what);
	fprintf(stderr, "core fixture: %s\n", what);
	abort();
}

/* What the world was at when it could not go on. */
static void stuck(struct world *world, const char *what)
{
	size_t shown = world->trace_length < 2000 ? world->trace_length : 2000;

	if (shown && !world_gave_up)
		fprintf(stderr, "... %s\n", world->trace + world->trace_length - shown);
	out_of_bounds(what);
}

static void put_list(struct world *world, const char *format, va_list args)
{
	int length;

	if (world->trace_size - world->trace_length < 512) {
		world->trace_size = 2 * world->trace_size + 4096;
		world->trace = realloc(world->trace, world->trace_size);
		if (!world->trace)
			out_of_bounds("no memory for the trace");
	}
	length = vsnprintf(world->trace + world->trace_length, 512, format, args);
	world->trace_length += (size_t)length;
}

__attribute__((format(printf, 2, 3))) static void put(struct world *world, const char *format, ...)
{
	va_list args;

	if (world->silent)
		return;
	va_start(args, format);
	put_list(world, format, args);
	va_end(args);
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

/* For a reader who does not know the script's letters. */
static const char *words_of(const struct request *request)
{
	switch (request->op) {
	case OP_VIEW: return "tell me of yourself";
	case OP_INTRODUCE: return "this is your incarnation, and your cluster; wait if you have forgotten";
	case OP_POLL: return "how do I stand?";
	case OP_YIELD: return request->offer_us ? "I leave it to who is older" : "I leave it to who has the rest";
	case OP_RELEASE: return "I give it back";
	case OP_EXTEND: return request->mode == MODE_EXCLUSIVE ? "I go on writing" : "I go on reading";
	default: return request->mode == MODE_EXCLUSIVE ? "let me write" : "let me read";
	}
}

static void put_words(struct world *world, const struct request *request)
{
	put(world, "%s", words_of(request));
	if (!request->attempt || request->op == OP_POLL || request->op == OP_YIELD)
		return;
	if (request->op == OP_RELEASE && request->fence) {
		put(world, "; refuse what comes late below");
		put_fence(world, request->fence);
	} else if (request->op != OP_RELEASE) {
		put(world, ", fence");
		put_fence(world, request->fence);
	}
	if (request->op == OP_EXTEND)
		put(world, request->repair == REPAIR_NO    ? "; set nothing anew"
		           : request->repair == REPAIR_YES ? "; if it is gone, set it anew"
		                                           : "; if it is gone and nobody came after me, set it anew");
}

static void put_request(struct world *world, const struct request *request)
{
	if (world->plain) {
		put_words(world, request);
		return;
	}
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
	if (request->op == OP_YIELD)
		put(world, request->offer_us ? " to who is older" : " to nobody");
	if (request->op == OP_POLL || request->op == OP_YIELD)
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
	       (a->op != OP_YIELD || a->offer_us == b->offer_us) &&
	       a->unload == b->unload;
}

/* One line for the same request to several masters. */
static void put_sends(struct world *world, const struct client *client, const struct effects *effects, size_t from)
{
	const struct request *request = &effects->list[from].request;

	if (world->silent)
		return;
	if (from > 0 && effects->list[from - 1].kind == EFFECT_SEND && alike(&effects->list[from - 1].request, request))
		return;
	put_time(world);
	put(world, "%s asks", label_of(client, request->attempt));
	for (size_t i = from; i < effects->count && effects->list[i].kind == EFFECT_SEND; i++) {
		if (!alike(&effects->list[i].request, request))
			break;
		put(world, " %u", master_of(client, effects->list[i].request.master) + 1);
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
	if (world->silent)
		return;
	put_time(world);
	put(world, "%u to %s: ", master_of(client, request->master) + 1, label_of(client, request->attempt));
	switch (answer->code) {
	case CODE_BUSY: put(world, "busy, %s %lld ms", owner_of(world, answer->holder), (long long)answer->pttl_ms); break;
	case CODE_YES:
		put(world, request->op == OP_RELEASE ? "released" : request->op == OP_YIELD ? "yielded" : answer->kept ? "kept" : "yes");
		break;
	case CODE_OUTBID: put(world, "outbid"); break;
	case CODE_REPAIRED: put(world, "repaired"); break;
	case CODE_BARE: put(world, "gone, and the data not sent"); break;
	case CODE_FREE: put(world, "free"); break;
	case CODE_MINE: put(world, "mine"); break;
	case CODE_EPOCH: put(world, "another epoch"); break;
	case CODE_SKEWED: put(world, "skewed"); break;
	case CODE_REJECTED: put(world, "rejected"); break;
	case CODE_NOT_CARRIED_OUT: put(world, "no script"); break;
	case CODE_ERROR: put(world, "error"); break;
	case CODE_REFUSED: put(world, "refused"); break;
	case CODE_BROKEN: put(world, "broken"); break;
	default: put(world, "code %d", answer->code); break;
	}
	if ((answer->code == CODE_YES && request->op != OP_RELEASE && request->op != OP_YIELD) ||
	    answer->code == CODE_OUTBID || answer->code == CODE_REJECTED || answer->code == CODE_MINE)
		put_fence(world, answer->fence);
	if (answer->version)
		put(world, ", data %llu", (unsigned long long)answer->version);
	put(world, "\n");
}

static void put_view(struct world *world, const struct client *client, unsigned master, const struct view *view)
{
	static const char *const standings[] = {"unreached", "asked", "refused", "quarantined", "voting"};

	if (world->silent)
		return;
	put_time(world);
	put(world, "%u to %s: ", master_of(client, master) + 1, client->name);
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

	if (world->silent)
		return;
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
	if (world->silent)
		return;
	put_time(world);
	if (master)
		put(world, "%s %s %u\n", who, what, master);
	else
		put(world, "%s %s\n", who, what);
}

void world_tell(struct world *world, const char *format, ...)
{
	va_list args;

	if (world->silent)
		return;
	put_time(world);
	va_start(args, format);
	put_list(world, format, args);
	va_end(args);
	put(world, "\n");
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

		if (attempt->waiter || !attempt_is_finished(attempt, client_now_us(client))) {
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
		lock_masters_changed(&client->parties[i].lock, joined, client_now_us(client), &effects);
		run_effects(client, &client->parties[i], &effects);
	}
}

/* What has happened goes into the world's fingerprint (FNV-1a, by words). */
static void note(struct world *world, uint64_t what)
{
	world->fingerprint = (world->fingerprint ^ what) * UINT64_C(1099511628211);
	world->fingerprint ^= world->fingerprint >> 29;
}

static void tell_answer(struct client *client, const struct request *request, const struct answer *answer)
{
	struct party *party = party_of(client, request->attempt);
	struct effects effects;

	effects.count = 0;
	put_answer(client->world, client, request, answer);
	note(client->world, (uint64_t)answer->code << 56 ^ answer->fence ^ answer->version << 40);
	lock_answered(request, answer, client_now_us(client), &effects);
	run_effects(client, party, &effects);
}

static void tell_view(struct client *client, const struct request *request, const struct view *view)
{
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	effects.count = 0;
	quorum_viewed(&client->quorum, request->master, view, client_now_us(client), &effects);
	put_view(client->world, client, request->master, view);
	run_effects(client, NULL, &effects);
	announce(client, before);
}

/* What could not be written is an error, told when the step that wanted it is over. */
static void tell_failed(struct client *client)
{
	static const struct answer failed = {.code = CODE_REFUSED, .pttl_ms = -1};

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
	memcpy(call->tag, quorum->settings.tags[master], sizeof(call->tag));
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
	call->floor = request->floor;
	call->repair = (char)request->repair;
	call->ticket = attempt->ticket;
	call->next = request->next;
	call->offer_ms = (request->offer_us + 999) / 1000;
	if (request->queued)
		snprintf(call->place, sizeof(call->place), "%c:%lld:%s:%s", attempt->waits_for == MODE_EXCLUSIVE ? 'X' : 'S',
		         (long long)call->ttl_ms, quorum->settings.channel, attempt->token);
	format_cargo(call, request);
}

static int64_t delay_us(struct world *world, const struct link *link, int64_t us)
{
	return link->jitter_us > 0 ? us + (int64_t)world->draw(world->context, (uint64_t)link->jitter_us) : us;
}

/* When the attempt last told masters of a proposal that it had not made before. */
static void note_proposal(struct client *client, const struct request *request)
{
	struct party *party = request->op == OP_ACQUIRE ? party_of(client, request->attempt) : NULL;

	if (!party || (party->proposal == request->fence && party->proposer == request->attempt))
		return;
	party->proposal = request->fence;
	party->proposer = request->attempt;
	party->proposed_us = client->world->now_us;
}

static void send_request(struct client *client, const struct request *request)
{
	struct link *link = &client->links[request->master];
	struct message *message;
	int64_t at_us = client->world->now_us + delay_us(client->world, link, link->there_us);

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
	message->life = client->life;
	message->there_at_us = at_us;
	note_proposal(client, request);
	format_call(&message->call, request, &client->quorum);
	quorum_sent(&client->quorum, request->master, client_now_us(client));
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
	put_event(world, client->name, "reconnects", master_of(client, master) + 1);
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
		case EFFECT_LISTEN:
			for (unsigned m = 0; m < client->count && !client->settings.no_grants; m++)
				client->links[m].listen_at_us = client->world->now_us + LISTEN_US;
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
		answer->code = reply->error == MODEL_NOSCRIPT ? CODE_NOT_CARRIED_OUT
		               : reply->error == MODEL_BUSY   ? CODE_REFUSED
		                                              : CODE_ERROR;
		return;
	}
	answer->code = reply->code;
	answer->kept = reply->kept;
	answer->master_us = reply->us;
	answer->fence = reply->fence;
	answer->version = reply->version;
	answer->pttl_ms = reply->pttl_ms;
	answer->expiry_ms = reply->expiry_ms;
	answer->rank = reply->rank;
	memcpy(answer->holder, reply->holder, sizeof(answer->holder));
	memcpy(answer->ahead, reply->ahead, sizeof(answer->ahead));
}

static void view_of(struct view *view, const struct model_reply *reply)
{
	memset(view, 0, sizeof(*view));
	memcpy(view->epoch, reply->epoch, sizeof(view->epoch));
	view->quarantine_ms = reply->quarantine_ms;
	view_parse_cluster(view, reply->cluster, strlen(reply->cluster));
	view->fences = reply->fences;
}

/* ---- grants ---- */

static void tell_later(struct client *client, struct link *link, const struct model_grant *grant)
{
	struct told *told = &link->told[link->told_count];

	/* More than there is room for is lost. */
	if (link->deaf || link->told_count == TOLD_MAX)
		return;
	memset(told, 0, sizeof(*told));
	told->grant.fence = grant->fence;
	told->grant.master_us = grant->us;
	told->grant.expiry_ms = grant->expiry_ms;
	snprintf(told->grant.epoch, sizeof(told->grant.epoch), "%s", grant->epoch);
	snprintf(told->grant.token, sizeof(told->grant.token), "%s", grant->token);
	told->at_us = client->world->now_us + delay_us(client->world, link, link->back_us);
	link->told_count++;
}

/* PUBLISH: of all clients one has the channel. */
static bool publish(void *context, struct model_master *master, const char *channel, const struct model_grant *grant)
{
	struct world *world = context;
	unsigned at = (unsigned)(master - world->masters);

	for (unsigned i = 0; i < world->client_count; i++) {
		struct client *client = &world->clients[i];
		int index = index_of_master(client, at + 1);
		struct link *link = index < 0 ? NULL : &client->links[index];

		if (!client->alive || strcmp(client->quorum.settings.channel, channel) != 0 || !link || !link->subscribed)
			continue;
		if (grant && world->handed && world->executing)
			world->handed(world, at, world->executing->key, grant, world->context);
		for (unsigned copies = 0; grant && copies <= world->echoes; copies++)
			if (copies == 0 || world->draw(world->context, 4) == 0)
				tell_later(client, link, grant);
		return true;
	}
	return false;
}

static void arrive_told(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];
	struct grant grant = link->told[0].grant;
	struct effects effects;

	memmove(&link->told[0], &link->told[1], --link->told_count * sizeof(link->told[0]));
	note(client->world, grant.fence ^ (uint64_t)grant.expiry_ms << 20);
	if (!client->world->silent) {
		put_time(client->world);
		put(client->world, "%u grants %s", master_of(client, master) + 1, owner_of(client->world, grant.token));
		put_fence(client->world, grant.fence);
		put(client->world, "\n");
	}
	for (unsigned i = 0; i < WORLD_PARTIES; i++) {
		effects.count = 0;
		if (!client->parties[i].open)
			continue;
		lock_granted(&client->parties[i].lock, master, &grant, client_now_us(client), &effects);
		lock_stray(&client->parties[i].lock, master, &grant, client->closed, client_now_us(client), &effects);
		run_effects(client, &client->parties[i], &effects);
	}
	settle(client);
}

static void listen(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];
	struct effects effects;

	link->listen_at_us = NEVER_US;
	if (client->world->down[master_of(client, master)] || link->held_there || link->held_back) {
		link->listen_at_us = client->world->now_us + CONNECT_AGAIN_US;
		return;
	}
	link->subscribed = true;
	put_event(client->world, client->name, "listens to", master_of(client, master) + 1);
	quorum_listening(&client->quorum, master, true);
	for (unsigned i = 0; i < WORLD_PARTIES; i++) {
		effects.count = 0;
		if (!client->parties[i].open)
			continue;
		lock_listening(&client->parties[i].lock, master, client_now_us(client), &effects);
		run_effects(client, &client->parties[i], &effects);
	}
	settle(client);
}

/* What is under way is lost with the connection. A process that stands still notices that later. */
static void unsubscribe(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];

	link->subscribed = false;
	link->told_count = 0;
	if (client->paused || !client->quorum.masters[master].listening)
		return;
	put_event(client->world, client->name, "does not hear", master_of(client, master) + 1);
	quorum_listening(&client->quorum, master, false);
	link->listen_at_us = client->world->now_us + client->world->reconnect_us + LISTEN_US;
}

void world_unsubscribe(struct client *client, unsigned number)
{
	int master = index_of_master(client, number);

	if (master >= 0)
		unsubscribe(client, (unsigned)master);
}

static void execute(struct world *world, unsigned at, const struct model_call *call, struct model_reply *reply)
{
	world->executing = call;
	model_execute(&world->masters[at], call, master_now_us(world, at), reply);
	world->executing = NULL;
	if (world->executed)
		world->executed(world, at, call, reply, world->context);
}

static void arrive_there(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];
	struct message *message = &link->queue[link->executed];
	int64_t back_at_us = client->world->now_us + delay_us(client->world, link, link->back_us);
	unsigned at = master_of(client, master);

	if (client->world->executed_us[at] == client->world->now_us) {
		message->there_at_us = client->world->now_us + 1;
		return;
	}
	client->world->executed_us[at] = client->world->now_us;
	execute(client->world, at, &message->call, &message->reply);
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
	quorum_answered(&client->quorum, master, request.sent_us, reply.error ? 0 : reply.us, client_now_us(client));
	if (reply.error == MODEL_NOSCRIPT)
		client->world->masters[master_of(client, master)].script_loaded = true;
	if (request.attempt) {
		answer_of(&answer, &reply);
		tell_answer(client, &request, &answer);
	} else {
		view_of(&view, &reply);
		tell_view(client, &request, reply.error ? NULL : &view);
	}
	/* What the master is has changed: the shell asks it anew. */
	if (reply.error == MODEL_READONLY || reply.error == MODEL_LOADING)
		told_reconnect(client, master);
	settle(client);
}

/* What the network has already is executed some time. More than there is room for is lost. */
static void keep_unexecuted(struct link *link)
{
	for (unsigned i = link->executed; i < link->count && link->late_count < LATE_MAX; i++)
		link->late[link->late_count++] = link->queue[i];
}

static void tell_disconnected(struct client *client, unsigned master)
{
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	effects.count = 0;
	quorum_disconnected(&client->quorum, master, client_now_us(client), &effects);
	run_effects(client, NULL, &effects);
	for (struct attempt *a = client->closed; a; a = a->next)
		attempt_disconnected(a, master, client_now_us(client));
	for (unsigned i = 0; i < WORLD_PARTIES; i++) {
		effects.count = 0;
		if (!client->parties[i].open)
			continue;
		lock_disconnected(&client->parties[i].lock, master, client_now_us(client), &effects);
		run_effects(client, &client->parties[i], &effects);
	}
	announce(client, before);
	settle(client);
}

void world_break(struct client *client, unsigned number, bool keep_late)
{
	static const struct answer broken = {.code = CODE_BROKEN, .pttl_ms = -1};
	int master = index_of_master(client, number);
	struct link *link = world_link(client, number);

	if (!link || !link->connected)
		return;
	unsubscribe(client, (unsigned)master);
	keep_late &= !link->cut; /* else it is kept already */
	if (client->paused) {
		if (keep_late)
			keep_unexecuted(link);
		link->cut = true; /* it hears of that when it goes on */
		return;
	}
	put_event(client->world, client->name, "breaks with", number);
	link->connected = link->cut = false;
	link->connect_at_us = NEVER_US;
	if (keep_late)
		keep_unexecuted(link);
	while (link->count > 0) {
		struct request request = link->queue[0].request;

		memmove(&link->queue[0], &link->queue[1], --link->count * sizeof(link->queue[0]));
		if (request.attempt)
			tell_answer(client, &request, &broken);
		else
			tell_view(client, &request, NULL);
	}
	link->executed = 0;
	tell_disconnected(client, (unsigned)master);
}

static void introduce(struct introduction *in, const struct model_master *master, bool kill_permitted)
{
	memset(in, 0, sizeof(*in));
	in->info_known = true;
	in->is_master = !master->read_only;
	in->loading = master->loading;
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
		attempt_tick(a, client_now_us(client), &effects);
		run_effects(client, NULL, &effects);
	}
}

/* CLIENT KILL ID: of this process's own earlier connection. */
static void kill_earlier(const struct client *client, struct link *link)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < link->late_count; i++)
		if (link->late[i].life != client->life)
			link->late[kept++] = link->late[i];
	link->late_count = kept;
}

void world_connect(struct client *client, unsigned number)
{
	int master = index_of_master(client, number);
	struct link *link = world_link(client, number);
	struct model_master *model = &client->world->masters[number - 1];
	uint32_t before = quorum_voters(&client->quorum);
	struct introduction introduction;
	struct effects effects;

	if (!link || link->connected)
		return;
	put_event(client->world, client->name, "connects to", number);
	link->connected = true;
	link->connect_at_us = NEVER_US;
	if (!link->no_kill)
		kill_earlier(client, link);
	model->script_loaded = true;
	introduce(&introduction, model, !link->no_kill);
	effects.count = 0;
	quorum_connected(&client->quorum, (unsigned)master, &introduction, client_now_us(client), &effects);
	run_effects(client, NULL, &effects);
	tick_closed(client);
	announce(client, before);
	settle(client);
}

void world_refuse(struct client *client, unsigned number)
{
	int master = index_of_master(client, number);
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	if (master < 0)
		return;
	effects.count = 0;
	quorum_disconnected(&client->quorum, (unsigned)master, client_now_us(client), &effects);
	run_effects(client, NULL, &effects);
	announce(client, before);
	settle(client);
}

void world_connect_all(struct client *client)
{
	for (unsigned i = 1; i <= client->world->count; i++)
		world_connect(client, i);
}

void world_deliver_late(struct client *client, unsigned number)
{
	struct link *link = world_link(client, number);
	struct model_reply ignored;

	if (!link)
		return;
	for (unsigned i = 0; i < link->late_count; i++)
		execute(client->world, number - 1, &link->late[i].call, &ignored);
	link->late_count = 0;
}

struct link *world_link(struct client *client, unsigned number)
{
	int master = index_of_master(client, number);

	return master < 0 ? NULL : &client->links[master];
}

void world_hold(struct client *client, unsigned number)
{
	struct link *link = world_link(client, number);

	if (link)
		link->held_there = link->held_back = true;
}

void world_let(struct client *client, unsigned number)
{
	struct link *link = world_link(client, number);

	if (link)
		link->held_there = link->held_back = false;
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

enum event_kind { EVENT_NONE, EVENT_THERE, EVENT_BACK, EVENT_CUT, EVENT_CONNECT, EVENT_QUORUM, EVENT_CLOSED, EVENT_LOCK,
	EVENT_LISTEN, EVENT_TOLD };

struct event {
	enum event_kind kind;
	int64_t at_us;
	struct client *client;
	unsigned index; /* master or party */
	unsigned alike; /* how many were due at that moment, so far */
};

/* Of those that are due at the same moment one by chance, if there is any in this world. */
static void consider(struct event *best, enum event_kind kind, int64_t at_us, struct client *client, unsigned index)
{
	struct world *world = client->world;

	if (at_us < world->now_us)
		at_us = world->now_us;
	if (at_us > best->at_us || (at_us == best->at_us && !world->draw))
		return;
	best->alike = at_us == best->at_us ? best->alike + 1 : 1;
	if (best->alike == 1 || world->draw(world->context, best->alike) == 0)
		*best = (struct event){kind, at_us, client, index, best->alike};
}

/* A timer of the core, in the client's own time. */
static void consider_timer(struct event *best, enum event_kind kind, int64_t at_us, struct client *client,
                           unsigned index)
{
	if (at_us != NEVER_US)
		consider(best, kind, client_world_us(client, at_us), client, index);
}

static void consider_link(struct event *best, struct client *client, unsigned master)
{
	struct link *link = &client->links[master];

	if (link->connect_at_us != NEVER_US && !client->paused)
		consider(best, EVENT_CONNECT, link->connect_at_us, client, master);
	if (link->listen_at_us != NEVER_US && !client->paused)
		consider(best, EVENT_LISTEN, link->listen_at_us, client, master);
	if (link->told_count > 0 && !link->held_back && !client->paused)
		consider(best, EVENT_TOLD, link->told[0].at_us, client, master);
	if (!link->connected)
		return;
	/* What had been answered before the end of the connection is read before it. */
	if (link->cut && link->executed == 0 && !client->paused)
		consider(best, EVENT_CUT, client->world->now_us, client, master);
	if (link->executed < link->count && !link->held_there && !link->cut && !client->world->stopped[master_of(client, master)])
		consider(best, EVENT_THERE, link->queue[link->executed].there_at_us, client, master);
	if (link->executed > 0 && !link->held_back && !client->paused)
		consider(best, EVENT_BACK, link->queue[0].back_at_us, client, master);
}

static void consider_client(struct event *best, struct client *client)
{
	int64_t now_us = client_now_us(client);

	for (unsigned i = 0; i < client->count; i++)
		consider_link(best, client, i);
	if (client->paused)
		return;
	consider_timer(best, EVENT_QUORUM, quorum_next_us(&client->quorum, now_us), client, 0);
	for (const struct attempt *a = client->closed; a; a = a->next)
		consider_timer(best, EVENT_CLOSED, attempt_next_us(a), client, 0);
	for (unsigned i = 0; i < WORLD_PARTIES; i++)
		if (client->parties[i].open)
			consider_timer(best, EVENT_LOCK, lock_next_us(&client->parties[i].lock, now_us), client, i);
}

static void quorum_timer(struct client *client)
{
	uint32_t before = quorum_voters(&client->quorum);
	struct effects effects;

	effects.count = 0;
	quorum_tick(&client->quorum, client_now_us(client), &effects);
	run_effects(client, NULL, &effects);
	announce(client, before);
	settle(client);
}

static void lock_timer(struct client *client, struct party *party)
{
	struct effects effects;

	effects.count = 0;
	lock_tick(&party->lock, client_now_us(client), &effects);
	run_effects(client, party, &effects);
	settle(client);
}

static bool is_reachable(const struct client *client, unsigned master)
{
	const struct link *link = &client->links[master];

	return !client->world->down[master_of(client, master)] && !link->held_there && !link->held_back;
}

/* EFFECT_RECONNECT first ends the connection, then makes it anew. */
static void connect_timer(struct client *client, unsigned master)
{
	struct link *link = &client->links[master];
	int64_t now_us = client->world->now_us;

	if (link->connected) {
		world_break(client, master_of(client, master) + 1, false);
		link->connect_at_us = now_us + client->world->reconnect_us;
	} else if (is_reachable(client, master)) {
		world_connect(client, master_of(client, master) + 1);
	} else {
		link->connect_at_us = now_us + CONNECT_AGAIN_US;
		world_refuse(client, master_of(client, master) + 1);
	}
}

/* The end of a connection that was noticed late. */
static void cut_noticed(struct client *client, unsigned master)
{
	client->links[master].cut = false;
	world_break(client, master_of(client, master) + 1, false);
	client->links[master].connect_at_us = client->world->now_us + client->world->reconnect_us;
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
	world->steps++;
	note(world, (uint64_t)best.kind << 56 ^ (uint64_t)best.client->index << 48 ^ (uint64_t)best.index << 40 ^
	                (uint64_t)best.at_us);
	switch (best.kind) {
	case EVENT_THERE: arrive_there(best.client, best.index); break;
	case EVENT_BACK: arrive_back(best.client, best.index); break;
	case EVENT_CUT: cut_noticed(best.client, best.index); break;
	case EVENT_CONNECT: connect_timer(best.client, best.index); break;
	case EVENT_QUORUM: quorum_timer(best.client); break;
	case EVENT_CLOSED:
		tick_closed(best.client);
		settle(best.client);
		break;
	case EVENT_LISTEN: listen(best.client, best.index); break;
	case EVENT_TOLD: arrive_told(best.client, best.index); break;
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

/* Its process. */
static void begin_client(struct client *client)
{
	const struct client_settings *settings = &client->settings;
	struct quorum_settings quorum_settings = {.count = client->count};

	client->alive = true;
	client->paused = false;
	client->failed_count = 0;
	snprintf(client->name, sizeof(client->name), "%c", 'a' + client->index);
	for (unsigned i = 0; i < client->world->count; i++) {
		client->links[i].connect_at_us = client->links[i].listen_at_us = NEVER_US;
		client->links[i].cut = client->links[i].subscribed = client->links[i].deaf = false;
		client->links[i].told_count = 0;
	}
	quorum_settings.ttl_us = settings->ttl_us + settings->lock_delay_us;
	quorum_settings.max_ttl_us = settings->max_ttl_us;
	quorum_settings.node_timeout_us = settings->node_timeout_us;
	quorum_settings.quarantine = !settings->no_quarantine;
	snprintf(quorum_settings.fingerprint, sizeof(quorum_settings.fingerprint), "%s",
	         settings->fingerprint ? settings->fingerprint : DEFAULT_FINGERPRINT);
	for (unsigned i = 0; i < client->count; i++)
		snprintf(quorum_settings.tags[i], sizeof(quorum_settings.tags[i]), "%016x", master_of(client, i) + 1);
	if (!settings->no_grants)
		snprintf(quorum_settings.channel, sizeof(quorum_settings.channel), "dlock!grants-%s%c%u",
		         settings->no_quarantine ? "off-" : "", 'a' + client->index, client->life);
	quorum_init(&client->quorum, &quorum_settings);
}

struct client *world_client(struct world *world, const struct client_settings *settings)
{
	struct client *client = &world->clients[world->client_count];

	if (world->client_count == WORLD_CLIENTS)
		out_of_bounds("too many clients");
	client->world = world;
	client->index = world->client_count++;
	client->settings = settings ? *settings : default_settings;
	client->first = client->settings.first;
	client->count = client->settings.count ? client->settings.count : world->count;
	client->rate_ppm = 0;
	client->life = 0;
	for (unsigned i = 0; i < world->count; i++) {
		struct link *link = &client->links[i];

		link->there_us = link->back_us = 100;
		link->jitter_us = 0;
	}
	begin_client(client);
	return client;
}

void client_restart(struct client *client)
{
	if (client->alive)
		out_of_bounds("a client that lives can't be started again");
	client->life++;
	begin_client(client);
	put_event(client->world, client->name, "starts anew", 0);
}

void world_init_masters(struct world *world, const struct client *client)
{
	struct model_reply reply;

	for (unsigned i = 0; i < world->count; i++) {
		struct model_call call = {.operation = 'N'};

		memcpy(call.incarnation, world->masters[i].incarnation, sizeof(call.incarnation));
		call.durable = world->masters[i].always ? '1' : '0';
		snprintf(call.tag, sizeof(call.tag), "%016x", i + 1);
		quorum_cluster_text(&client->quorum, call.cluster, sizeof(call.cluster));
		model_execute(&world->masters[i], &call, master_now_us(world, i), &reply);
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
	settings.random[2] = (uint8_t)client->life;
	settings.random[3] = (uint8_t)client->opened++;
	settings.jitter = (client->index + 1) * 1000 + index + 100 * client->life;
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
	lock_call(&party->lock, mode, timeout_us, client_now_us(party->client), &effects);
	end_step(party, &effects);
}

void party_unlock(struct party *party)
{
	struct effects effects;

	effects.count = 0;
	begin_call(party, "unlocks");
	lock_unlock(&party->lock, client_now_us(party->client), &effects);
	end_step(party, &effects);
}

void party_verify(struct party *party)
{
	struct effects effects;

	effects.count = 0;
	begin_call(party, "verifies");
	lock_verify(&party->lock, client_now_us(party->client), &effects);
	end_step(party, &effects);
}

void party_set_data(struct party *party, const char *text)
{
	size_t size = text ? strlen(text) : 0;
	void *bytes = size ? malloc(size) : NULL;
	int64_t now_us = client_now_us(party->client);
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
	lock_cancel(&party->lock, error, client_now_us(party->client), &effects);
	end_step(party, &effects);
}

void party_close(struct party *party)
{
	struct effects effects;

	effects.count = 0;
	put_event(party->client->world, party->label, "closes", 0);
	lock_abandon(&party->lock, client_now_us(party->client), &effects);
	party->calling = false;
	end_step(party, &effects);
	party->open = false;
	lock_clear(&party->lock);
}

bool party_holds(const struct party *party, enum mode mode)
{
	return party->open && party->lock.state == LOCK_HELD && party->lock.held == mode &&
	       client_now_us(party->client) < party->lock.deadline_us;
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
	client->paused = false;
	forget_client(client);
	client->alive = false;
	for (unsigned i = 0; i < client->world->count; i++) {
		struct link *link = &client->links[i];

		if (link->connected && !link->cut)
			keep_unexecuted(link);
		link->connected = link->subscribed = false;
		link->count = link->executed = link->told_count = 0;
		link->listen_at_us = NEVER_US;
	}
}

unsigned world_carriers(struct world *world, const char *key)
{
	unsigned count = 0;

	for (unsigned i = 0; i < world->count; i++)
		count += model_holds(&world->masters[i], key, NULL, master_now_us(world, i));
	return count;
}

static unsigned count_loaded(struct world *world, const struct party *party, uint64_t version, bool loaded)
{
	const char *token = party_token(party), *key = party->lock.key;
	unsigned count = 0;

	for (unsigned i = 0; i < world->count; i++) {
		const char *owner = model_owner(&world->masters[i], key, master_now_us(world, i));
		const struct model_cargo *cargo = model_cargo(&world->masters[i], key, master_now_us(world, i));
		bool counts = model_may_vote(&world->masters[i], master_now_us(world, i));
		bool has = cargo && strcmp(cargo->token, token) == 0 && cargo->version >= version;

		count += counts && owner && strcmp(owner, token) == 0 && has == loaded;
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
		count += model_cargo(&world->masters[i], key, master_now_us(world, i)) != NULL;
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

			link->connected = link->cut = link->held_there = link->held_back = link->no_kill = false;
			link->subscribed = link->deaf = false;
			link->count = link->executed = link->late_count = link->told_count = 0;
			link->listen_at_us = NEVER_US;
		}
	}
	world->client_count = 0;
	world->count = count;
	world->now_us = world->zero_us = START_US;
	world->reconnect_us = 1 * MS;
	world->echoes = 0;
	world->steps_at_once = 0;
	world->steps = 0;
	world->fingerprint = UINT64_C(14695981039346656037);
	world->draw = NULL;
	world->check = NULL;
	world->granted = NULL;
	world->executed = NULL;
	world->handed = NULL;
	for (unsigned i = 0; i < count; i++) {
		world->stopped[i] = world->down[i] = false;
		world->executed_us[i] = 0;
		world->rates_ppm[i] = 0;
		model_start(&world->masters[i], i + 1);
		world->masters[i].publish = publish;
		world->masters[i].publish_context = world;
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
