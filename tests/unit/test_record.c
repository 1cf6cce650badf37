/* test_record.c - what a name in the mount carries, and the bytes in which it travels. */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/record.h"

static struct record plain(void)
{
	struct record record = {.mode = S_IFREG | 0644, .uid = 1000, .gid = 100, .links = 1, .inode = INT64_MAX,
	                        .made_ns = 1700000000123456789, .modified_ns = -1, .lease_ms = 10000, .pid = 4711};

	cr_assert_eq(record_set_content(&record, "12345\n", 6), 0);
	return record;
}

static struct record directory(void)
{
	struct record record = plain();
	struct record_child *child;

	cr_assert_eq(record_set_content(&record, NULL, 0), 0);
	record.mode = S_IFDIR | S_ISGID | 0755;
	child = record_add(&record, "pid");
	cr_assert_not_null(child);
	child->inode = 7;
	child->mode = S_IFREG | 0600;
	child->uid = 1;
	child->gid = 2;
	child->modified_ns = 99;
	cr_assert_eq(record_set_child_content(child, "42", 2), 0);
	child = record_add(&record, "host");
	cr_assert_not_null(child);
	child->inode = 8;
	child->mode = S_IFREG | 0644;
	return record;
}

static bool same_bytes(const char *a, size_t a_size, const char *b, size_t b_size)
{
	return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static void expect_same(const struct record *a, const struct record *b)
{
	cr_assert_eq(a->mode, b->mode);
	cr_assert_eq(a->uid, b->uid);
	cr_assert_eq(a->gid, b->gid);
	cr_assert_eq(a->links, b->links);
	cr_assert_eq(a->inode, b->inode);
	cr_assert_eq(a->made_ns, b->made_ns);
	cr_assert_eq(a->modified_ns, b->modified_ns);
	cr_assert_eq(a->lease_ms, b->lease_ms);
	cr_assert_eq(a->pid, b->pid);
	cr_assert(same_bytes(a->content, a->content_size, b->content, b->content_size));
	cr_assert_eq(a->child_count, b->child_count);
	for (size_t i = 0; i < a->child_count; i++) {
		const struct record_child *x = &a->children[i], *y = &b->children[i];

		cr_assert_str_eq(x->name, y->name);
		cr_assert_eq(x->inode, y->inode);
		cr_assert_eq(x->mode, y->mode);
		cr_assert_eq(x->uid, y->uid);
		cr_assert_eq(x->gid, y->gid);
		cr_assert_eq(x->modified_ns, y->modified_ns);
		cr_assert(same_bytes(x->content, x->content_size, y->content, y->content_size));
	}
}

static void expect_round_trip(struct record *record)
{
	struct record read, copy;
	void *bytes;
	size_t size;

	cr_assert_eq(record_encode(record, &bytes, &size), 0);
	cr_assert_eq(record_decode(&read, bytes, size), 0);
	expect_same(record, &read);
	cr_assert_eq(record_copy(&copy, record), 0);
	expect_same(record, &copy);
	record_clear(&read);
	record_clear(&copy);
	record_clear(record);
	cr_assert_null(record->children);
	free(bytes);
}

Test(record, a_file_comes_back_as_it_went)
{
	struct record record = plain();

	expect_round_trip(&record);
}

Test(record, a_directory_brings_its_children)
{
	struct record record = directory();

	cr_assert_str_eq(record.children[0].name, "host");
	cr_assert_str_eq(record.children[1].name, "pid");
	expect_round_trip(&record);
}

Test(record, the_largest_comes_back)
{
	struct record record = directory();
	char content[RECORD_CONTENT_MAX], name[RECORD_NAME_MAX + 1];

	memset(content, '\n', sizeof(content));
	while (record.child_count < RECORD_CHILDREN_MAX) {
		struct record_child *child;

		memset(name, 'x', sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		snprintf(name, 8, "%07zu", record.child_count);
		name[7] = 'x';
		child = record_add(&record, name);
		cr_assert_not_null(child);
		child->inode = 1;
		child->mode = S_IFREG;
		cr_assert_eq(record_set_child_content(child, content, sizeof(content)), 0);
	}
	errno = 0;
	cr_assert_null(record_add(&record, "one more"));
	cr_assert_eq(errno, ENOSPC);
	cr_assert_eq(record_set_child_content(&record.children[0], content, sizeof(content) + 1), -EFBIG);
	cr_assert_eq(record.children[0].content_size, sizeof(content));
	expect_round_trip(&record);
}

Test(record, names_that_no_directory_can_hold_are_refused)
{
	struct record record = directory();
	char name[RECORD_NAME_MAX + 2];
	static const struct { const char *name; int error; } cases[] = {
	    {"", EINVAL}, {".", EINVAL}, {"..", EINVAL}, {"a/b", EINVAL}, {"/", EINVAL}, {"pid", EEXIST}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		errno = 0;
		cr_assert_null(record_add(&record, cases[i].name));
		cr_assert_eq(errno, cases[i].error, "'%s'", cases[i].name);
	}
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cr_assert_null(record_add(&record, name));
	cr_assert_eq(errno, ENAMETOOLONG);
	cr_assert_eq(record_rename(&record, "pid", name), -ENAMETOOLONG);
	cr_assert_eq(record.child_count, 2);
	name[RECORD_NAME_MAX] = '\0';
	cr_assert_not_null(record_add(&record, name));
	cr_assert_not_null(record_add(&record, "..."));
	record_clear(&record);
}

Test(record, children_are_found_renamed_and_removed)
{
	struct record record = directory();

	cr_assert_eq(record_find(&record, "pid")->inode, 7);
	cr_assert_null(record_find(&record, "pi"));
	cr_assert_eq(record_rename(&record, "pid", "a"), 0);
	cr_assert_eq(record.children[0].inode, 7);
	cr_assert_str_eq(record.children[0].name, "a");
	cr_assert_eq(record_rename(&record, "a", "zz"), 0);
	cr_assert_eq(record.children[1].inode, 7);
	cr_assert_eq(record_rename(&record, "zz", "zz"), 0);
	/* The one that had the name is replaced. */
	cr_assert_eq(record_rename(&record, "zz", "host"), 0);
	cr_assert_eq(record.child_count, 1);
	cr_assert_eq(record_find(&record, "host")->inode, 7);
	cr_assert(same_bytes(record.children[0].content, record.children[0].content_size, "42", 2));
	cr_assert_eq(record_rename(&record, "zz", "b"), -ENOENT);
	cr_assert_eq(record_remove(&record, "zz"), -ENOENT);
	cr_assert_eq(record_remove(&record, "host"), 0);
	cr_assert_eq(record.child_count, 0);
	record_clear(&record);
}

Test(record, the_head_is_enough_for_a_list)
{
	struct record record = directory(), head;
	void *bytes;
	size_t size;

	cr_assert_eq(record_encode(&record, &bytes, &size), 0);
	cr_assert_eq(record_decode_head(&head, bytes, RECORD_HEAD_SIZE), 0);
	cr_assert_eq(head.mode, record.mode);
	cr_assert_eq(head.inode, record.inode);
	cr_assert_eq(head.child_count, 0);
	cr_assert_eq(record_decode_head(&head, bytes, RECORD_HEAD_SIZE - 1), -EPROTO);
	cr_assert_eq(head.inode, 0);
	free(bytes);
	record_clear(&record);
}

/* An exact copy on the heap, so that the sanitizers and valgrind see a byte read beyond it. */
static int decode_exactly(const char *bytes, size_t size)
{
	char *copy = malloc(size ? size : 1);
	struct record read;
	int error;

	cr_assert_not_null(copy);
	memcpy(copy, bytes, size);
	error = record_decode(&read, copy, size);
	free(copy);
	if (error) {
		cr_assert_null(read.children);
		cr_assert_null(read.content);
	}
	record_clear(&read);
	return error;
}

Test(record, cut_anywhere_or_too_long_it_is_refused)
{
	struct record record = directory();
	void *bytes;
	char *longer;
	size_t size;

	cr_assert_eq(record_encode(&record, &bytes, &size), 0);
	for (size_t i = 0; i < size; i++)
		cr_assert_eq(decode_exactly(bytes, i), -EPROTO, "cut at %zu of %zu", i, size);
	cr_assert_eq(decode_exactly(bytes, size), 0);
	longer = calloc(1, size + 1);
	cr_assert_not_null(longer);
	memcpy(longer, bytes, size);
	cr_assert_eq(decode_exactly(longer, size + 1), -EPROTO);
	free(longer);
	free(bytes);
	record_clear(&record);
}

/* Writes `number` at `at` into the encoded `record` and says how that is read. */
static int decode_changed(struct record record, size_t at, uint64_t number, size_t width)
{
	void *bytes;
	size_t size;
	int error;

	cr_assert_eq(record_encode(&record, &bytes, &size), 0);
	for (size_t i = 0; i < width; i++)
		((char *)bytes)[at + i] = (char)(number >> (8 * i) & 0xff);
	error = decode_exactly(bytes, size);
	free(bytes);
	record_clear(&record);
	return error;
}

Test(record, numbers_out_of_range_are_refused)
{
	const size_t child = RECORD_HEAD_SIZE;

	cr_assert_eq(decode_changed(plain(), 3, '2', 1), -EPROTO, "another version");
	cr_assert_eq(decode_changed(plain(), 4, 0, 4), -EPROTO, "no link");
	cr_assert_eq(decode_changed(plain(), 8, 0, 8), -EPROTO, "inode 0");
	cr_assert_eq(decode_changed(plain(), 8, UINT64_MAX, 8), -EPROTO, "inode of 64 bits");
	cr_assert_eq(decode_changed(plain(), 32, UINT64_MAX, 8), -EPROTO, "negative lease");
	cr_assert_eq(decode_changed(plain(), 40, S_IFBLK | 0600, 4), -EPROTO, "a device");
	cr_assert_eq(decode_changed(plain(), 40, S_IFDIR | 0600, 4), -EPROTO, "a directory with content");
	cr_assert_eq(decode_changed(plain(), 40, 0x10000 | S_IFREG, 4), -EPROTO, "unknown bits");
	cr_assert_eq(decode_changed(plain(), 52, UINT32_MAX, 4), -EPROTO, "negative process");
	cr_assert_eq(decode_changed(plain(), 56, RECORD_CONTENT_MAX + 1, 4), -EPROTO, "content too large");
	cr_assert_eq(decode_changed(plain(), 60, 1, 4), -EPROTO, "a plain file with children");
	cr_assert_eq(decode_changed(directory(), 60, RECORD_CHILDREN_MAX + 1, 4), -EPROTO, "too many children");
	cr_assert_eq(decode_changed(directory(), child, 0, 8), -EPROTO, "child's inode 0");
	cr_assert_eq(decode_changed(directory(), child + 16, S_IFDIR | 0700, 4), -EPROTO, "child directory");
	cr_assert_eq(decode_changed(directory(), child + 22, 1, 2), -EPROTO, "reserved");
	cr_assert_eq(decode_changed(directory(), child + 34, 'z', 1), -EPROTO, "not sorted");
	cr_assert_eq(decode_changed(directory(), child + 35, '/', 1), -EPROTO, "a slash in a name");
	cr_assert_eq(decode_changed(directory(), child + 35, '\0', 1), -EPROTO, "a NUL in a name");
	cr_assert_eq(decode_changed(plain(), 0, 'd', 1), 0, "nothing was changed");
}

/* Whatever the bytes are, what is accepted is what would have been written. */
Test(record, random_changes_are_refused_or_read_as_they_stand)
{
	struct record record = directory(), read;
	void *bytes, *again;
	size_t size, again_size, accepted = 0;
	uint64_t state = 88172645463325252u;

	cr_assert_eq(record_encode(&record, &bytes, &size), 0);
	for (unsigned run = 0; run < 200000; run++) {
		size_t at;
		char before;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		at = (size_t)(state >> 8) % size;
		before = ((char *)bytes)[at];
		((char *)bytes)[at] = (char)(state & 0xff);
		if (record_decode(&read, bytes, size) == 0) {
			accepted++;
			cr_assert_eq(record_encode(&read, &again, &again_size), 0);
			cr_assert(same_bytes(again, again_size, bytes, size));
			free(again);
			record_clear(&read);
		}
		((char *)bytes)[at] = before;
	}
	cr_assert_gt(accepted, 1000);
	cr_assert_lt(accepted, 199000);
	free(bytes);
	record_clear(&record);
}
