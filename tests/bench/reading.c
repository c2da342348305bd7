/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a read costs: alone, beside other readers, beside publications, the first time; and in
 * other implementations. */
#include "reading.h"
#include "bench.h"
#include "peers.h"

#include <pthread.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- Ways to read ---- */

/* So few instructions that it matters where a loop lies in memory and what else is in it: so the
 * loops are aligned alike and have little else in them. */
#define ALIKE __attribute__((aligned(64), noinline))

static ALIKE void lock(void *argument, size_t times)
{
	for (; times > 0; times--) {
		BENCH_USE(safestart_read_lock(argument));
		safestart_read_unlock(argument);
	}
}

static ALIKE void lock_and_use(void *argument, size_t times)
{
	for (; times > 0; times--) {
		BENCH_USE(safestart_node_port(
			safestart_snapshot_at(safestart_read_lock(argument), times & 1)));
		safestart_read_unlock(argument);
	}
}

static ALIKE void empty(void *argument, size_t times)
{
	for (; times > 0; times--) {
		BENCH_USE(bench_empty_enter(argument));
		bench_empty_leave(argument);
	}
}

static ALIKE void acquire(void *argument, size_t times)
{
	for (; times > 0; times--) {
		struct safestart_snapshot *snapshot = safestart_snapshot_acquire(argument);
		BENCH_USE(snapshot);
		safestart_snapshot_release(snapshot);
	}
}

static ALIKE void generation(void *argument, size_t times)
{
	for (; times > 0; times--)
		BENCH_USE(safestart_generation(argument));
}

/* What people write instead, in one process: the set's pointer, and something that keeps the set
 * alive. */
static struct {
	_Alignas(64) pthread_rwlock_t rwlock;
	_Alignas(64) pthread_mutex_t mutex;
	_Alignas(64) _Atomic size_t refs;
	_Alignas(64) void *live;
} shared = {.rwlock = PTHREAD_RWLOCK_INITIALIZER,
	    .mutex = PTHREAD_MUTEX_INITIALIZER,
	    .live = &shared};

static ALIKE void rwlock(void *argument, size_t times)
{
	(void)argument;
	for (; times > 0; times--) {
		pthread_rwlock_rdlock(&shared.rwlock);
		BENCH_USE(shared.live);
		pthread_rwlock_unlock(&shared.rwlock);
	}
}

static ALIKE void mutex(void *argument, size_t times)
{
	(void)argument;
	for (; times > 0; times--) {
		pthread_mutex_lock(&shared.mutex);
		BENCH_USE(shared.live);
		pthread_mutex_unlock(&shared.mutex);
	}
}

static ALIKE void refcount(void *argument, size_t times)
{
	(void)argument;
	for (; times > 0; times--) {
		atomic_fetch_add(&shared.refs, 1);
		BENCH_USE(shared.live);
		atomic_fetch_sub(&shared.refs, 1);
	}
}

/* ---- By so many threads ---- */

struct task {
	unsigned threads;
	void (*work)(void *argument, size_t times);
	void *argument;
	size_t times;
};

static double by_threads(const void *argument)
{
	const struct task *task = argument;

	return bench_threads(task->threads, task->work, task->argument, task->times);
}

static const struct subject {
	const char *name, *plot;
	void (*work)(void *argument, size_t times);
	size_t alone, contended; /* how often: some 20 ms */
} subjects[] = {
	{"two empty calls", "two empty calls", empty, 20000000, 20000000},
	{"read_lock, read_unlock", "libsafestart", lock, 20000000, 20000000},
	{"lock, a node's port, unlock", NULL, lock_and_use, 5000000, 5000000},
	{"safestart_generation()", NULL, generation, 20000000, 20000000},
	{"acquire, release", "libsafestart, owned", acquire, 1000000, 500000},
	{"pthread_rwlock", "pthread_rwlock", rwlock, 1000000, 500000},
	{"pthread_mutex", "pthread_mutex", mutex, 1000000, 500000},
	{"shared reference count", "shared reference count", refcount, 2000000, 1000000},
	{"C++ atomic<shared_ptr>", "std::atomic<std::shared_ptr>", bench_atomic_shared_ptr, 500000,
	 200000},
	{"C++ atomic_load(shared_ptr)", NULL, bench_load_shared_ptr, 500000, 200000},
};

enum {
	EMPTY,
	LOCK,
	USE,
	GENERATION,
	ACQUIRE,
	RWLOCK,
	MUTEX,
	REFCOUNT,
	ATOMIC_PTR,
	LOAD_PTR,
	SUBJECTS
};
enum {
	MOST_THREADS = 4
}; /* of 1, 2, 4, 8: those from the third are for the plot */

static void say_threads(struct way (*ways)[SUBJECTS])
{
	static const struct {
		int peer;
		double targets[2]; /* by threads; 0: none */
	} peers[] = {{RWLOCK, {3, 15}},
		     {MUTEX, {3, 15}},
		     {REFCOUNT, {0, 0}},
		     {ATOMIC_PTR, {0, 50}},
		     {LOAD_PTR, {0, 50}}};
	static const char *const by[] = {"1 thread", "2 threads"};
	char text[128];

	for (int t = 0; t < 2; t++) {
		struct way *way = ways[t];
		snprintf(text, sizeof(text), "read_lock, read_unlock; %s", by[t]);
		bench_at_most(text, &way[LOCK], &way[EMPTY], 1.15);
		for (size_t p = 0; p < sizeof(peers) / sizeof(peers[0]); p++)
			bench_at_least(text, &way[peers[p].peer], &way[LOCK], peers[p].targets[t]);
		snprintf(text, sizeof(text), "read_lock, a node's port, read_unlock; %s", by[t]);
		bench_at_most(text, &way[USE], &way[EMPTY], 0);
		snprintf(text, sizeof(text), "safestart_generation(); %s", by[t]);
		bench_at_most(text, &way[GENERATION], &way[EMPTY], 0);
		snprintf(text, sizeof(text), "acquire, release; %s", by[t]);
		bench_at_most(text, &way[ACQUIRE], &way[REFCOUNT], 1.5);
	}
	bench_at_most("acquire, release; 2 threads, against 1", &ways[1][ACQUIRE],
		      &ways[0][ACQUIRE], 1.2);
}

static void threads(struct safestart *ss)
{
	static struct task tasks[MOST_THREADS][SUBJECTS];
	static struct way ways[MOST_THREADS][SUBJECTS];
	size_t counts = bench_data != NULL ? MOST_THREADS : 2;

	for (size_t t = 0; t < counts; t++) {
		for (size_t s = 0; s < SUBJECTS; s++) {
			tasks[t][s] = (struct task){1u << t, subjects[s].work, ss,
						    t == 0 ? subjects[s].alone
							   : subjects[s].contended >> (t - 1)};
			ways[t][s] = (struct way){subjects[s].name, by_threads, &tasks[t][s], {0}};
		}
	}
	bench_ways(&ways[0][0], counts * SUBJECTS);
	say_threads(ways);
	for (size_t t = 0; t < counts; t++) {
		for (size_t s = 0; s < SUBJECTS; s++) {
			if (subjects[s].plot != NULL)
				bench_point("reading", subjects[s].plot, 1u << t,
					    bench_median(&ways[t][s]));
		}
	}
}

/* ---- Beside publications ---- */

struct publisher {
	struct safestart *ss;
	int64_t every; /* ns */
	double *rate;  /* how many there were, per second */
	_Atomic bool stop;
};

/* Two sets in turn; each is live before the next is pushed. */
static void *publish(void *argument)
{
	static const char *const sets[] =
		{"[{\"targets\":[\"10.0.0.1:8087\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10."
		 "0.0.2:8087\"],\"labels\":{\"id\":\"b\"}}]",
		 "[{\"targets\":[\"10.0.0.1:8088\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10."
		 "0.0.2:8087\"],\"labels\":{\"id\":\"b\"}}]"};
	struct publisher *publisher = argument;
	int64_t due = bench_now();
	uint64_t ticket;

	for (size_t i = 0; !atomic_load(&publisher->stop); i++) {
		if (safestart_nodes_replace(publisher->ss, sets[i % 2], &ticket, NULL, 0) != 0 ||
		    safestart_wait(publisher->ss, ticket, -1, NULL) != 0)
			abort();
		due += publisher->every;
		if (due > bench_now()) {
			struct timespec until = {due / 1000000000, due % 1000000000};
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		}
	}
	return NULL;
}

struct beside {
	struct task task;
	int64_t every;
	double *rate;
};

static double beside_publications(const void *argument)
{
	const struct beside *beside = argument;
	struct publisher publisher = {.ss = beside->task.argument,
				      .every = beside->every,
				      .rate = beside->rate};
	pthread_t thread;

	if (pthread_create(&thread, NULL, publish, &publisher) != 0)
		abort();
	int64_t begun = bench_now();
	uint64_t first = safestart_generation(publisher.ss);
	double cost = by_threads(&beside->task);
	*publisher.rate = (double)(safestart_generation(publisher.ss) - first) * 1e9 /
			  (double)(bench_now() - begun);
	atomic_store(&publisher.stop, true);
	pthread_join(thread, NULL);
	return cost;
}

static void publications(struct safestart *ss)
{
	static double rates[2];
	static const size_t times = 200000000;
	struct task quiet = {1, lock, ss, times};
	struct beside few = {quiet, 100000000, &rates[0]}, many = {quiet, 100000, &rates[1]};
	struct way ways[] = {{"nothing published", by_threads, &quiet, {0}},
			     {"10 publications a second", beside_publications, &few, {0}},
			     {"10,000 publications a second", beside_publications, &many, {0}}};

	bench_ways(ways, 3);
	bench_at_most("read_lock, read_unlock; 10 publications a second", &ways[1], &ways[0], 1.3);
	bench_at_most("the same; 10,000 publications a second, or as many as possible", &ways[2],
		      &ways[0], 1.3);
	bench_figure("publications that were possible, of 10,000", rates[1], "a second");
}

/* ---- The first time ---- */

enum {
	STARTS = 100
};

static void *starts(void *argument)
{
	double *cost = argument;
	int64_t begun = bench_now();

	*cost = (double)(bench_now() - begun);
	return NULL;
}

static struct safestart *first_of;

static void *reads_first(void *argument)
{
	double *cost = argument;
	int64_t begun = bench_now();

	BENCH_USE(safestart_read_lock(first_of));
	safestart_read_unlock(first_of);
	*cost = (double)(bench_now() - begun);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

/* The median of a round's threads. */
static double by_new_threads(const void *argument)
{
	void *(*const *work)(void *) = argument;
	double costs[STARTS];
	pthread_t thread;

	for (size_t i = 0; i < STARTS; i++) {
		if (pthread_create(&thread, NULL, *work, &costs[i]) != 0)
			abort();
		pthread_join(thread, NULL);
	}
	qsort(costs, STARTS, sizeof(costs[0]), compare);
	return costs[STARTS / 2];
}

static double whole_thread(const void *argument)
{
	int64_t begun = bench_now();

	by_new_threads(argument);
	return (double)(bench_now() - begun) / STARTS;
}

static void first_time(struct safestart *ss)
{
	static void *(*const first)(void *) = reads_first;
	static void *(*const nothing)(void *) = starts;
	struct way ways[] = {{"a thread's first read", by_new_threads, &first, {0}},
			     {"starting and joining a thread", whole_thread, &nothing, {0}}};

	first_of = ss;
	bench_ways(ways, 2);
	bench_at_most("a thread's first read", &ways[0], &ways[1], 0);
}

void bench_reading(void)
{
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss;

	if (conf == NULL || safestart_conf_set(conf, "debounce", "0", NULL, 0) != 0 ||
	    safestart_open(&ss, conf, NULL, 0) != 0)
		abort();
	safestart_conf_free(conf);
	if (safestart_nodes_replace(ss, "[{\"targets\":[\"10.0.0.1:8087\",\"10.0.0.2:8087\"]}]",
				    NULL, NULL, 0) != 0 ||
	    safestart_wait_ready(ss, 10000) != 0)
		abort();
	bench_section("Reading", "ns");
	threads(ss);
	publications(ss);
	first_time(ss);
	bench_reading_elsewhere();
	safestart_close(ss);
}
