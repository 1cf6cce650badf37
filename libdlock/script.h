/*
 * script.h - the one Lua script and its pinned SHA-1.
 *
 * Generated text: scripts/dlock.lua. script_sha() is computed from it when the project is built.
 */
#ifndef DLOCK_SCRIPT_H
#define DLOCK_SCRIPT_H

#include <stddef.h>

const char *script_text(size_t *ret_length);
const char *script_sha(void); /* 40 hex digits */

#endif
