/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shutdown and close at every instant: before, during and after every callback of a scripted
 * life, with a LATER run that is finished before, during and after, and by many threads under
 * load. Every ticket has one true outcome, and everything prepared is retired once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

#define NODE(id) "{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"" id "\"}}"
#define RUNS 4096 /* more than the callbacks of any life here */
#define LATERS 64

enum act {
	NOTHING,
	SHUTDOWN_INSIDE,
	SHUTDOWN_MEANWHILE,
	CLOSE_MEANWHILE
};

/* One life of a handle. The script chooses what the callbacks do. */
static struct life {
	struct safestart *ss;
	enum act act;
	_Atomic int at;     /* the callback, counted from 1, in which it happens; 0: in none */
	_Atomic int passed; /* callbacks so far */
	_Atomic bool held, release; /* that callback waits inside until `release` */
	_Atomic int wrong;          /* the line of a result that was wrong in a callback */
	_Atomic int prepare_result, restart_result;
	_Atomic(struct safestart_run *) later[LATERS]; /* to be finished by finish_later() */
	_Atomic unsigned laters;
	_Atomic int finished, stale;
	_Atomic bool driven, stop, closed;
	_Atomic int hung, retired;
	int verdicts[RUNS]; /* as `outcome` reported them, plus 1; only its thread uses it until
			       close */
	uint64_t newest_run;
} life;

#define EXPECT(condition)                      \
	do {                                   \
		if (!(condition))              \
			life.wrong = __LINE__; \
	} while (0)

static void shut_down_inside(void)
{
	struct safestart *ss = life.ss;

	EXPECT(safestart_close(ss) == -EDEADLK);
	EXPECT(safestart_shutdown(ss) == 0);
	EXPECT(safestart_shutdown(ss) == 0);
	EXPECT(safestart_close(ss) == -EDEADLK);
	EXPECT(safestart_wait(ss, 1, -1, NULL) == -EDEADLK);
	EXPECT(safestart_wait_ready(ss, -1) == -EDEADLK);
	EXPECT(safestart_dispatch(ss, 0) == -EDEADLK);
	EXPECT(safestart_request_restart(ss) == 0);
	EXPECT(safestart_node_announce(ss, "x", "10.0.0.1:1", NULL, NULL) == -ECANCELED);
	EXPECT(safestart_nodes_replace(ss, "[]", NULL, NULL, 0) == -ECANCELED);
}

static void passing(void)
{
	if (++life.passed != life.at)
		return;
	if (life.act == SHUTDOWN_INSIDE) {
		shut_down_inside();
		life.held = true;
		return;
	}
	life.held = true;
	while (!life.release)
		pause_a_moment();
}

static void *hang(void)
{
	life.hung++;
	return malloc(16);
}

/* LATER once: the retry goes through. */
static int answer_with(_Atomic int *result, struct safestart_run *run)
{
	int now = *result;

	if (now == SAFESTART_LATER) {
		*result = 0;
		life.later[life.laters++ % LATERS] = run;
	}
	return now;
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind;

	(void)user_data;
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind == SAFESTART_REMOVED)
			continue;
		EXPECT(safestart_run_set_node_data(run, node, hang()) == 0);
		/* The first one is cancelled with the run. */
		EXPECT(safestart_run_set_node_data(run, node, hang()) == 0);
		if (strcmp(safestart_node_id(node), "reject") == 0)
			EXPECT(safestart_run_reject(run, "reject", "told to") == 0);
	}
	safestart_run_set_data(run, hang());
	passing();
	return answer_with(&life.prepare_result, run);
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	passing();
	return answer_with(&life.restart_result, run);
}

static void on_retire(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	life.retired++;
	passing();
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)user_data;
	/* Each once, in order. */
	EXPECT(outcome->run == life.newest_run + 1 && outcome->run < RUNS);
	life.newest_run = outcome->run;
	life.verdicts[outcome->run % RUNS] = outcome->verdict + 1;
	passing();
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)level, (void)message, (void)user_data;
	passing();
}

/* Finishes every run that returned LATER, exactly once, at whatever time. */
static void *finish_later(void *argument)
{
	(void)argument;
	for (unsigned i = 0; !life.closed; i++) {
		struct safestart_run *run = atomic_exchange(&life.later[i % LATERS], NULL);
		if (run == NULL) {
			if (i % LATERS == 0)
				pause_a_moment();
			continue;
		}
		int result = safestart_run_finish(run, 0);
		EXPECT(result == 0 || result == -ESTALE);
		life.stale += result == -ESTALE;
		life.finished++;
	}
	return NULL;
}

static void *drive(void *argument)
{
	(void)argument;
	while (!life.stop && safestart_dispatch(life.ss, 1) != -ECANCELED)
		life.driven = true;
	return NULL;
}

static void begin(bool thread, enum act act, int at, const char *run_timeout)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare,
						      .restart = on_restart,
						      .retire = on_retire,
						      .retire_node = on_retire,
						      .outcome = on_outcome,
						      .log = on_log};
	struct safestart_conf *conf =
		conf_with(thread ? "thread=yes" : "thread=no", "debounce=0", "max_shrink=100%",
			  "retry_min=1ms", "retry_max=2ms", run_timeout, NULL);
	char why[256] = "";

	memset(&life, 0, sizeof(life));
	life.act = act;
	life.at = at;
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_msg(safestart_open(&life.ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
}

/* Calls close until it is done; the results on the way are those that the header allows. */
static void close_at_last(void)
{
	int result;

	while ((result = safestart_close(life.ss)) != 0) {
		ck_assert_msg(result == -ETIMEDOUT || result == -EBUSY || result == -EDEADLK,
			      "close said %d", result);
		pause_a_moment();
	}
}

/* ---- Outcomes ---- */

static struct safestart_outcome answers[RUNS];

/* The outcome is there, does not change, and is kept for later. */
static bool is_answered(uint64_t ticket)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	int result = safestart_wait(life.ss, ticket, 0, &outcome);
	if (result == -ETIMEDOUT)
		return false;
	ck_assert_int_eq(result, 0);
	ck_assert_int_ge(outcome.verdict, SAFESTART_APPLIED);
	if (answers[ticket].size != 0)
		ck_assert(memcmp(&answers[ticket], &outcome, sizeof(outcome)) == 0);
	answers[ticket] = outcome;
	return true;
}

static void check_answers(uint64_t tickets)
{
	for (uint64_t t = 1; t <= tickets; t++) {
		const struct safestart_outcome *outcome = &answers[t];
		ck_assert_msg(outcome->size != 0, "ticket %d of %d was never answered", (int)t,
			      (int)tickets);
		int told = outcome->run > 0 ? life.verdicts[outcome->run % RUNS] - 1
					    : SAFESTART_CANCELLED;
		ck_assert_msg(told == outcome->verdict,
			      "ticket %d: %d, but run %d was told to be %d", (int)t,
			      outcome->verdict, (int)outcome->run, told);
	}
	memset(answers, 0, sizeof(answers));
	ck_assert_msg(life.wrong == 0, "a result in a callback was wrong: line %d", life.wrong);
	ck_assert_int_eq(life.hung, life.retired);
}

/* ---- A scripted life ---- */

static const struct {
	const char *set;
	int prepare_result, restart_result;
} script[] = {
	{"[" NODE("a") "," NODE("b") "]", 0, 0},
	{"[" NODE("b") "]", 0, 0},
	{"[" NODE("b") "," NODE("reject") "," NODE("c") "]", 0, 0},
	{"[" NODE("d") "]", -EIO, 0},
	{"[" NODE("d") "]", SAFESTART_LATER, 0},
	{"[" NODE("e") "]", 0, -EIO},
	{"[" NODE("a") "]", SAFESTART_LATER, SAFESTART_LATER},
};

/* Pushes one set after the other, each when the one before is answered, until the callback is
 * reached. Returns the newest ticket. */
static uint64_t live_on(void)
{
	uint64_t ticket = 0, next;

	for (size_t i = 0; i < sizeof(script) / sizeof(script[0]) && !life.held; i++) {
		life.prepare_result = script[i].prepare_result;
		life.restart_result = script[i].restart_result;
		if (safestart_nodes_replace(life.ss, script[i].set, &next, NULL, 0) < 0)
			break;
		ticket = next;
		EVENTUALLY(life.held || is_answered(ticket));
	}
	for (int i = 0; i < 20 && !life.held; i++) /* what comes after the last outcome */
		pause_a_moment();
	return ticket;
}

static uint64_t shut_down_meanwhile(uint64_t ticket)
{
	uint64_t extra = safestart_request_restart(life.ss), before = safestart_generation(life.ss);
	unsigned open = 0;

	ck_assert_uint_ge(extra, ticket);
	/* Does not wait for the callback that is held. */
	ck_assert_int_eq(safestart_shutdown(life.ss), 0);
	for (uint64_t t = 1; t <= extra; t++)
		open += !is_answered(t);
	/* Only a run that has committed answers its own ticket, when its callback has returned. */
	ck_assert_msg(open == 0 || before > 0, "%u tickets were not answered at once", open);
	life.release = true;
	for (uint64_t t = 1; t <= extra; t++)
		EVENTUALLY(is_answered(t));
	return extra;
}

static uint64_t close_meanwhile(uint64_t ticket, bool thread)
{
	uint64_t extra = safestart_request_restart(life.ss);
	int64_t begin = now_ms();

	ck_assert_uint_ge(extra, ticket);
	for (int i = 0; i < 2; i++) {
		int result = safestart_close(life.ss);
		ck_assert_int_eq(result, thread ? -ETIMEDOUT : -EBUSY);
	}
	ck_assert_int_lt(now_ms() - begin, 20000);
	ck_assert_uint_eq(safestart_request_restart(life.ss), 0);
	for (uint64_t t = 1; t <= extra; t++)
		(void)is_answered(t);
	life.release = true;
	return extra;
}

/* One life, in which something happens in its `at`th callback. False: it had fewer callbacks. */
static bool live(bool thread, enum act act, int at)
{
	pthread_t finisher, driver;

	begin(thread, act, at, act == CLOSE_MEANWHILE ? "run_timeout=20ms" : "run_timeout=30s");
	ck_assert_int_eq(pthread_create(&finisher, NULL, finish_later, NULL), 0);
	if (!thread)
		ck_assert_int_eq(pthread_create(&driver, NULL, drive, NULL), 0);
	if (!thread)
		EVENTUALLY(life.driven); /* from then on our own waits dispatch nothing */
	uint64_t tickets = live_on();
	bool happened = life.held;
	if (happened && act == SHUTDOWN_MEANWHILE)
		tickets = shut_down_meanwhile(tickets);
	else if (happened && act == CLOSE_MEANWHILE)
		tickets = close_meanwhile(tickets, thread);
	life.release = true;
	ck_assert_int_eq(safestart_shutdown(life.ss), 0);
	life.at = 0;
	life.stop = true;
	if (!thread)
		pthread_join(driver, NULL);
	for (uint64_t t = 1; t <= tickets; t++)
		(void)is_answered(t);
	close_at_last();
	life.closed = true;
	pthread_join(finisher, NULL);
	check_answers(tickets);
	return happened;
}

static void at_every_callback(enum act act)
{
	for (int thread = 0; thread < 2; thread++) {
		for (int round = 0; round < repeat(1); round++) {
			int at = 1;
			while (live(thread, act, at))
				at++;
			ck_assert_int_gt(at, 30);
		}
	}
}

START_TEST(p6_shutdown_inside_any_callback_answers_every_ticket_once)
{
	at_every_callback(SHUTDOWN_INSIDE);
}
END_TEST

START_TEST(p6_shutdown_during_any_callback_answers_every_ticket_at_once)
{
	at_every_callback(SHUTDOWN_MEANWHILE);
}
END_TEST

START_TEST(p14_close_during_any_callback_gives_up_and_is_repeated)
{
	at_every_callback(CLOSE_MEANWHILE);
}
END_TEST

/* ---- A LATER that is finished before, meanwhile and after ---- */

enum when {
	FINISHED_BEFORE,
	BETWEEN_SHUTDOWN_AND_CLOSE,
	WHILE_CLOSE_WAITS,
	AFTER_IT_GAVE_UP,
	WHENS
};

static void *finish_it(void *argument)
{
	struct safestart_run *run = argument;

	while (!life.stop)
		pause_a_moment();
	life.finished = safestart_run_finish(run, 0) == 0 ? 1 : -1;
	return NULL;
}

static void live_with_a_later(bool thread, int restart, enum when when)
{
	pthread_t finisher;
	uint64_t ticket;

	begin(thread, NOTHING, 0,
	      when == AFTER_IT_GAVE_UP ? "run_timeout=20ms" : "run_timeout=30s");
	life.prepare_result = restart ? 0 : SAFESTART_LATER;
	life.restart_result = restart ? SAFESTART_LATER : 0;
	ck_assert_int_eq(safestart_nodes_replace(life.ss, script[0].set, &ticket, NULL, 0), 0);
	EVENTUALLY((thread || safestart_dispatch(life.ss, 1) == 0) && life.later[0] != NULL);
	ck_assert_int_eq(pthread_create(&finisher, NULL, finish_it, life.later[0]), 0);
	if (when == FINISHED_BEFORE) {
		life.stop = true;
		pthread_join(finisher, NULL);
		ck_assert_int_eq(life.finished, 1);
		EVENTUALLY((thread || safestart_dispatch(life.ss, 1) == 0) && is_answered(ticket));
	}
	if (when == BETWEEN_SHUTDOWN_AND_CLOSE)
		ck_assert_int_eq(safestart_shutdown(life.ss), 0);
	if (when == AFTER_IT_GAVE_UP || (when == WHILE_CLOSE_WAITS && !thread))
		ck_assert_int_eq(safestart_close(life.ss), thread ? -ETIMEDOUT : -EDEADLK);
	if (when == BETWEEN_SHUTDOWN_AND_CLOSE || when == AFTER_IT_GAVE_UP)
		ck_assert(is_answered(ticket));
	life.stop = true; /* from here on the finisher and close race */
	if (when != WHILE_CLOSE_WAITS && when != FINISHED_BEFORE)
		pthread_join(finisher, NULL);
	close_at_last();
	if (when == WHILE_CLOSE_WAITS)
		pthread_join(finisher, NULL);
	int verdict = life.verdicts[1] - 1; /* as ordered */
	if (when == FINISHED_BEFORE)
		ck_assert(life.finished == 1 && verdict == SAFESTART_APPLIED);
	else if (when == WHILE_CLOSE_WAITS)
		ck_assert(verdict == SAFESTART_CANCELLED ||
			  (life.finished == 1 && verdict == SAFESTART_APPLIED));
	else
		ck_assert(life.finished == -1 &&
			  (verdict == SAFESTART_CANCELLED ||
			   (when == AFTER_IT_GAVE_UP && verdict == SAFESTART_TIMED_OUT)));
	check_answers(when == WHILE_CLOSE_WAITS ? 0 : ticket);
}

START_TEST(p14_a_later_finished_around_close_counts_or_is_too_late)
{
	for (int round = 0; round < repeat(20); round++) {
		for (int i = 0; i < 2 * 2 * WHENS; i++)
			live_with_a_later(i % 2, i / 2 % 2, (enum when)(i / 4));
	}
}
END_TEST

/* ---- Under load, by many ---- */

#define CROWD 8
static _Atomic uint64_t newest;

static void *ask_until_shut(void *argument)
{
	uintptr_t me = (uintptr_t)argument;
	uint64_t ticket;

	for (uintptr_t i = me; !life.stop; i++) {
		life.prepare_result = script[i % 5].prepare_result;
		ticket = 0;
		if (i % 3 == 0)
			safestart_nodes_replace(life.ss, script[i % 7].set, &ticket, NULL, 0);
		else
			ticket =
				safestart_request(life.ss, i % 5 == 0 ? SAFESTART_URGENT : 0, NULL);
		if (ticket == 0)
			break; /* shut down */
		for (uint64_t old = newest;
		     old < ticket && !atomic_compare_exchange_weak(&newest, &old, ticket);) {}
		struct safestart_outcome outcome = {.size = sizeof(outcome)};
		/* Without limit: shutdown has to answer. */
		int result = i % 2 ? safestart_wait(life.ss, ticket, -1, &outcome) : 0;
		EXPECT(result == 0 && (i % 2 == 0 || outcome.verdict >= SAFESTART_APPLIED));
	}
	return NULL;
}

static void *shut_down_some_time(void *argument)
{
	for (uintptr_t spin = (uintptr_t)argument; spin > 0; spin--)
		atomic_signal_fence(memory_order_seq_cst);
	EXPECT(safestart_shutdown(life.ss) == 0);
	return NULL;
}

static void crowd(bool thread, unsigned *seed)
{
	pthread_t askers[CROWD], shutters[CROWD], finisher, driver;

	begin(thread, NOTHING, 0, "run_timeout=30s");
	newest = 0;
	ck_assert_int_eq(pthread_create(&finisher, NULL, finish_later, NULL), 0);
	if (!thread)
		ck_assert_int_eq(pthread_create(&driver, NULL, drive, NULL), 0);
	if (!thread)
		EVENTUALLY(life.driven);
	for (uintptr_t i = 0; i < CROWD; i++)
		ck_assert_int_eq(pthread_create(&askers[i], NULL, ask_until_shut, (void *)i), 0);
	uintptr_t when = (uintptr_t)rand_r(seed) % 4000000;
	for (int i = 0; i < CROWD; i++)
		ck_assert_int_eq(pthread_create(&shutters[i], NULL, shut_down_some_time,
						(void *)(when + (uintptr_t)rand_r(seed) % 1000)),
				 0);
	for (int i = 0; i < CROWD; i++) {
		pthread_join(shutters[i], NULL);
		pthread_join(askers[i], NULL);
	}
	if (!thread) { /* the dispatching thread has to leave before close may be called */
		life.stop = true;
		pthread_join(driver, NULL);
	}
	uint64_t kept = newest < 1000 ? newest : 1000;
	for (uint64_t t = newest - kept + 1; t <= newest; t++)
		EVENTUALLY(safestart_wait(life.ss, t, 0, NULL) == 0);
	close_at_last();
	life.closed = true;
	pthread_join(finisher, NULL);
	check_answers(0);
}

START_TEST(p6_shutdown_by_many_under_load_answers_all_and_retires_all_once)
{
	unsigned seed = (unsigned)now_ms();

	for (int round = 0; round < repeat(40); round++)
		crowd(round % 2, &seed);
}
END_TEST

SUITE("close_instants", p6_shutdown_inside_any_callback_answers_every_ticket_once,
      p6_shutdown_during_any_callback_answers_every_ticket_at_once,
      p14_close_during_any_callback_gives_up_and_is_repeated,
      p14_a_later_finished_around_close_counts_or_is_too_late,
      p6_shutdown_by_many_under_load_answers_all_and_retires_all_once)
