/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: jansson, and its output in memory of ours: the host may have given jansson another
 * allocator. Pure. */
#ifndef SAFESTART_JSON_H
#define SAFESTART_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* `root` as compact text, for free(). NULL: no root, or no memory. */
char *json_text(const json_t *root);

/* Text that grows. Once there was no memory it is `failed`, and stays as it is. */
struct json_buffer {
	char *text; /* not ended by a NUL byte */
	size_t length, room;
	bool failed;
};

void json_add_text(struct json_buffer *to, const char *text, size_t length);
/* Consumes it; NULL: there was no memory for it. */
void json_add(struct json_buffer *to, json_t *root);
/* The same, and leaves it open: another member may follow. */
void json_add_open(struct json_buffer *to, json_t *object);
void json_clear(struct json_buffer *buffer);

#endif
