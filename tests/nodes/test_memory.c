/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much memory a document takes, by its bytes and its nodes: every allocation of the library is
 * counted, so it does not matter what the allocator gives back to the system. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nodes/nodeset.h"
#include "support/counted.h"
#include "support/support.h"

/* A part that does not depend on the document: room for the labels of one group. */
#define ANYWAY ((size_t)64 << 10)

/* `head`, then as many parts as fit into `size` bytes (one at
 * least) with commas between them, then `tail`. A %zu in the part is its number. The caller frees
 * it. */
static char *document(const char *head, const char *part, const char *tail, size_t size,
		      size_t *parts)
{
	char *text = malloc(size + 2 * strlen(part) + 64 + strlen(head) + strlen(tail));
	size_t at = strlen(strcpy(text, head));

	size_t i = 0;
	for (; i == 0 || at < size; i++) {
		if (i > 0)
			text[at++] = ',';
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		at += (size_t)sprintf(text + at, part, i);
#pragma GCC diagnostic pop
	}
	*parts = i;
	strcpy(text + at, tail);
	return text;
}

static const struct hostile {
	const char *head, *part, *tail;
	size_t max_nodes;
	int error;
} all[] = {
	/* Unknown members: they are skipped, and nothing is built. */
	{"[{\"targets\":[\"a:1\"],\"x\":[", "{}", "]}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],\"x\":[", "1", "]}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],\"x\":[", "[]", "]}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],\"x\":[", "\"\"", "]}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],\"x\":[", "{\"targets\":[\"a:1\"]}", "]}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],\"x\":{", "\"%zx\":0", "}}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],", "\"%zx\":0", "}]", 1, 0},
	/* More than the limits allow: noticed before it is built. */
	{"[{\"targets\":[", "\"\"", "]}]", 1000, -E2BIG},
	{"[{\"targets\":[", "{}", "]}]", 1000, -E2BIG},
	{"[{\"targets\":[\"a:1\"],\"labels\":{", "\"%zx\":\"\"", "}}]", 1, 0},
	{"[{\"targets\":[\"a:1\"],\"labels\":{", "\"\":1", "}}]", 1, 0},
	{"[", "{\"targets\":[]}", "]", 1, 0},
	{"[", "7", "]", 1, -EINVAL},
	/* Nodes, and entries that are none. */
	{"[{\"targets\":[", "\"\"", "]}]", 1 << 30, 0},
	{"[{\"targets\":[", "0", "]}]", 1 << 30, 0},
	{"[{\"target\":[", "\"b\"", "]}]", 1 << 30, 0},
	{"[{\"targets\":[", "\"h%zu:1\"", "]}]", 1 << 30, 0},
	{"[", "{\"targets\":[\"h%zu:1\"],\"labels\":{\"id\":\"%zx\",\"zone\":\"\\u00e9\"}}", "]",
	 1 << 30, 0},
	/* One long string. */
	{"[{\"targets\":[\"a:1\"],\"labels\":{\"x\":\"", "\\u1234", "\"}}]", 1, 0},
	{"[{\"targets\":[\"", "\\n", "\"]}]", 1, 0},
};

/* The document itself is one of the four, whoever holds it. */
static void hold_bound(const struct hostile *hostile, size_t size)
{
	size_t parts;
	char *text = document(hostile->head, hostile->part, hostile->tail, size, &parts),
	     why[256] = "";
	size_t length = strlen(text);
	const struct nodeset_limits limits = {.max_bytes = (size_t)1 << 30,
					      .max_nodes = hostile->max_nodes};
	struct nodeset *set;

	counted_begin();
	int error = nodeset_parse(&set, text, length, &limits, why, sizeof(why));
	ck_assert_msg(error == hostile->error ||
			      (hostile->error == -E2BIG && error == 0 && size < 4096),
		      "%.60s: %d %s", text, error, why);
	/* What is refused as too much is noticed at the first node too many. */
	size_t nodes = hostile->max_nodes < parts ? hostile->max_nodes : parts;
	ck_assert_msg(length + counted_peak() <= 4 * length + 1024 * nodes + ANYWAY,
		      "%.60s: %zu bytes, %zu nodes: %zu at most", text, length, nodes,
		      length + counted_peak());
	nodeset_unref(set);
	ck_assert_uint_eq(counted_in_use(), 0);
	free(text);
}

START_TEST(p23_a_document_takes_four_times_its_size_and_1_kib_a_node_at_most)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (size_t size = 1; size <= (size_t)1 << 20; size *= 32)
			hold_bound(&all[i], size);
	}
}
END_TEST

/* The labels of a group belong to each of its targets: with them written out the document is as
 * large as it counts, for max_bytes too. */
START_TEST(p23_labels_of_many_targets_count_as_if_they_were_written_out)
{
	size_t parts;
	char *text = document("[{\"targets\":[", "\"h%zu:1\"", "],\"labels\":{\"l\":\"", 4000,
			      &parts),
	     why[256];
	const struct nodeset_limits enough = {.max_bytes = (size_t)1 << 30, .max_nodes = 100000};
	struct nodeset *set;

	text = realloc(text, 20000);
	for (int i = 0; i < 1000; i++)
		strcat(text, "0123456789");
	strcat(text, "\"}}]");
	counted_begin();
	ck_assert_int_eq(nodeset_parse(&set, text, strlen(text), &enough, why, sizeof(why)), 0);
	size_t written_out = set->count * (10000 + 40);
	ck_assert_uint_le(strlen(text) + counted_peak(),
			  4 * strlen(text) + 1024 * set->count + ANYWAY + written_out);
	nodeset_unref(set);
	struct nodeset_limits less = {.max_bytes = written_out / 2, .max_nodes = 100000};
	counted_begin();
	ck_assert_int_eq(nodeset_parse(&set, text, strlen(text), &less, why, sizeof(why)), -E2BIG);
	ck_assert_uint_le(counted_peak(), less.max_bytes + 3 * strlen(text) + 1024 * 500 + ANYWAY);
	free(text);
}
END_TEST

SUITE("memory", p23_a_document_takes_four_times_its_size_and_1_kib_a_node_at_most,
      p23_labels_of_many_targets_count_as_if_they_were_written_out)
