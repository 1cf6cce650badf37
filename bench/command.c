/*
 * command.c - how long `dlock NAME true` takes, beside the plain floor and `flock FILE true`.
 *
 * From posix_spawn(3) to the return of waitpid(2), the way to the masters included: each
 * dlock is a new process that makes its own connections. The floor is a sum of two: lock and
 * unlock of the plain floor, whose connections are there, and flock(1) around the same
 * command, on a file of this machine. All three take turns.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define BLOCKS 12
#define ROUNDS 25
#define WARM_UP 3

/* 0, or -1 after a sentence. */
static int run_program(char *const *argv, char *const *environment)
{
	int error, status = 0;
	pid_t pid;

	error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environment);
	if (error) {
		fprintf(stderr, "bench: %s: %s\n", argv[0], strerror(error));
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (status == 0)
		return 0;
	fprintf(stderr, "bench: %s failed\n", argv[0]);
	return -1;
}

/* The median in ms; -1 after a sentence. */
static double measure_program(char *const *argv, char *const *environment, int rounds, struct samples *samples)
{
	samples->count = 0;
	for (int i = 0; i < rounds; i++) {
		int64_t begin_ns = now_ns();

		if (run_program(argv, environment) < 0)
			return -1;
		samples_add(samples, now_ns() - begin_ns);
	}
	return samples_us(samples, 0.5) / 1000;
}

struct command {
	char dlock[PATH_MAX], file[PATH_MAX];
	char **environment; /* of dlock; flock(1) has ours, in which no library is looked for elsewhere */
	struct floor *floor;
	struct samples samples;
	struct repeats ours, sum, plain, local;
};

static int measure_block(struct command *command, int rounds, bool counts)
{
	char name[] = "bench-command", what[] = "true", flock[] = "flock";
	char *const ours[] = {command->dlock, name, what, NULL};
	char *const local[] = {flock, command->file, what, NULL};
	double ours_ms, local_ms, plain_ms;

	command->samples.count = 0;
	if (floor_run(command->floor, rounds, 0, &command->samples) < 0)
		return -1;
	plain_ms = samples_us(&command->samples, 0.5) / 1000;
	local_ms = measure_program(local, environ, rounds, &command->samples);
	ours_ms = local_ms < 0 ? -1 : measure_program(ours, command->environment, rounds, &command->samples);
	if (ours_ms < 0)
		return -1;
	if (!counts)
		return 0;
	repeats_add(&command->plain, plain_ms);
	repeats_add(&command->local, local_ms);
	repeats_add(&command->ours, ours_ms);
	repeats_add(&command->sum, plain_ms + local_ms);
	return 0;
}

int figure_command(struct bench *bench)
{
	struct command *command = calloc(1, sizeof(*command));
	int error = -1;

	if (command)
		command->environment = program_environment(bench);
	if (!command || !command->environment)
		goto out;
	if (program_find("tools", "dlock", command->dlock, PATH_MAX) < 0) {
		fprintf(stderr, "bench: tools/dlock is not built\n");
		goto out;
	}
	snprintf(command->file, PATH_MAX, "%s/flock", servers_dir(bench->servers));
	command->floor = floor_open(bench, FLOOR_PLAIN, 0, 1);
	error = command->floor ? measure_block(command, WARM_UP, false) : -1;
	for (int i = 0; !error && i < BLOCKS; i++)
		error = measure_block(command, ROUNDS, true);
	if (!error) {
		result_repeated("command, dlock NAME true", "ms", &command->ours, &command->sum, BAR_RATIO_MOST, 2);
		result_repeated("command, parts of the floor", "ms", &command->plain, &command->local, BAR_NONE, 0);
	}
out:
	if (command) {
		floor_close(command->floor);
		program_environment_free(command->environment);
	}
	free(command);
	return error;
}
