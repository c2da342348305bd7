/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/attitude.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nodes/nodeset.h"

struct attitude attitude;

static void (*_Atomic happens)(void);

void attitude_between(void (*what)(void))
{
	atomic_store(&happens, what);
}

static void happen(void)
{
	void (*between)(void) = atomic_load(&happens);
	int error = errno;

	if (between != NULL)
		between();
	errno = error;
}

/* ld's --wrap calls ours by these names, and gives us the real ones by the others. */
#define WRAP(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

/* The source creates no file. With 64 bit offsets the same calls have other names. */
#define OPEN(name)                                           \
	int __real_##name(const char *path, int flags, ...); \
	int __wrap_##name(const char *path, int flags, ...); \
	int __wrap_##name(const char *path, int flags, ...)  \
	{                                                    \
		va_list arguments;                           \
		happen();                                    \
		va_start(arguments, flags);                  \
		mode_t mode = va_arg(arguments, mode_t);     \
		va_end(arguments);                           \
		return __real_##name(path, flags, mode);     \
	}
OPEN(open)
OPEN(open64)

static void forge(struct stat *status)
{
	static _Atomic int looks;
	struct timespec stamp = {.tv_sec = 1000000000};

	switch (atomic_load(&attitude.stamps)) {
	case STAMPS_STOPPED: break;
	case STAMPS_BACKWARD: stamp.tv_sec -= atomic_fetch_add(&looks, 1); break;
	case STAMPS_AHEAD: stamp.tv_sec = (time(NULL) / 3600 + 2) * 3600; break;
	default: return;
	}
	status->st_mtim = status->st_ctim = stamp;
}

#define FSTAT(name)                                     \
	WRAP(int, name, int fd, struct stat *status)    \
	{                                               \
		happen();                               \
		int result = __real_##name(fd, status); \
		if (result == 0)                        \
			forge(status);                  \
		return result;                          \
	}
FSTAT(fstat)
FSTAT(fstat64)

WRAP(ssize_t, read, int fd, void *to, size_t size)
{
	happen();
	return __real_read(fd, to, size);
}

#define PREAD(name)                                                  \
	WRAP(ssize_t, name, int fd, void *to, size_t size, off_t at) \
	{                                                            \
		happen();                                            \
		return __real_##name(fd, to, size, at);              \
	}
PREAD(pread)
PREAD(pread64)

WRAP(ssize_t, readlink, const char *path, char *to, size_t size)
{
	happen();
	return __real_readlink(path, to, size);
}

WRAP(int, close, int fd)
{
	happen();
	return __real_close(fd);
}

WRAP(int, inotify_init1, int flags)
{
	happen();
	if (!atomic_load(&attitude.no_inotify))
		return __real_inotify_init1(flags);
	errno = EMFILE;
	return -1;
}

WRAP(int, inotify_add_watch, int fd, const char *path, uint32_t events)
{
	happen();
	return __real_inotify_add_watch(fd, path, events);
}

WRAP(int, inotify_rm_watch, int fd, int wd)
{
	happen();
	return __real_inotify_rm_watch(fd, wd);
}

WRAP(int, epoll_ctl, int fd, int operation, int other, struct epoll_event *event)
{
	happen();
	return __real_epoll_ctl(fd, operation, other, event);
}

WRAP(int, epoll_wait, int fd, struct epoll_event *events, int room, int timeout)
{
	happen();
	return __real_epoll_wait(fd, events, room, timeout);
}

WRAP(int, clock_gettime, clockid_t clock, struct timespec *time)
{
	int result = __real_clock_gettime(clock, time);
	int64_t ns = time->tv_nsec + atomic_load(&attitude.later);

	if (clock == CLOCK_MONOTONIC) {
		time->tv_sec += (time_t)(ns / 1000000000);
		time->tv_nsec = (long)(ns % 1000000000);
	}
	return result;
}

WRAP(int, nodeset_parse, struct nodeset **out, const char *json, size_t length,
     const struct nodeset_limits *limits, char *why, size_t why_size)
{
	atomic_fetch_add(&attitude.parses, 1);
	return __real_nodeset_parse(out, json, length, limits, why, why_size);
}
