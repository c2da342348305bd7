/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* wait: threads of the application that wait for an answer, or for the
 * first generation. With thread=no the one that dispatched last drives the loop meanwhile. */
#include <errno.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"
#include "base/thread.h"
#include "engine/engine.h"
#include "run/run.h"

/* Is this the thread that has to do the work? With thread=no the one that dispatched last drives
 * the loop while it waits, or nothing would ever be answered. */
static bool drives_locked(const struct safestart *ss)
{
	return ss->engine.driven && !ss->engine.dispatching &&
	       pthread_equal(pthread_self(), ss->engine.dispatcher);
}

/* With thread=no the thread that waits may be the one that has to finish a LATER run, and would
 * wait for itself. Not so for the gather of a source whose descriptor is watched: its hint finishes
 * it, and comes from the turns that this thread makes. Only the run in progress is open. */
static bool waits_for_itself_locked(const struct safestart *ss)
{
	invariant(ss->run.later_open == 0 || ss->run.current != NULL);
	return ss->run.later_open > 0 &&
	       !(ss->run.current->phase == RUN_GATHER && ss->loop.hint_fd >= 0);
}

/* Around everything a waiting thread does with the handle: close waits until it has left. */
static void enter_wait(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	ss->engine.waiters++;
	pthread_mutex_unlock(&ss->lock);
}

static void leave_wait_and_unlock(void *argument)
{
	struct safestart *ss = argument;

	invariant(ss->engine.waiters > 0);
	ss->engine.waiters--;
	/* Still under the lock, which close has to take: afterwards ss need not exist. */
	pthread_cond_broadcast(&ss->changed);
	pthread_mutex_unlock(&ss->lock);
}

static void leave_wait(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	leave_wait_and_unlock(ss);
}

/* The one place where a thread of the application may be cancelled. It wakes with the lock to
 * die, and leaves. */
static int sleep_locked(struct safestart *ss, int64_t deadline)
{
	int error;

	pthread_cleanup_push(leave_wait_and_unlock, ss);
	error = thread_cond_wait(&ss->changed, &ss->lock, deadline);
	pthread_cleanup_pop(0);
	return error;
}

struct drive {
	struct safestart *ss;
	bool complete;
};

/* An exception or pthread_exit() left a callback, and leaves the wait, too. */
static void end_drive(const struct drive *drive)
{
	if (!drive->complete)
		leave_wait(drive->ss);
}

static void drive(struct safestart *ss, int timeout_ms)
{
	struct drive drive __attribute__((cleanup(end_drive))) = {.ss = ss};

	dispatch_turn(ss, timeout_ms);
	drive.complete = true; /* cppcheck-suppress unreadVariable; end_drive() does */
}

/* Wait until `met` says other than -EAGAIN; -ETIMEDOUT, -EDEADLK or what it says. With
 * start=after_fork and not `started` nothing comes that could be waited for: one look. */
static int wait_until(struct safestart *ss, bool started,
		      int (*met)(struct safestart *ss, void *argument), void *argument,
		      int timeout_ms)
{
	int64_t deadline = loop_deadline(timeout_ms);
	bool polled = false;
	int result;

	pthread_mutex_lock(&ss->lock);
	while ((result = met(ss, argument)) == -EAGAIN && started) {
		if (drives_locked(ss)) {
			if (timeout_ms != 0 && waits_for_itself_locked(ss))
				result = -EDEADLK;
			else if (polled && deadline != LOOP_NEVER && loop_now() >= deadline)
				result = -ETIMEDOUT;
			if (result != -EAGAIN)
				break;
			pthread_mutex_unlock(&ss->lock);
			drive(ss, loop_ms_until(deadline));
			pthread_mutex_lock(&ss->lock);
			polled = true;
		} else if (sleep_locked(ss, deadline) < 0) {
			result = met(ss, argument);
			if (result == -EAGAIN)
				result = -ETIMEDOUT;
			break;
		}
	}
	pthread_mutex_unlock(&ss->lock);
	return result;
}

struct awaited {
	uint64_t ticket;
	struct safestart_outcome outcome;
};

static int is_answered(struct safestart *ss, void *argument)
{
	struct awaited *awaited = argument;

	return ticket_find(&ss->tickets, awaited->ticket, &awaited->outcome);
}

/* Why there is no answer yet: what the reader of a log needs at the moment of the timeout. */
static void say_pending(struct safestart *ss, struct safestart_outcome *outcome)
{
	struct callback_inside callback = worker_callback(&ss->worker);
	int64_t now = loop_now();

	memset(outcome, 0, sizeof(*outcome));
	outcome->verdict = SAFESTART_PENDING;
	outcome->generation = safestart_generation(ss);
	pthread_mutex_lock(&ss->lock);
	int64_t next = ss->engine.figures.next_start;
	outcome->ticket = ss->tickets.answered;
	struct process_lock_view lock = ss->engine.lock_view;
	bool running = ss->run.current != NULL, later = running && step_is_parked(ss->run.current);
	const char *phase = running ? run_phase_name(ss->run.current) : "";
	if (running)
		outcome->run = ss->run.current->number;
	pthread_mutex_unlock(&ss->lock);
	char *to = outcome->message;
	size_t size = sizeof(outcome->message);
	if (callback.what != NULL)
		message_set(to, size, 0, "pending: `%s` has not returned for %s", callback.what,
			    message_duration(now - callback.since).text);
	else if (later)
		message_set(to, size, 0,
			    "pending: `%s` of run %llu answered SAFESTART_LATER; waiting for "
			    "safestart_run_finish()",
			    phase, (unsigned long long)outcome->run);
	else if (running)
		message_set(to, size, 0, "pending: run %llu is in progress",
			    (unsigned long long)outcome->run);
	else if (lock.state == PROCESS_LOCK_WAITING)
		message_set(to, size, 0,
			    "pending: the run has been waiting for the lock for %s: held by %s "
			    "(lock=%.80s)",
			    message_duration(now - lock.since).text, lock.holder,
			    handle_settings(ss)->lock);
	else if (next != GATE_NEVER)
		message_set(to, size, 0, "pending: the run starts in %s",
			    message_duration(next - now).text);
	else
		message_set(to, size, 0, "pending: %s",
			    handle_settings(ss)->thread
				    ? "the run is about to start"
				    : "safestart_dispatch() has not been called since");
}

/* 0: this thread may wait, and in a forked child the handle is its own. 1: it is not started. */
static int may_wait(struct safestart *ss)
{
	return callback_is_inside(ss) ? -EDEADLK : ss->revive(ss);
}

int safestart_wait(struct safestart *ss, uint64_t ticket, int timeout_ms,
		   struct safestart_outcome *outcome)
{
	struct awaited awaited = {.ticket = ticket};

	if (ss == NULL || ticket == 0 || ticket_check_size(outcome) < 0)
		return -EINVAL;
	int revived = may_wait(ss);
	if (revived < 0)
		return revived;
	if (ticket > request_issued(&ss->door, NULL))
		return -EINVAL;
	enter_wait(ss);
	int result = wait_until(ss, revived == 0, is_answered, &awaited, timeout_ms);
	if (result == -ETIMEDOUT)
		say_pending(ss, &awaited.outcome);
	leave_wait(ss);
	if (result == 0 || result == -ETIMEDOUT)
		ticket_copy(outcome, &awaited.outcome);
	return result;
}

int safestart_try_wait(struct safestart *ss, uint64_t ticket, struct safestart_outcome *outcome)
{
	struct awaited awaited = {.ticket = ticket};

	if (ss == NULL || ticket == 0 || ticket_check_size(outcome) < 0)
		return -EINVAL;
	int revived = ss->revive(ss);
	if (revived < 0)
		return revived;
	if (ticket > request_issued(&ss->door, NULL))
		return -EINVAL;
	pthread_mutex_lock(&ss->lock);
	int result = is_answered(ss, &awaited);
	pthread_mutex_unlock(&ss->lock);
	if (result == 0)
		ticket_copy(outcome, &awaited.outcome);
	return result;
}

static int is_ready(struct safestart *ss, void *argument)
{
	(void)argument;
	if (safestart_generation(ss) > 0)
		return 0;
	return request_is_shut(&ss->door) ? -ECANCELED : -EAGAIN;
}

int safestart_wait_ready(struct safestart *ss, int timeout_ms)
{
	if (ss == NULL)
		return -EINVAL;
	int revived = may_wait(ss);
	if (revived < 0)
		return revived;
	if (request_is_shut(&ss->door))
		return -ECANCELED;
	if (ss->source.kind == SOURCE_NONE)
		return 0;
	enter_wait(ss);
	int result = wait_until(ss, revived == 0, is_ready, NULL, timeout_ms);
	leave_wait(ss);
	return result;
}

int safestart_last_outcome(struct safestart *ss, struct safestart_outcome *outcome)
{
	if (ss == NULL || outcome == NULL || ticket_check_size(outcome) < 0)
		return -EINVAL;
	int error = ss->revive(ss);
	if (error < 0)
		return error;
	pthread_mutex_lock(&ss->lock);
	error = ss->tickets.any ? ticket_copy(outcome, &ss->tickets.last) : -EAGAIN;
	pthread_mutex_unlock(&ss->lock);
	return error;
}
