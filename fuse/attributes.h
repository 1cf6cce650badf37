/*
 * attributes.h - the requests about what a name is, not what is in it.
 */
#ifndef DLOCKFS_ATTRIBUTES_H
#define DLOCKFS_ATTRIBUTES_H

#include "serve.h"

void attributes_get(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi);
void attributes_set(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void attributes_readlink(fuse_req_t request, fuse_ino_t ino);
void attributes_get_extended(fuse_req_t request, fuse_ino_t ino, const char *name, size_t size);
void attributes_list_extended(fuse_req_t request, fuse_ino_t ino, size_t size);
void attributes_statfs(fuse_req_t request, fuse_ino_t ino);

#endif
