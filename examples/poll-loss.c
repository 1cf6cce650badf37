/*
 * poll-loss.c - a worker that learns of the loss of its lock while it works.
 *
 * Usage: poll-loss NAME SECONDS
 * The descriptor of a lock is a real one: it polls readable when the lock was
 * lost, so it goes into the same poll(2) as everything else the worker waits
 * for. Here the work is a step each 100 ms. Try `dlock --break NAME` meanwhile.
 */
#include <dlock.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* Work until `steps` are done. 0; 1 when the lock was lost; -1 on an error. */
static int work(int fd, long steps)
{
	while (steps-- > 0) {
		struct pollfd watch = { .fd = fd, .events = POLLIN };
		int ready = poll(&watch, 1, 100);

		if (ready < 0 && errno != EINTR)
			return -1;
		int64_t remaining_ns = dlock_remaining(fd);

		if (remaining_ns == 0)
			return 1;
		printf("working, %.1f s of the lease are certain\n", (double)remaining_ns / 1e9);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s NAME SECONDS\n", argv[0]);
		return 64;
	}
	int fd = dlock_open(argv[1], DLOCK_CLOEXEC);

	if (fd < 0 || dlock_lock(fd) != 0) {
		fprintf(stderr, "%s: %s\n", argv[1], dlock_error_detail());
		return 1;
	}
	switch (work(fd, 10 * atol(argv[2]))) {
	case 0:
		break;
	case 1:
		fprintf(stderr, "%s: lost: %s\n", argv[1], dlock_error_detail());
		return 75;
	default:
		perror("poll");
		return 1;
	}
	/* The last look before the result counts. */
	if (dlock_verify(fd) != 0) {
		fprintf(stderr, "%s: not committed: %s\n", argv[1], dlock_error_detail());
		return 75;
	}
	puts("committed");
	return dlock_close(fd) == 0 ? 0 : 1;
}
