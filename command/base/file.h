/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file: reads a small file that lies in a directory where others may write. It may be anything: a
 * FIFO, a device, a link to a file that only root may read, or a file that never ends. */
#ifndef SAFESTART_COMMAND_FILE_H
#define SAFESTART_COMMAND_FILE_H

#include <stddef.h>
#include <sys/stat.h>

struct file_text {
	char *text; /* ends with a NUL byte; the caller frees it */
	size_t length;
	struct stat status;
};

/* Reads a regular file of at most `limit` bytes. 0; -ELOOP: a symbolic link; -EINVAL: not a regular
 * file; -EFBIG; any other -errno. After an error text is NULL. */
int file_read(const char *path, size_t limit, struct file_text *file);

#endif
