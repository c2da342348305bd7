/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_lock: the file NAME.command beside a lock of `safestart run`: one name means one command,
 * and a command whose caller was killed is not started beside itself. Two bytes of it are locked:
 * everybody inside shares the first, whoever guards a running command holds the second. Both belong
 * to the descriptor: they die with the processes that have it. */
#ifndef SAFESTART_COMMAND_COMMAND_LOCK_H
#define SAFESTART_COMMAND_COMMAND_LOCK_H

#include <stdbool.h>
#include <stddef.h>

/* Come inside with this command. A descriptor; -1: and why. May take a second, when somebody else
 * is inside. */
int command_lock_enter(const char *path, char *const *arguments, char *why, size_t why_size);

/* The command is about to run / has ended. False: it is still running, its caller was killed. */
bool command_lock_begin(int command_lock);
void command_lock_end(int command_lock);

/* The directory of the locks, made if it is missing; false: and why. */
bool command_lock_directory(const char *given, char *directory, size_t size, char *why,
			    size_t why_size);

/* A name for that command in this directory, for this user. */
void command_lock_name(char *const *arguments, char *name, size_t size);

#endif
