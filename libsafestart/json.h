/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: jansson, and its output in memory of ours. Pure. */
#ifndef SAFESTART_JSON_H
#define SAFESTART_JSON_H

#include <jansson.h>

/* `root` as compact text, for free(): the host may have given jansson another allocator. NULL: no root, or no memory. */
char *json_text(const json_t *root);

#endif
