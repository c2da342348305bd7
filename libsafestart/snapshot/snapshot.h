/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* snapshot: publication to readers, and giving back what no reader needs any more. The only room
 * that knows RCU. Readers come from any thread and any signal handler; publishing and collecting
 * are the worker's; one thread of its own waits for grace periods and calls nothing of the
 * application's. */
#ifndef SAFESTART_SNAPSHOT_H
#define SAFESTART_SNAPSHOT_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "nodes/nodeset.h"

/* What readers load. Every handle begins with it. */
struct snapshot_view {
	_Atomic(struct safestart_snapshot *) live; /* release by publish, acquire by readers */
	_Atomic uint64_t generation; /* stored after live, so that a read after it is not older */
};

/* Data of the application's, counted apart from what it hangs on: generations and nodes may pass it
 * on. */
struct payload {
	_Atomic uint32_t refs;
	/* Of the process that made it: inherited data is not ours to show or to retire. */
	uint32_t epoch;
	bool of_node; /* which callback retires it */
	void *data;
	struct payload
		*next; /* in a list of those to be retired, owned by whoever holds the list */
};

enum snapshot_stage {
	SNAPSHOT_CANDIDATE, /* being built by a run */
	SNAPSHOT_LIVE,
	SNAPSHOT_REPLACED, /* a borrower may still be inside */
	SNAPSHOT_WAITING,  /* its grace period has begun */
	SNAPSHOT_PASSED,   /* no borrower can be inside; the live reference is still held */
	SNAPSHOT_OWNED     /* only owners keep it */
};

struct safestart_snapshot {
	_Atomic uint32_t refs;     /* one while live or unpublished, one an owner */
	enum snapshot_stage stage; /* guarded by home->lock once live */
	struct snapshot_home *home;
	struct safestart_snapshot *older; /* in home->old, guarded by home->lock */
	int64_t replaced_at;              /* guarded by home->lock */
	/* Of refs: who only looks for status, and is no reader; guarded by home->lock. */
	uint32_t lookers;
	uint64_t generation;
	uint32_t epoch;          /* of the process that made it */
	struct payload *payload; /* the generation's data; written before it is published */
	size_t count;
	struct safestart_node *nodes[]; /* by id */
};

/* What outlives the handle while somebody owns a snapshot. Counted by the handle and by every
 * snapshot. */
struct snapshot_home {
	_Atomic uint32_t refs;
	/* Closed: whoever drops the last reference of a snapshot retires it. */
	_Atomic bool orphaned;
	int wake_fd; /* the loop's; not used once orphaned */
	void (*retire)(void *data, void *user_data);
	void (*retire_node)(void *data, void *user_data);
	void *user_data;

	pthread_mutex_t lock;
	pthread_cond_t work;            /* for the thread below */
	struct safestart_snapshot *old; /* replaced and not yet freed, newest first */
	/* Counts grace periods that were asked for, and those that are over. */
	uint64_t graces_wanted;
	uint64_t graces_over;
	bool thread_started;
	bool thread_stop;
	pthread_t thread;
};

struct snapshot_home *snapshot_home_new(int wake_fd, const struct safestart_callbacks *callbacks,
					void *user_data);
void snapshot_home_unref(struct snapshot_home *home);

/* A snapshot of `count` nodes, filled in by the caller with references of its own. NULL: no memory.
 */
struct safestart_snapshot *snapshot_new(struct snapshot_home *home, uint64_t generation,
					size_t count);

/* Give back a candidate that was never published; NULL is fine. What was only its own is retired
 * here: on the worker, no lock held. */
void snapshot_discard(struct safestart_snapshot *candidate);

/* Give back one node; what it alone held joins the list. Call the callbacks for a list: as above.
 */
void snapshot_drop_node(struct safestart_node *node, struct payload **to_retire);
void snapshot_retire(const struct snapshot_home *home, struct payload *to_retire);

/* Hang data on a slot; what the slot had joins the list `to_retire` if nobody else holds it. The
 * pointer `inherited` holds, if it is the same, is shared instead of owned twice. 0 or -ENOMEM.
 * Guarded by the caller. */
int snapshot_set_payload(struct payload **slot, struct payload *inherited, bool of_node, void *data,
			 struct payload **to_retire);
void *snapshot_payload_data(const struct payload *held);
struct payload *snapshot_share_payload(struct payload *held); /* NULL is fine */

/* Nobody refers to it any more: free it, retire what was only its own. Worker, or the last owner
 * after close. */
void snapshot_dispose(struct safestart_snapshot *snapshot);

/* Wait for a grace period: every borrower that is inside now has left. */
void snapshot_wait_for_readers(void);

/* Put `candidate` (one reference, consumed) live. Worker. The caller may hold the handle's lock. */
void snapshot_publish(struct snapshot_view *view, struct safestart_snapshot *candidate,
		      int64_t now);

/* Is there something that snapshot_collect() can give back? / Give it back: calls retire callbacks.
 * Worker, no lock held. */
bool snapshot_collectable(struct snapshot_home *home);
void snapshot_collect(struct snapshot_home *home);

/* Begin a grace period for the replaced generations that none was begun for; the loop is woken when
 * it is over. Starts the thread if need be. 0; -errno: it can't be had now, call again later. */
int snapshot_reclaim(struct snapshot_home *home);

/* Only owners keep what is left of the old generations. */
bool snapshot_is_settled(struct snapshot_home *home);

/* Since when the oldest replaced generation is held, 0: none is; by a borrower, or by an owner.
 * `borrowed_only`: the oldest that a borrower holds. */
int64_t snapshot_oldest(struct snapshot_home *home, bool borrowed_only, uint64_t *generation,
			bool *borrowed);

/* Nodes of replaced generations that `live` does not have, as a set. NULL: no memory. */
struct nodeset *snapshot_retiring(struct snapshot_home *home,
				  const struct safestart_snapshot *live);

/* Close: the thread ends; the live generation goes; what is owned is left to its owners. Nobody
 * reads any more. */
void snapshot_close(struct snapshot_view *view);

/* Around fork; the caller holds every lock above this room's. */
void snapshot_before_fork(struct snapshot_home *home);
void snapshot_after_fork_parent(struct snapshot_home *home);
void snapshot_after_fork_child(struct snapshot_home *home);

/* Once per fork: before any lock is taken, waits for the grace period in progress, and so for its
 * readers; after the handles' own. */
void snapshot_pause_graces(void);
void snapshot_rcu_before_fork(void);
void snapshot_rcu_after_fork_parent(void);
void snapshot_rcu_after_fork_child(void); /* a new epoch begins */
uint32_t snapshot_epoch(void);

#endif
