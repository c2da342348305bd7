/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sets.h"

#include "fuzz/fuzz.h"

#define ADDRESSES 3
#define ZONES 3
#define INCARNATIONS 4

/* ---- Entries ---- */

static const char *const ids[IDS] = {"a", "b", "c", "d", "e"};
static const char *const zones[ZONES] = {NULL, "x", "y"};
static const char *const incarnations[INCARNATIONS] = {NULL, "boot-1", "boot-2", "boot-3"};

static unsigned address_of(uint8_t entry)
{
	return (entry - 1u) % ADDRESSES;
}

static unsigned zone_of(uint8_t entry)
{
	return (entry - 1u) / ADDRESSES % ZONES;
}

static unsigned incarnation_of(uint8_t entry)
{
	return (entry - 1u) / ADDRESSES / ZONES;
}

const char *set_id(int id)
{
	return ids[id];
}

uint8_t entry_make(unsigned address, unsigned zone, unsigned incarnation)
{
	return (uint8_t)(1 + address % ADDRESSES + ADDRESSES * (zone % ZONES) +
			 ADDRESSES * ZONES * (incarnation % INCARNATIONS));
}

uint8_t entry_announced(uint8_t before, unsigned address, unsigned incarnation)
{
	bool fresh = before == ABSENT || before == BROKEN;

	return entry_make(address, fresh ? 0 : zone_of(before),
			  incarnation != 0 ? incarnation
			  : fresh          ? 0
					   : incarnation_of(before));
}

uint8_t entry_random(void)
{
	return entry_make(below(ADDRESSES), one_in(3) ? below(ZONES) : 0,
			  one_in(2) ? below(INCARNATIONS) : 0);
}

void entry_address(int id, uint8_t entry, char *text, size_t size)
{
	snprintf(text, size, "10.0.%d.%u:8087", id, address_of(entry));
}

const char *entry_incarnation(uint8_t entry)
{
	return entry == ABSENT || entry == BROKEN ? NULL : incarnations[incarnation_of(entry)];
}

void entry_words(uint8_t entry, char *text, size_t size)
{
	if (entry == ABSENT || entry == BROKEN)
		snprintf(text, size, "%s", entry == ABSENT ? "nothing" : "an unusable entry");
	else
		snprintf(text, size, "address %u, zone %s, incarnation %s", address_of(entry),
			 zones[zone_of(entry)] != NULL ? zones[zone_of(entry)] : "none",
			 entry_incarnation(entry) != NULL ? entry_incarnation(entry) : "none");
}

/* ---- Sets ---- */

void set_text(const struct set *set, char text[SET_TEXT])
{
	size_t length = 0;
	char address[64];

	length += (size_t)snprintf(text, SET_TEXT, "[");
	for (int id = 0; id < IDS; id++) {
		uint8_t entry = set->entry[id];
		if (entry == ABSENT)
			continue;
		bool fine = entry != BROKEN;
		entry_address(id, fine ? entry : 1, address, sizeof(address));
		length +=
			(size_t)snprintf(text + length, SET_TEXT - length,
					 "%s{\"targets\":[\"%s%s\"],\"labels\":{\"id\":\"%s\"",
					 length > 1 ? "," : "", address, fine ? "" : "x", ids[id]);
		if (fine && zones[zone_of(entry)] != NULL)
			length += (size_t)snprintf(text + length, SET_TEXT - length,
						   ",\"zone\":\"%s\"", zones[zone_of(entry)]);
		if (entry_incarnation(entry) != NULL)
			length += (size_t)snprintf(text + length, SET_TEXT - length,
						   ",\"incarnation\":\"%s\"",
						   entry_incarnation(entry));
		length += (size_t)snprintf(text + length, SET_TEXT - length, "}}");
	}
	length += (size_t)snprintf(text + length, SET_TEXT - length, "]");
	HOLD(length < SET_TEXT);
}

size_t set_size(const struct set *set)
{
	size_t size = 0;

	for (int id = 0; id < IDS; id++)
		size += set->entry[id] != ABSENT && set->entry[id] != BROKEN;
	return size;
}

static unsigned index_of(const char *const *values, unsigned count, const char *value)
{
	for (unsigned i = 0; i < count; i++) {
		if (value == NULL ? values[i] == NULL
				  : values[i] != NULL && strcmp(values[i], value) == 0)
			return i;
	}
	HOLD(false && "a label that nobody has given");
	return 0;
}

static uint8_t entry_read(int id, const struct safestart_node *node)
{
	char address[64], host[64];
	unsigned zone = index_of(zones, ZONES, safestart_node_label(node, "zone")),
		 incarnation = index_of(incarnations, INCARNATIONS,
					safestart_node_label(node, "incarnation"));

	snprintf(host, sizeof(host), "%s:%u", safestart_node_host(node),
		 (unsigned)safestart_node_port(node));
	for (unsigned i = 0; i < ADDRESSES; i++) {
		uint8_t entry = entry_make(i, zone, incarnation);
		entry_address(id, entry, address, sizeof(address));
		if (strcmp(address, host) == 0)
			return entry;
	}
	HOLD(false && "an address that nobody has given");
	return ABSENT;
}

struct set set_read(const struct safestart_snapshot *snapshot)
{
	struct set set = {{ABSENT}};
	size_t found = 0;

	for (int id = 0; id < IDS; id++) {
		const struct safestart_node *node = safestart_snapshot_find(snapshot, ids[id]);
		if (node == NULL)
			continue;
		set.entry[id] = entry_read(id, node);
		found++;
	}
	HOLD(found == safestart_snapshot_size(snapshot));
	return set;
}
