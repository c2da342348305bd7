/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* worker: two lists, of what is to be executed and what was, both in the order of posting. Any
 * thread, under worker->lock, which is never held while a job is executed: that may take for ever.
 */
#include "base/worker.h"

#include "base/invariant.h"

/* An empty list ends at its own beginning, every other one at its last job. */
static bool holds_locked(const struct worker *worker)
{
	return (worker->first == NULL) == (worker->last == &worker->first) &&
	       (worker->finished == NULL) == (worker->finished_last == &worker->finished) &&
	       (worker->first == NULL || *worker->last == NULL) &&
	       (worker->finished == NULL || *worker->finished_last == NULL);
}

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

	invariant(job->posted && worker->executing == NULL && holds_locked(worker));
	worker->first = job->next;
	if (worker->first == NULL)
		worker->last = &worker->first;
	worker->executing = job;
	invariant(holds_locked(worker));
	return job;
}

static void finish_locked(struct worker *worker, struct job *job)
{
	invariant(worker->executing == job && holds_locked(worker)); /* [P1] one at a time */
	worker->executing = NULL;
	job->next = NULL;
	*worker->finished_last = job;
	worker->finished_last = &job->next;
	invariant(holds_locked(worker));
}

void worker_post(struct worker *worker, struct job *job)
{
	pthread_mutex_lock(&worker->lock);
	invariant(!job->posted && job->execute != NULL && job->done != NULL);
	invariant(holds_locked(worker));
	job->next = NULL;
	job->posted = true;
	*worker->last = job;
	worker->last = &job->next;
	invariant(holds_locked(worker));
	pthread_mutex_unlock(&worker->lock);
}

struct execution {
	struct worker *worker;
	struct job *job;
};

/* However it ended: a callback may be left by a C++ exception, or by pthread_exit(). */
static void end_execution(const struct execution *execution)
{
	struct worker *worker = execution->worker;

	pthread_mutex_lock(&worker->lock);
	finish_locked(worker, execution->job);
	worker->callback = (struct callback_inside){0};
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
	struct execution execution __attribute__((cleanup(end_execution))) = {worker, job};
	execution.job->execute(execution.job);
	return true;
}

bool worker_withdraw(struct worker *worker, struct job *job)
{
	pthread_mutex_lock(&worker->lock);
	struct job **at = &worker->first;
	while (*at != NULL && *at != job)
		at = &(*at)->next;
	bool found = *at != NULL;
	if (found) {
		*at = job->next;
		if (worker->last == &job->next)
			worker->last = at;
		job->posted = false;
	}
	invariant(holds_locked(worker));
	pthread_mutex_unlock(&worker->lock);
	return found;
}

struct job *worker_take_finished(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	struct job *job = worker->finished;
	if (job != NULL) {
		worker->finished = job->next;
		if (worker->finished == NULL)
			worker->finished_last = &worker->finished;
		invariant(job->posted && job != worker->executing);
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

void worker_set_callback(struct worker *worker, const struct callback_inside *callback)
{
	pthread_mutex_lock(&worker->lock);
	worker->callback = *callback;
	pthread_mutex_unlock(&worker->lock);
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

	invariant(holds_locked(worker));
	forget_jobs(worker);
	pthread_mutex_unlock(&worker->lock);
	return executing;
}
