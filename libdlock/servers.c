/*
 * servers.c - from the text of `servers` to a list of masters; see servers.h.
 *
 * How it works: servers_parse() cuts the list into items and fills one struct
 * server for each. Every refusal goes through refuse(), which is the only place
 * that shows an item, and so the only one that has to hide what may be secret.
 */
#include "build.h"

#include "servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "text.h"

#define SEPARATORS ", \t\r\n\v\f"
#define PORT_DEFAULT 6379
#define PORT_LARGEST 65535
#define DB_LARGEST 9999
#define HOST_LENGTH_MAX 253  /* of a name in DNS */
#define UNIX_LENGTH_MAX 107  /* of sun_path, less its NUL */
#define SCHEME_PLAIN "redis://"
#define SCHEME_TLS "rediss://"

/* A part of the value; not NUL-terminated. */
struct span {
	const char *text;
	size_t length;
};

/* The item in hand, and where its refusal is told. */
struct item {
	struct span all;
	unsigned number; /* its place in the list, from 1 */
	bool hidden;     /* may be a piece of a password: not shown */
	char *why;
	size_t why_size;
};

static bool starts_with(struct span span, const char *start)
{
	size_t length = strlen(start);

	return span.length >= length && strncasecmp(span.text, start, length) == 0;
}

static size_t scheme_length(struct span span)
{
	if (starts_with(span, SCHEME_TLS))
		return strlen(SCHEME_TLS);
	return starts_with(span, SCHEME_PLAIN) ? strlen(SCHEME_PLAIN) : 0;
}

static struct span skip(struct span span, size_t length)
{
	/* It never is more; gcc 14 would not believe it otherwise. */
	length = length < span.length ? length : span.length;
	return (struct span){span.text + length, span.length - length};
}

static int refuse(const struct item *item, const char *problem)
{
	const char *at = memrchr(item->all.text, '@', item->all.length);
	char quoted[TEXT_QUOTE_MAX], shown[TEXT_QUOTE_MAX];
	struct span rest = item->all;

	if (item->hidden) {
		snprintf(item->why, item->why_size, "server %u (not shown, it may be part of a password): %s",
		         item->number, problem);
		return -EINVAL;
	}
	if (at) {
		rest = skip(rest, (size_t)(at - rest.text));
		snprintf(shown, sizeof(shown), "%.*s***%.*s", (int)scheme_length(item->all), item->all.text,
		         rest.length > HOST_LENGTH_MAX ? HOST_LENGTH_MAX : (int)rest.length, rest.text);
		rest = (struct span){shown, strlen(shown)};
	}
	text_quote(quoted, rest.text, rest.length);
	snprintf(item->why, item->why_size, "%s: %s", quoted, problem);
	return -EINVAL;
}

static int parse_port(const struct item *item, struct span span, uint16_t *ret_port)
{
	int64_t port;

	if (!text_number(span.text, span.length, &port) || port < 1 || port > PORT_LARGEST)
		return refuse(item, "the port is not a number from 1 to 65535");
	*ret_port = (uint16_t)port;
	return 0;
}

static int parse_db(const struct item *item, struct span span, int *ret_db)
{
	int64_t db;

	if (!text_number(span.text, span.length, &db) || db > DB_LARGEST)
		return refuse(item, "the database is not a number from 0 to 9999");
	*ret_db = (int)db;
	return 0;
}

/* Compared with constants because isalnum() follows the locale. */
static bool is_host_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	       byte == '.' || byte == '-' || byte == '_';
}

static bool is_host_text(struct span span)
{
	for (size_t i = 0; i < span.length; i++)
		if (!is_host_byte(span.text[i]))
			return false;
	return span.length > 0 && span.length <= HOST_LENGTH_MAX;
}

/* A name whose last label is a number would be read by the resolver as an
 * odd form of IPv4 ("6379" is 0.0.24.235): surely a slip of the pen. */
static bool is_number_like(struct span span)
{
	const char *dot = memrchr(span.text, '.', span.length);
	int64_t number;

	if (dot)
		span = skip(span, (size_t)(dot + 1 - span.text));
	return span.length > 0 && (span.length > 18 ? strspn(span.text, "0123456789") >= span.length
	                                            : text_number(span.text, span.length, &number));
}

static int copy_host(struct span span, char **ret_host)
{
	char *host = strndup(span.text, span.length);

	if (!host)
		return -ENOMEM;
	for (char *p = host; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	*ret_host = host;
	return 0;
}

static int parse_name(const struct item *item, struct span span, char **ret_host)
{
	char number[INET_ADDRSTRLEN];
	struct in_addr ignored;

	if (span.length == 0)
		return refuse(item, "there is no host");
	if (!is_host_text(span))
		return refuse(item, "the host is not a name of letters, digits, '.', '-' and '_', nor a number");
	if (is_number_like(span)) {
		snprintf(number, sizeof(number), "%.*s", (int)span.length, span.text);
		if (span.length >= sizeof(number) || inet_pton(AF_INET, number, &ignored) != 1)
			return refuse(item, "the host looks like an IPv4 address but is none");
	}
	return copy_host(span, ret_host);
}

/* The address between brackets, in the one form that inet_ntop() writes, with
 * its scope ("%eth0") if there is one. */
static int parse_ipv6(const struct item *item, struct span span, char **ret_host)
{
	const char *percent = memchr(span.text, '%', span.length);
	struct span number = {span.text, percent ? (size_t)(percent - span.text) : span.length};
	struct span scope = skip(span, number.length);
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (number.length >= sizeof(text) || (percent && !is_host_text(skip(scope, 1))))
		return refuse(item, "there is no IPv6 address between the brackets");
	memcpy(text, number.text, number.length);
	text[number.length] = '\0';
	if (inet_pton(AF_INET6, text, &address) != 1)
		return refuse(item, "there is no IPv6 address between the brackets");
	inet_ntop(AF_INET6, &address, text, sizeof(text));
	if (asprintf(ret_host, "%s%.*s", text, (int)scope.length, scope.text) >= 0)
		return 0;
	*ret_host = NULL;
	return -ENOMEM;
}

static int parse_brackets(const struct item *item, struct span span, struct server *server)
{
	const char *close = memchr(span.text, ']', span.length);
	struct span rest;
	int r;

	if (!close)
		return refuse(item, "the bracket of the IPv6 address is not closed; write [v6]:port");
	rest = skip(span, (size_t)(close + 1 - span.text));
	if (rest.length > 0 && rest.text[0] != ':')
		return refuse(item, "only :port may follow the bracket of an IPv6 address");
	r = parse_ipv6(item, (struct span){span.text + 1, (size_t)(close - span.text - 1)}, &server->host);
	if (r < 0 || rest.length == 0)
		return r;
	return parse_port(item, skip(rest, 1), &server->port);
}

static int parse_host_port(const struct item *item, struct span span, struct server *server)
{
	const char *colon = memchr(span.text, ':', span.length);
	struct span port;
	int r;

	server->kind = SERVER_TCP;
	server->port = PORT_DEFAULT;
	if (span.length > 0 && span.text[0] == '[')
		return parse_brackets(item, span, server);
	if (!colon)
		return parse_name(item, span, &server->host);
	port = skip(span, (size_t)(colon + 1 - span.text));
	if (memchr(port.text, ':', port.length))
		return refuse(item, "an IPv6 address must stand in brackets, as in [::1]:6379");
	r = parse_name(item, (struct span){span.text, (size_t)(colon - span.text)}, &server->host);
	return r < 0 ? r : parse_port(item, port, &server->port);
}

/* Slashes in a row count as one, so that a socket has one address only. */
static int copy_path(const struct item *item, struct span span, char **ret_path)
{
	char path[UNIX_LENGTH_MAX + 1];
	size_t length = 0;

	for (size_t i = 0; i < span.length; i++) {
		if (span.text[i] == '/' && length > 0 && path[length - 1] == '/')
			continue;
		if (length == UNIX_LENGTH_MAX)
			return refuse(item, "the path of a unix socket has at most 107 bytes");
		path[length++] = span.text[i];
	}
	if (length < 2 || path[0] != '/')
		return refuse(item, "the path of a unix socket must be absolute, as in unix:/run/redis.sock");
	path[length] = '\0';
	*ret_path = strdup(path);
	return *ret_path ? 0 : -ENOMEM;
}

static int parse_unix(const struct item *item, struct span span, struct server *server)
{
	const char *query = memchr(span.text, '?', span.length);
	struct span path = {span.text, query ? (size_t)(query - span.text) : span.length};
	struct span rest = skip(span, path.length);
	int r;

	server->kind = SERVER_UNIX;
	r = copy_path(item, path, &server->path);
	if (r < 0 || !query)
		return r;
	if (!starts_with(rest, "?db="))
		return refuse(item, "only ?db=NUMBER may follow the path of a unix socket");
	return parse_db(item, skip(rest, strlen("?db=")), &server->db);
}

static int hex_value(char digit)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *found = memchr(digits, digit, sizeof(digits) - 1);

	return found ? (int)(found - digits) % 16 : -1;
}

/* An empty text is none: *ret_text stays NULL. */
static int decode(const struct item *item, struct span span, char **ret_text)
{
	char *out;

	if (span.length == 0)
		return 0;
	*ret_text = out = calloc(1, span.length + 1); /* the server owns it from here, also on failure */
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < span.length; i++) {
		int high, low;

		if (span.text[i] != '%') {
			*out++ = span.text[i];
			continue;
		}
		high = i + 2 < span.length ? hex_value(span.text[i + 1]) : -1;
		low = i + 2 < span.length ? hex_value(span.text[i + 2]) : -1;
		if (high < 0 || low < 0 || (high == 0 && low == 0))
			return refuse(item, "user or password hold a '%' that is not followed by two hex digits (not 00)");
		*out++ = (char)(high * 16 + low);
		i += 2;
	}
	return 0;
}

static int parse_credentials(const struct item *item, struct span span, struct server *server)
{
	const char *colon = memchr(span.text, ':', span.length);
	struct span user = {span.text, colon ? (size_t)(colon - span.text) : span.length};
	int r = decode(item, user, &server->user);

	if (r < 0 || !colon)
		return r;
	return decode(item, skip(span, user.length + 1), &server->password);
}

static int parse_url(const struct item *item, struct server *server)
{
	struct span span = skip(item->all, scheme_length(item->all));
	const char *at = memrchr(span.text, '@', span.length);
	const char *slash;
	int r;

	server->tls = starts_with(item->all, SCHEME_TLS);
#ifndef HAVE_HIREDIS_SSL
	if (server->tls)
		return refuse(item, "this libdlock was built without TLS (hiredis_ssl was missing); use redis:// or build it with TLS");
#endif
	if (at) {
		r = parse_credentials(item, (struct span){span.text, (size_t)(at - span.text)}, server);
		if (r < 0)
			return r;
		span = skip(span, (size_t)(at + 1 - span.text));
	}
	if (memchr(span.text, '?', span.length) || memchr(span.text, '#', span.length))
		return refuse(item, "only redis://user:password@host:port/db is accepted, without '?' and '#'");
	slash = memchr(span.text, '/', span.length);
	if (slash && slash + 1 < span.text + span.length) {
		r = parse_db(item, skip(span, (size_t)(slash + 1 - span.text)), &server->db);
		if (r < 0)
			return r;
	}
	return parse_host_port(item, (struct span){span.text, slash ? (size_t)(slash - span.text) : span.length}, server);
}

/* The forms without a scheme, and what people write in its place. */
static int parse_bare(const struct item *item, struct server *server)
{
	struct span all = item->all;

	if (memmem(all.text, all.length, "://", 3))
		return refuse(item, "the scheme is unknown; accepted are redis:// and rediss://");
	if (memchr(all.text, '@', all.length))
		return refuse(item, "a user or password needs the form redis://user:password@host:port");
	if (all.text[0] == '/')
		return refuse(item, "a unix socket needs the form unix:/path");
	if (memchr(all.text, '/', all.length))
		return refuse(item, "a database needs the form redis://host:port/db");
	return parse_host_port(item, all, server);
}

static int make_address(struct server *server)
{
	char db[16] = "";
	int r;

	if (server->db != 0)
		snprintf(db, sizeof(db), "/%d", server->db);
	if (server->kind == SERVER_UNIX)
		r = asprintf(&server->address, "unix:%s%s", server->path, db);
	else if (strchr(server->host, ':'))
		r = asprintf(&server->address, "[%s]:%u%s", server->host, server->port, db);
	else
		r = asprintf(&server->address, "%s:%u%s", server->host, server->port, db);
	if (r >= 0)
		return 0;
	server->address = NULL; /* asprintf() leaves it undefined */
	return -ENOMEM;
}

static int parse_server(const struct item *item, struct server *server)
{
	int r;

	if (starts_with(item->all, "unix:"))
		r = parse_unix(item, skip(item->all, strlen("unix:")), server);
	else if (scheme_length(item->all) > 0)
		r = parse_url(item, server);
	else
		r = parse_bare(item, server);
	return r < 0 ? r : make_address(server);
}

/*
 * Whether an item without an '@' may be the first piece of a password with a
 * comma or white space in it: the next '@' is in an item that begins without a
 * scheme.
 */
static bool may_be_secret(struct span item)
{
	const char *rest = item.text + item.length;
	const char *at = strchr(rest, '@');
	const char *start = at;

	if (!at || memchr(item.text, '@', item.length))
		return false;
	while (start > rest && !strchr(SEPARATORS, start[-1]))
		start--;
	return scheme_length((struct span){start, (size_t)(at - start)}) == 0;
}

static int check_duplicate(const struct item *item, const struct server *servers, unsigned count)
{
	const char *address = servers[count].address;

	for (unsigned i = 0; i < count; i++) {
		if (strcmp(servers[i].address, address) != 0)
			continue;
		snprintf(item->why, item->why_size, "%s is given twice; each master counts once", address);
		return -EINVAL;
	}
	return 0;
}

static int add_server(const struct item *item, struct server *servers, unsigned *count)
{
	int r;

	if (*count == SERVERS_MAX) {
		snprintf(item->why, item->why_size, "more than %d servers are named", SERVERS_MAX);
		return -EINVAL;
	}
	r = parse_server(item, &servers[*count]);
	if (r == 0)
		r = check_duplicate(item, servers, *count);
	(*count)++; /* a half-made one is freed with the others */
	return r;
}

static int parse_list(const char *value, struct server *servers, unsigned *count, char *why, size_t why_size)
{
	int r = 0;

	for (value += strspn(value, SEPARATORS); *value && r == 0; value += strspn(value, SEPARATORS)) {
		struct item item = {{value, strcspn(value, SEPARATORS)}, *count + 1, false, why, why_size};

		item.hidden = may_be_secret(item.all);
		r = add_server(&item, servers, count);
		value += item.all.length;
	}
	if (r == 0 && *count == 0) {
		snprintf(why, why_size, "no server is named; accepted are host:port, [v6]:port, unix:/path and "
		                        "redis://user:password@host:port/db, separated by commas or spaces");
		return -EINVAL;
	}
	return r;
}

int servers_parse(const char *value, struct server **ret_servers, unsigned *ret_count, char *why, size_t why_size)
{
	struct server *servers = calloc(SERVERS_MAX + 1, sizeof(*servers));
	unsigned count = 0;
	int r = servers ? parse_list(value, servers, &count, why, why_size) : -ENOMEM;

	if (r == 0) {
		*ret_servers = servers;
		*ret_count = count;
		return 0;
	}
	if (r == -ENOMEM)
		snprintf(why, why_size, "out of memory");
	servers_list_free(servers, count);
	return r;
}

/* One server, written so that it is parsed to the same place: 0 or -ENOMEM. (A host may be named "unix".) */
static int write_server(FILE *out, const struct server *server)
{
	bool url = server->kind == SERVER_TCP && (server->tls || server->db != 0 || strcmp(server->host, "unix") == 0);
	int r;

	if (server->kind == SERVER_UNIX && server->db != 0)
		r = fprintf(out, "unix:%s?db=%d", server->path, server->db);
	else if (url)
		r = fprintf(out, "%s%s", server->tls ? SCHEME_TLS : SCHEME_PLAIN, server->address);
	else
		r = fputs(server->address, out);
	return r < 0 ? -ENOMEM : 0;
}

char *servers_text(const struct server *servers, unsigned count)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r = out ? 0 : -ENOMEM;

	for (unsigned i = 0; i < count && r == 0; i++) {
		if (i > 0 && fputc(',', out) == EOF)
			r = -ENOMEM;
		else
			r = write_server(out, &servers[i]);
	}
	if (out && fclose(out) == EOF)
		r = -ENOMEM;
	if (r == 0)
		return text;
	free(text);
	return NULL;
}

static bool copy_text(char **ret_copy, const char *text)
{
	*ret_copy = text ? strdup(text) : NULL;
	return !text || *ret_copy;
}

static bool copy_server(struct server *ret, const struct server *server)
{
	*ret = (struct server){.kind = server->kind, .tls = server->tls, .port = server->port, .db = server->db};
	return copy_text(&ret->host, server->host) && copy_text(&ret->path, server->path) &&
	       copy_text(&ret->user, server->user) && copy_text(&ret->password, server->password) &&
	       copy_text(&ret->address, server->address);
}

int servers_copy(const struct server *servers, unsigned count, struct server **ret_servers)
{
	struct server *copies = calloc(count + 1, sizeof(*copies));

	for (unsigned i = 0; copies && i < count; i++)
		if (!copy_server(&copies[i], &servers[i])) {
			servers_list_free(copies, i + 1);
			return -ENOMEM;
		}
	if (!copies)
		return -ENOMEM;
	*ret_servers = copies;
	return 0;
}

void servers_free_secret(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void servers_list_free(struct server *servers, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(servers[i].host);
		free(servers[i].path);
		servers_free_secret(servers[i].user);
		servers_free_secret(servers[i].password);
		free(servers[i].address);
	}
	free(servers);
}
