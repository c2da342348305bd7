/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all;

	sigfillset(&all);
	int error = pthread_attr_init(&attributes);
	if (error != 0)
		return -error;
	/* The mask comes with the attributes: blocking in the caller around pthread_create() would
	 * be seen by a signal sent meanwhile. */
	error = pthread_attr_setsigmask_np(&attributes, &all);
	if (error == 0)
		error = pthread_create(thread, &attributes, body, argument);
	pthread_attr_destroy(&attributes);
	if (error == 0)
		pthread_setname_np(*thread, name);
	return -error;
}

int thread_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	int error = pthread_condattr_init(&attributes);
	if (error != 0)
		return -error;
	error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	if (error == 0)
		error = pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
	return -error;
}

int thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline)
{
	if (deadline == INT64_MAX) {
		pthread_cond_wait(cond, lock);
		return 0;
	}
	struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
	return pthread_cond_timedwait(cond, lock, &until) == ETIMEDOUT ? -ETIMEDOUT : 0;
}

int thread_cancel_hold(void)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

void thread_cancel_restore(const int *state)
{
	int held;

	pthread_setcancelstate(*state, &held);
}
