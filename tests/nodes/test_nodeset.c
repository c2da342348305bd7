/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nodes, node sets, differences between them, guard rails. */
#include "nodes/nodeset.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "nodes/sets.h"

/* ---- Single nodes, edits ---- */

static struct safestart_node *node_of(const char *id, const char *address)
{
	struct safestart_node *node = NULL;
	char why[256] = "";

	ck_assert_msg(node_new(&node, id, address, 0, NULL, 0, why, sizeof(why)) == 0, "%s", why);
	return node;
}

static void drop(struct safestart_node *node)
{
	if (node_unref(node))
		node_free(node);
}

START_TEST(a_copy_is_the_same_node_without_report)
{
	struct safestart_node *node = node_of("x", "[::1]:1");

	ck_assert_int_eq(safestart_node_report(node, -EIO), 0);
	ck_assert_int_eq(node_report(node), -EIO);
	ck_assert_int_eq(safestart_node_report(node, 0), 0);
	ck_assert_int_eq(node_report(node), NODE_REPORT_WORKED);
	ck_assert_int_eq(safestart_node_report(NULL, 0), 0);
	struct safestart_node *copy = node_copy(node_ref(node));
	ck_assert(node_same(node, copy) && node != copy);
	ck_assert_int_eq(node_report(copy), NODE_REPORT_NONE);
	ck_assert_uint_eq(copy->refs, 1);
	ck_assert(!node_unref(node));
	drop(node);
	drop(copy);
}
END_TEST

START_TEST(p11_text_that_is_not_utf8_is_no_label)
{
	static const struct node_label wrong[] = {{"x", "\xff"}, {"\xff", "x"}};
	struct safestart_node *node;
	char why[256];

	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(node_new(&node, "a", "a:1", 0, &wrong[i], 1, why, sizeof(why)),
				 -EINVAL);
		ck_assert_msg(strstr(why, "not UTF-8") != NULL, "%s", why);
	}
}
END_TEST

START_TEST(edits_make_copies)
{
	struct nodeset *set = parsed("[{\"targets\":[\"b:1\",\"d:1\",\"f:0\",\"e:0\"]}]"), *with,
		       *without;
	static const char *const rows[][4] = {
		/* id, address, with it, then without it */
		{"a", "h:1", "a@h:1 b:1@b:1 d:1@d:1 !e:0 !f:0", "b:1@b:1 d:1@d:1 !e:0 !f:0"},
		{"c", "h:1", "b:1@b:1 c@h:1 d:1@d:1 !e:0 !f:0", "b:1@b:1 d:1@d:1 !e:0 !f:0"},
		{"d:1", "h:1", "b:1@b:1 d:1@h:1 !e:0 !f:0", "b:1@b:1 !e:0 !f:0"},
		{"e:0", "h:1", "b:1@b:1 d:1@d:1 e:0@h:1 !f:0", "b:1@b:1 d:1@d:1 !f:0"},
	};

	for (size_t i = 0; i < 4; i++) {
		struct safestart_node *node = node_of(rows[i][0], rows[i][1]);
		with = nodeset_with(set, node);
		drop(node);
		without = nodeset_without(with, rows[i][0]);
		ck_assert_str_eq(picture(with), rows[i][2]);
		ck_assert_str_eq(picture(without), rows[i][3]);
		ck_assert_str_eq(picture(set), "b:1@b:1 d:1@d:1 !e:0 !f:0");
		nodeset_unref(with);
		nodeset_unref(without);
	}
	without = nodeset_without(set, "f:0");
	ck_assert_str_eq(picture(without), "b:1@b:1 d:1@d:1 !e:0");
	ck_assert_msg(strstr(without->first_reason, "\"0\"") != NULL, "%s", without->first_reason);
	nodeset_unref(set);
	nodeset_unref(without);
}
END_TEST

START_TEST(finding_says_where_it_is_or_would_be)
{
	struct nodeset *set = parsed("[{\"targets\":[\"b:1\",\"d:1\",\"f:1\"]}]"),
		       *copy = nodeset_new(set->nodes, set->count);
	static const char *const ids[] = {"a", "b:1", "c", "d:1", "e", "f:1", "g"};
	size_t index;

	ck_assert(nodeset_equal(set, copy));
	nodeset_unref(set);
	for (size_t i = 0; i < 7; i++) {
		const struct safestart_node *node =
			nodeset_find(copy->nodes, copy->count, ids[i], &index);
		ck_assert((node != NULL) == (i % 2 == 1));
		ck_assert_uint_eq(index, i / 2);
	}
	nodeset_unref(copy);
	copy = nodeset_new(NULL, 0);
	ck_assert_ptr_null(nodeset_find(copy->nodes, copy->count, "a", NULL));
	nodeset_unref(copy);
	nodeset_unref(NULL);
}
END_TEST

/* ---- What would change ---- */

/* "+id -id ~id", then "=" and every id of the plan ("*" behind it: the live node itself). A static
 * buffer. */
static const char *plan_picture(const char *live_json, const char *wanted_json, bool anew)
{
	static char text[1024];
	struct nodeset *live = parsed(live_json), *wanted = parsed(wanted_json);
	struct nodeset_plan plan;
	size_t at = 0;

	ck_assert_int_eq(nodeset_plan(&plan, live->nodes, live->count, wanted, anew), 0);
	for (size_t i = 0; i < plan.change_count; i++) {
		const struct nodeset_change *change = &plan.changes[i];
		struct safestart_node *const *nodes =
			change->kind == SAFESTART_REMOVED ? live->nodes : plan.nodes;
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%c%s ", " +-~"[change->kind],
				       safestart_node_id(nodes[change->index]));
	}
	at += (size_t)snprintf(text + at, sizeof(text) - at, "=");
	for (size_t i = 0; i < plan.count; i++) {
		const char *id = safestart_node_id(plan.nodes[i]);
		bool own = nodeset_find(live->nodes, live->count, id, NULL) == plan.nodes[i];
		at += (size_t)snprintf(text + at, sizeof(text) - at, " %s%s", id, own ? "*" : "");
	}
	nodeset_plan_clear(&plan);
	ck_assert_ptr_null(plan.nodes);
	nodeset_unref(live);
	nodeset_unref(wanted);
	return text;
}

#define N(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"

START_TEST(p11_the_plan_says_what_changes_and_a_faulty_live_node_stays)
{
	static const char live[] = "[" N("b", "b:1") "," N("d", "d:1") "," N("f", "f:1") "]";
	static const struct {
		const char *wanted;
		bool anew;
		const char *expected;
	} rows[] = {
		{live, false, "= b* d* f*"},
		{"[]", false, "-b -d -f ="},
		{"[" N("f", "f:1") "," N("b", "b:1") "]", false, "-d = b* f*"},
		{"[" N("a", "a:1") "," N("d", "d:2") "," N("g", "g:1") "]", false,
		 "+a -b ~d -f +g = a d g"},
		{"[" N("b", "b:0") "," N("d", "d:1") "," N("f", "f:1") "," N("f", "f:2") "]", false,
		 "= b* d* f*"},
		{"[" N("b", "b:0") "," N("x", "x:0") "," N("d", "d:9") "]", false, "~d -f = b* d"},
		/* Its id cannot be read: it may be the live node with this address. */
		{"[{\"targets\":[\"B:01\"],\"labels\":{\"id\":7}}]", false, "-d -f = b*"},
		{"[{\"target\":[\"d:1\",\"f:1\"]}," N("x", "f:1") "]", false, "-b +x = d* f* x"},
		{live, true, "+b +d +f = b d f"},
		{"[" N("a", "a:1") "," N("b", "b:0") "," N("d", "d:2") "]", true,
		 "+a +b +d = a b* d"},
		{"[]", true, "="},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ck_assert_str_eq(plan_picture(live, rows[i].wanted, rows[i].anew),
				 rows[i].expected);
	ck_assert_str_eq(plan_picture("[]", live, false), "+b +d +f = b d f");
	ck_assert_str_eq(plan_picture("[]", "[]", false), "=");
}
END_TEST

/* ---- Guard rails ---- */

START_TEST(p11_a_node_called_like_an_entry_without_an_id_is_another)
{
	struct nodeset *live = parsed("[{\"targets\":[\"a:1\"],\"labels\":{\"id\":\"entry "
				      "2\"}},{\"targets\":[\"b:1\"]}]");
	struct nodeset *wanted = parsed("[{\"targets\":[\"b:1\"]},{\"targets\":[\"c:1\"],"
					"\"labels\":{\"id\":\"\"}}]"),
		       *with, *without;
	struct nodeset_plan plan;

	/* It left the set: that another entry has no id does not keep it. */
	ck_assert_int_eq(nodeset_plan(&plan, live->nodes, live->count, wanted, false), 0);
	ck_assert_uint_eq(plan.count, 1);
	ck_assert_uint_eq(plan.change_count, 1);
	ck_assert_int_eq(plan.changes[0].kind, SAFESTART_REMOVED);
	nodeset_plan_clear(&plan);
	/* Nor does an edit of one touch the other. */
	with = nodeset_with(wanted, live->nodes[1]);
	ck_assert_str_eq(picture(with), "b:1@b:1 entry 2@a:1 !entry 2");
	without = nodeset_without(with, "entry 2");
	ck_assert_str_eq(picture(without), "b:1@b:1 !entry 2");
	ck_assert(nodeset_equal(without, wanted) && !nodeset_has_fault(without, "entry 2") &&
		  nodeset_find_fault(without, "entry 2") != NULL);
	nodeset_unref(with);
	nodeset_unref(without);
	nodeset_unref(wanted);
	nodeset_unref(live);
}
END_TEST

#define SECOND INT64_C(1000000000)

START_TEST(p12_rails_are_judged_to_the_node)
{
	static const struct {
		struct nodeset_rails rails;
		struct nodeset_before before;
		size_t count;
		bool forced;
		const char *words; /* NULL: may pass */
	} rows[] = {
		{{50, 1, false, 0}, {10, 0}, 5, false, NULL},
		{{50, 1, false, 0}, {10, 0}, 4, false, "6 of 10"},
		{{50, 1, false, 0}, {10, 0}, 4, true, NULL},
		{{50, 1, false, 0}, {3, 0}, 2, false, NULL},
		{{50, 1, false, 0}, {3, 0}, 1, false, "2 of 3"},
		{{50, 1, false, 0}, {2, 0}, 1, false, NULL},
		{{50, 1, false, 0}, {0, 0}, 1, false, NULL},
		{{0, 1, false, 0}, {100, 0}, 100, false, NULL},
		{{0, 1, false, 0}, {100, 0}, 99, false, "max_shrink is 0%"},
		{{33, 1, false, 0}, {100, 0}, 67, false, NULL},
		{{33, 1, false, 0}, {100, 0}, 66, false, "34 of 100"},
		{{33, 1, false, 0}, {3, 0}, 2, false, "1 of 3"},
		{{100, 1, false, 0}, {100, 0}, 1, false, NULL},
		{{100, 3, false, 0}, {100, 0}, 3, false, NULL},
		{{100, 3, false, 0}, {100, 0}, 2, false, "min_nodes is 3"},
		{{100, 3, false, 0}, {0, 0}, 2, false, "min_nodes is 3"},
		{{100, 3, false, 0}, {100, 0}, 2, true, NULL},
		{{100, 0, false, 0}, {1, 0}, 0, false, "allow_empty"},
		{{100, 0, false, 0}, {5, 0}, 0, true, "all 5"},
		{{100, 0, false, 0}, {0, 0}, 0, true, "allow_empty"},
		{{0, 3, true, 0}, {5, 0}, 0, false, NULL},
		{{0, 3, true, 0}, {5, 0}, 1, false, "4 of 5"},
		/* Shrinking is counted from the largest recent set. */
		{{50, 1, false, 60 * SECOND},
		 {50, 100},
		 49,
		 false,
		 "51 of 100 nodes that were live within the last 60 s (50 are live now)"},
		{{50, 1, false, 60 * SECOND}, {51, 100}, 50, false, NULL},
		{{50, 1, false, 60 * SECOND}, {50, 100}, 25, true, NULL},
		{{50, 1, false, 60 * SECOND}, {50, 50}, 24, false, "26 of 50 nodes, max"},
		{{50, 1, false, 60 * SECOND}, {50, 20}, 24, false, "26 of 50 nodes, max"},
		/* What does not lose a live node cannot be too small. */
		{{50, 1, false, 60 * SECOND}, {10, 100}, 10, false, NULL},
		{{50, 1, false, 60 * SECOND}, {10, 100}, 11, false, NULL},
		{{50, 1, true, 60 * SECOND}, {0, 100}, 1, false, NULL},
		{{50, 1, false, 60 * SECOND}, {10, 100}, 9, false, "91 of 100"},
		{{50, 0, false, 0}, {SIZE_MAX / 2, 0}, SIZE_MAX / 8, false, "max_shrink"},
	};
	char why[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		why[0] = '\0';
		int error = nodeset_check_rails(&rows[i].rails, &rows[i].before, rows[i].count,
						rows[i].forced, why, sizeof(why));
		ck_assert_msg(error == (rows[i].words != NULL ? -ERANGE : 0), "row %zu: %d %s", i,
			      error, why);
		ck_assert_msg(rows[i].words == NULL || strstr(why, rows[i].words) != NULL,
			      "row %zu: %s", i, why);
		if (error < 0 && rows[i].count > 0)
			ck_assert_msg(strstr(why, "SAFESTART_FORCE") != NULL, "row %zu: %s", i,
				      why);
	}
}
END_TEST

START_TEST(p12_the_shrink_rail_is_exact_for_every_small_set)
{
	for (unsigned percent = 0; percent <= 100; percent++) {
		struct nodeset_rails rails = {.max_shrink = percent};
		for (size_t live = 1; live <= 60; live++) {
			for (size_t count = 1; count <= live; count++) {
				bool refuse = (live - count) * 100 > live * percent;
				struct nodeset_before before = {.live = live};
				ck_assert_msg((nodeset_check_rails(&rails, &before, count, false,
								   NULL, 0) == -ERANGE) == refuse,
					      "%zu of %zu at %u", count, live, percent);
			}
		}
	}
}
END_TEST

START_TEST(p11_a_set_in_which_nothing_is_usable_is_refused)
{
	struct nodeset *none = parsed("[{\"targets\":[\"b:0\",\"a:0\"]}]"),
		       *some = parsed("[{\"targets\":[\"b:0\",\"a:1\"]}]"), *empty = parsed("[]");
	char why[512];

	ck_assert_int_eq(nodeset_usable(none, why, sizeof(why)), -EINVAL);
	ck_assert_msg(strstr(why, "2 of 2") != NULL && strstr(why, "port \"0\"") != NULL, "%s",
		      why);
	ck_assert_int_eq(nodeset_usable(some, why, sizeof(why)), 0);
	ck_assert_int_eq(nodeset_usable(empty, why, sizeof(why)), 0);
	nodeset_unref(none);
	nodeset_unref(some);
	nodeset_unref(empty);
}
END_TEST

SUITE("nodeset", p11_text_that_is_not_utf8_is_no_label, a_copy_is_the_same_node_without_report,
      edits_make_copies, finding_says_where_it_is_or_would_be,
      p11_the_plan_says_what_changes_and_a_faulty_live_node_stays,
      p11_a_node_called_like_an_entry_without_an_id_is_another, p12_rails_are_judged_to_the_node,
      p12_the_shrink_rail_is_exact_for_every_small_set,
      p11_a_set_in_which_nothing_is_usable_is_refused)
