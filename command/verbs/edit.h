/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* edit: what the verbs that change a file of nodes share. */
#ifndef SAFESTART_COMMAND_EDIT_H
#define SAFESTART_COMMAND_EDIT_H

#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"

/* Lock and read both. `strict`: a note of drains that can't be read is the end. False: the program
 * ends with *code. */
bool edit_begin(struct file_sd *file_sd, struct drains *drains, const char *given, bool strict,
		int *code);

/* Write both, in the order that is asked for, and tell what was done. 0, or how the program ends.
 */
int edit_finish(struct file_sd *file_sd, struct drains *drains, bool note_first, json_t *result);

/* Ask the processes that read the file, then wait. */
int edit_wait(const struct barrier *what, const char *verb, json_t *result);

/* At the end; takes `told`. */
int edit_print_result(json_t *result, int code);

#endif
