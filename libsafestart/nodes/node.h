/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* node: one storage node: checked, counted, and immutable but for its newest report. The public
 * getters of a node are here. Any thread. It must not touch I/O, a clock, a lock or another room.
 */
#ifndef SAFESTART_NODE_H
#define SAFESTART_NODE_H

#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define NODE_ID_MAX 255      /* bytes; a DNS name fits */
#define NODE_LABELS_MAX 1000 /* not counting the id */

struct node_label {
	const char *name;
	const char *value;
};

enum node_report { /* below 0: how it failed, -errno */
	NODE_REPORT_NONE,
	NODE_REPORT_WORKED
};

/* The newest report in the low half, epoch_now() of the process that made it in the high half: what
 * a forked child inherits is not its own. One number, so that a reader never sees the one without
 * the other. Written by any thread and any signal handler, relaxed: it orders nothing. [P22] */
typedef _Atomic uint64_t node_newest;

struct payload; /* the application's data; snapshot/ owns it */

struct safestart_node {
	node_newest newest;
	_Atomic uint32_t
		refs; /* sets and snapshots that have it; release and acquire by the last */
	/* Written before the node is published, constant after; NULL in a set. */
	struct payload *payload;
	/* All below is constant. `text` is the id, the host, then name and value of each label in
	 * the order of names, each ended by a NUL byte. */
	uint32_t text_size;
	uint32_t host_at; /* where in text; the id is at 0 */
	uint32_t labels_at;
	uint16_t label_count;
	uint16_t port;
	char text[];
};

/* Check an entry and make a node of it, with one reference. `id` NULL: the address is the id.
 * `default_port`: of an address without a port; 0: it needs one. Returns: 0; -EINVAL unusable, with
 * the reason in `why`; -ENOMEM. */
int node_new(struct safestart_node **out, const char *id, const char *address,
	     uint16_t default_port, const struct node_label *labels, size_t label_count, char *why,
	     size_t why_size);

/* An address in its one spelling: host names and IPv6 in small letters, IPv6 as short as it gets, a
 * port without leading zeros. Two spellings of one address would be two nodes. Returns: 0; -EINVAL
 * and the reason in `why`. */
#define NODE_ADDRESS_SIZE 272
int node_normalise(char address[NODE_ADDRESS_SIZE], const char *text, uint16_t default_port,
		   char *why, size_t why_size);

/* A copy with one reference, without payload and report. Returns: NULL when out of memory. */
struct safestart_node *node_copy(const struct safestart_node *node);

/* The node at a place of an array. While a run prepares, its threads may look at the candidate when
 * another one puts the candidate's own copy of an unchanged node into its place; the live one, that
 * was there, stays as long as the run. */
static inline struct safestart_node *node_at(struct safestart_node *const *nodes, size_t index)
{
	return __atomic_load_n(&nodes[index], __ATOMIC_ACQUIRE);
}

static inline void node_put(struct safestart_node **nodes, size_t index,
			    struct safestart_node *node)
{
	__atomic_store_n(&nodes[index], node, __ATOMIC_RELEASE);
}

struct safestart_node *node_ref(struct safestart_node *node);

/* Returns: true for the last reference; the caller then gives up `payload` and calls node_free().
 */
bool node_unref(struct safestart_node *node);
void node_free(struct safestart_node *node);

/* All labels in one walk: the name of the one behind `name` (NULL: of the first). NULL: no more.
 * safestart_node_label_at() begins at the first one each time. */
const char *node_next_label(const struct safestart_node *node, const char *name);

static inline const char *node_label_value(const char *name)
{
	return name + strlen(name) + 1;
}

/* Same id, address and labels? */
bool node_same(const struct safestart_node *a, const struct safestart_node *b);

bool node_same_address(const struct safestart_node *a, const struct safestart_node *b);

/* The newest report that was made in this process: enum node_report. / Give `to` the report of
 * `from`, a copy of which it is. */
int32_t node_report(const struct safestart_node *node);
void node_carry_report(struct safestart_node *to, const struct safestart_node *from);

/* "host:port", an IPv6 address in brackets. */
void node_address(const struct safestart_node *node, char address[NODE_ADDRESS_SIZE]);

/* May this be an id? Returns: 0; -EINVAL and the reason in `why`. */
int node_check_id(const char *id, char *why, size_t why_size);

#endif
