/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A library with one function that does nothing: the cost of any call into a library. */
#include "asking_peers.h"

void peers_empty(const void *argument)
{
	(void)argument;
}
