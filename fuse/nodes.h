/*
 * nodes.h - what the kernel knows by a number.
 *
 * Owns: every node, from the first look-up that answers with it until the kernel
 * has forgotten it and nothing else uses it. A node stands for one instance of a
 * lock: when a name is taken anew, it gets a new node, so that nothing that the
 * kernel remembers of the old holder is mistaken for the new one.
 *
 *   root     the mount point
 *   own      made on this mount: held under one or more names; or a scratch file;
 *            or a file inside a directory that is held; or nothing any more, but
 *            still open
 *   remote   made on another host; what is known is as old as the last answer
 */
#ifndef DLOCKFS_NODES_H
#define DLOCKFS_NODES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "record.h"
#include "serve.h"

enum node_kind { NODE_ROOT, NODE_OWN, NODE_REMOTE };

struct node {
	fuse_ino_t id;
	enum node_kind kind;
	uint64_t lookups;  /* the kernel's */
	unsigned uses;     /* handles, names, children, requests under way */
	struct fleet_file *locks; /* flock mode: those that are held or waited for; or NULL */
	struct record record; /* children are not kept here but as nodes */
	int64_t accessed_ns, changed_ns;

	/* own */
	struct name *names;     /* under which it is held or kept, or NULL */
	uint64_t last_name;     /* the hash of the last of them */
	uint64_t version;       /* grows with every change that other mounts must see */
	bool lost;              /* it was held, and the lease was lost */
	bool scratch;           /* a scratch file: the content stays on this mount */
	int scratch_fd;         /* that content; -1: none yet */
	size_t scratch_blocks;  /* bytes that count against the limit */
	struct node *parent;    /* the directory, for a file inside one */
	char *name;             /* there; for a remote node its name under its parent or in the root; for one of ours that
	                         * has no name any more the last */
	struct node **children; /* sorted by name */
	size_t child_count, child_size; /* how many, and room for how many */

	/* remote */
	char *owner;            /* whose lock it is, as the masters tell */
	int64_t renewed_ns;     /* when the holder has last renewed it */
	int64_t fresh_until_us; /* the next question for attributes is answered from what is known */
};

/* 0 or -errno. */
int nodes_open(struct daemon *daemon);
void nodes_close(struct daemon *daemon);

/* NULL: the kernel asks for what it was told to forget. */
struct node *nodes_find(struct daemon *daemon, fuse_ino_t id);

/* A node with one use, which is the caller's; NULL: out of memory. Owned by `uid`, `gid`, made now. */
struct node *node_new(struct daemon *daemon, mode_t mode, uid_t uid, gid_t gid, pid_t pid);
void node_use(struct node *node);
void node_drop(struct daemon *daemon, struct node *node);
/* The kernel forgets `count` look-ups. */
void node_forget(struct daemon *daemon, struct node *node, uint64_t count);

/* The node of what another host holds under `name` (in `parent`, or the root when that is NULL), with the record
 * taken over; it is made when there is none of this owner. Used once, for the caller. NULL: out of memory. */
struct node *node_remote(struct daemon *daemon, struct node *parent, const char *name, const char *owner,
                         struct record *record);

/* Files inside a directory of ours. Add: the child is used by its directory. 0, -ENOSPC, -EEXIST, -ENOMEM... */
struct node *node_child(const struct node *directory, const char *name);
int node_add_child(struct node *directory, struct node *child, const char *name);
void node_remove_child(struct daemon *daemon, struct node *child);
/* All of them: their directory has lost its lock (then they are lost, too), or given it back. */
void node_remove_children(struct daemon *daemon, struct node *directory);
int node_rename_child(struct daemon *daemon, struct node *child, const char *name);

/* The bytes that travel with the lock; to be freed. 0 or -ENOMEM. */
int node_encode(const struct node *node, int64_t lease_ms, void **ret_bytes, size_t *ret_size);

void node_stat(const struct node *node, struct stat *ret);
bool node_is_directory(const struct node *node);
/* Its content has changed now. */
void node_modified(struct node *node);

#endif
