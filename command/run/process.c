/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process: reads /proc. It opens nothing that it did not find there, and changes nothing. */
#include "run/process.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first line of a file of /proc. */
static void read_line(const char *path, char *line, size_t size)
{
	ssize_t length = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC); /* or errno says why not */

	if (fd >= 0) {
		length = read(fd, line, size - 1);
		close(fd);
	}
	line[length > 0 ? length : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

struct state {
	char letter; /* Z and X: it has ended, and its parent does not know yet */
	pid_t parent;
	unsigned long long start; /* in clock ticks after boot */
};

/* False: there is no such process that is visible here. */
static bool read_state(pid_t pid, struct state *state)
{
	char path[64], line[1024];

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	read_line(path, line, sizeof(line));
	const char *at = strrchr(line, ')'); /* the program's name may have any character */
	if (at == NULL || strlen(at) < 5)
		return false;
	state->letter = at[2];
	state->parent = (pid_t)strtol(at + 4, NULL, 10);
	for (int field = 2; at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	state->start = at != NULL ? strtoull(at, NULL, 10) : 0;
	return at != NULL;
}

bool process_identify(pid_t pid, char identity[PROCESS_IDENTITY_SIZE])
{
	char boot[40];
	struct state state;

	if (pid <= 0 || !read_state(pid, &state) || state.letter == 'Z' || state.letter == 'X')
		return false;
	read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	snprintf(identity, PROCESS_IDENTITY_SIZE, "%ld %llu %s", (long)pid, state.start, boot);
	return true;
}

pid_t process_running(const char *identity)
{
	char now[PROCESS_IDENTITY_SIZE];
	long pid = strtol(identity, NULL, 10);

	return pid > 0 && pid <= INT_MAX && process_identify((pid_t)pid, now) &&
			       strcmp(now, identity) == 0
		       ? (pid_t)pid
		       : 0;
}

bool process_is_inside(pid_t pid)
{
	struct state state = {.parent = getpid()};

	while (state.parent > 0 && state.parent != pid) {
		if (!read_state(state.parent, &state))
			return false;
	}
	return pid > 0 && state.parent == pid;
}

void process_name(pid_t pid, char *name, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
	read_line(path, name, size);
}
