/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * source/file: the nodes are in a file_sd document on disk, source=file:PATH. An example of a
 * source: it uses nothing but safestart/source.h.
 *
 * The file may be rewritten in place, replaced by rename, reached through symbolic links that are
 * swapped (a Kubernetes ConfigMap), deleted and made again, in a directory that does not exist yet.
 * inotify says when to look (watch.c); what is there when it is read is the truth, and `reconcile`
 * reads again in any case.
 */
#include "source/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "source/watch.h"

/* What tells one content of the file from another without reading it. */
struct stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec mtime;
	struct timespec ctime;
};

struct file {
	char *path;
	struct watch *watch; /* NULL: not to be had yet; reconcile goes on */
	bool warned;
	bool known; /* stamp is that of what was handed over last */
	struct stamp stamp;
};

/* The host may change its directory later; what was meant is what was meant now. */
static char *absolute(const char *path)
{
	char *directory = path[0] == '/' ? NULL : getcwd(NULL, 0);
	char *joined = NULL;

	if (directory == NULL)
		return path[0] == '/' || errno != ENOMEM ? strdup(path) : NULL;
	if (asprintf(&joined, "%s/%s", directory, path) < 0)
		joined = NULL;
	free(directory);
	return joined;
}

static int file_open(void **state, const struct safestart_source_conf *conf, char *why,
		     size_t why_size, void *user_data)
{
	const char *path = safestart_source_argument(conf);
	struct file *file;

	(void)user_data;
	if (path[0] == '\0') {
		snprintf(why, why_size,
			 "write the path of the file after the colon: file:/etc/app/nodes.json");
		return -EINVAL;
	}
	file = calloc(1, sizeof(*file));
	if (file == NULL || (file->path = absolute(path)) == NULL) {
		free(file);
		return -ENOMEM;
	}
	(void)watch_new(&file->watch); /* tried again, and said, at the first gather */
	*state = file;
	return 0;
}

static void file_close(void *state)
{
	struct file *file = state;

	watch_free(file->watch);
	free(file->path);
	free(file);
}

static int file_fd(void *state)
{
	return watch_fd(((struct file *)state)->watch);
}

static int file_hint(void *state)
{
	return watch_hint(((struct file *)state)->watch);
}

/* ---- Reading ---- */

static int fail(struct safestart_gather *gather, struct file *file, int error, const char *what)
{
	char message[256];

	file->known = false; /* "unchanged" would now mean this failure */
	snprintf(message, sizeof(message), "%.180s: %s", file->path, what);
	return safestart_gather_fail(gather, error, message);
}

static void take_stamp(struct stamp *stamp, const struct stat *status)
{
	memset(stamp, 0, sizeof(*stamp)); /* padding takes part in the comparison */
	stamp->device = status->st_dev;
	stamp->inode = status->st_ino;
	stamp->size = status->st_size;
	stamp->mtime = status->st_mtim;
	stamp->ctime = status->st_ctim;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Times of a file are as coarse as a kernel tick: a file changed just now can change again and look
 * the same. */
static bool is_old_enough(const struct stamp *stamp)
{
	struct timespec now;

	/* The clock that made the stamp; stepped back, the file is read once more. */
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - stamp->ctime.tv_sec > 2;
}

/* Up to `limit` + 1 bytes, into memory the caller frees. */
static int read_file(int fd, size_t expected, size_t limit, char **out, size_t *length)
{
	size_t room = (expected < limit ? expected : limit) + 1;
	char *buffer = malloc(room);

	*length = 0;
	while (buffer != NULL) {
		ssize_t n = read(fd, buffer + *length, room - *length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int error = -errno;
			free(buffer);
			return error;
		}
		*length += (size_t)n;
		if (n == 0 || *length > limit)
			break;
		if (*length == room) { /* it has grown */
			room = room < limit / 2 ? room * 2 : limit + 1;
			char *grown = realloc(buffer, room);
			if (grown == NULL)
				free(buffer);
			buffer = grown;
		}
	}
	*out = buffer;
	return buffer != NULL ? 0 : -ENOMEM;
}

static int hand_over(struct file *file, int fd, const struct stat *status,
		     struct safestart_gather *gather)
{
	struct stamp before, after;
	struct stat again;
	char *text = NULL;
	size_t length, limit = safestart_gather_max_bytes(gather);

	take_stamp(&before, status);
	if (file->known && same_stamp(&before, &file->stamp) && !safestart_gather_forced(gather) &&
	    safestart_gather_unchanged(gather) == 0)
		return 0;
	file->known = false;
	int error = read_file(fd, (size_t)status->st_size, limit, &text, &length);
	if (error < 0)
		return fail(gather, file, error,
			    error == -ENOMEM ? "out of memory while reading it"
					     : safestart_strerror(error));
	if (fstat(fd, &again) < 0) {
		error = fail(gather, file, -errno, safestart_strerror(errno));
		free(text);
		return error;
	}
	take_stamp(&after, &again);
	/* Replaced by rename while it was read, the old file is as whole as before: only its last
	 * link has gone. */
	if (!same_stamp(&before, &after) && again.st_nlink > 0) {
		free(text);
		return fail(gather, file, -EAGAIN, "it changed while it was read");
	}
	error = safestart_gather_json(gather, text, length);
	free(text);
	if (error != -ENOMEM) { /* a refused document need not be parsed again either */
		file->stamp = before;
		file->known = is_old_enough(&before) && again.st_nlink > 0;
	}
	return error;
}

static void warn_unwatched(struct safestart_gather *gather, int error)
{
	char message[320];

	snprintf(message, sizeof(message),
		 "%s: changes of the file are seen only when asked, and every `reconcile`; tried "
		 "again then",
		 error == -EACCES ? "a directory on the way to the file may not be read, so a "
				    "change of what is in it goes unnoticed"
				  : "inotify is not to be had (descriptors, or "
				    "fs.inotify.max_user_instances, max_user_watches)");
	safestart_gather_warn(gather, message);
}

static int file_gather(void *state, struct safestart_gather *gather)
{
	struct file *file = state;
	struct stat status;

	/* Watch first, then read: what changes in between is noticed. */
	if (file->watch == NULL)
		(void)watch_new(&file->watch);
	int error = watch_follow(file->watch, file->path);
	if (error < 0 && !file->warned)
		warn_unwatched(gather, error);
	file->warned = error < 0;
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return fail(gather, file, -errno,
			    "there is no such file; it is read as soon as it appears");
	if (fd < 0)
		return fail(gather, file, -errno, safestart_strerror(errno));
	if (fstat(fd, &status) < 0)
		error = fail(gather, file, -errno, safestart_strerror(errno));
	else if (S_ISDIR(status.st_mode))
		error = fail(gather, file, -EISDIR, "it is a directory; name the file in it");
	else if (!S_ISREG(status.st_mode))
		error = fail(gather, file, -EINVAL, "it is not a regular file");
	else
		error = hand_over(file, fd, &status, gather);
	close(fd);
	return error;
}

const struct safestart_source file_source = {
	.size = sizeof(file_source),
	.scheme = "file",
	.open = file_open,
	.gather = file_gather,
	.close = file_close,
	.fd = file_fd,
	.hint = file_hint,
};
