/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_sd: edits a file_sd document that other programs read and write: under a lock, as a whole or
 * not at all, and only the groups concerned: every other byte stays as it is. replace.h says what
 * is locked. */
#ifndef SAFESTART_COMMAND_FILE_SD_H
#define SAFESTART_COMMAND_FILE_SD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "files/replace.h"

struct file_sd_group {
	size_t start, end; /* position in the text */
	json_t *group;
	char *text; /* replaces it; NULL: unchanged */
	bool dropped;
};

struct file_sd {
	struct replace file;
	char *text;
	size_t length;
	json_t *root;
	json_t *ids; /* of address_ids() */
	struct file_sd_group *groups;
	size_t count;
	char *added; /* one more group; NULL: none */
	bool changed;
};

/* One target of one group. */
struct file_sd_entry {
	struct file_sd_group *in;
	size_t target; /* index in the group */
	const char *id, *address;
	const json_t *labels; /* NULL: none */
	bool alone;           /* it is the group's only target */
};

/* Takes over a document that ends in a NUL; file_sd_close() frees it, also after an error.
 * `strict`, to edit it: a group that the library would leave out is an error, and a member that
 * could not be written back. Else the entries are those that can be read. 0; -EINVAL, malformed;
 * -ENOTSUP, the library accepts it and it cannot be handled here; or another error; with the reason
 * in `why`. */
int file_sd_take(struct file_sd *file_sd, char *text, size_t length, bool strict, char *why,
		 size_t why_size);

/* The edited text; the caller frees it. NULL: no memory. */
char *file_sd_text(const struct file_sd *file_sd, size_t *length);

/* Reads the file, under its lock if it is to be changed (`how` is not NULL). 0 or an exit code, the
 * message printed. */
int file_sd_open(struct file_sd *file_sd, const char *path, const struct replace_how *how);
void file_sd_close(struct file_sd *file_sd);

/* Moves *at to the next entry (all zero: to the first), skipping dropped groups. False: no more. */
bool file_sd_next(const struct file_sd *file_sd, struct file_sd_entry *at);
bool file_sd_find(const struct file_sd *file_sd, const char *id, struct file_sd_entry *entry);

/* Puts the group in place of every entry with that id, or removes every entry with that id. False:
 * no memory. An entry that is already as wanted stays, byte for byte [P7]. */
bool file_sd_put(struct file_sd *file_sd, const char *id, json_t *group);
bool file_sd_remove(struct file_sd *file_sd, const char *id);

/* Replaces the file if anything changed. 0, or an exit code, the message printed and the file
 * unchanged. */
int file_sd_write(struct file_sd *file_sd);

/* The same for a file beside it, with its mode, owner and attributes; NULL: removes that file. */
int file_sd_write_beside(const struct file_sd *file_sd, const char *suffix, const char *text);

/* --file or $SAFESTART_NODES; NULL: neither, the message is printed. */
const char *file_sd_path(const char *given);

#endif
