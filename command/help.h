/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* help: what --help says, and the man page, both made from the verbs. */
#ifndef SAFESTART_COMMAND_HELP_H
#define SAFESTART_COMMAND_HELP_H

#include <stdio.h>

#include "command.h"

void help_all(FILE *to);
void help_verb(const struct verb *verb, FILE *to);
void help_man(FILE *to); /* safestart(1), in mdoc */

extern const struct verb verb_help;

#endif
