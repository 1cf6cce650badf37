/*
 * scale.c - very many that wait: 10,000 descriptors of one process on 1,000 names, and
 * 1,000 processes on one name.
 *
 * All ask in an order that is known, at least 20 ms apart where they ask for the same
 * name, while somebody holds what they want. Then comes a while in which nothing happens
 * but waiting. Then whoever holds gives back, and each that is served gives back at once.
 * Told is what an inversion is: one was served before another that had asked more than
 * 20 ms before it.
 */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define NAMES 1000
#define EACH 10 /* waiters on one of them */
#define FILES_BESIDES 60
#define PROCESSES QUEUE_MAX
#define MASTERS_MAX 8
#define APART_NS 20000000LL
#define APART_US 25000
#define STEP_MS 120000
#define SILENCE_MS 20000
#define IDLE_US 10000000 /* each holder renews three times */

/* ---- what waiting costs ---- */

struct cost {
	double scripts; /* a second, on the master that ran the most */
	double cpu;     /* of all the processes together, in percent of one processor */
	double masters; /* the same of the masters */
};

static int64_t cpu_ns(const pid_t *pids, int count)
{
	int64_t sum = 0;

	for (int i = 0; i < count; i++) {
		struct timespec used;
		clockid_t clock;

		if (clock_getcpuclockid(pids[i], &clock) == 0 && clock_gettime(clock, &used) == 0)
			sum += (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
	}
	return sum;
}

static struct cost idle(struct servers *servers, const pid_t *pids, int count)
{
	int masters = servers_count(servers);
	int64_t before[MASTERS_MAX] = {0}, begin_ns = now_ns(), cpu = cpu_ns(pids, count), masters_cpu, most = 0;
	pid_t master_pids[MASTERS_MAX] = {0};
	double seconds;

	for (int i = 0; i < masters; i++) {
		before[i] = scripts_run_at(servers, i);
		master_pids[i] = servers_pid(servers, i);
	}
	masters_cpu = cpu_ns(master_pids, masters);
	sleep_us(IDLE_US);
	masters_cpu = cpu_ns(master_pids, masters) - masters_cpu;
	cpu = cpu_ns(pids, count) - cpu;
	seconds = (double)(now_ns() - begin_ns) / 1e9;
	for (int i = 0; i < masters; i++) {
		int64_t ran = scripts_run_at(servers, i) - before[i];

		most = ran > most ? ran : most;
	}
	return (struct cost){.scripts = (double)most / seconds,
	                     .cpu = (double)cpu / seconds / 1e7,
	                     .masters = (double)masters_cpu / seconds / 1e7};
}

static double memory_of(struct servers *servers)
{
	return mean_of(servers, "INFO memory", "used_memory:");
}

/* What one in a queue is to be told of. */
static double place_size(struct servers *servers, const char *name)
{
	char *place = servers_command(servers, 0, "ZRANGE dlock!queue:dlock:%s 0 0", name);
	double size = place ? (double)strlen(place) : 0;

	free(place);
	return size;
}

/* Pairs of which the later one was served first; what is given is when they asked, in the order of their service. */
static int64_t inversions(const int64_t *asked_ns, int count)
{
	int64_t found = 0;

	for (int later = 1; later < count; later++)
		for (int i = 0; i < later; i++)
			found += asked_ns[i] - asked_ns[later] > APART_NS;
	return found;
}

/* So many plain locks, one after the other: 0 if that could not be measured. */
static double floor_ms(struct bench *bench, int count)
{
	struct samples *samples = calloc(1, sizeof(*samples));
	struct floor *floor = samples ? floor_open(bench, FLOOR_PLAIN, 0, 1) : NULL;
	double ms = 0;

	if (floor && floor_run(floor, 500, 0, samples) == 0)
		ms = samples_us(samples, 0.5) * count / 1000;
	floor_close(floor);
	free(samples);
	return ms;
}

/* ---- the lines ---- */

struct measured {
	const char *who;
	int waiters, wanted;
	int served;
	int64_t inversions;
	int64_t scripts, served_ns;    /* from the release until the last had it */
	struct cost waiting, before;   /* while all wait; before anyone asked */
	double memory, place;          /* of a waiter on one master, bytes; its text alone */
	double rss_kib, rss_floor_kib; /* of one waiter; and before it asked */
	double pss_kib, pss_floor_kib; /* 0: it is no process */
	double floor_ms;
};

static void line(const struct measured *measured, const char *what, const char *unit, double ours, double floor)
{
	char figure[64];

	snprintf(figure, sizeof(figure), "%d %s, %s", measured->waiters, measured->who, what);
	result(figure, unit, ours, floor, BAR_NONE, 0);
}

static void tell(struct servers *servers, const struct measured *measured)
{
	char figure[64];

	snprintf(figure, sizeof(figure), "%d %s, served", measured->waiters, measured->who);
	result(figure, "", measured->served, measured->wanted, BAR_RATIO_LEAST, 1);
	snprintf(figure, sizeof(figure), "%d %s, inversions", measured->waiters, measured->who);
	result(figure, "", (double)measured->inversions, 0, BAR_ADDS_MOST, 0);
	line(measured, "all served", "ms", (double)measured->served_ns / 1e6, measured->floor_ms);
	line(measured, "scripts a hand-over", "", (double)measured->scripts / measured->waiters, servers_count(servers));
	line(measured, "idle scripts", "/s", measured->waiting.scripts, measured->before.scripts);
	line(measured, "idle CPU", "%", measured->waiting.cpu, measured->before.cpu);
	line(measured, "idle masters' CPU", "%", measured->waiting.masters, measured->before.masters);
	line(measured, "RSS each", "KiB", measured->rss_kib, measured->rss_floor_kib);
	if (measured->pss_kib > 0)
		line(measured, "PSS each", "KiB", measured->pss_kib, measured->pss_floor_kib);
	line(measured, "on a master each", "B", measured->memory, measured->place);
}

/* ---- steps of processes that must not spend time on waiting for each other ---- */

struct steps {
	sem_t go, done;
	atomic_bool failed;
};

static void steps_init(struct steps *steps)
{
	sem_init(&steps->go, 1, 0);
	sem_init(&steps->done, 1, 0);
}

/* In the process: this step is done, or not possible; on with the next when it is time. */
static void step_on(struct steps *steps)
{
	sem_post(&steps->done);
	while (sem_wait(&steps->go) < 0 && errno == EINTR)
		continue;
}

static int step_fails(struct steps *steps, const char *what)
{
	fprintf(stderr, "scale: %s: %s\n", what, dlock_error_detail());
	atomic_store(&steps->failed, true);
	sem_post(&steps->done);
	return 1;
}

static int await_step(struct steps *steps, const char *what)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += STEP_MS / 1000;
	if (sem_clockwait(&steps->done, CLOCK_MONOTONIC, &end) == 0)
		return atomic_load(&steps->failed) ? -1 : 0;
	fprintf(stderr, "scale: not done in %d s: %s\n", STEP_MS / 1000, what);
	return -1;
}

/* ---- one process on many names ---- */

struct crowd {
	struct bench *bench;
	int names, waiters;
	struct steps holder, waiter;
	int64_t released_ns, last_ns;
	atomic_int served;
	int failed; /* calls */
	bool gives_up;
	double rss_none_kib, rss_open_kib, rss_wait_kib;
	int64_t asked_ns[NAMES][EACH];
	int served_of[NAMES];
	int64_t order_ns[NAMES][EACH]; /* when they asked, in the order of their service */
};

static int open_name(const struct crowd *crowd, int name)
{
	char text[64];

	snprintf(text, sizeof(text), "bench-scale-%d", name);
	return dlock_open_with(text, DLOCK_CLOEXEC | DLOCK_NONBLOCK, crowd->bench->options);
}

static int hold_all(void *arg)
{
	struct crowd *crowd = arg;
	int fds[NAMES];

	if (crew_open(crowd->bench, "bench-scale") < 0)
		return step_fails(&crowd->holder, "who holds cannot connect");
	for (int i = 0; i < crowd->names; i++) {
		fds[i] = open_name(crowd, i);
		if (fds[i] < 0 || !call_begun(dlock_lock(fds[i])))
			return step_fails(&crowd->holder, "a name cannot be locked");
	}
	if (!calls_end(fds, crowd->names))
		return step_fails(&crowd->holder, "a name was not locked");
	step_on(&crowd->holder);
	crowd->released_ns = now_ns();
	for (int i = 0; i < crowd->names; i++)
		if (!call_begun(dlock_unlock(fds[i])))
			return step_fails(&crowd->holder, "a name cannot be given back");
	if (!calls_end(fds, crowd->names))
		return step_fails(&crowd->holder, "a name was not given back");
	sem_post(&crowd->holder.done);
	return 0;
}

/* One for each name. */
static bool ask_all(struct crowd *crowd, const int *fds, int round)
{
	for (int name = 0; name < crowd->names; name++) {
		crowd->asked_ns[name][round] = now_ns();
		if (dlock_lock(fds[round * crowd->names + name]) == 0 || errno != EINPROGRESS)
			return false;
	}
	return true;
}

/* Nobody is served yet; tells how many have not got into the queues, and never will. */
static void tell_failed(const struct crowd *crowd, const int *fds)
{
	int failed = 0;

	for (int i = 0; i < crowd->waiters; i++) {
		int error = dlock_result(fds[i]) < 0 ? errno : 0;

		if (error && error != EINPROGRESS && error != EBADF && failed++ == 0)
			fprintf(stderr, "scale: a call has failed while it waited: %s\n", dlock_error_detail());
	}
	if (failed)
		fprintf(stderr, "scale: %d calls have failed while they waited\n", failed);
}

/* One call has ended: it had the lock, and gives it back, or has given it back. */
static bool serve(struct crowd *crowd, int i, int fd, bool *had, int *left)
{
	int name = i % crowd->names, failed = dlock_result(fd) < 0;

	if (failed && errno == EINPROGRESS)
		return true;
	if (failed && crowd->failed++ == 0)
		fprintf(stderr, "scale: one was not served: %s\n", dlock_error_detail());
	if (!had[i]) {
		had[i] = true;
		if (!failed) {
			crowd->last_ns = now_ns();
			crowd->order_ns[name][crowd->served_of[name]++] = crowd->asked_ns[name][i / crowd->names];
			atomic_fetch_add(&crowd->served, 1);
		}
		if (dlock_unlock(fd) < 0)
			return errno == EINPROGRESS;
	}
	(*left)--;
	return true;
}

static bool serve_all(struct crowd *crowd, int epoll, const int *fds)
{
	bool *had = calloc((size_t)crowd->waiters, sizeof(*had));
	int left = crowd->waiters, ready = 1;
	bool good = had != NULL;

	while (good && left > 0) {
		struct epoll_event events[64];

		ready = epoll_wait(epoll, events, 64, SILENCE_MS);
		good = ready > 0;
		for (int e = 0; good && e < ready; e++)
			good = serve(crowd, events[e].data.fd, fds[events[e].data.fd], had, &left);
	}
	if (ready == 0)
		fprintf(stderr, "scale: nothing happens any more, %d are left\n", left);
	if (crowd->failed)
		fprintf(stderr, "scale: %d calls have failed\n", crowd->failed);
	free(had);
	return good;
}

static int wait_all(void *arg)
{
	struct crowd *crowd = arg;
	int *fds = calloc((size_t)crowd->waiters, sizeof(*fds)), epoll = epoll_create1(EPOLL_CLOEXEC);

	if (!fds || epoll < 0 || crew_open(crowd->bench, "bench-scale") < 0)
		return step_fails(&crowd->waiter, "who waits cannot connect");
	crowd->rss_none_kib = (double)stress_resident_kib();
	for (int i = 0; i < crowd->waiters; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = i};

		fds[i] = open_name(crowd, i % crowd->names);
		if (fds[i] < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) < 0)
			return step_fails(&crowd->waiter, "too few descriptors");
	}
	crowd->rss_open_kib = (double)stress_resident_kib();
	step_on(&crowd->waiter);
	for (int round = 0; round < EACH && !crowd->gives_up; round++) {
		if (!ask_all(crowd, fds, round))
			return step_fails(&crowd->waiter, "a name cannot be asked for");
		step_on(&crowd->waiter);
	}
	tell_failed(crowd, fds);
	crowd->rss_wait_kib = (double)stress_resident_kib();
	step_on(&crowd->waiter);
	if (!serve_all(crowd, epoll, fds))
		return step_fails(&crowd->waiter, "not all were served");
	sem_post(&crowd->waiter.done);
	return 0;
}

static int next_step(struct steps *steps, const char *what)
{
	sem_post(&steps->go);
	return await_step(steps, what);
}

/* One on each name in a round: nobody asks for a name before the one before it stands in the queues. */
static int let_ask(struct crowd *crowd)
{
	for (int round = 0; round < EACH; round++) {
		if (next_step(&crowd->waiter, "one on each name has asked") < 0)
			return -1;
		if (!all_wait(crowd->bench->servers, "bench-scale-[0-9]*", crowd->names * (round + 1))) {
			crowd->gives_up = true;
			next_step(&crowd->waiter, "which calls have failed");
			return -1;
		}
		sleep_us(APART_US);
	}
	return 0;
}

static int measure_crowd(struct crowd *crowd, pid_t *pids, struct measured *measured)
{
	struct servers *servers = crowd->bench->servers;

	pids[0] = crew_start(hold_all, crowd);
	pids[1] = crew_start(wait_all, crowd);
	if (await_step(&crowd->holder, "all names are locked") < 0 || await_step(&crowd->waiter, "all are open") < 0)
		return -1;
	measured->before = idle(servers, &pids[1], 1);
	measured->memory = memory_of(servers);
	if (let_ask(crowd) < 0)
		return -1;
	measured->waiting = idle(servers, &pids[1], 1);
	measured->memory = (memory_of(servers) - measured->memory) / crowd->waiters;
	measured->place = place_size(servers, "bench-scale-0");
	measured->scripts = scripts_run(servers);
	if (next_step(&crowd->waiter, "all wait") < 0)
		return -1;
	sem_post(&crowd->waiter.go);
	if (next_step(&crowd->holder, "all names are given back") < 0 || await_step(&crowd->waiter, "all are served") < 0)
		return -1;
	measured->scripts = scripts_run(servers) - measured->scripts;
	return 0;
}

static void sum_up(const struct crowd *crowd, struct measured *measured)
{
	measured->served = atomic_load(&crowd->served);
	measured->served_ns = crowd->last_ns - crowd->released_ns;
	for (int i = 0; i < crowd->names; i++)
		measured->inversions += inversions(crowd->order_ns[i], crowd->served_of[i]);
	measured->rss_kib = (crowd->rss_wait_kib - crowd->rss_none_kib) / crowd->waiters;
	measured->rss_floor_kib = (crowd->rss_open_kib - crowd->rss_none_kib) / crowd->waiters;
}

/* How many names there is room for: a descriptor is two files. */
static int room_for_names(void)
{
	int left = files_permit(2 * NAMES * EACH + FILES_BESIDES) - FILES_BESIDES;

	return left > 0 ? left / (2 * EACH) : 0;
}

static int many_descriptors(struct bench *bench)
{
	struct crowd *crowd = crew_memory(sizeof(*crowd));
	struct measured measured = {.who = "descriptors", .wanted = NAMES * EACH};
	pid_t pids[2] = {0};
	int error;

	if (!crowd)
		return -1;
	crowd->bench = bench;
	crowd->names = room_for_names();
	crowd->waiters = measured.waiters = crowd->names * EACH;
	steps_init(&crowd->holder);
	steps_init(&crowd->waiter);
	measured.floor_ms = floor_ms(bench, crowd->waiters);
	error = crowd->names ? measure_crowd(crowd, pids, &measured) : -1;
	if (error)
		crew_kill(pids, 2);
	else
		error = crew_end(pids, 2, STEP_MS);
	sum_up(crowd, &measured);
	if (!error)
		tell(bench->servers, &measured);
	if (crowd->names < NAMES) {
		fprintf(stderr, "scale: the hard limit of open files is too low, for %d names instead of %d: it must be %d\n",
		        crowd->names, NAMES, 2 * NAMES * EACH + FILES_BESIDES);
		error = -1;
	}
	munmap(crowd, sizeof(*crowd));
	return error;
}

/* ---- many processes on one name ---- */

#define NAME "bench-scale-processes"

/* On the average: "Rss:", where a page that is shared counts with each, or "Pss:", where it is shared out. */
static double memory_mean_kib(const pid_t *pids, int count, const char *kind)
{
	double sum = 0;

	for (int i = 0; i < count; i++) {
		char line[256];
		FILE *file;

		snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", (int)pids[i]);
		file = fopen(line, "re");
		while (file && fgets(line, sizeof(line), file))
			if (strncmp(line, kind, strlen(kind)) == 0)
				sum += strtod(line + strlen(kind), NULL);
		if (file)
			fclose(file);
	}
	return sum / count;
}

static int measure_queue(struct queue *queue, struct measured *measured)
{
	struct servers *servers = queue_servers(queue);
	const pid_t *waiters = queue_waiters(queue);

	measured->before = idle(servers, waiters, PROCESSES);
	measured->rss_floor_kib = memory_mean_kib(waiters, PROCESSES, "Rss:");
	measured->pss_floor_kib = memory_mean_kib(waiters, PROCESSES, "Pss:");
	measured->memory = memory_of(servers);
	if (queue_ask(queue, APART_US) < 0)
		return -1;
	measured->waiting = idle(servers, waiters, PROCESSES);
	measured->rss_kib = memory_mean_kib(waiters, PROCESSES, "Rss:");
	measured->pss_kib = memory_mean_kib(waiters, PROCESSES, "Pss:");
	measured->memory = (memory_of(servers) - measured->memory) / PROCESSES;
	measured->place = place_size(servers, NAME);
	measured->scripts = scripts_run(servers);
	if (queue_serve(queue) < 0)
		return -1;
	measured->scripts = scripts_run(servers) - measured->scripts;
	return 0;
}

static int many_processes(struct bench *bench)
{
	struct measured measured = {.who = "processes", .waiters = PROCESSES, .wanted = PROCESSES};
	const struct queue_round *round;
	struct queue *queue;
	int error;

	measured.floor_ms = floor_ms(bench, PROCESSES);
	queue = queue_start(bench, NAME, PROCESSES);
	error = queue ? measure_queue(queue, &measured) : -1;
	if (!error) {
		round = queue_round(queue);
		measured.served = round->served;
		measured.inversions = inversions(round->order_ns, round->served);
		measured.served_ns = round->last_ns - round->released_ns;
	}
	if (queue_end(queue) < 0)
		error = -1;
	if (!error)
		tell(bench->servers, &measured);
	return error;
}

int figure_scale(struct bench *bench)
{
	int error = many_descriptors(bench);

	return many_processes(bench) < 0 ? -1 : error;
}
