/*
 * identity.c - host/pid/program of this process; see identity.h.
 */
#include "identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOST_NAME_SIZE 256 /* more than the kernel's own limit of 64 */

static void make_plain(char *out, const char *text, size_t most)
{
	size_t length = text ? strnlen(text, most) : 0;

	if (length == 0) {
		strcpy(out, "unknown");
		return;
	}
	for (size_t i = 0; i < length; i++)
		out[i] = token_is_plain(text[i]) ? text[i] : '_';
	out[length] = '\0';
}

void token_identity(char out[IDENTITY_MAX])
{
	char host[HOST_NAME_SIZE] = "";
	char plain_host[TOKEN_HOST_MAX + 1], program[TOKEN_PROGRAM_MAX + 1];

	if (gethostname(host, sizeof(host) - 1) < 0) /* may be cut without a NUL: the last byte stays one */
		host[0] = '\0';
	make_plain(plain_host, host, TOKEN_HOST_MAX);
	make_plain(program, program_invocation_short_name, TOKEN_PROGRAM_MAX);
	snprintf(out, IDENTITY_MAX, "%s/%d/%s", plain_host, (int)getpid(), program);
}
