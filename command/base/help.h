/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* help: what --help says, and the man page, both made from the verbs. */
#ifndef SAFESTART_COMMAND_HELP_H
#define SAFESTART_COMMAND_HELP_H

#include <stdio.h>

#include "base/options.h"

void help_all(const struct verb *const *verbs, FILE *to);
void help_verb(const struct verb *verb, FILE *to);
void help_man(const struct verb *const *verbs, FILE *to); /* safestart(1), in mdoc */

#endif
