/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "judge.h"

#include <stdarg.h>

#include "base/json.h"
#include "base/report.h"
#include "files/desired.h"
#include "fuzz/fuzz.h"
#include "hosts/barrier.h"
#include "hosts/summary.h"

#define PRETENDER 99999

struct host host;
struct judged judged;

_Noreturn static void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn static void wrong(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("WRONG: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	abort();
}

bool is_there(const struct process *process)
{
	return process->number != 0 && process->state != KILLED;
}

/* ---- Answers, as the command reads them ---- */

/* A server of before some members existed. */
static void make_old(json_t *answer)
{
	json_t *node;
	size_t index;

	json_object_del(answer, "serves");
	json_object_del(json_object_get(answer, "status"), "serves");
	json_t *nodes = json_object_get(answer, "nodes") != NULL
				? json_object_get(answer, "nodes")
				: json_object_get(json_object_get(answer, "status"), "nodes");
	json_array_foreach(nodes, index, node) {
		json_object_del(node, "entry_digest");
		json_object_del(node, "desired_entry_digest");
	}
}

static void take_answer(struct peer *peer, char *text)
{
	peer->answer = json_loads(text, 0, NULL);
	HOLD(json_is_object(peer->answer) && member_bool(peer->answer, "ok", false));
	HOLD(strcmp(member_text(peer->answer, "name"), peer->name) == 0);
	peer->state = PEER_ANSWERED;
	peer->connected = true;
	free(text);
}

static struct peer peer_of(unsigned name, unsigned number, unsigned owner)
{
	struct peer peer = {.owner = (uid_t)owner, .pid = (pid_t)number};

	HOLD(asprintf(&peer.file, "%s.%u.sock", name_text(name), number) > 0);
	HOLD(asprintf(&peer.process, "%u", number) > 0);
	peer.name = strdup(name_text(name));
	HOLD(peer.name != NULL);
	return peer;
}

static struct peer ask(struct process *process, const char *question)
{
	struct peer peer = peer_of(process->name, process->number, process->owner);

	if (process->state == RUNNING) {
		take_answer(&peer, process_ask(process, question));
		if (process->old)
			make_old(peer.answer);
		return peer;
	}
	bool killed = process->state == KILLED;
	peer.state = killed ? PEER_GONE : PEER_SILENT;
	snprintf(peer.why, sizeof(peer.why), "%s", killed ? "gone" : "no answer");
	return peer;
}

/* It repeats what a process of that name answers. */
static void pretend(struct processes *processes)
{
	struct peer peer = peer_of(host.pretender.name, PRETENDER, STRANGER);

	for (size_t i = 0; i < processes->count && peer.answer == NULL; i++) {
		const struct peer *other = &processes->peers[i];
		if (strcmp(other->name, peer.name) == 0 && other->answer != NULL)
			peer.answer = json_deep_copy(other->answer);
	}
	json_object_set_new(peer.answer, "serves", json_true());
	peer.state = peer.answer != NULL ? PEER_ANSWERED : PEER_FAILED;
	processes->peers[processes->count++] = peer;
}

static struct processes ask_all(const char *question)
{
	struct processes processes = {.directory = "/run/oracle"};

	processes.peers = calloc(SLOTS + 1, sizeof(*processes.peers));
	HOLD(processes.peers != NULL);
	for (int i = 0; i < SLOTS; i++) {
		/* A child whose handle is not its own yet has no socket. */
		if (host.process[i].number != 0 && !host.process[i].hidden)
			processes.peers[processes.count++] = ask(&host.process[i], question);
	}
	if (host.pretender.there)
		pretend(&processes);
	processes_sort(&processes);
	return processes;
}

/* ---- Available ---- */

struct wanted {
	int id;
	uint8_t entry;           /* ABSENT: as each process has read it */
	const char *incarnation; /* NULL: any */
	bool applied;
};

/* Why the node is not available in this process; NULL: it is. */
static const char *lacks(const struct process *process, const struct wanted *wanted)
{
	uint8_t live = process->live.entry[wanted->id];
	const char *incarnation = entry_incarnation(live);

	if (process->state != RUNNING)
		return "it does not answer";
	if (live == ABSENT)
		return "it does not use the node";
	if (process->old)
		return "it cannot say which entry it uses";
	if (!process->has_desired || process->desired.entry[wanted->id] != live)
		return "it uses another entry than the one it has read";
	if (wanted->entry != ABSENT && wanted->entry != live)
		return "it uses another entry than the announced one";
	if (wanted->incarnation != NULL &&
	    (incarnation == NULL || strcmp(incarnation, wanted->incarnation) != 0))
		return "it uses another incarnation";
	if (process->report[wanted->id] == BAD)
		return "its newest request to it failed";
	if (!wanted->applied && process->report[wanted->id] != GOOD)
		return "it has made no request to it that worked";
	return NULL;
}

static bool has_pretender(unsigned name)
{
	return host.pretender.there && host.pretender.name == name;
}

/* Does this process count on the roster? An old one does not say that it does not serve. */
static bool counts(const struct process *process)
{
	return is_there(process) && !process->hidden &&
	       (process->serves || process->old || process->state == STOPPED);
}

static size_t count_name(unsigned name)
{
	size_t count = 0;

	for (int i = 0; i < SLOTS; i++)
		count += host.process[i].name == name && counts(&host.process[i]);
	return count;
}

static unsigned expected_of(unsigned name)
{
	return host.listed[name] ? host.roster[name] : 0;
}

static bool is_named(unsigned name)
{
	bool any = false;

	for (unsigned other = 0; other < NAMES; other++)
		any |= host.listed[other];
	return host.listed[name] || !any;
}

static const json_t *find_lacking(const json_t *lacking, unsigned number)
{
	const json_t *one;
	size_t index;

	json_array_foreach(lacking, index, one) {
		if ((unsigned)atoi(member_text(one, "process")) == number)
			return one;
	}
	return NULL;
}

/* Process by process: it has to be named if and only if it lacks the node. */
static bool compare_name(unsigned name, const struct wanted *wanted, const json_t *lacking)
{
	bool all = expected_of(name) <= count_name(name);

	for (int i = 0; i < SLOTS; i++) {
		const struct process *process = &host.process[i];
		if (process->name != name || process->number == 0 || process->hidden)
			continue;
		const char *why = counts(process) ? lacks(process, wanted) : NULL;
		const json_t *named = find_lacking(lacking, process->number);
		all &= why == NULL;
		if ((why != NULL) != (named != NULL) && !has_pretender(name))
			wrong("node %s: process %u (%s) is %s, and the truth is: %s",
			      set_id(wanted->id), process->number, name_text(name),
			      named != NULL ? member_text(named, "why") : "said to have it",
			      why != NULL ? why : "it has it");
	}
	return all;
}

static struct roster the_roster(struct roster_row *rows)
{
	struct roster roster = {.rows = rows};

	for (unsigned name = 0; name < NAMES; name++) {
		if (host.listed[name])
			rows[roster.count++] =
				(struct roster_row){.name = (char *)(uintptr_t)name_text(name),
						    .count = host.roster[name]};
	}
	return roster;
}

/* The digest that the command finds in a file with this entry. */
static const char *digest_of(int id, uint8_t entry)
{
	static char digests[IDS][BROKEN][24];
	char *digest = digests[id][entry], text[SET_TEXT];
	struct set set = {{ABSENT}};

	if (digest[0] == '\0') {
		set.entry[id] = entry;
		set_text(&set, text);
		json_t *found = desired_digests(text);
		snprintf(digest, sizeof(digests[0][0]), "%s", member_text(found, set_id(id)));
		HOLD(digest[0] != '\0');
		json_decref(found);
	}
	return digest;
}

static void judge_available(const struct processes *processes, const struct wanted *wanted)
{
	struct barrier barrier = {.node = set_id(wanted->id),
				  .entry = wanted->entry != ABSENT
						   ? digest_of(wanted->id, wanted->entry)
						   : NULL,
				  .incarnation = wanted->incarnation,
				  .applied = wanted->applied};
	struct roster_row rows[NAMES];
	struct roster roster = the_roster(rows);
	json_t *lacking = json_array();
	bool all = true, pretended = false;
	size_t asked = 0;

	int code = barrier_check(&barrier, &roster, processes, lacking);
	for (unsigned name = 0; name < NAMES; name++) {
		if (!is_named(name))
			continue;
		asked += count_name(name);
		all &= compare_name(name, wanted, lacking);
		/* No process of the user is there: nothing says which of two users is genuine. */
		pretended |= has_pretender(name);
		if (has_pretender(name) && count_name(name) == 0) {
			json_decref(lacking);
			return;
		}
	}
	bool available = all && asked > 0 && !pretended;
	if ((code == EXIT_DONE) != available || (json_array_size(lacking) == 0) != available)
		wrong("node %s is said %s (exit code %d), and the truth is that it is %s",
		      set_id(wanted->id), code == EXIT_DONE ? "to be available" : "not to be", code,
		      available ? "available" : "not");
	judged.available += available;
	judged.lacking += !available;
	json_decref(lacking);
}

/* ---- Gone ---- */

static const char *uses(const struct process *process, int id)
{
	if (!is_there(process) || process->hidden)
		return NULL;
	if (process->state == STOPPED)
		return "it does not answer";
	if (process->live.entry[id] != ABSENT)
		return "it uses it";
	for (int i = 0; i < HOLDS; i++) {
		if (process->holds[i] && process->held[i].entry[id] != ABSENT)
			return "a request in it uses it";
	}
	if (process->has_desired && process->desired.entry[id] != ABSENT)
		return "it will use it";
	return NULL;
}

static void judge_gone(const struct processes *processes, int id, bool settled)
{
	const struct barrier barrier = {.node = set_id(id), .gone = true};
	const struct roster roster = {0};
	json_t *lacking = json_array();
	bool gone = true;

	int code = barrier_check(&barrier, &roster, processes, lacking);
	for (int i = 0; i < SLOTS; i++) {
		const struct process *process = &host.process[i];
		const char *why = uses(process, id);
		const json_t *named = find_lacking(lacking, process->number);
		gone &= why == NULL;
		if (process->number == 0 || (why != NULL) == (named != NULL))
			continue;
		if (why != NULL || settled)
			wrong("node %s: process %u (%s) %s, and the truth is: %s", set_id(id),
			      process->number, name_text(process->name),
			      named != NULL ? member_text(named, "why") : "is said not to use it",
			      why != NULL ? why : "it does not use it");
	}
	if (code == EXIT_DONE && !gone)
		wrong("node %s is said to be gone, and it is not", set_id(id));
	if (code != EXIT_DONE && gone && settled)
		wrong("node %s is gone, and said not to be (exit code %d)", set_id(id), code);
	judged.gone += code == EXIT_DONE;
	judged.not_gone += code != EXIT_DONE;
	json_decref(lacking);
}

void judge_node(int id, bool settled)
{
	struct wanted wanted = {.id = id};
	char question[64];

	snprintf(question, sizeof(question), "{\"do\":\"nodes\",\"id\":\"%s\"}", set_id(id));
	struct processes processes = ask_all(question);
	for (int applied = 0; applied < 2; applied++) {
		wanted.applied = applied;
		wanted.entry = ABSENT;
		wanted.incarnation = NULL;
		judge_available(&processes, &wanted);
		wanted.incarnation = entry_incarnation(entry_make(0, 0, 1 + below(3)));
		judge_available(&processes, &wanted);
		wanted.incarnation = NULL;
		wanted.entry = documents[below(DOCUMENTS)].set.entry[id];
		if (wanted.entry != BROKEN)
			judge_available(&processes, &wanted);
	}
	judge_gone(&processes, id, settled);
	processes_free(&processes);
}

/* ---- Status ---- */

static bool equal(const struct set *one, const struct set *other)
{
	return memcmp(one, other, sizeof(*one)) == 0;
}

/* Why not all is well with the processes of a name; NULL: it is. */
static const char *troubles(unsigned name)
{
	const struct process *first = NULL;
	size_t serving = 0;

	for (int i = 0; i < SLOTS; i++) {
		const struct process *process = &host.process[i];
		if (process->name != name || !is_there(process) || process->hidden)
			continue;
		if (process->state == STOPPED)
			return "a process does not answer";
		if (process->generation == 0)
			return "a process has no set";
		if (process->has_desired && !equal(&process->desired, &process->live))
			return "a process does not use what it has read";
		if (process->went_wrong)
			return "the newest run of a process went wrong";
		if (first != NULL && !equal(&first->live, &process->live))
			return "two processes use different sets";
		first = first == NULL ? process : first;
		serving += process->serves || process->old;
	}
	if (serving < expected_of(name))
		return "a process of the roster is missing";
	return first == NULL ? "no process is running" : NULL;
}

struct figures {
	size_t processes, serving, failing, gone;
};

static struct figures figures_of(unsigned name)
{
	struct figures figures = {0};

	for (int i = 0; i < SLOTS; i++) {
		const struct process *process = &host.process[i];
		if (process->name != name || process->number == 0 || process->hidden)
			continue;
		figures.gone += process->state == KILLED;
		figures.processes += is_there(process);
		figures.serving += counts(process);
		bool failing = false;
		for (int id = 0; id < IDS; id++)
			failing |= process->state == RUNNING && process->report[id] == BAD &&
				   process->live.entry[id] != ABSENT;
		figures.failing += failing;
	}
	return figures;
}

static void judge_name(unsigned name, const struct peer *peers, size_t count, bool settled)
{
	const char *why = troubles(name);
	struct figures figures = figures_of(name);
	unsigned expected = expected_of(name);
	struct summary summary;

	summarise(&summary, peers, count, expected);
	size_t missing = figures.serving < expected ? expected - figures.serving : 0;
	if (summary.code == EXIT_DONE && why != NULL)
		wrong("%s: all is said to be well, and %s: %s", name_text(name), why, summary.line);
	if (summary.code != EXIT_DONE && why == NULL && settled)
		wrong("%s: all is well, but the exit code is %d: %s", name_text(name), summary.code,
		      summary.line);
	if (summary.processes != figures.processes || summary.missing != missing ||
	    summary.gone != figures.gone)
		wrong("%s: %zu processes, %zu missing, %zu gone are true: %s", name_text(name),
		      figures.processes, missing, figures.gone, summary.line);
	judged.well += summary.code == EXIT_DONE;
	judged.not_well += summary.code != EXIT_DONE;
	/* A node that is quarantined is shown as such, though its old entry may be failing. */
	if (summary.failing > figures.failing ||
	    (summary.code == EXIT_DONE && summary.failing < figures.failing))
		wrong("%s: nodes are failing on %zu: %s", name_text(name), figures.failing,
		      summary.line);
	summary_end(&summary);
}

void judge_status(bool settled)
{
	struct processes processes = ask_all("{\"do\":\"status\"}");

	for (unsigned name = 0; name < NAMES; name++) {
		size_t first = 0;
		while (first < processes.count &&
		       strcmp(processes.peers[first].name, name_text(name)) != 0)
			first++;
		size_t count = first < processes.count ? summary_span(&processes, first) : 0;
		if (!has_pretender(name) && (count > 0 || expected_of(name) > 0))
			judge_name(name, &processes.peers[first], count, settled);
	}
	processes_free(&processes);
}
