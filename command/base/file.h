/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file: reads a small file that lies in a directory where others may write. It may be anything: a
 * FIFO, a device, a link to a file that only root may read, or a file that never ends. */
#ifndef SAFESTART_COMMAND_FILE_H
#define SAFESTART_COMMAND_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* The contents, as a string that the caller frees, and the owner of the file. Regular files of at
 * most `limit` bytes only. 0; -ELOOP: a symbolic link; -EINVAL: not a regular file; -EFBIG; any
 * other -errno. */
int file_read(const char *path, size_t limit, char **text, uid_t *owner);

#endif
