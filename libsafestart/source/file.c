/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file: the nodes are in a file_sd document on disk, source=file:PATH. An example of a source: it
 * uses nothing but safestart/source.h, and is there to be copied.
 *
 * Threads: as source.h says, one call at a time; gather and hint where callbacks run.
 *
 * The file may be rewritten in place, replaced by rename, reached through symbolic links that are
 * swapped (a Kubernetes ConfigMap), deleted and created again, or in a directory that does not
 * exist yet. inotify only says when to read it (watch.c); what is read then is what counts. If
 * inotify misses a change, `reconcile` reads the file again [P15].
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

/* Equal stamps mean equal content, so that an unchanged file need not be read. See is_old_enough().
 */
struct stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec mtime;
	struct timespec ctime;
};

struct file {
	char *path;
	struct watch *watch; /* NULL: inotify is not available; tried again at each gather */
	bool warned;         /* that changes may go unnoticed */
	bool known;          /* `stamp` is of the content that the last gather returned */
	struct stamp stamp;
};

/* A relative path refers to the working directory at open: the application may change it later.
 * NULL: out of memory. */
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
			 "no path given; set source=file:PATH, for example "
			 "source=file:/etc/app/nodes.json");
		return -EINVAL;
	}
	file = calloc(1, sizeof(*file));
	if (file == NULL || (file->path = absolute(path)) == NULL) {
		free(file);
		return -ENOMEM;
	}
	(void)watch_new(&file->watch); /* the first gather tries again, and warns */
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

/* Fail this gather; the live set stays as it is [P9]. The cause comes before the path, because a
 * narrow terminal cuts the end. `remedy`: "" or "; what to do". */
static int fail(struct safestart_gather *gather, struct file *file, int error, const char *cause,
		const char *remedy)
{
	char message[320];

	file->known = false; /* "unchanged" would now refer to this failure */
	snprintf(message, sizeof(message), "cannot read the node file: %s (%.180s)%s", cause,
		 file->path, remedy);
	return safestart_gather_fail(gather, error, message);
}

static void take_stamp(struct stamp *stamp, const struct stat *status)
{
	memset(stamp, 0, sizeof(*stamp)); /* the comparison includes the padding */
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

/* File times are as coarse as a kernel tick: a file that has just changed can change again and keep
 * its stamp. Only an older stamp is remembered. */
static bool is_old_enough(const struct stamp *stamp)
{
	struct timespec now;

	/* The wall clock, because file times are: when it was set back, the file is merely read
	 * once more [P8]. */
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - stamp->ctime.tv_sec > 2;
}

/* Read up to `limit` + 1 bytes into memory that the caller frees: one more than allowed shows that
 * the file is too large. 0 or -errno. */
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
		if (*length == room) { /* the file has grown since fstat() */
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

/* Read the file, unless it is known to be unchanged, and pass it to the library [P7]. */
static int read_document(struct file *file, int fd, const struct stat *status,
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
			    error == -ENOMEM ? "out of memory" : safestart_strerror(error), "");
	if (fstat(fd, &again) < 0) {
		error = fail(gather, file, -errno, safestart_strerror(errno), "");
		free(text);
		return error;
	}
	take_stamp(&after, &again);
	/* Changed while it was being read: the content may be half old, half new [P9]. Without a
	 * link it was replaced by rename or deleted meanwhile: its content is as complete as
	 * before, only the stamp has changed. */
	if (!same_stamp(&before, &after) && again.st_nlink > 0) {
		free(text);
		return fail(gather, file, -EAGAIN, "it changed while it was being read", "");
	}
	error = safestart_gather_json(gather, text, length);
	free(text);
	if (error != -ENOMEM) { /* a refused document need not be parsed again, either */
		file->stamp = before;
		file->known = is_old_enough(&before) && again.st_nlink > 0;
	}
	return error;
}

/* Once, until the watch works again. */
static void warn_unwatched(struct safestart_gather *gather, int error)
{
	char message[320];

	snprintf(message, sizeof(message),
		 "%s; changes of the file are noticed only at a request and at each `reconcile`; "
		 "retrying then",
		 error == -EACCES ? "no permission to read a directory on the path of the file, so "
				    "inotify cannot watch it"
				  : "inotify is not available (out of descriptors, or the limit "
				    "fs.inotify.max_user_instances or max_user_watches is "
				    "reached)");
	safestart_gather_warn(gather, message);
}

static int file_gather(void *state, struct safestart_gather *gather)
{
	struct file *file = state;
	struct stat status;

	/* Watch first, then read: a change in between is noticed. */
	if (file->watch == NULL)
		(void)watch_new(&file->watch);
	int error = watch_follow(file->watch, file->path);
	if (error < 0 && !file->warned)
		warn_unwatched(gather, error);
	file->warned = error < 0;
	/* O_NONBLOCK: opening a FIFO must not block; it is refused below. */
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return fail(gather, file, -errno, "no such file",
			    "; it will be read as soon as it appears");
	if (fd < 0)
		return fail(gather, file, -errno, safestart_strerror(errno), "");
	if (fstat(fd, &status) < 0)
		error = fail(gather, file, -errno, safestart_strerror(errno), "");
	else if (S_ISDIR(status.st_mode))
		error = fail(gather, file, -EISDIR, "it is a directory",
			     "; set source=file:PATH to the file in it");
	else if (!S_ISREG(status.st_mode))
		error = fail(gather, file, -EINVAL, "it is not a regular file", "");
	else
		error = read_document(file, fd, &status, gather);
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
