/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* protocol: what a line at the control socket asks for. Pure: any bytes in, a question or an error
 * in words out. */
#ifndef SAFESTART_CONTROL_ASKED_H
#define SAFESTART_CONTROL_ASKED_H

#include <stdbool.h>
#include <stddef.h>

#define PROTOCOL_LINE_MAX 65536 /* bytes of a line, without its end */

enum protocol_verb {
	PROTOCOL_STATUS,
	PROTOCOL_NODES,
	PROTOCOL_METRICS,
	PROTOCOL_REQUEST,
	PROTOCOL_EVENTS
};

struct protocol_request {
	enum protocol_verb verb;
	char *id;         /* nodes: of this one only; NULL: of all. protocol_clear() */
	char reason[128]; /* request; "": none */
	bool force;
	bool urgent;
	bool wait;
	int timeout_ms; /* -1: for ever */
	bool replay;    /* events: begin with what is kept */
	bool follow; /* events: go on with what comes; else the line "end" follows what has happened
			so far, and the end of the file */
};

/* Read a line (no newline in it). 0; -EINVAL; -ENOMEM: why has the words. */
int protocol_read(struct protocol_request *asked, const char *line, size_t length, char *why,
		  size_t why_size);
void protocol_clear(struct protocol_request *asked);

#endif
