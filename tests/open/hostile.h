/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* hostile: makes this process a host that refuses system calls, as containers and hardened servers
 * do. What is forbidden stays so until the process ends. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>

/* From now on this call fails with `error` in this thread and in those that it starts. False: the
 * kernel has no such filters. */
bool forbid_call(long call, int error);

/* From now on no thread can be started here, as with a limit of tasks that is reached: EAGAIN. A
 * fork works. */
bool forbid_threads(void);

#endif
