/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door alone, under load: threads that make requests, and one that closes their batches, all
 * as fast as possible. */
#include "request/request.h"

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "stress/litmus.h"
#include "support/support.h"

#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
#define REQUESTS 20000 /* of each asker */
#define SHUTS 20
#else
#define REQUESTS 200000
#define SHUTS 200
#endif

static struct request_door door;

static uint64_t ask_the_door(const char *reason)
{
	return request_enter(&door, 0, reason);
}

static void open_door(void)
{
	request_init(&door, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	ck_assert_int_ge(door.wake_fd, 0);
}

/* Closes one batch after another, each as soon as there is a request in it. Returns the number
 * of their requests. */
static uint64_t close_until_they_leave(void)
{
	struct request_batch batch;
	uint64_t total = 0, newest = 0;
	unsigned idle = 0;
	uint32_t flags;

	for (;;) {
		bool last = !askers_at_work();
		if (newest % 4 == 1)
			request_look(&door, &flags); /* some batches wake no thread */
		if (!request_close(&door, &batch)) {
			if (last)
				return total;
			if (++idle % 1000 == 0)
				sched_yield(); /* there may be one core for all of us */
			continue;
		}
		ck_assert_uint_eq(batch.ticket, ++newest);
		ck_assert_uint_ge(batch.requests, 1);
		ck_assert_msg(askers_look(batch.ticket),
			      "batch %llu does not show what was written",
			      (unsigned long long)batch.ticket);
		ck_assert_msg(askers_gave(batch.reason, batch.ticket),
			      "not a reason of batch %llu: %s", (unsigned long long)batch.ticket,
			      batch.reason);
		askers_counted(batch.ticket, batch.requests);
		total += batch.requests;
	}
}

/* The looker, if a request is in. Returns the number of requests. */
static uint64_t close_one(uint64_t *closed)
{
	struct request_batch batch;

	if (!request_close(&door, &batch))
		return 0;
	*closed = batch.ticket;
	ck_assert(askers_look(batch.ticket));
	askers_counted(batch.ticket, batch.requests);
	return batch.requests;
}

/* After all that, the places of the reasons are free. */
static void assert_reasons_still_arrive(void)
{
	struct request_batch batch;

	for (int i = 0; i < 4; i++) {
		char reason[] = {(char)('A' + i), '\0'};
		request_enter(&door, 0, reason);
		ck_assert(request_close(&door, &batch));
		/* The first two find what was left behind, and take it away. */
		ck_assert(i < 2 || strcmp(batch.reason, reason) == 0);
	}
}

static void fire(bool interrupted)
{
	open_door();
	askers_start(ask_the_door, REQUESTS, interrupted);
	uint64_t total = close_until_they_leave();
	ck_assert_uint_eq(askers_join(), total);
	/* Those who noted their ticket only now. */
	ck_assert(askers_look(request_issued(&door, NULL)));
	askers_check();
	assert_reasons_still_arrive();
	close(door.wake_fd);
}

START_TEST(p2_closing_a_batch_shows_what_its_requesters_wrote)
{
	for (int i = 0; i < repeat(1); i++)
		fire(false);
}
END_TEST

START_TEST(p2_so_does_closing_with_signal_handlers_a_thousand_times_a_second)
{
	for (int i = 0; i < repeat(1); i++)
		fire(true);
}
END_TEST

/* As if 65535 requests were made and the loop had seen it: from here on a request is a load, if
 * the system supports it. */
static void crowd(void)
{
	atomic_fetch_or_explicit(&door.word,
				 REQUEST_COUNT_MAX | REQUEST_PENDING | REQUEST_SEEN | REQUEST_FRESH,
				 memory_order_relaxed);
}

static uint64_t ask_plainly(const char *reason)
{
	(void)reason;
	return request_enter(&door, 0, NULL);
}

static void fire_at_a_crowd(bool interrupted)
{
	struct request_batch batch;
	uint64_t newest = 0;
	unsigned idle = 0;

	open_door();
	crowd();
	askers_start(ask_plainly, REQUESTS, interrupted);
	for (bool last = false; !last;) {
		last = !askers_at_work();
		if (askers_newest() <= newest && !last) { /* no request is known to be in */
			if (++idle % 1000 == 0)
				sched_yield(); /* there may be one core for all of us */
			continue;
		}
		ck_assert(request_close(&door, &batch));
		ck_assert_uint_eq(batch.ticket, ++newest);
		ck_assert_msg(askers_look(batch.ticket),
			      "batch %llu does not show what was written",
			      (unsigned long long)batch.ticket);
		crowd();
	}
	askers_join();
	/* Those who noted their ticket only now. */
	ck_assert(askers_look(request_issued(&door, NULL)));
	askers_check_uncounted();
	close(door.wake_fd);
}

START_TEST(p2_closing_a_saturated_batch_shows_what_was_written_before_a_load)
{
	for (int i = 0; i < repeat(1); i++) {
		fire_at_a_crowd(false);
		fire_at_a_crowd(true);
	}
}
END_TEST

/* ---- One against one, in step ---- */

#define DUELS (REQUESTS / 2)
#define LINES 8

/* A line each. Written by one, and read by the other the round before: so writing takes its time,
 * and a load overtakes it. */
static struct {
	_Alignas(64) _Atomic uint64_t round;  /* begun by the closer */
	_Alignas(64) _Atomic uint64_t ticket; /* of this round's request; 0: not yet */
	struct {
		_Alignas(64) _Atomic uint64_t written; /* relaxed, the last one last */
	} lines[LINES];
} duel;

static uint64_t await_other_than(_Atomic uint64_t *number, uint64_t old)
{
	uint64_t now;

	for (unsigned spins = 1; (now = atomic_load_explicit(number, memory_order_acquire)) == old;
	     spins++) {
		if (spins % 1000 == 0)
			sched_yield();
	}
	return now;
}

static void *write_and_ask(void *argument)
{
	for (uint64_t round = 0; round < DUELS;) {
		round = await_other_than(&duel.round, round);
		for (int i = 0; i < LINES; i++)
			atomic_store_explicit(&duel.lines[i].written, round, memory_order_relaxed);
		atomic_store_explicit(&duel.ticket, request_enter(&door, 0, NULL),
				      memory_order_release);
	}
	return argument;
}

/* False: what was written before the request that the batch has was not there. */
static bool close_and_look(uint64_t round)
{
	struct request_batch batch = {0};
	uint64_t seen = 0;

	atomic_store_explicit(&duel.ticket, 0, memory_order_relaxed);
	crowd();
	atomic_store_explicit(&duel.round, round, memory_order_release);
	for (uint64_t moments = round % 128; moments > 0; moments--)
		__asm__ volatile("" ::: "memory");
	request_close(&door, &batch);
	for (int i = LINES - 1; i >= 0; i--) {
		uint64_t its = atomic_load_explicit(&duel.lines[i].written, memory_order_relaxed);
		seen = i == LINES - 1 ? its : seen;
	}
	return await_other_than(&duel.ticket, 0) != batch.ticket || seen == round;
}

START_TEST(p2_a_load_is_not_answered_before_what_was_written_is_there)
{
	pthread_t asker;

	for (int i = 0; i < repeat(1); i++) {
		uint64_t missed = 0;
		open_door();
		memset(&duel, 0, sizeof(duel));
		ck_assert_int_eq(pthread_create(&asker, NULL, write_and_ask, NULL), 0);
		for (uint64_t round = 1; round <= DUELS; round++)
			missed += !close_and_look(round);
		pthread_join(asker, NULL);
		ck_assert_msg(missed == 0,
			      "%llu of %d runs would not have seen what was written before asking",
			      (unsigned long long)missed, DUELS);
		close(door.wake_fd);
	}
}
END_TEST

START_TEST(p6_shut_at_any_instant_no_ticket_is_left_without_its_batch)
{
	for (int i = 0; i < repeat(SHUTS); i++) {
		uint64_t total = 0, closed = 0, more;
		open_door();
		askers_start(ask_the_door, 2000, i % 2);
		for (int moments = i % 20 * 20; moments > 0; moments--)
			total += close_one(&closed);
		uint64_t last = request_shut(&door);
		while ((more = close_one(&closed)) > 0)
			total += more;
		ck_assert_uint_eq(closed, last);
		ck_assert_uint_eq(askers_join(), total);
		ck_assert(askers_look(closed)); /* those who noted their ticket only now */
		askers_check();
		close(door.wake_fd);
	}
}
END_TEST

SUITE("door", p2_closing_a_batch_shows_what_its_requesters_wrote,
      p2_so_does_closing_with_signal_handlers_a_thousand_times_a_second,
      p2_closing_a_saturated_batch_shows_what_was_written_before_a_load,
      p2_a_load_is_not_answered_before_what_was_written_is_there,
      p6_shut_at_any_instant_no_ticket_is_left_without_its_batch)
