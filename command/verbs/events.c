/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: prints outcomes and log lines of every process as they happen, one line each. One poll()
 * loop; a process never waits for it. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/options.h"
#include "base/report.h"
#include "base/table.h"
#include "base/text.h"
#include "hosts/connection.h"
#include "hosts/processes.h"
#include "verbs/verbs.h"

#define LIST_AGAIN_MS 1000 /* to find new processes */
/* --no-follow: a process that sends nothing for so long does not answer. */
#define ANSWER_MS ((int)(PROCESSES_TIMEOUT / 1000000))

static bool no_follow;

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"no-follow", NULL, OPTION_FLAG, &no_follow,
	 "end after the events that the processes have kept"},
	OPTION_END,
};

struct listener {
	char *file, *name, *process;
	struct connection connection;
	bool received; /* it sent anything */
	/* It sent that it is closing, or with --no-follow that this is all; or it refused. */
	bool ended;
	char *last_message; /* the newest outcome's message */
};

struct listeners {
	struct listener *at;
	size_t count;
};

/* ---- A line ---- */

static enum colour colour_of(const json_t *event, const char *verdict)
{
	int level = (int)member_number(event, "level");

	if (verdict[0] == '\0')
		return strcmp(member_text(event, "event"), "log") != 0 ? COLOUR_FAINT
		       : level <= 3                                    ? COLOUR_BAD
		       : level == 4                                    ? COLOUR_WARN
								       : COLOUR_PLAIN;
	return strcmp(verdict, "applied") == 0     ? COLOUR_GOOD
	       : strcmp(verdict, "unchanged") == 0 ? COLOUR_PLAIN
						   : COLOUR_BAD;
}

/* TIME NAME PROCESS MESSAGE; a kind of event that is not known is printed by its name. */
static void print_event(const struct listener *listener, const json_t *event)
{
	const json_t *outcome = json_object_get(event, "outcome");
	const char *kind = member_text(event, "event"), *at = member_text(event, "at"),
		   *verdict = member_text(outcome, "verdict");

	fputs(colour_on(COLOUR_FAINT), stdout);
	text_print(at);
	fputs(colour_off(), stdout);
	printf("%s", at[0] != '\0' ? " " : "");
	text_print(member_text(event, "name")[0] != '\0' ? member_text(event, "name")
							 : listener->name);
	printf(" %s %s", listener->process, colour_on(colour_of(event, verdict)));
	if (strcmp(kind, "outcome") == 0)
		text_print(member_text(outcome, "message")[0] != '\0'
				   ? member_text(outcome, "message")
				   : verdict);
	else if (strcmp(kind, "log") == 0)
		text_print(member_text(event, "message"));
	else if (strcmp(kind, "lost") == 0)
		printf("(%.0f lines lost: this client read too slowly)",
		       member_number(event, "count"));
	else if (strcmp(kind, "end") == 0)
		fputs("(closing)", stdout);
	else
		text_print(kind);
	printf("%s\n", colour_off());
}

/* The library logs each outcome too, as "run N: …": people see it once. */
static bool is_repeated(struct listener *listener, const json_t *event)
{
	const json_t *outcome = json_object_get(event, "outcome");
	const char *message = member_text(event, "message");

	if (json_is_object(outcome)) {
		free(listener->last_message);
		listener->last_message = strdup(member_text(outcome, "message"));
		return false;
	}
	size_t length = strlen(message),
	       last_message = listener->last_message != NULL ? strlen(listener->last_message) : 0;
	return last_message > 0 && strncmp(message, "run ", 4) == 0 && length > last_message &&
	       strcmp(message + length - last_message, listener->last_message) == 0;
}

/* False, with --no-follow: this process has sent all that it had. */
static bool take_line(char *line, size_t length, void *user_data)
{
	struct listener *listener = user_data;
	json_t *event = json_loadb(line, length, 0, NULL);

	listener->received = true;
	if (json_is_object(event)) {
		bool end = strcmp(member_text(event, "event"), "end") == 0;
		listener->ended |= end || json_is_false(json_object_get(event, "ok"));
		if (end && no_follow)
			; /* the end of the answer, not an event */
		else if (common.json)
			(void)print_json(json_incref(event), 0);
		else if (json_is_false(json_object_get(event, "ok")))
			(void)report(0, "%s %s: %s", listener->name, listener->process,
				     member_text(event, "message"));
		else if (!is_repeated(listener, event))
			print_event(listener, event);
	}
	json_decref(event);
	return !no_follow || !listener->ended;
}

/* ---- The connections ---- */

static struct listener *find(const struct listeners *listeners, const char *file)
{
	for (size_t i = 0; i < listeners->count; i++) {
		if (strcmp(listeners->at[i].file, file) == 0)
			return &listeners->at[i];
	}
	return NULL;
}

static void drop(struct listeners *listeners, size_t index)
{
	struct listener *listener = &listeners->at[index];

	connection_close(&listener->connection);
	free(listener->file);
	free(listener->name);
	free(listener->process);
	free(listener->last_message);
	*listener = listeners->at[--listeners->count];
}

static void report_stranger(const struct listener *listener)
{
	char words[160];

	connection_stranger(&listener->connection, words, sizeof(words));
	(void)report(0, "%s %s: %s", listener->name, listener->process, words);
}

/* Connects to processes that are new. Errors are reported the first time only. */
static void connect_new(struct listeners *listeners, const char *directory, const char *name,
			bool first)
{
	const char *line =
		no_follow ? "{\"do\":\"events\",\"follow\":false}\n" : "{\"do\":\"events\"}\n";
	struct processes processes;

	if (processes_list(&processes, directory, name) < 0)
		return;
	for (size_t i = 0; i < processes.count; i++) {
		struct peer *peer = &processes.peers[i];
		struct listener new = {.file = peer->file,
				       .name = peer->name,
				       .process = peer->process};
		if (find(listeners, peer->file) != NULL)
			continue;
		int error = connection_open(&new.connection, directory, peer->file,
					    strtol(peer->process, NULL, 10), line);
		struct listener *at =
			error == 0 ? realloc(listeners->at, (listeners->count + 1) * sizeof(*at))
				   : NULL;
		if (at == NULL) {
			if (first && error == CONNECTION_STRANGER)
				report_stranger(&new);
			else if (first && error < 0 && error != -ECONNREFUSED)
				(void)report(0, "%s %s: cannot connect: %s", peer->name,
					     peer->process, safestart_strerror(error));
			connection_close(&new.connection);
			continue;
		}
		listeners->at = at;
		listeners->at[listeners->count++] = new;
		peer->file = peer->name = peer->process = NULL; /* moved */
	}
	processes_free(&processes);
}

/* Waits for lines, prints them. Returns how many connections had an event. */
static int poll_once(struct listeners *listeners, int wait_ms)
{
	struct pollfd *polled = calloc(listeners->count + 1, sizeof(*polled));
	int ready = 0;

	for (size_t i = 0; polled != NULL && i < listeners->count; i++)
		polled[i] =
			(struct pollfd){.fd = listeners->at[i].connection.fd,
					.events = connection_events(&listeners->at[i].connection)};
	if (polled != NULL)
		ready = poll(polled, listeners->count, wait_ms);
	/* From the last one on, because drop() moves the last into its place. */
	for (size_t i = listeners->count; ready > 0 && i-- > 0;) {
		struct listener *listener = &listeners->at[i];
		if (polled[i].revents == 0 ||
		    connection_transfer(&listener->connection, take_line, listener) == 0)
			continue;
		if (!common.json && !listener->ended)
			(void)report(0, "%s %s: closed the connection, as a killed process does",
				     listener->name, listener->process);
		drop(listeners, i);
	}
	free(polled);
	fflush(stdout);
	return ready;
}

static int events_main(int argc, char **argv)
{
	struct listeners listeners = {0};
	struct processes processes;
	int first, code;

	if (!options_parse(&verb_events, argc, argv, 0, 1, &first, &code))
		return code;
	const char *name = first < argc ? argv[first] : NULL;
	code = processes_find(&processes, options_control(), name);
	if (code != 0)
		return code;
	processes_free(&processes);
	connect_new(&listeners, options_control(), name, true);
	if (listeners.count == 0)
		code = report(EXIT_FAILED,
			      "cannot connect to any process in %s; see: safestart status",
			      options_control());
	for (int64_t listed_at = clock_now(); code == 0 && !ferror(stdout);) {
		if (poll_once(&listeners, no_follow ? ANSWER_MS : LIST_AGAIN_MS) <= 0 && no_follow)
			break;
		if (no_follow && listeners.count == 0)
			break;
		if (!no_follow && clock_now() - listed_at >= LIST_AGAIN_MS * INT64_C(1000000)) {
			connect_new(&listeners, options_control(), name, false);
			listed_at = clock_now();
		}
	}
	/* The kernel accepts connections even if the process is stopped. */
	for (size_t i = 0; no_follow && i < listeners.count; i++) {
		const struct listener *listener = &listeners.at[i];
		(void)report(0, "%s %s: %s for %d s: is it stopped? See: safestart status %s",
			     listener->name, listener->process,
			     listener->received ? "nothing more received" : "nothing received",
			     ANSWER_MS / 1000, listener->name);
	}
	while (listeners.count > 0)
		drop(&listeners, listeners.count - 1);
	free(listeners.at);
	return code;
}

const struct verb verb_events = {
	.name = "events",
	.main = events_main,
	.help = "print what happens in every process, as it happens",
	.arguments = "[NAME]",
	.text = "Prints the latest outcomes and log lines that each process has kept, then new "
		"ones as they come, until it is stopped with ^C. Processes that start meanwhile "
		"are included. A client that reads too slowly misses lines; a line says how many. "
		"The processes never wait.",
	.options = options,
	.examples = {"Watch a deployment", "safestart events api", "What has happened so far",
		     "safestart events --no-follow", "Only what went wrong, for a program",
		     "safestart events --json | jq -c 'select((.outcome.error // 0) < 0)'"},
	.exits = {{0, "ended as requested"},
		  {2, "usage error"},
		  {4, "no process is running, or none could be connected to"}},
};
