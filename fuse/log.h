/*
 * log.h - what the daemon tells its operator: one line each, to standard error
 * while it is in the foreground, else to syslog (facility daemon).
 */
#ifndef DLOCKFS_LOG_H
#define DLOCKFS_LOG_H

#include <stdbool.h>

/* To standard error until this is called. `debug`: log_debug() is told as well. */
void log_open(bool to_syslog, bool debug);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
