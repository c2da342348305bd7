/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scanner by itself: what is JSON, what is not and where, and what strings say. `documents` and
 * the fuzzers compare it with other readers. */
#include "base/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

/* Scans one value of text that has no byte behind its end. The fault; *at: where it stopped. */
static enum scan_fault scan_one(const char *text, size_t *at)
{
	size_t length = strlen(text);
	char *bare = malloc(length > 0 ? length : 1); /* the sanitizer watches its end */
	struct scan scan = {.text = memcpy(bare, text, length), .length = length};

	bool fine = scan_value(&scan);
	ck_assert(fine == (scan.fault == SCAN_FINE) && fine == (scan.words == NULL));
	ck_assert(scan.at <= length && (!fine || scan.depth == 0));
	*at = scan.at;
	free(bare);
	return scan.fault;
}

START_TEST(what_is_json_is_walked_over_to_its_end)
{
	static const char *const values[] = {"0",
					     "-0",
					     "10",
					     "-1.5e+30",
					     "1E5",
					     "0.0e-0",
					     "123456789012345678901234567890",
					     "1e999",
					     "true",
					     "false",
					     "null",
					     "\"\"",
					     "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
					     "\"\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80\x7f\"",
					     "[]",
					     "{}",
					     " \t\r\n[ 1 , [ ] , { } ]",
					     "{\"a\":{\"a\":[{}]},\"a\":1, \"\" : [[[]]] }"};
	size_t at;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		ck_assert_msg(scan_one(values[i], &at) == SCAN_FINE, "%s", values[i]);
		ck_assert_uint_eq(at, strlen(values[i]));
	}
}
END_TEST

START_TEST(what_is_not_json_is_found_at_its_place)
{
	static const struct {
		const char *text;
		enum scan_fault fault;
		size_t at;
	} rows[] = {
		{"", SCAN_ENDS, 0},
		{"  ", SCAN_ENDS, 2},
		{"01", SCAN_SYNTAX, 1},
		{"-", SCAN_ENDS, 1},
		{"-x", SCAN_SYNTAX, 1},
		{"+1", SCAN_SYNTAX, 0},
		{".5", SCAN_SYNTAX, 0},
		{"[1.]", SCAN_SYNTAX, 3},
		{"[1e]", SCAN_SYNTAX, 3},
		{"tru", SCAN_ENDS, 3},
		{"trux", SCAN_SYNTAX, 3},
		{"NaN", SCAN_SYNTAX, 0},
		{"'a'", SCAN_SYNTAX, 0},
		{"\"a", SCAN_ENDS, 2},
		{"\"\\x\"", SCAN_SYNTAX, 2},
		{"\"\\", SCAN_ENDS, 2},
		{"\"\\u12", SCAN_ENDS, 5},
		{"\"\\u12g4\"", SCAN_SYNTAX, 5},
		{"\"\\u0000\"", SCAN_SYNTAX, 7},
		{"\"\\ud800\"", SCAN_SYNTAX, 7},
		{"\"\\ud800\\n\"", SCAN_SYNTAX, 8},
		{"\"\\ud800\\u0041\"", SCAN_SYNTAX, 13},
		{"\"\\ud800\\udbff\"", SCAN_SYNTAX, 13},
		{"\"\\ud800\\ue000\"", SCAN_SYNTAX, 13},
		{"\"\\udc00\"", SCAN_SYNTAX, 7},
		{"\"\n\"", SCAN_SYNTAX, 1},
		{"\"\xff\"", SCAN_UTF8, 1},
		{"\"\xc0\x80\"", SCAN_UTF8, 1},
		{"\"\xed\xa0\x80\"", SCAN_UTF8, 1},
		{"\"\xf4\x90\x80\x80\"", SCAN_UTF8, 1},
		{"\"\xe2\x80", SCAN_UTF8, 1},
		{"[", SCAN_ENDS, 1},
		{"[1", SCAN_ENDS, 2},
		{"[1 2]", SCAN_SYNTAX, 3},
		{"[1,]", SCAN_SYNTAX, 3},
		{"[,1]", SCAN_SYNTAX, 1},
		{"[1}", SCAN_SYNTAX, 2},
		{"{\"a\"}", SCAN_SYNTAX, 4},
		{"{\"a\":}", SCAN_SYNTAX, 5},
		{"{\"a\":1,}", SCAN_SYNTAX, 7},
		{"{1:1}", SCAN_SYNTAX, 1},
		{"{\"a\":1]", SCAN_SYNTAX, 6},
		{"]", SCAN_SYNTAX, 0},
	};
	size_t at;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum scan_fault fault = scan_one(rows[i].text, &at);
		ck_assert_msg(fault == rows[i].fault && at == rows[i].at, "%s: %d at %zu",
			      rows[i].text, (int)fault, at);
	}
}
END_TEST

/* A NUL byte is no end of the text. */
START_TEST(a_nul_byte_is_found)
{
	static const char *const texts[] = {"[\"\0\"]", "[1\0]", "[\0 1]", "\0"};
	static const size_t lengths[] = {5, 4, 5, 1}, places[] = {2, 2, 1, 0};

	for (size_t i = 0; i < 4; i++) {
		struct scan scan = {.text = texts[i], .length = lengths[i]};
		ck_assert(!scan_value(&scan));
		ck_assert_int_eq(scan.fault, SCAN_SYNTAX);
		ck_assert_uint_eq(scan.at, places[i]);
	}
}
END_TEST

START_TEST(p23_nesting_has_a_limit_and_each_level_its_own_bracket)
{
	char text[4 * SCAN_DEPTH_MAX] = "";
	size_t at;

	for (size_t depth = 1; depth <= SCAN_DEPTH_MAX + 1; depth++) {
		/* Every second one is an object. */
		size_t end = 0;
		for (size_t i = 0; i < depth; i++)
			end += (size_t)sprintf(text + end, i % 2 ? "{\"\":" : "[");
		size_t inside = end;
		text[end++] = '0';
		for (size_t i = depth; i-- > 0;)
			text[end++] = i % 2 ? '}' : ']';
		text[end] = '\0';
		enum scan_fault fault = scan_one(text, &at);
		ck_assert_int_eq(fault, depth > SCAN_DEPTH_MAX ? SCAN_DEEP : SCAN_FINE);
		ck_assert_uint_eq(at, depth > SCAN_DEPTH_MAX ? inside - 1 : end);
		if (depth > SCAN_DEPTH_MAX)
			continue;
		/* One bracket of the wrong kind. */
		text[inside + 1] = text[inside + 1] == '}' ? ']' : '}';
		ck_assert_int_eq(scan_one(text, &at), SCAN_SYNTAX);
		ck_assert_uint_eq(at, inside + 1);
	}
}
END_TEST

START_TEST(a_string_says_what_it_says)
{
	static const char *const rows[][2] = {
		{"\"\"", ""},
		{"\"plain\"", "plain"},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"a\\u0041b\\u00E9\\u20ac\\ud83d\\ude00z\"",
		 "aAb\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"},
		{"\"\\u0001\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
		 "\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
		{"\"\\ud800\\udc00\\udbff\\udfff\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
	};
	char room[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct scan scan = {.text = rows[i][0], .length = strlen(rows[i][0])};
		ck_assert(scan_value(&scan));
		ck_assert_uint_eq(scan_decode(&scan, 0, room), strlen(rows[i][1]));
		ck_assert_str_eq(room, rows[i][1]);
		ck_assert_uint_lt(strlen(room) + 1, scan.length + 1);
	}
}
END_TEST

START_TEST(arrays_and_objects_are_walked_member_by_member)
{
	const char *text = " { \"a\" : [ 1 , 2 ] , \"b\":{} } ";
	struct scan scan = {.text = text, .length = strlen(text)};
	size_t members = 0, elements = 0;

	ck_assert_int_eq(scan_peek(&scan), '{');
	ck_assert(scan_enter(&scan));
	ck_assert(scan_next(&scan, '}', &members));
	ck_assert(scan_key(&scan));
	ck_assert_int_eq(scan_peek(&scan), '[');
	ck_assert(scan_enter(&scan));
	while (scan_next(&scan, ']', &elements))
		ck_assert(scan_value(&scan));
	ck_assert_uint_eq(elements, 2);
	ck_assert(scan_next(&scan, '}', &members));
	ck_assert(scan_key(&scan));
	ck_assert(scan_value(&scan));
	ck_assert(!scan_next(&scan, '}', &members));
	ck_assert_uint_eq(members, 2);
	ck_assert_int_eq(scan.fault, SCAN_FINE);
	ck_assert_int_eq(scan_peek(&scan), '\0');
	ck_assert_uint_eq(scan.at, scan.length);
}
END_TEST

SUITE("scan", what_is_json_is_walked_over_to_its_end, what_is_not_json_is_found_at_its_place,
      a_nul_byte_is_found, p23_nesting_has_a_limit_and_each_level_its_own_bracket,
      a_string_says_what_it_says, arrays_and_objects_are_walked_member_by_member)
