/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file: opens without waiting, looks at what is open, and only then reads. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* One byte more than the limit shows that there is more. */
static int read_all(int fd, char *text, size_t limit)
{
	size_t used = 0;
	ssize_t length;

	do {
		length = read(fd, text + used, limit + 1 - used);
		used += length > 0 ? (size_t)length : 0;
	} while (used <= limit && (length > 0 || (length < 0 && errno == EINTR)));
	if (length < 0)
		return -errno;
	text[used <= limit ? used : limit] = '\0';
	return used <= limit ? 0 : -EFBIG;
}

int file_read(const char *path, size_t limit, char **text, uid_t *owner)
{
	struct stat status = {.st_uid = (uid_t)-1};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), error = 0;

	*text = NULL;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		error = -errno;
	else if (!S_ISREG(status.st_mode))
		error = -EINVAL;
	else if ((*text = malloc(limit + 1)) == NULL)
		error = -ENOMEM;
	else
		error = read_all(fd, *text, limit);
	*owner = status.st_uid;
	close(fd);
	if (error < 0) {
		free(*text);
		*text = NULL;
	}
	return error;
}
