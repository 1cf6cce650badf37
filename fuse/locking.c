/*
 * locking.c - see locking.h.
 *
 * Who owns a lock: flock's belong to the handle, since the kernel's numbers of open
 * files are used again at once, before the release of the earlier one has come.
 * fcntl's belong to the number that the kernel gives, a process or (F_OFD_SETLK) an
 * open file; which of the two it is, it does not tell. What is left of either when
 * the handle is released goes by the handle through which it was taken.
 */
#include "locking.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "file.h"
#include "fleet.h"
#include "log.h"

#ifndef F_OFD_SETLKW
#define F_OFD_SETLKW 38
#endif

/* One request, until it is answered. */
struct pending {
	struct claim claim;
	struct settler settler;
	struct daemon *daemon;
	fuse_req_t request;
	pid_t thread;          /* whose it is */
	bool lowers;           /* what is granted is less than what was held */
	struct flock lock;     /* F_GETLK: the question */
	char *name;            /* F_GETLK: who holds that? */
	unsigned ours;         /* F_GETLK: so many of its holders are this mount */
	bool interrupted;      /* and waits only for what is under way */
	bool marked;           /* the kernel wants it back: in the daemon's list */
	struct pending *next, **link;
};

/* ---- the life of a request ---- */

static struct pending *pending_new(fuse_req_t request)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending) {
		fuse_reply_err(request, ENOLCK);
		return NULL;
	}
	pending->daemon = serve_daemon(request);
	pending->request = request;
	pending->thread = fuse_req_ctx(request)->pid;
	return pending;
}

static void unmark(struct pending *pending)
{
	if (!pending->marked)
		return;
	*pending->link = pending->next;
	if (pending->next)
		pending->next->link = pending->link;
	pending->marked = false;
}

static void pending_free(struct pending *pending)
{
	unmark(pending);
	free(pending->name);
	free(pending);
}

static void answer(struct pending *pending, int error)
{
	fuse_reply_err(pending->request, error);
	pending_free(pending);
}

/* Called by libfuse, which still needs the request: it is answered later. */
static void mark(fuse_req_t request, void *data)
{
	struct pending *pending = data;
	struct daemon *daemon = pending->daemon;

	(void)request;
	if (pending->marked)
		return;
	pending->marked = true;
	pending->next = daemon->interrupted;
	pending->link = &daemon->interrupted;
	if (pending->next)
		pending->next->link = &pending->next;
	daemon->interrupted = pending;
}

void locking_interrupts(struct daemon *daemon)
{
	while (daemon->interrupted) {
		struct pending *pending = daemon->interrupted;

		unmark(pending);
		if (pending->claim.fleet) {
			pending->interrupted = !pending->claim.tries;
			if (fleet_hurry(&pending->claim))
				continue;
			fleet_withdraw(&pending->claim);
			answer(pending, EINTR);
		}
		/* Else it waits for nobody but the masters, for op_timeout at most: a program that was told EINTR by an
		 * unlock might take the lock for still locked, and none expects it of a question. */
	}
}

/* ---- who is asking ---- */

/* The moment at which a process began, in its own unit; 0: it is gone, or not to be seen. */
static uint64_t began(pid_t pid)
{
	char path[40], text[1024], *word;
	FILE *file;
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size] = '\0';
	/* The second word is a name, in which anything may be: the blank behind it is found from the end. */
	word = strrchr(text, ')');
	for (int i = 3; word && i <= 22; i++)
		word = strchr(word + 1, ' ');
	return word ? strtoull(word + 1, NULL, 10) : 0;
}

static void tell_process(struct daemon *daemon, pid_t pid, uint64_t since, bool *ret_told)
{
	*ret_told = since != 0 && began(pid) == since;
	if (*ret_told && kill(pid, daemon->options->on_loss) < 0)
		log_warning("process %d could not be told: %s", (int)pid, strerror(errno));
}

/* A local lock is gone with the lease of the fleet's. */
static void lost(struct daemon *daemon, const struct range *range)
{
	struct handle *handle = range->handle;
	bool told = false;

	handle->lost = true;
	if (!daemon->options->on_loss)
		return;
	tell_process(daemon, (pid_t)range->pid, range->pid_since, &told);
	/* A shell locks its descriptor by a command that has long ended: then it is the shell that is told. */
	if (!told)
		tell_process(daemon, handle->pid, handle->pid_since, &told);
}

/* The system call in which the thread of a request waits: with F_OFD_SETLKW it is not the process that waits. (The
 * thread may still be on its way into its sleep, and is given a moment; it is asked for only when two requests seem to
 * wait for each other.) */
static bool is_process(const struct range_wait *wait)
{
	const struct pending *pending = CONTAINER(wait, const struct pending, claim.wait);
	const struct timespec moment = {.tv_nsec = 50000};
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pending->thread);
	for (int i = 0; i < 20; i++) {
		unsigned long command;
		FILE *file = fopen(path, "re");
		int found = file ? fscanf(file, "%*d %*x %lx", &command) : -1;

		if (file)
			fclose(file);
		if (found == 1)
			return command != F_OFD_SETLKW;
		if (!file)
			break;
		nanosleep(&moment, NULL);
	}
	return true;
}

/* ---- taking and giving back ---- */

static bool may_lock(fuse_req_t request, const struct handle *handle)
{
	int error = 0;

	if (handle->lost || handle->node->lost)
		error = EIO;
	else if (serve_daemon(request)->closing)
		error = ENOLCK;
	if (error)
		fuse_reply_err(request, error);
	return error == 0;
}

static void settled(struct settler *settler)
{
	answer(CONTAINER(settler, struct pending, settler), 0);
}

static void claimed(struct claim *claim, int error)
{
	struct pending *pending = CONTAINER(claim, struct pending, claim);

	if (error || !pending->lowers) {
		answer(pending, error && pending->interrupted ? EINTR : error);
		return;
	}
	pending->settler.end = settled;
	fleet_settle_next(CONTAINER(claim->wait.range.file, struct fleet_file, range), &pending->settler);
}

static void remember_who(struct daemon *daemon, struct handle *handle, struct range *range)
{
	if (!daemon->options->on_loss)
		return;
	range->pid_since = began((pid_t)range->pid);
	if (!handle->pid_since)
		handle->pid_since = began(handle->pid);
}

static void lock_range(fuse_req_t request, struct handle *handle, enum fleet_kind kind, struct range *range, bool tries)
{
	struct daemon *daemon = serve_daemon(request);
	struct fleet_file *file = fleet_enter(daemon, handle->node);
	struct pending *pending = file ? pending_new(request) : NULL;

	if (!file)
		fuse_reply_err(request, ENOLCK);
	else if (!pending)
		fleet_leave(file);
	if (!pending)
		return;
	range->file = &file->range;
	remember_who(daemon, handle, range);
	pending->lowers = !range->exclusive && ranges_has(fleet_ranges(file->fleet, kind), range, true);
	if (kind == FLEET_FLOCK && range->exclusive && !tries && ranges_has(fleet_ranges(file->fleet, kind), range, false))
		fleet_drop_before_claim(file, handle);
	pending->claim.wait.range = *range;
	pending->claim.tries = tries;
	pending->claim.end = claimed;
	fuse_req_interrupt_func(request, mark, pending);
	fleet_claim(file, kind, &pending->claim);
}

static void unlock_range(fuse_req_t request, struct handle *handle, enum fleet_kind kind, struct range *range)
{
	struct fleet_file *file = handle->node->locks;
	struct pending *pending;

	handle->lost = false;
	if (!file) {
		fuse_reply_err(request, 0);
		return;
	}
	pending = pending_new(request);
	if (!pending)
		return;
	range->file = &file->range;
	pending->settler.end = settled;
	if (fleet_unlock(file, kind, range, &pending->settler) < 0)
		answer(pending, ENOLCK);
}

void locking_flock(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, int operation)
{
	struct handle *handle = handle_of(fi);
	struct range range = {.end = RANGE_END, .exclusive = (operation & ~LOCK_NB) == LOCK_EX, .handle = handle};

	(void)ino;
	if (!serve_flock_mode(serve_daemon(request))) {
		fuse_reply_err(request, ENOSYS);
		return;
	}
	range.owner = (uint64_t)(uintptr_t)handle;
	range.pid = fuse_req_ctx(request)->pid;
	if ((operation & ~LOCK_NB) == LOCK_UN)
		unlock_range(request, handle, FLEET_FLOCK, &range);
	else if (may_lock(request, handle))
		lock_range(request, handle, FLEET_FLOCK, &range, operation & LOCK_NB);
}

static struct range range_of(const struct fuse_file_info *fi, const struct flock *lock)
{
	return (struct range){
	    .start = lock->l_start,
	    .end = lock->l_len ? lock->l_start + lock->l_len - 1 : RANGE_END,
	    .exclusive = lock->l_type == F_WRLCK,
	    .owner = fi->lock_owner,
	    .handle = handle_of(fi),
	    .pid = lock->l_pid,
	};
}

void locking_setlk(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	struct handle *handle = handle_of(fi);
	struct range range = range_of(fi, lock);

	(void)ino;
	if (!serve_flock_mode(serve_daemon(request)))
		fuse_reply_err(request, ENOSYS);
	else if (lock->l_type == F_UNLCK)
		unlock_range(request, handle, FLEET_RANGES, &range);
	else if (may_lock(request, handle))
		lock_range(request, handle, FLEET_RANGES, &range, !sleep);
}

/* ---- F_GETLK ---- */

static void answer_question(struct pending *pending, short type)
{
	pending->lock.l_type = type;
	fuse_reply_lock(pending->request, &pending->lock);
	pending_free(pending);
}

/* Another host's lock is about the whole file, and its process has no number here. */
static void holder_found(void *arg, int error, struct found *found, unsigned holders)
{
	struct pending *pending = arg;
	bool other = found && holders > pending->ours;

	if (error) {
		answer(pending, error);
	} else if (other && (pending->lock.l_type == F_WRLCK || found->mode == LOCK_EX)) {
		pending->lock.l_start = pending->lock.l_len = 0;
		pending->lock.l_pid = 0;
		answer_question(pending, found->mode == LOCK_EX ? F_WRLCK : F_RDLCK);
	} else {
		answer_question(pending, F_UNLCK);
	}
}

/* What was on its way back is back: now the masters name only other holders, and this mount if it reads. */
static void ask_masters(struct settler *settler)
{
	struct pending *pending = CONTAINER(settler, struct pending, settler);

	ask_name(pending->daemon, pending->name, holder_found, pending);
}

static void answer_local(fuse_req_t request, struct flock *lock, const struct range *found)
{
	lock->l_type = found->exclusive ? F_WRLCK : F_RDLCK;
	lock->l_start = found->start;
	lock->l_len = found->end == RANGE_END ? 0 : found->end - found->start + 1;
	lock->l_pid = (pid_t)found->pid;
	fuse_reply_lock(request, lock);
}

/* False: it was answered already, and nothing was done. */
static bool ask_elsewhere(fuse_req_t request, struct fleet *fleet, const struct flock *lock, unsigned ours)
{
	char *name = strdup(fleet_name(fleet));
	struct pending *pending = name ? pending_new(request) : NULL;

	if (!name)
		fuse_reply_err(request, ENOLCK);
	if (!pending) {
		free(name);
		return false;
	}
	pending->name = name;
	pending->lock = *lock;
	pending->ours = ours;
	fuse_req_interrupt_func(request, mark, pending);
	pending->settler.end = ask_masters;
	fleet_settle(fleet, &pending->settler);
	return true;
}

void locking_getlk(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct handle *handle = handle_of(fi);
	struct range range = range_of(fi, lock), found;
	struct fleet_file *file;
	int mode;

	(void)ino;
	if (!serve_flock_mode(serve_daemon(request))) {
		fuse_reply_err(request, ENOSYS);
		return;
	}
	if (!may_lock(request, handle))
		return;
	file = fleet_enter(serve_daemon(request), handle->node);
	if (!file) {
		fuse_reply_err(request, ENOLCK);
		return;
	}
	range.file = &file->range;
	mode = fleet_mode(file->fleet);
	if (ranges_test(fleet_ranges(file->fleet, FLEET_RANGES), &range, &found)) {
		answer_local(request, lock, &found);
	} else if (mode == LOCK_EX || (mode == LOCK_SH && !range.exclusive)) {
		lock->l_type = F_UNLCK;
		fuse_reply_lock(request, lock);
	} else if (ask_elsewhere(request, file->fleet, lock, mode == LOCK_SH)) {
		return; /* with a step of the fleet, so that what is not used is gone */
	}
	fleet_leave(file);
}

/* ---- closing files ---- */

void locking_drop_owner(struct daemon *daemon, struct node *node, uint64_t lock_owner)
{
	(void)daemon;
	if (node->locks)
		fleet_drop_owner(node->locks, lock_owner);
}

void locking_drop_handle(struct daemon *daemon, struct handle *handle)
{
	(void)daemon;
	if (handle->node->locks)
		fleet_drop_handle(handle->node->locks, handle);
}

/* ---- life ---- */

int locking_open(struct daemon *daemon)
{
	return serve_flock_mode(daemon) ? fleets_open(daemon, lost, is_process) : 0;
}

void locking_close(struct daemon *daemon)
{
	fleets_close(daemon);
}

void locking_give_all_back(struct daemon *daemon)
{
	fleets_give_all_back(daemon);
}

void locking_settings_changed(struct daemon *daemon)
{
	fleets_settings_changed(daemon);
}
