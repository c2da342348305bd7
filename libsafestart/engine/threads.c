/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* threads: the two threads of thread=yes: started when they are first needed, joined by close, and
 * the jobs that are posted for them. With thread=no there is none: the thread that dispatches
 * executes the jobs. Decides nothing. */
#include "base/invariant.h"
#include "base/thread.h"
#include "engine/engine.h"

static int start_thread(struct safestart *ss, pthread_t *thread, bool *started)
{
	invariant(ss->engine.body != NULL && handle_settings(ss)->thread);
	int error = *started ? 0 : thread_start(thread, "safestart-work", ss->engine.body, ss);

	*started = error == 0;
	return error;
}

int threads_start(struct safestart *ss)
{
	return start_thread(ss, &ss->engine.first, &ss->engine.first_started);
}

int threads_post(struct safestart *ss, struct job *job)
{
	/* There have to be two: one sees to what happens while the other one is inside the job. */
	int error = ss->engine.driven
			    ? 0
			    : start_thread(ss, &ss->engine.second, &ss->engine.second_started);

	/* Shut down, nothing happens meanwhile, and close has a deadline of its own. */
	if (error < 0 && request_is_shut(&ss->door))
		error = 0;
	if (error == 0)
		worker_post(&ss->worker, job);
	return error;
}

static void join(pthread_t thread, bool *started)
{
	if (*started)
		pthread_join(thread, NULL);
	*started = false;
}

void threads_stop(struct safestart *ss)
{
	atomic_store(&ss->engine.stop, true);
	handle_wake(ss);
	join(ss->engine.first, &ss->engine.first_started);
	join(ss->engine.second, &ss->engine.second_started);
	invariant(!ss->engine.first_started && !ss->engine.second_started);
}

uint32_t engine_random(struct safestart *ss)
{
	ss->engine.random ^= ss->engine.random << 13;
	ss->engine.random ^= ss->engine.random >> 17;
	ss->engine.random ^= ss->engine.random << 5;
	invariant(ss->engine.random != 0); /* it would stay so for ever */
	return ss->engine.random;
}
