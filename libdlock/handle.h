/*
 * handle.h - descriptors and the calls on them, for the public functions.
 *
 * Owns: the table from a descriptor's socket cookie to its lock, the one from the
 * tokens of a lock to its descriptor, and the queue of calls on it. A look-up goes by the cookie, never by the number alone, so
 * that a copy is the same descriptor and a number that was used again is not.
 */
#ifndef DLOCK_HANDLE_H
#define DLOCK_HANDLE_H

#include "keeper.h"

/* All of these need the keeper's mutex unless they say otherwise. */

/* A new descriptor on `cluster`, of which it takes over the caller's use. The number, or -errno. */
int handle_open(struct cluster *cluster, const struct config *config, const char *name, size_t name_length,
                bool cloexec, bool nonblock);

/* Take the mutex and find the descriptor. 0, or -EBADF or -ECHILD, then the mutex is not held. */
int handle_enter(int fd, struct handle **ret);

/* The settings for `name` (NULL: for no lock), checked, with the reason in dlock_error_detail() when they are wrong.
 * Needs no mutex. 0 or -errno. */
struct dlock_options;
int handle_config(const char *name, const struct dlock_options *options, struct config *ret, size_t *ret_length);

/* Whether `name` is one under these settings, with the reason if not. Needs no mutex. 0 or -errno. */
int handle_check_name(const char *name, const struct config *config);

/* Begin a call; it may finish at once. */
void handle_call(struct handle *handle, struct user_call *call);
/* End the call with `error` if that is still possible. */
void handle_cancel(struct handle *handle, struct user_call *call, int error);
/* End every call with EBADF and refuse new ones. */
void handle_begin_close(struct handle *handle);
void handle_free(struct handle *handle);
/* Take the readable state away; `fd` is the user's end. */
void handle_drain(int fd);

#endif
