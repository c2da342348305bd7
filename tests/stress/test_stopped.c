/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole process is stopped (SIGSTOP: a debugger, a frozen container, a paused virtual
 * machine) for longer than every deadline, at each stage of a run's life. When it wakes, each
 * due thing happens once, not once for every time that was missed. */
#include <errno.h>
#include <pthread.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define MOST 500
#define STOP_MS 300 /* longer than a debounce, a retry, a reconcile */
#define LONG_STOP_MS \
	1200 /* longer than a run_timeout that leaves a busy machine enough time for a run */

/* An application that can stop the whole process inside a callback. */
struct sleeper {
	struct safestart *ss;
	bool threaded;
	_Atomic int prepares, outcomes, result;
	int stop_ms;
	_Atomic bool stop_inside; /* the next prepare stops everything */
	_Atomic bool later_once;  /* the next prepare answers LATER */
	_Atomic bool stop_failed;
	_Atomic bool awake; /* the stop has ended */
	struct safestart_run *_Atomic run;
	_Atomic int64_t began[MOST]; /* each run's prepare or gather, in ms */
	_Atomic int verdicts[MOST];
};

/* Only the shell keeps running. It wakes the process when it has really stopped, and some time
 * has passed. */
static void stop(struct sleeper *sleeper)
{
	char command[200];

	snprintf(command, sizeof(command),
		 "kill -STOP $PPID; until grep -q '^State:.T' /proc/$PPID/status; do :; done; "
		 "sleep %d.%03d; kill -CONT $PPID",
		 sleeper->stop_ms / 1000, sleeper->stop_ms % 1000);
	if (system(command) != 0)
		sleeper->stop_failed = true;
	sleeper->awake = true;
}

static void *stop_from_aside(void *sleeper)
{
	stop(sleeper);
	return NULL;
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	struct sleeper *sleeper = user_data;

	sleeper->began[sleeper->prepares % MOST] = now_ms();
	sleeper->run = run;
	int result =
		atomic_exchange(&sleeper->later_once, false) ? SAFESTART_LATER : sleeper->result;
	sleeper->prepares++;
	if (atomic_exchange(&sleeper->stop_inside, false))
		stop(sleeper);
	return result;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	struct sleeper *sleeper = user_data;

	sleeper->verdicts[sleeper->outcomes % MOST] = outcome->verdict;
	sleeper->outcomes++;
}

/* A reconcile reads another set each time, so that every one calls `prepare`. */
static int count_open(void **state, const struct safestart_source_conf *conf, char *why,
		      size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int count_gather(void *state, struct safestart_gather *gather)
{
	char document[128];
	int length = snprintf(document, sizeof(document), "[{\"targets\":[\"10.0.0.1:%d\"]}]",
			      ((struct sleeper *)state)->prepares + 1);

	return safestart_gather_json(gather, document, (size_t)length);
}

static void count_close(void *state)
{
	(void)state;
}

static const struct safestart_source count_source = {.size = sizeof(count_source),
						     .scheme = "count",
						     .open = count_open,
						     .gather = count_gather,
						     .close = count_close};

static void open_sleeper(struct sleeper *sleeper, bool threaded, const char *source,
			 const char *setting)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare,
						      .outcome = on_outcome};
	struct safestart_conf *conf =
		conf_with(threaded ? "thread=yes" : "thread=no", "debounce=0", setting, NULL);
	char why[256] = "";

	memset(sleeper, 0, sizeof(*sleeper));
	sleeper->threaded = threaded;
	sleeper->stop_ms = STOP_MS;
	ck_assert_int_eq(safestart_conf_add_source(conf, &count_source, sleeper), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", source, why, sizeof(why)), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, sleeper), 0);
	ck_assert_msg(safestart_open(&sleeper->ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
}

/* The dispatching thread continues to dispatch. */
static void turn(struct sleeper *sleeper)
{
	if (sleeper->threaded)
		pause_a_moment();
	else
		ck_assert_int_eq(safestart_dispatch(sleeper->ss, 5), 0);
}

#define DRIVE_UNTIL(sleeper, condition)                                                          \
	do {                                                                                     \
		int64_t limit_ = now_ms() + 30000;                                               \
		while (!(condition)) {                                                           \
			ck_assert_msg(now_ms() < limit_, "%s:%d: never came true: %s", __FILE__, \
				      __LINE__, #condition);                                     \
			turn(sleeper);                                                           \
		}                                                                                \
	} while (0)

static void stop_while_driving(struct sleeper *sleeper)
{
	pthread_t aside;

	sleeper->awake = false;
	ck_assert_int_eq(pthread_create(&aside, NULL, stop_from_aside, sleeper), 0);
	DRIVE_UNTIL(sleeper, sleeper->awake);
	pthread_join(aside, NULL);
	ck_assert(!sleeper->stop_failed);
}

static void close_sleeper(struct sleeper *sleeper)
{
	ck_assert(!sleeper->stop_failed);
	close_now(sleeper->ss);
}

/* Two runs never begin closer together than this, whenever the process was stopped; and once it
 * was. */
static void assert_no_burst(struct sleeper *sleeper, int64_t apart_ms)
{
	int64_t longest = 0;

	for (int i = 1; i < sleeper->prepares; i++) {
		int64_t pause = sleeper->began[i] - sleeper->began[i - 1];
		ck_assert_msg(pause >= apart_ms - 1, "runs %d and %d begin %d ms apart", i, i + 1,
			      (int)pause);
		longest = pause > longest ? pause : longest;
	}
	ck_assert_int_ge(longest, STOP_MS - 10);
}

START_TEST(p15_stopped_for_many_retries_it_wakes_to_one)
{
	struct sleeper sleeper;

	for (int mode = 0; mode < 2; mode++) {
		open_sleeper(&sleeper, mode, "push", "retry_max=100ms"); /* and retry_min */
		sleeper.result = -EIO;
		ck_assert_int_eq(safestart_nodes_replace(sleeper.ss, ONE, NULL, NULL, 0), 0);
		DRIVE_UNTIL(&sleeper, sleeper.outcomes >= 2);
		stop_while_driving(&sleeper);
		int before = sleeper.prepares;
		DRIVE_UNTIL(&sleeper, sleeper.prepares >= before + 4);
		assert_no_burst(&sleeper, 50); /* half of it: jitter */
		sleeper.result = 0;
		DRIVE_UNTIL(&sleeper, safestart_generation(sleeper.ss) == 1);
		close_sleeper(&sleeper);
	}
}
END_TEST

START_TEST(p15_stopped_for_many_reconciles_it_wakes_to_one)
{
	struct sleeper sleeper;

	for (int mode = 0; mode < 2; mode++) {
		open_sleeper(&sleeper, mode, "count", "reconcile=40ms");
		DRIVE_UNTIL(&sleeper, sleeper.outcomes >= 2);
		stop_while_driving(&sleeper);
		int before = sleeper.prepares;
		DRIVE_UNTIL(&sleeper, sleeper.prepares >= before + 4);
		assert_no_burst(&sleeper, 20); /* half of it: jitter */
		close_sleeper(&sleeper);
	}
}
END_TEST

START_TEST(p15_stopped_while_idle_nothing_is_due)
{
	struct sleeper sleeper;

	for (int mode = 0; mode < 2; mode++) {
		open_sleeper(&sleeper, mode, "push", "max_delay=1ms");
		ck_assert_int_eq(push_and_wait(sleeper.ss, ONE).verdict, SAFESTART_APPLIED);
		stop_while_driving(&sleeper);
		/* It wakes at once. */
		ck_assert_int_eq(push_and_wait(sleeper.ss, TWO).verdict, SAFESTART_APPLIED);
		struct safestart_outcome newest = {.size = sizeof(newest)};
		ck_assert_int_eq(safestart_last_outcome(sleeper.ss, &newest), 0);
		ck_assert_uint_eq(newest.run, 2);
		close_sleeper(&sleeper);
	}
}
END_TEST

/* ---- A window is open ---- */

struct waiter {
	struct safestart *ss;
	uint64_t ticket;
	int timeout_ms, result;
	struct safestart_outcome outcome;
	pthread_t thread;
	_Atomic pid_t task;
};

static void *wait_here(void *argument)
{
	struct waiter *waiter = argument;

	waiter->task = gettid();
	waiter->outcome.size = sizeof(waiter->outcome);
	waiter->result =
		safestart_wait(waiter->ss, waiter->ticket, waiter->timeout_ms, &waiter->outcome);
	return NULL;
}

START_TEST(p3_stopped_in_an_open_window_it_wakes_to_one_run)
{
	struct sleeper sleeper;

	for (int mode = 0; mode < 2; mode++) {
		struct waiter waiters[2] = {{.timeout_ms = -1}, {.timeout_ms = 100}};
		open_sleeper(&sleeper, mode, "push", "debounce=150ms");
		uint64_t ticket = 0;
		ck_assert_int_eq(safestart_nodes_replace(sleeper.ss, ONE, &ticket, NULL, 0), 0);
		for (int i = 0; i < 2; i++) {
			waiters[i].ss = sleeper.ss;
			waiters[i].ticket = ticket;
			ck_assert_int_eq(pthread_create(&waiters[i].thread, NULL, wait_here,
							&waiters[i]),
					 0);
			DRIVE_UNTIL(&sleeper, waiters[i].task != 0);
		}
		stop_while_driving(&sleeper);
		DRIVE_UNTIL(&sleeper, sleeper.outcomes == 1);
		for (int i = 0; i < 2; i++)
			pthread_join(waiters[i].thread, NULL);
		ck_assert_int_eq(waiters[0].result, 0);
		ck_assert_int_eq(waiters[0].outcome.verdict, SAFESTART_APPLIED);
		/* Both the run and its timeout were due when it woke. */
		ck_assert_msg(waiters[1].result == -ETIMEDOUT
				      ? waiters[1].outcome.verdict == SAFESTART_PENDING
				      : waiters[1].result == 0,
			      "%d", waiters[1].result);
		ck_assert(answer(sleeper.ss, ticket).run == 1);
		uint64_t next = safestart_request(sleeper.ss, SAFESTART_URGENT, NULL);
		ck_assert_uint_eq(next, ticket + 1);
		ck_assert(answer(sleeper.ss, next).run == 2); /* no other run in between */
		close_sleeper(&sleeper);
	}
}
END_TEST

/* ---- A run is in progress ---- */

START_TEST(p14_stopped_in_a_callback_past_its_deadline_the_run_is_late_and_repeated_once)
{
	struct sleeper sleeper;

	for (int mode = 0; mode < 2; mode++) {
		open_sleeper(&sleeper, mode, "push", "run_timeout=1s");
		sleeper.stop_ms = LONG_STOP_MS;
		sleeper.stop_inside = true;
		uint64_t ticket = 0;
		ck_assert_int_eq(safestart_nodes_replace(sleeper.ss, ONE, &ticket, NULL, 0), 0);
		DRIVE_UNTIL(&sleeper, sleeper.outcomes >= 2);
		ck_assert_int_eq(answer(sleeper.ss, ticket).verdict, SAFESTART_TIMED_OUT);
		ck_assert_int_eq(sleeper.verdicts[0], SAFESTART_TIMED_OUT);
		ck_assert_int_eq(sleeper.verdicts[1], SAFESTART_APPLIED);
		ck_assert_int_eq(sleeper.prepares, 2);
		ck_assert_uint_eq(safestart_generation(sleeper.ss), 1);
		ck_assert(push_and_wait(sleeper.ss, TWO).run == 3);
		close_sleeper(&sleeper);
	}
}
END_TEST

START_TEST(p14_stopped_in_a_callback_within_its_deadline_nothing_is_late)
{
	struct sleeper sleeper;

	for (int mode = 0; mode < 2; mode++) {
		open_sleeper(&sleeper, mode, "push", "run_timeout=1h");
		sleeper.stop_inside = true;
		uint64_t tickets[2];
		ck_assert_int_eq(safestart_nodes_replace(sleeper.ss, ONE, &tickets[0], NULL, 0), 0);
		DRIVE_UNTIL(&sleeper, sleeper.outcomes >= 1);
		ck_assert_int_eq(answer(sleeper.ss, tickets[0]).verdict, SAFESTART_APPLIED);
		tickets[1] = safestart_request_restart(sleeper.ss);
		ck_assert(answer(sleeper.ss, tickets[1]).run == 2);
		close_sleeper(&sleeper);
	}
}
END_TEST

static void stop_with_a_later_open(bool threaded, bool finish_at_once)
{
	struct sleeper sleeper;
	uint64_t ticket = 0;

	open_sleeper(&sleeper, threaded, "push", "run_timeout=1s");
	sleeper.stop_ms = LONG_STOP_MS;
	sleeper.later_once = true;
	ck_assert_int_eq(safestart_nodes_replace(sleeper.ss, ONE, &ticket, NULL, 0), 0);
	DRIVE_UNTIL(&sleeper, sleeper.prepares == 1);
	struct safestart_run *late = sleeper.run;
	stop_while_driving(&sleeper);
	if (!finish_at_once)
		DRIVE_UNTIL(&sleeper,
			    sleeper.outcomes >= 1); /* its deadline is noticed without one */
	ck_assert_int_eq(safestart_run_finish(late, 0), -ESTALE);
	DRIVE_UNTIL(&sleeper, sleeper.outcomes >= 2);
	ck_assert_int_eq(answer(sleeper.ss, ticket).verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(sleeper.verdicts[1], SAFESTART_APPLIED);
	ck_assert_int_eq(sleeper.prepares, 2);
	ck_assert_uint_eq(safestart_generation(sleeper.ss), 1);
	close_sleeper(&sleeper);
}

START_TEST(p14_stopped_while_a_later_is_open_it_is_late_when_it_wakes)
{
	stop_with_a_later_open(true, false);
	stop_with_a_later_open(false, false);
}
END_TEST

START_TEST(p14_stopped_while_a_later_is_open_its_finish_is_too_late)
{
	stop_with_a_later_open(true, true);
	stop_with_a_later_open(false, true);
}
END_TEST

SUITE("stopped", p15_stopped_for_many_retries_it_wakes_to_one,
      p15_stopped_for_many_reconciles_it_wakes_to_one, p15_stopped_while_idle_nothing_is_due,
      p3_stopped_in_an_open_window_it_wakes_to_one_run,
      p14_stopped_in_a_callback_past_its_deadline_the_run_is_late_and_repeated_once,
      p14_stopped_in_a_callback_within_its_deadline_nothing_is_late,
      p14_stopped_while_a_later_is_open_it_is_late_when_it_wakes,
      p14_stopped_while_a_later_is_open_its_finish_is_too_late)
