/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/failing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

/*
 * Every call of the library that can fail on Linux, with what it can fail with and what is used up
 * then. Left out, for there is nothing to see: clock_gettime, timerfd_settime and epoll_ctl(MOD)
 * fail for wrong arguments only; a write to an eventfd only when it is full, which is a wake-up;
 * mutexes and condition variables allocate nothing in glibc; and liburcu's mmap for its registry of
 * readers, after whose failure liburcu itself calls abort().
 */
enum thing {
	NOTHING,
	MEMORY,
	DESCRIPTORS,
	THREADS
};

#define CALLS(CALL)                                                             \
	CALL(malloc, MEMORY, ENOMEM)                                            \
	CALL(calloc, MEMORY, ENOMEM)                                            \
	CALL(realloc, MEMORY, ENOMEM)                                           \
	CALL(strdup, MEMORY, ENOMEM)                                            \
	CALL(asprintf, MEMORY, ENOMEM)                                          \
	CALL(getcwd, MEMORY, ENOMEM)                                            \
	CALL(open_memstream, MEMORY, ENOMEM)                                    \
	CALL(ferror, MEMORY, ENOMEM)                                            \
	CALL(fclose, MEMORY, ENOMEM)                                            \
	CALL(jansson, MEMORY, ENOMEM)                                           \
	CALL(pthread_atfork, MEMORY, ENOMEM)                                    \
	CALL(pthread_attr_setsigmask_np, MEMORY, ENOMEM)                        \
	CALL(pthread_create, THREADS, EAGAIN)                                   \
	CALL(epoll_create1, DESCRIPTORS, EMFILE, ENFILE, ENOMEM)                \
	CALL(eventfd, DESCRIPTORS, EMFILE, ENFILE, ENOMEM)                      \
	CALL(timerfd_create, DESCRIPTORS, EMFILE, ENFILE, ENOMEM)               \
	CALL(inotify_init1, DESCRIPTORS, EMFILE, ENFILE, ENOMEM)                \
	CALL(open, DESCRIPTORS, EMFILE, ENFILE, ENOMEM, EINTR, EIO, EACCES)     \
	CALL(openat, DESCRIPTORS, EMFILE, ENFILE, ENOMEM, EINTR, EIO, EACCES)   \
	CALL(fdopendir, MEMORY, ENOMEM)                                         \
	CALL(flock, NOTHING, ENOLCK, EINTR)                                     \
	CALL(dup3, NOTHING, EBUSY, EMFILE)                                      \
	CALL(epoll_ctl, NOTHING, ENOSPC, ENOMEM)                                \
	CALL(inotify_add_watch, NOTHING, ENOSPC, ENOMEM)                        \
	CALL(epoll_wait, NOTHING, EINTR)                                        \
	CALL(read, NOTHING, EIO, FAILING_SHORT, EINTR)                          \
	CALL(write, NOTHING, ENOSPC, FAILING_SHORT, EINTR, EIO, EDQUOT)         \
	CALL(fsync, NOTHING, EIO, ENOSPC, EINTR)                                \
	CALL(close, NOTHING, EIO, EINTR)                                        \
	CALL(rename, NOTHING, ENOSPC, EIO, EACCES)                              \
	CALL(unlink, NOTHING, EIO)                                              \
	CALL(unlinkat, NOTHING, EIO)                                            \
	CALL(fstat, NOTHING, EIO, ENOMEM)                                       \
	CALL(readlink, NOTHING, EIO, ENOMEM)                                    \
	CALL(fcntl, NOTHING, ENOLCK, EINTR)                                     \
	CALL(pread, NOTHING, EIO, FAILING_SHORT, EINTR)                         \
	CALL(pwrite, NOTHING, ENOSPC, FAILING_SHORT, EINTR, EIO)                \
	CALL(posix_fallocate, NOTHING, ENOSPC, EOPNOTSUPP)                      \
	CALL(fstatat, NOTHING, EIO, ENOMEM)                                     \
	CALL(fchmod, NOTHING, EIO)                                              \
	CALL(mkdir, NOTHING, ENOSPC, EROFS, EACCES)                             \
	CALL(renameat2, NOTHING, ENOSPC, EROFS, ENOENT)                         \
	CALL(socket, DESCRIPTORS, EMFILE, ENFILE, ENOMEM)                       \
	CALL(socketpair, DESCRIPTORS, EMFILE, ENFILE, ENOMEM)                   \
	CALL(bind, NOTHING, ENOSPC, EROFS, EACCES)                              \
	CALL(listen, NOTHING, ENOMEM)                                           \
	CALL(connect, NOTHING, EAGAIN, EINTR)                                   \
	CALL(accept4, DESCRIPTORS, EMFILE, EINTR, ECONNABORTED, ENFILE, ENOMEM) \
	CALL(recv, NOTHING, ENOMEM, EINTR, ECONNRESET)                          \
	CALL(send, NOTHING, ENOBUFS, FAILING_SHORT, EPIPE, EINTR)

#define NAME(name, thing, ...) CALL_##name,
enum call {
	CALLS(NAME) CALL_COUNT
};

#define ROW(name, thing, ...) {#name, thing, {__VA_ARGS__, 0}},
static const struct {
	const char *name;
	enum thing thing;
	int errors[8];
} calls[] = {CALLS(ROW)};

#define SITES 512

static struct {
	/* The call is in the lowest bits of the hash: one address calls one function. */
	_Atomic(const void *) where;
	_Atomic int call;
	_Atomic unsigned hits;
} sites[SITES];

static char nowhere, anywhere; /* stand in for places: one that is not known, and all */

static struct {
	_Atomic(const void *) where; /* NULL: nothing is to fail */
	_Atomic unsigned nth;
	_Atomic int error;
	_Atomic int call;  /* anywhere: of this function */
	_Atomic int thing; /* lasting: everything that uses this up; NOTHING: this place alone */
	_Atomic bool lasting;
	_Atomic bool begun;
	_Atomic unsigned injected;
} armed;

static unsigned hit(enum call call, const void *where)
{
	for (size_t i = ((uintptr_t)where >> 2) % SITES;; i = (i + 1) % SITES) {
		const void *there = NULL;
		if (atomic_compare_exchange_strong(&sites[i].where, &there, where))
			atomic_store(&sites[i].call, (int)call);
		else if (there != where)
			continue;
		return atomic_fetch_add(&sites[i].hits, 1) + 1;
	}
}

/* What this call has to fail with; 0: it is left alone. */
static int verdict(enum call call, const void *where)
{
	if (where == NULL)
		where = &nowhere;
	unsigned hits = hit(call, where), nth = atomic_load(&armed.nth);
	const void *at = atomic_load(&armed.where);
	bool lasting = atomic_load(&armed.lasting),
	     here = at == where || (at == &anywhere && (int)call == atomic_load(&armed.call));

	if (at == NULL)
		return 0;
	if (here && hits >= nth && (lasting || hits == nth))
		atomic_store(&armed.begun, true);
	else if (!lasting || !atomic_load(&armed.begun) ||
		 (!here && (calls[call].thing == NOTHING ||
			    (int)calls[call].thing != atomic_load(&armed.thing))))
		return 0;
	atomic_fetch_add(&armed.injected, 1);
	return atomic_load(&armed.error);
}

void failing_forget(void)
{
	failing_stop();
	for (size_t i = 0; i < SITES; i++)
		atomic_store(&sites[i].hits, 0);
	atomic_store(&armed.injected, 0);
}

size_t failing_sites(struct failing_site *to, size_t room)
{
	size_t count = 0;

	for (size_t i = 0; i < SITES && count < room; i++) {
		unsigned hits = atomic_load(&sites[i].hits);
		if (hits > 0)
			to[count++] = (struct failing_site){calls[atomic_load(&sites[i].call)].name,
							    atomic_load(&sites[i].where), hits};
	}
	return count;
}

static enum call call_named(const char *name)
{
	int call = 0;

	while (strcmp(calls[call].name, name) != 0)
		call++;
	return (enum call)call;
}

const int *failing_errors(const char *name)
{
	return calls[call_named(name)].errors;
}

void failing_arm(const struct failing_site *site, unsigned nth, int error, bool lasting)
{
	failing_stop();
	atomic_store(&armed.nth, nth);
	atomic_store(&armed.error, error);
	atomic_store(&armed.lasting, lasting);
	atomic_store(&armed.thing, (int)calls[call_named(site->call)].thing);
	atomic_store(&armed.call, (int)call_named(site->call));
	atomic_store(&armed.where, site->where != NULL ? site->where : &anywhere);
}

void failing_stop(void)
{
	atomic_store(&armed.where, NULL);
	atomic_store(&armed.begun, false);
}

unsigned failing_injected(void)
{
	return atomic_load(&armed.injected);
}

/* ---- The calls ---- */

#define HERE __builtin_return_address(0)

/* -Wmissing-prototypes wants them said twice: ld's --wrap calls ours by these names, and gives us
 * the real ones by the others. */
#define WRAP(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

/* Fails by returning -1 with errno, NULL with errno, or the error itself. */
#define MINUS_ONE_OR(name, otherwise)                    \
	do {                                             \
		int error_ = verdict(CALL_##name, HERE); \
		if (error_ != 0) {                       \
			errno = error_;                  \
			return -1;                       \
		}                                        \
		return otherwise;                        \
	} while (0)
#define NULL_OR(name, otherwise)                         \
	do {                                             \
		int error_ = verdict(CALL_##name, HERE); \
		if (error_ != 0) {                       \
			errno = error_;                  \
			return NULL;                     \
		}                                        \
		return otherwise;                        \
	} while (0)
#define ERROR_OR(name, otherwise)                          \
	do {                                               \
		int error_ = verdict(CALL_##name, HERE);   \
		return error_ != 0 ? error_ : (otherwise); \
	} while (0)

WRAP(void *, malloc, size_t size)
{
	NULL_OR(malloc, __real_malloc(size));
}

WRAP(void *, calloc, size_t count, size_t size)
{
	NULL_OR(calloc, __real_calloc(count, size));
}

WRAP(void *, realloc, void *memory, size_t size)
{
	NULL_OR(realloc, __real_realloc(memory, size));
}

WRAP(char *, strdup, const char *text)
{
	NULL_OR(strdup, __real_strdup(text));
}

WRAP(char *, getcwd, char *buffer, size_t size)
{
	NULL_OR(getcwd, __real_getcwd(buffer, size));
}

WRAP(FILE *, open_memstream, char **text, size_t *size)
{
	NULL_OR(open_memstream, __real_open_memstream(text, size));
}

WRAP(int, ferror, FILE *file)
{
	return verdict(CALL_ferror, HERE) != 0 ? 1 : __real_ferror(file);
}

WRAP(int, fclose, FILE *file)
{
	int error = verdict(CALL_fclose, HERE), result = __real_fclose(file);

	if (error != 0)
		errno = error;
	return error != 0 ? EOF : result;
}

int __wrap_asprintf(char **to, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **to, const char *format, ...)
{
	int error = verdict(CALL_asprintf, HERE), result;
	va_list arguments;

	if (error != 0) {
		*to = (char *)(uintptr_t)0x5a5a; /* glibc leaves it undefined */
		errno = error;
		return -1;
	}
	va_start(arguments, format);
	result = vasprintf(to, format, arguments);
	va_end(arguments);
	return result;
}

WRAP(int, pthread_atfork, void (*before)(void), void (*parent)(void), void (*child)(void))
{
	ERROR_OR(pthread_atfork, __real_pthread_atfork(before, parent, child));
}

WRAP(int, pthread_attr_setsigmask_np, pthread_attr_t *attributes, const sigset_t *mask)
{
	ERROR_OR(pthread_attr_setsigmask_np, __real_pthread_attr_setsigmask_np(attributes, mask));
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes,
     void *(*body)(void *), void *argument)
{
	ERROR_OR(pthread_create, __real_pthread_create(thread, attributes, body, argument));
}

WRAP(int, epoll_create1, int flags)
{
	MINUS_ONE_OR(epoll_create1, __real_epoll_create1(flags));
}

WRAP(int, eventfd, unsigned count, int flags)
{
	MINUS_ONE_OR(eventfd, __real_eventfd(count, flags));
}

WRAP(int, timerfd_create, int clock, int flags)
{
	MINUS_ONE_OR(timerfd_create, __real_timerfd_create(clock, flags));
}

WRAP(int, inotify_init1, int flags)
{
	MINUS_ONE_OR(inotify_init1, __real_inotify_init1(flags));
}

/* With 64 bit offsets the same calls have other names. */
#define OPEN(name)                                                             \
	int __real_##name(const char *path, int flags, ...);                   \
	int __wrap_##name(const char *path, int flags, ...);                   \
	int __wrap_##name(const char *path, int flags, ...)                    \
	{                                                                      \
		int error = verdict(CALL_open, HERE);                          \
		va_list arguments;                                             \
		if (error != 0) {                                              \
			errno = error;                                         \
			return -1;                                             \
		}                                                              \
		va_start(arguments, flags);                                    \
		mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0; \
		va_end(arguments);                                             \
		return __real_##name(path, flags, mode);                       \
	}
OPEN(open)
OPEN(open64)

/* Not with O_CREAT. */
#define OPENAT(name)                                                         \
	int __real_##name(int directory, const char *path, int flags, ...);  \
	int __wrap_##name(int directory, const char *path, int flags, ...);  \
	int __wrap_##name(int directory, const char *path, int flags, ...)   \
	{                                                                    \
		MINUS_ONE_OR(openat, __real_##name(directory, path, flags)); \
	}
OPENAT(openat)
OPENAT(openat64)

WRAP(DIR *, fdopendir, int fd)
{
	NULL_OR(fdopendir, __real_fdopendir(fd));
}

WRAP(int, flock, int fd, int operation)
{
	MINUS_ONE_OR(flock, __real_flock(fd, operation));
}

#define FSTAT(name)                                             \
	WRAP(int, name, int fd, struct stat *status)            \
	{                                                       \
		MINUS_ONE_OR(fstat, __real_##name(fd, status)); \
	}
FSTAT(fstat)
FSTAT(fstat64)

WRAP(int, dup3, int from, int to, int flags)
{
	MINUS_ONE_OR(dup3, __real_dup3(from, to, flags));
}

WRAP(int, epoll_ctl, int fd, int operation, int other, struct epoll_event *event)
{
	if (operation != EPOLL_CTL_ADD)
		return __real_epoll_ctl(fd, operation, other, event);
	MINUS_ONE_OR(epoll_ctl, __real_epoll_ctl(fd, operation, other, event));
}

WRAP(int, inotify_add_watch, int fd, const char *path, uint32_t events)
{
	MINUS_ONE_OR(inotify_add_watch, __real_inotify_add_watch(fd, path, events));
}

WRAP(int, epoll_wait, int fd, struct epoll_event *events, int room, int timeout)
{
	MINUS_ONE_OR(epoll_wait, __real_epoll_wait(fd, events, room, timeout));
}

static size_t half(size_t size)
{
	return size > 1 ? size / 2 : size;
}

WRAP(ssize_t, read, int fd, void *to, size_t size)
{
	int error = verdict(CALL_read, HERE);
	struct stat status;

	/* An eventfd, a timerfd and inotify are read whole or not at all. */
	if (error == FAILING_SHORT)
		return __real_read(fd, to,
				   __real_fstat64(fd, &status) == 0 && S_ISREG(status.st_mode)
					   ? half(size)
					   : size);
	if (error != 0)
		errno = error;
	return error != 0 ? -1 : __real_read(fd, to, size);
}

WRAP(ssize_t, write, int fd, const void *from, size_t size)
{
	int error = verdict(CALL_write, HERE);

	if (error == FAILING_SHORT)
		return __real_write(fd, from, half(size));
	if (error != 0)
		errno = error;
	return error != 0 ? -1 : __real_write(fd, from, size);
}

/* A disk takes its time, and here it cannot lose power. */
WRAP(int, fsync, int fd)
{
	MINUS_ONE_OR(fsync, fd >= 0 ? 0 : -1);
}

/* As on Linux: closed in any case. */
WRAP(int, close, int fd)
{
	int error = verdict(CALL_close, HERE), result = __real_close(fd);

	if (error != 0)
		errno = error;
	return error != 0 ? -1 : result;
}

WRAP(int, rename, const char *from, const char *to)
{
	MINUS_ONE_OR(rename, __real_rename(from, to));
}

WRAP(int, unlink, const char *path)
{
	MINUS_ONE_OR(unlink, __real_unlink(path));
}

WRAP(int, unlinkat, int directory, const char *path, int flags)
{
	MINUS_ONE_OR(unlinkat, __real_unlinkat(directory, path, flags));
}

WRAP(ssize_t, readlink, const char *path, char *to, size_t size)
{
	MINUS_ONE_OR(readlink, __real_readlink(path, to, size));
}

/* Locks only; they take a struct flock. */
#define FCNTL(name)                                                     \
	int __real_##name(int fd, int command, ...);                    \
	int __wrap_##name(int fd, int command, ...);                    \
	int __wrap_##name(int fd, int command, ...)                     \
	{                                                               \
		va_list arguments;                                      \
		va_start(arguments, command);                           \
		struct flock *lock = va_arg(arguments, struct flock *); \
		va_end(arguments);                                      \
		MINUS_ONE_OR(fcntl, __real_##name(fd, command, lock));  \
	}
FCNTL(fcntl)
FCNTL(fcntl64)

#define PREAD(name, type)                                                    \
	WRAP(ssize_t, name, int fd, type bytes, size_t size, off_t at)       \
	{                                                                    \
		int error = verdict(CALL_pread, HERE);                       \
		if (error == FAILING_SHORT)                                  \
			return __real_##name(fd, bytes, half(size), at);     \
		if (error != 0)                                              \
			errno = error;                                       \
		return error != 0 ? -1 : __real_##name(fd, bytes, size, at); \
	}
PREAD(pread, void *)
PREAD(pread64, void *)
#define CALL_pread CALL_pwrite
PREAD(pwrite, const void *)
PREAD(pwrite64, const void *)
#undef CALL_pread

#define FALLOCATE(name)                                                 \
	WRAP(int, name, int fd, off_t at, off_t size)                   \
	{                                                               \
		ERROR_OR(posix_fallocate, __real_##name(fd, at, size)); \
	}
FALLOCATE(posix_fallocate)
FALLOCATE(posix_fallocate64)

#define FSTATAT(name)                                                                    \
	WRAP(int, name, int directory, const char *path, struct stat *status, int flags) \
	{                                                                                \
		MINUS_ONE_OR(fstatat, __real_##name(directory, path, status, flags));    \
	}
FSTATAT(fstatat)
FSTATAT(fstatat64)

WRAP(int, fchmod, int fd, mode_t mode)
{
	MINUS_ONE_OR(fchmod, __real_fchmod(fd, mode));
}

WRAP(int, mkdir, const char *path, mode_t mode)
{
	MINUS_ONE_OR(mkdir, __real_mkdir(path, mode));
}

WRAP(int, renameat2, int from_directory, const char *from, int to_directory, const char *to,
     unsigned flags)
{
	MINUS_ONE_OR(renameat2, __real_renameat2(from_directory, from, to_directory, to, flags));
}

WRAP(int, socketpair, int domain, int type, int protocol, int ends[2])
{
	MINUS_ONE_OR(socketpair, __real_socketpair(domain, type, protocol, ends));
}

WRAP(int, socket, int domain, int type, int protocol)
{
	MINUS_ONE_OR(socket, __real_socket(domain, type, protocol));
}

WRAP(int, bind, int fd, const struct sockaddr *address, socklen_t size)
{
	MINUS_ONE_OR(bind, __real_bind(fd, address, size));
}

WRAP(int, listen, int fd, int backlog)
{
	MINUS_ONE_OR(listen, __real_listen(fd, backlog));
}

WRAP(int, connect, int fd, const struct sockaddr *address, socklen_t size)
{
	MINUS_ONE_OR(connect, __real_connect(fd, address, size));
}

WRAP(int, accept4, int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	MINUS_ONE_OR(accept4, __real_accept4(fd, address, size, flags));
}

WRAP(ssize_t, recv, int fd, void *to, size_t size, int flags)
{
	MINUS_ONE_OR(recv, __real_recv(fd, to, size, flags));
}

WRAP(ssize_t, send, int fd, const void *from, size_t size, int flags)
{
	int error = verdict(CALL_send, HERE);

	if (error == FAILING_SHORT)
		return __real_send(fd, from, half(size), flags);
	if (error != 0)
		errno = error;
	return error != 0 ? -1 : __real_send(fd, from, size, flags);
}

static void *jansson_malloc(size_t size)
{
	int error = verdict(CALL_jansson, NULL);

	if (error != 0)
		errno = error; /* as malloc() does */
	return error != 0 ? NULL : __real_malloc(size);
}

static void jansson_free(void *memory)
{
	free(memory);
}

void failing_take_jansson(void)
{
	json_set_alloc_funcs(jansson_malloc, jansson_free);
}
