/*
 * listing.h - what is in a directory.
 *
 * In the root: the names of this mount, and whatever the masters tell that the
 * others hold. A directory is told as it was when it was read from the start.
 */
#ifndef DLOCKFS_LISTING_H
#define DLOCKFS_LISTING_H

#include "nodes.h"

struct handle;

void listing_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);
void listing_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void listing_release(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);

/* What a handle holds of a directory. */
void listing_free(struct handle *handle);

#endif
