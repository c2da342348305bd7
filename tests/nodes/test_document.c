/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Documents: what is accepted, what is left out, what is refused as a whole. */
#include "nodes/nodeset.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "nodes/sets.h"

#define GROUP "{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\"}}"

/* A document that is refused whole: nothing comes out, and the reason has these words. */
static void refused(const char *json, size_t length, const struct nodeset_limits *limits, int error,
		    const char *words)
{
	struct nodeset *set = (struct nodeset *)(uintptr_t)1;
	char why[256];

	memset(why, '#', sizeof(why));
	int got = nodeset_parse(&set, json, length, limits, why, sizeof(why));
	ck_assert_msg(got == error, "%.60s: %d, not %d", json, got, error);
	ck_assert_ptr_null(set);
	ck_assert_ptr_nonnull(memchr(why, '\0', sizeof(why)));
	ck_assert_msg(strstr(why, words) != NULL, "%.60s: \"%s\" does not say \"%s\"", json, why,
		      words);
	/* Without a buffer for the reason. */
	ck_assert_int_eq(nodeset_parse(&set, json, length, limits, NULL, 0), error);
	ck_assert_ptr_null(set);
}

/* ---- Documents that are fine ---- */

START_TEST(a_target_without_an_id_has_its_address_as_id)
{
	assert_picture("[]", "");
	assert_picture(" \t\r\n[ ]\n", "");
	assert_picture(TWO, "10.0.0.2:8087@10.0.0.2:8087 a@10.0.0.1:8087");
	assert_picture("[{\"targets\":[]}]", "");
	assert_picture("[{\"targets\":[\"n.example:1\"],\"labels\":{}}]",
		       "n.example:1@n.example:1");
	assert_picture("[{\"targets\":[\"h:00080\"]}]", "h:80@h:80");
	assert_picture("[{\"targets\":[\"Db-1.EXAMPLE:1\",\"[2001:DB8:0:0::1]:01\",\"[::FFFF:1.2.3."
		       "4%Eth0]:"
		       "2\"]}]",
		       "[2001:db8::1]:1@[2001:db8::1]:1 [::ffff:1.2.3.4%Eth0]:2@[::ffff:1.2.3.4%"
		       "Eth0]:2 db-1.example:1@db-1.example:1");
	assert_picture("[{\"targets\":[\"H:1\"],\"labels\":{\"id\":\"H:01\"}}]", "H:01@h:1");
	assert_picture("[{\"targets\":[\"h:65535\"],\"labels\":{\"id\":\"\xc3\xa9 1\"}}]",
		       "\xc3\xa9 1@h:65535");
}
END_TEST

START_TEST(with_several_targets_each_has_its_address_as_id)
{
	assert_picture("[{\"targets\":[\"b:2\",\"a:1\"],\"labels\":{\"id\":\"x\",\"zone\":\"z\"}}]",
		       "a:1@a:1 b:2@b:2");
}
END_TEST

START_TEST(ipv6_comes_in_brackets)
{
	struct nodeset *set = parsed("[{\"targets\":[\"[2001:db8::1]:8087\"]},{\"targets\":[\"["
				     "fe80::1%eth0]:1\"],\"labels\":{\"id\":\"l\"}}]");

	ck_assert_str_eq(picture(set), "[2001:db8::1]:8087@[2001:db8::1]:8087 l@[fe80::1%eth0]:1");
	ck_assert_str_eq(safestart_node_host(set->nodes[0]), "2001:db8::1");
	ck_assert_uint_eq(safestart_node_port(set->nodes[0]), 8087);
	nodeset_unref(set);
}
END_TEST

START_TEST(labels_are_ordered_and_can_be_asked_for)
{
	struct nodeset *set =
		parsed("[{\"targets\":[\"a:1\"],\"labels\":{\"zone\":\"z\",\"id\":\"n\",\"empty\":"
		       "\"\",\"Rack\":\"7\",\"incarnation\":\"boot\"}}]");
	const struct safestart_node *node = set->nodes[0];
	static const char *const sorted[][2] = {{"Rack", "7"},
						{"empty", ""},
						{"incarnation", "boot"},
						{"zone", "z"}};
	const char *name = "";

	for (size_t i = 0; i < 4; i++) {
		ck_assert_str_eq(safestart_node_label_at(node, i, &name), sorted[i][1]);
		ck_assert_str_eq(name, sorted[i][0]);
		ck_assert_str_eq(safestart_node_label(node, sorted[i][0]), sorted[i][1]);
		ck_assert_str_eq(safestart_node_label_at(node, i, NULL), sorted[i][1]);
	}
	ck_assert_ptr_null(safestart_node_label_at(node, 4, &name));
	ck_assert_ptr_null(safestart_node_label_at(node, SIZE_MAX, &name));
	ck_assert_str_eq(safestart_node_label(node, "id"), "n");
	ck_assert_ptr_null(safestart_node_label(node, "rack"));
	ck_assert_ptr_null(safestart_node_label(node, ""));
	ck_assert_ptr_null(safestart_node_label(node, NULL));
	nodeset_unref(set);
}
END_TEST

START_TEST(p7_order_and_identical_duplicates_do_not_matter)
{
	static const char *const groups[] =
		{"{\"targets\":[\"c:3\",\"d:4\"],\"labels\":{\"x\":\"1\",\"y\":\"2\"}}",
		 "{\"labels\":{\"id\":\"a\"},\"targets\":[\"a:1\"]}",
		 "{\"labels\":{\"y\":\"2\",\"x\":\"1\"},\"targets\":[\"d:4\"]}",
		 "{\"targets\":[\"b:2\"]}"};
	char json[1024];
	struct nodeset *first = NULL;

	/* Every way to choose four, with repetition. */
	for (unsigned order = 0; order < 256; order++) {
		unsigned chosen = 0;
		for (unsigned i = 0; i < 4; i++)
			chosen |= 1u << (order >> 2 * i & 3);
		if ((chosen & 11) != 11)
			continue;
		snprintf(json, sizeof(json), "[%s,%s,%s,%s]", groups[order & 3],
			 groups[order >> 2 & 3], groups[order >> 4 & 3], groups[order >> 6]);
		struct nodeset *set = parsed(json);
		ck_assert_str_eq(picture(set), "a@a:1 b:2@b:2 c:3@c:3 d:4@d:4");
		if (first == NULL)
			first = nodeset_ref(set);
		ck_assert(nodeset_equal(first, set) && nodeset_equal(set, first));
		nodeset_unref(set);
	}
	ck_assert(!nodeset_equal(first, NULL) && !nodeset_equal(NULL, NULL));
	nodeset_unref(first);
}
END_TEST

START_TEST(p7_every_difference_is_one)
{
	static const char *const others[] =
		{"[]",
		 "[{\"targets\":[\"h:2\"],\"labels\":{\"id\":\"a\",\"x\":\"1\"}}]",
		 "[{\"targets\":[\"g:1\"],\"labels\":{\"id\":\"a\",\"x\":\"1\"}}]",
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"b\",\"x\":\"1\"}}]",
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"x\":\"2\"}}]",
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"y\":\"1\"}}]",
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\"}}]",
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"x\":\"1\",\"y\":\"\"}}]",
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"x\":\"longer\"}}]",
		 ("[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"x\":\"1\"}},{\"targets\":["
		  "\"h:"
		  "0\"]}]")};
	struct nodeset *set =
		parsed("[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"x\":\"1\"}}]");

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		struct nodeset *other = parsed(others[i]);
		ck_assert_msg(!nodeset_equal(set, other) && !nodeset_equal(other, set), "%s",
			      others[i]);
		nodeset_unref(other);
	}
	nodeset_unref(set);
}
END_TEST

START_TEST(what_is_written_reads_the_same)
{
	struct nodeset *set =
		parsed("[{\"targets\":[\"[::1]:1\",\"h:2\"],\"labels\":{\"q\":"
		       "\"\\\"\\\\\\n\\u0001\\ud834\\udd1e\"}},"
		       "{\"targets\":[\"[fe80::1%eth0]:3\"],\"labels\":{\"id\":\"\xc3\xa9\",\"\":"
		       "\"no name\"}},{\"targets\":[\"h:00007\"]}]");
	char *json = nodeset_json(set->nodes, set->count);
	struct nodeset *again = parsed(json);

	ck_assert_uint_eq(set->count, 4);
	ck_assert(nodeset_equal(set, again));
	nodeset_unref(again);
	nodeset_unref(set);
	free(json);
	json = nodeset_json(NULL, 0);
	ck_assert_str_eq(json, "[]");
	free(json);
}
END_TEST

/* ---- Documents that are refused whole ---- */

#define ALL(text, words)                      \
	{                                     \
		text, sizeof(text) - 1, words \
	}

START_TEST(p9_a_broken_document_is_refused_whole_with_its_reason)
{
	static const struct {
		const char *json;
		size_t length;
		const char *words;
	} rows[] = {
		ALL("", "empty"),
		ALL(" \t\r\n ", "white space"),
		ALL("null", "null, not an array"),
		ALL("{}", "an object, not an array"),
		ALL("\"str\"", "a string, not an array"),
		ALL("12", "a number, not an array"),
		ALL("1.5", "a number, not an array"),
		ALL("true", "a boolean, not an array"),
		ALL("[null]", "group 1 is null"),
		ALL("[{\"targets\":[]},[]]", "group 2 is an array"),
		ALL("[\"h:1\"]", "group 1 is a string"),
		ALL("[{}]", "group 1: targets is missing"),
		ALL("[{\"targets\":null}]", "targets is null"),
		ALL("[{\"labels\":{\"id\":\"\"}}]", "targets is missing"),
		ALL("[{\"targets\":{}}]", "targets is an object"),
		ALL("[{\"targets\":[],\"labels\":\"x\"}]", "labels is a string"),
		ALL("[]\0", "NUL byte at offset 2"),
		ALL("\0", "NUL byte at offset 0"),
		ALL("[1,\0]", "NUL byte at offset 3"),
		ALL("[{\"targets\":[\"h\0:1\"]}]", "NUL byte at offset 15"),
		ALL("[{\"targets\":[\"\\u0000:1\"]}]", "\\u0000"),
		ALL("[{\"targets\":[\"\xff:1\"]}]", "not UTF-8"),
		ALL("[{\"targets\":[\"\xc3\"]}]", "not UTF-8"),
		ALL("[{\"targets\":[\"\xed\xa0\x80:1\"]}]", "not UTF-8"),
		ALL("[{\"targets\":[\"\xc0\xaf:1\"]}]", "not UTF-8"),
		ALL("\xef\xbb\xbf[]", "byte order mark"),
		ALL("[] []", "not JSON"),
		ALL("[],", "not JSON"),
		ALL("]", "not JSON"),
		ALL("[{\"targets\":[\"h:1\",]}]", "not JSON"),
		ALL("[{'targets':['h:1']}]", "not JSON"),
		ALL("[{\"targets\":[\"\\ud800\"]}]", "half of a surrogate pair"),
		ALL("[{\"targets\":[\"\\udc00\"]}]", "half of a surrogate pair"),
		ALL("[{\"targets\":[\"\\ud800\\ud800\"]}]", "half of a surrogate pair"),
		ALL("[{\"targets\":[\"\\udc00\\udc00\"]}]", "half of a surrogate pair"),
		ALL("# comment\n[]", "looks like YAML; write the same groups as JSON"),
		ALL("- targets: [h:1]", "looks like YAML"),
		ALL("---\n- targets: [h:1]", "looks like YAML"),
		ALL("-1", "a number, not an array"),
		ALL("\xff\xfe[\0]\0", "UTF-16 and not UTF-8; convert it: iconv"),
		ALL("\xfe\xff\0[\0]", "UTF-16"),
		ALL("[\0]\0", "UTF-16"),
		ALL("\xff[", "line 1, column 1"),
		ALL("\xfe[", "line 1, column 1"),
		ALL("-", "ends too early"),
		ALL("{} x", "goes on behind its end"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":01}]", "a number begins with 0"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":1.}]", "lacks a digit"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":[{\"\\x\":1}]}]", "no such escape"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":{\"a\" 1}}]", "a colon"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":[1 2]}]", "a comma or ]"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":[1}}]", "a comma or ]"),
		ALL("[{\"targets\":[\"h:1\"],\"n\":nul}]", "needs quotes"),
		ALL("[{\"targets\":[\"h:1\"]}", "ends too early"),
		ALL("[{\"targets\":[\"h:1", "ends too early"),
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		refused(rows[i].json, rows[i].length, &usual, -EINVAL, rows[i].words);
}
END_TEST

START_TEST(p9_a_document_cut_at_any_byte_is_refused)
{
	static const char whole[] =
		"[{\"targets\":[\"[::1]:8087\",\"h:1\"],\"labels\":{\"id\":\"\xc3\xa9\\u00e9\","
		"\"n\":\"\xf0\x9d\x84\x9e\"}},\n {\"targets\":[\"b:2\"],\"x\":[1.5e3,true,null]}]";
	char why[256];
	struct nodeset *set;

	for (size_t length = 0; length < sizeof(whole) - 1; length++) {
		char *cut = malloc(length + 1); /* of its own, so that a byte too far is noticed */
		memcpy(cut, whole, length);
		why[0] = '\0';
		ck_assert_int_eq(nodeset_parse(&set, cut, length, &usual, why, sizeof(why)),
				 -EINVAL);
		ck_assert_ptr_null(set);
		ck_assert_msg(strncmp(why, "the document ", 13) == 0, "%zu: %s", length, why);
		free(cut);
	}
	nodeset_unref(parsed(whole));
}
END_TEST

/* Groups are read one by one: what stands between and behind them counts all the same, and is said
 * of the whole document. */
START_TEST(p9_a_document_is_judged_as_a_whole)
{
	static const struct {
		const char *json, *words;
	} wrong[] = {
		{"[" GROUP ",]", "not JSON: line 1, column"},
		{"[" GROUP " " GROUP "]", "not JSON: line 1, column"},
		{"[" GROUP ",," GROUP "]", "not JSON: line 1, column"},
		{"[" GROUP "]]", "not JSON: line 1, column"},
		{"[" GROUP "\n,\n" GROUP "x]", "not JSON: line 3, column"},
		{"[" GROUP ",", "ends too early"},
		{"[" GROUP ",{\"targets\":1},{",
		 "ends too early"}, /* worse than a group that is not right */
		{"[" GROUP ",{\"labels\":{}}]", "group 2: targets is missing"},
		{"[" GROUP ",7,{}]", "group 2 is a number"},
		{GROUP, "is an object, not an array"},
	};

	assert_picture("\n[\t" GROUP "\r\n,\n " GROUP " ] \n", "a@h:1");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refused(wrong[i].json, strlen(wrong[i].json), &usual, -EINVAL, wrong[i].words);
}
END_TEST

START_TEST(p9_monstrous_documents_are_refused)
{
	static const struct {
		const char *head, *text;
		size_t count;
		const char *tail, *words;
	} rows[] = {
		{"", "garbage ", (10 << 20) / 8, "", "not JSON"},
		{"[\"", "x", 10 << 20, "", "too early"},
		{"", "[", 100000, "", "nested too deeply"},
		{"[{\"targets\":", "[", 100000, "", "nested too deeply"},
		{"", "{\"targets\":", 100000, "", "nested too deeply"},
		{"", " ", 10 << 20, "", "white space"},
		{"[", "9", 10 << 20, "]", "group 1 is a number"},
		{"[", "9", 10 << 20, "", "too early"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char *json = repeated(rows[i].head, rows[i].text, rows[i].count, rows[i].tail);
		refused(json, strlen(json), &usual, -EINVAL, rows[i].words);
		free(json);
	}
}
END_TEST

/* An unknown member nested `levels` deep, in a group: `[{` are two levels more. */
static char *nested(int levels)
{
	char *inner =
		repeated("[{\"targets\":[\"a:1\"],\n \"x\":", "[", (size_t)levels, "\"[[[\\\"[\"");
	char *whole = repeated(inner, "]", (size_t)levels, "}]");

	free(inner);
	return whole;
}

struct nested {
	int levels, error; /* what came of it */
	char why[256];
};

static void *parse_nested(void *argument)
{
	struct nested *nested_by = argument;
	char *json = nested(nested_by->levels);
	struct nodeset *set;

	nested_by->error = nodeset_parse(&set, json, strlen(json), &usual, nested_by->why,
					 sizeof(nested_by->why));
	nodeset_unref(set);
	free(json);
	return NULL;
}

/* A server may give its threads little stack, and the library's own are made with its default. */
START_TEST(p16_a_deep_document_does_not_overflow_a_small_stack)
{
	struct nested all[] = {{.levels = 30}, {.levels = 31}, {.levels = 2038}};
	pthread_attr_t small;
	pthread_t thread;

	ck_assert_int_eq(pthread_attr_init(&small), 0);
	ck_assert_int_eq(pthread_attr_setstacksize(&small, small_stack()), 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		ck_assert_int_eq(pthread_create(&thread, &small, parse_nested, &all[i]), 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
		ck_assert_int_eq(all[i].error, i == 0 ? 0 : -EINVAL);
	}
	ck_assert_str_eq(all[1].why,
			 "the document is nested too deeply (line 2, column 36): arrays "
			 "and objects may be nested 32 deep");
	pthread_attr_destroy(&small);
}
END_TEST

START_TEST(p9_more_than_max_nodes_or_max_bytes_is_refused)
{
	struct nodeset_limits two = {.max_bytes = 1000, .max_nodes = 2};
	struct nodeset_limits exact = {.max_bytes = sizeof(TWO) - 1, .max_nodes = 2};
	struct nodeset_limits less = {.max_bytes = sizeof(TWO) - 2, .max_nodes = 2};
	static const char *const threes[] =
		{"[{\"targets\":[\"a:1\",\"b:1\",\"c:1\"]}]",
		 "[{\"targets\":[\"a:1\",\"b:1\"]},{\"targets\":[\"c:1\"]}]",
		 "[{\"targets\":[\"a:0\",\"b:0\"]},{\"targets\":[\"c:0\"]}]",
		 "[{\"target\":[\"a:1\",\"b:1\",\"c:1\",\"d:1\"]}]"};
	struct nodeset *set;

	for (size_t i = 0; i < sizeof(threes) / sizeof(threes[0]); i++)
		refused(threes[i], strlen(threes[i]), &two, -E2BIG, "max_nodes (2)");
	refused(TWO, sizeof(TWO) - 1, &less, -E2BIG, "max_bytes");
	ck_assert_int_eq(nodeset_parse(&set, TWO, sizeof(TWO) - 1, &exact, NULL, 0), 0);
	ck_assert_uint_eq(set->count, 2);
	nodeset_unref(set);
}
END_TEST

SUITE("document", a_target_without_an_id_has_its_address_as_id,
      with_several_targets_each_has_its_address_as_id, ipv6_comes_in_brackets,
      labels_are_ordered_and_can_be_asked_for, p7_order_and_identical_duplicates_do_not_matter,
      p7_every_difference_is_one, what_is_written_reads_the_same,
      p9_a_broken_document_is_refused_whole_with_its_reason,
      p9_a_document_cut_at_any_byte_is_refused, p9_a_document_is_judged_as_a_whole,
      p9_monstrous_documents_are_refused, p16_a_deep_document_does_not_overflow_a_small_stack,
      p9_more_than_max_nodes_or_max_bytes_is_refused)
