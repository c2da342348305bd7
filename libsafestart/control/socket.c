/* SPDX-License-Identifier: LGPL-2.1-or-later */
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

#include "base/loop.h"
#include "base/message.h"

#define NAME_MAX_OURS 60 /* of the handle's name */
#define SIBLINGS_MAX                                                                             \
	99 /* handles of one name in one process, or in processes that are 1 in their containers \
	    */
#define BACKLOG 128

/* ---- Words ---- */

static int say(char *why, size_t why_size, int error, const char *directory)
{
	const char *remedy;

	switch (-error) {
	case ENOENT:
		remedy = "the directory it is to be in does not exist either; create that";
		break;
	case ENOTDIR:
		remedy = "it is no directory, or what it is to be in is none; remove the file, or "
			 "name another with `control`";
		break;
	case EACCES:
	case EPERM:
		remedy = "this process' user has to be able to write and search it: give it to "
			 "that user, or name another with `control`";
		break;
	case EROFS:
		remedy = "its file system is read-only; mount it read-write, or name another with "
			 "`control`";
		break;
	case ENOSPC:
	case EDQUOT: remedy = "its file system is full; free space or inodes there"; break;
	case EEXIST:
		remedy = "every name for this process is taken; remove what does not belong there";
		break;
	case ENAMETOOLONG:
		remedy = "its path is too long; name a shorter one with `control`";
		break;
	default: remedy = NULL; break;
	}
	return message_set(why, why_size, error, "no control socket in %.200s: %s%s%s", directory,
			   safestart_strerror(error), remedy != NULL ? ": " : "",
			   remedy != NULL ? remedy : "");
}

/* ---- Names ---- */

static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '_' || c == '.';
}

/* NAME. with what does not belong into a file's name replaced; not hidden. */
static void print_stem(char *to, const char *handle_name)
{
	size_t length = 0;

	for (; length < NAME_MAX_OURS && handle_name[length] != '\0'; length++) {
		to[length] = '_';
		if (is_plain(handle_name[length]))
			to[length] = handle_name[length];
	}
	if (length == 0 || to[0] == '.')
		to[0] = '_';
	to[length > 0 ? length : 1] = '\0';
}

/* Returns behind it; *number is 0 where there is none, or one that no process has. */
static const char *read_number(const char *text, pid_t *number)
{
	const char *at = text;

	for (*number = 0; *at >= '0' && *at <= '9'; at++)
		*number = at - text < 9 ? *number * 10 + (*at - '0') : 0;
	return at;
}

/* Whose is it? STEM.PID.sock, STEM.PID-N.sock, or the .PID.TIME.tmp of any. 0: none of these. */
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

/* The directory, open. */
struct place {
	int fd;
	const char *path;
};

/* The address of `name` there: by the descriptor, which is short, where the path has more bytes
 * than an address takes. */
static struct sockaddr_un address_in(const struct place *at, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", at->path, name);
	if (length < 0 || (size_t)length >= sizeof(address.sun_path))
		snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", at->fd,
			 name);
	return address;
}

/* ---- The dead ---- */

/* Nobody listens there. Rigorous, also about processes of other containers: a socket has its name
 * only while it is listened on, or after that. */
static bool is_dead(const struct place *at, const char *name, struct stat *status)
{
	struct sockaddr_un address = address_in(at, name);

	if (fstatat(at->fd, name, status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(status->st_mode))
		return false; /* connecting to a file is refused, too */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	bool refused = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
		       errno == ECONNREFUSED;
	close(fd);
	return refused;
}

struct gone {
	char name[SOCKET_NAME_SIZE];
	struct timespec since;
};

static int newest_first(const void *a, const void *b)
{
	const struct timespec *left = &((const struct gone *)a)->since,
			      *right = &((const struct gone *)b)->since;

	if (left->tv_sec != right->tv_sec)
		return left->tv_sec > right->tv_sec ? -1 : 1;
	return left->tv_nsec > right->tv_nsec ? -1 : left->tv_nsec < right->tv_nsec;
}

/* Keeps the newest ones, so that they can be seen; they are not many at a time. */
static void remove_old_locked(int directory, struct gone *gone, size_t *count)
{
	qsort(gone, *count, sizeof(*gone), newest_first);
	while (*count > SOCKET_GONE_KEPT)
		unlinkat(directory, gone[--*count].name, 0);
}

/* What dead processes of this name have left, but for the newest, and half-made sockets of all that
 * are dead. Whoever removes sockets holds the directory's lock, or it might be somebody else's new
 * one by then. */
static void sweep_locked(const struct place *at, const char *stem)
{
	struct gone gone[2 * SOCKET_GONE_KEPT];
	size_t count = 0;
	struct dirent *entry;
	struct stat status;
	int again = openat(at->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again >= 0 ? fdopendir(again) : NULL;

	if (list == NULL && again >= 0)
		close(again);
	/* No other thread has this stream. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (list != NULL && (entry = readdir(list)) != NULL) {
		pid_t owner = owner_of(entry->d_name, stem);
		if (owner <= 0 || strlen(entry->d_name) >= SOCKET_NAME_SIZE ||
		    kill(owner, 0) == 0 || errno != ESRCH || !is_dead(at, entry->d_name, &status))
			continue;
		if (entry->d_name[0] == '.') {
			unlinkat(at->fd, entry->d_name, 0);
			continue;
		}
		if (count == sizeof(gone) / sizeof(gone[0]))
			remove_old_locked(at->fd, gone, &count);
		message_copy(gone[count].name, sizeof(gone[count].name), entry->d_name);
		gone[count++].since = status.st_mtim;
	}
	remove_old_locked(at->fd, gone, &count);
	if (list != NULL)
		closedir(list);
}

/* ---- Making it ---- */

static int open_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Servers that start together make it together. */
	if (fd < 0 && errno == ENOENT && (mkdir(path, 0700) == 0 || errno == EEXIST))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Bound under a hidden name and listening, so that whoever finds the real name is never refused.
 * Its mode comes with it: the umask, which is the host's, can only take away from it. */
static int listen_hidden(struct control_socket *made, const struct place *at, const char *hidden,
			 pthread_mutex_t *lock)
{
	struct sockaddr_un address = address_in(at, hidden);
	struct stat status;

	pthread_mutex_lock(lock);
	made->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = made->fd < 0 ? -errno : 0;
	pthread_mutex_unlock(lock);
	if (error < 0)
		return error;
	if (fchmod(made->fd, 0600) < 0 ||
	    bind(made->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (listen(made->fd, BACKLOG) < 0 ||
	    fstatat(at->fd, hidden, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		error = -errno;
		unlinkat(at->fd, hidden, 0);
		return error;
	}
	made->dev = status.st_dev;
	made->ino = status.st_ino;
	return 0;
}

/* From its hidden name to the first one that is free, or a dead process' that had our number. */
static int give_name(struct control_socket *made, const struct place *at, const char *hidden,
		     const char *stem, bool alone)
{
	struct stat status;

	for (int i = 1, removed = 0; i <= SIBLINGS_MAX; i++) {
		char sibling[8] = "";
		if (i > 1)
			snprintf(sibling, sizeof(sibling), "-%d", i);
		snprintf(made->name, sizeof(made->name), "%.60s.%d%s.sock", stem, (int)getpid(),
			 sibling);
		if (renameat2(at->fd, hidden, at->fd, made->name, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
		if (alone && removed++ < SIBLINGS_MAX && is_dead(at, made->name, &status) &&
		    unlinkat(at->fd, made->name, 0) == 0)
			i--;
	}
	return -EEXIST;
}

static void close_locked(struct control_socket *made, pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	if (made->fd >= 0)
		close(made->fd);
	made->fd = -1;
	pthread_mutex_unlock(lock);
}

static int listen_as(struct control_socket *made, const struct place *at, const char *stem,
		     bool alone, pthread_mutex_t *lock)
{
	char hidden[SOCKET_NAME_SIZE];

	snprintf(hidden, sizeof(hidden), ".%d.%lld.tmp", (int)getpid(), (long long)loop_now());
	int error = listen_hidden(made, at, hidden, lock);
	if (error == 0) {
		error = give_name(made, at, hidden, stem, alone);
		if (error < 0)
			unlinkat(at->fd, hidden, 0);
	}
	if (error < 0)
		close_locked(made, lock);
	return error;
}

int socket_make(struct control_socket *made, const char *directory, const char *handle_name,
		pthread_mutex_t *lock, char *why, size_t why_size)
{
	char stem[NAME_MAX_OURS + 1];
	struct place at = {open_directory(directory), directory};

	if (at.fd < 0)
		return say(why, why_size, at.fd, directory);
	print_stem(stem, handle_name);
	/* Not waited for: whoever can open the directory can hold it. */
	bool alone = flock(at.fd, LOCK_EX | LOCK_NB) == 0;
	/* Until it is listened on it refuses, as a dead one does: a sweeper in another container,
	 * where nobody has our number, takes it for that. */
	int error = -ENOENT;
	for (int tries = 0; tries < 8 && error == -ENOENT; tries++)
		error = listen_as(made, &at, stem, alone, lock);
	if (error == 0 && alone)
		sweep_locked(&at, stem);
	if (alone)
		flock(at.fd, LOCK_UN); /* also if a child was forked meanwhile, and has it open */
	close(at.fd);
	return error < 0 ? say(why, why_size, error, directory) : 0;
}

static bool is_ours(const struct control_socket *made, int directory, int *error)
{
	struct stat status;

	*error = fstatat(directory, made->name, &status, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	return *error == 0 && status.st_dev == made->dev && status.st_ino == made->ino;
}

bool socket_is_there(const struct control_socket *made, const char *directory)
{
	int error, at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return errno != ENOENT && errno != ENOTDIR;
	bool there = is_ours(made, at, &error) || (error < 0 && error != -ENOENT);
	close(at);
	return there;
}

void socket_remove(struct control_socket *made, const char *directory, pthread_mutex_t *lock)
{
	int error, at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (at >= 0) {
		if (is_ours(made, at, &error))
			unlinkat(at, made->name, 0);
		close(at);
	}
	close_locked(made, lock);
}
