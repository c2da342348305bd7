/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dates, beside those of libc. */
#include "base/date.h"

#include <time.h>

#include "support/support.h"

#define DAY INT64_C(86400000)

/* To 2111: 2000 is a leap year, 2100 is none. */
START_TEST(every_day_is_that_of_the_calendar)
{
	char here[80], there[80];
	struct tm parts;

	for (int64_t day = 0; day < 51500; day++) {
		int64_t ms = day * DAY + (day * 7919 * 1000) % DAY;
		time_t seconds = (time_t)(ms / 1000);
		date_print(here, sizeof(here), ms);
		ck_assert_ptr_nonnull(gmtime_r(&seconds, &parts));
		strftime(there, sizeof(there), "%Y-%m-%dT%H:%M:%S.000Z", &parts);
		ck_assert_str_eq(here, there);
	}
}
END_TEST

START_TEST(milliseconds_have_three_digits)
{
	char text[80];

	date_print(text, sizeof(text), 0);
	ck_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
	date_print(text, sizeof(text), 951868799007); /* the last second of a leap day */
	ck_assert_str_eq(text, "2000-02-29T23:59:59.007Z");
}
END_TEST

SUITE("date", every_day_is_that_of_the_calendar, milliseconds_have_three_digits)
