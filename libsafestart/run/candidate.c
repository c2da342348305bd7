/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run, second part: the snapshot that could be live, and what the application says of it while it
 * prepares. Worker; the public functions also on whatever thread works for the application after
 * LATER. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/json.h"
#include "run/run.h"

/* Its nodes are in the order of ids, each once, and every change but a removal stands for one. */
static bool holds(const struct safestart_run *run)
{
	const struct safestart_snapshot *candidate = run->candidate;

	for (size_t i = 1; i < candidate->count; i++) {
		if (strcmp(candidate->nodes[i - 1]->text, candidate->nodes[i]->text) >= 0)
			return false;
	}
	for (size_t i = 0; i < run->plan.change_count; i++) {
		const struct nodeset_change *change = &run->plan.changes[i];
		size_t count =
			change->kind == SAFESTART_REMOVED ? run->current->count : candidate->count;
		if (change->index >= count ||
		    (change->rejected && change->kind == SAFESTART_REMOVED))
			return false;
	}
	return true;
}

/* From the wanted set to a snapshot that could be live: unchanged nodes are shared with the live
 * generation, with their data; added and changed ones are copies of their own. */
int candidate_build(struct safestart_run *run)
{
	const struct safestart_snapshot *current = run->current;
	struct safestart *ss = run->ss;

	invariant(run->candidate == NULL && run->plan.count == 0 && run->plan.change_count == 0);
	pthread_mutex_lock(&ss->lock);
	bool anew = ss->run.inherited;
	pthread_mutex_unlock(&ss->lock);
	int error = nodeset_plan(&run->plan, current->nodes, current->count, run->wanted, anew);
	if (error < 0)
		return error;
	struct safestart_snapshot *candidate =
		snapshot_new(ss->home, current->generation + 1, run->plan.count);
	if (candidate == NULL)
		return -ENOMEM;
	run->candidate = candidate;
	size_t next_change = 0;
	for (size_t i = 0; i < run->plan.count; i++) {
		while (next_change < run->plan.change_count &&
		       run->plan.changes[next_change].kind == SAFESTART_REMOVED)
			next_change++;
		bool changed = next_change < run->plan.change_count &&
			       run->plan.changes[next_change].index == i;
		next_change += changed;
		/* What a source or a fork handed over never enters a snapshot itself: data will
		 * hang on it. */
		struct safestart_node *node =
			changed ? node_copy(run->plan.nodes[i]) : node_ref(run->plan.nodes[i]);
		if (node == NULL)
			return -ENOMEM;
		candidate->nodes[candidate->count++] = node;
	}
	invariant(candidate->count == run->plan.count && holds(run));
	return 0;
}

/* Requests went on while `prepare` worked: what was reported of an unchanged node since it was
 * copied must not be lost, or a proven node would look unproven. [P22] */
void candidate_carry_reports(struct safestart_run *run)
{
	size_t next_change = 0;

	for (size_t i = 0; run->copied && i < run->candidate->count; i++) {
		struct safestart_node *node = run->candidate->nodes[i];
		while (next_change < run->plan.change_count &&
		       run->plan.changes[next_change].kind == SAFESTART_REMOVED)
			next_change++;
		if (next_change < run->plan.change_count &&
		    run->plan.changes[next_change].index == i) {
			next_change++;
			continue;
		}
		const struct safestart_node *live =
			nodeset_find(run->current->nodes, run->current->count, node->text, NULL);
		node_carry_report(node, live);
	}
}

/* A rejected node leaves the candidate; a changed one that was rejected keeps its old entry, for
 * what worked before works still. [P11] */
size_t candidate_settle(struct safestart_run *run)
{
	struct safestart_snapshot *candidate = run->candidate;
	size_t left = 0, gone = 0, kept = 0;

	invariant(holds(run) && !run->committed);
	for (size_t i = 0; i < run->plan.change_count; i++) {
		struct nodeset_change change = run->plan.changes[i];
		if (change.kind == SAFESTART_REMOVED) {
			run->plan.changes[left++] = change;
			continue;
		}
		struct safestart_node *node = candidate->nodes[change.index], *old = NULL;
		if (!change.rejected) {
			change.index -= gone; /* where it will be once the holes are closed */
			run->plan.changes[left++] = change;
			continue;
		}
		if (change.kind == SAFESTART_CHANGED)
			old = nodeset_find(run->current->nodes, run->current->count, node->text,
					   NULL);
		gone += old == NULL;
		candidate->nodes[change.index] = old != NULL ? node_ref(old) : NULL;
		snapshot_drop_node(node, &run->to_retire);
	}
	for (size_t i = 0; i < candidate->count; i++) {
		if (candidate->nodes[i] != NULL)
			candidate->nodes[kept++] = candidate->nodes[i];
	}
	candidate->count = kept;
	run->plan.change_count = left;
	invariant(holds(run));
	return left;
}

void run_free_rejections(struct rejection *rejections)
{
	while (rejections != NULL) {
		struct rejection *next = rejections->next;
		free(rejections->id);
		free(rejections->reason);
		free(rejections);
		rejections = next;
	}
}

/* Without memory for all of them, the first ones: a status with some is better than none. */
struct rejection *run_copy_rejections(const struct rejection *from)
{
	struct rejection *copies = NULL, **end = &copies;

	for (; from != NULL; from = from->next) {
		struct rejection *copy = calloc(1, sizeof(*copy));
		if (copy == NULL)
			break;
		copy->id = strdup(from->id);
		copy->reason = strdup(from->reason);
		if (copy->id == NULL || copy->reason == NULL) {
			run_free_rejections(copy);
			break;
		}
		*end = copy;
		end = &copy->next;
	}
	return copies;
}

/* ---- What the application calls ---- */

uint64_t safestart_run_number(const struct safestart_run *run)
{
	return run->number;
}

const struct safestart_snapshot *safestart_run_current(const struct safestart_run *run)
{
	return run->current;
}

const struct safestart_snapshot *safestart_run_candidate(const struct safestart_run *run)
{
	return run->candidate != NULL ? run->candidate : run->current;
}

static const struct safestart_node *node_of(const struct safestart_run *run,
					    const struct nodeset_change *change)
{
	return change->kind == SAFESTART_REMOVED ? run->current->nodes[change->index]
						 : node_at(run->candidate->nodes, change->index);
}

const struct safestart_node *safestart_run_change(const struct safestart_run *run, size_t index,
						  int *kind)
{
	if (index >= run->plan.change_count)
		return NULL;
	const struct nodeset_change *change = &run->plan.changes[index];
	if (kind != NULL)
		*kind = change->kind;
	return node_of(run, change);
}

static json_t *entry_json(const struct safestart_node *node)
{
	json_t *labels = json_object();

	for (const char *name = NULL; (name = node_next_label(node, name)) != NULL;) {
		if (json_object_set_new(labels, name, json_string(node_label_value(name))) < 0) {
			json_decref(labels);
			return NULL;
		}
	}
	return json_pack("{s:s,s:i,s:o}", "host", safestart_node_host(node), "port",
			 (int)safestart_node_port(node), "labels", labels);
}

static json_t *change_json(const struct safestart_run *run, const struct nodeset_change *change)
{
	static const char *const names[] = {[SAFESTART_ADDED] = "added",
					    [SAFESTART_REMOVED] = "removed",
					    [SAFESTART_CHANGED] = "changed"};
	const struct safestart_node *node = node_of(run, change);
	json_t *json = json_pack("{s:s,s:s}", "change", names[change->kind], "id", node->text);
	json_t *entry = entry_json(node), *was = NULL;
	int failed = json_object_update(json, entry);

	if (change->kind == SAFESTART_CHANGED) {
		was = entry_json(
			nodeset_find(run->current->nodes, run->current->count, node->text, NULL));
		failed |= json_object_set(json, "was", was);
	}
	json_decref(was);
	json_decref(entry);
	if (failed == 0)
		return json;
	json_decref(json);
	return NULL;
}

char *safestart_run_changes_json(const struct safestart_run *run)
{
	struct json_buffer text = {0};

	if (run == NULL)
		return NULL;
	json_add_text(&text, "[", 1);
	for (size_t i = 0; i < run->plan.change_count; i++) {
		if (i > 0)
			json_add_text(&text, ",", 1);
		json_add(&text, change_json(run, &run->plan.changes[i]));
	}
	json_add_text(&text, "]", 2);
	if (text.failed)
		json_clear(&text);
	return text.text;
}

/* The only time in which the application may change the candidate: before, it does not exist,
 * after, readers may see it. */
static bool is_preparing(const struct safestart_run *run)
{
	return atomic_load_explicit(&run->phase, memory_order_relaxed) == RUN_PREPARE &&
	       !run->committed;
}

/* The change of that node; NULL: it does not change. They are in the order of ids. */
static struct nodeset_change *find_change(const struct safestart_run *run, const char *id)
{
	size_t low = 0, high = run->plan.change_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(node_of(run, &run->plan.changes[middle])->text, id);
		if (order == 0)
			return &run->plan.changes[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

int safestart_run_reject(struct safestart_run *run, const char *id, const char *reason)
{
	if (run == NULL || id == NULL || !is_preparing(run))
		return -EINVAL;
	bool found = nodeset_find(run->candidate->nodes, run->candidate->count, id, NULL) != NULL;
	if (!found)
		return -ENOENT;
	struct nodeset_change *change = find_change(run, id);
	if (change == NULL)
		return -EINVAL;
	struct rejection *rejection = calloc(1, sizeof(*rejection));
	if (rejection == NULL)
		return -ENOMEM;
	rejection->id = strdup(id);
	rejection->reason = strdup(reason != NULL ? reason : "rejected by the application");
	if (rejection->id == NULL || rejection->reason == NULL) {
		run_free_rejections(rejection);
		return -ENOMEM;
	}
	pthread_mutex_lock(&run->lock);
	bool again = change->rejected;
	if (!again) {
		invariant(change->kind != SAFESTART_REMOVED);
		change->rejected = true;
		rejection->next = run->rejections;
		run->rejections = rejection;
		run->rejection_count++;
	}
	pthread_mutex_unlock(&run->lock);
	if (again)
		run_free_rejections(rejection);
	return 0;
}

/* The candidate's own node at `index`: readers of the live generation must not see data of one that
 * may never come. NULL: no memory. run->lock is held. */
static struct safestart_node *own_node_locked(struct safestart_run *run, size_t index,
					      const struct safestart_node *live)
{
	struct safestart_node *node = run->candidate->nodes[index];

	invariant(index < run->candidate->count && node != NULL);
	if (node != live)
		return node;
	struct safestart_node *copy = node_copy(live);
	if (copy == NULL)
		return NULL;
	copy->payload = snapshot_share_payload(live->payload);
	run->copied = true;
	node_put(run->candidate->nodes, index, copy);
	(void)node_unref(node); /* not the last: the live generation has it */
	return copy;
}

/* A pointer or a key, to the candidate's node with this id. */
static int attach(struct safestart_run *run, const char *id, uint64_t value)
{
	size_t index;
	const struct safestart_node *live =
		nodeset_find(run->current->nodes, run->current->count, id, NULL);
	int error = -ENOENT;

	pthread_mutex_lock(&run->lock);
	if (nodeset_find(run->candidate->nodes, run->candidate->count, id, &index) != NULL) {
		struct safestart_node *own = own_node_locked(run, index, live);
		error = own != NULL ? snapshot_set_payload(&own->payload,
							   live != NULL ? live->payload : NULL,
							   true, value, &run->to_retire)
				    : -ENOMEM;
	}
	pthread_mutex_unlock(&run->lock);
	return error;
}

static int attach_to_generation(struct safestart_run *run, uint64_t value)
{
	if (run == NULL || !is_preparing(run))
		return -EINVAL;
	pthread_mutex_lock(&run->lock);
	int error = snapshot_set_payload(&run->candidate->payload, run->current->payload, false,
					 value, &run->to_retire);
	if (error < 0) {
		/* A generation without the data it was meant to have must not go live. */
		run->data_lost = true;
		run->stray = value;
	}
	pthread_mutex_unlock(&run->lock);
	return error;
}

/* `retire` gets it as a pointer, but with events=pull. */
static bool key_fits(const struct safestart_run *run, uint64_t key)
{
	return run->ss->mailbox != NULL || (uintptr_t)key == key;
}

int safestart_run_set_node_data(struct safestart_run *run, const struct safestart_node *node,
				void *data)
{
	if (run == NULL || node == NULL || !is_preparing(run))
		return -EINVAL;
	return attach(run, node->text, (uintptr_t)data);
}

int safestart_run_set_node_key(struct safestart_run *run, const char *id, uint64_t key)
{
	if (run == NULL || id == NULL || !is_preparing(run) || !key_fits(run, key))
		return -EINVAL;
	return attach(run, id, key);
}

void safestart_run_set_data(struct safestart_run *run, void *data)
{
	(void)attach_to_generation(run, (uintptr_t)data);
}

int safestart_run_set_key(struct safestart_run *run, uint64_t key)
{
	return run != NULL && key_fits(run, key) ? attach_to_generation(run, key) : -EINVAL;
}
