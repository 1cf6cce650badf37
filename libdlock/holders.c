/* holders.c - see holders.h. */
#include "holders.h"

#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "token.h"

#define SLOTS_MIN 4

struct holder {
	uint64_t hash;
	size_t key_length, owner_length;
	char *owner;          /* behind the key */
	uint32_t named_by;    /* a bit a master */
	uint32_t shared_at;   /* those of them where it is a reader */
	int64_t ttl_ms;       /* the longest */
	int64_t version;      /* of the data, also of none: the highest that was told; -1: no word of any */
	void *data;
	size_t data_size;
	bool is_token;        /* the owner */
	/* A fence for each master, how many wait as each says, then key NUL owner NUL. */
	uint64_t fences[];
};

/* What one master says of one holder; points into its answer. */
struct word {
	const char *key, *owner, *data;
	size_t key_length, owner_length, data_size;
	uint64_t fence;
	int64_t ttl_ms, version;
	unsigned master;
	uint32_t waiting;
	bool shared;
};

void holders_init(struct holders *holders, const char *prefix, unsigned masters, unsigned quorum)
{
	*holders = (struct holders){
	    .prefix = prefix,
	    .prefix_length = strlen(prefix),
	    .masters = masters,
	    .quorum = quorum,
	};
}

void holders_clear(struct holders *holders)
{
	for (size_t i = 0; i < holders->size; i++)
		if (holders->slots[i]) {
			free(holders->slots[i]->data);
			free(holders->slots[i]);
		}
	free(holders->slots);
	*holders = (struct holders){0};
}

/* ---- the table ---- */

static uint64_t *waiting_of(const struct holders *holders, struct holder *holder)
{
	return holder->fences + holders->masters;
}

static const char *key_of(const struct holder *holder)
{
	return holder->owner - holder->key_length - 1;
}

/* FNV-1a, with a last stir because the table looks at the low bits only. */
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
	return hash ^ hash >> 32;
}

static uint64_t hash_word(const struct word *word)
{
	return hash_bytes(hash_bytes(0xcbf29ce484222325u, word->key, word->key_length), word->owner, word->owner_length);
}

static bool is_of(const struct holder *holder, const struct word *word, uint64_t hash)
{
	return holder->hash == hash && holder->key_length == word->key_length &&
	       holder->owner_length == word->owner_length && memcmp(key_of(holder), word->key, word->key_length) == 0 &&
	       memcmp(holder->owner, word->owner, word->owner_length) == 0;
}

static struct holder *find(const struct holders *holders, const struct word *word, uint64_t hash)
{
	for (size_t i = hash & (holders->size - 1); holders->size; i = (i + 1) & (holders->size - 1)) {
		struct holder *holder = holders->slots[i];

		if (!holder || is_of(holder, word, hash))
			return holder;
	}
	return NULL;
}

static void put(struct holder **slots, size_t size, struct holder *holder)
{
	size_t i = holder->hash & (size - 1);

	while (slots[i])
		i = (i + 1) & (size - 1);
	slots[i] = holder;
}

/* A quarter of the slots stays empty, so that a search ends soon. */
static bool make_room(struct holders *holders)
{
	size_t size = holders->size ? 2 * holders->size : SLOTS_MIN;
	struct holder **slots;

	if (4 * (holders->count + 1) <= 3 * holders->size)
		return true;
	slots = calloc(size, sizeof(struct holder *));
	if (!slots)
		return false;
	for (size_t i = 0; i < holders->size; i++)
		if (holders->slots[i])
			put(slots, size, holders->slots[i]);
	free(holders->slots);
	holders->slots = slots;
	holders->size = size;
	return true;
}

static struct holder *add(struct holders *holders, const struct word *word, uint64_t hash)
{
	size_t numbers_size = 2 * holders->masters * sizeof(uint64_t);
	struct holder *holder;
	char *text;

	if (!make_room(holders))
		return NULL;
	holder = calloc(1, sizeof(*holder) + numbers_size + word->key_length + word->owner_length + 2);
	if (!holder)
		return NULL;
	holder->hash = hash;
	holder->key_length = word->key_length;
	holder->owner_length = word->owner_length;
	holder->version = -1;
	text = mempcpy((char *)holder->fences + numbers_size, word->key, word->key_length);
	holder->owner = text + 1;
	memcpy(holder->owner, word->owner, word->owner_length);
	holder->is_token = token_parse(word->owner, word->owner_length, NULL);
	put(holders->slots, holders->size, holder);
	holders->count++;
	holders->lacking++;
	return holder;
}

/* ---- an answer ---- */

/* The holder may have changed its data a moment ago: the latest that any master has. */
static bool take_data(struct holder *holder, const struct word *word)
{
	void *data = NULL;

	if (word->version <= holder->version)
		return true;
	if (word->data_size > 0) {
		data = malloc(word->data_size);
		if (!data)
			return false;
		memcpy(data, word->data, word->data_size);
	}
	free(holder->data);
	holder->data = data;
	holder->data_size = word->data_size;
	holder->version = word->version;
	return true;
}

static void merge(struct holders *holders, const struct word *word)
{
	uint64_t hash = hash_word(word);
	struct holder *holder = find(holders, word, hash);
	uint32_t bit = UINT32_C(1) << word->master;

	if (!holder)
		holder = add(holders, word, hash);
	if (!holder || !take_data(holder, word)) {
		holders->out_of_memory = true;
		return;
	}
	if (!(holder->named_by & bit)) {
		holder->named_by |= bit;
		holders->lacking -= (unsigned)__builtin_popcount(holder->named_by) == holders->quorum;
	}
	holder->shared_at = word->shared ? holder->shared_at | bit : holder->shared_at & ~bit;
	holder->fences[word->master] = word->fence;
	waiting_of(holders, holder)[word->master] = word->waiting;
	if (word->ttl_ms > holder->ttl_ms)
		holder->ttl_ms = word->ttl_ms;
}

/* A key with a NUL is nobody's lock, and what does not begin with the prefix was not asked for. */
static bool is_ours(const struct holders *holders, const struct word *word, const char *key)
{
	if (key)
		return strlen(key) == word->key_length && memcmp(key, word->key, word->key_length) == 0;
	return word->key_length > holders->prefix_length &&
	       memcmp(word->key, holders->prefix, holders->prefix_length) == 0 &&
	       !memchr(word->key, '\0', word->key_length);
}

void holders_add(struct holders *holders, unsigned master, const struct value *found, const char *key,
                 uint32_t waiting)
{
	size_t type_length = 0, count = value_count(found);
	const char *type = value_string(value_at(found, 2), &type_length);
	struct word word = {
	    .fence = (uint64_t)value_integer(value_at(found, 1), 0),
	    .master = master,
	    .waiting = waiting,
	    .shared = type && type_length == 4 && memcmp(type, "zset", 4) == 0,
	    .version = -1,
	};

	word.key = value_string(value_at(found, 0), &word.key_length);
	if (!word.key || !is_ours(holders, &word, key))
		return;
	if (key)
		holders->waiting[master] = waiting;
	if (!word.shared) {
		word.data = value_string(value_at(found, 6), &word.data_size);
		word.version = word.data ? value_integer(value_at(found, 5), -1) : -1;
		count = count > 5 ? 5 : count;
	}
	for (size_t i = 3; i + 1 < count; i += 2) {
		word.owner = value_string(value_at(found, i), &word.owner_length);
		word.ttl_ms = value_integer(value_at(found, i + 1), -1);
		if (word.owner)
			merge(holders, &word);
	}
}

/* Hexadecimal digits and a dash, from `at` on: what is behind them, or `length` if they are not there. */
static size_t skip_hex(const char *text, size_t at, size_t length)
{
	size_t from = at;

	while (at < length && text[at] && strchr("0123456789abcdefABCDEF", text[at]))
		at++;
	return at > from && at < length && text[at] == '-' ? at + 1 : length;
}

bool holders_is_waiter(const char *text, size_t length)
{
	if (length < 2 || text[1] != ':' || (text[0] != 'X' && text[0] != 'S'))
		return false;
	return skip_hex(text, skip_hex(text, 2, length), length) < length;
}

void holders_add_waiters(struct holders *waiters, unsigned master, const struct value *list, const char *key)
{
	struct word word = {.key = key, .key_length = strlen(key), .master = master, .version = -1};

	for (size_t i = 0; i < value_count(list); i++) {
		size_t length = 0;
		const char *text = value_string(value_at(list, i), &length);

		if (!text || !holders_is_waiter(text, length))
			continue;
		word.shared = text[0] == 'S';
		word.owner = text + 2;
		word.owner_length = length - 2;
		merge(waiters, &word);
	}
}

void holders_leave_out(struct holders *waiters, const struct holders *holders)
{
	for (size_t i = 0; i < waiters->size; i++) {
		struct holder *waiter = waiters->slots[i], *holder;
		struct word word;

		if (!waiter)
			continue;
		word = (struct word){.key = key_of(waiter), .key_length = waiter->key_length, .owner = waiter->owner,
		                     .owner_length = waiter->owner_length};
		holder = find(holders, &word, waiter->hash);
		if (holder && (unsigned)__builtin_popcount(holder->named_by) >= holders->quorum)
			waiter->named_by = 0;
	}
}

bool holders_agree(const struct holders *holders)
{
	return holders->lacking == 0;
}

uint32_t holders_named(const struct holders *holders, unsigned least)
{
	uint32_t named = 0;

	for (size_t i = 0; i < holders->size; i++)
		if (holders->slots[i])
			named += (unsigned)__builtin_popcount(holders->slots[i]->named_by) >= least;
	return named;
}

/* The largest number that a quorum of the masters reaches. */
static uint32_t quorum_reaches(const struct holders *holders, const uint32_t *waiting)
{
	uint32_t reached = 0;

	for (unsigned i = 0; i < holders->masters; i++) {
		unsigned reach = 0;

		for (unsigned j = 0; j < holders->masters; j++)
			reach += waiting[j] >= waiting[i];
		if (reach >= holders->quorum && waiting[i] > reached)
			reached = waiting[i];
	}
	return reached;
}

uint32_t holders_waiting(const struct holders *holders)
{
	return quorum_reaches(holders, holders->waiting);
}

/* ---- telling ---- */

/* The fence that most of the masters carry: attempts of others may have raised it on some. */
static uint64_t common_fence(const struct holders *holders, const struct holder *holder)
{
	uint64_t common = 0;
	unsigned most = 0;

	for (unsigned i = 0; i < holders->masters; i++) {
		unsigned same = 0;

		if (!(holder->named_by >> i & 1))
			continue;
		for (unsigned j = 0; j < holders->masters; j++)
			same += (holder->named_by >> j & 1) && holder->fences[j] == holder->fences[i];
		if (same > most) {
			most = same;
			common = holder->fences[i];
		}
	}
	return common;
}

static int tell(const struct holders *holders, const struct holder *holder, unsigned unheard, uint32_t waiting,
                dlock_holder_fn *each, void *arg)
{
	unsigned named = (unsigned)__builtin_popcount(holder->named_by);
	/* In the middle of a conversion: what most say. */
	bool shared = 2 * (unsigned)__builtin_popcount(holder->shared_at) > named;
	struct dlock_holder told = {
	    .name = key_of(holder) + holders->prefix_length,
	    .owner = holder->owner,
	    .host = "",
	    .program = "",
	    .ttl_ms = holder->ttl_ms,
	    .mode = shared ? LOCK_SH : LOCK_EX,
	    .masters = named,
	    .quorum = holders->quorum,
	    .waiters = waiting,
	    .data = shared ? NULL : holder->data,
	    .data_size = shared ? 0 : holder->data_size,
	    .unheard = unheard,
	};
	struct token_parts parts;

	if (token_parse(holder->owner, strlen(holder->owner), &parts)) {
		told.host = parts.host;
		told.program = parts.program;
		told.pid = parts.pid;
		told.since_us = (int64_t)parts.ticket;
		told.token = 2 * common_fence(holders, holder) + shared;
	}
	return each(&told, arg);
}

static int compare(const void *a, const void *b)
{
	const struct holder *x = *(struct holder *const *)a, *y = *(struct holder *const *)b;
	int order = strcmp(key_of(x), key_of(y));

	if (order)
		return order;
	if (x->is_token != y->is_token)
		return x->is_token ? -1 : 1;
	return strcmp(x->owner, y->owner); /* a token begins with when it was asked for */
}

static void sort(struct holders *holders)
{
	size_t count = 0;

	for (size_t i = 0; i < holders->size; i++)
		if (holders->slots[i])
			holders->slots[count++] = holders->slots[i];
	holders->size = count;
	if (count > 1)
		qsort(holders->slots, count, sizeof(holders->slots[0]), compare);
}

static bool is_same_key(const struct holder *a, const struct holder *b)
{
	return a->key_length == b->key_length && memcmp(key_of(a), key_of(b), a->key_length) == 0;
}

/* How many wait for the key whose holders begin at `first`: masters may have said so with different holders. */
static uint32_t waiting_from(const struct holders *holders, size_t first)
{
	uint32_t waiting[SERVERS_MAX];

	memcpy(waiting, holders->waiting, sizeof(waiting));
	for (size_t i = first; i < holders->count && is_same_key(holders->slots[first], holders->slots[i]); i++)
		for (unsigned j = 0; j < holders->masters; j++)
			if (holders->slots[i]->named_by >> j & 1)
				waiting[j] = (uint32_t)waiting_of(holders, holders->slots[i])[j];
	return quorum_reaches(holders, waiting);
}

int holders_tell(struct holders *holders, unsigned unheard, dlock_holder_fn *each, void *arg)
{
	uint32_t waiting = 0;
	int told = 0;

	sort(holders);
	for (size_t i = 0; i < holders->count; i++) {
		if (i == 0 || !is_same_key(holders->slots[i - 1], holders->slots[i]))
			waiting = waiting_from(holders, i);
		told++;
		if (each && tell(holders, holders->slots[i], unheard, waiting, each, arg) != 0)
			break;
	}
	return told;
}
