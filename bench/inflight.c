/*
 * inflight.c - very many locks of one process in flight, beside both floors with as many: pairs of lock and unlock a
 * second, and what a pair costs a master of its own processor time.
 */
#include <stdio.h>

#include "bench/bench.h"

#define AT_ONCE 1000
#define PAIRS 8000
#define REPEATS 5

struct measured {
	struct repeats rate, master_us, client_us;
};

/* Of a master, until now; the mean of all. */
static double master_us(struct servers *servers)
{
	return 1e6 * (mean_of(servers, "INFO cpu", "used_cpu_user:") + mean_of(servers, "INFO cpu", "used_cpu_sys:"));
}

static int run_floor(struct bench *bench, struct floor *floor, struct measured *measured)
{
	double on_master = master_us(bench->servers), own = cpu_us();
	int64_t begin_ns = now_ns();

	if (floor_flight(floor, PAIRS) < 0)
		return -1;
	repeats_add(&measured->rate, PAIRS * 1e9 / (double)(now_ns() - begin_ns));
	repeats_add(&measured->client_us, (cpu_us() - own) / PAIRS);
	sleep_us(50000); /* the slowest has done its part as well */
	repeats_add(&measured->master_us, (master_us(bench->servers) - on_master) / PAIRS);
	return 0;
}

/* Before it is measured each name is taken once; that counts on the masters. */
static int run_ours(struct bench *bench, struct measured *measured)
{
	double on_master = master_us(bench->servers);
	struct flight flight;

	if (flight_run(bench, AT_ONCE, PAIRS, &flight) < 0)
		return -1;
	repeats_add(&measured->rate, flight.pairs_per_s);
	repeats_add(&measured->client_us, flight.cpu_us);
	sleep_us(50000);
	repeats_add(&measured->master_us, (master_us(bench->servers) - on_master) / (PAIRS + AT_ONCE));
	return 0;
}

enum { OURS, SAME, PLAIN, KINDS };

static void tell(const struct measured *of)
{
	result_repeated("1,000 in flight, by same floor", "/s", &of[OURS].rate, &of[SAME].rate, BAR_RATIO_LEAST, 0.8);
	result_repeated("1,000 in flight, by plain floor", "/s", &of[OURS].rate, &of[PLAIN].rate, BAR_RATIO_LEAST, 0.3);
	result_repeated("  client CPU a pair, by same floor", "us", &of[OURS].client_us, &of[SAME].client_us, BAR_NONE, 0);
	result_repeated("  time on a master a pair, by plain floor", "us", &of[OURS].master_us, &of[PLAIN].master_us,
	                BAR_RATIO_MOST, 3);
	result_repeated("  same floor: time on a master, by plain floor", "us", &of[SAME].master_us, &of[PLAIN].master_us,
	                BAR_NONE, 0);
}

int figure_inflight(struct bench *bench)
{
	struct floor *same = floor_open(bench, FLOOR_SAME, 0, AT_ONCE);
	struct floor *plain = same ? floor_open(bench, FLOOR_PLAIN, AT_ONCE, AT_ONCE) : NULL;
	struct measured measured[KINDS] = {0};
	int error = plain ? 0 : -1;

	for (int i = 0; i < REPEATS && error == 0; i++)
		if (run_floor(bench, plain, &measured[PLAIN]) < 0 || run_floor(bench, same, &measured[SAME]) < 0 ||
		    run_ours(bench, &measured[OURS]) < 0)
			error = -1;
	if (error == 0)
		tell(measured);
	floor_close(plain);
	floor_close(same);
	return error;
}
