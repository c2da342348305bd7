/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: text of jansson values without jansson's allocator: the text is counted first, or handed
 * over piece by piece. Any thread; pure. */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

size_t json_too_deep(const char *text, size_t length)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];
		if (in_string && c == '\\')
			i++; /* what is escaped does not end the string */
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '[' || c == '{') && ++depth > JSON_DEPTH_MAX)
			return i;
		else if (!in_string && (c == ']' || c == '}') && depth > 0)
			depth--;
	}
	return length;
}

char *json_text(const json_t *root)
{
	size_t size = root != NULL ? json_dumpb(root, NULL, 0, JSON_COMPACT) : 0;
	char *text = size > 0 ? malloc(size + 1) : NULL;

	if (text == NULL)
		return NULL;
	/* The second time it may fail: it allocates for itself each time. */
	if (json_dumpb(root, text, size, JSON_COMPACT) != size) {
		free(text);
		return NULL;
	}
	text[size] = '\0';
	return text;
}

/* Nothing is written behind what is allocated. */
static bool is_consistent(const struct json_buffer *buffer)
{
	return buffer->length <= buffer->room && (buffer->text == NULL) == (buffer->room == 0);
}

/* json_dump_callback_t: 0 or -1. */
static int append(const char *text, size_t length, void *buffer)
{
	struct json_buffer *to = buffer;

	invariant(is_consistent(to));
	if (to->failed)
		return -1;
	if (length > to->room - to->length) {
		/* Twice the size each time: the total of copying stays proportional to the text. */
		size_t room = (to->length + length) * 2 + 256;
		char *grown = realloc(to->text, room);
		if (grown == NULL) {
			to->failed = true;
			return -1;
		}
		to->text = grown;
		to->room = room;
	}
	memcpy(to->text + to->length, text, length);
	to->length += length;
	invariant(is_consistent(to));
	return 0;
}

void json_add_text(struct json_buffer *to, const char *text, size_t length)
{
	(void)append(text, length, to);
}

void json_add(struct json_buffer *to, json_t *root)
{
	if (root == NULL || json_dump_callback(root, append, to, JSON_COMPACT) < 0)
		to->failed = true;
	json_decref(root);
}

void json_add_open(struct json_buffer *to, json_t *object)
{
	invariant(object == NULL || (json_is_object(object) && json_object_size(object) > 0));
	json_add(to, object);
	invariant(to->failed || to->text[to->length - 1] == '}');
	if (!to->failed)
		to->length--;
}

void json_clear(struct json_buffer *buffer)
{
	free(buffer->text);
	*buffer = (struct json_buffer){0};
}
