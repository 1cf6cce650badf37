/*
 * doctor.c - --doctor: the state of every master, and whether locks are safe.
 *
 * The library tells, per master, what is wrong, why it matters and what to do;
 * this file adds what only shows when all masters are looked at together.
 * Unsafe is: a refused master (its votes could be counted twice, or be
 * forgotten), or fewer voting masters than a majority. A warning is neither.
 */
#include "look.h"
#include "options.h"
#include "say.h"
#include "text.h"

#include <dlock.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct verdict {
	FILE *json; /* NULL: for people */
	unsigned masters, voting, refused, unreached, quarantined, warnings;
};

static const char *state_text(const struct dlock_master *master)
{
	switch (master->state) {
	case DLOCK_MASTER_VOTING:
		return "voting";
	case DLOCK_MASTER_UNREACHED:
		return "unreached";
	case DLOCK_MASTER_QUARANTINED:
		return "quarantined";
	default:
		return "refused";
	}
}

static void count_master(struct verdict *verdict, const struct dlock_master *master)
{
	verdict->masters++;
	verdict->voting += master->state == DLOCK_MASTER_VOTING;
	verdict->refused += master->state == DLOCK_MASTER_REFUSED;
	verdict->unreached += master->state == DLOCK_MASTER_UNREACHED;
	verdict->quarantined += master->state == DLOCK_MASTER_QUARANTINED;
	verdict->warnings += *master->problem && master->state == DLOCK_MASTER_VOTING;
}

static void print_field(const char *label, const char *value)
{
	char *shown;

	if (!*value)
		return;
	shown = text_shown(value);
	printf("  %-12s %s\n", label, shown);
	free(shown);
}

static void print_master(const struct dlock_master *master)
{
	char *address = text_shown(master->address);

	printf("%s: %s\n", address, state_text(master));
	free(address);
	if (master->latency_us >= 0)
		printf("  %-12s %.3f ms\n", "latency", (double)master->latency_us / 1000);
	print_field("role", master->role);
	print_field("version", master->version);
	print_field("persistence", master->persistence);
	print_field("eviction", master->eviction);
	if (master->latency_us >= 0)
		printf("  %-12s %+.3f ms from the median of the masters\n", "clock", (double)master->clock_offset_us / 1000);
	if (master->max_ttl_ms > 0)
		printf("  %-12s %" PRId64 " ms\n", "max_ttl", master->max_ttl_ms);
	if (master->quarantine_ms > 0)
		printf("  %-12s %.1f s left\n", "quarantine", (double)master->quarantine_ms / 1000);
	print_field(master->warning ? "warning" : "problem", master->problem);
	print_field("remedy", master->remedy);
}

static void json_text(FILE *out, const char *key, const char *value)
{
	fprintf(out, "\"%s\": ", key);
	text_json(out, value);
	fputs(", ", out);
}

static void print_json_master(FILE *out, const struct dlock_master *master)
{
	json_text(out, "address", master->address);
	json_text(out, "state", state_text(master));
	json_text(out, "version", master->version);
	json_text(out, "role", master->role);
	json_text(out, "persistence", master->persistence);
	json_text(out, "eviction", master->eviction);
	json_text(out, "run_id", master->run_id);
	json_text(out, "problem", master->problem);
	json_text(out, "remedy", master->remedy);
	fprintf(out, "\"warning\": %s, ", master->warning ? "true" : "false");
	fprintf(out, "\"latency_us\": %" PRId64 ", \"clock_offset_us\": %" PRId64 ", ", master->latency_us, master->clock_offset_us);
	fprintf(out, "\"quarantine_ms\": %" PRId64 ", \"max_ttl_ms\": %" PRId64, master->quarantine_ms, master->max_ttl_ms);
}

static int add_master(const struct dlock_master *master, void *arg)
{
	struct verdict *verdict = arg;
	bool first = verdict->masters == 0;

	count_master(verdict, master);
	if (verdict->json) {
		fputs(first ? "\n  {" : ",\n  {", verdict->json);
		print_json_master(verdict->json, master);
		fputc('}', verdict->json);
	} else {
		if (!first)
			putchar('\n');
		print_master(master);
	}
	return 0;
}

static unsigned majority(const struct verdict *verdict)
{
	return verdict->masters / 2 + 1;
}

static bool is_safe(const struct verdict *verdict)
{
	return verdict->refused == 0 && verdict->masters > 0 && verdict->voting >= majority(verdict);
}

/* Told by the command: no single master knows of it. */
static bool is_even(const struct verdict *verdict)
{
	return verdict->masters % 2 == 0;
}

static void print_verdict(const struct verdict *verdict)
{
	putchar('\n');
	if (is_even(verdict))
		printf("warning: %u masters is an even number: one fewer bears the loss of as many masters, because a majority of %u is %u\n",
		       verdict->masters, verdict->masters, majority(verdict));
	printf("%u of %u masters vote, %u are needed", verdict->voting, verdict->masters, majority(verdict));
	if (verdict->unreached)
		printf(", %u not reached", verdict->unreached);
	if (verdict->quarantined)
		printf(", %u in quarantine", verdict->quarantined);
	if (verdict->refused)
		printf(", %u refused", verdict->refused);
	if (verdict->voting < majority(verdict))
		puts(": UNSAFE, no lock can be taken");
	else if (verdict->refused)
		puts(": UNSAFE, see the problem of each refused master above");
	else if (verdict->warnings || verdict->voting < verdict->masters || is_even(verdict))
		puts(": locks are safe, with the warnings above");
	else
		puts(": all is well");
}

static int doctor_json(const struct options *options, struct verdict *verdict)
{
	char *text = NULL;
	size_t size;
	int result, error;

	verdict->json = open_memstream(&text, &size);
	if (!verdict->json)
		say_no_memory();
	fputs("{\"masters\": [", verdict->json);
	result = dlock_masters_with(add_master, verdict, options->settings);
	error = errno;
	fprintf(verdict->json, "\n], \"configured\": %u, \"voting\": %u, \"needed\": %u, ", verdict->masters, verdict->voting, majority(verdict));
	fprintf(verdict->json, "\"even\": %s, \"safe\": %s}\n", is_even(verdict) ? "true" : "false", is_safe(verdict) ? "true" : "false");
	if (fclose(verdict->json) != 0)
		say_no_memory();
	if (result >= 0)
		fputs(text, stdout);
	free(text);
	errno = error;
	return result;
}

int doctor(const struct options *options)
{
	struct verdict verdict = { 0 };
	int result;

	if (options->json)
		result = doctor_json(options, &verdict);
	else
		result = dlock_masters_with(add_master, &verdict, options->settings);
	if (result < 0)
		return say_failure(NULL, errno);
	if (!options->json)
		print_verdict(&verdict);
	return say_flush(is_safe(&verdict) ? EXIT_SUCCESS : EXIT_FAILURE, EX_IOERR);
}
