/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* keeper: a process between `safestart run` and its command. It starts the command, waits for it, and says how it ended. When
 * its caller is killed it stays until the command ends, and with it the guard: so the next caller does not start the command
 * beside itself. Should the keeper be killed, the caller waits for the command itself. The command inherits nothing of ours. */
#ifndef SAFESTART_COMMAND_KEEPER_H
#define SAFESTART_COMMAND_KEEPER_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct keeper {
	pid_t pid;   /* 0: there is none */
	int fd;      /* to be polled for reading */
	int command; /* a pidfd of the command; -1: none, or it is `fd` */
	bool killed; /* the keeper was: `fd` is the command's pidfd */
};

/* Start it; the command gets `mask`, and SIGCHLD as `child` says. The process must have one thread. 0 or -errno. */
int keeper_start(struct keeper *keeper, char *const *arguments, const sigset_t *mask, const struct sigaction *child);

/* Have the command get a signal. */
void keeper_signal(const struct keeper *keeper, int number);

/* When fd is readable. True: the command has ended, with this exit code (128 + n: of signal n; 125: the keeper was killed). */
bool keeper_hear(struct keeper *keeper, int *code);

#endif
