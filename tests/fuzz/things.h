/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What fuzz_handle's application attaches to nodes and generations: each thing is retired once, and
 * none that a reader can still see. With events=callback it is told by its address, with
 * events=pull by a number that is none. */
#ifndef FUZZ_THINGS_H
#define FUZZ_THINGS_H

#include <safestart/safestart.h>
#include <stdbool.h>
#include <stddef.h>

void things_reset(void);
/* 0: there is no room. */
uint64_t thing_new(bool of_node);
/* The library has it. */
void thing_own(uint64_t value);
/* It is in use: a thing that was handed over, and not retired. 0 is fine. */
void thing_hold(uint64_t value, bool of_node);
void thing_retire(uint64_t value, bool of_node);

/* Handed over and not retired: all of them, or those of this snapshot. */
size_t things_alive(void);
size_t things_of(const struct safestart_snapshot *snapshot);
void things_forked(void); /* what there is is the parent's */
/* With events=callback everything has been retired. */
void things_end(void);

#endif
