/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <stdlib.h>

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
