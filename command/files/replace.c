/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replace: locks a file, reads it, and puts a new one in its place. Main thread only. */
#include "files/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/report.h"
#include "files/attributes.h"
#include "files/file_lock.h"
#include "files/temporary.h"

#define BYTES_MAX ((off_t)1 << 30)
#define SECOND INT64_C(1000000000)
#define LOCK_TIMEOUT (30 * SECOND)

/* ---- Opening ---- */

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
static int report_open_error(const char *path, int error, const struct stat *status)
{
	(void)status;
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
			      (int)(LOCK_TIMEOUT / SECOND), path);
	return report(EXIT_FAILED, "cannot use the node file: %s: %s; nothing was changed",
		      safestart_strerror(error), path);
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
	if (error == -ETIMEDOUT)
		return report(EXIT_NOT_YET,
			      "another process has held the lock for %d s (see lslocks); nothing "
			      "was changed in %s",
			      (int)(LOCK_TIMEOUT / SECOND), path);
	if (error == -ESTALE)
		return report(EXIT_NOT_YET,
			      "another program replaced the file meanwhile, without its lock; "
			      "nothing was changed in %s; try again",
			      path);
	if (error == -EBUSY)
		return report(EXIT_FAILED,
			      "the file is mounted by itself, so it cannot be replaced; mount its "
			      "directory, or write it with --in-place; nothing was changed in %s",
			      path);
	return report(EXIT_FAILED, "cannot replace the file: %s; nothing was changed in %s",
		      safestart_strerror(error), path);
}

static int read_file(const struct replace *replace, char **text, size_t *length)
{
	size_t size = (size_t)replace->status.st_size;

	*text = malloc(size + 1);
	if (*text == NULL)
		return -ENOMEM;
	for (*length = 0; *length < size;) {
		ssize_t n = read(replace->fd, *text + *length, size - *length);
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

/* In place, the file stays, and is the lock itself. Otherwise the lock file is, and a process that
 * locks the file itself may be a reader: it does not have the last word. */
static int lock_open_file(const struct replace *replace)
{
	if (replace->how.in_place)
		return file_lock_wait(replace->fd, LOCK_EX, LOCK_TIMEOUT);
	int error = file_lock_wait(replace->fd, LOCK_SH, LOCK_TIMEOUT);
	if (error == -ETIMEDOUT)
		return report(0,
			      "a process that may only be a reader has had %s locked with flock "
			      "for %d s (see lslocks); going on without waiting for it",
			      replace->path, (int)(LOCK_TIMEOUT / SECOND));
	return error;
}

static int open_once(struct replace *replace, bool locked)
{
	if (replace->fd >= 0)
		close(replace->fd);
	replace->fd = open_file(replace->path);
	if (replace->fd < 0)
		return -errno;
	int error = locked ? lock_open_file(replace) : 0;
	if (error == 0 && fstat(replace->fd, &replace->status) < 0)
		error = -errno;
	if (error == 0 && !S_ISREG(replace->status.st_mode))
		error = S_ISDIR(replace->status.st_mode) ? -EISDIR : -EINVAL;
	if (error == 0 && replace->status.st_size > BYTES_MAX)
		error = -E2BIG;
	return error;
}

/* While the lock was waited for, another process may have replaced the file: then the new file is
 * the one to open. */
static int open_current(struct replace *replace, bool locked)
{
	for (;;) {
		int error = open_once(replace, locked);
		if (error == 0 && (!locked || is_same_file(replace->path, &replace->status)))
			return 0;
		if (error < 0)
			return error;
	}
}

static int take_lock(struct replace *replace)
{
	const char *name;
	int directory = temporary_folder(replace->path, &name);

	if (directory < 0)
		return directory;
	replace->lock = file_lock_take(directory, name, &replace->status, LOCK_TIMEOUT);
	close(directory);
	return replace->lock < 0 ? replace->lock : 0;
}

void replace_end(struct replace *replace)
{
	if (replace->fd >= 0)
		close(replace->fd);
	if (replace->lock >= 0)
		close(replace->lock);
	free(replace->path);
	*replace = (struct replace){.lock = -1, .fd = -1};
}

/* Opened once before the lock file is, for its owner, and so that a file which cannot be read gets
 * no lock file; then looked at again under the lock. */
int replace_begin(struct replace *replace, const char *given, const struct replace_how *how,
		  char **text, size_t *length)
{
	int (*report_it)(const char *, int, const struct stat *) = report_open_error;

	*replace = (struct replace){.path = realpath(given, NULL), .lock = -1, .fd = -1};
	*text = NULL;
	if (how != NULL)
		replace->how = *how;
	int error = replace->path == NULL ? -errno : open_current(replace, false);
	if (error == 0 && how != NULL && !how->in_place && (error = take_lock(replace)) < 0)
		report_it = report_replace_error;
	if (error == 0 && how != NULL)
		error = open_current(replace, true);
	if (error == 0)
		error = read_file(replace, text, length);
	if (error == 0)
		return 0;
	int code = report_it(given, error, &replace->status);
	replace_end(replace);
	return code;
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

/* The new contents are on the disk before they become visible: after a power cut the file is the
 * old or the new one, never half of it [P18]. `old`: see temporary_place(). */
static int write_new(const char *path, int from, const struct stat *like,
		     const struct temporary_old *old, bool lose, const char *text, size_t length)
{
	struct temporary temporary;
	char which[64];

	(void)signal(SIGXFSZ,
		     SIG_IGN); /* exceeding a limit of file size is an error, not a signal */
	int error = temporary_begin(&temporary, path);
	if (error == 0)
		error = write_all(temporary.fd, text, length);
	if (error == 0)
		error = attributes_copy(from, temporary.fd, like, lose, which);
	bool lacking = error == -ENODATA;
	if (error == 0 && fsync(temporary.fd) < 0)
		error = -errno;
	if (error == 0)
		error = temporary_place(&temporary, old);
	temporary_end(&temporary);
	if (lacking)
		return report(EXIT_FAILED,
			      "cannot keep the attribute %s of the file; run this as root, or do "
			      "without it with --lose-attributes; nothing was changed in %s",
			      which, path);
	return error == 0 ? 0 : report_replace_error(path, error, like);
}

int replace_other(const char *path, int from, const struct stat *like, const char *text,
		  size_t length)
{
	return write_new(path, from, like, NULL, true, text, length);
}

/* ---- In place ---- */

static int overwrite(int fd, const char *text, size_t length)
{
	int error = lseek(fd, 0, SEEK_SET) < 0 ? -errno : write_all(fd, text, length);

	if (error == 0 && ftruncate(fd, (off_t)length) < 0)
		error = -errno;
	return error == 0 && fsync(fd) < 0 ? -errno : error;
}

/* After an error the old text is written again; there is room for it, unless the disk is full. */
static int write_in_place(const struct replace *replace, const char *text, size_t length,
			  const struct temporary_old *old)
{
	(void)signal(SIGXFSZ, SIG_IGN);
	if (!temporary_is_as_read(replace->fd, old))
		return report_replace_error(replace->path, -ESTALE, &replace->status);
	int error = overwrite(replace->fd, text, length);
	if (error == 0)
		return 0;
	if (error == -EBADF) /* it could only be opened for reading */
		return report(EXIT_FAILED,
			      "no permission to write to %s; run this as its owner or as root; "
			      "nothing was changed",
			      replace->path);
	bool restored = overwrite(replace->fd, old->text, old->length) == 0;
	return report(EXIT_FAILED, "cannot write to the file in place: %s; %s: %s",
		      safestart_strerror(error),
		      restored ? "the old contents were written again"
			       : "the old contents could not be written again either; restore it",
		      replace->path);
}

int replace_write(const struct replace *replace, const char *text, size_t length,
		  const char *before, size_t before_length)
{
	const struct temporary_old old = {.status = &replace->status,
					  .text = before,
					  .length = before_length};

	if (replace->how.in_place)
		return write_in_place(replace, text, length, &old);
	int code = write_new(replace->path, replace->fd, &replace->status, &old,
			     replace->how.lose_attributes, text, length);
	if (code == 0 && replace->status.st_nlink > 1)
		(void)report(0,
			     "the file had %lu names (hard links); only this one has the new "
			     "contents, the others keep the old ones; to change all of them: "
			     "--in-place: %s",
			     (unsigned long)replace->status.st_nlink, replace->path);
	return code;
}
