/*
 * flight.c - very many locks of one process in flight, each of them on a name of its own.
 *
 * One descriptor a name, with DLOCK_NONBLOCK, and one epoll loop: where a call has ended,
 * the next one is begun, lock after unlock and unlock after lock, until so many pairs have
 * been begun. The time runs from the first call to the last answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench/bench.h"

#define SILENCE_MS 20000
#define END_MS 120000
#define FILES_BESIDES 100
#define EVENTS 256

struct slot {
	int fd;
	bool held;
};

struct fleet {
	struct bench *bench;
	int at_once, pairs;
	struct flight flight; /* what the process tells */

	/* Of the process. */
	struct slot *slots;
	int epoll;
	int begun, done; /* pairs */
};

/* A descriptor is two open files. */
static bool permit_files(int descriptors)
{
	int wanted = 2 * descriptors + FILES_BESIDES;

	if (files_permit(wanted) >= wanted)
		return true;
	fprintf(stderr, "flight: the hard limit of open files is too low: it must be %d\n", wanted);
	return false;
}

static bool open_slots(struct fleet *fleet)
{
	fleet->slots = calloc((size_t)fleet->at_once, sizeof(*fleet->slots));
	fleet->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!fleet->slots || fleet->epoll < 0 || crew_open(fleet->bench, "bench-flight") < 0)
		return false;
	for (int i = 0; i < fleet->at_once; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = i};
		char name[64];

		snprintf(name, sizeof(name), "bench-flight-%d", i);
		fleet->slots[i].fd = dlock_open_with(name, DLOCK_CLOEXEC | DLOCK_NONBLOCK, fleet->bench->options);
		if (fleet->slots[i].fd < 0 || epoll_ctl(fleet->epoll, EPOLL_CTL_ADD, fleet->slots[i].fd, &event) < 0)
			return false;
	}
	return true;
}

/* The next call on a slot on which none is under way; and the one after it, where that one ends at once. */
static bool begin(struct fleet *fleet, struct slot *slot)
{
	while (slot->held || fleet->begun < fleet->pairs) {
		fleet->begun += !slot->held;
		if ((slot->held ? dlock_unlock(slot->fd) : dlock_lock(slot->fd)) < 0)
			return errno == EINPROGRESS;
		slot->held = !slot->held;
		fleet->done += !slot->held;
	}
	return true;
}

static bool end(struct fleet *fleet, struct slot *slot)
{
	if (dlock_result(slot->fd) < 0)
		return errno == EINPROGRESS;
	slot->held = !slot->held;
	fleet->done += !slot->held;
	return begin(fleet, slot);
}

/* So many pairs more. */
static bool fly(struct fleet *fleet, int pairs)
{
	struct epoll_event events[EVENTS];
	bool good = true;

	fleet->begun = fleet->done = 0;
	fleet->pairs = pairs;
	for (int i = 0; good && i < fleet->at_once; i++)
		good = begin(fleet, &fleet->slots[i]);
	while (good && fleet->done < pairs) {
		int ready = epoll_wait(fleet->epoll, events, EVENTS, SILENCE_MS);

		good = ready > 0 || (ready < 0 && errno == EINTR);
		for (int e = 0; good && e < ready; e++)
			good = end(fleet, &fleet->slots[events[e].data.fd]);
	}
	if (!good)
		fprintf(stderr, "flight: %d of %d pairs were done: %s\n", fleet->done, pairs, dlock_error_detail());
	return good;
}

static int work(void *arg)
{
	struct fleet *fleet = arg;
	int pairs = fleet->pairs;
	int64_t begin_ns;
	double begin_us;

	if (!permit_files(fleet->at_once) || !open_slots(fleet)) {
		fprintf(stderr, "flight: not all descriptors are open: %s\n", dlock_error_detail());
		return 1;
	}
	/* Once before: what is measured is not how names come to be known. */
	if (!fly(fleet, fleet->at_once))
		return 1;
	begin_ns = now_ns();
	begin_us = cpu_us();
	if (!fly(fleet, pairs))
		return 1;
	fleet->flight = (struct flight){.pairs_per_s = pairs * 1e9 / (double)(now_ns() - begin_ns),
	                                .cpu_us = (cpu_us() - begin_us) / pairs};
	return 0;
}

int flight_run(struct bench *bench, int at_once, int pairs, struct flight *ret_flight)
{
	struct fleet *fleet = crew_memory(sizeof(*fleet));
	pid_t pid;
	int error = -1;

	if (!fleet)
		return -1;
	*fleet = (struct fleet){.bench = bench, .at_once = at_once, .pairs = pairs};
	pid = crew_start(work, fleet);
	if (pid > 0)
		error = crew_end(&pid, 1, END_MS);
	if (!error)
		*ret_flight = fleet->flight;
	munmap(fleet, sizeof(*fleet));
	return error;
}
