/*
 * token.c - the form of a holder's value; see token.h.
 *
 * How it works: the two hex numbers have a fixed place, and neither host nor
 * program may hold a '/', so the text is cut at two slashes. Formatting ends
 * with the check that reading uses: what is written can always be read.
 */
#include "token.h"

#include <errno.h>
#include <string.h>

#define TICKET_DIGITS 16
#define RANDOM_DIGITS (2 * TOKEN_RANDOM)
#define HEAD_LENGTH (TICKET_DIGITS + 1 + RANDOM_DIGITS + 1)
#define PID_DIGITS_MAX 10

static const char hex[] = "0123456789abcdef";

/* Compared with constants because isalnum() follows the locale. */
bool token_is_plain(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	       byte == '.' || byte == '_' || byte == '-';
}

/* Of more than 16 digits only the last 16 are in the number. */
static bool parse_hex(const char *text, size_t digits, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (size_t i = 0; i < digits; i++) {
		const char *digit = memchr(hex, text[i], 16);

		if (!digit)
			return false;
		number = number << 4 | (uint64_t)(digit - hex);
	}
	*ret_number = number;
	return true;
}

/* A pid as printf("%d") writes it: no leading zero, above 0, within an int32_t. */
static bool parse_pid(const char *text, size_t length, int64_t *ret_pid)
{
	int64_t pid = 0;

	if (length == 0 || length > PID_DIGITS_MAX || text[0] == '0')
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		pid = pid * 10 + (text[i] - '0');
	}
	*ret_pid = pid;
	return pid <= INT32_MAX;
}

static bool copy_plain(char *out, const char *text, size_t length, size_t most)
{
	if (length == 0 || length > most)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!token_is_plain(text[i]))
			return false;
	memcpy(out, text, length);
	out[length] = '\0';
	return true;
}

/* host/pid/program */
static bool parse_identity(const char *text, size_t length, struct token_parts *parts)
{
	const char *end = text + length;
	const char *pid = memchr(text, '/', length);
	const char *program = pid ? memchr(pid + 1, '/', (size_t)(end - pid - 1)) : NULL;

	return program && copy_plain(parts->host, text, (size_t)(pid - text), TOKEN_HOST_MAX) &&
	       parse_pid(pid + 1, (size_t)(program - pid - 1), &parts->pid) &&
	       copy_plain(parts->program, program + 1, (size_t)(end - program - 1), TOKEN_PROGRAM_MAX);
}

bool token_parse(const char *text, size_t length, struct token_parts *ret)
{
	struct token_parts parts;
	uint64_t ignored;

	if (length <= HEAD_LENGTH || length >= TOKEN_MAX)
		return false;
	if (text[TICKET_DIGITS] != '-' || text[HEAD_LENGTH - 1] != '-' ||
	    !parse_hex(text, TICKET_DIGITS, &parts.ticket) ||
	    !parse_hex(text + TICKET_DIGITS + 1, RANDOM_DIGITS, &ignored) ||
	    !parse_identity(text + HEAD_LENGTH, length - HEAD_LENGTH, &parts))
		return false;
	if (ret)
		*ret = parts;
	return true;
}

int token_format(char out[TOKEN_MAX], uint64_t ticket, const uint8_t random[TOKEN_RANDOM], const char *identity)
{
	size_t length = strlen(identity);
	struct token_parts ignored;
	char *p = out;

	if (length >= TOKEN_MAX - HEAD_LENGTH || !parse_identity(identity, length, &ignored))
		return -EINVAL;
	for (int shift = 60; shift >= 0; shift -= 4)
		*p++ = hex[ticket >> shift & 15];
	*p++ = '-';
	for (size_t i = 0; i < TOKEN_RANDOM; i++) {
		*p++ = hex[random[i] >> 4];
		*p++ = hex[random[i] & 15];
	}
	*p++ = '-';
	memcpy(p, identity, length + 1);
	return 0;
}

uint64_t token_route(const uint8_t random[TOKEN_RANDOM])
{
	uint64_t route = 0;

	for (size_t i = 0; i < sizeof(route); i++)
		route = route << 8 | random[i];
	return route;
}

uint64_t token_text_route(const char *text)
{
	uint64_t route = 0;

	(void)parse_hex(text + TICKET_DIGITS + 1, 2 * sizeof(route), &route);
	return route;
}
