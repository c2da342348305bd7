/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* complete: offers verbs, options, names and nodes. Runs on every press of the tab key: prints no
 * message, waits at most half a second, changes nothing. */
#include "verbs/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "files/file_sd.h"
#include "hosts/processes.h"

#define ANSWER_TIMEOUT INT64_C(500000000)

static void offer(const char *word, const char *meaning)
{
	/* A word that would need quoting is not offered. */
	if (strpbrk(word, " \t\n'\"\\$`") == NULL)
		printf("%s\t%s\n", word, meaning);
}

static void offer_verbs(const struct verb *const *verbs)
{
	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if ((*verb)->help != NULL)
			offer((*verb)->name, (*verb)->help);
	}
}

static void offer_options(const struct verb *verb)
{
	char word[64];

	for (const struct option_row *row = verb->options; row != NULL && row->name != NULL;
	     row++) {
		snprintf(word, sizeof(word), "--%s", row->name);
		offer(word, row->help);
	}
	offer("--help", "explain the verb, with examples");
}

/* Each name once: the list is sorted by name. */
static void offer_names(void)
{
	struct processes processes;

	if (processes_list(&processes, options_control(), NULL) < 0)
		return;
	for (size_t i = 0; i < processes.count; i++) {
		if (i == 0 || strcmp(processes.peers[i - 1].name, processes.peers[i].name) != 0)
			offer(processes.peers[i].name, "");
	}
	processes_free(&processes);
}

/* The nodes of the file that the verb edits; without a file, the nodes that processes report. */
static void offer_nodes(const char *file)
{
	json_t *ids = json_object(), *value, *node;
	struct file_sd file_sd;
	struct file_sd_entry entry = {0};
	struct processes processes;
	const char *id;
	size_t index;

	if (file != NULL && file_sd_open(&file_sd, file, NULL) == 0) {
		while (file_sd_next(&file_sd, &entry))
			json_object_set_new(ids, entry.id, json_string(entry.address));
		file_sd_close(&file_sd);
	} else if (file == NULL && processes_list(&processes, options_control(), NULL) == 0) {
		(void)processes_ask(&processes, json_pack("{s:s}", "do", "nodes"), ANSWER_TIMEOUT);
		for (size_t i = 0; i < processes.count; i++) {
			json_array_foreach(json_object_get(processes.peers[i].answer, "nodes"),
					   index, node)
				json_object_set(ids, member_text(node, "id"),
						json_object_get(node, "address"));
		}
		processes_free(&processes);
	}
	json_object_foreach(ids, id, value)
		offer(id, json_is_string(value) ? json_string_value(value) : "");
	json_decref(ids);
}

/* What to offer follows from the name of the argument in the help. */
static void offer_argument(const struct verb *const *verbs, const char *called, size_t length,
			   const char *file)
{
	char what[32];

	snprintf(what, sizeof(what), "%.*s", (int)length, called);
	if (strcmp(what, "NAME") == 0)
		offer_names();
	else if (strcmp(what, "NODE") == 0 || strcmp(what, "ID") == 0)
		offer_nodes(file);
	else if (strcmp(what, "FILE") == 0 || strcmp(what, "PATH") == 0)
		puts("@files\t");
	else if (strcmp(what, "DIR") == 0)
		puts("@directories\t");
	else if (strcmp(what, "COMMAND") == 0)
		puts("@commands\t");
	else if (strcmp(what, "VERB") == 0)
		offer_verbs(verbs);
}

/* The nth argument of "ID ADDRESS"; the last one if it may be repeated. */
static void offer_place(const struct verb *const *verbs, const struct verb *verb, size_t place,
			const char *file)
{
	const char *at = verb->arguments != NULL ? verb->arguments : "";

	for (;;) {
		at += strspn(at, " []");
		size_t length = strcspn(at, " []."), whole = strcspn(at, " ]");
		if (at[0] == '\0')
			return;
		if (strncmp(at, "--", 2) == 0) { /* "[--] COMMAND": "--" is optional */
			at += whole;
			continue;
		}
		bool repeats = strncmp(at + length, "...", 3) == 0;
		if (place == 0 || repeats) {
			offer_argument(verbs, at, length, file);
			return;
		}
		place--;
		at += whole;
	}
}

static const struct option_row *find_option(const struct verb *verb, const char *word)
{
	for (const struct option_row *row = verb->options; row != NULL && row->name != NULL;
	     row++) {
		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, row->name) == 0)
			return row;
	}
	return NULL;
}

/* `words`: what follows the verb; the last one is being typed. */
static void complete_verb(const struct verb *const *verbs, const struct verb *verb, int count,
			  char **words)
{
	bool edits = find_option(verb, "--file") != NULL;
	/* Nothing here sets the environment. NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *file = edits ? getenv("SAFESTART_NODES") : NULL;
	size_t place = 0;

	for (int i = 0; i + 1 < count; i++) {
		const struct option_row *row = find_option(verb, words[i]);
		if (strcmp(words[i], "--") == 0) {
			puts(strcmp(verb->name, "run") == 0 ? "@commands\t" : "@files\t");
			return;
		}
		place += words[i][0] != '-';
		if (row == NULL || row->argument == NULL)
			continue;
		if (i + 2 == count) {
			offer_argument(verbs, row->argument, strlen(row->argument), file);
			return;
		}
		i++;
		if (strcmp(row->name, "control") == 0)
			common.control = words[i];
		if (strcmp(row->name, "file") == 0)
			file = words[i];
	}
	if (words[count - 1][0] == '-')
		offer_options(verb);
	else
		offer_place(verbs, verb, place, file);
}

void complete(const struct verb *const *verbs, int argc, char **argv)
{
	if (argc <= 2) {
		offer_verbs(verbs);
		offer("--help", "list the verbs");
		offer("--version", "print the version");
		return;
	}
	for (const struct verb *const *verb = verbs; *verb != NULL; verb++) {
		if (strcmp((*verb)->name, argv[1]) == 0 && (*verb)->help != NULL)
			complete_verb(verbs, *verb, argc - 2, argv + 2);
	}
}
