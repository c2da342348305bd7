/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* drained: which nodes are drained in the files that processes read: for status and nodes. */
#ifndef SAFESTART_COMMAND_DRAINED_H
#define SAFESTART_COMMAND_DRAINED_H

#include "hosts/processes.h"

/* An array of {file, id, until, by, reason, in_file}, each file once. The processes were asked for
 * their status. NULL: no memory. */
json_t *drained_find(const struct processes *processes);
/* A line for each of them, those first that are in the file all the same. */
void drained_print(const json_t *drained);

#endif
