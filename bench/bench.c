/*
 * bench.c - the figures of docs/performance.md, each beside its floor.
 *
 * Usage: bench [--json FILE] [--seconds SECONDS] [FIGURE...|all]
 * Ends with 0 if all could be measured, whether or not the bars were met.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

static const struct {
	const char *name;
	int (*measure)(struct bench *bench);
	bool on_demand; /* takes minutes */
} figures[] = {
	{"uncontended", figure_uncontended, false},
	{"inflight", figure_inflight, false},
	{"handover", figure_handover, false},
	{"contenders", figure_contenders, false},
	{"faults", figure_faults, false},
	{"mount", figure_mount, false},
	{"command", figure_command, false},
	{"scale", figure_scale, true},
	{"growth", figure_growth, true},
	{"peers", figure_peers, true},
};

#define ALL_WAIT_MS 20000

#define FIGURES (sizeof(figures) / sizeof(figures[0]))

/* ---- samples and time ---- */

void samples_add(struct samples *samples, int64_t ns)
{
	if (samples->count < SAMPLES_MAX)
		samples->ns[samples->count++] = ns;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

double samples_us(struct samples *samples, double part)
{
	int rank = (int)ceil(part * samples->count) - 1;

	if (samples->count == 0)
		return 0;
	qsort(samples->ns, (size_t)samples->count, sizeof(samples->ns[0]), compare);
	return (double)samples->ns[rank < 0 ? 0 : rank] / 1000;
}

int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void sleep_us(int us)
{
	nanosleep(&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L}, NULL);
}

double cpu_us(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* ---- servers ---- */

int64_t scripts_run_at(struct servers *servers, int i)
{
	static const char before[] = "cmdstat_evalsha:calls=";
	char *stats = servers_command(servers, i, "INFO commandstats");
	const char *found = stats ? strstr(stats, before) : NULL;
	int64_t calls = found ? strtoll(found + sizeof(before) - 1, NULL, 10) : 0;

	free(stats);
	return calls;
}

int64_t scripts_run(struct servers *servers)
{
	int64_t sum = 0;

	for (int i = 0; i < servers_count(servers); i++)
		sum += scripts_run_at(servers, i);
	return sum;
}

struct dlock_options *new_masters(struct servers *servers)
{
	struct dlock_options *options = dlock_options_new();

	if (options && dlock_options_set(options, "servers", servers_list(servers)) == 0 &&
	    dlock_init_with(0, options) == servers_count(servers))
		return options;
	fprintf(stderr, "bench: %s\n", dlock_error_detail());
	dlock_options_free(options);
	return NULL;
}

double mean_of(struct servers *servers, const char *command, const char *before)
{
	double sum = 0;

	for (int i = 0; i < servers_count(servers); i++) {
		char *reply = servers_command(servers, i, command, NULL);
		const char *found = reply ? strstr(reply, before) : NULL;

		if (found)
			sum += strtod(found + strlen(before), NULL);
		free(reply);
		if (!found)
			return -1;
	}
	return sum / servers_count(servers);
}

bool all_wait(struct servers *servers, const char *names, int count)
{
	static const char script[] = "local n = 0 for _, k in ipairs(redis.call('KEYS', ARGV[1])) do "
	                             "n = n + redis.call('ZCARD', k) end return n";
	int64_t end_ms = stress_now_ms() + ALL_WAIT_MS;
	int there = 0;
	long last = -1;

	while (there < servers_count(servers) && stress_now_ms() < end_ms) {
		char *reply = servers_command(servers, there, "EVAL %s 0 dlock!queue:dlock:%s", script, names);

		last = reply ? strtol(reply, NULL, 10) : -1;
		free(reply);
		if (last == count)
			there++;
		else
			sleep_us(20000);
	}
	if (there < servers_count(servers))
		fprintf(stderr, "bench: %ld wait at master %d, instead of %d\n", last, there + 1, count);
	return there == servers_count(servers);
}

/* ---- the run ---- */

static int measure(struct bench *bench, char **names)
{
	int error = 0;

	results_head();
	for (size_t i = 0; i < FIGURES; i++) {
		bool wanted = !*names && !figures[i].on_demand;

		for (char **name = names; *name; name++)
			wanted = wanted || strcmp(*name, figures[i].name) == 0 || strcmp(*name, "all") == 0;
		if (wanted && figures[i].measure(bench) < 0) {
			fprintf(stderr, "bench: %s could not be measured\n", figures[i].name);
			error = -1;
		}
	}
	return error;
}

static bool known(const char *name)
{
	for (size_t i = 0; i < FIGURES; i++)
		if (strcmp(name, figures[i].name) == 0)
			return true;
	if (strcmp(name, "all") == 0)
		return true;
	fprintf(stderr, "bench: there is no figure %s\n", name);
	return false;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"json", required_argument, NULL, 'j'}, {"seconds", required_argument, NULL, 's'}, {0}};
	const struct servers_options five = {.count = 5, .tcp = true};
	struct bench bench = {.seconds = 5};
	const char *json = NULL;
	int error = -1, option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 'j')
			json = optarg;
		else if (option == 's')
			bench.seconds = atof(optarg);
		else
			return 2;
	}
	for (int i = optind; i < argc; i++)
		if (!known(argv[i]))
			return 2;
	if (!(bench.seconds > 0 && bench.seconds <= 600)) {
		fprintf(stderr, "bench: --seconds is above 0 and at most 600\n");
		return 2;
	}
	bench.servers = servers_start(&five);
	bench.options = bench.servers ? new_masters(bench.servers) : NULL;
	if (bench.options)
		error = measure(&bench, argv + optind);
	if (json && results_write_json(json) < 0)
		error = -1;
	dlock_options_free(bench.options);
	servers_free(bench.servers);
	return error ? 1 : 0;
}
