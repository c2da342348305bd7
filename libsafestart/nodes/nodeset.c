/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "nodes/nodeset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/message.h"

static struct nodeset *allocate(size_t nodes, size_t faults)
{
	struct nodeset *set = calloc(1, sizeof(*set));

	if (set == NULL)
		return NULL;
	atomic_init(&set->refs, 1);
	set->nodes = calloc(nodes + 1, sizeof(*set->nodes));
	set->faults = calloc(faults + 1, sizeof(*set->faults));
	if (set->nodes != NULL && set->faults != NULL)
		return set;
	nodeset_unref(set);
	return NULL;
}

struct nodeset *nodeset_ref(struct nodeset *set)
{
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

void nodeset_unref(struct nodeset *set)
{
	if (set == NULL || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < set->count; i++) {
		if (node_unref(set->nodes[i]))
			node_free(set->nodes[i]);
	}
	for (size_t i = 0; i < set->fault_count; i++) {
		free(set->faults[i].id);
		free(set->faults[i].reason);
	}
	free(set->nodes);
	free(set->faults);
	free(set);
}

struct nodeset *nodeset_new(struct safestart_node *const *nodes, size_t count)
{
	struct nodeset *set = allocate(count, 0);

	for (size_t i = 0; set != NULL && i < count; i++) {
		struct safestart_node *copy = node_copy(nodes[i]);
		if (copy == NULL) {
			nodeset_unref(set);
			return NULL;
		}
		set->nodes[set->count++] = copy;
	}
	return set;
}

struct safestart_node *nodeset_find(struct safestart_node *const *nodes, size_t count,
				    const char *id, size_t *index)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(nodes[middle]->text, id);
		if (order == 0) {
			if (index != NULL)
				*index = middle;
			return nodes[middle];
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (index != NULL)
		*index = low; /* where it would be */
	return NULL;
}

const struct nodeset_fault *nodeset_find_fault(const struct nodeset *set, const char *id)
{
	size_t low = 0, high = set->fault_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(set->faults[middle].id, id) < 0)
			low = middle + 1;
		else
			high = middle; /* the first of two is the one with the id */
	}
	return low < set->fault_count && strcmp(set->faults[low].id, id) == 0 ? &set->faults[low]
									      : NULL;
}

bool nodeset_has_fault(const struct nodeset *set, const char *id)
{
	const struct nodeset_fault *fault = nodeset_find_fault(set, id);

	return fault != NULL && !fault->unnamed;
}

bool nodeset_equal(const struct nodeset *a, const struct nodeset *b)
{
	if (a == NULL || b == NULL || a->count != b->count || a->fault_count != b->fault_count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!node_same(a->nodes[i], b->nodes[i]))
			return false;
	}
	for (size_t i = 0; i < a->fault_count; i++) {
		/* The words may name positions, which do not count. */
		if (strcmp(a->faults[i].id, b->faults[i].id) != 0)
			return false;
	}
	return true;
}

/* FNV-1a, 64 bits: no key, no byte order, no alignment, so that a digest means the same everywhere.
 */
static uint64_t digest_bytes(uint64_t digest, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < size; i++)
		digest = (digest ^ at[i]) * UINT64_C(0x100000001b3);
	return digest;
}

uint64_t nodeset_digest(struct safestart_node *const *nodes, size_t count,
			const struct nodeset_fault *faults, size_t fault_count)
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	/* Sorted by id, labels by name: the order they were given in is gone. Every text ends in a
	 * NUL byte, none has one inside. */
	for (size_t i = 0; i < count; i++) {
		const unsigned char port[] = {(unsigned char)(nodes[i]->port >> 8),
					      (unsigned char)nodes[i]->port,
					      (unsigned char)(nodes[i]->label_count >> 8),
					      (unsigned char)nodes[i]->label_count};
		digest = digest_bytes(digest, port, sizeof(port));
		digest = digest_bytes(digest, nodes[i]->text, nodes[i]->text_size);
	}
	for (size_t i = 0; i < fault_count; i++)
		digest = digest_bytes(digest, faults[i].id, strlen(faults[i].id) + 1);
	return digest;
}

static bool add_fault(struct nodeset *set, const struct nodeset_fault *from)
{
	struct nodeset_fault fault = {.id = strdup(from->id),
				      .reason = strdup(from->reason),
				      .unnamed = from->unnamed};

	if (fault.id == NULL || fault.reason == NULL) {
		free(fault.id);
		free(fault.reason);
		return false;
	}
	set->faults[set->fault_count++] = fault;
	return true;
}

/* All faults but the one with this id. */
static bool copy_faults(struct nodeset *to, const struct nodeset *from, const char *but)
{
	for (size_t i = 0; i < from->fault_count; i++) {
		const struct nodeset_fault *fault = &from->faults[i];
		bool is_that = !fault->unnamed && strcmp(fault->id, but) == 0;
		if (!is_that && !add_fault(to, fault))
			return false;
	}
	if (to->fault_count > 0)
		to->first_reason = to->faults[0].reason;
	return true;
}

/* `node` NULL: only without `id`. */
static struct nodeset *edit(const struct nodeset *set, const char *id, struct safestart_node *node)
{
	struct nodeset *copy = allocate(set->count + 1, set->fault_count);
	size_t at;

	if (copy == NULL)
		return NULL;
	bool there = nodeset_find(set->nodes, set->count, id, &at) != NULL;
	for (size_t i = 0; i < at; i++)
		copy->nodes[copy->count++] = node_ref(set->nodes[i]);
	if (node != NULL)
		copy->nodes[copy->count++] = node_ref(node);
	for (size_t i = at + there; i < set->count; i++)
		copy->nodes[copy->count++] = node_ref(set->nodes[i]);
	if (copy_faults(copy, set, id))
		return copy;
	nodeset_unref(copy);
	return NULL;
}

struct nodeset *nodeset_with(const struct nodeset *set, struct safestart_node *node)
{
	return edit(set, node->text, node);
}

struct nodeset *nodeset_without(const struct nodeset *set, const char *id)
{
	return edit(set, id, NULL);
}

/* ---- What would change ---- */

void nodeset_plan_clear(struct nodeset_plan *plan)
{
	free(plan->nodes);
	free(plan->changes);
	*plan = (struct nodeset_plan){0};
}

static void plan_node(struct nodeset_plan *plan, struct safestart_node *node, int kind)
{
	if (kind != 0)
		plan->changes[plan->change_count++] =
			(struct nodeset_change){.kind = kind, .index = plan->count};
	plan->nodes[plan->count++] = node;
}

static void plan_both(struct nodeset_plan *plan, struct safestart_node *live,
		      struct safestart_node *wanted, bool anew)
{
	if (anew)
		plan_node(plan, wanted, SAFESTART_ADDED);
	else if (node_same(live, wanted))
		plan_node(plan, live, 0);
	else
		plan_node(plan, wanted, SAFESTART_CHANGED);
}

/* Live and not wanted: nothing to tell those for whom it never was live. */
static void plan_removal(struct nodeset_plan *plan, size_t index, bool anew)
{
	if (!anew)
		plan->changes[plan->change_count++] =
			(struct nodeset_change){.kind = SAFESTART_REMOVED, .index = index};
}

int nodeset_plan(struct nodeset_plan *plan, struct safestart_node *const *live, size_t live_count,
		 const struct nodeset *wanted, bool anew)
{
	size_t l = 0, w = 0;

	*plan = (struct nodeset_plan){0};
	plan->nodes = calloc(live_count + wanted->count + 1, sizeof(*plan->nodes));
	plan->changes = calloc(live_count + wanted->count + 1, sizeof(*plan->changes));
	if (plan->nodes == NULL || plan->changes == NULL) {
		nodeset_plan_clear(plan);
		return -ENOMEM;
	}
	while (l < live_count || w < wanted->count) {
		int order = l == live_count      ? 1
			    : w == wanted->count ? -1
						 : strcmp(live[l]->text, wanted->nodes[w]->text);
		if (order > 0)
			plan_node(plan, wanted->nodes[w++], SAFESTART_ADDED);
		else if (order == 0)
			plan_both(plan, live[l++], wanted->nodes[w++], anew);
		else if (nodeset_has_fault(wanted, live[l]->text))
			plan_node(plan, live[l++], anew ? SAFESTART_ADDED : 0);
		else
			plan_removal(plan, l++, anew);
	}
	return 0;
}

/* ---- Guard rails ---- */

int nodeset_usable(const struct nodeset *set, char *why, size_t why_size)
{
	if (set->count > 0 || set->fault_count == 0)
		return 0;
	return message_set(why, why_size, -EINVAL,
			   "nothing in the set is usable: %zu of %zu entries are faulty, the "
			   "first: %s",
			   set->fault_count, set->fault_count, set->first_reason);
}

int nodeset_judge(const struct nodeset_rails *rails, size_t live, size_t count, bool forced,
		  char *why, size_t why_size)
{
	if (count == 0) {
		if (rails->allow_empty)
			return 0;
		if (live == 0)
			return message_set(why, why_size, -ERANGE,
					   "the set is empty; if that is meant, set "
					   "allow_empty=yes (force does not empty)");
		return message_set(why, why_size, -ERANGE,
				   "the set is empty: would lose all %zu nodes; if that is meant, "
				   "set allow_empty=yes (force does not empty)",
				   live);
	}
	if (forced)
		return 0;
	if (count < live && (double)(live - count) * 100 > (double)live * rails->max_shrink)
		return message_set(why, why_size, -ERANGE,
				   "would lose %zu of %zu nodes, max_shrink is %u%%; if that is "
				   "meant, ask with SAFESTART_FORCE",
				   live - count, live, rails->max_shrink);
	if (count < rails->min_nodes)
		return message_set(why, why_size, -ERANGE,
				   "would leave %zu nodes, min_nodes is %zu; if that is meant, ask "
				   "with SAFESTART_FORCE",
				   count, rails->min_nodes);
	return 0;
}
