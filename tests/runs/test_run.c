/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs, as the application sees them: finishing later, data on nodes and generations, `restart`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define TWO_MOVED                                                                                  \
	"[{\"targets\":[\"10.0.0.9:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

START_TEST(p14_later_is_finished_by_another_thread)
{
	struct app app;
	uint64_t ticket;

	app_init(&app);
	app.prepare_result = SAFESTART_LATER;
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	EVENTUALLY(app.prepares == 1 && app.inside == 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, NULL), -ETIMEDOUT);
	ck_assert_uint_eq(safestart_run_number(app.run), 1);
	ck_assert_int_eq(safestart_run_cancelled(app.run), 0);
	ck_assert_int_eq(safestart_run_finish(app.run, 0), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

/* Finishes before it returns. */
static int finish_inside(struct safestart_run *run, void *user_data)
{
	*(int *)user_data += 1;
	ck_assert_int_eq(safestart_run_finish(run, 0), 0);
	return SAFESTART_LATER;
}

START_TEST(p14_finish_may_come_before_prepare_has_returned)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = finish_inside};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct safestart *ss;
	int calls = 0;

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, &calls), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(calls, 2);
	close_now(ss);
}
END_TEST

/* Finishes, and stays. */
static int finish_and_stay(struct safestart_run *run, void *user_data)
{
	_Atomic bool *hold = user_data;

	ck_assert_int_eq(safestart_run_finish(run, 0), 0);
	EVENTUALLY(!*hold);
	return SAFESTART_LATER;
}

START_TEST(p14_a_callback_that_has_finished_and_never_returns_is_timed_out)
{
	for (int restart = 0; restart < 2; restart++) {
		const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
							      .prepare = restart ? NULL
										 : finish_and_stay,
							      .restart = restart ? finish_and_stay
										 : NULL};
		struct safestart_conf *conf = conf_with("debounce=0", "run_timeout=100ms", NULL);
		struct safestart *ss;
		_Atomic bool hold = true;

		ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, (void *)&hold), 0);
		ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
		safestart_conf_free(conf);
		ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_TIMED_OUT);
		hold = false;
		EVENTUALLY(push_and_wait(ss, TWO).verdict <= SAFESTART_UNCHANGED);
		close_now(ss);
	}
}
END_TEST

START_TEST(p14_later_past_the_deadline_is_stale_and_a_newer_run_wins)
{
	struct app app;

	app_init(&app);
	app.prepare_result = SAFESTART_LATER;
	app.hang_data = true;
	struct safestart *ss =
		open_with(&app, "debounce=0", "run_timeout=200ms", "retry_min=0", NULL);
	struct safestart_outcome outcome = push_and_wait(ss, ONE);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -ETIMEDOUT);
	struct safestart_run *late = app.run;
	ck_assert_int_eq(safestart_run_cancelled(late), 1);
	app.prepare_result = 0;
	/* It does not wait for the late one. */
	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(safestart_run_finish(late, 0), -ESTALE);
	EVENTUALLY(app.retires == 1 && app.retired_nodes == 1); /* of the late run */
	ck_assert_str_eq(live_ids(ss), "a b");
	ck_assert_uint_eq(safestart_generation(ss), 1);
	EVENTUALLY(safestart_close(ss) == 0);
	ck_assert_int_eq(app.retires, 2);
	ck_assert_int_eq(app.retired_nodes, 3);
}
END_TEST

START_TEST(p13_node_data_is_inherited_while_the_node_is_unchanged)
{
	struct app app;

	app_init(&app);
	app.hang_data = true;
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	push_and_wait(ss, TWO);
	struct safestart_snapshot *first = safestart_snapshot_acquire(ss);
	push_and_wait(ss, TWO_MOVED);
	struct safestart_snapshot *second = safestart_snapshot_acquire(ss);
	ck_assert_ptr_nonnull(safestart_snapshot_data(first));
	ck_assert_ptr_ne(safestart_snapshot_data(first), safestart_snapshot_data(second));
	ck_assert_ptr_eq(safestart_node_data(safestart_snapshot_find(first, "b")),
			 safestart_node_data(safestart_snapshot_find(second, "b")));
	ck_assert_ptr_ne(safestart_node_data(safestart_snapshot_find(first, "a")),
			 safestart_node_data(safestart_snapshot_find(second, "a")));
	safestart_snapshot_release(second);
	ck_assert_int_eq(app.retires + app.retired_nodes, 0);
	safestart_snapshot_release(first);
	EVENTUALLY(app.retires == 1 && app.retired_nodes == 1);
	close_now(ss);
	ck_assert_int_eq(app.retires, 2);
	ck_assert_int_eq(app.retired_nodes, 3);
}
END_TEST

/* Passes the generation's and the node's pointers on, whatever changes. */
struct keeper {
	char generation_data, node_data;
	_Atomic int retires, retired_nodes;
};

static int keep_data(struct safestart_run *run, void *user_data)
{
	struct keeper *keeper = user_data;

	safestart_run_set_data(run, &keeper->generation_data);
	return safestart_run_set_node_data(run,
					   safestart_snapshot_find(safestart_run_candidate(run),
								   "a"),
					   &keeper->node_data);
}

static void keeper_retire(void *data, void *user_data)
{
	ck_assert_ptr_eq(data, &((struct keeper *)user_data)->generation_data);
	((struct keeper *)user_data)->retires++;
}

static void keeper_retire_node(void *data, void *user_data)
{
	ck_assert_ptr_eq(data, &((struct keeper *)user_data)->node_data);
	((struct keeper *)user_data)->retired_nodes++;
}

START_TEST(p13_a_pointer_that_is_passed_on_is_retired_once_in_the_end)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = keep_data,
						      .retire = keeper_retire,
						      .retire_node = keeper_retire_node};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct keeper keeper = {0};
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, &keeper);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	push_and_wait(ss, ONE);
	struct safestart_snapshot *first = safestart_snapshot_acquire(ss);
	push_and_wait(ss, TWO);       /* a unchanged */
	push_and_wait(ss, TWO_MOVED); /* a changed */
	ck_assert_ptr_eq(safestart_snapshot_data(first), &keeper.generation_data);
	ck_assert_ptr_eq(safestart_node_data(safestart_snapshot_find(first, "a")),
			 &keeper.node_data);
	close_now(ss);
	ck_assert_int_eq(keeper.retires + keeper.retired_nodes, 0); /* the owner has it still */
	safestart_snapshot_release(first);
	ck_assert_int_eq(keeper.retires, 1);
	ck_assert_int_eq(keeper.retired_nodes, 1);
}
END_TEST

/* An application that retires slowly: `prepare` hangs data on b, and rejects it or fails. */
struct slow {
	_Atomic bool hold, inside;
	int result;
	int data;
};

static int hang_on_b(struct safestart_run *run, void *user_data)
{
	struct slow *slow = user_data;
	const struct safestart_node *b = safestart_snapshot_find(safestart_run_candidate(run), "b");

	safestart_run_set_node_data(run, b, &slow->data);
	safestart_run_reject(run, "b", "broken");
	return slow->result;
}

static void retire_slowly(void *data, void *user_data)
{
	struct slow *slow = user_data;

	ck_assert_ptr_eq(data, &slow->data);
	slow->inside = true;
	EVENTUALLY(!slow->hold);
	slow->inside = false;
}

static struct safestart *open_slow(struct slow *slow)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hang_on_b,
						      .retire_node = retire_slowly};

	return open_calling(&callbacks, slow, "debounce=0", "retry_min=0", NULL);
}

START_TEST(p14_a_run_is_answered_before_its_data_is_retired)
{
	struct slow slow = {.hold = true, .result = -EIO};
	struct safestart *ss = open_slow(&slow);

	ck_assert_int_eq(push_and_wait(ss, TWO).error, -EIO);
	EVENTUALLY(slow.inside);
	slow.hold = false;
	close_now(ss);
	ck_assert(!slow.inside);
}
END_TEST

START_TEST(p6_shutdown_answers_at_once_while_a_run_retires)
{
	struct slow slow = {.hold = true};
	struct safestart *ss = open_slow(&slow);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_APPLIED);
	EVENTUALLY(slow.inside);
	uint64_t ticket = safestart_request_restart(ss);
	safestart_shutdown(ss);
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_CANCELLED);
	ck_assert(slow.inside);
	slow.hold = false;
	close_now(ss);
}
END_TEST

/* Two threads of the application prepare a set at the same time, a half of its nodes each: changed
 * ones and unchanged ones. */
struct half {
	struct safestart_run *run;
	char nodes[64];
	size_t first;
	int failures;
};

static void *prepare_half(void *argument)
{
	struct half *half = argument;
	const struct safestart_snapshot *candidate = safestart_run_candidate(half->run);

	for (size_t i = half->first; i < sizeof(half->nodes); i += 2) {
		char id[8];
		snprintf(id, sizeof(id), "n%02zu", i);
		const struct safestart_node *node = safestart_snapshot_find(candidate, id);
		half->failures +=
			node == NULL || safestart_snapshot_at(candidate, i) == NULL ||
			safestart_run_set_node_data(half->run, node, &half->nodes[i]) != 0 ||
			safestart_node_data(safestart_snapshot_find(candidate, id)) !=
				&half->nodes[i];
	}
	return NULL;
}

static int prepare_in_halves(struct safestart_run *run, void *user_data)
{
	struct half *halves = user_data;
	pthread_t threads[2];

	for (size_t i = 0; i < 2; i++) {
		halves[i].run = run;
		halves[i].first = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, prepare_half, &halves[i]), 0);
	}
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

START_TEST(p13_threads_may_prepare_different_nodes_at_the_same_time)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare_in_halves};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct half halves[2] = {{0}};
	char document[8192];
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, halves), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	for (int version = 1; version <= repeat(20); version++) {
		char *at = document;
		for (size_t i = 0; i < sizeof(halves->nodes); i++) /* one of them changes */
			at += sprintf(at,
				      "%s{\"targets\":[\"10.0.0.1:%d\"],\"labels\":{\"id\":\"n%"
				      "02zu\"}}",
				      i == 0 ? "[" : ",", i == 0 ? version : 1, i);
		strcpy(at, "]");
		ck_assert_int_eq(push_and_wait(ss, document).verdict, SAFESTART_APPLIED);
	}
	ck_assert_int_eq(halves[0].failures + halves[1].failures, 0);
	close_now(ss);
}
END_TEST

/* A request to the live node fails while data is attached to the node that will replace it. */
static int report_meanwhile(struct safestart_run *run, void *data)
{
	int error =
		safestart_run_set_node_data(run,
					    safestart_snapshot_find(safestart_run_candidate(run),
								    "a"),
					    data);

	safestart_node_report(safestart_snapshot_find(safestart_run_current(run), "a"), -EIO);
	return error;
}

START_TEST(a_report_that_comes_while_a_run_prepares_is_not_lost)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = report_meanwhile};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct safestart *ss;
	char data;

	safestart_conf_set_callbacks(conf, &callbacks, &data);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	push_and_wait(ss, ONE);
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_APPLIED);
	push_and_wait(ss, TWO); /* a unchanged */
	ck_assert_uint_eq(safestart_generation(ss), 2);
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_FAILING);
	push_and_wait(ss, TWO_MOVED); /* a changed: another node now */
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_APPLIED);
	close_now(ss);
}
END_TEST

static int look_at_changes(struct safestart_run *run, void *user_data)
{
	char *seen = user_data;
	const struct safestart_node *node;
	int kind;

	seen[0] = '\0';
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++)
		sprintf(seen + strlen(seen), "%c%s@%s ", " +-~"[kind], safestart_node_id(node),
			safestart_node_host(node));
	ck_assert_int_eq(safestart_run_reject(run, "nobody", NULL), -ENOENT);
	if (safestart_generation(NULL) == 0 &&
	    safestart_snapshot_generation(safestart_run_current(run)) == 1)
		ck_assert_int_eq(safestart_run_reject(run, "b", NULL), -EINVAL); /* unchanged */
	return 0;
}

START_TEST(changes_come_in_the_order_of_ids)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = look_at_changes};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	char seen[256];
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, seen);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	push_and_wait(ss, TWO);
	ck_assert_str_eq(seen, "+a@10.0.0.1 +b@10.0.0.2 ");
	push_and_wait(ss, TWO_MOVED);
	ck_assert_str_eq(seen, "~a@10.0.0.9 ");
	push_and_wait(ss, ONE);
	ck_assert_str_eq(seen, "~a@10.0.0.1 -b@10.0.0.2 ");
	close_now(ss);
}
END_TEST

/* Rejects a; `restart` looks at what is left. */
static int reject_a(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	return safestart_run_reject(run, "a", "told to");
}

static int look_after_commit(struct safestart_run *run, void *user_data)
{
	char *seen = user_data;
	const struct safestart_node *node;
	int kind;

	seen[0] = '\0';
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++)
		sprintf(seen + strlen(seen), "%c%s ", " +-~"[kind], safestart_node_id(node));
	return 0;
}

START_TEST(p11_what_was_rejected_is_not_among_the_changes_any_more)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = reject_a,
						      .restart = look_after_commit};
	struct safestart_conf *conf = conf_with("debounce=0", "retry_min=0", NULL);
	char seen[64];
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, seen);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	struct safestart_outcome outcome = push_and_wait(ss, TWO);
	ck_assert_str_eq(seen, "+b ");
	ck_assert_msg(strstr(outcome.message,
			     "1 nodes (1 added, 0 removed, 0 changed); 1 left out") != NULL,
		      "%s", outcome.message);
	close_now(ss);
}
END_TEST

struct restarter {
	_Atomic int calls, result;
};

static int count_restart(struct safestart_run *run, void *user_data)
{
	struct restarter *restarter = user_data;

	ck_assert_ptr_nonnull(safestart_run_candidate(run));
	restarter->calls++;
	return restarter->result;
}

START_TEST(restart_is_called_after_commit_and_for_an_unchanged_set)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = count_restart};
	struct safestart_conf *conf =
		conf_with("debounce=0", "retry_min=2ms", "retry_max=2ms", NULL);
	struct restarter restarter = {0};
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, &restarter);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	struct safestart_outcome outcome = push_and_wait(ss, ONE);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_uint_eq(outcome.generation, 1);
	ck_assert_int_eq(restarter.calls, 2);
	restarter.result = -EPIPE;
	outcome = push_and_wait(ss, TWO);
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
	ck_assert_int_eq(outcome.error, -EPIPE);
	ck_assert_uint_eq(outcome.generation, 2); /* what was committed stays */
	ck_assert_str_eq(live_ids(ss), "a b");
	EVENTUALLY(restarter.calls > 4); /* retried */
	restarter.result = 0;
	outcome = (struct safestart_outcome){.size = sizeof(outcome)};
	EVENTUALLY(safestart_last_outcome(ss, &outcome) == 0 &&
		   outcome.verdict == SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

START_TEST(source_none_has_no_set_and_only_restarts)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = count_restart};
	struct safestart_conf *conf = conf_with("debounce=0", "source=none", NULL);
	struct restarter restarter = {0};
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, &restarter);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait_ready(ss, 0), 0);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(restarter.calls, 1);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), -ENOTSUP);
	close_now(ss);
}
END_TEST

static int wait_inside(struct safestart_run *run, void *user_data)
{
	struct safestart *ss = *(struct safestart **)user_data;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	(void)run;
	ck_assert_int_eq(safestart_wait(ss, 1, -1, &outcome), -EDEADLK);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), -EDEADLK);
	ck_assert_int_eq(safestart_close(ss), -EDEADLK);
	ck_assert_int_eq(safestart_dispatch(ss, 0), -EDEADLK);
	ck_assert_uint_eq(safestart_request_restart(ss), 2);
	char *status = safestart_status_json(ss);
	ck_assert_ptr_nonnull(status);
	safestart_free(status);
	return 0;
}

START_TEST(p6_waiting_inside_a_callback_is_refused_and_asking_is_fine)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = wait_inside};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, &ss);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(answer(ss, 2).verdict, SAFESTART_UNCHANGED);
	close_now(ss);
}
END_TEST

static int stay_inside(struct safestart_run *run, void *user_data)
{
	(void)run;
	for (struct app *app = user_data; app->hold;)
		pause_a_moment();
	return 0;
}

static int later_and_reject_all_but_a(struct safestart_run *run, void *user_data)
{
	struct app *app = user_data;

	if (safestart_snapshot_find(safestart_run_candidate(run), "b") != NULL)
		safestart_run_reject(run, "b", NULL);
	app->run = run;
	app->prepares++;
	return SAFESTART_LATER;
}

START_TEST(p14_restart_has_a_deadline_of_its_own)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = later_and_reject_all_but_a,
						      .restart = stay_inside};
	struct safestart_conf *conf =
		conf_with("debounce=0", "run_timeout=100ms", "retry_min=0", NULL);
	struct safestart *ss;
	struct app app;
	uint64_t ticket;

	app_init(&app);
	safestart_conf_set_callbacks(conf, &callbacks, &app);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	safestart_nodes_replace(ss, ONE, &ticket, NULL, 0);
	EVENTUALLY(app.prepares == 1);
	ck_assert_int_eq(safestart_run_finish(app.run, 0), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	/* Nothing is committed this time, so that only the deadline wakes the loop. */
	app.hold = true;
	safestart_nodes_replace(ss, TWO, &ticket, NULL, 0);
	EVENTUALLY(app.prepares == 2);
	ck_assert_int_eq(safestart_run_finish(app.run, 0), 0);
	struct safestart_outcome outcome = answer(ss, ticket);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_msg(strstr(outcome.message, "`restart`") != NULL, "%s", outcome.message);
	app.hold = false;
	EVENTUALLY(app.prepares == 3); /* the deferred run */
	safestart_run_finish(app.run, 0);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

static struct safestart *retiring_handle;
static _Atomic int retired_inside, retired_outside;

static void is_it_a_callback(void *data, void *user_data)
{
	(void)data, (void)user_data;
	if (safestart_wait(retiring_handle, 1, 0, NULL) == -EDEADLK)
		retired_inside++;
	else
		retired_outside++;
}

/* Hangs data up twice, then rejects: one of a, or all. */
static int hang_and_reject(struct safestart_run *run, void *user_data)
{
	static char data[4];

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(safestart_run_set_node_data(run,
							     safestart_run_change(run, 0,
										  &(int){0}),
							     data + i),
				 0);
		safestart_run_set_data(run, data + 2 + i);
	}
	/* Not in the middle of this one. */
	ck_assert_int_eq(retired_inside + retired_outside, *(int *)user_data);
	return safestart_run_reject(run, "a", NULL);
}

START_TEST(p1_what_is_replaced_or_rejected_is_retired_by_a_callback_of_its_own)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hang_and_reject,
						      .retire = is_it_a_callback,
						      .retire_node = is_it_a_callback};
	struct safestart_conf *conf = conf_with("debounce=0", "retry_min=0", NULL);
	int retired = 0;

	retired_inside = retired_outside = 0;
	safestart_conf_set_callbacks(conf, &callbacks, &retired);
	ck_assert_int_eq(safestart_open(&retiring_handle, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(push_and_wait(retiring_handle, ONE).verdict, SAFESTART_REFUSED);
	EVENTUALLY(retired_inside + retired_outside == 4);
	retired = 4;
	ck_assert_int_eq(push_and_wait(retiring_handle, TWO).verdict, SAFESTART_APPLIED);
	close_now(retiring_handle);
	ck_assert_int_eq(retired_inside, 8);
	ck_assert_int_eq(retired_outside, 0);
}
END_TEST

static int forget_the_minus(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	return EIO;
}

START_TEST(a_forgotten_minus_does_not_pass_for_success)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = forget_the_minus};
	struct safestart_conf *conf = conf_with("debounce=0", "retry_min=0", NULL);
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	struct safestart_outcome outcome = push_and_wait(ss, ONE);
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
	ck_assert_int_eq(outcome.error, -EINVAL);
	close_now(ss);
}
END_TEST

SUITE("run", p14_later_is_finished_by_another_thread,
      p14_finish_may_come_before_prepare_has_returned,
      p14_later_past_the_deadline_is_stale_and_a_newer_run_wins,
      p13_node_data_is_inherited_while_the_node_is_unchanged,
      p13_a_pointer_that_is_passed_on_is_retired_once_in_the_end, changes_come_in_the_order_of_ids,
      restart_is_called_after_commit_and_for_an_unchanged_set,
      source_none_has_no_set_and_only_restarts,
      p11_what_was_rejected_is_not_among_the_changes_any_more,
      p6_waiting_inside_a_callback_is_refused_and_asking_is_fine,
      p14_restart_has_a_deadline_of_its_own,
      p13_threads_may_prepare_different_nodes_at_the_same_time,
      p14_a_callback_that_has_finished_and_never_returns_is_timed_out,
      p14_a_run_is_answered_before_its_data_is_retired,
      p6_shutdown_answers_at_once_while_a_run_retires,
      p1_what_is_replaced_or_rejected_is_retired_by_a_callback_of_its_own,
      a_forgotten_minus_does_not_pass_for_success,
      a_report_that_comes_while_a_run_prepares_is_not_lost)
