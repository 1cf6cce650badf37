/*
 * serve.h - what the parts of one mount share.
 *
 * Three layers, and calls go down only: the requests of the kernel (tree, file,
 * attributes, listing, locking), the things that live between requests (nodes,
 * names, looks, fleet), and the loop. Whatever takes time ends in a function that
 * was handed over; it may be called before the function that it was handed to has
 * returned.
 */
#ifndef DLOCKFS_SERVE_H
#define DLOCKFS_SERVE_H

#include <stddef.h>
#include <stdint.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <dlock.h>

#include "daemon.h"
#include "loop.h"
#include "options.h"

#define ABSENCE_CHAINS 1024

struct name;
struct look;
struct handle;
struct node;
struct fleets;
struct pending;

struct daemon {
	struct options *options;
	struct dlock_options *settings; /* resolved: what every lock is opened with */
	int64_t lease_ms;
	struct fuse_session *session;
	struct fuse_buf buffer; /* the request that is being read */
	struct loop loop;
	struct source requests, answers, signals;
	int signal_fd;
	int fatal; /* -errno: why it can't go on */
	bool mounted;

	struct dlock_looks *looks;
	struct look *looking; /* those under way */

	struct handle *handles; /* open files and directories */
	void *nodes;          /* tsearch(3), by id */
	struct node *root;
	fuse_ino_t last_node_id;
	void *names;          /* tsearch(3), by name */
	unsigned moving;      /* locks that are being taken or given back */
	bool closing;         /* the loop ends when none is */
	void *remote;         /* tsearch(3): nodes of other hosts' names, by parent and name */

	struct fleets *fleets;       /* flock mode; see fleet.h */
	struct pending *interrupted; /* requests for locks that the kernel wants back */
	size_t scratch_used;
	struct absences {
		struct absence *oldest, *newest;
		struct absence *chains[ABSENCE_CHAINS];
	} absences; /* see absences.h */
	struct refusal *refusals; /* see refusals.h */
	size_t refusal_count;
};

/* How an answer to somebody who waits ends. */
typedef void done_fn(void *arg, int error);

static inline struct daemon *serve_daemon(fuse_req_t request)
{
	return fuse_req_userdata(request);
}

/* One lock less is being taken or given back; at the end that is what the loop goes on for. */
static inline void serve_moved(struct daemon *daemon)
{
	daemon->moving--;
	if (daemon->closing && daemon->moving == 0)
		daemon->loop.over = true;
}

/* Nodes of the flock mode have another notion of what exists. */
static inline bool serve_flock_mode(const struct daemon *daemon)
{
	return daemon->options->flock_mode;
}

#endif
