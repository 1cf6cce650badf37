/* ranges.c - see ranges.h. */
#include "ranges.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ranges_init(struct ranges *ranges, struct range_graph *graph, bool detects)
{
	*ranges = (struct ranges){.graph = graph, .detects = detects};
}

/* ---- comparing ---- */

static bool same_owner(const struct range *a, const struct range *b)
{
	return a->owner == b->owner && a->file == b->file;
}

static bool overlap(const struct range *a, const struct range *b)
{
	return a->start <= b->end && b->start <= a->end;
}

static bool conflict(const struct range *a, const struct range *b)
{
	return (a->exclusive || b->exclusive) && overlap(a, b) && !same_owner(a, b);
}

/* Whether `b` begins right behind `a`. */
static bool follows(const struct range *a, const struct range *b)
{
	return a->end != RANGE_END && b->start == a->end + 1;
}

/* The first at `from` or behind it that is in the way. */
static struct range_held *obstacle(struct range_held *from, const struct range *wanted)
{
	for (struct range_held *held = from; held && held->range.start <= wanted->end; held = held->next)
		if (conflict(&held->range, wanted))
			return held;
	return NULL;
}

/* Rule 3: what two handles have is one range to who asks. */
static void widen(const struct ranges *ranges, struct range *range)
{
	bool wider;

	do {
		wider = false;
		for (struct range_held *held = ranges->first; held; held = held->next) {
			const struct range *other = &held->range;

			if (!same_owner(other, range) || other->exclusive != range->exclusive)
				continue;
			if (follows(other, range)) {
				range->start = other->start;
				wider = true;
			} else if (follows(range, other)) {
				range->end = other->end;
				wider = true;
			}
		}
	} while (wider);
}

bool ranges_test(const struct ranges *ranges, const struct range *wanted, struct range *ret)
{
	const struct range_held *held = obstacle(ranges->first, wanted);

	if (!held)
		return false;
	*ret = held->range;
	widen(ranges, ret);
	return true;
}

bool ranges_has(const struct ranges *ranges, const struct range *range, bool exclusive)
{
	for (const struct range_held *held = ranges->first; held && held->range.start <= range->end; held = held->next)
		if (same_owner(&held->range, range) && overlap(&held->range, range) && held->range.exclusive == exclusive)
			return true;
	return false;
}

/* ---- lists of those who wait, the oldest first ---- */

static void list_remove(struct range_wait *wait)
{
	struct range_list *list = wait->list;

	if (wait->previous)
		wait->previous->next = wait->next;
	else
		list->first = wait->next;
	if (wait->next)
		wait->next->previous = wait->previous;
	else
		list->last = wait->previous;
	wait->list = NULL;
	wait->next = wait->previous = NULL;
}

/* Nearly always it is the youngest, so its place is looked for from the end. */
static void list_add(struct range_list *list, struct range_wait *wait)
{
	struct range_wait *before = list->last;

	while (before && before->ticket > wait->ticket)
		before = before->previous;
	wait->list = list;
	wait->previous = before;
	wait->next = before ? before->next : list->first;
	if (wait->next)
		wait->next->previous = wait;
	else
		list->last = wait;
	if (before)
		before->next = wait;
	else
		list->first = wait;
}

static void list_move_all(struct range_list *to, struct range_list *from)
{
	while (from->first) {
		struct range_wait *wait = from->first;

		list_remove(wait);
		list_add(to, wait);
	}
}

/* ---- the list of what is held ---- */

static void insert(struct ranges *ranges, struct range_held *held)
{
	struct range_held *before = NULL, *next = ranges->first;

	while (next && next->range.start <= held->range.start) {
		before = next;
		next = next->next;
	}
	held->previous = before;
	held->next = next;
	if (next)
		next->previous = held;
	if (before)
		before->next = held;
	else
		ranges->first = held;
	ranges->count++;
	ranges->exclusive += held->range.exclusive;
	held->range.file->uses++;
}

static void extract(struct ranges *ranges, struct range_held *held)
{
	if (held->previous)
		held->previous->next = held->next;
	else
		ranges->first = held->next;
	if (held->next)
		held->next->previous = held->previous;
	ranges->count--;
	ranges->exclusive -= held->range.exclusive;
	held->range.file->uses--;
}

static void discard(struct ranges *ranges, struct range_held *held)
{
	extract(ranges, held);
	list_move_all(&ranges->candidates, &held->waits);
	free(held);
}

static void insert_new(struct ranges *ranges, struct range_held *held, const struct range *range, int64_t start,
                       int64_t end)
{
	held->range = *range;
	held->range.start = start;
	held->range.end = end;
	held->waits = (struct range_list){0};
	insert(ranges, held);
}

/* Takes [start, end] out of a lock that overlaps it. `spare` is used up when something is left at both ends. */
static void cut(struct ranges *ranges, struct range_held *held, int64_t start, int64_t end, struct range_held **spare)
{
	struct range old = held->range;

	if (start <= old.start && end >= old.end) {
		discard(ranges, held);
		return;
	}
	list_move_all(&ranges->candidates, &held->waits);
	if (start > old.start && end < old.end) {
		held->range.end = start - 1;
		insert_new(ranges, *spare, &old, end + 1, old.end);
		*spare = NULL;
	} else if (start > old.start) {
		held->range.end = start - 1;
	} else {
		extract(ranges, held);
		held->range.start = end + 1;
		insert(ranges, held);
	}
}

/* Rule 2. */
static void make_room(struct ranges *ranges, const struct range *range, struct range_held **spare)
{
	struct range_held *held = ranges->first, *next;

	for (; held && held->range.start <= range->end; held = next) {
		next = held->next;
		if (same_owner(&held->range, range) && overlap(&held->range, range))
			cut(ranges, held, range->start, range->end, spare);
	}
}

/* Whether something of the owner's would be left at both ends: only one lock can be like that. */
static bool needs_spare(const struct ranges *ranges, const struct range *range)
{
	for (const struct range_held *held = ranges->first; held && held->range.start < range->start; held = held->next)
		if (same_owner(&held->range, range) && held->range.end > range->end)
			return true;
	return false;
}

static bool may_join(const struct range *a, const struct range *b)
{
	return same_owner(a, b) && a->exclusive == b->exclusive && a->handle == b->handle && follows(a, b);
}

/* Rule 3. */
static void join_neighbours(struct ranges *ranges, struct range_held *held)
{
	struct range_held *other = ranges->first, *next;

	for (; other; other = next) {
		bool before = may_join(&other->range, &held->range);

		next = other->next;
		if (!before && !may_join(&held->range, &other->range))
			continue;
		if (before) {
			extract(ranges, held);
			held->range.start = other->range.start;
			insert(ranges, held);
		} else {
			held->range.end = other->range.end;
		}
		discard(ranges, other);
	}
}

int ranges_set(struct ranges *ranges, const struct range *range)
{
	struct range_held *held = malloc(sizeof(*held)), *spare = NULL;

	assert(range->start >= 0 && range->start <= range->end && !obstacle(ranges->first, range));
	if (held && needs_spare(ranges, range)) {
		spare = malloc(sizeof(*spare));
		if (!spare) {
			free(held);
			held = NULL;
		}
	}
	if (!held)
		return -ENOMEM;
	make_room(ranges, range, &spare);
	insert_new(ranges, held, range, range->start, range->end);
	join_neighbours(ranges, held);
	return 0;
}

int ranges_unset(struct ranges *ranges, const struct range *range)
{
	struct range_held *spare = NULL;

	assert(range->start >= 0 && range->start <= range->end);
	if (needs_spare(ranges, range)) {
		spare = malloc(sizeof(*spare));
		if (!spare)
			return -ENOMEM;
	}
	make_room(ranges, range, &spare);
	return 0;
}

bool ranges_drop_owner(struct ranges *ranges, const struct range_file *file, uint64_t owner)
{
	struct range_held *held = ranges->first, *next;
	size_t before = ranges->count;

	for (; held; held = next) {
		next = held->next;
		if (held->range.owner == owner && held->range.file == file)
			discard(ranges, held);
	}
	return ranges->count < before;
}

bool ranges_drop_handle(struct ranges *ranges, const void *handle)
{
	struct range_held *held = ranges->first, *next;
	size_t before = ranges->count;

	for (; held; held = next) {
		next = held->next;
		if (held->range.handle == handle)
			discard(ranges, held);
	}
	return ranges->count < before;
}

bool ranges_drop_all(struct ranges *ranges)
{
	bool any = ranges->first != NULL;

	while (ranges->first)
		discard(ranges, ranges->first);
	return any;
}

/* ---- who waits for whom ---- */

static struct range_wait **graph_place(struct range_graph *graph, uint64_t owner)
{
	return &graph->waiting[(owner * 0x9e3779b97f4a7c15u >> 32) % RANGE_GRAPH_SIZE];
}

static void graph_add(struct range_graph *graph, struct range_wait *wait)
{
	struct range_wait **place = graph_place(graph, wait->range.owner);

	wait->next_of_owner = *place;
	wait->link = place;
	if (*place)
		(*place)->link = &wait->next_of_owner;
	*place = wait;
}

static void graph_remove(struct range_wait *wait)
{
	*wait->link = wait->next_of_owner;
	if (wait->next_of_owner)
		wait->next_of_owner->link = wait->link;
}

static bool is_process(const struct range_wait *wait)
{
	const struct range_graph *graph = wait->ranges->graph;

	return !graph->is_process || graph->is_process(wait);
}

/* The owner waits as well: what it waits for is looked at in its turn. Returns the new end of the queue. */
static struct range_wait *find_waits(struct range_graph *graph, uint64_t owner, struct range_wait *end)
{
	for (struct range_wait *wait = *graph_place(graph, owner); wait; wait = wait->next_of_owner) {
		if (wait->range.owner != owner || wait->search == graph->search)
			continue;
		wait->search = graph->search;
		if (!is_process(wait))
			continue;
		wait->next_found = NULL;
		end->next_found = wait;
		end = wait;
	}
	return end;
}

/* Rule 5, for a request that a lock is in the way of. An owner is who holds a lock in one file and waits in another
 * too, so only its number counts here. */
static bool is_deadlock(struct range_wait *request)
{
	struct range_graph *graph = request->ranges->graph;
	struct range_wait *end = request;

	graph->search++;
	request->search = graph->search;
	request->next_found = NULL;
	for (struct range_wait *wait = request; wait; wait = wait->next_found) {
		struct range_held *held = obstacle(wait->ranges->first, &wait->range);

		for (; held; held = obstacle(held->next, &wait->range)) {
			if (held->range.owner == request->range.owner)
				return is_process(request);
			end = find_waits(graph, held->range.owner, end);
		}
	}
	return false;
}

void ranges_wait(struct ranges *ranges, struct range_wait *wait)
{
	wait->ranges = ranges;
	wait->ticket = ++ranges->graph->ticket;
	wait->search = 0;
	wait->range.file->uses++;
	list_add(&ranges->candidates, wait);
	if (ranges->detects)
		graph_add(ranges->graph, wait);
}

struct range_wait *ranges_first(const struct ranges *ranges)
{
	return ranges->candidates.first;
}

struct range_wait *ranges_next(const struct range_wait *wait)
{
	return wait->next;
}

int ranges_weigh(struct range_wait *wait)
{
	struct range_held *held = obstacle(wait->ranges->first, &wait->range);

	if (!held)
		return 0;
	if (wait->ranges->detects && is_deadlock(wait))
		return -EDEADLK;
	list_remove(wait);
	list_add(&held->waits, wait);
	return -EAGAIN;
}

int ranges_grant(struct range_wait *wait)
{
	int error = ranges_set(wait->ranges, &wait->range);

	if (!error)
		ranges_leave(wait);
	return error;
}

void ranges_leave(struct range_wait *wait)
{
	wait->range.file->uses--;
	list_remove(wait);
	if (wait->ranges->detects)
		graph_remove(wait);
}
