/*
 * say.h - what the command says on standard error, its exit statuses, its clock.
 *
 * Owns: the shape of every message ("dlock: ..." in one write, so that lines of
 * processes that share a terminal or a log never mix).
 * Must never: use stdio's stderr (the child between fork and exec and the
 * watchdog speak through here too), or change errno.
 */
#ifndef DLOCK_TOOLS_SAY_H
#define DLOCK_TOOLS_SAY_H

#include <stdint.h>
#include <sysexits.h>

#define STATUS_CONFLICT 1         /* as flock(1): held by another */
#define STATUS_LOST EX_TEMPFAIL   /* the lock was lost while the command ran */

/* One line on standard error, with "dlock: " before it. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Points to --help after a usage error; the result is EX_USAGE. */
int say_try_help(void);

/* Tells why a call of the library failed with `error`, NAME first (NULL: none),
 * and gives the exit status for it. Calls nothing that would lose the detail. */
int say_failure(const char *shown_name, int error);

/* Writes out standard output; `status`, or `on_error` with a message. */
int say_flush(int status, int on_error);

/* Out of memory while starting or looking: ends the program. */
void say_no_memory(void) __attribute__((noreturn));

/* CLOCK_BOOTTIME: leases run on while a machine is suspended. */
int64_t clock_us(void);

#endif
