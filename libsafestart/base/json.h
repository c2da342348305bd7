/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: reading text and knowing whether memory was enough; JSON text in memory from malloc(),
 * whatever allocator the application has given to jansson; text that grows. Any thread; pure, knows
 * nothing of what it reads and writes. */
#ifndef SAFESTART_BASE_JSON_H
#define SAFESTART_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* Parse; `flags` are json_loadb()'s. NULL: *no_memory says whether memory was short; if not, the
 * text is at fault, and `error` says how. */
json_t *json_read(const char *text, size_t length, size_t flags, json_error_t *error,
		  bool *no_memory);

/* `root` as compact text, to be freed with free(). NULL: root is NULL, or out of memory. */
char *json_text(const json_t *root);

/* Text that grows. Zeroed: empty. When memory runs out it becomes `failed`, and nothing is appended
 * any more: check `failed` before reading the text. */
struct json_buffer {
	char *text;          /* without a NUL byte at its end; NULL: empty */
	size_t length, room; /* bytes used and allocated */
	bool failed;
};

void json_add_text(struct json_buffer *to, const char *text, size_t length);
/* Append a value, and free it. NULL: there was no memory for it, and the buffer fails. */
void json_add(struct json_buffer *to, json_t *root);
/* The same for an object, without its closing brace: another member may follow. */
void json_add_open(struct json_buffer *to, json_t *object);
/* Free the text; the buffer is empty and has not failed. */
void json_clear(struct json_buffer *buffer);

#endif
