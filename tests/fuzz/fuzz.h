/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one file that defines LLVMFuzzerTestOneInput(), which libFuzzer calls with
 * one input after the other; replay.c calls it with the files of the corpus, in builds
 * without libFuzzer. Everything that a run leaves behind must be gone at its end, or the
 * next run would depend on it, and no crash could be repeated from its input alone.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What must hold whatever the input; not assert(), so that it also counts with NDEBUG. */
#define fuzz_check(condition) \
	((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
void fuzz_fail(const char *file, int line, const char *what) __attribute__((noreturn));

/* What is left of the input. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* 0 when nothing is left, so that a short input is a whole one. */
uint8_t fuzz_byte(struct fuzz_input *input);
/* The bytes up to `end` (not part of them, but taken) or the end of the input, with a NUL behind; to be freed. */
char *fuzz_until(struct fuzz_input *input, const char *end, size_t *ret_length);
/* The same of at most `most` bytes. */
char *fuzz_some(struct fuzz_input *input, size_t most, size_t *ret_length);

/* A command line of `program` and the lines of what is left, `most` words at most; a NULL follows them, and each is to be
 * freed. Their number. */
int fuzz_arguments(struct fuzz_input *input, const char *program, char **argv, int most);

/* A file in memory with these bytes, and no others after it was written again: its number. */
int fuzz_file(int fd, const void *bytes, size_t size);

#endif
