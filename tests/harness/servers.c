/*
 * servers.c - real Redis (or Valkey) servers for tests; see servers.h.
 *
 * Each server is a child with a configuration file and a directory of its own:
 *
 *   DIR/1.sock     its socket
 *   DIR/1.conf     its configuration, written before each start
 *   DIR/1.log      its log
 *   DIR/1/         its data
 *
 * A janitor process waits for the end of a pipe that only the test holds open, and
 * removes DIR then: this covers tests that crash.
 */
#include "tests/harness/servers.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT_DEFAULT 5
#define COUNT_MAX 64
#define READY_TIMEOUT_MS 20000
#define COMMAND_TIMEOUT_S 2
#define BIND_TRIES 50
#define SOCKET_PATH_MAX 107

/* For servers_command() where the servers ask for a password. */
#define ADMIN "harness"

struct one {
	pid_t pid; /* 0: not running */
	int port;  /* 0: unix socket */
	char path[SOCKET_PATH_MAX + 1];
	char address[SOCKET_PATH_MAX + 16];
};

struct servers {
	char *program;
	char *host;
	char *user;
	char *password;
	char *rules;
	char *config;
	enum servers_persistence persistence;
	int count;
	struct one *one;
	char *list;
	char dir[64];
	pid_t janitor;
	int janitor_fd; /* the janitor's pipe; -1: none */
};

/* ---------------------------------------------------------------- small parts */

static void *must(void *memory)
{
	if (!memory) {
		fprintf(stderr, "servers: out of memory\n");
		abort();
	}
	return memory;
}

static char *copy(const char *text)
{
	return text ? must(strdup(text)) : NULL;
}

__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...)
{
	char *result = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&result, format, arguments) < 0)
		result = NULL;
	va_end(arguments);
	return must(result);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
		continue;
}

/* Below the range from which the kernel takes ports for outgoing connections, so
 * that a restarted server finds its port free. */
static int any_port(void)
{
	uint16_t random = 0;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint16_t)(getpid() ^ now_ms());
	return 20000 + random % 12000;
}

/* The file in PATH, or NULL. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	char *all, *rest, *folder, *found = NULL;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? copy(name) : NULL;
	all = rest = must(strdup(path ? path : "/usr/bin:/bin"));
	while (!found && (folder = strsep(&rest, ":"))) {
		found = text("%s/%s", *folder ? folder : ".", name);
		if (access(found, X_OK) < 0) {
			free(found);
			found = NULL;
		}
	}
	free(all);
	return found;
}

static char *find_server(void)
{
	const char *wanted = getenv("DLOCK_TEST_SERVER");
	char *found;

	if (wanted && *wanted)
		return find_program(wanted);
	found = find_program("redis-server");
	return found ? found : find_program("valkey-server");
}

int servers_require(void)
{
	const char *require = getenv("DLOCK_TEST_REQUIRE");
	const char *wanted = getenv("DLOCK_TEST_SERVER");
	char *found = find_server();

	if (found) {
		free(found);
		return 0;
	}
	if (wanted && *wanted)
		printf("no redis server: DLOCK_TEST_SERVER=%s cannot be executed\n", wanted);
	else
		printf("no redis server: neither redis-server nor valkey-server was found\n");
	fflush(stdout);
	return require && strstr(require, "redis") ? 1 : 77;
}

/* ---------------------------------------------------------------- files */

/* Memory where there is some: fsync before each reply costs nothing there. */
static int make_dir(struct servers *servers)
{
	const char *const bases[] = { "/dev/shm", "/tmp" };

	for (size_t i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		snprintf(servers->dir, sizeof(servers->dir), "%s/dlock-test-XXXXXX", bases[i]);
		if (mkdtemp(servers->dir))
			return 0;
	}
	fprintf(stderr, "servers: no directory in /dev/shm or /tmp: %s\n", strerror(errno));
	servers->dir[0] = '\0';
	return -EACCES;
}

static void remove_tree(const char *path)
{
	pid_t child = fork();

	if (child == 0) {
		execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
		_exit(127);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		continue;
}

/* Ends when the pipe does, or when servers_free() has no more need of it. */
static int start_janitor(struct servers *servers)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	servers->janitor = fork();
	if (servers->janitor == 0) {
		int null = open("/dev/null", O_WRONLY);

		setsid();
		dup2(ends[0], STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close_range(3, ~0U, 0);
		execlp("sh", "sh", "-c", "read x; until rm -rf -- \"$0\"; do sleep 0.1; done",
		       servers->dir, (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	servers->janitor_fd = ends[1];
	return servers->janitor < 0 ? -EAGAIN : 0;
}

static void write_login(const struct servers *servers, FILE *file)
{
	if (!servers->password)
		return;
	fprintf(file, "user " ADMIN " on >" ADMIN " ~* &* +@all\n");
	if (!servers->user) {
		fprintf(file, "requirepass %s\n", servers->password);
		return;
	}
	fprintf(file, "user default off\nuser %s on >%s %s\n", servers->user, servers->password,
		servers->rules ? servers->rules : "~* &* +@all");
}

static void write_persistence(const struct servers *servers, FILE *file)
{
	fprintf(file, "save \"\"\n");
	if (servers->persistence == SERVERS_NONE)
		fprintf(file, "appendonly no\n");
	else
		fprintf(file, "appendonly yes\nno-appendfsync-on-rewrite no\nappendfsync %s\n",
			servers->persistence == SERVERS_ALWAYS ? "always" : "everysec");
}

static int write_config(const struct servers *servers, int i)
{
	const struct one *one = &servers->one[i];
	char *name = text("%s/%d.conf", servers->dir, i + 1);
	char *data = text("%s/%d", servers->dir, i + 1);
	FILE *file = fopen(name, "we");
	bool failed = !file || (mkdir(data, 0700) < 0 && errno != EEXIST);

	if (file) {
		if (one->port)
			fprintf(file, "bind %s\nport %d\n", servers->host, one->port);
		else
			fprintf(file, "port 0\nunixsocket %s\nunixsocketperm 700\n", one->path);
		fprintf(file, "daemonize no\ndir %s\nmaxmemory-policy noeviction\n", data);
		write_persistence(servers, file);
		write_login(servers, file);
		fprintf(file, "%s\n", servers->config ? servers->config : "");
		failed |= fclose(file) != 0;
	}
	if (failed)
		fprintf(stderr, "servers: cannot write %s: %s\n", name, strerror(errno));
	free(name);
	free(data);
	return failed ? -EIO : 0;
}

static void print_log(const struct servers *servers, int i, const char *problem)
{
	char *name = text("%s/%d.log", servers->dir, i + 1);
	FILE *file = fopen(name, "re");
	char line[512];

	fprintf(stderr, "servers: %s %s; its log:\n", servers->one[i].address, problem);
	while (file && fgets(line, sizeof(line), file))
		fputs(line, stderr);
	if (file)
		fclose(file);
	free(name);
}

static bool log_says(const struct servers *servers, int i, const char *words)
{
	char *name = text("%s/%d.log", servers->dir, i + 1);
	FILE *file = fopen(name, "re");
	char line[512];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = strstr(line, words) != NULL;
	if (file)
		fclose(file);
	free(name);
	return found;
}

/* ---------------------------------------------------------------- commands */

static redisContext *connect_to(const struct one *one, const char *host)
{
	const struct timeval timeout = { .tv_sec = COMMAND_TIMEOUT_S };
	redisContext *context = one->port ? redisConnectWithTimeout(host, one->port, timeout)
					  : redisConnectUnixWithTimeout(one->path, timeout);

	if (context && (context->err || redisSetTimeout(context, timeout) != REDIS_OK)) {
		redisFree(context);
		context = NULL;
	}
	return context;
}

static void print_reply(FILE *out, const redisReply *reply)
{
	switch (reply->type) {
	case REDIS_REPLY_INTEGER:
		fprintf(out, "%lld", reply->integer);
		break;
	case REDIS_REPLY_NIL:
		fprintf(out, "(nil)");
		break;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < reply->elements; i++) {
			if (i > 0)
				fputc('\n', out);
			print_reply(out, reply->element[i]);
		}
		break;
	case REDIS_REPLY_ERROR:
		fprintf(out, "(error) ");
		/* fall through */
	default:
		fwrite(reply->str, 1, (size_t)reply->len, out);
	}
}

static char *reply_text(redisReply *reply)
{
	char *result = NULL;
	size_t size;
	FILE *out;

	if (!reply)
		return NULL;
	out = must(open_memstream(&result, &size));
	print_reply(out, reply);
	fclose(out);
	freeReplyObject(reply);
	return must(result);
}

static char *command_v(const struct servers *servers, int i, const char *format, va_list arguments)
{
	redisContext *context = connect_to(&servers->one[i], servers->host);
	char *result = NULL;

	if (!context)
		return NULL;
	if (servers->password)
		freeReplyObject(redisCommand(context, "AUTH " ADMIN " " ADMIN));
	if (!context->err)
		result = reply_text(redisvCommand(context, format, arguments));
	redisFree(context);
	return result;
}

char *servers_command(struct servers *servers, int i, const char *format, ...)
{
	va_list arguments;
	char *result;

	va_start(arguments, format);
	result = command_v(servers, i, format, arguments);
	va_end(arguments);
	return result;
}

/* Takes the reply; 0 if it is OK. */
static int expect_ok(const struct servers *servers, int i, const char *what, char *reply)
{
	int result = reply && strcmp(reply, "OK") == 0 ? 0 : -EIO;

	if (result < 0)
		fprintf(stderr, "servers: %s at %s: %s\n", what, servers->one[i].address,
			reply ? reply : "no reply");
	free(reply);
	return result;
}

int servers_flush(struct servers *servers, int i)
{
	return expect_ok(servers, i, "FLUSHALL", servers_command(servers, i, "FLUSHALL"));
}

int servers_promote(struct servers *servers, int i)
{
	return expect_ok(servers, i, "REPLICAOF", servers_command(servers, i, "REPLICAOF NO ONE"));
}

int servers_demote(struct servers *servers, int i, int of)
{
	/* Nobody is at the discard port, or else: nobody who would serve as a master. */
	int port = of < 0 ? 9 : servers->one[of].port;

	if (port == 0) {
		fprintf(stderr, "servers: a replica of another server needs TCP\n");
		return -EINVAL;
	}
	return expect_ok(servers, i, "REPLICAOF",
			 servers_command(servers, i, "REPLICAOF %s %d", servers->host, port));
}

/* ---------------------------------------------------------------- processes */

/* Only what is safe between fork and exec of a process with threads. */
static void exec_server(const char *program, const char *config, const char *log, pid_t parent)
{
	char *arguments[] = { (char *)(intptr_t)program, (char *)(intptr_t)config, NULL };
	int null = open("/dev/null", O_RDONLY);
	int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The parent may have ended before the kernel knew what we wanted then. */
	if (getppid() != parent || null < 0 || out < 0)
		_exit(126);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	close_range(3, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(program, arguments);
	_exit(127);
}

static int spawn(struct servers *servers, int i)
{
	char *config = text("%s/%d.conf", servers->dir, i + 1);
	char *log = text("%s/%d.log", servers->dir, i + 1);
	pid_t parent = getpid(), child = fork();

	if (child == 0)
		exec_server(servers->program, config, log, parent);
	free(config);
	free(log);
	if (child < 0) {
		fprintf(stderr, "servers: fork: %s\n", strerror(errno));
		return -EAGAIN;
	}
	servers->one[i].pid = child;
	return 0;
}

static void set_address(struct servers *servers, int i, int port)
{
	struct one *one = &servers->one[i];
	const char *format = strchr(servers->host, ':') ? "[%s]:%d" : "%s:%d";

	one->port = port;
	snprintf(one->path, sizeof(one->path), "%s/%d.sock", servers->dir, i + 1);
	if (!port) {
		snprintf(one->address, sizeof(one->address), "unix:%s", one->path);
		return;
	}
	/* The format is one of the two above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(one->address, sizeof(one->address), format, servers->host, port);
#pragma GCC diagnostic pop
}

static bool has_ended(struct servers *servers, int i)
{
	struct one *one = &servers->one[i];
	pid_t ended = waitpid(one->pid, NULL, WNOHANG);

	if (ended == one->pid || (ended < 0 && errno == ECHILD))
		one->pid = 0;
	return one->pid == 0;
}

/* Whether this very process answers: another's server may sit at a port that ours
 * did not get, and one that loads its data is not ready. */
static bool is_ready(struct servers *servers, int i)
{
	char *ping = servers_command(servers, i, "PING");
	char *info = NULL, *self = text("process_id:%d\r\n", (int)servers->one[i].pid);
	bool ready = false;

	if (ping && strcmp(ping, "PONG") == 0) {
		info = servers_command(servers, i, "INFO server");
		ready = info && strstr(info, self);
	}
	free(ping);
	free(info);
	free(self);
	return ready;
}

/* After its end at the start: once more, elsewhere if it may move. */
static int try_again(struct servers *servers, int i, bool may_move, int tries)
{
	int result;

	if (!log_says(servers, i, "in use") || tries >= BIND_TRIES) {
		print_log(servers, i, "ended at its start");
		return -ECHILD;
	}
	if (may_move)
		set_address(servers, i, any_port());
	else
		sleep_ms(100);
	result = write_config(servers, i);
	return result < 0 ? result : spawn(servers, i);
}

static int wait_ready(struct servers *servers, int i, bool may_move)
{
	int64_t deadline_ms = now_ms() + READY_TIMEOUT_MS;
	int result, tries = 0;

	while (!is_ready(servers, i)) {
		if (has_ended(servers, i)) {
			result = try_again(servers, i, may_move, ++tries);
			if (result < 0)
				return result;
		}
		if (now_ms() > deadline_ms) {
			print_log(servers, i, "does not answer");
			return -ETIMEDOUT;
		}
		sleep_ms(5);
	}
	return 0;
}

void servers_stop(struct servers *servers, int i)
{
	if (servers->one[i].pid > 0)
		kill(servers->one[i].pid, SIGSTOP);
}

void servers_cont(struct servers *servers, int i)
{
	if (servers->one[i].pid > 0)
		kill(servers->one[i].pid, SIGCONT);
}

void servers_kill9(struct servers *servers, int i)
{
	pid_t pid = servers->one[i].pid;

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	servers->one[i].pid = 0;
}

int servers_restart(struct servers *servers, int i, bool keep_data)
{
	char *data = text("%s/%d", servers->dir, i + 1);
	int result;

	servers_kill9(servers, i);
	if (!keep_data)
		remove_tree(data);
	free(data);
	result = write_config(servers, i);
	if (result == 0)
		result = spawn(servers, i);
	return result < 0 ? result : wait_ready(servers, i, false);
}

/* ---------------------------------------------------------------- the whole set */

static char *join(const struct servers *servers, const char *before)
{
	char *result = NULL;
	size_t size;
	FILE *out = must(open_memstream(&result, &size));

	for (int i = 0; i < servers->count; i++)
		fprintf(out, "%s%s%s", i > 0 ? "," : "", before, servers->one[i].address);
	fclose(out);
	return must(result);
}

static int start_all(struct servers *servers, bool tcp)
{
	int result = 0;

	for (int i = 0; i < servers->count && result == 0; i++) {
		set_address(servers, i, tcp ? any_port() : 0);
		result = write_config(servers, i);
		if (result == 0)
			result = spawn(servers, i);
	}
	for (int i = 0; i < servers->count && result == 0; i++)
		result = wait_ready(servers, i, tcp);
	if (result == 0)
		servers->list = join(servers, "");
	return result;
}

static struct servers *new_servers(const struct servers_options *options)
{
	struct servers *servers = must(calloc(1, sizeof(*servers)));

	servers->program = find_server();
	servers->host = copy(options->host ? options->host : "127.0.0.1");
	servers->user = copy(options->user);
	servers->password = copy(options->password);
	servers->rules = copy(options->rules);
	servers->config = copy(options->config);
	servers->persistence = options->persistence;
	servers->count = options->count ? options->count : COUNT_DEFAULT;
	servers->janitor_fd = -1;
	return servers;
}

struct servers *servers_start(const struct servers_options *options)
{
	const struct servers_options none = { 0 };
	struct servers *servers = new_servers(options ? options : &none);
	int result = 0;

	if (!servers->program || servers->count < 1 || servers->count > COUNT_MAX ||
	    (servers->user && !servers->password)) {
		fprintf(stderr, "servers: %s\n",
			!servers->program ? "no server program was found" :
			servers->user ? "a user needs a password" : "1 to 64 servers can be started");
		servers->count = 0;
		result = -EINVAL;
	}
	servers->one = must(calloc((size_t)servers->count + 1, sizeof(*servers->one)));
	if (result == 0)
		result = make_dir(servers);
	if (result == 0)
		result = start_janitor(servers);
	if (result == 0)
		result = start_all(servers, options && options->tcp);
	if (result == 0)
		return servers;
	servers_free(servers);
	return NULL;
}

static void end_janitor(struct servers *servers)
{
	if (servers->janitor > 0) {
		kill(servers->janitor, SIGKILL);
		while (waitpid(servers->janitor, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	if (servers->janitor_fd >= 0)
		close(servers->janitor_fd);
}

void servers_free(struct servers *servers)
{
	if (!servers)
		return;
	for (int i = 0; i < servers->count; i++)
		servers_kill9(servers, i);
	end_janitor(servers);
	if (servers->dir[0])
		remove_tree(servers->dir);
	free(servers->program);
	free(servers->host);
	free(servers->user);
	free(servers->password);
	free(servers->rules);
	free(servers->config);
	free(servers->one);
	free(servers->list);
	free(servers);
}

const char *servers_list(const struct servers *servers)
{
	return servers->list;
}

char *servers_list_with_login(const struct servers *servers)
{
	char *before, *result;

	if (!servers->one[0].port)
		return NULL;
	before = text("redis://%s:%s@", servers->user ? servers->user : "",
		      servers->password ? servers->password : "");
	result = join(servers, before);
	free(before);
	return result;
}

int servers_count(const struct servers *servers)
{
	return servers->count;
}

const char *servers_address(const struct servers *servers, int i)
{
	return servers->one[i].address;
}

pid_t servers_pid(const struct servers *servers, int i)
{
	return servers->one[i].pid;
}

const char *servers_dir(const struct servers *servers)
{
	return servers->dir;
}
