/* model_master.c - see model_master.h. */
#include "model_master.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_US INT64_C(86400000000)
#define VIEW_NONE (-2) /* PTTL of a key that is not there */

/* A table is full: the test asks for more than the model was made for. */
static void too_many(const char *what)
{
	fprintf(stderr, "model master: too many %s\n", what);
	abort();
}

bool model_call_is_plain(const struct model_call *call)
{
	return call->operation == 'A' && call->mode == 'X' && call->floor == 0 && !call->place[0] && call->version == 0 &&
	       call->offer_ms == PLAIN_OFFER_MS && call->ticket == strtoull(call->token, NULL, 16);
}

static void incarnate(struct model_master *master, const char *history)
{
	master->starts++;
	snprintf(master->incarnation, sizeof(master->incarnation), "run%u.%u:%s", master->number, master->starts,
	         history);
}

void model_start(struct model_master *master, unsigned number)
{
	char history[32];

	memset(master, 0, sizeof(*master));
	master->number = number;
	master->script_loaded = true;
	master->always_known = true;
	snprintf(history, sizeof(history), "hist%u", number);
	incarnate(master, history);
}

/* The script's cache is gone; a client loads it while it connects. */
void model_restart(struct model_master *master, bool keep)
{
	char history[32];

	if (!keep)
		model_flush(master);
	snprintf(history, sizeof(history), "hist%u", master->number);
	incarnate(master, history);
	master->was_replica = false;
}

void model_promote(struct model_master *master)
{
	char history[32];

	snprintf(history, sizeof(history), "promoted%u.%u", master->number, master->starts);
	incarnate(master, history);
	master->was_replica = true;
}

void model_flush(struct model_master *master)
{
	memset(&master->data, 0, sizeof(master->data));
}

/* ---- the server's keys ---- */

static struct model_key *find_key(const struct model_data *data, const char *name)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (strcmp(data->keys[i].name, name) == 0)
			return (struct model_key *)&data->keys[i];
	return NULL;
}

/* The place of a key, new if need be. */
static struct model_key *make_key(struct model_data *data, const char *name)
{
	struct model_key *key = find_key(data, name);

	for (unsigned i = 0; !key && i < MODEL_KEYS; i++)
		if (data->keys[i].name[0] == '\0') {
			key = &data->keys[i];
			memset(key, 0, sizeof(*key));
			snprintf(key->name, sizeof(key->name), "%s", name);
			key->expiry_ms = MODEL_FOREVER;
		}
	if (!key)
		too_many("keys");
	return key;
}

static void drop_key(struct model_data *data, const char *name)
{
	struct model_key *key = find_key(data, name);

	if (key)
		memset(key, 0, sizeof(*key));
}

static struct model_fence *fence_of(const struct model_data *data, const char *name)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (data->fences[i].known && strcmp(data->fences[i].name, name) == 0)
			return (struct model_fence *)&data->fences[i];
	return NULL;
}

static void set_fence(struct model_data *data, const char *name, uint64_t value)
{
	struct model_fence *fence = fence_of(data, name);

	for (unsigned i = 0; !fence && i < MODEL_KEYS; i++)
		if (!data->fences[i].known)
			fence = &data->fences[i];
	if (!fence)
		too_many("fences");
	snprintf(fence->name, sizeof(fence->name), "%s", name);
	fence->known = true;
	fence->value = value;
}

static int64_t zset_expiry_ms(const struct model_key *key)
{
	int64_t last_ms = 0;

	for (unsigned i = 0; i < key->reader_count; i++)
		if (key->readers[i].expiry_ms > last_ms)
			last_ms = key->readers[i].expiry_ms;
	return last_ms;
}

static struct model_reader *find_reader(const struct model_key *key, const char *token)
{
	for (unsigned i = 0; i < key->reader_count; i++)
		if (strcmp(key->readers[i].token, token) == 0)
			return (struct model_reader *)&key->readers[i];
	return NULL;
}

static void add_reader(struct model_key *key, const char *token, int64_t expiry_ms)
{
	struct model_reader *reader = find_reader(key, token);

	if (!reader) {
		if (key->reader_count == MODEL_READERS)
			too_many("readers");
		reader = &key->readers[key->reader_count++];
		snprintf(reader->token, sizeof(reader->token), "%.*s", TOKEN_MAX - 1, token);
	}
	reader->expiry_ms = expiry_ms;
}

static void drop_reader(struct model_key *key, const char *token)
{
	struct model_reader *reader = find_reader(key, token);

	if (reader)
		*reader = key->readers[--key->reader_count];
}

/* A sorted set's first member, as the server orders them. */
static const struct model_reader *first_reader(const struct model_key *key)
{
	const struct model_reader *first = key->readers;

	for (unsigned i = 1; i < key->reader_count; i++) {
		const struct model_reader *reader = &key->readers[i];

		if (reader->expiry_ms < first->expiry_ms ||
		    (reader->expiry_ms == first->expiry_ms && strcmp(reader->token, first->token) < 0))
			first = reader;
	}
	return first;
}

/* The script's ^%x+%-%x+%- */
static bool begins_like_a_token(const char *text)
{
	size_t first = strspn(text, "0123456789abcdefABCDEF");
	size_t second = text[first] == '-' ? strspn(text + first + 1, "0123456789abcdefABCDEF") : 0;

	return first > 0 && second > 0 && text[first + 1 + second] == '-';
}

/* Whether the key is there and a sorted set that settle() writes to. */
static bool is_readers(const struct model_key *key, int64_t ms)
{
	return key && key->kind == KIND_ZSET && ms <= key->expiry_ms &&
	       (!key->foreign || key->reader_count == 0 || begins_like_a_token(first_reader(key)->token));
}

/* The script's settle(): the type of what is there now. */
static enum model_kind settle(struct model_data *data, const char *name, int64_t ms)
{
	struct model_key *key = find_key(data, name);

	if (!key)
		return KIND_NONE;
	if (ms > key->expiry_ms) {
		drop_key(data, name);
		return KIND_NONE;
	}
	if (!is_readers(key, ms))
		return key->kind == KIND_STRING ? KIND_STRING : KIND_OTHER;
	for (unsigned i = key->reader_count; i-- > 0;)
		if (key->readers[i].expiry_ms <= ms)
			key->readers[i] = key->readers[--key->reader_count];
	key->expiry_ms = zset_expiry_ms(key);
	if (key->reader_count > 0)
		return KIND_ZSET;
	drop_key(data, name);
	return KIND_NONE;
}

/* ---- what travels with a lock ---- */

static struct model_cargo *find_cargo(const struct model_data *data, const char *name)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (strcmp(data->cargo[i].name, name) == 0)
			return (struct model_cargo *)&data->cargo[i];
	return NULL;
}

static struct model_cargo *make_cargo(struct model_data *data, const char *name)
{
	struct model_cargo *cargo = find_cargo(data, name);

	if (!cargo)
		cargo = find_cargo(data, "");
	if (!cargo)
		too_many("hashes");
	snprintf(cargo->name, sizeof(cargo->name), "%s", name);
	return cargo;
}

static void drop_cargo(struct model_data *data, const char *name)
{
	struct model_cargo *cargo = find_cargo(data, name);

	if (cargo)
		memset(cargo, 0, sizeof(*cargo));
}

static void expire_cargo(struct model_data *data, const char *name, int64_t ms)
{
	struct model_cargo *cargo = find_cargo(data, name);

	if (cargo && ms > cargo->expiry_ms)
		memset(cargo, 0, sizeof(*cargo));
}

/* ---- the queues ---- */

#define QUEUE_MS 300000

struct model_queue *model_find_queue(struct model_data *data, const char *name, bool make)
{
	struct model_queue *empty = NULL;

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		if (strcmp(data->queues[i].name, name) == 0)
			return &data->queues[i];
		if (data->queues[i].name[0] == '\0')
			empty = &data->queues[i];
	}
	if (!make)
		return NULL;
	if (!empty)
		too_many("queues");
	snprintf(empty->name, sizeof(empty->name), "%s", name);
	empty->count = 0;
	empty->expiry_ms = MODEL_FOREVER;
	return empty;
}

static void drop_waiter(struct model_queue *queue, unsigned at)
{
	queue->count--;
	memmove(queue->waiters + at, queue->waiters + at + 1, (queue->count - at) * sizeof(queue->waiters[0]));
	if (queue->count == 0)
		queue->name[0] = '\0';
}

/* The place, from 0 on; `count`: not there. */
static unsigned rank_of(const struct model_queue *queue, const char *member)
{
	unsigned at = 0;

	while (at < queue->count && strcmp(queue->waiters[at].member, member) != 0)
		at++;
	return at;
}

bool model_put_waiter(struct model_queue *queue, const char *member, int64_t ticket, bool only_new)
{
	unsigned at = rank_of(queue, member);
	bool is_new = at == queue->count;

	if (!is_new && only_new)
		return false;
	if (is_new && queue->count == MODEL_WAITERS)
		too_many("waiters");
	if (!is_new && queue->count-- > 0)
		memmove(queue->waiters + at, queue->waiters + at + 1, (queue->count - at) * sizeof(queue->waiters[0]));
	for (at = 0; at < queue->count; at++) {
		const struct model_waiter *waiter = &queue->waiters[at];

		if (waiter->ticket > ticket || (waiter->ticket == ticket && strcmp(waiter->member, member) > 0))
			break;
	}
	memmove(queue->waiters + at + 1, queue->waiters + at, (queue->count - at) * sizeof(queue->waiters[0]));
	snprintf(queue->waiters[at].member, sizeof(queue->waiters[at].member), "%s", member);
	queue->waiters[at].ticket = ticket;
	queue->count++;
	return is_new;
}

static void expire_queue(struct model_data *data, const char *name, int64_t ms)
{
	struct model_queue *queue = model_find_queue(data, name, false);

	if (queue && ms > queue->expiry_ms)
		queue->name[0] = '\0';
}

/* A member in its parts. */
struct place {
	char mode;
	int64_t ttl_ms;
	char channel[PLACE_MAX], token[PLACE_MAX];
};

/* The script's ^([XS]):(%d+):([^:]+):(%x+%-%x+%-.+)$ */
static bool parse_place(const char *member, struct place *ret)
{
	size_t digits = member[0] && member[1] == ':' ? strspn(member + 2, "0123456789") : 0, length;
	const char *channel = member + 2 + digits + 1;

	if (!strchr("XS", member[0]) || digits == 0 || channel[-1] != ':')
		return false;
	length = strcspn(channel, ":");
	if (length == 0 || channel[length] != ':' || !begins_like_a_token(channel + length + 1) ||
	    strchr(strchr(channel + length, '-') + 1, '-')[1] == '\0')
		return false;
	ret->mode = member[0];
	ret->ttl_ms = strtoll(member + 2, NULL, 10);
	snprintf(ret->channel, sizeof(ret->channel), "%.*s", (int)length, channel);
	snprintf(ret->token, sizeof(ret->token), "%s", channel + length + 1);
	return true;
}

struct model_key *model_key(struct model_data *data, const char *name)
{
	return find_key(data, name);
}

struct model_key *model_new_key(struct model_data *data, const char *name)
{
	drop_key(data, name);
	return make_key(data, name);
}

void model_delete(struct model_master *master, const char *key)
{
	drop_key(&master->data, key);
}

void model_delete_cargo(struct model_master *master, const char *key)
{
	drop_cargo(&master->data, key);
}

void model_set_foreign(struct model_master *master, const char *key, const char *value, int64_t ttl_ms,
                       int64_t world_us)
{
	struct model_key *k;

	drop_key(&master->data, key);
	k = make_key(&master->data, key);
	k->kind = KIND_STRING;
	snprintf(k->token, sizeof(k->token), "%s", value);
	k->expiry_ms = (world_us + master->clock_us) / 1000 + ttl_ms;
}

/* ---- the script ---- */

/* What the branches of one call share, as the script's locals. */
struct run {
	struct model_master *master;
	struct model_data *data;
	const struct model_call *call;
	struct model_reply *reply;
	int64_t us, ms;
	enum model_kind kind;
	struct model_key *key; /* NULL: none */
	struct model_fence *fence;
	bool mine;
	uint64_t granted; /* the fence of whom this call hands the lock to; 0: nobody was tried yet */
	bool dirty; /* a script that has called a command that writes is not stopped for want of memory */
};

/* A command that writes, and may need memory, as by pcall(): whether the server carries it out. */
static bool may_write(struct run *r, bool needs_memory)
{
	if (r->master->read_only || (needs_memory && r->master->out_of_memory && !r->dirty))
		return false;
	r->dirty = true;
	return true;
}

/* The same as by call(), where a refusal ends the script: it has changed nothing before. */
static bool refused(struct run *r, bool needs_memory)
{
	if (may_write(r, needs_memory))
		return false;
	r->reply->error = r->master->read_only ? MODEL_READONLY : MODEL_OOM;
	return true;
}

/* As PTTL tells it. */
static int64_t left_ms(const struct run *r, int64_t expiry_ms)
{
	return expiry_ms == MODEL_FOREVER ? -1 : expiry_ms - r->ms;
}

static void view(struct run *r)
{
	struct model_data *data = r->data;

	r->reply->code = 1;
	snprintf(r->reply->epoch, sizeof(r->reply->epoch), "%s", data->epoch);
	snprintf(r->reply->cluster, sizeof(r->reply->cluster), "%s", data->cluster);
	if (data->quarantine_until_ms < r->ms)
		data->quarantine_until_ms = 0;
	r->reply->quarantine_ms = data->quarantine_until_ms ? left_ms(r, data->quarantine_until_ms) : VIEW_NONE;
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		r->reply->fences += data->fences[i].known;
}

static bool always_marked(const char *epoch)
{
	size_t length = strlen(epoch);

	return length >= 7 && strcmp(epoch + length - 7, ":always") == 0;
}

/* Not copied from another master. */
static bool is_own_mark(const char *epoch, const char *tag)
{
	size_t length = strlen(epoch), tag_length = strlen(tag);

	return length > tag_length + 8 && epoch[length - tag_length - 8] == ':' &&
	       strncmp(epoch + length - tag_length - 7, tag, tag_length) == 0;
}

static void write_epoch(struct run *r, bool mark)
{
	char epoch[EPOCH_MAX + 32];

	snprintf(epoch, sizeof(epoch), "%s:%lld%s%s%s", r->call->incarnation, (long long)r->us, mark ? ":" : "",
	         mark ? r->call->tag : "", mark ? ":always" : "");
	snprintf(r->data->epoch, sizeof(r->data->epoch), "%.*s", EPOCH_MAX - 1, epoch);
}

static void introduce(struct run *r)
{
	const struct model_call *call = r->call;
	struct model_data *data = r->data;
	bool stored = data->epoch[0] != '\0';
	bool same = stored && strncmp(data->epoch, call->incarnation, strlen(call->incarnation)) == 0;
	bool marked = stored && always_marked(data->epoch);
	bool mark = call->durable == '1' || (call->durable == '?' && same && marked);

	if (refused(r, true)) /* it always sets something */
		return;
	if (call->operation == 'N') {
		write_epoch(r, mark);
		data->quarantine_until_ms = 0;
		snprintf(data->cluster, sizeof(data->cluster), "%s", call->cluster);
	} else {
		if (!same && !(marked && call->believe == '1' && is_own_mark(data->epoch, call->tag))) {
			data->quarantine_until_ms = r->ms + call->quarantine_ms;
			memset(data->fences, 0, sizeof(data->fences));
		}
		if (!same || marked != mark)
			write_epoch(r, mark);
		if (data->cluster[0] == '\0')
			snprintf(data->cluster, sizeof(data->cluster), "%s", call->cluster);
	}
	view(r);
}

static void raise(struct run *r, uint64_t to)
{
	if (!r->fence || to > r->fence->value) {
		set_fence(r->data, r->call->key, to);
		r->fence = fence_of(r->data, r->call->key);
	}
}

/* By its token. The script looks at 64, which is more than there are here. */
static const char *oldest_reader(const struct model_key *key)
{
	const char *oldest = key->readers[0].token;

	for (unsigned i = 1; i < key->reader_count; i++)
		if (strcmp(key->readers[i].token, oldest) < 0)
			oldest = key->readers[i].token;
	return oldest;
}

/* `ahead`: the token of who goes before; NULL: as far as that is who is there. */
static void busy(struct run *r, unsigned rank, const char *ahead)
{
	struct model_reply *reply = r->reply;

	reply->code = CODE_BUSY;
	reply->fence = r->fence ? r->fence->value : 0;
	reply->pttl_ms = VIEW_NONE;
	if (r->key)
		reply->pttl_ms = left_ms(r, r->key->expiry_ms);
	snprintf(reply->holder, sizeof(reply->holder), "%s",
	         r->kind == KIND_STRING ? r->key->token
	         : r->kind == KIND_ZSET ? "zset"
	         : r->kind == KIND_NONE ? "none"
	                                : "other");
	if (!ahead)
		ahead = r->kind == KIND_ZSET ? oldest_reader(r->key) : reply->holder;
	snprintf(reply->ahead, sizeof(reply->ahead), "%s", ahead);
	reply->rank = rank;
}

static void answer(struct run *r, int code, uint64_t fence)
{
	r->reply->code = code;
	r->reply->fence = fence;
}

static void collect_fences(struct run *r)
{
	bool writes = false;
	int64_t highest = 0;

	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (r->data->fences[i].known && (int64_t)r->data->fences[i].value > highest)
			highest = (int64_t)r->data->fences[i].value;
	for (unsigned i = 0; r->call->number > 0 && r->call->number % 64 == 0 && i < MODEL_KEYS; i++) {
		struct model_fence *fence = &r->data->fences[i];

		if (!fence->known || (int64_t)fence->value > highest - DAY_US)
			continue;
		if (!writes && refused(r, false))
			return;
		writes = true;
		fence->known = false;
	}
}

static uint64_t version_here(const struct run *r)
{
	const struct model_cargo *cargo = find_cargo(r->data, r->call->key);

	return cargo && strcmp(cargo->token, r->call->token) == 0 ? cargo->version : 0;
}

/* False: that ended the script. */
static bool unload(struct run *r)
{
	if (version_here(r) == 0)
		return true;
	if (refused(r, false))
		return false;
	drop_cargo(r->data, r->call->key);
	return true;
}

/* The script's carry(). After A, which has written, no refusal can end the script; E asks by pcall(). */
static void carry(struct run *r, int64_t expiry_ms)
{
	const struct model_call *call = r->call;
	struct model_cargo *cargo;

	if (call->version == 0)
		return;
	if (call->has_bytes && call->version > version_here(r) && may_write(r, true)) {
		cargo = make_cargo(r->data, call->key);
		snprintf(cargo->token, sizeof(cargo->token), "%s", call->token);
		cargo->version = call->version;
		memcpy(cargo->bytes, call->bytes, sizeof(cargo->bytes));
		cargo->size = call->size;
	}
	r->reply->version = version_here(r);
	if (r->reply->version > 0)
		find_cargo(r->data, call->key)->expiry_ms = expiry_ms;
}

/* What an absent fence counts for. */
static uint64_t now_less_skew(const struct run *r)
{
	return (uint64_t)(r->us - SKEW_US);
}

static bool is_epoch(const struct run *r)
{
	return r->data->epoch[0] && strcmp(r->data->epoch, r->call->epoch) == 0;
}

/* The one that was asked, and not in quarantine. */
static bool knows_what_it_forgot(const struct run *r)
{
	return is_epoch(r) && r->data->quarantine_until_ms < r->ms;
}

/* ---- the queue in the script ---- */

static struct model_queue *queue_of(const struct run *r)
{
	return model_find_queue(r->data, r->call->key, false);
}

/* By call(). False: that ended the script. */
static bool remove_waiter(struct run *r, const char *member)
{
	struct model_queue *queue = queue_of(r);
	unsigned at = queue ? rank_of(queue, member) : 0;

	if (refused(r, false))
		return false;
	if (queue && at < queue->count)
		drop_waiter(queue, at);
	return true;
}

/* The queue's next. NULL: there is none, or the script has ended, as `reply->error` tells. */
static const struct model_waiter *head(struct run *r, struct place *ret)
{
	struct model_queue *queue;

	while ((queue = queue_of(r))) {
		if (parse_place(queue->waiters[0].member, ret))
			return &queue->waiters[0];
		if (!remove_waiter(r, queue->waiters[0].member))
			break;
	}
	return NULL;
}

static bool tell(struct run *r, const char *channel, const struct model_grant *grant)
{
	struct model_master *master = r->master;

	return !master->no_publish && master->publish &&
	       master->publish(master->publish_context, master, channel, grant);
}

/* What a waiter is handed, as it stands at the key. */
static void put_waiter(struct run *r, const struct place *place, int64_t expiry_ms)
{
	bool exclusive = place->mode == 'X';
	const struct model_reader *reader;

	if (exclusive)
		drop_key(r->data, r->call->key);
	r->key = make_key(r->data, r->call->key);
	if (exclusive) {
		r->kind = r->key->kind = KIND_STRING;
		snprintf(r->key->token, sizeof(r->key->token), "%.*s", TOKEN_MAX - 1, place->token);
		r->key->expiry_ms = expiry_ms;
		return;
	}
	r->key->kind = KIND_ZSET;
	reader = find_reader(r->key, place->token);
	if (!reader || reader->expiry_ms < expiry_ms)
		add_reader(r->key, place->token, expiry_ms);
	r->kind = settle(r->data, r->call->key, r->ms);
	r->key = find_key(r->data, r->call->key);
}

/* To one that has been taken out of the queue. False: it does not listen. */
static bool hand_to(struct run *r, const struct place *place, uint64_t next)
{
	uint64_t floor = r->fence ? r->fence->value : now_less_skew(r);
	int64_t ttl_ms = place->ttl_ms < r->call->offer_ms ? place->ttl_ms : r->call->offer_ms;
	struct model_grant grant = {.us = r->us, .expiry_ms = r->ms + ttl_ms};

	if (r->granted == 0)
		r->granted = next > floor ? next : place->mode == 'X' ? floor + 1 : floor;
	grant.fence = r->granted;
	snprintf(grant.epoch, sizeof(grant.epoch), "%s", r->call->epoch);
	snprintf(grant.token, sizeof(grant.token), "%.*s", TOKEN_MAX - 1, place->token);
	raise(r, grant.fence);
	if (!tell(r, place->channel, &grant))
		return false;
	put_waiter(r, place, grant.expiry_ms);
	return true;
}

/* The script's hand_over(); `before` INT64_MAX: to whoever waits. False: that ended the script. */
static bool hand_over(struct run *r, uint64_t next, int64_t before)
{
	if (r->call->offer_ms <= 0 || !is_epoch(r))
		return true;
	if (next > (uint64_t)(r->us + SKEW_US))
		next = 0;
	while (r->kind == KIND_NONE || r->kind == KIND_ZSET) {
		struct place place;
		const struct model_waiter *waiter = head(r, &place);

		if (!waiter)
			return r->reply->error == MODEL_OK;
		if (waiter->ticket >= before || (r->kind == KIND_ZSET && place.mode == 'X'))
			return true;
		if (r->data->quarantine_until_ms >= r->ms && strncmp(place.channel, "dlock!grants-off-", 17) != 0)
			return true;
		if (!remove_waiter(r, waiter->member))
			return false;
		hand_to(r, &place, next);
	}
	return true;
}

/* By pcall(): where it can't be, the place is none. */
static unsigned enqueue(struct run *r)
{
	const char *place = r->call->place;
	struct model_queue *queue;
	unsigned rank;

	if (!place[0] || !may_write(r, true))
		return 0;
	queue = model_find_queue(r->data, r->call->key, true);
	model_put_waiter(queue, place, (int64_t)r->call->ticket, true);
	rank = rank_of(queue, place) + 1;
	if (rank == 1 || r->us % 8 == 0)
		queue->expiry_ms = r->ms + QUEUE_MS;
	return rank;
}

/* The script's ahead_of(). False: there is none, or the script has ended, as `reply->error` tells. */
static bool ahead_of(struct run *r, struct place *ret)
{
	const struct model_waiter *waiter;

	while ((waiter = head(r, ret))) {
		if (strcmp(waiter->member, r->call->place) == 0 || waiter->ticket >= (int64_t)r->call->ticket)
			return false;
		if (tell(r, ret->channel, NULL))
			return true;
		if (!remove_waiter(r, waiter->member))
			return false;
	}
	return false;
}

/* False: that ended the script. */
static bool leave(struct run *r)
{
	return !r->call->place[0] || remove_waiter(r, r->call->place);
}

/* Takes away what is mine. False: that ended the script. */
static bool give_up(struct run *r)
{
	if (!r->mine)
		return true;
	if (refused(r, false))
		return false;
	if (r->kind == KIND_STRING)
		drop_key(r->data, r->call->key);
	else
		drop_reader(r->key, r->call->token);
	r->kind = settle(r->data, r->call->key, r->ms);
	r->key = find_key(r->data, r->call->key);
	return true;
}

static void release(struct run *r)
{
	uint64_t tomb = r->call->number;

	if (!give_up(r) || (r->call->unload && !unload(r)) || !leave(r))
		return;
	if (!r->fence && (tomb <= now_less_skew(r) || !knows_what_it_forgot(r)))
		tomb = 0;
	/* The script ignores that there is no memory for the tombstone. */
	if (tomb > 0 && (!r->fence || tomb > r->fence->value)) {
		if (refused(r, true) && r->master->read_only)
			return;
		if (r->reply->error == MODEL_OK)
			raise(r, tomb);
		r->reply->error = MODEL_OK;
	}
	collect_fences(r);
	if (r->reply->error != MODEL_OK || !hand_over(r, r->call->next, INT64_MAX))
		return;
	r->reply->code = 1;
	r->reply->count = r->mine;
}

static void mark_broken(struct run *r, const char *token)
{
	struct model_mark *place = NULL;

	for (unsigned i = 0; i < MODEL_BROKEN; i++) {
		struct model_mark *mark = &r->data->marks[i];

		if (strcmp(mark->token, token) == 0) {
			place = mark;
			break;
		}
		if (!place && (mark->token[0] == '\0' || mark->expiry_ms < r->ms))
			place = mark;
	}
	if (!place)
		too_many("broken tokens");
	snprintf(place->token, sizeof(place->token), "%s", token);
	place->expiry_ms = r->ms + r->call->ttl_ms;
}

static bool is_broken(const struct run *r)
{
	for (unsigned i = 0; i < MODEL_BROKEN; i++)
		if (strcmp(r->data->marks[i].token, r->call->token) == 0 && r->data->marks[i].expiry_ms >= r->ms)
			return true;
	return false;
}

static void break_lock(struct run *r)
{
	uint64_t fence = r->fence ? r->fence->value : 0;

	if (r->kind == KIND_OTHER) {
		r->reply->code = -5;
		return;
	}
	r->reply->code = 1;
	if (r->kind == KIND_NONE || refused(r, true))
		return;
	if (r->kind == KIND_STRING) {
		mark_broken(r, r->key->token);
		r->reply->count = 1;
	}
	for (unsigned i = 0; r->kind == KIND_ZSET && i < r->key->reader_count; i++, r->reply->count++)
		mark_broken(r, r->key->readers[i].token);
	raise(r, (fence > (uint64_t)r->us ? fence : (uint64_t)r->us) + 1);
	drop_key(r->data, r->call->key);
	drop_cargo(r->data, r->call->key);
}

static void set_exclusive(struct run *r, int64_t expiry_ms)
{
	drop_key(r->data, r->call->key);
	r->key = make_key(r->data, r->call->key);
	r->key->kind = KIND_STRING;
	snprintf(r->key->token, sizeof(r->key->token), "%s", r->call->token);
	r->key->expiry_ms = expiry_ms;
}

static void set_shared(struct run *r, int64_t expiry_ms)
{
	if (r->kind == KIND_STRING)
		drop_key(r->data, r->call->key);
	r->key = make_key(r->data, r->call->key);
	r->key->kind = KIND_ZSET;
	add_reader(r->key, r->call->token, expiry_ms);
	r->key->expiry_ms = zset_expiry_ms(r->key);
	r->kind = KIND_ZSET;
}

/* Joins the queue, where that can be. */
static void occupied(struct run *r, const char *ahead)
{
	busy(r, enqueue(r), ahead);
}

static void acquire_exclusive(struct run *r)
{
	uint64_t proposal = r->call->number;
	bool alone = r->kind == KIND_ZSET && r->mine && r->key->reader_count == 1;
	uint64_t floor = r->fence ? r->fence->value : (uint64_t)(r->us - SKEW_US);
	bool again = r->kind == KIND_STRING && r->mine && proposal == floor;

	if (!(r->kind == KIND_NONE || alone || (r->kind == KIND_STRING && r->mine))) {
		occupied(r, NULL);
	} else if (proposal <= floor && !again) {
		answer(r, r->mine ? CODE_OUTBID : CODE_REJECTED, floor);
	} else if (!refused(r, true)) {
		raise(r, proposal);
		set_exclusive(r, r->ms + r->call->ttl_ms);
		leave(r);
		carry(r, r->ms + r->call->ttl_ms);
		answer(r, CODE_YES, proposal);
		r->reply->kept = r->mine;
	}
}

/* `ahead`: who waits and goes before; NULL: nobody. */
static void acquire_shared(struct run *r, const char *ahead)
{
	uint64_t least = (uint64_t)(r->us - SKEW_US), floor = r->fence ? r->fence->value : r->call->number;

	if (ahead || (r->kind != KIND_NONE && r->kind != KIND_ZSET)) {
		occupied(r, ahead);
		return;
	}
	if (!r->fence && r->call->number <= least) {
		answer(r, CODE_REJECTED, least);
		return;
	}
	floor = r->call->floor > floor ? r->call->floor : floor;
	if (refused(r, true))
		return;
	raise(r, floor);
	set_shared(r, r->ms + r->call->ttl_ms);
	leave(r);
	answer(r, CODE_YES, floor);
	r->reply->kept = r->mine;
}

/* Who waits longer gets it first. `ret`, `*ret_ahead`: one that keeps this one off all the same. False: that ended
 * the script. */
static bool let_pass(struct run *r, struct place *ret, bool *ret_ahead)
{
	const struct model_waiter *waiting;
	bool shared = r->call->mode == 'S';

	*ret_ahead = false;
	if (r->mine || !(r->kind == KIND_NONE || (shared && r->kind == KIND_ZSET)))
		return true;
	waiting = head(r, ret);
	if (!waiting)
		return r->reply->error == MODEL_OK;
	if (strcmp(waiting->member, r->call->place) == 0 || waiting->ticket >= (int64_t)r->call->ticket)
		return true;
	if (!hand_over(r, r->call->number, (int64_t)r->call->ticket))
		return false;
	if (r->kind == KIND_ZSET && shared)
		*ret_ahead = ahead_of(r, ret);
	return r->reply->error == MODEL_OK;
}

static void acquire(struct run *r)
{
	struct place place;
	bool ahead;

	if ((int64_t)r->call->number > r->us + SKEW_US) {
		answer(r, CODE_SKEWED, r->fence ? r->fence->value : 0);
		return;
	}
	if (!let_pass(r, &place, &ahead))
		return;
	if (r->call->mode == 'X')
		acquire_exclusive(r);
	else
		acquire_shared(r, ahead ? place.token : NULL);
}

static void poll(struct run *r)
{
	uint64_t fence = r->fence ? r->fence->value : 0;
	bool readers = r->call->mode == 'S' && r->kind == KIND_ZSET, ahead = false;
	struct place place;
	unsigned rank;

	if (r->mine && (r->kind == KIND_STRING) == (r->call->mode == 'X')) {
		answer(r, CODE_MINE, fence);
		r->reply->expiry_ms = r->kind == KIND_STRING ? r->ms + left_ms(r, r->key->expiry_ms)
		                                             : find_reader(r->key, r->call->token)->expiry_ms;
		return;
	}
	rank = enqueue(r);
	if (readers)
		ahead = ahead_of(r, &place);
	if (r->reply->error != MODEL_OK)
		return;
	if (r->kind == KIND_NONE || (readers && !(ahead && place.mode == 'X')))
		answer(r, CODE_FREE, fence);
	else
		busy(r, rank, ahead ? place.token : NULL);
}

static void yield(struct run *r)
{
	unsigned rank;

	if (r->mine && (!give_up(r) || !unload(r)))
		return;
	rank = enqueue(r);
	if (!hand_over(r, r->call->next, (int64_t)r->call->ticket))
		return;
	answer(r, CODE_YES, r->fence ? r->fence->value : 0);
	r->reply->rank = rank;
}

/* False: the script has ended. What is only extended is no reason for a full memory to refuse. */
static bool extend_exclusive(struct run *r, bool repair, int64_t expiry_ms)
{
	if ((repair || r->master->read_only) && refused(r, true))
		return false;
	carry(r, expiry_ms);
	set_exclusive(r, expiry_ms);
	return true;
}

static bool extend_shared(struct run *r, int64_t expiry_ms)
{
	bool converted = r->kind == KIND_STRING;

	if (converted && refused(r, false)) /* it is deleted */
		return false;
	if (r->call->unload && !unload(r))
		return false;
	if (refused(r, true))
		return false;
	set_shared(r, expiry_ms);
	return !converted || hand_over(r, 0, INT64_MAX);
}

/* Its place is not told. False: that ended the script. */
static bool leave_by_ticket(struct run *r)
{
	struct model_queue *queue = queue_of(r);
	int64_t ticket = (int64_t)strtoull(r->call->token, NULL, 16);
	size_t length = strlen(r->call->token);
	char member[PLACE_MAX];

	for (unsigned i = queue ? queue->count : 0; i-- > 0;) {
		size_t whole = strlen(queue->waiters[i].member);

		if (queue->waiters[i].ticket != ticket || whole <= length ||
		    queue->waiters[i].member[whole - length - 1] != ':' ||
		    strcmp(queue->waiters[i].member + whole - length, r->call->token) != 0)
			continue;
		snprintf(member, sizeof(member), "%s", queue->waiters[i].member);
		if (!remove_waiter(r, member))
			return false;
	}
	return true;
}

static void extend(struct run *r)
{
	const struct model_call *call = r->call;
	int64_t expiry_ms = r->ms + call->ttl_ms;
	bool exclusive = call->mode == 'X';
	bool vacant = r->kind == KIND_NONE || (!exclusive && r->kind == KIND_ZSET && !r->mine);
	bool alone = exclusive && r->kind == KIND_ZSET && r->mine && r->key->reader_count == 1;
	bool repair = (vacant || alone) &&
	              (call->repair == '1' ||
	               (call->repair == 'g' && (r->fence ? r->fence->value : now_less_skew(r)) <= call->number)) &&
	              !is_broken(r);

	if (!repair && (!r->mine || (exclusive && r->kind != KIND_STRING))) {
		busy(r, 0, NULL);
		return;
	}
	if (repair && exclusive && call->version > 0 && !call->has_bytes && version_here(r) < call->version) {
		answer(r, CODE_BARE, r->fence ? r->fence->value : 0);
		return;
	}
	if (repair && call->number > (r->fence ? r->fence->value : now_less_skew(r))) {
		if (refused(r, true))
			return;
		raise(r, call->number);
	}
	if (!(exclusive ? extend_exclusive(r, repair, expiry_ms) : extend_shared(r, expiry_ms)))
		return;
	if (!repair || leave_by_ticket(r))
		answer(r, repair ? CODE_REPAIRED : CODE_YES, r->fence ? r->fence->value : 0);
}

static void on_lock(struct run *r)
{
	char operation = r->call->operation;

	r->key = find_key(r->data, r->call->key);
	if (is_readers(r->key, r->ms) && refused(r, false)) /* settle() always calls a command that writes */
		return;
	r->kind = settle(r->data, r->call->key, r->ms);
	expire_cargo(r->data, r->call->key, r->ms);
	expire_queue(r->data, r->call->key, r->ms);
	r->key = find_key(r->data, r->call->key);
	r->fence = fence_of(r->data, r->call->key);
	r->mine = (r->kind == KIND_STRING && strcmp(r->key->token, r->call->token) == 0) ||
	          (r->kind == KIND_ZSET && find_reader(r->key, r->call->token));
	if (operation == 'R')
		release(r);
	else if (operation == 'B')
		break_lock(r);
	else if (r->data->epoch[0] == '\0' || strcmp(r->data->epoch, r->call->epoch) != 0)
		r->reply->code = CODE_EPOCH;
	else if (operation == 'P')
		poll(r);
	else if (operation == 'A')
		acquire(r);
	else if (operation == 'Y')
		yield(r);
	else if (operation == 'E')
		extend(r);
	else
		abort();
}

bool model_settle(struct model_master *master, const char *key, int64_t world_us, enum model_kind *ret)
{
	int64_t ms = (world_us + master->clock_us) / 1000;

	if (master->read_only && is_readers(find_key(&master->data, key), ms))
		return false;
	*ret = settle(&master->data, key, ms);
	return true;
}

void model_execute(struct model_master *master, const struct model_call *call, int64_t world_us,
                   struct model_reply *reply)
{
	struct run r = {.master = master, .data = &master->data, .call = call, .reply = reply};

	memset(reply, 0, sizeof(*reply));
	reply->pttl_ms = -1;
	reply->us = r.us = world_us + master->clock_us;
	r.ms = r.us / 1000;
	if (master->loading)
		reply->error = MODEL_LOADING;
	else if (master->busy)
		reply->error = MODEL_BUSY;
	else if (!master->script_loaded)
		reply->error = MODEL_NOSCRIPT;
	else if (call->operation == 'V')
		view(&r);
	else if (call->operation == 'I' || call->operation == 'N')
		introduce(&r);
	else
		on_lock(&r);
}

bool model_holds(const struct model_master *master, const char *key, const char *token, int64_t world_us)
{
	int64_t ms = (world_us + master->clock_us) / 1000;
	const struct model_key *k = find_key(&master->data, key);
	const struct model_reader *reader;

	if (!k || ms > k->expiry_ms)
		return false;
	if (!is_readers(k, ms))
		return !token || (k->kind == KIND_STRING && strcmp(k->token, token) == 0);
	reader = token ? find_reader(k, token) : NULL;
	return token ? reader && reader->expiry_ms > ms : zset_expiry_ms(k) > ms;
}

bool model_carries(const struct model_master *master, const char *key, const char *token, int64_t world_us)
{
	const struct model_key *k = find_key(&master->data, key);
	int64_t ms = (world_us + master->clock_us) / 1000;
	const struct model_reader *reader = k && k->kind == KIND_ZSET ? find_reader(k, token) : NULL;

	if (!k || ms > k->expiry_ms)
		return false;
	return k->kind == KIND_STRING ? strcmp(k->token, token) == 0 : reader && reader->expiry_ms > ms;
}

bool model_may_vote(const struct model_master *master, int64_t world_us)
{
	size_t length = strlen(master->incarnation);
	int64_t ms = (world_us + master->clock_us) / 1000;

	return strncmp(master->data.epoch, master->incarnation, length) == 0 && master->data.epoch[length] == ':' &&
	       master->data.quarantine_until_ms < ms;
}

const char *model_owner(const struct model_master *master, const char *key, int64_t world_us)
{
	const struct model_key *k = find_key(&master->data, key);

	return k && k->kind == KIND_STRING && (world_us + master->clock_us) / 1000 <= k->expiry_ms ? k->token : NULL;
}

const struct model_cargo *model_cargo(const struct model_master *master, const char *key, int64_t world_us)
{
	const struct model_cargo *cargo = find_cargo(&master->data, key);

	return cargo && (world_us + master->clock_us) / 1000 <= cargo->expiry_ms ? cargo : NULL;
}

unsigned model_queue(const struct model_master *master, const char *key, int64_t world_us, const char *members[],
                     unsigned max)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		const struct model_queue *queue = &master->data.queues[i];

		if (strcmp(queue->name, key) != 0 || (world_us + master->clock_us) / 1000 > queue->expiry_ms)
			continue;
		while (count < queue->count && count < max) {
			members[count] = queue->waiters[count].member;
			count++;
		}
	}
	return count;
}

uint64_t model_fence(const struct model_master *master, const char *key)
{
	struct model_fence *fence = fence_of(&master->data, key);

	return fence ? fence->value : 0;
}
