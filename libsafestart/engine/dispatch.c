/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dispatch: every decision of a handle, by one thread at a time: it looks at the door, asks the
 * gate, starts runs, takes back what was executed, answers tickets, sets the timer, and then
 * carries out what it has posted. With thread=no that is the application's event loop. With
 * thread=yes two threads of ours sleep in the loop. An event wakes one, which takes the turn,
 * decides, leaves the turn and carries out the job itself; the other one sees to what happens
 * meanwhile. So a request wakes a single thread, and a callback that stays inside stops nothing. */
#include <errno.h>
#include <stddef.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "base/message.h"
#include "base/thread.h"
#include "engine/engine.h"
#include "run/conclusion.h"
#include "run/run.h"

#define BORROWER_IS_LATE_NS INT64_C(5000000000)
#define TRY_AGAIN_NS INT64_C(100000000) /* after a thread or memory was not available */
#define JOBS_A_DISPATCH \
	16 /* a run has five at most, with its outcome, last_good and what is retired */

/* A descriptor that came with a newly opened source, or that could not be opened or watched before.
 */
static void watch_source(struct safestart *ss)
{
	if (!ss->source.open || ss->source.inherited || ss->source.fd < 0 ||
	    ss->engine.hint_ended || ss->loop.hint_fd >= 0)
		return;
	int error = loop_watch(&ss->loop, ss->source.fd);
	ss->engine.hint_failures = error < 0 ? ss->engine.hint_failures + 1 : 0;
	if (error < 0)
		log_line(&ss->log, log_repeated(LOG_WARNING, ss->engine.hint_failures),
			 "cannot watch the source's descriptor (%s): changes are noticed only by a "
			 "request or the next reconcile; retrying then",
			 safestart_strerror(error));
}

/* The worker is done with it: for now (LATER), or at its end, or it has given back what the run
 * held. */
static void run_done(struct job *job)
{
	struct safestart_run *run = (struct safestart_run *)(void *)job;
	struct safestart *ss = run->ss;

	invariant(!job->posted && run->jobs > 0);
	if (run->over && run->current == NULL) {
		outcome_drop(run);
		return;
	}
	watch_source(ss);
	if (!run->over && !step_is_parked(run) && !step_is_called(run))
		conclude_left(run, run_phase_name(run));
	if (!run->over) {
		invariant(step_is_parked(run) || step_is_called(run));
		run->next_parked = ss->engine.parked;
		ss->engine.parked = run;
		return;
	}
	if (atomic_load(&run->bits) & RUN_CANCELLED) {
		outcome_cancelled(run);
	} else if (!run->answered && (atomic_load(&run->bits) & RUN_EXPIRED)) {
		outcome_expired(run); /* with thread=no only now: this thread was inside it */
	} else if (!run->answered) {
		outcome_of_run(run, run->again);
	}
	if (run->keep) {
		ss->engine.last_good_wanted = true;
		housekeeping_write_last_good(ss);
	}
	process_lock_leave(run);
	/* Not through threads_post(): the threads are there, for they have executed it. */
	worker_post(&ss->worker, &run->job);
}

void dispatch_init(struct safestart *ss)
{
	housekeeping_init(ss);
	ss->engine.parked = NULL;
	ss->engine.deliveries = 0;
	ss->engine.newest_delivery = NULL;
	ss->engine.run_deferred = false;
	ss->engine.no_memory = ss->engine.no_thread = ss->engine.no_grace_thread = 0;
	ss->engine.hint_ended = false;
	ss->engine.hint_failures = 0;
	ss->engine.warned_about = UINT64_MAX;
	ss->engine.random =
		(uint32_t)loop_now() ^ (uint32_t)(uintptr_t)ss ^ epoch_now() * 2654435761u;
	if (ss->engine.random == 0)
		ss->engine.random = 1;
	struct gate_conf gate = handle_settings(ss)->gate;
	/* Kept for all processes together, see process_lock.c; the gate only knows ours. */
	if (handle_settings(ss)->lock_share)
		gate.debounce = gate.max_delay = gate.min_interval = 0;
	gate_init(&ss->gate, &gate);
	process_lock_init(ss);
	/* push has nothing to load, unless a kept set waits; none never has. A child's first run is
	 * due in any case. */
	bool load = ss->source.kind == SOURCE_ADDED ||
		    (ss->source.kind == SOURCE_PUSH && handle_settings(ss)->last_good != NULL);
	ss->engine.cause = ss->run.inherited ? "forked" : load ? "first load" : NULL;
	ss->engine.asked = ss->engine.cause != NULL;
	if (ss->engine.asked)
		gate_due(&ss->gate, loop_now());
}

void dispatch_after_fork_child(struct safestart *ss)
{
	ss->engine.first_started = ss->engine.second_started = false;
	ss->engine.dispatching = false;
	ss->engine.dispatcher = pthread_self();
	ss->engine.turn_wanted = ss->engine.waiters = 0;
	ss->engine.drained = false;
	ss->engine.figures.next_start = GATE_NEVER;
	dispatch_init(ss);
}

/* ---- One turn ---- */

static void take_finished(struct safestart *ss)
{
	struct job *job;

	while ((job = worker_take_finished(&ss->worker)) != NULL) {
		invariant(job->done != NULL);
		job->done(job);
		if (ss->engine.run_deferred) { /* what was in the way has returned */
			ss->engine.run_deferred = false;
			ss->engine.cause = "a callback has returned";
			gate_callback_returned(&ss->gate, loop_now());
			/* A run that waits for the worker already meets it. */
			gate_due(&ss->gate, loop_now());
		}
	}
}

/* Runs that answered LATER and were finished since: the worker goes on with them. Those that are
 * not stay, also past their deadline, until their finish comes: their memory is the application's.
 */
static void resume_parked(struct safestart *ss)
{
	for (struct safestart_run **at = &ss->engine.parked; *at != NULL;) {
		struct safestart_run *run = *at;
		pthread_mutex_lock(&ss->lock); /* the finisher is out of it then */
		if (ss->engine.abandons)
			step_abandon_locked(run);
		bool called = step_is_called(run);
		pthread_mutex_unlock(&ss->lock);
		if (!called) {
			at = &run->next_parked;
			continue;
		}
		invariant(!run->resumed && run->jobs > 0);
		*at = run->next_parked;
		run->resumed = true;
		/* It cannot fail: there were two threads before. */
		if (threads_post(ss, &run->job) < 0) {
			*at = run;
			return;
		}
	}
}

/* The deadline: the run is answered, though its callback may still be inside. [P14] */
static void expire_run(struct safestart *ss, int64_t now)
{
	struct safestart_run *run = ss->run.current;

	if (run == NULL)
		return;
	pthread_mutex_lock(&ss->lock);
	step_expire_locked(run, now);
	/* By us, by a finish that came too late, or by a callback that returned too late. */
	bool expired = !run->answered && (atomic_load(&run->bits) & RUN_EXPIRED);
	pthread_mutex_unlock(&ss->lock);
	if (expired)
		outcome_expired(run);
}

/* Whatever becomes of this run, a retry has to carry out what was asked of it. */
static void owe_restart(struct safestart_run *run)
{
	if (run->asked)
		atomic_store_explicit(&run->ss->run.restart_owed, true, memory_order_relaxed);
}

/* The lock was not free in time, or another process has made the run. */
static void end_unbegun(struct safestart *ss, struct safestart_run *run)
{
	invariant(run->outcome.verdict == SAFESTART_PENDING && !run->locked);
	run->outcome = ss->engine.process_lock.end;
	if (run->outcome.verdict >= SAFESTART_FAILED)
		owe_restart(run);
	outcome_of_run(run, run->outcome.verdict >= SAFESTART_FAILED);
	outcome_drop(run);
	/* Requests that came too late to be in it. [P2] */
	if (ss->engine.process_lock.left)
		gate_request(&ss->gate, loop_now(), false);
	ss->engine.process_lock.left = false;
}

/* The gate says that a run is due. It begins when the lock between processes is held, memory is
 * there and a thread can execute it; otherwise the gate asks again. */
static void start_run(struct safestart *ss, int64_t now)
{
	enum process_lock_verdict may = process_lock_ask(ss, now);
	struct safestart_run *run = may != PROCESS_LOCK_WAIT ? run_new(ss) : NULL;

	if (run == NULL) {
		/* The batch stays open: its tickets are answered by the run that gets the lock, or
		 * the memory. */
		if (may != PROCESS_LOCK_WAIT)
			log_line(&ss->log, log_repeated(LOG_ERR, ++ss->engine.no_memory),
				 "out of memory for a run; retrying in 100 ms");
		if (may == PROCESS_LOCK_BEGIN)
			process_lock_undo(ss);
		gate_not_started(&ss->gate, may == PROCESS_LOCK_WAIT
						    ? ss->engine.process_lock.retry_at
						    : now + TRY_AGAIN_NS);
		return;
	}
	ss->engine.no_memory = 0;
	bool batch = process_lock_take(ss, run, may);
	if (batch && (run->batch.flags & REQUEST_FORCE))
		atomic_store_explicit(&ss->run.force_open, true, memory_order_relaxed);
	run->asked = batch || ss->engine.asked;
	run->retry = !run->asked && ss->engine.cause != NULL;
	run->cause = ss->engine.cause != NULL ? ss->engine.cause : "reconcile";
	ss->engine.cause = NULL;
	ss->engine.asked = false;
	run->started = now;
	run->deadline = now + handle_settings(ss)->run_timeout;
	run->job.done = run_done;
	run->jobs = 1;
	pthread_mutex_lock(&ss->lock);
	invariant(ss->run.current == NULL); /* [P1] */
	run->number = ++ss->run.count;
	ss->run.current = run;
	ss->engine.figures.run_started = now;
	/* A shutdown that came before has answered the batch; the run must not begin. [P6] */
	bool shut = request_is_shut(&ss->door);
	if (shut)
		step_cancel_locked(run);
	pthread_mutex_unlock(&ss->lock);
	if (may == PROCESS_LOCK_ENDED) {
		end_unbegun(ss, run);
		return;
	}
	owe_restart(run);
	int error = threads_post(ss, &run->job);
	if (error < 0)
		outcome_not_started(run, error);
	else
		ss->engine.no_thread = 0;
}

/* The door, then the gate. Returns when to look again. */
static int64_t look(struct safestart *ss)
{
	struct gate_verdict verdict;
	uint32_t flags;

	if (request_is_shut(&ss->door))
		return LOOP_NEVER;
	process_lock_check_file(ss);
	do {
		bool asked = request_look(&ss->door, &flags);
		/* Not before: a request would pass for older than it is, by as long as a log
		 * callback took. */
		int64_t now = loop_now();
		if (asked) {
			gate_request(&ss->gate, now, (flags & REQUEST_URGENT) != 0);
			ss->engine.process_lock.asked = true;
		}
		ss->engine.process_lock.urgent = (flags & REQUEST_URGENT) != 0;
		verdict = gate_tick(&ss->gate, now);
		if (verdict.start) {
			start_run(ss, now);
			verdict = gate_tick(&ss->gate, now);
		}
		/* Wake-ups are on, yet a request slipped in between: look again. */
		invariant(!verdict.start && verdict.wake_at >= 0);
	} while (!verdict.wakeups_off && request_listen(&ss->door));
	return verdict.wake_at;
}

/* Where threads are forbidden or used up, one that waits for readers is asked for again with each
 * generation, and the worker waits instead. */
static void say_no_grace_thread(struct safestart *ss, int error)
{
	log_line(&ss->log, log_repeated(LOG_WARNING, ++ss->engine.no_grace_thread),
		 "cannot start the thread that waits for readers (%s): %s waits for them instead, "
		 "so a reader that stays delays the next run, too; allow this process one more "
		 "thread",
		 safestart_strerror(error),
		 ss->engine.driven ? "the thread that dispatches" : "the one that calls callbacks");
}

/* Old generations: give back what no reader needs, begin grace periods for the others, and report a
 * reader that stays. Returns when to look again. [P13] */
static int64_t collect(struct safestart *ss, int64_t now)
{
	uint64_t generation = 0;
	bool borrowed;

	int error = snapshot_reclaim(ss->home);
	if ((error < 0 || snapshot_collectable(ss->home)) && !ss->engine.retire_job.posted) {
		if (error < 0)
			say_no_grace_thread(ss, error);
		ss->engine.wait_for_readers = error < 0;
		if (housekeeping_post(ss, &ss->engine.retire_job, "retiring") < 0)
			return now + TRY_AGAIN_NS;
	}
	int64_t since = snapshot_oldest(ss->home, true, &generation, &borrowed);
	if (since == 0 || ss->engine.warned_about == generation)
		return LOOP_NEVER;
	if (now - since < BORROWER_IS_LATE_NS)
		return since + BORROWER_IS_LATE_NS;
	ss->engine.warned_about = generation;
	log_line(&ss->log, LOG_WARNING,
		 "a reader of generation %llu has not called safestart_read_unlock() for %s: its "
		 "nodes cannot be retired; reloads go on",
		 (unsigned long long)generation, message_duration(now - since).text);
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
	/* Also of a run that is settled: should `restart` follow, its deadline is looked for then.
	 */
	if (ss->run.current != NULL && !run_gave_up(ss->run.current) &&
	    (!(atomic_load(&ss->run.current->bits) & RUN_SETTLED) ||
	     ss->run.current->deadline > loop_now()))
		wake_at = earlier(wake_at, ss->run.current->deadline);
	ss->engine.figures.next_start = gate_next_start(&ss->gate);
	if (request_is_shut(&ss->door))
		outcome_cancel_tickets_locked(ss); /* wakes close, too */
	ss->engine.drained = request_is_shut(&ss->door) && ss->run.current == NULL &&
			     ss->engine.parked == NULL && worker_is_idle(&ss->worker) &&
			     snapshot_is_settled(ss->home);
	invariant(!ss->engine.drained || ss->run.later_open == 0);
	if (ss->engine.drained && ss->mailbox != NULL)
		mailbox_end(ss->mailbox);
	/* An event of which no poll learns would wait for the next one, or for its deadline. */
	if (ss->mailbox != NULL && !mailbox_signal(ss->mailbox))
		wake_at = earlier(wake_at, loop_now() + TRY_AGAIN_NS);
	pthread_mutex_unlock(&ss->lock);
	loop_arm(&ss->loop, wake_at);
}

/* Is this the thread that decides? Read without the lock: only this thread changes it. */
static bool has_turn(const struct safestart *ss)
{
	return ss->engine.dispatching && pthread_equal(ss->engine.dispatcher, pthread_self());
}

/* Everything that may be due, whatever woke us: an event is only a hint to look. The order matters:
 * what ended is answered before a new run may start, and the timer is set last. */
static void turn(struct safestart *ss, unsigned events)
{
	int64_t now = loop_now();

	invariant(has_turn(ss));
	if (events & LOOP_TIMER)
		loop_expired(&ss->loop);
	if (events & LOOP_HINT_ENDED) {
		loop_unwatch(&ss->loop);
		ss->engine.hint_ended = true;
		log_line(&ss->log, LOG_WARNING,
			 "the source's descriptor was closed at its other end: changes are noticed "
			 "only by a request or the next reconcile");
	}
	if ((events & LOOP_HINT) && !ss->engine.hint_job.posted)
		housekeeping_post(ss, &ss->engine.hint_job, "looking at a change of the source");
	take_finished(ss);
	expire_run(ss, now);
	resume_parked(ss);
	int64_t wake_at = look(ss);
	wake_at = earlier(wake_at, collect(ss, now));
	wake_at = earlier(wake_at, housekeeping_retry_last_good(ss, now));
	wake_at = earlier(wake_at, housekeeping_listen(ss, now));
	housekeeping_log(ss);
	settle_down(ss, wake_at);
	invariant(has_turn(ss));
}

/* False: another thread has it. */
static bool take_turn(struct safestart *ss, bool wait)
{
	pthread_mutex_lock(&ss->lock);
	ss->engine.turn_wanted += wait;
	while (wait && ss->engine.dispatching)
		pthread_cond_wait(&ss->changed, &ss->lock);
	invariant(ss->engine.turn_wanted >= wait);
	ss->engine.turn_wanted -= wait;
	bool taken = !ss->engine.dispatching;
	if (taken) {
		ss->engine.dispatching = true;
		ss->engine.dispatcher = pthread_self();
	}
	pthread_mutex_unlock(&ss->lock);
	return taken;
}

static void leave_turn(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	invariant(has_turn(ss));
	ss->engine.dispatching = false;
	/* Threads that wait for an answer are woken by the answer; a thousand of them must not wake
	 * for each turn until then. */
	if (ss->engine.turn_wanted > 0)
		pthread_cond_broadcast(&ss->changed);
	pthread_mutex_unlock(&ss->lock);
}

/* ---- Driven by the application, or by the thread that closes ---- */

struct dispatch {
	struct safestart *ss;
	struct callback_frame *outer;
	bool complete;
};

/* Also when an exception or pthread_exit() leaves a callback: the next turn sees to the rest. */
static void end_dispatch(const struct dispatch *dispatch)
{
	if (!dispatch->complete) {
		callback_return_to(dispatch->outer);
		handle_wake(dispatch->ss);
	}
	leave_turn(dispatch->ss);
}

int dispatch_turn(struct safestart *ss, int timeout_ms)
{
	/* The callbacks inside neither: they are on the application's thread. */
	THREAD_NOT_CANCELLED;
	if (!take_turn(ss, false))
		return -EBUSY;
	struct dispatch dispatch
		__attribute__((cleanup(end_dispatch))) = {.ss = ss, .outer = callback_innermost()};
	unsigned events = loop_wait(&ss->loop, ss->engine.drained ? 0 : timeout_ms);
	turn(ss, events);
	int jobs = 0;
	while (jobs < JOBS_A_DISPATCH && worker_execute_one(&ss->worker)) {
		jobs++;
		turn(ss, 0); /* what it did has to be seen to */
	}
	/* Callbacks that ask again, or other threads that never stop asking, must not keep the
	 * application from its own events, or in a wait beyond its time: the rest is due at once.
	 */
	if (jobs == JOBS_A_DISPATCH)
		handle_wake(ss);
	pthread_mutex_lock(&ss->lock);
	bool drained = ss->engine.drained;
	pthread_mutex_unlock(&ss->lock);
	dispatch.complete = true; /* cppcheck-suppress unreadVariable; end_dispatch() does */
	return drained ? -ECANCELED : 0;
}

/* ---- Driven by threads of ours ---- */

static void *serve(void *argument)
{
	struct safestart *ss = argument;

	THREAD_NOT_CANCELLED; /* a callback knows this thread */
	/* Also when it is shut down and nothing is left to do: a snapshot may be released, and
	 * close comes at last. */
	while (!atomic_load(&ss->engine.stop)) {
		unsigned events = loop_wait(&ss->loop, -1);
		do { /* once more after each job, for what it did has to be seen to */
			take_turn(ss, true);
			turn(ss, events);
			leave_turn(ss);
			events = 0;
		} while (worker_execute_one(&ss->worker));
	}
	handle_wake(ss); /* the other one */
	return NULL;
}

int dispatch_start(struct safestart *ss)
{
	ss->engine.body = serve;
	return threads_start(ss);
}
