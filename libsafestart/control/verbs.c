/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/message.h"
#include "control/protocol.h"
#include "status/view.h"

#define EVENTS_AT_A_TIME 32

/* ---- Lines ---- */

/* With one more member. NULL: no memory. */
static json_t *with(json_t *line, const char *key, json_t *value)
{
	if (json_object_set_new(line, key, value) == 0)
		return line;
	json_decref(line);
	return NULL;
}

/* With the process and the handle it is of. */
static json_t *signed_by(const struct safestart *ss, json_t *line)
{
	char name[256];

	/* Whatever the host called it, JSON wants UTF-8. */
	message_copy(name, sizeof(name), handle_settings(ss)->name);
	return with(with(line, "pid", json_integer(getpid())), "name", json_string(name));
}

static json_t *new_answer(const struct safestart *ss)
{
	return signed_by(ss, json_pack("{s:b}", "ok", 1));
}

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

void verbs_error(struct json_buffer *to, int error, const char *words)
{
	add_line(to, json_pack("{s:b,s:i,s:s}", "ok", 0, "error", error, "message", words));
}

/* ---- Answers ---- */

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

static void answer_metrics(struct safestart *ss, struct json_buffer *to)
{
	char *metrics = safestart_metrics_text(ss);

	add_line(to,
		 metrics != NULL ? with(new_answer(ss), "metrics", json_string(metrics)) : NULL);
	safestart_free(metrics);
}

static void tell_node(const struct status_view *view, const char *id,
		      const struct safestart_node *node, void *buffer)
{
	struct json_buffer *to = buffer;
	bool held = nodeset_find(view->retiring->nodes, view->retiring->count, id, NULL) != NULL;

	if (to->failed)
		return;
	if (to->text[to->length - 1] != '[')
		json_add_text(to, ",", 1);
	json_add(to, with(status_view_node_json(view, id, node), "held", json_boolean(held)));
}

/* Node by node: as JSON in memory a hundred thousand of them would take a hundred times what their
 * text does. */
static void answer_nodes(struct safestart *ss, const char *id, struct json_buffer *to)
{
	char digest[STATUS_VIEW_DIGEST_SIZE], desired[STATUS_VIEW_DIGEST_SIZE], source[512];
	struct status_view view;

	if (status_view_take(ss, &view) < 0) {
		to->failed = true;
		return;
	}
	status_view_digests(&view, digest, desired);
	json_t *line =
		with(with(new_answer(ss), "serves", json_boolean(handle_settings(ss)->serves)),
		     "generation", json_integer((json_int_t)view.live->generation));
	message_copy(source, sizeof(source), handle_settings(ss)->source);
	line = with(line, "source", json_string(source));
	json_add_open(to, with(with(line, "digest", json_string(digest)), "desired_digest",
			       view.desired != NULL ? json_string(desired) : json_null()));
	json_add_text(to, ",\"nodes\":[", 10);
	if (id == NULL)
		status_view_each(&view, tell_node, to);
	else if (status_view_node_state(&view, id, NULL, 0) != SAFESTART_NODE_UNKNOWN)
		tell_node(&view, id, status_view_find(&view, id), to);
	status_view_drop(&view);
	end_line(to, "]}");
}

static void answer_request(struct safestart *ss, const struct protocol_request *asked, uid_t uid,
			   struct json_buffer *to, struct verbs_rest *rest)
{
	uint32_t flags =
		(asked->force ? SAFESTART_FORCE : 0u) | (asked->urgent ? SAFESTART_URGENT : 0u);

	if (uid != 0 && uid != geteuid()) {
		char words[160];
		message_set(words, sizeof(words), 0,
			    "user %u may look, but only root and user %u, which this process runs "
			    "as, may ask for a run",
			    (unsigned)uid, (unsigned)geteuid());
		verbs_error(to, -EPERM, words);
		return;
	}
	uint64_t ticket =
		safestart_request(ss, flags, asked->reason[0] != '\0' ? asked->reason : NULL);
	if (ticket == 0) {
		verbs_error(to, -ECANCELED,
			    "the handle was shut down: this process is about to end");
		return;
	}
	add_line(to, with(new_answer(ss), "ticket", json_integer((json_int_t)ticket)));
	if (asked->wait)
		*rest = (struct verbs_rest){.kind = VERBS_WAIT,
					    .ticket = ticket,
					    .deadline = loop_deadline(asked->timeout_ms)};
}

/* From here on who posts an event wakes us: before the first look, so that none is missed. Who does
 * not follow hears of what was before the question, however much comes meanwhile. */
static void begin_events(struct safestart *ss, const struct protocol_request *asked,
			 struct verbs_rest *rest)
{
	uint64_t newest = events_newest(ss->events),
		 kept = newest < EVENTS_KEPT ? newest : EVENTS_KEPT;

	*rest = (struct verbs_rest){.kind = VERBS_STREAM,
				    .next = newest + 1 - (asked->replay ? kept : 0),
				    .last = asked->follow ? UINT64_MAX : newest};
}

void verbs_answer(struct safestart *ss, uid_t uid, bool heard, const char *line, size_t length,
		  struct json_buffer *to, struct verbs_rest *rest)
{
	struct protocol_request asked;
	char why[256];

	int error = protocol_read(&asked, line, length, why, sizeof(why));
	if (error < 0) {
		verbs_error(to, error, why);
		return;
	}
	if (!heard && asked.verb != PROTOCOL_REQUEST) {
		protocol_clear(&asked);
		return;
	}
	switch (asked.verb) {
	case PROTOCOL_STATUS: answer_status(ss, to); break;
	case PROTOCOL_NODES: answer_nodes(ss, asked.id, to); break;
	case PROTOCOL_METRICS: answer_metrics(ss, to); break;
	case PROTOCOL_REQUEST: answer_request(ss, &asked, uid, to, rest); break;
	case PROTOCOL_EVENTS: begin_events(ss, &asked, rest); break;
	default: break;
	}
	protocol_clear(&asked);
	if (rest->kind != VERBS_NOTHING)
		events_watch(ss->events, true);
}

bool verbs_outcome(struct safestart *ss, const struct verbs_rest *rest, struct json_buffer *to)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int result = safestart_wait(ss, rest->ticket, 0, &outcome);

	if (result == -ETIMEDOUT && loop_now() < rest->deadline)
		return false;
	if (result < 0 && result != -ETIMEDOUT) {
		verbs_error(to, result, safestart_strerror(result));
		return true;
	}
	outcome.ticket = rest->ticket;
	add_line(to, with(with(new_answer(ss), "ticket", json_integer((json_int_t)rest->ticket)),
			  "outcome", status_view_outcome_json(&outcome)));
	return true;
}

/* ---- Events ---- */

/* As 2026-11-23T07:43:53.123Z. gmtime_r() takes libc's lock of the time zone, which a child forked
 * at that moment would wait for. */
static void print_time(char *to, size_t size, int64_t wall_ms)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	long long days = wall_ms / 86400000, ms = wall_ms % 86400000;
	int year = 1970, month = 0;

	for (int length;
	     days >= (length = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 366 : 365);
	     year++)
		days -= length;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	for (int length; days >= (length = month_days[month] + (month == 1 && leap)); month++)
		days -= length;
	snprintf(to, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month + 1, (int)days + 1,
		 (int)(ms / 3600000), (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
		 (int)(ms % 1000));
}

static json_t *new_event(const struct safestart *ss, const char *kind, uint64_t n, int64_t wall_ms)
{
	char at[80];

	print_time(at, sizeof(at), wall_ms);
	return signed_by(ss,
			 json_pack("{s:s,s:I,s:s}", "event", kind, "n", (json_int_t)n, "at", at));
}

static void add_event(const struct safestart *ss, const struct event *event, struct json_buffer *to)
{
	if (event->is_log)
		add_line(to, with(with(new_event(ss, "log", event->n, event->wall_ms), "level",
				       json_integer(event->level)),
				  "message", json_string(event->message)));
	else
		add_line(to, with(new_event(ss, "outcome", event->n, event->wall_ms), "outcome",
				  status_view_outcome_json(&event->outcome)));
}

bool verbs_is_over(const struct verbs_rest *rest)
{
	return rest->kind == VERBS_STREAM && rest->next > rest->last;
}

bool verbs_events(struct safestart *ss, struct verbs_rest *rest, struct json_buffer *to)
{
	uint64_t first = rest->next;
	struct event event;

	while (!verbs_is_over(rest) && rest->next - first < EVENTS_AT_A_TIME &&
	       events_get(ss->events, rest->next, &event)) {
		if (event.n > rest->next) { /* who reads was too slow */
			add_line(to,
				 with(new_event(ss, "lost", event.n - 1, events_wall_ms()), "count",
				      json_integer((json_int_t)(event.n - rest->next))));
			first = event.n;
		}
		add_event(ss, &event, to);
		rest->next = event.n + 1;
	}
	return to->length > 0 || to->failed;
}

void verbs_end(struct safestart *ss, struct json_buffer *to)
{
	add_line(to, new_event(ss, "end", events_newest(ss->events), events_wall_ms()));
}
