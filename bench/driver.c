/*
 * driver.c - a process that does what it is told, a line each, and answers each with one.
 *
 * The commands are those of bench/peers/driver.cjs. An answer is "ok" with up to two
 * numbers, or "cannot" and why; the first one comes without a command, when the process is
 * ready. Standard input and output of it are one socket, so that one that has ended is no
 * SIGPIPE here.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

struct driver {
	pid_t pid;
	int socket;
	size_t size;
	char line[1024];
};

struct start {
	int socket;
	int (*work)(void *arg);
	void *arg;
};

static int begin(void *arg)
{
	struct start *start = arg;

	if (dup2(start->socket, STDIN_FILENO) < 0 || dup2(start->socket, STDOUT_FILENO) < 0)
		return 1;
	return start->work(start->arg);
}

struct driver *driver_start(int (*work)(void *arg), void *arg)
{
	struct driver *driver = calloc(1, sizeof(*driver));
	int ends[2];

	if (!driver || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
		fprintf(stderr, "bench: no socket: %s\n", strerror(errno));
		free(driver);
		return NULL;
	}
	driver->pid = crew_start(begin, &(struct start){ends[1], work, arg});
	driver->socket = ends[0];
	close(ends[1]);
	if (driver->pid > 0)
		return driver;
	driver_end(driver);
	return NULL;
}

void driver_end(struct driver *driver)
{
	if (!driver)
		return;
	close(driver->socket);
	crew_kill(&driver->pid, 1);
	free(driver);
}

/* The first line of what has come, without its end; false: there is none yet. */
static bool take_line(struct driver *driver, char *line, size_t size)
{
	char *end = memchr(driver->line, '\n', driver->size);
	size_t length = end ? (size_t)(end - driver->line) : 0;

	if (!end)
		return false;
	snprintf(line, size, "%.*s", (int)length, driver->line);
	driver->size -= length + 1;
	memmove(driver->line, end + 1, driver->size);
	return true;
}

enum heard { HEARD_LINE, HEARD_NOTHING, HEARD_THE_END };

static enum heard await_line(struct driver *driver, int limit_ms, char *line, size_t size)
{
	int64_t end_ms = stress_now_ms() + limit_ms;

	while (!take_line(driver, line, size)) {
		struct pollfd one = {.fd = driver->socket, .events = POLLIN};
		int64_t left_ms = end_ms - stress_now_ms();
		ssize_t came;

		if (left_ms <= 0 || poll(&one, 1, (int)left_ms) == 0)
			return HEARD_NOTHING;
		came = recv(driver->socket, driver->line + driver->size, sizeof(driver->line) - driver->size, 0);
		if (came <= 0)
			return HEARD_THE_END;
		driver->size += (size_t)came;
	}
	return HEARD_LINE;
}

void driver_send(struct driver *driver, const char *command)
{
	char line[128];
	int size = snprintf(line, sizeof(line), "%s\n", command);

	/* That it has ended is heard where its answer is awaited. */
	if (send(driver->socket, line, (size_t)size, MSG_NOSIGNAL) != size)
		shutdown(driver->socket, SHUT_RDWR);
}

int driver_hear(struct driver *driver, int limit_ms, struct answer *ret_answer)
{
	char line[sizeof(driver->line)];
	enum heard heard = await_line(driver, limit_ms, line, sizeof(line));

	*ret_answer = (struct answer){.silent = heard != HEARD_LINE};
	if (heard == HEARD_NOTHING)
		snprintf(ret_answer->said, sizeof(ret_answer->said), "no answer in %.1f s", limit_ms / 1000.0);
	else if (heard == HEARD_THE_END)
		snprintf(ret_answer->said, sizeof(ret_answer->said), "it has ended");
	else if (strncmp(line, "ok", 2) == 0)
		sscanf(line + 2, "%lf %lf", &ret_answer->numbers[0], &ret_answer->numbers[1]);
	else
		snprintf(ret_answer->said, sizeof(ret_answer->said), "%.120s",
		         strncmp(line, "cannot ", 7) == 0 ? line + 7 : line);
	return ret_answer->said[0] ? -1 : 0;
}

int driver_ask(struct driver *driver, const char *command, int limit_ms, struct answer *ret_answer)
{
	driver_send(driver, command);
	return driver_hear(driver, limit_ms, ret_answer);
}
