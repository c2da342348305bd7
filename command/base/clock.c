/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* clock: CLOCK_MONOTONIC. Any thread. */
#include "base/clock.h"

#include <time.h>

int64_t clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t clock_ms(void)
{
	return clock_now() / 1000000;
}
