/*
 * look.c - --list, --who, --break and --init; see look.h.
 */
#include "look.h"
#include "options.h"
#include "run.h"
#include "say.h"
#include "text.h"

#include <dlock.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COLUMNS 9

/* Holders as rows of cells, so that the columns can be aligned. */
struct table {
	char *(*rows)[COLUMNS];
	size_t count, room;
	unsigned held; /* holders with a majority behind them */
};

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *text(const char *format, ...)
{
	va_list arguments;
	char *result;
	int length;

	va_start(arguments, format);
	length = vasprintf(&result, format, arguments);
	va_end(arguments);
	if (length < 0)
		say_no_memory();
	return result;
}

static int64_t held_ms(const struct dlock_holder *holder)
{
	struct timespec now;
	int64_t ms;

	if (holder->since_us <= 0)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - holder->since_us / 1000;
	return ms > 0 ? ms : 0; /* the holder's clock may run ahead of ours */
}

static char *held_text(const struct dlock_holder *holder)
{
	long long ms = held_ms(holder), seconds = ms / 1000;

	if (ms < 0)
		return text("-");
	if (seconds < 60)
		return text("%lld.%llds", seconds, ms % 1000 / 100);
	if (seconds < 3600)
		return text("%lldm%02llds", seconds / 60, seconds % 60);
	if (seconds < 86400)
		return text("%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
	return text("%lldd%02lldh", seconds / 86400, seconds / 3600 % 24);
}

static char *shown_or_dash(const char *value)
{
	return *value ? text_shown(value) : text("-");
}

static char *number_or_dash(uint64_t value)
{
	return value ? text("%" PRIu64, value) : text("-");
}

static void grow(struct table *table)
{
	void *more;

	if (table->count < table->room)
		return;
	table->room = table->room ? table->room * 2 : 64;
	more = reallocarray(table->rows, table->room, sizeof(*table->rows));
	if (!more)
		say_no_memory();
	table->rows = more;
}

static int add_row(const struct dlock_holder *holder, void *arg)
{
	struct table *table = arg;
	char **row;

	grow(table);
	row = table->rows[table->count++];
	row[0] = text_shown(holder->name);
	row[1] = text(holder->mode == LOCK_SH ? "shared" : "exclusive");
	row[2] = shown_or_dash(holder->host);
	row[3] = number_or_dash(holder->pid > 0 ? (uint64_t)holder->pid : 0);
	row[4] = shown_or_dash(holder->program);
	row[5] = held_text(holder);
	row[6] = number_or_dash(holder->token);
	row[7] = holder->masters >= holder->quorum ? text("%u", holder->masters) : text("%u (needs %u)", holder->masters, holder->quorum);
	row[8] = text("%u", holder->waiters);
	if (holder->masters >= holder->quorum)
		table->held++;
	return 0;
}

static void print_row(char *const *row, const size_t *widths)
{
	for (int column = 0; column < COLUMNS; column++) {
		int padding = column < COLUMNS - 1 ? (int)(widths[column] - text_width(row[column])) + 2 : 0;

		printf("%s%*s", row[column], padding, "");
	}
	putchar('\n');
}

static void print_table(const struct table *table)
{
	static char *const head[COLUMNS] = {
		(char *)"NAME", (char *)"MODE", (char *)"HOST", (char *)"PID", (char *)"PROGRAM",
		(char *)"HELD", (char *)"TOKEN", (char *)"MASTERS", (char *)"WAITERS",
	};
	size_t widths[COLUMNS];

	for (int column = 0; column < COLUMNS; column++) {
		widths[column] = text_width(head[column]);
		for (size_t i = 0; i < table->count; i++)
			if (text_width(table->rows[i][column]) > widths[column])
				widths[column] = text_width(table->rows[i][column]);
	}
	print_row(head, widths);
	for (size_t i = 0; i < table->count; i++)
		print_row(table->rows[i], widths);
}

static void clear_table(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		for (int column = 0; column < COLUMNS; column++)
			free(table->rows[i][column]);
	free(table->rows);
}

/* JSON is printed as a whole or not at all: half an answer looks like one. */
struct json {
	FILE *out;
	char *text;
	size_t size;
	unsigned count, held;
};

static void json_open(struct json *json)
{
	memset(json, 0, sizeof(*json));
	json->out = open_memstream(&json->text, &json->size);
	if (!json->out)
		say_no_memory();
}

static void json_close(struct json *json, bool print)
{
	bool failed = ferror(json->out) != 0;

	if (fclose(json->out) != 0 || failed)
		say_no_memory();
	if (print)
		fwrite(json->text, 1, json->size, stdout);
	free(json->text);
}

static void json_field(FILE *out, const char *key, const char *value)
{
	fprintf(out, "\"%s\": ", key);
	text_json(out, value);
	if (!text_is_utf8(value)) {
		fprintf(out, ", \"%s_hex\": ", key);
		text_json_hex(out, value);
	}
	fputs(", ", out);
}

static int add_json_holder(const struct dlock_holder *holder, void *arg)
{
	struct json *json = arg;
	FILE *out = json->out;

	fputs(json->count++ ? ",\n  {" : "\n  {", out);
	json_field(out, "name", holder->name);
	fprintf(out, "\"mode\": \"%s\", ", holder->mode == LOCK_SH ? "shared" : "exclusive");
	json_field(out, "host", holder->host);
	fprintf(out, "\"pid\": %" PRId64 ", ", holder->pid);
	json_field(out, "program", holder->program);
	json_field(out, "owner", holder->owner);
	fprintf(out, "\"since_us\": %" PRId64 ", \"held_ms\": %" PRId64 ", \"ttl_ms\": %" PRId64 ", ", holder->since_us, held_ms(holder), holder->ttl_ms);
	fprintf(out, "\"token\": %" PRIu64 ", \"masters\": %u, \"quorum\": %u, \"waiters\": %u}", holder->token, holder->masters, holder->quorum, holder->waiters);
	if (holder->masters >= holder->quorum)
		json->held++;
	return 0;
}

static int list_json(const struct options *options)
{
	struct json json;
	int status = EXIT_SUCCESS;

	json_open(&json);
	fputs("{\"locks\": [", json.out);
	if (dlock_list_with(add_json_holder, &json, options->settings) < 0)
		status = say_failure(NULL, errno);
	fputs(json.count ? "\n]}\n" : "]}\n", json.out);
	json_close(&json, status == EXIT_SUCCESS);
	return say_flush(status, EX_IOERR);
}

int look_list(const struct options *options)
{
	struct table table = { 0 };
	int status = EXIT_SUCCESS;

	if (options->json)
		return list_json(options);
	if (dlock_list_with(add_row, &table, options->settings) < 0)
		status = say_failure(NULL, errno);
	else
		print_table(&table);
	clear_table(&table);
	return say_flush(status, EX_IOERR);
}

static int who_json(const struct options *options, const char *shown_name)
{
	struct json json, whole;
	int status = EXIT_SUCCESS;

	json_open(&json);
	json_open(&whole);
	if (dlock_query_with(options->name, add_json_holder, &json, options->settings) < 0)
		status = say_failure(shown_name, errno);
	fflush(json.out);
	fputc('{', whole.out);
	json_field(whole.out, "name", options->name);
	fprintf(whole.out, "\"held\": %s, \"holders\": [%s%s]}\n", json.held ? "true" : "false", json.text, json.count ? "\n" : "");
	json_close(&json, false);
	json_close(&whole, status == EXIT_SUCCESS);
	if (status == EXIT_SUCCESS && json.held == 0)
		status = EXIT_FAILURE;
	return say_flush(status, EX_IOERR);
}

static int who_table(const struct options *options, const char *shown_name)
{
	struct table table = { 0 };
	int status;

	if (dlock_query_with(options->name, add_row, &table, options->settings) < 0)
		return say_failure(shown_name, errno);
	if (table.count)
		print_table(&table);
	else
		printf("%s: free\n", shown_name);
	status = table.held ? EXIT_SUCCESS : EXIT_FAILURE;
	clear_table(&table);
	return say_flush(status, EX_IOERR);
}

int look_who(const struct options *options)
{
	int status = run_check_name(options->name);
	char *shown_name;

	if (status)
		return status;
	shown_name = text_shown(options->name);
	status = options->json ? who_json(options, shown_name) : who_table(options, shown_name);
	free(shown_name);
	return status;
}

/* Whether somebody at the terminal says yes. Only called when there is one. */
static bool is_confirmed(const char *question)
{
	char answer[16];

	fflush(stdout);
	fprintf(stderr, "%s [y/N] ", question);
	fflush(stderr);
	if (!fgets(answer, sizeof(answer), stdin))
		return false;
	return answer[0] == 'y' || answer[0] == 'Y';
}

static int confirm(bool yes, const char *question)
{
	if (yes)
		return EXIT_SUCCESS;
	if (!isatty(STDIN_FILENO)) {
		say("there is no terminal to ask on: give --yes to go on without being asked");
		return EX_USAGE;
	}
	return is_confirmed(question) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int break_lock(const struct options *options, const char *shown_name)
{
	struct table table = { 0 };
	int held = dlock_query_with(options->name, add_row, &table, options->settings);
	int status;

	if (held < 0)
		return say_failure(shown_name, errno);
	if (held > 0)
		print_table(&table);
	clear_table(&table);
	status = confirm(options->yes, "Another client may take the lock while this holder still works. Break it?");
	if (status)
		return say_flush(status, EX_IOERR);
	if (dlock_break_with(options->name, options->settings) < 0)
		return say_failure(shown_name, errno);
	printf(held > 0 ? "%s: broken\n" : "%s: nobody held it\n", shown_name);
	return say_flush(EXIT_SUCCESS, EX_IOERR);
}

int look_break(const struct options *options)
{
	int status = run_check_name(options->name);
	char *shown_name;

	if (status)
		return status;
	if (!options->yes && !isatty(STDIN_FILENO)) /* before anything is asked of the masters */
		return confirm(false, "");
	shown_name = text_shown(options->name);
	status = break_lock(options, shown_name);
	free(shown_name);
	return status;
}

static int print_candidate(const struct dlock_master *master, void *arg)
{
	(void)arg;
	if (master->state == DLOCK_MASTER_UNREACHED)
		printf("%s: not reached, not declared new: %s\n", master->address, master->problem);
	else
		printf("%s: to be declared new\n", master->address);
	return 0;
}

static int declare_new(const struct options *options, int flags);

/* The masters have given locks before: an operator has to take that on. */
static int init_used(const struct options *options)
{
	int status;

	say_failure(NULL, EEXIST);
	status = confirm(false, "Only safe when no lease that they gave can still be relied on. Declare them new all the same?");
	if (status)
		return status;
	return declare_new(options, DLOCK_INIT_FORCE);
}

static int declare_new(const struct options *options, int flags)
{
	int count = dlock_init_with(flags, options->settings);

	if (count < 0 && errno == EEXIST && !(flags & DLOCK_INIT_FORCE))
		return init_used(options);
	if (count < 0)
		return say_failure(NULL, errno);
	printf("%d masters are declared new and may vote now\n", count);
	return say_flush(EXIT_SUCCESS, EX_IOERR);
}

int look_init(const struct options *options)
{
	if (dlock_masters_with(print_candidate, NULL, options->settings) < 0)
		return say_failure(NULL, errno);
	fflush(stdout);
	return declare_new(options, options->yes ? DLOCK_INIT_FORCE : 0);
}
