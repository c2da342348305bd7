/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* thread: starting threads of ours as a guest should. */
#ifndef SAFESTART_THREAD_H
#define SAFESTART_THREAD_H

#include <pthread.h>
#include <stdint.h>

/* Start a thread that blocks every signal, without touching the caller's mask. 0 or -errno. */
int thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

/* A condition variable on the monotonic clock. 0 or -errno. */
int thread_cond_init(pthread_cond_t *cond);

/* Wait until woken or until `deadline` (CLOCK_MONOTONIC nanoseconds; INT64_MAX: for ever). 0 or -ETIMEDOUT. */
int thread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline);

#endif
