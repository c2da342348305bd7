/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* start=after_fork, for masters that fork; and what a child serves when its first run fails. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <safestart/source.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

static bool called(struct app *app)
{
	return app->prepares + app->restarts + app->outcomes + app->retires + app->logs > 0;
}

static bool is_empty(const char *directory)
{
	DIR *entries = opendir(directory);
	int count = 0;

	ck_assert_ptr_nonnull(entries);
	while (readdir(entries) != NULL)
		count++;
	closedir(entries);
	return count == 2; /* itself and the one above */
}

static bool says_not_started(struct safestart *ss)
{
	char *status = safestart_status_json(ss), *metrics = safestart_metrics_text(ss);
	bool says = status != NULL && metrics != NULL && strstr(status, "not started") != NULL;

	safestart_free(status);
	safestart_free(metrics);
	return says;
}

/* No thread, no socket, no callback, and no function of ours starts one. */
static void is_not_started(struct safestart *ss, struct app *app, const char *directory,
			   int threads)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket = safestart_request_restart(ss);

	ck_assert_uint_ne(ticket, 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, &outcome), -EAGAIN);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), -EAGAIN);
	ck_assert_int_eq(safestart_last_outcome(ss, &outcome), -EAGAIN);
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_UNKNOWN);
	ck_assert(says_not_started(ss));
	ck_assert_int_eq(threads_alive(), threads);
	ck_assert(is_empty(directory));
	ck_assert(!called(app));
}

START_TEST(p17_with_start_after_fork_nothing_runs_before_it)
{
	struct app app;
	char control[300], source[300];
	const char *directory = scratch_path("run"), *path = scratch_path("nodes.json");
	int threads = threads_alive();

	app_init(&app);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	write_file(path, TWO);
	snprintf(control, sizeof(control), "control=%s", directory);
	snprintf(source, sizeof(source), "source=file:%s", path);
	struct safestart *ss =
		open_with(&app, "start=after_fork", "debounce=0", control, source, NULL);
	is_not_started(ss, &app, directory, threads);
	ck_assert_int_eq(safestart_after_fork_set(ss, "name", "master", NULL, 0), 0);
	for (int i = 0; i < 3; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			is_not_started(ss, &app, directory, threads);
			uint64_t ticket = safestart_request_restart(ss);
			CHILD_CHECK(safestart_after_fork(ss) == 0);
			CHILD_CHECK(safestart_wait(ss, ticket, -1, NULL) == 0);
			CHILD_CHECK(strcmp(live_ids(ss), "a b") == 0 && app.prepares == 1);
			CHILD_CHECK(!says_not_started(ss) && safestart_close(ss) == 0);
			leave_child(0);
		}
		await_child(child);
	}
	is_not_started(ss, &app, directory, threads);
	close_now(ss);
	ck_assert(!called(&app));
}
END_TEST

START_TEST(p17_what_was_asked_before_the_start_is_kept)
{
	struct app app;
	uint64_t ticket;

	app_init(&app);
	struct safestart *ss = open_with(&app, "start=after_fork", "debounce=0", NULL);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	ck_assert_int_eq(safestart_node_announce(ss, "b", "10.0.0.2:1", NULL, &ticket), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), -EAGAIN);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		CHILD_CHECK(safestart_node_withdraw(ss, "a", &ticket) == 0 && !called(&app));
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		CHILD_CHECK(safestart_wait(ss, ticket, -1, NULL) == 0);
		CHILD_CHECK(strcmp(live_ids(ss), "b") == 0 && safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	/* A process that did not fork starts by the same call. */
	ck_assert(!called(&app));
	ck_assert_int_eq(safestart_after_fork(ss), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	ck_assert_str_eq(live_ids(ss), "a b");
	/* Its children need a call of their own; until then they read what they inherited. */
	child = fork();
	if (child == 0) {
		int threads = threads_alive();
		alarm(60);
		app_after_fork(&app);
		ticket = safestart_request_restart(ss);
		CHILD_CHECK(safestart_wait(ss, ticket, -1, NULL) == -EAGAIN);
		CHILD_CHECK(safestart_wait_ready(ss, -1) == 0);
		CHILD_CHECK(strcmp(live_ids(ss), "a b") == 0 && threads_alive() == threads);
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		CHILD_CHECK(safestart_wait(ss, ticket, -1, NULL) == 0);
		CHILD_CHECK(safestart_generation(ss) > 1 && safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	close_now(ss);
}
END_TEST

START_TEST(p6_a_shutdown_before_the_start_answers_what_was_asked)
{
	struct safestart *ss = open_with(NULL, "start=after_fork", NULL);
	uint64_t ticket = safestart_request_restart(ss);

	ck_assert_int_eq(safestart_shutdown(ss), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_CANCELLED);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), -ECANCELED);
	ck_assert_int_eq(safestart_after_fork(ss), 0);
	close_now(ss);
}
END_TEST

START_TEST(p17_an_event_loop_dispatches_after_the_start)
{
	struct safestart *ss = open_with(NULL, "start=after_fork", "thread=no", "debounce=0", NULL);
	uint64_t ticket;

	ck_assert_int_eq(safestart_nodes_replace(ss, TWO, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_dispatch(ss, -1), -EAGAIN);
	ck_assert_int_eq(safestart_after_fork(ss), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	close_now(ss);
}
END_TEST

/* ---- The source that the master has opened ---- */

static int opened, closed;

static int own_open(void **state, const struct safestart_source_conf *conf, char *why,
		    size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size, (void)user_data;
	*state = malloc(16);
	opened++;
	return 0;
}

static int own_gather(void *state, struct safestart_gather *gather)
{
	(void)state;
	return safestart_gather_json(gather, ONE, strlen(ONE));
}

static void own_close(void *state)
{
	free(state);
	closed++;
}

START_TEST(p17_the_source_is_closed_where_it_was_opened)
{
	const struct safestart_source own = {.size = sizeof(own),
					     .scheme = "own",
					     .open = own_open,
					     .gather = own_gather,
					     .close = own_close};
	struct safestart_conf *conf = conf_with("start=after_fork", NULL);
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_add_source(conf, &own, NULL), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "own:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	for (int start = 0; start < 2; start++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			CHILD_CHECK(!start || safestart_after_fork(ss) == 0);
			CHILD_CHECK(!start || safestart_wait_ready(ss, -1) == 0);
			CHILD_CHECK(safestart_close(ss) == 0);
			/* The inherited state is closed before a new one is opened. */
			CHILD_CHECK(opened == 1 + start && closed == 2 * start);
			leave_child(0);
		}
		await_child(child);
	}
	close_now(ss);
	ck_assert_int_eq(opened, 1);
	ck_assert_int_eq(closed, 1);
}
END_TEST

static struct safestart_gather *_Atomic unfinished;

/* In its first process it goes on when it is finished by the test. */
static int slow_gather(void *state, struct safestart_gather *gather)
{
	int result = own_gather(state, gather);

	if (opened > 1)
		return result;
	unfinished = gather;
	return SAFESTART_LATER;
}

/* Its threads may have had its state in hand, half changed. */
static void leaves_the_inherited_state_alone(struct safestart *ss)
{
	CHILD_CHECK(safestart_after_fork(ss) == 0);
	CHILD_CHECK(safestart_wait_ready(ss, 30000) == 0);
	CHILD_CHECK(safestart_close(ss) == 0);
	CHILD_CHECK(opened == 2 && closed == 1);
	leave_child(0);
}

START_TEST(p17_a_source_that_was_reading_at_the_fork_is_opened_anew_and_not_closed)
{
	const struct safestart_source slow = {.size = sizeof(slow),
					      .scheme = "slow",
					      .open = own_open,
					      .gather = slow_gather,
					      .close = own_close};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_add_source(conf, &slow, NULL), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "slow:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	EVENTUALLY(unfinished != NULL);
	for (int generations = 1; generations <= 2; generations++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			if (generations == 1)
				leaves_the_inherited_state_alone(ss);
			pid_t grandchild = fork(); /* of one that has not begun itself */
			if (grandchild == 0)
				leaves_the_inherited_state_alone(ss);
			await_child(grandchild);
			leave_child(0);
		}
		await_child(child);
	}
	ck_assert_int_eq(safestart_gather_finish(unfinished, 0), 0);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	close_now(ss);
	ck_assert(opened == 1 && closed == 1);
}
END_TEST

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

SUITE("start", p17_with_start_after_fork_nothing_runs_before_it,
      p17_what_was_asked_before_the_start_is_kept,
      p6_a_shutdown_before_the_start_answers_what_was_asked,
      p17_an_event_loop_dispatches_after_the_start, p17_the_source_is_closed_where_it_was_opened,
      p17_a_source_that_was_reading_at_the_fork_is_opened_anew_and_not_closed,
      p17_a_child_whose_source_fails_prepares_what_it_inherited,
      p17_a_child_that_has_prepared_nothing_says_so)
