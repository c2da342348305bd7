/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every call fails once: each allocation and each system call of the library, one after another, through the whole life of a
 * handle. Whatever fails, it is said in words, what is live stays live, nothing is left behind, and the handle does its job
 * as soon as the calls work again. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failing.h"
#include "support.h"

/* Short words only: jansson 2.14 drops characters of longer ones when it has no memory, see tests/README.md. */
#define NODE(id, address) "{\"targets\":[\"" address "\"],\"labels\":{\"id\":\"" id "\",\"zone\":\"z\"}}"
#define AB "[" NODE("a", "h1:1") "," NODE("b", "h2:1") "]"
#define ABC "[" NODE("a", "h1:1") "," NODE("b", "h9:1") "," NODE("c", "h3:1") "]"
#define ABC_AND_BAD "[" NODE("a", "h1:1") "," NODE("b", "h9:1") "," NODE("c", "h3:1") "," NODE("r", "h4:1") "," NODE("x", "h5:0") "]"

/* What is being played, and what fails meanwhile. */
static struct {
	const char *scene;
	struct failing_site site; /* where NULL and no call: nothing fails */
	unsigned nth;
	int error;
	bool lasting;
	unsigned excused;
	struct safestart *ss;
	bool driven; /* thread=no */
	_Atomic int hung, retired, outcomes;
	_Atomic bool said_inotify;
} now;

static const char *what(void)
{
	static char text[256];
	Dl_info info = {0};

	if (now.site.call == NULL)
		return now.scene;
	dladdr(now.site.where, &info);
	snprintf(text, sizeof(text), "%s, %s at %#lx, time %u: %s%s", now.scene, now.site.call, (unsigned long)((const char *)now.site.where - (const char *)info.dli_fbase),
		 now.nth, now.error == FAILING_SHORT ? "short" : strerrorname_np(now.error), now.lasting ? ", lasting" : "");
	return text;
}

#define TRUE(condition) ck_assert_msg(condition, "%s: not so: %s", what(), #condition)

static void pass_a_moment(void)
{
	if (now.driven && now.ss != NULL)
		safestart_dispatch(now.ss, 1);
	else
		pause_a_moment();
}

/* As EVENTUALLY; what lasts is over after a while. */
#define UNTIL(condition)                                                                                      \
	do {                                                                                                  \
		int64_t begun_ = now_ms();                                                                    \
		while (!(condition)) {                                                                        \
			if (now.lasting && now_ms() > begun_ + 20)                                            \
				failing_stop();                                                               \
			ck_assert_msg(now_ms() < begun_ + 20000, "%s: never came true: %s", what(), #condition); \
			pass_a_moment();                                                                      \
		}                                                                                             \
	} while (0)

/* A step has failed: it may, if a call was made to fail, with its error and in words. It has to work the next time, or when what
 * lasts is over: twice is enough. */
static void excuse(int error, const char *words)
{
	ck_assert_msg(failing_injected() > now.excused, "%s: %d for no reason: %s", what(), error, words != NULL ? words : "");
	ck_assert_msg(error == -now.error, "%s: %d: %s", what(), error, words != NULL ? words : "");
	ck_assert_msg(words == NULL || strstr(words, safestart_strerror(error)) != NULL || (error == -ENOMEM && strstr(words, "out of memory") != NULL), "%s: %s", what(), words);
	if (!now.lasting || ++now.excused >= 2) {
		now.excused = failing_injected();
		failing_stop();
	}
}

/* ---- The application ---- */

/* Data of ours for a node, for the generation with NULL. */
static int hang(struct safestart_run *run, const struct safestart_node *node)
{
	void *data = malloc(8);

	now.hung++;
	if (node == NULL)
		safestart_run_set_data(run, data);
	int error = node != NULL ? safestart_run_set_node_data(run, node, data) : 0;
	if (error < 0) {
		free(data);
		now.hung--;
	}
	return error;
}

static int prepare(struct safestart_run *run, void *user_data)
{
	const struct safestart_node *node;
	int kind, error = 0;

	(void)user_data;
	for (size_t i = 0; error == 0 && (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind == SAFESTART_REMOVED)
			continue;
		error = hang(run, node);
		if (error == 0 && strcmp(safestart_node_id(node), "r") == 0)
			error = safestart_run_reject(run, "r", "told to");
	}
	return error < 0 ? error : hang(run, NULL);
}

static int prepare_later(struct safestart_run *run, void *user_data)
{
	safestart_run_finish(run, prepare(run, user_data));
	return SAFESTART_LATER;
}

static int restart(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	return 0;
}

static void retire(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	now.retired++;
}

static void outcome(const struct safestart_outcome *ended, void *user_data)
{
	(void)ended, (void)user_data;
	now.outcomes++;
}

static void log_line(int level, const char *message, void *user_data)
{
	(void)level, (void)user_data;
	if (strstr(message, "inotify") != NULL || strstr(message, "can't be watched") != NULL)
		now.said_inotify = true;
}

/* ---- Steps: each works in the end, or fails in words ---- */

static void set(struct safestart_conf *conf, const char *key, const char *value)
{
	char why[256];
	int error;

	while ((error = safestart_conf_set(conf, key, value, why, sizeof(why))) < 0)
		excuse(error, why);
}

static struct safestart_conf *new_conf(void)
{
	struct safestart_conf *conf;

	while ((conf = safestart_conf_new()) == NULL)
		excuse(-ENOMEM, NULL);
	set(conf, "name", "calls");
	set(conf, "debounce", "0");
	set(conf, "retry_min", "1ms");
	set(conf, "retry_max", "5ms");
	set(conf, "run_timeout", "10s");
	set(conf, "thread", now.driven ? "no" : "yes");
	return conf;
}

/* Consumes conf. */
static void opens(struct safestart_conf *conf, bool later)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks), .prepare = later ? prepare_later : prepare, .retire = retire,
		.log = log_line, .outcome = outcome, .retire_node = retire, .restart = later ? restart : NULL};
	int descriptors = open_descriptors(), error;
	char why[256];

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	while ((error = safestart_open(&now.ss, conf, why, sizeof(why))) < 0) {
		excuse(error, why);
		TRUE(now.ss == NULL && open_descriptors() == descriptors);
	}
	safestart_conf_free(conf);
}

/* Are these live? Until they are, it is what was live before. */
static bool are_live(const char *ids, const char *before)
{
	const char *live = live_ids(now.ss);
	bool so = strcmp(live, ids) == 0;

	ck_assert_msg(so || strcmp(live, before) == 0, "%s: neither %s nor %s: %s", what(), ids, before, live);
	return so;
}

static void becomes(const char *ids)
{
	char before[256];

	snprintf(before, sizeof(before), "%s", live_ids(now.ss));
	UNTIL(are_live(ids, before));
}

/* A request has one answer, and it is a true one. `refused`: the source is no good. */
static void answers(uint64_t ticket, bool refused)
{
	struct safestart_outcome ended = {.size = sizeof(ended)};

	TRUE(ticket != 0);
	int result = safestart_wait(now.ss, ticket, now.lasting ? 50 : 20000, &ended);
	if (result == -ETIMEDOUT && now.lasting) { /* there is no memory for a run, and thus none for an answer */
		failing_stop();
		result = safestart_wait(now.ss, ticket, 20000, &ended);
	}
	ck_assert_msg(result == 0, "%s: %d: %s", what(), result, ended.message);
	if (ended.verdict <= SAFESTART_UNCHANGED || (refused && ended.verdict == SAFESTART_REFUSED))
		return;
	ck_assert_msg(ended.verdict == SAFESTART_FAILED && strstr(ended.message, "tried again in") != NULL, "%s: %d: %s", what(), ended.verdict, ended.message);
	excuse(ended.error, ended.message);
}

static void pushes(const char *document, const char *ids)
{
	uint64_t ticket;
	char why[256];
	int error;

	while ((error = safestart_nodes_replace(now.ss, document, &ticket, why, sizeof(why))) < 0)
		excuse(error, why);
	answers(ticket, false);
	becomes(ids);
}

static void edits(const char *id, const char *address, const char *ids)
{
	uint64_t ticket;
	int error;

	while ((error = address != NULL ? safestart_node_announce(now.ss, id, address, "i1", &ticket) : safestart_node_withdraw(now.ss, id, &ticket)) < 0)
		excuse(error, NULL);
	answers(ticket, false);
	becomes(ids);
}

/* What is told is told whole, or not at all. */
static void tells(void)
{
	static const char *const parts[] = {"\"summary\":", "\"name\":\"calls\"", "\"version\":", "\"pid\":", "\"serves\":", "\"shut_down\":", "\"source\":",
		"\"generation\":", "\"behind_seconds\":", "\"requests\":", "\"runs\":{\"applied\":", "\"cancelled\":", "\"callback\":", "\"last\":{", "\"message\":", "\"run\":",
		"\"unfinished_later\":", "\"next_run_in_seconds\":", "\"oldest_reader\":", "\"last_good\":{", "\"id\":\"a\"", "\"id\":\"c\"", "\"address\":\"h9:1\""};
	char *text, *end, why[256];
	int state;

	while ((text = safestart_status_json(now.ss)) == NULL)
		excuse(-ENOMEM, NULL);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		ck_assert_msg(strstr(text, parts[i]) != NULL, "%s: no %s in %s", what(), parts[i], text);
	safestart_free(text);
	while ((text = safestart_metrics_text(now.ss)) == NULL)
		excuse(-ENOMEM, NULL);
	end = strstr(text, "safestart_wedged_callbacks{name=\"calls\"} ");
	TRUE(end != NULL && end[strlen(end) - 1] == '\n');
	safestart_free(text);
	while ((state = safestart_node_state(now.ss, "a", why, sizeof(why))) < 0)
		excuse(state, NULL);
	TRUE(state == SAFESTART_NODE_APPLIED);
	struct safestart_snapshot *live = safestart_snapshot_acquire(now.ss);
	while ((text = safestart_snapshot_json(live)) == NULL)
		excuse(-ENOMEM, NULL);
	safestart_snapshot_release(live);
	/* Up to "c"; "d" may follow. */
	ck_assert_msg(strncmp(text, ABC, strlen(ABC) - 1) == 0 && text[strlen(text) - 1] == ']', "%s: %s", what(), text);
	safestart_free(text);
}

static bool has_words(const char *path, const char *words)
{
	char text[1024] = "";
	FILE *file = fopen(path, "re");

	if (file != NULL) {
		text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
		fclose(file);
	}
	return strstr(text, words) != NULL;
}

static void closes(void)
{
	int64_t begun = now_ms();
	int result = safestart_close(now.ss);

	if (result == -ETIMEDOUT && now.lasting) { /* no thread for whatever has to be done */
		failing_stop();
		begun = now_ms();
		result = safestart_close(now.ss);
	}
	TRUE(result == 0 && now_ms() - begun < 8000);
	now.ss = NULL;
}

/* ---- Scenes: whole lives ---- */

static const char *kept; /* file of last_good */

static void pushed(void)
{
	struct safestart_conf *conf = new_conf();

	set(conf, "last_good", kept);
	opens(conf, false);
	pushes(AB, "a b");
	struct safestart_snapshot *owned = safestart_snapshot_acquire(now.ss);
	pushes(ABC_AND_BAD, "a b c");
	edits("r", NULL, "a b c");
	edits("x", NULL, "a b c");
	edits("d", "h6:1", "a b c d");
	TRUE(safestart_snapshot_size(owned) == 2);
	safestart_snapshot_release(owned);
	answers(safestart_request(now.ss, SAFESTART_FORCE, "a reason"), false);
	tells();
	UNTIL(has_words(kept, "h9:1") && has_words(kept, "\"d\"") && has_words(kept, "i1"));
	closes();
}

static void pushed_driven(void)
{
	now.driven = true;
	pushed();
}

/* The directory of a relative path is the one it was opened in, and there is a link on the way. */
static void from_file(void)
{
	struct safestart_conf *conf = new_conf();
	char here[PATH_MAX];

	write_file(scratch_path("real.json"), AB);
	(void)unlink(scratch_path("link.json"));
	ck_assert_int_eq(symlink("real.json", scratch_path("link.json")), 0);
	ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
	ck_assert_int_eq(chdir(scratch()), 0);
	set(conf, "source", "file:link.json");
	set(conf, "last_good", "kept.json");
	/* All the rest is made good without. */
	set(conf, "reconcile", now.site.call != NULL && (strcmp(now.site.call, "inotify_add_watch") == 0 || strcmp(now.site.call, "readlink") == 0) ? "100ms" : "0");
	opens(conf, false);
	ck_assert_int_eq(chdir(here), 0);
	answers(safestart_request_restart(now.ss), false);
	becomes("a b");
	replace_file(scratch_path("real.json"), ABC);
	answers(safestart_request_restart(now.ss), false);
	becomes("a b c");
	tells();
	UNTIL(has_words(kept, "h9:1"));
	if (now.lasting)
		failing_stop();
	answers(safestart_request_restart(now.ss), false); /* from here on it is watched, whatever was not to be had before */
	replace_file(scratch_path("real.json"), "[" NODE("a", "h1:1") "," NODE("b", "h9:1") "]"); /* nobody asks */
	becomes("a b");
	UNTIL(has_words(kept, "h9:1") && !has_words(kept, "h3:1"));
	closes();
	/* What is made good at once need not be said. */
	TRUE(now.site.call == NULL || (strcmp(now.site.call, "inotify_add_watch") != 0 && strcmp(now.site.call, "readlink") != 0) || now.said_inotify || failing_injected() == 0);
}

static void from_file_driven(void)
{
	now.driven = true;
	from_file();
}

/* A process that starts while the source is no good. */
static void from_kept(void)
{
	struct safestart_conf *conf = new_conf();
	char source[300];

	write_file(kept, AB);
	write_file(scratch_path("bad.json"), "[{");
	snprintf(source, sizeof(source), "file:%s", scratch_path("bad.json"));
	set(conf, "source", source);
	set(conf, "last_good", kept);
	set(conf, "reconcile", "0");
	opens(conf, false);
	UNTIL(safestart_generation(now.ss) == 1);
	becomes("a b");
	answers(safestart_request_restart(now.ss), true);
	replace_file(scratch_path("bad.json"), ABC);
	answers(safestart_request_restart(now.ss), true);
	becomes("a b c");
	UNTIL(has_words(kept, "h9:1"));
	closes();
}

/* A source of the application's, with settings of its own, that finishes later; so does prepare. */
static const char *handed_over;

static int added_open(void **state, const struct safestart_source_conf *conf, char *why, size_t why_size, void *user_data)
{
	(void)why, (void)why_size, (void)user_data;
	*state = NULL;
	TRUE(strcmp(safestart_source_value(conf, "one"), "1") == 0 && strcmp(safestart_source_value(conf, "two"), "2") == 0);
	return 0;
}

static int added_gather(void *state, struct safestart_gather *gather)
{
	(void)state;
	safestart_gather_finish(gather, safestart_gather_json(gather, handed_over, strlen(handed_over)));
	return SAFESTART_LATER;
}

static void added_close(void *state)
{
	(void)state;
}

static void added(void)
{
	static const struct safestart_source_setting settings[] = {{"one", "", "first"}, {"two", "2", "second"}, {NULL, NULL, NULL}};
	static const struct safestart_source source = {.size = sizeof(source), .scheme = "added", .settings = settings, .open = added_open,
		.gather = added_gather, .close = added_close};
	struct safestart_conf *conf = new_conf();
	char why[256];
	int error;

	while ((error = safestart_conf_add_source(conf, &source, NULL)) < 0)
		excuse(error, NULL);
	set(conf, "one", "1");
	set(conf, "source", "added:");
	set(conf, "last_good", kept);
	while ((error = safestart_check(conf, AB, why, sizeof(why))) < 0)
		excuse(error, why);
	handed_over = AB;
	opens(conf, true);
	answers(safestart_request_restart(now.ss), false);
	becomes("a b");
	handed_over = ABC;
	answers(safestart_request_restart(now.ss), false);
	becomes("a b c");
	tells();
	UNTIL(has_words(kept, "h9:1"));
	closes();
}

/* Opened and closed, and nothing asked in between. */
static void idle(void)
{
	opens(new_conf(), false);
	closes();
}

/* ---- Playing them ---- */

static bool leaves_nothing(void)
{
	DIR *dir = opendir(scratch());
	bool clean = true;

	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		clean = clean && strstr(entry->d_name, ".tmp") == NULL;
	closedir(dir);
	return clean;
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static void play(const char *name, void (*scene)(void), const struct failing_site *site, unsigned nth, int error, bool lasting)
{
	int descriptors, threads = threads_alive();

	memset(&now, 0, sizeof(now));
	now.scene = name;
	kept = "";
	remove_scratch();
	static char path[256];
	snprintf(path, sizeof(path), "%s/kept.json", scratch());
	kept = path;
	descriptors = open_descriptors();
	failing_forget();
	if (site != NULL) {
		now.site = *site;
		now.nth = nth;
		now.error = error;
		now.lasting = lasting;
		failing_arm(site, nth, error, lasting);
	}
	scene();
	failing_stop();
	TRUE(open_descriptors() == descriptors);
#ifndef UNDER_TSAN
	UNTIL(threads_alive() == threads);
#else
	(void)threads;
#endif
	TRUE(now.hung == now.retired);
	TRUE(leaves_nothing() || strcmp(now.site.call, "unlink") == 0);
}

struct tally {
	size_t sites, plays;
	unsigned injected;
};

static void play_site(const char *name, void (*scene)(void), const struct failing_site *site, struct tally *tally)
{
	bool thorough = repeat(1) > 1, jansson = strcmp(site->call, "jansson") == 0;
	/* The first and the last time; jansson has one place for everything. */
	unsigned step = thorough ? 1 : jansson ? 5 : site->hits > 1 ? site->hits - 1 : 1;
	const int *errors = failing_errors(site->call);

	for (size_t e = 0; errors[e] != 0 && (thorough || e < 3); e++) {
		for (unsigned nth = 1; nth <= site->hits && nth <= 500; nth += step) {
			play(name, scene, site, nth, errors[e], false);
			tally->injected += failing_injected();
			tally->plays++;
		}
	}
	if (errors[0] != EINTR) { /* that it lasts is nonsense */
		play(name, scene, site, 1, errors[0], true);
		tally->injected += failing_injected();
		tally->plays++;
	}
	tally->sites++;
	if (__lsan_do_recoverable_leak_check != NULL)
		ck_assert_msg(__lsan_do_recoverable_leak_check() == 0, "%s: leaks", what());
}

static void play_all(const char *name, void (*scene)(void), size_t least)
{
	static struct failing_site sites[512];
	struct tally tally = {0};

	failing_take_jansson();
	play(name, scene, NULL, 0, 0, false);
	size_t count = failing_sites(sites, 512);
	for (size_t i = 0; i < count; i++)
		play_site(name, scene, &sites[i], &tally);
	remove_scratch();
	printf("%s: %zu places, %zu lives, %u calls failed\n", name, tally.sites, tally.plays, tally.injected);
	fflush(stdout);
	/* Not silently nothing. */
	ck_assert_uint_ge(tally.sites, least);
	ck_assert_uint_ge(tally.injected, least);
}

START_TEST(p9_every_call_fails_once_in_a_life_by_push)
{
	play_all("pushed", pushed, 60);
}
END_TEST

START_TEST(p9_every_call_fails_once_in_a_life_by_push_with_the_applications_own_loop)
{
	play_all("pushed, driven", pushed_driven, 60);
}
END_TEST

START_TEST(p9_every_call_fails_once_in_a_life_by_file)
{
	play_all("from a file", from_file, 60);
}
END_TEST

START_TEST(p9_every_call_fails_once_in_a_life_by_file_with_the_applications_own_loop)
{
	play_all("from a file, driven", from_file_driven, 60);
}
END_TEST

START_TEST(p9_every_call_fails_once_while_last_good_steps_in)
{
	play_all("from last_good", from_kept, 50);
}
END_TEST

START_TEST(p9_every_call_fails_once_with_a_source_of_the_applications_that_finishes_later)
{
	play_all("added", added, 50);
}
END_TEST

START_TEST(p9_every_call_fails_once_when_nothing_is_asked)
{
	play_all("idle", idle, 20);
}
END_TEST

START_TEST(p9_a_handle_opens_after_fork_handlers_could_not_be_registered)
{
	const struct failing_site atfork = {.call = "pthread_atfork"};
	struct safestart *ss;
	char why[256] = "";

	failing_forget();
	failing_arm(&atfork, 1, ENOMEM, true);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(safestart_open(&ss, NULL, why, sizeof(why)), -ENOMEM);
		ck_assert_str_eq(why, "out of memory");
		ck_assert_ptr_null(ss);
	}
	ck_assert_uint_ge(failing_injected(), 3);
	failing_stop();
	ck_assert_int_eq(safestart_open(&ss, NULL, why, sizeof(why)), 0);
	close_now(ss);
}
END_TEST

SUITE("calls", p9_every_call_fails_once_in_a_life_by_push, p9_every_call_fails_once_in_a_life_by_push_with_the_applications_own_loop,
      p9_every_call_fails_once_in_a_life_by_file, p9_every_call_fails_once_in_a_life_by_file_with_the_applications_own_loop,
      p9_every_call_fails_once_while_last_good_steps_in, p9_every_call_fails_once_with_a_source_of_the_applications_that_finishes_later,
      p9_every_call_fails_once_when_nothing_is_asked, p9_a_handle_opens_after_fork_handlers_could_not_be_registered)
