/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* housekeeping: what the worker does besides runs: retiring, looking at the source's hints, writing
 * last_good. Posted by the dispatching thread, which also logs what the control thread has to say:
 * that thread must not call the application. */
#include <errno.h>
#include <stddef.h>

#include "base/invariant.h"
#include "base/message.h"
#include "engine/engine.h"
#include "run/last_good.h"

#define IDLE_HINTS_APART_NS INT64_C(1000000000)
#define LISTEN_PAUSE_MIN_NS INT64_C(1000000)
#define LISTEN_PAUSE_MAX_NS INT64_C(100000000)

int housekeeping_post(struct safestart *ss, struct job *job, const char *what)
{
	int error = job->posted ? 0 : threads_post(ss, job);

	invariant(error < 0 || job->posted);
	if (error < 0)
		log_line(&ss->log, log_repeated(LOG_ERR, ++ss->engine.no_thread),
			 "cannot start a thread (%s): %s has to wait", safestart_strerror(error),
			 what);
	else
		ss->engine.no_thread = 0;
	return error;
}

/* One write at a time: what went live meanwhile is written by the next one, as last_good_done()
 * sees. */
void housekeeping_write_last_good(struct safestart *ss)
{
	if (!ss->engine.last_good_wanted || ss->engine.last_good_job.posted)
		return;
	ss->engine.last_good_wanted = false;
	housekeeping_post(ss, &ss->engine.last_good_job, "writing last_good");
}

int64_t housekeeping_retry_last_good(struct safestart *ss, int64_t now)
{
	int64_t pause = last_good_pause(ss);

	if (atomic_load(&ss->run.last_good_failures) == 0 || ss->engine.last_good_job.posted ||
	    pause == 0)
		ss->engine.last_good_at = LOOP_NEVER;
	else if (ss->engine.last_good_at == LOOP_NEVER)
		ss->engine.last_good_at = now + pause;
	if (ss->engine.last_good_at <= now) {
		ss->engine.last_good_at = LOOP_NEVER;
		ss->engine.last_good_wanted = true;
		housekeeping_write_last_good(ss);
	}
	invariant(ss->engine.last_good_at > now);
	return ss->engine.last_good_at;
}

static struct safestart *handle_of(struct job *job, size_t offset)
{
	return (struct safestart *)(void *)((char *)job - offset);
}

static void retire(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, engine.retire_job));
	struct callback_frame frame;

	if (ss->engine.wait_for_readers)
		snapshot_reclaim_here(ss->home);
	callback_enter(&frame, ss, &ss->worker, "retire", 0, loop_now());
	snapshot_collect(ss->home);
	callback_leave(&frame, &ss->worker);
}

/* On the worker, for the source's own function may block. */
static void hint(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, engine.hint_job));
	struct callback_frame frame;

	callback_enter(&frame, ss, &ss->worker, "hint", 0, loop_now());
	ss->engine.hinted = source_hint(&ss->source);
	callback_leave(&frame, &ss->worker);
}

/* Hints of no interest cost the host's processor time: a file in a directory where other programs
 * make and remove files all the time is hinted at for each of them. While such hints keep coming
 * the descriptor is listened to only now and then; a change among them is noticed that much later.
 */
static int64_t pause_after_idle_hint(struct safestart *ss, int64_t now)
{
	int64_t pause = 0;

	if (now - ss->engine.idle_hint < IDLE_HINTS_APART_NS)
		pause = 2 * ss->engine.listen_pause + LISTEN_PAUSE_MIN_NS;
	ss->engine.idle_hint = now;
	return pause < LISTEN_PAUSE_MAX_NS ? pause : LISTEN_PAUSE_MAX_NS;
}

/* The descriptor is listened to again only now: it stays readable until the source has looked. */
static void hint_done(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, engine.hint_job));
	int64_t now = loop_now();

	if (ss->engine.hinted) {
		gate_request(&ss->gate, now, false);
		ss->engine.cause = "the source has changed";
		ss->engine.asked = true;
	}
	ss->engine.listen_pause = ss->engine.hinted ? 0 : pause_after_idle_hint(ss, now);
	ss->engine.listen_at = now + ss->engine.listen_pause;
	(void)housekeeping_listen(ss, now);
}

int64_t housekeeping_listen(struct safestart *ss, int64_t now)
{
	if (ss->engine.listen_at > now)
		return ss->engine.listen_at;
	loop_listen(&ss->loop);
	ss->engine.listen_at = LOOP_NEVER;
	return LOOP_NEVER;
}

static void last_good(struct job *job)
{
	last_good_write(handle_of(job, offsetof(struct safestart, engine.last_good_job)));
}

static void last_good_done(struct job *job)
{
	/* Another generation went live meanwhile. */
	housekeeping_write_last_good(
		handle_of(job, offsetof(struct safestart, engine.last_good_job)));
}

void housekeeping_log(struct safestart *ss)
{
	char words[640];
	int level = events_take_words(ss->events, words, sizeof(words));

	if (level >= 0)
		log_line(&ss->log, level, "%s", words);
}

static void nothing_more(struct job *job)
{
	(void)job;
}

void housekeeping_init(struct safestart *ss)
{
	ss->engine.retire_job = (struct job){.execute = retire, .done = nothing_more};
	ss->engine.hint_job = (struct job){.execute = hint, .done = hint_done};
	ss->engine.last_good_job = (struct job){.execute = last_good, .done = last_good_done};
	ss->engine.last_good_wanted = false;
	ss->engine.last_good_at = LOOP_NEVER;
	ss->engine.listen_at = LOOP_NEVER;
	ss->engine.listen_pause = 0;
	ss->engine.idle_hint = INT64_MIN / 2;
}
