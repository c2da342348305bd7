/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source/watch: notices when a path may lead to something else: every directory and link on the way
 * to a file is watched. Part of source/file; worker only. Every function takes a NULL watch (there
 * is none). */
#ifndef SAFESTART_SOURCE_WATCH_H
#define SAFESTART_SOURCE_WATCH_H

struct watch;

int watch_new(struct watch **out); /* 0 or -errno */
void watch_free(struct watch *watch);
int watch_fd(const struct watch *watch);

/* Watch the way to `path` as it is now. 0; -errno: part of it goes unwatched. */
int watch_follow(struct watch *watch, const char *path);

/* Take the events that have come. 1: the way or the file may have changed. */
int watch_hint(struct watch *watch);

#endif
