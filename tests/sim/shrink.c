/*
 * shrink.c - of a plan that fails, the actions that it needs to fail.
 *
 * Leaves out chunks of actions, half of them first, then ever smaller ones, while the
 * same violation stays; until no single one can be left out any more.
 */
#include <string.h>

#include "sim.h"

static bool still_fails(struct world *world, const struct plan *plan, const char *violation)
{
	struct verdict verdict = sim_run(world, plan, NULL, false);

	return verdict.violation && strcmp(verdict.violation, violation) == 0;
}

/* Whether `size` actions from `from` on could be left out. */
static bool leave_out(struct world *world, struct plan *plan, unsigned from, unsigned size, const char *violation)
{
	bool before[PLAN_MAX], changed = false;

	memcpy(before, plan->left_out, sizeof(before));
	for (unsigned i = from; i < from + size && i < plan->count; i++) {
		changed |= !plan->left_out[i];
		plan->left_out[i] = true;
	}
	if (changed && still_fails(world, plan, violation))
		return true;
	memcpy(plan->left_out, before, sizeof(before));
	return false;
}

void sim_shrink(struct world *world, struct plan *plan, const char *violation)
{
	unsigned size = plan->count;

	for (;;) {
		bool any = false;

		for (unsigned from = 0; from < plan->count; from += size)
			any |= leave_out(world, plan, from, size, violation);
		if (size > 1)
			size = (size + 1) / 2;
		else if (!any)
			return;
	}
}
