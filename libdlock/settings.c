/*
 * settings.c - the table of keys and the check of values; see settings.h.
 */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "servers.h"
#include "text.h"

#define PREFIX_LENGTH_MAX 256
#define PREFIX_RESERVED "dlock!" /* the masters' own bookkeeping begins so */

enum kind { KIND_SERVERS, KIND_NUMBER, KIND_NUMBER_OR_FOREVER, KIND_PREFIX, KIND_AUTO_OR_OFF, KIND_FILE };

static const struct rule {
	const char *name;
	const char *fallback;
	enum kind kind;
	int64_t min_ms, max_ms;
} rules[SETTING_COUNT] = {
	[SETTING_SERVERS] = {"servers", "127.0.0.1:6379", KIND_SERVERS, 0, 0},
	[SETTING_TTL] = {"ttl", "10000", KIND_NUMBER, 100, 3600000},
	[SETTING_PREFIX] = {"prefix", "dlock:", KIND_PREFIX, 0, 0},
	[SETTING_NODE_TIMEOUT] = {"node_timeout", NULL, KIND_NUMBER, 1, 600000},
	[SETTING_QUORUM_TIMEOUT] = {"quorum_timeout", "5000", KIND_NUMBER_OR_FOREVER, 0, 86400000},
	[SETTING_QUARANTINE] = {"quarantine", "auto", KIND_AUTO_OR_OFF, 0, 0},
	[SETTING_MAX_TTL] = {"max_ttl", NULL, KIND_NUMBER, 4001, 86400000},
	[SETTING_LOCK_DELAY] = {"lock_delay", "0", KIND_NUMBER, 0, 3600000},
	[SETTING_PASSWORD_FILE] = {"password_file", NULL, KIND_FILE, 0, 0},
	[SETTING_TLS_CA] = {"tls_ca", NULL, KIND_FILE, 0, 0},
	[SETTING_TLS_CERT] = {"tls_cert", NULL, KIND_FILE, 0, 0},
	[SETTING_TLS_KEY] = {"tls_key", NULL, KIND_FILE, 0, 0},
};

int settings_find(const char *name, size_t length, enum setting *ret_key, char *why, size_t why_size)
{
	char quoted[TEXT_QUOTE_MAX], list[256] = "";
	size_t used = 0;

	for (unsigned key = 0; key < SETTING_COUNT; key++) {
		if (strlen(rules[key].name) == length && memcmp(rules[key].name, name, length) == 0) {
			*ret_key = (enum setting)key;
			return 0;
		}
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", key ? ", " : "", rules[key].name);
	}
	/* A server that was written where the key belongs may have its password up to an '=' in it. */
	if (memchr(name, ':', length) || memchr(name, '@', length))
		snprintf(quoted, sizeof(quoted), "what stands there (not shown, it may be part of a password)");
	else
		text_quote(quoted, name, length);
	snprintf(why, why_size, "%s is not a key; accepted are %s", quoted, list);
	return -EINVAL;
}

const char *settings_name(enum setting key)
{
	return rules[key].name;
}

const char *settings_default(enum setting key)
{
	return rules[key].fallback;
}

static bool is_forever(const struct rule *rule, const char *value)
{
	return rule->kind == KIND_NUMBER_OR_FOREVER && strcmp(value, "forever") == 0;
}

static int check_number(const struct rule *rule, const char *value, char *why, size_t why_size)
{
	char quoted[TEXT_QUOTE_MAX];
	int64_t number;

	if (is_forever(rule, value))
		return 0;
	if (text_number(value, strlen(value), &number) && number >= rule->min_ms && number <= rule->max_ms)
		return 0;
	text_quote(quoted, value, strlen(value));
	snprintf(why, why_size, "%s: %s is not a number of milliseconds from %lld to %lld%s", rule->name, quoted,
	         (long long)rule->min_ms, (long long)rule->max_ms,
	         rule->kind == KIND_NUMBER_OR_FOREVER ? ", nor \"forever\"" : "");
	return -EINVAL;
}

static int check_servers(const struct rule *rule, const char *value, char *why, size_t why_size)
{
	char problem[SETTINGS_WHY_MAX - 16];
	struct server *servers = NULL;
	unsigned count = 0;
	int r = servers_parse(value, &servers, &count, problem, sizeof(problem));

	if (r < 0)
		snprintf(why, why_size, "%s: %s", rule->name, problem);
	else
		servers_list_free(servers, count);
	return r;
}

static int check_prefix(const struct rule *rule, const char *value, char *why, size_t why_size)
{
	size_t length = strlen(value);

	if (length > PREFIX_LENGTH_MAX) {
		snprintf(why, why_size, "%s: it is %zu bytes long; at most %d are accepted", rule->name, length,
		         PREFIX_LENGTH_MAX);
		return -EINVAL;
	}
	if (strncmp(value, PREFIX_RESERVED, strlen(PREFIX_RESERVED)) == 0) {
		snprintf(why, why_size, "%s: \"" PREFIX_RESERVED "\" is reserved; a prefix must not begin so", rule->name);
		return -EINVAL;
	}
	return 0;
}

static int check_auto_or_off(const struct rule *rule, const char *value, char *why, size_t why_size)
{
	char quoted[TEXT_QUOTE_MAX];

	if (strcmp(value, "auto") == 0 || strcmp(value, "off") == 0)
		return 0;
	text_quote(quoted, value, strlen(value));
	snprintf(why, why_size, "%s: %s is neither \"auto\" nor \"off\"", rule->name, quoted);
	return -EINVAL;
}

static int check_path(const struct rule *rule, const char *value, char *why, size_t why_size)
{
	if (*value && strlen(value) < PATH_MAX)
		return 0;
	snprintf(why, why_size, "%s: the path of a file is accepted, of 1 to %d bytes", rule->name, PATH_MAX - 1);
	return -EINVAL;
}

int settings_check(enum setting key, const char *value, char *why, size_t why_size)
{
	const struct rule *rule = &rules[key];

	switch (rule->kind) {
	case KIND_SERVERS:
		return check_servers(rule, value, why, why_size);
	case KIND_NUMBER:
	case KIND_NUMBER_OR_FOREVER:
		return check_number(rule, value, why, why_size);
	case KIND_PREFIX:
		return check_prefix(rule, value, why, why_size);
	case KIND_AUTO_OR_OFF:
		return check_auto_or_off(rule, value, why, why_size);
	case KIND_FILE:
		break;
	}
	return check_path(rule, value, why, why_size);
}

int settings_check_file(enum setting key, const char *value, char *why, size_t why_size)
{
	char quoted[TEXT_QUOTE_MAX];
	int fd;

	if (rules[key].kind != KIND_FILE)
		return 0;
	fd = settings_open(value);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	text_quote(quoted, value, strlen(value));
	snprintf(why, why_size, "%s: %s cannot be read: %s", rules[key].name, quoted, settings_open_problem(fd));
	return fd;
}

int settings_put(struct settings *settings, enum setting key, const char *value, const char *where)
{
	char *new_value = strdup(value);
	char *new_where = strdup(where);

	if (!new_value || !new_where) {
		servers_free_secret(new_value);
		free(new_where);
		return -ENOMEM;
	}
	settings_drop(settings, key);
	settings->of[key].value = new_value;
	settings->of[key].where = new_where;
	return 0;
}

void settings_drop(struct settings *settings, enum setting key)
{
	servers_free_secret(settings->of[key].value);
	free(settings->of[key].where);
	settings->of[key].value = NULL;
	settings->of[key].where = NULL;
}

void settings_clear(struct settings *settings)
{
	for (unsigned key = 0; key < SETTING_COUNT; key++)
		settings_drop(settings, (enum setting)key);
}

int64_t settings_ms(const struct settings *settings, enum setting key)
{
	const char *value = settings->of[key].value ? settings->of[key].value : rules[key].fallback;
	int64_t number = 0;

	if (!value)
		return 0;
	if (is_forever(&rules[key], value))
		return -1;
	text_number(value, strlen(value), &number);
	return number;
}

/* O_NONBLOCK, so that a pipe without a writer cannot hang the program. */
int settings_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (S_ISDIR(st.st_mode))
		r = -EISDIR;
	else if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		r = -EINVAL;
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

const char *settings_open_problem(int r)
{
	return r == -EINVAL ? "it is not a regular file" : strerrordesc_np(-r);
}
