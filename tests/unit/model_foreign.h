/*
 * model_foreign.h - what other clients and people do to a model master, and all of its keys as text.
 *
 * Owns: the effect of single commands on the keys of a model master, and the
 * form of the text. Must never: know the script; that is model_master.c's.
 *
 * Redis' own rules hold here: what needs memory is refused when it is full, what
 * writes where the master is read-only, and a command for another type of value
 * is answered WRONGTYPE. Only the commands that are listed are known, of keys of
 * locks and of libdlock's own keys those with which the model can tell the result.
 */
#ifndef DLOCK_TESTS_MODEL_FOREIGN_H
#define DLOCK_TESTS_MODEL_FOREIGN_H

#include "tests/unit/model_master.h"

enum foreign_kind {
	FOREIGN_SET,      /* SET key value */
	FOREIGN_SET_PX,   /* SET key value PX number */
	FOREIGN_SET_NX,   /* SET key value NX PX number: a plain Redlock client's attempt */
	FOREIGN_DEL,      /* DEL key */
	FOREIGN_PEXPIRE,  /* PEXPIRE key number */
	FOREIGN_PERSIST,  /* PERSIST key */
	FOREIGN_RPUSH,    /* RPUSH key x */
	FOREIGN_HSET,     /* HSET key f x */
	FOREIGN_SADD,     /* SADD key x */
	FOREIGN_ZADD,     /* ZADD key number value */
	FOREIGN_FLUSHALL, /* FLUSHALL */
};

struct foreign {
	enum foreign_kind kind;
	char key[TOKEN_MAX + 16]; /* a lock's, or dlock!... in full; of ZADD a queue's as well */
	char value[PLACE_MAX];
	int64_t number;
};

#define FOREIGN_REPLY_MAX 32

/* `reply`: "OK", "(nil)", an integer, or the first word of the error. */
void model_foreign(struct model_master *master, const struct foreign *foreign, int64_t world_us,
                   char reply[FOREIGN_REPLY_MAX]);

/* Removes whatever has expired, as a server does with what is looked at (a read-only one only hides it). */
void model_expire(struct model_master *master, int64_t world_us);

/* All keys, in the order of their names, a line each: name, type, expiry in ms or -1, and the content, which may hold
 * any byte. The length; nothing may be left that has expired, see model_expire(). */
size_t model_keys_text(const struct model_master *master, int64_t world_us, char *out, size_t size);

#endif
