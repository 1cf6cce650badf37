/*
 * mountpoint.h - the directory underneath.
 *
 * What is created there while nothing is mounted looks like a lock to every program
 * and is none. So it must be empty; and where it may be, it is made immutable, and
 * stays so, before the mount covers it.
 */
#ifndef DLOCKFS_MOUNTPOINT_H
#define DLOCKFS_MOUNTPOINT_H

#include <stdbool.h>

/* Takes away what a daemon that has died left there, checks the directory, protects it. 0 or -errno, told to the log. */
int mountpoint_prepare(const char *path, bool protect);

/* Whether the kernel would end the mount under somebody who waits for a lock: -EINVAL, told to the log; else 0. */
int mountpoint_check_kernel(void);

#endif
