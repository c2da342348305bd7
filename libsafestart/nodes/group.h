/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* group: the text of one group of a document, into entries. Used by document.c only, on any thread.
 * It must not touch I/O. */
#ifndef SAFESTART_GROUP_H
#define SAFESTART_GROUP_H

#include "base/scan.h"
#include "nodes/entries.h"

/* Reads groups, one after the other. */
struct group_reader {
	struct scan scan;
	struct entries *entries;
	size_t number;             /* of the group, from 1 */
	bool refused;              /* a group names none of its nodes; `why` says which */
	char *decoded;             /* room for what all strings of a document say */
	struct node_label *labels; /* room for NODE_LABELS_MAX */
};

/* Read the group that begins at the place of the scan. What is wrong with it makes faults of its
 * entries [P11], or the document `refused`. Returns: 0; -EINVAL it is not JSON, and the scan has
 * the fault; -E2BIG or -ENOMEM, with the reason in the entries' `why`. */
int group_read(struct group_reader *reader);

#endif
