/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* help: prints --help and the man page, both made from the structs of the verbs. Prints to the
 * stream it is given and touches nothing else. */
#ifndef SAFESTART_COMMAND_HELP_H
#define SAFESTART_COMMAND_HELP_H

#include <stdio.h>

#include "base/options.h"

void help_all(const struct verb *const *verbs, FILE *to);
void help_verb(const struct verb *verb, FILE *to);
void help_man(const struct verb *const *verbs, FILE *to); /* safestart(1), in mdoc */

#endif
