/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run: the verb `run`, a command that never runs twice at a time [P1]. */
#ifndef SAFESTART_COMMAND_RUN_H
#define SAFESTART_COMMAND_RUN_H

#include "base/options.h"

extern const struct verb verb_run;

#endif
