/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replace: replaces a file as a whole or not at all, by one process at a time, also when a process
 * is killed [P18] or the disk is full. */
#ifndef SAFESTART_COMMAND_REPLACE_H
#define SAFESTART_COMMAND_REPLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Opens, locks and reads. 0, or an exit code, the message printed and everything released. */
int replace_begin(const char *given, bool locked, char **path, int *fd, struct stat *status,
		  char **text, size_t *length);

/* Writes the file with the mode and owner of `like`. `locked` (-1: none) is the descriptor that was
 * read: if `path` names another file by now, a program that ignores the lock has replaced it, and
 * nothing is written. 0, or an exit code, the message printed. */
int replace_file(const char *path, int locked, const struct stat *like, const char *text,
		 size_t length);

#endif
