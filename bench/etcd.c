/*
 * etcd.c - one command under a lock: `dlock NAME true` beside `etcdctl lock NAME true`, with
 * an etcd of this run, and beside `flock FILE true`, which no machine but this one knows of.
 *
 * The time is that of the whole command, from before the fork until it has ended.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define REPETITIONS 7
#define RUNS 8
#define RUN_MS 10000
#define READY_MS 15000
#define NOT_FOUND 127

struct command {
	struct bench *bench;
	const char *words[16];
};

/* The program itself, without libtool's script around it where there is one. */
static void use_dlock(const struct command *command, char *program, size_t size)
{
	const char *build = getenv("DLOCK_BENCH_BUILD");
	char libraries[4096];

	snprintf(program, size, "%s/tools/.libs/dlock", build ? build : ".");
	if (access(program, X_OK) < 0)
		snprintf(program, size, "%s/tools/dlock", build ? build : ".");
	snprintf(libraries, sizeof(libraries), "%s/libdlock/.libs", build ? build : ".");
	setenv("LD_LIBRARY_PATH", libraries, 1);
	setenv("DLOCK_SERVERS", servers_list(command->bench->servers), 1);
	setenv("DLOCK_CONFIG", "/dev/null", 1);
}

static int execute(void *arg)
{
	const struct command *command = arg;
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	char program[4096];

	if (nothing < 0)
		return 1;
	for (int fd = 0; fd <= 2; fd++)
		dup2(nothing, fd);
	snprintf(program, sizeof(program), "%s", command->words[0]);
	if (strcmp(program, "dlock") == 0)
		use_dlock(command, program, sizeof(program));
	setenv("ETCDCTL_API", "3", 1);
	execvp(program, (char *const *)command->words);
	return NOT_FOUND;
}

/* Its status, or -1 if it did not end by itself in time. */
static int await_end(pid_t pid)
{
	struct pollfd one = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int status;

	/* Without such a descriptor (Linux before 5.3) there is no limit. */
	if (one.fd >= 0 && poll(&one, 1, RUN_MS) != 1)
		kill(pid, SIGKILL);
	if (one.fd >= 0)
		close(one.fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Its status; *ret_ms, where wanted, is how long it took. */
static int run_command(struct command *command, double *ret_ms)
{
	int64_t begin_ns = now_ns();
	pid_t pid = crew_start(execute, command);
	int status = pid > 0 ? await_end(pid) : -1;

	if (ret_ms)
		*ret_ms = (double)(now_ns() - begin_ns) / 1e6;
	return status;
}

/* ---- the etcd ---- */

static int any_port(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(here);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&here, size) == 0 && getsockname(fd, (struct sockaddr *)&here, &size) == 0)
		port = ntohs(here.sin_port);
	if (fd >= 0)
		close(fd);
	return port;
}

/* Until it answers at `endpoint`: 0, or the status of what could not be run. */
static int await_etcd(struct bench *bench, const char *endpoint)
{
	struct command health = {bench, {"etcdctl", "--endpoints", endpoint, "endpoint", "health"}};
	int64_t end_ms = stress_now_ms() + READY_MS;
	int status;

	while ((status = run_command(&health, NULL)) != 0 && status != NOT_FOUND && stress_now_ms() < end_ms)
		sleep_us(100000);
	return status;
}

/* The reason why not, or NULL: then it runs, and answers at `endpoint`. */
static const char *start_etcd(struct bench *bench, pid_t *ret_pid, char *endpoint, size_t size)
{
	char folder[4096], peers[64], cluster[80];
	struct command etcd = {bench,
	                       {"etcd", "--data-dir", folder, "--listen-client-urls", endpoint, "--advertise-client-urls",
	                        endpoint, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
	                        "--initial-cluster", cluster}};
	int status;

	snprintf(folder, sizeof(folder), "%s/etcd", servers_dir(bench->servers));
	snprintf(endpoint, size, "http://127.0.0.1:%d", any_port());
	snprintf(peers, sizeof(peers), "http://127.0.0.1:%d", any_port());
	snprintf(cluster, sizeof(cluster), "default=%s", peers);
	*ret_pid = crew_start(execute, &etcd);
	status = *ret_pid > 0 ? await_etcd(bench, endpoint) : -1;
	if (status == NOT_FOUND)
		return "not installed: etcdctl";
	if (status == 0)
		return NULL;
	if (waitpid(*ret_pid, &status, WNOHANG) != *ret_pid)
		return "etcd does not answer";
	*ret_pid = 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND ? "not installed: etcd" : "etcd has ended";
}

/* ---- the figure ---- */

struct compared {
	const char *figure;
	struct command theirs;
	struct repeats ours_ms, theirs_ms;
	const char *cannot; /* NULL: it can */
};

static int compare_once(struct command *dlock, struct compared *compared)
{
	struct repeats ours = {0}, theirs = {0};
	double ms;

	for (int i = 0; i < RUNS; i++) {
		int status = run_command(dlock, &ms);

		if (status != 0) {
			fprintf(stderr, "etcd: dlock ended with status %d\n", status);
			return -1;
		}
		repeats_add(&ours, ms);
		status = run_command(&compared->theirs, &ms);
		if (status != 0) {
			compared->cannot = status == NOT_FOUND ? "not installed" : "the command failed";
			return 0;
		}
		repeats_add(&theirs, ms);
	}
	repeats_add(&compared->ours_ms, repeats_median(&ours));
	repeats_add(&compared->theirs_ms, repeats_median(&theirs));
	return 0;
}

static int compare(struct bench *bench, struct compared *compared, int count)
{
	struct command dlock = {bench, {"dlock", "bench-command", "true"}};

	for (int repetition = 0; repetition < REPETITIONS; repetition++)
		for (int i = 0; i < count; i++)
			if (!compared[i].cannot && compare_once(&dlock, &compared[i]) < 0)
				return -1;
	for (int i = 0; i < count; i++) {
		if (compared[i].cannot)
			result_cannot(compared[i].figure, compared[i].cannot);
		else
			result_repeated(compared[i].figure, "ms", &compared[i].ours_ms, &compared[i].theirs_ms, BAR_NONE, 0);
	}
	return 0;
}

int etcd_compare(struct bench *bench)
{
	char endpoint[64], file[4096];
	struct compared compared[] = {
		{.figure = "command, dlock by etcdctl lock",
		 .theirs = {bench, {"etcdctl", "--endpoints", endpoint, "lock", "bench-command", "true"}}},
		{.figure = "command, dlock by flock(1), one machine", .theirs = {bench, {"flock", file, "true"}}},
	};
	pid_t etcd = 0;
	int error;

	snprintf(file, sizeof(file), "%s/flock", servers_dir(bench->servers));
	compared[0].cannot = start_etcd(bench, &etcd, endpoint, sizeof(endpoint));
	error = compare(bench, compared, 2);
	crew_kill(&etcd, 1);
	return error;
}
