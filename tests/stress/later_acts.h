/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* later_acts: everything that another thread may do with a handle while its callbacks, its locks
 * and its wakes go on. Each obeys the header's table of what may run at the same time. */
#ifndef LATER_ACTS_H
#define LATER_ACTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct later_act {
	const char *name;
	void (*act)(void *unused);
};

extern const struct later_act later_acts[];
extern const size_t later_act_count;

/* The thread that waits, for `cancel`, guarded by world.lock; and what the forked child does. */
extern struct acts_world {
	pthread_t waiter;
	bool waiter_lives;
	unsigned child;
} acts_world;

/* Close, after close_begin(): the result is one that may be. Returns whether it is closed. */
bool close_and_check(void);

#endif
