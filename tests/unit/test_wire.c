/*
 * test_wire.c - the script's arguments, word by word, and its answers and grants.
 *
 * The order of the arguments is told by the head of each operation in dlock.lua.
 * Real servers are asked in tests/integration: this is for what nobody else says.
 */
#include <criterion/criterion.h>

#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANNEL "dlock!grants-00112233445566778899aabbccddeeff"
#define TOKEN "0006123456789abc-00112233445566778899aabbccddeeff-host/42/program"
#define EPOCH "e0f1:a2b3:1700000000000000:2:always"

static struct quorum quorum;
static struct attempt attempt;
static struct wire_command command;

static void setup(void)
{
	static char key[] = "dlock:name";

	memset(&quorum, 0, sizeof(quorum));
	strcpy(quorum.settings.channel, CHANNEL);
	strcpy(quorum.masters[1].view.epoch, EPOCH);
	attempt = (struct attempt){
	    .key = key, .key_length = strlen(key), .ticket = 77, .mode = MODE_EXCLUSIVE, .waits_for = MODE_EXCLUSIVE};
	strcpy(attempt.token, TOKEN);
}

TestSuite(wire, .init = setup);

static struct request request_of(enum operation op)
{
	return (struct request){.op = op,
	                        .master = 1,
	                        .attempt = &attempt,
	                        .mode = MODE_EXCLUSIVE,
	                        .repair = REPAIR_GUARDED,
	                        .fence = 1700000000000001,
	                        .floor = 9,
	                        .next = 1700000000000002,
	                        .offer_us = 1000500,
	                        .queued = true,
	                        .ttl_us = 9999001};
}

/* What is sent behind "EVALSHA SHA 1 KEY", with a '|' before each word. */
static void expect(const struct request *request, const char *words)
{
	char text[2048] = "";
	size_t used = 0;

	wire_format(&command, request, &quorum);
	cr_assert_leq(command.argc, WIRE_ARGUMENTS_MAX);
	for (int i = 4; i < command.argc; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "|%.*s", (int)command.lengths[i], command.argv[i]);
	cr_assert_str_eq(text, words);
}

Test(wire, acquire)
{
	struct request request = request_of(OP_ACQUIRE);

	expect(&request, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|9|X:10000:" CHANNEL ":" TOKEN "|77|1001");
	request.mode = MODE_SHARED;
	request.queued = false;
	request.offer_us = 0;
	expect(&request, "|A|" EPOCH "|" TOKEN "|S|10000|1700000000000001|9||77|0");
	attempt.cargo.bytes = (void *)(uintptr_t)"bytes";
	attempt.cargo.size = 5;
	attempt.cargo.version = 3;
	request.mode = MODE_EXCLUSIVE;
	expect(&request, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|9||77|0|3|bytes");
	cr_assert_eq(command.argc, WIRE_ARGUMENTS_MAX);
}

/* Nothing behind the proposal where all is as it mostly is; all of it where one thing is not. */
Test(wire, acquire_in_few_words)
{
	struct request plain = request_of(OP_ACQUIRE), request;

	attempt.ticket = 0x0006123456789abc; /* the token's */
	plain.floor = 0;
	plain.queued = false;
	plain.offer_us = 1000000;
	expect(&plain, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001");
	request = plain;
	request.floor = 9;
	expect(&request, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|9||1708865858607804|1000");
	request = plain;
	request.queued = true;
	expect(&request, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|0|X:10000:" CHANNEL ":" TOKEN "|1708865858607804|1000");
	request = plain;
	request.offer_us = 1000001;
	expect(&request, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|0||1708865858607804|1001");
	request = plain;
	request.mode = MODE_SHARED;
	expect(&request, "|A|" EPOCH "|" TOKEN "|S|10000|1700000000000001|0||1708865858607804|1000");
	attempt.cargo = (struct cargo){.bytes = (void *)(uintptr_t)"bytes", .size = 5, .version = 3};
	expect(&plain, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|0||1708865858607804|1000|3|bytes");
	attempt.cargo = (struct cargo){0};
	attempt.ticket = 77;
	expect(&plain, "|A|" EPOCH "|" TOKEN "|X|10000|1700000000000001|0||77|1000");
}

Test(wire, poll)
{
	struct request request = request_of(OP_POLL);

	expect(&request, "|P|" EPOCH "|" TOKEN "|X|X:10000:" CHANNEL ":" TOKEN "|77");
	request.mode = attempt.mode = attempt.waits_for = MODE_SHARED;
	expect(&request, "|P|" EPOCH "|" TOKEN "|S|S:10000:" CHANNEL ":" TOKEN "|77");
	request.queued = false;
	expect(&request, "|P|" EPOCH "|" TOKEN "|S||77");
}

Test(wire, nobody_has_a_place_who_cant_be_told)
{
	struct request request = request_of(OP_POLL);

	quorum.settings.channel[0] = '\0';
	expect(&request, "|P|" EPOCH "|" TOKEN "|X||77");
}

Test(wire, extend)
{
	struct request request = request_of(OP_EXTEND);

	expect(&request, "|E|" EPOCH "|" TOKEN "|X|10000|g|1700000000000001|1001");
	attempt.cargo.version = 3;
	expect(&request, "|E|" EPOCH "|" TOKEN "|X|10000|g|1700000000000001|1001|3");
	request.mode = MODE_SHARED;
	request.unload = true;
	expect(&request, "|E|" EPOCH "|" TOKEN "|S|10000|g|1700000000000001|1001|0");
}

Test(wire, release)
{
	struct request request = request_of(OP_RELEASE);

	expect(&request, "|R|" EPOCH "|" TOKEN "|1700000000000001|1700000000000002|1001|X:10000:" CHANNEL ":" TOKEN);
	request.mode = attempt.mode = MODE_SHARED; /* converted since: the place is what it was */
	expect(&request, "|R|" EPOCH "|" TOKEN "|1700000000000001|1700000000000002|1001|X:10000:" CHANNEL ":" TOKEN);
	request.queued = false;
	expect(&request, "|R|" EPOCH "|" TOKEN "|1700000000000001|1700000000000002|1001");
	request.unload = true;
	request.fence = 0;
	expect(&request, "|R|" EPOCH "|" TOKEN "|0|1700000000000002|1001||1");
}

Test(wire, yield)
{
	struct request request = request_of(OP_YIELD);

	expect(&request, "|Y|" EPOCH "|" TOKEN "|X:10000:" CHANNEL ":" TOKEN "|77|1700000000000002|1001");
}

/* Nothing is cut: the longest of everything. */
Test(wire, the_longest_place)
{
	struct request request = request_of(OP_POLL);
	char words[1024];

	memset(attempt.token, 't', TOKEN_MAX - 1);
	attempt.ticket = UINT64_MAX;
	request.ttl_us = INT64_MAX - 999;
	memset(quorum.settings.channel, 'c', sizeof(quorum.settings.channel) - 1);
	snprintf(words, sizeof(words), "|P|%s|%s|X|X:%lld:%s:%s|18446744073709551615", EPOCH, attempt.token,
	         (long long)(request.ttl_us / 1000 + 1), quorum.settings.channel, attempt.token);
	expect(&request, words);
}

Test(wire, probe)
{
	wire_format_probe(&command, CHANNEL);
	cr_assert_eq(command.argc, 3);
	cr_assert_str_eq(command.argv[0], "PUBLISH");
	cr_assert_str_eq(command.argv[1], CHANNEL);
	cr_assert_eq(command.lengths[1], strlen(CHANNEL));
	cr_assert_eq(command.lengths[2], 0);
}

/* ---- grants ---- */

static bool parse(const char *text, struct grant *ret)
{
	/* Of exactly this size: reading on is found. */
	size_t length = strlen(text);
	char *copy = malloc(length + 1);
	bool good;

	memcpy(copy, text, length);
	copy[length] = '\0'; /* as hiredis ends it */
	good = wire_grant(ret, copy, length);
	free(copy);
	return good;
}

Test(wire, a_grant)
{
	struct grant grant;

	cr_assert(parse("G 1700000000000003 1700000000000100 1700000001000 " EPOCH " " TOKEN, &grant));
	cr_assert_eq(grant.fence, 1700000000000003);
	cr_assert_eq(grant.master_us, 1700000000000100);
	cr_assert_eq(grant.expiry_ms, 1700000001000);
	cr_assert_str_eq(grant.epoch, EPOCH);
	cr_assert_str_eq(grant.token, TOKEN);
	cr_assert(parse("G 9007199254740992 1 4503599627370496 e " TOKEN, &grant));
}

Test(wire, what_is_no_grant)
{
	static const char *const texts[] = {
		"", "G", "G ", "g 1 1 1 e " TOKEN, "G  1 1 1 e " TOKEN, "G 1 1 1  e " TOKEN, "G 1 1 1 e  " TOKEN,
		" G 1 1 1 e " TOKEN, "G 1 1 1 e " TOKEN " ", "G 1 1 1 e " TOKEN " x", "G 1 1 1 e", "G 1 1 1 e ", "G 1 1 1 " TOKEN,
		"G 0 1 1 e " TOKEN, "G 01 1 1 e " TOKEN, "G -1 1 1 e " TOKEN, "G +1 1 1 e " TOKEN, "G 1.0 1 1 e " TOKEN,
		"G 1e3 1 1 e " TOKEN, "G 9007199254740993 1 1 e " TOKEN, "G 1 9007199254740993 1 e " TOKEN,
		"G 1 1 4503599627370497 e " TOKEN, "G 99999999999999999999999999 1 1 e " TOKEN, "G 1 0 1 e " TOKEN,
		"G 1 1 0 e " TOKEN, "G 1 1 1 \x01 " TOKEN, "G 1 1 1 \xff " TOKEN, "G 1 1 1 e\n " TOKEN, "G 1 1 1 e foreign",
		"G 1 1 1 e " TOKEN "/x", "G 1 1 1 e " TOKEN "\n", "G 1 1 1 e X" TOKEN,
	};
	struct grant grant;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		cr_assert_not(parse(texts[i], &grant), "\"%s\"", texts[i]);
	cr_assert_not(wire_grant(&grant, "G 1 1 1 e\0 " TOKEN, sizeof("G 1 1 1 e\0 " TOKEN) - 1));
	cr_assert_not(wire_grant(&grant, "G 1 1 1 e " TOKEN "\0", sizeof("G 1 1 1 e " TOKEN)));
}

Test(wire, words_that_are_too_long)
{
	char text[1024], word[256];
	struct grant grant;

	memset(word, 'e', sizeof(word));
	snprintf(text, sizeof(text), "G 1 1 1 %.*s " TOKEN, EPOCH_MAX - 1, word);
	cr_assert(parse(text, &grant));
	snprintf(text, sizeof(text), "G 1 1 1 %.*s " TOKEN, EPOCH_MAX, word);
	cr_assert_not(parse(text, &grant));
	snprintf(text, sizeof(text), "G 1 1 1 e " TOKEN "%.*s", TOKEN_MAX, word);
	cr_assert_not(parse(text, &grant));
}

/* The way from a grant to its lock. */
Test(wire, the_route_of_a_token)
{
	static const uint8_t random[TOKEN_RANDOM] = {0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0xf7, 1, 2, 3};
	char token[TOKEN_MAX];

	cr_assert_eq(token_route(random), 0x00112233445566f7);
	cr_assert_eq(token_format(token, UINT64_MAX, random, "host/1/program"), 0);
	cr_assert_eq(token_text_route(token), token_route(random));
}
