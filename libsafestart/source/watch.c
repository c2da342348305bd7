/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* watch: walks a path as the kernel would and adds an inotify watch for each step. Worker. A missed
 * event is repaired by `reconcile` [P15], a needless one costs reading the file once: if in doubt,
 * the file counts as changed. */
#include "source/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40  /* symbolic links to follow; the kernel has the same limit */
#define STEPS_MAX 256 /* directories, links and the file */

/* In a directory: a name is created, removed or renamed. Not IN_MODIFY, which would report each
 * write to any file in it, such as a log. For the file: its content changes. */
#define DIRECTORY_EVENTS                                                                       \
	(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
	 IN_ATTRIB | IN_ONLYDIR)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* A directory on the path, and the name in it that matters; name "": the file itself. */
struct step {
	int wd; /* of inotify */
	char *name;
};

struct watch {
	int fd;             /* inotify */
	struct step *steps; /* of the newest watch_follow() */
	size_t count;
};

int watch_new(struct watch **out)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	*out = NULL;
	if (watch == NULL)
		return -ENOMEM;
	watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->fd < 0) {
		int error = -errno;
		free(watch);
		return error;
	}
	*out = watch;
	return 0;
}

static void free_steps(struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(steps[i].name);
	free(steps);
}

/* Only close(): in a forked child inotify_rm_watch() would remove the parent's watches [P17]. */
void watch_free(struct watch *watch)
{
	if (watch == NULL)
		return;
	close(watch->fd);
	free_steps(watch->steps, watch->count);
	free(watch);
}

int watch_fd(const struct watch *watch)
{
	return watch != NULL ? watch->fd : -1;
}

/* ---- Following a path ---- */

struct walk {
	struct watch *watch;
	struct step *steps;
	size_t count;
	int error; /* the first one that matters */
	int links; /* followed so far */
};

/* Watch one step. */
static void add_step(struct walk *walk, const char *path, uint32_t events, const char *name)
{
	int wd = inotify_add_watch(walk->watch->fd, path, events | IN_MASK_ADD);
	int error = wd < 0 ? -errno : 0;
	char *copy = wd >= 0 && walk->count < STEPS_MAX ? strdup(name) : NULL;

	if (copy != NULL) {
		walk->steps[walk->count++] = (struct step){.wd = wd, .name = copy};
		return;
	}
	if (error == 0)
		error = -ENOMEM;
	/* A missing step is no failure, nor is a file that may not be read: the watch of the
	 * directory above reports when that changes. */
	bool reported_from_above =
		error == -ENOENT || error == -ENOTDIR || (error == -EACCES && name[0] == '\0');
	if (walk->error == 0 && !reported_from_above)
		walk->error = error;
}

/* Copy the next component of `rest` to `name` ("": there is none); returns what follows it. */
static const char *next_name(const char *rest, char name[NAME_MAX + 1])
{
	rest += strspn(rest, "/");
	size_t length = strcspn(rest, "/");
	if (length > NAME_MAX)
		length = NAME_MAX; /* no such file can exist; open() says so */
	memcpy(name, rest, length);
	name[length] = '\0';
	return rest + strcspn(rest, "/");
}

/* Walk `path`, from `start` if it is relative. At a symbolic link the walk continues with its
 * target, from the directory that the link is in. */
static void walk_path(struct walk *walk, const char *start, const char *path)
{
	char directory[PATH_MAX], rest[PATH_MAX], next[PATH_MAX], name[NAME_MAX + 1],
		target[PATH_MAX];

	snprintf(directory, sizeof(directory), "%s", path[0] == '/' ? "/" : start);
	snprintf(rest, sizeof(rest), "%s", path);
	for (;;) {
		const char *after = next_name(rest, name);
		if (name[0] == '\0')
			return;
		/* Watch, then look: a change in between is noticed. */
		add_step(walk, directory, DIRECTORY_EVENTS, name);
		if ((size_t)snprintf(next, sizeof(next), "%s%s%s", directory,
				     strcmp(directory, "/") == 0 ? "" : "/", name) >= sizeof(next))
			return;
		ssize_t length = readlink(next, target, sizeof(target) - 1);
		if (length < 0 && errno != EINVAL && errno != ENOENT && errno != ENOTDIR &&
		    walk->error == 0)
			walk->error = -errno; /* a link may go unwatched here */
		if (length >= 0 && ++walk->links <= LINKS_MAX) {
			char remaining[PATH_MAX];
			target[length] = '\0';
			if ((size_t)snprintf(remaining, sizeof(remaining), "%s%s%s", target,
					     after[0] != '\0' ? "/" : "",
					     after) >= sizeof(remaining))
				return;
			memcpy(rest, remaining, sizeof(rest));
			if (target[0] == '/')
				strcpy(directory, "/");
			continue;
		}
		memmove(rest, after, strlen(after) + 1);
		memcpy(directory, next, sizeof(directory));
		if (rest[strspn(rest, "/")] == '\0') {
			add_step(walk, directory, FILE_EVENTS, "");
			return;
		}
	}
}

static bool is_watched(const struct walk *walk, int wd)
{
	for (size_t i = 0; i < walk->count; i++) {
		if (walk->steps[i].wd == wd)
			return true;
	}
	return false;
}

int watch_follow(struct watch *watch, const char *path)
{
	struct walk walk = {.watch = watch};

	if (watch == NULL)
		return -ENODEV;
	walk.steps = calloc(STEPS_MAX, sizeof(*walk.steps));
	if (walk.steps == NULL)
		return -ENOMEM;
	walk_path(&walk, ".", path);
	/* Old watches go after the new ones were added: there is no moment without one. */
	for (size_t i = 0; i < watch->count; i++) {
		/* This fails if the kernel has removed it already, together with its directory. */
		if (!is_watched(&walk, watch->steps[i].wd))
			(void)inotify_rm_watch(watch->fd, watch->steps[i].wd);
	}
	free_steps(watch->steps, watch->count);
	watch->steps = walk.steps;
	watch->count = walk.count;
	return walk.error;
}

/* Whether the event may mean that the path or the file has changed. */
static bool is_of_interest(const struct watch *watch, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW) /* events were lost: it may have */
		return true;
	for (size_t i = 0; i < watch->count; i++) {
		const struct step *step = &watch->steps[i];
		if (step->wd != event->wd)
			continue;
		/* About the watched file or directory itself, or about the name that matters. */
		if (event->len == 0 ? step->name[0] == '\0' ||
					      (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF |
							      IN_IGNORED | IN_UNMOUNT))
				    : strcmp(step->name, event->name) == 0)
			return true;
	}
	return false;
}

int watch_hint(struct watch *watch)
{
	_Alignas(struct inotify_event) char buffer[4096];
	int changed = 0;

	for (;;) {
		ssize_t n = read(watch->fd, buffer, sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return changed;
		for (char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event =
				(const struct inotify_event *)(void *)at;
			if (is_of_interest(watch, event))
				changed = 1;
			at += sizeof(*event) + event->len;
		}
	}
}
