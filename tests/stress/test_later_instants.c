/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SAFESTART_LATER at every instant: while a gather, a prepare or a restart is open, other threads
 * finish it, let its deadline pass, shut down, close, request, read, wait, cancel a wait, or fork,
 * exactly at any lock, wake or system call of the library. Every ticket gets one true outcome,
 * data is retired once and never under a reader, close ends, and a child works. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "stress/later_acts.h"
#include "stress/later_schedule.h"
#include "stress/later_world.h"
#include "support/acts.h"
#include "support/chance.h"

/* ---- A thread that waits for the answer ---- */

static struct {
	uint64_t ticket;
	_Atomic bool done;
	_Atomic int result; /* 1: it was cancelled, or could not begin */
	struct safestart_outcome outcome;
} waiter;

static _Thread_local bool in_use;

/* Close may come as soon as it sleeps. */
static void leave_use(void)
{
	in_use = false;
	use_end();
}

static void end_waiting(void *unused)
{
	(void)unused;
	instants_when_waiting(NULL);
	if (in_use)
		leave_use();
	waiter.done = true;
	happened();
}

static void *wait_for_answer(void *unused)
{
	(void)unused;
	in_use = use_begin();
	instants_take_part(true);
	if (!in_use) {
		end_waiting(NULL);
		return NULL;
	}
	pthread_cleanup_push(end_waiting, NULL);
	instants_when_waiting(leave_use);
	waiter.result = safestart_wait(world.ss, waiter.ticket, -1, &waiter.outcome);
	pthread_cleanup_pop(1);
	return NULL;
}

static void begin_waiter(uint64_t ticket)
{
	waiter.ticket = ticket;
	waiter.done = false;
	waiter.result = 1;
	waiter.outcome = (struct safestart_outcome){.size = sizeof(waiter.outcome)};
	pthread_mutex_lock(&world.lock);
	int error = pthread_create(&acts_world.waiter, NULL, wait_for_answer, NULL);
	acts_world.waiter_lives = error == 0;
	pthread_mutex_unlock(&world.lock);
	ck_assert_int_eq(error, 0);
}

/* An answer does not change. */
static void note_answer(uint64_t ticket, const struct safestart_outcome *outcome)
{
	check_outcome(outcome, "wait");
	if (outcome->ticket < ticket)
		wrong("the answer to ticket %d is up to %d", (int)ticket, (int)outcome->ticket);
	for (int i = 0; i < world.ticket_count && i < TICKETS; i++) {
		struct safestart_outcome *before = &world.answers[i];
		if (world.tickets[i] != ticket)
			continue;
		if (before->size != 0 && memcmp(before, outcome, sizeof(*before)) != 0)
			wrong("ticket %d: answered %d, then %d", (int)ticket, before->verdict,
			      outcome->verdict);
		*before = *outcome;
	}
}

/* Returns the result of its wait. */
static int end_waiter(void)
{
	pthread_mutex_lock(&world.lock);
	acts_world.waiter_lives = false;
	pthread_mutex_unlock(&world.lock);
	pthread_join(acts_world.waiter, NULL);
	if (waiter.result < 0)
		wrong("wait said %d", waiter.result);
	if (waiter.result == 0)
		note_answer(waiter.ticket, &waiter.outcome);
	return waiter.result;
}

/* ---- The tester ---- */

static void await_waiter(void)
{
	for (;;) {
		unsigned seen = events_so_far();
		if (waiter.done)
			return;
		if (world.kind.threads)
			finish_what_is_due();
		await_event(seen);
	}
}

/* With thread=no: what is due, and then whatever comes next. No limit: the library has to wake this
 * thread for everything that there is to do. Returns whether the ticket is answered. */
static bool drive_in_use(void)
{
	int result = safestart_dispatch(world.ss, 0); /* it is this thread that drives */

	if (result != -EBUSY)
		result = safestart_wait(world.ss, waiter.ticket, 0, NULL);
	if (result != -ETIMEDOUT)
		return result == 0;
	finish_what_is_due();
	if (!world.kind.waits) {
		(void)safestart_dispatch(world.ss, -1);
		return false;
	}
	result = safestart_wait(world.ss, waiter.ticket, -1, NULL);
	if (result != 0 && result != -EDEADLK) /* there is something to finish meanwhile */
		wrong("the tester's wait said %d", result);
	return result == 0;
}

static void drive(void)
{
	unsigned seen = events_so_far();

	if (waiter.done)
		return;
	if (!use_begin()) { /* somebody closes */
		finish_what_is_due();
		await_event(seen);
		return;
	}
	bool answered = drive_in_use();
	use_end();
	seen = events_so_far();
	if (answered)
		await_waiter();
	else if (world.kind.waits && world.kind.finish == MEANWHILE && laters_open() > 0)
		await_event(seen);
}

/* Until the ticket is answered, or the handle is closed. Returns the verdict, or -1. */
static int serve(uint64_t ticket)
{
	int result;

	do {
		begin_waiter(ticket);
		while (!world.kind.threads && !waiter.done)
			drive();
		await_waiter();
		result = end_waiter();
	} while (result == 1 && !is_closed());
	if (world.kind.finish == TOO_LATE)
		(void)finish_all(world.kind.fails ? -EIO : 0);
	return result == 0 ? waiter.outcome.verdict : -1;
}

/* Returns the ticket; 0: shut down or closed. */
static uint64_t ask(int document)
{
	uint64_t ticket = 0;

	while (!use_begin()) {
		if (is_closed())
			return 0;
	}
	ticket = ask_for(document);
	if (ticket == 0 && !world.shutting)
		wrong("no ticket");
	read_for(0);
	use_end();
	return ticket;
}

/* ---- A life ---- */

/* Whatever has been done: the next good set is live, unless it was shut down. */
static void end_well(void)
{
	world.laters_left = 0;
	if (world.kind.finish != NEVER)
		(void)finish_all(0);
	for (int tries = 0; tries < 1 + ACTS_MAX; tries++) {
		int passes = world.passes;
		uint64_t ticket = ask(2);
		int verdict = ticket != 0 ? serve(ticket) : -1;
		if (verdict == SAFESTART_TIMED_OUT && world.passing > passes)
			continue; /* not by itself */
		if (verdict > SAFESTART_UNCHANGED && !world.shutting)
			wrong("the last set: verdict %d: %s", verdict, waiter.outcome.message);
		break;
	}
	while (!use_begin()) {
		if (is_closed())
			return;
	}
	const char *live = live_ids(world.ss); /* first: an act says so before it interferes */
	if (!world.shutting && !world.interfered && strcmp(live, live_after[2]) != 0)
		wrong("%s is live", live);
	use_end();
}

/* Every ticket is answered by now, or when the newest one is. */
static void collect_answers(void)
{
	uint64_t newest = world.newest_ticket;

	if (newest == 0 || serve(newest) < 0)
		return;
	while (!use_begin()) {
		if (is_closed())
			return;
	}
	for (int i = 0; i < TICKETS && i < world.ticket_count; i++) {
		struct safestart_outcome outcome = {.size = sizeof(outcome)};
		uint64_t ticket = world.tickets[i];
		if (ticket == 0 || ticket > newest)
			continue;
		int result = safestart_wait(world.ss, ticket, 0, &outcome);
		if (result == 0)
			note_answer(ticket, &outcome);
		else
			wrong("ticket %d of %d is not answered: %d", (int)ticket, (int)newest,
			      result);
	}
	use_end();
}

/* Only until there is something to finish. */
static void hurry(void)
{
	for (int i = 0; i < 3 && !world.kind.threads && use_begin(); i++) {
		(void)safestart_dispatch(world.ss, 0);
		use_end();
	}
	for (;;) {
		unsigned seen = events_so_far();
		if (!world.kind.threads || world.later_count > 0 || world.newest_run > 0 ||
		    world.shutting)
			return;
		await_event(seen);
	}
}

static void close_at_last(void)
{
	bool closed = false;

	instants_take_part(true);
	while (!closed) {
		if (close_begin()) {
			closed = close_and_check();
			close_end(closed);
			if (!closed)
				(void)finish_all(0);
		} else {
			closed = is_closed();
		}
	}
	instants_take_part(false);
}

/* Another thread, which finishes; and for as long as somebody closes it lets time pass, so that
 * close gives up what nobody finishes. */
static void *finish(void *unused)
{
	enum finish when = world.kind.finish;

	(void)unused;
	while (!world.over) {
		unsigned seen = events_so_far();
		bool closing = is_closing();
		if (when == BEFORE_RETURN || when == MEANWHILE || (when == BY_TESTER && closing))
			(void)finish_all(world.kind.fails ? -EIO : 0);
		if ((when == TOO_LATE || when == NEVER) && closing && laters_open() > 0) {
			pass_time();
			pause_a_moment();
		} else if (!world.over) {
			await_event(seen);
		}
	}
	return NULL;
}

static void step(int document)
{
	uint64_t ticket = ask(document);

	if (ticket != 0)
		(void)serve(ticket);
}

static void live_through(bool hurries)
{
	instants_take_part(!world.kind.threads);
	if (hurries) {
		(void)ask(0);
		hurry();
	} else {
		step(0);
		step(1);
		end_well();
		collect_answers();
	}
	close_at_last();
}

/* Returns how many instants there were. */
static unsigned live(void)
{
	struct insertion insertions[ACTS_MAX];
	pthread_t finisher;
	bool hurries;

	struct kind kind = schedule_kind(&hurries);
	for (size_t i = 0; i < schedule.count; i++)
		insertions[i] =
			(struct insertion){.at = schedule.insertions[i].at,
					   .act = later_acts[schedule.insertions[i].act].act};
	acts_world.child = schedule.count > 0 ? schedule.insertions[0].at : 0;
	world_open(&kind);
	ck_assert_int_eq(pthread_create(&finisher, NULL, finish, NULL), 0);
	acts_begin(insertions, schedule.count);
	live_through(hurries);
	unsigned instants = acts_end();
	while (acts_in_progress())
		pause_a_moment();
	world.over = true;
	happened();
	pthread_join(finisher, NULL);
	for (int i = 0; i < OWNED && i < world.owned_count; i++)
		safestart_snapshot_release(world.owned[i]);
	world_check();
	ck_assert_msg(what_is_wrong[0] == '\0', "%s; %s", what_is_wrong, schedule_in_words());
	return instants;
}

/* ---- All schedules ---- */

/* SAFESTART_SCHEDULE: that one only. What threads do differs from time to time. */
static bool play_given(void)
{
	const char *given = getenv("SAFESTART_SCHEDULE");

	if (given == NULL)
		return false;
	schedule_set(strtoull(given, NULL, 0));
	for (int i = 0; i < repeat(200); i++)
		(void)live();
	return true;
}

#define SPREAD 97 /* instants from one life to the next */

/* For each kind of application one act after the other, spread over its instants; in a soak again
 * and again, each time at other instants. */
static void play_everywhere(unsigned driver)
{
	unsigned next = 0, most = 0;

	acts_watch(schedule_in_words);
	for (int round = 0; !play_given() && round < repeat(1); round++) {
		for (unsigned kind = driver; kind < KINDS; kind += DRIVERS) {
			schedule = (struct schedule){.kind = kind};
			unsigned instants = live();
			most = instants > most ? instants : most;
			for (unsigned at = 1 + next % SPREAD; at <= instants; at += SPREAD) {
				schedule.count = 1;
				schedule.insertions[0].at = at;
				schedule.insertions[0].act = next++ % (unsigned)later_act_count;
				(void)live();
			}
		}
		next++;
	}
	acts_stop();
	ck_assert_uint_gt(most, 100);
}

START_TEST(p6_anything_at_any_instant_with_threads)
{
	play_everywhere(WITH_THREADS);
}
END_TEST

START_TEST(p6_anything_at_any_instant_with_the_applications_own_loop)
{
	play_everywhere(BY_DISPATCH);
}
END_TEST

START_TEST(p6_anything_at_any_instant_of_a_wait_that_drives)
{
	play_everywhere(BY_WAIT);
}
END_TEST

START_TEST(p6_two_things_at_random_instants)
{
	schedule_seed = chance_seed(20170829);
	chance_begin(schedule_seed);
	acts_watch(schedule_in_words);
	for (int i = 0; !play_given() && i < repeat(400); i++) {
		unsigned at = 1 + below(200);
		schedule = (struct schedule){.kind = below(KINDS), .count = 2};
		schedule.insertions[0].at = at;
		schedule.insertions[0].act = below((unsigned)later_act_count);
		schedule.insertions[1].at = at + below(20);
		schedule.insertions[1].act = below((unsigned)later_act_count);
		(void)live();
	}
	acts_stop();
}
END_TEST

SUITE("later_instants", p6_anything_at_any_instant_with_threads,
      p6_anything_at_any_instant_with_the_applications_own_loop,
      p6_anything_at_any_instant_of_a_wait_that_drives, p6_two_things_at_random_instants)
