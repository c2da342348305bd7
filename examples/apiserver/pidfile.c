/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pidfile - see pidfile.h. No lock: another start may come between the check and the write, as with
 * most daemons. */
#define _GNU_SOURCE 1
#include "pidfile.h"

#include <errno.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int read_pid(const char *path)
{
	FILE *file = fopen(path, "re");
	int pid = 0;

	if (file) {
		char line[32];
		if (fgets(line, sizeof(line), file))
			pid = (int)strtol(line, NULL, 10);
		fclose(file);
	}
	return pid;
}

int pidfile_take(const char *path, char *why, size_t why_size)
{
	int pid = read_pid(path), r = 0;
	FILE *file;

	if (pid > 0 && pid != getpid() && (kill(pid, 0) == 0 || errno == EPERM)) {
		snprintf(why, why_size,
			 "already running as process %d (PID file %s); stop it first", pid, path);
		return -EEXIST;
	}
	file = fopen(path, "we");
	if (!file || fprintf(file, "%d\n", (int)getpid()) < 0)
		r = -errno;
	if (file && fclose(file) != 0)
		r = -errno;
	if (r < 0)
		snprintf(why, why_size, "cannot write the PID file %s: %s", path,
			 safestart_strerror(-r));
	return r;
}

void pidfile_drop(const char *path)
{
	if (read_pid(path) == getpid())
		unlink(path);
}
