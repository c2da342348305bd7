/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* drain: takes a node out of the node file for a while, with a note, so that the monitor raises no
 * alarm, and only if enough nodes stay available. Holds the lock of the file over the check and the
 * change. */
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "files/desired.h"
#include "files/drains.h"
#include "files/file_sd.h"
#include "hosts/barrier.h"
#include "verbs/edit.h"
#include "verbs/verbs.h"

static struct barrier barrier = {.timeout = BARRIER_TIMEOUT, .gone = true};
static struct edit edit;
static const char *reason;
static int64_t duration;
static unsigned min_available;
static bool wait;

static const struct option_row options[] = {
	OPTION_EDIT(edit),
	{"for", "TIME", OPTION_DURATION, &duration,
	 "raise no alarm for so long, such as 30m; required"},
	{"reason", "TEXT", OPTION_TEXT, &reason,
	 "the reason, for those who find the node missing; required"},
	{"min-available", "M", OPTION_COUNT, &min_available,
	 "refuse if fewer than M nodes would stay available"},
	{"wait", NULL, OPTION_FLAG, &wait,
	 "wait until no process has it, or holds an old set with it"},
	OPTION_BARRIER(barrier),
	OPTION_CONTROL,
	OPTION_JSON,
	OPTION_END,
};

/* "; riak-1 is not available: api 4312: applied, not proven: …" */
static void format_lacking(const char *id, const json_t *lacking, char *words, size_t size)
{
	const json_t *one = json_array_get(lacking, 0);
	const char *process = member_text(one, "process");

	snprintf(words, size, "; %.100s is not available: %.60s%s%s: %.300s", id,
		 member_text(one, "name"), process[0] != '\0' ? " " : "", process,
		 member_text(one, "why"));
}

/* Counts nodes that are announced and available as safestart wait defines it [P22], up to
 * min_available; describes the first one that is not in `words`. Another drain waits for the lock
 * of the file meanwhile, and then finds one node less in it. */
static unsigned count_available(const struct file_sd *file_sd, const char *but,
				const struct roster *roster, const struct processes *processes,
				const json_t *digests, char *words, size_t size)
{
	struct file_sd_entry entry = {0};
	unsigned available = 0;

	words[0] = '\0';
	while (available < min_available && file_sd_next(file_sd, &entry)) {
		struct barrier one = {.node = entry.id,
				      .entry = member_text(digests, entry.id),
				      .applied = barrier.applied};
		if (strcmp(entry.id, but) == 0)
			continue;
		json_t *lacking = json_array();
		if (barrier_check(&one, roster, processes, lacking) == 0)
			available++;
		else if (words[0] == '\0')
			format_lacking(entry.id, lacking, words, size);
		json_decref(lacking);
	}
	return available;
}

/* Under the lock of the node file, so that two drains cannot both count the same nodes. */
static int check_available(const struct file_sd *file_sd, const char *id)
{
	struct roster roster;
	struct processes processes;
	size_t length;
	int code = roster_read(&roster, &barrier.roster, options_control(), !barrier.no_roster);

	if (code == EXIT_ROSTER && barrier.no_roster)
		code = 0;
	if (code == 0)
		code = processes_find(&processes, options_control(), NULL);
	if (code != 0) {
		roster_free(&roster);
		return code;
	}
	char *text = file_sd_text(file_sd, &length);
	json_t *digests = text != NULL ? desired_digests(text) : NULL;
	free(text);
	if (digests == NULL ||
	    processes_ask(&processes, json_pack("{s:s}", "do", "nodes"), PROCESSES_TIMEOUT) < 0) {
		code = report(EXIT_FAILED, "out of memory");
	} else {
		char words[600];
		unsigned available = count_available(file_sd, id, &roster, &processes, digests,
						     words, sizeof(words));
		if (available < min_available)
			code = report(EXIT_REFUSED,
				      "without %s only %u node%s would be available, but %u are "
				      "required; nothing was changed%s",
				      id, available, available == 1 ? "" : "s", min_available,
				      words);
	}
	json_decref(digests);
	processes_free(&processes);
	roster_free(&roster);
	return code;
}

static void print_drained(const struct file_sd *file_sd, const struct drains *drains,
			  const char *id)
{
	text_print(id);
	fputs(file_sd->changed ? " is withdrawn from " : " was already withdrawn from ", stdout);
	text_print(file_sd->file.path);
	fputs("; no alarm before ", stdout);
	text_print(json_string_value(json_object_get(drains_note(drains, id), "until")));
	printf("; to bring it back: safestart announce ");
	text_print(id);
	const char *address =
		json_string_value(json_object_get(drains_note(drains, id), "address"));
	fputs(" ", stdout);
	text_print(address != NULL ? address : "ADDRESS");
	putchar('\n');
}

/* A node that is drained already may be drained again; then only the note changes. */
static int drain_locked(struct file_sd *file_sd, struct drains *drains, const char *id,
			json_t *result)
{
	struct file_sd_entry entry;
	bool there = file_sd_find(file_sd, id, &entry);

	if (!there && drains_note(drains, id) == NULL)
		return report(EXIT_FAILED,
			      "there is no node \"%s\" in %s; for the list: safestart nodes", id,
			      file_sd->file.path);
	int code = there && min_available > 0 ? check_available(file_sd, id) : 0;
	if (code != 0)
		return code;
	if (!drains_set(drains, id, there ? &entry : NULL,
			time(NULL) + (time_t)(duration / 1000000000), reason) ||
	    !file_sd_remove(file_sd, id))
		return report(EXIT_FAILED, "out of memory");
	code = edit_finish(file_sd, drains, true, result);
	json_object_set(result, "until", json_object_get(drains_note(drains, id), "until"));
	if (code == 0 && !common.json)
		print_drained(file_sd, drains, id);
	return code;
}

static int drain(const char *id, json_t *result)
{
	struct file_sd file_sd;
	struct drains drains;
	int code;

	if (!edit_begin(&file_sd, &drains, &edit, true, &code))
		return code;
	code = drain_locked(&file_sd, &drains, id, result);
	drains_free(&drains);
	file_sd_close(&file_sd);
	return code;
}

static int drain_main(int argc, char **argv)
{
	int first, code;

	if (!options_parse(&verb_drain, argc, argv, 1, 1, &first, &code))
		return code;
	if (duration <= 0 || reason == NULL || reason[0] == '\0')
		return report(EXIT_USAGE, "a drain needs a time and a reason, for those who find "
					  "the node missing: --for 30m --reason 'kernel update'");
	json_t *result = json_pack("{s:s,s:s}", "id", argv[first], "reason", reason);
	if (result == NULL)
		return report(EXIT_USAGE, "the id and the reason must be UTF-8");
	code = drain(argv[first], result);
	barrier.node = argv[first];
	if (code == 0 && wait)
		code = edit_wait(&barrier, "drain", result);
	return edit_print_result(result, code);
}

const struct verb verb_drain = {
	.name = "drain",
	.main = drain_main,
	.help = "take a node out for a limited time without an alarm",
	.arguments = "ID",
	.text = "Withdraws the node from the node file, and notes in FILE.draining beside it until "
		"when the node is out, why, and who drained it. The monitor raises no alarm until "
		"then. Announcing the node ends the drain, and gives it back the labels it had. "
		"Draining it again sets a new time; \"changed\" in the JSON is about the node "
		"file.\n\nWith --wait it ends when no process has the node any more, and no reader "
		"holds an old set with it: then the node can be switched off. With --min-available "
		"it changes nothing if fewer nodes than that would stay available, which means in "
		"use in every process of the roster.",
	.options = options,
	.examples = {"Before riak-3 is rebooted",
		     "safestart drain riak-3 --for 30m --reason 'kernel update' --wait",
		     "Only if at least 8 others are in use in every process",
		     "safestart drain riak-3 --for 30m --reason 'kernel update' --min-available 8 "
		     "--roster api=4 --wait"},
	.exits = {{0, "withdrawn; with --wait: and no process has it any more"},
		  {1,
		   "withdrawn, but a process still had it at the timeout; or the file is locked"},
		  {2, "usage error"},
		  {3, "refused: too few nodes would stay available, or the file is malformed; "
		      "unchanged"},
		  {4, "the file could not be changed; or no process could be asked"},
		  {6, "--min-available: there is no roster"}},
};
