/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* handle: what a handle is made of: one part for each storey, which stands in the storey's folder
 * and says there who guards it. A storey touches its own part and those of the storeys below it
 * (tests/house looks). The storeys up to conf/ do not know this file.
 *
 * Locks, in the order in which they are taken (and taken around fork):
 *   copies->lock (snapshot/copies.h), list of handles (open/fork.c), source.push.lock, lock,
 *   worker.lock, control->lock, events->lock, mailbox->lock, home->lock, the lock file's `opening`,
 * liburcu's. run->lock stands alone.
 *
 * None is held across a callback, a log line, a grace period or a call that can block. */
#ifndef SAFESTART_HANDLE_H
#define SAFESTART_HANDLE_H

#include <pthread.h>
#include <safestart/safestart.h>

#include "base/callback.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/worker.h"
#include "conf/conf.h"
#include "engine/part.h"
#include "request/gate.h"
#include "request/request.h"
#include "request/ticket.h"
#include "run/part.h"
#include "snapshot/snapshot.h"
#include "source/source.h"

/* open/'s part. */
struct open_part {
	_Atomic uint32_t epoch; /* epoch_now() of the process that drives it, EPOCH_NONE before
				   there is one; changed under the handle's lock */
	uint32_t opened_in;     /* epoch_now() of the process that opened it; constant */
	int fork_error;         /* descriptors could not be made in the child; guarded by it */
	struct safestart_snapshot *closing; /* takes the live one's place when closing */
	struct safestart *next;             /* in fork.c's list, guarded by its lock */
};

struct safestart {
	struct snapshot_view view; /* first: readers cast */
	struct snapshot_home *home;
	struct request_door door;    /* lock-free */
	struct gate gate;            /* the dispatching thread's */
	struct ticket_book tickets;  /* guarded by lock */
	struct safestart_conf *conf; /* constant, but for a forked child that is not revived yet */
	struct loop loop;
	struct worker worker;
	struct log log;          /* constant after open */
	struct events *events;   /* NULL: no control socket; constant */
	struct mailbox *mailbox; /* NULL: events=callback; constant; the home's */
	struct source_part source;
	struct run_part run;
	struct engine_part engine;
	struct control *control; /* as events */
	struct open_part open;

	pthread_mutex_t lock;
	pthread_cond_t
		changed; /* anything guarded by `lock` that a thread waits for; always broadcast */

	/* In a child that does not own it yet: make it the child's own. Set by open/, so that what
	 * is below can ask for it. 0 at once in the process that drives it; 1: with
	 * start=after_fork nothing runs here yet, which is for safestart_after_fork() to change. */
	int (*revive)(struct safestart *ss);
};

static inline const struct settings *handle_settings(const struct safestart *ss)
{
	return &ss->conf->settings;
}

/* A job or a run has something for the dispatching thread. */
static inline void handle_wake(struct safestart *ss)
{
	loop_wake(ss->loop.wake_fd);
}

#endif
