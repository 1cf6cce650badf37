/*
 * ask.h - what the other hosts hold.
 *
 * Owns: the look-ups that are under way. Each ends in a function that is told who
 * holds the name, after op_timeout at the latest.
 * Must never: wait, or take a word of a minority for a holder.
 */
#ifndef DLOCKFS_ASK_H
#define DLOCKFS_ASK_H

#include "record.h"
#include "serve.h"

/* One holder. */
struct found {
	char *name;
	char *owner;          /* the whole value on the masters */
	char *holder;         /* "host/pid/program", as far as known */
	uint64_t token;
	int64_t ttl_ms;
	int mode;             /* LOCK_EX or LOCK_SH */
	bool has_record;      /* a mount made it; else a program that locks without one */
	struct record record; /* of ask_all() only the head */
};

/* `found`: the holder, or the first of several readers; NULL: free, or error is not 0. `holders`: how many there are. */
typedef void ask_fn(void *arg, int error, struct found *found, unsigned holders);
void ask_name(struct daemon *daemon, const char *name, ask_fn *done, void *arg);

/* The same for all names; `found` is a list. What is in it may be taken out (and is cleared else). */
typedef void ask_all_fn(void *arg, int error, struct found *found, size_t count);
void ask_all(struct daemon *daemon, ask_all_fn *done, void *arg);

/* A set of look-ups with the daemon's settings; what is under way with an older one ends with ENOLCK. 0 or -errno. */
int ask_open(struct daemon *daemon);
void ask_close(struct daemon *daemon);

/* When the holder of a record has last renewed its lease, as far as can be told. */
int64_t found_renewed_ns(const struct found *found);

#endif
