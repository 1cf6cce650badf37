/* ask.c - see ask.h. */
#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct look {
	struct daemon *daemon;
	struct look *next, **link;
	struct alarm alarm;
	char *name;  /* NULL: all */
	bool doubted, answered; /* all: a majority was asked for a word, and gave it */
	ask_fn *one; /* NULL: all; both NULL: nobody waits any more */
	ask_all_fn *all;
	void *arg;
	struct found *found;
	size_t count, size;
	bool out_of_memory;
};

/* ---- what was found ---- */

static void clear_found(struct found *found)
{
	free(found->name);
	free(found->owner);
	free(found->holder);
	record_clear(&found->record);
}

/* A few masters may still name a holder that is gone, or one that will not get it. */
static bool holds(const struct dlock_holder *holder)
{
	return holder->masters + holder->unheard >= holder->quorum;
}

/* Only the dlock mount writes records; what else a program has attached to its lock is its own. */
static void read_record(const struct look *look, struct found *found, const struct dlock_holder *holder)
{
	int error;

	if (!holder->data || holder->mode != LOCK_EX)
		return;
	if (look->one)
		error = record_decode(&found->record, holder->data, holder->data_size);
	else
		error = holder->data_size < RECORD_HEAD_SIZE
		            ? -EPROTO
		            : record_decode_head(&found->record, holder->data, RECORD_HEAD_SIZE);
	found->has_record = error == 0;
}

static bool keep(struct look *look, const struct dlock_holder *holder)
{
	struct found *found;

	if (look->count == look->size) {
		size_t size = look->size ? 2 * look->size : 1;
		struct found *list = realloc(look->found, size * sizeof(*list));

		if (!list)
			return false;
		look->found = list;
		look->size = size;
	}
	found = &look->found[look->count];
	*found = (struct found){.token = holder->token, .ttl_ms = holder->ttl_ms, .mode = holder->mode};
	found->name = strdup(holder->name);
	found->owner = strdup(holder->owner);
	if (asprintf(&found->holder, "%s/%lld/%s", holder->host, (long long)holder->pid, holder->program) < 0)
		found->holder = NULL;
	if (!found->name || !found->owner || !found->holder) {
		clear_found(found);
		return false;
	}
	read_record(look, found, holder);
	look->count++;
	return true;
}

static int found_one(const struct dlock_holder *holder, void *arg)
{
	struct look *look = arg;

	if (holds(holder) && !keep(look, holder))
		look->out_of_memory = true;
	return 0;
}

int64_t found_renewed_ns(const struct found *found)
{
	int64_t past_ms = found->has_record ? found->record.lease_ms - found->ttl_ms : 0;

	if (past_ms < 0 || found->ttl_ms < 0)
		past_ms = 0;
	return loop_wall_ns() - past_ms * 1000000;
}

static void word_given(void *arg, int error, struct found *found, unsigned holders);

/* ---- look-ups ---- */

static void tell(struct look *look, int error)
{
	ask_fn *one = look->one;
	ask_all_fn *all = look->all;

	look->one = NULL;
	look->all = NULL;
	loop_drop_alarm(&look->alarm);
	if (one)
		one(look->arg, error, error || !look->count ? NULL : &look->found[0], (unsigned)look->count);
	else if (all)
		all(look->arg, error, look->found, error ? 0 : look->count);
}

static void free_look(struct look *look)
{
	/* Nobody is to be told of a word given for a list that is done. */
	for (struct look *other = look->name ? NULL : look->daemon->looking; other; other = other->next)
		if (other->arg == look && other->one == word_given)
			other->one = NULL;
	*look->link = look->next;
	if (look->next)
		look->next->link = look->link;
	for (size_t i = 0; i < look->count; i++)
		clear_found(&look->found[i]);
	free(look->found);
	free(look->name);
	free(look);
}

/* The look-up itself is still under way and will free it. */
static void late(struct alarm *alarm)
{
	tell(CONTAINER(alarm, struct look, alarm), ENOLCK);
}

static void word_given(void *arg, int error, struct found *found, unsigned holders)
{
	struct look *look = arg;

	(void)found;
	(void)holders;
	look->answered = error == 0;
}

/* A list may be long, and the masters there all the same: as long as a majority of them answers something else, it
 * goes on. */
static void list_takes_long(struct alarm *alarm)
{
	struct look *look = CONTAINER(alarm, struct look, alarm);
	struct daemon *daemon = look->daemon;

	if (look->doubted && !look->answered) {
		tell(look, ENOLCK);
		return;
	}
	look->doubted = true;
	look->answered = false;
	loop_set_alarm(&daemon->loop, alarm, daemon->options->op_timeout_us / 2, list_takes_long);
	ask_name(daemon, ".", word_given, look); /* no file can have that name */
}

static void start_look(struct look *look)
{
	struct daemon *daemon = look->daemon;

	look->next = daemon->looking;
	look->link = &daemon->looking;
	if (look->next)
		look->next->link = &look->next;
	daemon->looking = look;
	if (dlock_looks_start(daemon->looks, look->name, (uint64_t)(uintptr_t)look) == 0)
		return;
	tell(look, errno);
	free_look(look);
}

static void start(struct daemon *daemon, const char *name, ask_fn *one, ask_all_fn *all, void *arg)
{
	struct look *look = calloc(1, sizeof(*look));

	if (look && name)
		look->name = strdup(name);
	if (look && (!name || look->name)) {
		look->daemon = daemon;
		look->one = one;
		look->all = all;
		look->arg = arg;
		if (name)
			loop_set_alarm(&daemon->loop, &look->alarm, daemon->options->op_timeout_us, late);
		else
			loop_set_alarm(&daemon->loop, &look->alarm, daemon->options->op_timeout_us / 2, list_takes_long);
		start_look(look);
		return;
	}
	free(look);
	if (one) {
		one(arg, ENOMEM, NULL, 0);
	} else {
		all(arg, ENOMEM, NULL, 0);
	}
}

void ask_name(struct daemon *daemon, const char *name, ask_fn *done, void *arg)
{
	start(daemon, name, done, NULL, arg);
}

void ask_all(struct daemon *daemon, ask_all_fn *done, void *arg)
{
	start(daemon, NULL, NULL, done, arg);
}

/* The holders are kept with the look-up whose tag comes first: dlock_looks_next() tells the tag before it calls. */
static int hold_back(const struct dlock_holder *holder, void *arg)
{
	uint64_t *tag = arg;

	return found_one(holder, (struct look *)(uintptr_t)*tag);
}

static void answers_ready(struct source *source)
{
	struct daemon *daemon = CONTAINER(source, struct daemon, answers);

	for (;;) {
		uint64_t tag = 0;
		int told = dlock_looks_next(daemon->looks, &tag, hold_back, &tag);
		int error = told < 0 ? errno : 0;
		struct look *look = (struct look *)(uintptr_t)tag;

		if (!look)
			return;
		tell(look, look->out_of_memory ? ENOMEM : error);
		free_look(look);
	}
}

/* Nobody will answer them any more. With another set they are asked again, within the time that they have left. */
static void end_looks(struct dlock_looks *looks, struct look *list, bool again)
{
	struct look *next;

	dlock_looks_free(looks);
	for (struct look *look = list; look; look = next) {
		next = look->next;
		if (next)
			next->link = &next;
		look->link = &list; /* of no list any more */
		look->next = NULL;
		if (again && (look->one || look->all)) {
			start_look(look);
		} else {
			tell(look, ENOLCK);
			free_look(look);
		}
	}
}

int ask_open(struct daemon *daemon)
{
	struct dlock_looks *looks = dlock_looks_new(daemon->settings), *old = daemon->looks;
	struct look *old_list = daemon->looking;
	int error;

	if (!looks)
		return -errno;
	daemon->answers.ready = answers_ready;
	daemon->looks = looks;
	daemon->looking = NULL;
	error = loop_watch(&daemon->loop, dlock_looks_fd(looks), &daemon->answers);
	end_looks(old, old_list, true);
	return error;
}

void ask_close(struct daemon *daemon)
{
	struct look *list = daemon->looking;

	daemon->looking = NULL;
	end_looks(daemon->looks, list, false);
	daemon->looks = NULL;
}
