/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* snapshot: publishes generations to readers, and retires them when no reader needs them any more.
 * The only room that knows RCU. Readers are any thread and any signal handler; the worker publishes
 * and collects; one thread of its own waits for grace periods. It must not call the application
 * while a lock is held, nor from that thread. */
#ifndef SAFESTART_SNAPSHOT_H
#define SAFESTART_SNAPSHOT_H

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/mailbox.h"
#include "nodes/nodeset.h"

/* What readers load. Every handle begins with it. */
struct snapshot_view {
	_Atomic(struct safestart_snapshot *) live; /* release by publish, acquire by readers */
	/* Stored with release after live, loaded with acquire: a read after it is not older. [P10]
	 */
	_Atomic uint64_t generation;
};

/* The application's data on a node or a generation. Counted by itself, because several nodes or
 * generations may share it. [P13] */
struct payload {
	/* Its value is the data, its kind says whether it is a node's or a generation's. At the end
	 * it is in a list of those to be retired, and with events=pull in the mailbox. */
	struct letter letter;
	_Atomic uint32_t refs;
	/* Of the process that made it. A forked child must neither show nor retire data that it
	 * has inherited. [P17] */
	uint32_t epoch;
};

/* Each stage follows the one before; only a forked child goes back from GRACE to REPLACED, because
 * the thread that waited does not exist there. */
enum snapshot_stage {
	SNAPSHOT_CANDIDATE, /* being built by a run */
	SNAPSHOT_LIVE,
	SNAPSHOT_REPLACED,   /* a borrower may still be inside */
	SNAPSHOT_GRACE,      /* its grace period has begun */
	SNAPSHOT_GRACE_OVER, /* no borrower can be inside; the live reference is still held */
	SNAPSHOT_OWNED       /* only owners keep it */
};

/* While a snapshot is live its owners count in stripes, each thread in its own: threads that
 * acquire and release at the same time then share no cache line. Nobody needs the sum, because the
 * live reference keeps the snapshot. Once it is replaced, owners count in `refs`, and after the
 * grace period, when none can be counting in a stripe any more, the stripes are added to it. A
 * reference may be counted in one place and given back in another. */
#define SNAPSHOT_STRIPES 16

struct snapshot_stripe {
	_Alignas(64) _Atomic int32_t owners; /* may be negative: given back by another thread */
};

struct safestart_snapshot {
	/* One until its grace period is over (the live reference), one for each owner that does not
	 * count in a stripe; and SNAPSHOT_UNSUMMED until the stripes are added, so that it cannot
	 * come to 0 before. */
	_Atomic uint32_t refs;
	_Atomic bool striped; /* owners count in stripes: from publication until it is replaced */
	bool unsummed;        /* guarded by home->lock once it is live */
	struct snapshot_stripe *stripes; /* behind the nodes */
	enum snapshot_stage stage; /* the worker's until it is live, then guarded by home->lock */
	struct snapshot_home *home;
	struct safestart_snapshot *older; /* in home->old, guarded by home->lock */
	int64_t replaced_at;              /* guarded by home->lock */
	/* How many of refs are status views, which are not readers; guarded by home->lock. */
	uint32_t status_refs;
	/* How many of refs were there at the fork: nothing in this process will drop them, but for
	 * what the thread that forked owns. Written before the child has other threads. */
	uint32_t inherited;
	uint64_t generation;
	struct payload *payload; /* the generation's data; written before it is published */
	size_t count;
	struct safestart_node *nodes[]; /* by id */
};

#define SNAPSHOT_UNSUMMED (UINT32_C(1) << 30)

/* What outlives the handle as long as a snapshot is owned. Counted by the handle and by every
 * snapshot. */
struct snapshot_home {
	_Atomic uint32_t refs;
	/* The handle is being closed: the owner that drops a snapshot's last reference retires it.
	 * Sequentially consistent, stored under lock, with a grace period after the store:
	 * safestart_snapshot_release() is the partner. */
	_Atomic bool orphaned;
	int wake_fd; /* the loop's; not used once orphaned */
	void (*retire)(void *data, void *user_data);
	void (*retire_node)(void *data, void *user_data);
	/* Called last of all; NULL until the handle was opened. `epoch` is that of the process
	 * which opened the handle, or made it its own: it alone may call it. [P17] */
	void (*destroy)(void *user_data);
	uint32_t epoch;
	void *user_data;
	struct mailbox *mailbox; /* events=pull: takes what is retired; its own. NULL: callbacks */

	pthread_mutex_t lock;
	pthread_cond_t work;            /* for the thread below, and for close that waits for it */
	struct safestart_snapshot *old; /* replaced and not yet freed, newest first */
	/* Guarded by lock, as all below: grace periods that were requested, and those over. */
	uint64_t graces_wanted;
	uint64_t graces_over;
	bool thread_started;
	bool thread_stop;
	bool waits_here; /* there is no thread, and the worker waits for a grace period */
	pthread_t thread;
};

/* Takes over the mailbox (NULL: none) if it succeeds. NULL: out of memory. */
struct snapshot_home *snapshot_home_new(int wake_fd, const struct safestart_callbacks *callbacks,
					void *user_data, struct mailbox *mailbox);
void snapshot_home_unref(struct snapshot_home *home);

/* A candidate with room for `count` nodes; the caller adds them in the order of ids, each with a
 * reference. Returns: NULL when out of memory. */
struct safestart_snapshot *snapshot_new(struct snapshot_home *home, uint64_t generation,
					size_t count);

/* Free a candidate that was never published; NULL is fine. What nothing else refers to is retired
 * here: on the worker, no lock held. */
void snapshot_discard(struct safestart_snapshot *candidate);

/* Drop one reference to a node; if it was the last, its payload may join the list. / Call the
 * retire callbacks for the list: worker, no lock held. */
void snapshot_drop_node(struct safestart_node *node, struct payload **to_retire);
void snapshot_retire(const struct snapshot_home *home, struct payload *to_retire);

/* Put data, a pointer or a key, into a slot. What the slot had joins the list `to_retire` if
 * nothing else shares it. If `inherited` has the same data, it is shared, so that it is retired
 * once. [P13] The caller guards the slot. Returns: 0 or -ENOMEM. */
int snapshot_set_payload(struct payload **slot, struct payload *inherited, bool of_node,
			 uint64_t value, struct payload **to_retire);
uint64_t snapshot_payload_value(const struct payload *payload);  /* 0: nothing of this process */
struct payload *snapshot_share_payload(struct payload *payload); /* NULL is fine */
/* Give up one reference; the last one puts it on the list. NULL is fine. */
void snapshot_drop_payload(struct payload *payload, struct payload **to_retire);

/* Nothing refers to it any more: free it, and retire what nothing else refers to. Worker; after
 * close the last owner. No lock held. */
void snapshot_dispose(struct safestart_snapshot *snapshot);

/* Wait for a grace period: every borrower that is inside now has left. */
void snapshot_wait_for_readers(void);

/* Make `candidate` live; its one reference becomes the live one. Worker. The caller may hold the
 * handle's lock. */
void snapshot_publish(struct snapshot_view *view, struct safestart_snapshot *candidate,
		      int64_t now);

/* Is there anything to collect? Any thread. / Dispose of it: calls the retire callbacks. Worker, no
 * lock held. */
bool snapshot_collectable(struct snapshot_home *home);
void snapshot_collect(struct snapshot_home *home);

/* Begin a grace period for replaced generations that have none yet; the loop is woken when it is
 * over. Starts the thread if there is none. Returns: 0; -errno: no thread could be started, call
 * again later. */
int snapshot_reclaim(struct snapshot_home *home);
/* After such an error: wait for the grace period here, as long as readers stay. Worker, no lock
 * held. */
void snapshot_reclaim_here(struct snapshot_home *home);
bool snapshot_waits_here(struct snapshot_home *home); /* is the worker in it? Any thread. */

/* Is everything retired, but for generations that owners keep? */
bool snapshot_is_settled(struct snapshot_home *home);

/* Since when the oldest replaced generation is in use, by a borrower or by an owner (*borrowed says
 * which); 0: none is. `borrowed_only`: the oldest that a borrower uses. */
int64_t snapshot_oldest(struct snapshot_home *home, bool borrowed_only, uint64_t *generation,
			bool *borrowed);

/* Returns: the nodes of replaced generations that `live` does not have, as a set; NULL when out of
 * memory. */
struct nodeset *snapshot_retiring(struct snapshot_home *home,
				  const struct safestart_snapshot *live);

/* For invariants only, so not in a release: the old generations are in order, and each has the
 * references its stage says. home->lock is held. In time proportional to their number. */
bool snapshot_old_holds(const struct snapshot_home *home);

/* How many references there are, wherever they count; exact if none is made or dropped meanwhile.
 */
uint32_t snapshot_references(const struct safestart_snapshot *snapshot);
/* Owners count in `refs` from here on. / A grace period later: add what they have counted in
 * stripes. home->lock is held. */
void snapshot_end_stripes(struct safestart_snapshot *snapshot);
void snapshot_sum_stripes_locked(struct safestart_snapshot *snapshot);

/* Close, first part: from here on what is owned is its owners'. Waits for a grace period, at most
 * until `deadline` (without a limit where no thread can be started). Everything else is retired. 0;
 * -ETIMEDOUT: a borrower of some handle stays, call it again. */
int snapshot_orphan(struct snapshot_view *view, int64_t deadline);

/* Close: ends the thread, retires the live generation, and leaves what is owned to its owners. No
 * thread reads any more: after snapshot_orphan(), or of a handle that was never opened. */
void snapshot_close(struct snapshot_view *view);

/* Around fork; the caller holds every lock above this room's. */
void snapshot_before_fork(struct snapshot_home *home);
void snapshot_after_fork_parent(struct snapshot_home *home);
void snapshot_after_fork_child(struct snapshot_home *home, struct snapshot_view *view);

/* Once per fork, for all copies of the library (copies.h). snapshot_pause_graces() comes before any
 * lock is taken: it waits for the grace period in progress, and so for its readers. The others come
 * after those of the handles. */
void snapshot_pause_graces(void);
void snapshot_rcu_before_fork(void);
void snapshot_rcu_after_fork_parent(void);
void snapshot_rcu_after_fork_child(void);

#endif
