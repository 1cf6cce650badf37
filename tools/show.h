/*
 * show.h - holders and waiters as people and machines read them.
 *
 * Owns: the columns of --list, --who and --watch, and the members of their JSON.
 * What is printed for people may change; what --json prints only grows.
 */
#ifndef DLOCK_TOOLS_SHOW_H
#define DLOCK_TOOLS_SHOW_H

#include "table.h"

#include <dlock.h>
#include <stdbool.h>
#include <stdio.h>

/* Holders, a row each, and how many of them have a majority behind them. */
struct holder_table {
	struct table table;
	unsigned held;
};

#define HOLDER_TABLE_EMPTY {.table = {.head = show_holder_head, .columns = SHOW_HOLDER_COLUMNS}}
#define WAITER_TABLE_EMPTY {.head = show_waiter_head, .columns = SHOW_WAITER_COLUMNS}
#define SHOW_HOLDER_COLUMNS 9
#define SHOW_WAITER_COLUMNS 7
extern const char *const show_holder_head[SHOW_HOLDER_COLUMNS];
extern const char *const show_waiter_head[SHOW_WAITER_COLUMNS];

void show_holder(struct holder_table *table, const struct dlock_holder *holder);
/* A name that nobody holds, in a table of holders. */
void show_free(struct holder_table *table, const char *name, unsigned waiters);
void show_waiter(struct table *table, const struct dlock_who *waiter);

/* What dlock_who() tells of a holder, as dlock_query() would. */
struct dlock_holder show_as_holder(const struct dlock_who *who);

/* JSON is printed as a whole or not at all: half an answer looks like one. */
struct json {
	FILE *out;
	char *text;
	size_t size;
	unsigned count, held; /* members of the array; those with a majority behind them */
};

void json_open(struct json *json);
void json_close(struct json *json, bool print);

/* "key": "value", and "key_hex" beside it where the value is not UTF-8; then a comma. */
void json_field(FILE *out, const char *key, const char *value);

/* The next member of an array. */
void json_holder(struct json *json, const struct dlock_holder *holder);
void json_waiter(struct json *json, const struct dlock_who *waiter);

#endif
