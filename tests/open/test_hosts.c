/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile hosts: processes in which the library finds less than it is used to. What a host forbids
 * it forbids for good, so each test needs a process of its own. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "open/hostile.h"
#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* False: not here. The thread sanitizer has a thread of its own. */
static bool can_forbid_threads(void)
{
#ifdef UNDER_TSAN
	fprintf(stderr, "SKIPPED, and so not tested here: a sanitizer starts threads\n");
	return false;
#else
	bool forbidden = forbid_threads();
	if (!forbidden)
		fprintf(stderr, "SKIPPED, and so not tested here: seccomp: %s\n", strerror(errno));
	return forbidden;
#endif
}

/* ---- No threads ---- */

/* Lines that an operator sees about one thing. */
struct lines {
	const char *words;
	int seen, in_all;
};

static void count_lines(int level, const char *message, void *user_data)
{
	struct lines *lines = user_data;

	lines->in_all++;
	lines->seen += level <= LOG_WARNING && strstr(message, lines->words) != NULL;
}

static int hang_data(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	safestart_run_set_data(run, malloc(16));
	return 0;
}

static _Atomic int retired;

static void count_retired(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	atomic_fetch_add(&retired, 1);
}

static struct safestart *open_driven(struct lines *lines)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hang_data,
						      .retire = count_retired,
						      .log = count_lines};
	struct safestart_conf *conf = conf_with("thread=no", "debounce=0", "max_shrink=100%", NULL);
	struct safestart *ss;
	char why[256];

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, lines), 0);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	return ss;
}

START_TEST(p13_without_threads_what_is_replaced_is_retired_by_the_thread_that_dispatches)
{
	struct lines lines = {.words = "cannot start the thread that waits for readers"};
	uint64_t ticket;
	int reloads = 40;

	if (!can_forbid_threads())
		return;
	struct safestart *ss = open_driven(&lines);
	for (int i = 0; i < reloads; i++) {
		ck_assert_int_eq(safestart_nodes_replace(ss, i % 2 ? TWO : ONE, &ticket, NULL, 0),
				 0);
		while (safestart_generation(ss) < (uint64_t)i + 1)
			ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	}
	while (atomic_load(&retired) < reloads - 1)
		ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	/* Nothing is due any more: the loop is quiet. */
	struct pollfd loop = {.fd = safestart_fd(ss), .events = POLLIN};
	while (poll(&loop, 1, 0) == 1)
		ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
	/* The 1st, 2nd, 4th, 8th … time. */
	ck_assert_int_ge(lines.seen, 1);
	ck_assert_int_le(lines.seen, 6);
	close_now(ss);
	ck_assert_int_eq(atomic_load(&retired), reloads);
	ck_assert_int_le(lines.seen, 6);
}
END_TEST

START_TEST(p13_without_threads_a_borrower_is_waited_for)
{
	struct lines lines = {.words = "cannot start the thread that waits for readers"};
	uint64_t ticket;

	if (!can_forbid_threads())
		return;
	struct safestart *ss = open_driven(&lines);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	/* Owned: it has left the set, and is retired when it is released. */
	struct safestart_snapshot *owned = safestart_snapshot_acquire(ss);
	ck_assert_int_eq(safestart_nodes_replace(ss, TWO, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	struct pollfd loop = {.fd = safestart_fd(ss), .events = POLLIN};
	while (poll(&loop, 1, 0) == 1)
		ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
	ck_assert_int_eq(atomic_load(&retired), 0);
	safestart_snapshot_release(owned);
	while (atomic_load(&retired) < 1)
		ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	close_now(ss);
	ck_assert_int_eq(atomic_load(&retired), 2);
}
END_TEST

SUITE("hosts", p13_without_threads_what_is_replaced_is_retired_by_the_thread_that_dispatches,
      p13_without_threads_a_borrower_is_waited_for)
