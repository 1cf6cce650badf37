/*
 * files.c - the clients that see no library: a command under dlock(1), programs on mounts.
 *
 * None of them is told a deadline. What they can honestly say is "at this moment I had
 * it": so the lock is told with a deadline of its return, and then, for as long as it is
 * there, lines `renew` whose deadline is the moment before something that would have
 * failed without the lock.
 *
 *   under  to live: dlock(1) stops its command before the lease can end.
 *   mkdir  futimens(2) of the directory that was made: dlockfs looks at the lease first.
 *   flock  write(2) to the file: EIO once the loss is known. dlockfs learns of it by a
 *          thread, which a busy machine may keep waiting: LATE_NS are taken off, so what
 *          is short proves nothing here.
 *
 * A mount's worker is the only one on its mount, because for its mount all names are
 * "ours", whichever process made them.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LATE_NS 300000000
#define BEAT_US 20000

/* As deadline: just the return. */
#define AT_RETURN (-1)

static void tell_now(struct event *e, const char *operation, int error, int64_t call_ns, int64_t deadline_ns)
{
	e->operation = operation;
	e->error = error;
	e->call_ns = call_ns;
	e->return_ns = now_ns();
	e->deadline_ns = deadline_ns == AT_RETURN ? e->return_ns + 1 : deadline_ns;
	tell(e);
}

/* Before the call that gives back; its time. */
static int64_t begin_end(struct event *e)
{
	e->operation = "unlock";
	e->error = 0;
	e->call_ns = now_ns();
	e->return_ns = e->deadline_ns = 0;
	tell(e);
	return e->call_ns;
}

static int count_of(char **names)
{
	int count = 0;

	while (names[count] != NULL)
		count++;
	return count;
}

/* --- under dlock(1) ----------------------------------------------------------------- */

int run_under(const char *mode, uint64_t hold_us, int64_t call_ns, const char *patience)
{
	const char *token = getenv("DLOCK_TOKEN"), *name = getenv("DLOCK_NAME");
	struct event e = {.fd = 1, .mode = mode, .name = name};
	int64_t value, until = now_ns() + (int64_t)hold_us * 1000;

	if (token == NULL || name == NULL) {
		fputs("dlock has set no DLOCK_TOKEN\n", stderr);
		return 2;
	}
	e.token = strtoull(token, NULL, 10);
	e.patience = patience;
	tell_now(&e, "lock", 0, call_ns, AT_RETURN);
	e.patience = NULL;
	if (register_read(&e, &value) && mode[0] == 'X')
		register_write(&e, value + 1);
	while (!stopping && now_ns() < until) {
		int64_t now = now_ns();

		tell_now(&e, "renew", 0, now, now);
		sleep_us(until - now < BEAT_US * 1000 ? (until - now) / 1000 : BEAT_US);
	}
	if (stopping)
		tell_now(&e, "lost", ESTALE, now_ns(), 0);
	else
		tell_now(&e, "unlock", 0, now_ns(), 0);
	return 0;
}

/* --- create mode --------------------------------------------------------------------- */

/* Where the mount is gone for a moment the folder below it takes everything, which is no lock: that goes again. */
static bool is_on_mount(int fd, const char *path, bool directory)
{
	struct statfs about;

	if (fstatfs(fd, &about) == 0 && about.f_type == FUSE_SUPER_MAGIC)
		return true;
	if (errno != ENOTCONN)
		unlinkat(AT_FDCWD, path, directory ? AT_REMOVEDIR : 0);
	return false;
}

/* A directory or a file of ours that must not have been there; the descriptor, or -errno. */
static int create(const char *path, bool directory)
{
	int64_t made;
	int fd;

	if (!directory) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || is_on_mount(fd, path, false))
			return fd < 0 ? -errno : fd;
		close(fd);
		return -ENOTCONN;
	}
	if (mkdir(path, 0700) != 0)
		return -errno;
	made = now_ns();
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Later it could be somebody else's. */
	if (fd >= 0 && now_ns() - made < 1000000000 && is_on_mount(fd, path, true))
		return fd;
	if (fd >= 0)
		close(fd);
	return -ETIMEDOUT;
}

/* What is still there although it should not be: the mount holds it for as long as it is.
 * One that is not there, or somebody else's, is nothing of ours. */
static bool still_there[NAMES_MAX];

static void remove_it(const char *folder, char **names, int index)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, names[index]);
	still_there[index] = unlink(path) != 0 && rmdir(path) != 0 && errno != ENOENT && errno != EBUSY;
}

static void remove_leftovers(const char *folder, char **names)
{
	for (int i = 0; names[i] != NULL; i++)
		if (still_there[i])
			remove_it(folder, names, i);
}

static uint64_t token_of(const char *path)
{
	char text[32] = "";

	return getxattr(path, "user.dlock.token", text, sizeof(text) - 1) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* Holds it until the time is over; false when it was lost. What could not be told to the
 * masters was no loss (ENOLCK), only no proof. */
static bool keep(struct event *e, int fd, int64_t until)
{
	while (!stopping) {
		int64_t now = now_ns();
		int error = futimens(fd, NULL) == 0 ? 0 : errno;

		if (error != 0 && error != ENOLCK && error != EINTR)
			return false;
		if (error == 0)
			tell_now(e, "renew", 0, now, now);
		if (now >= until)
			break;
		sleep_us(until - now < BEAT_US * 1000 ? (until - now) / 1000 : BEAT_US);
	}
	return true;
}

/* What an attempt that failed says of the lock, for the checker: held by another, or nothing. */
static int failure(int error)
{
	return error == EEXIST || error == EBUSY || error == EISDIR ? EWOULDBLOCK : error;
}

/* Whether it says anything of locks; a mount that was killed gives other errors. */
static bool counts(int error)
{
	return error == 0 || error == EWOULDBLOCK || error == ENOLCK || error == EINTR;
}

static void make_and_remove(uint64_t *random, const char *folder, char **names, int index)
{
	struct event e = {.fd = index + 1, .mode = "X", .name = names[index], .patience = "nb"};
	char path[4096];
	int64_t call = now_ns(), until;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, e.name);
	fd = create(path, chance(random, 2) == 0);
	if (counts(failure(fd < 0 ? -fd : 0)))
		tell_now(&e, "lock", fd < 0 ? failure(-fd) : 0, call, fd < 0 ? 0 : AT_RETURN);
	e.patience = NULL;
	/* It may have been made all the same. */
	still_there[index] = fd < 0 && failure(-fd) != EWOULDBLOCK;
	if (fd < 0)
		return;
	until = now_ns() + 1000 * (int64_t)chance(random, is_long(e.name) ? LONG_US : 40000);
	if (!keep(&e, fd, until)) {
		tell_now(&e, "lost", ESTALE, now_ns(), 0);
		tell_now(&e, "unlock", 0, now_ns(), 0);
		close(fd);
		remove_it(folder, names, index);
		return;
	}
	/* Asked of the masters, so it is no proof, and told for people. */
	if (chance(random, 10) == 0)
		token_of(path);
	call = begin_end(&e);
	remove_it(folder, names, index);
	tell_now(&e, "unlock", 0, call, 0);
	close(fd);
}

int run_mkdir(uint64_t seed, const char *folder, char **names)
{
	int count = count_of(names);

	/* What one that was killed has left. */
	for (int i = 0; i < count; i++)
		still_there[i] = true;
	while (!stopping) {
		remove_leftovers(folder, names);
		make_and_remove(&seed, folder, names, (int)chance(&seed, (uint64_t)count));
		sleep_us((int64_t)chance(&seed, 60000));
	}
	remove_leftovers(folder, names);
	return 0;
}

/* --- flock mode ---------------------------------------------------------------------- */

static void nothing(int signal)
{
	(void)signal;
}

static void keep_flock(struct event *e, int fd, int64_t until)
{
	while (!stopping) {
		int64_t now = now_ns();

		if (pwrite(fd, "", 1, 0) < 0) {
			tell_now(e, "lost", ESTALE, now_ns(), 0);
			break;
		}
		tell_now(e, "renew", 0, now, now - LATE_NS);
		if (now >= until)
			break;
		sleep_us(until - now < BEAT_US * 1000 ? (until - now) / 1000 : BEAT_US);
	}
	tell_now(e, "unlock", 0, now_ns(), 0);
}

/* Waits for a time that chance chooses, or not at all. */
static int take_flock(uint64_t *random, struct event *e, int fd)
{
	int operation = e->mode[0] == 'X' ? LOCK_EX : LOCK_SH;
	struct itimerval span = {.it_value.tv_usec = 1000 + (suseconds_t)chance(random, 900000)};
	int r;

	if (chance(random, 2) == 0) {
		e->patience = "nb";
		return flock(fd, operation | LOCK_NB) == 0 ? 0 : errno;
	}
	setitimer(ITIMER_REAL, &span, NULL);
	r = flock(fd, operation) == 0 ? 0 : errno;
	span.it_value.tv_usec = 0;
	setitimer(ITIMER_REAL, &span, NULL);
	return r;
}

static void lock_file(uint64_t *random, const char *folder, char **names, int index)
{
	struct event e = {.fd = index + 1, .mode = chance(random, 10) < 7 ? "X" : "S", .name = names[index]};
	char path[4096];
	int64_t call;
	int fd, error;

	snprintf(path, sizeof(path), "%s/%s", folder, e.name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (!is_on_mount(fd, path, false)) {
		close(fd);
		return;
	}
	call = now_ns();
	error = take_flock(random, &e, fd);
	if (counts(error))
		tell_now(&e, "lock", error, call, error ? 0 : AT_RETURN);
	e.patience = NULL;
	if (error == 0) {
		int64_t hold_us = is_long(e.name) ? LATE_NS / 1000 + (int64_t)chance(random, LONG_US) : (int64_t)chance(random, 20000);

		keep_flock(&e, fd, now_ns() + hold_us * 1000);
		if (chance(random, 2) == 0)
			flock(fd, LOCK_UN);
	}
	close(fd);
}

int run_flock(uint64_t seed, const char *folder, char **names)
{
	struct sigaction action = {.sa_handler = nothing};
	int count = count_of(names);

	sigemptyset(&action.sa_mask);
	sigaction(SIGALRM, &action, NULL);
	while (!stopping) {
		lock_file(&seed, folder, names, (int)chance(&seed, (uint64_t)count));
		sleep_us((int64_t)chance(&seed, 60000));
	}
	return 0;
}
