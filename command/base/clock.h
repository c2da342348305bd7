/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clock: the clock of every timeout and interval. A step of the wall clock changes none of them
 * [P8]; only the end of a drain is a wall clock time. */
#ifndef SAFESTART_COMMAND_CLOCK_H
#define SAFESTART_COMMAND_CLOCK_H

#include <stdint.h>

int64_t clock_now(void); /* CLOCK_MONOTONIC, nanoseconds */
int64_t clock_ms(void);  /* the same in milliseconds */

#endif
