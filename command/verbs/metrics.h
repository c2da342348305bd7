/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SAFESTART_COMMAND_METRICS_H
#define SAFESTART_COMMAND_METRICS_H

#include <stdio.h>

#include "hosts/processes.h"

/* One exposition of what all of them answered to "metrics". */
void metrics_print(FILE *to, const struct processes *processes);

#endif
