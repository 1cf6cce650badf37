/* attributes.c - see attributes.h. */
#include "attributes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "ask.h"
#include "file.h"
#include "names.h"
#include "refusals.h"
#include "task.h"
#include "tree.h"

/* ---- stat ---- */

/* The kernel asks for the permissions when it opens a file. */
static void refuse_attr(fuse_req_t request, const struct node *node, int error)
{
	refusals_remember_node(serve_daemon(request), fuse_req_ctx(request)->pid, node);
	fuse_reply_err(request, error);
}

static void get_fresh(void *arg, int error)
{
	struct task *task = arg;

	if (!error) {
		task_end_attr(task, task->node);
		return;
	}
	refuse_attr(task->request, task->node, error);
	task_free(task);
}

void attributes_get(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *node = nodes_find(daemon, ino);
	struct task *task;

	if (!node) {
		fuse_reply_err(request, ESTALE);
		return;
	}
	if (!names_alive(node) || (fi && handle_of(fi)->lost)) {
		refuse_attr(request, node, EIO);
		return;
	}
	if (node->kind != NODE_REMOTE) {
		reply_attr(request, node);
		return;
	}
	task = task_new(request, node, NULL, NULL);
	if (!task)
		return;
	tree_freshen(daemon, node, get_fresh, task);
}

/* ---- chmod, chown, truncate, utimens ---- */

static int64_t as_ns(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

/* 0 or an errno. */
static int may_set(struct daemon *daemon, fuse_req_t request, struct node *node, int to_set,
                   const struct fuse_file_info *fi)
{
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME) && !fi &&
	    refusals_take(daemon, fuse_req_ctx(request)->pid, node))
		return EEXIST;
	if (node->kind == NODE_REMOTE)
		return EBUSY;
	if (!names_alive(node) || (fi && handle_of(fi)->lost))
		return EIO;
	return 0;
}

static void set_times(struct node *node, const struct stat *attr, int to_set)
{
	int64_t now_ns = loop_wall_ns();

	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		node->record.modified_ns = now_ns;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		node->record.modified_ns = as_ns(&attr->st_mtim);
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		node->accessed_ns = now_ns;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		node->accessed_ns = as_ns(&attr->st_atim);
	node->changed_ns = now_ns;
}

static int set(struct daemon *daemon, struct node *node, const struct stat *attr, int to_set)
{
	if (to_set & FUSE_SET_ATTR_SIZE) {
		int error = content_truncate(daemon, node, attr->st_size);

		if (error)
			return -error;
	}
	if (to_set & FUSE_SET_ATTR_MODE)
		node->record.mode = (node->record.mode & S_IFMT) | (attr->st_mode & 07777);
	if (to_set & FUSE_SET_ATTR_UID)
		node->record.uid = attr->st_uid;
	if (to_set & FUSE_SET_ATTR_GID)
		node->record.gid = attr->st_gid;
	set_times(node, attr, to_set);
	names_changed(node);
	return 0;
}

static void told(void *arg, int error)
{
	struct task *task = arg;

	if (error)
		task_end(task, error);
	else
		task_end_attr(task, task->node);
}

void attributes_set(fuse_req_t request, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *node = nodes_find(daemon, ino);
	int error = node ? may_set(daemon, request, node, to_set, fi) : ESTALE;
	struct task *task;

	if (!error)
		error = set(daemon, node, attr, to_set);
	if (error) {
		fuse_reply_err(request, error);
		return;
	}
	task = task_new(request, node, NULL, NULL);
	if (task)
		names_push(daemon, node, told, task);
}

/* ---- symbolic links ---- */

static void link_fresh(void *arg, int error)
{
	struct task *task = arg;
	char target[RECORD_CONTENT_MAX + 1];
	const struct record *record = &task->node->record;

	if (error) {
		task_end(task, error);
		return;
	}
	memcpy(target, record->content ? record->content : "", record->content_size);
	target[record->content_size] = '\0';
	fuse_reply_readlink(task->request, target);
	task_free(task);
}

void attributes_readlink(fuse_req_t request, fuse_ino_t ino)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *node = nodes_find(daemon, ino);
	struct task *task;

	if (!node) {
		fuse_reply_err(request, ESTALE);
		return;
	}
	task = task_new(request, node, NULL, NULL);
	if (task)
		tree_freshen(daemon, node, link_fresh, task);
}

/* ---- extended attributes: what is known of the lock ---- */

static const char list[] = "user.dlock.token\0user.dlock.holder\0user.dlock.ttl_ms";

static void reply_bytes(fuse_req_t request, const char *bytes, size_t length, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(request, length);
	else if (size < length)
		fuse_reply_err(request, ERANGE);
	else
		fuse_reply_buf(request, bytes, length);
}

/* The name in the root whose lock the node has, or NULL. Of other types than these the kernel lets nobody read
 * attributes of users. */
static const char *lock_of(const struct node *node)
{
	if (node->parent || !(S_ISREG(node->record.mode) || S_ISDIR(node->record.mode)))
		return NULL;
	if (node->kind == NODE_REMOTE)
		return node->name;
	for (const struct name *name = node->names; name; name = name->next)
		if (name->fd >= 0)
			return name->text;
	return NULL;
}

static void extended_found(void *arg, int error, struct found *found, unsigned holders)
{
	struct task *task = arg;
	char text[32];
	const char *value = text;

	(void)holders;
	if (!error && !found)
		error = ENODATA;
	if (error) {
		task_end(task, error);
		return;
	}
	if (strcmp(task->name, "user.dlock.token") == 0)
		snprintf(text, sizeof(text), "%" PRIu64, found->token);
	else if (strcmp(task->name, "user.dlock.ttl_ms") == 0)
		snprintf(text, sizeof(text), "%" PRId64, found->ttl_ms);
	else
		value = found->holder;
	reply_bytes(task->request, value, strlen(value), task->size);
	task_free(task);
}

static bool is_known(const char *name)
{
	for (const char *known = list; known < list + sizeof(list); known += strlen(known) + 1)
		if (strcmp(known, name) == 0)
			return true;
	return false;
}

void attributes_get_extended(fuse_req_t request, fuse_ino_t ino, const char *name, size_t size)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *node = nodes_find(daemon, ino);
	const char *lock = node && is_known(name) ? lock_of(node) : NULL;
	struct task *task;

	if (!lock) {
		fuse_reply_err(request, node ? ENODATA : ESTALE);
		return;
	}
	task = task_new(request, node, NULL, name);
	if (!task)
		return;
	task->size = size;
	ask_name(daemon, lock, extended_found, task);
}

void attributes_list_extended(fuse_req_t request, fuse_ino_t ino, size_t size)
{
	struct node *node = nodes_find(serve_daemon(request), ino);

	if (!node)
		fuse_reply_err(request, ESTALE);
	else
		reply_bytes(request, list, lock_of(node) ? sizeof(list) : 0, size);
}

/* ---- statfs ---- */

void attributes_statfs(fuse_req_t request, fuse_ino_t ino)
{
	struct daemon *daemon = serve_daemon(request);
	size_t all = daemon->options->scratch_size, used = daemon->scratch_used < all ? daemon->scratch_used : all;
	struct statvfs stat = {
	    .f_bsize = 4096,
	    .f_frsize = 4096,
	    .f_blocks = all / 4096,
	    .f_bfree = (all - used) / 4096,
	    .f_bavail = (all - used) / 4096,
	    .f_files = 1 << 20, /* there is no limit of its own; programs take 0 for "full" */
	    .f_ffree = 1 << 20,
	    .f_favail = 1 << 20,
	    .f_namemax = TREE_NAME_MAX,
	};

	(void)ino;
	fuse_reply_statfs(request, &stat);
}
