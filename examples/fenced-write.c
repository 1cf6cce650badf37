/*
 * fenced-write.c - a resource that refuses whoever comes too late.
 *
 * Usage: fenced-write FILE TEXT
 * FILE keeps the largest fencing token that it has seen in its first line and
 * the text in its second. A lock alone cannot stop a writer that slept past its
 * lease between the check and the write; a resource that compares tokens in the
 * same atomic step as the write can. Here the resource is a file on this
 * machine and flock(2) makes its step atomic; in a database it would be
 * "UPDATE ... SET token = :token WHERE token <= :token".
 */
#include <dlock.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The resource: 0, or -1 with errno ESTALE when a larger token was here before. */
static int resource_write(const char *path, uint64_t token, const char *text)
{
	int result = -1;
	uint64_t seen = 0;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r+");

	if (!file || flock(fd, LOCK_EX) != 0)
		goto out;
	if (fscanf(file, "%" SCNu64, &seen) != 1)
		seen = 0;
	if (token < seen) {
		errno = ESTALE;
		goto out;
	}
	rewind(file);
	if (ftruncate(fd, 0) == 0 && fprintf(file, "%" PRIu64 "\n%s\n", token, text) > 0 && fflush(file) == 0)
		result = 0;
out:
	if (file)
		fclose(file);
	else if (fd >= 0)
		close(fd);
	return result;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s FILE TEXT\n", argv[0]);
		return 64;
	}
	int fd = dlock_open(argv[1], DLOCK_CLOEXEC);

	if (fd < 0 || dlock_lock(fd) != 0) {
		fprintf(stderr, "%s: %s\n", argv[1], dlock_error_detail());
		return 1;
	}
	uint64_t token = dlock_token(fd);

	/* However long this process may stand still here, the resource is safe. */
	if (token == 0 || resource_write(argv[1], token, argv[2]) != 0) {
		fprintf(stderr, "%s: refused with token %" PRIu64 ": %s\n", argv[1], token, strerror(errno));
		return 1;
	}
	printf("written with token %" PRIu64 "\n", token);
	return dlock_close(fd) == 0 ? 0 : 1;
}
