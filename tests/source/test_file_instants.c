/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source=file: the file is edited between any two system calls of the library, by everything that
 * editors, tools, kubelets and administrators do to files, on a file system whose times tell the
 * truth, stand still, go backward, or are ahead, with inotify and without. Whatever is done when:
 * no half of a change goes live, and in the end what the path leads to is live. */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "source/file_world.h"
#include "support/attitude.h"
#include "support/chance.h"
#include "support/support.h"

/* ---- A schedule: which edit, and before which calls its steps are made ---- */

static struct schedule {
	size_t edit;
	unsigned when[2];
	int stamps;
} schedule;

static struct {
	pthread_mutex_t lock; /* with threads several of them may be between two calls */
	bool active;
	unsigned calls;
	bool made[2];
} now = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Atomic int torn; /* versions of which only a half was to go live */

static void make_step_locked(int step)
{
	if (now.made[step])
		return;
	now.made[step] = true;
	world_edits[schedule.edit](step, world.version + 1 + step);
}

static void between(void)
{
	pthread_mutex_lock(&now.lock);
	for (int step = 0; step < 2 && now.active; step++) {
		if (now.calls >= schedule.when[step])
			make_step_locked(step);
	}
	now.calls++;
	pthread_mutex_unlock(&now.lock);
}

static void begin_edit(void)
{
	pthread_mutex_lock(&now.lock);
	now.active = true;
	now.calls = 0;
	now.made[0] = now.made[1] = false;
	pthread_mutex_unlock(&now.lock);
	attitude_between(between);
}

/* What was not reached is done at the end. Returns how many calls there were. */
static unsigned finish_edit(void)
{
	attitude_between(NULL);
	pthread_mutex_lock(&now.lock);
	make_step_locked(0);
	make_step_locked(1);
	now.active = false; /* a thread may be on its way to the lock */
	unsigned calls = now.calls;
	pthread_mutex_unlock(&now.lock);
	return calls;
}

static int version_of(const struct safestart_snapshot *snapshot, size_t index)
{
	const struct safestart_node *node = safestart_snapshot_at(snapshot, index);

	return node != NULL ? atoi(safestart_node_id(node) + 1) : -1;
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_snapshot *candidate = safestart_run_candidate(run);

	(void)user_data;
	/* With threads one may be in the middle of an edit while the other one reads twice: the
	 * file has been half written all the time, and no reader can see that. */
	if (world.threads)
		return 0;
	if (safestart_snapshot_size(candidate) != 2 ||
	    version_of(candidate, 0) != version_of(candidate, 1))
		atomic_fetch_add(&torn, 1);
	return 0;
}

static int version_that_is_live(struct safestart *ss)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	int version = version_of(live, 0);

	safestart_read_unlock(ss);
	return version;
}

/* With the application's loop: until nothing is left to do. Events of no interest are looked at ten
 * times a second at most; that time is made up. */
static void dispatch_all(struct safestart *ss)
{
	struct pollfd ready = {.fd = safestart_fd(ss), .events = POLLIN};

	for (int i = 0; i < 3; i++) {
		do
			ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
		while (poll(&ready, 1, 0) > 0);
		atomic_fetch_add(&attitude.later, 200000000);
	}
}

/* One handle lives through many worlds: to begin and to end inotify takes the kernel longer than
 * anything here. */
static struct safestart *open_world(enum layout layout, bool inotify, bool threads)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare};
	char source[300], why[200] = "";
	struct safestart *ss;

	world.directory = open(scratch(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.layout = layout;
	world.inotify = inotify;
	world.threads = threads;
	atomic_store(&attitude.no_inotify, !inotify);
	world_make(world.version);
	snprintf(source, sizeof(source), "source=file:%s", scratch_path(world_path()));
	struct safestart_conf *conf =
		conf_with(source, "debounce=0", "reconcile=0", "retry_min=0", "max_shrink=100%",
			  threads ? "thread=yes" : "thread=no", NULL);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait_ready(ss, 60000), 0);
	return ss;
}

static void close_world(struct safestart *ss)
{
	close_now(ss);
	close(world.directory);
	remove_scratch();
}

static uint64_t seed; /* 0: not at random */

/* With inotify the change is seen by itself; without, a request after it sees it. [P2] [P15] */
static void hold_newest(struct safestart *ss)
{
	int wanted = world_version();

	if (!world.inotify)
		(void)answer(ss, safestart_request_restart(ss));
	else if (!world.threads)
		dispatch_all(ss);
	else
		EVENTUALLY(wanted < 0 || version_that_is_live(ss) == wanted);
	ck_assert_msg(wanted < 0 || version_that_is_live(ss) == wanted,
		      "edit %zu before calls %u and %u, layout %d, stamps %d, inotify %d, threads "
		      "%d, SAFESTART_SEED=%llu: version %d is in the file and %d is live",
		      schedule.edit, schedule.when[0], schedule.when[1], (int)world.layout,
		      schedule.stamps, world.inotify, world.threads, (unsigned long long)seed,
		      wanted, version_that_is_live(ss));
	ck_assert_msg(torn == 0,
		      "half of edit %zu before calls %u and %u went live, SAFESTART_SEED=%llu",
		      schedule.edit, schedule.when[0], schedule.when[1], (unsigned long long)seed);
}

/* Returns how many calls there were. */
static unsigned play(struct safestart *ss)
{
	atomic_store(&attitude.stamps, schedule.stamps);
	world.version += 10;
	world_make(world.version);
	hold_newest(ss);
	begin_edit();
	(void)answer(ss, safestart_request_restart(ss));
	if (!world.threads)
		dispatch_all(ss);
	unsigned calls = finish_edit();
	hold_newest(ss);
	return calls;
}

/* The first step before every call, the second soon after. */
static void play_everywhere(bool inotify)
{
	static const unsigned gaps[] = {0, 1, 3, 8};
	unsigned most = 0;

	for (enum layout layout = PLAIN; layout < LAYOUTS; layout++) {
		struct safestart *ss = open_world(layout, inotify, false);
		for (size_t edit = 0; edit < world_edit_count; edit++) {
			for (unsigned at = 0, calls = 1; at < calls; at++) {
				schedule.edit = edit;
				schedule.when[0] = at;
				schedule.when[1] = at + gaps[(at + edit) % 4];
				schedule.stamps = (int)((at / 4 + edit) % STAMPS_COUNT);
				calls = play(ss);
				most = calls > most ? calls : most;
			}
		}
		close_world(ss);
	}
	ck_assert_uint_gt(most, 10);
}

START_TEST(p15_an_edit_between_any_two_calls_is_noticed)
{
	play_everywhere(true);
}
END_TEST

START_TEST(p2_without_inotify_a_request_sees_an_edit_between_any_two_calls)
{
	play_everywhere(false);
}
END_TEST

static void play_at_random(bool threads, int times)
{
	seed = chance_seed(20170829);
	chance_begin(seed);
	for (int world_kind = 0; world_kind < 2 * LAYOUTS; world_kind++) {
		struct safestart *ss =
			open_world((enum layout)(world_kind / 2), world_kind % 2 == 0, threads);
		for (int i = 0; i < times / (2 * LAYOUTS); i++) {
			unsigned at = below(60);
			schedule = (struct schedule){.edit = below((unsigned)world_edit_count),
						     .when = {at, at + below(12)},
						     .stamps = (int)below(STAMPS_COUNT)};
			(void)play(ss);
		}
		close_world(ss);
	}
}

START_TEST(p2_edits_at_random_instants_with_the_applications_own_loop)
{
	play_at_random(false, repeat(1500));
}
END_TEST

START_TEST(p2_edits_at_random_instants_with_threads)
{
	play_at_random(true, repeat(150));
}
END_TEST

SUITE("file_instants", p15_an_edit_between_any_two_calls_is_noticed,
      p2_without_inotify_a_request_sees_an_edit_between_any_two_calls,
      p2_edits_at_random_instants_with_the_applications_own_loop,
      p2_edits_at_random_instants_with_threads)
