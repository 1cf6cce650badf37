/* background.c - see background.h. */
#include "background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first process: ends as the second one says, or with its status when it ends without a word. */
static void await(int fd, pid_t child)
{
	char word;
	ssize_t count;
	int status = 0;

	do
		count = read(fd, &word, 1);
	while (count < 0 && errno == EINTR);
	if (count == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

int background_begin(void)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	child = fork();
	if (child < 0)
		return -1;
	if (child > 0) {
		close(fds[1]);
		await(fds[0], child);
	}
	close(fds[0]);
	return fds[1];
}

void background_ready(int ticket)
{
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (chdir("/") < 0 || nothing < 0)
		exit(1);
	for (int fd = 0; fd <= 2; fd++)
		dup2(nothing, fd);
	if (nothing > 2)
		close(nothing);
	/* Nobody may read it: then who waited has given up, and the mount is there all the same. */
	if (write(ticket, "", 1) < 0)
		(void)0;
	close(ticket);
}
