/*
 * clock_shim.c - another time for one server, by LD_PRELOAD.
 *
 * Adds the microseconds that stand in the file $DLOCK_TEST_CLOCK (8 bytes, shared
 * memory: the test moves the clock by writing there) to the time of day. Clocks that
 * only count on are left alone. Compiled by the test that uses it, since what this
 * build links (sanitizers) must not come into a server.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_us;

static int64_t offset(void)
{
	return offset_us ? *offset_us : 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("DLOCK_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*offset_us), PROT_READ, MAP_SHARED, fd, 0);

	if (memory != MAP_FAILED)
		offset_us = memory;
	if (fd >= 0)
		close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	static int (*real)(clockid_t, struct timespec *);
	int64_t us;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	if (real(clock, ret) != 0)
		return -1;
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return 0;
	us = (int64_t)ret->tv_sec * 1000000 + ret->tv_nsec / 1000 + offset();
	ret->tv_nsec = (long)(us % 1000000) * 1000 + ret->tv_nsec % 1000;
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
