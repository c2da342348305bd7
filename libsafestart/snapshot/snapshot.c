/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* snapshot: reading, the application's data, publication, and RCU around fork. Readers are any
 * thread and any signal handler; the worker publishes. What readers pass takes no lock and
 * allocates nothing, but for a thread's first read. [P5] [P10] */
#define _LGPL_SOURCE
#define URCU_INLINE_SMALL_FUNCTIONS
#include "snapshot/snapshot.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* liburcu 0.13 places its readers' records 32 bytes past the alignment that it declares for them,
 * which the undefined behaviour sanitizer reports at every access. Only these inlined functions
 * touch them here. */
#define TOUCHES_RECORD __attribute__((no_sanitize("alignment")))
static inline void _urcu_bp_read_lock_update(unsigned long tmp) TOUCHES_RECORD;
static inline void _urcu_bp_read_lock(void) TOUCHES_RECORD;
#include <urcu-bp.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "base/loop.h"
#include "base/thread.h"
#include "nodes/nodeset.h"
#include "request/request.h"
#include "snapshot/copies.h"

/* liburcu 0.13 does not tell the thread sanitizer that what a reader did happens before the end of
 * the grace period that waited for it. */
#ifdef HAVE_TSAN
#include <sanitizer/tsan_interface.h>
static char grace_period;
#define READER_LEAVES() __tsan_release(&grace_period)
#define READERS_HAVE_LEFT() __tsan_acquire(&grace_period)
#else
#define READER_LEAVES() ((void)0)
#define READERS_HAVE_LEFT() ((void)0)
#endif

void snapshot_wait_for_readers(void)
{
	pthread_mutex_lock(&copies->grace_lock);
	urcu_bp_synchronize_rcu();
	READERS_HAVE_LEFT();
	pthread_mutex_unlock(&copies->grace_lock);
}

/* ---- Reading: any thread, any signal handler ---- */

static void __attribute__((noinline, cold)) register_thread(void)
{
	sigset_t all, before;

	sigfillset(&all); /* a signal handler on this thread may read as well */
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_mutex_lock(&copies->registration);
	urcu_bp_register();
	pthread_mutex_unlock(&copies->registration);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* What an outermost reader writes into its record is found here: liburcu's counter. Until it is
 * known that the kernel has membarrier(), and if it has not, so that readers need a fence, it is a
 * zero, with which no reader enters at once. */
static const unsigned long no_entry;
static _Atomic(const unsigned long *) entry = &no_entry;

/* Record and counter have the number of nested readers in their lower half; the counter's is 1. */
static inline uint32_t nested(unsigned long ctr)
{
	return (uint32_t)(ctr & URCU_BP_GP_CTR_NEST_MASK);
}

/* For a registered thread, outermost, that needs no fence: fewer instructions than liburcu's own
 * function, because this is most of what a read costs. */
static inline TOUCHES_RECORD bool reader_enters_at_once(void)
{
	struct urcu_bp_reader *reader = URCU_TLS(urcu_bp_reader);
	unsigned long ctr = CMM_LOAD_SHARED(*atomic_load_explicit(&entry, memory_order_relaxed));

	if (caa_unlikely(reader == NULL || nested(CMM_LOAD_SHARED(reader->ctr)) >= nested(ctr)))
		return false;
	_CMM_STORE_SHARED(reader->ctr, ctr);
	cmm_barrier(); /* the thread that waits for readers makes it one for the processor */
	return true;
}

static void __attribute__((noinline, cold)) reader_enters_slowly(void)
{
	if (URCU_TLS(urcu_bp_reader) == NULL) {
		register_thread();
		if (URCU_TLS(urcu_bp_reader) == NULL)
			__builtin_unreachable(); /* for static analysis: registration aborts */
	}
	/* Known since the first thread registered. Stored only once: every reader loads it, and a
	 * store would take the cache line from all of them. */
	if (urcu_bp_has_sys_membarrier &&
	    atomic_load_explicit(&entry, memory_order_relaxed) == &no_entry)
		atomic_store_explicit(&entry, &urcu_bp_gp.ctr, memory_order_relaxed);
	urcu_bp_read_lock();
}

static inline void reader_enters(void)
{
	if (caa_unlikely(!reader_enters_at_once()))
		reader_enters_slowly();
}

/* Release: what the reader did comes before its record says that it has left. The thread that waits
 * for readers relies on nothing else, so no fence is needed here (liburcu has one where there is no
 * membarrier()). */
static inline TOUCHES_RECORD void reader_leaves(void)
{
	struct urcu_bp_reader *reader = URCU_TLS(urcu_bp_reader);

	READER_LEAVES();
	__atomic_store_n(&reader->ctr, CMM_LOAD_SHARED(reader->ctr) - URCU_BP_GP_COUNT,
			 __ATOMIC_RELEASE);
}

static struct snapshot_view *view_of(struct safestart *ss)
{
	return (struct snapshot_view *)(void *)ss;
}

/* A tail call, so that the usual path needs no stack frame. */
static const struct safestart_snapshot *__attribute__((noinline, cold))
read_lock_slowly(struct safestart *ss)
{
	reader_enters_slowly();
	return atomic_load_explicit(&view_of(ss)->live, memory_order_acquire);
}

const struct safestart_snapshot *safestart_read_lock(struct safestart *ss)
{
	if (caa_unlikely(!reader_enters_at_once()))
		return read_lock_slowly(ss);
	return atomic_load_explicit(&view_of(ss)->live, memory_order_acquire);
}

void safestart_read_unlock(struct safestart *ss)
{
	(void)ss;
	reader_leaves();
}

/* Inside a reader's section. False: it counts in refs. True: counted, in this thread's stripe,
 * which is told by its record; the end of the section orders it before the sum. */
static inline bool count_in_stripe(struct safestart_snapshot *snapshot, int32_t change)
{
	if (caa_unlikely(!atomic_load_explicit(&snapshot->striped, memory_order_relaxed)))
		return false;
	size_t thread = (uintptr_t)URCU_TLS(urcu_bp_reader) / sizeof(struct urcu_bp_reader);
	atomic_fetch_add_explicit(&snapshot->stripes[thread % SNAPSHOT_STRIPES].owners, change,
				  memory_order_relaxed);
	return true;
}

struct safestart_snapshot *safestart_snapshot_acquire(struct safestart *ss)
{
	reader_enters();
	struct safestart_snapshot *live =
		atomic_load_explicit(&view_of(ss)->live, memory_order_acquire);
	/* The live reference is dropped only after a grace period, which waits for this reader. */
	if (!count_in_stripe(live, 1)) {
		uint32_t before = atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);
		invariant(before > 0);
		invariant(before < UINT32_MAX);
	}
	reader_leaves();
	return live;
}

uint64_t safestart_generation(const struct safestart *ss)
{
	if (ss == NULL)
		return 0;
	return atomic_load_explicit(&((const struct snapshot_view *)(const void *)ss)->generation,
				    memory_order_acquire);
}

/* Plain memory: a 64-bit atomic that would need a lock is refused when the library is built. */
const uint64_t *safestart_generation_address(const struct safestart *ss)
{
	return ss != NULL ? (const uint64_t *)(const void *)&(
				    (const struct snapshot_view *)(const void *)ss)
				    ->generation
			  : NULL;
}

uint64_t safestart_snapshot_generation(const struct safestart_snapshot *snapshot)
{
	return snapshot->generation;
}

size_t safestart_snapshot_size(const struct safestart_snapshot *snapshot)
{
	return snapshot->count;
}

const struct safestart_node *safestart_snapshot_at(const struct safestart_snapshot *snapshot,
						   size_t index)
{
	return index < snapshot->count ? node_at(snapshot->nodes, index) : NULL;
}

const struct safestart_node *safestart_snapshot_find(const struct safestart_snapshot *snapshot,
						     const char *id)
{
	return id != NULL ? nodeset_find(snapshot->nodes, snapshot->count, id, NULL) : NULL;
}

uint64_t safestart_snapshot_key(const struct safestart_snapshot *snapshot)
{
	return snapshot_payload_value(snapshot->payload);
}

uint64_t safestart_node_key(const struct safestart_node *node)
{
	return snapshot_payload_value(node->payload);
}

void *safestart_snapshot_data(const struct safestart_snapshot *snapshot)
{
	return (void *)(uintptr_t)snapshot_payload_value(snapshot->payload);
}

void *safestart_node_data(const struct safestart_node *node)
{
	return (void *)(uintptr_t)snapshot_payload_value(node->payload);
}

char *safestart_snapshot_json(const struct safestart_snapshot *snapshot)
{
	return nodeset_json(snapshot->nodes, snapshot->count);
}

/* ---- Snapshots ---- */

uint32_t snapshot_references(const struct safestart_snapshot *snapshot)
{
	uint32_t sum = atomic_load_explicit(&snapshot->refs, memory_order_relaxed);

	if (!snapshot->unsummed)
		return sum;
	for (size_t i = 0; i < SNAPSHOT_STRIPES; i++)
		sum += (uint32_t)atomic_load_explicit(&snapshot->stripes[i].owners,
						      memory_order_relaxed);
	return sum - SNAPSHOT_UNSUMMED;
}

static void begin_stripes(struct safestart_snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->refs, SNAPSHOT_UNSUMMED, memory_order_relaxed);
	snapshot->unsummed = true;
	atomic_store_explicit(&snapshot->striped, true, memory_order_relaxed);
}

void snapshot_end_stripes(struct safestart_snapshot *snapshot)
{
	atomic_store_explicit(&snapshot->striped, false, memory_order_relaxed);
}

void snapshot_sum_stripes_locked(struct safestart_snapshot *snapshot)
{
	invariant(!atomic_load_explicit(&snapshot->striped, memory_order_relaxed));
	if (!snapshot->unsummed)
		return;
	uint32_t sum = 0;
	for (size_t i = 0; i < SNAPSHOT_STRIPES; i++)
		sum += (uint32_t)atomic_load_explicit(&snapshot->stripes[i].owners,
						      memory_order_relaxed);
	snapshot->unsummed = false;
	atomic_fetch_add(&snapshot->refs, sum - SNAPSHOT_UNSUMMED);
}

struct safestart_snapshot *snapshot_new(struct snapshot_home *home, uint64_t generation,
					size_t count)
{
	struct safestart_snapshot *snapshot;
	size_t size = sizeof(*snapshot) + count * sizeof(snapshot->nodes[0]);
	/* One more, for they begin at a cache line. */
	snapshot = calloc(1, size + (SNAPSHOT_STRIPES + 1) * sizeof(struct snapshot_stripe));
	if (snapshot == NULL)
		return NULL;
	uintptr_t end = (uintptr_t)snapshot + size;
	snapshot->stripes = (struct snapshot_stripe *)((end + sizeof(struct snapshot_stripe) - 1) &
						       ~(sizeof(struct snapshot_stripe) - 1));
	atomic_init(&snapshot->refs, 1);
	snapshot->stage = SNAPSHOT_CANDIDATE;
	snapshot->home = home;
	uint32_t before = atomic_fetch_add_explicit(&home->refs, 1, memory_order_relaxed);
	invariant(before > 0);
	invariant(!atomic_load_explicit(&home->orphaned, memory_order_relaxed));
	snapshot->generation = generation;
	return snapshot;
}

void snapshot_drop_node(struct safestart_node *node, struct payload **to_retire)
{
	if (!node_unref(node))
		return;
	snapshot_drop_payload(node->payload, to_retire);
	node_free(node);
}

static void free_snapshot(struct safestart_snapshot *snapshot, struct payload **to_retire)
{
	invariant(nodeset_nodes_hold(snapshot->nodes, snapshot->count));
	for (size_t i = 0; i < snapshot->count; i++)
		snapshot_drop_node(snapshot->nodes[i], to_retire);
	snapshot_drop_payload(snapshot->payload, to_retire);
	free(snapshot);
}

void snapshot_dispose(struct safestart_snapshot *snapshot)
{
	struct snapshot_home *home = snapshot->home;
	struct payload *to_retire = NULL;

	/* Nothing refers to it but the run that discards its candidate. */
	invariant(snapshot->stage != SNAPSHOT_LIVE);
	invariant(snapshot->status_refs == 0);
	invariant(atomic_load_explicit(&snapshot->refs, memory_order_relaxed) ==
		  (snapshot->stage == SNAPSHOT_CANDIDATE));
	free_snapshot(snapshot, &to_retire);
	snapshot_retire(home, to_retire);
	snapshot_home_unref(home);
}

void snapshot_discard(struct safestart_snapshot *candidate)
{
	if (candidate == NULL)
		return;
	invariant(candidate->stage == SNAPSHOT_CANDIDATE);
	snapshot_dispose(candidate);
}

void safestart_snapshot_release(struct safestart_snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	bool last_after_close = false;
	/* snapshot_orphan() sets orphaned and then waits for a grace period, before wake_fd is
	 * closed and before it drops its references: inside this section either the loop or this
	 * thread retires the snapshot, never both. [P13] */
	reader_enters();
	if (caa_likely(count_in_stripe(snapshot, -1))) {
		reader_leaves();
		return;
	}
	struct snapshot_home *home = snapshot->home;
	bool orphaned = atomic_load(&home->orphaned);
	if (atomic_fetch_sub(&snapshot->refs, 1) == 1) {
		if (orphaned)
			last_after_close = true;
		else
			loop_wake(home->wake_fd);
	}
	reader_leaves();
	if (last_after_close) {
		THREAD_NOT_CANCELLED;
		snapshot_dispose(snapshot);
	}
}

void snapshot_publish(struct snapshot_view *view, struct safestart_snapshot *candidate, int64_t now)
{
	struct snapshot_home *home = candidate->home;

	invariant(candidate->stage == SNAPSHOT_CANDIDATE);
	invariant(nodeset_nodes_hold(candidate->nodes, candidate->count));
	candidate->stage = SNAPSHOT_LIVE;
	begin_stripes(candidate);
	struct safestart_snapshot *old =
		atomic_exchange_explicit(&view->live, candidate, memory_order_acq_rel);
	atomic_store_explicit(&view->generation, candidate->generation, memory_order_release);
	pthread_mutex_lock(&home->lock);
	invariant(old->stage == SNAPSHOT_LIVE);
	invariant(old->home == home);
	invariant(old->generation <= candidate->generation); /* never backwards [P10] */
	snapshot_end_stripes(old);
	old->stage = SNAPSHOT_REPLACED;
	old->replaced_at = now;
	old->older = home->old;
	home->old = old;
	invariant(snapshot_old_holds(home));
	pthread_mutex_unlock(&home->lock);
}

/* ---- Fork ---- */

void snapshot_pause_graces(void)
{
	/* Registers this thread: a signal handler on it must not have to do that later, while the
	 * locks of fork are held. */
	reader_enters();
	reader_leaves();
	pthread_mutex_lock(&copies->grace_lock);
}

/* liburcu's own fork handlers: they wait for the grace period in progress and block signals until
 * after the fork. Without them a grace period in the child would wait for readers that do not exist
 * there. [P17] */
void snapshot_rcu_before_fork(void)
{
	pthread_mutex_lock(&copies->registration);
	urcu_bp_before_fork();
}

void snapshot_rcu_after_fork_parent(void)
{
	urcu_bp_after_fork_parent();
	pthread_mutex_unlock(&copies->registration);
	pthread_mutex_unlock(&copies->grace_lock);
}

void snapshot_rcu_after_fork_child(void)
{
	urcu_bp_after_fork_child();
	pthread_mutex_unlock(&copies->registration);
	pthread_mutex_unlock(&copies->grace_lock);
}
