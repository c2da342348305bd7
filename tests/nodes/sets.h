/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Node sets for tests of internal functions: parsed, and printed as one line. */
#ifndef SETS_H
#define SETS_H

#include <stdio.h>
#include <string.h>

#include "nodes/nodeset.h"
#include "support/support.h"

static const struct nodeset_limits usual = {.max_bytes = 64 << 20, .max_nodes = 100000};

#define TWO                                                                             \
	"[{\"targets\":[\"10.0.0.1:8087\"],\"labels\":{\"id\":\"a\",\"zone\":\"z\"}},{" \
	"\"targets\":[\"10.0.0.2:8087\"]}]"

/* Parse a document that is fine; fails the test with the reason. */
static struct nodeset *parsed(const char *json)
{
	struct nodeset *set = NULL;
	char why[512] = "";

	ck_assert_msg(nodeset_parse(&set, json, strlen(json), &usual, why, sizeof(why)) == 0,
		      "%s: %s", json, why);
	ck_assert_ptr_nonnull(set);
	return set;
}

/* "id@host:port" of each node and "!id" of each fault, separated by blanks; a static buffer. */
static const char *picture(const struct nodeset *set)
{
	static char text[4096];
	char address[NODE_ADDRESS_SIZE];
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < set->count; i++) {
		node_address(set->nodes[i], address);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s@%s", at ? " " : "",
				       safestart_node_id(set->nodes[i]), address);
	}
	for (size_t i = 0; i < set->fault_count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s!%s", at ? " " : "",
				       set->faults[i].id);
	return text;
}

static inline void assert_picture(const char *json, const char *expected)
{
	struct nodeset *set = parsed(json);

	ck_assert_msg(strcmp(picture(set), expected) == 0, "%s\nis       %s\nexpected %s", json,
		      picture(set), expected);
	nodeset_unref(set);
}

/* `count` times `text` between `head` and `tail`. free() it. */
static inline char *repeated(const char *head, const char *text, size_t count, const char *tail)
{
	size_t size = strlen(text), begin = strlen(head), end = begin + size * count;
	char *all = malloc(end + strlen(tail) + 1);

	ck_assert_ptr_nonnull(all);
	memcpy(all, head, begin);
	for (size_t i = 0; i < count; i++)
		memcpy(all + begin + i * size, text, size);
	strcpy(all + end, tail);
	return all;
}

#endif
