/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stress/later_acts.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress/later_world.h"

struct acts_world acts_world;

/* ---- The end ---- */

/* Bounded: by made-up time only, so that it ends at once or not at all. What is not finished is the
 * only thing here that it may have to give up for. [P14] */
bool close_and_check(void)
{
	bool owed = laters_open() > 0;
	int passes = world.passes;

	world.shutting = true;
	int result = safestart_close(world.ss);
	world.shut = true;
	if (result == 0)
		world.handed_back = true;
	if (result == -EDEADLK && !world.kind.threads && owed)
		return false;
	if (result == -ETIMEDOUT && world.passing > passes)
		return false;
	if (result != 0)
		wrong("close said %d", result);
	return result == 0;
}

static void act_close(void *unused)
{
	(void)unused;
	if (close_begin())
		close_end(close_and_check());
}

static void act_shutdown(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	world.shutting = true;
	if (safestart_shutdown(world.ss) != 0)
		wrong("shutdown failed");
	world.shut = true;
	use_end();
}

/* ---- LATER ---- */

static void act_finish(void *unused)
{
	(void)unused;
	(void)finish_one(0);
}

static void act_finish_with_error(void *unused)
{
	(void)unused;
	(void)finish_one(-EIO);
}

static void act_pass_time(void *unused)
{
	(void)unused;
	pass_time();
}

/* The newest LATER that is open, whose finish has to wait meanwhile. */
static void with_later(void (*use)(const struct later *later))
{
	pthread_mutex_lock(&world.laters_lock);
	for (int i = world.later_count - 1; i >= 0; i--) {
		if (world.laters[i].handle == NULL)
			continue;
		use(&world.laters[i]);
		break;
	}
	pthread_mutex_unlock(&world.laters_lock);
}

static void look_around(const struct later *later)
{
	if (later->phase != GATHER) {
		(void)safestart_run_cancelled(later->handle);
		(void)safestart_snapshot_find(safestart_run_candidate(later->handle), "b");
		(void)safestart_snapshot_size(safestart_run_current(later->handle));
		return;
	}
	if (safestart_gather_max_bytes(later->handle) == 0)
		wrong("no byte may be gathered");
	(void)safestart_gather_forced(later->handle);
	(void)safestart_gather_cancelled(later->handle);
	(void)safestart_gather_unchanged(later->handle);
	safestart_gather_warn(later->handle, "from another thread");
}

static void act_look_around(void *unused)
{
	(void)unused;
	with_later(look_around);
}

static void reject(const struct later *later)
{
	if (later->phase == PREPARE)
		(void)safestart_run_reject(later->handle, "b", "told to");
}

static void act_reject(void *unused)
{
	(void)unused;
	with_later(reject);
}

static void set_data(const struct later *later)
{
	if (later->phase != PREPARE)
		return;
	const struct safestart_node *node =
		safestart_snapshot_at(safestart_run_candidate(later->handle), 0);
	struct item *item = new_item(true);
	if (node == NULL || safestart_run_set_node_data(later->handle, node, item) != 0)
		item->handed = false;
	safestart_run_set_data(later->handle, new_item(false));
}

static void act_set_data(void *unused)
{
	(void)unused;
	with_later(set_data);
}

/* ---- Requests and questions ---- */

static void act_request(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	note_ticket(safestart_request(world.ss, 0, "why"));
	use_end();
}

static void act_request_forced(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	note_ticket(safestart_request(world.ss, SAFESTART_FORCE | SAFESTART_URGENT, NULL));
	use_end();
}

static void act_push(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	world.interfered = true;
	(void)ask_for(1);
	use_end();
}

static void act_announce(void *unused)
{
	uint64_t ticket = 0;

	(void)unused;
	if (!use_begin())
		return;
	world.interfered = true;
	(void)safestart_node_announce(world.ss, "z", "10.0.0.7:7", NULL, &ticket);
	note_ticket(ticket);
	use_end();
}

static void act_read(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	read_for(0);
	use_end();
}

/* What it sees is not retired before it leaves, whatever goes on. [P13] */
static void act_stay_as_reader(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	read_for(3);
	use_end();
}

/* Released when the handle is gone. */
static void act_own(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	int i = atomic_fetch_add(&world.owned_count, 1);
	if (i < OWNED)
		world.owned[i] = safestart_snapshot_acquire(world.ss);
	use_end();
}

static void act_own_for_a_moment(void *unused)
{
	(void)unused;
	if (!use_begin())
		return;
	safestart_snapshot_release(safestart_snapshot_acquire(world.ss));
	use_end();
}

static void act_ask_everything(void *unused)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	char why[100];

	(void)unused;
	if (!use_begin())
		return;
	safestart_free(safestart_status_json(world.ss));
	safestart_free(safestart_metrics_text(world.ss));
	(void)safestart_node_state(world.ss, "a", why, sizeof(why));
	(void)safestart_last_outcome(world.ss, &outcome);
	use_end();
}

static void act_look_for_answer(void *unused)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	(void)unused;
	if (!use_begin())
		return;
	uint64_t ticket = world.newest_ticket;
	int result = ticket != 0 ? safestart_wait(world.ss, ticket, 0, &outcome) : -ETIMEDOUT;
	if (result == 0)
		check_outcome(&outcome, "another thread's wait");
	else if (result != -ETIMEDOUT)
		wrong("another thread's wait said %d", result);
	use_end();
}

/* A second one at the same time is turned away. What this one has done the tester would wait for,
 * so it gets something else to do. */
static void act_dispatch(void *unused)
{
	(void)unused;
	if (world.kind.waits || !use_begin()) /* the tester would no longer drive its own wait */
		return;
	int result = safestart_dispatch(world.ss, 0);
	if (result != 0 && result != -EBUSY && result != -ECANCELED)
		wrong("dispatch said %d", result);
	uint64_t ticket = safestart_request(world.ss, 0, NULL);
	note_ticket(ticket);
	if (ticket == 0)
		(void)safestart_shutdown(world.ss); /* wakes, too */
	use_end();
}

/* ---- Threads and processes ---- */

#ifndef UNDER_ASAN
static void act_cancel_the_waiter(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&world.lock);
	if (acts_world.waiter_lives)
		pthread_cancel(acts_world.waiter);
	pthread_mutex_unlock(&world.lock);
}
#endif

#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
static int child_waits(uint64_t ticket, const char *which)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	int result = safestart_wait(world.ss, ticket, -1, &outcome);
	if (result != 0)
		wrong("wait for %s said %d", which, result);
	else
		check_outcome(&outcome, which);
	return outcome.verdict;
}

static void *wait_for_inherited(void *unused)
{
	(void)unused;
	(void)child_waits(world.newest_ticket, "an inherited ticket, by a second thread,");
	return NULL;
}

static void child_lives(void)
{
	uint64_t inherited = world.newest_ticket;
	pthread_t second;

	/* With thread=no the second one could only wait for the first. */
	if (acts_world.child % 4 == 3 && inherited != 0 && world.kind.threads) {
		if (pthread_create(&second, NULL, wait_for_inherited, NULL) == 0)
			pthread_join(second, NULL);
	}
	uint64_t own = ask_for(1);
	int verdict = own != 0 ? child_waits(own, "the child's ticket") : SAFESTART_CANCELLED;
	if (verdict > SAFESTART_UNCHANGED && !world.shutting)
		wrong("the child's ticket %d was answered %d", (int)own, verdict);
	if (inherited != 0) /* perhaps before the fork */
		(void)child_waits(inherited, "an inherited ticket");
	if (!world.shutting && strcmp(live_ids(world.ss), live_after[1]) != 0)
		wrong("%s is live", live_ids(world.ss));
	read_for(0);
}

_Noreturn static void be_the_child(void)
{
	signal(SIGALRM, SIG_DFL); /* check's handler would kill the parent, too */
	alarm(120);               /* the last resort, for the parent waits */
	world_after_fork();
	if (acts_world.child % 4 == 0)
		leave_child(0);
	read_for(0);
	if (acts_world.child % 4 != 1)
		child_lives();
	world.shutting = true;
	int result = safestart_close(world.ss);
	if (result != 0)
		wrong("close said %d", result);
	world_check();
	leave_child(what_is_wrong[0] != '\0');
}

static void act_fork(void *unused)
{
	int status;

	(void)unused;
	if (!use_begin())
		return;
	pid_t child = fork();
	if (child == 0)
		be_the_child();
	if (waitpid(child, &status, 0) != child || status != 0)
		wrong("child %u ended with %x", acts_world.child % 4, (unsigned)status);
	use_end();
}
#endif

/* ---- All of them ---- */

const struct later_act later_acts[] = {
	{"finish", act_finish},
	{"shutdown", act_shutdown},
	{"close", act_close},
	{"pass time", act_pass_time},
	{"request", act_request},
	{"finish with an error", act_finish_with_error},
	{"push", act_push},
	{"read", act_read},
	{"stay as a reader", act_stay_as_reader},
	{"forced request", act_request_forced},
	{"reject", act_reject},
	{"set data", act_set_data},
	{"look around in the run", act_look_around},
	{"announce", act_announce},
	{"own a snapshot", act_own},
	{"own it for a moment", act_own_for_a_moment},
	{"ask everything", act_ask_everything},
	{"look for the answer", act_look_for_answer},
	{"dispatch", act_dispatch},
#ifndef UNDER_ASAN /* see tests/meson.build */
	{"cancel the waiter", act_cancel_the_waiter},
#endif
#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
	{"fork", act_fork},
#endif
};
const size_t later_act_count = sizeof(later_acts) / sizeof(later_acts[0]);
