/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* reclaim: retires what no reader needs any more. A thread of its own waits for grace periods and
 * calls nothing of the application; after that the worker retires what no owner keeps. If there can
 * be no such thread, the worker waits. Status views read the list of old generations, which
 * home->lock guards. [P13] */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/invariant.h"
#include "base/loop.h"
#include "base/thread.h"
#include "snapshot/copies.h"
#include "snapshot/snapshot.h"

#ifdef SAFESTART_INVARIANTS
/* References are dropped without a lock, so each count is read once, and it is a lower bound that
 * is checked: the live reference until the grace period is over, and the status views'. */
static bool old_one_holds(const struct snapshot_home *home, const struct safestart_snapshot *s)
{
	uint32_t least = s->status_refs + (s->stage < SNAPSHOT_OWNED);

	return s->home == home && s->stage >= SNAPSHOT_REPLACED &&
	       atomic_load_explicit(&s->refs, memory_order_relaxed) >= least;
}

bool snapshot_old_holds(const struct snapshot_home *home)
{
	for (const struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		const struct safestart_snapshot *older = s->older;
		if (!old_one_holds(home, s))
			return false;
		/* Newest first; what is older is further on its way, as far as grace periods go. */
		if (older != NULL &&
		    (older->generation >= s->generation ||
		     (older->stage < s->stage && older->stage < SNAPSHOT_GRACE_OVER)))
			return false;
	}
	/* One grace period is in progress at most, and one more requested. */
	return home->graces_over <= home->graces_wanted &&
	       home->graces_wanted <= home->graces_over + 2 &&
	       (home->thread_started || home->graces_over == home->graces_wanted);
}
#endif

static bool is_collectable(struct safestart_snapshot *snapshot)
{
	return snapshot->stage == SNAPSHOT_GRACE_OVER ||
	       (snapshot->stage == SNAPSHOT_OWNED && atomic_load(&snapshot->refs) == 0);
}

bool snapshot_collectable(struct snapshot_home *home)
{
	bool found = false;

	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL && !found; s = s->older)
		found = is_collectable(s);
	pthread_mutex_unlock(&home->lock);
	return found;
}

/* Take out of the list one snapshot that nothing refers to. On the way it drops the live reference
 * of each whose grace period is over. */
static struct safestart_snapshot *take_collectable(struct snapshot_home *home)
{
	struct safestart_snapshot *found = NULL;

	pthread_mutex_lock(&home->lock);
	invariant(snapshot_old_holds(home));
	for (struct safestart_snapshot **at = &home->old; *at != NULL && found == NULL;) {
		struct safestart_snapshot *s = *at;
		bool unowned = false;
		if (s->stage == SNAPSHOT_GRACE_OVER) {
			s->stage = SNAPSHOT_OWNED;
			/* Of an orphaned home it is the reference that snapshot_close() drops. */
			unowned =
				!atomic_load(&home->orphaned) && atomic_fetch_sub(&s->refs, 1) == 1;
		} else if (s->stage == SNAPSHOT_OWNED) {
			unowned = atomic_load(&s->refs) == 0;
		}
		if (unowned) {
			*at = s->older;
			found = s;
		} else {
			at = &s->older;
		}
	}
	invariant(snapshot_old_holds(home));
	invariant(found == NULL || (found->stage == SNAPSHOT_OWNED && found->status_refs == 0));
	pthread_mutex_unlock(&home->lock);
	return found;
}

void snapshot_collect(struct snapshot_home *home)
{
	struct safestart_snapshot *snapshot;

	while ((snapshot = take_collectable(home)) != NULL)
		snapshot_dispose(snapshot);
}

static void advance_stage(struct snapshot_home *home, enum snapshot_stage from,
			  enum snapshot_stage to)
{
	/* Forward by one, or back in a child that has no thread waiting. */
	invariant(to == from + 1 || (from == SNAPSHOT_GRACE && !home->thread_started));
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		if (s->stage != from)
			continue;
		s->stage = to;
		if (to == SNAPSHOT_GRACE_OVER)
			snapshot_sum_stripes_locked(s);
	}
	invariant(snapshot_old_holds(home));
}

/* The thread that waits for grace periods. No lock is held meanwhile, and it calls nothing of the
 * application. */
static void *grace_thread(void *argument)
{
	struct snapshot_home *home = argument;

	pthread_mutex_lock(&home->lock);
	while (!home->thread_stop) {
		if (home->graces_over == home->graces_wanted) {
			pthread_cond_wait(&home->work, &home->lock);
			continue;
		}
		uint64_t wanted = home->graces_wanted;
		advance_stage(home, SNAPSHOT_REPLACED, SNAPSHOT_GRACE);
		pthread_mutex_unlock(&home->lock);
		snapshot_wait_for_readers();
		pthread_mutex_lock(&home->lock);
		advance_stage(home, SNAPSHOT_GRACE, SNAPSHOT_GRACE_OVER);
		invariant(home->graces_over < wanted); /* only this thread counts them */
		home->graces_over = wanted;
		pthread_cond_broadcast(&home->work);
		loop_wake(home->wake_fd);
	}
	pthread_mutex_unlock(&home->lock);
	return NULL;
}

void snapshot_reclaim_here(struct snapshot_home *home)
{
	pthread_mutex_lock(&home->lock);
	invariant(!home->waits_here);
	bool here = !home->thread_started;
	home->waits_here = here;
	if (here)
		advance_stage(home, SNAPSHOT_REPLACED, SNAPSHOT_GRACE);
	pthread_mutex_unlock(&home->lock);
	if (!here)
		return;
	snapshot_wait_for_readers();
	pthread_mutex_lock(&home->lock);
	invariant(
		!home->thread_started); /* it would have moved what this grace period is not for */
	advance_stage(home, SNAPSHOT_GRACE, SNAPSHOT_GRACE_OVER);
	home->waits_here = false;
	pthread_mutex_unlock(&home->lock);
}

bool snapshot_waits_here(struct snapshot_home *home)
{
	pthread_mutex_lock(&home->lock);
	bool waits = home->waits_here;
	pthread_mutex_unlock(&home->lock);
	return waits;
}

static int begin_locked(struct snapshot_home *home)
{
	if (!home->thread_started) {
		int error = thread_start(&home->thread, "safestart-grace", grace_thread, home);
		if (error < 0)
			return error;
		home->thread_started = true;
	}
	home->graces_wanted++;
	invariant(snapshot_old_holds(home));
	pthread_cond_broadcast(&home->work);
	return 0;
}

bool snapshot_is_settled(struct snapshot_home *home)
{
	bool settled = true;

	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL && settled; s = s->older)
		settled = s->stage == SNAPSHOT_OWNED && !is_collectable(s);
	pthread_mutex_unlock(&home->lock);
	return settled;
}

int snapshot_reclaim(struct snapshot_home *home)
{
	int error = 0;

	pthread_mutex_lock(&home->lock);
	bool waiting = home->graces_over != home->graces_wanted, replaced = false;
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older)
		replaced = replaced || s->stage == SNAPSHOT_REPLACED;
	/* A grace period that has begun may have begun before the newest generation was replaced,
	 * so there is always one more after it, and never two. */
	if (replaced && !home->waits_here &&
	    (!waiting || home->graces_wanted == home->graces_over + 1))
		error = begin_locked(home);
	pthread_mutex_unlock(&home->lock);
	return error;
}

/* Nothing in this process uses it: it only waits to be collected, or for owners that were left
 * behind by a fork. [P17] [P22] */
static bool is_free(struct safestart_snapshot *snapshot)
{
	return snapshot->stage >= SNAPSHOT_GRACE_OVER &&
	       atomic_load(&snapshot->refs) <= (snapshot->stage == SNAPSHOT_GRACE_OVER ? 1 : 0) +
						       snapshot->status_refs + snapshot->inherited;
}

int64_t snapshot_oldest(struct snapshot_home *home, bool borrowed_only, uint64_t *generation,
			bool *borrowed)
{
	int64_t since = 0;

	*borrowed = false;
	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		if ((borrowed_only && s->stage >= SNAPSHOT_GRACE_OVER) || is_free(s))
			continue;
		since = s->replaced_at; /* the list is newest first */
		*generation = s->generation;
		*borrowed = s->stage < SNAPSHOT_GRACE_OVER;
	}
	pthread_mutex_unlock(&home->lock);
	return since;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct safestart_node *const *)a)->text,
		      (*(struct safestart_node *const *)b)->text);
}

/* The replaced generations in use, each with a reference for this status view, so that the slow
 * part runs without the lock and does not delay the next publication. NULL: out of memory. */
static struct safestart_snapshot **own_used(struct snapshot_home *home, size_t *count)
{
	size_t room = 0;

	*count = 0;
	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older)
		room++;
	struct safestart_snapshot **used = calloc(room + 1, sizeof(struct safestart_snapshot *));
	for (struct safestart_snapshot *s = home->old; used != NULL && s != NULL; s = s->older) {
		if (is_free(s))
			continue;
		/* Its last owner may leave at this moment, and the count may have been 0: it is
		 * taken out of the list only under this lock, so not before this reference is
		 * released. */
		atomic_fetch_add(&s->refs, 1);
		s->status_refs++;
		used[(*count)++] = s;
	}
	invariant(*count <= room);
	invariant(snapshot_old_holds(home));
	pthread_mutex_unlock(&home->lock);
	return used;
}

static struct nodeset *retiring_of(struct safestart_snapshot *const *used, size_t used_count,
				   const struct safestart_snapshot *live)
{
	size_t room = 0, count = 0, unique = 0;

	for (size_t i = 0; i < used_count; i++)
		room += used[i]->count;
	struct safestart_node **nodes = calloc(room + 1, sizeof(struct safestart_node *));
	if (nodes == NULL)
		return NULL;
	for (size_t i = 0; i < used_count; i++) {
		for (size_t j = 0; j < used[i]->count; j++) {
			if (nodeset_find(live->nodes, live->count, used[i]->nodes[j]->text, NULL) ==
			    NULL)
				nodes[count++] = used[i]->nodes[j];
		}
	}
	if (count > 1)
		qsort(nodes, count, sizeof(struct safestart_node *), by_id);
	for (size_t i = 0; i < count; i++) {
		if (unique == 0 || strcmp(nodes[unique - 1]->text, nodes[i]->text) != 0)
			nodes[unique++] = nodes[i];
	}
	struct nodeset *set = nodeset_new(nodes, unique);
	free(nodes);
	return set;
}

struct nodeset *snapshot_retiring(struct snapshot_home *home, const struct safestart_snapshot *live)
{
	size_t count;
	struct safestart_snapshot **used = own_used(home, &count);

	if (used == NULL)
		return NULL;
	struct nodeset *set = retiring_of(used, count, live);
	pthread_mutex_lock(&home->lock);
	for (size_t i = 0; i < count; i++) {
		invariant(used[i]->status_refs > 0);
		used[i]->status_refs--;
		/* The handle is open: at most this wakes the loop. */
		safestart_snapshot_release(used[i]);
	}
	pthread_mutex_unlock(&home->lock);
	free(used);
	return set;
}

/* ---- The home ---- */

struct snapshot_home *snapshot_home_new(int wake_fd, const struct safestart_callbacks *callbacks,
					void *user_data, struct mailbox *mailbox)
{
	struct snapshot_home *home = calloc(1, sizeof(*home));

	copies_find();
	if (home == NULL)
		return NULL;
	atomic_init(&home->refs, 1);
	atomic_init(&home->orphaned, false);
	home->wake_fd = wake_fd;
	home->retire = callbacks->retire;
	home->retire_node = callbacks->retire_node;
	home->user_data = user_data;
	home->epoch = epoch_now();
	pthread_mutex_init(&home->lock, NULL);
	if (thread_cond_init(&home->work) == 0) {
		home->mailbox = mailbox;
		return home;
	}
	pthread_mutex_destroy(&home->lock);
	free(home);
	return NULL;
}

void snapshot_home_unref(struct snapshot_home *home)
{
	if (home == NULL)
		return;
	uint32_t before = atomic_fetch_sub_explicit(&home->refs, 1, memory_order_acq_rel);
	invariant(before > 0);
	if (before != 1)
		return;
	invariant(home->old == NULL);
	pthread_cond_destroy(&home->work);
	pthread_mutex_destroy(&home->lock);
	mailbox_free(home->mailbox);
	if (home->destroy != NULL && home->epoch == epoch_now())
		home->destroy(home->user_data);
	free(home);
}

static void stop_thread(struct snapshot_home *home)
{
	pthread_mutex_lock(&home->lock);
	bool started = home->thread_started;
	home->thread_stop = true;
	pthread_cond_broadcast(&home->work);
	pthread_mutex_unlock(&home->lock);
	if (started)
		pthread_join(home->thread, NULL);
}

/* Each old snapshot keeps its live reference or gets one more here, so that none is freed by its
 * owner before snapshot_close() has passed it. */
static void orphan_locked(struct snapshot_home *home, struct safestart_snapshot *live)
{
	invariant(snapshot_old_holds(home) && !atomic_load(&home->orphaned));
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		if (s->stage == SNAPSHOT_OWNED)
			atomic_fetch_add(&s->refs, 1);
	}
	snapshot_end_stripes(live);
	atomic_store(&home->orphaned, true);
}

int snapshot_orphan(struct snapshot_view *view, int64_t deadline)
{
	struct safestart_snapshot *live = atomic_load_explicit(&view->live, memory_order_relaxed);
	struct snapshot_home *home = live->home;
	int error = 0;

	pthread_mutex_lock(&home->lock);
	bool begin = !atomic_load(&home->orphaned);
	if (begin)
		orphan_locked(home, live);
	/* For borrowers, and for releases that saw it not orphaned. A borrower of any handle of the
	 * process may stay, so the thread waits for them, and the caller for the thread. */
	bool here = begin && begin_locked(home) < 0;
	while (!here && error == 0 && home->graces_over < home->graces_wanted)
		error = thread_cond_wait(&home->work, &home->lock, deadline);
	bool over = here || home->graces_over == home->graces_wanted;
	pthread_mutex_unlock(&home->lock);
	if (here)
		snapshot_wait_for_readers();
	return over ? 0 : -ETIMEDOUT;
}

void snapshot_close(struct snapshot_view *view)
{
	struct safestart_snapshot *live = atomic_load_explicit(&view->live, memory_order_relaxed),
				  *s;
	struct snapshot_home *home = live->home;

	stop_thread(home);
	/* From here on no other thread takes the lock: callbacks are over, the thread has ended.
	 * The live snapshot joins the old ones. */
	if (!atomic_load(&home->orphaned))
		orphan_locked(home, live);
	live->older = home->old;
	live->stage = SNAPSHOT_OWNED; /* its live reference is the one kept here */
	home->old = live;
	while ((s = home->old) != NULL) {
		home->old = s->older;
		snapshot_sum_stripes_locked(s); /* the grace period of snapshot_orphan() is over */
		uint32_t before = atomic_fetch_sub(&s->refs, 1);
		invariant(before > 0);
		if (before == 1)
			snapshot_dispose(s);
	}
	atomic_store_explicit(&view->live, NULL, memory_order_relaxed);
	snapshot_home_unref(home);
}

/* ---- Fork ---- */

void snapshot_before_fork(struct snapshot_home *home)
{
	pthread_mutex_lock(&home->lock);
}

void snapshot_after_fork_parent(struct snapshot_home *home)
{
	pthread_mutex_unlock(&home->lock);
}

/* Owners of before are runs and threads of the parent, which do not exist here. */
static void inherit(struct safestart_snapshot *snapshot)
{
	snapshot->inherited = snapshot_references(snapshot) - snapshot->status_refs -
			      (snapshot->stage < SNAPSHOT_OWNED);
}

void snapshot_after_fork_child(struct snapshot_home *home, struct snapshot_view *view)
{
	inherit(atomic_load_explicit(&view->live, memory_order_relaxed));
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older)
		inherit(s);
	home->thread_started = home->waits_here = false;
	home->graces_wanted = home->graces_over;
	thread_cond_init(&home->work); /* the thread that waited does not exist here */
	advance_stage(home, SNAPSHOT_GRACE, SNAPSHOT_REPLACED);
	pthread_mutex_unlock(&home->lock);
}
