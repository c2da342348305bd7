/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* supervisor: a process between `safestart run` and its command. It starts the command, waits for
 * it, and says how it ended. When its caller is killed it stays until the command ends, and with it
 * the command_lock: so the next caller does not start the command beside itself. Should the
 * supervisor be killed, the caller waits for the command itself. The command inherits nothing of
 * ours. */
#ifndef SAFESTART_COMMAND_SUPERVISOR_H
#define SAFESTART_COMMAND_SUPERVISOR_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct supervisor {
	pid_t pid;   /* 0: there is none */
	int fd;      /* to be polled for reading */
	int command; /* a pidfd of the command; -1: none, or it is `fd` */
	bool killed; /* the supervisor was: `fd` is the command's pidfd */
};

/* Start it; the command gets `mask`, and SIGCHLD as `child` says. The process must have one thread.
 * 0 or -errno. */
int supervisor_start(struct supervisor *supervisor, char *const *arguments, const sigset_t *mask,
		     const struct sigaction *child);

/* Have the command get a signal. */
void supervisor_signal(const struct supervisor *supervisor, int number);

/* When fd is readable. True: the command has ended, with this exit code (128 + n: of signal n; 125:
 * the supervisor was killed). */
bool supervisor_read(struct supervisor *supervisor, int *code);

#endif
