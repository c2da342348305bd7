/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: members of a JSON object that may be anything, and JSON on standard output. */
#ifndef SAFESTART_COMMAND_JSON_H
#define SAFESTART_COMMAND_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* Members of an answer, whatever it is: "" and 0 where there is none of that kind. */
const char *member_text(const json_t *object, const char *key);
double member_number(const json_t *object, const char *key);
bool member_bool(const json_t *object, const char *key, bool otherwise);

/* One JSON text on standard output; takes it. Returns `code`, or how the program ends without
 * memory. */
int print_json(json_t *json, int code);

#endif
