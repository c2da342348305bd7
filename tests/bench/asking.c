/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a request costs the caller, once the loop has seen the batch and wakes up by itself: at 1
 * to 64 threads, beside a lower limit and beside what people write instead. While requests are
 * counted each of them writes; after 65535 a request is a load. In CPU time, because that is
 * what 64 threads on a few cores take from each other. */
#include <errno.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "asking_peers.h"
#include "bench.h"

#define CALLS                                                                                   \
	1000000 /* of all threads, in one round; but each makes at least a tenth of it, or they \
		   would hardly meet */
#define SYSTEM_CALLS 20000
#define COUNTED 65535

/* Has seen its batch, and has counted as many as it can: a request changes nothing. */
static struct safestart *crowded;
static struct safestart *counting; /* has seen its batch: a request wakes no thread */
static struct safestart *asleep;   /* has not, and never will: every request wakes it */
static _Alignas(64) _Atomic uint64_t word;
static _Alignas(64) pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool flag;
static int event_fd;
static volatile sig_atomic_t signalled;

/* ---- Ours ---- */

static void ask(void *ss, size_t times)
{
	for (size_t i = 0; i < times; i++)
		BENCH_USE(safestart_request_restart(ss));
}

static void ask_with_a_reason(void *ss, size_t times)
{
	for (size_t i = 0; i < times; i++)
		BENCH_USE(safestart_request(ss, 0, "riak-3 is back"));
}

/* ---- Limits and peers ---- */

static void call(void *argument, size_t times)
{
	for (size_t i = 0; i < times; i++)
		peers_empty(argument);
}

/* It would be wrong as a door: it wakes no thread. */
static void load(void *argument, size_t times)
{
	(void)argument;
	for (size_t i = 0; i < times; i++)
		BENCH_USE(atomic_load_explicit(&word, memory_order_relaxed));
}

static void fetch_or(void *argument, size_t times)
{
	(void)argument;
	for (size_t i = 0; i < times; i++)
		BENCH_USE(atomic_fetch_or_explicit(&word, 1, memory_order_acq_rel));
}

static void lock_and_flag(void *argument, size_t times)
{
	(void)argument;
	for (size_t i = 0; i < times; i++) {
		pthread_mutex_lock(&mutex);
		flag = true;
		pthread_mutex_unlock(&mutex);
	}
}

static void lock_flag_and_signal(void *argument, size_t times)
{
	(void)argument;
	for (size_t i = 0; i < times; i++) {
		pthread_mutex_lock(&mutex);
		flag = true;
		pthread_cond_signal(&changed);
		pthread_mutex_unlock(&mutex);
	}
}

static void write_event(void *argument, size_t times)
{
	uint64_t one = 1;

	(void)argument;
	for (size_t i = 0; i < times; i++) {
		if (write(event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			abort();
	}
}

static void on_hangup(int number)
{
	signalled = number;
}

static void hang_up(void *argument, size_t times)
{
	sigset_t hangup;

	(void)argument;
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	/* Blocked in other threads, so that the measured thread pays for the handler. */
	pthread_sigmask(SIG_UNBLOCK, &hangup, NULL);
	for (size_t i = 0; i < times; i++)
		kill(getpid(), SIGHUP);
}

/* ---- All of them, at every number of threads ---- */

static const unsigned threads[] = {1, 2, 8, 64};

#define COUNTS (sizeof(threads) / sizeof(threads[0]))

enum kind {
	OURS,
	CALL,
	LOAD,
	OURS_COUNTED,
	FETCH_OR,
	LOCK,
	LOCK_SIGNAL,
	EVENT,
	SIGNAL,
	KINDS
};

static const struct {
	const char *name;
	void (*work)(void *argument, size_t times);
	size_t calls;
} kinds[KINDS] = {
	[OURS] = {"a coalesced request", ask, CALLS},
	[CALL] = {"an empty call", call, CALLS},
	[LOAD] = {"a relaxed load", load, CALLS},
	[OURS_COUNTED] = {"the same while it is counted", ask, 0},
	[FETCH_OR] = {"fetch_or", fetch_or, CALLS},
	[LOCK] = {"mutex and flag", lock_and_flag, CALLS},
	[LOCK_SIGNAL] = {"mutex, flag and cond signal", lock_flag_and_signal, CALLS},
	[EVENT] = {"write to an eventfd", write_event, SYSTEM_CALLS},
	[SIGNAL] = {"kill(getpid(), SIGHUP)", hang_up, SYSTEM_CALLS},
};

struct cell {
	enum kind kind;
	unsigned threads;
};

/* The loop has seen this one; from here on requests wake no thread. */
static void open_window(struct safestart *ss)
{
	safestart_request_restart(ss);
	safestart_dispatch(ss, 0);
}

static double measure_cell(const void *argument)
{
	const struct cell *cell = argument;
	size_t calls = kinds[cell->kind].calls,
	       each = calls / (cell->threads < 10 ? cell->threads : 10);

	if (cell->kind == OURS_COUNTED) {
		safestart_wait(counting, safestart_request(counting, SAFESTART_URGENT, NULL), -1,
			       NULL);
		open_window(counting);
		return bench_threads(cell->threads, ask, counting, (COUNTED - 2) / cell->threads);
	}
	return bench_threads(cell->threads, kinds[cell->kind].work, crowded, each);
}

static void say_table(void)
{
	static struct cell cells[KINDS][COUNTS];
	static struct way ways[KINDS][COUNTS];
	char what[64];

	for (int kind = 0; kind < KINDS; kind++) {
		for (size_t i = 0; i < COUNTS; i++) {
			cells[kind][i] = (struct cell){(enum kind)kind, threads[i]};
			ways[kind][i] = (struct way){.name = kinds[kind].name,
						     .measure = measure_cell,
						     .argument = &cells[kind][i]};
		}
	}
	bench_ways(&ways[0][0], KINDS * COUNTS);
	for (size_t i = 0; i < COUNTS; i++) {
		snprintf(what, sizeof(what), "a coalesced request, threads: %u", threads[i]);
		bench_at_most(what, &ways[OURS][i], &ways[CALL][i], 2);
		bench_at_most(what, &ways[OURS][i], &ways[LOAD][i], 0);
		for (int kind = OURS_COUNTED; kind < KINDS; kind++)
			bench_at_least(what, &ways[kind][i], &ways[OURS][i],
				       kind == LOCK && threads[i] == 8 ? 20 : 0);
		for (int kind = 0; kind < KINDS; kind++)
			bench_point("asking", kinds[kind].name, threads[i],
				    bench_median(&ways[kind][i]));
	}
	ways[OURS][0].name = "1 thread";
	bench_at_most("a coalesced request, threads: 64", &ways[OURS][COUNTS - 1], &ways[OURS][0],
		      1.2);
}

/* ---- Requests that do more ---- */

static double measure_reason(const void *argument)
{
	(void)argument;
	return bench_threads(1, ask_with_a_reason, crowded, CALLS / 10);
}

static double measure_waking(const void *argument)
{
	(void)argument;
	return bench_threads(1, ask, asleep, SYSTEM_CALLS);
}

static void say_others(void)
{
	static const struct cell one_event = {EVENT, 1}, one_ask = {OURS, 1};
	struct way ways[] =
		{{.name = "a request that wakes", .measure = measure_waking},
		 {.name = "write to an eventfd", .measure = measure_cell, .argument = &one_event},
		 {.name = "a coalesced request with a reason", .measure = measure_reason},
		 {.name = "one without", .measure = measure_cell, .argument = &one_ask}};

	bench_ways(ways, 4);
	bench_at_most(ways[0].name, &ways[0], &ways[1], 0);
	bench_at_most(ways[2].name, &ways[2], &ways[3], 0);
}

/* thread=no: the loop runs when it is told to. */
static struct safestart *open_handle(void)
{
	static const struct safestart_callbacks callbacks = {.size = sizeof(callbacks)};
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss = NULL;
	char why[256] = "";

	if (conf == NULL || safestart_conf_set_callbacks(conf, &callbacks, NULL) < 0 ||
	    safestart_conf_set(conf, "thread", "no", why, sizeof(why)) < 0 ||
	    safestart_conf_set(conf, "debounce", "24h", why, sizeof(why)) < 0 ||
	    safestart_conf_set(conf, "min_interval", "0", why, sizeof(why)) < 0 ||
	    safestart_open(&ss, conf, why, sizeof(why)) < 0) {
		fprintf(stderr, "asking: %s\n", why);
		abort();
	}
	safestart_conf_free(conf);
	return ss;
}

void bench_asking(void)
{
	struct sigaction action = {.sa_handler = on_hangup, .sa_flags = SA_RESTART};
	sigset_t hangup;

	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &hangup, NULL);
	sigaction(SIGHUP, &action, NULL);
	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	crowded = open_handle();
	counting = open_handle();
	asleep = open_handle();
	open_window(crowded);
	ask(crowded, COUNTED);
	safestart_nodes_replace(counting, "[{\"targets\":[\"10.0.0.1:8087\"]}]", NULL, NULL, 0);
	bench_section("Asking", "CPU ns");
	say_table();
	say_others();
	safestart_close(asleep);
	safestart_close(counting);
	safestart_close(crowded);
	close(event_fd);
}
