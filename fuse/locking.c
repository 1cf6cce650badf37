#include "locking.h"
#include <errno.h>
void locking_flock(fuse_req_t r, fuse_ino_t i, struct fuse_file_info *f, int o){(void)i;(void)f;(void)o;fuse_reply_err(r,ENOSYS);}
void locking_getlk(fuse_req_t r, fuse_ino_t i, struct fuse_file_info *f, struct flock*l){(void)i;(void)f;(void)l;fuse_reply_err(r,ENOSYS);}
void locking_setlk(fuse_req_t r, fuse_ino_t i, struct fuse_file_info *f, struct flock*l,int s){(void)i;(void)f;(void)l;(void)s;fuse_reply_err(r,ENOSYS);}
void locking_drop_owner(struct daemon *d, struct node*n, uint64_t o){(void)d;(void)n;(void)o;}
void locking_drop_handle(struct daemon *d, struct handle*h){(void)d;(void)h;}
int locking_open(struct daemon*d){(void)d;return 0;}
void locking_close(struct daemon*d){(void)d;}
void locking_give_all_back(struct daemon*d){(void)d;}
void locking_interrupts(struct daemon*d){(void)d;}
