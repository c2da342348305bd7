/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "application.h"

#include <errno.h>
#include <jansson.h>
#include <safestart/source.h>

#include "base/message.h"
#include "fuzz.h"
#include "virtual.h"

struct application application;

static const char *const ids[IDS] = {"a",          "b",          "c",          "d",
				     "entry 2",    "\xc3\xa9",   "z",          "node 7",
				     "10.1.0.0:1", "10.1.0.1:1", "10.1.0.2:1", "10.1.0.3:1",
				     "10.1.0.4:1", "10.1.0.5:1", "10.1.0.6:1", "10.1.0.7:1"};

const char *application_id(int id)
{
	return ids[id];
}

void application_address(int id, uint8_t value, char *text, size_t size)
{
	int variant = (value - 1) & 3;

	if (id >= 8 && variant == 0)
		snprintf(text, size, "%s", ids[id]);
	else if (variant == 3)
		snprintf(text, size, "[fd00::1:%x]:1", id);
	else
		snprintf(text, size, "10.0.%d.%d:8087", id, variant);
}

/* ---- Nodes ---- */

static int id_of(const struct safestart_node *node)
{
	for (int id = 0; id < IDS; id++) {
		if (strcmp(ids[id], safestart_node_id(node)) == 0)
			return id;
	}
	return -1;
}

static void hold_node(const struct safestart_node *node, int id, uint8_t value)
{
	char wanted[64], address[300];
	const char *host = safestart_node_host(node);
	const char *zone = safestart_node_label(node, "zone"),
		   *incarnation = safestart_node_label(node, "incarnation");

	application_address(id, value, wanted, sizeof(wanted));
	snprintf(address, sizeof(address), strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host,
		 (unsigned)safestart_node_port(node));
	HOLD(strcmp(address, wanted) == 0);
	HOLD(((value - 1) >> 2 & 1) == (zone != NULL));
	HOLD(((value - 1) >> 3) == (incarnation != NULL ? atoi(incarnation) : 0));
	thing_hold(safestart_node_key(node), true);
	HOLD((uintptr_t)safestart_node_data(node) == safestart_node_key(node));
}

void application_hold_nodes(const struct safestart_snapshot *snapshot, const uint8_t nodes[IDS])
{
	HOLD(safestart_snapshot_size(snapshot) == model_count(nodes));
	for (int id = 0; id < IDS; id++) {
		const struct safestart_node *node = safestart_snapshot_find(snapshot, ids[id]);
		HOLD((node != NULL) == (nodes[id] != 0));
		if (node != NULL)
			hold_node(node, id, nodes[id]);
	}
	thing_hold(safestart_snapshot_key(snapshot), false);
	HOLD((uintptr_t)safestart_snapshot_data(snapshot) == safestart_snapshot_key(snapshot));
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static void hold_entry(const json_t *json, const struct safestart_node *node)
{
	const json_t *labels = json_object_get(json, "labels");
	const char *name, *value;
	size_t count = 0;

	HOLD(strcmp(text_of(json, "host"), safestart_node_host(node)) == 0);
	HOLD(json_integer_value(json_object_get(json, "port")) == safestart_node_port(node));
	for (; (value = safestart_node_label_at(node, count, &name)) != NULL; count++)
		HOLD(strcmp(text_of(labels, name), value) == 0);
	HOLD(json_is_object(labels) && json_object_size(labels) == count);
}

/* All at once has to say what they say one by one. */
static void hold_changes_json(const struct model_run *run)
{
	static const char *const names[] = {"", "added", "removed", "changed"};
	char *text = safestart_run_changes_json(run->run);
	json_t *root = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const struct safestart_node *node;
	size_t i = 0;
	int kind;

	for (; (node = safestart_run_change(run->run, i, &kind)) != NULL; i++) {
		const json_t *change = json_array_get(root, i),
			     *was = json_object_get(change, "was");
		HOLD(strcmp(text_of(change, "change"), names[kind]) == 0);
		HOLD(strcmp(text_of(change, "id"), safestart_node_id(node)) == 0);
		hold_entry(change, node);
		HOLD((was != NULL) == (kind == SAFESTART_CHANGED));
		if (was != NULL)
			hold_entry(was, safestart_snapshot_find(safestart_run_current(run->run),
								safestart_node_id(node)));
	}
	HOLD(json_is_array(root) && json_array_size(root) == i);
	json_decref(root);
	safestart_free(text);
}

/* The changes that the run lists have to be those of the model. */
static void hold_changes(const struct model_run *run)
{
	const struct safestart_node *node;
	uint16_t changed = 0, removed = 0;
	int kind;

	hold_changes_json(run);

	for (size_t i = 0; (node = safestart_run_change(run->run, i, &kind)) != NULL; i++) {
		int id = id_of(node);
		HOLD(id >= 0);
		uint8_t live = model.anew ? 0 : model.live[id];
		HOLD(kind == (run->candidate[id] == 0 ? SAFESTART_REMOVED
			      : live == 0             ? SAFESTART_ADDED
						      : SAFESTART_CHANGED));
		if (kind == SAFESTART_REMOVED)
			removed |= (uint16_t)(1 << id);
		else
			changed |= (uint16_t)(1 << id);
	}
	HOLD(changed == run->changed && (removed != 0) == run->removes);
}

void application_reject(struct model_run *run, size_t index)
{
	int kind;
	const struct safestart_node *node = safestart_run_change(run->run, index, &kind);

	if (node == NULL) {
		HOLD(safestart_run_reject(run->run, "nobody", NULL) == -ENOENT);
		return;
	}
	HOLD(safestart_run_reject(run->run, safestart_node_id(node),
				  index & 1 ? "told\nto" : NULL) ==
	     (kind == SAFESTART_REMOVED ? -ENOENT : 0));
	if (kind != SAFESTART_REMOVED)
		run->rejected |= (uint16_t)(1 << id_of(node));
}

static void hang_on_node(struct model_run *run, int id, bool same)
{
	const struct safestart_node *node =
		safestart_snapshot_find(safestart_run_candidate(run->run), ids[id]);
	const struct safestart_node *live =
		safestart_snapshot_find(safestart_run_current(run->run), ids[id]);
	uint64_t thing = same && live != NULL ? safestart_node_key(live) : thing_new(true);

	if (thing == 0)
		return;
	if (id & 1)
		HOLD(safestart_run_set_node_key(run->run, ids[id], thing) == 0);
	else
		HOLD(safestart_run_set_node_data(run->run, node, (void *)(uintptr_t)thing) == 0);
	HOLD(safestart_node_key(node) == 0 || !(run->changed >> id & 1) ||
	     safestart_node_key(node) == thing);
	thing_own(thing);
}

void application_hang(struct model_run *run, uint8_t hang)
{
	uint64_t thing = 0;

	for (int id = 0; id < IDS; id++) {
		bool changed = run->changed >> id & 1;
		if (run->candidate[id] != 0 && (hang & (changed ? 1 : 4)))
			hang_on_node(run, id, (hang & 8) != 0);
	}
	if (hang & 2)
		thing = hang & 8 ? safestart_snapshot_key(safestart_run_current(run->run))
				 : thing_new(false);
	if (thing == 0)
		return;
	if (hang & 1)
		HOLD(safestart_run_set_key(run->run, thing) == 0);
	else
		safestart_run_set_data(run->run, (void *)(uintptr_t)thing);
	thing_own(thing);
}

/* ---- Callbacks ---- */

static void hold_forbidden(void)
{
	struct safestart *ss = application.ss;

	HOLD(safestart_dispatch(ss, 0) == -EDEADLK);
	HOLD(safestart_wait(ss, 1, 0, NULL) == -EDEADLK);
	HOLD(safestart_wait_ready(ss, -1) == -EDEADLK);
	HOLD(safestart_close(ss) == -EDEADLK);
}

void application_finish(struct model_run *run, int error, bool words)
{
	struct safestart_run *handle = run->run;
	int expected = model_finish(run, words && error >= 0 ? -EINVAL : error, words);

	HOLD((words ? safestart_run_fail(handle, error, FAIL_WORDS)
		    : safestart_run_finish(handle, error)) == expected);
}

static int finish_early(struct model_run *run, int error)
{
	application_finish(run, error, error < 0 && run->at != AT_GATHER);
	return SAFESTART_LATER;
}

static int act(struct model_run *run, struct script *script)
{
	uint8_t how = script->how;

	*script = (struct script){0};
	switch (how) {
	case HOW_FAIL: return -EIO;
	case HOW_POSITIVE: return 7;
	case HOW_LATER: return SAFESTART_LATER;
	case HOW_EARLY: return finish_early(run, 0);
	case HOW_EARLY_FAIL: return finish_early(run, -ENOSPC);
	case HOW_HANG: virtual_advance(model.run_timeout + SECOND); return 0;
	case HOW_HANG_LATER: virtual_advance(model.run_timeout); return SAFESTART_LATER;
	case HOW_REQUEST:
		model_request(safestart_request(application.ss, SAFESTART_URGENT, "from inside"),
			      false);
		return 0;
	case HOW_SHUTDOWN:
		HOLD(safestart_shutdown(application.ss) == 0);
		model_shutdown();
		return 0;
	case HOW_FORBIDDEN: hold_forbidden(); return 0;
	default: return 0;
	}
}

static struct model_run *expected_run(const struct safestart_run *handle, enum model_at at)
{
	struct model_run *run = model_find(safestart_run_number(handle));

	HOLD(run != NULL && run == model.current && run->run == handle && run->at == at);
	HOLD(!run->expired && !run->cancelled);
	HOLD(safestart_run_cancelled(handle) == (virtual_now() >= run->deadline));
	return run;
}

void application_prepare(struct model_run *run)
{
	const struct safestart_run *handle = run->run;

	application_hold_nodes(safestart_run_candidate(handle), run->candidate);
	HOLD(safestart_snapshot_generation(safestart_run_candidate(handle)) ==
	     model.generation + 1);
	HOLD(safestart_snapshot_generation(safestart_run_current(handle)) == model.generation);
	hold_changes(run);
	application_hang(run, application.prepare.hang);
	for (size_t i = 0; i < 8; i++) {
		if (application.prepare.reject >> i & 1)
			application_reject(run, i);
	}
}

static int on_prepare(struct safestart_run *handle, void *user_data)
{
	struct model_run *run = expected_run(handle, AT_PREPARE);

	HOLD(user_data == &application && model.has_prepare);
	application_prepare(run);
	int result = act(run, &application.prepare);
	model_returned(run, result);
	return result;
}

void application_restart(struct model_run *run)
{
	application_hold_nodes(safestart_run_candidate(run->run), model.live);
	HOLD(safestart_generation(application.ss) == model.generation && !run->committed_due);
	HOLD(safestart_run_reject(run->run, "a", NULL) == -EINVAL);
	HOLD(safestart_run_set_key(run->run, 1) == -EINVAL);
}

static int on_restart(struct safestart_run *handle, void *user_data)
{
	struct model_run *run = expected_run(handle, AT_RESTART);

	HOLD(user_data == &application && model.has_restart);
	application_restart(run);
	int result = act(run, &application.restart);
	model_returned(run, result);
	return result;
}

/* Once for each set that goes live. */
static void on_committed(struct safestart_run *handle, void *user_data)
{
	struct model_run *run = model_find(safestart_run_number(handle));

	HOLD(user_data == &application && run != NULL && run->run == handle && run->committed_due);
	HOLD(safestart_snapshot_generation(safestart_run_candidate(handle)) == model.generation &&
	     safestart_generation(application.ss) == model.generation);
	run->committed_due = false;
}

static void on_retire(void *data, void *user_data)
{
	HOLD(user_data == &application && application.destroyed == 0);
	thing_retire((uintptr_t)data, false);
}

static void on_retire_node(void *data, void *user_data)
{
	HOLD(user_data == &application && application.destroyed == 0);
	thing_retire((uintptr_t)data, true);
}

static void on_destroy(void *user_data)
{
	HOLD(user_data == &application && application.destroyed == 0);
	application.destroyed++;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	HOLD(user_data == &application);
	model_outcome(outcome);
}

static void on_log(int level, const char *message, void *user_data)
{
	HOLD(user_data == &application && level >= 0 && level <= 7);
	HOLD(message[0] != '\0' && is_clean(message));
}

/* ---- The source ---- */

static int app_open(void **state, const struct safestart_source_conf *conf, char *why,
		    size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	bool fails = application.open_fails;
	application.open_fails = false;
	return fails ? -EIO : 0;
}

static int hand_over(struct model_run *run, struct safestart_gather *gather)
{
	uint8_t document = application.document;

	application.document = HAND_DOCUMENT;
	if (document == HAND_NOTHING)
		return 0;
	if (document == HAND_MALFORMED)
		return safestart_gather_json(gather, "[}", 2);
	if (document == HAND_UNCHANGED) {
		bool may = run->had_previous && (model.previous_any || model.previous_error != 0);
		HOLD(safestart_gather_unchanged(gather) == (may ? 0 : -EAGAIN));
		run->unchanged = may;
		if (may)
			return 0;
	}
	int error = safestart_gather_json(gather, application.text, strlen(application.text));
	run->handed = error == 0;
	run->gathered = model.desired;
	return error;
}

static int app_gather(void *state, struct safestart_gather *gather)
{
	struct model_run *run = model.current;

	HOLD(state == &application && run != NULL && run->at == AT_GATHER);
	HOLD(safestart_gather_forced(gather) == run->forced &&
	     safestart_gather_cancelled(gather) == (virtual_now() >= run->deadline));
	int handed = hand_over(run, gather), result = act(run, &application.gather);
	return handed < 0 ? handed : result;
}

static void app_close(void *state)
{
	HOLD(state == &application);
}

/* ---- gather_call() is where a run begins ---- */

int __real_gather_call(struct safestart_run *run);
int __wrap_gather_call(struct safestart_run *run);

int __wrap_gather_call(struct safestart_run *handle)
{
	struct model_run *run = model_begin(handle);
	int result = __real_gather_call(handle);

	model_returned(run, result);
	return result;
}

/* ---- last_good: a file without a disk ---- */

int __wrap_last_good_load(struct nodeset **out, size_t *unread, const struct settings *settings,
			  char *why, size_t why_size);
int __wrap_last_good_save(const char *path, const char *json, char *why, size_t why_size);

int __wrap_last_good_load(struct nodeset **out, size_t *unread, const struct settings *settings,
			  char *why, size_t why_size)
{
	*out = NULL;
	*unread = 0;
	if (application.kept[0] == '\0')
		return message_set(why, why_size, -ENOENT, "nothing was kept");
	return nodeset_parse(out, application.kept, strlen(application.kept), &settings->limits,
			     why, why_size);
}

/* Only the live set is saved. */
int __wrap_last_good_save(const char *path, const char *json, char *why, size_t why_size)
{
	const struct nodeset_limits limits = {.max_bytes = 1 << 20, .max_nodes = 1000};
	bool fails = application.keep_fails;
	struct nodeset *set;

	HOLD(strcmp(path, "/kept") == 0 && (model.keep_due || application.keep_again));
	HOLD(nodeset_parse(&set, json, strlen(json), &limits, NULL, 0) == 0);
	HOLD(set->count == model_count(model.live) && set->fault_count == 0);
	for (int id = 0; id < IDS; id++) {
		const struct safestart_node *node =
			nodeset_find(set->nodes, set->count, ids[id], NULL);
		HOLD((node != NULL) == (model.live[id] != 0));
		if (node != NULL)
			hold_node(node, id, model.live[id]);
	}
	nodeset_unref(set);
	application.keep_fails = model.keep_due = false;
	application.keep_again = fails;
	return fails ? message_set(why, why_size, -ENOSPC, "the disk is full") : 0;
}

void application_reset(void)
{
	memset(&application, 0, sizeof(application));
	things_reset();
	snprintf(application.text, sizeof(application.text), "[]");
}

void application_use(struct safestart_conf *conf)
{
	const struct safestart_callbacks all = {
		.size = sizeof(all),
		.prepare = model.has_prepare ? on_prepare : NULL,
		.retire = on_retire,
		.log = on_log,
		.outcome = on_outcome,
		.retire_node = on_retire_node,
		.restart = model.has_restart ? on_restart : NULL,
		.committed = on_committed,
		.destroy = on_destroy,
	};
	const struct safestart_callbacks none = {.size = sizeof(none), .destroy = on_destroy};
	const struct safestart_source source = {.size = sizeof(source),
						.scheme = "told",
						.open = app_open,
						.gather = app_gather,
						.close = app_close};

	HOLD(safestart_conf_set_callbacks(conf, model.pull ? &none : &all, &application) == 0);
	HOLD(safestart_conf_add_source(conf, &source, &application) == 0);
}
