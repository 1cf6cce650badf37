/*
 * text.h - the two questions that every parser of settings asks of a text.
 *
 * Owns: strict decimal numbers, and the quotation of foreign text in messages.
 * Must never: allocate, do I/O, or depend on the locale.
 */
#ifndef DLOCK_TEXT_H
#define DLOCK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_QUOTE_MAX 320 /* room for any quotation, with its NUL */

/* A decimal number of 1 to 18 digits and nothing else: no sign, no white space. */
bool text_number(const char *text, size_t length, int64_t *ret_number);

/* `text` in double quotes, for a message of one line: what is not printable
 * ASCII is shown as \xNN, and what is longer than 64 bytes is cut with "...". */
void text_quote(char out[TEXT_QUOTE_MAX], const char *text, size_t length);

#endif
