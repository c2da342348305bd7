/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process_lock: the handle's side of the lock between processes (lock, lock_timeout, lock_share):
 * may the run that is due begin? Nothing waits here: the dispatching thread comes again by its
 * timer, with jitter. The lock is held until the run's last callback has returned or, after LATER,
 * was finished: also past its deadline, for it is still doing something. [P1] */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"
#include "engine/process_lock.h"
#include "run/run.h"

static const char *lock_path(const struct safestart *ss)
{
	return handle_settings(ss)->lock;
}

void process_lock_init(struct safestart *ss)
{
	struct lock_file file = ss->engine.process_lock.file;

	ss->engine.process_lock = (struct process_lock){.file = file};
	ss->engine.lock_view = (struct process_lock_view){.state = PROCESS_LOCK_FREE};
}

void process_lock_show(struct safestart *ss, enum process_lock_state state, int64_t since,
		       const char *holder)
{
	pthread_mutex_lock(&ss->lock);
	ss->engine.lock_view.state = state;
	ss->engine.lock_view.since = since;
	message_copy(ss->engine.lock_view.holder, sizeof(ss->engine.lock_view.holder), holder);
	pthread_mutex_unlock(&ss->lock);
}

/* ---- What can come of it ---- */

enum process_lock_verdict process_lock_come_again(struct safestart *ss, int64_t at)
{
	ss->engine.process_lock.retry_at = at;
	return PROCESS_LOCK_WAIT;
}

/* In proportion to what was waited already, so that no process waits much longer than the lock is
 * held,
 * and a crowd does not spin. */
int64_t process_lock_pause(struct safestart *ss, int64_t waited)
{
	int64_t pause = waited / 8 < PROCESS_LOCK_PAUSE_MIN_NS   ? PROCESS_LOCK_PAUSE_MIN_NS
			: waited / 8 > PROCESS_LOCK_PAUSE_MAX_NS ? PROCESS_LOCK_PAUSE_MAX_NS
								 : waited / 8;

	return pause / 2 + (int64_t)((double)pause / 2 * ((double)engine_random(ss) / UINT32_MAX));
}

static enum process_lock_verdict give_up(struct safestart *ss, int verdict, int error)
{
	struct process_lock *lock = &ss->engine.process_lock;

	invariant(lock->end.message[0] != '\0' && error < 0);
	lock->since = 0;
	lock->end.verdict = verdict;
	lock->end.error = error;
	lock->end.attempts = ++lock->failures;
	process_lock_show(ss, PROCESS_LOCK_FREE, 0, "");
	return PROCESS_LOCK_ENDED;
}

/* Where there are nodes, what of them. */
static const char *say_serving(const struct safestart *ss, char *text, size_t size)
{
	message_copy(text, size, "");
	if (ss->source.kind != SOURCE_NONE)
		message_set(text, size, 0, "; generation %llu is still serving",
			    (unsigned long long)safestart_generation(ss));
	return text;
}

enum process_lock_verdict process_lock_fail(struct safestart *ss, int error, const char *why)
{
	char more[64];

	message_set(ss->engine.process_lock.end.message,
		    sizeof(ss->engine.process_lock.end.message), 0,
		    "cannot use the lock: %.120s (lock=%.60s)%s", why, lock_path(ss),
		    say_serving(ss, more, sizeof(more)));
	return give_up(ss, SAFESTART_FAILED, error);
}

/* Somebody else has it. */
enum process_lock_verdict process_lock_busy(struct safestart *ss, int64_t now, int64_t timeout)
{
	struct process_lock *lock = &ss->engine.process_lock;
	char holder[LOCK_HOLDER_SIZE], since[48] = "";

	int64_t held = lock_file_holder(&lock->file, now, holder, sizeof(holder));
	if (held > 0)
		message_set(since, sizeof(since), 0, " for %s", message_duration(held).text);
	if (lock->since == 0) {
		lock->since = now;
		lock->said = false;
	}
	if (now - lock->since >= timeout) {
		char more[64];
		message_set(lock->end.message, sizeof(lock->end.message), 0,
			    "timed out: the lock was not free within lock_timeout (%s): held by "
			    "%s%s (lock=%.80s)%s",
			    message_duration(timeout).text, holder, since, lock_path(ss),
			    say_serving(ss, more, sizeof(more)));
		return give_up(ss, SAFESTART_TIMED_OUT, -EBUSY);
	}
	process_lock_show(ss, PROCESS_LOCK_WAITING, lock->since, holder);
	if (!lock->said && now - lock->since >= timeout / 4) {
		lock->said = true;
		log_line(&ss->log, log_repeated(LOG_WARNING, lock->failures),
			 "a run has been waiting for the lock for %s: held by %s%s; it gives up "
			 "after lock_timeout (%s) (lock=%s)",
			 message_duration(now - lock->since).text, holder, since,
			 message_duration(timeout).text, lock_path(ss));
	}
	int64_t at = now + process_lock_pause(ss, now - lock->since);
	return process_lock_come_again(ss, at - lock->since > timeout ? lock->since + timeout : at);
}

enum process_lock_verdict process_lock_begin(struct safestart *ss, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;

	lock->since = lock->retry_at = 0;
	lock->failures = 0;
	invariant(lock->file.fd >= 0 && lock->held < UINT_MAX);
	if (lock->held++ == 0) {
		lock_file_write_holder(&lock->file, handle_settings(ss)->name, true, now);
		process_lock_show(ss, PROCESS_LOCK_HELD, now, "");
	}
	return PROCESS_LOCK_BEGIN;
}

/* LOCK_RUN of the file that the path names: 0, -EAGAIN or -errno. A run of ours that is not over
 * yet has it already. */
int process_lock_take_run(struct process_lock *lock)
{
	int error = lock->held > 0 ? 0 : lock_file_try(&lock->file, LOCK_RUN);

	if (error == 0 && lock->held == 0 && !lock_file_is_current(&lock->file)) {
		lock_file_release(&lock->file, LOCK_RUN);
		error = -EAGAIN;
	}
	return error;
}

enum process_lock_verdict process_lock_ask_alone(struct safestart *ss, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;
	/* Otherwise the gate keeps it. [P4] */
	int64_t min_interval =
		handle_settings(ss)->lock_share ? handle_settings(ss)->gate.min_interval : 0;

	if (min_interval > 0 && lock->ended != 0 && now - lock->ended < min_interval)
		return process_lock_come_again(ss, lock->ended + min_interval);
	int error = process_lock_take_run(lock);
	if (error == -EAGAIN)
		return process_lock_busy(ss, now, handle_settings(ss)->lock_timeout);
	return error < 0 ? process_lock_fail(ss, error, safestart_strerror(error))
			 : process_lock_begin(ss, now);
}

/* More requests out of the door, into what was taken out before. */
void process_lock_take_more(struct safestart *ss)
{
	struct process_lock *lock = &ss->engine.process_lock;
	struct request_batch more = {0};

	/* A status that counts the requests reads both under the lock, and must not miss those
	 * that are on their way from the door to the figures: a counter that goes back is a restart
	 * to Prometheus. */
	pthread_mutex_lock(&ss->lock);
	bool any = request_close(&ss->door, &more);
	ss->engine.figures.requests += more.requests;
	pthread_mutex_unlock(&ss->lock);
	if (!any && lock->taken)
		return;
	lock->batch.ticket = more.ticket;
	lock->batch.requests += more.requests;
	lock->batch.flags |= more.flags;
	if (lock->batch.reason[0] == '\0')
		memcpy(lock->batch.reason, more.reason, sizeof(more.reason));
	lock->taken = true;
}

/* ---- For dispatch and answer ---- */

/* A lock that had to be mended is usable, but another process may have lost its batch: reported. */
static int open_lock(struct safestart *ss, char *why, size_t why_size)
{
	int error = lock_file_ready(&ss->engine.process_lock.file, why, why_size);

	if (error > 0)
		log_line(&ss->log, LOG_WARNING,
			 "the lock file was truncated; mended, and used again; requests of other "
			 "processes in it may need one more run; find out what truncates it "
			 "(lock=%s)",
			 lock_path(ss));
	return error;
}

void process_lock_check_file(struct safestart *ss)
{
	struct process_lock *lock = &ss->engine.process_lock;
	char why[256];

	if (lock->checked || lock_path(ss) == NULL)
		return;
	lock->checked = true;
	if (open_lock(ss, why, sizeof(why)) < 0)
		log_line(&ss->log, LOG_WARNING,
			 "cannot use the lock: %s; every run fails until this is mended (lock=%s)",
			 why, lock_path(ss));
}

enum process_lock_verdict process_lock_ask(struct safestart *ss, int64_t now)
{
	struct process_lock *lock = &ss->engine.process_lock;
	const struct settings *settings = handle_settings(ss);
	char why[256];

	if (settings->lock == NULL)
		return PROCESS_LOCK_BEGIN;
	if (now < lock->retry_at && !(settings->lock_share && lock->asked))
		return PROCESS_LOCK_WAIT;
	int error = lock->held > 0 ? 0 : open_lock(ss, why, sizeof(why));
	if (error < 0)
		return process_lock_fail(ss, error, why);
	return settings->lock_share ? process_lock_ask_shared(ss, now)
				    : process_lock_ask_alone(ss, now);
}

bool process_lock_take(struct safestart *ss, struct safestart_run *run,
		       enum process_lock_verdict verdict)
{
	struct process_lock *lock = &ss->engine.process_lock;

	invariant(verdict != PROCESS_LOCK_WAIT && run->number == 0);
	/* A run that begins covers every request so far; one that another process has made covers
	 * only those that were in its batch. [P2] */
	if (verdict == PROCESS_LOCK_BEGIN || !(lock->taken || lock->covered))
		process_lock_take_more(ss);
	else
		lock->left = lock->left || lock->asked;
	/* Changed by this thread only, but for a shutdown, which has answered all. */
	if (!lock->taken)
		lock->batch.ticket = ss->tickets.answered;
	run->batch = lock->batch;
	run->locked = verdict == PROCESS_LOCK_BEGIN && handle_settings(ss)->lock != NULL;
	run->shared = verdict == PROCESS_LOCK_BEGIN ? lock->closed : 0;
	run->shared_id = lock->me.id;
	bool any = run->batch.requests > 0;
	if (run->shared != 0)
		run->batch.requests = lock->total;
	if (lock->covered)
		run->batch.requests = lock->end.requests;
	if (verdict == PROCESS_LOCK_BEGIN)
		lock->left = false;
	lock->batch = (struct request_batch){0};
	lock->taken = lock->asked = lock->covered = false;
	lock->closed = lock->me.sequence = 0;
	invariant(!run->locked || lock->held > 0);
	return any;
}

void process_lock_undo(struct safestart *ss)
{
	struct process_lock *lock = &ss->engine.process_lock;

	invariant(handle_settings(ss)->lock == NULL || lock->held > 0);
	if (handle_settings(ss)->lock == NULL || --lock->held > 0)
		return;
	lock->ended = loop_now();
	lock_file_write_holder(&lock->file, handle_settings(ss)->name, false, lock->ended);
	lock_file_release(&lock->file, LOCK_RUN);
	process_lock_show(ss, PROCESS_LOCK_FREE, 0, "");
}

void process_lock_leave(struct safestart_run *run)
{
	if (run->locked)
		process_lock_undo(run->ss);
	run->locked = false;
}
