/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* open: the life of a handle: its storeys are wired together here, and taken down in the other
 * order. On the thread that opens or closes; no other thread uses the handle before open has
 * returned or after close has. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "base/message.h"
#include "base/thread.h"
#include "control/control.h"
#include "engine/engine.h"
#include "open/fork.h"
#include "run/pull.h"
#include "run/run.h"

/* ---- Open ---- */

/* Memory, locks, descriptors: what destroy() gives back wherever this stops. Nothing runs yet. */
static int build(struct safestart *ss, const struct safestart_conf *conf, char *why,
		 size_t why_size)
{
	int error = conf_resolve(&ss->conf, conf, why, why_size);
	if (error < 0)
		return error;
	ss->engine.process_lock.file.path = handle_settings(ss)->lock;
	source_init(&ss->source, ss->conf->sources, handle_settings(ss)->source);
	error = loop_init(&ss->loop);
	if (error < 0)
		return message_set(why, why_size, error, "cannot open file descriptors: %s",
				   safestart_strerror(error));
	request_init(&ss->door, ss->loop.wake_fd);
	ss->engine.driven = !handle_settings(ss)->thread;
	if (handle_settings(ss)->events_pull) {
		ss->mailbox = mailbox_new(&error);
		if (ss->mailbox == NULL)
			return message_set(why, why_size, error,
					   "cannot open a pair of sockets for events: %s",
					   safestart_strerror(error));
	}
	ss->home = snapshot_home_new(ss->loop.wake_fd, &ss->conf->callbacks, ss->conf->user_data,
				     ss->mailbox);
	if (ss->home == NULL) {
		mailbox_free(ss->mailbox);
		ss->mailbox = NULL;
		return message_set(why, why_size, -ENOMEM, "out of memory");
	}
	if (ss->mailbox != NULL)
		pull_take_callbacks(ss);
	struct safestart_snapshot *first = snapshot_new(ss->home, 0, 0);
	atomic_init(&ss->view.live, first);
	ss->open.closing = first != NULL ? snapshot_new(ss->home, 0, 0) : NULL;
	if (ss->open.closing == NULL || ticket_init(&ss->tickets) < 0 ||
	    thread_cond_init(&ss->changed) < 0)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	first->stage = SNAPSHOT_LIVE;
	error = control_init(ss, handle_settings(ss)->control, why, why_size);
	if (error < 0)
		return error;
	ss->log = (struct log){.handle = ss,
			       .name = handle_settings(ss)->name,
			       .write = ss->conf->callbacks.log,
			       .user_data = ss->conf->user_data,
			       .events = ss->events};
	return source_open(&ss->source, why, why_size);
}

static void destroy(struct safestart *ss)
{
	/* Nothing of it is in use: no thread dispatches, waits or is about to finish a run. */
	invariant(!ss->engine.dispatching && ss->engine.waiters == 0 && ss->run.later_owed == 0);
	invariant(ss->run.current == NULL && ss->engine.parked == NULL);
	invariant(!ss->engine.first_started && !ss->engine.second_started);
	source_close(&ss->source);
	mailbox_shut(ss->mailbox); /* what is retired now is not told any more */
	snapshot_discard(ss->open.closing);
	if (atomic_load(&ss->view.live) != NULL)
		snapshot_close(&ss->view);
	else
		snapshot_home_unref(ss->home);
	loop_clear(&ss->loop);
	lock_file_clear(&ss->engine.process_lock.file);
	control_clear(ss);
	run_part_clear(&ss->run);
	ticket_clear(&ss->tickets);
	push_clear(&ss->source.push);
	worker_clear(&ss->worker);
	pthread_cond_destroy(&ss->changed);
	pthread_mutex_destroy(&ss->lock);
	safestart_conf_free(ss->conf);
	free(ss);
}

static struct safestart *new_handle(void)
{
	struct safestart *ss = calloc(1, sizeof(*ss));

	if (ss == NULL)
		return NULL;
	ss->loop.epoll_fd = ss->loop.wake_fd = ss->loop.timer_fd = ss->loop.hint_fd = -1;
	ss->source.fd = -1;
	ss->engine.figures.next_start = GATE_NEVER;
	pthread_mutex_init(&ss->lock, NULL);
	worker_init(&ss->worker);
	push_init(&ss->source.push);
	lock_file_init(&ss->engine.process_lock.file, NULL);
	ss->open.opened_in = epoch_now();
	atomic_init(&ss->open.epoch, ss->open.opened_in);
	ss->revive = fork_revive;
	atomic_init(&ss->engine.stop, false);
	ss->engine.dispatcher = pthread_self();
	return ss;
}

static int start(struct safestart *ss, char *why, size_t why_size)
{
	/* The first turn begins the first load; its end watches the source. */
	handle_wake(ss);
	int error = control_start(ss);
	if (error < 0)
		return message_set(why, why_size, error,
				   "cannot start the thread of the control socket: %s",
				   safestart_strerror(error));
	if (handle_settings(ss)->thread)
		error = dispatch_start(ss);
	if (error < 0)
		message_set(why, why_size, error, "cannot start a thread: %s",
			    safestart_strerror(error));
	return error;
}

int safestart_open(struct safestart **out, const struct safestart_conf *conf, char *why,
		   size_t why_size)
{
	THREAD_NOT_CANCELLED;
	message_set(why, why_size, 0, "%s", "");
	if (out == NULL)
		return message_set(why, why_size, -EINVAL,
				   "out is NULL: there is nowhere to put the handle");
	*out = NULL;
	/* At its first object jansson opens the system's source of randomness, which is a
	 * cancellation point: here, and not in the middle of any later call. [P16] */
	json_object_seed(0);
	struct safestart *ss = new_handle();
	if (ss == NULL)
		return message_set(why, why_size, -ENOMEM, "out of memory");
	int error = build(ss, conf, why, why_size);
	if (error == 0) {
		dispatch_init(ss);
		error = fork_register(ss);
		if (error < 0)
			message_set(why, why_size, error, "out of memory");
	}
	*out = ss; /* before the thread: the first callback may come before we have returned */
	if (error == 0 && handle_settings(ss)->start_after_fork)
		atomic_store(&ss->open.epoch, EPOCH_NONE);
	else if (error == 0)
		error = start(ss, why, why_size);
	if (error < 0) {
		*out = NULL;
		control_stop(ss, LOOP_NEVER);
		fork_unregister(ss);
		destroy(ss);
	} else {
		ss->home->destroy = ss->conf->callbacks.destroy;
	}
	return error;
}

/* ---- Close ---- */

int safestart_shutdown(struct safestart *ss)
{
	if (ss == NULL)
		return -EINVAL;
	request_shut(&ss->door);
	pthread_mutex_lock(&ss->lock);
	if (ss->run.current != NULL)
		step_cancel_locked(ss->run.current);
	outcome_cancel_tickets_locked(ss);
	pthread_mutex_unlock(&ss->lock);
	handle_wake(ss);
	return 0;
}

/* A LATER run without its finish: with thread=no the thread that closes may be the one that has to
 * finish it. The gather of a source whose descriptor is watched is finished by its hint, which
 * dispatching calls. */
static bool has_unfinished(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	unsigned hinted = ss->loop.hint_fd >= 0 ? ss->run.gathers_owed : 0;
	bool unfinished = ss->run.later_owed > hinted;
	pthread_mutex_unlock(&ss->lock);
	return unfinished;
}

static int wait_until_drained(struct safestart *ss, int64_t deadline)
{
	int error = 0;

	pthread_mutex_lock(&ss->lock);
	ss->engine.drained = false; /* there may be more to do than when it was found */
	handle_wake(ss);
	while (!ss->engine.drained && error == 0)
		error = thread_cond_wait(&ss->changed, &ss->lock, deadline);
	error = ss->engine.drained ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&ss->lock);
	return error;
}

static bool has_waiters(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	bool waiters = ss->engine.waiters > 0;
	pthread_mutex_unlock(&ss->lock);
	return waiters;
}

static int wait_for_waiters(struct safestart *ss, int64_t deadline)
{
	int error = 0;

	pthread_mutex_lock(&ss->lock);
	while (ss->engine.waiters > 0 && error == 0)
		error = thread_cond_wait(&ss->changed, &ss->lock, deadline);
	error = ss->engine.waiters > 0 ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&ss->lock);
	return error;
}

/* Until nothing is left to do: by our threads, or here. */
static int drain(struct safestart *ss, int64_t deadline)
{
	if (!ss->engine.driven)
		return wait_until_drained(ss, deadline);
	handle_wake(ss);
	for (;;) {
		bool waiters = has_waiters(ss);
		int result = dispatch_turn(ss, loop_ms_until(deadline));
		if (result == -ECANCELED)
			return 0;
		/* The thread that drives may be one of them: answered, it leaves. */
		if (result == -EBUSY && waiters)
			result = wait_for_waiters(ss, deadline);
		if (result < 0)
			return result;
		if (has_unfinished(ss))
			return -EDEADLK;
		if (loop_now() >= deadline)
			return -ETIMEDOUT;
	}
}

/* The live generation goes the way of every other: replaced by an empty one, waited for, retired on
 * the worker. So its data is retired after the last reader, also at the end. [P13] */
static void publish_closing_snapshot(struct safestart *ss)
{
	if (ss->open.closing == NULL)
		return;
	ss->open.closing->generation = safestart_generation(ss);
	snapshot_publish(&ss->view, ss->open.closing, loop_now());
	ss->open.closing = NULL;
}

/* What keeps close from ending, in words that say where to look. `control`: all else is over. */
static void say_what_close_waits_for(struct safestart *ss, bool control)
{
	struct callback_inside callback = worker_callback(&ss->worker);
	char inside[128];

	callback_describe(&callback, loop_now(), inside, sizeof(inside));
	pthread_mutex_lock(&ss->lock);
	unsigned waiters = ss->engine.waiters, owed = ss->run.later_owed,
		 gathers = ss->run.gathers_owed;
	bool deciding = ss->engine.dispatching;
	pthread_mutex_unlock(&ss->lock);
	if (control) {
		log_line(&ss->log, LOG_WARNING,
			 "close gave up: removing the control socket has not ended, perhaps the "
			 "file system hangs; call safestart_close() again when it has "
			 "(control=%.200s)",
			 handle_settings(ss)->control);
		return;
	}
	if (deciding)
		return; /* that takes no time, unless it is in `log`, which would hang here, too */
	if (callback.what != NULL)
		log_line(&ss->log, LOG_WARNING,
			 "close gave up: %s; call safestart_close() again when it has", inside);
	else if (gathers > 0)
		log_line(&ss->log, LOG_WARNING,
			 "close gave up: the source %.60s has not called safestart_gather_finish() "
			 "for %u gathers; call safestart_close() again when it has",
			 ss->source.name, gathers);
	else if (owed > 0)
		log_line(&ss->log, LOG_WARNING,
			 "close gave up: safestart_run_finish() was not called for %u LATER runs; "
			 "call it, then safestart_close() again",
			 owed);
	else if (waiters > 0)
		log_line(&ss->log, LOG_WARNING,
			 "close gave up: %u threads have not left safestart_wait() yet; call "
			 "safestart_close() again",
			 waiters);
	else if (worker_is_idle(&ss->worker) || snapshot_waits_here(ss->home))
		/* Otherwise a job is in `log`. */
		log_line(&ss->log, LOG_WARNING,
			 "close gave up: a reader has not called safestart_read_unlock(); call "
			 "safestart_close() again when it has");
}

/* Is this a process that has not made it its own: a forked child, or with start=after_fork the one
 * that has opened it? */
static bool is_not_started(const struct safestart *ss)
{
	return atomic_load(&ss->open.epoch) != epoch_now();
}

/* With events=pull nothing is waited for that the application would have to do. After the shutdown:
 * what is abandoned has to be cancelled, or it would pass for finished, and go live. [P24] */
static void abandon(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	ss->engine.abandons = ss->mailbox != NULL;
	pthread_mutex_unlock(&ss->lock);
}

int safestart_close(struct safestart *ss)
{
	bool control = false;
	int error = 0;

	THREAD_NOT_CANCELLED;
	if (ss == NULL)
		return 0;
	if (callback_is_inside(ss))
		return -EDEADLK;
	int64_t deadline = loop_now() + handle_settings(ss)->run_timeout;
	/* A revival that failed half way has started the control thread, and a question of one of
	 * its clients may complete the revival up to here. [P17] */
	if (is_not_started(ss)) {
		error = control_stop(ss, deadline);
		if (error < 0)
			return error;
	}
	/* A child that never ran: there is nothing else to wait for, and nothing runs any more. */
	if (is_not_started(ss)) {
		request_shut(&ss->door);
		error = snapshot_orphan(&ss->view, deadline);
		if (error < 0)
			return error;
		fork_unregister(ss);
		/* No function of the application is called; one of ours may be. */
		source_abandon(&ss->source);
		destroy(ss);
		return 0;
	}
	safestart_shutdown(ss);
	abandon(ss);
	error = drain(ss, deadline);
	if (error == 0)
		error = wait_for_waiters(ss, deadline);
	if (error == 0) {
		error = control_stop(ss, deadline);
		control = error < 0;
	}
	if (error == 0) {
		publish_closing_snapshot(ss);
		error = drain(ss, deadline);
	}
	if (error == 0)
		error = snapshot_orphan(&ss->view, deadline);
	if (error == -ETIMEDOUT || error == -EDEADLK)
		say_what_close_waits_for(ss, control);
	if (error < 0)
		return error;
	threads_stop(ss);
	fork_unregister(ss);
	destroy(ss);
	return 0;
}
