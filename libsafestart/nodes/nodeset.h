/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodeset: immutable, counted sets of nodes: edit, compare, guard rails, to and from documents.
 * Pure: no I/O, no clock, no lock; of the rooms it knows only node. */
#ifndef SAFESTART_NODESET_H
#define SAFESTART_NODESET_H

#include "nodes/node.h"

/* An entry left out as unusable. */
struct nodeset_fault {
	char *id; /* or "entry 7", when the id is what is wrong with it */
	char *reason;
	bool unnamed; /* so: a node may have that as its id and is another */
};

struct nodeset {
	_Atomic uint32_t refs;
	size_t count;
	struct safestart_node **nodes; /* by id, each id once */
	size_t fault_count;
	struct nodeset_fault *faults; /* by id */
	const char *first_reason;     /* of the first fault in the document; NULL without one */
};

struct nodeset_limits {
	size_t max_bytes;
	size_t max_nodes;
};

/* Parse a file_sd document. 0; -EINVAL malformed, -E2BIG, -ENOMEM: `why` has the words. Unusable
 * entries are faults of the set. */
int nodeset_parse(struct nodeset **out, const char *json, size_t length,
		  const struct nodeset_limits *limits, char *why, size_t why_size);

/* Nodes as a file_sd document; NULL: no memory. free() it. */
char *nodeset_json(struct safestart_node *const *nodes, size_t count);

struct nodeset *nodeset_ref(struct nodeset *set);
void nodeset_unref(struct nodeset *set); /* NULL is fine */

/* Of copies of `count` nodes in the order of ids: a snapshot's nodes never enter a set, for who
 * drops the last reference to one has to retire what hangs on it. NULL: no memory. */
struct nodeset *nodeset_new(struct safestart_node *const *nodes, size_t count);

/* A copy in which `node` (referenced) takes the place of the node or fault with its id; without the
 * entry with that id. NULL: no memory. */
struct nodeset *nodeset_with(const struct nodeset *set, struct safestart_node *node);
struct nodeset *nodeset_without(const struct nodeset *set, const char *id);

struct safestart_node *nodeset_find(struct safestart_node *const *nodes, size_t count,
				    const char *id, size_t *index);
/* The fault that is called so: the one with this id before one that was only given the name. / Has
 * one this id? */
const struct nodeset_fault *nodeset_find_fault(const struct nodeset *set, const char *id);
bool nodeset_has_fault(const struct nodeset *set, const char *id);
bool nodeset_equal(const struct nodeset *a, const struct nodeset *b); /* NULL equals nothing */

/* Of everything in them: equal sets have equal digests, in every process and on every host. For
 * comparing at a glance. */
uint64_t nodeset_digest(struct safestart_node *const *nodes, size_t count,
			const struct nodeset_fault *faults, size_t fault_count);

/* ---- What would change ---- */

struct nodeset_change {
	int kind;      /* enum safestart_change */
	bool rejected; /* by the application; run's */
	size_t index;  /* in the plan's nodes; of a removed one in the live nodes */
};

struct nodeset_plan {
	size_t count;
	/* Borrowed: the live ones where nothing changed, else the wanted ones. */
	struct safestart_node **nodes;
	size_t change_count;
	struct nodeset_change *changes; /* by id */
};

/* What has to become of the live nodes. A live node whose id is a fault of `wanted` stays. `anew`:
 * every node counts as added (the live ones are another process's). 0 or -ENOMEM. */
int nodeset_plan(struct nodeset_plan *plan, struct safestart_node *const *live, size_t live_count,
		 const struct nodeset *wanted, bool anew);
void nodeset_plan_clear(struct nodeset_plan *plan);

/* ---- Guard rails ---- */

struct nodeset_rails {
	unsigned max_shrink; /* percent */
	size_t min_nodes;
	bool allow_empty;
};

/* Is there anything to use in it? 0; -EINVAL when every entry is a fault. */
int nodeset_usable(const struct nodeset *set, char *why, size_t why_size);

/* May a live set of `live` nodes become one of `count`? 0 or -ERANGE and what would be lost. */
int nodeset_judge(const struct nodeset_rails *rails, size_t live, size_t count, bool forced,
		  char *why, size_t why_size);

#endif
