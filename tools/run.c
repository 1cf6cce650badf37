/*
 * run.c - takes the lock, runs the command, gives the lock back; see run.h.
 *
 * How it works: everything that can happen arrives through one poll(): the
 * lock's descriptor (granted, refused, lost), a signalfd, the watchdog's
 * socket, and a time-out for telling the watchdog about renewals. No signal
 * handler is installed, so the command starts with the dispositions and the
 * mask that dlock was started with.
 *
 * Rules:
 *  1. The watchdog is forked before the library starts its thread.
 *  2. The watchdog knows the deadline before the command exists.
 *  3. The lock goes back only after the command has ended, and after a loss
 *     only when the watchdog has seen its last process end.
 *  4. A loss is told once, by who finds it first: dlock or the watchdog.
 *  5. Signals that were ignored or blocked when dlock began stay so, for dlock
 *     and for the command.
 */
#include "run.h"
#include "options.h"
#include "say.h"
#include "text.h"
#include "tree.h"
#include "watchdog.h"

#include <dlock.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TELL_MAX_MS 500 /* the watchdog hears of renewals at least this often */
#define TELL_MIN_MS 5
#define OWN_VARIABLES 3 /* DLOCK_NAME, DLOCK_TOKEN, DLOCK_PID */

struct run {
	const struct options *options;
	char *shown_name;
	char **environment; /* the command's, once built */
	int lock, signals;  /* descriptors; -1 for none */
	sigset_t original_mask, handled;
	sigset_t caught;    /* what has reached dlock since the command began */
	struct watchdog watchdog;
	uint64_t token;
	int64_t lease_us;   /* its full length, as first granted */
	int64_t told_us;    /* the deadline that the watchdog knows */
	pid_t command;      /* 0 before and after */
	int command_status; /* as wait(2) gives it */
	bool lost;
};

int run_check_name(const char *name)
{
	size_t length = strlen(name);

	if (length > 0 && length <= DLOCK_NAME_MAX)
		return 0;
	if (length == 0)
		say("the name of a lock cannot be empty: 1 to %d bytes are accepted", DLOCK_NAME_MAX);
	else
		say("the name of the lock is %zu bytes long: 1 to %d are accepted", length, DLOCK_NAME_MAX);
	return EX_NOINPUT;
}

/* Rule 5: what is ignored or blocked now is none of dlock's business. */
static int begin_signals(struct run *run)
{
	static const int wanted[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	struct sigaction action;
	size_t i;

	signal(SIGCHLD, SIG_DFL); /* as flock(1): an ignored SIGCHLD would lose the command's status */
	sigprocmask(SIG_SETMASK, NULL, &run->original_mask);
	sigemptyset(&run->handled);
	sigemptyset(&run->caught);
	for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (sigaction(wanted[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN && !sigismember(&run->original_mask, wanted[i]))
			sigaddset(&run->handled, wanted[i]);
	sigaddset(&run->handled, SIGCHLD);
	sigprocmask(SIG_BLOCK, &run->handled, NULL);
	run->signals = signalfd(-1, &run->handled, SFD_CLOEXEC | SFD_NONBLOCK);
	if (run->signals >= 0)
		return 0;
	say("cannot receive signals: %s", strerror(errno));
	return EX_OSERR;
}

/* Ends dlock as the signal would have done, had it not been received here: a
 * shell that runs dlock tells Ctrl-C from an exit status by this. */
static void die_of(const struct run *run, int signal_number)
{
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core); /* SIGQUIT: the core of dlock is of no use */
	say_flush(0, 0);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
	sigprocmask(SIG_SETMASK, &run->original_mask, NULL);
}

/* The next signal: its number, and whether a process (not the terminal, which
 * tells the whole foreground group) has sent it. 0 when there is none. */
static int next_signal(const struct run *run, bool *ret_from_process)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	*ret_from_process = info.ssi_code != SI_KERNEL;
	return (int)info.ssi_signo;
}

/* Whether it is the name that dlock_open() has refused, not the settings. */
static bool name_is_refused(const struct run *run)
{
	int other = dlock_open_with("dlock", DLOCK_CLOEXEC, run->options->settings);

	if (other < 0)
		return false;
	dlock_close(other);
	return true;
}

static int open_lock(struct run *run)
{
	int error, status;

	run->lock = dlock_open_with(run->options->name, DLOCK_CLOEXEC | DLOCK_NONBLOCK, run->options->settings);
	if (run->lock >= 0)
		return 0;
	error = errno;
	status = say_failure(run->shown_name, error);
	return error == EINVAL && name_is_refused(run) ? EX_NOINPUT : status;
}

/* How the lock call ended, from its errno (0: granted). -1 to go on. */
static int told_outcome(const struct run *run, int error)
{
	const struct options *options = run->options;

	if (error == 0)
		return -1;
	if (error != EWOULDBLOCK && error != ETIMEDOUT)
		return say_failure(run->shown_name, error);
	if (options->verbose)
		say(error == ETIMEDOUT ? "timeout while waiting to get lock" : "failed to get lock");
	return options->conflict_status;
}

/* Gives up the wait: nothing is left behind on the masters. */
static int end_wait(struct run *run, int signal_number)
{
	dlock_close(run->lock);
	run->lock = -1;
	watchdog_end(&run->watchdog);
	die_of(run, signal_number);
	return 128 + signal_number;
}

/* Waits until the lock call has ended. -1 when the lock is held. */
static int wait_for_lock(struct run *run)
{
	struct pollfd polled[] = { { .fd = run->lock, .events = POLLIN }, { .fd = run->signals, .events = POLLIN } };
	bool from_process;
	int error, signal_number;

	error = dlock_timedlock(run->lock, run->options->operation, run->options->timeout_ms) < 0 ? errno : 0;
	while (error == EINPROGRESS) {
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			return say_failure(run->shown_name, errno);
		signal_number = polled[1].revents ? next_signal(run, &from_process) : 0;
		if (signal_number && signal_number != SIGCHLD)
			return end_wait(run, signal_number);
		if (polled[0].revents)
			error = dlock_result(run->lock) < 0 ? errno : 0;
	}
	return told_outcome(run, error);
}

static int take_lock(struct run *run)
{
	struct timespec start, end;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &start);
	status = open_lock(run);
	if (status == 0)
		status = wait_for_lock(run);
	if (status >= 0)
		return status;
	clock_gettime(CLOCK_MONOTONIC, &end);
	if (run->options->verbose) {
		int64_t took_us = (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000;

		printf("dlock: getting lock took %lld.%06lld seconds\n", (long long)(took_us / 1000000), (long long)(took_us % 1000000));
	}
	run->token = dlock_token(run->lock);
	return -1;
}

static bool is_variable(const char *setting, const char *name)
{
	size_t length = strlen(name);

	return strncmp(setting, name, length) == 0 && setting[length] == '=';
}

static char *variable(const char *name, const char *value)
{
	char *setting;

	if (asprintf(&setting, "%s=%s", name, value) < 0)
		say_no_memory();
	return setting;
}

/* Built before the fork: the child must not allocate. */
static char **build_environment(const struct run *run, char **original)
{
	size_t count = 0, used = 0;
	char number[32], **environment;

	while (original[count])
		count++;
	environment = calloc(count + OWN_VARIABLES + 1, sizeof(*environment));
	if (!environment)
		say_no_memory();
	for (; *original; original++)
		if (!is_variable(*original, "DLOCK_NAME") && !is_variable(*original, "DLOCK_TOKEN") && !is_variable(*original, "DLOCK_PID"))
			environment[used++] = *original;
	environment[used++] = variable("DLOCK_NAME", run->options->name);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)run->token);
	environment[used++] = variable("DLOCK_TOKEN", number);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	environment[used] = variable("DLOCK_PID", number);
	return environment;
}

/* Its last variables are its own, the others belong to the caller. */
static void free_environment(char **environment)
{
	size_t count = 0;

	while (environment[count])
		count++;
	for (size_t i = count - OWN_VARIABLES; i < count; i++)
		free(environment[i]);
	free(environment);
}

/* In the child; with flock(1)'s exit statuses. */
static void execute(const struct run *run)
{
	char **command = run->options->command;
	int error;

	watchdog_tell_command(&run->watchdog, run->token);
	sigprocmask(SIG_SETMASK, &run->original_mask, NULL);
	execvpe(command[0], command, run->environment);
	error = errno;
	say("failed to execute %s: %s", command[0], strerror(error));
	_exit(error == ENOMEM ? EX_OSERR : EX_UNAVAILABLE);
}

/* Rule 2. The clock is read first: the deadline told is never too late. */
static void tell_lease(struct run *run)
{
	int64_t now_us = clock_us();
	int64_t remaining_us = dlock_remaining(run->lock) / 1000;

	if (remaining_us <= 0)
		return;
	if (run->lease_us == 0)
		run->lease_us = remaining_us;
	if (now_us + remaining_us == run->told_us)
		return;
	run->told_us = now_us + remaining_us;
	watchdog_tell_lease(&run->watchdog, run->told_us, run->lease_us);
}

static int start_command(struct run *run)
{
	if (run->options->verbose)
		printf("dlock: executing %s\n", run->options->command[0]);
	fflush(stdout); /* else the child would carry a copy of what is buffered */
	if (run->watchdog.pid)
		prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
	if (run->lock >= 0)
		tell_lease(run);
	run->command = fork();
	if (run->command == 0)
		execute(run);
	if (run->command > 0)
		return -1;
	run->command = 0;
	say("fork failed: %s", strerror(errno));
	return EX_OSERR;
}

/* Children: the command, the watchdog, and orphans of the command's. */
static void reap(struct run *run)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == run->command) {
			run->command = 0;
			run->command_status = status;
		} else if (pid == run->watchdog.pid) {
			if (watchdog_has_stopped(&run->watchdog))
				run->lost = true;
			else if (!run->lost)
				say("%s: the watchdog has ended: if dlock is killed now, nothing stops the command", run->shown_name);
			close(run->watchdog.socket);
			run->watchdog = (struct watchdog){ .pid = 0, .socket = -1 };
		}
	}
}

static void receive_signals(struct run *run)
{
	bool from_process;
	int signal_number;

	while ((signal_number = next_signal(run, &from_process))) {
		if (signal_number == SIGCHLD) {
			reap(run);
			continue;
		}
		sigaddset(&run->caught, signal_number);
		if (from_process && run->command)
			kill(run->command, signal_number);
	}
}

/* Without its watchdog dlock does the watchdog's work itself. */
static void stop_command(struct run *run)
{
	struct tree tree = { .command = run->command, .reaper = getpid(), .name = run->options->name, .token = run->token };

	if (!run->command)
		return;
	tree.command_start = tree_start_of(run->command);
	tree.reaper_start = tree_start_of(tree.reaper);
	tree_stop(&tree, run->shown_name, clock_us() + 50000);
}

static void tell_loss(struct run *run)
{
	const char *detail = dlock_error_detail();

	if (run->lost)
		return;
	run->lost = true;
	/* dlock may have been stopped after its last look: one of the two tells it, the one that acted first. */
	if (watchdog_has_stopped(&run->watchdog))
		return;
	if (!*detail)
		detail = dlock_strerror(ESTALE);
	if (run->options->ignore_loss) {
		say("%s: the lock was lost (%s): the command goes on (--on-loss=ignore)", run->shown_name, detail);
		return;
	}
	say("%s: the lock was lost (%s): command stopped", run->shown_name, detail);
	if (run->watchdog.pid)
		watchdog_tell_lost(&run->watchdog);
	else
		stop_command(run);
}

static void check_lock(struct run *run)
{
	if (run->lost)
		return;
	if (dlock_result(run->lock) < 0 && errno == ESTALE)
		tell_loss(run);
	else if (dlock_remaining(run->lock) == 0 && errno == ESTALE)
		tell_loss(run);
	else
		tell_lease(run);
}

/* The command is over; after a loss its whole tree is, and the watchdog too. */
static bool is_over(const struct run *run)
{
	if (run->lost && run->watchdog.pid)
		return false;
	return run->command == 0 || (run->lost && !run->options->ignore_loss);
}

static void supervise(struct run *run)
{
	int64_t every_ms = run->lease_us / 10000;
	int tell_ms = every_ms > TELL_MAX_MS ? TELL_MAX_MS : every_ms < TELL_MIN_MS ? TELL_MIN_MS : (int)every_ms;

	while (!is_over(run)) {
		struct pollfd polled[] = {
			{ .fd = run->signals, .events = POLLIN },
			{ .fd = run->lost ? -1 : run->lock, .events = POLLIN },
			{ .fd = run->watchdog.pid && !run->lost ? run->watchdog.socket : -1, .events = POLLIN },
		};

		if (poll(polled, 3, run->lost || run->lock < 0 ? -1 : tell_ms) < 0 && errno != EINTR)
			break;
		if (polled[2].revents && watchdog_has_stopped(&run->watchdog))
			run->lost = true;
		if (polled[0].revents)
			receive_signals(run);
		/* A command that has ended has nothing left to lose. */
		if (run->command && run->lock >= 0)
			check_lock(run);
	}
}

static int command_status(const struct run *run)
{
	if (WIFEXITED(run->command_status))
		return WEXITSTATUS(run->command_status);
	return 128 + WTERMSIG(run->command_status);
}

/* Rule 3; then the command's own status, or the signal that both received. */
static int finish(struct run *run)
{
	bool stopped;

	if (run->watchdog.pid && watchdog_has_stopped(&run->watchdog))
		run->lost = true;
	if (run->lost && run->watchdog.pid)
		supervise(run);
	watchdog_end(&run->watchdog);
	stopped = run->lost && !run->options->ignore_loss;
	if (run->lock >= 0)
		dlock_close(run->lock);
	run->lock = -1;
	if (stopped)
		return STATUS_LOST;
	if (WIFSIGNALED(run->command_status) && sigismember(&run->caught, WTERMSIG(run->command_status)) == 1)
		die_of(run, WTERMSIG(run->command_status));
	return command_status(run);
}

/* With -u: as flock(1), which unlocks a descriptor that holds nothing. */
static int run_unlocked(struct run *run, char **environment)
{
	int status;

	run->environment = environment;
	status = start_command(run);
	if (status >= 0)
		return status;
	supervise(run);
	return finish(run);
}

static int run_locked(struct run *run, char **environment)
{
	int status;

	if (!run->options->ignore_loss && watchdog_start(&run->watchdog, run->options->name, run->shown_name) < 0) {
		say("cannot start the watchdog: %s", strerror(errno));
		return EX_OSERR;
	}
	status = take_lock(run);
	if (status < 0) {
		run->environment = build_environment(run, environment);
		status = start_command(run);
	}
	if (status < 0) {
		supervise(run);
		status = finish(run);
	}
	watchdog_end(&run->watchdog);
	if (run->lock >= 0)
		dlock_close(run->lock);
	if (run->environment)
		free_environment(run->environment);
	return status;
}

int run(const struct options *options, char **environment)
{
	struct run run = { .options = options, .lock = -1, .signals = -1 };
	int status = run_check_name(options->name);

	if (status == 0)
		status = begin_signals(&run);
	if (status != 0)
		return status;
	run.shown_name = text_shown(options->name);
	status = options->operation == LOCK_UN ? run_unlocked(&run, environment) : run_locked(&run, environment);
	free(run.shown_name);
	close(run.signals);
	return say_flush(status, EXIT_FAILURE);
}
