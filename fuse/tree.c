/* tree.c - see tree.h. */
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "absences.h"
#include "file.h"
#include "hash.h"
#include "names.h"
#include "refusals.h"
#include "task.h"

#define FRESH_US 5000 /* a stat(2) asks for the entry and at once for its attributes: the masters are asked once */

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1u
#endif

/* ---- common checks ---- */

/* The directory of a request, and whether its name is one; NULL: it was answered. */
static struct node *directory_of(fuse_req_t request, fuse_ino_t ino, const char *name)
{
	struct node *node = nodes_find(serve_daemon(request), ino);
	int error = 0;

	if (!node)
		error = ESTALE;
	else if (!node_is_directory(node))
		error = ENOTDIR;
	else if (strlen(name) > TREE_NAME_MAX)
		error = ENAMETOOLONG;
	if (!error) {
		(void)names_alive(node); /* else it is gone from here on */
		return node;
	}
	fuse_reply_err(request, error);
	return NULL;
}

/* A directory of ours whose lock was given back or lost has no files any more. */
static bool is_gone(const struct node *directory)
{
	return directory->kind == NODE_OWN && !directory->names;
}

/* ---- nodes of other hosts ---- */

bool tree_shows(const struct daemon *daemon, const struct found *found)
{
	return found && (found->has_record || !serve_flock_mode(daemon));
}

static uint64_t inode_of(const char *owner)
{
	uint64_t hash = hash_of(owner) & INT64_MAX;

	return hash > FUSE_ROOT_ID ? hash : FUSE_ROOT_ID + 1;
}

void tree_complete(const struct daemon *daemon, struct found *found)
{
	struct record *record = &found->record;

	if (found->has_record) {
		/* The open of a fifo would wait in the kernel: as a plain file it can be locked against whoever holds
		 * the name. */
		if (serve_flock_mode(daemon) && (S_ISFIFO(record->mode) || S_ISSOCK(record->mode)))
			record->mode = S_IFREG | (record->mode & 0666);
		return;
	}
	*record = (struct record){.mode = S_IFREG | 0644, .links = 1, .inode = inode_of(found->owner)};
	record->made_ns = record->modified_ns = loop_wall_ns();
}

static void mark_fresh(struct node *node, int64_t renewed_ns)
{
	node->renewed_ns = renewed_ns;
	node->fresh_until_us = loop_now_us() + FRESH_US;
}

struct node *tree_remote(struct daemon *daemon, struct found *found)
{
	int64_t renewed_ns = found_renewed_ns(found);
	struct node *node;

	tree_complete(daemon, found);
	node = node_remote(daemon, NULL, found->name, found->owner, &found->record);
	if (node)
		mark_fresh(node, renewed_ns);
	return node;
}

/* The node of a file inside a directory of another host. */
static struct node *remote_child(struct daemon *daemon, struct node *directory, struct record_child *child)
{
	struct record record = {
	    .mode = child->mode,
	    .uid = child->uid,
	    .gid = child->gid,
	    .links = 1,
	    .inode = child->inode,
	    .made_ns = child->modified_ns,
	    .modified_ns = child->modified_ns,
	    .content = child->content,
	    .content_size = child->content_size,
	};
	struct node *node;

	child->content = NULL;
	child->content_size = 0;
	node = node_remote(daemon, directory, child->name, directory->owner, &record);
	record_clear(&record);
	if (node)
		mark_fresh(node, child->modified_ns);
	return node;
}

/* Brings a remote node up to date with what was found of its name in the root: false: its holder is gone. */
static bool refresh(struct daemon *daemon, struct node *node, struct found *found)
{
	struct node *fresh = NULL;

	if (!tree_shows(daemon, found) || strcmp(found->owner, node->owner) != 0)
		return false;
	if (!node->parent) {
		fresh = tree_remote(daemon, found);
	} else {
		struct record_child *child = record_find(&found->record, node->name);

		if (child && child->inode == node->record.inode)
			fresh = remote_child(daemon, node->parent, child);
	}
	if (!fresh)
		return false;
	node_drop(daemon, fresh); /* it is the same node, unless it was found under another name meanwhile */
	return fresh == node;
}

struct freshening {
	struct daemon *daemon;
	struct node *node;
	done_fn *done;
	void *arg;
};

static void freshened(void *arg, int error, struct found *found, unsigned holders)
{
	struct freshening *freshening = arg;

	(void)holders;
	if (!error && !refresh(freshening->daemon, freshening->node, found))
		freshening->node->record.links = 0;
	freshening->done(freshening->arg, error);
	node_drop(freshening->daemon, freshening->node);
	free(freshening);
}

void tree_freshen(struct daemon *daemon, struct node *node, done_fn *done, void *arg)
{
	struct freshening *freshening;

	if (node->kind != NODE_REMOTE || loop_now_us() < node->fresh_until_us) {
		done(arg, 0);
		return;
	}
	freshening = malloc(sizeof(*freshening));
	if (!freshening) {
		done(arg, ENOMEM);
		return;
	}
	*freshening = (struct freshening){.daemon = daemon, .node = node, .done = done, .arg = arg};
	node_use(node);
	/* A file in a directory travels with the directory's lock. */
	ask_name(daemon, node->parent ? node->parent->name : node->name, freshened, freshening);
}

/* ---- look-up ---- */

/* The use of the node that tree_remote() and its like give ends here. */
static void end_remote(struct task *task, struct node *node)
{
	reply_entry(task->request, node);
	node_drop(task->daemon, node);
	task_free(task);
}

static void lookup_found(void *arg, int error, struct found *found, unsigned holders)
{
	struct task *task = arg;
	struct node *node;

	(void)holders;
	if (!error && !tree_shows(task->daemon, found))
		absences_told(task->daemon, task_thread(task), task->name, 0);
	else if (error)
		refusals_remember(task->daemon, task_thread(task), task->name);
	if (error || !tree_shows(task->daemon, found)) {
		task_end(task, error ? error : ENOENT);
		return;
	}
	node = tree_remote(task->daemon, found);
	if (!node) {
		task_end(task, ENOMEM);
		return;
	}
	absences_told(task->daemon, task_thread(task), task->name, node->record.inode);
	end_remote(task, node);
}

static void lookup_child_found(void *arg, int error, struct found *found, unsigned holders)
{
	struct task *task = arg;
	struct record_child *child = NULL;
	struct node *node;

	(void)holders;
	if (!error && found && found->has_record && strcmp(found->owner, task->parent->owner) == 0)
		child = record_find(&found->record, task->name);
	node = child ? remote_child(task->daemon, task->parent, child) : NULL;
	if (!node) {
		task_end(task, error ? error : child ? ENOMEM : ENOENT);
		return;
	}
	end_remote(task, node);
}

void tree_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *directory = directory_of(request, parent, name), *child;
	struct name *own;
	struct task *task;

	if (!directory)
		return;
	if (directory->kind == NODE_OWN) {
		child = is_gone(directory) ? NULL : node_child(directory, name);
		if (child)
			reply_entry(request, child);
		else
			fuse_reply_err(request, ENOENT);
		return;
	}
	own = directory->kind == NODE_ROOT ? names_find(daemon, name) : NULL;
	if (own) {
		absences_told(daemon, fuse_req_ctx(request)->pid, name, own->node->record.inode);
		reply_entry(request, own->node);
		return;
	}
	task = task_new(request, NULL, directory, name);
	if (!task)
		return;
	if (directory->kind == NODE_ROOT)
		ask_name(daemon, name, lookup_found, task);
	else
		ask_name(daemon, directory->name, lookup_child_found, task);
}

/* ---- making ---- */

/* As every file system does it: a directory with the set-group-ID bit gives its group away. */
static struct node *node_for(fuse_req_t request, const struct node *directory, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(request);
	gid_t gid = ctx->gid;

	if (directory->record.mode & S_ISGID) {
		gid = directory->record.gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	return node_new(serve_daemon(request), mode, ctx->uid, gid, ctx->pid);
}

/* What the thread was told before of that name is of no account any more. */
static void now_there(const struct task *task, const char *name)
{
	absences_made(task->daemon, task_thread(task), name);
	refusals_forget(task->daemon, task_thread(task), name);
}

static void made(void *arg, int error)
{
	struct task *task = arg;

	if (error && task->creates && refusals_concern(task->daemon, task->parent, task->fi.flags))
		refusals_remember(task->daemon, task_thread(task), task->name);
	if (error) {
		task_end(task, error);
		return;
	}
	now_there(task, task->name);
	task_end_entry(task, task->node);
}

/* In flock mode a file is a scratch file, unless it is made by a call that takes the name. */
static bool makes_scratch(const struct task *task)
{
	return serve_flock_mode(task->daemon) && task->creates && !(task->fi.flags & O_EXCL);
}

/* A file that the others could not be told of is not there. */
static void child_made(void *arg, int error)
{
	struct task *task = arg;

	if (error && task->node->parent) {
		node_remove_child(task->daemon, task->node);
		names_changed(task->parent);
	}
	made(task, error);
}

static void make_child(struct task *task)
{
	int error = EBUSY;

	if (task->parent->kind == NODE_OWN)
		error = is_gone(task->parent) ? ENOENT
		        : !S_ISREG(task->node->record.mode)
		            ? EPERM
		            : -node_add_child(task->parent, task->node, task->name);
	if (error) {
		task_end(task, error);
		return;
	}
	names_changed(task->node);
	names_push(task->daemon, task->node, child_made, task);
}

static void make_name(struct task *task)
{
	struct daemon *daemon = task->daemon;

	task->node->scratch = makes_scratch(task);
	if (task->parent->kind != NODE_ROOT)
		make_child(task);
	else if (names_find(daemon, task->name))
		made(task, EEXIST);
	else if (task->node->scratch)
		made(task, -names_keep(daemon, task->name, task->node));
	else
		names_take(daemon, task->name, task->node, made, task);
}

static struct task *new_name(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *directory = directory_of(request, parent, name), *node;
	struct task *task;

	if (!directory)
		return NULL;
	node = node_for(request, directory, mode);
	if (!node) {
		fuse_reply_err(request, ENOMEM);
		return NULL;
	}
	task = task_new(request, node, directory, name);
	node_drop(serve_daemon(request), node);
	return task;
}

void tree_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct task *task = new_name(request, parent, name, (mode & 07777) | S_IFREG);

	if (!task)
		return;
	task->creates = true;
	task->fi = *fi;
	make_name(task);
}

void tree_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct task *task = new_name(request, parent, name, (mode & 07777) | S_IFDIR);

	if (task)
		make_name(task);
}

void tree_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	struct task *task;

	(void)device;
	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode)) {
		fuse_reply_err(request, EPERM);
		return;
	}
	task = new_name(request, parent, name, mode);
	if (task)
		make_name(task);
}

void tree_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
	struct task *task = new_name(request, parent, name, S_IFLNK | 0777);
	int error;

	if (!task)
		return;
	error = record_set_content(&task->node->record, target, strlen(target));
	if (error)
		task_end(task, error == -EFBIG ? ENAMETOOLONG : -error);
	else
		make_name(task);
}

/* ---- link ---- */

static void linked(void *arg, int error)
{
	struct task *task = arg;

	if (error) {
		task->node->record.links--;
		names_changed(task->node);
		task_end(task, error);
		return;
	}
	now_there(task, task->name);
	names_push(task->daemon, task->node, NULL, NULL); /* the other names tell the new number of links as well */
	task_end_entry(task, task->node);
}

static int may_link(struct daemon *daemon, const struct node *node, const struct node *directory, const char *name)
{
	if (node->kind == NODE_REMOTE || directory->kind == NODE_REMOTE)
		return EBUSY;
	if (node_is_directory(node) || directory->kind != NODE_ROOT)
		return EPERM;
	if (node->parent)
		return EXDEV;
	if (!node->names)
		return ENOENT;
	return names_find(daemon, name) ? EEXIST : 0;
}

void tree_link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *directory = directory_of(request, parent, name), *node = nodes_find(daemon, ino);
	struct task *task;
	int error;

	if (!directory)
		return;
	error = node ? may_link(daemon, node, directory, name) : ESTALE;
	if (!error)
		error = -content_settle(daemon, node);
	if (error) {
		fuse_reply_err(request, error);
		return;
	}
	task = task_new(request, node, NULL, name);
	if (!task)
		return;
	node->record.links++;
	node->changed_ns = loop_wall_ns();
	names_changed(node);
	names_take(daemon, name, node, linked, task);
}

/* ---- removing ---- */

static void remove_found(void *arg, int error, struct found *found, unsigned holders)
{
	struct task *task = arg;

	(void)holders;
	/* Twice, where it knew an earlier holder's. */
	if (!error && (!tree_shows(task->daemon, found) || absences_hide(task->daemon, task_thread(task), task->name, 2)))
		error = ENOENT;
	task_end(task, error ? error : EBUSY);
}

/* 0 or an errno. */
static int may_remove(const struct node *node, bool directory)
{
	if (directory && !node_is_directory(node))
		return ENOTDIR;
	if (!directory && node_is_directory(node))
		return EISDIR;
	return node->child_count ? ENOTEMPTY : 0;
}

static void remove_child(struct task *task, bool directory)
{
	struct node *child;

	if (task->parent->kind == NODE_REMOTE) {
		task_end(task, EBUSY);
		return;
	}
	child = is_gone(task->parent) ? NULL : node_child(task->parent, task->name);
	if (!child || directory) {
		task_end(task, child ? ENOTDIR : ENOENT);
		return;
	}
	node_remove_child(task->daemon, child);
	names_changed(task->parent);
	names_push(task->daemon, task->parent, task_end, task);
}

static void remove_name(fuse_req_t request, fuse_ino_t parent, const char *name, bool directory)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *from = directory_of(request, parent, name);
	struct task *task = from ? task_new(request, NULL, from, name) : NULL;
	struct name *own;
	struct node *node;
	int error;

	if (!task)
		return;
	if (from->kind != NODE_ROOT) {
		remove_child(task, directory);
		return;
	}
	own = names_find(daemon, name);
	if (!own) {
		ask_name(daemon, name, remove_found, task);
		return;
	}
	error = own->fd >= 0 && absences_hide(daemon, task_thread(task), name, 1) ? ENOENT : may_remove(own->node, directory);
	if (error) {
		task_end(task, error);
		return;
	}
	node = own->node;
	node_use(node);
	names_give_back(own, task_end, task);
	if (node->names)
		names_push(daemon, node, NULL, NULL); /* its other names tell the new number of links */
	node_drop(daemon, node);
}

void tree_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	remove_name(request, parent, name, false);
}

void tree_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	remove_name(request, parent, name, true);
}

/* ---- rename ---- */

/* The new name is there: the old one goes. */
static void rename_old(void *arg, int error)
{
	struct task *task = arg;
	struct name *old = names_find(task->daemon, task->name);

	/* It may have been lost meanwhile, or be another file's. */
	if (error || !old || old->node != task->node) {
		task_end(task, error);
		return;
	}
	now_there(task, task->other);
	task->node->record.links++; /* giving one back counts it */
	names_give_back(old, task_end, task);
}

static void rename_taken(void *arg, int error)
{
	struct task *task = arg;

	if (error == EEXIST && !(task->flags & RENAME_NOREPLACE))
		error = EBUSY;
	rename_old(task, error);
}

static void rename_scratch_found(void *arg, int error, struct found *found, unsigned holders)
{
	struct task *task = arg;

	(void)holders;
	if (!error && tree_shows(task->daemon, found))
		error = task->flags & RENAME_NOREPLACE ? EEXIST : EBUSY;
	if (!error)
		error = -names_keep(task->daemon, task->other, task->node);
	rename_old(task, error);
}

static int may_replace(const struct node *node, const struct node *old)
{
	if (node_is_directory(old) && !node_is_directory(node))
		return EISDIR;
	if (!node_is_directory(old) && node_is_directory(node))
		return ENOTDIR;
	return old->child_count ? ENOTEMPTY : 0;
}

/* Whether the node is locked by another name than that. */
static bool has_other_lock(const struct node *node, const struct name *but)
{
	const struct name *name = node->names;

	while (name && (name == but || name->fd < 0))
		name = name->next;
	return name != NULL;
}

static void rename_over(struct task *task, struct name *old, struct name *to)
{
	int error = task->flags & RENAME_NOREPLACE ? EEXIST : 0;

	if (!error && to->node == old->node) {
		task_end(task, 0); /* two names of one file: nothing happens, says POSIX */
		return;
	}
	if (!error)
		error = may_replace(task->node, to->node);
	if (!error && to->fd >= 0)
		error = -content_settle(task->daemon, task->node);
	if (error) {
		task_end(task, error);
		return;
	}
	names_replace(to, task->node);
	if (to->fd < 0 && !has_other_lock(task->node, old))
		error = -content_loosen(task->daemon, task->node);
	if (error) {
		task_end(task, error);
		return;
	}
	names_push(task->daemon, task->node, rename_old, task);
}

static void rename_root(struct task *task)
{
	struct name *old = names_find(task->daemon, task->name), *to = names_find(task->daemon, task->other);

	if (!old) {
		ask_name(task->daemon, task->name, remove_found, task);
		return;
	}
	task->node = old->node;
	node_use(task->node);
	if (to)
		rename_over(task, old, to);
	else if (old->fd < 0)
		ask_name(task->daemon, task->other, rename_scratch_found, task);
	else
		names_take(task->daemon, task->other, task->node, rename_taken, task);
}

static void rename_child(struct task *task)
{
	struct node *directory = task->parent;
	struct node *child = directory->kind == NODE_OWN && !is_gone(directory) ? node_child(directory, task->name) : NULL;
	struct node *old = child ? node_child(directory, task->other) : NULL;
	int error = directory->kind == NODE_REMOTE ? EBUSY : child ? 0 : ENOENT;

	if (!error && old && (task->flags & RENAME_NOREPLACE))
		error = EEXIST;
	if (!error && old && old->scratch)
		error = -content_loosen(task->daemon, child);
	if (!error && old != child)
		error = -node_rename_child(task->daemon, child, task->other);
	if (error) {
		task_end(task, error);
		return;
	}
	names_changed(directory);
	names_push(task->daemon, directory, task_end, task);
}

void tree_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                 unsigned flags)
{
	struct node *from = directory_of(request, parent, name);
	struct node *to = from ? directory_of(request, new_parent, new_name) : NULL;
	struct task *task;

	if (!to)
		return;
	if ((flags & ~RENAME_NOREPLACE) || from != to) {
		fuse_reply_err(request, from != to ? EXDEV : EINVAL);
		return;
	}
	task = task_new(request, NULL, from, name);
	if (!task)
		return;
	task->flags = flags;
	task->other = strdup(new_name);
	if (!task->other)
		task_end(task, ENOMEM);
	else if (from->kind == NODE_ROOT)
		rename_root(task);
	else
		rename_child(task);
}
