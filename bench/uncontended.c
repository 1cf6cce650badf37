/*
 * uncontended.c - lock and unlock of a name that nobody else wants, beside both floors: latency, the client's
 * processor time, and the same while one of the masters is stopped.
 *
 * One process uses the library, this one runs the floors, in turns: plain, same, ours, and again.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define REPEATS 9
#define PAIRS 1500
#define BLOCK_MS 60000

/* ---- the process that uses the library ---- */

struct solo {
	struct bench *bench;
	pid_t pid;
	atomic_int wanted, done; /* blocks; -1: it is over */
	atomic_bool failed;
	struct samples samples; /* of the last block */
	double cpu_us;
};

static int work(void *arg)
{
	struct solo *solo = arg;
	int fd = crew_open(solo->bench, "bench-uncontended"), wanted, error = fd < 0 ? -1 : 0;

	while (error == 0 && (wanted = atomic_load(&solo->wanted)) >= 0) {
		double begin_us;

		if (wanted == atomic_load(&solo->done)) {
			sleep_us(1000);
			continue;
		}
		solo->samples.count = 0;
		begin_us = cpu_us();
		for (int i = 0; i < PAIRS && error == 0; i++)
			error = crew_pair(fd, &solo->samples);
		solo->cpu_us = cpu_us() - begin_us;
		atomic_store(&solo->done, wanted);
	}
	if (error < 0 || dlock_close(fd) < 0)
		atomic_store(&solo->failed, true);
	return atomic_load(&solo->failed);
}

static struct solo *solo_start(struct bench *bench)
{
	struct solo *solo = crew_memory(sizeof(*solo));

	if (!solo)
		return NULL;
	solo->bench = bench;
	solo->pid = crew_start(work, solo);
	return solo;
}

static int solo_end(struct solo *solo)
{
	int error;

	if (!solo)
		return 0;
	atomic_store(&solo->wanted, -1);
	error = crew_end(&solo->pid, 1, 15000);
	munmap(solo, sizeof(*solo));
	return error;
}

/* PAIRS more; what they were is in `samples` then. */
static int solo_run(struct solo *solo)
{
	int64_t end_ms = stress_now_ms() + BLOCK_MS;
	int wanted = atomic_fetch_add(&solo->wanted, 1) + 1;

	while (atomic_load(&solo->done) < wanted && !atomic_load(&solo->failed) && stress_now_ms() < end_ms)
		sleep_us(2000);
	return atomic_load(&solo->done) == wanted && !atomic_load(&solo->failed) ? 0 : -1;
}

/* ---- the figures ---- */

struct measured {
	struct repeats median, p99, cpu;
};

static void add(struct measured *measured, struct samples *samples, double cpu)
{
	repeats_add(&measured->median, samples_us(samples, 0.5));
	repeats_add(&measured->p99, samples_us(samples, 0.99));
	repeats_add(&measured->cpu, cpu / samples->count);
}

static int run_floor(struct floor *floor, struct samples *samples, struct measured *measured)
{
	double begin_us = cpu_us();

	samples->count = 0;
	if (floor_run(floor, PAIRS, 0, samples) < 0)
		return -1;
	add(measured, samples, cpu_us() - begin_us);
	return 0;
}

static int run_ours(struct solo *solo, struct measured *measured)
{
	if (solo_run(solo) < 0)
		return -1;
	add(measured, &solo->samples, solo->cpu_us);
	return 0;
}

enum { OURS, SAME, PLAIN, STOPPED, KINDS };

static int measure(struct bench *bench, struct solo *solo, struct floor *same, struct floor *plain, struct measured *measured)
{
	struct samples *samples = calloc(1, sizeof(*samples));
	struct measured unused = {0};
	int error = samples && run_ours(solo, &unused) == 0 && run_floor(plain, samples, &unused) == 0 ? 0 : -1;

	for (int i = 0; i < REPEATS && error == 0; i++)
		if (run_floor(plain, samples, &measured[PLAIN]) < 0 || run_floor(same, samples, &measured[SAME]) < 0 ||
		    run_ours(solo, &measured[OURS]) < 0)
			error = -1;
	for (int i = 0; i < REPEATS && error == 0; i++) {
		/* Another one each time: the first of the list is not like the last. */
		servers_stop(bench->servers, i % servers_count(bench->servers));
		error = run_ours(solo, &measured[STOPPED]);
		servers_cont(bench->servers, i % servers_count(bench->servers));
		error = error == 0 ? run_ours(solo, &unused) : error; /* it catches up */
	}
	free(samples);
	return error;
}

static void tell(const struct measured *of)
{
	result_repeated("uncontended, median by same floor", "us", &of[OURS].median, &of[SAME].median, BAR_RATIO_MOST, 1.15);
	result_repeated("uncontended, median by plain floor", "us", &of[OURS].median, &of[PLAIN].median, BAR_RATIO_MOST, 1.5);
	result_repeated("uncontended, p99 by same floor", "us", &of[OURS].p99, &of[SAME].p99, BAR_NONE, 0);
	result_repeated("uncontended, p99 by plain floor", "us", &of[OURS].p99, &of[PLAIN].p99, BAR_NONE, 0);
	result_repeated("same floor, median by plain floor", "us", &of[SAME].median, &of[PLAIN].median, BAR_NONE, 0);
	result_repeated("client CPU a pair, by same floor", "us", &of[OURS].cpu, &of[SAME].cpu, BAR_RATIO_MOST, 1.3);
	result_repeated("client CPU a pair, by plain floor", "us", &of[OURS].cpu, &of[PLAIN].cpu, BAR_NONE, 0);
	result_repeated("one master stopped, median by none", "us", &of[STOPPED].median, &of[OURS].median, BAR_ADDS_MOST, 1000);
	result_repeated("one master stopped, p99 by none", "us", &of[STOPPED].p99, &of[OURS].p99, BAR_ADDS_MOST, 5000);
}

int figure_uncontended(struct bench *bench)
{
	struct floor *same = floor_open(bench, FLOOR_SAME, 0, 1), *plain = same ? floor_open(bench, FLOOR_PLAIN, 0, 1) : NULL;
	struct solo *solo = plain ? solo_start(bench) : NULL;
	struct measured measured[KINDS] = {0};
	int error = solo ? measure(bench, solo, same, plain, measured) : -1;

	if (solo_end(solo) < 0)
		error = -1;
	if (error == 0)
		tell(measured);
	floor_close(plain);
	floor_close(same);
	return error;
}
