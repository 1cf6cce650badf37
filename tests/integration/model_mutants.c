/* model_mutants.c - see model_mutants.h. */
#include "tests/integration/model_mutants.h"

#include <stdio.h>
#include <string.h>

#define MUTANT(name) \
	static void name(struct model_master *master, const struct model_call *call, int64_t us, struct model_reply *reply)

MUTANT(without_tombstones)
{
	struct model_call changed = *call;

	if (call->operation == 'R')
		changed.number = 0;
	model_execute(master, &changed, us, reply);
}

MUTANT(repairing_what_is_broken)
{
	struct model_mark marks[MODEL_BROKEN];

	memcpy(marks, master->data.marks, sizeof(marks));
	if (call->operation == 'E')
		memset(master->data.marks, 0, sizeof(marks));
	model_execute(master, call, us, reply);
	if (call->operation == 'E')
		memcpy(master->data.marks, marks, sizeof(marks));
}

MUTANT(breaking_without_marks)
{
	struct model_mark marks[MODEL_BROKEN];

	memcpy(marks, master->data.marks, sizeof(marks));
	model_execute(master, call, us, reply);
	if (call->operation == 'B')
		memcpy(master->data.marks, marks, sizeof(marks));
}

MUTANT(a_millisecond_longer)
{
	struct model_call changed = *call;

	changed.ttl_ms += call->operation == 'A' || call->operation == 'E';
	model_execute(master, &changed, us, reply);
}

MUTANT(collecting_no_fences)
{
	struct model_data *data = &master->data;
	struct model_fence fences[MODEL_KEYS];

	memcpy(fences, data->fences, sizeof(fences));
	model_execute(master, call, us, reply);
	for (unsigned i = 0; call->operation == 'R' && i < MODEL_KEYS; i++)
		if (fences[i].known && !data->fences[i].known)
			data->fences[i] = fences[i];
}

MUTANT(of_every_epoch)
{
	struct model_call changed = *call;

	memcpy(changed.epoch, master->data.epoch, sizeof(changed.epoch));
	model_execute(master, &changed, us, reply);
}

MUTANT(repairing_without_guard)
{
	struct model_call changed = *call;

	if (call->repair == 'g')
		changed.repair = '1';
	model_execute(master, &changed, us, reply);
}

MUTANT(believing_no_mark)
{
	struct model_call changed = *call;

	changed.believe = '0';
	model_execute(master, &changed, us, reply);
}

MUTANT(believing_copied_marks)
{
	struct model_call changed = *call;
	size_t length = strlen(master->data.epoch), tag_length = strlen(call->tag);

	/* As if the mark that is there was this one's. */
	if (call->operation == 'I' && length > tag_length + 8)
		memcpy(changed.tag, master->data.epoch + length - tag_length - 7, tag_length);
	model_execute(master, &changed, us, reply);
}

MUTANT(of_endless_memory)
{
	bool full = master->out_of_memory;

	master->out_of_memory = false;
	model_execute(master, call, us, reply);
	master->out_of_memory = full;
}

MUTANT(taking_versions_back)
{
	const struct model_cargo *cargo = model_cargo(master, call->key, us);

	if (cargo && call->has_bytes && call->version < cargo->version && (call->operation == 'A' || call->operation == 'E'))
		((struct model_cargo *)(uintptr_t)cargo)->version = 0;
	model_execute(master, call, us, reply);
}

MUTANT(granting_a_fence_twice)
{
	struct model_call changed = *call;
	uint64_t fence = model_fence(master, call->key);

	if (call->operation == 'A' && call->mode == 'X' && fence && call->number == fence)
		changed.number++;
	model_execute(master, &changed, us, reply);
}

/* The key ends with the last that came, not with the last that is there. */
MUTANT(ending_with_the_last_reader)
{
	struct model_key *key;

	model_execute(master, call, us, reply);
	key = model_key(&master->data, call->key);
	if (call->operation == 'A' && call->mode == 'S' && reply->code == 1 && key)
		key->expiry_ms = us / 1000 + call->ttl_ms;
}

MUTANT(telling_a_shorter_wait)
{
	model_execute(master, call, us, reply);
	if (reply->code == 0 && reply->pttl_ms > 0)
		reply->pttl_ms--;
}

/* ---- of the queue ---- */

static struct model_queue *queue_of(struct model_master *master, const struct model_call *call)
{
	return model_find_queue(&master->data, call->key, false);
}

/* So that another ticket changes nothing but who goes first: it has no place, or has it already. */
static bool joins_nothing(struct model_master *master, const struct model_call *call)
{
	const struct model_queue *queue = queue_of(master, call);

	for (unsigned i = 0; queue && i < queue->count; i++)
		if (strcmp(queue->waiters[i].member, call->place) == 0)
			return true;
	return call->place[0] == '\0';
}

static bool writer_waits_behind_readers(struct model_master *master, const struct model_call *call)
{
	const struct model_queue *queue = queue_of(master, call);
	const struct model_key *key = model_key(&master->data, call->key);

	return queue && queue->waiters[0].member[0] == 'X' && key && key->kind == KIND_ZSET;
}

/* With another way to publish, which may ask the honest one. */
static bool (*honest_publish)(void *context, struct model_master *master, const char *channel,
                              const struct model_grant *grant);

static void execute_telling(struct model_master *master, const struct model_call *call, int64_t us,
                            struct model_reply *reply,
                            bool (*tell)(void *context, struct model_master *master, const char *channel,
                                         const struct model_grant *grant))
{
	honest_publish = master->publish;
	master->publish = tell;
	model_execute(master, call, us, reply);
	master->publish = honest_publish;
}

#define TELL(name) \
	static bool name(void *context, struct model_master *master, const char *channel, const struct model_grant *grant)

MUTANT(passing_who_waits)
{
	struct model_call changed = *call;

	if (call->operation == 'A' && joins_nothing(master, call))
		changed.ticket = 0;
	model_execute(master, &changed, us, reply);
}

/* Who is older than the caller goes first, and who is younger as well. */
MUTANT(letting_all_pass)
{
	const struct model_queue *queue = queue_of(master, call);
	struct model_call changed = *call;

	if (call->operation == 'A' && joins_nothing(master, call) && queue &&
	    queue->waiters[0].ticket < (int64_t)call->ticket)
		changed.ticket = (uint64_t)1 << 52;
	model_execute(master, &changed, us, reply);
}

/* Of the same age, who is there already does not go first. */
MUTANT(going_behind_its_equals)
{
	struct model_call changed = *call;

	if (call->operation == 'A' && joins_nothing(master, call))
		changed.ticket++;
	model_execute(master, &changed, us, reply);
}

MUTANT(reading_past_a_writer_that_waits)
{
	struct model_call changed = *call;

	if (call->operation == 'A' && call->mode == 'S' && joins_nothing(master, call) &&
	    writer_waits_behind_readers(master, call))
		changed.ticket = 0;
	model_execute(master, &changed, us, reply);
}

MUTANT(promising_to_read_past_a_writer)
{
	struct model_call changed = *call;

	if (call->operation == 'P' && joins_nothing(master, call) && writer_waits_behind_readers(master, call))
		changed.ticket = 0;
	model_execute(master, &changed, us, reply);
}

TELL(heard_by_all)
{
	(void)honest_publish(context, master, channel, grant);
	return true;
}

MUTANT(handing_to_the_deaf)
{
	execute_telling(master, call, us, reply, heard_by_all);
}

TELL(asked_and_heard)
{
	return honest_publish(context, master, channel, grant) || !grant;
}

MUTANT(waiting_for_the_deaf)
{
	execute_telling(master, call, us, reply, asked_and_heard);
}

static unsigned heard;

TELL(heard_once)
{
	if (grant && heard > 0)
		return false;
	heard += honest_publish(context, master, channel, grant) && grant;
	return heard > 0 || !grant;
}

MUTANT(handing_to_one_reader)
{
	heard = 0;
	execute_telling(master, call, us, reply, heard_once);
}

TELL(told_a_later_end)
{
	struct model_grant changed;

	if (!grant)
		return honest_publish(context, master, channel, NULL);
	changed = *grant;
	changed.expiry_ms++;
	return honest_publish(context, master, channel, &changed);
}

MUTANT(telling_a_later_end)
{
	execute_telling(master, call, us, reply, told_a_later_end);
}

MUTANT(publishing_against_the_rules)
{
	bool forbidden = master->no_publish;

	master->no_publish = false;
	model_execute(master, call, us, reply);
	master->no_publish = forbidden;
}

MUTANT(forgetting_the_next_fence)
{
	struct model_call changed = *call;

	if (call->operation == 'R')
		changed.next = 0;
	model_execute(master, &changed, us, reply);
}

MUTANT(cutting_fences_of_the_future)
{
	struct model_call changed = *call;
	uint64_t most = (uint64_t)(us + SKEW_US);

	if (call->operation == 'R' && call->next > most)
		changed.next = most;
	model_execute(master, &changed, us, reply);
}

MUTANT(raising_fences_for_readers)
{
	struct model_queue *queue = queue_of(master, call);
	struct model_call changed = *call;
	uint64_t fence = model_fence(master, call->key);

	if (call->operation == 'R' && queue && queue->waiters[0].member[0] == 'S' && fence && call->next <= fence)
		changed.next = fence + 1;
	model_execute(master, &changed, us, reply);
}

MUTANT(leaving_tombstones_too_late)
{
	struct model_call first = *call, then = *call;
	int64_t count;

	if (call->operation != 'R' || call->number == 0 || master->out_of_memory) {
		model_execute(master, call, us, reply);
		return;
	}
	first.number = 0;
	model_execute(master, &first, us, reply);
	if (reply->error)
		return;
	then.offer_ms = 0;
	then.place[0] = '\0';
	count = reply->count;
	model_execute(master, &then, us, reply);
	reply->count = count;
}

MUTANT(offering_for_ever)
{
	struct model_call changed = *call;

	if (call->offer_ms > 0)
		changed.offer_ms = INT64_C(1000000000);
	model_execute(master, &changed, us, reply);
}

MUTANT(offering_what_was_not)
{
	struct model_call changed = *call;

	if (call->offer_ms == 0)
		changed.offer_ms = 1000;
	model_execute(master, &changed, us, reply);
}

/* Who is left then are the last ones, since only the first are handed anything. */
MUTANT(offering_more_than_was_asked_for)
{
	struct model_queue *queue = queue_of(master, call), before;

	if (!queue || call->operation != 'R' || call->place[0]) {
		model_execute(master, call, us, reply);
		return;
	}
	before = *queue;
	for (unsigned i = 0; i < queue->count; i++) {
		const char *member = before.waiters[i].member;

		if (strchr("XS", member[0]) && strncmp(member + 1, ":20:", 4) == 0)
			snprintf(queue->waiters[i].member, PLACE_MAX, "%c:999999%.*s", member[0], PLACE_MAX - 16, member + 4);
	}
	model_execute(master, call, us, reply);
	queue = queue_of(master, call);
	for (unsigned i = 0; queue && i < queue->count; i++)
		queue->waiters[i] = before.waiters[before.count - queue->count + i];
}

MUTANT(handing_over_in_quarantine)
{
	int64_t until_ms = master->data.quarantine_until_ms;
	bool changed = strchr("AYE", call->operation) || (call->operation == 'R' && call->number == 0);

	if (changed)
		master->data.quarantine_until_ms = 0;
	model_execute(master, call, us, reply);
	if (changed)
		master->data.quarantine_until_ms = until_ms;
}

MUTANT(handing_over_nothing_in_quarantine)
{
	struct model_call changed = *call;

	if (master->data.quarantine_until_ms >= us / 1000)
		changed.offer_ms = 0;
	model_execute(master, &changed, us, reply);
}

MUTANT(handing_over_in_any_epoch)
{
	struct model_call changed = *call;

	if (call->operation == 'R' && (call->number == 0 || model_fence(master, call->key)))
		memcpy(changed.epoch, master->data.epoch, sizeof(changed.epoch));
	model_execute(master, &changed, us, reply);
}

MUTANT(driving_out_readers)
{
	static struct model_data before;
	struct model_reply second;

	model_execute(master, call, us, reply);
	if (call->operation != 'R' || reply->error || !writer_waits_behind_readers(master, call))
		return;
	before = master->data;
	model_delete(master, call->key);
	model_execute(master, call, us, &second);
	if (!model_owner(master, call->key, us))
		master->data = before;
}

MUTANT(handing_over_to_no_readers)
{
	struct model_call changed = *call;

	if (call->operation == 'E')
		changed.offer_ms = 0;
	model_execute(master, &changed, us, reply);
}

MUTANT(yielding_to_who_is_younger)
{
	struct model_call changed = *call;

	if (call->operation == 'Y' && joins_nothing(master, call))
		changed.ticket = (uint64_t)1 << 52;
	model_execute(master, &changed, us, reply);
}

MUTANT(yielding_without_a_place)
{
	struct model_call changed = *call;

	if (call->operation == 'Y')
		changed.place[0] = '\0';
	model_execute(master, &changed, us, reply);
}

MUTANT(yielding_and_leaving_data)
{
	struct model_cargo cargo[MODEL_KEYS];

	memcpy(cargo, master->data.cargo, sizeof(cargo));
	model_execute(master, call, us, reply);
	if (call->operation == 'Y')
		memcpy(master->data.cargo, cargo, sizeof(cargo));
}

MUTANT(not_knowing_what_is_mine)
{
	struct model_call changed = *call;

	if (call->operation == 'P')
		snprintf(changed.token, sizeof(changed.token), "nobody's");
	model_execute(master, &changed, us, reply);
}

static void execute_keeping_the_place(struct model_master *master, const struct model_call *call, int64_t us,
                                      struct model_reply *reply, char operation)
{
	struct model_queue *queue = queue_of(master, call), before;
	bool was_there = queue && call->place[0] && joins_nothing(master, call);
	int64_t ticket = 0;

	if (was_there)
		before = *queue;
	for (unsigned i = 0; was_there && i < before.count; i++)
		if (strcmp(before.waiters[i].member, call->place) == 0)
			ticket = before.waiters[i].ticket;
	model_execute(master, call, us, reply);
	if (!was_there || call->operation != operation || reply->error || reply->code != CODE_YES)
		return;
	queue = model_find_queue(&master->data, call->key, true);
	model_put_waiter(queue, call->place, ticket, false);
	queue->expiry_ms = before.expiry_ms;
}

MUTANT(waiting_for_what_it_has)
{
	execute_keeping_the_place(master, call, us, reply, 'A');
}

MUTANT(waiting_after_giving_up)
{
	execute_keeping_the_place(master, call, us, reply, 'R');
}

MUTANT(waiting_for_what_it_repairs)
{
	const struct model_queue *queue = queue_of(master, call);
	struct model_queue before = {0};

	if (queue)
		before = *queue;
	model_execute(master, call, us, reply);
	if (call->operation == 'E' && reply->code == CODE_REPAIRED && !reply->error && before.count > 0)
		*model_find_queue(&master->data, call->key, true) = before;
}

MUTANT(counting_places_from_nought)
{
	model_execute(master, call, us, reply);
	if (reply->code == CODE_BUSY && reply->rank > 0)
		reply->rank--;
}

MUTANT(not_naming_who_reads)
{
	model_execute(master, call, us, reply);
	if (reply->code == CODE_BUSY && strcmp(reply->holder, "zset") == 0)
		memcpy(reply->ahead, "zset", 5);
}

MUTANT(ending_a_queue_in_use)
{
	struct model_queue *queue = queue_of(master, call);
	int64_t expiry_ms = queue ? queue->expiry_ms : 0;

	model_execute(master, call, us, reply);
	queue = queue_of(master, call);
	if (expiry_ms && queue)
		queue->expiry_ms = expiry_ms;
}

MUTANT(ending_a_queue_too_soon)
{
	struct model_queue *queue = queue_of(master, call);

	if (queue && us / 1000 == queue->expiry_ms)
		queue->name[0] = '\0';
	model_execute(master, call, us, reply);
}

MUTANT(growing_younger)
{
	if (call->operation == 'P' && call->place[0] && joins_nothing(master, call) &&
	    !model_holds(master, call->key, call->token, us))
		model_put_waiter(queue_of(master, call), call->place, (int64_t)call->ticket, false);
	model_execute(master, call, us, reply);
}

MUTANT(stopped_by_a_stranger)
{
	struct model_queue *queue = queue_of(master, call);
	struct model_call changed = *call;

	if (queue && !strchr("XS", queue->waiters[0].member[0]))
		changed.offer_ms = 0;
	model_execute(master, &changed, us, reply);
}

MUTANT(refusing_for_want_of_a_place)
{
	model_execute(master, call, us, reply);
	if (call->operation == 'P' && call->place[0] && master->out_of_memory && reply->code == CODE_BUSY && !reply->rank)
		reply->error = MODEL_OOM;
}

const struct mutant mutants[] = {
	{"R raises no fence", without_tombstones},
	{"repair does not look for the mark of a break", repairing_what_is_broken},
	{"B leaves no mark", breaking_without_marks},
	{"a key lives a millisecond longer", a_millisecond_longer},
	{"no old fence is collected", collecting_no_fences},
	{"the epoch is not compared", of_every_epoch},
	{"repair is never guarded by the fence", repairing_without_guard},
	{"a mark of durability is not believed", believing_no_mark},
	{"a mark of durability that was copied is believed", believing_copied_marks},
	{"memory is never full", of_endless_memory},
	{"a version goes back", taking_versions_back},
	{"a proposal may equal the fence that is there", granting_a_fence_twice},
	{"a shared key ends with the reader that came last", ending_with_the_last_reader},
	{"a busy answer tells a millisecond too few", telling_a_shorter_wait},
	{"who comes goes before who waits longer", passing_who_waits},
	{"who comes goes behind who has the same ticket", going_behind_its_equals},
	{"A hands over to who is younger", letting_all_pass},
	{"readers pass a writer that waits", reading_past_a_writer_that_waits},
	{"readers are told that they may pass a writer that waits", promising_to_read_past_a_writer},
	{"who does not listen is handed the lock", handing_to_the_deaf},
	{"who does not listen keeps readers off", waiting_for_the_deaf},
	{"only the first of several readers is handed the lock", handing_to_one_reader},
	{"a grant tells another end than the key has", telling_a_later_end},
	{"waiters are told where publishing is forbidden", publishing_against_the_rules},
	{"the next fence is not the one that was named", forgetting_the_next_fence},
	{"the next fence may lie in the future", cutting_fences_of_the_future},
	{"a reader that is handed the lock raises the fence", raising_fences_for_readers},
	{"R raises the fence after it handed over", leaving_tombstones_too_late},
	{"the offer does not end", offering_for_ever},
	{"who offers nothing hands over", offering_what_was_not},
	{"a waiter is handed the lock for longer than it asked for", offering_more_than_was_asked_for},
	{"a master in quarantine hands over", handing_over_in_quarantine},
	{"a master in quarantine hands nothing to who takes its vote", handing_over_nothing_in_quarantine},
	{"R of another epoch hands over", handing_over_in_any_epoch},
	{"a writer is handed what readers have", driving_out_readers},
	{"a writer that becomes a reader lets no reader in", handing_over_to_no_readers},
	{"Y hands over to who is younger", yielding_to_who_is_younger},
	{"Y gives up the place", yielding_without_a_place},
	{"Y leaves what travelled with the lock", yielding_and_leaving_data},
	{"P does not tell who has it", not_knowing_what_is_mine},
	{"who has it still waits", waiting_for_what_it_has},
	{"who has given up still waits", waiting_after_giving_up},
	{"who repairs still waits", waiting_for_what_it_repairs},
	{"the first place is 0", counting_places_from_nought},
	{"nobody of those that read is named", not_naming_who_reads},
	{"a queue ends though it is used", ending_a_queue_in_use},
	{"a queue ends a millisecond too soon", ending_a_queue_too_soon},
	{"who asks again has a new ticket", growing_younger},
	{"what is no waiter stops the queue", stopped_by_a_stranger},
	{"a full memory refuses who has no place", refusing_for_want_of_a_place},
};

const unsigned mutant_count = sizeof(mutants) / sizeof(mutants[0]);
