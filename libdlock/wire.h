/*
 * wire.h - requests of the core as commands, replies as its answers.
 *
 * Owns: the order of the script's arguments and of its replies (dlock.lua is
 * the other half), and the form of the grants that it publishes.
 * Must never: decide anything.
 */
#ifndef DLOCK_WIRE_H
#define DLOCK_WIRE_H

#include "core/attempt.h"
#include "node.h"

#define WIRE_ARGUMENTS_MAX 16
#define WIRE_PLACE_MAX 320 /* mode:ttl:channel:token */

struct wire_command {
	int argc;
	const char *argv[WIRE_ARGUMENTS_MAX];
	size_t lengths[WIRE_ARGUMENTS_MAX];
	char text[7][32];                    /* numbers, in words; `lengths` tells, other bytes may hold a NUL */
	char cluster[64];
	char place[WIRE_PLACE_MAX];          /* in the queue */
};

/* `request` in the words of the script; the pointers live as long as `ret`, the quorum, the request's
 * attempt and the bytes that travel with its lock. */
void wire_format(struct wire_command *ret, const struct request *request, const struct quorum *quorum);
/* SCRIPT LOAD, after a NOSCRIPT. */
void wire_format_load(struct wire_command *ret);
/* PUBLISH of nothing: whether it is permitted, and who listens. */
void wire_format_probe(struct wire_command *ret, const char *channel);
/* An operation of people's: Q, B (with `third` ms) on `key`, or L. */
void wire_format_survey(struct wire_command *ret, char operation, const char *key, size_t key_length, const char *second,
                        const char *third);

/* What the master has answered to `request`. */
void wire_answer(struct answer *ret, const struct request *request, enum node_answer kind, const struct value *value,
                 const char *text);
/* False: not a view. */
bool wire_view(struct view *ret, const struct value *value);
/* The master's clock in any reply of the script; 0: none. */
int64_t wire_clock_us(const struct value *value);

/* A message from the channel of grants. False: it is none; so is an empty one, which only probes whether somebody
 * listens. */
bool wire_grant(struct grant *ret, const char *payload, size_t length);

void wire_introduction(struct introduction *ret, const struct node_facts *facts);

/* What an error reply calls for besides its answer. */
enum wire_remedy { WIRE_NOTHING, WIRE_LOAD, WIRE_RECONNECT };
enum wire_remedy wire_remedy(const char *error_text);

#endif
