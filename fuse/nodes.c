/* nodes.c - see nodes.h. */
#include "nodes.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define BLOCK 512

static int compare_ids(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int compare_remote(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return strcmp(x->name, y->name);
}

struct node *nodes_find(struct daemon *daemon, fuse_ino_t id)
{
	struct node key = {.id = id}, **found = tfind(&key, &daemon->nodes, compare_ids);

	return found ? *found : NULL;
}

/* ---- life ---- */

static uint64_t draw_inode(void)
{
	uint64_t inode = 0;

	do {
		if (getrandom(&inode, sizeof(inode), 0) != (ssize_t)sizeof(inode))
			continue;
		inode &= INT64_MAX;
	} while (inode <= FUSE_ROOT_ID);
	return inode;
}

static struct node *make(struct daemon *daemon, enum node_kind kind)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->id = ++daemon->last_node_id;
	node->uses = 1;
	node->scratch_fd = -1;
	if (tsearch(node, &daemon->nodes, compare_ids))
		return node;
	free(node);
	return NULL;
}

struct node *node_new(struct daemon *daemon, mode_t mode, uid_t uid, gid_t gid, pid_t pid)
{
	struct node *node = make(daemon, NODE_OWN);

	if (!node)
		return NULL;
	node->record = (struct record){
	    .mode = mode, .uid = uid, .gid = gid, .pid = pid, .links = 1, .inode = draw_inode(), .made_ns = loop_wall_ns()};
	node->record.modified_ns = node->changed_ns = node->accessed_ns = node->record.made_ns;
	return node;
}

int nodes_open(struct daemon *daemon)
{
	/* The root is the first node, and so has the number that the kernel gives to it. A sticky root lets only
	 * its owner remove a name; with scratch files it would make open(O_CREAT) of another user's file fail. */
	daemon->root = node_new(daemon, S_IFDIR | 0777 | (serve_flock_mode(daemon) ? 0 : S_ISVTX), getuid(), getgid(), 0);
	if (!daemon->root)
		return -ENOMEM;
	daemon->root->kind = NODE_ROOT;
	daemon->root->record.inode = FUSE_ROOT_ID;
	daemon->root->record.links = 2;
	return 0;
}

static void free_node(struct daemon *daemon, struct node *node)
{
	tdelete(node, &daemon->nodes, compare_ids);
	if (node->scratch_fd >= 0)
		close(node->scratch_fd);
	daemon->scratch_used -= node->scratch_blocks;
	record_clear(&node->record);
	free(node->children);
	free(node->name);
	free(node->owner);
	free(node);
}

static void forget_remote(struct daemon *daemon, struct node *node)
{
	struct node **found = node->name ? tfind(node, &daemon->remote, compare_remote) : NULL;

	if (found && *found == node)
		tdelete(node, &daemon->remote, compare_remote);
}

void node_use(struct node *node)
{
	node->uses++;
}

void node_drop(struct daemon *daemon, struct node *node)
{
	struct node *parent = NULL;

	node->uses--;
	if (node->uses > 0 || node->lookups > 0 || node->kind == NODE_ROOT)
		return;
	if (node->kind == NODE_REMOTE) {
		forget_remote(daemon, node);
		parent = node->parent;
	}
	free_node(daemon, node);
	if (parent)
		node_drop(daemon, parent);
}

void node_forget(struct daemon *daemon, struct node *node, uint64_t count)
{
	node->lookups = count < node->lookups ? node->lookups - count : 0;
	node_use(node);
	node_drop(daemon, node);
}

static void free_found(void *found)
{
	struct node *node = found;

	if (node->scratch_fd >= 0)
		close(node->scratch_fd);
	record_clear(&node->record);
	free(node->children);
	free(node->name);
	free(node->owner);
	free(node);
}

static void leave(void *found)
{
	(void)found;
}

void nodes_close(struct daemon *daemon)
{
	tdestroy(daemon->remote, leave);
	tdestroy(daemon->nodes, free_found);
	daemon->remote = daemon->nodes = daemon->root = NULL;
}

/* ---- of other hosts ---- */

struct node *node_remote(struct daemon *daemon, struct node *parent, const char *name, const char *owner,
                         struct record *record)
{
	struct node key = {.parent = parent, .name = (char *)(uintptr_t)name};
	struct node **found = tfind(&key, &daemon->remote, compare_remote), *node = found ? *found : NULL;

	if (node && strcmp(node->owner, owner) == 0 && node->record.inode == record->inode &&
	    (node->record.mode & S_IFMT) == (record->mode & S_IFMT)) {
		node_use(node);
	} else {
		/* The old one lives on as long as the kernel uses it, but is not found any more. */
		if (node)
			tdelete(node, &daemon->remote, compare_remote);
		node = make(daemon, NODE_REMOTE);
		if (!node)
			return NULL;
		node->name = strdup(name);
		node->owner = strdup(owner);
		if (parent)
			node_use(parent);
		node->parent = parent;
		if (!node->name || !node->owner || !tsearch(node, &daemon->remote, compare_remote)) {
			node_drop(daemon, node);
			return NULL;
		}
	}
	record_clear(&node->record);
	node->record = *record;
	*record = (struct record){0};
	return node;
}

/* ---- files inside a directory ---- */

/* Where it is, or would be. */
static size_t child_place(const struct node *directory, const char *name, bool *ret_there)
{
	size_t low = 0, high = directory->child_count;

	*ret_there = false;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(directory->children[middle]->name, name);

		if (order == 0) {
			*ret_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct node *node_child(const struct node *directory, const char *name)
{
	bool there;
	size_t place = child_place(directory, name, &there);

	return there ? directory->children[place] : NULL;
}

static void insert_child(struct node *directory, struct node *child)
{
	bool there;
	size_t place = child_place(directory, child->name, &there);

	memmove(&directory->children[place + 1], &directory->children[place],
	        (directory->child_count - place) * sizeof(*directory->children));
	directory->children[place] = child;
	directory->child_count++;
}

static void extract_child(struct node *directory, const struct node *child)
{
	bool there;
	size_t place = child_place(directory, child->name, &there);

	directory->child_count--;
	memmove(&directory->children[place], &directory->children[place + 1],
	        (directory->child_count - place) * sizeof(*directory->children));
}

/* Those that go to the other mounts with the directory's lock. */
static size_t travelling_children(const struct node *directory)
{
	size_t count = 0;

	for (size_t i = 0; i < directory->child_count; i++)
		count += !directory->children[i]->scratch;
	return count;
}

static bool make_room(struct node *directory)
{
	size_t size = directory->child_size ? 2 * directory->child_size : 8;
	struct node **children;

	if (directory->child_count < directory->child_size)
		return true;
	children = realloc(directory->children, size * sizeof(struct node *));
	if (!children)
		return false;
	directory->children = children;
	directory->child_size = size;
	return true;
}

int node_add_child(struct node *directory, struct node *child, const char *name)
{
	char *copy;

	if (node_child(directory, name))
		return -EEXIST;
	if (!child->scratch && travelling_children(directory) == RECORD_CHILDREN_MAX)
		return -ENOSPC;
	copy = make_room(directory) ? strdup(name) : NULL;
	if (!copy)
		return -ENOMEM;
	free(child->name);
	child->name = copy;
	child->parent = directory;
	insert_child(directory, child);
	node_modified(directory);
	node_use(child);
	node_use(directory);
	return 0;
}

void node_remove_child(struct daemon *daemon, struct node *child)
{
	struct node *directory = child->parent;

	extract_child(directory, child);
	node_modified(directory);
	child->parent = NULL;
	child->record.links = 0;
	node_drop(daemon, child);
	node_drop(daemon, directory);
}

void node_remove_children(struct daemon *daemon, struct node *directory)
{
	while (directory->child_count > 0) {
		struct node *child = directory->children[directory->child_count - 1];

		child->lost = directory->lost;
		node_remove_child(daemon, child);
	}
}

int node_rename_child(struct daemon *daemon, struct node *child, const char *name)
{
	struct node *directory = child->parent, *old = node_child(directory, name);
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	if (old)
		node_remove_child(daemon, old);
	extract_child(directory, child);
	free(child->name);
	child->name = copy;
	insert_child(directory, child);
	node_modified(directory);
	return 0;
}

/* ---- what is told of it ---- */

int node_encode(const struct node *node, int64_t lease_ms, void **ret_bytes, size_t *ret_size)
{
	struct record record = node->record; /* shares everything, and owns nothing */
	struct record_child children[RECORD_CHILDREN_MAX];

	record.lease_ms = lease_ms;
	record.child_count = 0;
	record.children = children;
	for (size_t i = 0; i < node->child_count; i++) {
		const struct node *child = node->children[i];

		if (child->scratch)
			continue;
		children[record.child_count++] = (struct record_child){
		    .name = child->name,
		    .content = child->record.content,
		    .content_size = child->record.content_size,
		    .mode = child->record.mode,
		    .uid = child->record.uid,
		    .gid = child->record.gid,
		    .inode = child->record.inode,
		    .modified_ns = child->record.modified_ns,
		};
	}
	return record_encode(&record, ret_bytes, ret_size);
}

void node_modified(struct node *node)
{
	node->record.modified_ns = node->changed_ns = loop_wall_ns();
}

bool node_is_directory(const struct node *node)
{
	return S_ISDIR(node->record.mode);
}

static struct timespec as_timespec(int64_t ns)
{
	struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	if (time.tv_nsec < 0) {
		time.tv_nsec += 1000000000;
		time.tv_sec--;
	}
	return time;
}

void node_stat(const struct node *node, struct stat *ret)
{
	const struct record *record = &node->record;
	struct stat scratch;

	memset(ret, 0, sizeof(*ret));
	ret->st_ino = record->inode;
	ret->st_mode = record->mode;
	ret->st_nlink = node_is_directory(node) && record->links ? 2 : record->links;
	ret->st_uid = record->uid;
	ret->st_gid = record->gid;
	ret->st_size = (off_t)record->content_size;
	ret->st_blksize = 4096;
	ret->st_mtim = as_timespec(record->modified_ns);
	ret->st_ctim = as_timespec(node->changed_ns);
	ret->st_atim = as_timespec(node->accessed_ns);
	if (node->kind == NODE_REMOTE) /* alive as of then: those who break old locks must see it as fresh */
		ret->st_mtim = ret->st_ctim = ret->st_atim = as_timespec(node->renewed_ns);
	if (node->scratch_fd >= 0 && fstat(node->scratch_fd, &scratch) == 0) {
		ret->st_size = scratch.st_size;
		ret->st_blocks = scratch.st_blocks;
		return;
	}
	ret->st_blocks = (ret->st_size + BLOCK - 1) / BLOCK;
}
