/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench: applying, continued: memory of a set, the time to find a node, reloads per second, and
 * how the cost grows with readers and waiters. */
#include "bench.h"
#include "held.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODES 100000

static size_t line_of(const char *path, const char *key)
{
	char line[128];
	size_t value = 0;
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoul(line + strlen(key), NULL, 10) * 1024;
	}
	if (file != NULL)
		fclose(file);
	return value;
}

/* Resets VmHWM: from here on it is the peak from here on. */
static void forget_peak(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "we");

	if (file != NULL) {
		fputs("5", file);
		fclose(file);
	}
}

static size_t in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void reload(struct held_documents *documents, struct safestart *ss, int times)
{
	for (int i = 0; i < times; i++) {
		held_flip(documents);
		safestart_wait(ss, safestart_request_restart(ss), -1, NULL);
	}
}

static void bench_memory(struct held_documents *documents)
{
	size_t before = in_use(), strings = documents->strings;
	/* thread=no: mallinfo2() counts one arena, this thread's. */
	struct safestart *ss = held_open(documents, NULL, NULL, "thread=no", NULL);
	size_t after = in_use();

	bench_figure("100,000 nodes, one handle, per node: strings", (double)strings / NODES, "B");
	bench_figure("100,000 nodes, one handle, per node: all allocations",
		     (double)(after - before) / NODES, "B");
	/* The set the source handed over last is kept beside the live one, to know what is
	 * unchanged. */
	bench_figure("100,000 nodes, per node and set, without its strings",
		     ((double)(after - before) / 2 - (double)strings) / NODES, "B");
	size_t resident = line_of("/proc/self/status", "VmRSS:");
	forget_peak();
	reload(documents, ss, 1);
	bench_figure("one apply of 100,000 nodes: peak above the resident memory before",
		     (double)(line_of("/proc/self/status", "VmHWM:") - resident) / 1048576, "MiB");
	reload(documents, ss, 5);
	size_t early = in_use();
	reload(documents, ss, 20);
	bench_figure("20 reloads of 100,000 nodes: growth of the memory in use",
		     (double)in_use() - (double)early, "B");
	held_close(ss);
	malloc_trim(0);
}

/* ---- Finding ---- */

struct found {
	const struct safestart_snapshot *snapshot;
	const char **ids;
};

static uint32_t scatter(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % NODES;
}

static int by_text(const void *key, const void *element)
{
	return strcmp(key, *(const char *const *)element);
}

static double measure_bsearch(const void *argument)
{
	const struct found *found = argument;
	uint32_t state = 1;
	int64_t from = bench_cpu();

	for (int i = 0; i < 20000; i++)
		BENCH_USE(bsearch(found->ids[scatter(&state)], found->ids, NODES, sizeof(char *),
				  by_text));
	return (double)(bench_cpu() - from) / 20000;
}

static double measure_find(const void *argument)
{
	const struct found *found = argument;
	uint32_t state = 1;
	int64_t from = bench_cpu();

	for (int i = 0; i < 20000; i++)
		BENCH_USE(safestart_snapshot_find(found->snapshot, found->ids[scatter(&state)]));
	return (double)(bench_cpu() - from) / 20000;
}

static void bench_finding(struct held_documents *documents)
{
	struct safestart *ss = held_open(documents, NULL, NULL, NULL);
	struct safestart_snapshot *snapshot = safestart_snapshot_acquire(ss);
	struct found found = {.snapshot = snapshot, .ids = calloc(NODES, sizeof(char *))};

	for (size_t i = 0; i < NODES; i++)
		found.ids[i] = safestart_node_id(safestart_snapshot_at(snapshot, i));
	struct way ways[] = {{.name = "bsearch() with strcmp() in an array of the ids",
			      .measure = measure_bsearch,
			      .argument = &found},
			     {.name = "find", .measure = measure_find, .argument = &found}};
	bench_ways(ways, 2);
	bench_at_most("safestart_snapshot_find() among 100,000", &ways[1], &ways[0], 1.3);
	free(found.ids);
	safestart_snapshot_release(snapshot);
	held_close(ss);
}

/* ---- Growing ---- */

static double measure_reload(const void *argument)
{
	struct held_documents documents;
	int times = 200;

	held_make(&documents, *(const size_t *)argument);
	struct safestart *ss = held_open(&documents, NULL, NULL, NULL);
	int64_t from = bench_now();
	reload(&documents, ss, times);
	int64_t taken = bench_now() - from;
	held_close(ss);
	held_free(&documents);
	return (double)taken / times;
}

struct readers {
	struct safestart *ss;
	_Atomic bool stop;
};

/* A thread of a server: it reads every 100 us. */
static void *read_on(void *argument)
{
	struct readers *readers = argument;

	while (!readers->stop) {
		safestart_read_lock(readers->ss);
		safestart_read_unlock(readers->ss);
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	}
	return NULL;
}

static double measure_readers(const void *argument)
{
	struct held_documents documents;
	pthread_t threads[64];
	unsigned count = *(const unsigned *)argument;

	held_make(&documents, 10);
	struct readers readers = {.ss = held_open(&documents, NULL, NULL, NULL)};
	for (unsigned i = 0; i < count; i++) {
		if (pthread_create(&threads[i], NULL, read_on, &readers) != 0)
			abort();
	}
	int64_t from = bench_now();
	reload(&documents, readers.ss, 50);
	int64_t taken = bench_now() - from;
	readers.stop = true;
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	held_close(readers.ss);
	held_free(&documents);
	return (double)taken / 50;
}

struct waiting {
	struct safestart *ss;
	uint64_t ticket;
	_Atomic unsigned there, back;
	_Atomic bool open;
	_Atomic int64_t last;
};

static void *await_answer(void *argument)
{
	struct waiting *waiting = argument;

	waiting->there++;
	safestart_wait(waiting->ss, waiting->ticket, -1, NULL);
	waiting->last = bench_now();
	waiting->back++;
	return NULL;
}

static int hold_on(struct safestart_run *run, void *user_data)
{
	struct waiting *waiting = user_data;

	(void)run;
	while (!waiting->open)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	waiting->last = bench_now();
	return 0;
}

/* From the end of the callback until the last waiter has its outcome. */
static double measure_waiters(const void *argument)
{
	static const struct safestart_callbacks holding = {.size = sizeof(holding),
							   .restart = hold_on};
	unsigned count = *(const unsigned *)argument;
	struct waiting waiting = {.ss = NULL};
	pthread_t *threads = calloc(count, sizeof(*threads));
	pthread_attr_t small;

	waiting.ss = held_open(NULL, &holding, &waiting, NULL);
	waiting.ticket = safestart_request_restart(waiting.ss);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (unsigned i = 0; i < count; i++) {
		if (pthread_create(&threads[i], &small, await_answer, &waiting) != 0)
			abort();
	}
	while (waiting.there < count)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	int64_t from = bench_now();
	waiting.open = true;
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	int64_t taken = waiting.last - from;
	pthread_attr_destroy(&small);
	free(threads);
	held_close(waiting.ss);
	return (double)taken;
}

static void bench_series(const char *series, double (*measure)(const void *),
			 const unsigned *counts, size_t count, const char *what)
{
	struct way ways[4];
	char words[80];

	for (size_t i = 0; i < count; i++)
		ways[i] = (struct way){.name = "the first row of these",
				       .measure = measure,
				       .argument = &counts[i]};
	bench_ways(ways, count);
	for (size_t i = 0; i < count; i++) {
		snprintf(words, sizeof(words), what, counts[i]);
		bench_at_most(words, &ways[i], &ways[0], 0);
		bench_point("growing", series, counts[i], bench_median(&ways[i]));
	}
}

void bench_growing(void)
{
	static const unsigned readers[] = {1, 8, 64}, waiters[] = {1, 10, 100, 1000};
	static const size_t ten = 10;
	struct held_documents documents;
	struct way often = {.name = "reload", .measure = measure_reload, .argument = &ten};

	held_make(&documents, NODES);
	bench_memory(&documents);
	bench_finding(&documents);
	held_free(&documents);
	bench_ways(&often, 1);
	bench_figure("reloads a second, 10 nodes, each requested after the one before",
		     1e9 / bench_median(&often), "");
	bench_series("reload with readers", measure_readers, readers, 3,
		     "reload of 10 nodes, %u readers");
	bench_series("answer to waiters", measure_waiters, waiters, 4,
		     "callback returns → the last of %u waiters has its outcome");
}
