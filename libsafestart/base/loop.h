/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* loop: epoll, an eventfd to be woken by, a timerfd: the only room that sleeps, and the one that
 * reads the clock for the others. Decides nothing. Any number of threads may sleep in it: an event
 * wakes one of them. Waking is for everybody, the rest for the dispatching thread. */
#ifndef SAFESTART_LOOP_H
#define SAFESTART_LOOP_H

#include <stdint.h>

#define LOOP_NEVER INT64_MAX

enum loop_event {
	LOOP_WOKEN = 1,
	LOOP_TIMER = 2,
	LOOP_HINT_ENDED = 8, /* nothing more will come from it */
	LOOP_HINT = 4        /* the source's descriptor; heard once, until loop_listen() */
};

struct loop {
	int epoll_fd;
	int wake_fd;
	int timer_fd;
	int hint_fd;       /* the source's, not owned; -1: none */
	int64_t armed_for; /* what the timer is set to */
};

/* 0 or -errno, nothing left behind. */
int loop_init(struct loop *loop);
void loop_clear(struct loop *loop);

/* Wait for events, timeout_ms as in epoll_wait. They are told once, to one thread, which has to
 * look at everything afterwards. Returns enum loop_event, or-ed. */
unsigned loop_wait(const struct loop *loop, int timeout_ms);

/* Wake the thread that polls `fd`, an eventfd. Any thread; signal-safe, keeps errno, no
 * cancellation point. */
void loop_wake(int fd);

/* Be woken at `at` (CLOCK_MONOTONIC), LOOP_NEVER: not by time. After LOOP_TIMER say so first: it is
 * not set any more. */
void loop_arm(struct loop *loop, int64_t at);
void loop_expired(struct loop *loop);

/* Watch the source's descriptor: from now on / once more. 0 or -errno. */
int loop_watch(struct loop *loop, int fd);
void loop_listen(struct loop *loop);
void loop_unwatch(struct loop *loop);

/* In a forked child: descriptors of its own under the same numbers. Nothing of the parent's is
 * changed. 0 or -errno: call it again. */
int loop_after_fork(struct loop *loop);

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t loop_now(void);

/* The time `timeout_ms` from now; LOOP_NEVER for a negative one. */
int64_t loop_deadline(int timeout_ms);
int loop_ms_until(int64_t deadline); /* rounded up, for poll and its like; -1: LOOP_NEVER */

#endif
