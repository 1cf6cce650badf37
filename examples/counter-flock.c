/*
 * counter - adds to a number in a file, one process at a time.
 *
 * Usage: counter FILE TIMES
 * counter-flock.c excludes the processes of one machine, counter-dlock.c those
 * of a fleet. `diff -u counter-flock.c counter-dlock.c` is the whole port.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

static int add_one(const char *path)
{
	long number = 0;
	FILE *file = fopen(path, "r");

	if (file) {
		if (fscanf(file, "%ld", &number) != 1)
			number = 0;
		fclose(file);
	}
	file = fopen(path, "w");
	if (!file || fprintf(file, "%ld\n", number + 1) < 0) {
		perror(path);
		if (file)
			fclose(file);
		return -1;
	}
	return fclose(file);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: %s FILE TIMES\n", argv[0]);
		return 64;
	}
	int fd = open("/tmp/counter.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0) {
		perror("open");
		return 1;
	}
	for (long left = atol(argv[2]); left > 0; left--) {
		if (flock(fd, LOCK_EX) != 0) {
			perror("lock");
			return 1;
		}
		if (add_one(argv[1]) != 0)
			return 1;
		if (flock(fd, LOCK_UN) != 0) {
			perror("lock");
			return 1;
		}
	}
	close(fd);
	return 0;
}
