/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* invariant: how a broken invariant ends a test. Any thread, locks may be held: it writes and
 * aborts, and touches no state of the library. A release has nothing of it but the declaration. */
#include "base/invariant.h"

#ifdef SAFESTART_INVARIANTS
#include <stdio.h>
#include <stdlib.h>

void invariant_broken(const char *condition, const char *file, int line, const char *function)
{
	fprintf(stderr, "libsafestart: %s:%d: %s(): invariant does not hold: %s\n", file, line,
		function, condition);
	abort();
}
#endif
