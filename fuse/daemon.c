/* daemon.c - see daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "absences.h"
#include "ask.h"
#include "attributes.h"
#include "file.h"
#include "fleet.h"
#include "listing.h"
#include "locking.h"
#include "log.h"
#include "names.h"
#include "nodes.h"
#include "refusals.h"
#include "serve.h"
#include "tree.h"

#define REQUESTS_AT_ONCE 64        /* then the locks' descriptors have a turn */
#define CLOSING_US 3000000 /* what is not given back by then ends with its lease */
#define LAST_US 100000     /* a majority has confirmed; the other masters have not read it yet, perhaps */

/* ---- the kernel's requests ---- */

static void init(void *data, struct fuse_conn_info *conn)
{
	(void)data;
	/* Not wanted, the kernel would lock files here and now, and silently; in create mode they are refused. */
	conn->want |= conn->capable & (FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
	/* The kernel takes the set-user-ID bit away by a request of its own. */
	conn->want &= ~(unsigned)FUSE_CAP_HANDLE_KILLPRIV;
	conn->max_background = 1024;
	conn->congestion_threshold = 1024;
}

static void forget_node(struct daemon *daemon, fuse_ino_t ino, uint64_t count)
{
	struct node *node = nodes_find(daemon, ino);

	if (node)
		node_forget(daemon, node, count);
}

static void forget(fuse_req_t request, fuse_ino_t ino, uint64_t count)
{
	forget_node(serve_daemon(request), ino, count);
	fuse_reply_none(request);
}

static void forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_node(serve_daemon(request), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(request);
}

static const struct fuse_lowlevel_ops operations = {
    .init = init,
    .lookup = tree_lookup,
    .forget = forget,
    .forget_multi = forget_multi,
    .getattr = attributes_get,
    .setattr = attributes_set,
    .readlink = attributes_readlink,
    .mknod = tree_mknod,
    .mkdir = tree_mkdir,
    .unlink = tree_unlink,
    .rmdir = tree_rmdir,
    .symlink = tree_symlink,
    .rename = tree_rename,
    .link = tree_link,
    .open = file_open,
    .read = file_read,
    .write = file_write,
    .flush = file_flush,
    .release = file_release,
    .fsync = file_fsync,
    .opendir = listing_open,
    .readdir = listing_read,
    .releasedir = listing_release,
    .fsyncdir = file_fsync,
    .statfs = attributes_statfs,
    .getxattr = attributes_get_extended,
    .listxattr = attributes_list_extended,
    .create = tree_create,
    .getlk = locking_getlk,
    .setlk = locking_setlk,
    .flock = locking_flock,
};

static void requests_ready(struct source *source)
{
	struct daemon *daemon = CONTAINER(source, struct daemon, requests);

	for (int i = 0; i < REQUESTS_AT_ONCE; i++) {
		int size = fuse_session_receive_buf(daemon->session, &daemon->buffer);

		if (size == -EINTR)
			continue;
		if (size == -EAGAIN)
			return;
		if (size <= 0) {
			/* 0: it was unmounted. */
			daemon->fatal = size;
			daemon->loop.over = true;
			return;
		}
		fuse_session_process_buf(daemon->session, &daemon->buffer);
		locking_interrupts(daemon);
	}
}

/* ---- settings ---- */

/* 0 or -1, told to the log. */
static int take_settings(struct daemon *daemon)
{
	char why[1024];
	struct dlock_options *settings = options_resolve(daemon->options, why, sizeof(why));
	struct dlock_options *old = daemon->settings;

	if (!settings) {
		log_error("%s", why);
		return -1;
	}
	daemon->settings = settings;
	daemon->lease_ms = atoll(dlock_options_get(settings, "ttl"));
	if (ask_open(daemon) < 0) {
		log_error("the look-ups: %s", strerror(errno));
		daemon->settings = old;
		dlock_options_free(settings);
		return -1;
	}
	fleets_settings_changed(daemon);
	dlock_options_free(old);
	return 0;
}

static void reload(struct daemon *daemon)
{
	if (take_settings(daemon) == 0)
		log_info("the configuration was read again; locks that are held keep to what they were taken with");
	else
		log_error("the configuration stays as it was");
}

/* ---- signals ---- */

static void served_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGTERM);
	sigaddset(ret, SIGINT);
	sigaddset(ret, SIGHUP);
}

void daemon_block_signals(void)
{
	sigset_t signals;

	served_signals(&signals);
	sigaddset(&signals, SIGPIPE);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

static void signals_ready(struct source *source)
{
	struct daemon *daemon = CONTAINER(source, struct daemon, signals);
	struct signalfd_siginfo info;

	if (read(daemon->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		reload(daemon);
		return;
	}
	log_info("%s: every lock is given back", strsignal((int)info.ssi_signo));
	daemon->loop.over = true;
}

static int open_signals(struct daemon *daemon)
{
	sigset_t signals;

	served_signals(&signals);
	daemon->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signal_fd < 0)
		return -errno;
	daemon->signals.ready = signals_ready;
	return loop_watch(&daemon->loop, daemon->signal_fd, &daemon->signals);
}

/* ---- life ---- */

static int open_parts(struct daemon *daemon)
{
	int error = loop_open(&daemon->loop);

	if (!error)
		error = nodes_open(daemon);
	if (!error)
		error = locking_open(daemon);
	if (!error)
		error = open_signals(daemon);
	return error;
}

struct daemon *daemon_new(struct options *options)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int error;

	if (!daemon) {
		log_error("out of memory");
		return NULL;
	}
	daemon->options = options;
	daemon->signal_fd = -1;
	daemon->loop.epoll_fd = -1;
	error = open_parts(daemon);
	if (error)
		log_error("%s", strerror(-error));
	if (!error && take_settings(daemon) == 0)
		daemon->session = fuse_session_new(&options->fuse, &operations, sizeof(operations), daemon);
	if (daemon->session)
		return daemon;
	daemon_free(daemon);
	return NULL;
}

int daemon_mount(struct daemon *daemon)
{
	int fd;

	if (fuse_session_mount(daemon->session, daemon->options->mountpoint) < 0)
		return -1;
	daemon->mounted = true;
	fd = fuse_session_fd(daemon->session);
	daemon->requests.ready = requests_ready;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && loop_watch(&daemon->loop, fd, &daemon->requests) == 0)
		return 0;
	log_error("the mount: %s", strerror(errno));
	return -1;
}

/* No more requests are read: whoever still asks is answered by the end of the mount. */
static int give_back(struct daemon *daemon)
{
	bool something;
	int error = 0;

	epoll_ctl(daemon->loop.epoll_fd, EPOLL_CTL_DEL, fuse_session_fd(daemon->session), NULL);
	daemon->closing = true;
	daemon->loop.over = false;
	locking_give_all_back(daemon);
	names_give_all_back(daemon);
	something = daemon->moving > 0;
	if (something)
		error = loop_run(&daemon->loop, loop_now_us() + CLOSING_US);
	if (daemon->moving > 0)
		log_warning("%u locks could not be given back in time: they end with their leases", daemon->moving);
	daemon->loop.over = false;
	if (!error && something)
		error = loop_run(&daemon->loop, loop_now_us() + LAST_US);
	return error;
}

int daemon_serve(struct daemon *daemon)
{
	int error = loop_run(&daemon->loop, INT64_MAX);

	if (!error)
		error = daemon->fatal;
	return error ? error : give_back(daemon);
}

void daemon_free(struct daemon *daemon)
{
	if (daemon->session && daemon->mounted)
		fuse_session_unmount(daemon->session);
	if (daemon->looks)
		ask_close(daemon);
	locking_close(daemon);
	handles_close(daemon);
	names_close(daemon);
	nodes_close(daemon);
	refusals_close(daemon);
	absences_close(daemon);
	if (daemon->session)
		fuse_session_destroy(daemon->session);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	if (daemon->loop.epoll_fd >= 0)
		loop_close(&daemon->loop);
	dlock_options_free(daemon->settings);
	free(daemon->buffer.mem);
	free(daemon);
}
