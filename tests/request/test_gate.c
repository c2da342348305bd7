/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When does a run start? With made-up time. */
#include "request/gate.h"

#include "support/support.h"

#define MS INT64_C(1000000)

static const struct gate_conf usual = {.debounce = 100 * MS,
				       .max_delay = 1000 * MS,
				       .retry_min = 100 * MS,
				       .retry_max = 30000 * MS};

static struct gate gate_with(int64_t debounce, int64_t max_delay, int64_t min_interval)
{
	struct gate_conf conf = usual;
	struct gate gate;

	conf.debounce = debounce;
	conf.max_delay = max_delay;
	conf.min_interval = min_interval;
	gate_init(&gate, &conf);
	return gate;
}

/* As the loop does: ask again whenever the gate says. Returns when the run started; GATE_NEVER: it
 * sleeps. */
static int64_t start_after(struct gate *gate, int64_t now)
{
	for (int i = 0; i < 10000; i++) {
		struct gate_verdict verdict = gate_tick(gate, now);
		if (verdict.start)
			return now;
		if (verdict.wake_at == GATE_NEVER)
			return GATE_NEVER;
		ck_assert_int_gt(verdict.wake_at, now);
		now = verdict.wake_at;
	}
	ck_abort_msg("it keeps waking for nothing");
	return 0;
}

/* A first run that was asked for at 0 and is in progress. */
static struct gate running_gate(int64_t debounce, int64_t max_delay, int64_t min_interval)
{
	struct gate gate = gate_with(debounce, max_delay, min_interval);

	gate_request(&gate, 0, true);
	ck_assert(gate_tick(&gate, 0).start);
	return gate;
}

START_TEST(nothing_asked_for_never_starts)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);
	struct gate_verdict verdict = gate_tick(&gate, 5);

	ck_assert(!verdict.start && !verdict.wakeups_off);
	ck_assert_int_eq(verdict.wake_at, GATE_NEVER);
	ck_assert_int_eq(gate_next_start(&gate), GATE_NEVER);
}
END_TEST

START_TEST(p4_starts_debounce_after_the_newest_request)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);

	for (int64_t t = 0; t <= 120 * MS; t += 60 * MS) {
		gate_request(&gate, t, false);
		ck_assert(!gate_tick(&gate, t).start);
	}
	ck_assert_int_eq(gate_next_start(&gate), 220 * MS);
	ck_assert(!gate_tick(&gate, 220 * MS - 1).start);
	ck_assert_int_eq(start_after(&gate, 121 * MS), 220 * MS);
}
END_TEST

START_TEST(without_debounce_it_starts_at_once)
{
	struct gate gate = gate_with(0, 0, 0);

	gate_request(&gate, 7, false);
	ck_assert(gate_tick(&gate, 7).start);
}
END_TEST

START_TEST(p4_looks_every_quarter_of_the_debounce)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);
	struct gate_verdict verdict;
	int64_t now = 0, unheard = 30 * MS;

	gate_request(&gate, 0, false);
	for (int looks = 0; !(verdict = gate_tick(&gate, now)).start; looks++) {
		ck_assert(verdict.wakeups_off);
		ck_assert_int_le(verdict.wake_at, now + 25 * MS + 1);
		ck_assert_int_lt(looks, 10);
		now = verdict.wake_at;
		if (unheard != 0 && now > unheard) {
			gate_request(&gate, now, false);
			unheard = 0;
		}
	}
	/* After the newest request, which went by unheard, and at most a quarter late. */
	ck_assert_int_ge(now, 130 * MS);
	ck_assert_int_le(now, 155 * MS + 1);
}
END_TEST

START_TEST(p4_requests_without_end_start_at_max_delay)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);
	int64_t now = 0, first = 0;

	for (int runs = 0; runs < 3; runs++) {
		for (; !gate_tick(&gate, now).start; now += 50 * MS) {
			ck_assert_int_le(now, first + 1000 * MS);
			gate_request(&gate, now, false);
		}
		ck_assert_int_eq(now, first + 1000 * MS);
		gate_ended(&gate, now, false, 0);
		first = now;
		gate_request(&gate, first, false);
	}
}
END_TEST

/* What the gate says while a run or min_interval holds a window back. */
START_TEST(wakeups_are_off_while_a_request_would_change_nothing)
{
	static const struct {
		int64_t debounce, now;
		bool urgent, wakeups_off;
	} rows[] = {
		{100 * MS, 10 * MS, false, true}, /* looks by itself */
		{100 * MS, 99 * MS, false, true}, /* the same, shortly before quiet */
		/* Quiet: the next request moves the start, and the loop is not woken. */
		{100 * MS, 100 * MS, false, false},
		{100 * MS, 999 * MS, false, false}, /* the same, shortly before max_delay */
		/* Max_delay has passed: nothing moves it any more. */
		{100 * MS, 1000 * MS, false, true},
		{0, 10 * MS, false, true},       /* no debounce, nothing to move */
		{100 * MS, 10 * MS, true, true}, /* urgent, the same */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (int held_by_run = 0; held_by_run < 2; held_by_run++) {
			struct gate gate = running_gate(rows[i].debounce, 1000 * MS, 5000 * MS);
			if (!held_by_run)
				gate_ended(&gate, 0, false, 0);
			gate_request(&gate, 0, rows[i].urgent);
			struct gate_verdict verdict = gate_tick(&gate, rows[i].now);
			ck_assert(!verdict.start);
			ck_assert_msg(verdict.wakeups_off == rows[i].wakeups_off, "row %zu", i);
			ck_assert_int_gt(verdict.wake_at, rows[i].now);
			if (!held_by_run)
				ck_assert_int_le(verdict.wake_at, 5000 * MS);
			else if (rows[i].now >= 100 * MS || rows[i].debounce == 0 || rows[i].urgent)
				ck_assert_int_eq(verdict.wake_at, GATE_NEVER);
		}
	}
}
END_TEST

START_TEST(p4_min_interval_is_kept_after_every_run)
{
	enum how {
		ASKED,
		URGENT,
		DUE,
		RETRY,
		DELAYED,
		HOWS
	};

	for (int before = 0; before < 2; before++) {
		for (enum how how = ASKED; how < HOWS; how++) {
			struct gate gate = running_gate(100 * MS, 200 * MS, 3000 * MS);
			int64_t end = 500 * MS;
			if (before > 0) { /* the run itself was one that min_interval had delayed */
				gate_request(&gate, 400 * MS, false);
				gate_ended(&gate, end, false, 0);
				ck_assert_int_eq(start_after(&gate, end), end + 3000 * MS);
				end += 4000 * MS;
			}
			if (how == DELAYED)
				gate_request(&gate, end - 1, false);
			gate_ended(&gate, end, how == RETRY, 0);
			if (how == ASKED || how == URGENT)
				gate_request(&gate, end + 1, how == URGENT);
			if (how == DUE)
				gate_due(&gate, end + 1);
			ck_assert_msg(start_after(&gate, end + 1) == end + 3000 * MS,
				      "how %d before %d", (int)how, before);
		}
	}
}
END_TEST

START_TEST(p1_nothing_starts_while_a_run_is_in_progress)
{
	struct gate gate = running_gate(0, 0, 0);

	gate_request(&gate, 1, true);
	gate_due(&gate, 1);
	for (int64_t t = 1; t < GATE_NEVER / 8; t *= 2) {
		struct gate_verdict verdict = gate_tick(&gate, t);
		ck_assert(!verdict.start);
		ck_assert_int_eq(verdict.wake_at, GATE_NEVER);
	}
	ck_assert_int_eq(gate_next_start(&gate), GATE_NEVER);
	gate_ended(&gate, GATE_NEVER / 4, false, 0);
	ck_assert(gate_tick(&gate, GATE_NEVER / 4).start);
}
END_TEST

START_TEST(p3_requests_during_a_run_lead_to_one_more_run)
{
	struct gate gate = running_gate(100 * MS, 1000 * MS, 0);

	for (int64_t t = 1; t <= 50; t++) {
		gate_request(&gate, t * 10 * MS, false);
		ck_assert(!gate_tick(&gate, t * 10 * MS).start);
	}
	gate_ended(&gate, 550 * MS, false, 0);
	ck_assert_int_eq(start_after(&gate, 550 * MS), 600 * MS);
	gate_ended(&gate, 700 * MS, false, 0);
	ck_assert_int_eq(start_after(&gate, 700 * MS), GATE_NEVER);
}
END_TEST

START_TEST(p4_a_window_that_is_over_starts_when_the_run_ends)
{
	struct gate gate = running_gate(100 * MS, 1000 * MS, 0);

	gate_request(&gate, 10 * MS, false);
	gate_ended(&gate, 5000 * MS, false, 0);
	ck_assert(gate_tick(&gate, 5000 * MS).start);
}
END_TEST

START_TEST(urgent_skips_debounce_for_the_window_it_is_in)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);

	gate_request(&gate, 0, false);
	gate_tick(&gate, 0);
	gate_request(&gate, 10 * MS, true);
	gate_request(&gate, 10 * MS, false); /* a request that is not urgent changes nothing */
	ck_assert(gate_tick(&gate, 10 * MS).start);
	gate_ended(&gate, 20 * MS, false, 0);
	gate_request(&gate, 30 * MS, false);
	ck_assert_int_eq(start_after(&gate, 30 * MS), 130 * MS);
}
END_TEST

START_TEST(urgent_skips_backoff_but_not_min_interval)
{
	struct gate gate = running_gate(100 * MS, 1000 * MS, 0);
	struct gate patient = running_gate(100 * MS, 1000 * MS, 70 * MS);

	gate_ended(&gate, 0, true, 0);
	gate_request(&gate, 1 * MS, true);
	ck_assert(gate_tick(&gate, 1 * MS).start);
	gate_ended(&patient, 0, true, 0);
	gate_request(&patient, 1 * MS, true);
	ck_assert_int_eq(start_after(&patient, 1 * MS), 70 * MS);
}
END_TEST

START_TEST(p15_backoff_doubles_up_to_retry_max)
{
	struct gate gate = running_gate(100 * MS, 1000 * MS, 0);
	int64_t now = 0, expected = 100 * MS;

	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(gate_ended(&gate, now, true, 0), expected);
		ck_assert_int_eq(gate_next_start(&gate), now + expected);
		ck_assert_int_eq(start_after(&gate, now), now + expected);
		now += expected;
		expected = expected * 2 < 30000 * MS ? expected * 2 : 30000 * MS;
	}
}
END_TEST

START_TEST(p15_jitter_takes_at_most_half_and_adds_nothing)
{
	static const uint32_t randoms[] = {0, 1, 1000, UINT32_MAX / 2, UINT32_MAX - 1, UINT32_MAX};
	int64_t full = 100 * MS, last = INT64_MAX;

	for (size_t i = 0; i < sizeof(randoms) / sizeof(*randoms); i++) {
		struct gate gate = running_gate(0, 0, 0);
		int64_t pause = gate_ended(&gate, 0, true, randoms[i]);
		ck_assert_int_le(pause, full);
		ck_assert_int_ge(pause, full / 2);
		ck_assert_int_le(pause, last);
		ck_assert_int_eq(gate_next_start(&gate), pause);
		last = pause;
	}
	ck_assert_int_eq(last, full / 2);
}
END_TEST

START_TEST(without_retry_min_nothing_is_tried_again)
{
	struct gate_conf conf = usual;
	struct gate gate;

	conf.retry_min = 0;
	gate_init(&gate, &conf);
	gate_due(&gate, 0);
	ck_assert(gate_tick(&gate, 0).start);
	ck_assert_int_eq(gate_ended(&gate, 1, true, 0), GATE_NEVER);
	ck_assert_int_eq(gate_next_start(&gate), GATE_NEVER);
}
END_TEST

START_TEST(p15_a_request_cuts_the_backoff_short)
{
	struct gate gate = running_gate(100 * MS, 1000 * MS, 0);
	int64_t now = 0;

	for (int i = 0; i < 10; i++) {
		now += gate_ended(&gate, now, true, 0);
		ck_assert(gate_tick(&gate, now).start);
	}
	ck_assert_int_eq(gate_ended(&gate, now, true, 0), 30000 * MS);
	gate_request(&gate, now + MS, false);
	ck_assert_int_eq(start_after(&gate, now + MS), now + 101 * MS);
	/* The run met the retry, too. */
	gate_ended(&gate, now + 200 * MS, false, 0);
	ck_assert_int_eq(gate_next_start(&gate), GATE_NEVER);
}
END_TEST

START_TEST(success_resets_the_backoff)
{
	struct gate gate = running_gate(0, 0, 0);
	int64_t now = 0;

	for (int i = 0; i < 5; i++) {
		now += gate_ended(&gate, now, true, 0);
		ck_assert(gate_tick(&gate, now).start);
	}
	ck_assert_int_eq(gate_ended(&gate, now, false, 0), GATE_NEVER);
	gate_request(&gate, now, false);
	ck_assert(gate_tick(&gate, now).start);
	ck_assert_int_eq(gate_ended(&gate, now, true, 0), 100 * MS);
}
END_TEST

START_TEST(p3_p4_a_due_run_waits_for_the_open_window_and_takes_its_requests_along)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);

	gate_due(&gate, 90 * MS);
	gate_due(&gate, 50 * MS); /* the earliest one wins */
	gate_due(&gate, 70 * MS);
	gate_request(&gate, 0, false);
	gate_request(&gate, 60 * MS, false); /* the second half of a change */
	ck_assert_int_eq(start_after(&gate, 60 * MS), 160 * MS);
	gate_ended(&gate, 170 * MS, false, 0);
	ck_assert_int_eq(start_after(&gate, 170 * MS), GATE_NEVER);
}
END_TEST

START_TEST(p4_a_due_run_waits_no_longer_than_max_delay)
{
	struct gate gate = gate_with(100 * MS, 300 * MS, 0);

	gate_due(&gate, 50 * MS);
	for (int64_t now = 0; now < 300 * MS; now += 20 * MS) {
		ck_assert(!gate_tick(&gate, now).start);
		gate_request(&gate, now, false);
	}
	ck_assert(gate_tick(&gate, 300 * MS).start);
}
END_TEST

START_TEST(p4_a_start_that_failed_is_not_delayed_by_further_requests)
{
	struct gate gate = gate_with(100 * MS, 1000 * MS, 0);

	gate_request(&gate, 0, false);
	ck_assert_int_eq(start_after(&gate, 0), 100 * MS);
	gate_not_started(&gate, 120 * MS); /* the process lock is held elsewhere, say */
	gate_request(&gate, 110 * MS, false);
	ck_assert_int_eq(start_after(&gate, 110 * MS), 120 * MS);
}
END_TEST

START_TEST(a_run_that_becomes_due_during_a_run_follows_it)
{
	struct gate gate = running_gate(100 * MS, 1000 * MS, 0);

	gate_due(&gate, 10 * MS);
	gate_ended(&gate, 20 * MS, false, 0);
	ck_assert(gate_tick(&gate, 20 * MS).start);
}
END_TEST

START_TEST(durations_of_centuries_do_not_wrap)
{
	static const int64_t longs[] = {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2 + 1, INT64_MAX / 2};
	static const int64_t nows[] = {0, 1, INT64_MAX / 2, INT64_MAX - 2};

	for (size_t i = 0; i < 16; i++) {
		int64_t d = longs[i / 4], now = nows[i % 4];
		struct gate_conf conf = {.debounce = d,
					 .max_delay = d,
					 .min_interval = d,
					 .retry_min = d,
					 .retry_max = INT64_MAX};
		struct gate gate;
		gate_init(&gate, &conf);
		gate_request(&gate, now, false);
		struct gate_verdict verdict = gate_tick(&gate, now);
		ck_assert(!verdict.start);
		ck_assert_int_gt(verdict.wake_at, now);
		gate_request(&gate, now, true);
		ck_assert(gate_tick(&gate, now).start);
		for (uint32_t n = 0; n < 5; n++) {
			gate.running = true; /* as if it had been started */
			int64_t pause = gate_ended(&gate, now, true, n * (UINT32_MAX / 4));
			ck_assert_int_ge(pause, d / 2);
			ck_assert_int_gt(gate_next_start(&gate), now);
			ck_assert(!gate_tick(&gate, now).start);
		}
	}
}
END_TEST

START_TEST(p4_min_interval_counts_from_the_return_of_a_callback_that_outlasted_its_run)
{
	struct gate gate = running_gate(0, 0, 50 * MS);

	gate_ended(&gate, 10 * MS, false, 0); /* timed out; its callback is still inside */
	gate_callback_returned(&gate, 200 * MS);
	gate_due(&gate, 200 * MS);
	ck_assert_int_eq(start_after(&gate, 200 * MS), 250 * MS);
}
END_TEST

START_TEST(a_run_that_could_not_start_is_retried_unchanged)
{
	struct gate gate = gate_with(0, 0, 3600000 * MS);

	gate_request(&gate, 5 * MS, false);
	ck_assert(gate_tick(&gate, 5 * MS).start);
	gate_not_started(&gate, 105 * MS);
	ck_assert_int_eq(start_after(&gate, 5 * MS), 105 * MS);
}
END_TEST

SUITE("gate", nothing_asked_for_never_starts, p4_starts_debounce_after_the_newest_request,
      without_debounce_it_starts_at_once, p4_looks_every_quarter_of_the_debounce,
      p4_requests_without_end_start_at_max_delay,
      wakeups_are_off_while_a_request_would_change_nothing, p4_min_interval_is_kept_after_every_run,
      p1_nothing_starts_while_a_run_is_in_progress, p3_requests_during_a_run_lead_to_one_more_run,
      p4_a_window_that_is_over_starts_when_the_run_ends,
      urgent_skips_debounce_for_the_window_it_is_in, urgent_skips_backoff_but_not_min_interval,
      p15_backoff_doubles_up_to_retry_max, p15_jitter_takes_at_most_half_and_adds_nothing,
      without_retry_min_nothing_is_tried_again, p15_a_request_cuts_the_backoff_short,
      success_resets_the_backoff,
      p3_p4_a_due_run_waits_for_the_open_window_and_takes_its_requests_along,
      p4_a_due_run_waits_no_longer_than_max_delay,
      p4_a_start_that_failed_is_not_delayed_by_further_requests,
      a_run_that_becomes_due_during_a_run_follows_it, durations_of_centuries_do_not_wrap,
      p4_min_interval_counts_from_the_return_of_a_callback_that_outlasted_its_run,
      a_run_that_could_not_start_is_retried_unchanged)
