/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entries: what the groups of a document say, until it is a set: one entry a target, in the order
 * of the document. Used by group.c and document.c only, on any thread. It must not read text or
 * touch I/O. */
#ifndef SAFESTART_ENTRIES_H
#define SAFESTART_ENTRIES_H

#include "nodes/nodeset.h"

/* A usable node or a quarantined entry. */
struct entry {
	struct safestart_node *node; /* NULL: a fault, which has the two below */
	char *id;
	char *reason;
	bool unnamed; /* the id is a name made for it; an entry's real id may read the same */
	size_t position;
};

struct entries {
	struct entry *all;
	size_t count;
	size_t capacity;
	size_t text_size; /* of all nodes */
	const struct nodeset_limits *limits;
	struct nodeset_warnings warnings;
	char *why; /* where the reason goes when the document is refused */
	size_t why_size;
};

/* What one entry is made of. */
struct entry_text {
	const char *id;      /* NULL: the address */
	const char *address; /* NULL: none, which only a fault may have */
	const struct node_label *labels;
	size_t label_count;
	size_t group, target; /* where it stands, from 1 */
};

/* Add a node; or a fault, if it is unusable. A fault goes by its id, else by its address, if that
 * can be an id: then the live node with this id is known to stay. [P11] Returns: 0; -E2BIG or
 * -ENOMEM, with the reason in `why`. */
int entries_add(struct entries *entries, const struct entry_text *text);

/* Add a fault. Without an id and an address that can be one it is named by where it stands. */
int entries_add_fault(struct entries *entries, const struct entry_text *text, const char *reason);

/* Make a set of all entries. Returns: NULL when out of memory. */
struct nodeset *entries_make_set(struct entries *entries);

/* Forget all entries. */
void entries_clear(struct entries *entries);

/* Returns: -ENOMEM, with the reason in `why`. */
int entries_no_memory(const struct entries *entries);

#endif
