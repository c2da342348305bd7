/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* summary: turns the answers of all processes of one name into the one line that an on-call
 * engineer needs: which processes have which node set, which do not and why, and what to do next.
 * Pure: no I/O. */
#ifndef SAFESTART_COMMAND_SUMMARY_H
#define SAFESTART_COMMAND_SUMMARY_H

#include "base/table.h"
#include "hosts/processes.h"

struct summary {
	char digest[24];  /* of the reference set, as short as it is unambiguous; "": none yet */
	char full[24];    /* the same with all digits */
	size_t on_it;     /* number of processes that have it live */
	size_t processes; /* number of processes that were not killed */
	size_t missing;   /* number that the roster expects and that are not running */
	size_t extra;     /* number that are running beyond what the roster expects */
	size_t nodes;     /* in that set */
	size_t failing;   /* number of processes that have failing nodes */
	size_t gone;      /* number that were found killed lately */
	char *line; /* "REFUSED new nodes, …; 3 of 4 on generation a1b2 …"; NULL: no memory */
	char next[512];     /* the command to run next, or what to examine; "": nothing is wrong */
	int code;           /* exit code */
	const char *source; /* what a process with the reference set reads; "": none has it */
	size_t digits;      /* how many digits of a digest are unambiguous */
};

/* Summarises `count` peers of one name that were asked for their status (0: the name is only on the
 * roster). `expected`: how many serving processes the roster expects; 0: it does not say. The
 * summary refers to the answers of the peers, which have to stay until summary_end(). */
void summarise(struct summary *summary, const struct peer *peers, size_t count, unsigned expected);
void summary_end(struct summary *summary);

/* What is wrong with one process; a higher value is worse. */
enum trouble {
	TROUBLE_NONE,
	TROUBLE_QUARANTINED,
	TROUBLE_GONE,
	TROUBLE_OTHER, /* not behind, but on another set: it was given other nodes */
	TROUBLE_BEHIND,
	TROUBLE_EMPTY,  /* no set was ever applied */
	TROUBLE_UNKNOWN /* cannot be asked */
};
/* The same with a description in `words`, a buffer of 400 bytes; "" if nothing is wrong. */
enum trouble summary_peer(const struct peer *peer, const struct summary *summary, char *words,
			  size_t size);

/* How many peers from `first` on have the same name. */
size_t summary_span(const struct processes *processes, size_t first);

#endif
