/*
 * node_connect.c - from a configured server to a connected socket.
 *
 * Owns: looking up the name, trying its addresses in turn, the socket and its
 * options, the beginning of TLS, and the closing of all that.
 * Must never: block (no getaddrinfo() of a name, no blocking connect), start a
 * thread, or leave a descriptor without close-on-exec.
 *
 * How it works. An attempt looks the name up (numbers and unix sockets need
 * none), then connects to one address after the other. Each address gets an
 * equal share of the time that is left, so one that swallows packets does not
 * hide the next. The resolver is made anew for each attempt: it sees a changed
 * resolv.conf, and what it had open is closed with it.
 */
#include "node_internal.h"
#include "debug.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef HAVE_HIREDIS_SSL
#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

#define RESOLVER_TRY_MS 300 /* how long one name server may take at the first try */
#define RESOLVER_TRIES 3

static const char *error_text(int error, char *buffer, size_t size)
{
	return strerror_r(error, buffer, size);
}

/* --- names ------------------------------------------------------------------------ */

static void add_address(struct node *node, const struct sockaddr *address, socklen_t length)
{
	struct node_address *entry = &node->addresses[node->address_count];
	in_port_t port = htons(node->server->port);

	if (node->address_count == NODE_ADDRESSES_MAX || length > sizeof(entry->address))
		return;
	if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
		return;
	memset(entry, 0, sizeof(*entry));
	memcpy(&entry->address, address, length);
	entry->length = length;
	if (address->sa_family == AF_INET)
		((struct sockaddr_in *)&entry->address)->sin_port = port;
	else
		((struct sockaddr_in6 *)&entry->address)->sin6_port = port;
	node->address_count++;
}

/* Whether the host is a number. AI_NUMERICHOST promises that nobody is asked. */
static bool take_number(struct node *node)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list;

	if (getaddrinfo(node->server->host, NULL, &hints, &list) != 0)
		return false;
	for (const struct addrinfo *entry = list; entry != NULL; entry = entry->ai_next)
		add_address(node, entry->ai_addr, entry->ai_addrlen);
	freeaddrinfo(list);
	return node->address_count > 0;
}

static bool take_path(struct node *node)
{
	struct sockaddr_un *address = (struct sockaddr_un *)&node->addresses[0].address;
	size_t length = strlen(node->server->path);

	if (length >= sizeof(address->sun_path))
		return false;
	memset(&node->addresses[0], 0, sizeof(node->addresses[0]));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, node->server->path, length + 1);
	node->addresses[0].length = (socklen_t)sizeof(*address);
	node->address_count = 1;
	return true;
}

/* The resolver tells what it wants watched. What has been told is kept for
 * node_abandon(), which cannot ask it. If the owner cannot watch, the time-out ends it. */
static void resolver_watches(void *context, ares_socket_t fd, int readable, int writable)
{
	struct node *node = context;
	uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
	unsigned i = 0;

	while (i < node->resolver_fd_count && node->resolver_fds[i] != fd)
		i++;
	if (events == 0 && i < node->resolver_fd_count)
		node->resolver_fds[i] = node->resolver_fds[--node->resolver_fd_count];
	else if (events != 0 && i == node->resolver_fd_count && i < NODE_RESOLVER_FDS_MAX)
		node->resolver_fds[node->resolver_fd_count++] = fd;
	node->owner.watch(node->owner.context, node, fd, events);
}

/* Runs inside the resolver, which may not be destroyed here: only takes notes. */
static void resolver_answers(void *context, int status, int timeouts, struct ares_addrinfo *list)
{
	struct node *node = context;

	(void)timeouts;
	if (status != ARES_EDESTRUCTION) {
		node->resolved = true;
		node->resolver_status = status;
		for (const struct ares_addrinfo_node *entry = list != NULL ? list->nodes : NULL; entry != NULL;
		     entry = entry->ai_next)
			add_address(node, entry->ai_addr, (socklen_t)entry->ai_addrlen);
	}
	if (list != NULL)
		ares_freeaddrinfo(list);
}

static void resolver_close(struct node *node)
{
	ares_channel resolver = node->resolver;

	node->resolver = NULL;
	if (resolver != NULL)
		ares_destroy(resolver);
	node->resolver_fd_count = 0;
}

static void connect_first(struct node *node);

static void resolver_done(struct node *node)
{
	int status = node->resolver_status;

	if (!node->resolved)
		return;
	resolver_close(node);
	if (node->address_count > 0)
		connect_first(node);
	else if (status == ARES_SUCCESS || status == ARES_ENODATA)
		node_end(node, node_say(node, "the name \"%.80s\" has no address", node->server->host));
	else
		node_end(node, node_say(node, "the name \"%.80s\" could not be looked up: %s", node->server->host,
		                        ares_strerror(status)));
}

static void resolve(struct node *node)
{
	struct ares_options options = {.timeout = RESOLVER_TRY_MS,
	                               .tries = RESOLVER_TRIES,
	                               .sock_state_cb = resolver_watches,
	                               .sock_state_cb_data = node};
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	int status;

	node->phase = NODE_RESOLVING;
	node->resolved = false;
	status = ares_init_options(&node->resolver, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS) {
		node->resolver = NULL;
		node_end(node, node_say(node, "names cannot be looked up: %s", ares_strerror(status)));
		return;
	}
	ares_getaddrinfo(node->resolver, node->server->host, NULL, &hints, resolver_answers, node);
	resolver_done(node);
}

void node_resolver_ready(struct node *node, int fd, uint32_t events)
{
	bool readable = (events & ~(uint32_t)EPOLLOUT) != 0, writable = (events & EPOLLOUT) != 0;

	ares_process_fd(node->resolver, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
	resolver_done(node);
}

void node_resolver_tick(struct node *node)
{
	if (node->now_us >= node->deadline_us) {
		node_end(node, node_say(node, "the name \"%.80s\" could not be looked up within %lld ms", node->server->host,
		                        (long long)(node_attempt_us(node) / 1000)));
		return;
	}
	ares_process_fd(node->resolver, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolver_done(node);
}

int64_t node_resolver_next_us(const struct node *node)
{
	struct timeval buffer, *wait = ares_timeout(node->resolver, NULL, &buffer);
	int64_t next_us;

	if (wait == NULL)
		return node->deadline_us;
	/* Rounded up: waking a moment early would only mean to wake again. */
	next_us = node->now_us + (int64_t)wait->tv_sec * 1000000 + (int64_t)wait->tv_usec + 1000;
	return next_us < node->deadline_us ? next_us : node->deadline_us;
}

/* --- TLS -------------------------------------------------------------------------- */

#ifdef HAVE_HIREDIS_SSL

/* The first error is the cause; those after it tell who stumbled over it. */
static const char *tls_words(char *buffer, size_t size)
{
	unsigned long error = ERR_peek_error();
	const char *words = error != 0 ? ERR_reason_error_string(error) : NULL;

	if (error != 0 && ERR_SYSTEM_ERROR(error))
		return error_text(ERR_GET_REASON(error), buffer, size);
	return words != NULL ? words : "unknown error";
}

/* Why `tls` was not agreed on. */
static const char *tls_say_problem(struct node *node, const SSL *tls)
{
	long result = SSL_get_verify_result(tls);
	char buffer[128];

	if (result != X509_V_OK)
		return node_say(node, "TLS: the server's certificate was not accepted: %s",
		                X509_verify_cert_error_string(result));
	return node_say(node, "TLS could not be agreed on: %.120s",
	                ERR_peek_error() != 0 ? tls_words(buffer, sizeof(buffer)) : node->context->errstr);
}

static bool tls_load(const struct node *node, SSL_CTX *context, const char **ret_file)
{
	const struct config *config = node->config;

	*ret_file = config->tls_ca != NULL ? config->tls_ca : "the system's CA certificates";
	if (config->tls_ca != NULL ? SSL_CTX_load_verify_locations(context, config->tls_ca, NULL) != 1
	                           : SSL_CTX_set_default_verify_paths(context) != 1)
		return false;
	*ret_file = config->tls_cert;
	if (config->tls_cert != NULL && SSL_CTX_use_certificate_chain_file(context, config->tls_cert) != 1)
		return false;
	*ret_file = config->tls_key;
	return config->tls_key == NULL || SSL_CTX_use_PrivateKey_file(context, config->tls_key, SSL_FILETYPE_PEM) == 1;
}

/* The certificates are read once and kept, until a connection fails over TLS. */
static SSL_CTX *tls_context(struct node *node)
{
	SSL_CTX *context = node->tls_context;
	char buffer[128];
	const char *file;

	if (context != NULL)
		return context;
	context = SSL_CTX_new(TLS_client_method());
	if (context == NULL) {
		node_say(node, "TLS cannot be used: %s", tls_words(buffer, sizeof(buffer)));
		return NULL;
	}
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (!tls_load(node, context, &file)) {
		node_say(node, "TLS: %.120s cannot be used: %s", file, tls_words(buffer, sizeof(buffer)));
		SSL_CTX_free(context);
		return NULL;
	}
	node->tls_context = context;
	return context;
}

/* The certificate must be for the host as configured, name or number. */
static bool tls_expect_host(SSL *tls, const char *host)
{
	struct in6_addr number;

	if (inet_pton(AF_INET, host, &number) == 1 || inet_pton(AF_INET6, host, &number) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1;
	return SSL_set_tlsext_host_name(tls, host) == 1 && SSL_set1_host(tls, host) == 1;
}

static bool tls_start(struct node *node)
{
	SSL_CTX *context;
	SSL *tls;

	ERR_clear_error();
	context = tls_context(node);
	if (context == NULL)
		return false;
	tls = SSL_new(context);
	if (tls == NULL || (node->server->kind == SERVER_TCP && !tls_expect_host(tls, node->server->host))) {
		node_say(node, "TLS cannot be used: out of memory");
		SSL_free(tls);
		return false;
	}
	if (redisInitiateSSL(node->context, tls) != REDIS_OK) {
		tls_say_problem(node, tls);
		SSL_free(tls);
		node_tls_free(node);
		return false;
	}
	node->tls = tls;
	return true;
}

bool node_tls_wants_read(const struct node *node)
{
	return node->tls != NULL && SSL_want_read((const SSL *)node->tls);
}

const char *node_tls_problem(struct node *node)
{
	if (node->tls == NULL || SSL_is_init_finished(node->tls))
		return NULL;
	node_tls_free(node); /* the files may be put right before the next attempt */
	return tls_say_problem(node, node->tls);
}

void node_tls_clear_errors(const struct node *node)
{
	if (node->tls != NULL)
		ERR_clear_error();
}

void node_tls_free(struct node *node)
{
	SSL_CTX_free(node->tls_context);
	node->tls_context = NULL;
}

#else

static bool tls_start(struct node *node)
{
	node_say(node, "is configured with TLS, and this build has none (it needs hiredis_ssl)");
	return false;
}

bool node_tls_wants_read(const struct node *node)
{
	(void)node;
	return false;
}

const char *node_tls_problem(struct node *node)
{
	(void)node;
	return NULL;
}

void node_tls_clear_errors(const struct node *node)
{
	(void)node;
}

void node_tls_free(struct node *node)
{
	(void)node;
}

#endif

/* --- the socket ------------------------------------------------------------------- */

static void socket_options(int fd, int family)
{
	int on = 1, idle_s = 15, interval_s = 5, count = 3;
	unsigned unacknowledged_ms = 30000;

	if (family == AF_UNIX)
		return;
	/* None of these is worth refusing a connection for. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof(unacknowledged_ms));
}

/* Never one of the standard descriptors, also where a program has closed them:
 * what it prints would go to the master. */
static int new_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), moved;

	if (fd < 0)
		return -errno;
	if (fd <= STDERR_FILENO) {
		moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (moved < 0)
			moved = -errno;
		close(fd);
		fd = moved;
	}
	if (fd >= 0)
		socket_options(fd, family);
	return fd;
}

static void socket_close(struct node *node)
{
	if (node->fd < 0)
		return;
	(void)node_watch(node, 0);
	close(node->fd);
	node->fd = -1;
}

/*
 * Whether the socket is connected: 0, -EINPROGRESS, or why not. SO_ERROR alone
 * is no proof: it is 0 as well while connect(2) is under way, and an event may
 * have been meant for an earlier socket of the same number.
 */
static int socket_state(int fd)
{
	struct sockaddr_storage peer, self;
	socklen_t length = sizeof(int), self_length = sizeof(self);
	int error = 0;

	memset(&peer, 0, sizeof(peer));
	memset(&self, 0, sizeof(self));
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	if (error != 0)
		return -error;
	length = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0)
		return errno == ENOTCONN ? -EINPROGRESS : -errno;
	/* TCP can connect a socket to itself where nobody listens on a local port. */
	if (peer.ss_family != AF_UNIX && getsockname(fd, (struct sockaddr *)&self, &self_length) == 0 &&
	    self_length == length && memcmp(&self, &peer, length) == 0)
		return -ECONNREFUSED;
	return 0;
}

/* Hands the connected socket to hiredis. */
static bool context_start(struct node *node)
{
	node->context = redisConnectFd(node->fd);
	if (node->context == NULL || node->context->err != 0) {
		node_say(node, "out of memory");
		return false;
	}
	node->context->flags &= ~REDIS_BLOCK;
	value_arena_attach(&node->arena, node->context->reader);
	return !node->server->tls || tls_start(node);
}

static void connected(struct node *node)
{
	node->phase = NODE_ASKING;
	node->wake_us = node->deadline_us;
	if (context_start(node))
		node_established(node);
	else
		node_end(node, node->sentence);
}

static int begin_connect(struct node *node, const struct node_address *address)
{
	int fd = new_socket(address->address.ss_family);

	if (fd < 0)
		return fd;
	node->fd = fd;
	if (connect(fd, (const struct sockaddr *)&address->address, address->length) == 0)
		return socket_state(fd);
	return -errno;
}

/* All addresses were tried, and the last one failed with `error`. */
static void connect_failed(struct node *node, int error)
{
	char buffer[128];
	const char *text = error_text(-error, buffer, sizeof(buffer));
	bool is_unix = node->server->kind == SERVER_UNIX;

	if (is_unix && error == -EAGAIN)
		node_say(node, "could not connect: too many connections wait there to be accepted");
	else if (error == -ETIMEDOUT && node->now_us >= node->deadline_us)
		node_say(node, "could not connect within %lld ms", (long long)(node_attempt_us(node) / 1000));
	else if (node->address_count > 1)
		node_say(node, "could not connect to any of its %u addresses: %s", node->address_count, text);
	else
		node_say(node, "could not connect: %s", text);
	node_end(node, node->sentence);
}

/* Tries the addresses that are left until one connects, or needs time to. */
static void connect_next(struct node *node, int error)
{
	while (node->address_tried < node->address_count) {
		unsigned left = node->address_count - node->address_tried;
		unsigned turn = (node->address_turn + node->address_tried++) % node->address_count;

		node->phase = NODE_CONNECTING;
		node->wake_us = node->now_us + (node->deadline_us - node->now_us) / left;
		error = begin_connect(node, &node->addresses[turn]);
		if (error == 0) {
			connected(node);
			return;
		}
		if (error == -EINPROGRESS) {
			error = node_watch(node, EPOLLOUT);
			if (error == 0)
				return;
		}
		socket_close(node);
	}
	connect_failed(node, error);
}

static void connect_first(struct node *node)
{
	node->address_tried = 0;
	connect_next(node, -EHOSTUNREACH);
}

void node_connect_ready(struct node *node)
{
	int error = socket_state(node->fd);

	if (error == -EINPROGRESS)
		return;
	if (error == 0) {
		connected(node);
		return;
	}
	socket_close(node);
	connect_next(node, error);
}

void node_connect_late(struct node *node)
{
	socket_close(node);
	connect_next(node, -ETIMEDOUT);
}

/* --- an attempt ------------------------------------------------------------------- */

void node_attempt(struct node *node)
{
	node->deadline_us = node->now_us + node_attempt_us(node);
	node->address_count = 0;
	debug_log(DEBUG_NODE, "%s: connecting", node->server->address);
	if (node->server->kind == SERVER_UNIX) {
		if (take_path(node))
			connect_first(node);
		else
			node_end(node, node_say(node, "the path of its socket is too long (at most %zu bytes)",
			                        sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1));
	} else if (take_number(node)) {
		connect_first(node);
	} else {
		resolve(node);
	}
}

void node_connect_close(struct node *node)
{
	/* The order matters: the owner forgets the descriptor before it is closed, and
	 * hiredis must not close it as well. */
	if (node->context != NULL) {
		node_tls_clear_errors(node);
		redisFreeKeepFd(node->context);
	}
	node->context = NULL;
	node->tls = NULL;
	socket_close(node);
	resolver_close(node);
	value_arena_reset(&node->arena);
}
