/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Results in words. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "support/support.h"

START_TEST(an_error_has_words_whichever_sign_it_has)
{
	ck_assert_str_eq(safestart_strerror(0), "fine");
	ck_assert_str_eq(safestart_strerror(-ERANGE), "a guard rail refused the set");
	ck_assert_str_eq(safestart_strerror(ERANGE), "a guard rail refused the set");
	ck_assert_str_eq(safestart_strerror(-ENOENT), strerror(ENOENT));
}
END_TEST

START_TEST(a_number_that_is_no_error_has_words_too)
{
	static const int numbers[] = {INT_MIN, INT_MIN + 1, -99999, 99999, INT_MAX};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		ck_assert_str_eq(safestart_strerror(numbers[i]), "unknown error");
}
END_TEST

SUITE("library", an_error_has_words_whichever_sign_it_has, a_number_that_is_no_error_has_words_too)
