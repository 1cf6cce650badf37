/*
 * mount.c - what a lock through dlockfs takes, beside the library and a mount that does nothing.
 *
 * mkdir and rmdir of a name, and flock(2) with LOCK_EX and LOCK_UN on an open file, by one process. The
 * floor is the sum of two: lock and unlock by the library, in that same process, and
 * the same calls on noop_fuse.c's mount. All three take turns.
 *
 * The process has a mount namespace of its own, and its daemons die with it: so nothing
 * stays mounted, however the run ends. A first part, with daemons that tell each request
 * (-d), counts what the kernel asks them for a pair.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define BLOCKS 12
#define ROUNDS 100
#define WARM_UP 20
#define COUNTED 20
#define MOUNT_MS 20000
#define END_MS 10000

enum which { OURS, NOOP, MOUNTS };
enum pair_of { MKDIR, FLOCK, PAIRS };

static const char *const pair_names[PAIRS] = {"mkdir+rmdir", "flock EX+UN"};

struct told {
	struct repeats ours[PAIRS], floor[PAIRS], noop[PAIRS], library;
	double requests[MOUNTS][PAIRS]; /* for one pair of calls */
};

struct mounts {
	const struct bench *bench;
	struct told *told; /* shared with who prints it */
	char programs[MOUNTS][PATH_MAX];

	/* Of the process that measures. */
	char points[MOUNTS][PATH_MAX], logs[MOUNTS][PATH_MAX];
	char **environment;
	pid_t daemons[MOUNTS];
	int files[MOUNTS], lock;
	struct samples *samples;
};

/* ---- mounts ---- */

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written ? 0 : -1;
}

/* What is mounted in it is gone with its last process. Who is not root has to be one in there. */
static int enter_namespace(void)
{
	char map[64];
	bool root = geteuid() == 0;

	snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
	if (unshare(root ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) == 0 &&
	    (root || write_text("/proc/self/uid_map", map) == 0) && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	fprintf(stderr, "bench: no mount namespace: %s\n", strerror(errno));
	return -1;
}

static bool serves(const char *point)
{
	struct statfs system;
	struct stat stat_of_it;

	return statfs(point, &system) == 0 && system.f_type == FUSE_SUPER_MAGIC && stat(point, &stat_of_it) == 0;
}

static int start(struct mounts *mounts, enum which which, bool debug)
{
	const char *const ours[] = {
		mounts->programs[OURS], debug ? "-d" : "-f", "-o", "mode=flock,noprotect", mounts->points[OURS], NULL};
	const char *const noop[] = {
		mounts->programs[NOOP], debug ? "-d" : mounts->points[NOOP], debug ? mounts->points[NOOP] : NULL, NULL};
	int64_t end_ms = stress_now_ms() + MOUNT_MS;
	pid_t daemon = program_start(which == OURS ? ours : noop, mounts->environment, mounts->logs[which]);

	mounts->daemons[which] = daemon;
	while (daemon > 0 && stress_now_ms() < end_ms) {
		if (serves(mounts->points[which]))
			return 0;
		if (waitpid(daemon, NULL, WNOHANG) != 0) {
			mounts->daemons[which] = 0;
			break;
		}
		sleep_us(5000);
	}
	fprintf(stderr, "bench: %s does not serve %s\n", mounts->programs[which], mounts->points[which]);
	return -1;
}

static int start_both(struct mounts *mounts, bool debug)
{
	char path[PATH_MAX + 8];

	for (enum which which = OURS; which < MOUNTS; which++) {
		if (start(mounts, which, debug) < 0)
			return -1;
		snprintf(path, sizeof(path), "%s/file", mounts->points[which]);
		mounts->files[which] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (mounts->files[which] < 0) {
			perror(path);
			return -1;
		}
	}
	return 0;
}

static int stop_both(struct mounts *mounts)
{
	int error = 0;

	for (enum which which = OURS; which < MOUNTS; which++) {
		if (mounts->files[which] >= 0)
			close(mounts->files[which]);
		mounts->files[which] = -1;
		if (mounts->daemons[which] > 0 &&
		    (kill(mounts->daemons[which], SIGTERM) < 0 || stress_reap(mounts->daemons[which], END_MS) != 0)) {
			fprintf(stderr, "bench: %s did not end well\n", mounts->programs[which]);
			error = -1;
		}
		mounts->daemons[which] = 0;
	}
	return error;
}

/* ---- what is measured ---- */

static int call_pair(const struct mounts *mounts, enum which which, enum pair_of pair)
{
	char path[PATH_MAX + 16];

	if (pair == FLOCK)
		return flock(mounts->files[which], LOCK_EX) < 0 || flock(mounts->files[which], LOCK_UN) < 0 ? -1 : 0;
	snprintf(path, sizeof(path), "%s/directory", mounts->points[which]);
	return mkdir(path, 0700) < 0 || rmdir(path) < 0 ? -1 : 0;
}

static int call_library(const struct mounts *mounts)
{
	return dlock_lock(mounts->lock) < 0 || dlock_unlock(mounts->lock) < 0 ? -1 : 0;
}

/* The median of so many pairs in us; -1 after a sentence. */
static double measure_pairs(struct mounts *mounts, enum which which, enum pair_of pair, int rounds)
{
	mounts->samples->count = 0;
	for (int i = 0; i < rounds; i++) {
		int64_t begin_ns = now_ns();

		if (call_pair(mounts, which, pair) < 0) {
			fprintf(stderr, "bench: %s in %s: %s\n", pair_names[pair], mounts->points[which], strerror(errno));
			return -1;
		}
		samples_add(mounts->samples, now_ns() - begin_ns);
	}
	return samples_us(mounts->samples, 0.5);
}

static double measure_library(struct mounts *mounts, int rounds)
{
	mounts->samples->count = 0;
	for (int i = 0; i < rounds; i++) {
		int64_t begin_ns = now_ns();

		if (call_library(mounts) < 0) {
			fprintf(stderr, "bench: %s\n", dlock_error_detail());
			return -1;
		}
		samples_add(mounts->samples, now_ns() - begin_ns);
	}
	return samples_us(mounts->samples, 0.5);
}

static int measure_block(struct mounts *mounts, int rounds, bool counts)
{
	double library, noop[PAIRS], ours[PAIRS];

	library = measure_library(mounts, rounds);
	for (enum pair_of pair = MKDIR; pair < PAIRS; pair++) {
		noop[pair] = measure_pairs(mounts, NOOP, pair, rounds);
		ours[pair] = measure_pairs(mounts, OURS, pair, rounds);
		if (library < 0 || noop[pair] < 0 || ours[pair] < 0)
			return -1;
		if (!counts)
			continue;
		repeats_add(&mounts->told->noop[pair], noop[pair]);
		repeats_add(&mounts->told->ours[pair], ours[pair]);
		repeats_add(&mounts->told->floor[pair], library + noop[pair]);
	}
	if (counts)
		repeats_add(&mounts->told->library, library);
	return 0;
}

static int measure(struct mounts *mounts)
{
	int error = -1;

	if (start_both(mounts, false) == 0) {
		/* The daemons are there: from now on this process may use the library. */
		mounts->lock = crew_open(mounts->bench, "bench-mount");
		if (mounts->lock >= 0)
			error = measure_block(mounts, WARM_UP, false);
		for (int i = 0; !error && i < BLOCKS; i++)
			error = measure_block(mounts, ROUNDS, true);
		if (mounts->lock >= 0)
			dlock_close(mounts->lock);
	}
	return stop_both(mounts) < 0 ? -1 : error;
}

/* ---- what the kernel asks ---- */

/* libfuse has told so many requests; -1 after a sentence. */
static int requests_in(const char *log)
{
	FILE *file = fopen(log, "re");
	char *line = NULL;
	size_t size = 0;
	int count = 0;

	if (!file) {
		perror(log);
		return -1;
	}
	while (getline(&line, &size, file) >= 0)
		count += strstr(line, "opcode: ") != NULL;
	free(line);
	fclose(file);
	return count;
}

static int count_requests(struct mounts *mounts, enum which which, enum pair_of pair)
{
	int before, after;

	/* What comes without an answer, as what the kernel forgets, may come later. */
	sleep_us(100000);
	before = requests_in(mounts->logs[which]);
	if (measure_pairs(mounts, which, pair, COUNTED) < 0)
		return -1;
	sleep_us(100000);
	after = requests_in(mounts->logs[which]);
	mounts->told->requests[which][pair] = (double)(after - before) / COUNTED;
	return before < 0 || after < 0 ? -1 : 0;
}

static int count(struct mounts *mounts)
{
	int error = start_both(mounts, true);

	for (enum which which = OURS; !error && which < MOUNTS; which++)
		for (enum pair_of pair = MKDIR; !error && pair < PAIRS; pair++)
			error = count_requests(mounts, which, pair);
	return stop_both(mounts) < 0 ? -1 : error;
}

/* ---- the process ---- */

static int make_points(struct mounts *mounts)
{
	static const char *const names[MOUNTS] = {"dlockfs", "noop"};

	for (enum which which = OURS; which < MOUNTS; which++) {
		snprintf(mounts->points[which], PATH_MAX, "%s/%s", servers_dir(mounts->bench->servers), names[which]);
		snprintf(mounts->logs[which], PATH_MAX, "%s/%s.log", servers_dir(mounts->bench->servers), names[which]);
		if (mkdir(mounts->points[which], 0700) < 0) {
			perror(mounts->points[which]);
			return -1;
		}
		mounts->files[which] = -1;
	}
	return 0;
}

static int work(void *arg)
{
	struct mounts *mounts = arg;

	mounts->samples = calloc(1, sizeof(*mounts->samples));
	mounts->environment = program_environment(mounts->bench);
	return !mounts->samples || !mounts->environment || enter_namespace() < 0 || make_points(mounts) < 0 ||
	       count(mounts) < 0 || measure(mounts) < 0;
}

static void tell(const struct told *told)
{
	char figure[80];

	for (enum pair_of pair = MKDIR; pair < PAIRS; pair++) {
		snprintf(figure, sizeof(figure), "mount, %s", pair_names[pair]);
		result_repeated(figure, "us", &told->ours[pair], &told->floor[pair], BAR_RATIO_MOST, 1.3);
		snprintf(figure, sizeof(figure), "mount, %s, parts of the floor", pair_names[pair]);
		result_repeated(figure, "us", &told->library, &told->noop[pair], BAR_NONE, 0);
		snprintf(figure, sizeof(figure), "mount, %s, requests", pair_names[pair]);
		result(figure, "", told->requests[OURS][pair], told->requests[NOOP][pair], BAR_NONE, 0);
	}
}

int figure_mount(struct bench *bench)
{
	struct mounts *mounts;
	pid_t pid;
	int error;

	mounts = calloc(1, sizeof(*mounts));
	if (!mounts)
		return -1;
	mounts->bench = bench;
	if (access("/dev/fuse", R_OK | W_OK) < 0 || program_find("fuse", "dlockfs", mounts->programs[OURS], PATH_MAX) < 0 ||
	    program_find("bench", "noop_fuse", mounts->programs[NOOP], PATH_MAX) < 0) {
		result_cannot("mount", "no /dev/fuse, or built without libfuse");
		free(mounts);
		return 0;
	}
	mounts->told = crew_memory(sizeof(*mounts->told));
	pid = mounts->told ? crew_start(work, mounts) : -1;
	error = pid > 0 ? crew_end(&pid, 1, 120000) : -1;
	if (!error)
		tell(mounts->told);
	if (mounts->told)
		munmap(mounts->told, sizeof(*mounts->told));
	free(mounts);
	return error;
}
