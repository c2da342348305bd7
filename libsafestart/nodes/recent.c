/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* recent: the sets behind recent.h. Only those are kept that a question can still be about: a set
 * that was live earlier than a larger one never decides. Any thread; no I/O, no clock, no lock. */
#include "nodes/recent.h"

#include <stdbool.h>

#include "base/invariant.h"

static inline __attribute__((unused)) bool holds(const struct recent *recent)
{
	for (size_t i = 0; i < recent->count; i++) {
		if (recent->sets[i].nodes == 0 ||
		    (i > 0 && (recent->sets[i - 1].nodes <= recent->sets[i].nodes ||
			       recent->sets[i - 1].until > recent->sets[i].until)))
			return false;
	}
	return recent->count <= RECENT_SETS;
}

static bool is_remembered(const struct recent_set *set, int64_t now, int64_t window)
{
	return now - set->until < window;
}

static void remove_at(struct recent *recent, size_t index)
{
	recent->count--;
	for (size_t i = index; i < recent->count; i++)
		recent->sets[i] = recent->sets[i + 1];
}

/* Makes room. Of the two that differ least in size, the larger one now counts for as long as the
 * smaller one: what is judged by it is judged a little too strictly, never too mildly. [P12] */
static void merge_closest(struct recent *recent)
{
	size_t closest = 1;

	for (size_t i = 2; i < recent->count; i++) {
		if (recent->sets[i - 1].nodes - recent->sets[i].nodes <
		    recent->sets[closest - 1].nodes - recent->sets[closest].nodes)
			closest = i;
	}
	recent->sets[closest - 1].until = recent->sets[closest].until;
	remove_at(recent, closest);
}

void recent_add(struct recent *recent, size_t nodes, int64_t now, int64_t window)
{
	invariant(holds(recent));
	while (recent->count > 0 && !is_remembered(&recent->sets[0], now, window))
		remove_at(recent, 0);
	while (recent->count > 0 && recent->sets[recent->count - 1].nodes <= nodes)
		recent->count--;
	if (nodes == 0)
		return;
	if (recent->count == RECENT_SETS)
		merge_closest(recent);
	recent->sets[recent->count++] = (struct recent_set){.nodes = nodes, .until = now};
	invariant(holds(recent));
}

size_t recent_largest(const struct recent *recent, int64_t now, int64_t window)
{
	invariant(holds(recent));
	for (size_t i = 0; i < recent->count; i++) {
		if (is_remembered(&recent->sets[i], now, window))
			return recent->sets[i].nodes;
	}
	return 0;
}
