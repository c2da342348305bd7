/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: text to jansson values, read again where the first reading may have lost a byte; and text
 * of them without jansson's allocator: it is counted first, or handed over piece by piece. Any
 * thread; pure. */
#include "base/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"

/* When it runs out of memory, jansson 2.14 either gives no message, or reports a string that it has
 * read up to its closing quote as an invalid token. */
static bool is_out_of_memory(const json_error_t *error, const char *text, size_t length)
{
	size_t last = (size_t)error->position - 1; /* the byte that was read last */

	if (error->text[0] == '\0')
		return true;
	if (last >= length || text[last] != '"')
		return false;
	return strncmp(error->text, "invalid token", 13) == 0 ||
	       strncmp(error->text, "string or '}' expected", 22) == 0;
}

static bool says_the_same(const json_t *root, const json_error_t *error, const char *text,
			  size_t length, size_t flags)
{
	json_error_t other_error;
	json_t *other = json_loadb(text, length, flags, &other_error);

	bool same = root != NULL ? json_equal(root, other)
				 : other == NULL && other_error.position == error->position &&
					   strcmp(other_error.text, error->text) == 0;
	json_decref(other);
	return same;
}

/* When the buffer of a string cannot grow, jansson 2.14 drops a byte and carries on: only errno
 * shows it. But errno proves nothing: malloc() sets it to ENOMEM also where it then finds memory
 * elsewhere, for example when the heap ends at something mapped. So a doubtful text is read once
 * more: what both readings say is what it says. [P9] */
json_t *json_read(const char *text, size_t length, size_t flags, json_error_t *error,
		  bool *no_memory)
{
	errno = 0;
	json_t *root = json_loadb(text, length, flags, error);
	*no_memory = (errno == ENOMEM && !says_the_same(root, error, text, length, flags)) ||
		     (root == NULL && is_out_of_memory(error, text, length));
	if (!*no_memory)
		return root;
	json_decref(root);
	return NULL;
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
