/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source=file: every change of a file on a real machine is noticed, and an unusable file leaves
 * the live set alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\"}}"
#define A "[" NODE("a", "10.0.0.1:1") "]"
#define AB "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]"
#define ABC "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "," NODE("c", "10.0.0.3:1") "]"

/* No retry and, with reconcile=0, only inotify to notice a change. */
static struct safestart *follow(struct app *app, const char *path, const char *reconcile)
{
	char source[300];

	app_init(app);
	snprintf(source, sizeof(source), "source=file:%s", path);
	return open_with(app, source, "debounce=0", "retry_min=0", "max_shrink=100%", reconcile,
			 NULL);
}

static struct safestart *follow_ready(struct app *app, const char *path, const char *reconcile)
{
	struct safestart *ss = follow(app, path, reconcile);

	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	return ss;
}

static bool is_live(struct safestart *ss, const char *ids)
{
	return strcmp(live_ids(ss), ids) == 0;
}

static int first_port(struct safestart *ss)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	int port = safestart_snapshot_size(live) > 0
			   ? safestart_node_port(safestart_snapshot_at(live, 0))
			   : 0;

	safestart_read_unlock(ss);
	return port;
}

static struct safestart_outcome last(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	(void)safestart_last_outcome(ss, &outcome);
	return outcome;
}

static bool last_failed(struct safestart *ss, int error)
{
	return last(ss).run > 0 && last(ss).error == error;
}

/* ---- What happens to files ---- */

START_TEST(a_rewrite_in_place_is_noticed)
{
	struct app app;
	const char *path = scratch_path("nodes.json");

	write_file(path, A);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	write_file(path, AB);
	EVENTUALLY(is_live(ss, "a b"));
	write_file(path, ABC);
	EVENTUALLY(is_live(ss, "a b c"));
	close_now(ss);
}
END_TEST

START_TEST(of_fifty_renames_in_a_row_the_last_is_live)
{
	struct app app;
	const char *path = scratch_path("nodes.json");
	char text[128];

	write_file(path, A);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	for (int round = 1; round <= 4; round++) {
		for (int i = 1; i <= 50; i++) {
			snprintf(text, sizeof(text),
				 "[{\"targets\":[\"10.0.0.1:%d\"],\"labels\":{\"id\":\"a\"}}]",
				 1000 * round + i);
			replace_file(path, text);
		}
		EVENTUALLY(first_port(ss) == 1000 * round + 50);
	}
	close_now(ss);
}
END_TEST

/* As the kubelet does it: nodes.json -> ..data/nodes.json, ..data -> ..2026_N, swapped by rename;
 * the old one is removed, sometimes later. */
static void publish(const char *mount, int number, const char *text)
{
	char dir[300], file[320], link[300], data[300], name[32], old[300];

	snprintf(name, sizeof(name), "..2026_%d", number);
	snprintf(dir, sizeof(dir), "%s/%s", mount, name);
	snprintf(file, sizeof(file), "%s/nodes.json", dir);
	snprintf(link, sizeof(link), "%s/..data_tmp", mount);
	snprintf(data, sizeof(data), "%s/..data", mount);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	write_file(file, text);
	ck_assert_int_eq(symlink(name, link), 0);
	ck_assert_int_eq(rename(link, data), 0);
	snprintf(old, sizeof(old), "%s/..2026_%d/nodes.json", mount, number - 1);
	if (number % 2 == 0 && unlink(old) == 0) {
		*strrchr(old, '/') = '\0';
		ck_assert_int_eq(rmdir(old), 0);
	}
}

START_TEST(a_config_map_is_followed_through_its_swaps)
{
	struct app app;
	const char *const documents[] = {AB, ABC, A}, *const ids[] = {"a b", "a b c", "a"};

	publish(scratch(), 0, A);
	ck_assert_int_eq(symlink("..data/nodes.json", scratch_path("nodes.json")), 0);
	struct safestart *ss = follow_ready(&app, scratch_path("nodes.json"), "reconcile=0");
	for (int i = 1; i <= 12; i++) {
		publish(scratch(), i, documents[i % 3]);
		EVENTUALLY(is_live(ss, ids[i % 3]));
	}
	for (int i = 13; i <= 30; i++) /* without waiting */
		publish(scratch(), i, documents[i % 3]);
	EVENTUALLY(is_live(ss, ids[30 % 3]));
	close_now(ss);
}
END_TEST

START_TEST(p9_a_deleted_file_leaves_its_set_serving_and_is_read_when_it_is_back)
{
	struct app app;
	const char *path = scratch_path("nodes.json");

	write_file(path, AB);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	for (int i = 0; i < 3; i++) {
		uint64_t generation = safestart_generation(ss);
		int prepares = app.prepares;
		ck_assert_int_eq(unlink(path), 0);
		EVENTUALLY(last_failed(ss, -ENOENT));
		ck_assert_int_eq(last(ss).verdict, SAFESTART_FAILED);
		ck_assert_ptr_nonnull(strstr(last(ss).message, path));
		ck_assert_msg(strstr(last(ss).message, "as soon as it appears") != NULL, "%s",
			      last(ss).message);
		ck_assert_str_eq(live_ids(ss), i % 2 == 0 ? "a b" : "a b c");
		ck_assert_uint_eq(safestart_generation(ss), generation);
		ck_assert_int_eq(app.prepares, prepares);
		write_file(path, i % 2 == 0 ? ABC : AB);
		/* Live a moment before it is said. */
		EVENTUALLY(is_live(ss, i % 2 == 0 ? "a b c" : "a b") && last(ss).error == 0);
	}
	close_now(ss);
}
END_TEST

START_TEST(a_directory_that_does_not_exist_yet_is_waited_for)
{
	static const char *const levels[] = {"one", "one/two", "one/two/three"};

	for (int stepwise = 0; stepwise < 2; stepwise++) {
		struct app app;
		struct safestart *ss =
			follow(&app, scratch_path("one/two/three/nodes.json"), "reconcile=0");
		ck_assert_int_eq(safestart_wait_ready(ss, 0), -ETIMEDOUT);
		EVENTUALLY(last_failed(ss, -ENOENT));
		for (int i = 0; i < 3; i++) {
			uint64_t before = last(ss).run;
			ck_assert_int_eq(mkdir(scratch_path(levels[i]), 0755), 0);
			if (stepwise)
				EVENTUALLY(last(ss).run > before);
		}
		write_file(scratch_path("one/two/three/nodes.json"), AB);
		EVENTUALLY(is_live(ss, "a b"));
		close_now(ss);
		remove_scratch();
	}
}
END_TEST

START_TEST(a_directory_on_the_way_may_be_replaced)
{
	struct app app;

	ck_assert_int_eq(mkdir(scratch_path("etc"), 0755) | mkdir(scratch_path("etc/app"), 0755),
			 0);
	write_file(scratch_path("etc/app/nodes.json"), A);
	struct safestart *ss =
		follow_ready(&app, scratch_path("etc/app/nodes.json"), "reconcile=0");
	ck_assert_int_eq(mkdir(scratch_path("new"), 0755) | mkdir(scratch_path("new/app"), 0755),
			 0);
	write_file(scratch_path("new/app/nodes.json"), AB);
	ck_assert_int_eq(rename(scratch_path("etc"), scratch_path("old")), 0);
	ck_assert_int_eq(rename(scratch_path("new"), scratch_path("etc")), 0);
	EVENTUALLY(is_live(ss, "a b"));
	write_file(scratch_path("etc/app/nodes.json"), ABC);
	EVENTUALLY(is_live(ss, "a b c"));
	close_now(ss);
}
END_TEST

START_TEST(a_relative_path_belongs_to_the_directory_of_opening)
{
	struct app app;
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ck_assert_int_eq(chdir(scratch()), 0);
	write_file("nodes.json", A);
	struct safestart *ss = follow(&app, "nodes.json", "reconcile=0");
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	replace_file(scratch_path("nodes.json"), AB);
	EVENTUALLY(is_live(ss, "a b"));
	close_now(ss);
	ck_assert_int_eq(fchdir(here), 0);
	close(here);
}
END_TEST

/* ---- What is no file with nodes in it ---- */

static void make_directory(const char *path)
{
	ck_assert_int_eq(mkdir(path, 0755), 0);
}

static void make_fifo(const char *path)
{
	ck_assert_int_eq(mkfifo(path, 0644), 0);
}

START_TEST(p9_what_is_no_file_is_named_and_the_next_good_one_applies)
{
	static const struct {
		void (*make)(const char *path);
		const char *link; /* or a link to this */
		const char *words;
	} cases[] = {
		{make_directory, NULL, "it is a directory"},
		{make_fifo, NULL, "not a regular file"},
		{NULL, "nowhere", "no such file"},
		{NULL, "nodes.json", "Too many"},
		{NULL, "/dev/zero", "not a regular file"},
	};
	struct app app;
	const char *path = scratch_path("nodes.json");

	write_file(path, A);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t generation = safestart_generation(ss);
		ck_assert_int_eq(remove(path), 0);
		if (cases[i].link == NULL)
			cases[i].make(path);
		else
			ck_assert_int_eq(symlink(cases[i].link, path), 0);
		EVENTUALLY(strstr(last(ss).message, cases[i].words) != NULL);
		ck_assert_int_ge(last(ss).verdict, SAFESTART_REFUSED);
		ck_assert_int_lt(last(ss).error, 0);
		ck_assert_str_eq(live_ids(ss), i % 2 == 0 ? "a" : "a b");
		ck_assert_uint_eq(safestart_generation(ss), generation);
		ck_assert_int_eq(remove(path), 0);
		write_file(path, i % 2 == 0 ? AB : A);
		EVENTUALLY(is_live(ss, i % 2 == 0 ? "a b" : "a"));
	}
	close_now(ss);
}
END_TEST

START_TEST(a_file_in_the_place_of_a_directory_is_waited_out)
{
	struct app app;
	char path[280];

	write_file(scratch_path("on-the-way"), "");
	snprintf(path, sizeof(path), "%s/nodes.json", scratch_path("on-the-way"));
	struct safestart *ss = follow(&app, path, "reconcile=0");
	EVENTUALLY(last_failed(ss, -ENOTDIR));
	ck_assert_ptr_nonnull(strstr(last(ss).message, "it will be read as soon as it appears"));
	ck_assert(!app_logged(&app, "inotify"));
	ck_assert_int_eq(unlink(scratch_path("on-the-way")), 0);
	ck_assert_int_eq(mkdir(scratch_path("on-the-way"), 0755), 0);
	write_file(path, A);
	EVENTUALLY(is_live(ss, "a"));
	close_now(ss);
}
END_TEST

START_TEST(p9_an_unreadable_file_is_said_and_read_once_it_may_be)
{
	struct app app;
	const char *path = scratch_path("nodes.json");
	uid_t me = geteuid();

	write_file(path, A);
	ck_assert_int_eq(chmod(scratch(), 0755), 0);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	close_now(ss);
	ck_assert(me != 0 || seteuid(65534) == 0); /* root reads what it likes */
	ss = follow_ready(&app, path, "reconcile=0");
	ck_assert(me != 0 || seteuid(0) == 0);
	ck_assert_int_eq(chmod(path, 0), 0);
	ck_assert(me != 0 || seteuid(65534) == 0);
	EVENTUALLY(last_failed(ss, -EACCES) || (safestart_request_restart(ss), false));
	ck_assert_int_eq(last(ss).verdict, SAFESTART_FAILED);
	ck_assert_ptr_nonnull(strstr(last(ss).message, path));
	ck_assert_str_eq(live_ids(ss), "a");
	ck_assert(me != 0 || seteuid(0) == 0);
	write_file(path, AB);
	ck_assert_int_eq(chmod(path, 0644), 0);
	EVENTUALLY(is_live(ss, "a b"));
	close_now(ss);
}
END_TEST

START_TEST(p9_a_half_written_file_changes_nothing_until_the_rest_is_there)
{
	struct app app;
	const char *path = scratch_path("nodes.json"), *text = ABC;
	size_t length = strlen(text);

	write_file(path, A);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	for (size_t half = 1; half < length; half += length / 4) {
		write_file(path, A);
		ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).error, 0);
		uint64_t generation = safestart_generation(ss);
		int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		ck_assert_int_eq(write(fd, text, half), (ssize_t)half);
		EVENTUALLY(last_failed(ss, -EINVAL) &&
			   strstr(last(ss).message, "ends too early") != NULL);
		ck_assert_int_eq(last(ss).verdict, SAFESTART_REFUSED);
		ck_assert_str_eq(live_ids(ss), "a");
		ck_assert_uint_eq(safestart_generation(ss), generation);
		ck_assert_int_eq(write(fd, text + half, length - half), (ssize_t)(length - half));
		close(fd);
		EVENTUALLY(is_live(ss, "a b c"));
	}
	close_now(ss);
}
END_TEST

/* ---- What is the same ---- */

START_TEST(p7_the_same_nodes_written_otherwise_are_unchanged)
{
	static const char *const same[] = {
		AB,
		"\n\t" AB "\n",
		"[" NODE("b", "10.0.0.2:1") "," NODE("a", "10.0.0.1:1") "]",
		"[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "," NODE(
			"a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]",
		"[{\"labels\":{\"id\":\"b\"},\"targets\":[\"10.0.0.2:1\"]},{\"targets\":[]}"
		"," NODE("a", "10.0.0.1:1") "]",
	};
	struct app app;
	const char *path = scratch_path("nodes.json");

	write_file(path, AB);
	struct safestart *ss = follow_ready(&app, path, "reconcile=20ms");
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		replace_file(path, same[i]);
		for (int flags = 0; flags <= SAFESTART_FORCE; flags++) {
			struct safestart_outcome outcome =
				answer(ss, safestart_request(ss, (uint32_t)flags, NULL));
			ck_assert_int_eq(outcome.verdict, SAFESTART_UNCHANGED);
			ck_assert_uint_eq(outcome.generation, 1);
		}
		ck_assert_int_eq(utimensat(AT_FDCWD, path, NULL, 0), 0);
		ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict,
				 SAFESTART_UNCHANGED);
	}
	uint64_t run = last(ss).run;
	EVENTUALLY(last(ss).run > run + 3); /* reconcile */
	ck_assert_int_eq(last(ss).verdict, SAFESTART_UNCHANGED);
	ck_assert_uint_eq(safestart_generation(ss), 1);
	ck_assert_int_eq(app.prepares, 1);
	close_now(ss);
}
END_TEST

START_TEST(p9_a_file_that_comes_back_after_something_refused_applies)
{
	struct app app;
	char path[256], next[256];

	snprintf(path, sizeof(path), "%s/nodes.json", scratch());
	snprintf(next, sizeof(next), "%s/next", scratch());
	write_file(scratch_path("good.json"), A);
	ck_assert_int_eq(symlink("good.json", path), 0);
	make_fifo(scratch_path("fifo"));
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	ck_assert_int_eq(symlink("fifo", next), 0);
	ck_assert_int_eq(rename(next, path), 0);
	EVENTUALLY(last_failed(ss, -EINVAL));
	ck_assert_int_eq(symlink("good.json", next), 0);
	ck_assert_int_eq(rename(next, path), 0);
	struct safestart_outcome outcome = answer(ss, safestart_request_restart(ss));
	ck_assert_msg(outcome.verdict == SAFESTART_UNCHANGED, "%s", outcome.message);
	close_now(ss);
}
END_TEST

/* ---- inotify is a hint ---- */

START_TEST(files_beside_it_lead_to_no_run)
{
	struct app app;

	write_file(scratch_path("nodes.json"), A);
	struct safestart *ss = follow_ready(&app, scratch_path("nodes.json"), "reconcile=0");
	uint64_t first = answer(ss, safestart_request_restart(ss)).run;
	for (uint64_t i = 1; i <= 50; i++) {
		write_file(scratch_path("other.log"), "something");
		replace_file(scratch_path("other.json"), ABC);
		ck_assert_int_eq(unlink(scratch_path("other.log")), 0);
		ck_assert_uint_eq(answer(ss, safestart_request_restart(ss)).run, first + i);
	}
	close_now(ss);
}
END_TEST

START_TEST(p15_without_inotify_reconcile_follows_the_file_and_it_is_said)
{
	struct app app;
	const char *path = scratch_path("nodes.json");
	int taken[4096], count = 0;

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: only root can use up the inotify instances of a user "
				"nobody else is\n");
		return;
	}
	ck_assert_int_eq(chmod(scratch(), 0755), 0);
	write_file(path, A);
	/* The limit is per user: the other tests go on. */
	ck_assert_int_eq(seteuid((uid_t)(400000 + getpid())), 0);
	while (count < 4096 && (taken[count] = inotify_init1(IN_CLOEXEC)) >= 0)
		count++;
	struct safestart *ss = follow_ready(&app, path, "reconcile=20ms");
	ck_assert(app_logged(&app, "inotify"));
	ck_assert(app_logged(&app, "reconcile"));
	ck_assert_int_eq(seteuid(0), 0);
	replace_file(path, AB);
	EVENTUALLY(is_live(ss, "a b"));
	write_file(path, ABC);
	EVENTUALLY(is_live(ss, "a b c"));
	ck_assert_int_eq(unlink(path), 0);
	EVENTUALLY(last_failed(ss, -ENOENT));
	write_file(path, AB);
	EVENTUALLY(is_live(ss, "a b"));
	close_now(ss);
	while (count > 0)
		close(taken[--count]);
}
END_TEST

/* As long as only its names may not be listed, the file itself is read. */
START_TEST(p15_a_directory_that_may_not_be_watched_is_said_and_watched_once_it_may_be)
{
	struct app app;
	char path[280];

	if (geteuid() != 0) {
		fprintf(stderr, "skipped: root alone can be somebody else\n");
		return;
	}
	ck_assert_int_eq(chmod(scratch(), 0755), 0);
	ck_assert_int_eq(mkdir(scratch_path("inner"), 0711), 0);
	snprintf(path, sizeof(path), "%s/nodes.json", scratch_path("inner"));
	write_file(path, A);
	ck_assert_int_eq(seteuid(65534), 0);
	struct safestart *ss = follow_ready(&app, path, "reconcile=0");
	ck_assert(app_logged(&app, "no permission to read a directory on the path"));
	ck_assert_int_eq(seteuid(0), 0);
	uint64_t run = last(ss).run;
	ck_assert_int_eq(chmod(scratch_path("inner"), 0755), 0);
	EVENTUALLY(last(ss).run > run);
	replace_file(path, AB); /* without a request */
	EVENTUALLY(is_live(ss, "a b"));
	run = last(ss).run;
	ck_assert_int_eq(chmod(scratch_path("inner"), 0700), 0);
	EVENTUALLY(last(ss).run > run);
	close_now(ss);
}
END_TEST

/* More directories than are watched. */
START_TEST(p15_a_path_that_is_too_long_to_be_watched_is_followed_by_reconcile)
{
	char path[1024], setting[1100];
	struct app app;

	size_t length = (size_t)snprintf(path, sizeof(path), "%s", scratch());
	for (int i = 0; i < 300; i++) {
		length += (size_t)snprintf(path + length, sizeof(path) - length, "/d");
		ck_assert_int_eq(mkdir(path, 0755), 0);
	}
	snprintf(path + length, sizeof(path) - length, "/n.json");
	write_file(path, A);
	app_init(&app);
	snprintf(setting, sizeof(setting), "source=file:%s", path);
	struct safestart *ss = open_with(&app, setting, "debounce=0", "reconcile=20ms", NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert(app_logged(&app, "changes of the file are noticed only at a request"));
	write_file(path, AB);
	EVENTUALLY(is_live(ss, "a b"));
	close_now(ss);
}
END_TEST

SUITE("file", a_file_in_the_place_of_a_directory_is_waited_out,
      p15_a_directory_that_may_not_be_watched_is_said_and_watched_once_it_may_be,
      p15_a_path_that_is_too_long_to_be_watched_is_followed_by_reconcile,
      a_rewrite_in_place_is_noticed, of_fifty_renames_in_a_row_the_last_is_live,
      a_config_map_is_followed_through_its_swaps,
      p9_a_deleted_file_leaves_its_set_serving_and_is_read_when_it_is_back,
      a_directory_that_does_not_exist_yet_is_waited_for, a_directory_on_the_way_may_be_replaced,
      a_relative_path_belongs_to_the_directory_of_opening,
      p9_what_is_no_file_is_named_and_the_next_good_one_applies,
      p9_an_unreadable_file_is_said_and_read_once_it_may_be,
      p9_a_half_written_file_changes_nothing_until_the_rest_is_there,
      p7_the_same_nodes_written_otherwise_are_unchanged,
      p9_a_file_that_comes_back_after_something_refused_applies, files_beside_it_lead_to_no_run,
      p15_without_inotify_reconcile_follows_the_file_and_it_is_said)
