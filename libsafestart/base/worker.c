/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/worker.h"

#include "base/message.h"

/* The callbacks this thread is inside of, innermost first; of several handles, when one's callback drives
 * another. Per thread, hence no lock; initial-exec costs nothing. */
static __thread struct worker_visit *innermost __attribute__((tls_model("initial-exec")));

static void forget_jobs(struct worker *worker)
{
	worker->first = NULL;
	worker->last = &worker->first;
	worker->finished = NULL;
	worker->finished_last = &worker->finished;
	worker->executing = NULL;
	worker->guest = (struct worker_guest){0};
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

struct worker_guest worker_guest(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	struct worker_guest guest = worker->guest;
	guest.busy = worker->executing != NULL;
	pthread_mutex_unlock(&worker->lock);
	return guest;
}

void worker_say_guest(const struct worker_guest *guest, int64_t now, char *words, size_t size)
{
	if (!guest->busy)
		why_copy(words, size, "no thread has come to it, perhaps the process was stopped");
	else if (guest->what == NULL)
		why_copy(words, size, "another job has not come to its end, perhaps it is inside `log`");
	else if (guest->run == 0)
		why_say(words, size, 0, "`%s` has been inside for %s", guest->what, why_duration(now - guest->since).text);
	else
		why_say(words, size, 0, "`%s` of run %llu has been inside for %s", guest->what, (unsigned long long)guest->run, why_duration(now - guest->since).text);
}

void worker_enter(struct worker_visit *visit, const void *handle, struct worker *worker, const char *what, uint64_t run,
		  int64_t now)
{
	visit->handle = handle;
	visit->outer = innermost;
	innermost = visit;
	if (worker == NULL)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->guest = (struct worker_guest){.what = what, .run = run, .since = now};
	pthread_mutex_unlock(&worker->lock);
}

void worker_leave(struct worker_visit *visit, struct worker *worker)
{
	innermost = visit->outer;
	if (worker == NULL)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->guest = (struct worker_guest){0};
	pthread_mutex_unlock(&worker->lock);
}

void worker_leave_all(void)
{
	innermost = NULL;
}

bool worker_inside(const void *handle)
{
	for (const struct worker_visit *visit = innermost; visit != NULL; visit = visit->outer) {
		if (visit->handle == handle)
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
