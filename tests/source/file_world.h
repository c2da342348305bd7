/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_world: a directory w/ in which a node file is reached in one of several ways, and everything
 * that editors, tools, kubelets and administrators do to it, each in two steps. */
#ifndef FILE_WORLD_H
#define FILE_WORLD_H

#include <stdbool.h>
#include <stddef.h>

enum layout {
	PLAIN,      /* w/d/n.json */
	CONFIG_MAP, /* w/d/n.json -> ..data/n.json, w/d/..data -> ..v1 */
	LINKED,     /* w/d/l/n.json, w/d/l -> ../e */
	LAYOUTS
};

extern struct world {
	int directory; /* that w/ is in */
	enum layout layout;
	bool inotify, threads;
	int version; /* of the file at the beginning of a schedule */
} world;

/* Where the file is reached, beginning with w/. */
const char *world_path(void);

/* Anew, whatever is there. Every version of the file is as long as every other, longer than two
 * blocks of the source, and has two nodes, at its beginning and at its end: vVERSION:80 and
 * wVERSION:80. */
void world_make(int version);

/* What is there at last; -1: nothing that could be read. */
int world_version(void);

/* Step 0 or 1 of an edit, which writes that version. */
extern void (*const world_edits[])(int step, int version);
extern const size_t world_edit_count;

#endif
