/*
 * test_quorum.c - which masters may vote, and why the others may not.
 *
 * How it works: most tests let a client meet model masters (core_fixture.h) and
 * look at the standings; what no model master does is told to the quorum directly.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_fixture.h"

#define says(world, expected) cr_assert(world_said(world, expected), "the trace differs")

static const struct client_settings plain = {
    .ttl_us = 1 * SECONDS, .node_timeout_us = 50 * MS, .quorum_timeout_us = 5 * SECONDS};

static const struct master *seen(const struct client *client, unsigned master)
{
	return &client->quorum.masters[master - 1];
}

/* A client that has met all masters. */
static struct client *joined(struct world *world, const struct client_settings *settings)
{
	struct client *client = world_client(world, settings);

	world_connect_all(client);
	world_run(world, 1 * MS);
	return client;
}

/* ---- a cluster begins ---- */

Test(quorum, virgin_cluster_waits_once)
{
	struct world *w = world_new(3);
	struct client *a = joined(w, &plain), *b;

	says(w,
	        "0.000 a connects to 1\n"
	        "0.000 a asks 1: V\n"
	        "0.000 a connects to 2\n"
	        "0.000 a asks 2: V\n"
	        "0.000 a connects to 3\n"
	        "0.000 a asks 3: V\n"
	        "0.200 1 to a: virgin; asked\n"
	        "0.200 2 to a: virgin; asked\n"
	        "0.200 3 to a: virgin; asked\n"
	        "0.200 a asks 1 2 3: I\n"
	        "0.400 1 to a: known, in quarantine; quarantined\n"
	        "0.400 2 to a: known, in quarantine; quarantined\n"
	        "0.400 3 to a: known, in quarantine; quarantined\n");
	cr_assert_eq(a->quorum.voting, 0);
	for (unsigned i = 1; i <= 3; i++)
		cr_assert_eq(seen(a, i)->standing, STANDING_QUARANTINED);
	world_run(w, 9 * SECONDS);
	cr_assert_eq(a->quorum.voting, 0);
	world_run(w, 1100 * MS);
	cr_assert_eq(a->quorum.voting, 3);
	/* The next client finds it as it is. */
	b = joined(w, &plain);
	cr_assert_eq(b->quorum.voting, 3);
	world_free(w);
}

Test(quorum, virgin_cluster_is_made_only_when_all_were_heard_or_given_up)
{
	struct world *w = world_new(3);
	struct client *a = world_client(w, &plain);

	world_connect(a, 1);
	world_connect(a, 2);
	world_run(w, 1 * SECONDS);
	cr_assert_eq(w->masters[0].data.cluster[0], '\0');
	cr_assert_not(quorum_settled(&a->quorum, w->now_us));
	world_refuse(a, 3);
	world_run(w, 1 * MS);
	cr_assert_neq(w->masters[0].data.cluster[0], '\0');
	cr_assert(quorum_settled(&a->quorum, w->now_us));
	world_free(w);
}

Test(quorum, word_of_an_operator_waives_the_wait)
{
	struct world *w = world_new(3);
	struct client *a = world_client(w, &plain);

	world_init_masters(w, a);
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 3);
	cr_assert_str_eq(w->masters[0].data.cluster, "1 00000000000000c1 3 10000");
	world_free(w);
}

Test(quorum, quarantine_can_be_switched_off)
{
	struct world *w = world_new(3);
	struct client_settings settings = plain;

	settings.no_quarantine = true;
	cr_assert_eq(joined(w, &settings)->quorum.voting, 3);
	world_free(w);
}

Test(quorum, first_clients_that_race_agree)
{
	struct world *w = world_new(3);
	struct client *a = world_client(w, &plain), *b = world_client(w, &plain);

	for (unsigned i = 1; i <= 3; i++) {
		world_link(b, i)->there_us = 40 + 60 * (i % 2);
		world_connect(i % 2 ? a : b, i);
	}
	world_connect_all(a);
	world_connect_all(b);
	world_run(w, 11 * SECONDS);
	cr_assert_eq(a->quorum.voting, 3);
	cr_assert_eq(b->quorum.voting, 3);
	cr_assert_str_eq(a->quorum.cluster_id, b->quorum.cluster_id);
	world_free(w);
}

Test(quorum, first_clients_that_race_with_different_limits_are_bounded_by_both)
{
	struct world *w = world_new(3);
	struct client_settings longer = plain;
	struct client *a, *b;

	longer.ttl_us = 30 * SECONDS;
	a = world_client(w, &plain);
	b = world_client(w, &longer);
	/* a comes first to 1, b to 2 and 3. */
	world_link(a, 2)->there_us = world_link(a, 3)->there_us = world_link(b, 1)->there_us = 5 * MS;
	world_connect_all(a);
	world_connect_all(b);
	world_run(w, 100 * MS);
	cr_assert_str_eq(w->masters[0].data.cluster, "1 00000000000000c1 3 10000");
	cr_assert_str_eq(w->masters[1].data.cluster, "1 00000000000000c1 3 30000");
	/* No lease above the smaller, no quarantine below the larger. */
	cr_assert_eq(a->quorum.lease_limit_us, 10 * SECONDS);
	cr_assert_eq(b->quorum.lease_limit_us, 10 * SECONDS);
	cr_assert_eq(a->quorum.quarantine_us, 30 * SECONDS);
	cr_assert_eq(b->quorum.quarantine_us, 30 * SECONDS);
	world_run(w, 31 * SECONDS);
	cr_assert_eq(a->quorum.voting, 3);
	world_free(w);
}

/* ---- clusters that differ ---- */

Test(quorum, id_of_the_majority_is_adopted)
{
	struct world *w = world_ready(3, 1);
	struct client_settings other = plain;
	struct client *b;

	other.fingerprint = "00000000000000c2"; /* other names for the same masters */
	b = joined(w, &other);
	cr_assert_eq(b->quorum.voting, 3);
	cr_assert_str_eq(b->quorum.cluster_id, "00000000000000c1");
	world_free(w);
}

Test(quorum, master_of_another_cluster_is_refused_by_name)
{
	struct world *w = world_ready(5, 0);
	struct client_settings other = plain;
	struct client *a, *b;

	a = world_client(w, &plain);
	world_init_masters(w, a);
	strcpy(w->masters[3].data.cluster, "1 00000000000000c9 5 10000");
	strcpy(w->masters[4].data.cluster, "1 00000000000000c1 3 10000");
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 3);
	cr_assert_eq(seen(a, 4)->reason, REASON_CLUSTER);
	cr_assert_eq(seen(a, 5)->reason, REASON_COUNT);
	other.max_ttl_us = 20 * SECONDS;
	b = joined(w, &other);
	cr_assert_eq(b->quorum.voting, 0);
	cr_assert_eq(seen(b, 1)->reason, REASON_MAX_TTL);
	world_free(w);
}

Test(quorum, no_majority_of_any_cluster_decides_nothing)
{
	struct world *w = world_ready(3, 0);
	struct client *a = world_client(w, &plain);

	world_init_masters(w, a);
	strcpy(w->masters[0].data.cluster, "1 00000000000000c8 3 10000");
	strcpy(w->masters[1].data.cluster, "1 00000000000000c9 3 10000");
	world_connect_all(a);
	world_run(w, 2 * SECONDS);
	cr_assert_eq(a->quorum.voting, 0);
	cr_assert_not(a->quorum.decided);
	cr_assert_eq(seen(a, 3)->reason, REASON_UNDECIDED);
	/* And nobody is written to. */
	cr_assert_str_eq(w->masters[1].data.cluster, "1 00000000000000c9 3 10000");
	world_free(w);
}

Test(quorum, cluster_key_that_nobody_understands_is_foreign)
{
	struct world *w = world_ready(3, 0);
	struct client *a = world_client(w, &plain);

	world_init_masters(w, a);
	strcpy(w->masters[2].data.cluster, "2 something of a later version");
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 2);
	cr_assert_eq(seen(a, 3)->reason, REASON_CLUSTER);
	world_free(w);
}

Test(quorum, majority_that_forgot_is_taken_in_again)
{
	struct world *w = world_ready(3, 0);
	struct client *a = world_client(w, &plain);

	world_init_masters(w, a);
	model_flush(world_master(w, 1));
	model_flush(world_master(w, 2));
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 1);
	cr_assert_eq(seen(a, 1)->standing, STANDING_QUARANTINED);
	cr_assert_str_eq(w->masters[0].data.cluster, "1 00000000000000c1 3 10000");
	world_run(w, 11 * SECONDS);
	cr_assert_eq(a->quorum.voting, 3);
	world_free(w);
}

Test(quorum, limits_of_the_cluster_are_known_while_no_master_is_at_hand)
{
	struct world *w = world_ready(3, 0);
	struct client_settings settings = plain;
	struct client *a, *b;

	settings.max_ttl_us = 60 * SECONDS;
	a = world_client(w, &settings);
	world_init_masters(w, a);
	b = joined(w, &plain);
	cr_assert_eq(b->quorum.lease_limit_us, 60 * SECONDS);
	for (unsigned i = 1; i <= 3; i++)
		world_break(b, i, false);
	cr_assert_eq(b->quorum.lease_limit_us, 60 * SECONDS);
	cr_assert_eq(b->quorum.quarantine_us, 60 * SECONDS);
	world_free(w);
}

Test(quorum, fingerprint_does_not_know_an_order)
{
	static const char *const one[] = {"a:6379", "b:6379", "c:6379"}, *const two[] = {"c:6379", "a:6379", "b:6379"},
	                         *const three[] = {"a:6379", "b:6379", "d:6379"},
	                         *const four[] = {"a:6379", "b:6397", "c:6379"};
	char x[CLUSTER_ID_SIZE], y[CLUSTER_ID_SIZE];

	quorum_fingerprint(x, one, 3);
	quorum_fingerprint(y, two, 3);
	cr_assert_str_eq(x, y);
	cr_assert_eq(strlen(x), 16);
	quorum_fingerprint(y, three, 3);
	cr_assert_str_neq(x, y);
	quorum_fingerprint(y, four, 3);
	cr_assert_str_neq(x, y);
	quorum_fingerprint(y, one, 2);
	cr_assert_str_neq(x, y);
}

Test(quorum, cluster_key_is_read_strictly)
{
	static const char *const wrong[] = {"1 00000000000000c1 3", "1 00000000000000c1 3 10000 x", "x",
	                                    "1 00000000000000c1 0 10000", "1 00000000000000c1 3 0",
	                                    "2 00000000000000c1 3 10000", "1 NOTHEX 3 10000"};
	struct view view;

	memset(&view, 0, sizeof(view));
	cr_assert(view_parse_cluster(&view, "1 00000000000000c1 3 10000", 26));
	cr_assert(view.has_cluster && view.cluster_understood);
	cr_assert_eq(view.cluster_count, 3);
	cr_assert_eq(view.max_ttl_ms, 10000);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		cr_assert_not(view_parse_cluster(&view, wrong[i], strlen(wrong[i])), "%s", wrong[i]);
		cr_assert(view.has_cluster);
		cr_assert_not(view.cluster_understood);
	}
	cr_assert(view_parse_cluster(&view, "", 0));
	cr_assert_not(view.has_cluster);
}

/* ---- incarnations ---- */

/* A master that votes restarts; its standing for the client afterwards. */
static enum standing after(struct world *w, struct client *a, void (*change)(struct model_master *))
{
	change(world_master(w, 2));
	world_break_master(w, 2);
	world_connect_master(w, 2);
	world_run(w, 2 * MS);
	return seen(a, 2)->standing;
}

static void restart_empty(struct model_master *master)
{
	model_restart(master, false);
}

static void restart_with_data(struct model_master *master)
{
	model_restart(master, true);
}

static void nothing(struct model_master *master)
{
	(void)master;
}

static struct world *durable_world(void)
{
	struct world *w = world_new(3);
	struct client *a = world_client(w, &plain);

	for (unsigned i = 0; i < 3; i++)
		w->masters[i].always = true;
	world_init_masters(w, a);
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 3);
	world_zero(w);
	return w;
}

Test(quorum, broken_connection_alone_changes_nothing)
{
	struct world *w = world_ready(3, 1);

	cr_assert_eq(after(w, &w->clients[0], nothing), STANDING_VOTING);
	world_free(w);
}

Test(quorum, restart_is_followed_by_quarantine)
{
	struct world *w = world_ready(3, 1);
	struct client *a = &w->clients[0];

	cr_assert_eq(after(w, a, restart_empty), STANDING_QUARANTINED);
	cr_assert_eq(a->quorum.voting, 2);
	/* Restarted in it, it begins anew. */
	world_run(w, 5 * SECONDS);
	cr_assert_eq(after(w, a, restart_with_data), STANDING_QUARANTINED);
	world_run(w, 9 * SECONDS);
	cr_assert_eq(a->quorum.voting, 2);
	world_run(w, 1100 * MS);
	cr_assert_eq(a->quorum.voting, 3);
	world_free(w);
}

Test(quorum, restart_with_data_that_may_be_old_is_followed_by_quarantine)
{
	struct world *w = world_ready(3, 1);

	cr_assert_eq(after(w, &w->clients[0], restart_with_data), STANDING_QUARANTINED);
	world_free(w);
}

Test(quorum, durable_master_votes_at_once_after_a_restart)
{
	struct world *w = durable_world();
	struct client *a = &w->clients[0];

	cr_assert_eq(after(w, a, restart_with_data), STANDING_VOTING);
	cr_assert_not_null(strstr(seen(a, 2)->view.epoch, ":always"));
	/* Of one that came back empty there is no mark. */
	cr_assert_eq(after(w, a, restart_empty), STANDING_QUARANTINED);
	world_free(w);
}

Test(quorum, promoted_replica_waits_though_its_data_say_durable)
{
	struct world *w = durable_world();

	cr_assert_eq(after(w, &w->clients[0], model_promote), STANDING_QUARANTINED);
	world_free(w);
}

static void restart_lazy(struct model_master *master)
{
	model_restart(master, true);
	master->always = false;
}

Test(quorum, durability_that_was_switched_off_is_told_at_the_next_look)
{
	struct world *w = durable_world();
	struct client *a = &w->clients[0];

	/* What it has loaded may be a snapshot: the mark in it does not speak for what came after. */
	cr_assert_eq(after(w, a, restart_lazy), STANDING_QUARANTINED);
	cr_assert_null(strstr(seen(a, 2)->view.epoch, ":always"));
	cr_assert_eq(after(w, a, restart_with_data), STANDING_QUARANTINED);
	world_free(w);
}

static void hide_configuration(struct model_master *master)
{
	master->always_known = false;
}

Test(quorum, durability_that_is_not_told_is_believed_for_the_same_incarnation_only)
{
	struct world *w = durable_world();
	struct client *a = &w->clients[0];

	cr_assert_eq(after(w, a, hide_configuration), STANDING_VOTING);
	cr_assert_not_null(strstr(seen(a, 2)->view.epoch, ":always"));
	cr_assert_eq(after(w, a, restart_with_data), STANDING_QUARANTINED);
	cr_assert_null(strstr(seen(a, 2)->view.epoch, ":always"));
	world_free(w);
}

/* ---- facts ---- */

static enum reason reason_with(struct introduction introduction)
{
	struct quorum quorum;
	struct quorum_settings settings = {.count = 3, .ttl_us = 1 * SECONDS, .node_timeout_us = 50 * MS};
	struct effects effects = {.count = 0};

	strcpy(settings.fingerprint, "00000000000000c1");
	quorum_init(&quorum, &settings);
	quorum_connected(&quorum, 0, &introduction, 1 * SECONDS, &effects);
	/* A master that can't run the script is not asked to. */
	cr_assert_eq(effects.count, quorum.masters[0].reason == REASON_NONE || introduction.evicts);
	return quorum.masters[0].reason;
}

static struct introduction fine(void)
{
	struct introduction in = {.info_known = true, .is_master = true, .version = 60200, .run_id_length = 3};

	strcpy(in.incarnation, "run:hist");
	return in;
}

Test(quorum, masters_are_refused_by_what_they_tell_of_themselves)
{
	struct introduction in = fine();

	cr_assert_eq(reason_with(in), REASON_NONE);
	in.version = 60019;
	cr_assert_eq(reason_with(in), REASON_VERSION);
	in = fine();
	in.is_master = false;
	cr_assert_eq(reason_with(in), REASON_ROLE);
	in = fine();
	in.loading = true;
	cr_assert_eq(reason_with(in), REASON_LOADING);
	in = fine();
	in.info_known = false;
	cr_assert_eq(reason_with(in), REASON_UNKNOWN);
	in = fine();
	in.evicts = true;
	cr_assert_eq(reason_with(in), REASON_EVICTION);
}

Test(quorum, refused_master_is_looked_at_again)
{
	struct world *w = world_ready(3, 1);
	struct client *a = &w->clients[0];

	world_master(w, 2)->read_only = true;
	world_break(a, 2, false);
	world_connect(a, 2);
	cr_assert_eq(seen(a, 2)->reason, REASON_ROLE);
	cr_assert_eq(a->quorum.voting, 2);
	world_master(w, 2)->read_only = false;
	world_run(w, 1010 * MS);
	cr_assert_eq(a->quorum.voting, 3);
	world_free(w);
}

Test(quorum, two_addresses_of_one_server_have_one_vote)
{
	struct world *w = world_ready(3, 0);
	struct client *a = world_client(w, &plain);

	world_init_masters(w, a);
	strcpy(w->masters[2].incarnation, w->masters[0].incarnation);
	w->masters[2].data = w->masters[0].data;
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 2);
	cr_assert_eq(seen(a, 3)->reason, REASON_DUPLICATE);
	cr_assert_eq(seen(a, 3)->other, 0);
	/* The other address is as good, when the first is gone. */
	world_break(a, 1, false);
	cr_assert_eq(seen(a, 3)->standing, STANDING_VOTING);
	cr_assert_eq(a->quorum.voting, 2);
	world_free(w);
}

/* ---- clocks ---- */

Test(quorum, clock_that_stands_off_waits_until_it_is_known_to_be_stable)
{
	struct world *w = world_ready(3, 0);
	struct client *a;

	w->masters[2].clock_us += 500 * MS;
	a = world_client(w, &plain);
	world_init_masters(w, a);
	world_connect_all(a);
	world_run(w, 1 * MS);
	cr_assert_eq(a->quorum.voting, 2);
	cr_assert_eq(seen(a, 3)->reason, REASON_CLOCK);
	world_run(w, 9 * SECONDS);
	cr_assert_eq(a->quorum.voting, 2);
	world_run(w, 2 * SECONDS);
	cr_assert_eq(a->quorum.voting, 3);
	world_free(w);
}

Test(quorum, skew_that_the_limit_does_not_allow_is_refused_for_good)
{
	struct world *w = world_ready(3, 0);
	struct client *a;

	w->masters[2].clock_us += 3100 * MS; /* M, 10 s, is not above 2 S + 2 * 3.1 s */
	a = world_client(w, &plain);
	world_init_masters(w, a);
	world_connect_all(a);
	world_run(w, 30 * SECONDS);
	cr_assert_eq(a->quorum.voting, 2);
	cr_assert_eq(seen(a, 3)->reason, REASON_SKEW);
	world_free(w);
}

Test(quorum, small_offsets_and_slow_routes_are_no_reason)
{
	struct world *w = world_ready(3, 0);
	struct client *a;

	w->masters[2].clock_us += 90 * MS; /* margin: 1 % of M + 2 ms = 102 ms */
	a = world_client(w, &plain);
	world_init_masters(w, a);
	/* The way there takes 400 ms: the offset is uncertain, not wrong. */
	world_link(a, 2)->there_us = 400 * MS;
	a->quorum.settings.node_timeout_us = 1 * SECONDS;
	world_connect_all(a);
	world_run(w, 1 * SECONDS);
	cr_assert_eq(a->quorum.voting, 3);
	world_free(w);
}

Test(quorum, clock_that_moves_stops_the_vote_in_that_very_answer)
{
	struct world *w = world_ready(3, 1);
	struct quorum *q = &w->clients[0].quorum;
	int64_t now_us = w->now_us, unix_us = now_us + w->masters[0].clock_us;

	cr_assert_eq(quorum_voters(q), 7);
	quorum_sent(q, 0, now_us);
	quorum_answered(q, 0, now_us, unix_us + 11 * MS, now_us + 100); /* a lease of 1 s allows for 12 ms */
	cr_assert_eq(quorum_voters(q), 7);
	quorum_sent(q, 1, now_us);
	quorum_answered(q, 1, now_us, unix_us - 13 * MS, now_us + 100);
	cr_assert_eq(quorum_voters(q), 5);
	cr_assert_eq(q->masters[1].reason, REASON_CLOCK);
	world_free(w);
}

/* A clock that was not looked at for long may have drifted; after M a key of before is gone anyway. */
Test(quorum, clock_may_drift_for_as_long_as_nobody_looks)
{
	static const struct {
		int64_t after_us, moved_us;
		bool votes;
	} cases[] = {
	    {5 * SECONDS, 51 * MS, true},
	    {5 * SECONDS, 53 * MS, false},
	    {60 * SECONDS, 101 * MS, true},
	    {60 * SECONDS, 103 * MS, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world *w = world_ready(3, 1);
		struct quorum *q = &w->clients[0].quorum;
		int64_t now_us = q->masters[0].clock_seen_us + cases[i].after_us;
		int64_t unix_us = now_us + w->masters[0].clock_us;

		quorum_sent(q, 0, now_us);
		quorum_answered(q, 0, now_us, unix_us + cases[i].moved_us, now_us);
		cr_expect_eq((quorum_voters(q) & 1) == 1, cases[i].votes, "case %zu", i);
		world_free(w);
	}
}

Test(quorum, median_of_the_clocks_and_tickets_above_all_before)
{
	struct world *w = world_ready(3, 1);
	struct quorum *q = &w->clients[0].quorum;
	uint64_t ticket;

	cr_assert_eq(quorum_clock_us(q, w->now_us), w->now_us + w->masters[0].clock_us);
	ticket = quorum_ticket(q, w->now_us);
	cr_assert_eq(ticket, (uint64_t)(w->now_us + w->masters[0].clock_us));
	cr_assert_eq(quorum_ticket(q, w->now_us), ticket + 1);
	cr_assert_eq(quorum_ticket(q, w->now_us - 5 * SECONDS), ticket + 2);
	for (unsigned i = 1; i <= 3; i++)
		world_break(&w->clients[0], i, false);
	cr_assert_eq(quorum_clock_us(q, w->now_us), 0);
	world_free(w);
}

/* ---- silence ---- */

Test(quorum, silent_master_is_not_asked_and_then_connected_anew)
{
	struct world *w = world_ready(3, 1);
	struct quorum *q = &w->clients[0].quorum;
	struct effects effects = {.count = 0};
	int64_t t = w->now_us;

	quorum_sent(q, 1, t);
	cr_assert(quorum_askable(q, 1, t + 50 * MS));
	cr_assert_eq(quorum_next_us(q, t), t + 50 * MS + 1);
	cr_assert_not(quorum_askable(q, 1, t + 50 * MS + 1));
	cr_assert_eq(quorum_next_us(q, t + 50 * MS + 1), t + 200 * MS + 1);
	quorum_tick(q, t + 200 * MS, &effects);
	cr_assert_eq(effects.count, 0);
	quorum_tick(q, t + 200 * MS + 1, &effects);
	cr_assert_eq(effects.count, 1);
	cr_assert_eq(effects.list[0].kind, EFFECT_RECONNECT);
	cr_assert_eq(effects.list[0].master, 1);
	world_free(w);
}

Test(quorum, answer_ends_the_silence)
{
	struct world *w = world_ready(3, 1);
	struct quorum *q = &w->clients[0].quorum;
	int64_t t = w->now_us;

	quorum_sent(q, 1, t);
	quorum_sent(q, 1, t + 1 * MS);
	quorum_answered(q, 1, t, 0, t + 40 * MS);
	cr_assert_not(quorum_silent(q, 1, t + 90 * MS));
	cr_assert(quorum_silent(q, 1, t + 91 * MS)); /* the second one has no answer */
	cr_assert_not(quorum_owes(q, 1, 25 * MS, t + 65 * MS));
	cr_assert(quorum_owes(q, 1, 25 * MS, t + 66 * MS)); /* a call that ends now can say whom it has waited for */
	quorum_answered(q, 1, t + 1 * MS, 0, t + 92 * MS);
	cr_assert_not(quorum_owes(q, 1, 25 * MS, t + 10 * SECONDS));
	cr_assert_not(quorum_silent(q, 1, t + 10 * SECONDS));
	cr_assert_eq(quorum_next_us(q, t + 92 * MS), NEVER_US);
	world_free(w);
}

/* Else it would have more and more under way: the others make the majority. */
Test(quorum, who_answers_late_is_as_good_as_silent)
{
	struct world *w = world_ready(3, 1);
	struct quorum *q = &w->clients[0].quorum;
	int64_t t = w->now_us;

	for (int i = 0; i < 3; i++)
		quorum_sent(q, 1, t + i * 40 * MS);
	quorum_answered(q, 1, t, 0, t + 100 * MS);
	cr_assert(quorum_silent(q, 1, t + 100 * MS));
	quorum_answered(q, 1, t + 40 * MS, 0, t + 90 * MS);
	cr_assert_not(quorum_silent(q, 1, t + 100 * MS)); /* it has caught up */
	quorum_answered(q, 1, t + 80 * MS, 0, t + 190 * MS);
	cr_assert_not(quorum_silent(q, 1, t + 190 * MS)); /* nothing is to come any more */
	world_free(w);
}

Test(quorum, longer_leases_raise_the_limit_before_a_cluster_is_decided_only)
{
	struct quorum quorum;
	struct quorum_settings settings = {.count = 3, .ttl_us = 1 * SECONDS, .node_timeout_us = 50 * MS};
	struct effects effects = {.count = 0};
	struct world *w;

	strcpy(settings.fingerprint, "00000000000000c1");
	quorum_init(&quorum, &settings);
	cr_assert_eq(quorum.lease_limit_us, 10 * SECONDS);
	quorum_ask_ttl(&quorum, 40 * SECONDS, 1, &effects);
	cr_assert_eq(quorum.lease_limit_us, 40 * SECONDS);
	quorum_ask_ttl(&quorum, 5 * SECONDS, 1, &effects);
	cr_assert_eq(quorum.lease_limit_us, 40 * SECONDS);
	w = world_ready(3, 1);
	quorum_ask_ttl(&w->clients[0].quorum, 40 * SECONDS, w->now_us, &effects);
	cr_assert_eq(w->clients[0].quorum.lease_limit_us, 10 * SECONDS);
	world_free(w);
}
