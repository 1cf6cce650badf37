/*
 * text.c - escaping of names; see text.h.
 */
#include "text.h"
#include "say.h"

#include <stdlib.h>
#include <string.h>

/* The value of a well-formed character at `text`, its length in *ret_length;
 * -1 and length 1 where the bytes are not UTF-8 (overlong and surrogates too). */
static long utf8_character(const unsigned char *text, size_t *ret_length)
{
	static const long smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = text[0] < 0x80 ? 1 : text[0] < 0xC2 ? 0 : text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : text[0] < 0xF5 ? 4 : 0;
	long value;
	size_t i;

	*ret_length = 1;
	if (length == 0)
		return -1;
	value = length == 1 ? text[0] : text[0] & (0xFF >> (length + 1));
	for (i = 1; i < length; i++) {
		if ((text[i] & 0xC0) != 0x80)
			return -1;
		value = value << 6 | (text[i] & 0x3F);
	}
	if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
		return -1;
	*ret_length = length;
	return value;
}

/* Characters that move the cursor or reorder the line that they stand in. */
static bool is_unprintable(long character)
{
	return character < 0x20 || (character >= 0x7F && character < 0xA0) || (character >= 0x200E && character <= 0x200F) ||
	       (character >= 0x2028 && character <= 0x202E) || (character >= 0x2066 && character <= 0x2069);
}

char *text_shown(const char *text)
{
	const unsigned char *from = (const unsigned char *)text;
	char *shown = malloc(strlen(text) * 4 + 1); /* \xNN takes four bytes for one */
	char *to = shown;

	if (!shown)
		say_no_memory();
	while (*from) {
		size_t length;
		long character = utf8_character(from, &length);

		if (is_unprintable(character)) {
			for (size_t i = 0; i < length; i++)
				to += sprintf(to, "\\x%02x", from[i]);
		} else {
			if (character == '\\')
				*to++ = '\\';
			memcpy(to, from, length);
			to += length;
		}
		from += length;
	}
	*to = '\0';
	return shown;
}

size_t text_width(const char *shown)
{
	size_t width = 0;

	for (; *shown; shown++)
		width += (*shown & 0xC0) != 0x80;
	return width;
}

bool text_is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t length;

	for (; *at; at += length)
		if (utf8_character(at, &length) < 0)
			return false;
	return true;
}

void text_json(FILE *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t length;

	putc('"', out);
	for (; *at; at += length) {
		long character = utf8_character(at, &length);

		if (character < 0)
			fputs("\\ufffd", out);
		else if (character == '"' || character == '\\')
			fprintf(out, "\\%c", (int)character);
		else if (is_unprintable(character))
			fprintf(out, "\\u%04lx", (unsigned long)character);
		else
			fwrite(at, 1, length, out);
	}
	putc('"', out);
}

void text_json_hex(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++)
		fprintf(out, "%02x", (unsigned char)*text);
	putc('"', out);
}
