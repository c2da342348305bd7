/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock_directory: where the locks of `safestart run` are. */
#ifndef SAFESTART_COMMAND_LOCK_DIRECTORY_H
#define SAFESTART_COMMAND_LOCK_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

/* The directory, created if it is missing; `given`: by --lock-dir, or NULL. False: the reason is in
 * `why`. */
bool lock_directory(const char *given, char *directory, size_t size, char *why, size_t why_size);

#endif
