/*
 * file.h - open files and directories, and what is in them.
 *
 * Owns: the handles that fuse_file_info carries, and the content of a node: in its
 * record where it travels with a lock, in a memfd where it is a scratch file's.
 */
#ifndef DLOCKFS_FILE_H
#define DLOCKFS_FILE_H

#include "listing.h"
#include "nodes.h"

struct handle {
	struct handle *next, **link; /* of all that are open */
	struct node *node;
	pid_t pid;            /* who opened it */
	bool lost;            /* flock mode: a lock that was taken through it was lost */
	uint64_t pid_since;   /* flock mode: tells that process from a later one of the same number */
	char *text;           /* remote: the content when it was opened */
	size_t text_size;
	struct listed *entries; /* a directory's, as they were when it was read from the start */
	size_t entry_count, entry_size;
};

static inline struct handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* A handle that uses the node; put into fi. NULL: out of memory. */
struct handle *handle_new(struct node *node, fuse_req_t request, struct fuse_file_info *fi);
void handle_free(struct daemon *daemon, struct handle *handle);
/* Those that the kernel has not closed at the end. */
void handles_close(struct daemon *daemon);

/* The content of a node of ours. 0 or -errno: EFBIG beyond what can travel, ENOSPC beyond what scratch files may use. */
int content_write(struct daemon *daemon, struct node *node, const char *bytes, size_t size, off_t offset);
int content_truncate(struct daemon *daemon, struct node *node, off_t size);
/* A scratch file becomes one that travels with a lock. */
int content_settle(struct daemon *daemon, struct node *node);
/* The reverse: it travels no more. */
int content_loosen(struct daemon *daemon, struct node *node);

void file_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);
void file_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void file_write(fuse_req_t request, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                struct fuse_file_info *fi);
void file_flush(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);
void file_release(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);
void file_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

#endif
