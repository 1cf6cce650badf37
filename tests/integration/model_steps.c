/* model_steps.c - see model_steps.h. */
#include "tests/integration/model_steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "wire.h"

#define START_US INT64_C(1700000000000000)
#define DAY_US INT64_C(86400000000)
#define SECOND_US INT64_C(1000000)
#define TOKENS 6
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const keys[] = {"dlock:a", "dlock:b", "plain", "dlock:\xc3\xa9/x"};
static const char *const patterns[] = {"*", "dlock:*", "dlock:a"};
static const char *const foreign_values[] = {"foreign", "a-b-c"}; /* the second passes for a reader's token */
static const char *const foreign_members[] = {"zzz", "!first"};
static const char *const channels[] = {
    "dlock!grants-00112233445566778899aabbccddeeff", "dlock!grants-ffeeddccbbaa99887766554433221100",
    "dlock!grants-off-0123456789abcdef0123456789abcdef", "dlock!grants-off-fedcba98765432100123456789abcdef",
};
const char *const steps_listen[] = {
    "SUBSCRIBE", "dlock!grants-00112233445566778899aabbccddeeff", "dlock!grants-off-0123456789abcdef0123456789abcdef",
    "somebody-else's", NULL,
};
/* Members of a queue that are no waiters; and waiters that are not ours. */
static const char *const strange_members[] = {
    "nobody", "Z:20:dlock!grants-00112233445566778899aabbccddeeff:zzz", "X::somebody-else's:zzz", "S:20::zzz",
    "X:20:somebody-else's:", "S:20:somebody-else's", "X:20:somebody-else's:zzz", "S:30:somebody-else's:a-b-",
    "X:20:somebody-else's:a-b-c", "S:30:somebody-else's:a-b-c",
};
/* Some are the beginning of others. */
static const char *const incarnations[] = {"run1:hist1", "run1:hist11", "run1:hist2", "run2:hist1"};
static const struct {
	const char *id;
	unsigned count;
	int64_t max_ms;
} clusters[] = {{"00000000000000c1", 5, 30000}, {"00000000000000c1", 5, 60000}, {"00000000000000d2", 3, 30000}};

static const char *token(unsigned i)
{
	static char tokens[TOKENS][TOKEN_MAX];

	if (!tokens[i][0]) {
		uint8_t random[TOKEN_RANDOM] = {(uint8_t)(i * 37), (uint8_t)i};
		char identity[32];

		/* Their order as text is not that of their numbers. */
		snprintf(identity, sizeof(identity), "host%u/%u/test", i, i + 1);
		if (token_format(tokens[i], (uint64_t)START_US + i * 7919 % 13, random, identity) < 0)
			abort();
	}
	return tokens[i];
}

size_t steps_names(char names[STEPS_NAMES_MAX][TOKEN_MAX + 16])
{
	size_t n = 0;

	for (size_t i = 0; i < COUNT(keys); i++) {
		snprintf(names[n++], sizeof(names[0]), "%s", keys[i]);
		snprintf(names[n++], sizeof(names[0]), "dlock!data:%s", keys[i]);
		snprintf(names[n++], sizeof(names[0]), "dlock!queue:%s", keys[i]);
	}
	for (unsigned i = 0; i < TOKENS; i++)
		snprintf(names[n++], sizeof(names[0]), "dlock!broken:%s", token(i));
	for (size_t i = 0; i < COUNT(foreign_values); i++)
		snprintf(names[n++], sizeof(names[0]), "dlock!broken:%s", foreign_values[i]);
	for (size_t i = 0; i < COUNT(foreign_members); i++)
		snprintf(names[n++], sizeof(names[0]), "dlock!broken:%s", foreign_members[i]);
	snprintf(names[n++], sizeof(names[0]), "dlock!quarantine");
	snprintf(names[n++], sizeof(names[0]), "dlock!epoch");
	snprintf(names[n++], sizeof(names[0]), "dlock!cluster");
	snprintf(names[n++], sizeof(names[0]), "dlock!fence");
	return n;
}

bool steps_is_heard(const char *channel)
{
	for (int i = 1; steps_listen[i]; i++)
		if (strcmp(steps_listen[i], channel) == 0)
			return true;
	return false;
}

/* ---- what is drawn ---- */

void steps_init(struct steps *steps, uint64_t seed, bool restarts)
{
	memset(steps, 0, sizeof(*steps));
	steps->random = seed;
	steps->clock_us = START_US;
	steps->restarts = restarts;
}

/* splitmix64 */
static uint64_t draw(struct steps *steps, uint64_t below)
{
	uint64_t x = steps->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % below;
}

static bool chance(struct steps *steps, unsigned permille)
{
	return draw(steps, 1000) < permille;
}

static int64_t between(struct steps *steps, int64_t low, int64_t high)
{
	return low + (int64_t)draw(steps, (uint64_t)(high - low + 1));
}

static const char *any_key(struct steps *steps)
{
	/* Mostly few, so that much happens at each. */
	return keys[chance(steps, 850) ? draw(steps, 2) : draw(steps, COUNT(keys))];
}

/* Some moment at which something on the master ends; 0: nothing does. */
static int64_t any_expiry_ms(struct steps *steps, const struct model_data *data)
{
	int64_t found[9 * MODEL_KEYS + MODEL_BROKEN + 1];
	size_t n = 0;

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		if (data->keys[i].name[0])
			found[n++] = data->keys[i].expiry_ms;
		for (unsigned j = 0; j < 6 && j < data->keys[i].reader_count; j++)
			found[n++] = data->keys[i].readers[j].expiry_ms;
		if (data->cargo[i].name[0])
			found[n++] = data->cargo[i].expiry_ms;
		if (data->queues[i].name[0])
			found[n++] = data->queues[i].expiry_ms;
	}
	for (unsigned i = 0; i < MODEL_BROKEN; i++)
		if (data->marks[i].token[0])
			found[n++] = data->marks[i].expiry_ms;
	found[n++] = data->quarantine_until_ms;
	return found[draw(steps, n)];
}

/* To just before, at or just after the end of something. */
static void move_to_expiry(struct steps *steps, const struct model_master *model)
{
	static const int offsets_us[] = {-1000, -1, 0, 1, 999, 1000, 1001};
	int64_t ms = any_expiry_ms(steps, &model->data);
	int64_t us = ms * 1000 + offsets_us[draw(steps, COUNT(offsets_us))];

	if (ms < MODEL_FOREVER / 1000 && us > steps->clock_us)
		steps->clock_us = us;
}

/*
 * Backwards too: what has expired is gone by then on both, since all keys are looked at
 * after each step, and what is left is compared with the clock as it is at each command.
 * Only while a server is read-only the clock does not go back: it hides what has expired
 * without removing it, so that it would be there again; in the model it is gone.
 */
static void move_clock(struct steps *steps, const struct model_master *model)
{
	uint64_t kind = draw(steps, 1000);

	if (kind < 250)
		return;
	if (kind < 450)
		steps->clock_us += between(steps, 1, 999);
	else if (kind < 650)
		steps->clock_us += between(steps, 1000, 60000);
	else if (kind < 780)
		move_to_expiry(steps, model);
	else if (kind < 840)
		steps->clock_us += between(steps, 1, 3 * SECOND_US);
	else if (kind < 855)
		steps->clock_us += between(steps, 1, 70 * SECOND_US);
	else if (kind < 862)
		steps->clock_us += DAY_US + between(steps, -5 * SECOND_US, 5 * SECOND_US);
	else if (kind < 960)
		steps->clock_us = (steps->clock_us + 63) / 64 * 64;
	else if (!model->read_only)
		steps->clock_us -= kind < 999 ? between(steps, 1, 5 * SECOND_US) : DAY_US;
}

/* A fence, near those that matter. */
static uint64_t any_number(struct steps *steps, const struct model_master *model, const char *key, int64_t skew_us)
{
	static const int64_t beside[] = {-2, -1, 0, 0, 0, 1, 1, 2, 64, 1000};
	int64_t us = steps->clock_us, fence = (int64_t)model_fence(model, key), base = us;

	switch (draw(steps, 10)) {
	case 0: return 0;
	case 1: base = us - skew_us; break;
	case 2: base = us + skew_us; break;
	case 3: return (uint64_t)(us + between(steps, -skew_us - 10, skew_us + 10));
	case 4: case 5: base = us; break;
	default: base = fence ? fence : us; break;
	}
	return (uint64_t)(base + beside[draw(steps, COUNT(beside))]);
}

static int64_t any_ttl_ms(struct steps *steps)
{
	static const int64_t some[] = {1, 2, 3, 20, 100, 1000, 2000, 10000, 30000};

	return chance(steps, 700) ? some[draw(steps, COUNT(some))] : between(steps, 1, 5000);
}

static void draw_introduction(struct steps *steps, struct model_call *call)
{
	size_t cluster = chance(steps, 700) ? 0 : draw(steps, COUNT(clusters));

	snprintf(call->incarnation, sizeof(call->incarnation), "%s", incarnations[draw(steps, COUNT(incarnations))]);
	call->durable = "10?"[draw(steps, 3)];
	call->believe = "10"[draw(steps, 2)];
	snprintf(call->tag, sizeof(call->tag), "%016x", chance(steps, 850) ? 1 : 2);
	snprintf(call->cluster, sizeof(call->cluster), "1 %s %u %" PRId64, clusters[cluster].id, clusters[cluster].count,
	         clusters[cluster].max_ms);
	call->quarantine_ms = chance(steps, 500) ? clusters[cluster].max_ms : any_ttl_ms(steps);
}

/* The one that is there, mostly. */
static void draw_epoch(struct steps *steps, const struct model_master *model, char epoch[EPOCH_MAX])
{
	const char *now = model->data.epoch;

	snprintf(epoch, EPOCH_MAX, "%s", now);
	if (steps->epoch_count == 0 || strcmp(steps->epochs[(steps->epoch_count - 1) % 4], now) != 0)
		snprintf(steps->epochs[steps->epoch_count++ % 4], EPOCH_MAX, "%s", now);
	if (chance(steps, 940))
		return;
	if (chance(steps, 300))
		snprintf(epoch, EPOCH_MAX, "%.*s:always", EPOCH_MAX - 16, now);
	else
		memcpy(epoch, steps->epochs[draw(steps, steps->epoch_count < 4 ? steps->epoch_count : 4)], EPOCH_MAX);
}

/* Beside the version that is there; with bytes that may hold anything. */
static void draw_cargo(struct steps *steps, const struct model_master *model, struct model_call *call)
{
	const struct model_cargo *cargo = model_cargo(model, call->key, steps->clock_us);
	int64_t version = (cargo ? (int64_t)cargo->version : 0) + between(steps, -2, 3);

	call->version = version > 0 ? (uint64_t)version : 1;
	call->has_bytes = chance(steps, 700);
	if (!call->has_bytes)
		return;
	call->size = draw(steps, sizeof(call->bytes) + 1);
	for (size_t i = 0; i < call->size; i++)
		call->bytes[i] = (char)draw(steps, 256);
}

static const struct model_queue *queue_at(const struct model_master *model, const char *key)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++)
		if (strcmp(model->data.queues[i].name, key) == 0)
			return &model->data.queues[i];
	return NULL;
}

static const char *token_of(const char *member)
{
	const char *last = strrchr(member, ':');

	return last ? last + 1 : "";
}

static bool is_ours(const char *text)
{
	for (unsigned i = 0; i < TOKENS; i++)
		if (strcmp(token(i), text) == 0)
			return true;
	return false;
}

/* Who is there or waits, or another of the few; never what no token of ours looks like. */
static const char *draw_token(struct steps *steps, const struct model_master *model, const char *key)
{
	const struct model_queue *queue = queue_at(model, key);
	const char *owner = model_owner(model, key, steps->clock_us);

	if (queue && chance(steps, 300)) {
		const char *waiter = token_of(queue->waiters[draw(steps, queue->count)].member);

		if (is_ours(waiter))
			return waiter;
	}
	if (owner && (is_ours(owner) || strcmp(owner, foreign_values[1]) == 0) && chance(steps, 500))
		return owner;
	return token((unsigned)draw(steps, TOKENS));
}

static char draw_operation(struct steps *steps)
{
	static const char letters[] = "VIINAAAAAAAAAAAAAAAAAAAAAAAAPPPPPPPPYYYYYEEEEEEEEEEEEEEERRRRRRRRRRRRRRRBBQQQL";

	return letters[draw(steps, sizeof(letters) - 1)];
}

/* The caller's own place, if it has one that is for this mode; mode and ttl are those of the call. */
static const struct model_waiter *place_of(const struct model_queue *queue, struct model_call *call, bool any_mode)
{
	for (unsigned i = 0; queue && i < queue->count; i++) {
		const struct model_waiter *waiter = &queue->waiters[i];

		if (strcmp(token_of(waiter->member), call->token) != 0 || (!any_mode && waiter->member[0] != call->mode))
			continue;
		call->mode = waiter->member[0];
		return waiter;
	}
	return NULL;
}

static int64_t any_ticket(struct steps *steps, const struct model_queue *queue)
{
	if (queue && chance(steps, 500))
		return queue->waiters[draw(steps, queue->count)].ticket + between(steps, -1, 1);
	return steps->clock_us + between(steps, -1000, 10);
}

/* A place in the queue, mostly one that is there already, with its ticket; or none. */
static void draw_place(struct steps *steps, const struct model_master *model, struct model_call *call)
{
	static const int64_t some_ms[] = {20, 1000, 30000};
	const struct model_queue *queue = queue_at(model, call->key);
	const struct model_waiter *own;

	call->ticket = (uint64_t)any_ticket(steps, queue);
	if (chance(steps, 300))
		return;
	own = place_of(queue, call, chance(steps, 700));
	if (own && chance(steps, 900)) {
		snprintf(call->place, sizeof(call->place), "%s", own->member);
		call->ttl_ms = strtoll(own->member + 2, NULL, 10);
		if (chance(steps, 900))
			call->ticket = (uint64_t)own->ticket;
	} else if (!queue || queue->count < MODEL_WAITERS - 8) {
		call->ttl_ms = some_ms[draw(steps, COUNT(some_ms))];
		snprintf(call->place, sizeof(call->place), "%c:%" PRId64 ":%s:%s", call->mode, call->ttl_ms,
		         channels[draw(steps, COUNT(channels))], call->token);
		if (chance(steps, 500)) /* as the library does */
			call->ticket = strtoull(call->token, NULL, 16);
	}
}

/* What who waits is handed with it. */
static void draw_offer(struct steps *steps, const struct model_master *model, struct model_call *call)
{
	call->offer_ms = chance(steps, 250) ? 0 : any_ttl_ms(steps);
	if (call->operation == 'R' || call->operation == 'Y')
		call->next = any_number(steps, model, call->key, SKEW_US);
}

/* Where readers are kept off, many shall try. */
static bool reads_beside_a_waiter(const struct model_master *model, const char *name)
{
	const struct model_queue *queue = queue_at(model, name);

	for (unsigned i = 0; queue && i < MODEL_KEYS; i++)
		if (strcmp(model->data.keys[i].name, name) == 0)
			return model->data.keys[i].kind == KIND_ZSET && queue->waiters[0].member[0] == 'X';
	return false;
}

/* What the library asks of a name that it has not seen anybody wait for: in fewer words. */
static void be_plain(struct model_call *call)
{
	call->mode = 'X';
	call->floor = 0;
	call->place[0] = '\0';
	call->version = 0;
	call->has_bytes = false;
	call->ticket = strtoull(call->token, NULL, 16);
	call->offer_ms = PLAIN_OFFER_MS;
}

static void draw_call(struct steps *steps, const struct model_master *model, struct model_call *call)
{
	/* Nothing is taken before the master is known to somebody. */
	call->operation = model->data.epoch[0] || chance(steps, 500) ? draw_operation(steps) : 'I';
	if (call->operation == 'V')
		return;
	if (call->operation == 'L') {
		snprintf(call->cluster, sizeof(call->cluster), "%s", patterns[draw(steps, COUNT(patterns))]);
		return;
	}
	if (call->operation == 'I' || call->operation == 'N') {
		draw_introduction(steps, call);
		return;
	}
	snprintf(call->key, sizeof(call->key), "%s", any_key(steps));
	draw_epoch(steps, model, call->epoch);
	snprintf(call->token, sizeof(call->token), "%s", draw_token(steps, model, call->key));
	call->mode = chance(steps, reads_beside_a_waiter(model, call->key) ? 250 : 550) ? 'X' : 'S';
	call->ttl_ms = any_ttl_ms(steps);
	if (strchr("APYR", call->operation))
		draw_place(steps, model, call);
	if (strchr("AERY", call->operation))
		draw_offer(steps, model, call);
	call->number = any_number(steps, model, call->key, SKEW_US);
	call->floor = chance(steps, 500) ? 0 : any_number(steps, model, call->key, SKEW_US);
	call->repair = "01g"[draw(steps, 3)];
	call->unload = chance(steps, 400) && (call->operation == 'R' || call->mode == 'S');
	if (call->mode == 'X' && chance(steps, 450))
		draw_cargo(steps, model, call);
	if (call->operation == 'R' && chance(steps, 300))
		call->number = (call->number + 63) / 64 * 64;
	if (call->operation == 'A' && chance(steps, 400))
		be_plain(call);
}

/* ---- foreign commands ---- */

static void draw_own_key(struct steps *steps, struct foreign *foreign)
{
	static const char *const names[] = {"dlock!epoch", "dlock!cluster", "dlock!fence", "dlock!quarantine"};
	uint64_t kind = draw(steps, 10);

	foreign->kind = FOREIGN_DEL;
	if (kind < COUNT(names))
		snprintf(foreign->key, sizeof(foreign->key), "%s", names[kind]);
	else if (kind < 6)
		snprintf(foreign->key, sizeof(foreign->key), "dlock!data:%s", any_key(steps));
	else if (kind < 8)
		snprintf(foreign->key, sizeof(foreign->key), "dlock!queue:%s", any_key(steps));
	else
		snprintf(foreign->key, sizeof(foreign->key), "dlock!broken:%s", token((unsigned)draw(steps, TOKENS)));
}

/* Of keys of libdlock itself: deleting any; an expiry for those that have one anyway, and what a person may set. */
static void draw_on_own_key(struct steps *steps, struct foreign *foreign)
{
	static const enum foreign_kind kinds[] = {FOREIGN_DEL, FOREIGN_PEXPIRE, FOREIGN_PERSIST, FOREIGN_SET, FOREIGN_SET_PX};
	bool quarantine;

	draw_own_key(steps, foreign);
	quarantine = strcmp(foreign->key, "dlock!quarantine") == 0;
	snprintf(foreign->value, sizeof(foreign->value), "1");
	if (quarantine || strncmp(foreign->key, "dlock!data:", 11) == 0 || strncmp(foreign->key, "dlock!queue:", 12) == 0 ||
	    strncmp(foreign->key, "dlock!broken:", 13) == 0)
		foreign->kind = kinds[draw(steps, quarantine ? 5 : 3)];
	if (strcmp(foreign->key, "dlock!epoch") == 0 && chance(steps, 500)) {
		foreign->kind = FOREIGN_SET;
		snprintf(foreign->value, sizeof(foreign->value), "%s", incarnations[draw(steps, COUNT(incarnations))]);
	}
	if (strcmp(foreign->key, "dlock!cluster") == 0 && chance(steps, 500)) {
		foreign->kind = FOREIGN_SET;
		snprintf(foreign->value, sizeof(foreign->value), "what nobody understands");
	}
}

/* Who is no waiter of ours in a queue, or another place for one who is. */
static void draw_stranger(struct steps *steps, const struct model_master *model, struct foreign *foreign)
{
	const char *key = any_key(steps);
	const struct model_queue *queue = queue_at(model, key);

	foreign->kind = FOREIGN_ZADD;
	snprintf(foreign->key, sizeof(foreign->key), "dlock!queue:%s", key);
	snprintf(foreign->value, sizeof(foreign->value), "%s",
	         queue && chance(steps, 200) ? queue->waiters[draw(steps, queue->count)].member
	                                     : strange_members[draw(steps, COUNT(strange_members))]);
	foreign->number = any_ticket(steps, queue);
}

static void draw_foreign(struct steps *steps, const struct model_master *model, struct foreign *foreign)
{
	static const enum foreign_kind kinds[] = {
	    FOREIGN_SET,   FOREIGN_SET_PX, FOREIGN_SET_NX, FOREIGN_SET_NX, FOREIGN_DEL,  FOREIGN_DEL,
	    FOREIGN_RPUSH, FOREIGN_HSET,   FOREIGN_SADD,   FOREIGN_ZADD,   FOREIGN_ZADD, FOREIGN_PEXPIRE,
	    FOREIGN_PERSIST,
	};

	foreign->number = any_ttl_ms(steps);
	if (chance(steps, 25)) {
		foreign->kind = FOREIGN_FLUSHALL;
		return;
	}
	if (chance(steps, 250)) {
		draw_on_own_key(steps, foreign);
		return;
	}
	if (chance(steps, 200)) {
		draw_stranger(steps, model, foreign);
		return;
	}
	foreign->kind = kinds[draw(steps, COUNT(kinds))];
	snprintf(foreign->key, sizeof(foreign->key), "%s", any_key(steps));
	snprintf(foreign->value, sizeof(foreign->value), "%s",
	         chance(steps, 300) ? token((unsigned)draw(steps, TOKENS)) : foreign_values[draw(steps, 2)]);
	if (foreign->kind == FOREIGN_PEXPIRE && chance(steps, 100))
		foreign->number = 0; /* deletes it */
	if (foreign->kind != FOREIGN_ZADD)
		return;
	if (chance(steps, 700))
		snprintf(foreign->value, sizeof(foreign->value), "%s", foreign_members[draw(steps, 2)]);
	if (chance(steps, 700)) /* as a reader's */
		foreign->number += steps->clock_us / 1000;
}

/* What has been switched comes back soon. */
static enum step_kind draw_kind(struct steps *steps, const struct model_master *model)
{
	uint64_t kind = draw(steps, 1000);

	if (!model->script_loaded && chance(steps, 500))
		return STEP_SCRIPT_LOAD;
	if (model->out_of_memory && chance(steps, 80))
		return STEP_MEMORY_FREE;
	if (model->read_only && chance(steps, 120))
		return STEP_PROMOTE;
	if (model->no_publish && chance(steps, 100))
		return STEP_PERMIT_PUBLISH;
	if (kind < 90)
		return STEP_FOREIGN;
	if (kind < 95)
		return model->script_loaded ? STEP_SCRIPT_FLUSH : STEP_SCRIPT_LOAD;
	if (kind < 105)
		return model->out_of_memory ? STEP_MEMORY_FREE : STEP_MEMORY_FULL;
	if (kind < 111)
		return model->read_only ? STEP_PROMOTE : STEP_DEMOTE;
	if (kind < 114)
		return model->no_publish ? STEP_PERMIT_PUBLISH : STEP_FORBID_PUBLISH;
	if (kind < 118 && steps->restarts)
		return chance(steps, 700) ? STEP_RESTART_KEPT : STEP_RESTART_EMPTY;
	return STEP_CALL;
}

void steps_draw(struct steps *steps, const struct model_master *model, struct step *step)
{
	memset(step, 0, sizeof(*step));
	move_clock(steps, model);
	step->kind = draw_kind(steps, model);
	if (step->kind == STEP_CALL)
		draw_call(steps, model, &step->call);
	else if (step->kind == STEP_FOREIGN)
		draw_foreign(steps, model, &step->foreign);
	step->clock_us = steps->clock_us;
}

/* ---- a step as a command ---- */

static void add(struct step_words *w, const char *word)
{
	w->argv[w->argc] = word;
	w->lengths[w->argc++] = strlen(word);
}

static void add_number(struct step_words *w, unsigned slot, int64_t number)
{
	snprintf(w->text[slot], sizeof(w->text[slot]), "%" PRId64, number);
	add(w, w->text[slot]);
}

static void add_letter(struct step_words *w, unsigned slot, char letter)
{
	snprintf(w->text[slot], sizeof(w->text[slot]), "%c", letter);
	add(w, w->text[slot]);
}

static void add_cargo(struct step_words *w, const struct model_call *call)
{
	if (call->mode != 'X' || call->version == 0)
		return;
	add_number(w, 4, (int64_t)call->version);
	if (!call->has_bytes)
		return;
	add(w, "");
	w->argv[w->argc - 1] = call->bytes;
	w->lengths[w->argc - 1] = call->size;
}

static void about_the_master(struct step_words *w, const struct model_call *call)
{
	add(w, "0");
	add_letter(w, 0, call->operation);
	if (call->operation == 'L') {
		add(w, "0");
		add(w, call->cluster);
	}
	if (call->operation == 'V' || call->operation == 'L')
		return;
	add(w, call->incarnation);
	add_letter(w, 1, call->durable);
	add_letter(w, 2, call->believe);
	add(w, call->cluster);
	add_number(w, 3, call->quarantine_ms);
	add(w, call->tag);
}

/* In places where others have epoch and token. */
static void add_survey(struct step_words *w, const struct model_call *call)
{
	add(w, "");
	if (call->operation == 'Q') {
		add(w, "");
		return;
	}
	add_number(w, 1, call->ttl_ms);
	add_number(w, 2, call->ttl_ms);
}

static void add_release(struct step_words *w, const struct model_call *call)
{
	add_number(w, 1, (int64_t)call->number);
	add_number(w, 2, (int64_t)call->next);
	add_number(w, 3, call->offer_ms);
	if (call->unload || call->place[0])
		add(w, call->place);
	if (call->unload)
		add(w, "1");
}

static void add_yield(struct step_words *w, const struct model_call *call)
{
	add(w, call->place);
	add_number(w, 1, (int64_t)call->ticket);
	add_number(w, 2, (int64_t)call->next);
	add_number(w, 3, call->offer_ms);
}

static void add_acquire(struct step_words *w, const struct model_call *call)
{
	add_number(w, 1, call->ttl_ms);
	add_number(w, 2, (int64_t)call->number);
	if (model_call_is_plain(call))
		return;
	add_number(w, 5, (int64_t)call->floor);
	add(w, call->place);
	add_number(w, 6, (int64_t)call->ticket);
	add_number(w, 7, call->offer_ms);
	add_cargo(w, call);
}

static void add_extend(struct step_words *w, const struct model_call *call)
{
	add_number(w, 1, call->ttl_ms);
	add_letter(w, 2, call->repair);
	add_number(w, 3, (int64_t)call->number);
	add_number(w, 5, call->offer_ms);
	if (call->unload)
		add(w, "0");
	add_cargo(w, call);
}

static void about_a_lock(struct step_words *w, const struct model_call *call)
{
	add(w, "1");
	add(w, call->key);
	add_letter(w, 0, call->operation);
	if (call->operation == 'B' || call->operation == 'Q') {
		add_survey(w, call);
		return;
	}
	add(w, call->epoch);
	add(w, call->token);
	if (call->operation == 'R') {
		add_release(w, call);
		return;
	}
	if (call->operation == 'Y') {
		add_yield(w, call);
		return;
	}
	add(w, call->mode == 'X' ? "X" : "S");
	if (call->operation == 'P') {
		add(w, call->place);
		add_number(w, 1, (int64_t)call->ticket);
	} else if (call->operation == 'A') {
		add_acquire(w, call);
	} else {
		add_extend(w, call);
	}
}

static void foreign_words(struct step_words *w, const struct foreign *foreign)
{
	static const char *const names[] = {
	    [FOREIGN_SET] = "SET",         [FOREIGN_SET_PX] = "SET",   [FOREIGN_SET_NX] = "SET",
	    [FOREIGN_DEL] = "DEL",         [FOREIGN_PEXPIRE] = "PEXPIRE", [FOREIGN_PERSIST] = "PERSIST",
	    [FOREIGN_RPUSH] = "RPUSH",     [FOREIGN_HSET] = "HSET",    [FOREIGN_SADD] = "SADD",
	    [FOREIGN_ZADD] = "ZADD",       [FOREIGN_FLUSHALL] = "FLUSHALL",
	};
	enum foreign_kind kind = foreign->kind;
	bool sets = kind == FOREIGN_SET || kind == FOREIGN_SET_PX || kind == FOREIGN_SET_NX;

	add(w, names[kind]);
	if (kind == FOREIGN_FLUSHALL)
		return;
	add(w, foreign->key);
	if (kind == FOREIGN_HSET)
		add(w, "f");
	if (kind == FOREIGN_PEXPIRE || kind == FOREIGN_ZADD)
		add_number(w, 0, foreign->number);
	if (sets || kind == FOREIGN_ZADD)
		add(w, foreign->value);
	if (kind == FOREIGN_RPUSH || kind == FOREIGN_HSET || kind == FOREIGN_SADD)
		add(w, "x");
	if (kind == FOREIGN_SET_NX)
		add(w, "NX");
	if (sets && kind != FOREIGN_SET) {
		add(w, "PX");
		add_number(w, 0, foreign->number);
	}
}

void step_words(struct step_words *w, const struct step *step)
{
	static const char *const plain[][4] = {
	    [STEP_SCRIPT_FLUSH] = {"SCRIPT", "FLUSH"},
	    [STEP_SCRIPT_LOAD] = {"SCRIPT", "LOAD"},
	    [STEP_MEMORY_FULL] = {"CONFIG", "SET", "maxmemory", "1"},
	    [STEP_MEMORY_FREE] = {"CONFIG", "SET", "maxmemory", "0"},
	    [STEP_DEMOTE] = {"REPLICAOF", "127.0.0.1", "9"}, /* nobody is at the discard port */
	    [STEP_PROMOTE] = {"REPLICAOF", "NO", "ONE"},
	    [STEP_FORBID_PUBLISH] = {"ACL", "SETUSER", "default", "-publish"},
	    [STEP_PERMIT_PUBLISH] = {"ACL", "SETUSER", "default", "+publish"},
	    [STEP_RESTART_KEPT] = {"(restart,", "keeping", "the", "data)"},
	    [STEP_RESTART_EMPTY] = {"(restart,", "empty)"},
	};

	w->argc = 0;
	if (step->kind == STEP_CALL) {
		add(w, "EVALSHA");
		add(w, script_sha());
		if (strchr("VINL", step->call.operation))
			about_the_master(w, &step->call);
		else
			about_a_lock(w, &step->call);
	} else if (step->kind == STEP_FOREIGN) {
		foreign_words(w, &step->foreign);
	} else {
		for (int i = 0; i < 4 && plain[step->kind][i]; i++)
			add(w, plain[step->kind][i]);
	}
}

/* ---- the same in the library's words ---- */

static void library_introduction(struct quorum *quorum, const struct model_call *call)
{
	struct introduction *in = &quorum->masters[0].introduction;

	memcpy(in->incarnation, call->incarnation, sizeof(in->incarnation));
	in->always_known = call->durable != '?';
	in->always = call->durable == '1';
	in->was_replica = call->believe == '0';
	memcpy(quorum->settings.tags[0], call->tag, sizeof(call->tag));
	for (size_t i = 0; i < COUNT(clusters); i++) {
		char text[sizeof(call->cluster)];

		snprintf(quorum->settings.fingerprint, sizeof(quorum->settings.fingerprint), "%s", clusters[i].id);
		quorum->settings.count = clusters[i].count;
		quorum->quarantine_us = clusters[i].max_ms * 1000;
		quorum_cluster_text(quorum, text, sizeof(text));
		if (strcmp(text, call->cluster) == 0)
			return;
	}
}

/* Whether the library ever asks so. Its V is a survey's as well, with words that the script does not look at. */
static bool is_sent(const struct model_call *call, const struct quorum *quorum)
{
	switch (call->operation) {
	case 'I':
	case 'N':
		return call->quarantine_ms * 1000 == quorum->quarantine_us &&
		       (call->believe == '0' || call->durable == '1');
	case 'A': return call->version == 0 || call->has_bytes;
	default: return true;
	}
}

/* The channel of the caller's place. */
static void library_channel(struct quorum *quorum, const struct model_call *call)
{
	const char *channel = call->place[0] ? strchr(call->place + 2, ':') + 1 : "";

	snprintf(quorum->settings.channel, sizeof(quorum->settings.channel), "%.*s", (int)strcspn(channel, ":"), channel);
}

bool step_words_are_the_librarys(const struct step *step, bool *ret_sent)
{
	static struct quorum quorum;
	static struct attempt attempt;
	const struct model_call *call = &step->call;
	bool master = strchr("VIN", call->operation) != NULL;
	struct request request = {.op = (enum operation)call->operation,
	                          .attempt = master ? NULL : &attempt,
	                          .mode = call->mode == 'X' ? MODE_EXCLUSIVE : MODE_SHARED,
	                          .repair = (enum repair)call->repair,
	                          .fence = call->number,
	                          .floor = call->floor,
	                          .version = call->version,
	                          .bytes = call->has_bytes,
	                          .unload = call->unload,
	                          .queued = call->place[0] != '\0',
	                          .next = call->next,
	                          .offer_us = call->offer_ms * 1000,
	                          .ttl_us = call->ttl_ms * 1000};
	struct wire_command theirs;
	struct step_words ours;
	bool same;

	attempt = (struct attempt){.key = call->key, .key_length = strlen(call->key), .mode = request.mode,
	                           .ticket = call->ticket,
	                           .waits_for = call->place[0] == 'X' ? MODE_EXCLUSIVE : MODE_SHARED,
	                           .cargo = {.bytes = (void *)(uintptr_t)call->bytes, .size = call->size,
	                                     .version = call->version}};
	memcpy(attempt.token, call->token, sizeof(attempt.token));
	memcpy(quorum.masters[0].view.epoch, call->epoch, sizeof(call->epoch));
	library_introduction(&quorum, call);
	library_channel(&quorum, call);
	*ret_sent = step->kind == STEP_CALL && is_sent(call, &quorum);
	if (!*ret_sent)
		return true;
	step_words(&ours, step);
	if (call->operation == 'L')
		wire_format_survey(&theirs, 'L', NULL, 0, "0", call->cluster);
	else if (call->operation == 'B' || call->operation == 'Q')
		wire_format_survey(&theirs, call->operation, call->key, strlen(call->key), "",
		                   call->operation == 'B' ? ours.text[1] : "");
	else
		wire_format(&theirs, &request, &quorum);
	same = theirs.argc == ours.argc;
	for (int i = 0; same && i < ours.argc; i++)
		same = theirs.lengths[i] == ours.lengths[i] && memcmp(theirs.argv[i], ours.argv[i], ours.lengths[i]) == 0;
	return same;
}

/* ---- for people ---- */

/* A word with what can't be read as \xHH. */
static size_t put_word(char *out, size_t size, const char *word, size_t length)
{
	size_t n = 0;

	if (length == 0)
		n += (size_t)snprintf(out, size, "\"\"");
	for (size_t i = 0; i < length && n + 5 < size; i++) {
		bool plain = word[i] > ' ' && word[i] <= '~' && word[i] != '\\';

		n += (size_t)snprintf(out + n, size - n, plain ? "%c" : "\\x%02x", (unsigned char)word[i]);
	}
	return n;
}

void step_text(const struct step *step, char *out, size_t size)
{
	struct step_words words;
	size_t n;

	step_words(&words, step);
	n = (size_t)snprintf(out, size, "%" PRId64, step->clock_us);
	/* Of a call everybody knows which script. */
	for (int i = step->kind == STEP_CALL ? 3 : 0; i < words.argc && n + 8 < size; i++) {
		out[n++] = ' ';
		n += put_word(out + n, size - n, words.argv[i], words.lengths[i]);
	}
	out[n] = '\0';
}
