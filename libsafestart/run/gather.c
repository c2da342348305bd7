/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gather: the first phase of a run: reading the source, and what is remembered of it for a source
 * that says "unchanged". Worker; after SAFESTART_LATER the source finishes on a thread of its own,
 * which touches nothing here but the gather and the run's bits. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"
#include "run/last_good.h"
#include "run/run.h"

static struct safestart_run *run_of(const struct safestart_gather *gather)
{
	return (struct safestart_run *)(uintptr_t)((const char *)gather -
						   offsetof(struct safestart_run, gather));
}

static bool is_cancelled(const struct safestart_gather *gather)
{
	return step_is_pointless(run_of(gather));
}

static int finish(struct safestart_gather *gather, int error)
{
	return safestart_run_finish(run_of(gather), error);
}

static void take_pushed(struct safestart_run *run)
{
	struct safestart *ss = run->ss;

	run->gather.set = push_desired(&ss->source.push);
	if (run->gather.set == NULL)
		message_copy(run->gather.words, sizeof(run->gather.words),
			     "nothing has been pushed yet");
}

int gather_call(struct safestart_run *run)
{
	struct safestart *ss = run->ss;
	struct run_memory *memory = &ss->run.memory;

	invariant(run->gather.set == NULL && run->wanted == NULL && run->phase == RUN_GATHER);
	invariant(memory->gathered == NULL || memory->error == 0);
	/* Force holds until a run has a set to judge: one that failed, was late or could not begin
	 * has not spent it. [P12] */
	run->forced = atomic_load_explicit(&ss->run.force_open, memory_order_relaxed);
	/* If this one comes too late to be taken, the source must not call the next one unchanged:
	 * `complete` is set again when it was taken. [P14] */
	run->gather = (struct safestart_gather){.limits = &handle_settings(ss)->limits,
						.log = &ss->log,
						.warnings = &ss->source.warnings,
						.forced = run->forced,
						.may_be_unchanged = memory->complete &&
								    (memory->gathered != NULL ||
								     memory->error != 0),
						.cancelled = is_cancelled,
						.finish = finish};
	memory->complete = false;
	switch (ss->source.kind) {
	case SOURCE_NONE: return 0;
	case SOURCE_PUSH: take_pushed(run); return 0;
	default: return source_gather(&ss->source, &run->gather);
	}
}

/* A forked child prepares what it has inherited, rather than nothing: the inherited nodes have no
 * data here. [P17] Any other process that has nothing live begins with last_good. [P9] */
struct nodeset *gather_stand_in(struct safestart_run *run)
{
	run->inherited = run_is_inherited(run->ss);
	return run->inherited ? nodeset_new(run->current->nodes, run->current->count)
			      : last_good_stand_in(run);
}

/* What was probably not meant is said when it is new: a source that hands over the same document
 * every 30 s says it once. */
static void say_warnings(const struct log *log, const struct nodeset *set,
			 const struct nodeset *before)
{
	const struct nodeset_warnings *now = &set->warnings;
	char words[NODESET_WARNINGS_SIZE];
	bool said = now->count == 0 || (before != NULL && before->warnings.count == now->count &&
					strcmp(before->warnings.first, now->first) == 0);

	if (said)
		return;
	nodeset_say_warnings(now, words, sizeof(words));
	log_line(log, LOG_WARNING, "%s", words);
}

int gather_result(struct safestart_run *run, int result)
{
	struct run_memory *memory = &run->ss->run.memory;
	struct safestart_gather *gather = &run->gather;

	memory->complete = true;
	if (gather->unchanged && result == 0) {
		if (memory->gathered != NULL)
			run->wanted = nodeset_ref(memory->gathered);
		else
			message_copy(run->words, sizeof(run->words), memory->words);
		return memory->error;
	}
	message_copy(run->words, sizeof(run->words), gather->words);
	if (run->ss->source.kind == SOURCE_ADDED && result == 0 && gather->set == NULL)
		result = message_set(run->words, sizeof(run->words), -EPROTO,
				     "the source said it is done, but handed over no document");
	if (result < 0 && run->words[0] == '\0')
		message_copy(run->words, sizeof(run->words), safestart_strerror(result));
	if (result == 0 && gather->set != NULL)
		say_warnings(&run->ss->log, gather->set, memory->gathered);
	nodeset_unref(memory->gathered);
	memory->gathered = result == 0 && gather->set != NULL ? nodeset_ref(gather->set) : NULL;
	/* A source may call a refused document unchanged; a failed gather it has to repeat. */
	memory->error = run_is_refusal(result) ? result : 0;
	message_copy(memory->words, sizeof(memory->words), run->words);
	run->wanted = result == 0 && gather->set != NULL ? nodeset_ref(gather->set) : NULL;
	invariant(result <= 0 && (memory->gathered == NULL || memory->error == 0));
	return result;
}
