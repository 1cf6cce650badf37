/* loop.c - see loop.h. */
#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t loop_now_us(void)
{
	return clock_ns(CLOCK_BOOTTIME) / 1000;
}

int64_t loop_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int loop_open(struct loop *loop)
{
	loop->alarms.next = loop->alarms.previous = &loop->alarms;
	loop->over = false;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_close(struct loop *loop)
{
	close(loop->epoll_fd);
	loop->epoll_fd = -1;
}

int loop_watch(struct loop *loop, int fd, struct source *source)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void loop_drop_alarm(struct alarm *alarm)
{
	if (!alarm->next)
		return;
	alarm->next->previous = alarm->previous;
	alarm->previous->next = alarm->next;
	alarm->next = alarm->previous = NULL;
}

/* Nearly all alarms are set for the same time ahead, so the place is found at once from the end. */
void loop_set_alarm(struct loop *loop, struct alarm *alarm, int64_t after_us, void (*ring)(struct alarm *alarm))
{
	struct alarm *before;

	loop_drop_alarm(alarm);
	alarm->at_us = loop_now_us() + after_us;
	alarm->ring = ring;
	before = loop->alarms.previous;
	while (before != &loop->alarms && before->at_us > alarm->at_us)
		before = before->previous;
	alarm->previous = before;
	alarm->next = before->next;
	before->next->previous = alarm;
	before->next = alarm;
}

static int ring_due(struct loop *loop, int64_t until_us)
{
	int64_t now_us = loop_now_us(), next_us;

	while (loop->alarms.next != &loop->alarms && loop->alarms.next->at_us <= now_us) {
		struct alarm *alarm = loop->alarms.next;

		loop_drop_alarm(alarm);
		alarm->ring(alarm);
	}
	next_us = loop->alarms.next == &loop->alarms ? INT64_MAX : loop->alarms.next->at_us;
	next_us = until_us < next_us ? until_us : next_us;
	if (next_us == INT64_MAX)
		return -1;
	now_us = loop_now_us();
	/* A millisecond more at most: never wake before the time. */
	return next_us <= now_us ? 0 : (next_us - now_us) / 1000 >= 1000000 ? 1000000 : (int)((next_us - now_us) / 1000) + 1;
}

int loop_run(struct loop *loop, int64_t until_us)
{
	while (!loop->over) {
		int wait_ms = ring_due(loop, until_us);
		struct epoll_event event;
		int count;

		if (loop->over || loop_now_us() >= until_us)
			break;
		/* One at a time: whatever an event frees cannot be waiting in a list here. */
		count = epoll_wait(loop->epoll_fd, &event, 1, wait_ms);
		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0) {
			struct source *source = event.data.ptr;

			source->ready(source);
		}
	}
	return 0;
}
