/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* drains: FILE.draining, beside a file of nodes: which nodes are withdrawn on purpose, until when,
 * why, and what they were, so that they come back with their labels. Written under the lock of the
 * file of nodes. Its times are the wall clock's: they outlive boots, and are for other hosts too.
 */
#ifndef SAFESTART_COMMAND_DRAINS_H
#define SAFESTART_COMMAND_DRAINS_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "files/file_sd.h"

struct drains {
	json_t *root;   /* id → {until, reason, by, address, labels} */
	json_t *before; /* as it was read */
	bool changed;
};

/* What stands beside `path`, a file's real one; nothing there is an empty one. 0 or -EINVAL and why
 * in words. */
int drains_read(struct drains *drains, const char *path, char *why, size_t why_size);
/* 0, or how the program ends. */
int drains_write(struct drains *drains, const struct file_sd *file_sd);
/* What was noted when it was read is written again: the node has stayed. */
void drains_restore(struct drains *drains, const struct file_sd *file_sd);
void drains_free(struct drains *drains);

/* The note, if there is one and its time has not passed. / Also if it has. */
const json_t *drains_find(const struct drains *drains, const char *id, time_t now);
const json_t *drains_note(const struct drains *drains, const char *id);
time_t drains_until(const json_t *note);

/* Of a node that is `entry` (NULL: it is withdrawn already, what is known of it stays). False: no
 * memory. */
bool drains_set(struct drains *drains, const char *id, const struct file_sd_entry *entry,
		time_t until, const char *reason);
void drains_remove(struct drains *drains, const char *id);

#endif
