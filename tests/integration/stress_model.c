/*
 * stress_model.c - the model master is honest: it does what a real server does.
 *
 * Each seed is a sequence of random steps (model_steps.h): calls of the script, time,
 * other clients' commands, a script that is forgotten, full memory, a master that turns
 * read-only or forbids to publish, restarts. Each step is taken by the model and by a real server, whose clock
 * stands where the step says. After each the reply is compared field by field, all keys
 * with their types, values, scores and expiries, and every message to a waiter: to some of
 * their channels somebody listens, to some nobody.
 *
 * The same is done with mutants of the model, each of which breaks one rule: it must be
 * found out. So the comparison can fail. A difference is shrunk to the few steps that it
 * needs.
 *
 * Left out, because the model has no notion of it:
 *   - the clock going backwards while the server is read-only (see model_steps.c);
 *   - libdlock's own keys with a foreign type, and an expiry at epoch, cluster or fence;
 *   - eviction, since a master that evicts never votes; replication, and failover with it.
 *
 * The servers: $DLOCK_TEST_SERVER, redis-server and valkey-server, as far as they are
 * there. DLOCK_TEST_STEPS (100000) is how many are taken on each; DLOCK_TEST_SEED runs one
 * seed and prints every step.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/effect.h"
#include "tests/integration/model_mutants.h"
#include "tests/integration/model_real.h"

#define LENGTH 500           /* steps of a sequence */
#define BLOCKS 8
#define RESTARTS_FROM 1000000 /* seeds from here on restart the server, too */
#define RESTART_SEQUENCES 12
#define MUTANT_STEPS 40000   /* within which a mutant must be found out */
#define SHOWN 20             /* steps before a difference */
#define SHRINK_RUNS 4000

enum { ALIKE = -1, GONE = -2 }; /* instead of the number of the step that differs */

struct sequence {
	uint64_t seed;
	int count;
	struct step steps[LENGTH];
};

/* What has been seen, so that the sequences are known to reach everything. */
static unsigned seen[128][256]; /* by operation, and ANSWER or ERROR */
#define ANSWER(code) (100 + (code))
#define ERROR(error) (200 + (error))
static unsigned collected;
static long steps_taken;

static struct outcome model_outcome, real_outcome;

/* ---- TAP ---- */

static int cases;

__attribute__((format(printf, 2, 3))) static void tell(bool ok, const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", ok ? "" : "not ", ++cases);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

/* ---- one step of the model ---- */

/* The way of a grant. */
enum granted { BY_A, BY_R, BY_Y, BY_E, IN_QUARANTINE, ASKED_ONLY, UNHEARD, WAYS };
static const char *const ways[] = {"A",         "R",      "Y",       "E", "a master in quarantine",
                                   "only asked", "unheard"};
static unsigned granted[WAYS]; /* of the honest runs */
static unsigned alone[2];      /* of these, too: a yes that was a number and nothing else, to A and to R */

static struct {
	const struct step *step;
	struct outcome *outcome;
	bool counts;
} publishing;

static void count_message(const struct model_master *model, bool heard, const struct model_grant *grant)
{
	static const char operations[] = "ARYE";
	const char *operation = strchr(operations, publishing.step->call.operation);

	if (!publishing.counts)
		return;
	granted[UNHEARD] += !heard;
	granted[ASKED_ONLY] += heard && !grant;
	if (!heard || !grant || !operation)
		return;
	granted[operation - operations]++;
	granted[IN_QUARANTINE] += model->data.quarantine_until_ms > 0;
}

/* As the listener of the real server has it. */
static bool publish(void *context, struct model_master *model, const char *channel, const struct model_grant *grant)
{
	char *messages = publishing.outcome->messages;
	size_t length = strlen(messages), left = sizeof(publishing.outcome->messages) - length;
	bool heard = steps_is_heard(channel);

	(void)context;
	count_message(model, heard, grant);
	if (heard && !grant)
		snprintf(messages + length, left, "%s \n", channel);
	else if (heard)
		snprintf(messages + length, left, "%s G %" PRIu64 " %" PRId64 " %" PRId64 " %s %s\n", channel, grant->fence,
		         grant->us, grant->expiry_ms, grant->epoch, grant->token);
	return heard;
}

static unsigned fences_of(const struct model_master *model)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_KEYS; i++)
		count += model->data.fences[i].known;
	return count;
}

static void call_model(struct model_master *model, const struct step *step, const struct mutant *mutant,
                       struct outcome *ret)
{
	unsigned fences = fences_of(model);

	if (strchr("QL", step->call.operation))
		model_survey(model, &step->call, step->clock_us, &ret->reply, ret->said);
	else if (mutant)
		mutant->execute(model, &step->call, step->clock_us, &ret->reply);
	else
		model_execute(model, &step->call, step->clock_us, &ret->reply);
	if (mutant)
		return;
	if (ret->reply.error)
		seen[(int)step->call.operation][ERROR((int)ret->reply.error)]++;
	else
		seen[(int)step->call.operation][ANSWER(ret->reply.code)]++;
	collected += fences_of(model) < fences;
}

static void step_model(struct model_master *model, const struct step *step, const struct mutant *mutant,
                       struct outcome *ret)
{
	memset(&ret->reply, 0, sizeof(ret->reply));
	ret->said[0] = ret->messages[0] = '\0';
	publishing.step = step;
	publishing.outcome = ret;
	publishing.counts = mutant == NULL;
	model->publish = publish;
	switch (step->kind) {
	case STEP_CALL: call_model(model, step, mutant, ret); break;
	case STEP_FOREIGN: model_foreign(model, &step->foreign, step->clock_us, ret->said); break;
	case STEP_SCRIPT_FLUSH: model->script_loaded = false; break;
	case STEP_SCRIPT_LOAD: model->script_loaded = true; break;
	case STEP_MEMORY_FULL: model->out_of_memory = true; break;
	case STEP_MEMORY_FREE: model->out_of_memory = false; break;
	case STEP_DEMOTE: model->read_only = true; break;
	case STEP_PROMOTE: model->read_only = false; break;
	case STEP_FORBID_PUBLISH: model->no_publish = true; break;
	case STEP_PERMIT_PUBLISH: model->no_publish = false; break;
	case STEP_RESTART_KEPT:
	case STEP_RESTART_EMPTY:
		model_restart(model, step->kind == STEP_RESTART_KEPT);
		model->script_loaded = true;
		model->out_of_memory = model->read_only = model->no_publish = false;
		break;
	}
	model_expire(model, step->clock_us);
	ret->keys_length = model_keys_text(model, step->clock_us, ret->keys, sizeof(ret->keys));
}

/* ---- comparison ---- */

/* The name of what differs in two replies; NULL: nothing. */
static const char *differs(const struct model_reply *a, const struct model_reply *b)
{
	if (a->error != b->error)
		return "error";
	if (a->error != MODEL_OK)
		return NULL;
	return a->code != b->code                       ? "code"
	       : a->kept != b->kept                     ? "whether it was there before"
	       : a->us != b->us                         ? "clock"
	       : a->fence != b->fence                   ? "fence"
	       : a->version != b->version               ? "version"
	       : a->pttl_ms != b->pttl_ms               ? "time left"
	       : strcmp(a->holder, b->holder) != 0      ? "holder"
	       : a->rank != b->rank                     ? "place in the queue"
	       : strcmp(a->ahead, b->ahead) != 0        ? "one that is in the way"
	       : a->expiry_ms != b->expiry_ms           ? "end"
	       : a->count != b->count                   ? "count"
	       : strcmp(a->epoch, b->epoch) != 0        ? "epoch"
	       : a->quarantine_ms != b->quarantine_ms   ? "quarantine"
	       : strcmp(a->cluster, b->cluster) != 0    ? "cluster"
	       : a->fences != b->fences                 ? "number of fences"
	                                                : NULL;
}

static const char *difference(const struct outcome *model, const struct outcome *real)
{
	const char *field = differs(&model->reply, &real->reply);

	if (field)
		return field;
	if (strcmp(model->said, real->said) != 0)
		return "reply";
	if (strcmp(model->messages, real->messages) != 0)
		return "messages";
	if (model->keys_length != real->keys_length || memcmp(model->keys, real->keys, model->keys_length) != 0)
		return "keys";
	return NULL;
}

static void print_step(int number, const struct step *step)
{
	char text[2048];

	step_text(step, text, sizeof(text));
	printf("#   %d: %s\n", number, text);
}

static void print_lines(const char *before, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (i == 0 || text[i - 1] == '\n')
			printf("#     %s", before);
		printf(c == '\n' || (c >= ' ' && c <= '~') ? "%c" : "\\x%02x", c);
	}
}

static void print_outcome(const char *whose, const struct step *step, const struct outcome *outcome)
{
	static const char *const errors[] = {"", "NOSCRIPT", "OOM", "READONLY"};
	const struct model_reply *r = &outcome->reply;

	printf("# %s: ", whose);
	if (step->kind != STEP_CALL)
		printf("%s\n", outcome->said);
	else if (r->error)
		printf("%s\n", errors[r->error]);
	else
		printf("code %d, clock %" PRId64 ", fence %" PRIu64 ", version %" PRIu64 ", time left %" PRId64
		       ", holder '%s', rank %u, ahead '%s', end %" PRId64 ", count %" PRId64 ", epoch '%s', quarantine %" PRId64
		       ", cluster '%s', fences %" PRId64 "\n",
		       r->code, r->us, r->fence, r->version, r->pttl_ms, r->holder, r->rank, r->ahead, r->expiry_ms, r->count,
		       r->epoch, r->quarantine_ms, r->cluster, r->fences);
	if (step->kind == STEP_CALL && outcome->said[0])
		printf("#     %s\n", outcome->said);
	print_lines("> ", outcome->messages, strlen(outcome->messages));
	print_lines("| ", outcome->keys, outcome->keys_length);
}

/* ---- sequences ---- */

static bool alike(struct real *real, struct model_master *model, const struct step *step,
                  const struct mutant *mutant, int *ret_result, int number)
{
	step_model(model, step, mutant, &model_outcome);
	if (!real_step(real, step, &real_outcome))
		*ret_result = GONE;
	else if (difference(&model_outcome, &real_outcome))
		*ret_result = number;
	else
		*ret_result = ALIKE;
	if (step->kind == STEP_CALL && !mutant)
		alone[step->call.operation == 'R'] += real_outcome.alone;
	return *ret_result == ALIKE;
}

/* Draws the sequence of a seed while it takes it. The number of the step that differs, or ALIKE, GONE. */
static int take(struct real *real, struct sequence *sequence, uint64_t seed, const struct mutant *mutant, bool print)
{
	struct model_master model;
	struct steps steps;
	int result = ALIKE;

	sequence->seed = seed;
	sequence->count = 0;
	model_start(&model, 1);
	steps_init(&steps, seed, seed >= RESTARTS_FROM);
	if (!real_reset(real, steps.clock_us))
		return GONE;
	while (sequence->count < LENGTH) {
		struct step *step = &sequence->steps[sequence->count];

		steps_draw(&steps, &model, step);
		if (print)
			print_step(sequence->count + 1, step);
		sequence->count++;
		steps_taken++;
		if (!alike(real, &model, step, mutant, &result, sequence->count - 1))
			break;
	}
	return result;
}

/* The same of steps that are there. */
static int take_again(struct real *real, const struct sequence *sequence, const struct mutant *mutant)
{
	struct model_master model;
	int result = ALIKE;

	model_start(&model, 1);
	if (!real_reset(real, sequence->steps[0].clock_us))
		return GONE;
	for (int i = 0; i < sequence->count; i++)
		if (!alike(real, &model, &sequence->steps[i], mutant, &result, i))
			break;
	return result;
}

/* Leaves out steps, many at first, while there is a difference. */
static void shrink(struct real *real, struct sequence *sequence, const struct mutant *mutant)
{
	static struct sequence shorter;
	int runs = 0;

	for (int part = sequence->count / 2; part > 0; part = part > 1 ? part / 2 : 0) {
		for (int from = 0; from + part <= sequence->count && sequence->count > part && runs < SHRINK_RUNS; runs++) {
			int result;

			shorter.count = sequence->count - part;
			memcpy(shorter.steps, sequence->steps, (size_t)from * sizeof(struct step));
			memcpy(shorter.steps + from, sequence->steps + from + part,
			       (size_t)(shorter.count - from) * sizeof(struct step));
			result = take_again(real, &shorter, mutant);
			if (result == GONE)
				return;
			if (result == ALIKE) {
				from += part;
				continue;
			}
			sequence->count = result + 1;
			memcpy(sequence->steps, shorter.steps, (size_t)sequence->count * sizeof(struct step));
		}
	}
}

/* Everything about the last step of `sequence`, which differs. */
static void report(struct real *real, struct sequence *sequence)
{
	const struct step *last = &sequence->steps[sequence->count - 1];
	int first = sequence->count > SHOWN ? sequence->count - SHOWN : 0;

	printf("# %s: seed %" PRIu64 ", step %d: the %s differs\n", real_name(real), sequence->seed, sequence->count,
	       difference(&model_outcome, &real_outcome));
	for (int i = first; i < sequence->count; i++)
		print_step(i + 1, &sequence->steps[i]);
	print_outcome("real", last, &real_outcome);
	print_outcome("model", last, &model_outcome);
	if (sequence->seed >= RESTARTS_FROM)
		return;
	shrink(real, sequence, NULL);
	if (take_again(real, sequence, NULL) < 0)
		return;
	last = &sequence->steps[sequence->count - 1];
	printf("# and this is enough, the %s differs:\n", difference(&model_outcome, &real_outcome));
	for (int i = 0; i < sequence->count; i++)
		print_step(i + 1, &sequence->steps[i]);
	print_outcome("real", last, &real_outcome);
	print_outcome("model", last, &model_outcome);
}

static struct sequence sequence;

/* Sequences of seeds in a row; false after a report. */
static bool take_seeds(struct real *real, uint64_t first, int count)
{
	for (int i = 0; i < count; i++) {
		int result = take(real, &sequence, first + (uint64_t)i, NULL, false);

		if (result == GONE)
			printf("# seed %" PRIu64 ", step %d: the server is gone\n", sequence.seed, sequence.count);
		else if (result != ALIKE)
			report(real, &sequence);
		if (result != ALIKE)
			return false;
	}
	return true;
}

static int sequences_of_a_block(void)
{
	const char *steps = getenv("DLOCK_TEST_STEPS");
	long wanted = steps ? atol(steps) : 100000;

	return (int)((wanted + BLOCKS * LENGTH - 1) / (BLOCKS * LENGTH));
}

/* ---- the cases of one server ---- */

static void blocks(struct real *real)
{
	int count = sequences_of_a_block();

	for (int block = 0; block < BLOCKS; block++) {
		uint64_t first = 1 + (uint64_t)(block * count);

		tell(take_seeds(real, first, count), "%s and the model agree, block %d of %d", real_name(real), block + 1,
		     BLOCKS);
	}
	printf("# %s: seeds 1 to %d, %d steps each\n", real_name(real), BLOCKS * count, LENGTH);
}

static void restarts(const char *program)
{
	struct real *real = real_start(program, true);

	tell(real && take_seeds(real, RESTARTS_FROM, RESTART_SEQUENCES),
	     "%s and the model agree through restarts", real ? real_name(real) : program);
	real_free(real);
}

static void one_server(const char *program)
{
	struct real *real = real_start(program, false);

	if (real)
		blocks(real);
	else
		tell(false, "%s starts with a clock that stands still", program);
	real_free(real);
	restarts(program);
}

/* ---- that the comparison can fail ---- */

static void find_mutant(struct real *real, const struct mutant *mutant)
{
	long before = steps_taken;
	int result = ALIKE;

	for (uint64_t seed = 1; result == ALIKE && steps_taken - before < MUTANT_STEPS; seed++)
		result = take(real, &sequence, seed, mutant, false);
	/* By what it does wrong, not by what the model does. */
	result = result >= 0 && take_again(real, &sequence, NULL) == ALIKE ? result : ALIKE;
	printf("# %ld steps: %s\n", steps_taken - before, mutant->what);
	tell(result >= 0, "a model in which %s is found out", mutant->what);
	steps_taken = before;
}

static void find_mutants(struct real *real)
{
	int length;

	for (unsigned i = 0; i < mutant_count; i++)
		find_mutant(real, &mutants[i]);
	/* One that needs several steps again. */
	for (uint64_t seed = 1; take(real, &sequence, seed, &mutants[1], false) == ALIKE && seed < 50;)
		seed++;
	shrink(real, &sequence, &mutants[1]);
	length = sequence.count;
	printf("# shrunk to %d steps\n", length);
	tell(length <= 6 && take_again(real, &sequence, &mutants[1]) == length - 1 &&
	         take_again(real, &sequence, NULL) == ALIKE,
	     "a difference is shrunk to the steps that it needs");
}

/* Each operation with each of the answers that it has. */
static const struct {
	char operation;
	int answers[12]; /* of ANSWER and ERROR; ends with 0 */
} expected[] = {
	{'V', {ANSWER(1), ERROR(MODEL_NOSCRIPT)}},
	{'I', {ANSWER(1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_OOM), ERROR(MODEL_READONLY)}},
	{'N', {ANSWER(1), ERROR(MODEL_OOM), ERROR(MODEL_READONLY)}},
	{'P', {ANSWER(0), ANSWER(5), ANSWER(6), ANSWER(-1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_READONLY)}},
	{'A', {ANSWER(0), ANSWER(1), ANSWER(2), ANSWER(-1), ANSWER(-2), ANSWER(-3), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_OOM),
	       ERROR(MODEL_READONLY)}},
	{'E', {ANSWER(0), ANSWER(1), ANSWER(3), ANSWER(4), ANSWER(-1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_OOM),
	       ERROR(MODEL_READONLY)}},
	{'R', {ANSWER(1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_READONLY)}},
	{'Y', {ANSWER(1), ANSWER(-1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_READONLY)}},
	{'Q', {ANSWER(1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_READONLY)}},
	{'L', {ANSWER(1), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_READONLY)}},
	{'B', {ANSWER(1), ANSWER(-5), ERROR(MODEL_NOSCRIPT), ERROR(MODEL_OOM), ERROR(MODEL_READONLY)}},
};

/* Of the honest runs on the first server. */
static void everything_was_seen(void)
{
	bool all_ways = true;

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		char operation = expected[i].operation;
		bool all = true;

		printf("# %c:", operation);
		for (int j = 0; expected[i].answers[j]; j++) {
			int answer = expected[i].answers[j];

			printf(answer >= ERROR(0) ? " error %d: %u" : " %d: %u", answer - (answer >= ERROR(0) ? ERROR(0) : ANSWER(0)),
			       seen[(int)operation][answer]);
			all = all && seen[(int)operation][answer] > 0;
		}
		printf("\n");
		tell(all, "the sequences have got each answer that %c has", operation);
	}
	printf("# fences were collected %u times\n", collected);
	tell(collected > 0, "the sequences have had fences collected");
	for (int i = 0; i < WAYS; i++) {
		printf("# %s: %u\n", ways[i], granted[i]);
		all_ways = all_ways && granted[i] > 0;
	}
	tell(all_ways, "the sequences have had waiters told in every way");
	printf("# yes in one number: %u to A, %u to R\n", alone[0], alone[1]);
	tell(alone[0] > 100 && alone[1] > 100, "the sequences have had locks taken and given back in few words");
}

/* The calls as they are written here are the calls of the library. */
static void same_words(void)
{
	struct model_master model;
	struct steps steps;
	unsigned sent = 0;
	bool same = true;

	model_start(&model, 1);
	steps_init(&steps, 1, false);
	for (int i = 0; i < 20000 && same; i++) {
		struct step step;
		bool is_sent;

		steps_draw(&steps, &model, &step);
		step_model(&model, &step, NULL, &model_outcome);
		same = step_words_are_the_librarys(&step, &is_sent);
		sent += is_sent;
		if (!same)
			print_step(i, &step);
	}
	printf("# %u calls that the library sends\n", sent);
	tell(same && sent > 1000, "the calls are in the library's words");
	memset(seen, 0, sizeof(seen));
	memset(granted, 0, sizeof(granted));
	collected = 0;
}

/* ---- the servers ---- */

#define PROGRAMS_MAX 3

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, two;

	return stat(a, &one) == 0 && stat(b, &two) == 0 && one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* Adds the program, if it is there and no other name of one that is listed. By the name that it is found by: what it
 * does depends on that. */
static void add_program(char programs[PROGRAMS_MAX][4096], int *count, const char *name)
{
	const char *path = strchr(name, '/') ? "" : getenv("PATH");
	char *folders = strdup(path ? path : "/usr/bin:/bin"), *rest = folders, *folder;
	char *file = programs[*count];
	bool found = false;

	while (folders && !found && (folder = strsep(&rest, ":"))) {
		snprintf(file, sizeof(programs[0]), "%s%s%s", folder, *folder ? "/" : "", name);
		found = access(file, X_OK) == 0;
	}
	for (int i = 0; found && i < *count; i++)
		found = !is_same_file(programs[i], file);
	*count += found;
	free(folders);
}

/* What tests are to run against first. */
static int find_programs(char programs[PROGRAMS_MAX][4096])
{
	const char *wanted = getenv("DLOCK_TEST_SERVER");
	int count = 0;

	if (wanted && *wanted)
		add_program(programs, &count, wanted);
	add_program(programs, &count, "redis-server");
	add_program(programs, &count, "valkey-server");
	return count;
}

static void self_tests(const char *program)
{
	struct real *real = real_start(program, false);

	if (real)
		find_mutants(real);
	else
		tell(false, "%s starts once more", program);
	real_free(real);
}

static void replay(const char *program, uint64_t seed)
{
	struct real *real = real_start(program, seed >= RESTARTS_FROM);
	int result = real ? take(real, &sequence, seed, NULL, true) : GONE;

	if (result >= 0)
		report(real, &sequence);
	tell(result == ALIKE, "%s and the model agree, seed %" PRIu64, real ? real_name(real) : program, seed);
	real_free(real);
}

int main(void)
{
	static char programs[PROGRAMS_MAX][4096];
	const char *seed = getenv("DLOCK_TEST_SEED");
	int status = servers_require(), count;

	if (status)
		return status;
	/* Servers sort as we do. */
	setenv("LC_ALL", "C", 1);
	count = find_programs(programs);
	if (seed && *seed) {
		for (int i = 0; i < count; i++)
			replay(programs[i], strtoull(seed, NULL, 10));
	} else {
		same_words();
		for (int i = 0; i < count; i++) {
			one_server(programs[i]);
			if (i == 0)
				everything_was_seen();
		}
		printf("# %ld steps on %d servers\n", steps_taken, count);
		self_tests(programs[0]);
	}
	printf("1..%d\n", cases);
	return 0;
}
