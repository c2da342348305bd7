/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* thread: pthreads as a library may use them inside an application. Any thread; must not change the
 * signal mask, the name or the cancelability of a thread that is not the library's for longer than
 * a call. [P16] */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/invariant.h"
#include "base/loop.h"

#ifdef HAVE_PTHREAD_ATTR_SETSIGMASK_NP
/* The mask is part of the attributes. */
static int create(pthread_t *thread, const sigset_t *mask, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;

	int error = pthread_attr_init(&attributes);
	if (error != 0)
		return error;
	error = pthread_attr_setsigmask_np(&attributes, mask);
	if (error == 0)
		error = pthread_create(thread, &attributes, body, argument);
	pthread_attr_destroy(&attributes);
	return error;
}
#else
/* It is inherited from the caller, so a signal that is sent to the caller meanwhile is delayed. */
static int create(pthread_t *thread, const sigset_t *mask, void *(*body)(void *), void *argument)
{
	sigset_t before;

	pthread_sigmask(SIG_SETMASK, mask, &before);
	int error = pthread_create(thread, NULL, body, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}
#endif

/* Signals are the application's business, on its own threads. But a crash is this thread's: if its
 * signal is blocked, the kernel ends the process without asking the application's handler. */
static void mask_of_threads(sigset_t *mask)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

	sigfillset(mask);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigdelset(mask, crashes[i]);
}

int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument)
{
	sigset_t mask;

	mask_of_threads(&mask);
	int error = create(thread, &mask, body, argument);
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
	/* A negative time would be refused with EINVAL, which a caller takes for being woken. */
	invariant(deadline >= 0);
	if (deadline == INT64_MAX) {
		pthread_cond_wait(cond, lock);
		return 0;
	}
	struct timespec until = loop_timespec(deadline);
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
