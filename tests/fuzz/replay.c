/*
 * replay.c - runs a fuzz target over the files that are given, or all in a folder.
 *
 * The main program of a target in builds without libFuzzer: so every compiler, sanitizer
 * and valgrind see the corpus, and an input that was found can be looked at in a debugger.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned runs;

static void replay_file(const char *path)
{
	FILE *file = fopen(path, "re");
	uint8_t *bytes;
	size_t size;
	long end;

	if (!file || fseek(file, 0, SEEK_END) < 0 || (end = ftell(file)) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	rewind(file);
	/* Of exactly its size, so that a byte too far is seen. */
	bytes = malloc((size_t)end + (end == 0));
	size = bytes ? fread(bytes, 1, (size_t)end, file) : 0;
	fclose(file);
	if (size != (size_t)end) {
		fprintf(stderr, "%s: it cannot be read\n", path);
		exit(2);
	}
	LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
	runs++;
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void replay_folder(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, no_dots, alphasort);
	char *name;

	if (count < 0) {
		replay_file(path);
		return;
	}
	for (int i = 0; i < count; i++) {
		if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
			exit(2);
		replay_file(name);
		free(name);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay_folder(argv[i]);
	printf("%u inputs\n", runs);
	return runs > 0 ? 0 : 2;
}
