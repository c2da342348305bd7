/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of a handle, printed line by line: requests, windows, retries, deadlines, reconciles,
 * waits. Under another wall clock (tests/clocks, tests/support/clock.c) the output has to be the
 * same, except for lengths of time. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define YEARS(n) ((n)*365L * 86400)

/* NULL without the shim. */
static void (*step_clock)(long seconds);
static unsigned (*readings)(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *story;
static _Atomic int failures_left, outcomes, laters_left;
static _Atomic int told_at_most; /* outcomes, in a chapter that needs no request */
static _Atomic bool hold, inside;
static struct safestart_run *_Atomic open_run;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...)
{
	va_list arguments;

	pthread_mutex_lock(&lock);
	va_start(arguments, format);
	vfprintf(story, format, arguments);
	va_end(arguments);
	fputc('\n', story);
	pthread_mutex_unlock(&lock);
}

/* Far ahead and far back in turn: after each call the wall clock shows another day. */
static void step(void)
{
	static _Atomic unsigned steps;

	if (step_clock != NULL)
		step_clock(atomic_fetch_add(&steps, 1) % 2 ? -YEARS(50) : YEARS(30));
}

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void moment(void)
{
	struct timespec a_millisecond = {.tv_nsec = 1000000};

	nanosleep(&a_millisecond, NULL);
}

#define UNTIL(condition)                                                        \
	for (int64_t limit_ = monotonic_ms() + 60000; !(condition); moment()) { \
		if (monotonic_ms() > limit_) {                                  \
			tell("never came true: " #condition);                   \
			fclose(story);                                          \
			_exit(1);                                               \
		}                                                               \
	}

/* ---- The application ---- */

static int on_prepare(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	step(); /* in a run with a deadline */
	if (atomic_load(&outcomes) < atomic_load(&told_at_most))
		tell("  prepare of run %llu: %zu nodes",
		     (unsigned long long)safestart_run_number(run),
		     safestart_snapshot_size(safestart_run_candidate(run)));
	atomic_store(&open_run, run);
	atomic_store(&inside, true);
	while (atomic_load(&hold))
		moment();
	atomic_store(&inside, false);
	if (atomic_load(&laters_left) > 0) {
		atomic_fetch_sub(&laters_left, 1);
		return SAFESTART_LATER;
	}
	if (atomic_load(&failures_left) > 0) {
		atomic_fetch_sub(&failures_left, 1);
		return -EIO;
	}
	return 0;
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)user_data;
	if (atomic_load(&outcomes) < atomic_load(&told_at_most))
		tell("  run %llu ended: verdict %d, error %d, generation %llu, ticket %llu, %llu "
		     "requests, attempt %u: %s",
		     (unsigned long long)outcome->run, outcome->verdict, outcome->error,
		     (unsigned long long)outcome->generation, (unsigned long long)outcome->ticket,
		     (unsigned long long)outcome->requests, outcome->attempts, outcome->message);
	step(); /* before a pause */
	atomic_fetch_add(&outcomes, 1);
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)user_data;
	if (atomic_load(&outcomes) < atomic_load(&told_at_most))
		tell("  log %d: %s", level, message);
}

static struct safestart *open_story(const char *first, ...)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare,
						      .outcome = on_outcome,
						      .log = on_log};
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss = NULL;
	char why[256] = "", key[64];
	va_list rest;

	va_start(rest, first);
	for (const char *setting = first; setting != NULL; setting = va_arg(rest, const char *)) {
		const char *equals = strchr(setting, '=');
		snprintf(key, sizeof(key), "%.*s", (int)(equals - setting), setting);
		if (safestart_conf_set(conf, key, equals + 1, why, sizeof(why)) < 0)
			tell("%s: %s", setting, why);
	}
	va_end(rest);
	safestart_conf_set(conf, "name", "story", NULL, 0);
	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	atomic_store(&outcomes, 0);
	atomic_store(&told_at_most, 1000);
	if (safestart_open(&ss, conf, why, sizeof(why)) < 0)
		tell("not opened: %s", why);
	safestart_conf_free(conf);
	return ss;
}

/* Prints when so many runs have ended, because other threads print their outcomes. The callback
 * that hangs in `prepare` may continue before. */
static void tell_wait(struct safestart *ss, uint64_t ticket, int timeout_ms, int ended)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int64_t begin = monotonic_ms();

	int result = safestart_wait(ss, ticket, timeout_ms, &outcome);
	int64_t took = monotonic_ms() - begin;
	atomic_store(&hold, false);
	UNTIL(outcomes == ended);
	tell("waited for %llu: %d, verdict %d, run %llu%s: %s", (unsigned long long)ticket, result,
	     outcome.verdict, (unsigned long long)outcome.run,
	     result == -ETIMEDOUT && took < timeout_ms - 1 ? ", too early" : "", outcome.message);
}

static void tell_status(struct safestart *ss)
{
	char *status = safestart_status_json(ss), *metrics;

	/* `outcome`, which counted itself. */
	while (strstr(status, "\"callback\": null") == NULL &&
	       strstr(status, "\"callback\":null") == NULL) {
		safestart_free(status);
		moment();
		status = safestart_status_json(ss);
	}
	metrics = safestart_metrics_text(ss);
	tell("%s\n%s", status, metrics);
	safestart_free(status);
	safestart_free(metrics);
}

/* The request was noticed: the start of its run is known. */
static bool is_noticed(struct safestart *ss, uint64_t ticket)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	return safestart_wait(ss, ticket, 0, &outcome) == -ETIMEDOUT &&
	       strstr(outcome.message, "starts in") != NULL;
}

static void tell_end(struct safestart *ss)
{
	UNTIL(safestart_close(ss) == 0);
	tell("closed");
}

/* ---- Chapters ---- */

/* Its run is printed before the next line: a window of its own, rounded down to milliseconds. */
static void windows(void)
{
	struct safestart *ss = open_story("debounce=60ms", "max_delay=60ms", NULL);
	uint64_t ticket = 0;

	tell("-- windows");
	for (int i = 0; i < 6; i++) {
		int64_t begin = monotonic_ms();
		safestart_nodes_replace(ss, i % 2 ? ONE : TWO, &ticket, NULL, 0);
		step(); /* in an open window */
		safestart_wait(ss, ticket, -1, NULL);
		int64_t took = monotonic_ms() - begin;
		UNTIL(outcomes == i + 1);
		tell("ticket %llu was answered %s", (unsigned long long)ticket,
		     took < 59      ? "too early"
		     : took > 30000 ? "too late"
				    : "in time");
	}
	tell_end(ss);
}

static void *step_again_and_again(void *stop)
{
	while (!atomic_load((_Atomic bool *)stop)) {
		step();
		moment();
	}
	return NULL;
}

/* Waits and their timeouts, while the clock jumps all the time. */
static void waits(void)
{
	struct safestart *ss = open_story("debounce=1h", "max_delay=1h", NULL);
	_Atomic bool stop = false;
	pthread_t stepper;
	uint64_t ticket = 0;

	tell("-- waits");
	pthread_create(&stepper, NULL, step_again_and_again, &stop);
	tell("ready? %d", safestart_wait_ready(ss, 30));
	for (int i = 0; i < 5; i++)
		ticket = safestart_request(ss, 0, i % 2 ? "why not" : NULL);
	safestart_nodes_replace(ss, ONE, &ticket, NULL, 0);
	UNTIL(is_noticed(ss, ticket));
	tell_wait(ss, ticket, 50, 0);
	tell_wait(ss, ticket, 0, 0);
	tell_status(ss);
	safestart_request(ss, SAFESTART_URGENT, "now");
	tell_wait(ss, ticket, -1, 1);
	atomic_store(&stop, true);
	pthread_join(stepper, NULL);
	tell_status(ss);
	tell_end(ss);
}

/* Requests during a run are one further run. */
static void during_a_run(void)
{
	struct safestart *ss = open_story("debounce=0", NULL);
	uint64_t ticket = 0;

	tell("-- during a run");
	atomic_store(&hold, true);
	safestart_nodes_replace(ss, ONE, &ticket, NULL, 0);
	UNTIL(inside);
	for (int i = 0; i < 7; i++) {
		ticket = safestart_request_restart(ss);
		step();
	}
	atomic_store(&hold, false);
	tell_wait(ss, ticket, -1, 2);
	tell_status(ss);
	tell_end(ss);
}

static void retries(void)
{
	struct safestart *ss = open_story("debounce=0", "retry_min=10ms", "retry_max=80ms", NULL);
	uint64_t ticket = 0;

	tell("-- retries");
	atomic_store(&failures_left, 6);
	safestart_nodes_replace(ss, ONE, &ticket, NULL, 0);
	tell_wait(ss, ticket, -1, 7);
	tell_status(ss);
	tell_end(ss);
}

/* Past its deadline: a run that finishes later, then one that hangs. */
static void deadlines(void)
{
	struct safestart *ss =
		open_story("debounce=0", "run_timeout=300ms", "retry_min=1h", "retry_max=1h", NULL);
	uint64_t ticket = 0;

	tell("-- deadlines");
	atomic_store(&laters_left, 1);
	safestart_nodes_replace(ss, ONE, &ticket, NULL, 0);
	tell_wait(ss, ticket, -1, 1);
	tell("finished: %d", safestart_run_finish(atomic_load(&open_run), 0));
	atomic_store(&hold, true);
	/* The last one ends by itself, because it has returned. */
	tell_wait(ss, safestart_request(ss, SAFESTART_URGENT, NULL), -1, 3);
	tell_status(ss);
	tell_end(ss);
}

/* A file, re-read without a request. */
static void reconciles(const char *path)
{
	char setting[300], next[300];

	tell("-- reconciles");
	snprintf(setting, sizeof(setting), "source=file:%s", path);
	snprintf(next, sizeof(next), "%s.next", path);
	for (int i = 0; i < 2; i++) {
		FILE *file = fopen(next, "w");
		fputs(i == 0 ? ONE : TWO, file);
		fclose(file);
		rename(next, path);
		step();
		struct safestart *ss = open_story("debounce=0", "reconcile=40ms", setting, NULL);
		atomic_store(&told_at_most, 4);
		int64_t begin = monotonic_ms();
		UNTIL(outcomes >= 4);
		int64_t took = monotonic_ms() - begin;
		tell("reconciled %s", took < 3 * 20 - 3 ? "too early" : "in time");
		tell_end(ss);
	}
	unlink(path);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	story = fopen(argv[1], "w");
	*(void **)&step_clock = dlsym(RTLD_DEFAULT, "clock_shim_step");
	*(void **)&readings = dlsym(RTLD_DEFAULT, "clock_shim_readings");
	setvbuf(story, NULL, _IOLBF, 0);
	windows();
	waits();
	during_a_run();
	retries();
	deadlines();
	if (readings != NULL && readings() != 0)
		tell("libsafestart read the wall clock %u times", readings());
	reconciles(argv[2]); /* the times of the file itself are wall clock times */
	fclose(story);
	return 0;
}
