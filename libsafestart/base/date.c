/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* date: not by gmtime_r(): it takes libc's time zone lock, and a child that is forked at that
 * moment would wait for it for ever. [P17] Any thread; pure. */
#include "base/date.h"

#include <stdbool.h>
#include <stdio.h>

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

void date_print(char *to, size_t size, int64_t wall_ms)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	long long days = wall_ms / 86400000, ms = wall_ms % 86400000;
	int year = 1970, month = 0;

	for (; days >= 365 + is_leap(year); year++)
		days -= 365 + is_leap(year);
	/* The year is known; what is left of the days leads to the month. */
	for (int length; days >= (length = month_days[month] + (month == 1 && is_leap(year)));
	     month++)
		days -= length;
	snprintf(to, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month + 1, (int)days + 1,
		 (int)(ms / 3600000), (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
		 (int)(ms % 1000));
}
