/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A fork exactly at any lock, wake or system call of the library: no child hangs, each gets the
 * right set on its own, gives back only what is its own and ends in time, and the parent notices
 * nothing. */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/acts.h"
#include "support/instants.h"
#include "support/support.h"

/* ---- A schedule: one life, and where it is forked ---- */

static struct {
	bool threads;
	const char *where; /* NULL: nowhere */
	unsigned time;     /* that this place is passed, counted from 1 */
} schedule;

/* The same in every process of a build. */
static unsigned long offset_of(const char *where)
{
	Dl_info info = {0};

	dladdr(where, &info);
	return (unsigned long)(where - (const char *)info.dli_fbase);
}

static const char *schedule_in_words(void)
{
	static char text[128];

	snprintf(text, sizeof(text), "thread=%s, forked at %#lx, time %u; SAFESTART_SEED=%#lx",
		 schedule.threads ? "yes" : "no", offset_of(schedule.where), schedule.time,
		 offset_of(schedule.where));
	return text;
}

/* ---- The application ---- */

static struct safestart *ss;
static _Atomic int hung, retired;
static _Atomic int child_status;
static unsigned child_kind;

static int on_prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind, error = 0;

	(void)user_data;
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind == SAFESTART_REMOVED)
			continue;
		hung++;
		if (safestart_run_set_node_data(run, node, malloc(8)) < 0)
			error = -ENOMEM;
	}
	hung++;
	safestart_run_set_data(run, malloc(8));
	return error;
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	return 0;
}

static void on_retire(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	retired++;
}

/* Versions only grow. */
static _Atomic int written;

static void write_version(int version)
{
	char text[64];

	snprintf(text, sizeof(text), "[{\"targets\":[\"v%d:80\",\"w:1\"]}]", version);
	replace_file(scratch_path("nodes.json"), text);
	written = version;
}

/* -1: something else. */
static int version_that_is_live(void)
{
	int version = -1, end = 0;
	const char *ids = live_ids(ss);

	if (sscanf(ids, "v%d:80 w:1%n", &version, &end) != 1 || ids[end] != '\0')
		return -1;
	return version;
}

static bool has_data(bool wanted)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	const struct safestart_node *node;
	bool right = (safestart_snapshot_data(live) != NULL) == wanted;

	for (size_t i = 0; (node = safestart_snapshot_at(live, i)) != NULL; i++)
		right = right && (safestart_node_data(node) != NULL) == wanted;
	safestart_read_unlock(ss);
	return right;
}

/* Everything that has threads, descriptors, files and locks. */
static void open_all(void)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = on_prepare,
						      .restart = on_restart,
						      .retire = on_retire,
						      .retire_node = on_retire};
	char source[300], keep[300], control[300], lock[300], why[256] = "";

	snprintf(source, sizeof(source), "source=file:%s", scratch_path("nodes.json"));
	snprintf(keep, sizeof(keep), "last_good=%s", scratch_path("kept.json"));
	snprintf(control, sizeof(control), "control=%s", scratch_path("control"));
	snprintf(lock, sizeof(lock), "lock=%s", scratch_path("lock"));
	struct safestart_conf *conf =
		conf_with(schedule.threads ? "thread=yes" : "thread=no", source, keep, control,
			  lock, "debounce=0", "reconcile=0", "max_shrink=100%", NULL);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
}

/* ---- The child ---- */

/* It says what is wrong by a line, too. */
#define EXPECT(condition)                                                         \
	do {                                                                      \
		if (!(condition)) {                                               \
			dprintf(2, "child: line %d: %s\n", __LINE__, #condition); \
			leave_child(1);                                           \
		}                                                                 \
	} while (0)

/* The parent goes on writing, so that a newer one than at the request may be live. [P2] */
static void live_as_child(void)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int version = written;

	uint64_t ticket = safestart_request(ss, SAFESTART_URGENT, NULL);
	EXPECT(safestart_wait(ss, ticket, -1, &outcome) == 0);
	EXPECT(outcome.verdict <= SAFESTART_UNCHANGED);
	EXPECT(version_that_is_live() >= version && has_data(true));
	char *status = safestart_status_json(ss);
	EXPECT(status != NULL);
	safestart_free(status);
}

_Noreturn static void be_the_child(void)
{
	signal(SIGALRM, SIG_DFL); /* check's handler would kill the parent, too */
	alarm(50);                /* it hangs, which the parent sees */
	instants_forget();
	hung = retired = 0;
	if (ss == NULL) /* forked inside open */
		leave_child(0);
	EXPECT(has_data(false) || safestart_generation(ss) == 0);
	if (child_kind % 4 == 1)
		EXPECT(safestart_after_fork(ss) == 0);
	if (child_kind % 4 != 0)
		live_as_child();
	EXPECT(safestart_close(ss) == 0);
	EXPECT(hung == retired);
	leave_child(0);
}

/* ---- The parent ---- */

static void fork_here(void *unused)
{
	int status = -1;

	(void)unused;
	pid_t child = fork();
	if (child == 0)
		be_the_child();
	(void)waitpid(child, &status, 0);
	child_status = status;
}

static void request_and_wait(int version)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	write_version(version);
	int result = safestart_wait(ss, safestart_request_restart(ss), -1, &outcome);
	ck_assert_msg(result == 0 && outcome.verdict <= SAFESTART_UNCHANGED,
		      "%d, verdict %d: %s; %s", result, outcome.verdict, outcome.message,
		      schedule_in_words());
}

static void live(void)
{
	const struct insertion insertion = {.at = schedule.time,
					    .where = schedule.where,
					    .act = fork_here};

	ss = NULL;
	hung = retired = 0;
	child_status = 0;
	child_kind++;
	write_version(1);
	acts_begin(&insertion, schedule.where != NULL);
	instants_take_part(!schedule.threads);
	open_all();
	for (int version = 2; version < 4; version++)
		request_and_wait(version);
	instants_take_part(false);
	(void)acts_end();
	while (acts_in_progress())
		pause_a_moment();
	ck_assert_msg(child_status == 0, "the child ended with %x; %s", (unsigned)child_status,
		      schedule_in_words());
	request_and_wait(4);
	ck_assert_msg(version_that_is_live() == 4 && has_data(true), "%s is live; %s", live_ids(ss),
		      schedule_in_words());
	close_now(ss);
	ck_assert_msg(hung == retired, "%d of %d were retired; %s", retired, hung,
		      schedule_in_words());
}

/* Before a lock is as after the unlock that came before. */
static bool is_before_a_lock(const char *place, const char *const places[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (places[i] == place + 1)
			return true;
	}
	return false;
}

static void fork_at(const char *place, unsigned time)
{
	const char *given = getenv("SAFESTART_SEED");

	schedule.where = place;
	schedule.time = time;
	for (int i = 0; i < (given != NULL ? 20 : 1); i++) {
		if (given == NULL || strtoul(given, NULL, 0) == offset_of(place))
			live();
	}
}

/* At each place: when it is passed first; in a soak later times follow. */
static void fork_everywhere(bool threads)
{
	const char *places[PLACES_MAX];

	acts_watch(schedule_in_words);
	schedule.threads = threads;
	schedule.where = NULL;
	live();
	size_t count = acts_places(places);
	ck_assert(count > 50 && count < PLACES_MAX);
	for (unsigned time = 1; time <= (unsigned)repeat(1); time++) {
		for (size_t i = 0; i < count; i++) {
			if (!is_before_a_lock(places[i], places, count))
				fork_at(places[i], time);
		}
	}
	acts_stop();
}

START_TEST(p17_a_fork_at_any_instant_of_the_librarys_threads)
{
	fork_everywhere(true);
}
END_TEST

START_TEST(p17_a_fork_at_any_instant_of_the_applications_own_loop)
{
	fork_everywhere(false);
}
END_TEST

SUITE("fork_instants", p17_a_fork_at_any_instant_of_the_librarys_threads,
      p17_a_fork_at_any_instant_of_the_applications_own_loop)
