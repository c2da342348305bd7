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
 * inotify misses a change, a request and `reconcile` read the file all the same [P2] [P15].
 */
#include "source/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/hash.h"
#include "source/watch.h"

/* At a time into memory that is reused: an unchanged file costs a read, and no memory. On the stack
 * of the thread that gathers. */
#define BLOCK ((size_t)16 << 10)

/* What a file held. Times of files are not looked at: stores through mmap leave them as they are,
 * and a file server's clock is another one. [P2] */
struct content {
	uint64_t hash;
	size_t length;
};

struct file {
	char *path;
	struct watch *watch; /* NULL: inotify is not available; tried again at each gather */
	bool warned;         /* that changes may go unnoticed */
	bool known;          /* `content` is what the last gather returned */
	struct content content;
};

/* A relative path refers to the working directory at open: the application may change it later.
 * NULL: out of memory. */
static char *absolute(const char *path)
{
	char *directory, *joined = NULL;

	if (path[0] == '/')
		return strdup(path);
	directory = getcwd(NULL, 0);
	if (directory == NULL)
		return errno == ENOMEM ? NULL : strdup(path);
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

static bool is_same(const struct content *a, const struct content *b)
{
	return a->hash == b->hash && a->length == b->length;
}

/* Fills the buffer, unless the file ends before. Returns the length or -errno. */
static ssize_t read_block(int fd, char *buffer, size_t size, size_t at)
{
	size_t length = 0;

	while (length < size) {
		ssize_t n = pread(fd, buffer + length, size - length, (off_t)(at + length));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		if (n > 0)
			length += (size_t)n;
	}
	return (ssize_t)length;
}

/* Reads `most` bytes at most, into `text` too unless that is NULL. 0 or -errno. */
static int read_content(int fd, size_t most, char *text, struct content *content)
{
	char block[BLOCK];
	ssize_t n;

	*content = (struct content){0};
	do {
		size_t size = most - content->length < BLOCK ? most - content->length : BLOCK;
		char *to = text != NULL ? text + content->length : block;
		n = read_block(fd, to, size, content->length);
		if (n < 0)
			return (int)n;
		content->hash = hash_xxh64(to, (size_t)n, content->hash);
		content->length += (size_t)n;
	} while ((size_t)n == BLOCK);
	return 0;
}

/* Reads the text of a file that held `first` just now. Two readings that agree are one state of the
 * file: what is written meanwhile, by whatever means, makes them differ. [P9] 0 or -errno; the
 * caller frees *text in any case. */
static int read_again(int fd, const struct content *first, size_t limit, char **text)
{
	/* One byte more shows that it has grown. */
	size_t most = first->length < limit ? first->length + 1 : limit;
	struct content second;

	*text = malloc(most);
	if (*text == NULL)
		return -ENOMEM;
	int error = read_content(fd, most, *text, &second);
	return error == 0 && !is_same(first, &second) ? -EAGAIN : error;
}

static int fail_reading(struct safestart_gather *gather, struct file *file, int error)
{
	return fail(gather, file, error,
		    error == -ENOMEM   ? "out of memory"
		    : error == -EAGAIN ? "it changed while it was being read"
				       : safestart_strerror(error),
		    "");
}

/* Read the file, and pass it to the library unless its content is that of the last time [P7]. */
static int read_document(struct file *file, int fd, struct safestart_gather *gather)
{
	size_t limit = safestart_gather_max_bytes(gather);
	struct content content;
	char *text = NULL;

	limit += limit < SIZE_MAX; /* one byte more than allowed shows that the file is too large */
	int error = read_content(fd, limit, NULL, &content);
	if (error == 0 && file->known && is_same(&content, &file->content) &&
	    !safestart_gather_forced(gather) && safestart_gather_unchanged(gather) == 0)
		return 0;
	if (error == 0)
		error = read_again(fd, &content, limit, &text);
	if (error < 0) {
		free(text);
		return fail_reading(gather, file, error);
	}
	error = safestart_gather_json(gather, text, content.length);
	free(text);
	file->content = content;
	file->known = error != -ENOMEM; /* a refused document need not be parsed again, either */
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
		error = read_document(file, fd, gather);
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
