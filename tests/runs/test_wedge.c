/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A callback that does not return for long, while requests go on: nothing queues up. */
#include <errno.h>
#include <malloc.h>
#include <safestart/source.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* What `outcome` was told. */
struct told {
	_Atomic bool hold_prepare, hold_outcome;
	_Atomic int calls;
	_Atomic uint64_t newest, left_out, unordered;
};

static int hold_it(struct safestart_run *run, void *user_data)
{
	struct told *told = user_data;

	(void)run;
	EVENTUALLY(!told->hold_prepare);
	return 0;
}

static void count(const struct safestart_outcome *outcome, void *user_data)
{
	struct told *told = user_data;

	/* Those that were left out are the ones directly before. */
	told->unordered += outcome->run != told->newest + 1 + outcome->merged;
	told->newest = outcome->run;
	told->left_out += outcome->merged;
	told->calls++;
	EVENTUALLY(!told->hold_outcome);
}

static struct safestart *open_told(struct told *told)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hold_it,
						      .outcome = count};

	return open_calling(&callbacks, told, "debounce=0", "run_timeout=10ms", NULL);
}

/* Each run expires before it could begin; returns the last one's answer. */
static struct safestart_outcome expire(struct safestart *ss, int runs)
{
	struct safestart_outcome outcome = {0};

	for (int i = 0; i < runs; i++) {
		outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
		ck_assert_uint_eq(outcome.merged, 0); /* of the ticket nothing was left out */
	}
	return outcome;
}

/* Where malloc is another one, it is not known. */
static size_t bytes_in_use(void)
{
#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
	return 0;
#else
	return under_valgrind() ? 0 : mallinfo2().uordblks;
#endif
}

static void goes_on(struct safestart *ss, struct told *told, uint64_t last)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	told->hold_prepare = told->hold_outcome = false;
	EVENTUALLY(answer(ss, safestart_request_restart(ss)).verdict <= SAFESTART_UNCHANGED);
	ck_assert_int_eq(safestart_last_outcome(ss, &outcome), 0);
	EVENTUALLY(told->newest >= outcome.run);
	ck_assert_uint_gt(told->newest, last);
	ck_assert_uint_eq(told->unordered, 0);
	EVENTUALLY(safestart_close(ss) == 0);
	ck_assert_uint_eq((uint64_t)told->calls + told->left_out, told->newest);
}

START_TEST(p23_runs_that_a_hanging_callback_keeps_from_beginning_do_not_queue_up)
{
	struct told told = {0};
	struct safestart *ss = open_told(&told);
	uint64_t ticket;

	EVENTUALLY(push_and_wait(ss, ONE).verdict <= SAFESTART_UNCHANGED);
	told.hold_prepare = true;
	ck_assert_int_eq(safestart_nodes_replace(ss, TWO, &ticket, NULL, 0), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_TIMED_OUT);
	expire(ss, 40);
	size_t before = bytes_in_use();
	struct safestart_outcome last = expire(ss, 100);
	ck_assert_msg(strstr(last.message, "before it could begin") != NULL, "%s", last.message);
	ck_assert_uint_lt(bytes_in_use(), before + 16384);
	int calls = told.calls;
	told.hold_prepare = false;
	EVENTUALLY(told.newest >= last.run);
	/* Some 16, and those of the runs that came since. */
	ck_assert_uint_le((uint64_t)(told.calls - calls), 20 + told.newest - last.run);
	ck_assert_uint_gt(told.left_out, 100);
	goes_on(ss, &told, last.run);
}
END_TEST

/* It is `outcome` itself. */
START_TEST(p23_outcomes_do_not_queue_up_behind_one_that_does_not_return)
{
	struct told told = {.hold_outcome = true};
	struct safestart *ss = open_told(&told);

	EVENTUALLY(push_and_wait(ss, ONE).verdict <= SAFESTART_TIMED_OUT && told.calls == 1);
	struct safestart_outcome last = expire(ss, 60);
	ck_assert_int_eq(told.calls, 1);
	told.hold_outcome = false;
	EVENTUALLY(told.newest >= last.run);
	ck_assert_uint_gt(told.left_out, 30);
	goes_on(ss, &told, last.run);
}
END_TEST

/* A source whose second reading is finished by the test, and whose hint hangs meanwhile. */
struct hinting {
	int fd;
	_Atomic bool hold_hint, in_hint;
	_Atomic int gathers;
	struct safestart_gather *_Atomic kept;
};

static int hinting_open(void **state, const struct safestart_source_conf *conf, char *why,
			size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int hinting_gather(void *state, struct safestart_gather *gather)
{
	struct hinting *source = state;

	if (source->gathers++ != 1)
		return safestart_gather_json(gather, ONE, strlen(ONE));
	source->kept = gather;
	return SAFESTART_LATER;
}

static int hinting_fd(void *state)
{
	return ((struct hinting *)state)->fd;
}

static int hinting_hint(void *state)
{
	struct hinting *source = state;
	eventfd_t count;

	(void)eventfd_read(source->fd, &count);
	source->in_hint = true;
	EVENTUALLY(!source->hold_hint);
	return 0;
}

static void hinting_close(void *state)
{
	(void)state;
}

START_TEST(p14_a_finished_gather_that_can_not_go_on_in_time_gives_back_what_it_holds)
{
	static const struct safestart_source hinting = {.size = sizeof(hinting),
							.scheme = "hinting",
							.open = hinting_open,
							.gather = hinting_gather,
							.close = hinting_close,
							.fd = hinting_fd,
							.hint = hinting_hint};
	struct hinting source = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .hold_hint = true};
	struct safestart_conf *conf =
		conf_with("debounce=0", "run_timeout=300ms", "retry_min=0", "reconcile=0", NULL);
	struct safestart *ss;

	ck_assert_int_eq(safestart_conf_add_source(conf, &hinting, &source), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "hinting:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	EVENTUALLY(source.kept != NULL || safestart_request_restart(ss) == 0);
	ck_assert_int_eq(eventfd_write(source.fd, 1), 0);
	EVENTUALLY(source.in_hint);
	uint64_t ticket = safestart_request_restart(ss);
	ck_assert_int_eq(safestart_gather_json(source.kept, TWO, strlen(TWO)), 0);
	/* A busy machine may be too late for this one, too. */
	int finished = safestart_gather_finish(source.kept, 0);
	ck_assert(finished == 0 || finished == -ESTALE);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_TIMED_OUT);
	source.hold_hint = false;
	EVENTUALLY(answer(ss, safestart_request_restart(ss)).verdict == SAFESTART_UNCHANGED);
	EVENTUALLY(safestart_close(ss) == 0);
	close(source.fd);
}
END_TEST

SUITE("wedge", p14_a_finished_gather_that_can_not_go_on_in_time_gives_back_what_it_holds,
      p23_runs_that_a_hanging_callback_keeps_from_beginning_do_not_queue_up,
      p23_outcomes_do_not_queue_up_behind_one_that_does_not_return)
