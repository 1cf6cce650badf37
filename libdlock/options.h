/*
 * options.h - what is inside the public, opaque struct dlock_options.
 *
 * Owns: dlock_options_new(), dlock_options_free(), dlock_options_set(), and what
 * dlock_options_resolve() has found until the object is set again.
 */
#ifndef DLOCK_OPTIONS_H
#define DLOCK_OPTIONS_H

struct config;
struct dlock_options;
struct settings;

/* The values that were set, each checked. */
const struct settings *options_settings(const struct dlock_options *options);

/* What holds since the object was resolved; NULL: it is not resolved. */
const struct config *options_resolved(const struct dlock_options *options);

#endif
