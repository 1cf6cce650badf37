/*
 * options.c - reads the command line; see options.h.
 *
 * getopt_long() with a leading '+' as in flock(1): what follows the name
 * belongs to the command. The aliases at the end of the table keep flock(1)'s
 * abbreviations ("--s", "--conf") unambiguous beside the options added here.
 */
#include "options.h"
#include "say.h"

#include <dlock.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <paths.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_VERBOSE = CHAR_MAX + 1,
	OPT_LIST,
	OPT_WHO,
	OPT_WATCH,
	OPT_INTERVAL,
	OPT_BREAK,
	OPT_DOCTOR,
	OPT_INIT,
	OPT_JSON,
	OPT_YES,
	OPT_SERVERS,
	OPT_CONFIG,
	OPT_TTL,
	OPT_PREFIX,
	OPT_ON_LOSS,
	OPT_MAX_TTL,
};

static const struct option long_options[] = {
	{ "shared", no_argument, NULL, 's' },
	{ "exclusive", no_argument, NULL, 'x' },
	{ "unlock", no_argument, NULL, 'u' },
	{ "nonblocking", no_argument, NULL, 'n' },
	{ "nb", no_argument, NULL, 'n' },
	{ "timeout", required_argument, NULL, 'w' },
	{ "wait", required_argument, NULL, 'w' },
	{ "conflict-exit-code", required_argument, NULL, 'E' },
	{ "close", no_argument, NULL, 'o' },
	{ "no-fork", no_argument, NULL, 'F' },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "list", no_argument, NULL, OPT_LIST },
	{ "who", required_argument, NULL, OPT_WHO },
	{ "watch", no_argument, NULL, OPT_WATCH },
	{ "interval", required_argument, NULL, OPT_INTERVAL },
	{ "break", required_argument, NULL, OPT_BREAK },
	{ "doctor", no_argument, NULL, OPT_DOCTOR },
	{ "init", no_argument, NULL, OPT_INIT },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "yes", no_argument, NULL, OPT_YES },
	{ "servers", required_argument, NULL, OPT_SERVERS },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "ttl", required_argument, NULL, OPT_TTL },
	{ "prefix", required_argument, NULL, OPT_PREFIX },
	{ "on-loss", required_argument, NULL, OPT_ON_LOSS },
	{ "max-ttl", required_argument, NULL, OPT_MAX_TTL },
	{ "s", no_argument, NULL, 's' },
	{ "t", required_argument, NULL, 'w' },
	{ "w", required_argument, NULL, 'w' },
	{ "wa", required_argument, NULL, 'w' },
	{ "co", required_argument, NULL, 'E' },
	{ "con", required_argument, NULL, 'E' },
	{ "conf", required_argument, NULL, 'E' },
	{ NULL, 0, NULL, 0 },
};

/* What is only checked once the whole line has been read. */
struct flags {
	bool no_fork, do_close, nonblock, max_ttl, run_option, interval;
};

/* Status -1, and timeout_ms set; else the status. flock(1) lets strtold() read
 * the number and a timer refuse what is negative or not a time: that gives two
 * different statuses, kept here. */
static int parse_timeout(const char *text, int *ret_timeout_ms)
{
	char *end;
	long double seconds, milliseconds;

	errno = 0;
	seconds = strtold(text, &end);
	if (end == text || *end) {
		say("invalid timeout value: '%s' (a number of seconds is expected, as 10 or 0.5)", text);
		return EX_USAGE;
	}
	if (!(seconds > -1e-6L && seconds < 9.2e18L)) {
		say("invalid timeout value: '%s' (it must be 0 or more seconds)", text);
		return EX_OSERR;
	}
	if (seconds < 1e-6L) { /* flock(1) counts in microseconds: less is a try */
		*ret_timeout_ms = 0;
		return -1;
	}
	milliseconds = seconds * 1000;
	*ret_timeout_ms = milliseconds >= INT_MAX ? INT_MAX : (int)milliseconds;
	if (*ret_timeout_ms < INT_MAX && *ret_timeout_ms < milliseconds)
		(*ret_timeout_ms)++; /* a wait is never shorter than asked for */
	return -1;
}

/* From a tenth of a second to a day. */
static int parse_interval(const char *text, int *ret_interval_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end != text && *end == '\0' && seconds >= 0.1 && seconds <= 86400) {
		*ret_interval_ms = (int)(seconds * 1000);
		return -1;
	}
	say("invalid interval: '%s' (0.1 to 86400 seconds are expected)", text);
	return EX_USAGE;
}

static int parse_conflict_status(const char *text, int *ret_status)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || *end) {
		say("invalid exit code: '%s'", text);
		return EX_USAGE;
	}
	if (errno || value < 0 || value > 255) {
		say("exit code out of range: '%s' (expected 0 to 255)", text);
		return EX_USAGE;
	}
	*ret_status = (int)value;
	return -1;
}

static int set(struct options *options, const char *key, const char *value)
{
	if (dlock_options_set(options->settings, key, value) == 0)
		return -1;
	say_failure(NULL, errno);
	return EX_USAGE;
}

static int parse_on_loss(struct options *options, const char *text)
{
	options->ignore_loss = strcmp(text, "ignore") == 0;
	if (options->ignore_loss || strcmp(text, "stop") == 0)
		return -1;
	say("invalid value for --on-loss: '%s' (expected stop or ignore)", text);
	return EX_USAGE;
}

static int choose(struct options *options, enum action action, const char *name)
{
	if (options->action != ACTION_RUN && options->action != action) {
		say("only one of --list, --who, --watch, --break, --doctor and --init can be given");
		return EX_USAGE;
	}
	options->action = action;
	options->name = name;
	return -1;
}

/* The options that flock(1) does not have. */
static int parse_added(int option, struct options *options, struct flags *flags)
{
	switch (option) {
	case OPT_LIST:
		return choose(options, ACTION_LIST, NULL);
	case OPT_WHO:
		return choose(options, ACTION_WHO, optarg);
	case OPT_WATCH:
		return choose(options, ACTION_WATCH, NULL);
	case OPT_INTERVAL:
		flags->interval = true;
		return parse_interval(optarg, &options->interval_ms);
	case OPT_BREAK:
		return choose(options, ACTION_BREAK, optarg);
	case OPT_DOCTOR:
		return choose(options, ACTION_DOCTOR, NULL);
	case OPT_INIT:
		return choose(options, ACTION_INIT, NULL);
	case OPT_JSON:
		options->json = true;
		return -1;
	case OPT_YES:
		options->yes = true;
		return -1;
	case OPT_SERVERS:
		return set(options, "servers", optarg);
	case OPT_CONFIG:
		options->config = optarg;
		return -1;
	case OPT_TTL:
		return set(options, "ttl", optarg);
	case OPT_PREFIX:
		return set(options, "prefix", optarg);
	case OPT_ON_LOSS:
		flags->run_option = true;
		return parse_on_loss(options, optarg);
	case OPT_MAX_TTL:
		flags->max_ttl = true;
		return set(options, "max_ttl", optarg);
	default:
		return say_try_help();
	}
}

static int parse_option(int option, struct options *options, struct flags *flags)
{
	switch (option) {
	case 's':
		options->operation = LOCK_SH;
		break;
	case 'e':
	case 'x':
		options->operation = LOCK_EX;
		break;
	case 'u':
		options->operation = LOCK_UN;
		break;
	case 'o':
		flags->do_close = true; /* nothing else to do: the command never has the descriptor */
		break;
	case 'F':
		flags->no_fork = true;
		break;
	case 'n':
		flags->nonblock = true;
		break;
	case 'w':
		flags->run_option = true;
		return parse_timeout(optarg, &options->timeout_ms);
	case 'E':
		flags->run_option = true;
		return parse_conflict_status(optarg, &options->conflict_status);
	case OPT_VERBOSE:
		options->verbose = true;
		return -1;
	default:
		return parse_added(option, options, flags);
	}
	flags->run_option = true;
	return -1;
}

static int check_no_fork(const struct flags *flags)
{
	if (!flags->no_fork)
		return -1;
	if (flags->do_close)
		say("the --no-fork and --close options are incompatible");
	else
		say("--no-fork is refused: the lock is a lease that a process has to renew while the command runs; leave the option out");
	return EX_USAGE;
}

static int check_look(const struct options *options, const struct flags *flags, int left)
{
	if (options->json && options->action != ACTION_LIST && options->action != ACTION_WHO && options->action != ACTION_DOCTOR)
		say("--json goes with --list, --who and --doctor only");
	else if (options->yes && options->action != ACTION_BREAK && options->action != ACTION_INIT)
		say("--yes goes with --break and --init only");
	else if (flags->interval && options->action != ACTION_WATCH)
		say("--interval goes with --watch only");
	else if (flags->max_ttl && options->action != ACTION_INIT)
		say("--max-ttl goes with --init only");
	else if (options->action != ACTION_RUN && flags->run_option)
		say("--list, --who, --watch, --break, --doctor and --init take no option that is about running a command");
	else if (options->action != ACTION_RUN && left > 0)
		say("--list, --who, --break, --doctor and --init take no further argument");
	else
		return -1;
	return EX_USAGE;
}

/* flock(1) is given a descriptor of the shell's this way. */
static int refuse_no_command(const char *name)
{
	size_t digits = strspn(name, "0123456789");

	if (digits > 0 && name[digits] == '\0')
		say("%s: a file descriptor cannot be locked by a command that ends; use 'dlock NAME -c COMMAND', "
		    "or flock(1) on a file of a dlockfs mount in flock mode",
		    name);
	else
		say("a command is missing after the name of the lock: dlock [options] NAME COMMAND...");
	return EX_USAGE;
}

/* The name and the command: what getopt has left. */
static int take_command(int left, char **arguments, struct options *options)
{
	char *shell;

	if (left == 0) {
		say("requires the name of a lock and a command");
		return EX_USAGE;
	}
	options->name = arguments[0];
	if (left == 1)
		return refuse_no_command(arguments[0]);
	options->command = &arguments[1];
	if (strcmp(arguments[1], "-c") != 0 && strcmp(arguments[1], "--command") != 0)
		return -1;
	if (left != 3) {
		say("%s requires exactly one command argument", arguments[1]);
		return EX_USAGE;
	}
	shell = getenv("SHELL");
	options->shell_command[0] = shell && *shell ? shell : (char *)_PATH_BSHELL;
	options->shell_command[1] = (char *)"-c";
	options->shell_command[2] = arguments[2];
	options->command = options->shell_command;
	return -1;
}

static void set_defaults(struct options *options)
{
	memset(options, 0, sizeof(*options));
	options->operation = LOCK_EX;
	options->timeout_ms = -1;
	options->conflict_status = STATUS_CONFLICT;
	options->interval_ms = 1000;
	options->settings = dlock_options_new();
	if (!options->settings)
		say_no_memory();
}

/* The options that follow the names of --watch too: nothing there is a command's. True if there is more to read. */
static bool take_name(int argc, char **argv, struct options *options)
{
	bool rest = optind > 1 && strcmp(argv[optind - 1], "--") == 0;

	if (options->action != ACTION_WATCH)
		return false;
	if (options->name_count == 0)
		options->names = argv + 1; /* read by now, as far as names are put there */
	while (optind < argc) {
		options->names[options->name_count++] = argv[optind++];
		if (!rest)
			return true;
	}
	options->names[options->name_count] = NULL;
	return false;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	struct flags flags = { .nonblock = false };
	int option, status;

	set_defaults(ret_options);
	ret_options->names = argv + argc; /* none */
	if (argc < 2) {
		say("not enough arguments");
		return say_try_help();
	}
	for (;;) {
		option = getopt_long(argc, argv, "+sexnoFuw:E:hV?", long_options, NULL);
		if (option == -1 && take_name(argc, argv, ret_options))
			continue;
		if (option == -1)
			break;
		if (option == 'h' || option == 'V') {
			ret_options->action = option == 'h' ? ACTION_HELP : ACTION_VERSION;
			return -1;
		}
		status = parse_option(option, ret_options, &flags);
		if (status >= 0)
			return status;
	}
	if (flags.nonblock) /* whatever -w says, before or after it */
		ret_options->timeout_ms = 0;
	status = check_no_fork(&flags);
	if (status < 0)
		status = check_look(ret_options, &flags, argc - optind);
	if (status >= 0 || ret_options->action != ACTION_RUN)
		return status;
	return take_command(argc - optind, argv + optind, ret_options);
}

void options_clear(struct options *options)
{
	dlock_options_free(options->settings);
	options->settings = NULL;
}

void options_help(void)
{
	fputs("\nUsage:\n"
	      " dlock [options] NAME COMMAND [ARGUMENT...]\n"
	      " dlock [options] NAME -c STRING\n"
	      " dlock --list | --who NAME | --watch [NAME...] | --break NAME | --doctor | --init\n"
	      "\nRuns a command while it holds a lock that excludes every machine with the same masters.\n"
	      "\nOptions, as flock(1):\n"
	      " -s, --shared             get a shared lock\n"
	      " -x, --exclusive          get an exclusive lock (default); -e is the same\n"
	      " -u, --unlock             run the command without a lock\n"
	      " -n, --nonblock           fail rather than wait\n"
	      " -w, --timeout SECONDS    wait for a limited time; fractions are allowed, 0 is -n\n"
	      " -E, --conflict-exit-code NUMBER  exit status after conflict or time-out (default 1)\n"
	      " -o, --close              accepted: the command never gets the lock's descriptor\n"
	      " -c, --command STRING     after NAME: run a string through the shell\n"
	      " -F, --no-fork            refused: the lock has to be renewed while the command runs\n"
	      "     --verbose            tell how long the lock took\n"
	      " -h, --help               show this help\n"
	      " -V, --version            show the version\n"
	      "\nThe lock:\n"
	      "     --servers LIST       the masters, separated by commas or spaces\n"
	      "     --config FILE        the configuration file; see dlock.conf(5)\n"
	      "     --ttl MILLISECONDS   how long the lock outlives a machine that has died\n"
	      "     --prefix TEXT        before the name in every key on the masters\n"
	      "     --on-loss ACTION     when the lock is lost: stop the command (default), or ignore\n"
	      "\nTo look and to mend:\n"
	      "     --list               every lock that is held\n"
	      "     --who NAME           who holds the lock and who waits; status 0: held, 1: free\n"
	      "     --watch              the list, or the locks named, again and again\n"
	      "     --interval SECONDS   with --watch: how often (default 1)\n"
	      "     --break NAME         take the lock away from its holder\n"
	      "     --doctor             the state of every master; status 1: locks are unsafe\n"
	      "     --init               declare the masters new, so that they may vote at once\n"
	      "     --max-ttl MILLISECONDS  with --init: the longest ttl that any client may use\n"
	      "     --json               with --list, --who, --doctor: for machines\n"
	      "     --yes                with --break, --init: do not ask\n"
	      "\nExit status: the command's; 128+n after signal n; 1 (or -E) when the lock is held by\n"
	      "another; 64 usage; 66 bad name; 69 no quorum of masters, or the command cannot be run;\n"
	      "71 the system failed; 75 the lock was lost and the command stopped; 78 configuration.\n"
	      "\nFor more details see dlock(1).\n",
	      stdout);
}
