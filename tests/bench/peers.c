/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "peers.h"

void *bench_empty_enter(void *argument)
{
	return argument;
}

void bench_empty_leave(void *argument)
{
	(void)argument;
}
