/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* recent: how large the sets were that were live a short while ago, so that many small losses in a
 * row are judged as one. Pure: times are passed in. Any thread; it must not touch I/O, a clock or a
 * lock. */
#ifndef SAFESTART_RECENT_H
#define SAFESTART_RECENT_H

#include <stddef.h>
#include <stdint.h>

#define RECENT_SETS 32

/* Zeroed: nothing was live. */
struct recent {
	size_t count;
	struct recent_set {
		size_t nodes;
		int64_t until; /* it was live until then */
	} sets[RECENT_SETS];   /* from the oldest on; each is smaller than the one before */
};

/* A set of that many nodes was live until `now`. `window`: for how long that is remembered. */
void recent_add(struct recent *recent, size_t nodes, int64_t now, int64_t window);

/* Returns: the size of the largest set that was live less than `window` before `now`; 0: none. */
size_t recent_largest(const struct recent *recent, int64_t now, int64_t window);

#endif
