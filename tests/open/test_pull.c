/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events=pull: the application is never called, and takes what it is told when it likes. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "support/chance.h"
#include "support/support.h"

#define NODE(id, address) \
	"{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\",\"zone\":\"z\"}}"
#define A "[" NODE("a", "10.0.0.1:1") "]"
#define A2B "[" NODE("a", "10.0.0.9:1") "," NODE("b", "10.0.0.2:1") "]"

/* With thread=no nothing happens but in dispatch. */
static bool driven;

static struct safestart *open_pulling(const char *more)
{
	return open_with(NULL, "events=pull", "debounce=0", "retry_min=0", "max_shrink=100%",
			 driven ? "thread=no" : "thread=yes", more, NULL);
}

static void go_on(struct safestart *ss)
{
	if (driven)
		ck_assert_int_ge(safestart_dispatch(ss, 0), -ECANCELED);
	else
		pause_a_moment();
}

static bool is_readable(struct safestart *ss)
{
	struct pollfd descriptor = {.fd = safestart_event_fd(ss), .events = POLLIN};

	ck_assert_int_ge(poll(&descriptor, 1, 0), 0);
	return descriptor.revents == POLLIN;
}

/* The next event but for the log; what is readable and what can be taken agree. */
static struct safestart_event next(struct safestart *ss)
{
	struct safestart_event event = {.size = sizeof(event)};
	int64_t limit = now_ms() + 60000;

	do {
		ck_assert_msg(now_ms() < limit, "no event came");
		if (!is_readable(ss)) {
			go_on(ss);
			event.kind = 0;
			continue;
		}
		int result = safestart_next_event(ss, &event);
		ck_assert_msg(result == 1, "readable, but next_event says %d", result);
	} while (event.kind == 0 || event.kind == SAFESTART_EVENT_LOG);
	ck_assert_uint_eq(event.size, sizeof(event));
	return event;
}

static struct safestart_event next_is(struct safestart *ss, int kind)
{
	struct safestart_event event = next(ss);

	ck_assert_msg(event.kind == kind, "event %d instead of %d: %s", event.kind, kind,
		      event.text != NULL ? event.text : "");
	ck_assert((event.run != NULL) ==
		  (kind == SAFESTART_EVENT_PREPARE || kind == SAFESTART_EVENT_RESTART ||
		   kind == SAFESTART_EVENT_CANCELLED));
	ck_assert((event.outcome != NULL) == (kind == SAFESTART_EVENT_OUTCOME));
	return event;
}

static void finish(const struct safestart_event *event)
{
	ck_assert_uint_eq(event->run_number, safestart_run_number(event->run));
	ck_assert_int_eq(safestart_run_finish(event->run, 0), 0);
}

static int32_t next_verdict(struct safestart *ss)
{
	struct safestart_event event = next_is(ss, SAFESTART_EVENT_OUTCOME);

	ck_assert_str_eq(event.text, event.outcome->message);
	ck_assert_uint_eq(event.run_number, event.outcome->run);
	return event.outcome->verdict;
}

static struct safestart_event push(struct safestart *ss, const char *json)
{
	ck_assert_int_eq(safestart_nodes_replace(ss, json, NULL, NULL, 0), 0);
	return next_is(ss, SAFESTART_EVENT_PREPARE);
}

static void changes_are(const struct safestart_event *event, const char *wanted)
{
	char *changes = safestart_run_changes_json(event->run);

	ck_assert_str_eq(changes, wanted);
	safestart_free(changes);
}

static uint64_t live_key(struct safestart *ss, const char *id)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	const struct safestart_node *node = id != NULL ? safestart_snapshot_find(live, id) : NULL;
	uint64_t key = id == NULL     ? safestart_snapshot_key(live)
		       : node != NULL ? safestart_node_key(node)
				      : 0;
	void *data = id == NULL     ? safestart_snapshot_data(live)
		     : node != NULL ? safestart_node_data(node)
				    : NULL;

	ck_assert_uint_eq((uintptr_t)data, (uintptr_t)key);
	safestart_read_unlock(ss);
	return key;
}

static void live_a_life(void)
{
	struct safestart *ss = open_pulling(NULL);

	struct safestart_event event = push(ss, A);
	changes_are(&event, "[{\"change\":\"added\",\"id\":\"a\",\"host\":\"10.0.0.1\",\"port\":1,"
			    "\"labels\":{\"zone\":\"z\"}}]");
	ck_assert_int_eq(safestart_run_set_node_key(event.run, "a", 7), 0);
	ck_assert_int_eq(safestart_run_set_node_key(event.run, "b", 8), -ENOENT);
	ck_assert_int_eq(safestart_run_set_node_key(event.run, NULL, 8), -EINVAL);
	ck_assert_int_eq(safestart_run_set_node_key(NULL, "a", 8), -EINVAL);
	ck_assert_int_eq(safestart_run_set_key(event.run, 100), 0);
	ck_assert_int_eq(safestart_run_set_key(NULL, 100), -EINVAL);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	finish(&event);
	ck_assert_uint_eq(next_is(ss, SAFESTART_EVENT_COMMITTED).run_number, 1);
	event = next_is(ss, SAFESTART_EVENT_RESTART);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_int_eq(safestart_run_set_key(event.run, 101), -EINVAL);
	finish(&event);
	ck_assert_int_eq(next_verdict(ss), SAFESTART_APPLIED);
	ck_assert(live_key(ss, "a") == 7 && live_key(ss, NULL) == 100);

	event = push(ss, A2B);
	changes_are(&event,
		    "[{\"change\":\"changed\",\"id\":\"a\",\"host\":\"10.0.0.9\",\"port\":1,"
		    "\"labels\":{\"zone\":\"z\"},\"was\":{\"host\":\"10.0.0.1\",\"port\":1,"
		    "\"labels\":{\"zone\":\"z\"}}},"
		    "{\"change\":\"added\",\"id\":\"b\",\"host\":\"10.0.0.2\",\"port\":1,"
		    "\"labels\":{\"zone\":\"z\"}}]");
	ck_assert_int_eq(safestart_run_set_node_key(event.run, "b", UINT64_MAX), 0);
	ck_assert_int_eq(safestart_run_fail(event.run, -EIO, "PoolError: no"), 0);
	ck_assert_int_eq(next_is(ss, SAFESTART_EVENT_OUTCOME).outcome->error, -EIO);
	ck_assert_uint_eq(next_is(ss, SAFESTART_EVENT_RETIRE_NODE).key, UINT64_MAX);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_int_eq(safestart_close(ss), 0);
}

START_TEST(p24_pulled_events_tell_a_whole_life)
{
	for (int i = 0; i < 2; i++) {
		driven = i == 1;
		live_a_life();
	}
	driven = false;
}
END_TEST

static const int all_kinds = 8;

START_TEST(p24_what_is_asked_wrongly_is_refused_in_words)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .retire = (void (*)(void *, void *))abort};
	struct safestart_conf *conf = conf_with("events=pull", NULL);
	struct safestart_event event = {.size = sizeof(event)};
	struct safestart *ss;
	char why[256];

	ck_assert_int_eq(safestart_conf_set(conf, "events", "push", why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "write callback or pull"));
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "safestart_next_event()"));
	safestart_conf_free(conf);
	ss = open_with(NULL, "events=callback", NULL);
	ck_assert_int_eq(safestart_event_fd(ss), -EINVAL);
	ck_assert_int_eq(safestart_next_event(ss, &event), -EINVAL);
	close_now(ss);
	ck_assert_int_eq(safestart_event_fd(NULL), -EINVAL);
	ck_assert_int_eq(safestart_next_event(NULL, &event), -EINVAL);
	ss = open_pulling(NULL);
	ck_assert_int_eq(safestart_next_event(ss, NULL), -EINVAL);
	event.size = sizeof(event) - 1;
	ck_assert_int_eq(safestart_next_event(ss, &event), -EINVAL);
	close_now(ss);
	ck_assert_ptr_null(safestart_run_changes_json(NULL));
	ck_assert_int_eq(SAFESTART_EVENT_LOG, all_kinds);
}
END_TEST

static int on_run(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	return 0;
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)level, (void)message, (void)user_data;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)outcome, (void)user_data;
}

static void on_data(void *data, void *user_data)
{
	(void)data, (void)user_data;
}

static void on_commit(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
}

/* None of them would ever be called. */
START_TEST(p24_any_callback_beside_it_is_refused)
{
	const size_t size = sizeof(struct safestart_callbacks);
	const struct safestart_callbacks rows[] = {{.size = size},
						   {.size = size, .prepare = on_run},
						   {.size = size, .retire = on_data},
						   {.size = size, .log = on_log},
						   {.size = size, .outcome = on_outcome},
						   {.size = size, .retire_node = on_data},
						   {.size = size, .restart = on_run},
						   {.size = size, .committed = on_commit}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct safestart_conf *conf = conf_with("events=pull", NULL);
		struct safestart *ss;
		char why[256];
		ck_assert_int_eq(safestart_conf_set_callbacks(conf, &rows[i], NULL), 0);
		int error = safestart_open(&ss, conf, why, sizeof(why));
		ck_assert_msg(error == (i == 0 ? 0 : -EINVAL), "row %zu: %s", i, why);
		if (i == 0)
			close_now(ss);
		safestart_conf_free(conf);
	}
}
END_TEST

/* ---- Too late ---- */

START_TEST(p14_an_event_that_is_not_taken_in_time_is_withdrawn)
{
	struct safestart *ss =
		open_pulling(under_valgrind() ? "run_timeout=3s" : "run_timeout=5ms");
	struct safestart_event event = {.size = sizeof(event)};
	struct safestart_outcome outcome;

	do { /* a busy machine does not get so far in time */
		outcome = push_and_wait(ss, A);
		ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	} while (strstr(outcome.message, "was not even taken") == NULL);
	while (safestart_next_event(ss, &event) == 1) {
		ck_assert(event.kind == SAFESTART_EVENT_LOG ||
			  event.kind == SAFESTART_EVENT_OUTCOME);
	}
	close_now(ss);
}
END_TEST

/* A busy machine takes it too late: then it is asked once more. */
static struct safestart_run *push_until_taken(struct safestart *ss)
{
	struct safestart_event event;

	do {
		ck_assert_int_eq(safestart_nodes_replace(ss, A, NULL, NULL, 0), 0);
		event = next(ss);
	} while (event.kind == SAFESTART_EVENT_OUTCOME);
	ck_assert_int_eq(event.kind, SAFESTART_EVENT_PREPARE);
	return event.run;
}

START_TEST(p14_a_run_that_was_taken_is_told_of_its_end)
{
	struct safestart *ss =
		open_pulling(under_valgrind() ? "run_timeout=3s" : "run_timeout=20ms");

	struct safestart_run *run = push_until_taken(ss);
	ck_assert_int_eq(safestart_run_set_node_key(run, "a", 5), 0);
	ck_assert_ptr_eq(next_is(ss, SAFESTART_EVENT_CANCELLED).run, run);
	ck_assert_int_eq(safestart_run_cancelled(run), 1);
	ck_assert_int_eq(next_verdict(ss), SAFESTART_TIMED_OUT);
	ck_assert_int_eq(safestart_run_finish(run, 0), -ESTALE);
	ck_assert_uint_eq(next_is(ss, SAFESTART_EVENT_RETIRE_NODE).key, 5);
	/* Finished late before it was told: it is not told of a run that is gone. */
	run = push_until_taken(ss);
	EVENTUALLY(safestart_run_cancelled(run));
	ck_assert_int_eq(safestart_run_finish(run, 0), -ESTALE);
	ck_assert_int_eq(next_verdict(ss), SAFESTART_TIMED_OUT);
	close_now(ss);
}
END_TEST

static void shut_down_with(bool taken)
{
	struct safestart *ss = open_pulling("run_timeout=1h");
	struct safestart_event event = {.size = sizeof(event)};
	int result;

	ck_assert_int_eq(safestart_nodes_replace(ss, A, NULL, NULL, 0), 0);
	if (taken)
		event = next_is(ss, SAFESTART_EVENT_PREPARE);
	else
		while (!is_readable(ss))
			go_on(ss);
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	if (taken) {
		ck_assert_ptr_eq(next_is(ss, SAFESTART_EVENT_CANCELLED).run, event.run);
		ck_assert_int_eq(safestart_run_finish(event.run, 0), -ESTALE);
		ck_assert_int_eq(next_verdict(ss), SAFESTART_CANCELLED);
	}
	do {
		while (!is_readable(ss))
			go_on(ss);
		result = safestart_next_event(ss, &event);
	} while (result == 1);
	ck_assert_int_eq(result, -ECANCELED);
	ck_assert(is_readable(ss)); /* it stays so */
	close_now(ss);
}

START_TEST(p6_after_a_shutdown_the_last_event_is_followed_by_ecanceled)
{
	for (int i = 0; i < 4; i++) {
		driven = i % 2 == 1;
		shut_down_with(i / 2 == 1);
	}
	driven = false;
}
END_TEST

/* Also after a close that gave up: what polls would spin on a readable descriptor for nothing. */
START_TEST(p6_once_there_is_nothing_left_it_stays_so)
{
	driven = true;
	struct safestart *ss = open_pulling("run_timeout=5ms");
	struct safestart_event event = {.size = sizeof(event)};
	int result;

	safestart_read_lock(ss); /* close waits for us, in vain */
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	while (safestart_dispatch(ss, 0) != -ECANCELED)
		go_on(ss);
	for (int i = 0; i < 2; i++) {
		while ((result = safestart_next_event(ss, &event)) == 1)
			ck_assert_int_eq(event.kind, SAFESTART_EVENT_LOG);
		ck_assert_int_eq(result, -ECANCELED);
		ck_assert(is_readable(ss));
		if (i == 0)
			ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	}
	safestart_read_unlock(ss);
	close_now(ss);
	driven = false;
}
END_TEST

/* A runtime that is going down cannot finish what it has taken. */
START_TEST(p24_close_finishes_what_was_taken_and_never_finished)
{
	for (int i = 0; i < 8; i++) {
		driven = i % 2 == 1;
		struct safestart *ss = open_pulling("run_timeout=1h");
		struct safestart_event event = push(ss, A);
		ck_assert_int_eq(safestart_run_set_node_key(event.run, "a", 1), 0);
		if (i / 2 % 2 == 1) { /* in `restart` */
			finish(&event);
			next_is(ss, SAFESTART_EVENT_COMMITTED);
			next_is(ss, SAFESTART_EVENT_RESTART);
		}
		if (i / 4 == 1)
			ck_assert_int_eq(safestart_shutdown(ss), 0);
		ck_assert_int_eq(safestart_close(ss), 0);
	}
	driven = false;
}
END_TEST

/* ---- Keys ---- */

/* Each key that was handed over is retired once, whatever became of its run, and what is live has
 * the key that the newest run gave it or that it had before. */
struct keys {
	struct safestart *ss;
	uint64_t next;
	uint64_t live[4], given[4]; /* of the nodes n0 to n3; 0: none, not given */
	bool retired[4096];
	unsigned alive; /* handed over and not retired */
};

static const char *const ids[] = {"n0", "n1", "n2", "n3"};

static void take_retired(struct keys *keys, const struct safestart_event *event)
{
	ck_assert_uint_lt(event->key, 4096);
	ck_assert_uint_ne(event->key, 0);
	ck_assert(!keys->retired[event->key]);
	keys->retired[event->key] = true;
	keys->alive--;
	for (size_t i = 0; i < 4; i++)
		ck_assert_uint_ne(keys->live[i], event->key);
}

static void prepare_at_random(struct keys *keys, struct safestart_run *run)
{
	const struct safestart_snapshot *candidate = safestart_run_candidate(run);

	for (size_t i = 0; i < 4; i++) {
		keys->given[i] = 0;
		if (safestart_snapshot_find(candidate, ids[i]) == NULL || one_in(3))
			continue;
		keys->given[i] = keys->next++;
		keys->alive++;
		ck_assert_int_eq(safestart_run_set_node_key(run, ids[i], keys->given[i]), 0);
		if (!one_in(3))
			continue;
		/* A second one takes its place, or the live one's key is kept. */
		keys->given[i] = one_in(2) ? keys->live[i] : keys->next++;
		keys->alive += keys->given[i] == keys->next - 1 && keys->given[i] != keys->live[i];
		ck_assert_int_eq(safestart_run_set_node_key(run, ids[i], keys->given[i]), 0);
	}
}

static void one_set_at_random(struct keys *keys)
{
	char json[400] = "[";
	unsigned has = 1 + below(15);
	struct safestart_event event;

	for (size_t i = 0; i < 4; i++) {
		if (has & (1u << i))
			snprintf(json + strlen(json), sizeof(json) - strlen(json),
				 "%s{\"targets\":[\"10.0.%u.%zu:1\"],\"labels\":{\"id\":\"%s\"}}",
				 json[1] != '\0' ? "," : "", below(2), i, ids[i]);
	}
	strcat(json, "]");
	ck_assert_int_eq(safestart_nodes_replace(keys->ss, json, NULL, NULL, 0), 0);
	bool fail = one_in(4);
	do {
		event = next(keys->ss);
		if (event.kind == SAFESTART_EVENT_RETIRE_NODE) {
			take_retired(keys, &event);
		} else if (event.kind == SAFESTART_EVENT_PREPARE) {
			prepare_at_random(keys, event.run);
			ck_assert_int_eq(safestart_run_finish(event.run, fail ? -EIO : 0), 0);
		} else if (event.kind == SAFESTART_EVENT_RESTART) {
			finish(&event);
		} else if (event.kind == SAFESTART_EVENT_COMMITTED) {
			for (size_t i = 0; i < 4; i++)
				keys->live[i] = live_key(keys->ss, ids[i]);
		}
	} while (event.kind != SAFESTART_EVENT_OUTCOME);
	for (size_t i = 0; i < 4; i++) {
		if (event.outcome->verdict == SAFESTART_APPLIED && keys->given[i] != 0)
			ck_assert_uint_eq(live_key(keys->ss, ids[i]), keys->given[i]);
		keys->given[i] = 0;
	}
}

START_TEST(p13_each_key_is_retired_once)
{
	struct keys keys = {.ss = open_pulling("shrink_window=0"), .next = 1};
	unsigned live = 0;

	chance_begin(chance_seed(12));
	for (int i = 0; i < repeat(200); i++)
		one_set_at_random(&keys);
	for (size_t i = 0; i < 4; i++)
		live += keys.live[i] != 0;
	while (keys.alive > live) {
		struct safestart_event event = next_is(keys.ss, SAFESTART_EVENT_RETIRE_NODE);
		take_retired(&keys, &event);
	}
	close_now(keys.ss);
}
END_TEST

/* ---- Bounded ---- */

static uint64_t newest_run(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	return safestart_last_outcome(ss, &outcome) == 0 ? outcome.run : 0;
}

static void request_untaken(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket = safestart_request_restart(ss);

	while (safestart_try_wait(ss, ticket, &outcome) == -EAGAIN)
		ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
}

/* Nothing that waits to be taken grows without end. */
START_TEST(p23_what_is_not_taken_is_bounded)
{
	if (under_valgrind()) /* no run gets so far within its deadline */
		return;
	struct safestart *ss = open_with(NULL, "events=pull", "source=none", "debounce=0",
					 "retry_min=0", "run_timeout=1ms", "thread=no", NULL);
	struct safestart_event event = {.size = sizeof(event)};
	unsigned long outcomes = 0, merged = 0, told = 0, logs = 0, missing = 0;

	while (newest_run(ss) < 400)
		request_untaken(ss);
	outcomes = newest_run(ss);
	while (safestart_next_event(ss, &event) == 1) {
		if (event.kind == SAFESTART_EVENT_OUTCOME) {
			told++;
			merged += event.outcome->merged;
		} else if (event.kind == SAFESTART_EVENT_LOG) {
			logs++;
			ck_assert_int_eq(sscanf(event.text, "%lu log lines are missing", &missing),
					 0);
		}
	}
	ck_assert_uint_eq(told + merged, outcomes);
	ck_assert_uint_eq(told, 16);
	ck_assert_uint_eq(logs, 256);
	/* The next line says how many there were besides. */
	request_untaken(ss);
	while (missing == 0) {
		ck_assert_int_eq(safestart_next_event(ss, &event), 1);
		if (event.kind == SAFESTART_EVENT_LOG)
			(void)sscanf(event.text, "%lu log lines are missing", &missing);
	}
	ck_assert_uint_ge(missing, 100);
	close_now(ss);
}
END_TEST

SUITE("pull", p24_any_callback_beside_it_is_refused, p24_pulled_events_tell_a_whole_life,
      p24_what_is_asked_wrongly_is_refused_in_words,
      p14_an_event_that_is_not_taken_in_time_is_withdrawn,
      p14_a_run_that_was_taken_is_told_of_its_end,
      p6_after_a_shutdown_the_last_event_is_followed_by_ecanceled,
      p6_once_there_is_nothing_left_it_stays_so,
      p24_close_finishes_what_was_taken_and_never_finished, p13_each_key_is_retired_once,
      p23_what_is_not_taken_is_bounded)
