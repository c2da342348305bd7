/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dispatch: every decision of a handle, on one thread: it looks at the door, asks the gate, starts runs, takes
 * back what the worker has done, answers tickets, sets the timer. With thread=yes a thread of ours is in it for
 * ever; with thread=no the application's event loop, which then executes the worker's jobs as well. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "handle.h"
#include "run.h"
#include "why.h"

#define BORROWER_IS_LATE_NS INT64_C(5000000000)
#define TRY_AGAIN_NS INT64_C(100000000) /* a thread or memory that could not be had */

void handle_log(struct safestart *ss, int level, const char *format, ...)
{
	const struct safestart_conf *conf = ss->conf;
	struct worker_visit visit;
	char line[640];
	va_list arguments;

	if (conf->callbacks.log == NULL)
		return;
	int prefix = snprintf(line, sizeof(line), "%.60s: ", conf->settings.name);
	va_start(arguments, format);
	vsnprintf(line + prefix, sizeof(line) - (size_t)prefix, format, arguments);
	va_end(arguments);
	worker_enter(&visit, ss, NULL, NULL, 0, 0);
	conf->callbacks.log(level, line, conf->user_data);
	worker_leave(&visit, NULL);
}

/* xorshift: spreads retries of processes that failed together; nothing depends on its quality. */
static uint32_t next_random(struct safestart *ss)
{
	ss->random ^= ss->random << 13;
	ss->random ^= ss->random >> 17;
	ss->random ^= ss->random << 5;
	return ss->random;
}

/* ---- A run ends ---- */

static void deliver(struct job *job)
{
	struct safestart_run *run = (struct safestart_run *)(void *)((char *)job - offsetof(struct safestart_run, delivery));
	const struct safestart_conf *conf = run->ss->conf;
	struct worker_visit visit;

	worker_enter(&visit, run->ss, &run->ss->worker, "outcome", run->number, loop_now());
	conf->callbacks.outcome(&run->outcome, conf->user_data);
	worker_leave(&visit, &run->ss->worker);
}

static void drop_run(struct safestart_run *run)
{
	if (--run->jobs == 0)
		run_free(run);
}

static void delivered(struct job *job)
{
	drop_run((struct safestart_run *)(void *)((char *)job - offsetof(struct safestart_run, delivery)));
}

static void post_outcome(struct safestart_run *run)
{
	if (run->ss->conf->callbacks.outcome == NULL)
		return;
	run->delivery.execute = deliver;
	run->delivery.done = delivered;
	if (worker_post(&run->ss->worker, &run->delivery) == 0)
		run->jobs++;
	else
		handle_log(run->ss, LOG_ERR, "run %llu: no thread to call `outcome` on; it is not told", (unsigned long long)run->number);
}

static int log_level(const struct safestart_outcome *outcome)
{
	switch (outcome->verdict) {
	case SAFESTART_APPLIED: return outcome->quarantined > 0 ? LOG_WARNING : LOG_NOTICE;
	case SAFESTART_UNCHANGED: return LOG_INFO;
	case SAFESTART_CANCELLED: return LOG_INFO;
	default: return LOG_ERR;
	}
}

static void log_outcome(const struct safestart_run *run, bool repeated)
{
	const struct safestart_outcome *outcome = &run->outcome;
	const char *reason = run->batch.reason;

	/* The same thing again every 30 s hides what matters at 3 a.m. */
	handle_log(run->ss, repeated ? LOG_DEBUG : log_level(outcome), "run %llu (%llu requests%s%s%s): %s: %s", (unsigned long long)run->number,
		   (unsigned long long)outcome->requests, reason[0] != '\0' ? ", \"" : "", reason, reason[0] != '\0' ? "\"" : "",
		   ticket_verdict_name(outcome->verdict), outcome->message);
}

static void record_locked(struct safestart *ss, struct safestart_run *run)
{
	struct safestart_outcome *outcome = &run->outcome;
	struct handle_figures *figures = &ss->figures;

	outcome->size = sizeof(*outcome);
	outcome->run = run->number;
	outcome->generation = safestart_generation(ss);
	outcome->requests = run->batch.requests;
	outcome->ticket = run->batch.ticket;
	if (outcome->attempts == 0)
		outcome->attempts = 1;
	ticket_answer(&ss->tickets, outcome);
	ss->tickets.last = *outcome;
	ss->tickets.any = true;
	run->answered = true;
	if (ss->run == run)
		ss->run = NULL;
	figures->runs[outcome->verdict]++;
	if (outcome->verdict <= SAFESTART_UNCHANGED && outcome->quarantined == 0)
		figures->behind_since = 0;
	else if (outcome->verdict != SAFESTART_CANCELLED && figures->behind_since == 0)
		figures->behind_since = run->started;
	figures->last_ended = loop_now();
	pthread_cond_broadcast(&ss->changed);
}

static void say_when(char *message, size_t size, int64_t pause)
{
	size_t length = strlen(message);

	if (pause != GATE_NEVER)
		why_say(message + length, size - length, 0, "; tried again in %s", why_duration(pause).text);
}

static bool has_periodic_source(const struct safestart *ss)
{
	return ss->source.kind == SOURCE_ADDED && handle_settings(ss)->reconcile > 0;
}

/* The run's outcome is known: tell the gate, the waiters, the log and the application. */
static void end_run(struct safestart_run *run, bool again)
{
	struct safestart *ss = run->ss;
	int64_t now = loop_now(), reconcile = handle_settings(ss)->reconcile;

	int64_t pause = gate_ended(&ss->gate, now, again, next_random(ss));
	if (pause != GATE_NEVER)
		ss->nudged = true;
	if (has_periodic_source(ss))
		gate_due(&ss->gate, now + reconcile - reconcile / 2 / 0xffff * (next_random(ss) & 0xffff));
	if (run->outcome.verdict >= SAFESTART_REFUSED || run->outcome.quarantined > 0)
		say_when(run->outcome.message, sizeof(run->outcome.message), pause);
	pthread_mutex_lock(&ss->lock);
	/* A retry says another pause each time, which does not make it news. */
	bool repeated = ss->tickets.any && run->outcome.attempts > 1 && ss->tickets.last.verdict == run->outcome.verdict &&
			ss->tickets.last.error == run->outcome.error && (run->outcome.attempts & (run->outcome.attempts - 1)) != 0;
	record_locked(ss, run);
	pthread_mutex_unlock(&ss->lock);
	log_outcome(run, repeated);
	post_outcome(run);
}

static void post_or_log(struct safestart *ss, struct job *job, const char *what)
{
	int error = job->posted ? 0 : worker_post(&ss->worker, job);

	if (error < 0)
		handle_log(ss, LOG_ERR, "%s has to wait: no thread to be had (%s)", what, safestart_strerror(error));
}

/* A descriptor that came with a newly opened source. */
static void watch_source(struct safestart *ss)
{
	if (!ss->source.open || ss->source.inherited || ss->source.fd < 0 || ss->loop.hint_fd >= 0)
		return;
	int error = loop_watch(&ss->loop, ss->source.fd);
	if (error < 0) {
		handle_log(ss, LOG_WARNING, "changes of the source go unnoticed until the next reconcile: its descriptor can't be watched (%s)", safestart_strerror(error));
		ss->source.fd = -1;
	}
}

static void say_expired(struct safestart_run *run, const struct worker_guest *guest, bool waiting)
{
	static const char *const phases[] = {"gather", "prepare", "restart"};
	struct safestart_outcome *outcome = &run->outcome;
	unsigned long long generation = safestart_generation(run->ss);

	outcome->verdict = SAFESTART_TIMED_OUT;
	outcome->error = waiting ? -EBUSY : -ETIMEDOUT;
	if (waiting)
		why_say(outcome->message, sizeof(outcome->message), 0,
			"timed out: could not begin, `%s` of run %llu has been inside for %s; generation %llu goes on serving; a run starts when it returns",
			guest->what != NULL ? guest->what : "a callback", (unsigned long long)guest->run,
			why_duration(loop_now() - guest->since).text, generation);
	else
		why_say(outcome->message, sizeof(outcome->message), 0, "timed out: `%s` did not finish within run_timeout (%s); generation %llu goes on serving%s",
			phases[run->phase], why_duration(handle_settings(run->ss)->run_timeout).text, generation,
			guest->what != NULL && guest->run == run->number ? "; it is still inside, a run starts when it returns" : "");
}

/* The run is past its deadline, and not answered yet. */
static void end_expired(struct safestart_run *run)
{
	struct safestart *ss = run->ss;
	struct worker_guest guest = worker_guest(&ss->worker);
	bool waiting = worker_is_waiting(&ss->worker, &run->job); /* it did not even begin */
	/* A callback inside would only be waited for again: the run is owed to when it returns. */
	bool wedged = waiting ? guest.what != NULL : worker_is_executing(&ss->worker, &run->job);

	say_expired(run, &guest, waiting);
	ss->owed = wedged;
	run->jobs++; /* ours, while we look at it */
	end_run(run, !wedged);
	drop_run(run);
}

static const char cancelled_words[] = "cancelled: the handle was shut down";

/* Answers CANCELLED to every ticket nobody will answer any more: first those of the run in progress, if it was
 * cancelled, then those of the open batch. A run that has committed answers for itself. */
void dispatch_cancel_tickets_locked(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome), .verdict = SAFESTART_CANCELLED, .error = -ECANCELED, .attempts = 1};

	if (ss->run != NULL && !run_gave_up(ss->run))
		return;
	why_copy(outcome.message, sizeof(outcome.message), cancelled_words);
	outcome.generation = safestart_generation(ss);
	if (ss->run != NULL) {
		outcome.run = ss->run->number;
		outcome.requests = ss->run->batch.requests;
		outcome.ticket = ss->run->batch.ticket;
		ticket_answer(&ss->tickets, &outcome);
	}
	outcome.run = 0;
	outcome.ticket = request_issued(&ss->door, &outcome.requests);
	ticket_answer(&ss->tickets, &outcome);
	pthread_cond_broadcast(&ss->changed);
}

static void post_keep(struct safestart *ss)
{
	if (!ss->keep_wanted || ss->keep_job.posted)
		return;
	ss->keep_wanted = false;
	post_or_log(ss, &ss->keep_job, "writing last_good");
}

static void run_done(struct job *job)
{
	struct safestart_run *run = (struct safestart_run *)(void *)job;
	struct safestart *ss = run->ss;

	watch_source(ss);
	if (run_is_parked(run) || (run_is_called(run) && run->current != NULL)) {
		run->next_parked = ss->parked;
		ss->parked = run;
		return;
	}
	if (atomic_load(&run->bits) & RUN_CANCELLED) { /* its ticket is answered already, the same way */
		run->outcome.verdict = SAFESTART_CANCELLED;
		run->outcome.error = -ECANCELED;
		why_copy(run->outcome.message, sizeof(run->outcome.message), cancelled_words);
		end_run(run, false);
	} else if (!run->answered && (atomic_load(&run->bits) & RUN_EXPIRED)) {
		end_expired(run); /* thread=no: judged when it returned */
	} else if (!run->answered) {
		end_run(run, run->again);
	}
	if (run->committed && !run->from_kept && handle_settings(ss)->last_good != NULL) {
		ss->keep_wanted = true;
		post_keep(ss);
	}
	drop_run(run);
}

/* ---- What the worker does besides runs ---- */

static struct safestart *handle_of(struct job *job, size_t offset)
{
	return (struct safestart *)(void *)((char *)job - offset);
}

static void retire(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, retire_job));
	struct worker_visit visit;

	worker_enter(&visit, ss, &ss->worker, "retire", 0, loop_now());
	snapshot_collect(ss->home);
	worker_leave(&visit, &ss->worker);
}

static void hint(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, hint_job));
	struct worker_visit visit;

	worker_enter(&visit, ss, &ss->worker, "hint", 0, loop_now());
	ss->source.hinted = ss->source.open && !ss->source.inherited && ss->source.chosen->source.hint(ss->source.state) > 0;
	worker_leave(&visit, &ss->worker);
}

static void hint_done(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, hint_job));

	loop_listen(&ss->loop);
	if (ss->source.hinted) {
		gate_request(&ss->gate, loop_now(), false);
		ss->nudged = true;
	}
}

static void keep(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, keep_job));
	const char *path = handle_settings(ss)->last_good;
	struct worker_visit visit;
	char why[sizeof(ss->figures.keep_error)] = "";

	worker_enter(&visit, ss, &ss->worker, "writing last_good", 0, loop_now());
	struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
	char *json = safestart_snapshot_json(live);
	int error = json != NULL ? keep_save(path, json, why, sizeof(why)) : why_say(why, sizeof(why), -ENOMEM, "out of memory");
	safestart_free(json);
	safestart_snapshot_release(live);
	worker_leave(&visit, &ss->worker);
	if (error < 0)
		handle_log(ss, LOG_WARNING, "last_good %s is not up to date, a restart would begin with an older set: %s; tried again after the next change", path, why);
	pthread_mutex_lock(&ss->lock);
	why_copy(ss->figures.keep_error, sizeof(ss->figures.keep_error), why);
	pthread_mutex_unlock(&ss->lock);
}

static void keep_done(struct job *job)
{
	post_keep(handle_of(job, offsetof(struct safestart, keep_job))); /* another generation went live meanwhile */
}

static void nothing_more(struct job *job)
{
	(void)job;
}

void dispatch_init(struct safestart *ss)
{
	ss->retire_job = (struct job){.execute = retire, .done = nothing_more};
	ss->hint_job = (struct job){.execute = hint, .done = hint_done};
	ss->keep_job = (struct job){.execute = keep, .done = keep_done};
	ss->run = NULL;
	ss->parked = NULL;
	ss->keep_wanted = ss->owed = false;
	ss->warned_about = UINT64_MAX;
	ss->random = (uint32_t)loop_now() ^ (uint32_t)(uintptr_t)ss ^ snapshot_epoch() * 2654435761u;
	if (ss->random == 0)
		ss->random = 1;
	gate_init(&ss->gate, &handle_settings(ss)->gate);
	/* push has nothing to load, unless a kept set waits; none never has. A child's first run is due in any case. */
	ss->nudged = ss->anew || ss->source.kind == SOURCE_ADDED || (ss->source.kind == SOURCE_PUSH && handle_settings(ss)->last_good != NULL);
	if (ss->nudged)
		gate_due(&ss->gate, loop_now());
}

/* ---- One turn ---- */

static void take_finished(struct safestart *ss)
{
	struct job *job;

	while ((job = worker_take_finished(&ss->worker)) != NULL) {
		job->done(job);
		if (ss->owed) { /* what was in the way has returned */
			ss->owed = false;
			ss->nudged = true;
			gate_due(&ss->gate, loop_now()); /* a run that waits for the worker already meets it */
		}
	}
}

static void resume_parked(struct safestart *ss)
{
	for (struct safestart_run **at = &ss->parked; *at != NULL;) {
		struct safestart_run *run = *at;
		pthread_mutex_lock(&ss->lock); /* the finisher is out of it then */
		bool called = run_is_called(run);
		pthread_mutex_unlock(&ss->lock);
		if (!called) {
			at = &run->next_parked;
			continue;
		}
		*at = run->next_parked;
		run->resumed = true;
		if (worker_post(&ss->worker, &run->job) < 0) { /* cannot be: it was there before */
			*at = run;
			return;
		}
	}
}

static void expire_run(struct safestart *ss, int64_t now)
{
	struct safestart_run *run = ss->run;

	if (run == NULL)
		return;
	pthread_mutex_lock(&ss->lock);
	run_expire_locked(run, now);
	/* By us, by a finish that came too late, or by a callback that returned too late. */
	bool expired = !run->answered && (atomic_load(&run->bits) & RUN_EXPIRED);
	pthread_mutex_unlock(&ss->lock);
	if (expired)
		end_expired(run);
}

static void refuse_start(struct safestart_run *run, int error)
{
	run->outcome.verdict = SAFESTART_FAILED;
	run->outcome.error = error;
	why_say(run->outcome.message, sizeof(run->outcome.message), 0, "no thread could be started (%s); generation %llu goes on serving",
		safestart_strerror(error), (unsigned long long)safestart_generation(run->ss));
	end_run(run, true);
	drop_run(run);
}

static void start_run(struct safestart *ss, int64_t now)
{
	struct safestart_run *run = run_new(ss);

	if (run == NULL) {
		/* The batch stays open: its tickets are answered by the run that gets the memory. */
		handle_log(ss, LOG_ERR, "no memory for a run; tried again in 100ms");
		gate_ended(&ss->gate, now, false, 0);
		gate_due(&ss->gate, now + TRY_AGAIN_NS);
		return;
	}
	bool batch = request_close(&ss->door, &run->batch);
	run->forced = batch && (run->batch.flags & REQUEST_FORCE);
	run->asked = batch || ss->nudged;
	ss->nudged = false;
	run->started = now;
	run->deadline = now + handle_settings(ss)->run_timeout;
	run->job.done = run_done;
	run->jobs = 1;
	pthread_mutex_lock(&ss->lock);
	run->number = ++ss->runs;
	ss->run = run;
	ss->figures.requests += run->batch.requests;
	ss->figures.run_started = now;
	/* A shutdown that came before has answered the batch; the run must not begin. */
	bool shut = request_is_shut(&ss->door);
	if (shut)
		run_cancel_locked(run);
	pthread_mutex_unlock(&ss->lock);
	int error = worker_post(&ss->worker, &run->job);
	if (error < 0)
		refuse_start(run, error);
}

/* The door, then the gate. Returns when to look again. */
static int64_t look(struct safestart *ss, int64_t now)
{
	struct gate_verdict verdict;
	uint32_t flags;

	if (request_is_shut(&ss->door))
		return LOOP_NEVER;
	do {
		if (request_look(&ss->door, &flags))
			gate_request(&ss->gate, now, (flags & REQUEST_URGENT) != 0);
		verdict = gate_tick(&ss->gate, now);
		if (verdict.start) {
			start_run(ss, now);
			verdict = gate_tick(&ss->gate, now);
		}
		/* Not deaf, yet a request slipped in between: look again. */
	} while (!verdict.deaf && request_listen(&ss->door));
	return verdict.wake_at;
}

static int64_t collect(struct safestart *ss, int64_t now)
{
	uint64_t generation = 0;
	bool borrowed;

	if (snapshot_collectable(ss->home) && !ss->retire_job.posted)
		post_or_log(ss, &ss->retire_job, "retiring");
	if (snapshot_reclaim(ss->home) < 0)
		return now + TRY_AGAIN_NS;
	int64_t since = snapshot_oldest(ss->home, true, &generation, &borrowed);
	if (since == 0 || ss->warned_about == generation)
		return LOOP_NEVER;
	if (now - since < BORROWER_IS_LATE_NS)
		return since + BORROWER_IS_LATE_NS;
	ss->warned_about = generation;
	handle_log(ss, LOG_WARNING, "a reader of generation %llu has not called safestart_read_unlock() for %s: its nodes can't be retired; reloads go on",
		   (unsigned long long)generation, why_duration(now - since).text);
	return LOOP_NEVER;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Set the timer; leave for status what it may want to know. */
static void settle_down(struct safestart *ss, int64_t wake_at)
{
	pthread_mutex_lock(&ss->lock);
	if (ss->run != NULL && !run_gave_up(ss->run) && !(atomic_load(&ss->run->bits) & RUN_SETTLED))
		wake_at = earlier(wake_at, ss->run->deadline);
	ss->figures.next_start = gate_next_start(&ss->gate);
	if (request_is_shut(&ss->door))
		dispatch_cancel_tickets_locked(ss);
	ss->drained = request_is_shut(&ss->door) && ss->run == NULL && ss->parked == NULL && worker_is_idle(&ss->worker) &&
		      snapshot_is_settled(ss->home);
	pthread_mutex_unlock(&ss->lock);
	loop_arm(&ss->loop, wake_at);
}

static void turn(struct safestart *ss)
{
	do {
		int64_t now = loop_now();
		take_finished(ss);
		expire_run(ss, now);
		resume_parked(ss);
		int64_t wake_at = look(ss, now);
		wake_at = earlier(wake_at, collect(ss, now));
		settle_down(ss, wake_at);
	} while (!ss->worker.threaded && worker_execute_one(&ss->worker));
}

bool dispatch_has_open_later(struct safestart *ss, bool owed_too)
{
	for (const struct safestart_run *run = ss->parked; run != NULL; run = run->next_parked) {
		if (run_is_parked(run) && (owed_too || !run_gave_up(run)))
			return true;
	}
	return false;
}

static bool take_turn(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	bool taken = !ss->dispatching;
	if (taken) {
		ss->dispatching = true;
		ss->dispatcher = pthread_self();
	}
	pthread_mutex_unlock(&ss->lock);
	return taken;
}

static void leave_turn(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	ss->dispatching = false;
	pthread_cond_broadcast(&ss->changed);
	pthread_mutex_unlock(&ss->lock);
}

int dispatch_turn(struct safestart *ss, int timeout_ms)
{
	if (!take_turn(ss))
		return -EBUSY;
	unsigned events = loop_wait(&ss->loop, timeout_ms);
	if ((events & LOOP_HINT) && !ss->hint_job.posted)
		post_or_log(ss, &ss->hint_job, "a change of the source");
	turn(ss);
	pthread_mutex_lock(&ss->lock);
	bool drained = ss->drained;
	pthread_mutex_unlock(&ss->lock);
	leave_turn(ss);
	return drained ? -ECANCELED : 0;
}

void *dispatch_thread(void *argument)
{
	struct safestart *ss = argument;

	while (!atomic_load(&ss->loop_stop)) {
		if (dispatch_turn(ss, -1) == -EBUSY)
			break; /* cannot be: nobody else gets in with thread=yes */
	}
	return NULL;
}
