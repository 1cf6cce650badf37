/*
 * node.h - one connection to one master.
 *
 * Owns: resolving, connecting, TLS, AUTH, SELECT, the handshake's questions,
 * back-off, the order of commands and replies on the connection.
 * Must never: decide whether a master may vote (quorum does), read a clock
 * (time comes in as `now_us`, CLOCK_BOOTTIME), block, or start a thread.
 *
 * With node.c and script.c this is the only place that knows hiredis.
 *
 * How it works. node_start() begins connecting; node_ready() and node_tick()
 * drive it. After connecting it asks, pipelined in one write: AUTH, SELECT,
 * CLIENT ID, INFO, CONFIG GET of the durability settings, SCRIPT LOAD. If the
 * server is still the one of the previous connection, that one is ended there
 * with CLIENT KILL, so that late writes die with it. When the answers are in it
 * calls `connected` with the facts; commands are accepted from then on. When the
 * connection ends, every command without an answer is reported by `reply` with
 * NODE_BROKEN, oldest first; then, and after every attempt that failed before
 * `connected`, `disconnected` is called once, and a new connection is tried
 * after a back-off (20 ms doubling to 1 s, +-25 %, from the jitter in
 * `random`). Callbacks may call node_send() and node_reconnect() (which is
 * carried out after the callback), never node_free().
 *
 * A listener (node_new_listener()) is the same but for what it says: AUTH and
 * SUBSCRIBE. It is connected when the subscription is confirmed, hands on each
 * message, takes no commands, and ends at anything else. Where SUBSCRIBE is
 * refused, the back-off is BACKOFF_REFUSED_US: only a person can mend that.
 */
#ifndef DLOCK_NODE_H
#define DLOCK_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct server;
struct node;

/* What a master said of itself. Strings live as long as the connection. */
struct node_facts {
	bool info_known;        /* INFO was permitted and understood */
	bool is_redis;          /* false: it answered, but not as a Redis server */
	bool is_master;         /* role:master */
	bool loading;
	bool was_replica;       /* second_repl_offset is not -1: promoted since it started */
	bool evicts;            /* maxmemory > 0 and a policy other than noeviction */
	bool always_known;      /* CONFIG GET was permitted */
	bool always;            /* appendonly yes, appendfsync always, no-appendfsync-on-rewrite no */
	bool kill_permitted;    /* CLIENT KILL of the previous connection worked, or there was none to kill */
	unsigned version;       /* 70015 for 7.0.15 (of Valkey its own number) */
	unsigned connected_replicas;
	char version_text[48];  /* "7.0.15", "8.1.1 (valkey)" */
	char role[16];
	char run_id[64];
	char replid[64];        /* master_replid */
	char persistence[32];   /* "always", "everysec", "no-fsync", "rdb", "none" or "" */
	char eviction[32];      /* maxmemory_policy */
	char detail[160];       /* why a question was refused, in words; "" */
};

enum node_answer {
	NODE_REPLY,  /* the master answered; reply is set */
	NODE_ERROR,  /* the master answered with an error; text is set */
	NODE_BROKEN, /* the connection ended first: nobody knows whether it was carried out */
};

/* One element of a reply: an integer, a string, nil or an array of such. Decoded from
 * hiredis so that nothing above this layer knows it. Lives during the callback. */
enum value_kind { VALUE_NIL, VALUE_INTEGER, VALUE_STRING, VALUE_ARRAY, VALUE_OTHER };
struct value; /* opaque; read with the functions below */
enum value_kind value_kind(const struct value *value);
int64_t value_integer(const struct value *value, int64_t otherwise); /* integers, and strings that are a decimal number */
const char *value_string(const struct value *value, size_t *ret_length); /* NULL if it is none */
size_t value_count(const struct value *value);                          /* elements of an array; 0 if it is none */
const struct value *value_at(const struct value *value, size_t index);  /* NULL past the end */

struct node_owner {
	void *context;
	/* Watch `fd` for `events` (EPOLLIN, EPOLLOUT); 0 events: forget it. `fd` may differ
	 * from call to call (name resolution, then the socket). Returns 0 or -errno. */
	int (*watch)(void *context, struct node *node, int fd, uint32_t events);
	void (*connected)(void *context, struct node *node, const struct node_facts *facts);
	/* `why` is a sentence for people, without the address. */
	void (*disconnected)(void *context, struct node *node, const char *why);
	/* The outcome of one node_send(). `tag` as given there. */
	void (*reply)(void *context, struct node *node, void *tag, enum node_answer answer, const struct value *value,
	              const char *text, int64_t sent_us);
	/* Listeners only: what was published to its channel; NUL-terminated, but may hold others. */
	void (*message)(void *context, struct node *node, const char *payload, size_t length);
};

/* A node for `server`; both `config` and `server` must outlive it. NULL: out of memory. `index` is
 * its place in the configuration. `random` seeds the jitter. */
struct node *node_new(const struct config *config, const struct server *server, unsigned index,
                      const struct node_owner *owner, uint64_t random);
/* The same for a listener to `channel`, which must outlive it as well. */
struct node *node_new_listener(const struct config *config, const struct server *server, unsigned index,
                               const struct node_owner *owner, uint64_t random, const char *channel);
void node_free(struct node *node); /* closes; reports nothing more. NULL is fine */

void node_start(struct node *node, int64_t now_us);

/* `fd` is ready for `events`. */
void node_ready(struct node *node, int fd, uint32_t events, int64_t now_us);

/* When node_tick() wants to be called at the latest; INT64_MAX: never. */
int64_t node_next_us(const struct node *node);
void node_tick(struct node *node, int64_t now_us);

/*
 * Queue one command, `argc` arguments with lengths. Written at the next node_flush(), in order. 0, or -ENOTCONN
 * (not connected: nothing will be reported), -ENOMEM (likewise), -EAGAIN (more than
 * NODE_BACKLOG_MAX bytes unsent or 65536 commands unanswered: likewise).
 */
#define NODE_BACKLOG_MAX (16 << 20)
int node_send(struct node *node, int argc, const char *const *argv, const size_t *lengths, void *tag, int64_t now_us);

/* Write what is queued, as far as the socket takes it. */
void node_flush(struct node *node, int64_t now_us);

/* What the server has answered, fit to be shown: `text` itself, or a remark in place of words that repeat the password. */
const char *node_words(const struct node *node, const char *text);

/* End the connection now, as if it had broken (with `why`, which is shown), and connect again after the back-off. */
void node_reconnect(struct node *node, const char *why, int64_t now_us);

bool node_is_connected(const struct node *node); /* the handshake's questions are answered */
unsigned node_index(const struct node *node);
const struct server *node_server(const struct node *node);
const char *node_problem(const struct node *node);   /* why it is not connected, a sentence; "" if it is */
bool node_is_refused(const struct node *node);       /* a listener: because its last attempt to subscribe was refused */
bool node_has_tried(const struct node *node);        /* it is connected, or an attempt has ended */
int64_t node_oldest_sent_us(const struct node *node); /* of the commands without an answer; INT64_MAX: none */
int64_t node_latency_us(const struct node *node);     /* of the last answer; -1: none yet */

/* After fork, in the child: close descriptors, touch nothing else. Async-signal-safe. */
void node_abandon(struct node *node);

#endif
