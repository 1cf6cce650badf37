/* log.c - see log.h. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

static bool to_syslog, with_debug;

void log_open(bool syslog, bool debug)
{
	with_debug = debug;
	if (syslog && !to_syslog)
		openlog("dlockfs", LOG_PID, LOG_DAEMON);
	to_syslog = syslog;
}

/* One write a line, so that those of several processes do not mix. */
static void say(int level, const char *word, const char *format, va_list arguments)
{
	char line[2048];

	if (to_syslog) {
		vsyslog(level, format, arguments);
		return;
	}
	vsnprintf(line, sizeof(line), format, arguments);
	fprintf(stderr, "dlockfs: %s%s\n", word, line);
}

#define SAY(level, word)                                                                                               \
	do {                                                                                                           \
		va_list arguments;                                                                                     \
                                                                                                                       \
		va_start(arguments, format);                                                                           \
		say(level, word, format, arguments);                                                                   \
		va_end(arguments);                                                                                     \
	} while (0)

void log_error(const char *format, ...)
{
	SAY(LOG_ERR, "");
}

void log_warning(const char *format, ...)
{
	SAY(LOG_WARNING, "warning: ");
}

void log_info(const char *format, ...)
{
	SAY(LOG_INFO, "");
}

void log_debug(const char *format, ...)
{
	if (with_debug)
		SAY(LOG_DEBUG, "debug: ");
}
