/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* snapshot, continued: giving back what no reader needs any more. Replaced generations wait for a
 * grace period on a thread of their own; then the worker retires what nobody owns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/thread.h"
#include "snapshot/snapshot.h"

static bool is_collectable(struct safestart_snapshot *snapshot)
{
	return snapshot->stage == SNAPSHOT_PASSED ||
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

/* Take one snapshot out of the list that nobody refers to; drops live references on the way. */
static struct safestart_snapshot *take_collectable(struct snapshot_home *home)
{
	struct safestart_snapshot *found = NULL;

	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot **at = &home->old; *at != NULL && found == NULL;) {
		struct safestart_snapshot *s = *at;
		bool unowned = false;
		if (s->stage == SNAPSHOT_PASSED) {
			s->stage = SNAPSHOT_OWNED;
			unowned = atomic_fetch_sub(&s->refs, 1) == 1;
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
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		if (s->stage == from)
			s->stage = to;
	}
}

/* The thread that waits for grace periods. Calls nothing of the application's. */
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
		advance_stage(home, SNAPSHOT_REPLACED, SNAPSHOT_WAITING);
		pthread_mutex_unlock(&home->lock);
		snapshot_wait_for_readers();
		pthread_mutex_lock(&home->lock);
		advance_stage(home, SNAPSHOT_WAITING, SNAPSHOT_PASSED);
		home->graces_over = wanted;
		loop_wake(home->wake_fd);
	}
	pthread_mutex_unlock(&home->lock);
	return NULL;
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
	pthread_cond_signal(&home->work);
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
	/* One that has begun may have begun before the newest was replaced: always one more. */
	if (replaced && (!waiting || home->graces_wanted == home->graces_over + 1))
		error = begin_locked(home);
	pthread_mutex_unlock(&home->lock);
	return error;
}

/* Held by the run or a thread of the process we were forked from: nobody here can give it back, or
 * is in it. */
static bool is_inherited(const struct safestart_snapshot *snapshot)
{
	return snapshot->stage == SNAPSHOT_OWNED && snapshot->epoch != snapshot_epoch();
}

/* Nobody holds it: it only waits to be collected. */
static bool is_free(struct safestart_snapshot *snapshot)
{
	return snapshot->stage >= SNAPSHOT_PASSED &&
	       atomic_load(&snapshot->refs) ==
		       (snapshot->stage == SNAPSHOT_PASSED ? 1 : 0) + snapshot->lookers;
}

int64_t snapshot_oldest(struct snapshot_home *home, bool borrowed_only, uint64_t *generation,
			bool *borrowed)
{
	int64_t since = 0;

	*borrowed = false;
	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		if ((borrowed_only && s->stage >= SNAPSHOT_PASSED) || is_inherited(s) || is_free(s))
			continue;
		since = s->replaced_at; /* the list is newest first */
		*generation = s->generation;
		*borrowed = s->stage < SNAPSHOT_PASSED;
	}
	pthread_mutex_unlock(&home->lock);
	return since;
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct safestart_node *const *)a)->text,
		      (*(struct safestart_node *const *)b)->text);
}

/* The replaced generations that are held, with a reference of ours to each, so that what takes its
 * time need not hold up who publishes the next. NULL: no memory. */
static struct safestart_snapshot **own_held(struct snapshot_home *home, size_t *count)
{
	size_t room = 0;

	*count = 0;
	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older)
		room++;
	struct safestart_snapshot **held = calloc(room + 1, sizeof(struct safestart_snapshot *));
	for (struct safestart_snapshot *s = home->old; held != NULL && s != NULL; s = s->older) {
		if (is_inherited(s) || is_free(s))
			continue;
		/* Should its last owner leave just now: it is collected under this lock only, and
		 * when we have left. */
		atomic_fetch_add(&s->refs, 1);
		s->lookers++;
		held[(*count)++] = s;
	}
	pthread_mutex_unlock(&home->lock);
	return held;
}

static struct nodeset *retiring_of(struct safestart_snapshot *const *held, size_t held_count,
				   const struct safestart_snapshot *live)
{
	size_t room = 0, count = 0, unique = 0;
	struct nodeset *set = NULL;

	for (size_t i = 0; i < held_count; i++)
		room += held[i]->count;
	struct safestart_node **nodes = calloc(room + 1, sizeof(struct safestart_node *));
	for (size_t i = 0; nodes != NULL && i < held_count; i++) {
		for (size_t j = 0; j < held[i]->count; j++) {
			if (nodeset_find(live->nodes, live->count, held[i]->nodes[j]->text, NULL) ==
			    NULL)
				nodes[count++] = held[i]->nodes[j];
		}
	}
	if (count > 1)
		qsort(nodes, count, sizeof(struct safestart_node *), by_id);
	for (size_t i = 0; i < count; i++) {
		if (unique == 0 || strcmp(nodes[unique - 1]->text, nodes[i]->text) != 0)
			nodes[unique++] = nodes[i];
	}
	if (nodes != NULL)
		set = nodeset_new(nodes, unique);
	free(nodes);
	return set;
}

struct nodeset *snapshot_retiring(struct snapshot_home *home, const struct safestart_snapshot *live)
{
	size_t count;
	struct safestart_snapshot **held = own_held(home, &count);

	if (held == NULL)
		return NULL;
	struct nodeset *set = retiring_of(held, count, live);
	pthread_mutex_lock(&home->lock);
	for (size_t i = 0; i < count; i++) {
		held[i]->lookers--;
		/* The handle is open: at most the loop is woken. */
		safestart_snapshot_release(held[i]);
	}
	pthread_mutex_unlock(&home->lock);
	free(held);
	return set;
}

/* ---- The home ---- */

struct snapshot_home *snapshot_home_new(int wake_fd, const struct safestart_callbacks *callbacks,
					void *user_data)
{
	struct snapshot_home *home = calloc(1, sizeof(*home));

	if (home == NULL)
		return NULL;
	atomic_init(&home->refs, 1);
	atomic_init(&home->orphaned, false);
	home->wake_fd = wake_fd;
	home->retire = callbacks->retire;
	home->retire_node = callbacks->retire_node;
	home->user_data = user_data;
	pthread_mutex_init(&home->lock, NULL);
	pthread_cond_init(&home->work, NULL);
	return home;
}

void snapshot_home_unref(struct snapshot_home *home)
{
	if (home == NULL || atomic_fetch_sub_explicit(&home->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_cond_destroy(&home->work);
	pthread_mutex_destroy(&home->lock);
	free(home);
}

static void stop_thread(struct snapshot_home *home)
{
	pthread_mutex_lock(&home->lock);
	bool started = home->thread_started;
	home->thread_stop = true;
	pthread_cond_signal(&home->work);
	pthread_mutex_unlock(&home->lock);
	if (started)
		pthread_join(home->thread, NULL);
}

void snapshot_close(struct snapshot_view *view)
{
	struct safestart_snapshot *live = atomic_load_explicit(&view->live, memory_order_relaxed),
				  *s;
	struct snapshot_home *home = live->home;

	stop_thread(home);
	/* From here on nobody takes the lock: callbacks are over, the thread has gone. The live
	 * snapshot joins the old ones; a reference of our own keeps the owned ones in place while
	 * we look. */
	live->older = home->old;
	live->stage = SNAPSHOT_OWNED; /* its live reference is the one of our own */
	home->old = live;
	for (s = live->older; s != NULL; s = s->older) {
		if (s->stage == SNAPSHOT_OWNED)
			atomic_fetch_add(&s->refs, 1);
	}
	atomic_store(&home->orphaned, true);
	snapshot_wait_for_readers(); /* for borrowers, and for releases that saw it not orphaned */
	while ((s = home->old) != NULL) {
		home->old = s->older;
		if (atomic_fetch_sub(&s->refs, 1) == 1)
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

void snapshot_after_fork_child(struct snapshot_home *home)
{
	home->thread_started = false;
	home->graces_wanted = home->graces_over;
	pthread_cond_init(&home->work, NULL); /* its waiters do not exist here */
	advance_stage(home, SNAPSHOT_WAITING, SNAPSHOT_REPLACED);
	pthread_mutex_unlock(&home->lock);
}
