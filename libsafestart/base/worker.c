/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/worker.h"

#include "base/message.h"

/* The callbacks this thread is inside of, innermost first; of several handles, when one's callback
 * drives another. Per thread, hence no lock; initial-exec costs nothing. */
static __thread struct callback_frame *innermost __attribute__((tls_model("initial-exec")));

static void forget_jobs(struct worker *worker)
{
	worker->first = NULL;
	worker->last = &worker->first;
	worker->finished = NULL;
	worker->finished_last = &worker->finished;
	worker->executing = NULL;
	worker->callback = (struct callback_inside){0};
}

void worker_init(struct worker *worker)
{
	forget_jobs(worker);
	pthread_mutex_init(&worker->lock, NULL);
}

void worker_clear(struct worker *worker)
{
	pthread_mutex_destroy(&worker->lock);
}

static struct job *take_first_locked(struct worker *worker)
{
	struct job *job = worker->first;

	worker->first = job->next;
	if (worker->first == NULL)
		worker->last = &worker->first;
	worker->executing = job;
	return job;
}

static void finish_locked(struct worker *worker, struct job *job)
{
	worker->executing = NULL;
	job->next = NULL;
	*worker->finished_last = job;
	worker->finished_last = &job->next;
}

void worker_post(struct worker *worker, struct job *job)
{
	pthread_mutex_lock(&worker->lock);
	job->next = NULL;
	job->posted = true;
	*worker->last = job;
	worker->last = &job->next;
	pthread_mutex_unlock(&worker->lock);
}

bool worker_execute_one(struct worker *worker)
{
	struct job *job = NULL;

	pthread_mutex_lock(&worker->lock);
	if (worker->first != NULL && worker->executing == NULL)
		job = take_first_locked(worker);
	pthread_mutex_unlock(&worker->lock);
	if (job == NULL)
		return false;
	job->execute(job);
	pthread_mutex_lock(&worker->lock);
	finish_locked(worker, job);
	pthread_mutex_unlock(&worker->lock);
	return true;
}

struct job *worker_take_finished(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	struct job *job = worker->finished;
	if (job != NULL) {
		worker->finished = job->next;
		if (worker->finished == NULL)
			worker->finished_last = &worker->finished;
		job->posted = false;
	}
	pthread_mutex_unlock(&worker->lock);
	return job;
}

bool worker_is_executing(struct worker *worker, const struct job *job)
{
	pthread_mutex_lock(&worker->lock);
	bool executing = worker->executing == job;
	pthread_mutex_unlock(&worker->lock);
	return executing;
}

bool worker_is_waiting(struct worker *worker, const struct job *job)
{
	pthread_mutex_lock(&worker->lock);
	const struct job *waiting = worker->first;
	while (waiting != NULL && waiting != job)
		waiting = waiting->next;
	pthread_mutex_unlock(&worker->lock);
	return waiting != NULL;
}

bool worker_is_idle(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	bool idle = worker->first == NULL && worker->executing == NULL && worker->finished == NULL;
	pthread_mutex_unlock(&worker->lock);
	return idle;
}

struct callback_inside worker_callback(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	struct callback_inside callback = worker->callback;
	callback.busy = worker->executing != NULL;
	pthread_mutex_unlock(&worker->lock);
	return callback;
}

void callback_describe(const struct callback_inside *callback, int64_t now, char *words,
		       size_t size)
{
	if (!callback->busy)
		message_copy(words, size,
			     "no thread has come to it, perhaps the process was stopped");
	else if (callback->what == NULL)
		message_copy(words, size,
			     "another job has not come to its end, perhaps it is inside `log`");
	else if (callback->run == 0)
		message_set(words, size, 0, "`%s` has been inside for %s", callback->what,
			    message_duration(now - callback->since).text);
	else
		message_set(words, size, 0, "`%s` of run %llu has been inside for %s",
			    callback->what, (unsigned long long)callback->run,
			    message_duration(now - callback->since).text);
}

void callback_enter(struct callback_frame *frame, const void *handle, struct worker *worker,
		    const char *what, uint64_t run, int64_t now)
{
	frame->handle = handle;
	frame->outer = innermost;
	innermost = frame;
	if (worker == NULL)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->callback = (struct callback_inside){.what = what, .run = run, .since = now};
	pthread_mutex_unlock(&worker->lock);
}

void callback_leave(struct callback_frame *frame, struct worker *worker)
{
	innermost = frame->outer;
	if (worker == NULL)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->callback = (struct callback_inside){0};
	pthread_mutex_unlock(&worker->lock);
}

void callback_forget_all(void)
{
	innermost = NULL;
}

bool callback_is_inside(const void *handle)
{
	for (const struct callback_frame *frame = innermost; frame != NULL; frame = frame->outer) {
		if (frame->handle == handle)
			return true;
	}
	return false;
}

void worker_before_fork(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
}

void worker_after_fork_parent(struct worker *worker)
{
	pthread_mutex_unlock(&worker->lock);
}

bool worker_after_fork_child(struct worker *worker)
{
	bool executing = worker->executing != NULL;

	forget_jobs(worker);
	pthread_mutex_unlock(&worker->lock);
	return executing;
}
