/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clock: the one clock of the command, which no step of the wall clock moves [P8]. */
#ifndef SAFESTART_COMMAND_CLOCK_H
#define SAFESTART_COMMAND_CLOCK_H

#include <stdint.h>

int64_t clock_now(void); /* CLOCK_MONOTONIC, nanoseconds */
int64_t clock_ms(void);  /* the same in milliseconds */

#endif
