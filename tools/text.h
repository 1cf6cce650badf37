/*
 * text.h - names of locks as people and machines read them.
 *
 * Owns: escaping. A name may hold any byte but NUL, so it is never printed as
 * it is: a terminal must not be driven by somebody's lock name, and JSON must
 * stay JSON.
 */
#ifndef DLOCK_TOOLS_TEXT_H
#define DLOCK_TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* For people: control characters and bytes that are not UTF-8 as \xNN, a
 * backslash doubled. Allocated; ends the program when memory is out. */
char *text_shown(const char *text);

/* Columns that a shown text takes, one for each character. */
size_t text_width(const char *shown);

/* Whether it is UTF-8 throughout. */
bool text_is_utf8(const char *text);

/* As a JSON string with its quotes; a byte that is not UTF-8 becomes \ufffd. */
void text_json(FILE *out, const char *text);

/* Every byte as two hexadecimal digits, in quotes. */
void text_json_hex(FILE *out, const char *text);

#endif
