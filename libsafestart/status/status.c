/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status: what is going on, as JSON and as Prometheus text. Any thread; waits for nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handle.h"
#include "base/json.h"
#include "status/view.h"
#include "base/message.h"

static double seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

static double behind(const struct picture *picture)
{
	return picture->figures.behind_since != 0 ? seconds(picture->now - picture->figures.behind_since) : 0;
}

/* ---- JSON ---- */

struct telling {
	json_t *nodes;
	bool failed;
};

static void tell_json(const struct picture *picture, const char *id, const struct safestart_node *node, void *argument)
{
	struct telling *telling = argument;

	telling->failed |= json_array_append_new(telling->nodes, picture_node_json(picture, id, node)) < 0;
}

static void summary(const struct settings *settings, const struct picture *picture, char *text, size_t size)
{
	unsigned long long generation = picture->live->generation;

	if (picture->shut)
		why_say(text, size, 0, "shut down; generation %llu (%zu nodes)", generation, picture->live->count);
	else if (picture->lock.state == EXCLUSIVE_WAITING)
		why_say(text, size, 0, "a run has been waiting for the lock %.100s for %s: held by %s; generation %llu (%zu nodes)", settings->lock,
			why_duration(picture->now - picture->lock.since).text, picture->lock.holder, generation, picture->live->count);
	else if (picture->figures.behind_since != 0)
		why_say(text, size, 0, "behind for %s on generation %llu (%zu nodes): %s",
			why_duration(picture->now - picture->figures.behind_since).text, generation, picture->live->count, picture->last.message);
	else if (generation == 0)
		why_say(text, size, 0, "no set has been applied yet");
	else
		why_say(text, size, 0, "generation %llu is live: %zu nodes", generation, picture->live->count);
}

static bool is_wedged(const struct safestart *ss, const struct picture *picture)
{
	return picture->guest.what != NULL && picture->now - picture->guest.since > handle_settings(ss)->run_timeout;
}

/* Each of these returns a whole, or NULL: no memory. */
static json_t *runs_json(const struct picture *picture)
{
	json_t *runs = json_object();
	bool failed = runs == NULL;

	for (int verdict = SAFESTART_APPLIED; verdict <= SAFESTART_CANCELLED; verdict++)
		failed |= json_object_set_new(runs, ticket_verdict_name(verdict), json_integer((json_int_t)picture->figures.runs[verdict])) < 0;
	if (!failed)
		return runs;
	json_decref(runs);
	return NULL;
}

static json_t *nodes_json(const struct picture *picture)
{
	struct telling telling = {.nodes = json_array()};

	if (telling.nodes != NULL)
		picture_each(picture, tell_json, &telling);
	if (!telling.failed)
		return telling.nodes;
	json_decref(telling.nodes);
	return NULL;
}

static json_t *callback_json(const struct safestart *ss, const struct picture *picture)
{
	if (picture->guest.what == NULL)
		return json_null();
	return json_pack("{s:s,s:I,s:f,s:b}", "name", picture->guest.what, "run", (json_int_t)picture->guest.run, "seconds",
			 seconds(picture->now - picture->guest.since), "wedged", is_wedged(ss, picture));
}

static json_t *run_json(const struct picture *picture)
{
	if (picture->run == 0)
		return json_null();
	return json_pack("{s:I,s:f,s:s,s:b}", "number", (json_int_t)picture->run, "seconds", seconds(picture->now - picture->figures.run_started), "phase",
			 picture->phase, "later", picture->later);
}

static json_t *next_run_json(const struct picture *picture)
{
	if (picture->figures.next_start == GATE_NEVER || picture->shut)
		return json_null();
	return json_real(seconds(picture->figures.next_start > picture->now ? picture->figures.next_start - picture->now : 0));
}

static json_t *oldest_reader_json(const struct picture *picture)
{
	if (picture->oldest_since == 0)
		return json_null();
	return json_pack("{s:I,s:f,s:s}", "generation", (json_int_t)picture->oldest_generation, "seconds", seconds(picture->now - picture->oldest_since), "by",
			 picture->oldest_borrowed ? "borrower" : "owner");
}

static json_t *lock_json(const struct settings *settings, const struct picture *picture)
{
	static const char *const names[] = {[EXCLUSIVE_FREE] = "free", [EXCLUSIVE_HELD] = "held", [EXCLUSIVE_WAITING] = "waiting"};
	const struct exclusive_picture *lock = &picture->lock;
	char path[512], holder[LOCK_HOLDER_SIZE];

	why_copy(path, sizeof(path), settings->lock);
	why_copy(holder, sizeof(holder), lock->holder);
	if (lock->state == EXCLUSIVE_HELD) {
		why_say(holder, sizeof(holder), 0, "%.80s (pid %ld)", settings->name, (long)getpid());
		why_clean(holder);
	}
	return json_pack("{s:s,s:s,s:f,s:s}", "path", path, "state", names[lock->state], "since_seconds",
			 lock->state != EXCLUSIVE_FREE ? seconds(picture->now - lock->since) : 0.0, "holder", holder);
}

static json_t *status(struct safestart *ss, const struct picture *picture)
{
	const struct settings *settings = handle_settings(ss);
	char line[512], name[256], text[512], digest[PICTURE_DIGEST_SIZE], desired_digest[PICTURE_DIGEST_SIZE];
	json_t *root = json_object();
	int failed = 0;

	summary(settings, picture, line, sizeof(line));
	why_copy(name, sizeof(name), settings->name); /* whatever the host called them, JSON wants UTF-8 */
	why_copy(text, sizeof(text), settings->source);
	failed |= json_object_set_new(root, "summary", json_string(line));
	failed |= json_object_set_new(root, "name", json_string(name));
	failed |= json_object_set_new(root, "version", json_string(safestart_version()));
	failed |= json_object_set_new(root, "pid", json_integer(getpid()));
	failed |= json_object_set_new(root, "serves", json_boolean(settings->serves));
	failed |= json_object_set_new(root, "shut_down", json_boolean(picture->shut));
	failed |= json_object_set_new(root, "source", json_string(text));
	failed |= json_object_set_new(root, "generation", json_integer((json_int_t)picture->live->generation));
	picture_digests(picture, digest, desired_digest);
	failed |= json_object_set_new(root, "digest", json_string(digest));
	failed |= json_object_set_new(root, "desired_digest", picture->desired != NULL ? json_string(desired_digest) : json_null());
	failed |= json_object_set_new(root, "behind_seconds", json_real(behind(picture)));
	failed |= json_object_set_new(root, "requests", json_integer((json_int_t)picture->requests));
	failed |= json_object_set_new(root, "runs", runs_json(picture));
	failed |= json_object_set_new(root, "nodes", nodes_json(picture));
	failed |= json_object_set_new(root, "callback", callback_json(ss, picture));
	failed |= json_object_set_new(root, "last", picture->any ? picture_outcome_json(&picture->last) : json_null());
	failed |= json_object_set_new(root, "run", run_json(picture));
	failed |= json_object_set_new(root, "unfinished_later", json_integer(picture->unfinished));
	failed |= json_object_set_new(root, "next_run_in_seconds", next_run_json(picture));
	failed |= json_object_set_new(root, "oldest_reader", oldest_reader_json(picture));
	why_copy(text, sizeof(text), settings->last_good != NULL ? settings->last_good : "");
	if (settings->last_good != NULL)
		failed |= json_object_set_new(root, "last_good", json_pack("{s:s,s:s}", "path", text, "error", picture->figures.keep_error));
	if (settings->lock != NULL)
		failed |= json_object_set_new(root, "lock", lock_json(settings, picture));
	if (failed == 0)
		return root;
	json_decref(root);
	return NULL;
}

char *safestart_status_json(struct safestart *ss)
{
	struct picture picture;
	char *text;

	if (ss == NULL || fork_revive(ss) < 0 || picture_take(ss, &picture) < 0)
		return NULL;
	json_t *root = status(ss, &picture);
	picture_drop(&picture);
	text = json_text(root);
	json_decref(root);
	return text;
}

/* ---- Prometheus ---- */

static void tell_count(const struct picture *picture, const char *id, const struct safestart_node *node, void *counts)
{
	(void)node;
	((size_t *)counts)[picture_node_state(picture, id, NULL, 0)]++;
}

static void metric(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP safestart_%s %s\n# TYPE safestart_%s %s\n", name, help, name, type);
}

/* In a label value only these three need escaping. */
static void escape(const char *from, char *to, size_t size)
{
	size_t length = 0;

	for (; *from != '\0' && length + 3 < size; from++) {
		char character = *from;
		if (character == '\\' || character == '"' || character == '\n')
			to[length++] = '\\';
		if (character == '\n')
			character = 'n';
		to[length++] = character;
	}
	to[length] = '\0';
}

/* printf's %f writes the host's locale's decimal comma; whole milliseconds need none of it. */
static void print_seconds(FILE *to, const char *metric_name, const char *name, int64_t ns)
{
	long long ms = ns > 0 ? ns / 1000000 : 0;

	fprintf(to, "safestart_%s{name=\"%s\"} %lld.%03lld\n", metric_name, name, ms / 1000, ms % 1000);
}

static void print_metrics(FILE *to, const struct safestart *ss, const struct picture *picture)
{
	size_t counts[PICTURE_STATES] = {0};
	char clean[256], name[2 * sizeof(clean)];

	why_copy(clean, sizeof(clean), handle_settings(ss)->name); /* as above: a scrape that is not UTF-8 is refused whole */
	escape(clean, name, sizeof(name));
	picture_each(picture, tell_count, counts);
	metric(to, "generation", "gauge", "Number of the live generation of nodes.");
	fprintf(to, "safestart_generation{name=\"%s\"} %llu\n", name, (unsigned long long)picture->live->generation);
	metric(to, "set_info", "gauge", "1, with the digest of the live set: processes that have the same nodes have the same digest.");
	if (picture->live->generation > 0) {
		char digest[PICTURE_DIGEST_SIZE], desired[PICTURE_DIGEST_SIZE];
		picture_digests(picture, digest, desired);
		fprintf(to, "safestart_set_info{name=\"%s\",digest=\"%s\"} 1\n", name, digest);
	}
	metric(to, "behind_seconds", "gauge", "How long the desired set has not been live; 0: it is.");
	print_seconds(to, "behind_seconds", name, picture->figures.behind_since != 0 ? picture->now - picture->figures.behind_since : 0);
	metric(to, "nodes", "gauge", "Nodes by state.");
	for (int state = SAFESTART_NODE_ANNOUNCED; state < PICTURE_STATES; state++)
		fprintf(to, "safestart_nodes{name=\"%s\",state=\"%s\"} %zu\n", name, picture_state_name(state), counts[state]);
	metric(to, "runs_total", "counter", "Runs that have ended, by verdict.");
	for (int verdict = SAFESTART_APPLIED; verdict <= SAFESTART_CANCELLED; verdict++)
		fprintf(to, "safestart_runs_total{name=\"%s\",verdict=\"%s\"} %llu\n", name, ticket_verdict_name(verdict), (unsigned long long)picture->figures.runs[verdict]);
	metric(to, "requests_total", "counter", "Requests accepted.");
	fprintf(to, "safestart_requests_total{name=\"%s\"} %llu\n", name, (unsigned long long)picture->requests);
	metric(to, "oldest_reader_seconds", "gauge", "How long the oldest replaced generation has been held by a reader; 0: none is.");
	print_seconds(to, "oldest_reader_seconds", name, picture->oldest_since != 0 ? picture->now - picture->oldest_since : 0);
	if (handle_settings(ss)->lock != NULL) {
		metric(to, "lock_waiting_seconds", "gauge", "How long a run has been waiting for the lock between processes; 0: none is.");
		print_seconds(to, "lock_waiting_seconds", name, picture->lock.state == EXCLUSIVE_WAITING ? picture->now - picture->lock.since : 0);
	}
	metric(to, "wedged_callbacks", "gauge", "Callbacks inside for longer than run_timeout, and LATER runs past their end that are not finished.");
	fprintf(to, "safestart_wedged_callbacks{name=\"%s\"} %u\n", name, picture->unfinished + is_wedged(ss, picture));
}

char *safestart_metrics_text(struct safestart *ss)
{
	struct picture picture;
	char *text = NULL;
	size_t size;

	if (ss == NULL || fork_revive(ss) < 0)
		return NULL;
	FILE *to = open_memstream(&text, &size);
	if (to == NULL)
		return NULL;
	int error = picture_take(ss, &picture);
	if (error == 0) {
		print_metrics(to, ss, &picture);
		picture_drop(&picture);
	}
	if (ferror(to))
		error = -ENOMEM;
	if (fclose(to) != 0)
		error = -ENOMEM;
	if (error < 0) {
		free(text);
		return NULL;
	}
	return text;
}
