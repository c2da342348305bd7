/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* outcome: a run has ended: the outcome in words, to the gate, the waiters, the log and the
 * application. Dispatching thread; deliver() on the worker. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/invariant.h"
#include "base/message.h"
#include "engine/engine.h"
#include "run/conclusion.h"
#include "run/run.h"

/* So many outcomes wait for the application at most: while a callback hangs, runs go on being asked
 * for and expire. [P23] */
#define OUTCOMES_WAITING 16

/* The application's `outcome`, as a job of its own: it may take as long as it likes, and comes in
 * the order in which runs ended. */
static void deliver(struct job *job)
{
	struct safestart_run *run =
		(struct safestart_run *)(void *)((char *)job -
						 offsetof(struct safestart_run, delivery));
	const struct safestart_conf *conf = run->ss->conf;
	struct callback_frame frame;

	callback_enter(&frame, run->ss, &run->ss->worker, "outcome", run->number, loop_now());
	conf->callbacks.outcome(&run->outcome, conf->user_data);
	callback_leave(&frame, &run->ss->worker);
}

void outcome_drop(struct safestart_run *run)
{
	invariant(run->jobs > 0);
	if (--run->jobs > 0)
		return;
	invariant(run->answered && !run->locked); /* [P6] */
	run_free(run);
}

/* The application was told, or never will be. */
static void delivery_over(struct safestart_run *run)
{
	struct engine_part *engine = &run->ss->engine;

	invariant(engine->deliveries > 0);
	engine->deliveries--;
	if (engine->newest_delivery == run)
		engine->newest_delivery = NULL;
	outcome_drop(run);
}

static void delivered(struct job *job)
{
	delivery_over((struct safestart_run *)(void *)((char *)job -
						       offsetof(struct safestart_run, delivery)));
}

/* Too many wait: this one takes the place of the newest of them, and says so. */
static void merge_outcomes(struct safestart_run *run)
{
	struct engine_part *engine = &run->ss->engine;
	struct safestart_run *before = engine->newest_delivery;

	if (engine->deliveries < OUTCOMES_WAITING)
		return;
	/* They are called in their order: while any of them waits, the newest does, or is inside.
	 */
	invariant(before != NULL);
	if (!worker_withdraw(&run->ss->worker, &before->delivery))
		return;
	run->outcome.merged = before->outcome.merged + 1;
	delivery_over(before);
}

static void post_outcome(struct safestart_run *run)
{
	struct engine_part *engine = &run->ss->engine;

	if (run->ss->conf->callbacks.outcome == NULL)
		return;
	merge_outcomes(run);
	run->delivery.execute = deliver;
	run->delivery.done = delivered;
	if (threads_post(run->ss, &run->delivery) == 0) {
		run->jobs++;
		engine->deliveries++;
		engine->newest_delivery = run;
	} else {
		log_line(&run->ss->log, log_repeated(LOG_ERR, run->outcome.attempts),
			 "run %llu: cannot start a thread to call `outcome`; the application does "
			 "not learn how this run ended",
			 (unsigned long long)run->number);
	}
}

/* What an operator has to see is a warning or an error; what went as it should is a notice. */
static int log_level(const struct safestart_outcome *outcome)
{
	switch (outcome->verdict) {
	case SAFESTART_APPLIED: return outcome->quarantined > 0 ? LOG_WARNING : LOG_NOTICE;
	case SAFESTART_UNCHANGED: return outcome->quarantined > 0 ? LOG_WARNING : LOG_INFO;
	case SAFESTART_CANCELLED: return LOG_INFO;
	default: return LOG_ERR;
	}
}

static void log_outcome(const struct safestart_run *run, bool repeated)
{
	const struct safestart_outcome *outcome = &run->outcome;
	const char *reason = run->batch.reason;

	char cause[96], elsewhere[32] = "";

	if (outcome->pid != (int32_t)getpid())
		message_set(elsewhere, sizeof(elsewhere), 0, ", made by pid %d", (int)outcome->pid);
	if (outcome->requests > 0)
		message_set(cause, sizeof(cause), 0, "%llu request%s%s",
			    (unsigned long long)outcome->requests,
			    outcome->requests == 1 ? "" : "s", elsewhere);
	else
		message_copy(cause, sizeof(cause), run->cause);
	/* The same line again every 30 s hides what matters at 3 a.m. */
	log_line(&run->ss->log, repeated ? LOG_DEBUG : log_level(outcome),
		 "run %llu (%s%s%s%s): %s", (unsigned long long)run->number, cause,
		 reason[0] != '\0' ? ", \"" : "", reason, reason[0] != '\0' ? "\"" : "",
		 outcome->message);
}

/* The one answer of its ticket: for the waiters, for status, and for clients that follow events, in
 * one step, so that no two of them ever see different things. [P6] */
static void record_locked(struct safestart *ss, struct safestart_run *run)
{
	struct safestart_outcome *outcome = &run->outcome;
	struct engine_figures *figures = &ss->engine.figures;

	invariant(!run->answered && outcome->verdict != SAFESTART_PENDING); /* [P6] one answer */
	invariant(outcome->verdict <= SAFESTART_CANCELLED);
	invariant((outcome->error < 0) == (outcome->verdict >= SAFESTART_REFUSED));
	outcome->size = sizeof(*outcome);
	outcome->run = run->number;
	outcome->generation = safestart_generation(ss);
	outcome->requests = run->batch.requests;
	outcome->ticket = run->batch.ticket;
	if (outcome->pid == 0)
		outcome->pid = (int32_t)getpid();
	if (outcome->attempts == 0)
		outcome->attempts = 1;
	ticket_answer(&ss->tickets, outcome);
	ss->tickets.last = *outcome;
	ss->tickets.any = true;
	/* A thread that is answered may ask for the status at once. */
	ss->engine.figures.next_start = gate_next_start(&ss->gate);
	run->answered = true;
	if (ss->run.current == run)
		ss->run.current = NULL;
	figures->runs[outcome->verdict]++;
	if (outcome->verdict <= SAFESTART_UNCHANGED && outcome->quarantined == 0)
		figures->behind_since = 0;
	else if (outcome->verdict != SAFESTART_CANCELLED && figures->behind_since == 0)
		figures->behind_since = run->started;
	invariant(ss->run.current == NULL || !ss->run.current->answered);
	events_post_outcome(ss->events,
			    outcome); /* before any client can know that it is answered */
	pthread_cond_broadcast(&ss->changed);
}

static void say_when(char *message, size_t size, int64_t pause)
{
	size_t length = strlen(message);

	if (pause != GATE_NEVER)
		message_set(message + length, size - length, 0, "; retrying in %s",
			    message_duration(pause).text);
}

static bool has_periodic_source(const struct safestart *ss)
{
	return ss->source.kind == SOURCE_ADDED && handle_settings(ss)->reconcile > 0;
}

static const char cancelled_words[] = "cancelled: the handle was shut down";

static void say_cancelled(struct safestart_run *run)
{
	run->outcome.verdict = SAFESTART_CANCELLED;
	run->outcome.error = -ECANCELED;
	message_copy(run->outcome.message, sizeof(run->outcome.message), cancelled_words);
}

/* `again`: a retry shall follow by itself. [P15] */
void outcome_of_run(struct safestart_run *run, bool again)
{
	struct safestart *ss = run->ss;
	int64_t now = loop_now(), reconcile = handle_settings(ss)->reconcile;

	int64_t pause = gate_ended(&ss->gate, now, again, engine_random(ss));
	if (pause != GATE_NEVER)
		ss->engine.cause = "retry";
	if (has_periodic_source(ss))
		gate_due(&ss->gate,
			 now + reconcile - reconcile / 2 / 0xffff * (engine_random(ss) & 0xffff));
	if (run->outcome.verdict >= SAFESTART_REFUSED || run->outcome.quarantined > 0)
		say_when(run->outcome.message, sizeof(run->outcome.message),
			 pause != GATE_NEVER ? gate_next_start(&ss->gate) - now : GATE_NEVER);
	/* Before any waiter is answered: it may end this process. [P18] */
	process_lock_publish(run);
	pthread_mutex_lock(&ss->lock);
	/* A retry names another pause each time, which does not make it news. */
	bool repeated = ss->tickets.any && run->batch.requests == 0 && run->outcome.attempts > 1 &&
			ss->tickets.last.verdict == run->outcome.verdict &&
			ss->tickets.last.error == run->outcome.error &&
			(run->outcome.attempts & (run->outcome.attempts - 1)) != 0;
	/* This very moment: shutdown has answered its ticket, and there is one answer [P6] */
	if (atomic_load(&run->bits) & RUN_CANCELLED)
		say_cancelled(run);
	record_locked(ss, run);
	pthread_mutex_unlock(&ss->lock);
	log_outcome(run, repeated);
	post_outcome(run);
}

static void say_expired(struct safestart_run *run, const struct callback_inside *callback,
			bool waiting)
{
	struct safestart_outcome *outcome = &run->outcome;
	unsigned long long generation = safestart_generation(run->ss);
	char inside[128];

	outcome->verdict = SAFESTART_TIMED_OUT;
	outcome->error = waiting ? -EBUSY : -ETIMEDOUT;
	callback_describe(callback, loop_now(), inside, sizeof(inside));
	if (waiting)
		message_set(outcome->message, sizeof(outcome->message), 0,
			    "timed out before it could begin: %s; generation %llu is still "
			    "serving; a run starts %s",
			    inside, generation, callback->busy ? "when it returns" : "at once");
	else
		message_set(outcome->message, sizeof(outcome->message), 0,
			    "timed out: `%s` did not finish within run_timeout (%s); generation "
			    "%llu is still serving%s%s%s",
			    run_phase_name(run),
			    message_duration(handle_settings(run->ss)->run_timeout).text,
			    generation, conclusion_unprepared(run->ss),
			    callback->what != NULL && callback->run == run->number
				    ? "; it has not returned yet: a run starts when it returns"
				    : "",
			    run->untaken ? "; its event was not even taken: what calls "
					   "safestart_next_event() has stopped"
					 : "");
}

void outcome_expired(struct safestart_run *run)
{
	struct safestart *ss = run->ss;
	struct callback_inside callback = worker_callback(&ss->worker);
	/* It could not even begin, or not go on: what it holds then is given back later. */
	bool waiting = worker_withdraw(&ss->worker, &run->job);
	bool holds = waiting && run->current != NULL;
	if (holds)
		worker_post(&ss->worker, &run->job);
	/* A retry would only wait for the callback again: it is deferred until the callback
	 * returns. */
	bool wedged = waiting || worker_is_executing(&ss->worker, &run->job);

	say_expired(run, &callback, waiting);
	ss->engine.run_deferred = ss->engine.run_deferred || wedged;
	run->jobs++; /* ours, while we look at it */
	outcome_of_run(run, !wedged);
	if (waiting && !holds) { /* or each one would stay in the queue while a callback hangs */
		process_lock_leave(run);
		outcome_drop(run);
	}
	outcome_drop(run);
}

void outcome_cancelled(struct safestart_run *run)
{
	say_cancelled(run);
	outcome_of_run(run, false);
}

/* Answers CANCELLED to every ticket that no run will answer any more: first those of the run in
 * progress, if it was cancelled, then those of the open batch. A run that has committed or expired
 * is answered for by itself. */
void outcome_cancel_tickets_locked(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome),
					    .verdict = SAFESTART_CANCELLED,
					    .error = -ECANCELED,
					    .attempts = 1};

	if (ss->run.current != NULL && !(atomic_load(&ss->run.current->bits) & RUN_CANCELLED))
		return;
	message_copy(outcome.message, sizeof(outcome.message), cancelled_words);
	outcome.generation = safestart_generation(ss);
	if (ss->run.current != NULL) {
		outcome.run = ss->run.current->number;
		outcome.requests = ss->run.current->batch.requests;
		outcome.ticket = ss->run.current->batch.ticket;
		ticket_answer(&ss->tickets, &outcome);
	}
	outcome.run = 0;
	outcome.ticket = request_issued(&ss->door, &outcome.requests);
	ticket_answer(&ss->tickets, &outcome);
	pthread_cond_broadcast(&ss->changed);
	events_wake(ss->events);
}

void outcome_not_started(struct safestart_run *run, int error)
{
	struct safestart *ss = run->ss;

	run->outcome.verdict = SAFESTART_FAILED;
	run->outcome.error = error;
	run->outcome.attempts = ++ss->engine.no_thread;
	message_set(run->outcome.message, sizeof(run->outcome.message), 0,
		    "cannot start a thread (%s); generation %llu is still serving%s",
		    safestart_strerror(error), (unsigned long long)safestart_generation(ss),
		    conclusion_unprepared(ss));
	outcome_of_run(run, true);
	process_lock_leave(run);
	outcome_drop(run);
}
