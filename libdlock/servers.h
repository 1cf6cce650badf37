/*
 * servers.h - the grammar of the setting `servers`.
 *
 * Owns: how a list of masters is written, and the normal form of an address.
 * Must never: resolve a name, open a socket, or show a user's name or password.
 *
 * The list is separated by commas or white space. An item is one of
 *
 *   host   host:port   [v6]   [v6]:port
 *   unix:/path   unix:/path?db=2
 *   redis://[user:password@]host[:port][/db]   rediss://... (over TLS)
 *
 * User and password are percent-decoded; a comma or white space in them must
 * be written %2C or %20. The last '@' of an item ends them.
 */
#ifndef DLOCK_SERVERS_H
#define DLOCK_SERVERS_H

#include <stddef.h>

#include "config.h"

/* 0, or -EINVAL or -ENOMEM with a sentence in `why`; the outputs are untouched
 * on failure. The result is given back with servers_list_free(). */
int servers_parse(const char *value, struct server **ret_servers, unsigned *ret_count, char *why, size_t why_size);

/* The list as this grammar writes it, without users and passwords; freed by the caller. NULL: out of memory. */
char *servers_text(const struct server *servers, unsigned count);

/* A copy of a list. 0, or -ENOMEM with *ret_servers untouched. */
int servers_copy(const struct server *servers, unsigned count, struct server **ret_servers);

/* Wipes the passwords; NULL is fine. */
void servers_list_free(struct server *servers, unsigned count);

/* Frees a string that may be secret, and wipes it first; NULL is fine. */
void servers_free_secret(char *secret);

#endif
