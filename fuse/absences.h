/*
 * absences.h - who was just told that a name is not there, or that it is another's.
 *
 * Some programs look whether a lock is old, and when it is, or is not there at all, go
 * on to remove it (vim and liblockfile do). Between the two another may have taken it:
 * on a local disk hardly ever, but here an answer takes a hundred times as long. So who
 * removes a name without having seen what is there now, since he was told something
 * else, is told that it is absent, and the lock stays: he cannot have meant this one.
 *
 * Owns: what each thread was told within the last two seconds.
 *
 *   1. Only look-ups by path count, each of which the kernel asks for once. Removing
 *      is one of them; whoever has seen the name before that knows of it.
 *   2. Who has made the name himself, or had it made by a process of his, knows of it.
 */
#ifndef DLOCKFS_ABSENCES_H
#define DLOCKFS_ABSENCES_H

#include "serve.h"

/* A look-up of `name` in the root was answered with that inode number, which is the holder's on every host and as long
 * as he holds it (the number of a node is not: the kernel may forget it); 0: it is not there. */
void absences_told(struct daemon *daemon, pid_t thread, const char *name, uint64_t inode);

/* `thread` has made the name. */
void absences_made(struct daemon *daemon, pid_t thread, const char *name);

/* Whether the thread can't mean what is there under that name now; `lookups` is how often the kernel looks it up in order
 * to remove it. */
bool absences_hide(struct daemon *daemon, pid_t thread, const char *name, unsigned lookups);

void absences_close(struct daemon *daemon);

#endif
