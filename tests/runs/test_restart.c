/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How often `restart` is called: once for a request or a set, until it was carried out. */
#include <errno.h>
#include <safestart/source.h>
#include <string.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

static struct safestart *open_restarting(struct app *app, const char *setting)
{
	app_init(app);
	app->restart_enabled = true;
	return open_with(app, "debounce=0", "retry_min=1ms", "retry_max=1ms", setting, NULL);
}

/* Until so many retries have ended. */
static void retry_until(struct app *app, int prepares)
{
	EVENTUALLY(app->prepares >= prepares && app->outcomes >= prepares - 1);
}

START_TEST(p15_retries_for_a_rejected_node_restart_nothing)
{
	struct app app;
	struct safestart *ss = open_restarting(&app, NULL);

	app.reject = "b";
	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_APPLIED);
	retry_until(&app, 20);
	ck_assert_int_eq(app.restarts, 1);
	/* A request asks for it once more, whatever the retries do. */
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(outcome.verdict, SAFESTART_APPLIED);
	ck_assert_msg(strstr(outcome.message, "restart carried out") != NULL, "%s",
		      outcome.message);
	retry_until(&app, app.prepares + 10);
	ck_assert_int_eq(app.restarts, 2);
	/* The set that the node comes back with is a new one. */
	app.reject = NULL;
	EVENTUALLY(strcmp(live_ids(ss), "a b") == 0 && app.restarts == 3);
	close_now(ss);
	ck_assert_int_eq(app.restarts, 3);
}
END_TEST

START_TEST(p15_a_restart_that_failed_is_retried_until_it_is_carried_out)
{
	struct app app;
	struct safestart *ss = open_restarting(&app, NULL);

	app.reject = "b";
	app.restart_result = -EIO;
	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_FAILED);
	EVENTUALLY(app.restarts >= 5);
	app.restart_result = 0;
	int carried_out = app.restarts;
	retry_until(&app, app.prepares + 20);
	/* One may have been inside, and failed, when the result was changed. */
	ck_assert_int_le(app.restarts, carried_out + 2);
	ck_assert_int_ge(app.restarts, carried_out);
	carried_out = app.restarts;
	retry_until(&app, app.prepares + 20);
	ck_assert_int_eq(app.restarts, carried_out);
	close_now(ss);
}
END_TEST

/* A source that cannot be read for a while. */
static _Atomic int gather_error, gathers;

static int flaky_open(void **state, const struct safestart_source_conf *conf, char *why,
		      size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int flaky_gather(void *state, struct safestart_gather *gather)
{
	int error = gather_error;

	(void)state;
	gathers++;
	return error < 0 ? error : safestart_gather_json(gather, ONE, strlen(ONE));
}

static void flaky_close(void *state)
{
	(void)state;
}

START_TEST(p15_a_request_whose_run_failed_before_is_restarted_by_the_retry)
{
	static const struct safestart_source flaky = {.size = sizeof(flaky),
						      .scheme = "flaky",
						      .open = flaky_open,
						      .gather = flaky_gather,
						      .close = flaky_close};
	struct safestart_conf *conf =
		conf_with("debounce=0", "retry_min=1ms", "retry_max=1ms", "reconcile=5ms", NULL);
	struct safestart *ss;
	struct app app;

	app_init(&app);
	app.restart_enabled = true;
	app_use(&app, conf);
	ck_assert_int_eq(safestart_conf_add_source(conf, &flaky, NULL), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "flaky:", NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	EVENTUALLY(app.restarts == 1 && gathers > 3); /* the first load; then only a reconcile */
	gather_error = -EIO;
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_FAILED);
	EVENTUALLY(gathers > 10);
	ck_assert_int_eq(app.restarts, 1);
	gather_error = 0;
	EVENTUALLY(app.restarts == 2);
	for (int until = gathers + 20; gathers < until;)
		pause_a_moment();
	ck_assert_int_eq(app.restarts, 2);
	close_now(ss);
}
END_TEST

/* It expires before it could begin: the run that follows the callback carries out what was asked.
 */
START_TEST(p15_a_request_that_could_not_begin_is_restarted_afterwards)
{
	struct app app;
	struct safestart *ss = open_restarting(&app, "run_timeout=20ms");

	EVENTUALLY(push_and_wait(ss, ONE).verdict <= SAFESTART_UNCHANGED);
	app.hold = true;
	ck_assert_int_eq(push_and_wait(ss, TWO).verdict, SAFESTART_TIMED_OUT);
	int restarts = app.restarts;
	/* Nothing of it has to go live any more. */
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(app.restarts, restarts);
	app.hold = false;
	EVENTUALLY(app.restarts > restarts);
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

SUITE("restart", p15_retries_for_a_rejected_node_restart_nothing,
      p15_a_restart_that_failed_is_retried_until_it_is_carried_out,
      p15_a_request_whose_run_failed_before_is_restarted_by_the_retry,
      p15_a_request_that_could_not_begin_is_restarted_afterwards)
