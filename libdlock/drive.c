/* drive.c - a calling thread in the place of the keeper's, while it waits; see keeper.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "keeper.h"

#define OVERDUE_US 10000
#define GRACE_NS 2000000 /* so long the thread is kept out of the way of the next call */

/* ---- who watches ---- */

void drive_thread_watches(bool watches)
{
	struct epoll_event event = {.events = watches ? EPOLLIN : 0, .data.fd = keeper.epoll_fd};

	if (keeper.thread_watches != watches && epoll_ctl(keeper.thread_epoll_fd, EPOLL_CTL_MOD, keeper.epoll_fd, &event) == 0)
		keeper.thread_watches = watches;
}

/* Nobody waits, and the keeper's thread does not watch. The next call is likely to come soon and from the same thread, so
 * that one is not woken by what is left to be answered, but a moment later. */
static void let_rest(void)
{
	static const struct itimerspec grace = {.it_value.tv_nsec = GRACE_NS};

	if (!keeper.resumes && timerfd_settime(keeper.resume_fd, 0, &grace, NULL) == 0)
		keeper.resumes = true;
	if (!keeper.resumes)
		drive_thread_watches(true);
}

static void begin_driving(void)
{
	keeper.driven = true;
	drive_thread_watches(false);
}

/* Some master is slow to answer: as soon as it does that has to be known, or the next call would believe it silent. */
static bool is_overdue(const struct cluster *cluster, int64_t now_us)
{
	for (unsigned i = 0; i < cluster->config.server_count; i++)
		if (quorum_owes(&cluster->quorum, i, OVERDUE_US, now_us))
			return true;
	return false;
}

static void end_driving(void)
{
	int64_t now_us = keeper_now_us();
	bool rests = !keeper_is_awaited();

	keeper.driven = false;
	for (const struct cluster *cluster = keeper.clusters; cluster; cluster = cluster->next)
		rests = rests && !is_overdue(cluster, now_us);
	if (rests)
		let_rest();
	else
		drive_thread_watches(true);
}

/* ---- signals ----
 *
 * poll(2) can't be told to go on after a handler with SA_RESTART, as flock(2) does. So the signals are blocked while a
 * thread drives, and looked at when there are some: their handlers run between two rounds, and one without SA_RESTART
 * interrupts the call.
 */

/* All but what a fault of the thread itself raises. */
static void signals_to_block(sigset_t *ret)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};

	sigfillset(ret);
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		sigdelset(ret, faults[i]);
}

/* Those that wake the driver: of the ones that are blocked now, all that the caller does not block; and no SIGPIPE, if a
 * TLS library may have raised it. */
static int watch_signals(const sigset_t *callers)
{
	sigset_t key = *callers, wake;
	int fd;

	if (keeper.uses_tls)
		sigaddset(&key, SIGPIPE);
	if (keeper.signal_fd >= 0 && memcmp(&key, &keeper.signals_without, sizeof(key)) == 0)
		return 0;
	signals_to_block(&wake);
	for (int s = 1; s <= SIGRTMAX; s++)
		if (sigismember(&key, s) == 1)
			sigdelset(&wake, s);
	fd = signalfd(keeper.signal_fd, &wake, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	keeper.signal_fd = fd;
	keeper.signals = wake;
	keeper.signals_without = key;
	return 0;
}

/* Whether a handler that ran, or will, is one that interrupts calls. */
static bool interrupts(int number)
{
	struct sigaction action;

	return sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
	       !(action.sa_flags & SA_RESTART);
}

/* Lets those through that have come: and no others, so that none goes by unseen. */
static bool take_signals(const sigset_t *wake)
{
	sigset_t pending, now;
	bool interrupted = false;

	sigpending(&pending);
	sigemptyset(&now);
	for (int s = 1; s <= SIGRTMAX; s++)
		if (sigismember(&pending, s) == 1 && sigismember(wake, s) == 1) {
			sigaddset(&now, s);
			interrupted = interrupted || interrupts(s);
		}
	pthread_sigmask(SIG_UNBLOCK, &now, NULL);
	pthread_sigmask(SIG_BLOCK, &now, NULL);
	return interrupted;
}

void keeper_drop_sigpipe(void)
{
	static const struct timespec at_once = {0};
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	while (sigtimedwait(&pipe, NULL, &at_once) < 0 && errno == EINTR)
		;
}

/* ---- waiting ---- */

void waiting_init(struct waiting *waiting)
{
	waiting->finished = false;
	sem_init(&waiting->done, 0, 0);
}

void waiting_clear(struct waiting *waiting)
{
	sem_destroy(&waiting->done);
}

void waiting_finish(struct waiting *waiting)
{
	waiting->finished = true;
	sem_post(&waiting->done);
	if (keeper.polling == waiting)
		keeper_poke();
}

bool keeper_is_awaited(void)
{
	if (keeper.calls > 0)
		return true;
	for (const struct cluster *cluster = keeper.clusters; cluster; cluster = cluster->next)
		if (cluster->surveys.first || cluster->surveys_waiting.first)
			return true;
	return false;
}

/* Drives until it has finished, or signals have come. Needs the mutex, and gives it back. True: it has finished. */
static bool drive(const struct waiting *waiting)
{
	struct pollfd ready[2] = {{.fd = keeper.epoll_fd, .events = POLLIN}, {.fd = keeper.signal_fd, .events = POLLIN}};
	bool finished, signals = false;

	begin_driving();
	while (!waiting->finished && !signals) {
		keeper.polling = waiting;
		keeper_leave();
		if (poll(ready, 2, -1) < 0)
			ready[1].revents = 0; /* a handler of a fault, or of the C library's own: neither interrupts */
		signals = ready[1].revents != 0;
		keeper_step(waiting);
	}
	finished = waiting->finished;
	end_driving();
	keeper_leave();
	return finished;
}

/* The same, and sees to the signals. True: one has interrupted it. */
static bool drive_and_handle(const struct waiting *waiting)
{
	bool drops_sigpipe = keeper.uses_tls, interrupted = false;
	sigset_t wake = keeper.signals, pending;

	if (drops_sigpipe) {
		sigpending(&pending);
		drops_sigpipe = sigismember(&pending, SIGPIPE) != 1;
	}
	if (!drive(waiting))
		interrupted = take_signals(&wake);
	if (drops_sigpipe)
		keeper_drop_sigpipe();
	return interrupted;
}

void keeper_wait_out(struct waiting *waiting)
{
	while (!keeper_wait(waiting))
		pthread_mutex_lock(&keeper.mutex);
	waiting_clear(waiting);
	pthread_mutex_lock(&keeper.mutex);
}

bool keeper_wait(struct waiting *waiting)
{
	bool interrupted = false, finished;
	sigset_t block, callers;
	int cancelled;

	/* What is waited for is on this thread's stack. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancelled);
	if (!waiting->finished && !keeper.driven) {
		sigemptyset(&callers); /* all of it: it is compared */
		signals_to_block(&block);
		pthread_sigmask(SIG_BLOCK, &block, &callers);
		while (!waiting->finished && !interrupted && !keeper.driven && watch_signals(&callers) == 0) {
			interrupted = drive_and_handle(waiting);
			pthread_mutex_lock(&keeper.mutex);
		}
		finished = waiting->finished;
		keeper_leave();
		pthread_sigmask(SIG_SETMASK, &callers, NULL);
	} else {
		finished = waiting->finished;
		keeper_leave();
	}
	if (!finished && !interrupted)
		interrupted = sem_wait(&waiting->done) < 0;
	pthread_setcancelstate(cancelled, NULL);
	return finished || !interrupted;
}
