/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* node: one storage node: checked, immutable but for the newest report, counted. Pure: no I/O, no
 * clock, no lock, no other room. The public getters of a node live here. */
#ifndef SAFESTART_NODE_H
#define SAFESTART_NODE_H

#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define NODE_ID_MAX 255 /* bytes; a DNS name fits */
#define NODE_LABELS_MAX 1000

struct node_label {
	const char *name;
	const char *value;
};

enum node_report { /* below 0: how it failed, -errno */
	NODE_REPORT_NONE,
	NODE_REPORT_WORKED
};

struct held; /* the application's data: snapshot's */

struct safestart_node {
	_Atomic uint32_t refs; /* sets and snapshots that have it */
	/* Enum node_report, newest; written by any thread, relaxed: it orders nothing. */
	_Atomic int32_t report;
	/* Written before the node is published, owned by snapshot; NULL in a set. */
	struct held *held;
	uint32_t text_size;
	uint32_t host_at;   /* where in text; the id is at 0 */
	uint32_t labels_at; /* name, value, name, value ... ordered by name */
	uint16_t label_count;
	uint16_t port;
	char text[];
};

/* Check and make a node with one reference. `id` NULL: the address is the id. Labels named "id" are
 * left out (the id is). 0; -EINVAL unusable, with the reason in `why`; -ENOMEM. */
int node_new(struct safestart_node **out, const char *id, const char *address,
	     const struct node_label *labels, size_t label_count, char *why, size_t why_size);

/* A copy without data, report or further references; NULL: no memory. */
struct safestart_node *node_copy(const struct safestart_node *node);

struct safestart_node *node_ref(struct safestart_node *node);

/* Returns true for the last reference: the caller then disposes of `held` and calls node_free(). */
bool node_unref(struct safestart_node *node);
void node_free(struct safestart_node *node);

/* Id, address and every label. */
bool node_same(const struct safestart_node *a, const struct safestart_node *b);

/* "host:port", in brackets where needed. */
#define NODE_ADDRESS_SIZE 272
void node_address(const struct safestart_node *node, char address[NODE_ADDRESS_SIZE]);

/* May this be an id? 0 or -EINVAL and the reason. */
int node_check_id(const char *id, char *why, size_t why_size);

#endif
