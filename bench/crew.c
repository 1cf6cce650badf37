/* crew.c - processes that use the library, and the memory they share; see bench.h. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define AT_ONCE 8 /* processes that connect side by side */
#define CONNECT_MS 20000
#define CALL_MS 20000

void *crew_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory != MAP_FAILED)
		return memory;
	fprintf(stderr, "bench: no memory to share: %s\n", strerror(errno));
	return NULL;
}

pid_t crew_start(int (*work)(void *arg), void *arg)
{
	pid_t parent = getpid(), child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Sleeps of 1 ms shall be 1 ms, not 50 µs more. */
		prctl(PR_SET_TIMERSLACK, 1UL);
		/* The parent may have ended before the kernel knew what we wanted then. */
		_exit(getppid() == parent ? work(arg) : 1);
	}
	if (child < 0)
		fprintf(stderr, "bench: no process: %s\n", strerror(errno));
	return child;
}

void crew_kill(pid_t *pids, int count)
{
	for (int i = 0; i < count; i++)
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
	for (int i = 0; i < count; i++) {
		if (pids[i] > 0)
			waitpid(pids[i], NULL, 0);
		pids[i] = 0;
	}
}

int crew_end(pid_t *pids, int count, int limit_ms)
{
	int64_t end_ms = stress_now_ms() + limit_ms;
	int error = 0;

	for (int i = 0; i < count; i++) {
		int64_t left_ms = end_ms - stress_now_ms();

		if (pids[i] > 0 && stress_reap(pids[i], left_ms > 0 ? (int)left_ms : 0) != 0)
			error = -1;
		pids[i] = 0;
	}
	if (error)
		fprintf(stderr, "bench: a process did not do its work\n");
	return error;
}

int crew_pair(int fd, struct samples *samples)
{
	int64_t begin_ns = now_ns();

	if (dlock_lock(fd) < 0 || dlock_unlock(fd) < 0) {
		fprintf(stderr, "bench: %s\n", dlock_error_detail());
		return -1;
	}
	samples_add(samples, now_ns() - begin_ns);
	return 0;
}

int crew_open(const struct bench *bench, const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, bench->options);
	struct dlock_stat stat;

	/* All masters, not a majority only: what is measured is not how a connection comes up. */
	for (int tries = 0; fd >= 0 && tries < 2000; tries++) {
		if (dlock_stat(fd, &stat, sizeof(stat)) < 0)
			break;
		if (stat.masters > 0 && stat.masters_up == stat.masters)
			return fd;
		sleep_us(5000);
	}
	fprintf(stderr, "bench: not all masters of %s are there: %s\n", name, dlock_error_detail());
	return -1;
}

/* ---- many of them ---- */

int crew_number(struct crew *crew)
{
	return atomic_fetch_add(&crew->started, 1);
}

void crew_connected(struct crew *crew)
{
	atomic_fetch_add(&crew->connected, 1);
}

int crew_await(atomic_int *number, int all, int limit_ms, const char *what)
{
	int64_t end_ms = stress_now_ms() + limit_ms;

	while (atomic_load(number) < all && stress_now_ms() < end_ms)
		sleep_us(500);
	if (atomic_load(number) >= all)
		return 0;
	fprintf(stderr, "bench: %d of %d processes %s in %d s\n", atomic_load(number), all, what, limit_ms / 1000);
	return -1;
}

int crew_start_all(struct crew *crew, pid_t *pids, int count, int (*work)(void *arg), void *arg)
{
	for (int i = 0; i < count; i++) {
		pids[i] = crew_start(work, arg);
		/* So that the numbers are in the order of `pids`. */
		if (pids[i] < 0 || crew_await(&crew->started, i + 1, CONNECT_MS, "started") < 0 ||
		    crew_await(&crew->connected, i + 1 - AT_ONCE, CONNECT_MS, "connected") < 0)
			return -1;
	}
	return crew_await(&crew->connected, count, CONNECT_MS, "connected");
}

/* ---- many descriptors of one ---- */

int files_permit(int wanted)
{
	const rlim_t files = (rlim_t)wanted;
	struct rlimit limit, higher;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	higher = (struct rlimit){files, limit.rlim_max > files ? limit.rlim_max : files};
	if (limit.rlim_cur >= files || setrlimit(RLIMIT_NOFILE, &higher) == 0)
		return wanted;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int)limit.rlim_max : 0;
}

bool call_begun(int result)
{
	return result == 0 || errno == EINPROGRESS;
}

bool calls_end(const int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		struct pollfd one = {.fd = fds[i], .events = POLLIN};

		while (dlock_result(fds[i]) < 0)
			if (errno != EINPROGRESS || poll(&one, 1, CALL_MS) != 1)
				return false;
	}
	return true;
}
