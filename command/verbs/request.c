/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* request: ask processes to look at their nodes anew, and tell how it ended. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "hosts/processes.h"
#include "hosts/table.h"
#include "verbs/request.h"

static bool force, urgent, wait;
static const char *reason;
static int64_t timeout = INT64_C(60000000000);

/* Who asks, for the log of those that are asked. */
static void say_who(char *words, size_t size)
{
	char buffer[4096];
	struct passwd entry, *found = NULL;

	if (getpwuid_r(getuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL)
		snprintf(words, size, "safestart request by %s", found->pw_name);
	else
		snprintf(words, size, "safestart request by user %u", (unsigned)getuid());
}

json_t *request_new(bool forced, bool at_once, const char *why, int64_t wait_ns)
{
	char who[128];

	if (why == NULL)
		say_who(who, sizeof(who));
	json_t *request = json_pack("{s:s,s:s,s:b,s:b,s:b}", "do", "request", "reason",
				    why != NULL ? why : who, "force", forced, "urgent", at_once,
				    "wait", wait_ns > 0);
	if (wait_ns > 0)
		json_object_set_new(request, "timeout_ms",
				    json_integer(wait_ns / 1000000 > 0 ? wait_ns / 1000000 : 1));
	return request;
}

static int leave_by(const struct peer *peer)
{
	const json_t *outcome = json_object_get(peer->answer, "outcome");
	const char *verdict = answer_text(outcome, "verdict");

	if (peer->state == PEER_GONE)
		return LEAVE_DONE; /* nobody has it to do */
	if (peer->state == PEER_SILENT)
		return LEAVE_NOT_YET;
	if (peer->state != PEER_ANSWERED)
		return LEAVE_FAILED;
	if (!wait || strcmp(verdict, "applied") == 0 || strcmp(verdict, "unchanged") == 0)
		return answer_number(outcome, "quarantined") > 0 ? LEAVE_QUARANTINED : LEAVE_DONE;
	return strcmp(verdict, "pending") == 0   ? LEAVE_NOT_YET
	       : strcmp(verdict, "refused") == 0 ? LEAVE_REFUSED
						 : LEAVE_FAILED;
}

static void print_peer(const struct peer *peer)
{
	const json_t *outcome = json_object_get(peer->answer, "outcome");
	int leave = leave_by(peer);

	fputs(colour_on(leave == LEAVE_DONE                                    ? COLOUR_GOOD
			: leave == LEAVE_NOT_YET || leave == LEAVE_QUARANTINED ? COLOUR_WARN
									       : COLOUR_BAD),
	      stdout);
	words_print(peer->name);
	printf(" %s:%s ", peer->process, colour_off());
	if (peer->state != PEER_ANSWERED)
		words_print(peer->why);
	else if (json_is_object(outcome))
		words_print(answer_text(outcome, "message")[0] != '\0'
				    ? answer_text(outcome, "message")
				    : answer_text(outcome, "verdict"));
	else
		printf("asked, ticket %.0f", answer_number(peer->answer, "ticket"));
	putchar('\n');
}

/* The library's words are for programmers. */
static void print_next(const struct processes *processes)
{
	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		if (peer->state != PEER_ANSWERED ||
		    strstr(answer_text(json_object_get(peer->answer, "outcome"), "message"),
			   "SAFESTART_FORCE") == NULL)
			continue;
		fputs("Next, if that is meant: safestart request --force ", stdout);
		words_print(peer->name);
		putchar('\n');
		return;
	}
}

static json_t *peer_json(const struct peer *peer)
{
	json_t *answer = json_is_object(peer->answer) ? json_copy(peer->answer) : json_object();

	json_object_set_new(answer, "ok", json_boolean(peer->state == PEER_ANSWERED));
	json_object_set_new(answer, "name", json_string(peer->name));
	json_object_set_new(answer, "process", json_string(peer->process));
	if (peer->state != PEER_ANSWERED)
		json_object_set_new(answer, "message", json_string(peer->why));
	return answer;
}

/* To force is to say that a loss is meant, of that set in those processes: not of everybody who
 * happens to be there. */
static int check_force(const struct processes *processes, const char *name)
{
	for (size_t i = 1; force && name == NULL && i < processes->count; i++) {
		if (strcmp(processes->peers[0].name, processes->peers[i].name) != 0)
			return say(LEAVE_USAGE,
				   "--force needs a NAME here: there are %s and %s, and forcing "
				   "lifts the guard rails of all it reaches",
				   processes->peers[0].name, processes->peers[i].name);
	}
	return 0;
}

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"force", NULL, OPTION_FLAG, &force,
	 "lift max_shrink and min_nodes for this time; never applies an empty set"},
	{"urgent", NULL, OPTION_FLAG, &urgent, "skip debounce and backoff"},
	{"reason", "TEXT", OPTION_TEXT, &reason, "why, for their logs"},
	{"wait", NULL, OPTION_FLAG, &wait, "wait for the outcome, and exit by the worst"},
	{"timeout", "TIME", OPTION_DURATION, &timeout, "how long to wait at most (60s)"},
	OPTION_END,
};

static int request_main(int argc, char **argv)
{
	json_t *told = json_array();
	struct processes processes = {0};
	int first, leave;

	if (!options_parse(&verb_request, argc, argv, 0, 1, &first, &leave))
		goto done;
	const char *name = first < argc ? argv[first] : NULL;
	leave = processes_find(&processes, options_control(), name);
	if (leave == 0)
		leave = check_force(&processes, name);
	if (leave != 0)
		goto done;
	/* Theirs is the timeout of the answer; ours on top is for those that do not even answer. To
	 * wait for no time at all is to wait, too: what is told is an outcome, if only that there
	 * is none yet. */
	const int64_t patience = wait ? (timeout > 0 ? timeout : 1) : 0;
	if (processes_ask(&processes, request_new(force, urgent, reason, patience),
			  patience + PROCESSES_TIMEOUT) < 0) {
		leave = say(LEAVE_FAILED, "out of memory");
		goto done;
	}
	bool anybody = false;
	for (size_t i = 0; i < processes.count; i++) {
		anybody |= processes.peers[i].state != PEER_GONE;
		leave = leave_worse(leave, leave_by(&processes.peers[i]));
		if (common.json)
			json_array_append_new(told, peer_json(&processes.peers[i]));
		else
			print_peer(&processes.peers[i]);
	}
	if (!anybody)
		leave = say(LEAVE_FAILED, "nobody was there to be asked; are the servers running?");
	if (common.json)
		leave = print_json(json_incref(told), leave);
	else
		print_next(&processes);
done:
	processes_free(&processes);
	json_decref(told);
	return leave;
}

const struct verb verb_request = {
	.name = "request",
	.main = request_main,
	.help = "ask processes to look at their nodes anew",
	.arguments = "[NAME]",
	.text = "Ask as often as you like: requests in close succession become one run, runs never "
		"overlap, and an unchanged set changes nothing. "
		"Without a NAME every process in the control directory is asked. Only root and the "
		"user a process runs as may ask it.\n\n"
		"A set that would lose too many nodes is refused until it is asked for with "
		"--force.",
	.options = options,
	.examples = {"Apply what is in the file now, and see how it ends",
		     "safestart request --wait api", "It is meant that half of the nodes go",
		     "safestart request --force --wait --reason 'rack 4 moves out' api"},
	.exits = {{0, "asked; with --wait: applied, or nothing had to be"},
		  {1, "not answered before the timeout; it stays asked"},
		  {2, "used in a way that can't be meant"},
		  {3, "refused somewhere: what is live goes on serving"},
		  {4, "failed somewhere, or somebody could not be asked"},
		  {7, "applied, but nodes were left out as unusable"}},
};
