/*
 * honest.h - a master within the fuzzer's own process, that answers as a real one does.
 *
 * Owns: the bytes of requests that have come, their reading, and the true answer to each:
 * the handshake's, and the script's by the model of it (tests/unit/model_master.h).
 * Must never: do I/O, or read a clock. Whether the answer is sent is up to the target.
 *
 * What comes in must be well formed, whatever was answered before: that is checked here.
 */
#ifndef TESTS_FUZZ_HONEST_H
#define TESTS_FUZZ_HONEST_H

#include "fuzz.h"
#include "tests/unit/model_master.h"

#define HONEST_ARGUMENTS_MAX 20
#define HONEST_IN_MAX (1 << 20)
#define HONEST_OUT_MAX (1 << 16)

struct honest {
	struct model_master model;
	char *in; /* HONEST_IN_MAX bytes */
	size_t in_size;
	char *out; /* the last answer; HONEST_OUT_MAX bytes */
	size_t out_size;
	int64_t connections; /* CLIENT ID */
	/* The request of the last answer. */
	size_t argc, lengths[HONEST_ARGUMENTS_MAX];
	const char *argv[HONEST_ARGUMENTS_MAX];
};

/* A server that was just installed. The buffers are kept from one to the next. */
void honest_start(struct honest *honest, unsigned number);
/* A new connection: what had come of a request is gone. */
void honest_connected(struct honest *honest);
/* Room for bytes that come in. */
char *honest_room(struct honest *honest, size_t *ret_size);
/* The next whole request, with its answer in `out`: the script's operation, a letter of "acikls" for AUTH, CLIENT ID and
 * INFO, CLIENT KILL, CONFIG GET, SCRIPT LOAD, SELECT; "u" for SUBSCRIBE, "p" for PUBLISH; or 0: there is none. */
char honest_next(struct honest *honest, int64_t world_us);

#endif
