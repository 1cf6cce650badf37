/* listing.c - see listing.h. */
#include "listing.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "file.h"
#include "names.h"
#include "task.h"
#include "tree.h"

struct listed {
	char *name;
	uint64_t inode;
	mode_t mode;
};

/* ---- gathering ---- */

void listing_free(struct handle *handle)
{
	for (size_t i = 0; i < handle->entry_count; i++)
		free(handle->entries[i].name);
	free(handle->entries);
	handle->entries = NULL;
	handle->entry_count = handle->entry_size = 0;
}

/* 0 or -ENOMEM. */
static int add(struct handle *handle, const char *name, uint64_t inode, mode_t mode)
{
	struct listed *entry;

	if (handle->entry_count == handle->entry_size) {
		size_t size = handle->entry_size ? 2 * handle->entry_size : 16;
		struct listed *entries = realloc(handle->entries, size * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		handle->entries = entries;
		handle->entry_size = size;
	}
	entry = &handle->entries[handle->entry_count];
	*entry = (struct listed){.name = strdup(name), .inode = inode, .mode = mode};
	if (!entry->name)
		return -ENOMEM;
	handle->entry_count++;
	return 0;
}

static int add_dots(struct handle *handle)
{
	uint64_t inode = handle->node->record.inode;
	int error = add(handle, ".", inode, S_IFDIR);

	return error ? error : add(handle, "..", FUSE_ROOT_ID, S_IFDIR);
}

struct gathering {
	struct handle *handle;
	int error;
};

static void add_own(const void *found, VISIT visit, void *arg)
{
	struct gathering *gathering = arg;
	const struct name *name = *(const struct name *const *)found;

	if ((visit == postorder || visit == leaf) && !gathering->error)
		gathering->error = add(gathering->handle, name->text, name->node->record.inode, name->node->record.mode);
}

static int add_root(struct handle *handle, struct daemon *daemon, struct found *found, size_t count)
{
	struct gathering gathering = {.handle = handle};

	twalk_r(daemon->names, add_own, &gathering);
	for (size_t i = 0; i < count && !gathering.error; i++) {
		/* Readers of a shared lock come one after the other under one name. */
		bool again = i > 0 && strcmp(found[i - 1].name, found[i].name) == 0;

		/* And a name that no directory can hold is not shown. */
		if (again || record_name_error(found[i].name) || names_find(daemon, found[i].name) ||
		    !tree_shows(daemon, &found[i]))
			continue;
		tree_complete(daemon, &found[i]);
		gathering.error = add(handle, found[i].name, found[i].record.inode, found[i].record.mode);
	}
	return gathering.error;
}

static int add_own_children(struct handle *handle)
{
	const struct node *node = handle->node;
	int error = 0;

	for (size_t i = 0; i < node->child_count && !error; i++)
		error = add(handle, node->children[i]->name, node->children[i]->record.inode,
		            node->children[i]->record.mode);
	return error;
}

static int add_remote_children(struct handle *handle)
{
	const struct record *record = &handle->node->record;
	int error = 0;

	for (size_t i = 0; i < record->child_count && !error; i++)
		error = add(handle, record->children[i].name, record->children[i].inode, record->children[i].mode);
	return error;
}

/* ---- answers ---- */

static void answer(struct task *task)
{
	struct handle *handle = handle_of(&task->fi);
	char *buffer = malloc(task->size);
	size_t used = 0;

	if (!buffer) {
		task_end(task, ENOMEM);
		return;
	}
	for (size_t i = (size_t)task->offset; i < handle->entry_count; i++) {
		struct stat stat = {.st_ino = handle->entries[i].inode, .st_mode = handle->entries[i].mode};
		size_t needed = fuse_add_direntry(task->request, buffer + used, task->size - used,
		                                  handle->entries[i].name, &stat, (off_t)i + 1);

		if (needed > task->size - used)
			break;
		used += needed;
	}
	fuse_reply_buf(task->request, buffer, used);
	free(buffer);
	task_free(task);
}

static void gathered(struct task *task, int error)
{
	if (error) {
		listing_free(handle_of(&task->fi));
		task_end(task, error);
	} else {
		answer(task);
	}
}

static void all_found(void *arg, int error, struct found *found, size_t count)
{
	struct task *task = arg;
	struct handle *handle = handle_of(&task->fi);

	if (!error)
		error = -add_root(handle, task->daemon, found, count);
	gathered(task, error);
}

static void directory_fresh(void *arg, int error)
{
	struct task *task = arg;

	gathered(task, error ? error : -add_remote_children(handle_of(&task->fi)));
}

static void gather(struct task *task)
{
	struct handle *handle = handle_of(&task->fi);
	struct node *node = handle->node;
	int error;

	listing_free(handle);
	error = -add_dots(handle);
	if (error || node->kind == NODE_OWN)
		gathered(task, error ? error : !names_alive(node) ? EIO : -add_own_children(handle));
	else if (node->kind == NODE_ROOT)
		ask_all(task->daemon, all_found, task);
	else
		tree_freshen(task->daemon, node, directory_fresh, task);
}

/* ---- requests ---- */

void listing_open(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct daemon *daemon = serve_daemon(request);
	struct node *node = nodes_find(daemon, ino);
	struct handle *handle;

	/* Who lists a directory says so. Another opens it to lock it, which the kernel would grant by itself, whoever
	 * holds the name. */
	if (node && node->kind == NODE_REMOTE && serve_flock_mode(daemon) && !(fi->flags & O_DIRECTORY)) {
		fuse_reply_err(request, EBUSY);
		return;
	}
	handle = node ? handle_new(node, request, fi) : NULL;
	if (!handle) {
		fuse_reply_err(request, node ? ENOMEM : ESTALE);
		return;
	}
	fi->direct_io = 0;
	if (fuse_reply_open(request, fi) < 0)
		handle_free(daemon, handle);
}

void listing_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct handle *handle = handle_of(fi);
	struct task *task = task_new(request, handle->node, NULL, NULL);

	(void)ino;
	if (!task)
		return;
	task->fi = *fi;
	task->size = size;
	task->offset = offset;
	if (offset == 0)
		gather(task);
	else
		answer(task);
}

void listing_release(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handle_free(serve_daemon(request), handle_of(fi));
	fuse_reply_err(request, 0);
}
