/*
 * fuzz_config.c - the configuration file, server URLs, variables, and files that they name.
 *
 * The input is text in parts, each ended by a line "%%": the file of $DLOCK_CONFIG,
 * $DLOCK_SERVERS, $DLOCK_TTL, $DLOCK_PREFIX, the file "/fuzz/password", the file of a
 * local quorum, and `key=value` lines for an options object. What is missing is not set.
 * No file of the machine is opened: "/fuzz/..." are in memory, the others are not there.
 *
 * Besides crashes: what is accepted lies within its bounds, and the text of the servers
 * leads to the same servers again; what is refused is told in a sentence; and a password
 * is in no sentence and no address.
 */
#include "build.h"
#include "fuzz.h"

#include "libdlock/config.h"
#include "libdlock/options.h"
#include "libdlock/servers.h"
#include "libdlock/settings.h"

#include <ctype.h>
#include <dlock.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET "s3cr3t"

enum part { PART_FILE, PART_SERVERS, PART_TTL, PART_PREFIX, PART_PASSWORD, PART_QUORUM, PART_OPTIONS, PARTS };

static char *parts[PARTS];
static size_t lengths[PARTS];
static bool has_secret;
static bool running; /* libFuzzer itself opens files, too */
static int files[PARTS] = {-1, -1, -1, -1, -1, -1, -1};

/* ---- what the library sees of the machine ---- */

int __wrap_open(const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_stat(const char *path, struct stat *ret);
int __real_stat(const char *path, struct stat *ret);

static int open_part(enum part part, int flags)
{
	char path[32];

	files[part] = fuzz_file(files[part], parts[part], lengths[part]);
	fuzz_check(fchmod(files[part], 0600) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", files[part]);
	return __real_open(path, flags & ~O_NOFOLLOW);
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list arguments;
	int mode;

	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, int) : 0;
	va_end(arguments);
	if (!running)
		return __real_open(path, flags, mode);
	if (strcmp(path, "/fuzz/config") == 0)
		return open_part(PART_FILE, flags);
	if (strcmp(path, "/fuzz/password") == 0)
		return open_part(PART_PASSWORD, flags);
	if (strcmp(path, "/fuzz/run/servers") == 0)
		return open_part(PART_QUORUM, flags);
	errno = ENOENT;
	return -1;
}

/* Whether a local quorum runs is told by its sockets. */
int __wrap_stat(const char *path, struct stat *ret)
{
	if (!running)
		return __real_stat(path, ret);
	if (strcmp(path, "/fuzz/socket") != 0) {
		errno = ENOENT;
		return -1;
	}
	memset(ret, 0, sizeof(*ret));
	ret->st_mode = S_IFSOCK | 0600;
	return 0;
}

static void set_variable(const char *name, enum part part)
{
	if (lengths[part] > 0)
		setenv(name, parts[part], 1);
	else
		unsetenv(name);
}

/* ---- what must not be told ---- */

/* Whether the item at `secret` is a server, and the secret its password beyond any doubt. */
static bool is_password(const char *text, const char *secret)
{
	const char *item = secret, *rest = secret + strlen(SECRET);

	while (item > text && !strchr(" ,\t\n\r\v\f=", item[-1]))
		item--;
	if (strncmp(item, "redis://u:", 10) != 0 || item + 10 != secret)
		return false;
	/* Only plain hosts stand before it, or a key: anything else may be a server of which all this is a part, the path of a socket, say. */
	for (const char *at = item; at > text && !strchr(" \t\n\r\v\f", at[-1]); at--)
		if (!isalnum((unsigned char)at[-1]) && !strchr(",_=", at[-1]))
			return false;
	/* Up to the '@'; or up to a comma that nobody has escaped, with the '@' in what follows. */
	return (*rest == '@' && rest[1 + strcspn(rest + 1, " ,\t\n\r\v\f@:/?#")] != '@') ||
	       (*rest == ',' && rest[1 + strcspn(rest + 1, " ,\t\n\r\v\f@:/?#")] == '@');
}

/* A line of the form key = value: whether a server may stand in it, or it has no key at all. */
static bool is_servers_line(const char *text, const char *at)
{
	const char *line = at;
	char why[SETTINGS_WHY_MAX];
	enum setting key;
	size_t length;

	while (line > text && line[-1] != '\n')
		line--;
	line += strspn(line, " \t\r\v\f");
	length = strcspn(line, "=\n \t\r\v\f");
	return settings_find(line, length, &key, why, sizeof(why)) < 0 || key == SETTING_SERVERS;
}

/* Whether that is somewhere in the input, and everywhere only as a password. */
static bool find_secret(void)
{
	bool found = strncmp(parts[PART_PASSWORD], SECRET, strlen(SECRET)) == 0;

	for (unsigned i = 0; i < PARTS; i++)
		for (const char *at = parts[i]; i != PART_PASSWORD && (at = strstr(at, SECRET)); at += strlen(SECRET)) {
			if (i == PART_TTL || i == PART_PREFIX || !is_password(parts[i], at) ||
			    ((i == PART_FILE || i == PART_OPTIONS) && !is_servers_line(parts[i], at)))
				return false;
			found = true;
		}
	return found;
}

static void check_hidden(const char *text)
{
	fuzz_check(!has_secret || !strstr(text, SECRET));
}

/* ---- what is accepted ---- */

static void check_server(const struct server *server)
{
	fuzz_check(server->address && server->address[0]);
	fuzz_check((server->kind == SERVER_UNIX) == (server->path != NULL));
	fuzz_check((server->kind == SERVER_TCP) == (server->host != NULL));
	fuzz_check(server->kind == SERVER_UNIX || server->port > 0);
	fuzz_check(server->db >= 0 && server->db <= 9999);
	fuzz_check(!server->user || server->password);
	fuzz_check(!server->path || (server->path[0] == '/' && strlen(server->path) <= 107));
	check_hidden(server->address);
}

/* The text of the servers leads to the same ones. */
static void check_text(const struct config *config)
{
	char *text = servers_text(config->servers, config->server_count), why[SETTINGS_WHY_MAX];
	struct server *servers;
	unsigned count;

	fuzz_check(text != NULL);
	check_hidden(text);
	fuzz_check(servers_parse(text, &servers, &count, why, sizeof(why)) == 0);
	fuzz_check(count == config->server_count);
	for (unsigned i = 0; i < count; i++) {
		fuzz_check(strcmp(servers[i].address, config->servers[i].address) == 0);
		fuzz_check(servers[i].tls == config->servers[i].tls && servers[i].db == config->servers[i].db);
		fuzz_check(servers[i].port == config->servers[i].port && servers[i].kind == config->servers[i].kind);
	}
	servers_list_free(servers, count);
	free(text);
}

static void check_config(struct config *config)
{
	struct config copy, masters;

	fuzz_check(config->server_count >= 1 && config->server_count <= SERVERS_MAX);
	for (unsigned i = 0; i < config->server_count; i++)
		check_server(&config->servers[i]);
	fuzz_check(config->ttl_us >= 100000 && config->ttl_us <= 3600000000);
	fuzz_check(config->node_timeout_us >= 1000 && config->node_timeout_us <= 600000000);
	fuzz_check(config->quorum_timeout_us >= -1);
	fuzz_check(config->lock_delay_us >= 0 && config->lock_delay_us <= 3600000000);
	fuzz_check(config->max_ttl_us == 0 || config->max_ttl_us >= config->ttl_us + config->lock_delay_us);
	fuzz_check(config->prefix && strlen(config->prefix) <= 256 && strncmp(config->prefix, "dlock!", 6) != 0);
	fuzz_check((config->tls_cert != NULL) == (config->tls_key != NULL));
	check_text(config);
	fuzz_check(config_copy(config, &copy) == 0);
	fuzz_check(config_same_masters(config, &copy) && strcmp(config->prefix, copy.prefix) == 0);
	fuzz_check(config_hand_over(&copy, &masters) == 0);
	fuzz_check(config_same_masters(config, &masters) && strcmp(config->prefix, copy.prefix) == 0);
	config_clear(&copy);
	config_clear(&masters);
}

/* ---- a run ---- */

static void set_options(struct dlock_options *options)
{
	char *line, *rest = parts[PART_OPTIONS], *value;

	while ((line = strsep(&rest, "\n"))) {
		value = strchr(line, '=');
		if (value)
			*value++ = '\0';
		errno = 0;
		if (dlock_options_set(options, line, value) == 0)
			continue;
		fuzz_check(errno == EINVAL);
		fuzz_check(dlock_error_detail()[0] != '\0');
		check_hidden(dlock_error_detail());
	}
}

static void resolve(const struct dlock_options *options)
{
	const struct config_places places = {"/fuzz/none", "/fuzz/run", 0};
	struct config config;
	char why[SETTINGS_WHY_MAX] = "";
	int r = config_resolve_at(&places, options, &config, why, sizeof(why));

	if (r == 0) {
		check_config(&config);
		config_clear(&config);
		return;
	}
	fuzz_check(r == -EINVAL);
	fuzz_check(why[0] != '\0' && memchr(why, '\0', sizeof(why)));
	check_hidden(why);
}

/* What a program does that wants to see what holds. */
static void resolve_and_get(struct dlock_options *options)
{
	const char *servers;

	if (dlock_options_resolve(options) < 0) {
		fuzz_check(dlock_error_detail()[0] != '\0');
		check_hidden(dlock_error_detail());
		return;
	}
	servers = dlock_options_get(options, "servers");
	fuzz_check(servers && servers[0]);
	check_hidden(servers);
	resolve(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct fuzz_input input = {bytes, size};
	struct dlock_options *options = dlock_options_new();

	fuzz_check(options != NULL);
	running = true;
	for (unsigned i = 0; i < PARTS; i++)
		parts[i] = fuzz_until(&input, "%%\n", &lengths[i]);
	has_secret = find_secret();
	setenv("DLOCK_CONFIG", "/fuzz/config", 1);
	if (lengths[PART_FILE] == 0)
		unsetenv("DLOCK_CONFIG");
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("HOME");
	set_variable("DLOCK_SERVERS", PART_SERVERS);
	set_variable("DLOCK_TTL", PART_TTL);
	set_variable("DLOCK_PREFIX", PART_PREFIX);
	resolve(NULL);
	set_options(options);
	resolve(options);
	resolve_and_get(options);
	dlock_options_free(options);
	running = false;
	for (unsigned i = 0; i < PARTS; i++)
		free(parts[i]);
	return 0;
}
