/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pidfile - a common PID file: a number in a file, checked at the start, removed at the stop. */
#ifndef APISERVER_PIDFILE_H
#define APISERVER_PIDFILE_H

#include <stddef.h>

/* Returns 0; -EEXIST if it names a running process; else -errno. `why` has the text. */
int pidfile_take(const char *path, char *why, size_t why_size);

/* Removes the file if it still names this process. */
void pidfile_drop(const char *path);

#endif
