/*
 * hash.h - a number for a text: FNV-1a. For tables, and where another text with the same number does no harm.
 */
#ifndef DLOCKFS_HASH_H
#define DLOCKFS_HASH_H

#include <stdint.h>

static inline uint64_t hash_of(const char *text)
{
	uint64_t hash = 14695981039346656037u;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 1099511628211u;
	return hash;
}

#endif
