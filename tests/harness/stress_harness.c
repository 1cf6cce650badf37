/*
 * stress_harness.c - the helpers of the tests, tested: a test that starts from
 * servers which do not do as told proves nothing.
 *
 * A plain program, because servers must go when it crashes, which it does on
 * purpose in a child. Ends with 0 if all is well.
 */
#include "tests/harness/fake.h"
#include "tests/harness/servers.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) check(condition, #condition, __LINE__)

static int failures;

static void check(bool holds, const char *condition, int line)
{
	if (holds)
		return;
	failures++;
	fprintf(stderr, "stress_harness.c:%d: not so: %s\n", line, condition);
}

/* Whether the command gives that reply; NULL: no reply. */
static bool gives(struct servers *servers, int i, const char *command, const char *wanted)
{
	char *reply;
	bool same;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	reply = servers_command(servers, i, command);
#pragma GCC diagnostic pop
	same = wanted ? reply && strcmp(reply, wanted) == 0 : !reply;
	if (!same)
		fprintf(stderr, "%s: %s\n", command, reply ? reply : "no reply");
	free(reply);
	return same;
}

static void test_persistent(void)
{
	const struct servers_options options = { .count = 3, .persistence = SERVERS_ALWAYS };
	struct servers *servers = servers_start(&options);

	if (!servers) {
		CHECK(servers != NULL);
		return;
	}
	CHECK(servers_count(servers) == 3 && strncmp(servers_list(servers), "unix:/", 6) == 0);
	CHECK(gives(servers, 0, "SET a 1", "OK"));
	CHECK(gives(servers, 1, "GET a", "(nil)"));
	CHECK(gives(servers, 0, "MGET a b", "1\n(nil)"));
	CHECK(gives(servers, 0, "INCR a", "2"));
	CHECK(gives(servers, 0, "LPUSH a 1", "(error) WRONGTYPE Operation against a key holding the wrong kind of value"));
	servers_kill9(servers, 0);
	CHECK(servers_pid(servers, 0) == 0 && gives(servers, 0, "PING", NULL));
	CHECK(servers_restart(servers, 0, true) == 0 && gives(servers, 0, "GET a", "2"));
	CHECK(servers_restart(servers, 0, false) == 0 && gives(servers, 0, "GET a", "(nil)"));
	servers_stop(servers, 1);
	CHECK(gives(servers, 1, "PING", NULL));
	servers_cont(servers, 1);
	CHECK(gives(servers, 1, "SET a 1", "OK") && servers_flush(servers, 1) == 0 && gives(servers, 1, "GET a", "(nil)"));
	CHECK(servers_demote(servers, 1, -1) == 0);
	CHECK(gives(servers, 1, "SET a 1", "(error) READONLY You can't write against a read only replica."));
	CHECK(servers_promote(servers, 1) == 0 && gives(servers, 1, "SET a 1", "OK"));
	servers_stop(servers, 2);
	servers_free(servers);
}

static void test_tcp_with_login(void)
{
	const struct servers_options options = { .count = 2, .tcp = true, .user = "alice", .password = "secret",
		.rules = "~dlock:* +get", .config = "databases 3" };
	struct servers *servers = servers_start(&options);
	redisContext *context;
	redisReply *reply;
	char *list;
	int port = 0;

	if (!servers) {
		CHECK(servers != NULL);
		return;
	}
	list = servers_list_with_login(servers);
	CHECK(list && sscanf(list, "redis://alice:secret@127.0.0.1:%d,redis://alice", &port) == 1);
	free(list);
	CHECK(gives(servers, 0, "CONFIG GET databases", "databases\n3"));
	CHECK(servers_demote(servers, 0, 1) == 0 && servers_promote(servers, 0) == 0);
	CHECK(servers_restart(servers, 0, true) == 0);
	context = redisConnect("127.0.0.1", port);
	reply = redisCommand(context, "GET x");
	CHECK(reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0);
	freeReplyObject(reply);
	reply = redisCommand(context, "AUTH alice secret");
	CHECK(reply && reply->type == REDIS_REPLY_STATUS);
	freeReplyObject(reply);
	reply = redisCommand(context, "SET dlock:x 1");
	CHECK(reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOPERM", 6) == 0);
	freeReplyObject(reply);
	redisFree(context);
	servers_free(servers);
}

/* Whether a bad start is told, and leaves nothing. */
static void test_refused(void)
{
	const struct servers_options wrong = { .count = 1, .config = "nonsense yes" };
	const struct servers_options many = { .count = 1000 };

	fprintf(stderr, "the next two complaints are wanted\n");
	CHECK(servers_start(&wrong) == NULL);
	CHECK(servers_start(&many) == NULL);
}

/* Servers of a test that crashed, and their directory. */
static void test_crash(void)
{
	struct { pid_t pid; char dir[128]; } *seen;
	struct stat st;
	pid_t child;

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child = fork();
	if (child == 0) {
		const struct servers_options options = { .count = 1 };
		struct servers *servers = servers_start(&options);

		if (!servers)
			_exit(1);
		seen->pid = servers_pid(servers, 0);
		snprintf(seen->dir, sizeof(seen->dir), "%s", servers_dir(servers));
		raise(SIGKILL);
	}
	CHECK(child > 0 && waitpid(child, NULL, 0) == child && seen->pid > 0 && seen->dir[0]);
	for (int i = 0; i < 500 && stat(seen->dir, &st) == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	CHECK(stat(seen->dir, &st) < 0 && errno == ENOENT);
	munmap(seen, sizeof(*seen));
}

/* What a client reads until the end, or until 300 ms pass in silence. */
static size_t converse(const char *address, const char *request, char *buffer, size_t size, bool *ret_closed)
{
	const struct timeval timeout = { .tv_usec = 300000 };
	redisContext *context = redisConnectUnix(address + 5);
	size_t total = 0;
	ssize_t part;

	*ret_closed = false;
	if (!context || context->err) {
		check(false, "connected", __LINE__);
		redisFree(context);
		return 0;
	}
	setsockopt(context->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (send(context->fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		*ret_closed = true;
	while ((part = read(context->fd, buffer + total, size - 1 - total)) > 0)
		total += (size_t)part;
	if (part == 0 || (part < 0 && errno == ECONNRESET))
		*ret_closed = true;
	buffer[total] = '\0';
	redisFree(context);
	return total;
}

static void test_fake_script(void)
{
	struct fake_options options = { .script = "+PONG\r\n", .script_size = 7, .cut_after = -1 };
	struct fake *fake = fake_start(&options);
	char buffer[256];
	bool closed;

	CHECK(fake != NULL);
	CHECK(converse(fake_address(fake), "PING\r\n", buffer, sizeof(buffer), &closed) == 7 && !closed);
	CHECK(strcmp(buffer, "+PONG\r\n") == 0);
	for (int i = 0; i < 7; i++) {
		fake_cut_after(fake, i);
		CHECK(converse(fake_address(fake), "PING\r\n", buffer, sizeof(buffer), &closed) == (size_t)i && closed);
	}
	CHECK(fake_accepted(fake) == 8 && fake_received(fake) == 48);
	fake_stop(fake);
	options.silent = true;
	options.cut_after = 0;
	fake = fake_start(&options);
	CHECK(converse(fake_address(fake), "PING\r\n", buffer, sizeof(buffer), &closed) == 0 && !closed);
	fake_stop(fake);
}

static void test_fake_upstream(void)
{
	const struct servers_options one = { .count = 1 };
	struct servers *servers = servers_start(&one);
	struct fake_options options = { .script = "$99999999999\r\n", .script_size = 14, .cut_after = 7 };
	struct fake *fake;
	redisContext *context;
	redisReply *reply;
	char buffer[256];
	bool closed;

	CHECK(servers != NULL);
	options.upstream = servers_address(servers, 0);
	fake = fake_start(&options);
	CHECK(converse(fake_address(fake), "PING\r\nPING\r\n", buffer, sizeof(buffer), &closed) == 21 && closed);
	CHECK(strcmp(buffer, "+PONG\r\n$99999999999\r\n") == 0);
	fake_cut_after(fake, -1);
	context = redisConnectUnix(fake_address(fake) + 5);
	reply = redisCommand(context, "PING");
	CHECK(reply && strcmp(reply->str, "PONG") == 0);
	freeReplyObject(reply);
	fake_drop(fake);
	signal(SIGPIPE, SIG_IGN);
	reply = redisCommand(context, "PING");
	CHECK(reply == NULL);
	redisFree(context);
	fake_stop(fake);
	servers_free(servers);
}

int main(void)
{
	int status = servers_require();

	if (status)
		return status;
	test_fake_script();
	test_persistent();
	test_tcp_with_login();
	test_refused();
	test_crash();
	test_fake_upstream();
	return failures ? 1 : 0;
}
