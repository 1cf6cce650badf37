/* refusals.c - see refusals.h. */
#include "refusals.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"

#define REFUSED_US 60000000

struct refusal {
	pid_t thread;
	int64_t until_us;
	char *name; /* NULL: the place is free */
};

bool refusals_concern(const struct daemon *daemon, const struct node *parent, int flags)
{
	return !serve_flock_mode(daemon) && (!parent || parent->kind == NODE_ROOT) &&
	       (flags & (O_ACCMODE | O_NONBLOCK | O_TRUNC | O_APPEND)) == (O_WRONLY | O_NONBLOCK);
}

static void forget(struct refusal *refusal)
{
	free(refusal->name);
	refusal->name = NULL;
}

/* A place that is free, or NULL. */
static struct refusal *place(struct daemon *daemon)
{
	int64_t now_us = loop_now_us();
	size_t size = daemon->refusal_count ? 2 * daemon->refusal_count : 16;
	struct refusal *list;

	for (size_t i = 0; i < daemon->refusal_count; i++) {
		struct refusal *refusal = &daemon->refusals[i];

		if (refusal->name && refusal->until_us <= now_us)
			forget(refusal);
		if (!refusal->name)
			return refusal;
	}
	list = realloc(daemon->refusals, size * sizeof(*list));
	if (!list)
		return NULL;
	memset(&list[daemon->refusal_count], 0, (size - daemon->refusal_count) * sizeof(*list));
	daemon->refusals = list;
	list = &list[daemon->refusal_count];
	daemon->refusal_count = size;
	return list;
}

void refusals_remember(struct daemon *daemon, pid_t thread, const char *name)
{
	struct refusal *refusal = place(daemon);

	if (!refusal)
		return;
	refusal->thread = thread;
	refusal->until_us = loop_now_us() + REFUSED_US;
	refusal->name = strdup(name);
}

void refusals_remember_node(struct daemon *daemon, pid_t thread, const struct node *node)
{
	if (node->kind == NODE_REMOTE)
		refusals_remember(daemon, thread, node->name);
	for (const struct name *name = node->names; name; name = name->next)
		refusals_remember(daemon, thread, name->text);
}

static bool take_name(struct daemon *daemon, pid_t thread, const char *name)
{
	int64_t now_us = loop_now_us();

	for (size_t i = 0; i < daemon->refusal_count; i++) {
		struct refusal *refusal = &daemon->refusals[i];

		if (!refusal->name || refusal->thread != thread || strcmp(refusal->name, name) != 0)
			continue;
		forget(refusal);
		return refusal->until_us > now_us;
	}
	return false;
}

bool refusals_take(struct daemon *daemon, pid_t thread, const struct node *node)
{
	bool taken = false;

	if (daemon->refusal_count == 0 || node->parent)
		return false;
	if (node->kind == NODE_REMOTE)
		return take_name(daemon, thread, node->name);
	for (const struct name *name = node->names; name; name = name->next)
		taken |= take_name(daemon, thread, name->text);
	return taken;
}

void refusals_close(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->refusal_count; i++)
		forget(&daemon->refusals[i]);
	free(daemon->refusals);
	daemon->refusals = NULL;
	daemon->refusal_count = 0;
}
