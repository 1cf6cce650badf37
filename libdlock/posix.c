/*
 * posix.c - the public functions on descriptors: argument checks, errno, waits.
 *
 * Waiting is sem_wait(): as with flock(2), a signal handler installed with
 * SA_RESTART lets it go on, another ends it with EINTR.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dlock.h"

#include "error.h"
#include "explain.h"
#include "handle.h"
#include "options.h"

/* A descriptor that handle_enter() has refused. */
static int refuse(int fd, int error)
{
	if (error == -ECHILD)
		error_detail_set("descriptor %d was inherited through fork: open the lock anew in this process", fd);
	else
		error_detail_set("%d is not an open descriptor of dlock_open()", fd);
	return error_fail(-error);
}

/* ---- open ---- */

static int check_name(const char *name, size_t *ret_length)
{
	size_t length = name ? strnlen(name, DLOCK_NAME_MAX + 1) : 0;

	if (length == 0) {
		error_detail_set("the name of a lock must have 1 to %d bytes: it is empty", DLOCK_NAME_MAX);
		return -EINVAL;
	}
	if (length > DLOCK_NAME_MAX) {
		error_detail_set("the name of a lock must have 1 to %d bytes: it is longer", DLOCK_NAME_MAX);
		return -ENAMETOOLONG;
	}
	*ret_length = length;
	return 0;
}

/* The keys that the library keeps for itself begin with "dlock!". */
static int check_key(const struct config *config, const char *name)
{
	static const char reserved[] = "dlock!";
	char start[sizeof(reserved)];

	snprintf(start, sizeof(start), "%s%s", config->prefix, name);
	if (strcmp(start, reserved) != 0)
		return 0;
	error_detail_set("the name, after the prefix \"%s\", begins with \"%s\", which is reserved", config->prefix, reserved);
	return -EINVAL;
}

int handle_check_name(const char *name, const struct config *config)
{
	size_t length;
	int error = check_name(name, &length);

	return error ? error : check_key(config, name);
}

int handle_config(const char *name, const struct dlock_options *options, struct config *ret, size_t *ret_length)
{
	char why[ERROR_DETAIL_MAX];
	int error = name ? check_name(name, ret_length) : 0;

	if (error)
		return error;
	error = config_resolve(options, ret, why, sizeof(why));
	if (error) {
		error_detail_set("%s", why);
		return error;
	}
	error = name ? check_key(ret, name) : 0;
	if (error)
		config_clear(ret);
	return error;
}

int dlock_open_with(const char *name, int flags, const struct dlock_options *options)
{
	struct config config, masters;
	struct cluster *cluster;
	size_t length;
	int error, fd;

	error_detail_clear();
	if (flags & ~(DLOCK_CLOEXEC | DLOCK_NONBLOCK)) {
		error_detail_set("unknown flags 0x%x: DLOCK_CLOEXEC and DLOCK_NONBLOCK are known",
		                 (unsigned)flags & ~(unsigned)(DLOCK_CLOEXEC | DLOCK_NONBLOCK));
		return error_fail(EINVAL);
	}
	error = handle_config(name ? name : "", options, &config, &length);
	if (error)
		return error_fail(-error);
	error = keeper_enter();
	if (error) {
		config_clear(&config);
		return error_fail(-error);
	}
	error = config_hand_over(&config, &masters);
	if (!error)
		error = cluster_get(&masters, &cluster);
	fd = error ? error
	           : handle_open(cluster, &config, name, length, flags & DLOCK_CLOEXEC, flags & DLOCK_NONBLOCK);
	keeper_leave();
	config_clear(&config);
	return fd < 0 ? error_fail(-fd) : fd;
}

int dlock_open(const char *name, int flags)
{
	return dlock_open_with(name, flags, NULL);
}

/* ---- calls that may wait ---- */

/* DLOCK_NONBLOCK: 0 or an errno. */
static int call_async(struct handle *handle, int fd, struct user_call *call)
{
	int error;

	if (handle->async_pending) {
		keeper_leave();
		return EALREADY;
	}
	handle_drain(fd);
	handle->async = *call;
	call->data = NULL;
	handle->async_pending = true;
	handle_call(handle, &handle->async);
	error = handle->async_pending ? EINPROGRESS : handle->result;
	if (!handle->async_pending) {
		handle_drain(fd);
		explain_call(handle, error);
	}
	keeper_leave();
	return error;
}

/* What the caller learns must be true now, not when it was decided. */
static int check_deadline(int fd, const struct user_call *call)
{
	struct handle *handle;

	bool tells = call->kind == CALL_KIND_LOCK || call->kind == CALL_KIND_DATA;

	if (call->error || !tells || keeper_now_us() < call->deadline_us)
		return call->error;
	if (handle_enter(fd, &handle) == 0) {
		bool lost;

		handle_tick(handle, keeper_now_us());
		lost = handle->lock.state == LOCK_LOST;
		keeper_leave();
		return lost ? ESTALE : 0;
	}
	return EBADF;
}

static void explain_later(int fd, const struct user_call *what, int error)
{
	struct handle *handle;
	int gone;

	if (error == 0)
		return;
	gone = handle_enter(fd, &handle);
	if (gone) {
		refuse(fd, gone);
		return;
	}
	if (error == ENOLCK && what->kind == CALL_KIND_VERIFY && handle->lock.state != LOCK_HELD)
		error_detail_set("the lock is not held");
	else
		explain_call(handle, error);
	keeper_leave();
}

static int call_and_wait(struct handle *handle, int fd, struct user_call *call)
{
	int error;

	waiting_init(&call->waiting);
	handle_call(handle, call);
	while (!keeper_wait(&call->waiting)) {
		pthread_mutex_lock(&keeper.mutex);
		handle_cancel(handle, call, EINTR);
	}
	waiting_clear(&call->waiting);
	error = check_deadline(fd, call);
	explain_later(fd, call, error);
	return error;
}

static int call(int fd, struct user_call *what)
{
	struct handle *handle;
	int error = handle_enter(fd, &handle);

	if (error)
		return refuse(fd, error);
	error_detail_clear();
	if (what->kind == CALL_KIND_UNLOCK)
		handle_drain(fd);
	error = handle->nonblock ? call_async(handle, fd, what) : call_and_wait(handle, fd, what);
	return error ? error_fail(error) : 0;
}

int dlock_timedlock(int fd, int operation, int timeout_ms)
{
	struct user_call what = {.kind = CALL_KIND_LOCK, .timeout_us = timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000};

	if (timeout_ms < -1) {
		error_detail_set("timeout_ms %d: at least 0, or -1 for ever", timeout_ms);
		return error_fail(EINVAL);
	}
	if (operation & LOCK_NB)
		what.timeout_us = 0;
	switch (operation & ~LOCK_NB) {
	case LOCK_SH:
		what.mode = MODE_SHARED;
		break;
	case LOCK_EX:
		what.mode = MODE_EXCLUSIVE;
		break;
	case LOCK_UN:
		what.kind = CALL_KIND_UNLOCK;
		break;
	default:
		error_detail_set("operation %d: one of LOCK_SH, LOCK_EX and LOCK_UN, with or without LOCK_NB", operation);
		return error_fail(EINVAL);
	}
	return call(fd, &what);
}

int dlock_flock(int fd, int operation)
{
	return dlock_timedlock(fd, operation, -1);
}

int dlock_lock(int fd)
{
	return dlock_flock(fd, LOCK_EX);
}

int dlock_trylock(int fd)
{
	return dlock_flock(fd, LOCK_EX | LOCK_NB);
}

int dlock_unlock(int fd)
{
	return dlock_flock(fd, LOCK_UN);
}

int dlock_verify(int fd)
{
	struct user_call what = {.kind = CALL_KIND_VERIFY};

	return call(fd, &what);
}

int dlock_set_data(int fd, const void *data, size_t size)
{
	struct user_call what = {.kind = CALL_KIND_DATA, .data_size = size};
	int result;

	error_detail_clear();
	if (!data && size > 0) {
		error_detail_set("data must be given: its size is not 0");
		return error_fail(EINVAL);
	}
	if (size > DLOCK_DATA_MAX) {
		error_detail_set("%zu bytes are more than can travel with a lock: %d", size, DLOCK_DATA_MAX);
		return error_fail(E2BIG);
	}
	/* Copied here, where no other descriptor waits for it. */
	what.data = size ? malloc(size) : NULL;
	if (size && !what.data)
		return error_fail(ENOMEM);
	if (size)
		memcpy(what.data, data, size);
	result = call(fd, &what);
	free(what.data); /* a call that did not begin */
	return result;
}

/* ---- close ---- */

static void release_and_wait(struct handle *handle)
{
	struct user_call what = {.kind = CALL_KIND_UNLOCK};

	waiting_init(&what.waiting);
	handle_call(handle, &what);
	keeper_wait_out(&what.waiting); /* a signal must not leave the descriptor open */
}

int dlock_close(int fd)
{
	struct handle *handle;
	int error = handle_enter(fd, &handle);

	error_detail_clear();
	if (error == -ECHILD) {
		close(fd);
		return 0;
	}
	if (error)
		return refuse(fd, error);
	handle_begin_close(handle);
	if (handle->lock.state == LOCK_HELD)
		release_and_wait(handle);
	handle_free(handle);
	keeper_leave();
	close(fd);
	return 0;
}

/* ---- what is known ---- */

/* Time may have run out since the keeper's thread last ran. */
static int enter_fresh(int fd, struct handle **ret)
{
	int error = handle_enter(fd, ret);

	if (error)
		return error;
	if ((*ret)->lock.state == LOCK_HELD && keeper_now_us() >= (*ret)->lock.deadline_us)
		handle_tick(*ret, keeper_now_us());
	return 0;
}

int dlock_result(int fd)
{
	struct handle *handle;
	int error = enter_fresh(fd, &handle);

	if (error)
		return refuse(fd, error);
	error_detail_clear();
	handle_drain(fd);
	if (handle->async_pending)
		error = EINPROGRESS;
	else if (handle->lock.state == LOCK_LOST)
		error = ESTALE;
	else
		error = handle->result;
	explain_call(handle, error);
	keeper_leave();
	return error ? error_fail(error) : 0;
}

static int public_state(const struct lock *lock)
{
	switch (lock->state) {
	case LOCK_IDLE:
		return DLOCK_STATE_IDLE;
	case LOCK_HELD:
		return DLOCK_STATE_HELD;
	case LOCK_LOST:
		return DLOCK_STATE_LOST;
	default:
		return lock->call == CALL_UNLOCK ? DLOCK_STATE_IDLE : DLOCK_STATE_WAITING;
	}
}

int dlock_stat(int fd, struct dlock_stat *stat, size_t size)
{
	struct dlock_stat known = {0};
	struct handle *handle;
	int64_t now_us;
	int error;

	error_detail_clear();
	if (!stat || size == 0) {
		error_detail_set("stat must be given, with the size of the structure");
		return error_fail(EINVAL);
	}
	error = enter_fresh(fd, &handle);
	if (error)
		return refuse(fd, error);
	now_us = keeper_now_us();
	known.state = public_state(&handle->lock);
	known.mode = LOCK_UN;
	if (handle->lock.state == LOCK_HELD) {
		known.token = lock_token(&handle->lock);
		known.remaining_ns = (handle->lock.deadline_us - now_us) * 1000;
		known.mode = handle->lock.held == MODE_EXCLUSIVE ? LOCK_EX : LOCK_SH;
		known.masters_held = lock_live_votes(&handle->lock, now_us);
	}
	known.masters_up = handle->cluster->quorum.voting;
	known.masters = handle->cluster->quorum.settings.count;
	known.masters_released = handle->lock.released;
	keeper_leave();
	if (known.remaining_ns < 0)
		known.remaining_ns = 0;
	memset(stat, 0, size);
	memcpy(stat, &known, size < sizeof(known) ? size : sizeof(known));
	return 0;
}

/* The lock's state in *ret, or false with errno. */
static bool held(int fd, struct dlock_stat *ret)
{
	if (dlock_stat(fd, ret, sizeof(*ret)) < 0)
		return false;
	if (ret->state == DLOCK_STATE_HELD && ret->remaining_ns > 0)
		return true;
	if (ret->state == DLOCK_STATE_LOST || ret->state == DLOCK_STATE_HELD) {
		error_fail(ESTALE);
		return false;
	}
	error_detail_set("the lock is not held");
	error_fail(ENOLCK);
	return false;
}

uint64_t dlock_token(int fd)
{
	struct dlock_stat stat;

	return held(fd, &stat) ? stat.token : 0;
}

int64_t dlock_remaining(int fd)
{
	struct dlock_stat stat;

	return held(fd, &stat) ? stat.remaining_ns : 0;
}
