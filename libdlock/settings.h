/*
 * settings.h - the keys of the configuration, and what each accepts.
 *
 * Owns: the one table of keys, the check of a value, and a set of values with
 * the places they came from. Options object, environment and file all use it,
 * so a value is right or wrong in the same way wherever it stands.
 * Must never: decide which place comes first (config does).
 */
#ifndef DLOCK_SETTINGS_H
#define DLOCK_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTINGS_WHY_MAX 1024 /* room for any sentence of this module */

enum setting {
	SETTING_SERVERS,
	SETTING_TTL,
	SETTING_PREFIX,
	SETTING_NODE_TIMEOUT,
	SETTING_QUORUM_TIMEOUT,
	SETTING_QUARANTINE,
	SETTING_MAX_TTL,
	SETTING_LOCK_DELAY,
	SETTING_PASSWORD_FILE,
	SETTING_TLS_CA,
	SETTING_TLS_CERT,
	SETTING_TLS_KEY,
	SETTING_COUNT
};

/* Values as text, checked; all zero is the empty set. Strings are owned. */
struct settings {
	struct {
		char *value; /* NULL: not set */
		char *where; /* for people: "/etc/dlock.conf:3" */
	} of[SETTING_COUNT];
};

/* The key of that name: 0, or -EINVAL with a sentence that lists the keys. */
int settings_find(const char *name, size_t length, enum setting *ret_key, char *why, size_t why_size);
const char *settings_name(enum setting key);

/* The value that holds when nobody sets the key; NULL if there is none. */
const char *settings_default(enum setting key);

/* The form of a value: 0, or -EINVAL or -ENOMEM with `key: what is wrong and
 * what is accepted`. Opens no file. */
int settings_check(enum setting key, const char *value, char *why, size_t why_size);

/* For a key that names a file: whether it can be read. 0, or a negative errno
 * with a sentence. Other keys: 0. */
int settings_check_file(enum setting key, const char *value, char *why, size_t why_size);

/* Sets a value that was checked; both texts are copied. 0 or -ENOMEM, and then
 * the set is unchanged. */
int settings_put(struct settings *settings, enum setting key, const char *value, const char *where);

/* Takes one value back, or all; wiped, since `servers` may hold passwords. */
void settings_drop(struct settings *settings, enum setting key);
void settings_clear(struct settings *settings);

/* A value in milliseconds that was checked, or the default; 0 if neither, -1 for "forever". */
int64_t settings_ms(const struct settings *settings, enum setting key);

/* Opens a regular file (or a character device, for /dev/null) to read: a
 * descriptor, or a negative errno; -EINVAL for any other kind of file. */
int settings_open(const char *path);

/* What settings_open()'s failure means. */
const char *settings_open_problem(int r);

#endif
