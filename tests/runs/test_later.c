/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the headers say of SAFESTART_LATER, its finish, and of the threads on which `log` comes. */
#include <errno.h>
#include <pthread.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"

/* Where the lines of the log came from. */
struct seen {
	pthread_t tester, source;
	_Atomic bool source_started;
	_Atomic int by_library, by_source, by_tester; /* lines */
	_Atomic int cancellable;                      /* callbacks that could be cancelled */
	_Atomic int gave_up_by_tester;
	struct safestart_run *_Atomic run;
	struct safestart_gather *_Atomic gather;
	_Atomic int prepare_result;
};

static void note_cancellable(struct seen *seen)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	seen->cancellable += state == PTHREAD_CANCEL_ENABLE;
	pthread_setcancelstate(state, &state);
}

static void see_log(int level, const char *message, void *user_data)
{
	struct seen *seen = user_data;

	(void)level;
	note_cancellable(seen);
	if (pthread_equal(pthread_self(), seen->tester)) {
		seen->by_tester++;
		seen->gave_up_by_tester += strstr(message, "close gave up") != NULL;
	} else if (seen->source_started && pthread_equal(pthread_self(), seen->source)) {
		seen->by_source++;
	} else {
		seen->by_library++;
	}
}

static int see_prepare(struct safestart_run *run, void *user_data)
{
	struct seen *seen = user_data;

	note_cancellable(seen);
	safestart_run_set_data(run, seen);
	seen->run = run;
	return seen->prepare_result;
}

static void see_retire(void *data, void *user_data)
{
	(void)data;
	note_cancellable(user_data);
}

static int later_open(void **state, const struct safestart_source_conf *conf, char *why,
		      size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int later_gather(void *state, struct safestart_gather *gather)
{
	((struct seen *)state)->gather = gather;
	return SAFESTART_LATER;
}

static void later_close(void *state)
{
	(void)state;
}

static const struct safestart_source later_source = {.size = sizeof(later_source),
						     .scheme = "later",
						     .open = later_open,
						     .gather = later_gather,
						     .close = later_close};

static struct safestart *open_seen(struct seen *seen, const char *source, const char *first,
				   const char *second)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = see_prepare,
						      .retire = see_retire,
						      .log = see_log};
	struct safestart_conf *conf = conf_with("debounce=0", "retry_min=0", first, second, NULL);
	struct safestart *ss;

	seen->tester = pthread_self();
	ck_assert_int_eq(safestart_conf_add_source(conf, &later_source, seen), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", source, NULL, 0), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, seen), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	return ss;
}

/* The source's own thread, which anybody may cancel. */
static void *finish_with_a_warning(void *argument)
{
	struct seen *seen = argument;

	seen->source = pthread_self();
	seen->source_started = true;
	safestart_gather_warn(seen->gather, "half of it was stale");
	ck_assert_int_eq(safestart_gather_json(seen->gather, ONE, strlen(ONE)), 0);
	ck_assert_int_eq(safestart_gather_finish(seen->gather, 0), 0);
	return NULL;
}

START_TEST(p16_the_log_comes_on_the_threads_that_the_header_names)
{
	for (int own = 0; own < 2; own++) {
		struct seen seen = {0};
		struct safestart *ss =
			open_seen(&seen, "later:", own ? "thread=no" : "thread=yes", NULL);
		pthread_t thread;

		EVENTUALLY((!own || safestart_dispatch(ss, 0) == 0) && seen.gather != NULL);
		ck_assert_int_eq(pthread_create(&thread, NULL, finish_with_a_warning, &seen), 0);
		pthread_join(thread, NULL);
		ck_assert_int_eq(seen.by_source, 1); /* the warning, at once */
		seen.source_started = false;         /* the number may be another thread's now */
		EVENTUALLY((!own || safestart_dispatch(ss, 0) == 0) &&
			   seen.by_tester + seen.by_library > 0); /* the outcome */
		ck_assert_int_eq(own ? seen.by_library : seen.by_tester, 0);
		/* A snapshot that is still owned is retired by its owner. */
		struct safestart_snapshot *owned = safestart_snapshot_acquire(ss);
		close_now(ss);
		safestart_snapshot_release(owned);
		ck_assert_int_eq(seen.cancellable, 0);
	}
}
END_TEST

START_TEST(close_says_on_its_own_thread_why_it_gave_up)
{
	struct seen seen = {.prepare_result = SAFESTART_LATER};
	struct safestart *ss = open_seen(&seen, "push", "run_timeout=50ms", NULL);

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	EVENTUALLY(seen.run != NULL);
	EVENTUALLY(safestart_close(ss) == -ETIMEDOUT && seen.gave_up_by_tester > 0);
	ck_assert_int_eq(seen.by_tester, seen.gave_up_by_tester);
	ck_assert_int_eq(safestart_run_finish(seen.run, 0), -ESTALE);
	EVENTUALLY(safestart_close(ss) == 0);
	ck_assert_int_eq(seen.cancellable, 0);
}
END_TEST

/* In wait a LATER run is open until its finish or its deadline, in close until its finish. */
START_TEST(p6_a_later_run_past_its_deadline_is_in_the_way_of_close_only)
{
	struct seen seen = {.prepare_result = SAFESTART_LATER};
	struct safestart *ss = open_seen(&seen, "push", "thread=no", "run_timeout=50ms");
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket;

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	EVENTUALLY(safestart_dispatch(ss, 0) == 0 && safestart_wait(ss, ticket, 0, &outcome) == 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	struct safestart_run *late = seen.run;
	seen.prepare_result = 0;
	ticket = safestart_request_restart(ss);
	ck_assert_int_eq(safestart_wait(ss, ticket, 30000, &outcome), 0);
	ck_assert_int_eq(safestart_close(ss), -EDEADLK);
	ck_assert_int_eq(safestart_run_finish(late, 0), -ESTALE);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

/* What the callback does before it returns, and what it returns. */
struct twice {
	_Atomic int first, second, result;
	bool gather;
};

static int finish_twice(struct safestart_run *run, void *user_data)
{
	struct twice *twice = user_data;

	twice->first = safestart_run_finish(run, 0);
	twice->second = safestart_run_finish(run, -EIO);
	return twice->result;
}

static int gather_twice(void *state, struct safestart_gather *gather)
{
	struct twice *twice = state;

	ck_assert_int_eq(safestart_gather_json(gather, ONE, strlen(ONE)), 0);
	if (!twice->gather)
		return 0;
	twice->first = safestart_gather_finish(gather, 0);
	twice->second = safestart_gather_finish(gather, -EIO);
	return twice->result;
}

static struct safestart_outcome outcome_of_twice(struct twice *twice, bool prepare, bool restart)
{
	static const struct safestart_source source = {.size = sizeof(source),
						       .scheme = "twice",
						       .open = later_open,
						       .gather = gather_twice,
						       .close = later_close};
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare ? finish_twice : NULL,
						      .restart = restart ? finish_twice : NULL};
	struct safestart_conf *conf = conf_with("debounce=0", "retry_min=0", NULL);
	struct safestart *ss;

	twice->gather = !prepare && !restart;
	ck_assert_int_eq(safestart_conf_add_source(conf, &source, twice), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "twice:", NULL, 0), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, twice), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	close_now(ss);
	return outcome;
}

START_TEST(p6_a_second_finish_inside_the_callback_is_refused_and_the_first_counts)
{
	for (int phase = 0; phase < 3; phase++) {
		struct twice twice = {.result = SAFESTART_LATER};
		struct safestart_outcome outcome = outcome_of_twice(&twice, phase == 1, phase == 2);
		ck_assert_int_eq(twice.first, 0);
		ck_assert_int_eq(twice.second, -EALREADY);
		ck_assert_int_le(outcome.verdict, SAFESTART_UNCHANGED);
		/* What it returns counts, if that is not LATER. */
		twice.result = -EACCES;
		outcome = outcome_of_twice(&twice, phase == 1, phase == 2);
		ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
		ck_assert_int_eq(outcome.error, -EACCES);
	}
}
END_TEST

SUITE("later", p16_the_log_comes_on_the_threads_that_the_header_names,
      close_says_on_its_own_thread_why_it_gave_up,
      p6_a_later_run_past_its_deadline_is_in_the_way_of_close_only,
      p6_a_second_finish_inside_the_callback_is_refused_and_the_first_counts)
