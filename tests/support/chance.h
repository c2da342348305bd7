/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* chance: what a test does at random comes from one seed: a failure prints it, and $SAFESTART_SEED
 * takes it. One thread. */
#ifndef CHANCE_H
#define CHANCE_H

#include <stdbool.h>
#include <stdint.h>

/* $SAFESTART_SEED; if it is not set, the usual one. */
uint64_t chance_seed(uint64_t usual);

/* From now on the numbers are those of this seed. */
void chance_begin(uint64_t seed);
unsigned below(unsigned limit); /* a number from 0 on */
bool one_in(unsigned times);

#endif
