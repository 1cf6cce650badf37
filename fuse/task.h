/*
 * task.h - one request of the kernel that is answered later.
 *
 * Owns: the request until it is answered, and what is remembered for that.
 */
#ifndef DLOCKFS_TASK_H
#define DLOCKFS_TASK_H

#include "nodes.h"

struct task {
	struct daemon *daemon;
	fuse_req_t request;
	struct node *node, *parent; /* used by the task, or NULL */
	char *name, *other;         /* copies, or NULL */
	struct fuse_file_info fi;
	bool creates;               /* the answer opens the file as well */
	unsigned flags;
	size_t size;
	off_t offset;
};

/* NULL: it was answered with ENOMEM. What is given is used and copied. */
struct task *task_new(fuse_req_t request, struct node *node, struct node *parent, const char *name);
/* It must have been answered. */
void task_free(struct task *task);

/* Who asks. */
static inline pid_t task_thread(const struct task *task)
{
	return fuse_req_ctx(task->request)->pid;
}

/* Answers with an errno (0: well), and frees the task; fits done_fn. */
void task_end(void *task, int error);
/* Answers with an entry, and frees the task. */
void task_end_entry(struct task *task, struct node *node);
void task_end_attr(struct task *task, const struct node *node);

/* Without a task. */
void reply_entry(fuse_req_t request, struct node *node);
void reply_attr(fuse_req_t request, const struct node *node);

#endif
