/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* failing: a library whose system calls fail on command. tests/meson.build links libsafestart's
 * own objects with every call below wrapped; the calls of the test itself are not. Lock-free, so
 * that a forked child may use it. */
#ifndef FAILING_H
#define FAILING_H

#include <stdbool.h>
#include <stddef.h>

#define FAILING_SHORT (-1) /* not an error: half of what was asked for is read or written */

/* One place in the library that calls the system. */
struct failing_site {
	const char *call;
	const void *where; /* return address; when armed, NULL means any place */
	unsigned hits;     /* since failing_forget() */
};

/* Nothing fails any more, nothing was hit and nothing injected yet. */
void failing_forget(void);

/* The places that were hit. Returns how many. */
size_t failing_sites(struct failing_site *sites, size_t room);

/* What can go wrong there, ended by 0. */
const int *failing_errors(const char *call);

/* The nth call from there fails; `lasting`: and every one from any place that uses up the same
 * thing (memory, descriptors, threads), until failing_stop(). */
void failing_arm(const struct failing_site *site, unsigned nth, int error, bool lasting);
void failing_stop(void);

/* How many calls have failed so far. */
unsigned failing_injected(void);

/* jansson's allocations belong to the library: in a test only the library uses jansson. */
void failing_take_jansson(void);

#endif
