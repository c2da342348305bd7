/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Forked children of a handle that is shut down or closed: before the fork, or by the child. */
#include <errno.h>
#include <pthread.h>
#include <safestart/source.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* A source whose descriptor the test closes at its other end, which the log is told: whatever
 * thread decides then is held there. */
struct held_log {
	int pipe[2];
	_Atomic bool hold_prepare, hold_log, in_prepare, in_log;
	_Atomic int gathers;
};

static int piped_open(void **state, const struct safestart_source_conf *conf, char *why,
		      size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int piped_gather(void *state, struct safestart_gather *gather)
{
	const char *document = ((struct held_log *)state)->gathers++ == 0 ? ONE : TWO;

	return safestart_gather_json(gather, document, strlen(document));
}

static int piped_fd(void *state)
{
	return ((struct held_log *)state)->pipe[0];
}

static int piped_hint(void *state)
{
	(void)state;
	return 0;
}

static void piped_close(void *state)
{
	(void)state;
}

static int held_prepare(struct safestart_run *run, void *user_data)
{
	struct held_log *held = user_data;

	(void)run;
	held->in_prepare = held->hold_prepare;
	EVENTUALLY(!held->hold_prepare);
	return 0;
}

static void hold_the_log(int level, const char *message, void *user_data)
{
	struct held_log *held = user_data;

	(void)level;
	if (strstr(message, "was closed at its other end") == NULL)
		return;
	held->in_log = true;
	EVENTUALLY(!held->hold_log);
}

static struct safestart *open_piped(struct held_log *held)
{
	static const struct safestart_source piped = {.size = sizeof(piped),
						      .scheme = "piped",
						      .open = piped_open,
						      .gather = piped_gather,
						      .close = piped_close,
						      .fd = piped_fd,
						      .hint = piped_hint};
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = held_prepare,
						      .log = hold_the_log};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct safestart *ss;

	ck_assert_int_eq(pipe(held->pipe), 0);
	ck_assert_int_eq(safestart_conf_add_source(conf, &piped, held), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "piped:", NULL, 0), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, held), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	return ss;
}

struct child_waiter {
	struct safestart *ss;
	uint64_t ticket;
	int result;
	struct safestart_outcome outcome;
};

static void *wait_in_child(void *argument)
{
	struct child_waiter *waiter = argument;

	waiter->result = safestart_wait(waiter->ss, waiter->ticket, 20000, &waiter->outcome);
	return NULL;
}

/* The door is shut, and the run that was to answer is live and not answered: the thread that
 * decides is in `log`. Nothing in the child would ever answer. */
START_TEST(p6_a_child_answers_what_its_parent_had_open_at_a_shutdown)
{
	struct held_log held = {.hold_log = true};
	struct safestart *ss = open_piped(&held);

	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	held.hold_prepare = true;
	struct child_waiter waiter = {.ss = ss,
				      .ticket = safestart_request_restart(ss),
				      .outcome = {.size = sizeof(waiter.outcome)}};
	EVENTUALLY(held.in_prepare);
	close(held.pipe[1]);
	EVENTUALLY(held.in_log);
	held.hold_prepare = false;
	EVENTUALLY(safestart_generation(ss) == 2);
	uint64_t newer = safestart_request_restart(ss);
	safestart_shutdown(ss);
	ck_assert_int_eq(safestart_wait(ss, waiter.ticket, 0, NULL), -ETIMEDOUT);
	ck_assert_int_eq(safestart_wait(ss, newer, 0, NULL), -ETIMEDOUT);
	pid_t child = fork();
	if (child == 0) {
		pthread_t thread;
		alarm(60);
		CHILD_CHECK(pthread_create(&thread, NULL, wait_in_child, &waiter) == 0);
		pthread_join(thread, NULL);
		CHILD_CHECK(waiter.result == 0 && waiter.outcome.verdict == SAFESTART_CANCELLED);
		CHILD_CHECK(safestart_wait(ss, newer, 0, &waiter.outcome) == 0 &&
			    waiter.outcome.verdict == SAFESTART_CANCELLED);
		CHILD_CHECK(safestart_close(ss) == 0);
		leave_child(0);
	}
	await_child(child);
	held.hold_log = false;
	ck_assert_int_eq(safestart_wait(ss, waiter.ticket, 30000, &waiter.outcome), 0);
	ck_assert_int_eq(waiter.outcome.verdict, SAFESTART_APPLIED); /* the parent's is true */
	ck_assert_int_eq(safestart_wait(ss, newer, 30000, &waiter.outcome), 0);
	ck_assert_int_eq(waiter.outcome.verdict, SAFESTART_CANCELLED);
	close_now(ss);
	close(held.pipe[0]);
}
END_TEST

START_TEST(p14_a_child_that_never_ran_waits_for_a_borrower_at_most_run_timeout)
{
	struct safestart *other = open_with(NULL, "debounce=0", NULL);
	struct safestart *ss = open_with(NULL, "debounce=0", "run_timeout=50ms", NULL);

	push_and_wait(ss, ONE);
	pid_t child = fork();
	if (child == 0) {
		struct borrower borrower = {.ss = other};
		pthread_t thread;
		alarm(60);
		CHILD_CHECK(pthread_create(&thread, NULL, borrow_until_told, &borrower) == 0);
		while (!borrower.inside)
			pause_a_moment();
		CHILD_CHECK(safestart_close(ss) == -ETIMEDOUT);
		CHILD_CHECK(safestart_close(ss) == -ETIMEDOUT);
		borrower.leave = true;
		pthread_join(thread, NULL);
		int error;
		while ((error = safestart_close(ss)) == -ETIMEDOUT) /* a busy machine */
			continue;
		CHILD_CHECK(error == 0);
		leave_child(0);
	}
	await_child(child);
	close_now(ss);
	close_now(other);
}
END_TEST

SUITE("fork_shut", p6_a_child_answers_what_its_parent_had_open_at_a_shutdown,
      p14_a_child_that_never_ran_waits_for_a_borrower_at_most_run_timeout)
