/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* entries: reads the groups of a document into entries, and makes a set of them: sorts them, merges
 * equal ones and quarantines what is unusable or contradictory. Any thread; no text, no I/O. A
 * group is refused, and the document with it, when its structure is wrong; when only one entry is
 * wrong, only that entry is left out. [P11] */
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

const char *entries_type_name(const json_t *value)
{
	if (value == NULL)
		return "missing";
	switch (json_typeof(value)) {
	case JSON_OBJECT: return "an object";
	case JSON_ARRAY: return "an array";
	case JSON_STRING: return "a string";
	case JSON_NULL: return "null";
	case JSON_TRUE:
	case JSON_FALSE: return "a boolean";
	default: return "a number";
	}
}

/* ---- One group: targets and labels ---- */

static struct entry *next_entry(struct entries *entries)
{
	if (entries->count == entries->capacity) {
		size_t capacity = entries->capacity * 2 + 16;
		struct entry *grown = realloc(entries->all, capacity * sizeof(*grown));
		if (grown == NULL)
			return NULL;
		entries->all = grown;
		entries->capacity = capacity;
	}
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

/* A fault goes by its id, or its address, if that could be an id: then the live node with this id
 * is known to stay. [P11] */
static bool make_fault(struct entry *entry, const char *id, const char *address, const char *reason)
{
	char name[64];

	snprintf(name, sizeof(name), "entry %zu", entry->position + 1);
	entry->unnamed = node_check_id(id != NULL ? id : address, NULL, 0) < 0;
	return describe_fault(entry, entry->unnamed ? name : id != NULL ? id : address, reason);
}

static int read_target(struct entries *entries, const char *address, const char *id,
		       const struct node_label *labels, size_t label_count)
{
	char reason[256];
	struct entry *entry = next_entry(entries);

	if (entry == NULL)
		return entries_no_memory(entries);
	int error =
		node_new(&entry->node, id, address, labels, label_count, reason, sizeof(reason));
	if (error == -ENOMEM || (error < 0 && !make_fault(entry, id, address, reason))) {
		free(entry->id);
		free(entry->reason);
		entries->count--;
		return entries_no_memory(entries);
	}
	invariant(entry_holds(entry));
	/* A group's labels are repeated for each of its targets, so a small document can mean a
	 * huge set. */
	entries->text_size += error == 0 ? entry->node->text_size : 0;
	if (entries->text_size > entries->limits->max_bytes)
		return message_set(entries->why, entries->why_size, -E2BIG,
				   "the nodes with their labels have more than max_bytes (%zu); to "
				   "allow that, raise the setting",
				   entries->limits->max_bytes);
	return 0;
}

static int read_labels(struct entries *entries, const json_t *object, size_t group,
		       struct node_label **out, size_t *count)
{
	const char *name;
	json_t *value;

	*out = NULL;
	*count = 0;
	if (object == NULL)
		return 0;
	if (!json_is_object(object))
		return message_set(entries->why, entries->why_size, -EINVAL,
				   "group %zu: labels is %s, not an object", group,
				   entries_type_name(object));
	*out = calloc(json_object_size(object) + 1, sizeof(**out));
	if (*out == NULL)
		return entries_no_memory(entries);
	json_object_foreach((json_t *)(uintptr_t)object, name, value) {
		if (!json_is_string(value))
			return message_set(entries->why, entries->why_size, -EINVAL,
					   "group %zu: the label \"%.40s\" is %s, not a string",
					   group, name, entries_type_name(value));
		(*out)[(*count)++] =
			(struct node_label){.name = name, .value = json_string_value(value)};
	}
	invariant(*count == json_object_size(object));
	return 0;
}

int entries_read_group(struct entries *entries, const json_t *object, size_t group)
{
	struct node_label *labels = NULL;
	size_t label_count, target_count;

	invariant(group > 0);
	invariant(entries_hold(entries));
	if (!json_is_object(object))
		return message_set(entries->why, entries->why_size, -EINVAL,
				   "group %zu is %s, not an object with targets and labels", group,
				   entries_type_name(object));
	const json_t *targets = json_object_get(object, "targets");
	if (!json_is_array(targets))
		return message_set(entries->why, entries->why_size, -EINVAL,
				   "group %zu: targets is %s, not an array of strings", group,
				   entries_type_name(targets));
	target_count = json_array_size(targets);
	if (target_count > entries->limits->max_nodes - entries->count)
		return message_set(entries->why, entries->why_size, -E2BIG,
				   "the set has more than max_nodes (%zu) entries; to allow that, "
				   "raise the setting",
				   entries->limits->max_nodes);
	int error = read_labels(entries, json_object_get(object, "labels"), group, &labels,
				&label_count);
	/* With several targets, an id label does not say which of them it means. */
	const char *id = target_count == 1
				 ? json_string_value(
					   json_object_get(json_object_get(object, "labels"), "id"))
				 : NULL;
	for (size_t i = 0; error == 0 && i < target_count; i++) {
		const json_t *target = json_array_get(targets, i);
		if (!json_is_string(target))
			error = message_set(entries->why, entries->why_size, -EINVAL,
					    "group %zu: target %zu is %s, not a string", group,
					    i + 1, entries_type_name(target));
		else
			error = read_target(entries, json_string_value(target), id, labels,
					    label_count);
	}
	free(labels);
	invariant(error < 0 || entries_hold(entries));
	return error;
}

void entries_clear(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++) {
		if (entries->all[i].node != NULL && node_unref(entries->all[i].node))
			node_free(entries->all[i].node);
		free(entries->all[i].id);
		free(entries->all[i].reason);
	}
	entries->count = entries->text_size = 0;
	invariant(entries_hold(entries));
}

/* ---- All entries: a set ---- */

/* Two entries with one id that differ: the second one becomes the fault of both. [P11] */
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
		if (!node_same(entries[0].node, entries[i].node))
			return &entries[i];
	}
	return NULL;
}

/* Entries with one id become one node or one fault of the set. False: out of memory. */
static bool add_to_set(struct nodeset *set, struct entry *entries, size_t count)
{
	struct entry *fault = find_fault(entries, count);

	invariant(count > 0);
	invariant(strcmp(entry_id(entries), entry_id(entries + count - 1)) == 0);
	if (fault == NULL) {
		set->nodes[set->count++] = node_ref(entries[0].node);
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
		if (!add_to_set(set, &entries->all[from], count)) {
			nodeset_unref(set);
			return NULL;
		}
		if (set->fault_count > faults && entries->all[from].position < first_position) {
			first_position = entries->all[from].position;
			set->first_reason = set->faults[faults].reason;
		}
	}
	/* Usually there are no faults: their room is given back. */
	struct nodeset_fault *few = realloc(set->faults, (set->fault_count + 1) * sizeof(*few));
	if (few != NULL)
		set->faults = few;
	invariant(nodeset_holds(set));
	invariant(set->count + set->fault_count <= entries->count);
	return set;
}
