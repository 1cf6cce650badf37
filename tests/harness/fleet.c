/*
 * fleet.c - see fleet.h.
 *
 * A peer is a loop: one fixed-size request comes by a pipe, one fixed-size answer
 * goes back. It is forked, not started anew, so that it runs what the test runs,
 * sanitizers included; it only ever leaves by _exit().
 */
#include "tests/harness/fleet.h"
#include "tests/harness/liar.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALL_MS 25000 /* longer than anything that a peer is asked for takes */

int64_t fleet_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void fleet_sleep_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* ---- settings ---- */

static int set_all(struct dlock_options *options, const char *settings)
{
	char *copy = strdup(settings), *rest = NULL;
	int error = copy ? 0 : -1;

	for (char *word = strtok_r(copy, " ", &rest); word && !error; word = strtok_r(NULL, " ", &rest)) {
		char *value = strchr(word, '=');

		*value++ = '\0';
		error = dlock_options_set(options, word, value);
		if (error)
			fprintf(stderr, "fleet: %s\n", dlock_error_detail());
	}
	free(copy);
	return error;
}

struct dlock_options *fleet_options(const struct fleet *fleet, const char *list, const char *settings)
{
	struct dlock_options *options = dlock_options_new();

	if (options && dlock_options_set(options, "servers", list ? list : servers_list(fleet->servers)) == 0 &&
	    set_all(options, FLEET_SETTINGS) == 0 && (!settings || set_all(options, settings) == 0))
		return options;
	dlock_options_free(options);
	return NULL;
}

/* In a peer, and with much time: the test's own connections shall have the settings of the test. */
static int declare_new(const struct fleet *fleet, const char *list, const char *settings)
{
	struct dlock_options *options = fleet_options(fleet, list, settings);
	struct peer peer = {0};
	long reached = -1;

	if (options && dlock_options_set(options, "node_timeout", "10000") == 0 && peer_start(&peer, options) == 0) {
		reached = peer_call(&peer, PEER_INIT, -1, 0, 0);
		peer_kill(&peer);
	}
	dlock_options_free(options);
	if (reached == servers_count(fleet->servers))
		return 0;
	fprintf(stderr, "fleet: %ld masters could be declared new: %s\n", reached, strerror(errno));
	return -1;
}

int fleet_start(struct fleet *fleet, const struct fleet_setup *setup)
{
	const struct fleet_setup usual = {0};
	char *list = NULL;
	int error = -1;

	setup = setup ? setup : &usual;
	fleet->options = NULL;
	fleet->servers = servers_start(&setup->servers);
	if (fleet->servers) {
		list = servers_list_with_login(fleet->servers);
		if (!setup->servers.password) {
			free(list);
			list = NULL;
		}
		fleet->options = fleet_options(fleet, list, setup->settings);
	}
	if (fleet->options)
		error = setup->virgin ? 0 : declare_new(fleet, list, setup->settings);
	free(list);
	if (error)
		fleet_end(fleet);
	return error;
}

int fleet_start_behind(struct fleet *fleet, struct liar **ret_liars, int count, const char *settings)
{
	const struct fleet_setup setup = {.servers = {.count = count}, .settings = settings};
	struct dlock_options *options;
	char list[600] = "";

	if (fleet_start(fleet, &setup) < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		ret_liars[i] = liar_start(servers_address(fleet->servers, i));
		if (!ret_liars[i])
			return -1;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? "," : "", liar_address(ret_liars[i]));
	}
	options = fleet_options(fleet, list, settings);
	if (!options)
		return -1;
	dlock_options_free(fleet->options);
	fleet->options = options;
	/* Other addresses are another cluster. */
	if (dlock_init_with(DLOCK_INIT_FORCE, options) == count)
		return 0;
	fprintf(stderr, "fleet: %s\n", dlock_error_detail());
	return -1;
}

void fleet_end(struct fleet *fleet)
{
	dlock_options_free(fleet->options);
	servers_free(fleet->servers);
	memset(fleet, 0, sizeof(*fleet));
}

/* ---- masters ---- */

static int count_keys(const struct fleet *fleet, const char *before, const char *name)
{
	int count = 0;

	for (int i = 0; i < servers_count(fleet->servers); i++) {
		char *reply = servers_pid(fleet->servers, i)
		                  ? servers_command(fleet->servers, i, "EXISTS %s%s", before, name)
		                  : NULL;

		count += reply && strcmp(reply, "1") == 0;
		free(reply);
	}
	return count;
}

int fleet_keys(const struct fleet *fleet, const char *name)
{
	return count_keys(fleet, "dlock:", name);
}

int fleet_cargoes(const struct fleet *fleet, const char *name)
{
	return count_keys(fleet, "dlock!data:dlock:", name);
}

bool fleet_keys_become(const struct fleet *fleet, const char *name, int count)
{
	return FLEET_UNTIL(fleet_keys(fleet, name) == count, 1000);
}

bool fleet_cargoes_become(const struct fleet *fleet, const char *name, int count)
{
	return FLEET_UNTIL(fleet_cargoes(fleet, name) == count, 1000);
}

int fleet_command(const struct fleet *fleet, int first, int count, const char *command)
{
	int error = 0;

	for (int i = first; i < first + count; i++) {
		char *reply;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
		reply = servers_command(fleet->servers, i, command);
#pragma GCC diagnostic pop
		if (!reply || strncmp(reply, "(error)", 7) == 0) {
			fprintf(stderr, "fleet: %s: %s\n", command, reply ? reply : "no reply");
			error = -1;
		}
		free(reply);
	}
	return error;
}

static int keep(const struct dlock_master *master, void *arg)
{
	struct fleet_sight *sight = arg;
	int i = sight->count;

	if (i == FLEET_MAX)
		return 1;
	sight->count++;
	sight->at[i].state = master->state;
	sight->at[i].warning = master->warning;
	sight->at[i].quarantine_ms = master->quarantine_ms;
	sight->at[i].max_ttl_ms = master->max_ttl_ms;
	snprintf(sight->at[i].address, sizeof(sight->at[i].address), "%s", master->address);
	snprintf(sight->at[i].problem, sizeof(sight->at[i].problem), "%s", master->problem);
	snprintf(sight->at[i].remedy, sizeof(sight->at[i].remedy), "%s", master->remedy);
	snprintf(sight->at[i].role, sizeof(sight->at[i].role), "%s", master->role);
	snprintf(sight->at[i].persistence, sizeof(sight->at[i].persistence), "%s", master->persistence);
	snprintf(sight->at[i].version, sizeof(sight->at[i].version), "%s", master->version);
	return 0;
}

int fleet_look(const struct dlock_options *options, struct fleet_sight *sight)
{
	memset(sight, 0, sizeof(*sight));
	sight->voting = dlock_masters_with(keep, sight, options);
	return sight->voting;
}

int fleet_voting(const struct dlock_options *options)
{
	struct fleet_sight sight;

	return fleet_look(options, &sight);
}

/* ---- a call in a thread of its own ---- */

static void *wait_for_lock(void *arg)
{
	struct waiter *w = arg;

	w->result = dlock_timedlock(w->fd, w->operation, w->timeout_ms);
	w->error = errno;
	atomic_store(&w->finished, true);
	return NULL;
}

int waiter_start(struct waiter *waiter, int fd, int operation, int timeout_ms)
{
	*waiter = (struct waiter){.fd = fd, .operation = operation, .timeout_ms = timeout_ms};
	return pthread_create(&waiter->thread, NULL, wait_for_lock, waiter);
}

bool waiter_join(struct waiter *waiter, int most_ms)
{
	if (!FLEET_UNTIL(atomic_load(&waiter->finished), most_ms))
		return false;
	pthread_join(waiter->thread, NULL);
	return true;
}

/* ---- peers ---- */

struct request {
	enum peer_op op;
	int fd, argument, timeout_ms;
	char name[128];
};

static void know(int fd, struct peer_answer *answer)
{
	errno = 0;
	answer->token = dlock_token(fd);
	answer->token_error = answer->token ? 0 : errno;
	answer->remaining_ns = dlock_remaining(fd);
}

static long fork_and_go(int answers, struct peer_answer *answer)
{
	pid_t child = fork();

	if (child == 0) {
		/* Of its parent's pipes it must keep none, but its descriptors. */
		close(answers);
		prctl(PR_SET_PDEATHSIG, 0);
		alarm(CALL_MS / 1000);
		for (;;)
			pause();
	}
	answer->result = child;
	if (write(answers, answer, sizeof(*answer)) < 0)
		_exit(1);
	_exit(0);
}

static long carry_out(const struct request *r, const struct dlock_options *options, int answers,
                      struct peer_answer *answer)
{
	struct pollfd poller = {.fd = r->fd, .events = POLLIN};

	switch (r->op) {
	case PEER_OPEN:
		return dlock_open_with(r->name, DLOCK_CLOEXEC, options);
	case PEER_LOCK:
		return dlock_timedlock(r->fd, r->argument, r->timeout_ms);
	case PEER_VERIFY:
		return dlock_verify(r->fd);
	case PEER_DATA:
		return dlock_set_data(r->fd, r->name, strlen(r->name));
	case PEER_KNOW:
		know(r->fd, answer);
		return 0;
	case PEER_READABLE:
		return poll(&poller, 1, r->timeout_ms);
	case PEER_CLOSE:
		return dlock_close(r->fd);
	case PEER_FORK_AND_GO:
		return fork_and_go(answers, answer);
	case PEER_INIT:
		return dlock_init_with(r->argument, options);
	case PEER_VOTING:
		return fleet_voting(options);
	}
	return -1;
}

static void serve(int requests, int answers, const struct dlock_options *options)
{
	struct request request;

	while (read(requests, &request, sizeof(request)) == (ssize_t)sizeof(request)) {
		struct peer_answer answer = {0};

		answer.result = carry_out(&request, options, answers, &answer);
		answer.error = answer.result < 0 ? errno : 0;
		snprintf(answer.detail, sizeof(answer.detail), "%s", dlock_error_detail());
		if (request.op == PEER_LOCK && answer.result == 0)
			know(request.fd, &answer);
		if (write(answers, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
			break;
	}
	_exit(0);
}

int peer_start(struct peer *peer, const struct dlock_options *options)
{
	pid_t parent = getpid();
	int to[2], from[2];

	if (pipe(to) < 0)
		return -1;
	if (pipe(from) < 0) {
		close(to[0]);
		close(to[1]);
		return -1;
	}
	peer->pid = fork();
	if (peer->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		if (getppid() == parent)
			serve(to[0], from[1], options);
		_exit(1);
	}
	close(to[0]);
	close(from[1]);
	peer->in = to[1];
	peer->out = from[0];
	return peer->pid < 0 ? -1 : 0;
}

void peer_kill(struct peer *peer)
{
	if (peer->pid <= 0)
		return;
	kill(peer->pid, SIGKILL);
	while (waitpid(peer->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(peer->in);
	close(peer->out);
	peer->pid = 0;
}

int peer_stop(struct peer *peer)
{
	int status;

	if (kill(peer->pid, SIGSTOP) < 0 || waitpid(peer->pid, &status, WUNTRACED) != peer->pid)
		return -1;
	return WIFSTOPPED(status) ? 0 : -1;
}

void peer_cont(struct peer *peer)
{
	kill(peer->pid, SIGCONT);
}

void peer_ask(struct peer *peer, enum peer_op op, int fd, int argument, int timeout_ms, const char *name)
{
	struct request request = {.op = op, .fd = fd, .argument = argument, .timeout_ms = timeout_ms};

	snprintf(request.name, sizeof(request.name), "%s", name ? name : "");
	if (write(peer->in, &request, sizeof(request)) != (ssize_t)sizeof(request))
		fprintf(stderr, "fleet: a peer has ended\n");
}

bool peer_answer(struct peer *peer, struct peer_answer *ret, int most_ms)
{
	struct pollfd poller = {.fd = peer->out, .events = POLLIN};
	int64_t end_ms = fleet_now_ms() + most_ms;
	int ready;

	do {
		int64_t left_ms = end_ms - fleet_now_ms();

		ready = poll(&poller, 1, left_ms > 0 ? (int)left_ms : 0);
	} while (ready < 0 && errno == EINTR);
	return ready > 0 && read(peer->out, ret, sizeof(*ret)) == (ssize_t)sizeof(*ret);
}

static long call(struct peer *peer, struct peer_answer *ret, enum peer_op op, int fd, int argument, int timeout_ms,
                 const char *name)
{
	memset(ret, 0, sizeof(*ret));
	peer_ask(peer, op, fd, argument, timeout_ms, name);
	if (!peer_answer(peer, ret, CALL_MS)) {
		ret->error = EPIPE;
		ret->result = -1;
	}
	errno = ret->error;
	return ret->result;
}

long peer_call(struct peer *peer, enum peer_op op, int fd, int argument, int timeout_ms)
{
	struct peer_answer answer;

	return call(peer, &answer, op, fd, argument, timeout_ms, NULL);
}

long peer_open(struct peer *peer, const char *name)
{
	struct peer_answer answer;

	return call(peer, &answer, PEER_OPEN, -1, 0, 0, name);
}

int peer_lock(struct peer *peer, int fd, int operation)
{
	struct peer_answer answer;

	return (int)call(peer, &answer, PEER_LOCK, fd, operation, -1, NULL);
}

int peer_data(struct peer *peer, int fd, const char *text)
{
	struct peer_answer answer;

	return (int)call(peer, &answer, PEER_DATA, fd, 0, 0, text);
}

struct peer_answer peer_know(struct peer *peer, int fd)
{
	struct peer_answer answer;

	call(peer, &answer, PEER_KNOW, fd, 0, 0, NULL);
	return answer;
}
