/*
 * peers.c - other lock libraries, each beside libdlock on the same masters in the same run.
 *
 * Each one is a process of its own for the length of the figure, whose program is in
 * bench/peers/; ours is one, too, and they take turns. What a peer cannot is a line with
 * what happened, and so is one that is not installed. One of them knows only one master:
 * there ours is configured with one master as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

#define REPETITIONS 7
#define WARM_PAIRS 300
#define PAIRS 200
#define FLIGHT_REPETITIONS 5
#define FLIGHT_AT_ONCE 1000
#define FLIGHT_PAIRS 4000
#define HANDOVER_REPETITIONS 5
#define HANDOVERS 5      /* of theirs, which take long */
#define OUR_HANDOVERS 40
#define HANDOVER_MS 20000
#define STOPPED_PAIRS 20
#define STOPPED_MS 5000
#define READY_MS 20000
#define ANSWER_MS 60000

/* Masters, and ours on them. */
struct side {
	struct bench bench;
	struct servers *owned; /* NULL: they belong to the run */
	struct driver *ours;
	struct pair *pair;
};

struct peer {
	const char *name, *program, *script;
	double flight_bar; /* times as many of ours in flight; 0: none */
	struct side *side;
	struct driver *driver;
	struct driver *other; /* a second one, for the hand-over */
};

/* Of one peer in one figure. */
struct comparison {
	struct repeats ours, theirs;
	struct repeats ours_cpu, theirs_cpu;
	char cannot[128]; /* what the peer said; "": it can */
};

#define PEERS 4

struct run {
	struct side five, one;
	struct peer peers[PEERS];
	struct comparison compared[PEERS];
};

/* ---- the processes ---- */

static int drive_ours(void *arg)
{
	const struct bench *bench = arg;
	struct samples *samples = calloc(1, sizeof(*samples));
	int fd = samples ? crew_open(bench, "bench-peers") : -1, pairs;

	if (fd < 0)
		return 1;
	printf("ok\n");
	fflush(stdout);
	while (scanf(" pairs %d", &pairs) == 1) {
		double used_us = cpu_us();

		samples->count = 0;
		for (int i = 0; i < pairs; i++) {
			int64_t begin_ns = now_ns();

			if (dlock_lock(fd) < 0 || dlock_unlock(fd) < 0) {
				printf("cannot %s\n", dlock_error_detail());
				return fflush(stdout), 1;
			}
			samples_add(samples, now_ns() - begin_ns);
		}
		used_us = (cpu_us() - used_us) / pairs;
		printf("ok %.0f %.0f\n", samples_us(samples, 0.5) * 1000, used_us * 1000);
		fflush(stdout);
	}
	return 0;
}

static int drive_peer(void *arg)
{
	const struct peer *peer = arg;
	struct servers *servers = peer->side->bench.servers;
	const char *folder = getenv("DLOCK_BENCH_PEERS");
	char script[4096];
	char *words[16] = {(char *)peer->program, script};

	snprintf(script, sizeof(script), "%s/%s", folder ? folder : "bench/peers", peer->script);
	for (int i = 0; i < servers_count(servers) && i < 13; i++)
		words[2 + i] = (char *)servers_address(servers, i);
	execvp(peer->program, words);
	printf("cannot not installed: %s\n", peer->program);
	fflush(stdout);
	return 1;
}

/* Ready, and warm: programs that are compiled as they run are slow at first. NULL after a line that says why. */
static struct driver *start_peer(struct peer *peer)
{
	struct driver *driver = driver_start(drive_peer, peer);
	char command[32], figure[80];
	struct answer answer = {.said = "no process"};

	snprintf(command, sizeof(command), "pairs %d", WARM_PAIRS);
	if (driver && driver_hear(driver, READY_MS, &answer) == 0 && driver_ask(driver, command, ANSWER_MS, &answer) == 0)
		return driver;
	snprintf(figure, sizeof(figure), "peer %s", peer->name);
	result_cannot(figure, answer.said);
	driver_end(driver);
	return NULL;
}

static int start_ours(struct side *side)
{
	struct answer answer = {.said = "no process"};
	char command[32];

	snprintf(command, sizeof(command), "pairs %d", WARM_PAIRS);
	side->ours = driver_start(drive_ours, &side->bench);
	if (side->ours && driver_hear(side->ours, READY_MS, &answer) == 0 &&
	    driver_ask(side->ours, command, ANSWER_MS, &answer) == 0)
		return 0;
	fprintf(stderr, "peers: ours: %s\n", answer.said);
	return -1;
}

/* ---- turns ---- */

/* One turn of ours: 0 or -1 after a sentence. */
static int ask_ours(struct peer *peer, int pairs, struct answer *ret_answer)
{
	char command[32];

	snprintf(command, sizeof(command), "pairs %d", pairs);
	if (driver_ask(peer->side->ours, command, ANSWER_MS, ret_answer) == 0)
		return 0;
	fprintf(stderr, "peers: ours: %s\n", ret_answer->said);
	return -1;
}

/* A peer that is silent is given up, as it may answer at another time; false: it cannot. */
static bool took(struct driver **driver, int failed, const struct answer *answer, struct comparison *compared)
{
	if (!failed)
		return true;
	snprintf(compared->cannot, sizeof(compared->cannot), "%s", answer->said);
	if (answer->silent) {
		driver_end(*driver);
		*driver = NULL;
	}
	return false;
}

static bool ask(struct peer *peer, struct comparison *compared, const char *command, int limit_ms,
                struct answer *ret_answer)
{
	return took(&peer->driver, driver_ask(peer->driver, command, limit_ms, ret_answer), ret_answer, compared);
}

/* All peers in turns, so many times; a turn is first ours, then the peer's. */
static int compare(struct run *run, int repetitions, int (*turn)(struct peer *peer, struct comparison *compared))
{
	for (int repetition = 0; repetition < repetitions; repetition++)
		for (int i = 0; i < PEERS; i++)
			if (run->peers[i].driver && !run->compared[i].cannot[0] && turn(&run->peers[i], &run->compared[i]) < 0)
				return -1;
	return 0;
}

static void forget(struct run *run)
{
	memset(run->compared, 0, sizeof(run->compared));
}

/* One line a peer that was there. */
static void tell(struct run *run, const char *what, const char *unit, enum bar bar, double limit, bool cpu)
{
	for (int i = 0; i < PEERS; i++) {
		const struct comparison *compared = &run->compared[i];
		char figure[80];

		snprintf(figure, sizeof(figure), "%s, ours by %s", what, run->peers[i].name);
		if (compared->cannot[0])
			result_cannot(figure, compared->cannot);
		else if (compared->theirs.count > 0)
			result_repeated(figure, unit, cpu ? &compared->ours_cpu : &compared->ours,
			                cpu ? &compared->theirs_cpu : &compared->theirs, bar, limit);
	}
}

/* ---- uncontended, and one master stopped ---- */

static int turn_of(struct peer *peer, struct comparison *compared, int pairs)
{
	struct answer ours, theirs;
	char command[32];

	snprintf(command, sizeof(command), "pairs %d", pairs);
	if (ask_ours(peer, pairs, &ours) < 0)
		return -1;
	if (!ask(peer, compared, command, ANSWER_MS, &theirs))
		return 0;
	repeats_add(&compared->ours, ours.numbers[0] / 1000);
	repeats_add(&compared->theirs, theirs.numbers[0] / 1000);
	repeats_add(&compared->ours_cpu, ours.numbers[1] / 1000);
	repeats_add(&compared->theirs_cpu, theirs.numbers[1] / 1000);
	return 0;
}

static int uncontended_turn(struct peer *peer, struct comparison *compared)
{
	return turn_of(peer, compared, PAIRS);
}

static int uncontended(struct run *run)
{
	forget(run);
	if (compare(run, REPETITIONS, uncontended_turn) < 0)
		return -1;
	tell(run, "uncontended", "us", BAR_RATIO_MOST, 1, false);
	tell(run, "client CPU", "us", BAR_NONE, 0, true);
	return 0;
}

static int stopped_turn(struct peer *peer, struct comparison *compared)
{
	return turn_of(peer, compared, STOPPED_PAIRS);
}

static int one_stopped(struct run *run)
{
	int error;

	forget(run);
	servers_stop(run->five.bench.servers, 0);
	if (run->one.owned)
		servers_stop(run->one.owned, 0);
	for (int i = 0; i < PEERS; i++) {
		struct answer answer;

		if (run->peers[i].driver)
			ask(&run->peers[i], &run->compared[i], "pairs 1", STOPPED_MS, &answer);
	}
	error = compare(run, REPETITIONS, stopped_turn);
	if (!error)
		tell(run, "one master stopped", "us", BAR_NONE, 0, false);
	servers_cont(run->five.bench.servers, 0);
	if (run->one.owned)
		servers_cont(run->one.owned, 0);
	return error;
}

/* ---- very many in flight ---- */

static int flight_turn(struct peer *peer, struct comparison *compared)
{
	struct answer theirs;
	struct flight ours;
	char command[64];

	snprintf(command, sizeof(command), "flight %d %d", FLIGHT_AT_ONCE, FLIGHT_PAIRS);
	if (flight_run(&peer->side->bench, FLIGHT_AT_ONCE, FLIGHT_PAIRS, &ours) < 0)
		return -1;
	if (!ask(peer, compared, command, ANSWER_MS, &theirs))
		return 0;
	repeats_add(&compared->ours, ours.pairs_per_s);
	repeats_add(&compared->theirs, theirs.numbers[0]);
	return 0;
}

static int in_flight(struct run *run)
{
	forget(run);
	if (compare(run, FLIGHT_REPETITIONS, flight_turn) < 0)
		return -1;
	for (int i = 0; i < PEERS; i++) {
		const struct comparison *compared = &run->compared[i];
		double bar = run->peers[i].flight_bar;
		char figure[80];

		snprintf(figure, sizeof(figure), "1,000 in flight, ours by %s", run->peers[i].name);
		if (compared->cannot[0])
			result_cannot(figure, compared->cannot);
		else if (compared->theirs.count > 0)
			result_repeated(figure, "1/s", &compared->ours, &compared->theirs, bar > 0 ? BAR_RATIO_LEAST : BAR_NONE, bar);
	}
	return 0;
}

/* ---- hand-over ---- */

/* What `driver` holds goes to the other, which asks some time before: in nanoseconds; 0: it cannot. */
static double hand_over(struct peer *peer, struct comparison *compared, const char *lock, int hold_us)
{
	struct answer there, given, got;

	if (!ask(peer, compared, lock, HANDOVER_MS, &there))
		return 0;
	driver_send(peer->other, lock);
	sleep_us(hold_us);
	if (!ask(peer, compared, "unlock", HANDOVER_MS, &given) ||
	    !took(&peer->other, driver_hear(peer->other, HANDOVER_MS, &got), &got, compared) ||
	    !took(&peer->other, driver_ask(peer->other, "unlock", HANDOVER_MS, &there), &there, compared))
		return 0;
	return got.numbers[0] - given.numbers[0];
}

static int handover_turn(struct peer *peer, struct comparison *compared)
{
	struct samples *ours = pair_samples(peer->side->pair, PHASE_FIRST);
	struct repeats theirs = {0};
	char lock[64];

	if (!peer->other)
		return 0;
	ours->count = 0; /* nobody writes there between two blocks */
	if (pair_run(peer->side->pair, PHASE_FIRST, OUR_HANDOVERS) < 0)
		return -1;
	snprintf(lock, sizeof(lock), "lock bench-handover-%s", peer->script);
	for (int i = 0; i < HANDOVERS; i++) {
		/* Who polls is handed the lock when it next asks: so the holds end at all times of its pauses alike. */
		double ns = hand_over(peer, compared, lock, 100000 + (compared->theirs.count * HANDOVERS + i) * 7 % 25 * 16000);

		if (ns <= 0)
			return 0;
		repeats_add(&theirs, ns / 1000);
	}
	repeats_add(&compared->ours, samples_us(ours, 0.5));
	repeats_add(&compared->theirs, repeats_median(&theirs));
	return 0;
}

static int pairs_start(struct run *run)
{
	run->five.pair = pair_start(&run->five.bench, "bench-handover");
	if (run->one.owned)
		run->one.pair = pair_start(&run->one.bench, "bench-handover");
	return run->five.pair && (run->one.pair || !run->one.owned) ? 0 : -1;
}

static int handovers(struct run *run)
{
	int error = pairs_start(run);

	forget(run);
	for (int i = 0; i < PEERS; i++)
		if (!error && run->peers[i].driver)
			run->peers[i].other = start_peer(&run->peers[i]);
	if (!error)
		error = compare(run, HANDOVER_REPETITIONS, handover_turn);
	if (!error)
		tell(run, "hand-over", "us", BAR_NONE, 0, false);
	for (int i = 0; i < PEERS; i++) {
		driver_end(run->peers[i].other);
		run->peers[i].other = NULL;
	}
	if (pair_end(run->five.pair) < 0 || pair_end(run->one.pair) < 0)
		error = -1;
	return error;
}

/* ---- the run ---- */

/* Debian's own python3 first: another one of the PATH does not see Debian's packages. */
static const char *python(void)
{
	return access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : "python3";
}

static int start(struct run *run, struct bench *bench)
{
	const struct servers_options one = {.count = 1, .tcp = true};

	*run = (struct run){
		.five.bench = *bench,
		.one.bench = *bench,
		.peers = {
			{.name = "redlock 5", .program = "node", .script = "redlock.cjs", .flight_bar = 5, .side = &run->five},
			{.name = "redlock-universal", .program = "node", .script = "redlock-universal.cjs", .side = &run->five},
			{.name = "redis-semaphore", .program = "node", .script = "redis-semaphore.cjs", .side = &run->five},
			{.name = "redis-py, one master", .program = python(), .script = "one.py", .side = &run->one},
		},
	};
	run->one.owned = run->one.bench.servers = servers_start(&one);
	run->one.bench.options = run->one.owned ? new_masters(run->one.owned) : NULL;
	if (!run->one.bench.options || start_ours(&run->five) < 0 || start_ours(&run->one) < 0)
		return -1;
	for (int i = 0; i < PEERS; i++)
		run->peers[i].driver = start_peer(&run->peers[i]);
	return 0;
}

static void end(struct run *run)
{
	for (int i = 0; i < PEERS; i++)
		driver_end(run->peers[i].driver);
	driver_end(run->five.ours);
	driver_end(run->one.ours);
	dlock_options_free(run->one.bench.options);
	servers_free(run->one.owned);
	free(run);
}

int figure_peers(struct bench *bench)
{
	struct run *run = calloc(1, sizeof(*run));
	int error = -1;

	if (!run)
		return -1;
	if (start(run, bench) == 0 && uncontended(run) == 0 && in_flight(run) == 0 && handovers(run) == 0 &&
	    one_stopped(run) == 0)
		error = 0;
	end(run);
	return etcd_compare(bench) < 0 ? -1 : error;
}
