/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* roster: which processes there have to be. "On all that answered" would be true of nobody. */
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

/* From "name=count" words, or where there are none from the file `roster` in the directory, a line
 * each: `name count`. 0, or how the program ends, having said why; LEAVE_ROSTER where there is
 * none, said only if `needed`. */
int roster_read(struct roster *roster, const struct option_list *given, const char *directory,
		bool needed);
const struct roster_row *roster_find(const struct roster *roster, const char *name);
void roster_free(struct roster *roster);

#endif
