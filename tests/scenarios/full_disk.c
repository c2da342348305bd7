/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* full_disk: preloaded. As long as the file $FULL_DISK.full exists, the disk is full for files
 * in its directory whose name contains its own: half of a write goes through, then it fails with
 * ENOSPC. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_full(int fd)
{
	const char *file = getenv("FULL_DISK"), *name = file != NULL ? strrchr(file, '/') : NULL;
	char link[64], path[4096];

	if (name == NULL)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = '\0';
	size_t directory = (size_t)(name + 1 - file);
	if (strncmp(path, file, directory) != 0 || strstr(path + directory, name + 1) == NULL)
		return 0;
	snprintf(path, sizeof(path), "%s.full", file);
	return access(path, F_OK) == 0;
}

ssize_t write(int fd, const void *data, size_t size)
{
	ssize_t (*real)(int, const void *, size_t);

	*(void **)&real = dlsym(RTLD_NEXT, "write");
	if (!is_full(fd))
		return real(fd, data, size);
	if (size > 1)
		return real(fd, data, size / 2);
	errno = ENOSPC;
	return -1;
}
