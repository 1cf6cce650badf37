/*
 * worker.c - one client process of the torture.
 *
 *   worker locks PROC SEED THREADS NAME...   threads that lock by the library
 *   worker crowd PROC SEED THREADS NAME      threads that wait in turn for one name
 *   worker under PROC MODE HOLD_US CALL_NS [PATIENCE]   what dlock(1) runs under a lock
 *   worker mkdir PROC SEED FOLDER NAME...    mkdir(2) and rmdir(2) in a mount in create mode
 *   worker flock PROC SEED FOLDER NAME...    flock(2) in a mount in flock mode
 *
 * All but `under` go on until SIGTERM, upon which they give back what they have.
 * TORTURE_HISTORY names the folder of the history.
 */
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(int signal)
{
	(void)signal;
	stopping = 1;
}

/* Without SA_RESTART: what waits is to return. */
static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
}

int main(int argc, char **argv)
{
	if (argc < 6 || argc > NAMES_MAX) {
		fputs("see the head of worker.c\n", stderr);
		return 2;
	}
	catch_signals();
	history_open(argv[2]);
	if (strcmp(argv[1], "locks") == 0)
		return run_locks(strtoull(argv[3], NULL, 10), atoi(argv[4]), argv + 5);
	if (strcmp(argv[1], "crowd") == 0)
		return run_crowd(strtoull(argv[3], NULL, 10), atoi(argv[4]), argv + 5);
	if (strcmp(argv[1], "under") == 0)
		return run_under(argv[3], strtoull(argv[4], NULL, 10), strtoll(argv[5], NULL, 10), argv[6]);
	if (strcmp(argv[1], "mkdir") == 0)
		return run_mkdir(strtoull(argv[3], NULL, 10), argv[4], argv + 5);
	if (strcmp(argv[1], "flock") == 0)
		return run_flock(strtoull(argv[3], NULL, 10), argv[4], argv + 5);
	fputs("see the head of worker.c\n", stderr);
	return 2;
}
