/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* loop: epoll with an eventfd to be woken by, a timerfd and the source's descriptor: where the
 * library's threads sleep, and where it reads the monotonic clock. Decides nothing. Several threads
 * may sleep in it; an event wakes one of them. Any thread may wake it, the rest is for the
 * dispatching thread. */
#ifndef SAFESTART_BASE_LOOP_H
#define SAFESTART_BASE_LOOP_H

#include <stdint.h>
#include <time.h>

#define LOOP_NEVER INT64_MAX

enum loop_event {
	LOOP_WOKEN = 1,
	LOOP_TIMER = 2,
	LOOP_HINT = 4,      /* the source's descriptor; reported once, until loop_listen() */
	LOOP_HINT_ENDED = 8 /* with LOOP_HINT: nothing more will come from it */
};

struct loop {
	int epoll_fd;
	int wake_fd;
	int timer_fd;
	int hint_fd;       /* the source's, not owned; -1: none */
	int64_t armed_for; /* when the timer expires; LOOP_NEVER: it is not set */
};

/* 0; -errno, with nothing left behind. */
int loop_init(struct loop *loop);
void loop_clear(struct loop *loop);

/* Wait for events; timeout_ms as in epoll_wait(). Each is reported once, to one thread, which must
 * then look at everything that may be due. Returns enum loop_event, or-ed; 0: timeout. */
unsigned loop_wait(const struct loop *loop, int timeout_ms);

/* Wake the thread that polls `fd`, an eventfd. Any thread; signal-safe, keeps errno, no
 * cancellation point. */
void loop_wake(int fd);

/* Set the timer to `at` (CLOCK_MONOTONIC); LOOP_NEVER: no timer. After LOOP_TIMER call
 * loop_expired() first: the timer is not set any more. [P8] */
void loop_arm(struct loop *loop, int64_t at);
void loop_expired(struct loop *loop);

/* Watch the source's descriptor, of which there is at most one: until it has been readable once.
 * loop_listen() does so again. 0 or -errno. */
int loop_watch(struct loop *loop, int fd);
void loop_listen(struct loop *loop);
void loop_unwatch(struct loop *loop);

/* In a forked child: give it descriptors of its own, under the same numbers, which the application
 * may have put into its event loop. The parent's are not changed. 0; -errno: call it again. [P17]
 */
int loop_after_fork(struct loop *loop);

/* CLOCK_MONOTONIC in nanoseconds; and for a call. */
int64_t loop_now(void);
struct timespec loop_timespec(int64_t ns);

/* The time `timeout_ms` from now; LOOP_NEVER for a negative one. */
int64_t loop_deadline(int timeout_ms);
/* Milliseconds until then, for poll() and epoll_wait(): rounded up, so that they do not return too
 * early; -1 for LOOP_NEVER. */
int loop_ms_until(int64_t deadline);

#endif
