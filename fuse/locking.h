/*
 * locking.h - flock(2) and fcntl(2) on files: the requests, and what ends them.
 *
 * Owns: each of these requests from the moment it comes until it is answered, and
 * the answers to those that the kernel takes back.
 *
 * In create mode they are refused (ENOSYS): a lock that no other host sees must not
 * look like one.
 */
#ifndef DLOCKFS_LOCKING_H
#define DLOCKFS_LOCKING_H

#include "serve.h"

struct handle;

void locking_flock(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, int operation);
void locking_getlk(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void locking_setlk(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep);

/* A process closes one of its descriptors: its byte ranges in the file are gone, says POSIX. */
void locking_drop_owner(struct daemon *daemon, struct node *node, uint64_t lock_owner);
/* The last descriptor of an open file was closed: so is all that was locked through it. */
void locking_drop_handle(struct daemon *daemon, struct handle *handle);

/* 0 or -errno. */
int locking_open(struct daemon *daemon);
void locking_close(struct daemon *daemon);
/* Ends every request, and gives back what is held; `moving` of the daemon counts what is not done yet. */
void locking_give_all_back(struct daemon *daemon);
/* After the daemon's settings have changed. */
void locking_settings_changed(struct daemon *daemon);

/* Answers those requests that the kernel has taken back. After each that was processed, since within the library's
 * callback nothing may be answered. */
void locking_interrupts(struct daemon *daemon);

#endif
