/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Readers while generations come and go. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* Every generation's data is its number, on the generation and on its only node; so a reader can
 * tell a torn one. */
static int prepare_number(struct safestart_run *run, void *user_data)
{
	const struct safestart_snapshot *candidate = safestart_run_candidate(run);
	uint64_t *number = malloc(sizeof(*number)), *node_number = malloc(sizeof(*number));

	(void)user_data;
	*number = *node_number = safestart_snapshot_generation(candidate);
	safestart_run_set_data(run, number);
	return safestart_run_set_node_data(run, safestart_snapshot_at(candidate, 0), node_number);
}

static void free_number(void *data, void *user_data)
{
	*(uint64_t *)data = 0; /* a reader that is still inside would see it */
	free(data);
	atomic_fetch_add((_Atomic int *)user_data, 1);
}

static struct safestart *open_numbered(_Atomic int *retired)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = prepare_number,
						      .retire = free_number,
						      .retire_node = free_number};
	struct safestart_conf *conf = conf_with("debounce=0", NULL);
	struct safestart *ss;

	safestart_conf_set_callbacks(conf, &callbacks, retired);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	return ss;
}

static void next_generation(struct safestart *ss, int number)
{
	uint64_t ticket;
	char address[32];

	snprintf(address, sizeof(address), "10.0.0.1:%d", number % 60000 + 1);
	ck_assert_int_eq(safestart_node_announce(ss, "a", address, NULL, &ticket), 0);
	ck_assert_int_eq(answer(ss, ticket).verdict, SAFESTART_APPLIED);
}

struct reader {
	struct safestart *ss;
	_Atomic bool stop;
	_Atomic uint64_t reads;
};

static void check_whole(const struct safestart_snapshot *snapshot)
{
	uint64_t generation = safestart_snapshot_generation(snapshot);

	if (generation == 0)
		return;
	ck_assert_uint_eq(*(uint64_t *)safestart_snapshot_data(snapshot), generation);
	ck_assert_uint_eq(*(uint64_t *)safestart_node_data(safestart_snapshot_at(snapshot, 0)),
			  generation);
}

static void *borrow(void *argument)
{
	struct reader *reader = argument;
	uint64_t newest = 0;

	while (!reader->stop) {
		uint64_t known = safestart_generation(reader->ss);
		const struct safestart_snapshot *snapshot = safestart_read_lock(reader->ss);
		/* Never backwards. */
		ck_assert_uint_ge(safestart_snapshot_generation(snapshot), newest);
		newest = safestart_snapshot_generation(snapshot);
		ck_assert_uint_ge(newest, known);
		check_whole(snapshot);
		safestart_read_unlock(reader->ss);
		reader->reads++;
	}
	return NULL;
}

static void *own(void *argument)
{
	struct reader *reader = argument;

	while (!reader->stop) {
		struct safestart_snapshot *snapshot = safestart_snapshot_acquire(reader->ss);
		check_whole(snapshot);
		safestart_snapshot_release(snapshot);
		reader->reads++;
	}
	return NULL;
}

START_TEST(p10_a_reader_sees_one_whole_generation)
{
	_Atomic int retired = 0;
	struct reader reader = {.ss = open_numbered(&retired)};
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, i % 2 ? own : borrow, &reader),
				 0);
	for (int i = 0; i < 300; i++)
		next_generation(reader.ss, i);
	EVENTUALLY(reader.reads > 1000);
	reader.stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	close_now(reader.ss);
	ck_assert_int_eq(retired, 600); /* p13: everything exactly once */
}
END_TEST

START_TEST(p13_a_borrower_that_stays_delays_retirement_and_not_the_next_reload)
{
	_Atomic int retired = 0;
	struct safestart *ss = open_numbered(&retired);

	next_generation(ss, 1);
	const struct safestart_snapshot *borrowed = safestart_read_lock(ss);
	for (int i = 2; i < 10; i++)
		next_generation(ss, i);
	ck_assert_int_eq(retired, 0);
	check_whole(borrowed);
	char *metrics = safestart_metrics_text(ss);
	ck_assert_ptr_nonnull(strstr(metrics, "safestart_oldest_reader_seconds"));
	safestart_free(metrics);
	safestart_read_unlock(ss);
	EVENTUALLY(retired == 2 * 8);
	close_now(ss);
}
END_TEST

START_TEST(p13_a_borrow_lasts_until_its_outermost_unlock)
{
	_Atomic int retired = 0;
	struct safestart *ss = open_numbered(&retired);

	next_generation(ss, 1);
	const struct safestart_snapshot *borrowed = safestart_read_lock(ss);
	for (int i = 2; i < 20; i++) {
		check_whole(safestart_read_lock(ss));
		check_whole(safestart_read_lock(ss));
		safestart_read_unlock(ss);
		next_generation(ss, i);
		safestart_read_unlock(ss);
		/* Borrows, while others own. */
		safestart_snapshot_release(safestart_snapshot_acquire(ss));
	}
	ck_assert_int_eq(retired, 0);
	check_whole(borrowed);
	safestart_read_unlock(ss);
	EVENTUALLY(retired == 2 * 18);
	close_now(ss);
}
END_TEST

START_TEST(p13_only_what_an_owner_holds_is_kept)
{
	_Atomic int retired = 0;
	struct safestart *ss = open_numbered(&retired);

	next_generation(ss, 1);
	struct safestart_snapshot *held = safestart_snapshot_acquire(ss);
	for (int i = 2; i <= 50; i++)
		next_generation(ss, i);
	EVENTUALLY(retired == 2 * 48); /* all but the live one and the held one */
	check_whole(held);
	safestart_snapshot_release(held);
	EVENTUALLY(retired == 2 * 49);
	close_now(ss);
	ck_assert_int_eq(retired, 2 * 50);
}
END_TEST

/* Owners that are threads of their own, and the slots by which they hand on what they own: it is
 * given back by another thread than acquired it, before or after it is replaced. */
enum {
	OWNERS = 40,
	SLOTS = 8
};

struct owners {
	struct safestart *ss;
	_Atomic(struct safestart_snapshot *) slots[SLOTS];
	_Atomic bool stop;
	pthread_barrier_t all; /* so that each has a record of its own with liburcu */
};

static void *hand_on(void *argument)
{
	struct owners *owners = argument;
	unsigned slot = (unsigned)(uintptr_t)pthread_self() / 64;

	while (!owners->stop) {
		struct safestart_snapshot *own = safestart_snapshot_acquire(owners->ss);
		own = atomic_exchange(&owners->slots[slot++ % SLOTS], own);
		if (own != NULL)
			check_whole(own);
		safestart_snapshot_release(own);
	}
	return NULL;
}

START_TEST(p13_what_one_thread_owns_another_may_give_back)
{
	_Atomic int retired = 0;
	struct owners owners = {.ss = open_numbered(&retired)};
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, hand_on, &owners);
	for (int i = 1; i <= repeat(300); i++)
		next_generation(owners.ss, i);
	owners.stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		safestart_snapshot_release(owners.slots[i]);
	EVENTUALLY(retired == 2 * (repeat(300) - 1));
	/* The last owner comes after close. */
	struct safestart_snapshot *last = safestart_snapshot_acquire(owners.ss);
	close_now(owners.ss);
	ck_assert_int_eq(retired, 2 * (repeat(300) - 1));
	check_whole(last);
	safestart_snapshot_release(last);
	ck_assert_int_eq(retired, 2 * repeat(300));
}
END_TEST

static void *acquire_one(void *argument)
{
	struct owners *owners = argument;
	struct safestart_snapshot *own = safestart_snapshot_acquire(owners->ss);

	pthread_barrier_wait(&owners->all);
	return own;
}

START_TEST(p13_each_of_many_owners_counts)
{
	_Atomic int retired = 0;
	struct owners owners = {.ss = open_numbered(&retired)};
	pthread_t threads[OWNERS];
	void *own[OWNERS];

	next_generation(owners.ss, 1);
	pthread_barrier_init(&owners.all, NULL, OWNERS);
	for (int i = 0; i < OWNERS; i++)
		pthread_create(&threads[i], NULL, acquire_one, &owners);
	for (int i = 0; i < OWNERS; i++)
		pthread_join(threads[i], &own[i]);
	for (int i = 2; i <= 4; i++)
		next_generation(owners.ss, i);
	EVENTUALLY(retired == 2 * 2);
	for (int i = 0; i < OWNERS; i++) {
		check_whole(own[i]);
		safestart_snapshot_release(own[i]);
	}
	EVENTUALLY(retired == 2 * 3);
	pthread_barrier_destroy(&owners.all);
	close_now(owners.ss);
}
END_TEST

/* What malloc() has handed out, in all arenas. Not the resident size: that keeps the greatest
   backlog of retired generations there has ever been, and on a busy machine there may be some. */
static long allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return (long)(info.uordblks + info.hblkhd);
}

START_TEST(p19_ten_thousand_reloads_leave_everything_as_one_thousand_did)
{
	_Atomic int retired = 0;
	struct safestart *ss = open_numbered(&retired);
	int i = 0, last = under_valgrind() ? 2000 : 10000;

	/* More than the 1024 answers that are kept, so that their pages are all touched. */
	while (i < 1100)
		next_generation(ss, i++);
	EVENTUALLY(retired == 2 * (i - 1));
	long memory = allocated_bytes();
	int descriptors = open_descriptors(), threads = threads_alive();
	while (i < last)
		next_generation(ss, i++);
	EVENTUALLY(retired == 2 * (i - 1));
#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
	/* Two bytes a reload would show. Valgrind looks for leaks itself. */
	long more = allocated_bytes() - memory;
	if (!under_valgrind())
		ck_assert_msg(more <= 16 * 1024, "%ld bytes more are allocated", more);
#else
	(void)memory;
#endif
	ck_assert_int_eq(open_descriptors(), descriptors);
	ck_assert_int_eq(threads_alive(), threads);
	close_now(ss);
}
END_TEST

START_TEST(getters_and_find)
{
	struct safestart *ss = open_with(NULL, "debounce=0", NULL);

	push_and_wait(ss, "[{\"targets\":[\"[::1]:8087\"],\"labels\":{\"id\":\"six\",\"zone\":"
			  "\"a\",\"rack\":\"7\"}}]");
	struct safestart_snapshot *snapshot = safestart_snapshot_acquire(ss);
	const struct safestart_node *node = safestart_snapshot_find(snapshot, "six");
	const char *name;
	ck_assert_str_eq(safestart_node_host(node), "::1");
	ck_assert_uint_eq(safestart_node_port(node), 8087);
	ck_assert_str_eq(safestart_node_label(node, "zone"), "a");
	ck_assert_str_eq(safestart_node_label_at(node, 0, &name), "7");
	ck_assert_str_eq(name, "rack");
	ck_assert_ptr_null(safestart_node_label_at(node, 2, NULL));
	ck_assert_ptr_null(safestart_node_label(node, "nothing"));
	ck_assert_ptr_null(safestart_snapshot_find(snapshot, "seven"));
	ck_assert_ptr_null(safestart_snapshot_at(snapshot, 1));
	ck_assert_ptr_null(safestart_node_data(node));
	char *json = safestart_snapshot_json(snapshot);
	ck_assert_str_eq(json, "[{\"targets\":[\"[::1]:8087\"],\"labels\":{\"id\":\"six\",\"rack\":"
			       "\"7\",\"zone\":\"a\"}}]");
	safestart_free(json);
	safestart_snapshot_release(snapshot);
	safestart_snapshot_release(NULL);
	push_and_wait(ss, TWO);
	close_now(ss);
}
END_TEST

static void *look_all_the_time(void *argument)
{
	struct reader *reader = argument;

	while (!reader->stop) {
		safestart_free(safestart_status_json(reader->ss));
		safestart_free(safestart_metrics_text(reader->ss));
		safestart_node_state(reader->ss, "gone", NULL, 0);
		reader->reads++;
	}
	return NULL;
}

/* A document of `count` nodes that no other generation has. */
static char *document_of_its_own(int generation, int count)
{
	char *text = malloc((size_t)count * 48 + 64);
	int length = sprintf(text, "[{\"targets\":[\"10.0.0.1:1\"");

	for (int i = 0; i < count; i++)
		length += sprintf(text + length, ",\"g%d-%d:1\"", generation, i);
	sprintf(text + length, "]}]");
	return text;
}

START_TEST(p13_looking_at_the_status_takes_nothing_from_retirement)
{
	enum {
		GENERATIONS = 40,
		NODES = 300
	};
	struct app app;
	struct reader reader = {0};
	struct safestart_snapshot *held = NULL;
	pthread_t threads[2];

	app_init(&app);
	app.hang_data = true;
	reader.ss = open_with(&app, "debounce=0", "max_shrink=100%", NULL);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, look_all_the_time, &reader), 0);
	/* An owner releases the last snapshot while another reader uses it. */
	for (int i = 0; i < GENERATIONS; i++) {
		char *json = document_of_its_own(i, NODES);
		ck_assert_int_eq(push_and_wait(reader.ss, json).verdict, SAFESTART_APPLIED);
		free(json);
		safestart_snapshot_release(held);
		held = safestart_snapshot_acquire(reader.ss);
	}
	safestart_snapshot_release(held);
	reader.stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	close_now(reader.ss);
	ck_assert_int_eq(app.retired_nodes, GENERATIONS * NODES + 1);
	ck_assert_int_eq(app.retires, GENERATIONS);
}
END_TEST

SUITE("readers", p10_a_reader_sees_one_whole_generation,
      p13_a_borrower_that_stays_delays_retirement_and_not_the_next_reload,
      p13_a_borrow_lasts_until_its_outermost_unlock, p13_only_what_an_owner_holds_is_kept,
      p13_what_one_thread_owns_another_may_give_back, p13_each_of_many_owners_counts,
      p19_ten_thousand_reloads_leave_everything_as_one_thousand_did, getters_and_find,
      p13_looking_at_the_status_takes_nothing_from_retirement)
