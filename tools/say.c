/*
 * say.c - messages, exit statuses and the clock of the command; see say.h.
 */
#include "say.h"

#include <dlock.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192

void say(const char *format, ...)
{
	int saved_errno = errno;
	char line[LINE_MAX_BYTES] = "dlock: ";
	size_t used = strlen(line);
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, arguments);
	va_end(arguments);
	if (length > 0)
		used += (size_t)length;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	/* Standard error may be closed; there is nobody to tell about that. */
	while (write(STDERR_FILENO, line, used) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

int say_try_help(void)
{
	static const char hint[] = "Try 'dlock --help' for more information.\n";

	if (write(STDERR_FILENO, hint, sizeof(hint) - 1) < 0)
		return EX_USAGE; /* nobody listens: the status has to do */
	return EX_USAGE;
}

static int status_of(int error)
{
	switch (error) {
	case ENOLCK:
		return EX_UNAVAILABLE;
	case EINVAL:
		return EX_CONFIG;
	case ENAMETOOLONG:
		return EX_NOINPUT;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:
		return EX_OSERR;
	default:
		return EX_DATAERR;
	}
}

int say_failure(const char *shown_name, int error)
{
	const char *detail = dlock_error_detail();

	if (!*detail)
		detail = dlock_strerror(error);
	if (shown_name)
		say("%s: %s", shown_name, detail);
	else
		say("%s", detail);
	return status_of(error);
}

int say_flush(int status, int on_error)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	say("write error: %s", strerror(errno ? errno : EIO));
	return on_error;
}

void say_no_memory(void)
{
	say("out of memory");
	_exit(EX_OSERR);
}

int64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
