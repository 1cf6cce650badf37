/*
 * error.h - what went wrong, in words.
 *
 * Owns: the one table from errno to its meaning here (dlock_strerror()), and
 * each thread's sentence about its last failure (dlock_error_detail()).
 * Must never: print, allocate, or change errno (but for error_fail()).
 */
#ifndef DLOCK_ERROR_H
#define DLOCK_ERROR_H

#define ERROR_DETAIL_MAX 2048 /* with the NUL; what is longer ends in "..." */

/* Sets the calling thread's sentence. The arguments may include the present
 * sentence, so that a caller can put words before it. */
void error_detail_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

void error_detail_clear(void);

/* How a public function fails: sets errno to `error`, which is positive, and gives -1. No
 * failure is without a sentence: where none was set, it is the meaning of `error`. */
int error_fail(int error);

#endif
