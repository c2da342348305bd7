/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* last_good_file: the file of last_good: the last applied set, readable at any instant,
 * whichever process is killed when. Any thread, no lock held. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_size.h"
#include "base/message.h"
#include "run/last_good.h"

/* Until the end of the file or of the buffer; a signal does not end it. [P9] */
static int read_all(int fd, char *buffer, size_t size, size_t *length)
{
	for (*length = 0; *length < size;) {
		ssize_t n = read(fd, buffer + *length, size - *length);
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			*length += (size_t)n;
	}
	return 0;
}

/* What was live can be live again, whatever min_nodes says today; but nothing is not a set to fall
 * back to. */
static int check(const struct settings *settings, const struct nodeset *set, char *why,
		 size_t why_size)
{
	if (set->count == 0 && set->fault_count == 0 && !settings->rails.allow_empty)
		return message_set(why, why_size, -ERANGE, "it has no nodes");
	return nodeset_usable(set, why, why_size);
}

/* A byte of text becomes six at most ("\\u0001"), and the text of a live set is no more than that
 * of two documents: entries that are faulty now stay as they were. Then some 60 bytes for each
 * node. */
size_t last_good_max_bytes(const struct settings *settings)
{
	const struct nodeset_limits *limits = &settings->limits;
	size_t bytes, groups, sum;

	return __builtin_mul_overflow(limits->max_bytes, 16, &bytes) ||
			       __builtin_mul_overflow(limits->max_nodes, 128, &groups) ||
			       __builtin_add_overflow(bytes, groups, &sum)
		       ? SIZE_MAX
		       : sum;
}

/* How many groups it has, however broken it is: one for each node. Block by block, for it may be
 * too large for memory. */
static size_t count_groups(int fd)
{
	static const char key[] = "\"targets\"";
	char block[4096];
	size_t kept = 0, length, count = 0;
	off_t at = 0;
	ssize_t n;

	while ((n = pread(fd, block + kept, sizeof(block) - kept, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return LAST_GOOD_UNKNOWN;
		at += n;
		length = kept + (size_t)n;
		for (size_t i = 0; i + sizeof(key) - 1 <= length; i++)
			count += memcmp(block + i, key, sizeof(key) - 1) == 0;
		/* The end of this block may be the beginning of a key, and never a whole one. */
		kept = length < sizeof(key) - 2 ? length : sizeof(key) - 2;
		memmove(block, block + length - kept, kept);
	}
	return count;
}

/* The set in an open file. */
static int load(struct nodeset **out, int fd, const struct settings *settings, char *why,
		size_t why_size)
{
	const struct nodeset_limits limits = {.max_bytes = last_good_max_bytes(settings),
					      .max_nodes = settings->limits.max_nodes};
	struct stat status;
	char *buffer = NULL;
	size_t length;
	int error = 0;

	if (fstat(fd, &status) < 0)
		error = message_set(why, why_size, -errno, "%s", safestart_strerror(errno));
	else if (!S_ISREG(status.st_mode))
		error = message_set(why, why_size, -EINVAL, "it is not a regular file");
	else if (status.st_size > 0 && (size_t)status.st_size > limits.max_bytes)
		error = message_set(why, why_size, -E2BIG,
				    "it has %zu bytes, too many for max_bytes",
				    (size_t)status.st_size);
	else if ((buffer = malloc((size_t)status.st_size + 1)) == NULL)
		error = message_set(why, why_size, -ENOMEM, "out of memory");
	if (error == 0) {
		error = read_all(fd, buffer, (size_t)status.st_size, &length);
		if (error < 0)
			message_set(why, why_size, error, "%s", safestart_strerror(error));
	}
	if (error == 0)
		error = nodeset_parse(out, buffer, length, &limits, why, why_size);
	if (error == 0)
		error = check(settings, *out, why, why_size);
	if (error < 0) {
		nodeset_unref(*out);
		*out = NULL;
	}
	free(buffer);
	return error;
}

/* Whatever is in the file: an error in words, never a crash. It is opened without waiting, for a
 * FIFO in its place must not stop a server from starting. */
int last_good_load(struct nodeset **out, size_t *unread, const struct settings *settings, char *why,
		   size_t why_size)
{
	struct stat status;

	*out = NULL;
	*unread = 0;
	int fd = open(settings->last_good, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		int error = -errno;
		*unread = error == -ENOENT ? 0 : LAST_GOOD_UNKNOWN;
		return message_set(why, why_size, error, "%s", safestart_strerror(error));
	}
	int error = load(out, fd, settings, why, why_size);
	/* What is no file at all was not kept by this library: nothing can be lost. */
	if (error < 0 && !(fstat(fd, &status) == 0 && !S_ISREG(status.st_mode)))
		*unread = count_groups(fd);
	close(fd);
	return error;
}

/* All of it: half a document would be refused at the next start. */
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

/* Where its name begins, behind the directory's. */
static size_t base_at(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? (size_t)(slash + 1 - path) : 0;
}

/* The directory that `path` is in; -1: it cannot be opened. */
static int open_directory(const char *path)
{
	char *directory = strdup(path);
	char *slash = directory != NULL ? strrchr(directory, '/') : NULL;

	if (slash != NULL)
		slash[slash == directory ? 1 : 0] = '\0';
	int fd = directory != NULL
			 ? open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
			 : -1;
	free(directory);
	return fd;
}

/* Without it the new name may be gone after a power cut, and the old one too on some file systems.
 */
static void sync_directory(const char *path)
{
	int fd = open_directory(path);

	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
}

/* ---- What the dead have left ---- */

/* .BASE.safestart.PROCESS.TIME, as make_beside() names it: nobody else's file has such a name. */
static bool is_temporary(const char *name, const char *base)
{
	static const char mark[] = ".safestart.";
	size_t length = strlen(base);

	if (name[0] != '.' || strncmp(name + 1, base, length) != 0)
		return false;
	name += 1 + length;
	return strncmp(name, mark, sizeof(mark) - 1) == 0 &&
	       strspn(name + sizeof(mark) - 1, "0123456789.") == strlen(name + sizeof(mark) - 1);
}

/* A process that still writes it holds the lock. */
static void remove_if_dead(int directory, const char *name)
{
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(directory, name, 0);
	if (fd >= 0)
		close(fd);
}

/* A process that was killed while it wrote has left its temporary file; nothing else removes it.
 * [P18]
 */
static void sweep(const char *path)
{
	const char *base = path + base_at(path);
	int fd = open_directory(path);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	/* No other thread has this stream. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (is_temporary(entry->d_name, base))
			remove_if_dead(fd, entry->d_name);
	}
	if (directory != NULL)
		closedir(directory);
	else if (fd >= 0)
		close(fd);
}

/* ---- Saving ---- */

/* A name of its own: two processes that keep the same file, perhaps both process 1 of a container,
 * must not write into each other's. */
static int make_beside(const char *path, char **name)
{
	size_t at = base_at(path);

	if (asprintf(name, "%.*s.%s.safestart.%ld.%lld", (int)at, path, path + at, (long)getpid(),
		     (long long)loop_now()) < 0) {
		*name = NULL;
		return -ENOMEM;
	}
	int fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? -errno : fd;
}

/* Until it was locked it looked like what the dead have left: a sweeper has it in hand, or has
 * removed it. Where the file system has no locks nothing is swept. */
static bool lock_or_is_swept(int fd)
{
	struct stat status;

	return flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno == EWOULDBLOCK
						: fstat(fd, &status) == 0 && status.st_nlink == 0;
}

/* Returns the descriptor, locked. All workers of a server keep the same file at the same moment,
 * and each sweeps first. */
static int open_beside(const char *path, char **name)
{
	int fd = make_beside(path, name);

	for (int tries = 0; fd >= 0 && tries < 100 && lock_or_is_swept(fd); tries++) {
		unlink(*name);
		close(fd);
		free(*name);
		fd = make_beside(path, name);
	}
	return fd;
}

/* Written beside it, synced, and renamed over it: at any instant the name leads to a whole set, the
 * old one or the new one, whichever process is killed when. [P18] */
static int save(const char *path, const char *json, char *why, size_t why_size)
{
	char *name;

	int fd = open_beside(path, &name), error = fd;
	if (fd < 0) {
		message_set(why, why_size, error, "cannot write a temporary file beside it: %s",
			    safestart_strerror(error));
	} else {
		error = write_all(fd, json, strlen(json));
		if (error == 0 && fsync(fd) < 0)
			error = -errno;
		if (error == 0 && rename(name, path) < 0)
			error = -errno;
		if (error < 0) {
			unlink(name);
			message_set(why, why_size, error, "%s", safestart_strerror(error));
		}
		close(fd); /* written and synced: nothing it could still say */
	}
	free(name);
	return error;
}

int last_good_save(const char *path, const char *json, char *why, size_t why_size)
{
	if (file_size_is_too_large(strlen(json)))
		return message_set(why, why_size, -EFBIG,
				   "%s: it would have %zu bytes; raise RLIMIT_FSIZE",
				   safestart_strerror(EFBIG), strlen(json));
	sweep(path);
	int error = save(path, json, why, why_size);
	if (error == -ENOENT) /* another process removed it before it was locked */
		error = save(path, json, why, why_size);
	if (error < 0)
		return error;
	message_set(why, why_size, 0, "%s", "");
	sync_directory(path);
	return 0;
}
