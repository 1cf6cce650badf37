/*
 * programs.c - the programs of the build tree that a figure runs; see bench.h.
 *
 * They run as they do where they are installed: libtool's wrapper, a shell script, is
 * left out, and LD_LIBRARY_PATH names the folder of the library instead, for them alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/bench.h"

/* TOP/bench/bench: 0, or -1 after a sentence. */
static int find_top(char *top, size_t size)
{
	ssize_t length = readlink("/proc/self/exe", top, size - 1);

	for (int up = 0; length > 0 && up < 2; up++) {
		char *slash;

		top[length] = '\0';
		slash = strrchr(top, '/');
		length = slash ? slash - top : 0;
	}
	if (length <= 0) {
		fprintf(stderr, "bench: the build tree was not found\n");
		return -1;
	}
	top[length] = '\0';
	return 0;
}

int program_find(const char *folder, const char *name, char *path, size_t size)
{
	char top[PATH_MAX];

	if (find_top(top, sizeof(top)) < 0)
		return -1;
	snprintf(path, size, "%s/%s/.libs/%s", top, folder, name);
	if (access(path, X_OK) == 0)
		return 0;
	snprintf(path, size, "%s/%s/%s", top, folder, name);
	return access(path, X_OK) == 0 ? 0 : -1;
}

static bool is_ours(const char *variable)
{
	return strncmp(variable, "LD_LIBRARY_PATH=", 16) == 0 || strncmp(variable, "DLOCK_", 6) == 0;
}

char **program_environment(const struct bench *bench)
{
	char top[PATH_MAX], **environment;
	size_t count = 0, kept = 0;

	while (environ[count])
		count++;
	environment = calloc(count + 3, sizeof(*environment));
	if (!environment || find_top(top, sizeof(top)) < 0) {
		free(environment);
		return NULL;
	}
	if (asprintf(&environment[0], "LD_LIBRARY_PATH=%s/libdlock/.libs", top) < 0 ||
	    asprintf(&environment[1], "DLOCK_SERVERS=%s", servers_list(bench->servers)) < 0) {
		fprintf(stderr, "bench: out of memory\n");
		exit(1);
	}
	/* Settings of the user's own are none of these masters'. */
	for (size_t i = 0; i < count; i++)
		if (!is_ours(environ[i]))
			environment[2 + kept++] = environ[i];
	return environment;
}

void program_environment_free(char **environment)
{
	if (!environment)
		return;
	free(environment[0]);
	free(environment[1]);
	free(environment);
}

pid_t program_start(const char *const *argv, char *const *environment, const char *log)
{
	pid_t parent = getpid(), child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
			_exit(127);
		execve(argv[0], (char *const *)(uintptr_t)argv, environment);
		_exit(127);
	}
	if (child < 0)
		fprintf(stderr, "bench: no process: %s\n", strerror(errno));
	return child;
}
