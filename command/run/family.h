/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* family: the process of a command, and what is left of a command that was cut off. For the
 * supervisor, which blocks SIGCHLD and has no other children.
 *
 * A command that ends by itself may leave processes in the background: they are no part of the run.
 * One that a signal has ended, or that failed after a signal was passed on to it, was cut off in
 * the middle of its work: the run goes on until what it has started in its process group has ended
 * as well [P1]. */
#ifndef SAFESTART_COMMAND_FAMILY_H
#define SAFESTART_COMMAND_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct family {
	pid_t command; /* 0: it has ended */
	pid_t group;   /* its process group, which is that of the caller */
	int status;    /* how it has ended, as waitpid() has it */
	int signal;    /* the last one that was passed on; 0: none */
	/* Processes that are left and have got this signal. */
	pid_t told[64];
	size_t told_count;
};

/* Before the command is started: what it leaves becomes a child of this process. */
void family_begin(struct family *family);

/* Passes a signal on. */
void family_signal(struct family *family, int number);

/* Takes notice of every child that has ended. True: the run has. */
bool family_has_ended(struct family *family);

#endif
