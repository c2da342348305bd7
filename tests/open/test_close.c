/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shutdown and close at difficult moments; opening without resources. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

START_TEST(p6_shutdown_answers_every_open_ticket)
{
	struct app app;
	uint64_t running, waiting;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	app_init(&app);
	app.hold = true;
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &running, NULL, 0), 0);
	EVENTUALLY(app.prepares == 1);
	waiting = safestart_request_restart(ss);
	ck_assert_uint_eq(waiting, running + 1);
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	ck_assert_int_eq(safestart_wait(ss, running, 0, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_CANCELLED);
	ck_assert_int_eq(safestart_wait(ss, waiting, 0, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_CANCELLED);
	ck_assert_int_eq(outcome.error, -ECANCELED);
	ck_assert_uint_eq(safestart_request_restart(ss), 0);
	ck_assert_int_eq(safestart_run_cancelled(app.run), 1);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), -ECANCELED);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), -ECANCELED);
	app.hold = false;
	close_now(ss);
	ck_assert_int_eq(app.outcomes, 1);
	ck_assert_int_eq(app.newest.verdict, SAFESTART_CANCELLED);
}
END_TEST

/* Of all threads but this one. */
static bool all_others_sleep(void)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *task;
	bool asleep = tasks != NULL;

	while (tasks != NULL && (task = readdir(tasks)) != NULL) {
		if (task->d_name[0] != '.' && atoi(task->d_name) != gettid())
			asleep = asleep && is_asleep(atoi(task->d_name));
	}
	if (tasks != NULL)
		closedir(tasks);
	return asleep;
}

/* A server that leaves the closing to the end of its process, or that waits for its last requests
 * in between. */
START_TEST(p14_a_handle_that_is_shut_down_rests)
{
	struct app app;
	app_init(&app);
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	push_and_wait(ss, ONE);
	struct safestart_snapshot *owned = safestart_snapshot_acquire(ss);
	ck_assert_int_eq(safestart_shutdown(ss), 0);
	int found = 0; /* so many times in a row; what is left to do comes first */
	EVENTUALLY((found = all_others_sleep() ? found + 1 : 0) == 100);
	safestart_snapshot_release(owned);
	close_now(ss);
}
END_TEST

START_TEST(p14_close_waits_for_a_hung_callback_at_most_run_timeout)
{
	struct app app;

	app_init(&app);
	app.hold = true;
	struct safestart *ss = open_with(&app, "debounce=0", "run_timeout=20ms", NULL);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	EVENTUALLY(app.prepares == 1);
	ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	ck_assert_uint_eq(safestart_generation(ss), 0); /* still valid */
	app.hold = false;
	EVENTUALLY(safestart_close(ss) == 0);
}
END_TEST

START_TEST(p14_close_waits_for_an_open_later)
{
	struct app app;

	app_init(&app);
	app.prepare_result = SAFESTART_LATER;
	app.hang_data = true;
	struct safestart *ss = open_with(&app, "debounce=0", "run_timeout=50ms", NULL);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, NULL, NULL, 0), 0);
	EVENTUALLY(app.prepares == 1 && app.inside == 0);
	ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	ck_assert_int_eq(safestart_run_finish(app.run, 0), -ESTALE);
	EVENTUALLY(safestart_close(ss) == 0);
	ck_assert_int_eq(app.retires, 1);
	ck_assert_int_eq(app.retired_nodes, 1);
}
END_TEST

struct waiter {
	struct safestart *ss;
	pthread_t thread;
	_Atomic pid_t task;
};

/* A reader that comes when it is told, and stays. */
struct late_reader {
	struct safestart *ss;
	pthread_t thread;
	_Atomic bool come, inside, leave;
};

static void *borrow_late(void *argument)
{
	struct late_reader *reader = argument;

	EVENTUALLY(reader->come);
	safestart_read_lock(reader->ss);
	reader->inside = true;
	EVENTUALLY(reader->leave);
	safestart_read_unlock(reader->ss);
	return NULL;
}

static void begin_reader(struct late_reader *reader)
{
	ck_assert_int_eq(pthread_create(&reader->thread, NULL, borrow_late, reader), 0);
}

static void end_reader(struct late_reader *reader)
{
	reader->leave = true;
	pthread_join(reader->thread, NULL);
}

static int hang_it(struct safestart_run *run, void *user_data)
{
	safestart_run_set_data(run, user_data);
	return 0;
}

/* The last thing that close retires: every grace period that it needs for that is over. */
static void let_reader_come(void *data, void *user_data)
{
	struct late_reader *reader = user_data;

	(void)data;
	reader->come = true;
	EVENTUALLY(reader->inside);
}

static _Atomic int gave_up_for_a_reader;

static void note_reader(int level, const char *message, void *user_data)
{
	(void)level, (void)user_data;
	gave_up_for_a_reader += strstr(message, "close gave up: a reader") != NULL;
}

/* Grace periods are the whole process's: a borrower of another handle, which came when everything
 * was retired, is waited for as any other. */
START_TEST(p14_close_waits_for_the_latest_borrower_at_most_run_timeout)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hang_it,
						      .retire = let_reader_come,
						      .log = note_reader};

	for (int thread = 0; thread < 2; thread++) {
		struct late_reader reader = {.ss = open_with(NULL, "debounce=0", NULL)};
		struct safestart_conf *conf = conf_with("debounce=0", "run_timeout=50ms",
							thread ? NULL : "thread=no", NULL);
		struct safestart *ss;

		safestart_conf_set_callbacks(conf, &callbacks, &reader);
		ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
		safestart_conf_free(conf);
		push_and_wait(ss, ONE);
		begin_reader(&reader);
		gave_up_for_a_reader = 0;
		/* A busy machine may need more than 50 ms to get there. */
		EVENTUALLY(safestart_close(ss) == -ETIMEDOUT && reader.inside);
		int before = gave_up_for_a_reader;
		ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
		ck_assert_int_gt(gave_up_for_a_reader, before);
		end_reader(&reader);
		EVENTUALLY(safestart_close(ss) == 0);
		close_now(reader.ss);
	}
}
END_TEST

static int never_opened(void **state, const struct safestart_source_conf *conf, char *why,
			size_t why_size, void *user_data)
{
	(void)state, (void)conf, (void)why, (void)why_size, (void)user_data;
	return -EIO;
}

static int never_gathered(void *state, struct safestart_gather *gather)
{
	(void)state, (void)gather;
	return -EIO;
}

static void never_closed(void *state)
{
	(void)state;
}

START_TEST(p14_an_open_that_fails_waits_for_no_borrower)
{
	static const struct safestart_source broken = {.size = sizeof(broken),
						       .scheme = "broken",
						       .open = never_opened,
						       .gather = never_gathered,
						       .close = never_closed};
	struct late_reader reader = {.ss = open_with(NULL, "debounce=0", NULL), .come = true};
	struct safestart_conf *conf = safestart_conf_new();
	struct safestart *ss;

	safestart_conf_add_source(conf, &broken, NULL);
	ck_assert_int_eq(safestart_conf_set(conf, "source", "broken:", NULL, 0), 0);
	begin_reader(&reader);
	EVENTUALLY(reader.inside);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), -EIO);
	ck_assert(reader.inside && !reader.leave);
	end_reader(&reader);
	safestart_conf_free(conf);
	close_now(reader.ss);
}
END_TEST

static void *wait_for_ever(void *argument)
{
	struct waiter *waiter = argument;
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	waiter->task = gettid();
	ck_assert_int_eq(safestart_wait(waiter->ss, 1, -1, &outcome), 0);
	ck_assert_int_eq(outcome.verdict, SAFESTART_CANCELLED);
	return NULL;
}

START_TEST(p6_close_answers_waiters_and_waits_until_they_have_left)
{
	struct waiter waiters[8] = {0};
	struct safestart *ss = open_with(NULL, "debounce=1h", "max_delay=1h", NULL);

	ck_assert_uint_eq(safestart_request_restart(ss), 1);
	for (int i = 0; i < 8; i++) {
		waiters[i].ss = ss;
		ck_assert_int_eq(pthread_create(&waiters[i].thread, NULL, wait_for_ever,
						&waiters[i]),
				 0);
	}
	/* A thread that comes after close has begun uses a handle that may be freed. */
	for (int i = 0; i < 8; i++)
		EVENTUALLY(is_asleep(waiters[i].task));
	close_now(ss);
	for (int i = 0; i < 8; i++)
		pthread_join(waiters[i].thread, NULL);
}
END_TEST

START_TEST(p13_owned_snapshots_outlive_close_and_the_last_owner_retires)
{
	struct app app;

	app_init(&app);
	app.hang_data = true;
	struct safestart *ss = open_with(&app, "debounce=0", NULL);
	push_and_wait(ss, ONE);
	struct safestart_snapshot *first = safestart_snapshot_acquire(ss);
	push_and_wait(ss, TWO);
	struct safestart_snapshot *second = safestart_snapshot_acquire(ss),
				  *again = safestart_snapshot_acquire(ss);
	close_now(ss);
	ck_assert_int_eq(app.retires + app.retired_nodes, 0);
	safestart_snapshot_release(first);
	ck_assert_int_eq(app.retires, 1); /* node a lives on in the second */
	ck_assert_int_eq(app.retired_nodes, 0);
	safestart_snapshot_release(second);
	ck_assert_str_eq(safestart_node_id(safestart_snapshot_at(again, 1)), "b");
	safestart_snapshot_release(again);
	ck_assert_int_eq(app.retires, 2);
	ck_assert_int_eq(app.retired_nodes, 2);
}
END_TEST

START_TEST(closing_at_once_and_closing_nothing_is_fine)
{
	ck_assert_int_eq(safestart_close(NULL), 0);
	for (int i = 0; i < 50; i++) {
		struct safestart *ss =
			open_with(NULL, i % 2 ? "source=file:/nowhere/nodes.json" : "debounce=0",
				  NULL);
		if (i % 3 == 0)
			safestart_nodes_replace(ss, ONE, NULL, NULL, 0);
		close_now(ss);
	}
}
END_TEST

/* Use up descriptors until only `spare` are left; returns how many, in `taken`. */
static int take_descriptors(int *taken, int most, int spare)
{
	int count = 0;

	while (count < most && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	for (; spare > 0; spare--)
		close(taken[--count]);
	return count;
}

START_TEST(p9_opening_without_descriptors_is_an_error_in_words)
{
	struct rlimit limit;
	char why[256] = "";
	struct safestart *ss;
	int taken[64];

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = 48;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (int spare = 0; spare < 3; spare++) {
		int count = take_descriptors(taken, 64, spare);
		int result = safestart_open(&ss, NULL, why, sizeof(why));
		while (count > 0)
			close(taken[--count]);
		ck_assert_int_eq(result, -EMFILE);
		ck_assert_ptr_null(ss);
		ck_assert_msg(strstr(why, "descriptors") != NULL, "%s", why);
	}
}
END_TEST

START_TEST(p9_opening_without_memory_or_threads_is_an_error_in_words)
{
	struct rlimit before, limit;
	char why[256] = "";
	struct safestart *ss;

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
	return; /* the sanitizers reserve address space themselves */
#endif
	getrlimit(RLIMIT_AS, &before);
	limit = before;
	limit.rlim_cur = 4096; /* a thread's stack does not fit; small allocations still do */
	setrlimit(RLIMIT_AS, &limit);
	getrlimit(RLIMIT_AS, &limit);
	if (limit.rlim_cur != 4096) {
		fprintf(stderr,
			"SKIPPED, and so not tested here: a limit of memory can't be had\n");
		return; /* qemu's user mode keeps none */
	}
	int result = safestart_open(&ss, NULL, why, sizeof(why));
	setrlimit(RLIMIT_AS, &before);
	ck_assert_msg(result == -ENOMEM || result == -EAGAIN, "%d", result);
	ck_assert_ptr_null(ss);
	ck_assert_str_ne(why, "");
}
END_TEST

/* ---- Every allocation of open fails once: the program's malloc comes before libc's, for the
 * library too ---- */

#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
/* Allocations of this thread that still succeed; negative: all. */
static __thread int until_failure = -1;
static __thread int balance; /* what this thread has allocated and not freed */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void __libc_free(void *memory);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);
void free(void *memory);

static bool fails(void)
{
	if (until_failure > 0)
		until_failure--;
	if (until_failure == 0)
		errno = ENOMEM;
	balance += until_failure != 0;
	return until_failure == 0;
}

void free(void *memory)
{
	balance -= memory != NULL;
	__libc_free(memory);
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
	if (fails())
		return NULL;
	balance -= memory != NULL;
	return __libc_realloc(memory, size);
}

START_TEST(p9_every_allocation_of_open_may_fail)
{
	struct safestart_conf *conf =
		conf_with("source=file:/nowhere/nodes.json", "last_good=/nowhere/kept", NULL);
	int failures = 0, result;
	struct safestart *ss;
	char why[256];

	do {
		until_failure = ++failures;
		result = safestart_open(&ss, conf, why, sizeof(why));
		until_failure = -1;
		ck_assert_msg(result == 0 || result == -ENOMEM || result == -EAGAIN, "%d", result);
		ck_assert(result == 0 || (ss == NULL && why[0] != '\0'));
	} while (result < 0);
	close_now(ss);
	ck_assert_int_gt(failures, 12);
	/* Each of them once more: were anything left behind, it would add up. */
	for (int n = 1; n < failures; n++) {
		int before = balance;
		until_failure = n;
		result = safestart_open(&ss, conf, why, sizeof(why));
		until_failure = -1;
		/* Libc keeps a thread's stack for the next one: fewer allocations than the first
		 * time. */
		if (result == 0) {
			close_now(ss);
			break;
		}
		ck_assert_int_eq(balance, before);
	}
	safestart_conf_free(conf);
}
END_TEST
#else
START_TEST(p9_every_allocation_of_open_may_fail)
{
	/* The sanitizers bring an allocator of their own. */
}
END_TEST
#endif

SUITE("close", p6_shutdown_answers_every_open_ticket, p14_a_handle_that_is_shut_down_rests,
      p14_close_waits_for_a_hung_callback_at_most_run_timeout, p14_close_waits_for_an_open_later,
      p14_close_waits_for_the_latest_borrower_at_most_run_timeout,
      p14_an_open_that_fails_waits_for_no_borrower,
      p6_close_answers_waiters_and_waits_until_they_have_left,
      p13_owned_snapshots_outlive_close_and_the_last_owner_retires,
      closing_at_once_and_closing_nothing_is_fine,
      p9_opening_without_descriptors_is_an_error_in_words,
      p9_opening_without_memory_or_threads_is_an_error_in_words,
      p9_every_allocation_of_open_may_fail)
