/*
 * test_ranges.c - byte ranges of one host: what is held, who waits, who would wait for ever.
 *
 * The last tests hold the code against models that are too simple to be wrong: an
 * owner a byte, and a list that is walked from its start after every step. A failure
 * names its seed: DLOCK_TEST_SEED=n runs that one.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/ranges.h"

/* Linked with --wrap=malloc: the allocation with this number from now on fails. */
static unsigned failing;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return failing > 0 && --failing == 0 ? NULL : __real_malloc(size);
}

/* ---- words for what is held ---- */

struct fixture {
	struct range_graph graph;
	struct ranges ranges, others;
	struct range_file file, again;
	char text[400];
};

static struct fixture *begin(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	ranges_init(&f->ranges, &f->graph, true);
	ranges_init(&f->others, &f->graph, true);
	return f;
}

static void end(struct fixture *f)
{
	ranges_drop_all(&f->ranges);
	ranges_drop_all(&f->others);
	cr_assert_eq(f->file.uses, 0);
	cr_assert_eq(f->again.uses, 0);
	cr_assert_eq(f->ranges.count + f->ranges.exclusive, 0);
	cr_assert_null(f->ranges.candidates.first);
	for (size_t i = 0; i < RANGE_GRAPH_SIZE; i++)
		cr_assert_null(f->graph.waiting[i]);
	free(f);
}

/* Owner 'A' has handle 'A', and so on. */
static struct range range(struct fixture *f, char owner, char type, int64_t start, int64_t last)
{
	return (struct range){.start = start, .end = last, .exclusive = type == 'w', .owner = (uint64_t)owner,
	                      .file = &f->file, .handle = &f->text[(int)owner], .pid = owner};
}

static void set(struct fixture *f, char owner, char type, int64_t start, int64_t last)
{
	struct range wanted = range(f, owner, type, start, last);

	cr_assert_eq(ranges_set(&f->ranges, &wanted), 0);
}

static void unset(struct fixture *f, char owner, int64_t start, int64_t last)
{
	struct range wanted = range(f, owner, 'r', start, last);

	cr_assert_eq(ranges_unset(&f->ranges, &wanted), 0);
}

/* "A w 0-9, B r 3-end": and the counts fit to it. */
static void append(struct fixture *f, const struct range *held)
{
	size_t used = strlen(f->text);
	char last[24] = "end";

	if (held->end != RANGE_END)
		snprintf(last, sizeof(last), "%" PRId64, held->end);
	snprintf(f->text + used, sizeof(f->text) - used, "%s%c %c %" PRId64 "-%s", used ? ", " : "", (char)held->owner,
	         held->exclusive ? 'w' : 'r', held->start, last);
}

static const char *all_held(struct fixture *f)
{
	size_t count = 0, exclusive = 0;

	f->text[0] = '\0';
	for (struct range_held *held = f->ranges.first; held; held = held->next) {
		append(f, &held->range);
		count++;
		exclusive += held->range.exclusive;
		cr_assert(!held->next || (held->next->previous == held && held->next->range.start >= held->range.start));
	}
	cr_assert_eq(f->ranges.count, count);
	cr_assert_eq(f->ranges.exclusive, exclusive);
	return f->text;
}

static const char *in_the_way(struct fixture *f, char owner, char type, int64_t start, int64_t last)
{
	struct range wanted = range(f, owner, type, start, last), found;

	f->text[0] = '\0';
	if (ranges_test(&f->ranges, &wanted, &found))
		append(f, &found);
	return f->text;
}

/* ---- what is held ---- */

Test(ranges, readers_share_and_a_writer_keeps_all_others_out)
{
	struct fixture *f = begin();

	set(f, 'A', 'r', 0, 9);
	set(f, 'B', 'r', 5, 14);
	cr_assert_str_eq(in_the_way(f, 'C', 'r', 0, 20), "");
	cr_assert_str_eq(in_the_way(f, 'C', 'w', 10, 20), "B r 5-14");
	cr_assert_str_eq(in_the_way(f, 'C', 'w', 15, 20), "");
	cr_assert_str_eq(in_the_way(f, 'A', 'w', 0, 4), "", "nobody is in one's own way");
	set(f, 'C', 'w', 15, 20);
	cr_assert_str_eq(in_the_way(f, 'A', 'r', 10, 30), "C w 15-20");
	cr_assert_str_eq(in_the_way(f, 'C', 'r', 10, 30), "");
	end(f);
}

Test(ranges, of_several_in_the_way_the_one_that_begins_first_is_told)
{
	struct fixture *f = begin();

	set(f, 'C', 'w', 30, 39);
	set(f, 'B', 'r', 0, 29);
	set(f, 'D', 'r', 10, 19);
	cr_assert_str_eq(in_the_way(f, 'A', 'r', 0, RANGE_END), "C w 30-39");
	cr_assert_str_eq(in_the_way(f, 'A', 'w', 0, RANGE_END), "B r 0-29");
	cr_assert_str_eq(in_the_way(f, 'A', 'w', 15, 15), "B r 0-29");
	cr_assert_str_eq(in_the_way(f, 'B', 'w', 0, RANGE_END), "D r 10-19");
	end(f);
}

Test(ranges, unlocking_takes_away_a_part_or_several)
{
	struct fixture *f = begin();

	set(f, 'A', 'w', 10, 19);
	unset(f, 'A', 0, 9);
	unset(f, 'A', 20, RANGE_END);
	cr_assert_str_eq(all_held(f), "A w 10-19", "nothing of it was meant");
	unset(f, 'A', 5, 11);
	cr_assert_str_eq(all_held(f), "A w 12-19");
	unset(f, 'A', 18, 25);
	cr_assert_str_eq(all_held(f), "A w 12-17");
	unset(f, 'A', 14, 14);
	cr_assert_str_eq(all_held(f), "A w 12-13, A w 15-17");
	set(f, 'B', 'r', 0, 3);
	set(f, 'A', 'r', 30, RANGE_END);
	unset(f, 'A', 13, 30);
	cr_assert_str_eq(all_held(f), "B r 0-3, A w 12-12, A r 31-end");
	unset(f, 'A', 0, RANGE_END);
	cr_assert_str_eq(all_held(f), "B r 0-3");
	end(f);
}

Test(ranges, a_lock_replaces_what_its_owner_had_there)
{
	struct fixture *f = begin();

	set(f, 'A', 'r', 0, 99);
	set(f, 'A', 'w', 10, 19);
	cr_assert_str_eq(all_held(f), "A r 0-9, A w 10-19, A r 20-99");
	set(f, 'A', 'r', 15, 15);
	cr_assert_str_eq(all_held(f), "A r 0-9, A w 10-14, A r 15-15, A w 16-19, A r 20-99");
	set(f, 'A', 'r', 5, 16);
	cr_assert_str_eq(all_held(f), "A r 0-16, A w 17-19, A r 20-99");
	set(f, 'A', 'w', 0, RANGE_END);
	cr_assert_str_eq(all_held(f), "A w 0-end");
	set(f, 'A', 'r', 100, RANGE_END);
	cr_assert_str_eq(all_held(f), "A w 0-99, A r 100-end");
	end(f);
}

Test(ranges, an_owner_has_what_it_took)
{
	struct fixture *f = begin();
	struct range wanted = range(f, 'A', 'r', 5, 9);

	set(f, 'A', 'r', 0, 4);
	set(f, 'B', 'r', 0, 9);
	cr_assert(!ranges_has(&f->ranges, &wanted, false));
	set(f, 'A', 'r', 9, 9);
	cr_assert(ranges_has(&f->ranges, &wanted, false));
	cr_assert(!ranges_has(&f->ranges, &wanted, true));
	set(f, 'A', 'w', 20, 29);
	wanted.end = 19;
	cr_assert(!ranges_has(&f->ranges, &wanted, true));
	wanted.end = 20;
	cr_assert(ranges_has(&f->ranges, &wanted, true));
	wanted.file = &f->again;
	cr_assert(!ranges_has(&f->ranges, &wanted, true));
	end(f);
}

Test(ranges, neighbours_become_one)
{
	struct fixture *f = begin();

	set(f, 'A', 'r', 0, 4);
	set(f, 'A', 'r', 10, 14);
	set(f, 'B', 'r', 5, 9);
	cr_assert_str_eq(all_held(f), "A r 0-4, B r 5-9, A r 10-14");
	set(f, 'A', 'r', 5, 9);
	cr_assert_str_eq(all_held(f), "A r 0-14, B r 5-9");
	set(f, 'A', 'w', 15, 19);
	cr_assert_str_eq(all_held(f), "A r 0-14, B r 5-9, A w 15-19", "another kind is another lock");
	set(f, 'A', 'r', 15, 18);
	cr_assert_str_eq(all_held(f), "A r 0-18, B r 5-9, A w 19-19");
	set(f, 'A', 'r', RANGE_END, RANGE_END);
	set(f, 'A', 'r', RANGE_END - 1, RANGE_END - 1);
	cr_assert_str_eq(all_held(f), "A r 0-18, B r 5-9, A w 19-19, A r 9223372036854775806-end");
	end(f);
}

Test(ranges, what_two_handles_have_is_told_as_one_and_goes_with_each)
{
	struct fixture *f = begin();
	struct range second = range(f, 'A', 'w', 5, 9), third = range(f, 'A', 'w', 10, 14);

	set(f, 'A', 'w', 0, 4);
	second.handle = third.handle = &second;
	cr_assert_eq(ranges_set(&f->ranges, &third), 0);
	cr_assert_eq(ranges_set(&f->ranges, &second), 0);
	cr_assert_str_eq(all_held(f), "A w 0-4, A w 5-14");
	cr_assert_str_eq(in_the_way(f, 'B', 'r', 12, 12), "A w 0-14");
	cr_assert_str_eq(in_the_way(f, 'B', 'r', 0, 0), "A w 0-14");
	cr_assert(ranges_drop_handle(&f->ranges, &second));
	cr_assert(!ranges_drop_handle(&f->ranges, &second));
	cr_assert_str_eq(all_held(f), "A w 0-4");
	end(f);
}

Test(ranges, an_owner_goes_from_one_file_and_not_from_another_of_the_same_path)
{
	struct fixture *f = begin();
	struct range anew = range(f, 'A', 'w', 10, 19), wanted = range(f, 'A', 'w', 0, 9);

	anew.file = wanted.file = &f->again;
	set(f, 'A', 'w', 0, 9);
	set(f, 'B', 'r', 20, 29);
	cr_assert_eq(ranges_set(&f->ranges, &anew), 0);
	cr_assert_eq(f->file.uses, 2);
	cr_assert_eq(f->again.uses, 1);
	cr_assert(ranges_test(&f->ranges, &wanted, &anew), "the removed file still keeps the path locked");
	cr_assert(ranges_drop_owner(&f->ranges, &f->file, 'A'));
	cr_assert(!ranges_drop_owner(&f->ranges, &f->file, 'A'));
	cr_assert_str_eq(all_held(f), "A w 10-19, B r 20-29");
	cr_assert_eq(f->file.uses, 1);
	cr_assert(ranges_drop_all(&f->ranges));
	cr_assert(!ranges_drop_all(&f->ranges));
	end(f);
}

Test(ranges, without_memory_nothing_changes)
{
	struct fixture *f = begin();
	struct range middle = range(f, 'A', 'r', 4, 5), other = range(f, 'A', 'w', 20, 29);

	set(f, 'A', 'w', 0, 9);
	for (unsigned i = 1; i <= 2; i++) {
		failing = i;
		cr_assert_eq(ranges_set(&f->ranges, &middle), -ENOMEM);
		cr_assert_str_eq(all_held(f), "A w 0-9");
	}
	failing = 1;
	cr_assert_eq(ranges_set(&f->ranges, &other), -ENOMEM);
	failing = 1;
	cr_assert_eq(ranges_unset(&f->ranges, &middle), -ENOMEM);
	cr_assert_str_eq(all_held(f), "A w 0-9");
	failing = 1; /* an end can always be cut off */
	unset(f, 'A', 5, 20);
	cr_assert_eq(failing, 1);
	failing = 0;
	cr_assert_str_eq(all_held(f), "A w 0-4");
	end(f);
}

/* ---- who waits ---- */

#define WAITS 8

struct waits {
	struct range_wait list[WAITS];
	bool waiting[WAITS];
	char served[20]; /* their owners, in order; small letters: would have waited for ever */
};

static void note(struct waits *waits, struct range_wait *wait, int letter)
{
	waits->served[strlen(waits->served)] = (char)letter;
	waits->waiting[wait - waits->list] = false;
}

/* As the mount does it, when the fleet is no obstacle. (What is weighed and must wait is no candidate any more.) */
static void serve(struct ranges *ranges, struct waits *waits)
{
	struct range_wait *wait;

	while ((wait = ranges_first(ranges))) {
		int error = ranges_weigh(wait), owner = (int)wait->range.owner;

		if (error == 0) {
			cr_assert_eq(ranges_grant(wait), 0);
			note(waits, wait, owner);
		} else if (error == -EDEADLK) {
			ranges_leave(wait);
			note(waits, wait, owner + 'a' - 'A');
		}
	}
}

static struct range_wait *ask_in(struct fixture *f, struct ranges *ranges, struct waits *waits, char owner, char type,
                                 int64_t start, int64_t last)
{
	for (unsigned i = 0; i < WAITS; i++)
		if (!waits->waiting[i]) {
			waits->waiting[i] = true;
			waits->list[i].range = range(f, owner, type, start, last);
			ranges_wait(ranges, &waits->list[i]);
			serve(ranges, waits);
			return &waits->list[i];
		}
	cr_assert_fail("too many");
	return NULL;
}

static struct range_wait *ask(struct fixture *f, struct waits *waits, char owner, char type, int64_t start, int64_t last)
{
	return ask_in(f, &f->ranges, waits, owner, type, start, last);
}

static void release(struct fixture *f, struct waits *waits, char owner, int64_t start, int64_t last)
{
	unset(f, owner, start, last);
	serve(&f->ranges, waits);
}

Test(ranges, who_waits_is_served_in_order_and_readers_together)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ask(f, &waits, 'A', 'w', 0, 9);
	ask(f, &waits, 'B', 'r', 0, 9);
	ask(f, &waits, 'C', 'r', 5, 9);
	ask(f, &waits, 'D', 'w', 9, 9);
	ask(f, &waits, 'E', 'r', 0, 0);
	cr_assert_str_eq(waits.served, "A");
	release(f, &waits, 'A', 0, 9);
	cr_assert_str_eq(waits.served, "ABCE");
	release(f, &waits, 'B', 9, 9);
	cr_assert_str_eq(waits.served, "ABCE", "C is still there");
	release(f, &waits, 'C', 5, 9);
	cr_assert_str_eq(waits.served, "ABCED");
	end(f);
}

Test(ranges, a_part_that_is_given_back_is_enough_for_who_wants_no_more)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ask(f, &waits, 'A', 'w', 0, 99);
	ask(f, &waits, 'B', 'w', 50, 59);
	ask(f, &waits, 'C', 'w', 0, 9);
	ask(f, &waits, 'D', 'r', 90, 99);
	release(f, &waits, 'A', 0, 49);
	cr_assert_str_eq(waits.served, "AC");
	release(f, &waits, 'A', 55, 59);
	cr_assert_str_eq(waits.served, "AC", "B needs all ten");
	release(f, &waits, 'A', 50, 54);
	cr_assert_str_eq(waits.served, "ACB");
	set(f, 'A', 'r', 60, 99); /* a downgrade */
	serve(&f->ranges, &waits);
	cr_assert_str_eq(waits.served, "ACBD");
	end(f);
}

Test(ranges, who_waits_keeps_nobody_out)
{
	struct fixture *f = begin();
	struct waits waits = {0};
	struct range_wait *b;

	ask(f, &waits, 'A', 'r', 0, 9);
	b = ask(f, &waits, 'B', 'w', 0, 9);
	ask(f, &waits, 'C', 'r', 0, 9);
	cr_assert_str_eq(waits.served, "AC");
	release(f, &waits, 'A', 0, 9);
	ranges_leave(b);
	release(f, &waits, 'C', 0, 9);
	cr_assert_str_eq(waits.served, "AC");
	end(f);
}

Test(ranges, a_lock_that_grows_over_another_keeps_out_those_that_waited_for_that)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ask(f, &waits, 'A', 'w', 0, 4);
	ask(f, &waits, 'A', 'w', 10, 14);
	ask(f, &waits, 'B', 'w', 12, 12);
	ask(f, &waits, 'C', 'w', 2, 2);
	ask(f, &waits, 'A', 'w', 5, 9);
	cr_assert_str_eq(all_held(f), "A w 0-14");
	cr_assert_str_eq(waits.served, "AAA");
	release(f, &waits, 'A', 0, 14);
	cr_assert_str_eq(waits.served, "AAABC");
	end(f);
}

/* ---- who would wait for ever ---- */

Test(ranges, two_that_wait_for_each_other)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ask(f, &waits, 'A', 'w', 0, 0);
	ask(f, &waits, 'B', 'w', 1, 1);
	ask(f, &waits, 'A', 'w', 1, 1);
	ask(f, &waits, 'B', 'w', 0, 0);
	cr_assert_str_eq(waits.served, "ABb");
	release(f, &waits, 'B', 1, 1);
	cr_assert_str_eq(waits.served, "ABbA");
	end(f);
}

Test(ranges, three_in_a_circle_over_two_files)
{
	struct fixture *f = begin();
	struct waits waits = {0};
	struct range_wait *a, *b;

	ask(f, &waits, 'A', 'w', 0, 0);
	ask_in(f, &f->others, &waits, 'B', 'r', 0, RANGE_END);
	ask(f, &waits, 'C', 'w', 7, 7);
	a = ask_in(f, &f->others, &waits, 'A', 'w', 3, 3);
	b = ask(f, &waits, 'B', 'r', 5, 9);
	cr_assert_str_eq(waits.served, "ABC");
	ask(f, &waits, 'C', 'r', 0, 0);
	cr_assert_str_eq(waits.served, "ABCc");
	ranges_leave(a);
	ask(f, &waits, 'C', 'r', 0, 0);
	cr_assert_str_eq(waits.served, "ABCc", "once A waits no more, C may");
	ranges_leave(b);
	release(f, &waits, 'A', 0, 0);
	cr_assert_str_eq(waits.served, "ABCcC");
	end(f);
}

Test(ranges, of_two_readers_that_both_want_to_write_the_second_is_refused)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ask(f, &waits, 'A', 'r', 0, 9);
	ask(f, &waits, 'B', 'r', 0, 9);
	ask(f, &waits, 'A', 'w', 0, 9);
	ask(f, &waits, 'B', 'w', 0, 9);
	cr_assert_str_eq(waits.served, "ABb");
	cr_assert_str_eq(in_the_way(f, 'C', 'w', 0, 9), "A r 0-9", "who waits to write keeps on reading");
	release(f, &waits, 'B', 0, 9);
	cr_assert_str_eq(waits.served, "ABbA");
	cr_assert_str_eq(all_held(f), "A w 0-9");
	end(f);
}

Test(ranges, every_lock_in_the_way_counts_not_only_the_first)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ask(f, &waits, 'A', 'w', 10, 10);
	ask(f, &waits, 'B', 'r', 0, 0);
	ask(f, &waits, 'C', 'r', 0, 0);
	ask(f, &waits, 'A', 'w', 0, 0);
	ask(f, &waits, 'C', 'r', 10, 10);
	cr_assert_str_eq(waits.served, "ABCc");
	release(f, &waits, 'B', 0, 0);
	release(f, &waits, 'C', 0, 0);
	cr_assert_str_eq(waits.served, "ABCcA");
	end(f);
}

Test(ranges, a_process_does_not_wait_for_what_it_has_of_the_removed_file)
{
	struct fixture *f = begin();
	struct waits waits = {0};
	struct range_wait wait = {.range = range(f, 'A', 'w', 0, 9)};

	ask(f, &waits, 'A', 'r', 0, 9);
	wait.range.file = &f->again;
	ranges_wait(&f->ranges, &wait);
	cr_assert_eq(ranges_weigh(&wait), -EDEADLK);
	ranges_leave(&wait);
	end(f);
}

static bool only_capitals_to_m(const struct range_wait *wait)
{
	return wait->range.owner <= 'M';
}

Test(ranges, an_open_file_is_no_party_to_a_deadlock)
{
	struct fixture *f = begin();
	struct waits waits = {0};
	struct range_wait *n;

	f->graph.is_process = only_capitals_to_m;
	ask(f, &waits, 'A', 'w', 0, 0);
	ask(f, &waits, 'N', 'w', 1, 1);
	ask(f, &waits, 'A', 'w', 1, 1);
	n = ask(f, &waits, 'N', 'w', 0, 0);
	cr_assert_str_eq(waits.served, "AN", "neither as the one that asks");
	ranges_leave(n);
	ranges_drop_all(&f->ranges);
	serve(&f->ranges, &waits);
	cr_assert_str_eq(waits.served, "ANA");
	set(f, 'N', 'w', 5, 5);
	n = ask(f, &waits, 'N', 'w', 1, 1);
	ask(f, &waits, 'A', 'w', 5, 5);
	cr_assert_str_eq(waits.served, "ANA", "nor in between");
	ranges_drop_all(&f->ranges);
	serve(&f->ranges, &waits);
	cr_assert_str_eq(waits.served, "ANANA");
	end(f);
}

Test(ranges, flock_knows_no_deadlock)
{
	struct fixture *f = begin();
	struct waits waits = {0};

	ranges_init(&f->ranges, &f->graph, false);
	ask(f, &waits, 'A', 'r', 0, RANGE_END);
	ask(f, &waits, 'B', 'r', 0, RANGE_END);
	ask(f, &waits, 'A', 'w', 0, RANGE_END);
	ask(f, &waits, 'B', 'w', 0, RANGE_END);
	cr_assert_str_eq(waits.served, "AB");
	cr_assert(ranges_drop_handle(&f->ranges, &f->text['B']));
	serve(&f->ranges, &waits);
	cr_assert_str_eq(waits.served, "ABA");
	cr_assert(ranges_drop_handle(&f->ranges, &f->text['A']));
	serve(&f->ranges, &waits);
	cr_assert_str_eq(waits.served, "ABAB");
	end(f);
}

/* ---- many ---- */

Test(ranges, a_thousand_wait_and_each_has_its_turn)
{
	enum { MANY = 1000 };
	struct fixture *f = begin();
	struct range_wait *waits = calloc(MANY, sizeof(*waits)), *wait;

	for (unsigned i = 0; i < MANY; i++) {
		waits[i].range = range(f, 'A', 'w', 0, RANGE_END);
		waits[i].range.owner = 1000 + i;
		ranges_wait(&f->ranges, &waits[i]);
		cr_assert_eq(ranges_weigh(&waits[i]), i ? -EAGAIN : 0);
		if (i == 0)
			cr_assert_eq(ranges_grant(&waits[i]), 0);
	}
	for (unsigned i = 1; i < MANY; i++) {
		cr_assert_eq(ranges_unset(&f->ranges, &waits[i - 1].range), 0);
		cr_assert_eq(ranges_first(&f->ranges), &waits[i], "the oldest comes first");
		cr_assert_eq(ranges_grant(&waits[i]), 0);
		while ((wait = ranges_first(&f->ranges)))
			cr_assert_eq(ranges_weigh(wait), -EAGAIN);
	}
	cr_assert_eq(ranges_unset(&f->ranges, &waits[MANY - 1].range), 0);
	free(waits);
	end(f);
}

Test(ranges, among_thousands_that_wait_only_the_right_one_closes_a_circle)
{
	enum { MANY = 4 * RANGE_GRAPH_SIZE };
	struct fixture *f = begin();
	struct range_wait *waits = calloc(MANY, sizeof(*waits)), wait = {.range = range(f, 'A', 'w', 1, 1)};

	set(f, 'A', 'w', 0, 0);
	set(f, 'B', 'w', 1, 1);
	for (unsigned i = 0; i < MANY; i++) {
		waits[i].range = range(f, 'A', 'w', 0, 0);
		waits[i].range.owner = 1000 + i;
		ranges_wait(&f->ranges, &waits[i]);
		cr_assert_eq(ranges_weigh(&waits[i]), -EAGAIN);
	}
	ranges_wait(&f->ranges, &wait);
	cr_assert_eq(ranges_weigh(&wait), -EAGAIN, "B waits for nobody");
	ranges_leave(&wait);
	ranges_leave(&waits[MANY / 2]);
	waits[MANY / 2].range.owner = 'B';
	ranges_wait(&f->ranges, &waits[MANY / 2]);
	cr_assert_eq(ranges_weigh(&waits[MANY / 2]), -EAGAIN);
	ranges_wait(&f->ranges, &wait);
	cr_assert_eq(ranges_weigh(&wait), -EDEADLK);
	ranges_leave(&wait);
	for (unsigned i = 0; i < MANY; i++)
		ranges_leave(&waits[i]);
	free(waits);
	end(f);
}

/* ---- against the models ---- */

#define BYTES 20 /* the last one of the model stands for all the rest of the file */
#define OWNERS 6

struct model {
	char lock[OWNERS][BYTES];     /* 0, 'r', 'w' */
	char handle[OWNERS][BYTES];   /* which of its owner's two */
	struct { bool waits, gone; char type; int start, end; unsigned ticket; } asks[OWNERS];
	unsigned ticket;
	uint64_t random;
	char handles[OWNERS][2];
	struct range_wait waits[OWNERS];
};

static unsigned draw(struct model *m, unsigned below)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return (unsigned)((m->random * 0x2545f4914f6cdd1du >> 33) % below);
}

/* Owners 0 and 1 are one process, with the file and with its successor. */
static uint64_t owner_number(int owner)
{
	return owner < 2 ? 77 : 100 + (uint64_t)owner;
}

static struct range model_range(struct fixture *f, struct model *m, int owner, char type, int start, int last, int handle)
{
	return (struct range){.start = start, .end = last == BYTES - 1 ? RANGE_END : last, .exclusive = type == 'w',
	                      .owner = owner_number(owner), .file = owner == 1 ? &f->again : &f->file,
	                      .handle = &m->handles[owner][handle], .pid = owner};
}

static bool model_conflict(const struct model *m, int owner, char type, int start, int last, int with)
{
	for (int i = start; i <= last; i++)
		if (with != owner && m->lock[with][i] && (type == 'w' || m->lock[with][i] == 'w'))
			return true;
	return false;
}

static bool model_blocked(const struct model *m, int owner, char type, int start, int last)
{
	bool blocked = false;

	for (int with = 0; with < OWNERS; with++)
		blocked |= model_conflict(m, owner, type, start, last, with);
	return blocked;
}

static void model_set(struct model *m, int owner, char type, int start, int last, int handle)
{
	for (int i = start; i <= last; i++) {
		m->lock[owner][i] = type;
		m->handle[owner][i] = (char)handle;
	}
}

/* Whether `owner`, if it waits for this, waits for `whom`; walked to the depth of all owners. */
static bool model_waits_for(const struct model *m, int owner, char type, int start, int last, uint64_t whom, int depth)
{
	for (int with = 0; with < OWNERS; with++) {
		if (!model_conflict(m, owner, type, start, last, with))
			continue;
		if (owner_number(with) == whom)
			return true;
		for (int next = 0; depth > 0 && next < OWNERS; next++)
			if (owner_number(next) == owner_number(with) && m->asks[next].waits &&
			    model_waits_for(m, next, m->asks[next].type, m->asks[next].start, m->asks[next].end, whom, depth - 1))
				return true;
	}
	return false;
}

/* The held ranges say the same as the bytes, and none could be joined to another. */
static void compare_held(struct fixture *f, struct model *m, uint64_t seed)
{
	char seen[OWNERS][BYTES] = {{0}};

	for (struct range_held *held = f->ranges.first; held; held = held->next) {
		const struct range *r = &held->range;
		int owner = (int)r->pid, last = r->end == RANGE_END ? BYTES - 1 : (int)r->end;

		cr_assert(!held->next || held->next->range.start >= r->start, "seed %lu", seed);
		for (int i = (int)r->start; i <= last; i++) {
			cr_assert_eq(seen[owner][i], 0, "seed %lu: twice", seed);
			seen[owner][i] = r->exclusive ? 'w' : 'r';
			cr_assert_eq(r->handle, &m->handles[owner][(int)m->handle[owner][i]], "seed %lu", seed);
		}
		for (struct range_held *other = f->ranges.first; other; other = other->next)
			cr_assert(other->range.handle != r->handle || other->range.exclusive != r->exclusive ||
			              r->end == RANGE_END || other->range.start != r->end + 1,
			          "seed %lu: neighbours that are not joined", seed);
	}
	cr_assert_arr_eq(seen, m->lock, sizeof(seen), "seed %lu", seed);
	cr_assert_eq(f->again.uses == 0, !memchr(seen[1], 'r', BYTES) && !memchr(seen[1], 'w', BYTES) && !m->asks[1].waits);
}

static void compare_test(struct fixture *f, struct model *m, int owner, char type, int start, int last, uint64_t seed)
{
	struct range wanted = model_range(f, m, owner, type, start, last, 0), found;
	bool blocked = model_blocked(m, owner, type, start, last);
	int with, first, end_of_it;

	cr_assert_eq(ranges_test(&f->ranges, &wanted, &found), blocked, "seed %lu", seed);
	if (!blocked)
		return;
	with = (int)found.pid;
	first = (int)found.start;
	end_of_it = found.end == RANGE_END ? BYTES - 1 : (int)found.end;
	cr_assert(model_conflict(m, owner, type, start, last, with), "seed %lu", seed);
	for (int i = first; i <= end_of_it; i++)
		cr_assert_eq(m->lock[with][i], found.exclusive ? 'w' : 'r', "seed %lu", seed);
	cr_assert(first == 0 || m->lock[with][first - 1] != m->lock[with][first], "seed %lu: more of it", seed);
	cr_assert(end_of_it == BYTES - 1 || m->lock[with][end_of_it + 1] != m->lock[with][first], "seed %lu", seed);
}

/* The oldest that nothing is in the way of; -1: none. */
static int model_next(const struct model *m)
{
	int next = -1;

	for (int i = 0; i < OWNERS; i++)
		if (m->asks[i].waits && (next < 0 || m->asks[i].ticket < m->asks[next].ticket) &&
		    !model_blocked(m, i, m->asks[i].type, m->asks[i].start, m->asks[i].end))
			next = i;
	return next;
}

static void serve_both(struct fixture *f, struct model *m, uint64_t seed)
{
	struct range_wait *wait;

	while ((wait = ranges_first(&f->ranges))) {
		int error = ranges_weigh(wait), owner = (int)(wait - m->waits), expected;

		cr_assert_neq(error, -EDEADLK, "seed %lu: only who begins to wait closes a circle", seed);
		if (error)
			continue;
		expected = model_next(m);
		cr_assert_eq(owner, expected, "seed %lu: owner %d is served instead of %d", seed, owner, expected);
		cr_assert_eq(ranges_grant(wait), 0);
		m->asks[owner].waits = false;
		model_set(m, owner, m->asks[owner].type, m->asks[owner].start, m->asks[owner].end,
		          wait->range.handle == &m->handles[owner][1]);
	}
	cr_assert_eq(model_next(m), -1, "seed %lu: somebody is forgotten", seed);
}

static void ask_both(struct fixture *f, struct model *m, int owner, char type, int start, int last, int handle,
                     uint64_t seed)
{
	bool blocked = model_blocked(m, owner, type, start, last);
	bool forever = model_waits_for(m, owner, type, start, last, owner_number(owner), OWNERS);
	struct range_wait *wait = &m->waits[owner];
	int error;

	m->asks[owner].type = type;
	m->asks[owner].start = start;
	m->asks[owner].end = last;
	m->asks[owner].ticket = ++m->ticket;
	wait->range = model_range(f, m, owner, type, start, last, handle);
	ranges_wait(&f->ranges, wait);
	error = ranges_weigh(wait);
	cr_assert_eq(error, !blocked ? 0 : forever ? -EDEADLK : -EAGAIN, "seed %lu: owner %d: %d, %d, %d", seed, owner, error,
	             blocked, forever);
	m->asks[owner].waits = error != -EDEADLK;
	if (error == -EDEADLK)
		ranges_leave(wait);
	serve_both(f, m, seed);
}

static void drop_both(struct fixture *f, struct model *m, int owner, bool whole_owner, int handle)
{
	if (whole_owner)
		ranges_drop_owner(&f->ranges, owner == 1 ? &f->again : &f->file, owner_number(owner));
	else
		ranges_drop_handle(&f->ranges, &m->handles[owner][handle]);
	for (int i = 0; i < BYTES; i++)
		if (whole_owner || m->handle[owner][i] == handle)
			m->lock[owner][i] = 0;
}

static void step_both(struct fixture *f, struct model *m, uint64_t seed)
{
	int owner = (int)draw(m, OWNERS), start = (int)draw(m, BYTES), handle = (int)draw(m, 2);
	int last = start + (int)draw(m, (unsigned)(BYTES - start));
	char type = draw(m, 3) ? 'w' : 'r';
	struct range range = model_range(f, m, owner, type, start, last, handle);

	compare_test(f, m, owner, type, start, last, seed);
	/* Who waits does nothing else; now and then it gives up. */
	if (m->asks[owner].waits || m->asks[owner < 2 ? 1 - owner : owner].waits) {
		if (m->asks[owner].waits && draw(m, 4) == 0) {
			ranges_leave(&m->waits[owner]);
			m->asks[owner].waits = false;
		}
		return;
	}
	switch (draw(m, 8)) {
	case 0:
		drop_both(f, m, owner, true, 0);
		break;
	case 1:
		drop_both(f, m, owner, false, handle);
		break;
	case 2:
	case 3:
		cr_assert_eq(ranges_unset(&f->ranges, &range), 0);
		model_set(m, owner, 0, start, last, handle);
		break;
	default:
		ask_both(f, m, owner, type, start, last, handle, seed);
		return;
	}
	serve_both(f, m, seed);
}

static void run_seed(uint64_t seed)
{
	struct fixture *f = begin();
	struct model *m = calloc(1, sizeof(*m));

	m->random = seed * 0x9e3779b97f4a7c15u | 1;
	for (unsigned i = 0; i < 300; i++) {
		step_both(f, m, seed);
		compare_held(f, m, seed);
	}
	for (int i = 0; i < OWNERS; i++)
		if (m->asks[i].waits)
			ranges_leave(&m->waits[i]);
	free(m);
	end(f);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

Test(ranges, at_random_they_do_what_the_models_do, .timeout = 300)
{
	uint64_t seed = number_from("DLOCK_TEST_SEED", 0), runs = number_from("DLOCK_TEST_RUNS", 1500);

	for (uint64_t i = seed ? seed : 1; i <= (seed ? seed : runs); i++)
		run_seed(i);
}
