/*
 * text.c - strict numbers and safe quotations; see text.h.
 *
 * strtoll() is not used because it takes signs, white space and the locale's
 * habits: a setting that is nearly a number is a mistake that its writer must
 * hear about.
 */
#include "text.h"

#include <string.h>

#define DIGITS_MAX 18 /* every number of so many digits fits an int64_t */
#define QUOTED_MAX 64 /* bytes of the original that a message shows */

_Static_assert(QUOTED_MAX * 4 + sizeof("\"...\"") <= TEXT_QUOTE_MAX, "a quotation must fit when every byte is escaped");

bool text_number(const char *text, size_t length, int64_t *ret_number)
{
	int64_t number = 0;

	if (length == 0 || length > DIGITS_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		number = number * 10 + (text[i] - '0');
	}
	*ret_number = number;
	return true;
}

static char *put_byte(char *out, unsigned char byte)
{
	static const char hex[] = "0123456789abcdef";

	if (byte >= 0x20 && byte < 0x7f) {
		*out++ = (char)byte;
		return out;
	}
	*out++ = '\\';
	*out++ = 'x';
	*out++ = hex[byte >> 4];
	*out++ = hex[byte & 15];
	return out;
}

void text_quote(char out[TEXT_QUOTE_MAX], const char *text, size_t length)
{
	size_t shown = length > QUOTED_MAX ? QUOTED_MAX : length;

	*out++ = '"';
	for (size_t i = 0; i < shown; i++)
		out = put_byte(out, (unsigned char)text[i]);
	if (shown < length) {
		memcpy(out, "...", 3);
		out += 3;
	}
	memcpy(out, "\"", 2);
}
