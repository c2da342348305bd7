/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every call fails once in a forked child, from its first instruction to its close: the child
 * shows the inherited nodes, gets its own run as soon as the calls work again, and the parent is
 * not affected. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/failing.h"
#include "support/support.h"

#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"
#define AB "[" NODE("a", "h1:1") "," NODE("b", "h2:1") "]"
#define ABC "[" NODE("a", "h1:1") "," NODE("b", "h9:1") "," NODE("c", "h3:1") "]"
#define SITES 512

/* The orders to the child, and its report. */
static struct order {
	struct failing_site site; /* no call: nothing fails */
	unsigned nth;
	int error;
	bool lasting;
} order;
static bool in_a_play;
static bool pulled; /* events=pull */

struct report {
	char complaint[400]; /* empty: no error */
	size_t count;
	unsigned injected;
	struct failing_site sites[SITES];
};
static struct report report; /* too large for a stack */

/* Registered before the library's own handler, and so called before it in the child. */
static void child_begins(void)
{
	if (!in_a_play)
		return;
	failing_forget();
	if (order.site.call != NULL)
		failing_arm(&order.site, order.nth, order.error, order.lasting);
}

/* ---- events=pull: a thread that does what the callbacks would have done ---- */

static _Atomic int prepares;
static pthread_t taker;

static void *takes(void *argument)
{
	struct safestart *ss = argument;
	struct pollfd descriptor = {.fd = safestart_event_fd(ss), .events = POLLIN};
	struct safestart_event event = {.size = sizeof(event)};
	int result = 0;

	while (result >= 0) {
		poll(&descriptor, 1, -1);
		while ((result = safestart_next_event(ss, &event)) == 1) {
			prepares += event.kind == SAFESTART_EVENT_PREPARE;
			if (event.kind == SAFESTART_EVENT_PREPARE ||
			    event.kind == SAFESTART_EVENT_RESTART)
				safestart_run_finish(event.run, 0);
		}
	}
	return NULL;
}

static void begin_taking(struct safestart *ss)
{
	if (pulled && pthread_create(&taker, NULL, takes, ss) != 0)
		abort();
}

static void end_taking(struct safestart *ss)
{
	if (!pulled)
		return;
	safestart_shutdown(ss);
	pthread_join(taker, NULL);
}

/* ---- The child: no ck_assert in here, it reports and ends ---- */

static int out;

static void tell_and_end(void)
{
	const char *at = (const char *)&report;

	report.injected = failing_injected();
	report.count = failing_sites(report.sites, SITES);
	for (size_t left = sizeof(report); left > 0;) {
		ssize_t n = write(out, at, left);
		if (n <= 0)
			break;
		at += n;
		left -= (size_t)n;
	}
	_exit(0);
}

#define REQUIRE(condition, words)                                                             \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			snprintf(report.complaint, sizeof(report.complaint),                  \
				 "line %d: not so: %s: %.200s", __LINE__, #condition, words); \
			tell_and_end();                                                       \
		}                                                                             \
	} while (0)

#define IN_THE_END(condition)                                        \
	do {                                                         \
		int64_t begun_ = now_ms();                           \
		while (!(condition)) {                               \
			if (order.lasting && now_ms() > begun_ + 20) \
				failing_stop();                      \
			REQUIRE(now_ms() < begun_ + 20000, "");      \
			if (driven)                                  \
				safestart_dispatch(ss, 1);           \
			else                                         \
				pause_a_moment();                    \
		}                                                    \
	} while (0)

static void excuse(int error, const char *words)
{
	REQUIRE(failing_injected() > 0 && error == -order.error, words);
	REQUIRE(words[0] == '\0' || strstr(words, safestart_strerror(error)) != NULL ||
			(error == -ENOMEM && strstr(words, "out of memory") != NULL),
		words);
	failing_stop();
}

static void answered(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	uint64_t ticket = safestart_request_restart(ss);
	int error = safestart_wait(ss, ticket, order.lasting ? 50 : 20000, &outcome);

	if (error == -ETIMEDOUT && order.lasting)
		failing_stop();
	if (error < 0)
		error = safestart_wait(ss, ticket, 20000, &outcome);
	REQUIRE(error == 0, outcome.message);
	if (outcome.verdict > SAFESTART_UNCHANGED) {
		REQUIRE(outcome.verdict == SAFESTART_FAILED, outcome.message);
		excuse(outcome.error, outcome.message);
	}
}

static void live_as_a_child(struct safestart *ss, struct app *app, bool driven, const char *path)
{
	uint64_t inherited = safestart_generation(ss);
	int error, tries = 0;
	char why[256];

	app_after_fork(app);
	app->prepares = prepares = 0;
	REQUIRE(strcmp(live_ids(ss), "a b") == 0, "");
	while ((error = safestart_after_fork(ss)) < 0) {
		REQUIRE(failing_injected() > 0 && error == -order.error, safestart_strerror(error));
		if (++tries > 1)
			failing_stop();
		REQUIRE(tries < 10, safestart_strerror(error));
	}
	begin_taking(ss);
	answered(ss);
	IN_THE_END(safestart_generation(ss) > inherited); /* prepared again, in the child */
	REQUIRE(app->prepares + prepares > 0 && strcmp(live_ids(ss), "a b") == 0, "");
	if (path != NULL)
		replace_file(path, ABC);
	while (path == NULL &&
	       (error = safestart_nodes_replace(ss, ABC, NULL, why, sizeof(why))) < 0)
		excuse(error, why);
	answered(ss);
	IN_THE_END(strcmp(live_ids(ss), "a b c") == 0);
	char *status = safestart_status_json(ss);
	REQUIRE(status != NULL || failing_injected() > 0, "");
	safestart_free(status);
	if (pulled && order.lasting)
		failing_stop();
	end_taking(ss);
	error = safestart_close(ss);
	if (error == -ETIMEDOUT && order.lasting) {
		failing_stop();
		error = safestart_close(ss);
	}
	REQUIRE(error == 0, safestart_strerror(error));
	tell_and_end();
}

/* ---- The parent ---- */

/* Path NULL: nodes are pushed. */
static void play(struct safestart *ss, struct app *app, bool driven, const char *path)
{
	int ends[2];
	char *at = (char *)&report;

	if (path != NULL)
		replace_file(path, AB);
	ck_assert_int_eq(path != NULL
				 ? answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).error
				 : push_and_wait(ss, AB).error,
			 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	uint64_t generation = safestart_generation(ss);
	ck_assert_int_eq(pipe(ends), 0);
	out = ends[1];
	memset(&report, 0, sizeof(report));
	in_a_play = true;
	pid_t child = fork();
	if (child == 0)
		live_as_a_child(ss, app, driven, path);
	in_a_play = false;
	close(ends[1]);
	for (ssize_t n;
	     (n = read(ends[0], at, sizeof(report) - (size_t)(at - (char *)&report))) > 0;)
		at += n;
	close(ends[0]);
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(status == 0 && at == (char *)&report + sizeof(report),
		      "%s at %p, time %u: %s: the child ended with %#x",
		      order.site.call != NULL ? order.site.call : "nothing", order.site.where,
		      order.nth, strerrorname_np(order.error), (unsigned)status);
	ck_assert_msg(report.complaint[0] == '\0', "%s at %p, time %u: %s%s: %s",
		      order.site.call != NULL ? order.site.call : "nothing", order.site.where,
		      order.nth, order.error > 0 ? strerrorname_np(order.error) : "short",
		      order.lasting ? ", lasting" : "", report.complaint);
	if (path != NULL && !driven)
		return; /* it notices that the file changes, as it should */
	ck_assert_uint_eq(safestart_generation(ss), generation);
	ck_assert_str_eq(live_ids(ss), "a b");
}

static void play_all(bool driven, bool pushed)
{
	static struct report first;
	static struct app app;
	char source[300] = "source=push", file[256], *path = pushed ? NULL : file;
	bool thorough = repeat(1) > 1;
	unsigned injected = 0, plays = 0;

	ck_assert_int_eq(pthread_atfork(NULL, NULL, child_begins), 0);
	failing_take_jansson();
	snprintf(file, sizeof(file), "%s/nodes.json", scratch());
	if (!pushed)
		snprintf(source, sizeof(source), "source=file:%s", file);
	write_file(file, AB);
	app_init(&app);
	struct safestart *ss =
		open_with(pulled ? NULL : &app, source, "debounce=0", "retry_min=1ms",
			  "retry_max=5ms", "reconcile=0", "run_timeout=10s",
			  driven ? "thread=no" : "thread=yes", pulled ? "events=pull" : NULL, NULL);
	begin_taking(ss);
	play(ss, &app, driven, path);
	first = report;
	for (size_t i = 0; i < first.count; i++) {
		const struct failing_site *site = &first.sites[i];
		const int *errors = failing_errors(site->call);
		unsigned step = thorough                             ? 1
				: strcmp(site->call, "jansson") == 0 ? 25
				: site->hits > 1                     ? site->hits - 1
								     : 1;
		for (size_t e = 0; errors[e] != 0 && (thorough || e < 1); e++) {
			for (unsigned nth = 1; nth <= site->hits && nth <= 500;
			     nth += step, plays++) {
				order = (struct order){*site, nth, errors[e], false};
				play(ss, &app, driven, path);
				injected += report.injected;
			}
		}
		if (errors[0] == EINTR)
			continue;
		order = (struct order){*site, 1, errors[0], true};
		play(ss, &app, driven, path);
		injected += report.injected;
		plays++;
	}
	printf("forked%s%s: %zu places, %u children, %u calls failed\n", pushed ? ", pushed" : "",
	       driven ? ", driven" : "", first.count, plays, injected);
	fflush(stdout);
	ck_assert_uint_ge(first.count, 30);
	ck_assert_uint_ge(injected, 30);
	end_taking(ss);
	close_now(ss);
}

START_TEST(p17_every_call_fails_once_in_a_forked_child_that_is_pushed_to)
{
	play_all(false, true);
}
END_TEST

START_TEST(p17_every_call_fails_once_in_a_forked_child_that_takes_events)
{
	pulled = true;
	play_all(false, true);
}
END_TEST

START_TEST(p17_every_call_fails_once_in_a_forked_child_that_reads_a_file)
{
	play_all(false, false);
}
END_TEST

START_TEST(p17_every_call_fails_once_in_a_forked_child_with_the_applications_own_loop)
{
	play_all(true, false);
}
END_TEST

SUITE("calls_fork", p17_every_call_fails_once_in_a_forked_child_that_takes_events,
      p17_every_call_fails_once_in_a_forked_child_that_is_pushed_to,
      p17_every_call_fails_once_in_a_forked_child_that_reads_a_file,
      p17_every_call_fails_once_in_a_forked_child_with_the_applications_own_loop)
