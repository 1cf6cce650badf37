/*
 * looks.c - look-ups that do not wait: dlock_looks_new() and its like.
 *
 * A set has its look-ups in two lists, of those under way and of those that have
 * ended, and an eventfd that counts 1 while the second has any. Both change under
 * the keeper's mutex only, so what the descriptor says is true.
 *
 * In a child of fork the set is memory and a descriptor, nothing more: its
 * look-ups are known to masters and timers that are the parent's.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dlock.h"

#include "error.h"
#include "handle.h"
#include "look.h"

struct look_list {
	struct look *first, *last;
};

struct dlock_looks {
	struct cluster *cluster;
	struct config config; /* as config_hand_over() leaves it */
	int fd;
	unsigned forks;       /* of the keeper that it was made with */
	struct look_list under_way, over;
};

/* ---- the lists ---- */

static void append(struct look_list *list, struct look *look)
{
	look->next = NULL;
	look->previous = list->last;
	if (list->last)
		list->last->next = look;
	else
		list->first = look;
	list->last = look;
}

static void take_out(struct look_list *list, struct look *look)
{
	if (look->previous)
		look->previous->next = look->next;
	else
		list->first = look->next;
	if (look->next)
		look->next->previous = look->previous;
	else
		list->last = look->previous;
}

void looks_ended(struct look *look)
{
	struct dlock_looks *looks = look->set;

	take_out(&looks->under_way, look);
	if (!looks->over.first)
		eventfd_write(looks->fd, 1);
	append(&looks->over, look);
}

static struct look *take_ended(struct dlock_looks *looks)
{
	struct look *look = looks->over.first;
	eventfd_t count;

	if (!look)
		return NULL;
	take_out(&looks->over, look);
	if (!looks->over.first)
		eventfd_read(looks->fd, &count);
	return look;
}

/* ---- life ---- */

/* With the mutex. */
static struct dlock_looks *make(struct cluster *cluster, const struct config *config)
{
	struct dlock_looks *looks = calloc(1, sizeof(*looks));

	if (!looks) {
		errno = ENOMEM;
		return NULL;
	}
	looks->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (looks->fd < 0) {
		free(looks);
		return NULL;
	}
	looks->cluster = cluster;
	looks->config = *config;
	looks->forks = keeper.forks;
	return looks;
}

struct dlock_looks *dlock_looks_new(const struct dlock_options *options)
{
	struct dlock_looks *looks;
	struct cluster *cluster;
	struct config config;
	int error;

	error_detail_clear();
	error = survey_enter(NULL, options, &config, &cluster);
	if (error) {
		error_fail(-error);
		return NULL;
	}
	looks = make(cluster, &config);
	error = errno;
	if (looks) {
		keeper_leave();
		return looks;
	}
	survey_leave(cluster, &config);
	error_fail(error);
	return NULL;
}

/* With the mutex. The last first: those that wait for their turn must not get it now. */
static void release_all(struct dlock_looks *looks)
{
	while (looks->under_way.last) {
		struct look *look = looks->under_way.last;

		take_out(&looks->under_way, look);
		look_release(look);
	}
	while (looks->over.first) {
		struct look *look = looks->over.first;

		take_out(&looks->over, look);
		look_release(look);
	}
	cluster_settle(looks->cluster, NULL);
	cluster_put(looks->cluster);
}

/* In a child of fork. */
static void forget(struct look_list *list)
{
	for (struct look *look = list->first, *next; look; look = next) {
		next = look->next;
		holders_clear(&look->holders);
		free(look);
	}
}

void dlock_looks_free(struct dlock_looks *looks)
{
	if (!looks)
		return;
	if (keeper_enter_again(looks->forks)) {
		release_all(looks);
		keeper_leave();
	} else {
		forget(&looks->under_way);
		forget(&looks->over);
	}
	close(looks->fd);
	config_clear(&looks->config);
	free(looks);
}

int dlock_looks_fd(const struct dlock_looks *looks)
{
	error_detail_clear();
	if (looks)
		return looks->fd;
	error_detail_set("dlock_looks_fd() needs a set of look-ups");
	return error_fail(EINVAL);
}

/* ---- look-ups ---- */

/* Take the mutex for a set that is ours. 0 or -errno, with the sentence. */
static int enter(const struct dlock_looks *looks)
{
	if (!looks) {
		error_detail_set("there is no set of look-ups");
		return -EINVAL;
	}
	if (keeper_enter_again(looks->forks))
		return 0;
	error_detail_set("the set of look-ups was inherited through fork: make one in this process");
	return -ECHILD;
}

/* With the mutex. 0 or -ENOMEM. */
static int start(struct dlock_looks *looks, const char *name, uint64_t tag)
{
	struct look *look = look_new(looks->cluster, &looks->config, name);
	int error;

	if (!look)
		return -ENOMEM;
	look->set = looks;
	look->tag = tag;
	append(&looks->under_way, look); /* before: it may end at once */
	error = look_start(look, looks->config.node_timeout_us);
	if (!error)
		return 0;
	take_out(&looks->under_way, look);
	look_free(look);
	return error;
}

int dlock_looks_start(struct dlock_looks *looks, const char *name, uint64_t tag)
{
	int error;

	error_detail_clear();
	error = looks && name ? handle_check_name(name, &looks->config) : 0;
	if (!error)
		error = enter(looks);
	if (error)
		return error_fail(-error);
	error = start(looks, name, tag);
	keeper_leave();
	return error ? error_fail(-error) : 0;
}

int dlock_looks_next(struct dlock_looks *looks, uint64_t *ret_tag, dlock_holder_fn *each, void *arg)
{
	struct finding finding;
	struct look *look;
	int result;

	error_detail_clear();
	result = enter(looks);
	if (result)
		return error_fail(-result);
	look = take_ended(looks);
	if (!look) {
		keeper_leave();
		error_detail_set("no look-up has ended");
		return error_fail(EAGAIN);
	}
	if (ret_tag)
		*ret_tag = look->tag;
	look_take(look, &finding);
	look_release(look);
	keeper_leave();
	/* From here on the set may be gone: the callback may free it. */
	result = finding_tell(&finding, each, arg);
	finding_clear(&finding);
	return result < 0 ? error_fail(-result) : result;
}
