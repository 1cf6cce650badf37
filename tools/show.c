/*
 * show.c - see show.h.
 */
#include "show.h"
#include "say.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const show_holder_head[SHOW_HOLDER_COLUMNS] = {
	"NAME", "MODE", "HOST", "PID", "PROGRAM", "HELD", "TOKEN", "MASTERS", "WAITERS",
};

const char *const show_waiter_head[SHOW_WAITER_COLUMNS] = {
	"PLACE", "MODE", "HOST", "PID", "PROGRAM", "WAITING", "MASTERS",
};

/* ---- cells ---- */

static const char *mode_text(int mode)
{
	return mode == LOCK_SH ? "shared" : "exclusive";
}

/* Milliseconds from then to now; -1 when it is unknown when that was. */
static int64_t since_ms(int64_t since_us)
{
	struct timespec now;
	int64_t ms;

	if (since_us <= 0)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - since_us / 1000;
	return ms > 0 ? ms : 0; /* the other's clock may run ahead of ours */
}

static char *since_text(int64_t since_us)
{
	long long ms = since_ms(since_us), seconds = ms / 1000;

	if (ms < 0)
		return table_text("-");
	if (seconds < 60)
		return table_text("%lld.%llds", seconds, ms % 1000 / 100);
	if (seconds < 3600)
		return table_text("%lldm%02llds", seconds / 60, seconds % 60);
	if (seconds < 86400)
		return table_text("%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
	return table_text("%lldd%02lldh", seconds / 86400, seconds / 3600 % 24);
}

static char *shown_or_dash(const char *value)
{
	return *value ? text_shown(value) : table_text("-");
}

static char *number_or_dash(uint64_t value)
{
	return value ? table_text("%" PRIu64, value) : table_text("-");
}

static char *pid_text(int64_t pid)
{
	return number_or_dash(pid > 0 ? (uint64_t)pid : 0);
}

/* ---- rows ---- */

void show_holder(struct holder_table *table, const struct dlock_holder *holder)
{
	bool held = holder->masters >= holder->quorum;
	char **row = table_row(&table->table);

	row[0] = text_shown(holder->name);
	row[1] = table_text("%s", mode_text(holder->mode));
	row[2] = shown_or_dash(holder->host);
	row[3] = pid_text(holder->pid);
	row[4] = shown_or_dash(holder->program);
	row[5] = since_text(holder->since_us);
	row[6] = number_or_dash(holder->token);
	row[7] = held ? table_text("%u", holder->masters) : table_text("%u (needs %u)", holder->masters, holder->quorum);
	row[8] = table_text("%u", holder->waiters);
	table->held += held;
}

void show_free(struct holder_table *table, const char *name, unsigned waiters)
{
	char **row = table_row(&table->table);

	row[0] = text_shown(name);
	row[1] = table_text("free");
	for (int column = 2; column < SHOW_HOLDER_COLUMNS - 1; column++)
		row[column] = table_text("-");
	row[SHOW_HOLDER_COLUMNS - 1] = table_text("%u", waiters);
}

void show_waiter(struct table *table, const struct dlock_who *waiter)
{
	char **row = table_row(table);

	row[0] = table_text("%u", waiter->position);
	row[1] = table_text("%s", mode_text(waiter->mode));
	row[2] = shown_or_dash(waiter->host);
	row[3] = pid_text(waiter->pid);
	row[4] = shown_or_dash(waiter->program);
	row[5] = since_text(waiter->since_us);
	row[6] = table_text("%u", waiter->masters);
}

struct dlock_holder show_as_holder(const struct dlock_who *who)
{
	return (struct dlock_holder){
	    .name = who->name,
	    .host = who->host,
	    .program = who->program,
	    .owner = who->owner,
	    .pid = who->pid,
	    .since_us = who->since_us,
	    .ttl_ms = who->ttl_ms,
	    .token = who->token,
	    .mode = who->mode,
	    .masters = who->masters,
	    .quorum = who->quorum,
	    .waiters = who->waiters,
	    .unheard = who->unheard,
	};
}

/* ---- JSON ---- */

void json_open(struct json *json)
{
	memset(json, 0, sizeof(*json));
	json->out = open_memstream(&json->text, &json->size);
	if (!json->out)
		say_no_memory();
}

void json_close(struct json *json, bool print)
{
	bool failed = ferror(json->out) != 0;

	if (fclose(json->out) != 0 || failed)
		say_no_memory();
	if (print)
		fwrite(json->text, 1, json->size, stdout);
	free(json->text);
}

void json_field(FILE *out, const char *key, const char *value)
{
	fprintf(out, "\"%s\": ", key);
	text_json(out, value);
	if (!text_is_utf8(value)) {
		fprintf(out, ", \"%s_hex\": ", key);
		text_json_hex(out, value);
	}
	fputs(", ", out);
}

static void json_begin(struct json *json)
{
	fputs(json->count++ ? ",\n  {" : "\n  {", json->out);
}

/* Who it is. */
static void json_client(FILE *out, const char *host, int64_t pid, const char *program, const char *owner)
{
	json_field(out, "host", host);
	fprintf(out, "\"pid\": %" PRId64 ", ", pid);
	json_field(out, "program", program);
	json_field(out, "owner", owner);
}

void json_holder(struct json *json, const struct dlock_holder *holder)
{
	FILE *out = json->out;

	json_begin(json);
	json_field(out, "name", holder->name);
	fprintf(out, "\"mode\": \"%s\", ", mode_text(holder->mode));
	json_client(out, holder->host, holder->pid, holder->program, holder->owner);
	fprintf(out, "\"since_us\": %" PRId64 ", \"held_ms\": %" PRId64 ", \"ttl_ms\": %" PRId64 ", ", holder->since_us,
	        since_ms(holder->since_us), holder->ttl_ms);
	fprintf(out, "\"token\": %" PRIu64 ", \"masters\": %u, \"quorum\": %u, \"waiters\": %u}", holder->token, holder->masters,
	        holder->quorum, holder->waiters);
	json->held += holder->masters >= holder->quorum;
}

void json_waiter(struct json *json, const struct dlock_who *waiter)
{
	FILE *out = json->out;

	json_begin(json);
	fprintf(out, "\"position\": %u, \"mode\": \"%s\", ", waiter->position, mode_text(waiter->mode));
	json_client(out, waiter->host, waiter->pid, waiter->program, waiter->owner);
	fprintf(out, "\"since_us\": %" PRId64 ", \"waiting_ms\": %" PRId64 ", \"masters\": %u}", waiter->since_us,
	        since_ms(waiter->since_us), waiter->masters);
}
