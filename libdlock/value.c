/*
 * value.c - replies, decoded from hiredis' reader.
 *
 * Owns: the values of the reply that is being read, and their memory.
 * Must never: allocate by a length that the server has only claimed, or hold
 * more than NODE_REPLY_BYTES_MAX for one reply.
 *
 * How it works. The reader calls back for each element; the value is cut from
 * an arena that is reset after each reply, so that a steady stream of replies
 * asks the allocator for nothing. An array's list of elements grows with the
 * elements that have come: "*1000000000\r\n" costs as much as "*0\r\n".
 */
#include "node_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_CHUNK_SIZE ((size_t)16384 - sizeof(struct value_chunk))
#define VALUE_DEPTH_MAX 8

struct value_chunk {
	struct value_chunk *next;
	size_t size, used;
	/* `size` bytes follow. */
};

struct value {
	enum value_kind kind;
	short type; /* hiredis' */
	short depth;
	union {
		int64_t integer;
		struct {
			const char *bytes;
			size_t length;
		} string;
		struct {
			const struct value **items;
			size_t count, room;
		} array;
	};
};

/* --- memory ----------------------------------------------------------------- */

static struct value_chunk *chunk_new(struct value_arena *arena, size_t size)
{
	struct value_chunk *chunk = malloc(sizeof(*chunk) + size);

	if (chunk == NULL)
		return NULL;
	chunk->size = size;
	chunk->used = 0;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	return chunk;
}

static void *arena_take(struct value_arena *arena, size_t size)
{
	struct value_chunk *chunk = arena->chunks;
	char *memory;

	size = (size + 7) & ~(size_t)7;
	if (size > NODE_REPLY_BYTES_MAX - arena->total) {
		arena->problem = "sent a reply that is too large";
		return NULL;
	}
	if (chunk == NULL || size > chunk->size - chunk->used)
		chunk = chunk_new(arena, size > VALUE_CHUNK_SIZE ? size : VALUE_CHUNK_SIZE);
	if (chunk == NULL)
		return NULL;
	memory = (char *)(chunk + 1) + chunk->used;
	chunk->used += size;
	arena->total += size;
	return memory;
}

void value_arena_reset(struct value_arena *arena)
{
	arena->total = 0;
	arena->problem = NULL;
	while (arena->chunks != NULL && arena->chunks->next != NULL) {
		struct value_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	if (arena->chunks == NULL)
		return;
	/* The oldest chunk may have been made for one large string. */
	if (arena->chunks->size > VALUE_CHUNK_SIZE)
		value_arena_clear(arena);
	else
		arena->chunks->used = 0;
}

void value_arena_clear(struct value_arena *arena)
{
	while (arena->chunks != NULL) {
		struct value_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	arena->total = 0;
	arena->problem = NULL;
}

/* --- what the reader calls ---------------------------------------------------- */

static int array_append(struct value_arena *arena, struct value *array, const struct value *item)
{
	if (array->array.count == array->array.room) {
		size_t room = array->array.room > 0 ? 2 * array->array.room : 4;
		const struct value **items = arena_take(arena, room * sizeof(*items));

		if (items == NULL)
			return -1;
		if (array->array.count > 0)
			memcpy(items, array->array.items, array->array.count * sizeof(*items));
		array->array.items = items;
		array->array.room = room;
	}
	array->array.items[array->array.count++] = item;
	return 0;
}

static struct value *value_new(const redisReadTask *task, enum value_kind kind)
{
	struct value_arena *arena = task->privdata;
	struct value *parent = task->parent != NULL ? task->parent->obj : NULL;
	struct value *value = arena_take(arena, sizeof(*value));

	if (value == NULL)
		return NULL;
	memset(value, 0, sizeof(*value));
	value->kind = kind;
	value->type = (short)task->type;
	value->depth = (short)(parent != NULL ? parent->depth + 1 : 0);
	if (value->depth > VALUE_DEPTH_MAX) {
		arena->problem = "sent a reply that is nested too deeply";
		return NULL;
	}
	/* What has no elements of its own (RESP3's maps, sets, attributes) is filled all
	 * the same: it is told as VALUE_OTHER, and has none to be seen. */
	if (parent != NULL && array_append(arena, parent, value) < 0)
		return NULL;
	return value;
}

static void *create_string(const redisReadTask *task, char *bytes, size_t length)
{
	bool is_string = task->type == REDIS_REPLY_STRING || task->type == REDIS_REPLY_STATUS;
	struct value *value = value_new(task, is_string ? VALUE_STRING : VALUE_OTHER);
	char *copy;

	if (value == NULL)
		return NULL;
	copy = arena_take(task->privdata, length + 1);
	if (copy == NULL)
		return NULL;
	if (length > 0)
		memcpy(copy, bytes, length);
	copy[length] = '\0';
	value->string.bytes = copy;
	value->string.length = length;
	return value;
}

#if HIREDIS_MAJOR >= 1
static void *create_array(const redisReadTask *task, size_t elements)
#else
static void *create_array(const redisReadTask *task, int elements)
#endif
{
	(void)elements; /* only a claim */
	return value_new(task, task->type == REDIS_REPLY_ARRAY ? VALUE_ARRAY : VALUE_OTHER);
}

static void *create_integer(const redisReadTask *task, long long integer)
{
	struct value *value = value_new(task, VALUE_INTEGER);

	if (value != NULL)
		value->integer = integer;
	return value;
}

static void *create_nil(const redisReadTask *task)
{
	return value_new(task, VALUE_NIL);
}

#if HIREDIS_MAJOR >= 1
static void *create_double(const redisReadTask *task, double number, char *bytes, size_t length)
{
	(void)number;
	(void)bytes;
	(void)length;
	return value_new(task, VALUE_OTHER);
}

static void *create_bool(const redisReadTask *task, int yes)
{
	(void)yes;
	return value_new(task, VALUE_OTHER);
}
#endif

static void free_object(void *object)
{
	(void)object; /* value_arena_reset() does it for all */
}

static redisReplyObjectFunctions value_functions = {
	.createString = create_string,
	.createArray = create_array,
	.createInteger = create_integer,
	.createNil = create_nil,
#if HIREDIS_MAJOR >= 1
	.createDouble = create_double,
	.createBool = create_bool,
#endif
	.freeObject = free_object,
};

void value_arena_attach(struct value_arena *arena, redisReader *reader)
{
	value_arena_reset(arena);
	reader->fn = &value_functions;
	reader->privdata = arena;
}

/* --- what everybody may ask --------------------------------------------------- */

enum value_kind value_kind(const struct value *value)
{
	return value != NULL ? value->kind : VALUE_NIL;
}

/* A string is a number only if all of it is: "12 " is none. */
static int64_t decimal(const char *bytes, size_t length, int64_t otherwise)
{
	bool negative = length > 0 && bytes[0] == '-';
	uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), number = 0;
	size_t i = negative ? 1 : 0;

	if (i == length)
		return otherwise;
	for (; i < length; i++) {
		unsigned digit = (unsigned)(unsigned char)bytes[i] - '0';

		if (digit > 9 || number > (limit - digit) / 10)
			return otherwise;
		number = number * 10 + digit;
	}
	return negative ? (int64_t)(0 - number) : (int64_t)number;
}

int64_t value_integer(const struct value *value, int64_t otherwise)
{
	if (value_kind(value) == VALUE_INTEGER)
		return value->integer;
	if (value_kind(value) == VALUE_STRING)
		return decimal(value->string.bytes, value->string.length, otherwise);
	return otherwise;
}

const char *value_string(const struct value *value, size_t *ret_length)
{
	if (value_kind(value) != VALUE_STRING)
		return NULL;
	if (ret_length != NULL)
		*ret_length = value->string.length;
	return value->string.bytes;
}

size_t value_count(const struct value *value)
{
	return value_kind(value) == VALUE_ARRAY ? value->array.count : 0;
}

const struct value *value_at(const struct value *value, size_t index)
{
	return index < value_count(value) ? value->array.items[index] : NULL;
}

bool value_is_push(const struct value *value)
{
#ifdef REDIS_REPLY_PUSH
	return value->type == REDIS_REPLY_PUSH;
#else
	(void)value;
	return false;
#endif
}

const char *value_error(const struct value *value)
{
	return value->type == REDIS_REPLY_ERROR ? value->string.bytes : NULL;
}
