/*
 * growth.c - how it grows: with the masters, with those that wait, with the names that are
 * held, and with the processes that lock.
 *
 * Each curve is told by points. A series is called by what it is and whose it is: "ours", or
 * the "floor" that was measured in the same run, in turns with ours.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SETTLE_US 20000 /* what was sent has come to all masters by then, and not to the majority only */
#define WORK_MS 120000

/* ---- lock and unlock, by masters ---- */

#define MASTERS 7
#define MASTERS_BLOCKS 10
#define MASTERS_ROUNDS 100

struct uncontended {
	struct bench *bench;
	struct samples ours, floor;
	int64_t scripts; /* of ours */
};

static int lock_uncontended(void *arg)
{
	struct uncontended *one = arg;
	struct servers *servers = one->bench->servers;
	struct floor *floor = floor_open(one->bench, FLOOR_PLAIN, 0, 1);
	int fd = floor ? crew_open(one->bench, "bench-growth-masters") : -1;

	if (fd < 0)
		return 1;
	for (int block = 0; block < MASTERS_BLOCKS; block++) {
		int64_t before = scripts_run(servers);

		for (int round = 0; round < MASTERS_ROUNDS; round++)
			if (crew_pair(fd, &one->ours) < 0)
				return 1;
		sleep_us(SETTLE_US);
		one->scripts += scripts_run(servers) - before;
		if (floor_run(floor, MASTERS_ROUNDS, 0, &one->floor) < 0)
			return 1;
		sleep_us(SETTLE_US);
	}
	return dlock_close(fd) < 0;
}

static int measure_masters(struct bench *bench, int masters)
{
	struct uncontended *one = crew_memory(sizeof(*one));
	pid_t pid;
	int error;

	if (!one)
		return -1;
	one->bench = bench;
	pid = crew_start(lock_uncontended, one);
	error = crew_end(&pid, 1, WORK_MS);
	if (!error) {
		result_point("masters", "lock+unlock, ours", masters, "us", samples_us(&one->ours, 0.5));
		result_point("masters", "lock+unlock, floor", masters, "us", samples_us(&one->floor, 0.5));
		result_point("masters", "scripts a lock+unlock, ours", masters, "",
		             (double)one->scripts / one->ours.count);
	}
	munmap(one, sizeof(*one));
	return error;
}

static int by_masters(struct bench *bench)
{
	int error = 0;

	for (int masters = 1; masters <= MASTERS && !error; masters++) {
		struct servers *servers = servers_start(&(struct servers_options){.count = masters, .tcp = true});
		struct bench own = {.servers = servers, .seconds = bench->seconds};

		own.options = servers ? new_masters(servers) : NULL;
		error = own.options ? measure_masters(&own, masters) : -1;
		dlock_options_free(own.options);
		servers_free(servers);
	}
	return error;
}

/* ---- a hand-over, by those that wait ---- */

#define NAME_WAITERS "bench-growth-waiters"
#define HANDED 100 /* at least so many hand-overs, and rounds: */
#define ROUNDS_LEAST 3
#define APART_US 100
#define FLOOR_ROUNDS 30

struct line_of {
	struct samples handed, floor;
	int64_t scripts, locks;
};

static int wait_in_rounds(struct queue *queue, int waiters, struct floor *floor, struct line_of *line)
{
	int rounds = waiters * ROUNDS_LEAST < HANDED ? HANDED / waiters : ROUNDS_LEAST;

	/* Who waits for the first time makes its second connections, and asks again when they are there. */
	if (queue_ask(queue, APART_US) < 0 || queue_serve(queue) < 0)
		return -1;
	for (int round = 0; round < rounds; round++) {
		const struct queue_round *served = queue_round(queue);
		int64_t before;

		if (floor_run(floor, FLOOR_ROUNDS, 0, &line->floor) < 0)
			return -1;
		sleep_us(SETTLE_US);
		before = scripts_run(queue_servers(queue));
		if (queue_ask(queue, APART_US) < 0)
			return -1;
		sleep_us(SETTLE_US);
		if (queue_serve(queue) < 0)
			return -1;
		sleep_us(SETTLE_US);
		line->scripts += scripts_run(queue_servers(queue)) - before;
		line->locks += 1 + served->served;
		for (int i = 0; i < served->served; i++)
			samples_add(&line->handed, served->handed_ns[i]);
	}
	return 0;
}

static int measure_waiters(struct bench *bench, struct floor *floor, int waiters)
{
	struct line_of *line = calloc(1, sizeof(*line));
	struct queue *queue = line ? queue_start(bench, NAME_WAITERS, waiters) : NULL;
	int error = queue ? wait_in_rounds(queue, waiters, floor, line) : -1;

	if (queue_end(queue) < 0)
		error = -1;
	if (!error) {
		result_point("waiters", "hand-over, ours", waiters, "us", samples_us(&line->handed, 0.5));
		result_point("waiters", "hand-over, floor", waiters, "us", samples_us(&line->floor, 0.5));
		result_point("waiters", "scripts a hand-over, ours", waiters, "", (double)line->scripts / (double)line->locks);
	}
	free(line);
	return error;
}

static int by_waiters(struct bench *bench)
{
	static const int counts[] = {1, 3, 10, 30, 100, 300, QUEUE_MAX};
	struct floor *floor = floor_open(bench, FLOOR_PLAIN, 0, 1);
	int error = floor ? 0 : -1;

	for (size_t i = 0; i < COUNT(counts) && !error; i++)
		error = measure_waiters(bench, floor, counts[i]);
	floor_close(floor);
	return error;
}

/* ---- what holding costs, by names ---- */

#define NAMES_MAX 100000
#define NAMES_TOLD 100 /* fewer take no more memory than the pages that they are on */
#define BATCH 200      /* names that are asked for at once */
#define FILES_BESIDES 60
#define RENEWED_US 6666667 /* two thirds of a ttl of 10 s: all are renewed twice */
#define BETWEEN_US 1666667 /* and that window does not begin or end in the midst of renewals */
#define BESIDE_ROUNDS 300
#define REST_US 4000

struct holder {
	struct bench *bench;
	int names;
	double rss_open, rss_held; /* bytes a lock */
	double cpu_us, scripts;    /* a lock and second */
	struct samples ours, floor;
};

static int lock_batch(const int *fds, int count, int (*call)(int fd))
{
	for (int i = 0; i < count; i++)
		if (!call_begun(call(fds[i])))
			return -1;
	return calls_end(fds, count) ? 0 : -1;
}

static int lock_all(const int *fds, int names, int (*call)(int fd))
{
	for (int i = 0; i < names; i += BATCH)
		if (lock_batch(fds + i, names - i < BATCH ? names - i : BATCH, call) < 0) {
			fprintf(stderr, "growth: name %d of %d: %s\n", i, names, dlock_error_detail());
			return -1;
		}
	return 0;
}

static int open_names(struct holder *holder, int *fds)
{
	for (int i = 0; i < holder->names; i++) {
		char name[64];

		snprintf(name, sizeof(name), "bench-growth-%d-%d", holder->names, i);
		fds[i] = dlock_open_with(name, DLOCK_CLOEXEC | DLOCK_NONBLOCK, holder->bench->options);
		if (fds[i] < 0) {
			fprintf(stderr, "growth: descriptor %d: %s\n", i, dlock_error_detail());
			return -1;
		}
	}
	return 0;
}

static void measure_renewals(struct holder *holder)
{
	int64_t scripts, begin_ns;
	double used_us, lock_seconds;

	sleep_us(BETWEEN_US);
	scripts = scripts_run(holder->bench->servers);
	begin_ns = now_ns();
	used_us = cpu_us();
	sleep_us(RENEWED_US);
	used_us = cpu_us() - used_us;
	lock_seconds = (double)(now_ns() - begin_ns) / 1e9 * holder->names;
	scripts = scripts_run(holder->bench->servers) - scripts;
	holder->cpu_us = used_us / lock_seconds;
	holder->scripts = (double)scripts / lock_seconds;
}

/* One more lock, while all are held; both after the same rest. */
static int measure_beside(struct holder *holder, int fd)
{
	struct floor *floor = floor_open(holder->bench, FLOOR_PLAIN, 0, 1);
	int error = floor ? 0 : -1;

	for (int round = 0; round < BESIDE_ROUNDS && !error; round++) {
		sleep_us(REST_US);
		error = crew_pair(fd, &holder->ours);
		if (!error)
			error = floor_run(floor, 1, REST_US, &holder->floor);
	}
	floor_close(floor);
	return error;
}

static int lost(const int *fds, int names)
{
	int count = 0;

	for (int i = 0; i < names; i++) {
		struct dlock_stat stat;

		count += dlock_stat(fds[i], &stat, sizeof(stat)) < 0 || stat.state != DLOCK_STATE_HELD;
	}
	if (count)
		fprintf(stderr, "growth: %d of %d locks were lost\n", count, names);
	return count;
}

static int hold_names(void *arg)
{
	struct holder *holder = arg;
	int *fds = calloc((size_t)holder->names, sizeof(*fds)), fd = crew_open(holder->bench, "bench-growth-beside");
	double before_kib = (double)stress_resident_kib();

	if (!fds || fd < 0 || open_names(holder, fds) < 0)
		return 1;
	holder->rss_open = ((double)stress_resident_kib() - before_kib) * 1024 / holder->names;
	if (lock_all(fds, holder->names, dlock_lock) < 0)
		return 1;
	holder->rss_held = ((double)stress_resident_kib() - before_kib) * 1024 / holder->names;
	measure_renewals(holder);
	if (measure_beside(holder, fd) < 0 || lost(fds, holder->names))
		return 1;
	return lock_all(fds, holder->names, dlock_unlock) < 0;
}

static void tell_names(struct holder *holder)
{
	int names = holder->names;

	result_point("names", "client CPU a lock and second, ours", names, "us", holder->cpu_us);
	result_point("names", "scripts a lock and second, ours", names, "", holder->scripts);
	if (names >= NAMES_TOLD) {
		result_point("names", "client memory a lock, ours", names, "bytes", holder->rss_held);
		result_point("names", "client memory a lock, floor", names, "bytes", holder->rss_open);
	}
	result_point("names", "one more lock+unlock, ours", names, "us", samples_us(&holder->ours, 0.5));
	result_point("names", "one more lock+unlock, floor", names, "us", samples_us(&holder->floor, 0.5));
	result_point("names", "one more lock+unlock, ours p99", names, "us", samples_us(&holder->ours, 0.99));
	result_point("names", "one more lock+unlock, floor p99", names, "us", samples_us(&holder->floor, 0.99));
}

static int measure_names(struct bench *bench, int names)
{
	struct holder *holder = crew_memory(sizeof(*holder));
	pid_t pid;
	int error;

	if (!holder)
		return -1;
	holder->bench = bench;
	holder->names = names;
	pid = crew_start(hold_names, holder);
	error = crew_end(&pid, 1, WORK_MS);
	if (!error)
		tell_names(holder);
	munmap(holder, sizeof(*holder));
	return error;
}

static int by_names(struct bench *bench)
{
	int room = (files_permit(2 * NAMES_MAX + FILES_BESIDES) - FILES_BESIDES) / 2, done = 0, error = 0;

	for (int names = 1; names <= NAMES_MAX && !error; names *= 10) {
		int possible = names <= room ? names : room;

		if (possible < names)
			fprintf(stderr,
			        "growth: %d names need a hard limit of %d open files: there is room for %d, which are %s instead\n",
			        names, 2 * names + FILES_BESIDES, room, possible > done ? "measured" : "measured already");
		if (possible > done)
			error = measure_names(bench, possible);
		done = possible;
	}
	return error;
}

/* ---- how much is locked in all, by processes ---- */

#define PROCESSES_MAX 1000
#define RACE_BLOCKS 2
#define RAMP_US 300000 /* until all are at it */
#define WINDOW_US 1000000
#define REST_MS 20000

enum lane { LANE_REST, LANE_OURS, LANE_FLOOR, LANES, LANE_END };

struct racer {
	int64_t pairs[LANES];
	int64_t longest_ns[LANES];
	int64_t failed;
};

struct race {
	struct bench *bench;
	struct crew crew;
	atomic_int lane;
	atomic_int running;
	atomic_bool counts;
	atomic_bool broken;
	double seconds[LANES]; /* in which was counted */
	struct racer of[PROCESSES_MAX];
};

struct runner {
	int fd;
	struct floor *floor;
	struct samples samples;
};

/* A call of ours that fails is counted: that many processes may be too much for the machine. */
static int run_pair(struct race *race, enum lane lane, struct runner *runner, struct racer *mine)
{
	int64_t begin_ns = now_ns(), took_ns;

	if (lane == LANE_OURS) {
		if (dlock_lock(runner->fd) < 0) {
			mine->failed++;
			return dlock_unlock(runner->fd);
		}
		if (dlock_unlock(runner->fd) < 0)
			return -1;
	} else {
		runner->samples.count = 0;
		if (floor_run(runner->floor, 1, 0, &runner->samples) < 0)
			return -1;
	}
	if (!atomic_load(&race->counts))
		return 0;
	took_ns = now_ns() - begin_ns;
	mine->pairs[lane]++;
	mine->longest_ns[lane] = took_ns > mine->longest_ns[lane] ? took_ns : mine->longest_ns[lane];
	return 0;
}

static int run(struct race *race, struct runner *runner, struct racer *mine)
{
	enum lane lane;

	while ((lane = (enum lane)atomic_load(&race->lane)) != LANE_END) {
		if (lane == LANE_REST) {
			sleep_us(5000);
			continue;
		}
		atomic_fetch_add(&race->running, 1);
		while ((enum lane)atomic_load(&race->lane) == lane)
			if (run_pair(race, lane, runner, mine) < 0)
				return -1;
		atomic_fetch_sub(&race->running, 1);
	}
	return 0;
}

static int race_along(void *arg)
{
	struct race *race = arg;
	int me = crew_number(&race->crew);
	struct runner *runner = calloc(1, sizeof(*runner));
	char name[64];

	if (runner)
		runner->floor = floor_open(race->bench, FLOOR_PLAIN, me, 1);
	snprintf(name, sizeof(name), "bench-growth-process-%d", me);
	runner = runner && runner->floor ? runner : NULL;
	if (runner && (runner->fd = crew_open(race->bench, name)) >= 0) {
		crew_connected(&race->crew);
		if (run(race, runner, &race->of[me]) == 0)
			return dlock_close(runner->fd) < 0;
	}
	fprintf(stderr, "growth: process %d: %s\n", me, dlock_error_detail());
	atomic_store(&race->broken, true);
	return 1;
}

static int run_lane(struct race *race, int processes, enum lane lane)
{
	int64_t begin_ns, end_ms;

	atomic_store(&race->lane, (int)lane);
	if (crew_await(&race->running, processes, REST_MS, "began") < 0)
		return -1;
	sleep_us(RAMP_US);
	begin_ns = now_ns();
	atomic_store(&race->counts, true);
	sleep_us(WINDOW_US);
	atomic_store(&race->counts, false);
	race->seconds[lane] += (double)(now_ns() - begin_ns) / 1e9;
	atomic_store(&race->lane, LANE_REST);
	end_ms = stress_now_ms() + REST_MS;
	while (atomic_load(&race->running) > 0 && !atomic_load(&race->broken) && stress_now_ms() < end_ms)
		sleep_us(2000);
	return atomic_load(&race->running) > 0 || atomic_load(&race->broken) ? -1 : 0;
}

static void tell_race(const struct race *race, int processes)
{
	static const char *const whose[LANES] = {[LANE_OURS] = "ours", [LANE_FLOOR] = "floor"};
	int64_t failed = 0;

	for (int lane = LANE_OURS; lane <= LANE_FLOOR; lane++) {
		int64_t pairs = 0, longest_ns = 0;
		char series[64];

		for (int i = 0; i < processes; i++) {
			const struct racer *one = &race->of[i];

			pairs += one->pairs[lane];
			longest_ns = one->longest_ns[lane] > longest_ns ? one->longest_ns[lane] : longest_ns;
			failed += lane == LANE_OURS ? one->failed : 0;
		}
		snprintf(series, sizeof(series), "lock+unlock in all, %s", whose[lane]);
		result_point("processes", series, processes, "/s", (double)pairs / race->seconds[lane]);
		snprintf(series, sizeof(series), "longest lock+unlock, %s", whose[lane]);
		result_point("processes", series, processes, "ms", (double)longest_ns / 1e6);
	}
	result_point("processes", "locks that failed, ours", processes, "", (double)failed);
}

static int measure_processes(struct bench *bench, int processes)
{
	struct race *race = crew_memory(sizeof(*race));
	pid_t pids[PROCESSES_MAX] = {0};
	int error;

	if (!race)
		return -1;
	race->bench = bench;
	error = crew_start_all(&race->crew, pids, processes, race_along, race);
	for (int block = 0; block < RACE_BLOCKS && !error; block++)
		error = run_lane(race, processes, LANE_OURS) < 0 || run_lane(race, processes, LANE_FLOOR) < 0 ? -1 : 0;
	atomic_store(&race->lane, LANE_END);
	if (error)
		crew_kill(pids, processes);
	else
		error = crew_end(pids, processes, WORK_MS);
	if (!error)
		tell_race(race, processes);
	munmap(race, sizeof(*race));
	return error;
}

static int by_processes(struct bench *bench)
{
	static const int counts[] = {1, 3, 10, 30, 100, 300, PROCESSES_MAX};
	int error = 0;

	for (size_t i = 0; i < COUNT(counts) && !error; i++)
		error = measure_processes(bench, counts[i]);
	return error;
}

/* One that could not be measured to its end keeps the others from nothing. */
int figure_growth(struct bench *bench)
{
	int (*const curves[])(struct bench *bench) = {by_masters, by_waiters, by_names, by_processes};
	int error = 0;

	for (size_t i = 0; i < COUNT(curves); i++)
		error = curves[i](bench) < 0 ? -1 : error;
	return error;
}
