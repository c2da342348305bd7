/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* response: carries out a request of the control socket and builds the response, as lines of JSON.
 * Control thread. Calls public functions and the status view; waits for nothing, calls none of the
 * application's functions, and does not know the client's connection. */
#ifndef SAFESTART_CONTROL_RESPONSE_H
#define SAFESTART_CONTROL_RESPONSE_H

#include <sys/types.h>

#include "base/events.h"
#include "base/json.h"

/* What is still to be sent after the first lines of a response. Zeroed: nothing. */
struct response_pending {
	enum {
		RESPONSE_COMPLETE,
		RESPONSE_WAIT,  /* the outcome of `ticket`, or at `deadline` that it is pending */
		RESPONSE_STREAM /* the events `next` to `last`, then the line "end" */
	} kind;
	uint64_t ticket;     /* never 0 with RESPONSE_WAIT */
	int64_t deadline;    /* CLOCK_MONOTONIC; LOOP_NEVER: no limit */
	uint64_t next, last; /* numbers of events; next is last + 1 when all have been sent */
};

/* Carry out the request in `line`, sent by user `uid`, and append the response to `to`. With
 * `connected` false nobody reads the response: only what changes something is carried out. */
void response_answer(struct safestart *ss, uid_t uid, bool connected, const char *line,
		     size_t length, struct json_buffer *to, struct response_pending *pending);
/* Append an error: `error` is -errno. */
void response_error(struct json_buffer *to, int error, const char *message);

/* Append the outcome if there is one, or that it is pending if the deadline has passed. False:
 * neither yet. */
bool response_outcome(struct safestart *ss, const struct response_pending *pending,
		      struct json_buffer *to);

/* Append the next events, a limited number, or how many of them were lost. False: none for now;
 * after response_stream_has_ended() none any more. */
bool response_events(struct safestart *ss, struct response_pending *pending,
		     struct json_buffer *to);
bool response_stream_has_ended(const struct response_pending *pending);
/* Append the line "end". */
void response_end(struct safestart *ss, struct json_buffer *to);

#endif
