/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* source=file: the content decides whether a file has changed. Its times may be anybody's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/attitude.h"
#include "support/support.h"

#define NODE(id) "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"" id "\"}}]"

static struct safestart *follow(struct app *app, const char *reconcile, const char *retry)
{
	char source[300];

	app_init(app);
	snprintf(source, sizeof(source), "source=file:%s", scratch_path("nodes.json"));
	struct safestart *ss =
		open_with(app, source, "debounce=0", "max_shrink=100%", reconcile, retry, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 60000), 0);
	return ss;
}

static struct safestart_outcome ask(struct safestart *ss, uint32_t flags)
{
	return answer(ss, safestart_request(ss, flags, NULL));
}

static void hold_live(struct safestart *ss, const char *ids)
{
	struct safestart_outcome outcome = ask(ss, 0);

	ck_assert_msg(strcmp(live_ids(ss), ids) == 0, "%s is live, not %s: %s", live_ids(ss), ids,
		      outcome.message);
}

/* ---- What is noticed ---- */

/* A page of the file in memory: a store into it makes no system call and, once it is dirty, no new
 * time of the file. */
static char *map_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ck_assert_int_eq(close(fd), 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	return memory;
}

static void store_id(char *memory, char id)
{
	strstr(memory, "\"id\"")[6] = id;
}

START_TEST(p2_stores_through_mmap_are_seen_by_a_request)
{
	struct app app;

	write_file(scratch_path("nodes.json"), NODE("a"));
	char *memory = map_file(scratch_path("nodes.json"));
	for (int stamps = 0; stamps < STAMPS_COUNT; stamps++) {
		attitude.stamps = stamps;
		store_id(memory, 'a');
		struct safestart *ss = follow(&app, "reconcile=0", "retry_min=0");
		for (char id = 'b'; id <= 'f'; id++) {
			store_id(memory, id);
			hold_live(ss, (const char[]){id, '\0'});
		}
		close_now(ss);
	}
	munmap(memory, 4096);
}
END_TEST

START_TEST(p15_stores_through_mmap_are_seen_by_reconcile)
{
	struct app app;

	attitude.stamps = STAMPS_STOPPED;
	write_file(scratch_path("nodes.json"), NODE("a"));
	char *memory = map_file(scratch_path("nodes.json"));
	struct safestart *ss = follow(&app, "reconcile=20ms", "retry_min=0");
	for (char id = 'b'; id <= 'f'; id++) {
		store_id(memory, id);
		EVENTUALLY(strcmp(live_ids(ss), (const char[]){id, '\0'}) == 0);
	}
	close_now(ss);
	munmap(memory, 4096);
}
END_TEST

START_TEST(p2_a_rewrite_is_seen_whatever_the_times_of_the_file_say)
{
	static const char *const texts[] = {NODE("a"), NODE("b")}, *const ids[] = {"a", "b"};
	struct app app;

	attitude.no_inotify = true;
	for (int stamps = 0; stamps < STAMPS_COUNT; stamps++) {
		attitude.stamps = stamps;
		write_file(scratch_path("nodes.json"), texts[0]);
		struct safestart *ss = follow(&app, "reconcile=0", "retry_min=0");
		for (int i = 1; i < 20; i++) {
			write_file(scratch_path("nodes.json"), texts[i % 2]);
			hold_live(ss, ids[i % 2]);
		}
		close_now(ss);
	}
}
END_TEST

START_TEST(p15_a_rewrite_is_seen_by_reconcile_whatever_the_times_of_the_file_say)
{
	struct app app;

	attitude.no_inotify = true;
	for (int stamps = 0; stamps < STAMPS_COUNT; stamps++) {
		attitude.stamps = stamps;
		write_file(scratch_path("nodes.json"), NODE("a"));
		struct safestart *ss = follow(&app, "reconcile=20ms", "retry_min=0");
		write_file(scratch_path("nodes.json"), NODE("b"));
		EVENTUALLY(strcmp(live_ids(ss), "b") == 0);
		close_now(ss);
	}
}
END_TEST

/* ---- What is the same ---- */

static unsigned parses_of_a_request(struct safestart *ss, uint32_t flags, int verdict)
{
	unsigned before = attitude.parses;

	ck_assert_int_eq(ask(ss, flags).verdict, verdict);
	return attitude.parses - before;
}

START_TEST(p7_what_did_not_change_is_not_parsed_again_unless_forced)
{
	struct app app;

	attitude.no_inotify = true;
	for (int stamps = 0; stamps < STAMPS_COUNT; stamps++) {
		attitude.stamps = stamps;
		write_file(scratch_path("nodes.json"), NODE("a"));
		struct safestart *ss = follow(&app, "reconcile=0", "retry_min=0");
		for (int i = 0; i < 3; i++) {
			ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_UNCHANGED), 0);
			replace_file(scratch_path("nodes.json"), NODE("a"));
			ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_UNCHANGED), 0);
			ck_assert_uint_eq(parses_of_a_request(ss, SAFESTART_FORCE,
							      SAFESTART_UNCHANGED),
					  1);
		}
		close_now(ss);
	}
}
END_TEST

START_TEST(p7_what_was_refused_is_not_parsed_again_and_what_failed_is_read_again)
{
	struct app app;

	attitude.no_inotify = true;
	write_file(scratch_path("nodes.json"), NODE("a"));
	struct safestart *ss = follow(&app, "reconcile=0", "retry_min=0");
	write_file(scratch_path("nodes.json"), "[{]");
	ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_REFUSED), 1);
	ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_REFUSED), 0);
	ck_assert_int_eq(unlink(scratch_path("nodes.json")), 0);
	ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_FAILED), 0);
	write_file(scratch_path("nodes.json"), "[{]");
	ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_REFUSED), 1);
	write_file(scratch_path("nodes.json"), NODE("a"));
	ck_assert_uint_eq(parses_of_a_request(ss, 0, SAFESTART_UNCHANGED), 1);
	close_now(ss);
}
END_TEST

START_TEST(what_is_too_large_is_refused_at_every_length_around_a_block)
{
	static const size_t around[] = {4096, 16 << 10, 32 << 10};
	struct app app;
	char *text = malloc((32 << 10) + 16), source[300], limit[40];

	app_init(&app);
	snprintf(source, sizeof(source), "source=file:%s", scratch_path("nodes.json"));
	for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
		snprintf(limit, sizeof(limit), "max_bytes=%zu", around[i]);
		for (int beyond = -2; beyond <= 2; beyond++) {
			size_t length = around[i] + (size_t)beyond;
			memset(text, ' ', length);
			memcpy(text, NODE("a"), strlen(NODE("a")));
			text[length] = '\0';
			write_file(scratch_path("nodes.json"), text);
			struct safestart *ss = open_with(&app, source, "debounce=0", "reconcile=0",
							 "retry_min=0", limit, NULL);
			for (int again = 0; again < 2; again++)
				ck_assert_int_eq(ask(ss, 0).error, beyond > 0 ? -E2BIG : 0);
			close_now(ss);
		}
	}
	free(text);
}
END_TEST

/* ---- What changes while it is being read ---- */

static struct {
	pthread_mutex_t lock;
	const char *path; /* NULL: no more edits */
	unsigned edits;
} editor = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Nobody can see this by the times of the file. On any thread of the library. */
static void edit(void)
{
	char text[100];

	pthread_mutex_lock(&editor.lock);
	int fd = editor.path != NULL ? open(editor.path, O_WRONLY | O_CLOEXEC) : -1;
	snprintf(text, sizeof(text), NODE("%06u"), editor.edits++);
	if (fd >= 0) {
		(void)!pwrite(fd, text, strlen(text), 0);
		close(fd);
	}
	pthread_mutex_unlock(&editor.lock);
}

/* NULL: no more. A thread that is on its way to an edit makes none, then. */
static void edit_from_now_on(const char *path)
{
	pthread_mutex_lock(&editor.lock);
	editor.path = path;
	pthread_mutex_unlock(&editor.lock);
	attitude_between(path != NULL ? edit : NULL);
}

START_TEST(p9_what_changes_while_it_is_being_read_is_named_and_read_again)
{
	struct app app;

	attitude.no_inotify = true;
	attitude.stamps = STAMPS_STOPPED;
	write_file(scratch_path("nodes.json"), NODE("a"));
	struct safestart *ss = follow(&app, "reconcile=0", "retry_min=0");
	write_file(scratch_path("nodes.json"), NODE("b"));
	edit_from_now_on(scratch_path("nodes.json"));
	struct safestart_outcome outcome = ask(ss, 0);
	edit_from_now_on(NULL);
	ck_assert_int_eq(outcome.verdict, SAFESTART_FAILED);
	ck_assert_int_eq(outcome.error, -EAGAIN);
	ck_assert_msg(strstr(outcome.message, "it changed while it was being read") != NULL, "%s",
		      outcome.message);
	ck_assert_str_eq(live_ids(ss), "a");
	write_file(scratch_path("nodes.json"), NODE("b"));
	hold_live(ss, "b");
	close_now(ss);
}
END_TEST

SUITE("content", p2_stores_through_mmap_are_seen_by_a_request,
      p15_stores_through_mmap_are_seen_by_reconcile,
      p2_a_rewrite_is_seen_whatever_the_times_of_the_file_say,
      p15_a_rewrite_is_seen_by_reconcile_whatever_the_times_of_the_file_say,
      p7_what_did_not_change_is_not_parsed_again_unless_forced,
      p7_what_was_refused_is_not_parsed_again_and_what_failed_is_read_again,
      what_is_too_large_is_refused_at_every_length_around_a_block,
      p9_what_changes_while_it_is_being_read_is_named_and_read_again)
