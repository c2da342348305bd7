/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole handles under load: a run sees what was written before the requests that it answers,
 * each ticket is answered once, and all requests are counted, from whatever thread or handler
 * they come. */
#include <errno.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>

#include "stress/litmus.h"
#include "support/support.h"

#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
#define REQUESTS 10000 /* of each thread that makes requests */
#define ROUNDS 300     /* of each thread that waits for every outcome */
#else
#define REQUESTS 50000
#define ROUNDS 2000
#endif

/* The application: only callbacks use everything but the last member, because they never
 * overlap. */
struct looker {
	uint64_t covers;  /* tickets up to here are covered by the run in progress */
	uint64_t counted; /* requests in outcomes */
	uint64_t run;
	const char *wrong; /* NULL: no error; no ck_assert in callbacks */
	_Atomic int told;  /* outcomes */
};

static struct safestart *asked;

static uint64_t ask_the_handle(const char *reason)
{
	return safestart_request(asked, 0, reason);
}

/* Every run covers one batch, the next one: only the requests make a run due. */
static void look(struct looker *looker)
{
	looker->covers++;
	if (!askers_look(looker->covers))
		looker->wrong = "a run did not see what was written before it was asked for";
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	(void)run;
	look(user_data);
	return 0;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	struct looker *looker = user_data;

	looker->counted += outcome->requests;
	if (outcome->requests > 0)
		askers_counted(outcome->ticket, outcome->requests);
	if (outcome->ticket != looker->covers || outcome->run <= looker->run)
		looker->wrong = "a ticket was answered twice, or out of turn";
	looker->run = outcome->run;
	atomic_fetch_add(&looker->told, 1);
}

/* A source of the application that checks when it is read; its set is another one each time. */
static int look_open(void **state, const struct safestart_source_conf *conf, char *why,
		     size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

static int look_gather(void *state, struct safestart_gather *gather)
{
	struct looker *looker = state;
	char document[128];

	if (looker->run > 0) /* the first load has no request */
		look(looker);
	int length = snprintf(document, sizeof(document),
			      "[{\"targets\":[\"10.0.0.1:%u\"],\"labels\":{\"id\":\"a\"}}]",
			      (unsigned)(looker->covers % 60000 + 1));
	return safestart_gather_json(gather, document, (size_t)length);
}

static void look_close(void *state)
{
	(void)state;
}

static const struct safestart_source look_source = {.size = sizeof(look_source),
						    .scheme = "look",
						    .open = look_open,
						    .gather = look_gather,
						    .close = look_close};

static void open_looking(struct looker *looker, const char *source, const char *thread,
			 const char *debounce)
{
	struct safestart_callbacks callbacks = {.size = sizeof(callbacks), .outcome = on_outcome};
	struct safestart_conf *conf =
		conf_with(thread, debounce, "reconcile=0", "retry_min=0", NULL);
	char why[256];

	*looker = (struct looker){0};
	if (strcmp(source, "none") == 0)
		callbacks.restart = on_restart;
	ck_assert_int_eq(safestart_conf_add_source(conf, &look_source, looker), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", source, why, sizeof(why)), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, looker), 0);
	ck_assert_int_eq(safestart_open(&asked, conf, why, sizeof(why)), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait_ready(asked, 30000), 0);
}

static void turn(const char *thread)
{
	if (strcmp(thread, "thread=no") == 0)
		ck_assert_int_eq(safestart_dispatch(asked, 100), 0);
	else
		pause_a_moment();
}

static void fire(const char *source, const char *thread, const char *debounce, bool interrupted)
{
	struct looker looker;

	open_looking(&looker, source, thread, debounce);
	while (strcmp(source, "none") != 0 && looker.told == 0)
		turn(thread);
	askers_start(ask_the_handle, strcmp(debounce, "debounce=0") == 0 ? REQUESTS : REQUESTS / 20,
		     interrupted);
	while (askers_at_work())
		turn(thread);
	uint64_t accepted = askers_join() + 1, last = safestart_request_restart(asked);
	struct safestart_outcome outcome = answer(asked, last), again = {.size = sizeof(again)};
	ck_assert_int_eq(safestart_wait(asked, last, 0, &again), 0);
	ck_assert_int_eq(memcmp(&outcome, &again, sizeof(again)), 0);
	close_now(asked);
	ck_assert_msg(looker.wrong == NULL, "%s", looker.wrong);
	ck_assert_uint_eq(looker.covers, last);
	ck_assert_uint_eq(looker.counted, accepted);
	askers_counted(last, UINT64_MAX); /* without our own */
	ck_assert(askers_look(last));     /* those that noted their ticket only now */
	askers_check();
}

START_TEST(p2_a_run_sees_what_was_written_before_asking)
{
	for (int i = 0; i < repeat(1); i++) {
		fire("none", "thread=yes", "debounce=0", false);
		fire("none", "thread=no", "debounce=0", false);
	}
}
END_TEST

START_TEST(p2_so_does_a_source_that_is_read)
{
	for (int i = 0; i < repeat(1); i++) {
		fire("look", "thread=yes", "debounce=0", false);
		fire("look", "thread=no", "debounce=0", false);
	}
}
END_TEST

START_TEST(p2_asked_by_signal_handlers_a_thousand_times_a_second)
{
	for (int i = 0; i < repeat(1); i++) {
		fire("none", "thread=yes", "debounce=0", true);
		fire("none", "thread=yes", "debounce=1ms", true);
		fire("look", "thread=no", "debounce=0", true);
	}
}
END_TEST

/* ---- Threads that wait for every outcome ---- */

struct patient {
	int index;
	pthread_t thread;
	const char *wrong;
};

static struct patient patients[3];

/* The live entry of `id` has what its only writer wrote last. */
static bool is_live(const char *id, const char *incarnation)
{
	const struct safestart_node *node = safestart_snapshot_find(safestart_read_lock(asked), id);
	const char *live = node != NULL ? safestart_node_label(node, "incarnation") : NULL;
	bool same = live != NULL && strcmp(live, incarnation) == 0;

	safestart_read_unlock(asked);
	return same;
}

/* The newest 1024 outcomes are kept. On a busy machine the other threads get so many before this
 * one has its turn. */
static bool is_no_longer_kept(int result, uint64_t ticket)
{
	return result == -ENODATA &&
	       safestart_request(asked, SAFESTART_URGENT, NULL) > ticket + 1000;
}

/* Answered once, the same each time it is asked for, by a run that is newer than that of the
 * ticket before. NULL, or what is wrong. */
static const char *wrong_with_answer(uint64_t ticket, uint64_t *run)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)},
				 again = {.size = sizeof(again)};
	int result = ticket != 0 ? safestart_wait(asked, ticket, 60000, &outcome) : -EINVAL;

	if (is_no_longer_kept(result, ticket))
		return NULL;
	if (result != 0)
		return "not answered";
	bool newer = outcome.run > *run;
	*run = outcome.run;
	if (!newer || outcome.ticket != ticket || outcome.verdict > SAFESTART_UNCHANGED ||
	    outcome.requests < 1)
		return "not answered well";
	result = safestart_wait(asked, ticket, 0, &again);
	if (is_no_longer_kept(result, ticket))
		return NULL;
	return result == 0 && memcmp(&outcome, &again, sizeof(again)) == 0
		       ? NULL
		       : "not answered the same twice";
}

static void *announce_and_wait(void *argument)
{
	struct patient *me = argument;
	char id[] = {'n', (char)('0' + me->index), '\0'}, incarnation[24];
	uint64_t ticket = 0, run = 0;

	for (int i = 0; i < ROUNDS && me->wrong == NULL; i++) {
		snprintf(incarnation, sizeof(incarnation), "%d", i);
		if (safestart_node_announce(asked, id, "10.0.0.1:8087", incarnation, &ticket) < 0)
			me->wrong = "not taken";
		else
			me->wrong = wrong_with_answer(ticket, &run);
		if (me->wrong == NULL && !is_live(id, incarnation))
			me->wrong = "answered, but what was announced is not live";
	}
	return NULL;
}

/* One document at a time, by rename and in place; requested, not noticed. */
static void *write_and_wait(void *argument)
{
	struct patient *me = argument;
	char text[128], incarnation[24], path[256];
	uint64_t run = 0;

	snprintf(path, sizeof(path), "%s", scratch_path("nodes.json"));
	for (int i = 0; i < ROUNDS && me->wrong == NULL; i++) {
		snprintf(incarnation, sizeof(incarnation), "%06d", i);
		snprintf(text, sizeof(text),
			 "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"n0\",\"incarnation\":"
			 "\"%s\"}}]",
			 incarnation);
		if (i % 2)
			replace_file(path, text);
		else
			write_file(path, text);
		/* A run that reads while the file is written in place finds half of it: only the
		 * requested run counts. */
		struct safestart_outcome outcome =
			answer(asked, safestart_request(asked, SAFESTART_URGENT, NULL));
		if (outcome.verdict > SAFESTART_UNCHANGED || outcome.run <= run)
			me->wrong = "not answered well";
		else if (!is_live("n0", incarnation))
			me->wrong = "answered, but what was written is not live";
		run = outcome.run;
	}
	return NULL;
}

static void wait_for_patients(int count, void *(*work)(void *))
{
	for (int i = 0; i < count; i++) {
		patients[i] = (struct patient){.index = i};
		ck_assert_int_eq(pthread_create(&patients[i].thread, NULL, work, &patients[i]), 0);
	}
	for (int i = 0; i < count; i++) {
		pthread_join(patients[i].thread, NULL);
		ck_assert_msg(patients[i].wrong == NULL, "%d: %s", i, patients[i].wrong);
	}
}

START_TEST(p2_a_caller_with_an_outcome_finds_its_announcement_live)
{
	asked = open_with(NULL, "debounce=0", NULL);
	for (int i = 0; i < repeat(1); i++)
		wait_for_patients(3, announce_and_wait);
	close_now(asked);
}
END_TEST

START_TEST(p2_a_caller_with_an_outcome_finds_its_file_live)
{
	char setting[300];

	write_file(scratch_path("nodes.json"), "[]");
	snprintf(setting, sizeof(setting), "source=file:%s", scratch_path("nodes.json"));
	asked = open_with(NULL, "debounce=0", "retry_min=0", setting, NULL);
	for (int i = 0; i < repeat(1); i++)
		wait_for_patients(1, write_and_wait);
	close_now(asked);
}
END_TEST

SUITE("litmus", p2_a_run_sees_what_was_written_before_asking, p2_so_does_a_source_that_is_read,
      p2_asked_by_signal_handlers_a_thousand_times_a_second,
      p2_a_caller_with_an_outcome_finds_its_announcement_live,
      p2_a_caller_with_an_outcome_finds_its_file_live)
