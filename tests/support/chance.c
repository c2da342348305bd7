/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/chance.h"

#include <stdlib.h>

static uint64_t state;

uint64_t chance_seed(uint64_t usual)
{
	const char *given = getenv("SAFESTART_SEED");

	return given != NULL ? strtoull(given, NULL, 0) : usual;
}

void chance_begin(uint64_t seed)
{
	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	state = state != 0 ? state : 1;
}

unsigned below(unsigned limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 33) % limit;
}

bool one_in(unsigned times)
{
	return below(times) == 0;
}
