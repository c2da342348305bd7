/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record of outcomes: which tickets are answered, and how. */
#include "request/ticket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

START_TEST(p6_every_ticket_has_one_answer_and_the_last_1024_are_kept)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)}, found;
	struct ticket_book book;

	ck_assert_int_eq(ticket_init(&book), 0);
	ck_assert_int_eq(ticket_find(&book, 1, &found), -EAGAIN);
	for (uint64_t ticket = 1; ticket <= 3000; ticket += 3) { /* three at a time */
		outcome.ticket = ticket + 2;
		outcome.run = ticket;
		ticket_answer(&book, &outcome);
		outcome.run = 0;
		ticket_answer(&book, &outcome); /* answered already: nothing happens */
		for (uint64_t i = 0; i < 3; i++) {
			ck_assert_int_eq(ticket_find(&book, ticket + i, &found), 0);
			ck_assert_uint_eq(found.run, ticket);
		}
		ck_assert_int_eq(ticket_find(&book, ticket + 3, &found), -EAGAIN);
	}
	ck_assert_int_eq(ticket_find(&book, 3000 - TICKETS_KEPT, &found), -ENODATA);
	ck_assert_int_eq(ticket_find(&book, 3000 - TICKETS_KEPT + 1, &found), 0);
	ck_assert_uint_eq(found.run, 3000 - TICKETS_KEPT + 1 - (3000 - TICKETS_KEPT) % 3);
	ticket_clear(&book);
}
END_TEST

START_TEST(an_outcome_is_copied_as_far_as_its_size_says)
{
	struct {
		struct safestart_outcome known;
		char later[8];
	} to = {.known = {.size = sizeof(to)}, .later = "as was"};
	struct safestart_outcome from = {.size = sizeof(from), .run = 7, .message = "words"};

	ck_assert_int_eq(ticket_copy(&to.known, &from), 0);
	ck_assert_uint_eq(to.known.size, sizeof(to));
	ck_assert_uint_eq(to.known.run, 7);
	ck_assert_str_eq(to.later, "as was");
	to.known.size = sizeof(from) - 1;
	to.known.run = 1;
	ck_assert_int_eq(ticket_copy(&to.known, &from), -EINVAL);
	ck_assert_uint_eq(to.known.run, 1);
	ck_assert_int_eq(ticket_copy(NULL, &from), 0);
}
END_TEST

START_TEST(verdicts_have_names)
{
	static const char *const names[] = {"unknown",   "pending",   "applied",
					    "unchanged", "refused",   "failed",
					    "timed_out", "cancelled", "unknown"};

	for (int verdict = -2; verdict <= 6; verdict++)
		ck_assert_str_eq(ticket_verdict_name(verdict), names[verdict + 2]);
}
END_TEST

SUITE("ticket", p6_every_ticket_has_one_answer_and_the_last_1024_are_kept,
      an_outcome_is_copied_as_far_as_its_size_says, verdicts_have_names)
