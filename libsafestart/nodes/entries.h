/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entries: what the groups of a document say, until it is a set: one entry a target, in the order
 * of the document. Used by document.c only, on any thread. It knows jansson's values, but it must
 * not read text or touch I/O. */
#ifndef SAFESTART_ENTRIES_H
#define SAFESTART_ENTRIES_H

#include <jansson.h>

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
	char *why; /* where the reason goes when the document is refused */
	size_t why_size;
};

/* Add the targets of one group. `group` counts from 1. Returns: 0; -EINVAL malformed, -E2BIG,
 * -ENOMEM, with the reason in `why`. */
int entries_read_group(struct entries *entries, const json_t *object, size_t group);

/* Make a set of all entries. Returns: NULL when out of memory. */
struct nodeset *entries_make_set(struct entries *entries);

/* Forget all entries; their memory is kept for the next ones. */
void entries_clear(struct entries *entries);

/* Returns: -ENOMEM, with the reason in `why`. */
int entries_no_memory(const struct entries *entries);

/* What a value is, in words: "an object", "missing". */
const char *entries_type_name(const json_t *value);

#endif
