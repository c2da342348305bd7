/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "virtual.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "fuzz.h"
#include "snapshot/snapshot.h"

#define NEVER INT64_MAX
#define TIMERS 1024

static int64_t now;
static int64_t armed_for[TIMERS]; /* by the timer's descriptor */
static bool borrowed;
void (*virtual_turn)(void);

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __real_epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __real_close(int fd);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_close(int fd);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
			   struct itimerspec *before);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms);
int __wrap_snapshot_reclaim(struct snapshot_home *home);
int __real_snapshot_orphan(struct snapshot_view *view, int64_t deadline);
int __wrap_snapshot_orphan(struct snapshot_view *view, int64_t deadline);

void virtual_reset(void)
{
	now = 1000 * SECOND;
	for (int fd = 0; fd < TIMERS; fd++)
		armed_for[fd] = NEVER;
	borrowed = false;
}

int64_t virtual_now(void)
{
	return now;
}

static void fire_if_due(int fd)
{
	uint64_t one = 1;

	if (armed_for[fd] > now)
		return;
	armed_for[fd] = NEVER;
	HOLD(write(fd, &one, sizeof(one)) == sizeof(one));
}

void virtual_advance(int64_t ns)
{
	now += ns;
	for (int fd = 0; fd < TIMERS; fd++)
		fire_if_due(fd);
}

static int64_t earliest(void)
{
	int64_t earliest = NEVER;

	for (int fd = 0; fd < TIMERS; fd++)
		earliest = armed_for[fd] < earliest ? armed_for[fd] : earliest;
	return earliest;
}

void virtual_borrow(bool inside)
{
	borrowed = inside;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	if (clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, time);
	*time = (struct timespec){(time_t)(now / SECOND), (long)(now % SECOND)};
	return 0;
}

/* A timer is an eventfd that these functions make readable. */
int __wrap_timerfd_create(int clock, int flags)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	HOLD(clock == CLOCK_MONOTONIC && flags == (TFD_CLOEXEC | TFD_NONBLOCK));
	HOLD(fd >= 0 && fd < TIMERS);
	armed_for[fd] = NEVER;
	return fd;
}

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < TIMERS)
		armed_for[fd] = NEVER;
	return __real_close(fd);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
			   struct itimerspec *before)
{
	uint64_t count;
	int64_t at = (int64_t)when->it_value.tv_sec * SECOND + when->it_value.tv_nsec;

	HOLD(flags == TFD_TIMER_ABSTIME && before == NULL && when->it_value.tv_nsec < SECOND);
	(void)!read(fd, &count, sizeof(count)); /* setting the timer clears an expiry */
	armed_for[fd] = at > 0 ? at : NEVER;
	fire_if_due(fd);
	return 0;
}

/* Nothing is due: time jumps to the timer, or to the timeout. A wait without limit would hang. */
int __wrap_epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
	int count = __real_epoll_wait(fd, events, most, 0);

	if (count == 0 && timeout_ms != 0) {
		int64_t until = timeout_ms < 0 ? NEVER : now + timeout_ms * INT64_C(1000000);
		int64_t due = earliest();
		HOLD(due != NEVER || until != NEVER);
		virtual_advance((due < until ? due : until) - now);
		count = __real_epoll_wait(fd, events, most, 0);
	}
	if (virtual_turn != NULL)
		virtual_turn();
	return count;
}

/* Instead of the thread that waits for grace periods: without a reader they end at once. */
int __wrap_snapshot_reclaim(struct snapshot_home *home)
{
	bool passed = false;

	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL && !borrowed; s = s->older) {
		if (s->stage == SNAPSHOT_REPLACED) {
			s->stage = SNAPSHOT_GRACE_OVER;
			snapshot_sum_stripes_locked(s);
			passed = true;
		}
	}
	pthread_mutex_unlock(&home->lock);
	if (passed)
		loop_wake(home->wake_fd);
	return 0;
}

/* The last one waits for real: its thread knows no simulated time. */
int __wrap_snapshot_orphan(struct snapshot_view *view, int64_t deadline)
{
	(void)deadline;
	return __real_snapshot_orphan(view, NEVER);
}
