/* options.c - see options.h. */
#include "options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <dlock.h>

#include "build.h"
#include "log.h"

#define OP_TIMEOUT_MS 500
#define SCRATCH_MIB 256

static const char usage[] =
    "Usage: dlockfs [options] MOUNTPOINT\n"
    "       mount -t fuse.dlockfs dlock MOUNTPOINT [-o OPTION,...]\n"
    "Locks for a fleet of machines: a name in MOUNTPOINT exists while its lock is held.\n"
    "\n"
    "  -f, --foreground   stay in the foreground, log to standard error\n"
    "  -d, --debug        the same, and tell every request\n"
    "  -o OPTION,...      mount options, below\n"
    "  -h, --help         this text\n"
    "  -V, --version      the version\n"
    "\n"
    "Mount options:\n"
    "  mode=create        a name exists while its lock is held (the default)\n"
    "  mode=flock         flock() and fcntl() locks on files are the fleet's\n"
    "  on_loss=SIGNAL     sent to who locked a file whose lock was lost (flock mode)\n"
    "  op_timeout=MS      when a call fails for want of a quorum (100 to 10000; 500)\n"
    "  scratch=MIB        room for what files contain in flock mode (1 to 65536; 256)\n"
    "  config=FILE        settings are read from there instead of /etc/dlock.conf\n"
    "  noprotect          do not make the directory underneath immutable\n"
    "  servers= ttl= prefix= node_timeout= quorum_timeout= quarantine= max_ttl=\n"
    "  lock_delay= password_file= tls_ca= tls_cert= tls_key=\n"
    "                     as in dlock.conf(5); commas within are written as \\,\n"
    "  allow_other, ro, nosuid, nodev, noexec and the like as for every mount\n"
    "\n"
    "SIGHUP reads the configuration again, SIGTERM gives all locks back and unmounts.\n"
    "See dlockfs(8).\n";

enum key {
	KEY_FOREGROUND,
	KEY_DEBUG,
	KEY_HELP,
	KEY_VERSION,
	KEY_MODE,
	KEY_ON_LOSS,
	KEY_OP_TIMEOUT,
	KEY_SCRATCH,
	KEY_CONFIG,
	KEY_NOPROTECT,
	KEY_SETTING,
	KEY_AUTO_UNMOUNT,
	KEY_FSNAME,
	KEY_SUBTYPE,
	KEY_IGNORED,
};

/* FUSE_OPT_KEY() in a form that no compiler warns about. */
#define OPTION(text, key) {text, (unsigned long)(unsigned)-1, key}

static const struct fuse_opt table[] = {
    OPTION("-f", KEY_FOREGROUND),
    OPTION("--foreground", KEY_FOREGROUND),
    OPTION("-d", KEY_DEBUG),
    OPTION("--debug", KEY_DEBUG),
    OPTION("-h", KEY_HELP),
    OPTION("--help", KEY_HELP),
    OPTION("-V", KEY_VERSION),
    OPTION("--version", KEY_VERSION),
    OPTION("mode=", KEY_MODE),
    OPTION("on_loss=", KEY_ON_LOSS),
    OPTION("op_timeout=", KEY_OP_TIMEOUT),
    OPTION("scratch=", KEY_SCRATCH),
    OPTION("config=", KEY_CONFIG),
    OPTION("noprotect", KEY_NOPROTECT),
    OPTION("servers=", KEY_SETTING),
    OPTION("ttl=", KEY_SETTING),
    OPTION("prefix=", KEY_SETTING),
    OPTION("node_timeout=", KEY_SETTING),
    OPTION("quorum_timeout=", KEY_SETTING),
    OPTION("quarantine=", KEY_SETTING),
    OPTION("max_ttl=", KEY_SETTING),
    OPTION("lock_delay=", KEY_SETTING),
    OPTION("password_file=", KEY_SETTING),
    OPTION("tls_ca=", KEY_SETTING),
    OPTION("tls_cert=", KEY_SETTING),
    OPTION("tls_key=", KEY_SETTING),
    OPTION("auto_unmount", KEY_AUTO_UNMOUNT),
    OPTION("fsname=", KEY_FSNAME),
    OPTION("subtype=", KEY_SUBTYPE),
    /* What an fstab line may say that is not for the file system. */
    OPTION("defaults", KEY_IGNORED),
    OPTION("auto", KEY_IGNORED),
    OPTION("noauto", KEY_IGNORED),
    OPTION("user", KEY_IGNORED),
    OPTION("nouser", KEY_IGNORED),
    OPTION("users", KEY_IGNORED),
    OPTION("owner", KEY_IGNORED),
    OPTION("group", KEY_IGNORED),
    OPTION("_netdev", KEY_IGNORED),
    OPTION("nofail", KEY_IGNORED),
    OPTION("comment=", KEY_IGNORED),
    OPTION("relatime", KEY_IGNORED),
    OPTION("norelatime", KEY_IGNORED),
    OPTION("strictatime", KEY_IGNORED),
    OPTION("nostrictatime", KEY_IGNORED),
    OPTION("lazytime", KEY_IGNORED),
    OPTION("nolazytime", KEY_IGNORED),
    OPTION("diratime", KEY_IGNORED),
    OPTION("nodiratime", KEY_IGNORED),
    OPTION("default_permissions", KEY_IGNORED), /* always */
    FUSE_OPT_END,
};

/* ---- values ---- */

/* 0, or -EINVAL and a sentence. */
static int parse_number(const char *argument, long low, long high, long *ret)
{
	const char *value = strchr(argument, '=') + 1;
	char *end;

	errno = 0;
	*ret = strtol(value, &end, 10);
	if (!errno && end != value && *end == '\0' && *ret >= low && *ret <= high)
		return 0;
	log_error("-o %s: a whole number from %ld to %ld is accepted", argument, low, high);
	return -EINVAL;
}

static int parse_mode(struct options *options, const char *argument)
{
	const char *value = strchr(argument, '=') + 1;

	options->flock_mode = strcmp(value, "flock") == 0;
	if (options->flock_mode || strcmp(value, "create") == 0)
		return 0;
	log_error("-o %s: the modes are create and flock", argument);
	return -EINVAL;
}

static int parse_signal(struct options *options, const char *argument)
{
	const char *value = strchr(argument, '=') + 1;
	char *end;
	long number = strtol(value, &end, 10);

	options->on_loss = -1;
	if (end != value && *end == '\0' && number >= 0 && number <= SIGRTMAX)
		options->on_loss = (int)number;
	if (strcmp(value, "none") == 0)
		options->on_loss = 0;
	if (strncmp(value, "SIG", 3) == 0)
		value += 3;
	for (int i = 1; i < SIGRTMIN && options->on_loss < 0; i++)
		if (sigabbrev_np(i) && strcmp(sigabbrev_np(i), value) == 0)
			options->on_loss = i;
	if (options->on_loss >= 0)
		return 0;
	log_error("-o %s: the name or number of a signal is accepted, as SIGTERM, or none", argument);
	return -EINVAL;
}

static int parse_setting(struct options *options, const char *argument)
{
	char key[32];
	const char *value = strchr(argument, '=') + 1;

	snprintf(key, sizeof(key), "%.*s", (int)(value - argument) - 1, argument);
	if (dlock_options_set(options->settings, key, value) == 0)
		return 0;
	log_error("-o %s: %s", argument, dlock_error_detail());
	return -EINVAL;
}

/* The file is looked up by the library, at every reload. */
static int parse_config(const char *argument)
{
	char *path = realpath(strchr(argument, '=') + 1, NULL);

	if (!path) {
		log_error("-o %s: %s", argument, strerror(errno));
		return -EINVAL;
	}
	setenv("DLOCK_CONFIG", path, 1);
	free(path);
	return 0;
}

/* ---- the command line ---- */

static int keep_word(char **place, const char *word)
{
	free(*place);
	*place = strdup(word);
	return *place ? 0 : -ENOMEM;
}

static int parse_word(struct options *options, const char *word)
{
	/* As mount(8) calls it: the source, then the mount point. */
	if (options->source) {
		log_error("too many arguments: \"%s\"; one mount point is accepted (dlockfs --help tells more)", word);
		return -EINVAL;
	}
	if (options->mountpoint) {
		options->source = options->mountpoint;
		options->mountpoint = NULL;
	}
	return keep_word(&options->mountpoint, word);
}

static int parse_known(struct options *options, enum key key, const char *argument)
{
	long number;
	int error = 0;

	switch (key) {
	case KEY_DEBUG:
		options->debug = true;
		options->foreground = true;
		return 0;
	case KEY_FOREGROUND:
		options->foreground = true;
		return 0;
	case KEY_HELP:
	case KEY_VERSION:
		options->answer = key == KEY_HELP ? usage : "dlockfs (libdlock) " PACKAGE_VERSION "\n";
		return 0;
	case KEY_MODE:
		return parse_mode(options, argument);
	case KEY_ON_LOSS:
		return parse_signal(options, argument);
	case KEY_OP_TIMEOUT:
		error = parse_number(argument, 100, 10000, &number);
		/* Some of it is for the way to the program and back. */
		if (!error)
			options->op_timeout_us = number * 900;
		return error;
	case KEY_SCRATCH:
		error = parse_number(argument, 1, 65536, &number);
		if (!error)
			options->scratch_size = (size_t)number << 20;
		return error;
	case KEY_CONFIG:
		return parse_config(argument);
	case KEY_NOPROTECT:
		options->protect = false;
		return 0;
	case KEY_SETTING:
		return parse_setting(options, argument);
	case KEY_FSNAME:
		return keep_word(&options->fsname, strchr(argument, '=') + 1);
	case KEY_SUBTYPE:
		/* Said by us anyway. With another the mount would not be found as ours. */
		if (strcmp(strchr(argument, '=') + 1, "dlockfs") == 0)
			return 0;
		log_error("-o %s: the subtype is always dlockfs", argument);
		return -EINVAL;
	case KEY_AUTO_UNMOUNT:
		log_error("-o auto_unmount: refused, since after a crash the directory underneath would grant every "
		          "lock to everybody");
		return -EINVAL;
	case KEY_IGNORED:
		return 0;
	}
	return -EINVAL;
}

static int parse_one(void *data, const char *argument, int key, struct fuse_args *out)
{
	struct options *options = data;
	int error = 0;

	(void)out;
	if (key == FUSE_OPT_KEY_OPT) /* x-...: for mount(8) and its like; libfuse and the kernel know others, or say so */
		return strncasecmp(argument, "x-", 2) != 0;
	if (key == FUSE_OPT_KEY_NONOPT)
		error = parse_word(options, argument);
	else
		error = parse_known(options, (enum key)key, argument);
	if (error)
		options->error = error;
	return 0;
}

/* libfuse says which option it does not know, but only when everything else has been done: it is asked now. */
static int check_rest(const struct options *options)
{
	static const struct fuse_lowlevel_ops none;
	struct fuse_args copy = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *session = NULL;
	bool copied = true;

	for (int i = 0; i < options->fuse.argc; i++)
		copied = copied && fuse_opt_add_arg(&copy, options->fuse.argv[i]) == 0;
	if (copied)
		session = fuse_session_new(&copy, &none, sizeof(none), NULL);
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&copy);
	return session ? 0 : -EINVAL;
}

/* What is the same for every mount. */
static int add_fixed(struct options *options)
{
	char *source = options->fsname ? options->fsname : options->source, *name = NULL;
	int error = 0;

	/* libfuse takes a comma within for the next option. */
	for (char *comma = source; comma && (comma = strchr(comma, ','));)
		*comma = '_';
	if (asprintf(&name, "fsname=%s", source ? source : "dlock") < 0)
		return -ENOMEM;
	if (fuse_opt_add_arg(&options->fuse, "-o") < 0 || fuse_opt_add_arg(&options->fuse, name) < 0 ||
	    fuse_opt_add_arg(&options->fuse, "-o") < 0 ||
	    fuse_opt_add_arg(&options->fuse, "subtype=dlockfs,default_permissions") < 0)
		error = -ENOMEM;
	if (options->debug && fuse_opt_add_arg(&options->fuse, "-d") < 0)
		error = -ENOMEM;
	free(name);
	return error;
}

/* What mount(8) and programs see of it must not depend on where the daemon goes. */
static int make_absolute(struct options *options)
{
	char *path;

	if (!options->mountpoint) {
		log_error("no mount point given; dlockfs --help tells more");
		return -EINVAL;
	}
	path = realpath(options->mountpoint, NULL);
	if (!path && options->mountpoint[0] == '/')
		return 0; /* what is wrong with it is told when it is opened; a dead mount is nothing wrong */
	if (!path) {
		char *folder = getcwd(NULL, 0);

		if (!folder || asprintf(&path, "%s/%s", folder, options->mountpoint) < 0)
			path = NULL;
		free(folder);
	}
	if (!path)
		return -ENOMEM;
	free(options->mountpoint);
	options->mountpoint = path;
	return 0;
}

int options_parse(struct options *ret, int argc, char **argv)
{
	int error;

	*ret = (struct options){
	    .protect = true,
	    .op_timeout_us = OP_TIMEOUT_MS * 900,
	    .scratch_size = (size_t)SCRATCH_MIB << 20,
	    .fuse = FUSE_ARGS_INIT(argc, argv),
	    .settings = dlock_options_new(),
	};
	if (!ret->settings)
		return -ENOMEM;
	/* Who waits in a mount waits like on any file system: for ever. */
	if (dlock_options_set(ret->settings, "quorum_timeout", "forever") < 0)
		return -errno;
	if (fuse_opt_parse(&ret->fuse, ret, table, parse_one) < 0)
		return -EINVAL;
	if (ret->answer) {
		fputs(ret->answer, stdout);
		return 1;
	}
	error = ret->error ? ret->error : make_absolute(ret);
	if (!error)
		error = add_fixed(ret);
	return error ? error : check_rest(ret);
}

void options_clear(struct options *options)
{
	fuse_opt_free_args(&options->fuse);
	dlock_options_free(options->settings);
	free(options->source);
	free(options->fsname);
	free(options->mountpoint);
}

static const char *const setting_keys[] = {"servers",    "ttl",        "prefix",     "node_timeout",
                                           "quorum_timeout", "quarantine", "max_ttl", "lock_delay",
                                           "password_file", "tls_ca",     "tls_cert",   "tls_key"};

struct dlock_options *options_resolve(const struct options *options, char *why, size_t why_size)
{
	struct dlock_options *settings = dlock_options_new();
	bool good = settings != NULL;

	for (size_t i = 0; good && i < sizeof(setting_keys) / sizeof(setting_keys[0]); i++) {
		const char *value = dlock_options_get(options->settings, setting_keys[i]);

		if (value)
			good = dlock_options_set(settings, setting_keys[i], value) == 0;
	}
	if (good && dlock_options_resolve(settings) == 0)
		return settings;
	snprintf(why, why_size, "%s", settings ? dlock_error_detail() : "out of memory");
	dlock_options_free(settings);
	return NULL;
}
