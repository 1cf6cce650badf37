/*
 * identity.h - who this process is, as its tokens tell it to people.
 *
 * Owns: host/pid/program. Kept apart from token.c because it asks the system,
 * which the core must never do.
 */
#ifndef DLOCK_IDENTITY_H
#define DLOCK_IDENTITY_H

#include "token.h"

#define IDENTITY_MAX (TOKEN_HOST_MAX + 1 + 10 + 1 + TOKEN_PROGRAM_MAX + 1) /* with the NUL */

/* Always succeeds and always fits: host and program are cut, a byte that a
 * token may not hold becomes '_', and an empty name becomes "unknown". Not
 * remembered, so that a child of fork that asks again gets its own pid. */
void token_identity(char out[IDENTITY_MAX]);

#endif
