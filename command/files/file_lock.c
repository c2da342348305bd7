/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_lock: locks a file that stays when the node file is replaced. Main thread; while it waits, a
 * second thread is blocked in flock(), which touches nothing but its own struct. */
#include "files/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOK_MS 100 /* how often the clock is read while waiting */

/* ---- Waiting ---- */

struct waiter {
	int fd, operation;
	int error; /* valid after `left` was set by the waiting thread */
	int done;  /* eventfd */
	/* The first of the two threads sets it, the second finds it set. */
	atomic_bool left;
};

static void free_waiter(struct waiter *waiter)
{
	if (waiter->fd >= 0)
		close(waiter->fd);
	if (waiter->done >= 0)
		close(waiter->done);
	free(waiter);
}

static void *wait_for_lock(void *data)
{
	struct waiter *waiter = data;
	int result;

	do {
		result = flock(waiter->fd, waiter->operation);
	} while (result < 0 && errno == EINTR);
	waiter->error = result < 0 ? -errno : 0;
	if (atomic_exchange(&waiter->left, true))
		free_waiter(waiter); /* nobody waits any more; closing releases the lock */
	else
		(void)eventfd_write(waiter->done, 1);
	return NULL;
}

/* A thread blocks in flock(), because the kernel queues those that wait: polling could starve one.
 * Not SIGALRM to end it: a process that starts this one may have blocked it. */
static int wait_with_thread(struct waiter *waiter, int64_t until)
{
	struct pollfd done = {.fd = waiter->done, .events = POLLIN};
	pthread_t thread;

	int error = pthread_create(&thread, NULL, wait_for_lock, waiter);
	if (error != 0) {
		free_waiter(waiter);
		return -error;
	}
	while (clock_now() < until && poll(&done, 1, LOOK_MS) <= 0)
		;
	if (!atomic_exchange(&waiter->left, true)) {
		pthread_detach(thread);
		return -ETIMEDOUT;
	}
	pthread_join(thread, NULL);
	error = waiter->error;
	free_waiter(waiter);
	return error;
}

int file_lock_wait(int fd, int operation, int64_t timeout)
{
	int64_t until = clock_now() + timeout;

	if (flock(fd, operation | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return -errno;
	struct waiter *waiter = calloc(1, sizeof(*waiter));
	if (waiter == NULL)
		return -ENOMEM;
	/* Its own descriptor of the same open file: the lock is that of `fd`. */
	*waiter = (struct waiter){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
				  .operation = operation,
				  .done = eventfd(0, EFD_CLOEXEC)};
	if (waiter->fd < 0 || waiter->done < 0) {
		free_waiter(waiter);
		return -EMFILE;
	}
	return wait_with_thread(waiter, until);
}

/* ---- The lock file ---- */

static bool is_file(int directory, const char *path, int fd)
{
	struct stat open_file, named;

	return fstat(fd, &open_file) == 0 &&
	       fstatat(directory, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(open_file.st_mode) && open_file.st_dev == named.st_dev &&
	       open_file.st_ino == named.st_ino;
}

/* Mode 0600 and the node file's owner, so that every process that may replace the node file can
 * lock it, and no other. */
static int open_lock(int directory, const char *path, const struct stat *like)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat status;
	bool made = false;
	int fd = openat(directory, path, flags);

	if (fd < 0 && errno == ENOENT) {
		fd = openat(directory, path, flags | O_CREAT | O_EXCL, 0600);
		made = fd >= 0;
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) == 0 && status.st_uid != like->st_uid &&
	    fchown(fd, like->st_uid, like->st_gid) < 0 && made) {
		int error = errno == EPERM ? -ENOTSUP : -errno;
		(void)unlinkat(directory, path, 0);
		close(fd);
		return error;
	}
	return fd;
}

int file_lock_take(int directory, const char *name, const struct stat *like, int64_t timeout)
{
	char *path;
	int fd, error;

	if (asprintf(&path, ".%s.lock", name) < 0)
		return -ENOMEM;
	for (;;) {
		fd = open_lock(directory, path, like);
		if (fd == -EEXIST || fd == -ENOENT)
			continue; /* created or removed by another process at this moment */
		error = fd < 0 ? fd : file_lock_wait(fd, LOCK_EX, timeout);
		/* A lock file that was removed meanwhile excludes nobody. */
		if (error < 0 || is_file(directory, path, fd))
			break;
		close(fd);
	}
	if (error < 0 && fd >= 0)
		close(fd);
	free(path);
	return error < 0 ? error : fd;
}
