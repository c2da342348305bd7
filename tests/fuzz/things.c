/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "things.h"

#include "fuzz.h"
#include "model.h"

#define THINGS 1024
#define FIRST_KEY UINT64_C(0xfedcba9800000000)

static struct thing {
	bool of_node, owned, retired, foreign;
} things[THINGS];
static size_t count;

static struct thing *thing_of(uint64_t value)
{
	uint64_t index =
		model.pull ? value - FIRST_KEY : (value - (uintptr_t)things) / sizeof(things[0]);

	HOLD(index < count);
	return &things[index];
}

void things_reset(void)
{
	count = 0;
}

uint64_t thing_new(bool of_node)
{
	if (count == THINGS)
		return 0;
	things[count] = (struct thing){.of_node = of_node};
	count++;
	return model.pull ? FIRST_KEY + count - 1 : (uintptr_t)&things[count - 1];
}

void thing_own(uint64_t value)
{
	thing_of(value)->owned = true;
}

void thing_hold(uint64_t value, bool of_node)
{
	if (value == 0)
		return;
	const struct thing *thing = thing_of(value);
	HOLD(thing->owned && !thing->retired && !thing->foreign && thing->of_node == of_node);
}

void thing_retire(uint64_t value, bool of_node)
{
	HOLD(value != 0);
	thing_hold(value, of_node);
	thing_of(value)->retired = true;
}

size_t things_alive(void)
{
	size_t alive = 0;

	for (size_t i = 0; i < count; i++)
		alive += things[i].owned && !things[i].retired && !things[i].foreign;
	return alive;
}

size_t things_of(const struct safestart_snapshot *snapshot)
{
	uint64_t seen[IDS + 1];
	size_t found = 0;

	if (safestart_snapshot_key(snapshot) != 0)
		seen[found++] = safestart_snapshot_key(snapshot);
	for (size_t i = 0; i < safestart_snapshot_size(snapshot); i++) {
		uint64_t key = safestart_node_key(safestart_snapshot_at(snapshot, i));
		size_t j = 0;
		while (j < found && seen[j] != key)
			j++;
		if (key != 0 && j == found)
			seen[found++] = key;
	}
	return found;
}

void things_forked(void)
{
	for (size_t i = 0; i < count; i++)
		things[i].foreign = true;
}

void things_end(void)
{
	for (size_t i = 0; i < count && !model.pull; i++)
		HOLD(things[i].foreign || things[i].owned == things[i].retired);
}
