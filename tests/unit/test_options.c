/*
 * test_options.c - the options object: what it takes, what it refuses, and what
 * resolving it keeps.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build.h"

#include "config.h"
#include "dlock.h"
#include "error.h"
#include "options.h"
#include "servers.h"
#include "settings.h"

static struct dlock_options *options;

static void setup(void)
{
	options = dlock_options_new();
	cr_assert_not_null(options);
}

static void teardown(void)
{
	dlock_options_free(options);
}

TestSuite(options, .init = setup, .fini = teardown);

static const char *value_of(enum setting key)
{
	return options_settings(options)->of[key].value;
}

static void accepts(const char *key, const char *value)
{
	cr_expect_eq(dlock_options_set(options, key, value), 0, "%s = %s: %s", key, value, dlock_error_detail());
}

/* Refused with EINVAL and a sentence that begins so. */
static void refuses(const char *key, const char *value, const char *sentence)
{
	error_detail_clear();
	errno = 0;
	cr_expect_eq(dlock_options_set(options, key, value), -1, "%s = %s", key, value);
	cr_expect_eq(errno, EINVAL, "%s = %s", key, value);
	cr_expect_eq(strncmp(dlock_error_detail(), sentence, strlen(sentence)), 0, "%s = %s: %s", key, value,
	             dlock_error_detail());
}

Test(options, start_empty)
{
	for (unsigned key = 0; key < SETTING_COUNT; key++)
		cr_expect_null(value_of((enum setting)key));
}

Test(options, free_takes_null)
{
	dlock_options_free(NULL);
}

Test(options, every_key_is_accepted)
{
	accepts("servers", "a:1,b:2");
	accepts("ttl", "2000");
	accepts("prefix", "");
	accepts("node_timeout", "20");
	accepts("quorum_timeout", "forever");
	accepts("quarantine", "off");
	accepts("max_ttl", "20000");
	accepts("lock_delay", "5");
	accepts("password_file", "/dev/null"); /* what is in it is looked at by dlock_open() */
	accepts("tls_ca", "/dev/null");
	accepts("tls_cert", "/dev/null");
	accepts("tls_key", "/dev/null");
	for (unsigned key = 0; key < SETTING_COUNT; key++)
		cr_expect_not_null(value_of((enum setting)key), "%s", settings_name((enum setting)key));
}

Test(options, the_last_value_wins_and_null_takes_it_back)
{
	char value[] = "3000";

	accepts("ttl", "2000");
	accepts("ttl", value);
	value[0] = '9'; /* a copy was made */
	cr_assert_str_eq(value_of(SETTING_TTL), "3000");
	cr_assert_eq(dlock_options_set(options, "ttl", NULL), 0);
	cr_assert_null(value_of(SETTING_TTL));
	cr_assert_eq(dlock_options_set(options, "ttl", NULL), 0);
}

Test(options, a_refused_value_changes_nothing)
{
	accepts("ttl", "2000");
	refuses("ttl", "soon", "ttl: \"soon\" is not a number of milliseconds from 100 to 3600000");
	cr_assert_str_eq(value_of(SETTING_TTL), "2000");
}

Test(options, an_unknown_key_is_named_and_the_known_ones_listed)
{
	refuses("tll", "1", "\"tll\" is not a key; accepted are servers, ttl, prefix, node_timeout, quorum_timeout, "
	                    "quarantine, max_ttl, lock_delay, password_file, tls_ca, tls_cert, tls_key");
	refuses("", "1", "\"\" is not a key");
	refuses("TTL", "1000", "\"TTL\" is not a key");
	refuses("ttl ", "1000", "\"ttl \" is not a key");
	refuses("tll", NULL, "\"tll\" is not a key");
}

Test(options, null_arguments)
{
	errno = 0;
	cr_assert_eq(dlock_options_set(NULL, "ttl", "1000"), -1);
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_eq(dlock_options_set(options, NULL, "1000"), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_str_eq(dlock_error_detail(), "dlock_options_set: the key is NULL");
}

Test(options, numbers_are_strict)
{
	static const char *const wrong[] = {"", " ", "-1", "+1000", " 1000", "1000 ", "1000ms", "1e3", "0x400", "1000.0", "soon",
	                                    "99999999999999999999", "18446744073709552616", "\xd9\xa1\xd9\xa1\xd9\xa1"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refuses("ttl", wrong[i], "ttl: \"");
}

Test(options, numbers_have_bounds)
{
	static const struct {
		const char *key, *below, *least, *most, *above;
	} bounds[] = {
		{"ttl", "99", "100", "3600000", "3600001"},
		{"node_timeout", "0", "1", "600000", "600001"},
		{"quorum_timeout", "-1", "0", "86400000", "86400001"},
		{"max_ttl", "4000", "4001", "86400000", "86400001"},
		{"lock_delay", "-1", "0", "3600000", "3600001"},
	};

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		accepts(bounds[i].key, bounds[i].least);
		accepts(bounds[i].key, bounds[i].most);
		refuses(bounds[i].key, bounds[i].below, bounds[i].key);
		refuses(bounds[i].key, bounds[i].above, bounds[i].key);
	}
}

Test(options, forever_is_for_the_quorum_timeout_only)
{
	refuses("quorum_timeout", "never",
	        "quorum_timeout: \"never\" is not a number of milliseconds from 0 to 86400000, nor \"forever\"");
	refuses("ttl", "forever", "ttl: \"forever\" is not a number");
}

Test(options, words_and_paths)
{
	refuses("quarantine", "on", "quarantine: \"on\" is neither \"auto\" nor \"off\"");
	refuses("tls_ca", "", "tls_ca: the path of a file is accepted");
	refuses("tls_ca", "/nonexistent/ca.pem",
	        "tls_ca: \"/nonexistent/ca.pem\" cannot be read: No such file or directory");
	refuses("password_file", "/", "password_file: \"/\" cannot be read: Is a directory");
}

Test(options, prefix_bounds)
{
	char prefix[258];

	memset(prefix, 'p', 257);
	prefix[257] = '\0';
	refuses("prefix", prefix, "prefix: it is 257 bytes long; at most 256 are accepted");
	prefix[256] = '\0';
	accepts("prefix", prefix);
	refuses("prefix", "dlock!queue", "prefix: \"dlock!\" is reserved");
}

Test(options, what_is_quoted_is_printable_and_short)
{
	char value[4001];

	refuses("ttl", "1\n2\x1b", "ttl: \"1\\x0a2\\x1b\" is not a number");
	memset(value, '1', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	refuses("ttl", value, "ttl: \"1111111111111111111111111111111111111111111111111111111111111111...\" is not");
}

Test(options, passwords_are_not_shown)
{
	static const char *const wrong[] = {
		"redis://user:hunter2@host:port",   "redis://:hunter2@",       "redis://:hunter2@host/x",
		"http://:hunter2@host",             "user:hunter2@host:6379",  "redis://:hunter2,x@host:6379",
		"redis://:x,hunter2@host:6379",     "redis://:hunter2%@host",  "redis://a:hunter2/b@host:0",
		"a:1 redis://:hunter2@h:99999",     "redis://u:x@[hunter2@]", "user:hunter2,x@host",
		"unix:x://:hunter2@host",           "x:redis://hunter2@host",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		refuses("servers", wrong[i], "servers: ");
		cr_expect_not(strstr(dlock_error_detail(), "hunter2"), "%s", dlock_error_detail());
	}
}

/* ---- resolving, and what holds ---- */

static char directory[] = "/tmp/dlock-options-XXXXXX", file[64], secret[64];

static void write_file(const char *path, const char *text)
{
	FILE *stream = fopen(path, "we");

	cr_assert(stream && fputs(text, stream) >= 0 && fclose(stream) == 0, "%s", path);
}

/* Only what a test puts there is found. */
static void setup_resolve(void)
{
	static const char *const variables[] = {"DLOCK_SERVERS",   "DLOCK_TTL", "DLOCK_PREFIX",
	                                        "XDG_CONFIG_HOME", "HOME",      "XDG_RUNTIME_DIR"};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	cr_assert_not_null(mkdtemp(directory));
	snprintf(file, sizeof(file), "%s/dlock.conf", directory);
	snprintf(secret, sizeof(secret), "%s/password", directory);
	write_file(file, "servers = a:1 b:2 c:3\nttl = 2000\n");
	setenv("DLOCK_CONFIG", file, 1);
	setup();
}

static void teardown_resolve(void)
{
	teardown();
	unlink(file);
	unlink(secret);
	rmdir(directory);
}

TestSuite(resolve, .init = setup_resolve, .fini = teardown_resolve);

#define resolves() cr_assert_eq(dlock_options_resolve(options), 0, "%s", dlock_error_detail())
#define gives(key, value) \
	do { \
		const char *got_ = dlock_options_get(options, key); \
		cr_assert(got_ && strcmp(got_, value) == 0, "%s is %s, not %s: %s", key, got_ ? got_ : "NULL", value, \
		          dlock_error_detail()); \
	} while (0)

static void gives_nothing(const char *key)
{
	errno = 0;
	cr_expect_null(dlock_options_get(options, key), "%s", key);
	cr_expect_eq(errno, ENOENT, "%s: %s", key, strerror(errno));
	cr_expect_not_null(strstr(dlock_error_detail(), "is not set"), "%s", dlock_error_detail());
}

/* What would be opened with the object: "SERVER SERVER…, TTL, PREFIX", or the sentence of a failure. */
static const char *opened(void)
{
	static char text[1024];
	struct config config;
	size_t used = 0;

	if (config_resolve(options, &config, text, sizeof(text)) < 0)
		return text;
	for (unsigned i = 0; i < config.server_count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s ", config.servers[i].address);
	snprintf(text + used, sizeof(text) - used, "%lld \"%s\"", (long long)config.ttl_us / 1000, config.prefix);
	config_clear(&config);
	return text;
}

Test(resolve, neither_file_nor_environment_is_looked_at_again)
{
	setenv("DLOCK_PREFIX", "p/", 1);
	resolves();
	cr_assert_str_eq(opened(), "a:1 b:2 c:3 2000 \"p/\"");
	setenv("DLOCK_PREFIX", "q/", 1);
	setenv("DLOCK_TTL", "soon", 1);
	setenv("DLOCK_SERVERS", "nowhere:7", 1);
	write_file(file, "servers = d:4\nttl = never\n");
	cr_assert_str_eq(opened(), "a:1 b:2 c:3 2000 \"p/\"");
	unlink(file);
	cr_assert_str_eq(opened(), "a:1 b:2 c:3 2000 \"p/\"");
	gives("servers", "a:1,b:2,c:3");
	gives("ttl", "2000");
	gives("prefix", "p/");
}

Test(resolve, files_that_settings_name_are_not_read_again)
{
	struct config config;
	char why[1024];

	write_file(secret, "hunter2\n");
	accepts("password_file", secret);
	accepts("tls_ca", secret);
	resolves();
	unlink(secret);
	cr_assert_eq(config_resolve(options, &config, why, sizeof(why)), 0, "%s", why);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_str_eq(config.servers[i].password, "hunter2");
	cr_expect_str_eq(config.tls_ca, secret);
	config_clear(&config);
	gives("password_file", secret);
	cr_assert_eq(dlock_options_resolve(options), -1);
	cr_assert_eq(errno, EINVAL);
	gives("password_file", secret); /* as it was */
}

Test(resolve, two_that_were_opened_are_each_a_whole_copy)
{
	struct config first, second;
	char why[1024];

	accepts("servers", "redis://u:hunter2@a:1/3,unix:/s");
	resolves();
	cr_assert_eq(config_resolve(options, &first, why, sizeof(why)), 0);
	cr_assert_eq(config_resolve(options, &second, why, sizeof(why)), 0);
	cr_assert(config_same_masters(&first, &second));
	config_clear(&first);
	cr_assert_str_eq(second.servers[0].user, "u");
	cr_assert_str_eq(second.servers[0].password, "hunter2");
	cr_assert_str_eq(second.servers[1].path, "/s");
	config_clear(&second);
}

Test(resolve, set_takes_it_back)
{
	resolves();
	write_file(file, "servers = d:4\n");
	cr_assert_str_eq(opened(), "a:1 b:2 c:3 2000 \"dlock:\"");
	accepts("ttl", "3000");
	cr_assert_str_eq(opened(), "d:4 3000 \"dlock:\"");
	gives("ttl", "3000");
	gives_nothing("servers");
	resolves();
	write_file(file, "servers = e:5\n");
	cr_assert_str_eq(opened(), "d:4 3000 \"dlock:\"");
	cr_assert_eq(dlock_options_set(options, "ttl", NULL), 0);
	cr_assert_str_eq(opened(), "e:5 10000 \"dlock:\"");
}

Test(resolve, a_refused_value_does_not)
{
	resolves();
	unlink(file);
	refuses("ttl", "soon", "ttl: \"soon\"");
	refuses("tll", "1", "\"tll\" is not a key");
	cr_assert_str_eq(opened(), "a:1 b:2 c:3 2000 \"dlock:\"");
}

Test(resolve, anew)
{
	resolves();
	write_file(file, "servers = d:4\n");
	resolves();
	cr_assert_str_eq(opened(), "d:4 10000 \"dlock:\"");
	gives("servers", "d:4");
	gives("ttl", "10000");
}

/* The place is named, and the object is as it was: not resolved at first, then as it was resolved. */
Test(resolve, wrong_settings)
{
	char expected[128];

	write_file(file, "servers = a:1\nttl = soon\n");
	snprintf(expected, sizeof(expected), "%s:2: ttl: \"soon\" is not a number", file);
	errno = 0;
	cr_assert_eq(dlock_options_resolve(options), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_eq(strncmp(dlock_error_detail(), expected, strlen(expected)), 0, "%s", dlock_error_detail());
	gives_nothing("ttl");

	write_file(file, "servers = a:1\n");
	cr_assert_str_eq(opened(), "a:1 10000 \"dlock:\"");
	resolves();
	setenv("DLOCK_TTL", "1", 1);
	cr_assert_eq(dlock_options_resolve(options), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_not_null(strstr(dlock_error_detail(), "environment DLOCK_TTL: ttl"), "%s", dlock_error_detail());
	cr_assert_str_eq(opened(), "a:1 10000 \"dlock:\"");
	gives("ttl", "10000");
}

Test(resolve, settings_that_do_not_go_together)
{
	accepts("ttl", "20000");
	accepts("max_ttl", "10000");
	cr_assert_eq(dlock_options_resolve(options), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_not_null(strstr(dlock_error_detail(), "max_ttl: 10000 is less than ttl"), "%s", dlock_error_detail());
	gives("max_ttl", "10000"); /* as set */
}

Test(resolve, get_what_was_set)
{
	for (unsigned key = 0; key < SETTING_COUNT; key++)
		gives_nothing(settings_name((enum setting)key));
	accepts("servers", "redis://user:hunter2@host:1/2 b");
	accepts("prefix", "");
	gives("servers", "redis://user:hunter2@host:1/2 b"); /* its own words */
	gives("prefix", "");
	gives_nothing("ttl");
}

Test(resolve, get_what_holds)
{
	resolves();
	gives("servers", "a:1,b:2,c:3");
	gives("ttl", "2000");
	gives("prefix", "dlock:");
	gives("node_timeout", "100");
	gives("quorum_timeout", "5000");
	gives("quarantine", "auto");
	gives("lock_delay", "0");
	gives_nothing("max_ttl"); /* that of the cluster */
	gives_nothing("password_file");
	gives_nothing("tls_ca");
	gives_nothing("tls_cert");
	gives_nothing("tls_key");
	accepts("prefix", "");
	accepts("ttl", "1999");
	accepts("quorum_timeout", "forever");
	accepts("quarantine", "off");
	accepts("max_ttl", "20000");
	accepts("lock_delay", "7");
	accepts("tls_ca", "/dev/null");
	resolves();
	gives("prefix", "");
	gives("node_timeout", "99"); /* whole milliseconds */
	gives("quorum_timeout", "forever");
	gives("quarantine", "off");
	gives("max_ttl", "20000");
	gives("lock_delay", "7");
	gives("tls_ca", "/dev/null");
	accepts("ttl", "100");
	accepts("node_timeout", "0020");
	resolves();
	gives("node_timeout", "0020"); /* as written */
}

/* Told without secrets, and in words that mean the same servers. */
static void expect_servers(const char *set, const char *told)
{
	struct server *given = NULL, *again = NULL;
	unsigned given_count = 0, again_count = 0;
	char why[1024];

	accepts("servers", set);
	resolves();
	gives("servers", told);
	cr_assert_eq(servers_parse(set, &given, &given_count, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(servers_parse(told, &again, &again_count, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(given_count, again_count);
	for (unsigned i = 0; i < given_count; i++) {
		cr_expect_str_eq(again[i].address, given[i].address);
		cr_expect_eq(again[i].kind, given[i].kind);
		cr_expect_eq(again[i].tls, given[i].tls);
		cr_expect_eq(again[i].port, given[i].port);
		cr_expect_eq(again[i].db, given[i].db);
		cr_expect_null(again[i].user);
		cr_expect_null(again[i].password);
	}
	servers_list_free(given, given_count);
	servers_list_free(again, again_count);
}

Test(resolve, get_servers)
{
	expect_servers("redis://unix:7,unix,unix:/s", "redis://unix:7,redis://unix:6379,unix:/s");
	expect_servers("HOST", "host:6379");
	expect_servers(" a:1,\t192.0.2.7 b.example:9 ", "a:1,192.0.2.7:6379,b.example:9");
	expect_servers("[2001:DB8::1] [fe80::1%eth0]:7", "[2001:db8::1]:6379,[fe80::1%eth0]:7");
	expect_servers("unix:/run//redis.sock,unix:/s?db=3", "unix:/run/redis.sock,unix:/s?db=3");
	expect_servers("redis://host redis://:hunter2@host:7/4", "host:6379,redis://host:7/4");
	expect_servers("redis://user:hunter2@[::1]:7/4", "redis://[::1]:7/4");
	expect_servers("redis://user:h%2Cunter2@host:7", "host:7");
#ifdef HAVE_HIREDIS_SSL
	expect_servers("rediss://user:hunter2@host:7 rediss://[::1]/2", "rediss://host:7,rediss://[::1]:6379/2");
#endif
}

Test(resolve, get_wrong_arguments)
{
	errno = 0;
	cr_assert_null(dlock_options_get(options, "tll"));
	cr_assert_eq(errno, EINVAL);
	cr_assert_not_null(strstr(dlock_error_detail(), "\"tll\" is not a key"), "%s", dlock_error_detail());
	errno = 0;
	cr_assert_null(dlock_options_get(options, NULL));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_null(dlock_options_get(NULL, "ttl"));
	cr_assert_eq(errno, EINVAL);
	errno = 0;
	cr_assert_eq(dlock_options_resolve(NULL), -1);
	cr_assert_eq(errno, EINVAL);
}
