/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* roster: how many processes of each name there must be. Without it "on all that answered" would
 * also hold where none answered [P22]. */
#ifndef SAFESTART_COMMAND_ROSTER_H
#define SAFESTART_COMMAND_ROSTER_H

#include <stddef.h>

#include "base/options.h"

struct roster {
	struct roster_row {
		char *name;
		unsigned count;
	} * rows;
	size_t count;
};

/* Reads "name=count" words; if there are none, the file `roster` in the directory, with lines `name
 * count`. 0 or an exit code, the message printed; EXIT_ROSTER: there is no roster, a message only
 * if `needed`. */
int roster_read(struct roster *roster, const struct option_list *given, const char *directory,
		bool needed);
const struct roster_row *roster_find(const struct roster *roster, const char *name);
void roster_free(struct roster *roster);

#endif
