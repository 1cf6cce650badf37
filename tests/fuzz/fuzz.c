/* fuzz.c - see fuzz.h. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

uint8_t fuzz_byte(struct fuzz_input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

char *fuzz_some(struct fuzz_input *input, size_t most, size_t *ret_length)
{
	size_t length = input->left < most ? input->left : most;
	char *text = malloc(length + 1);

	fuzz_check(text != NULL);
	if (length > 0)
		memcpy(text, input->at, length);
	text[length] = '\0';
	input->at += length;
	input->left -= length;
	if (ret_length)
		*ret_length = length;
	return text;
}

char *fuzz_until(struct fuzz_input *input, const char *end, size_t *ret_length)
{
	const uint8_t *found = input->left > 0 ? memmem(input->at, input->left, end, strlen(end)) : NULL;
	char *text = fuzz_some(input, found ? (size_t)(found - input->at) : input->left, ret_length);

	if (found) {
		input->at += strlen(end);
		input->left -= strlen(end);
	}
	return text;
}

int fuzz_file(int fd, const void *bytes, size_t size)
{
	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	fuzz_check(fd >= 0);
	fuzz_check(ftruncate(fd, 0) == 0);
	fuzz_check(size == 0 || pwrite(fd, bytes, size, 0) == (ssize_t)size);
	return fd;
}

int fuzz_arguments(struct fuzz_input *input, const char *program, char **argv, int most)
{
	int argc = 0;

	argv[argc++] = strdup(program);
	while (input->left > 0 && argc < most)
		argv[argc++] = fuzz_until(input, "\n", NULL);
	argv[argc] = NULL;
	return argc;
}
