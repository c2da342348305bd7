/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* thread: starts threads without touching the application's, waits on the monotonic clock, and
 * defers pthread_cancel() while an application's thread is in the library. Any thread. */
#ifndef SAFESTART_BASE_THREAD_H
#define SAFESTART_BASE_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* Start a thread that blocks all signals but those of a crash; the caller's mask stays as it is. 0
 * or -errno. [P16] */
int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

/* A condition variable on the monotonic clock. 0 or -errno. [P8] */
int thread_cond_init(pthread_cond_t *cond);

/* Wait until woken or until `deadline` (CLOCK_MONOTONIC nanoseconds; INT64_MAX: for ever). 0 or
 * -ETIMEDOUT. */
int thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline);

/* At the start of a block: until its end pthread_cancel() of this thread is deferred, so that no
 * lock stays held and nothing stays half done. */
#define THREAD_NOT_CANCELLED                                                        \
	int cancel_state_ __attribute__((cleanup(thread_cancel_restore), unused)) = \
		thread_cancel_hold()
int thread_cancel_hold(void);
void thread_cancel_restore(const int *state);

/* Code that orders memory in a way that the thread sanitizer does not know must inform it, or use
 * another way. */
#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif

#endif
