/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The shared batch of several processes, in made-up time: the pure part of lock_share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lock/share.h"
#include "support/support.h"

#define MS INT64_C(1000000)
#define BOOT 77

static const struct share_conf conf = {.debounce = 100 * MS, .max_delay = 300 * MS};

/* A file and its bytes: everything goes through them, as between processes. */
struct world {
	char open[SHARE_OPEN_SIZE], done[SHARE_DONE_SIZE];
};

static struct share_verdict looks(struct world *world, const struct share_me *me, int64_t now,
				  struct share_done *done)
{
	struct share_open open;

	share_read_open(&open, world->open);
	share_read_done(done, world->done);
	return share_decide(&open, done, me, &conf, now);
}

static int does(struct world *world, const struct share_me *me, int64_t now)
{
	struct share_done done;

	return (int)looks(world, me, now, &done).action;
}

static void enters(struct world *world, struct share_me *me, uint64_t requests, int64_t now)
{
	struct share_open open;
	struct share_done done;

	share_read_open(&open, world->open);
	share_read_done(&done, world->done);
	me->boot = BOOT;
	share_enter(&open, &done, me, requests, false, now, 4711 + (uint64_t)now);
	share_print_open(&open, world->open);
}

static uint64_t leads(struct world *world, uint64_t *requests)
{
	struct share_open open;
	struct share_done done;

	share_read_open(&open, world->open);
	share_read_done(&done, world->done);
	uint64_t sequence = share_close(&open, &done, requests);
	share_print_open(&open, world->open);
	return sequence;
}

static void ended(struct world *world, uint64_t id, uint64_t sequence, int status, int64_t now)
{
	struct share_done done;
	struct share_outcome outcome = {.sequence = sequence,
					.requests = 3,
					.verdict = SAFESTART_APPLIED,
					.status = status,
					.pid = 4711};

	strcpy(outcome.message, "restart carried out: all of it");
	share_read_done(&done, world->done);
	share_publish(&done, id, &outcome, now);
	share_print_done(&done, world->done);
}

static int leaves_with(struct world *world, const struct share_me *me, int64_t now)
{
	struct share_done done;
	struct share_verdict verdict = looks(world, me, now, &done);

	ck_assert_int_eq(verdict.action, SHARE_LEAVE);
	return verdict.outcome->status;
}

START_TEST(p3_requests_of_two_processes_are_one_batch)
{
	struct world world = {0};
	struct share_me one = {0}, two = {0};
	uint64_t requests;

	ck_assert_int_eq(does(&world, &one, 0), SHARE_ENTER);
	enters(&world, &one, 1, 1000 * MS);
	ck_assert_int_eq(does(&world, &one, 1099 * MS), SHARE_WAIT);
	enters(&world, &two, 2, 1050 * MS);
	ck_assert_uint_eq(one.sequence, two.sequence);
	ck_assert_uint_eq(one.id, two.id);
	ck_assert_int_eq(does(&world, &one, 1149 * MS), SHARE_WAIT);
	ck_assert_int_eq(does(&world, &one, 1150 * MS), SHARE_LEAD);
	ck_assert_int_eq(does(&world, &two, 1150 * MS), SHARE_LEAD);
	ck_assert_uint_eq(leads(&world, &requests), one.sequence);
	ck_assert_uint_eq(requests, 3);
	ended(&world, one.id, one.sequence, 5, 1200 * MS);
	ck_assert_int_eq(leaves_with(&world, &two, 1200 * MS), 5);
	ck_assert_int_eq(leaves_with(&world, &one, 1200 * MS), 5);
}
END_TEST

START_TEST(p4_the_window_ends_at_max_delay_and_urgent_ends_it_at_once)
{
	struct world world = {0};
	struct share_me me = {0};
	struct share_open open;
	struct share_done done;

	for (int64_t at = 0; at < 300; at += 50)
		enters(&world, &me, 1, (1000 + at) * MS);
	struct share_verdict verdict = looks(&world, &me, 1299 * MS, &done);
	ck_assert_int_eq(verdict.action, SHARE_WAIT);
	ck_assert_int_eq(verdict.at, 1300 * MS);
	ck_assert_int_eq(does(&world, &me, 1300 * MS), SHARE_LEAD);
	enters(&world, &me, 1, 1299 * MS);
	share_read_open(&open, world.open);
	share_read_done(&done, world.done);
	share_enter(&open, &done, &me, 1, true, 1299 * MS, 1);
	ck_assert_int_eq(share_decide(&open, &done, &me, &conf, 1299 * MS).action, SHARE_LEAD);
}
END_TEST

START_TEST(p2_a_request_during_a_run_is_in_the_next)
{
	struct world world = {0};
	struct share_me one = {0}, two = {0};
	uint64_t requests;

	enters(&world, &one, 1, 1000 * MS);
	leads(&world, &requests);
	enters(&world, &two, 1, 1200 * MS);
	ck_assert_uint_gt(two.sequence, one.sequence);
	ended(&world, one.id, one.sequence, 5, 1300 * MS);
	ck_assert_int_eq(leaves_with(&world, &one, 1300 * MS), 5);
	ck_assert_int_eq(does(&world, &two, 1300 * MS), SHARE_LEAD); /* its window is over */
	ck_assert_uint_eq(leads(&world, &requests), two.sequence);
	ck_assert_uint_eq(requests, 1);
}
END_TEST

START_TEST(p18_a_leader_that_died_leaves_its_batch_to_the_next)
{
	struct world world = {0};
	struct share_me dead = {0}, one = {0}, late = {0};
	uint64_t requests;

	enters(&world, &dead, 1, 1000 * MS);
	enters(&world, &one, 2, 1000 * MS);
	leads(&world, &requests);
	enters(&world, &late, 4, 1010 * MS);
	/* At once, if LOCK_RUN is free. */
	ck_assert_int_eq(does(&world, &one, 1011 * MS), SHARE_LEAD);
	ck_assert_int_eq(does(&world, &late, 1011 * MS), SHARE_WAIT);
	uint64_t sequence = leads(&world, &requests);
	ck_assert_uint_eq(requests, 7);
	/* All requests so far are covered by the run that begins now. */
	ck_assert_uint_ge(sequence, late.sequence);
	ended(&world, one.id, sequence, 6, 1050 * MS);
	ck_assert_int_eq(leaves_with(&world, &one, 1050 * MS), 6);
	ck_assert_int_eq(leaves_with(&world, &late, 1050 * MS), 6);
}
END_TEST

START_TEST(p6_the_answer_is_that_of_the_first_run_that_covered_it_or_the_first_still_known)
{
	struct world world = {0};
	struct share_me me = {0}, other = {0};
	uint64_t requests;

	for (int i = 0; i < 200; i++) {
		if (i == 3)
			enters(&world, &me, 1, i * 1000 * MS);
		enters(&world, &other, 1, i * 1000 * MS);
		uint64_t sequence = leads(&world, &requests);
		ended(&world, other.id, sequence, i, i * 1000 * MS);
		struct share_done done;
		share_read_done(&done, world.done);
		ck_assert_uint_gt(done.count, i < 8 ? (size_t)i : 8);
		if (i >= 3) {
			int oldest = done.outcomes[done.count - 1].status;
			ck_assert_int_eq(leaves_with(&world, &me, i * 1000 * MS),
					 oldest > 3 ? oldest : 3);
		}
	}
}
END_TEST

START_TEST(p4_min_interval_is_kept_from_the_end_of_any_process_run)
{
	const struct share_conf slow = {.min_interval = 500 * MS};
	struct world world = {0};
	struct share_me one = {0}, two = {0};
	struct share_open open;
	struct share_done done;
	uint64_t requests;

	enters(&world, &one, 1, 1000 * MS);
	ended(&world, one.id, leads(&world, &requests), 0, 1100 * MS);
	enters(&world, &two, 1, 1200 * MS);
	share_read_open(&open, world.open);
	share_read_done(&done, world.done);
	struct share_verdict verdict = share_decide(&open, &done, &two, &slow, 1599 * MS);
	ck_assert_int_eq(verdict.action, SHARE_WAIT);
	ck_assert_int_eq(verdict.at, 1600 * MS);
	ck_assert_int_eq(share_decide(&open, &done, &two, &slow, 1600 * MS).action, SHARE_LEAD);
}
END_TEST

START_TEST(p15_a_retry_is_content_with_a_run_that_others_have_made_since)
{
	struct world world = {0};
	struct share_me one = {0}, two = {0};
	uint64_t requests;

	enters(&world, &one, 1, 1000 * MS);
	two = one;
	ended(&world, one.id, leads(&world, &requests), 1, 1100 * MS);
	one.seen = two.seen = one.sequence;
	one.sequence = two.sequence = 0;
	one.retries = two.retries = true;
	ck_assert_int_eq(does(&world, &one, 1200 * MS), SHARE_ENTER);
	enters(&world, &one, 0, 1200 * MS);
	ended(&world, one.id, leads(&world, &requests), 2, 1300 * MS);
	ck_assert_int_eq(leaves_with(&world, &two, 1300 * MS), 2);
	two.retries = false; /* there was a request since */
	ck_assert_int_eq(does(&world, &two, 1300 * MS), SHARE_ENTER);
}
END_TEST

START_TEST(p18_whatever_happens_to_the_bytes_a_waiting_process_enters_again)
{
	struct world world = {0}, broken;
	struct share_me me = {0};
	uint64_t requests;

	enters(&world, &me, 1, 1000 * MS);
	for (size_t i = 0; i < sizeof(world.open); i++) {
		broken = world;
		broken.open[i] ^= 1;
		if (strnlen(world.open, sizeof(world.open)) >= i)
			ck_assert_msg(does(&broken, &me, 1001 * MS) == SHARE_ENTER, "byte %zu", i);
	}
	struct share_me before = me;
	broken = world;
	memset(broken.open, 0, sizeof(broken.open));
	enters(&broken, &me, 1, 1100 * MS);
	ck_assert_uint_ne(me.id, before.id);
	ck_assert_int_eq(does(&broken, &before, 1101 * MS), SHARE_ENTER); /* sound, but another */
	/* The run of the lost state answers no request of the new state, but still its own. */
	uint64_t sequence = me.sequence;
	ended(&broken, before.id, before.sequence, 9, 1150 * MS);
	ck_assert_int_eq(does(&broken, &me, 1160 * MS), SHARE_WAIT);
	ck_assert_int_eq(leaves_with(&broken, &before, 1160 * MS), 9);
	ck_assert_uint_eq(leads(&broken, &requests), sequence);
	ended(&broken, me.id, sequence, 10, 1250 * MS);
	ck_assert_int_eq(leaves_with(&broken, &me, 1250 * MS), 10);
	/* An outcome that can't be read was none: one run more. */
	broken.done[100] ^= 1;
	ck_assert_int_eq(does(&broken, &me, 1260 * MS), SHARE_LEAD);
}
END_TEST

START_TEST(p8_a_state_of_another_boot_or_another_clock_delays_no_run)
{
	struct world world = {0};
	struct share_me old = {0}, me = {0};

	enters(&world, &old, 1, 9000000 * MS);
	me.boot = BOOT + 1;
	me.id = old.id;
	me.sequence = old.sequence;
	ck_assert_int_eq(does(&world, &me, 1000 * MS), SHARE_ENTER);
	/* Times to come are another clock's. */
	ck_assert_int_eq(does(&world, &old, 1000 * MS), SHARE_LEAD);
}
END_TEST

/* Two kernels over one file system: to each the other's state is that of an earlier boot. */
START_TEST(p4_a_state_that_is_lost_again_and_again_delays_no_longer_than_max_delay)
{
	struct world world = {0};
	struct share_me me[2] = {{.boot = 1}, {.boot = 2}};
	struct share_open open;
	struct share_done done;
	int64_t now = 1000 * MS;
	int action;

	do { /* each looks before its window is over */
		share_read_open(&open, world.open);
		share_read_done(&done, world.done);
		if (share_decide(&open, &done, &me[now / MS / 20 % 2], &conf, now).action ==
		    SHARE_ENTER)
			share_enter(&open, &done, &me[now / MS / 20 % 2], 1, false, now,
				    (uint64_t)now);
		action = (int)share_decide(&open, &done, &me[now / MS / 20 % 2], &conf, now).action;
		share_print_open(&open, world.open);
		now += 20 * MS;
	} while (action != SHARE_LEAD && now < 5000 * MS);
	ck_assert_int_eq(action, SHARE_LEAD);
	ck_assert_int_le(now, (1000 + 300 + 40) * MS);
}
END_TEST

START_TEST(p18_outcomes_of_no_state_answer_nobody)
{
	struct share_me me = {.retries = true};
	struct share_open open = {0};
	struct share_outcome outcome = {.sequence = 7, .verdict = SAFESTART_APPLIED};
	struct share_done done = {.ended = 5, .count = 1}; /* id 0: not valid */
	char bytes[SHARE_DONE_SIZE];

	done.outcomes[0] = outcome;
	share_print_done(&done, bytes);
	share_read_done(&done, bytes);
	ck_assert_uint_eq(done.count, 0);
	/* It has never entered, so its own id is 0, too. */
	ck_assert_int_eq(share_decide(&open, &done, &me, &conf, 1000).action, SHARE_ENTER);
}
END_TEST

START_TEST(words_survive_as_they_are_and_never_forge_a_line)
{
	struct share_done done = {.id = 1, .ended = 5}, back;
	char bytes[SHARE_DONE_SIZE];

	for (int i = 0; i < SHARE_KEPT + 5; i++) {
		struct share_outcome outcome = {.sequence = (uint64_t)i + 1,
						.requests = 1,
						.verdict = SAFESTART_FAILED,
						.error = -5,
						.status = -1,
						.pid = 1};
		memset(outcome.message, 'x', sizeof(outcome.message) - 1);
		memcpy(outcome.message, "a\nb\303\244", 5);
		share_publish(&done, 1, &outcome, 5);
	}
	share_print_done(&done, bytes);
	share_read_done(&back, bytes);
	ck_assert_uint_ge(back.count, 8);
	ck_assert_uint_eq(back.count, done.count);
	for (size_t i = 0; i < back.count; i++) {
		ck_assert_mem_eq(back.outcomes[i].message, "a?b\303\244x", 6);
		ck_assert_uint_eq(strlen(back.outcomes[i].message), 255);
		ck_assert_int_eq(back.outcomes[i].error, -5);
		ck_assert_int_eq(back.outcomes[i].status, -1);
		ck_assert_int_eq(back.outcomes[i].verdict, SAFESTART_FAILED);
	}
}
END_TEST

START_TEST(p6_the_largest_and_the_smallest_status_reach_the_other_processes)
{
	static const int status[] = {INT32_MAX, INT32_MIN};
	struct world world = {0};
	struct share_me one = {0}, two = {0};
	uint64_t requests;

	for (size_t i = 0; i < 2; i++) {
		int64_t now = (int64_t)(i + 1) * 1000 * MS;
		enters(&world, &one, 1, now);
		enters(&world, &two, 1, now);
		ended(&world, one.id, leads(&world, &requests), status[i], now);
		ck_assert_int_eq(leaves_with(&world, &two, now), status[i]);
	}
}
END_TEST

/* ---- Texts with the right checksum, as only another program would write them ---- */

static void forge(char *bytes, size_t size, const char *text)
{
	memset(bytes, 0, size);
	int length = snprintf(bytes, size, "%s", text);
	snprintf(bytes + length, size - (size_t)length, "checksum %016llx\n",
		 (unsigned long long)share_hash(bytes, (size_t)length));
}

#define OPEN_TEXT(batch, first, state)                                                             \
	"\nbatch " batch ": 2 requests, first at " first ", newest at 1000, urgent 0, 0 carried\n" \
	"state " state " of boot 4d\n"

START_TEST(p9_an_open_batch_that_makes_no_sense_counts_as_none)
{
	static const char *const senseless[] = {
		"",
		"\nbatch 3",
		OPEN_TEXT("", "900", "a1"),
		OPEN_TEXT("-3", "900", "a1"),
		OPEN_TEXT("3/", "900", "a1"),
		OPEN_TEXT("3f", "900", "a1"),
		OPEN_TEXT("9223372036854775808", "900", "a1"),
		OPEN_TEXT("3", "x", "a1"),
		OPEN_TEXT("3", "900", "g1"),
		OPEN_TEXT("3", "900", "`1"),
		OPEN_TEXT("3", "900", "A1"),
		OPEN_TEXT("3", "900", "10000000000000000"),
		OPEN_TEXT("3", "900", "a1") "x",
	};
	char bytes[SHARE_OPEN_SIZE];
	struct share_open open;

	forge(bytes, sizeof(bytes), OPEN_TEXT("3", "900", "a1"));
	share_read_open(&open, bytes);
	ck_assert(open.id == 0xa1 && open.sequence == 3 && open.requests == 2);
	for (size_t i = 0; i < sizeof(senseless) / sizeof(senseless[0]); i++) {
		forge(bytes, sizeof(bytes), senseless[i]);
		share_read_open(&open, bytes);
		ck_assert_msg(open.id == 0 && open.sequence == 0, "%s", senseless[i]);
	}
	memset(bytes, 'x', sizeof(bytes)); /* without an end */
	share_read_open(&open, bytes);
	ck_assert_uint_eq(open.id, 0);
	strcpy(bytes, "checksum"); /* too short for one */
	share_read_open(&open, bytes);
	ck_assert_uint_eq(open.id, 0);
}
END_TEST

#define DONE_TEXT(outcomes) "\nstate a1, the last run ended at 5000000\n" outcomes
#define OUTCOME(sequence, verdict, error, message) \
	sequence " " verdict error ", status 0, 1 requests, by pid 7: " message "\n"

START_TEST(p9_outcomes_that_make_no_sense_count_as_none)
{
	static char long_message[400], bytes[SHARE_DONE_SIZE];
	static struct share_done done;

	memset(long_message, 'x', sizeof(long_message));
	snprintf(bytes, sizeof(bytes),
		 DONE_TEXT("7 applied: error 0, status 0, 1 requests, by pid 7: %.300s\n"),
		 long_message);
	char *too_long = strdup(bytes);
	const char *const senseless[] = {
		"\nstate , the last run ended at 5\n",
		"\nstate 0, the last run ended at 5\n" OUTCOME("7", "applied", ": error 0", ""),
		DONE_TEXT("applied"),
		DONE_TEXT("7 applied: error 0, status 0, 1 requests, by pid 7: no end"),
		DONE_TEXT(OUTCOME("7", "well", ": error 0", "")),
		DONE_TEXT(OUTCOME("7", "applied", "- error 0", "")),
		DONE_TEXT(OUTCOME("7", "applied", ": error --5", "")),
		DONE_TEXT(OUTCOME("7", "applied", ": error 2147483648", "")),
		DONE_TEXT(OUTCOME("7", "applied", ": error -2147483649", "")),
		DONE_TEXT(OUTCOME("7", "applied", ": error 0", "")
				  OUTCOME("7", "applied", ": error 0", "")),
		DONE_TEXT(OUTCOME("7", "applied", ": error 0", "")
				  OUTCOME("8", "applied", ": error 0", "")),
		too_long,
	};

	forge(bytes, sizeof(bytes),
	      DONE_TEXT(OUTCOME("8", "failed", ": error -5", "no")
				OUTCOME("7", "applied", ": error 0", "")));
	share_read_done(&done, bytes);
	ck_assert(done.id == 0xa1 && done.count == 2 && done.outcomes[0].error == -5);
	for (size_t i = 0; i < sizeof(senseless) / sizeof(senseless[0]); i++) {
		forge(bytes, sizeof(bytes), senseless[i]);
		share_read_done(&done, bytes);
		ck_assert_msg(done.id == 0 && done.count == 0, "%s", senseless[i]);
	}
	free(too_long);
	/* More than are ever kept. */
	snprintf(bytes, sizeof(bytes), DONE_TEXT("%s"), "");
	for (int i = SHARE_KEPT + 1; i > 0; i--)
		snprintf(bytes + strlen(bytes), sizeof(bytes) - strlen(bytes),
			 "%d applied: error 0, status 0, 1 requests, by pid 7: \n", i);
	char *many = strdup(bytes);
	forge(bytes, sizeof(bytes), many);
	free(many);
	share_read_done(&done, bytes);
	ck_assert_uint_eq(done.count, 0);
}
END_TEST

/* What contradicts itself delays nobody: a new state begins, or a run. */
START_TEST(p4_a_state_that_contradicts_itself_delays_no_run)
{
	const struct share_conf slow = {.min_interval = 500 * MS};
	struct share_me ahead = {.boot = BOOT, .id = 0xa1, .sequence = 9}, me = {.boot = BOOT};
	struct share_open open;
	struct share_done none = {0}, empty = {.id = 0xa1},
			  late = {.id = 0xa1, .ended = 9000 * MS, .count = 1};
	char bytes[SHARE_OPEN_SIZE];

	forge(bytes, sizeof(bytes), OPEN_TEXT("3", "0", "a1"));
	/* It is in a batch that has not been opened yet. */
	share_read_open(&open, bytes);
	ck_assert_int_eq(share_decide(&open, &none, &ahead, &conf, 1000 * MS).action, SHARE_ENTER);
	share_enter(&open, &none, &ahead, 1, false, 1000 * MS, 5);
	ck_assert(open.id == 5 && open.sequence == 1 && open.requests == 1);
	/* Requests without a time. */
	share_read_open(&open, bytes);
	share_enter(&open, &none, &me, 1, false, 1000 * MS, 5);
	ck_assert(open.id == 0xa1 && open.requests == 3 && open.first == 1000 * MS);
	/* A state without an outcome, and one whose run ends in the time to come. */
	late.outcomes[0] = (struct share_outcome){.sequence = 2, .verdict = SAFESTART_APPLIED};
	ck_assert_int_eq(share_decide(&open, &empty, &me, &slow, 1000 * MS).action, SHARE_LEAD);
	ck_assert_int_eq(share_decide(&open, &late, &me, &slow, 1000 * MS).action, SHARE_LEAD);
	late.ended = 900 * MS;
	ck_assert_int_eq(share_decide(&open, &late, &me, &slow, 1000 * MS).action, SHARE_WAIT);
	/* An urgent request among others that are not. */
	share_enter(&open, &none, &me, 1, true, 1001 * MS, 5);
	share_enter(&open, &none, &me, 1, false, 1002 * MS, 5);
	ck_assert_int_eq(share_decide(&open, &none, &me, &conf, 1002 * MS).action, SHARE_LEAD);
}
END_TEST

SUITE("share", p3_requests_of_two_processes_are_one_batch,
      p4_the_window_ends_at_max_delay_and_urgent_ends_it_at_once,
      p2_a_request_during_a_run_is_in_the_next, p18_a_leader_that_died_leaves_its_batch_to_the_next,
      p6_the_answer_is_that_of_the_first_run_that_covered_it_or_the_first_still_known,
      p4_min_interval_is_kept_from_the_end_of_any_process_run,
      p15_a_retry_is_content_with_a_run_that_others_have_made_since,
      p18_whatever_happens_to_the_bytes_a_waiting_process_enters_again,
      p8_a_state_of_another_boot_or_another_clock_delays_no_run,
      p4_a_state_that_is_lost_again_and_again_delays_no_longer_than_max_delay,
      p18_outcomes_of_no_state_answer_nobody, words_survive_as_they_are_and_never_forge_a_line,
      p6_the_largest_and_the_smallest_status_reach_the_other_processes,
      p9_an_open_batch_that_makes_no_sense_counts_as_none,
      p9_outcomes_that_make_no_sense_count_as_none,
      p4_a_state_that_contradicts_itself_delays_no_run)
