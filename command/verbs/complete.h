/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* complete: prints for a shell which words may come next on the command line: one word a line, with
 * its meaning behind a tab. "@files", "@directories" and "@commands" ask the shell to complete
 * those itself. The scripts in completions/ contain nothing else. */
#ifndef SAFESTART_COMMAND_COMPLETE_H
#define SAFESTART_COMMAND_COMPLETE_H

#include "base/options.h"

/* argv[1] and the following are the words of the line; the last one is being typed. */
void complete(const struct verb *const *verbs, int argc, char **argv);

#endif
