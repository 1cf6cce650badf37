/* absences.c - see absences.h. */
#include "absences.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define LIFE_US 2000000
#define GENERATIONS 8 /* a process that a program starts is seldom further away from it */

struct absence {
	struct absence *newer, *older; /* all, by the time at which they were told */
	struct absence *next, **link;  /* in the same chain */
	pid_t thread, process; /* 0: not asked for yet */
	uint64_t inode;       /* what was told last; 0: nothing is there */
	unsigned sightings;   /* of that, by any thread of the process */
	bool changed;         /* something else was told before */
	int64_t until_us;
	uint64_t name; /* its hash: another name with the same one is no more than a chance */
};

static struct absence **chain(struct daemon *daemon, uint64_t name)
{
	return &daemon->absences.chains[name % ABSENCE_CHAINS];
}

static void forget(struct daemon *daemon, struct absence *absence)
{
	struct absences *all = &daemon->absences;

	*absence->link = absence->next;
	if (absence->next)
		absence->next->link = absence->link;
	*(absence->older ? &absence->older->newer : &all->oldest) = absence->newer;
	*(absence->newer ? &absence->newer->older : &all->newest) = absence->older;
	free(absence);
}

static void forget_old(struct daemon *daemon)
{
	int64_t now_us = loop_now_us();

	while (daemon->absences.oldest && daemon->absences.oldest->until_us <= now_us)
		forget(daemon, daemon->absences.oldest);
}

static struct absence *find(struct daemon *daemon, pid_t thread, uint64_t name)
{
	struct absence *absence;

	forget_old(daemon);
	absence = *chain(daemon, name);
	while (absence && (absence->name != name || absence->thread != thread))
		absence = absence->next;
	return absence;
}

/* The same again is as old as the first; another thing is new. */
static struct absence *remember(struct daemon *daemon, pid_t thread, uint64_t name)
{
	struct absence *absence = malloc(sizeof(*absence)), **first = chain(daemon, name);
	struct absences *all = &daemon->absences;

	if (!absence)
		return NULL;
	*absence = (struct absence){.thread = thread, .until_us = loop_now_us() + LIFE_US, .name = name};
	absence->next = *first;
	absence->link = first;
	if (absence->next)
		absence->next->link = &absence->next;
	*first = absence;
	absence->older = all->newest;
	*(all->newest ? &all->newest->newer : &all->oldest) = absence;
	all->newest = absence;
	return absence;
}

/* One number of /proc/THREAD/status; 0: unknown. */
static pid_t status_of(pid_t thread, const char *word)
{
	char path[32], line[256];
	FILE *file;
	int number = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, word, strlen(word)) == 0) {
			number = atoi(line + strlen(word));
			break;
		}
	fclose(file);
	return number;
}

/* Asked for as late as possible, since hardly ever it is needed. */
static pid_t process_of(struct absence *absence)
{
	if (absence->process == 0)
		absence->process = status_of(absence->thread, "Tgid:");
	return absence->process;
}

/* What one thread of a process sees the others know of. */
static void sighted(struct daemon *daemon, const struct absence *by)
{
	pid_t process = 0;

	for (struct absence *absence = *chain(daemon, by->name); absence; absence = absence->next) {
		if (absence->name != by->name || absence->inode != by->inode || absence == by)
			continue;
		if (process == 0)
			process = status_of(by->thread, "Tgid:");
		if (process_of(absence) == process)
			absence->sightings++;
	}
}

void absences_told(struct daemon *daemon, pid_t thread, const char *name, uint64_t inode)
{
	uint64_t key = hash_of(name);
	struct absence *absence = find(daemon, thread, key);
	bool changed = absence && absence->inode != inode;

	if (changed) {
		forget(daemon, absence);
		absence = NULL;
	}
	if (!absence)
		absence = remember(daemon, thread, key);
	if (!absence)
		return;
	absence->changed |= changed;
	absence->inode = inode;
	absence->sightings++;
	if (inode)
		sighted(daemon, absence);
}

/* A process, and those that it comes from. */
struct line {
	pid_t processes[GENERATIONS];
	unsigned count;
	bool known;
};

static void learn_line(struct line *line, pid_t thread)
{
	pid_t process = status_of(thread, "Tgid:");

	for (line->count = 0; line->count < GENERATIONS && process > 1; process = status_of(process, "PPid:"))
		line->processes[line->count++] = process;
	line->known = true;
}

static bool comes_from(struct line *line, pid_t thread, pid_t ancestor)
{
	if (ancestor == 0) /* it has ended, and nobody comes from it any more */
		return false;
	if (!line->known)
		learn_line(line, thread);
	for (unsigned i = 0; i < line->count; i++)
		if (line->processes[i] == ancestor)
			return true;
	return false;
}

void absences_made(struct daemon *daemon, pid_t thread, const char *name)
{
	uint64_t key = hash_of(name);
	struct absence *absence, *next;
	struct line line = {.known = false}; /* asked for once, however many were told */

	forget_old(daemon);
	for (absence = *chain(daemon, key); absence; absence = next) {
		next = absence->next;
		/* Nearly always it is himself, who was told just before that the name is free. */
		if (absence->name == key && (absence->thread == thread || comes_from(&line, thread, process_of(absence))))
			forget(daemon, absence);
	}
}

bool absences_hide(struct daemon *daemon, pid_t thread, const char *name, unsigned lookups)
{
	const struct absence *absence = find(daemon, thread, hash_of(name));

	return absence && absence->changed && absence->sightings <= lookups;
}

void absences_close(struct daemon *daemon)
{
	while (daemon->absences.oldest)
		forget(daemon, daemon->absences.oldest);
}
