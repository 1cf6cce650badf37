/*
 * stress.h - what the plain test programs share: checks, counting, masters' keys.
 *
 * Owns: the count of failed checks. Must never: end the program at a failure, or
 * judge by how fast something was; bounds are for what hangs.
 *
 * DLOCK_STRESS_PERCENT (default 100) scales the counts of repetitions, for runs
 * under valgrind.
 */
#ifndef TESTS_HARNESS_STRESS_H
#define TESTS_HARNESS_STRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "dlock.h"
#include "tests/harness/servers.h"

#define CHECK(condition) stress_check(condition, #condition, __FILE__, __LINE__)
/* The same with errno and the library's sentence. */
#define CHECK_CALL(condition) stress_check_call(condition, #condition, __FILE__, __LINE__)

bool stress_check(bool holds, const char *condition, const char *file, int line);
bool stress_check_call(bool holds, const char *condition, const char *file, int line);
int stress_failures(void);

/* `count` scaled, at least 1. */
int stress_times(int count);

/* Entries of a directory in /proc: open descriptors, threads. */
int stress_count(const char *directory);
int stress_descriptors(void);
int stress_threads(void);
long stress_resident_kib(void);

int64_t stress_now_ms(void);
void stress_sleep_ms(int ms);

/* Options for `servers` that are new, so that no quarantine is waited out. */
struct dlock_options *stress_options(const struct servers *servers);

/* True once no master holds a lock's key any more; waits up to 10 s. Keys that are left are printed. */
bool stress_all_free(struct servers *servers);

/* The status of the child, once it has ended; after `limit_ms` it is killed and -1 given. */
int stress_reap(pid_t child, int limit_ms);

#endif
