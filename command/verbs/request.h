/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SAFESTART_COMMAND_REQUEST_H
#define SAFESTART_COMMAND_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* What the control socket is to be told. `why` NULL: who asks. `wait_ns` 0: the answer comes at
 * once. */
json_t *request_new(bool forced, bool at_once, const char *why, int64_t wait_ns);

#endif
