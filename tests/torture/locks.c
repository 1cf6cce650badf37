/*
 * locks.c - threads that do with descriptors of libdlock whatever can be done.
 *
 * Each thread has a descriptor of its own at a time, on a name that chance chooses, and
 * does a few things with it: takes the lock in either mode, at once, within a time, for
 * as long as it takes, or without blocking; reads and writes the register; proves,
 * converts, lets bytes travel, holds on for longer than the lease; gives back or closes,
 * also while it holds, also while it waits. A ticker interrupts waits by a signal.
 *
 * In the history a descriptor is a number of our own, because that of the kernel is given
 * to another thread before the close of it can be told.
 *
 * One thread in three keeps to the names that are held for seconds (is_long()), because
 * only who holds for long can be harmed by masters that forget.
 *
 * In a crowd (run_crowd()) all threads wait for one name, as long as it takes, hold it for a moment, and queue up
 * again: what the checker judges there is the order in which they are served.
 *
 * The name "foreign" belongs to another Redlock client as well, and only in phases in
 * which no master forgets (clients.py): then the file HISTORY/../foreign exists.
 */
#include "worker.h"

#include <dlock.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 16
#define CROWD_US 3000        /* for how long a crowd holds at most, but for one in CROWD_LONG */
#define CROWD_LONG 8
#define CROWD_LONG_US 100000
#define BEAT_US 10000        /* how often a crowd looks whether it runs */
#define LATE_NS 40000000     /* what is told: a machine that is busy is often late by less */

struct worker {
	pthread_t thread;
	uint64_t random;
	char **names;
	int name_count;
	bool lasting;      /* its names are those that are held for long */
	bool foreign;      /* this round is of the name that others share */
	bool crowd;        /* it waits for as long as it takes, and its calls are told before they are made */
	/* protected by being one byte that the ticker only reads */
	volatile bool interruptible;

	int fd;
	bool nonblock;
	bool left;         /* a call was left under way: all that remains is to close */
	bool held;
	char patience[16];
	struct event lock; /* of the lock that is held: mode, name, token */
	uint64_t data;     /* a number for what travels */
};

static struct worker workers[THREADS_MAX];
static atomic_int descriptors = 1;

static void nothing(int signal)
{
	(void)signal;
}

/* --- telling -------------------------------------------------------------------- */

/* Never later than what the library counts on: the clock is read first. */
static int64_t deadline_of(int fd)
{
	int64_t now = now_ns(), left = dlock_remaining(fd);

	return left > 0 ? now + left : 0;
}

static void tell_call(struct worker *w, const char *operation, int error, int64_t call_ns, int64_t deadline_ns)
{
	struct event e = w->lock;

	e.operation = operation;
	e.error = error;
	e.call_ns = call_ns;
	e.return_ns = now_ns();
	e.deadline_ns = deadline_ns;
	tell(&e);
}

/* Before a call that may end what is held; its time. */
static int64_t tell_begin(struct worker *w, const char *operation, const char *mode)
{
	struct event e = w->lock;

	e.operation = operation;
	e.mode = mode;
	e.token = 0;
	e.call_ns = now_ns();
	tell(&e);
	return e.call_ns;
}

static void tell_renewal(struct worker *w)
{
	int64_t call = now_ns(), deadline = deadline_of(w->fd);

	if (deadline != 0)
		tell_call(w, "renew", 0, call, deadline);
}

/* --- calls --------------------------------------------------------------------------- */

/* Waits for the end of a call on a descriptor that does not block. If it is `hasty` it gives
 * up now and then, and in the end: EINPROGRESS, and all that remains is to close. */
static int wait_for(struct worker *w, bool hasty)
{
	int64_t until = now_ns() + (int64_t)(50 + chance(&w->random, 3000)) * 1000000;
	bool patient = !hasty || chance(&w->random, 4) != 0;

	while (patient || now_ns() < until) {
		struct pollfd pollfd = {.fd = w->fd, .events = POLLIN};

		if (hasty && stopping)
			break;
		poll(&pollfd, 1, 20);
		if (dlock_result(w->fd) == 0)
			return 0;
		if (errno != EINPROGRESS)
			return errno;
	}
	w->left = true;
	return EINPROGRESS;
}

/* The errno of a call that has returned `r`; waits for its end where it goes on. */
static int outcome(struct worker *w, int r, bool hasty)
{
	int error = r == 0 ? 0 : errno;

	return error == EINPROGRESS ? wait_for(w, hasty) : error;
}

/* One lock call of a kind that chance chooses, and its errno. For what is held for long, or by
 * others, nobody waits without a limit: whose turn it is is chance. */
static int call_lock(struct worker *w, int operation)
{
	uint64_t kind = w->crowd ? 7 : chance(&w->random, w->foreign || w->lasting ? 7 : 10);
	int r, timeout_ms = w->foreign ? 300 : (int)(20 + chance(&w->random, 2000));

	w->interruptible = kind >= 8;
	w->lock.patience = NULL;
	if (kind < 3) {
		w->lock.patience = "nb";
		r = dlock_flock(w->fd, operation | LOCK_NB);
	} else if (kind < 7) {
		snprintf(w->patience, sizeof(w->patience), "%d", timeout_ms);
		w->lock.patience = w->patience;
		r = dlock_timedlock(w->fd, operation, timeout_ms);
	} else {
		r = dlock_flock(w->fd, operation);
	}
	r = outcome(w, r, true);
	w->interruptible = false;
	return r;
}

/* After a loss: whoever unlocks has taken note of it. */
static void clear_loss(struct worker *w)
{
	int64_t call = now_ns();

	outcome(w, dlock_unlock(w->fd), false);
	w->held = false;
	tell_call(w, "unlock", 0, call, 0);
	w->lock.token = 0;
}

static void gone(struct worker *w)
{
	tell_call(w, "lost", ESTALE, now_ns(), 0);
	clear_loss(w);
}

/* In the mode that is held: nothing happens, and nothing is told but a loss. */
static void take_again(struct worker *w, int operation)
{
	int error = call_lock(w, operation);

	w->lock.patience = NULL;
	if (error == ESTALE)
		gone(w);
	else
		tell_renewal(w);
}

/* What is held after a conversion that failed is the library's to say. */
static void after_failure(struct worker *w, const struct event *before)
{
	struct dlock_stat stat = {0};

	w->lock = *before;
	dlock_stat(w->fd, &stat, sizeof(stat));
	w->held = w->held && !w->left && stat.state == DLOCK_STATE_HELD;
	if (w->held)
		tell_renewal(w);
}

/* Takes the lock, or converts the one that is held. */
static void take(struct worker *w, int operation)
{
	struct event before = w->lock;
	const char *mode = operation == LOCK_EX ? "X" : "S";
	int64_t call = w->held || w->crowd ? tell_begin(w, "lock", mode) : now_ns(), deadline = 0;
	int error = call_lock(w, operation);

	w->lock.mode = mode;
	w->lock.token = 0;
	if (error == 0) {
		deadline = deadline_of(w->fd);
		w->lock.token = dlock_token(w->fd);
		/* Lost since the return: then the grant is not worth telling, but the loss is. */
		if (deadline == 0 || w->lock.token == 0)
			error = ESTALE;
	}
	/* EBADF: closed while it waited, which comes next. */
	tell_call(w, "lock", error == EINPROGRESS ? EBADF : error, call, deadline);
	w->lock.patience = before.patience = NULL;
	if (error == 0)
		w->held = true;
	else if (error == ESTALE)
		clear_loss(w);
	else
		after_failure(w, &before);
}

static void ask(struct worker *w, int operation)
{
	if (w->held && w->lock.mode[0] == (operation == LOCK_EX ? 'X' : 'S'))
		take_again(w, operation);
	else
		take(w, operation);
}

/* --- what is done under a lock -------------------------------------------------------------- */

static void use_register(struct worker *w)
{
	int64_t value;

	if (!register_read(&w->lock, &value) || w->lock.mode[0] != 'X')
		return;
	if (chance(&w->random, 3) == 0)
		sleep_us((int64_t)chance(&w->random, 3000));
	register_write(&w->lock, value + 1);
}

static void prove(struct worker *w)
{
	int64_t call = now_ns();
	int error = outcome(w, dlock_verify(w->fd), false);

	tell_call(w, "verify", error, call, error == 0 ? deadline_of(w->fd) : 0);
	/* Lost, or no proof: who wanted to commit would not. */
	if (error == ESTALE)
		clear_loss(w);
	else
		tell_renewal(w);
}

static void let_travel(struct worker *w)
{
	char bytes[64];

	snprintf(bytes, sizeof(bytes), "%s %llu", history_proc(), (unsigned long long)++w->data);
	outcome(w, dlock_set_data(w->fd, bytes, strlen(bytes)), false);
}

/* Mostly short; now and then for longer than a lease, so that renewal counts. */
static void hold(struct worker *w)
{
	uint64_t kind = w->foreign ? 50 : chance(&w->random, 100);
	int64_t until = now_ns() + 1000 * (int64_t)(is_long(w->lock.name) ? chance(&w->random, LONG_US) :
	                                   kind == 0          ? 1000000 + chance(&w->random, 4000000) :
	                                   kind < 5           ? chance(&w->random, 300000)
	                                                      : chance(&w->random, 8000));

	while (w->held && !stopping && now_ns() < until) {
		int64_t left = (until - now_ns()) / 1000;

		sleep_us(left < 100000 ? left : 100000);
		if (dlock_remaining(w->fd) == 0)
			gone(w);
		else
			tell_renewal(w);
	}
}

static void under_lock(struct worker *w)
{
	use_register(w);
	hold(w);
	if (w->held && chance(&w->random, 4) == 0)
		prove(w);
	if (w->held && !w->left && chance(&w->random, 8) == 0 && w->lock.mode[0] == 'X')
		let_travel(w);
	if (w->held && !w->left && chance(&w->random, 4) == 0)
		use_register(w);
}

/* --- rounds ---------------------------------------------------------------------------------- */

static void open_name(struct worker *w, const char *name)
{
	do
		w->fd = dlock_open(name, DLOCK_CLOEXEC | (w->nonblock ? DLOCK_NONBLOCK : 0));
	while (w->fd < 0 && (errno == EMFILE || errno == EAGAIN));
	if (w->fd < 0) {
		fprintf(stderr, "dlock_open: %s\n", dlock_error_detail());
		_exit(2);
	}
	w->held = w->left = false;
	w->lock = (struct event){.fd = atomic_fetch_add(&descriptors, 1), .name = name, .mode = "-"};
}

static void open_one(struct worker *w)
{
	const char *name;

	do
		name = w->names[chance(&w->random, (uint64_t)w->name_count)];
	while (is_long(name) != w->lasting);
	w->foreign = chance(&w->random, 4) == 0 && access(getenv("TORTURE_FOREIGN"), F_OK) == 0;
	w->nonblock = chance(&w->random, 5) == 0;
	open_name(w, w->foreign ? "foreign" : name);
}

static void give_back(struct worker *w)
{
	int64_t call = tell_begin(w, "unlock", w->lock.mode);

	outcome(w, dlock_unlock(w->fd), false);
	w->held = false;
	tell_call(w, "unlock", 0, call, 0);
	w->lock.token = 0;
}

/* A wait that is still under way ends with it, and so does a lock that is held. close(2)
 * does the same, in the background. */
static void close_one(struct worker *w)
{
	int64_t call = tell_begin(w, "close", w->lock.mode);
	int r = chance(&w->random, 4) == 0 ? close(w->fd) : dlock_close(w->fd);

	tell_call(w, "close", r == 0 ? 0 : errno, call, 0);
	w->held = false;
}

static void *run(void *argument)
{
	struct worker *w = argument;

	while (!stopping) {
		open_one(w);
		for (uint64_t left = 1 + chance(&w->random, 4); left > 0 && !stopping && !w->left; left--) {
			ask(w, chance(&w->random, 10) < 7 ? LOCK_EX : LOCK_SH);
			if (w->held && !w->left)
				under_lock(w);
			if (w->held && !w->left && chance(&w->random, 4) != 0)
				give_back(w);
			sleep_us((int64_t)chance(&w->random, 40000));
		}
		close_one(w);
	}
	return NULL;
}

/* Again and again at the end of the queue of one name. Most hold it for up to 3 ms; that one in CROWD_LONG holds it
 * for some time makes the queue long and leaves the machine to others. */
static void *queue_up(void *argument)
{
	struct worker *w = argument;

	while (!stopping) {
		open_name(w, w->names[0]);
		for (uint64_t left = 1 + chance(&w->random, 32); left > 0 && !stopping; left--) {
			take(w, chance(&w->random, 10) < 9 ? LOCK_EX : LOCK_SH);
			if (!w->held)
				continue;
			use_register(w);
			sleep_us((int64_t)chance(&w->random, chance(&w->random, CROWD_LONG) == 0 ? CROWD_LONG_US : CROWD_US));
			give_back(w);
			sleep_us((int64_t)chance(&w->random, CROWD_US));
		}
		close_one(w);
	}
	return NULL;
}

/* Interrupts single waits by a signal, and all of them in the end. */
static void tick(int first, int count, uint64_t *random)
{
	for (int i = first; i < count; i++)
		if (stopping || (workers[i].interruptible && chance(random, 30) == 0))
			pthread_kill(workers[i].thread, SIGUSR1);
	sleep_us(50000);
}

/* How many threads there are, ended or not. */
static int start_threads(uint64_t seed, int threads, char **names, bool crowd)
{
	struct sigaction action = {.sa_handler = nothing};
	int name_count = 0;

	sigemptyset(&action.sa_mask);
	sigaction(SIGUSR1, &action, NULL);
	while (names[name_count] != NULL)
		name_count++;
	threads = threads < THREADS_MAX ? threads : THREADS_MAX;
	for (int i = 0; i < threads; i++) {
		workers[i].names = names;
		workers[i].name_count = name_count;
		workers[i].lasting = i % 3 == 0;
		workers[i].crowd = crowd;
		workers[i].random = seed * 1000 + (uint64_t)i;
		if (pthread_create(&workers[i].thread, NULL, crowd ? queue_up : run, &workers[i]) != 0)
			_exit(2);
	}
	return threads;
}

static int end_threads(int threads, uint64_t *random)
{
	for (int ended = 0; ended < threads; tick(ended, threads, random))
		while (ended < threads && pthread_tryjoin_np(workers[ended].thread, NULL) == 0)
			ended++;
	return 0;
}

int run_locks(uint64_t seed, int threads, char **names)
{
	uint64_t random = seed;

	threads = start_threads(seed, threads, names, false);
	while (!stopping)
		tick(0, threads, &random);
	return end_threads(threads, &random);
}

/* Nobody's place in a queue is judged by the time in which its process did not run: that is told. */
int run_crowd(uint64_t seed, int threads, char **names)
{
	uint64_t random = seed;
	int64_t before = now_ns();

	threads = start_threads(seed, threads, names, true);
	while (!stopping) {
		int64_t now;

		sleep_us(BEAT_US);
		now = now_ns();
		if (now - before > LATE_NS)
			tell_late(before, now);
		before = now;
	}
	return end_threads(threads, &random);
}
