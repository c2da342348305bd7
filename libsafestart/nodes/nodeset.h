/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodeset: immutable, counted sets of nodes: edit, compare, guard rails, to and from documents.
 * Any thread. It must not touch I/O, a clock or a lock; of the rooms it knows only node. */
#ifndef SAFESTART_NODESET_H
#define SAFESTART_NODESET_H

#include "nodes/node.h"

/* An entry that is quarantined: left out because it is unusable. [P11] */
struct nodeset_fault {
	char *id; /* or "entry 7", when it has no usable id */
	char *reason;
	bool unnamed; /* it has no usable id; a node whose id reads "entry 7" is another one */
};

/* What a document says that changes nothing and was probably not meant. */
struct nodeset_warnings {
	size_t count;
	char first[200];
};

/* Constant once it is made, but for refs. */
struct nodeset {
	_Atomic uint32_t refs; /* release and acquire by the last */
	size_t count;
	struct safestart_node **nodes; /* by id, each id once, byte by byte */
	size_t fault_count;
	struct nodeset_fault *faults; /* by id, the unnamed one after the one with that id */
	const char *first_reason;     /* of the first fault in the document; NULL without one */
	struct nodeset_warnings warnings;
};

struct nodeset_limits {
	size_t max_bytes;
	size_t max_nodes;
	uint16_t default_port; /* of a target without one; 0: such a target is unusable */
};

/* Parse a file_sd document. Returns: 0; -EINVAL malformed, -E2BIG, -ENOMEM, with the reason in
 * `why`. Unusable entries become faults of the set. */
int nodeset_parse(struct nodeset **out, const char *json, size_t length,
		  const struct nodeset_limits *limits, char *why, size_t why_size);

/* Count a warning; the first one is kept in words. */
void nodeset_warn(struct nodeset_warnings *warnings, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* All of them in words, for people: the first one, and how many there are; "": there are none. */
#define NODESET_WARNINGS_SIZE 240
void nodeset_say_warnings(const struct nodeset_warnings *warnings, char *text, size_t size);
/* Warn that two ids have one address: two nodes for the library, and probably a slip. */
void nodeset_warn_shared(struct nodeset_warnings *warnings, const struct safestart_node *a,
			 const struct safestart_node *b);

/* Returns: the nodes as a file_sd document, freed with free(); NULL when out of memory. */
char *nodeset_json(struct safestart_node *const *nodes, size_t count);

/* For invariants only, so not in a release: in the order of ids and each id once; for a set also
 * every node without payload, and no id both usable and a fault. In time proportional to the set.
 */
bool nodeset_nodes_hold(struct safestart_node *const *nodes, size_t count);
bool nodeset_holds(const struct nodeset *set);

struct nodeset *nodeset_ref(struct nodeset *set);
void nodeset_unref(struct nodeset *set); /* NULL is fine */

/* A set of copies of `count` nodes, which are in the order of ids. Copies, because the last
 * reference to a snapshot's node has to retire its payload, and a set cannot. Returns: NULL when
 * out of memory. */
struct nodeset *nodeset_new(struct safestart_node *const *nodes, size_t count);

/* A copy of the set in which `node` (a reference is added) replaces the node or fault with its id;
 * or a copy without the entry with that id. The first one warns of other ids with the node's
 * address. Returns: NULL when out of memory. */
struct nodeset *nodeset_with(const struct nodeset *set, struct safestart_node *node);
struct nodeset *nodeset_without(const struct nodeset *set, const char *id);

/* Returns: the node with that id; NULL: none. *index (may be NULL) is where it is or would be. */
struct safestart_node *nodeset_find(struct safestart_node *const *nodes, size_t count,
				    const char *id, size_t *index);
/* Returns: the fault listed under `id`; one with that id comes before an unnamed one. */
const struct nodeset_fault *nodeset_find_fault(const struct nodeset *set, const char *id);
/* Is there a fault that really has that id? */
bool nodeset_has_fault(const struct nodeset *set, const char *id);
/* The fault that may be about a live node which is not wanted: the one with its id, or, because a
 * group whose labels are wrong cannot say the id, the one with its address. NULL: none. */
const struct nodeset_fault *nodeset_fault_of(const struct nodeset *set,
					     const struct safestart_node *live);
bool nodeset_equal(const struct nodeset *a, const struct nodeset *b); /* NULL equals nothing */

/* A digest of everything in a set: equal sets have equal digests, in every process and on every
 * host, so that people can compare them at a glance. */
uint64_t nodeset_digest(struct safestart_node *const *nodes, size_t count,
			const struct nodeset_fault *faults, size_t fault_count);

/* ---- What would change ---- */

struct nodeset_change {
	int kind;      /* enum safestart_change */
	bool rejected; /* by the application; set by run/ */
	size_t index;  /* in the plan's nodes; for a removed node in the live nodes */
};

struct nodeset_plan {
	size_t count;
	/* Borrowed: the live ones where nothing changed, else the wanted ones. */
	struct safestart_node **nodes;
	size_t change_count;
	struct nodeset_change *changes; /* by id */
};

/* What the live nodes have to become. A live node that a fault of `wanted` may be about stays.
 * [P11] `all_added`: every node counts as added, because the live ones are another process's.
 * Returns: 0 or -ENOMEM. */
int nodeset_plan(struct nodeset_plan *plan, struct safestart_node *const *live, size_t live_count,
		 const struct nodeset *wanted, bool all_added);
void nodeset_plan_clear(struct nodeset_plan *plan);

/* ---- Guard rails ---- */

struct nodeset_rails {
	unsigned max_shrink; /* percent */
	size_t min_nodes;
	bool allow_empty;
	int64_t shrink_window; /* how long a larger set counts that was live; 0: not at all */
};

/* Does the set have a usable entry, or none at all? Returns: 0; -EINVAL when every entry is a
 * fault, with the reason in `why`. */
int nodeset_usable(const struct nodeset *set, char *why, size_t why_size);

/* What a set is judged against. */
struct nodeset_before {
	size_t live;    /* nodes that are live now */
	size_t largest; /* of the sets that were live within shrink_window; 0: none was */
};

/* May a set of `count` nodes take the place of the live one? Only a set that is smaller than the
 * live one loses nodes; how many, the largest recent one says. [P12] Returns: 0; -ERANGE and what
 * would be lost in `why`. */
int nodeset_check_rails(const struct nodeset_rails *rails, const struct nodeset_before *before,
			size_t count, bool forced, char *why, size_t why_size);

#endif
