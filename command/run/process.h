/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* process: what /proc says of a process: does it still run, and is this process inside of it. Other
 * pid namespaces are out of its sight: their processes do not run, as far as it can tell. */
#ifndef SAFESTART_COMMAND_PROCESS_H
#define SAFESTART_COMMAND_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROCESS_IDENTITY_SIZE 80

/* Writes what no other process has, also after this one has ended: PID, time of its start, and
 * boot. False: it has ended, or cannot be seen. */
bool process_identify(pid_t pid, char identity[PROCESS_IDENTITY_SIZE]);

/* The PID in an identity, if that very process still runs; else 0. The text may be anything. */
pid_t process_running(const char *identity);

/* This process is `pid`, or `pid` has started it, by whatever processes in between. */
bool process_is_inside(pid_t pid);

/* The name of its program, for a message; "" if there is none. */
void process_name(pid_t pid, char *name, size_t size);

#endif
