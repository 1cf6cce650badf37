/*
 * background.h - into the background, with the outcome told to who waits for it.
 *
 * The process is doubled before anything else has begun (threads, sockets and
 * mounts do not survive that), and the first one stays until the second says how
 * it went: so mount(8) and scripts fail loudly, and when they go on the mount is
 * there.
 */
#ifndef DLOCKFS_BACKGROUND_H
#define DLOCKFS_BACKGROUND_H

/* Returns in the second process only; the first one ends with what that tells. -1 in the foreground of a failure, and
 * errno. The result is to be passed to background_ready(). */
int background_begin(void);

/* It works: leaves the terminal, and lets the first process end with status 0. (Ending without that is a failure.) */
void background_ready(int ticket);

#endif
