/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* edit: shared by the verbs that change the node file: announce, withdraw and drain. Uses the file
 * through files/, the processes through hosts/. */
#ifndef SAFESTART_COMMAND_EDIT_H
#define SAFESTART_COMMAND_EDIT_H

#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"

/* Which file, and how it is changed. */
struct edit {
	const char *file;
	struct replace_how how;
};

/* The options of these verbs, for their tables. */
#define OPTION_EDIT(edit)                                                                        \
	{"file", "FILE", OPTION_TEXT, &(edit).file,                                              \
	 "the file_sd file that the servers read ($SAFESTART_NODES)"},                           \
		{"lose-attributes", NULL, OPTION_FLAG, &(edit).how.lose_attributes,              \
		 "continue if the new file cannot get the ACL, label or attributes of the old"}, \
	{                                                                                        \
		"in-place", NULL, OPTION_FLAG, &(edit).how.in_place,                             \
			"write the file instead of replacing it, for a mounted file"             \
	}

/* Locks the node file and reads it and the notes of drained nodes. `strict`: notes that cannot be
 * read are an error. False: end with *code, nothing is open. */
bool edit_begin(struct file_sd *file_sd, struct drains *drains, const struct edit *edit,
		bool strict, int *code);

/* Writes both, the notes first if `note_first`, and stores what was done in `result`. 0 or an exit
 * code. */
int edit_finish(struct file_sd *file_sd, struct drains *drains, bool note_first, json_t *result);

/* Requests a run of the processes that read the file, then waits as safestart wait does. */
int edit_wait(const struct barrier *what, const char *verb, json_t *result);

/* Prints `result` if JSON is wanted, and releases it. Returns `code`. */
int edit_print_result(json_t *result, int code);

#endif
