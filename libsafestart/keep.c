/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* keep: the file of last_good: the last applied set, readable at any instant whoever is killed when. Worker. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "why.h"

static int read_all(int fd, char *buffer, size_t size, size_t *length)
{
	for (*length = 0; *length < size;) {
		ssize_t n = read(fd, buffer + *length, size - *length);
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			*length += (size_t)n;
	}
	return 0;
}

/* What was live can be live again, whatever min_nodes says today; but nothing is not a set to fall back to. */
static int check(const struct settings *settings, const struct nodeset *set, char *why, size_t why_size)
{
	if (set->count == 0 && set->fault_count == 0 && !settings->rails.allow_empty)
		return why_say(why, why_size, -ERANGE, "it has no nodes");
	return nodeset_usable(set, why, why_size);
}

int keep_load(struct nodeset **out, const struct settings *settings, char *why, size_t why_size)
{
	const char *path = settings->last_good;
	const struct nodeset_limits *limits = &settings->limits;
	struct stat status;
	char *buffer = NULL;
	size_t length;
	int error = 0;

	*out = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return why_say(why, why_size, -errno, "%s", safestart_strerror(errno));
	if (fstat(fd, &status) < 0)
		error = why_say(why, why_size, -errno, "%s", safestart_strerror(errno));
	else if (!S_ISREG(status.st_mode))
		error = why_say(why, why_size, -EINVAL, "it is not a regular file");
	else if (status.st_size > 0 && (size_t)status.st_size > limits->max_bytes)
		error = why_say(why, why_size, -E2BIG, "it has more than max_bytes");
	else if ((buffer = malloc((size_t)status.st_size + 1)) == NULL)
		error = why_say(why, why_size, -ENOMEM, "out of memory");
	if (error == 0) {
		error = read_all(fd, buffer, (size_t)status.st_size, &length);
		if (error < 0)
			why_say(why, why_size, error, "%s", safestart_strerror(error));
	}
	close(fd);
	if (error == 0)
		error = nodeset_parse(out, buffer, length, limits, why, why_size);
	if (error == 0)
		error = check(settings, *out, why, why_size);
	if (error < 0) {
		nodeset_unref(*out);
		*out = NULL;
	}
	free(buffer);
	return error;
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, text, length);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

/* Without it the new name may be gone after a power cut, and the old one too on some file systems. */
static void sync_directory(const char *path)
{
	char *directory = strdup(path);
	char *slash = directory != NULL ? strrchr(directory, '/') : NULL;

	if (slash != NULL)
		slash[slash == directory ? 1 : 0] = '\0';
	int fd = directory != NULL ? open(slash != NULL ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	free(directory);
}

int keep_save(const char *path, const char *json, char *why, size_t why_size)
{
	char *next = NULL;
	int error = 0;

	/* By process, for several may keep the same file; the same name each time, so that a killed one leaves
	 * no litter that grows. */
	if (asprintf(&next, "%s.%ld.tmp", path, (long)getpid()) < 0)
		return why_say(why, why_size, -ENOMEM, "out of memory");
	int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		error = why_say(why, why_size, -errno, "can't write beside it: %s", safestart_strerror(errno));
	} else {
		error = write_all(fd, json, strlen(json));
		if (error == 0 && fsync(fd) < 0)
			error = -errno;
		if (close(fd) < 0 && error == 0)
			error = -errno;
		if (error == 0 && rename(next, path) < 0)
			error = -errno;
		if (error < 0) {
			unlink(next);
			why_say(why, why_size, error, "%s", safestart_strerror(error));
		} else {
			sync_directory(path);
		}
	}
	free(next);
	return error;
}
