/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stress/litmus.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define UNCOVERED \
	50 /* of one thread, at most: many small batches, and a count that does not saturate */
#define MILLISECOND 1000000
#define REASON_DIGITS 12

static struct asker askers[ASKERS];
static uint64_t (*ask)(const char *reason);
static uint64_t requests;
static uint64_t *counted; /* the looker's, by ticket */
static bool interrupted;
static _Atomic uint64_t covered_by_now; /* relaxed: a hint for when to continue */
static _Atomic int at_work;
static _Atomic bool errno_spoilt;
static __thread struct asker *me;

static uint64_t value_of(const struct written *written, uint64_t n)
{
	return (n + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)written;
}

/* "a000000000042a000000000042": its halves differ if it is torn. No printf in a signal handler. */
static void make_reason(char *reason, int who, uint64_t n)
{
	char *half = reason + 1 + REASON_DIGITS;

	reason[0] = (char)('a' + who);
	for (int i = REASON_DIGITS; i > 0; i--, n /= 10)
		reason[i] = (char)('0' + n % 10);
	memcpy(half, reason, 1 + REASON_DIGITS);
	half[1 + REASON_DIGITS] = '\0';
}

static bool ask_once(struct written *mine, int who)
{
	uint64_t n = atomic_load_explicit(&mine->count, memory_order_relaxed), ticket;
	uint64_t before = atomic_load_explicit(&me->newest, memory_order_relaxed);
	char reason[2 * (1 + REASON_DIGITS) + 1];

	if (n == mine->size)
		return false;
	make_reason(reason, who, n);
	mine->plain[n] = value_of(mine, n);
	atomic_store_explicit(&mine->count, n + 1, memory_order_relaxed);
	ticket = ask(n % 2 ? reason : NULL);
	if (ticket == 0) {
		atomic_store_explicit(&mine->count, n, memory_order_relaxed);
		return false;
	}
	atomic_store_explicit(&mine->tickets[n], ticket, memory_order_relaxed);
	if (ticket < before)
		atomic_store(&me->fell, true);
	if (ticket > atomic_load_explicit(&me->newest, memory_order_relaxed))
		atomic_store_explicit(&me->newest, ticket, memory_order_relaxed);
	return true;
}

static void ask_in_handler(int signal_number)
{
	int before = errno;

	(void)signal_number;
	ask_once(&me->by_handler, ASKERS + (int)(me - askers));
	if (errno != before)
		atomic_store(&errno_spoilt, true);
}

static void start_timer(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	struct itimerspec every = {{0, MILLISECOND}, {0, MILLISECOND}};

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &me->timer) < 0 ||
	    timer_settime(me->timer, 0, &every, NULL) < 0)
		abort();
}

static void *ask_again_and_again(void *argument)
{
	me = argument;
	if (interrupted)
		start_timer();
	for (uint64_t n = 0; ask_once(&me->by_thread, (int)(me - askers)); n++) {
		while (n >= UNCOVERED &&
		       atomic_load_explicit(&me->by_thread.tickets[n - UNCOVERED],
					    memory_order_relaxed) >
			       atomic_load_explicit(&covered_by_now, memory_order_relaxed))
			sched_yield();
	}
	if (interrupted)
		timer_delete(me->timer);
	atomic_fetch_sub(&at_work, 1);
	return NULL;
}

static void make_room(struct written *written, uint64_t size, uint64_t tickets)
{
	*written = (struct written){.size = size};
	written->plain = calloc((size_t)size, sizeof(*written->plain));
	written->tickets = calloc((size_t)size, sizeof(*written->tickets));
	written->seen = calloc((size_t)tickets, sizeof(*written->seen));
	ck_assert(written->plain != NULL && written->tickets != NULL && written->seen != NULL);
}

static uint64_t most_tickets(void)
{
	return 2 * ASKERS * requests + 3;
}

void askers_start(uint64_t (*how)(const char *reason), uint64_t each, bool also_in_handlers)
{
	struct sigaction action = {.sa_handler = ask_in_handler, .sa_flags = SA_RESTART};

	ask = how;
	requests = each;
	counted = calloc((size_t)most_tickets(), sizeof(*counted));
	ck_assert_ptr_nonnull(counted);
	interrupted = also_in_handlers;
	sigaction(SIGUSR1, &action, NULL);
	atomic_store(&covered_by_now, 0);
	atomic_store(&errno_spoilt, false);
	atomic_store(&at_work, ASKERS);
	for (int i = 0; i < ASKERS; i++) {
		make_room(&askers[i].by_thread, requests, most_tickets());
		make_room(&askers[i].by_handler, requests, most_tickets());
		atomic_store(&askers[i].newest, 0);
		atomic_store(&askers[i].fell, false);
	}
	for (int i = 0; i < ASKERS; i++)
		ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask_again_and_again,
						&askers[i]),
				 0);
}

bool askers_at_work(void)
{
	return atomic_load(&at_work) > 0;
}

uint64_t askers_newest(void)
{
	uint64_t newest = 0;

	for (int i = 0; i < ASKERS; i++) {
		uint64_t its = atomic_load_explicit(&askers[i].newest, memory_order_relaxed);
		newest = its > newest ? its : newest;
	}
	return newest;
}

static bool look(struct written *written, uint64_t covered)
{
	uint64_t ticket, n = written->looked;

	if (covered < most_tickets() && written->seen[covered] == 0) /* the first check counts */
		written->seen[covered] =
			atomic_load_explicit(&written->count, memory_order_relaxed);
	for (; n < written->size; n++) {
		ticket = atomic_load_explicit(&written->tickets[n], memory_order_relaxed);
		if (ticket == 0 || ticket > covered)
			break;
		if (written->plain[n] != value_of(written, n))
			return false;
	}
	written->looked = n;
	return true;
}

bool askers_look(uint64_t covered)
{
	bool there = true;

	for (int i = 0; i < ASKERS; i++)
		there = look(&askers[i].by_thread, covered) &&
			look(&askers[i].by_handler, covered) && there;
	atomic_store_explicit(&covered_by_now, covered, memory_order_relaxed);
	return there;
}

void askers_counted(uint64_t ticket, uint64_t how_many)
{
	if (ticket < most_tickets())
		counted[ticket] += how_many;
}

bool askers_gave(const char *reason, uint64_t ticket)
{
	char whole[2 * (1 + REASON_DIGITS) + 1];
	unsigned who = (unsigned)(reason[0] - 'a');

	if (reason[0] == '\0')
		return true;
	if (who >= 2 * ASKERS)
		return false;
	char digits[REASON_DIGITS + 1] = "";
	memcpy(digits, reason + 1, REASON_DIGITS);
	uint64_t n = strtoull(digits, NULL, 10);
	make_reason(whole, (int)who, n);
	struct written *written =
		who < ASKERS ? &askers[who].by_thread : &askers[who - ASKERS].by_handler;
	if (strcmp(whole, reason) != 0 || n >= written->size)
		return false;
	uint64_t its = atomic_load_explicit(&written->tickets[n], memory_order_relaxed);
	/* The reason came through the door as well, and with it everything that was written
	 * before. */
	return (its == 0 || its >= ticket) && written->plain[n] == value_of(written, n);
}

uint64_t askers_join(void)
{
	uint64_t accepted = 0;

	for (int i = 0; i < ASKERS; i++) {
		pthread_join(askers[i].thread, NULL);
		accepted += askers[i].by_thread.count + askers[i].by_handler.count;
	}
	return accepted;
}

static void check(struct written *written)
{
	uint64_t before = 0;

	ck_assert_uint_eq(written->looked, written->count);
	for (uint64_t n = 0; n < written->count; n++) {
		uint64_t ticket = written->tickets[n];
		ck_assert_msg(ticket >= before, "request %llu: ticket %llu after %llu",
			      (unsigned long long)n, (unsigned long long)ticket,
			      (unsigned long long)before);
		before = ticket;
		counted[ticket]--;
		ck_assert_msg(written->seen[ticket] > n,
			      "who covered ticket %llu saw %llu writes, not %llu",
			      (unsigned long long)ticket, (unsigned long long)written->seen[ticket],
			      (unsigned long long)n + 1);
	}
	free(written->plain);
	free(written->tickets);
	free(written->seen);
}

static void check_all(void)
{
	ck_assert(!errno_spoilt);
	for (int i = 0; i < ASKERS; i++) {
		ck_assert(!askers[i].fell);
		check(&askers[i].by_thread);
		check(&askers[i].by_handler);
	}
}

void askers_check_uncounted(void)
{
	check_all();
	free(counted);
}

void askers_check(void)
{
	check_all();
	for (uint64_t ticket = 0; ticket < most_tickets(); ticket++)
		ck_assert_msg(counted[ticket] == 0,
			      "ticket %llu: %lld requests too many were counted",
			      (unsigned long long)ticket, (long long)counted[ticket]);
	free(counted);
}
