/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Simulated time for handles with thread=no: the clock, the timer and epoll of the library are
 * replaced (linked with --wrap), so an hour takes no time, and the same bytes always do the
 * same. */
#ifndef FUZZ_VIRTUAL_H
#define FUZZ_VIRTUAL_H

#include <stdbool.h>
#include <stdint.h>

#define SECOND INT64_C(1000000000)

void virtual_reset(void);
int64_t virtual_now(void);
void virtual_advance(int64_t ns);

/* A reader that is inside: grace periods end when there is none. */
void virtual_borrow(bool inside);

/* Called at the end of every wait of the loop, before the library checks anything. */
extern void (*virtual_turn)(void);

#endif
