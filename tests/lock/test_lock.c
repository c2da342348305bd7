/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The process lock, used by real processes: killed, forking, of two users, on unusable files and
 * disks. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock/lock_world.h"

/* ---- One at a time ---- */

static void run_often(struct guest *guest)
{
	for (int i = 0; i < repeat(10); i++) {
		if (guest_asks(guest).verdict != SAFESTART_APPLIED)
			guest->failed = true;
	}
}

START_TEST(p1_runs_of_several_processes_and_handles_never_overlap)
{
	pid_t others[4];

	for (size_t i = 0; i < 4; i++)
		others[i] = process(run_often, i % 2 == 0 ? "thread=yes" : "thread=no", NULL);
	struct guest *one = guest_here("thread=yes"), *two = guest_here("thread=yes");
	for (int i = 0; i < repeat(10); i++) {
		uint64_t first = safestart_request_restart(one->ss),
			 second = safestart_request_restart(two->ss);
		ck_assert_int_eq(answer(one->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
	}
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(ends(others[i]), 0);
	ck_assert(!one->overlapped && !two->overlapped);
	guest_leaves(one);
	guest_leaves(two);
	ck_assert(file_says(world_path("lock"), "free; was held by "));
}
END_TEST

/* ---- Killed processes ---- */

static void hang(struct guest *guest)
{
	atomic_store(&guest->hold, true);
	guest_asks(guest);
}

/* A process whose `restart` does not return. */
static pid_t holder(const char *more)
{
	pid_t pid = process(hang, "name=holder", more);

	EVENTUALLY(is_inside());
	return pid;
}

START_TEST(p18_a_killed_holder_frees_the_lock_at_once)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	char named[64];

	for (int i = 0; i < repeat(3); i++) {
		pid_t other = holder(NULL);
		struct guest *guest = guest_here("name=waiting");
		uint64_t ticket = safestart_request_restart(guest->ss);
		snprintf(named, sizeof(named), "held by holder (pid %d)", (int)other);
		EVENTUALLY(safestart_wait(guest->ss, ticket, 0, &outcome) == -ETIMEDOUT &&
			   strstr(outcome.message, named) != NULL);
		ck_assert_msg(strstr(outcome.message, "waiting for the lock") != NULL, "%s",
			      outcome.message);
		ck_assert_int_eq(atomic_load(&guest->restarts), 0);
		kill(other, SIGKILL);
		ends(other);
		ck_assert_int_eq(answer(guest->ss, ticket).verdict, SAFESTART_APPLIED);
		guest_leaves(guest);
	}
}
END_TEST

/* Its callback leaves children behind that live on: forked, and forked and executed. */
static void hang_with_children(struct guest *guest)
{
	guest->breeds = true;
	hang(guest);
}

START_TEST(p18_children_forked_or_executed_do_not_hold_it)
{
	pid_t other = process(hang_with_children, "name=parent", NULL);
	int children[2];

	EVENTUALLY(is_inside());
	struct guest *guest = guest_here("name=next");
	uint64_t ticket = safestart_request_restart(guest->ss);
	FILE *list = fopen(world_path("children"), "re");
	ck_assert_int_eq(fscanf(list, "%d %d", &children[0], &children[1]), 2);
	fclose(list);
	kill(other, SIGKILL);
	ends(other);
	ck_assert_int_eq(answer(guest->ss, ticket).verdict, SAFESTART_APPLIED);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(kill(children[i], 0), 0); /* they were there all the time */
		kill(children[i], SIGKILL);
	}
	guest_leaves(guest);
}
END_TEST

START_TEST(p1_a_callback_past_its_deadline_still_holds_it)
{
	struct guest *late = guest_here("run_timeout=100ms retry_min=0"),
		     *next = guest_here("lock_timeout=30s");

	atomic_store(&late->hold, true);
	do { /* on a slow machine it may be over before it has come that far */
		ck_assert_int_eq(answer(late->ss, safestart_request_restart(late->ss)).verdict,
				 SAFESTART_TIMED_OUT);
	} while (!is_inside());
	uint64_t ticket = safestart_request_restart(next->ss);
	EVENTUALLY(status_says(next->ss, "\"state\":\"waiting\""));
	ck_assert_int_eq(safestart_wait(next->ss, ticket, 20, NULL), -ETIMEDOUT);
	ck_assert(!next->overlapped && atomic_load(&next->restarts) == 0);
	atomic_store(&late->hold, false);
	ck_assert_int_eq(answer(next->ss, ticket).verdict, SAFESTART_APPLIED);
	ck_assert(!next->overlapped);
	guest_leaves(late);
	guest_leaves(next);
}
END_TEST

START_TEST(p1_a_run_that_is_to_be_finished_later_holds_it_until_then)
{
	struct guest *later = guest_here("run_timeout=100ms retry_min=0"),
		     *next = guest_here("lock_timeout=30s");

	later->later = true;
	do {
		ck_assert_int_eq(answer(later->ss, safestart_request_restart(later->ss)).verdict,
				 SAFESTART_TIMED_OUT);
	} while (atomic_load(&later->run) == NULL);
	uint64_t ticket = safestart_request_restart(next->ss);
	EVENTUALLY(status_says(next->ss, "\"state\":\"waiting\""));
	ck_assert_int_eq(safestart_wait(next->ss, ticket, 20, NULL), -ETIMEDOUT);
	ck_assert_int_eq(safestart_run_finish(later->run, 0), -ESTALE);
	ck_assert_int_eq(answer(next->ss, ticket).verdict, SAFESTART_APPLIED);
	guest_leaves(later);
	guest_leaves(next);
}
END_TEST

/* What it holds is the file that it has open, and another run of its own needs no other. */
START_TEST(p1_a_handle_whose_run_is_not_over_keeps_its_lock_though_the_file_is_gone)
{
	struct guest *late = guest_here("run_timeout=100ms retry_min=0 name=late");

	atomic_store(&late->hold, true);
	do {
		ck_assert_int_eq(answer(late->ss, safestart_request_restart(late->ss)).verdict,
				 SAFESTART_TIMED_OUT);
	} while (!is_inside());
	ck_assert_int_eq(unlink(world_path("lock")), 0);
	ck_assert_int_eq(answer(late->ss, safestart_request_restart(late->ss)).verdict,
			 SAFESTART_TIMED_OUT);
	ck_assert(!status_says(late->ss, "\"state\":\"waiting\""));
	atomic_store(&late->hold, false);
	EVENTUALLY(!is_inside());
	EVENTUALLY(answer(late->ss, safestart_request_restart(late->ss)).verdict ==
		   SAFESTART_APPLIED);
	ck_assert(!late->overlapped);
	guest_leaves(late);
	ck_assert(file_says(world_path("lock"), "free; was held by late (pid "));
}
END_TEST

#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN) /* their allocators are not fork-safe */
static struct guest *inherited;

static void goes_on(void)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	app_after_fork(&inherited->app);
	guest_after_fork();
	atomic_store(&inherited->hold, false);
	if (safestart_after_fork(inherited->ss) < 0 ||
	    safestart_wait(inherited->ss, safestart_request_restart(inherited->ss), -1, &outcome) <
		    0)
		leave_child(2);
	leave_child(outcome.verdict != SAFESTART_APPLIED  ? 3
		    : atomic_load(&inherited->overlapped) ? 4
							  : 0);
}

START_TEST(p17_a_forked_child_takes_its_turn_like_any_other)
{
	for (int i = 0; i < repeat(5); i++) {
		inherited = guest_here("lock_timeout=30s");
		atomic_store(&inherited->hold, true);
		uint64_t ticket = safestart_request_restart(inherited->ss);
		EVENTUALLY(is_inside());
		pid_t child = fork();
		if (child == 0)
			goes_on();
		ck_assert_int_eq(safestart_wait(inherited->ss, ticket, 20, NULL), -ETIMEDOUT);
		ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0); /* it waits */
		atomic_store(&inherited->hold, false);
		ck_assert_int_eq(answer(inherited->ss, ticket).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(ends(child), 0);
		guest_leaves(inherited);
	}
}
END_TEST
#endif

/* A child of the holder that no fork handler has seen, and so could close nothing: it ends at the
 * end of input. */
static int ends_with_input[2];

static void die_and_leave_a_child(struct guest *guest)
{
	char byte;

	guest->hold = true;
	safestart_request_restart(guest->ss);
	EVENTUALLY(is_inside());
	if (_Fork() == 0) {
		close(ends_with_input[1]);
		_exit((int)read(ends_with_input[0], &byte, 1));
	}
	raise(SIGKILL);
}

START_TEST(p18_a_lock_that_outlives_its_holder_is_told_and_ends_with_the_child)
{
	char named[64];

	ck_assert_int_eq(pipe(ends_with_input), 0);
	pid_t other = process(die_and_leave_a_child, "name=holder", NULL);
	ck_assert_int_eq(ends(other), -SIGKILL);
	struct guest *guest = guest_here("lock_timeout=10ms");
	snprintf(named, sizeof(named), "held by holder (pid %d, not running here) for ",
		 (int)other);
	struct safestart_outcome outcome = guest_asks(guest);
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_msg(strstr(outcome.message, named) != NULL, "%s", outcome.message);
	close(ends_with_input[0]), close(ends_with_input[1]);
	EVENTUALLY(atomic_load(&guest->restarts) == 1);
	guest_leaves(guest);
}
END_TEST

/* ---- Waiting ---- */

START_TEST(p6_a_run_that_waits_too_long_names_the_holder_and_is_retried)
{
	pid_t other = holder(NULL);
	struct guest *guest = guest_here("lock_timeout=200ms");
	char named[64];

	snprintf(named, sizeof(named), "held by holder (pid %d) for ", (int)other);
	struct safestart_outcome outcome = answer(guest->ss, safestart_request_restart(guest->ss));
	ck_assert_int_eq(outcome.verdict, SAFESTART_TIMED_OUT);
	ck_assert_int_eq(outcome.error, -EBUSY);
	ck_assert_msg(strstr(outcome.message, named) != NULL &&
			      strstr(outcome.message, "lock_timeout (200 ms)") != NULL &&
			      strstr(outcome.message, "retrying in") != NULL,
		      "%s", outcome.message);
	EVENTUALLY(app_logged(&guest->app, "has been waiting for the lock"));
	kill(other, SIGKILL);
	ends(other);
	EVENTUALLY(atomic_load(&guest->restarts) == 1); /* without a further request */
	guest_leaves(guest);
}
END_TEST

START_TEST(p4_the_deadline_of_a_run_begins_when_it_has_the_lock)
{
	pid_t other = holder(NULL);
	struct guest *guest = guest_here("run_timeout=2s");
	int64_t start = now_ms();
	uint64_t ticket = safestart_request_restart(guest->ss);

	EVENTUALLY(now_ms() > start + 2500);
	kill(other, SIGKILL);
	ends(other);
	ck_assert_int_eq(answer(guest->ss, ticket).verdict, SAFESTART_APPLIED);
	guest_leaves(guest);
}
END_TEST

START_TEST(p3_requests_made_while_waiting_are_one_run)
{
	pid_t other = holder(NULL);
	struct guest *guest = guest_here("lock_timeout=30s");
	uint64_t ticket = safestart_request_restart(guest->ss);

	EVENTUALLY(status_says(guest->ss, "\"state\":\"waiting\""));
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(safestart_request_restart(guest->ss), ticket);
	kill(other, SIGKILL);
	ends(other);
	struct safestart_outcome outcome = answer(guest->ss, ticket);
	ck_assert_uint_eq(outcome.requests, 101);
	ck_assert_int_eq(atomic_load(&guest->restarts), 1);
	guest_leaves(guest);
}
END_TEST

START_TEST(p6_shutdown_answers_a_process_that_waits_for_the_lock)
{
	pid_t other = holder(NULL);
	struct guest *guest = guest_here("lock_timeout=30s");
	uint64_t ticket = safestart_request_restart(guest->ss);

	EVENTUALLY(status_says(guest->ss, "\"state\":\"waiting\""));
	safestart_shutdown(guest->ss);
	ck_assert_int_eq(answer(guest->ss, ticket).verdict, SAFESTART_CANCELLED);
	guest_leaves(guest);
	kill(other, SIGKILL);
	ends(other);
}
END_TEST

START_TEST(waiting_is_in_plain_view)
{
	pid_t other = holder(NULL);
	struct guest *guest = guest_here("name=shown");
	char said[256];

	snprintf(said, sizeof(said),
		 "\"lock\":{\"path\":\"%s\",\"state\":\"free\",\"since_seconds\":0.0,\"holder\":"
		 "\"\"}",
		 world_path("lock"));
	ck_assert(status_says(guest->ss, said));
	uint64_t ticket = safestart_request_restart(guest->ss);
	snprintf(said, sizeof(said), "\"holder\":\"holder (pid %d)\"", (int)other);
	EVENTUALLY(status_says(guest->ss, said));
	ck_assert(status_says(guest->ss,
			      "\"summary\":\"a run has been waiting for the process lock "));
	EVENTUALLY(metrics_say(guest->ss, "safestart_lock_waiting_seconds{name=\"shown\"} ") &&
		   !metrics_say(guest->ss, "safestart_lock_waiting_seconds{name=\"shown\"} 0.000"));
	atomic_store(&guest->hold, true);
	kill(other, SIGKILL);
	ends(other);
	snprintf(said, sizeof(said), "\"holder\":\"shown (pid %d)\"", (int)getpid());
	EVENTUALLY(status_says(guest->ss, said) && status_says(guest->ss, "\"state\":\"held\""));
	atomic_store(&guest->hold, false);
	answer(guest->ss, ticket);
	EVENTUALLY(status_says(guest->ss, "\"state\":\"free\""));
	ck_assert(metrics_say(guest->ss, "safestart_lock_waiting_seconds{name=\"shown\"} 0.000"));
	guest_leaves(guest);
}
END_TEST

/* ---- Files that are no good ---- */

static void make_garbage(const char *path)
{
	write_file(path, "[{\"targets\": []}]\n");
}
static void make_newer(const char *path)
{
	write_file(path, "safestart lock 2\nwhat does it mean?\n");
}
static void make_directory(const char *path)
{
	ck_assert_int_eq(mkdir(path, 0755), 0);
}
static void make_fifo(const char *path)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void make_link(const char *path)
{
	write_file(world_path("precious"), "");
	ck_assert_int_eq(symlink(world_path("precious"), path), 0);
}

static void make_second_name(const char *path)
{
	write_file(world_path("precious"), "");
	ck_assert_int_eq(link(world_path("precious"), path), 0);
}

static void make_other_owner(const char *path)
{
	write_file(path, "");
	ck_assert_int_eq(chown(path, 65534, 65534), 0);
}

START_TEST(p9_a_file_that_is_no_lock_is_left_alone_and_said_what_it_is)
{
	static const struct {
		void (*make)(const char *path);
		const char *words;
		int error;
	} rows[] = {
		{make_garbage, "not a lock of libsafestart", -EINVAL},
		{make_newer, "another version", -EINVAL},
		{make_directory, "is a directory", -EISDIR},
		{make_fifo, "not a regular file", -EINVAL},
		{make_link, "symbolic link", -ELOOP},
		{make_second_name, "2 hard links", -EPERM},
		{make_other_owner, "belongs to user 65534", -EPERM},
	};
	struct stat before, after;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (rows[i].make == make_other_owner && geteuid() != 0)
			continue;
		unlink(world_path("precious"));
		rows[i].make(world_path("lock"));
		ck_assert_int_eq(lstat(world_path("lock"), &before), 0);
		struct guest *guest = guest_here("retry_max=100ms");
		struct safestart_outcome outcome =
			answer(guest->ss, safestart_request_restart(guest->ss));
		ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
		ck_assert_msg(outcome.error == rows[i].error &&
				      strstr(outcome.message, rows[i].words) != NULL,
			      "row %zu: %d %s", i, outcome.error, outcome.message);
		/* Logged before the first request. */
		EVENTUALLY(app_logged(&guest->app, "every run fails until this is mended"));
		ck_assert_int_eq(lstat(world_path("lock"), &after), 0);
		ck_assert(before.st_ino == after.st_ino && before.st_size == after.st_size &&
			  before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
		ck_assert(rows[i].make != make_garbage || file_says(world_path("lock"), "targets"));
		ck_assert_int_eq(remove(world_path("lock")), 0);
		EVENTUALLY(atomic_load(&guest->restarts) == 1); /* by itself */
		guest_leaves(guest);
		ck_assert_int_eq(remove(world_path("lock")), 0);
	}
}
END_TEST

START_TEST(p15_a_truncated_lock_is_mended_and_reported)
{
	static const char *const left[] = {"s", "saf", "safestart lock ", "safestart lock 1"};

	for (size_t i = 0; i < sizeof(left) / sizeof(*left); i++) {
		write_file(world_path("lock"), left[i]);
		struct guest *guest = guest_here("name=next");
		ck_assert_int_eq(answer(guest->ss, safestart_request_restart(guest->ss)).verdict,
				 SAFESTART_APPLIED);
		EVENTUALLY(app_logged(&guest->app, "the lock file was truncated; mended"));
		guest_leaves(guest);
		ck_assert(file_says(world_path("lock"), "free; was held by next (pid "));
	}
}
END_TEST

START_TEST(p9_a_lock_in_a_missing_directory_is_waited_for)
{
	char path[300], more[320];

	snprintf(path, sizeof(path), "%s/not/yet", scratch());
	snprintf(more, sizeof(more), "lock=%s", path);
	struct guest *guest = guest_here(more);
	struct safestart_outcome outcome = answer(guest->ss, safestart_request_restart(guest->ss));
	ck_assert_int_eq(outcome.error, -ENOENT);
	ck_assert_msg(strstr(outcome.message, "create it") != NULL, "%s", outcome.message);
	ck_assert_int_eq(mkdir(scratch_path("not"), 0755), 0);
	EVENTUALLY(atomic_load(&guest->restarts) == 1);
	guest_leaves(guest);
}
END_TEST

START_TEST(p18_what_a_dead_process_may_have_left_is_taken)
{
	static const char *const left[] =
		{"", "safestart lock 1\n", "safestart lock 1\nheld by somebody",
		 "safestart lock 1\nheld by x since since 1.1.1 s since 99999999999999999999 s\n"};
	char nothing[700] = "";

	for (size_t i = 0; i <= sizeof(left) / sizeof(*left); i++) {
		int fd = open(world_path("lock"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		const char *bytes = i < sizeof(left) / sizeof(*left) ? left[i] : nothing;
		size_t size = bytes == nothing ? sizeof(nothing) : strlen(bytes);
		ck_assert(write(fd, bytes, size) == (ssize_t)size);
		close(fd);
		struct guest *guest = guest_here("name=next");
		ck_assert_int_eq(answer(guest->ss, safestart_request_restart(guest->ss)).verdict,
				 SAFESTART_APPLIED);
		guest_leaves(guest);
		ck_assert(file_says(world_path("lock"), "free; was held by next (pid "));
	}
}
END_TEST

START_TEST(p1_a_lock_file_that_is_removed_or_replaced_is_created_again)
{
	struct guest *one = guest_here("name=one"), *two = guest_here("name=two");

	for (int i = 0; i < 6; i++) {
		if (i % 2 == 0)
			unlink(world_path("lock"));
		else
			replace_file(world_path("lock"), "");
		uint64_t first = safestart_request_restart(one->ss),
			 second = safestart_request_restart(two->ss);
		ck_assert_int_eq(answer(one->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
		ck_assert(!one->overlapped && !two->overlapped);
		ck_assert(file_says(world_path("lock"), "safestart lock 1\n"));
	}
	guest_leaves(one);
	guest_leaves(two);
}
END_TEST

/* ---- Users and disks ---- */

static void as_nobody(struct guest *guest)
{
	struct safestart_outcome outcome = guest_asks(guest);

	guest->failed = outcome.verdict != SAFESTART_FAILED || outcome.error != -EACCES ||
			strstr(outcome.message, "allow this user to write") == NULL;
}

START_TEST(p9_another_users_lock_is_refused_and_roots_can_be_shared)
{
	if (geteuid() != 0) {
		printf("skipped: needs root to be somebody else\n");
		return;
	}
	ck_assert_int_eq(chmod(scratch(), 01777), 0);
	ck_assert_int_eq(ends(process(run_often, "name=root", NULL)), 0);
	ck_assert_int_eq(ends(process_of(65534, as_nobody, "name=nobody", NULL)), 0);
	ck_assert_int_eq(chmod(world_path("lock"), 0666), 0);
	ck_assert_int_eq(ends(process_of(65534, run_often, "name=nobody", NULL)), 0);
	pid_t other = process_of(65534, run_often, "name=nobody", NULL);
	struct guest *guest = guest_here("name=root");
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(answer(guest->ss, safestart_request_restart(guest->ss)).verdict,
				 SAFESTART_APPLIED);
	ck_assert_int_eq(ends(other), 0);
	ck_assert(!guest->overlapped);
	guest_leaves(guest);
}
END_TEST

START_TEST(p18_a_full_disk_does_not_keep_it_from_working)
{
	char more[300];

	if (!mount_small_disk()) {
		printf("skipped: no mount to be had (%s)\n", strerror(errno));
		return;
	}
	fill_disk();
	snprintf(more, sizeof(more), "lock=%s/lock", small_disk());
	struct guest *one = guest_here(more), *two = guest_here(more);
	for (int i = 0; i < 5; i++) {
		uint64_t first = safestart_request_restart(one->ss),
			 second = safestart_request_restart(two->ss);
		ck_assert_int_eq(answer(one->ss, first).verdict, SAFESTART_APPLIED);
		ck_assert_int_eq(answer(two->ss, second).verdict, SAFESTART_APPLIED);
	}
	ck_assert(!one->overlapped && !two->overlapped);
	atomic_store(&one->hold, true);
	uint64_t first = safestart_request_restart(one->ss);
	EVENTUALLY(is_inside());
	uint64_t second = safestart_request_restart(two->ss);
	EVENTUALLY(status_says(two->ss, "an unknown process"));
	atomic_store(&one->hold, false);
	answer(one->ss, first);
	answer(two->ss, second);
	guest_leaves(one);
	guest_leaves(two);
	unmount_small_disk();
}
END_TEST

START_TEST(p1_a_lock_whose_disk_is_unmounted_is_the_file_that_the_path_names_then)
{
	char path[300], more[320];

	if (!mount_small_disk()) {
		printf("skipped: no mount to be had (%s)\n", strerror(errno));
		return;
	}
	snprintf(path, sizeof(path), "%s/lock", small_disk());
	snprintf(more, sizeof(more), "name=moved lock=%s", path);
	struct guest *guest = guest_here(more);
	ck_assert_int_eq(answer(guest->ss, safestart_request_restart(guest->ss)).verdict,
			 SAFESTART_APPLIED);
	unmount_small_disk();
	write_file(path, ""); /* on the disk below */
	ck_assert_int_eq(answer(guest->ss, safestart_request_restart(guest->ss)).verdict,
			 SAFESTART_APPLIED);
	guest_leaves(guest);
	ck_assert(file_says(path, "free; was held by moved (pid "));
}
END_TEST

START_TEST(p15_a_disk_that_is_read_only_is_said_and_healed)
{
	char more[300];

	if (!mount_small_disk()) {
		printf("skipped: no mount to be had (%s)\n", strerror(errno));
		return;
	}
	ck_assert_int_eq(mount(NULL, small_disk(), NULL, MS_REMOUNT | MS_RDONLY, "size=32k"), 0);
	snprintf(more, sizeof(more), "lock=%s/lock", small_disk());
	struct guest *guest = guest_here(more);
	struct safestart_outcome outcome = answer(guest->ss, safestart_request_restart(guest->ss));
	ck_assert_msg(outcome.error == -EROFS && strstr(outcome.message, "read-only") != NULL, "%s",
		      outcome.message);
	ck_assert_int_eq(mount(NULL, small_disk(), NULL, MS_REMOUNT, "size=32k"), 0);
	EVENTUALLY(atomic_load(&guest->restarts) == 1);
	guest_leaves(guest);
	unmount_small_disk();
}
END_TEST

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
#define FORKING
#else
#define FORKING p17_a_forked_child_takes_its_turn_like_any_other,
#endif

SUITE("lock", FORKING p1_runs_of_several_processes_and_handles_never_overlap,
      p18_a_killed_holder_frees_the_lock_at_once, p18_children_forked_or_executed_do_not_hold_it,
      p1_a_callback_past_its_deadline_still_holds_it,
      p1_a_run_that_is_to_be_finished_later_holds_it_until_then,
      p18_a_lock_that_outlives_its_holder_is_told_and_ends_with_the_child,
      p6_a_run_that_waits_too_long_names_the_holder_and_is_retried,
      p4_the_deadline_of_a_run_begins_when_it_has_the_lock,
      p3_requests_made_while_waiting_are_one_run,
      p6_shutdown_answers_a_process_that_waits_for_the_lock, waiting_is_in_plain_view,
      p9_a_file_that_is_no_lock_is_left_alone_and_said_what_it_is,
      p15_a_truncated_lock_is_mended_and_reported, p9_a_lock_in_a_missing_directory_is_waited_for,
      p18_what_a_dead_process_may_have_left_is_taken,
      p1_a_lock_file_that_is_removed_or_replaced_is_created_again,
      p9_another_users_lock_is_refused_and_roots_can_be_shared,
      p18_a_full_disk_does_not_keep_it_from_working,
      p1_a_handle_whose_run_is_not_over_keeps_its_lock_though_the_file_is_gone,
      p1_a_lock_whose_disk_is_unmounted_is_the_file_that_the_path_names_then,
      p15_a_disk_that_is_read_only_is_said_and_healed)
