/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

char *json_text(const json_t *root)
{
	size_t size = root != NULL ? json_dumpb(root, NULL, 0, JSON_COMPACT) : 0;
	char *text = size > 0 ? malloc(size + 1) : NULL;

	if (text == NULL)
		return NULL;
	if (json_dumpb(root, text, size, JSON_COMPACT) != size) { /* it allocates each time */
		free(text);
		return NULL;
	}
	text[size] = '\0';
	return text;
}

static int append(const char *text, size_t length, void *buffer)
{
	struct json_buffer *to = buffer;

	if (to->failed)
		return -1;
	if (length > to->room - to->length) {
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
	json_add(to, object);
	if (!to->failed)
		to->length--;
}

void json_clear(struct json_buffer *buffer)
{
	free(buffer->text);
	*buffer = (struct json_buffer){0};
}
