/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guard rails remember what was live a short while ago, in this process or the one before, and
 * what was forced. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"a:1\"]}]"
#define OTHER "[{\"targets\":[\"b:1\"]}]"
#define THREE "[{\"targets\":[\"a:1\",\"b:1\",\"c:1\"]}]"

static struct safestart_outcome push_so_many(struct safestart *ss, int count)
{
	char *document = document_of(count);
	struct safestart_outcome outcome = push_and_wait(ss, document);

	free(document);
	return outcome;
}

START_TEST(p12_many_small_losses_in_a_row_are_one)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);

	ck_assert_int_eq(push_so_many(ss, 100).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(push_so_many(ss, 50).verdict, SAFESTART_APPLIED);
	struct safestart_outcome outcome = push_so_many(ss, 25);
	ck_assert_int_eq(outcome.error, -ERANGE);
	ck_assert_msg(strstr(outcome.message,
			     "would lose 75 of 100 nodes that were live within the "
			     "last 60 s (50 are live now), max_shrink is 50% (such as "
			     "n") != NULL,
		      "%s", outcome.message);
	ck_assert_int_eq(push_so_many(ss, 49).error, -ERANGE);
	/* What is live, and what is larger, is no loss. */
	ck_assert_int_eq(push_so_many(ss, 50).verdict, SAFESTART_UNCHANGED);
	ck_assert_int_eq(push_so_many(ss, 60).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(push_so_many(ss, 50).verdict, SAFESTART_APPLIED);
	/* One node after the other is no way around it either. */
	ck_assert_int_eq(safestart_node_withdraw(ss, "n0", NULL), 0);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, -ERANGE);
	close_now(ss);
}
END_TEST

START_TEST(p12_a_forced_set_starts_anew)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);

	(void)push_so_many(ss, 100);
	(void)push_so_many(ss, 50);
	ck_assert_int_eq(push_so_many(ss, 20).error, -ERANGE);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).verdict,
			 SAFESTART_APPLIED);
	ck_assert_int_eq(push_so_many(ss, 10).verdict, SAFESTART_APPLIED);
	struct safestart_outcome outcome = push_so_many(ss, 9);
	ck_assert_ptr_nonnull(strstr(outcome.message, "would lose 11 of 20 nodes that were live"));
	close_now(ss);
}
END_TEST

START_TEST(p12_without_a_window_only_the_live_set_counts)
{
	struct safestart *ss = open_with(NULL, "debounce=0", "shrink_window=0", NULL);

	for (int count = 64; count > 0; count /= 2)
		ck_assert_int_eq(push_so_many(ss, count).verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

/* A process that starts again is no way around it: what last_good held was live. */
START_TEST(p12_the_kept_set_was_live_a_short_while_ago)
{
	char kept[300], *hundred = document_of(100);

	snprintf(kept, sizeof(kept), "last_good=%s", scratch_path("kept.json"));
	write_file(scratch_path("kept.json"), hundred);
	free(hundred);
	struct safestart_conf *conf =
		conf_with("thread=no", "debounce=0", "retry_min=0", kept, NULL);
	struct safestart *ss;
	uint64_t ticket;
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	char *fifty = document_of(50);
	ck_assert_int_eq(safestart_nodes_replace(ss, fifty, &ticket, NULL, 0), 0);
	free(fifty);
	ck_assert_int_eq(answer(ss, ticket).error, 0);
	ck_assert_uint_eq(safestart_generation(ss), 1); /* not the kept set first */
	ck_assert_ptr_nonnull(
		strstr(push_so_many(ss, 25).message, "would lose 75 of 100 nodes that were live"));
	close_now(ss);
}
END_TEST

/* ---- Force ---- */

START_TEST(p12_force_holds_until_a_set_has_been_judged)
{
	struct app app;
	char path[300], away[320];

	app_init(&app);
	snprintf(path, sizeof(path), "source=file:%s/nodes.json", scratch());
	snprintf(away, sizeof(away), "%s/away", scratch());
	const char *file = path + strlen("source=file:");
	replace_file(file, THREE);
	struct safestart *ss = open_with(&app, path, "debounce=0", "retry_min=1ms", "retry_max=2ms",
					 "reconcile=0", NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	replace_file(file, ONE);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, -ERANGE);
	ck_assert_int_eq(rename(file, away), 0);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, "meant")).error,
			 -ENOENT);
	ck_assert_int_eq(rename(away, file), 0);
	EVENTUALLY(safestart_generation(ss) == 2);
	ck_assert_str_eq(live_ids(ss), "a:1");
	/* Now it is spent. */
	replace_file(file, THREE);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, 0);
	replace_file(file, OTHER);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, -ERANGE);
	close_now(ss);
}
END_TEST

/* The caller was told that nothing had to be done. */
START_TEST(p12_force_without_a_set_is_not_kept_for_a_later_one)
{
	struct safestart *ss = open_with(NULL, "debounce=0", "min_nodes=2", NULL);

	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).error, 0);
	ck_assert_int_eq(push_and_wait(ss, ONE).error, -ERANGE);
	close_now(ss);
}
END_TEST

SUITE("rails", p12_many_small_losses_in_a_row_are_one, p12_a_forced_set_starts_anew,
      p12_without_a_window_only_the_live_set_counts, p12_the_kept_set_was_live_a_short_while_ago,
      p12_force_holds_until_a_set_has_been_judged,
      p12_force_without_a_set_is_not_kept_for_a_later_one)
