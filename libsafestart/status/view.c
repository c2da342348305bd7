/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* view: takes the copy, and finds what it says about one node. Any thread. What is copied under the
 * handle's lock is of one moment; the live set is borrowed before it, so a run that ends in between
 * may show as ended with the set before it. */
#include "status/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/libc.h"
#include "base/message.h"
#include "run/run.h"

/* By enum safestart_node_state; programs compare them. */
static const char *const state_names[] = {"unknown", "announced",   "applied", "proven",
					  "failing", "quarantined", "retired"};

void status_view_drop(struct status_view *view)
{
	safestart_snapshot_release(view->live);
	nodeset_unref(view->desired);
	nodeset_unref(view->retiring);
	run_free_rejections(view->rejections);
	free(view->rejected);
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct rejection *const *)a)->id, (*(struct rejection *const *)b)->id);
}

/* For find_rejection(): without it each of many nodes would search a list of many rejections. 0 or
 * -ENOMEM. */
static int sort_rejections(struct status_view *view)
{
	size_t count = 0;

	for (struct rejection *r = view->rejections; r != NULL; r = r->next)
		view->rejected_count++;
	if (view->rejected_count == 0)
		return 0;
	view->rejected = calloc(view->rejected_count, sizeof(struct rejection *));
	if (view->rejected == NULL)
		return -ENOMEM;
	for (struct rejection *r = view->rejections; r != NULL; r = r->next)
		view->rejected[count++] = r;
	invariant(count == view->rejected_count);
	qsort(view->rejected, count, sizeof(struct rejection *), by_id);
	return 0;
}

int status_view_take(struct safestart *ss, struct status_view *view)
{
	int revived = ss->revive(ss);

	if (revived < 0)
		return revived;
	*view = (struct status_view){.now = loop_now(), .started = revived == 0};
	view->live = safestart_snapshot_acquire(ss);
	/* Not under the handle's lock: these take locks of their own, or none. */
	view->retiring = snapshot_retiring(ss->home, view->live);
	/* Pushed nodes are desired at once; those of a source when it has been read. */
	if (ss->source.kind == SOURCE_PUSH)
		view->desired = push_desired(&ss->source.push);
	view->callback = worker_callback(&ss->worker);
	view->oldest_since =
		snapshot_oldest(ss->home, false, &view->oldest_generation, &view->oldest_borrowed);
	/* A generation that was just replaced looks borrowed until every reader has moved on, which
	 * takes milliseconds: not worth reporting. */
	if (view->oldest_borrowed && view->now - view->oldest_since < INT64_C(1000000000))
		view->oldest_since = 0;
	view->shut_down = request_is_shut(&ss->door);
	pthread_mutex_lock(&ss->lock);
	if (view->desired == NULL && ss->run.desired != NULL)
		view->desired = nodeset_ref(ss->run.desired);
	view->rejections = run_copy_rejections(ss->run.rejections);
	view->figures = ss->engine.figures;
	view->lock = ss->engine.lock_view;
	message_copy(view->last_good_error, sizeof(view->last_good_error), ss->run.last_good_error);
	view->has_last = ss->tickets.any;
	view->last = ss->tickets.last;
	view->run = ss->run.current != NULL ? ss->run.current->number : 0;
	view->phase = ss->run.current != NULL ? run_phase_name(ss->run.current) : "";
	view->is_later = ss->run.current != NULL && step_is_parked(ss->run.current);
	invariant(ss->run.later_owed >= ss->run.later_open);
	view->unfinished = ss->run.later_owed - ss->run.later_open;
	request_issued(&ss->door, &view->requests);
	view->requests += view->figures.requests;
	pthread_mutex_unlock(&ss->lock);
	invariant(view->live != NULL);
	if (view->retiring != NULL && sort_rejections(view) == 0)
		return 0;
	status_view_drop(view);
	return -ENOMEM;
}

/* By binary search. */
static const struct rejection *find_rejection(const struct status_view *view, const char *id)
{
	size_t low = 0, high = view->rejected_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(view->rejected[middle]->id, id);
		if (order == 0)
			return view->rejected[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Whether it works is what the application has reported last, in this process. [P22] */
static int live_state(const struct safestart_node *live, const struct safestart_node *wanted,
		      char *why, size_t why_size)
{
	const char *more = wanted != NULL && !node_same(live, wanted)
				   ? "; a changed entry for it is announced, but not live yet"
				   : "";

	int32_t report = node_report(live);

	if (report == NODE_REPORT_WORKED) {
		message_set(why, why_size, 0, "live, and the newest request to it succeeded%s",
			    more);
		return SAFESTART_NODE_PROVEN;
	}
	if (report == NODE_REPORT_NONE) {
		message_set(why, why_size, 0, "live; no request to it has been reported yet%s",
			    more);
		return SAFESTART_NODE_APPLIED;
	}
	/* Not safestart_strerror(), which says what an error of this library means. -1, or a number
	 * that is not -errno, says only that it failed. */
	const char *how = report < -1 && report > INT32_MIN ? libc_strerror(-report) : NULL;
	message_set(why, why_size, 0, "live, but the newest request to it failed%s%s%s%s",
		    how != NULL ? " (" : "", how != NULL ? how : "", how != NULL ? ")" : "", more);
	return SAFESTART_NODE_FAILING;
}

/* A quarantined entry comes before everything else, as it is what can be mended; then what is live,
 * what is announced, what is still used. */
int status_view_node_state(const struct status_view *view, const char *id, char *why,
			   size_t why_size)
{
	const struct nodeset *desired = view->desired;
	const struct safestart_node *live =
		nodeset_find(view->live->nodes, view->live->count, id, NULL);
	const struct safestart_node *wanted =
		desired != NULL ? nodeset_find(desired->nodes, desired->count, id, NULL) : NULL;
	const struct nodeset_fault *fault = desired == NULL ? NULL
					    : live != NULL && wanted == NULL
						    ? nodeset_fault_of(desired, live)
						    : nodeset_find_fault(desired, id);
	if (fault != NULL && fault->unnamed && wanted != NULL)
		fault = NULL; /* an entry without an id: the name belongs to another node */
	const struct rejection *rejection = wanted != NULL ? find_rejection(view, id) : NULL;

	if (fault != NULL || rejection != NULL) {
		message_set(why, why_size, 0, "%s%s",
			    fault != NULL ? fault->reason : rejection->reason,
			    live != NULL ? "; its old entry stays live" : "");
		return SAFESTART_NODE_QUARANTINED;
	}
	if (live != NULL)
		return live_state(live, wanted, why, why_size);
	if (wanted != NULL) {
		bool failed = view->has_last && view->last.verdict >= SAFESTART_REFUSED;
		message_set(why, why_size, 0, "announced, but not live yet%s%s", failed ? ": " : "",
			    failed ? view->last.message : "");
		return SAFESTART_NODE_ANNOUNCED;
	}
	if (nodeset_find(view->retiring->nodes, view->retiring->count, id, NULL) != NULL) {
		message_set(why, why_size, 0, "removed from the node set; a reader still uses it");
		return SAFESTART_NODE_RETIRED;
	}
	message_set(why, why_size, 0, "not in the node set");
	return SAFESTART_NODE_UNKNOWN;
}

int safestart_node_state(struct safestart *ss, const char *id, char *why, size_t why_size)
{
	struct status_view view;

	if (ss == NULL || id == NULL)
		return -EINVAL;
	int result = status_view_take(ss, &view);
	if (result < 0)
		return result;
	result = status_view_node_state(&view, id, why, why_size);
	status_view_drop(&view);
	return result;
}

/* In this order: live, announced, unusable, retiring. Each id once: with the first that has it. */
void status_view_each(const struct status_view *view, status_view_visit *visit, void *argument)
{
	const struct safestart_snapshot *live = view->live;
	const struct nodeset *desired = view->desired, *retiring = view->retiring;

	for (size_t i = 0; i < live->count; i++)
		visit(view, live->nodes[i]->text, live->nodes[i], argument);
	for (size_t i = 0; desired != NULL && i < desired->count; i++) {
		if (nodeset_find(live->nodes, live->count, desired->nodes[i]->text, NULL) == NULL)
			visit(view, desired->nodes[i]->text, desired->nodes[i], argument);
	}
	for (size_t i = 0; desired != NULL && i < desired->fault_count; i++) {
		if (nodeset_find(live->nodes, live->count, desired->faults[i].id, NULL) == NULL)
			visit(view, desired->faults[i].id, NULL, argument);
	}
	for (size_t i = 0; i < retiring->count; i++) {
		const char *id = retiring->nodes[i]->text;
		if (desired == NULL ||
		    (nodeset_find(desired->nodes, desired->count, id, NULL) == NULL &&
		     nodeset_find_fault(desired, id) == NULL))
			visit(view, id, retiring->nodes[i], argument);
	}
}

const struct safestart_node *status_view_find(const struct status_view *view, const char *id)
{
	const struct nodeset *desired = view->desired, *retiring = view->retiring;
	const struct safestart_node *node =
		nodeset_find(view->live->nodes, view->live->count, id, NULL);

	if (node == NULL && desired != NULL) {
		node = nodeset_find(desired->nodes, desired->count, id, NULL);
		if (node == NULL && nodeset_find_fault(desired, id) != NULL)
			return NULL;
	}
	return node != NULL ? node : nodeset_find(retiring->nodes, retiring->count, id, NULL);
}

const char *status_view_state_name(int state)
{
	invariant(state >= 0 && state < STATUS_VIEW_STATES);
	return state_names[state];
}

static void print_digest(char text[STATUS_VIEW_DIGEST_SIZE], uint64_t digest)
{
	int length = snprintf(text, STATUS_VIEW_DIGEST_SIZE, "%016llx", (unsigned long long)digest);

	invariant(length == STATUS_VIEW_DIGEST_SIZE - 1);
	(void)length;
}

void status_view_digests(const struct status_view *view, char live[STATUS_VIEW_DIGEST_SIZE],
			 char desired[STATUS_VIEW_DIGEST_SIZE])
{
	print_digest(live, nodeset_digest(view->live->nodes, view->live->count, NULL, 0));
	desired[0] = '\0';
	if (view->desired != NULL)
		print_digest(desired,
			     nodeset_digest(view->desired->nodes, view->desired->count,
					    view->desired->faults, view->desired->fault_count));
}

/* The digest of a set of this entry alone, so that a client can compute it, too; NULL: no entry. */
static const char *entry_digest(struct safestart_node *const *nodes, size_t count, const char *id,
				char text[STATUS_VIEW_DIGEST_SIZE])
{
	struct safestart_node *entry = nodeset_find(nodes, count, id, NULL);

	if (entry == NULL)
		return NULL;
	print_digest(text, nodeset_digest(&entry, 1, NULL, 0));
	return text;
}

/* An entry without an incarnation has no such member; a fault has an empty address. The digests say
 * whether the live entry is the announced one: the id and the state do not. [P22] */
json_t *status_view_node_json(const struct status_view *view, const char *id,
			      const struct safestart_node *node)
{
	char why[256], address[NODE_ADDRESS_SIZE] = "", live[STATUS_VIEW_DIGEST_SIZE],
		       desired[STATUS_VIEW_DIGEST_SIZE];
	const char *incarnation = node != NULL ? safestart_node_label(node, "incarnation") : NULL;

	if (node != NULL)
		node_address(node, address);
	int state = status_view_node_state(view, id, why, sizeof(why));
	const struct nodeset *set = view->desired;
	const char *its = entry_digest(view->live->nodes, view->live->count, id, live),
		   *wanted = set != NULL ? entry_digest(set->nodes, set->count, id, desired) : NULL;
	return json_pack("{s:s,s:s,s:s*,s:s,s:s,s:s?,s:s?}", "id", id, "address", address,
			 "incarnation", incarnation, "state", state_names[state], "why", why,
			 "entry_digest", its, "desired_entry_digest", wanted);
}

json_t *status_view_outcome_json(const struct safestart_outcome *outcome)
{
	return json_pack("{s:I,s:s,s:i,s:s,s:I,s:I,s:I,s:i,s:i,s:i,s:i}", "run",
			 (json_int_t)outcome->run, "verdict", ticket_verdict_name(outcome->verdict),
			 "error", (int)outcome->error, "message", outcome->message, "generation",
			 (json_int_t)outcome->generation, "requests", (json_int_t)outcome->requests,
			 "ticket", (json_int_t)outcome->ticket, "attempts", (int)outcome->attempts,
			 "quarantined", (int)outcome->quarantined, "status", (int)outcome->status,
			 "pid", (int)outcome->pid);
}
