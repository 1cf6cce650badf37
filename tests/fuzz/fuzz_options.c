/*
 * fuzz_options.c - the command line of dlock.
 *
 * The input is the arguments, each ended by a line end. Nothing but the parser is there:
 * a file that an option names does not exist, and what would be said is only formed.
 *
 * Besides crashes: the parser returns what its header says, what it accepts can be
 * carried out, and what it refuses it tells.
 */
#include "fuzz.h"

#include "tools/options.h"
#include "tools/say.h"

#include <dlock.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 32

static unsigned said;
static bool running; /* libFuzzer itself opens files, too */

/* ---- in the place of say.c and of the machine ---- */

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
	va_list arguments;
	int mode;

	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
	va_end(arguments);
	if (!running)
		return __real_open(path, flags, mode);
	errno = ENOENT;
	return -1;
}

void say(const char *format, ...)
{
	char line[8192];
	va_list arguments;

	va_start(arguments, format);
	fuzz_check(vsnprintf(line, sizeof(line), format, arguments) > 0);
	va_end(arguments);
	said++;
}

int say_try_help(void)
{
	said++;
	return EX_USAGE;
}

int say_failure(const char *shown_name, int error)
{
	(void)shown_name;
	fuzz_check(error != 0 && dlock_error_detail()[0] != '\0');
	said++;
	return EX_CONFIG;
}

void say_no_memory(void)
{
	abort();
}

/* ---- what is accepted ---- */

static bool is_argument(const char *text, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (text >= argv[i] && text <= argv[i] + strlen(argv[i]))
			return true;
	return false;
}

static void check_command(const struct options *options, int argc, char **argv)
{
	fuzz_check(options->name && is_argument(options->name, argc, argv));
	fuzz_check(options->command && options->command[0]);
	if (options->command == options->shell_command)
		fuzz_check(options->shell_command[2] && !options->shell_command[3]);
	else
		fuzz_check(is_argument(options->command[0], argc, argv));
}

static void check_accepted(const struct options *options, int argc, char **argv)
{
	fuzz_check(options->action >= ACTION_RUN && options->action <= ACTION_VERSION);
	fuzz_check(options->operation == LOCK_EX || options->operation == LOCK_SH || options->operation == LOCK_UN);
	fuzz_check(options->timeout_ms >= -1);
	fuzz_check(options->conflict_status >= 0 && options->conflict_status <= 255);
	if (options->action == ACTION_RUN)
		check_command(options, argc, argv);
	if (options->action == ACTION_WHO || options->action == ACTION_BREAK)
		fuzz_check(options->name && is_argument(options->name, argc, argv));
	if (options->action == ACTION_WATCH) {
		fuzz_check(options->interval_ms >= 100 && options->names && !options->names[options->name_count]);
		for (int i = 0; i < options->name_count; i++)
			fuzz_check(is_argument(options->names[i], argc, argv));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};
	char *argv[ARGUMENTS_MAX + 1], *allocated[ARGUMENTS_MAX + 1];
	int argc = fuzz_arguments(&input, "dlock", argv, ARGUMENTS_MAX), status;
	struct options options;

	memcpy(allocated, argv, sizeof(argv)); /* getopt_long() may put them in another order */
	setenv("SHELL", "/bin/sh", 1);
	optind = 0; /* glibc: all of its state is made anew */
	opterr = 0;
	said = 0;
	running = true;
	status = options_parse(argc, argv, &options);
	if (status < 0) {
		fuzz_check(status == -1);
		check_accepted(&options, argc, argv);
	} else {
		fuzz_check(status == EX_USAGE || status == EX_OSERR);
		fuzz_check(said > 0);
	}
	options_clear(&options);
	running = false;
	for (int i = 0; i < argc; i++)
		free(allocated[i]);
	return 0;
}
