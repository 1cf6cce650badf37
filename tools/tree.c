/*
 * tree.c - finds and stops the processes of a command; see tree.h.
 */
#include "tree.h"
#include "say.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_US 10000000   /* of SIGKILL without success */
#define LOOK_AGAIN_US 20000   /* while members may still end by themselves */
#define KILL_AGAIN_US 5000    /* forks that raced with a SIGKILL are few */
#define ENVIRON_MAX (1 << 20) /* more environment than this is not searched */

struct process {
	pid_t pid, parent;
	uint64_t start;
	bool alive;  /* no zombie */
	bool member;
};

struct snapshot {
	struct process *processes; /* sorted by pid */
	size_t count, room;
};

static ssize_t read_file(pid_t pid, const char *file, char *buffer, size_t size)
{
	char path[64];
	ssize_t used = 0, got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while ((size_t)used < size - 1 && (got = read(fd, buffer + used, size - 1 - (size_t)used)) > 0)
		used += got;
	close(fd);
	buffer[used] = '\0';
	return used;
}

static bool read_process(pid_t pid, struct process *ret_process)
{
	char line[2048], *at, state;
	unsigned long long start;
	int parent;

	if (read_file(pid, "stat", line, sizeof(line)) <= 0)
		return false;
	at = strrchr(line, ')'); /* the program's name may hold anything, ')' too */
	if (!at || sscanf(at + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state, &parent, &start) != 3)
		return false;
	*ret_process = (struct process){ .pid = pid, .parent = parent, .start = start, .alive = state != 'Z' && state != 'X' };
	return true;
}

uint64_t tree_start_of(pid_t pid)
{
	struct process process;

	return read_process(pid, &process) ? process.start : 0;
}

static int by_pid(const void *a, const void *b)
{
	const struct process *left = a, *right = b;

	return (left->pid > right->pid) - (left->pid < right->pid);
}

static struct process *find(const struct snapshot *all, pid_t pid)
{
	struct process key = { .pid = pid };

	if (all->count == 0)
		return NULL;
	return bsearch(&key, all->processes, all->count, sizeof(key), by_pid);
}

static bool add(struct snapshot *all, const struct process *process)
{
	if (all->count == all->room) {
		size_t room = all->room ? all->room * 2 : 256;
		struct process *more = reallocarray(all->processes, room, sizeof(*more));

		if (!more)
			return false;
		all->processes = more;
		all->room = room;
	}
	all->processes[all->count++] = *process;
	return true;
}

static bool take_snapshot(struct snapshot *ret_all)
{
	DIR *directory = opendir("/proc");
	struct process process;
	struct dirent *entry;

	memset(ret_all, 0, sizeof(*ret_all));
	if (!directory)
		return false;
	while ((entry = readdir(directory)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && read_process(atoi(entry->d_name), &process))
			if (!add(ret_all, &process))
				break;
	closedir(directory);
	if (ret_all->count == 0)
		return false;
	qsort(ret_all->processes, ret_all->count, sizeof(process), by_pid);
	return true;
}

/* One variable of an environment as /proc gives it: NUL after each. */
static bool has_variable(const char *environment, ssize_t size, const char *variable)
{
	const char *end = environment + size;

	for (; environment < end; environment += strlen(environment) + 1)
		if (strcmp(environment, variable) == 0)
			return true;
	return false;
}

static bool carries_marks(const struct tree *tree, pid_t pid)
{
	static char environment[ENVIRON_MAX]; /* one thread looks at a time */
	char variable[2048];
	ssize_t size = read_file(pid, "environ", environment, sizeof(environment));

	if (size <= 0)
		return false;
	snprintf(variable, sizeof(variable), "DLOCK_TOKEN=%llu", (unsigned long long)tree->token);
	if (!has_variable(environment, size, variable))
		return false;
	snprintf(variable, sizeof(variable), "DLOCK_PID=%d", (int)tree->reaper);
	if (!has_variable(environment, size, variable))
		return false;
	snprintf(variable, sizeof(variable), "DLOCK_NAME=%s", tree->name);
	return has_variable(environment, size, variable);
}

/* A member by itself, not by its parent. Children of dlock's that are older
 * than the command were there before: a shell may exec dlock. */
static bool is_root(const struct tree *tree, const struct process *process, bool reaper_lives)
{
	if (process->pid == tree->command)
		return process->start == tree->command_start;
	if (process->pid == tree->watchdog || process->pid == tree->reaper || process->pid == getpid())
		return false;
	if (reaper_lives)
		return process->parent == tree->reaper && process->start >= tree->command_start;
	return process->start >= tree->command_start && carries_marks(tree, process->pid);
}

static void mark_members(const struct tree *tree, struct snapshot *all)
{
	const struct process *reaper = find(all, tree->reaper);
	bool reaper_lives = reaper && reaper->alive && reaper->start == tree->reaper_start;
	bool changed = true;
	size_t i;

	for (i = 0; i < all->count; i++)
		all->processes[i].member = is_root(tree, &all->processes[i], reaper_lives);
	while (changed) {
		changed = false;
		for (i = 0; i < all->count; i++) {
			struct process *process = &all->processes[i];
			const struct process *parent = process->member ? NULL : find(all, process->parent);

			if (parent && parent->member)
				changed = process->member = true;
		}
	}
}

static void send_signal(pid_t pid, int signal_number)
{
	kill(pid, signal_number);
	if (signal_number == SIGTERM)
		kill(pid, SIGCONT); /* a stopped process acts on SIGTERM only when it continues */
}

int tree_signal(const struct tree *tree, int signal_number, pid_t *ret_example)
{
	struct snapshot all;
	int living = 0;
	size_t i;

	*ret_example = tree->command;
	if (!take_snapshot(&all)) { /* without /proc only the command itself is known */
		send_signal(tree->command, signal_number);
		free(all.processes);
		return kill(tree->command, 0) == 0;
	}
	mark_members(tree, &all);
	for (i = 0; i < all.count; i++) {
		const struct process *process = &all.processes[i];

		if (!process->member || !process->alive)
			continue;
		*ret_example = process->pid;
		living++;
		if (signal_number)
			send_signal(process->pid, signal_number);
	}
	free(all.processes);
	return living;
}

static void pause_us(int64_t duration_us)
{
	struct timespec time = { duration_us / 1000000, duration_us % 1000000 * 1000 };

	if (duration_us > 0)
		nanosleep(&time, NULL);
}

int tree_stop(const struct tree *tree, const char *shown_name, int64_t kill_at_us)
{
	pid_t example;
	int living = tree_signal(tree, SIGTERM, &example);
	int64_t left_us, give_up_us;

	while (living > 0 && (left_us = kill_at_us - clock_us()) > 0) {
		pause_us(left_us < LOOK_AGAIN_US ? left_us : LOOK_AGAIN_US);
		living = tree_signal(tree, 0, &example);
	}
	give_up_us = clock_us() + GIVE_UP_US;
	while (living > 0 && clock_us() < give_up_us) {
		tree_signal(tree, SIGKILL, &example);
		pause_us(KILL_AGAIN_US);
		living = tree_signal(tree, 0, &example);
	}
	if (living > 0)
		say("%s: %d of the command's processes could not be stopped, %d is one of them", shown_name, living, (int)example);
	return living;
}
