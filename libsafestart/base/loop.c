/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* loop: the descriptors that loop.h sleeps on. Dispatching thread, but for loop_wake() (any thread,
 * signal handlers too) and loop_wait(). Must not read the wall clock [P8]. */
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/invariant.h"

int64_t loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t loop_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? LOOP_NEVER : loop_now() + (int64_t)timeout_ms * 1000000;
}

int loop_ms_until(int64_t deadline)
{
	int64_t ms = deadline == LOOP_NEVER ? -1 : (deadline - loop_now() + 999999) / 1000000;

	return deadline == LOOP_NEVER ? -1 : ms < 0 ? 0 : ms > INT32_MAX ? INT32_MAX : (int)ms;
}

void loop_wake(int fd)
{
	int saved = errno;
	uint64_t one = 1;

	/* By raw system call: write() is a cancellation point. A full counter (EAGAIN) is a
	 * wake-up, too. */
	(void)syscall(SYS_write, fd, &one, sizeof(one));
	errno = saved;
}

static int add(struct loop *loop, int fd, uint32_t events, uint32_t what)
{
	struct epoll_event event = {.events = events, .data.u32 = what};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* All there, and all different. */
static bool is_open(const struct loop *loop)
{
	return loop->epoll_fd >= 0 && loop->wake_fd >= 0 && loop->timer_fd >= 0 &&
	       loop->epoll_fd != loop->wake_fd && loop->epoll_fd != loop->timer_fd &&
	       loop->wake_fd != loop->timer_fd;
}

/* Edge-triggered: each write and each expiry wakes one thread once, and neither has to be read. A
 * thread sees what was written before it returned from epoll_wait(); a later write is a new edge.
 */
static int listen_to_own(struct loop *loop)
{
	int error = add(loop, loop->wake_fd, EPOLLIN | EPOLLET, LOOP_WOKEN);

	return error < 0 ? error : add(loop, loop->timer_fd, EPOLLIN | EPOLLET, LOOP_TIMER);
}

int loop_init(struct loop *loop)
{
	int error = 0;

	*loop = (struct loop){.epoll_fd = -1,
			      .wake_fd = -1,
			      .timer_fd = -1,
			      .hint_fd = -1,
			      .armed_for = LOOP_NEVER};
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd >= 0)
		loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->timer_fd < 0)
		error = -errno;
	if (error == 0)
		error = listen_to_own(loop);
	if (error < 0)
		loop_clear(loop);
	invariant(error < 0 ? loop->epoll_fd < 0 && loop->wake_fd < 0 && loop->timer_fd < 0
			    : is_open(loop));
	return error;
}

static void close_if_open(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Also what loop_init() opened before it failed. */
void loop_clear(struct loop *loop)
{
	close_if_open(&loop->timer_fd);
	close_if_open(&loop->wake_fd);
	close_if_open(&loop->epoll_fd);
	loop->hint_fd = -1;
}

/* A hang-up is EPOLLHUP or EPOLLERR; interrupted by a signal handler it is a timeout. */
unsigned loop_wait(const struct loop *loop, int timeout_ms)
{
	struct epoll_event events[3];
	unsigned what = 0;

	invariant(loop->epoll_fd >= 0);
	int n = epoll_wait(loop->epoll_fd, events, 3, timeout_ms);
	for (int i = 0; i < n; i++)
		what |= events[i].data.u32 |
			(events[i].data.u32 == LOOP_HINT &&
					 (events[i].events & (EPOLLHUP | EPOLLERR))
				 ? LOOP_HINT_ENDED
				 : 0u);
	invariant((what & ~(unsigned)(LOOP_WOKEN | LOOP_TIMER | LOOP_HINT | LOOP_HINT_ENDED)) == 0);
	invariant((what & LOOP_HINT_ENDED) == 0 || (what & LOOP_HINT) != 0);
	return what;
}

void loop_expired(struct loop *loop)
{
	loop->armed_for = LOOP_NEVER;
}

struct timespec loop_timespec(int64_t ns)
{
	/* Where time_t has 32 bits, that is what a machine can be up. */
	const int64_t most = sizeof(time_t) < sizeof(int64_t) ? INT32_MAX : INT64_MAX;
	int64_t seconds = ns / 1000000000;

	return (struct timespec){.tv_sec = (time_t)(seconds < most ? seconds : most),
				 .tv_nsec = (long)(ns % 1000000000)};
}

/* Most calls change nothing: a system call for each would be the largest cost of a wake-up. */
void loop_arm(struct loop *loop, int64_t at)
{
	struct itimerspec when = {{0, 0}, {0, 0}};

	if (at == loop->armed_for)
		return;
	if (at != LOOP_NEVER) {
		int64_t ns = at > 0 ? at : 1; /* 0 would switch the timer off */
		when.it_value = loop_timespec(ns);
	}
	if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		loop->armed_for = at;
}

/* One shot: the descriptor stays readable until the source has read it, on the worker. Without it
 * the dispatching thread would spin meanwhile. */
#define HINT_EVENTS (EPOLLIN | EPOLLONESHOT)

int loop_watch(struct loop *loop, int fd)
{
	invariant(fd >= 0 && loop->hint_fd < 0);
	int error = add(loop, fd, HINT_EVENTS, LOOP_HINT);

	if (error == 0)
		loop->hint_fd = fd;
	return error;
}

void loop_listen(struct loop *loop)
{
	struct epoll_event event = {.events = HINT_EVENTS, .data.u32 = LOOP_HINT};

	if (loop->hint_fd >= 0)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, loop->hint_fd, &event);
}

/* Fails silently if the source has closed it: then epoll has forgotten it. */
void loop_unwatch(struct loop *loop)
{
	if (loop->hint_fd >= 0)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->hint_fd, NULL);
	loop->hint_fd = -1;
}

/* Put the new descriptor in the place of the old one, in one step: the number is never free. */
static int take_number(int number, int *new_fd)
{
	if (dup3(*new_fd, number, O_CLOEXEC) < 0)
		return -errno;
	close(*new_fd);
	*new_fd = number;
	return 0;
}

int loop_after_fork(struct loop *loop)
{
	struct loop fresh;

	/* The old epoll descriptor is shared with the parent: no epoll_ctl() on it. The three
	 * numbers are taken over first and watched afterwards, because epoll remembers the open
	 * file, not the number. */
	invariant(is_open(loop));
	int error = loop_init(&fresh);
	if (error < 0)
		return error;
	epoll_ctl(fresh.epoll_fd, EPOLL_CTL_DEL, fresh.wake_fd, NULL);
	epoll_ctl(fresh.epoll_fd, EPOLL_CTL_DEL, fresh.timer_fd, NULL);
	error = take_number(loop->epoll_fd, &fresh.epoll_fd);
	if (error == 0)
		error = take_number(loop->wake_fd, &fresh.wake_fd);
	if (error == 0)
		error = take_number(loop->timer_fd, &fresh.timer_fd);
	if (error < 0) {
		if (fresh.epoll_fd != loop->epoll_fd)
			close(fresh.epoll_fd);
		if (fresh.wake_fd != loop->wake_fd)
			close(fresh.wake_fd);
		close(fresh.timer_fd);
	}
	loop->hint_fd = -1;
	loop->armed_for = LOOP_NEVER;
	if (error == 0)
		error = listen_to_own(loop);
	invariant(is_open(loop)); /* after an error as well: it is called again */
	return error;
}
