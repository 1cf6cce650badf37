/*
 * test_config.c - where settings come from, and what is wrong with them.
 *
 * Every test has a directory and an environment of its own: neither the
 * machine's /etc/dlock.conf nor its local quorum nor the caller's variables
 * are looked at.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "build.h"

#include "config.h"
#include "dlock.h"
#include "error.h"
#include "text.h"

static char directory[64];
static char system_file[128];
static char run_directory[128];
static struct config_places places;
static struct config config;
static char why[1024];
static struct dlock_options *options;

static void setup(void)
{
	static const char *const variables[] = {"DLOCK_SERVERS",   "DLOCK_TTL", "DLOCK_PREFIX", "DLOCK_CONFIG",
	                                        "XDG_CONFIG_HOME", "HOME",      "XDG_RUNTIME_DIR"};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	strcpy(directory, "/tmp/dlock-config-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	chmod(directory, 0755);
	snprintf(system_file, sizeof(system_file), "%s/etc-dlock.conf", directory);
	snprintf(run_directory, sizeof(run_directory), "%s/run", directory);
	places = (struct config_places){system_file, run_directory, geteuid()};
	options = dlock_options_new();
	cr_assert_not_null(options);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void teardown(void)
{
	config_clear(&config);
	dlock_options_free(options);
	nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(config, .init = setup, .fini = teardown);
TestSuite(servers, .init = setup, .fini = teardown);
TestSuite(quorum, .init = setup, .fini = teardown);

static const char *in_directory(const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, 256, "%s/%s", directory, name);
	return path;
}

static void write_bytes(const char *path, const char *bytes, size_t length)
{
	FILE *file = fopen(path, "we");

	cr_assert_not_null(file, "%s", path);
	cr_assert_eq(fwrite(bytes, 1, length, file), length);
	cr_assert_eq(fclose(file), 0);
}

static void write_file(const char *path, const char *text)
{
	write_bytes(path, text, strlen(text));
}

static void option(const char *key, const char *value)
{
	cr_assert_eq(dlock_options_set(options, key, value), 0, "%s", dlock_error_detail());
}

static int resolve(void)
{
	config_clear(&config);
	why[0] = '\0';
	return config_resolve_at(&places, options, &config, why, sizeof(why));
}

static void resolves(void)
{
	int r = resolve();

	cr_assert_eq(r, 0, "%d: %s", r, why);
}

/* Fails with EINVAL and that sentence; "%D" in it stands for the directory. */
static void fails_with(const char *sentence)
{
	const char *mark = strstr(sentence, "%D");
	char expected[2048];
	int r = resolve();

	if (mark)
		snprintf(expected, sizeof(expected), "%.*s%s%s", (int)(mark - sentence), sentence, directory, mark + 2);
	else
		snprintf(expected, sizeof(expected), "%s", sentence);
	cr_expect_eq(r, -EINVAL, "%d instead of: %s", r, expected);
	cr_expect_str_eq(why, expected);
}

/* The system's file with that text is refused so. */
static void file_fails_with(const char *text, const char *sentence)
{
	write_file(system_file, text);
	fails_with(sentence);
}

/* --- defaults and order ---------------------------------------------------- */

Test(config, defaults)
{
	resolves();
	cr_assert_eq(config.server_count, 1);
	cr_assert_eq(config.servers[0].kind, SERVER_TCP);
	cr_assert_str_eq(config.servers[0].address, "127.0.0.1:6379");
	cr_assert_str_eq(config.source, "default");
	cr_assert_str_eq(config.prefix, "dlock:");
	cr_assert_eq(config.ttl_us, 10000000);
	cr_assert_eq(config.node_timeout_us, 500000);
	cr_assert_eq(config.quorum_timeout_us, 5000000);
	cr_assert_eq(config.max_ttl_us, 0);
	cr_assert_eq(config.lock_delay_us, 0);
	cr_assert(config.quarantine);
	cr_assert_null(config.tls_ca);
	cr_assert_null(config.servers[0].user);
	cr_assert_null(config.servers[0].password);
}

Test(config, options_may_be_absent)
{
	cr_assert_eq(config_resolve_at(&places, NULL, &config, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(config.ttl_us, 10000000);
}

Test(config, every_key_of_a_file)
{
	const char *password = in_directory("password"), *pem = in_directory("pem");
	char text[1024];

	write_file(password, "hunter2\n");
	write_file(pem, "");
	snprintf(text, sizeof(text),
	         "servers = a:1 b:2\nttl=2000\nprefix = p/\nnode_timeout = 30\nquorum_timeout = forever\n"
	         "quarantine = off\nmax_ttl = 7000\nlock_delay = 500\npassword_file = %s\n"
	         "tls_ca = %s\ntls_cert = %s\ntls_key = %s\n", password, pem, pem, pem);
	write_file(system_file, text);
	resolves();
	cr_assert_eq(config.server_count, 2);
	cr_assert_str_eq(config.servers[1].address, "b:2");
	cr_assert_str_eq(config.servers[0].password, "hunter2");
	cr_assert_str_eq(config.servers[1].password, "hunter2");
	cr_assert_eq(config.ttl_us, 2000000);
	cr_assert_str_eq(config.prefix, "p/");
	cr_assert_eq(config.node_timeout_us, 30000);
	cr_assert_eq(config.quorum_timeout_us, -1);
	cr_assert_not(config.quarantine);
	cr_assert_eq(config.max_ttl_us, 7000000);
	cr_assert_eq(config.lock_delay_us, 500000);
	cr_assert_str_eq(config.tls_ca, pem);
	cr_assert_str_eq(config.tls_cert, pem);
	cr_assert_str_eq(config.tls_key, pem);
	snprintf(text, sizeof(text), "%s:1", system_file);
	cr_assert_str_eq(config.source, text);
}

Test(config, each_place_gives_what_the_earlier_ones_left)
{
	write_file(system_file, "servers = file\nttl = 3000\nprefix = file:\nlock_delay = 7\n");
	setenv("DLOCK_SERVERS", "env", 1);
	setenv("DLOCK_TTL", "2000", 1);
	option("servers", "option");
	resolves();
	cr_assert_str_eq(config.servers[0].address, "option:6379");
	cr_assert_str_eq(config.source, "the program's options");
	cr_assert_eq(config.ttl_us, 2000000);
	cr_assert_str_eq(config.prefix, "file:");
	cr_assert_eq(config.lock_delay_us, 7000);
	cr_assert_eq(config.quorum_timeout_us, 5000000);
	option("servers", NULL);
	resolves();
	cr_assert_str_eq(config.servers[0].address, "env:6379");
	cr_assert_str_eq(config.source, "environment DLOCK_SERVERS");
	unsetenv("DLOCK_SERVERS");
	resolves();
	cr_assert_str_eq(config.servers[0].address, "file:6379");
}

Test(config, only_the_first_file_is_read)
{
	const char *named = in_directory("named.conf");
	const char *user = in_directory("dlock.conf");
	char home_file[128];

	write_file(system_file, "ttl = 1001\nlock_delay = 1\n");
	resolves();
	cr_assert_eq(config.ttl_us, 1001000);

	mkdir(in_directory(".config"), 0755);
	snprintf(home_file, sizeof(home_file), "%s/.config/dlock.conf", directory);
	write_file(home_file, "ttl = 1002\n");
	setenv("HOME", directory, 1);
	resolves();
	cr_assert_eq(config.ttl_us, 1002000);
	cr_assert_eq(config.lock_delay_us, 0);

	write_file(user, "ttl = 1003\n");
	setenv("XDG_CONFIG_HOME", directory, 1);
	resolves();
	cr_assert_eq(config.ttl_us, 1003000);

	write_file(named, "ttl = 1004\n");
	setenv("DLOCK_CONFIG", named, 1);
	write_file(user, "this would be an error");
	resolves();
	cr_assert_eq(config.ttl_us, 1004000);
}

Test(config, empty_and_relative_variables)
{
	setenv("DLOCK_SERVERS", "", 1);
	setenv("DLOCK_TTL", "", 1);
	setenv("DLOCK_CONFIG", "", 1);
	setenv("DLOCK_PREFIX", "", 1);
	setenv("XDG_CONFIG_HOME", "relative", 1);
	setenv("HOME", "", 1);
	resolves();
	cr_assert_str_eq(config.source, "default");
	cr_assert_eq(config.ttl_us, 10000000);
	cr_assert_str_eq(config.prefix, "");
}

Test(config, node_timeout_follows_the_ttl)
{
	option("ttl", "100");
	resolves();
	cr_assert_eq(config.node_timeout_us, 50000);
	option("ttl", "60000");
	resolves();
	cr_assert_eq(config.node_timeout_us, 3000000);
	option("node_timeout", "7");
	resolves();
	cr_assert_eq(config.node_timeout_us, 7000);
}

/* --- the file --------------------------------------------------------------- */

Test(config, comments_blanks_and_line_ends)
{
	write_file(system_file, "# a comment\r\n\r\n  \t# another\n\tttl\t=  2000\t# why\r\n"
	                        "prefix =#a#b \t#c\nservers = redis://:a#b@h:1 #c\n \n lock_delay = 3");
	resolves();
	cr_assert_eq(config.ttl_us, 2000000);
	cr_assert_str_eq(config.prefix, "#a#b");
	cr_assert_str_eq(config.servers[0].password, "a#b");
	cr_assert_eq(config.lock_delay_us, 3000);
	write_file(system_file, "prefix = # none");
	resolves();
	cr_assert_str_eq(config.prefix, "");
	write_file(system_file, "prefix = a=b");
	resolves();
	cr_assert_str_eq(config.prefix, "a=b");
	write_file(system_file, "");
	resolves();
}

Test(config, mistakes_in_a_file_name_file_line_and_key)
{
	file_fails_with("\n\nttl = soon\n",
	                "%D/etc-dlock.conf:3: ttl: \"soon\" is not a number of milliseconds from 100 to 3600000");
	file_fails_with("ttl =\n", "%D/etc-dlock.conf:1: ttl: \"\" is not a number of milliseconds from 100 to 3600000");
	file_fails_with("servers\n", "%D/etc-dlock.conf:1: there is no '='; accepted are lines of the form key = value");
	file_fails_with("time = 1\n", "%D/etc-dlock.conf:1: \"time\" is not a key; accepted are servers, ttl, prefix, "
	                              "node_timeout, quorum_timeout, quarantine, max_ttl, lock_delay, password_file, "
	                              "tls_ca, tls_cert, tls_key");
	file_fails_with("redis://u:pa=word@h\n", "%D/etc-dlock.conf:1: what stands there (not shown, it may be part of a "
	                                         "password) is not a key; accepted are servers, ttl, prefix, "
	                                         "node_timeout, quorum_timeout, quarantine, max_ttl, lock_delay, "
	                                         "password_file, tls_ca, tls_cert, tls_key");
	file_fails_with("ttl = 1000\n#\nttl = 1000\n",
	                "%D/etc-dlock.conf:3: ttl: it was set in line 1 already; once is accepted");
	file_fails_with("servers =\n", "%D/etc-dlock.conf:1: servers: no server is named; accepted are host:port, "
	                               "[v6]:port, unix:/path and redis://user:password@host:port/db, separated by "
	                               "commas or spaces");
	file_fails_with("quarantine = maybe", "%D/etc-dlock.conf:1: quarantine: \"maybe\" is neither \"auto\" nor \"off\"");
}

Test(config, a_mistake_counts_also_where_the_key_is_overridden)
{
	option("ttl", "1000");
	file_fails_with("ttl = x", "%D/etc-dlock.conf:1: ttl: \"x\" is not a number of milliseconds from 100 to 3600000");
}

Test(config, passwords_in_a_bad_line_are_not_shown)
{
	write_file(system_file, "hunter2\n");
	cr_assert_eq(resolve(), -EINVAL);
	cr_assert_not(strstr(why, "hunter2"), "%s", why);
	write_file(system_file, "password = hunter2\n");
	cr_assert_eq(resolve(), -EINVAL);
	cr_assert_not(strstr(why, "hunter2"), "%s", why);
}

Test(config, nul_bytes_and_long_lines)
{
	char text[4200];

	write_bytes(system_file, "ttl = 1000\nttl\0 = 1", 19);
	fails_with("%D/etc-dlock.conf:2: the line holds a NUL byte; only text is accepted");
	memset(text, 'x', sizeof(text));
	text[0] = '#';
	write_bytes(system_file, text, 4097);
	fails_with("%D/etc-dlock.conf:1: the line is too long; at most 4096 bytes are accepted");
	text[4096] = '\n';
	write_bytes(system_file, text, 4097);
	resolves();
}

/* Cut anywhere and with any byte in any place, a file is either good or
 * refused with a sentence. */
Test(config, damaged_files_never_crash)
{
	static const char whole[] = "ttl = 1000 # c\nservers=redis://u:p%41@[::1]:1/2,unix:/a?db=3\n";
	static const char bytes[] = "\0\n\r#=%[]:/@, \xff";
	char text[sizeof(whole)];
	unsigned good = 0, bad = 0;

	for (size_t i = 0; i < sizeof(whole) - 1; i++)
		for (size_t b = 0; b < sizeof(bytes); b++) {
			size_t length = b == sizeof(bytes) - 1 ? i : sizeof(whole) - 1;
			int r;

			memcpy(text, whole, sizeof(text));
			text[i] = bytes[b];
			write_bytes(system_file, text, length);
			r = resolve();
			cr_expect(r == 0 || (r == -EINVAL && *why), "byte %zu of %zu: %d", i, length, r);
			r == 0 ? good++ : bad++;
		}
	cr_assert(good > 50 && bad > 50, "%u good, %u bad", good, bad);
}

Test(config, a_named_file_must_exist)
{
	setenv("DLOCK_CONFIG", in_directory("none"), 1);
	fails_with("environment DLOCK_CONFIG: %D/none cannot be read: No such file or directory");
	setenv("DLOCK_CONFIG", directory, 1);
	fails_with("environment DLOCK_CONFIG: %D cannot be read: Is a directory");
	mkfifo(in_directory("fifo"), 0600);
	setenv("DLOCK_CONFIG", in_directory("fifo"), 1);
	fails_with("environment DLOCK_CONFIG: %D/fifo cannot be read: it is not a regular file");
	setenv("DLOCK_CONFIG", "/dev/null", 1);
	write_file(system_file, "ttl = 1234");
	resolves();
	cr_assert_eq(config.ttl_us, 10000000);
}

Test(config, an_unreadable_default_file_is_an_error)
{
	write_file(system_file, "ttl = 1000\n");
	chmod(system_file, 0);
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	fails_with("%D/etc-dlock.conf cannot be read: Permission denied");
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
}

Test(config, mistakes_in_the_environment_name_the_variable)
{
	setenv("DLOCK_TTL", "99", 1);
	fails_with("environment DLOCK_TTL: ttl: \"99\" is not a number of milliseconds from 100 to 3600000");
	setenv("DLOCK_TTL", "100", 1);
	setenv("DLOCK_SERVERS", "a:0", 1);
	fails_with("environment DLOCK_SERVERS: servers: \"a:0\": the port is not a number from 1 to 65535");
	unsetenv("DLOCK_SERVERS");
	setenv("DLOCK_PREFIX", "dlock!", 1);
	fails_with("environment DLOCK_PREFIX: prefix: \"dlock!\" is reserved; a prefix must not begin so");
}

Test(config, the_result_is_untouched_on_failure)
{
	struct config before;

	memset(&before, 0x5a, sizeof(before));
	memcpy(&config, &before, sizeof(config));
	write_file(system_file, "servers = a,b\nttl = 1000\nmax_ttl = 4001\nlock_delay = 3600000");
	cr_assert_eq(config_resolve_at(&places, options, &config, why, sizeof(why)), -EINVAL);
	cr_assert_eq(memcmp(&config, &before, sizeof(config)), 0);
	memset(&config, 0, sizeof(config));
}

Test(config, a_short_why_is_cut)
{
	char small[8] = "1234567";

	write_file(system_file, "ttl = soon");
	cr_assert_eq(config_resolve_at(&places, options, &config, small, sizeof(small)), -EINVAL);
	cr_assert_eq(strlen(small), 7);
}

Test(config, want_of_descriptors_is_told_as_such)
{
	struct rlimit before, none = {0, 0};

	write_file(system_file, "ttl = 1000");
	getrlimit(RLIMIT_NOFILE, &before);
	none.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	int r = resolve();
	setrlimit(RLIMIT_NOFILE, &before);
	cr_assert_eq(r, -EMFILE);
	cr_assert(strstr(why, "Too many open files"), "%s", why);
}

/* --- settings that depend on each other ------------------------------------- */

Test(config, max_ttl_holds_ttl_and_lock_delay)
{
	option("ttl", "6000");
	option("lock_delay", "1000");
	option("max_ttl", "7000");
	resolves();
	option("max_ttl", "6999");
	fails_with("the program's options: max_ttl: 6999 is less than ttl (6000, the program's options) and lock_delay "
	           "(1000, the program's options) together");
}

Test(config, tls_key_and_certificate_go_together)
{
	option("tls_cert", "/dev/null");
	fails_with("the program's options: tls_cert is set without tls_key; they go together");
	option("tls_cert", NULL);
	option("tls_key", "/dev/null");
	fails_with("the program's options: tls_key is set without tls_cert; they go together");
	option("tls_cert", "/dev/null");
	resolves();
}

Test(config, files_are_looked_at_when_used)
{
	write_file(system_file, "ttl = 1000\ntls_ca = /nonexistent/ca\n");
	fails_with("%D/etc-dlock.conf:2: tls_ca: \"/nonexistent/ca\" cannot be read: No such file or directory");
	option("tls_ca", "/dev/null");
	resolves();
}

/* --- passwords --------------------------------------------------------------- */

static void password_is(const char *bytes, size_t length, const char *expected)
{
	const char *path = in_directory("secret");

	write_bytes(path, bytes, length);
	option("password_file", path);
	resolves();
	cr_expect_str_eq(config.servers[0].password, expected);
}

Test(config, the_first_line_is_the_password)
{
	char longest[515];

	password_is("pass word#\n", 11, "pass word#");
	password_is("p", 1, "p");
	password_is("p\r\nq\n", 5, "p");
	memset(longest, 'p', 512);
	memcpy(longest + 512, "\r\n", 3);
	write_bytes(in_directory("secret"), longest, 514);
	option("password_file", in_directory("secret"));
	resolves();
	cr_assert_eq(strlen(config.servers[0].password), 512);
}

Test(config, own_passwords_come_first)
{
	const char *path = in_directory("secret");

	write_file(path, "common\n");
	option("password_file", path);
	option("servers", "redis://:own@a,b,redis://user@c,unix:/d");
	resolves();
	cr_assert_str_eq(config.servers[0].password, "own");
	cr_assert_str_eq(config.servers[1].password, "common");
	cr_assert_str_eq(config.servers[2].user, "user");
	cr_assert_str_eq(config.servers[2].password, "common");
	cr_assert_str_eq(config.servers[3].password, "common");
}

static void password_fails(const char *bytes, size_t length, const char *problem)
{
	const char *path = in_directory("secret");
	char expected[512];

	write_bytes(path, bytes, length);
	option("password_file", path);
	snprintf(expected, sizeof(expected), "the program's options: password_file: %s: its first line%s", path, problem);
	fails_with(expected);
}

Test(config, bad_password_files)
{
	char longer[600];

	memset(longer, 'p', sizeof(longer));
	password_fails("", 0, ", the password, is empty");
	password_fails("\nsecond", 7, ", the password, is empty");
	password_fails("\r\n", 2, ", the password, is empty");
	password_fails("a\0b\n", 4, " holds a NUL byte");
	password_fails(longer, 513, ", the password, is longer than 512 bytes");
	password_fails(longer, 514, ", the password, is longer than 512 bytes");
	password_fails(longer, 600, ", the password, is longer than 512 bytes");
}

Test(config, a_user_needs_a_password)
{
	option("servers", "a,redis://me@b:1");
	fails_with("the program's options: servers: b:1 has a user but no password; write redis://user:password@host or "
	           "set password_file");
	option("servers", "a,redis://me:@b:1");
	cr_assert_eq(resolve(), -EINVAL);
}

/* --- servers ------------------------------------------------------------------ */

/* The addresses, separated by blanks. */
static void servers_are(const char *value, const char *expected)
{
	char text[2048] = "";

	option("servers", value);
	resolves();
	for (unsigned i = 0; i < config.server_count; i++) {
		strcat(text, i ? " " : "");
		strcat(text, config.servers[i].address);
	}
	cr_expect_str_eq(text, expected, "%s gives %s", value, text);
}

static void servers_fail(const char *value, const char *sentence)
{
	char expected[1024];

	snprintf(expected, sizeof(expected), "servers: %s", sentence);
	cr_expect_eq(dlock_options_set(options, "servers", value), -1, "%s", value);
	cr_expect_str_eq(dlock_error_detail(), expected);
}

Test(servers, every_form_has_its_normal_address)
{
	servers_are("Redis-A.Example.ORG", "redis-a.example.org:6379");
	servers_are("h:1,,h:2 \t h:65535,", "h:1 h:2 h:65535");
	servers_are("10.0.0.1:7000", "10.0.0.1:7000");
	servers_are("[::1]", "[::1]:6379");
	servers_are("[2001:DB8:0:0:0:0:0:1]:7", "[2001:db8::1]:7");
	servers_are("[fe80::1%eth0]:7", "[fe80::1%eth0]:7");
	servers_are("unix:/run/redis.sock", "unix:/run/redis.sock");
	servers_are("unix:///run//a.sock?db=2", "unix:/run/a.sock/2");
	servers_are("redis://h", "h:6379");
	servers_are("redis://h/", "h:6379");
	servers_are("redis://h:7/0", "h:7");
	servers_are("redis://h:7/9999", "h:7/9999");
	servers_are("REDIS://u:p@[::1]:7/3", "[::1]:7/3");
	servers_are("unix:/A", "unix:/A");
	servers_are("redis://unix:7 unix", "unix:7 unix:6379");
}

Test(servers, parts)
{
	servers_are("redis://me%40x:p%3a%2F%20w@h:7/3 unix:/a?db=4 redis://:a@b/c:@[::1]", "h:7/3 unix:/a/4 [::1]:6379");
	cr_assert_str_eq(config.servers[0].user, "me@x");
	cr_assert_str_eq(config.servers[0].password, "p:/ w");
	cr_assert_str_eq(config.servers[0].host, "h");
	cr_assert_eq(config.servers[0].port, 7);
	cr_assert_eq(config.servers[0].db, 3);
	cr_assert_not(config.servers[0].tls);
	cr_assert_null(config.servers[0].path);
	cr_assert_eq(config.servers[1].kind, SERVER_UNIX);
	cr_assert_str_eq(config.servers[1].path, "/a");
	cr_assert_eq(config.servers[1].db, 4);
	cr_assert_null(config.servers[1].host);
	cr_assert_null(config.servers[2].user);
	cr_assert_str_eq(config.servers[2].password, "a@b/c:"); /* the last '@' ends it */
	cr_assert_str_eq(config.servers[2].host, "::1");
}

Test(servers, tls)
{
#ifdef HAVE_HIREDIS_SSL
	servers_are("rediss://h:7", "h:7");
	cr_assert(config.servers[0].tls);
#else
	servers_fail("rediss://h:7", "\"rediss://h:7\": this libdlock was built without TLS (hiredis_ssl was missing); "
	                             "use redis:// or build it with TLS");
#endif
}

Test(servers, mistakes)
{
	servers_fail("h:", "\"h:\": the port is not a number from 1 to 65535");
	servers_fail("a,h:65536", "\"h:65536\": the port is not a number from 1 to 65535");
	servers_fail("h:0", "\"h:0\": the port is not a number from 1 to 65535");
	servers_fail("h:+1", "\"h:+1\": the port is not a number from 1 to 65535");
	servers_fail(":1", "\":1\": there is no host");
	servers_fail("redis://", "\"redis://\": there is no host");
	servers_fail("redis://:p@:1", "\"redis://***@:1\": there is no host");
	servers_fail("::1", "\"::1\": an IPv6 address must stand in brackets, as in [::1]:6379");
	servers_fail("fe80::1:6379", "\"fe80::1:6379\": an IPv6 address must stand in brackets, as in [::1]:6379");
	servers_fail("[::1", "\"[::1\": the bracket of the IPv6 address is not closed; write [v6]:port");
	servers_fail("[::1]7", "\"[::1]7\": only :port may follow the bracket of an IPv6 address");
	servers_fail("[::g]", "\"[::g]\": there is no IPv6 address between the brackets");
	servers_fail("[]", "\"[]\": there is no IPv6 address between the brackets");
	servers_fail("[::1%]", "\"[::1%]\": there is no IPv6 address between the brackets");
	servers_fail("6379", "\"6379\": the host looks like an IPv4 address but is none");
	servers_fail("10.0.0.256", "\"10.0.0.256\": the host looks like an IPv4 address but is none");
	servers_fail("h\xc3\xb6st", "\"h\\xc3\\xb6st\": the host is not a name of letters, digits, '.', '-' and '_', nor a number");
	servers_fail("unix:run/x", "\"unix:run/x\": the path of a unix socket must be absolute, as in unix:/run/redis.sock");
	servers_fail("unix:", "\"unix:\": the path of a unix socket must be absolute, as in unix:/run/redis.sock");
	servers_fail("unix://", "\"unix://\": the path of a unix socket must be absolute, as in unix:/run/redis.sock");
	servers_fail("unix:/x?db=", "\"unix:/x?db=\": the database is not a number from 0 to 9999");
	servers_fail("unix:/x?a=1", "\"unix:/x?a=1\": only ?db=NUMBER may follow the path of a unix socket");
	servers_fail("/run/x", "\"/run/x\": a unix socket needs the form unix:/path");
	servers_fail("h:1/2", "\"h:1/2\": a database needs the form redis://host:port/db");
	servers_fail("redis://h/10000", "\"redis://h/10000\": the database is not a number from 0 to 9999");
	servers_fail("redis://h/-1", "\"redis://h/-1\": the database is not a number from 0 to 9999");
	servers_fail("redis://h?x=1", "\"redis://h?x=1\": only redis://user:password@host:port/db is accepted, without '?' and '#'");
	servers_fail("http://h", "\"http://h\": the scheme is unknown; accepted are redis:// and rediss://");
	servers_fail("u:p@h", "\"***@h\": a user or password needs the form redis://user:password@host:port");
	servers_fail("redis://:%4@h", "\"redis://***@h\": user or password hold a '%' that is not followed by two hex digits (not 00)");
	servers_fail("redis://%00:p@h", "\"redis://***@h\": user or password hold a '%' that is not followed by two hex digits (not 00)");
	servers_fail("redis://:a,b@h", "server 1 (not shown, it may be part of a password): there is no host");
}

Test(servers, given_twice)
{
	servers_fail("h:1,x,H:1", "h:1 is given twice; each master counts once");
	servers_fail("h redis://:p@h:6379/0", "h:6379 is given twice; each master counts once");
	servers_fail("[::1] [0:0::1]:6379", "[::1]:6379 is given twice; each master counts once");
	servers_fail("unix:/a/b unix:/a//b", "unix:/a/b is given twice; each master counts once");
	servers_are("h:1 h:2", "h:1 h:2");
}

Test(servers, from_1_to_31)
{
	char value[512] = "";

	servers_fail("", "no server is named; accepted are host:port, [v6]:port, unix:/path and "
	                 "redis://user:password@host:port/db, separated by commas or spaces");
	servers_fail(" , ,\n", "no server is named; accepted are host:port, [v6]:port, unix:/path and "
	                       "redis://user:password@host:port/db, separated by commas or spaces");
	for (int i = 0; i < 31; i++)
		snprintf(value + strlen(value), sizeof(value) - strlen(value), "h:%d ", 7000 + i);
	option("servers", value);
	resolves();
	cr_assert_eq(config.server_count, 31);
	strcat(value, "h:1");
	servers_fail(value, "more than 31 servers are named");
}

Test(servers, lengths)
{
	char value[512] = "unix:/", expected[1024], quoted[TEXT_QUOTE_MAX];

	memset(value + 6, 'p', 106);
	option("servers", value);
	resolves();
	cr_assert_eq(strlen(config.servers[0].path), 107);
	strcat(value, "p");
	text_quote(quoted, value, strlen(value));
	snprintf(expected, sizeof(expected), "%s: the path of a unix socket has at most 107 bytes", quoted);
	servers_fail(value, expected);
	memset(value, 'h', 253);
	value[253] = '\0';
	option("servers", value);
	value[253] = 'h';
	value[254] = '\0';
	cr_assert_eq(dlock_options_set(options, "servers", value), -1);
}

/* --- the local quorum ----------------------------------------------------------- */

static const char *make_socket(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *path = in_directory(name);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd); /* its file stays */
	return path;
}

/* The quorum's file in `where`, which names one socket that is there and one
 * that is not. Returns the file's path. */
static const char *make_quorum(const char *where)
{
	static char path[256];
	char text[512];

	mkdir(where, 0755);
	snprintf(text, sizeof(text), "unix:%s/none,unix:%s\n", directory, make_socket("sock"));
	snprintf(path, sizeof(path), "%s/servers", where);
	write_file(path, text);
	chmod(path, 0644);
	return path;
}

static const char *source(void)
{
	resolves();
	return config.source;
}

Test(quorum, of_root)
{
	char expected[256];

	places.euid = 0;
	setenv("XDG_RUNTIME_DIR", "/nonexistent", 1); /* not root's */
	cr_assert_str_eq(source(), "default");
	make_quorum(run_directory);
	snprintf(expected, sizeof(expected), "the local quorum in %s", run_directory);
	if (geteuid() != 0) { /* then the file is not root's, and root does not trust it */
		cr_assert_str_eq(source(), "default");
		return;
	}
	cr_assert_str_eq(source(), expected);
	cr_assert_eq(config.server_count, 2);
	cr_assert_eq(config.servers[1].kind, SERVER_UNIX);
}

Test(quorum, of_a_user)
{
	char expected[256];

	places.euid = geteuid() ? geteuid() : 65534;
	snprintf(expected, sizeof(expected), "the local quorum in %s/dlock", directory);
	make_quorum(in_directory("dlock")); /* of this user, or of root */
	cr_assert_str_eq(source(), "default");
	setenv("XDG_RUNTIME_DIR", directory, 1);
	cr_assert_str_eq(source(), expected);
}

Test(quorum, comes_after_every_setting)
{
	places.euid = geteuid() ? geteuid() : 65534;
	setenv("XDG_RUNTIME_DIR", directory, 1);
	make_quorum(in_directory("dlock"));
	write_file(system_file, "ttl = 2000");
	cr_assert_eq(strncmp(source(), "the local quorum", 16), 0);
	cr_assert_eq(config.ttl_us, 2000000);
	setenv("DLOCK_SERVERS", "a", 1);
	cr_assert_str_eq(source(), "environment DLOCK_SERVERS");
}

Test(quorum, is_ignored_where_others_could_have_written_it)
{
	const char *path;

	places.euid = geteuid() ? geteuid() : 65534;
	setenv("XDG_RUNTIME_DIR", directory, 1);
	path = make_quorum(in_directory("dlock"));
	chmod(path, 0646);
	cr_assert_str_eq(source(), "default");
	chmod(path, 0664);
	cr_assert_str_eq(source(), "default");
	chmod(path, 0644);
	cr_assert_str_neq(source(), "default");
	if (geteuid() == 0) {
		cr_assert_eq(chown(path, 65533, (gid_t)-1), 0);
		cr_assert_str_eq(source(), "default");
	}
}

Test(quorum, is_not_running_without_a_socket)
{
	const char *path;

	places.euid = geteuid() ? geteuid() : 65534;
	setenv("XDG_RUNTIME_DIR", directory, 1);
	path = make_quorum(in_directory("dlock"));
	unlink(in_directory("sock"));
	cr_assert_str_eq(source(), "default");
	write_file(in_directory("sock"), "no socket");
	cr_assert_str_eq(source(), "default");
	write_file(path, "");
	cr_assert_str_eq(source(), "default");
	write_file(path, "nonsense:\n");
	fails_with("%D/dlock/servers:1: servers: \"nonsense:\": the port is not a number from 1 to 65535");
}

/* --- sharing connections ----------------------------------------------------------- */

static bool same_as_with(const char *key, const char *value)
{
	struct dlock_options *other = dlock_options_new();
	struct config second = {0};
	bool same;

	cr_assert_eq(dlock_options_set(other, "servers", "redis://u:p@a,b"), 0);
	cr_assert_eq(dlock_options_set(other, key, value), 0, "%s", dlock_error_detail());
	cr_assert_eq(config_resolve_at(&places, other, &second, why, sizeof(why)), 0, "%s", why);
	same = config_same_masters(&config, &second) && config_same_masters(&second, &config);
	config_clear(&second);
	dlock_options_free(other);
	return same;
}

Test(config, same_masters)
{
	option("servers", "redis://u:p@a,b");
	resolves();
	cr_assert(same_as_with("ttl", "5000"));
	cr_assert(same_as_with("prefix", "x"));
	cr_assert(same_as_with("servers", "redis://u:p@A:6379 b"));
	cr_assert_not(same_as_with("servers", "redis://u:q@a,b"));
	cr_assert_not(same_as_with("servers", "redis://v:p@a,b"));
	cr_assert_not(same_as_with("servers", "a,b"));
	cr_assert_not(same_as_with("servers", "redis://u:p@a"));
	cr_assert_not(same_as_with("servers", "redis://u:p@a,b:1"));
	cr_assert_not(same_as_with("servers", "redis://u:p@a/1,b"));
	cr_assert_not(same_as_with("max_ttl", "20000"));
	cr_assert_not(same_as_with("quarantine", "off"));
	cr_assert_not(same_as_with("tls_ca", "/dev/null"));
}

Test(config, clear_takes_an_empty_and_a_cleared_one)
{
	struct config empty = {0};

	config_clear(&empty);
	resolves();
	config_clear(&config);
	config_clear(&config);
	cr_assert_null(config.servers);
	cr_assert_eq(config.server_count, 0);
}
