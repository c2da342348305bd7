/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* housekeeping: what the worker does besides runs: retiring, hearing the source's hints, writing
 * last_good. Posted by the dispatching thread, which also says what the control thread has to say.
 */
#include <errno.h>
#include <stddef.h>

#include "base/message.h"
#include "handle.h"

int housekeeping_post(struct safestart *ss, struct job *job, const char *what)
{
	int error = job->posted ? 0 : dispatch_post(ss, job);

	if (error < 0)
		log_line(ss, handle_starves(ss), "%s has to wait: no thread to be had (%s)", what,
			 safestart_strerror(error));
	else
		ss->starved = 0;
	return error;
}

void housekeeping_write_last_good(struct safestart *ss)
{
	if (!ss->last_good_wanted || ss->last_good_job.posted)
		return;
	ss->last_good_wanted = false;
	housekeeping_post(ss, &ss->last_good_job, "writing last_good");
}

/* 0: not by itself. Not once it is shut down: at its end close has nothing live, and that is not a
 * set to keep. */
static int64_t pause_before_keeping(const struct safestart *ss)
{
	const struct gate_conf *gate = &handle_settings(ss)->gate;

	return gate->retry_min > 0 && !request_is_shut(&ss->door) ? gate->retry_max : 0;
}

int64_t housekeeping_retry_last_good(struct safestart *ss, int64_t now)
{
	int64_t pause = pause_before_keeping(ss);

	if (atomic_load(&ss->last_good_failures) == 0 || ss->last_good_job.posted || pause == 0)
		ss->last_good_at = LOOP_NEVER;
	else if (ss->last_good_at == LOOP_NEVER)
		ss->last_good_at = now + pause;
	if (ss->last_good_at <= now) {
		ss->last_good_at = LOOP_NEVER;
		ss->last_good_wanted = true;
		housekeeping_write_last_good(ss);
	}
	return ss->last_good_at;
}

static struct safestart *handle_of(struct job *job, size_t offset)
{
	return (struct safestart *)(void *)((char *)job - offset);
}

static void retire(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, retire_job));
	struct callback_frame frame;

	callback_enter(&frame, ss, &ss->worker, "retire", 0, loop_now());
	snapshot_collect(ss->home);
	callback_leave(&frame, &ss->worker);
}

static void hint(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, hint_job));
	struct callback_frame frame;

	callback_enter(&frame, ss, &ss->worker, "hint", 0, loop_now());
	ss->source.hinted = ss->source.open && !ss->source.inherited &&
			    ss->source.chosen->source.hint(ss->source.state) > 0;
	callback_leave(&frame, &ss->worker);
}

static void hint_done(struct job *job)
{
	struct safestart *ss = handle_of(job, offsetof(struct safestart, hint_job));

	loop_listen(&ss->loop);
	if (ss->source.hinted) {
		gate_request(&ss->gate, loop_now(), false);
		ss->cause = "the source has changed";
	}
}

static void say_not_kept(struct safestart *ss, uint32_t failures, const char *why)
{
	int64_t pause = pause_before_keeping(ss);
	const char *otherwise = request_is_shut(&ss->door)
					? "not tried again, for the handle is shut down"
					: "tried again after the next change";

	/* The same thing again every 30 s hides what matters. */
	log_line(ss, (failures & (failures - 1)) == 0 ? LOG_WARNING : LOG_DEBUG,
		 "last_good %s is not up to date, a restart would begin with an older set: %s; "
		 "%s%s",
		 handle_settings(ss)->last_good, why, pause > 0 ? "tried again in " : otherwise,
		 pause > 0 ? message_duration(pause).text : "");
}

void last_good_write(struct safestart *ss)
{
	const char *path = handle_settings(ss)->last_good;
	struct callback_frame frame;
	char why[sizeof(ss->figures.last_good_error)] = "";

	callback_enter(&frame, ss, &ss->worker, "writing last_good", 0, loop_now());
	struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
	char *json = safestart_snapshot_json(live);
	int error = json != NULL ? last_good_save(path, json, why, sizeof(why))
				 : message_set(why, sizeof(why), -ENOMEM, "out of memory");
	safestart_free(json);
	safestart_snapshot_release(live);
	callback_leave(&frame, &ss->worker);
	uint32_t failures = error < 0 ? atomic_load(&ss->last_good_failures) + 1 : 0;
	atomic_store(&ss->last_good_failures, failures);
	if (error < 0)
		say_not_kept(ss, failures, why);
	pthread_mutex_lock(&ss->lock);
	message_copy(ss->figures.last_good_error, sizeof(ss->figures.last_good_error), why);
	pthread_mutex_unlock(&ss->lock);
}

static void keep(struct job *job)
{
	last_good_write(handle_of(job, offsetof(struct safestart, last_good_job)));
}

static void keep_done(struct job *job)
{
	/* Another generation went live meanwhile. */
	housekeeping_write_last_good(handle_of(job, offsetof(struct safestart, last_good_job)));
}

void housekeeping_log(struct safestart *ss)
{
	char words[640];
	int level = events_take_words(ss->events, words, sizeof(words));

	if (level >= 0)
		log_line(ss, level, "%s", words);
}

static void nothing_more(struct job *job)
{
	(void)job;
}

void housekeeping_init(struct safestart *ss)
{
	ss->retire_job = (struct job){.execute = retire, .done = nothing_more};
	ss->hint_job = (struct job){.execute = hint, .done = hint_done};
	ss->last_good_job = (struct job){.execute = keep, .done = keep_done};
	ss->last_good_wanted = false;
	atomic_store(&ss->last_good_failures, 0);
	ss->last_good_at = LOOP_NEVER;
}
