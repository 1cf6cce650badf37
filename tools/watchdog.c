/*
 * watchdog.c - the process that guards the end of the lease; see watchdog.h.
 */
#include "watchdog.h"
#include "say.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARGIN_MIN_US 50000
#define MARGIN_MAX_US 2000000
#define ORPHAN_GRACE_US 1000000 /* between SIGTERM and SIGKILL when dlock was killed */
#define LOST_GRACE_US 50000     /* the same when the lock is lost already: another may hold it */

enum note_kind { NOTE_LEASE, NOTE_COMMAND, NOTE_LOST, NOTE_STOPPING };

/* What goes over the socket; both ends are the same program. */
struct note {
	int32_t kind;
	int32_t pid;        /* NOTE_COMMAND */
	int64_t time_us;    /* NOTE_LEASE: the deadline */
	int64_t lease_us;   /* NOTE_LEASE */
	uint64_t start;     /* NOTE_COMMAND */
	uint64_t token;     /* NOTE_COMMAND */
};

struct guard {
	int socket, timer;
	const char *shown_name;
	struct tree tree;    /* command 0 until it is known */
	int64_t deadline_us; /* 0 until it is known */
	int64_t margin_us;
};

static void tell(int socket, const struct note *note)
{
	/* A watchdog that is stopped or gone does not hold dlock up. */
	while (send(socket, note, sizeof(*note), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR)
		;
}

static int64_t margin_of(int64_t lease_us)
{
	int64_t margin_us = lease_us / 5;

	if (margin_us > MARGIN_MAX_US)
		margin_us = MARGIN_MAX_US;
	if (margin_us < MARGIN_MIN_US)
		margin_us = MARGIN_MIN_US;
	/* A renewal comes at a third of the lease: leave it time to. */
	return margin_us < lease_us * 2 / 5 ? margin_us : lease_us * 2 / 5;
}

/* Rounded so that the process is gone before the lease, never after. */
static int64_t kill_time(const struct guard *guard)
{
	return guard->deadline_us - guard->margin_us / 3;
}

static void stop_command(struct guard *guard, const char *reason, int64_t kill_at_us)
{
	struct note note = { .kind = NOTE_STOPPING };

	tell(guard->socket, &note);
	if (reason)
		say("%s: the lock was lost (%s): command stopped", guard->shown_name, reason);
	_exit(tree_stop(&guard->tree, guard->shown_name, kill_at_us) > 0);
}

static void stop_orphan(struct guard *guard)
{
	int64_t kill_at_us = clock_us() + ORPHAN_GRACE_US;
	pid_t example;

	if (guard->tree.command == 0 || tree_signal(&guard->tree, 0, &example) == 0)
		_exit(0);
	if (guard->deadline_us > 0 && kill_at_us > kill_time(guard))
		kill_at_us = kill_time(guard);
	stop_command(guard, "dlock was killed", kill_at_us);
}

static void take_note(struct guard *guard)
{
	struct note note;
	ssize_t size = recv(guard->socket, &note, sizeof(note), 0);

	if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN))
		stop_orphan(guard);
	if (size != (ssize_t)sizeof(note))
		return;
	switch (note.kind) {
	case NOTE_LEASE:
		guard->deadline_us = note.time_us;
		guard->margin_us = margin_of(note.lease_us);
		break;
	case NOTE_COMMAND:
		guard->tree.command = note.pid;
		guard->tree.command_start = note.start;
		guard->tree.token = note.token;
		break;
	case NOTE_LOST:
		stop_command(guard, NULL, clock_us() + LOST_GRACE_US);
		break;
	default:
		break;
	}
}

/* On CLOCK_BOOTTIME: the lease runs on while the machine is suspended. */
static void set_timer(const struct guard *guard)
{
	int64_t at_us = guard->deadline_us - guard->margin_us;
	struct itimerspec when = { .it_value = { at_us / 1000000, at_us % 1000000 * 1000 } };

	timerfd_settime(guard->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void watch(struct guard *guard)
{
	for (;;) {
		struct pollfd polled[] = { { .fd = guard->socket, .events = POLLIN }, { .fd = guard->timer, .events = POLLIN } };

		if (guard->tree.command && guard->deadline_us)
			set_timer(guard);
		if (poll(polled, 2, -1) < 0)
			continue;
		/* Notes first: a renewal may be among them. */
		if (polled[0].revents)
			take_note(guard);
		else if (guard->tree.command && clock_us() >= guard->deadline_us - guard->margin_us)
			stop_command(guard, "its lease was about to end without a renewal", kill_time(guard));
	}
}

/* Keeps nothing of its parent's but the socket and standard error. */
static void detach(int socket)
{
	int null = open("/dev/null", O_RDWR);
	int number;

	setsid();
	for (number = 1; number < NSIG; number++)
		signal(number, SIG_IGN);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	dup2(socket, 3); /* the caller has made sure that it is not below 3 */
	close_range(4, UINT_MAX, 0);
	prctl(PR_SET_NAME, "dlock-watchdog");
	if (chdir("/") < 0)
		return; /* then it pins a directory: no more than dlock itself does */
}

static void run_watchdog(int socket, pid_t parent, const char *name, const char *shown_name)
{
	struct guard guard = { .socket = 3, .shown_name = shown_name, .tree = { .name = name, .reaper = parent, .watchdog = getpid() } };

	detach(socket);
	guard.tree.reaper_start = tree_start_of(guard.tree.reaper);
	guard.timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
	if (guard.timer < 0)
		_exit(EX_OSERR);
	watch(&guard);
}

/* A shell may have closed standard streams: no end of ours takes their place. */
static int raise_above_streams(int fd)
{
	int raised;

	if (fd > STDERR_FILENO)
		return fd;
	raised = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	close(fd);
	return raised;
}

int watchdog_start(struct watchdog *ret_watchdog, const char *name, const char *shown_name)
{
	pid_t parent = getpid(), pid;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	ends[0] = raise_above_streams(ends[0]);
	ends[1] = raise_above_streams(ends[1]);
	pid = ends[0] < 0 || ends[1] < 0 ? -1 : fork();
	if (pid == 0) {
		close(ends[0]);
		run_watchdog(ends[1], parent, name, shown_name);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -1;
	}
	*ret_watchdog = (struct watchdog){ .pid = pid, .socket = ends[0] };
	return 0;
}

void watchdog_tell_lease(const struct watchdog *watchdog, int64_t deadline_us, int64_t lease_us)
{
	struct note note = { .kind = NOTE_LEASE, .time_us = deadline_us, .lease_us = lease_us };

	if (watchdog->pid)
		tell(watchdog->socket, &note);
}

void watchdog_tell_command(const struct watchdog *watchdog, uint64_t token)
{
	struct note note = { .kind = NOTE_COMMAND, .pid = getpid(), .token = token };

	if (!watchdog->pid)
		return;
	note.start = tree_start_of(note.pid);
	tell(watchdog->socket, &note);
}

void watchdog_tell_lost(const struct watchdog *watchdog)
{
	struct note note = { .kind = NOTE_LOST };

	tell(watchdog->socket, &note);
	kill(watchdog->pid, SIGCONT); /* someone may have stopped it */
}

bool watchdog_has_stopped(const struct watchdog *watchdog)
{
	struct note note;

	if (!watchdog->pid)
		return false;
	return recv(watchdog->socket, &note, sizeof(note), MSG_DONTWAIT) == (ssize_t)sizeof(note) && note.kind == NOTE_STOPPING;
}

void watchdog_end(struct watchdog *watchdog)
{
	if (!watchdog->pid)
		return;
	kill(watchdog->pid, SIGKILL);
	while (waitpid(watchdog->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(watchdog->socket);
	watchdog->pid = 0;
}
