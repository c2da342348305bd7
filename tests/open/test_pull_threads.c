/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* events=pull, attacked: several threads that take, finish and close, signal handlers, a source
 * that takes, one poll loop for both descriptors, storms, and a close between its own steps. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <safestart/source.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "handle.h"
#include "support/support.h"

#define A "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define ROUNDS 30
#define KEYS 4096

static struct safestart *handle;

static struct safestart *open_pulling(const char *first, const char *second)
{
	return open_with(NULL, "events=pull", "retry_min=0", "max_shrink=100%", "shrink_window=0",
			 "run_timeout=1h", first, second, NULL);
}

/* The next event but for the log; -ECANCELED and 0 as they are. */
static int take(struct safestart *ss, struct safestart_event *event)
{
	int result;

	*event = (struct safestart_event){.size = sizeof(*event)};
	do
		result = safestart_next_event(ss, event);
	while (result == 1 && event->kind == SAFESTART_EVENT_LOG);
	return result;
}

static struct safestart_event next_is(struct safestart *ss, int kind)
{
	struct safestart_event event;

	EVENTUALLY(take(ss, &event) != 0);
	ck_assert_int_eq(event.kind, kind);
	return event;
}

/* A set whose one node has another address each time. */
static uint64_t push_number(struct safestart *ss, int number)
{
	char json[200];
	uint64_t ticket;

	snprintf(json, sizeof(json), "[{\"targets\":[\"10.0.%d.%d:1\"],\"labels\":{\"id\":\"a\"}}]",
		 number >> 8, number & 255);
	ck_assert_int_eq(safestart_nodes_replace(ss, json, &ticket, NULL, 0), 0);
	return ticket;
}

/* ---- Two take, a third finishes, a fourth closes ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct safestart_event asked[4]; /* guarded by lock, as all below */
	size_t count;
	bool over;
	uint64_t key; /* the newest that was handed over */
	bool retired[KEYS];
	unsigned committed, restarts, alive;
} work = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void took_locked(const struct safestart_event *event)
{
	switch (event->kind) {
	case SAFESTART_EVENT_PREPARE:
	case SAFESTART_EVENT_RESTART:
		ck_assert_uint_lt(work.count, 4);
		work.asked[work.count++] = *event;
		break;
	case SAFESTART_EVENT_COMMITTED: work.committed++; break;
	case SAFESTART_EVENT_RETIRE_NODE:
		ck_assert(event->key > 0 && event->key <= work.key && !work.retired[event->key]);
		work.retired[event->key] = true;
		work.alive--;
		break;
	default: ck_assert_int_eq(event->kind, SAFESTART_EVENT_OUTCOME);
	}
}

static void *takes(void *argument)
{
	struct safestart_event event;
	int result = 0;

	(void)argument;
	while (result >= 0) {
		struct pollfd descriptor = {.fd = safestart_event_fd(handle), .events = POLLIN};
		ck_assert_int_ge(poll(&descriptor, 1, -1), 0);
		/* The other thread may have been faster. */
		while ((result = take(handle, &event)) == 1) {
			pthread_mutex_lock(&work.lock);
			took_locked(&event);
			pthread_cond_broadcast(&work.changed);
			pthread_mutex_unlock(&work.lock);
		}
	}
	ck_assert_int_eq(result, -ECANCELED);
	return NULL;
}

static void *finishes(void *argument)
{
	(void)argument;
	pthread_mutex_lock(&work.lock);
	while (!work.over || work.count > 0) {
		if (work.count == 0) {
			pthread_cond_wait(&work.changed, &work.lock);
			continue;
		}
		struct safestart_event event = work.asked[--work.count];
		work.restarts += event.kind == SAFESTART_EVENT_RESTART;
		if (event.kind == SAFESTART_EVENT_PREPARE) {
			work.key++;
			work.alive++;
			ck_assert_int_eq(safestart_run_set_node_key(event.run, "a", work.key), 0);
		}
		pthread_mutex_unlock(&work.lock);
		int error = event.run_number % 3 == 0 ? -EIO : 0;
		ck_assert_int_eq(safestart_run_finish(event.run, error), 0);
		pthread_mutex_lock(&work.lock);
	}
	pthread_mutex_unlock(&work.lock);
	return NULL;
}

static void *closes(void *argument)
{
	ck_assert_int_eq(safestart_close(handle), 0);
	return argument;
}

START_TEST(p24_two_threads_take_and_a_third_finishes)
{
	pthread_t threads[3], closer;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	handle = open_pulling("debounce=0", NULL);
	ck_assert_int_eq(pthread_create(&threads[0], NULL, takes, NULL), 0);
	ck_assert_int_eq(pthread_create(&threads[1], NULL, takes, NULL), 0);
	ck_assert_int_eq(pthread_create(&threads[2], NULL, finishes, NULL), 0);
	for (int i = 0; i < repeat(ROUNDS) && i < KEYS - 1; i++)
		ck_assert_int_eq(safestart_wait(handle, push_number(handle, i), 60000, &outcome),
				 0);
	uint64_t generation = safestart_generation(handle);
	safestart_shutdown(handle);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	pthread_mutex_lock(&work.lock);
	work.over = true;
	pthread_cond_broadcast(&work.changed);
	pthread_mutex_unlock(&work.lock);
	pthread_join(threads[2], NULL);
	ck_assert_uint_eq(work.committed, generation);
	ck_assert_uint_ge(work.restarts, generation);
	ck_assert_uint_eq(work.alive, 1); /* the live one */
	ck_assert_int_eq(pthread_create(&closer, NULL, closes, NULL), 0);
	pthread_join(closer, NULL);
}
END_TEST

/* ---- A signal handler that reads meanwhile ---- */

static _Atomic unsigned signals;

static void reads(int number)
{
	(void)number;
	const struct safestart_snapshot *live = safestart_read_lock(handle);
	const struct safestart_node *node = safestart_snapshot_find(live, "a");
	uint64_t generation = safestart_snapshot_generation(live);

	if (node != NULL && safestart_node_key(node) != generation)
		abort();
	if (safestart_event_fd(handle) < 0)
		abort();
	safestart_read_unlock(handle);
	signals++;
}

static _Atomic bool enough;

static void *signals_it(void *argument)
{
	while (!enough) {
		unsigned before = signals;
		pthread_kill(*(pthread_t *)argument, SIGUSR1);
		while (signals == before && !enough)
			sched_yield();
	}
	return NULL;
}

START_TEST(p5_a_signal_handler_reads_while_events_are_taken)
{
	struct sigaction action = {.sa_handler = reads, .sa_flags = SA_RESTART};
	pthread_t sender, self = pthread_self();
	struct safestart_event event;

	handle = open_pulling("debounce=0", NULL);
	safestart_read_lock(handle);
	safestart_read_unlock(handle);
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	ck_assert_int_eq(pthread_create(&sender, NULL, signals_it, &self), 0);
	for (int i = 0; i < repeat(ROUNDS) || signals < 100; i++) {
		push_number(handle, i);
		EVENTUALLY(take(handle, &event) == 1 && event.kind == SAFESTART_EVENT_PREPARE);
		ck_assert_int_eq(safestart_run_set_node_key(event.run, "a", event.run_number), 0);
		ck_assert_int_eq(safestart_run_finish(event.run, 0), 0);
		EVENTUALLY(take(handle, &event) == 1 && event.kind == SAFESTART_EVENT_RESTART);
		ck_assert_int_eq(safestart_run_finish(event.run, 0), 0);
		EVENTUALLY(take(handle, &event) == 1 && event.kind == SAFESTART_EVENT_OUTCOME);
	}
	enough = true;
	pthread_join(sender, NULL);
	close_now(handle);
}
END_TEST

/* ---- A source that takes, inside its gather ---- */

static _Atomic unsigned taken_inside;

static int nosy_open(void **state, const struct safestart_source_conf *conf, char *why,
		     size_t why_size, void *user_data)
{
	(void)conf, (void)why, (void)why_size;
	*state = user_data;
	return 0;
}

/* The previous outcome waits here at the latest; there is no PREPARE, for a run is being made. */
static int nosy_gather(void *state, struct safestart_gather *gather)
{
	struct safestart_event event;

	(void)state;
	safestart_gather_warn(gather, "somebody is nosy");
	while (take(handle, &event) == 1) {
		ck_assert(event.kind == SAFESTART_EVENT_OUTCOME && event.run == NULL);
		taken_inside++;
	}
	return safestart_gather_json(gather, A, strlen(A));
}

static void nosy_close(void *state)
{
	(void)state;
}

static void take_in_gather(const char *thread)
{
	const struct safestart_source source = {.size = sizeof(source),
						.scheme = "nosy",
						.open = nosy_open,
						.gather = nosy_gather,
						.close = nosy_close};
	struct safestart_conf *conf = conf_with("events=pull", "debounce=0", thread, NULL);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	struct safestart_event event;
	char why[256];

	ck_assert_int_eq(safestart_conf_add_source(conf, &source, NULL), 0);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "nosy", why, sizeof(why)), 0);
	ck_assert_int_eq(safestart_open(&handle, conf, why, sizeof(why)), 0);
	safestart_conf_free(conf);
	taken_inside = 0;
	for (int i = 0; i < 3; i++) {
		uint64_t ticket = safestart_request_restart(handle);
		while (safestart_try_wait(handle, ticket, &outcome) != 0) {
			safestart_dispatch(handle, 0); /* -EBUSY with thread=yes */
			if (take(handle, &event) == 1 && event.run != NULL)
				ck_assert_int_eq(safestart_run_finish(event.run, 0), 0);
			sched_yield();
		}
		ck_assert_int_le(outcome.verdict, SAFESTART_UNCHANGED);
	}
	close_now(handle);
}

START_TEST(p24_a_source_may_take_events)
{
	take_in_gather("thread=no");
	take_in_gather("thread=yes");
}
END_TEST

/* ---- Both descriptors in one poll loop ---- */

START_TEST(p24_one_poll_loop_for_both_descriptors)
{
	struct safestart *ss = open_pulling("debounce=0", "thread=no");
	struct safestart_event event = {0};
	unsigned applied = 0, woken = 0;

	struct pollfd loop[2] = {{.fd = safestart_fd(ss), .events = POLLIN},
				 {.fd = safestart_event_fd(ss), .events = POLLIN}};
	push_number(ss, 0);
	while (applied < 20) {
		ck_assert_int_ge(poll(loop, 2, 60000), 1); /* nothing is forgotten */
		woken++;
		if (loop[0].revents != 0)
			ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
		if (loop[1].revents == 0)
			continue;
		while (take(ss, &event) == 1) {
			if (event.run != NULL)
				ck_assert_int_eq(safestart_run_finish(event.run, 0), 0);
			if (event.kind != SAFESTART_EVENT_OUTCOME)
				continue;
			ck_assert_int_eq(event.outcome->verdict, SAFESTART_APPLIED);
			if (++applied < 20)
				push_number(ss, (int)applied);
		}
	}
	ck_assert_uint_lt(woken, 20 * 20); /* nor does it spin */
	close_now(ss);
}
END_TEST

/* ---- Storms ---- */

#define STORM 100000

START_TEST(p1_a_storm_of_requests_is_few_events)
{
	struct safestart *ss = open_pulling("source=none", "debounce=20ms");
	struct safestart_event event = {0};
	uint64_t ticket = 0, covered = 0;
	unsigned restarts = 0;

	for (int i = 0; i < STORM; i++)
		ticket = safestart_request_restart(ss);
	while (event.outcome == NULL || event.outcome->ticket < ticket) {
		EVENTUALLY(take(ss, &event) == 1);
		if (event.run != NULL) {
			restarts++;
			ck_assert_int_eq(safestart_run_finish(event.run, 0), 0);
		} else {
			ck_assert_int_eq(event.outcome->verdict, SAFESTART_APPLIED);
			ck_assert_uint_eq(event.outcome->merged, 0);
			covered += event.outcome->requests;
		}
	}
	ck_assert_uint_eq(restarts, ticket); /* one for each batch */
	ck_assert(covered == STORM || covered >= 65535);
	ck_assert_int_eq(take(ss, &event), 0);
	close_now(ss);
}
END_TEST

/* What waits is thrown away, however much it is. */
START_TEST(p23_a_handle_closes_while_very_many_keys_wait)
{
	struct safestart *ss = open_pulling("debounce=0", NULL);
	int64_t begun;

	uint64_t ticket = push_number(ss, 0);
	struct safestart_event event = next_is(ss, SAFESTART_EVENT_PREPARE);
	for (uint64_t key = 1; key <= STORM + 1; key++)
		ck_assert_int_eq(safestart_run_set_node_key(event.run, "a", key), 0);
	ck_assert_int_eq(safestart_run_fail(event.run, -EIO, "enough"), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, 60000, NULL), 0);
	next_is(ss, SAFESTART_EVENT_OUTCOME);
	next_is(ss, SAFESTART_EVENT_RETIRE_NODE); /* the others follow, or are there */
	/* Behind them all, and taken back. */
	push_number(ss, 1);
	begun = now_ms();
	ck_assert_int_eq(safestart_close(ss), 0);
	ck_assert_int_lt(now_ms() - begun, 30000);
}
END_TEST

/* ---- Close, between two of its steps ---- */

static bool asks(struct safestart *ss)
{
	pthread_mutex_lock(&ss->lock);
	bool open = ss->run.later_open > 0;
	pthread_mutex_unlock(&ss->lock);
	return open;
}

static struct safestart *in_close;
static _Atomic unsigned turns;

int __real_snapshot_reclaim(struct snapshot_home *home);
int __wrap_snapshot_reclaim(struct snapshot_home *home);
void __real_request_shut(struct request_door *door);
void __wrap_request_shut(struct request_door *door);

/* Once in each turn. */
int __wrap_snapshot_reclaim(struct snapshot_home *home)
{
	turns++;
	return __real_snapshot_reclaim(home);
}

/* The library's threads go on as long as they find something to do. */
void __wrap_request_shut(struct request_door *door)
{
	for (int i = 0; i < 4 && in_close != NULL; i++) {
		unsigned before = turns;
		loop_wake(in_close->loop.wake_fd);
		while (turns == before)
			sched_yield();
	}
	if (in_close != NULL)
		ck_assert_uint_eq(safestart_generation(in_close), 0);
	__real_request_shut(door);
}

START_TEST(p24_what_close_abandons_does_not_go_live)
{
	for (int i = 0; i < 2; i++) {
		struct safestart *ss = open_pulling("debounce=0", NULL);
		push_number(ss, 0);
		if (i == 0)
			next_is(ss, SAFESTART_EVENT_PREPARE);
		else
			EVENTUALLY(asks(ss));
		in_close = ss;
		ck_assert_int_eq(safestart_close(ss), 0);
		in_close = NULL;
	}
}
END_TEST

SUITE("pull_threads", p24_two_threads_take_and_a_third_finishes,
      p5_a_signal_handler_reads_while_events_are_taken, p24_a_source_may_take_events,
      p24_one_poll_loop_for_both_descriptors, p1_a_storm_of_requests_is_few_events,
      p23_a_handle_closes_while_very_many_keys_wait, p24_what_close_abandons_does_not_go_live)
