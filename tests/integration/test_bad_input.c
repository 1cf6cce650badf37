/*
 * test_bad_input.c - what the library is given that it must not believe.
 *
 * Names, configuration, and masters that lie: through the public functions, with
 * real servers behind. With one bad master of three everything goes on; with two
 * a call fails, says why, and leaves nothing behind on any of them.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/harness/fake.h"
#include "tests/harness/liar.h"
#include "tests/harness/stress.h"

#define MASTERS 3
#define HUGE_SIZE 1048576

#define assert_says(words) \
	cr_assert_not_null(strstr(dlock_error_detail(), words), "\"%s\" does not say \"%s\"", dlock_error_detail(), words)
#define assert_fails(call, error, words) \
	do { \
		errno = 0; \
		cr_assert_eq((call), -1, "%s", #call); \
		cr_assert_eq(errno, (error), "%s: errno %s, \"%s\"", #call, strerrorname_np(errno), dlock_error_detail()); \
		assert_says(words); \
	} while (0)
#define assert_works(call) cr_assert_eq((call), 0, "%s: %s: %s", #call, strerrorname_np(errno), dlock_error_detail())

/* ---- masters, of which the first `bad` lie ---- */

static struct servers *servers;
static struct liar *liars[MASTERS];
static unsigned bad;
static struct dlock_options *options;

static struct dlock_options *options_for(const char *list)
{
	struct dlock_options *o = dlock_options_new();

	assert_works(dlock_options_set(o, "servers", list));
	assert_works(dlock_options_set(o, "quarantine", "off"));
	assert_works(dlock_options_set(o, "node_timeout", "200"));
	assert_works(dlock_options_set(o, "quorum_timeout", "400"));
	return o;
}

static void start_masters_with(unsigned liars_wanted, const char *config)
{
	const struct servers_options three = {.count = MASTERS, .config = config};
	char list[1024] = "";

	servers = servers_start(&three);
	cr_assert_not_null(servers);
	bad = liars_wanted;
	for (unsigned i = 0; i < MASTERS; i++) {
		const char *address = servers_address(servers, (int)i);

		if (i < bad) {
			liars[i] = liar_start(address);
			cr_assert_not_null(liars[i]);
			address = liar_address(liars[i]);
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? "," : "", address);
	}
	options = options_for(list);
}

static void start_masters(unsigned liars_wanted)
{
	start_masters_with(liars_wanted, NULL);
}

/* Who waits polls often only where nobody tells when it is its turn. */
static void start_masters_for(char operation)
{
	start_masters_with(1, operation == 'P' ? "rename-command SUBSCRIBE \"\"" : NULL);
}

static void stop_masters(void)
{
	dlock_options_free(options);
	for (unsigned i = 0; i < bad; i++)
		liar_stop(liars[i]);
	servers_free(servers);
}

static int open_lock(const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, options);

	cr_assert_geq(fd, 0, "%s", dlock_error_detail());
	return fd;
}

static void lie(const struct liar_lie *what)
{
	for (unsigned i = 0; i < bad; i++)
		liar_lie(liars[i], what);
}

static void drop(void)
{
	for (unsigned i = 0; i < bad; i++)
		liar_drop(liars[i]);
}

/* Until all masters vote, so that the next lie is heard. */
static void all_up(int fd)
{
	int64_t end_ms = stress_now_ms() + 10000;
	struct dlock_stat stat;

	for (;;) {
		assert_works(dlock_stat(fd, &stat, sizeof(stat)));
		if (stat.masters_up == MASTERS)
			return;
		if (stress_now_ms() > end_ms)
			cr_assert_fail("%u of %u masters vote again: %s", stat.masters_up, stat.masters,
			               dlock_trylock(fd) < 0 ? dlock_error_detail() : "");
		stress_sleep_ms(1);
	}
}

/* When the masters are trusted again: connections that wait for the rest of an answer end first. */
static void lock_again(int fd)
{
	int64_t end_ms = stress_now_ms() + 10000;

	while (dlock_timedlock(fd, LOCK_EX, 1000) < 0) {
		cr_assert_eq(errno, ENOLCK, "%s", dlock_error_detail());
		cr_assert_lt(stress_now_ms(), end_ms, "%s", dlock_error_detail());
	}
}

/* ---- what may be said in place of an answer ---- */

static char huge_string[HUGE_SIZE + 128], deep[4096];

static const struct falsehood {
	const char *bytes; /* ":@" stands for the time that it is */
	size_t size;       /* 0: the string's length */
	bool is_credible;  /* could be true: two masters that say it are a majority */
} falsehoods[] = {
	{.bytes = ":1\r\n"},
	{.bytes = "+OK\r\n"},
	{.bytes = "$-1\r\n"},
	{.bytes = "*-1\r\n"},
	{.bytes = "*0\r\n"},
	{.bytes = "*1\r\n:1\r\n"},
	{.bytes = "*1\r\n$1\r\nx\r\n"},
	{.bytes = "*2\r\n$1\r\nx\r\n*0\r\n"},
	{.bytes = "*2\r\n:1\r\n:@\r\n"},
	{.bytes = "*3\r\n*0\r\n*0\r\n*0\r\n"},
	{.bytes = "*3\r\n$-1\r\n$-1\r\n$-1\r\n"},
	{.bytes = "*3\r\n:1\r\n:@\r\n$-1\r\n"},
	{.bytes = "*3\r\n:1\r\n:@\r\n*1\r\n:1\r\n"},
	{.bytes = "*3\r\n:-77\r\n:@\r\n:1\r\n"},
	{.bytes = "*3\r\n:-100\r\n:@\r\n:1\r\n"},
	{.bytes = "*3\r\n:-9223372036854775808\r\n:9223372036854775807\r\n:1\r\n"},
	{.bytes = "*3\r\n:4294967297\r\n:-1\r\n:1\r\n"},
	{.bytes = "*3\r\n:1\r\n:-9223372036854775808\r\n:-1\r\n"},
	{.bytes = "*3\r\n:1\r\n:@\r\n$20\r\n18446744073709551615\r\n"},
	{.bytes = "*3\r\n:2\r\n:@\r\n$19\r\n9223372036854775807\r\n"},
	{.bytes = "*3\r\n:-3\r\n:@\r\n$2\r\n-5\r\n"},
	{.bytes = "*3\r\n:-3\r\n:@\r\n$16\r\n9007199254740990\r\n", .is_credible = true},
	{.bytes = "*3\r\n:1\r\n:@\r\n$16\r\n9007199254740990\r\n", .is_credible = true},
	{.bytes = "*5\r\n:0\r\n:@\r\n:-1\r\n:-9223372036854775808\r\n$-1\r\n"},
	{.bytes = "*5\r\n:0\r\n:@\r\n$1\r\n0\r\n:9223372036854775807\r\n*0\r\n"},
	{.bytes = "*5\r\n:0\r\n:@\r\n:1\r\n:5\r\n$4\r\nnone\r\n"},
	{.bytes = "*6\r\n:0\r\n:@\r\n:1\r\n:5\r\n$4\r\nnone\r\n:0\r\n"},
	{.bytes = "*7\r\n:0\r\n:@\r\n:1\r\n:5\r\n$4\r\nnone\r\n:-1\r\n$4\r\nnone\r\n"},
	{.bytes = "*7\r\n:0\r\n:@\r\n:1\r\n:5\r\n$4\r\nnone\r\n:4294967296\r\n$4\r\nnone\r\n"},
	{.bytes = "*7\r\n:0\r\n:@\r\n:1\r\n:5\r\n$4\r\nnone\r\n:1\r\n*0\r\n"},
	{.bytes = "*7\r\n:0\r\n:@\r\n:1\r\n:5\r\n$4\r\nnone\r\n:1\r\n$3\r\nodd\r\n", .is_credible = true},
	{.bytes = "*4\r\n:6\r\n:@\r\n:1\r\n:0\r\n"},
	{.bytes = "*4\r\n:6\r\n:@\r\n:1\r\n$-1\r\n"},
	{.bytes = "*3\r\n:6\r\n:@\r\n:1\r\n"},
	{.bytes = "*4\r\n:6\r\n:@\r\n:9007199254740992\r\n:4503599627370496\r\n", .is_credible = true},
	{.bytes = "*6\r\n:1\r\n:@\r\n:0\r\n:-5\r\n:7\r\n:-1\r\n", .is_credible = true},
	{.bytes = "*6\r\n:1\r\n:@\r\n$3\r\n\xff\n\r\r\n:-1\r\n$2\r\n1 \r\n:1\r\n"},
	{.bytes = "*6\r\n:1\r\n:@\r\n$1\r\n1\r\n:9223372036854775807\r\n"
	          "$40\r\n1 0123456789abcdef 3 9223372036854775807\r\n:1\r\n", .is_credible = true},
	{.bytes = "-\r\n"},
	{.bytes = "-ERR what\r\n"},
	{.bytes = "-READONLY You can't write against a read only replica.\r\n"},
	{.bytes = "-LOADING Redis is loading the dataset in memory\r\n"},
	{.bytes = "-NOSCRIPT No matching script.\r\n"},
	{.bytes = "-OOM command not allowed\r\n"},
	{.bytes = "-\x01\xff%s%n\r\n"},
	{.bytes = "*1000000000\r\n"},
	{.bytes = "*99999999999999999999\r\n"},
	{.bytes = "$9999999999999\r\n"},
	{.bytes = "$536870912\r\nabc"},
	{.bytes = "$-2\r\n"},
	{.bytes = "*3\r\n:1\r\n"},
	{.bytes = "\0\0\0\0", .size = 4},
	{.bytes = "HTTP/1.1 400 Bad Request\r\n\r\n"},
	{.bytes = ">2\r\n+message\r\n+x\r\n"},
	{.bytes = ":1\r\n:2\r\n:3\r\n"},
	{.bytes = huge_string, .size = sizeof(huge_string), .is_credible = true},
	{.bytes = deep, .size = sizeof(deep)},
};
#define FALSEHOODS (sizeof(falsehoods) / sizeof(falsehoods[0]))

/* A busy answer whose holder has a name of 1 MiB; and arrays in arrays without an end. */
static void fill_large(void)
{
	static const char tail[] = "\r\n:1\r\n$4\r\nnone\r\n";
	const size_t tail_size = sizeof(tail) - 1;
	int head = snprintf(huge_string, sizeof(huge_string), "*7\r\n:0\r\n:0\r\n:1\r\n:5\r\n$%zu\r\n",
	                    sizeof(huge_string) - 32 - tail_size);

	memset(huge_string + head, 'x', sizeof(huge_string) - (size_t)head);
	head = snprintf(huge_string, sizeof(huge_string), "*7\r\n:0\r\n:0\r\n:1\r\n:5\r\n$%zu\r\n",
	                sizeof(huge_string) - (size_t)head - tail_size);
	huge_string[head] = 'x';
	memcpy(huge_string + sizeof(huge_string) - tail_size, tail, tail_size);
	for (size_t i = 0; i + 4 <= sizeof(deep); i += 4)
		memcpy(deep + i, "*1\r\n", 4);
}

/* Dated, because a master whose clock jumps would have to wait out max_ttl. */
static struct liar_lie lie_of(char operation, const struct falsehood *falsehood)
{
	return (struct liar_lie){.operation = operation,
		.bytes = falsehood->bytes,
		.dated = falsehood->size == 0,
		.size = falsehood->size ? falsehood->size : strlen(falsehood->bytes),
		.cut_after = -1,
		.times = -1};
}

/* ---- with one bad master of three ---- */

static int count_holder(const struct dlock_holder *holder, void *arg)
{
	(void)holder;
	++*(int *)arg;
	return 0;
}

static int ignore_master(const struct dlock_master *master, void *arg)
{
	(void)arg;
	cr_assert(strlen(master->problem) < 512);
	return 0;
}

/* Who lies of a renewal while the vote of one of the others is still on its way leaves no majority for certain: the lock
 * is lost then, and rightly. (The liar may be gone: then two is all.) */
static bool waits_for_all;

static void wait_for_all(int fd)
{
	struct dlock_stat stat;

	for (int i = 0; waits_for_all && i < 30; i++) {
		assert_works(dlock_stat(fd, &stat, sizeof(stat)));
		if (stat.masters_held == 3)
			return;
		stress_sleep_ms(1);
	}
}

/* All that a program can want, while a majority is fine. */
static void all_goes_on(void)
{
	int holders = 0, first = open_lock("goes on"), second = open_lock("goes on");

	assert_works(dlock_set_data(first, "before", 6));
	assert_works(dlock_timedlock(first, LOCK_EX, 10000));
	wait_for_all(first);
	assert_works(dlock_set_data(first, "while", 5));
	cr_assert_gt(dlock_token(first), 0);
	cr_assert_gt(dlock_remaining(first), 0);
	assert_works(dlock_verify(first));
	assert_fails(dlock_trylock(second), EWOULDBLOCK, "held by another");
	assert_fails(dlock_timedlock(second, LOCK_EX, 80), ETIMEDOUT, "held by another");
	cr_assert_eq(dlock_query_with("goes on", count_holder, &holders, options), 1, "%s", dlock_error_detail());
	cr_assert_eq(dlock_list_with(count_holder, &holders, options), 1, "%s", dlock_error_detail());
	cr_assert_eq(holders, 2);
	assert_works(dlock_flock(first, LOCK_SH));
	assert_works(dlock_timedlock(second, LOCK_SH, 10000));
	assert_works(dlock_unlock(second));
	assert_works(dlock_unlock(first));
	assert_works(dlock_timedlock(second, LOCK_EX, 10000));
	assert_works(dlock_break_with("goes on", options));
	assert_works(dlock_close(first));
	assert_works(dlock_close(second));
}

/* The lie may need another turn: a connection that is not back yet, a wait that ends before its first poll. */
static void until_told(char operation)
{
	for (int i = 0; liar_told(liars[0]) == 0 && i < 100; i++) {
		stress_sleep_ms(5);
		all_goes_on();
	}
	cr_assert_gt(liar_told(liars[0]), 0, "%c was never asked", operation);
}

static void one_lies(const char *operations, size_t from, size_t to)
{
	int fd;

	fill_large();
	start_masters_for(*operations);
	fd = open_lock("up");
	for (; *operations; operations++)
		for (size_t i = from; i < to && i < FALSEHOODS; i++) {
			struct liar_lie what = lie_of(*operations, &falsehoods[i]);

			waits_for_all = *operations == 'E';
			all_up(fd);
			lie(&what);
			if (strchr("VI", *operations)) {
				if (*operations == 'I')
					servers_flush(servers, 0);
				drop();
			}
			all_goes_on();
			until_told(*operations);
			all_goes_on();
			cr_assert_geq(dlock_masters_with(ignore_master, NULL, options), 2);
			lie(NULL);
			drop();
			cr_assert(stress_all_free(servers), "%c, lie %zu", *operations, i);
		}
	assert_works(dlock_close(fd));
	stop_masters();
}

Test(one_lies, acquire, .timeout = 240)
{
	one_lies("A", 0, FALSEHOODS);
}

Test(one_lies, extend, .timeout = 240)
{
	one_lies("E", 0, FALSEHOODS);
}

Test(one_lies, release, .timeout = 240)
{
	one_lies("R", 0, FALSEHOODS);
}

Test(one_lies, poll, .timeout = 240)
{
	one_lies("P", 0, FALSEHOODS);
}

Test(one_lies, view, .timeout = 240)
{
	one_lies("V", 0, FALSEHOODS);
}

Test(one_lies, introduction, .timeout = 240)
{
	one_lies("I", 0, FALSEHOODS);
}

Test(one_lies, looking, .timeout = 240)
{
	one_lies("QLB", 0, FALSEHOODS);
}

/* ---- with two ---- */

Test(two_lie, acquire, .timeout = 240)
{
	int fd;

	fill_large();
	start_masters(2);
	fd = open_lock("two");
	for (size_t i = 0; i < FALSEHOODS; i++) {
		struct liar_lie what = lie_of('A', &falsehoods[i]);
		int result;

		if (falsehoods[i].is_credible)
			continue;
		all_up(fd);
		lie(&what);
		result = dlock_trylock(fd);
		cr_assert_eq(result, -1, "lie %zu was believed", i);
		cr_assert_eq(errno, ENOLCK, "lie %zu: %s: %s", i, strerrorname_np(errno), dlock_error_detail());
		assert_says("no quorum (2 of 3 masters needed)");
		/* One that may wait asks in another way as well, and hears there, in truth, that it has the lock. */
		errno = 0;
		result = dlock_flock(fd, LOCK_SH | LOCK_NB);
		cr_assert_eq(result, -1, "lie %zu was believed", i);
		cr_assert_eq(errno, ENOLCK, "lie %zu: %s: %s", i, strerrorname_np(errno), dlock_error_detail());
		assert_says("no quorum");
		lie(NULL);
		drop();
		cr_assert(stress_all_free(servers), "lie %zu left a key", i);
		lock_again(fd);
		assert_works(dlock_unlock(fd));
	}
	assert_works(dlock_close(fd));
	stop_masters();
}

Test(two_lie, others, .timeout = 240)
{
	int fd;

	fill_large();
	start_masters(2);
	fd = open_lock("two");
	for (size_t i = 0; i < FALSEHOODS; i++) {
		struct liar_lie extend = lie_of('E', &falsehoods[i]), release = lie_of('R', &falsehoods[i]),
			look = lie_of('Q', &falsehoods[i]);
		int holders = 0;

		if (falsehoods[i].is_credible)
			continue;
		all_up(fd);
		lock_again(fd);
		lie(&extend);
		cr_assert_eq(dlock_verify(fd), -1, "lie %zu was taken for a proof", i);
		cr_assert(errno == ENOLCK || errno == ESTALE);
		lie(&release);
		assert_works(dlock_unlock(fd));
		lie(&look);
		if (dlock_query_with("two", count_holder, &holders, options) < 0)
			cr_assert_eq(errno, ENOLCK, "%s", dlock_error_detail());
		lie(NULL);
		drop();
		cr_assert(stress_all_free(servers), "lie %zu left a key", i);
	}
	assert_works(dlock_close(fd));
	stop_masters();
}

/* ---- connections that end at any byte ---- */

/* Every cut of the true answer to `operation`; `use` must bring it about. */
static void cut_everywhere(char operation, bool reconnects)
{
	struct liar_lie what = {.operation = operation, .times = 1};
	int fd;

	start_masters_for(operation);
	fd = open_lock("up");
	all_up(fd);
	for (;; what.cut_after++) {
		if (operation == 'I')
			servers_flush(servers, 0);
		lie(&what);
		if (reconnects)
			drop();
		all_goes_on();
		until_told(operation);
		all_up(fd);
		if ((size_t)what.cut_after >= liar_size(liars[0]))
			break;
	}
	cr_assert_gt(what.cut_after, 10);
	assert_works(dlock_close(fd));
	cr_assert(stress_all_free(servers));
	stop_masters();
}

Test(cut, acquire, .timeout = 240)
{
	cut_everywhere('A', false);
}

Test(cut, extend, .timeout = 240)
{
	cut_everywhere('E', false);
}

Test(cut, release, .timeout = 240)
{
	cut_everywhere('R', false);
}

Test(cut, poll, .timeout = 240)
{
	cut_everywhere('P', false);
}

Test(cut, view, .timeout = 240)
{
	cut_everywhere('V', true);
}

Test(cut, introduction, .timeout = 240)
{
	cut_everywhere('I', true);
}

/* Two connections break while the answer comes: the third master must not keep a key. */
Test(cut, two, .timeout = 240)
{
	struct liar_lie what = {.operation = 'A', .times = -1};
	int fd;

	start_masters(2);
	fd = open_lock("two");
	for (;; what.cut_after++) {
		all_up(fd);
		lie(&what);
		if (dlock_trylock(fd) < 0) {
			cr_assert_eq(errno, ENOLCK, "%s", dlock_error_detail());
			assert_says("no quorum");
		}
		/* An answer that came whole counts; the lock is then given back. */
		assert_works(dlock_unlock(fd));
		if ((size_t)what.cut_after >= liar_size(liars[0]))
			break;
		lie(NULL);
		cr_assert(stress_all_free(servers), "cut after %lld", (long long)what.cut_after);
	}
	lie(NULL);
	assert_works(dlock_close(fd));
	cr_assert(stress_all_free(servers));
	stop_masters();
}

/* The whole conversation from the first byte on, handshake included. (Every byte of the
 * handshake itself: test_node.) */
Test(cut, handshake, .timeout = 240)
{
	const struct servers_options three = {.count = MASTERS};
	struct fake_options cutting = {.cut_after = -1};
	struct fake *fake;
	char list[512];
	int fd;

	servers = servers_start(&three);
	cutting.upstream = servers_address(servers, 0);
	fake = fake_start(&cutting);
	snprintf(list, sizeof(list), "%s,%s,%s", fake_address(fake), servers_address(servers, 1), servers_address(servers, 2));
	options = options_for(list);
	fd = open_lock("handshake");
	for (int i = 0; i < 9000; i += 151) {
		unsigned before = fake_accepted(fake);

		fake_cut_after(fake, i);
		fake_drop(fake);
		while (fake_accepted(fake) == before)
			stress_sleep_ms(1);
		assert_works(dlock_timedlock(fd, LOCK_EX, 10000));
		assert_works(dlock_verify(fd));
		assert_works(dlock_unlock(fd));
	}
	fake_cut_after(fake, -1);
	fake_drop(fake);
	all_up(fd);
	assert_works(dlock_close(fd));
	cr_assert(stress_all_free(servers));
	fake_stop(fake);
	stop_masters();
}

/* ---- names ---- */

static char *name_of(size_t length, char byte)
{
	char *name = malloc(length + 1);

	memset(name, byte, length);
	name[length] = '\0';
	return name;
}

static void refused(const char *name, int error, const char *words)
{
	assert_fails(dlock_open_with(name, 0, options), error, words);
	assert_fails(dlock_query_with(name, NULL, NULL, options), error, words);
	assert_fails(dlock_break_with(name, options), error, words);
}

static int same_name(const struct dlock_holder *holder, void *name)
{
	cr_assert_str_eq(holder->name, name);
	return 0;
}

static int find_name(const struct dlock_holder *holder, void *name)
{
	return strcmp(holder->name, *(char **)name) == 0 ? (*(char **)name = NULL, 1) : 0;
}

/* It really locks, is told byte for byte, and can be broken. */
static void accepted(const char *name)
{
	const char *wanted = name;
	int fd = open_lock(name), other = open_lock(name);

	assert_works(dlock_lock(fd));
	assert_fails(dlock_trylock(other), EWOULDBLOCK, "held by another");
	cr_assert_eq(dlock_query_with(name, same_name, (void *)(uintptr_t)name, options), 1);
	cr_assert_gt(dlock_list_with(find_name, &wanted, options), 0);
	cr_assert_null(wanted, "\"%s\" is not in the list", name);
	assert_works(dlock_break_with(name, options));
	assert_works(dlock_lock(other));
	cr_assert_eq(dlock_verify(fd), -1);
	cr_assert_eq(errno, ESTALE);
	assert_works(dlock_close(other));
	assert_works(dlock_close(fd));
}

Test(names, refused, .timeout = 60)
{
	char *too_long = name_of(DLOCK_NAME_MAX + 1, 'n'), *huge = name_of(HUGE_SIZE, 'n');

	start_masters(0);
	refused(NULL, EINVAL, "1 to 1024 bytes");
	refused("", EINVAL, "1 to 1024 bytes");
	refused(too_long, ENAMETOOLONG, "1 to 1024 bytes");
	refused(huge, ENAMETOOLONG, "1 to 1024 bytes");
	assert_works(dlock_options_set(options, "prefix", ""));
	refused("dlock!x", EINVAL, "reserved");
	refused("dlock!", EINVAL, "reserved");
	assert_works(dlock_options_set(options, "prefix", "dlo"));
	refused("ck!fence", EINVAL, "reserved");
	assert_fails(dlock_options_set(options, "prefix", "dlock!a"), EINVAL, "reserved");
	free(too_long);
	free(huge);
	stop_masters();
}

Test(names, accepted, .timeout = 60)
{
	static const char *const names[] = {"x", "two\nlines\r\n", "/var/lock/backup", " a  b ", "*?[a-z]\\^", "*",
		"\xff\xfe\x80\xc0\xaf", "dlock!x", "%s%n%d", "\x01\x7f\x1b[2J", "{a}b", "$-1\r\n", "dlock:dlock:"};
	char *longest = name_of(DLOCK_NAME_MAX, '\xfe');

	start_masters(0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		accepted(names[i]);
	accepted(longest);
	assert_works(dlock_options_set(options, "prefix", ""));
	accepted("dlock");
	accepted("x!dlock!");
	assert_works(dlock_options_set(options, "prefix", "*[x]"));
	accepted("in glob characters");
	free(longest);
	cr_assert(stress_all_free(servers));
	stop_masters();
}

/* ---- servers that are none ---- */

/* One server of that kind: the call fails in time and names it. */
static void no_lock_with(const char *server, const char *words)
{
	int fd;

	options = options_for(server);
	fd = open_lock("none");
	assert_fails(dlock_timedlock(fd, LOCK_EX, 3000), ENOLCK, words);
	assert_says("no quorum (1 of 1 masters needed)");
	assert_fails(dlock_trylock(fd), ENOLCK, words);
	assert_fails(dlock_query_with("none", NULL, NULL, options), ENOLCK, words);
	cr_assert_eq(dlock_masters_with(ignore_master, NULL, options), 0);
	assert_works(dlock_unlock(fd));
	assert_works(dlock_close(fd));
	dlock_options_free(options);
}

static void no_lock_with_speech(const char *script, bool greet, const char *words)
{
	const struct fake_options speaks = {
		.script = script, .script_size = strlen(script), .greet = greet, .repeat = !greet, .cut_after = -1};
	struct fake *fake = fake_start(&speaks);

	no_lock_with(fake_address(fake), words);
	fake_stop(fake);
}

Test(servers, that_are_none, .timeout = 60)
{
	no_lock_with_speech("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", false, "not as a Redis server");
	no_lock_with_speech("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", true, "not as a Redis server");
	no_lock_with("unix:/nonexistent/redis.sock", "No such file or directory");
	no_lock_with("127.0.0.1:1", "Connection refused");
	no_lock_with("unix:/dev/null", "could not connect");
}

Test(servers, that_have_no_address, .timeout = 60)
{
	no_lock_with("no-such-host.invalid:6379", "no-such-host.invalid");
}

Test(servers, that_stay_silent, .timeout = 60)
{
	const struct fake_options silent = {.cut_after = 0, .silent = true};
	struct fake *fake = fake_start(&silent);

	no_lock_with(fake_address(fake), fake_address(fake));
	fake_stop(fake);
}

Test(servers, password, .timeout = 60)
{
	const struct servers_options locked = {.count = 1, .tcp = true, .password = "right"};
	char url[256];

	servers = servers_start(&locked);
	cr_assert_not_null(servers);
	snprintf(url, sizeof(url), "redis://default:wr0ng@%s", servers_address(servers, 0));
	no_lock_with(url, "password");
	cr_assert_null(strstr(dlock_error_detail(), "wr0ng"));
	no_lock_with(servers_address(servers, 0), "password");
	snprintf(url, sizeof(url), "redis://:right@%s", servers_address(servers, 0));
	options = options_for(url);
	accepted("with the password");
	dlock_options_free(options);
	servers_free(servers);
}

/* ---- configuration ---- */

static void config_refused(const char *text, const char *where, const char *words)
{
	char path[] = "/tmp/dlock-config-XXXXXX";
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
	setenv("DLOCK_CONFIG", path, 1);
	assert_fails(dlock_open("x", 0), EINVAL, words);
	assert_says(where);
	assert_says(path);
	assert_fails(dlock_query("x", NULL, NULL), EINVAL, words);
	assert_fails(dlock_break("x"), EINVAL, words);
	unlink(path);
}

Test(configuration, through_open, .timeout = 60)
{
	int before = stress_threads();

	config_refused("servers = 127.0.0.1:1\nttl = 99\n", ":2: ", "ttl");
	config_refused("ttl = soon\n", ":1: ", "\"soon\"");
	config_refused("# fine\n\ncolour = red\n", ":3: ", "\"colour\" is not a key");
	config_refused("ttl = 1000\nttl = 1000\n", ":2: ", "set in line 1");
	config_refused("servers\n", ":1: ", "no '='");
	config_refused("servers = unix:relative\n", ":1: ", "servers");
	config_refused("servers = redis://a:b@h:99999\n", ":1: ", "servers");
	config_refused("prefix = dlock!\n", ":1: ", "reserved");
	config_refused("quarantine = perhaps\n", ":1: ", "\"perhaps\"");
	setenv("DLOCK_CONFIG", "/nonexistent/dlock.conf", 1);
	assert_fails(dlock_open("x", 0), EINVAL, "/nonexistent/dlock.conf");
	setenv("DLOCK_CONFIG", "/dev/null", 1);
	setenv("DLOCK_TTL", "1", 1);
	assert_fails(dlock_open("x", 0), EINVAL, "DLOCK_TTL");
	cr_assert_eq(stress_threads(), before, "nothing was begun");
}

/* ---- arguments ---- */

Test(arguments, wrong, .timeout = 60)
{
	struct dlock_stat stat;
	int fd;

	start_masters(0);
	fd = open_lock("arguments");
	assert_fails(dlock_open_with("x", 0x40, options), EINVAL, "0x40");
	assert_fails(dlock_flock(fd, 0), EINVAL, "LOCK_SH");
	assert_fails(dlock_flock(fd, LOCK_SH | LOCK_EX), EINVAL, "LOCK_SH");
	assert_fails(dlock_timedlock(fd, LOCK_EX, -2), EINVAL, "-2");
	assert_fails(dlock_stat(fd, NULL, sizeof(stat)), EINVAL, "stat");
	assert_fails(dlock_stat(fd, &stat, 0), EINVAL, "stat");
	assert_fails(dlock_lock(-1), EBADF, "-1");
	assert_fails(dlock_lock(99999), EBADF, "99999");
	assert_fails(dlock_lock(STDIN_FILENO), EBADF, "0 is not");
	assert_fails(dlock_close(STDIN_FILENO), EBADF, "0 is not");
	assert_fails(dlock_verify(fd), ENOLCK, "not held");
	cr_assert(dlock_token(fd) == 0 && errno == ENOLCK && *dlock_error_detail());
	cr_assert(dlock_remaining(fd) == 0 && errno == ENOLCK && *dlock_error_detail());
	assert_fails(dlock_list_with(NULL, NULL, options), EINVAL, "function");
	assert_fails(dlock_masters_with(NULL, NULL, options), EINVAL, "function");
	assert_fails(dlock_options_set(NULL, "ttl", "1"), EINVAL, "NULL");
	assert_fails(dlock_options_set(options, NULL, "1"), EINVAL, "NULL");
	assert_fails(dlock_init_with(0x80, options), EINVAL, "80");
	assert_works(dlock_close(fd));
	assert_fails(dlock_close(fd), EBADF, "not an open descriptor");
	stop_masters();
}
