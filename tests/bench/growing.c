/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench: applying, continued: what it needs in memory, and how it grows with nodes, readers and waiters. */
#include "bench.h"
void bench_growing(void) {}
