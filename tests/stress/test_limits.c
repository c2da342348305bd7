/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small real limits, set for the process of one test: the live set keeps serving, there is a
 * message, and as soon as there are resources again everything else follows by itself. A limit
 * that cannot be set here is skipped, with a message. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"
#define AB "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]"
#define ABC "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "," NODE("c", "10.0.0.3:1") "]"

static struct app app;
static char nodes[256], kept[256];

static void skip(const char *words, int error)
{
	fprintf(stderr, "SKIPPED, and so not tested here: %s: %s\n", words, strerror(error));
}

/* The soft limit, so that it can be lifted again. Returns what it was. */
static rlim_t limit(__rlimit_resource_t what, rlim_t most)
{
	struct rlimit limits;

	ck_assert_int_eq(getrlimit(what, &limits), 0);
	rlim_t before = limits.rlim_cur;
	limits.rlim_cur = most < limits.rlim_max ? most : limits.rlim_max;
	ck_assert_int_eq(setrlimit(what, &limits), 0);
	return before;
}

static struct safestart *start(const char *thread, bool from_file, const char *reconcile)
{
	char source[300], last_good[300];

	snprintf(nodes, sizeof(nodes), "%s/nodes.json", scratch());
	if (kept[0] == '\0')
		snprintf(kept, sizeof(kept), "%s/kept.json", scratch());
	snprintf(source, sizeof(source), "source=%s%s", from_file ? "file:" : "push",
		 from_file ? nodes : "");
	snprintf(last_good, sizeof(last_good), "last_good=%s", kept);
	app_init(&app);
	return open_with(&app, thread, source, last_good, reconcile, "debounce=1ms",
			 "retry_min=1ms", "retry_max=20ms", NULL);
}

/* Is the worker idle? */
static bool is_idle(struct safestart *ss)
{
	char *status = safestart_status_json(ss);
	bool idle = status != NULL && strstr(status, "\"callback\":null") != NULL;

	safestart_free(status);
	return idle;
}

static bool are_live(struct safestart *ss, const char *ids)
{
	return strcmp(live_ids(ss), ids) == 0;
}

/* ---- Descriptors ---- */

START_TEST(p9_open_without_descriptors_fails_in_words)
{
	struct safestart *ss = NULL;
	char why[256];
	int error = -1, tries = 0, next = dup(0);

	close(next);
	rlim_t before = limit(RLIMIT_NOFILE, (rlim_t)next);
	for (; error < 0; tries++) {
		error = safestart_open(&ss, NULL, why, sizeof(why));
		if (error == 0)
			break;
		ck_assert_int_eq(error, -EMFILE);
		ck_assert_msg(strstr(why, "descriptors") != NULL &&
				      strstr(why, safestart_strerror(-EMFILE)) != NULL,
			      "%s", why);
		ck_assert_ptr_null(ss);
		int free_again[8], count = 0;
		while (count < 8 && (free_again[count] = dup(0)) >= 0)
			count++;
		ck_assert_int_eq(count, tries); /* all of them are given back */
		while (count > 0)
			close(free_again[--count]);
		limit(RLIMIT_NOFILE, (rlim_t)(next + tries + 1));
	}
	ck_assert_int_eq(tries, 3); /* epoll, eventfd, timerfd */
	close_now(ss);
	limit(RLIMIT_NOFILE, before);
}
END_TEST

START_TEST(p9_descriptors_used_up_while_running_and_freed_again)
{
	char next[300];
	int taken[64], count = 0;
	struct safestart_outcome outcome;

	snprintf(nodes, sizeof(nodes), "%s/nodes.json", scratch());
	snprintf(next, sizeof(next), "%s.next", nodes);
	write_file(nodes, AB);
	write_file(next, ABC);
	struct safestart *ss = start("thread=yes", true, "reconcile=0");
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	EVENTUALLY(file_says(kept, "10.0.0.2") && is_idle(ss));
	int first = dup(0);
	close(first);
	rlim_t before = limit(RLIMIT_NOFILE, (rlim_t)first + 32);
	while (count < 64 && (taken[count] = dup(0)) >= 0)
		count++;
	ck_assert_int_eq(errno, EMFILE);
	ck_assert_int_eq(rename(next, nodes), 0);
	for (int i = 0; i < 3; i++) {
		outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
		ck_assert_int_eq(outcome.error, -EMFILE);
		ck_assert_msg(strstr(outcome.message, nodes) != NULL &&
				      strstr(outcome.message, safestart_strerror(EMFILE)) != NULL &&
				      strstr(outcome.message, "retrying in") != NULL,
			      "%s", outcome.message);
		ck_assert_uint_eq(safestart_generation(ss), 1);
		ck_assert(are_live(ss, "a b"));
		char *status = safestart_status_json(ss);
		ck_assert_ptr_nonnull(status);
		safestart_free(status);
	}
	while (count > 0)
		close(taken[--count]);
	EVENTUALLY(are_live(ss, "a b c")); /* without a request */
	EVENTUALLY(file_says(kept, "10.0.0.3"));
	limit(RLIMIT_NOFILE, before);
	close_now(ss);
}
END_TEST

/* ---- Threads ---- */

START_TEST(p9_threads_used_up_and_freed_again)
{
#ifdef UNDER_TSAN
	skip("threads used up: the thread sanitizer needs one", ENOTSUP);
#else
	struct safestart *ss = NULL;
	char why[256];

	(void)scratch();
	ck_assert_int_eq(chmod(scratch(), 0777), 0);
	/* Root is not limited. */
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(54321, 54321, 54321) < 0 ||
			       setresuid(54321, 54321, 54321) < 0)) {
		skip("threads used up: another user can't be had", errno);
		return;
	}
	prctl(PR_SET_DUMPABLE, 1); /* the leak sanitizer inspects this process at the end */
	rlim_t before = limit(RLIMIT_NPROC, 1);
	int error = safestart_open(&ss, NULL, why, sizeof(why));
	if (error == 0) {
		limit(RLIMIT_NPROC, before);
		close_now(ss);
		skip("threads used up: the limit is not kept for this user", EPERM);
		return;
	}
	ck_assert_int_eq(error, -EAGAIN);
	ck_assert_msg(strstr(why, "thread") != NULL &&
			      strstr(why, safestart_strerror(EAGAIN)) != NULL,
		      "%s", why);
	limit(RLIMIT_NPROC, before);
	app_init(&app);
	/* No last_good: there is nothing to load yet. */
	ss = open_with(&app, "debounce=1ms", "retry_min=1ms", "retry_max=20ms", NULL);
	limit(RLIMIT_NPROC, 1); /* its loop runs; its worker cannot */
	uint64_t ticket;
	ck_assert_int_eq(safestart_nodes_replace(ss, AB, &ticket, NULL, 0), 0);
	struct safestart_outcome outcome = answer(ss, ticket);
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
	ck_assert_int_eq(outcome.error, -EAGAIN);
	ck_assert_msg(strstr(outcome.message, "cannot start a thread") != NULL &&
			      strstr(outcome.message, "retrying in") != NULL,
		      "%s", outcome.message);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	limit(RLIMIT_NPROC, before);
	EVENTUALLY(are_live(ss, "a b"));
	ck_assert_int_eq(push_and_wait(ss, ABC).verdict, SAFESTART_APPLIED);
	close_now(ss);
#endif
}
END_TEST

START_TEST(p6_close_without_threads_ends)
{
#ifdef UNDER_TSAN
	skip("threads used up: the thread sanitizer needs one", ENOTSUP);
#else
	(void)scratch();
	ck_assert_int_eq(chmod(scratch(), 0777), 0);
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(54321, 54321, 54321) < 0 ||
			       setresuid(54321, 54321, 54321) < 0)) {
		skip("threads used up: another user can't be had", errno);
		return;
	}
	prctl(PR_SET_DUMPABLE, 1);
	app_init(&app);
	struct safestart *ss = open_with(&app, NULL); /* its loop runs */
	rlim_t before = limit(RLIMIT_NPROC, 1);
	/* It retires what was live, the empty set: on the thread that there is. */
	int result = safestart_close(ss);
	limit(RLIMIT_NPROC, before);
	ck_assert_int_eq(result, 0);
#endif
}
END_TEST

/* ---- Memory ---- */

#if !defined(UNDER_ASAN) && !defined(UNDER_TSAN)
static rlim_t address_space(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}
#endif

START_TEST(p9_a_set_that_grows_beyond_the_memory_is_not_applied_and_what_is_live_serves_on)
{
#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
	skip("memory used up: the sanitizers reserve all of it", ENOTSUP);
#else
	struct safestart_outcome outcome = {.verdict = SAFESTART_APPLIED};
	char why[256];
	int error = 0, live = 2;

	struct safestart *ss = start("thread=yes", false, "reconcile=0");
	(void)push_and_wait(ss, AB);
	EVENTUALLY(file_says(kept, "10.0.0.2"));
	rlim_t room = address_space() + (24 << 20);
	for (int count = 1000; error == 0 && outcome.verdict == SAFESTART_APPLIED; count *= 2) {
		ck_assert_int_lt(count, 1 << 17);
		uint64_t ticket;
		char *document = document_of(count);
		rlim_t before = limit(RLIMIT_AS, room);
		error = safestart_nodes_replace(ss, document, &ticket, why, sizeof(why));
		if (error == 0) {
			outcome = answer(ss, ticket);
			live = outcome.verdict == SAFESTART_APPLIED ? count : live;
		}
		const struct safestart_snapshot *now = safestart_read_lock(ss);
		size_t serving = safestart_snapshot_size(now);
		safestart_read_unlock(ss);
		ck_assert_uint_eq(serving, (size_t)live);
		limit(RLIMIT_AS, before);
		free(document);
	}
	ck_assert_msg(error == -ENOMEM || outcome.error == -ENOMEM, "%d %s %s", error, why,
		      outcome.message);
	ck_assert_ptr_nonnull(strstr(error < 0 ? why : outcome.message, "memory"));
	ck_assert_int_ge(live, 1000);
	/* Fewer nodes again is a shrink, so it is forced. */
	ck_assert_int_eq(safestart_nodes_replace(ss, ABC, NULL, why, sizeof(why)), 0);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).error, 0);
	EVENTUALLY(are_live(ss, "a b c"));
	close_now(ss);
#endif
}
END_TEST

/* ---- Size of files, and room on the disk ---- */

static _Atomic int sizes_exceeded;

static void on_size_exceeded(int number)
{
	(void)number;
	sizes_exceeded++;
}

static void turn(struct safestart *ss, bool driven)
{
	if (driven)
		ck_assert_int_eq(safestart_dispatch(ss, 1), 0);
}

static void exceed_the_size(bool driven)
{
	const struct sigaction action = {.sa_handler = on_size_exceeded};
	struct sigaction before_action, now_action;

	/* An application with a signal handler would be interrupted, one without would be
	 * killed. */
	ck_assert_int_eq(sigaction(SIGXFSZ, &action, &before_action), 0);
	struct safestart *ss = start(driven ? "thread=no" : "thread=yes", false, "reconcile=0");
	(void)push_and_wait(ss, AB);
	EVENTUALLY((turn(ss, driven), file_says(kept, "10.0.0.2")));
	char *large = document_of(5000);
	/* The check library has a file of its own, a small one. */
	rlim_t before = limit(RLIMIT_FSIZE, 128 << 10);
	ck_assert_int_eq(push_and_wait(ss, large).verdict, SAFESTART_APPLIED);
	EVENTUALLY((turn(ss, driven), app_logged(&app, "is not up to date")));
	ck_assert_msg(app_logged(&app, safestart_strerror(EFBIG)), "%s", app.log);
	ck_assert_uint_eq(safestart_generation(ss), 2);
	ck_assert(file_says(kept, "10.0.0.2") && !file_says(kept, "n1"));
	limit(RLIMIT_FSIZE, before);
	EVENTUALLY((turn(ss, driven), file_says(kept, "n1")));
	free(large);
	ck_assert_int_eq(sizes_exceeded, 0);
	ck_assert_int_eq(sigaction(SIGXFSZ, &before_action, &now_action), 0);
	ck_assert(now_action.sa_handler == on_size_exceeded);
	close_now(ss);
}

START_TEST(p16_a_limit_of_file_sizes_does_not_raise_a_signal)
{
	exceed_the_size(false);
}
END_TEST

START_TEST(p16_a_limit_of_file_sizes_does_not_raise_a_signal_in_the_applications_own_loop)
{
	exceed_the_size(true);
}
END_TEST

START_TEST(p9_a_full_disk_keeps_the_old_last_good_and_gets_the_new_one_when_there_is_room)
{
	char place[200], filler[256];
	struct stat status;
	ssize_t n;

	snprintf(place, sizeof(place), "%s/small", scratch());
	snprintf(filler, sizeof(filler), "%s/filler", place);
	ck_assert_int_eq(mkdir(place, 0755), 0);
	/* In a mount namespace of its own, which ends with this process; without privilege also
	 * in a user namespace. */
	if ((unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", place, "tmpfs", MS_NODEV | MS_NOSUID, "size=64k") < 0) {
		skip("a full disk: a tmpfs of 64 KiB can't be mounted", errno);
		return;
	}
	snprintf(kept, sizeof(kept), "%s/kept.json", place);
	struct safestart *ss = start("thread=yes", false, "reconcile=0");
	(void)push_and_wait(ss, AB);
	EVENTUALLY(file_says(kept, "10.0.0.2"));
	int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	do
		n = write(fd, "0123456789abcdef", 16);
	while (n > 0);
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
	ck_assert_int_eq(push_and_wait(ss, ABC).verdict, SAFESTART_APPLIED);
	EVENTUALLY(app_logged(&app, safestart_strerror(ENOSPC)));
	ck_assert(are_live(ss, "a b c"));
	ck_assert(file_says(kept, "10.0.0.2") && !file_says(kept, "10.0.0.3"));
	ck_assert_int_eq(unlink(filler), 0);
	EVENTUALLY(file_says(kept, "10.0.0.3")); /* without a request */
	close_now(ss);
	ck_assert(stat(kept, &status) == 0 && status.st_size > 0);
	ck_assert_int_eq(umount(place), 0);
}
END_TEST

/* ---- Watches ---- */

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* The limits of a user namespace of its own. */
static bool own_limits(void)
{
	char map[64];
	unsigned uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWUSER) < 0 || !put("/proc/self/setgroups", "deny"))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!put("/proc/self/uid_map", map))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return put("/proc/self/gid_map", map) &&
	       put("/proc/sys/user/max_inotify_instances", "1000") &&
	       put("/proc/sys/user/max_inotify_watches", "1000");
}

static void without_watches(const char *setting, const char *reconcile)
{
	char path[100];

	snprintf(nodes, sizeof(nodes), "%s/nodes.json", scratch());
	write_file(nodes, AB);
	snprintf(path, sizeof(path), "/proc/sys/user/%s", setting);
	if (!own_limits() || !put(path, "0")) {
		skip("no inotify: a user namespace with limits of its own can't be had", errno);
		return;
	}
	struct safestart *ss = start("thread=yes", true, reconcile);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert(are_live(ss, "a b"));
	EVENTUALLY(app_logged(&app, "inotify is not available"));
	replace_file(nodes, ABC);
	if (strcmp(reconcile, "reconcile=0") != 0) { /* it is noticed all the same */
		EVENTUALLY(are_live(ss, "a b c"));
		close_now(ss);
		return;
	}
	/* It is noticed with a request; and by itself once there are resources, from the next
	 * run on. */
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_APPLIED);
	ck_assert(are_live(ss, "a b c"));
	ck_assert(put(path, "1000"));
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_UNCHANGED);
	replace_file(nodes, AB);
	EVENTUALLY(are_live(ss, "a b"));
	close_now(ss);
}

START_TEST(p15_without_inotify_instances_a_file_is_reread_by_reconcile)
{
	without_watches("max_inotify_instances", "reconcile=20ms");
}
END_TEST

START_TEST(p15_without_inotify_watches_a_file_is_reread_by_reconcile)
{
	without_watches("max_inotify_watches", "reconcile=20ms");
}
END_TEST

START_TEST(p15_inotify_instances_are_used_once_there_are_any)
{
	without_watches("max_inotify_instances", "reconcile=0");
}
END_TEST

START_TEST(p15_inotify_watches_are_used_once_there_are_any)
{
	without_watches("max_inotify_watches", "reconcile=0");
}
END_TEST

SUITE("limits", p9_open_without_descriptors_fails_in_words,
      p9_descriptors_used_up_while_running_and_freed_again, p9_threads_used_up_and_freed_again,
      p6_close_without_threads_ends,
      p9_a_set_that_grows_beyond_the_memory_is_not_applied_and_what_is_live_serves_on,
      p16_a_limit_of_file_sizes_does_not_raise_a_signal,
      p16_a_limit_of_file_sizes_does_not_raise_a_signal_in_the_applications_own_loop,
      p9_a_full_disk_keeps_the_old_last_good_and_gets_the_new_one_when_there_is_room,
      p15_without_inotify_instances_a_file_is_reread_by_reconcile,
      p15_without_inotify_watches_a_file_is_reread_by_reconcile,
      p15_inotify_instances_are_used_once_there_are_any,
      p15_inotify_watches_are_used_once_there_are_any)
