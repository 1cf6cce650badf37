/*
 * pair.c - two processes that hand one lock to each other, for as long as is wished.
 *
 * A hand-over is the time from the holder's call of dlock_unlock() to the return of
 * the other's dlock_lock(), which had been waiting for a while: the holder sees that
 * the other is about to ask, and holds PAIR_HOLD_US more, in which the request has come to
 * all masters. Between the blocks of a measurement the holder keeps the lock, so that
 * the connections stay as they are.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define BLOCK_MS 60000

struct pair {
	struct bench *bench;
	char name[64];
	pid_t pids[2];
	atomic_int next; /* gives the two their numbers */
	atomic_int phase;
	atomic_bool failed;
	atomic_bool asks[2];
	atomic_int counts[PHASES]; /* samples, where the other processes may look */

	/* Written by the holder alone. */
	int64_t released_ns;
	int released_by;
	int released_phase;
	struct samples samples[PHASES];
};

static void note_handover(struct pair *pair, int me, int64_t returned_ns)
{
	int phase = pair->released_phase;

	/* After one's own release the other was not there yet. */
	if (pair->released_by == me || pair->released_ns == 0)
		return;
	samples_add(&pair->samples[phase], returned_ns - pair->released_ns);
	atomic_fetch_add(&pair->counts[phase], 1);
}

/* False when all is over. */
static bool hold(struct pair *pair, int me)
{
	int phase;

	while ((phase = atomic_load(&pair->phase)) == PHASE_PAUSE ||
	       (phase != PHASE_END && !atomic_load(&pair->asks[!me])))
		sleep_us(phase == PHASE_PAUSE ? 5000 : 200);
	if (phase != PHASE_END)
		sleep_us(PAIR_HOLD_US);
	pair->released_phase = phase;
	pair->released_by = me;
	return phase != PHASE_END;
}

static int hand_over(struct pair *pair, int me)
{
	int fd = crew_open(pair->bench, pair->name);

	for (bool goes_on = fd >= 0; goes_on;) {
		int64_t returned_ns;

		atomic_store(&pair->asks[me], true);
		if (dlock_lock(fd) < 0)
			goto failed;
		returned_ns = now_ns();
		atomic_store(&pair->asks[me], false);
		note_handover(pair, me, returned_ns);
		goes_on = hold(pair, me);
		pair->released_ns = goes_on ? now_ns() : 0;
		if (dlock_unlock(fd) < 0)
			goto failed;
	}
	if (fd >= 0)
		return dlock_close(fd) < 0;
failed:
	fprintf(stderr, "pair: %s\n", dlock_error_detail());
	atomic_store(&pair->failed, true);
	return 1;
}

static int work(void *arg)
{
	struct pair *pair = arg;

	return hand_over(pair, atomic_fetch_add(&pair->next, 1));
}

struct pair *pair_start(struct bench *bench, const char *name)
{
	struct pair *pair = crew_memory(sizeof(*pair));

	if (!pair)
		return NULL;
	pair->bench = bench;
	snprintf(pair->name, sizeof(pair->name), "%s", name);
	for (int i = 0; i < 2; i++)
		pair->pids[i] = crew_start(work, pair);
	return pair;
}

int pair_run(struct pair *pair, enum phase phase, int more)
{
	int64_t end_ms = stress_now_ms() + BLOCK_MS;
	int goal = atomic_load(&pair->counts[phase]) + more;

	atomic_store(&pair->phase, (int)phase);
	while (atomic_load(&pair->counts[phase]) < goal && !atomic_load(&pair->failed) && stress_now_ms() < end_ms)
		sleep_us(5000);
	atomic_store(&pair->phase, PHASE_PAUSE);
	sleep_us(20000); /* a hand-over that was under way belongs to this block */
	if (atomic_load(&pair->counts[phase]) >= goal)
		return 0;
	fprintf(stderr, "pair: %d of %d hand-overs in %d ms\n", more - goal + atomic_load(&pair->counts[phase]), more,
	        BLOCK_MS);
	return -1;
}

struct samples *pair_samples(struct pair *pair, enum phase phase)
{
	return &pair->samples[phase];
}

int pair_end(struct pair *pair)
{
	int error;

	if (!pair)
		return 0;
	atomic_store(&pair->phase, PHASE_END);
	error = crew_end(pair->pids, 2, 15000);
	munmap(pair, sizeof(*pair));
	return error;
}
