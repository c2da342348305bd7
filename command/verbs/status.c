/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* status: prints a line for each name, then a row for each process. Asks the processes; removes
 * stale sockets after showing them for a while. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "hosts/processes.h"
#include "hosts/reference.h"
#include "hosts/roster.h"
#include "hosts/summary.h"
#include "verbs/drained.h"
#include "verbs/verbs.h"

static const char *state_name(enum peer_state state)
{
	static const char *const names[] = {"unasked", "answered", "gone",
					    "silent",  "refused",  "failed"};

	return names[state];
}

static bool strict;

/* A node that fails in every process is on the newest set all the same, and a killed process may
 * have a successor: neither is a failure unless it was asked for. */
static int code_of(const struct summary *summary)
{
	return strict && summary->failing + summary->gone > 0
		       ? exit_code_worse(summary->code, EXIT_NOT_YET)
		       : summary->code;
}

/* ---- For people ---- */

static void print_line(const char *name, const struct summary *summary)
{
	int code = code_of(summary);

	fputs(colour_on(code == EXIT_DONE                                  ? COLOUR_GOOD
			: code == EXIT_QUARANTINED || code == EXIT_NOT_YET ? COLOUR_WARN
									   : COLOUR_BAD),
	      stdout);
	text_print(name);
	fputs(":", stdout);
	fputs(colour_off(), stdout);
	putchar(' ');
	text_print(summary->line != NULL ? summary->line : "(out of memory)");
	if (summary->next[0] != '\0') {
		size_t length = summary->line != NULL ? strlen(summary->line) : 0;
		fputs(length > 0 && summary->line[length - 1] == '?' ? " Next: " : ". Next: ",
		      stdout);
		/* --force loses nodes: an operator must know that before running it. */
		if (strstr(summary->next, " --force ") != NULL)
			fputs("to apply it anyway: ", stdout);
		text_print(summary->next);
	}
	putchar('\n');
}

/* "10: 9 proven, 1 failing" */
static void format_nodes(const json_t *status, char *words, size_t size)
{
	static const char *const states[] = {"proven", "failing", "quarantined", "announced",
					     "retired"};
	size_t used = (size_t)snprintf(words, size, "%zu", status_nodes(status, NULL));
	const char *before = ": ";

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		size_t count = status_nodes(status, states[i]);
		if (count > 0 && used < size) {
			used += (size_t)snprintf(words + used, size - used, "%s%zu %s", before,
						 count, states[i]);
			before = ", ";
		}
	}
}

static void print_peer(struct table *table, const struct peer *peer, const struct summary *summary)
{
	static const enum colour colours[] = {COLOUR_PLAIN, COLOUR_WARN, COLOUR_FAINT, COLOUR_WARN,
					      COLOUR_BAD,   COLOUR_BAD,  COLOUR_BAD};
	const json_t *status =
		peer->state == PEER_ANSWERED ? json_object_get(peer->answer, "status") : NULL;
	char words[400], nodes[128] = "", number[64];
	enum trouble trouble = summary_peer(peer, summary, words, sizeof(words));
	bool has_set = member_number(status, "generation") > 0;

	if (status != NULL)
		format_nodes(status, nodes, sizeof(nodes));
	table_cell(table, trouble == TROUBLE_GONE ? COLOUR_FAINT : COLOUR_PLAIN, "%s", peer->name);
	peer_number(peer, number, sizeof(number));
	table_cell(table, colours[trouble], "%s", number);
	table_cell(table,
		   has_set && strcmp(member_text(status, "digest"), summary->full) == 0
			   ? COLOUR_GOOD
			   : COLOUR_WARN,
		   "%.*s", (int)summary->digits, has_set ? member_text(status, "digest") : "-");
	table_cell(table, COLOUR_PLAIN, "%s", nodes);
	/* Harmless until the process is started again. */
	const char *keep = member_text(json_object_get(status, "last_good"), "error");
	char ago[48] = "";
	if (peer->state == PEER_GONE && peer->gone_since != 0)
		snprintf(ago, sizeof(ago), "; found %s ago",
			 text_duration((double)(time(NULL) - peer->gone_since)).text);
	table_cell(table,
		   keep[0] != '\0' && trouble == TROUBLE_NONE ? COLOUR_WARN : colours[trouble],
		   "%s%s%s%s%s", words[0] != '\0' ? words : "ok", ago,
		   status != NULL && !member_bool(status, "serves", true) ? " (serves=no)" : "",
		   keep[0] != '\0' ? "; last_good file is not up to date: " : "", keep);
}

/* Processes with trouble come first. */
static void print_peers(struct table *table, const struct peer *peers, size_t count,
			const struct summary *summary)
{
	char words[400];

	for (int ok = 0; ok < 2; ok++) {
		for (size_t i = 0; i < count; i++) {
			if ((summary_peer(&peers[i], summary, words, sizeof(words)) ==
			     TROUBLE_NONE) == (ok == 1))
				print_peer(table, &peers[i], summary);
		}
	}
}

static unsigned expected_of(const struct roster *roster, const char *name)
{
	const struct roster_row *row = roster_find(roster, name);

	return row != NULL ? row->count : 0;
}

/* The next name on the roster, from *index on, of which no process is running [P22]; NULL: none.
 * Not if only one name was asked for. */
static const struct roster_row *next_absent(const struct roster *roster,
					    const struct processes *processes, bool all,
					    size_t *index)
{
	while (all && *index < roster->count) {
		const struct roster_row *row = &roster->rows[(*index)++];
		bool there = row->count == 0;
		for (size_t i = 0; !there && i < processes->count; i++)
			there = strcmp(processes->peers[i].name, row->name) == 0;
		if (!there)
			return row;
	}
	return NULL;
}

static int print_for_people(const struct processes *processes, const struct roster *roster,
			    bool all, const json_t *drained)
{
	static const char *const heads[] = {"NAME", "PROCESS", "SET", "NODES", "STATE"};
	const struct roster_row *absent;
	struct summary summary;
	struct table table;
	int code = EXIT_DONE;

	table_begin(&table, 5);
	for (size_t i = 0; i < 5; i++)
		table_cell(&table, COLOUR_HEAD, "%s", heads[i]);
	for (size_t i = 0, count; i < processes->count; i += count) {
		count = summary_span(processes, i);
		summarise(&summary, &processes->peers[i], count,
			  expected_of(roster, processes->peers[i].name));
		print_line(processes->peers[i].name, &summary);
		print_peers(&table, &processes->peers[i], count, &summary);
		code = exit_code_worse(code, code_of(&summary));
		summary_end(&summary);
	}
	for (size_t i = 0; (absent = next_absent(roster, processes, all, &i)) != NULL;) {
		summarise(&summary, NULL, 0, absent->count);
		print_line(absent->name, &summary);
		code = exit_code_worse(code, code_of(&summary));
		summary_end(&summary);
	}
	drained_print(drained);
	putchar('\n');
	table_print(&table);
	table_end(&table);
	return code;
}

/* ---- For programs ---- */

static json_t *peer_json(const struct peer *peer, const struct summary *summary)
{
	char words[400];
	enum trouble trouble = summary_peer(peer, summary, words, sizeof(words));
	json_t *status =
		peer->state == PEER_ANSWERED ? json_object_get(peer->answer, "status") : NULL;

	return json_pack("{s:s,s:s,s:b,s:s*,s:O*}", "process", peer->process, "state",
			 state_name(peer->state), "ok", trouble == TROUBLE_NONE, "why",
			 words[0] != '\0' ? words : NULL, "status", status);
}

/* One name with its processes. Programs compare these members: never rename one. */
static json_t *name_json(const char *called, const struct peer *peers, size_t count,
			 unsigned expected, int *code)
{
	struct summary summary;
	json_t *processes = json_array();

	summarise(&summary, peers, count, expected);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(processes, peer_json(&peers[i], &summary));
	json_t *name =
		json_pack("{s:s,s:s*,s:s,s:s,s:I,s:I,s:I,s:I,s:b,s:o,s:I,s:I}", "name", called,
			  "summary", summary.line, "next", summary.next, "digest", summary.full,
			  "on_it", (json_int_t)summary.on_it, "count",
			  (json_int_t)summary.processes, "missing", (json_int_t)summary.missing,
			  "nodes", (json_int_t)summary.nodes, "ok", code_of(&summary) == EXIT_DONE,
			  "processes", processes, "failing", (json_int_t)summary.failing, "gone",
			  (json_int_t)summary.gone);
	*code = exit_code_worse(*code, code_of(&summary));
	summary_end(&summary);
	return name;
}

static int print_for_programs(const struct processes *processes, const struct roster *roster,
			      bool all, json_t *drained)
{
	const struct roster_row *absent;
	json_t *names = json_array();
	int code = EXIT_DONE;

	for (size_t i = 0, count; i < processes->count; i += count) {
		count = summary_span(processes, i);
		json_array_append_new(names,
				      name_json(processes->peers[i].name, &processes->peers[i],
						count,
						expected_of(roster, processes->peers[i].name),
						&code));
	}
	for (size_t i = 0; (absent = next_absent(roster, processes, all, &i)) != NULL;)
		json_array_append_new(names,
				      name_json(absent->name, NULL, 0, absent->count, &code));
	return print_json(json_pack("{s:s,s:o,s:O}", "directory", processes->directory, "names",
				    names, "drained", drained),
			  code);
}

/* ---- The verb ---- */

static int64_t timeout = PROCESSES_TIMEOUT;

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"strict", NULL, OPTION_FLAG, &strict,
	 "exit with 1 also where a node is failing, or a process was killed lately"},
	{"timeout", "TIME", OPTION_DURATION, &timeout, "how long to wait for answers (2s)"},
	OPTION_END,
};

static int status_main(int argc, char **argv)
{
	struct roster roster;
	struct processes processes;
	int first, code;

	if (!options_parse(&verb_status, argc, argv, 0, 1, &first, &code))
		return code;
	code = processes_find(&processes, options_control(), first < argc ? argv[first] : NULL);
	if (code != 0)
		return code;
	/* A roster that cannot be read is an error of its own; a missing one is not. */
	int without = roster_read(&roster, &(struct option_list){0}, options_control(), false);
	json_t *drained = NULL;
	if (processes_ask(&processes, json_pack("{s:s}", "do", "status"), timeout) < 0 ||
	    (drained = drained_find(&processes)) == NULL)
		code = report(EXIT_FAILED, "out of memory");
	else if (common.json)
		code = print_for_programs(&processes, &roster, first == argc, drained);
	else
		code = print_for_people(&processes, &roster, first == argc, drained);
	json_decref(drained);
	/* A program that looks removes nothing that a person may not have seen. */
	processes_note_gone(&processes, !common.json);
	roster_free(&roster);
	processes_free(&processes);
	return without == 0 || without == EXIT_ROSTER ? code : exit_code_worse(code, without);
}

const struct verb verb_status = {
	.name = "status",
	.main = status_main,
	.help = "show which node set every process has, which are behind and why",
	.arguments = "[NAME]",
	.text = "Asks every process in the control directory, or those of one NAME. The first line "
		"of each name says what matters: whether new nodes were refused and why, how many "
		"processes have the newest node set live, which do not and why, which nodes are "
		"failing, and what to do next. A line for each node that is drained says until "
		"when, by which user and why, and whether it is in the node file all the same. "
		"Then comes a table with a row for each "
		"process.\n\nA generation is named by the first digits of the digest of its node "
		"set, so that it is the same in every process. A process that was killed is shown "
		"as gone for 10 minutes after it was first found; then its stale socket is "
		"removed. A process that does not answer "
		"is shown as such.\n\nA file `roster` in the control directory says how many "
		"processes of a name there must be, in lines such as: api 4. Then missing "
		"processes are reported too.",
	.options = options,
	.examples = {"The state of all servers on this host", "safestart status",
		     "Only those named api, in another control directory",
		     "safestart status --control /run/api api",
		     "In a script: has every process the newest set",
		     "safestart status --json api | jq -e '.names[0].ok'",
		     "In a check: also failing nodes and killed processes",
		     "safestart status --strict"},
	.exits = {{0, "all processes have the newest set, though nodes in it may be failing"},
		  {1,
		   "a process does not have it yet, or was given other nodes; with --strict also: "
		   "a node is failing, or a process was found killed in the last 10 minutes"},
		  {2, "usage error"},
		  {3, "a process is behind: the set was refused"},
		  {4, "a process is behind: a run failed; or it does not answer; or no process is "
		      "running"},
		  {6, "fewer processes than the roster expects"},
		  {7, "all processes have it, but nodes are quarantined"}},
};
