/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* metrics: prints the metrics of every process as one exposition: each family once, each sample
 * with the label `process`. The text of a process is untrusted, and checked line by line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "hosts/processes.h"
#include "verbs/metrics.h"
#include "verbs/verbs.h"

struct family {
	char *name;
	char *head; /* its HELP and TYPE lines, from the first process that has it */
	FILE *to;   /* its samples, in `text` */
	char *text;
	size_t size;
};

struct exposition {
	struct family *families; /* in the order of their first sample */
	size_t count;
};

/* The family of that name, created if it is new. NULL: no memory. */
static struct family *family(struct exposition *exposition, const char *name, size_t length)
{
	for (size_t i = 0; i < exposition->count; i++) {
		if (strlen(exposition->families[i].name) == length &&
		    strncmp(exposition->families[i].name, name, length) == 0)
			return &exposition->families[i];
	}
	if (exposition->count % 64 == 0) {
		struct family *families =
			realloc(exposition->families, (exposition->count + 64) * sizeof(*families));
		if (families == NULL)
			return NULL;
		exposition->families = families;
	}
	struct family *new = &exposition->families[exposition->count];
	*new = (struct family){.name = strndup(name, length), .head = strdup("")};
	new->to = open_memstream(&new->text, &new->size);
	if (new->name == NULL || new->head == NULL || new->to == NULL) {
		free(new->name);
		free(new->head);
		if (new->to != NULL)
			fclose(new->to);
		free(new->text);
		return NULL;
	}
	exposition->count++;
	return new;
}

/* Keeps "# HELP name …" and "# TYPE name …" of the first process that sends them. */
static void take_comment(struct exposition *exposition, const char *line, size_t length)
{
	char kind[8];
	char *head;

	snprintf(kind, sizeof(kind), "%.7s", line);
	if (strcmp(kind, "# HELP ") != 0 && strcmp(kind, "# TYPE ") != 0)
		return;
	struct family *its = family(exposition, line + 7, strcspn(line + 7, " \n"));
	if (its == NULL || strstr(its->head, kind) != NULL)
		return;
	if (asprintf(&head, "%s%.*s\n", its->head, (int)length, line) >= 0) {
		free(its->head);
		its->head = head;
	}
}

/* `name{a="b"} 1` or `name 1` gets one more label, as the first. */
static void take_sample(struct exposition *exposition, const char *line, size_t length,
			const char *process)
{
	size_t name = strcspn(line, "{ \n");
	struct family *its = name < length ? family(exposition, line, name) : NULL;

	if (its == NULL)
		return;
	if (line[name] == '{')
		fprintf(its->to, "%.*s{process=\"%s\"%s%.*s\n", (int)name, line, process,
			line[name + 1] == '}' ? "" : ",", (int)(length - name - 1),
			line + name + 1);
	else
		fprintf(its->to, "%.*s{process=\"%s\"}%.*s\n", (int)name, line, process,
			(int)(length - name), line + name);
}

/* Valid metrics have no control characters, and none must reach a terminal. */
static bool is_clean(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == '\177')
			return false;
	}
	return true;
}

/* Sorts the lines of one process into families; lines with control characters are dropped. */
static void take_text(struct exposition *exposition, const char *text, const char *process)
{
	while (*text != '\0') {
		size_t length = strcspn(text, "\n");
		if (!is_clean(text, length))
			;
		else if (text[0] == '#')
			take_comment(exposition, text, length);
		else if (length > 0)
			take_sample(exposition, text, length, process);
		text += length + (text[length] == '\n');
	}
}

/* A process that does not answer has no other metrics, and an alert on a missing metric never
 * fires. */
static void add_answers_metric(struct exposition *exposition, const struct peer *peer)
{
	char name[256], *text;
	size_t length = 0;

	/* Only these two need escaping in a label value; a name contains no newline. */
	for (const char *from = peer->name; *from != '\0' && length + 3 < sizeof(name); from++) {
		if (*from == '\\' || *from == '"')
			name[length++] = '\\';
		name[length++] = *from;
	}
	name[length] = '\0';
	if (asprintf(&text,
		     "# HELP safestart_answers Whether the process answered when it was asked for "
		     "its metrics.\n# TYPE safestart_answers gauge\n"
		     "safestart_answers{name=\"%s\"} %d\n",
		     name, peer->state == PEER_ANSWERED) < 0)
		return;
	take_text(exposition, text, peer->process);
	free(text);
}

void metrics_print(FILE *to, const struct processes *processes)
{
	struct exposition exposition = {0};

	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		if (peer->state != PEER_GONE)
			add_answers_metric(&exposition, peer);
		if (peer->state == PEER_ANSWERED)
			take_text(&exposition, member_text(peer->answer, "metrics"), peer->process);
	}
	for (size_t i = 0; i < exposition.count; i++) {
		struct family *its = &exposition.families[i];
		if (fclose(its->to) == 0)
			fprintf(to, "%s%s", its->head, its->text);
		free(its->name);
		free(its->head);
		free(its->text);
	}
	free(exposition.families);
}

static int64_t timeout = PROCESSES_TIMEOUT;

static const struct option_row options[] = {
	OPTION_CONTROL,
	{"timeout", "TIME", OPTION_DURATION, &timeout, "how long to wait for answers (2s)"},
	OPTION_END,
};

static int metrics_main(int argc, char **argv)
{
	struct processes processes;
	int first, code;

	if (!options_parse(&verb_metrics, argc, argv, 0, 1, &first, &code))
		return code;
	code = processes_find(&processes, options_control(), first < argc ? argv[first] : NULL);
	if (code != 0)
		return code;
	bool ok = processes_ask(&processes, json_pack("{s:s}", "do", "metrics"), timeout) == 0;
	bool any = false;
	for (size_t i = 0; ok && i < processes.count; i++) {
		const struct peer *peer = &processes.peers[i];
		any |= peer->state != PEER_GONE;
		if (peer->state != PEER_ANSWERED && peer->state != PEER_GONE)
			code = report(EXIT_FAILED, "%s %s: %s", peer->name, peer->process,
				      peer->why);
	}
	if (ok && !any)
		code = report(EXIT_FAILED, "no process left to ask; are the servers running?");
	metrics_print(stdout, &processes);
	processes_free(&processes);
	return ok ? code : report(EXIT_FAILED, "out of memory");
}

const struct verb verb_metrics = {
	.name = "metrics",
	.main = metrics_main,
	.help = "print the metrics of every process in the Prometheus format",
	.arguments = "[NAME]",
	.text = "Prints the metrics of all processes (safestart_metrics_text()) as one exposition, "
		"with a label `process` added to every sample: for node_exporter's textfile "
		"collector, or for an HTTP server that runs this command. safestart_answers is 0 "
		"for a process that did not answer, and so has no other metrics.",
	.options = options,
	.examples = {"For node_exporter",
		     "safestart metrics >/var/lib/node_exporter/safestart.new; mv "
		     "/var/lib/node_exporter/safestart.new /var/lib/node_exporter/safestart.prom",
		     "Which processes are behind", "safestart metrics | grep behind_seconds"},
	.exits = {{0, "all processes answered"},
		  {2, "usage error"},
		  {4, "a process did not answer (the metrics of the others are printed), or no "
		      "process is running"}},
};
