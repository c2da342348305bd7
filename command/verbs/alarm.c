/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* alarm: decides which nodes are unannounced, missing or returned, and prints and counts that. Main
 * thread of the monitor; reads no file and probes nothing, the prober has the results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "files/replace.h"
#include "verbs/monitor.h"

enum kind {
	KIND_NONE,
	KIND_UNANNOUNCED,
	KIND_MISSING,
	KIND_RETURNED /* drained, but in the node file: another program has written it back */
};

static const char *const kinds[] = {"fine", "unannounced", "missing", "returned"};

/* A verb writes the node file and the notes one after the other: for a moment, while it does, a
 * node is in both. */
#define RETURNED_AFTER INT64_C(1000000000)

struct alarm {
	char *id;
	enum kind kind;
	int64_t since;
	bool raised;
	bool seen; /* in this evaluation */
};

const char *monitor_address(const struct monitor *monitor, const char *id)
{
	const char *announced = json_string_value(json_object_get(monitor->announced, id));

	return announced != NULL ? announced
				 : json_string_value(json_object_get(monitor->expected, id));
}

/* The id under which that address is announced; NULL: none. */
static const char *announced_as(const struct monitor *monitor, const char *address)
{
	const char *id;
	json_t *its;

	json_object_foreach(monitor->announced, id, its) {
		if (strcmp(json_string_value(its), address) == 0)
			return id;
	}
	return NULL;
}

/* ---- Messages ---- */

static void print_alarm_json(const struct alarm *alarm, const char *address, const char *why,
			     const json_t *note, int64_t now, bool begins)
{
	json_t *drain =
		note == NULL
			? NULL
			: json_pack("{s:s,s:s,s:s}", "until", member_text(note, "until"), "by",
				    member_text(note, "by"), "reason", member_text(note, "reason"));

	(void)print_json(json_pack("{s:s,s:b,s:s,s:s*,s:s*,s:f,s:o*}", "alarm", kinds[alarm->kind],
				   "begins", begins, "id", alarm->id, "address", address, "why",
				   why[0] != '\0' ? why : NULL, "seconds",
				   (double)(now - alarm->since) / 1e9, "drain", drain),
			 0);
}

/* The node was out on purpose, and whether the work on it is done is not known here. */
static void print_unannounced(const struct monitor *monitor, const char *id, const char *address,
			      const json_t *note)
{
	printf("unannounced: %s answers at %s and is expected, but is not in %s: no server uses it",
	       id, address, monitor->file);
	if (note != NULL) {
		fputs("; its drain ended at ", stdout);
		text_print(member_text(note, "until"));
		fputs(": ", stdout);
		text_print(member_text(note, "reason"));
		fputs(", by ", stdout);
		text_print(member_text(note, "by"));
		printf(". Next: if that is not finished: safestart drain %s --for 30m --reason "
		       "'...' --file %s; else: ",
		       id, monitor->file);
	} else {
		fputs(". Next: ", stdout);
	}
	printf("safestart announce %s %s --file %s\n", id, address, monitor->file);
}

static void print_returned(const struct monitor *monitor, const char *id, const char *address,
			   const json_t *note)
{
	char words[DRAINS_WORDS_SIZE];

	drains_words(note, words);
	printf("returned: %s is ", id);
	text_print(words);
	printf(", but in the file %s: the servers use it. Next: find the program that wrote it "
	       "back, and: safestart drain %s --for 30m --reason '...' --file %s; if it is back: "
	       "safestart announce %s %s --file %s\n",
	       monitor->file, id, monitor->file, id, address, monitor->file);
}

/* One line when an alarm begins and one when it ends, with the command that ends it. Only the begin
 * names an announcement under another id. */
static void print_alarm(const struct monitor *monitor, const struct alarm *alarm, int64_t now,
			bool begins)
{
	const char *address = monitor_address(monitor, alarm->id);
	const char *other = begins && alarm->kind == KIND_UNANNOUNCED && address != NULL
				    ? announced_as(monitor, address)
				    : NULL;
	char *id = text_clean(alarm->id), *at = text_clean(address != NULL ? address : ""),
	     *as = text_clean(other != NULL ? other : "");
	struct duration span = text_duration((double)(now - alarm->since) / 1e9);
	const json_t *note = drains_note(&monitor->drains, alarm->id);
	struct probed probed;

	prober_result(monitor->prober, address != NULL ? address : "", &probed);
	if (other != NULL) /* it answers, so there is no reason yet */
		snprintf(probed.why, sizeof(probed.why), "announced with another id: %.100s",
			 other);

	if (monitor->quiet || id == NULL || at == NULL || as == NULL)
		;
	else if (monitor->json)
		print_alarm_json(alarm, address, probed.why, note, now, begins);
	else if (!begins)
		printf("no longer %s: %s, after %s\n", kinds[alarm->kind], id, span.text);
	else if (other != NULL) /* announcing it too would make two nodes of one */
		printf("unannounced: %s answers at %s and is expected, but %s has that address "
		       "with another id, %s. Next: use the same id in both files\n",
		       id, at, monitor->file, as);
	else if (alarm->kind == KIND_UNANNOUNCED)
		print_unannounced(monitor, id, at, note);
	else if (alarm->kind == KIND_RETURNED)
		print_returned(monitor, id, at, note);
	else
		printf("missing: %s is announced, but does not answer at %s: %s. Next: check the "
		       "node, or: safestart drain %s --for 30m --reason '...' --file %s\n",
		       id, at, probed.why, id, monitor->file);
	free(id);
	free(at);
	free(as);
}

/* ---- Evaluating ---- */

static struct alarm *find_alarm(const struct monitor *monitor, const char *id)
{
	for (size_t i = 0; i < monitor->alarm_count; i++) {
		if (strcmp(monitor->alarms[i].id, id) == 0)
			return &monitor->alarms[i];
	}
	return NULL;
}

/* An alarm that is not raised yet. NULL: no memory. */
static struct alarm *new_alarm(struct monitor *monitor, const char *id)
{
	struct alarm *alarms =
		realloc(monitor->alarms, (monitor->alarm_count + 1) * sizeof(*alarms));
	char *copy = strdup(id);

	if (alarms != NULL)
		monitor->alarms = alarms;
	if (alarms == NULL || copy == NULL) {
		free(copy);
		return NULL; /* the next evaluation tries again */
	}
	alarms[monitor->alarm_count] = (struct alarm){.id = copy};
	return &alarms[monitor->alarm_count++];
}

/* Decides for one expected node. An alarm is pending from the first evaluation that finds it, and
 * raised after --after. Draining nodes are never unannounced. */
static void evaluate_node(struct monitor *monitor, const char *id, int64_t now, time_t wall)
{
	struct probed probed;

	prober_result(monitor->prober, monitor_address(monitor, id), &probed);
	bool announced = json_object_get(monitor->announced, id) != NULL,
	     drained = drains_find(&monitor->drains, id, wall) != NULL,
	     draining = !announced && drained;
	enum kind kind = KIND_NONE;
	if (announced && drained)
		kind = KIND_RETURNED; /* whether it answers or not */
	else if (probed.times > 0 && announced)
		kind = probed.answers ? KIND_NONE : KIND_MISSING;
	else if (probed.times > 0 && probed.answers && !draining)
		kind = KIND_UNANNOUNCED;
	struct alarm *alarm = find_alarm(monitor, id);

	monitor->figures.reachable += probed.answers;
	monitor->figures.draining += draining;
	/* Not probed yet at its new address: the alarm stays as it is. */
	if (alarm != NULL && probed.times == 0 && kind == KIND_NONE) {
		alarm->seen = true;
		return;
	}
	if (alarm != NULL && alarm->kind != kind) {
		if (alarm->raised)
			print_alarm(monitor, alarm, now, false);
		*alarm = (struct alarm){.id = alarm->id};
	}
	if (kind == KIND_NONE || (alarm == NULL && (alarm = new_alarm(monitor, id)) == NULL))
		return;
	if (alarm->kind == KIND_NONE)
		*alarm = (struct alarm){.id = alarm->id, .kind = kind, .since = now};
	alarm->seen = true;
	int64_t after = kind == KIND_RETURNED && monitor->after < RETURNED_AFTER ? RETURNED_AFTER
										 : monitor->after;
	monitor->undecided |= kind == KIND_RETURNED && now - alarm->since < after;
	if (!alarm->raised && now - alarm->since >= after) {
		alarm->raised = true;
		print_alarm(monitor, alarm, now, true);
	}
}

/* Ends the alarms of nodes that are well again, or no longer expected. */
static void drop_ended(struct monitor *monitor, int64_t now)
{
	size_t kept = 0;

	for (size_t i = 0; i < monitor->alarm_count; i++) {
		struct alarm *alarm = &monitor->alarms[i];
		if (alarm->seen) {
			alarm->seen = false;
			monitor->figures.unannounced +=
				alarm->raised && alarm->kind == KIND_UNANNOUNCED;
			monitor->figures.missing += alarm->raised && alarm->kind == KIND_MISSING;
			monitor->figures.returned += alarm->raised && alarm->kind == KIND_RETURNED;
			monitor->alarms[kept++] = *alarm;
			continue;
		}
		if (alarm->raised)
			print_alarm(monitor, alarm, now, false);
		free(alarm->id);
	}
	monitor->alarm_count = kept;
}

void monitor_evaluate(struct monitor *monitor, int64_t now, time_t wall)
{
	const char *id;
	json_t *address;

	memset(&monitor->figures, 0, sizeof(monitor->figures));
	monitor->undecided = false;
	monitor->figures.expected = (unsigned)json_object_size(monitor->expected);
	json_object_foreach(monitor->expected, id, address)
		evaluate_node(monitor, id, now, wall);
	drop_ended(monitor, now);
}

/* ---- For programs ---- */

json_t *monitor_json(const struct monitor *monitor)
{
	json_t *lists[] = {NULL, json_array(), json_array(), json_array()};

	for (size_t i = 0; i < monitor->alarm_count; i++) {
		if (monitor->alarms[i].raised)
			json_array_append_new(lists[monitor->alarms[i].kind],
					      json_string(monitor->alarms[i].id));
	}
	return json_pack("{s:i,s:i,s:i,s:o,s:o,s:o}", "expected", (int)monitor->figures.expected,
			 "reachable", (int)monitor->figures.reachable, "draining",
			 (int)monitor->figures.draining, "unannounced", lists[KIND_UNANNOUNCED],
			 "missing", lists[KIND_MISSING], "returned", lists[KIND_RETURNED]);
}

/* Only these three characters need escaping in a label value. */
static void print_label(FILE *to, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', to);
		fputs(*text == '\n' ? "\\n" : (char[]){*text, '\0'}, to);
	}
}

static void print_alarms(FILE *to, const struct monitor *monitor, enum kind kind, const char *help)
{
	fprintf(to, "# HELP safestart_monitor_%s %s\n# TYPE safestart_monitor_%s gauge\n",
		kinds[kind], help, kinds[kind]);
	for (size_t i = 0; i < monitor->alarm_count; i++) {
		const struct alarm *alarm = &monitor->alarms[i];
		if (!alarm->raised || alarm->kind != kind)
			continue;
		fprintf(to, "safestart_monitor_%s{id=\"", kinds[kind]);
		print_label(to, alarm->id);
		fputs("\"} 1\n", to);
	}
}

static void print_metrics(FILE *to, const struct monitor *monitor)
{
	const struct {
		const char *state;
		unsigned count;
	} rows[] = {{"expected", monitor->figures.expected},
		    {"reachable", monitor->figures.reachable},
		    {"unannounced", monitor->figures.unannounced},
		    {"missing", monitor->figures.missing},
		    {"draining", monitor->figures.draining},
		    {"returned", monitor->figures.returned}};

	fputs("# HELP safestart_monitor_nodes Nodes of the inventory by state.\n# TYPE "
	      "safestart_monitor_nodes gauge\n",
	      to);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		fprintf(to, "safestart_monitor_nodes{state=\"%s\"} %u\n", rows[i].state,
			rows[i].count);
	print_alarms(to, monitor, KIND_UNANNOUNCED,
		     "1 for each node that answers and is expected but not announced.");
	print_alarms(to, monitor, KIND_MISSING,
		     "1 for each node that is announced but does not answer.");
	print_alarms(to, monitor, KIND_RETURNED,
		     "1 for each node that is drained but in the node file.");
	fprintf(to,
		"# HELP safestart_monitor_files_readable Whether the inventory, the node file and "
		"its notes of drained nodes could be read.\n# TYPE "
		"safestart_monitor_files_readable gauge\n"
		"safestart_monitor_files_readable %d\n",
		monitor->inventory_ok && monitor->file_ok && monitor->drains_ok);
	fprintf(to,
		"# HELP safestart_monitor_time_seconds When this was written; an old time means "
		"that the monitor is not running.\n# TYPE safestart_monitor_time_seconds gauge\n"
		"safestart_monitor_time_seconds %lld\n",
		(long long)time(NULL));
}

/* Replaced as a whole, so that node_exporter never reads half a file. */
int monitor_write_metrics(const struct monitor *monitor, const char *path)
{
	struct stat like = {.st_mode = 0644, .st_uid = geteuid(), .st_gid = getegid()};
	char *text = NULL, *here = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (to != NULL)
		print_metrics(to, monitor);
	if (to == NULL || fclose(to) != 0 ||
	    asprintf(&here, "%s%s", strchr(path, '/') == NULL ? "./" : "", path) < 0) {
		free(text);
		return report(EXIT_FAILED, "out of memory");
	}
	int code = replace_other(here, -1, &like, text, size);
	free(here);
	free(text);
	return code;
}

void monitor_end(struct monitor *monitor)
{
	for (size_t i = 0; i < monitor->alarm_count; i++)
		free(monitor->alarms[i].id);
	free(monitor->alarms);
	json_decref(monitor->expected);
	json_decref(monitor->announced);
	drains_free(&monitor->drains);
	free(monitor->file_real);
	free(monitor->file_seen.file.text);
	free(monitor->inventory_seen.file.text);
}
