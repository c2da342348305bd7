/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ancestor: notices a caller that is inside of the command for which it asks. It would wait for its
 * own end, for ever. */
#ifndef SAFESTART_COMMAND_ANCESTOR_H
#define SAFESTART_COMMAND_ANCESTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* True: an ancestor of this process holds a write lock on this byte of the file; `why` names the
 * command below it, which this process is or was started by. What /proc does not show, such as a
 * process of another user, is not noticed. */
bool ancestor_holds(int fd, off_t byte, char *why, size_t why_size);

#endif
