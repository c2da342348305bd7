/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* watch: notices when the content that a path leads to may have changed, by inotify: every
 * directory and symbolic link on the path, and the file. Part of the source file, called as that
 * is: worker. Every function but watch_hint() takes NULL (no watch). Must not use anything of the
 * library. */
#ifndef SAFESTART_SOURCE_WATCH_H
#define SAFESTART_SOURCE_WATCH_H

struct watch;

/* 0 or -errno. */
int watch_new(struct watch **out);
void watch_free(struct watch *watch);
/* The descriptor to poll; -1: none. */
int watch_fd(const struct watch *watch);

/* Watch what `path` leads through at this moment. 0; -errno: a part of it cannot be watched. */
int watch_follow(struct watch *watch, const char *path);

/* Read the events. 1: the path or the file may have changed; 0: nothing of interest. */
int watch_hint(struct watch *watch);

#endif
