/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events: what happens in every process, as it happens: outcomes and log lines, a line each. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <safestart/safestart.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "hosts/connection.h"
#include "hosts/processes.h"
#include "hosts/table.h"

#define LOOK_AGAIN_MS 1000 /* for processes that have come */
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
	struct connection link;
	bool heard; /* it said anything */
	/* It said that it is closing, or --no-follow, that this is all; or it refused. */
	bool ended;
	char *said; /* the newest outcome's message */
};

struct listeners {
	struct listener *at;
	size_t count;
};

/* ---- A line ---- */

static enum colour colour_of(const json_t *event, const char *verdict)
{
	int level = (int)answer_number(event, "level");

	if (verdict[0] == '\0')
		return strcmp(answer_text(event, "event"), "log") != 0 ? COLOUR_FAINT
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
	const char *kind = answer_text(event, "event"), *at = answer_text(event, "at"),
		   *verdict = answer_text(outcome, "verdict");

	fputs(colour_on(COLOUR_FAINT), stdout);
	words_print(at);
	fputs(colour_off(), stdout);
	printf("%s", at[0] != '\0' ? " " : "");
	words_print(answer_text(event, "name")[0] != '\0' ? answer_text(event, "name")
							  : listener->name);
	printf(" %s %s", listener->process, colour_on(colour_of(event, verdict)));
	if (strcmp(kind, "outcome") == 0)
		words_print(answer_text(outcome, "message")[0] != '\0'
				    ? answer_text(outcome, "message")
				    : verdict);
	else if (strcmp(kind, "log") == 0)
		words_print(answer_text(event, "message"));
	else if (strcmp(kind, "lost") == 0)
		printf("(%.0f lines are lost: this end was too slow)",
		       answer_number(event, "count"));
	else if (strcmp(kind, "end") == 0)
		fputs("(it is closing)", stdout);
	else
		words_print(kind);
	printf("%s\n", colour_off());
}

/* The library says each outcome in its log too, with which run it was: once is enough for people.
 */
static bool was_said(struct listener *listener, const json_t *event)
{
	const json_t *outcome = json_object_get(event, "outcome");
	const char *message = answer_text(event, "message");

	if (json_is_object(outcome)) {
		free(listener->said);
		listener->said = strdup(answer_text(outcome, "message"));
		return false;
	}
	size_t length = strlen(message), said = listener->said != NULL ? strlen(listener->said) : 0;
	return said > 0 && strncmp(message, "run ", 4) == 0 && length > said &&
	       strcmp(message + length - said, listener->said) == 0;
}

static bool take_line(char *line, size_t length, void *user_data)
{
	struct listener *listener = user_data;
	json_t *event = json_loadb(line, length, 0, NULL);

	listener->heard = true;
	if (json_is_object(event)) {
		bool end = strcmp(answer_text(event, "event"), "end") == 0;
		listener->ended |= end || json_is_false(json_object_get(event, "ok"));
		if (end && no_follow)
			; /* that is the answer's, and did not happen */
		else if (common.json)
			(void)print_json(json_incref(event), 0);
		else if (json_is_false(json_object_get(event, "ok")))
			(void)say(0, "%s %s: %s", listener->name, listener->process,
				  answer_text(event, "message"));
		else if (!was_said(listener, event))
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

	connection_close(&listener->link);
	free(listener->file);
	free(listener->name);
	free(listener->process);
	free(listener->said);
	*listener = listeners->at[--listeners->count];
}

/* Connect to those that are new. The first time it is said who can't be heard. */
static void look(struct listeners *listeners, const char *directory, const char *name, bool first)
{
	const char *line =
		no_follow ? "{\"do\":\"events\",\"follow\":false}\n" : "{\"do\":\"events\"}\n";
	struct processes processes;

	if (processes_look(&processes, directory, name) < 0)
		return;
	for (size_t i = 0; i < processes.count; i++) {
		struct peer *peer = &processes.peers[i];
		struct listener new = {.file = peer->file,
				       .name = peer->name,
				       .process = peer->process};
		if (find(listeners, peer->file) != NULL)
			continue;
		int error = connection_open(&new.link, directory, peer->file, line);
		struct listener *at =
			error == 0 ? realloc(listeners->at, (listeners->count + 1) * sizeof(*at))
				   : NULL;
		if (at == NULL) {
			if (first && error < 0 && error != -ECONNREFUSED)
				(void)say(0, "%s %s can't be heard: %s", peer->name, peer->process,
					  safestart_strerror(error));
			connection_close(&new.link);
			continue;
		}
		listeners->at = at;
		listeners->at[listeners->count++] = new;
		peer->file = peer->name = peer->process = NULL; /* taken */
	}
	processes_free(&processes);
}

/* Returns how many lines or ends there were. */
static int turn(struct listeners *listeners, int wait_ms)
{
	struct pollfd *polled = calloc(listeners->count + 1, sizeof(*polled));
	int ready = 0;

	for (size_t i = 0; polled != NULL && i < listeners->count; i++)
		polled[i] = (struct pollfd){.fd = listeners->at[i].link.fd,
					    .events = connection_wants(&listeners->at[i].link)};
	if (polled != NULL)
		ready = poll(polled, listeners->count, wait_ms);
	/* From behind, for drop() moves the last one. */
	for (size_t i = listeners->count; ready > 0 && i-- > 0;) {
		struct listener *listener = &listeners->at[i];
		if (polled[i].revents == 0 ||
		    connection_turn(&listener->link, take_line, listener) == 0)
			continue;
		if (!common.json && !listener->ended)
			(void)say(0, "%s %s has gone", listener->name, listener->process);
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
	int first, leave;

	if (!options_parse(&verb_events, argc, argv, 0, 1, &first, &leave))
		return leave;
	const char *name = first < argc ? argv[first] : NULL;
	leave = processes_find(&processes, options_control(), name);
	if (leave != 0)
		return leave;
	processes_free(&processes);
	look(&listeners, options_control(), name, true);
	if (listeners.count == 0)
		leave = say(LEAVE_FAILED, "nobody in %s can be heard; see safestart status",
			    options_control());
	for (int64_t looked = clock_now(); leave == 0 && !ferror(stdout);) {
		if (turn(&listeners, no_follow ? ANSWER_MS : LOOK_AGAIN_MS) <= 0 && no_follow)
			break;
		if (no_follow && listeners.count == 0)
			break;
		if (!no_follow && clock_now() - looked >= LOOK_AGAIN_MS * INT64_C(1000000)) {
			look(&listeners, options_control(), name, false);
			looked = clock_now();
		}
	}
	/* A socket takes connections, whatever its process does. */
	for (size_t i = 0; no_follow && i < listeners.count; i++) {
		const struct listener *listener = &listeners.at[i];
		(void)say(0,
			  "%s was heard from %s %s for %d s: is it stopped? safestart status %s "
			  "tells",
			  listener->heard ? "nothing more" : "nothing", listener->name,
			  listener->process, ANSWER_MS / 1000, listener->name);
	}
	while (listeners.count > 0)
		drop(&listeners, listeners.count - 1);
	free(listeners.at);
	return leave;
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
