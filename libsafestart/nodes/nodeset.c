/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodeset: the sets behind nodeset.h, kept in the order of ids so that finding, comparing and
 * planning need no other index. Any thread; no I/O, no clock, no lock. Documents are read and
 * written in document.c. */
#include "nodes/nodeset.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/message.h"

#ifdef SAFESTART_INVARIANTS
/* In the order of ids, byte by byte, and each id once. [P7] */
bool nodeset_nodes_hold(struct safestart_node *const *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (nodes[i] == NULL || nodes[i]->port == 0 ||
		    (i > 0 && strcmp(nodes[i - 1]->text, nodes[i]->text) >= 0))
			return false;
	}
	return true;
}

/* In the order of ids, an unnamed one after the one with that id, and no other twice. */
static bool faults_hold(const struct nodeset *set)
{
	bool first_known = set->fault_count == 0 && set->first_reason == NULL;

	for (size_t i = 0; i < set->fault_count; i++) {
		const struct nodeset_fault *fault = &set->faults[i];
		int order = i == 0 ? -1 : strcmp(fault[-1].id, fault->id);
		if (order > 0 || (order == 0 && fault[-1].unnamed >= fault->unnamed))
			return false;
		first_known = first_known || set->first_reason == fault->reason;
		/* An id is usable or it is quarantined. [P11] */
		if (!fault->unnamed && nodeset_find(set->nodes, set->count, fault->id, NULL))
			return false;
	}
	return first_known;
}

bool nodeset_holds(const struct nodeset *set)
{
	for (size_t i = 0; i < set->count; i++) {
		if (set->nodes[i]->payload != NULL)
			return false;
	}
	return atomic_load_explicit(&set->refs, memory_order_relaxed) > 0 &&
	       nodeset_nodes_hold(set->nodes, set->count) && faults_hold(set);
}
#endif

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
	uint32_t before = atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);

	invariant(before > 0);
	invariant(before < UINT32_MAX);
	return set;
}

void nodeset_unref(struct nodeset *set)
{
	if (set == NULL)
		return;
	/* acq_rel: all that others did with the set comes before the last one frees it. */
	uint32_t before = atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel);
	invariant(before > 0);
	if (before != 1)
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
	invariant(set == NULL || (set->count == count && nodeset_holds(set)));
	return set;
}

struct safestart_node *nodeset_find(struct safestart_node *const *nodes, size_t count,
				    const char *id, size_t *index)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct safestart_node *node = node_at(nodes, middle);
		int order = strcmp(node->text, id);
		if (order == 0) {
			if (index != NULL)
				*index = middle;
			return node;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	/* Its neighbours are on their sides: the nodes were in order, at least here. */
	invariant(low == 0 || strcmp(node_at(nodes, low - 1)->text, id) < 0);
	invariant(low == count || strcmp(node_at(nodes, low)->text, id) > 0);
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
	invariant(low == 0 || strcmp(set->faults[low - 1].id, id) < 0);
	return low < set->fault_count && strcmp(set->faults[low].id, id) == 0 ? &set->faults[low]
									      : NULL;
}

bool nodeset_has_fault(const struct nodeset *set, const char *id)
{
	const struct nodeset_fault *fault = nodeset_find_fault(set, id);

	return fault != NULL && !fault->unnamed;
}

const struct nodeset_fault *nodeset_fault_of(const struct nodeset *set,
					     const struct safestart_node *live)
{
	const struct nodeset_fault *fault = nodeset_find_fault(set, live->text);
	char address[NODE_ADDRESS_SIZE];

	if (fault != NULL && !fault->unnamed)
		return fault;
	node_address(live, address);
	fault = nodeset_find_fault(set, address);
	invariant(fault == NULL || !fault->unnamed); /* "entry 2" is no address */
	return fault;
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
		/* The reasons may name positions in the document, which do not count. [P7] */
		if (strcmp(a->faults[i].id, b->faults[i].id) != 0)
			return false;
	}
	return true;
}

/* FNV-1a, 64 bits. It has no key and depends on neither byte order nor alignment, so a digest means
 * the same everywhere. */
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

	invariant(nodeset_nodes_hold(nodes, count));
	/* Nodes are in the order of ids, labels in that of names: the order in the document does
	 * not matter. [P7] Every text ends in a NUL byte and has none inside. */
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

void nodeset_warn(struct nodeset_warnings *warnings, const char *format, ...)
{
	char text[600];
	va_list arguments;

	if (warnings->count++ > 0)
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	message_clean(text);
	message_copy(warnings->first, sizeof(warnings->first), text);
}

void nodeset_say_warnings(const struct nodeset_warnings *warnings, char *text, size_t size)
{
	if (warnings->count > 1)
		message_set(text, size, 0, "%zu warnings, the first: %s", warnings->count,
			    warnings->first);
	else
		message_set(text, size, 0, "%s", warnings->first);
}

void nodeset_warn_shared(struct nodeset_warnings *warnings, const struct safestart_node *a,
			 const struct safestart_node *b)
{
	char address[NODE_ADDRESS_SIZE];

	node_address(a, address);
	nodeset_warn(warnings, "%.60s and %.60s have the same address, %.100s",
		     safestart_node_id(a), safestart_node_id(b), address);
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

/* All faults except the one with this id. */
static bool copy_faults(struct nodeset *to, const struct nodeset *from, const char *except)
{
	for (size_t i = 0; i < from->fault_count; i++) {
		const struct nodeset_fault *fault = &from->faults[i];
		bool excepted = !fault->unnamed && strcmp(fault->id, except) == 0;
		if (!excepted && !add_fault(to, fault))
			return false;
	}
	if (to->fault_count > 0)
		to->first_reason = to->faults[0].reason;
	return true;
}

/* A copy with `node` in the place of the entry with this id; `node` NULL: only without it. */
static struct nodeset *edit(const struct nodeset *set, const char *id, struct safestart_node *node)
{
	struct nodeset *copy = allocate(set->count + 1, set->fault_count);
	size_t at;

	if (copy == NULL)
		return NULL;
	invariant(nodeset_holds(set));
	bool found = nodeset_find(set->nodes, set->count, id, &at) != NULL;
	for (size_t i = 0; i < at; i++)
		copy->nodes[copy->count++] = node_ref(set->nodes[i]);
	if (node != NULL)
		copy->nodes[copy->count++] = node_ref(node);
	for (size_t i = at + found; i < set->count; i++)
		copy->nodes[copy->count++] = node_ref(set->nodes[i]);
	if (!copy_faults(copy, set, id)) {
		nodeset_unref(copy);
		return NULL;
	}
	invariant(nodeset_holds(copy));
	invariant(copy->count == set->count - found + (node != NULL));
	return copy;
}

struct nodeset *nodeset_with(const struct nodeset *set, struct safestart_node *node)
{
	struct nodeset *copy = edit(set, node->text, node);

	for (size_t i = 0; copy != NULL && i < copy->count; i++) {
		if (copy->nodes[i] != node && node_same_address(copy->nodes[i], node))
			nodeset_warn_shared(&copy->warnings, copy->nodes[i], node);
	}
	return copy;
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

/* The id that a change is about: a removed node is one of the live ones. */
static inline __attribute__((unused)) const char *id_of_change(const struct nodeset_plan *plan,
							       struct safestart_node *const *live,
							       const struct nodeset_change *change)
{
	return change->kind == SAFESTART_REMOVED ? live[change->index]->text
						 : plan->nodes[change->index]->text;
}

/* The nodes are a set, the changes are in the order of ids, and no more goes or comes than there
 * is. */
static inline __attribute__((unused)) bool plan_holds(const struct nodeset_plan *plan,
						      struct safestart_node *const *live,
						      size_t live_count, bool all_added)
{
	size_t added = 0, removed = 0;

	for (size_t i = 0; i < plan->change_count; i++) {
		const struct nodeset_change *change = &plan->changes[i];
		bool removal = change->kind == SAFESTART_REMOVED;
		added += change->kind == SAFESTART_ADDED;
		removed += removal;
		if (change->rejected || change->index >= (removal ? live_count : plan->count) ||
		    (i > 0 && strcmp(id_of_change(plan, live, change - 1),
				     id_of_change(plan, live, change)) >= 0))
			return false;
	}
	return nodeset_nodes_hold(plan->nodes, plan->count) &&
	       (all_added ? added == plan->count : plan->count == live_count - removed + added);
}

/* `kind` 0: the live node stays as it is. */
static void plan_node(struct nodeset_plan *plan, struct safestart_node *node, int kind)
{
	if (kind != 0)
		plan->changes[plan->change_count++] =
			(struct nodeset_change){.kind = kind, .index = plan->count};
	plan->nodes[plan->count++] = node;
}

static void plan_both(struct nodeset_plan *plan, struct safestart_node *live,
		      struct safestart_node *wanted, bool all_added)
{
	if (all_added)
		plan_node(plan, wanted, SAFESTART_ADDED);
	else if (node_same(live, wanted))
		plan_node(plan, live, 0);
	else
		plan_node(plan, wanted, SAFESTART_CHANGED);
}

/* Live and not wanted. With all_added the node was never live in this process, so there is nothing
 * to report. */
static void plan_removal(struct nodeset_plan *plan, size_t index, bool all_added)
{
	if (!all_added)
		plan->changes[plan->change_count++] =
			(struct nodeset_change){.kind = SAFESTART_REMOVED, .index = index};
}

int nodeset_plan(struct nodeset_plan *plan, struct safestart_node *const *live, size_t live_count,
		 const struct nodeset *wanted, bool all_added)
{
	size_t l = 0, w = 0;

	invariant(nodeset_nodes_hold(live, live_count));
	invariant(nodeset_nodes_hold(wanted->nodes, wanted->count));
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
			plan_both(plan, live[l++], wanted->nodes[w++], all_added);
		else if (nodeset_fault_of(wanted, live[l]) != NULL) /* stays as it is [P11] */
			plan_node(plan, live[l++], all_added ? SAFESTART_ADDED : 0);
		else
			plan_removal(plan, l++, all_added);
	}
	invariant(plan_holds(plan, live, live_count, all_added));
	return 0;
}

/* ---- Guard rails ---- */

/* The flag comes first: the command finds it even where the end of a long message was cut, and then
 * prints the line with the handle's own name. */
#define TO_FORCE "to apply it anyway: SAFESTART_FORCE (safestart request --force NAME)"

int nodeset_usable(const struct nodeset *set, char *why, size_t why_size)
{
	if (set->count > 0 || set->fault_count == 0)
		return 0;
	invariant(set->first_reason != NULL);
	return message_set(why, why_size, -EINVAL,
			   "no entry of the set is usable: %zu of %zu are faulty; the first: %s",
			   set->fault_count, set->fault_count, set->first_reason);
}

static int check_shrinking(const struct nodeset_rails *rails, const struct nodeset_before *before,
			   size_t count, char *why, size_t why_size)
{
	bool recent = before->largest > before->live;
	size_t most = recent ? before->largest : before->live;
	char which[128] = "";

	if (count >= before->live ||
	    (double)(most - count) * 100 <= (double)most * rails->max_shrink)
		return 0;
	if (recent)
		message_set(which, sizeof(which), 0,
			    " that were live within the last %s (%zu are live now)",
			    message_duration(rails->shrink_window).text, before->live);
	return message_set(why, why_size, -ERANGE,
			   "would lose %zu of %zu nodes%s, max_shrink is %u%%; " TO_FORCE,
			   most - count, most, which, rails->max_shrink);
}

int nodeset_check_rails(const struct nodeset_rails *rails, const struct nodeset_before *before,
			size_t count, bool forced, char *why, size_t why_size)
{
	/* [P12] An empty set is never forced: only the setting allows it. */
	if (count == 0) {
		if (rails->allow_empty)
			return 0;
		if (before->live == 0)
			return message_set(why, why_size, -ERANGE,
					   "the set is empty; to allow that, set allow_empty=yes "
					   "(--force does not)");
		return message_set(why, why_size, -ERANGE,
				   "the set is empty: would lose all %zu nodes; to allow that, set "
				   "allow_empty=yes (--force does not)",
				   before->live);
	}
	if (forced)
		return 0;
	int error = check_shrinking(rails, before, count, why, why_size);
	if (error == 0 && count < rails->min_nodes)
		error = message_set(why, why_size, -ERANGE,
				    "would leave %zu nodes, min_nodes is %zu; " TO_FORCE, count,
				    rails->min_nodes);
	return error;
}
