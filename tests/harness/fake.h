/*
 * fake.h - a server for tests that misbehaves as told.
 *
 * Owns: one thread, one listening socket, its connections. Must never: outlive the
 * test, send a byte that nobody told it to, or wait where a test waits for it.
 *
 * It either replies with a script of bytes, or stands before a real server and
 * passes bytes through until so many have gone to the client; then it sends the
 * script, if there is one, and closes or falls silent. So it can be garbage from
 * the first byte on, a reply that breaks off at any byte, a huge length in the
 * middle of a conversation, or a server that never answers.
 */
#ifndef TESTS_HARNESS_FAKE_H
#define TESTS_HARNESS_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_options {
	bool tcp; /* a free port of 127.0.0.1 instead of a unix socket */

	/* Without upstream: sent once to each connection, at its first request;
	 * `greet`: at once; `repeat`: at each chunk of bytes that comes in. With
	 * upstream: sent after the cut. NULL: nothing is sent. */
	const void *script;
	size_t script_size;
	bool greet;
	bool repeat;

	const char *upstream; /* "unix:/path" or "127.0.0.1:port"; NULL: none */

	/* A connection is cut when this many bytes of the script or of upstream
	 * have been sent to it; -1: never. (0 is the default and cuts before the
	 * first byte.) */
	int64_t cut_after;
	bool silent; /* a cut connection stays open, and all is swallowed */
};

struct fake;

/* NULL after a sentence on standard error. Nothing in `options` is kept. */
struct fake *fake_start(const struct fake_options *options);

/* Closes all connections and ends. NULL is fine. */
void fake_stop(struct fake *fake);

/* "unix:/…" or "127.0.0.1:port". */
const char *fake_address(const struct fake *fake);

/* Connections accepted until now; requests' bytes received until now. */
unsigned fake_accepted(struct fake *fake);
uint64_t fake_received(struct fake *fake);

/* Another `cut_after` for the connections that come from now on. */
void fake_cut_after(struct fake *fake, int64_t bytes);

/* Closes all connections of now; back when that is done. */
void fake_drop(struct fake *fake);

#endif
