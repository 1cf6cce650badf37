/*
 * fuzz_messages.c - bytes that another host has written: records of the mount, and tokens.
 *
 * (The descriptor of a lock carries no messages: the keeper never reads from its end, and
 * what it writes, one byte, says only "look again". So what travels between processes are
 * the record that a mount lets travel with its lock, and the value at a lock's key.)
 *
 * The first byte tells which reader gets the rest:
 *   r  a record, as record_decode() and record_decode_head() read it
 *   c  a record, a NUL, then changes to its children: a letter, a name, a NUL each
 *   t  a token;  h  the rest of one whose two numbers are good
 *   i  the identity of a process, for a token
 *
 * Besides crashes: a reader accepts exactly what the writer writes, so what was read and
 * is written again are the same bytes.
 */
#include "fuzz.h"

#include "fuse/record.h"
#include "libdlock/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- records ---- */

static void check_child(const struct record_child *child)
{
	fuzz_check(child->name && child->name[0] && strlen(child->name) <= RECORD_NAME_MAX);
	fuzz_check(!strchr(child->name, '/') && strcmp(child->name, ".") != 0 && strcmp(child->name, "..") != 0);
	fuzz_check(child->content_size <= RECORD_CONTENT_MAX);
	fuzz_check(child->content_size == 0 || child->content);
}

static void check_record(const struct record *record)
{
	fuzz_check(record->content_size <= RECORD_CONTENT_MAX);
	fuzz_check(record->content_size == 0 || record->content);
	fuzz_check(record->child_count <= RECORD_CHILDREN_MAX);
	for (size_t i = 0; i < record->child_count; i++) {
		check_child(&record->children[i]);
		if (i > 0)
			fuzz_check(strcmp(record->children[i - 1].name, record->children[i].name) < 0);
	}
}

static void check_written(const struct record *record, const void *expected, size_t expected_size)
{
	void *bytes;
	size_t size;

	fuzz_check(record_encode(record, &bytes, &size) == 0);
	fuzz_check(size == expected_size && memcmp(bytes, expected, size) == 0);
	free(bytes);
}

/* The head alone is believed in the same cases, apart from what comes behind it. */
static void check_head(const struct record *record, const void *bytes, size_t size)
{
	struct record head;
	int error = record_decode_head(&head, bytes, size < RECORD_HEAD_SIZE ? size : RECORD_HEAD_SIZE);

	fuzz_check(error == 0 || error == -EPROTO);
	fuzz_check(!head.content && !head.children);
	if (!record)
		return;
	fuzz_check(error == 0 && head.mode == record->mode && head.inode == record->inode &&
	           head.uid == record->uid && head.gid == record->gid && head.lease_ms == record->lease_ms);
}

static void read_record(const void *bytes, size_t size)
{
	struct record record, copy;
	int error = record_decode(&record, bytes, size);

	if (error) {
		fuzz_check(error == -EPROTO);
		fuzz_check(!record.content && !record.children && record.child_count == 0);
		check_head(NULL, bytes, size);
		return;
	}
	check_record(&record);
	check_head(&record, bytes, size);
	check_written(&record, bytes, size);
	fuzz_check(record_copy(&copy, &record) == 0);
	record_clear(&record);
	check_written(&copy, bytes, size);
	record_clear(&copy);
}

static void add_child(struct record *record, const char *name, uint8_t filling)
{
	struct record_child *child = record_add(record, name);
	char content[RECORD_CONTENT_MAX + 1];

	if (!child) {
		fuzz_check(errno == EEXIST || errno == ENOSPC || errno == ENAMETOOLONG || errno == EINVAL);
		return;
	}
	child->mode = S_IFREG | 0644;
	child->inode = 1 + (uint64_t)filling;
	memset(content, filling, sizeof(content));
	fuzz_check(record_set_child_content(child, content, (size_t)filling * filling % 5000) ==
	           ((size_t)filling * filling % 5000 > RECORD_CONTENT_MAX ? -EFBIG : 0));
	fuzz_check(record_find(record, name) == child);
}

/* What a mount does with its own record; the outcome must be readable everywhere. */
static void change_record(struct fuzz_input *input)
{
	struct record record = {.mode = S_IFDIR | 0755, .inode = 7, .links = 2, .pid = 1};
	void *bytes;
	size_t size;

	while (input->left > 0) {
		uint8_t change = fuzz_byte(input), filling = fuzz_byte(input);
		char *name = fuzz_until(input, "\n", NULL);
		char *to = change == 'm' ? fuzz_until(input, "\n", NULL) : NULL;

		if (change == 'm') {
			size_t count = record.child_count;
			int error = record_rename(&record, name, to);

			fuzz_check(error == 0 || error == -ENOENT || error == -EINVAL || error == -ENAMETOOLONG);
			fuzz_check(record.child_count <= count && (error || record_find(&record, to)));
		} else if (change == 'd') {
			int error = record_remove(&record, name);

			fuzz_check((error == 0 || error == -ENOENT) && !record_find(&record, name));
		} else {
			add_child(&record, name, filling);
		}
		free(name);
		free(to);
	}
	check_record(&record);
	fuzz_check(record_encode(&record, &bytes, &size) == 0);
	read_record(bytes, size);
	record_clear(&record);
	fuzz_check(record_decode(&record, bytes, size) == 0);
	record_clear(&record);
	free(bytes);
}

/* ---- tokens ---- */

static int digit(char byte)
{
	return byte <= '9' ? byte - '0' : byte - 'a' + 10;
}

static void read_token(const char *text, size_t length)
{
	char again[TOKEN_MAX], identity[TOKEN_MAX];
	uint8_t random[TOKEN_RANDOM];
	struct token_parts parts;

	if (!token_parse(text, length, &parts))
		return;
	fuzz_check(length < TOKEN_MAX && parts.pid > 0 && parts.pid <= INT32_MAX);
	fuzz_check(parts.host[0] && parts.program[0]);
	for (unsigned i = 0; i < TOKEN_RANDOM; i++)
		random[i] = (uint8_t)(digit(text[17 + 2 * i]) * 16 + digit(text[18 + 2 * i]));
	snprintf(identity, sizeof(identity), "%s/%lld/%s", parts.host, (long long)parts.pid, parts.program);
	fuzz_check(token_format(again, parts.ticket, random, identity) == 0);
	fuzz_check(strlen(again) == length && memcmp(again, text, length) == 0);
}

static void read_rest_of_token(const char *text, size_t length)
{
	char *token;
	int head = asprintf(&token, "00061f3c0a1b2c3d-0123456789abcdef0123456789abcdef-%s", text) - (int)strlen(text);

	fuzz_check(head == 50);
	/* What stands behind a NUL is not in it, and the NUL must not be read over. */
	read_token(token, 50 + (length > strlen(text) ? strlen(text) + 1 : length));
	free(token);
}

static void write_token(const char *identity)
{
	const uint8_t random[TOKEN_RANDOM] = {0, 255, 1};
	char token[TOKEN_MAX] = "untouched";

	if (token_format(token, UINT64_MAX, random, identity) == 0)
		fuzz_check(token_parse(token, strlen(token), NULL));
	else
		fuzz_check(strcmp(token, "untouched") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};
	uint8_t reader = fuzz_byte(&input);
	char *text;
	size_t length;

	if (reader == 'c') {
		change_record(&input);
		return 0;
	}
	text = fuzz_some(&input, SIZE_MAX, &length);
	/* In memory of exactly its size, so that a byte too far is seen. */
	if (reader == 'i') {
		write_token(text);
	} else if (reader == 'h') {
		read_rest_of_token(text, length);
	} else {
		char *exact = malloc(length + (length == 0));

		memcpy(exact, text, length);
		if (reader == 't')
			read_token(exact, length);
		else
			read_record(exact, length);
		free(exact);
	}
	free(text);
	return 0;
}
