#ifndef DLOCKFS_LOCKING_H
#define DLOCKFS_LOCKING_H
#include "serve.h"
struct handle;
void locking_flock(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, int operation);
void locking_getlk(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void locking_setlk(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep);
void locking_drop_owner(struct daemon *daemon, struct node *node, uint64_t lock_owner);
void locking_drop_handle(struct daemon *daemon, struct handle *handle);
int locking_open(struct daemon *daemon);
void locking_close(struct daemon *daemon);
void locking_give_all_back(struct daemon *daemon);
void locking_interrupts(struct daemon *daemon);
#endif
