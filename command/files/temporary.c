/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* temporary: an unnamed file where the file system has them, which is gone if the process is killed
 * [P18]. A named one is locked while its process lives. Main thread only; no messages. */
#include "files/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMES 1000 /* of one process; other containers may have the same process id */

static bool is_inode(const struct stat *one, const struct stat *other)
{
	return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

bool temporary_is_as_read(int fd, const struct temporary_old *old)
{
	struct stat now;
	char block[65536];
	size_t at = 0;
	ssize_t n = 1;

	if (fstat(fd, &now) < 0 || !is_inode(&now, old->status))
		return false;
	while (n > 0) {
		n = pread(fd, block, sizeof(block), (off_t)at);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n < 0 || (size_t)n > old->length - at ||
		    memcmp(block, old->text + at, (size_t)n) != 0)
			return false;
		at += (size_t)n;
	}
	return at == old->length;
}

static bool names_as_read(const struct temporary *temporary, const char *name,
			  const struct temporary_old *old)
{
	int fd = openat(temporary->directory, name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	bool same = fd >= 0 && temporary_is_as_read(fd, old);

	if (fd >= 0)
		close(fd);
	return same;
}

/* Removes what killed processes left: nobody has it locked. */
static void remove_left(const struct temporary *temporary)
{
	int fd = openat(temporary->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd >= 0 ? fdopendir(fd) : NULL;
	size_t length = strlen(temporary->place);

	/* No other thread reads this directory. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	for (const struct dirent *one; names != NULL && (one = readdir(names)) != NULL;) {
		if (one->d_name[0] != '.' ||
		    strncmp(one->d_name + 1, temporary->place, length) != 0 ||
		    strncmp(one->d_name + 1 + length, ".safestart.", 11) != 0)
			continue;
		int left = openat(temporary->directory, one->d_name,
				  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (left >= 0 && flock(left, LOCK_EX | LOCK_NB) == 0)
			(void)unlinkat(temporary->directory, one->d_name, 0);
		if (left >= 0)
			close(left);
	}
	if (names != NULL)
		closedir(names);
	else if (fd >= 0)
		close(fd);
}

/* Links the unnamed file, or creates a named one, under the first name that is free. 0 or -errno.
 */
static int take_name(struct temporary *temporary)
{
	char from[40];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", temporary->fd);
	for (unsigned n = 0; n < NAMES; n++) {
		char *name;
		int result;
		if (asprintf(&name, ".%s.safestart.%d.%u", temporary->place, (int)getpid(), n) < 0)
			return -ENOMEM;
		if (temporary->fd >= 0)
			result = linkat(AT_FDCWD, from, temporary->directory, name,
					AT_SYMLINK_FOLLOW);
		else
			result = temporary->fd =
				openat(temporary->directory, name,
				       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (result >= 0) {
			temporary->name = name;
			return 0;
		}
		int number = errno;
		free(name);
		if (number != EEXIST)
			return number > 0 ? -number : -EIO;
	}
	return -EEXIST;
}

int temporary_folder(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1,
	    error = folder == NULL ? -ENOMEM : -errno;

	free(folder);
	*name = slash + 1;
	return fd >= 0 ? fd : error;
}

int temporary_begin(struct temporary *temporary, const char *path)
{
	int error = 0;

	*temporary = (struct temporary){.fd = -1};
	temporary->directory = temporary_folder(path, &temporary->place);
	if (temporary->directory < 0)
		return temporary->directory;
	remove_left(temporary);
	/* Without /proc it would never get a name. */
	if (access("/proc/self/fd", X_OK) == 0)
		temporary->fd =
			openat(temporary->directory, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (temporary->fd < 0)
		error = take_name(temporary);
	if (error == 0 && flock(temporary->fd, LOCK_EX | LOCK_NB) < 0)
		error = -errno;
	return error;
}

static bool stat_at(const struct temporary *temporary, const char *name, struct stat *status)
{
	return fstatat(temporary->directory, name, status, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool exchange(const struct temporary *temporary)
{
	const unsigned exchange_names = 1u << 1; /* RENAME_EXCHANGE */
#ifdef HAVE_RENAMEAT2
	return renameat2(temporary->directory, temporary->name, temporary->directory,
			 temporary->place, exchange_names) == 0;
#else /* musl */
	return syscall(SYS_renameat2, temporary->directory, temporary->name, temporary->directory,
		       temporary->place, exchange_names) == 0;
#endif
}

/* The file that came out is another program's, and goes back. That program may have put a still
 * newer one in place meanwhile, which then comes out: until what comes out is what was put in. */
static int put_back(const struct temporary *temporary, struct stat put, struct stat came)
{
	struct stat now;

	while (exchange(temporary) && stat_at(temporary, temporary->name, &now) &&
	       !is_inode(&now, &put)) {
		put = came;
		came = now;
	}
	return -ESTALE;
}

/* rename() would overwrite what another program has put there since the last look. So the two files
 * are exchanged, and the one that comes out is looked at. */
static int exchange_with(const struct temporary *temporary, const struct temporary_old *old)
{
	struct stat own, came;

	if (fstat(temporary->fd, &own) < 0)
		return -errno;
	if (!exchange(temporary))
		return -errno;
	if (!stat_at(temporary, temporary->name, &came))
		return -errno;
	return names_as_read(temporary, temporary->name, old) ? 0 : put_back(temporary, own, came);
}

int temporary_place(struct temporary *temporary, const struct temporary_old *old)
{
	int error = temporary->name == NULL ? take_name(temporary) : 0;

	if (temporary->name == NULL)
		return error != 0 ? error : -EIO;
	if (error == 0 && old != NULL && !names_as_read(temporary, temporary->place, old))
		error = -ESTALE;
	if (error != 0)
		return error;
	error = old != NULL ? exchange_with(temporary, old) : -EINVAL;
	/* Not every file system can exchange two files. */
	if (error == -EINVAL || error == -ENOSYS) {
		error = renameat(temporary->directory, temporary->name, temporary->directory,
				 temporary->place) < 0
				? -errno
				: 0;
		if (error == 0) {
			free(temporary->name);
			temporary->name = NULL;
		}
	}
	/* The new file is in place; the directory is synced so that this outlives a power cut. */
	if (error == 0)
		(void)fsync(temporary->directory);
	return error;
}

void temporary_end(struct temporary *temporary)
{
	if (temporary->name != NULL) /* the new file, or the old one that came out */
		(void)unlinkat(temporary->directory, temporary->name, 0);
	free(temporary->name);
	if (temporary->fd >= 0)
		close(temporary->fd);
	if (temporary->directory >= 0)
		close(temporary->directory);
}
