/* model_mutants.c - see model_mutants.h. */
#include "tests/integration/model_mutants.h"

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
};

const unsigned mutant_count = sizeof(mutants) / sizeof(mutants[0]);
