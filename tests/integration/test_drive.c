/*
 * test_drive.c - a thread that waits drives the library's loop itself (drive.c): what signals do to it, and to others.
 *
 * Of the process's threads that wait the first drives, the others wait behind it. While it does, its signals are blocked
 * and looked at: nothing of that may show. Bounds are for what hangs; that nothing happens is seen in a second, in which
 * hundreds of signals come. Handlers with and without SA_RESTART by themselves, and close, are in test_faults.c.
 */
#include <criterion/criterion.h>

#include "tests/harness/fleet.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define LASTING "ttl=60000 max_ttl=120000 node_timeout=3000 quorum_timeout=20000"
#define LATE_MS 20000 /* only what hangs takes as long */
#define STAYS_MS 1000

static struct fleet fleet;
static struct peer peer;

static void begin(void)
{
	cr_assert_eq(fleet_start(&fleet, &(struct fleet_setup){.settings = LASTING}), 0);
}

static void tear_down(void)
{
	peer_kill(&peer);
	fleet_end(&fleet);
}

TestSuite(drive, .fini = tear_down, .timeout = 100);

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())

static int open_lock(const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

static bool waits(int fd)
{
	struct dlock_stat stat;

	must(dlock_stat(fd, &stat, sizeof(stat)));
	return stat.state == DLOCK_STATE_WAITING;
}

/* ---- a call with a mask of its own ---- */

static atomic_int handled[2];

static void count_first(int number)
{
	(void)number;
	atomic_fetch_add(&handled[0], 1);
}

static void count_second(int number)
{
	(void)number;
	atomic_fetch_add(&handled[1], 1);
}

static void handle(int number, void (*handler)(int), int flags)
{
	cr_assert_eq(sigaction(number, &(struct sigaction){.sa_handler = handler, .sa_flags = flags}, NULL), 0);
}

struct caller {
	pthread_t thread;
	int fd, result, error;
	sigset_t blocks, after, pending; /* pending: behind the call */
	atomic_bool finished;
};

static void *call(void *arg)
{
	struct caller *caller = arg;

	pthread_sigmask(SIG_SETMASK, &caller->blocks, NULL);
	caller->result = dlock_lock(caller->fd);
	caller->error = errno;
	pthread_sigmask(SIG_SETMASK, NULL, &caller->after);
	sigpending(&caller->pending);
	atomic_store(&caller->finished, true);
	return NULL;
}

/* Back when it waits. `blocks`: a signal, or 0. */
static void start(struct caller *caller, int fd, int blocks)
{
	memset(caller, 0, sizeof(*caller));
	caller->fd = fd;
	sigemptyset(&caller->blocks);
	if (blocks)
		sigaddset(&caller->blocks, blocks);
	cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
	cr_assert(FLEET_UNTIL(waits(fd), LATE_MS), "the call does not wait");
}

/* It ended so, and left the mask as it was. */
static void join(struct caller *caller, int error)
{
	cr_assert(FLEET_UNTIL(atomic_load(&caller->finished), LATE_MS), "still waiting");
	pthread_join(caller->thread, NULL);
	cr_assert_eq(caller->result, error ? -1 : 0, "%d: %s", caller->result, strerror(caller->error));
	if (error)
		cr_assert_eq(caller->error, error, "%s instead of %s", strerror(caller->error), strerror(error));
	for (int s = 1; s <= SIGRTMAX; s++)
		cr_assert_eq(sigismember(&caller->after, s), sigismember(&caller->blocks, s), "signal %d", s);
}

/* Signals that come again and again do not end the call. */
static void stays_through(struct caller *caller, int number)
{
	int64_t end_ms = fleet_now_ms() + STAYS_MS;

	while (fleet_now_ms() < end_ms) {
		cr_assert_eq(pthread_kill(caller->thread, number), 0);
		fleet_sleep_ms(3);
	}
	cr_assert_not(atomic_load(&caller->finished), "signal %d ended the call: %s", number, strerror(caller->error));
	cr_assert(waits(caller->fd));
}

/* ---- whom signals interrupt ---- */

Test(drive, only_the_handler_without_restart_interrupts)
{
	struct caller caller;
	int fd, waiting, restarts;

	begin();
	handle(SIGUSR1, count_first, SA_RESTART);
	handle(SIGUSR2, count_second, 0);
	fd = open_lock("both kinds");
	waiting = open_lock("both kinds");
	must(dlock_lock(fd));
	start(&caller, waiting, 0);
	stays_through(&caller, SIGUSR1);
	restarts = atomic_load(&handled[0]);
	cr_assert_gt(restarts, 0);
	cr_assert_eq(pthread_kill(caller.thread, SIGUSR2), 0);
	join(&caller, EINTR);
	cr_assert_eq(atomic_load(&handled[1]), 1);
	must(dlock_close(waiting));
	must(dlock_close(fd));
}

Test(drive, what_the_caller_blocks_stays_pending)
{
	struct caller caller;
	int fd, waiting;

	begin();
	handle(SIGUSR2, count_second, 0);
	fd = open_lock("blocked");
	waiting = open_lock("blocked");
	must(dlock_lock(fd));
	start(&caller, waiting, SIGUSR2);
	stays_through(&caller, SIGUSR2);
	must(dlock_unlock(fd));
	join(&caller, 0);
	cr_assert_eq(sigismember(&caller.pending, SIGUSR2), 1);
	cr_assert_eq(atomic_load(&handled[1]), 0);
	must(dlock_close(waiting));
	must(dlock_close(fd));
}

static void goes_on_through(int number, void (*handler)(int))
{
	struct caller caller;
	int fd, waiting;

	begin();
	handle(number, handler, 0);
	fd = open_lock("ignored");
	waiting = open_lock("ignored");
	must(dlock_lock(fd));
	start(&caller, waiting, 0);
	stays_through(&caller, number);
	must(dlock_unlock(fd));
	join(&caller, 0);
	must(dlock_verify(waiting));
	must(dlock_close(waiting));
	must(dlock_close(fd));
}

Test(drive, ignored_signals) { goes_on_through(SIGUSR1, SIG_IGN); }
Test(drive, signals_that_do_nothing_by_default) { goes_on_through(SIGCHLD, SIG_DFL); }

/* ---- threads behind the driver ---- */

/* The driver is interrupted, or gets its lock: who waits behind it is served all the same. */
static void another_is_served_after(bool interrupted)
{
	struct caller driver, behind;
	int fds[4];

	begin();
	handle(SIGUSR2, count_second, 0);
	for (int i = 0; i < 4; i++)
		fds[i] = open_lock(i % 2 ? "the driver's" : "behind it");
	must(dlock_lock(fds[0]));
	must(dlock_lock(fds[1]));
	start(&driver, fds[3], 0);
	start(&behind, fds[2], 0);
	if (interrupted)
		cr_assert_eq(pthread_kill(driver.thread, SIGUSR2), 0);
	else
		must(dlock_unlock(fds[1]));
	join(&driver, interrupted ? EINTR : 0);
	cr_assert(waits(fds[2]));
	must(dlock_unlock(fds[0]));
	join(&behind, 0);
	for (int i = 0; i < 4; i++)
		must(dlock_close(fds[i]));
}

Test(drive, another_is_served_after_an_interruption) { another_is_served_after(true); }
Test(drive, another_is_served_after_a_grant) { another_is_served_after(false); }

Test(drive, who_waits_behind_the_driver_is_interrupted)
{
	struct caller driver, behind;
	int fd, one, two;

	begin();
	handle(SIGUSR2, count_second, 0);
	fd = open_lock("behind");
	one = open_lock("behind");
	two = open_lock("behind");
	must(dlock_lock(fd));
	start(&driver, one, 0);
	start(&behind, two, 0);
	/* Again and again: the first may come just before it sleeps. */
	cr_assert(FLEET_UNTIL(atomic_load(&behind.finished) || pthread_kill(behind.thread, SIGUSR2) != 0, LATE_MS));
	join(&behind, EINTR);
	cr_assert(waits(one));
	must(dlock_unlock(fd));
	join(&driver, 0);
	must(dlock_close(one));
	must(dlock_close(two));
	must(dlock_close(fd));
}

/* ---- processes ---- */

static bool all_know_that_it_waits(const char *name)
{
	for (int i = 0; i < servers_count(fleet.servers); i++) {
		char *reply = servers_command(fleet.servers, i, "ZCARD dlock!queue:dlock:%s", name);
		bool there = reply && strcmp(reply, "1") == 0;

		free(reply);
		if (!there)
			return false;
	}
	return true;
}

/* Behind `fd`, which is held. In a process group of its own, whose leader's parent is in another: such a one can be
 * stopped as from a terminal. */
static void start_waiting_peer(int fd, const char *name)
{
	int waiting;

	handle(SIGTERM, SIG_DFL, 0);
	handle(SIGTSTP, SIG_DFL, 0);
	cr_assert_eq(peer_start(&peer, fleet.options), 0);
	must(setpgid(peer.pid, peer.pid));
	waiting = (int)peer_open(&peer, name);
	cr_assert(waiting >= 0, "%s", strerror(errno));
	must(dlock_lock(fd));
	peer_ask(&peer, PEER_LOCK, waiting, LOCK_EX, -1, NULL);
	cr_assert(FLEET_UNTIL(all_know_that_it_waits(name), LATE_MS));
}

Test(drive, a_signal_without_a_handler_kills)
{
	int fd, status = 0;
	pid_t pid;

	begin();
	fd = open_lock("killed");
	start_waiting_peer(fd, "killed");
	pid = peer.pid;
	cr_assert_eq(kill(pid, SIGTERM), 0);
	cr_assert(FLEET_UNTIL(waitpid(pid, &status, WNOHANG) == pid, LATE_MS), "it lives");
	peer.pid = 0;
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "%x", (unsigned)status);
	must(dlock_close(fd));
}

static void goes_on_after(int stop)
{
	struct peer_answer answer;
	int fd, status = 0;

	begin();
	fd = open_lock("stopped");
	start_waiting_peer(fd, "stopped");
	cr_assert_eq(kill(peer.pid, stop), 0);
	cr_assert(FLEET_UNTIL(waitpid(peer.pid, &status, WUNTRACED | WNOHANG) == peer.pid, LATE_MS), "it does not stop");
	cr_assert(WIFSTOPPED(status) && WSTOPSIG(status) == stop, "%x", (unsigned)status);
	peer_cont(&peer);
	cr_assert_not(peer_answer(&peer, &answer, STAYS_MS), "%s", strerror(answer.error));
	must(dlock_unlock(fd));
	cr_assert(peer_answer(&peer, &answer, LATE_MS), "still waiting");
	cr_assert_eq(answer.result, 0, "%s", strerror(answer.error));
	must(dlock_close(fd));
}

Test(drive, stopped_and_continued) { goes_on_after(SIGSTOP); }
Test(drive, stopped_from_a_terminal_and_continued) { goes_on_after(SIGTSTP); }
