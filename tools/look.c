/*
 * look.c - --list, --break and --init; see look.h.
 */
#include "look.h"
#include "options.h"
#include "run.h"
#include "say.h"
#include "show.h"
#include "text.h"

#include <dlock.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int add_row(const struct dlock_holder *holder, void *arg)
{
	show_holder(arg, holder);
	return 0;
}

static int add_json(const struct dlock_holder *holder, void *arg)
{
	json_holder(arg, holder);
	return 0;
}

static int list_json(const struct options *options)
{
	struct json json;
	int status = EXIT_SUCCESS;

	json_open(&json);
	fputs("{\"locks\": [", json.out);
	if (dlock_list_with(add_json, &json, options->settings) < 0)
		status = say_failure(NULL, errno);
	fputs(json.count ? "\n]}\n" : "]}\n", json.out);
	json_close(&json, status == EXIT_SUCCESS);
	return say_flush(status, EX_IOERR);
}

int look_list(const struct options *options)
{
	struct holder_table table = HOLDER_TABLE_EMPTY;
	int status = EXIT_SUCCESS;

	if (options->json)
		return list_json(options);
	if (dlock_list_with(add_row, &table, options->settings) < 0)
		status = say_failure(NULL, errno);
	else
		table_print(&table.table, stdout);
	table_clear(&table.table);
	return say_flush(status, EX_IOERR);
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
	struct holder_table table = HOLDER_TABLE_EMPTY;
	int held = dlock_query_with(options->name, add_row, &table, options->settings);
	int status;

	if (held < 0)
		return say_failure(shown_name, errno);
	if (held > 0)
		table_print(&table.table, stdout);
	table_clear(&table.table);
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
