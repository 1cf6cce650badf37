/*
 * error.c - errno's meaning here, the sentence behind it, and the version.
 *
 * The table is the only place that gives an errno words; the manual pages are
 * checked against it.
 */
#include "build.h"

#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dlock.h"

static const struct meaning {
	int error;
	const char *text;
} meanings[] = {
	/* EAGAIN is the same number on Linux, so one text has to serve both. */
	{EWOULDBLOCK, "held by another (or no thread could be started)"},
	{ETIMEDOUT, "the time-out passed while it was held by another"},
	{ENOLCK, "no quorum of masters could be reached in time, or no lock is held"},
	{ESTALE, "the lease was lost"},
	{EINTR, "interrupted by a signal"},
	{EINPROGRESS, "the call is under way"},
	{EALREADY, "another call is under way on this descriptor"},
	{ECHILD, "the descriptor was inherited through fork"},
	{EBADF, "not an open descriptor of dlock_open()"},
	{EINVAL, "an argument or a setting is wrong"},
	{ENAMETOOLONG, "the name of the lock is longer than 1024 bytes"},
	{E2BIG, "more than can travel with a lock"},
	{EEXIST, "a master was used before"},
	{ENOENT, "the option is not set"},
	{ENOMEM, "out of memory"},
	{EMFILE, "too many open files in this process"},
	{ENFILE, "too many open files in the system"},
};

static _Thread_local char detail[ERROR_DETAIL_MAX];

/* Formatted aside first, because an argument may lie in the present sentence. */
void error_detail_set(const char *format, ...)
{
	static const char more[] = "...";
	char text[ERROR_DETAIL_MAX];
	int saved = errno;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (length < 0)
		text[0] = '\0';
	else if ((size_t)length >= sizeof(text))
		memcpy(text + sizeof(text) - sizeof(more), more, sizeof(more));
	strcpy(detail, text);
	errno = saved;
}

void error_detail_clear(void)
{
	detail[0] = '\0';
}

int error_fail(int error)
{
	if (!*detail)
		error_detail_set("%s", dlock_strerror(error));
	errno = error;
	return -1;
}

const char *dlock_error_detail(void)
{
	return detail;
}

const char *dlock_strerror(int error)
{
	const char *text;

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].error == error)
			return meanings[i].text;
	text = strerrordesc_np(error); /* untranslated, static, and safe in threads, unlike strerror() */
	return text ? text : "unknown error";
}

const char *dlock_version(void)
{
	return PACKAGE_VERSION;
}
