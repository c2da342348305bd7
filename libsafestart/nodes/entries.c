/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entries: collects the entries of a document, and makes a set of them: sorts them, merges equal
 * ones and quarantines what is unusable or contradictory. Any thread; no text, no I/O. When one
 * entry is wrong, only that entry is left out. [P11] */
#include "nodes/entries.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"

static const char *entry_id(const struct entry *entry)
{
	return entry->node != NULL ? safestart_node_id(entry->node) : entry->id;
}

/* A node, or a fault with its id and reason; never both. */
static inline __attribute__((unused)) bool entry_holds(const struct entry *entry)
{
	return (entry->node != NULL) == (entry->id == NULL) &&
	       (entry->id != NULL) == (entry->reason != NULL) &&
	       (!entry->unnamed || entry->node == NULL);
}

/* What holds between two groups; the newest entry stands for all of them. */
static inline __attribute__((unused)) bool entries_hold(const struct entries *entries)
{
	size_t count = entries->count;

	return count <= entries->capacity && count <= entries->limits->max_nodes &&
	       entries->text_size <= entries->limits->max_bytes &&
	       (count == 0 || (entries->all[count - 1].position == count - 1 &&
			       entry_holds(&entries->all[count - 1])));
}

int entries_no_memory(const struct entries *entries)
{
	return message_set(entries->why, entries->why_size, -ENOMEM,
			   "out of memory while reading the nodes");
}

/* ---- One entry ---- */

/* NULL: there is no room, and the reason is said. */
static struct entry *next_entry(struct entries *entries, int *error)
{
	*error = 0;
	if (entries->count == entries->limits->max_nodes)
		*error =
			message_set(entries->why, entries->why_size, -E2BIG,
				    "the set has more than max_nodes (%zu) entries; to allow that, "
				    "raise the setting",
				    entries->limits->max_nodes);
	if (*error == 0 && entries->count == entries->capacity) {
		size_t capacity = entries->capacity * 2 + 16;
		struct entry *grown = realloc(entries->all, capacity * sizeof(*grown));
		if (grown == NULL) {
			*error = entries_no_memory(entries);
		} else {
			entries->all = grown;
			entries->capacity = capacity;
		}
	}
	if (*error < 0)
		return NULL;
	invariant(entries->count < entries->capacity);
	struct entry *entry = &entries->all[entries->count];
	*entry = (struct entry){.position = entries->count};
	entries->count++;
	return entry;
}

static bool describe_fault(struct entry *entry, const char *id, const char *reason)
{
	invariant(entry->id == NULL);
	invariant(entry->reason == NULL);
	invariant(reason[0] != '\0');
	entry->id = strdup(id);
	entry->reason = strdup(reason);
	return entry->id != NULL && entry->reason != NULL;
}

/* The id that the live node has, unless it was renamed; NULL: there is none. */
static const char *name_of(const struct entries *entries, const struct entry_text *text,
			   char address[NODE_ADDRESS_SIZE])
{
	if (text->id != NULL || text->address == NULL)
		return text->id;
	return node_normalise(address, text->address, entries->limits->default_port, NULL, 0) == 0
		       ? address
		       : text->address;
}

/* The newest entry becomes a fault. */
static int make_fault(struct entries *entries, struct entry *entry, const struct entry_text *text,
		      const char *reason)
{
	char name[64], address[NODE_ADDRESS_SIZE], placed[300];
	const char *id = name_of(entries, text, address);

	entry->unnamed = id == NULL || node_check_id(id, NULL, 0) < 0;
	snprintf(name, sizeof(name), "entry %zu", entry->position + 1);
	/* What has no name of its own is found by its place. */
	if (entry->unnamed && strncmp(reason, "group ", 6) != 0)
		message_set(placed, sizeof(placed), 0, "group %zu: target %zu: %s", text->group,
			    text->target, reason);
	else
		message_copy(placed, sizeof(placed), reason);
	if (describe_fault(entry, entry->unnamed ? name : id, placed))
		return 0;
	free(entry->id);
	free(entry->reason);
	entries->count--;
	return entries_no_memory(entries);
}

int entries_add_fault(struct entries *entries, const struct entry_text *text, const char *reason)
{
	int error;
	struct entry *entry = next_entry(entries, &error);

	error = entry != NULL ? make_fault(entries, entry, text, reason) : error;
	invariant(error < 0 || entries_hold(entries));
	return error;
}

int entries_add(struct entries *entries, const struct entry_text *text)
{
	char reason[256];
	int error;
	struct entry *entry = next_entry(entries, &error);

	if (entry == NULL)
		return error;
	error = node_new(&entry->node, text->id, text->address, entries->limits->default_port,
			 text->labels, text->label_count, reason, sizeof(reason));
	if (error == -ENOMEM) {
		entries->count--;
		return entries_no_memory(entries);
	}
	if (error < 0)
		return make_fault(entries, entry, text, reason);
	/* A group's labels are repeated for each of its targets, so a small document can mean a
	 * huge set. */
	entries->text_size += entry->node->text_size;
	if (entries->text_size > entries->limits->max_bytes)
		return message_set(entries->why, entries->why_size, -E2BIG,
				   "the nodes with their labels have more than max_bytes (%zu); to "
				   "allow that, raise the setting",
				   entries->limits->max_bytes);
	invariant(entries_hold(entries));
	return 0;
}

void entries_clear(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++) {
		if (entries->all[i].node != NULL && node_unref(entries->all[i].node))
			node_free(entries->all[i].node);
		free(entries->all[i].id);
		free(entries->all[i].reason);
	}
	free(entries->all);
	entries->all = NULL;
	entries->count = entries->capacity = entries->text_size = 0;
	invariant(entries_hold(entries));
}

/* ---- All entries: a set ---- */

/* Two entries with one id at two addresses: the second one becomes the fault of both. [P11] */
static bool make_contradiction(const struct entry *first, struct entry *second)
{
	char one[NODE_ADDRESS_SIZE], other[NODE_ADDRESS_SIZE], reason[3 * NODE_ADDRESS_SIZE];

	node_address(first->node, one);
	node_address(second->node, other);
	snprintf(reason, sizeof(reason),
		 "several entries have this id and differ (%s and %s); none of them is used", one,
		 other);
	return describe_fault(second, entry_id(second), reason);
}

/* Of entries with one id: the one that is unusable, or that contradicts the first. NULL: they are
 * one node. */
static struct entry *find_fault(struct entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (entries[i].node == NULL)
			return &entries[i];
	}
	for (size_t i = 1; i < count; i++) {
		if (!node_same_address(entries[0].node, entries[i].node))
			return &entries[i];
	}
	return NULL;
}

/* The first label, by name, that one has and the other has not, or with another value. `a` is the
 * first of both by what it says: if all of its labels are the same, the other has more. */
static const char *differing_label(const struct safestart_node *a, const struct safestart_node *b)
{
	const char *one = node_next_label(a, NULL), *other = node_next_label(b, NULL);

	for (;;) {
		if (one == NULL)
			return other;
		invariant(other != NULL);
		int order = strcmp(one, other);
		if (order != 0)
			return order < 0 ? one : other;
		if (strcmp(node_label_value(one), node_label_value(other)) != 0)
			return one;
		one = node_next_label(a, one);
		other = node_next_label(b, other);
	}
}

/* Which of two nodes comes first by what it says: the order in the document does not matter. [P7]
 */
static bool says_less(const struct safestart_node *a, const struct safestart_node *b)
{
	size_t shared = a->text_size < b->text_size ? a->text_size : b->text_size;
	int order = memcmp(a->text, b->text, shared);

	return order != 0 ? order < 0 : a->text_size < b->text_size;
}

/* Of entries with one id and address: the first by what they say. */
static struct safestart_node *choose(struct entries *all, struct entry *entries, size_t count)
{
	struct safestart_node *chosen = entries[0].node;
	const struct safestart_node *other = NULL;

	for (size_t i = 1; i < count; i++) {
		if (node_same(chosen, entries[i].node))
			continue;
		other = says_less(entries[i].node, chosen) ? chosen : entries[i].node;
		if (other == chosen)
			chosen = entries[i].node;
	}
	if (other != NULL) {
		const char *name = differing_label(chosen, other),
			   *used = safestart_node_label(chosen, name);
		nodeset_warn(&all->warnings,
			     "several entries for %.60s differ in the label \"%.40s\"; the one "
			     "%s%.40s%s is used",
			     safestart_node_id(chosen), name,
			     used != NULL ? "with the value \"" : "without it",
			     used != NULL ? used : "", used != NULL ? "\"" : "");
	}
	return chosen;
}

/* Entries with one id become one node or one fault of the set. False: out of memory. */
static bool add_to_set(struct nodeset *set, struct entries *all, struct entry *entries,
		       size_t count)
{
	struct entry *fault = find_fault(entries, count);

	invariant(count > 0);
	invariant(strcmp(entry_id(entries), entry_id(entries + count - 1)) == 0);
	if (fault == NULL) {
		set->nodes[set->count++] = node_ref(choose(all, entries, count));
		return true;
	}
	if (fault->node != NULL && !make_contradiction(&entries[0], fault))
		return false;
	set->faults[set->fault_count++] = (struct nodeset_fault){.id = fault->id,
								 .reason = fault->reason,
								 .unnamed = fault->unnamed};
	fault->id = fault->reason = NULL; /* the set frees them */
	return true;
}

static int by_id_then_position(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;
	int order = strcmp(entry_id(left), entry_id(right));

	if (order == 0)
		order = left->unnamed - right->unnamed;
	return order != 0 ? order : left->position < right->position ? -1 : 1;
}

/* Most documents are written by programs, in order: sorting can be skipped. */
static bool is_sorted(const struct entries *entries)
{
	for (size_t i = 1; i < entries->count; i++) {
		if (by_id_then_position(&entries->all[i - 1], &entries->all[i]) > 0)
			return false;
	}
	return true;
}

/* How many entries from `from` on have one id. An unnamed one is alone. */
static size_t count_same_id(const struct entries *entries, size_t from)
{
	const char *id = entry_id(&entries->all[from]);
	size_t to = from + 1;

	while (to < entries->count && !entries->all[to].unnamed &&
	       strcmp(id, entry_id(&entries->all[to])) == 0)
		to++;
	return to - from;
}

/* Room for as many nodes, and as many faults, as there are entries. NULL: out of memory. */
static struct nodeset *new_set(size_t entries)
{
	struct nodeset *set = calloc(1, sizeof(*set));

	if (set == NULL)
		return NULL;
	atomic_init(&set->refs, 1);
	set->nodes = calloc(entries + 1, sizeof(*set->nodes));
	set->faults = calloc(entries + 1, sizeof(*set->faults));
	if (set->nodes != NULL && set->faults != NULL)
		return set;
	nodeset_unref(set);
	return NULL;
}

/* FNV-1a */
static size_t hash_address(const struct safestart_node *node)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ node->port;

	for (const char *c = safestart_node_host(node); *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	return (size_t)(hash ^ hash >> 32);
}

/* By a hash table of half as many nodes as it has room for. False: out of memory. */
static bool warn_of_shared_addresses(const struct nodeset *set, struct nodeset_warnings *warnings)
{
	size_t room = 2;

	while (room < 2 * set->count)
		room *= 2;
	const struct safestart_node **seen = calloc(room, sizeof(*seen));
	for (size_t i = 0; seen != NULL && i < set->count; i++) {
		const struct safestart_node *node = node_at(set->nodes, i);
		size_t at = hash_address(node) & (room - 1);
		while (seen[at] != NULL && !node_same_address(seen[at], node))
			at = (at + 1) & (room - 1);
		if (seen[at] == NULL)
			seen[at] = node;
		else
			nodeset_warn_shared(warnings, seen[at], node);
	}
	free(seen);
	return seen != NULL;
}

struct nodeset *entries_make_set(struct entries *entries)
{
	struct nodeset *set = new_set(entries->count);
	size_t first_position = SIZE_MAX;

	if (set == NULL)
		return NULL;
	if (!is_sorted(entries))
		qsort(entries->all, entries->count, sizeof(*entries->all), by_id_then_position);
	invariant(is_sorted(entries));
	for (size_t from = 0, count; from < entries->count; from += count) {
		size_t faults = set->fault_count;
		count = count_same_id(entries, from);
		if (!add_to_set(set, entries, &entries->all[from], count)) {
			nodeset_unref(set);
			return NULL;
		}
		if (set->fault_count > faults && entries->all[from].position < first_position) {
			first_position = entries->all[from].position;
			set->first_reason = set->faults[faults].reason;
		}
	}
	invariant(set->count + set->fault_count <= entries->count);
	/* Usually there are no faults: their room is given back. */
	struct nodeset_fault *few = realloc(set->faults, (set->fault_count + 1) * sizeof(*few));
	if (few != NULL)
		set->faults = few;
	if (!warn_of_shared_addresses(set, &entries->warnings)) {
		nodeset_unref(set);
		return NULL;
	}
	set->warnings = entries->warnings;
	invariant(nodeset_holds(set));
	return set;
}
