/* server_clock.c - see server_clock.h. */
#include "tests/harness/server_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORDS 2

struct server_clock {
	int64_t *words; /* see clock_shim.c */
	char dir[256], shim[300], file[300];
};

/* In a folder that does not forbid execution, as one for shared memory may. */
static bool compile(const struct server_clock *clock)
{
	const char *top = getenv("abs_top_srcdir"), *cc = getenv("CC");
	char source[4096], command[16384], here[] = __FILE__;

	snprintf(source, sizeof(source), "%s%s/clock_shim.c", top ? top : dirname(here), top ? "/tests/harness" : "");
	snprintf(command, sizeof(command), "%s -D_GNU_SOURCE -O1 -shared -fPIC -o %s %s -ldl", cc && *cc ? cc : "cc",
	         clock->shim, source);
	if (system(command) == 0)
		return true;
	fprintf(stderr, "server clock: failed: %s\n", command);
	return false;
}

static bool map(struct server_clock *clock)
{
	int fd = open(clock->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	size_t size = WORDS * sizeof(*clock->words);
	void *memory = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (memory == MAP_FAILED) {
		fprintf(stderr, "server clock: %s: %s\n", clock->file, strerror(errno));
		return false;
	}
	clock->words = memory;
	return true;
}

struct server_clock *server_clock_new(void)
{
	struct server_clock *clock = calloc(1, sizeof(*clock));
	const char *base = getenv("TMPDIR");

	if (!clock)
		return NULL;
	snprintf(clock->dir, sizeof(clock->dir), "%s/dlock-clock-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(clock->dir)) {
		fprintf(stderr, "server clock: %s: %s\n", clock->dir, strerror(errno));
		free(clock);
		return NULL;
	}
	snprintf(clock->shim, sizeof(clock->shim), "%s/shim.so", clock->dir);
	snprintf(clock->file, sizeof(clock->file), "%s/clock", clock->dir);
	if (compile(clock) && map(clock))
		return clock;
	server_clock_free(clock);
	return NULL;
}

void server_clock_free(struct server_clock *clock)
{
	if (!clock)
		return;
	server_clock_preload(clock, false);
	if (clock->words)
		munmap(clock->words, WORDS * sizeof(*clock->words));
	unlink(clock->shim);
	unlink(clock->file);
	rmdir(clock->dir);
	free(clock);
}

void server_clock_preload(const struct server_clock *clock, bool on)
{
	if (on) {
		setenv("DLOCK_TEST_CLOCK", clock->file, 1);
		setenv("LD_PRELOAD", clock->shim, 1);
	} else {
		unsetenv("LD_PRELOAD");
	}
}

void server_clock_shift(struct server_clock *clock, int64_t offset_us)
{
	__atomic_store_n(&clock->words[0], offset_us, __ATOMIC_RELEASE);
	__atomic_store_n(&clock->words[1], 0, __ATOMIC_RELEASE);
}

void server_clock_freeze(struct server_clock *clock, int64_t us)
{
	__atomic_store_n(&clock->words[1], us, __ATOMIC_RELEASE);
}
