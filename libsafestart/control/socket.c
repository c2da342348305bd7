/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* socket: files of the control directory. It is shared with other processes and containers, so each
 * step is one that they may see half-way, and that a kill may end at any point [P18]. Control
 * thread. What is found in the directory is input: it is an error at most, never an abort. */
#include "control/socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/invariant.h"
#include "base/libc.h"
#include "base/loop.h"
#include "base/message.h"

#define STEM_MAX 60 /* bytes of the handle's name that the file's name has */
/* Handles of one name in one process, or in processes that are each number 1 of their container. */
#define SIBLINGS_MAX 99
#define BACKLOG 128

/* ---- Messages ---- */

/* The cause first, then the directory, then the remedy. Returns `error`. */
static int report(char *why, size_t why_size, int error, const char *directory)
{
	const char *remedy;

	switch (-error) {
	case ENOENT: remedy = "its parent directory does not exist; create that"; break;
	case ENOTDIR:
		remedy =
			"it, or a directory above it, is a file; remove the file, or set `control` "
			"to another directory";
		break;
	case EACCES:
	case EPERM:
		remedy = "the user of this process must be able to write and search it: change its "
			 "owner, or set `control` to another directory";
		break;
	case EROFS:
		remedy = "its file system is read-only; mount it read-write, or set `control` to "
			 "another directory";
		break;
	case ENOSPC:
	case EDQUOT: remedy = "its file system is full; free space or inodes there"; break;
	case EEXIST:
		remedy =
			"every name for this process is taken; remove the files that do not belong "
			"there";
		break;
	case ENAMETOOLONG: remedy = "its path is too long; set `control` to a shorter one"; break;
	default: remedy = NULL; break;
	}
	return message_set(why, why_size, error, "no control socket: %s (in %.200s)%s%s",
			   safestart_strerror(error), directory, remedy != NULL ? "; " : "",
			   remedy != NULL ? remedy : "");
}

/* ---- Names ---- */

/* Needs no quoting in a shell. */
static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '_' || c == '.';
}

/* The handle's name, cut, with each byte that is unusual in a file name replaced by '_'; never
 * empty, never hidden. Handles whose names become equal get different numbers. */
static void print_stem(char *to, const char *handle_name)
{
	size_t length = 0;

	for (; length < STEM_MAX && handle_name[length] != '\0'; length++) {
		to[length] = '_';
		if (is_plain(handle_name[length]))
			to[length] = handle_name[length];
	}
	if (length == 0 || to[0] == '.')
		to[0] = '_';
	to[length > 0 ? length : 1] = '\0';
	invariant(to[0] != '\0' && to[0] != '.' && strchr(to, '/') == NULL);
}

/* Read decimal digits; returns what follows them. *number is 0 where there are none, or too many
 * for a process. */
static const char *read_number(const char *text, pid_t *number)
{
	const char *at = text;

	for (*number = 0; *at >= '0' && *at <= '9'; at++)
		*number = at - text < 9 ? *number * 10 + (*at - '0') : 0;
	return at;
}

/* Which process has created the file: PID of STEM.PID.sock or STEM.PID-N.sock, or of a
 * temporary .PID.TIME.tmp. 0: none of these. */
static pid_t owner_of(const char *file, const char *stem)
{
	size_t length = file[0] == '.' ? 0 : strlen(stem);
	pid_t owner;

	if (strncmp(file, stem, length) != 0 || file[length] != '.')
		return 0;
	const char *rest = read_number(file + length + 1, &owner);
	if (length == 0)
		return rest[0] == '.' && strcmp(rest + 1 + strspn(rest + 1, "0123456789"),
						".tmp") == 0
			       ? owner
			       : 0;
	if (rest[0] == '-')
		rest += 1 + strspn(rest + 1, "0123456789");
	return strcmp(rest, ".sock") == 0 ? owner : 0;
}

/* The control directory. */
struct directory {
	int fd; /* open */
	const char *path;
};

/* The address of `name` in the directory. Where the path is longer than an address can be, it goes
 * by the descriptor, which is short. */
static struct sockaddr_un address_in(const struct directory *at, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", at->path, name);
	if ((size_t)length >= sizeof(address.sun_path))
		snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", at->fd,
			 name);
	return address;
}

/* ---- Stale sockets, of processes that were killed ---- */

/* Nobody listens there any more. Also right about processes of other containers: a socket gets its
 * name only after it listens, so refusing means that it has ended. */
static bool is_stale(const struct directory *at, const char *name, struct stat *status)
{
	struct sockaddr_un address = address_in(at, name);

	if (fstatat(at->fd, name, status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(status->st_mode))
		return false; /* connecting to a file is refused, too */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false; /* not known: it stays */
	bool refused = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
		       errno == ECONNREFUSED;
	close(fd);
	return refused;
}

struct stale_socket {
	char name[SOCKET_NAME_SIZE];
	struct timespec since;
};

/* For qsort(). */
static int newest_first(const void *a, const void *b)
{
	const struct timespec *left = &((const struct stale_socket *)a)->since,
			      *right = &((const struct stale_socket *)b)->since;

	if (left->tv_sec != right->tv_sec)
		return left->tv_sec > right->tv_sec ? -1 : 1;
	return left->tv_nsec > right->tv_nsec ? -1 : left->tv_nsec < right->tv_nsec;
}

/* Keep the newest ones, so that the deaths can be seen; remove the rest. */
static void remove_oldest_locked(int directory, struct stale_socket *stale, size_t *count)
{
	qsort(stale, *count, sizeof(*stale), newest_first);
	while (*count > SOCKET_STALE_KEPT)
		unlinkat(directory, stale[--*count].name, 0);
	invariant(*count <= SOCKET_STALE_KEPT);
}

/* Remove the sockets of dead processes with this name but the newest, and the temporary ones of all
 * dead processes. Under the directory's lock: without it, a name found to be stale may be another
 * process's new socket when it is removed. */
static void remove_stale_locked(const struct directory *at, const char *stem)
{
	struct stale_socket stale[2 * SOCKET_STALE_KEPT];
	size_t count = 0;
	struct dirent *entry;
	struct stat status;
	int fd = openat(at->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;

	if (list == NULL && fd >= 0)
		close(fd);
	/* No other thread has this stream. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (list != NULL && (entry = readdir(list)) != NULL) {
		pid_t owner = owner_of(entry->d_name, stem);
		/* One with our number is of a dead process, too, if it refuses: ours listen. Not a
		 * temporary one: that of another handle of ours may be about to. */
		bool ours = owner == getpid() && entry->d_name[0] != '.';
		if (owner <= 0 || strlen(entry->d_name) >= SOCKET_NAME_SIZE ||
		    (!ours && (kill(owner, 0) == 0 || errno != ESRCH)) ||
		    !is_stale(at, entry->d_name, &status))
			continue;
		if (entry->d_name[0] == '.') {
			unlinkat(at->fd, entry->d_name, 0);
			continue;
		}
		if (count == sizeof(stale) / sizeof(stale[0]))
			remove_oldest_locked(at->fd, stale, &count);
		invariant(count < sizeof(stale) / sizeof(stale[0]));
		message_copy(stale[count].name, sizeof(stale[count].name), entry->d_name);
		stale[count++].since = status.st_mtim;
	}
	remove_oldest_locked(at->fd, stale, &count);
	if (list != NULL)
		closedir(list);
}

/* ---- Creating it ---- */

static int open_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Processes that start at the same moment may all create it. */
	if (fd < 0 && errno == ENOENT && (mkdir(path, 0700) == 0 || errno == EEXIST))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Bind under a temporary name and listen, so that a client that finds the final name is never
 * refused. The mode is set before bind(): the umask, which is the application's and stays as it is
 * [P16], can only take away from it. */
static int listen_temporary(struct control_socket *listener, const struct directory *at,
			    const char *temporary, pthread_mutex_t *lock)
{
	struct sockaddr_un address = address_in(at, temporary);
	struct stat status;

	pthread_mutex_lock(lock);
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = listener->fd < 0 ? -errno : 0;
	pthread_mutex_unlock(lock);
	if (error < 0)
		return error;
	if (fchmod(listener->fd, 0600) < 0 ||
	    bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (listen(listener->fd, BACKLOG) < 0 ||
	    fstatat(at->fd, temporary, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		error = -errno;
		unlinkat(at->fd, temporary, 0);
		return error;
	}
	listener->dev = status.st_dev;
	listener->ino = status.st_ino;
	return 0;
}

/* A dead process had our number, as in a container, where each one is number 1: its stale socket
 * makes room, and stays as STEM.PID-01.sock, so that the death can be seen. The sweep keeps fewer
 * than there are names. False: it is neither renamed nor removed. */
static bool put_aside_locked(const struct directory *at, const char *name, const char *stem)
{
	char aside[SOCKET_NAME_SIZE];

	for (int i = 1; i <= SOCKET_STALE_KEPT + 1; i++) {
		snprintf(aside, sizeof(aside), "%.60s.%d-0%d.sock", stem, (int)getpid(), i);
		if (libc_renameat2(at->fd, name, at->fd, aside, RENAME_NOREPLACE) == 0)
			return true;
	}
	return unlinkat(at->fd, name, 0) == 0;
}

/* Rename it to the first free name, or to that of a dead process that had our number. `locked`: the
 * directory's lock is held, so stale sockets may be put aside. */
static int rename_to_free(struct control_socket *listener, const struct directory *at,
			  const char *temporary, const char *stem, bool locked)
{
	struct stat status;

	for (int i = 1, removed = 0; i <= SIBLINGS_MAX; i++) {
		char sibling[8] = "";
		if (i > 1)
			snprintf(sibling, sizeof(sibling), "-%d", i);
		snprintf(listener->name, sizeof(listener->name), "%.60s.%d%s.sock", stem,
			 (int)getpid(), sibling);
		if (libc_renameat2(at->fd, temporary, at->fd, listener->name, RENAME_NOREPLACE) ==
		    0)
			return 0;
		if (errno != EEXIST)
			return -errno;
		/* Each stale socket that was put aside frees its name: try it once more. */
		if (locked && removed++ < SIBLINGS_MAX && is_stale(at, listener->name, &status) &&
		    put_aside_locked(at, listener->name, stem))
			i--;
	}
	return -EEXIST;
}

/* Close it under the lock that fork takes. */
static void close_listener(struct control_socket *listener, pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	if (listener->fd >= 0)
		close(listener->fd);
	listener->fd = -1;
	pthread_mutex_unlock(lock);
}

/* One attempt. -ENOENT: its temporary socket was taken for a stale one; try again. */
static int try_listen(struct control_socket *listener, const struct directory *at, const char *stem,
		      bool locked, pthread_mutex_t *lock)
{
	char temporary[SOCKET_NAME_SIZE];

	snprintf(temporary, sizeof(temporary), ".%d.%lld.tmp", (int)getpid(),
		 (long long)loop_now());
	int error = listen_temporary(listener, at, temporary, lock);
	if (error == 0) {
		error = rename_to_free(listener, at, temporary, stem, locked);
		if (error < 0)
			unlinkat(at->fd, temporary, 0);
	}
	if (error < 0)
		close_listener(listener, lock);
	return error;
}

int socket_make(struct control_socket *listener, const char *directory, const char *handle_name,
		pthread_mutex_t *lock, char *why, size_t why_size)
{
	char stem[STEM_MAX + 1];

	invariant(listener->fd < 0);
	struct directory at = {open_directory(directory), directory};

	if (at.fd < 0)
		return report(why, why_size, at.fd, directory);
	print_stem(stem, handle_name);
	/* Without waiting: any process that can open the directory could hold the lock for ever. */
	bool locked = flock(at.fd, LOCK_EX | LOCK_NB) == 0;
	/* Between bind() and listen() it refuses, as a stale one does. A process in another
	 * container, where no process has our number, may remove it then. */
	int error = -ENOENT;
	for (int tries = 0; tries < 8 && error == -ENOENT; tries++)
		error = try_listen(listener, &at, stem, locked, lock);
	if (error == 0 && locked)
		remove_stale_locked(&at, stem);
	if (locked) /* not left to close(): a child that was forked meanwhile has it open, too */
		flock(at.fd, LOCK_UN);
	close(at.fd);
	invariant((error == 0) == (listener->fd >= 0));
	return error < 0 ? report(why, why_size, error, directory) : 0;
}

/* Whether the file under its name is this socket. *error: it cannot be found out. */
static bool is_ours(const struct control_socket *listener, int directory, int *error)
{
	struct stat status;

	*error = fstatat(directory, listener->name, &status, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	return *error == 0 && status.st_dev == listener->dev && status.st_ino == listener->ino;
}

bool socket_is_there(const struct control_socket *listener, const char *directory)
{
	int error, at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	/* Only a missing directory means that it is gone; out of descriptors, for one, does not. */
	if (at < 0)
		return errno != ENOENT && errno != ENOTDIR;
	bool there = is_ours(listener, at, &error) || (error < 0 && error != -ENOENT);
	close(at);
	return there;
}

void socket_remove(struct control_socket *listener, const char *directory, pthread_mutex_t *lock)
{
	int error, at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	/* Another process may have put its own socket under this name: that one stays. */
	if (at >= 0) {
		if (is_ours(listener, at, &error))
			unlinkat(at, listener->name, 0);
		close(at);
	}
	close_listener(listener, lock);
	invariant(listener->fd < 0);
}
