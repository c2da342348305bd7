/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a caller passes by mistake: an error, and nothing has changed. A binding passes anything. */
#include <errno.h>
#include <string.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"

START_TEST(without_a_handle_every_function_says_so)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket = 7;
	char why[256];

	ck_assert_int_eq(safestart_nodes_replace(NULL, ONE, &ticket, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "ss is NULL: there is no handle");
	ck_assert_int_eq(safestart_node_announce(NULL, "a", "a:1", NULL, &ticket), -EINVAL);
	ck_assert_int_eq(safestart_node_withdraw(NULL, "a", &ticket), -EINVAL);
	ck_assert_uint_eq(ticket, 7);
	ck_assert_int_eq(safestart_node_state(NULL, "a", why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(safestart_last_outcome(NULL, &outcome), -EINVAL);
	ck_assert_int_eq(safestart_wait_ready(NULL, 0), -EINVAL);
	ck_assert_int_eq(safestart_shutdown(NULL), -EINVAL);
	ck_assert_int_eq(safestart_after_fork(NULL), -EINVAL);
	ck_assert_int_eq(safestart_fd(NULL), -EINVAL);
	ck_assert_int_eq(safestart_dispatch(NULL, 0), -EINVAL);
	ck_assert_ptr_null(safestart_status_json(NULL));
	ck_assert_ptr_null(safestart_metrics_text(NULL));
	ck_assert_uint_eq(safestart_generation(NULL), 0);
	ck_assert_ptr_null(safestart_generation_address(NULL));
}
END_TEST

START_TEST(an_announcement_that_lacks_something_changes_nothing)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	uint64_t ticket = 7;
	char why[256];

	(void)push_and_wait(ss, ONE);
	ck_assert_int_eq(safestart_nodes_replace(ss, NULL, &ticket, why, sizeof(why)), -EINVAL);
	ck_assert_str_eq(why, "json is NULL: there is no document");
	ck_assert_int_eq(safestart_node_announce(ss, NULL, "b:1", NULL, &ticket), -EINVAL);
	ck_assert_int_eq(safestart_node_announce(ss, "b", NULL, NULL, &ticket), -EINVAL);
	ck_assert_int_eq(safestart_node_withdraw(ss, NULL, &ticket), -EINVAL);
	ck_assert_uint_eq(ticket, 7);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_UNCHANGED);
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	/* What is said of the handle comes first. */
	ck_assert_int_eq(safestart_node_announce(ss, NULL, "b:1", NULL, &ticket), -ECANCELED);
	ck_assert_int_eq(safestart_node_withdraw(ss, NULL, &ticket), -ECANCELED);
	close_now(ss);
	ss = open_with(NULL, "source=none", NULL);
	ck_assert_int_eq(safestart_node_announce(ss, "b", "b:1", NULL, &ticket), -ENOTSUP);
	ck_assert_int_eq(safestart_node_withdraw(ss, "b", &ticket), -ENOTSUP);
	close_now(ss);
}
END_TEST

START_TEST(a_question_that_lacks_something_is_refused)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)}, small = {.size = 8};
	char why[256];

	(void)push_and_wait(ss, ONE);
	ck_assert_int_eq(safestart_node_state(ss, NULL, why, sizeof(why)), -EINVAL);
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_APPLIED);
	ck_assert_int_eq(safestart_last_outcome(ss, NULL), -EINVAL);
	ck_assert_int_eq(safestart_last_outcome(ss, &small), -EINVAL);
	ck_assert_int_eq(safestart_last_outcome(ss, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

/* ---- Inside a run ---- */

struct seen {
	struct safestart_run *run;
	int prepares, restarts, retires, data;
};

static void nothing_is_taken(struct safestart_run *run, const struct safestart_node *node,
			     void *data)
{
	ck_assert_int_eq(safestart_run_reject(run, "a", "no"), -EINVAL);
	ck_assert_int_eq(safestart_run_set_node_data(run, node, data), -EINVAL);
	safestart_run_set_data(run, data);
}

static int prepare(struct safestart_run *run, void *user_data)
{
	struct seen *seen = user_data;
	const struct safestart_node *node =
		safestart_snapshot_find(safestart_run_candidate(run), "a");

	seen->run = run;
	nothing_is_taken(NULL, node, &seen->data);
	ck_assert_int_eq(safestart_run_reject(run, NULL, "no"), -EINVAL);
	ck_assert_int_eq(safestart_run_reject(run, "z", "no"), -ENOENT);
	ck_assert_int_eq(safestart_run_set_node_data(run, NULL, &seen->data), -EINVAL);
	/* What is replaced by nothing is given back after the run. */
	safestart_run_set_data(run, &seen->prepares);
	safestart_run_set_data(run, NULL);
	seen->prepares++;
	return 0;
}

/* Readers have it by now. */
static int restart(struct safestart_run *run, void *user_data)
{
	struct seen *seen = user_data;

	nothing_is_taken(run, safestart_snapshot_find(safestart_run_candidate(run), "a"),
			 &seen->data);
	seen->restarts++;
	return 0;
}

static void retire(void *data, void *user_data)
{
	struct seen *seen = user_data;

	ck_assert_ptr_eq(data, &seen->prepares);
	nothing_is_taken(seen->run,
			 safestart_snapshot_find(safestart_run_candidate(seen->run), "a"),
			 &seen->data);
	seen->retires++;
}

START_TEST(only_prepare_changes_a_candidate_and_only_one_that_there_is)
{
	for (int restarts = 0; restarts < 2; restarts++) {
		const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
							      .prepare = prepare,
							      .restart = restarts ? restart : NULL,
							      .retire = retire,
							      .retire_node = retire};
		struct seen seen = {0};
		struct safestart *ss = open_calling(&callbacks, &seen, "debounce=0", NULL);
		ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
		const struct safestart_snapshot *live = safestart_read_lock(ss);
		ck_assert_ptr_null(safestart_snapshot_data(live));
		ck_assert_ptr_null(safestart_node_data(safestart_snapshot_find(live, "a")));
		safestart_read_unlock(ss);
		close_now(ss);
		ck_assert_int_eq(seen.prepares, 1);
		ck_assert_int_eq(seen.restarts, restarts);
		ck_assert_int_eq(seen.retires, 1);
	}
}
END_TEST

SUITE("arguments", without_a_handle_every_function_says_so,
      an_announcement_that_lacks_something_changes_nothing,
      a_question_that_lacks_something_is_refused,
      only_prepare_changes_a_candidate_and_only_one_that_there_is)
