/* keeper.c - the thread, its epoll and its timer; see keeper.h. */
#include "keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "debug.h"

#define EVENTS_MAX 64
#define STACK_SIZE (512 * 1024)
#define TIMER_EVENT UINT64_MAX

struct keeper keeper = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                        .epoll_fd = -1,
                        .timer_fd = -1,
                        .thread_epoll_fd = -1,
                        .resume_fd = -1,
                        .signal_fd = -1,
                        .armed_us = INT64_MAX};

int64_t keeper_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- descriptors ---- */

static int grow_watches(int fd)
{
	size_t count = keeper.watch_count ? keeper.watch_count : 64;
	struct watch *watches;

	while (count <= (size_t)fd)
		count *= 2;
	if (count == keeper.watch_count)
		return 0;
	watches = realloc(keeper.watches, count * sizeof(*watches));
	if (!watches)
		return -ENOMEM;
	memset(watches + keeper.watch_count, 0, (count - keeper.watch_count) * sizeof(*watches));
	keeper.watches = watches;
	keeper.watch_count = count;
	return 0;
}

/* The generation tells an event of a descriptor that was closed since from one of the
 * descriptor that has its number now. */
int keeper_watch(int fd, uint32_t events, struct watch watch)
{
	struct epoll_event event = {.events = events};
	struct watch *slot;
	bool known;

	if (grow_watches(fd) < 0)
		return -ENOMEM;
	slot = &keeper.watches[fd];
	if (events == 0) {
		epoll_ctl(keeper.epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		slot->kind = WATCH_NONE;
		slot->generation++;
		return 0;
	}
	known = slot->kind != WATCH_NONE && slot->object == watch.object;
	watch.generation = slot->generation + !known;
	event.data.u64 = (uint64_t)watch.generation << 32 | (uint32_t)fd;
	if (epoll_ctl(keeper.epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 &&
	    (errno != ENOENT || epoll_ctl(keeper.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0))
		return -errno;
	*slot = watch;
	return 0;
}

int keeper_reserve_timers(size_t more)
{
	return timers_reserve(&keeper.timers, keeper.timer_count + more);
}

static void arm(void)
{
	const struct timer *first = timers_first(&keeper.timers);
	int64_t at_us = first ? first->at_us : INT64_MAX;
	struct itimerspec when = {0};

	/* Armed for an earlier moment it may stay: it is armed anew when it has fired. Most timers are
	 * moved or unset before they are due, and each setting is a system call. */
	if (at_us >= keeper.armed_us)
		return;
	keeper.armed_us = at_us;
	at_us = at_us > 0 ? at_us : 1; /* 0 would disarm it */
	when.it_value.tv_sec = at_us / 1000000;
	when.it_value.tv_nsec = at_us % 1000000 * 1000;
	timerfd_settime(keeper.timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void keeper_poke(void)
{
	static const struct itimerspec at_once = {.it_value.tv_nsec = 1};

	keeper.armed_us = 0;
	timerfd_settime(keeper.timer_fd, TFD_TIMER_ABSTIME, &at_once, NULL);
}

/* ---- steps, and the thread ---- */

static void run_timer(struct timer *timer, int64_t now_us)
{
	timers_set(&keeper.timers, timer, INT64_MAX);
	if (timer->kind == TIMER_HANDLE)
		handle_tick(timer->owner, now_us);
	else if (timer->kind == TIMER_SURVEY)
		survey_tick(timer->owner, now_us);
	else
		cluster_timer(timer->owner, timer, now_us);
}

static void run_timers(void)
{
	/* Only those due at this moment, so that one that sets itself anew cannot hold the thread. */
	int64_t now_us = keeper_now_us();
	struct timer *timer;

	for (size_t left = keeper.timers.count; left > 0; left--) {
		timer = timers_first(&keeper.timers);
		if (!timer || timer->at_us > now_us)
			break;
		run_timer(timer, keeper_now_us());
	}
}

static void run_event(const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	struct watch *watch = &keeper.watches[fd];
	int64_t now_us = keeper_now_us();

	if (watch->kind == WATCH_NONE || watch->generation != (uint32_t)(event->data.u64 >> 32))
		return;
	if (watch->kind == WATCH_NODE) {
		struct node *node = watch->object;
		struct cluster *cluster = watch->cluster;

		node_ready(node, fd, event->events, now_us);
		cluster->dirty |= UINT32_C(1) << node_index(node);
		cluster_settle(cluster, NULL);
	} else if (watch->kind == WATCH_LISTENER) {
		grants_ready(watch->cluster, watch->object, fd, event->events, now_us);
	} else {
		handle_hung_up(watch->object, now_us);
	}
}

/* What is left when `until` has finished is ready at the next look as well. */
void keeper_step(const struct waiting *until)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(keeper.epoll_fd, events, EVENTS_MAX, 0);
	uint64_t expirations;

	pthread_mutex_lock(&keeper.mutex);
	if (until)
		keeper.polling = NULL;
	for (int i = 0; i < count && !(until && until->finished); i++) {
		if (events[i].data.u64 == TIMER_EVENT) {
			if (read(keeper.timer_fd, &expirations, sizeof(expirations)) > 0)
				keeper.armed_us = INT64_MAX;
		} else {
			run_event(&events[i]);
		}
	}
	if (!(until && until->finished))
		run_timers();
}

static void *keeper_thread(void *unused)
{
	struct epoll_event events[2];
	uint64_t expirations;

	(void)unused;
	for (;;) {
		int count = epoll_wait(keeper.thread_epoll_fd, events, 2, -1);
		bool driven;

		pthread_mutex_lock(&keeper.mutex);
		for (int i = 0; i < count; i++)
			if (events[i].data.fd == keeper.resume_fd &&
			    read(keeper.resume_fd, &expirations, sizeof(expirations)) > 0)
				keeper.resumes = false;
		driven = keeper.driven;
		if (!driven && !keeper.resumes)
			drive_thread_watches(true);
		pthread_mutex_unlock(&keeper.mutex);
		if (driven)
			continue;
		keeper_step(NULL);
		keeper_leave();
	}
	return NULL;
}

/* ---- start, and fork ---- */

static void before_fork(void)
{
	pthread_mutex_lock(&keeper.mutex);
}

static void after_fork_parent(void)
{
	pthread_mutex_unlock(&keeper.mutex);
}

static void close_descriptors(void)
{
	int *const all[] = {&keeper.epoll_fd, &keeper.timer_fd, &keeper.thread_epoll_fd, &keeper.resume_fd, &keeper.signal_fd};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (*all[i] >= 0)
			close(*all[i]);
		*all[i] = -1;
	}
}

/* Only what is safe between fork and exec: closing, and plain memory. What the parent's
 * keeper had allocated stays as it is, and is not used again. */
static void after_fork_child(void)
{
	keeper.forks++;
	/* A child that has used nothing and forks itself: what it has now under the numbers of the
	 * parent's keeper are its own descriptors. */
	if (!keeper.running) {
		pthread_mutex_init(&keeper.mutex, NULL);
		return;
	}
	for (struct cluster *cluster = keeper.clusters; cluster; cluster = cluster->next)
		cluster_abandon_after_fork(cluster);
	handle_free_all_after_fork();
	close_descriptors();
	keeper.running = false;
	pthread_mutex_init(&keeper.mutex, NULL);
}

static void register_fork_handlers(void)
{
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* In a child the parent's clusters and timers are left behind whole: their memory may be in
 * any state that a fork can meet, and their connections are the parent's. */
static void forget_parent(void)
{
	static struct keeper *left; /* keeps the memory reachable, so that no leak is reported in a child */
	struct keeper *copy = keeper.clusters || keeper.watches ? malloc(sizeof(*copy)) : NULL;

	if (copy) {
		*copy = keeper;
		copy->parent = left;
		left = copy;
	}
	keeper.armed_us = INT64_MAX;
	keeper.driven = keeper.resumes = false;
	keeper.polling = NULL;
	keeper.calls = 0;
	keeper.clusters = NULL;
	keeper.watches = NULL;
	keeper.watch_count = 0;
	keeper.timers = (struct timers){0};
	keeper.timer_count = 0;
	keeper.table = keeper.routes = NULL;
	keeper.table_size = keeper.handle_count = 0;
}

static int open_descriptors(void)
{
	struct epoll_event due = {.events = EPOLLIN, .data.u64 = TIMER_EVENT}, resume = {.events = EPOLLIN}, ready = resume;

	keeper.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	keeper.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	keeper.thread_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	keeper.resume_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	resume.data.fd = keeper.resume_fd;
	ready.data.fd = keeper.epoll_fd;
	if (keeper.epoll_fd < 0 || keeper.timer_fd < 0 || keeper.thread_epoll_fd < 0 || keeper.resume_fd < 0 ||
	    epoll_ctl(keeper.epoll_fd, EPOLL_CTL_ADD, keeper.timer_fd, &due) < 0 ||
	    epoll_ctl(keeper.thread_epoll_fd, EPOLL_CTL_ADD, keeper.resume_fd, &resume) < 0 ||
	    epoll_ctl(keeper.thread_epoll_fd, EPOLL_CTL_ADD, keeper.epoll_fd, &ready) < 0)
		return -errno;
	keeper.thread_watches = true;
	return 0;
}

static int start_thread(void)
{
	pthread_attr_t attributes;
	sigset_t all, saved;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	error = pthread_create(&keeper.thread, &attributes, keeper_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attributes);
	if (error == 0)
		pthread_setname_np(keeper.thread, "dlock-keeper");
	return -error;
}

static int start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	int error;

	pthread_once(&once, register_fork_handlers);
	forget_parent();
	error = open_descriptors();
	if (error == 0)
		error = start_thread();
	if (error) {
		close_descriptors();
		return error;
	}
	keeper.running = true;
	debug_log(DEBUG_KEEPER, "started");
	return 0;
}

int keeper_enter(void)
{
	int error = 0;

	pthread_mutex_lock(&keeper.mutex);
	if (!keeper.running)
		error = start();
	if (error)
		pthread_mutex_unlock(&keeper.mutex);
	return error;
}

bool keeper_enter_again(unsigned forks)
{
	pthread_mutex_lock(&keeper.mutex);
	if (keeper.running && keeper.forks == forks)
		return true;
	pthread_mutex_unlock(&keeper.mutex);
	return false;
}

void keeper_leave(void)
{
	arm();
	if (!keeper.driven && !keeper.thread_watches && keeper_is_awaited())
		drive_thread_watches(true);
	pthread_mutex_unlock(&keeper.mutex);
}
