/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* application: what a process does when its handle calls it, and what it remembers as true. */
#include <errno.h>
#include <safestart/source.h>

#include "copy.h"
#include "fuzz/fuzz.h"

struct document documents[DOCUMENTS];

/* ---- Callbacks ---- */

/* Each copy does the same; the first one is looked at. */
static bool is_first(const struct copy *copy)
{
	return copy == copy->process->copies[0];
}

/* What its readers get from here on. */
void copy_observe(struct copy *copy)
{
	struct process *process = copy->process;
	struct set before = process->live;

	if (!is_first(copy))
		return;
	const struct safestart_snapshot *live = safestart_read_lock(copy->ss);
	bool anew =
		process->inherited && safestart_snapshot_generation(live) != process->generation;
	process->live = set_read(live);
	process->generation = safestart_snapshot_generation(live);
	safestart_read_unlock(copy->ss);
	for (int id = 0; id < IDS; id++) {
		if (anew || process->live.entry[id] != before.entry[id])
			process->report[id] = 0;
	}
	process->inherited &= !anew;
}

static int id_of(const struct safestart_node *node)
{
	for (int id = 0; id < IDS; id++) {
		if (strcmp(set_id(id), safestart_node_id(node)) == 0)
			return id;
	}
	HOLD(false && "a node that nobody has given");
	return -1;
}

/* A pool for each node of the set, in every second process: those that do not change are copied by
 * this, and requests to them go on meanwhile. */
static void attach(struct safestart_run *run, const struct process *process)
{
	static char pools[4096];
	static unsigned next;
	const struct safestart_snapshot *candidate = safestart_run_candidate(run);

	for (size_t i = 0; process->number % 2 == 0 && i < safestart_snapshot_size(candidate); i++)
		HOLD(safestart_run_set_node_data(run, safestart_snapshot_at(candidate, i),
						 &pools[next++ % sizeof(pools)]) == 0);
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	struct copy *copy = user_data;
	struct process *process = copy->process;
	const struct safestart_node *node;
	int kind;

	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		int id = id_of(node);
		if (kind == SAFESTART_REMOVED || !(process->rejects >> id & 1))
			continue;
		HOLD(safestart_run_reject(run, set_id(id), "it does not answer") == 0);
	}
	attach(run, process);
	if (process->fails)
		return -ECONNREFUSED;
	/* One that is past its deadline has to be finished, too. */
	if (!process->postpones || copy->postponed != NULL)
		return 0;
	copy->postponed = run;
	process->open_run |= is_first(copy);
	return SAFESTART_LATER;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	struct copy *copy = user_data;
	struct process *process = copy->process;

	HOLD(outcome->merged == 0);
	copy_observe(copy);
	if (!is_first(copy))
		return;
	process->went_wrong = outcome->verdict >= SAFESTART_REFUSED;
	process->open_run = false;
	process->runs++;
}

static int open_source(void **state, const struct safestart_source_conf *conf, char *why,
		       size_t why_size, void *user_data)
{
	(void)conf;
	(void)why;
	(void)why_size;
	*state = user_data;
	return 0;
}

static void close_source(void *state)
{
	(void)state;
}

static int gather(void *state, struct safestart_gather *gather)
{
	struct copy *copy = state;
	struct process *process = copy->process;
	const struct document *document = &documents[process->source];
	char text[SET_TEXT];

	if (document->state == UNREADABLE)
		return safestart_gather_fail(gather, -EIO, "cannot read it");
	set_text(&document->set, text);
	if (document->state == MALFORMED)
		return safestart_gather_json(gather, text, strlen(text) - 1);
	int error = safestart_gather_json(gather, text, strlen(text));
	if (error == 0 && is_first(copy)) {
		process->desired = document->set;
		process->has_desired = true;
	}
	return error;
}

/* ---- Open ---- */

static void set(struct safestart_conf *conf, const char *key, const char *value)
{
	HOLD(safestart_conf_set(conf, key, value, NULL, 0) == 0);
}

void copy_open(struct copy *copy)
{
	static const struct safestart_source source = {.size = sizeof(source),
						       .scheme = "document",
						       .open = open_source,
						       .gather = gather,
						       .close = close_source};
	static const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
							     .prepare = on_prepare,
							     .outcome = on_outcome};
	static const char *const sources[] = {"document:a", "document:b", "push"};
	const struct process *process = copy->process;
	struct safestart_conf *conf = safestart_conf_new();
	char path[32];

	HOLD(conf != NULL && safestart_conf_add_source(conf, &source, copy) == 0);
	HOLD(safestart_conf_set_callbacks(conf, &callbacks, copy) == 0);
	snprintf(path, sizeof(path), "/%u/%u", process->name, process->source);
	set(conf, "name", name_text(process->name));
	set(conf, "source", sources[process->source]);
	set(conf, "last_good", path);
	set(conf, "serves", process->serves ? "yes" : "no");
	set(conf, "thread", "no");
	set(conf, "debounce", "0");
	HOLD(safestart_open(&copy->ss, conf, NULL, 0) == 0);
	safestart_conf_free(conf);
}
