/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* barrier: asks all processes again and again until the condition holds or the time is over. Main
 * thread; sleeps between two checks. */
#include "hosts/barrier.h"

#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"

#define FIRST_PAUSE INT64_C(50000000)
#define LONGEST_PAUSE INT64_C(1000000000)

/* Also for a process that did not answer: NULL. */
static const json_t *find_node(const struct peer *peer, const char *id)
{
	const json_t *nodes = json_object_get(peer->answer, "nodes"), *node;
	size_t index;

	json_array_foreach(nodes, index, node) {
		if (strcmp(member_text(node, "id"), id) == 0)
			return node;
	}
	return NULL;
}

/* The member names are part of the JSON output. */
static void add_lacking(json_t *lacking, const char *name, const char *process, const char *why)
{
	json_array_append_new(lacking, json_pack("{s:s,s:s*,s:s}", "name", name, "process", process,
						 "why", why));
}

/* ---- Available ---- */

/* Another entry under the id of the announced one does not make it available: the address or a
 * label may differ, for as long as the change was not read, or cannot be applied [P22]. A process
 * that does not say which entry is live is not taken at its word. "": it is live, or nothing is. */
static void check_entry(const struct barrier *barrier, const struct peer *peer, const json_t *node,
			char *why, size_t size)
{
	const json_t *live = json_object_get(node, "entry_digest");
	const char *desired = member_text(node, "desired_entry_digest"),
		   *wanted = barrier->entry != NULL ? barrier->entry : desired;

	why[0] = '\0';
	if (live == NULL)
		snprintf(why, size,
			 "cannot tell whether the announced entry is live: its libsafestart is "
			 "older than this command; restart it with the new one");
	else if (!json_is_string(live))
		return;
	else if (member_text(peer->answer, "desired_digest")[0] == '\0')
		snprintf(why, size,
			 "live at %.272s, but no node set has been read yet that announces it",
			 member_text(node, "address"));
	else if (desired[0] == '\0')
		snprintf(why, size, "live at %.272s, but not announced any more",
			 member_text(node, "address"));
	else if (strcmp(desired, wanted) != 0)
		snprintf(why, size,
			 "has not read the announced entry yet, or was given another one; live at "
			 "%.272s (%.20s)",
			 member_text(node, "address"), member_text(node, "state"));
	else if (strcmp(json_string_value(live), wanted) != 0)
		snprintf(why, size,
			 "the announced entry is not live yet, the old one is: at %.272s (%.20s)",
			 member_text(node, "address"), member_text(node, "state"));
}

/* Whether one process has the node as wanted: 0 and "" in `why`, or an exit code and the reason. */
static int check_peer(const struct barrier *barrier, const struct peer *peer, char *why,
		      size_t size)
{
	const json_t *node = find_node(peer, barrier->node);
	const char *state = member_text(node, "state"),
		   *incarnation = member_text(node, "incarnation");

	why[0] = '\0';
	if (peer->state != PEER_ANSWERED) {
		snprintf(why, size, "%s", peer->why);
		return EXIT_NOT_YET;
	}
	if (node == NULL) {
		/* Its source is named: it may read another file than the one that was edited. */
		const char *source = member_text(peer->answer, "source");
		snprintf(why, size, "not in its node set%s%.300s",
			 source[0] != '\0' ? "; its nodes come from " : "", source);
		return EXIT_NOT_YET;
	}
	if (strcmp(state, "quarantined") == 0) {
		snprintf(why, size, "quarantined: %.300s", member_text(node, "why"));
		return EXIT_QUARANTINED;
	}
	if (barrier->incarnation != NULL && strcmp(incarnation, barrier->incarnation) != 0) {
		snprintf(why, size, "has incarnation \"%.100s\", not \"%.100s\" (%.20s)",
			 incarnation, barrier->incarnation, state);
		return EXIT_NOT_YET;
	}
	check_entry(barrier, peer, node, why, size);
	if (why[0] != '\0')
		return EXIT_NOT_YET;
	if (strcmp(state, "proven") == 0 || (barrier->applied && strcmp(state, "applied") == 0))
		return 0;
	snprintf(why, size, "%.20s%s: %.300s", state,
		 strcmp(state, "applied") == 0 ? ", not proven" : "", member_text(node, "why"));
	return EXIT_NOT_YET;
}

/* Quarantined is worse than not yet: waiting does not help. */
static int worse(int one, int other)
{
	return (one == EXIT_QUARANTINED && other == EXIT_NOT_YET) ||
			       (one == EXIT_NOT_YET && other == EXIT_QUARANTINED)
		       ? EXIT_QUARANTINED
		       : exit_code_worse(one, other);
}

/* Every serving process of one name must have the node, and there must be as many as the roster
 * expects. */
static int check_name(const struct barrier *barrier, const struct processes *processes,
		      const char *name, unsigned needed, unsigned *checked, json_t *lacking)
{
	const struct peer *first = NULL;
	unsigned there = 0, gone = 0;
	int code = 0;
	char why[512];

	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		if (strcmp(peer->name, name) != 0)
			continue;
		if (peer->state == PEER_GONE) {
			gone++;
			continue;
		}
		if (peer->state == PEER_ANSWERED && !member_bool(peer->answer, "serves", true))
			continue;
		there++;
		first = first == NULL ? peer : first;
		int its = check_peer(barrier, peer, why, sizeof(why));
		/* Any user who may write to the directory could add a socket in place of a process
		 * that is down. */
		if (peer->owner != first->owner) {
			snprintf(why, sizeof(why),
				 "belongs to user %u, but process %s of the same name to user %u: "
				 "one of them is not genuine",
				 (unsigned)peer->owner, first->process, (unsigned)first->owner);
			its = EXIT_NOT_YET;
		}
		if (its != 0)
			add_lacking(lacking, name, peer->process, why);
		code = worse(code, its);
	}
	*checked += there;
	if (there < needed) {
		snprintf(why, sizeof(why), "%u of %u processes of the roster are running", there,
			 needed);
		if (gone > 0)
			snprintf(why + strlen(why), sizeof(why) - strlen(why), "; %u %s killed",
				 gone, gone == 1 ? "was" : "were");
		add_lacking(lacking, name, NULL, why);
		code = worse(code, EXIT_ROSTER);
	}
	return code;
}

/* With a roster only its names count; without one, every name that is running. */
static int check_available(const struct barrier *barrier, const struct roster *roster,
			   const struct processes *processes, json_t *lacking)
{
	unsigned checked = 0;
	int code = 0;

	for (size_t i = 0; i < roster->count; i++)
		code = worse(code, check_name(barrier, processes, roster->rows[i].name,
					      roster->rows[i].count, &checked, lacking));
	for (size_t i = 0; roster->count == 0 && i < processes->count; i++) {
		if (i == 0 || strcmp(processes->peers[i - 1].name, processes->peers[i].name) != 0)
			code = worse(code, check_name(barrier, processes, processes->peers[i].name,
						      0, &checked, lacking));
	}
	/* Nothing was checked: all were killed, or none serves, or the roster expects 0. "All of
	 * none" is not available [P22]. */
	if (code == 0 && checked == 0) {
		add_lacking(lacking, "", NULL,
			    processes->count == 0 ? "no process is running"
						  : "no serving process is running");
		code = EXIT_ROSTER;
	}
	return code;
}

/* ---- Gone ---- */

/* A process that does not answer may still hold the node; one that was killed holds nothing. */
static int check_gone(const struct barrier *barrier, const struct processes *processes,
		      json_t *lacking)
{
	/* Not taken from the size of `lacking`: without memory nothing is appended there. */
	int code = EXIT_DONE;
	char why[512];

	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		const json_t *node = find_node(peer, barrier->node);
		if (peer->state == PEER_GONE || (peer->state == PEER_ANSWERED && node == NULL))
			continue;
		if (peer->state == PEER_ANSWERED)
			snprintf(why, sizeof(why), "still has it: %.20s: %.300s",
				 member_text(node, "state"), member_text(node, "why"));
		else
			snprintf(why, sizeof(why), "%s", peer->why);
		add_lacking(lacking, peer->name, peer->process, why);
		code = EXIT_NOT_YET;
	}
	return code;
}

int barrier_check(const struct barrier *barrier, const struct roster *roster,
		  const struct processes *processes, json_t *lacking)
{
	return barrier->gone ? check_gone(barrier, processes, lacking)
			     : check_available(barrier, roster, processes, lacking);
}

/* ---- Waiting ---- */

/* Success on standard output, failure on standard error with a line for each process. */
static void print_result(const struct barrier *barrier, int code, const json_t *lacking,
			 double seconds)
{
	const char *goal = barrier->gone      ? "gone"
			   : barrier->applied ? "applied everywhere"
					      : "available";
	const json_t *one;
	bool idle = json_array_size(lacking) > 0;
	size_t index;

	if (code == EXIT_DONE) {
		text_print(barrier->node);
		printf(" is %s (after %s)\n", goal, text_duration(seconds).text);
		return;
	}
	char *node = text_clean(barrier->node);
	(void)report(code, "%s is not %s after %s:", node != NULL ? node : "it", goal,
		     text_duration(seconds).text);
	json_array_foreach(lacking, index, one) {
		const char *process = member_text(one, "process"), *name = member_text(one, "name");
		char *why = text_clean(member_text(one, "why")), *clean = text_clean(name);
		fprintf(stderr, "  %s%s%s%s%s\n", clean != NULL ? clean : "",
			process[0] != '\0' ? " " : "", process, name[0] != '\0' ? ": " : "",
			why != NULL ? why : "");
		idle &= strncmp(member_text(one, "why"), "applied", 7) == 0;
		free(clean);
		free(why);
	}
	if (idle && !barrier->gone)
		fprintf(stderr, "A node is proven by a request to it that worked. If the servers "
				"are idle, send them one, or wait with --applied.\n");
	free(node);
}

/* The directory cannot be read. A server that starts creates it; without permission no process will
 * ever be seen. */
static void add_lacking_directory(json_t *lacking, int error)
{
	char why[4500];

	if (error == -ENOENT)
		snprintf(why, sizeof(why),
			 "there is no control directory %s; no server uses it yet; to name another "
			 "one: --control or $SAFESTART_CONTROL",
			 options_control());
	else
		snprintf(why, sizeof(why),
			 "cannot read the control directory: %s: %s; run this as the user of the "
			 "servers or as root",
			 safestart_strerror(error), options_control());
	add_lacking(lacking, "", NULL, why);
}

/* Asks the processes that are running at this moment. */
static int check_once(const struct barrier *barrier, const struct roster *roster, int64_t deadline,
		      json_t *lacking)
{
	struct processes processes;
	int64_t left = deadline - clock_now();

	json_array_clear(lacking);
	int error = processes_list(&processes, options_control(), NULL);
	if (error == 0)
		(void)processes_ask(&processes,
				    json_pack("{s:s,s:s}", "do", "nodes", "id", barrier->node),
				    left < PROCESSES_TIMEOUT && left > PROCESSES_TIMEOUT / 8
					    ? left
					    : PROCESSES_TIMEOUT);
	int code = barrier_check(barrier, roster, &processes, lacking);
	if (error < 0) { /* no process was seen, which does not mean that none has the node */
		add_lacking_directory(lacking, error);
		code = code == EXIT_DONE ? EXIT_NOT_YET : code;
	}
	processes_free(&processes);
	return code;
}

/* Before --gone, or without a roster, there must be at least one process: a wrong --control must
 * not pass for a node that is gone. */
static int prepare(const struct barrier *barrier, struct roster *roster)
{
	struct processes processes;
	int code = roster_read(roster, &barrier->roster, options_control(),
			       !barrier->gone && !barrier->no_roster);

	if (code == EXIT_ROSTER && (barrier->gone || barrier->no_roster))
		code = 0;
	if (code == 0 && (barrier->gone || roster->count == 0)) {
		code = processes_find(&processes, options_control(), NULL);
		if (code == 0)
			processes_free(&processes);
	}
	if (code == 0 && !barrier->gone && roster->count == 0)
		(void)report(0, "without a roster, a process that is down is not noticed");
	return code;
}

int barrier_wait(const struct barrier *barrier, json_t *result)
{
	int64_t started = clock_now(), deadline = started + barrier->timeout, pause = FIRST_PAUSE;
	json_t *lacking = json_array();
	struct roster roster;
	int code = prepare(barrier, &roster);

	if (code != 0) {
		json_decref(lacking);
		return code;
	}
	/* The pause grows, so that a long wait asks the servers once a second at most. */
	while ((code = check_once(barrier, &roster, deadline, lacking)) != 0 &&
	       clock_now() < deadline) {
		int64_t left = deadline - clock_now();
		usleep((useconds_t)((left < pause ? left > 0 ? left : 0 : pause) / 1000));
		pause = pause * 3 / 2 < LONGEST_PAUSE ? pause * 3 / 2 : LONGEST_PAUSE;
	}
	double seconds = (double)(clock_now() - started) / 1e9;
	if (result != NULL) {
		json_object_set_new(result, barrier->gone ? "gone" : "available",
				    json_boolean(code == EXIT_DONE));
		json_object_set_new(result, "seconds", json_real(seconds));
		json_object_set(result, "lacking", lacking);
	} else {
		print_result(barrier, code, lacking, seconds);
	}
	roster_free(&roster);
	json_decref(lacking);
	return code;
}
