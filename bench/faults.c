/*
 * faults.c - what a fault adds to a hand-over.
 *
 * A scene is a holder and two that wait behind it, in an order that the queues on all
 * masters tell. The fault befalls the first of the two; then the holder gives the lock
 * back. Without a fault it is the first one's return that is measured, with a fault
 * the second one's; both from the holder's call of dlock_unlock(), in turns.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define SCENES 30
#define STOPS 5 /* they take an offer's time each */
#define STEP_MS 20000
#define OFFER_US 1e6 /* what a process that is stopped costs: PROTOCOL, the queue */

#define BLOCKS 8
#define HANDOVERS 50

enum role { HOLDER, HEAD, NEXT, ROLES };

struct scene {
	struct bench *bench;
	char name[64];
	pid_t pids[ROLES];
	atomic_int role; /* of the process that is started now */
	atomic_bool held;
	atomic_bool released;
	int64_t released_ns;
	int64_t returned_ns[ROLES];
};

static int work(void *arg)
{
	struct scene *scene = arg;
	int role = atomic_load(&scene->role), fd = crew_open(scene->bench, scene->name);

	if (fd < 0)
		return 1;
	if (dlock_lock(fd) < 0) {
		fprintf(stderr, "faults: %s\n", dlock_error_detail());
		return 1;
	}
	scene->returned_ns[role] = now_ns();
	if (role == HOLDER) {
		atomic_store(&scene->held, true);
		while (!atomic_load(&scene->released))
			sleep_us(200);
		scene->released_ns = now_ns();
	}
	return dlock_unlock(fd) < 0 || dlock_close(fd) < 0;
}

static bool all_queue(const struct scene *scene, int waiters)
{
	struct servers *servers = scene->bench->servers;
	bool all = true;

	for (int i = 0; all && i < servers_count(servers); i++) {
		char *length = servers_command(servers, i, "ZCARD dlock!queue:dlock:%s", scene->name);

		all = length && atoi(length) == waiters;
		free(length);
	}
	return all;
}

/* The process of that role, once it stands where it belongs. */
static int enter(struct scene *scene, enum role role)
{
	int64_t end_ms = stress_now_ms() + STEP_MS;

	atomic_store(&scene->role, (int)role);
	scene->pids[role] = crew_start(work, scene);
	while (stress_now_ms() < end_ms) {
		if (role == HOLDER ? atomic_load(&scene->held) : all_queue(scene, (int)role))
			return 0;
		sleep_us(2000);
	}
	fprintf(stderr, "faults: nobody holds, or %d do not wait\n", (int)role);
	return -1;
}

/* The fault (0: none) and its hand-over. */
static int play(struct scene *scene, int fault)
{
	int error;

	if (fault)
		kill(scene->pids[HEAD], fault);
	if (fault == SIGKILL) {
		waitpid(scene->pids[HEAD], NULL, 0);
		scene->pids[HEAD] = 0;
	}
	atomic_store(&scene->released, true);
	error = crew_end(&scene->pids[HOLDER], 1, STEP_MS);
	if (fault == SIGSTOP) {
		error = crew_end(&scene->pids[NEXT], 1, STEP_MS) < 0 ? -1 : error;
		crew_kill(&scene->pids[HEAD], 1);
		return error;
	}
	return crew_end(scene->pids, ROLES, STEP_MS) < 0 ? -1 : error;
}

/* One hand-over under that fault, as a sample. */
static int scene_run(struct bench *bench, int fault, struct samples *samples)
{
	static int scenes;
	struct scene *scene = crew_memory(sizeof(*scene));
	enum role measured = fault ? NEXT : HEAD;
	int error = -1;

	if (!scene)
		return -1;
	scene->bench = bench;
	/* A name of its own: what a killed one leaves behind is not the next scene's. */
	snprintf(scene->name, sizeof(scene->name), "bench-faults-%d", scenes++);
	if (enter(scene, HOLDER) == 0 && enter(scene, HEAD) == 0 && enter(scene, NEXT) == 0)
		error = play(scene, fault);
	crew_kill(scene->pids, ROLES);
	if (!error)
		samples_add(samples, scene->returned_ns[measured] - scene->released_ns);
	munmap(scene, sizeof(*scene));
	return error;
}

static int waiters_fail(struct bench *bench, struct samples *none, struct samples *killed, struct samples *stopped)
{
	double undisturbed_ms;

	for (int i = 0; i < SCENES; i++)
		if (scene_run(bench, 0, none) < 0 || scene_run(bench, SIGKILL, killed) < 0)
			return -1;
	for (int i = 0; i < STOPS; i++)
		if (scene_run(bench, SIGSTOP, stopped) < 0)
			return -1;
	undisturbed_ms = samples_us(none, 0.5) / 1000;
	result("head killed, median", "ms", samples_us(killed, 0.5) / 1000, undisturbed_ms, BAR_ADDS_MOST, 5);
	result("head killed, worst", "ms", samples_us(killed, 1) / 1000, samples_us(none, 1) / 1000, BAR_NONE, 0);
	result("head stopped, worst, by one offer", "ms", samples_us(stopped, 1) / 1000, OFFER_US / 1000, BAR_ADDS_MOST,
	       100);
	return 0;
}

/* Hand-overs of one pair, with all masters and with the last of them stopped, in turns. */
static int measure_stopped(struct servers *servers, struct pair *pair)
{
	int last = servers_count(servers) - 1;

	for (int block = 0; block < BLOCKS; block++) {
		int error = pair_run(pair, PHASE_FIRST, HANDOVERS);

		servers_stop(servers, last);
		if (!error)
			error = pair_run(pair, PHASE_SECOND, HANDOVERS);
		servers_cont(servers, last);
		if (error)
			return -1;
		sleep_us(500000); /* what had come to it in the meantime */
	}
	return 0;
}

static int master_stops(struct bench *bench)
{
	struct pair *pair = pair_start(bench, "bench-stopped");
	int error = pair ? measure_stopped(bench->servers, pair) : -1;

	if (!error) {
		struct samples *all = pair_samples(pair, PHASE_FIRST), *four = pair_samples(pair, PHASE_SECOND);

		result("one master stopped, median", "ms", samples_us(four, 0.5) / 1000, samples_us(all, 0.5) / 1000,
		       BAR_ADDS_MOST, 1);
		result("one master stopped, p99", "ms", samples_us(four, 0.99) / 1000, samples_us(all, 0.99) / 1000,
		       BAR_NONE, 0);
	}
	return pair_end(pair) < 0 ? -1 : error;
}

int figure_faults(struct bench *bench)
{
	struct samples *samples = calloc(3, sizeof(*samples));
	int error = samples ? waiters_fail(bench, &samples[0], &samples[1], &samples[2]) : -1;

	free(samples);
	return error ? error : master_stops(bench);
}
