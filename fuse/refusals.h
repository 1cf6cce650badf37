/*
 * refusals.h - the threads whose open was just refused.
 *
 * touch(1) tries to set the times of a file that it could not open, by its path, and
 * succeeds if that does; so whoever was refused a moment ago is refused that, too.
 * One that was forgotten too early would take a lock that another holds for its own:
 * so none is, however many there are, for as long as a minute; and whatever the reason
 * was for which the open has failed.
 */
#ifndef DLOCKFS_REFUSALS_H
#define DLOCKFS_REFUSALS_H

#include "serve.h"

/* Whether an open with these flags is touch's: hardly anything else opens like that, and the kernel does not pass
 * O_CREAT on for a file that is there. */
bool refusals_concern(const struct daemon *daemon, const struct node *parent, int flags);

void refusals_remember(struct daemon *daemon, pid_t thread, const char *name);

/* By its number the kernel does not tell which of its names was meant. */
void refusals_remember_node(struct daemon *daemon, pid_t thread, const struct node *node);

/* Whether the thread was refused the node just now; that is forgotten. */
bool refusals_take(struct daemon *daemon, pid_t thread, const struct node *node);

/* The thread has the name now. */
void refusals_forget(struct daemon *daemon, pid_t thread, const char *name);

void refusals_close(struct daemon *daemon);

#endif
