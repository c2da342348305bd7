/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Preloaded. It makes the wall clock jump: by the argument of clock_shim_step(), and with
 * CLOCK_SHIM=jumps at every reading, forty years forward and back. It counts the readings that
 * come from libsafestart. The monotonic clock is left alone. */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define YEARS(n) ((n)*365L * 86400)

void clock_shim_step(long seconds);
unsigned clock_shim_readings(void);

static _Atomic long offset;
static _Atomic unsigned all, ours;

void clock_shim_step(long seconds)
{
	atomic_fetch_add(&offset, seconds);
}

/* How often libsafestart has read the wall clock, or set a timer by it. */
unsigned clock_shim_readings(void)
{
	return atomic_load(&ours);
}

static void count(const void *caller)
{
	Dl_info info;

	if (dladdr(caller, &info) != 0 && info.dli_fname != NULL &&
	    strstr(info.dli_fname, "libsafestart") != NULL)
		atomic_fetch_add(&ours, 1);
}

static bool is_wall_clock(clockid_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI ||
	       clock == CLOCK_REALTIME_ALARM;
}

static long shifted(time_t seconds)
{
	const char *mode = getenv("CLOCK_SHIM");
	long jump = mode == NULL || strcmp(mode, "jumps") != 0 ? 0
		    : atomic_fetch_add(&all, 1) % 2            ? YEARS(20)
							       : -YEARS(20);

	return seconds + atomic_load(&offset) + jump;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	if (result == 0 && is_wall_clock(clock)) {
		count(__builtin_return_address(0));
		time->tv_sec = shifted(time->tv_sec);
	}
	return result;
}

static time_t wall_clock(long *nanoseconds)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	if (nanoseconds != NULL)
		*nanoseconds = now.tv_nsec;
	return shifted(now.tv_sec);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	long nanoseconds;

	(void)zone;
	count(__builtin_return_address(0));
	time->tv_sec = wall_clock(&nanoseconds);
	time->tv_usec = nanoseconds / 1000;
	return 0;
}

time_t time(time_t *to)
{
	count(__builtin_return_address(0));
	time_t now = wall_clock(NULL);
	if (to != NULL)
		*to = now;
	return now;
}

int timespec_get(struct timespec *time, int base)
{
	count(__builtin_return_address(0));
	time->tv_sec = wall_clock(&time->tv_nsec);
	return base;
}

/* Timers and sleeps are the kernel's; that one was asked for by the wall clock is all there is to
 * see. */
int timerfd_create(clockid_t clock, int flags)
{
	if (is_wall_clock(clock))
		count(__builtin_return_address(0));
	return (int)syscall(SYS_timerfd_create, clock, flags);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
	if (is_wall_clock(clock))
		count(__builtin_return_address(0));
	return (int)syscall(SYS_clock_nanosleep, clock, flags, time, left);
}
