/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A library of one function that does nothing: what calling any library costs. */
#include "asking_peers.h"

void peers_empty(const void *argument)
{
	(void)argument;
}
