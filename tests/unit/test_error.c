/*
 * test_error.c - errno's words, each thread's sentence, and DLOCK_DEBUG.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "debug.h"
#include "dlock.h"
#include "error.h"

Test(error, the_librarys_own_meanings)
{
	cr_assert(strstr(dlock_strerror(EWOULDBLOCK), "held by another"));
	cr_assert(strstr(dlock_strerror(ETIMEDOUT), "time-out"));
	cr_assert(strstr(dlock_strerror(ENOLCK), "quorum"));
	cr_assert(strstr(dlock_strerror(ESTALE), "lost"));
	cr_assert(strstr(dlock_strerror(ECHILD), "fork"));
	cr_assert(strstr(dlock_strerror(EBADF), "dlock_open"));
}

Test(error, every_errno_of_the_header_has_one)
{
	static const int errors[] = {EWOULDBLOCK, ETIMEDOUT,    ENOLCK, ESTALE, EINTR,  EINPROGRESS, EALREADY, ECHILD,
	                             EBADF,       EINVAL, ENAMETOOLONG, EEXIST, ENOENT, ENOMEM, EMFILE,      ENFILE,
	                             E2BIG};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		cr_expect_str_neq(dlock_strerror(errors[i]), strerrordesc_np(errors[i]), "%d", errors[i]);
}

Test(error, other_values)
{
	cr_assert_str_eq(dlock_strerror(ENOTDIR), "Not a directory");
	cr_assert_str_eq(dlock_strerror(-1), "unknown error");
	cr_assert_str_eq(dlock_strerror(123456), "unknown error");
	cr_assert_not_null(dlock_strerror(0));
}

Test(error, detail_is_empty_at_first_and_when_cleared)
{
	cr_assert_str_eq(dlock_error_detail(), "");
	error_detail_set("%s:%d", "node", 3);
	cr_assert_str_eq(dlock_error_detail(), "node:3");
	error_detail_clear();
	cr_assert_str_eq(dlock_error_detail(), "");
}

Test(error, detail_may_quote_itself_and_keeps_errno)
{
	error_detail_set("refused");
	errno = ENOLCK;
	error_detail_set("node 1: %s", dlock_error_detail());
	cr_assert_eq(errno, ENOLCK);
	cr_assert_str_eq(dlock_error_detail(), "node 1: refused");
}

Test(error, detail_is_bounded)
{
	char *text = malloc(5001);

	memset(text, 'x', 5000);
	text[5000] = '\0';
	error_detail_set("%s", text);
	cr_assert_eq(strlen(dlock_error_detail()), ERROR_DETAIL_MAX - 1);
	cr_assert_str_eq(dlock_error_detail() + ERROR_DETAIL_MAX - 5, "x...");
	text[ERROR_DETAIL_MAX - 1] = '\0';
	error_detail_set("%s", text);
	cr_assert_str_eq(dlock_error_detail(), text);
	free(text);
}

static void *set_in_thread(void *seen)
{
	*(bool *)seen = dlock_error_detail()[0] == '\0';
	error_detail_set("of the other thread");
	return NULL;
}

Test(error, detail_belongs_to_the_thread)
{
	pthread_t thread;
	bool was_empty = false;

	error_detail_set("mine");
	cr_assert_eq(pthread_create(&thread, NULL, set_in_thread, &was_empty), 0);
	pthread_join(thread, NULL);
	cr_assert(was_empty);
	cr_assert_str_eq(dlock_error_detail(), "mine");
}

Test(error, version)
{
	unsigned major, minor, patch;
	char rest;

	cr_assert_eq(sscanf(dlock_version(), "%u.%u.%u%c", &major, &minor, &patch, &rest), 3);
}

/* What a child with that DLOCK_DEBUG writes to stderr for two lines. */
static const char *output_of(const char *value, char *out, size_t size)
{
	size_t length = 0;
	int fds[2], status;
	ssize_t n;
	pid_t child;

	cr_assert_eq(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		if (value)
			setenv("DLOCK_DEBUG", value, 1);
		else
			unsetenv("DLOCK_DEBUG");
		errno = EDOM;
		debug_log(DEBUG_NODE, "connected to %s\nbell\a", "a:1");
		debug_log(DEBUG_WIRE, "PING");
		_exit(errno == EDOM ? 0 : 1);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + length, size - 1 - length)) > 0)
		length += (size_t)n;
	out[length] = '\0';
	close(fds[0]);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return out;
}

Test(debug, silent_unless_asked)
{
	char out[4096];

	cr_assert_str_eq(output_of(NULL, out, sizeof(out)), "");
	cr_assert_str_eq(output_of("", out, sizeof(out)), "");
	cr_assert_str_eq(output_of("config,core,keeper,handle", out, sizeof(out)), "");
}

Test(debug, a_line_has_time_pid_and_mask)
{
	char out[4096];
	int year, month, day, hour, minute, second, pid, end = 0;
	long us;

	output_of("node", out, sizeof(out));
	cr_assert_eq(sscanf(out, "%4d-%2d-%2dT%2d:%2d:%2d.%6ldZ dlock[%d] node: connected to a:1?bell?%n", &year, &month,
	                    &day, &hour, &minute, &second, &us, &pid, &end), 8, "%s", out);
	cr_assert(end > 0, "%s", out);
	cr_assert_str_eq(out + end, "\n");
}

Test(debug, masks_add_up)
{
	char out[4096];

	output_of("node wire", out, sizeof(out));
	cr_assert(strstr(out, "node: ") && strstr(out, "wire: PING\n"), "%s", out);
	output_of("all", out, sizeof(out));
	cr_assert(strstr(out, "node: ") && strstr(out, "wire: PING\n"), "%s", out);
}

Test(debug, help_lists_every_mask)
{
	static const char *const masks[] = {"config", "core", "node", "wire", "keeper", "handle", "all"};
	char out[4096];

	output_of("help", out, sizeof(out));
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		char line[32];

		snprintf(line, sizeof(line), "\n  %s ", masks[i]);
		cr_expect(strstr(out, line), "%s in %s", masks[i], out);
	}
	cr_assert_not(strstr(out, "PING"));
}

Test(debug, an_unknown_mask_is_told_once)
{
	char out[4096];

	cr_assert_str_eq(output_of("nodes", out, sizeof(out)),
	                 "DLOCK_DEBUG: \"nodes\" is unknown; DLOCK_DEBUG=help lists what is accepted\n");
}

static bool evaluated;

static const char *costly(void)
{
	evaluated = true;
	return "text";
}

Test(debug, arguments_are_not_evaluated_when_off)
{
	unsetenv("DLOCK_DEBUG");
	debug_log(DEBUG_CORE, "%s", costly());
	debug_log(DEBUG_CORE, "%s", costly());
	cr_assert_not(evaluated);
}
