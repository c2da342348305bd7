/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* chores: what the worker does besides runs: retiring, hearing the source's hints, writing last_good. Posted by the
 * dispatching thread, which also says what the control thread has to say. */
#include <errno.h>
#include <stddef.h>

#include "handle.h"
#include "base/message.h"

int chores_post(struct safestart *ss, struct job *job, const char *what)
{
	int error = job->posted ? 0 : dispatch_post(ss, job);

	if (error < 0)
		handle_log(ss, handle_starves(ss), "%s has to wait: no thread to be had (%s)", what, safestart_strerror(error));
	else
		ss->starved = 0;
	return error;
}

void chores_keep(struct safestart *ss)
{
	if (!ss->keep_wanted || ss->keep_job.posted)
		return;
	ss->keep_wanted = false;
	chores_post(ss, &ss->keep_job, "writing last_good");
}

/* 0: not by itself. Not once it is shut down: at its end close has nothing live, and that is not a set to keep. */
static int64_t pause_before_keeping(const struct safestart *ss)
{
	const struct gate_conf *gate = &handle_settings(ss)->gate;

	return gate->retry_min > 0 && !request_is_shut(&ss->door) ? gate->retry_max : 0;
}

int64_t chores_keep_again(struct safestart *ss, int64_t now)
{
	int64_t pause = pause_before_keeping(ss);

	if (atomic_load(&ss->keep_failures) == 0 || ss->keep_job.posted || pause == 0)
		ss->keep_at = LOOP_NEVER;
	else if (ss->keep_at == LOOP_NEVER)
		ss->keep_at = now + pause;
	if (ss->keep_at <= now) {
		ss->keep_at = LOOP_NEVER;
		ss->keep_wanted = true;
		chores_keep(ss);
	}
	return ss->keep_at;
}

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
		ss->cause = "the source has changed";
	}
}

static void say_not_kept(struct safestart *ss, uint32_t failures, const char *why)
{
	int64_t pause = pause_before_keeping(ss);
	const char *otherwise = request_is_shut(&ss->door) ? "not tried again, for the handle is shut down" : "tried again after the next change";

	/* The same thing again every 30 s hides what matters. */
	handle_log(ss, (failures & (failures - 1)) == 0 ? LOG_WARNING : LOG_DEBUG,
		   "last_good %s is not up to date, a restart would begin with an older set: %s; %s%s", handle_settings(ss)->last_good, why,
		   pause > 0 ? "tried again in " : otherwise, pause > 0 ? why_duration(pause).text : "");
}

void chores_keep_now(struct safestart *ss)
{
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
	uint32_t failures = error < 0 ? atomic_load(&ss->keep_failures) + 1 : 0;
	atomic_store(&ss->keep_failures, failures);
	if (error < 0)
		say_not_kept(ss, failures, why);
	pthread_mutex_lock(&ss->lock);
	why_copy(ss->figures.keep_error, sizeof(ss->figures.keep_error), why);
	pthread_mutex_unlock(&ss->lock);
}

static void keep(struct job *job)
{
	chores_keep_now(handle_of(job, offsetof(struct safestart, keep_job)));
}

static void keep_done(struct job *job)
{
	chores_keep(handle_of(job, offsetof(struct safestart, keep_job))); /* another generation went live meanwhile */
}

void chores_say(struct safestart *ss)
{
	char words[640];
	int level = events_take_words(ss->events, words, sizeof(words));

	if (level >= 0)
		handle_log(ss, level, "%s", words);
}

static void nothing_more(struct job *job)
{
	(void)job;
}

void chores_init(struct safestart *ss)
{
	ss->retire_job = (struct job){.execute = retire, .done = nothing_more};
	ss->hint_job = (struct job){.execute = hint, .done = hint_done};
	ss->keep_job = (struct job){.execute = keep, .done = keep_done};
	ss->keep_wanted = false;
	atomic_store(&ss->keep_failures, 0);
	ss->keep_at = LOOP_NEVER;
}
