/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What last_good keeps can be read again under the same settings; what cannot be read is said, and
 * is replaced by a smaller set only when that is forced. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/support.h"

#define MANY 2000

static const char *path; /* last_good's file */

/* The set is pushed; an unusable last_good is looked at every few milliseconds. */
static struct safestart *start(struct app *app, const char *max_bytes, const char *max_nodes)
{
	char last_good[300];

	path = scratch_path("kept.json");
	snprintf(last_good, sizeof(last_good), "last_good=%s", path);
	app_init(app);
	return open_with(app, last_good, max_bytes, max_nodes, "debounce=0", "retry_min=1ms",
			 "retry_max=2ms", NULL);
}

/* One group: each node is a few bytes. */
static char *group_of(int count, const char *labels)
{
	char *text = malloc((size_t)count * 24 + strlen(labels) + 64);

	ck_assert_ptr_nonnull(text);
	size_t at = (size_t)sprintf(text, "[{\"targets\":[");
	for (int i = 0; i < count; i++)
		at += (size_t)sprintf(text + at, "%s\"10.0.%d.%d:8087\"", i > 0 ? "," : "", i / 250,
				      i % 250);
	sprintf(text + at, "],\"labels\":{%s}}]", labels);
	return text;
}

static size_t live_count(struct safestart *ss)
{
	struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
	size_t count = safestart_snapshot_size(live);

	safestart_snapshot_release(live);
	return count;
}

static void keep(const char *document, const char *max_bytes)
{
	struct app app;
	struct safestart *ss = start(&app, max_bytes, "max_nodes=2000");

	struct safestart_outcome outcome = push_and_wait(ss, document);
	ck_assert_msg(outcome.error == 0, "%s",
		      outcome.message); /* the first load may be quicker */
	close_now(ss);
}

static off_t kept_size(void)
{
	struct stat status;

	return stat(path, &status) == 0 ? status.st_size : -1;
}

START_TEST(p9_what_is_kept_can_be_read_under_the_same_settings)
{
	/* Many groups of one node are longer than one group; a control character is six bytes. */
	char label[2000] = "\"x\":\"";
	struct app app;

	for (int i = 0; i < 300; i++)
		strcat(label, "\\u0001");
	strcat(label, "\"");
	char *documents[] = {group_of(MANY, ""), group_of(150, label)};
	const size_t counts[] = {MANY, 150};
	for (size_t i = 0; i < 2; i++) {
		keep(documents[i], "max_bytes=64KiB");
		ck_assert_int_gt(kept_size(), 64 << 10);
		struct safestart *ss = start(&app, "max_bytes=64KiB", "max_nodes=2000");
		ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
		ck_assert_uint_eq(live_count(ss), counts[i]);
		close_now(ss);
		free(documents[i]);
		remove_scratch();
	}
}
END_TEST

static struct safestart_outcome announce_one(struct safestart *ss)
{
	uint64_t ticket;

	ck_assert_int_eq(safestart_node_announce(ss, "new-1", "10.9.9.9:1", NULL, &ticket), 0);
	return answer(ss, ticket);
}

/* The file is broken, or larger than the settings allow today. */
START_TEST(p9_one_announcement_does_not_replace_a_kept_set_that_cannot_be_read)
{
	static const char *const settings[][2] = {{"max_bytes=64MiB", "max_nodes=100000"},
						  {"max_bytes=64MiB", "max_nodes=10"},
						  {"max_bytes=1KiB", "max_nodes=10"}};
	char *document = group_of(MANY, "");

	for (size_t i = 0; i < 3; i++) {
		struct app app;
		keep(document, "max_bytes=64MiB");
		if (i == 0)
			ck_assert_int_eq(truncate(path, kept_size() - 1), 0);
		off_t size = kept_size();
		struct safestart *ss = start(&app, settings[i][0], settings[i][1]);
		struct safestart_outcome outcome = announce_one(ss);
		ck_assert_int_eq(outcome.verdict, SAFESTART_REFUSED);
		ck_assert_msg(strstr(outcome.message, "cannot use last_good") != NULL &&
				      strstr(outcome.message, "these 1 nodes are fewer than its "
							      "2000; to apply them anyway: "
							      "SAFESTART_FORCE") != NULL,
			      "%s", outcome.message);
		ck_assert_uint_eq(safestart_generation(ss), 0);
		ck_assert(app_logged(&app, "cannot use last_good"));
		ck_assert_int_eq(kept_size(), size);
		ck_assert_int_eq(answer(ss, safestart_request(ss, SAFESTART_FORCE, NULL)).verdict,
				 SAFESTART_APPLIED);
		close_now(ss);
		ck_assert(file_says(path, "new-1"));
		remove_scratch();
	}
	free(document);
}
END_TEST

START_TEST(p9_a_broken_kept_file_that_is_mended_stands_in)
{
	struct app app;
	char *document = group_of(MANY, "");

	keep(document, "max_bytes=64MiB");
	ck_assert_int_eq(truncate(path, kept_size() - 1), 0);
	struct safestart *ss = start(&app, "max_bytes=64MiB", "max_nodes=2000");
	ck_assert_int_eq(announce_one(ss).error, -ERANGE);
	replace_file(path, document);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, -ERANGE);
	ck_assert_uint_eq(live_count(ss), MANY);
	close_now(ss);
	/* A set that is not smaller takes its place. */
	ck_assert_int_eq(truncate(path, kept_size() - 1), 0);
	ss = start(&app, "max_bytes=64MiB", "max_nodes=2000");
	ck_assert_int_eq(push_and_wait(ss, document).error, 0);
	close_now(ss);
	free(document);
}
END_TEST

START_TEST(p9_a_kept_file_that_cannot_be_opened_keeps_the_rails_up_until_it_can)
{
	struct app app;
	uint64_t ticket;
	char *document = group_of(MANY, "");

	path = scratch_path("kept.json");
	ck_assert_int_eq(symlink(path, path), 0); /* nobody can open that */
	struct safestart *ss = start(&app, "max_bytes=64MiB", "max_nodes=2000");
	ck_assert_int_eq(safestart_nodes_replace(ss, document, &ticket, NULL, 0), 0);
	struct safestart_outcome outcome = answer(ss, ticket);
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED); /* and retried */
	ck_assert_int_eq(outcome.error, -ELOOP);
	ck_assert_msg(strstr(outcome.message, "these 2000 nodes may be fewer than it has") != NULL,
		      "%s", outcome.message);
	ck_assert_int_eq(unlink(path), 0);
	EVENTUALLY(live_count(ss) == MANY); /* by itself */
	close_now(ss);
	free(document);
}
END_TEST

START_TEST(p9_what_could_not_be_read_again_is_not_written)
{
	struct app app;
	char incarnation[20000];

	memset(incarnation, 'i', sizeof(incarnation) - 1);
	incarnation[sizeof(incarnation) - 1] = '\0';
	struct safestart *ss = start(&app, "max_bytes=1KiB", "max_nodes=2");
	ck_assert_int_eq(announce_one(ss).error, 0);
	EVENTUALLY(file_says(path, "new-1"));
	ck_assert_int_eq(safestart_node_announce(ss, "new-2", "10.9.9.9:2", incarnation, NULL), 0);
	EVENTUALLY(app_logged(&app, "last_good is not up to date: it would have 20"));
	ck_assert_uint_eq(live_count(ss), 2);
	close_now(ss);
	ck_assert(!file_says(path, "new-2"));
}
END_TEST

START_TEST(p18_only_files_of_its_own_are_removed_beside_it)
{
	static const char *const of_others[] = {"kept.json.20240101.tmp",
						"kept.json.1.1.tmp",
						".kept.json.safestart",
						".kept.json.safestart.1.old",
						"kept.json.safestart.1.1",
						".kept.json.20240101.1.22",
						".other.json.safestart.1.1"};

	for (size_t i = 0; i < sizeof(of_others) / sizeof(of_others[0]); i++)
		write_file(scratch_path(of_others[i]), "of somebody else");
	write_file(scratch_path(".kept.json.safestart.1.1"), "of a process that was killed");
	char *document = group_of(2, "");
	keep(document, NULL);
	free(document);
	ck_assert_int_eq(access(scratch_path(".kept.json.safestart.1.1"), F_OK), -1);
	for (size_t i = 0; i < sizeof(of_others) / sizeof(of_others[0]); i++)
		ck_assert_msg(access(scratch_path(of_others[i]), F_OK) == 0, "%s", of_others[i]);
}
END_TEST

SUITE("kept", p9_what_is_kept_can_be_read_under_the_same_settings,
      p9_one_announcement_does_not_replace_a_kept_set_that_cannot_be_read,
      p9_a_broken_kept_file_that_is_mended_stands_in,
      p9_a_kept_file_that_cannot_be_opened_keeps_the_rails_up_until_it_can,
      p9_what_could_not_be_read_again_is_not_written,
      p18_only_files_of_its_own_are_removed_beside_it)
