/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* part: the end of the run storey's part of a handle, and what becomes of it in a forked child. No
 * run is in progress here. */
#include "run/part.h"

#include "run/run.h"

static void clear_memory(struct run_memory *memory)
{
	nodeset_unref(memory->gathered);
	nodeset_unref(memory->tried);
	nodeset_unref(memory->forced);
	nodeset_unref(memory->unchanged);
}

void run_part_clear(struct run_part *part)
{
	clear_memory(&part->memory);
	nodeset_unref(part->desired);
	run_free_rejections(part->rejections);
}

bool run_is_inherited(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	bool inherited = ss->run.inherited && safestart_generation(ss) > 0;
	pthread_mutex_unlock(&ss->lock);
	return inherited;
}

void run_part_after_fork_child(struct run_part *part, bool torn)
{
	if (!torn)
		clear_memory(&part->memory);
	part->memory = (struct run_memory){0};
	atomic_store(&part->last_good_failures, 0);
	atomic_store(&part->force_open, false);
	part->inherited = true;
	part->current = NULL;
	part->later_open = part->later_owed = part->gathers_owed = 0;
}
