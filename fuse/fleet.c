/* fleet.c - the local locks, and who waits; see fleet.h. */
#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet_internal.h"
#include "names.h"

#define QUEUE_US 100000  /* who only tries stands so long behind those who wait, and who is in a hurry waits so long */
#define IDLE_US 5000000  /* the descriptor is kept so long for the next lock, */
#define IDLE_MAX 64      /* and of so many fleets */

/* ---- life ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct fleet *)a)->name, ((const struct fleet *)b)->name);
}

static struct fleet *find(struct fleets *fleets, const char *name)
{
	struct fleet key = {.name = (char *)(uintptr_t)name}, **found = tfind(&key, &fleets->named, compare_names);

	return found ? *found : NULL;
}

static void link_nameless(struct fleets *fleets, struct fleet *fleet)
{
	fleet->next = fleets->nameless;
	if (fleet->next)
		fleet->next->previous = fleet;
	fleets->nameless = fleet;
}

/* Takes the name over. */
static struct fleet *fleet_new(struct daemon *daemon, char *name)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	if (!fleet)
		return NULL;
	fleet->daemon = daemon;
	fleet->name = name;
	ranges_init(&fleet->ranges[FLEET_FLOCK], &daemon->fleets->graph, false);
	ranges_init(&fleet->ranges[FLEET_RANGES], &daemon->fleets->graph, true);
	fleet_lock_init(fleet);
	if (!name) {
		link_nameless(daemon->fleets, fleet);
		return fleet;
	}
	if (tsearch(fleet, &daemon->fleets->named, compare_names))
		return fleet;
	free(fleet);
	return NULL;
}

static void unlink_fleet(struct fleet **first, struct fleet **last, struct fleet *fleet)
{
	if (fleet->previous)
		fleet->previous->next = fleet->next;
	else
		*first = fleet->next;
	if (fleet->next)
		fleet->next->previous = fleet->previous;
	else
		*last = fleet->previous;
	fleet->next = fleet->previous = NULL;
}

static void fleet_free(struct fleet *fleet)
{
	struct fleets *fleets = fleet->daemon->fleets;
	struct fleet *ignored;

	if (fleet->name)
		tdelete(fleet, &fleets->named, compare_names);
	else
		unlink_fleet(&fleets->nameless, &ignored, fleet);
	loop_drop_alarm(&fleet->alarm);
	fleet_close(fleet);
	free(fleet->name);
	free(fleet);
}

/* ---- those that nobody needs now ---- */

void fleets_drop_idle(struct fleets *fleets, unsigned keep)
{
	while (fleets->idle_count > keep) {
		struct fleet *oldest = fleets->last_idle;

		unlink_fleet(&fleets->idle, &fleets->last_idle, oldest);
		fleets->idle_count--;
		fleet_free(oldest);
	}
}

static void idle_over(struct alarm *alarm)
{
	struct fleets *fleets = CONTAINER(alarm, struct fleets, idle_alarm);
	int64_t now_us = loop_now_us();

	while (fleets->last_idle && now_us - fleets->last_idle->idle_since_us >= IDLE_US)
		fleets_drop_idle(fleets, fleets->idle_count - 1);
	if (fleets->last_idle)
		loop_set_alarm(&fleets->daemon->loop, alarm, fleets->last_idle->idle_since_us + IDLE_US - now_us, idle_over);
}

static void make_idle(struct fleet *fleet)
{
	struct fleets *fleets = fleet->daemon->fleets;

	fleet->idle_since_us = loop_now_us();
	fleet->next = fleets->idle;
	if (fleet->next)
		fleet->next->previous = fleet;
	else
		fleets->last_idle = fleet;
	fleets->idle = fleet;
	if (fleets->idle_count++ == 0)
		loop_set_alarm(&fleet->daemon->loop, &fleets->idle_alarm, IDLE_US, idle_over);
	fleets_drop_idle(fleets, IDLE_MAX);
}

static void end_idle(struct fleet *fleet)
{
	struct fleets *fleets = fleet->daemon->fleets;

	if (fleet->idle_since_us == 0)
		return;
	unlink_fleet(&fleets->idle, &fleets->last_idle, fleet);
	fleet->idle_since_us = 0;
	if (--fleets->idle_count == 0)
		loop_drop_alarm(&fleets->idle_alarm);
}

/* ---- files ---- */

static const char *name_of_own(const struct node *node)
{
	const struct name *name = node->names;

	/* The one that it was made with, if it is still there. */
	while (name && name->next)
		name = name->next;
	/* Who has opened the file before it was removed may lock it after, beside those who lock the next one of the
	 * path: on a local file system a rare accident, on which programs rely that have never seen it. */
	return name ? name->text : node->name;
}

/* 0, and NULL for a file that no path leads to; or -ENOMEM. */
static int path_of(const struct node *node, char **ret)
{
	const struct node *directory = node->parent;
	const char *name = node->kind == NODE_REMOTE || directory ? node->name : name_of_own(node);
	const char *in = NULL;

	if (directory) {
		in = directory->kind == NODE_REMOTE ? directory->name : name_of_own(directory);
		if (!in)
			name = NULL;
	}
	*ret = NULL;
	if (!name)
		return 0;
	if (asprintf(ret, "%s%s%s", in ? in : "", in ? "/" : "", name) >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

static struct fleet *fleet_of(struct daemon *daemon, const struct node *node)
{
	struct fleet *fleet;
	char *name;

	if (path_of(node, &name))
		return NULL;
	fleet = name ? find(daemon->fleets, name) : NULL;
	if (fleet) {
		end_idle(fleet);
		free(name);
		return fleet;
	}
	fleet = fleet_new(daemon, name);
	if (!fleet)
		free(name);
	return fleet;
}

static void leave_unused(struct fleet *fleet)
{
	struct fleet_file **link = &fleet->files;

	while (*link) {
		struct fleet_file *file = *link;

		if (file->range.uses > 0) {
			link = &file->next;
			continue;
		}
		*link = file->next;
		file->node->locks = NULL;
		free(file);
	}
	if (fleet->files || fleet->settlers || fleet->call != FLEET_QUIET || fleet->held || fleet->idle_since_us)
		return;
	loop_drop_alarm(&fleet->alarm);
	if (fleet->name && !fleet->daemon->closing)
		make_idle(fleet);
	else
		fleet_free(fleet);
}

struct fleet_file *fleet_enter(struct daemon *daemon, struct node *node)
{
	struct fleet_file *file = node->locks;

	if (file)
		return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->node = node;
	file->fleet = fleet_of(daemon, node);
	if (!file->fleet) {
		free(file);
		return NULL;
	}
	file->next = file->fleet->files;
	file->fleet->files = file;
	node->locks = file;
	return file;
}

void fleet_leave(struct fleet_file *file)
{
	leave_unused(file->fleet);
}

/* ---- what is needed ---- */

int fleet_need(const struct fleet *fleet)
{
	const struct ranges *flock = &fleet->ranges[FLEET_FLOCK], *ranges = &fleet->ranges[FLEET_RANGES];

	if (flock->exclusive + ranges->exclusive > 0)
		return LOCK_EX;
	return flock->count + ranges->count > 0 ? LOCK_SH : 0;
}

static struct range_wait *older(struct range_wait *a, struct range_wait *b)
{
	return !a || (b && b->ticket < a->ticket) ? b : a;
}

static struct claim *claim_of(struct range_wait *wait)
{
	return wait ? CONTAINER(wait, struct claim, wait) : NULL;
}

struct claim *fleet_first_claim(const struct fleet *fleet)
{
	return claim_of(older(ranges_first(&fleet->ranges[FLEET_FLOCK]), ranges_first(&fleet->ranges[FLEET_RANGES])));
}

int claim_mode(const struct claim *claim)
{
	return claim->wait.range.exclusive ? LOCK_EX : LOCK_SH;
}

const struct ranges *fleet_ranges(const struct fleet *fleet, enum fleet_kind kind)
{
	return &fleet->ranges[kind];
}

int fleet_mode(const struct fleet *fleet)
{
	return fleet_suffices(fleet, LOCK_EX) ? LOCK_EX : fleet_suffices(fleet, LOCK_SH) ? LOCK_SH : 0;
}

const char *fleet_name(const struct fleet *fleet)
{
	return fleet->name;
}

/* ---- claims ---- */

/* It knows nothing of the fleet any more. */
static void forget_claim(struct claim *claim)
{
	loop_drop_alarm(&claim->alarm);
	claim->fleet->tries -= claim->tries;
	claim->fleet = NULL;
}

void claim_end(struct claim *claim, int error)
{
	ranges_leave(&claim->wait);
	forget_claim(claim);
	claim->end(claim, error);
}

static void refuse(struct fleet *fleet, bool only_tries, int mode, int error)
{
	for (int kind = 0; kind < FLEET_KINDS; kind++) {
		struct range_wait *wait = ranges_first(&fleet->ranges[kind]), *next;

		for (; wait; wait = next) {
			struct claim *claim = claim_of(wait);

			next = ranges_next(wait);
			if ((claim->tries || !only_tries) && claim_mode(claim) >= mode)
				claim_end(claim, error);
		}
	}
}

void fleet_refuse_tries(struct fleet *fleet, int mode, int error)
{
	if (fleet->tries > 0)
		refuse(fleet, true, mode, error);
}

void fleet_refuse_all(struct fleet *fleet, int error)
{
	refuse(fleet, false, LOCK_SH, error);
}

static void claim_late(struct alarm *alarm)
{
	struct claim *claim = CONTAINER(alarm, struct claim, alarm);
	struct fleet *fleet = claim->fleet;

	bool held = claim->queued || fleet->rivals_us >= claim->since_us;

	claim_end(claim, held && !fleet_has_no_quorum(fleet) ? EWOULDBLOCK : ENOLCK);
	fleet_step(fleet);
}

/* The lock is the program's. */
static bool grant(struct fleet *fleet, struct claim *claim)
{
	int error = ranges_grant(&claim->wait);

	if (error) {
		claim_end(claim, ENOLCK);
		return false;
	}
	fleet->handed_on = true;
	forget_claim(claim);
	claim->end(claim, 0);
	return true;
}

enum verdict { STAYS, LEFT, GRANTED, LAST };

static enum verdict consider(struct fleet *fleet, struct claim *claim)
{
	int error = ranges_weigh(&claim->wait);

	/* Who does not wait closes no ring: to a try, it is just held. */
	if (error == -EDEADLK && !claim->tries) {
		claim_end(claim, EDEADLK);
		return LEFT;
	}
	if (error) {
		if (claim->tries)
			claim_end(claim, EWOULDBLOCK);
		return LEFT;
	}
	if (fleet_suffices(fleet, claim_mode(claim)) && !fleet_exhausted(fleet))
		return grant(fleet, claim) ? GRANTED : LEFT;
	/* While nothing is held here the oldest decides what is done next. */
	return fleet_need(fleet) ? STAYS : LAST;
}

/* One pass over the candidates, the oldest first. True: something was granted, and another pass is due. */
static bool serve_some(struct fleet *fleet)
{
	struct range_wait *next[FLEET_KINDS], *wait;

	for (int kind = 0; kind < FLEET_KINDS; kind++)
		next[kind] = ranges_first(&fleet->ranges[kind]);
	while ((wait = older(next[FLEET_FLOCK], next[FLEET_RANGES]))) {
		enum verdict verdict;

		next[wait == next[FLEET_FLOCK] ? FLEET_FLOCK : FLEET_RANGES] = ranges_next(wait);
		verdict = consider(fleet, claim_of(wait));
		if (verdict == GRANTED)
			return true;
		if (verdict == LAST)
			break;
	}
	return false;
}

static void serve(struct fleet *fleet)
{
	if (fleet_first_claim(fleet))
		fleet_check_lease(fleet);
	while (serve_some(fleet))
		;
}

/* ---- settlers ---- */

static void end_settler(struct settler *settler)
{
	loop_drop_alarm(&settler->alarm);
	*settler->link = settler->next;
	if (settler->next)
		settler->next->link = settler->link;
	settler->fleet = NULL;
	settler->end(settler);
}

static void settler_late(struct alarm *alarm)
{
	struct settler *settler = CONTAINER(alarm, struct settler, alarm);
	struct fleet *fleet = settler->fleet;

	end_settler(settler);
	leave_unused(fleet);
}

static void add_settler(struct fleet *fleet, struct settler *settler)
{
	settler->fleet = fleet;
	settler->next = fleet->settlers;
	settler->link = &fleet->settlers;
	if (settler->next)
		settler->next->link = &settler->next;
	fleet->settlers = settler;
	loop_set_alarm(&fleet->daemon->loop, &settler->alarm, fleet->daemon->options->op_timeout_us, settler_late);
}

void fleet_settle_next(struct fleet_file *file, struct settler *settler)
{
	add_settler(file->fleet, settler);
}

void fleet_settle(struct fleet *fleet, struct settler *settler)
{
	add_settler(fleet, settler);
	fleet_step(fleet);
}

/* ---- steps ---- */

void fleet_step(struct fleet *fleet)
{
	do {
		fleet->again = false;
		serve(fleet);
		fleet_lock_go_on(fleet);
	} while (fleet->again);
	while (fleet->settlers && !fleet_owes(fleet))
		end_settler(fleet->settlers);
	leave_unused(fleet);
}

/* Whether somebody waits for the fleet's lock, and not for a local one. */
static bool has_queue(const struct fleet *fleet)
{
	for (int kind = 0; kind < FLEET_KINDS; kind++)
		for (struct range_wait *wait = ranges_first(&fleet->ranges[kind]); wait; wait = ranges_next(wait))
			if (!claim_of(wait)->tries)
				return true;
	return false;
}

void fleet_claim(struct fleet_file *file, enum fleet_kind kind, struct claim *claim)
{
	struct fleet *fleet = file->fleet;
	struct daemon *daemon = fleet->daemon;

	claim->fleet = fleet;
	claim->since_us = loop_now_us();
	claim->queued = has_queue(fleet);
	ranges_wait(&fleet->ranges[kind], &claim->wait);
	if (claim->tries) {
		fleet->tries++;
		loop_set_alarm(&daemon->loop, &claim->alarm, claim->queued ? QUEUE_US : daemon->options->op_timeout_us,
		               claim_late);
	}
	fleet_step(fleet);
}

bool fleet_hurry(struct claim *claim)
{
	struct fleet *fleet = claim->fleet;

	if ((fleet->call != FLEET_TRYING && fleet->call != FLEET_RAISING) || fleet_first_claim(fleet) != claim)
		return false;
	fleet->tries += !claim->tries;
	claim->tries = true;
	loop_set_alarm(&fleet->daemon->loop, &claim->alarm, QUEUE_US, claim_late);
	return true;
}

void fleet_withdraw(struct claim *claim)
{
	struct fleet *fleet = claim->fleet;

	ranges_leave(&claim->wait);
	forget_claim(claim);
	fleet_step(fleet);
}

int fleet_unlock(struct fleet_file *file, enum fleet_kind kind, const struct range *range, struct settler *settler)
{
	int error = ranges_unset(&file->fleet->ranges[kind], range);

	if (!error)
		fleet_settle(file->fleet, settler);
	return error;
}

void fleet_drop_owner(struct fleet_file *file, uint64_t owner)
{
	if (ranges_drop_owner(&file->fleet->ranges[FLEET_RANGES], &file->range, owner))
		fleet_step(file->fleet);
}

void fleet_drop_handle(struct fleet_file *file, const void *handle)
{
	bool any = false;

	for (int kind = 0; kind < FLEET_KINDS; kind++)
		any |= ranges_drop_handle(&file->fleet->ranges[kind], handle);
	if (any)
		fleet_step(file->fleet);
}

void fleet_drop_before_claim(struct fleet_file *file, const void *handle)
{
	ranges_drop_handle(&file->fleet->ranges[FLEET_FLOCK], handle);
}

/* ---- all of them ---- */

int fleets_open(struct daemon *daemon, void (*lost)(struct daemon *daemon, const struct range *range),
                bool (*is_process)(const struct range_wait *wait))
{
	struct fleets *fleets = calloc(1, sizeof(*fleets));

	if (!fleets)
		return -ENOMEM;
	fleets->daemon = daemon;
	fleets->lost = lost;
	fleets->graph.is_process = is_process;
	daemon->fleets = fleets;
	return 0;
}

static void find_used(const void *node, VISIT visit, void *arg)
{
	struct fleet *fleet = *(struct fleet *const *)node, **found = arg;

	if ((visit == preorder || visit == leaf) && fleet->files)
		*found = fleet;
}

static void find_any(const void *node, VISIT visit, void *arg)
{
	struct fleet **found = arg;

	if (visit == preorder || visit == leaf)
		*found = *(struct fleet *const *)node;
}

/* When nothing is held all that wait are candidates. */
static void end_local(struct fleet *fleet)
{
	for (int kind = 0; kind < FLEET_KINDS; kind++)
		ranges_drop_all(&fleet->ranges[kind]);
	fleet_refuse_all(fleet, ENOLCK);
	fleet_step(fleet);
}

void fleets_give_all_back(struct daemon *daemon)
{
	struct fleets *fleets = daemon->fleets;

	if (!fleets)
		return;
	fleets_drop_idle(fleets, 0);
	for (;;) {
		struct fleet *fleet = fleets->nameless;

		if (!fleet)
			twalk_r(fleets->named, find_used, &fleet);
		if (!fleet)
			return;
		end_local(fleet);
	}
}

void fleets_close(struct daemon *daemon)
{
	struct fleets *fleets = daemon->fleets;

	if (!fleets)
		return;
	daemon->closing = true;
	fleets_give_all_back(daemon);
	while (fleets->named) {
		struct fleet *fleet = NULL;

		twalk_r(fleets->named, find_any, &fleet);
		while (fleet->settlers)
			end_settler(fleet->settlers);
		fleet_free(fleet);
	}
	free(fleets);
	daemon->fleets = NULL;
}

/* Those that ask do so in their next step; what is held is held where it was taken. */
static void find_outdated(const void *node, VISIT visit, void *arg)
{
	struct fleet *fleet = *(struct fleet *const *)node, **found = arg;

	if ((visit == preorder || visit == leaf) && fleet->outdated && !fleet->held && fleet->call != FLEET_RELEASING)
		*found = fleet;
}

static void mark_outdated(const void *node, VISIT visit, void *arg)
{
	(void)arg;
	if (visit == preorder || visit == leaf)
		(*(struct fleet *const *)node)->outdated = true;
}

void fleets_settings_changed(struct daemon *daemon)
{
	struct fleets *fleets = daemon->fleets;

	if (!fleets)
		return;
	fleets_drop_idle(fleets, 0);
	twalk_r(fleets->named, mark_outdated, NULL);
	for (;;) {
		struct fleet *fleet = NULL;

		twalk_r(fleets->named, find_outdated, &fleet);
		if (!fleet)
			return;
		fleet_close(fleet);
		fleet_step(fleet);
	}
}
