/*
 * test_node.c - one connection, against real servers and against liars.
 *
 * The driver is the smallest owner that a node can have: an epoll, a clock that
 * can be put forward, and counters of what was called back. Putting the clock
 * forward is how a thousand back-offs take no time.
 */
#include <criterion/criterion.h>

#ifdef HAVE_CONFIG_H
#include "build.h"
#endif

#include "config.h"
#include "node.h"
#include "script.h"
#include "tests/harness/fake.h"
#include "tests/harness/loop.h"
#include "tests/harness/servers.h"
#include "tests/harness/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_US 1000000
#define TAGS_MAX 70000

/* --- the driver ----------------------------------------------------------------------- */

struct driver {
	struct loop loop; /* first: what loop_watch() is given */
	struct node *node;

	unsigned connected, disconnected, replies, errors, broken;
	struct node_facts facts;
	char why[512], text[256];
	/* Tags in the order in which they were answered. */
	uint32_t tags[TAGS_MAX];
	unsigned tag_count;
	unsigned broken_after_disconnected;

	/* What a test does inside a callback. */
	void (*on_connected)(struct driver *d);
	void (*on_disconnected)(struct driver *d);
	void (*on_reply)(struct driver *d, const struct value *value);
};

static int64_t now_us(const struct driver *d)
{
	return loop_now_us(&d->loop);
}

static void connected(void *context, struct node *node, const struct node_facts *facts)
{
	struct driver *d = context;

	cr_assert(node_is_connected(node));
	cr_assert_str_eq(node_problem(node), "");
	d->connected++;
	d->facts = *facts;
	if (d->on_connected != NULL)
		d->on_connected(d);
}

/* A sentence: printable, bounded, not empty, and without the secret of these tests. */
static void check_sentence(const char *why)
{
	size_t length = strlen(why);

	cr_assert(length > 0 && length < 256, "%zu bytes", length);
	for (size_t i = 0; i < length; i++)
		cr_assert(why[i] >= 0x20 && why[i] < 0x7f, "byte %zu of \"%s\"", i, why);
	cr_assert_null(strstr(why, "seCret"), "%s", why);
}

static void disconnected(void *context, struct node *node, const char *why)
{
	struct driver *d = context;

	check_sentence(why);
	cr_assert_str_eq(node_problem(node), why);
	cr_assert_not(node_is_connected(node));
	cr_assert_eq(node_oldest_sent_us(node), INT64_MAX, "all commands are reported before the end is");
	d->disconnected++;
	snprintf(d->why, sizeof(d->why), "%s", why);
	if (d->on_disconnected != NULL)
		d->on_disconnected(d);
}

static void reply(void *context, struct node *node, void *tag, enum node_answer answer, const struct value *value,
                  const char *text, int64_t sent_us)
{
	struct driver *d = context;

	(void)node;
	cr_assert_eq(value != NULL, answer == NODE_REPLY);
	cr_assert_eq(text != NULL, answer == NODE_ERROR);
	cr_assert(sent_us > 0 && sent_us <= now_us(d));
	if (d->tag_count < TAGS_MAX)
		d->tags[d->tag_count++] = (uint32_t)(uintptr_t)tag;
	if (answer == NODE_BROKEN) {
		d->broken++;
		return;
	}
	d->replies += answer == NODE_REPLY;
	d->errors += answer == NODE_ERROR;
	if (text != NULL)
		snprintf(d->text, sizeof(d->text), "%s", text);
	if (d->on_reply != NULL)
		d->on_reply(d, value);
}

/* A driver for "unix:/path" or "host:port". */
static struct driver *driver_new(const char *address)
{
	struct driver *d = calloc(1, sizeof(*d));
	struct node_owner owner = {d, loop_watch, connected, disconnected, reply, NULL};

	cr_assert_not_null(d);
	cr_assert_eq(loop_begin(&d->loop, address), 0);
	d->node = node_new(&d->loop.config, &d->loop.server, 3, &owner, 42);
	cr_assert_not_null(d->node);
	return d;
}

static void driver_free(struct driver *d)
{
	node_free(d->node);
	loop_end(&d->loop);
	free(d);
}

/* One turn: waits at most `most_ms`, and not at all for what the clock can be put forward to. */
static void turn(struct driver *d, int most_ms, bool hurry)
{
	struct epoll_event events[16];
	int64_t wait_us = node_next_us(d->node) - now_us(d), wait_ms;
	int count;

	wait_ms = wait_us <= 0 ? 0 : wait_us > (int64_t)most_ms * 1000 ? most_ms : wait_us / 1000 + 1;
	count = epoll_wait(d->loop.epoll, events, 16, hurry ? 0 : (int)wait_ms);
	for (int i = 0; i < count; i++)
		node_ready(d->node, events[i].data.fd, events[i].events, now_us(d));
	if (hurry && count == 0 && wait_us > 0 && wait_us < INT64_MAX / 2)
		d->loop.forward_us += wait_us;
	node_tick(d->node, now_us(d));
}

/* Turns until *counter is at least `value`. False after `most_ms`. */
static bool until(struct driver *d, const unsigned *counter, unsigned value, int most_ms)
{
	int64_t end_us = now_us(d) + (int64_t)most_ms * 1000;

	while (*counter < value && now_us(d) < end_us)
		turn(d, 20, false);
	return *counter >= value;
}

static void start(struct driver *d)
{
	node_start(d->node, now_us(d));
}

static void must_connect(struct driver *d)
{
	start(d);
	cr_assert(until(d, &d->connected, 1, 5000), "not connected: %s", node_problem(d->node));
	cr_assert_eq(d->disconnected, 0, "%s", d->why);
}

/* The sentence with which the first attempt ends. */
static const char *first_failure(struct driver *d)
{
	start(d);
	cr_assert(until(d, &d->disconnected, 1, (int)(5000 + d->loop.config.node_timeout_us / 1000)), "still no end");
	cr_assert_eq(d->connected, 0);
	return d->why;
}

#define assert_says(why, words) cr_assert_not_null(strstr((why), (words)), "\"%s\" does not say \"%s\"", (why), (words))

/* A command of words, separated by one space each. */
static int command(struct driver *d, unsigned tag, const char *words)
{
	const char *argv[16];
	size_t lengths[16];
	int argc = 0;

	for (const char *word = words; argc < 16; word += lengths[argc - 1] + 1) {
		argv[argc] = word;
		lengths[argc++] = strcspn(word, " ");
		if (word[lengths[argc - 1]] == '\0')
			break;
	}
	return node_send(d->node, argc, argv, lengths, (void *)(uintptr_t)tag, now_us(d));
}

static void ask(struct driver *d, const char *words)
{
	unsigned before = d->replies + d->errors;

	cr_assert_eq(command(d, 0, words), 0);
	node_flush(d->node, now_us(d));
	for (int i = 0; i < 500 && d->replies + d->errors == before; i++)
		turn(d, 20, false);
	cr_assert_eq(d->replies + d->errors, before + 1, "no answer to %s: %s", words, node_problem(d->node));
}

/* --- servers ------------------------------------------------------------------------------ */

static struct servers *servers;
static struct driver *driver;
static struct fake *fake;

static void one_server(const struct servers_options *options)
{
	struct servers_options one = options != NULL ? *options : (struct servers_options){0};

	if (servers_require() != 0)
		cr_skip("no redis-server");
	one.count = 1;
	servers = servers_start(&one);
	cr_assert_not_null(servers);
}

static void tear_down(void)
{
	if (driver != NULL)
		driver_free(driver);
	fake_stop(fake);
	servers_free(servers);
}

TestSuite(node, .fini = tear_down, .timeout = 60);
TestSuite(liars, .fini = tear_down, .timeout = 100);

static struct driver *to_server(const struct servers_options *options)
{
	one_server(options);
	driver = driver_new(servers_address(servers, 0));
	return driver;
}

/* What INFO says, as the harness hears it. */
static bool info_says(const char *section, const char *line)
{
	char *text = servers_command(servers, 0, "INFO %s", section);
	bool says = text != NULL && strstr(text, line) != NULL;

	free(text);
	return says;
}

/* --- reaching one --------------------------------------------------------------------------- */

Test(node, unix_socket_and_facts)
{
	struct driver *d = to_server(NULL);

	cr_assert_str_eq(node_problem(d->node), "not connected yet");
	cr_assert_eq(node_next_us(d->node), INT64_MAX);
	cr_assert_eq(command(d, 0, "PING"), -ENOTCONN);
	must_connect(d);
	cr_assert(d->facts.info_known && d->facts.is_redis && d->facts.is_master);
	cr_assert_not(d->facts.loading || d->facts.was_replica || d->facts.evicts || d->facts.always);
	cr_assert(d->facts.always_known && d->facts.kill_permitted);
	cr_assert_geq(d->facts.version, 60200);
	cr_assert_eq(d->facts.connected_replicas, 0);
	cr_assert_eq(strlen(d->facts.run_id), 40);
	cr_assert_eq(strlen(d->facts.replid), 40);
	cr_assert_str_eq(d->facts.role, "master");
	cr_assert_str_eq(d->facts.persistence, "none");
	cr_assert_str_eq(d->facts.eviction, "noeviction");
	cr_assert_str_eq(d->facts.detail, "");
	cr_assert(info_says("server", d->facts.run_id));
	cr_assert_eq(node_index(d->node), 3);
	cr_assert_eq(node_server(d->node), &d->loop.server);
	cr_assert_eq(node_latency_us(d->node), -1);
	cr_assert_eq(node_next_us(d->node), INT64_MAX);
	ask(d, "PING");
	cr_assert(node_latency_us(d->node) >= 0 && node_latency_us(d->node) < SECOND_US);
}

static void check_tcp(const char *host, const char *listen)
{
	struct servers_options options = {.tcp = true, .host = listen};
	char address[64];

	one_server(&options);
	snprintf(address, sizeof(address), "%s%s", host, strrchr(servers_address(servers, 0), ':'));
	driver = driver_new(address);
	must_connect(driver);
	ask(driver, "PING");
}

Test(node, ipv4)
{
	check_tcp("127.0.0.1", "127.0.0.1");
}

Test(node, ipv6)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	bool have = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;

	if (fd >= 0)
		close(fd);
	if (!have)
		cr_skip("no IPv6 here");
	check_tcp("[::1]", "::1");
}

/* localhost has two addresses on most machines, and this server listens on one. */
Test(node, name_with_several_addresses)
{
	check_tcp("localhost", "127.0.0.1");
}

Test(node, socket_options)
{
	struct servers_options options = {.tcp = true};
	struct driver *d = to_server(&options);
	int on = 0;
	socklen_t length = sizeof(on);

	must_connect(d);
	cr_assert_eq(fcntl(d->loop.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cr_assert_eq(fcntl(d->loop.fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	cr_assert_eq(getsockopt(d->loop.fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, &length), 0);
	cr_assert(on);
	cr_assert_eq(getsockopt(d->loop.fd, SOL_SOCKET, SO_KEEPALIVE, &on, &length), 0);
	cr_assert(on);
}

Test(node, nobody_listens)
{
	driver = driver_new("127.0.0.1:1");
	assert_says(first_failure(driver), "could not connect: Connection refused");
}

Test(node, no_such_socket)
{
	driver = driver_new("unix:/nonexistent/socket");
	assert_says(first_failure(driver), "could not connect: No such file or directory");
}

Test(node, path_too_long)
{
	char address[256] = "unix:/tmp/";

	memset(address + 10, 'x', 200);
	driver = driver_new(address);
	assert_says(first_failure(driver), "path of its socket is too long (at most 107 bytes)");
}

/* --- logging in ------------------------------------------------------------------------------- */

Test(node, password)
{
	struct servers_options options = {.password = "seCret"};
	struct driver *d = to_server(&options);

	d->loop.server.password = (char *)"seCret";
	must_connect(d);
}

Test(node, user_and_password)
{
	struct servers_options options = {.user = "alice", .password = "seCret"};
	struct driver *d = to_server(&options);

	d->loop.server.user = (char *)"alice";
	d->loop.server.password = (char *)"seCret";
	must_connect(d);
}

Test(node, wrong_password)
{
	struct servers_options options = {.password = "another"};
	struct driver *d = to_server(&options);

	d->loop.server.password = (char *)"seCret";
	assert_says(first_failure(d), "wrong user or password: \"WRONGPASS");
}

Test(node, password_missing)
{
	struct servers_options options = {.password = "seCret"};

	assert_says(first_failure(to_server(&options)), "needs a password: \"NOAUTH");
}

Test(node, password_that_the_server_does_not_want)
{
	struct driver *d = to_server(NULL);

	d->loop.server.password = (char *)"seCret";
	assert_says(first_failure(d), "a password is configured here, but the server has none");
}

/* A server that does not know AUTH repeats its arguments. */
Test(node, the_password_is_never_repeated)
{
	static const char script[] = "-ERR unknown command `AUTH`, with args beginning with: `seCret`\r\n";
	static const char echo[] = "*2\r\n$4\r\nAUTH\r\n$6\r\nseCret\r\n";
	struct fake_options options = {.script = script, .script_size = sizeof(script) - 1, .cut_after = -1};

	for (int i = 0; i < 2; i++) {
		fake = fake_start(&options);
		cr_assert_not_null(fake);
		driver = driver_new(fake_address(fake));
		driver->loop.server.password = (char *)"seCret";
		assert_says(first_failure(driver), "left out");
		driver_free(driver);
		driver = NULL;
		fake_stop(fake);
		fake = NULL;
		options.script = echo;
		options.script_size = sizeof(echo) - 1;
	}
}

Test(node, database)
{
	struct driver *d = to_server(NULL);
	char *list;

	d->loop.server.db = 7;
	must_connect(d);
	list = servers_command(servers, 0, "CLIENT LIST");
	cr_assert_not_null(list);
	assert_says(list, " db=7 ");
	free(list);
}

Test(node, database_that_there_is_not)
{
	struct driver *d = to_server(NULL);

	d->loop.server.db = 9999;
	assert_says(first_failure(d), "refused database 9999: \"ERR DB index is out of range\"");
}

/* A user as managed servers give it: everything that we can do without is forbidden. */
Test(node, questions_refused)
{
	struct servers_options options = {.user = "bob",
	                                  .password = "seCret",
	                                  .rules = "~* &* +@all -config -client -info"};
	struct driver *d = to_server(&options);

	d->loop.server.user = (char *)"bob";
	d->loop.server.password = (char *)"seCret";
	must_connect(d);
	cr_assert_not(d->facts.info_known || d->facts.always_known || d->facts.always);
	cr_assert(d->facts.kill_permitted, "there was none to kill");
	cr_assert_str_eq(d->facts.persistence, "");
	assert_says(d->facts.detail, "CLIENT ID was refused: \"NOPERM");
	/* The next time there is one to kill, and no number to kill it by. */
	node_reconnect(d->node, "for the test", now_us(d));
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert_not(d->facts.kill_permitted);
}

Test(node, config_refused_leaves_what_info_tells)
{
	struct servers_options options = {.persistence = SERVERS_ALWAYS,
	                                  .user = "bob",
	                                  .password = "seCret",
	                                  .rules = "~* &* +@all -config"};
	struct driver *d = to_server(&options);

	d->loop.server.user = (char *)"bob";
	d->loop.server.password = (char *)"seCret";
	must_connect(d);
	cr_assert(d->facts.info_known);
	cr_assert_not(d->facts.always_known || d->facts.always);
	cr_assert_str_eq(d->facts.persistence, "aof");
	assert_says(d->facts.detail, "CONFIG GET was refused: \"NOPERM");
}

Test(node, script_refused)
{
	struct servers_options options = {.user = "bob", .password = "seCret", .rules = "~* &* +@all -script"};
	struct driver *d = to_server(&options);

	d->loop.server.user = (char *)"bob";
	d->loop.server.password = (char *)"seCret";
	assert_says(first_failure(d), "does not permit this user to load a script: \"NOPERM");
}

Test(node, too_many_clients)
{
	struct servers_options options = {.config = "maxclients 1"};
	struct driver *d, *first;

	first = to_server(&options);
	must_connect(first);
	d = driver_new(servers_address(servers, 0));
	assert_says(first_failure(d), "refused the connection: \"ERR max number of clients reached\"");
	driver_free(d);
}

/* --- facts ---------------------------------------------------------------------------------- */

static void check_persistence(enum servers_persistence persistence, const char *config, const char *expected, bool always)
{
	struct servers_options options = {.persistence = persistence, .config = config};
	struct driver *d = to_server(&options);

	must_connect(d);
	cr_assert_str_eq(d->facts.persistence, expected);
	cr_assert(d->facts.always_known);
	cr_assert_eq(d->facts.always, always);
}

Test(node, persistence_always)
{
	check_persistence(SERVERS_ALWAYS, NULL, "always", true);
}

Test(node, persistence_everysec)
{
	check_persistence(SERVERS_EVERYSEC, NULL, "everysec", false);
}

Test(node, persistence_always_but_not_on_rewrite)
{
	check_persistence(SERVERS_ALWAYS, "no-appendfsync-on-rewrite yes", "always", false);
}

Test(node, eviction)
{
	struct servers_options options = {.config = "maxmemory 100mb\nmaxmemory-policy allkeys-lru"};
	struct driver *d = to_server(&options);

	must_connect(d);
	cr_assert(d->facts.evicts);
	cr_assert_str_eq(d->facts.eviction, "allkeys-lru");
}

Test(node, replica_and_promoted)
{
	struct servers_options options = {.tcp = true};
	struct driver *d = to_server(&options);

	cr_assert_eq(servers_demote(servers, 0, -1), 0);
	must_connect(d);
	cr_assert_str_eq(d->facts.role, "slave");
	cr_assert_not(d->facts.is_master);
	cr_assert_eq(servers_promote(servers, 0), 0);
	node_reconnect(d->node, "for the test", now_us(d));
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert(d->facts.is_master);
	cr_assert(d->facts.was_replica);
}

/* --- commands and values ---------------------------------------------------------------------- */

static void look_at_array(struct driver *d, const struct value *value)
{
	size_t length = 99;

	if (value_kind(value) != VALUE_ARRAY)
		return;
	d->on_reply = NULL;
	cr_assert_eq(value_count(value), 5);
	cr_assert_eq(value_kind(value_at(value, 0)), VALUE_INTEGER);
	cr_assert_eq(value_integer(value_at(value, 0), 0), 12);
	cr_assert_null(value_string(value_at(value, 0), NULL));
	cr_assert_str_eq(value_string(value_at(value, 1), &length), "1721000000123456");
	cr_assert_eq(length, 16);
	cr_assert_eq(value_integer(value_at(value, 1), 0), 1721000000123456);
	cr_assert_eq(value_kind(value_at(value, 2)), VALUE_NIL);
	cr_assert_eq(value_count(value_at(value, 3)), 2);
	cr_assert_eq(value_count(value_at(value_at(value, 3), 0)), 0);
	cr_assert_eq(value_kind(value_at(value_at(value, 3), 0)), VALUE_ARRAY);
	cr_assert_eq(value_integer(value_at(value_at(value, 3), 1), -7), -7, "\"12x\" is no number");
	cr_assert_str_eq(value_string(value_at(value, 4), NULL), "OK");
	cr_assert_null(value_at(value, 5));
	cr_assert_eq(value_kind(value_at(value, 5)), VALUE_NIL);
	cr_assert_eq(value_count(value_at(value, 0)), 0);
}

Test(node, values)
{
	struct driver *d = to_server(NULL);
	static const char *const argv[] = {
		"EVAL", "return {12, '1721000000123456', false, {{}, '12x'}, redis.status_reply('OK')}", "0"};
	size_t lengths[] = {4, strlen(argv[1]), 1};

	must_connect(d);
	d->on_reply = look_at_array;
	cr_assert_eq(node_send(d->node, 3, argv, lengths, NULL, now_us(d)), 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->replies, 1, 2000));
	cr_assert_null(d->on_reply, "the array was looked at");
	ask(d, "GET too many");
	cr_assert_eq(d->errors, 1);
	cr_assert_str_eq(d->text, "ERR wrong number of arguments for 'get' command");
}

Test(node, script_is_loaded)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	cr_assert(info_says("memory", "number_of_cached_scripts:1"));
}

static void check_order(struct driver *d, unsigned count)
{
	cr_assert_eq(d->tag_count, count);
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(d->tags[i], i, "answer %u was that of %u", i, d->tags[i]);
}

Test(node, ten_thousand_in_order)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	for (unsigned i = 0; i < 10000; i++)
		cr_assert_eq(command(d, i, "INCR counter"), 0);
	cr_assert_lt(node_oldest_sent_us(d->node), INT64_MAX);
	cr_assert_eq(d->replies, 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->replies, 10000, 10000), "%u", d->replies);
	check_order(d, 10000);
	cr_assert_eq(node_oldest_sent_us(d->node), INT64_MAX);
}

Test(node, unanswered_commands_are_bounded)
{
	struct driver *d = to_server(NULL);
	unsigned i = 0;

	must_connect(d);
	while (i < TAGS_MAX && command(d, i, "PING") == 0)
		i++;
	cr_assert_eq(i, 65536);
	cr_assert_eq(command(d, i, "PING"), -EAGAIN);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->replies, 65536, 20000));
	check_order(d, 65536);
	cr_assert_eq(command(d, i, "PING"), 0);
}

/* The server is stopped: the socket fills, the rest waits, and nothing is lost. */
Test(node, backlog)
{
	struct driver *d = to_server(NULL);
	size_t size = 1 << 20;
	char *data = calloc(1, size);
	const char *argv[] = {"APPEND", "key", data};
	size_t lengths[] = {6, 3, size};
	unsigned sent = 0;

	must_connect(d);
	servers_stop(servers, 0);
	for (int i = 0; i < 3; i++) {
		while (node_send(d->node, 3, argv, lengths, (void *)(uintptr_t)sent, now_us(d)) == 0)
			sent++;
		node_flush(d->node, now_us(d));
		turn(d, 10, false);
	}
	cr_assert_eq(node_send(d->node, 3, argv, lengths, NULL, now_us(d)), -EAGAIN);
	cr_assert(sent >= 15 && sent <= 24, "%u", sent);
	servers_cont(servers, 0);
	cr_assert(until(d, &d->replies, sent, 20000), "%u of %u", d->replies, sent);
	check_order(d, sent);
	free(data);
}

static void count_elements(struct driver *d, const struct value *value)
{
	snprintf(d->text, sizeof(d->text), "%zu", value_count(value));
}

Test(node, large_replies)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	d->on_reply = count_elements;
	ask(d, "EVAL return(redis.call('setrange','s',20971519,'x')) 0");
	ask(d, "GET s");
	cr_assert_eq(d->errors, 0, "%s", d->text);
	ask(d, "EVAL local(t)={};for(i)=1,100000(do)t[i]=i(end)return(t) 0");
	cr_assert_eq(d->errors, 1, "not Lua");
	ask(d, "SETRANGE s 41943039 x");
	cr_assert_eq(command(d, 5, "GET s"), 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 1, 20000));
	cr_assert_eq(d->broken, 1);
	cr_assert_str_eq(d->why, "sent a reply that is too large");
	cr_assert(until(d, &d->connected, 2, 5000));
}

Test(node, large_array)
{
	struct driver *d = to_server(NULL);
	const char *argv[] = {"EVAL", "local t = {} for i = 1, 100000 do t[i] = i end return t", "0"};
	size_t lengths[] = {4, strlen(argv[1]), 1};

	must_connect(d);
	d->on_reply = count_elements;
	cr_assert_eq(node_send(d->node, 3, argv, lengths, NULL, now_us(d)), 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->replies, 1, 5000));
	cr_assert_str_eq(d->text, "100000");
}

Test(node, answers_that_nobody_asked_for)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	ask(d, "SUBSCRIBE channel");
	free(servers_command(servers, 0, "PUBLISH channel hello"));
	cr_assert(until(d, &d->disconnected, 1, 5000));
	assert_says(d->why, "sent an answer to which there is no command");
}

/* --- callbacks that call back ---------------------------------------------------------------- */

static void send_again(struct driver *d, const struct value *value)
{
	(void)value;
	if (d->replies < 500)
		cr_assert_eq(command(d, d->replies, "PING"), 0);
	node_flush(d->node, now_us(d));
}

Test(node, a_reply_may_send)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	d->on_reply = send_again;
	cr_assert_eq(command(d, 0, "PING"), 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->replies, 500, 5000));
	check_order(d, 500);
}

static void reconnect_at_third(struct driver *d, const struct value *value)
{
	(void)value;
	if (d->replies != 3)
		return;
	node_reconnect(d->node, "the third answer", now_us(d));
	cr_assert_eq(d->disconnected, 0, "not below a callback");
	cr_assert_eq(command(d, 77, "PING"), -ENOTCONN);
	node_flush(d->node, now_us(d));
}

Test(node, a_reply_may_reconnect)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	d->on_reply = reconnect_at_third;
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(command(d, i, "PING"), 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 1, 5000));
	cr_assert_str_eq(d->why, "the third answer");
	cr_assert_eq(d->replies, 3);
	cr_assert_eq(d->broken, 97);
	check_order(d, 100);
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert_eq(d->disconnected, 1);
}

static void reconnect_now(struct driver *d)
{
	d->on_connected = NULL;
	cr_assert_eq(command(d, 0, "PING"), 0);
	node_flush(d->node, now_us(d));
	node_reconnect(d->node, "at once", now_us(d));
}

static void try_everything(struct driver *d)
{
	cr_assert_eq(command(d, 9, "PING"), -ENOTCONN);
	node_flush(d->node, now_us(d));
	node_reconnect(d->node, "never told", now_us(d));
}

Test(node, connected_may_reconnect)
{
	struct driver *d = to_server(NULL);

	d->on_connected = reconnect_now;
	d->on_disconnected = try_everything;
	start(d);
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert_eq(d->disconnected, 1);
	cr_assert_eq(d->broken, 1);
	cr_assert_str_eq(d->why, "at once");
	ask(d, "PING");
}

/* --- the end of a connection ---------------------------------------------------------------- */

Test(node, killed_and_restarted)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	servers_stop(servers, 0);
	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(command(d, i, "INCR counter"), 0);
	node_flush(d->node, now_us(d));
	servers_kill9(servers, 0);
	cr_assert(until(d, &d->disconnected, 1, 5000));
	cr_assert_eq(d->broken, 1000);
	check_order(d, 1000);
	cr_assert(until(d, &d->disconnected, 3, 5000));
	assert_says(d->why, "could not connect");
	cr_assert_eq(servers_restart(servers, 0, false), 0);
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert_eq(d->broken, 1000);
	cr_assert(d->facts.kill_permitted);
	cr_assert_not(info_says("commandstats", "client|kill"),
	              "the number may be another's in this incarnation: nothing is killed");
}

/* Writing to a dead peer must not raise SIGPIPE, which nobody has blocked here. */
Test(node, no_sigpipe)
{
	struct driver *d = to_server(NULL);

	must_connect(d);
	servers_kill9(servers, 0);
	for (unsigned i = 0; i < 10; i++) {
		command(d, i, "PING");
		node_flush(d->node, now_us(d));
	}
	cr_assert(until(d, &d->disconnected, 1, 5000));
	cr_assert_eq(d->broken, d->tag_count);
	check_order(d, d->broken);
}

/* The old connection is kept open by a copy of its descriptor, as a network would
 * that still carries late writes: the new one has it killed. */
Test(node, previous_connection_is_killed)
{
	struct driver *d = to_server(NULL);
	struct pollfd old = {.events = POLLIN};
	char byte;

	must_connect(d);
	old.fd = dup(d->loop.fd);
	cr_assert_eq(poll(&old, 1, 50), 0, "still open");
	node_reconnect(d->node, "for the test", now_us(d));
	cr_assert_eq(d->disconnected, 1);
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert_eq(poll(&old, 1, 2000), 1);
	cr_assert_eq(read(old.fd, &byte, 1), 0, "killed");
	cr_assert(d->facts.kill_permitted);
	cr_assert(info_says("commandstats", "cmdstat_client|kill:calls=1"));
	close(old.fd);
}

Test(node, kill_refused)
{
	struct servers_options options = {
		.user = "bob", .password = "seCret", .rules = "~* &* +@all -client|kill"};
	struct driver *d = to_server(&options);

	d->loop.server.user = (char *)"bob";
	d->loop.server.password = (char *)"seCret";
	must_connect(d);
	cr_assert(d->facts.kill_permitted);
	node_reconnect(d->node, "for the test", now_us(d));
	cr_assert(until(d, &d->connected, 2, 5000));
	cr_assert_not(d->facts.kill_permitted);
	assert_says(d->facts.detail, "CLIENT KILL was refused: \"NOPERM");
}

/* The kernel accepts for a stopped server, which then says nothing. */
Test(node, stopped_server)
{
	struct driver *d = to_server(NULL);
	int64_t begin_us = now_us(d), took_us;

	servers_stop(servers, 0);
	cr_assert_str_eq(first_failure(d), "connected, but did not answer within 1000 ms");
	took_us = now_us(d) - begin_us;
	cr_assert(took_us >= 990000 && took_us < 2 * SECOND_US, "%" PRId64, took_us);
	servers_cont(servers, 0);
	cr_assert(until(d, &d->connected, 1, 5000), "%s", d->why);
}

Test(node, attempt_takes_the_node_timeout_if_that_is_longer)
{
	struct driver *d = to_server(NULL);

	d->loop.config.node_timeout_us = 1300000;
	servers_stop(servers, 0);
	cr_assert_str_eq(first_failure(d), "connected, but did not answer within 1300 ms");
}

Test(node, reconnect_during_an_attempt)
{
	struct driver *d = to_server(NULL);

	servers_stop(servers, 0);
	start(d);
	turn(d, 10, false);
	node_reconnect(d->node, "another\r\nidea\x01", now_us(d));
	cr_assert_eq(d->disconnected, 1);
	cr_assert_str_eq(d->why, "another??idea?");
	node_reconnect(d->node, "nothing to end", now_us(d));
	cr_assert_eq(d->disconnected, 1);
}

/* 20 ms doubling to 1 s, 25 % more or less; anew after a connection. */
Test(node, back_off)
{
	static const int expected_ms[] = {20, 40, 80, 160, 320, 640, 1000, 1000, 1000};
	struct driver *d = to_server(NULL);
	int64_t at_us = now_us(d), wait_us;

	servers_kill9(servers, 0);
	node_start(d->node, at_us);
	for (unsigned i = 0; i < 9; i++) {
		cr_assert_eq(d->disconnected, i + 1);
		wait_us = node_next_us(d->node) - at_us;
		cr_assert(wait_us > expected_ms[i] * 740 && wait_us <= expected_ms[i] * 1250, "%u: %" PRId64, i, wait_us);
		at_us += wait_us;
		node_tick(d->node, at_us - 1);
		cr_assert_eq(d->disconnected, i + 1, "not before its time");
		node_tick(d->node, at_us);
	}
	cr_assert_eq(servers_restart(servers, 0, false), 0);
	d->loop.forward_us = 20 * SECOND_US;
	cr_assert(until(d, &d->connected, 1, 5000));
	at_us = now_us(d);
	node_reconnect(d->node, "for the test", at_us);
	wait_us = node_next_us(d->node) - at_us;
	cr_assert(wait_us > 14000 && wait_us <= 25000, "%" PRId64, wait_us);
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

Test(node, a_thousand_reconnects_leave_nothing)
{
	struct servers_options options = {.tcp = true};
	struct driver *d = to_server(&options);
	unsigned before;

	must_connect(d);
	before = open_descriptors();
	for (unsigned i = 1; i <= 1000; i++) {
		node_reconnect(d->node, "for the test", now_us(d));
		for (int turns = 0; turns < 100000 && d->connected < i + 1; turns++)
			turn(d, 20, node_next_us(d->node) - now_us(d) < 30000);
		cr_assert_eq(d->connected, i + 1, "%s", node_problem(d->node));
	}
	cr_assert_eq(d->disconnected, 1000);
	cr_assert_eq(open_descriptors(), before);
}

/* In the child of a fork the descriptors go, and the parent's connection stays. */
Test(node, abandoned_by_a_child)
{
	struct driver *d = to_server(NULL);
	int status = -1;
	pid_t child;

	must_connect(d);
	child = fork();
	if (child == 0) {
		node_abandon(d->node);
		_exit(fcntl(d->loop.fd, F_GETFD) == -1 && errno == EBADF ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ask(d, "PING");
}

/* --- names -------------------------------------------------------------------------------------- */

/* A name server of our own, on an address of the loopback that resolv.conf names in
 * a mount namespace of our own. */
static struct {
	int fd;
	atomic_bool silent;
	atomic_uint asked;
	pthread_t thread;
} dns;

/* A: 127.0.0.1; AAAA: none; anything but dlock.test: no such name. */
static size_t dns_answer(uint8_t *packet, size_t size)
{
	static const uint8_t name[] = "\x05" "dlock" "\x04" "test";
	static const uint8_t answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1};
	size_t end = 12 + sizeof(name) + 4;

	if (size < end)
		return 0;
	packet[2] = 0x85;
	packet[3] = 0x80;
	memset(packet + 6, 0, 6);
	if (memcmp(packet + 12, name, sizeof(name)) != 0) {
		packet[3] |= 3;
		return size;
	}
	if (packet[12 + sizeof(name) + 1] != 1)
		return end;
	packet[7] = 1;
	memcpy(packet + end, answer, sizeof(answer));
	return end + sizeof(answer);
}

static void *dns_serve(void *unused)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	uint8_t packet[1500];
	ssize_t n;

	(void)unused;
	while ((n = recvfrom(dns.fd, packet, 1024, 0, (struct sockaddr *)&from, &length)) > 0) {
		size_t size = dns_answer(packet, (size_t)n);

		atomic_fetch_add(&dns.asked, 1);
		if (!atomic_load(&dns.silent) && size > 0)
			sendto(dns.fd, packet, size, 0, (struct sockaddr *)&from, length);
		length = sizeof(from);
	}
	return NULL;
}

static void dns_start(bool silent)
{
	uint32_t number = 0x7f0a0000 + (uint32_t)(getpid() & 0xffff); /* 127.10.x.y */
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(number)};
	char path[] = "/tmp/dlock-resolv.XXXXXX", text[64];
	int file;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
		cr_skip("needs root: a mount namespace for a resolv.conf of its own");
	dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(dns.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		cr_skip("needs root: port 53 on the loopback");
	file = mkstemp(path);
	snprintf(text, sizeof(text), "nameserver %s\n", inet_ntoa(address.sin_addr));
	cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
	close(file);
	cr_assert_eq(mount(path, "/etc/resolv.conf", "none", MS_BIND, NULL), 0, "%s", strerror(errno));
	unlink(path);
	atomic_store(&dns.silent, silent);
	cr_assert_eq(pthread_create(&dns.thread, NULL, dns_serve, NULL), 0);
}

static void dns_stop(void)
{
	shutdown(dns.fd, SHUT_RDWR);
	pthread_join(dns.thread, NULL);
	close(dns.fd);
	umount2("/etc/resolv.conf", MNT_DETACH);
}

Test(node, name_by_dns)
{
	struct servers_options options = {.tcp = true};
	char address[64];
	unsigned before;

	one_server(&options);
	dns_start(false);
	snprintf(address, sizeof(address), "dlock.test%s", strrchr(servers_address(servers, 0), ':'));
	driver = driver_new(address);
	before = open_descriptors();
	must_connect(driver);
	cr_assert_gt(atomic_load(&dns.asked), 0);
	cr_assert_eq(open_descriptors(), before + 1, "the resolver's sockets are closed");
	dns_stop();
}

Test(node, name_that_does_not_exist)
{
	dns_start(false);
	driver = driver_new("other.test:6379");
	assert_says(first_failure(driver), "the name \"other.test\" could not be looked up: Domain name not found");
	dns_stop();
}

Test(node, name_server_that_is_silent)
{
	unsigned before;
	int64_t begin_us;

	dns_start(true);
	driver = driver_new("dlock.test:6379");
	before = open_descriptors();
	begin_us = now_us(driver);
	assert_says(first_failure(driver), "the name \"dlock.test\" could not be looked up within 1000 ms");
	cr_assert_lt(now_us(driver) - begin_us, 2 * SECOND_US);
	cr_assert_geq(atomic_load(&dns.asked), 2, "it was asked again");
	cr_assert_eq(open_descriptors(), before);
	/* It speaks again, and the next attempt hears it. */
	atomic_store(&dns.silent, false);
	cr_assert(until(driver, &driver->disconnected, 2, 5000));
	assert_says(driver->why, "could not connect");
	dns_stop();
}

/* A child that forks in the middle of a look-up closes the resolver's sockets too. */
Test(node, abandoned_during_a_look_up)
{
	unsigned before, after;
	int status = -1;
	pid_t child;

	dns_start(true);
	driver = driver_new("dlock.test:6379");
	before = open_descriptors();
	start(driver);
	after = open_descriptors();
	cr_assert_gt(after, before);
	child = fork();
	if (child == 0) {
		unsigned held = open_descriptors();

		node_abandon(driver->node);
		_exit(open_descriptors() == held - (after - before) ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	dns_stop();
}

/* --- liars ------------------------------------------------------------------------------------ */

static long resident_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long size, resident = 0;

	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%ld %ld", &size, &resident), 2);
	fclose(file);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int64_t liar_timeout_us = 50000;

/* What the first attempt at a server that says `script` ends with. */
static void check_liar(const void *script, size_t size, bool greet, bool closes, const char *words)
{
	struct fake_options options = {.script = script, .script_size = size, .greet = greet,
	                               .cut_after = closes ? (int64_t)size : -1};
	unsigned before;

	fake = fake_start(&options);
	cr_assert_not_null(fake);
	driver = driver_new(fake_address(fake));
	driver->loop.config.node_timeout_us = liar_timeout_us;
	before = open_descriptors();
	assert_says(first_failure(driver), words);
	cr_assert_leq(open_descriptors(), before + 2, "the liar's end and its neighbour's may linger, ours not");
	driver_free(driver);
	driver = NULL;
	fake_stop(fake);
	fake = NULL;
}

static void check_liar_text(const char *script, const char *words)
{
	check_liar(script, strlen(script), false, false, words);
	check_liar(script, strlen(script), true, false, words);
	check_liar(script, strlen(script), false, true, words);
}

Test(liars, other_protocols)
{
	check_liar_text("HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
	                "answered, but not as a Redis server: \"HTTP/1.1 400 Bad Request\"");
	check_liar_text("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "not as a Redis server: \"SSH-2.0-OpenSSH_9.2p1 Debian-2\"");
	check_liar_text("220 mail.example.org ESMTP\r\n", "not as a Redis server: \"220 mail");
	check_liar_text("\x15\x03\x01\x02\x02", "(it may want TLS)");
	check_liar("\0\0\0\0\0\0", 6, true, false, "answered, but not as a Redis server: \"\"");
	check_liar_text("\xff\xfe\xfd\x1b[2Jx", "not as a Redis server: \"????[2Jx\"");
}

/* Redis' protocol, but not Redis' answers. */
Test(liars, answers_of_another_kind)
{
	check_liar_text("+PONG\r\n", "answered, but not as a Redis server: \"+PONG\"");
	check_liar_text("$-1\r\n", "answered, but not as a Redis server");
	check_liar_text("*-1\r\n", "answered, but not as a Redis server");
	check_liar_text("*0\r\n", "answered, but not as a Redis server");
	check_liar_text(":1\r\n+INFO\r\n:1\r\n", "answered, but not as a Redis server: \":1\"");
	check_liar_text(":1\r\n$1\r\nx\r\n*0\r\n*0\r\n*0\r\n*0\r\n$3\r\nsha\r\n", "gave the script another SHA-1");
	check_liar_text(">2\r\n+invalidate\r\n*0\r\n", "answered, but not as a Redis server");
	check_liar_text(":x\r\n", "answered, but not as a Redis server");
	check_liar_text("$x\r\n", "answered, but not as a Redis server");
	check_liar_text("$-7\r\nx\r\n", "answered, but not as a Redis server");
	check_liar_text("*-7\r\nx\r\n", "answered, but not as a Redis server");
	check_liar_text("$99999999999999999999999999\r\nx\r\n", "answered, but not as a Redis server");
}

Test(liars, refusals)
{
	static const char *const six = ":1\r\n-NOPERM\r\n-NOPERM\r\n-NOPERM\r\n-NOPERM\r\n-NOPERM\r\n";
	char script[512];

	check_liar_text("-DENIED Redis is running in protected mode\r\n", "refused the connection: \"DENIED Redis is");
	check_liar_text("-NOAUTH Authentication required.\r\n", "needs a password");
	check_liar_text("-ERR max number of clients reached\r\n", "refused the connection");
	snprintf(script, sizeof(script), "%s-LOADING Redis is loading the dataset in memory\r\n", six);
	check_liar_text(script, "is still loading its data: \"LOADING");
	snprintf(script, sizeof(script), "%s-MASTERDOWN Link with MASTER is down\r\n", six);
	check_liar_text(script, "is a replica that has lost its master");
	snprintf(script, sizeof(script), "%s-ERR unknown command 'SCRIPT'\r\n", six);
	check_liar_text(script, "did not load the script: \"ERR unknown command 'SCRIPT'\"");
	snprintf(script, sizeof(script), "-%s\r\n", "\x01\x02 \x1b[31m");
	check_liar_text(script, "");
}

/* Claims of sizes that never come: nothing is allocated for them. */
Test(liars, huge_claims)
{
	static const char *const claims[] = {"*2147483647\r\n",          "*4294967295\r\n",
	                                     "*9223372036854775807\r\n", "$9223372036854775807\r\n",
	                                     "$2147483647\r\n",          "$536870912\r\n",
	                                     "*1000000000\r\n*1000000000\r\n*1000000000\r\n*1000000000\r\n"};
	long before = resident_kib();

	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
		check_liar(claims[i], strlen(claims[i]), true, false, "");
	cr_assert_lt(resident_kib() - before, 16 * 1024);
}

static void check_flood(const char *head, const char *piece, size_t size, const char *words)
{
	size_t length = strlen(piece), used = strlen(head);
	char *script = malloc(size + used + length);
	long before;

	cr_assert_not_null(script);
	memcpy(script, head, used);
	for (; used < size; used += length)
		memcpy(script + used, piece, length);
	before = resident_kib();
	check_liar(script, used, true, false, words);
	/* Its copy in the fake server counts as well. */
	cr_assert_lt(resident_kib() - before, (long)(size / 1024) + 90 * 1024);
	free(script);
}

Test(liars, floods)
{
	/* Long enough for sanitizers and valgrind: it is the size that ends it. */
	liar_timeout_us = 20 * SECOND_US;
	check_flood("*1000000000\r\n", ":1\r\n", 40 << 20, "sent a reply that is too large");
	check_flood("*1000000000\r\n", "*0\r\n", 40 << 20, "sent a reply that is too large");
	check_flood("$1000000000\r\n", "xxxxxxx", 40 << 20, "sent a reply that is too large");
	check_flood("*1000000000\r\n", "$5\r\nhello\r\n", 40 << 20, "sent a reply that is too large");
	check_flood("+", "xxxxxxx", 40 << 20, "sent a reply that is too large");
	check_flood("-", "xxxxxxx", 40 << 20, "sent a reply that is too large");
	check_flood(":1", "1111111", 40 << 20, "sent a reply that is too large");
	check_flood("$1", "1111111", 40 << 20, "sent a reply that is too large");
	check_flood("", "*1\r\n", 40 << 20, "");
	check_flood("", "*2\r\n:1\r\n", 1 << 20, "");
	check_flood("", "-ERR no\r\n", 1 << 20, "did not load the script");
}

/* One byte a time, for ever: the attempt has its end all the same. */
Test(liars, never_finishes)
{
	struct fake_options options = {.script = "+", .script_size = 1, .greet = true, .cut_after = -1};

	fake = fake_start(&options);
	driver = driver_new(fake_address(fake));
	cr_assert_str_eq(first_failure(driver), "connected, but did not answer within 1000 ms");
}

Test(liars, closes_at_once)
{
	struct fake_options options = {.script = "+", .script_size = 1, .greet = true, .tcp = true, .cut_after = 0};

	fake = fake_start(&options);
	driver = driver_new(fake_address(fake));
	start(driver);
	/* Its RST may come before our questions are written, or after. */
	cr_assert(until(driver, &driver->disconnected, 3, 5000));
	cr_assert_eq(driver->connected, 0);
	cr_assert(strstr(driver->why, "without an answer") || strstr(driver->why, "broke"), "%s", driver->why);
}

/* A valid handshake that breaks off after each of its bytes. */
Test(liars, closes_at_every_byte)
{
	struct fake_options options = {.cut_after = 0};
	unsigned before, failed = 0;
	int64_t cut = 0;

	one_server(NULL);
	options.upstream = servers_address(servers, 0);
	fake = fake_start(&options);
	cr_assert_not_null(fake);
	before = open_descriptors();
	for (bool done = false; !done; cut++) {
		fake_cut_after(fake, cut);
		driver = driver_new(fake_address(fake));
		start(driver);
		while (driver->connected + driver->disconnected == 0)
			turn(driver, 20, false);
		done = driver->connected > 0;
		failed += driver->disconnected;
		if (!done)
			assert_says(driver->why, "closed the connection");
		driver_free(driver);
		driver = NULL;
		cr_assert_lt(cut, 100000);
	}
	cr_assert_eq(failed, cut - 1);
	cr_assert_gt(failed, 1000, "INFO alone is longer");
	fake_drop(fake);
	cr_assert_leq(open_descriptors(), before + 1);
}

/* The answers of a real handshake, in one piece. */
static char *real_answers(void)
{
	char *info = servers_command(servers, 0, "INFO"), *answers = NULL;

	cr_assert_not_null(info);
	cr_assert_gt(asprintf(&answers,
	                      ":5\r\n$%zu\r\n%s\r\n*2\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n"
	                      "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n*2\r\n$1\r\nn\r\n$2\r\nno\r\n"
	                      "*2\r\n$4\r\nsave\r\n$0\r\n\r\n$40\r\n%s\r\n",
	                      strlen(info), info, script_sha()),
	             0);
	free(info);
	return answers;
}

static void check_answers(const char *answers, size_t size, bool must_be_right)
{
	struct fake_options options = {.script = answers, .script_size = size, .cut_after = (int64_t)size};

	fake = fake_start(&options);
	cr_assert_not_null(fake);
	driver = driver_new(fake_address(fake));
	start(driver);
	cr_assert(until(driver, &driver->disconnected, 1, 5000));
	if (must_be_right)
		cr_assert(driver->connected == 1 && driver->facts.always && driver->facts.info_known, "%s", driver->why);
	driver_free(driver);
	driver = NULL;
	fake_stop(fake);
	fake = NULL;
}

/* A real handshake with some bytes turned into others: a connection or a sentence. */
Test(liars, damaged_bytes)
{
	static const char bytes[] = "*$+-:\r\n0919\xff\0x";
	char *right, *damaged;
	size_t size;

	one_server(NULL);
	right = real_answers();
	size = strlen(right);
	check_answers(right, size, true);
	damaged = malloc(size);
	srandom(7);
	for (int i = 0; i < 1000; i++) {
		memcpy(damaged, right, size);
		for (long count = 1 + random() % 4; count > 0; count--) {
			/* Half of them where the protocol's own bytes are dense. */
			size_t at = (size_t)random() % (random() % 2 ? size : 180);

			damaged[random() % 2 ? at : size - 1 - at] = bytes[(size_t)random() % sizeof(bytes)];
		}
		check_answers(damaged, size, false);
	}
	free(damaged);
	free(right);
}

/* INFO with fields that are empty, huge, negative, or none at all. */
Test(liars, damaged_info)
{
	static const char *const values[] = {"", "-1", "99999999999999999999", "x", "\x01\x02"};
	static const char *const keys[] = {"redis_version", "role", "run_id", "maxmemory", "second_repl_offset",
	                                   "connected_slaves", "loading", "valkey_version", "aof_enabled"};
	char info[4096], script[8192];

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		size_t used = 0;

		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			used += (size_t)snprintf(info + used, sizeof(info) - used, "%s:%s\r\n", keys[k], values[i]);
		used += (size_t)snprintf(info + used, sizeof(info) - used, ":\r\n::\r\nnocolon\r\n#x:y\r\n\n\r%0900d", 0);
		snprintf(script, sizeof(script), ":1\r\n$%zu\r\n%s\r\n*0\r\n*2\r\n$-1\r\n$-1\r\n*2\r\n:1\r\n:2\r\n*0\r\n+OK\r\n", used,
		         info);
		check_liar_text(script, "gave the script another SHA-1");
	}
}

/* --- TLS ---------------------------------------------------------------------------------------- */

#ifdef HAVE_HIREDIS_SSL

static struct driver *tls_driver(const char *host, int port, char *ca)
{
	char address[64];

	snprintf(address, sizeof(address), "%s:%d", host, port);
	driver = driver_new(address);
	driver->loop.server.tls = true;
	driver->loop.config.tls_ca = ca;
	return driver;
}

static void tls_fails(const char *host, int port, char *ca, const char *words)
{
	assert_says(first_failure(tls_driver(host, port, ca)), words);
	driver_free(driver);
	driver = NULL;
}

static void tls_works(const char *host, int port, char *ca)
{
	struct driver *d = tls_driver(host, port, ca);

	signal(SIGPIPE, SIG_IGN);
	must_connect(d);
	for (unsigned i = 0; i < 10000; i++)
		cr_assert_eq(command(d, i, "INCR counter"), 0);
	node_flush(d->node, now_us(d));
	cr_assert(until(d, &d->replies, 10000, 10000), "%u", d->replies);
	check_order(d, 10000);
	node_reconnect(d->node, "for the test", now_us(d));
	cr_assert(until(d, &d->connected, 2, 5000));
	driver_free(d);
	driver = NULL;
}

Test(node, tls)
{
	char *dir = tls_certificates(), config[512], ca[128], missing[128];
	struct servers_options options = {.config = config};
	int port = tls_free_port();

	if (dir == NULL)
		cr_skip("no openssl(1)");
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(missing, sizeof(missing), "%s/missing", dir);
	snprintf(config, sizeof(config),
	         "bind 127.0.0.1\ntls-port %d\ntls-auth-clients no\ntls-cert-file %s/s.crt\ntls-key-file %s/s.key\n"
	         "tls-ca-cert-file %s",
	         port, dir, dir, ca);
	one_server(&options);
	tls_works("127.0.0.1", port, ca);
	tls_works("localhost", port, ca);
	tls_fails("127.0.0.1", port, NULL, "TLS: the server's certificate was not accepted: self");
	tls_fails("127.0.0.1", port, missing, "cannot be used: No such file or directory");
	/* Another name of the same address is not in the certificate. */
	tls_fails("127.1", port, ca, "TLS: the server's certificate was not accepted: ");
	tls_certificates_remove(dir);
}

#else

Test(node, tls_is_not_built_in)
{
	struct driver *d = to_server(NULL);

	d->loop.server.tls = true;
	assert_says(first_failure(d), "is configured with TLS, and this build has none");
}

#endif
