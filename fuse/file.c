/* file.c - see file.h. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "locking.h"
#include "names.h"
#include "refusals.h"
#include "task.h"
#include "tree.h"

/* ---- handles ---- */

static void link_handle(struct daemon *daemon, struct handle *handle)
{
	handle->next = daemon->handles;
	handle->link = &daemon->handles;
	if (handle->next)
		handle->next->link = &handle->next;
	daemon->handles = handle;
}

static void unlink_handle(struct handle *handle)
{
	*handle->link = handle->next;
	if (handle->next)
		handle->next->link = handle->link;
}

struct handle *handle_new(struct node *node, fuse_req_t request, struct fuse_file_info *fi)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle)
		return NULL;
	handle->node = node;
	link_handle(serve_daemon(request), handle);
	handle->pid = fuse_req_ctx(request)->pid;
	node_use(node);
	fi->fh = (uint64_t)(uintptr_t)handle;
	/* What another host writes does not come through this kernel, which must not keep it. */
	fi->direct_io = node->kind == NODE_REMOTE;
	return handle;
}

void handle_free(struct daemon *daemon, struct handle *handle)
{
	unlink_handle(handle);
	node_drop(daemon, handle->node);
	free(handle->text);
	listing_free(handle);
	free(handle);
}

void handles_close(struct daemon *daemon)
{
	while (daemon->handles)
		handle_free(daemon, daemon->handles);
}

/* ---- content ---- */

/* Counts what a scratch file uses now. */
static void count_scratch(struct daemon *daemon, struct node *node)
{
	struct stat stat;

	if (node->scratch_fd < 0 || fstat(node->scratch_fd, &stat) < 0)
		return;
	daemon->scratch_used -= node->scratch_blocks;
	node->scratch_blocks = (size_t)stat.st_blocks * 512;
	daemon->scratch_used += node->scratch_blocks;
}

static int scratch_file(struct node *node)
{
	if (node->scratch_fd < 0)
		node->scratch_fd = memfd_create("dlockfs", MFD_CLOEXEC);
	return node->scratch_fd < 0 ? -errno : 0;
}

static int scratch_write(struct daemon *daemon, struct node *node, const char *bytes, size_t size, off_t offset)
{
	int error = scratch_file(node);
	size_t done = 0;

	if (error)
		return error;
	if (daemon->scratch_used + size > daemon->options->scratch_size)
		return -ENOSPC;
	while (done < size) {
		ssize_t count = pwrite(node->scratch_fd, bytes + done, size - done, offset + (off_t)done);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		done += (size_t)count;
	}
	count_scratch(daemon, node);
	return 0;
}

static int scratch_truncate(struct daemon *daemon, struct node *node, off_t size)
{
	int error = size > 0 ? scratch_file(node) : 0;

	if (!error && node->scratch_fd >= 0 && ftruncate(node->scratch_fd, size) < 0)
		error = -errno;
	count_scratch(daemon, node);
	return error;
}

/* The content in the record, made as long as that. */
static int record_resize(struct record *record, size_t size)
{
	char *content;

	if (size > RECORD_CONTENT_MAX)
		return -EFBIG;
	if (size == record->content_size)
		return 0;
	if (size == 0)
		return record_set_content(record, NULL, 0);
	content = realloc(record->content, size);
	if (!content)
		return -ENOMEM;
	if (size > record->content_size)
		memset(content + record->content_size, 0, size - record->content_size);
	record->content = content;
	record->content_size = size;
	return 0;
}

static void touched(struct node *node)
{
	node_modified(node);
	names_changed(node);
}

int content_write(struct daemon *daemon, struct node *node, const char *bytes, size_t size, off_t offset)
{
	struct record *record = &node->record;
	int error = 0;

	if (size == 0)
		return 0;
	if (node->scratch) {
		error = scratch_write(daemon, node, bytes, size, offset);
	} else if (offset > RECORD_CONTENT_MAX || size > RECORD_CONTENT_MAX - (size_t)offset) {
		error = -EFBIG;
	} else {
		if (record->content_size < (size_t)offset + size)
			error = record_resize(record, (size_t)offset + size);
		if (!error)
			memcpy(record->content + offset, bytes, size);
	}
	if (!error)
		touched(node);
	return error;
}

int content_truncate(struct daemon *daemon, struct node *node, off_t size)
{
	int error;

	if (node->scratch)
		error = scratch_truncate(daemon, node, size);
	else
		error = size > RECORD_CONTENT_MAX ? -EFBIG : record_resize(&node->record, (size_t)size);
	if (!error)
		touched(node);
	return error;
}

int content_settle(struct daemon *daemon, struct node *node)
{
	char bytes[RECORD_CONTENT_MAX + 1];
	ssize_t size = 0;
	int error;

	if (!node->scratch)
		return 0;
	if (node->scratch_fd >= 0)
		size = pread(node->scratch_fd, bytes, sizeof(bytes), 0);
	if (size < 0)
		return -errno;
	error = record_set_content(&node->record, bytes, (size_t)size);
	if (error)
		return error;
	node->scratch = false;
	if (node->scratch_fd >= 0)
		close(node->scratch_fd);
	node->scratch_fd = -1;
	daemon->scratch_used -= node->scratch_blocks;
	node->scratch_blocks = 0;
	names_changed(node);
	return 0;
}

int content_loosen(struct daemon *daemon, struct node *node)
{
	int error = 0;

	if (node->scratch)
		return 0;
	if (node->record.content_size > 0)
		error = scratch_write(daemon, node, node->record.content, node->record.content_size, 0);
	if (error)
		return error;
	node->scratch = true;
	return record_set_content(&node->record, NULL, 0);
}

/* ---- open ---- */

static void reply_open(struct task *task)
{
	struct handle *handle = handle_new(task->node, task->request, &task->fi);

	if (handle && task->node->kind == NODE_REMOTE) {
		const struct record *record = &task->node->record;

		handle->text = record->content_size ? malloc(record->content_size) : NULL;
		if (record->content_size && !handle->text) {
			handle_free(task->daemon, handle);
			handle = NULL;
		} else if (record->content_size) {
			memcpy(handle->text, record->content, record->content_size);
			handle->text_size = record->content_size;
		}
	}
	if (!handle)
		fuse_reply_err(task->request, ENOMEM);
	else if (fuse_reply_open(task->request, &task->fi) < 0)
		handle_free(task->daemon, handle);
	task_free(task);
}

static void open_fresh(void *arg, int error)
{
	struct task *task = arg;

	if (error)
		task_end(task, error);
	else
		reply_open(task);
}

/* 0 or an errno. */
static int open_own(struct daemon *daemon, struct node *node, int flags)
{
	if (!names_alive(node))
		return EIO;
	if (flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY)
		return -content_truncate(daemon, node, 0);
	return 0;
}

/* Only its holder writes. But in flock mode a file is opened for writing in order to lock it, too. */
static bool may_open_remote(const struct daemon *daemon, int flags)
{
	if (flags & O_TRUNC)
		return false;
	return (flags & O_ACCMODE) == O_RDONLY || serve_flock_mode(daemon);
}

void file_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *node = nodes_find(daemon, ino);
	struct task *task;
	int error = 0;

	if (!node)
		error = ESTALE;
	else if (refusals_concern(daemon, node->parent, fi->flags)) {
		refusals_remember_node(daemon, fuse_req_ctx(request)->pid, node);
		error = EEXIST;
	} else if (node->kind == NODE_REMOTE)
		error = may_open_remote(daemon, fi->flags) ? 0 : EBUSY;
	else
		error = open_own(daemon, node, fi->flags);
	if (error) {
		fuse_reply_err(request, error);
		return;
	}
	task = task_new(request, node, NULL, NULL);
	if (!task)
		return;
	task->fi = *fi;
	tree_freshen(daemon, node, open_fresh, task);
}

/* ---- read, write ---- */

static bool is_lost(const struct handle *handle)
{
	return handle->lost || !names_alive(handle->node);
}

static void reply_part(fuse_req_t request, const char *bytes, size_t all, size_t size, off_t offset)
{
	if (offset < 0 || (size_t)offset >= all) {
		fuse_reply_buf(request, NULL, 0);
		return;
	}
	if (size > all - (size_t)offset)
		size = all - (size_t)offset;
	fuse_reply_buf(request, bytes + offset, size);
}

static void reply_scratch(fuse_req_t request, int fd, size_t size, off_t offset)
{
	struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(size);

	bytes.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	bytes.buf[0].fd = fd;
	bytes.buf[0].pos = offset;
	fuse_reply_data(request, &bytes, 0);
}

void file_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct handle *handle = handle_of(fi);
	struct node *node = handle->node;

	(void)ino;
	if (is_lost(handle))
		fuse_reply_err(request, EIO);
	else if (node->kind == NODE_REMOTE)
		reply_part(request, handle->text, handle->text_size, size, offset);
	else if (node->scratch_fd >= 0)
		reply_scratch(request, node->scratch_fd, size, offset);
	else
		reply_part(request, node->record.content, node->record.content_size, size, offset);
}

void file_write(fuse_req_t request, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                struct fuse_file_info *fi)
{
	struct daemon *daemon = serve_daemon(request);
	struct handle *handle = handle_of(fi);
	int error;

	(void)ino;
	if (is_lost(handle))
		error = -EIO;
	else if (handle->node->kind == NODE_REMOTE)
		error = -EBUSY;
	else
		error = content_write(daemon, handle->node, bytes, size, offset);
	if (error)
		fuse_reply_err(request, -error);
	else
		fuse_reply_write(request, size);
}

/* ---- the end of it ---- */

/* Answers when the other mounts see what was written, or at once when there is nothing new. */
static void settle_and_answer(fuse_req_t request, struct handle *handle)
{
	struct daemon *daemon = serve_daemon(request);
	struct task *task;

	/* A lock of the file that was lost says nothing of what was written; closing takes note of it. */
	if (!names_alive(handle->node)) {
		fuse_reply_err(request, EIO);
		return;
	}
	if (handle->node->kind != NODE_OWN) {
		fuse_reply_err(request, 0);
		return;
	}
	task = task_new(request, handle->node, NULL, NULL);
	if (task)
		names_push(daemon, handle->node, task_end, task);
}

/* Never ENOSYS (the kernel would send no more), and bounded by op_timeout: exiting processes wait for it. */
void file_flush(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *handle = handle_of(fi);

	(void)ino;
	locking_drop_owner(serve_daemon(request), handle->node, fi->lock_owner);
	settle_and_answer(request, handle);
}

void file_fsync(fuse_req_t request, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	(void)ino;
	(void)data_only;
	settle_and_answer(request, handle_of(fi));
}

void file_release(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *daemon = serve_daemon(request);
	struct handle *handle = handle_of(fi);

	(void)ino;
	locking_drop_handle(daemon, handle);
	handle_free(daemon, handle);
	fuse_reply_err(request, 0);
}
