/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bare door under fire: nothing between the requesters and whoever closes their batches, as fast as both can. */
#include "request.h"

#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "litmus.h"
#include "support.h"

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

/* Closes one batch after another, each as soon as somebody is in it. Returns the requests they had. */
static uint64_t close_until_they_leave(void)
{
	struct request_batch batch;
	uint64_t total = 0, newest = 0;
	unsigned idle = 0;
	uint32_t flags;

	for (;;) {
		bool last = !askers_at_work();
		if (newest % 4 == 1)
			request_look(&door, &flags); /* some batches wake nobody */
		if (!request_close(&door, &batch)) {
			if (last)
				return total;
			if (++idle % 1000 == 0)
				sched_yield(); /* there may be one core for all of us */
			continue;
		}
		ck_assert_uint_eq(batch.ticket, ++newest);
		ck_assert_uint_ge(batch.requests, 1);
		ck_assert_msg(askers_look(batch.ticket), "batch %llu does not show what was written", (unsigned long long)batch.ticket);
		ck_assert_msg(askers_gave(batch.reason, batch.ticket), "not a reason of batch %llu: %s", (unsigned long long)batch.ticket, batch.reason);
		askers_counted(batch.ticket, batch.requests);
		total += batch.requests;
	}
}

/* The looker, if anybody is in. Returns the requests. */
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
		ck_assert(i < 2 || strcmp(batch.reason, reason) == 0); /* the first two find what was left behind, and take it away */
	}
}

static void fire(bool interrupted)
{
	open_door();
	askers_start(ask_the_door, REQUESTS, interrupted);
	uint64_t total = close_until_they_leave();
	ck_assert_uint_eq(askers_join(), total);
	ck_assert(askers_look(request_issued(&door, NULL))); /* those who noted their ticket only now */
	askers_check();
	assert_reasons_still_arrive();
	close(door.wake_fd);
}

START_TEST(p2_who_closes_a_batch_sees_what_its_requesters_wrote)
{
	for (int i = 0; i < repeat(1); i++)
		fire(false);
}
END_TEST

START_TEST(p2_so_does_who_is_asked_by_signal_handlers_a_thousand_times_a_second)
{
	for (int i = 0; i < repeat(1); i++)
		fire(true);
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

SUITE("door", p2_who_closes_a_batch_sees_what_its_requesters_wrote, p2_so_does_who_is_asked_by_signal_handlers_a_thousand_times_a_second,
      p6_shut_at_any_instant_no_ticket_is_left_without_its_batch)
