/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: what happens in every process, as it happens: outcomes and log lines, a line each. */
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

#define LIST_AGAIN_MS 1000 /* for processes that have come */
#define ANSWER_MS                                                                                 \
	((int)(PROCESSES_TIMEOUT / 1000000)) /* --no-follow: whoever is not done and says nothing \
						for so long does not answer */

static bool no_follow;

static const struct option_row options[] = {
	OPTION_CONTROL,
	OPTION_JSON,
	{"no-follow", NULL, OPTION_FLAG, &no_follow, "end after what they have kept"},
	OPTION_END,
};

struct listener {
	char *file, *name, *process;
	struct connection connection;
	bool received; /* it said anything */
	/* It said that it is closing, or --no-follow, that this is all; or it refused. */
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
		printf("(%.0f lines are lost: this end was too slow)",
		       member_number(event, "count"));
	else if (strcmp(kind, "end") == 0)
		fputs("(it is closing)", stdout);
	else
		text_print(kind);
	printf("%s\n", colour_off());
}

/* The library says each outcome in its log too, with which run it was: once is enough for people.
 */
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

static bool take_line(char *line, size_t length, void *user_data)
{
	struct listener *listener = user_data;
	json_t *event = json_loadb(line, length, 0, NULL);

	listener->received = true;
	if (json_is_object(event)) {
		bool end = strcmp(member_text(event, "event"), "end") == 0;
		listener->ended |= end || json_is_false(json_object_get(event, "ok"));
		if (end && no_follow)
			; /* that is the answer's, and did not happen */
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

/* ---- Who is listened to ---- */

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

/* Connect to those that are new. The first time it is said who can't be heard. */
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
		int error = connection_open(&new.connection, directory, peer->file, line);
		struct listener *at =
			error == 0 ? realloc(listeners->at, (listeners->count + 1) * sizeof(*at))
				   : NULL;
		if (at == NULL) {
			if (first && error < 0 && error != -ECONNREFUSED)
				(void)report(0, "%s %s can't be heard: %s", peer->name,
					     peer->process, safestart_strerror(error));
			connection_close(&new.connection);
			continue;
		}
		listeners->at = at;
		listeners->at[listeners->count++] = new;
		peer->file = peer->name = peer->process = NULL; /* taken */
	}
	processes_free(&processes);
}

/* Returns how many lines or ends there were. */
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
	/* From behind, for drop() moves the last one. */
	for (size_t i = listeners->count; ready > 0 && i-- > 0;) {
		struct listener *listener = &listeners->at[i];
		if (polled[i].revents == 0 ||
		    connection_transfer(&listener->connection, take_line, listener) == 0)
			continue;
		if (!common.json && !listener->ended)
			(void)report(0, "%s %s has gone", listener->name, listener->process);
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
		code = report(EXIT_FAILED, "nobody in %s can be heard; see safestart status",
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
	/* A socket takes connections, whatever its process does. */
	for (size_t i = 0; no_follow && i < listeners.count; i++) {
		const struct listener *listener = &listeners.at[i];
		(void)report(0,
			     "%s was heard from %s %s for %d s: is it stopped? safestart status %s "
			     "tells",
			     listener->received ? "nothing more" : "nothing", listener->name,
			     listener->process, ANSWER_MS / 1000, listener->name);
	}
	while (listeners.count > 0)
		drop(&listeners, listeners.count - 1);
	free(listeners.at);
	return code;
}

const struct verb verb_events = {
	.name = "events",
	.main = events_main,
	.help = "what happens in every process, as it happens",
	.arguments = "[NAME]",
	.text = "Prints what each process has kept of its latest outcomes and log lines, then goes "
		"on with what comes, until it is stopped with ^C. Processes "
		"that start meanwhile are heard too. Whoever listens too slowly loses lines, and "
		"is told how many; the processes never wait.",
	.options = options,
	.examples = {"Watch a deployment", "safestart events api", "What has happened so far",
		     "safestart events --no-follow", "Only what went wrong, for a program",
		     "safestart events --json | jq -c 'select(.outcome.error < 0)'"},
	.exits = {{0, "ended as asked"},
		  {2, "used in a way that can't be meant"},
		  {4, "nobody is there, or can be heard"}},
};
