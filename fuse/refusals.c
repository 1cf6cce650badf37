/* refusals.c - see refusals.h. */
#include "refusals.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "names.h"

#define REFUSED_US 60000000

struct refusal {
	int64_t until_us; /* 0: the place is free */
	uint64_t name;    /* its hash */
	pid_t thread;
};

bool refusals_concern(const struct daemon *daemon, const struct node *parent, int flags)
{
	return !serve_flock_mode(daemon) && (!parent || parent->kind == NODE_ROOT) &&
	       (flags & (O_ACCMODE | O_NONBLOCK | O_TRUNC | O_APPEND)) == (O_WRONLY | O_NONBLOCK);
}

static bool grow(struct daemon *daemon)
{
	size_t size = daemon->refusal_count ? 2 * daemon->refusal_count : 16;
	struct refusal *list = realloc(daemon->refusals, size * sizeof(*list));

	if (!list)
		return false;
	memset(&list[daemon->refusal_count], 0, (size - daemon->refusal_count) * sizeof(*list));
	daemon->refusals = list;
	daemon->refusal_count = size;
	return true;
}

/* A place that is free, or, without memory, the oldest; NULL: there is none at all. */
static struct refusal *place(struct daemon *daemon)
{
	int64_t now_us = loop_now_us();
	struct refusal *oldest = NULL;
	size_t count = daemon->refusal_count;

	for (size_t i = 0; i < count; i++) {
		struct refusal *refusal = &daemon->refusals[i];

		if (refusal->until_us <= now_us)
			return refusal;
		if (!oldest || refusal->until_us < oldest->until_us)
			oldest = refusal;
	}
	return grow(daemon) ? &daemon->refusals[count] : oldest;
}

/* In flock mode touch takes no lock. */
static void remember(struct daemon *daemon, pid_t thread, uint64_t name)
{
	struct refusal *refusal = serve_flock_mode(daemon) ? NULL : place(daemon);

	if (refusal)
		*refusal = (struct refusal){.thread = thread, .name = name, .until_us = loop_now_us() + REFUSED_US};
}

void refusals_remember(struct daemon *daemon, pid_t thread, const char *name)
{
	remember(daemon, thread, hash_of(name));
}

void refusals_remember_node(struct daemon *daemon, pid_t thread, const struct node *node)
{
	if (node->parent)
		return;
	if (node->kind == NODE_REMOTE)
		refusals_remember(daemon, thread, node->name);
	else
		/* It may have been removed since it was looked up; what is there by then is another's. */
		remember(daemon, thread, node->last_name);
	for (const struct name *name = node->names; name; name = name->next)
		refusals_remember(daemon, thread, name->text);
}

static bool take(struct daemon *daemon, pid_t thread, uint64_t name)
{
	int64_t now_us = loop_now_us();
	bool taken = false;

	for (size_t i = 0; i < daemon->refusal_count; i++) {
		struct refusal *refusal = &daemon->refusals[i];

		if (refusal->thread != thread || refusal->name != name)
			continue;
		taken |= refusal->until_us > now_us;
		refusal->until_us = 0;
	}
	return taken;
}

bool refusals_take(struct daemon *daemon, pid_t thread, const struct node *node)
{
	bool taken;

	if (daemon->refusal_count == 0 || node->parent)
		return false;
	if (node->kind == NODE_REMOTE)
		return take(daemon, thread, hash_of(node->name));
	/* Removed after it was looked up, it has none, and setting its times would succeed. */
	taken = take(daemon, thread, node->last_name);
	for (const struct name *name = node->names; name; name = name->next)
		taken |= take(daemon, thread, hash_of(name->text));
	return taken;
}

void refusals_forget(struct daemon *daemon, pid_t thread, const char *name)
{
	take(daemon, thread, hash_of(name));
}

void refusals_close(struct daemon *daemon)
{
	free(daemon->refusals);
	daemon->refusals = NULL;
	daemon->refusal_count = 0;
}
