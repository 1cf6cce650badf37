/*
 * noop_fuse.c - a file system that does nothing but answer: the floor beside dlockfs.
 *
 * Usage: noop_fuse [-d] MOUNTPOINT
 * Serves in the foreground until SIGTERM, SIGINT or the end of the mount.
 *
 * Names in the root and flock(2) on them, from a small table in memory, without asking
 * anybody. All that the kernel sees of it is as dlockfs has it in flock mode: the mount
 * options, what INIT agrees on, the time-outs, the operations that there are, one
 * thread and one loop in which a request is read when epoll_wait(2) tells of it. So the
 * kernel asks both the same questions, and the difference is what dlockfs does.
 */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ENTRIES 16
#define FIRST_INODE 2
#define ROOT_TIMEOUT_S 3600.0
#define REQUESTS_AT_ONCE 64

/* Its inode follows from its place. One that was removed stays until the kernel has forgotten it. */
struct entry {
	char name[64]; /* "": removed, or never there */
	mode_t mode;
	uint64_t lookups;
};

static struct entry entries[ENTRIES];

/* ---- the table ---- */

static struct entry *by_inode(fuse_ino_t inode)
{
	return inode >= FIRST_INODE && inode < FIRST_INODE + ENTRIES ? &entries[inode - FIRST_INODE] : NULL;
}

static struct entry *by_name(const char *name)
{
	for (struct entry *entry = entries; entry < entries + ENTRIES; entry++)
		if (entry->name[0] && strcmp(entry->name, name) == 0)
			return entry;
	return NULL;
}

static struct entry *new_entry(const char *name, mode_t mode)
{
	for (struct entry *entry = entries; entry < entries + ENTRIES; entry++)
		if (!entry->name[0] && entry->lookups == 0 && strlen(name) < sizeof(entry->name)) {
			memcpy(entry->name, name, strlen(name) + 1);
			entry->mode = mode;
			return entry;
		}
	return NULL;
}

static struct stat stat_of(fuse_ino_t inode)
{
	const struct entry *entry = by_inode(inode);
	struct stat stat = {.st_ino = inode, .st_uid = getuid(), .st_gid = getgid(), .st_nlink = 1};

	stat.st_mode = entry ? entry->mode : S_IFDIR | 0777;
	return stat;
}

static struct fuse_entry_param entry_of(struct entry *entry)
{
	struct fuse_entry_param param = {.ino = (fuse_ino_t)(entry - entries) + FIRST_INODE};

	param.attr = stat_of(param.ino);
	entry->lookups++;
	return param;
}

/* ---- requests ---- */

static void init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	conn->want |= conn->capable & (FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	conn->max_background = 1024;
	conn->congestion_threshold = 1024;
}

static void reply_entry(fuse_req_t request, struct entry *entry)
{
	struct fuse_entry_param param;

	if (!entry) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	param = entry_of(entry);
	fuse_reply_entry(request, &param);
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	reply_entry(request, parent == FUSE_ROOT_ID ? by_name(name) : NULL);
}

static void forget_one(fuse_ino_t inode, uint64_t count)
{
	struct entry *entry = by_inode(inode);

	if (entry)
		entry->lookups -= count < entry->lookups ? count : entry->lookups;
}

static void forget(fuse_req_t request, fuse_ino_t inode, uint64_t count)
{
	forget_one(inode, count);
	fuse_reply_none(request);
}

static void forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_one(forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(request);
}

static void getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *fi)
{
	struct stat stat = stat_of(inode);

	(void)fi;
	fuse_reply_attr(request, &stat, inode == FUSE_ROOT_ID ? ROOT_TIMEOUT_S : 0);
}

static void make_directory(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct entry *entry = NULL;

	if (parent == FUSE_ROOT_ID && !by_name(name))
		entry = new_entry(name, S_IFDIR | (mode & 07777));
	if (entry)
		reply_entry(request, entry);
	else
		fuse_reply_err(request, by_name(name) ? EEXIST : ENOSPC);
}

static void remove_name(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct entry *entry = parent == FUSE_ROOT_ID ? by_name(name) : NULL;

	if (entry)
		entry->name[0] = '\0';
	fuse_reply_err(request, entry ? 0 : ENOENT);
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct entry *entry = parent == FUSE_ROOT_ID ? new_entry(name, S_IFREG | (mode & 07777)) : NULL;
	struct fuse_entry_param param;

	if (!entry) {
		fuse_reply_err(request, ENOSPC);
		return;
	}
	param = entry_of(entry);
	fuse_reply_create(request, &param, fi);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *fi)
{
	(void)inode;
	fuse_reply_open(request, fi);
}

static void done(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *fi)
{
	(void)inode;
	(void)fi;
	fuse_reply_err(request, 0);
}

static void lock_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *fi, int operation)
{
	(void)operation;
	done(request, inode, fi);
}

static void refuse_lock(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	(void)inode;
	(void)fi;
	(void)lock;
	(void)sleep;
	fuse_reply_err(request, ENOLCK);
}

static const struct fuse_lowlevel_ops operations = {
	.init = init,
	.lookup = lookup,
	.forget = forget,
	.forget_multi = forget_multi,
	.getattr = getattr,
	.mkdir = make_directory,
	.rmdir = remove_name,
	.unlink = remove_name,
	.create = create,
	.open = open_file,
	.flush = done,
	.release = done,
	.flock = lock_file,
	.setlk = refuse_lock, /* is there, since INIT asks for it */
};

/* ---- the loop ---- */

/* False: the mount has ended, or cannot be served. */
static bool serve_ready(struct fuse_session *session, struct fuse_buf *buffer)
{
	for (int i = 0; i < REQUESTS_AT_ONCE; i++) {
		int size = fuse_session_receive_buf(session, buffer);

		if (size == -EINTR)
			continue;
		if (size <= 0)
			return size == -EAGAIN;
		fuse_session_process_buf(session, buffer);
	}
	return true;
}

static int watch(int epoll_fd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int serve(struct fuse_session *session, int signal_fd)
{
	struct fuse_buf buffer = {0};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), fd = fuse_session_fd(session);
	bool goes_on = epoll_fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && watch(epoll_fd, fd) == 0 &&
	               watch(epoll_fd, signal_fd) == 0;
	int status = goes_on ? 0 : 1;

	if (!goes_on)
		perror("noop_fuse");
	while (goes_on) {
		struct epoll_event event;
		int count = epoll_wait(epoll_fd, &event, 1, -1);

		if (count > 0)
			goes_on = event.data.fd == fd && serve_ready(session, &buffer);
		else
			goes_on = errno == EINTR;
	}
	free(buffer.mem);
	if (epoll_fd >= 0)
		close(epoll_fd);
	return status;
}

int main(int argc, char **argv)
{
	static char *arguments[] = {"noop_fuse", "-o", "fsname=noop,subtype=noop,default_permissions", "-d", NULL};
	bool debug = argc == 3 && strcmp(argv[1], "-d") == 0;
	struct fuse_args args = FUSE_ARGS_INIT(debug ? 4 : 3, arguments);
	struct fuse_session *session;
	int signal_fd, status = 1;
	sigset_t signals;

	if (argc != (debug ? 3 : 2)) {
		fprintf(stderr, "Usage: noop_fuse [-d] MOUNTPOINT\n");
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	session = signal_fd < 0 ? NULL : fuse_session_new(&args, &operations, sizeof(operations), NULL);
	if (session && fuse_session_mount(session, argv[argc - 1]) == 0) {
		status = serve(session, signal_fd);
		fuse_session_unmount(session);
	}
	if (session)
		fuse_session_destroy(session);
	return status;
}
