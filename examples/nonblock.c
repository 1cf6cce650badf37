/*
 * nonblock.c - an event loop that waits for several locks at once.
 *
 * Usage: nonblock NAME...
 * With DLOCK_NONBLOCK a lock call gives EINPROGRESS and goes on in the
 * background; the descriptor polls readable when it has finished, and
 * dlock_result() tells how. The loop prints the locks in the order in which it
 * gets them, keeps each for a moment and gives it back.
 */
#include <dlock.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define NAMES_MAX 64

/* Ask for the lock; 1 when it is there already, 0 when it comes later, -1 on an error. */
static int begin(int fd)
{
	if (dlock_flock(fd, LOCK_EX) == 0)
		return 1;
	return errno == EINPROGRESS ? 0 : -1;
}

static void finish(const char *name, struct pollfd *watch)
{
	printf("%s: held\n", name);
	fflush(stdout);
	poll(NULL, 0, 50); /* the work */
	dlock_close(watch->fd);
	watch->fd = -1; /* poll(2) passes it over from now on */
}

int main(int argc, char **argv)
{
	struct pollfd watch[NAMES_MAX];
	int count = argc - 1, left = 0;

	if (count < 1 || count > NAMES_MAX) {
		fprintf(stderr, "usage: %s NAME... (at most %d)\n", argv[0], NAMES_MAX);
		return 64;
	}
	for (int i = 0; i < count; i++) {
		int fd = dlock_open(argv[i + 1], DLOCK_CLOEXEC | DLOCK_NONBLOCK);
		int begun = fd < 0 ? -1 : begin(fd);

		if (begun < 0) {
			fprintf(stderr, "%s: %s\n", argv[i + 1], dlock_error_detail());
			return 1;
		}
		watch[i] = (struct pollfd){ .fd = fd, .events = POLLIN };
		if (begun > 0)
			finish(argv[i + 1], &watch[i]);
		else
			left++;
	}
	while (left > 0) {
		if (poll(watch, (nfds_t)count, -1) < 0 && errno != EINTR)
			return 1;
		for (int i = 0; i < count; i++) {
			if (watch[i].fd < 0 || !(watch[i].revents & POLLIN))
				continue;
			if (dlock_result(watch[i].fd) == 0) {
				finish(argv[i + 1], &watch[i]);
				left--;
			} else if (errno != EINPROGRESS) {
				fprintf(stderr, "%s: %s\n", argv[i + 1], dlock_error_detail());
				return 1;
			}
		}
	}
	return 0;
}
