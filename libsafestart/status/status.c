/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status: the state of a handle, as JSON and as Prometheus text, for safestart_status_json() and
 * safestart_metrics_text(). Any thread, also during a callback that hangs: reads a view only, waits
 * for nothing, changes nothing [P14]. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/message.h"
#include "handle.h"
#include "status/view.h"

/* JSON and metrics give times in seconds. */
static double seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

/* For how long the desired set has not been live; 0: it is live. */
static double behind(const struct status_view *view)
{
	return view->figures.behind_since != 0 ? seconds(view->now - view->figures.behind_since)
					       : 0;
}

/* ---- JSON ---- */

struct node_list {
	json_t *nodes;
	bool failed;
};

/* A status_view_visit. */
static void append_node(const struct status_view *view, const char *id,
			const struct safestart_node *node, void *argument)
{
	struct node_list *list = argument;

	list->failed |=
		json_array_append_new(list->nodes, status_view_node_json(view, id, node)) < 0;
}

/* The line to read first: what is wrong now, the most urgent reason only, and what is being served.
 */
static void summary(const struct settings *settings, const struct status_view *view, char *text,
		    size_t size)
{
	unsigned long long generation = view->live->generation;

	/* A shutdown explains everything else; a lock that is not available explains being
	 * behind. */
	if (view->shut_down)
		message_set(text, size, 0,
			    "shut down, no further runs; still serving generation %llu (%zu nodes)",
			    generation, view->live->count);
	else if (!view->started)
		message_set(text, size, 0,
			    "not started: this process has not called safestart_after_fork() "
			    "(start=after_fork)");
	else if (view->lock.state == PROCESS_LOCK_WAITING)
		message_set(text, size, 0,
			    "a run has been waiting for the process lock for %s: held by %s "
			    "(%.100s); "
			    "still serving generation %llu (%zu nodes)",
			    message_duration(view->now - view->lock.since).text, view->lock.holder,
			    settings->lock, generation, view->live->count);
	else if (view->figures.behind_since != 0)
		message_set(text, size, 0,
			    "behind for %s, still serving generation %llu (%zu nodes): %s",
			    message_duration(view->now - view->figures.behind_since).text,
			    generation, view->live->count, view->last.message);
	else if (generation == 0)
		message_set(text, size, 0, "no node set has been applied yet");
	else
		message_set(text, size, 0, "generation %llu is live: %zu nodes", generation,
			    view->live->count);
}

/* A callback that has not returned for longer than a whole run may take. [P14] */
static bool is_wedged(const struct safestart *ss, const struct status_view *view)
{
	return view->callback.what != NULL &&
	       view->now - view->callback.since > handle_settings(ss)->run_timeout;
}

/* Each of these returns a complete value; NULL: out of memory. */
static json_t *runs_json(const struct status_view *view)
{
	json_t *runs = json_object();
	bool failed = runs == NULL;

	for (int verdict = SAFESTART_APPLIED; verdict <= SAFESTART_CANCELLED; verdict++)
		failed |=
			json_object_set_new(runs, ticket_verdict_name(verdict),
					    json_integer((json_int_t)view->figures.runs[verdict])) <
			0;
	if (!failed)
		return runs;
	json_decref(runs);
	return NULL;
}

static json_t *nodes_json(const struct status_view *view)
{
	struct node_list list = {.nodes = json_array()};

	if (list.nodes != NULL)
		status_view_each(view, append_node, &list);
	if (!list.failed)
		return list.nodes;
	json_decref(list.nodes);
	return NULL;
}

static json_t *callback_json(const struct safestart *ss, const struct status_view *view)
{
	if (view->callback.what == NULL)
		return json_null();
	return json_pack("{s:s,s:I,s:f,s:b}", "name", view->callback.what, "run",
			 (json_int_t)view->callback.run, "seconds",
			 seconds(view->now - view->callback.since), "wedged", is_wedged(ss, view));
}

static json_t *run_json(const struct status_view *view)
{
	if (view->run == 0)
		return json_null();
	return json_pack("{s:I,s:f,s:s,s:b}", "number", (json_int_t)view->run, "seconds",
			 seconds(view->now - view->figures.run_started), "phase", view->phase,
			 "later", view->is_later);
}

/* null: none is due, which a request changes. */
static json_t *next_run_json(const struct status_view *view)
{
	if (view->figures.next_start == GATE_NEVER || view->shut_down)
		return json_null();
	return json_real(seconds(
		view->figures.next_start > view->now ? view->figures.next_start - view->now : 0));
}

static json_t *oldest_reader_json(const struct status_view *view)
{
	if (view->oldest_since == 0)
		return json_null();
	return json_pack("{s:I,s:f,s:s}", "generation", (json_int_t)view->oldest_generation,
			 "seconds", seconds(view->now - view->oldest_since), "by",
			 view->oldest_borrowed ? "borrower" : "owner");
}

static json_t *lock_json(const struct settings *settings, const struct status_view *view)
{
	static const char *const names[] = {[PROCESS_LOCK_FREE] = "free",
					    [PROCESS_LOCK_HELD] = "held",
					    [PROCESS_LOCK_WAITING] = "waiting"};
	const struct process_lock_view *lock = &view->lock;
	char path[512], holder[LOCK_HOLDER_SIZE];

	/* Both are text from outside: the path is the application's, the holder is what another
	 * process has written into the lock file. */
	message_copy(path, sizeof(path), settings->lock);
	message_copy(holder, sizeof(holder), lock->holder);
	if (lock->state == PROCESS_LOCK_HELD) {
		message_set(holder, sizeof(holder), 0, "%.80s (pid %ld)", settings->name,
			    (long)getpid());
		message_clean(holder);
	}
	return json_pack("{s:s,s:s,s:f,s:s}", "path", path, "state", names[lock->state],
			 "since_seconds",
			 lock->state != PROCESS_LOCK_FREE ? seconds(view->now - lock->since) : 0.0,
			 "holder", holder);
}

/* All members, always in this order, the summary first. NULL: out of memory. */
static json_t *status(struct safestart *ss, const struct status_view *view)
{
	const struct settings *settings = handle_settings(ss);
	char line[512], name[256], text[512], digest[STATUS_VIEW_DIGEST_SIZE],
		desired_digest[STATUS_VIEW_DIGEST_SIZE];
	json_t *root = json_object();
	int failed = 0; /* json_object_set_new() takes NULL for what could not be made, and fails */

	summary(settings, view, line, sizeof(line));
	/* The application may name them with any bytes; JSON needs UTF-8. */
	message_copy(name, sizeof(name), settings->name);
	message_copy(text, sizeof(text), settings->source);
	failed |= json_object_set_new(root, "summary", json_string(line));
	failed |= json_object_set_new(root, "name", json_string(name));
	failed |= json_object_set_new(root, "version", json_string(safestart_version()));
	failed |= json_object_set_new(root, "pid", json_integer(getpid()));
	failed |= json_object_set_new(root, "serves", json_boolean(settings->serves));
	failed |= json_object_set_new(root, "shut_down", json_boolean(view->shut_down));
	failed |= json_object_set_new(root, "source", json_string(text));
	failed |= json_object_set_new(root, "generation",
				      json_integer((json_int_t)view->live->generation));
	status_view_digests(view, digest, desired_digest);
	failed |= json_object_set_new(root, "digest", json_string(digest));
	failed |= json_object_set_new(root, "desired_digest",
				      view->desired != NULL ? json_string(desired_digest)
							    : json_null());
	failed |= json_object_set_new(root, "behind_seconds", json_real(behind(view)));
	failed |= json_object_set_new(root, "requests", json_integer((json_int_t)view->requests));
	failed |= json_object_set_new(root, "runs", runs_json(view));
	failed |= json_object_set_new(root, "nodes", nodes_json(view));
	failed |= json_object_set_new(root, "callback", callback_json(ss, view));
	failed |= json_object_set_new(root, "last",
				      view->has_last ? status_view_outcome_json(&view->last)
						     : json_null());
	failed |= json_object_set_new(root, "run", run_json(view));
	failed |= json_object_set_new(root, "unfinished_later", json_integer(view->unfinished));
	failed |= json_object_set_new(root, "next_run_in_seconds", next_run_json(view));
	failed |= json_object_set_new(root, "oldest_reader", oldest_reader_json(view));
	message_copy(text, sizeof(text), settings->last_good != NULL ? settings->last_good : "");
	if (settings->last_good != NULL)
		failed |= json_object_set_new(root, "last_good",
					      json_pack("{s:s,s:s}", "path", text, "error",
							view->last_good_error));
	if (settings->lock != NULL)
		failed |= json_object_set_new(root, "lock", lock_json(settings, view));
	if (failed == 0)
		return root;
	json_decref(root);
	return NULL;
}

char *safestart_status_json(struct safestart *ss)
{
	struct status_view view;
	char *text;

	if (ss == NULL || status_view_take(ss, &view) < 0)
		return NULL;
	json_t *root = status(ss, &view);
	status_view_drop(&view);
	text = json_text(root);
	json_decref(root);
	return text;
}

/* ---- Prometheus ---- */

static void count_state(const struct status_view *view, const char *id,
			const struct safestart_node *node, void *counts)
{
	(void)node;
	((size_t *)counts)[status_view_node_state(view, id, NULL, 0)]++;
}

/* HELP and TYPE must stand before the first value of a metric. */
static void metric(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP safestart_%s %s\n# TYPE safestart_%s %s\n", name, help, name, type);
}

/* A label value of clean text, into twice its room: in the exposition format only these characters
 * and a line break, which is not in it, need escaping. */
static void escape(const char *from, char *to)
{
	for (; *from != '\0'; from++) {
		if (*from == '\\' || *from == '"')
			*to++ = '\\';
		*to++ = *from;
	}
	*to = '\0';
}

/* Without printf's %f: in the application's locale its decimal point may be a comma. */
static void print_seconds(FILE *to, const char *metric_name, const char *name, int64_t ns)
{
	long long ms = ns > 0 ? ns / 1000000 : 0;

	fprintf(to, "safestart_%s{name=\"%s\"} %lld.%03lld\n", metric_name, name, ms / 1000,
		ms % 1000);
}

static void print_metrics(FILE *to, const struct safestart *ss, const struct status_view *view)
{
	size_t counts[STATUS_VIEW_STATES] = {0};
	char clean[256], name[2 * sizeof(clean)];

	/* As above: Prometheus refuses the whole scrape if it is not UTF-8. */
	message_copy(clean, sizeof(clean), handle_settings(ss)->name);
	escape(clean, name);
	status_view_each(view, count_state, counts);
	metric(to, "generation", "gauge",
	       "Number of the live generation of the node set; 0: none has been applied yet.");
	fprintf(to, "safestart_generation{name=\"%s\"} %llu\n", name,
		(unsigned long long)view->live->generation);
	/* In a label: a number would be rounded to a double. */
	metric(to, "set_info", "gauge",
	       "Always 1; the label digest identifies the live node set: equal sets have equal "
	       "digests in every process and on every host.");
	if (view->live->generation > 0) {
		char digest[STATUS_VIEW_DIGEST_SIZE], desired[STATUS_VIEW_DIGEST_SIZE];
		status_view_digests(view, digest, desired);
		fprintf(to, "safestart_set_info{name=\"%s\",digest=\"%s\"} 1\n", name, digest);
	}
	metric(to, "behind_seconds", "gauge",
	       "Seconds since the desired node set should have been live; 0: it is live.");
	print_seconds(to, "behind_seconds", name,
		      view->figures.behind_since != 0 ? view->now - view->figures.behind_since : 0);
	metric(to, "nodes", "gauge", "Number of nodes by state.");
	/* States and verdicts that have not occurred are 0, not missing: rate() needs that. */
	for (int state = SAFESTART_NODE_ANNOUNCED; state < STATUS_VIEW_STATES; state++)
		fprintf(to, "safestart_nodes{name=\"%s\",state=\"%s\"} %zu\n", name,
			status_view_state_name(state), counts[state]);
	metric(to, "runs_total", "counter", "Finished runs by verdict.");
	for (int verdict = SAFESTART_APPLIED; verdict <= SAFESTART_CANCELLED; verdict++)
		fprintf(to, "safestart_runs_total{name=\"%s\",verdict=\"%s\"} %llu\n", name,
			ticket_verdict_name(verdict),
			(unsigned long long)view->figures.runs[verdict]);
	metric(to, "requests_total", "counter",
	       "Accepted requests; one run may cover many of them.");
	fprintf(to, "safestart_requests_total{name=\"%s\"} %llu\n", name,
		(unsigned long long)view->requests);
	metric(to, "oldest_reader_seconds", "gauge",
	       "Seconds that a reader has held the oldest replaced generation, which delays "
	       "retiring it; "
	       "0: none is held.");
	print_seconds(to, "oldest_reader_seconds", name,
		      view->oldest_since != 0 ? view->now - view->oldest_since : 0);
	if (handle_settings(ss)->lock != NULL) {
		metric(to, "lock_waiting_seconds", "gauge",
		       "Seconds that a run has been waiting for the process lock; 0: none is "
		       "waiting.");
		print_seconds(to, "lock_waiting_seconds", name,
			      view->lock.state == PROCESS_LOCK_WAITING
				      ? view->now - view->lock.since
				      : 0);
	}
	metric(to, "wedged_callbacks", "gauge",
	       "Callbacks that have been running for longer than run_timeout, and SAFESTART_LATER "
	       "runs past their end that have not been finished.");
	fprintf(to, "safestart_wedged_callbacks{name=\"%s\"} %u\n", name,
		view->unfinished + is_wedged(ss, view));
}

char *safestart_metrics_text(struct safestart *ss)
{
	struct status_view view;
	char *text = NULL;
	size_t size;

	if (ss == NULL || status_view_take(ss, &view) < 0)
		return NULL;
	/* A stream in memory: what is printed has no fixed size. It fails when memory runs out. */
	FILE *to = open_memstream(&text, &size);
	bool failed = to == NULL;
	if (!failed) {
		print_metrics(to, ss, &view);
		failed = ferror(to) != 0;
		failed |= fclose(to) != 0;
	}
	status_view_drop(&view);
	if (!failed)
		return text;
	free(text);
	return NULL;
}
