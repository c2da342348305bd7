/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* layout: knows nothing of what the text means. Pure. */
#include "files/layout.h"

#include <stdlib.h>
#include <string.h>

void layout_add(struct layout *to, const char *bytes, size_t count)
{
	if (to->at == NULL || to->length + count + 1 > to->room) {
		size_t room = (to->length + count + 1) * 2;
		char *at = to->failed ? NULL : realloc(to->at, room);
		if (at == NULL) {
			to->failed = true;
			return;
		}
		to->at = at;
		to->room = room;
	}
	memcpy(to->at + to->length, bytes, count);
	to->length += count;
	to->at[to->length] = '\0';
}

char *layout_end(struct layout *text)
{
	if (!text->failed && text->at != NULL)
		return text->at;
	free(text->at);
	return NULL;
}

char *layout_json(const json_t *json, size_t flags)
{
	char *text = json_dumps(json, flags);
	json_t *again = text != NULL
				? json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL)
				: NULL;

	if (!json_equal(again, json)) {
		free(text);
		text = NULL;
	}
	json_decref(again);
	return text;
}

/* The white space between the start of its line and the value, in bytes. */
static size_t indent_of(const char *text, size_t start)
{
	size_t at = start;

	while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\t'))
		at--;
	return start - at;
}

char *layout_like(const char *text, size_t start, size_t end, const json_t *value)
{
	const char *newline = memchr(text + start, '\n', end - start);
	size_t base = indent_of(text, start),
	       deeper = newline != NULL ? strspn(newline + 1, " ") : 0;
	bool dense = newline == NULL && memmem(text + start, end - start, ": ", 2) == NULL;
	char *plain =
		layout_json(value, newline != NULL ? JSON_INDENT(deeper > base && deeper - base < 31
									 ? deeper - base
									 : 2)
				   : dense         ? JSON_COMPACT
						   : 0);
	struct layout to = {.failed = plain == NULL};

	for (const char *at = plain; at != NULL && *at != '\0'; at++) {
		layout_add(&to, at, 1);
		if (*at == '\n') /* JSON text has newlines only between values */
			layout_add(&to, text + start - base, base);
	}
	free(plain);
	return layout_end(&to);
}
