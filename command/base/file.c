/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file: opens without waiting, looks at what is open, and only then reads. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, size_t size, struct file_text *file)
{
	ssize_t length = 1;

	file->text = malloc(size + 1);
	if (file->text == NULL)
		return -ENOMEM;
	while (file->length < size && length != 0) {
		length = read(fd, file->text + file->length, size - file->length);
		if (length < 0 && errno != EINTR)
			return -errno;
		file->length += length > 0 ? (size_t)length : 0;
	}
	file->text[file->length] = '\0';
	return 0;
}

int file_read(const char *path, size_t limit, struct file_text *file)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), error;

	*file = (struct file_text){0};
	if (fd < 0)
		return -errno;
	if (fstat(fd, &file->status) < 0)
		error = -errno;
	else if (!S_ISREG(file->status.st_mode))
		error = -EINVAL;
	else if ((uintmax_t)file->status.st_size > limit)
		error = -EFBIG;
	else
		error = read_all(fd, (size_t)file->status.st_size, file);
	close(fd);
	if (error < 0) {
		free(file->text);
		file->text = NULL;
	}
	return error;
}
