/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* thread: starting threads of ours as a guest should, and keeping the application's alive while
 * they are in here. */
#ifndef SAFESTART_THREAD_H
#define SAFESTART_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* Start a thread that blocks every signal, without touching the caller's mask. 0 or -errno. */
int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

/* A condition variable on the monotonic clock. 0 or -errno. */
int thread_cond_init(pthread_cond_t *cond);

/* Wait until woken or until `deadline` (CLOCK_MONOTONIC nanoseconds; INT64_MAX: for ever). 0 or
 * -ETIMEDOUT. */
int thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline);

/* At the head of a block: up to its end pthread_cancel() has to wait, so that nothing is left half
 * done. */
#define THREAD_NOT_CANCELLED                                                        \
	int cancel_state_ __attribute__((cleanup(thread_cancel_restore), unused)) = \
		thread_cancel_hold()
int thread_cancel_hold(void);
void thread_cancel_restore(const int *state);

/* What orders memory in ways the thread sanitizer does not know has to tell it, or do without. */
#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif

#endif
