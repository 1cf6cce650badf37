/*
 * watch.c - --watch: the list again and again; see look.h.
 *
 * On a terminal the list stands on a screen of its own and is written over in one
 * write, line by line, so that nothing flickers; elsewhere the lists follow each
 * other.
 *
 * Rules:
 *  1. Whatever ends it, the terminal is as it was before: signals that end or stop a
 *     program are handled for that, and then do what they do.
 *  2. Signals that only ask for a new picture arrive while it waits, and only then.
 *  3. Too few masters are no reason to end; a wrong setting is.
 *  4. When nobody reads any more it ends without a word.
 */
#include "look.h"
#include "options.h"
#include "run.h"
#include "say.h"
#include "show.h"
#include "text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Its own screen, without a cursor, on which a line that is too long is cut off. */
#define ENTER "\033[?1049h\033[?25l\033[?7l"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"
#define HOME "\033[H"
#define CLEAR_LINE "\033[K"
#define CLEAR_BELOW "\033[J"

/* One picture, as a memory stream writes it. */
struct picture {
	FILE *out;
	char *text;
	size_t size;
};

/* What the handlers know. */
static struct termios modes; /* before it began */
static volatile sig_atomic_t has_modes, is_entered, is_stale, was_stopped;

/* ---- the terminal ---- */

static bool is_on_terminal(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

/* All of it, or false with errno. */
static bool write_all(const char *text, size_t size)
{
	while (size > 0) {
		ssize_t written = write(STDOUT_FILENO, text, size);

		if (written < 0 && errno == EAGAIN) {
			struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };

			poll(&room, 1, -1);
		} else if (written < 0 && errno != EINTR) {
			return false;
		}
		if (written > 0) {
			text += written;
			size -= (size_t)written;
		}
	}
	return true;
}

/* Once, and again after SIGSTOP, of which nobody is told before. In the background this stops it, as it should. */
static void enter(void)
{
	struct termios quiet;

	if (is_entered && !was_stopped)
		return;
	was_stopped = 0;
	if (!is_entered)
		has_modes = tcgetattr(STDOUT_FILENO, &modes) == 0;
	is_entered = 1;
	if (has_modes) {
		quiet = modes;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(STDOUT_FILENO, TCSANOW, &quiet);
	}
	write_all(ENTER, strlen(ENTER));
}

/* Also from handlers, which block SIGTTOU. */
static void leave(void)
{
	if (!is_entered)
		return;
	is_entered = 0;
	write_all(LEAVE, strlen(LEAVE));
	if (has_modes)
		tcsetattr(STDOUT_FILENO, TCSANOW, &modes);
}

/* ---- signals ---- */

static void unblock(int signal_number)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, signal_number);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
}

/* Its handler is gone by now (SA_RESETHAND). */
static void end_by_signal(int signal_number)
{
	leave();
	raise(signal_number);
	unblock(signal_number);
}

static void stop_by_signal(int signal_number);

static void handle(int signal_number, void (*handler)(int), bool once)
{
	struct sigaction action;

	sigaction(signal_number, NULL, &action);
	if (action.sa_handler == SIG_IGN)
		return;
	action.sa_handler = handler;
	action.sa_flags = once ? (int)SA_RESETHAND : 0;
	sigfillset(&action.sa_mask);
	sigaction(signal_number, &action, NULL);
}

static void stop_by_signal(int signal_number)
{
	int saved_errno = errno;

	leave();
	raise(signal_number);
	unblock(signal_number);
	/* Here it stood still. */
	handle(signal_number, stop_by_signal, true);
	is_stale = 1;
	errno = saved_errno;
}

static void ask_for_picture(int signal_number)
{
	was_stopped |= signal_number == SIGCONT;
	is_stale = 1;
}

/* *ret_waiting is the mask while it waits: rule 2. */
static void begin_signals(sigset_t *ret_waiting)
{
	static const int ends[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM }, pictures[] = { SIGWINCH, SIGCONT, SIGTSTP };
	sigset_t blocked;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		handle(ends[i], end_by_signal, true);
	handle(SIGTSTP, stop_by_signal, true);
	handle(SIGWINCH, ask_for_picture, false);
	handle(SIGCONT, ask_for_picture, false);
	sigemptyset(&blocked);
	for (size_t i = 0; i < sizeof(pictures) / sizeof(pictures[0]); i++)
		sigaddset(&blocked, pictures[i]);
	sigprocmask(SIG_BLOCK, &blocked, ret_waiting);
	for (size_t i = 0; i < sizeof(pictures) / sizeof(pictures[0]); i++)
		sigdelset(ret_waiting, pictures[i]);
}

/* ---- what is seen ---- */

/* The holders of the names that are watched. */
struct seen {
	struct holder_table holders;
	unsigned waiting; /* for the name that is asked about */
};

static int add_holder(const struct dlock_holder *holder, void *arg)
{
	show_holder(&((struct seen *)arg)->holders, holder);
	return 0;
}

static int add_who(const struct dlock_who *who, void *arg)
{
	struct seen *seen = arg;
	const struct dlock_holder holder = show_as_holder(who);

	seen->waiting = who->waiters;
	if (who->state == DLOCK_WHO_HOLDER)
		show_holder(&seen->holders, &holder);
	return who->state == DLOCK_WHO_WAITER; /* they were counted before */
}

/* 0 or -1 with errno. */
static int look_at_names(const struct options *options, struct seen *seen)
{
	for (char *const *name = options->names; *name; name++) {
		size_t before = seen->holders.table.count;

		seen->waiting = 0;
		if (dlock_who_with(*name, add_who, seen, options->settings) < 0)
			return -1;
		if (seen->holders.table.count == before)
			show_free(&seen->holders, *name, seen->waiting);
	}
	return 0;
}

/* 0 or an errno. */
static int look_at(const struct options *options, struct seen *seen)
{
	int result = *options->names ? look_at_names(options, seen) : dlock_list_with(add_holder, seen, options->settings);

	return result < 0 ? errno : 0;
}

/* Each master on a line of its own: it is long. */
static void put_detail(FILE *out, const char *detail)
{
	char *shown = text_shown(detail);

	for (const char *at = shown; *at; at++)
		if (strncmp(at, "; ", 2) == 0) {
			fputs("\n  ", out);
			at++;
		} else {
			putc(*at, out);
		}
	putc('\n', out);
	free(shown);
}

static void put_title(FILE *out, const struct options *options)
{
	time_t now = time(NULL);
	char when[32] = "";
	struct tm local;

	if (localtime_r(&now, &local))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	fprintf(out, "%s, every %g s\n\n", when, options->interval_ms / 1000.0);
}

/* -1 to go on, else the status to exit with: rule 3. */
static int look(const struct options *options, bool on_terminal, struct picture *ret)
{
	struct seen seen = { .holders = HOLDER_TABLE_EMPTY };
	int status = -1, error;

	ret->out = open_memstream(&ret->text, &ret->size);
	if (!ret->out)
		say_no_memory();
	if (on_terminal)
		put_title(ret->out, options);
	error = look_at(options, &seen);
	if (error == 0) {
		table_print(&seen.holders.table, ret->out);
	} else if (error == ENOLCK && on_terminal) {
		put_detail(ret->out, dlock_error_detail());
	} else {
		leave();
		status = say_failure(NULL, error);
	}
	if (error == ENOLCK)
		status = -1;
	if (ferror(ret->out) || fclose(ret->out) != 0)
		say_no_memory();
	table_clear(&seen.holders.table);
	return status;
}

/* ---- the picture on the terminal ---- */

static struct winsize size_of_terminal(void)
{
	struct winsize size = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	return size;
}

/* The line at `text`, as far as it fits. What is behind it is cleared only where there is something: in the last
 * column that would take the last character. */
static void put_line(FILE *out, const char *text, size_t width)
{
	size_t length = 0, columns = 0;

	for (; text[length] && text[length] != '\n'; length++) {
		if ((text[length] & 0xC0) == 0x80)
			continue;
		if (columns == width)
			break;
		columns++;
	}
	fwrite(text, 1, length, out);
	if (columns < width)
		fputs(CLEAR_LINE, out);
}

/* As many of the lines as fit, in place of what is there; if not all do, the last tells how many are missing. */
static void put_lines(FILE *out, const char *text, const struct winsize *size)
{
	unsigned lines = 0, most;
	char rest[48];

	for (const char *at = text; *at; at++)
		lines += *at == '\n';
	most = lines <= size->ws_row ? lines : size->ws_row - 1u;
	fputs(HOME, out);
	for (unsigned i = 0; i < most; i++) {
		put_line(out, text, size->ws_col);
		if (i + 1u < size->ws_row)
			fputs("\r\n", out);
		text = strchr(text, '\n') + 1;
	}
	snprintf(rest, sizeof(rest), "and %u more lines", lines - most);
	if (most < lines)
		put_line(out, rest, size->ws_col);
	else if (most < size->ws_row)
		fputs(CLEAR_BELOW, out);
}

/* False with errno when it could not be written. */
static bool draw(const struct picture *picture)
{
	const struct winsize size = size_of_terminal();
	struct picture screen;
	bool written;

	screen.out = open_memstream(&screen.text, &screen.size);
	if (!screen.out)
		say_no_memory();
	put_lines(screen.out, picture->text, &size);
	if (ferror(screen.out) || fclose(screen.out) != 0)
		say_no_memory();
	written = write_all(screen.text, screen.size);
	free(screen.text);
	return written;
}

/* ---- on and on ---- */

/* Waits for what is left until `next_us`, or for a signal that asks for a picture. False when nobody reads any more. */
static bool wait_until(int64_t next_us, const sigset_t *waiting)
{
	struct pollfd reader = { .fd = STDOUT_FILENO, .events = 0 };
	int64_t left_us = next_us - clock_us();
	struct timespec left;

	if (left_us < 0)
		left_us = 0;
	left = (struct timespec){ .tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000 };
	return ppoll(&reader, 1, &left, waiting) <= 0 || !(reader.revents & (POLLERR | POLLHUP | POLLNVAL));
}

/* What has become of a write that failed: rule 4. */
static int write_failed(void)
{
	int error = errno;

	leave();
	if (error == EPIPE || error == EIO)
		return EXIT_SUCCESS;
	say("write error: %s", strerror(error));
	return EX_IOERR;
}

/* Until the time for the next picture. -1 to go on, else the status to exit with. */
static int show_on_terminal(const struct picture *picture, int64_t next_us, const sigset_t *waiting)
{
	is_stale = 1;
	do {
		if (is_stale) {
			is_stale = 0;
			enter();
			if (!draw(picture))
				return write_failed();
		}
		if (!wait_until(next_us, waiting)) {
			leave();
			return EXIT_SUCCESS;
		}
	} while (clock_us() < next_us);
	return -1;
}

/* The same where one picture follows the other. */
static int show_below(const struct picture *picture, bool is_first, int64_t next_us, const sigset_t *waiting)
{
	if (picture->size > 0 && !is_first && !write_all("\n", 1))
		return write_failed();
	if (!write_all(picture->text, picture->size))
		return write_failed();
	do
		if (!wait_until(next_us, waiting))
			return EXIT_SUCCESS;
	while (clock_us() < next_us);
	return -1;
}

static int check_names(const struct options *options)
{
	int status = 0;

	for (char *const *name = options->names; *name && status == 0; name++)
		status = run_check_name(*name);
	return status;
}

int look_watch(const struct options *options)
{
	bool on_terminal = is_on_terminal(), is_first = true;
	int status = check_names(options);
	sigset_t waiting;

	if (status)
		return status;
	begin_signals(&waiting);
	do {
		int64_t next_us = clock_us() + options->interval_ms * INT64_C(1000);
		struct picture picture;

		status = look(options, on_terminal, &picture);
		if (status < 0 && on_terminal)
			status = show_on_terminal(&picture, next_us, &waiting);
		else if (status < 0)
			status = show_below(&picture, is_first, next_us, &waiting);
		is_first = is_first && picture.size == 0;
		free(picture.text);
	} while (status < 0);
	return status;
}
