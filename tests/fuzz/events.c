/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The model's part for events=pull: what waits to be taken, in its order, as README and header
 * promise it. Nothing here knows how the library keeps it. */
#include "fuzz.h"
#include "model.h"

static void add(int kind, uint64_t run)
{
	HOLD(model.events < EVENTS);
	model.event[model.events] = (struct model_event){.kind = kind, .run = run};
	model.events++;
}

static void remove_at(size_t i)
{
	model.events--;
	memmove(&model.event[i], &model.event[i + 1], (model.events - i) * sizeof(model.event[0]));
}

void model_tell(struct model_run *run, int kind)
{
	if (!model.pull)
		return;
	add(kind, run->number);
	if (kind == SAFESTART_EVENT_COMMITTED)
		run->committed_due = false; /* the event says so */
}

bool model_withdraw(const struct model_run *run, int kind)
{
	for (size_t i = 0; i < model.events; i++) {
		if (model.event[i].kind != kind || model.event[i].run != run->number)
			continue;
		remove_at(i);
		return true;
	}
	return false;
}

/* What was not taken nobody will finish; who has taken it is told. */
void model_tell_pointless(struct model_run *run)
{
	if (!model.pull || run->at == AT_GATHER || !run->later || run->finished)
		return;
	if (run->taken)
		model_tell(run, SAFESTART_EVENT_CANCELLED);
	else
		HOLD(model_withdraw(run, run->at == AT_PREPARE ? SAFESTART_EVENT_PREPARE
							       : SAFESTART_EVENT_RESTART));
	run->finished = !run->taken;
}

/* Sixteen wait at most: then the newest takes the place of the one before. */
void model_tell_outcome(const struct safestart_outcome *outcome)
{
	size_t waiting = 0, newest = 0;
	uint64_t merged = 0;

	for (size_t i = 0; i < model.events; i++) {
		if (model.event[i].kind != SAFESTART_EVENT_OUTCOME)
			continue;
		waiting++;
		newest = i;
	}
	HOLD(outcome->merged == 0);
	if (waiting < OUTCOMES) {
		newest = model.events;
		add(SAFESTART_EVENT_OUTCOME, outcome->run);
	} else {
		merged = model.event[newest].outcome.merged + 1;
	}
	model.event[newest].run = outcome->run;
	model.event[newest].outcome = *outcome;
	model.event[newest].outcome.merged = merged;
}

static void took_run(const struct safestart_event *event)
{
	struct model_run *run = model_find(event->run_number);

	HOLD(run != NULL && run->run == event->run && run->later && !run->finished);
	if (event->kind == SAFESTART_EVENT_CANCELLED) {
		HOLD(run->taken && (run->expired || run->cancelled));
		return;
	}
	HOLD(!run->taken && !run->expired && !run->cancelled);
	HOLD(run->at == (event->kind == SAFESTART_EVENT_PREPARE ? AT_PREPARE : AT_RESTART));
	run->taken = true;
}

void model_took(const struct safestart_event *event)
{
	const struct model_event *due = &model.event[0];

	HOLD(model.events > 0 && due->kind == event->kind && due->run == event->run_number);
	HOLD((event->outcome != NULL) == (due->kind == SAFESTART_EVENT_OUTCOME));
	if (event->outcome != NULL) {
		const struct safestart_outcome *outcome = event->outcome, *was = &due->outcome;
		HOLD(outcome->size == sizeof(*outcome) && outcome->run == was->run &&
		     outcome->generation == was->generation && outcome->requests == was->requests &&
		     outcome->attempts == was->attempts &&
		     outcome->quarantined == was->quarantined && outcome->verdict == was->verdict &&
		     outcome->error == was->error && outcome->ticket == was->ticket &&
		     outcome->status == was->status && outcome->pid == was->pid &&
		     outcome->merged == was->merged && strcmp(outcome->message, was->message) == 0);
		HOLD(event->text == outcome->message);
	}
	if (event->run != NULL)
		took_run(event);
	remove_at(0);
}
