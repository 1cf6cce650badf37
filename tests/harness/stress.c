/* stress.c - see stress.h. */
#include "tests/harness/stress.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int failures;

/* Children of a process with threads start a thread here; ThreadSanitizer would end them. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}

bool stress_check(bool holds, const char *condition, const char *file, int line)
{
	if (!holds) {
		atomic_fetch_add(&failures, 1);
		fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	}
	return holds;
}

bool stress_check_call(bool holds, const char *condition, const char *file, int line)
{
	int error = errno;

	if (!holds) {
		atomic_fetch_add(&failures, 1);
		fprintf(stderr, "%s:%d: not so: %s (errno %s: %s)\n", file, line, condition,
		        strerrorname_np(error) ? strerrorname_np(error) : "none", dlock_error_detail());
	}
	return holds;
}

int stress_failures(void)
{
	return atomic_load(&failures);
}

int stress_times(int count)
{
	const char *percent = getenv("DLOCK_STRESS_PERCENT");
	int times = percent ? (int)((long)count * atoi(percent) / 100) : count;

	return times > 0 ? times : 1;
}

int stress_count(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

int stress_descriptors(void)
{
	return stress_count("/proc/self/fd") - 1; /* without the one that counts */
}

int stress_threads(void)
{
	return stress_count("/proc/self/task");
}

long stress_resident_kib(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	long size = 0, resident = 0;

	if (!statm || fscanf(statm, "%ld %ld", &size, &resident) != 2)
		resident = -1;
	if (statm)
		fclose(statm);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

int64_t stress_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void stress_sleep_ms(int ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

struct dlock_options *stress_options(const struct servers *servers)
{
	struct dlock_options *options = dlock_options_new();

	if (!options || dlock_options_set(options, "servers", servers_list(servers)) < 0 ||
	    dlock_options_set(options, "quarantine", "off") < 0) {
		fprintf(stderr, "options: %s\n", dlock_error_detail());
		dlock_options_free(options);
		return NULL;
	}
	return options;
}

/* Neither keys of locks nor what travelled with them. */
static bool is_free(struct servers *servers, int i, bool tell)
{
	static const char *const patterns[] = {"dlock:*", "dlock!data:*"};
	bool none = true;

	for (size_t p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++) {
		char *keys = servers_command(servers, i, "KEYS %s", patterns[p]);
		bool left = !keys || *keys != '\0';

		if (left && tell)
			fprintf(stderr, "master %d still holds: %s\n", i, keys ? keys : "no answer");
		none = none && !left;
		free(keys);
	}
	return none;
}

bool stress_all_free(struct servers *servers)
{
	int64_t end_ms = stress_now_ms() + 10000;
	bool all = true;

	for (int i = 0; i < servers_count(servers); i++) {
		while (!is_free(servers, i, false) && stress_now_ms() < end_ms)
			stress_sleep_ms(10);
		all = is_free(servers, i, true) && all;
	}
	return all;
}

int stress_reap(pid_t child, int limit_ms)
{
	int64_t end_ms = stress_now_ms() + limit_ms;
	int status;

	if (child < 0)
		return -1;
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (stress_now_ms() >= end_ms) {
			fprintf(stderr, "child %d hangs\n", (int)child);
			kill(child, SIGKILL);
			waitpid(child, &status, 0);
			return -1;
		}
		stress_sleep_ms(2);
	}
	if (WIFSIGNALED(status))
		fprintf(stderr, "child %d was ended by signal %d\n", (int)child, WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
