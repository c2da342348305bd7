/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* supervisor: a process between `safestart run` and its command. It starts the command, waits for
 * it, and reports how it ended. If the caller is killed, the supervisor stays until the command
 * ends, and keeps the command lock, so that the next caller does not start the command a second
 * time [P1] [P18]. If the supervisor is killed, the caller waits for the command itself; if both
 * are, the next caller does. The command inherits no descriptor of ours. What else belongs to the
 * run of a command: family.h. */
#ifndef SAFESTART_COMMAND_SUPERVISOR_H
#define SAFESTART_COMMAND_SUPERVISOR_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

struct supervisor {
	pid_t pid;   /* 0: none */
	int fd;      /* to be polled for reading */
	int command; /* a pidfd of the command; -1: none, or it is `fd` */
	bool killed; /* the supervisor was killed: `fd` is the pidfd of the command */
};

/* What the supervisor starts. The command gets the signal mask `mask` and the SIGCHLD action
 * `child`; its process is recorded in the command lock. */
struct supervised {
	char *const *arguments;
	const sigset_t *mask;
	const struct sigaction *child;
	int command_lock;
};

/* Starts supervisor and command. The process must have only one thread, because it forks without
 * exec. 0 or -errno. */
int supervisor_start(struct supervisor *supervisor, const struct supervised *supervised);

/* Sends a signal to the command, and to what is left of one that was cut off. */
void supervisor_signal(const struct supervisor *supervisor, int number);

/* To be called when fd is readable. True: the command has ended, with this exit code (128 + n: by
 * signal n; -1: not known, because the supervisor was killed). */
bool supervisor_read(struct supervisor *supervisor, int *code);

#endif
