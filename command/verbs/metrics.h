/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* metrics: merges the metrics of several processes into one exposition. */
#ifndef SAFESTART_COMMAND_METRICS_H
#define SAFESTART_COMMAND_METRICS_H

#include <stdio.h>

#include "hosts/processes.h"

/* Prints one exposition of all answers to "metrics". */
void metrics_print(FILE *to, const struct processes *processes);

#endif
