/*
 * node_internal.h - what the parts of one connection share.
 *
 * node.c owns the connection's life and the queue of commands, node_connect.c
 * the way to a connected socket (names, addresses, TLS), node_facts.c what is
 * asked at the start and what the answers mean, value.c the decoding of
 * replies. Nothing else includes this file.
 *
 * Rules for all of them:
 *
 *  1. node_end() is the only way out of a phase that has failed. It frees the
 *     reader, so whoever calls it returns at once and touches nothing of the
 *     connection afterwards.
 *  2. node_end() is never called from below a callback: what a callback asks
 *     for (node_reconnect(), a failed write) is remembered, and carried out by
 *     the reading loop that called it.
 *  3. No sentence and no trace contains a password, or words of a server that
 *     may repeat one. See node_quote(), node_words().
 *  4. No memory is asked for by a length that the peer has only claimed.
 */
#ifndef DLOCK_NODE_INTERNAL_H
#define DLOCK_NODE_INTERNAL_H

#ifdef HAVE_CONFIG_H
#include "build.h"
#endif

#include "config.h"
#include "node.h"

#include <ares.h>
#include <hiredis/hiredis.h>
#include <sys/socket.h>

/* Replies larger than this end the connection: the bytes not yet understood
 * and the values made of them are bounded by it each. */
#define NODE_REPLY_BYTES_MAX ((size_t)31 << 20)

#define NODE_LINE_MAX 65536        /* a simple string, an error or a length may not be longer */
#define NODE_ADDRESSES_MAX 16      /* addresses of one name that are tried */
#define NODE_RESOLVER_FDS_MAX 32   /* sockets of the resolver that are closed after a fork */
#define NODE_QUESTIONS_MAX 16      /* questions of one handshake */
#define NODE_OUTSTANDING_MAX 65536 /* commands without an answer */
#define NODE_SENTENCE_SIZE 256

/* Memory for the values of one reply, given back as a whole. */
struct value_chunk;
struct value_arena {
	struct value_chunk *chunks; /* newest first; the last one is kept for good */
	size_t total;               /* bytes handed out since the last reset */
	const char *problem;        /* why the last value could not be made; NULL: out of memory */
};

void value_arena_attach(struct value_arena *arena, redisReader *reader);
void value_arena_reset(struct value_arena *arena); /* forgets the values, keeps one chunk */
void value_arena_clear(struct value_arena *arena);
bool value_is_push(const struct value *value);
const char *value_error(const struct value *value); /* the words of an error reply; NULL: it is none */

enum node_phase {
	NODE_IDLE,       /* before node_start() */
	NODE_WAITING,    /* back-off, until wake_us */
	NODE_RESOLVING,  /* the name is being looked up, until deadline_us */
	NODE_CONNECTING, /* connect(2) is under way, until wake_us */
	NODE_ASKING,     /* connected; TLS and the questions, until deadline_us */
	NODE_CONNECTED,  /* commands are taken */
};

enum node_question {
	QUESTION_AUTH,
	QUESTION_SELECT,
	QUESTION_CLIENT_ID,
	QUESTION_INFO,
	QUESTION_APPENDONLY,
	QUESTION_APPENDFSYNC,
	QUESTION_REWRITE,
	QUESTION_SAVE,
	QUESTION_SCRIPT,
	QUESTION_KILL,
	QUESTION_SUBSCRIBE,
};

struct node_address {
	struct sockaddr_storage address;
	socklen_t length;
};

/* A command whose answer is awaited. */
struct node_command {
	void *tag;
	int64_t sent_us;
};

struct node {
	const struct config *config;
	const struct server *server;
	struct node_owner owner;
	const char *channel; /* of a listener; else NULL */
	unsigned index;
	uint64_t random;

	enum node_phase phase;
	int64_t now_us;      /* as last given by the owner */
	int64_t wake_us;     /* see enum node_phase */
	int64_t deadline_us; /* of the whole attempt */
	int64_t backoff_us;  /* the next one, before jitter */
	int64_t latency_us;
	bool tried;          /* see node_has_tried() */
	bool refused;        /* see node_is_refused() */
	bool refusal;        /* this attempt ends so */

	/* What a callback asked for; rule 2. */
	unsigned callbacks; /* how many are running */
	bool doomed;
	char doom[NODE_SENTENCE_SIZE];

	char sentence[NODE_SENTENCE_SIZE]; /* scratch */
	char problem[NODE_SENTENCE_SIZE];

	/* The way to a socket. */
	ares_channel resolver;
	bool resolved;
	int resolver_status;
	int resolver_fds[NODE_RESOLVER_FDS_MAX];
	unsigned resolver_fd_count;
	struct node_address addresses[NODE_ADDRESSES_MAX];
	unsigned address_count;
	unsigned address_tried; /* addresses of this attempt that were tried */
	unsigned address_turn;  /* where the next attempt begins, so that a dumb address does not hide a good one */

	/* The socket. */
	int fd;
	uint32_t watched;
	int write_error; /* errno of a failed write; 0: none */
	bool blocked;    /* the socket did not take everything */
	redisContext *context;
	void *tls;         /* the SSL object; owned by `context` once TLS has begun */
	void *tls_context; /* SSL_CTX; kept from connection to connection */
	struct value_arena arena;

	/* Bytes to write. */
	char *out;
	size_t out_start, out_end, out_size;
	size_t tls_unsent; /* handed to hiredis, which encrypts */

	/* Commands without an answer: a ring, its size a power of two. */
	struct node_command *commands;
	unsigned command_first, command_count, command_size;

	/* The handshake. */
	enum node_question questions[NODE_QUESTIONS_MAX];
	unsigned asked, answered;
	char head[96]; /* how the reply that is being read begins; to quote from */
	size_t head_length;
	struct node_facts facts;
	char appendonly[16], appendfsync[16], rewrite[16];
	bool save_known, save_set, aof_enabled, rdb_saved;

	/* Which connection must be killed before this one is used. */
	int64_t client_id;
	bool previous_exists;
	int64_t previous_id; /* 0: the master did not tell it */
	char previous_run_id[64];
};

/* node.c */
void node_end(struct node *node, const char *why);
int node_queue(struct node *node, int argc, const char *const *argv, const size_t *lengths);
void node_established(struct node *node);
int node_watch(struct node *node, uint32_t events);
const char *node_say(struct node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t node_attempt_us(const struct node *node);

/* node_connect.c */
void node_attempt(struct node *node);
void node_resolver_ready(struct node *node, int fd, uint32_t events);
void node_resolver_tick(struct node *node);
int64_t node_resolver_next_us(const struct node *node);
void node_connect_ready(struct node *node);
void node_connect_late(struct node *node);
void node_connect_close(struct node *node);
void node_tls_free(struct node *node);
bool node_tls_wants_read(const struct node *node);   /* nothing can be written before something was read */
const char *node_tls_problem(struct node *node);     /* why the TLS handshake failed; NULL: it has not */
void node_tls_clear_errors(const struct node *node);

/* node_facts.c */
enum node_handshake { HANDSHAKE_GOES_ON, HANDSHAKE_DONE, HANDSHAKE_FAILED };
int node_ask(struct node *node);
/* The answer to the oldest open question. If it failed, the reason is in node->sentence. */
enum node_handshake node_answer(struct node *node, const struct value *value);
/* What was published to a listener's channel; NULL: it is something else. */
const char *node_message(const struct node *node, const struct value *value, size_t *ret_length);
const char *node_not_redis(struct node *node); /* a sentence that quotes what came */
/* "text", printable, at most 60 bytes of it; without text that may repeat the password. */
void node_quote(const struct node *node, const char *bytes, size_t length, char *ret, size_t size);

#endif
