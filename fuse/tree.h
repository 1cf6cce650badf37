/*
 * tree.h - the requests that make, find, move and remove names.
 *
 * A name in the root exists while its lock is held. In a directory that is held
 * there are plain files, which travel with the directory's lock.
 */
#ifndef DLOCKFS_TREE_H
#define DLOCKFS_TREE_H

#include "ask.h"
#include "nodes.h"

#define TREE_NAME_MAX 255

void tree_lookup(fuse_req_t request, fuse_ino_t parent, const char *name);
void tree_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void tree_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode);
void tree_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void tree_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name);
void tree_link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void tree_unlink(fuse_req_t request, fuse_ino_t parent, const char *name);
void tree_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name);
void tree_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                 unsigned flags);

/* Whether this mount shows it: locks without a record are no files in flock mode. */
bool tree_shows(const struct daemon *daemon, const struct found *found);

/* What a program holds that knows nothing of files looks like a file of root's; in flock mode fifos look
 * like plain files. */
void tree_complete(const struct daemon *daemon, struct found *found);

/* The node of what another host holds (used once, for the caller); takes the record out of `found`. NULL: no memory. */
struct node *tree_remote(struct daemon *daemon, struct found *found);
/* Asks for what is known of a remote node to be up to date; of others it always is. One whose holder is gone is, to who
 * has looked it up before, a file without a name, as on every file system. `done`: 0; ENOLCK: no quorum; ENOMEM. */
void tree_freshen(struct daemon *daemon, struct node *node, done_fn *done, void *arg);

#endif
