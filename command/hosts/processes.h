/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* processes: asks all of them at once, with one deadline for all. A process that does not answer is
 * reported, never left out. */
#ifndef SAFESTART_COMMAND_PROCESSES_H
#define SAFESTART_COMMAND_PROCESSES_H

#include <stdint.h>

#include "hosts/peers.h"

#define PROCESSES_TIMEOUT INT64_C(2000000000)

/* Sends the request to all of them; returns when all have answered, or after `timeout`, at least
 * 200 ms. Releases `request`. A process that ended in an orderly way meanwhile is removed from the
 * list. 0 or -ENOMEM. */
int processes_ask(struct processes *processes, json_t *request, int64_t timeout);

#endif
