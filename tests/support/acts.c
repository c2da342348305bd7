/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/acts.h"

#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "support/instants.h"
#include "support/support.h"

enum state {
	UNUSED,
	AWAITED, /* its instant has not come yet */
	REACHED,
	ACTING,
	ENDED
};

/* A thread that waits for its instant. */
struct actor {
	pthread_t thread;
	bool started;
	_Atomic pid_t task;
	_Atomic int state;
	_Atomic unsigned times;     /* that its place was passed */
	struct insertion insertion; /* changed by the test while the state is UNUSED */
};

static struct actor actors[ACTS_MAX];
static bool stopping; /* guarded by lock */
static _Atomic unsigned passed;
/* Wakes the actors. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t reached = PTHREAD_COND_INITIALIZER;

static void *act(void *argument)
{
	struct actor *actor = argument;

	atomic_store(&actor->task, gettid());
	pthread_mutex_lock(&lock);
	while (!stopping) {
		if (atomic_load(&actor->state) != REACHED) {
			pthread_cond_wait(&reached, &lock);
			continue;
		}
		pthread_mutex_unlock(&lock);
		atomic_store(&actor->state, ACTING);
		actor->insertion.act(actor->insertion.argument);
		atomic_store(&actor->state, ENDED);
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void let_act(struct actor *actor)
{
	pthread_mutex_lock(&lock);
	atomic_store(&actor->state, REACHED);
	pthread_cond_broadcast(&reached);
	pthread_mutex_unlock(&lock);
	while (atomic_load(&actor->state) != ENDED &&
	       !(atomic_load(&actor->state) == ACTING && is_asleep(atomic_load(&actor->task))))
		sched_yield();
}

/* ---- Hangs ---- */

#define HANGS_AFTER_MS 60000

static struct {
	pthread_t thread;
	const char *(*schedule)(void);
	bool watches, stop; /* stop: guarded by lock */
	pthread_cond_t stopped;
	_Atomic unsigned begun;
} watchdog = {.stopped = PTHREAD_COND_INITIALIZER};

static void *watch(void *unused)
{
	int64_t since = now_ms();
	unsigned seen = 0;

	(void)unused;
	pthread_mutex_lock(&lock);
	while (!watchdog.stop) {
		struct timespec next;
		clock_gettime(CLOCK_REALTIME, &next);
		next.tv_sec++;
		pthread_cond_timedwait(&watchdog.stopped, &lock, &next);
		if (watchdog.begun != seen)
			since = now_ms();
		seen = watchdog.begun;
		if (now_ms() - since < HANGS_AFTER_MS)
			continue;
		fprintf(stderr, "this hangs: %s\n", watchdog.schedule());
		abort();
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

void acts_watch(const char *(*schedule)(void))
{
	watchdog.schedule = schedule;
	watchdog.stop = false;
	ck_assert_int_eq(pthread_create(&watchdog.thread, NULL, watch, NULL), 0);
	watchdog.watches = true;
}

/* ---- A schedule ---- */

/* The places that were passed, each once, in the order of their first time. */
static _Atomic(const char *) places[PLACES_MAX];

static void note_place(const char *where)
{
	for (size_t i = 0; i < PLACES_MAX; i++) {
		const char *place = atomic_load(&places[i]);
		if (place == NULL && atomic_compare_exchange_strong(&places[i], &place, where))
			return;
		if (place == where)
			return;
	}
}

size_t acts_places(const char *into[PLACES_MAX])
{
	size_t count = 0;

	while (count < PLACES_MAX && (into[count] = atomic_load(&places[count])) != NULL)
		count++;
	return count;
}

/* Is this the one? */
static bool is_reached(struct actor *actor, unsigned instant, const char *where)
{
	const struct insertion *insertion = &actor->insertion;

	if (atomic_load(&actor->state) != AWAITED)
		return false;
	if (insertion->where == NULL)
		return insertion->at == instant;
	return insertion->where == where && atomic_fetch_add(&actor->times, 1) + 1 == insertion->at;
}

static void pass_instant(const char *where)
{
	unsigned instant = atomic_fetch_add(&passed, 1) + 1;
	note_place(where);
	for (struct actor *actor = actors; actor < actors + ACTS_MAX; actor++) {
		if (is_reached(actor, instant, where))
			let_act(actor);
	}
}

void acts_begin(const struct insertion insertions[], size_t count)
{
	ck_assert_uint_le(count, ACTS_MAX);
	watchdog.begun++;
	atomic_store(&passed, 0);
	for (size_t i = 0; i < PLACES_MAX; i++)
		atomic_store(&places[i], NULL);
	for (size_t i = 0; i < ACTS_MAX; i++) {
		atomic_store(&actors[i].state, UNUSED);
		if (i >= count)
			continue;
		if (!actors[i].started)
			ck_assert_int_eq(pthread_create(&actors[i].thread, NULL, act, &actors[i]),
					 0);
		actors[i].started = true;
		actors[i].insertion = insertions[i];
		atomic_store(&actors[i].times, 0);
		atomic_store(&actors[i].state, AWAITED);
	}
	instants_each(pass_instant);
}

unsigned acts_end(void)
{
	instants_each(NULL);
	return atomic_load(&passed);
}

bool acts_in_progress(void)
{
	for (size_t i = 0; i < ACTS_MAX; i++) {
		int state = atomic_load(&actors[i].state);
		if (state == REACHED || state == ACTING)
			return true;
	}
	return false;
}

void acts_stop(void)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	pthread_cond_broadcast(&reached);
	watchdog.stop = true;
	pthread_cond_signal(&watchdog.stopped);
	pthread_mutex_unlock(&lock);
	if (watchdog.watches)
		pthread_join(watchdog.thread, NULL);
	watchdog.watches = false;
	for (size_t i = 0; i < ACTS_MAX; i++) {
		if (actors[i].started)
			pthread_join(actors[i].thread, NULL);
		actors[i].started = false;
	}
	stopping = false;
}
