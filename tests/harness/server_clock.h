/*
 * server_clock.h - servers whose time of day the test sets.
 *
 * Owns: the compiled clock_shim.c, the shared memory that it reads, and their
 * folder. Must never: touch the clock of the test itself, or clocks that only
 * count on.
 */
#ifndef TESTS_HARNESS_SERVER_CLOCK_H
#define TESTS_HARNESS_SERVER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct server_clock;

/* Compiles the shim. NULL after a sentence on standard error. */
struct server_clock *server_clock_new(void);
/* Also while servers that have the clock run: they keep it as it is then. NULL is fine. */
void server_clock_free(struct server_clock *clock);

/* Whether programs that are started from now on have this clock. */
void server_clock_preload(const struct server_clock *clock, bool on);

/* The machine's time and this. */
void server_clock_shift(struct server_clock *clock, int64_t offset_us);
/* Exactly this, in microseconds since 1970, until it is set anew. */
void server_clock_freeze(struct server_clock *clock, int64_t us);

#endif
