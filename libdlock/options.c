/*
 * options.c - settings that a program gives by key and value; see options.h.
 *
 * A wrong value is refused when it is set, where the mistake is, and not at the
 * dlock_open() that would use it. Relations between settings are checked there,
 * because they also depend on the environment and on the file.
 */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "debug.h"
#include "dlock.h"
#include "error.h"
#include "settings.h"

#define WHERE "the program's options"

struct dlock_options {
	struct settings settings;
};

struct dlock_options *dlock_options_new(void)
{
	struct dlock_options *options = calloc(1, sizeof(*options));

	if (!options) {
		error_detail_set("out of memory");
		errno = ENOMEM;
	}
	return options;
}

void dlock_options_free(struct dlock_options *options)
{
	if (!options)
		return;
	settings_clear(&options->settings);
	free(options);
}

static int set(struct dlock_options *options, const char *name, const char *value, char *why, size_t why_size)
{
	enum setting key;
	int r = settings_find(name, strlen(name), &key, why, why_size);

	if (r < 0)
		return r;
	if (!value) {
		settings_drop(&options->settings, key);
		return 0;
	}
	r = settings_check(key, value, why, why_size);
	if (r == 0)
		r = settings_check_file(key, value, why, why_size);
	return r < 0 ? r : settings_put(&options->settings, key, value, WHERE);
}

int dlock_options_set(struct dlock_options *options, const char *key, const char *value)
{
	char why[SETTINGS_WHY_MAX] = "";
	int r;

	if (!options || !key) {
		error_detail_set("dlock_options_set: the %s is NULL", options ? "key" : "options object");
		errno = EINVAL;
		return -1;
	}
	r = set(options, key, value, why, sizeof(why));
	if (r == 0)
		return 0;
	debug_log(DEBUG_CONFIG, "dlock_options_set: %s", r == -ENOMEM ? "out of memory" : why);
	error_detail_set("%s", r == -ENOMEM ? "out of memory" : why);
	errno = r == -ENOMEM ? ENOMEM : EINVAL;
	return -1;
}

const struct settings *options_settings(const struct dlock_options *options)
{
	return &options->settings;
}
