/* timers.c - see timers.h. */
#include "timers.h"

#include <errno.h>
#include <stdlib.h>

int timers_reserve(struct timers *timers, size_t count)
{
	struct timer **heap;
	size_t size = timers->size ? timers->size : 64;

	while (size < count + 1)
		size *= 2;
	if (size == timers->size)
		return 0;
	heap = realloc(timers->heap, size * sizeof(struct timer *));
	if (!heap)
		return -ENOMEM;
	timers->heap = heap;
	timers->size = size;
	return 0;
}

static void put(struct timers *timers, size_t place, struct timer *timer)
{
	timers->heap[place] = timer;
	timer->place = place;
}

static void rise(struct timers *timers, size_t place)
{
	struct timer *timer = timers->heap[place];

	while (place > 1 && timers->heap[place / 2]->at_us > timer->at_us) {
		put(timers, place, timers->heap[place / 2]);
		place /= 2;
	}
	put(timers, place, timer);
}

static void sink(struct timers *timers, size_t place)
{
	struct timer *timer = timers->heap[place];

	for (;;) {
		size_t child = 2 * place;

		if (child > timers->count)
			break;
		if (child < timers->count && timers->heap[child + 1]->at_us < timers->heap[child]->at_us)
			child++;
		if (timers->heap[child]->at_us >= timer->at_us)
			break;
		put(timers, place, timers->heap[child]);
		place = child;
	}
	put(timers, place, timer);
}

static void unset(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;
	struct timer *last = timers->heap[timers->count--];

	timer->place = 0;
	if (last == timer)
		return;
	put(timers, place, last);
	rise(timers, place);
	sink(timers, last->place);
}

void timers_set(struct timers *timers, struct timer *timer, int64_t at_us)
{
	if (at_us == INT64_MAX) {
		timer->at_us = at_us;
		if (timer->place)
			unset(timers, timer);
		return;
	}
	if (timer->place && timer->at_us == at_us)
		return;
	timer->at_us = at_us;
	if (!timer->place)
		put(timers, ++timers->count, timer);
	rise(timers, timer->place);
	sink(timers, timer->place);
}

struct timer *timers_first(const struct timers *timers)
{
	return timers->count ? timers->heap[1] : NULL;
}

void timers_clear(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){0};
}
