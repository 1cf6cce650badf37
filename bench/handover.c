/* handover.c - how long it takes from the holder's unlock to the next one's return, beside the plain floor. */
#include <stdlib.h>

#include "bench/bench.h"

#define BLOCKS 10
#define FLOOR_ROUNDS 200
#define HANDOVERS 120

/* In turns, so that whatever else the machine does falls upon both. */
static int measure(struct pair *pair, struct floor *floor, struct samples *plain, struct samples *rested)
{
	for (int block = 0; block < BLOCKS; block++)
		if (floor_run(floor, FLOOR_ROUNDS, 0, plain) < 0 || pair_run(pair, PHASE_FIRST, HANDOVERS) < 0 ||
		    floor_run(floor, HANDOVERS, PAIR_HOLD_US, rested) < 0)
			return -1;
	return 0;
}

int figure_handover(struct bench *bench)
{
	struct samples *plain = calloc(2, sizeof(*plain)), *rested = plain ? plain + 1 : NULL, *ours;
	struct floor *floor = floor_open(bench, FLOOR_PLAIN, 0, 1);
	struct pair *pair = pair_start(bench, "bench-handover");
	int error = -1;

	if (plain && floor && pair && measure(pair, floor, plain, rested) == 0) {
		ours = pair_samples(pair, PHASE_FIRST);
		result("handover, median", "us", samples_us(ours, 0.5), samples_us(plain, 0.5), BAR_RATIO_MOST, 1.5);
		/* Held to the floor's median; beside its p99 for what the machine itself does. */
		result("handover, p99 by median", "us", samples_us(ours, 0.99), samples_us(plain, 0.5), BAR_RATIO_MOST, 3);
		result("handover, p99 by p99", "us", samples_us(ours, 0.99), samples_us(plain, 0.99), BAR_NONE, 0);
		/* A hand-over comes after a rest, in which processors and caches turn to other things. */
		result("handover, median by rested floor", "us", samples_us(ours, 0.5), samples_us(rested, 0.5), BAR_NONE, 0);
		error = 0;
	}
	if (pair_end(pair) < 0)
		error = -1;
	floor_close(floor);
	free(plain);
	return error;
}
