/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: members of untrusted JSON, and JSON on standard output. Uses no socket and no file. */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/report.h"

const char *member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

double member_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

bool member_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

int print_json(json_t *json, int code)
{
	/* ASCII only: bytes of other processes cannot reach a terminal as control characters. */
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(json);
	if (text == NULL)
		return report(EXIT_FAILED, "out of memory");
	puts(text);
	free(text);
	return code;
}
