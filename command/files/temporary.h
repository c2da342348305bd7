/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* temporary: a new file, prepared beside the one whose place it takes. Its name is its own, so that
 * no other process writes it; what a killed process left is removed [P18]. */
#ifndef SAFESTART_COMMAND_TEMPORARY_H
#define SAFESTART_COMMAND_TEMPORARY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct temporary {
	int directory;
	const char *place; /* the name that it will get */
	int fd;
	char *name; /* NULL: it has none yet */
};

/* Opens the directory of `path`, which has a slash; *name: what is behind the last one. The
 * descriptor or -errno. */
int temporary_folder(const char *path, const char **name);

/* Opens that directory and an empty file in it, mode 0600. 0 or -errno; temporary_end() also after
 * an error. */
int temporary_begin(struct temporary *temporary, const char *path);

/* A file as it was read. Its contents decide whether it has been written since: a store through a
 * mapping changes no time stamp. */
struct temporary_old {
	const struct stat *status;
	const char *text;
	size_t length;
};

/* The same file, open for reading at `fd`, with the same contents. */
bool temporary_is_as_read(int fd, const struct temporary_old *old);

/* Gives it its name, and makes it the file at `path`. `old` (NULL: whatever is there): the file
 * that it replaces; if another one is there, that one stays, and the result is -ESTALE. 0 or
 * -errno. */
int temporary_place(struct temporary *temporary, const struct temporary_old *old);

/* Closes it; if it was not placed, it is gone. */
void temporary_end(struct temporary *temporary);

#endif
