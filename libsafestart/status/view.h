/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* picture: everything about a handle at one moment, so that nothing has to be held while it is told, and what is known of each
 * node in it. Any thread; takes the handle's locks for a moment each and waits for nothing. */
#ifndef SAFESTART_PICTURE_H
#define SAFESTART_PICTURE_H

#include <jansson.h>

#include "handle.h"

struct picture {
	int64_t now;
	struct safestart_snapshot *live;
	struct nodeset *desired;  /* NULL: nothing was handed over yet */
	struct nodeset *retiring; /* not live any more, a reader is inside */
	struct rejection *rejections;
	struct rejection **rejected; /* the same, by id */
	size_t rejected_count;
	struct handle_figures figures;
	struct safestart_outcome last;
	bool any;
	uint64_t run; /* in progress; 0: none */
	const char *phase;
	bool later;          /* it answered LATER */
	unsigned unfinished; /* LATER runs past their end whose finish is still owed */
	struct worker_guest guest;
	int64_t oldest_since;
	uint64_t oldest_generation;
	bool oldest_borrowed;
	uint64_t requests; /* all that were accepted */
	bool shut;
	struct exclusive_picture lock;
};

/* 0 or -ENOMEM. */
int picture_take(struct safestart *ss, struct picture *picture);
void picture_drop(struct picture *picture);

/* enum safestart_node_state, and the reason or an explanation. */
int picture_node_state(const struct picture *picture, const char *id, char *why, size_t why_size);

#define PICTURE_STATES (SAFESTART_NODE_RETIRED + 1)
const char *picture_state_name(int state);

/* Call `tell` for every id that is known, once; a fault has no node. */
typedef void picture_tell(const struct picture *picture, const char *id, const struct safestart_node *node, void *argument);
void picture_each(const struct picture *picture, picture_tell *tell, void *argument);

/* The node that picture_each() would tell of; NULL: it is none, or a fault. */
const struct safestart_node *picture_find(const struct picture *picture, const char *id);

/* Digests of the live and the desired set, as 16 hexadecimal digits: equal sets have equal ones, in every process. The
 * desired one is "" when nothing was handed over yet. */
#define PICTURE_DIGEST_SIZE 17
void picture_digests(const struct picture *picture, char live[PICTURE_DIGEST_SIZE], char desired[PICTURE_DIGEST_SIZE]);

/* One node, and how a run ended, as JSON. NULL: no memory. */
json_t *picture_node_json(const struct picture *picture, const char *id, const struct safestart_node *node);
json_t *picture_outcome_json(const struct safestart_outcome *outcome);

#endif
