/*
 * debug.c - DLOCK_DEBUG; see debug.h.
 *
 * How it works: `debug_masks` starts with DEBUG_UNREAD set, so the first test
 * of any mask comes here and reads the environment; after that a test is one
 * load. A line is put together in a buffer and written by one write(2), so that
 * lines of threads and processes do not mix.
 */
#include "debug.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define LINE_SIZE 2048
#define ALL_MASKS (DEBUG_UNREAD - 1)

static const struct name {
	const char *text;
	unsigned mask;
	const char *meaning;
} names[] = {
	{"config", DEBUG_CONFIG, "where the settings came from"},
	{"core", DEBUG_CORE, "events and effects of the locks"},
	{"node", DEBUG_NODE, "connections to the masters"},
	{"wire", DEBUG_WIRE, "commands and replies, without passwords"},
	{"keeper", DEBUG_KEEPER, "the thread, its timers and requests"},
	{"handle", DEBUG_HANDLE, "descriptors and public calls"},
	{"grants", DEBUG_GRANTS, "what masters hand over to who waits"},
	{"all", ALL_MASKS, "all of them"},
};

#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

atomic_uint debug_masks = DEBUG_UNREAD;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void write_text(const char *text, size_t length)
{
	/* What cannot be written is lost: there is nobody to tell. */
	ssize_t ignored = write(STDERR_FILENO, text, length);

	(void)ignored;
}

static void print_help(void)
{
	char text[LINE_SIZE];
	size_t length = 0;

	length += (size_t)snprintf(text, sizeof(text),
	                           "DLOCK_DEBUG takes names, separated by commas; lines go to standard error:\n");
	for (size_t i = 0; i < NAME_COUNT; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "  %-8s%s\n", names[i].text,
		                           names[i].meaning);
	length += (size_t)snprintf(text + length, sizeof(text) - length, "  %-8s%s\n", "help", "this list");
	write_text(text, length);
}

static void print_unknown(const char *name, size_t length)
{
	char quoted[TEXT_QUOTE_MAX], text[TEXT_QUOTE_MAX + 80];
	int n;

	text_quote(quoted, name, length);
	n = snprintf(text, sizeof(text), "DLOCK_DEBUG: %s is unknown; DLOCK_DEBUG=help lists what is accepted\n", quoted);
	write_text(text, (size_t)n);
}

static unsigned parse_name(const char *name, size_t length)
{
	for (size_t i = 0; i < NAME_COUNT; i++)
		if (strlen(names[i].text) == length && memcmp(names[i].text, name, length) == 0)
			return names[i].mask;
	if (length == strlen("help") && memcmp(name, "help", length) == 0)
		print_help();
	else
		print_unknown(name, length);
	return 0;
}

static void read_environment(void)
{
	static const char separators[] = ", \t";
	const char *text = secure_getenv("DLOCK_DEBUG");
	unsigned masks = 0;

	while (text && *(text += strspn(text, separators))) {
		size_t length = strcspn(text, separators);

		masks |= parse_name(text, length);
		text += length;
	}
	atomic_store(&debug_masks, masks);
}

bool debug_on_slow(enum debug_mask mask)
{
	int saved = errno;

	pthread_once(&once, read_environment);
	errno = saved;
	return (atomic_load_explicit(&debug_masks, memory_order_relaxed) & (unsigned)mask) != 0;
}

static const char *mask_name(enum debug_mask mask)
{
	for (size_t i = 0; i < NAME_COUNT; i++)
		if (names[i].mask == (unsigned)mask)
			return names[i].text;
	return "debug";
}

/* "2026-01-31T12:00:00.000000Z dlock[123] node: ", in UTC so that lines of
 * several machines can be put side by side. */
static size_t put_head(char *line, size_t size, enum debug_mask mask)
{
	struct timespec now;
	struct tm tm;
	char date[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	return (size_t)snprintf(line, size, "%s.%06ldZ dlock[%d] %s: ", date, now.tv_nsec / 1000, (int)getpid(),
	                        mask_name(mask));
}

/* A master may send anything: control bytes must not reach a terminal. */
static void make_plain(char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
}

void debug_line(enum debug_mask mask, const char *format, ...)
{
	char line[LINE_SIZE];
	int saved = errno;
	size_t head = put_head(line, sizeof(line), mask);
	size_t room = sizeof(line) - head;
	va_list args;
	size_t length;
	int n;

	va_start(args, format);
	n = vsnprintf(line + head, room, format, args);
	va_end(args);
	length = n < 0 ? 0 : (size_t)n >= room ? room - 1 : (size_t)n;
	make_plain(line + head, length);
	line[head + length] = '\n'; /* in the place of the NUL */
	write_text(line, head + length + 1);
	errno = saved;
}
