/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* complete: what may stand next on the command line, for the shells: a word a line, with what it
 * means behind a tab; "@files", "@directories" and "@commands" are for the shell itself to
 * complete. The scripts in completions/ know nothing else. */
#ifndef SAFESTART_COMMAND_COMPLETE_H
#define SAFESTART_COMMAND_COMPLETE_H

#include "base/options.h"

/* argv[1] and on are the words of the line, the last one being typed. */
void complete(const struct verb *const *verbs, int argc, char **argv);

#endif
