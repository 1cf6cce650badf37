/* record.c - see record.h. */
#include "record.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC "dlf1"
#define CHILD_HEAD_SIZE 34

/* ---- memory ---- */

static void clear_child(struct record_child *child)
{
	free(child->name);
	free(child->content);
}

void record_clear(struct record *record)
{
	for (size_t i = 0; i < record->child_count; i++)
		clear_child(&record->children[i]);
	free(record->children);
	free(record->content);
	memset(record, 0, sizeof(*record));
}

static int replace(char **content, size_t *content_size, const void *bytes, size_t size)
{
	char *copy = NULL;

	if (size > RECORD_CONTENT_MAX)
		return -EFBIG;
	if (size > 0) {
		copy = malloc(size);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, bytes, size);
	}
	free(*content);
	*content = copy;
	*content_size = size;
	return 0;
}

int record_set_content(struct record *record, const void *content, size_t size)
{
	return replace(&record->content, &record->content_size, content, size);
}

int record_set_child_content(struct record_child *child, const void *content, size_t size)
{
	return replace(&child->content, &child->content_size, content, size);
}

static int copy_child(struct record_child *ret, const struct record_child *child)
{
	*ret = *child;
	ret->content = NULL;
	ret->content_size = 0;
	ret->name = strdup(child->name);
	if (!ret->name)
		return -ENOMEM;
	return record_set_child_content(ret, child->content, child->content_size);
}

int record_copy(struct record *ret, const struct record *record)
{
	int error;

	*ret = *record;
	ret->content = NULL;
	ret->content_size = ret->child_count = 0;
	ret->children = NULL;
	error = record_set_content(ret, record->content, record->content_size);
	if (!error && record->child_count > 0) {
		ret->children = calloc(record->child_count, sizeof(*ret->children));
		error = ret->children ? 0 : -ENOMEM;
	}
	/* Counted before it is whole, so that record_clear() finds what there is of it. */
	for (size_t i = 0; !error && i < record->child_count; i++) {
		ret->child_count = i + 1;
		error = copy_child(&ret->children[i], &record->children[i]);
	}
	if (error)
		record_clear(ret);
	return error;
}

/* ---- children ---- */

/* The place of `name` among the children, or where it belongs. */
static size_t place_of(const struct record *record, const char *name, bool *ret_found)
{
	size_t low = 0, high = record->child_count;

	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(record->children[middle].name, name);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct record_child *record_find(const struct record *record, const char *name)
{
	bool found;
	size_t place = place_of(record, name, &found);

	return found ? &record->children[place] : NULL;
}

int record_name_error(const char *name)
{
	if (strlen(name) > RECORD_NAME_MAX)
		return ENAMETOOLONG;
	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
		return EINVAL;
	return 0;
}

struct record_child *record_add(struct record *record, const char *name)
{
	bool found;
	size_t place = place_of(record, name, &found);
	struct record_child *children;
	char *copy;

	errno = found ? EEXIST : record_name_error(name);
	if (errno)
		return NULL;
	if (record->child_count == RECORD_CHILDREN_MAX) {
		errno = ENOSPC;
		return NULL;
	}
	copy = strdup(name);
	children = copy ? realloc(record->children, (record->child_count + 1) * sizeof(*children)) : NULL;
	if (!children) {
		free(copy);
		errno = ENOMEM;
		return NULL;
	}
	record->children = children;
	memmove(&children[place + 1], &children[place], (record->child_count - place) * sizeof(*children));
	record->child_count++;
	memset(&children[place], 0, sizeof(*children));
	children[place].name = copy;
	return &children[place];
}

static void take_out(struct record *record, size_t place)
{
	record->child_count--;
	memmove(&record->children[place], &record->children[place + 1],
	        (record->child_count - place) * sizeof(*record->children));
}

int record_remove(struct record *record, const char *name)
{
	bool found;
	size_t place = place_of(record, name, &found);

	if (!found)
		return -ENOENT;
	clear_child(&record->children[place]);
	take_out(record, place);
	return 0;
}

int record_rename(struct record *record, const char *from, const char *to)
{
	struct record_child *child = record_find(record, from), moved;
	bool found;
	size_t place;
	char *name;

	if (!child)
		return -ENOENT;
	if (record_name_error(to))
		return -record_name_error(to);
	if (strcmp(from, to) == 0)
		return 0;
	name = strdup(to);
	if (!name)
		return -ENOMEM;
	moved = *child;
	free(moved.name);
	moved.name = name;
	take_out(record, (size_t)(child - record->children));
	(void)record_remove(record, to); /* often there is none */
	place = place_of(record, to, &found);
	memmove(&record->children[place + 1], &record->children[place],
	        (record->child_count - place) * sizeof(*record->children));
	record->children[place] = moved;
	record->child_count++;
	return 0;
}

/* ---- bytes ---- */

static char *put(char *out, uint64_t number, size_t size)
{
	for (size_t i = 0; i < size; i++)
		*out++ = (char)(number >> (8 * i) & 0xff);
	return out;
}

static char *put_bytes(char *out, const char *bytes, size_t size)
{
	if (size > 0)
		memcpy(out, bytes, size);
	return out + size;
}

static char *put_child(char *out, const struct record_child *child)
{
	size_t name_size = strlen(child->name);

	out = put(out, child->inode, 8);
	out = put(out, (uint64_t)child->modified_ns, 8);
	out = put(out, child->mode, 4);
	out = put(out, child->content_size, 2);
	out = put(out, 0, 2);
	out = put(out, child->uid, 4);
	out = put(out, child->gid, 4);
	out = put(out, name_size, 2);
	out = put_bytes(out, child->name, name_size);
	return put_bytes(out, child->content, child->content_size);
}

int record_encode(const struct record *record, void **ret_bytes, size_t *ret_size)
{
	size_t size = RECORD_HEAD_SIZE + record->content_size;
	char *bytes, *out;

	for (size_t i = 0; i < record->child_count; i++)
		size += CHILD_HEAD_SIZE + strlen(record->children[i].name) + record->children[i].content_size;
	bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	out = put_bytes(bytes, MAGIC, 4);
	out = put(out, record->links, 4);
	out = put(out, record->inode, 8);
	out = put(out, (uint64_t)record->made_ns, 8);
	out = put(out, (uint64_t)record->modified_ns, 8);
	out = put(out, (uint64_t)record->lease_ms, 8);
	out = put(out, record->mode, 4);
	out = put(out, record->uid, 4);
	out = put(out, record->gid, 4);
	out = put(out, (uint32_t)record->pid, 4);
	out = put(out, record->content_size, 4);
	out = put(out, record->child_count, 4);
	out = put_bytes(out, record->content, record->content_size);
	for (size_t i = 0; i < record->child_count; i++)
		out = put_child(out, &record->children[i]);
	*ret_bytes = bytes;
	*ret_size = size;
	return 0;
}

/* What is left to read. Once too little was there it stays so. */
struct input {
	const unsigned char *bytes;
	size_t left;
	bool short_of;
};

static uint64_t get(struct input *in, size_t size)
{
	uint64_t number = 0;

	if (in->left < size) {
		in->short_of = true;
		in->left = 0;
		return 0;
	}
	for (size_t i = 0; i < size; i++)
		number |= (uint64_t)in->bytes[i] << (8 * i);
	in->bytes += size;
	in->left -= size;
	return number;
}

static const void *get_bytes(struct input *in, size_t size)
{
	const void *bytes = in->bytes;

	if (in->left < size) {
		in->short_of = true;
		in->left = 0;
		return NULL;
	}
	in->bytes += size;
	in->left -= size;
	return bytes;
}

static bool is_inode(uint64_t inode)
{
	return inode > 0 && inode <= INT64_MAX;
}

static bool is_name_mode(mode_t mode)
{
	mode_t type = mode & S_IFMT;

	return (mode & ~(mode_t)(S_IFMT | 07777)) == 0 &&
	       (type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO || type == S_IFSOCK);
}

/* What only some types have. */
static bool fits_type(const struct record *record, size_t content_size, size_t child_count)
{
	if (content_size > RECORD_CONTENT_MAX || child_count > RECORD_CHILDREN_MAX)
		return false;
	if (child_count > 0 && !S_ISDIR(record->mode))
		return false;
	return content_size == 0 || S_ISREG(record->mode) || S_ISLNK(record->mode);
}

/* The head; the sizes that follow from it go to the last two. */
static int get_head(struct record *record, struct input *in, size_t *ret_content_size, size_t *ret_child_count)
{
	const void *magic = get_bytes(in, 4);

	memset(record, 0, sizeof(*record));
	if (!magic || memcmp(magic, MAGIC, 4) != 0)
		return -EPROTO;
	record->links = (uint32_t)get(in, 4);
	record->inode = get(in, 8);
	record->made_ns = (int64_t)get(in, 8);
	record->modified_ns = (int64_t)get(in, 8);
	record->lease_ms = (int64_t)get(in, 8);
	record->mode = (mode_t)get(in, 4);
	record->uid = (uid_t)get(in, 4);
	record->gid = (gid_t)get(in, 4);
	record->pid = (pid_t)get(in, 4);
	*ret_content_size = get(in, 4);
	*ret_child_count = get(in, 4);
	if (in->short_of || !is_inode(record->inode) || !is_name_mode(record->mode) || record->links == 0 ||
	    record->lease_ms < 0 || record->pid < 0 || !fits_type(record, *ret_content_size, *ret_child_count))
		return -EPROTO;
	return 0;
}

static int get_child(struct record *record, struct input *in)
{
	struct record_child head = {0}, *child;
	char name[RECORD_NAME_MAX + 1] = "";
	size_t content_size, name_size;
	const void *bytes;
	uint64_t nothing;

	head.inode = get(in, 8);
	head.modified_ns = (int64_t)get(in, 8);
	head.mode = (mode_t)get(in, 4);
	content_size = get(in, 2);
	nothing = get(in, 2);
	head.uid = (uid_t)get(in, 4);
	head.gid = (gid_t)get(in, 4);
	name_size = get(in, 2);
	if (in->short_of || nothing != 0 || !is_inode(head.inode) || !S_ISREG(head.mode) || !is_name_mode(head.mode) ||
	    name_size > RECORD_NAME_MAX)
		return -EPROTO;
	bytes = get_bytes(in, name_size);
	if (!bytes || memchr(bytes, '\0', name_size))
		return -EPROTO;
	memcpy(name, bytes, name_size);
	bytes = get_bytes(in, content_size);
	/* Sorted, as they were written: so none is there twice. */
	if (!bytes || (record->child_count > 0 &&
	               strcmp(record->children[record->child_count - 1].name, name) >= 0))
		return -EPROTO;
	child = record_add(record, name);
	if (!child)
		return errno == ENOMEM ? -ENOMEM : -EPROTO;
	head.name = child->name;
	*child = head;
	return record_set_child_content(child, bytes, content_size) == -ENOMEM ? -ENOMEM
	       : content_size > RECORD_CONTENT_MAX                            ? -EPROTO
	                                                                      : 0;
}

int record_decode(struct record *ret, const void *bytes, size_t size)
{
	struct input in = {.bytes = bytes, .left = size};
	size_t content_size = 0, child_count = 0;
	const void *content;
	int error = get_head(ret, &in, &content_size, &child_count);

	content = error ? NULL : get_bytes(&in, content_size);
	if (!error)
		error = content ? record_set_content(ret, content, content_size) : -EPROTO;
	for (size_t i = 0; !error && i < child_count; i++)
		error = get_child(ret, &in);
	if (!error && in.left > 0)
		error = -EPROTO;
	if (error)
		record_clear(ret);
	return error;
}

int record_decode_head(struct record *ret, const void *bytes, size_t size)
{
	struct input in = {.bytes = bytes, .left = size};
	size_t content_size, child_count;
	int error = get_head(ret, &in, &content_size, &child_count);

	if (error)
		memset(ret, 0, sizeof(*ret));
	return error;
}
