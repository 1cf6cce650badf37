/* names.c - see names.h. */
#include "names.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "log.h"

/* Somebody who waits until the masters have a version. */
struct push {
	struct push *next;
	uint64_t version;
	struct pushing *whole;
};

/* The same, over all names of a node. */
struct pushing {
	struct daemon *daemon;
	struct alarm alarm;
	unsigned left;
	int error;
	done_fn *done; /* NULL: answered already */
	void *arg;
};

static void name_ready(struct source *source);
static void lose(struct name *name);
static bool is_over(const struct name *name);

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

struct name *names_find(struct daemon *daemon, const char *text)
{
	struct name key = {.text = (char *)(uintptr_t)text}, **found = tfind(&key, &daemon->names, compare_names);

	if (!found)
		return NULL;
	if (!is_over(*found))
		return *found;
	lose(*found);
	return NULL;
}

/* Whether the lease has run out. */
static bool is_over(const struct name *name)
{
	return name->fd >= 0 && dlock_remaining(name->fd) == 0;
}

static struct name *first_over(const struct node *node)
{
	struct name *name = node->names;

	while (name && !is_over(name))
		name = name->next;
	return name;
}

bool names_alive(struct node *node)
{
	struct node *holder = node->parent ? node->parent : node;
	struct name *name = first_over(holder);
	struct daemon *daemon;

	if (!name)
		return !node->lost;
	daemon = name->daemon;
	node_use(holder);
	/* From the start each time: losing one tells the others, which may be found lost by that. */
	do
		lose(name);
	while ((name = first_over(holder)));
	node_drop(daemon, holder);
	return !node->lost;
}

/* ---- the table, and the node's list ---- */

static void link_to(struct name *name, struct node *node)
{
	name->node = node;
	node->last_name = hash_of(name->text);
	name->next = node->names;
	node->names = name;
	node_use(node);
}

static void unlink_from_node(struct name *name)
{
	struct name **link = &name->node->names;

	while (*link != name)
		link = &(*link)->next;
	*link = name->next;
	name->next = NULL;
	if (name->node->names)
		return;
	free(name->node->name);
	name->node->name = strdup(name->text);
}

static bool enter(struct name *name)
{
	struct name *const *place = tsearch(name, &name->daemon->names, compare_names);

	if (!place || *place != name)
		return false;
	node_modified(name->daemon->root);
	return true;
}

static void begin_moving(struct name *name, void (*late)(struct alarm *alarm))
{
	name->daemon->moving++;
	loop_set_alarm(&name->daemon->loop, &name->alarm, name->daemon->options->op_timeout_us, late);
}

/* The node has one link less. */
static void part(struct name *name)
{
	struct node *node = name->node;

	unlink_from_node(name);
	if (node->record.links > 0)
		node->record.links--;
	node->changed_ns = loop_wall_ns();
	names_changed(node);
}

/* It is not found any more, either. */
static void leave(struct name *name)
{
	tdelete(name, &name->daemon->names, compare_names);
	node_modified(name->daemon->root);
	part(name);
	if (!name->node->names)
		node_remove_children(name->daemon, name->node);
}

static struct name *name_new(struct daemon *daemon, const char *text)
{
	struct name *name = calloc(1, sizeof(*name));

	if (!name)
		return NULL;
	name->source.ready = name_ready;
	name->daemon = daemon;
	name->fd = -1;
	name->text = strdup(text);
	if (name->text)
		return name;
	free(name);
	return NULL;
}

static void free_name(struct name *name)
{
	loop_drop_alarm(&name->alarm);
	if (name->fd >= 0)
		close(name->fd); /* the library gives back what is still held, in the background */
	if (name->node)
		node_drop(name->daemon, name->node);
	free(name->text);
	free(name);
}

static void finish(struct name *name, int error)
{
	done_fn *done = name->done;

	name->done = NULL;
	loop_drop_alarm(&name->alarm);
	if (done)
		done(name->arg, error);
}

int names_keep(struct daemon *daemon, const char *text, struct node *node)
{
	struct name *name;

	if (names_find(daemon, text))
		return -EEXIST;
	name = name_new(daemon, text);
	if (!name)
		return -ENOMEM;
	if (!enter(name)) {
		free_name(name);
		return -ENOMEM;
	}
	link_to(name, node);
	return 0;
}

/* ---- what the masters are told ---- */

void names_changed(struct node *node)
{
	if (node->scratch) /* nobody else sees it */
		return;
	node->version++;
	if (node->parent)
		node->parent->version++;
}

static int carry(struct name *name)
{
	size_t size;
	void *bytes;
	int error = node_encode(name->node, name->daemon->lease_ms, &bytes, &size);

	if (error)
		return -error;
	name->carried = name->node->version;
	error = dlock_set_data(name->fd, bytes, size) < 0 ? errno : 0;
	free(bytes);
	return error;
}

static void one_less(struct pushing *whole, int error)
{
	if (error && !whole->error)
		whole->error = error;
	if (--whole->left > 0)
		return;
	loop_drop_alarm(&whole->alarm);
	if (whole->done)
		whole->done(whole->arg, whole->error);
	free(whole);
}

static void pushed(struct push *push, int error)
{
	struct pushing *whole = push->whole;

	free(push);
	one_less(whole, error);
}

/* Tells those whose version is confirmed; with an error, or when the name is going, all that are waiting. */
static void tell_pushes(struct name *name, int error)
{
	struct push *list = name->pushes, *next;

	name->pushes = NULL;
	for (struct push *push = list; push; push = next) {
		next = push->next;
		if (error || name->leaving || push->version <= name->confirmed) {
			pushed(push, error);
			continue;
		}
		push->next = name->pushes;
		name->pushes = push;
	}
}

static void lose(struct name *name)
{
	struct daemon *daemon = name->daemon;
	struct node *node = name->node;

	log_warning("\"%s\": the lease was lost: the name is gone", name->text);
	node->lost = !node->names->next;
	node_use(node);
	leave(name);
	tell_pushes(name, EIO);
	free_name(name);
	if (node->names)
		names_push(daemon, node, NULL, NULL); /* its other names tell the new number of links */
	node_drop(daemon, node);
}

static void begin_release(struct name *name);

/* The library has ended, or refused, to tell the masters. */
static void told(struct name *name, int error)
{
	name->call = NAME_QUIET;
	if (!error)
		name->confirmed = name->carried;
	tell_pushes(name, error);
	if (name->leaving && name->call == NAME_QUIET)
		begin_release(name);
}

/* Tells the masters what somebody waits for, unless that is under way. */
static void tell_masters(struct name *name)
{
	while (name->call == NAME_QUIET && !name->leaving && name->pushes) {
		int error = carry(name);

		if (error == EINPROGRESS)
			name->call = NAME_TELLING;
		else if (error == ESTALE) {
			lose(name);
			return;
		} else {
			told(name, error);
		}
	}
}

static void push_late(struct alarm *alarm)
{
	struct pushing *whole = CONTAINER(alarm, struct pushing, alarm);
	done_fn *done = whole->done;

	whole->done = NULL;
	if (done)
		done(whole->arg, ENOLCK);
}

static bool wait_for(struct name *name, struct pushing *whole)
{
	struct push *push = malloc(sizeof(*push));

	if (!push)
		return false;
	*push = (struct push){.next = name->pushes, .version = name->node->version, .whole = whole};
	name->pushes = push;
	whole->left++;
	return true;
}

/* A name that has something to tell and does not do so yet. Whoever is answered meanwhile may change the list. */
static struct name *untold(const struct node *node)
{
	struct name *name = node->names;

	while (name && (name->fd < 0 || name->call != NAME_QUIET || !name->pushes))
		name = name->next;
	return name;
}

void names_push(struct daemon *daemon, struct node *node, done_fn *done, void *arg)
{
	struct node *holder = node->parent ? node->parent : node;
	struct pushing *whole = calloc(1, sizeof(*whole));
	struct name *name;

	if (!whole) {
		if (done)
			done(arg, ENOMEM);
		return;
	}
	*whole = (struct pushing){.daemon = daemon, .done = done, .arg = arg, .left = 1};
	for (name = holder->names; name; name = name->next)
		if (name->fd >= 0 && name->confirmed < holder->version && !wait_for(name, whole))
			whole->error = ENOMEM;
	if (holder->lost)
		whole->error = EIO;
	if (whole->left > 1)
		loop_set_alarm(&daemon->loop, &whole->alarm, daemon->options->op_timeout_us, push_late);
	node_use(holder);
	while ((name = untold(holder)))
		tell_masters(name);
	node_drop(daemon, holder);
	one_less(whole, 0); /* which was counted beforehand, so that it could not end too early */
}

/* ---- taking ---- */

static void taken(struct name *name, int error)
{
	struct daemon *daemon = name->daemon;

	name->call = NAME_QUIET;
	/* A scratch file may have come by the same name meanwhile. */
	if (!error && names_find(daemon, name->text))
		error = EEXIST;
	if (!error && !enter(name))
		error = ENOMEM;
	if (error) {
		finish(name, error == EWOULDBLOCK ? EEXIST : error == EMFILE ? ENFILE : error);
		free_name(name);
	} else {
		struct node *node = name->node;

		name->confirmed = name->carried;
		link_to(name, node);
		node_drop(daemon, node); /* the list has a use of its own now */
		finish(name, 0);
	}
	serve_moved(daemon);
}

static void take_late(struct alarm *alarm)
{
	taken(CONTAINER(alarm, struct name, alarm), ENOLCK);
}

static int open_lock(struct name *name)
{
	int error;

	name->fd = dlock_open_with(name->text, DLOCK_CLOEXEC | DLOCK_NONBLOCK, name->daemon->settings);
	if (name->fd < 0)
		return errno;
	error = carry(name);
	if (!error)
		error = -loop_watch(&name->daemon->loop, name->fd, &name->source);
	if (!error && dlock_flock(name->fd, LOCK_EX | LOCK_NB) < 0)
		error = errno;
	return error;
}

void names_take(struct daemon *daemon, const char *text, struct node *node, done_fn *done, void *arg)
{
	struct name *name = name_new(daemon, text);
	int error;

	if (!name) {
		done(arg, ENOMEM);
		return;
	}
	name->node = node;
	node_use(node);
	name->call = NAME_TAKING;
	name->done = done;
	name->arg = arg;
	begin_moving(name, take_late);
	error = open_lock(name);
	if (error != EINPROGRESS)
		taken(name, error);
}

/* ---- giving back ---- */

static void end_release(struct name *name, int error)
{
	struct daemon *daemon = name->daemon;

	finish(name, error);
	free_name(name);
	serve_moved(daemon);
}

/* LOCK_UN also succeeds when too few masters answered in time. */
static bool majority_has_it_back(const struct name *name)
{
	struct dlock_stat stat;

	return dlock_stat(name->fd, &stat, sizeof(stat)) == 0 && stat.masters_released > stat.masters / 2;
}

static void released(struct name *name)
{
	end_release(name, name->fd < 0 || majority_has_it_back(name) ? 0 : ENOLCK);
}

static void release_late(struct alarm *alarm)
{
	finish(CONTAINER(alarm, struct name, alarm), ENOLCK);
}

static void released_at_once(struct alarm *alarm)
{
	released(CONTAINER(alarm, struct name, alarm));
}

static void begin_release(struct name *name)
{
	name->call = NAME_RELEASING;
	if (dlock_flock(name->fd, LOCK_UN) < 0 && errno == EINPROGRESS)
		return;
	/* Not from here: callers go on using the name. */
	loop_set_alarm(&name->daemon->loop, &name->alarm, 0, released_at_once);
}

void names_give_back(struct name *name, done_fn *done, void *arg)
{
	leave(name);
	name->leaving = true;
	name->done = done;
	name->arg = arg;
	begin_moving(name, release_late);
	if (name->fd < 0)
		loop_set_alarm(&name->daemon->loop, &name->alarm, 0, released_at_once);
	else if (name->call == NAME_QUIET)
		begin_release(name);
}

/* One that is left in the table; NULL: none. */
static struct name *any_name(const struct daemon *daemon)
{
	/* The root of a tree of tsearch(3) points to what was put there, as any of its nodes. */
	return daemon->names ? *(struct name *const *)daemon->names : NULL;
}

void names_give_all_back(struct daemon *daemon)
{
	struct name *name;

	while ((name = any_name(daemon)))
		names_give_back(name, NULL, NULL);
}

void names_close(struct daemon *daemon)
{
	struct name *name;

	while ((name = any_name(daemon))) {
		leave(name);
		tell_pushes(name, ENOLCK);
		free_name(name);
	}
}

void names_replace(struct name *name, struct node *node)
{
	struct node *old = name->node;

	part(name);
	link_to(name, node);
	node_drop(name->daemon, old);
	/* The masters have the old node's bytes, whatever number they had there. */
	names_changed(node);
	name->confirmed = name->carried = 0;
}

/* ---- what the library tells ---- */

static void name_ready(struct source *source)
{
	struct name *name = CONTAINER(source, struct name, source);
	int error = dlock_result(name->fd) < 0 ? errno : 0;

	if (error == EINPROGRESS)
		return;
	switch (name->call) {
	case NAME_TAKING:
		taken(name, error);
		return;
	case NAME_RELEASING:
		released(name);
		return;
	case NAME_TELLING:
	case NAME_QUIET:
		if (error == ESTALE && !name->leaving) {
			lose(name);
			return;
		}
		if (name->call == NAME_TELLING)
			told(name, error);
		if (name->call == NAME_QUIET)
			tell_masters(name);
		return;
	}
}
