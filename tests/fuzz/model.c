/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model.h"

#include <errno.h>

#include "fuzz.h"
#include "virtual.h"

struct model model;

size_t model_count(const uint8_t nodes[IDS])
{
	size_t count = 0;

	for (int id = 0; id < IDS; id++)
		count += nodes[id] != 0 && nodes[id] != FAULT;
	return count;
}

size_t model_faults(const struct model_set *set)
{
	size_t count = (size_t)__builtin_popcountll(set->unnamed);

	for (int id = 0; id < IDS; id++)
		count += set->node[id] == FAULT;
	return count;
}

static bool same_set(const struct model_set *a, const struct model_set *b)
{
	return memcmp(a->node, b->node, IDS) == 0 && a->unnamed == b->unnamed;
}

/* ---- Tickets ---- */

static void answer(uint64_t up_to, int verdict, uint64_t run)
{
	while (model.answered < up_to) {
		model.answered++;
		model.answers[model.answered % TICKETS].verdict = verdict;
		model.answers[model.answered % TICKETS].run = run;
	}
}

void model_request(uint64_t ticket, bool force)
{
	if (model.shut) {
		HOLD(ticket == 0);
		return;
	}
	HOLD(ticket == model.ticket + (model.requests == 0));
	model.ticket = ticket;
	model.requests++;
	model.force = model.force || force;
}

static void cancel_tickets(void)
{
	if (model.current != NULL && !model.current->cancelled)
		return;
	if (model.current != NULL)
		answer(model.current->ticket, SAFESTART_CANCELLED, model.current->number);
	answer(model.ticket, SAFESTART_CANCELLED, 0);
}

void model_shutdown(void)
{
	model.shut = true;
	if (model.current != NULL && !model.current->expired && !model.current->cancelled) {
		model.current->cancelled = true;
		model_tell_pointless(model.current);
	}
	cancel_tickets();
}

/* ---- Guard rails, as the README words them ---- */

static size_t more(size_t a, size_t b)
{
	return a > b ? a : b;
}

static int judge(size_t live, size_t count, bool forced)
{
	size_t most = live;

	if (count == 0)
		return model.allow_empty ? 0 : -ERANGE;
	if (forced)
		return 0;
	for (size_t i = 0; i < model.pasts; i++) {
		if (virtual_now() - model.past[i].until < model.shrink_window)
			most = more(most, model.past[i].nodes);
	}
	if (live > count && (most - count) * 100 > most * model.max_shrink)
		return -ERANGE;
	return count < model.min_nodes ? -ERANGE : 0;
}

/* ---- The steps of a run ---- */

static void conclude(struct model_run *run, int verdict, int error)
{
	run->at = AT_OUTCOME;
	run->concluded = true;
	run->verdict = run->from_kept && verdict == SAFESTART_APPLIED ? run->kept_verdict : verdict;
	run->error = run->from_kept && verdict == SAFESTART_APPLIED ? run->kept_error : error;
}

/* The application is called, or with events=pull told. */
static void ask(struct model_run *run, int kind)
{
	run->settled = run->finished = run->taken = run->words = false;
	run->later = model.pull;
	model_tell(run, kind);
}

static void to_restart(struct model_run *run, int verdict)
{
	bool wanted =
		run->asked || verdict == SAFESTART_APPLIED || (run->retry && model.restart_owed);
	if (!model.has_restart || !wanted) {
		conclude(run, verdict, 0);
		return;
	}
	model.restart_owed = true;
	run->at = AT_RESTART;
	run->deadline = virtual_now() + model.run_timeout;
	ask(run, SAFESTART_EVENT_RESTART);
}

static void commit(struct model_run *run, uint16_t rejected)
{
	for (int id = 0; id < IDS; id++) {
		if (run->changed >> id & 1 || run->candidate[id] == 0)
			model.report[id] = 0;
	}
	if (run->forced)
		model.pasts = 0;
	HOLD(model.pasts < PAST);
	if (!run->forced) {
		model.past[model.pasts].nodes = run->before;
		model.past[model.pasts++].until = virtual_now();
	}
	memcpy(model.live, run->candidate, IDS);
	model.generation++;
	model.keep_due = model.last_good && (!run->from_kept || run->inherited);
	model.anew = false;
	model.rejected = rejected;
	run->committed_due = true;
	model_tell(run, SAFESTART_EVENT_COMMITTED);
	to_restart(run, SAFESTART_APPLIED);
}

static void build_candidate(struct model_run *run)
{
	run->changed = 0;
	run->removes = false;
	for (int id = 0; id < IDS; id++) {
		uint8_t wanted = run->wanted.node[id], live = model.live[id];
		uint8_t next = wanted == FAULT ? live : wanted;
		run->candidate[id] = next;
		if (next != 0 && (model.anew || next != live))
			run->changed |= (uint16_t)(1 << id);
		run->removes = run->removes || (next == 0 && live != 0 && !model.anew);
	}
}

static void recall_force(struct model_run *run)
{
	if (model.forced_any && same_set(&model.forced, &run->wanted))
		run->forced = true;
	model.forced_any = run->forced;
	model.forced = run->wanted;
}

/* The result of the source's answer: 0 with or without a set, or -errno. */
static int gathered(struct model_run *run, int result)
{
	model.previous_complete = true;
	if (run->unchanged && result == 0) {
		run->any = model.previous_any;
		run->wanted = model.previous;
		return model.previous_any ? 0 : model.previous_error;
	}
	if (!model.push && result == 0 && !run->handed)
		result = -EPROTO;
	run->any = result == 0 && run->handed;
	run->wanted = run->gathered;
	model.previous_any = run->any;
	model.previous = run->gathered;
	model.previous_error =
		result == -EINVAL || result == -E2BIG || result == -ERANGE ? result : 0;
	return result;
}

static void after_gather(struct model_run *run, int result)
{
	bool kept = model.last_good && model.generation == 0 && model.kept_any;
	/* A child whose source fails prepares what it inherited. */
	bool inherits = model.anew && model.generation > 0;
	int error = gathered(run, result);

	if (error == 0)
		model.force_open = false;

	run->before = more(model_count(model.live), kept ? model_count(model.kept.node) : 0);
	if (error == 0 && run->any) {
		model.shown = run->wanted;
		model.shown_any = true;
		recall_force(run);
		build_candidate(run);
		if (model_count(run->wanted.node) == 0 && model_faults(&run->wanted) > 0)
			error = -EINVAL;
		else
			error = judge(run->before, model_count(run->candidate), run->forced);
	}
	int verdict = error == -EINVAL || error == -E2BIG || error == -ERANGE ? SAFESTART_REFUSED
									      : SAFESTART_FAILED;
	if ((kept || inherits) && (error < 0 || !run->any)) {
		run->from_kept = run->any = true;
		run->kept_verdict = error < 0 ? verdict : SAFESTART_APPLIED;
		run->kept_error = error;
		run->inherited = inherits;
		run->wanted = model.kept;
		if (inherits) {
			run->wanted = (struct model_set){0};
			memcpy(run->wanted.node, model.live, IDS);
		}
		build_candidate(run);
		error = 0;
	}
	if (error < 0) {
		conclude(run, verdict, error);
	} else if (!run->any || (run->changed == 0 && !run->removes && model.generation > 0)) {
		model.rejected = 0;
		to_restart(run, SAFESTART_UNCHANGED);
	} else if (model.has_prepare) {
		run->at = AT_PREPARE;
		ask(run, SAFESTART_EVENT_PREPARE);
	} else {
		commit(run, 0);
	}
}

static void after_prepare(struct model_run *run, int result)
{
	if (result < 0) {
		conclude(run, SAFESTART_FAILED, result);
		return;
	}
	if (run->rejected == 0) {
		commit(run, 0);
		return;
	}
	for (int id = 0; id < IDS; id++) {
		if (run->rejected >> id & 1)
			run->candidate[id] = model.anew ? 0 : model.live[id];
	}
	run->changed &= (uint16_t)~run->rejected;
	size_t left = model_count(run->candidate);
	int error = left == 0 && model_count(run->wanted.node) > 0
			    ? -EINVAL
			    : judge(model_count(model.live), left, run->forced);
	if (error < 0) {
		model.rejected = run->rejected;
		conclude(run, SAFESTART_REFUSED, error);
	} else if (run->changed == 0 && !run->removes && model.generation > 0) {
		model.rejected = run->rejected;
		to_restart(run, SAFESTART_UNCHANGED);
	} else {
		commit(run, run->rejected);
	}
}

static void go_on(struct model_run *run, int result)
{
	if (run->at == AT_GATHER)
		after_gather(run, result);
	else if (run->at == AT_PREPARE)
		after_prepare(run, result);
	else {
		model.restart_owed = result < 0;
		conclude(run, result < 0 ? SAFESTART_FAILED : SAFESTART_APPLIED, result);
	}
}

static void expire(struct model_run *run)
{
	if (run->settled || run->cancelled || run->concluded || run->expired ||
	    virtual_now() < run->deadline)
		return;
	run->expired = true;
	model_tell_pointless(run);
}

void model_returned(struct model_run *run, int result)
{
	expire(run);
	if (result == SAFESTART_LATER && !run->finished) {
		run->later = true;
		return;
	}
	if (run->expired || run->cancelled) {
		run->at = AT_OUTCOME;
		return;
	}
	if (result == SAFESTART_LATER)
		result = run->finish_error;
	if (run->at != AT_GATHER)
		run->settled = true;
	go_on(run, result > 0 ? -EINVAL : result);
}

int model_finish(struct model_run *run, int error, bool words)
{
	expire(run);
	bool late = run->expired || run->cancelled;
	run->finished = true;
	run->words = words && !late;
	model_withdraw(run, SAFESTART_EVENT_CANCELLED);
	run->finish_error = error <= 0 ? error : -EINVAL;
	/* From within the callback it settles nothing: the callback may never return. */
	if (!late && run->at != AT_GATHER && run->later)
		run->settled = true;
	return late ? -ESTALE : 0;
}

void model_abandon(void)
{
	for (struct model_run *run = model.run; run < model.run + RUNS && model.pull; run++) {
		if (run->run == NULL || run->at == AT_GATHER || !run->later || run->finished)
			continue;
		HOLD(run->expired || run->cancelled);
		run->finished = true;
		model_withdraw(run, SAFESTART_EVENT_CANCELLED);
	}
}

void model_turn(void)
{
	if (model.current != NULL && !model.current->expired)
		expire(model.current);
	for (struct model_run *run = model.run; run < model.run + RUNS; run++) {
		if (run->run == NULL || !run->later || !run->finished)
			continue;
		run->later = false;
		if (run->expired || run->cancelled)
			run->at = AT_OUTCOME;
		else
			go_on(run, run->finish_error); /* perhaps to what is asked next */
		if (run->answered)
			run->run = NULL;
	}
}

struct model_run *model_begin(struct safestart_run *handle)
{
	struct model_run *run = model.run;

	HOLD(model.current == NULL && !model.shut);
	HOLD(model.requests > 0 || model.retry_owed || model.first || model.reconciles);
	HOLD(virtual_now() >= model.earliest);
	while (run < model.run + RUNS && run->run != NULL)
		run++;
	HOLD(run < model.run + RUNS);
	*run = (struct model_run){.run = handle,
				  .number = ++model.runs,
				  .requests = model.requests,
				  .ticket = model.ticket,
				  .forced = model.force || model.force_open,
				  .asked = model.requests > 0 || model.first,
				  .retry = model.retry_owed,
				  .deadline = virtual_now() + model.run_timeout,
				  .had_previous = model.previous_complete};
	HOLD(safestart_run_number(handle) == run->number && handle->started == virtual_now());
	HOLD(handle->batch.requests == run->requests && handle->batch.ticket == run->ticket);
	model.previous_complete = false;
	model.requests = 0;
	model.force_open = run->forced;
	model.force = model.retry_owed = model.first = false;
	model.restart_owed = model.restart_owed || run->asked;
	model.current = run;
	if (model.push) {
		run->handed = model.pushed;
		run->gathered = model.desired;
	}
	return run;
}

struct model_run *model_find(uint64_t number)
{
	for (struct model_run *run = model.run; run < model.run + RUNS; run++) {
		if (run->run != NULL && run->number == number)
			return run;
	}
	return NULL;
}

void model_outcome(const struct safestart_outcome *outcome)
{
	struct model_run *run = model_find(outcome->run);
	bool ended = false;

	HOLD(run != NULL && run == model.current && !run->answered);
	if (run->cancelled) {
		HOLD(outcome->verdict == SAFESTART_CANCELLED && outcome->error == -ECANCELED);
	} else if (run->expired) {
		HOLD(outcome->verdict == SAFESTART_TIMED_OUT && outcome->error == -ETIMEDOUT);
	} else {
		HOLD(run->concluded && run->at == AT_OUTCOME);
		HOLD(outcome->verdict == run->verdict && outcome->error == run->error);
		HOLD(outcome->quarantined == (size_t)__builtin_popcount(run->rejected) +
						     (run->any ? model_faults(&run->wanted) : 0));
		ended = run->rejected == 0 && run->verdict <= SAFESTART_UNCHANGED;
	}
	HOLD(outcome->generation == model.generation);
	HOLD(outcome->requests == run->requests && outcome->ticket == run->ticket &&
	     outcome->attempts > 0);
	HOLD(outcome->message[0] != '\0' && is_clean(outcome->message));
	HOLD(!run->words || outcome->verdict != SAFESTART_FAILED ||
	     strstr(outcome->message, FAIL_WORDS) != NULL);
	HOLD(!run->committed_due);
	if (ended)
		model.forced_any = false;
	model.retry_owed = model.retries && !run->cancelled &&
			   (run->expired || run->verdict == SAFESTART_FAILED || run->rejected != 0);
	model.earliest = virtual_now() + model.min_interval;
	answer(outcome->ticket, outcome->verdict, run->number);
	run->answered = true;
	model.current = NULL;
	if (!run->later)
		run->run = NULL;
	if (model.shut)
		cancel_tickets();
}

bool model_is_at_hand(const struct model_run *run)
{
	return run->run != NULL && run->later && !run->finished &&
	       (!model.pull || run->at == AT_GATHER || run->taken);
}

unsigned model_owed(void)
{
	unsigned owed = 0;

	for (struct model_run *run = model.run; run < model.run + RUNS; run++)
		owed += run->run != NULL && run->later && !run->finished;
	return owed;
}

unsigned model_later_open(void)
{
	unsigned open = 0;

	for (struct model_run *run = model.run; run < model.run + RUNS; run++)
		open += run->run != NULL && run->later && !run->finished && !run->expired &&
			!run->cancelled;
	return open;
}

int model_node_state(int id, bool held_by_reader, bool held_by_run)
{
	const struct model_set *desired = model.push && model.pushed ? &model.desired
					  : model.shown_any          ? &model.shown
								     : NULL;
	uint8_t wanted = desired != NULL ? desired->node[id] : 0;

	if (wanted == FAULT || (wanted != 0 && (model.rejected >> id & 1)))
		return SAFESTART_NODE_QUARANTINED;
	if (model.live[id] != 0)
		return SAFESTART_NODE_APPLIED + model.report[id];
	if (wanted != 0)
		return SAFESTART_NODE_ANNOUNCED;
	if (desired != NULL && id == ID_OF_ENTRY_2 && (desired->unnamed & 2))
		return SAFESTART_NODE_QUARANTINED; /* it has that name */
	return held_by_reader || held_by_run ? SAFESTART_NODE_RETIRED : SAFESTART_NODE_UNKNOWN;
}

/* The child starts with the live and the desired set of the parent, and with nothing else. */
void model_forked(void)
{
	memset(model.run, 0, sizeof(model.run));
	model.current = NULL;
	model.events = 0;
	model.anew = model.first = true;
	model.force_open = model.retry_owed = model.forced_any = model.previous_any =
		model.previous_complete = false;
	model.previous_error = 0;
	model.earliest = 0;
}
