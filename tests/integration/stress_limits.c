/*
 * stress_limits.c - the library at the limits of its process: descriptors, memory,
 * threads, forks, and very many of everything.
 *
 * A plain program, so that sanitizers and valgrind can watch it. The linker puts
 * the functions below in the place of malloc() and the like for the library's own
 * code, to let any one of its requests for memory fail.
 *
 * Each fresh start of the library is tried in a child, because a process starts
 * it once. Children only exit; the parent judges.
 */
#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/stress.h"

/* ---- memory that fails ---- */

/* Declared here because the linker makes them. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);

/* Only where LeakSanitizer is linked in. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

/* It keeps descriptors of its own in the process, and has its own limit for them. */
static bool on_valgrind(void)
{
	const char *preloaded = getenv("LD_PRELOAD");

	return preloaded && strstr(preloaded, "vgpreload");
}

enum who { WHO_NOBODY, WHO_CALLER, WHO_ALL };

static atomic_int fail_who;
static atomic_int fail_at;      /* the request that fails, counted from 1 */
static atomic_bool fail_onward; /* and all after it */
static atomic_int requests;
static _Thread_local bool is_caller;

static bool fails(void)
{
	int who = atomic_load(&fail_who), number;

	if (who == WHO_NOBODY || (who == WHO_CALLER && !is_caller))
		return false;
	number = atomic_fetch_add(&requests, 1) + 1;
	if (number == atomic_load(&fail_at) || (number > atomic_load(&fail_at) && atomic_load(&fail_onward))) {
		errno = ENOMEM;
		return true;
	}
	return false;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
	return fails() ? NULL : __real_strndup(text, size);
}

static void arm(enum who who, int at, bool onward)
{
	is_caller = true;
	atomic_store(&requests, 0);
	atomic_store(&fail_at, at);
	atomic_store(&fail_onward, onward);
	atomic_store(&fail_who, who);
}

/* Whether the request that was to fail has come. */
static bool disarm(void)
{
	atomic_store(&fail_who, WHO_NOBODY);
	return atomic_load(&requests) >= atomic_load(&fail_at);
}

static bool excused(int result, const char *what, int at)
{
	int error = errno;

	if (result >= 0)
		return true;
	/* Masters to which nothing can be sent are no quorum; what could not be given back there is in the way. */
	if ((error == ENOMEM || error == ENOLCK || error == ETIMEDOUT) && *dlock_error_detail())
		return true;
	fprintf(stderr, "%s with request %d for memory failing: errno %s, \"%s\"\n", what, at,
	        strerrorname_np(error) ? strerrorname_np(error) : "0", dlock_error_detail());
	return false;
}

static int ignore_holder(const struct dlock_holder *holder, void *arg)
{
	(void)holder;
	(void)arg;
	return 0;
}

static int ignore_master(const struct dlock_master *master, void *arg)
{
	(void)master;
	(void)arg;
	return 0;
}

/* More than any buffer has room for that is there already. */
static char large[300000];

/* Every public function that may want memory. A failure must be said to be one. */
static bool use_descriptor(const struct dlock_options *options, int at)
{
	int fd = dlock_open_with("memory", DLOCK_CLOEXEC, options), result;
	bool fine = excused(fd, "dlock_open", at);

	if (fd < 0)
		return fine;
	fine = excused(dlock_set_data(fd, "memory", 6), "dlock_set_data", at) && fine;
	result = dlock_timedlock(fd, LOCK_SH, 200);
	fine = excused(result, "LOCK_SH", at) && fine;
	if (result == 0) {
		fine = excused(dlock_verify(fd) < 0 && errno != ESTALE ? -1 : 0, "dlock_verify", at) && fine;
		fine = excused(dlock_timedlock(fd, LOCK_EX, 200), "conversion", at) && fine;
		fine = excused(dlock_set_data(fd, large, sizeof(large)) < 0 && errno != ESTALE ? -1 : 0, "dlock_set_data of much",
		               at) && fine;
	}
	fine = excused(dlock_unlock(fd), "LOCK_UN", at) && fine;
	if (dlock_close(fd) < 0) {
		fprintf(stderr, "dlock_close with request %d failing: %m\n", at);
		fine = false;
	}
	return fine;
}

/* Every look-up that was begun ends, whatever has failed. */
static bool use_looks(const struct dlock_options *options, int at)
{
	struct dlock_looks *looks = dlock_looks_new(options);
	bool fine = excused(looks ? 0 : -1, "dlock_looks_new", at);
	struct pollfd ready = {.fd = looks ? dlock_looks_fd(looks) : -1, .events = POLLIN};
	int started = 0;

	for (int i = 0; looks && i < 3; i++) {
		int result = dlock_looks_start(looks, i < 2 ? "memory" : NULL, (uint64_t)i);

		fine = excused(result, "dlock_looks_start", at) && fine;
		started += result == 0;
	}
	for (; started > 0; started--) {
		if (poll(&ready, 1, 10000) != 1) {
			fprintf(stderr, "with request %d failing a look-up does not end\n", at);
			fine = false;
			break;
		}
		fine = excused(dlock_looks_next(looks, NULL, ignore_holder, NULL), "dlock_looks_next", at) && fine;
	}
	/* With one that goes on. */
	if (looks)
		fine = excused(dlock_looks_start(looks, "memory", 9), "dlock_looks_start", at) && fine;
	dlock_looks_free(looks);
	return fine;
}

static bool use_options(struct dlock_options *options, int at)
{
	bool fine = excused(dlock_options_resolve(options), "dlock_options_resolve", at);

	/* Of one that could not be resolved, what was set is still told. */
	return CHECK(dlock_options_get(options, "quarantine") != NULL) && fine;
}

static bool use_all(const struct servers *servers, int at)
{
	struct dlock_options *options = dlock_options_new();
	bool fine = excused(options ? 0 : -1, "dlock_options_new", at), set;

	if (!options)
		return fine;
	/* Short, because without memory every wait is waited out. */
	set = dlock_options_set(options, "servers", servers_list(servers)) == 0 &&
	      dlock_options_set(options, "quarantine", "off") == 0 &&
	      dlock_options_set(options, "node_timeout", "50") == 0 &&
	      dlock_options_set(options, "quorum_timeout", "100") == 0;
	fine = excused(set ? 0 : -1, "dlock_options_set", at) && fine;
	if (set) {
		fine = use_descriptor(options, at) && fine;
		fine = excused(dlock_query_with("memory", ignore_holder, NULL, options), "dlock_query", at) && fine;
		fine = excused(dlock_list_with(ignore_holder, NULL, options), "dlock_list", at) && fine;
		fine = excused(dlock_masters_with(ignore_master, NULL, options), "dlock_masters", at) && fine;
		fine = excused(dlock_break_with("memory", options), "dlock_break", at) && fine;
		fine = use_looks(options, at) && fine;
		fine = use_options(options, at) && fine;
		fine = excused(dlock_query_with("memory", ignore_holder, NULL, options), "dlock_query, resolved", at) && fine;
	}
	dlock_options_free(options);
	return fine;
}

/* All is as if nothing had ever failed; every master votes again. */
static bool works(const struct servers *servers)
{
	struct dlock_options *options = stress_options(servers);
	int64_t end_ms = stress_now_ms() + 10000;
	struct dlock_stat stat = {0};
	int fd = options ? dlock_open_with("works", DLOCK_CLOEXEC, options) : -1;
	bool locked = CHECK_CALL(fd >= 0) && CHECK_CALL(dlock_timedlock(fd, LOCK_EX, 10000) == 0);

	while (fd >= 0 && dlock_stat(fd, &stat, sizeof(stat)) == 0 && stat.masters_up < stat.masters &&
	       stress_now_ms() < end_ms)
		stress_sleep_ms(5);
	locked = CHECK(stat.masters_up == (uint32_t)servers_count(servers)) && locked;
	locked = CHECK_CALL(fd >= 0 && dlock_close(fd) == 0) && locked;
	dlock_options_free(options);
	return locked;
}

/* In a child: the library's first start with a request failing. */
static int fail_once_fresh(struct servers *servers, enum who who, int at, bool onward)
{
	bool reached, fine;

	arm(who, at, onward);
	fine = use_all(servers, at);
	reached = disarm();
	fine = works(servers) && fine;
	if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
		fine = false;
	return !fine ? 1 : reached ? 0 : 2;
}

static void test_memory_fresh(struct servers *servers, enum who who, bool onward)
{
	int step = 100 / stress_times(100), status = 0, tried = 0;

	for (int at = 1; status == 0 && at < 5000; at += step, tried++) {
		pid_t child = fork();

		if (child == 0)
			_exit(fail_once_fresh(servers, who, at, onward));
		status = stress_reap(child, 60000);
		if (!CHECK(status == 0 || status == 2))
			fprintf(stderr, "request %d%s, %s\n", at, onward ? " and all after it" : "",
			        who == WHO_ALL ? "in all threads" : "in the calling thread");
	}
	CHECK(status == 2 && tried > 1);
	CHECK(stress_all_free(servers));
}

/* In a process that goes on: nothing may pile up. */
static void test_memory_warm(struct servers *servers)
{
	int step = 100 / stress_times(100), descriptors;
	bool reached = true;

	CHECK(works(servers) && use_all(servers, 0));
	descriptors = stress_descriptors();
	for (int at = 1; reached && at < 5000; at += step) {
		arm(WHO_ALL, at, false);
		CHECK(use_all(servers, at));
		reached = disarm();
		if (!CHECK(works(servers)))
			break;
		CHECK(stress_descriptors() == descriptors);
	}
	CHECK(!reached);
	CHECK(stress_all_free(servers));
}

/* A failure for want of memory is not explained by the one before. */
static void test_memory_sentence(struct servers *servers)
{
	struct dlock_options *options = stress_options(servers);
	int fd = dlock_open_with("sentence", DLOCK_CLOEXEC, options);

	CHECK_CALL(dlock_set_data(fd, large, DLOCK_DATA_MAX + 1) == -1 && errno == E2BIG);
	arm(WHO_CALLER, 1, false);
	CHECK_CALL(dlock_set_data(fd, "x", 1) == -1 && errno == ENOMEM);
	disarm();
	CHECK_CALL(strcmp(dlock_error_detail(), "out of memory") == 0);
	CHECK_CALL(dlock_set_data(fd, "x", 1) == 0 && dlock_close(fd) == 0);
	dlock_options_free(options);
}

/* ---- descriptors ---- */

static void limit_descriptors(rlim_t count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = count;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* In a child: `spare` descriptors are left for the library's first start. */
static int start_with_spare(struct servers *servers, int spare)
{
	struct dlock_options *options = stress_options(servers);
	struct rlimit limit;
	int highest, fd;

	while ((highest = dup(0)) < 100) /* no gaps, so that only `spare` are left */
		;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit_descriptors((rlim_t)(highest + 1 + spare));
	fd = dlock_open_with("spare", DLOCK_CLOEXEC, options);
	if (fd < 0)
		CHECK_CALL(errno == EMFILE && strstr(dlock_error_detail(), "open files"));
	else
		CHECK_CALL(dlock_trylock(fd) == 0);
	limit_descriptors(limit.rlim_cur);
	if (fd >= 0)
		CHECK_CALL(dlock_verify(fd) == 0 && dlock_close(fd) == 0);
	works(servers);
	dlock_options_free(options);
	return stress_failures() ? 1 : fd < 0 ? 0 : 2;
}

/* In a child: the connections break, and there is no descriptor for new ones. */
static int reconnect_without_spare(struct servers *servers)
{
	struct dlock_options *options = stress_options(servers);
	int fd = dlock_open_with("later", DLOCK_CLOEXEC, options), tries = 0;
	redisContext *killers[3];
	struct rlimit limit;

	CHECK_CALL(dlock_lock(fd) == 0 && dlock_unlock(fd) == 0);
	for (int i = 0; i < 3; i++)
		killers[i] = redisConnectUnix(servers_address(servers, i) + strlen("unix:"));
	getrlimit(RLIMIT_NOFILE, &limit);
	limit_descriptors(0);
	for (int i = 0; i < 3; i++)
		freeReplyObject(redisCommand(killers[i], "CLIENT KILL TYPE normal SKIPME yes"));
	while (dlock_trylock(fd) == 0 && dlock_unlock(fd) == 0 && tries++ < 1000)
		stress_sleep_ms(1);
	CHECK_CALL(errno == ENOLCK);
	while (dlock_trylock(fd) == -1 && errno == ENOLCK && !strstr(dlock_error_detail(), "Too many open files") &&
	       tries++ < 2000)
		stress_sleep_ms(1);
	CHECK_CALL(strstr(dlock_error_detail(), "Too many open files") != NULL);
	CHECK(dlock_open_with("another", 0, options) == -1 && errno == EMFILE && *dlock_error_detail());
	limit_descriptors(limit.rlim_cur);
	CHECK_CALL(dlock_timedlock(fd, LOCK_EX, 10000) == 0 && dlock_close(fd) == 0);
	for (int i = 0; i < 3; i++)
		redisFree(killers[i]);
	works(servers);
	dlock_options_free(options);
	return stress_failures() ? 1 : 0;
}

static void test_descriptor_limit(struct servers *servers)
{
	int seen[3] = {0};
	pid_t child;

	for (int spare = 0; spare <= 9; spare++) {
		int status;

		child = fork();
		if (child == 0)
			_exit(start_with_spare(servers, spare));
		status = stress_reap(child, 60000);
		if (CHECK(status == 0 || status == 2))
			seen[status]++;
		else
			fprintf(stderr, "with %d descriptors left\n", spare);
	}
	CHECK(seen[0] > 0 && seen[2] > 0);
	child = fork();
	if (child == 0)
		_exit(reconnect_without_spare(servers));
	CHECK(stress_reap(child, 60000) == 0);
	CHECK(stress_all_free(servers));
}

/* ---- threads and forks ---- */

static void *nothing(void *argument)
{
	return argument;
}

static void test_one_thread(struct servers *servers)
{
	struct dlock_options *options = stress_options(servers);
	struct dlock_options *others = stress_options(servers);
	pthread_t thread;
	int fds[3], before;

	/* ThreadSanitizer starts one of its own with the first. */
	CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
	before = stress_threads();
	CHECK(dlock_options_set(others, "prefix", "other:") == 0 && dlock_options_set(others, "max_ttl", "20000") == 0);
	CHECK(dlock_open_with("", 0, options) == -1 && dlock_unlock(0) == -1);
	CHECK(*dlock_strerror(ENOLCK) && *dlock_version());
	CHECK(stress_threads() == before);
	fds[0] = dlock_open_with("a", 0, options);
	CHECK(stress_threads() == before + 1);
	fds[1] = dlock_open_with("b", DLOCK_NONBLOCK, options);
	fds[2] = dlock_open_with("c", 0, others);
	CHECK_CALL(dlock_lock(fds[0]) == 0);
	CHECK_CALL(dlock_query_with("a", NULL, NULL, options) == 1);
	CHECK(stress_threads() == before + 1);
	for (int i = 0; i < 3; i++)
		CHECK_CALL(dlock_close(fds[i]) == 0);
	CHECK(stress_threads() == before + 1);
	dlock_options_free(others);
	dlock_options_free(options);
}

/* Its own descriptors in the places of those that were the keeper's. */
static int grandchild_keeps_files(void)
{
	int files[64], count = 0, kept = 0;
	pid_t child;

	while (count < 64 && (files[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	child = fork();
	if (child == 0) {
		for (int i = 0; i < count; i++)
			kept += fcntl(files[i], F_GETFD) >= 0;
		_exit(kept == count ? 0 : 1);
	}
	for (int i = 0; i < count; i++)
		close(files[i]);
	return stress_reap(child, 20000);
}

/* In a child of a process that holds a lock on `fd`. */
static int use_after_fork(struct servers *servers, int fd, int expected)
{
	struct dlock_options *options = stress_options(servers);
	struct dlock_stat stat;
	int own, count = -1;

	CHECK(stress_descriptors() == expected || on_valgrind());
	CHECK(dlock_unlock(fd) == -1 && errno == ECHILD && strstr(dlock_error_detail(), "fork"));
	CHECK(dlock_stat(fd, &stat, sizeof(stat)) == -1 && errno == ECHILD);
	CHECK(grandchild_keeps_files() == 0);
	for (int i = 0; i < 3; i++) {
		own = dlock_open_with("forked", DLOCK_CLOEXEC, options);
		CHECK_CALL(own >= 0 && dlock_trylock(own) == -1 && errno == EWOULDBLOCK);
		CHECK_CALL(dlock_close(own) == 0);
		own = dlock_open_with("child", DLOCK_CLOEXEC, options);
		CHECK_CALL(own >= 0 && dlock_lock(own) == 0 && dlock_close(own) == 0);
		count = i ? count : stress_descriptors();
		CHECK(stress_descriptors() == count);
	}
	CHECK(dlock_unlock(fd) == -1 && errno == ECHILD);
	CHECK(dlock_close(fd) == 0 && dlock_close(fd) == -1 && errno == EBADF);
	CHECK(stress_descriptors() == count - 1);
	dlock_options_free(options);
	return stress_failures() ? 1 : 0;
}

static void test_fork(struct servers *servers, int before_library)
{
	static struct dlock_options *options; /* static as in main() */
	pid_t child;
	int fd;

	options = stress_options(servers);
	fd = dlock_open_with("forked", DLOCK_CLOEXEC, options);
	CHECK_CALL(dlock_lock(fd) == 0);
	child = fork();
	if (child == 0)
		_exit(use_after_fork(servers, fd, before_library + 1));
	CHECK(stress_reap(child, 60000) == 0);
	CHECK_CALL(dlock_verify(fd) == 0); /* the child's close has not touched it */
	CHECK_CALL(dlock_close(fd) == 0);
	dlock_options_free(options);
	CHECK(stress_all_free(servers));
}

/* ---- very many ---- */

static void cycle(const struct dlock_options *options, int i, bool plain)
{
	char name[32];
	int fd;

	/* close(2) releases in the background: on one name the next lock would have to wait. */
	snprintf(name, sizeof(name), "cycle %d", plain ? i % 64 : 0);
	fd = dlock_open_with(name, DLOCK_CLOEXEC, options);

	CHECK_CALL(fd >= 0 && dlock_lock(fd) == 0);
	CHECK_CALL((plain ? close(fd) : dlock_close(fd)) == 0);
}

static void test_cycles(struct servers *servers, bool plain)
{
	struct dlock_options *options = stress_options(servers);
	int times = stress_times(10000), descriptors;
	long resident_kib;

	for (int i = 0; i < times / 10 + 1; i++)
		cycle(options, i, plain);
	CHECK(stress_all_free(servers));
	descriptors = stress_descriptors();
	resident_kib = stress_resident_kib();
	for (int i = 0; i < times && stress_failures() == 0; i++)
		cycle(options, i, plain);
	CHECK(stress_all_free(servers));
	CHECK(stress_descriptors() == descriptors);
	/* 10,000 locks that left only 512 bytes each would be seen. (Sanitizers hold back what was freed.) */
	if (!is_sanitized && !CHECK(stress_resident_kib() < resident_kib + 5000))
		fprintf(stderr, "%ld KiB, then %ld KiB\n", resident_kib, stress_resident_kib());
	dlock_options_free(options);
}

/* Descriptors that are open at once, on one connection a master. */
static void test_many_at_once(struct servers *servers)
{
	struct dlock_options *options = stress_options(servers);
	int count = stress_times(400), before, *fds = calloc((size_t)count, sizeof(*fds));
	char name[32];

	works(servers);
	before = stress_descriptors();
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		fds[i] = dlock_open_with(name, DLOCK_CLOEXEC, options);
		CHECK_CALL(fds[i] >= 0 && dlock_lock(fds[i]) == 0);
	}
	CHECK(stress_descriptors() == before + 2 * count);
	CHECK_CALL(dlock_list_with(ignore_holder, NULL, options) == count);
	for (int i = 0; i < count; i++)
		CHECK((i % 2 ? close(fds[i]) : dlock_close(fds[i])) == 0);
	CHECK(stress_all_free(servers));
	CHECK(stress_descriptors() == before);
	free(fds);
	dlock_options_free(options);
}

int main(void)
{
	const struct servers_options three = {.count = 3};
	int status = servers_require(), before;
	static struct servers *servers; /* static: valgrind finds it in children that _exit() */

	if (status)
		return status;
	servers = servers_start(&three);
	if (!servers)
		return 1;
	before = stress_descriptors();
	if (!on_valgrind())
		test_descriptor_limit(servers);
	test_memory_fresh(servers, WHO_CALLER, false);
	test_memory_fresh(servers, WHO_ALL, false);
	test_memory_fresh(servers, WHO_ALL, true);
	test_one_thread(servers);
	test_fork(servers, before);
	test_memory_warm(servers);
	test_memory_sentence(servers);
	test_cycles(servers, false);
	test_cycles(servers, true);
	test_many_at_once(servers);
	servers_free(servers);
	return stress_failures() ? 1 : 0;
}
