/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* request: the message that asks a process for a run, for `request` and the verbs that edit the
 * file. */
#ifndef SAFESTART_COMMAND_REQUEST_H
#define SAFESTART_COMMAND_REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The message for the control socket. `why` NULL: names the user that asks. `wait_ns` 0: the
 * process answers at once, not with the outcome. */
json_t *request_new(bool forced, bool at_once, const char *why, int64_t wait_ns);

#endif
