/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bench: `bench [--data DIRECTORY] [SECTION…]`. It only reports: its exit code is 0 whatever
 * it measures. */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *bench_data;

static const struct {
	const char *name;
	void (*run)(void);
} sections[] = {{"reading", bench_reading},
		{"asking", bench_asking},
		{"applying", bench_applying},
		{"being", bench_being}};

#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

/* ---- Measuring ---- */

static int64_t read_clock(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int64_t bench_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t bench_cpu(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void bench_ways(struct way *ways, size_t count)
{
	for (size_t round = 0; round < BENCH_ROUNDS; round++) {
		for (size_t i = 0; i < count; i++)
			ways[i].rounds[round] = ways[i].measure(ways[i].argument);
	}
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static double median(const double *values)
{
	double sorted[BENCH_ROUNDS];

	memcpy(sorted, values, sizeof(sorted));
	qsort(sorted, BENCH_ROUNDS, sizeof(sorted[0]), compare);
	return sorted[BENCH_ROUNDS / 2];
}

double bench_median(const struct way *way)
{
	return median(way->rounds);
}

double bench_ratio(const struct way *way, const struct way *to)
{
	double ratios[BENCH_ROUNDS];

	for (size_t i = 0; i < BENCH_ROUNDS; i++)
		ratios[i] = way->rounds[i] / to->rounds[i];
	return median(ratios);
}

struct crew {
	pthread_barrier_t start;
	unsigned threads;
	void (*work)(void *argument, size_t times);
	void *argument;
	size_t times;
};

struct hand {
	struct crew *crew;
	unsigned index;
	pthread_t thread;
	int64_t cpu;
};

void bench_stay(unsigned index)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	index %= (unsigned)CPU_COUNT(&allowed);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed) && index-- == 0) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof(one), &one);
			return;
		}
	}
}

static void *hand_works(void *argument)
{
	struct hand *hand = argument;
	struct crew *crew = hand->crew;

	/* Threads that are woken together may otherwise run one after another on the processor
	 * of the thread that woke them. */
	if (crew->threads > 1)
		bench_stay(hand->index);
	pthread_barrier_wait(&crew->start);
	int64_t begun = bench_cpu();
	crew->work(crew->argument, crew->times);
	hand->cpu = bench_cpu() - begun;
	return NULL;
}

double bench_threads(unsigned threads, void (*work)(void *argument, size_t times), void *argument,
		     size_t times)
{
	struct crew crew = {.threads = threads, .work = work, .argument = argument, .times = times};
	struct hand *hands = calloc(threads, sizeof(*hands));
	int64_t cpu = 0;

	pthread_barrier_init(&crew.start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		hands[i].crew = &crew;
		hands[i].index = i;
		if (pthread_create(&hands[i].thread, NULL, hand_works, &hands[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(hands[i].thread, NULL);
		cpu += hands[i].cpu;
	}
	pthread_barrier_destroy(&crew.start);
	free(hands);
	return (double)cpu / (double)threads / (double)times;
}

/* ---- Printing ---- */

static const char *unit_now;

void bench_section(const char *title, const char *unit)
{
	unit_now = unit;
	printf("\n### %s\n\n| what | %s | beside | %s | ratio | target | |\n| --- | ---: | --- | "
	       "---: | ---: | ---: | --- |\n",
	       title, unit, unit);
	fflush(stdout);
}

/* Three significant digits. */
static const char *number(double value)
{
	static char texts[4][32];
	static unsigned next;
	char *text = texts[next++ % 4];

	snprintf(text, sizeof(texts[0]),
		 value >= 100  ? "%.0f"
		 : value >= 10 ? "%.1f"
			       : "%.2f",
		 value);
	return text;
}

static void row(const char *what, const struct way *way, const struct way *other, double ratio,
		const char *sign, double target, bool met)
{
	printf("| %s | %s | %s | %s | %s | ", what, number(bench_median(way)), other->name,
	       number(bench_median(other)), number(ratio));
	if (target > 0)
		printf("%s %s | %s |\n", sign, number(target), met ? "met" : "**missed**");
	else
		printf("| |\n");
	fflush(stdout);
}

void bench_at_most(const char *what, const struct way *way, const struct way *limit, double target)
{
	double ratio = bench_ratio(way, limit);

	row(what, way, limit, ratio, "≤", target, ratio <= target);
}

void bench_at_least(const char *what, const struct way *peer, const struct way *way, double target)
{
	double ratio = bench_ratio(peer, way);

	row(what, way, peer, ratio, "≥", target, ratio >= target);
}

void bench_figure(const char *what, double figure, const char *unit)
{
	printf("| %s | %s%s%s | | | | | |\n", what, number(figure), unit[0] != '\0' ? " " : "",
	       unit);
	fflush(stdout);
}

void bench_skipped(const char *what, const char *why)
{
	printf("| %s | skipped: %s | | | | | |\n", what, why);
}

void bench_point(const char *plot, const char *series, double x, double y)
{
	char path[512];

	if (bench_data == NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s.tsv", bench_data, plot);
	FILE *file = fopen(path, "ae");
	if (file == NULL)
		return;
	fprintf(file, "%s\t%g\t%g\n", series, x, y);
	fclose(file);
}

int main(int argc, char **argv)
{
	int first = 1;

	if (argc > 2 && strcmp(argv[1], "--data") == 0) {
		bench_data = argv[2];
		first = 3;
	}
	for (size_t i = 0; i < SECTIONS; i++) {
		bool wanted = first == argc;
		for (int j = first; j < argc; j++)
			wanted = wanted || strcmp(argv[j], sections[i].name) == 0;
		if (wanted)
			sections[i].run();
	}
	return 0;
}
