/*
 * options.h - what the command line and the -o list of dlockfs ask for.
 *
 * Owns: reading and checking them, and the library's settings that they and the
 * configuration make.
 * Must never: touch the mount point or a master.
 */
#ifndef DLOCKFS_OPTIONS_H
#define DLOCKFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <fuse_opt.h>

struct dlock_options;

struct options {
	char *source;             /* the first word of an fstab line; NULL when not given */
	char *fsname;             /* -o fsname=, which comes before that */
	char *mountpoint;         /* absolute */
	bool flock_mode;          /* -o mode=flock */
	bool foreground;
	bool debug;
	bool protect;             /* false: -o noprotect */
	int on_loss;              /* signal for those who hold a lost lock; 0: none */
	int64_t op_timeout_us;    /* what may block the directory in the kernel is answered by then */
	size_t scratch_size;      /* bytes in scratch files, all together */
	struct fuse_args fuse;    /* what is passed on to fuse_session_new() */
	const char *answer;       /* --help, --version: what is to be said instead of mounting */
	int error;                /* of what was parsed so far */
	struct dlock_options *settings; /* as given with -o: not resolved, the source of options_resolve() */
};

/* 0 with everything set; 1: it was answered already (--help, --version); -EINVAL with a sentence on standard error. */
int options_parse(struct options *ret, int argc, char **argv);
void options_clear(struct options *options);

/* The library's settings that hold now (environment, configuration file). NULL with a sentence in `why`. */
struct dlock_options *options_resolve(const struct options *options, char *why, size_t why_size);

#endif
