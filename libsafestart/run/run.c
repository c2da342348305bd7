/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: the phases, what follows from how each ended, and the outcome in words. Worker, no lock held
 * while a callback is inside; what other threads may see is changed under the handle's lock. Up to
 * commit an error leaves everything as it was. [P9] */
#include "run/run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"
#include "run/conclusion.h"
#include "run/last_good.h"
#include "run/pull.h"
#include "run/restart.h"

/* ---- Phases ---- */

/* What was live until now is remembered, unless it was meant to go: a forced set starts from the
 * beginning. [P12] */
static void remember_size_locked(struct safestart_run *run)
{
	struct recent *recent = &run->ss->run.recent;

	if (run->forced)
		*recent = (struct recent){0};
	else
		recent_add(recent, run->before, loop_now(),
			   handle_settings(run->ss)->rails.shrink_window);
}

static void tell_committed(struct safestart_run *run)
{
	const struct safestart_conf *conf = run->ss->conf;
	struct callback_frame frame;

	if (conf->callbacks.committed == NULL)
		return;
	callback_enter(&frame, run->ss, &run->ss->worker, "committed", run->number, loop_now());
	conf->callbacks.committed(run, conf->user_data);
	callback_leave(&frame, &run->ss->worker);
}

/* Put the candidate live: one pointer store, under the handle's lock, so that it either comes
 * before the deadline and the shutdown or does not happen. Readers see the old generation whole or
 * the new one whole. [P10] */
static enum run_phase commit(struct safestart_run *run)
{
	struct safestart *ss = run->ss;
	struct rejection *rejections = NULL;

	invariant(run->candidate != NULL && !run->committed);
	candidate_carry_reports(run);
	pthread_mutex_lock(&ss->lock);
	/* With thread=no no other thread could look at the deadline while the source read. [P14] */
	step_expire_locked(run, loop_now());
	bool in_time = !run_gave_up(run);
	if (in_time) {
		/* No other generation has gone live since this run began. [P1] */
		invariant(run->candidate->generation == safestart_generation(ss) + 1);
		step_set_locked(run, RUN_SETTLED | RUN_COMMITTED);
		/* A reference of the run's own: the live one may go at any moment from here on. */
		atomic_fetch_add_explicit(&run->candidate->refs, 1, memory_order_relaxed);
		snapshot_publish(&ss->view, run->candidate, loop_now());
		run->committed = true;
		remember_size_locked(run);
		run->keep = (!run->from_kept || run->inherited) && handle_settings(ss)->last_good;
		ss->run.inherited = false;
		rejections = ss->run.rejections;
		ss->run.rejections = NULL;
		pthread_cond_broadcast(&ss->changed);
	}
	pthread_mutex_unlock(&ss->lock);
	run_free_rejections(rejections);
	snapshot_reclaim(ss->home); /* a failure is retried in the next turn */
	if (!in_time)
		return RUN_END;
	tell_committed(run);
	return restart_or_end(run);
}

/* A last_good that cannot be used still counts: what it keeps must not be replaced by less, or one
 * announcement could replace thousands of nodes. [P9] */
static int judge_by_unread(const struct safestart_run *run, size_t count, char *why,
			   size_t why_size)
{
	char than[48] = "may be fewer than it has";

	if (count >= run->kept_unread || run->forced)
		return 0;
	if (run->kept_unread != LAST_GOOD_UNKNOWN)
		message_set(than, sizeof(than), 0, "are fewer than its %zu", run->kept_unread);
	/* One that may be readable soon is a failure, which is retried. [P15] */
	return message_set(why, why_size, run->kept_later ? run->kept_error : -ERANGE,
			   "cannot use last_good (%s), and these %zu nodes %s; to apply them "
			   "anyway: "
			   "SAFESTART_FORCE (safestart request --force NAME)",
			   run->kept_why, count, than);
}

/* By the guard rails. [P12] */
static int judge(const struct safestart_run *run, size_t live, size_t count, char *why,
		 size_t why_size)
{
	const struct nodeset_rails *rails = &handle_settings(run->ss)->rails;
	const struct nodeset_before before = {.live = live,
					      .largest = recent_largest(&run->ss->run.recent,
									loop_now(),
									rails->shrink_window)};

	int error = nodeset_check_rails(rails, &before, count, run->forced, why, why_size);
	return error == 0 ? judge_by_unread(run, count, why, why_size) : error;
}

/* How many runs in a row have tried this set, and was it forced? The force belongs to the set, not
 * to the run: a retry of a forced set is forced too, another set is not. [P12] */
static void recall(struct safestart_run *run)
{
	struct run_memory *memory = &run->ss->run.memory;
	bool same = run->wanted == memory->tried || nodeset_equal(run->wanted, memory->tried);

	memory->attempts = same ? memory->attempts + 1 : 1;
	run->attempts = memory->attempts;
	nodeset_unref(run->outgoing);
	run->outgoing = memory->tried;
	memory->tried = run->wanted != NULL ? nodeset_ref(run->wanted) : NULL;
	/* A source that fails for a while does not take the force from the set it had. */
	if (run->wanted == NULL)
		return;
	invariant(memory->attempts > 0);
	if (nodeset_equal(run->wanted, memory->forced))
		run->forced = true;
	nodeset_unref(memory->forced);
	memory->forced = run->forced ? nodeset_ref(run->wanted) : NULL;
}

/* For status and node states: what this run is to apply, whether it succeeds or not. */
static void show_desired(struct safestart_run *run)
{
	struct safestart *ss = run->ss;

	pthread_mutex_lock(&ss->lock);
	struct nodeset *old = ss->run.desired;
	ss->run.desired = nodeset_ref(run->wanted);
	pthread_mutex_unlock(&ss->lock);
	nodeset_unref(old);
}

/* Name the first few nodes that would be lost, before the part of the words that says what to do.
 */
static void add_lost(const struct safestart_run *run, char *words, size_t size)
{
	char *advice = strchr(words, ';'), tail[160] = "";
	const char *before = " (such as ";
	size_t named = 0;

	if (advice != NULL) {
		message_copy(tail, sizeof(tail), advice);
		*advice = '\0';
	}
	for (size_t i = 0; i < run->plan.change_count && named < 3; i++) {
		size_t length = strlen(words);
		if (run->plan.changes[i].kind != SAFESTART_REMOVED)
			continue;
		message_set(words + length, size - length, 0, "%s%.24s", before,
			    run->current->nodes[run->plan.changes[i].index]->text);
		before = ", ";
		named++;
	}
	size_t length = strlen(words);
	message_set(words + length, size - length, 0, "%s%s", named > 0 ? ")" : "", tail);
}

/* A set that was found unchanged is not compared again, however large it is: a reconcile every few
 * seconds costs nothing. [P7] */
static bool is_known_unchanged(const struct safestart_run *run)
{
	const struct run_memory *memory = &run->ss->run.memory;

	return run->wanted == memory->unchanged &&
	       run->current->generation == memory->unchanged_from;
}

static void remember_unchanged(struct safestart_run *run)
{
	struct run_memory *memory = &run->ss->run.memory;

	nodeset_unref(memory->unchanged);
	memory->unchanged = run->wanted != NULL ? nodeset_ref(run->wanted) : NULL;
	memory->unchanged_from = run->current->generation;
}

/* Is what was gathered fit to be tried? 0 or -errno and the words. */
static int check(struct safestart_run *run, int result)
{
	int error = gather_result(run, result);

	invariant(run->candidate == NULL && (error == 0 || run->words[0] != '\0'));
	if (error == 0)
		atomic_store_explicit(&run->ss->run.force_open, false, memory_order_relaxed);
	if (error < 0 || run->wanted == NULL)
		return error;
	show_desired(run);
	recall(run);
	error = nodeset_usable(run->wanted, run->words, sizeof(run->words));
	if (error == 0 && !is_known_unchanged(run)) {
		error = candidate_build(run);
		if (error < 0)
			message_set(run->words, sizeof(run->words), 0, "out of memory");
	}
	size_t count = run->candidate != NULL ? run->candidate->count : run->current->count;
	if (error == 0)
		error = judge(run, run->before, count, run->words, sizeof(run->words));
	if (error == -ERANGE)
		add_lost(run, run->words, sizeof(run->words));
	return error;
}

/* "refused the nodes of file:/etc/app/nodes.json" */
static void say_refused(const struct safestart_run *run, char *text, size_t size)
{
	if (run->ss->source.kind == SOURCE_ADDED)
		message_set(text, size, 0, "refused the nodes of %.60s", run->ss->source.name);
	else
		message_set(text, size, 0, "refused");
}

/* It will not go live. Nothing of the application's hangs on it yet. */
static void forget_candidate(struct safestart_run *run)
{
	invariant(!run->committed && run->to_retire == NULL);
	invariant(run->phase == RUN_GATHER);
	snapshot_discard(run->candidate);
	run->candidate = NULL;
	nodeset_plan_clear(&run->plan);
}

/* For node states: also of a run that applies nothing, or an operator would not learn why a node is
 * missing. */
static void show_rejections(struct safestart_run *run)
{
	struct rejection *copy = run_copy_rejections(run->rejections);
	struct safestart *ss = run->ss;

	pthread_mutex_lock(&ss->lock);
	struct rejection *old = ss->run.rejections;
	ss->run.rejections = copy;
	pthread_mutex_unlock(&ss->lock);
	run_free_rejections(old);
}

/* The source has answered. If it failed and nothing has been live yet, last_good stands in: the set
 * goes live, the verdict stays the source's. [P9] */
static enum run_phase after_gather(struct safestart_run *run, int result)
{
	struct nodeset *kept = gather_stand_in(run);

	/* What last_good holds counts as live for the guard rails, or a first, broken document
	 * would pass them. [P12] */
	run->before = kept != NULL && kept->count > run->current->count ? kept->count
									: run->current->count;
	run->gather_error = check(run, result);
	if (run->gather_error < 0 && run->wanted == NULL)
		recall(run);
	int verdict = run_is_refusal(run->gather_error) ? SAFESTART_REFUSED : SAFESTART_FAILED;
	/* A refused source is not read again by itself, but last_good may be readable by then. */
	run->again = run->kept_later && (run->gather_error < 0 || run->wanted == NULL);
	if (kept != NULL && (run->gather_error < 0 || run->wanted == NULL)) {
		forget_candidate(run);
		nodeset_unref(run->wanted);
		run->wanted = kept;
		run->from_kept = true;
		run->kept_verdict = run->gather_error < 0 ? verdict : SAFESTART_APPLIED;
		kept = NULL;
		if (candidate_build(run) < 0)
			return conclude_failure(run, SAFESTART_FAILED, -ENOMEM,
						"cannot fall back to last_good", "out of memory");
	} else if (run->gather_error < 0) {
		char what[128] = "cannot read the nodes";
		if (verdict == SAFESTART_REFUSED)
			say_refused(run, what, sizeof(what));
		return conclude_failure(run, verdict, run->gather_error, what, run->words);
	}
	nodeset_unref(kept);
	if (run->wanted == NULL || (run->plan.change_count == 0 && run->current->generation > 0)) {
		forget_candidate(run);
		remember_unchanged(run);
		show_rejections(run); /* none: a rejected node would be a change */
		return restart_or_end(run);
	}
	return run->ss->conf->callbacks.prepare != NULL ? RUN_PREPARE : commit(run);
}

/* `prepare` has built what the set needs, or has rejected nodes of it. Those are left out and the
 * rest is judged once more: a set that `prepare` made too small is no better than one that came so.
 * [P11] [P12] */
static enum run_phase after_prepare(struct safestart_run *run, int result)
{
	char words[300];

	invariant(run->candidate != NULL && run->wanted != NULL);
	invariant((run->rejections == NULL) == (run->rejection_count == 0));
	if (result == 0 && run->data_lost)
		result = -ENOMEM;
	if (result < 0)
		return conclude_failure(run, SAFESTART_FAILED, result, "prepare failed",
					run_error_words(run, result));
	if (run->rejections == NULL)
		return commit(run);
	size_t left = candidate_settle(run);
	if (run->candidate->count == 0) {
		show_rejections(run);
		message_set(words, sizeof(words), 0,
			    "nothing in the set is usable: prepare rejected all %zu nodes, such as "
			    "%s: %s",
			    run->rejection_count, run->rejections->id, run->rejections->reason);
		return conclude_failure(run, SAFESTART_REFUSED, -EINVAL, "refused", words);
	}
	int error = judge(run, run->current->count, run->candidate->count, words, sizeof(words));
	if (error < 0) {
		show_rejections(run);
		return conclude_failure(run, SAFESTART_REFUSED, error,
					"refused after prepare rejected nodes", words);
	}
	enum run_phase next;
	invariant(run->candidate->count > 0 || handle_settings(run->ss)->rails.allow_empty);
	invariant(left > 0 || run->current->generation > 0); /* before it, all is a change */
	if (left == 0) {
		run->unwanted = run->candidate;
		run->candidate = NULL;
		nodeset_plan_clear(&run->plan);
		next = restart_or_end(run);
	} else {
		next = commit(run);
	}
	show_rejections(run);
	return next;
}

/* ---- The way through, on the worker ---- */

static int call_prepare(struct safestart_run *run)
{
	return run->ss->conf->callbacks.prepare(run, run->ss->conf->user_data);
}

static const struct phase {
	const char *name;
	int (*call)(struct safestart_run *run);
	enum run_phase (*after)(struct safestart_run *run, int result);
} phases[] = {
	[RUN_GATHER] = {"gather", gather_call, after_gather},
	[RUN_PREPARE] = {"prepare", call_prepare, after_prepare},
	[RUN_RESTART] = {"restart", restart_call, restart_returned},
};

const char *run_phase_name(const struct safestart_run *run)
{
	return phases[atomic_load_explicit(&run->phase, memory_order_relaxed)].name;
}

/* From phase to phase, until the run is over on the worker or a callback answered SAFESTART_LATER.
 * Returns false for the latter: the dispatching thread posts the job again when finish was called.
 */
static bool advance(struct safestart_run *run)
{
	invariant(run->current != NULL && run->ss->run.memory.attempts < UINT32_MAX);
	enum run_phase phase =
		(enum run_phase)atomic_load_explicit(&run->phase, memory_order_relaxed);

	while (phase != RUN_END) {
		enum step_result then;
		int result;
		if (run->resumed) {
			run->resumed = false;
			result = run->finish_error;
			then = run_gave_up(run) ? STEP_GIVE_UP : STEP_GO_ON;
		} else {
			struct callback_frame frame;
			if (!step_begin(run, phase))
				return true;
			callback_enter(&frame, run->ss, &run->ss->worker, phases[phase].name,
				       run->number, loop_now());
			result = phases[phase].call(run);
			callback_leave(&frame, &run->ss->worker);
			then = step_returned(run, phase, &result);
		}
		invariant(result <= 0 || then != STEP_GO_ON);
		if (then == STEP_PARK)
			return false;
		if (then == STEP_GIVE_UP)
			return true;
		phase = phases[phase].after(run, result);
	}
	return true;
}

/* This set is dealt with: the next run counts its attempts from one, and force is used up. */
static void forget_tried(struct safestart_run *run)
{
	struct run_memory *memory = &run->ss->run.memory;

	if (run_gave_up(run) || run->again || run->outcome.verdict > SAFESTART_UNCHANGED)
		return;
	memory->attempts = 0;
	nodeset_unref(memory->forced);
	memory->forced = NULL;
}

static void retire_stray(struct safestart_run *run)
{
	const struct safestart_conf *conf = run->ss->conf;

	if (run->data_lost && run->ss->mailbox != NULL)
		pull_retire_stray(run);
	else if (run->data_lost && conf->callbacks.retire != NULL)
		conf->callbacks.retire((void *)(uintptr_t)run->stray, conf->user_data);
}

/* Give back what the run held. What it hung on a candidate that never became live is retired here.
 */
static void tear_down(struct safestart_run *run)
{
	struct safestart_snapshot *current = run->current;
	struct callback_frame frame;

	run->current = NULL;
	callback_enter(&frame, run->ss, &run->ss->worker, "retire", run->number, loop_now());
	if (run->committed)
		safestart_snapshot_release(run->candidate);
	else
		snapshot_discard(run->candidate);
	snapshot_discard(run->unwanted);
	snapshot_retire(run->ss->home, run->to_retire);
	run->to_retire = NULL;
	retire_stray(run);
	callback_leave(&frame, &run->ss->worker);
	run->candidate = run->unwanted = NULL;
	safestart_snapshot_release(current);
	nodeset_unref(run->outgoing);
	run->outgoing = NULL;
}

/* Again after each LATER, and once more when the run is over and answered: an application that
 * takes long to retire data keeps nobody waiting. [P14] `current` is what was live when the run
 * began. */
static void execute(struct job *job)
{
	struct safestart_run *run = (struct safestart_run *)(void *)job;

	if (run->over) {
		tear_down(run);
		return;
	}
	if (run->current == NULL)
		run->current = safestart_snapshot_acquire(run->ss);
	run->over = advance(run);
	if (run->over)
		forget_tried(run);
}

struct safestart_run *run_new(struct safestart *ss)
{
	struct safestart_run *run = calloc(1, sizeof(*run));

	if (run == NULL)
		return NULL;
	if (ss->mailbox != NULL && (run->spare = calloc(1, sizeof(*run->spare))) == NULL) {
		free(run);
		return NULL;
	}
	run->job.execute = execute;
	run->ss = ss;
	atomic_init(&run->bits, 0);
	atomic_init(&run->phase, RUN_GATHER);
	atomic_init(&run->status, 0);
	pthread_mutex_init(&run->lock, NULL);
	run->outcome.size = sizeof(run->outcome);
	run->outcome.verdict = SAFESTART_PENDING;
	invariant(run->jobs == 0 && !run->answered);
	return run;
}

void run_free(struct safestart_run *run)
{
	/* Torn down: what it held is given back, so that nothing can be retired twice. [P13] */
	invariant(run->jobs == 0 && run->candidate == NULL && run->current == NULL);
	invariant(run->unwanted == NULL);
	invariant(run->to_retire == NULL && run != run->ss->run.current);
	run_free_rejections(run->rejections);
	nodeset_unref(run->gather.set);
	nodeset_unref(run->wanted);
	nodeset_unref(run->outgoing);
	nodeset_plan_clear(&run->plan);
	invariant(!run->call.waiting && !run->cancelled.waiting);
	pthread_mutex_destroy(&run->lock);
	free(run->spare);
	free(run);
}
