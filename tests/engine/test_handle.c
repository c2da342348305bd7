/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handle as its users see it: requests, coalescing, outcomes, deadlines, retries, guard
 * rails. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define TWO_REVERSED                                                                               \
	"[{\"targets\":[\"10.0.0.2:1\"],\"labels\":{\"id\":\"b\"}},{\"targets\":[\"10.0.0.1:1\"]," \
	"\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"],\"labels\":{\"id\":\"b\"}}]"

static void announce(struct safestart *ss, int number, uint64_t *ticket)
{
	char id[16], address[32];

	snprintf(id, sizeof(id), "n%d", number);
	snprintf(address, sizeof(address), "10.0.0.%d:1", number + 1);
	ck_assert_int_eq(safestart_node_announce(ss, id, address, NULL, ticket), 0);
}

/* Let a push lead to a prepare that stays inside; returns its ticket. */
static uint64_t hold_prepare(struct safestart *ss, struct app *app, const char *json)
{
	uint64_t ticket;
	int before = app->prepares;

	app->hold = true;
	ck_assert_int_eq(safestart_nodes_replace(ss, json, &ticket, NULL, 0), 0);
	EVENTUALLY(app->prepares == before + 1);
	return ticket;
}

START_TEST(p3_three_announcements_are_one_run_one_ticket_one_generation)
{
	struct app app;
	uint64_t tickets[3];

	app_init(&app);
	/* A machine may stall for long. */
	struct safestart *ss = open_with(&app, "debounce=2s", NULL);
	int64_t begin = now_ms();
	for (int i = 0; i < 3; i++) {
		EVENTUALLY(now_ms() >= begin + 20 * i); /* as they came in */
		announce(ss, i, &tickets[i]);
	}
	struct safestart_outcome outcome = answer(ss, tickets[0]);
	ck_assert_uint_eq(tickets[0], 1);
	ck_assert_uint_eq(tickets[2], 1);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_uint_eq(outcome.requests, 3);
	ck_assert_uint_eq(outcome.run, 1);
	ck_assert_uint_eq(outcome.ticket, 1);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_str_eq(live_ids(ss), "n0 n1 n2");
	ck_assert_int_eq(app.prepares, 1);
	close_now(ss);
}
END_TEST

START_TEST(p2_fifty_requests_during_a_run_lead_to_exactly_one_more)
{
	struct app app;
	uint64_t ticket = 0;

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=1ms", NULL);
	uint64_t first = hold_prepare(ss, &app, ONE);
	for (int i = 0; i < 50; i++)
		announce(ss, i, &ticket);
	ck_assert_uint_eq(ticket, first + 1);
	app.hold = false;
	struct safestart_outcome outcome = answer(ss, ticket);
	ck_assert_uint_eq(outcome.run, 2);
	ck_assert_uint_eq(outcome.requests, 50);
	ck_assert_uint_eq(safestart_generation(ss), 2);
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	ck_assert_uint_eq(safestart_snapshot_size(live), 51);
	safestart_read_unlock(ss);
	ck_assert_uint_eq(answer(ss, first).run, 1);
	close_now(ss);
	ck_assert_int_eq(app.outcomes, 2);
	ck_assert_int_eq(app.most_inside, 1);
}
END_TEST

START_TEST(p7_the_same_set_in_another_order_is_unchanged)
{
	struct app app;

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_APPLIED);
	struct safestart_outcome outcome = push_and_wait(ss, TWO_REVERSED);
	ck_assert_int_eq(outcome.verdict, SAFESTART_UNCHANGED);
	ck_assert_int_eq(outcome.error, 0);
	ck_assert_uint_eq(outcome.generation, 1);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_int_eq(app.prepares, 1);
	close_now(ss);
}
END_TEST

START_TEST(a_request_before_anything_was_pushed_changes_nothing)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	ck_assert_int_eq(safestart_last_outcome(ss, &outcome), -EAGAIN);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_UNCHANGED);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	ck_assert_int_eq(safestart_last_outcome(ss, &outcome), 0);
	ck_assert_int_eq(safestart_wait_ready(ss, 0), -ETIMEDOUT);
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	ck_assert_ptr_nonnull(live);
	ck_assert_uint_eq(safestart_snapshot_size(live), 0);
	safestart_read_unlock(ss);
	close_now(ss);
}
END_TEST

START_TEST(p6_what_wait_says_of_tickets_it_can_not_answer)
{
	struct app app;
	struct safestart_outcome outcome = {.size = sizeof(outcome)},
				 small = {.size = sizeof(outcome) - 8};

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", "name=api", NULL);
	ck_assert_int_eq(safestart_wait(ss, 0, 0, &outcome), -EINVAL);
	ck_assert_int_eq(safestart_wait(ss, 1, 0, &outcome), -EINVAL);
	ck_assert_int_eq(safestart_wait(NULL, 1, 0, &outcome), -EINVAL);
	uint64_t ticket = hold_prepare(ss, &app, ONE);
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, &small), -EINVAL);
	ck_assert_int_eq(safestart_wait(ss, ticket, 1, &outcome), -ETIMEDOUT);
	ck_assert_int_eq(outcome.verdict, SAFESTART_PENDING);
	ck_assert_msg(strstr(outcome.message, "prepare") != NULL, "%s", outcome.message);
	app.hold = false;
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	for (int i = 0; i < 1024; i++)
		answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(safestart_wait(ss, ticket, 0, &outcome), -ENODATA);
	ck_assert_int_eq(safestart_wait(ss, ticket + 1, 0, &outcome), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket + 1, 0, NULL), 0);
	close_now(ss);
}
END_TEST

START_TEST(p14_a_hanging_prepare_times_out_and_is_ignored_when_it_returns)
{
	struct app app;
	char why[256];

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", "run_timeout=30ms", NULL);
	uint64_t ticket = hold_prepare(ss, &app, ONE);
	struct safestart_outcome outcome = answer(ss, ticket);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -ETIMEDOUT);
	ck_assert_msg(strstr(outcome.message, "prepare") != NULL, "%s", outcome.message);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	/* The next run waits for it, up to its own deadline, and names it. */
	outcome = push_and_wait(ss, TWO);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -EBUSY);
	ck_assert_msg(strstr(outcome.message, "prepare") != NULL &&
			      strstr(outcome.message, "run 1") != NULL,
		      "%s", outcome.message);
	ck_assert_int_eq(safestart_node_state(ss, "a", why, sizeof(why)), SAFESTART_NODE_ANNOUNCED);
	char *status = safestart_status_json(ss);
	ck_assert_ptr_nonnull(strstr(status, "\"wedged\":true"));
	safestart_free(status);
	app.hold = false;
	EVENTUALLY(safestart_generation(ss) == 1); /* by itself */
	ck_assert_str_eq(live_ids(ss), "a b");
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_TIMED_OUT);
	/* Close waits no longer than run_timeout, which is short here. */
	EVENTUALLY(safestart_close(ss) == 0);
	ck_assert_int_eq(app.most_inside, 1);
}
END_TEST

static _Atomic int log_hangs; /* 1: the next complaint about last_good stays inside; 2: it does */

static void hang(int level, const char *message, void *user_data)
{
	int armed = 1;

	(void)level, (void)user_data;
	if (strstr(message, "is not up to date") == NULL ||
	    !atomic_compare_exchange_strong(&log_hangs, &armed, 2))
		return;
	while (log_hangs == 2)
		pause_a_moment();
}

/* The log of a process that writes it to a pipe which is never read. */
START_TEST(p14_a_run_behind_a_log_that_hangs_says_what_is_known_and_starts_when_it_returns)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks), .log = hang};
	struct safestart_conf *conf =
		conf_with("debounce=0", "run_timeout=100ms", "retry_min=1ms", "retry_max=1h",
			  "last_good=/proc/no/such/place", NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart *ss;

	log_hangs = 1;
	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	EVENTUALLY(log_hangs == 2);
	uint64_t ticket = safestart_request_restart(ss);
	outcome = answer(ss, ticket);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -EBUSY);
	ck_assert_msg(strstr(outcome.message, "`log`") != NULL &&
			      strstr(outcome.message, "run 0") == NULL,
		      "%s", outcome.message);
	ck_assert_msg(strstr(outcome.message, "a run starts when it returns") != NULL &&
			      strstr(outcome.message, "retrying in") == NULL,
		      "%s", outcome.message);
	log_hangs = 0;
	/* By itself. */
	EVENTUALLY(safestart_last_outcome(ss, &outcome) == 0 &&
		   outcome.verdict == SAFESTART_UNCHANGED);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

START_TEST(p15_a_failing_prepare_is_answered_at_once_and_retried)
{
	struct app app;

	app_init(&app);
	app.prepare_result = -ECONNREFUSED;
	app.hang_data = true;
	struct safestart *ss =
		open_with(&app, "debounce=0", "retry_min=2ms", "retry_max=10ms", NULL);
	struct safestart_outcome outcome = push_and_wait(ss, ONE);
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
	ck_assert_int_eq(outcome.error, -ECONNREFUSED);
	ck_assert_msg(strstr(outcome.message, "retrying in") != NULL, "%s", outcome.message);
	EVENTUALLY(app.prepares >= 4);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	/* Data that failed runs attached is retired. */
	EVENTUALLY(app.retires >= 3 && app.retired_nodes >= 3);
	app.prepare_result = 0;
	EVENTUALLY(safestart_generation(ss) == 1);
	outcome.size = sizeof(outcome);
	EVENTUALLY(safestart_last_outcome(ss, &outcome) == 0 &&
		   outcome.verdict == SAFESTART_APPLIED);
	ck_assert_uint_gt(outcome.attempts, 3);
	close_now(ss);
	ck_assert_int_eq(app.retires, app.prepares);
	ck_assert_int_eq(app.retired_nodes, app.prepares);
}
END_TEST

static struct safestart *asked; /* written by open, before the first callback */
static _Atomic int told, unaware;

static void ask_status(int level, const char *message, void *user_data)
{
	(void)level, (void)user_data;
	if (strstr(message, "retrying in") == NULL)
		return;
	char *status = safestart_status_json(asked);
	if (status == NULL || strstr(status, "\"next_run_in_seconds\":null") != NULL)
		atomic_fetch_add(&unaware, 1);
	safestart_free(status);
	atomic_fetch_add(&told, 1);
}

START_TEST(p15_status_knows_of_the_retry_as_soon_as_the_answer_does)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks), .log = ask_status};
	struct safestart_conf *conf =
		conf_with("source=file:/nowhere/nodes.json", "retry_min=20s", NULL);
	char why[256];

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_msg(safestart_open(&asked, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	EVENTUALLY(told == 1);
	ck_assert_int_eq(unaware, 0);
	close_now(asked);
}
END_TEST

START_TEST(p15_a_new_request_cuts_the_backoff_short)
{
	struct app app;

	app_init(&app);
	app.prepare_result = -EIO;
	struct safestart *ss = open_with(&app, "debounce=0", "retry_min=1h", "retry_max=1h", NULL);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_FAILED);
	app.prepare_result = 0;
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

START_TEST(p11_a_rejected_node_is_left_out_and_tried_again)
{
	struct app app;
	char why[256];

	app_init(&app);
	app.reject = "b";
	struct safestart *ss =
		open_with(&app, "debounce=0", "retry_min=2ms", "retry_max=4ms", NULL);
	struct safestart_outcome outcome = push_and_wait(ss, TWO);
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_uint_eq(outcome.quarantined, 1);
	ck_assert_str_eq(live_ids(ss), "a");
	ck_assert_int_eq(safestart_node_state(ss, "b", why, sizeof(why)),
			 SAFESTART_NODE_QUARANTINED);
	ck_assert_msg(strstr(why, "told to") != NULL, "%s", why);
	EVENTUALLY(app.prepares > 3);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	app.reject = NULL;
	EVENTUALLY(safestart_generation(ss) == 2);
	ck_assert_str_eq(live_ids(ss), "a b");
	EVENTUALLY(safestart_node_state(ss, "b", NULL, 0) == SAFESTART_NODE_APPLIED);
	close_now(ss);
}
END_TEST

START_TEST(p11_a_set_of_which_every_node_is_rejected_is_refused_and_tried_again)
{
	struct app app;

	app_init(&app);
	app.reject = "a";
	struct safestart *ss = open_with(&app, "debounce=0", "retry_min=2ms", "retry_max=4ms",
					 "allow_empty=yes", NULL);
	struct safestart_outcome outcome = push_and_wait(ss, ONE);
	ck_assert_int_eq(outcome.verdict, SAFESTART_REFUSED);
	ck_assert_int_eq(outcome.error, -EINVAL);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	app.reject = NULL;
	EVENTUALLY(safestart_generation(ss) == 1);
	close_now(ss);
}
END_TEST

START_TEST(p12_shrinking_too_far_is_refused_unless_forced_and_force_never_empties)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	char *ten = document_of(10), *five = document_of(5), *four = document_of(4);

	ck_assert_int_eq(push_and_wait(ss, ten).verdict, SAFESTART_APPLIED);
	struct safestart_outcome outcome = push_and_wait(ss, four);
	ck_assert_int_eq(outcome.verdict, SAFESTART_REFUSED);
	ck_assert_int_eq(outcome.error, -ERANGE);
	ck_assert_msg(strstr(outcome.message, "would lose 6 of 10 nodes") != NULL &&
			      strstr(outcome.message, "FORCE") != NULL,
		      "%s", outcome.message);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	/* The pushed set has survived. */
	outcome = answer(ss, safestart_request(ss, SAFESTART_FORCE, "meant"));
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(push_and_wait(ss, ten).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(push_and_wait(ss, five).verdict, SAFESTART_APPLIED); /* exactly half */
	ck_assert_int_eq(push_and_wait(ss, "[]").error, -ERANGE);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).error, -ERANGE);
	ck_assert_uint_eq(safestart_generation(ss), 4);
	close_now(ss);
	free(ten), free(five), free(four);
}
END_TEST

START_TEST(p5_unknown_flags_and_process_get_no_ticket)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);

	ck_assert_uint_eq(safestart_request(ss, SAFESTART_PROCESS, NULL), 0);
	ck_assert_uint_eq(safestart_request(ss, 1u << 20, NULL), 0);
	ck_assert_uint_eq(safestart_request(NULL, 0, NULL), 0);
	ck_assert_uint_eq(safestart_request_restart(NULL), 0);
	ck_assert_uint_eq(safestart_request(ss, SAFESTART_FORCE | SAFESTART_URGENT, "both"), 1);
	close_now(ss);
}
END_TEST

START_TEST(p4_urgent_skips_the_debounce)
{
	struct safestart *ss = open_with(NULL, "debounce=1h", "max_delay=2h", NULL);
	uint64_t ticket;

	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_uint_eq(safestart_request(ss, SAFESTART_URGENT, NULL), ticket);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	close_now(ss);
}
END_TEST

START_TEST(node_states_follow_reports_and_incarnations)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);
	uint64_t ticket;

	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_UNKNOWN);
	push_and_wait(ss, TWO);
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_APPLIED);
	struct safestart_snapshot *held = safestart_snapshot_acquire(ss);
	const struct safestart_node *a = safestart_snapshot_find(held, "a");
	safestart_node_report(a, 0);
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_PROVEN);
	const struct {
		int error;
		const char *said;
	} rows[] = {{-EIO, "live, but the newest request to it failed (Input/output error)"},
		    {ECONNREFUSED,
		     "live, but the newest request to it failed (Connection refused)"},
		    {-1, "live, but the newest request to it failed"},
		    {1, "live, but the newest request to it failed"},
		    {4711, "live, but the newest request to it failed"},
		    {INT_MAX, "live, but the newest request to it failed"},
		    {INT_MIN, "live, but the newest request to it failed"}};
	char why[256];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		safestart_node_report(a, rows[i].error);
		ck_assert_int_eq(safestart_node_state(ss, "a", why, sizeof(why)),
				 SAFESTART_NODE_FAILING);
		ck_assert_str_eq(why, rows[i].said);
	}
	ck_assert_int_eq(safestart_node_announce(ss, "a", "10.0.0.1:1", "boot-2", &ticket), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	/* Proven starts over. */
	ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_APPLIED);
	ck_assert_int_eq(safestart_node_announce(ss, "a", "10.0.0.1:2", NULL, &ticket), 0);
	answer(ss, ticket);
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	ck_assert_str_eq(safestart_node_label(safestart_snapshot_find(live, "a"), "incarnation"),
			 "boot-2");
	ck_assert_uint_eq(safestart_node_port(safestart_snapshot_find(live, "a")), 2);
	safestart_read_unlock(ss);
	ck_assert_int_eq(safestart_node_withdraw(ss, "b", &ticket), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	/* Held has it. */
	ck_assert_int_eq(safestart_node_state(ss, "b", NULL, 0), SAFESTART_NODE_RETIRED);
	safestart_snapshot_release(held);
	EVENTUALLY(safestart_node_state(ss, "b", NULL, 0) == SAFESTART_NODE_UNKNOWN);
	ck_assert_int_eq(safestart_node_withdraw(ss, "b", NULL), -ENOENT);
	ck_assert_int_eq(safestart_node_announce(ss, "c", "nowhere", NULL, NULL), -EINVAL);
	close_now(ss);
}
END_TEST

START_TEST(what_was_probably_not_meant_is_said_to_the_caller_and_logged)
{
	struct app app;
	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	uint64_t ticket;
	char why[256];

	ck_assert_int_eq(safestart_nodes_replace(ss, "[{\"targets\":[\"10.0.0.1:1\"],\"x\":0}]",
						 &ticket, why, sizeof(why)),
			 0);
	ck_assert_ptr_nonnull(strstr(why, "group 1: the member \"x\" is unknown"));
	(void)answer(ss, ticket);
	ck_assert(app_logged(&app, "group 1: the member \"x\" is unknown"));
	ck_assert_int_eq(safestart_node_announce(ss, "b", "10.0.0.01:1", NULL, &ticket), 0);
	(void)answer(ss, ticket);
	ck_assert(!app_logged(&app, "same address"));
	ck_assert_int_eq(safestart_node_announce(ss, "c", "10.0.0.1:01", NULL, &ticket), 0);
	(void)answer(ss, ticket);
	ck_assert(app_logged(&app, "10.0.0.1:1 and c have the same address, 10.0.0.1:1"));
	close_now(ss);
}
END_TEST

START_TEST(p5_a_rate_limit_defers_and_never_refuses)
{
	struct app app;

	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", "min_interval=20ms", NULL);
	int64_t begin = now_ms();
	for (int i = 0; i < 5; i++) {
		uint64_t ticket;
		announce(ss, i, &ticket);
		ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
	}
	ck_assert_int_ge(now_ms() - begin, 4 * 20 - 1);
	close_now(ss);
}
END_TEST

struct asker {
	struct safestart *ss;
	_Atomic bool stop;
};

static void *ask_for_ever(void *argument)
{
	struct asker *asker = argument;

	while (!atomic_load(&asker->stop))
		safestart_request_restart(asker->ss);
	return NULL;
}

static unsigned long long requests_counted(struct safestart *ss)
{
	char *metrics = safestart_metrics_text(ss),
	     *counted = strstr(metrics, "\nsafestart_requests_total{");
	unsigned long long count = 0;

	ck_assert_ptr_nonnull(counted);
	ck_assert_int_eq(sscanf(strchr(counted, '}'), "} %llu", &count), 1);
	safestart_free(metrics);
	return count;
}

/* To Prometheus a counter that goes back means a restarted process, and its whole value counts
 * as a burst of requests. */
START_TEST(requests_on_their_way_into_a_run_are_counted_all_the_same)
{
	struct safestart *ss = open_with(NULL, "source=none", "debounce=0", NULL);
	struct asker asker = {.ss = ss};
	unsigned long long before = 0;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, ask_for_ever, &asker), 0);
	for (int i = 0; i < repeat(under_valgrind() ? 500 : 20000); i++) {
		unsigned long long now = requests_counted(ss);
		ck_assert_msg(now >= before, "%llu requests were counted, and then %llu", before,
			      now);
		before = now;
	}
	atomic_store(&asker.stop, true);
	pthread_join(thread, NULL);
	close_now(ss);
}
END_TEST

SUITE("handle", what_was_probably_not_meant_is_said_to_the_caller_and_logged,
      p3_three_announcements_are_one_run_one_ticket_one_generation,
      p2_fifty_requests_during_a_run_lead_to_exactly_one_more,
      p7_the_same_set_in_another_order_is_unchanged,
      a_request_before_anything_was_pushed_changes_nothing,
      p6_what_wait_says_of_tickets_it_can_not_answer,
      p14_a_hanging_prepare_times_out_and_is_ignored_when_it_returns,
      p14_a_run_behind_a_log_that_hangs_says_what_is_known_and_starts_when_it_returns,
      p15_a_failing_prepare_is_answered_at_once_and_retried,
      p15_status_knows_of_the_retry_as_soon_as_the_answer_does,
      p15_a_new_request_cuts_the_backoff_short, p11_a_rejected_node_is_left_out_and_tried_again,
      p11_a_set_of_which_every_node_is_rejected_is_refused_and_tried_again,
      p12_shrinking_too_far_is_refused_unless_forced_and_force_never_empties,
      p5_unknown_flags_and_process_get_no_ticket, p4_urgent_skips_the_debounce,
      node_states_follow_reports_and_incarnations, p5_a_rate_limit_defers_and_never_refuses,
      requests_on_their_way_into_a_run_are_counted_all_the_same)
