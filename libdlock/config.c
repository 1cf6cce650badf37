/*
 * config.c - the settings that hold now; see config.h.
 *
 * How it works. One struct settings is filled from the first place to the last,
 * key by key: a place gives only what no earlier place gave, so `servers` of the
 * environment and `ttl` of a file go together. Of the files only the first that
 * exists is read. A value is checked where it is read, so that the message can
 * name the place; what depends on several keys is checked at the end, on the
 * values that won. Passwords are wiped wherever a copy of them is freed.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "debug.h"
#include "options.h"
#include "servers.h"
#include "settings.h"

#define LINE_LENGTH_MAX 4096
#define PASSWORD_LENGTH_MAX 512
#define NODE_TIMEOUT_LEAST_US (50 * INT64_C(1000))
#define BLANKS " \t\r\v\f"

/* What a resolution carries along. */
struct lookup {
	const struct config_places *places;
	struct settings settings; /* found so far, in force */
	char *why;
	size_t why_size;
};

static int fail(const struct lookup *lookup, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(const struct lookup *lookup, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(lookup->why, lookup->why_size, format, args);
	va_end(args);
	return r;
}

/* What the caller is told: a file that cannot be read is a wrong setting,
 * unless it is for want of memory or descriptors. */
static int outcome(int r)
{
	return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == 0 ? r : -EINVAL;
}

/* Adds a value that no earlier place gave. */
static int add(struct lookup *lookup, enum setting key, const char *value, const char *where)
{
	char problem[SETTINGS_WHY_MAX];
	int r;

	if (lookup->settings.of[key].value)
		return 0;
	r = settings_check(key, value, problem, sizeof(problem));
	if (r < 0)
		return fail(lookup, r, "%s: %s", where, problem);
	return settings_put(&lookup->settings, key, value, where);
}

static int add_options(struct lookup *lookup, const struct dlock_options *options)
{
	const struct settings *given = options ? options_settings(options) : NULL;
	int r = 0;

	for (unsigned key = 0; given && key < SETTING_COUNT && r == 0; key++)
		if (given->of[key].value)
			r = settings_put(&lookup->settings, (enum setting)key, given->of[key].value, given->of[key].where);
	return r;
}

/* An empty variable is as good as none. */
static const char *variable(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

static int add_environment(struct lookup *lookup)
{
	const char *servers = variable("DLOCK_SERVERS");
	const char *ttl = variable("DLOCK_TTL");
	const char *prefix = secure_getenv("DLOCK_PREFIX"); /* the empty prefix has a meaning */
	int r = 0;

	if (servers)
		r = add(lookup, SETTING_SERVERS, servers, "environment DLOCK_SERVERS");
	if (r == 0 && ttl)
		r = add(lookup, SETTING_TTL, ttl, "environment DLOCK_TTL");
	if (r == 0 && prefix)
		r = add(lookup, SETTING_PREFIX, prefix, "environment DLOCK_PREFIX");
	return r;
}

/* A file being read; on the heap because of its size. */
struct reader {
	FILE *stream;
	const char *path;
	unsigned number; /* of the line, from 1 */
	size_t length;
	unsigned set_at[SETTING_COUNT]; /* the line that set the key; 0: none */
	char line[LINE_LENGTH_MAX + 1];
	char where[PATH_MAX + 16];
	char buffer[4096]; /* the stream's, here so that it can be wiped */
};

/* Takes `fd` over. NULL: out of memory. */
static struct reader *reader_new(int fd, const char *path)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	FILE *stream = reader ? fdopen(fd, "re") : NULL;

	if (!stream) {
		free(reader);
		close(fd);
		return NULL;
	}
	setvbuf(stream, reader->buffer, _IOFBF, sizeof(reader->buffer));
	reader->stream = stream;
	reader->path = path;
	return reader;
}

static void reader_free(struct reader *reader)
{
	fclose(reader->stream);
	explicit_bzero(reader, sizeof(*reader));
	free(reader);
}

/* 1: a line without its end is in reader->line; 0: the end of the file. */
static int read_line(const struct lookup *lookup, struct reader *reader)
{
	int c = getc_unlocked(reader->stream);

	snprintf(reader->where, sizeof(reader->where), "%s:%u", reader->path, ++reader->number);
	reader->length = 0;
	if (c == EOF && !ferror(reader->stream))
		return 0;
	for (; c != EOF && c != '\n'; c = getc_unlocked(reader->stream)) {
		if (c == '\0')
			return fail(lookup, -EINVAL, "%s: the line holds a NUL byte; only text is accepted", reader->where);
		if (reader->length == LINE_LENGTH_MAX)
			return fail(lookup, -EINVAL, "%s: the line is too long; at most %d bytes are accepted",
			            reader->where, LINE_LENGTH_MAX);
		reader->line[reader->length++] = (char)c;
	}
	reader->line[reader->length] = '\0';
	if (ferror(reader->stream))
		return fail(lookup, -EIO, "%s cannot be read: %s", reader->path, strerrordesc_np(errno));
	return 1;
}

/* A '#' inside a word belongs to it, as in a password. */
static void cut_comment(char *line)
{
	for (char *p = line; *p; p++)
		if (*p == '#' && (p == line || strchr(BLANKS, p[-1]))) {
			*p = '\0';
			return;
		}
}

static char *strip(char *text)
{
	char *end;

	text += strspn(text, BLANKS);
	end = text + strlen(text);
	while (end > text && strchr(BLANKS, end[-1]))
		*--end = '\0';
	return text;
}

/* One `key = value`. What surrounds it is not shown in messages, as it may be a
 * password. */
static int add_assignment(const struct lookup *lookup, struct reader *reader, char *name, const char *value,
                          struct settings *found)
{
	char problem[SETTINGS_WHY_MAX];
	enum setting key;
	int r = settings_find(name, strlen(name), &key, problem, sizeof(problem));

	if (r == 0 && reader->set_at[key])
		return fail(lookup, -EINVAL, "%s: %s: it was set in line %u already; once is accepted", reader->where,
		            name, reader->set_at[key]);
	if (r == 0)
		r = settings_check(key, value, problem, sizeof(problem));
	if (r < 0)
		return fail(lookup, r, "%s: %s", reader->where, problem);
	reader->set_at[key] = reader->number;
	return settings_put(found, key, value, reader->where);
}

static int add_line(const struct lookup *lookup, struct reader *reader, struct settings *found)
{
	char *text, *equals;

	cut_comment(reader->line);
	text = strip(reader->line);
	if (!*text)
		return 0;
	equals = strchr(text, '=');
	if (!equals)
		return fail(lookup, -EINVAL, "%s: there is no '='; accepted are lines of the form key = value",
		            reader->where);
	*equals = '\0';
	return add_assignment(lookup, reader, strip(text), strip(equals + 1), found);
}

/* The whole file is read before any of it is used: a mistake in it is told
 * even where an earlier place has given that key. */
static int add_stream(struct lookup *lookup, int fd, const char *path)
{
	struct reader *reader = reader_new(fd, path);
	struct settings found = {0};
	int r;

	if (!reader)
		return -ENOMEM;
	while ((r = read_line(lookup, reader)) > 0) {
		r = add_line(lookup, reader, &found);
		if (r < 0)
			break;
	}
	for (unsigned key = 0; key < SETTING_COUNT && r == 0; key++)
		if (found.of[key].value)
			r = add(lookup, (enum setting)key, found.of[key].value, found.of[key].where);
	settings_clear(&found);
	reader_free(reader);
	return r;
}

/* 1: it was read; 0: there is none. `origin` is put before the path in a message. */
static int add_file(struct lookup *lookup, const char *origin, const char *path)
{
	int fd = settings_open(path);
	int r;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd < 0)
		return fail(lookup, fd, "%s%s cannot be read: %s", origin, path, settings_open_problem(fd));
	r = add_stream(lookup, fd, path);
	return r < 0 ? r : 1;
}

/* NULL in *ret_path: there is no home to look in. */
static int user_file(char **ret_path)
{
	const char *config = variable("XDG_CONFIG_HOME");
	const char *home = variable("HOME");
	int r = 0;

	*ret_path = NULL;
	if (config && *config == '/') /* the XDG specification: a relative one is ignored */
		r = asprintf(ret_path, "%s/dlock.conf", config);
	else if (home && *home == '/')
		r = asprintf(ret_path, "%s/.config/dlock.conf", home);
	if (r >= 0)
		return 0;
	*ret_path = NULL;
	return -ENOMEM;
}

static int add_files(struct lookup *lookup)
{
	const char *named = variable("DLOCK_CONFIG");
	char *path = NULL;
	int r;

	if (named) {
		r = add_file(lookup, "environment DLOCK_CONFIG: ", named);
		if (r == 0)
			r = fail(lookup, -ENOENT, "environment DLOCK_CONFIG: %s cannot be read: %s", named,
			         strerrordesc_np(ENOENT));
		return r < 0 ? r : 0;
	}
	r = user_file(&path);
	if (r == 0 && path)
		r = add_file(lookup, "", path);
	if (r == 0)
		r = add_file(lookup, "", lookup->places->system_file);
	free(path);
	return r < 0 ? r : 0;
}

/* NULL in *ret_directory: this user has none. */
static int run_directory(const struct config_places *places, char **ret_directory)
{
	const char *runtime = variable("XDG_RUNTIME_DIR");

	*ret_directory = NULL;
	if (places->euid == 0) {
		*ret_directory = strdup(places->root_run_directory);
		return *ret_directory ? 0 : -ENOMEM;
	}
	if (!runtime || *runtime != '/')
		return 0;
	if (asprintf(ret_directory, "%s/dlock", runtime) >= 0)
		return 0;
	*ret_directory = NULL;
	return -ENOMEM;
}

/* A file that another user could have written must not choose the masters: he
 * could then grant any lock. -ENOENT if there is none that may be trusted. */
static int open_quorum(const struct config_places *places, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ENOENT;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
	    (st.st_uid == 0 || st.st_uid == places->euid))
		return fd;
	debug_log(DEBUG_CONFIG, "%s is ignored: not a file that only root or this user can write", path);
	close(fd);
	return -ENOENT;
}

/* 1 if any of its sockets is there (they do not outlive an orderly end), else 0;
 * or a negative errno, with the sentence in `problem`. */
static int quorum_is_running(const char *value, char *problem, size_t problem_size)
{
	struct server *servers;
	unsigned count;
	struct stat st;
	int r = servers_parse(value, &servers, &count, problem, problem_size);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < count && r == 0; i++)
		r = servers[i].kind == SERVER_UNIX && stat(servers[i].path, &st) == 0 && S_ISSOCK(st.st_mode);
	servers_list_free(servers, count);
	return r;
}

static int read_quorum(struct lookup *lookup, int fd, const char *path, const char *directory)
{
	struct reader *reader = reader_new(fd, path);
	char problem[SETTINGS_WHY_MAX];
	char *value;
	int r;

	if (!reader)
		return -ENOMEM;
	r = read_line(lookup, reader);
	value = r > 0 ? strip(reader->line) : NULL;
	if (value && *value) { /* an empty file: one that is being written */
		snprintf(reader->where, sizeof(reader->where), "the local quorum in %s", directory);
		r = quorum_is_running(value, problem, sizeof(problem));
		if (r < 0)
			fail(lookup, r, "%s:1: servers: %s", path, problem);
		else if (r > 0)
			r = add(lookup, SETTING_SERVERS, value, reader->where);
	}
	reader_free(reader);
	return r < 0 ? r : 0;
}

/* The servers of `dlock-local up`, if it was called. */
static int add_quorum(struct lookup *lookup)
{
	char *directory, *path = NULL;
	int r = run_directory(lookup->places, &directory);
	int fd;

	if (r < 0 || !directory)
		return r;
	if (asprintf(&path, "%s/servers", directory) < 0) {
		free(directory);
		return -ENOMEM;
	}
	fd = open_quorum(lookup->places, path);
	if (fd >= 0)
		r = read_quorum(lookup, fd, path, directory);
	else if (fd != -ENOENT)
		r = fail(lookup, fd, "%s cannot be read: %s", path, strerrordesc_np(-fd));
	free(path);
	free(directory);
	return r;
}

static int add_defaults(struct lookup *lookup)
{
	int r = 0;

	for (unsigned key = 0; key < SETTING_COUNT && r == 0; key++)
		if (settings_default((enum setting)key))
			r = add(lookup, (enum setting)key, settings_default((enum setting)key), "default");
	return r;
}

static int collect(struct lookup *lookup, const struct dlock_options *options)
{
	int r = add_options(lookup, options);

	if (r == 0)
		r = add_environment(lookup);
	if (r == 0)
		r = add_files(lookup);
	if (r == 0 && !lookup->settings.of[SETTING_SERVERS].value)
		r = add_quorum(lookup);
	return r < 0 ? r : add_defaults(lookup);
}

/* A client whose own lease is longer than the M that it demands would have all
 * its locks refused. */
static int check_max_ttl(const struct lookup *lookup)
{
	const struct settings *settings = &lookup->settings;
	int64_t max_ttl_ms = settings_ms(settings, SETTING_MAX_TTL);
	int64_t ttl_ms = settings_ms(settings, SETTING_TTL);
	int64_t lock_delay_ms = settings_ms(settings, SETTING_LOCK_DELAY);

	if (max_ttl_ms == 0 || max_ttl_ms >= ttl_ms + lock_delay_ms)
		return 0;
	return fail(lookup, -EINVAL, "%s: max_ttl: %lld is less than ttl (%lld, %s) and lock_delay (%lld, %s) together",
	            settings->of[SETTING_MAX_TTL].where, (long long)max_ttl_ms, (long long)ttl_ms,
	            settings->of[SETTING_TTL].where, (long long)lock_delay_ms, settings->of[SETTING_LOCK_DELAY].where);
}

static int check_tls_pair(const struct lookup *lookup)
{
	const struct settings *settings = &lookup->settings;
	bool cert = settings->of[SETTING_TLS_CERT].value, key = settings->of[SETTING_TLS_KEY].value;

	if (cert == key)
		return 0;
	return fail(lookup, -EINVAL, "%s: %s is set without %s; they go together",
	            settings->of[cert ? SETTING_TLS_CERT : SETTING_TLS_KEY].where, cert ? "tls_cert" : "tls_key",
	            cert ? "tls_key" : "tls_cert");
}

static int check_together(const struct lookup *lookup)
{
	char problem[SETTINGS_WHY_MAX];
	int r = check_max_ttl(lookup);

	if (r == 0)
		r = check_tls_pair(lookup);
	for (unsigned key = 0; key < SETTING_COUNT && r == 0; key++) {
		if (!lookup->settings.of[key].value)
			continue;
		r = settings_check_file((enum setting)key, lookup->settings.of[key].value, problem, sizeof(problem));
		if (r < 0)
			fail(lookup, r, "%s: %s", lookup->settings.of[key].where, problem);
	}
	return r;
}

/* The first line of `fd` into `password`; NULL, or what is wrong with it. Read
 * without stdio, which would leave a copy behind. */
static const char *read_password(int fd, char password[PASSWORD_LENGTH_MAX + 3])
{
	size_t length = 0;
	const char *end;
	ssize_t n = 1;

	while (n > 0 && length < PASSWORD_LENGTH_MAX + 2) { /* the two of "\r\n" */
		n = read(fd, password + length, PASSWORD_LENGTH_MAX + 2 - length);
		if (n < 0)
			return strerrordesc_np(errno);
		length += (size_t)n;
	}
	end = memchr(password, '\n', length);
	if (end)
		length = (size_t)(end - password);
	if (length > 0 && password[length - 1] == '\r')
		length--;
	password[length] = '\0';
	if (strlen(password) < length)
		return "its first line holds a NUL byte";
	if (length == 0)
		return "its first line, the password, is empty";
	return length > PASSWORD_LENGTH_MAX ? "its first line, the password, is longer than 512 bytes" : NULL;
}

static int give_password(struct config *config, const char *password)
{
	for (unsigned i = 0; i < config->server_count; i++) {
		if (config->servers[i].password)
			continue;
		config->servers[i].password = strdup(password);
		if (!config->servers[i].password)
			return -ENOMEM;
	}
	return 0;
}

static int add_password_file(const struct lookup *lookup, struct config *config)
{
	const char *path = lookup->settings.of[SETTING_PASSWORD_FILE].value;
	const char *where = lookup->settings.of[SETTING_PASSWORD_FILE].where;
	char password[PASSWORD_LENGTH_MAX + 3];
	const char *problem;
	int fd, r;

	if (!path)
		return 0;
	fd = settings_open(path);
	if (fd < 0)
		return fail(lookup, fd, "%s: password_file: %s cannot be read: %s", where, path, settings_open_problem(fd));
	problem = read_password(fd, password);
	close(fd);
	if (problem)
		r = fail(lookup, -EINVAL, "%s: password_file: %s: %s", where, path, problem);
	else
		r = give_password(config, password);
	explicit_bzero(password, sizeof(password));
	return r;
}

static int check_users(const struct lookup *lookup, const struct config *config)
{
	for (unsigned i = 0; i < config->server_count; i++)
		if (config->servers[i].user && !config->servers[i].password)
			return fail(lookup, -EINVAL,
			            "%s: servers: %s has a user but no password; write redis://user:password@host "
			            "or set password_file",
			            config->source, config->servers[i].address);
	return 0;
}

static int copy(char **ret_copy, const char *text)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

static int fill_texts(const struct lookup *lookup, struct config *config)
{
	const struct settings *settings = &lookup->settings;
	int r = servers_parse(settings->of[SETTING_SERVERS].value, &config->servers, &config->server_count, lookup->why,
	                      lookup->why_size);

	if (r == 0)
		r = copy(&config->source, settings->of[SETTING_SERVERS].where);
	if (r == 0)
		r = copy(&config->prefix, settings->of[SETTING_PREFIX].value);
	if (r == 0)
		r = copy(&config->tls_ca, settings->of[SETTING_TLS_CA].value);
	if (r == 0)
		r = copy(&config->tls_cert, settings->of[SETTING_TLS_CERT].value);
	if (r == 0)
		r = copy(&config->tls_key, settings->of[SETTING_TLS_KEY].value);
	return r;
}

/* In whole milliseconds, as one could have set it. */
static int64_t default_node_timeout_us(int64_t ttl_us)
{
	int64_t timeout_us = ttl_us / 20000 * 1000;

	return timeout_us > NODE_TIMEOUT_LEAST_US ? timeout_us : NODE_TIMEOUT_LEAST_US;
}

static void fill_numbers(const struct settings *settings, struct config *config)
{
	int64_t quorum_timeout_ms = settings_ms(settings, SETTING_QUORUM_TIMEOUT);

	config->ttl_us = settings_ms(settings, SETTING_TTL) * 1000;
	config->node_timeout_us = settings_ms(settings, SETTING_NODE_TIMEOUT) * 1000;
	if (!settings->of[SETTING_NODE_TIMEOUT].value)
		config->node_timeout_us = default_node_timeout_us(config->ttl_us);
	config->quorum_timeout_us = quorum_timeout_ms < 0 ? -1 : quorum_timeout_ms * 1000;
	config->max_ttl_us = settings_ms(settings, SETTING_MAX_TTL) * 1000;
	config->lock_delay_us = settings_ms(settings, SETTING_LOCK_DELAY) * 1000;
	config->quarantine = strcmp(settings->of[SETTING_QUARANTINE].value, "off") != 0;
}

static int fill(const struct lookup *lookup, struct config *config)
{
	int r = fill_texts(lookup, config);

	if (r < 0)
		return r;
	fill_numbers(&lookup->settings, config);
	r = add_password_file(lookup, config);
	return r < 0 ? r : check_users(lookup, config);
}

static void tell(const struct config *config)
{
	debug_log(DEBUG_CONFIG, "%u servers from %s; ttl %lld ms, node_timeout %lld ms, prefix \"%s\"",
	          config->server_count, config->source, (long long)config->ttl_us / 1000,
	          (long long)config->node_timeout_us / 1000, config->prefix);
	for (unsigned i = 0; i < config->server_count; i++)
		debug_log(DEBUG_CONFIG, "server %u: %s%s", i + 1, config->servers[i].address,
		          config->servers[i].tls ? " over TLS" : "");
}

/* The values that hold as one could write them: no secrets, and what follows from others. */
static int complete_texts(struct settings *settings, const struct config *config)
{
	char *servers = servers_text(config->servers, config->server_count), node_timeout[24];
	int r = servers ? settings_put(settings, SETTING_SERVERS, servers, config->source) : -ENOMEM;

	free(servers);
	if (r < 0 || settings->of[SETTING_NODE_TIMEOUT].value)
		return r;
	snprintf(node_timeout, sizeof(node_timeout), "%lld", (long long)config->node_timeout_us / 1000);
	return settings_put(settings, SETTING_NODE_TIMEOUT, node_timeout, "default");
}

/* `ret_settings` may be NULL. */
static int look_up(const struct config_places *places, const struct dlock_options *options,
                   struct config *ret_config, struct settings *ret_settings, char *why, size_t why_size)
{
	struct lookup lookup = {.places = places, .why = why, .why_size = why_size};
	struct config config = {0};
	int r = collect(&lookup, options);

	if (r == 0)
		r = check_together(&lookup);
	if (r == 0)
		r = fill(&lookup, &config);
	if (r == 0 && ret_settings)
		r = complete_texts(&lookup.settings, &config);
	if (r < 0 || !ret_settings)
		settings_clear(&lookup.settings);
	if (r == 0) {
		tell(&config);
		*ret_config = config;
		if (ret_settings)
			*ret_settings = lookup.settings;
		return 0;
	}
	config_clear(&config);
	if (r == -ENOMEM)
		fail(&lookup, r, "out of memory");
	debug_log(DEBUG_CONFIG, "%s", why);
	return outcome(r);
}

int config_resolve_at(const struct config_places *places, const struct dlock_options *options,
                      struct config *ret_config, char *why, size_t why_size)
{
	const struct config *resolved = options ? options_resolved(options) : NULL;
	int r;

	if (!resolved)
		return look_up(places, options, ret_config, NULL, why, why_size);
	r = config_copy(resolved, ret_config);
	if (r < 0)
		snprintf(why, why_size, "out of memory");
	return r;
}

static struct config_places usual_places(void)
{
	return (struct config_places){"/etc/dlock.conf", "/run/dlock", geteuid()};
}

int config_resolve(const struct dlock_options *options, struct config *ret_config, char *why, size_t why_size)
{
	const struct config_places places = usual_places();

	return config_resolve_at(&places, options, ret_config, why, why_size);
}

int config_look_up(const struct dlock_options *options, struct config *ret_config, struct settings *ret_settings,
                   char *why, size_t why_size)
{
	const struct config_places places = usual_places();

	return look_up(&places, options, ret_config, ret_settings, why, why_size);
}

int config_copy(const struct config *config, struct config *ret)
{
	struct config made = *config;
	int r = servers_copy(config->servers, config->server_count, &made.servers);

	if (r < 0)
		return r;
	made.prefix = made.tls_ca = made.tls_cert = made.tls_key = made.source = NULL;
	r = copy(&made.prefix, config->prefix);
	if (r == 0)
		r = copy(&made.tls_ca, config->tls_ca);
	if (r == 0)
		r = copy(&made.tls_cert, config->tls_cert);
	if (r == 0)
		r = copy(&made.tls_key, config->tls_key);
	if (r == 0)
		r = copy(&made.source, config->source);
	if (r < 0)
		config_clear(&made);
	else
		*ret = made;
	return r;
}

void config_clear(struct config *config)
{
	servers_list_free(config->servers, config->server_count);
	free(config->prefix);
	free(config->tls_ca);
	free(config->tls_cert);
	free(config->tls_key);
	free(config->source);
	*config = (struct config){0};
}

int config_hand_over(struct config *config, struct config *ret_masters)
{
	char *prefix;
	int r = copy(&prefix, config->prefix);

	if (r < 0)
		return r;
	*ret_masters = *config;
	config->servers = NULL;
	config->server_count = 0;
	config->prefix = prefix;
	config->tls_ca = config->tls_cert = config->tls_key = NULL;
	config->source = NULL;
	return 0;
}

/* NULL equals only NULL. */
static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool config_same_masters(const struct config *a, const struct config *b)
{
	if (a->server_count != b->server_count || a->max_ttl_us != b->max_ttl_us || a->quarantine != b->quarantine ||
	    !same(a->tls_ca, b->tls_ca) || !same(a->tls_cert, b->tls_cert) || !same(a->tls_key, b->tls_key))
		return false;
	for (unsigned i = 0; i < a->server_count; i++) {
		const struct server *x = &a->servers[i], *y = &b->servers[i];

		if (!same(x->address, y->address) || x->tls != y->tls || !same(x->user, y->user) ||
		    !same(x->password, y->password))
			return false;
	}
	return true;
}
