/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replace: a file is replaced as a whole or not at all, whoever is killed and however full the disk
 * is, by one at a time. */
#ifndef SAFESTART_COMMAND_REPLACE_H
#define SAFESTART_COMMAND_REPLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Open, lock and read. 0, or how the program ends, having said why; then nothing is left behind. */
int replace_begin(const char *given, bool locked, char **path, int *fd, struct stat *status,
		  char **text, size_t *length);

/* With the mode and owner of `like`. `locked` (-1: none) is the file as it was read: if it is no
 * longer what `path` names, somebody who does not know of the lock has replaced it, and nothing is
 * written. 0, or how the program ends, having said why. */
int replace_file(const char *path, int locked, const struct stat *like, const char *text,
		 size_t length);

#endif
