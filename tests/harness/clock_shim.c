/*
 * clock_shim.c - another time for one server, by LD_PRELOAD.
 *
 * The file $DLOCK_TEST_CLOCK is shared memory, two numbers of 8 bytes, by which the
 * test moves the clock: the microseconds that are added to the time of day, and, if it
 * is not 0, exactly what the time of day is instead. Clocks that only count on are left
 * alone. Compiled by the test that uses it, since what this build links (sanitizers)
 * must not come into a server. See server_clock.h.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t *words; /* offset, frozen */

static int64_t word(int i)
{
	return words ? __atomic_load_n(&words[i], __ATOMIC_ACQUIRE) : 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("DLOCK_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof(*words), PROT_READ, MAP_SHARED, fd, 0);

	if (memory != MAP_FAILED)
		words = memory;
	if (fd >= 0)
		close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static int (*real)(clockid_t, struct timespec *);
	int64_t us, frozen_us;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	if (real(clock, ret) != 0)
		return -1;
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return 0;
	frozen_us = word(1);
	us = frozen_us ? frozen_us : (int64_t)ret->tv_sec * 1000000 + ret->tv_nsec / 1000 + word(0);
	ret->tv_nsec = (long)(us % 1000000) * 1000 + (frozen_us ? 0 : ret->tv_nsec % 1000);
	ret->tv_sec = (time_t)(us / 1000000);
	return 0;
}

int gettimeofday(struct timeval *ret, void *zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	ret->tv_sec = now.tv_sec;
	ret->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *ret)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
