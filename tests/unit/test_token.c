/*
 * test_token.c - the form of a holder's value, and who this process is.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "identity.h"
#include "token.h"

#define HEAD "0005f1e2d3c4b5a6-00112233445566778899aabbccddeeff-"

static const uint8_t random_bytes[TOKEN_RANDOM] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

static bool parses(const char *text)
{
	return token_parse(text, strlen(text), NULL);
}

Test(token, has_the_documented_form)
{
	char token[TOKEN_MAX];

	cr_assert_eq(token_format(token, UINT64_C(0x0005f1e2d3c4b5a6), random_bytes, "web-1/4711/backup"), 0);
	cr_assert_str_eq(token, HEAD "web-1/4711/backup");
	cr_assert_eq(token_format(token, UINT64_MAX, random_bytes, "h/1/p"), 0);
	cr_assert_eq(strncmp(token, "ffffffffffffffff-", 17), 0);
	cr_assert_eq(token_format(token, 0, random_bytes, "h/1/p"), 0);
	cr_assert_eq(strncmp(token, "0000000000000000-", 17), 0);
}

Test(token, is_read_back_as_written)
{
	char token[TOKEN_MAX];
	struct token_parts parts;

	cr_assert_eq(token_format(token, 1234567890123456, random_bytes, "h.x_y/2147483647/-bash"), 0);
	cr_assert(token_parse(token, strlen(token), &parts));
	cr_assert_eq(parts.ticket, UINT64_C(1234567890123456));
	cr_assert_eq(parts.pid, 2147483647);
	cr_assert_str_eq(parts.host, "h.x_y");
	cr_assert_str_eq(parts.program, "-bash");
}

Test(token, need_not_end_in_a_nul)
{
	char text[] = HEAD "h/1/prog and what follows";
	struct token_parts parts;

	cr_assert(token_parse(text, strlen(HEAD "h/1/prog"), &parts));
	cr_assert_str_eq(parts.program, "prog");
}

Test(token, the_longest_identity_fits)
{
	char host[TOKEN_HOST_MAX + 1], program[TOKEN_PROGRAM_MAX + 1], identity[IDENTITY_MAX], token[TOKEN_MAX];

	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	memset(program, 'p', sizeof(program) - 1);
	program[sizeof(program) - 1] = '\0';
	cr_assert_eq(snprintf(identity, sizeof(identity), "%s/2147483647/%s", host, program), IDENTITY_MAX - 1);
	cr_assert_eq(token_format(token, 1, random_bytes, identity), 0);
	cr_assert(parses(token));
}

Test(token, refuses_an_identity_that_could_not_be_read_back)
{
	static const char *const wrong[] = {"",        "h",       "h/1",     "h//p",        "/1/p",   "h/1/",
	                                    "h/0/p",   "h/01/p",  "h/-1/p",  "h/1/p/q",     "h h/1/p", "h/1/p:q",
	                                    "h/x/p",   "h/1/\xc3\xa4", "h/2147483648/p", "h/99999999999/p"};
	char token[TOKEN_MAX] = "untouched";
	char longer[TOKEN_MAX + 1];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_expect_eq(token_format(token, 1, random_bytes, wrong[i]), -EINVAL, "%s", wrong[i]);
		cr_expect_str_eq(token, "untouched", "%s", wrong[i]);
	}
	memset(longer, 'h', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_assert_eq(token_format(token, 1, random_bytes, longer), -EINVAL);
}

Test(token, foreign_values_are_told_apart)
{
	static const char *const foreign[] = {
		"", "1", "my_random_value", "d5e9b5a6-6a5c-4f0e-9b0f-0d4f2f1f3a11",
		"0005f1e2d3c4b5a6-00112233445566778899aabbccddeeff", HEAD,
		"0005F1E2d3c4b5a6-00112233445566778899aabbccddeeff-h/1/p",
		"0005f1e2d3c4b5a6-00112233445566778899aabbccddeefF-h/1/p",
		"0005f1e2d3c4b5a6_00112233445566778899aabbccddeeff-h/1/p",
		"0005f1e2d3c4b5a6-00112233445566778899aabbccddeeff_h/1/p",
		"0005f1e2d3c4b5a-600112233445566778899aabbccddeeff-h/1/p",
		HEAD "h/1/p ", HEAD "h/1/p\n", HEAD "h/+1/p", HEAD "h/1 /p", HEAD "h/1/p/", " " HEAD "h/1/p",
	};

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		cr_expect_not(parses(foreign[i]), "\"%s\"", foreign[i]);
	cr_assert_not(token_parse(HEAD "h\0x/1/p", sizeof(HEAD "h\0x/1/p") - 1, NULL));
}

Test(token, a_refused_value_leaves_the_parts_alone)
{
	struct token_parts parts = {.ticket = 7, .pid = 8, .host = "a", .program = "b"};

	cr_assert_not(token_parse(HEAD "h/1/?", strlen(HEAD "h/1/?"), &parts));
	cr_assert_eq(parts.ticket, 7);
	cr_assert_eq(parts.pid, 8);
	cr_assert_str_eq(parts.host, "a");
	cr_assert_str_eq(parts.program, "b");
}

/* Each cut and each changed byte is read without going past the end (the copy
 * is of the exact length, for the sanitizers), and every cut is foreign but
 * those within the program's name. */
Test(token, damage_is_never_read_past_the_end)
{
	static const char whole[] = HEAD "host/12/prog";

	for (size_t length = 0; length < strlen(whole); length++) {
		char *text = malloc(length + 1);
		bool expected = length > strlen(HEAD "host/12/");

		memcpy(text, whole, length);
		text[length] = '!';
		text = realloc(text, length ? length : 1);
		cr_expect_eq(token_parse(text, length, NULL), expected, "%zu bytes", length);
		free(text);
	}
	for (size_t i = 0; i < strlen(HEAD "host/12/prog"); i++) {
		char text[] = HEAD "host/12/prog";

		text[i] = ':';
		cr_expect_not(parses(text), "byte %zu", i);
	}
}

Test(identity, is_this_process)
{
	char identity[IDENTITY_MAX], token[TOKEN_MAX];
	struct token_parts parts;

	token_identity(identity);
	cr_assert_eq(token_format(token, 1, random_bytes, identity), 0, "%s", identity);
	cr_assert(token_parse(token, strlen(token), &parts));
	cr_assert_eq(parts.pid, getpid());
	cr_assert_str_eq(parts.program, program_invocation_short_name); /* a plain one */
}

Test(identity, odd_program_names_are_made_plain)
{
	char identity[IDENTITY_MAX];
	char name[] = "my prog\xc3\xa4:x", empty[] = "", longer[] = "a-name-that-is-longer-than-thirty-two-bytes";

	program_invocation_short_name = name;
	token_identity(identity);
	cr_assert_str_eq(strrchr(identity, '/'), "/my_prog___x");
	program_invocation_short_name = empty;
	token_identity(identity);
	cr_assert_str_eq(strrchr(identity, '/'), "/unknown");
	program_invocation_short_name = longer;
	token_identity(identity);
	cr_assert_str_eq(strrchr(identity, '/'), "/a-name-that-is-longer-than-thirt");
}

Test(identity, a_child_has_its_own)
{
	char identity[IDENTITY_MAX], mine[32];
	int status;
	pid_t child;

	token_identity(identity);
	child = fork();
	if (child == 0) {
		snprintf(mine, sizeof(mine), "/%d/", (int)getpid());
		token_identity(identity);
		_exit(strstr(identity, mine) ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
