/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* summary: the answers of all processes of one name become the one line that an on-call engineer
 * needs: who is on which set, who is not and why, and what to do next. Pure: no I/O. */
#ifndef SAFESTART_COMMAND_SUMMARY_H
#define SAFESTART_COMMAND_SUMMARY_H

#include "base/table.h"
#include "hosts/processes.h"

struct summary {
	char digest[24];  /* of the set they should be on, as short as it is unambiguous; "": none
			     yet */
	char full[24];    /* all of it */
	size_t on_it;     /* how many have it live */
	size_t processes; /* that are there: all but those gone */
	size_t missing;   /* that the roster says there have to be */
	size_t nodes;     /* in that set */
	char *line;       /* "3 of 4 on generation a1b2 …"; NULL: no memory */
	char next[512];   /* the command to go on with, or what to look at; "": nothing is wrong */
	int code;         /* how a program that asks is told */
	size_t digits;    /* how many of a digest are unambiguous */
};

/* Of the `count` peers at `peers` (none: of a name that is only on the roster), all of the same
 * name, asked for their status; the roster says that there have to be `expected` that serve, 0: it
 * says nothing. */
void summarise(struct summary *summary, const struct peer *peers, size_t count, unsigned expected);
void summary_end(struct summary *summary);

/* Is that peer all right? In words if not (a buffer of 400). `worst`: how bad, for sorting and
 * colour. */
enum trouble {
	TROUBLE_NONE,
	TROUBLE_QUARANTINED,
	TROUBLE_GONE,
	TROUBLE_OTHER, /* another set, and not behind: it was told other nodes */
	TROUBLE_BEHIND,
	TROUBLE_EMPTY,  /* no set was ever applied */
	TROUBLE_UNKNOWN /* not to be asked */
};
enum trouble summary_peer(const struct peer *peer, const struct summary *summary, char *words,
			  size_t size);

/* How many of its nodes are in that state, or live (NULL). */
size_t summary_nodes(const json_t *status, const char *state);

/* How many peers from here on have the same name. */
size_t summary_span(const struct processes *processes, size_t first);

#endif
