/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock/file: opens, checks, locks, reads and writes the lock file of file.h. Dispatching thread,
 * and the fork handlers. Every open, lock, read and write may fail or find any content: that is an
 * error for the caller, never an invariant. */
#include "lock/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_size.h"
#include "base/invariant.h"
#include "base/message.h"

static const char magic[] = "safestart lock 1\n";

/* Only an open file can have room reserved. */
static inline __attribute__((unused)) bool file_holds(const struct lock_file *file)
{
	return file->fd >= -1 && (file->fd >= 0 || !file->allocated);
}

/* The bytes lie inside their part. */
static inline __attribute__((unused)) bool part_holds(enum lock_part part, size_t size)
{
	return size > 0 && ((part == LOCK_HEAD && size <= LOCK_HEAD_SIZE) ||
			    (part == LOCK_DONE && size <= LOCK_OPEN - LOCK_DONE) ||
			    (part == LOCK_OPEN && size <= LOCK_END - LOCK_OPEN));
}

void lock_file_init(struct lock_file *file, const char *path)
{
	*file = (struct lock_file){.path = path, .fd = -1};
	pthread_mutex_init(&file->opening, NULL);
	invariant(file_holds(file));
}

/* Closing the file gives up its locks. */
static void close_file(struct lock_file *file)
{
	pthread_mutex_lock(&file->opening);
	invariant(file_holds(file));
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	file->allocated = false;
	pthread_mutex_unlock(&file->opening);
}

void lock_file_clear(struct lock_file *file)
{
	close_file(file);
	invariant(file->fd == -1);
	invariant(!file->allocated);
	pthread_mutex_destroy(&file->opening);
}

int lock_file_check_path(const char *path, char *why, size_t why_size)
{
	const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;

	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return message_set(why, why_size, -EINVAL,
				   "lock=%.60s names a directory; name a file in it", path);
	if (strlen(base) > NAME_MAX || strlen(path) >= PATH_MAX)
		return message_set(why, why_size, -EINVAL,
				   "lock=%.60s… is longer than a path may be", path);
	return 0;
}

/* ---- Which file may be a lock ---- */

/* In a directory like /tmp any user may put anything at our path: no link is followed, no device or
 * FIFO is waited for, no content is trusted. */
#define FLAGS (O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

/* The cause with its remedy. */
static int cannot_open(int error, char *why, size_t why_size)
{
	const char *remedy;

	switch (-error) {
	case ELOOP:
		remedy = "it is a symbolic link, which is not followed; name the file itself";
		break;
	case EISDIR: remedy = "it is a directory; name a file in it"; break;
	case ENOENT:
	case ENOTDIR: remedy = "there is no such directory; create it, or name another"; break;
	case EACCES:
	case EPERM:
		remedy = "permission denied; allow this user to write the file (and its "
			 "directory, to create it), or name another";
		break;
	case EROFS:
		remedy = "the file system is read-only; name a file on another one, such as in "
			 "/run";
		break;
	default: remedy = safestart_strerror(error); break;
	}
	return message_set(why, why_size, error, "%s", remedy);
}

/* First without O_CREAT: in a directory with the sticky bit the kernel refuses O_CREAT for a file
 * that exists and belongs to another user, such as root. */
static int open_or_create(struct lock_file *file)
{
	int error = -EAGAIN;

	invariant(file->fd == -1);
	invariant(!file->allocated);
	pthread_mutex_lock(&file->opening);
	for (int tries = 0; tries < 8 && (error == -EAGAIN || error == -EINTR); tries++) {
		file->fd = open(file->path, FLAGS);
		if (file->fd < 0 && errno == ENOENT)
			file->fd = open(file->path, FLAGS | O_CREAT | O_EXCL, 0600);
		error = file->fd >= 0 ? 0 : errno == EEXIST ? -EAGAIN : -errno;
	}
	pthread_mutex_unlock(&file->opening);
	invariant((error == 0) == (file->fd >= 0));
	return error;
}

static int check_file(const struct stat *status, char *why, size_t why_size)
{
	if (!S_ISREG(status->st_mode))
		return message_set(why, why_size, -EINVAL,
				   "it is not a regular file; it was not changed; name another");
	if (status->st_uid != geteuid() && status->st_uid != 0)
		return message_set(why, why_size, -EPERM,
				   "it belongs to user %u, and that user could replace it or keep "
				   "it "
				   "locked; only a file of this user or root is used; remove it, "
				   "or name "
				   "one in a directory that no other user can write",
				   (unsigned)status->st_uid);
	if (status->st_nlink > 1)
		return message_set(why, why_size, -EPERM,
				   "it has %lu hard links, so it may be other data; it was not "
				   "changed; remove this link, or name another file",
				   (unsigned long)status->st_nlink);
	return 0;
}

static bool empty_from(const char *bytes, size_t from, size_t size)
{
	while (from < size && bytes[from] == '\0')
		from++;
	return from == size;
}

/* A file that was cut off within the magic line gets the line again: the same bytes that its next
 * holder writes, so it does not matter who holds LOCK_RUN. */
static int heal(const struct lock_file *file, char *why, size_t why_size)
{
	int error = lock_file_write(file, LOCK_HEAD, magic, sizeof(magic) - 1);

	if (error < 0)
		return message_set(why, why_size, error,
				   "it is truncated and cannot be written: %s",
				   safestart_strerror(error));
	return 1;
}

/* An empty file is taken, and so is one of NUL bytes, as a power failure can leave. Everything else
 * has to begin with the magic line, or with as much of it as the file is long. */
static int check_content(const struct lock_file *file, char *why, size_t why_size)
{
	char head[LOCK_HEAD_SIZE];
	size_t length = sizeof(magic) - 1;

	int error = lock_file_read(file, LOCK_HEAD, head, sizeof(head));
	if (error < 0)
		return message_set(why, why_size, error, "it cannot be read: %s",
				   safestart_strerror(error));
	if (empty_from(head, 0, sizeof(head)) || memcmp(head, magic, length) == 0)
		return 0;
	size_t begun = strnlen(head, length);
	if (memcmp(head, magic, begun) == 0 && empty_from(head, begun, sizeof(head)))
		return heal(file, why, why_size);
	if (memcmp(head, magic, length - 2) == 0)
		return message_set(why, why_size, -EINVAL,
				   "another version of libsafestart made it and cannot share it "
				   "with this one; name another file");
	return message_set(why, why_size, -EINVAL,
			   "its content is not a lock of libsafestart; it was not changed; name "
			   "another file, or remove this one if it is not needed");
}

bool lock_file_is_current(const struct lock_file *file)
{
	struct stat open_file, named;

	invariant(file->fd >= 0);
	return fstat(file->fd, &open_file) == 0 &&
	       fstatat(AT_FDCWD, file->path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

static int prepare(struct lock_file *file, char *why, size_t why_size)
{
	struct stat status;

	if (file->fd >= 0 && !lock_file_is_current(file))
		close_file(file);
	if (file->fd < 0) {
		int error = open_or_create(file);
		if (error < 0)
			return cannot_open(error, why, why_size);
	}
	if (fstat(file->fd, &status) < 0)
		return message_set(why, why_size, -errno, "%s", safestart_strerror(errno));
	int error = check_file(&status, why, why_size);
	return error == 0 ? check_content(file, why, why_size) : error;
}

int lock_file_ready(struct lock_file *file, char *why, size_t why_size)
{
	int error = prepare(file, why, why_size);

	if (error < 0)
		close_file(file);
	invariant(error <= 1);
	invariant((error >= 0) == (file->fd >= 0));
	invariant(file_holds(file));
	return error;
}

/* ---- Locks ---- */

static struct flock flock_of(enum lock_byte byte, int type)
{
	invariant(byte == LOCK_RUN || byte == LOCK_STATE);
	return (struct flock){.l_type = (short)type,
			      .l_whence = SEEK_SET,
			      .l_start = (off_t)byte,
			      .l_len = 1};
}

int lock_file_try(struct lock_file *file, enum lock_byte byte)
{
	struct flock lock = flock_of(byte, F_WRLCK);

	invariant(file->fd >= 0);
	if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EINTR ? -EAGAIN : -errno;
}

/* Unlocked explicitly, not by closing: a child between fork and exec has the descriptor as well,
 * and would keep the lock. [P18] */
void lock_file_release(struct lock_file *file, enum lock_byte byte)
{
	struct flock lock = flock_of(byte, F_UNLCK);

	if (fcntl(file->fd, F_OFD_SETLK, &lock) < 0)
		close_file(file);
	invariant(file_holds(file));
}

bool lock_file_is_free(struct lock_file *file, enum lock_byte byte)
{
	struct flock lock = flock_of(byte, F_WRLCK);

	invariant(file->fd >= 0);
	return fcntl(file->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK;
}

/* ---- Bytes ---- */

int lock_file_allocate(struct lock_file *file)
{
	invariant(file_holds(file));
	if (file->allocated)
		return 0;
	int error =
		file_size_is_too_large(LOCK_END) ? EFBIG : posix_fallocate(file->fd, 0, LOCK_END);
	file->allocated = error == 0;
	invariant(file_holds(file));
	return -error;
}

int lock_file_read(const struct lock_file *file, enum lock_part part, char *bytes, size_t size)
{
	ssize_t n;

	invariant(part_holds(part, size));
	do {
		n = pread(file->fd, bytes, size, (off_t)part);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	invariant((size_t)n <= size);
	memset(bytes + n, 0, size - (size_t)n);
	return 0;
}

int lock_file_write(const struct lock_file *file, enum lock_part part, const char *bytes,
		    size_t size)
{
	ssize_t n;

	invariant(part_holds(part, size));
	if (file_size_is_too_large(part + size))
		return -EFBIG;
	do {
		n = pwrite(file->fd, bytes, size, (off_t)part);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n < size ? -ENOSPC : 0;
}

/* ---- The holder's name ---- */

#define HELD "held by "
#define SINCE " since "

/* Times are seconds since boot, as in dmesg, so a step of the wall clock changes nothing. [P8] */
void lock_file_write_holder(const struct lock_file *file, const char *name, bool holds, int64_t now)
{
	char head[LOCK_HEAD_SIZE] = "", clean[80];

	message_copy(clean, sizeof(clean), name);
	message_clean(clean);
	snprintf(head, sizeof(head), "%s%s%s (pid %ld)%s%lld.%03lld s after boot\n", magic,
		 holds ? HELD : "free; was " HELD, clean, (long)getpid(), holds ? SINCE : " until ",
		 (long long)(now / 1000000000), (long long)(now / 1000000 % 1000));
	(void)lock_file_write(file, LOCK_HEAD, head, sizeof(head)); /* the lock works without it */
}

/* How long ago is " since 12.345 s after boot"? 0: it makes no sense. */
static int64_t held_for(const char *since, int64_t now)
{
	int64_t ms = 0;

	for (since += strlen(SINCE);
	     ms < INT64_MAX / 10000000 && ((*since >= '0' && *since <= '9') || *since == '.');
	     since++)
		ms = *since == '.' ? ms : ms * 10 + (*since - '0');
	return ms < INT64_MAX / 10000000 && ms * 1000000 < now ? now - ms * 1000000 : 0;
}

/* "api (pid 4711)" says too little when that process has ended: a child that it made by _Fork() or
 * clone(), without fork handlers, has the descriptor, and with it the lock. */
static void say_if_gone(char *holder, size_t size)
{
	const char *at = strrchr(holder, '(');
	size_t length = strlen(holder);
	long pid = at != NULL && strncmp(at, "(pid ", 5) == 0 ? strtol(at + 5, NULL, 10) : 0;

	if (pid > 0 && pid <= INT_MAX && holder[length - 1] == ')' && kill((pid_t)pid, 0) < 0 &&
	    errno == ESRCH)
		message_set(holder + length - 1, size - length + 1, 0, ", not running here)");
}

int64_t lock_file_holder(const struct lock_file *file, int64_t now, char *holder, size_t size)
{
	char head[LOCK_HEAD_SIZE + 1] = "";
	const size_t skip = sizeof(magic) - 1 + strlen(HELD);
	int64_t since = 0;

	message_copy(holder, size, "an unknown process");
	if (file->fd < 0 || lock_file_read(file, LOCK_HEAD, head, LOCK_HEAD_SIZE) < 0 ||
	    strncmp(head, magic, sizeof(magic) - 1) != 0 ||
	    strncmp(head + sizeof(magic) - 1, HELD, strlen(HELD)) != 0)
		return 0;
	head[skip + strcspn(head + skip, "\n")] = '\0';
	char *at = NULL;
	/* The last one: a name may have the word in it, too. */
	for (char *next = head + skip; (next = strstr(next, SINCE)) != NULL; next++)
		at = next;
	if (at != NULL) {
		since = held_for(at, now);
		*at = '\0';
	}
	message_copy(holder, size, head + skip);
	message_clean(holder);
	say_if_gone(holder, size);
	invariant(since >= 0);
	invariant(strlen(holder) < size);
	return since;
}

/* ---- Fork ---- */

void lock_file_before_fork(struct lock_file *file)
{
	pthread_mutex_lock(&file->opening);
}

void lock_file_after_fork_parent(struct lock_file *file)
{
	pthread_mutex_unlock(&file->opening);
}

void lock_file_after_fork_child(struct lock_file *file)
{
	invariant(file_holds(file));
	/* Closed, not unlocked: the lock belongs to the description that parent and child share, so
	 * unlocking would take it from the parent. [P17] */
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	file->allocated = false;
	pthread_mutex_unlock(&file->opening);
}
