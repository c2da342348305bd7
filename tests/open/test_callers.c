/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Callers that were built against another version: the struct with a `size` is longer in a newer
 * one, and its part that this library does not know is not touched; a shorter one is older. */
#include <errno.h>
#include <safestart/source.h>
#include <stddef.h>
#include <string.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"

/* The shortest that a caller can have. When a struct grows, that is the offset of the first member
 * that is new. */
#define LEAST_OUTCOME sizeof(struct safestart_outcome)
#define LEAST_EVENT sizeof(struct safestart_event)
#define LEAST_CALLBACKS offsetof(struct safestart_callbacks, committed)
#define LEAST_SOURCE sizeof(struct safestart_source)

static void *const untouched = &(char){0};

struct newer_outcome {
	struct safestart_outcome known;
	void *later;
};

static struct newer_outcome newer_outcome(void)
{
	struct newer_outcome outcome = {.known = {.size = sizeof(outcome)}, .later = untouched};

	return outcome;
}

static void check_newer(const struct newer_outcome *outcome, int verdict)
{
	ck_assert_uint_eq(outcome->known.size, sizeof(*outcome));
	ck_assert_int_eq(outcome->known.verdict, verdict);
	ck_assert_str_ne(outcome->known.message, "");
	ck_assert_ptr_eq(outcome->later, untouched);
}

START_TEST(a_newer_caller_gets_the_part_of_an_outcome_that_is_known)
{
	struct safestart *ss = open_with(NULL, "debounce=1h", "max_delay=1h", NULL);
	struct newer_outcome outcome = newer_outcome();
	uint64_t ticket = safestart_request_restart(ss);

	ck_assert_int_eq(safestart_wait(ss, ticket, 0, &outcome.known), -ETIMEDOUT);
	check_newer(&outcome, SAFESTART_PENDING);
	outcome = newer_outcome();
	ck_assert_int_eq(safestart_try_wait(ss, ticket, &outcome.known), -EAGAIN);
	ck_assert_ptr_eq(outcome.later, untouched);
	safestart_request(ss, SAFESTART_URGENT, NULL);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, &outcome.known), 0);
	check_newer(&outcome, outcome.known.verdict);

	struct newer_outcome tried = newer_outcome(), last = newer_outcome();
	ck_assert_int_eq(safestart_try_wait(ss, ticket, &tried.known), 0);
	check_newer(&tried, outcome.known.verdict);
	ck_assert_int_eq(safestart_last_outcome(ss, &last.known), 0);
	check_newer(&last, outcome.known.verdict);
	close_now(ss);
}
END_TEST

START_TEST(an_outcome_shorter_than_ever_is_refused_and_left_as_it_was)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	const size_t sizes[] = {0, sizeof(size_t), LEAST_OUTCOME - 1};
	uint64_t ticket = safestart_request_restart(ss);

	answer(ss, ticket);
	for (size_t i = 0; i < 3; i++) {
		struct safestart_outcome outcome, before;

		memset(&outcome, 0x5a, sizeof(outcome));
		outcome.size = sizes[i];
		before = outcome;
		ck_assert_int_eq(safestart_wait(ss, ticket, 0, &outcome), -EINVAL);
		ck_assert_int_eq(safestart_try_wait(ss, ticket, &outcome), -EINVAL);
		ck_assert_int_eq(safestart_last_outcome(ss, &outcome), -EINVAL);
		ck_assert_mem_eq(&outcome, &before, sizeof(outcome));
	}
	close_now(ss);
}
END_TEST

START_TEST(an_older_caller_gets_the_outcome_that_it_knows)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	union {
		struct safestart_outcome known;
		unsigned char bytes[sizeof(struct safestart_outcome) + 8];
	} outcome;
	const size_t size = LEAST_OUTCOME;
	uint64_t ticket = safestart_request_restart(ss);

	answer(ss, ticket);
	memset(&outcome, 0x5a, sizeof(outcome));
	outcome.known.size = size;
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, &outcome.known), 0);
	ck_assert_uint_eq(outcome.known.size, size);
	ck_assert_uint_eq(outcome.known.ticket, ticket);
	for (size_t at = size; at < sizeof(outcome); at++)
		ck_assert_uint_eq(outcome.bytes[at], 0x5a);
	close_now(ss);
}
END_TEST

/* ---- Events ---- */

START_TEST(events_of_a_newer_caller_are_filled_in_and_shorter_ones_are_refused)
{
	struct safestart *ss = open_with(NULL, "debounce=0", "events=pull", NULL);
	struct {
		struct safestart_event known;
		void *later;
	} event = {.known = {.size = sizeof(event)}, .later = untouched};
	struct safestart_event shorter;

	memset(&shorter, 0x5a, sizeof(shorter));
	struct safestart_event before = shorter;
	safestart_request_restart(ss);
	for (size_t size = 0; size < LEAST_EVENT; size += LEAST_EVENT - 1) {
		shorter.size = before.size = size;
		ck_assert_int_eq(safestart_next_event(ss, &shorter), -EINVAL);
		ck_assert_mem_eq(&shorter, &before, sizeof(shorter));
	}
	do { /* lines for the log, then the run */
		EVENTUALLY(safestart_next_event(ss, &event.known) == 1);
		ck_assert_uint_eq(event.known.size, sizeof(event));
		ck_assert_ptr_eq(event.later, untouched);
	} while (event.known.kind != SAFESTART_EVENT_RESTART);
	ck_assert_int_eq(safestart_run_finish(event.known.run, 0), 0);
	close_now(ss);
}
END_TEST

/* ---- Callbacks ---- */

static _Atomic int prepared;

static int count_prepare(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	prepared++;
	return 0;
}

static void never(void)
{
	ck_abort_msg("a member that this version does not know was called");
}

/* Opens with the callbacks as long as `size` says. */
static int set_callbacks(const struct safestart_callbacks *callbacks)
{
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	int error = safestart_conf_set_callbacks(conf, callbacks, NULL);
	struct safestart *ss;

	if (error == 0) {
		prepared = 0;
		ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
		ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(prepared, 1);
		close_now(ss);
	}
	safestart_conf_free(conf);
	return error;
}

START_TEST(callbacks_of_a_newer_and_of_an_older_caller_are_called_as_far_as_they_are_known)
{
	const struct {
		struct safestart_callbacks known;
		void (*later)(void);
	} newer = {.known = {.size = sizeof(newer), .prepare = count_prepare}, .later = never};
	/* The older caller's ends in the middle of this one: what is behind it is not its own. */
	struct safestart_callbacks older;

	ck_assert_int_eq(set_callbacks(&newer.known), 0);
	memset(&older, 0x5a, sizeof(older));
	memset(&older, 0, LEAST_CALLBACKS);
	older.size = LEAST_CALLBACKS;
	older.prepare = count_prepare;
	ck_assert_int_eq(set_callbacks(&older), 0);
	older.size--;
	ck_assert_int_eq(set_callbacks(&older), -EINVAL);
}
END_TEST

/* ---- A source ---- */

static _Atomic int gathered, closed;

static int open_source(void **state, const struct safestart_source_conf *conf, char *why,
		       size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size, (void)user_data;
	*state = NULL;
	return 0;
}

static int gather(void *state, struct safestart_gather *gather)
{
	(void)state;
	gathered++;
	return safestart_gather_json(gather, ONE, strlen(ONE));
}

static void close_source(void *state)
{
	(void)state;
	closed++;
}

/* Opens with the source as long as `size` says. */
static int use_source(const struct safestart_source *source)
{
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	int error = safestart_conf_add_source(conf, source, NULL);
	struct safestart *ss;

	if (error == 0) {
		gathered = closed = 0;
		ck_assert_int_eq(safestart_conf_set(conf, "source", "own", NULL, 0), 0);
		ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
		ck_assert_int_eq(safestart_wait_ready(ss, -1), 0);
		ck_assert_str_eq(live_ids(ss), "a");
		close_now(ss);
		ck_assert(gathered >= 1 && closed == 1);
	}
	safestart_conf_free(conf);
	return error;
}

START_TEST(a_source_of_a_newer_and_of_an_older_caller_is_used_as_far_as_it_is_known)
{
	const struct {
		struct safestart_source known;
		void (*later)(void);
	} newer = {.known = {.size = sizeof(newer),
			     .scheme = "own",
			     .open = open_source,
			     .gather = gather,
			     .close = close_source},
		   .later = never};
	struct safestart_source older;

	ck_assert_int_eq(use_source(&newer.known), 0);
	memset(&older, 0x5a, sizeof(older));
	memcpy(&older, &newer.known, LEAST_SOURCE);
	older.size = LEAST_SOURCE;
	ck_assert_int_eq(use_source(&older), 0);
	older.size--;
	ck_assert_int_eq(use_source(&older), -EINVAL);
}
END_TEST

SUITE("callers", a_newer_caller_gets_the_part_of_an_outcome_that_is_known,
      an_outcome_shorter_than_ever_is_refused_and_left_as_it_was,
      an_older_caller_gets_the_outcome_that_it_knows,
      events_of_a_newer_caller_are_filled_in_and_shorter_ones_are_refused,
      callbacks_of_a_newer_and_of_an_older_caller_are_called_as_far_as_they_are_known,
      a_source_of_a_newer_and_of_an_older_caller_is_used_as_far_as_it_is_known)
