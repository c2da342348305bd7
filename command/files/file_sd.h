/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* file_sd: edit a file_sd document that others read and write: under a lock, the whole file at once
 * or not at all, and nothing touched but the groups that are meant: every other byte stays. The
 * file itself is the lock (flock), so that nothing is left lying about. */
#ifndef SAFESTART_COMMAND_FILE_SD_H
#define SAFESTART_COMMAND_FILE_SD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct file_sd_group {
	size_t start, end; /* where in the text */
	json_t *group;
	char *text; /* instead; NULL: as it was */
	bool dropped;
};

struct file_sd {
	char *path; /* of the file itself, behind any symbolic link */
	int fd;     /* locked */
	struct stat status;
	char *text;
	size_t length;
	json_t *root;
	struct file_sd_group *groups;
	size_t count;
	char *added; /* a group more; NULL: none */
	bool changed;
};

/* One target of one group. */
struct file_sd_entry {
	struct file_sd_group *in;
	size_t target; /* of how many, says the group */
	const char *id, *address;
	const json_t *labels; /* NULL: none */
	bool alone;           /* it is the group's only target */
};

/* Take a document (a NUL behind its end), to be freed by file_sd_close(). 0 or -EINVAL, -ENOMEM and
 * why in words. */
int file_sd_take(struct file_sd *file_sd, char *text, size_t length, char *why, size_t why_size);

/* As it was edited; NULL: no memory. free() it. */
char *file_sd_text(const struct file_sd *file_sd, size_t *length);

/* Lock and read. 0, or how the program ends, having said why. `locked` false: only read. */
int file_sd_open(struct file_sd *file_sd, const char *path, bool locked);
void file_sd_close(struct file_sd *file_sd);

/* The next entry after *at (all zero: the first); false: there is none. Dropped groups are left
 * out. */
bool file_sd_next(const struct file_sd *file_sd, struct file_sd_entry *at);
bool file_sd_find(const struct file_sd *file_sd, const char *id, struct file_sd_entry *entry);

/* Put the group in, in place of whatever has that id / take every entry with that id out. False: no
 * memory. What is as it is to be stays, byte for byte. */
bool file_sd_put(struct file_sd *file_sd, const char *id, json_t *group);
bool file_sd_remove(struct file_sd *file_sd, const char *id);

/* Replace the file, if anything changed. 0, or how the program ends, having said why: then it is as
 * it was. */
int file_sd_write(struct file_sd *file_sd);

/* The same for a file beside it, with the same mode and owner; NULL: remove it. */
int file_sd_write_beside(const struct file_sd *file_sd, const char *suffix, const char *text);

/* As text for a file; NULL: no memory. It is read again: jansson 2.14 does not notice that a key
 * did not go in. free() it. */
char *file_sd_json(const json_t *json, size_t flags);

/* --file or $SAFESTART_NODES; NULL, having said so: neither. */
const char *file_sd_path(const char *given);

#endif
