/*
 * main.c - dlockfs [options] MOUNTPOINT: from the command line to the serving mount.
 *
 * What can be refused is refused before anything is mounted, on standard error and
 * with a status: 2 for the command line, 69 when no majority of the masters votes,
 * 1 for the rest.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <dlock.h>

#include "background.h"
#include "daemon.h"
#include "log.h"
#include "mountpoint.h"
#include "options.h"

#define PROBES 10
#define PROBE_PAUSE_US 200000
#define STATUS_USAGE 2
#define STATUS_NO_QUORUM 69 /* EX_UNAVAILABLE */

/* Each lock takes two descriptors. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int tell_master(const struct dlock_master *master, void *arg)
{
	(void)arg;
	if (master->state != DLOCK_MASTER_VOTING)
		log_error("%s: %s", master->address, master->problem);
	return 0;
}

static int count_master(const struct dlock_master *master, void *arg)
{
	unsigned *count = arg;

	(void)master;
	(*count)++;
	return 0;
}

/* While a machine starts, masters that are there may take a while to answer. */
static int ask_masters(const struct dlock_options *settings, unsigned *ret_count)
{
	int voting = 0;

	for (int i = 0; i < PROBES; i++) {
		*ret_count = 0;
		voting = dlock_masters_with(count_master, ret_count, settings);
		if (voting < 0 || (unsigned)voting >= *ret_count / 2 + 1)
			break;
		usleep(PROBE_PAUSE_US);
	}
	return voting;
}

/* A mount without a quorum would answer every call with ENOLCK: better to say so now. */
static int probe(const struct options *options)
{
	char why[1024];
	struct dlock_options *settings = options_resolve(options, why, sizeof(why));
	unsigned count = 0;
	int voting;

	if (!settings) {
		log_error("%s", why);
		return STATUS_USAGE;
	}
	voting = ask_masters(settings, &count);
	if (voting < 0)
		log_error("the masters: %s", dlock_error_detail());
	else if ((unsigned)voting < count / 2 + 1) {
		dlock_masters_with(tell_master, NULL, settings);
		log_error("not mounted: %d of %u masters vote, and %u are needed (dlock --doctor tells more)", voting,
		          count, count / 2 + 1);
	}
	dlock_options_free(settings);
	return voting >= 0 && (unsigned)voting >= count / 2 + 1 ? 0 : STATUS_NO_QUORUM;
}

static int serve_mount(struct daemon *daemon, const struct options *options, int ticket)
{
	int error;

	if (daemon_mount(daemon) < 0)
		return 1;
	if (ticket >= 0) {
		log_open(true, options->debug);
		background_ready(ticket);
	}
	log_info("serving %s in %s mode", options->mountpoint, options->flock_mode ? "flock" : "create");
	error = daemon_serve(daemon);
	if (!error)
		return 0;
	log_error("%s: %s; the mount is left dead, so that nothing is granted underneath", options->mountpoint,
	          strerror(-error));
	_exit(1); /* whatever the process still holds ends with its lease */
}

static int run(struct options *options)
{
	struct daemon *daemon;
	int status, ticket = -1;

	log_open(false, options->debug);
	if (mountpoint_check_kernel() < 0)
		return 1;
	if (!options->foreground) {
		ticket = background_begin();
		if (ticket < 0) {
			log_error("no second process: %s", strerror(errno));
			return 1;
		}
	}
	raise_limits();
	daemon_block_signals();
	status = probe(options);
	if (status)
		return status;
	daemon = daemon_new(options);
	if (!daemon)
		return STATUS_USAGE;
	status = mountpoint_prepare(options->mountpoint, options->protect) < 0 ? 1 : serve_mount(daemon, options, ticket);
	daemon_free(daemon);
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	int parsed = options_parse(&options, argc, argv);
	int status = parsed > 0 ? 0 : STATUS_USAGE;

	if (parsed == 0)
		status = run(&options);
	options_clear(&options);
	return status;
}
