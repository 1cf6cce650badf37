/*
 * servers.h - real Redis (or Valkey) servers for tests.
 *
 * Owns: the servers' processes, their directory and their addresses. Must never:
 * let one outlive the test, also when that crashes (the kernel kills them when the
 * thread that started them ends, so start them from one that lasts), depend on a
 * test framework, or listen on anything but unix sockets and the loopback.
 *
 * Functions that return int give 0 or a negative errno and have then printed a
 * sentence on standard error. `i` counts from 0. Not thread-safe: use one set of
 * servers from one thread at a time.
 *
 * The program is $DLOCK_TEST_SERVER, else redis-server, else valkey-server.
 */
#ifndef TESTS_HARNESS_SERVERS_H
#define TESTS_HARNESS_SERVERS_H

#include <stdbool.h>
#include <sys/types.h>

enum servers_persistence {
	SERVERS_NONE,     /* a restart forgets everything */
	SERVERS_EVERYSEC, /* appendonly, fsync every second */
	SERVERS_ALWAYS,   /* appendonly, fsync before each reply */
};

/* All zero is a good start: five servers on unix sockets without persistence. */
struct servers_options {
	int count; /* 0: 5 */
	bool tcp;  /* free ports instead of unix sockets */
	const char *host; /* with tcp; NULL: 127.0.0.1; may be ::1 */
	enum servers_persistence persistence;
	const char *user;     /* NULL: `password` is the default user's; else that one is off */
	const char *password; /* NULL: none is needed */
	const char *rules;    /* ACL rules of `user`; NULL: everything is allowed */
	const char *config;   /* further lines of configuration; NULL: none */
};

struct servers;

/* 0 if servers can be started. Else the status that the test shall end with: 77
 * (skip) with the reason on standard output, or 1 if DLOCK_TEST_REQUIRE names
 * redis. */
int servers_require(void);

/* Started and answering. NULL after a sentence on standard error. `options` may be
 * NULL; nothing in it is kept. */
struct servers *servers_start(const struct servers_options *options);

/* Kills them and removes their directory. NULL is fine. */
void servers_free(struct servers *servers);

/* "unix:/…/1.sock,unix:/…/2.sock,…" or "127.0.0.1:20001,…", for `servers`. */
const char *servers_list(const struct servers *servers);

/* The same as URLs with user and password; TCP only. The caller frees it. */
char *servers_list_with_login(const struct servers *servers);

int servers_count(const struct servers *servers);
const char *servers_address(const struct servers *servers, int i);
pid_t servers_pid(const struct servers *servers, int i); /* 0: not running */
const char *servers_dir(const struct servers *servers);  /* for files of the test's own */

void servers_stop(struct servers *servers, int i); /* SIGSTOP: accepts, never answers */
void servers_cont(struct servers *servers, int i); /* SIGCONT */
void servers_kill9(struct servers *servers, int i);

/* Starts it again at its address, after a kill where it runs; with the data that
 * its persistence kept, or empty. Returns when it answers. */
int servers_restart(struct servers *servers, int i, bool keep_data);

int servers_flush(struct servers *servers, int i);   /* FLUSHALL */
int servers_promote(struct servers *servers, int i); /* REPLICAOF NO ONE */

/* A replica of the server `of`, whose data it takes over (TCP only), or with -1 of
 * a master that is not there, which leaves it its data. */
int servers_demote(struct servers *servers, int i, int of);

/*
 * Sends one command, as hiredis' redisCommand() takes it, as a user who may do
 * everything, and gives the reply as text: integers in decimal, "(nil)",
 * "(error) …", the elements of an array in lines. NULL if there is no reply within
 * 2 s. The caller frees it.
 */
char *servers_command(struct servers *servers, int i, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
