/*
 * test_tokens.c - fencing tokens grow, whatever happens to the masters.
 */
#include <criterion/criterion.h>

#include "tests/harness/fleet.h"
#include "tests/harness/server_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(tokens, .timeout = 100);

static struct fleet fleet;

static void begin(const char *settings, enum servers_persistence persistence)
{
	const struct fleet_setup setup = {.servers = {.persistence = persistence}, .settings = settings};

	cr_assert_eq(fleet_start(&fleet, &setup), 0);
}

static void end(void)
{
	fleet_end(&fleet);
}

#define must(call) cr_assert_eq((call), 0, "%s: %s (%s)", #call, strerror(errno), dlock_error_detail())

static int open_lock(const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, fleet.options);

	cr_assert(fd >= 0, "%s", dlock_error_detail());
	return fd;
}

/* ---- many holders, one file ---- */

#define WORKERS 4
#define GRANTS 2000 /* of all workers together */

/* A worker: as many grants as `left` still has to give. The number of the step that went wrong, or 0. */
static int work(const char *path, int *left)
{
	int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	int fd = dlock_open_with("journal", DLOCK_CLOEXEC, fleet.options);

	if (file < 0 || fd < 0)
		return 1;
	for (bool more = true; more;) {
		uint64_t token;

		if (dlock_lock(fd) != 0)
			return 2;
		token = dlock_token(fd);
		more = *left > 0; /* under the lock: nobody else writes it */
		if (more && ((*left)--, token == 0 || write(file, &token, sizeof(token)) != sizeof(token)))
			return 3;
		if (dlock_unlock(fd) != 0)
			return 4;
	}
	return dlock_close(fd) == 0 ? 0 : 5;
}

static void start_workers(const char *path, int *left, pid_t pids[WORKERS])
{
	pid_t parent = getpid();

	for (int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(getppid() == parent ? work(path, left) : 9);
		}
		cr_assert(pids[i] > 0);
	}
}

static void join_workers(const pid_t pids[WORKERS])
{
	for (int i = 0; i < WORKERS; i++) {
		int status;

		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert(WIFEXITED(status), "worker %d: signal %d", i, WTERMSIG(status));
		cr_assert_eq(WEXITSTATUS(status), 0, "worker %d: step %d went wrong", i, WEXITSTATUS(status));
	}
}

/* The number of tokens; each must be above the one before. */
static int check_journal(const char *path)
{
	FILE *file = fopen(path, "re");
	uint64_t token, before = 0;
	int count = 0;

	cr_assert_not_null(file);
	for (; fread(&token, sizeof(token), 1, file) == 1; count++) {
		cr_assert(token > before, "line %d: %llu after %llu", count, (unsigned long long)token,
		          (unsigned long long)before);
		cr_assert_eq(token % 2, 0, "an exclusive token is even");
		before = token;
	}
	fclose(file);
	return count;
}

static int *shared_number(int value)
{
	int *number = mmap(NULL, sizeof(*number), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)number, MAP_FAILED);
	*number = value;
	return number;
}

static void make_journal(char *path, size_t size)
{
	snprintf(path, size, "%s/journal", servers_dir(fleet.servers));
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

Test(tokens, in_the_order_of_the_grants_of_four_processes)
{
	pid_t pids[WORKERS];
	int *left = shared_number(GRANTS);
	char path[128];

	begin("ttl=4000 quorum_timeout=10000", SERVERS_NONE);
	make_journal(path, sizeof(path));
	start_workers(path, left, pids);
	join_workers(pids);
	cr_assert_eq(check_journal(path), GRANTS);
	end();
}

/* The same while one master after the other restarts: durable ones, and then empty ones. */
static void in_order_through(enum servers_persistence persistence, bool keep_data, int rounds)
{
	pid_t pids[WORKERS];
	int *left = shared_number(1 << 30);
	char path[128];
	int fd;

	begin("ttl=3000 quorum_timeout=10000", persistence);
	make_journal(path, sizeof(path));
	fd = open_lock("watch");
	start_workers(path, left, pids);
	for (int round = 0; round < rounds; round++) {
		struct dlock_stat stat;

		must(servers_restart(fleet.servers, round % 5, keep_data));
		/* One at a time: the next one goes when this one votes again. */
		cr_assert(FLEET_UNTIL(dlock_stat(fd, &stat, sizeof(stat)) == 0 && stat.masters_up == 5,
		                      FLEET_MAX_TTL_MS + 5000), "%u vote", stat.masters_up);
	}
	__atomic_store_n(left, 0, __ATOMIC_SEQ_CST);
	join_workers(pids);
	cr_assert(check_journal(path) > 100, "%d grants", check_journal(path));
	must(dlock_close(fd));
	end();
}

Test(tokens, through_restarts_of_durable_masters) { in_order_through(SERVERS_ALWAYS, true, 10); }
Test(tokens, through_restarts_of_empty_masters) { in_order_through(SERVERS_NONE, false, 3); }

/* ---- one after the other ---- */

/* Two processes and the test, in turns; `before` is the largest token until now. */
static uint64_t take_turns(struct peer peers[2], const long fds[2], int fd, uint64_t before)
{
	for (int i = 0; i < 2; i++) {
		uint64_t token;

		must(peer_lock(&peers[i], (int)fds[i], LOCK_EX));
		token = peer_know(&peers[i], (int)fds[i]).token;
		cr_assert(token > before, "%llu after %llu", (unsigned long long)token, (unsigned long long)before);
		must(peer_lock(&peers[i], (int)fds[i], LOCK_UN));
		must(dlock_lock(fd));
		cr_assert(dlock_token(fd) > token, "%llu after %llu", (unsigned long long)dlock_token(fd),
		          (unsigned long long)token);
		before = dlock_token(fd);
		must(dlock_unlock(fd));
	}
	return before;
}

static void start_peers(struct peer peers[2], long fds[2], const char *name)
{
	for (int i = 0; i < 2; i++) {
		must(peer_start(&peers[i], fleet.options));
		fds[i] = peer_open(&peers[i], name);
		cr_assert(fds[i] >= 0);
	}
}

/* Flushed one after the other, each when the one before has waited: none knows the name any more. */
Test(tokens, through_flushes)
{
	struct peer peers[2];
	struct dlock_stat stat;
	uint64_t token;
	long fds[2];
	int fd;

	begin("quorum_timeout=10000", SERVERS_NONE);
	fd = open_lock("flushed");
	start_peers(peers, fds, "flushed");
	token = take_turns(peers, fds, fd, 0);
	for (int i = 0; i < 5; i += 2) {
		must(servers_flush(fleet.servers, i));
		if (i + 1 < 5)
			must(servers_flush(fleet.servers, i + 1));
		for (int turn = 0; turn < 5; turn++)
			token = take_turns(peers, fds, fd, token);
		cr_assert(FLEET_UNTIL(dlock_stat(fd, &stat, sizeof(stat)) == 0 && stat.masters_up == 5,
		                      FLEET_MAX_TTL_MS + 5000));
	}
	token = take_turns(peers, fds, fd, token);
	peer_kill(&peers[0]);
	peer_kill(&peers[1]);
	must(dlock_close(fd));
	end();
}

/* All masters replaced by empty ones at once: the tokens go on, from the masters' clocks. */
Test(tokens, through_the_loss_of_everything)
{
	uint64_t before;
	int fd;

	begin("quorum_timeout=10000", SERVERS_NONE);
	fd = open_lock("everything");
	must(dlock_lock(fd));
	before = dlock_token(fd);
	must(dlock_unlock(fd));
	for (int i = 0; i < 5; i++)
		must(servers_restart(fleet.servers, i, false));
	must(dlock_lock(fd));
	cr_assert(dlock_token(fd) > before);
	must(dlock_close(fd));
	end();
}

/* A minority that knows of a larger token, from a grant that never had a majority. */
Test(tokens, above_what_a_minority_has_seen)
{
	uint64_t now_us, before;
	int fd;

	begin(NULL, SERVERS_NONE);
	fd = open_lock("ahead");
	must(dlock_lock(fd));
	now_us = dlock_token(fd) / 2;
	must(dlock_unlock(fd));
	for (int i = 0; i < 2; i++) {
		char command[128];

		/* Within the skew that is accepted. */
		snprintf(command, sizeof(command), "ZADD dlock!fence %llu dlock:ahead",
		         (unsigned long long)now_us + 1000000 + (unsigned)i);
		must(fleet_command(&fleet, i, 1, command));
	}
	before = 0;
	for (int turn = 0; turn < 20; turn++) {
		must(dlock_lock(fd));
		cr_assert(dlock_token(fd) > before);
		before = dlock_token(fd);
		must(dlock_verify(fd));
		must(dlock_unlock(fd));
	}
	/* With those two and one more the larger one rules. */
	servers_kill9(fleet.servers, 3);
	servers_kill9(fleet.servers, 4);
	must(dlock_lock(fd));
	cr_assert(dlock_token(fd) > before && dlock_token(fd) / 2 > now_us + 1000000);
	must(dlock_close(fd));
	end();
}

/* ---- readers ---- */

Test(tokens, readers_lie_between_the_writers)
{
	uint64_t writer = 0, reader, other;
	int a, b;

	begin("ttl=4000", SERVERS_NONE);
	a = open_lock("between");
	b = open_lock("between");
	for (int turn = 0; turn < 30; turn++) {
		must(dlock_flock(a, LOCK_EX));
		cr_assert(dlock_token(a) > writer);
		writer = dlock_token(a);
		if (turn % 3 == 0)
			must(dlock_flock(a, LOCK_SH)); /* converted in place */
		else
			must(dlock_unlock(a));
		must(dlock_flock(a, LOCK_SH));
		must(dlock_flock(b, LOCK_SH));
		reader = dlock_token(a);
		other = dlock_token(b);
		cr_assert(reader > writer && other > writer, "%llu and %llu after %llu", (unsigned long long)reader,
		          (unsigned long long)other, (unsigned long long)writer);
		must(dlock_unlock(b));
		if (turn % 2 == 0) {
			must(dlock_flock(a, LOCK_EX | LOCK_NB)); /* in place, upwards */
			cr_assert(dlock_token(a) > reader && dlock_token(a) > other);
			writer = dlock_token(a);
		}
		must(dlock_unlock(a));
		writer = writer > reader ? writer : reader;
		writer = writer > other ? writer : other;
	}
	must(dlock_close(a));
	must(dlock_close(b));
	end();
}

/* ---- clocks ---- */

static struct server_clock *begin_with_a_clock(const char *settings, int64_t offset_us)
{
	struct server_clock *clock;

	begin(settings, SERVERS_ALWAYS);
	clock = server_clock_new();
	cr_assert_not_null(clock);
	server_clock_shift(clock, offset_us);
	server_clock_preload(clock, true);
	must(servers_restart(fleet.servers, 0, true));
	server_clock_preload(clock, false);
	return clock;
}

static bool clock_is_refused(void)
{
	struct fleet_sight sight;

	fleet_look(fleet.options, &sight);
	return sight.at[0].state == DLOCK_MASTER_REFUSED && strstr(sight.at[0].problem, "its clock ");
}

/* What the sentence says, in milliseconds; 0 if it is not about a clock that is off. */
static long told_offset_ms(void)
{
	static const char words[] = "its clock stands ";
	struct fleet_sight sight;
	const char *found;

	fleet_look(fleet.options, &sight);
	found = strstr(sight.at[0].problem, words);
	return found ? strtol(found + sizeof(words) - 1, NULL, 10) : 0;
}

/* Alone of its opinion, by more than is good for short leases: it never votes, and nobody misses it. */
static void clock_off_by(int64_t offset_us)
{
	struct server_clock *clock;
	int64_t error_ms;
	struct peer peers[2];
	uint64_t token = 0;
	long fds[2];
	int fd;

	clock = begin_with_a_clock("quorum_timeout=5000", offset_us);
	cr_assert(FLEET_UNTIL(clock_is_refused(), 4000));
	error_ms = told_offset_ms() - offset_us / 1000;
	cr_assert(error_ms > -200 && error_ms < 200, "it is told to be off by %ld ms", told_offset_ms());
	fd = open_lock("clock");
	start_peers(peers, fds, "clock");
	for (int turn = 0; turn < 10; turn++)
		token = take_turns(peers, fds, fd, token);
	peer_kill(&peers[0]);
	peer_kill(&peers[1]);
	must(dlock_close(fd));
	end();
	server_clock_free(clock);
}

Test(tokens, with_a_clock_that_is_ahead) { clock_off_by(1000000); }
Test(tokens, with_a_clock_that_is_behind) { clock_off_by(-3600000000); }

/* It jumps while it votes and a lock is held, both ways; the tokens go on, and in the end it votes again. */
Test(tokens, with_a_clock_that_jumps)
{
	struct server_clock *clock = begin_with_a_clock("ttl=2000 quorum_timeout=5000", 0);
	uint64_t token = 0;
	struct dlock_stat stat;
	struct peer peers[2];
	long fds[2];
	int fd;

	cr_assert(FLEET_UNTIL(fleet_voting(fleet.options) == 5, 4000));
	fd = open_lock("jump");
	start_peers(peers, fds, "jump");
	for (int jump = 0; jump < 2; jump++) {
		int held = open_lock("held through the jump");

		must(dlock_lock(held));
		token = take_turns(peers, fds, fd, token);
		server_clock_shift(clock, jump ? 0 : 1500000);
		for (int turn = 0; turn < 5; turn++)
			token = take_turns(peers, fds, fd, token);
		cr_assert(FLEET_UNTIL(clock_is_refused(), 3000));
		must(dlock_verify(held));
		must(dlock_close(held));
	}
	cr_assert(FLEET_UNTIL(dlock_stat(fd, &stat, sizeof(stat)) == 0 && stat.masters_up == 5, FLEET_MAX_TTL_MS + 4000));
	token = take_turns(peers, fds, fd, token);
	peer_kill(&peers[0]);
	peer_kill(&peers[1]);
	must(dlock_close(fd));
	end();
	server_clock_free(clock);
}
