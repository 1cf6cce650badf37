/*
 * contenders.c - many processes want one name, and hold it for 1 ms each.
 *
 * All begin at once; how long it takes until each has had the lock is a line of its
 * own. Then a window opens in which is counted: grants, the time between dlock_lock()'s
 * return and the call of dlock_unlock(), the waits, and the scripts that the servers
 * ran. Nobody asks after it. Waits that end later are no part of the mean, but may be
 * the longest: nobody is left out because he starves.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define CONTENDERS_MAX 200
#define NAME "bench-contenders"
#define HOLD_US 1000
#define CONNECT_MS 60000
#define FIRST_WAITS_MS 60000
#define LAST_WAITS_MS 60000

struct contender {
	int64_t grants;
	int64_t held_ns;
	int64_t waited_ns;
	int64_t longest_ns;
};

struct contest {
	struct bench *bench;
	atomic_int connected;
	atomic_bool begun;
	atomic_int served;         /* have had the lock once */
	_Atomic int64_t window_ns; /* when it opened; 0: not yet */
	atomic_bool over;
	struct contender of[CONTENDERS_MAX];
};

static void count(struct contest *contest, struct contender *mine, int64_t asked_ns, int64_t granted_ns, int64_t held_ns)
{
	int64_t window_ns = atomic_load(&contest->window_ns), waited_ns = granted_ns - asked_ns;

	if (window_ns == 0 || granted_ns < window_ns)
		return;
	if (waited_ns > mine->longest_ns)
		mine->longest_ns = waited_ns;
	if (atomic_load(&contest->over))
		return;
	mine->grants++;
	mine->held_ns += held_ns;
	mine->waited_ns += waited_ns;
}

static int contend(struct contest *contest, struct contender *mine, int fd)
{
	for (int64_t round = 0; !atomic_load(&contest->over); round++) {
		int64_t asked_ns = now_ns(), granted_ns, held_ns;

		if (dlock_lock(fd) < 0)
			return -1;
		granted_ns = now_ns();
		sleep_us(HOLD_US);
		held_ns = now_ns() - granted_ns;
		if (dlock_unlock(fd) < 0)
			return -1;
		count(contest, mine, asked_ns, granted_ns, held_ns);
		if (round == 0)
			atomic_fetch_add(&contest->served, 1);
	}
	return 0;
}

static int work(void *arg)
{
	struct contest *contest = arg;
	int fd = crew_open(contest->bench, NAME);
	int me = fd < 0 ? -1 : atomic_fetch_add(&contest->connected, 1);

	while (fd >= 0 && !atomic_load(&contest->begun))
		sleep_us(2000);
	if (fd >= 0 && contend(contest, &contest->of[me], fd) == 0)
		return dlock_close(fd) < 0;
	fprintf(stderr, "contenders: %s\n", dlock_error_detail());
	return 1;
}

/* What was measured between the processes' own counts. */
struct window {
	int64_t first_ns; /* from the beginning until each had had the lock */
	int64_t length_ns;
	int64_t scripts;
};

static struct contender sum(const struct contest *contest, int contenders)
{
	struct contender all = {0};

	for (int i = 0; i < contenders; i++) {
		const struct contender *one = &contest->of[i];

		all.grants += one->grants;
		all.held_ns += one->held_ns;
		all.waited_ns += one->waited_ns;
		all.longest_ns = one->longest_ns > all.longest_ns ? one->longest_ns : all.longest_ns;
	}
	return all;
}

static int tell(const struct contest *contest, int contenders, const struct window *window)
{
	static double scripts_of_fewest; /* the first number is the one that the others are held to */
	struct contender all = sum(contest, contenders);
	double grants = (double)all.grants, scripts;
	char figure[64];

	snprintf(figure, sizeof(figure), "%d contenders, until each had it", contenders);
	result(figure, "ms", (double)window->first_ns / 1e6, contenders * (HOLD_US / 1e3), BAR_NONE, 0);
	snprintf(figure, sizeof(figure), "%d contenders, share held", contenders);
	result(figure, "%", 100.0 * (double)all.held_ns / (double)window->length_ns, 100,
	       contenders == 50 ? BAR_RATIO_LEAST : BAR_NONE, 0.75);
	if (all.grants == 0) {
		fprintf(stderr, "contenders: none of %d got the lock in the window\n", contenders);
		return -1;
	}
	snprintf(figure, sizeof(figure), "%d contenders, longest wait by mean", contenders);
	result(figure, "ms", (double)all.longest_ns / 1e6, (double)all.waited_ns / grants / 1e6, BAR_RATIO_MOST, 2);
	scripts = (double)window->scripts / grants;
	scripts_of_fewest = scripts_of_fewest > 0 ? scripts_of_fewest : scripts;
	snprintf(figure, sizeof(figure), "%d contenders, scripts a hand-over", contenders);
	result(figure, "", scripts, scripts_of_fewest, contenders == 2 ? BAR_NONE : BAR_RATIO_MOST, 1.25);
	return 0;
}

static int await_all(atomic_int *number, int all, int limit_ms, const char *what)
{
	int64_t end_ms = stress_now_ms() + limit_ms;

	while (atomic_load(number) < all && stress_now_ms() < end_ms)
		sleep_us(2000);
	if (atomic_load(number) >= all)
		return 0;
	fprintf(stderr, "contenders: %d of %d %s in %d ms\n", atomic_load(number), all, what, limit_ms);
	return -1;
}

static int measure(struct contest *contest, int contenders, struct window *window)
{
	struct servers *servers = contest->bench->servers;
	int64_t begin_ns;

	if (await_all(&contest->connected, contenders, CONNECT_MS, "connected") < 0)
		return -1;
	begin_ns = now_ns();
	atomic_store(&contest->begun, true);
	if (await_all(&contest->served, contenders, FIRST_WAITS_MS, "had the lock") < 0)
		return -1;
	window->first_ns = now_ns() - begin_ns;
	window->scripts = scripts_run(servers);
	begin_ns = now_ns();
	atomic_store(&contest->window_ns, begin_ns);
	sleep_us((int)(contest->bench->seconds * 1e6));
	atomic_store(&contest->over, true);
	window->length_ns = now_ns() - begin_ns;
	window->scripts = scripts_run(servers) - window->scripts;
	return 0;
}

static int contest_of(struct bench *bench, int contenders)
{
	struct contest *contest = crew_memory(sizeof(*contest));
	pid_t pids[CONTENDERS_MAX] = {0};
	struct window window = {0};
	int error;

	if (!contest)
		return -1;
	contest->bench = bench;
	for (int i = 0; i < contenders; i++)
		pids[i] = crew_start(work, contest);
	error = measure(contest, contenders, &window);
	if (error)
		crew_kill(pids, contenders);
	else
		error = crew_end(pids, contenders, LAST_WAITS_MS); /* until then they count */
	if (!error)
		error = tell(contest, contenders, &window);
	munmap(contest, sizeof(*contest));
	return error;
}

int figure_contenders(struct bench *bench)
{
	static const int counts[] = {2, 10, 50, CONTENDERS_MAX};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (contest_of(bench, counts[i]) < 0)
			return -1;
	return 0;
}
