/* handle.c - see handle.h. */
#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debug.h"
#include "identity.h"

/* ---- the tables ---- */

static size_t slot_of(uint64_t number)
{
	return (size_t)(number * 0x9e3779b97f4a7c15u >> 32) & (keeper.table_size - 1);
}

static void put(struct handle *handle)
{
	struct handle **by_cookie = &keeper.table[slot_of(handle->cookie)];
	struct handle **by_route = &keeper.routes[slot_of(handle->route)];

	handle->next_in_table = *by_cookie;
	*by_cookie = handle;
	handle->next_in_routes = *by_route;
	*by_route = handle;
}

static int grow_table(void)
{
	size_t old_size = keeper.table_size, size = old_size ? old_size * 2 : 64;
	struct handle **old = keeper.table, **table, **routes;

	if (keeper.handle_count < old_size)
		return 0;
	table = calloc(size, sizeof(struct handle *));
	routes = calloc(size, sizeof(struct handle *));
	if (!table || !routes) {
		free(table);
		free(routes);
		return -ENOMEM;
	}
	free(keeper.routes);
	keeper.table = table;
	keeper.routes = routes;
	keeper.table_size = size;
	for (size_t i = 0; i < old_size; i++)
		for (struct handle *h = old[i], *next; h; h = next) {
			next = h->next_in_table;
			put(h);
		}
	free(old);
	return 0;
}

struct handle *handle_find(uint64_t cookie)
{
	struct handle *h = keeper.table_size ? keeper.table[slot_of(cookie)] : NULL;

	while (h && h->cookie != cookie)
		h = h->next_in_table;
	return h;
}

struct handle *handle_find_token(const char *token)
{
	uint64_t route = token_text_route(token);
	struct handle *h = keeper.table_size ? keeper.routes[slot_of(route)] : NULL;

	while (h && h->route != route)
		h = h->next_in_routes;
	return h;
}

static void remember(struct handle *handle)
{
	put(handle);
	keeper.handle_count++;
	handle->next = handle->cluster->handles;
	handle->link = &handle->cluster->handles;
	if (handle->next)
		handle->next->link = &handle->next;
	handle->cluster->handles = handle;
}

static void forget(struct handle *handle)
{
	struct handle **link = &keeper.table[slot_of(handle->cookie)];

	while (*link != handle)
		link = &(*link)->next_in_table;
	*link = handle->next_in_table;
	link = &keeper.routes[slot_of(handle->route)];
	while (*link != handle)
		link = &(*link)->next_in_routes;
	*link = handle->next_in_routes;
	keeper.handle_count--;
	*handle->link = handle->next;
	if (handle->next)
		handle->next->link = handle->link;
}

static bool was_inherited(uint64_t cookie)
{
	for (size_t i = 0; i < keeper.inherited_count; i++)
		if (keeper.inherited[i] == cookie)
			return true;
	return false;
}

/* In the child of fork. The cookies are kept to answer with ECHILD; the list was made ready
 * by handle_open(), since nothing may be allocated here. */
void handle_free_all_after_fork(void)
{
	for (struct cluster *cluster = keeper.clusters; cluster; cluster = cluster->next)
		for (struct handle *h = cluster->handles; h; h = h->next) {
			close(h->keeper_fd);
			if (!was_inherited(h->cookie))
				keeper.inherited[keeper.inherited_count++] = h->cookie;
		}
}

static int reserve_inherited(void)
{
	/* Room for every descriptor of this process besides those that it inherited itself. */
	size_t needed = keeper.inherited_count + keeper.handle_count + 1;
	uint64_t *inherited;

	if (needed & (needed - 1))
		return 0;
	inherited = realloc(keeper.inherited, 2 * needed * sizeof(*inherited));
	if (!inherited)
		return -ENOMEM;
	keeper.inherited = inherited;
	return 0;
}

int handle_enter(int fd, struct handle **ret)
{
	uint64_t cookie;
	socklen_t length = sizeof(cookie);
	struct handle *handle;
	int error;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0)
		return -EBADF;
	pthread_mutex_lock(&keeper.mutex);
	handle = keeper.running ? handle_find(cookie) : NULL;
	if (handle && !handle->closing) {
		*ret = handle;
		return 0;
	}
	error = !handle && was_inherited(cookie) ? -ECHILD : -EBADF;
	pthread_mutex_unlock(&keeper.mutex);
	return error;
}

/* ---- calls ---- */

static void finish(struct user_call *call, int error)
{
	call->error = error;
	keeper.calls--;
	waiting_finish(&call->waiting);
}

static void tell(struct handle *handle)
{
	/* One byte is enough to be readable; a full buffer is readable already. */
	(void)!send(handle->keeper_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void *hand_over(struct user_call *call)
{
	void *data = call->data;

	call->data = NULL;
	return data;
}

static void begin(struct handle *handle)
{
	struct user_call *call = handle->calls;
	struct effects effects;
	int64_t now_us = keeper_now_us();

	effects.count = 0;
	switch (call->kind) {
	case CALL_KIND_LOCK:
		lock_call(&handle->lock, call->mode, call->timeout_us, now_us, &effects);
		break;
	case CALL_KIND_UNLOCK:
		lock_unlock(&handle->lock, now_us, &effects);
		break;
	case CALL_KIND_VERIFY:
		lock_verify(&handle->lock, now_us, &effects);
		break;
	case CALL_KIND_DATA:
		lock_set_data(&handle->lock, hand_over(call), call->data_size, now_us, &effects);
		break;
	}
	cluster_run(handle->cluster, handle, &effects);
}

void handle_done(struct handle *handle, int error)
{
	struct user_call *call = handle->calls;

	if (!call)
		return;
	debug_log(DEBUG_HANDLE, "%s: call ended: %d", handle->lock.key, error);
	handle->calls = call->next;
	call->deadline_us = handle->lock.state == LOCK_HELD ? handle->lock.deadline_us : INT64_MAX;
	if (call == &handle->async) {
		handle->async_pending = false;
		handle->result = error;
		keeper.calls--;
		tell(handle);
	} else {
		finish(call, error);
	}
	if (handle->calls)
		begin(handle);
}

void handle_lost(struct handle *handle)
{
	debug_log(DEBUG_HANDLE, "%s: lost", handle->lock.key);
	tell(handle);
}

/* Data that is set while another call is under way does not wait for that one, which may wait for another holder:
 * unless there is an exclusive lock to tell of the data. */
static bool put_data(struct handle *handle, struct user_call *call)
{
	struct effects effects;

	if (call->kind != CALL_KIND_DATA || !handle->calls ||
	    (handle->lock.state == LOCK_HELD && handle->lock.held == MODE_EXCLUSIVE))
		return false;
	effects.count = 0;
	lock_put_data(&handle->lock, hand_over(call), call->data_size, keeper_now_us(), &effects);
	cluster_run(handle->cluster, handle, &effects);
	cluster_settle(handle->cluster, handle);
	call->deadline_us = INT64_MAX;
	finish(call, 0);
	return true;
}

void handle_call(struct handle *handle, struct user_call *call)
{
	struct user_call **link = &handle->calls;
	bool first = !handle->calls;

	keeper.calls++;
	if (put_data(handle, call))
		return;
	while (*link)
		link = &(*link)->next;
	call->next = NULL;
	*link = call;
	if (first)
		begin(handle);
	cluster_settle(handle->cluster, handle);
}

void handle_cancel(struct handle *handle, struct user_call *call, int error)
{
	struct effects effects;

	if (call->waiting.finished)
		return;
	if (handle->calls == call) {
		effects.count = 0;
		lock_cancel(&handle->lock, error, keeper_now_us(), &effects);
		cluster_run(handle->cluster, handle, &effects);
		cluster_settle(handle->cluster, handle);
		return;
	}
	for (struct user_call **link = &handle->calls; *link; link = &(*link)->next)
		if (*link == call) {
			*link = call->next;
			finish(call, error);
			return;
		}
}

void handle_tick(struct handle *handle, int64_t now_us)
{
	struct effects effects;

	effects.count = 0;
	lock_tick(&handle->lock, now_us, &effects);
	cluster_run(handle->cluster, handle, &effects);
	cluster_settle(handle->cluster, handle);
}

/* ---- life ---- */

void handle_begin_close(struct handle *handle)
{
	struct user_call *calls = handle->calls, *next;

	handle->closing = handle->lock.last = true;
	handle->calls = NULL;
	for (; calls; calls = next) {
		next = calls->next;
		if (calls != &handle->async)
			finish(calls, EBADF);
		else
			free(hand_over(calls));
	}
	keeper.calls -= handle->async_pending;
	handle->async_pending = false;
	/* What was under way is undone, so that an unlock can follow. */
	if (handle->lock.call == CALL_LOCK || handle->lock.call == CALL_CONVERT_UP || handle->lock.call == CALL_VERIFY ||
	    handle->lock.call == CALL_DATA) {
		struct effects effects = {0};

		lock_cancel(&handle->lock, EBADF, keeper_now_us(), &effects);
		cluster_run(handle->cluster, handle, &effects);
	}
}

void handle_free(struct handle *handle)
{
	struct cluster *cluster = handle->cluster;
	struct effects effects = {0};

	lock_abandon(&handle->lock, keeper_now_us(), &effects);
	cluster_run(cluster, handle, &effects);
	cluster_settle(cluster, NULL);
	timers_set(&keeper.timers, &handle->timer, INT64_MAX);
	keeper.timer_count--;
	keeper_watch(handle->keeper_fd, 0, (struct watch){0});
	close(handle->keeper_fd);
	forget(handle);
	lock_clear(&handle->lock);
	free(handle);
	cluster_put(cluster);
}

/* The last copy of the user's end was closed. */
void handle_hung_up(struct handle *handle, int64_t now_us)
{
	(void)now_us;
	if (handle->closing) /* dlock_close() is at it */
		return;
	handle_begin_close(handle);
	handle_free(handle);
}

void handle_drain(int fd)
{
	char bytes[64];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static int make_lock(struct handle *handle, const struct config *config, const char *name, size_t name_length)
{
	struct lock_settings settings = {
	    .ttl_us = config->ttl_us,
	    .lock_delay_us = config->lock_delay_us,
	    .node_timeout_us = config->node_timeout_us,
	    .quorum_timeout_us = config->quorum_timeout_us,
	};
	size_t prefix_length = strlen(config->prefix);
	char key[2048], identity[IDENTITY_MAX];

	if (getrandom(settings.random, sizeof(settings.random), 0) != (ssize_t)sizeof(settings.random) ||
	    getrandom(&settings.jitter, sizeof(settings.jitter), 0) != (ssize_t)sizeof(settings.jitter))
		return -EIO;
	handle->route = token_route(settings.random);
	memcpy(key, config->prefix, prefix_length);
	memcpy(key + prefix_length, name, name_length);
	token_identity(identity);
	return lock_init(&handle->lock, &handle->cluster->quorum, &settings, key, prefix_length + name_length,
	                 identity);
}

static int make_descriptors(struct handle *handle, bool cloexec)
{
	socklen_t length = sizeof(handle->cookie);
	int ends[2], error = 0;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	handle->keeper_fd = ends[1];
	if (getsockopt(ends[0], SOL_SOCKET, SO_COOKIE, &handle->cookie, &length) < 0 ||
	    (!cloexec && fcntl(ends[0], F_SETFD, 0) < 0))
		error = -errno;
	if (!error)
		error = keeper_watch(ends[1], EPOLLRDHUP, (struct watch){.kind = WATCH_HANDLE, .object = handle});
	if (!error)
		return ends[0];
	close(ends[0]);
	close(ends[1]);
	return error;
}

int handle_open(struct cluster *cluster, const struct config *config, const char *name, size_t name_length,
                bool cloexec, bool nonblock)
{
	struct handle *handle = calloc(1, sizeof(*handle));
	int fd = -ENOMEM;

	if (!handle || grow_table() < 0 || reserve_inherited() < 0 || keeper_reserve_timers(1) < 0)
		goto fail;
	handle->cluster = cluster;
	handle->nonblock = nonblock;
	handle->timer = (struct timer){.owner = handle, .kind = TIMER_HANDLE};
	fd = make_lock(handle, config, name, name_length);
	if (fd < 0)
		goto fail;
	fd = make_descriptors(handle, cloexec);
	if (fd < 0) {
		lock_clear(&handle->lock);
		goto fail;
	}
	keeper.timer_count++;
	remember(handle);
	return fd;
fail:
	free(handle);
	cluster_put(cluster);
	return fd;
}
