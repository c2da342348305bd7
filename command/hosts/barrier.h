/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* barrier: hold a playbook until every process has a node in use, or until none has it any more. */
#ifndef SAFESTART_COMMAND_BARRIER_H
#define SAFESTART_COMMAND_BARRIER_H

#include "base/options.h"
#include "hosts/processes.h"
#include "hosts/roster.h"

struct barrier {
	const char *node;
	const char *incarnation; /* NULL: any */
	bool gone;               /* wait until nobody has it; else until everybody has */
	bool applied;            /* live is enough, proven is not asked for */
	bool no_roster;
	struct option_list roster;
	int64_t timeout;
};

/* What waiting verbs have in common; `b` is their barrier. */
#define OPTION_BARRIER(b)                                                  \
	{"roster", "NAME=COUNT", OPTION_LIST, &(b).roster,                 \
	 "so many processes of that name; again for more names"},          \
		{"no-roster", NULL, OPTION_FLAG, &(b).no_roster,           \
		 "take those that happen to be there"},                    \
		{"applied", NULL, OPTION_FLAG, &(b).applied,               \
		 "live is enough: for idle servers, which prove nothing"}, \
	{                                                                  \
		"timeout", "TIME", OPTION_DURATION, &(b).timeout,          \
			"how long to wait at most (60s); 0: look once"     \
	}

#define BARRIER_TIMEOUT INT64_C(60000000000)

/* Wait, and tell how it ended: in words, or as members of `told` (NULL: none). Returns how the
 * program ends. */
int barrier_wait(const struct barrier *barrier, json_t *result);

/* Does every process have to have it, and who has not? Appends to `lacking` objects with name,
 * process and why. Returns 0, LEAVE_NOT_YET, LEAVE_QUARANTINED or LEAVE_ROSTER. */
int barrier_check(const struct barrier *barrier, const struct roster *roster,
		  const struct processes *processes, json_t *lacking);

#endif
