/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* json: reads members of a JSON object from an untrusted peer, and prints JSON on standard output.
 */
#ifndef SAFESTART_COMMAND_JSON_H
#define SAFESTART_COMMAND_JSON_H

#include <jansson.h>
#include <stdbool.h>

/* A member of an answer, which may be any JSON at all: "", 0 or `otherwise` where it is missing or
 * of another type. The text lives as long as the object. */
const char *member_text(const json_t *object, const char *key);
double member_number(const json_t *object, const char *key);
bool member_bool(const json_t *object, const char *key, bool otherwise);

/* Prints it on one line on standard output and releases it. Returns `code`, or EXIT_FAILED without
 * memory. */
int print_json(json_t *json, int code);

#endif
