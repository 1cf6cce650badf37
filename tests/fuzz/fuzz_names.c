/*
 * fuzz_names.c - names of locks: from a program or a directory to the masters and back.
 *
 * The input: a prefix up to a line end, then the name (up to a NUL). The name goes through
 * everything that turns it into something else: the check of the library, the key and the
 * answer that names it, the pattern by which all names are looked for, what the command
 * shows to people and to machines, and what a directory of the mount makes of it.
 *
 * Besides crashes: a name comes back as it went, of two forms that are shown each can be
 * read back, and nothing that is shown moves a terminal.
 */
#include "fuzz.h"

#include "fuse/record.h"
#include "libdlock/handle.h"
#include "libdlock/look.h"
#include "libdlock/node_internal.h"
#include "tools/text.h"

#include <dlock.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void say_no_memory(void);

void say_no_memory(void)
{
	abort();
}

/* ---- the library ---- */

static bool check_name(const char *name, const char *prefix)
{
	struct config config = {.prefix = (char *)prefix};
	char key[2048];
	int r;

	r = handle_check_name(name, &config);
	fuzz_check(r == 0 || dlock_error_detail()[0] != '\0');
	snprintf(key, sizeof(key), "%s%s", prefix, name);
	if (name[0] == '\0' || strncmp(key, "dlock!", 6) == 0)
		fuzz_check(r == (strlen(name) > DLOCK_NAME_MAX ? -ENAMETOOLONG : -EINVAL));
	else
		fuzz_check(r == (strlen(name) > DLOCK_NAME_MAX ? -ENAMETOOLONG : 0));
	return r == 0;
}

static const char *expected;

static int see_name(const struct dlock_holder *holder, void *arg)
{
	unsigned *count = arg;

	(*count)++;
	fuzz_check(strcmp(holder->name, expected) == 0);
	return 0;
}

/* As a master names it: {key, fence, type, owner, ms}. */
static void come_back(const char *name, const char *prefix, const char *wanted_key)
{
	static const char owner[] = "somebody";
	struct value_arena arena = {0};
	redisReader *reader = redisReaderCreate();
	size_t key_length = strlen(prefix) + strlen(name);
	struct holders holders;
	unsigned count = 0;
	void *value = NULL;
	char *text;
	int length = asprintf(&text, "*5\r\n$%zu\r\n%s%s\r\n:7\r\n$6\r\nstring\r\n$8\r\n%s\r\n:5\r\n", key_length, prefix, name, owner);

	fuzz_check(length > 0 && reader != NULL);
	value_arena_attach(&arena, reader);
	fuzz_check(redisReaderFeed(reader, text, (size_t)length) == REDIS_OK);
	fuzz_check(redisReaderGetReply(reader, &value) == REDIS_OK && value != NULL);
	holders_init(&holders, prefix, 1, 1);
	holders_add(&holders, 0, value, wanted_key, 0);
	expected = name;
	fuzz_check(holders_tell(&holders, 0, see_name, &count) == 1 && count == 1);
	holders_clear(&holders);
	redisReaderFree(reader);
	value_arena_clear(&arena);
	free(text);
}

/* Redis' own matching, of what patterns of the library can hold: a star at the end, bytes, escaped bytes. */
static bool matches(const char *pattern, const char *text)
{
	for (; *pattern && strcmp(pattern, "*") != 0; pattern++, text++) {
		fuzz_check(!strchr("*?[]^", *pattern));
		if (*pattern == '\\')
			pattern++;
		if (*pattern != *text)
			return false;
	}
	return *pattern == '*';
}

static void find_again(const char *name, const char *prefix)
{
	struct cluster cluster = {.quorum = {.settings = {.count = 1}, .majority = 1}};
	struct config config = {.prefix = (char *)prefix};
	struct look *look = look_new(&cluster, &config, NULL), *one = look_new(&cluster, &config, name);
	char key[2048];

	fuzz_check(look && one);
	snprintf(key, sizeof(key), "%s%s", prefix, name);
	fuzz_check(matches(look->key, key) && strcmp(one->key, key) == 0);
	if (prefix[0]) {
		key[0] ^= 1;
		fuzz_check(!matches(look->key, key));
	}
	look_free(look);
	look_free(one);
}

/* ---- the command ---- */

static int hex(char digit)
{
	return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

static void check_shown(const char *name)
{
	char *shown = text_shown(name), *back = malloc(strlen(shown) + 1), *out = back;

	fuzz_check(text_is_utf8(shown) && text_width(shown) <= strlen(shown));
	for (const char *at = shown; *at; at++) {
		fuzz_check((unsigned char)*at >= 0x20 && *at != 0x7f);
		if (*at != '\\') {
			*out++ = *at;
		} else if (at[1] == '\\') {
			*out++ = *++at;
		} else {
			fuzz_check(at[1] == 'x');
			*out++ = (char)(hex(at[2]) * 16 + hex(at[3]));
			at += 3;
		}
	}
	*out = '\0';
	fuzz_check(strcmp(back, name) == 0);
	free(back);
	free(shown);
}

/* The JSON strings: each is one, and that of a name in UTF-8 tells it. */
static void check_json(const char *name)
{
	char *json = NULL, *digits = NULL;
	size_t size = 0, digits_size = 0;
	FILE *out = open_memstream(&json, &size), *out_digits = open_memstream(&digits, &digits_size);

	fuzz_check(out && out_digits);
	text_json(out, name);
	text_json_hex(out_digits, name);
	fclose(out);
	fclose(out_digits);
	fuzz_check(json[0] == '"' && json[size - 1] == '"' && strlen(json) == size && text_is_utf8(json));
	for (size_t i = 1; i < size - 1; i++) {
		fuzz_check((unsigned char)json[i] >= 0x20 && json[i] != 0x7f && json[i] != '"');
		if (json[i] == '\\') {
			fuzz_check(strchr("\"\\u", json[i + 1]) && i + 2 < size);
			i += json[i + 1] == 'u' ? 5 : 1;
			fuzz_check(i < size - 1);
		}
	}
	fuzz_check(digits_size == 2 * strlen(name) + 2);
	for (size_t i = 0; i < strlen(name); i++)
		fuzz_check((unsigned char)name[i] == hex(digits[1 + 2 * i]) * 16 + hex(digits[2 + 2 * i]));
	free(json);
	free(digits);
}

/* ---- the mount ---- */

/* Whether a directory of the mount can have it; as a file in a directory that is a lock it comes back in the record. */
static void check_child(const char *name)
{
	struct record record = {.mode = S_IFDIR | 0755, .inode = 3, .links = 2}, read;
	struct record_child *child = record_add(&record, name);
	bool possible = name[0] && strlen(name) <= RECORD_NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	                strcmp(name, "..") != 0;
	void *bytes;
	size_t size;

	fuzz_check(possible == (record_name_error(name) == 0) && possible == (child != NULL));
	if (child) {
		child->mode = S_IFREG | 0600;
		child->inode = 4;
		fuzz_check(record_encode(&record, &bytes, &size) == 0);
		fuzz_check(record_decode(&read, bytes, size) == 0);
		fuzz_check(read.child_count == 1 && strcmp(read.children[0].name, name) == 0);
		record_clear(&read);
		free(bytes);
	}
	record_clear(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};
	char *prefix = fuzz_until(&input, "\n", NULL), *name = fuzz_some(&input, 1100, NULL), *key;

	if (strlen(prefix) > 256) /* no configuration has a longer one */
		prefix[256] = '\0';
	if (strncmp(prefix, "dlock!", 6) != 0 && check_name(name, prefix)) {
		fuzz_check(asprintf(&key, "%s%s", prefix, name) > 0);
		come_back(name, prefix, NULL);
		come_back(name, prefix, key);
		find_again(name, prefix);
		free(key);
	}
	check_shown(name);
	check_json(name);
	check_child(name);
	free(prefix);
	free(name);
	return 0;
}
