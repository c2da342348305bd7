/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a binding for another language builds on: nothing blocks, nothing has to be called on a hot
 * path, and errors come with the application's words. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define ELSEWHERE "[{\"targets\":[\"10.0.0.9:1\"],\"labels\":{\"id\":\"a\"}}]"

/* ---- A run that is failed in words ---- */

/* What a callback does: it may fail the run before it returns, or leave it to the tester. */
static struct {
	bool in_restart;
	const char *words;
	bool inside; /* failed before it returned */
	int result;  /* what it returns */
	_Atomic int refused;
	struct safestart_run *_Atomic run;
} failing;

static int fail_run(struct safestart_run *run, bool in_restart)
{
	if (in_restart != failing.in_restart)
		return 0;
	if (failing.inside)
		failing.refused += safestart_run_fail(run, -EIO, failing.words) != 0;
	failing.run = run;
	return failing.result;
}

static int failing_prepare(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	return fail_run(run, false);
}

static int failing_restart(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	return fail_run(run, true);
}

static struct safestart *open_failing(void)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = failing_prepare,
						      .restart = failing_restart};

	return open_calling(&callbacks, NULL, "debounce=0", "retry_min=0", NULL);
}

/* Returns the outcome of a run whose callback is as `failing` says. */
static struct safestart_outcome fail_one(int error)
{
	struct safestart *ss = open_failing();
	uint64_t ticket;

	failing.run = NULL;
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	EVENTUALLY(failing.run != NULL);
	if (!failing.inside && failing.result == SAFESTART_LATER)
		ck_assert_int_eq(safestart_run_fail(failing.run, error, failing.words), 0);
	struct safestart_outcome outcome = answer(ss, ticket);
	close_now(ss);
	ck_assert_int_eq(failing.refused, 0);
	return outcome;
}

static bool says(const struct safestart_outcome *outcome, const char *words)
{
	return strstr(outcome->message, words) != NULL;
}

START_TEST(p6_a_failure_in_words_stands_in_the_outcome)
{
	for (int i = 0; i < 4; i++) {
		failing.in_restart = i % 2 == 1;
		failing.inside = i / 2 == 1;
		failing.result = SAFESTART_LATER;
		failing.words = "PoolError: 10.0.0.1 speaks TLS\n";
		struct safestart_outcome outcome = fail_one(-EIO);
		ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
		ck_assert_int_eq(outcome.error, -EIO);
		ck_assert_msg(says(&outcome,
				   failing.in_restart
					   ? "restart failed: PoolError: 10.0.0.1 speaks TLS"
					   : "prepare failed: PoolError: 10.0.0.1 speaks TLS"),
			      "%s", outcome.message);
	}
}
END_TEST

START_TEST(p6_a_failure_without_words_or_error_is_one_all_the_same)
{
	failing.in_restart = failing.inside = false;
	failing.result = SAFESTART_LATER;
	failing.words = NULL;
	struct safestart_outcome outcome = fail_one(-EACCES);
	ck_assert(outcome.error == -EACCES && says(&outcome, safestart_strerror(-EACCES)));
	failing.words = "words";
	outcome = fail_one(0);
	ck_assert(outcome.error == -EINVAL && says(&outcome, "words"));
	/* Another result than SAFESTART_LATER counts, and its words do. */
	failing.inside = true;
	failing.result = -EACCES;
	outcome = fail_one(0);
	ck_assert(outcome.error == -EACCES && !says(&outcome, "words"));
	ck_assert_int_eq(safestart_run_fail(NULL, -EIO, "no run"), -EINVAL);
}
END_TEST

/* ---- The last word ---- */

static struct {
	_Atomic int committed, restarts_before, destroyed;
	_Atomic uint64_t number, generation;
} told;

static int note_restart(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	told.restarts_before += told.committed == 0;
	return 0;
}

static void note_committed(struct safestart_run *run, void *user_data)
{
	struct safestart *const *ss = user_data;

	told.committed++;
	told.number = safestart_run_number(run);
	told.generation = safestart_generation(*ss);
}

static void note_destroy(void *user_data)
{
	(void)user_data;
	told.destroyed++;
}

static const struct safestart_callbacks telling = {.size = sizeof(telling),
						   .restart = note_restart,
						   .committed = note_committed,
						   .destroy = note_destroy};

START_TEST(p13_committed_comes_once_live_and_destroy_last)
{
	static struct safestart *ss;

	ss = open_calling(&telling, &ss, "debounce=0", NULL);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	ck_assert(told.committed == 1 && told.number == 1 && told.generation == 1);
	ck_assert_int_eq(push_and_wait(ss, ONE).error, 0); /* nothing to commit */
	ck_assert(told.committed == 1 && told.restarts_before == 0);
	struct safestart_snapshot *owned = safestart_snapshot_acquire(ss);
	close_now(ss);
	ck_assert_int_eq(told.destroyed, 0);
	safestart_snapshot_release(owned);
	ck_assert_int_eq(told.destroyed, 1);

	ss = open_calling(&telling, &ss, "thread=no", NULL);
	pid_t child = fork();
	if (child == 0) { /* it never made the handle its own */
		CHILD_CHECK(safestart_close(ss) == 0);
		CHILD_CHECK(told.destroyed == 1);
		leave_child(0);
	}
	await_child(child);
	child = fork();
	if (child == 0) {
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		CHILD_CHECK(safestart_close(ss) == 0);
		CHILD_CHECK(told.destroyed == 2);
		leave_child(0);
	}
	await_child(child);
	close_now(ss);
	ck_assert_int_eq(told.destroyed, 2);
	ss = open_calling(&telling, &ss, "start=after_fork", NULL);
	close_now(ss);
	ck_assert_int_eq(told.destroyed, 3);
}
END_TEST

START_TEST(destroy_does_not_come_after_an_open_that_failed)
{
	struct safestart_conf *conf = conf_with("control=/dev/null", NULL);
	struct safestart *ss;
	struct safestart_callbacks older = telling;

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &telling, NULL), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), -ENOTDIR);
	ck_assert_int_eq(told.destroyed, 0);
	/* Of a program that was built before there were committed and destroy. */
	older.size = offsetof(struct safestart_callbacks, committed);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &older, NULL), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "control", scratch_path("run"), NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	close_now(ss);
	ck_assert_int_eq(told.committed + told.destroyed, 0);
	older.size--;
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &older, NULL), -EINVAL);
	safestart_conf_free(conf);
}
END_TEST

/* ---- Looking without waiting ---- */

static struct safestart *asked;

static int look_inside(struct safestart_run *run, void *user_data)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome), .verdict = 77};

	(void)run, (void)user_data;
	/* Where safestart_wait() would be -EDEADLK. */
	ck_assert(safestart_try_wait(asked, 1, &outcome) == -EAGAIN && outcome.verdict == 77);
	return 0;
}

START_TEST(p6_a_ticket_can_be_looked_at_anywhere_without_blocking)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = look_inside};
	struct safestart_outcome outcome = {.size = sizeof(outcome)}, small = {.size = 4};
	uint64_t ticket;

	asked = open_calling(&callbacks, NULL, "debounce=0", "thread=no", NULL);
	ck_assert_int_eq(safestart_nodes_replace(asked, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_try_wait(asked, ticket, &outcome), -EAGAIN);
	ck_assert_uint_eq(safestart_generation(asked), 0); /* it does no work */
	EVENTUALLY(safestart_dispatch(asked, 0) == 0 &&
		   safestart_try_wait(asked, ticket, &outcome) == 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(safestart_try_wait(asked, ticket, NULL), 0);
	ck_assert_int_eq(safestart_try_wait(asked, ticket + 1, NULL), -EINVAL);
	ck_assert_int_eq(safestart_try_wait(asked, 0, NULL), -EINVAL);
	ck_assert_int_eq(safestart_try_wait(asked, ticket, &small), -EINVAL);
	ck_assert_int_eq(safestart_try_wait(NULL, ticket, NULL), -EINVAL);
	for (int i = 0; i < 1100; i++)
		(void)answer(asked, safestart_request_restart(asked));
	ck_assert_int_eq(safestart_try_wait(asked, ticket, NULL), -ENODATA);
	close_now(asked);
}
END_TEST

START_TEST(the_generation_s_number_stays_at_its_address)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	const uint64_t *at = safestart_generation_address(ss);

	ck_assert_uint_eq((uintptr_t)at % 8, 0);
	ck_assert_uint_eq(__atomic_load_n(at, __ATOMIC_ACQUIRE), 0);
	for (uint64_t i = 1; i < 4; i++) {
		char *document = document_of((int)i);
		ck_assert_int_eq(push_and_wait(ss, document).verdict, SAFESTART_APPLIED);
		ck_assert_uint_eq(__atomic_load_n(at, __ATOMIC_ACQUIRE), i);
		free(document);
	}
	ck_assert_ptr_eq(safestart_generation_address(ss), at);
	ck_assert_ptr_null(safestart_generation_address(NULL));
	close_now(ss);
}
END_TEST

/* ---- Forks ---- */

static void hold_forked(struct safestart *ss, const char *setting)
{
	const uint64_t *at = safestart_generation_address(ss);

	ck_assert_int_eq(safestart_forked(ss), 0);
	pid_t child = fork();
	if (child == 0) {
		CHILD_CHECK(safestart_forked(ss) == 1);
		CHILD_CHECK(safestart_generation_address(ss) == at);
		CHILD_CHECK(safestart_after_fork(ss) == 0);
		CHILD_CHECK(safestart_forked(ss) == 0);
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	ck_assert_msg(safestart_forked(ss) == 0, "%s", setting);
	close_now(ss);
}

START_TEST(p17_a_child_knows_that_it_is_one_until_it_is_revived)
{
	hold_forked(open_with(NULL, "start=open", NULL), "start=open");
	/* Not the process that has opened it, though it has not started it. */
	hold_forked(open_with(NULL, "start=after_fork", NULL), "start=after_fork");
	ck_assert_int_eq(safestart_forked(NULL), -EINVAL);
}
END_TEST

/* ---- Events, and forks ---- */

/* Also in a child, which has no test to fail: the next event but for the log. */
static struct safestart_event next_event(struct safestart *ss)
{
	struct pollfd descriptor = {.fd = safestart_event_fd(ss), .events = POLLIN};
	struct safestart_event event = {.size = sizeof(event)};

	do {
		int result = safestart_next_event(ss, &event);
		CHILD_CHECK(result >= 0);
		if (result == 0)
			CHILD_CHECK(poll(&descriptor, 1, 60000) == 1);
	} while (event.kind == 0 || event.kind == SAFESTART_EVENT_LOG);
	return event;
}

static void finish_next(struct safestart *ss, int kind, uint64_t key)
{
	struct safestart_event event = next_event(ss);

	CHILD_CHECK(event.kind == kind);
	if (kind == SAFESTART_EVENT_PREPARE)
		CHILD_CHECK(safestart_run_set_node_key(event.run, "a", key) == 0);
	CHILD_CHECK(event.run == NULL || safestart_run_finish(event.run, 0) == 0);
}

static void take_one_run(struct safestart *ss, uint64_t key)
{
	finish_next(ss, SAFESTART_EVENT_PREPARE, key);
	finish_next(ss, SAFESTART_EVENT_COMMITTED, 0);
	finish_next(ss, SAFESTART_EVENT_RESTART, 0);
	finish_next(ss, SAFESTART_EVENT_OUTCOME, 0);
}

static void live_in_child(struct safestart *ss)
{
	const struct safestart_snapshot *live;

	take_one_run(ss, 3);
	live = safestart_read_lock(ss);
	CHILD_CHECK(safestart_node_key(safestart_snapshot_at(live, 0)) == 3);
	safestart_read_unlock(ss);
	CHILD_CHECK(safestart_close(ss) == 0);
	leave_child(0);
}

START_TEST(p17_a_child_has_events_of_its_own)
{
	struct safestart *ss = open_with(NULL, "events=pull", "debounce=0", "run_timeout=1h", NULL);

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	take_one_run(ss, 1);
	/* The parent is asked something, and takes it after the fork. */
	ck_assert_int_eq(safestart_nodes_replace(ss, ELSEWHERE, NULL, NULL, 0), 0);
	struct pollfd descriptor = {.fd = safestart_event_fd(ss), .events = POLLIN};
	ck_assert_int_eq(poll(&descriptor, 1, 60000), 1);
	pid_t child = fork();
	if (child == 0)
		live_in_child(ss);
	await_child(child);
	ck_assert_int_eq(poll(&descriptor, 1, 0), 1);
	take_one_run(ss, 2);
	struct safestart_event event = next_event(ss);
	ck_assert_int_eq(event.kind, SAFESTART_EVENT_RETIRE_NODE);
	ck_assert_uint_eq(event.key, 1); /* and not what the child has retired */
	close_now(ss);
}
END_TEST

START_TEST(p17_with_start_after_fork_no_event_comes_before_it)
{
	struct safestart *ss =
		open_with(NULL, "events=pull", "debounce=0", "start=after_fork", NULL);
	struct safestart_event event = {.size = sizeof(event)};

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	ck_assert_int_eq(safestart_next_event(ss, &event), 0);
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();
		if (child == 0) {
			CHILD_CHECK(safestart_next_event(ss, &event) == 0);
			CHILD_CHECK(safestart_after_fork(ss) == 0);
			live_in_child(ss);
		}
		await_child(child);
	}
	ck_assert_int_eq(safestart_next_event(ss, &event), 0);
	close_now(ss);
}
END_TEST

SUITE("binding", p6_a_failure_in_words_stands_in_the_outcome,
      p6_a_failure_without_words_or_error_is_one_all_the_same,
      p13_committed_comes_once_live_and_destroy_last,
      destroy_does_not_come_after_an_open_that_failed,
      p6_a_ticket_can_be_looked_at_anywhere_without_blocking,
      the_generation_s_number_stays_at_its_address,
      p17_a_child_knows_that_it_is_one_until_it_is_revived, p17_a_child_has_events_of_its_own,
      p17_with_start_after_fork_no_event_comes_before_it)
