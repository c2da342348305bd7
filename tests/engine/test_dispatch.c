/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* thread=no: driven by the application's event loop. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <safestart/source.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* Counts callbacks that come on another thread than the one that dispatches. */
struct driven {
	pthread_t thread;
	int strangers, prepares, retires, logs, outcomes;
	int prepare_result;
	struct safestart_run *run;
};

static void seen(struct driven *driven, int *count)
{
	(*count)++;
	driven->strangers += !pthread_equal(pthread_self(), driven->thread);
}

static int prepare(struct safestart_run *run, void *user_data)
{
	struct driven *driven = user_data;

	seen(driven, &driven->prepares);
	driven->run = run;
	safestart_run_set_data(run, driven);
	return driven->prepare_result;
}

static void retire(void *data, void *user_data)
{
	(void)data;
	seen(user_data, &((struct driven *)user_data)->retires);
}

static void say(int level, const char *message, void *user_data)
{
	(void)level, (void)message;
	seen(user_data, &((struct driven *)user_data)->logs);
}

static void outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)outcome;
	seen(user_data, &((struct driven *)user_data)->outcomes);
}

static struct safestart *open_driven(struct driven *driven, const char *setting)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare,
						      .retire = retire,
						      .log = say,
						      .outcome = outcome};
	struct safestart_conf *conf = conf_with("thread=no", setting, NULL);
	struct safestart *ss;

	driven->thread = pthread_self();
	safestart_conf_set_callbacks(conf, &callbacks, driven);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	return ss;
}

static bool readable(struct safestart *ss, int timeout_ms)
{
	struct pollfd fd = {.fd = safestart_fd(ss), .events = POLLIN};

	return poll(&fd, 1, timeout_ms) == 1;
}

START_TEST(thread_no_starts_no_thread_and_calls_back_only_from_dispatch)
{
	struct driven driven = {0};
	int threads = threads_alive(), dispatched = 0;
	struct safestart *ss = open_driven(&driven, "debounce=5ms");
	uint64_t ticket;

	ck_assert_int_eq(threads_alive(), threads);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(driven.prepares + driven.logs, 0);
	while (safestart_generation(ss) == 0) {
		ck_assert(readable(ss, 10000));
		ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
		dispatched++;
	}
	/* Open, the request, a look every quarter of the debounce: no busy wake-ups. */
	ck_assert_int_le(dispatched, 12);
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, NULL), 0);
	ck_assert_int_eq(driven.outcomes, 1);
	/* Retirement of the empty generation, by the thread that waits for grace periods. */
	while (readable(ss, 50))
		ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
	ck_assert(!readable(ss, 0));
	close_now(ss);
	ck_assert_int_eq(driven.retires, 1);
	ck_assert_int_eq(driven.strangers, 0);
}
END_TEST

START_TEST(the_thread_that_dispatches_drives_the_loop_inside_wait)
{
	struct driven driven = {0};
	struct safestart *ss = open_driven(&driven, "debounce=1ms");
	uint64_t ticket;

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait_ready(ss, 10000), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), 10000, NULL), 0);
	close_now(ss);
	ck_assert_int_eq(driven.strangers, 0);
}
END_TEST

START_TEST(p6_waiting_for_a_later_run_on_the_thread_that_has_to_finish_it_is_refused)
{
	struct driven driven = {.prepare_result = SAFESTART_LATER};
	struct safestart *ss = open_driven(&driven, "debounce=0");
	uint64_t ticket;

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 10000, NULL), -EDEADLK);
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, NULL), -ETIMEDOUT);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), -EDEADLK);
	ck_assert_int_eq(safestart_run_finish(driven.run, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 10000, NULL), 0);
	ck_assert_int_eq(safestart_nodes_replace(ss, TWO, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 10000, NULL), -EDEADLK);
	ck_assert_int_eq(safestart_close(ss), -EDEADLK);
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, NULL), 0); /* cancelled */
	ck_assert_int_eq(safestart_run_finish(driven.run, 0), -ESTALE);
	close_now(ss);
	ck_assert_int_eq(driven.retires, 1); /* both runs attached the same pointer */
	ck_assert_int_eq(driven.strangers, 0);
}
END_TEST

START_TEST(p14_a_blocking_prepare_is_judged_when_it_returns)
{
	struct app app;
	struct safestart_conf *conf =
		conf_with("thread=no", "debounce=0", "run_timeout=1ms", "retry_min=0", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss;
	uint64_t ticket;

	app_init(&app);
	app_use(&app, conf);
	app.hold_ms = under_valgrind() ? 3500 : 5;
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 10000, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

/* Says in time that it is done, and comes back too late. */
static int lingering_gather(void *state, struct safestart_gather *gather)
{
	int64_t until = now_ms() + (under_valgrind() ? 3500 : 60);

	(void)state;
	(void)safestart_gather_json(gather, ONE, strlen(ONE));
	(void)safestart_gather_finish(gather, 0);
	while (now_ms() < until)
		pause_a_moment();
	return SAFESTART_LATER;
}

static int lingering_open(void **state, const struct safestart_source_conf *conf, char *why,
			  size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size, (void)user_data;
	*state = NULL;
	return 0;
}

static void lingering_close(void *state)
{
	(void)state;
}

START_TEST(p14_a_gather_that_returns_late_is_too_late_even_unnoticed)
{
	static const struct safestart_source lingering = {.size = sizeof(lingering),
							  .scheme = "lingering",
							  .open = lingering_open,
							  .gather = lingering_gather,
							  .close = lingering_close};
	struct safestart_conf *conf =
		conf_with("thread=no", "debounce=0", "run_timeout=20ms", "retry_min=0", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_add_source(conf, &lingering, NULL), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "lingering:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), 30000, &outcome), 0);
	ck_assert_msg(outcome.verdict == SAFESTART_TIMED_OUT, "%s", outcome.message);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

/* Both go on until they are told that it is pointless, as the header asks them to. */
static int gather_until_cancelled(void *state, struct safestart_gather *gather)
{
	bool *told = state;

	for (int64_t until = now_ms() + 20000; !*told && now_ms() < until;) {
		*told = safestart_gather_cancelled(gather);
		pause_a_moment();
	}
	return safestart_gather_fail(gather, -ETIMEDOUT, "given up");
}

static int open_with_user_data(void **state, const struct safestart_source_conf *conf, char *why,
			       size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int prepare_until_cancelled(struct safestart_run *run, void *user_data)
{
	bool *told = user_data;

	for (int64_t until = now_ms() + 20000; !*told && now_ms() < until;) {
		*told = safestart_run_cancelled(run);
		pause_a_moment();
	}
	return 0;
}

START_TEST(p14_a_callback_inside_dispatch_is_told_of_its_deadline)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare_until_cancelled};
	struct safestart_conf *conf =
		conf_with("thread=no", "debounce=0", "run_timeout=50ms", "retry_min=0", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss;
	bool told = false;
	uint64_t ticket;

	safestart_conf_set_callbacks(conf, &callbacks, &told);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 30000, &outcome), 0);
	ck_assert(told);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

START_TEST(p14_a_source_inside_dispatch_is_told_of_its_deadline)
{
	static const struct safestart_source patient = {.size = sizeof(patient),
							.scheme = "patient",
							.open = open_with_user_data,
							.gather = gather_until_cancelled,
							.close = lingering_close};
	struct safestart_conf *conf =
		conf_with("thread=no", "debounce=0", "run_timeout=50ms", "retry_min=0", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss;
	bool told = false;

	ck_assert_int_eq(safestart_conf_add_source(conf, &patient, &told), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "patient:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), 30000, &outcome), 0);
	ck_assert(told);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

/* Its log is slow, and asks for the next run at the end of the first one's line. */
struct slow_log {
	struct safestart *ss;
	int64_t asked_at, restarted_at;
	int restarts;
};

static void ask_late(int level, const char *message, void *user_data)
{
	struct slow_log *slow = user_data;

	(void)level;
	if (slow->asked_at != 0 || strstr(message, "run 1") == NULL)
		return;
	for (int64_t until = now_ms() + 250; now_ms() < until;)
		pause_a_moment();
	slow->asked_at = now_ms();
	safestart_request_restart(slow->ss);
}

static int note_restart(struct safestart_run *run, void *user_data)
{
	struct slow_log *slow = user_data;

	(void)run;
	slow->restarts++;
	slow->restarted_at = now_ms();
	return 0;
}

START_TEST(p4_the_debounce_counts_from_the_request_also_behind_a_slow_log)
{
	struct slow_log slow = {0};
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .log = ask_late,
						      .restart = note_restart};
	struct safestart_conf *conf = conf_with("thread=no", "source=none", "debounce=200ms", NULL);

	safestart_conf_set_callbacks(conf, &callbacks, &slow);
	ck_assert_int_eq(safestart_open(&slow.ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_uint_ne(safestart_request(slow.ss, SAFESTART_URGENT, NULL), 0);
	while (slow.restarts < 2)
		ck_assert_int_eq(safestart_dispatch(slow.ss, 10000), 0);
	ck_assert_int_ge(slow.restarted_at, slow.asked_at + 200);
	close_now(slow.ss);
}
END_TEST

/* Asks for the next run in each. */
static int ask_again(struct safestart_run *run, void *user_data)
{
	struct slow_log *asking = user_data;

	(void)run;
	if (asking->restarts++ < 1000)
		safestart_request_restart(asking->ss);
	return 0;
}

START_TEST(p14_dispatch_and_wait_return_though_every_run_asks_for_the_next)
{
	struct slow_log asking = {0};
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = ask_again};
	struct safestart_conf *conf = conf_with("thread=no", "source=none", "debounce=0", NULL);

	safestart_conf_set_callbacks(conf, &callbacks, &asking);
	ck_assert_int_eq(safestart_open(&asking.ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait(asking.ss, safestart_request_restart(asking.ss), 60000,
					NULL),
			 0);
	ck_assert_int_lt(asking.restarts, 100);
	while (asking.restarts <= 1000) {
		int before = asking.restarts;
		ck_assert(readable(asking.ss, 10000)); /* what is left is due */
		ck_assert_int_eq(safestart_dispatch(asking.ss, 0), 0);
		ck_assert_int_lt(asking.restarts, before + 100);
	}
	close_now(asking.ss);
}
END_TEST

static void *dispatch_elsewhere(void *argument)
{
	int result;

	while ((result = safestart_dispatch(argument, 10000)) == -EBUSY)
		; /* the other one was in it for a moment */
	ck_assert_int_eq(result, 0);
	return NULL;
}

START_TEST(a_second_thread_in_dispatch_gets_ebusy)
{
	struct driven driven = {0};
	struct safestart *ss = open_driven(&driven, "debounce=0");
	struct safestart *own = open_with(NULL, "debounce=0", NULL);
	pthread_t thread;
	int result = 0;

	/* thread=yes: the library is always in it. */
	ck_assert_int_eq(safestart_dispatch(own, 0), -EBUSY);
	ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, dispatch_elsewhere, ss), 0);
	EVENTUALLY((result = safestart_dispatch(ss, 0)) == -EBUSY);
	ck_assert_uint_ne(safestart_request_restart(ss), 0); /* wakes the other one */
	pthread_join(thread, NULL);
	close_now(ss);
	close_now(own);
}
END_TEST

struct driver {
	struct safestart *ss;
	_Atomic pid_t task;
	int result;
	struct safestart_outcome outcome;
};

static void *drive_inside_wait(void *argument)
{
	struct driver *driver = argument;

	driver->result = safestart_dispatch(driver->ss, 0);
	driver->task = gettid();
	if (driver->result == 0)
		driver->result = safestart_wait(driver->ss, safestart_request_restart(driver->ss),
						-1, &driver->outcome);
	return NULL;
}

/* The thread that waits is asleep in the loop, for it is the one that dispatched last. */
START_TEST(p6_close_waits_for_the_thread_that_drives_inside_wait)
{
	struct driven driven = {0};
	struct driver driver = {.ss = open_driven(&driven, "debounce=1h"),
				.outcome.size = sizeof(driver.outcome)};
	struct safestart_outcome pending = {.size = sizeof(pending)};
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, drive_inside_wait, &driver), 0);
	EVENTUALLY(safestart_wait(driver.ss, 1, 0, &pending) == -ETIMEDOUT &&
		   is_asleep(driver.task));
	close_now(driver.ss);
	pthread_join(thread, NULL);
	ck_assert_int_eq(driver.result, 0);
	ck_assert_int_eq(driver.outcome.verdict, SAFESTART_CANCELLED);
}
END_TEST

SUITE("dispatch", thread_no_starts_no_thread_and_calls_back_only_from_dispatch,
      the_thread_that_dispatches_drives_the_loop_inside_wait,
      p6_waiting_for_a_later_run_on_the_thread_that_has_to_finish_it_is_refused,
      p14_a_blocking_prepare_is_judged_when_it_returns,
      p14_a_gather_that_returns_late_is_too_late_even_unnoticed,
      p14_a_callback_inside_dispatch_is_told_of_its_deadline,
      p14_a_source_inside_dispatch_is_told_of_its_deadline,
      p4_the_debounce_counts_from_the_request_also_behind_a_slow_log,
      p14_dispatch_and_wait_return_though_every_run_asks_for_the_next,
      a_second_thread_in_dispatch_gets_ebusy, p6_close_waits_for_the_thread_that_drives_inside_wait)
