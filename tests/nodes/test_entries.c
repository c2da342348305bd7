/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of a document that are wrong, doubtful, or the same: what is left out, and what is said.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nodes/sets.h"

START_TEST(p11_a_bad_entry_is_left_out_with_its_reason_and_the_others_stay)
{
	static const struct {
		const char *targets, *id, *fault, *words;
	} rows[] = {
		{"b:0", NULL, "b:0", "port \"0\""},
		{"b:99999", NULL, "b:99999", "1 to 65535"},
		{"b:65536", NULL, "b:65536", "1 to 65535"},
		{"b:", NULL, "b:", "port"},
		{"b:1x", NULL, "b:1x", "port \"1x\""},
		{"b:+1", NULL, "b:+1", "port"},
		{"b:-1", NULL, "b:-1", "port"},
		{"b:18446744073709551617", NULL, "b:18446744073709551617", "1 to 65535"},
		{"b", NULL, "b", "no port"},
		{"", NULL, "entry 2", "empty"},
		{":1", NULL, ":1", "host:port"},
		{"b b:1", NULL, "b b:1", "host:port"},
		{" b:1", NULL, " b:1", "host:port"},
		{"b:1 ", NULL, "b:1 ", "port"},
		{"b:1", "", "entry 2", "id is empty"},
		{"b:1", "x\\ny", "entry 2", "control character"},
		{"2001:db8::1", NULL, "2001:db8::1", "brackets"},
		{"2001:db8::1:80", NULL, "2001:db8::1:80", "brackets"},
		{"[::1]", NULL, "[::1]", "no port"},
		{"[::1", NULL, "[::1", "closing bracket"},
		{"[::g]:1", NULL, "[::g]:1", "not an IPv6"},
		{"[]:1", NULL, "[]:1", "not an IPv6"},
		{"[1.2.3.4]:1", NULL, "[1.2.3.4]:1", "not an IPv6"},
		{"[::1]x:1", NULL, "[::1]x:1", "no port"},
		{"http://b:1", NULL, "http://b:1", "more than one"},
		{"b:1", "bad", NULL, NULL},
		{"b:0", "known", "known", "port"},
		{"\xc3\xa9:1", NULL, "\xc3\xa9:1", "host:port"},
	};
	char json[512], label[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(label, sizeof(label), rows[i].id != NULL ? "\"id\":\"%s\"" : "%s",
			 rows[i].id != NULL ? rows[i].id : "");
		snprintf(json, sizeof(json),
			 "[{\"targets\":[\"a:1\"]},{\"targets\":[\"%s\"],\"labels\":{%s}},{"
			 "\"targets\":[\"c:1\"]}]",
			 rows[i].targets, label);
		struct nodeset *set = parsed(json);
		ck_assert_ptr_nonnull(nodeset_find(set->nodes, set->count, "a:1", NULL));
		ck_assert_ptr_nonnull(nodeset_find(set->nodes, set->count, "c:1", NULL));
		ck_assert_uint_eq(set->count, rows[i].fault != NULL ? 2 : 3);
		ck_assert_uint_eq(set->fault_count, rows[i].fault != NULL);
		if (rows[i].fault != NULL) {
			const struct nodeset_fault *fault = nodeset_find_fault(set, rows[i].fault);
			ck_assert_msg(fault != NULL, "%s: %s", json, picture(set));
			ck_assert_msg(strstr(fault->reason, rows[i].words) != NULL, "%s: %s", json,
				      fault->reason);
			ck_assert_str_eq(set->first_reason, fault->reason);
		}
		nodeset_unref(set);
	}
}
END_TEST

START_TEST(p11_the_name_of_an_entry_without_an_id_names_no_other_node)
{
	struct nodeset *set = parsed("[{\"targets\":[\"a:1\"],\"labels\":{\"id\":\"entry "
				     "2\"}},{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"\"}}]");

	ck_assert_uint_eq(set->count, 1);
	ck_assert_uint_eq(set->fault_count, 1);
	nodeset_unref(set);
}
END_TEST

START_TEST(p9_labels_repeated_for_many_targets_do_not_multiply_memory)
{
	const struct nodeset_limits limits = {.max_bytes = 1 << 20, .max_nodes = 100000};
	char *json = malloc(1 << 20), why[256];
	struct nodeset *set;
	int length = sprintf(json, "[{\"targets\":[");

	for (int i = 0; i < 20000; i++)
		length += sprintf(json + length, "%s\"h%d:1\"", i > 0 ? "," : "", i);
	sprintf(json + length, "],\"labels\":{\"l\":\"%01000d\"}}]", 0);
	ck_assert_int_eq(nodeset_parse(&set, json, strlen(json), &limits, why, sizeof(why)),
			 -E2BIG);
	ck_assert_msg(strstr(why, "max_bytes") != NULL, "%s", why);
	free(json);
}
END_TEST

START_TEST(p11_an_id_of_a_megabyte_is_one_bad_entry)
{
	static const char *const heads[] =
		{"[{\"targets\":[\"a:1\"]},{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"",
		 "[{\"targets\":[\"a:1\"]},{\"targets\":[\""};
	static const char *const tails[] = {"\"}}]", ":1\"]}]"};

	for (int i = 0; i < 2; i++) { /* as an id, and as an address that is the id */
		char *json = repeated(heads[i], "x", 1 << 20, tails[i]);
		struct nodeset *set = parsed(json);
		ck_assert_str_eq(picture(set), "a:1@a:1 !entry 2");
		ck_assert_msg(strstr(set->first_reason, "long") != NULL &&
				      strlen(set->first_reason) < 256,
			      "%s", set->first_reason);
		nodeset_unref(set);
		free(json);
	}
}
END_TEST

START_TEST(ids_and_labels_have_room_up_to_their_limits)
{
	struct node_label labels[NODE_LABELS_MAX + 1];
	char id[NODE_ID_MAX + 2], why[256], names[NODE_LABELS_MAX + 1][8];
	struct safestart_node *node;

	memset(id, 'x', sizeof(id));
	id[NODE_ID_MAX + 1] = '\0';
	ck_assert_int_eq(node_check_id(id, why, sizeof(why)), -EINVAL);
	id[NODE_ID_MAX] = '\0';
	ck_assert_int_eq(node_check_id(id, why, sizeof(why)), 0);
	for (size_t i = 0; i <= NODE_LABELS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		labels[i] = (struct node_label){.name = names[i], .value = "v"};
	}
	ck_assert_int_eq(node_new(&node, "x", "h:1", 0, labels, NODE_LABELS_MAX + 1, why,
				  sizeof(why)),
			 -EINVAL);
	ck_assert_msg(strstr(why, "1001 labels") != NULL, "%s", why);
	ck_assert_int_eq(node_new(&node, "x", "h:1", 0, labels, NODE_LABELS_MAX, why, sizeof(why)),
			 0);
	ck_assert_str_eq(safestart_node_label_at(node, NODE_LABELS_MAX - 1, NULL), "v");
	ck_assert(node_unref(node));
	node_free(node);
	/* More than 4 GiB in all, which max_bytes may allow: said, and not called a lack of memory.
	 */
	char *long_value = repeated("", "v", 5 << 20, "");
	for (size_t i = 0; i < NODE_LABELS_MAX; i++)
		labels[i].value = long_value;
	ck_assert_int_eq(node_new(&node, "x", "h:1", 0, labels, NODE_LABELS_MAX, why, sizeof(why)),
			 -EINVAL);
	ck_assert_msg(strstr(why, "at most 4294967295 are allowed") != NULL, "%s", why);
	free(long_value);
	labels[0].value = labels[1].value = "v";
	labels[1].name = "n0";
	ck_assert_int_eq(node_new(&node, "x", "h:1", 0, labels, 2, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "the label \"n0\" is there twice");
}
END_TEST

START_TEST(p11_one_id_with_differing_entries_uses_none_of_them)
{
	struct nodeset *set =
		parsed("[{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"x\"}},{\"targets\":[\"a:1\"]},"
		       "{\"targets\":[\"b:2\"],\"labels\":{\"id\":\"x\"}},"
		       "{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"x\"}}]");

	ck_assert_str_eq(picture(set), "a:1@a:1 !x");
	ck_assert_msg(strstr(set->first_reason, "b:1") != NULL &&
			      strstr(set->first_reason, "b:2") != NULL,
		      "%s", set->first_reason);
	nodeset_unref(set);
	assert_picture("[{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"x\"}},{\"targets\":[\"b:0\"],"
		       "\"labels\":{\"id\":\"x\"}}]",
		       "!x");
	assert_picture("[{\"targets\":[\"b:0\"]},{\"targets\":[\"b:0\"]}]", "!b:0");
}
END_TEST

/* As many labels as there may be, in a group whose address is written in another way: it is written
 * back without an id, and the id does not count among the labels. */
START_TEST(what_is_written_of_a_node_with_all_labels_reads_the_same)
{
	static const char *const heads[] = {"[{\"targets\":[\"h:00080\"],\"labels\":{",
					    "[{\"targets\":[\"h:80\"],\"labels\":{\"id\":\"x\","};
	char json[NODE_LABELS_MAX * 12 + 100];

	for (size_t row = 0; row < 2; row++) {
		int at = snprintf(json, sizeof(json), "%s", heads[row]);
		for (int i = 0; i < NODE_LABELS_MAX; i++)
			at += snprintf(json + at, sizeof(json) - (size_t)at, "%s\"l%d\":\"\"",
				       i > 0 ? "," : "", i);
		strcpy(json + at, "}}]");
		struct nodeset *set = parsed(json);
		ck_assert_uint_eq(set->count, 1);
		char *written = nodeset_json(set->nodes, set->count);
		struct nodeset *again = parsed(written);
		ck_assert(nodeset_equal(set, again));
		nodeset_unref(again);
		nodeset_unref(set);
		free(written);
	}
}
END_TEST

START_TEST(p11_a_wrong_group_is_left_out_by_the_names_of_its_nodes)
{
	static const struct {
		const char *group, *picture, *words;
	} rows[] = {
		{"{\"targets\":\"h:1\"}", "!h:1", "group 2: targets is a string"},
		{"{\"target\":[\"H:01\",\"i:1\"]}", "!h:1 !i:1",
		 "group 2: targets is missing; there is \"target\" instead"},
		{"{\"Targets\":\"h:1\",\"labels\":{\"id\":\"x\"}}", "!x", "there is \"Targets\""},
		{"{\"labels\":{\"id\":\"x\"}}", "!x", "targets is missing"},
		{"{\"targets\":7,\"labels\":{\"id\":\"x\"}}", "!x", "targets is a number"},
		{"{\"targets\":[1]}", "!entry 2", "group 2: target 1 is a number"},
		{"{\"targets\":[\"h:1\",null]}", "h:1@h:1 !entry 3", "group 2: target 2 is null"},
		{"{\"targets\":[[\"h:1\"]]}", "!entry 2", "target 1 is an array"},
		{"{\"targets\":[\"h:1\"],\"labels\":null}", "!h:1", "labels is null"},
		{"{\"targets\":[\"h:1\"],\"labels\":[]}", "!h:1", "labels is an array"},
		{"{\"targets\":[\"h:1\",\"i:1\"],\"labels\":{\"zone\":7}}", "!h:1 !i:1",
		 "group 2: the label \"zone\" is a number, not a string"},
		{"{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"x\",\"rank\":-1}}", "!x",
		 "the label \"rank\" is a number"},
		{"{\"targets\":[\"h:1\"],\"labels\":{\"id\":null}}", "!h:1",
		 "label \"id\" is null"},
		{"{\"targets\":[\"h:1\"],\"labels\":{\"zone\":{}}}", "!h:1",
		 "label \"zone\" is an object"},
		{"{\"targets\":[\"h:1\"],\"t\\u0061rgets\":[\"i:1\"]}", "!h:1 !i:1",
		 "targets is there twice"},
		{"{\"labels\":{},\"targets\":[\"h:1\"],\"labels\":{\"a\":\"1\"}}", "!h:1",
		 "labels is there twice"},
		{"{\"targets\":[\"h:1\"],\"labels\":{\"a\":\"1\",\"\\u0061\":\"1\"}}", "!h:1",
		 "the label \"a\" is there twice"},
		{"{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"x\",\"id\":\"y\"}}", "!y",
		 "the label \"id\" is there twice"},
	};
	char json[512], all[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(json, sizeof(json), "[{\"targets\":[\"a:1\"]},%s,{\"targets\":[\"b:1\"]}]",
			 rows[i].group);
		snprintf(all, sizeof(all), "a:1@a:1 b:1@b:1 %s", rows[i].picture);
		struct nodeset *set = parsed(json);
		ck_assert_msg(strcmp(picture(set), all) == 0, "%s: %s", json, picture(set));
		ck_assert_msg(strstr(set->first_reason, rows[i].words) != NULL, "%s: %s", json,
			      set->first_reason);
		nodeset_unref(set);
	}
}
END_TEST

/* With one address they are one node, and the same one in any order. */
START_TEST(p7_entries_that_differ_in_a_label_are_one_node_and_a_warning)
{
	static const char *const groups[] =
		{"{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"x\",\"zone\":\"y\"}}",
		 "{\"targets\":[\"B:01\"],\"labels\":{\"id\":\"x\",\"zone\":\"z\"}}",
		 "{\"targets\":[\"b:1\"],\"labels\":{\"id\":\"x\"}}"};
	char json[512];

	for (size_t i = 0; i < 9; i++) {
		snprintf(json, sizeof(json), "[%s,%s]", groups[i / 3], groups[i % 3]);
		struct nodeset *set = parsed(json);
		ck_assert_str_eq(picture(set), "x@b:1");
		ck_assert_uint_eq(set->warnings.count, i / 3 != i % 3);
		const char *zone = safestart_node_label(set->nodes[0], "zone");
		if (i / 3 == 2 || i % 3 == 2)
			ck_assert_ptr_null(zone);
		else
			ck_assert_str_eq(zone, i == 4 ? "z" : "y");
		if (i == 1 || i == 3)
			ck_assert_str_eq(set->warnings.first,
					 "several entries for x differ in the label \"zone\"; the "
					 "one with the value \"y\" is used");
		if (i == 2 || i == 6)
			ck_assert_str_eq(set->warnings.first,
					 "several entries for x differ in the label \"zone\"; the "
					 "one without it is used");
		nodeset_unref(set);
	}
}
END_TEST

static void assert_warning(const char *json, size_t count, const char *first)
{
	struct nodeset *set = parsed(json);

	ck_assert_uint_eq(set->fault_count, 0);
	ck_assert_msg(set->warnings.count == count && strcmp(set->warnings.first, first) == 0,
		      "%s: %zu, %s", json, set->warnings.count, set->warnings.first);
	nodeset_unref(set);
}

START_TEST(the_first_label_that_differs_is_named)
{
	static const char *const rows[][3] = {
		/* labels, other labels, what is said */
		{"\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"", "\"a\":\"1\",\"b\":\"4\",\"c\":\"5\"",
		 "\"b\"; the one with the value \"2\" is used"},
		{"\"a\":\"1\"", "\"a\":\"1\",\"b\":\"\"", "\"b\"; the one without it is used"},
		{"\"a\":\"1\",\"c\":\"3\"", "\"c\":\"3\"",
		 "\"a\"; the one with the value \"1\" is used"},
		{"\"b\":\"3\"", "\"b\":\"3\",\"c\":\"\"", "\"c\"; the one without it is used"},
		{"\"b\":\"\"", "\"c\":\"\"", "\"b\"; the one with the value \"\" is used"},
	};
	char json[512], words[256];

	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(json, sizeof(json),
			 "[{\"targets\":[\"x:1\"],\"labels\":{%s}},{\"targets\":[\"x:1\"],"
			 "\"labels\":{%s}}]",
			 rows[i / 2][i % 2], rows[i / 2][1 - i % 2]);
		snprintf(words, sizeof(words), "several entries for x:1 differ in the label %s",
			 rows[i / 2][2]);
		assert_warning(json, 1, words);
	}
}
END_TEST

START_TEST(what_was_probably_not_meant_is_a_warning)
{
	assert_warning(TWO, 0, "");
	assert_warning("[{\"targets\":[\"a:1\"],\"label\":{\"x\":[]}},{\"targets\":[],\"y\":1,"
		       "\"z\":1}]",
		       3,
		       "group 1: the member \"label\" is unknown and is ignored; a group has "
		       "targets "
		       "and labels");
	assert_warning("[{\"targets\":[\"H:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"h:01\"],"
		       "\"labels\":{\"id\":\"b\"}},{\"targets\":[\"h:2\"]}]",
		       1, "a and b have the same address, h:1");
}
END_TEST

/* Nobody asks for its value: neither a large number nor a key that is there twice is a fault. */
START_TEST(what_is_unknown_may_be_any_json)
{
	assert_picture("[{\"targets\":[\"a:1\"],\"n\":[123456789012345678901234567890,-1e999,{"
		       "\"k\":1,"
		       "\"k\":[{}]},[],\"\\ud834\\udd1e\"]}]",
		       "a:1@a:1");
}
END_TEST

START_TEST(a_target_without_a_port_gets_the_default_port)
{
	const struct nodeset_limits with = {.max_bytes = 1000, .max_nodes = 9, .default_port = 80};
	const char *json = "[{\"targets\":[\"A\",\"[::0]\",\"b:1\",\"c:\",\"h h\"]}]";
	struct nodeset *set;

	ck_assert_int_eq(nodeset_parse(&set, json, strlen(json), &with, NULL, 0), 0);
	ck_assert_str_eq(picture(set), "[::]:80@[::]:80 a:80@a:80 b:1@b:1 !c: !h h");
	nodeset_unref(set);
	set = parsed("[{\"targets\":[\"A\",\"b:1\"]}]");
	ck_assert_str_eq(picture(set), "b:1@b:1 !A");
	ck_assert_ptr_nonnull(
		strstr(set->first_reason, "has no port; write host:port, or set default_port"));
	nodeset_unref(set);
}
END_TEST

START_TEST(faults_are_ordered_and_the_first_in_the_document_is_named_first)
{
	struct nodeset *set = parsed("[{\"targets\":[\"z:0\",\"m:1\",\"b:0\",\"y\",\"a b\"]}]");

	ck_assert_str_eq(picture(set), "m:1@m:1 !a b !b:0 !y !z:0");
	ck_assert_str_eq(set->first_reason, nodeset_find_fault(set, "z:0")->reason);
	ck_assert_ptr_null(nodeset_find_fault(set, "m:1"));
	ck_assert_ptr_null(nodeset_find_fault(set, ""));
	nodeset_unref(set);
}
END_TEST

SUITE("entries", p11_a_bad_entry_is_left_out_with_its_reason_and_the_others_stay,
      p11_the_name_of_an_entry_without_an_id_names_no_other_node,
      p9_labels_repeated_for_many_targets_do_not_multiply_memory,
      p11_an_id_of_a_megabyte_is_one_bad_entry, ids_and_labels_have_room_up_to_their_limits,
      p11_one_id_with_differing_entries_uses_none_of_them,
      what_is_written_of_a_node_with_all_labels_reads_the_same,
      p11_a_wrong_group_is_left_out_by_the_names_of_its_nodes,
      p7_entries_that_differ_in_a_label_are_one_node_and_a_warning,
      the_first_label_that_differs_is_named, what_was_probably_not_meant_is_a_warning,
      what_is_unknown_may_be_any_json, a_target_without_a_port_gets_the_default_port,
      faults_are_ordered_and_the_first_in_the_document_is_named_first)
