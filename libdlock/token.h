/*
 * token.h - the value by which a master knows one holder of a lock.
 *
 * Owns: its form, and the check of that form.
 * Must never: do I/O, read a clock, or allocate: the core uses it, and the core
 * must give the same answer to the same events.
 *
 * Form: 16 lower-case hex digits of the ticket, '-', 32 of 128 random bits,
 * '-', host/pid/program. The random bits alone make it unique; the ticket is
 * for the order of waiters, and the rest is for people. A value on a master
 * that has another form was written by another program.
 */
#ifndef DLOCK_TOKEN_H
#define DLOCK_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_MAX 192 /* with the NUL */
#define TOKEN_RANDOM 16
#define TOKEN_HOST_MAX 64 /* without the NUL */
#define TOKEN_PROGRAM_MAX 32

/* What a token tells. */
struct token_parts {
	uint64_t ticket; /* µs since 1970, when the lock was asked for */
	int64_t pid;
	char host[TOKEN_HOST_MAX + 1];
	char program[TOKEN_PROGRAM_MAX + 1];
};

/* 0, or -EINVAL if `identity` is not host/pid/program as token_identity()
 * makes it; `out` is untouched then. */
int token_format(char out[TOKEN_MAX], uint64_t ticket, const uint8_t random[TOKEN_RANDOM], const char *identity);

/* False, with *ret untouched, for every text that token_format() cannot have
 * made. `text` need not be NUL-terminated; `ret` may be NULL. */
bool token_parse(const char *text, size_t length, struct token_parts *ret);

/* The first 8 bytes of the random part, which all tokens of one lock have in common: of the bytes, and of a text that
 * token_parse() accepts. */
uint64_t token_route(const uint8_t random[TOKEN_RANDOM]);
uint64_t token_text_route(const char *text);

/* Whether `byte` may stand in the host or program of a token. */
bool token_is_plain(char byte);

#endif
