/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* acts: what other threads do exactly at given instants (instants.h), counted from 1. */
#ifndef ACTS_H
#define ACTS_H

#include <stdbool.h>
#include <stddef.h>

#define ACTS_MAX 2 /* in one schedule */
#define PLACES_MAX 512

struct insertion {
	unsigned at;
	const char *where; /* instants of that place alone; NULL: of all */
	void (*act)(void *argument);
	void *argument;
};

/* From now on instants are counted. Each act has a thread of its own. Whoever reaches the instant
 * stays there until the act has ended, or until its thread sleeps, perhaps for a lock that is held
 * here: so it depends on no time which of both is first. */
void acts_begin(const struct insertion insertions[], size_t count);
/* From now on nothing more begins. Returns how many instants there were. */
unsigned acts_end(void);
/* The places in the library that were passed since acts_begin(). Returns how many. */
size_t acts_places(const char *into[PLACES_MAX]);
/* Has an act begun and not ended yet? */
bool acts_in_progress(void);
/* From now on a schedule that does not end within a minute is printed, and aborts. */
void acts_watch(const char *(*schedule)(void));
/* The threads of all this end; no act is in progress. */
void acts_stop(void);

#endif
