/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* drains: FILE.draining beside a node file: which nodes are withdrawn on purpose, until when, why,
 * and with which address and labels they come back. Written only under the lock of the node file.
 * Its times are wall clock times: they outlive a boot, and other hosts read them. */
#ifndef SAFESTART_COMMAND_DRAINS_H
#define SAFESTART_COMMAND_DRAINS_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "files/file_sd.h"

#define DRAINS_WORDS_SIZE 600

struct drains {
	json_t *root;   /* id → {until, reason, by, address, labels} */
	json_t *before; /* as read, for drains_restore() */
	bool changed;
};

/* Reads the file beside `path`, a real path; a missing file is an empty one. 0 or -EINVAL with the
 * reason in `why`. */
int drains_read(struct drains *drains, const char *path, char *why, size_t why_size);
/* 0 or an exit code, the message printed. */
int drains_write(struct drains *drains, const struct file_sd *file_sd);
/* Writes back what was read: the node file could not be changed, so no node left it. */
void drains_restore(struct drains *drains, const struct file_sd *file_sd);
void drains_free(struct drains *drains);

/* The note of a node that is draining now; NULL: none, or its time is over. */
const json_t *drains_find(const struct drains *drains, const char *id, time_t now);
/* The same, also when its time is over. */
const json_t *drains_note(const struct drains *drains, const char *id);
time_t drains_until(const json_t *note);

/* "drained until 2026-01-02T03:04:05Z by root@host (kernel update)", in DRAINS_WORDS_SIZE bytes. */
void drains_words(const json_t *note, char words[DRAINS_WORDS_SIZE]);

/* The nodes that are draining now, in the order of the file: an array of {id, until, by, reason,
 * in_file}. `in_file`: another program has written the node back, so the servers use it; with
 * `file_sd` NULL it is false. NULL: no memory. */
json_t *drains_list(const struct drains *drains, const struct file_sd *file_sd, time_t now);
/* The same for the node file at that path, without a lock and without messages: empty where one of
 * the two files cannot be read. Nothing but a regular file is opened. */
json_t *drains_list_at(const char *path, time_t now);

/* Notes a node. `entry` is the node as announced; NULL: it is withdrawn already, and the address
 * and labels noted before stay. False: no memory. */
bool drains_set(struct drains *drains, const char *id, const struct file_sd_entry *entry,
		time_t until, const char *reason);
void drains_remove(struct drains *drains, const char *id);

#endif
