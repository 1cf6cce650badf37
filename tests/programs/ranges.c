/*
 * ranges.c - are byte ranges and flock locks in a mount what they are in a local file
 * system?
 *
 *   ranges [-s SEED] [-n STEPS] LOCAL OTHER    the cases below and STEPS random steps,
 *                                              in both folders at the same time
 *   ranges -r A B                              two mounts as two hosts: a mount has the
 *                                              whole file, whatever range is asked for
 *
 * Tells its cases as TAP.
 *
 * Each folder is a world with processes of its own. A step is one call by one process;
 * it is sent to the same process of both worlds, and what they answer must be the same:
 * the result, the errno, the lock that is in the way, and whether the call waits. What
 * the local file system says is right, so that no case here needs to know.
 *
 * Whether a call waits there is read from /proc/locks and not from a clock; so a slow
 * machine makes this slower, and nothing else. A call that waits in one world must not
 * end before that in the other, and must end when it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 5
#define SLOTS 4
#define WORLDS 2
#define FILE_SIZE 40
#define PATIENCE_MS 10000
#define LOCKS_MAX 64
#define STEP_MAX 128

enum verb {
	OPEN, CLOSE, DUP, SEEK, SET, WAIT, TEST, OFD_SET, OFD_WAIT, OFD_TEST,
	FLOCK, FLOCK_WAIT, FORK, EXIT, KILL, SIGNAL, VERBS
};

static const char *const verb_names[VERBS] = {
	[OPEN] = "open", [CLOSE] = "close", [DUP] = "dup", [SEEK] = "seek", [SET] = "set", [WAIT] = "wait", [TEST] = "test",
	[OFD_SET] = "ofd-set", [OFD_WAIT] = "ofd-wait", [OFD_TEST] = "ofd-test",
	[FLOCK] = "flock", [FLOCK_WAIT] = "flock-wait",
	[FORK] = "fork", [EXIT] = "exit", [KILL] = "kill", [SIGNAL] = "signal",
};

/* One call by one process. */
struct step {
	enum verb verb;
	int process;
	int slot;                 /* its descriptor */
	int other;                /* DUP: the new slot, FORK: the new process, OPEN: flags, FLOCK: the operation */
	int type, whence;
	int64_t start, length;
};

struct answer {
	int error;                /* 0 or an errno */
	pid_t pid;                /* of who answers; after FORK, of the child */
	int type, whence;         /* what F_GETLK said */
	int64_t start, length;
	pid_t holder;
};

struct worker {
	pid_t pid;                /* 0: not started, or gone */
	int pidfd;
	int ours, theirs;         /* the two ends of the socket */
	bool waits;               /* a call has not come back yet */
};

struct world {
	const char *folders[2];   /* of the first host, and of the second where there are two */
	char paths[2][PATH_MAX];
	struct stat file;
	struct worker workers[PROCESSES];
};

static struct world worlds[WORLDS];
static bool two_hosts;            /* one world, of two hosts; its last processes are on the second */
static bool by_chance;            /* the steps are random ones */
static int tests;
static char trouble[4096];        /* why the case that runs has failed; empty: it has not */
static char history[8192];        /* its steps, for that */

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *format, ...)
{
	va_list arguments;

	if (trouble[0])
		return;
	va_start(arguments, format);
	vsnprintf(trouble, sizeof trouble, format, arguments);
	va_end(arguments);
}

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static void note(const char *line)
{
	size_t length = strlen(history), more = strlen(line) + 1;

	/* The last ones are what matters. */
	if (length + more + 1 > sizeof history) {
		memmove(history, history + sizeof history / 2, length + 1 - sizeof history / 2);
		length = strlen(history);
	}
	snprintf(history + length, sizeof history - length, "%s\n", line);
}

/* ---- the processes of a world ---------------------------------------------------- */

static int slots[SLOTS];
static struct world *here;        /* in a worker: its world, and which one it is there */
static int myself;

static const char *my_path(void)
{
	return here->paths[two_hosts && myself >= 2];
}

static void nothing(int signal)
{
	(void)signal;
}

static int open_flags(int flags)
{
	return flags | O_CREAT | O_CLOEXEC;
}

static int do_lock(const struct step *step, struct answer *ret)
{
	static const int commands[VERBS] = {
		[SET] = F_SETLK, [WAIT] = F_SETLKW, [TEST] = F_GETLK,
		[OFD_SET] = F_OFD_SETLK, [OFD_WAIT] = F_OFD_SETLKW, [OFD_TEST] = F_OFD_GETLK,
	};
	struct flock lock = {
		.l_type = (short)step->type,
		.l_whence = (short)step->whence,
		.l_start = step->start,
		.l_len = step->length,
	};
	int result = fcntl(slots[step->slot], commands[step->verb], &lock);

	if (result == 0 && (step->verb == TEST || step->verb == OFD_TEST)) {
		ret->type = lock.l_type;
		if (lock.l_type != F_UNLCK) {
			ret->whence = lock.l_whence;
			ret->start = lock.l_start;
			ret->length = lock.l_len;
			ret->holder = lock.l_pid;
		}
	}
	return result;
}

static void work(int process);

static int do_fork(int process, struct answer *ret)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, 0);
		work(process);
	}
	ret->pid = pid;
	return pid < 0 ? -1 : 0;
}

static int do_dup(const struct step *step)
{
	return slots[step->other] = dup(slots[step->slot]);
}

static int do_step(const struct step *step, struct answer *ret)
{
	int fd = slots[step->slot];

	switch (step->verb) {
	case OPEN:
		return slots[step->slot] = open(my_path(), open_flags(step->other), 0644);
	case CLOSE:
		slots[step->slot] = -1;
		return close(fd);
	case DUP:
		return do_dup(step);
	case SEEK:
		return (int)lseek(fd, (off_t)step->start, SEEK_SET);
	case FLOCK:
		return flock(fd, step->other | LOCK_NB);
	case FLOCK_WAIT:
		return flock(fd, step->other);
	case FORK:
		return do_fork(step->other, ret);
	case EXIT:
		_exit(0);
	default:
		return do_lock(step, ret);
	}
}

/* Carries out what comes by the socket, until nothing comes any more. */
static void work(int process)
{
	int socket = here->workers[process].theirs;
	struct step step;

	myself = process;
	while (recv(socket, &step, sizeof step, 0) == sizeof step) {
		struct answer answer = { .pid = getpid() };

		answer.error = do_step(&step, &answer) < 0 ? errno : 0;
		if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
			break;
	}
	_exit(0);
}

static void watch(struct worker *worker, pid_t pid)
{
	worker->pid = pid;
	worker->waits = false;
	worker->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (worker->pidfd < 0)
		die("pidfd_open");
}

static void start_worker(struct world *world, int process)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		here = world;
		for (int i = 0; i < SLOTS; i++)
			slots[i] = -1;
		work(process);
	}
	watch(&world->workers[process], pid);
}

/* The kernel has taken away what it had open before it says that it has ended. */
static void await_end(struct worker *worker)
{
	struct pollfd poll_end = { .fd = worker->pidfd, .events = POLLIN };
	int status;

	if (poll(&poll_end, 1, PATIENCE_MS) != 1)
		fail("a process does not end");
	close(worker->pidfd);
	/* Another's child is not ours to wait for. */
	waitpid(worker->pid, &status, WNOHANG);
	worker->pid = 0;
	worker->waits = false;
}

static void begin_file(struct world *world, int host, int number)
{
	char *path = world->paths[host];
	int fd;

	snprintf(path, sizeof world->paths[host], "%s/ranges.%d.%d", world->folders[host], getpid(), number);
	fd = open(path, open_flags(O_RDWR), 0644);
	if (fd < 0 || ftruncate(fd, FILE_SIZE) || fstat(fd, &world->file))
		die(path);
	close(fd);
}

/* All of a case anew: processes without anything open, and a file of its own. */
static void begin_world(struct world *world, int number)
{
	for (int i = 0; i < 2 && world->folders[i]; i++)
		begin_file(world, i, number);
	for (int i = 0; i < PROCESSES; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
			die("socketpair");
		world->workers[i] = (struct worker){ .ours = pair[0], .theirs = pair[1], .pidfd = -1 };
	}
	/* The last one is for FORK. */
	for (int i = 0; i < PROCESSES - 1; i++)
		start_worker(world, i);
}

static void end_world(struct world *world)
{
	for (int i = 0; i < PROCESSES; i++) {
		struct worker *worker = &world->workers[i];

		if (worker->pid) {
			kill(worker->pid, SIGKILL);
			await_end(worker);
		}
		close(worker->ours);
		close(worker->theirs);
	}
	for (int i = 0; i < 2 && world->folders[i]; i++) {
		if (unlink(world->paths[i]))
			fail("unlink %s: %s", world->paths[i], strerror(errno));
	}
}

/* ---- what the local file system has --------------------------------------------- */

struct held {
	bool ofd;
	int type;
	pid_t pid;
	int64_t start, last;
};

/* The locks of a local file as /proc/locks tells them, and how many calls wait for one. */
static int local_locks(const struct world *world, struct held *ret, int *ret_waiting)
{
	FILE *file = fopen("/proc/locks", "re");
	char line[256], wanted[64];
	int count = 0;

	if (!file)
		die("/proc/locks");
	snprintf(wanted, sizeof wanted, " %02x:%02x:%ju ", major(world->file.st_dev), minor(world->file.st_dev),
	         (uintmax_t)world->file.st_ino);
	*ret_waiting = 0;
	while (fgets(line, sizeof line, file)) {
		char kind[16], type[16], end[32];
		struct held *held = &ret[count];

		if (!strstr(line, wanted))
			continue;
		if (strstr(line, "-> ")) {
			(*ret_waiting)++;
			continue;
		}
		if (sscanf(line, "%*s %15s %*s %15s %d %*s %" SCNd64 " %31s", kind, type, &held->pid, &held->start, end) != 5)
			continue;
		if (strcmp(kind, "FLOCK") == 0 || count == LOCKS_MAX - 1)
			continue;
		held->ofd = strcmp(kind, "OFDLCK") == 0;
		held->type = strcmp(type, "WRITE") == 0 ? F_WRLCK : F_RDLCK;
		held->last = strcmp(end, "EOF") == 0 ? INT64_MAX : strtoll(end, NULL, 10);
		count++;
	}
	fclose(file);
	return count;
}

/* How many calls have not come back; one that has may not have been received yet. */
static int waiting(const struct world *world)
{
	int count = 0;

	for (int i = 0; i < PROCESSES; i++) {
		struct pollfd socket = { .fd = world->workers[i].ours, .events = POLLIN };

		count += world->workers[i].waits && poll(&socket, 1, 0) == 0;
	}
	return count;
}

/* ---- one step in both worlds ---------------------------------------------------------- */

/* 1 with an answer, 0 if there was none within `milliseconds`. */
static int receive(struct worker *worker, struct answer *ret, int milliseconds)
{
	struct pollfd socket = { .fd = worker->ours, .events = POLLIN };

	if (poll(&socket, 1, milliseconds) != 1)
		return 0;
	if (recv(worker->ours, ret, sizeof *ret, MSG_DONTWAIT) != sizeof *ret)
		return 0;
	worker->waits = false;
	return 1;
}

static int process_of(const struct world *world, pid_t pid)
{
	for (int i = 0; i < PROCESSES; i++) {
		if (pid > 0 && world->workers[i].pid == pid)
			return i;
	}
	return pid > 0 ? PROCESSES : -1;
}

static const char *type_name(int type)
{
	return type == F_RDLCK ? "r" : type == F_WRLCK ? "w" : "u";
}

static const char *tell(const struct world *world, const struct answer *answer, char *text, size_t size)
{
	if (answer->error)
		snprintf(text, size, "%s", strerrorname_np(answer->error));
	else if (answer->type == 0 && answer->holder == 0 && answer->start == 0 && answer->length == 0)
		snprintf(text, size, "done");
	else
		snprintf(text, size, "%s %" PRId64 " %" PRId64 " of p%d", type_name(answer->type), answer->start,
		         answer->length, process_of(world, answer->holder));
	return text;
}

static bool is_in_the_way(const struct step *step, const struct held *held)
{
	int64_t start = step->start + (step->whence == SEEK_END ? FILE_SIZE : 0);
	int64_t last = step->length ? start + step->length - 1 : INT64_MAX;

	if (step->length < 0) {
		last = start - 1;
		start += step->length;
	}
	return (step->type == F_WRLCK || held->type == F_WRLCK) && held->last >= start && held->start <= last;
}

/*
 * The kernel says of all that a FUSE file system tells it after F_OFD_GETLK that it is an
 * open file description's, which is of no process.
 */
static bool same_holder(const struct step *step, pid_t local, pid_t other)
{
	/* And it does not tell a FUSE file system which locks are those; so here they may have a process. */
	return local == -1 || step->verb == OFD_TEST || process_of(&worlds[0], local) == process_of(&worlds[1], other);
}

/* Which of several locks is told as in the way is open; the mount tells the one that starts first. */
static bool is_first_in_the_way(const struct step *step, const struct answer *answer)
{
	struct held held[LOCKS_MAX];
	int ignored, count = local_locks(&worlds[0], held, &ignored);
	int64_t first = INT64_MAX;
	bool found = false;

	for (int i = 0; i < count; i++) {
		int64_t length = held[i].last == INT64_MAX ? 0 : held[i].last - held[i].start + 1;

		/* One's own is not in the way, nor is what does not touch what was asked for. */
		if (!held[i].ofd && step->verb == TEST && process_of(&worlds[0], held[i].pid) == step->process)
			continue;
		if (held[i].start == answer->start && length == answer->length && held[i].type == answer->type &&
		    same_holder(step, held[i].ofd ? -1 : held[i].pid, answer->holder))
			found = true;
		if (is_in_the_way(step, &held[i]) && held[i].start < first)
			first = held[i].start;
	}
	/*
	 * Which are one's own of an open file description is not told. What a process has by two descriptors is one lock
	 * to who asks and two to the mount, which may have another one in between. And between two local folders, where
	 * these cases are tried themselves, the kernel's order is open.
	 */
	if (step->verb == OFD_TEST || by_chance || worlds[0].file.st_dev == worlds[1].file.st_dev)
		return found;
	return found && answer->start == first;
}

static bool same_lock(const struct step *step, const struct answer *local, const struct answer *other)
{
	if (local->type != other->type && (local->type == F_UNLCK || other->type == F_UNLCK))
		return false;
	if (local->type == F_UNLCK || (step->verb != TEST && step->verb != OFD_TEST))
		return true;
	if (local->type == other->type && local->start == other->start && local->length == other->length &&
	    same_holder(step, local->holder, other->holder))
		return true;
	return is_first_in_the_way(step, other);
}

static void compare(const struct step *step, const struct answer *local, const struct answer *other)
{
	char first[128], second[128];

	if (local->error != other->error || (!local->error && !same_lock(step, local, other)))
		fail("%s: locally %s, here %s", verb_names[step->verb], tell(&worlds[0], local, first, sizeof first),
		     tell(&worlds[1], other, second, sizeof second));
}

/* Whether all calls that have not come back wait for a lock, as the kernel sees it. */
static bool all_wait(void)
{
	struct held held[LOCKS_MAX];
	int count;

	local_locks(&worlds[0], held, &count);
	return count == waiting(&worlds[0]);
}

/*
 * Waits until a process is in a call that waits: who of two calls was first is known
 * only then. False if it comes back instead.
 */
static bool in_its_call(struct worker *worker)
{
	char name[64], text[64];

	snprintf(name, sizeof name, "/proc/%d/syscall", (int)worker->pid);
	for (int tries = 0; tries < 2000; tries++) {
		struct pollfd socket = { .fd = worker->ours, .events = POLLIN };
		FILE *file = fopen(name, "re");
		bool waits_there = false;

		/* "running", or the number of the call. */
		if (file && fgets(text, sizeof text, file))
			waits_there = atoi(text) == SYS_fcntl || atoi(text) == SYS_flock;
		if (file)
			fclose(file);
		if (waits_there)
			return true;
		if (poll(&socket, 1, 1) == 1)
			return false;
	}
	return true;
}

/* What was `step` of this process: 1 answered in both, 0 waits in both, -1 they differ. */
static int settle(const struct step *step)
{
	struct worker *local = &worlds[0].workers[step->process], *other = &worlds[1].workers[step->process];
	struct answer first = { 0 }, second = { 0 };
	int64_t tries = 0;

	while (!receive(local, &first, 1)) {
		if (all_wait()) {
			if (in_its_call(other) || !receive(other, &second, 0))
				return 0;
			/* It may be about to come back here as well. */
			if (!receive(local, &first, 200)) {
				fail("%s waits locally, and does not here", verb_names[step->verb]);
				return -1;
			}
			compare(step, &first, &second);
			return 1;
		}
		if (tries++ > PATIENCE_MS) {
			fail("%s neither comes back nor waits", verb_names[step->verb]);
			return -1;
		}
	}
	if (!receive(other, &second, PATIENCE_MS)) {
		fail("%s comes back locally, and does not here", verb_names[step->verb]);
		return -1;
	}
	compare(step, &first, &second);
	return 1;
}

static struct step waits[PROCESSES];     /* what those that wait have called */

/* After each step: who was waiting, and does not any more? */
static void settle_all(void)
{
	for (int again = 1; again && !trouble[0];) {
		again = 0;
		for (int i = 0; i < PROCESSES && !trouble[0]; i++) {
			if (worlds[0].workers[i].waits && settle(&waits[i]) == 1)
				again = 1;
		}
	}
}

static void send_step(struct world *world, const struct step *step)
{
	struct worker *worker = &world->workers[step->process];

	if (send(worker->ours, step, sizeof *step, MSG_NOSIGNAL) != sizeof *step)
		fail("a process is not there: %s", strerror(errno));
	worker->waits = true;
}

/*
 * The kernel tells a FUSE file system of the last close of a file only after close()
 * has returned, and another call may be faster: what is still in the way there soon
 * after a close is asked for again.
 */
static int64_t closed_ms;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_late(const struct answer *first, const struct answer *second)
{
	bool in_the_way = second->error == EAGAIN || (!second->error && second->type != first->type && first->type == F_UNLCK);

	return first->error == 0 && in_the_way && now_ms() < closed_ms + 2000;
}

static void retry(const struct step *step, const struct answer *first, struct answer *second)
{
	while (is_late(first, second)) {
		poll(NULL, 0, 5);
		*second = (struct answer){ 0 };
		send_step(&worlds[1], step);
		if (!receive(&worlds[1].workers[step->process], second, PATIENCE_MS))
			return;
	}
}

/* A call that comes back at once: 0 or the errno. */
static int call(const struct step *step)
{
	struct answer first = { 0 }, second = { 0 };

	for (int i = 0; i < WORLDS; i++)
		send_step(&worlds[i], step);
	if (!receive(&worlds[0].workers[step->process], &first, PATIENCE_MS) ||
	    !receive(&worlds[1].workers[step->process], &second, PATIENCE_MS)) {
		fail("%s does not come back", verb_names[step->verb]);
		return EIO;
	}
	retry(step, &first, &second);
	compare(step, &first, &second);
	if (step->verb == FORK && !first.error && !second.error) {
		watch(&worlds[0].workers[step->other], first.pid);
		watch(&worlds[1].workers[step->other], second.pid);
	}
	return first.error;
}

/*
 * Linux gives up a shared lock before it tries for the exclusive one, and may end with
 * none; here it is kept if that was refused, which flock(2) permits as well. So that
 * both go on with the same, it is given up.
 */
static void forget_shared(const struct step *step)
{
	const struct step unlock = { .verb = FLOCK, .process = step->process, .slot = step->slot, .other = LOCK_UN };

	if (!trouble[0])
		call(&unlock);
}

static void end_process(const struct step *step)
{
	for (int i = 0; i < WORLDS; i++) {
		struct worker *worker = &worlds[i].workers[step->process];

		if (step->verb == EXIT)
			send_step(&worlds[i], step);
		else
			kill(worker->pid, SIGKILL);
		await_end(worker);
	}
}

static void run_step(const struct step *step)
{
	switch (step->verb) {
	case WAIT:
	case OFD_WAIT:
	case FLOCK_WAIT:
		for (int i = 0; i < WORLDS; i++)
			send_step(&worlds[i], step);
		waits[step->process] = *step;
		settle(step);
		break;
	case EXIT:
	case KILL:
		end_process(step);
		break;
	case SIGNAL:
		for (int i = 0; i < WORLDS; i++)
			kill(worlds[i].workers[step->process].pid, SIGUSR1);
		/* It has a call that waits; the signal ends that. */
		while (worlds[0].workers[step->process].waits && !trouble[0])
			settle(&waits[step->process]);
		if (waits[step->process].verb == FLOCK_WAIT)
			forget_shared(&waits[step->process]);
		break;
	default:
		if (call(step) == EAGAIN && step->verb == FLOCK)
			forget_shared(step);
	}
	if (step->verb == CLOSE || step->verb == EXIT || step->verb == KILL)
		closed_ms = now_ms();
	settle_all();
}

/* ---- steps in words ----------------------------------------------------------------------- */

static int word_of(const char *const *words, int count, const char *word)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(words[i], word) == 0)
			return i;
	}
	printf("Bail out! what is '%s'?\n", word);
	exit(1);
}

static int lock_type(const char *word)
{
	static const char *const words[] = { "r", "w", "u" };
	static const int types[] = { F_RDLCK, F_WRLCK, F_UNLCK };

	return types[word_of(words, 3, word)];
}

/* "PROCESS VERB ...": p0 open 0 rw; p0 set 0 w START LENGTH [cur|end]; p0 flock 0 sh; p0 fork 4 */
static struct step parse(const char *text)
{
	static const char *const modes[] = { "rw", "ro", "wo" };
	static const int flags[] = { O_RDWR, O_RDONLY, O_WRONLY };
	static const char *const operations[] = { "sh", "ex", "un" };
	static const int flocks[] = { LOCK_SH, LOCK_EX, LOCK_UN };
	static const char *const whences[] = { "set", "cur", "end" };
	static const int whence[] = { SEEK_SET, SEEK_CUR, SEEK_END };
	char verb[16] = "", word[16] = "", from[16] = "set";
	struct step step = { 0 };
	long long start = 0, length = 0;

	sscanf(text, "p%d %15s %d", &step.process, verb, &step.slot);
	step.verb = (enum verb)word_of(verb_names, VERBS, verb);
	switch (step.verb) {
	case OPEN:
		sscanf(text, "%*s %*s %*d %15s", word);
		step.other = flags[word_of(modes, 3, word)];
		break;
	case DUP:
		sscanf(text, "%*s %*s %*d %d", &step.other);
		break;
	case FORK:
		step.other = step.slot;
		step.slot = 0;
		break;
	case SEEK:
		sscanf(text, "%*s %*s %*d %lld", &start);
		break;
	case FLOCK:
	case FLOCK_WAIT:
		sscanf(text, "%*s %*s %*d %15s", word);
		step.other = flocks[word_of(operations, 3, word)];
		break;
	case CLOSE:
	case EXIT:
	case KILL:
	case SIGNAL:
		break;
	default:
		sscanf(text, "%*s %*s %*d %15s %lld %lld %15s", word, &start, &length, from);
		step.type = lock_type(word);
		step.whence = whence[word_of(whences, 3, from)];
	}
	step.start = start;
	step.length = length;
	return step;
}

static void print_step(const struct step *step, char *text, size_t size)
{
	const char *verb = verb_names[step->verb];

	switch (step->verb) {
	case OPEN: /* here always in this way */
		snprintf(text, size, "p%d open %d rw", step->process, step->slot);
		break;
	case DUP:
		snprintf(text, size, "p%d dup %d %d", step->process, step->slot, step->other);
		break;
	case FLOCK:
	case FLOCK_WAIT:
		snprintf(text, size, "p%d %s %d %s", step->process, verb, step->slot,
		         step->other == LOCK_SH ? "sh" : step->other == LOCK_EX ? "ex" : "un");
		break;
	case CLOSE:
		snprintf(text, size, "p%d close %d", step->process, step->slot);
		break;
	case KILL:
	case SIGNAL:
		snprintf(text, size, "p%d %s", step->process, verb);
		break;
	default:
		snprintf(text, size, "p%d %s %d %s %" PRId64 " %" PRId64, step->process, verb, step->slot,
		         type_name(step->type), step->start, step->length);
	}
}

/* ---- cases --------------------------------------------------------------------------------- */

/* The steps of a case, one after the other, divided by semicolons. */
struct scenario {
	const char *name;
	const char *steps;
};

static const struct scenario scenarios[] = {
	{ "a lock, and one that it is in the way of",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 0; p1 set 0 w 5 1; p1 set 0 r 5 1; p1 test 0 r 5 1; "
	  "p0 set 0 u 0 0; p1 test 0 w 5 1; p1 set 0 w 5 1; p0 test 0 w 0 0" },
	{ "readers together, a writer not",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 set 0 r 0 10; p1 set 0 r 5 10; p2 set 0 w 0 1; "
	  "p2 set 0 w 14 1; p2 set 0 w 15 1; p2 test 0 w 12 1; p0 set 0 w 0 5; p0 set 0 w 0 6; p0 test 0 w 0 20; "
	  "p1 set 0 u 0 0; p0 set 0 w 0 6" },
	{ "a write lock in the middle of a read lock, and the other way round",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 r 1 5; p0 set 0 w 2 2; p1 test 0 r 0 0; p1 test 0 r 4 1; "
	  "p1 test 0 w 1 1; p1 test 0 w 4 1; p0 set 0 w 10 5; p0 set 0 r 11 2; p1 test 0 r 10 1; p1 test 0 r 11 2; "
	  "p1 test 0 w 11 2; p1 test 0 r 13 2; p1 set 0 r 11 2; p0 set 0 w 11 1" },
	{ "one at the beginning, at the end, and over both ends of another",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 5 10; p0 set 0 r 5 3; p1 test 0 r 5 1; p1 test 0 w 5 1; "
	  "p0 set 0 r 12 3; p1 test 0 r 8 4; p1 test 0 w 12 1; p0 set 0 w 0 0; p1 test 0 w 0 0; p0 set 0 r 3 100; "
	  "p1 test 0 r 0 0; p1 test 0 r 50 0; p1 test 0 r 103 0" },
	{ "pieces are unlocked, and what is left is two",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 20; p0 set 0 u 5 5; p1 test 0 w 0 0; p1 test 0 w 5 5; "
	  "p1 test 0 w 10 1; p1 set 0 w 5 5; p0 test 0 w 0 0; p0 set 0 u 0 1; p0 set 0 u 19 1; p1 test 0 w 0 0; "
	  "p1 test 0 w 19 1; p1 set 0 u 0 0; p0 set 0 u 3 10; p1 test 0 w 0 3; p1 test 0 w 3 100" },
	{ "what touches becomes one, what does not stays apart",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 5; p0 set 0 w 5 5; p1 test 0 w 0 1; p0 set 0 w 11 5; "
	  "p1 test 0 w 11 1; p0 set 0 w 10 1; p1 test 0 w 3 1; p0 set 0 r 16 4; p1 test 0 w 16 1; p1 test 0 w 0 1; "
	  "p0 set 0 w 16 4; p1 test 0 r 17 1" },
	{ "from the current place, from the end, backwards",
	  "p0 open 0 rw; p1 open 0 rw; p0 seek 0 10; p0 set 0 w 2 3 cur; p1 test 0 w 0 0; p0 set 0 w -5 2 end; "
	  "p1 test 0 w 20 0; p0 set 0 w 30 -4; p1 test 0 w 20 9; p0 set 0 u -4 2 cur; p0 set 0 w 0 -3 cur; "
	  "p1 test 0 w 0 9; p0 set 0 w 0 -1; p0 set 0 w -1 1; p0 set 0 w 5 0 end; p1 test 0 w 44 0; "
	  "p1 test 0 w 45 0" },
	{ "the largest numbers",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 9223372036854775807 1; p1 test 0 w 0 0; "
	  "p1 set 0 w 9223372036854775806 0; p1 set 0 w 0 9223372036854775807; p0 set 0 w 9223372036854775807 2; "
	  "p0 set 0 u 9223372036854775807 0; p1 set 0 w 1073741824 1; p0 test 0 w 1073741826 510; "
	  "p0 test 0 w 1073741824 2" },
	{ "what may not be locked so",
	  "p0 open 0 ro; p0 open 1 wo; p1 open 0 rw; p0 set 0 w 0 1; p0 set 1 r 0 1; p0 set 0 r 0 1; "
	  "p0 set 1 w 1 1; p1 test 0 w 0 0; p1 test 0 w 1 1; p0 set 2 w 0 1; p0 flock 2 ex" },
	{ "one process has one lock, whatever it is opened by; one close drops all",
	  "p0 open 0 rw; p0 open 1 rw; p1 open 0 rw; p0 set 0 w 0 5; p0 set 1 w 0 5; p0 set 1 r 2 1; "
	  "p1 test 0 r 0 1; p1 test 0 w 2 1; p0 open 2 ro; p1 set 0 w 0 1; p0 close 2; p1 test 0 w 0 0; "
	  "p1 set 0 w 0 0; p0 set 0 w 0 1; p1 close 0; p0 set 0 w 0 1" },
	{ "a duplicate's close drops all as well",
	  "p0 open 0 rw; p1 open 0 rw; p0 dup 0 1; p0 set 0 w 0 5; p0 close 1; p1 test 0 w 0 0; p1 set 0 w 0 5; "
	  "p0 test 0 w 0 0" },
	{ "a child has none of its parent's, and drops none",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 5; p0 fork 4; p4 set 0 w 0 1; p4 test 0 w 0 0; p4 set 0 w 5 1; "
	  "p4 set 0 u 0 0; p4 close 0; p1 test 0 w 0 0; p4 exit; p1 test 0 w 0 0; p0 exit; p1 test 0 w 0 0; "
	  "p1 set 0 w 0 0" },
	{ "exit and kill -9 drop them",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 set 0 w 0 5; p1 set 0 w 5 5; p2 set 0 w 0 10; p0 exit; "
	  "p2 set 0 w 0 5; p2 set 0 w 5 1; p1 kill; p2 set 0 w 0 0" },
	{ "one waits until it is unlocked",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 5 5; p1 wait 0 w 0 10; p0 set 0 u 7 1; p0 set 0 u 8 2; "
	  "p0 set 0 u 5 2; p0 test 0 w 0 0; p0 set 0 w 0 1" },
	{ "one waits until the holder closes, exits, is killed",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p3 open 0 rw; p0 set 0 w 5 5; p1 wait 0 w 0 10; p0 close 0; "
	  "p2 wait 0 r 9 1; p1 exit; p3 wait 0 w 0 0; p2 kill; p0 open 0 rw; p0 test 0 w 0 0" },
	{ "a reader waits for a writer only, a writer for readers",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 set 0 r 0 10; p1 wait 0 r 0 10; p2 wait 0 w 5 1; "
	  "p0 set 0 u 0 0; p1 set 0 r 6 1; p1 set 0 u 5 1; p1 test 0 w 0 0; p0 test 0 w 5 1" },
	{ "several wait; all that can get it then do",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p3 open 0 rw; p0 set 0 w 0 0; p1 wait 0 r 0 5; "
	  "p2 wait 0 r 0 5; p3 wait 0 w 10 5; p0 set 0 u 0 0; p0 test 0 w 0 0; p0 test 0 w 6 0" },
	{ "a wait for more of what one has already",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 r 0 10; p1 set 0 r 5 10; p0 wait 0 w 0 10; p1 set 0 u 5 5; "
	  "p1 test 0 w 0 10; p0 set 0 r 0 10; p1 set 0 r 0 1" },
	{ "a signal ends a wait, and nothing is left of it",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 set 0 w 0 5; p1 set 0 r 10 5; p1 wait 0 w 0 20; p1 signal; "
	  "p2 test 0 w 6 20; p2 set 0 r 10 5; p0 set 0 u 0 0; p2 set 0 w 0 5; p1 wait 0 r 0 1; p1 signal; "
	  "p1 wait 0 r 0 1; p2 set 0 u 0 0; p2 set 0 w 0 1" },
	{ "one that waits is killed",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 set 0 w 0 5; p1 wait 0 w 0 5; p2 wait 0 w 4 1; p1 kill; "
	  "p0 set 0 u 0 0; p2 set 0 w 0 5" },
	{ "two would wait for each other",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 1; p1 set 0 w 1 1; p0 wait 0 w 1 1; p1 wait 0 w 0 1; "
	  "p1 set 0 u 1 1; p1 wait 0 w 1 1; p0 set 0 u 0 0" },
	{ "one that does not wait is refused, ring or not",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 1; p1 set 0 w 1 1; p0 wait 0 w 1 1; p1 set 0 w 0 1; p1 set 0 r 0 1; "
	  "p1 set 0 u 1 1; p1 set 0 w 0 1; p0 set 0 u 0 0; p0 set 0 r 0 1; p1 set 0 r 0 1; p1 wait 0 w 0 1; p0 set 0 w 0 1; "
	  "p0 set 0 w 0 2; p0 set 0 u 0 0" },
	{ "three would wait for each other",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 set 0 w 0 1; p1 set 0 w 1 1; p2 set 0 w 2 1; "
	  "p0 wait 0 w 1 1; p1 wait 0 w 2 1; p2 wait 0 r 0 1; p2 set 0 u 2 1; p1 set 0 u 0 0; p2 test 0 w 0 0" },
	{ "a chain that is no ring",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p3 open 0 rw; p0 set 0 w 0 1; p1 set 0 w 1 1; "
	  "p1 wait 0 w 0 1; p2 set 0 w 2 1; p2 wait 0 w 1 1; p3 wait 0 w 2 1; p0 set 0 u 0 1; p1 exit; p2 exit; "
	  "p3 test 0 w 0 0; p0 test 0 w 0 0" },
	{ "two readers that both want to write",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 r 0 1; p1 set 0 r 0 1; p0 wait 0 w 0 1; p1 wait 0 w 0 1; "
	  "p1 set 0 u 0 1; p1 test 0 r 0 1" },
	{ "the locks of an open file description",
	  "p0 open 0 rw; p0 open 1 rw; p1 open 0 rw; p0 ofd-set 0 w 0 5; p0 ofd-set 1 w 0 5; p0 ofd-set 1 w 4 2; "
	  "p0 ofd-test 1 w 0 0; p0 ofd-set 1 r 5 5; p1 ofd-test 0 w 5 1; p1 ofd-set 0 r 5 5; p0 close 1; "
	  "p1 ofd-set 0 w 5 5; p0 close 0; p1 ofd-set 0 w 0 0" },
	{ "they stay for as long as any duplicate does",
	  "p0 open 0 rw; p0 dup 0 1; p1 open 0 rw; p0 ofd-set 0 w 0 5; p0 ofd-set 1 w 4 2; p0 close 0; "
	  "p1 ofd-set 0 w 0 1; p0 fork 4; p0 close 1; p1 ofd-set 0 w 0 1; p4 ofd-set 1 u 0 1; p1 ofd-set 0 w 0 1; "
	  "p4 exit; p1 ofd-set 0 w 0 0" },
	{ "they and a process' own are in each other's way",
	  "p0 open 0 rw; p0 open 1 rw; p1 open 0 rw; p0 set 0 w 0 5; p0 ofd-set 1 w 0 5; p0 ofd-test 1 w 0 5; "
	  "p1 ofd-test 0 w 0 5; p1 ofd-set 0 w 5 5; p0 set 0 w 5 1; p0 test 0 w 5 1; p0 ofd-set 0 r 10 2; "
	  "p0 test 0 w 10 1; p0 set 0 w 10 1; p0 close 1; p1 ofd-set 0 w 0 1; p1 test 0 w 10 1" },
	{ "waits for one of an open file description",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 ofd-set 0 w 0 5; p1 ofd-wait 0 w 4 1; p2 wait 0 r 0 1; "
	  "p0 ofd-set 0 u 0 0; p2 set 0 u 0 0; p1 close 0; p0 ofd-set 0 w 0 0" },
	{ "no ring is seen among those",
	  "p0 open 0 rw; p1 open 0 rw; p0 ofd-set 0 w 0 1; p1 ofd-set 0 w 1 1; p0 ofd-wait 0 w 1 1; "
	  "p1 ofd-wait 0 w 0 1; p1 signal; p1 ofd-set 0 u 1 1; p0 ofd-set 0 u 0 0; p1 ofd-set 0 w 0 0" },
	{ "flock: one, and others",
	  "p0 open 0 rw; p1 open 0 ro; p2 open 0 wo; p0 flock 0 ex; p1 flock 0 sh; p1 flock 0 ex; p0 flock 0 un; "
	  "p1 flock 0 sh; p2 flock 0 sh; p0 flock 0 ex; p2 flock 0 un; p1 close 0; p0 flock 0 ex" },
	{ "flock: two of one process are two",
	  "p0 open 0 rw; p0 open 1 rw; p0 flock 0 ex; p0 flock 1 ex; p0 flock 1 sh; p0 flock 0 sh; p0 flock 1 sh; "
	  "p0 close 0; p0 flock 1 ex; p0 flock 1 ex" },
	{ "flock: a duplicate's and a child's are the same one",
	  "p0 open 0 rw; p1 open 0 rw; p0 dup 0 1; p0 flock 0 ex; p0 flock 1 ex; p0 close 0; p1 flock 0 sh; "
	  "p0 fork 4; p4 flock 1 ex; p0 exit; p1 flock 0 sh; p4 flock 1 un; p1 flock 0 ex; p4 flock 1 sh; p4 kill; "
	  "p1 flock 0 ex" },
	{ "flock: exit, kill -9 and close drop it",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 flock 0 ex; p1 flock 0 ex; p0 exit; p1 flock 0 ex; "
	  "p2 flock 0 sh; p1 kill; p2 flock 0 ex; p2 close 0; p3 open 0 rw; p3 flock 0 ex" },
	{ "flock: waits",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 flock 0 ex; p1 flock-wait 0 sh; p2 flock-wait 0 sh; "
	  "p0 flock 0 un; p0 flock 0 ex; p0 flock-wait 0 ex; p1 flock 0 un; p2 flock 0 un; p1 flock 0 sh" },
	{ "flock: the holder makes it shared",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 flock 0 ex; p1 flock-wait 0 sh; p0 flock 0 sh; "
	  "p2 flock 0 sh; p2 flock 0 un; p1 flock 0 un; p0 flock 0 ex" },
	{ "flock: a signal ends a wait, and so does kill -9",
	  "p0 open 0 rw; p1 open 0 rw; p2 open 0 rw; p0 flock 0 ex; p1 flock-wait 0 ex; p1 signal; "
	  "p1 flock-wait 0 sh; p1 kill; p0 flock 0 un; p2 flock 0 ex" },
	{ "flock and fcntl are two things",
	  "p0 open 0 rw; p1 open 0 rw; p0 flock 0 ex; p0 set 0 w 0 0; p1 set 0 r 0 1; p1 flock 0 sh; "
	  "p0 set 0 u 0 0; p1 set 0 w 0 1; p1 flock 0 sh; p0 flock 0 un; p1 flock 0 ex; p0 set 0 r 0 1; "
	  "p1 set 0 u 0 0; p0 set 0 w 0 0; p0 close 0; p1 set 0 w 0 0" },
	{ "flock and fcntl of one process, in the order of a mail program",
	  "p0 open 0 rw; p1 open 0 rw; p0 set 0 w 0 0; p0 flock 0 ex; p1 wait 0 w 0 0; p0 flock 0 un; "
	  "p0 set 0 u 0 0; p1 flock 0 ex; p1 exit; p0 flock 0 ex; p0 set 0 w 0 0" },
};

static void begin_case(void)
{
	trouble[0] = history[0] = '\0';
	for (int i = 0; i < WORLDS && worlds[i].folders[0]; i++)
		begin_world(&worlds[i], tests);
}

static void end_case(const char *name)
{
	char text[sizeof trouble];

	memcpy(text, trouble, sizeof text);
	trouble[0] = '\0';
	for (int i = 0; i < WORLDS && worlds[i].folders[0]; i++)
		end_world(&worlds[i]);
	if (!text[0])
		memcpy(text, trouble, sizeof text);
	printf("%s %d - %s\n", text[0] ? "not ok" : "ok", ++tests, name);
	if (text[0]) {
		printf("#   %s, after:\n", text);
		for (char *line = strtok(history, "\n"); line; line = strtok(NULL, "\n"))
			printf("#     %s\n", line);
	}
	fflush(stdout);
}

/* Calls `act` with each step of a case until one fails. */
static void each_step(const char *steps, void (*act)(const char *text))
{
	char *copy = strdup(steps), *rest = copy, *text;

	while (!trouble[0] && (text = strsep(&rest, ";"))) {
		text += strspn(text, " ");
		note(text);
		act(text);
	}
	free(copy);
}

static void run_text(const char *text)
{
	struct step step = parse(text);

	run_step(&step);
}

/* ---- by chance -------------------------------------------------------------------------------- */

static uint64_t state;

static int below(int limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (int)(state >> 33) % limit;
}

static bool is_open[PROCESSES][SLOTS];

/*
 * Few places, few processes: so that they meet. Only one waits at a time: who of several
 * is first is nobody's promise.
 */
static struct step random_step(void)
{
	static const enum verb verbs[] = {
		OPEN, CLOSE, DUP, SET, SET, SET, SET, WAIT, TEST, TEST,
		OFD_SET, OFD_SET, OFD_WAIT, OFD_TEST, FLOCK, FLOCK, FLOCK_WAIT,
	};
	static const int types[] = { F_RDLCK, F_WRLCK, F_UNLCK }, operations[] = { LOCK_SH, LOCK_EX, LOCK_UN };
	struct step step = {
		.verb = verbs[below(sizeof verbs / sizeof verbs[0])],
		.process = below(PROCESSES - 1),
		.slot = below(2),
	};
	bool tests_only = step.verb == TEST || step.verb == OFD_TEST;

	if (below(50) == 0)
		return (struct step){ .verb = KILL, .process = step.process };
	if (worlds[0].workers[step.process].waits)
		return (struct step){ .verb = SIGNAL, .process = step.process };
	if (waiting(&worlds[0]) && (step.verb == WAIT || step.verb == OFD_WAIT || step.verb == FLOCK_WAIT))
		step.verb = FLOCK;
	if (!is_open[step.process][step.slot])
		step.verb = OPEN;
	else if (step.verb == OPEN || (step.verb == DUP && is_open[step.process][!step.slot]))
		step.verb = CLOSE;
	if (step.verb == OPEN)
		step.other = O_RDWR;
	else if (step.verb == DUP)
		step.other = !step.slot;
	else if (step.verb == FLOCK || step.verb == FLOCK_WAIT)
		step.other = operations[below(3)];
	step.type = types[below(tests_only ? 2 : 3)];
	step.start = below(12);
	step.length = below(6);
	return step;
}

/* What the step has made of the slots; a process that has ended is started anew. */
static void keep_track(const struct step *step)
{
	switch (step->verb) {
	case OPEN:
		is_open[step->process][step->slot] = true;
		break;
	case CLOSE:
		is_open[step->process][step->slot] = false;
		break;
	case DUP:
		is_open[step->process][step->other] = true;
		break;
	case KILL:
		memset(is_open[step->process], 0, sizeof is_open[step->process]);
		for (int i = 0; i < WORLDS; i++)
			start_worker(&worlds[i], step->process);
		break;
	default:
		break;
	}
}

static void run_random(uint64_t seed, int steps)
{
	char text[STEP_MAX];

	state = seed * 2654435761u + 1;
	memset(is_open, 0, sizeof is_open);
	by_chance = true;
	begin_case();
	for (int i = 0; i < steps && !trouble[0]; i++) {
		struct step step = random_step();

		print_step(&step, text, sizeof text);
		note(text);
		run_step(&step);
		keep_track(&step);
	}
	snprintf(text, sizeof text, "%d random steps (-s %" PRIu64 ")", steps, seed);
	end_case(text);
}

/* ---- two hosts ----------------------------------------------------------------------------------- */

/*
 * Processes 0 and 1 are on the one mount, 2 and 3 on the other. Here a case has to say
 * what comes of a step: "= done", "= EAGAIN", "= waits", of a test what is in the way
 * and whose ("= w elsewhere"); and "p2 comes back" of one that has waited.
 */
static const struct scenario remote[] = {
	{ "a byte that is written to is the whole file, for the other host",
	  "p0 open 0 rw = done; p1 open 0 rw = done; p2 open 0 rw = done; p3 open 0 rw = done; "
	  "p0 set 0 w 10 5 = done; p2 set 0 w 100 1 = EAGAIN; p2 set 0 r 100 1 = EAGAIN; p1 set 0 w 20 1 = done; "
	  "p2 test 0 w 100 1 = w elsewhere; p2 test 0 r 0 0 = w elsewhere; p0 set 0 u 0 0 = done; "
	  "p2 set 0 w 100 1 = EAGAIN; p1 set 0 u 0 0 = done; p2 test 0 w 0 0 = free; p2 set 0 w 100 1 = done; "
	  "p0 set 0 w 0 1 = EAGAIN" },
	{ "bytes that are read are the whole file, shared",
	  "p0 open 0 rw = done; p1 open 0 rw = done; p2 open 0 rw = done; p0 set 0 r 0 1 = done; "
	  "p2 set 0 r 0 1 = done; p0 set 0 w 5 1 = EAGAIN; p2 set 0 w 5 1 = EAGAIN; p2 test 0 w 5 1 = r elsewhere; "
	  "p2 test 0 r 5 1 = free; p0 set 0 u 0 1 = done; p2 set 0 w 5 1 = done; p0 set 0 r 9 1 = EAGAIN; "
	  "p2 set 0 u 5 1 = done; p0 set 0 r 9 1 = done" },
	{ "one waits for the other host",
	  "p0 open 0 rw = done; p2 open 0 rw = done; p3 open 0 rw = done; p0 set 0 w 0 1 = done; "
	  "p2 wait 0 w 7 1 = waits; p3 wait 0 r 9 1 = waits; p0 set 0 u 0 1 = done; p2 comes back; p3 comes back; "
	  "p0 set 0 r 30 1 = EAGAIN; p2 exit; p3 exit; p0 set 0 w 30 1 = done" },
	{ "kill -9 of the holder lets the other host in",
	  "p0 open 0 rw = done; p2 open 0 rw = done; p0 set 0 w 0 1 = done; p2 wait 0 w 7 1 = waits; p0 kill; "
	  "p2 comes back" },
	{ "a signal ends a wait for the other host",
	  "p0 open 0 rw = done; p2 open 0 rw = done; p3 open 0 rw = done; p0 set 0 w 0 1 = done; "
	  "p2 wait 0 w 7 1 = waits; p2 signal = EINTR; p0 set 0 u 0 1 = done; p3 set 0 w 0 0 = done" },
	{ "open file descriptions of two hosts",
	  "p0 open 0 rw = done; p2 open 0 rw = done; p0 ofd-set 0 r 100 1 = done; p2 ofd-set 0 r 101 1 = done; "
	  "p2 ofd-test 0 w 200 1 = r elsewhere; p2 ofd-set 0 w 101 1 = EAGAIN; p0 close 0 = done; "
	  "p2 ofd-set 0 w 101 1 = done" },
	{ "flock of two hosts",
	  "p0 open 0 rw = done; p1 open 0 rw = done; p2 open 0 rw = done; p0 flock 0 sh = done; "
	  "p2 flock 0 sh = done; p0 flock 0 un = done; p2 flock 0 ex = done; p0 flock 0 sh = EAGAIN; "
	  "p1 flock-wait 0 ex = waits; p2 flock 0 un = done; p1 comes back; p2 flock 0 sh = EAGAIN; p1 kill; "
	  "p2 flock-wait 0 ex = done" },
	{ "flock: one that is refused the exclusive lock keeps the shared one",
	  "p0 open 0 rw = done; p1 open 0 rw = done; p2 open 0 rw = done; p0 flock 0 sh = done; "
	  "p2 flock 0 sh = done; p0 flock 0 ex = EAGAIN; p2 flock 0 un = done; p2 flock 0 ex = EAGAIN; "
	  "p1 flock 0 sh = done; p0 flock 0 ex = EAGAIN; p1 flock 0 ex = EAGAIN; p0 flock 0 un = done; "
	  "p1 flock 0 ex = done" },
	{ "flock and fcntl of two hosts are one thing",
	  "p0 open 0 rw = done; p2 open 0 rw = done; p0 flock 0 ex = done; p2 set 0 w 0 1 = EAGAIN; "
	  "p2 set 0 r 0 1 = EAGAIN; p0 set 0 w 0 1 = done; p0 flock 0 un = done; p2 flock 0 ex = EAGAIN; "
	  "p0 set 0 u 0 0 = done; p2 flock 0 ex = done" },
	{ "two hosts that wait for each other's bytes: a signal ends it",
	  "p0 open 0 rw = done; p2 open 0 rw = done; p0 set 0 r 0 1 = done; p2 set 0 r 1 1 = done; "
	  "p0 wait 0 w 0 1 = waits; p2 set 0 w 1 1 = EAGAIN; p0 signal = EINTR; p2 set 0 u 0 0 = done; "
	  "p0 set 0 w 0 1 = done" },
};

static void come_back(struct worker *worker, const char *wanted)
{
	struct answer answer = { 0 };
	char got[128];

	if (!receive(worker, &answer, PATIENCE_MS))
		fail("does not come back");
	else if (strcmp(tell(&worlds[0], &answer, got, sizeof got), wanted) != 0)
		fail("%s, not %s", got, wanted);
}

static void expect(struct worker *worker, const struct step *step, const char *wanted)
{
	struct answer answer = { 0 };
	char got[128];
	bool waits_wanted = strcmp(wanted, "waits") == 0;

	/* What is unlocked, closed or killed on one host may take a moment to be known on the other. */
	for (int tries = 0; tries < 500; tries++) {
		send_step(&worlds[0], step);
		if (!receive(worker, &answer, waits_wanted ? 300 : PATIENCE_MS)) {
			if (!waits_wanted)
				fail("does not come back, not %s", wanted);
			return;
		}
		if (answer.error != EAGAIN || strcmp(wanted, "done") != 0)
			break;
		poll(NULL, 0, 10);
		memset(&answer, 0, sizeof answer);
	}
	tell(&worlds[0], &answer, got, sizeof got);
	if (!answer.error && (step->verb == TEST || step->verb == OFD_TEST)) {
		if (answer.type == F_UNLCK)
			snprintf(got, sizeof got, "free");
		else
			snprintf(got, sizeof got, "%s %s", type_name(answer.type),
			         answer.holder == 0 || step->verb == OFD_TEST ? "elsewhere" : "here");
	}
	if (strcmp(got, wanted) != 0)
		fail("%s, not %s", got, wanted);
}

static void run_remote(const char *text)
{
	const char *equals = strstr(text, " = "), *wanted = equals ? equals + 3 : "";
	int process = text[1] - '0';
	struct worker *worker = &worlds[0].workers[process];
	char call_text[STEP_MAX];
	struct step step;

	if (strstr(text, "comes back")) {
		come_back(worker, "done");
		return;
	}
	snprintf(call_text, sizeof call_text, "%.*s", equals ? (int)(equals - text) : (int)strlen(text), text);
	step = parse(call_text);
	switch (step.verb) {
	case EXIT:
	case KILL:
		if (step.verb == EXIT)
			send_step(&worlds[0], &step);
		else
			kill(worker->pid, SIGKILL);
		await_end(worker);
		break;
	case SIGNAL:
		kill(worker->pid, SIGUSR1);
		come_back(worker, wanted);
		break;
	default:
		expect(worker, &step, wanted);
	}
}

/* ---- what is asked for ------------------------------------------------------------------------------ */

static void run_all(const struct scenario *cases, size_t count, void (*act)(const char *text))
{
	for (size_t i = 0; i < count; i++) {
		begin_case();
		each_step(cases[i].steps, act);
		end_case(cases[i].name);
	}
}

static int usage(void)
{
	fputs("usage: ranges [-s SEED] [-n STEPS] LOCAL OTHER\n       ranges -r A B\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct sigaction interrupt = { .sa_handler = nothing };
	uint64_t seed = (uint64_t)time(NULL);
	int steps = 0, option;

	while ((option = getopt(argc, argv, "s:n:r")) != -1) {
		if (option == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (option == 'n')
			steps = atoi(optarg);
		else if (option == 'r')
			two_hosts = true;
		else
			return usage();
	}
	if (argc - optind != 2)
		return usage();
	/* Without SA_RESTART. */
	sigaction(SIGUSR1, &interrupt, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	worlds[0].folders[0] = argv[optind];
	worlds[two_hosts ? 0 : 1].folders[two_hosts ? 1 : 0] = argv[optind + 1];
	if (two_hosts)
		run_all(remote, sizeof remote / sizeof remote[0], run_remote);
	else
		run_all(scenarios, sizeof scenarios / sizeof scenarios[0], run_text);
	if (steps && !two_hosts)
		run_random(seed, steps);
	printf("1..%d\n", tests);
	return 0;
}
