/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* layout: JSON as text in a file that people read: in the style of what stands beside it. Pure. */
#ifndef SAFESTART_COMMAND_LAYOUT_H
#define SAFESTART_COMMAND_LAYOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A growing text. Not open_memstream(): without memory glibc's loses bytes silently. */
struct layout {
	char *at;
	size_t length, room;
	bool failed;
};

void layout_add(struct layout *to, const char *bytes, size_t count);
/* The whole text, which the caller frees; NULL: no memory. */
char *layout_end(struct layout *text);

/* JSON as text for a file; the caller frees it. NULL: no memory. Parsed again to be sure: without
 * memory jansson 2.14 may drop a key silently. */
char *layout_json(const json_t *json, size_t flags);

/* The same in the style of the value from `start` to `end` of `text`: on one line or several, with
 * spaces or without, and as deep. */
char *layout_like(const char *text, size_t start, size_t end, const json_t *value);

#endif
