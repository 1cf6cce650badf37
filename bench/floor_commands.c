/*
 * floor_commands.c - what the two floors send; see floor.h.
 *
 * The plain floor: `SET key token NX PX 10000` and the classic release. The same floor: what
 * the library itself sends, recorded from it: a process locks and unlocks while MONITOR runs on
 * each master, and its last two scripts are the template, arguments and all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/floor.h"
#include "tests/harness/stress.h"

#define ARGUMENTS_MAX 24
#define RECORD_MS 10000
#define RECORDED "bench-recorded"
#define TOKEN "0123456789abcdef0123456789abcdef"

static const char release_script[] =
	"if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

struct words {
	int count;
	char *of[ARGUMENTS_MAX];
};

struct floor_template {
	int masters;
	struct words words[FLOOR_MASTERS_MAX][FLOOR_PHASES];
};

/* ---- words ---- */

static void add_word(struct words *words, const char *text, size_t length)
{
	if (words->count < ARGUMENTS_MAX)
		words->of[words->count++] = strndup(text, length);
}

static void clear_words(struct words *words)
{
	for (int i = 0; i < words->count; i++)
		free(words->of[i]);
	words->count = 0;
}

/* The plain ones; "" for the key. */
static void plain_words(struct floor_template *t, int master, const char *sha)
{
	const char *lock[] = {"SET", "", TOKEN, "NX", "PX", "10000"}, *release[] = {"EVALSHA", sha, "1", "", TOKEN};

	for (size_t i = 0; i < sizeof(lock) / sizeof(lock[0]); i++)
		add_word(&t->words[master][FLOOR_LOCK], lock[i], strlen(lock[i]));
	for (size_t i = 0; i < sizeof(release) / sizeof(release[0]); i++)
		add_word(&t->words[master][FLOOR_RELEASE], release[i], strlen(release[i]));
}

static int make_plain(struct floor_template *t, struct servers *servers)
{
	for (int i = 0; i < t->masters; i++) {
		char *sha = servers_command(servers, i, "SCRIPT LOAD %s", release_script);

		if (!sha || strlen(sha) != 40) {
			fprintf(stderr, "floor: no script on %s\n", servers_address(servers, i));
			free(sha);
			return -1;
		}
		plain_words(t, i, sha);
		free(sha);
	}
	return 0;
}

/* ---- what the library sends ---- */

/* The words of one line of MONITOR, each in quotes. What holds a backslash is none of ours. */
static void take_line(const char *line, struct words *ret)
{
	const char *at = strchr(line, '"');

	while (at) {
		const char *end = strchr(at + 1, '"');

		if (!end)
			return;
		add_word(ret, at + 1, (size_t)(end - at - 1));
		at = strchr(end + 1, '"');
	}
}

static bool is_script(const struct words *words, const char *operation)
{
	return words->count > 4 && strcmp(words->of[0], "EVALSHA") == 0 && strcmp(words->of[3], "dlock:" RECORDED) == 0 &&
	       strcmp(words->of[4], operation) == 0;
}

/* All that MONITOR has told; the socket does not block. */
static void read_record(int monitor, char *text, size_t size)
{
	size_t used = 0;
	ssize_t got;

	while (used < size - 1 && (got = recv(monitor, text + used, size - 1 - used, 0)) > 0)
		used += (size_t)got;
	text[used] = '\0';
}

/* The last A and R of it. */
static int take_record(struct words ret[FLOOR_PHASES], int monitor)
{
	static char text[1 << 18];

	read_record(monitor, text, sizeof(text));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		struct words words = {0};
		bool locks, releases;

		if (strstr(line, "lua]"))
			continue;
		take_line(line, &words);
		locks = is_script(&words, "A");
		releases = is_script(&words, "R");
		if (locks || releases) {
			clear_words(&ret[releases ? FLOOR_RELEASE : FLOOR_LOCK]);
			ret[releases ? FLOOR_RELEASE : FLOOR_LOCK] = words;
		} else {
			clear_words(&words);
		}
	}
	if (ret[FLOOR_LOCK].count && ret[FLOOR_RELEASE].count)
		return 0;
	fprintf(stderr, "floor: what the library sends to a master was not seen\n");
	return -1;
}

static int lock_a_few_times(void *arg)
{
	struct bench *bench = arg;
	int fd = crew_open(bench, RECORDED);

	for (int i = 0; fd >= 0 && i < 8; i++) {
		if (dlock_lock(fd) < 0 || dlock_unlock(fd) < 0) {
			fprintf(stderr, "floor: %s\n", dlock_error_detail());
			return 1;
		}
		sleep_us(20000); /* all masters have answered, and nothing of one is told in the midst of the next */
	}
	return fd < 0 || dlock_close(fd) < 0;
}

static int record(struct floor_template *t, struct bench *bench)
{
	int monitors[FLOOR_MASTERS_MAX];
	pid_t child;
	int error = 0;

	for (int i = 0; i < t->masters; i++) {
		monitors[i] = floor_connect(servers_address(bench->servers, i));
		if (monitors[i] < 0 || send(monitors[i], "MONITOR\r\n", 9, MSG_NOSIGNAL) != 9)
			error = -1;
	}
	sleep_us(50000); /* all monitor */
	child = error == 0 ? crew_start(lock_a_few_times, bench) : -1;
	if (child < 0 || crew_end(&child, 1, RECORD_MS) < 0)
		error = -1;
	for (int i = 0; i < t->masters; i++) {
		error = error == 0 ? take_record(t->words[i], monitors[i]) : error;
		if (monitors[i] >= 0)
			close(monitors[i]);
	}
	return error;
}

struct floor_template *floor_template_new(struct bench *bench, enum floor_kind kind)
{
	struct floor_template *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->masters = servers_count(bench->servers);
	if (t->masters <= FLOOR_MASTERS_MAX && (kind == FLOOR_PLAIN ? make_plain(t, bench->servers) : record(t, bench)) == 0)
		return t;
	floor_template_free(t);
	return NULL;
}

void floor_template_free(struct floor_template *t)
{
	for (int i = 0; t && i < t->masters; i++)
		for (int phase = 0; phase < FLOOR_PHASES; phase++)
			clear_words(&t->words[i][phase]);
	free(t);
}

/* ---- one name's commands ---- */

static bool is_time(const char *word)
{
	return strlen(word) == 16 && strspn(word, "0123456789") == 16;
}

static int64_t proposal_of(const struct words *lock)
{
	for (int i = 0; i < lock->count; i++)
		if (is_time(lock->of[i]))
			return strtoll(lock->of[i], NULL, 10);
	return 0;
}

static void format(struct floor_command *command, const struct words *words, bool sets, const char *key, int64_t proposal)
{
	FILE *out = open_memstream(&command->text, &command->size);

	if (!out)
		return;
	fprintf(out, "*%d\r\n", words->count);
	for (int i = 0; i < words->count; i++) {
		/* SET's key is its first argument, a script's comes behind "1". */
		const char *word = i == (sets ? 1 : 3) ? key : words->of[i];

		fprintf(out, "$%zu\r\n", strlen(word));
		fflush(out);
		if (is_time(word) && command->numbers < FLOOR_NUMBERS_MAX) {
			command->at[command->numbers] = command->size;
			command->offset_us[command->numbers++] = strtoll(word, NULL, 10) - proposal;
		}
		fprintf(out, "%s\r\n", word);
	}
	fclose(out);
}

int floor_commands_make(struct floor_commands *commands, const struct floor_template *t, int name)
{
	char key[64];

	memset(commands, 0, sizeof(*commands));
	snprintf(key, sizeof(key), "dlock:bench-floor-%d", name);
	for (int i = 0; i < t->masters; i++)
		for (int phase = 0; phase < FLOOR_PHASES; phase++) {
			const struct words *words = &t->words[i][phase];

			format(&commands->of[i][phase], words, strcmp(words->of[0], "SET") == 0, key,
			       proposal_of(&t->words[i][FLOOR_LOCK]));
			if (!commands->of[i][phase].text)
				return -1;
		}
	return 0;
}

void floor_commands_clear(struct floor_commands *commands)
{
	for (int i = 0; i < FLOOR_MASTERS_MAX; i++)
		for (int phase = 0; phase < FLOOR_PHASES; phase++)
			free(commands->of[i][phase].text);
}
