/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door: requests from threads and signal handlers on one side, the loop on the other. */
#include "request/request.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "support/support.h"

static struct request_door door;

static void open_door(void)
{
	request_init(&door, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	ck_assert_int_ge(door.wake_fd, 0);
}

static void remove_door(void)
{
	close(door.wake_fd);
}

/* Was the loop woken since the last call? */
static bool woken(void)
{
	uint64_t count;

	return read(door.wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

static struct request_batch closed(void)
{
	struct request_batch batch = {0};

	ck_assert(request_close(&door, &batch));
	return batch;
}

/* ---- Tickets, flags, reasons ---- */

START_TEST(p3_requests_of_one_batch_share_its_ticket)
{
	struct request_batch batch;

	open_door();
	ck_assert_uint_eq(request_issued(&door, NULL), 0);
	ck_assert(!request_close(&door, &batch));
	for (uint64_t ticket = 1; ticket <= 300; ticket++) {
		uint64_t asked = ticket % 7 + 1, open;
		for (uint64_t i = 0; i < asked; i++)
			ck_assert_uint_eq(request_enter(&door, 0, NULL), ticket);
		ck_assert_uint_eq(request_issued(&door, &open), ticket);
		ck_assert_uint_eq(open, asked);
		batch = closed();
		ck_assert_uint_eq(batch.ticket, ticket);
		ck_assert_uint_eq(batch.requests, asked);
		ck_assert_uint_eq(request_issued(&door, &open), ticket);
		ck_assert_uint_eq(open, 0);
		ck_assert(!request_close(&door, &batch));
	}
	remove_door();
}
END_TEST

START_TEST(flags_of_a_batch_are_collected_and_end_with_it)
{
	uint32_t flags;

	open_door();
	request_enter(&door, 0, NULL);
	request_look(&door, &flags);
	ck_assert_uint_eq(flags & (REQUEST_FORCE | REQUEST_URGENT), 0);
	request_enter(&door, REQUEST_FORCE, NULL);
	request_enter(&door, 0, NULL);
	request_look(&door, &flags);
	ck_assert_uint_eq(flags & (REQUEST_FORCE | REQUEST_URGENT), REQUEST_FORCE);
	request_enter(&door, REQUEST_URGENT, NULL);
	ck_assert_uint_eq(closed().flags & (REQUEST_FORCE | REQUEST_URGENT),
			  REQUEST_FORCE | REQUEST_URGENT);
	request_enter(&door, 0, NULL);
	ck_assert_uint_eq(closed().flags & (REQUEST_FORCE | REQUEST_URGENT), 0);
	remove_door();
}
END_TEST

START_TEST(the_first_reason_of_a_batch_is_kept)
{
	char longer[300];

	open_door();
	request_enter(&door, 0, NULL);
	request_enter(&door, 0, "first");
	request_enter(&door, 0, "second");
	ck_assert_str_eq(closed().reason, "first");
	request_enter(&door, 0, NULL);
	ck_assert_str_eq(closed().reason, "");
	request_enter(&door, 0, "");
	request_enter(&door, 0, "too late");
	ck_assert_str_eq(closed().reason, "");
	memset(longer, 'x', sizeof(longer));
	longer[127] = '\0';
	request_enter(&door, 0, longer);
	ck_assert_str_eq(closed().reason, longer);
	memcpy(longer + 126,
	       "\xc3\xa9"
	       "end",
	       6); /* its second byte would be the 128th */
	request_enter(&door, 0, longer);
	longer[126] = '\0';
	ck_assert_str_eq(closed().reason, longer);
	memcpy(longer + 125,
	       "\xc3\xa9"
	       "end",
	       6); /* this one fits */
	request_enter(&door, 0, longer);
	longer[127] = '\0';
	ck_assert_str_eq(closed().reason, longer);
	remove_door();
}
END_TEST

START_TEST(a_reason_left_behind_by_an_earlier_batch_is_not_this_ones)
{
	open_door();
	for (int i = 0; i < 2; i++) { /* batches 1 and 2 are over */
		request_enter(&door, 0, NULL);
		closed();
	}
	/* A thread wrote a reason for batch 1, found it closed, and has not withdrawn it yet. */
	strcpy(door.reasons[1].text, "of another time");
	atomic_store(&door.reasons[1].owner, 1 * 2 + 1);
	ck_assert_uint_eq(request_enter(&door, 0, "there is no room for it"), 3);
	ck_assert_str_eq(closed().reason, "");
	request_enter(&door, 0, "in the other place");
	ck_assert_str_eq(closed().reason, "in the other place");
	request_enter(&door, 0, "there is room again");
	ck_assert_str_eq(closed().reason, "there is room again");
	remove_door();
}
END_TEST

START_TEST(p5_a_reason_that_is_being_written_is_not_waited_for)
{
	open_door();
	/* A thread that was preempted, or that this handler interrupted. */
	atomic_store(&door.reasons[1].owner, 1 * 2);
	ck_assert_uint_eq(request_enter(&door, 0, "mine"), 1);
	ck_assert_str_eq(closed().reason, "");
	ck_assert_uint_eq(atomic_load(&door.reasons[1].owner), 2);
	request_after_fork(&door); /* the thread that was writing does not exist in a child */
	request_enter(&door, 0, NULL);
	closed();
	request_enter(&door, 0, "mine");
	ck_assert_str_eq(closed().reason, "mine");
	remove_door();
}
END_TEST

START_TEST(p5_the_count_saturates_and_nothing_else_suffers)
{
	open_door();
	for (unsigned i = 0; i < 0xffff + 10; i++)
		ck_assert_uint_eq(request_enter(&door, i % 2 ? REQUEST_FORCE : 0, NULL), 1);
	struct request_batch batch = closed();
	ck_assert_uint_eq(batch.ticket, 1);
	ck_assert_uint_eq(batch.requests, 0xffff);
	ck_assert_uint_eq(batch.flags & ~(uint32_t)REQUEST_SEEN,
			  REQUEST_PENDING | REQUEST_FRESH | REQUEST_FORCE);
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 2);
	ck_assert_uint_eq(closed().requests, 1);
	remove_door();
}
END_TEST

START_TEST(once_shut_there_are_no_more_tickets)
{
	struct request_batch batch;

	open_door();
	ck_assert(!request_is_shut(&door));
	request_enter(&door, 0, NULL);
	closed();
	request_enter(&door, 0, "the last one");
	ck_assert_uint_eq(request_shut(&door), 2);
	ck_assert_uint_eq(request_shut(&door), 2);
	ck_assert(request_is_shut(&door));
	ck_assert_uint_eq(request_enter(&door, REQUEST_URGENT, "too late"), 0);
	ck_assert_uint_eq(request_issued(&door, NULL), 2);
	batch = closed();
	ck_assert_uint_eq(batch.ticket, 2);
	ck_assert_uint_eq(batch.requests, 1);
	ck_assert_str_eq(batch.reason, "the last one");
	ck_assert(request_is_shut(&door));
	ck_assert(!request_close(&door, &batch));
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 0);
	ck_assert_uint_eq(request_shut(&door), 2);
	remove_door();
}
END_TEST

/* ---- Waking the loop ---- */

START_TEST(requests_wake_the_loop_until_it_has_seen_one)
{
	uint32_t flags;

	open_door();
	ck_assert(!request_look(&door, &flags));
	ck_assert(!request_listen(&door));
	for (int batch = 0; batch < 3; batch++) {
		/* Each of them: the first may have been preempted before it got to it. */
		for (int i = 0; i < 3; i++) {
			request_enter(&door, 0, NULL);
			ck_assert(woken());
		}
		ck_assert(request_look(&door, &flags));
		ck_assert(flags & REQUEST_PENDING);
		ck_assert(!request_look(&door, &flags));
		request_enter(&door, 0, NULL);
		ck_assert(!woken());
		ck_assert(request_look(&door, &flags));
		ck_assert(!request_listen(&door)); /* no request in between */
		request_enter(&door, 0, NULL);
		ck_assert(woken());
		ck_assert(request_look(&door, &flags));
		request_enter(&door, 0, NULL);
		ck_assert(request_listen(&door)); /* a request went unnoticed */
		ck_assert(!woken());
		ck_assert(request_look(&door, &flags));
		closed(); /* the next batch is one that the loop has not seen */
		ck_assert(!woken());
	}
	remove_door();
}
END_TEST

START_TEST(urgent_ones_wake_the_loop_in_any_case)
{
	uint32_t flags;

	open_door();
	request_enter(&door, 0, NULL);
	request_look(&door, &flags);
	ck_assert(woken());
	for (int i = 0; i < 3; i++) {
		request_enter(&door, REQUEST_URGENT, NULL);
		ck_assert(woken());
		request_enter(&door, REQUEST_FORCE, NULL);
		ck_assert(!woken());
	}
	remove_door();
}
END_TEST

START_TEST(p17_in_a_forked_child_requests_are_kept_and_wake_again)
{
	uint32_t flags;

	open_door();
	request_enter(&door, REQUEST_FORCE, "before the fork");
	request_look(&door, &flags);
	ck_assert(woken());
	request_after_fork(&door);
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 1);
	ck_assert(woken());
	struct request_batch batch = closed();
	ck_assert_uint_eq(batch.requests, 2);
	ck_assert(batch.flags & REQUEST_FORCE);
	ck_assert_str_eq(batch.reason, "before the fork");
	remove_door();
}
END_TEST

START_TEST(p5_errno_is_kept_whatever_becomes_of_the_wake_up)
{
	uint64_t full = UINT64_MAX - 1;
	int fd;

	open_door();
	fd = door.wake_fd;
	ck_assert_int_eq(write(fd, &full, sizeof(full)), sizeof(full)); /* EAGAIN: it is awake */
	errno = 4711;
	ck_assert_uint_eq(request_enter(&door, 0, "why not"), 1);
	ck_assert_int_eq(errno, 4711);
	door.wake_fd = -1; /* EBADF */
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 1);
	ck_assert_int_eq(errno, 4711);
	door.wake_fd = fd;
	request_shut(&door);
	ck_assert_uint_eq(request_enter(&door, 0, NULL), 0);
	ck_assert_int_eq(errno, 4711);
	remove_door();
}
END_TEST

/* ---- Many threads ---- */

#define REQUESTERS 3
#define PLAIN_ROUNDS 30000  /* requests of each, as fast as they can */
#define PATIENT_ROUNDS 3000 /* requests of each, every one waited for */
#ifdef UNDER_TSAN
#define SIGNALS 300 /* it holds each one back until a call it knows */
#else
#define SIGNALS 2000
#endif

struct requester {
	_Alignas(64) _Atomic uint32_t written; /* relaxed: the door has to order it */
	_Atomic uint64_t entered;              /* with those of its signal handler */
	uint64_t plain; /* no atomic: the door has to order it, and the thread sanitizer looks */
	uint32_t flag;
	uint32_t tickets[PLAIN_ROUNDS + 1]; /* by what it had written */
	pthread_t thread;
};

static struct requester requesters[REQUESTERS];
static uint32_t (*seen_at_close)[REQUESTERS]; /* by ticket */
static _Atomic uint64_t newest_closed;
static _Atomic int at_work;

/* A whole reason has 100 times the same letter. */
static void make_reason(char *reason, int letter)
{
	memset(reason, letter, 100);
	reason[100] = '\0';
}

static void assert_whole_reason(const char *reason)
{
	ck_assert_msg(reason[0] == '\0' || (strlen(reason) == 100 &&
					    strspn(reason, (char[]){reason[0], '\0'}) == 100),
		      "a torn reason: %s", reason);
}

static void leave_work(void)
{
	atomic_fetch_sub(&at_work, 1);
	loop_wake(door.wake_fd);
}

static void start_requesters(void *(*work)(void *))
{
	open_door();
	atomic_store(&newest_closed, 0);
	atomic_store(&at_work, REQUESTERS);
	for (int i = 0; i < REQUESTERS; i++) {
		memset(&requesters[i], 0, sizeof(requesters[i]));
		requesters[i].flag = (uint32_t[]){0, REQUEST_FORCE, REQUEST_URGENT}[i];
		ck_assert_int_eq(pthread_create(&requesters[i].thread, NULL, work, &requesters[i]),
				 0);
	}
}

static void end_requesters(void)
{
	for (int i = 0; i < REQUESTERS; i++)
		pthread_join(requesters[i].thread, NULL);
	remove_door();
}

/* As the loop does. Returns false when no request is in, and all threads have left. */
static bool next_batch(struct request_batch *batch, unsigned turn)
{
	struct pollfd poll_fd = {.fd = door.wake_fd, .events = POLLIN};
	uint32_t flags;

	for (;;) {
		bool last = atomic_load(&at_work) == 0;
		request_look(&door, &flags);
		if (turn % 4 == 0)
			sched_yield(); /* some go by unheard */
		if (request_close(&door, batch))
			return true;
		if (last)
			return false;
		if (turn % 4 == 1)
			sched_yield(); /* some slip in between */
		if (request_listen(&door))
			continue;
		ck_assert_msg(poll(&poll_fd, 1, 20000) == 1, "a lost wake-up");
		woken();
	}
}

/* A count that saturates could not be compared in the end. */
static void keep_below_saturation(void)
{
	uint64_t open;

	for (request_issued(&door, &open); open > 0xffff / 2; request_issued(&door, &open))
		sched_yield();
}

static void *ask_without_pause(void *argument)
{
	struct requester *me = argument;
	char reason[101];

	make_reason(reason, 'a' + (int)(me - requesters));
	for (uint32_t n = 1; n <= PLAIN_ROUNDS; n++) {
		atomic_store_explicit(&me->written, n, memory_order_relaxed);
		me->tickets[n] = (uint32_t)request_enter(&door, me->flag, n % 2 ? reason : NULL);
		keep_below_saturation();
	}
	atomic_fetch_add(&me->entered, PLAIN_ROUNDS);
	leave_work();
	return NULL;
}

static uint64_t close_and_note(void)
{
	struct request_batch batch;
	uint64_t total = 0;

	for (uint64_t turn = 1; next_batch(&batch, (unsigned)turn); turn++) {
		ck_assert_uint_eq(batch.ticket, turn);
		for (int i = 0; i < REQUESTERS; i++)
			seen_at_close[turn][i] =
				atomic_load_explicit(&requesters[i].written, memory_order_relaxed);
		assert_whole_reason(batch.reason);
		total += batch.requests;
	}
	return total;
}

START_TEST(p2_a_closed_batch_shows_what_its_requesters_wrote)
{
	uint64_t entered = 0;

	seen_at_close = calloc(REQUESTERS * PLAIN_ROUNDS + 1, sizeof(*seen_at_close));
	start_requesters(ask_without_pause);
	uint64_t total = close_and_note();
	end_requesters();
	for (int i = 0; i < REQUESTERS; i++) {
		const struct requester *r = &requesters[i];
		for (uint32_t n = 1; n <= PLAIN_ROUNDS; n++) {
			ck_assert_msg(r->tickets[n] >= 1 && r->tickets[n] >= r->tickets[n - 1],
				      "tickets of one thread never fall");
			ck_assert_msg(seen_at_close[r->tickets[n]][i] >= n,
				      "ticket %u does not show write %u of %d", r->tickets[n], n,
				      i);
		}
		entered += r->entered;
	}
	ck_assert_uint_eq(total, entered);
	free(seen_at_close);
}
END_TEST

/* Makes a request, and waits until its batch was closed, as often as that. Only its own request
 * would wake the loop for it. */
static void *ask_patiently(void *argument)
{
	struct requester *me = argument;

	for (int n = 0; n < PATIENT_ROUNDS; n++) {
		me->plain++;
		uint64_t ticket = request_enter(&door, me->flag, NULL);
		while (atomic_load_explicit(&newest_closed, memory_order_acquire) < ticket)
			sched_yield();
	}
	leave_work();
	return NULL;
}

START_TEST(p2_no_wake_up_is_lost_and_plain_writes_are_ordered)
{
	uint64_t expected[REQUESTERS] = {0};
	struct request_batch batch;

	start_requesters(ask_patiently);
	for (unsigned turn = 1; next_batch(&batch, turn); turn++) {
		/* At most one of each: the flags and the count say which. */
		bool in[REQUESTERS] = {false, (batch.flags & REQUEST_FORCE) != 0,
				       (batch.flags & REQUEST_URGENT) != 0};
		in[0] = batch.requests > (uint64_t)in[1] + in[2];
		for (int i = 0; i < REQUESTERS; i++) {
			if (in[i])
				ck_assert_uint_eq(requesters[i].plain, ++expected[i]);
		}
		atomic_store_explicit(&newest_closed, batch.ticket, memory_order_release);
	}
	for (int i = 0; i < REQUESTERS; i++)
		ck_assert_uint_eq(expected[i], PATIENT_ROUNDS);
	end_requesters();
}
END_TEST

/* ---- Signal handlers ---- */

static _Atomic uint64_t handled;
static _Atomic bool errno_spoilt, no_more_signals;

static void ask_in_handler(int signal_number)
{
	static char reason[101];
	int before = errno;

	(void)signal_number;
	make_reason(reason, 'z');
	if (request_enter(&door, REQUEST_FORCE, reason) == 0 || errno != before)
		atomic_store(&errno_spoilt, true);
	atomic_fetch_add(&handled, 1);
}

static void *ask_while_interrupted(void *argument)
{
	struct requester *me = argument;
	char reason[101];
	sigset_t signals;
	uint64_t n = 0;

	make_reason(reason, 'a' + (int)(me - requesters));
	for (; n < PLAIN_ROUNDS / 4 || !atomic_load(&no_more_signals); n++) {
		errno = 4711;
		if (request_enter(&door, 0, reason) == 0 || errno != 4711)
			atomic_store(&errno_spoilt, true);
		keep_below_saturation();
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals,
			NULL); /* a thread that has left makes no more requests */
	atomic_fetch_add(&me->entered, n);
	leave_work();
	return NULL;
}

static void *interrupt_the_first(void *argument)
{
	(void)argument;
	while (atomic_load(&handled) < SIGNALS) {
		pthread_kill(requesters[0].thread, SIGUSR1);
		sched_yield(); /* or the interrupted one gets nowhere on a busy machine */
	}
	atomic_store(&no_more_signals, true);
	return NULL;
}

START_TEST(p5_signal_handlers_may_ask_at_any_instruction)
{
	struct sigaction action = {.sa_handler = ask_in_handler};
	uint64_t total = 0, entered = 0;
	struct request_batch batch;
	pthread_t interrupter;

	atomic_store(&handled, 0);
	sigaction(SIGUSR1, &action, NULL);
	start_requesters(ask_while_interrupted);
	ck_assert_int_eq(pthread_create(&interrupter, NULL, interrupt_the_first, NULL), 0);
	for (uint64_t turn = 1; next_batch(&batch, (unsigned)turn); turn++) {
		ck_assert_uint_eq(batch.ticket, turn);
		assert_whole_reason(batch.reason);
		total += batch.requests;
	}
	pthread_join(interrupter, NULL);
	end_requesters();
	for (int i = 0; i < REQUESTERS; i++)
		entered += requesters[i].entered;
	entered += handled;
	ck_assert(!errno_spoilt);
	ck_assert_uint_ge(handled, SIGNALS);
	ck_assert_uint_eq(total, entered);
}
END_TEST

SUITE("request", p3_requests_of_one_batch_share_its_ticket,
      flags_of_a_batch_are_collected_and_end_with_it, the_first_reason_of_a_batch_is_kept,
      a_reason_left_behind_by_an_earlier_batch_is_not_this_ones,
      p5_a_reason_that_is_being_written_is_not_waited_for,
      p5_the_count_saturates_and_nothing_else_suffers, once_shut_there_are_no_more_tickets,
      requests_wake_the_loop_until_it_has_seen_one, urgent_ones_wake_the_loop_in_any_case,
      p17_in_a_forked_child_requests_are_kept_and_wake_again,
      p5_errno_is_kept_whatever_becomes_of_the_wake_up,
      p2_a_closed_batch_shows_what_its_requesters_wrote,
      p2_no_wake_up_is_lost_and_plain_writes_are_ordered,
      p5_signal_handlers_may_ask_at_any_instruction)
