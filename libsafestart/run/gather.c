/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run, first part: asking the source. A struct safestart_gather is the run it belongs to. Worker,
 * and after SAFESTART_LATER whatever thread the source finishes on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/message.h"
#include "run/run.h"

static struct safestart_run *run_of(const struct safestart_gather *gather)
{
	return (struct safestart_run *)(uintptr_t)gather;
}

/* ---- The source's life ---- */

static void take_descriptor(struct handle_source *source)
{
	if (source->fd < 0 && source->chosen->source.fd != NULL)
		source->fd = source->chosen->source.fd(source->state);
}

int gather_open_source(struct safestart *ss, char *why, size_t why_size)
{
	struct handle_source *source = &ss->source;
	struct safestart_source_conf conf = {0};
	char reason[200] = "";

	source->chosen = conf_source(ss->conf, &conf.argument);
	conf.chosen = source->chosen;
	source->state = NULL;
	int error = source->chosen->source.open(&source->state, &conf, reason, sizeof(reason),
						source->chosen->user_data);
	if (error < 0)
		return message_set(why, why_size, error, "source=%.60s: %s",
				   handle_settings(ss)->source,
				   reason[0] != '\0' ? reason : safestart_strerror(error));
	source->open = true;
	source->inherited = source->torn = false;
	take_descriptor(source);
	return 0;
}

void gather_close_source(struct safestart *ss)
{
	struct handle_source *source = &ss->source;

	if (!source->open)
		return;
	if (!source->torn)
		source->chosen->source.close(source->state);
	else if (source->fd >= 0)
		close(source->fd);
	source->open = false;
	source->fd = -1;
}

/* ---- What a source calls ---- */

int safestart_gather_json(struct safestart_gather *gather, const char *json, size_t length)
{
	struct safestart_run *run = run_of(gather);
	struct nodeset *set;

	int error = nodeset_parse(&set, json, length, &handle_settings(run->ss)->limits, run->words,
				  sizeof(run->words));
	if (error < 0)
		return error;
	nodeset_unref(run->gathered);
	run->gathered = set;
	return 0;
}

int safestart_gather_unchanged(struct safestart_gather *gather)
{
	struct safestart_run *run = run_of(gather);
	const struct handle_memory *memory = &run->ss->memory;

	if (!run->has_previous || (memory->gathered == NULL && memory->error == 0))
		return -EAGAIN;
	run->gathered_unchanged = true;
	return 0;
}

int safestart_gather_fail(struct safestart_gather *gather, int error, const char *message)
{
	struct safestart_run *run = run_of(gather);

	message_copy(run->words, sizeof(run->words), message);
	return error < 0 ? error : -EIO;
}

void safestart_gather_warn(struct safestart_gather *gather, const char *message)
{
	log_line(run_of(gather)->ss, LOG_WARNING, "%s", message);
}

int safestart_gather_forced(const struct safestart_gather *gather)
{
	return run_of(gather)->forced;
}

int safestart_gather_cancelled(const struct safestart_gather *gather)
{
	return run_gave_up(run_of(gather));
}

size_t safestart_gather_max_bytes(const struct safestart_gather *gather)
{
	return handle_settings(run_of(gather)->ss)->limits.max_bytes;
}

int safestart_gather_finish(struct safestart_gather *gather, int error)
{
	return safestart_run_finish(run_of(gather), error);
}

/* ---- One gather ---- */

static int ask_source(struct safestart_run *run)
{
	struct handle_source *source = &run->ss->source;

	if (source->inherited) {
		gather_close_source(run->ss);
		source->inherited = false;
	}
	if (!source->open) {
		int error = gather_open_source(run->ss, run->words, sizeof(run->words));
		if (error < 0)
			return error;
	}
	int result = source->chosen->source.gather(source->state, (struct safestart_gather *)run);
	take_descriptor(source);
	return result;
}

/* Is the live generation another process's? With generation 0 there is nothing to inherit. */
static bool is_anew(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	bool anew = ss->anew && safestart_generation(ss) > 0;
	pthread_mutex_unlock(&ss->lock);
	return anew;
}

int gather_call(struct safestart_run *run)
{
	struct safestart *ss = run->ss;

	run->words[0] = '\0';
	/* If this one comes too late to be taken, the source must not call the next one unchanged.
	 */
	run->has_previous = ss->memory.complete;
	ss->memory.complete = false;
	switch (ss->source.kind) {
	case SOURCE_NONE: return 0;
	case SOURCE_PUSH:
		run->gathered = push_desired(&ss->push);
		/* What was inherited is all there is to prepare. */
		if (run->gathered == NULL && is_anew(ss))
			run->gathered = nodeset_new(run->current->nodes, run->current->count);
		if (run->gathered == NULL)
			message_copy(run->words, sizeof(run->words), "nothing was pushed yet");
		return 0;
	default: return ask_source(run);
	}
}

int gather_result(struct safestart_run *run, int result)
{
	struct handle_memory *memory = &run->ss->memory;

	memory->complete = true;
	if (run->gathered_unchanged && result == 0) {
		if (memory->gathered != NULL)
			run->wanted = nodeset_ref(memory->gathered);
		else
			message_copy(run->words, sizeof(run->words), memory->words);
		return memory->error;
	}
	if (run->ss->source.kind == SOURCE_ADDED && result == 0 && run->gathered == NULL)
		result = message_set(run->words, sizeof(run->words), -EPROTO,
				     "the source said it is done, but handed over no document");
	if (result < 0 && run->words[0] == '\0')
		message_copy(run->words, sizeof(run->words), safestart_strerror(result));
	nodeset_unref(memory->gathered);
	memory->gathered = result == 0 && run->gathered != NULL ? nodeset_ref(run->gathered) : NULL;
	/* A source may call a refused document unchanged; a failed gather it has to repeat. */
	memory->error = run_is_refusal(result) ? result : 0;
	message_copy(memory->words, sizeof(memory->words), run->words);
	run->wanted = result == 0 && run->gathered != NULL ? nodeset_ref(run->gathered) : NULL;
	return result;
}
