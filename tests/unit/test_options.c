/*
 * test_options.c - the options object: what it takes, and what it refuses.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "dlock.h"
#include "error.h"
#include "options.h"
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
