/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pidfile - the ordinary kind: a number in a file, looked at when starting, removed when stopping.
 */
#ifndef APISERVER_PIDFILE_H
#define APISERVER_PIDFILE_H

#include <stddef.h>

/* 0; -EEXIST when it names a living process; else -errno. `why` has the words. */
int pidfile_take(const char *path, char *why, size_t why_size);

/* Removes it if it is (still) ours. */
void pidfile_drop(const char *path);

#endif
