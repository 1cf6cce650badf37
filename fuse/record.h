/*
 * record.h - what a name in the mount carries, besides being locked.
 *
 * Owns: the attributes, the content and the children of one name, and the bytes
 * in which they travel with the lock to every other mount.
 * Must never: do I/O, read a clock, or trust a byte that came from elsewhere.
 *
 * The bytes: a head of fixed size (so that a list of names needs no more than
 * the first RECORD_HEAD_SIZE bytes of each), the content, then the children one
 * after the other. All numbers are little-endian. A reader accepts exactly what
 * record_encode() writes: an unknown version, a number out of range, a name that
 * no directory could hold, one byte too few or too many is -EPROTO.
 *
 *   head   0  4  "dlf1"             40  4  permissions and type, as st_mode
 *          4  4  links              44  4  owner
 *          8  8  inode number       48  4  group
 *         16  8  made, ns           52  4  process that made it
 *         24  8  modified, ns       56  4  bytes of content
 *         32  8  lease, ms          60  4  children
 *   child  0  8  inode number       24  4  owner
 *          8  8  modified, ns       28  4  group
 *         16  4  permissions        32  2  bytes of the name
 *         20  2  bytes of content   34  .. name, content
 *         22  2  0
 */
#ifndef DLOCKFS_RECORD_H
#define DLOCKFS_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RECORD_HEAD_SIZE 64
#define RECORD_CONTENT_MAX 4096  /* bytes of a file or a symbolic link's target */
#define RECORD_CHILDREN_MAX 64
#define RECORD_NAME_MAX 255      /* bytes of a child's name */

/* A small plain file in a directory that is a lock. */
struct record_child {
	char *name;
	char *content; /* NULL when it has none */
	size_t content_size;
	mode_t mode;   /* type and permissions: always a plain file's */
	uid_t uid;
	gid_t gid;
	uint64_t inode;
	int64_t modified_ns;
};

struct record {
	mode_t mode;         /* type and permissions: a plain file, directory, symbolic link, fifo or socket */
	uid_t uid;
	gid_t gid;
	uint32_t links;
	uint64_t inode;      /* 1 to 2^63 - 1 */
	int64_t made_ns, modified_ns; /* since 1970 */
	int64_t lease_ms;    /* the whole lease, from which a reader tells the last renewal */
	pid_t pid;           /* of the process that made it, on its host */
	char *content;       /* NULL when it has none */
	size_t content_size;
	struct record_child *children; /* sorted by name; NULL when there are none */
	size_t child_count;
};

/* Gives everything in it back and leaves it empty. */
void record_clear(struct record *record);
/* A copy that shares nothing. 0 or -ENOMEM, then `ret` is empty. */
int record_copy(struct record *ret, const struct record *record);

/* Replaces the content, which is copied. 0, -EFBIG or -ENOMEM; then it is as it was. */
int record_set_content(struct record *record, const void *content, size_t size);
int record_set_child_content(struct record_child *child, const void *content, size_t size);

/* 0, or why no directory can hold the name: ENAMETOOLONG; EINVAL (empty, ".", "..", or with a slash). */
int record_name_error(const char *name);
/* NULL: there is none of that name. */
struct record_child *record_find(const struct record *record, const char *name);
/* A new child without content, the rest zero; pointers to other children end. NULL and errno: EEXIST, ENOSPC
 * (RECORD_CHILDREN_MAX), ENAMETOOLONG, EINVAL (empty, ".", "..", or with a slash), ENOMEM. */
struct record_child *record_add(struct record *record, const char *name);
/* 0 or -ENOENT. Pointers to other children end. */
int record_remove(struct record *record, const char *name);
/* Replaces a child that has the new name already. 0, -ENOENT, or as record_add() tells, negative. */
int record_rename(struct record *record, const char *from, const char *to);

/* The bytes, to be freed by the caller. 0 or -ENOMEM. */
int record_encode(const struct record *record, void **ret_bytes, size_t *ret_size);
/* 0, -EPROTO or -ENOMEM; on failure `ret` is empty. */
int record_decode(struct record *ret, const void *bytes, size_t size);
/* Only what is in the head, from the first bytes of a record; the content and the children are left out. */
int record_decode_head(struct record *ret, const void *bytes, size_t size);

#endif
