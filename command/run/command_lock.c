/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_lock: locks bytes of a file that may lie where other users can write, so it trusts
 * neither the file nor its contents. One thread; waits by polling. */
#include "run/command_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <safestart/safestart.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/report.h"
#include "run/command_text.h"
#include "run/process.h"

/* After this time another command that is inside is an error, and not only about to leave. */
#define OTHER_COMMAND_MS 1000
/* After this time a caller that writes its command is considered stopped, and not only slow. */
#define WRITER_MS 30000

/* The file begins with the identity of the process that ran the command last, padded to this size.
 * The line of the command follows. */
#define RUNNER_SIZE PROCESS_IDENTITY_SIZE

enum byte {
	INSIDE,
	RUNNING
};

/* Never waits. Locks of the open file (OFD), so that the supervisor inherits them over fork(), and
 * closing another descriptor of the file does not release them. */
static bool lock_byte(int fd, enum byte byte, int type)
{
	struct flock lock = {.l_type = (short)type,
			     .l_whence = SEEK_SET,
			     .l_start = (off_t)byte,
			     .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* How other processes have locked it: F_RDLCK, F_WRLCK or F_UNLCK. */
static int held_as(int fd, enum byte byte)
{
	struct flock lock = {.l_type = F_WRLCK,
			     .l_whence = SEEK_SET,
			     .l_start = (off_t)byte,
			     .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 ? lock.l_type : F_UNLCK;
}

/* As careful as the library with the lock itself: it may be in a directory where any user can
 * write. */
static int open_file(const char *path, char *why, size_t why_size)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	struct stat status;
	int fd = -1;

	for (int tries = 0; fd < 0 && tries < 8; tries++) {
		fd = open(path, flags);
		if (fd < 0 && errno == ENOENT)
			fd = open(path, flags | O_CREAT | O_EXCL, 0600);
		if (fd < 0 && errno != EEXIST && errno != ENOENT && errno != EINTR)
			break;
	}
	if (fd < 0) {
		snprintf(why, why_size,
			 "cannot open the command lock: %s: %s; to use another directory: "
			 "--lock-dir",
			 safestart_strerror(errno), path);
		return -1;
	}
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_nlink > 1 ||
	    (status.st_uid != geteuid() && status.st_uid != 0)) {
		snprintf(why, why_size,
			 "not a plain file of this user or root, left unchanged: %s; remove it, or "
			 "use another directory with --lock-dir",
			 path);
		close(fd);
		return -1;
	}
	return fd;
}

/* Another process may have removed and created the file between open() and the lock. */
static bool is_current(int fd, const char *path)
{
	struct stat open_file_is, named;

	return fstat(fd, &open_file_is) == 0 && lstat(path, &named) == 0 &&
	       open_file_is.st_ino == named.st_ino && open_file_is.st_dev == named.st_dev;
}

/* True: the text is complete, it ends in a newline. What a killed writer has left does not [P18].
 */
static bool read_text(int fd, char text[COMMAND_TEXT_SIZE])
{
	ssize_t length = pread(fd, text, COMMAND_TEXT_SIZE - 1, RUNNER_SIZE);

	text[length > 0 ? length : 0] = '\0';
	return length > 0 && text[length - 1] == '\n';
}

/* Leaves the runner in its place: it may still run another command. */
static bool write_text(int fd, const char *text)
{
	size_t length = strlen(text);

	errno = ENOSPC; /* a write that ends early sets none */
	return ftruncate(fd, RUNNER_SIZE) == 0 &&
	       pwrite(fd, text, length, RUNNER_SIZE) == (ssize_t)length;
}

/* 0: none, or it has ended. */
static pid_t runner(int fd)
{
	char identity[RUNNER_SIZE + 1];
	ssize_t length = pread(fd, identity, RUNNER_SIZE, 0);

	while (length > 0 && (identity[length - 1] == ' ' || identity[length - 1] == '\n'))
		length--;
	identity[length > 0 ? length : 0] = '\0';
	return process_running(identity);
}

/* A caller inside of the command that it asks for would wait for its own end, for ever. */
static bool is_nested(int fd, char *why, size_t why_size)
{
	char name[64];
	pid_t pid = runner(fd);

	if (!process_is_inside(pid))
		return false;
	process_name(pid, name, sizeof(name));
	snprintf(why, why_size,
		 "called inside of the command of the same name (%s, pid %ld), so it would wait "
		 "for "
		 "its own end; not run: call the command itself there, or use another --name",
		 name, (long)pid);
	return true;
}

static void sleep_jittered(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	/* A random pause, so that callers do not retry in step. */
	nanosleep(&(struct timespec){.tv_nsec = 1000000 + now.tv_nsec % 4000000}, NULL);
}

/* The file's only line is the digest and the command. True: entered. False: another command may be
 * inside, `theirs` is what the file says. */
static bool try_to_enter(int fd, const char *ours, char theirs[COMMAND_TEXT_SIZE])
{
	if (read_text(fd, theirs) && strcmp(ours, theirs) == 0) {
		if (!lock_byte(fd, INSIDE, F_RDLCK))
			return false;
		if (read_text(fd, theirs) && strcmp(ours, theirs) == 0)
			return true;
		lock_byte(fd, INSIDE, F_UNLCK);
		return false;
	}
	if (!lock_byte(fd, INSIDE, F_WRLCK))
		return false;
	if (!(read_text(fd, theirs) && strcmp(ours, theirs) == 0) && !write_text(fd, ours)) {
		report(0,
		       "cannot write the command beside the lock: %s; a different command with the "
		       "same name will not be noticed",
		       safestart_strerror(errno));
		(void)ftruncate(fd, RUNNER_SIZE); /* empty rather than half a line */
	}
	return lock_byte(fd, INSIDE, F_RDLCK);
}

/* Is another command inside, and not only about to enter? A caller that writes its command holds
 * the file exclusively meanwhile; among many callers or on a slow disk that may take longer than
 * OTHER_COMMAND_MS, and must turn no caller away [P5]. */
static bool is_inside(int fd, const char *ours, const char *theirs)
{
	char again[COMMAND_TEXT_SIZE];

	if (held_as(fd, INSIDE) != F_RDLCK)
		return false;
	read_text(fd, again);
	return again[0] != '\0' && strcmp(theirs, again) == 0 && strcmp(ours, again) != 0;
}

int command_lock_enter(const char *path, char *const *arguments, bool alone, char *why,
		       size_t why_size)
{
	char ours[COMMAND_TEXT_SIZE], theirs[COMMAND_TEXT_SIZE];
	int64_t start = clock_ms();

	command_text_line(arguments, ours);
	int fd = open_file(path, why, why_size);
	if (fd >= 0 && is_nested(fd, why, why_size)) {
		close(fd);
		return -1;
	}
	while (fd >= 0) {
		/* Of several that ask at once one succeeds: it becomes a shared lock below. */
		if (alone && !lock_byte(fd, INSIDE, F_WRLCK)) {
			close(fd);
			return COMMAND_LOCK_BUSY;
		}
		bool late = clock_ms() - start >= OTHER_COMMAND_MS;
		/* Empty for so long: the caller inside could not write its command, as on a full
		 * disk. */
		if (try_to_enter(fd, ours, theirs) ||
		    (late && theirs[0] == '\0' && lock_byte(fd, INSIDE, F_RDLCK))) {
			if (is_current(fd, path))
				return fd;
			close(fd); /* the file was removed meanwhile */
			fd = open_file(path, why, why_size);
			continue;
		}
		if (late && is_inside(fd, ours, theirs)) {
			command_text_differ(ours, theirs, why, why_size);
			break;
		}
		if (clock_ms() - start >= WRITER_MS) {
			snprintf(why, why_size,
				 "another caller has been writing its command for 30 s: is a "
				 "safestart run stopped? Continue or kill it: %s",
				 path);
			break;
		}
		sleep_jittered();
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

pid_t command_lock_begin(int command_lock)
{
	if (!lock_byte(command_lock, RUNNING, F_WRLCK))
		return runner(command_lock) > 0 ? runner(command_lock) : -1;
	pid_t left = runner(command_lock);
	if (left > 0)
		lock_byte(command_lock, RUNNING, F_UNLCK);
	return left;
}

/* A write into a page that the file has already: it is there as a whole, or not at all. */
bool command_lock_record(int command_lock, pid_t command)
{
	char identity[PROCESS_IDENTITY_SIZE], record[RUNNER_SIZE + 1];

	errno = ESRCH;
	if (!process_identify(command, identity))
		return false;
	snprintf(record, sizeof(record), "%-*s\n", RUNNER_SIZE - 1, identity);
	errno = ENOSPC;
	return pwrite(command_lock, record, RUNNER_SIZE, 0) == RUNNER_SIZE;
}

void command_lock_end(int command_lock)
{
	lock_byte(command_lock, RUNNING, F_UNLCK);
}
