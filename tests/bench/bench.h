/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench: measures, and prints ratios. Ways that are compared are measured in turn, round after
 * round, so that other load on the machine affects all of them. A figure is the median of its
 * rounds, a ratio the median of the ratios of each round. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS 15

/* One way of doing something. `measure` returns the cost of one round in the section's unit,
 * usually nanoseconds each. */
struct way {
	const char *name;
	double (*measure)(const void *argument);
	const void *argument;
	double rounds[BENCH_ROUNDS]; /* filled in; negative: could not be measured */
};

/* Measure all ways, in turn, BENCH_ROUNDS times. */
void bench_ways(struct way *ways, size_t count);

double bench_median(const struct way *way);
double bench_ratio(const struct way *way, const struct way *to);

/* ---- Printing ---- */

void bench_section(const char *title, const char *unit);

/* One row: a figure beside a limit or a peer. A target is the most (or, for peers, the least) that
 * the ratio may be; 0: none. */
void bench_at_most(const char *what, const struct way *way, const struct way *limit, double target);
/* The cost of the peer divided by ours. */
void bench_at_least(const char *what, const struct way *peer, const struct way *way, double target);
/* A figure without a ratio. */
void bench_figure(const char *what, double figure, const char *unit);
void bench_skipped(const char *what, const char *why);

/* One point of a plot, into DIRECTORY/NAME.tsv, if a directory for data was named. */
void bench_point(const char *plot, const char *series, double x, double y);

/* ---- Measuring ---- */

int64_t bench_now(void); /* CLOCK_MONOTONIC, ns */
int64_t bench_cpu(void); /* CPU time of this thread, ns */

/* Keeps this thread, and the threads that it starts from now on, on this one of the processors
 * that it may use. */
void bench_stay(unsigned index);

/* `work` does something `times` times, on so many threads at once, all started together. Returns
 * CPU ns for one, on average. */
double bench_threads(unsigned threads, void (*work)(void *argument, size_t times), void *argument,
		     size_t times);

/* Makes the compiler believe that the value is used. */
#define BENCH_USE(value) __asm__ volatile("" : : "r"(value) : "memory")

/* ---- Sections, in the order of printing ---- */

void bench_reading(void);
void bench_asking(void);
void bench_applying(void);
void bench_being(void);

void bench_growing(void); /* the second part of applying */

extern const char *bench_data; /* directory for the points, or NULL */

#endif
