/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* later_schedule: what application lives, and what happens at which of its instants; as a number
 * and in words. */
#ifndef LATER_SCHEDULE_H
#define LATER_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>

#include "stress/later_world.h"
#include "support/acts.h"

/* Of kinds of applications: how the handle is driven comes first. */
enum {
	WITH_THREADS,
	BY_DISPATCH, /* thread=no */
	BY_WAIT,
	DRIVERS,
	KINDS = DRIVERS * PHASES * FINISHES * 2 * 2
};

extern struct schedule {
	unsigned kind; /* below KINDS */
	size_t count;
	struct {
		unsigned at, act; /* an index of later_acts */
	} insertions[ACTS_MAX];
} schedule;

extern unsigned long long schedule_seed; /* 0: not at random */

/* *hurries: it closes without waiting for an answer. */
struct kind schedule_kind(bool *hurries);

/* With the number that schedule_set() takes, for $SAFESTART_SCHEDULE. */
const char *schedule_in_words(void);
void schedule_set(unsigned long long number);

#endif
