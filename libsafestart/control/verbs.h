/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verbs: answers at the control socket, as lines of JSON. The control thread's; waits for nothing.
 */
#ifndef SAFESTART_CONTROL_VERBS_H
#define SAFESTART_CONTROL_VERBS_H

#include <sys/types.h>

#include "base/events.h"
#include "base/json.h"

/* What is left to do for who asked. */
struct verbs_rest {
	enum {
		VERBS_NOTHING,
		VERBS_WAIT,  /* for the ticket's outcome */
		VERBS_STREAM /* events */
	} kind;
	uint64_t ticket;
	int64_t deadline;
	uint64_t next, last; /* numbers of events; behind the last one it ends */
};

/* Answer a line that `uid` has sent; if nobody hears it any more, only do what it asks for. */
void verbs_answer(struct safestart *ss, uid_t uid, bool heard, const char *line, size_t length,
		  struct json_buffer *to, struct verbs_rest *rest);
void verbs_error(struct json_buffer *to, int error, const char *words);

/* The outcome that is waited for, if it is there, or the time is over. False: not yet. */
bool verbs_outcome(struct safestart *ss, const struct verbs_rest *rest, struct json_buffer *to);

/* The events that have come, some at a time, or that they are lost. False: none, for now, or, if
 * so, for good. */
bool verbs_events(struct safestart *ss, struct verbs_rest *rest, struct json_buffer *to);
bool verbs_is_over(const struct verbs_rest *rest);
void verbs_end(struct safestart *ss, struct json_buffer *to);

#endif
