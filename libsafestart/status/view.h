/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* view: everything about a handle at one moment, so that nothing has to be held while it is told,
 * and what is known of each node in it. Any thread; takes the handle's locks for a moment each and
 * waits for nothing. */
#ifndef SAFESTART_PICTURE_H
#define SAFESTART_PICTURE_H

#include <jansson.h>

#include "handle.h"

struct status_view {
	int64_t now;
	struct safestart_snapshot *live;
	struct nodeset *desired;  /* NULL: nothing was handed over yet */
	struct nodeset *retiring; /* not live any more, a reader is inside */
	struct rejection *rejections;
	struct rejection **rejected; /* the same, by id */
	size_t rejected_count;
	struct engine_figures figures;
	char last_good_error[160]; /* "": it is up to date, or there is none */
	struct safestart_outcome last;
	bool any;
	uint64_t run; /* in progress; 0: none */
	const char *phase;
	bool later;          /* it answered LATER */
	unsigned unfinished; /* LATER runs past their end whose finish is still owed */
	struct callback_inside callback;
	int64_t oldest_since;
	uint64_t oldest_generation;
	bool oldest_borrowed;
	uint64_t requests; /* all that were accepted */
	bool shut;
	struct process_lock_view lock;
};

/* 0 or -ENOMEM. */
int status_view_take(struct safestart *ss, struct status_view *view);
void status_view_drop(struct status_view *view);

/* enum safestart_node_state, and the reason or an explanation. */
int status_view_node_state(const struct status_view *view, const char *id, char *why,
			   size_t why_size);

#define STATUS_VIEW_STATES (SAFESTART_NODE_RETIRED + 1)
const char *status_view_state_name(int state);

/* Call `tell` for every id that is known, once; a fault has no node. */
typedef void status_view_visit(const struct status_view *view, const char *id,
			       const struct safestart_node *node, void *argument);
void status_view_each(const struct status_view *view, status_view_visit *tell, void *argument);

/* The node that status_view_each() would tell of; NULL: it is none, or a fault. */
const struct safestart_node *status_view_find(const struct status_view *view, const char *id);

/* Digests of the live and the desired set, as 16 hexadecimal digits: equal sets have equal ones, in
 * every process. The desired one is "" when nothing was handed over yet. */
#define STATUS_VIEW_DIGEST_SIZE 17
void status_view_digests(const struct status_view *view, char live[STATUS_VIEW_DIGEST_SIZE],
			 char desired[STATUS_VIEW_DIGEST_SIZE]);

/* One node, and how a run ended, as JSON. NULL: no memory. */
json_t *status_view_node_json(const struct status_view *view, const char *id,
			      const struct safestart_node *node);
json_t *status_view_outcome_json(const struct safestart_outcome *outcome);

#endif
