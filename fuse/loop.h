/*
 * loop.h - the one place where the daemon waits.
 *
 * Owns: the epoll descriptor and the alarms. Everything else is called from here,
 * one event at a time, so that nothing in the daemon needs a lock.
 */
#ifndef DLOCKFS_LOOP_H
#define DLOCKFS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor that is waited for; part of what it belongs to, which may go away in its own `ready`. */
struct source {
	void (*ready)(struct source *source);
};

/* A moment that is waited for; all zero: not set. */
struct alarm {
	int64_t at_us;
	void (*ring)(struct alarm *alarm);
	struct alarm *next, *previous;
};

struct loop {
	int epoll_fd;
	struct alarm alarms; /* a ring, in order of time, around this one */
	bool over;
};

/* 0 or -errno. */
int loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Wait for `fd` to become readable. It leaves by itself when it is closed. 0 or -errno. */
int loop_watch(struct loop *loop, int fd, struct source *source);

/* Ring once, `after_us` from now; an alarm that is set already is set anew. */
void loop_set_alarm(struct loop *loop, struct alarm *alarm, int64_t after_us, void (*ring)(struct alarm *alarm));
void loop_drop_alarm(struct alarm *alarm);

/* Until `over` is set, or for ever; or until `until_us` (INT64_MAX: without an end). 0 or -errno. */
int loop_run(struct loop *loop, int64_t until_us);

/* CLOCK_BOOTTIME, as the library counts; CLOCK_REALTIME. */
int64_t loop_now_us(void);
int64_t loop_wall_ns(void);

/* The structure that has `member` at `pointer`. */
#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
