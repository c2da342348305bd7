/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* response: the five requests and their responses (doc/control.md). Control thread. Every line is
 * complete or the buffer is marked as failed (no memory); the caller then sends an error instead.
 */
#include "control/response.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/date.h"
#include "base/invariant.h"
#include "base/message.h"
#include "control/protocol.h"
#include "status/view.h"

/* After these the other clients have their turn, and what was built is sent. */
#define EVENTS_PER_STEP 32

/* ---- Lines ---- */

/* Add a member. Takes `line` (NULL is passed on) and `value`. NULL: no memory. */
static json_t *with_member(json_t *line, const char *key, json_t *value)
{
	if (json_object_set_new(line, key, value) == 0)
		return line;
	json_decref(line);
	return NULL;
}

/* Add the process and the handle that respond: several handles may use one directory. */
static json_t *with_process(const struct safestart *ss, json_t *line)
{
	char name[256];

	/* The application may name a handle with any bytes; JSON needs UTF-8. */
	message_copy(name, sizeof(name), handle_settings(ss)->name);
	return with_member(with_member(line, "pid", json_integer(getpid())), "name",
			   json_string(name));
}

/* Every response begins with these members. */
static json_t *new_answer(const struct safestart *ss)
{
	return with_process(ss, json_pack("{s:b}", "ok", 1));
}

/* Nothing or complete lines have been appended, or there was no memory for it. */
static bool is_complete(const struct json_buffer *to)
{
	return to->failed || (to->length > 0 && to->text[to->length - 1] == '\n');
}

/* `end`: what closes the objects that json_add_open() left open. */
static void end_line(struct json_buffer *to, const char *end)
{
	json_add_text(to, end, strlen(end));
	json_add_text(to, "\n", 1);
}

static void add_line(struct json_buffer *to, json_t *line)
{
	json_add(to, line);
	end_line(to, "");
}

void response_error(struct json_buffer *to, int error, const char *message)
{
	add_line(to, json_pack("{s:b,s:i,s:s}", "ok", 0, "error", error, "message", message));
}

/* ---- Answers ---- */

/* The status is text already: it is put into the line as it is, not parsed and printed again. NULL
 * is out of memory, and makes the buffer fail. */
static void answer_status(struct safestart *ss, struct json_buffer *to)
{
	char *status = safestart_status_json(ss);

	json_add_open(to, status != NULL ? new_answer(ss) : NULL);
	json_add_text(to, ",\"status\":", 10);
	if (status != NULL)
		json_add_text(to, status, strlen(status));
	safestart_free(status);
	end_line(to, "}");
}

/* The exposition text as one JSON string. */
static void answer_metrics(struct safestart *ss, struct json_buffer *to)
{
	char *metrics = safestart_metrics_text(ss);

	add_line(to, metrics != NULL ? with_member(new_answer(ss), "metrics", json_string(metrics))
				     : NULL);
	safestart_free(metrics);
}

/* A status_view_visit. */
static void add_node(const struct status_view *view, const char *id,
		     const struct safestart_node *node, void *buffer)
{
	struct json_buffer *to = buffer;
	bool held = nodeset_find(view->retiring->nodes, view->retiring->count, id, NULL) != NULL;

	if (to->failed)
		return;
	if (to->text[to->length - 1] != '[') /* not the first one */
		json_add_text(to, ",", 1);
	json_add(to,
		 with_member(status_view_node_json(view, id, node), "held", json_boolean(held)));
}

/* Appended node by node: as jansson values 100,000 nodes would take a hundred times the memory of
 * their text. [P19] */
static void answer_nodes(struct safestart *ss, const char *id, struct json_buffer *to)
{
	char digest[STATUS_VIEW_DIGEST_SIZE], desired[STATUS_VIEW_DIGEST_SIZE], source[512];
	struct status_view view;

	if (status_view_take(ss, &view) < 0) {
		to->failed = true;
		return;
	}
	status_view_digests(&view, digest, desired);
	json_t *line = with_member(with_member(new_answer(ss), "serves",
					       json_boolean(handle_settings(ss)->serves)),
				   "generation", json_integer((json_int_t)view.live->generation));
	message_copy(source, sizeof(source), handle_settings(ss)->source);
	line = with_member(line, "source", json_string(source));
	json_add_open(to, with_member(with_member(line, "digest", json_string(digest)),
				      "desired_digest",
				      view.desired != NULL ? json_string(desired) : json_null()));
	json_add_text(to, ",\"nodes\":[", 10);
	/* A node that is in no set gets an empty list, not an error: it may be announced later. */
	if (id == NULL)
		status_view_each(&view, add_node, to);
	else if (status_view_node_state(&view, id, NULL, 0) != SAFESTART_NODE_UNKNOWN)
		add_node(&view, id, status_view_find(&view, id), to);
	status_view_drop(&view);
	end_line(to, "]}");
}

/* The directory's mode decides who may connect, and so who may read. Requesting a run needs more:
 * the process's own user, or root. */
static void answer_request(struct safestart *ss, const struct protocol_request *request, uid_t uid,
			   struct json_buffer *to, struct response_pending *pending)
{
	uint32_t flags =
		(request->force ? SAFESTART_FORCE : 0u) | (request->urgent ? SAFESTART_URGENT : 0u);

	if (uid != 0 && uid != geteuid()) {
		char message[160];
		message_set(message, sizeof(message), 0,
			    "permission denied: user %u may read, but only root and user %u (which "
			    "this process runs as) may request a run",
			    (unsigned)uid, (unsigned)geteuid());
		response_error(to, -EPERM, message);
		return;
	}
	/* Never blocks [P5]. A client that disconnects takes nothing back [P2]. */
	uint64_t ticket =
		safestart_request(ss, flags, request->reason[0] != '\0' ? request->reason : NULL);
	if (ticket == 0) {
		response_error(to, -ECANCELED,
			       "the handle has been shut down; no further run will start in this "
			       "process");
		return;
	}
	add_line(to, with_member(new_answer(ss), "ticket", json_integer((json_int_t)ticket)));
	if (request->wait)
		*pending =
			(struct response_pending){.kind = RESPONSE_WAIT,
						  .ticket = ticket,
						  .deadline = loop_deadline(request->timeout_ms)};
}

/* With follow=false `last` is fixed here: the client gets what happened before its request, however
 * much is added meanwhile. */
static void begin_events(struct safestart *ss, const struct protocol_request *request,
			 struct response_pending *pending)
{
	uint64_t newest = events_newest(ss->events),
		 kept = newest < EVENTS_KEPT ? newest : EVENTS_KEPT;

	*pending = (struct response_pending){.kind = RESPONSE_STREAM,
					     .next = newest + 1 - (request->replay ? kept : 0),
					     .last = request->follow ? UINT64_MAX : newest};
}

void response_answer(struct safestart *ss, uid_t uid, bool connected, const char *line,
		     size_t length, struct json_buffer *to, struct response_pending *pending)
{
	struct protocol_request request;
	char why[256];

	invariant(to->length == 0 && !to->failed && pending->kind == RESPONSE_COMPLETE);
	int error = protocol_read(&request, line, length, why, sizeof(why));
	if (error < 0) {
		response_error(to, error, why);
		return;
	}
	/* A client that has disconnected may have sent a request before: it is carried out [P2]. */
	if (!connected && request.verb != PROTOCOL_REQUEST) {
		protocol_clear(&request);
		return;
	}
	switch (request.verb) {
	case PROTOCOL_STATUS: answer_status(ss, to); break;
	case PROTOCOL_NODES: answer_nodes(ss, request.id, to); break;
	case PROTOCOL_METRICS: answer_metrics(ss, to); break;
	case PROTOCOL_REQUEST: answer_request(ss, &request, uid, to, pending); break;
	case PROTOCOL_EVENTS: begin_events(ss, &request, pending); break;
	default: break;
	}
	protocol_clear(&request);
	/* From here on an event wakes this thread. This comes before the first look at the events
	 * and at the ticket, so that none is missed. */
	if (pending->kind != RESPONSE_COMPLETE)
		events_watch(ss->events, true);
	invariant(pending->kind != RESPONSE_WAIT || pending->ticket != 0);
	invariant(pending->kind != RESPONSE_STREAM ||
		  pending->next <= events_newest(ss->events) + 1);
	/* A response consists of complete lines; a stream of events starts without one. */
	invariant(pending->kind == RESPONSE_STREAM || is_complete(to));
}

bool response_outcome(struct safestart *ss, const struct response_pending *pending,
		      struct json_buffer *to)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	invariant(pending->kind == RESPONSE_WAIT && pending->ticket != 0);
	int result = safestart_wait(ss, pending->ticket, 0, &outcome); /* does not wait */

	if (result == -ETIMEDOUT && loop_now() < pending->deadline)
		return false;
	/* Its outcome is no longer kept: more than a thousand tickets have been answered since. */
	if (result < 0 && result != -ETIMEDOUT) {
		response_error(to, result, safestart_strerror(result));
		return true;
	}
	/* Answered, or the deadline has passed: then its verdict is SAFESTART_PENDING. [P6] */
	outcome.ticket = pending->ticket;
	add_line(to, with_member(with_member(new_answer(ss), "ticket",
					     json_integer((json_int_t)pending->ticket)),
				 "outcome", status_view_outcome_json(&outcome)));
	return true;
}

/* ---- Events ---- */

static json_t *new_event(const struct safestart *ss, const char *kind, uint64_t n, int64_t wall_ms)
{
	char at[80];

	date_print(at, sizeof(at), wall_ms);
	return with_process(ss, json_pack("{s:s,s:I,s:s}", "event", kind, "n", (json_int_t)n, "at",
					  at));
}

/* One event as a line: "log" with level and message, or "outcome". */
static void add_event(const struct safestart *ss, const struct event *event, struct json_buffer *to)
{
	if (event->is_log)
		add_line(to, with_member(with_member(new_event(ss, "log", event->n, event->wall_ms),
						     "level", json_integer(event->level)),
					 "message", json_string(event->message)));
	else
		add_line(to, with_member(new_event(ss, "outcome", event->n, event->wall_ms),
					 "outcome", status_view_outcome_json(&event->outcome)));
}

bool response_stream_has_ended(const struct response_pending *pending)
{
	invariant(pending->kind == RESPONSE_STREAM);
	return pending->next > pending->last;
}

bool response_events(struct safestart *ss, struct response_pending *pending, struct json_buffer *to)
{
	uint64_t first = pending->next;
	struct event event;

	invariant(pending->kind == RESPONSE_STREAM && pending->next > 0 && to->length == 0);
	while (!response_stream_has_ended(pending) && pending->next - first < EVENTS_PER_STEP &&
	       events_get(ss->events, pending->next, &event)) {
		invariant(event.n >= pending->next);
		if (event.n > pending->next) { /* the client reads too slowly; the ring went on */
			add_line(to,
				 with_member(new_event(ss, "lost", event.n - 1, events_wall_ms()),
					     "count",
					     json_integer((json_int_t)(event.n - pending->next))));
			first = event.n;
		}
		add_event(ss, &event, to);
		pending->next = event.n + 1;
	}
	invariant(pending->next >= first);
	invariant(to->length == 0 || is_complete(to));
	return to->length > 0 || to->failed;
}

void response_end(struct safestart *ss, struct json_buffer *to)
{
	add_line(to, new_event(ss, "end", events_newest(ss->events), events_wall_ms()));
}
