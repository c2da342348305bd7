/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* instants: a library in which something happens at each lock, wake and system call, and whose
 * clock can be set forward. tests/meson.build links libsafestart's own objects with these calls
 * wrapped; the calls of the test itself are not.
 *
 * Each such call is an instant, and each lock is two: before it and after it. They pass on the
 * threads that take part: those that the library starts, and those that say so. */
#ifndef INSTANTS_H
#define INSTANTS_H

#include <stdbool.h>
#include <stdint.h>

/* Called at each instant, on the thread that is there; NULL: nothing. `where` is the place in the
 * library, one byte further when the call has been made. */
void instants_each(void (*passes)(const char *where));

/* This thread's calls are instants as well, or no longer. */
void instants_take_part(bool takes_part);

/* Called once, when this thread begins to wait on a condition of the library; NULL: no more. */
void instants_when_waiting(void (*waits)(void));

/* Made-up time: the library's clock is so much later from now on. Its timers and the waits that are
 * due then end at once. Any thread. */
void instants_pass_time(int64_t ns);

/* In a forked child nothing happens any more. */
void instants_forget(void);

#endif
