/*
 * daemon.h - one mount being served.
 *
 * Owns: the event loop (the FUSE descriptor, the look-ups, the locks, the clock,
 * the signals) and everything that lives as long as the mount.
 * Must never: wait for anything but in its one epoll_wait(), start a thread, or
 * see the masters other than through <dlock.h>.
 */
#ifndef DLOCKFS_DAEMON_H
#define DLOCKFS_DAEMON_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

struct options;
struct daemon;

/* The kernel's requests; for fuse_session_new(), with the daemon as user data. */
extern const struct fuse_lowlevel_ops daemon_operations;

/* What needs neither a thread nor a descriptor, so that it may come before fuse_daemonize(). The options must live
 * as long as the daemon. NULL: out of memory. */
struct daemon *daemon_new(struct options *options);

/* Serves until a signal (TERM, INT) or the unmounting ends it; then gives every lock back. HUP reads the
 * configuration again. Returns 0; or -errno after a fatal error, when the mount must be left dead (never unmounted),
 * since the directory underneath would grant what the fleet does not. */
int daemon_serve(struct daemon *daemon, struct fuse_session *session);

void daemon_free(struct daemon *daemon);

#endif
