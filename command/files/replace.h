/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* replace: replaces a file as a whole or not at all, by one process at a time, also when a process
 * is killed [P18], the disk is full, or another program replaces the file without a lock.
 *
 * What is locked: .NAME.lock beside the file, which stays, and which only the owner of the file and
 * root can open. Besides, the file itself with flock(), shared: editors that lock it exclusively
 * (older versions of this program, flock(1)) are waited for, but not for ever, because any reader
 * of a file can lock it; readers that lock it shared are not waited for. */
#ifndef SAFESTART_COMMAND_REPLACE_H
#define SAFESTART_COMMAND_REPLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* How a file is to be changed. */
struct replace_how {
	bool in_place; /* written, not replaced; it is locked itself, exclusively */
	bool lose_attributes;
};

/* A file that was read. */
struct replace {
	char *path; /* real path, symbolic links resolved */
	int lock;   /* the lock file; -1: none */
	int fd;     /* the file, locked */
	struct stat status;
	struct replace_how how;
};

/* Opens, locks as is needed for `how` (NULL: only reads, without a lock) and reads. 0, or an exit
 * code, the message printed and everything released. */
int replace_begin(struct replace *replace, const char *given, const struct replace_how *how,
		  char **text, size_t *length);

/* Writes the file with the owner, mode, ACL and attributes that it has. If it is not the file that
 * was read, another program has replaced it without a lock, and nothing changes. `before`: what was
 * read. 0, or an exit code, the message printed. */
int replace_write(const struct replace *replace, const char *text, size_t length,
		  const char *before, size_t before_length);
void replace_end(struct replace *replace);

/* Replaces another file, with owner and mode of `like`, and the attributes of the open file `from`
 * (-1: none) as far as they can be set. 0, or an exit code, the message printed. */
int replace_other(const char *path, int from, const struct stat *like, const char *text,
		  size_t length);

#endif
