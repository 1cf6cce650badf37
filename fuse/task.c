/* task.c - see task.h. */
#include "task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"

#define ROOT_TIMEOUT_S 3600.0 /* only this mount changes the root's attributes, and the kernel sees it */

struct task *task_new(fuse_req_t request, struct node *node, struct node *parent, const char *name)
{
	struct task *task = calloc(1, sizeof(*task));

	if (task)
		task->name = name ? strdup(name) : NULL;
	if (!task || (name && !task->name)) {
		free(task);
		fuse_reply_err(request, ENOMEM);
		return NULL;
	}
	task->daemon = serve_daemon(request);
	task->request = request;
	task->node = node;
	task->parent = parent;
	if (node)
		node_use(node);
	if (parent)
		node_use(parent);
	return task;
}

void task_free(struct task *task)
{
	if (task->node)
		node_drop(task->daemon, task->node);
	if (task->parent)
		node_drop(task->daemon, task->parent);
	free(task->name);
	free(task->other);
	free(task);
}

void task_end(void *arg, int error)
{
	struct task *task = arg;

	fuse_reply_err(task->request, error);
	task_free(task);
}

static struct fuse_entry_param entry_of(struct node *node)
{
	/* No time-outs: another host may have changed it in the next moment. */
	struct fuse_entry_param entry = {.ino = node->id};

	node_stat(node, &entry.attr);
	node->lookups++;
	return entry;
}

void reply_entry(fuse_req_t request, struct node *node)
{
	struct daemon *daemon = serve_daemon(request);
	struct fuse_entry_param entry = entry_of(node);

	if (fuse_reply_entry(request, &entry) < 0)
		node_forget(daemon, node, 1);
}

void reply_attr(fuse_req_t request, const struct node *node)
{
	struct stat attr;

	node_stat(node, &attr);
	fuse_reply_attr(request, &attr, node->kind == NODE_ROOT ? ROOT_TIMEOUT_S : 0);
}

static void end_created(struct task *task, struct node *node)
{
	struct handle *handle = handle_new(node, task->request, &task->fi);
	struct fuse_entry_param entry;

	if (!handle) {
		fuse_reply_err(task->request, ENOMEM);
		return;
	}
	entry = entry_of(node);
	if (fuse_reply_create(task->request, &entry, &task->fi) < 0) {
		handle_free(task->daemon, handle);
		node_forget(task->daemon, node, 1);
	}
}

void task_end_entry(struct task *task, struct node *node)
{
	if (task->creates)
		end_created(task, node);
	else
		reply_entry(task->request, node);
	task_free(task);
}

void task_end_attr(struct task *task, const struct node *node)
{
	reply_attr(task->request, node);
	task_free(task);
}
