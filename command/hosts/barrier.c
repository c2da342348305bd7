/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/barrier.h"

#include <errno.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hosts/table.h"

#define FIRST_PAUSE INT64_C(50000000)
#define LONGEST_PAUSE INT64_C(1000000000)

static const json_t *find_node(const struct peer *peer, const char *id)
{
	const json_t *nodes = json_object_get(peer->answer, "nodes"), *node;
	size_t index;

	json_array_foreach(nodes, index, node) {
		if (strcmp(answer_text(node, "id"), id) == 0)
			return node;
	}
	return NULL;
}

static void lacks(json_t *lacking, const char *name, const char *process, const char *why)
{
	json_array_append_new(lacking, json_pack("{s:s,s:s*,s:s}", "name", name, "process", process,
						 "why", why));
}

/* ---- Available ---- */

/* "" when it has it. */
static int summary_peer(const struct barrier *barrier, const struct peer *peer, char *why,
			size_t size)
{
	const json_t *node = find_node(peer, barrier->node);
	const char *state = answer_text(node, "state"),
		   *incarnation = answer_text(node, "incarnation");

	why[0] = '\0';
	if (peer->state != PEER_ANSWERED) {
		snprintf(why, size, "%s", peer->why);
		return LEAVE_NOT_YET;
	}
	if (node == NULL) {
		/* Another file than the one that was edited, say. */
		const char *source = answer_text(peer->answer, "source");
		snprintf(why, size, "does not know it: neither announced nor live%s%.300s",
			 source[0] != '\0' ? "; its nodes come from " : "", source);
		return LEAVE_NOT_YET;
	}
	if (strcmp(state, "quarantined") == 0) {
		snprintf(why, size, "quarantined: %.300s", answer_text(node, "why"));
		return LEAVE_QUARANTINED;
	}
	if (barrier->incarnation != NULL && strcmp(incarnation, barrier->incarnation) != 0) {
		snprintf(why, size, "has incarnation \"%.100s\", not \"%.100s\" (%.20s)",
			 incarnation, barrier->incarnation, state);
		return LEAVE_NOT_YET;
	}
	if (strcmp(state, "proven") == 0 || (barrier->applied && strcmp(state, "applied") == 0))
		return 0;
	snprintf(why, size, "%.20s%s: %.300s", state,
		 strcmp(state, "applied") == 0 ? ", not proven" : "", answer_text(node, "why"));
	return LEAVE_NOT_YET;
}

/* What is quarantined does not come by itself. */
static int worse(int one, int other)
{
	return (one == LEAVE_QUARANTINED && other == LEAVE_NOT_YET) ||
			       (one == LEAVE_NOT_YET && other == LEAVE_QUARANTINED)
		       ? LEAVE_QUARANTINED
		       : leave_worse(one, other);
}

/* All processes of one name have to have it, and there have to be enough of them. */
static int summary_name(const struct barrier *barrier, const struct processes *processes,
			const char *name, unsigned needed, unsigned *judged, json_t *lacking)
{
	const struct peer *first = NULL;
	unsigned there = 0, gone = 0;
	int leave = 0;
	char why[512];

	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		if (strcmp(peer->name, name) != 0)
			continue;
		if (peer->state == PEER_GONE) {
			gone++;
			continue;
		}
		if (peer->state == PEER_ANSWERED && !answer_bool(peer->answer, "serves", true))
			continue;
		there++;
		first = first == NULL ? peer : first;
		int its = summary_peer(barrier, peer, why, sizeof(why));
		/* Who may write to the directory could stand in for one that is down. */
		if (peer->owner != first->owner) {
			snprintf(why, sizeof(why),
				 "belongs to user %u, and process %s of that name to user %u: one "
				 "of them is not what it says",
				 (unsigned)peer->owner, first->process, (unsigned)first->owner);
			its = LEAVE_NOT_YET;
		}
		if (its != 0)
			lacks(lacking, name, peer->process, why);
		leave = worse(leave, its);
	}
	*judged += there;
	if (there < needed) {
		snprintf(why, sizeof(why), "%u of %u processes of the roster are there", there,
			 needed);
		if (gone > 0)
			snprintf(why + strlen(why), sizeof(why) - strlen(why), "; %u %s killed",
				 gone, gone == 1 ? "was" : "were");
		lacks(lacking, name, NULL, why);
		leave = worse(leave, LEAVE_ROSTER);
	}
	return leave;
}

static int summary_available(const struct barrier *barrier, const struct roster *roster,
			     const struct processes *processes, json_t *lacking)
{
	unsigned judged = 0;
	int leave = 0;

	for (size_t i = 0; i < roster->count; i++)
		leave = worse(leave, summary_name(barrier, processes, roster->rows[i].name,
						  roster->rows[i].count, &judged, lacking));
	for (size_t i = 0; roster->count == 0 && i < processes->count; i++) {
		if (i == 0 || strcmp(processes->peers[i - 1].name, processes->peers[i].name) != 0)
			leave = worse(leave,
				      summary_name(barrier, processes, processes->peers[i].name, 0,
						   &judged, lacking));
	}
	/* All of nobody: they were killed, or serve nobody, or the roster says 0. */
	if (leave == 0 && judged == 0) {
		lacks(lacking, "", NULL,
		      processes->count == 0 ? "no process is there"
					    : "no process is there that serves");
		leave = LEAVE_ROSTER;
	}
	return leave;
}

/* ---- Gone ---- */

/* A process that does not answer may hold it still; one that was killed holds nothing. */
static int summary_gone(const struct barrier *barrier, const struct processes *processes,
			json_t *lacking)
{
	/* Not by what could be written down: there may be no memory for it. */
	int leave = LEAVE_DONE;
	char why[512];

	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		const json_t *node = find_node(peer, barrier->node);
		if (peer->state == PEER_GONE || (peer->state == PEER_ANSWERED && node == NULL))
			continue;
		if (peer->state == PEER_ANSWERED)
			snprintf(why, sizeof(why), "has it still: %.20s: %.300s",
				 answer_text(node, "state"), answer_text(node, "why"));
		else
			snprintf(why, sizeof(why), "%s", peer->why);
		lacks(lacking, peer->name, peer->process, why);
		leave = LEAVE_NOT_YET;
	}
	return leave;
}

int barrier_judge(const struct barrier *barrier, const struct roster *roster,
		  const struct processes *processes, json_t *lacking)
{
	return barrier->gone ? summary_gone(barrier, processes, lacking)
			     : summary_available(barrier, roster, processes, lacking);
}

/* ---- Waiting ---- */

static void tell(const struct barrier *barrier, int leave, const json_t *lacking, double seconds)
{
	const char *wish = barrier->gone      ? "gone"
			   : barrier->applied ? "applied everywhere"
					      : "available";
	const json_t *one;
	bool idle = json_array_size(lacking) > 0;
	size_t index;

	if (leave == LEAVE_DONE) {
		words_print(barrier->node);
		printf(" is %s (after %s)\n", wish, words_span(seconds).text);
		return;
	}
	char *node = words_clean(barrier->node);
	(void)say(leave, "%s is not %s after %s:", node != NULL ? node : "it", wish,
		  words_span(seconds).text);
	json_array_foreach(lacking, index, one) {
		const char *process = answer_text(one, "process"), *name = answer_text(one, "name");
		char *why = words_clean(answer_text(one, "why")), *clean = words_clean(name);
		fprintf(stderr, "  %s%s%s%s%s\n", clean != NULL ? clean : "",
			process[0] != '\0' ? " " : "", process, name[0] != '\0' ? ": " : "",
			why != NULL ? why : "");
		idle &= strncmp(answer_text(one, "why"), "applied", 7) == 0;
		free(clean);
		free(why);
	}
	if (idle && !barrier->gone)
		fprintf(stderr, "Only a request that worked proves a node. Where servers are idle, "
				"send them one, or wait with --applied.\n");
	free(node);
}

/* A server that is about to start makes the directory; for whoever may not look into it, nobody
 * will ever be there. */
static void lacks_directory(json_t *lacking, int error)
{
	char why[4500];

	if (error == -ENOENT)
		snprintf(why, sizeof(why),
			 "there is no control directory %s: no server was opened with it, or "
			 "another one is meant: --control, $SAFESTART_CONTROL",
			 options_control());
	else
		snprintf(why, sizeof(why),
			 "can't look into the control directory %s: %s; ask as the user of the "
			 "servers, or as root",
			 options_control(), safestart_strerror(error));
	lacks(lacking, "", NULL, why);
}

/* Those that are there at this moment. */
static int look(const struct barrier *barrier, const struct roster *roster, int64_t deadline,
		json_t *lacking)
{
	struct processes processes;
	int64_t left = deadline - clock_now();

	json_array_clear(lacking);
	int error = processes_look(&processes, options_control(), NULL);
	if (error == 0)
		(void)processes_ask(&processes,
				    json_pack("{s:s,s:s}", "do", "nodes", "id", barrier->node),
				    left < PROCESSES_TIMEOUT && left > PROCESSES_TIMEOUT / 8
					    ? left
					    : PROCESSES_TIMEOUT);
	int leave = barrier_judge(barrier, roster, &processes, lacking);
	if (error < 0) { /* that nobody could be seen does not say that nobody has it */
		lacks_directory(lacking, error);
		leave = leave == LEAVE_DONE ? LEAVE_NOT_YET : leave;
	}
	processes_free(&processes);
	return leave;
}

/* The directory has to be there, and somebody in it where nobody's having it is what is waited for:
 * a wrong --control must not pass for a node that is gone. */
static int begin(const struct barrier *barrier, struct roster *roster)
{
	struct processes processes;
	int leave = roster_read(roster, &barrier->roster, options_control(),
				!barrier->gone && !barrier->no_roster);

	if (leave == LEAVE_ROSTER && (barrier->gone || barrier->no_roster))
		leave = 0;
	if (leave == 0 && (barrier->gone || roster->count == 0)) {
		leave = processes_find(&processes, options_control(), NULL);
		if (leave == 0)
			processes_free(&processes);
	}
	if (leave == 0 && !barrier->gone && roster->count == 0)
		(void)say(0, "without a roster a process that is down is not missed");
	return leave;
}

int barrier_wait(const struct barrier *barrier, json_t *told)
{
	int64_t started = clock_now(), deadline = started + barrier->timeout, pause = FIRST_PAUSE;
	json_t *lacking = json_array();
	struct roster roster;
	int leave = begin(barrier, &roster);

	if (leave != 0) {
		json_decref(lacking);
		return leave;
	}
	while ((leave = look(barrier, &roster, deadline, lacking)) != 0 && clock_now() < deadline) {
		int64_t left = deadline - clock_now();
		usleep((useconds_t)((left < pause ? left > 0 ? left : 0 : pause) / 1000));
		pause = pause * 3 / 2 < LONGEST_PAUSE ? pause * 3 / 2 : LONGEST_PAUSE;
	}
	double seconds = (double)(clock_now() - started) / 1e9;
	if (told != NULL) {
		json_object_set_new(told, barrier->gone ? "gone" : "available",
				    json_boolean(leave == LEAVE_DONE));
		json_object_set_new(told, "seconds", json_real(seconds));
		json_object_set(told, "lacking", lacking);
	} else {
		tell(barrier, leave, lacking, seconds);
	}
	roster_free(&roster);
	json_decref(lacking);
	return leave;
}
