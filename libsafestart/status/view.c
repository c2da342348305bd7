/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "status/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/run.h"
#include "base/message.h"

static const char *const state_names[] = {"unknown", "announced", "applied", "proven", "failing", "quarantined", "retired"};

void picture_drop(struct picture *picture)
{
	safestart_snapshot_release(picture->live);
	nodeset_unref(picture->desired);
	nodeset_unref(picture->retiring);
	run_free_rejections(picture->rejections);
	free(picture->rejected);
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(struct rejection *const *)a)->id, (*(struct rejection *const *)b)->id);
}

/* So that telling of many nodes does not take a walk along many rejections each time. 0 or -ENOMEM. */
static int sort_rejections(struct picture *picture)
{
	size_t count = 0;

	for (struct rejection *r = picture->rejections; r != NULL; r = r->next)
		picture->rejected_count++;
	if (picture->rejected_count == 0)
		return 0;
	picture->rejected = calloc(picture->rejected_count, sizeof(struct rejection *));
	if (picture->rejected == NULL)
		return -ENOMEM;
	for (struct rejection *r = picture->rejections; r != NULL; r = r->next)
		picture->rejected[count++] = r;
	qsort(picture->rejected, count, sizeof(struct rejection *), by_id);
	return 0;
}

int picture_take(struct safestart *ss, struct picture *picture)
{
	*picture = (struct picture){.now = loop_now()};
	picture->live = safestart_snapshot_acquire(ss);
	picture->retiring = snapshot_retiring(ss->home, picture->live);
	/* What was pushed counts at once, what a source has only once it was read. */
	if (ss->source.kind == SOURCE_PUSH)
		picture->desired = push_desired(&ss->push);
	picture->guest = worker_guest(&ss->worker);
	picture->oldest_since = snapshot_oldest(ss->home, false, &picture->oldest_generation, &picture->oldest_borrowed);
	/* Until every reader has moved on, it looks borrowed; that takes milliseconds. */
	if (picture->oldest_borrowed && picture->now - picture->oldest_since < INT64_C(1000000000))
		picture->oldest_since = 0;
	picture->shut = request_is_shut(&ss->door);
	pthread_mutex_lock(&ss->lock);
	if (picture->desired == NULL && ss->desired != NULL)
		picture->desired = nodeset_ref(ss->desired);
	picture->rejections = run_copy_rejections(ss->rejections);
	picture->figures = ss->figures;
	picture->lock = ss->lock_picture;
	picture->any = ss->tickets.any;
	picture->last = ss->tickets.last;
	picture->run = ss->run != NULL ? ss->run->number : 0;
	picture->phase = ss->run != NULL ? run_phase_name(ss->run) : "";
	picture->later = ss->run != NULL && step_is_parked(ss->run);
	picture->unfinished = ss->later_owed - ss->later_open;
	request_issued(&ss->door, &picture->requests);
	picture->requests += picture->figures.requests;
	pthread_mutex_unlock(&ss->lock);
	if (picture->retiring != NULL && sort_rejections(picture) == 0)
		return 0;
	picture_drop(picture);
	return -ENOMEM;
}

static const struct rejection *find_rejection(const struct picture *picture, const char *id)
{
	size_t low = 0, high = picture->rejected_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(picture->rejected[middle]->id, id);
		if (order == 0)
			return picture->rejected[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int live_state(const struct safestart_node *live, const struct safestart_node *wanted, char *why, size_t why_size)
{
	const char *more = wanted != NULL && !node_same(live, wanted) ? "; a changed entry is announced and not live yet" : "";

	int32_t report = atomic_load_explicit(&live->report, memory_order_relaxed);

	if (report == NODE_REPORT_WORKED) {
		why_say(why, why_size, 0, "live, and the newest request to it worked%s", more);
		return SAFESTART_NODE_PROVEN;
	}
	if (report == NODE_REPORT_NONE) {
		why_say(why, why_size, 0, "live, no request to it has been reported yet%s", more);
		return SAFESTART_NODE_APPLIED;
	}
	/* Not safestart_strerror(): that tells what this library means by an error. What is no errno says no more than that it failed, nor does -1. */
	const char *how = report < -1 && report > INT32_MIN ? strerrordesc_np(-report) : NULL;
	why_say(why, why_size, 0, "live, but the newest request to it failed%s%s%s%s", how != NULL ? " (" : "", how != NULL ? how : "", how != NULL ? ")" : "", more);
	return SAFESTART_NODE_FAILING;
}

int picture_node_state(const struct picture *picture, const char *id, char *why, size_t why_size)
{
	const struct nodeset *desired = picture->desired;
	const struct safestart_node *live = nodeset_find(picture->live->nodes, picture->live->count, id, NULL);
	const struct safestart_node *wanted = desired != NULL ? nodeset_find(desired->nodes, desired->count, id, NULL) : NULL;
	const struct nodeset_fault *fault = desired != NULL ? nodeset_find_fault(desired, id) : NULL;
	if (fault != NULL && fault->unnamed && (live != NULL || wanted != NULL))
		fault = NULL; /* it only goes by that name where nobody has it */
	const struct rejection *rejection = wanted != NULL ? find_rejection(picture, id) : NULL;

	if (fault != NULL || rejection != NULL) {
		why_say(why, why_size, 0, "%s%s", fault != NULL ? fault->reason : rejection->reason, live != NULL ? "; its old entry stays live" : "");
		return SAFESTART_NODE_QUARANTINED;
	}
	if (live != NULL)
		return live_state(live, wanted, why, why_size);
	if (wanted != NULL) {
		bool failed = picture->any && picture->last.verdict >= SAFESTART_REFUSED;
		why_say(why, why_size, 0, "announced, not live yet%s%s", failed ? ": " : "", failed ? picture->last.message : "");
		return SAFESTART_NODE_ANNOUNCED;
	}
	if (nodeset_find(picture->retiring->nodes, picture->retiring->count, id, NULL) != NULL) {
		why_say(why, why_size, 0, "left the set, a reader is still inside");
		return SAFESTART_NODE_RETIRED;
	}
	why_say(why, why_size, 0, "neither announced nor live");
	return SAFESTART_NODE_UNKNOWN;
}

int safestart_node_state(struct safestart *ss, const char *id, char *why, size_t why_size)
{
	struct picture picture;

	if (ss == NULL || id == NULL)
		return -EINVAL;
	int result = fork_revive(ss);
	if (result < 0)
		return result;
	if (picture_take(ss, &picture) < 0)
		return -ENOMEM;
	result = picture_node_state(&picture, id, why, why_size);
	picture_drop(&picture);
	return result;
}

void picture_each(const struct picture *picture, picture_tell *tell, void *argument)
{
	const struct safestart_snapshot *live = picture->live;
	const struct nodeset *desired = picture->desired, *retiring = picture->retiring;

	for (size_t i = 0; i < live->count; i++)
		tell(picture, live->nodes[i]->text, live->nodes[i], argument);
	for (size_t i = 0; desired != NULL && i < desired->count; i++) {
		if (nodeset_find(live->nodes, live->count, desired->nodes[i]->text, NULL) == NULL)
			tell(picture, desired->nodes[i]->text, desired->nodes[i], argument);
	}
	for (size_t i = 0; desired != NULL && i < desired->fault_count; i++) {
		if (nodeset_find(live->nodes, live->count, desired->faults[i].id, NULL) == NULL)
			tell(picture, desired->faults[i].id, NULL, argument);
	}
	for (size_t i = 0; i < retiring->count; i++) {
		const char *id = retiring->nodes[i]->text;
		if (desired == NULL || (nodeset_find(desired->nodes, desired->count, id, NULL) == NULL && nodeset_find_fault(desired, id) == NULL))
			tell(picture, id, retiring->nodes[i], argument);
	}
}

const struct safestart_node *picture_find(const struct picture *picture, const char *id)
{
	const struct nodeset *desired = picture->desired, *retiring = picture->retiring;
	const struct safestart_node *node = nodeset_find(picture->live->nodes, picture->live->count, id, NULL);

	if (node == NULL && desired != NULL) {
		node = nodeset_find(desired->nodes, desired->count, id, NULL);
		if (node == NULL && nodeset_find_fault(desired, id) != NULL)
			return NULL;
	}
	return node != NULL ? node : nodeset_find(retiring->nodes, retiring->count, id, NULL);
}

const char *picture_state_name(int state)
{
	return state_names[state];
}

static void print_digest(char text[PICTURE_DIGEST_SIZE], uint64_t digest)
{
	snprintf(text, PICTURE_DIGEST_SIZE, "%016llx", (unsigned long long)digest);
}

void picture_digests(const struct picture *picture, char live[PICTURE_DIGEST_SIZE], char desired[PICTURE_DIGEST_SIZE])
{
	print_digest(live, nodeset_digest(picture->live->nodes, picture->live->count, NULL, 0));
	desired[0] = '\0';
	if (picture->desired != NULL)
		print_digest(desired, nodeset_digest(picture->desired->nodes, picture->desired->count, picture->desired->faults, picture->desired->fault_count));
}

json_t *picture_node_json(const struct picture *picture, const char *id, const struct safestart_node *node)
{
	char why[256], address[NODE_ADDRESS_SIZE] = "";
	const char *incarnation = node != NULL ? safestart_node_label(node, "incarnation") : NULL;

	if (node != NULL)
		node_address(node, address);
	int state = picture_node_state(picture, id, why, sizeof(why));
	return json_pack("{s:s,s:s,s:s*,s:s,s:s}", "id", id, "address", address, "incarnation", incarnation, "state", state_names[state], "why", why);
}

json_t *picture_outcome_json(const struct safestart_outcome *outcome)
{
	return json_pack("{s:I,s:s,s:i,s:s,s:I,s:I,s:I,s:i,s:i,s:i,s:i}", "run", (json_int_t)outcome->run, "verdict", ticket_verdict_name(outcome->verdict),
			 "error", (int)outcome->error, "message", outcome->message, "generation", (json_int_t)outcome->generation, "requests",
			 (json_int_t)outcome->requests, "ticket", (json_int_t)outcome->ticket, "attempts", (int)outcome->attempts, "quarantined",
			 (int)outcome->quarantined, "status", (int)outcome->status, "pid", (int)outcome->pid);
}
