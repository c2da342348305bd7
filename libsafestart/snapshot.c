/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _LGPL_SOURCE
#define URCU_INLINE_SMALL_FUNCTIONS
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* liburcu 0.13 lays its readers' records out 32 bytes past the alignment it declares for them, which the undefined
 * behaviour sanitizer reports at every access. These inlined functions are all that touches them here. */
static inline void _urcu_bp_read_lock_update(unsigned long tmp) __attribute__((no_sanitize("alignment")));
static inline void _urcu_bp_read_lock(void) __attribute__((no_sanitize("alignment")));
static inline void _urcu_bp_read_unlock(void) __attribute__((no_sanitize("alignment")));
#include <urcu-bp.h>

#include "nodeset.h"
#include "request.h"
#include "thread.h"

/* liburcu 0.13 tells the thread sanitizer nothing: what a reader did happens before the end of the grace
 * period that waited for it. */
#if defined(__SANITIZE_THREAD__)
#define HAVE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAVE_TSAN 1
#endif
#endif
#ifdef HAVE_TSAN
#include <sanitizer/tsan_interface.h>
static char grace_period;
#define READER_LEAVES() __tsan_release(&grace_period)
#define READERS_HAVE_LEFT() __tsan_acquire(&grace_period)
#else
#define READER_LEAVES() ((void)0)
#define READERS_HAVE_LEFT() ((void)0)
#endif

/* Counts forks on the way from the first process to this one. The only global that changes: data made by
 * another process must turn NULL for every handle at once. */
static _Atomic uint32_t fork_epoch;

uint32_t snapshot_epoch(void)
{
	return atomic_load_explicit(&fork_epoch, memory_order_relaxed);
}

static void grace_period_wait(void)
{
	urcu_bp_synchronize_rcu();
	READERS_HAVE_LEFT();
}

/* ---- Reading: any thread, any signal handler ---- */

static struct snapshot_view *view_of(struct safestart *ss)
{
	return (struct snapshot_view *)(void *)ss;
}

const struct safestart_snapshot *safestart_read_lock(struct safestart *ss)
{
	urcu_bp_read_lock();
	return atomic_load_explicit(&view_of(ss)->live, memory_order_acquire);
}

void safestart_read_unlock(struct safestart *ss)
{
	(void)ss;
	READER_LEAVES();
	urcu_bp_read_unlock();
}

struct safestart_snapshot *safestart_snapshot_acquire(struct safestart *ss)
{
	urcu_bp_read_lock();
	struct safestart_snapshot *live = atomic_load_explicit(&view_of(ss)->live, memory_order_acquire);
	/* Not zero: the live reference goes only after a grace period, which waits for us. */
	atomic_fetch_add_explicit(&live->refs, 1, memory_order_relaxed);
	READER_LEAVES();
	urcu_bp_read_unlock();
	return live;
}

uint64_t safestart_generation(const struct safestart *ss)
{
	if (ss == NULL)
		return 0;
	return atomic_load_explicit(&((const struct snapshot_view *)(const void *)ss)->generation, memory_order_acquire);
}

uint64_t safestart_snapshot_generation(const struct safestart_snapshot *snapshot)
{
	return snapshot->generation;
}

size_t safestart_snapshot_size(const struct safestart_snapshot *snapshot)
{
	return snapshot->count;
}

const struct safestart_node *safestart_snapshot_at(const struct safestart_snapshot *snapshot, size_t index)
{
	return index < snapshot->count ? snapshot->nodes[index] : NULL;
}

const struct safestart_node *safestart_snapshot_find(const struct safestart_snapshot *snapshot, const char *id)
{
	return id != NULL ? nodeset_find(snapshot->nodes, snapshot->count, id, NULL) : NULL;
}

void *safestart_snapshot_data(const struct safestart_snapshot *snapshot)
{
	return snapshot_held_data(snapshot->held);
}

void *safestart_node_data(const struct safestart_node *node)
{
	return snapshot_held_data(node->held);
}

char *safestart_snapshot_json(const struct safestart_snapshot *snapshot)
{
	return nodeset_json(snapshot->nodes, snapshot->count);
}

/* ---- Data ---- */

void *snapshot_held_data(const struct held *held)
{
	return held != NULL && held->epoch == snapshot_epoch() ? held->data : NULL;
}

struct held *snapshot_share(struct held *held)
{
	if (held != NULL)
		atomic_fetch_add_explicit(&held->refs, 1, memory_order_relaxed);
	return held;
}

static void held_drop(struct held *held, struct held **unheld)
{
	if (held == NULL || atomic_fetch_sub_explicit(&held->refs, 1, memory_order_acq_rel) != 1)
		return;
	held->next = *unheld;
	*unheld = held;
}

/* The application's callbacks: no lock is held here. */
static void retire_all(const struct snapshot_home *home, struct held *unheld)
{
	while (unheld != NULL) {
		struct held *held = unheld;
		void (*retire)(void *, void *) = held->of_node ? home->retire_node : home->retire;
		unheld = held->next;
		if (retire != NULL && held->data != NULL && held->epoch == snapshot_epoch())
			retire(held->data, home->user_data);
		free(held);
	}
}

int snapshot_hold(struct snapshot_home *home, struct held **slot, struct held *inherited, bool of_node, void *data)
{
	struct held *held = NULL, *unheld = NULL;

	if (snapshot_held_data(*slot) == data)
		return 0;
	if (data != NULL && snapshot_held_data(inherited) == data) {
		held = snapshot_share(inherited);
	} else if (data != NULL) {
		held = calloc(1, sizeof(*held));
		if (held == NULL)
			return -ENOMEM;
		atomic_init(&held->refs, 1);
		held->epoch = snapshot_epoch();
		held->of_node = of_node;
		held->data = data;
	}
	held_drop(*slot, &unheld);
	*slot = held;
	retire_all(home, unheld);
	return 0;
}

/* ---- Snapshots ---- */

struct safestart_snapshot *snapshot_new(struct snapshot_home *home, uint64_t generation, size_t count)
{
	struct safestart_snapshot *snapshot = calloc(1, sizeof(*snapshot) + count * sizeof(snapshot->nodes[0]));

	if (snapshot == NULL)
		return NULL;
	atomic_init(&snapshot->refs, 1);
	snapshot->stage = SNAPSHOT_CANDIDATE;
	snapshot->home = home;
	atomic_fetch_add_explicit(&home->refs, 1, memory_order_relaxed);
	snapshot->generation = generation;
	return snapshot;
}

static void drop_node(struct safestart_node *node, struct held **unheld)
{
	if (!node_unref(node))
		return;
	held_drop(node->held, unheld);
	node_free(node);
}

static void free_snapshot(struct safestart_snapshot *snapshot, struct held **unheld)
{
	for (size_t i = 0; i < snapshot->count; i++)
		drop_node(snapshot->nodes[i], unheld);
	held_drop(snapshot->held, unheld);
	free(snapshot);
}

/* Nobody refers to it any more. */
static void dispose(struct safestart_snapshot *snapshot)
{
	struct snapshot_home *home = snapshot->home;
	struct held *unheld = NULL;

	free_snapshot(snapshot, &unheld);
	retire_all(home, unheld);
	snapshot_home_unref(home);
}

void snapshot_discard(struct safestart_snapshot *candidate)
{
	if (candidate != NULL)
		dispose(candidate);
}

void snapshot_drop_node(struct snapshot_home *home, struct safestart_node *node)
{
	struct held *unheld = NULL;

	drop_node(node, &unheld);
	retire_all(home, unheld);
}

void safestart_snapshot_release(struct safestart_snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	struct snapshot_home *home = snapshot->home;
	bool last_after_close = false;
	/* snapshot_close() sets orphaned and waits for a grace period before wake_fd is closed and before it
	 * looks who is left: inside this section either the loop or we are responsible, never both. */
	urcu_bp_read_lock();
	bool orphaned = atomic_load(&home->orphaned);
	if (atomic_fetch_sub(&snapshot->refs, 1) == 1) {
		if (orphaned)
			last_after_close = true;
		else
			request_wake(home->wake_fd);
	}
	READER_LEAVES();
	urcu_bp_read_unlock();
	if (last_after_close)
		dispose(snapshot);
}

void snapshot_publish(struct snapshot_view *view, struct safestart_snapshot *candidate, int64_t now)
{
	struct snapshot_home *home = candidate->home;

	candidate->stage = SNAPSHOT_LIVE;
	struct safestart_snapshot *old = atomic_exchange_explicit(&view->live, candidate, memory_order_acq_rel);
	atomic_store_explicit(&view->generation, candidate->generation, memory_order_release);
	pthread_mutex_lock(&home->lock);
	old->stage = SNAPSHOT_REPLACED;
	old->replaced_at = now;
	old->older = home->old;
	home->old = old;
	pthread_mutex_unlock(&home->lock);
}

/* ---- Giving back ---- */

static bool is_collectable(struct safestart_snapshot *snapshot)
{
	return snapshot->stage == SNAPSHOT_PASSED || (snapshot->stage == SNAPSHOT_OWNED && atomic_load(&snapshot->refs) == 0);
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
		dispose(snapshot);
}

static void advance_stage(struct snapshot_home *home, enum snapshot_stage from, enum snapshot_stage to)
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
		grace_period_wait();
		pthread_mutex_lock(&home->lock);
		advance_stage(home, SNAPSHOT_WAITING, SNAPSHOT_PASSED);
		home->graces_over = wanted;
		request_wake(home->wake_fd);
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

int64_t snapshot_oldest(struct snapshot_home *home, bool borrowed_only, uint64_t *generation, bool *borrowed)
{
	int64_t since = 0;

	*borrowed = false;
	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older) {
		if (borrowed_only && s->stage >= SNAPSHOT_PASSED)
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
	return strcmp((*(struct safestart_node *const *)a)->text, (*(struct safestart_node *const *)b)->text);
}

struct nodeset *snapshot_retiring(struct snapshot_home *home, const struct safestart_snapshot *live)
{
	size_t room = 0, count = 0, unique = 0;
	struct nodeset *set = NULL;

	pthread_mutex_lock(&home->lock);
	for (struct safestart_snapshot *s = home->old; s != NULL; s = s->older)
		room += s->count;
	struct safestart_node **nodes = calloc(room + 1, sizeof(struct safestart_node *));
	for (struct safestart_snapshot *s = home->old; nodes != NULL && s != NULL; s = s->older) {
		for (size_t i = 0; i < s->count; i++) {
			if (nodeset_find(live->nodes, live->count, s->nodes[i]->text, NULL) == NULL)
				nodes[count++] = s->nodes[i];
		}
	}
	if (count > 1)
		qsort(nodes, count, sizeof(struct safestart_node *), by_id);
	for (size_t i = 0; i < count; i++) {
		if (unique == 0 || strcmp(nodes[unique - 1]->text, nodes[i]->text) != 0)
			nodes[unique++] = nodes[i];
	}
	if (nodes != NULL)
		set = nodeset_new(nodes, unique); /* the lock keeps them alive until they are referenced */
	pthread_mutex_unlock(&home->lock);
	free(nodes);
	return set;
}

/* ---- The home ---- */

struct snapshot_home *snapshot_home_new(int wake_fd, const struct safestart_callbacks *callbacks, void *user_data)
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
	struct safestart_snapshot *live = atomic_load_explicit(&view->live, memory_order_relaxed), *s;
	struct snapshot_home *home = live->home;

	stop_thread(home);
	/* From here on nobody takes the lock: callbacks are over, the thread has gone. The live snapshot
	 * joins the old ones; a reference of our own keeps the owned ones in place while we look. */
	live->older = home->old;
	live->stage = SNAPSHOT_OWNED; /* its live reference is the one of our own */
	home->old = live;
	for (s = live->older; s != NULL; s = s->older) {
		if (s->stage == SNAPSHOT_OWNED)
			atomic_fetch_add(&s->refs, 1);
	}
	atomic_store(&home->orphaned, true);
	grace_period_wait(); /* for borrowers, and for releases that saw it not orphaned */
	while ((s = home->old) != NULL) {
		home->old = s->older;
		if (atomic_fetch_sub(&s->refs, 1) == 1)
			dispose(s);
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

/* liburcu's own handlers: they wait for the grace period in progress and block signals meanwhile. Without them a
 * grace period in the child would wait for readers that do not exist there. */
void snapshot_rcu_before_fork(void)
{
	urcu_bp_before_fork();
}

void snapshot_rcu_after_fork_parent(void)
{
	urcu_bp_after_fork_parent();
}

void snapshot_rcu_after_fork_child(void)
{
	urcu_bp_after_fork_child();
	atomic_fetch_add_explicit(&fork_epoch, 1, memory_order_relaxed);
}
