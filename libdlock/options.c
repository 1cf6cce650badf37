/*
 * options.c - settings that a program gives by key and value; see options.h.
 *
 * A wrong value is refused when it is set, where the mistake is, and not at the
 * dlock_open() that would use it. Relations between settings are checked there,
 * because they also depend on the environment and on the file.
 *
 * Resolving keeps what config finds beside what was set, so that setting takes
 * it back and nothing else.
 */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "debug.h"
#include "dlock.h"
#include "error.h"
#include "settings.h"

#define WHERE "the program's options"

struct dlock_options {
	struct settings settings; /* as set */
	bool resolved;
	struct settings in_force; /* if resolved: every value, without secrets */
	struct config config;     /* if resolved */
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

static void forget_resolved(struct dlock_options *options)
{
	settings_clear(&options->in_force);
	config_clear(&options->config);
	options->resolved = false;
}

void dlock_options_free(struct dlock_options *options)
{
	if (!options)
		return;
	forget_resolved(options);
	settings_clear(&options->settings);
	free(options);
}

static int set(struct dlock_options *options, const char *name, const char *value, char *why, size_t why_size)
{
	enum setting key;
	int r = settings_find(name, strlen(name), &key, why, why_size);

	if (r < 0)
		return r;
	if (value) {
		r = settings_check(key, value, why, why_size);
		if (r == 0)
			r = settings_check_file(key, value, why, why_size);
		if (r == 0)
			r = settings_put(&options->settings, key, value, WHERE);
	} else {
		settings_drop(&options->settings, key);
	}
	if (r == 0)
		forget_resolved(options);
	return r;
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

int dlock_options_resolve(struct dlock_options *options)
{
	char why[ERROR_DETAIL_MAX] = "";
	struct settings in_force;
	struct config config;
	int r;

	error_detail_clear();
	if (!options) {
		error_detail_set("dlock_options_resolve: the options object is NULL");
		return error_fail(EINVAL);
	}
	r = config_look_up(options, &config, &in_force, why, sizeof(why));
	if (r < 0) {
		error_detail_set("%s", why);
		return error_fail(-r);
	}
	forget_resolved(options);
	options->config = config;
	options->in_force = in_force;
	options->resolved = true;
	return 0;
}

const char *dlock_options_get(const struct dlock_options *options, const char *key)
{
	char why[SETTINGS_WHY_MAX] = "";
	const char *value = NULL;
	enum setting found;

	error_detail_clear();
	if (!options || !key) {
		error_detail_set("dlock_options_get: the %s is NULL", options ? "key" : "options object");
		error_fail(EINVAL);
	} else if (settings_find(key, strlen(key), &found, why, sizeof(why)) < 0) {
		error_detail_set("%s", why);
		error_fail(EINVAL);
	} else {
		value = (options->resolved ? &options->in_force : &options->settings)->of[found].value;
		if (!value) {
			error_detail_set("%s is not set", key);
			error_fail(ENOENT);
		}
	}
	return value;
}

const struct settings *options_settings(const struct dlock_options *options)
{
	return &options->settings;
}

const struct config *options_resolved(const struct dlock_options *options)
{
	return options->resolved ? &options->config : NULL;
}
