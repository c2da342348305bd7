/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* places: line and column of what the library refuses or leaves out of a node file. */
#ifndef SAFESTART_COMMAND_PLACES_H
#define SAFESTART_COMMAND_PLACES_H

#include <jansson.h>

#include "files/position.h"

/* The place of a refusal; line 0: unknown. The library names line and column where JSON is
 * malformed, and group and target where the structure is wrong; no other refusal begins like that.
 * Returns: whether `why` does not contain the place. */
bool places_of_refusal(const char *why, const char *text, struct place *place);

/* Adds line and column to each quarantined entry, unless they are uncertain. Takes over the text.
 */
void places_of_quarantined(json_t *quarantined, char *text, size_t length);

#endif
