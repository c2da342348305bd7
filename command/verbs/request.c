/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* request: asks processes to re-read their nodes, and reports the outcome. Reads no node file
 * itself. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "hosts/processes.h"
#include "verbs/request.h"
#include "verbs/verbs.h"

static bool force, urgent, wait;
static const char *reason;
static int64_t timeout = INT64_C(60000000000);

/* The user that asks, for the logs of the processes. */
static void format_user(char *words, size_t size)
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
		format_user(who, sizeof(who));
	json_t *request = json_pack("{s:s,s:s,s:b,s:b,s:b}", "do", "request", "reason",
				    why != NULL ? why : who, "force", forced, "urgent", at_once,
				    "wait", wait_ns > 0);
	if (wait_ns > 0)
		json_object_set_new(request, "timeout_ms",
				    json_integer(wait_ns / 1000000 > 0 ? wait_ns / 1000000 : 1));
	return request;
}

/* Without --wait it is enough that the process has accepted the request. */
static int exit_code_of(const struct peer *peer)
{
	const json_t *outcome = json_object_get(peer->answer, "outcome");
	const char *verdict = member_text(outcome, "verdict");

	if (peer->state == PEER_GONE)
		return EXIT_DONE; /* killed: no process has to apply it */
	if (peer->state == PEER_SILENT)
		return EXIT_NOT_YET;
	if (peer->state != PEER_ANSWERED)
		return EXIT_FAILED;
	if (!wait || strcmp(verdict, "applied") == 0 || strcmp(verdict, "unchanged") == 0)
		return member_number(outcome, "quarantined") > 0 ? EXIT_QUARANTINED : EXIT_DONE;
	return strcmp(verdict, "pending") == 0   ? EXIT_NOT_YET
	       : strcmp(verdict, "refused") == 0 ? EXIT_REFUSED
						 : EXIT_FAILED;
}

static void print_peer(const struct peer *peer)
{
	const json_t *outcome = json_object_get(peer->answer, "outcome");
	int code = exit_code_of(peer);

	fputs(colour_on(code == EXIT_DONE                                  ? COLOUR_GOOD
			: code == EXIT_NOT_YET || code == EXIT_QUARANTINED ? COLOUR_WARN
									   : COLOUR_BAD),
	      stdout);
	text_print(peer->name);
	printf(" %s:%s ", peer->process, colour_off());
	if (peer->state != PEER_ANSWERED)
		text_print(peer->why);
	else if (json_is_object(outcome))
		text_print(member_text(outcome, "message")[0] != '\0'
				   ? member_text(outcome, "message")
				   : member_text(outcome, "verdict"));
	else
		printf("requested, ticket %.0f", member_number(peer->answer, "ticket"));
	putchar('\n');
}

/* The next step as a complete command, with the name. */
static void print_next(const struct processes *processes)
{
	for (size_t i = 0; i < processes->count; i++) {
		const struct peer *peer = &processes->peers[i];
		if (peer->state != PEER_ANSWERED ||
		    strstr(member_text(json_object_get(peer->answer, "outcome"), "message"),
			   "SAFESTART_FORCE") == NULL)
			continue;
		fputs("Next: to apply it anyway: safestart request --force ", stdout);
		text_print(peer->name);
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

/* --force confirms the loss of nodes of one set. Without a NAME it would lift the guard rails of
 * every other server on the host as well [P12]. */
static int check_force(const struct processes *processes, const char *name)
{
	for (size_t i = 1; force && name == NULL && i < processes->count; i++) {
		if (strcmp(processes->peers[0].name, processes->peers[i].name) != 0)
			return report(EXIT_USAGE,
				      "--force needs a NAME here: %s and %s are running, and it "
				      "lifts the guard rails of every process that it reaches",
				      processes->peers[0].name, processes->peers[i].name);
	}
	return 0;
}

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"force", NULL, OPTION_FLAG, &force,
	 "ignore max_shrink and min_nodes once; an empty set is still refused"},
	{"urgent", NULL, OPTION_FLAG, &urgent, "skip debounce and backoff"},
	{"reason", "TEXT", OPTION_TEXT, &reason, "the reason, for the logs of the processes"},
	{"wait", NULL, OPTION_FLAG, &wait, "wait for the outcomes, and exit with the worst"},
	{"timeout", "TIME", OPTION_DURATION, &timeout, "how long to wait at most (60s)"},
	OPTION_END,
};

static int request_main(int argc, char **argv)
{
	json_t *result = json_array();
	struct processes processes = {0};
	int first, code;

	if (!options_parse(&verb_request, argc, argv, 0, 1, &first, &code))
		goto done;
	const char *name = first < argc ? argv[first] : NULL;
	code = processes_find(&processes, options_control(), name);
	if (code == 0)
		code = check_force(&processes, name);
	if (code != 0)
		goto done;
	/* The processes keep the timeout of the outcome; PROCESSES_TIMEOUT on top is for those that
	 * do not answer at all. --wait with --timeout 0 still asks for an outcome, which may be
	 * "pending". */
	const int64_t patience = wait ? (timeout > 0 ? timeout : 1) : 0;
	if (processes_ask(&processes, request_new(force, urgent, reason, patience),
			  patience + PROCESSES_TIMEOUT) < 0) {
		code = report(EXIT_FAILED, "out of memory");
		goto done;
	}
	bool any = false;
	for (size_t i = 0; i < processes.count; i++) {
		any |= processes.peers[i].state != PEER_GONE;
		code = exit_code_worse(code, exit_code_of(&processes.peers[i]));
		if (common.json)
			json_array_append_new(result, peer_json(&processes.peers[i]));
		else
			print_peer(&processes.peers[i]);
	}
	if (!any)
		code = report(EXIT_FAILED, "no process left to ask; are the servers running?");
	if (common.json)
		code = print_json(json_incref(result), code);
	else
		print_next(&processes);
done:
	processes_free(&processes);
	json_decref(result);
	return code;
}

const struct verb verb_request = {
	.name = "request",
	.main = request_main,
	.help = "ask processes to re-read their nodes",
	.arguments = "[NAME]",
	.text = "Request as often as you like: requests in close succession become one run, runs "
		"never overlap, and an unchanged set changes nothing. Without a NAME every process "
		"in the control directory is asked. Only root and the user that a process runs as "
		"may ask it.\n\nA set that would lose too many nodes is refused, unless it is "
		"requested with --force.",
	.options = options,
	.examples = {"Apply the node file now, and see the outcome", "safestart request --wait api",
		     "Half of the nodes are removed on purpose",
		     "safestart request --force --wait --reason 'rack 4 moves out' api"},
	.exits = {{0, "requested; with --wait: applied, or unchanged"},
		  {1, "no outcome before the timeout; the request stays"},
		  {2, "usage error"},
		  {3, "a process refused it, and is still serving the old nodes"},
		  {4, "a process failed, or could not be asked"},
		  {7, "applied, but unusable nodes were left out"}},
};
