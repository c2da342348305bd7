/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ancestor: reads /proc from this process upwards. One thread, once before a caller waits; it opens
 * nothing that it did not find there, and changes nothing. The supervisor of a command is its
 * parent and holds the lock as long as the command runs, so it is found there, whatever became of
 * the caller. */
#include "run/ancestor.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads a file of /proc as a text. */
static void read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[320];
	ssize_t length = 0;

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, text, size - 1);
		close(fd);
	}
	text[length > 0 ? length : 0] = '\0';
}

/* 0: there is none that is visible here. */
static pid_t parent_of(pid_t pid)
{
	char stat[512];

	read_proc(pid, "stat", stat, sizeof(stat));
	const char *end = strrchr(stat, ')'); /* the program's name may have any character */
	return end != NULL && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : 0;
}

/* A line is "lock:\t1: OFDLCK ADVISORY  WRITE -1 00:2a:17 1 1": type, kind, holder, file, first
 * and last byte. */
static bool descriptor_holds(pid_t pid, const char *name, off_t byte)
{
	char file[300], text[2048], range[64], *rest = NULL;

	snprintf(file, sizeof(file), "fdinfo/%s", name);
	read_proc(pid, file, text, sizeof(text));
	snprintf(range, sizeof(range), " %lld %lld", (long long)byte, (long long)byte);
	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		size_t length = strlen(line), end = strlen(range);
		if (strstr(line, "OFDLCK") != NULL && strstr(line, " WRITE ") != NULL &&
		    length > end && strcmp(line + length - end, range) == 0)
			return true;
	}
	return false;
}

static bool process_holds(pid_t pid, const struct stat *file, off_t byte)
{
	char path[64];
	const struct dirent *entry;
	bool holds = false;

	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	DIR *directory = opendir(path);
	/* There is no other thread. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	while (directory != NULL && !holds && (entry = readdir(directory)) != NULL) {
		struct stat status;
		holds = fstatat(dirfd(directory), entry->d_name, &status, 0) == 0 &&
			status.st_ino == file->st_ino && status.st_dev == file->st_dev &&
			descriptor_holds(pid, entry->d_name, byte);
	}
	if (directory != NULL)
		closedir(directory);
	return holds;
}

bool ancestor_holds(int fd, off_t byte, char *why, size_t why_size)
{
	char name[64];
	struct stat file;
	pid_t below = getpid(), pid = getppid();

	if (fstat(fd, &file) < 0)
		return false;
	for (; pid > 0; below = pid, pid = parent_of(pid)) {
		if (!process_holds(pid, &file, byte))
			continue;
		read_proc(below, "comm", name, sizeof(name));
		name[strcspn(name, "\n")] = '\0';
		snprintf(why, why_size,
			 "called inside of the command of the same name (%s, pid %ld), so it would "
			 "wait for its own end; not run: call the command itself there, or use "
			 "another --name",
			 name, (long)below);
		return true;
	}
	return false;
}
