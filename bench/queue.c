/*
 * queue.c - many processes that wait in line for one name, as often as is wished.
 *
 * The first process is the holder. Each waits for its turn without spending time on it:
 * a turn is the time to ask; for the holder it is then also the time to give back. Who is
 * served notes it before it gives the lock back, so that nobody else writes meanwhile.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/bench.h"
#include "tests/harness/stress.h"

#define ASK_MS 20000
#define SERVE_MS 60000
#define END_MS 120000

struct queue {
	struct bench *bench;
	char name[64];
	int waiters;
	struct crew crew;
	pid_t pids[QUEUE_MAX + 1];
	sem_t turn[QUEUE_MAX + 1];
	_Atomic int64_t asked_ns[QUEUE_MAX + 1];
	atomic_bool over;
	bool broken; /* not all are where they should be */
	atomic_bool held;
	atomic_int done; /* have given back */

	/* Written by whoever holds the lock. */
	int64_t unlocked_ns;
	struct queue_round round;
};

static void await_turn(struct queue *queue, int me)
{
	while (sem_wait(&queue->turn[me]) < 0 && errno == EINTR)
		continue;
}

static void note_served(struct queue *queue, int64_t asked_ns)
{
	struct queue_round *round = &queue->round;

	round->last_ns = now_ns();
	round->handed_ns[round->served] = round->last_ns - queue->unlocked_ns;
	round->order_ns[round->served] = asked_ns;
	round->served++;
}

static int take_once(struct queue *queue, int me, int fd)
{
	int64_t asked_ns = now_ns();

	atomic_store(&queue->asked_ns[me], asked_ns);
	if (dlock_lock(fd) < 0)
		return -1;
	if (me == 0) {
		atomic_store(&queue->held, true);
		await_turn(queue, me);
	} else {
		note_served(queue, asked_ns);
	}
	queue->unlocked_ns = now_ns();
	if (me == 0)
		queue->round.released_ns = queue->unlocked_ns;
	if (dlock_unlock(fd) < 0)
		return -1;
	atomic_fetch_add(&queue->done, 1);
	return 0;
}

static int work(void *arg)
{
	struct queue *queue = arg;
	int me = crew_number(&queue->crew), fd = crew_open(queue->bench, queue->name);

	if (fd >= 0) {
		crew_connected(&queue->crew);
		for (await_turn(queue, me); !atomic_load(&queue->over); await_turn(queue, me))
			if (take_once(queue, me, fd) < 0)
				goto failed;
		return dlock_close(fd) < 0;
	}
failed:
	fprintf(stderr, "bench: process %d of a queue: %s\n", me, dlock_error_detail());
	return 1;
}

static bool enough_clients(struct servers *servers, int waiters)
{
	double most = mean_of(servers, "CONFIG GET maxclients", "maxclients\n");

	if (most > 2 * (waiters + 10))
		return true;
	fprintf(stderr, "bench: the servers take only %.0f clients, by the limit of open files\n", most);
	return false;
}

struct queue *queue_start(struct bench *bench, const char *name, int waiters)
{
	struct queue *queue = enough_clients(bench->servers, waiters) ? crew_memory(sizeof(*queue)) : NULL;

	if (!queue)
		return NULL;
	queue->bench = bench;
	queue->waiters = waiters;
	snprintf(queue->name, sizeof(queue->name), "%s", name);
	for (int i = 0; i <= waiters; i++)
		sem_init(&queue->turn[i], 1, 0);
	if (crew_start_all(&queue->crew, queue->pids, waiters + 1, work, queue) == 0)
		return queue;
	queue->broken = true;
	queue_end(queue);
	return NULL;
}

/* Everything else hangs on the holder having the lock. */
static bool has_asked(struct queue *queue, int i)
{
	return atomic_load(&queue->asked_ns[i]) && atomic_load(&queue->held);
}

int queue_ask(struct queue *queue, int apart_us)
{
	queue->broken = true; /* until it is known better */
	queue->round = (struct queue_round){0};
	atomic_store(&queue->held, false);
	atomic_store(&queue->done, 0);
	for (int i = 0; i <= queue->waiters; i++)
		atomic_store(&queue->asked_ns[i], 0);
	for (int i = 0; i <= queue->waiters; i++) {
		int64_t end_ms = stress_now_ms() + ASK_MS;

		sem_post(&queue->turn[i]);
		while (!has_asked(queue, i) && stress_now_ms() < end_ms)
			sleep_us(200);
		if (!has_asked(queue, i)) {
			fprintf(stderr, "bench: process %d of a queue did not ask\n", i);
			return -1;
		}
		sleep_us(apart_us);
	}
	queue->broken = !all_wait(queue->bench->servers, queue->name, queue->waiters);
	return queue->broken ? -1 : 0;
}

int queue_serve(struct queue *queue)
{
	sem_post(&queue->turn[0]);
	queue->broken = crew_await(&queue->done, queue->waiters + 1, SERVE_MS, "have given back") < 0;
	return queue->broken ? -1 : 0;
}

const struct queue_round *queue_round(const struct queue *queue)
{
	return &queue->round;
}

const pid_t *queue_waiters(const struct queue *queue)
{
	return queue->pids + 1;
}

struct servers *queue_servers(const struct queue *queue)
{
	return queue->bench->servers;
}

int queue_end(struct queue *queue)
{
	int error = -1;

	if (!queue)
		return 0;
	atomic_store(&queue->over, true);
	for (int i = 0; i <= queue->waiters; i++)
		sem_post(&queue->turn[i]);
	if (queue->broken)
		crew_kill(queue->pids, queue->waiters + 1);
	else
		error = crew_end(queue->pids, queue->waiters + 1, END_MS);
	munmap(queue, sizeof(*queue));
	return error;
}
