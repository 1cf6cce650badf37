/*
 * stress_threads.c - many threads and processes on few locks, against real servers.
 *
 * A plain program, because ThreadSanitizer can't run Criterion. What must hold:
 * counting under the lock loses nothing; a checker in memory never sees two
 * holders that exclude each other; every wait ends; and when all is over the
 * masters hold no key, whatever interrupted whom.
 *
 * Children only exit; the parent judges. DLOCK_STRESS_INCREMENTS (default 50) is
 * how often each thread counts.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/stress.h"

#define PROCESSES 4
#define THREADS 4
#define NAMES 3
#define MIXERS 8
#define WAITERS 6

static struct servers *servers;
static struct dlock_options *options;

static int open_lock(const char *name)
{
	int fd = dlock_open_with(name, DLOCK_CLOEXEC, options);

	CHECK_CALL(fd >= 0);
	return fd;
}

static unsigned draw(unsigned *seed, unsigned below)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 16) % below;
}

static void start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
	if (pthread_create(thread, NULL, function, argument) != 0)
		abort();
}

/* ---- counting ---- */

static char counter_path[128];

/* What a program without a lock would get wrong: read, add, write. */
static void increment(void)
{
	FILE *file = fopen(counter_path, "r+e");
	long number = -1;

	if (CHECK(file && fscanf(file, "%ld", &number) == 1)) {
		rewind(file);
		fprintf(file, "%ld\n", number + 1);
	}
	if (file)
		fclose(file);
}

static int increments(void)
{
	const char *count = getenv("DLOCK_STRESS_INCREMENTS");

	return stress_times(count ? atoi(count) : 50);
}

static void *count_up(void *unused)
{
	uint64_t last = 0, token;
	int fd = open_lock("counter");

	(void)unused;
	for (int i = increments(); i > 0; i--) {
		if (!CHECK_CALL(dlock_lock(fd) == 0))
			break;
		token = dlock_token(fd);
		CHECK(token > last);
		last = token;
		increment();
		CHECK_CALL(dlock_unlock(fd) == 0);
	}
	CHECK_CALL(dlock_close(fd) == 0);
	return NULL;
}

static int count_in_child(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		start_thread(&threads[i], count_up, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return stress_failures() ? 1 : 0;
}

static void test_counter(void)
{
	pid_t children[PROCESSES];
	long number = -1;
	FILE *file;

	snprintf(counter_path, sizeof(counter_path), "%s/counter", servers_dir(servers));
	file = fopen(counter_path, "we");
	CHECK(file && fputs("0\n", file) >= 0 && fclose(file) == 0);
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0)
			_exit(count_in_child());
	}
	for (int i = 0; i < PROCESSES; i++)
		CHECK(stress_reap(children[i], 200000) == 0);
	file = fopen(counter_path, "re");
	CHECK(file && fscanf(file, "%ld", &number) == 1 && fclose(file) == 0);
	if (!CHECK(number == (long)PROCESSES * THREADS * increments()))
		fprintf(stderr, "counted to %ld\n", number);
	CHECK(stress_all_free(servers));
}

/* ---- all operations at once, with a checker ---- */

struct checked {
	char name[24];
	atomic_int writers, readers;
};

static struct checked checked[NAMES];
static int shared_fds[NAMES];

static void enter(struct checked *c, int mode)
{
	if (mode == LOCK_EX) {
		CHECK(atomic_fetch_add(&c->writers, 1) == 0);
		CHECK(atomic_load(&c->readers) == 0);
	} else {
		atomic_fetch_add(&c->readers, 1);
		CHECK(atomic_load(&c->writers) == 0);
	}
}

static void leave(struct checked *c, int mode)
{
	if (mode == LOCK_EX)
		CHECK(atomic_fetch_sub(&c->writers, 1) == 1);
	else if (mode == LOCK_SH)
		atomic_fetch_sub(&c->readers, 1);
}

static int lock_somehow(int fd, int mode, unsigned how)
{
	if (how == 0)
		return dlock_flock(fd, mode | LOCK_NB);
	return how == 1 ? dlock_timedlock(fd, mode, 20) : dlock_flock(fd, mode);
}

static bool may_fail(unsigned how, int error)
{
	return (how == 0 && error == EWOULDBLOCK) || (how == 1 && (error == ETIMEDOUT || error == EWOULDBLOCK));
}

/* One step on a descriptor that nobody else uses; the mode that it holds then. */
static int step(struct checked *c, int fd, int held, unsigned *seed)
{
	int mode = draw(seed, 2) ? LOCK_EX : LOCK_SH;
	unsigned how = draw(seed, 3);

	if (draw(seed, 3) == 0)
		CHECK_CALL(dlock_set_data(fd, c->name, draw(seed, sizeof(c->name) + 1)) == 0);
	if (held != LOCK_UN && draw(seed, 2)) {
		if (draw(seed, 4) == 0)
			CHECK_CALL(dlock_verify(fd) == 0);
		leave(c, held);
		CHECK_CALL(dlock_unlock(fd) == 0);
		return LOCK_UN;
	}
	/* A conversion may give the lock back on the way, so the checker forgets it meanwhile. */
	leave(c, held);
	if (lock_somehow(fd, mode, how) == 0) {
		enter(c, mode);
		return mode;
	}
	CHECK_CALL(may_fail(how, errno));
	CHECK_CALL(dlock_unlock(fd) == 0);
	return LOCK_UN;
}

static const char disturbance[8000];

/* Anything on a descriptor that all threads share: only errors that have a reason. */
static void disturb(int fd, unsigned *seed)
{
	unsigned how = draw(seed, 2);
	struct dlock_stat stat;

	if (lock_somehow(fd, draw(seed, 2) ? LOCK_EX : LOCK_SH, how) < 0)
		CHECK_CALL(may_fail(how, errno));
	CHECK_CALL(dlock_stat(fd, &stat, sizeof(stat)) == 0);
	CHECK_CALL(dlock_set_data(fd, disturbance, draw(seed, sizeof(disturbance) + 1)) == 0);
	if (dlock_verify(fd) < 0)
		CHECK_CALL(errno == ENOLCK);
	CHECK_CALL(dlock_unlock(fd) == 0);
}

static void *mix(void *argument)
{
	unsigned seed = (unsigned)(uintptr_t)argument;
	int times = stress_times(60);

	for (int i = 0; i < times; i++) {
		struct checked *c = &checked[draw(&seed, NAMES)];
		int fd = open_lock(c->name), held = LOCK_UN;

		for (int j = 0; j < 5; j++)
			held = step(c, fd, held, &seed);
		leave(c, held);
		CHECK((draw(&seed, 2) ? dlock_close(fd) : close(fd)) == 0);
		disturb(shared_fds[draw(&seed, NAMES)], &seed);
	}
	return NULL;
}

static void test_mix(void)
{
	pthread_t threads[MIXERS];
	char name[32];

	for (int i = 0; i < NAMES; i++) {
		snprintf(checked[i].name, sizeof(checked[i].name), "mix %d", i);
		snprintf(name, sizeof(name), "shared %d", i);
		shared_fds[i] = open_lock(name);
	}
	for (int i = 0; i < MIXERS; i++)
		start_thread(&threads[i], mix, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < MIXERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < NAMES; i++)
		CHECK_CALL(dlock_close(shared_fds[i]) == 0);
	CHECK(stress_all_free(servers));
}

/* ---- closing below a wait ---- */

struct waiter {
	int fd, result, error;
	sem_t begun;
};

static void *wait_for_lock(void *argument)
{
	struct waiter *waiter = argument;

	sem_post(&waiter->begun);
	waiter->result = dlock_lock(waiter->fd);
	waiter->error = errno;
	return NULL;
}

static bool is_waiting(int fd)
{
	struct dlock_stat stat;

	return dlock_stat(fd, &stat, sizeof(stat)) == 0 && stat.state == DLOCK_STATE_WAITING;
}

static void test_close_below_wait(void)
{
	struct waiter waiters[WAITERS];
	pthread_t threads[WAITERS];

	for (int round = stress_times(20); round > 0; round--) {
		int holder = open_lock("below");

		CHECK_CALL(dlock_lock(holder) == 0);
		for (int i = 0; i < WAITERS; i++) {
			waiters[i].fd = i % 3 == 2 ? waiters[i - 1].fd : open_lock("below"); /* some wait for one */
			sem_init(&waiters[i].begun, 0, 0);
			start_thread(&threads[i], wait_for_lock, &waiters[i]);
		}
		for (int i = 0; i < WAITERS; i++) {
			sem_wait(&waiters[i].begun);
			sem_destroy(&waiters[i].begun);
			while (!is_waiting(waiters[i].fd))
				stress_sleep_ms(1);
		}
		/* Copies that are closed first change nothing. */
		for (int i = 0; i < WAITERS; i++)
			CHECK(close(dup(waiters[i].fd)) == 0);
		for (int i = 0; i < WAITERS; i++)
			if (i % 3 != 2)
				CHECK((i % 2 ? dlock_close(waiters[i].fd) : close(waiters[i].fd)) == 0);
		for (int i = 0; i < WAITERS; i++) {
			pthread_join(threads[i], NULL);
			CHECK(waiters[i].result == -1 && waiters[i].error == EBADF);
		}
		CHECK_CALL(dlock_verify(holder) == 0);
		CHECK_CALL(dlock_close(holder) == 0);
	}
	CHECK(stress_all_free(servers));
}

/* ---- signals ---- */

static atomic_uint signals, interrupted;

static void count_signal(int number)
{
	(void)number;
	atomic_fetch_add(&signals, 1);
}

/* Sends this thread signals until it is told to stop. */
struct storm {
	pthread_t victim;
	atomic_bool over;
};

static void *send_signals(void *argument)
{
	struct storm *storm = argument;

	for (unsigned i = 0; !atomic_load(&storm->over); i++) {
		pthread_kill(storm->victim, SIGUSR1);
		nanosleep(&(struct timespec){.tv_nsec = (i % 7 + 1) * 100000}, NULL);
	}
	return NULL;
}

static void lock_in_storm(unsigned *seed)
{
	int fd = open_lock("storm"), mode = draw(seed, 3) ? LOCK_EX : LOCK_SH;

	if (dlock_flock(fd, mode) == 0) {
		if (dlock_verify(fd) < 0)
			CHECK_CALL(errno == EINTR);
		CHECK_CALL(dlock_unlock(fd) == 0);
	} else if (CHECK_CALL(errno == EINTR)) {
		atomic_fetch_add(&interrupted, 1);
	}
	CHECK_CALL(dlock_close(fd) == 0);
}

static void *suffer(void *argument)
{
	struct storm storm = {.victim = pthread_self()};
	unsigned seed = (unsigned)(uintptr_t)argument;
	pthread_t sender;

	start_thread(&sender, send_signals, &storm);
	for (int i = stress_times(150); i > 0; i--)
		lock_in_storm(&seed);
	atomic_store(&storm.over, true);
	pthread_join(sender, NULL);
	return NULL;
}

static void test_signals(void)
{
	struct sigaction action = {.sa_handler = count_signal}; /* without SA_RESTART */
	pthread_t threads[THREADS];

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < THREADS; i++)
		start_thread(&threads[i], suffer, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK(atomic_load(&signals) > 0 && atomic_load(&interrupted) > 0);
	CHECK(stress_all_free(servers));
}

/* ---- fork while other threads lock ---- */

static atomic_bool forks_over;

/*
 * The allocator of the address sanitizer does not know fork: a child of a moment in which
 * another thread was in it hangs in its first malloc(). So under that sanitizer, and only
 * there, other threads stand between two rounds while this process forks, and neither begin
 * nor end meanwhile; the library's own thread is kept out of the way by its fork handler.
 */
#ifdef __SANITIZE_ADDRESS__
static pthread_rwlock_t rounds = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static pthread_barrier_t beside; /* the threads beside the one that forks, and that one */

static void expect_threads(unsigned count)
{
	pthread_barrier_init(&beside, NULL, count + 1);
}

/* Called by each of them once it runs and again before it ends, and by the one that forks. */
static void meet(void)
{
	pthread_barrier_wait(&beside);
}

static void begin_round(void)
{
	pthread_rwlock_rdlock(&rounds);
}

static void end_round(void)
{
	pthread_rwlock_unlock(&rounds);
}

/* fork(); a child has one thread, and no rounds. */
static pid_t fork_among_threads(void)
{
	pid_t child;

	pthread_rwlock_wrlock(&rounds);
	child = fork();
	if (child != 0)
		pthread_rwlock_unlock(&rounds);
	return child;
}
#else
static void expect_threads(unsigned count)
{
	(void)count;
}

static void meet(void)
{
}

static void begin_round(void)
{
}

static void end_round(void)
{
}

static pid_t fork_among_threads(void)
{
	return fork();
}
#endif

static void *lock_on(void *argument)
{
	char name[32];

	snprintf(name, sizeof(name), "forker %d", (int)(uintptr_t)argument % 2);
	meet();
	while (!atomic_load(&forks_over)) {
		int fd;

		begin_round();
		fd = open_lock(name);
		CHECK_CALL(dlock_lock(fd) == 0);
		CHECK_CALL(dlock_close(fd) == 0);
		end_round();
	}
	meet();
	return NULL;
}

static int ignore_master(const struct dlock_master *master, void *arg)
{
	(void)master;
	(void)arg;
	return 0;
}

static int lock_in_child(int inherited)
{
	int fd, count = -1;

	alarm(60);
	CHECK(dlock_lock(inherited) == -1 && errno == ECHILD);
	CHECK(dlock_close(inherited) == 0);
	for (int i = 0; i < 2; i++) {
		fd = open_lock(i ? "forker 0" : "child");
		CHECK_CALL(dlock_lock(fd) == 0);
		CHECK_CALL(dlock_unlock(fd) == 0 && dlock_close(fd) == 0);
		/* The second connections, which come when somebody has to wait, are made by this at the latest. */
		CHECK_CALL(dlock_masters_with(ignore_master, NULL, options) > 0);
		if (i)
			CHECK(stress_descriptors() == count);
		count = stress_descriptors();
	}
	return stress_failures() ? 1 : 0;
}

static void test_forks(void)
{
	pthread_t threads[THREADS];
	int fd = open_lock("inherited");

	atomic_store(&forks_over, false);
	CHECK_CALL(dlock_lock(fd) == 0);
	expect_threads(THREADS);
	for (int i = 0; i < THREADS; i++)
		start_thread(&threads[i], lock_on, (void *)(uintptr_t)i);
	meet();
	for (int i = stress_times(40); i > 0; i--) {
		pid_t child = fork_among_threads();

		if (child == 0)
			_exit(lock_in_child(fd));
		CHECK(stress_reap(child, 70000) == 0);
	}
	atomic_store(&forks_over, true);
	meet();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_CALL(dlock_verify(fd) == 0);
	CHECK_CALL(dlock_close(fd) == 0);
	CHECK(stress_all_free(servers));
}

/* ---- look-ups beside locks, queries and forks ---- */

#define LOOKERS 3

static atomic_int looking; /* lookers, and the one that forks, that are not done yet */

static int count_holder(const struct dlock_holder *holder, void *arg)
{
	CHECK(holder->masters > 0 && holder->masters + holder->unheard <= 3 && holder->quorum == 2);
	++*(int *)arg;
	return 0;
}

/* A set with many under way; one in four rounds it is freed in the middle of them. */
static void look_in_set(unsigned *seed)
{
	struct dlock_looks *looks = dlock_looks_new(options);
	struct pollfd ready = {.fd = looks ? dlock_looks_fd(looks) : -1, .events = POLLIN};
	unsigned count = 1 + draw(seed, 300), left = draw(seed, 4) ? 0 : count / 2;
	char name[32];

	if (!CHECK_CALL(looks != NULL))
		return;
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "looked at %u", draw(seed, 4));
		CHECK_CALL(dlock_looks_start(looks, draw(seed, 50) ? name : NULL, i) == 0);
	}
	while (count > left && CHECK(poll(&ready, 1, 60000) == 1)) {
		int told = 0, result = dlock_looks_next(looks, NULL, count_holder, &told);

		CHECK_CALL(result == told);
		count--;
	}
	CHECK(left > 0 || (dlock_looks_next(looks, NULL, NULL, NULL) == -1 && errno == EAGAIN));
	dlock_looks_free(looks);
}

static void *look_on(void *argument)
{
	unsigned seed = (unsigned)(uintptr_t)argument;

	meet();
	for (int i = stress_times(20); i > 0; i--) {
		begin_round();
		look_in_set(&seed);
		end_round();
	}
	atomic_fetch_sub(&looking, 1);
	meet();
	return NULL;
}

/* Locks and queries until the look-ups and forks are over. */
static void *lock_beside(void *argument)
{
	unsigned number = (unsigned)(uintptr_t)argument;
	char name[32];

	snprintf(name, sizeof(name), "looked at %u", number % 2);
	meet();
	while (atomic_load(&looking) > 0) {
		int fd, told = 0;

		begin_round();
		fd = open_lock(name);
		CHECK_CALL(dlock_lock(fd) == 0);
		CHECK_CALL(dlock_query_with(name, count_holder, &told, options) >= 1 && told >= 1);
		CHECK_CALL(dlock_close(fd) == 0);
		end_round();
	}
	meet();
	return NULL;
}

static int look_in_child(struct dlock_looks *inherited)
{
	unsigned seed = 1;

	alarm(60);
	CHECK(dlock_looks_start(inherited, "looked at 0", 1) == -1 && errno == ECHILD);
	dlock_looks_free(inherited);
	look_in_set(&seed);
	return stress_failures() ? 1 : 0;
}

/* In a process of its own, whose connections have much time: what fails is not the machine. */
static int look_in_all_ways(void)
{
	static struct dlock_looks *inherited; /* static: found in children that _exit() */
	pthread_t lookers[LOOKERS], lockers[THREADS];

	CHECK_CALL(dlock_options_set(options, "node_timeout", "20000") == 0);
	inherited = dlock_looks_new(options);
	CHECK_CALL(inherited != NULL);
	atomic_store(&looking, LOOKERS + 1);
	expect_threads(LOOKERS + THREADS);
	for (int i = 0; i < LOOKERS; i++)
		start_thread(&lookers[i], look_on, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < THREADS; i++)
		start_thread(&lockers[i], lock_beside, (void *)(uintptr_t)i);
	meet();
	for (int i = stress_times(10); i > 0; i--) {
		pid_t child;

		CHECK_CALL(dlock_looks_start(inherited, i % 2 ? "looked at 0" : NULL, 1) == 0);
		child = fork_among_threads();
		if (child == 0)
			_exit(look_in_child(inherited));
		CHECK(stress_reap(child, 70000) == 0);
	}
	atomic_fetch_sub(&looking, 1);
	meet();
	for (int i = 0; i < LOOKERS; i++)
		pthread_join(lookers[i], NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(lockers[i], NULL);
	dlock_looks_free(inherited);
	return stress_failures() ? 1 : 0;
}

static void test_looks(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(look_in_all_ways());
	CHECK(stress_reap(child, 200000) == 0);
	CHECK(stress_all_free(servers));
}

int main(void)
{
	const struct servers_options three = {.count = 3};
	int status = servers_require();

	if (status)
		return status;
	servers = servers_start(&three);
	if (!servers)
		return 1;
	options = stress_options(servers);
	test_counter();
	test_mix();
	test_close_below_wait();
	test_signals();
	test_forks();
	test_looks();
	dlock_options_free(options);
	servers_free(servers);
	return stress_failures() ? 1 : 0;
}
