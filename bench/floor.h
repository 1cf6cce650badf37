/*
 * floor.h - what the two halves of a floor share: floor.c sends and counts, floor_commands.c
 * knows what is sent.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "bench/bench.h"

#define FLOOR_MASTERS_MAX 16
#define FLOOR_NUMBERS_MAX 4

enum floor_phase { FLOOR_LOCK, FLOOR_RELEASE, FLOOR_PHASES };

/* One command to one master, as it goes over the wire. Numbers in it that are times (16 digits, microseconds since the
 * epoch) are written anew for each round, as far from its proposal as they were when the library sent them. */
struct floor_command {
	char *text;
	size_t size;
	int numbers;
	size_t at[FLOOR_NUMBERS_MAX];
	int64_t offset_us[FLOOR_NUMBERS_MAX];
};

/* `commands`: [FLOOR_PHASES] for each master. */
struct floor_commands {
	struct floor_command of[FLOOR_MASTERS_MAX][FLOOR_PHASES];
};

/* A socket to "127.0.0.1:port" that does not block; -1 after a sentence. */
int floor_connect(const char *address);

/* What a floor of this kind sends for one name. 0, or -1 after a sentence. */
struct floor_template;
struct floor_template *floor_template_new(struct bench *bench, enum floor_kind kind);
void floor_template_free(struct floor_template *floor_template); /* NULL is fine */
int floor_commands_make(struct floor_commands *commands, const struct floor_template *floor_template, int name);
void floor_commands_clear(struct floor_commands *commands);

#endif
