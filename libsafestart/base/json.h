/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: reading text and knowing whether memory was enough; JSON text in memory from malloc(),
 * whatever allocator the application has given to jansson; text that grows. Any thread; pure, knows
 * nothing of what it reads and writes. */
#ifndef SAFESTART_BASE_JSON_H
#define SAFESTART_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* How deep arrays and objects may be nested in text that comes from outside. jansson parses by
 * recursion and allows 2048, which a small stack does not survive. */
#define JSON_DEPTH_MAX 32

/* Where the text is nested deeper than that: the offset of the first bracket too many. `length`: it
 * is not. The text need not be JSON; what stands in strings does not count. */
size_t json_too_deep(const char *text, size_t length);

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
