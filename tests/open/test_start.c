/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a forked child serves when its first run fails. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* ---- A child whose first run fails ---- */

START_TEST(p17_a_child_whose_source_fails_prepares_what_it_inherited)
{
	struct app app;
	const char *path = scratch_path("nodes.json");
	char source[300];

	app_init(&app);
	app.hang_data = true;
	write_file(path, TWO);
	snprintf(source, sizeof(source), "source=file:%s", path);
	struct safestart *ss = open_with(&app, source, "debounce=0", "reconcile=0", NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), 0);
	for (int round = 0; round < 2; round++) {
		/* Gone, or no document. */
		round == 0 ? (void)unlink(path) : replace_file(path, "[{\"targets\":[]}");
		pid_t child = fork();
		if (child == 0) {
			struct safestart_outcome outcome = {.size = sizeof(outcome)};
			alarm(60);
			app_after_fork(&app);
			app.prepares = 0;
			uint64_t ticket = safestart_request_restart(ss);
			CHILD_CHECK(safestart_after_fork(ss) == 0);
			CHILD_CHECK(safestart_wait(ss, ticket, -1, &outcome) == 0);
			CHILD_CHECK(outcome.verdict ==
				    (round == 0 ? SAFESTART_FAILED : SAFESTART_REFUSED));
			CHILD_CHECK(strstr(outcome.message, "the inherited set stands in"));
			CHILD_CHECK(app.prepares == 1 && strcmp(live_ids(ss), "a b") == 0);
			const struct safestart_snapshot *live = safestart_read_lock(ss);
			CHILD_CHECK(safestart_node_data(safestart_snapshot_at(live, 0)) != NULL &&
				    safestart_node_data(safestart_snapshot_at(live, 1)) != NULL);
			safestart_read_unlock(ss);
			CHILD_CHECK(safestart_close(ss) == 0);
			leave_child(0);
		}
		await_child(child);
	}
	close_now(ss);
}
END_TEST

START_TEST(p17_a_child_that_has_prepared_nothing_says_so)
{
	const char *words = "inherited: none of its nodes is prepared in this process";
	struct app app;

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	push_and_wait(ss, TWO);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		app_after_fork(&app);
		app.prepare_result = -ECONNREFUSED;
		CHILD_CHECK(strstr(push_and_wait(ss, ONE).message, words) != NULL);
		app.prepare_result = 0;
		CHILD_CHECK(push_and_wait(ss, ONE).verdict == SAFESTART_APPLIED);
		app.prepare_result = -ECONNREFUSED;
		CHILD_CHECK(strstr(push_and_wait(ss, TWO).message, words) == NULL);
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	app.prepare_result = -ECONNREFUSED;
	ck_assert_ptr_null(strstr(push_and_wait(ss, ONE).message, words));
	close_now(ss);
}
END_TEST

SUITE("start", p17_a_child_whose_source_fails_prepares_what_it_inherited,
      p17_a_child_that_has_prepared_nothing_says_so)
