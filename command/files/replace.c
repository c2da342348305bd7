/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replace: locks a file, reads it, and puts a new one in its place by rename(). One thread; it uses
 * SIGALRM while it waits for the lock, and restores what was set before. */
#include "files/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/report.h"

#define BYTES_MAX ((off_t)1 << 30)
#define LOCK_TIMEOUT_S 30

/* ---- The lock ---- */

static void on_alarm(int signal)
{
	(void)signal; /* it only interrupts flock() */
}

/* Blocks in flock(), because the kernel queues those that wait; polling could starve one. 0 or
 * -errno. */
static int lock_file(int fd)
{
	const struct sigaction interrupt = {.sa_handler = on_alarm};
	/* Repeated every second: the first may fire before flock() has begun to wait. */
	const struct itimerval limit = {{1, 0}, {LOCK_TIMEOUT_S, 0}}, none = {0};
	struct sigaction before;
	int error = 0;

	sigaction(SIGALRM, &interrupt, &before);
	setitimer(ITIMER_REAL, &limit, NULL);
	if (flock(fd, LOCK_EX) < 0)
		error = errno == EINTR ? -ETIMEDOUT : -errno;
	setitimer(ITIMER_REAL, &none, NULL);
	sigaction(SIGALRM, &before, NULL);
	return error;
}

/* Does the path still name the file that was opened? */
static bool is_same_file(const char *path, const struct stat *status)
{
	struct stat now;

	return stat(path, &now) == 0 && now.st_dev == status->st_dev &&
	       now.st_ino == status->st_ino;
}

/* Some file systems lock only what is open for writing. */
static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd >= 0 ? fd : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* Every message says that nothing was changed, or what to do. */
static int report_open_error(const char *path, int error)
{
	if (error == -ENOENT)
		return report(EXIT_FAILED,
			      "there is no file %s; to begin a new one: echo '[]' > %s", path,
			      path);
	if (error == -EACCES)
		return report(EXIT_FAILED,
			      "no permission to read %s; run this as its owner or as root", path);
	if (error == -ETIMEDOUT)
		return report(EXIT_NOT_YET,
			      "another process has held the lock for %d s (see lslocks); nothing "
			      "was changed in %s",
			      LOCK_TIMEOUT_S, path);
	return report(EXIT_FAILED, "cannot use the node file: %s: %s; nothing was changed",
		      safestart_strerror(error), path);
}

static int read_file(int fd, const struct stat *status, char **text, size_t *length)
{
	size_t size = (size_t)status->st_size;

	*text = malloc(size + 1);
	if (*text == NULL)
		return -ENOMEM;
	for (*length = 0; *length < size;) {
		ssize_t n = read(fd, *text + *length, size - *length);
		if (n < 0 && errno != EINTR) {
			int error = -errno;
			free(*text);
			return error;
		}
		if (n == 0)
			break;
		*length += n > 0 ? (size_t)n : 0;
	}
	(*text)[*length] = '\0';
	return 0;
}

/* The process that held the lock before may have replaced the file: then the new file is the one to
 * lock. */
static int open_locked(const char *path, bool locked, int *fd, struct stat *status)
{
	for (;;) {
		*fd = open_file(path);
		if (*fd < 0)
			return -errno;
		int error = locked ? lock_file(*fd) : 0;
		if (error == 0 && fstat(*fd, status) < 0)
			error = -errno;
		if (error == 0 && !S_ISREG(status->st_mode))
			error = S_ISDIR(status->st_mode) ? -EISDIR : -EINVAL;
		if (error == 0 && status->st_size > BYTES_MAX)
			error = -E2BIG;
		if (error == 0 && (!locked || is_same_file(path, status)))
			return 0;
		close(*fd);
		*fd = -1;
		if (error < 0)
			return error;
	}
}

int replace_begin(const char *given, bool locked, char **path, int *fd, struct stat *status,
		  char **text, size_t *length)
{
	*fd = -1;
	*text = NULL;
	*path = realpath(given, NULL);
	int error = *path == NULL ? -errno : open_locked(*path, locked, fd, status);
	if (error == 0)
		error = read_file(*fd, status, text, length);
	if (error == 0)
		return 0;
	if (*fd >= 0)
		close(*fd);
	free(*path);
	*fd = -1;
	*path = NULL;
	*text = NULL;
	return report_open_error(given, error);
}

/* ---- Replacing ---- */

static int write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, text, length);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/* The owner before the mode: changing the owner clears set-uid bits. */
static int copy_owner(int fd, const struct stat *like)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if ((status.st_uid != like->st_uid || status.st_gid != like->st_gid) &&
	    fchown(fd, like->st_uid, like->st_gid) < 0)
		return -errno == -EPERM ? -ENOTSUP : -errno;
	return fchmod(fd, like->st_mode & 07777) < 0 ? -errno : 0;
}

/* The new contents are on the disk before rename() makes them visible: after a power cut the file
 * is the old or the new one, never half of it [P18]. */
static int write_temporary(const char *name, int directory, const struct stat *like,
			   const char *text, size_t length)
{
	/* The name is fixed, because only the holder of the lock writes it: what a killed process
	 * left is removed [P18]. */
	(void)unlinkat(directory, name, 0);
	int fd =
		openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int error = write_all(fd, text, length);
	if (error == 0)
		error = copy_owner(fd, like);
	if (error == 0 && fsync(fd) < 0)
		error = -errno;
	if (close(fd) < 0 && error == 0)
		error = -errno;
	return error;
}

static int report_replace_error(const char *path, int error, const struct stat *like)
{
	if (error == -ENOTSUP)
		return report(EXIT_FAILED,
			      "cannot keep the file's owner, user %u, group %u; run this as that "
			      "user or as root; nothing was changed in %s",
			      (unsigned)like->st_uid, (unsigned)like->st_gid, path);
	if (error == -EACCES || error == -EPERM)
		return report(EXIT_FAILED,
			      "no permission to write in the directory of %s, where the new file "
			      "is prepared; run this as the owner of the directory or as root; "
			      "nothing was changed",
			      path);
	if (error == -ENOSPC || error == -EDQUOT)
		return report(EXIT_FAILED,
			      "no space left: %s; nothing was changed in %s; free some space and "
			      "try again",
			      safestart_strerror(error), path);
	if (error == -ESTALE)
		return report(EXIT_NOT_YET,
			      "another program replaced the file meanwhile, without its lock; "
			      "nothing was changed in %s; try again",
			      path);
	return report(EXIT_FAILED, "cannot replace the file: %s; nothing was changed in %s",
		      safestart_strerror(error), path);
}

/* Size and time too: it may have been written in place. */
static bool is_unchanged(const char *path, const struct stat *status)
{
	struct stat now;

	return is_same_file(path, status) && stat(path, &now) == 0 &&
	       now.st_size == status->st_size && now.st_mtim.tv_sec == status->st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == status->st_mtim.tv_nsec;
}

/* Writes a temporary file in the same directory, then renames it over the old one. */
int replace_file(const char *path, int locked, const struct stat *like, const char *text,
		 size_t length)
{
	const char *slash =
		strrchr(path, '/'); /* there is one: the path is absolute, or begins with "./" */
	char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path)), *name = NULL;
	int directory = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1,
	    error = -ENOMEM;

	(void)signal(SIGXFSZ,
		     SIG_IGN); /* exceeding a limit of file size is an error, not a signal */
	if (folder != NULL && directory < 0)
		error = -errno;
	else if (folder != NULL && asprintf(&name, ".%s.safestart", slash + 1) >= 0)
		error = write_temporary(name, directory, like, text, length);
	if (error == 0 && locked >= 0 && !is_unchanged(path, like))
		error = -ESTALE;
	if (error == 0 && renameat(directory, name, directory, slash + 1) < 0)
		error = -errno;
	/* The new file is in place; the directory is synced so that this outlives a power cut. */
	if (error == 0)
		(void)fsync(directory);
	else if (name != NULL && directory >= 0 && error != -EACCES)
		(void)unlinkat(directory, name, 0);
	if (directory >= 0)
		close(directory);
	free(name);
	free(folder);
	return error == 0 ? 0 : report_replace_error(path, error, like);
}
