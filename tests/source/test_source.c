/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A source of the application, through safestart/source.h and nothing else. */
#include <errno.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "support/support.h"

#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"
#define A "[" NODE("a", "10.0.0.1:1") "]"
#define AB "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]"

enum manner {
	HAND_OVER,
	FAIL_IN_WORDS,
	FAIL_WITHOUT_WORDS,
	SILENT, /* 0, but no document */
	LATER_FINISHED_BEFORE_RETURNING,
	LATER_FINISHED_ELSEWHERE,
	LATER_FAILED_ELSEWHERE,
	LATER_KEPT, /* the test finishes it */
	LATER_FINISHED_BY_HINT,
	HAND_OVER_AND_HANG,
	UNCHANGED,
};

/* The user_data of the source, and its state at the same time. */
struct fake {
	_Atomic enum manner manner;
	const char *_Atomic document;
	_Atomic bool noisy; /* its descriptor stays readable */
	_Atomic int opens, closes, gathers, hints, open_error, hint_result, late, unchanged, forced;
	_Atomic int inside, overlaps; /* its functions are called one at a time */
	_Atomic bool hang;
	struct safestart_gather *_Atomic kept;
	pthread_t finisher;
	bool finishing;
	int fd;
	char argument[32], colour[32], size[32];
	bool unknown_is_null;
	_Atomic bool warns; /* at each gather */
};

static int fake_open(void **state, const struct safestart_source_conf *conf, char *why,
		     size_t why_size, void *user_data)
{
	struct fake *fake = user_data;

	atomic_fetch_add(&fake->opens, 1);
	if (atomic_load(&fake->open_error) < 0) {
		snprintf(why, why_size, "the registry's certificate has expired");
		return atomic_load(&fake->open_error);
	}
	snprintf(fake->argument, sizeof(fake->argument), "%s", safestart_source_argument(conf));
	snprintf(fake->colour, sizeof(fake->colour), "%s",
		 safestart_source_value(conf, "fake_colour"));
	snprintf(fake->size, sizeof(fake->size), "%s", safestart_source_value(conf, "fake_size"));
	fake->unknown_is_null = safestart_source_value(conf, "fake_nothing") == NULL;
	*state = fake;
	return 0;
}

static void *finish_elsewhere(void *argument)
{
	struct fake *fake = argument;
	struct safestart_gather *gather = atomic_load(&fake->kept);

	pause_a_moment();
	if (atomic_load(&fake->manner) == LATER_FAILED_ELSEWHERE)
		ck_assert_int_eq(safestart_gather_finish(gather,
							 safestart_gather_fail(gather,
									       -ECONNREFUSED,
									       "the registry "
									       "refused the "
									       "connection")),
				 0);
	else
		ck_assert_int_eq(safestart_gather_finish(
					 gather,
					 safestart_gather_json(gather, atomic_load(&fake->document),
							       strlen(atomic_load(
								       &fake->document)))),
				 0);
	return NULL;
}

static int hand_over(struct fake *fake, struct safestart_gather *gather)
{
	const char *document = atomic_load(&fake->document);

	return safestart_gather_json(gather, document, strlen(document));
}

static int gather_as_told(struct fake *fake, struct safestart_gather *gather)
{
	int error;

	switch (atomic_load(&fake->manner)) {
	case HAND_OVER: return hand_over(fake, gather);
	case FAIL_IN_WORDS:
		return safestart_gather_fail(gather, -EHOSTUNREACH,
					     "the registry at 10.9.8.7 can't be reached; look at "
					     "its route");
	case FAIL_WITHOUT_WORDS: return -EHOSTUNREACH;
	case SILENT: return 0;
	case LATER_FINISHED_BEFORE_RETURNING:
		ck_assert_int_eq(safestart_gather_finish(gather, hand_over(fake, gather)), 0);
		return SAFESTART_LATER;
	case LATER_FINISHED_ELSEWHERE:
	case LATER_FAILED_ELSEWHERE:
		atomic_store(&fake->kept, gather);
		if (fake->finishing)
			pthread_join(fake->finisher, NULL);
		fake->finishing =
			pthread_create(&fake->finisher, NULL, finish_elsewhere, fake) == 0;
		return SAFESTART_LATER;
	case LATER_KEPT: atomic_store(&fake->kept, gather); return SAFESTART_LATER;
	case LATER_FINISHED_BY_HINT: /* an answer has come: its descriptor says so */
		atomic_store(&fake->kept, gather);
		(void)eventfd_write(fake->fd, 1);
		return SAFESTART_LATER;
	case HAND_OVER_AND_HANG:
		error = hand_over(fake, gather);
		while (atomic_load(&fake->hang))
			pause_a_moment();
		return error;
	case UNCHANGED:
		error = safestart_gather_unchanged(gather);
		atomic_store(&fake->unchanged, error);
		return error == 0 ? 0 : hand_over(fake, gather);
	}
	return -EINVAL;
}

static void enter(struct fake *fake)
{
	if (atomic_fetch_add(&fake->inside, 1) > 0)
		atomic_fetch_add(&fake->overlaps, 1);
}

static int fake_gather(void *state, struct safestart_gather *gather)
{
	struct fake *fake = state;

	enter(fake);
	atomic_store(&fake->forced, safestart_gather_forced(gather));
	atomic_fetch_add(&fake->gathers, 1);
	if (atomic_load(&fake->warns))
		safestart_gather_warn(gather, "the registry's certificate expires tomorrow");
	int result = gather_as_told(fake, gather);
	atomic_fetch_sub(&fake->inside, 1);
	return result;
}

static void fake_close(void *state)
{
	struct fake *fake = state;

	enter(fake);
	atomic_fetch_add(&fake->closes, 1);
	if (fake->finishing)
		pthread_join(fake->finisher, NULL);
	atomic_fetch_sub(&fake->inside, 1);
}

static int fake_fd(void *state)
{
	return ((struct fake *)state)->fd;
}

static int fake_hint(void *state)
{
	struct fake *fake = state;
	eventfd_t count;

	enter(fake);
	if (!atomic_load(&fake->noisy))
		(void)eventfd_read(fake->fd, &count);
	int result = atomic_load(&fake->hint_result);
	struct safestart_gather *kept = atomic_load(&fake->kept);
	if (atomic_load(&fake->manner) == LATER_FINISHED_BY_HINT && kept != NULL) {
		atomic_store(&fake->kept, NULL);
		fake->late = safestart_gather_finish(kept, hand_over(fake, kept));
	}
	atomic_fetch_add(&fake->hints, 1);
	atomic_fetch_sub(&fake->inside, 1);
	return result;
}

static const struct safestart_source_setting settings[] = {
	{"fake_colour", "green", "the colour of the registry"},
	{"fake_size", "", "its size; not set: any"},
	{NULL, NULL, NULL},
};

static const struct safestart_source fake_source = {
	.size = sizeof(fake_source),
	.scheme = "fake",
	.settings = settings,
	.open = fake_open,
	.gather = fake_gather,
	.close = fake_close,
	.fd = fake_fd,
	.hint = fake_hint,
};

static struct safestart_conf *conf_of(struct app *app, struct fake *fake)
{
	struct safestart_conf *conf = conf_with("debounce=5ms", "retry_min=0", "reconcile=0", NULL);

	memset(fake, 0, sizeof(*fake));
	atomic_store(&fake->document, A);
	fake->fd = -1;
	app_init(app);
	app_use(app, conf);
	ck_assert_int_eq(safestart_conf_add_source(conf, &fake_source, fake), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "fake:over/there", NULL, 0), 0);
	return conf;
}

static struct safestart *open_conf(struct safestart_conf *conf, const char *key, const char *value)
{
	struct safestart *ss;
	char why[256] = "";

	if (key != NULL)
		ck_assert_int_eq(safestart_conf_set(conf, key, value, why, sizeof(why)), 0);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	return ss;
}

static void close_both(struct safestart *ss, struct fake *fake)
{
	close_now(ss);
	ck_assert_int_eq(fake->opens, 1);
	ck_assert_int_eq(fake->closes, 1);
	ck_assert_int_eq(fake->overlaps, 0);
}

/* ---- Settings and open ---- */

START_TEST(a_source_has_settings_of_its_own_with_defaults)
{
	struct app app;
	struct fake fake;
	char why[256];

	struct safestart_conf *conf = conf_of(&app, &fake);
	ck_assert_int_eq(safestart_conf_set(conf, "fake_color", "red", why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "fake_colour"));
	ck_assert_int_eq(safestart_conf_add_source(conf, &fake_source, &fake), -EEXIST);
	struct safestart *ss = open_conf(conf, "fake_size", "large");
	ck_assert_str_eq(fake.argument, "over/there");
	ck_assert_str_eq(fake.colour, "green");
	ck_assert_str_eq(fake.size, "large");
	ck_assert(fake.unknown_is_null);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "a");
	ck_assert_int_eq(safestart_nodes_replace(ss, AB, NULL, why, sizeof(why)), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(why, "fake:over/there"));
	close_both(ss, &fake);
}
END_TEST

START_TEST(a_source_that_can_not_be_opened_says_why_and_leaves_nothing)
{
	struct app app;
	struct fake fake;
	char why[256];

	struct safestart_conf *conf = conf_of(&app, &fake);
	atomic_store(&fake.open_error, -EACCES);
	for (int i = 0; i < 3; i++) {
		struct safestart *ss = (struct safestart *)&fake;
		ck_assert_int_eq(safestart_open(&ss, conf, why, sizeof(why)), -EACCES);
		ck_assert_ptr_null(ss);
		ck_assert_ptr_nonnull(strstr(why, "certificate has expired"));
	}
	ck_assert_int_eq(fake.closes, 0);
	atomic_store(&fake.open_error, 0);
	fake.opens = 0;
	struct safestart *ss = open_conf(conf, NULL, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	close_both(ss, &fake);
}
END_TEST

/* ---- Gathering ---- */

START_TEST(p9_a_gather_that_fails_says_so_and_the_next_one_applies)
{
	static const struct {
		enum manner manner;
		int error;
		const char *words;
	} cases[] = {
		{FAIL_IN_WORDS, -EHOSTUNREACH, "registry at 10.9.8.7 can't be reached"},
		{FAIL_WITHOUT_WORDS, -EHOSTUNREACH, "route"},
		{SILENT, -EPROTO, "no document"},
		{LATER_FAILED_ELSEWHERE, -ECONNREFUSED, "the registry refused the connection"},
	};
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), NULL, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t generation = safestart_generation(ss);
		int prepares = app.prepares;
		atomic_store(&fake.document, i % 2 == 0 ? AB : A);
		atomic_store(&fake.manner, cases[i].manner);
		struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
		ck_assert_int_eq(outcome.error, cases[i].error);
		ck_assert_msg(strstr(outcome.message, cases[i].words) != NULL, "%s",
			      outcome.message);
		ck_assert_uint_eq(safestart_generation(ss), generation);
		ck_assert_int_eq(app.prepares, prepares);
		atomic_store(&fake.manner, HAND_OVER);
		ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict,
				 SAFESTART_APPLIED);
	}
	close_both(ss, &fake);
}
END_TEST

START_TEST(p15_a_gather_that_fails_is_asked_again_by_itself)
{
	struct app app;
	struct fake fake;
	struct safestart_conf *conf = conf_of(&app, &fake);

	atomic_store(&fake.manner, FAIL_IN_WORDS);
	ck_assert_int_eq(safestart_conf_set(conf, "retry_max", "10ms", NULL, 0), 0);
	struct safestart *ss = open_conf(conf, "retry_min", "1ms");
	EVENTUALLY(fake.gathers > 5);
	atomic_store(&fake.manner, HAND_OVER);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	close_both(ss, &fake);
}
END_TEST

START_TEST(a_gather_may_be_finished_later_by_any_thread_and_before_it_has_returned)
{
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), NULL, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	for (int i = 0; i < 20; i++) {
		atomic_store(&fake.manner, i % 4 < 2 ? LATER_FINISHED_ELSEWHERE
						     : LATER_FINISHED_BEFORE_RETURNING);
		atomic_store(&fake.document, i % 2 == 0 ? AB : A);
		struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_msg(outcome.verdict == SAFESTART_APPLIED, "%s", outcome.message);
		ck_assert_str_eq(live_ids(ss), i % 2 == 0 ? "a b" : "a");
	}
	close_both(ss, &fake);
}
END_TEST

START_TEST(p14_a_gather_finished_too_late_is_ignored)
{
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), "run_timeout", "500ms");
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	atomic_store(&fake.document, AB);
	atomic_store(&fake.manner, LATER_KEPT);
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -ETIMEDOUT);
	ck_assert_ptr_nonnull(strstr(outcome.message, "gather"));
	struct safestart_gather *gather = atomic_load(&fake.kept);
	ck_assert_int_eq(safestart_gather_cancelled(gather), 1);
	ck_assert_int_eq(safestart_gather_json(gather, AB, strlen(AB)), 0);
	ck_assert_int_eq(safestart_gather_finish(gather, 0), -ESTALE);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	atomic_store(&fake.manner, HAND_OVER);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_APPLIED);
	ck_assert_str_eq(live_ids(ss), "a b");
	close_both(ss, &fake);
}
END_TEST

START_TEST(p14_a_gather_that_hangs_times_out_and_a_run_starts_when_it_returns)
{
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), "run_timeout", "500ms");
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	atomic_store(&fake.document, AB);
	atomic_store(&fake.hang, true);
	atomic_store(&fake.manner, HAND_OVER_AND_HANG);
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_msg(strstr(outcome.message, "`gather`") != NULL &&
			      strstr(outcome.message, "when it returns") != NULL,
		      "%s", outcome.message);
	ck_assert_str_eq(live_ids(ss), "a");
	atomic_store(&fake.manner, HAND_OVER);
	atomic_store(&fake.hang, false);
	EVENTUALLY(safestart_generation(ss) == 2);
	close_both(ss, &fake);
}
END_TEST

/* The source has handed the new set over and takes it for known. What the late run dropped must not
 * be lost. */
START_TEST(p9_after_a_gather_that_was_too_late_unchanged_does_not_mean_the_set_before_it)
{
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), "run_timeout", "500ms");
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	atomic_store(&fake.document, AB);
	atomic_store(&fake.hang, true);
	atomic_store(&fake.manner, HAND_OVER_AND_HANG);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_TIMED_OUT);
	atomic_store(&fake.manner, UNCHANGED);
	atomic_store(&fake.hang, false);
	(void)answer(ss, safestart_request_restart(ss));
	ck_assert_str_eq(live_ids(ss), "a b");
	close_both(ss, &fake);
}
END_TEST

START_TEST(p7_unchanged_is_taken_once_there_is_something_it_can_mean)
{
	struct app app;
	struct fake fake;
	struct safestart_conf *conf = conf_of(&app, &fake);

	atomic_store(&fake.manner, UNCHANGED);
	struct safestart *ss = open_conf(conf, NULL, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_int_eq(fake.unchanged, -EAGAIN);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_UNCHANGED);
	ck_assert_int_eq(fake.unchanged, 0);
	ck_assert_int_eq(fake.forced, 0);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).verdict,
			 SAFESTART_UNCHANGED);
	ck_assert_int_eq(fake.forced, 1);
	ck_assert_int_eq(app.prepares, 1);
	/* After a failure there is nothing it could mean, after a refusal it is the refusal. */
	atomic_store(&fake.manner, FAIL_IN_WORDS);
	(void)answer(ss, safestart_request_restart(ss));
	atomic_store(&fake.manner, UNCHANGED);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_UNCHANGED);
	ck_assert_int_eq(fake.unchanged, -EAGAIN);
	atomic_store(&fake.manner, HAND_OVER);
	atomic_store(&fake.document, "{}");
	struct safestart_outcome refused = answer(ss, safestart_request_restart(ss));
	atomic_store(&fake.manner, UNCHANGED);
	struct safestart_outcome again = answer(ss, safestart_request_restart(ss));
	ck_assert_int_eq(again.verdict, SAFESTART_REFUSED);
	ck_assert_str_eq(again.message, refused.message);
	close_both(ss, &fake);
}
END_TEST

/* ---- Hints ---- */

START_TEST(a_hint_of_zero_leads_to_no_run_and_a_positive_one_to_a_run)
{
	struct app app;
	struct fake fake;
	struct safestart_conf *conf = conf_of(&app, &fake);

	fake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct safestart *ss = open_conf(conf, "debounce", "0");
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	for (int i = 1; i <= 20; i++) {
		ck_assert_int_eq(eventfd_write(fake.fd, 1), 0);
		EVENTUALLY(fake.hints == i);
		ck_assert_uint_eq(answer(ss, safestart_request_restart(ss)).run, (uint64_t)i + 1);
	}
	atomic_store(&fake.hint_result, 1);
	for (int i = 1; i <= 20; i++) {
		atomic_store(&fake.document, i % 2 == 1 ? AB : A);
		ck_assert_int_eq(eventfd_write(fake.fd, 1), 0);
		EVENTUALLY(safestart_generation(ss) == (uint64_t)i + 1);
	}
	close_both(ss, &fake);
	ck_assert_int_eq(fake.hints, 40);
	close(fake.fd);
}
END_TEST

/* A directory in which other programs make and remove files all the time: ten looks a second are
 * enough, and a change among them is noticed. */
START_TEST(p16_hints_of_no_interest_do_not_keep_the_processor_busy)
{
	struct app app;
	struct fake fake;
	struct safestart_conf *conf = conf_of(&app, &fake);

	fake.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	atomic_store(&fake.noisy, true);
	struct safestart *ss = open_conf(conf, "debounce", "0");
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	EVENTUALLY(fake.hints > 0);
	int64_t begun = now_ms();
	EVENTUALLY(fake.hints >= 12);
	ck_assert_int_ge(now_ms() - begun, 400);
	atomic_store(&fake.document, AB);
	atomic_store(&fake.hint_result, 1);
	EVENTUALLY(safestart_generation(ss) == 2);
	atomic_store(&fake.noisy, false);
	close_both(ss, &fake);
	close(fake.fd);
}
END_TEST

/* ---- Close ---- */

START_TEST(a_handle_that_is_closed_before_its_first_load_closes_the_source_once)
{
	struct app app;
	struct fake fake;

	for (int i = 0; i < 50; i++)
		close_both(open_conf(conf_of(&app, &fake), NULL, NULL), &fake);
}
END_TEST

START_TEST(close_waits_for_a_gather_that_is_still_open)
{
	struct app app;
	struct fake fake;
	struct safestart_conf *conf = conf_of(&app, &fake);

	atomic_store(&fake.manner, LATER_KEPT);
	struct safestart *ss = open_conf(conf, "run_timeout", "500ms");
	EVENTUALLY(atomic_load(&fake.kept) != NULL);
	ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	ck_assert_int_eq(fake.closes, 0);
	ck_assert_int_eq(safestart_gather_finish(atomic_load(&fake.kept), 0), -ESTALE);
	close_both(ss, &fake);
}
END_TEST

/* With the application's own loop a source that fetches without blocking is no other than one that
 * blocks. */
START_TEST(p6_a_gather_that_goes_on_by_its_descriptor_is_waited_for)
{
	struct app app;
	struct fake fake;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart_conf *conf = conf_of(&app, &fake);

	fake.fd = eventfd(0, EFD_NONBLOCK);
	atomic_store(&fake.manner, LATER_FINISHED_BY_HINT);
	struct safestart *ss = open_conf(conf, "thread", "no");
	ck_assert_int_eq(safestart_wait_ready(ss, -1), 0);
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), -1, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_UNCHANGED);
	/* Closed in the middle of one. */
	int gathers = fake.gathers;
	safestart_request_restart(ss);
	EVENTUALLY(safestart_dispatch(ss, 0) == 0 && fake.gathers > gathers);
	close_both(ss, &fake);
	close(fake.fd);
}
END_TEST

/* Nothing ever comes. */
START_TEST(close_names_the_gather_that_it_waits_for)
{
	struct app app;
	struct fake fake;
	struct safestart_conf *conf = conf_of(&app, &fake);

	fake.fd = eventfd(0, EFD_NONBLOCK);
	atomic_store(&fake.manner, LATER_KEPT);
	safestart_conf_set(conf, "run_timeout", "100ms", NULL, 0);
	struct safestart *ss = open_conf(conf, "thread", "no");
	EVENTUALLY(safestart_dispatch(ss, 1) == 0 && atomic_load(&fake.kept) != NULL);
	ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	ck_assert(app_logged(&app, "the source fake:over/there has not called "
				   "safestart_gather_finish() for 1 gathers"));
	ck_assert_int_eq(safestart_gather_finish(atomic_load(&fake.kept), 0), -ESTALE);
	close_both(ss, &fake);
	close(fake.fd);
}
END_TEST

START_TEST(a_warning_of_every_gather_is_logged_as_a_failure_that_repeats)
{
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), NULL, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	for (int round = 0; round < 2; round++) {
		atomic_store(&app.warnings, 0);
		atomic_store(&fake.warns, true);
		for (int i = 0; i < 10; i++)
			(void)answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(app.warnings, 4); /* the 1st, 2nd, 4th and 8th time */
		/* A gather without it ends the row. */
		atomic_store(&fake.warns, false);
		(void)answer(ss, safestart_request_restart(ss));
	}
	close_both(ss, &fake);
}
END_TEST

/* The log's lines with these words. */
static int count_logged(struct app *app, const char *words)
{
	int count = 0;

	pthread_mutex_lock(&app->lock);
	for (const char *at = app->log; (at = strstr(at, words)) != NULL; at++)
		count++;
	pthread_mutex_unlock(&app->lock);
	return count;
}

START_TEST(a_warning_about_a_document_is_logged_when_it_is_new)
{
	static const char *const documents[] =
		{"[{\"targets\":[\"10.0.0.1:1\"],\"zone\":\"a\"}]",
		 "[{\"targets\":[\"10.0.0.1:1\"],\"zone\":\"a\"},{\"targets\":[],\"z\":1}]"};
	struct app app;
	struct fake fake;

	struct safestart *ss = open_conf(conf_of(&app, &fake), NULL, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	for (int round = 1; round <= 2; round++) {
		for (int i = 0; i < 2; i++) {
			atomic_store(&fake.document, documents[i]);
			for (int j = 0; j < 3; j++)
				(void)answer(ss, safestart_request_restart(ss));
		}
		ck_assert_int_eq(count_logged(&app, "group 1: the member \"zone\" is unknown"),
				 2 * round);
		ck_assert_int_eq(count_logged(&app, "2 warnings, the first: group 1"), round);
		atomic_store(&fake.document, A);
		(void)answer(ss, safestart_request_restart(ss));
	}
	close_both(ss, &fake);
}
END_TEST

SUITE("source", a_warning_about_a_document_is_logged_when_it_is_new,
      a_warning_of_every_gather_is_logged_as_a_failure_that_repeats,
      p6_a_gather_that_goes_on_by_its_descriptor_is_waited_for,
      close_names_the_gather_that_it_waits_for, a_source_has_settings_of_its_own_with_defaults,
      a_source_that_can_not_be_opened_says_why_and_leaves_nothing,
      p9_a_gather_that_fails_says_so_and_the_next_one_applies,
      p15_a_gather_that_fails_is_asked_again_by_itself,
      a_gather_may_be_finished_later_by_any_thread_and_before_it_has_returned,
      p14_a_gather_finished_too_late_is_ignored,
      p14_a_gather_that_hangs_times_out_and_a_run_starts_when_it_returns,
      p9_after_a_gather_that_was_too_late_unchanged_does_not_mean_the_set_before_it,
      p7_unchanged_is_taken_once_there_is_something_it_can_mean,
      a_hint_of_zero_leads_to_no_run_and_a_positive_one_to_a_run,
      p16_hints_of_no_interest_do_not_keep_the_processor_busy,
      a_handle_that_is_closed_before_its_first_load_closes_the_source_once,
      close_waits_for_a_gather_that_is_still_open)
