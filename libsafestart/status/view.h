/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* view: a copy of everything about a handle at one moment, so that no lock is held while it is
 * written out, and what is known of each node in it. Any thread; takes the handle's locks for a
 * moment each, and waits for no callback, no run and no reader [P14]. Changes nothing. */
#ifndef SAFESTART_STATUS_VIEW_H
#define SAFESTART_STATUS_VIEW_H

#include <jansson.h>

#include "handle.h"

struct status_view {
	int64_t now;                     /* CLOCK_MONOTONIC: when it was taken */
	struct safestart_snapshot *live; /* borrowed until status_view_drop() */
	struct nodeset *desired;         /* NULL: no source or call has given one yet */
	struct nodeset *retiring;        /* nodes not live any more that a reader still uses */
	struct rejection *rejections;    /* nodes that `prepare` rejected; a copy */
	struct rejection **rejected;     /* the same, in the order of ids */
	size_t rejected_count;
	struct engine_figures figures;
	char last_good_error[160];     /* "": it is up to date, or there is none */
	struct safestart_outcome last; /* of the newest run, if has_last */
	bool has_last;
	uint64_t run;        /* number of the run in progress; 0: none */
	const char *phase;   /* of that run; "" */
	bool is_later;       /* a callback of that run answered SAFESTART_LATER */
	unsigned unfinished; /* LATER runs past their end that have not been finished */
	struct callback_inside callback;
	int64_t oldest_since; /* since when the oldest replaced generation is held; 0: none is */
	uint64_t oldest_generation;
	bool oldest_borrowed; /* by safestart_snapshot_acquire() */
	uint64_t requests;    /* all accepted ones */
	bool shut_down;
	bool started; /* no: start=after_fork, and this process has not started it */
	struct process_lock_view lock;
};

/* 0; -ENOMEM, or why a forked child cannot make the handle its own: nothing is to be dropped. */
int status_view_take(struct safestart *ss, struct status_view *view);
void status_view_drop(struct status_view *view);

/* Returns enum safestart_node_state, with the reason or an explanation in `why` (may be NULL). */
int status_view_node_state(const struct status_view *view, const char *id, char *why,
			   size_t why_size);

#define STATUS_VIEW_STATES (SAFESTART_NODE_RETIRED + 1)
const char *status_view_state_name(int state);

/* Call `visit` once for each id that is known. `node` is NULL for an entry that is unusable. */
typedef void status_view_visit(const struct status_view *view, const char *id,
			       const struct safestart_node *node, void *argument);
void status_view_each(const struct status_view *view, status_view_visit *visit, void *argument);

/* The node that status_view_each() would visit with this id; NULL: none, or an unusable entry. */
const struct safestart_node *status_view_find(const struct status_view *view, const char *id);

/* Digests of the live and the desired set, as 16 hexadecimal digits: equal sets have equal digests
 * in every process and on every host. The desired one is "" when there is no desired set yet. */
#define STATUS_VIEW_DIGEST_SIZE 17
void status_view_digests(const struct status_view *view, char live[STATUS_VIEW_DIGEST_SIZE],
			 char desired[STATUS_VIEW_DIGEST_SIZE]);

/* One node, and one outcome, as JSON. NULL: out of memory. */
json_t *status_view_node_json(const struct status_view *view, const char *id,
			      const struct safestart_node *node);
json_t *status_view_outcome_json(const struct safestart_outcome *outcome);

#endif
