/*
 * liar.h - stands before a real server and falsifies chosen answers.
 *
 * Owns: one thread, one listening unix socket, its connections. Must never:
 * outlive the test, or change what reaches the server: that does everything that
 * it is asked for, and only the answer is wrong. So a lock that a client believes
 * not to have may really be there, and must go again.
 *
 * fake.h damages bytes by their number; this one knows commands and answers, and
 * which operation of the library's script a command asks for.
 */
#ifndef TESTS_HARNESS_LIAR_H
#define TESTS_HARNESS_LIAR_H

#include <stddef.h>
#include <stdint.h>

struct liar_lie {
	char operation;    /* of the script, as 'A'; 0: no lie */
	const void *bytes; /* in place of the answer; NULL: the true one */
	int dated;         /* not 0: "@" in it stands for the time, in microseconds */
	size_t size;
	int64_t cut_after; /* bytes of it after which the connection closes; -1: it stays */
	int times;         /* -1: always */
};

struct liar;

/* NULL after a sentence on standard error. `upstream`: "unix:/path". */
struct liar *liar_start(const char *upstream);
void liar_stop(struct liar *liar);
const char *liar_address(const struct liar *liar);

/* From now on; `bytes` must live until the next call. NULL: the truth. */
void liar_lie(struct liar *liar, const struct liar_lie *lie);

/* Lies told since the last liar_lie(); the size of the last answer to that operation. */
unsigned liar_told(struct liar *liar);
size_t liar_size(struct liar *liar);

/* Closes all connections of now. */
void liar_drop(struct liar *liar);

#endif
