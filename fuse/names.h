/*
 * names.h - the names that exist on this mount, and their locks.
 *
 * Owns: every name in the root that this mount made, with the descriptor of its
 * lock; what the masters have been told of it; and what becomes of it when the
 * lease is lost. A name is found here from the moment in which its lock is held
 * until it is given back or lost. (A scratch file's name has no lock.)
 * Must never: wait.
 */
#ifndef DLOCKFS_NAMES_H
#define DLOCKFS_NAMES_H

#include "nodes.h"

/* What the library is doing with the name's lock. */
enum name_call { NAME_QUIET, NAME_TAKING, NAME_TELLING, NAME_RELEASING };

struct name {
	struct source source; /* the lock's descriptor */
	struct daemon *daemon;
	char *text;
	int fd;               /* -1: a scratch file's */
	enum name_call call;
	struct node *node;
	struct name *next;    /* of the same node */
	uint64_t carried;     /* the version of the node on its way to the masters */
	uint64_t confirmed;   /* the version that a majority has */
	struct alarm alarm;   /* bounds taking and giving back */
	done_fn *done;
	void *arg;
	bool leaving;         /* to be given back, or that is under way */
	struct push *pushes;  /* who waits for a version to be confirmed */
};

/* NULL: this mount has no such name. */
struct name *names_find(struct daemon *daemon, const char *text);

/* Whether what the node is on this mount is still so, by the clock alone: a daemon that was stopped past its leases must
 * not answer what has queued up meanwhile as if nothing had happened. */
bool names_alive(struct node *node);

/* Takes the lock for `node`, whose record goes with it. `done`: 0; EEXIST: another holds it; ENOLCK: no quorum within
 * op_timeout, and nothing is left behind; or another errno. */
void names_take(struct daemon *daemon, const char *text, struct node *node, done_fn *done, void *arg);

/* A scratch file's name: it exists here only. 0 or -ENOMEM, -EEXIST. */
int names_keep(struct daemon *daemon, const char *text, struct node *node);

/* The name ceases to exist here at once. `done`: 0: a majority of the masters has it back; ENOLCK: that is not known
 * (they were not reached: it ends with its lease). The node has one link less. */
void names_give_back(struct name *name, done_fn *done, void *arg);

/* The name stands for another node from now on; its lock is kept. */
void names_replace(struct name *name, struct node *node);

/* `done` when all names of the node (or of the directory that it is in) carry what it is now: 0; ENOLCK: not known to a
 * majority within op_timeout (it goes on); EIO: the lease was lost. `done` may be NULL. */
void names_push(struct daemon *daemon, struct node *node, done_fn *done, void *arg);

/* The node has changed: the next push has something to tell. */
void names_changed(struct node *node);

/* Gives everything back; `moving` of the daemon counts what is not done yet. */
void names_give_all_back(struct daemon *daemon);

/* Frees what is left; their locks, if any, go with the process. */
void names_close(struct daemon *daemon);

#endif
