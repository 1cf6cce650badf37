/*
 * options.h - the command line of dlock.
 *
 * Owns: its meaning. Whatever flock(1) of util-linux 2.38 accepts for a file is
 * accepted here for a name, with the same exit statuses for what is wrong.
 * Must never: reach a master, or touch a lock.
 */
#ifndef DLOCK_TOOLS_OPTIONS_H
#define DLOCK_TOOLS_OPTIONS_H

#include <stdbool.h>

enum action {
	ACTION_RUN,
	ACTION_LIST,
	ACTION_WHO,
	ACTION_WATCH,
	ACTION_BREAK,
	ACTION_DOCTOR,
	ACTION_INIT,
	ACTION_HELP,
	ACTION_VERSION,
};

struct dlock_options;

struct options {
	enum action action;
	int operation;         /* LOCK_EX, LOCK_SH or LOCK_UN */
	int timeout_ms;        /* -1: wait for ever; 0: try once */
	int conflict_status;   /* -E */
	bool verbose;
	bool json;
	bool yes;
	bool ignore_loss;      /* --on-loss=ignore */
	const char *name;      /* of the lock; points into argv */
	char **names;          /* --watch: of the locks, NULL-terminated; points into argv */
	int name_count;
	int interval_ms;       /* --interval */
	const char *config;    /* --config, or NULL */
	char **command;        /* NULL-terminated; NULL when there is none */
	char *shell_command[4]; /* what -c runs */
	struct dlock_options *settings; /* --servers, --ttl, --prefix, --max-ttl; owned */
};

/* Fills *ret_options; -1 to go on, else the status to exit with (the reason
 * has been told). options_clear() is due in either case. */
int options_parse(int argc, char **argv, struct options *ret_options);

void options_clear(struct options *options);

/* The text of --help, on standard output. */
void options_help(void);

#endif
