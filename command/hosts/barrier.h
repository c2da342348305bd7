/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* barrier: waits until every process of the roster has a node in use, or until no process has it
 * any more [P22]. Prints its messages itself. */
#ifndef SAFESTART_COMMAND_BARRIER_H
#define SAFESTART_COMMAND_BARRIER_H

#include "base/options.h"
#include "hosts/processes.h"
#include "hosts/roster.h"

struct barrier {
	const char *node;
	const char *incarnation; /* NULL: any */
	const char *entry;       /* digest of the announced entry; NULL: as each process has it */
	bool gone;               /* wait until no process has it; else until all have it */
	bool applied;            /* live is enough, it need not be proven */
	bool no_roster;
	struct option_list roster;
	int64_t timeout;
};

/* Options of all verbs that wait; `b` is their struct barrier. */
#define OPTION_BARRIER(b)                                                   \
	{"roster", "NAME=COUNT", OPTION_LIST, &(b).roster,                  \
	 "how many processes of that name there must be; may be repeated"}, \
		{"no-roster", NULL, OPTION_FLAG, &(b).no_roster,            \
		 "count only the processes that are running"},              \
		{"applied", NULL, OPTION_FLAG, &(b).applied,                \
		 "live is enough, proven is not needed: for idle servers"}, \
	{                                                                   \
		"timeout", "TIME", OPTION_DURATION, &(b).timeout,           \
			"how long to wait at most (60s); 0: check once"     \
	}

#define BARRIER_TIMEOUT INT64_C(60000000000)

/* Waits, then prints the result, or with `result` not NULL stores it as members there. Returns the
 * exit code. */
int barrier_wait(const struct barrier *barrier, json_t *result);

/* Checks once, on answers that were read before. Appends an object with name, process and why to
 * `lacking` for each process where the condition does not hold. Returns 0, EXIT_NOT_YET,
 * EXIT_QUARANTINED or EXIT_ROSTER. */
int barrier_check(const struct barrier *barrier, const struct roster *roster,
		  const struct processes *processes, json_t *lacking);

#endif
