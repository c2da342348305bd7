/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Forks a process that is as busy as possible, at any instant and inside every callback, again
 * and again: no child hangs, each gets the right set and ends in time, and the parent is not
 * affected. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"
#define LAST "[{\"targets\":[\"10.0.0.9:1\"],\"labels\":{\"id\":\"z\"}}]"

/* A child reports what is wrong by its exit code, a line number. */
#define STORM_CHECK(condition)                                                            \
	do {                                                                              \
		if (!(condition)) {                                                       \
			dprintf(2, "child: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			_exit(__LINE__ % 255 + 1);                                        \
		}                                                                         \
	} while (0)

/* ---- The application, which may fork inside any of its callbacks ---- */

enum place {
	OUTSIDE,
	PREPARE,
	RESTART,
	RETIRE,
	RETIRE_NODE,
	OUTCOME,
	LOG,
	PLACES
};
enum handle {
	PUSHED,
	READ,
	DRIVEN,
	HANDLES
}; /* source=push; source=file; thread=no */

static struct safestart *handles[HANDLES];
static char nodes[256];
static _Atomic int hung, retired;
static _Atomic uint64_t issued[HANDLES]; /* the newest ticket of each */
static _Atomic int fork_at;              /* the callback that forks next */
static _Atomic pid_t fork_inside;        /* the child it has made */
static _Atomic unsigned fork_kind;

static void be_the_child(unsigned kind) __attribute__((noreturn));

static void passing(enum place place)
{
	int wanted = (int)place;

	if (!atomic_compare_exchange_strong(&fork_at, &wanted, OUTSIDE))
		return;
	unsigned kind = fork_kind;
	pid_t child = fork();
	if (child == 0)
		be_the_child(kind);
	fork_inside = child;
}

static void *hang(void)
{
	hung++;
	return malloc(16);
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind, error = 0;

	(void)user_data;
	passing(PREPARE);
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind != SAFESTART_REMOVED && safestart_run_set_node_data(run, node, hang()) < 0)
			error = -ENOMEM;
	}
	safestart_run_set_data(run, hang());
	return error;
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	passing(RESTART);
	return 0;
}

static void on_retire(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	retired++;
	passing(RETIRE);
}

static void on_retire_node(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	retired++;
	passing(RETIRE_NODE);
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	(void)outcome, (void)user_data;
	passing(OUTCOME);
}

static void on_log(int level, const char *message, void *user_data)
{
	(void)level, (void)message, (void)user_data;
	passing(LOG);
}

static struct safestart *start(struct safestart_conf *conf)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare,
						      .restart = on_restart,
						      .retire = on_retire,
						      .retire_node = on_retire_node,
						      .outcome = on_outcome,
						      .log = on_log};
	struct safestart *ss;
	char why[256] = "";

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	return ss;
}

static void start_all(void)
{
	char source[300], keep[300];

	snprintf(nodes, sizeof(nodes), "%s/nodes.json", scratch());
	snprintf(source, sizeof(source), "source=file:%s", nodes);
	snprintf(keep, sizeof(keep), "last_good=%s/kept.json", scratch());
	write_file(nodes, TWO);
	handles[PUSHED] = start(conf_with("debounce=0", "max_shrink=100%", keep, NULL));
	handles[READ] =
		start(conf_with(source, "debounce=0", "max_shrink=100%", "reconcile=10ms", NULL));
	handles[DRIVEN] = start(conf_with("thread=no", "debounce=0", "max_shrink=100%", NULL));
	push_and_wait(handles[PUSHED], TWO);
	push_and_wait(handles[DRIVEN], TWO);
	ck_assert_int_eq(safestart_wait_ready(handles[READ], 30000), 0);
}

/* ---- The load. None of these threads ends during the storm, see read_once(). ---- */

static _Atomic bool stop;
static _Atomic uint64_t waited_for;

static void *keep_reading(void *argument)
{
	(void)argument;
	for (int i = 0; !stop; i++) {
		struct safestart *ss = handles[i % HANDLES];
		const struct safestart_snapshot *live = safestart_read_lock(ss);
		safestart_node_report(safestart_snapshot_at(live, 0), i % 2);
		/* A grace period has to wait for this reader, and a fork for the grace period. */
		if (i % 64 == 0)
			pause_a_moment();
		safestart_read_unlock(ss);
		safestart_snapshot_release(safestart_snapshot_acquire(ss));
	}
	return NULL;
}

static void *keep_pushing(void *argument)
{
	(void)argument;
	for (int i = 0; !stop; i++) {
		enum handle to = i % 2 ? PUSHED : DRIVEN;
		uint64_t ticket;
		if (safestart_nodes_replace(handles[to], i % 4 < 2 ? ONE : TWO, &ticket, NULL, 0) ==
		    0)
			issued[to] = ticket;
		safestart_node_announce(handles[to], "c", "10.0.0.3:1", NULL, NULL);
		safestart_request(handles[READ], i % 3 ? 0 : SAFESTART_URGENT | SAFESTART_FORCE,
				  "busy");
		safestart_node_withdraw(handles[to], "c", NULL);
		safestart_free(safestart_status_json(handles[i % HANDLES]));
		pause_a_moment();
	}
	return NULL;
}

static void *keep_writing(void *argument)
{
	(void)argument;
	for (int i = 0; !stop; i++) {
		replace_file(nodes, i % 2 ? ONE : TWO);
		pause_a_moment();
	}
	return NULL;
}

static void *keep_waiting(void *argument)
{
	(void)argument;
	while (!stop) {
		uint64_t ticket = safestart_request_restart(handles[PUSHED]);
		waited_for += safestart_wait(handles[PUSHED], ticket, 30000, NULL) == 0;
		safestart_wait(handles[READ], safestart_request_restart(handles[READ]), 1, NULL);
	}
	return NULL;
}

static void *keep_driving(void *argument)
{
	(void)argument;
	while (!stop)
		safestart_dispatch(handles[DRIVEN], 1);
	return NULL;
}

static void *keep_opening(void *argument)
{
	struct safestart *ss;

	(void)argument;
	for (int i = 0; !stop; i++) {
		struct safestart_conf *conf =
			conf_with(i % 2 ? "thread=no" : "thread=yes", "debounce=0", NULL);
		if (safestart_open(&ss, conf, NULL, 0) == 0) {
			safestart_nodes_replace(ss, ONE, NULL, NULL, 0);
			while (safestart_close(ss) != 0)
				pause_a_moment();
		}
		safestart_conf_free(conf);
		pause_a_moment();
	}
	return NULL;
}

static void *(*const jobs[])(void *) = {keep_reading, keep_pushing, keep_writing, keep_waiting,
					keep_waiting, keep_driving, keep_opening};
#define JOBS (sizeof(jobs) / sizeof(*jobs))

/* ---- The child ---- */

static bool is_known_set(const char *ids)
{
	return strcmp(ids, "a") == 0 || strcmp(ids, "a b") == 0 || strcmp(ids, "a c") == 0 ||
	       strcmp(ids, "a b c") == 0;
}

/* Everything that may be called before it is revived: reads and requests. */
static void read_what_was_inherited(uint64_t generations[], uint64_t tickets[])
{
	for (int i = 0; i < HANDLES; i++) {
		const struct safestart_snapshot *live = safestart_read_lock(handles[i]);
		generations[i] = safestart_snapshot_generation(live);
		STORM_CHECK(generations[i] > 0 && safestart_snapshot_data(live) == NULL);
		for (size_t n = 0; n < safestart_snapshot_size(live); n++)
			STORM_CHECK(safestart_node_data(safestart_snapshot_at(live, n)) == NULL);
		safestart_read_unlock(handles[i]);
		STORM_CHECK(is_known_set(live_ids(handles[i])));
		safestart_snapshot_release(safestart_snapshot_acquire(handles[i]));
		tickets[i] = safestart_request_restart(handles[i]);
		STORM_CHECK(tickets[i] != 0 && tickets[i] >= issued[i]);
	}
}

/* A ticket of the parent may be so old that its outcome is no longer kept: -ENODATA. */
static void check_answer(struct safestart *ss, uint64_t ticket, int or_result)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	int result = safestart_wait(ss, ticket, 60000, &outcome);
	if (result != 0 && result == or_result)
		return;
	if (result != 0 || outcome.verdict > SAFESTART_UNCHANGED)
		dprintf(2, "child: ticket %d: %d, answered up to %d: %s\n", (int)ticket, result,
			(int)outcome.ticket, outcome.message);
	STORM_CHECK(result == 0);
	STORM_CHECK(outcome.verdict <= SAFESTART_UNCHANGED);
}

/* Every kept request is answered, every node is prepared again, and a set that is pushed here is
 * applied here. */
static void converge(enum handle which, uint64_t generation, uint64_t ticket)
{
	struct safestart *ss = handles[which];

	check_answer(ss, ticket, 0);
	/* The parent's tickets, open at the fork or answered before. */
	if (issued[which] != 0)
		check_answer(ss, issued[which], -ENODATA);
	STORM_CHECK(safestart_generation(ss) > generation);
	if (which != READ) {
		STORM_CHECK(safestart_nodes_replace(ss, LAST, &ticket, NULL, 0) == 0);
		check_answer(ss, ticket, 0);
		STORM_CHECK(strcmp(live_ids(ss), "z") == 0);
	}
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	for (size_t n = 0; n < safestart_snapshot_size(live); n++)
		STORM_CHECK(safestart_node_data(safestart_snapshot_at(live, n)) != NULL);
	STORM_CHECK(safestart_snapshot_data(live) != NULL);
	safestart_read_unlock(ss);
}

static void close_all(void)
{
	for (int i = 0; i < HANDLES; i++)
		STORM_CHECK(safestart_close(handles[i]) == 0);
	STORM_CHECK(hung == retired);
}

static void revive(unsigned how)
{
	for (int i = 0; i < HANDLES; i++) {
		if (how % 3 == 0)
			STORM_CHECK(safestart_after_fork(handles[i]) == 0);
		else if (how % 3 == 1)
			safestart_free(safestart_status_json(handles[i]));
	}
}

static void be_the_child(unsigned kind)
{
	uint64_t generations[HANDLES], tickets[HANDLES];
	int status;

	alarm(300); /* the last resort, if the parent has ended */
	fork_at = OUTSIDE;
	hung = retired = 0;
	if (kind % 16 == 15) /* the library's descriptors must not survive */
		execl("/bin/sh", "sh", "-c",
		      "! ls -l /proc/self/fd | grep -E 'anon_inode|inotify|safestart-test'",
		      (char *)NULL);
	read_what_was_inherited(generations, tickets);
	if (kind % 16 == 14)
		_exit(0);
	if (kind % 16 == 13) {
		close_all();
		_exit(0);
	}
	revive(kind / 16);
	if (kind % 16 == 12)
		_exit(0); /* with its threads at work */
	pid_t grandchild = kind % 16 > 8 && kind < 1 << 16 ? fork() : -1;
	if (grandchild == 0)
		be_the_child(kind % 7 + (1 << 16));
	for (unsigned i = 0; i < HANDLES; i++)
		converge((i + kind) % HANDLES, generations[(i + kind) % HANDLES],
			 tickets[(i + kind) % HANDLES]);
	close_all();
	if (grandchild > 0)
		STORM_CHECK(waitpid(grandchild, &status, 0) == grandchild && WIFEXITED(status) &&
			    WEXITSTATUS(status) == 0);
	_exit(0);
}

/* ---- The storm ---- */

/* Shows where it hangs, if there is a debugger. */
static void show_stacks(pid_t child)
{
	char command[128];

	snprintf(command, sizeof(command), "gdb -batch -p %d -ex 'thread apply all bt' 1>&2",
		 (int)child);
	if (system(command) != 0)
		fprintf(stderr, "no debugger to show the stacks of the child that hangs\n");
	kill(child, SIGKILL);
}

static void await(pid_t child, int number, int place, unsigned kind)
{
	int64_t limit = now_ms() + 60000;
	int status;
	pid_t ended;

	while ((ended = waitpid(child, &status, WNOHANG)) == 0 && now_ms() < limit)
		pause_a_moment();
	if (ended == 0)
		show_stacks(child);
	ck_assert_msg(ended != 0, "child %d, of kind %u, forked at place %d, hangs", number,
		      kind % 16, place);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "child %d, of kind %u, forked at place %d, ended with %x (line %d)", number,
		      kind % 16, place, (unsigned)status, WEXITSTATUS(status) - 1);
}

static void fork_one(int number, unsigned *seed)
{
	unsigned kind = (unsigned)rand_r(seed) % 48;
	int place = number % 2 ? OUTSIDE : rand_r(seed) % PLACES;
	pid_t child;

	for (unsigned spin = (unsigned)rand_r(seed) % 100000; spin > 0; spin--)
		atomic_signal_fence(memory_order_seq_cst); /* any instant */
	fork_inside = 0;
	if (place == OUTSIDE) {
		child = fork();
		if (child == 0)
			be_the_child(kind);
	} else {
		fork_kind = kind;
		fork_at = place;
		EVENTUALLY(fork_inside != 0);
		child = fork_inside;
	}
	await(child, number, place, kind);
}

static void storm(int forks, unsigned *seed)
{
	pthread_t threads[JOBS];

	stop = false;
	for (size_t i = 0; i < JOBS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, jobs[i], NULL), 0);
	uint64_t generation = safestart_generation(handles[PUSHED]);
	for (int i = 0; i < forks; i++)
		fork_one(i, seed);
	ck_assert_uint_gt(safestart_generation(handles[PUSHED]), generation);
	stop = true;
	for (size_t i = 0; i < JOBS; i++)
		pthread_join(threads[i], NULL);
}

struct footprint {
	int descriptors, threads;
	size_t memory;
};

/* When everything is idle. */
static struct footprint footprint(void)
{
	write_file(nodes, TWO);
	answer(handles[READ], safestart_request_restart(handles[READ]));
	push_and_wait(handles[PUSHED], TWO);
	safestart_dispatch(handles[DRIVEN], 0); /* from now on this thread dispatches */
	push_and_wait(handles[DRIVEN], TWO);
	return (struct footprint){open_descriptors(), threads_alive(), mallinfo2().uordblks};
}

START_TEST(p17_a_fork_storm_hangs_no_child_and_the_parent_notices_nothing)
{
	unsigned seed = (unsigned)now_ms();
	int forks = repeat(50);

	start_all();
	storm(forks / 4, &seed);
	struct footprint before = footprint();
	storm(forks - forks / 4, &seed);
	struct footprint after = footprint();
	ck_assert_int_le(after.descriptors, before.descriptors);
	EVENTUALLY(threads_alive() <= before.threads);
	ck_assert_msg(after.memory < before.memory + (256 << 10), "%zu bytes, before %zu",
		      after.memory, before.memory);
	ck_assert_uint_gt(waited_for, 0);
	for (int i = 0; i < HANDLES; i++)
		close_now(handles[i]);
	ck_assert_int_eq(hung, retired);
}
END_TEST

SUITE("fork_storm", p17_a_fork_storm_hangs_no_child_and_the_parent_notices_nothing)
