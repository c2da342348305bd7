/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How large the sets were that were live a short while ago: made-up time, compared with a list of
 * all of them. */
#include "nodes/recent.h"

#include "support/support.h"

#define STEPS 3000

static uint32_t seed = 1;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % limit;
}

START_TEST(p12_the_largest_set_is_remembered_for_the_window)
{
	struct recent recent = {0};

	ck_assert_uint_eq(recent_largest(&recent, 0, 60), 0);
	recent_add(&recent, 100, 1000, 60);
	recent_add(&recent, 50, 1010, 60);
	recent_add(&recent, 25, 1020, 60);
	ck_assert_uint_eq(recent_largest(&recent, 1020, 60), 100);
	ck_assert_uint_eq(recent_largest(&recent, 1059, 60), 100);
	ck_assert_uint_eq(recent_largest(&recent, 1060, 60), 50);
	ck_assert_uint_eq(recent_largest(&recent, 1070, 60), 25);
	ck_assert_uint_eq(recent_largest(&recent, 1080, 60), 0);
	recent_add(&recent, 70, 1030, 60); /* larger and later than two of them */
	ck_assert_uint_eq(recent.count, 2);
	ck_assert_uint_eq(recent_largest(&recent, 1089, 60), 70);
	ck_assert_uint_eq(recent_largest(&recent, 1030, 0), 0); /* off */
	recent_add(&recent, 0, 1031, 60);
	ck_assert_uint_eq(recent.count, 2);
}
END_TEST

START_TEST(p12_it_remembers_what_a_list_of_all_sets_would)
{
	static struct recent_set all[STEPS];

	for (unsigned sizes = 2; sizes <= RECENT_SETS; sizes *= 4) {
		struct recent recent = {0};
		int64_t now = 0;
		for (size_t count = 0; count < STEPS;) {
			now += random_below(10);
			all[count] = (struct recent_set){random_below(sizes), now};
			recent_add(&recent, all[count].nodes, now, 60);
			count++;
			int64_t later = now + random_below(80);
			size_t most = 0;
			for (size_t i = 0; i < count; i++) {
				if (later - all[i].until < 60 && all[i].nodes > most)
					most = all[i].nodes;
			}
			ck_assert_uint_eq(recent_largest(&recent, later, 60), most);
		}
	}
}
END_TEST

/* More sets than there is room for: never less than the truth, and nearly it. */
START_TEST(p12_when_very_many_sets_shrink_it_errs_on_the_strict_side)
{
	struct recent recent = {0};

	for (size_t i = 0; i < 1000; i++)
		recent_add(&recent, 10000 - i, (int64_t)i, 2000);
	for (size_t i = 1; i < 1000; i++) {
		size_t truth = 10000 - i, is = recent_largest(&recent, 2000 + (int64_t)i - 1, 2000);
		ck_assert_msg(is >= truth && is < truth + 1000, "%zu: %zu, not %zu", i, is, truth);
	}
	ck_assert_uint_eq(recent_largest(&recent, 3000, 2000), 0);
}
END_TEST

SUITE("recent", p12_the_largest_set_is_remembered_for_the_window,
      p12_it_remembers_what_a_list_of_all_sets_would,
      p12_when_very_many_sets_shrink_it_errs_on_the_strict_side)
