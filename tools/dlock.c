/*
 * dlock.c - the command `dlock`: flock(1) for a fleet of machines.
 *
 * Owns: which of its jobs is done. options.c reads the command line, run.c
 * holds a lock around a command with the help of watchdog.c and tree.c, look.c,
 * who.c, watch.c and doctor.c show and mend. All of it sees the library through dlock.h only.
 */
#include "look.h"
#include "options.h"
#include "run.h"
#include "say.h"

#include <dlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --config is for this process: the command gets the environment as it was. */
static char **copy_environment(void)
{
	size_t count = 0;
	char **copy;

	while (environ[count])
		count++;
	copy = calloc(count + 1, sizeof(*copy));
	if (!copy)
		say_no_memory();
	memcpy(copy, environ, count * sizeof(*copy));
	return copy;
}

static int print_version(void)
{
	printf("dlock from libdlock %s\n", dlock_version());
	return say_flush(EXIT_SUCCESS, EXIT_FAILURE);
}

static int dispatch(const struct options *options, char **environment)
{
	switch (options->action) {
	case ACTION_RUN:
		return run(options, environment);
	case ACTION_LIST:
		return look_list(options);
	case ACTION_WHO:
		return look_who(options);
	case ACTION_WATCH:
		return look_watch(options);
	case ACTION_BREAK:
		return look_break(options);
	case ACTION_DOCTOR:
		return doctor(options);
	case ACTION_INIT:
		return look_init(options);
	case ACTION_HELP:
		options_help();
		return say_flush(EXIT_SUCCESS, EXIT_FAILURE);
	case ACTION_VERSION:
		return print_version();
	}
	return EX_SOFTWARE;
}

int main(int argc, char **argv)
{
	char **environment = copy_environment();
	struct options options;
	int status = options_parse(argc, argv, &options);

	if (status < 0 && options.config && setenv("DLOCK_CONFIG", options.config, 1) < 0)
		say_no_memory();
	if (status < 0)
		status = dispatch(&options, environment);
	options_clear(&options);
	free(environment);
	return status;
}
