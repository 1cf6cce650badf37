/*
 * fuzz_mount.c - the command line of dlockfs and its -o list.
 *
 * The input is the arguments, each ended by a line end. Parsed by dlockfs and, as the
 * last step of that, by libfuse; nothing is mounted and no file opened.
 *
 * Besides crashes: what is accepted can be mounted, what is refused is told, and a word
 * of the list does not become an option of libfuse that nobody wrote.
 */
#include "fuzz.h"

#include "fuse/log.h"
#include "fuse/options.h"

#include <dlock.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_log.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 32

static unsigned said;
static bool running; /* libFuzzer itself opens files, too */

/* ---- in the place of log.c and of the machine ---- */

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
char *__wrap_realpath(const char *path, char *resolved);
int __wrap_fputs(const char *text, FILE *file);
int __real_fputs(const char *text, FILE *file);
char *__real_realpath(const char *path, char *resolved);

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

/* "/there" is the one path that exists. */
char *__wrap_realpath(const char *path, char *resolved)
{
	if (!running)
		return __real_realpath(path, resolved);
	fuzz_check(resolved == NULL);
	if (strcmp(path, "/there") == 0)
		return strdup(path);
	errno = ENOENT;
	return NULL;
}

int __wrap_fputs(const char *text, FILE *file)
{
	if (file != stdout)
		return __real_fputs(text, file);
	fuzz_check(text[0] != '\0');
	said++;
	return 0;
}

void log_error(const char *format, ...)
{
	char line[8192];
	va_list arguments;

	va_start(arguments, format);
	fuzz_check(vsnprintf(line, sizeof(line), format, arguments) > 0);
	va_end(arguments);
	said++;
}

static void log_libfuse(enum fuse_log_level level, const char *format, va_list arguments)
{
	char line[8192];

	(void)level;
	vsnprintf(line, sizeof(line), format, arguments);
	said++;
}

/* ---- what is accepted ---- */

/* How many of the options that go to libfuse begin so, in the form in which it splits them: at commas that no backslash is before. */
static unsigned count_passed(const struct options *options, const char *text)
{
	unsigned count = 0;

	for (int i = 1; i < options->fuse.argc; i++) {
		const char *at = options->fuse.argv[i];

		count += strncmp(at, text, strlen(text)) == 0;
		for (; *at; at++) {
			if (*at == '\\' && at[1])
				at++;
			else if (*at == ',')
				count += strncmp(at + 1, text, strlen(text)) == 0;
		}
	}
	return count;
}

static void check_accepted(const struct options *options)
{
	fuzz_check(options->mountpoint && options->mountpoint[0] == '/');
	fuzz_check(options->on_loss >= 0 && options->on_loss <= SIGRTMAX);
	fuzz_check(options->op_timeout_us >= 90000 && options->op_timeout_us <= 9000000);
	fuzz_check(options->scratch_size >= 1u << 20 && options->scratch_size <= (size_t)65536 << 20);
	fuzz_check(!options->debug || options->foreground);
	fuzz_check(!options->answer && !options->error);
	/* Each option of our own goes there once, by us, and brings no other. */
	for (int i = 1; i < options->fuse.argc; i++)
		if (strncmp(options->fuse.argv[i], "fsname=", 7) == 0)
			fuzz_check(!strchr(options->fuse.argv[i], ','));
	fuzz_check(count_passed(options, "fsname=") == 1);
	fuzz_check(count_passed(options, "subtype=dlockfs") == 1);
	fuzz_check(count_passed(options, "auto_unmount") == 0);
}

static void resolve(const struct options *options)
{
	char why[1024] = "";
	struct dlock_options *settings = options_resolve(options, why, sizeof(why));

	fuzz_check(settings || why[0] != '\0');
	dlock_options_free(settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};
	char *argv[ARGUMENTS_MAX + 1];
	int argc = fuzz_arguments(&input, "dlockfs", argv, ARGUMENTS_MAX), status;
	struct options options;

	fuse_set_log_func(log_libfuse);
	unsetenv("DLOCK_CONFIG");
	said = 0;
	running = true;
	status = options_parse(&options, argc, argv);
	fuzz_check(status == 0 || status == 1 || status == -EINVAL);
	fuzz_check(status == 0 || said > 0);
	if (status == 0) {
		check_accepted(&options);
		resolve(&options);
	}
	options_clear(&options);
	running = false;
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return 0;
}
