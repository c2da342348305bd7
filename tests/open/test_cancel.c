/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pthread_cancel(): a thread that is cancelled in the middle keeps no lock, no ticket and no
 * turn. */
#include <errno.h>
#include <pthread.h>
#include <safestart/source.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"

struct victim {
	struct safestart *ss;
	pthread_t thread;
	_Atomic pid_t task;
	_Atomic uint64_t accepted; /* requests that returned a ticket */
	uint64_t ticket;           /* to wait for; 0: wait_ready */
	const char *setting, *last_good;
	bool waits;
	_Atomic int reached; /* how far it got */
};

static void start(struct victim *victim, void *(*body)(void *))
{
	ck_assert_int_eq(pthread_create(&victim->thread, NULL, body, victim), 0);
}

/* Did it end because it was cancelled? */
static bool was_cancelled(struct victim *victim)
{
	void *result = NULL;

	pthread_join(victim->thread, &result);
	return result == PTHREAD_CANCELED;
}

/* ---- Waiters ---- */

static void *wait_for_ever(void *argument)
{
	struct victim *victim = argument;

	victim->task = gettid();
	victim->reached =
		1 + (victim->ticket != 0 ? safestart_wait(victim->ss, victim->ticket, -1, NULL)
					 : safestart_wait_ready(victim->ss, -1));
	return NULL;
}

START_TEST(p6_a_cancelled_waiter_changes_nothing_for_others)
{
	struct victim waiters[6] = {0};
	struct safestart *ss = open_with(NULL, "debounce=1h", "max_delay=1h", NULL);

	uint64_t ticket = safestart_request_restart(ss);
	for (int i = 0; i < 6; i++) {
		waiters[i].ss = ss;
		waiters[i].ticket = i % 2 ? ticket : 0;
		start(&waiters[i], wait_for_ever);
	}
	for (int i = 0; i < 6; i++)
		EVENTUALLY(is_asleep(waiters[i].task));
	for (int i = 0; i < 4; i++) {
		pthread_cancel(waiters[i].thread);
		ck_assert(was_cancelled(&waiters[i]));
		ck_assert_int_eq(waiters[i].reached, 0);
		ck_assert_int_eq(safestart_wait(ss, ticket, 0, NULL), -ETIMEDOUT);
	}
	uint64_t pushed;
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &pushed, NULL, 0), 0);
	ck_assert_uint_eq(pushed, ticket);
	ck_assert_uint_eq(safestart_request(ss, SAFESTART_URGENT, NULL), ticket);
	for (int i = 4; i < 6; i++) {
		ck_assert(!was_cancelled(&waiters[i]));
		ck_assert_int_eq(waiters[i].reached, 1);
	}
	close_now(ss); /* counts no cancelled thread as a waiter */
}
END_TEST

START_TEST(p6_close_does_not_wait_for_the_dead)
{
	struct victim waiter = {0};

	for (int i = 0; i < repeat(50); i++) {
		struct safestart *ss = open_with(NULL, "debounce=1h", "max_delay=1h", NULL);
		waiter.ss = ss;
		waiter.ticket = safestart_request_restart(ss);
		waiter.task = 0;
		start(&waiter, wait_for_ever);
		EVENTUALLY(is_asleep(waiter.task));
		pthread_cancel(waiter.thread);
		/* Answers it and waits until it has left, or died: it may be either. */
		if (i % 2)
			close_now(ss);
		(void)was_cancelled(&waiter);
		if (i % 2 == 0)
			close_now(ss);
	}
}
END_TEST

/* ---- Nothing else is a cancellation point ---- */

static int talk(struct safestart_run *run, void *user_data)
{
	(void)run;
	pthread_testcancel(); /* a callback of the application may be a cancellation point: printf
			       */
	atomic_fetch_add((_Atomic int *)user_data, 1);
	return 0;
}

static void log_line(int level, const char *message, void *user_data)
{
	(void)level, (void)message, (void)user_data;
	pthread_testcancel();
}

static int fail_to_open(void **state, const struct safestart_source_conf *conf, char *why,
			size_t why_size, void *user_data)
{
	(void)state, (void)conf, (void)why, (void)why_size, (void)user_data;
	pthread_testcancel();
	return -EIO;
}

static int read_nothing(void *state, struct safestart_gather *gather)
{
	(void)state;
	return safestart_gather_fail(gather, -EIO, "never called");
}

static void close_nothing(void *state)
{
	(void)state;
}

/* Opening fails halfway, with descriptors to give back. */
static int open_in_vain(void)
{
	static const struct safestart_source source = {.size = sizeof(source),
						       .scheme = "vain",
						       .open = fail_to_open,
						       .gather = read_nothing,
						       .close = close_nothing};
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss;

	safestart_conf_add_source(conf, &source, NULL);
	safestart_conf_set(conf, "source", "vain", NULL, 0);
	int error = safestart_open(&ss, conf, NULL, 0);
	safestart_conf_free(conf);
	return error;
}

/* No ck_assert in here: check writes down where it is, and that is a cancellation point. */
static struct safestart *open_talking(const char *key, const char *value, const char *last_good,
				      _Atomic int *calls)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = talk,
						      .restart = talk,
						      .log = log_line};
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss = NULL;

	safestart_conf_set(conf, "debounce", "0", NULL, 0);
	safestart_conf_set(conf, key, value, NULL, 0);
	safestart_conf_set(conf, "last_good", last_good, NULL, 0);
	safestart_conf_set_callbacks(conf, &callbacks, calls);
	safestart_open(&ss, conf, NULL, 0);
	safestart_conf_free(conf);
	return ss;
}

#define STEP(victim, call) ((void)(call), atomic_fetch_add(&(victim)->reached, 1))
#define STEPS 20

/* Cancelled before it begins: the first cancellation point it meets is its end. */
static void *call_everything(void *argument)
{
	struct victim *victim = argument;
	char why[64];
	_Atomic int calls = 0;
	uint64_t ticket = 0;

	pthread_cancel(pthread_self());
	struct safestart *ss = open_talking("thread", victim->setting, victim->last_good, &calls);
	STEP(victim, ss);
	STEP(victim, open_in_vain());
	STEP(victim, victim->accepted += safestart_request_restart(ss) != 0);
	STEP(victim, victim->accepted +=
		     safestart_request(ss, SAFESTART_FORCE | SAFESTART_URGENT, "why not") != 0);
	STEP(victim, safestart_dispatch(ss, 100)); /* -EBUSY with thread=yes */
	/* May read last_good. */
	STEP(victim, safestart_node_announce(ss, "b", "10.0.0.2:1", NULL, NULL));
	STEP(victim, safestart_nodes_replace(ss, ONE, &ticket, NULL, 0));
	STEP(victim, safestart_node_withdraw(ss, "b", NULL));
	STEP(victim, safestart_dispatch(ss, 100));
	STEP(victim, safestart_node_state(ss, "a", why, sizeof(why)));
	char *text = safestart_status_json(ss);
	STEP(victim, safestart_free(text));
	text = safestart_metrics_text(ss);
	STEP(victim, safestart_free(text));
	struct safestart_snapshot *owned = safestart_snapshot_acquire(ss);
	text = safestart_snapshot_json(owned);
	STEP(victim, safestart_free(text));
	STEP(victim, safestart_read_lock(ss));
	STEP(victim, safestart_read_unlock(ss));
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	while (safestart_last_outcome(ss, &outcome) < 0 || outcome.ticket < ticket) {
		sched_yield();
		safestart_dispatch(ss, 100);
	}
	STEP(victim, safestart_wait(ss, ticket, -1, NULL)); /* answered: it does not sleep */
	STEP(victim, safestart_wait_ready(ss, -1));
	STEP(victim, safestart_after_fork(ss));
	STEP(victim, safestart_shutdown(ss));
	int closed = safestart_close(ss);
	safestart_snapshot_release(owned);
	STEP(victim, closed);
	pthread_testcancel();
	return NULL;
}

START_TEST(p16_no_call_is_cut_short_by_a_cancellation)
{
	const char *const settings[] = {"yes", "no"};
	const char *last_good = scratch_path("last_good.json");

	for (int i = 0; i < 2; i++) {
		struct victim victim = {.setting = settings[i], .last_good = last_good};
		write_file(last_good, ONE);
		start(&victim, call_everything);
		ck_assert(was_cancelled(&victim));
		ck_assert_msg(victim.reached == STEPS,
			      "thread=%s: it was cut short after %d of %d calls", settings[i],
			      victim.reached, STEPS);
		ck_assert_uint_eq(victim.accepted, 2);
	}
}
END_TEST

static void *dispatch_for_ever(void *argument)
{
	struct victim *victim = argument;

	victim->task = gettid();
	for (;;) {
		safestart_dispatch(victim->ss, -1);
		pthread_testcancel();
	}
	return NULL;
}

START_TEST(p16_a_cancelled_dispatcher_leaves_its_place_to_another)
{
	struct victim dispatcher = {0};
	_Atomic int calls = 0;

	dispatcher.ss = open_talking("thread", "no", "", &calls);
	for (int i = 0; i < repeat(20); i++) {
		dispatcher.task = 0;
		start(&dispatcher, dispatch_for_ever);
		EVENTUALLY(is_asleep(dispatcher.task));
		pthread_cancel(dispatcher.thread);
		/* It ends when its turn does. */
		ck_assert_uint_ne(safestart_request_restart(dispatcher.ss), 0);
		ck_assert(was_cancelled(&dispatcher));
		uint64_t ticket = safestart_request_restart(dispatcher.ss);
		while (safestart_wait(dispatcher.ss, ticket, 0, NULL) == -ETIMEDOUT)
			ck_assert_int_eq(safestart_dispatch(dispatcher.ss, 10), 0);
	}
	close_now(dispatcher.ss);
}
END_TEST

/* ---- At random instants ---- */

static void *ask_and_wait(void *argument)
{
	struct victim *victim = argument;

	for (unsigned i = 0;; i++) {
		/* What is counted was accepted, what was accepted is counted: asking is no
		 * cancellation point. */
		uint64_t ticket = safestart_request(victim->ss, 0, i % 3 ? "why not" : NULL);
		victim->accepted += ticket != 0;
		if (i % 8 == 0)
			safestart_wait(victim->ss, ticket, i % 16 ? 1 : -1, NULL);
		if (i % 32 == 1)
			safestart_wait_ready(victim->ss, 0);
		pthread_testcancel();
	}
	return NULL;
}

START_TEST(p2_threads_cancelled_at_any_instant_take_no_request_with_them)
{
	struct app app;
	struct victim victims[3] = {0};
	unsigned seed = 1;

	app_init(&app);
	app.restart_enabled = true;
	struct safestart *ss = open_with(&app, "source=none", "debounce=0", NULL);
	int descriptors = open_descriptors();
	for (int i = 0; i < 3; i++) {
		victims[i].ss = ss;
		start(&victims[i], ask_and_wait);
	}
	for (int i = 0; i < repeat(600); i++) {
		struct victim *victim = &victims[i % 3];
		uint64_t before = victim->accepted;
		int busy = rand_r(&seed) % 2000;
		while (victim->accepted == before || busy-- > 0)
			sched_yield();
		pthread_cancel(victim->thread);
		ck_assert(was_cancelled(victim));
		start(victim, ask_and_wait);
	}
	for (int i = 0; i < 3; i++) {
		pthread_cancel(victims[i].thread);
		ck_assert(was_cancelled(&victims[i]));
	}
	uint64_t ticket = safestart_request_restart(ss);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(open_descriptors(), descriptors);
	char expected[64], *metrics = safestart_metrics_text(ss);
	snprintf(expected, sizeof(expected), "} %llu\n",
		 (unsigned long long)(victims[0].accepted + victims[1].accepted +
				      victims[2].accepted + 1));
	const char *counted = strstr(metrics, "\nsafestart_requests_total{");
	ck_assert_ptr_nonnull(counted);
	counted = strchr(counted, '}');
	ck_assert_msg(strncmp(counted, expected, strlen(expected)) == 0, "%.30s, accepted %s",
		      counted, expected);
	safestart_free(metrics);
	close_now(ss);
}
END_TEST

/* ---- A callback that does not return: as a C++ exception, which a C program cannot throw ---- */

static _Atomic int leave_in; /* 1: prepare, 2: outcome */

static int leave_or_prepare(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	if (leave_in == 1)
		pthread_exit(NULL);
	return 0;
}

static void leave_or_take(const struct safestart_outcome *outcome, void *user_data)
{
	(void)outcome, (void)user_data;
	if (leave_in == 2)
		pthread_exit(NULL);
}

static void *dispatch_until_left(void *argument)
{
	struct victim *victim = argument;

	safestart_dispatch(victim->ss, 0); /* from here on this thread's wait drives */
	safestart_nodes_replace(victim->ss, ONE, &victim->ticket, NULL, 0);
	while (leave_in != 0) {
		if (victim->waits)
			safestart_wait(victim->ss, victim->ticket, -1, NULL);
		else
			safestart_dispatch(victim->ss, -1);
	}
	return NULL;
}

START_TEST(p16_a_callback_that_is_left_fails_its_run_and_keeps_no_turn)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = leave_or_prepare,
						      .outcome = leave_or_take};
	struct safestart_conf *conf = conf_with("thread=no", "debounce=0", "retry_min=0", NULL);
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	for (int round = 0; round < 4; round++) {
		struct safestart_outcome outcome = {.size = sizeof(outcome)};
		struct victim victim = {.ss = ss, .waits = round % 2 == 1};
		leave_in = 1 + round / 2;
		start(&victim, dispatch_until_left);
		ck_assert(!was_cancelled(&victim));
		leave_in = 0;
		while (safestart_wait(ss, victim.ticket, 0, &outcome) == -ETIMEDOUT)
			ck_assert_int_eq(safestart_dispatch(ss, -1), 0);
		ck_assert_int_eq(outcome.verdict, round < 2    ? SAFESTART_FAILED
						  : round == 2 ? SAFESTART_APPLIED
							       : SAFESTART_UNCHANGED);
		ck_assert(round >= 2 || strstr(outcome.message, "left it") != NULL);
	}
	close_now(ss);
}
END_TEST

SUITE("cancel", p6_a_cancelled_waiter_changes_nothing_for_others,
      p6_close_does_not_wait_for_the_dead, p16_no_call_is_cut_short_by_a_cancellation,
      p16_a_cancelled_dispatcher_leaves_its_place_to_another,
      p16_a_callback_that_is_left_fails_its_run_and_keeps_no_turn,
      p2_threads_cancelled_at_any_instant_take_no_request_with_them)
