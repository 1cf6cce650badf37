/*
 * bench.h - what the figures of `make bench` share.
 *
 * Owns: five servers for the length of the run, the lines that are printed, the
 * processes that use the library. Must never: use the library in the process that
 * measures (it forks, and a fork may not use what was opened before it), leave a
 * process or a server behind, or compare with a number of another run.
 *
 * A figure returns 0, or -1 after a sentence on standard error when it could not be
 * measured; that a bar is missed is a result, no failure.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dlock.h"
#include "tests/harness/servers.h"

struct bench {
	struct servers *servers;
	struct dlock_options *options; /* for the processes that use the library */
	double seconds;                /* how long each number of contenders runs */
};

int figure_uncontended(struct bench *bench);
int figure_inflight(struct bench *bench);
int figure_handover(struct bench *bench);
int figure_contenders(struct bench *bench);
int figure_faults(struct bench *bench);
int figure_peers(struct bench *bench); /* on demand only */
int figure_scale(struct bench *bench);  /* on demand only */
int figure_growth(struct bench *bench); /* on demand only */
int figure_mount(struct bench *bench);
int figure_command(struct bench *bench);
int figure_scale(struct bench *bench); /* on demand only */

/* ---- results ---- */

enum bar {
	BAR_NONE,        /* told for people, held to nothing */
	BAR_RATIO_MOST,  /* ours / floor is at most that */
	BAR_RATIO_LEAST, /* ours / floor is at least that */
	BAR_ADDS_MOST,   /* ours - floor is at most that, in the figure's unit */
};

/* Prints one line and keeps it for JSON. The texts are copied. */
void result(const char *figure, const char *unit, double ours, double floor, enum bar bar, double limit);

/* One figure of several repetitions, in which what is compared takes turns: A B A B ... */
#define REPEATS_MAX 32

struct repeats {
	int count;
	double values[REPEATS_MAX];
};

void repeats_add(struct repeats *repeats, double value); /* what is too many is dropped */
double repeats_median(const struct repeats *repeats);    /* 0 when there are none */

/* The same for the medians of repetitions, with their spread; the bar holds for the median of the ratios, each of
 * them of one repetition. */
void result_repeated(const char *figure, const char *unit, const struct repeats *ours, const struct repeats *floor,
                     enum bar bar, double limit);
/* What a peer can't do, and what happened when it tried. */
void result_cannot(const char *figure, const char *what_happened);
/* A point of a growth curve: `series` is a line of it. */
void result_point(const char *curve, const char *series, double x, const char *unit, double y);
/* All of them, to a file: 0 or -1 after a sentence. */
int results_write_json(const char *path);
void results_head(void); /* the head of the table */

/* ---- samples ---- */

#define SAMPLES_MAX 20000

struct samples {
	int count;
	int64_t ns[SAMPLES_MAX];
};

void samples_add(struct samples *samples, int64_t ns); /* what is too many is dropped */
double samples_us(struct samples *samples, double part); /* part 0.5: the median; sorts; 0 when there are none */

/* ---- time ---- */

int64_t now_ns(void); /* CLOCK_MONOTONIC, the same for all processes */
void sleep_us(int us);
double cpu_us(void); /* of this process and all its threads, until now */

/* ---- servers ---- */

/* Scripts run until now: on one master, on all together. */
int64_t scripts_run_at(struct servers *servers, int i);
int64_t scripts_run(struct servers *servers);
/* Options for these servers, which are initialized, as those in use are: masters in quarantine take another way. NULL
 * after a sentence. */
struct dlock_options *new_masters(struct servers *servers);
/* A number in what each master answers, on the average of all of them; -1 if one does not answer. */
double mean_of(struct servers *servers, const char *command, const char *before);
/* Until so many wait at each master, for the names of that pattern; false after a sentence. */
bool all_wait(struct servers *servers, const char *names, int count);

/* ---- processes ---- */

/* Memory that forked processes share, all zero; NULL after a sentence. */
void *crew_memory(size_t size);
/* A process that runs `work`, whose result is its status, and dies with this one; -1 after a sentence. */
pid_t crew_start(int (*work)(void *arg), void *arg);
/* Kills those of `count` that still run, and forgets them. */
void crew_kill(pid_t *pids, int count);
/* Waits until all have ended by themselves with 0: 0, else -1 after a sentence, and none is left. */
int crew_end(pid_t *pids, int count, int limit_ms);
/* In such a process: a descriptor for NAME whose connections are up; -1 after a sentence. */
int crew_open(const struct bench *bench, const char *name);
/* Lock and unlock, which are a sample: 0 or -1 after a sentence. */
int crew_pair(int fd, struct samples *samples);

/* Many processes, which connect a few at a time; in memory that they share. */
struct crew {
	atomic_int started, connected;
};

/* Until all are connected: 0 or -1 after a sentence. */
int crew_start_all(struct crew *crew, pid_t *pids, int count, int (*work)(void *arg), void *arg);
int crew_number(struct crew *crew);     /* in such a process, at first: its number, from 0 */
void crew_connected(struct crew *crew); /* and when it is */
/* The number reaches that, which so many do: 0 or -1 after a sentence. */
int crew_await(atomic_int *number, int all, int limit_ms, const char *what);

/* How many files may be open from now on: as many as wanted, or as the hard limit permits. */
int files_permit(int wanted);

/* A call on a descriptor with DLOCK_NONBLOCK is under way, or has ended well. */
bool call_begun(int result);
/* Until all those calls have ended; true if all ended well. */
bool calls_end(const int *fds, int count);

/* ---- the floors: floor.c ---- */

/* Plain: `SET NX PX` and the classic release. Same: exactly the scripts and arguments that the library sends. */
enum floor_kind { FLOOR_PLAIN, FLOOR_SAME };
/* ---- programs of the build tree: programs.c ---- */

/* The program itself, not libtool's wrapper: 0, or -1 if it is not built. */
int program_find(const char *folder, const char *name, char *path, size_t size);
/* One in which they find the library and the masters; NULL after a sentence. */
char **program_environment(const struct bench *bench);
void program_environment_free(char **environment); /* NULL is fine */
/* Runs argv[0], which writes to the file `log` and dies with this process; -1 after a sentence. */
pid_t program_start(const char *const *argv, char *const *environment, const char *log);

/* ---- the plain floor: floor.c ---- */

struct floor;

/* For so many names, of which the first has that number: one that others leave alone. NULL after a sentence. */
struct floor *floor_open(struct bench *bench, enum floor_kind kind, int first, int names);
void floor_close(struct floor *floor); /* NULL is fine */
/* `rounds` times a rest, then lock and unlock of one name, which are a sample: 0 or -1 after a sentence. */
int floor_run(struct floor *floor, int rounds, int rest_us, struct samples *samples);
/* Lock and unlock `pairs` times, all names at a time: 0 or -1 after a sentence. */
int floor_flight(struct floor *floor, int pairs);

/* ---- two processes that hand one lock to each other: pair.c ---- */

enum phase { PHASE_PAUSE, PHASE_FIRST, PHASE_SECOND, PHASES, PHASE_END };

#define PAIR_HOLD_US 2000 /* from when the other asks */

struct pair;

struct pair *pair_start(struct bench *bench, const char *name);
/* Until there are `more` hand-overs more among the samples of the phase: 0 or -1 after a sentence. */
int pair_run(struct pair *pair, enum phase phase, int more);
struct samples *pair_samples(struct pair *pair, enum phase phase);
int pair_end(struct pair *pair); /* NULL is fine */

/* ---- very many locks of one process in flight: flight.c ---- */

struct flight {
	double pairs_per_s; /* of lock and unlock */
	double cpu_us;      /* of the process that uses the library, a pair */
};

/* A process that keeps `at_once` locks of different names in flight, `pairs` of lock and unlock in all, after it
 * has had each name once: 0 or -1 after a sentence. */
int flight_run(struct bench *bench, int at_once, int pairs, struct flight *ret_flight);

/* ---- a process that does what it is told: driver.c ---- */

struct driver;

struct answer {
	double numbers[2]; /* those that it gives; else 0 */
	char said[128];    /* why it cannot; "": it can */
	bool silent;       /* it gave none: it has ended, or may still give one */
};

/* Standard input and output of the process are where it is told and answers; NULL after a sentence. */
struct driver *driver_start(int (*work)(void *arg), void *arg);
void driver_end(struct driver *driver); /* kills it; NULL is fine */
void driver_send(struct driver *driver, const char *command);
/* The next answer; the first one comes by itself. 0, or -1 when it cannot. */
int driver_hear(struct driver *driver, int limit_ms, struct answer *ret_answer);
int driver_ask(struct driver *driver, const char *command, int limit_ms, struct answer *ret_answer);

/* ---- dlock beside etcdctl and flock(1): etcd.c ---- */

int etcd_compare(struct bench *bench); /* as a figure */
/* ---- processes that wait in line for one name: queue.c ---- */

#define QUEUE_MAX 1000

struct queue;

/* What came of the last time that all were served. */
struct queue_round {
	int served;
	int64_t released_ns, last_ns; /* when the holder gave back, and when the last one had it */
	int64_t order_ns[QUEUE_MAX];  /* when they asked, in the order of their service */
	int64_t handed_ns[QUEUE_MAX]; /* from the call of dlock_unlock() to the return in the next one */
};

/* So many, and one who holds the name while they ask; all are connected. NULL after a sentence. */
struct queue *queue_start(struct bench *bench, const char *name, int waiters);
/* The holder takes the lock and the others ask, that far apart: until all stand in all queues. 0 or -1 after a sentence. */
int queue_ask(struct queue *queue, int apart_us);
/* The holder gives back, and so does at once whoever is served, until all were: 0 or -1 after a sentence. */
int queue_serve(struct queue *queue);
const struct queue_round *queue_round(const struct queue *queue);
const pid_t *queue_waiters(const struct queue *queue);
struct servers *queue_servers(const struct queue *queue);
int queue_end(struct queue *queue); /* NULL is fine */

#endif
