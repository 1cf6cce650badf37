/* model_foreign.c - see model_foreign.h. */
#include "tests/unit/model_foreign.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA "dlock!data:"
#define BROKEN "dlock!broken:"
#define QUEUE "dlock!queue:"

/* ---- single commands ---- */

static const char *after(const char *name, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(name, prefix, length) == 0 ? name + length : NULL;
}

static bool is_lock(const char *name)
{
	return !after(name, "dlock!");
}

static struct model_cargo *cargo_of(struct model_data *data, const char *name)
{
	const char *lock = after(name, DATA);

	for (unsigned i = 0; lock && i < MODEL_KEYS; i++)
		if (strcmp(data->cargo[i].name, lock) == 0)
			return &data->cargo[i];
	return NULL;
}

static struct model_queue *queue_of(struct model_data *data, const char *name)
{
	return after(name, QUEUE) ? model_find_queue(data, after(name, QUEUE), false) : NULL;
}

static struct model_mark *mark_of(struct model_data *data, const char *name)
{
	const char *token = after(name, BROKEN);

	for (unsigned i = 0; token && i < MODEL_BROKEN; i++)
		if (strcmp(data->marks[i].token, token) == 0)
			return &data->marks[i];
	return NULL;
}

/* The expiry of a key that is there and can have one; NULL: not so. */
static int64_t *expiry_of(struct model_data *data, const char *name)
{
	struct model_key *key = is_lock(name) ? model_key(data, name) : NULL;
	struct model_cargo *cargo = cargo_of(data, name);
	struct model_mark *mark = mark_of(data, name);
	struct model_queue *queue = queue_of(data, name);

	if (queue)
		return &queue->expiry_ms;
	if (strcmp(name, "dlock!quarantine") == 0 && data->quarantine_until_ms)
		return &data->quarantine_until_ms;
	return key ? &key->expiry_ms : cargo ? &cargo->expiry_ms : mark ? &mark->expiry_ms : NULL;
}

static bool clear_text(char *text)
{
	bool there = text[0] != '\0';

	text[0] = '\0';
	return there;
}

static bool delete_fences(struct model_data *data)
{
	bool there = false;

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		there = there || data->fences[i].known;
		data->fences[i].known = false;
	}
	return there;
}

static bool delete_key(struct model_master *master, const char *name)
{
	struct model_data *data = &master->data;
	struct model_mark *mark = mark_of(data, name);
	struct model_queue *queue = queue_of(data, name);
	bool there;

	if (strcmp(name, "dlock!epoch") == 0)
		return clear_text(data->epoch);
	if (strcmp(name, "dlock!cluster") == 0)
		return clear_text(data->cluster);
	if (strcmp(name, "dlock!fence") == 0)
		return delete_fences(data);
	there = expiry_of(data, name) != NULL;
	if (is_lock(name))
		model_delete(master, name);
	else if (after(name, DATA))
		model_delete_cargo(master, after(name, DATA));
	else if (queue)
		queue->name[0] = '\0';
	else if (mark)
		memset(mark, 0, sizeof(*mark));
	else if (there)
		data->quarantine_until_ms = 0;
	return there;
}

static void not_made_for(const struct foreign *foreign)
{
	fprintf(stderr, "model master: command %d on %s is not known\n", (int)foreign->kind, foreign->key);
	abort();
}

/* `ttl_ms` 0: without an end. */
static void set(struct model_master *master, const struct foreign *foreign, int64_t ttl_ms, int64_t world_us)
{
	struct model_data *data = &master->data;
	bool forever = ttl_ms == 0;

	if (is_lock(foreign->key)) {
		model_set_foreign(master, foreign->key, foreign->value, ttl_ms, world_us);
		if (forever)
			model_key(data, foreign->key)->expiry_ms = MODEL_FOREVER;
	} else if (strcmp(foreign->key, "dlock!quarantine") == 0) {
		data->quarantine_until_ms = forever ? MODEL_FOREVER : (world_us + master->clock_us) / 1000 + ttl_ms;
	} else if (strcmp(foreign->key, "dlock!epoch") == 0 && forever) {
		snprintf(data->epoch, sizeof(data->epoch), "%.*s", EPOCH_MAX - 1, foreign->value);
	} else if (strcmp(foreign->key, "dlock!cluster") == 0 && forever) {
		snprintf(data->cluster, sizeof(data->cluster), "%.*s", (int)sizeof(data->cluster) - 1, foreign->value);
	} else {
		not_made_for(foreign);
	}
}

/* A lock's key as a value of another type than the script's. Its integer reply, or NULL: WRONGTYPE. */
static const char *put_other(struct model_data *data, const struct foreign *foreign, const char *type)
{
	struct model_key *key = model_key(data, foreign->key);
	static char count[16];
	bool is_new = !key;

	if (is_new) {
		key = model_new_key(data, foreign->key);
		key->kind = KIND_OTHER;
		snprintf(key->token, sizeof(key->token), "%s", type);
	}
	if (key->kind != KIND_OTHER || strcmp(key->token, type) != 0)
		return NULL;
	if (foreign->kind != FOREIGN_RPUSH) {
		key->reader_count = 1;
		return is_new ? "1" : "0";
	}
	snprintf(count, sizeof(count), "%u", ++key->reader_count);
	return count;
}

static const char *put_waiter(struct model_data *data, const struct foreign *foreign)
{
	struct model_queue *queue = model_find_queue(data, after(foreign->key, QUEUE), true);

	return model_put_waiter(queue, foreign->value, foreign->number, false) ? "1" : "0";
}

static const char *put_member(struct model_data *data, const struct foreign *foreign)
{
	struct model_key *key = model_key(data, foreign->key);
	unsigned i;

	if (!key) {
		key = model_new_key(data, foreign->key);
		key->kind = KIND_ZSET;
	}
	if (key->kind != KIND_ZSET)
		return NULL;
	key->foreign = true;
	for (i = 0; i < key->reader_count; i++)
		if (strcmp(key->readers[i].token, foreign->value) == 0)
			break;
	if (i == MODEL_READERS)
		not_made_for(foreign);
	key->readers[i].expiry_ms = foreign->number;
	if (i < key->reader_count)
		return "0";
	snprintf(key->readers[i].token, sizeof(key->readers[i].token), "%.*s", TOKEN_MAX - 1, foreign->value);
	key->reader_count++;
	return "1";
}

static const char *expire(struct model_master *master, const char *name, int64_t expiry_ms, int64_t ms)
{
	int64_t *expiry = expiry_of(&master->data, name);

	if (!expiry || (expiry_ms == MODEL_FOREVER && *expiry == MODEL_FOREVER))
		return "0";
	*expiry = expiry_ms;
	if (expiry_ms <= ms)
		delete_key(master, name);
	return "1";
}

static bool needs_memory(enum foreign_kind kind)
{
	return kind != FOREIGN_DEL && kind != FOREIGN_PEXPIRE && kind != FOREIGN_PERSIST && kind != FOREIGN_FLUSHALL;
}

static const char *run(struct model_master *master, const struct foreign *foreign, int64_t world_us)
{
	struct model_data *data = &master->data;
	int64_t ms = (world_us + master->clock_us) / 1000;
	const char *result = NULL;

	switch (foreign->kind) {
	case FOREIGN_SET: set(master, foreign, 0, world_us); return "OK";
	case FOREIGN_SET_NX:
		if (model_key(data, foreign->key))
			return "(nil)";
		/* fall through */
	case FOREIGN_SET_PX: set(master, foreign, foreign->number, world_us); return "OK";
	case FOREIGN_DEL: return delete_key(master, foreign->key) ? "1" : "0";
	case FOREIGN_PEXPIRE: return expire(master, foreign->key, ms + foreign->number, ms);
	case FOREIGN_PERSIST: return expire(master, foreign->key, MODEL_FOREVER, ms);
	case FOREIGN_RPUSH: result = put_other(data, foreign, "list"); break;
	case FOREIGN_HSET: result = put_other(data, foreign, "hash"); break;
	case FOREIGN_SADD: result = put_other(data, foreign, "set"); break;
	case FOREIGN_ZADD:
		result = after(foreign->key, QUEUE) ? put_waiter(data, foreign) : put_member(data, foreign);
		break;
	case FOREIGN_FLUSHALL: model_flush(master); return "OK";
	}
	return result ? result : "WRONGTYPE";
}

void model_foreign(struct model_master *master, const struct foreign *foreign, int64_t world_us,
                   char reply[FOREIGN_REPLY_MAX])
{
	const char *result;

	model_expire(master, world_us);
	if (master->read_only)
		result = "READONLY";
	else if (master->out_of_memory && needs_memory(foreign->kind))
		result = "OOM";
	else
		result = run(master, foreign, world_us);
	snprintf(reply, FOREIGN_REPLY_MAX, "%s", result);
}

/* ---- expiry ---- */

void model_expire(struct model_master *master, int64_t world_us)
{
	int64_t ms = (world_us + master->clock_us) / 1000;
	struct model_data *data = &master->data;

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		if (data->keys[i].name[0] && data->keys[i].expiry_ms < ms)
			memset(&data->keys[i], 0, sizeof(data->keys[i]));
		if (data->cargo[i].name[0] && data->cargo[i].expiry_ms < ms)
			memset(&data->cargo[i], 0, sizeof(data->cargo[i]));
		if (data->queues[i].name[0] && data->queues[i].expiry_ms < ms)
			data->queues[i].name[0] = '\0';
	}
	for (unsigned i = 0; i < MODEL_BROKEN; i++)
		if (data->marks[i].token[0] && data->marks[i].expiry_ms < ms)
			memset(&data->marks[i], 0, sizeof(data->marks[i]));
	if (data->quarantine_until_ms < ms)
		data->quarantine_until_ms = 0;
}

/* ---- the keys as text ---- */

#define LINES_MAX (3 * MODEL_KEYS + MODEL_BROKEN + 4)

struct text {
	char *out;
	size_t size, length;
	struct line {
		size_t begin, end;
	} lines[LINES_MAX];
	unsigned count;
};

static void put_bytes(struct text *text, const void *bytes, size_t length)
{
	if (length > text->size - text->length) {
		fprintf(stderr, "model master: its keys do not fit\n");
		abort();
	}
	memcpy(text->out + text->length, bytes, length);
	text->length += length;
}

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
	char part[TOKEN_MAX + EPOCH_MAX + 64];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(part, sizeof(part), format, args);
	va_end(args);
	put_bytes(text, part, (size_t)length);
}

static void begin_line(struct text *text, const char *before, const char *name, const char *type, int64_t expiry_ms)
{
	text->lines[text->count].begin = text->length;
	put(text, "%s%s %s %" PRId64 " ", before, name, type, expiry_ms == MODEL_FOREVER ? -1 : expiry_ms);
}

static void end_line(struct text *text)
{
	put_bytes(text, "\n", 1);
	text->lines[text->count++].end = text->length;
}

/* Members as a sorted set orders them. */
static int compare_readers(const void *a, const void *b)
{
	const struct model_reader *x = a, *y = b;

	if (x->expiry_ms != y->expiry_ms)
		return x->expiry_ms < y->expiry_ms ? -1 : 1;
	return strcmp(x->token, y->token);
}

static void put_members(struct text *text, const struct model_reader *readers, unsigned count)
{
	struct model_reader sorted[MODEL_READERS];

	memcpy(sorted, readers, count * sizeof(sorted[0]));
	qsort(sorted, count, sizeof(sorted[0]), compare_readers);
	for (unsigned i = 0; i < count; i++)
		put(text, "%s%s %" PRId64, i ? " " : "", sorted[i].token, sorted[i].expiry_ms);
}

static void put_key(struct text *text, const struct model_key *key)
{
	const char *type = key->kind == KIND_STRING ? "string" : key->kind == KIND_ZSET ? "zset" : key->token;

	begin_line(text, "", key->name, type, key->expiry_ms);
	if (key->kind == KIND_STRING)
		put(text, "%s", key->token);
	else if (key->kind == KIND_ZSET)
		put_members(text, key->readers, key->reader_count);
	else if (strcmp(type, "hash") == 0)
		put(text, "f=x");
	else
		for (unsigned i = 0; i < key->reader_count; i++)
			put(text, i ? " x" : "x");
	end_line(text);
}

static void put_fences(struct text *text, const struct model_data *data)
{
	struct model_reader fences[MODEL_KEYS];
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		if (!data->fences[i].known)
			continue;
		snprintf(fences[count].token, sizeof(fences[count].token), "%s", data->fences[i].name);
		fences[count++].expiry_ms = (int64_t)data->fences[i].value;
	}
	if (count == 0)
		return;
	begin_line(text, "", "dlock!fence", "zset", MODEL_FOREVER);
	put_members(text, fences, count);
	end_line(text);
}

/* The fields in the order of their names; h is the first 128 bytes of d, which is never longer here. */
static void put_cargo(struct text *text, const struct model_cargo *cargo)
{
	begin_line(text, DATA, cargo->name, "hash", cargo->expiry_ms);
	put(text, "d=");
	put_bytes(text, cargo->bytes, cargo->size);
	put(text, " h=");
	put_bytes(text, cargo->bytes, cargo->size);
	put(text, " t=%s v=%" PRIu64, cargo->token, cargo->version);
	end_line(text);
}

static void put_queue(struct text *text, const struct model_queue *queue)
{
	begin_line(text, QUEUE, queue->name, "zset", queue->expiry_ms);
	for (unsigned i = 0; i < queue->count; i++)
		put(text, "%s%s %" PRId64, i ? " " : "", queue->waiters[i].member, queue->waiters[i].ticket);
	end_line(text);
}

static void put_string(struct text *text, const char *before, const char *name, const char *value, int64_t expiry_ms)
{
	begin_line(text, before, name, "string", expiry_ms);
	put(text, "%s", value);
	end_line(text);
}

static void put_lines(struct text *text, const struct model_data *data)
{
	for (unsigned i = 0; i < MODEL_KEYS; i++) {
		if (data->keys[i].name[0])
			put_key(text, &data->keys[i]);
		if (data->cargo[i].name[0])
			put_cargo(text, &data->cargo[i]);
		if (data->queues[i].name[0])
			put_queue(text, &data->queues[i]);
	}
	for (unsigned i = 0; i < MODEL_BROKEN; i++)
		if (data->marks[i].token[0])
			put_string(text, BROKEN, data->marks[i].token, "1", data->marks[i].expiry_ms);
	put_fences(text, data);
	if (data->epoch[0])
		put_string(text, "", "dlock!epoch", data->epoch, MODEL_FOREVER);
	if (data->cluster[0])
		put_string(text, "", "dlock!cluster", data->cluster, MODEL_FOREVER);
	if (data->quarantine_until_ms)
		put_string(text, "", "dlock!quarantine", "1", data->quarantine_until_ms);
}

static int compare_lines(const void *a, const void *b, void *from)
{
	const struct line *x = a, *y = b;
	const char *out = from;
	const char *one = out + x->begin, *two = out + y->begin;
	size_t one_length = strcspn(one, " "), two_length = strcspn(two, " ");
	int order = memcmp(one, two, one_length < two_length ? one_length : two_length);

	return order ? order : one_length < two_length ? -1 : 1;
}

size_t model_keys_text(const struct model_master *master, int64_t world_us, char *out, size_t size)
{
	struct model_master copy = *master;
	struct text text = {.out = out, .size = size};
	size_t length = 0;
	char *unsorted;

	model_expire(&copy, world_us);
	put_lines(&text, &copy.data);
	qsort_r(text.lines, text.count, sizeof(text.lines[0]), compare_lines, out);
	unsorted = malloc(text.length + 1);
	if (!unsorted)
		abort();
	memcpy(unsorted, out, text.length);
	for (unsigned i = 0; i < text.count; i++) {
		memcpy(out + length, unsorted + text.lines[i].begin, text.lines[i].end - text.lines[i].begin);
		length += text.lines[i].end - text.lines[i].begin;
	}
	free(unsorted);
	return length;
}
