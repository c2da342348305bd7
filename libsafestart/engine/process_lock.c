/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* exclusive: the handle's side of the lock between processes (lock, lock_timeout, lock_share): may the run that is due begin?
 * Nothing waits here: the dispatching thread comes again by its timer, with jitter. The lock is held until the run's
 * last callback has returned or, after LATER, was finished: also past its deadline, for it is still doing something. [P1] */
#include <errno.h>
#include <string.h>

#include "engine/process_lock.h"
#include "run/run.h"
#include "base/message.h"

static const char *lock_path(const struct safestart *ss)
{
	return handle_settings(ss)->lock;
}

void exclusive_init(struct safestart *ss)
{
	struct lock_file file = ss->exclusive.file;

	ss->exclusive = (struct exclusive){.file = file};
	ss->lock_picture = (struct exclusive_picture){.state = EXCLUSIVE_FREE};
}

void exclusive_show(struct safestart *ss, enum exclusive_state state, int64_t since, const char *holder)
{
	pthread_mutex_lock(&ss->lock);
	ss->lock_picture.state = state;
	ss->lock_picture.since = since;
	why_copy(ss->lock_picture.holder, sizeof(ss->lock_picture.holder), holder);
	pthread_mutex_unlock(&ss->lock);
}

/* ---- What can come of it ---- */

enum exclusive_verdict exclusive_come_again(struct safestart *ss, int64_t at)
{
	ss->exclusive.retry_at = at;
	return EXCLUSIVE_WAIT;
}

/* In proportion to what was waited already, so that nobody waits much longer than the lock is held, and a crowd does not spin. */
int64_t exclusive_pause(struct safestart *ss, int64_t waited)
{
	int64_t pause = waited / 8 < EXCLUSIVE_PAUSE_MIN_NS ? EXCLUSIVE_PAUSE_MIN_NS : waited / 8 > EXCLUSIVE_PAUSE_MAX_NS ? EXCLUSIVE_PAUSE_MAX_NS : waited / 8;

	return pause / 2 + (int64_t)((double)pause / 2 * ((double)handle_random(ss) / UINT32_MAX));
}

static enum exclusive_verdict give_up(struct safestart *ss, int verdict, int error)
{
	struct exclusive *ex = &ss->exclusive;

	ex->since = 0;
	ex->end.verdict = verdict;
	ex->end.error = error;
	ex->end.attempts = ++ex->failures;
	exclusive_show(ss, EXCLUSIVE_FREE, 0, "");
	return EXCLUSIVE_ENDED;
}

/* Where there are nodes, what of them. */
static const char *say_serving(const struct safestart *ss, char *text, size_t size)
{
	why_copy(text, size, "");
	if (ss->source.kind != SOURCE_NONE)
		why_say(text, size, 0, "; generation %llu goes on serving", (unsigned long long)safestart_generation(ss));
	return text;
}

enum exclusive_verdict exclusive_fail(struct safestart *ss, int error, const char *why)
{
	char more[64];

	why_say(ss->exclusive.end.message, sizeof(ss->exclusive.end.message), 0, "the lock %.60s can't be used: %s%s", lock_path(ss), why, say_serving(ss, more, sizeof(more)));
	return give_up(ss, SAFESTART_FAILED, error);
}

/* Somebody else has it. */
enum exclusive_verdict exclusive_busy(struct safestart *ss, int64_t now, int64_t timeout)
{
	struct exclusive *ex = &ss->exclusive;
	char holder[LOCK_HOLDER_SIZE], since[48] = "";

	int64_t held = lock_file_holder(&ex->file, now, holder, sizeof(holder));
	if (held > 0)
		why_say(since, sizeof(since), 0, " for %s", why_duration(held).text);
	if (ex->since == 0) {
		ex->since = now;
		ex->said = false;
	}
	if (now - ex->since >= timeout) {
		char more[64];
		why_say(ex->end.message, sizeof(ex->end.message), 0, "timed out: the lock %.80s was not free within lock_timeout (%s): held by %s%s%s",
			lock_path(ss), why_duration(timeout).text, holder, since, say_serving(ss, more, sizeof(more)));
		return give_up(ss, SAFESTART_TIMED_OUT, -EBUSY);
	}
	exclusive_show(ss, EXCLUSIVE_WAITING, ex->since, holder);
	if (!ex->said && now - ex->since >= timeout / 4) {
		ex->said = true;
		/* The same thing again every 30 s hides what matters. */
		handle_log(ss, (ex->failures & (ex->failures - 1)) == 0 ? LOG_WARNING : LOG_DEBUG, "a run has been waiting for the lock %s for %s: held by %s%s; given up after lock_timeout (%s)", lock_path(ss),
			   why_duration(now - ex->since).text, holder, since, why_duration(timeout).text);
	}
	int64_t at = now + exclusive_pause(ss, now - ex->since);
	return exclusive_come_again(ss, at - ex->since > timeout ? ex->since + timeout : at);
}

enum exclusive_verdict exclusive_begin(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;

	ex->since = ex->retry_at = 0;
	ex->failures = 0;
	if (ex->held++ == 0) {
		lock_file_sign(&ex->file, handle_settings(ss)->name, true, now);
		exclusive_show(ss, EXCLUSIVE_HELD, now, "");
	}
	return EXCLUSIVE_BEGIN;
}

/* LOCK_RUN of the file that the path names: 0, -EAGAIN or -errno. A run of ours that is not over yet has it already. */
int exclusive_take_run(struct exclusive *ex)
{
	int error = ex->held > 0 ? 0 : lock_file_try(&ex->file, LOCK_RUN);

	if (error == 0 && ex->held == 0 && !lock_file_is_current(&ex->file)) {
		lock_file_release(&ex->file, LOCK_RUN);
		error = -EAGAIN;
	}
	return error;
}

enum exclusive_verdict exclusive_ask_alone(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	int64_t min_interval = handle_settings(ss)->lock_share ? handle_settings(ss)->gate.min_interval : 0; /* else the gate keeps it */

	if (min_interval > 0 && ex->ended != 0 && now - ex->ended < min_interval)
		return exclusive_come_again(ss, ex->ended + min_interval);
	int error = exclusive_take_run(ex);
	if (error == -EAGAIN)
		return exclusive_busy(ss, now, handle_settings(ss)->lock_timeout);
	return error < 0 ? exclusive_fail(ss, error, safestart_strerror(error)) : exclusive_begin(ss, now);
}

/* More requests out of the door, into what was taken out before. */
void exclusive_take_more(struct safestart *ss)
{
	struct exclusive *ex = &ss->exclusive;
	struct request_batch more = {0};

	/* Whoever tells how many have asked looks at both under the lock, and must not miss those that are on their way from the door
	 * to the figures: a counter that goes back is a restart to Prometheus. */
	pthread_mutex_lock(&ss->lock);
	bool any = request_close(&ss->door, &more);
	ss->figures.requests += more.requests;
	pthread_mutex_unlock(&ss->lock);
	if (!any && ex->taken)
		return;
	ex->batch.ticket = more.ticket;
	ex->batch.requests += more.requests;
	ex->batch.flags |= more.flags;
	if (ex->batch.reason[0] == '\0')
		memcpy(ex->batch.reason, more.reason, sizeof(more.reason));
	ex->taken = true;
}

/* ---- For dispatch and answer ---- */

void exclusive_greet(struct safestart *ss)
{
	struct exclusive *ex = &ss->exclusive;
	char why[256];

	if (ex->greeted || lock_path(ss) == NULL)
		return;
	ex->greeted = true;
	if (lock_file_ready(&ex->file, why, sizeof(why)) < 0)
		handle_log(ss, LOG_WARNING, "the lock %s can't be used: %s; until it can, every run fails", lock_path(ss), why);
}

enum exclusive_verdict exclusive_ask(struct safestart *ss, int64_t now)
{
	struct exclusive *ex = &ss->exclusive;
	const struct settings *settings = handle_settings(ss);
	char why[256];

	if (settings->lock == NULL)
		return EXCLUSIVE_BEGIN;
	if (now < ex->retry_at && !(settings->lock_share && ex->asked))
		return EXCLUSIVE_WAIT;
	int error = ex->held > 0 ? 0 : lock_file_ready(&ex->file, why, sizeof(why));
	if (error < 0)
		return exclusive_fail(ss, error, why);
	return settings->lock_share ? exclusive_ask_shared(ss, now) : exclusive_ask_alone(ss, now);
}

bool exclusive_take(struct safestart *ss, struct safestart_run *run, enum exclusive_verdict verdict)
{
	struct exclusive *ex = &ss->exclusive;

	/* A run that begins covers everybody who has asked; one that others have made only those who were in its batch. */
	if (verdict == EXCLUSIVE_BEGIN || !(ex->taken || ex->covered))
		exclusive_take_more(ss);
	else
		ex->left = ex->left || ex->asked;
	if (!ex->taken)
		ex->batch.ticket = ss->tickets.answered; /* changed by this thread only, but for a shutdown, which has answered all */
	run->batch = ex->batch;
	run->locked = verdict == EXCLUSIVE_BEGIN && handle_settings(ss)->lock != NULL;
	run->shared = verdict == EXCLUSIVE_BEGIN ? ex->closed : 0;
	run->shared_id = ex->me.id;
	bool any = run->batch.requests > 0;
	if (run->shared != 0)
		run->batch.requests = ex->total;
	if (ex->covered)
		run->batch.requests = ex->end.requests;
	if (verdict == EXCLUSIVE_BEGIN)
		ex->left = false;
	ex->batch = (struct request_batch){0};
	ex->taken = ex->asked = ex->covered = false;
	ex->closed = ex->me.sequence = 0;
	return any;
}

void exclusive_undo(struct safestart *ss)
{
	struct exclusive *ex = &ss->exclusive;

	if (handle_settings(ss)->lock == NULL || --ex->held > 0)
		return;
	ex->ended = loop_now();
	lock_file_sign(&ex->file, handle_settings(ss)->name, false, ex->ended);
	lock_file_release(&ex->file, LOCK_RUN);
	exclusive_show(ss, EXCLUSIVE_FREE, 0, "");
}

void exclusive_leave(struct safestart_run *run)
{
	if (run->locked)
		exclusive_undo(run->ss);
	run->locked = false;
}
