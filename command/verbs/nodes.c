/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nodes: the state of each node in each process: a row for each node, a column for each process;
 * where the columns do not fit, how many processes report which state. Only asks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "hosts/processes.h"
#include "hosts/summary.h"
#include "verbs/drained.h"
#include "verbs/verbs.h"

#define COLUMNS_MAX 8 /* more processes than this are counted, not shown one by one */
#define REASONS_MAX 20

static int64_t timeout = PROCESSES_TIMEOUT;
static const char *node_option;

/* ---- The rows: every node once ---- */

struct entry {
	const char *id;
	const json_t *node; /* as one of the processes answered it */
};

struct entries {
	struct entry *at;
	size_t count;
};

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

/* The union of the nodes of all processes, sorted by id. False: no memory. */
static bool collect_entries(struct entries *entries, const struct peer *peers, size_t count)
{
	const json_t *node;
	size_t index, room = 0, kept = 0;

	*entries = (struct entries){0};
	for (size_t i = 0; i < count; i++)
		room += json_array_size(json_object_get(peers[i].answer, "nodes"));
	entries->at = calloc(room + 1, sizeof(*entries->at));
	if (entries->at == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		const json_t *nodes = json_object_get(peers[i].answer, "nodes");
		json_array_foreach(nodes, index, node)
			entries->at[entries->count++] =
				(struct entry){member_text(node, "id"), node};
	}
	qsort(entries->at, entries->count, sizeof(*entries->at), compare);
	for (size_t i = 0; i < entries->count; i++) {
		if (kept == 0 || strcmp(entries->at[kept - 1].id, entries->at[i].id) != 0)
			entries->at[kept++] = entries->at[i];
	}
	entries->count = kept;
	return true;
}

/* The nodes of one process, indexed by id: sets are large, and not always sorted. */
struct column {
	const struct peer *peer;
	json_t *by_id; /* id → node, borrowed from the answer */
};

static struct column *make_columns(const struct peer *peers, size_t count)
{
	struct column *columns = calloc(count, sizeof(*columns));
	json_t *node;
	size_t index;

	for (size_t i = 0; columns != NULL && i < count; i++) {
		json_t *nodes = json_object_get(peers[i].answer, "nodes");
		columns[i] = (struct column){&peers[i], json_object()};
		json_array_foreach(nodes, index, node)
			json_object_set(columns[i].by_id, member_text(node, "id"), node);
	}
	return columns;
}

static void free_columns(struct column *columns, size_t count)
{
	for (size_t i = 0; columns != NULL && i < count; i++)
		json_decref(columns[i].by_id);
	free(columns);
}

/* The state of a node in one process; "-": not in its set, "?": the process did not answer. */
static const char *state_of(const struct column *column, const char *id)
{
	if (column->peer->state != PEER_ANSWERED)
		return "?";
	const char *state = member_text(json_object_get(column->by_id, id), "state");
	return state[0] != '\0' ? state : "-";
}

static enum colour colour_of(const char *state)
{
	static const struct {
		const char *state;
		enum colour colour;
	} colours[] = {{"proven", COLOUR_GOOD},    {"applied", COLOUR_PLAIN},
		       {"announced", COLOUR_WARN}, {"retired", COLOUR_FAINT},
		       {"-", COLOUR_FAINT},        {"quarantined", COLOUR_WARN},
		       {"failing", COLOUR_BAD},    {"?", COLOUR_BAD}};

	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++) {
		if (strcmp(colours[i].state, state) == 0)
			return colours[i].colour;
	}
	return COLOUR_PLAIN;
}

/* ---- The table ---- */

static void add_head(struct table *table, const struct column *columns, size_t count, bool counted)
{
	table_cell(table, COLOUR_HEAD, "NODE");
	table_cell(table, COLOUR_HEAD, "ADDRESS");
	table_cell(table, COLOUR_HEAD, "INCARNATION");
	for (size_t i = 0; !counted && i < count; i++)
		table_cell(table, COLOUR_HEAD, "%s", columns[i].peer->process);
	if (counted)
		table_cell(table, COLOUR_HEAD, "%zu PROCESSES", count);
}

struct tally {
	const char *state;
	size_t count;
};
#define TALLIES 16

/* Trouble first: the right end of a line may be cut. */
static int compare_tallies(const void *a, const void *b)
{
	const struct tally *one = a, *other = b;
	bool one_ok = strcmp(one->state, "proven") == 0 || strcmp(one->state, "applied") == 0,
	     other_ok = strcmp(other->state, "proven") == 0 || strcmp(other->state, "applied") == 0;

	if (one_ok != other_ok)
		return one_ok - other_ok;
	return one->count != other->count
		       ? (one->count < other->count) - (one->count > other->count)
		       : strcmp(one->state, other->state);
}

/* How many processes report which state. */
static size_t count_states(const struct column *columns, size_t count, const char *id,
			   struct tally tallies[TALLIES])
{
	size_t different = 0, at;

	for (size_t k = 0; k < count; k++) {
		const char *state = state_of(&columns[k], id);
		for (at = 0; at < different && strcmp(tallies[at].state, state) != 0; at++)
			;
		if (at == TALLIES)
			continue; /* there are eight states; more come from an invalid answer */
		if (at == different)
			tallies[different++] = (struct tally){state, 0};
		tallies[at].count++;
	}
	qsort(tallies, different, sizeof(*tallies), compare_tallies);
	return different;
}

/* "2 × failing (4312, 4313), 1 × applied (4400), 197 × proven": up to three processes are named.
 * The worst state gives the colour. */
static enum colour format_states(const struct column *columns, size_t count, const char *id,
				 char *words, size_t size)
{
	enum colour colour = COLOUR_PLAIN;
	struct tally tallies[TALLIES] = {0};
	size_t different = count_states(columns, count, id, tallies);
	FILE *to = fmemopen(words, size, "w");

	words[0] = '\0';
	for (size_t i = 0; to != NULL && i < different; i++) {
		const struct tally *tally = &tallies[i];
		enum colour its = colour_of(tally->state);
		colour = its == COLOUR_BAD || (its == COLOUR_WARN && colour != COLOUR_BAD) ||
					 (colour == COLOUR_PLAIN && its == COLOUR_GOOD &&
					  2 * tally->count > count)
				 ? its
				 : colour;
		fprintf(to, "%s%zu × %s", i > 0 ? ", " : "", tally->count, tally->state);
		const char *before = " (";
		for (size_t k = 0; tally->count <= 3 && different > 1 && k < count; k++) {
			if (strcmp(state_of(&columns[k], id), tally->state) == 0) {
				fprintf(to, "%s%s", before, columns[k].peer->process);
				before = ", ";
			}
		}
		fputs(before[0] == ',' ? ")" : "", to);
	}
	if (to != NULL)
		fclose(to);
	return colour;
}

static void add_rows(struct table *table, const struct entries *entries,
		     const struct column *columns, size_t count, bool counted)
{
	char words[512];

	add_head(table, columns, count, counted);
	for (size_t i = 0; i < entries->count; i++) {
		const struct entry *entry = &entries->at[i];
		const char *incarnation = member_text(entry->node, "incarnation");
		table_cell(table, COLOUR_PLAIN, "%s", entry->id);
		table_cell(table, COLOUR_PLAIN, "%s", member_text(entry->node, "address"));
		table_cell(table, COLOUR_FAINT, "%s", incarnation[0] != '\0' ? incarnation : "-");
		for (size_t k = 0; !counted && k < count; k++) {
			const char *state = state_of(&columns[k], entry->id);
			table_cell(table, colour_of(state), "%s", state);
		}
		if (counted) {
			enum colour colour =
				format_states(columns, count, entry->id, words, sizeof(words));
			table_cell(table, colour, "%s", words);
		}
	}
}

static bool is_troubled(const char *state)
{
	return strcmp(state, "proven") != 0 && strcmp(state, "applied") != 0 &&
	       strcmp(state, "-") != 0 && strcmp(state, "?") != 0;
}

/* The reason, for each node with trouble in each process. */
static void print_reasons(const struct entries *entries, const struct column *columns, size_t count)
{
	size_t printed = 0, more = 0;

	for (size_t i = 0; i < entries->count; i++) {
		for (size_t k = 0; k < count; k++) {
			const char *id = entries->at[i].id, *state = state_of(&columns[k], id);
			if (!is_troubled(state))
				continue;
			if (printed++ >= REASONS_MAX) {
				more++;
				continue;
			}
			text_print(id);
			printf(" on %s: ", columns[k].peer->process);
			text_print(state);
			fputs(": ", stdout);
			text_print(member_text(json_object_get(columns[k].by_id, id), "why"));
			putchar('\n');
		}
	}
	if (more > 0)
		printf("and %zu more; for all of them: safestart nodes --json\n", more);
}

/* ---- One name ---- */

/* The line above the table: how many nodes are proven in every process, and which have trouble. */
static void print_line(const struct entries *entries, const struct column *columns, size_t count)
{
	size_t proven = 0, with_trouble = 0, answered = 0;
	const char *name = columns[0].peer->name, *example = "";

	for (size_t k = 0; k < count; k++)
		answered += columns[k].peer->state == PEER_ANSWERED;
	for (size_t i = 0; i < entries->count; i++) {
		bool all = true, bad = false;
		for (size_t k = 0; k < count; k++) {
			const char *state = state_of(&columns[k], entries->at[i].id);
			all &= strcmp(state, "proven") == 0 || columns[k].peer->state == PEER_GONE;
			bad |= is_troubled(state) || (strcmp(state, "-") == 0);
		}
		proven += all;
		with_trouble += bad;
		example = bad && example[0] == '\0' ? entries->at[i].id : example;
	}
	text_print(name);
	printf(": %zu node%s on %zu process%s; proven on all of them: %zu", entries->count,
	       entries->count == 1 ? "" : "s", answered, answered == 1 ? "" : "es", proven);
	if (with_trouble > 0) {
		printf("; with trouble: %zu, such as ", with_trouble);
		text_print(example);
	}
	putchar('\n');
	for (size_t k = 0; k < count; k++) {
		if (columns[k].peer->state == PEER_ANSWERED)
			continue;
		text_print(name);
		printf(" %s: ", columns[k].peer->process);
		text_print(columns[k].peer->why);
		putchar('\n');
	}
}

/* The states below are those of the old set where a new one was refused [P9]. `asked`: the same
 * processes, asked for their status. */
static void print_behind(const struct processes *asked, const char *name)
{
	struct summary summary;
	size_t count;

	for (size_t i = 0; i < asked->count; i += count) {
		const struct peer *peers = &asked->peers[i];
		count = summary_span(asked, i);
		if (strcmp(peers->name, name) != 0)
			continue;
		summarise(&summary, peers, count, 0);
		for (size_t k = 0; k < count; k++) {
			char words[400];
			enum trouble trouble =
				summary_peer(&peers[k], &summary, words, sizeof(words));
			if (trouble != TROUBLE_BEHIND && trouble != TROUBLE_EMPTY)
				continue;
			text_print(name);
			printf(" %s: ", peers[k].process);
			text_print(words);
			puts("; the states below are those of the set that is live");
		}
		summary_end(&summary);
	}
}

/* The table with a column for each process if that fits the terminal, else with counts. */
static bool print_name(const struct peer *peers, size_t count, const struct processes *asked)
{
	struct column *columns = make_columns(peers, count);
	struct entries entries;
	struct table table;
	size_t width = terminal_width();
	bool counted = count > COLUMNS_MAX;

	if (columns == NULL || !collect_entries(&entries, peers, count)) {
		free_columns(columns, count);
		return false;
	}
	print_line(&entries, columns, count);
	print_behind(asked, peers->name);
	table_begin(&table, counted ? 4 : 3 + count);
	add_rows(&table, &entries, columns, count, counted);
	if (!counted && width > 0 && table_width(&table) > width && count > 1) {
		table_end(&table);
		table_begin(&table, 4);
		add_rows(&table, &entries, columns, count, true);
	}
	if (entries.count > 0)
		table_print(&table);
	table_end(&table);
	print_reasons(&entries, columns, count);
	free(entries.at);
	free_columns(columns, count);
	return true;
}

/* ---- The verb ---- */

/* With --node only the drain of that node. NULL: no memory. */
static json_t *find_drained(const struct processes *asked)
{
	json_t *drained = drained_find(asked);

	for (size_t i = json_array_size(drained); node_option != NULL && i-- > 0;) {
		if (strcmp(member_text(json_array_get(drained, i), "id"), node_option) != 0)
			json_array_remove(drained, i);
	}
	return drained;
}

static int print_for_programs(const struct processes *processes, json_t *drained, int code)
{
	json_t *answers = json_array();

	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		json_t *answer =
			peer->state == PEER_ANSWERED ? json_copy(peer->answer) : json_object();
		json_object_del(answer, "ok");
		json_object_set_new(answer, "name", json_string(peer->name));
		json_object_set_new(answer, "process", json_string(peer->process));
		if (peer->state != PEER_ANSWERED)
			json_object_set_new(answer, "error", json_string(peer->why));
		json_array_append_new(answers, answer);
	}
	return print_json(json_pack("{s:s,s:o,s:O}", "directory", processes->directory, "processes",
				    answers, "drained", drained),
			  code);
}

/* A node is quarantined in some process, or a process did not answer. */
static int exit_code_of(const struct processes *processes)
{
	int code = EXIT_DONE;
	const json_t *node;
	size_t index;

	for (size_t i = 0; i < processes->count; i++) {
		const json_t *nodes = json_object_get(processes->peers[i].answer, "nodes");
		if (processes->peers[i].state != PEER_ANSWERED &&
		    processes->peers[i].state != PEER_GONE)
			code = exit_code_worse(code, EXIT_FAILED);
		json_array_foreach(nodes, index, node) {
			if (strcmp(member_text(node, "state"), "quarantined") == 0)
				code = exit_code_worse(code, EXIT_QUARANTINED);
		}
	}
	return code;
}

static int nodes_main(int argc, char **argv)
{
	struct processes processes, asked = {0};
	json_t *drained = NULL;
	int first, code;

	if (!options_parse(&verb_nodes, argc, argv, 0, 1, &first, &code))
		return code;
	code = processes_find(&processes, options_control(), first < argc ? argv[first] : NULL);
	if (code != 0)
		return code;
	bool ok =
		processes_ask(&processes, json_pack("{s:s,s:s*}", "do", "nodes", "id", node_option),
			      timeout) == 0;
	code = exit_code_of(&processes);
	/* A second question: what is refused, and which file is read, is said by the status only.
	 */
	(void)processes_list(&asked, options_control(), first < argc ? argv[first] : NULL);
	ok = ok && processes_ask(&asked, json_pack("{s:s}", "do", "status"), timeout) == 0 &&
	     (drained = find_drained(&asked)) != NULL;
	if (ok && common.json) {
		code = print_for_programs(&processes, drained, code);
	} else if (ok) {
		for (size_t i = 0, count; ok && i < processes.count; i += count) {
			count = summary_span(&processes, i);
			if (i > 0)
				putchar('\n');
			ok = print_name(&processes.peers[i], count, &asked);
		}
		drained_print(drained);
	}
	json_decref(drained);
	processes_free(&asked);
	processes_free(&processes);
	return ok ? code : report(EXIT_FAILED, "out of memory");
}

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"node", "ID", OPTION_TEXT, &node_option, "show only this node"},
	{"timeout", "TIME", OPTION_DURATION, &timeout, "how long to wait for answers (2s)"},
	OPTION_END,
};

const struct verb verb_nodes = {
	.name = "nodes",
	.main = nodes_main,
	.help = "show each node in each process: announced, applied, proven, failing",
	.arguments = "[NAME]",
	.text = "Prints a row for each node and a column for each process. If there are too many "
		"processes for columns, each row says how many processes report which state, and "
		"names the few that differ. Below the table are the reasons for each node with "
		"trouble, and the nodes that are drained: until when, by which user and why. Where "
		"a "
		"process has refused a new set, that is said above the table.\n\nThe "
		"states:\n\nannounced: in the desired set, not live yet. applied: "
		"live, but no request to it has been reported yet. proven: live, and the newest "
		"request to it worked. failing: live, but the newest request to it failed. "
		"quarantined: announced, but unusable or rejected. retired: removed from the set, "
		"but a reader still uses it. -: not in the set of that process. ?: that process "
		"does not answer.",
	.options = options,
	.examples = {"Is riak-3 in use in every process", "safestart nodes --node riak-3",
		     "The nodes of api, for a program", "safestart nodes --json api"},
	.exits = {{0, "done"},
		  {2, "usage error"},
		  {4, "a process did not answer, or no process is running"},
		  {7, "a node is quarantined in some process"}},
};
