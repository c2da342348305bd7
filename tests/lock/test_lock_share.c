/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* lock_share: processes that ask together get one run and one outcome; with real processes. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock/lock_world.h"

#define SHARE "lock_share=yes "

/* Each run writes a line, so that they can be counted over all processes. */
static int runs_so_far(void)
{
	FILE *file = fopen(world_path("runs"), "re");
	int count = 0, character;

	while (file != NULL && (character = fgetc(file)) != EOF)
		count += character == '\n';
	if (file != NULL)
		fclose(file);
	return count;
}

/* So many requests are in the batch that is open. */
static bool are_in(int requests)
{
	char text[512] = "", words[32];
	int fd = open(world_path("lock"), O_RDONLY | O_CLOEXEC);
	bool in = fd >= 0 && pread(fd, text, sizeof(text) - 1, 8192) > 0;

	snprintf(words, sizeof(words), ": %d requests", requests);
	if (fd >= 0)
		close(fd);
	return in && strstr(text, words) != NULL;
}

static void hangs(struct guest *guest)
{
	atomic_store(&guest->hold, true);
	guest_asks(guest);
}

/* All of them enter while another process holds the lock, and that process is then killed.
 * Returns how many runs this made. */
static int together(void (*what)(struct guest *guest), int count, const char *more)
{
	pid_t holder = process(hangs, SHARE, NULL), others[8];

	EVENTUALLY(is_inside());
	int before = runs_so_far();
	for (int i = 0; i < count; i++)
		others[i] = process(what, more, i % 2 == 0 ? "thread=yes" : "thread=no");
	EVENTUALLY(are_in(count));
	kill(holder, SIGKILL);
	ends(holder);
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(ends(others[i]), 0);
	return runs_so_far() - before;
}

static void asks_for_seven(struct guest *guest)
{
	atomic_store(&guest->status, 7);
	struct safestart_outcome outcome = guest_asks(guest);
	guest->failed = outcome.verdict != SAFESTART_APPLIED || outcome.status != 7 ||
			outcome.pid == 0 || outcome.requests < 8;
}

START_TEST(p3_processes_that_ask_together_are_one_run_with_one_answer)
{
	for (int i = 0; i < repeat(3); i++)
		ck_assert_int_eq(together(asks_for_seven, 8, SHARE), 1);
}
END_TEST

static void asks_for_quiet(struct guest *guest)
{
	guest->stamps = true;
	for (int i = 0; i < 3; i++) {
		int asked = (int)(now_ms() & 0x3fffffff);
		struct safestart_outcome outcome = guest_asks(guest);
		if (outcome.status < asked) /* the milliseconds have started from 0 again */
			continue;
		guest->failed = guest->failed || outcome.verdict != SAFESTART_APPLIED ||
				outcome.status < asked + 99;
	}
}

START_TEST(p4_no_shared_run_begins_before_it_has_been_quiet_for_debounce)
{
	pid_t others[30];

	for (int round = 0; round < repeat(1); round++) {
		for (size_t i = 0; i < 30; i++)
			others[i] = process(asks_for_quiet, SHARE "debounce=100ms max_delay=1h",
					    "thread=no");
		for (size_t i = 0; i < 30; i++)
			ck_assert_int_eq(ends(others[i]), 0);
	}
}
END_TEST

static void asks_often(struct guest *guest)
{
	for (int i = 0; i < repeat(20); i++) {
		struct safestart_outcome outcome = guest_asks(guest);
		guest->failed = guest->failed || outcome.verdict != SAFESTART_APPLIED;
	}
}

/* Between any two writes of it, the file has to be read by a run that began afterwards. */
START_TEST(p1_shared_runs_never_overlap_and_no_request_is_forgotten)
{
	pid_t others[6];

	for (size_t i = 0; i < 6; i++)
		others[i] =
			process(asks_often, SHARE,
				i % 2 == 0 ? "thread=yes debounce=0" : "thread=no debounce=2ms");
	for (size_t i = 0; i < 6; i++)
		ck_assert_int_eq(ends(others[i]), 0);
}
END_TEST

START_TEST(p2_a_run_that_had_begun_before_does_not_answer)
{
	struct guest *one = guest_here(SHARE), *two = guest_here(SHARE);

	for (int i = 0; i < 5; i++) {
		atomic_store(&one->hold, true);
		uint64_t first = safestart_request_restart(one->ss);
		EVENTUALLY(is_inside());
		uint64_t second = safestart_request_restart(two->ss);
		EVENTUALLY(status_says(two->ss, "\"state\":\"waiting\""));
		int before = atomic_load(&one->restarts) + atomic_load(&two->restarts);
		atomic_store(&one->hold, false);
		ck_assert_int_eq(answer(one->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
		ck_assert_int_ge(atomic_load(&one->restarts) + atomic_load(&two->restarts),
				 before + 2);
	}
	ck_assert(!one->overlapped && !two->overlapped);
	guest_leaves(one);
	guest_leaves(two);
}
END_TEST

START_TEST(p2_requests_that_come_while_the_batch_waits_are_in_it_and_later_ones_are_not_lost)
{
	struct guest *one = guest_here(SHARE), *two = guest_here(SHARE "debounce=20ms");

	for (int i = 0; i < 10; i++) {
		atomic_store(&one->hold, true);
		uint64_t first = safestart_request_restart(one->ss);
		EVENTUALLY(is_inside());
		uint64_t tickets[50];
		for (size_t j = 0; j < 50; j++) {
			tickets[j] = safestart_request_restart(j % 2 == 0 ? one->ss : two->ss);
			if (j % 16 == 15)
				pause_a_moment();
			if (j == 25)
				atomic_store(&one->hold, false);
		}
		for (size_t j = 0; j < 50; j++)
			ck_assert_int_eq(answer(j % 2 == 0 ? one->ss : two->ss, tickets[j]).verdict,
					 SAFESTART_APPLIED);
		answer(one->ss, first);
	}
	ck_assert(!one->overlapped && !two->overlapped);
	guest_leaves(one);
	guest_leaves(two);
}
END_TEST

static void fails(struct guest *guest)
{
	atomic_store(&guest->result, -EIO);
	struct safestart_outcome outcome = guest_asks(guest);
	guest->failed = outcome.verdict != SAFESTART_FAILED || outcome.error != -EIO ||
			strcmp(outcome.message, "restart failed: Input/output error") != 0;
}

START_TEST(p6_every_waiter_gets_a_failure_with_its_error_and_text)
{
	ck_assert_int_eq(together(fails, 4, SHARE "retry_min=0"), 1);
}
END_TEST

START_TEST(p18_a_killed_leaders_batch_is_run_by_the_next)
{
	for (int i = 0; i < repeat(3); i++) {
		pid_t leader = process(hangs, SHARE "name=leader", NULL);
		EVENTUALLY(is_inside());
		pid_t others[4];
		for (size_t j = 0; j < 4; j++)
			others[j] = process(asks_often, SHARE, NULL);
		kill(leader, SIGKILL);
		ends(leader);
		for (size_t j = 0; j < 4; j++)
			ck_assert_int_eq(ends(others[j]), 0);
	}
}
END_TEST

/* Killed at unknown moments: entering, closing, running, writing the outcome, leaving. */
START_TEST(p18_a_process_killed_at_any_moment_leaves_the_others_answered)
{
	unsigned random = 4711;

	for (int i = 0; i < repeat(10); i++) {
		pid_t doomed = process(asks_often, SHARE, NULL), others[2];
		for (size_t j = 0; j < 2; j++)
			others[j] = process(asks_often, SHARE, NULL);
		random = random * 1103515245 + 12345;
		usleep(random / 65536 % 20000);
		kill(doomed, SIGKILL);
		ends(doomed);
		for (size_t j = 0; j < 2; j++)
			ck_assert_int_eq(ends(others[j]), 0);
	}
}
END_TEST

static void shuts_down_inside(struct guest *guest)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	atomic_store(&guest->hold, true);
	uint64_t ticket = safestart_request_restart(guest->ss);
	while (!is_inside())
		pause_a_moment();
	safestart_shutdown(guest->ss);
	safestart_wait(guest->ss, ticket, -1, &outcome);
	guest->failed = outcome.verdict != SAFESTART_CANCELLED;
	atomic_store(&guest->hold, false);
}

static void asks_once(struct guest *guest)
{
	guest->failed = guest_asks(guest).verdict != SAFESTART_APPLIED;
}

START_TEST(p6_a_leader_that_shuts_down_leaves_its_batch_to_the_others)
{
	pid_t other = process(asks_once, SHARE "debounce=1h", NULL);
	EVENTUALLY(are_in(1));
	pid_t leader = process(shuts_down_inside, SHARE "debounce=0", NULL);
	ck_assert_int_eq(ends(leader), 0);
	ck_assert_int_eq(ends(other), 0);
}
END_TEST

START_TEST(p18_a_file_spoilt_in_the_middle_costs_a_run_at_most)
{
	struct guest *one = guest_here(SHARE), *two = guest_here(SHARE);

	for (off_t at = 0; at < 9000; at += 750) {
		atomic_store(&one->hold, true);
		uint64_t first = safestart_request_restart(one->ss);
		EVENTUALLY(is_inside());
		uint64_t second = safestart_request_restart(two->ss);
		EVENTUALLY(status_says(two->ss, "\"state\":\"waiting\""));
		int fd = open(world_path("lock"), O_WRONLY | O_CLOEXEC);
		ck_assert(pwrite(fd, "rubbish", 7, at == 0 ? 20 : at) == 7);
		if (at % 1500 == 0)
			ck_assert_int_eq(ftruncate(fd, at), 0);
		close(fd);
		atomic_store(&one->hold, false);
		ck_assert_int_eq(answer(one->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
	}
	ck_assert(!one->overlapped && !two->overlapped);
	guest_leaves(one);
	guest_leaves(two);
}
END_TEST

START_TEST(p6_waiting_too_long_for_a_shared_run_is_reported_and_retried)
{
	pid_t leader = process(hangs, SHARE "name=leader", NULL);
	EVENTUALLY(is_inside());
	struct guest *guest = guest_here(SHARE "lock_timeout=200ms");
	struct safestart_outcome outcome = answer(guest->ss, safestart_request_restart(guest->ss));
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -EBUSY);
	ck_assert_msg(strstr(outcome.message, "held by leader (pid ") != NULL, "%s",
		      outcome.message);
	kill(leader, SIGKILL);
	ends(leader);
	EVENTUALLY(atomic_load(&guest->restarts) == 1);
	guest_leaves(guest);
}
END_TEST

START_TEST(p18_on_a_full_disk_each_runs_for_itself_and_says_so)
{
	char more[300];

	if (!mount_small_disk()) {
		printf("skipped: no mount to be had (%s)\n", strerror(errno));
		return;
	}
	fill_disk();
	snprintf(more, sizeof(more), SHARE "debounce=100ms lock=%s/lock", small_disk());
	struct guest *one = guest_here(more), *two = guest_here(more);
	for (int i = 0; i < 5; i++) {
		uint64_t first = safestart_request_restart(one->ss),
			 second = safestart_request_restart(two->ss);
		ck_assert_int_eq(answer(one->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
	}
	ck_assert(!one->overlapped && !two->overlapped);
	ck_assert(app_logged(&one->app, "each process makes its own"));
	/* Room again: one run for both. */
	empty_disk();
	int before = atomic_load(&one->restarts) + atomic_load(&two->restarts);
	uint64_t first = safestart_request_restart(one->ss),
		 second = safestart_request_restart(two->ss);
	struct safestart_outcome outcome = answer(one->ss, first);
	ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
	ck_assert_int_le(atomic_load(&one->restarts) + atomic_load(&two->restarts), before + 2);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	guest_leaves(one);
	guest_leaves(two);
	unmount_small_disk();
}
END_TEST

START_TEST(p4_on_a_full_disk_min_interval_is_kept_by_each_for_itself)
{
	char more[300];
	int before = 0;

	if (!mount_small_disk()) {
		printf("skipped: no mount to be had (%s)\n", strerror(errno));
		return;
	}
	fill_disk();
	snprintf(more, sizeof(more), SHARE "min_interval=100ms lock=%s/lock", small_disk());
	struct guest *guest = guest_here(more);
	guest->stamps = true;
	for (int i = 0; i < 4; i++) {
		struct safestart_outcome outcome =
			answer(guest->ss, safestart_request_restart(guest->ss));
		ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
		/* The milliseconds may have started from 0 again. */
		ck_assert(i == 0 || outcome.status < before || outcome.status >= before + 99);
		before = outcome.status;
	}
	ck_assert(app_logged(&guest->app, "each process makes its own"));
	guest_leaves(guest);
	unmount_small_disk();
}
END_TEST

START_TEST(p4_an_urgent_request_ends_the_window_for_all)
{
	struct guest *patient = guest_here(SHARE "debounce=1h max_delay=2h"),
		     *urgent = guest_here(SHARE "debounce=1h max_delay=2h");

	for (int runs = 1; runs <= 2; runs++) {
		uint64_t first = safestart_request_restart(patient->ss);
		EVENTUALLY(are_in(1));
		uint64_t second = safestart_request(urgent->ss, SAFESTART_URGENT, NULL);
		ck_assert_int_eq(answer(urgent->ss, second).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(patient->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(runs_so_far(), runs);
	}
	guest_leaves(patient);
	guest_leaves(urgent);
}
END_TEST

SUITE("lock_share", p4_on_a_full_disk_min_interval_is_kept_by_each_for_itself,
      p4_an_urgent_request_ends_the_window_for_all,
      p3_processes_that_ask_together_are_one_run_with_one_answer,
      p4_no_shared_run_begins_before_it_has_been_quiet_for_debounce,
      p1_shared_runs_never_overlap_and_no_request_is_forgotten,
      p2_a_run_that_had_begun_before_does_not_answer,
      p2_requests_that_come_while_the_batch_waits_are_in_it_and_later_ones_are_not_lost,
      p6_every_waiter_gets_a_failure_with_its_error_and_text,
      p18_a_killed_leaders_batch_is_run_by_the_next,
      p18_a_process_killed_at_any_moment_leaves_the_others_answered,
      p6_a_leader_that_shuts_down_leaves_its_batch_to_the_others,
      p18_a_file_spoilt_in_the_middle_costs_a_run_at_most,
      p6_waiting_too_long_for_a_shared_run_is_reported_and_retried,
      p18_on_a_full_disk_each_runs_for_itself_and_says_so)
