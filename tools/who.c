/*
 * who.c - --who: the holders of one lock, and those that wait for it, in their order; see look.h.
 */
#include "look.h"
#include "options.h"
#include "run.h"
#include "say.h"
#include "show.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>

/* ---- for machines ---- */

struct who_json {
	struct json holders, waiters;
	unsigned waiting;
};

static int add_json(const struct dlock_who *who, void *arg)
{
	struct who_json *json = arg;
	const struct dlock_holder holder = show_as_holder(who);

	json->waiting = who->waiters;
	if (who->state == DLOCK_WHO_HOLDER)
		json_holder(&json->holders, &holder);
	else
		json_waiter(&json->waiters, who);
	return 0;
}

static void print_array(FILE *out, const char *key, struct json *array)
{
	fflush(array->out);
	fprintf(out, "\"%s\": [%s%s]", key, array->text, array->count ? "\n" : "");
}

static int who_json(const struct options *options, const char *shown_name)
{
	struct who_json json = { .waiting = 0 };
	struct json whole;
	int status = EXIT_SUCCESS;

	json_open(&json.holders);
	json_open(&json.waiters);
	json_open(&whole);
	if (dlock_who_with(options->name, add_json, &json, options->settings) < 0)
		status = say_failure(shown_name, errno);
	fputc('{', whole.out);
	json_field(whole.out, "name", options->name);
	fprintf(whole.out, "\"held\": %s, ", json.holders.held ? "true" : "false");
	print_array(whole.out, "holders", &json.holders);
	fprintf(whole.out, ", \"waiting\": %u, ", json.waiting);
	print_array(whole.out, "waiters", &json.waiters);
	fputs("}\n", whole.out);
	json_close(&json.holders, false);
	json_close(&json.waiters, false);
	json_close(&whole, status == EXIT_SUCCESS);
	if (status == EXIT_SUCCESS && json.holders.held == 0)
		status = EXIT_FAILURE;
	return say_flush(status, EX_IOERR);
}

/* ---- for people ---- */

struct who_tables {
	struct holder_table holders;
	struct table waiters;
	unsigned waiting;
};

static int add_row(const struct dlock_who *who, void *arg)
{
	struct who_tables *tables = arg;
	const struct dlock_holder holder = show_as_holder(who);

	tables->waiting = who->waiters;
	if (who->state == DLOCK_WHO_HOLDER)
		show_holder(&tables->holders, &holder);
	else
		show_waiter(&tables->waiters, who);
	return 0;
}

static void print_waiters(const struct who_tables *tables)
{
	size_t told = tables->waiters.count;

	if (told == 0)
		return;
	putchar('\n');
	table_print(&tables->waiters, stdout);
	if (tables->waiting > told)
		printf("and %zu more\n", tables->waiting - told);
}

static int who_table(const struct options *options, const char *shown_name)
{
	struct who_tables tables = { .holders = HOLDER_TABLE_EMPTY, .waiters = WAITER_TABLE_EMPTY };
	int status;

	if (dlock_who_with(options->name, add_row, &tables, options->settings) < 0) {
		status = say_failure(shown_name, errno);
	} else {
		if (tables.holders.table.count)
			table_print(&tables.holders.table, stdout);
		else
			printf("%s: free\n", shown_name);
		print_waiters(&tables);
		status = tables.holders.held ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	table_clear(&tables.holders.table);
	table_clear(&tables.waiters);
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
