/*
 * history.c - what the workers tell, for the checker to judge.
 *
 * Owns: the log of this process, and the registers.
 * Must never: tell what is not known for certain. A deadline is told too early rather
 * than too late, a return too late rather than too early.
 *
 *   e PROC FD OP MODE NAME RESULT TOKEN CALL RETURN DEADLINE VALUE
 *   late PROC FROM TO
 *
 * Of a call that ends what is held a line without RESULT and RETURN is told before it is
 * made: should the process be killed meanwhile, the lock counts until the call only.
 *
 * Each line is one write(2) to a file opened with O_APPEND: who is killed leaves whole
 * lines. A register is the file HISTORY/register-NAME.log and has no other state than
 * its last line: the highest token that it has seen and its value. It is locked with
 * flock(2), so the order of its lines is the order of what happened, and an accepted
 * write cannot be there and not be told, or be told and not be there, whoever is killed.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

static const char *folder, *process;
static int log_fd = -1;

volatile sig_atomic_t stopping;

int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void sleep_us(int64_t us)
{
	struct timespec span = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&span, NULL);
}

uint64_t chance(uint64_t *state, uint64_t limit)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (x ^ (x >> 31)) % limit;
}

bool is_long(const char *name)
{
	return name[0] == 'l';
}

static int open_log(const char *prefix, const char *name)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s%s.log", folder, prefix, name);
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

void history_open(const char *proc)
{
	folder = getenv("TORTURE_HISTORY");
	process = proc;
	if (folder == NULL) {
		fputs("TORTURE_HISTORY is not set\n", stderr);
		exit(2);
	}
	log_fd = open_log("", getenv("TORTURE_LOG") ? getenv("TORTURE_LOG") : proc);
}

const char *history_proc(void)
{
	return process;
}

static const char *number(char *buffer, size_t size, bool there, int64_t value)
{
	snprintf(buffer, size, "%" PRId64, value);
	return there ? buffer : "-";
}

static const char *result_of(const struct event *e)
{
	const char *name = strerrorname_np(e->error);

	if (e->return_ns == 0)
		return "-";
	return e->error == 0 ? "ok" : e->error == EWOULDBLOCK ? "EWOULDBLOCK" : name != NULL ? name : "EUNKNOWN";
}

/* One line to `fd`; a disk that is full must not make a history that lies. */
static void tell_to(int fd, const struct event *e)
{
	char line[LINE_MAX_BYTES], token[24], back[24], deadline[24], value[24];
	int length = snprintf(line, sizeof(line), "e %s %d %s %s %s %s %s %" PRId64 " %s %s %s\n", process, e->fd, e->operation, e->mode,
	    e->name, result_of(e), number(token, sizeof(token), e->token != 0, (int64_t)e->token), e->call_ns,
	    number(back, sizeof(back), e->return_ns != 0, e->return_ns),
	    number(deadline, sizeof(deadline), e->deadline_ns != 0, e->deadline_ns),
	    e->patience != NULL ? e->patience : number(value, sizeof(value), e->has_value, e->value));

	if (length >= (int)sizeof(line) || write(fd, line, (size_t)length) != length) {
		perror("history");
		_exit(2);
	}
}

void tell(const struct event *event)
{
	tell_to(log_fd, event);
}

void tell_late(int64_t from_ns, int64_t to_ns)
{
	if (dprintf(log_fd, "late %s %" PRId64 " %" PRId64 "\n", process, from_ns, to_ns) < 0) {
		perror("history");
		_exit(2);
	}
}

/* --- the register ------------------------------------------------------------------ */

/* What the last line of a register says; zeroes when it is new. */
static void register_state(int fd, uint64_t *ret_token, int64_t *ret_value)
{
	char tail[2 * LINE_MAX_BYTES + 1], *line, value[24];
	off_t size = lseek(fd, 0, SEEK_END), from = size > 2 * LINE_MAX_BYTES ? size - 2 * LINE_MAX_BYTES : 0;
	ssize_t length = pread(fd, tail, sizeof(tail) - 1, from);

	*ret_token = 0;
	*ret_value = 0;
	if (length <= 1)
		return;
	tail[length - 1] = '\0';
	line = strrchr(tail, '\n');
	line = line == NULL ? tail : line + 1;
	if (sscanf(line, "e %*s %*s %*s %*s %*s ok %" SCNu64 " %*s %*s %*s %23s", ret_token, value) != 2) {
		fprintf(stderr, "a register's last line is torn: %s\n", line);
		_exit(2);
	}
	*ret_value = strtoll(value, NULL, 10);
}

/* Reads (`value` NULL) or writes; false, and told in our own log, when it is refused. */
static bool use(const struct event *holder, const char *operation, const int64_t *value, int64_t *ret_value)
{
	int fd = open_log("register-", holder->name);
	struct event e = *holder;
	uint64_t seen;
	int64_t there;

	e.operation = operation;
	e.patience = NULL;
	e.call_ns = now_ns();
	while (flock(fd, LOCK_EX) != 0)
		continue;
	register_state(fd, &seen, &there);
	e.error = holder->token < seen ? ESTALE : 0;
	e.value = value ? *value : there;
	e.has_value = true;
	e.return_ns = now_ns();
	tell_to(e.error == 0 ? fd : log_fd, &e);
	close(fd);
	if (ret_value != NULL)
		*ret_value = there;
	return e.error == 0;
}

bool register_read(const struct event *holder, int64_t *ret_value)
{
	return use(holder, "read", NULL, ret_value);
}

bool register_write(const struct event *holder, int64_t value)
{
	return use(holder, "write", &value, NULL);
}
