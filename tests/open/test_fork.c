/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Forked processes: pre-fork workers, children that exec, killed ones. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define THREE "[{\"targets\":[\"10.0.0.1:1\",\"10.0.0.2:1\",\"10.0.0.3:1\"]}]"

START_TEST(p17_the_child_reads_the_inherited_nodes_and_then_runs_on_its_own)
{
	struct app app;

	app_init(&app);
	app.hang_data = true;
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	push_and_wait(ss, TWO);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		app_after_fork(&app);
		const struct safestart_snapshot *live = safestart_read_lock(ss);
		CHILD_CHECK(safestart_snapshot_size(live) == 2 &&
			    safestart_snapshot_generation(live) == 1);
		CHILD_CHECK(safestart_snapshot_data(live) == NULL &&
			    safestart_node_data(safestart_snapshot_at(live, 0)) == NULL);
		safestart_read_unlock(ss);
		uint64_t ticket = safestart_request_restart(ss);
		CHILD_CHECK(ticket == 2);
		app.prepares = app.retires = app.retired_nodes = 0;
		CHILD_CHECK(safestart_after_fork(ss) == 0 && safestart_after_fork(ss) == 0);
		struct safestart_outcome outcome = {.size = sizeof(outcome)};
		CHILD_CHECK(safestart_wait(ss, ticket, 30000, &outcome) == 0);
		CHILD_CHECK(outcome.verdict == SAFESTART_APPLIED && outcome.generation == 2 &&
			    app.prepares == 1);
		live = safestart_read_lock(ss);
		CHILD_CHECK(safestart_node_data(safestart_snapshot_at(live, 1)) != NULL);
		safestart_read_unlock(ss);
		CHILD_CHECK(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0) == 0);
		CHILD_CHECK(safestart_wait(ss, ticket, 30000, &outcome) == 0 &&
			    outcome.generation == 3);
		CHILD_CHECK(safestart_close(ss) == 0);
		/* Its own, not the parent's. */
		CHILD_CHECK(app.retires == 2 && app.retired_nodes == 2);
		leave_child(0);
	}
	await_child(child);
	ck_assert_uint_eq(safestart_generation(ss), 1); /* the parent notices nothing */
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	close_now(ss);
	ck_assert_int_eq(app.retired_nodes, 2);
}
END_TEST

START_TEST(p12_the_child_remembers_what_was_live_in_the_parent)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	char *ten = document_of(10), *five = document_of(5), *three = document_of(3);

	push_and_wait(ss, ten);
	push_and_wait(ss, five);
	pid_t child = fork();
	if (child == 0) {
		struct safestart_outcome outcome = {.size = sizeof(outcome)};
		uint64_t ticket = 0;
		alarm(60);
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		CHILD_CHECK(safestart_nodes_replace(ss, three, &ticket, NULL, 0) == 0);
		CHILD_CHECK(safestart_wait(ss, ticket, 30000, &outcome) == 0);
		CHILD_CHECK(outcome.error == -ERANGE && strstr(outcome.message, "7 of 10"));
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	close_now(ss);
	free(ten), free(five), free(three);
}
END_TEST

START_TEST(p17_a_child_that_never_asks_may_close_or_exit)
{
	struct app app;

	app_init(&app);
	app.hang_data = true;
	int descriptors = open_descriptors();
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	push_and_wait(ss, TWO);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		app_after_fork(&app);
		CHILD_CHECK(safestart_close(ss) == 0);
		CHILD_CHECK(app.retires == 0 && app.retired_nodes == 0);
		CHILD_CHECK(open_descriptors() == descriptors);
		leave_child(0);
	}
	await_child(child);
	child = fork();
	if (child == 0)
		leave_child(0);
	await_child(child);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

/* Of the parent's inotify nothing is left, and the parent's goes on. */
START_TEST(p17_a_child_that_never_asks_closes_an_inherited_file_source)
{
	int descriptors = open_descriptors();
	char setting[300];

	write_file(scratch_path("nodes.json"), ONE);
	snprintf(setting, sizeof(setting), "source=file:%s", scratch_path("nodes.json"));
	struct safestart *ss = open_with(NULL, setting, "debounce=0", "reconcile=0", NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		CHILD_CHECK(safestart_close(ss) == 0);
		CHILD_CHECK(open_descriptors() == descriptors);
		leave_child(0);
	}
	await_child(child);
	replace_file(scratch_path("nodes.json"), TWO);
	EVENTUALLY(strcmp(live_ids(ss), "a b") == 0);
	close_now(ss);
}
END_TEST

static void worker(struct safestart *ss, int ready)
{
	alarm(60);
	CHILD_CHECK(safestart_after_fork(ss) == 0);
	CHILD_CHECK(write(ready, "x", 1) == 1);
	for (int i = 0; i < 30000 && strcmp(live_ids(ss), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1") != 0;
	     i++)
		pause_a_moment();
	CHILD_CHECK(strcmp(live_ids(ss), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1") == 0);
	CHILD_CHECK(safestart_close(ss) == 0);
	leave_child(0);
}

START_TEST(p17_four_forked_workers_each_follow_later_changes)
{
	const char *path = scratch_path("nodes.json");
	char setting[300];
	int ready[2];
	pid_t children[5];
	char byte;

	write_file(path, TWO);
	snprintf(setting, sizeof(setting), "source=file:%s", path);
	struct safestart *ss = open_with(NULL, setting, "debounce=5ms", "reconcile=0", NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_int_eq(pipe(ready), 0);
	for (int i = 0; i < 5; i++) {
		children[i] = fork();
		if (children[i] == 0)
			worker(ss, ready[1]);
	}
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	kill(children[4], SIGKILL); /* leaves nothing behind */
	waitpid(children[4], NULL, 0);
	replace_file(path, THREE);
	for (int i = 0; i < 4; i++)
		await_child(children[i]);
	EVENTUALLY(strcmp(live_ids(ss), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1") == 0);
	close(ready[0]), close(ready[1]);
	close_now(ss);
}
END_TEST

struct busy {
	struct safestart *ss;
	_Atomic bool stop;
};

static void *read_on(void *argument)
{
	struct busy *busy = argument;

	while (!busy->stop) {
		safestart_read_lock(busy->ss);
		safestart_read_unlock(busy->ss);
		safestart_snapshot_release(safestart_snapshot_acquire(busy->ss));
	}
	return NULL;
}

static void *push_on(void *argument)
{
	struct busy *busy = argument;

	for (int i = 0; !busy->stop; i++) {
		safestart_nodes_replace(busy->ss, i % 2 ? ONE : TWO, NULL, NULL, 0);
		safestart_free(safestart_status_json(busy->ss));
	}
	return NULL;
}

START_TEST(p17_forking_a_busy_process_hangs_no_child)
{
	struct app app;
	struct busy busy = {0};
	pthread_t threads[2];

	app_init(&app);
	app.hang_data = true;
	struct safestart *ss = open_with(&app, "debounce=0", "max_shrink=100%", NULL);
	busy.ss = ss;
	push_and_wait(ss, TWO);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, read_on, &busy), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, push_on, &busy), 0);
	for (int i = 0; i < 50; i++) {
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			app_after_fork(&app);
			uint64_t ticket;
			CHILD_CHECK(safestart_nodes_replace(ss, THREE, &ticket, NULL, 0) == 0);
			struct safestart_outcome outcome = {.size = sizeof(outcome)};
			CHILD_CHECK(safestart_wait(ss, ticket, -1, &outcome) == 0);
			if (strcmp(live_ids(ss), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1") != 0)
				fprintf(stderr, "ticket %d, outcome %d of %d, live %s: %s\n",
					(int)ticket, (int)outcome.ticket, (int)outcome.run,
					live_ids(ss), outcome.message);
			CHILD_CHECK(strcmp(live_ids(ss), "10.0.0.1:1 10.0.0.2:1 10.0.0.3:1") == 0);
			CHILD_CHECK(safestart_close(ss) == 0);
			leave_child(0);
		}
		await_child(child);
	}
	busy.stop = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	close_now(ss);
}
END_TEST

START_TEST(p17_the_descriptor_to_poll_keeps_its_number_and_is_the_childs_own)
{
	struct safestart *ss = open_with(NULL, "thread=no", "debounce=0", NULL);
	int fd = safestart_fd(ss);
	uint64_t ticket;

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	EVENTUALLY(safestart_dispatch(ss, 0) == 0 &&
		   safestart_node_state(ss, "x", NULL, 0) == SAFESTART_NODE_UNKNOWN);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		CHILD_CHECK(safestart_fd(ss) == fd);
		CHILD_CHECK(safestart_nodes_replace(ss, TWO, &ticket, NULL, 0) == 0);
		CHILD_CHECK(safestart_wait(ss, ticket, -1, NULL) == 0);
		CHILD_CHECK(strcmp(live_ids(ss), "a b") == 0);
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	ck_assert_str_eq(live_ids(ss), "a");
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), 10000, NULL), 0);
	close_now(ss);
}
END_TEST

START_TEST(p17_the_childs_first_run_answers_the_parents_open_tickets)
{
	struct app app;
	uint64_t ticket;

	app_init(&app);
	app.hold = true;
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	EVENTUALLY(app.prepares == 1);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		app_after_fork(&app);
		app.hold = false;
		struct safestart_outcome outcome = {.size = sizeof(outcome)};
		CHILD_CHECK(safestart_wait(ss, ticket, 30000, &outcome) == 0);
		CHILD_CHECK(outcome.verdict == SAFESTART_APPLIED && outcome.ticket == ticket);
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	app.hold = false;
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

START_TEST(p17_a_child_that_serves_last_good_prepares_it_again)
{
	struct app app;
	const char *keep = scratch_path("kept.json");
	char setting[300];

	app_init(&app);
	app.hang_data = true;
	write_file(keep, TWO);
	snprintf(setting, sizeof(setting), "last_good=%s", keep);
	struct safestart *ss = open_with(&app, "debounce=0", setting, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		app_after_fork(&app);
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		for (int i = 0; i < 30000 && safestart_generation(ss) == 1; i++)
			pause_a_moment();
		const struct safestart_snapshot *live = safestart_read_lock(ss);
		CHILD_CHECK(safestart_snapshot_size(live) == 2 &&
			    safestart_node_data(safestart_snapshot_at(live, 0)) != NULL);
		safestart_read_unlock(ss);
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	close_now(ss);
}
END_TEST

struct forker {
	pthread_t thread;
	_Atomic pid_t task;
	_Atomic bool over;
};

static void *fork_once(void *argument)
{
	struct forker *forker = argument;

	forker->task = gettid();
	pid_t child = fork();
	if (child == 0)
		leave_child(0);
	await_child(child);
	forker->over = true;
	return NULL;
}

/* Until one has to wait: the grace period may not have begun yet for the first. */
static void fork_until_one_waits(struct forker *forker)
{
	for (;;) {
		forker->task = 0;
		forker->over = false;
		ck_assert_int_eq(pthread_create(&forker->thread, NULL, fork_once, forker), 0);
		int64_t begin = now_ms();
		EVENTUALLY(forker->over || (now_ms() > begin + 100 && is_asleep(forker->task)));
		if (!forker->over)
			return;
		pthread_join(forker->thread, NULL);
	}
}

START_TEST(p13_a_fork_that_waits_for_a_borrower_delays_no_other_thread)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	struct borrower borrower = {.ss = ss};
	struct forker forker;
	pthread_t thread;

	push_and_wait(ss, TWO);
	ck_assert_int_eq(pthread_create(&thread, NULL, borrow_until_told, &borrower), 0);
	EVENTUALLY(borrower.inside);
	/* Its grace period waits for the borrower, and the fork for the grace period. */
	push_and_wait(ss, ONE);
	fork_until_one_waits(&forker);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(push_and_wait(ss, i % 2 ? ONE : TWO).verdict, SAFESTART_APPLIED);
	borrower.leave = true;
	pthread_join(thread, NULL);
	pthread_join(forker.thread, NULL);
	close_now(ss);
}
END_TEST

/* Only this process has no connection to it. */
static int refuse_in_child(struct safestart_run *run, void *user_data)
{
	(void)run;
	return getpid() == *(const pid_t *)user_data ? 0 : -ECONNREFUSED;
}

static void report_all(struct safestart *ss, int error)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);

	for (size_t i = 0; i < safestart_snapshot_size(live); i++)
		safestart_node_report(safestart_snapshot_at(live, i), error);
	safestart_read_unlock(ss);
}

/* Whatever the parent reported, also while the child's own `prepare` fails and the nodes are those
 * that it inherited. */
static void is_unproven_until_it_reports(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	CHILD_CHECK(safestart_node_state(ss, "a", NULL, 0) == SAFESTART_NODE_APPLIED);
	CHILD_CHECK(safestart_wait(ss, safestart_request_restart(ss), 30000, &outcome) == 0 &&
		    outcome.verdict == SAFESTART_FAILED);
	CHILD_CHECK(safestart_node_state(ss, "a", NULL, 0) == SAFESTART_NODE_APPLIED);
	report_all(ss, 0);
	CHILD_CHECK(safestart_node_state(ss, "a", NULL, 0) == SAFESTART_NODE_PROVEN);
	report_all(ss, EIO);
	CHILD_CHECK(safestart_node_state(ss, "a", NULL, 0) == SAFESTART_NODE_FAILING);
}

START_TEST(p22_a_child_is_proven_by_its_own_reports_only)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = refuse_in_child};
	struct safestart_conf *conf = safestart_conf_new();
	pid_t parent = getpid();
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_set(conf, "debounce", "0", NULL, 0), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, &parent), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	push_and_wait(ss, TWO);
	for (int error = 0; error <= EIO; error += EIO) {
		report_all(ss, error);
		pid_t child = fork();
		if (child == 0) {
			alarm(60);
			CHILD_CHECK(safestart_after_fork(ss) == 0);
			is_unproven_until_it_reports(ss);
			pid_t grandchild = fork();
			if (grandchild == 0)
				is_unproven_until_it_reports(ss);
			else
				await_child(grandchild);
			leave_child(0);
		}
		await_child(child);
	}
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_FAILING);
	close_now(ss);
}
END_TEST

/* A child that owns the inherited set as well, by itself, until a set without "b" is live. */
static void see_what_it_owns(struct safestart *ss, struct safestart_snapshot *before)
{
	struct safestart_snapshot *own = safestart_snapshot_acquire(ss);
	uint64_t ticket = 0;

	CHILD_CHECK(safestart_after_fork(ss) == 0);
	CHILD_CHECK(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0) == 0);
	CHILD_CHECK(safestart_wait(ss, ticket, 30000, NULL) == 0);
	CHILD_CHECK(safestart_generation(ss) > safestart_snapshot_generation(own));
	CHILD_CHECK(safestart_node_state(ss, "b", NULL, 0) == SAFESTART_NODE_RETIRED);
	safestart_snapshot_release(own);
	for (int i = 0; i < 30000 && safestart_node_state(ss, "b", NULL, 0) != 0; i++)
		pause_a_moment();
	CHILD_CHECK(safestart_node_state(ss, "b", NULL, 0) == SAFESTART_NODE_UNKNOWN);
	safestart_snapshot_release(before);
	CHILD_CHECK(safestart_close(ss) == 0);
	leave_child(0);
}

START_TEST(p22_a_child_uses_what_it_owns_and_not_what_its_parent_does)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);

	push_and_wait(ss, TWO);
	struct safestart_snapshot *before = safestart_snapshot_acquire(ss);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		see_what_it_owns(ss, before);
	}
	await_child(child);
	safestart_snapshot_release(before);
	close_now(ss);
}
END_TEST

START_TEST(p22_what_a_child_inherits_is_announced_by_nobody)
{
	write_file(scratch_path("kept.json"), TWO);
	char setting[300];
	snprintf(setting, sizeof(setting), "last_good=%s", scratch_path("kept.json"));
	struct safestart *ss = open_with(NULL, "debounce=0", setting, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 60000), 0);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		uint64_t ticket = safestart_request_restart(ss);
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		CHILD_CHECK(safestart_wait(ss, ticket, 30000, NULL) == 0);
		CHILD_CHECK(safestart_generation(ss) == 2);
		char *status = safestart_status_json(ss);
		CHILD_CHECK(strstr(status, "\"desired_digest\":null") != NULL);
		CHILD_CHECK(strstr(status, "\"desired_entry_digest\":\"") == NULL);
		safestart_free(status);
		leave_child(0);
	}
	await_child(child);
	close_now(ss);
}
END_TEST

SUITE("fork", p17_the_child_reads_the_inherited_nodes_and_then_runs_on_its_own,
      p12_the_child_remembers_what_was_live_in_the_parent,
      p17_a_child_that_never_asks_may_close_or_exit,
      p17_a_child_that_never_asks_closes_an_inherited_file_source,
      p17_four_forked_workers_each_follow_later_changes, p17_forking_a_busy_process_hangs_no_child,
      p17_the_descriptor_to_poll_keeps_its_number_and_is_the_childs_own,
      p17_the_childs_first_run_answers_the_parents_open_tickets,
      p17_a_child_that_serves_last_good_prepares_it_again,
      p22_a_child_is_proven_by_its_own_reports_only,
      p22_a_child_uses_what_it_owns_and_not_what_its_parent_does,
      p22_what_a_child_inherits_is_announced_by_nobody,
      p13_a_fork_that_waits_for_a_borrower_delays_no_other_thread)
