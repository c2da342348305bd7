/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* command_lock: the file NAME.command beside a lock of `safestart run`. It ensures that one name
 * means one command, and that a command whose caller was killed is not started a second time [P1].
 * Two bytes of it are locked: all callers inside share the first, the supervisor of a running
 * command holds the second. Both locks belong to the open file: they end with the processes that
 * have it open [P18]. The process of the command has no lock of it; its identity stands in the
 * file, for the case that caller and supervisor are killed. */
#ifndef SAFESTART_COMMAND_COMMAND_LOCK_H
#define SAFESTART_COMMAND_COMMAND_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define COMMAND_LOCK_BUSY (-2)

/* Enters with this command. Returns a descriptor, or -1 with the reason in `why`; with `alone`
 * COMMAND_LOCK_BUSY at once if any other caller is inside. Takes up to a
 * second if another command is inside, and up to 30 s while another caller writes its command. */
int command_lock_enter(const char *path, char *const *arguments, bool alone, char *why,
		       size_t why_size);

/* To be called before the command starts. 0: it may. Else the command of a killed caller is still
 * running: its PID, or -1 if only what it has started is left, see family.h. */
pid_t command_lock_begin(int command_lock);

/* To be called when the command has a process, which has not begun yet. False, with errno: it is
 * not recorded. */
bool command_lock_record(int command_lock, pid_t command);

/* To be called after the command has ended. */
void command_lock_end(int command_lock);

#endif
