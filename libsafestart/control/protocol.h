/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* protocol: parses one line that a client of the control socket sent (doc/control.md). Pure: any
 * bytes in, a request or an error message out; bytes from outside never abort [P16]. Called by the
 * control thread; must not touch the handle. */
#ifndef SAFESTART_CONTROL_PROTOCOL_H
#define SAFESTART_CONTROL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#define PROTOCOL_LINE_MAX 65536 /* bytes of a line, without its newline */

enum protocol_verb {
	PROTOCOL_STATUS,
	PROTOCOL_NODES,
	PROTOCOL_METRICS,
	PROTOCOL_REQUEST,
	PROTOCOL_EVENTS
};

/* What a line asks for. Members that the verb does not use are parsed and ignored. */
struct protocol_request {
	enum protocol_verb verb;
	char *id;         /* nodes: only this node; NULL: all. Owned, see protocol_clear() */
	char reason[128]; /* request: for the log; "": none */
	bool force;       /* request: skip the guard rails */
	bool urgent;      /* request: skip the debounce */
	bool wait;        /* request: send the outcome as a second line */
	int timeout_ms;   /* of that wait; -1: no limit */
	bool replay;      /* events: start with the kept ones; else with the next new one */
	bool follow;      /* events: continue with new ones; else send what has happened so far,
			     the line "end", and close */
};

/* Parse a line (without its newline). 0; -EINVAL or -ENOMEM with a message in `why`, and then there
 * is nothing to clear. */
int protocol_read(struct protocol_request *request, const char *line, size_t length, char *why,
		  size_t why_size);
void protocol_clear(struct protocol_request *request);

#endif
