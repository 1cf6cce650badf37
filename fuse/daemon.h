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

struct options;
struct daemon;

/* The signals that daemon_serve() answers; before the first thread. */
void daemon_block_signals(void);

/* Everything but the mount itself. The options must live as long as the daemon. NULL: it was told to the log. */
struct daemon *daemon_new(struct options *options);

/* 0 or -1: told to the log, or by libfuse on standard error. */
int daemon_mount(struct daemon *daemon);

/* Serves until a signal (TERM, INT) or the unmounting ends it; then gives every lock back and unmounts. HUP reads the
 * configuration again. Returns 0; or -errno after a fatal error, when the mount must be left dead (never unmounted),
 * since the directory underneath would grant what the fleet does not. */
int daemon_serve(struct daemon *daemon);

void daemon_free(struct daemon *daemon);

#endif
