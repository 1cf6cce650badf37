/*
 * script.c - the one Lua script and its pinned SHA-1.
 *
 * Owns: the text of scripts/dlock.lua as it goes to the masters.
 * Must never: change it at run time, or compute its SHA-1: a master answers to
 * the SHA-1 of what it was sent, so both are made together when the project is
 * built (scripts/lua-to-c writes script_data.h).
 */
#include "script.h"

#include "script_data.h"

const char *script_text(size_t *ret_length)
{
	*ret_length = sizeof(script_data) - 1;
	return script_data;
}

const char *script_sha(void)
{
	return SCRIPT_SHA;
}
