/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/instants.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* ld's --wrap calls ours by these names, and gives us the real ones by the others. Our own calls
 * would go to ours as well. */
#define WRAP(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_broadcast(pthread_cond_t *cond);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *when,
			   struct itimerspec *before);

/* ---- Instants ---- */

static void (*_Atomic passes)(const char *where);
static _Thread_local bool takes_part;
static _Thread_local void (*when_waiting)(void);

void instants_each(void (*what)(const char *where))
{
	atomic_store(&passes, what);
}

static void pass_at(const char *where)
{
	void (*pass)(const char *where) = atomic_load(&passes);
	int error = errno, cancel;

	if (!takes_part || pass == NULL)
		return;
	/* A thread that is cancelled in a wait is not cancelled here. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	pass(where);
	pthread_setcancelstate(cancel, &cancel);
	errno = error;
}

/* In a wrapped call: before it, and after it. */
#define HERE ((const char *)__builtin_return_address(0))
#define BEFORE() pass_at(HERE)
#define AFTER() pass_at(HERE + 1)

void instants_take_part(bool it_does)
{
	takes_part = it_does;
}

void instants_when_waiting(void (*waits)(void))
{
	when_waiting = waits;
}

/* ---- Made-up time ---- */

#define SECOND INT64_C(1000000000)

static _Atomic int64_t later;

/* The timer that was set last, and who waits with a limit: they are told when time has passed.
 * Taken for moments only, inside any lock of the library. */
static pthread_mutex_t time_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	int fd;
	int64_t at; /* 0: not set */
} timer;
static struct sleeper {
	struct sleeper *next;
	pthread_cond_t *cond;
	int64_t limit_set_at; /* `later` when its limit was worked out */
} * sleepers;

static struct timespec time_from(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
}

static int64_t ns_of(const struct timespec *time)
{
	return time->tv_sec * SECOND + time->tv_nsec;
}

WRAP(int, clock_gettime, clockid_t clock, struct timespec *time)
{
	int result = __real_clock_gettime(clock, time);

	if (clock == CLOCK_MONOTONIC)
		*time = time_from(ns_of(time) + atomic_load(&later));
	return result;
}

static int set_timer_locked(void)
{
	int64_t real = timer.at - atomic_load(&later);
	struct itimerspec when = {.it_value = time_from(timer.at == 0 ? 0 : real > 0 ? real : 1)};

	return __real_timerfd_settime(timer.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void enter_sleep(struct sleeper *sleeper)
{
	__real_pthread_mutex_lock(&time_lock);
	sleeper->limit_set_at = atomic_load(&later);
	sleeper->next = sleepers;
	sleepers = sleeper;
	__real_pthread_mutex_unlock(&time_lock);
}

static void leave_sleep(void *argument)
{
	struct sleeper **at = &sleepers;

	__real_pthread_mutex_lock(&time_lock);
	while (*at != argument)
		at = &(*at)->next;
	*at = (*at)->next;
	__real_pthread_mutex_unlock(&time_lock);
}

/* Wakes those that sleep by the old time. One may be on its way into its sleep, so that a broadcast
 * is too early: again then, until all have looked. */
static bool wake_sleepers_locked(void)
{
	bool any = false;

	for (struct sleeper *s = sleepers; s != NULL; s = s->next) {
		if (s->limit_set_at == atomic_load(&later))
			continue;
		__real_pthread_cond_broadcast(s->cond);
		any = true;
	}
	return any;
}

void instants_pass_time(int64_t ns)
{
	bool again;

	__real_pthread_mutex_lock(&time_lock);
	atomic_fetch_add(&later, ns);
	if (timer.at != 0)
		(void)set_timer_locked();
	__real_pthread_mutex_unlock(&time_lock);
	do {
		__real_pthread_mutex_lock(&time_lock);
		again = wake_sleepers_locked();
		__real_pthread_mutex_unlock(&time_lock);
		if (again)
			usleep(100);
	} while (again);
}

static void lock_time(void)
{
	__real_pthread_mutex_lock(&time_lock);
}

static void unlock_time(void)
{
	__real_pthread_mutex_unlock(&time_lock);
}

static void unlock_time_in_child(void)
{
	sleepers = NULL;
	__real_pthread_mutex_unlock(&time_lock);
}

/* Before the library's handlers, so that it is the last lock that a fork takes and the first that
 * the child gives back: the library's own handlers pass here. */
__attribute__((constructor)) static void follow_forks(void)
{
	(void)pthread_atfork(lock_time, unlock_time, unlock_time_in_child);
}

void instants_forget(void)
{
	instants_each(NULL);
	takes_part = false;
	when_waiting = NULL;
}

WRAP(int, timerfd_settime, int fd, int flags, const struct itimerspec *when,
     struct itimerspec *before)
{
	(void)flags, (void)before; /* the loop's is absolute */
	BEFORE();
	__real_pthread_mutex_lock(&time_lock);
	timer.fd = fd;
	timer.at = ns_of(&when->it_value);
	int result = set_timer_locked();
	__real_pthread_mutex_unlock(&time_lock);
	return result;
}

static void forget_timer(int fd)
{
	__real_pthread_mutex_lock(&time_lock);
	if (timer.fd == fd)
		timer.at = 0;
	__real_pthread_mutex_unlock(&time_lock);
}

/* ---- Locks, conditions and threads ---- */

WRAP(int, pthread_mutex_lock, pthread_mutex_t *mutex)
{
	BEFORE();
	int result = __real_pthread_mutex_lock(mutex);
	AFTER();
	return result;
}

WRAP(int, pthread_mutex_unlock, pthread_mutex_t *mutex)
{
	int result = __real_pthread_mutex_unlock(mutex);

	AFTER();
	return result;
}

static void begin_to_wait(const char *where)
{
	void (*waits)(void) = when_waiting;

	when_waiting = NULL;
	if (waits != NULL)
		waits();
	pass_at(where);
}

WRAP(int, pthread_cond_wait, pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	begin_to_wait(HERE);
	return __real_pthread_cond_wait(cond, mutex);
}

/* When time has passed it returns early, as if woken for no reason. */
WRAP(int, pthread_cond_timedwait, pthread_cond_t *cond, pthread_mutex_t *mutex,
     const struct timespec *until)
{
	struct sleeper sleeper = {.cond = cond};
	int result;

	begin_to_wait(HERE);
	enter_sleep(&sleeper);
	struct timespec real = time_from(ns_of(until) - sleeper.limit_set_at);
	pthread_cleanup_push(leave_sleep, &sleeper);
	result = real.tv_sec < 0 || real.tv_nsec < 0
			 ? ETIMEDOUT
			 : __real_pthread_cond_timedwait(cond, mutex, &real);
	pthread_cleanup_pop(1);
	return result;
}

WRAP(int, pthread_cond_broadcast, pthread_cond_t *cond)
{
	BEFORE();
	return __real_pthread_cond_broadcast(cond);
}

struct start {
	void *(*body)(void *);
	void *argument;
};

static void *begin_thread(void *argument)
{
	struct start start = *(struct start *)argument;

	free(argument);
	takes_part = true;
	BEFORE();
	return start.body(start.argument);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes,
     void *(*body)(void *), void *argument)
{
	struct start *start = malloc(sizeof(*start));

	*start = (struct start){body, argument};
	BEFORE();
	int error = __real_pthread_create(thread, attributes, begin_thread, start);
	if (error != 0)
		free(start);
	return error;
}

WRAP(int, pthread_join, pthread_t thread, void **result)
{
	BEFORE();
	return __real_pthread_join(thread, result);
}

WRAP(void, urcu_bp_synchronize_rcu, void)
{
	BEFORE();
	__real_urcu_bp_synchronize_rcu();
	AFTER();
}

/* ---- System calls ---- */

static int64_t made_up_now(void)
{
	struct timespec now;

	__real_clock_gettime(CLOCK_MONOTONIC, &now);
	return ns_of(&now) + atomic_load(&later);
}

/* A limit is one of made-up time: looked at again and again, without a return to the library. */
WRAP(int, epoll_wait, int fd, struct epoll_event *events, int room, int timeout)
{
	int64_t end = made_up_now() + timeout * INT64_C(1000000);
	int n;

	BEFORE();
	do
		n = __real_epoll_wait(fd, events, room, timeout > 0 ? 1 : timeout);
	while (n == 0 && timeout > 0 && made_up_now() < end);
	AFTER();
	return n;
}

WRAP(int, epoll_ctl, int fd, int operation, int other, struct epoll_event *event)
{
	BEFORE();
	return __real_epoll_ctl(fd, operation, other, event);
}

/* A wake-up of the loop, and what liburcu's inlined functions ask of the kernel. */
WRAP(long, syscall, long number, long a, long b, long c, long d, long e, long f)
{
	BEFORE();
	return __real_syscall(number, a, b, c, d, e, f);
}

WRAP(ssize_t, read, int fd, void *to, size_t size)
{
	BEFORE();
	return __real_read(fd, to, size);
}

WRAP(ssize_t, write, int fd, const void *bytes, size_t size)
{
	BEFORE();
	return __real_write(fd, bytes, size);
}

WRAP(int, close, int fd)
{
	BEFORE();
	forget_timer(fd);
	return __real_close(fd);
}

WRAP(int, fsync, int fd)
{
	BEFORE();
	return __real_fsync(fd);
}

WRAP(int, rename, const char *from, const char *to)
{
	BEFORE();
	return __real_rename(from, to);
}
