/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* last_good: the last applied set survives restarts of the process, whatever has happened to the
 * source. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

#define NODE(id, address) \
	"{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\",\"zone\":\"z\"}}"
#define A "[" NODE("a", "10.0.0.1:1") "]"
#define AB "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "]"
#define ABC "[" NODE("a", "10.0.0.1:1") "," NODE("b", "10.0.0.2:1") "," NODE("c", "[fd00::3]:1") "]"
#define XYZ "[" NODE("x", "10.0.1.1:1") "," NODE("y", "10.0.1.2:1") "," NODE("z", "10.0.1.3:1") "]"

static char nodes[256], kept[256]; /* the source's file, and last_good's */

static struct safestart *start(struct app *app, bool pushed)
{
	char source[300], last_good[300];

	snprintf(nodes, sizeof(nodes), "%s/nodes.json", scratch());
	if (kept[0] == '\0')
		snprintf(kept, sizeof(kept), "%s/kept.json", scratch());
	snprintf(source, sizeof(source), "source=file:%s", nodes);
	snprintf(last_good, sizeof(last_good), "last_good=%s", kept);
	app_init(app);
	return open_with(app, pushed ? "source=push" : source, last_good, "debounce=2ms",
			 "retry_min=1ms", "retry_max=10ms", "reconcile=20ms", NULL);
}

/* Keep this set, by a process of its own that has come and gone. Close carries out what is left,
 * the writing included. */
static void keep(const char *document)
{
	struct app app;
	struct safestart *ss = start(&app, true);

	struct safestart_outcome outcome = push_and_wait(ss, document);
	ck_assert_msg(outcome.error == 0, "%s", outcome.message);
	close_now(ss);
	ck_assert(file_says(kept, "\"targets\""));
}

static struct safestart_outcome first_outcome(struct app *app)
{
	EVENTUALLY(app->outcomes > 0);
	pthread_mutex_lock(&app->lock);
	struct safestart_outcome outcome = app->first;
	pthread_mutex_unlock(&app->lock);
	return outcome;
}

static bool status_says(struct safestart *ss, const char *words)
{
	char *status = safestart_status_json(ss);
	bool said = status != NULL && strstr(status, words) != NULL;

	safestart_free(status);
	return said;
}

/* ---- Over a process start ---- */

/* What may be kept is more than what may be read: no limit is so large that it becomes a small one.
 */
START_TEST(p9_with_the_largest_limits_the_kept_set_is_read_again)
{
	static const char *const limits[] = {"max_bytes=1152921504606846976",
					     "max_bytes=1152921504606846975",
					     "max_bytes=9223372036854775807"};
	char last_good[300], document[400];

	snprintf(document, sizeof(document),
		 "[{\"targets\":[\"h:1\"],\"labels\":{\"id\":\"a\",\"more\":\"%0200d\"}}]", 7);
	snprintf(last_good, sizeof(last_good), "last_good=%s", scratch_path("kept.json"));
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct safestart *ss =
			open_with(NULL, last_good, limits[i], "max_nodes=1", "debounce=0", NULL);
		ck_assert_int_eq(push_and_wait(ss, document).error, 0);
		close_now(ss);
		ss = open_with(NULL, last_good, limits[i], "max_nodes=1", "debounce=0", NULL);
		ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
		ck_assert_str_eq(live_ids(ss), "a");
		close_now(ss);
		ck_assert_int_eq(unlink(scratch_path("kept.json")), 0);
	}
}
END_TEST

START_TEST(p9_the_kept_set_serves_over_a_process_start_whatever_the_source_is)
{
	static const struct {
		const char *document; /* NULL: the file is missing */
		int verdict, error;
		const char *words;
	} cases[] = {
		{NULL, SAFESTART_FAILED, -ENOENT, "no such file"},
		{"[{\"targets\"", SAFESTART_REFUSED, -EINVAL, "ends too early"},
		{"", SAFESTART_REFUSED, -EINVAL, "is empty"},
		{"[]", SAFESTART_REFUSED, -ERANGE, "would lose all 3 nodes"},
		{A, SAFESTART_REFUSED, -ERANGE, "would lose 2 of 3 nodes"},
		{"[{\"targets\":[\"bad\"]}]", SAFESTART_REFUSED, -EINVAL,
		 "no entry of the set is usable"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct app app;
		kept[0] = '\0';
		keep(ABC);
		if (cases[i].document != NULL)
			write_file(scratch_path("nodes.json"), cases[i].document);
		struct safestart *ss = start(&app, false);
		ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
		ck_assert_uint_eq(safestart_generation(ss), 1);
		ck_assert_str_eq(live_ids(ss), "a b c");
		struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
		ck_assert_str_eq(safestart_node_host(safestart_snapshot_at(live, 2)), "fd00::3");
		ck_assert_str_eq(safestart_node_label(safestart_snapshot_at(live, 2), "zone"), "z");
		safestart_snapshot_release(live);
		struct safestart_outcome outcome = first_outcome(&app);
		ck_assert_int_eq(outcome.verdict, cases[i].verdict);
		ck_assert_int_eq(outcome.error, cases[i].error);
		ck_assert_msg(strstr(outcome.message, cases[i].words) != NULL, "%s",
			      outcome.message);
		ck_assert_int_eq(app.prepares, 1);
		/* It keeps failing, and nothing more happens to the set. */
		outcome = answer(ss, safestart_request_restart(ss));
		ck_assert_int_eq(outcome.verdict, cases[i].verdict);
		ck_assert_int_eq(app.prepares, 1);
		ck_assert_uint_eq(safestart_generation(ss), 1);
		replace_file(nodes, AB);
		EVENTUALLY(safestart_generation(ss) == 2);
		ck_assert_str_eq(live_ids(ss), "a b");
		close_now(ss);
		ck_assert(!file_says(kept, "\"c\""));
		remove_scratch();
	}
}
END_TEST

START_TEST(p9_a_source_that_works_is_not_kept_from_it)
{
	struct app app;

	keep(ABC);
	write_file(scratch_path("nodes.json"), XYZ);
	struct safestart *ss = start(&app, false);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "x y z");
	ck_assert_int_eq(first_outcome(&app).verdict, SAFESTART_APPLIED);
	close_now(ss);
	ck_assert(file_says(kept, "\"x\""));
}
END_TEST

START_TEST(p9_a_kept_set_that_prepare_refuses_is_tried_again)
{
	struct app app;

	keep(AB);
	struct safestart *ss = start(&app, true);
	close_now(ss);
	app_init(&app);
	char last_good[300];
	snprintf(last_good, sizeof(last_good), "last_good=%s", kept);
	struct safestart_conf *conf = conf_with(last_good, "retry_min=1ms", "retry_max=2ms", NULL);
	app_use(&app, conf);
	app.prepare_result = -ENOMEM;
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	EVENTUALLY(app.prepares > 3);
	ck_assert_uint_eq(safestart_generation(ss), 0);
	app.prepare_result = 0;
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	close_now(ss);
}
END_TEST

START_TEST(p12_a_small_first_set_is_judged_by_the_kept_one_and_can_be_forced)
{
	struct app app;

	keep(ABC);
	write_file(scratch_path("nodes.json"), A);
	struct safestart *ss = start(&app, false);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "a b c");
	ck_assert_ptr_nonnull(strstr(first_outcome(&app).message, "the last good set stands in"));
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, -ERANGE);
	ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).verdict,
			 SAFESTART_APPLIED);
	ck_assert_str_eq(live_ids(ss), "a");
	close_now(ss);
	ck_assert(!file_says(kept, "\"b\""));
}
END_TEST

/* ---- A kept file that is no good ---- */

START_TEST(p9_a_corrupted_kept_file_is_said_and_ignored)
{
	static const char *const corrupted[] = {"",
						"[{\"targets\":",
						"\x7f"
						"ELF",
						"{}",
						"[]",
						"[{\"targets\":[\"bad\"]}]",
						NULL};

	for (size_t i = 0; i < sizeof(corrupted) / sizeof(corrupted[0]); i++) {
		struct app app;
		snprintf(kept, sizeof(kept), "%s/kept.json", scratch());
		if (corrupted[i] != NULL)
			write_file(kept, corrupted[i]);
		else
			ck_assert_int_eq(mkdir(kept, 0755), 0);
		struct safestart *ss = start(&app, false);
		EVENTUALLY(app.outcomes > 2);
		ck_assert_msg(safestart_generation(ss) == 0, "\"%s\" went live: %s", corrupted[i],
			      first_outcome(&app).message);
		char said[300];
		snprintf(said, sizeof(said), "(last_good=%s)", kept);
		ck_assert_msg(app_logged(&app, "cannot use last_good: ") && app_logged(&app, said),
			      "nothing said of \"%s\"", corrupted[i]);
		ck_assert_int_eq(app.prepares, 0);
		write_file(nodes, AB);
		ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
		ck_assert_str_eq(live_ids(ss), "a b");
		close_now(ss);
		ck_assert_int_eq(file_says(kept, "10.0.0.2:1"), corrupted[i] != NULL);
		remove_scratch();
	}
}
END_TEST

START_TEST(a_missing_kept_file_is_nothing_to_talk_about)
{
	struct app app;
	struct safestart *ss = start(&app, false);

	EVENTUALLY(app.outcomes > 2);
	ck_assert(!app_logged(&app, "cannot use"));
	close_now(ss);
}
END_TEST

/* ---- A place that can't be written ---- */

static void check_unwritable(const char *words)
{
	struct app app;

	struct safestart *ss = start(&app, true);
	ck_assert_int_eq(push_and_wait(ss, AB).error, 0); /* the first load may have been quicker */
	EVENTUALLY(app_logged(&app, "is not up to date"));
	ck_assert(app_logged(&app, words));
	EVENTUALLY(status_says(ss, words));
	close_now(ss);
}

START_TEST(p9_a_place_that_can_not_be_written_is_said_and_shown_and_the_set_applies)
{
	uid_t me = geteuid();

	snprintf(kept, sizeof(kept), "%s/nowhere/kept.json", scratch());
	check_unwritable("No such file");
	ck_assert_int_eq(mkdir(scratch_path("locked"), 0555), 0);
	ck_assert_int_eq(chmod(scratch(), 0755), 0);
	snprintf(kept, sizeof(kept), "%s/locked/kept.json", scratch());
	ck_assert(me != 0 || seteuid(65534) == 0); /* root writes where it likes */
	check_unwritable("ermission");
	ck_assert(me != 0 || seteuid(0) == 0);
}
END_TEST

START_TEST(p18_a_full_file_system_leaves_the_old_kept_set_readable)
{
	struct app app;
	char place[128];

	snprintf(place, sizeof(place), "%s/small", scratch());
	ck_assert_int_eq(mkdir(place, 0755), 0);
	/* In a mount namespace of our own: it goes with this process, however the test ends. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", place, "tmpfs", MS_NODEV | MS_NOSUID, "size=64k") < 0) {
		fprintf(stderr, "skipped: a tmpfs of 64 KiB can't be mounted here\n");
		return;
	}
	snprintf(kept, sizeof(kept), "%s/kept.json", place);
	keep(AB);
	char *large = document_of(2000);
	struct safestart *ss = start(&app, true);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_int_eq(push_and_wait(ss, large).error, 0);
	free(large);
	EVENTUALLY(app_logged(&app, "is not up to date"));
	EVENTUALLY(status_says(ss, "space"));
	ck_assert(file_says(kept, "10.0.0.2:1"));
	close_now(ss);
	struct dirent **names;
	int entries = scandir(place, &names, NULL, NULL);
	ck_assert_int_eq(entries, 3); /* with . and ..: nothing half written is left */
	while (entries > 0)
		free(names[--entries]);
	free(names);
	ss = start(&app, true); /* and after a process start */
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	ck_assert_int_eq(push_and_wait(ss, ABC).error, 0); /* there is room again */
	EVENTUALLY(file_says(kept, "fd00::3"));
	EVENTUALLY(status_says(ss, "\"error\":\"\""));
	close_now(ss);
	ck_assert_int_eq(umount2(place, MNT_DETACH), 0);
}
END_TEST

static int hang_something(struct safestart_run *run, void *user_data)
{
	safestart_run_set_data(run, user_data);
	return 0;
}

/* The directory appears, and the next attempt comes due, while close has nothing live any more. */
static void make_the_directory(void *data, void *user_data)
{
	(void)data;
	(void)mkdir(user_data, 0755);
	for (int i = 0; i < 50; i++)
		pause_a_moment();
}

START_TEST(p18_close_does_not_keep_the_nothing_that_is_live_at_its_end)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hang_something,
						      .retire = make_the_directory};
	char setting[320], directory[256];
	struct safestart *ss;

	snprintf(directory, sizeof(directory), "%s", scratch_path("later"));
	snprintf(setting, sizeof(setting), "last_good=%s/kept.json", directory);
	struct safestart_conf *conf =
		conf_with("debounce=0", "retry_min=1ms", "retry_max=10ms", setting, NULL);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, directory), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	ck_assert_int_eq(push_and_wait(ss, AB).error, 0);
	EVENTUALLY(status_says(ss, "No such file"));
	close_now(ss);
	snprintf(setting, sizeof(setting), "%s/kept.json", directory);
	ck_assert_int_eq(access(directory, F_OK), 0);
	ck_assert_int_eq(access(setting, F_OK), -1);
}
END_TEST

/* A reader finds a complete document at any instant. */
START_TEST(p18_the_kept_file_is_whole_at_any_instant)
{
	struct app app;
	char text[8192], *documents[] = {document_of(30), document_of(50)};
	struct safestart_conf *conf = conf_with("max_shrink=100%", NULL);

	keep(A);
	struct safestart *ss = start(&app, true);
	for (int i = 0; i < 100; i++) {
		uint64_t ticket;
		ck_assert_int_eq(safestart_nodes_replace(ss, documents[i % 2], &ticket, NULL, 0),
				 0);
		while (safestart_wait(ss, ticket, 0, NULL) == -ETIMEDOUT) {
			int fd = open(kept, O_RDONLY | O_CLOEXEC);
			ck_assert_int_ge(fd, 0);
			ssize_t length = read(fd, text, sizeof(text) - 1);
			close(fd);
			ck_assert_int_gt(length, 0);
			text[length] = '\0';
			ck_assert_int_eq(safestart_check(conf, text, NULL, 0), 0);
		}
	}
	close_now(ss);
	safestart_conf_free(conf);
	free(documents[0]);
	free(documents[1]);
}
END_TEST

/* ---- With a pushed set ---- */

static _Atomic bool swept_enough;

/* As another worker of the same server that begins to keep its set: it removes files that no
 * process has locked. */
static void *sweep_all_the_time(void *argument)
{
	const struct dirent *entry;
	DIR *directory = opendir(argument);

	while (!swept_enough) {
		rewinddir(directory);
		while ((entry = readdir(directory)) != NULL) { /* NOLINT(concurrency-mt-unsafe) */
			int fd = strstr(entry->d_name, ".safestart.") != NULL
					 ? openat(dirfd(directory), entry->d_name,
						  O_WRONLY | O_CLOEXEC)
					 : -1;
			if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
				unlinkat(dirfd(directory), entry->d_name, 0);
			if (fd >= 0)
				close(fd);
		}
	}
	closedir(directory);
	return NULL;
}

START_TEST(p9_a_file_being_saved_is_not_lost_when_others_remove_it)
{
	pthread_t sweepers[4];
	struct app app;

	struct safestart *ss = start(&app, true);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&sweepers[i], NULL, sweep_all_the_time,
						(void *)(uintptr_t)scratch()),
				 0);
	for (int i = 0; i < repeat(under_valgrind() ? 30 : 300); i++)
		push_and_wait(ss, i % 2 == 0 ? AB : ABC);
	swept_enough = true;
	for (int i = 0; i < 4; i++)
		pthread_join(sweepers[i], NULL);
	close_now(ss);
	ck_assert(!app_logged(&app, "is not up to date"));
}
END_TEST

START_TEST(p9_a_pushed_set_begins_with_the_kept_one_and_an_announcement_adds_to_it)
{
	struct app app;
	uint64_t ticket;

	keep(AB);
	struct safestart *ss = start(&app, true);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	ck_assert_int_eq(first_outcome(&app).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(safestart_node_announce(ss, "c", "10.0.0.3:1", NULL, &ticket), 0);
	ck_assert_int_eq(answer(ss, ticket).error, 0);
	ck_assert_str_eq(live_ids(ss), "a b c");
	ck_assert_int_eq(safestart_node_withdraw(ss, "a", &ticket), 0);
	ck_assert_int_eq(answer(ss, ticket).error, 0);
	ck_assert_str_eq(live_ids(ss), "b c");
	close_now(ss);
	ss = start(&app, true);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	ck_assert_str_eq(live_ids(ss), "b c");
	close_now(ss);
}
END_TEST

/* A hook may be quicker than the first load. With thread=no it is, for certain. */
START_TEST(p9_an_announcement_before_the_first_load_adds_to_the_kept_set_too)
{
	uint64_t ticket;
	char last_good[300];

	keep(ABC);
	snprintf(last_good, sizeof(last_good), "last_good=%s", kept);
	struct safestart *ss = open_with(NULL, last_good, "thread=no", "debounce=0", NULL);
	ck_assert_int_eq(safestart_node_announce(ss, "d", "10.0.0.4:1", NULL, &ticket), 0);
	struct safestart_outcome outcome = answer(ss, ticket);
	ck_assert_msg(outcome.verdict == SAFESTART_APPLIED, "%s", outcome.message);
	ck_assert_str_eq(live_ids(ss), "a b c d");
	close_now(ss);
}
END_TEST

START_TEST(p9_last_good_that_can_not_be_read_now_is_tried_again_without_restarts)
{
	struct app app;
	char last_good[300];

	snprintf(kept, sizeof(kept), "%s/kept.json", scratch());
	snprintf(last_good, sizeof(last_good), "last_good=%s", kept);
	ck_assert_int_eq(symlink(kept, kept), 0); /* ELOOP, for root too */
	app_init(&app);
	app.restart_enabled = true;
	struct safestart *ss = open_with(&app, "source=push", last_good, "debounce=2ms",
					 "retry_min=1ms", "retry_max=10ms", NULL);
	EVENTUALLY(app.outcomes > 3);
	ck_assert_int_eq(app.restarts, 0);
	/* A forced request is carried out. */
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).verdict, SAFESTART_APPLIED);
	EVENTUALLY(app.restarts == 1);
	replace_file(kept, AB);
	EVENTUALLY(safestart_generation(ss) == 1);
	ck_assert_str_eq(live_ids(ss), "a b");
	EVENTUALLY(app.restarts == 2);
	close_now(ss);
}
END_TEST

SUITE("last_good", p9_with_the_largest_limits_the_kept_set_is_read_again,
      p9_the_kept_set_serves_over_a_process_start_whatever_the_source_is,
      p9_a_source_that_works_is_not_kept_from_it, p9_a_kept_set_that_prepare_refuses_is_tried_again,
      p12_a_small_first_set_is_judged_by_the_kept_one_and_can_be_forced,
      p9_a_corrupted_kept_file_is_said_and_ignored, a_missing_kept_file_is_nothing_to_talk_about,
      p9_a_place_that_can_not_be_written_is_said_and_shown_and_the_set_applies,
      p18_a_full_file_system_leaves_the_old_kept_set_readable,
      p18_close_does_not_keep_the_nothing_that_is_live_at_its_end,
      p18_the_kept_file_is_whole_at_any_instant,
      p9_a_file_being_saved_is_not_lost_when_others_remove_it,
      p9_a_pushed_set_begins_with_the_kept_one_and_an_announcement_adds_to_it,
      p9_an_announcement_before_the_first_load_adds_to_the_kept_set_too,
      p9_last_good_that_can_not_be_read_now_is_tried_again_without_restarts)
