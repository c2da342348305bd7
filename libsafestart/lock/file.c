/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/message.h"

static const char magic[] = "safestart lock 1\n";

void lock_file_init(struct lock_file *file, const char *path)
{
	*file = (struct lock_file){.path = path, .fd = -1};
	pthread_mutex_init(&file->opening, NULL);
}

static void forget(struct lock_file *file)
{
	pthread_mutex_lock(&file->opening);
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	file->allocated = false;
	pthread_mutex_unlock(&file->opening);
}

void lock_file_clear(struct lock_file *file)
{
	forget(file);
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
				   "lock=%.60s… is longer than a path can be", path);
	return 0;
}

/* ---- Which file may be a lock ---- */

/* Any user may put anything under our path in a directory like /tmp: nothing is followed, waited
 * for or trusted. */
#define FLAGS (O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

static int say_cannot_open(int error, char *why, size_t why_size)
{
	const char *remedy =
		error == -ELOOP
			? "it is a symbolic link, which is not followed; name the file itself"
		: error == -EISDIR ? "it is a directory; name a file in it"
		: error == -ENOENT || error == -ENOTDIR
			? "there is no such directory; create it, or name another"
		: error == -EACCES || error == -EPERM
			? "Permission denied: let this user write the file (and its directory, to "
			  "create it), or name another"
		: error == -EROFS ? "the file system is read-only; name one that can be written, "
				    "such as in /run"
				  : safestart_strerror(error);

	return message_set(why, why_size, error, "%s", remedy);
}

/* Not O_CREAT at once: the kernel refuses that for files of others in a directory with the sticky
 * bit. */
static int open_or_create(struct lock_file *file)
{
	int error = -EAGAIN;

	pthread_mutex_lock(&file->opening);
	for (int tries = 0; tries < 8 && file->fd < 0 && (error == -EAGAIN || error == -EINTR);
	     tries++) {
		file->fd = open(file->path, FLAGS);
		if (file->fd < 0 && errno == ENOENT)
			file->fd = open(file->path, FLAGS | O_CREAT | O_EXCL, 0600);
		error = file->fd >= 0 ? 0 : errno == EEXIST ? -EAGAIN : -errno;
	}
	pthread_mutex_unlock(&file->opening);
	return error;
}

static int check_file(const struct stat *status, char *why, size_t why_size)
{
	if (!S_ISREG(status->st_mode))
		return message_set(why, why_size, -EINVAL,
				   "it is not a regular file, and is left alone; name another");
	if (status->st_uid != geteuid() && status->st_uid != 0)
		return message_set(why, why_size, -EPERM,
				   "it belongs to user %u, who could replace or hold it as he "
				   "likes: only our own and root's are used; remove it, or name "
				   "another in a directory that nobody else can write",
				   (unsigned)status->st_uid);
	if (status->st_nlink > 1)
		return message_set(why, why_size, -EPERM,
				   "the file has %lu names (hard links), so it may be somebody's "
				   "data, and is left alone; remove this one, or name another",
				   (unsigned long)status->st_nlink);
	return 0;
}

/* An empty file is nobody's; so is one that lost its bytes with the power. Everything else has to
 * say that it is a lock. */
static int check_content(const struct lock_file *file, char *why, size_t why_size)
{
	char head[LOCK_HEAD_SIZE];
	size_t length = sizeof(magic) - 1, empty = 0;

	int error = lock_file_read(file, LOCK_HEAD, head, sizeof(head));
	if (error < 0)
		return message_set(why, why_size, error, "it can't be read: %s",
				   safestart_strerror(error));
	while (empty < sizeof(head) && head[empty] == '\0')
		empty++;
	if (empty == sizeof(head) || memcmp(head, magic, length) == 0)
		return 0;
	if (memcmp(head, magic, length - 2) == 0)
		return message_set(why, why_size, -EINVAL,
				   "another version of libsafestart has made it, and it can't be "
				   "shared with that; name another file");
	if (head[0] != '\0' && memcmp(head, magic, strnlen(head, length)) == 0)
		return message_set(why, why_size, -EINVAL,
				   "it was cut off; remove it when nothing uses it");
	return message_set(why, why_size, -EINVAL,
			   "what it holds is not a lock of libsafestart's, and is left alone; name "
			   "another file, or remove it if it is not needed");
}

bool lock_file_is_current(const struct lock_file *file)
{
	struct stat open_file, named;

	return fstat(file->fd, &open_file) == 0 &&
	       fstatat(AT_FDCWD, file->path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

static int prepare(struct lock_file *file, char *why, size_t why_size)
{
	struct stat status;

	if (file->fd >= 0 && !lock_file_is_current(file))
		forget(file);
	if (file->fd < 0) {
		int error = open_or_create(file);
		if (error < 0)
			return say_cannot_open(error, why, why_size);
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
		forget(file);
	return error;
}

/* ---- Locks ---- */

static struct flock whole(enum lock_byte byte, int type)
{
	return (struct flock){.l_type = (short)type,
			      .l_whence = SEEK_SET,
			      .l_start = (off_t)byte,
			      .l_len = 1};
}

int lock_file_try(struct lock_file *file, enum lock_byte byte)
{
	struct flock lock = whole(byte, F_WRLCK);

	if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EINTR ? -EAGAIN : -errno;
}

/* In so many words, not by closing: a child between fork and exec has the descriptor, too. */
void lock_file_release(struct lock_file *file, enum lock_byte byte)
{
	struct flock lock = whole(byte, F_UNLCK);

	if (fcntl(file->fd, F_OFD_SETLK, &lock) < 0)
		forget(file);
}

bool lock_file_is_free(struct lock_file *file, enum lock_byte byte)
{
	struct flock lock = whole(byte, F_WRLCK);

	return fcntl(file->fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK;
}

/* ---- Bytes ---- */

/* Writing beyond RLIMIT_FSIZE raises SIGXFSZ, which with thread=no kills a host that has not
 * thought of it. */
static bool is_beyond_limit(off_t end)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	       (rlim_t)end > limit.rlim_cur;
}

int lock_file_allocate(struct lock_file *file)
{
	if (file->allocated)
		return 0;
	int error = is_beyond_limit(LOCK_END) ? EFBIG : posix_fallocate(file->fd, 0, LOCK_END);
	file->allocated = error == 0;
	return -error;
}

int lock_file_read(const struct lock_file *file, enum lock_part part, char *bytes, size_t size)
{
	ssize_t n;

	do {
		n = pread(file->fd, bytes, size, (off_t)part);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	memset(bytes + n, 0, size - (size_t)n);
	return 0;
}

int lock_file_write(const struct lock_file *file, enum lock_part part, const char *bytes,
		    size_t size)
{
	ssize_t n;

	if (is_beyond_limit((off_t)part + (off_t)size))
		return -EFBIG;
	do {
		n = pwrite(file->fd, bytes, size, (off_t)part);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n < size ? -ENOSPC : 0;
}

/* ---- Who holds it ---- */

#define HELD "held by "
#define SINCE " since "

/* As dmesg has it: seconds since boot, so that no step of the wall clock matters. */
void lock_file_sign(const struct lock_file *file, const char *name, bool holds, int64_t now)
{
	char head[LOCK_HEAD_SIZE] = "", clean[80];

	message_copy(clean, sizeof(clean), name);
	message_clean(clean);
	snprintf(head, sizeof(head), "%s%s%s (pid %ld)%s%lld.%03lld s after boot\n", magic,
		 holds ? HELD : "free; was " HELD, clean, (long)getpid(), holds ? SINCE : " until ",
		 (long long)(now / 1000000000), (long long)(now / 1000000 % 1000));
	(void)lock_file_write(file, LOCK_HEAD, head, sizeof(head)); /* the lock does without */
}

/* " since 12.345 s after boot" */
static int64_t held_for(const char *since, int64_t now)
{
	int64_t ms = 0;

	for (since += strlen(SINCE);
	     ms < INT64_MAX / 10000000 && ((*since >= '0' && *since <= '9') || *since == '.');
	     since++)
		ms = *since == '.' ? ms : ms * 10 + (*since - '0');
	return ms < INT64_MAX / 10000000 && ms * 1000000 < now ? now - ms * 1000000 : 0;
}

int64_t lock_file_holder(const struct lock_file *file, int64_t now, char *holder, size_t size)
{
	char head[LOCK_HEAD_SIZE + 1] = "";
	const size_t skip = sizeof(magic) - 1 + strlen(HELD);
	int64_t since = 0;

	message_copy(holder, size, "a process that has left no name");
	if (file->fd < 0 || lock_file_read(file, LOCK_HEAD, head, LOCK_HEAD_SIZE) < 0 ||
	    strncmp(head, magic, sizeof(magic) - 1) != 0 ||
	    strncmp(head + sizeof(magic) - 1, HELD, strlen(HELD)) != 0)
		return 0;
	head[skip + strcspn(head + skip, "\n")] = '\0';
	char *at = strstr(head + skip, SINCE), *next = at;
	/* A name may hold the word, too. */
	while (next != NULL && (next = strstr(at + 1, SINCE)) != NULL)
		at = next;
	if (at != NULL) {
		since = held_for(at, now);
		*at = '\0';
	}
	message_copy(holder, size, head + skip);
	message_clean(holder);
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
	/* Not unlocked: that would be the parent's lock. */
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	file->allocated = false;
	pthread_mutex_unlock(&file->opening);
}
