/*
 * test_grants.c - listeners: the connections on which masters tell what they hand over.
 *
 * Each is driven as in test_node.c: by an epoll, and a clock that can be put forward.
 * Then the whole library: that grants find their way to the locks that they are for, which
 * shows in how soon a waiter has the lock. It would poll only after half a second.
 */
#include <criterion/criterion.h>

#ifdef HAVE_CONFIG_H
#include "build.h"
#endif

#include "config.h"
#include "node.h"
#include "tests/harness/fake.h"
#include "tests/harness/fleet.h"
#include "tests/harness/loop.h"
#include "tests/harness/servers.h"
#include "tests/harness/tls.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_US 1000000
#define CHANNEL "dlock!grants-00112233445566778899aabbccddeeff"

/* ---- the driver ---- */

struct driver {
	struct loop loop; /* first: what loop_watch() is given */
	struct node *node;
	unsigned connected, disconnected, messages;
	char why[512], message[256];
	size_t length;
};

static int64_t now_us(const struct driver *d)
{
	return loop_now_us(&d->loop);
}

static void connected(void *context, struct node *node, const struct node_facts *facts)
{
	struct driver *d = context;

	(void)facts;
	cr_assert(node_is_connected(node) && node_has_tried(node) && !node_is_refused(node));
	cr_assert_str_eq(node_problem(node), "");
	d->connected++;
}

static void disconnected(void *context, struct node *node, const char *why)
{
	struct driver *d = context;

	cr_assert(!node_is_connected(node) && node_has_tried(node));
	cr_assert_null(strstr(why, "seCret"), "%s", why);
	for (const char *p = why; *p; p++)
		cr_assert(*p >= 0x20 && *p < 0x7f, "%s", why);
	d->disconnected++;
	snprintf(d->why, sizeof(d->why), "%s", why);
}

static void reply(void *context, struct node *node, void *tag, enum node_answer answer, const struct value *value,
                  const char *text, int64_t sent_us)
{
	(void)context, (void)node, (void)tag, (void)answer, (void)value, (void)text, (void)sent_us;
	cr_assert_fail("a listener was answered");
}

static void message(void *context, struct node *node, const char *payload, size_t length)
{
	struct driver *d = context;

	cr_assert(node_is_connected(node));
	cr_assert_eq(payload[length], '\0');
	d->messages++;
	d->length = length;
	snprintf(d->message, sizeof(d->message), "%.*s", (int)length, payload);
}

static struct driver *driver;
static struct servers *servers;
static struct fake *fake;

/* Of "unix:/path" or "host:port". */
static struct driver *driver_new(const char *address)
{
	struct driver *d = calloc(1, sizeof(*d));
	const struct node_owner owner = {d, loop_watch, connected, disconnected, reply, message};

	cr_assert_not_null(d);
	cr_assert_eq(loop_begin(&d->loop, address), 0);
	d->node = node_new_listener(&d->loop.config, &d->loop.server, 3, &owner, 42, CHANNEL);
	cr_assert_not_null(d->node);
	cr_assert_not(node_has_tried(d->node));
	return driver = d;
}

static void driver_free(struct driver *d)
{
	node_free(d->node);
	loop_end(&d->loop);
	free(d);
}

static void drop_driver(void)
{
	driver_free(driver);
	driver = NULL;
}

static void tear_down(void)
{
	if (driver != NULL)
		drop_driver();
	fake_stop(fake);
	servers_free(servers);
}

TestSuite(listener, .fini = tear_down, .timeout = 60);

static void turn(struct driver *d)
{
	struct epoll_event events[16];
	int64_t wait_us = node_next_us(d->node) - now_us(d);
	int count = epoll_wait(d->loop.epoll, events, 16, wait_us <= 0 ? 0 : wait_us > 20000 ? 20 : (int)(wait_us / 1000) + 1);

	for (int i = 0; i < count; i++)
		node_ready(d->node, events[i].data.fd, events[i].events, now_us(d));
	node_tick(d->node, now_us(d));
}

static bool until(struct driver *d, const unsigned *counter, unsigned value, int most_ms)
{
	int64_t end_us = now_us(d) + (int64_t)most_ms * 1000;

	while (*counter < value && now_us(d) < end_us)
		turn(d);
	return *counter >= value;
}

static struct driver *to_server(const struct servers_options *options)
{
	struct servers_options one = options != NULL ? *options : (struct servers_options){0};

	if (servers_require() != 0)
		cr_skip("no redis-server");
	one.count = 1;
	servers = servers_start(&one);
	cr_assert_not_null(servers);
	return driver_new(servers_address(servers, 0));
}

static void must_listen(struct driver *d)
{
	unsigned before = d->connected;

	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->connected, before + 1, 5000), "does not listen: %s", node_problem(d->node));
}

#define assert_says(why, words) cr_assert_not_null(strstr((why), (words)), "\"%s\" does not say \"%s\"", (why), (words))

/* How many heard it, as the server says. */
static void publish(const char *channel, const char *payload, const char *heard)
{
	char *text = servers_command(servers, 0, "PUBLISH %s %s", channel, payload);

	cr_assert_not_null(text);
	cr_assert_str_eq(text, heard);
	free(text);
}

static void must_hear(struct driver *d, const char *payload)
{
	unsigned before = d->messages;

	publish(CHANNEL, payload, "1");
	cr_assert(until(d, &d->messages, before + 1, 2000), "nothing is heard of %s", payload);
	cr_assert_eq(d->length, strlen(payload));
	cr_assert_str_eq(d->message, payload);
}

/* ---- hearing ---- */

Test(listener, hears_its_channel)
{
	struct driver *d = to_server(NULL);
	char *clients;

	must_listen(d);
	cr_assert_eq(node_next_us(d->node), INT64_MAX);
	must_hear(d, "one");
	must_hear(d, "");
	publish("dlock!grants-ffffffffffffffffffffffffffffffff", "other", "0");
	must_hear(d, "two");
	cr_assert_eq(d->messages, 3);
	cr_assert_eq(d->disconnected, 0);
	/* It has asked nothing else: no script, no facts. */
	clients = servers_command(servers, 0, "INFO commandstats");
	cr_assert_not_null(strstr(clients, "cmdstat_subscribe:calls=1,"), "%s", clients);
	cr_assert_null(strstr(clients, "cmdstat_script"), "%s", clients);
	cr_assert_null(strstr(clients, "cmdstat_client"), "%s", clients);
	free(clients);
}

Test(listener, many_at_once)
{
	struct driver *d = to_server(NULL);
	char *text;

	must_listen(d);
	text = servers_command(servers, 0, "EVAL %s 0", "for i = 1, 20000 do redis.call('PUBLISH', '" CHANNEL "', i) end "
	                                                "redis.call('PUBLISH', '" CHANNEL "', 'a\\0b')");
	free(text);
	cr_assert(until(d, &d->messages, 20001, 10000), "%u", d->messages);
	cr_assert_eq(d->length, 3);
	cr_assert_str_eq(d->message, "a");
}

Test(listener, tcp_user_and_database)
{
	struct servers_options options = {.tcp = true,
	                                  .user = "waiter",
	                                  .password = "seCret",
	                                  .rules = "resetchannels -@all +subscribe &dlock!grants*"};
	struct driver *d = to_server(&options);

	d->loop.server.user = (char *)"waiter";
	d->loop.server.password = (char *)"seCret";
	d->loop.server.db = 5; /* needs no SELECT: channels know no database */
	must_listen(d);
	must_hear(d, "one");
}

Test(listener, takes_no_commands)
{
	struct driver *d = to_server(NULL);
	const char *argv[] = {"PING"};
	size_t lengths[] = {4};

	must_listen(d);
	cr_assert_eq(node_send(d->node, 1, argv, lengths, NULL, now_us(d)), -ENOTCONN);
	must_hear(d, "one");
}

/* ---- connections that end ---- */

Test(listener, listens_again_after_a_restart)
{
	struct driver *d = to_server(NULL);

	must_listen(d);
	cr_assert_eq(servers_restart(servers, 0, false), 0);
	cr_assert(until(d, &d->disconnected, 1, 2000));
	cr_assert(until(d, &d->connected, 2, 5000), "%s", node_problem(d->node));
	must_hear(d, "anew");
}

Test(listener, listens_again_after_its_connection_was_killed)
{
	struct driver *d = to_server(NULL);
	char *text;

	must_listen(d);
	text = servers_command(servers, 0, "CLIENT KILL TYPE pubsub");
	cr_assert_str_eq(text, "1");
	free(text);
	cr_assert(until(d, &d->connected, 2, 5000), "%s", node_problem(d->node));
	assert_says(d->why, "closed the connection");
	must_hear(d, "anew");
	/* The old one is not killed: nobody writes on it. */
	text = servers_command(servers, 0, "INFO commandstats");
	cr_assert_null(strstr(text, "cmdstat_client|id"), "%s", text);
	free(text);
}

Test(listener, nobody_there)
{
	struct driver *d = driver_new("127.0.0.1:1");

	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 3, 5000));
	assert_says(d->why, "could not connect: Connection refused");
	cr_assert_not(node_is_refused(d->node));
	cr_assert_leq(node_next_us(d->node) - now_us(d), 200000);
}

/* ---- refusals ---- */

/* Told, tried again after long, and right at once when that is permitted. */
static void check_refused(const char *rules, const char *words, const char *mend)
{
	struct servers_options options = {.user = "waiter", .password = "seCret", .rules = rules};
	struct driver *d = to_server(&options);
	int64_t wait_us;
	char *text;

	d->loop.server.user = (char *)"waiter";
	d->loop.server.password = (char *)"seCret";
	for (unsigned i = 1; i <= 3; i++) {
		node_start(d->node, now_us(d));
		cr_assert(until(d, &d->disconnected, i, 2000));
		cr_assert_eq(d->connected, 0);
		cr_assert(node_is_refused(d->node));
		assert_says(d->why, "polls");
		assert_says(d->why, words);
		cr_assert_str_eq(node_problem(d->node), d->why);
		wait_us = node_next_us(d->node) - now_us(d);
		cr_assert(wait_us > 7000000 && wait_us <= 12500000, "%" PRId64, wait_us);
		d->loop.forward_us += wait_us;
	}
	text = servers_command(servers, 0, "ACL SETUSER waiter %s", mend);
	cr_assert_str_eq(text, "OK");
	free(text);
	cr_assert(until(d, &d->connected, 1, 2000), "%s", node_problem(d->node));
	must_hear(d, "one");
	/* From here on it is a connection like any. */
	text = servers_command(servers, 0, "CLIENT KILL TYPE pubsub");
	free(text);
	cr_assert(until(d, &d->connected, 2, 2000), "%s", node_problem(d->node));
}

Test(listener, subscribe_is_not_permitted) { check_refused("allchannels -@all +ping", "NOPERM", "+subscribe"); }
Test(listener, the_channel_is_not_permitted)
{
	check_refused("resetchannels -@all +subscribe &other", "NOPERM", "&dlock!grants*");
}

Test(listener, there_is_no_such_command)
{
	struct servers_options options = {.config = "rename-command SUBSCRIBE \"\""};
	struct driver *d = to_server(&options);

	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 1, 2000));
	cr_assert(node_is_refused(d->node));
	assert_says(d->why, "unknown command");
}

/* What is wrong with the connection is no refusal to be listened to, and may be over soon. */
Test(listener, wrong_password)
{
	struct servers_options options = {.password = "right"};
	struct driver *d = to_server(&options);

	d->loop.server.password = (char *)"seCret";
	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 3, 2000));
	assert_says(d->why, "wrong user or password");
	cr_assert_not(node_is_refused(d->node));
}

Test(listener, too_many_connections)
{
	struct servers_options options = {.config = "maxclients 1"};
	struct driver *d = to_server(&options);
	struct driver *other = d;

	must_listen(d);
	d = driver_new(servers_address(servers, 0));
	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 2, 2000));
	assert_says(d->why, "refused the connection");
	cr_assert_not(node_is_refused(d->node));
	driver_free(other);
	cr_assert(until(d, &d->connected, 1, 5000), "%s", node_problem(d->node));
}

/* ---- liars ---- */

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$45\r\n" CHANNEL "\r\n:1\r\n"
#define MESSAGE(length, text) "*3\r\n$7\r\nmessage\r\n$45\r\n" CHANNEL "\r\n$" #length "\r\n" text "\r\n"

static struct driver *to_liar(const char *script, size_t size)
{
	const struct fake_options options = {.script = script, .script_size = size, .cut_after = -1};

	fake_stop(fake);
	fake = fake_start(&options);
	cr_assert_not_null(fake);
	return driver_new(fake_address(fake));
}

static void never_listens(const char *script)
{
	struct driver *d = to_liar(script, strlen(script));

	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 1, 3000), "%s", script);
	cr_assert_eq(d->connected + d->messages, 0, "%s", script);
	cr_assert_not(node_is_refused(d->node), "%s", script);
	drop_driver();
}

Test(listener, no_confirmation)
{
	never_listens("+OK\r\n");
	never_listens(":1\r\n");
	never_listens("$-1\r\n");
	never_listens("*0\r\n");
	never_listens("*-1\r\n");
	never_listens("*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n");
	never_listens("*3\r\n$11\r\nunsubscribe\r\n$45\r\n" CHANNEL "\r\n:1\r\n");
	never_listens("*3\r\n$9\r\nsubscribe\r\n$45\r\n" CHANNEL "\r\n$3\r\none\r\n");
	never_listens("*2\r\n$9\r\nsubscribe\r\n$45\r\n" CHANNEL "\r\n");
	never_listens("*4\r\n$9\r\nsubscribe\r\n$45\r\n" CHANNEL "\r\n:1\r\n:1\r\n");
	never_listens(MESSAGE(3, "one"));
	never_listens("HTTP/1.1 400 Bad Request\r\n\r\n");
	never_listens("*3\r\n$9\r\nsubscribe\r\n"); /* and no more of it */
}

/* One message is heard, and then it ends. */
static void ends_at(const char *script, size_t size)
{
	static const char before[] = SUBSCRIBED MESSAGE(3, "one");
	char *whole = malloc(sizeof(before) - 1 + size);
	struct driver *d;

	memcpy(whole, before, sizeof(before) - 1);
	memcpy(whole + sizeof(before) - 1, script, size);
	d = to_liar(whole, sizeof(before) - 1 + size);
	node_start(d->node, now_us(d));
	cr_assert(until(d, &d->disconnected, 1, 3000), "%.60s", script);
	cr_assert_eq(d->connected, 1, "%.60s", script);
	cr_assert_eq(d->messages, 1, "%.60s", script);
	drop_driver();
	free(whole);
}

#define ends_at_text(text) ends_at((text), sizeof(text) - 1)

Test(listener, what_is_no_message)
{
	static char line[70000] = "+"; /* without an end */

	ends_at_text("+OK\r\n");
	ends_at_text("+PONG\r\n");
	ends_at_text("-ERR no\r\n");
	ends_at_text(":1\r\n");
	ends_at_text("*-1\r\n");
	ends_at_text(SUBSCRIBED);
	ends_at_text("*3\r\n$11\r\nunsubscribe\r\n$45\r\n" CHANNEL "\r\n:0\r\n");
	ends_at_text("*3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$3\r\none\r\n");
	ends_at_text("*3\r\n$7\r\nmessage\r\n$45\r\n" CHANNEL "\r\n:1\r\n");
	ends_at_text("*3\r\n$7\r\nmessage\r\n$45\r\n" CHANNEL "\r\n$-1\r\n");
	ends_at_text("*3\r\n$7\r\nmessage\r\n$45\r\n" CHANNEL "\r\n*1\r\n$3\r\none\r\n");
	ends_at_text("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$45\r\n" CHANNEL "\r\n$3\r\none\r\n");
	ends_at_text("*2\r\n$7\r\nmessage\r\n$45\r\n" CHANNEL "\r\n");
	ends_at_text("garbage\r\n");
	memset(line + 1, 'x', sizeof(line) - 1);
	ends_at(line, sizeof(line));
}

/* ---- the way to the locks ---- */

#define MASTERS 5
#define ROUNDS 10
#define QUICK_MS 200
#define LOCKS 20

static struct fleet fleet;

static void tear_fleet_down(void)
{
	fleet_end(&fleet);
}

TestSuite(grants, .fini = tear_fleet_down, .timeout = 60);

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())

static void begin(void)
{
	const struct fleet_setup setup = {.servers = {.persistence = SERVERS_ALWAYS}};

	if (servers_require() != 0)
		cr_skip("no redis-server");
	cr_assert_eq(fleet_start(&fleet, &setup), 0);
}

static int open_lock(const char *name, int flags)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC | flags, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

/* Channels to which somebody listens, over all masters. */
static int channels(void)
{
	int count = 0;

	for (int i = 0; i < MASTERS; i++) {
		char *text = servers_command(fleet.servers, i, "PUBSUB CHANNELS dlock!grants-*"), *rest = NULL;

		for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			count += strncmp(line, "dlock!grants-", 13) == 0 && strlen(line) == 13 + 32;
		free(text);
	}
	return count;
}

static bool readable(int fd, int most_ms)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	return poll(&ready, 1, most_ms) == 1;
}

/* 0, or what went wrong; in a child there is nobody to tell more. */
static int begin_wait(int fd)
{
	return dlock_lock(fd) == -1 && errno == EINPROGRESS ? 0 : 1;
}

static int end_wait(int fd)
{
	if (!readable(fd, 5000) || dlock_result(fd) != 0)
		return 2;
	if (dlock_unlock(fd) == 0)
		return 0;
	return errno == EINPROGRESS && readable(fd, 5000) && dlock_result(fd) == 0 ? 0 : 3;
}

/* How often of ROUNDS who waits had the lock soon; -1: it went wrong. */
static int quick_rounds(void)
{
	int a = dlock_open_with("round", DLOCK_CLOEXEC, fleet.options), quick = 0;
	int b = dlock_open_with("round", DLOCK_CLOEXEC | DLOCK_NONBLOCK, fleet.options);

	for (int i = 0; i < ROUNDS; i++) {
		if (dlock_lock(a) != 0 || begin_wait(b) != 0)
			return -1;
		fleet_sleep_ms(20);
		if (dlock_unlock(a) != 0)
			return -1;
		quick += readable(b, QUICK_MS);
		if (end_wait(b) != 0)
			return -1;
	}
	return dlock_close(a) == 0 && dlock_close(b) == 0 ? quick : -1;
}

/* Some may be late, on a busy machine. Who polls is that soon once in four times. */
static void expect_quick(int quick, int rounds)
{
	cr_assert_geq(quick, rounds * 8 / 10, "%d of %d", quick, rounds);
}

static void listen_now(void)
{
	cr_assert_eq(fleet_voting(fleet.options), MASTERS);
	cr_assert(FLEET_UNTIL(channels() == MASTERS, 5000), "%d", channels());
}

Test(grants, nobody_listens_before_somebody_waits)
{
	int a, b;

	begin();
	a = open_lock("lazy", 0);
	b = open_lock("lazy", DLOCK_NONBLOCK);
	must(dlock_lock(a));
	must(dlock_verify(a));
	cr_assert_eq(dlock_flock(b, LOCK_EX | LOCK_NB), -1);
	cr_assert(readable(b, 5000));
	cr_assert_eq(dlock_result(b), -1);
	cr_assert_eq(errno, EWOULDBLOCK);
	cr_assert_eq(channels(), 0);
	must(begin_wait(b));
	cr_assert(FLEET_UNTIL(channels() == MASTERS, 5000), "%d", channels());
	must(dlock_unlock(a));
	must(end_wait(b));
	must(dlock_close(a));
	must(dlock_close(b));
}

Test(grants, each_to_its_own_lock)
{
	int holders[LOCKS], waiters[LOCKS], quick = 0;

	begin();
	listen_now();
	for (int i = 0; i < LOCKS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "own %d", i);
		holders[i] = open_lock(name, 0);
		waiters[i] = open_lock(name, DLOCK_NONBLOCK);
		must(dlock_lock(holders[i]));
		must(begin_wait(waiters[i]));
	}
	fleet_sleep_ms(50);
	for (int i = 0; i < LOCKS; i++) {
		int one = i * 7 % LOCKS;

		cr_assert_not(readable(waiters[one], 0));
		must(dlock_unlock(holders[one]));
		quick += readable(waiters[one], QUICK_MS);
		must(end_wait(waiters[one]));
		must(dlock_close(holders[one])); /* the tables of descriptors shrink and change */
		must(dlock_close(waiters[one]));
	}
	expect_quick(quick, LOCKS);
}

/* A place in the queue outlives the connection over which it is told. */
Test(grants, listeners_that_were_killed)
{
	int a, b, quick = 0;

	begin();
	listen_now();
	a = open_lock("killed", 0);
	b = open_lock("killed", DLOCK_NONBLOCK);
	for (int i = 0; i < ROUNDS; i++) {
		must(dlock_lock(a));
		must(begin_wait(b));
		must(fleet_command(&fleet, 0, MASTERS, "CLIENT KILL TYPE pubsub"));
		cr_assert(FLEET_UNTIL(channels() == MASTERS, 5000), "%d", channels());
		fleet_sleep_ms(20);
		must(dlock_unlock(a));
		quick += readable(b, QUICK_MS);
		must(end_wait(b));
	}
	expect_quick(quick, ROUNDS);
	must(dlock_close(a));
	must(dlock_close(b));
}

Test(grants, masters_that_were_restarted)
{
	begin();
	listen_now();
	for (int i = 0; i < MASTERS; i++)
		must(servers_restart(fleet.servers, i, true));
	cr_assert(FLEET_UNTIL(fleet_voting(fleet.options) == MASTERS, 5000));
	cr_assert(FLEET_UNTIL(channels() == MASTERS, 5000), "%d", channels());
	expect_quick(quick_rounds(), ROUNDS);
}

/* Who can't be told any more is in no queue, and polls often. */
Test(grants, listeners_that_are_refused_from_now_on)
{
	begin();
	listen_now();
	must(fleet_command(&fleet, 0, MASTERS, "ACL SETUSER default -subscribe"));
	must(fleet_command(&fleet, 0, MASTERS, "CLIENT KILL TYPE pubsub"));
	fleet_sleep_ms(100);
	cr_assert_eq(channels(), 0);
	expect_quick(quick_rounds(), ROUNDS);
}

/* A child listens for itself, to a channel of its own; its parent goes on. */
Test(grants, in_a_child_of_fork)
{
	int quick, status = 0, ready[2];
	pid_t child;
	char byte;

	begin();
	listen_now();
	cr_assert_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		quick = quick_rounds();
		_exit(write(ready[1], "", 1) == 1 && !usleep(500000) && quick >= 0 ? quick : 99);
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(channels(), 2 * MASTERS);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_neq(WEXITSTATUS(status), 99);
	expect_quick(WEXITSTATUS(status), ROUNDS);
	expect_quick(quick_rounds(), ROUNDS);
	cr_assert(FLEET_UNTIL(channels() == MASTERS, 2000), "%d", channels());
}

/* ---- TLS ---- */

#ifdef HAVE_HIREDIS_SSL

Test(listener, tls)
{
	char *dir = tls_certificates(), config[512], ca[128], address[64];
	struct servers_options options = {.config = config};
	int port = tls_free_port();
	struct driver *d;

	if (dir == NULL)
		cr_skip("no openssl(1)");
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(config, sizeof(config),
	         "bind 127.0.0.1\ntls-port %d\ntls-auth-clients no\ntls-cert-file %s/s.crt\ntls-key-file %s/s.key\n"
	         "tls-ca-cert-file %s",
	         port, dir, dir, ca);
	to_server(&options);
	drop_driver();
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	d = driver_new(address);
	d->loop.server.tls = true;
	d->loop.config.tls_ca = ca;
	d->loop.config.node_timeout_us = SECOND_US;
	must_listen(d);
	must_hear(d, "one");
	cr_assert_eq(servers_restart(servers, 0, false), 0);
	cr_assert(until(d, &d->connected, 2, 5000), "%s", node_problem(d->node));
	must_hear(d, "two");
	tls_certificates_remove(dir);
}

#endif
