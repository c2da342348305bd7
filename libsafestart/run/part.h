/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The run storey's part of a handle: what is remembered from run to run, which run is in progress,
 * and what the runs leave for status. Who guards what stands at each group. */
#ifndef SAFESTART_RUN_PART_H
#define SAFESTART_RUN_PART_H

#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "nodes/nodeset.h"
#include "nodes/recent.h"

/* A node that prepare rejected. */
struct rejection {
	char *id;
	char *reason;
	struct rejection *next;
};

/* What the worker remembers from run to run. */
struct run_memory {
	struct nodeset *gathered; /* the source's last set; NULL: it failed, see error */
	bool complete; /* the last gather was in time; else there is nothing to be unchanged from */
	int error;     /* of the last gather; 0 with gathered NULL: there was none yet */
	char words[256];
	struct nodeset *tried;     /* the set the last run tried */
	uint32_t attempts;         /* runs in a row that tried it and are to be repeated */
	struct nodeset *unchanged; /* a set that was found to change nothing */
	uint64_t unchanged_from;   /* of that generation */
	struct nodeset *forced;    /* the set a forced run tried and has not applied yet */
	bool kept_tried;           /* last_good was looked at */
};

struct run_part {
	/* The worker's: one job at a time. */
	struct run_memory memory;
	_Atomic uint32_t last_good_failures; /* in a row; the dispatching thread reads it */
	/* Force was asked for, and nothing has been gathered since. Set by the dispatching thread
	 * when a run begins, cleared by the worker; relaxed, for handing over the run orders them.
	 */
	_Atomic bool force_open;
	/* `restart` was asked for, or a set went live, and it has not been carried out since: a
	 * retry calls it. As above. */
	_Atomic bool restart_owed;

	/* Guarded by the handle's lock. */
	struct safestart_run *current; /* in progress and not answered */
	uint64_t count;                /* numbers given */
	/* What was live before; written by the worker only, which may read it without the lock. A
	 * forked child keeps it, as it keeps what is live. */
	struct recent recent;
	bool inherited;          /* live is another process's: all its nodes count as added */
	struct nodeset *desired; /* what the newest run was to apply */
	struct rejection *rejections;
	char last_good_error[160]; /* why it is not up to date; "": it is */
	unsigned later_open;   /* LATER runs without a finish, a deadline or a shutdown so far */
	unsigned later_owed;   /* LATER runs whose finish has not been called */
	unsigned gathers_owed; /* of these, the sources' */
};

void run_part_clear(struct run_part *part);

/* `torn`: the parent was inside a job; what it had in hand is left where it is. The handle's lock
 * is held. */
void run_part_after_fork_child(struct run_part *part, bool torn);

#endif
