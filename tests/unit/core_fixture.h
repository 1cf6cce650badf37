/*
 * core_fixture.h - a world for the core: virtual time, clients, model masters
 * and the links between them.
 *
 * Owns: the clock, what is under way on every link, and the trace: what
 * happened, in plain words, a line each.
 * Must never: sleep, read a clock, draw random numbers, or need Criterion (the
 * simulator uses it too).
 *
 * How it works: each client is one struct quorum with its parties (a lock and
 * its name in the trace); the fixture plays the shell. It feeds the core
 * exactly as libdlock/cluster.c does: quorum_sent() and quorum_answered()
 * first, broken answers before the disconnection, releases that are owed
 * before anything new, lock_masters_changed() after each event of the quorum.
 * A link is a queue in order; a test may hold it, break it, or keep what was
 * written to a broken one and deliver it late. Masters are numbered from 1, as
 * in the trace.
 *
 * The trace: "TIME WHO: WHAT", in milliseconds since world_zero(); fences are
 * told as +µs since then.
 *
 *   0.000 a asks 1 2 3: A X +0      a request of a's lock; A P E R V I as in dlock.lua
 *   0.200 1 to a: yes +0            its answer
 *   0.200 a has X +0 until 988.000  the call has ended with the lock
 *   0.200 a: EWOULDBLOCK            the call has ended without
 *   E X +0, data 2 sent             what travels with the lock goes along; without "sent" its version only
 *   yes +0, data 2                  its version that is there
 *   0.200 a has lost it
 */
#ifndef DLOCK_TESTS_CORE_FIXTURE_H
#define DLOCK_TESTS_CORE_FIXTURE_H

#include "core/lock.h"
#include "model_master.h"

#define WORLD_CLIENTS 4
#define WORLD_PARTIES 3  /* of one client */
#define WORLD_MASTERS 9
#define LINK_MAX 512     /* messages under way */
#define LATE_MAX 48
#define TOLD_MAX 64      /* grants under way */

#define MS INT64_C(1000)
#define SECONDS INT64_C(1000000)

struct message {
	struct request request;
	unsigned life; /* of the client's process that sent it */
	struct model_call call;
	struct model_reply reply;
	int64_t there_at_us, back_at_us;
};

/* What a master has told a waiter on its own. */
struct told {
	struct grant grant;
	int64_t at_us;
};

struct link {
	bool connected;
	/* The other connection, for grants. */
	bool subscribed;         /* as the master sees it */
	bool deaf;               /* what is told is lost, and nobody notices */
	int64_t listen_at_us;    /* when it is made; NEVER_US: not by itself */
	unsigned told_count;
	struct told told[TOLD_MAX];
	bool cut;                /* it has ended, and the client, which is paused, has not noticed */
	bool held_there, held_back; /* nothing arrives in that direction */
	bool no_kill;            /* the earlier connection can't be killed */
	int64_t there_us, back_us;
	int64_t jitter_us;       /* each message takes up to so much longer; needs world.draw */
	int64_t connect_at_us;   /* NEVER_US: not by itself */
	unsigned count, executed; /* of queue; the first `executed` wait for their answer's arrival */
	struct message queue[LINK_MAX];
	unsigned late_count;     /* written to a connection that has ended, not executed yet */
	struct message late[LATE_MAX];
};

struct client_settings {
	int64_t ttl_us, lock_delay_us, node_timeout_us, quorum_timeout_us, max_ttl_us;
	bool no_quarantine;
	bool no_grants;          /* it may not subscribe */
	const char *fingerprint;
	unsigned first, count;   /* its list of masters: `count` of them (0: all) from the one after `first` others */
};

struct world;

/* A lock and its user. */
struct party {
	struct client *client;
	struct lock lock;
	char label[16];
	bool open, calling; /* a call is under way */
	int error;          /* of the last call */
	unsigned calls;     /* that have ended */
	unsigned losses;
	/* What it last asked masters for, and when that was. */
	uint64_t proposal;
	const struct attempt *proposer;
	int64_t proposed_us;
};

struct failed_send {
	struct request request;
};

struct client {
	struct world *world;
	unsigned index;
	unsigned first, count;  /* its masters */
	unsigned life;          /* processes before this one */
	unsigned opened;        /* parties so far */
	bool alive, paused;     /* SIGSTOP */
	int64_t rate_ppm;       /* its clock runs faster by so much */
	char name[8];
	struct client_settings settings;
	struct quorum quorum;
	struct party parties[WORLD_PARTIES];
	struct link links[WORLD_MASTERS];
	struct attempt *closed;
	unsigned failed_count;
	struct failed_send failed[64];
};

struct world {
	int64_t now_us, zero_us;
	unsigned count; /* masters */
	struct model_master masters[WORLD_MASTERS];
	bool stopped[WORLD_MASTERS]; /* SIGSTOP */
	bool down[WORLD_MASTERS];    /* no process: connections are refused */
	int64_t rates_ppm[WORLD_MASTERS]; /* the masters' clocks run faster by so much */
	int64_t reconnect_us;        /* after EFFECT_RECONNECT */
	struct client clients[WORLD_CLIENTS];
	unsigned client_count;
	unsigned echoes;             /* a grant is told so many times more, by chance */
	bool silent; /* no trace */
	bool plain;  /* the trace tells requests in words, not by the letters of the script */
	char *trace;
	size_t trace_length, trace_size;
	unsigned steps_at_once;
	unsigned long steps;  /* events so far */
	uint64_t fingerprint; /* of all of them: two runs that are alike have the same */
	/* Chance, if this world has any: below `below`. Decides which of several events of one moment comes first,
	 * and how long a message takes. */
	uint64_t (*draw)(void *context, uint64_t below);
	/* Called after each event, if set. */
	void (*check)(struct world *world, void *context);
	/* Called when a call has ended with a lock that was not held before in that mode. */
	void (*granted)(struct world *world, struct party *party, void *context);
	/* Called when a master (from 0) has carried out a request. */
	void (*executed)(struct world *world, unsigned master, const struct model_call *call,
	                 const struct model_reply *reply, void *context);
	/* Called when a master (from 0), carrying out a request on `key`, hands the lock to a token that is heard of. */
	void (*handed)(struct world *world, unsigned master, const char *key, const struct model_grant *grant, void *context);
	void *context;
	const struct model_call *executing;
	int64_t executed_us[WORLD_MASTERS]; /* the moment of the last one: no server does two things at once */
};

/* A world of `count` masters that have just been installed. */
struct world *world_new(unsigned count);
/* Begin again in the same memory. */
void world_reset(struct world *world, unsigned count);
void world_free(struct world *world);

/* A ready world: the masters were initialised by an operator, clients a, b ... are connected, zero is now. */
struct world *world_ready(unsigned count, unsigned clients);

/* Without `settings`: ttl 1 s, node_timeout 50 ms, quorum_timeout 5 s. Not connected yet. */
struct client *world_client(struct world *world, const struct client_settings *settings);
/* The operator's word that all masters are new. */
void world_init_masters(struct world *world, const struct client *client);
/* A party on `key`; "db" if NULL. */
struct party *world_party(struct client *client, const char *key);

/* Calls of a party; the outcome is in the trace and in the party. */
void party_lock(struct party *party, enum mode mode, int64_t timeout_us);
void party_unlock(struct party *party);
void party_verify(struct party *party);
/* What travels with its lock: `text`, NULL for nothing. Also while another call is under way, if no exclusive lock is
 * held then. */
void party_set_data(struct party *party, const char *text);
void party_cancel(struct party *party, int error);
/* Close its descriptor. */
void party_close(struct party *party);
bool party_holds(const struct party *party, enum mode mode);
/* The token of its attempt under way or of its lock. */
const char *party_token(const struct party *party);

/* The connection for grants ends; it is made anew after a while. */
void world_unsubscribe(struct client *client, unsigned master);

/* A process of its own takes the place of one that has vanished. Not connected yet. */
void client_restart(struct client *client);
/* What its clock shows. */
int64_t client_now_us(const struct client *client);

/* The process is killed: its connections end, nothing is given back. */
void client_vanish(struct client *client);

/* Time. */
void world_run(struct world *world, int64_t us);
void world_run_until_done(struct world *world, struct party *party);
bool world_step(struct world *world, int64_t until_us);
/* Zero of the trace is now, and the trace is empty. */
void world_zero(struct world *world);

/* Links and masters. */
/* NULL: the master is not in its list. */
struct link *world_link(struct client *client, unsigned master);
void world_connect(struct client *client, unsigned master);
void world_connect_all(struct client *client);
/* Masters that are not in the client's list are none of its business: nothing happens. */
/* The connection could not be made. */
void world_refuse(struct client *client, unsigned master);
/* It ends. Requests that were not executed are lost, or kept to be delivered late. */
void world_break(struct client *client, unsigned master, bool keep_late);
/* What was kept is executed now. */
void world_deliver_late(struct client *client, unsigned master);
void world_hold(struct client *client, unsigned master);
void world_let(struct client *client, unsigned master);
/* Every connection to the master ends. */
void world_break_master(struct world *world, unsigned master);
void world_connect_master(struct world *world, unsigned master);
void world_stop(struct world *world, unsigned master);
void world_continue(struct world *world, unsigned master);
struct model_master *world_master(struct world *world, unsigned master);
/* What model_...() wants as the world's time, for a master numbered from 0. */
int64_t master_now_us(const struct world *world, unsigned index);

/* Masters that carry a value at `key`. */
unsigned world_carriers(struct world *world, const char *key);
/* Of the masters that may vote and name the party as the exclusive holder, those that have of its data this version or a later
 * one; and those that have not. */
unsigned world_loaded(struct world *world, const struct party *party, uint64_t version);
unsigned world_lacking(struct world *world, const struct party *party, uint64_t version);
/* Masters that have a hash for what travels with a lock. */
unsigned world_cargoes(struct world *world, const char *key);
/* Closed attempts that the client still keeps. */
unsigned client_owed(const struct client *client);

/* Whether the trace since the last look reads so; else both are printed. Empties it. */
bool world_said(struct world *world, const char *expected);
/* Empties it. */
void world_hush(struct world *world);
/* A line of the caller's own. */
__attribute__((format(printf, 2, 3))) void world_tell(struct world *world, const char *format, ...);
/* If set, it is told what makes the world impossible, and must not return; else that ends the program. */
extern void (*world_gave_up)(const char *what);
int64_t world_ms(const struct world *world);

#endif
