/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handle as its users see it: asking, coalescing, answers, rails. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

START_TEST(p3_three_announcements_are_one_run_one_ticket_one_generation)
{
	struct app app;
	uint64_t tickets[3];

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=100ms", NULL);
	for (int i = 0; i < 3; i++) {
		char id[8], address[32];
		snprintf(id, sizeof(id), "n%d", i);
		snprintf(address, sizeof(address), "10.0.0.%d:1", i + 1);
		ck_assert_int_eq(safestart_node_announce(ss, id, address, NULL, &tickets[i]), 0);
	}
	struct safestart_outcome outcome = answer(ss, tickets[0]);
	ck_assert_uint_eq(tickets[0], 1);
	ck_assert_uint_eq(tickets[2], 1);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_uint_eq(outcome.requests, 3);
	ck_assert_uint_eq(outcome.run, 1);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_str_eq(live_ids(ss), "n0 n1 n2");
	ck_assert_int_eq(app.prepares, 1);
	close_now(ss);
}
END_TEST

SUITE("handle", p3_three_announcements_are_one_run_one_ticket_one_generation)
