/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* epoch: the counter. The forked child's only thread changes it; it must not touch anything else.
 */
#include "base/epoch.h"

_Atomic uint32_t epoch_forks;

void epoch_begin(void)
{
	atomic_fetch_add_explicit(&epoch_forks, 1, memory_order_relaxed);
}
