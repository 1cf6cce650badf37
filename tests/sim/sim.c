/*
 * sim.c - runs many seeds, or one, and reports by TAP.
 *
 * Usage: sim [--mode MODE] [--seeds N] [--first N] [--jobs N] [--once]
 *        sim --mode MODE --seed N
 *   --mode   safety, beyond, liveness, no-quarantine, stepping, lying (sim.h); without it,
 *            each, with the numbers that `make check` takes
 *   --seeds  how many, from --first (1) on; DLOCK_SIM_SEEDS. Without --mode, those are
 *            left out that look for a failure until there is one
 *   --jobs   processes; as many as there are processors
 *   --no-story  of a failure only its seed, without what happened
 *   --once   each seed once: else each runs twice, and both must be alike in every event
 *   --seed   one, with its story; DLOCK_SIM_SEED (the mode: DLOCK_SIM_MODE)
 *
 * On a failure: the seed, the few actions that it needs, and what happened, line by line.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

struct options {
	int mode; /* -1: each */
	uint64_t first, seeds, seed;
	bool once, replay, no_story;
	long jobs;
};

/* What a worker found. */
struct outcome {
	struct sim_totals totals;
	bool failed;
	uint64_t seed;
	char why[96];
};

static const uint64_t usual_seeds[SIM_MODES] = {200000, 40000, 40000, 40000, 20000, 200000, 200000};

/* ---- one process of many ---- */

static bool run_seed(struct world *world, enum sim_mode mode, uint64_t seed, bool once, struct outcome *outcome)
{
	struct sim_totals ignored = {0};
	struct verdict first, second;
	static struct plan plan;

	plan_make(&plan, mode, seed);
	first = sim_run(world, &plan, &outcome->totals, false);
	second = once ? first : sim_run(world, &plan, &ignored, false);
	if (!first.violation && first.fingerprint != second.fingerprint)
		first.violation = "it does not replay: two runs of one seed differ";
	if (!first.violation)
		return true;
	outcome->failed = true;
	outcome->seed = seed;
	snprintf(outcome->why, sizeof(outcome->why), "%s", first.violation);
	return false;
}

static void work(const struct options *options, enum sim_mode mode, long job, int fd)
{
	struct world *world = world_new(3);
	struct outcome outcome = {0};

	/* Other tests look at clocks, and run beside this one. */
	setpriority(PRIO_PROCESS, 0, 10);
	for (uint64_t i = (uint64_t)job; i < options->seeds; i += (uint64_t)options->jobs)
		if (!run_seed(world, mode, options->first + i, options->once, &outcome))
			break;
	if (write(fd, &outcome, sizeof(outcome)) != (ssize_t)sizeof(outcome))
		_exit(1);
	world_free(world);
	_exit(0);
}

static void add_outcome(struct outcome *sum, const struct outcome *one)
{
	sim_add_totals(&sum->totals, &one->totals);
	if (one->failed && (!sum->failed || one->seed < sum->seed)) {
		sum->failed = true;
		sum->seed = one->seed;
		memcpy(sum->why, one->why, sizeof(sum->why));
	}
}

static void run_seeds(const struct options *options, enum sim_mode mode, struct outcome *sum)
{
	int ends[2];

	memset(sum, 0, sizeof(*sum));
	fflush(stdout);
	if (pipe(ends) < 0)
		exit(2);
	for (long job = 0; job < options->jobs; job++) {
		pid_t child = fork();

		if (child == 0) {
			close(ends[0]);
			work(options, mode, job, ends[1]);
		} else if (child < 0) {
			exit(2);
		}
	}
	close(ends[1]);
	for (long job = 0; job < options->jobs; job++) {
		struct outcome one;
		int status;

		if (read(ends[0], &one, sizeof(one)) == (ssize_t)sizeof(one))
			add_outcome(sum, &one);
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			sum->failed = true;
			snprintf(sum->why, sizeof(sum->why), "a process of the simulator died (status %d)", status);
		}
	}
	close(ends[0]);
}

/* ---- the story of one ---- */

static void tell_story(enum sim_mode mode, uint64_t seed, bool shrink)
{
	struct world *world = world_new(3);
	static struct plan plan;
	struct verdict verdict;
	unsigned left = 0;

	plan_make(&plan, mode, seed);
	verdict = sim_run(world, &plan, NULL, false);
	if (verdict.violation && shrink)
		sim_shrink(world, &plan, verdict.violation);
	for (unsigned i = 0; i < plan.count; i++)
		left += !plan.left_out[i];
	verdict = sim_run(world, &plan, NULL, true);
	printf("# seed %" PRIu64 " in mode %s: %u masters, %u clients, %u of %u actions\n", seed, mode_names[mode],
	       plan.masters, plan.clients, left, plan.count);
	printf("# A line: milliseconds, who, what. Clients are letters (a2 is the second descriptor of a), masters are\n"
	       "# numbers, fences are told in microseconds since the beginning. What begins with \"--\" is a fault or\n"
	       "# its end, with \"==\" the verdict.\n");
	for (const char *line = world->trace; line && *line; line = strchr(line, '\n') + 1)
		printf("#   %.*s\n", (int)strcspn(line, "\n"), line);
	printf("# %s\n", verdict.violation ? verdict.violation : "nothing was violated");
	world_free(world);
}

/* ---- TAP ---- */

static unsigned case_number, cases_failed;

static void report(bool good, const char *what)
{
	case_number++;
	cases_failed += !good;
	printf("%sok %u - %s\n", good ? "" : "not ", case_number, what);
	fflush(stdout);
}

static bool must_break(enum sim_mode mode)
{
	return mode_is_beyond(mode) && mode != SIM_BEYOND;
}

static void check_mode(const struct options *options, enum sim_mode mode)
{
	struct options mine = *options;
	struct outcome sum;
	struct timespec before, after;
	char what[256];
	const struct sim_totals *t = &sum.totals;

	if (mine.seeds == 0)
		mine.seeds = usual_seeds[mode];
	clock_gettime(CLOCK_MONOTONIC, &before);
	run_seeds(&mine, mode, &sum);
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("# %s: %lu seeds, %lu steps (%lu a seed), %lu lock calls, %lu grants, %lu leases lost, %lu faults\n",
	       mode_names[mode], t->seeds, t->steps, t->steps / (t->seeds ? t->seeds : 1), t->calls, t->grants, t->losses,
	       t->faults);
	printf("# %ld s with %ld processes, each seed %s\n", (long)(after.tv_sec - before.tv_sec), mine.jobs,
	       mine.once ? "once" : "twice");
	if (mode == SIM_LIVENESS)
		printf("# the longest wait after the last fault: %lld ms\n", (long long)(t->longest_wait_us / 1000));
	snprintf(what, sizeof(what), "%s: %" PRIu64 " seeds", mode_names[mode], mine.seeds);
	if (must_break(mode)) {
		snprintf(what, sizeof(what), "%s: the order of the tokens breaks in seed %" PRIu64, mode_names[mode], sum.seed);
		report(sum.failed && sum.seed && strcmp(sum.why, ORDER_BROKEN) == 0, what);
		return;
	}
	report(!sum.failed, what);
	if (sum.failed && sum.seed) {
		printf("# %s; again with: sim --mode %s --seed %" PRIu64 "\n", sum.why, mode_names[mode], sum.seed);
		if (!mine.no_story)
			tell_story(mode, sum.seed, true);
	} else if (sum.failed) {
		printf("# %s\n", sum.why);
	}
	/* Else nothing was tested. */
	snprintf(what, sizeof(what), "%s: locks were granted, and faults happened", mode_names[mode]);
	report(t->grants > t->seeds && (mode == SIM_FAIR || t->faults > 5 * t->seeds), what);
}

/* ---- options ---- */

static int parse_mode(const char *text)
{
	for (int i = 0; i < SIM_MODES; i++)
		if (strcmp(text, mode_names[i]) == 0)
			return i;
	fprintf(stderr, "sim: no mode %s: safety, beyond, liveness, fair, no-quarantine, stepping, lying\n", text);
	exit(2);
}

static uint64_t parse_number(const char *text)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || end == text || *end) {
		fprintf(stderr, "sim: %s is not a number\n", text);
		exit(2);
	}
	return number;
}

static void parse(struct options *options, int argc, char **argv)
{
	static const struct option names[] = {{"mode", required_argument, NULL, 'm'}, {"seeds", required_argument, NULL, 'n'},
	                                      {"first", required_argument, NULL, 'f'}, {"jobs", required_argument, NULL, 'j'},
	                                      {"once", no_argument, NULL, 'o'},        {"seed", required_argument, NULL, 's'},
	                                      {"no-story", no_argument, NULL, 't'},
	                                      {NULL, 0, NULL, 0}};
	const char *mode = getenv("DLOCK_SIM_MODE"), *seed = getenv("DLOCK_SIM_SEED"), *seeds = getenv("DLOCK_SIM_SEEDS");
	int option;

	*options = (struct options){.mode = mode ? parse_mode(mode) : -1, .first = 1, .jobs = sysconf(_SC_NPROCESSORS_ONLN)};
	options->replay = seed != NULL;
	options->seed = seed ? parse_number(seed) : 0;
	options->seeds = seeds ? parse_number(seeds) : 0;
	while ((option = getopt_long(argc, argv, "", names, NULL)) >= 0) {
		switch (option) {
		case 'm': options->mode = parse_mode(optarg); break;
		case 'n': options->seeds = parse_number(optarg); break;
		case 'f': options->first = parse_number(optarg); break;
		case 'j': options->jobs = (long)parse_number(optarg); break;
		case 'o': options->once = true; break;
		case 't': options->no_story = true; break;
		case 's':
			options->replay = true;
			options->seed = parse_number(optarg);
			break;
		default: exit(2);
		}
	}
	if (options->jobs < 1)
		options->jobs = 1;
}

int main(int argc, char **argv)
{
	struct options options;

	parse(&options, argc, argv);
	if (options.replay) {
		tell_story(options.mode < 0 ? SIM_SAFETY : (enum sim_mode)options.mode, options.seed, true);
		return 0;
	}
	for (int mode = 0; mode < SIM_MODES; mode++)
		if (options.mode == mode || (options.mode < 0 && !(options.seeds && must_break((enum sim_mode)mode))))
			check_mode(&options, (enum sim_mode)mode);
	printf("1..%u\n", case_number);
	return cases_failed > 0;
}
