/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every call fails once: each allocation and each system call of the library, one after another,
 * through the whole life of a handle. Whatever fails, there is a message, the live set stays
 * live, nothing is left behind, and the handle does its job as soon as the calls work again. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <safestart/source.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "stress/life.h"

/* ---- Scenes: whole lives ---- */

static const char *kept;                             /* file of last_good */
#define OF_A_DEAD_PROCESS ".kept.json.safestart.1.1" /* beside it */

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
	UNTIL(has_words(kept, "storage-9.example.org:1") && has_words(kept, "\"d\"") &&
	      has_words(kept, "i1"));
	closes();
}

static void pushed_driven(void)
{
	now.driven = true;
	pushed();
}

/* Nothing of ours is called; what is told comes by the descriptor, or the thread waits for ever. */
static void pushed_and_pulled(void)
{
	now.pulled = true;
	pushed();
}

/* A relative path belongs to the directory in which the handle was opened, and there is a link
 * on the way. */
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
	/* Everything else is repaired without a request. */
	set(conf, "reconcile",
	    now.site.call != NULL && (strcmp(now.site.call, "inotify_add_watch") == 0 ||
				      strcmp(now.site.call, "readlink") == 0)
		    ? "100ms"
		    : "0");
	opens(conf, false);
	ck_assert_int_eq(chdir(here), 0);
	answers(safestart_request_restart(now.ss), false);
	becomes("a b");
	replace_file(scratch_path("real.json"), ABC);
	answers(safestart_request_restart(now.ss), false);
	becomes("a b c");
	tells();
	UNTIL(has_words(kept, "storage-9.example.org:1"));
	if (now.lasting)
		failing_stop();
	/* From here on the file is watched, whatever was not available before. */
	answers(safestart_request_restart(now.ss), false);
	replace_file(scratch_path("real.json"), AB_MOVED); /* without a request */
	becomes("a b");
	UNTIL(has_words(kept, "storage-9.example.org:1") && !has_words(kept, "h3:1"));
	closes();
	/* What is repaired at once need not be logged. */
	TRUE(now.site.call == NULL ||
	     (strcmp(now.site.call, "inotify_add_watch") != 0 &&
	      strcmp(now.site.call, "readlink") != 0) ||
	     now.said_inotify || failing_injected() == 0);
}

static void from_file_driven(void)
{
	now.driven = true;
	from_file();
}

/* A process that starts while the source is unusable. */
static void from_kept(void)
{
	struct safestart_conf *conf = new_conf();
	char source[300];

	write_file(kept, AB);
	write_file(scratch_path(OF_A_DEAD_PROCESS), "[{");
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
	UNTIL(has_words(kept, "storage-9.example.org:1"));
	closes();
}

/* A source of the application, with settings of its own, that finishes later; so does prepare. */
static const char *handed_over;

static int added_open(void **state, const struct safestart_source_conf *conf, char *why,
		      size_t why_size, void *user_data)
{
	(void)why, (void)why_size, (void)user_data;
	*state = NULL;
	TRUE(strcmp(safestart_source_value(conf, "one"), "1") == 0 &&
	     strcmp(safestart_source_value(conf, "two"), "2") == 0);
	return 0;
}

static int added_gather(void *state, struct safestart_gather *gather)
{
	(void)state;
	safestart_gather_finish(gather,
				safestart_gather_json(gather, handed_over, strlen(handed_over)));
	return SAFESTART_LATER;
}

static void added_close(void *state)
{
	(void)state;
}

static void added(void)
{
	static const struct safestart_source_setting settings[] = {{"one", "", "first"},
								   {"two", "2", "second"},
								   {NULL, NULL, NULL}};
	static const struct safestart_source source = {.size = sizeof(source),
						       .scheme = "added",
						       .settings = settings,
						       .open = added_open,
						       .gather = added_gather,
						       .close = added_close};
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
	UNTIL(has_words(kept, "storage-9.example.org:1"));
	closes();
}

/* With a control socket, and one of a dead process in its directory. */
static void controlled(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct safestart_conf *conf = new_conf();
	char path[300];

	snprintf(path, sizeof(path), "%s/ctl", scratch());
	set(conf, "control", path);
	set(conf, "reconcile", "20ms"); /* how often it is checked */
	snprintf(path, sizeof(path), "%s/ctl/calls.%d.sock", scratch(), (int)getpid());
	opens(conf, false);
	UNTIL(asks(path, "{\"do\":\"status\"}\n", "\"next_run_in_seconds\""));
	pushes(AB, "a b");
	UNTIL(asks(path, "{\"do\":\"nodes\"}\n", "\"id\":\"b\",\"address\":\"h2:1\""));
	UNTIL(asks(path, "{\"do\":\"nodes\",\"id\":\"a\"}\n", "\"state\":\"applied\""));
	UNTIL(asks(path, "{\"do\":\"request\",\"wait\":true,\"reason\":\"a reason\"}\n",
		   "\"verdict\":\"unchanged\""));
	UNTIL(asks(path, "{\"do\":\"metrics\"}\n", "safestart_wedged_callbacks"));
	UNTIL(asks(path, "{\"do\":\"events\"}\n", "\"event\":\"outcome\""));
	UNTIL(asks(path, "no JSON\n", "\"error\":-22"));
	/* In one step: the library might be first to make its socket anew. */
	snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", scratch_path("dead"));
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(rename(address.sun_path, path), 0);
	close(dead); /* it is created again in its place, or beside it */
	static const char *const places[] = {"", "-2", "-3"};
	bool answered = false;
	for (int64_t begun = now_ms(); !answered; pass_a_moment()) {
		for (size_t i = 0; i < 3 && !answered; i++) {
			snprintf(path, sizeof(path), "%s/ctl/calls.%d%s.sock", scratch(),
				 (int)getpid(), places[i]);
			answered = asks(path, "{\"do\":\"status\"}\n", "\"next_run_in_seconds\"");
		}
		if (now.lasting && now_ms() > begun + 100)
			failing_stop();
		TRUE(now_ms() < begun + 20000);
	}
	closes();
}

/* With a process lock. */
static void locked(void)
{
	struct safestart_conf *conf = new_conf();

	set(conf, "lock", scratch_path("lock"));
	opens(conf, false);
	pushes(AB, "a b");
	pushes(ABC, "a b c");
	answers(safestart_request_restart(now.ss), false);
	closes();
}

/* And with shared outcomes, although there is no other process. */
static void shared(void)
{
	struct safestart_conf *conf = new_conf();

	set(conf, "lock", scratch_path("lock"));
	set(conf, "lock_share", "yes");
	set(conf, "source", "none");
	opens(conf, true);
	for (int i = 0; i < 3; i++)
		answers(safestart_request_restart(now.ss), false);
	closes();
}

static void shared_driven(void)
{
	now.driven = true;
	shared();
}

/* Opened and closed, with no request in between. */
static void idle(void)
{
	opens(new_conf(), false);
	closes();
}

/* ---- Playing them ---- */

/* The files of a dead process may stay for a while, if their removal failed. */
static bool leaves_nothing(bool but_the_dead)
{
	DIR *dir = opendir(scratch());
	bool clean = true;

	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		clean = clean && (strstr(entry->d_name, ".safestart.") == NULL ||
				  (but_the_dead && strcmp(entry->d_name, OF_A_DEAD_PROCESS) == 0));
	closedir(dir);
	return clean;
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static void play(const char *name, void (*scene)(void), const struct failing_site *site,
		 unsigned nth, int error, bool lasting)
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
	TRUE(!now.said_stale || (site != NULL && !is_to_go_unnoticed()));
	TRUE(leaves_nothing(site != NULL) || strcmp(now.site.call, "unlink") == 0);
}

struct tally {
	size_t sites, plays;
	unsigned injected;
};

/* `lasting`: the call keeps failing for a while, as when a resource is used up. */
static void play_site(const char *name, void (*scene)(void), const struct failing_site *site,
		      bool lasting, struct tally *tally)
{
	bool thorough = repeat(1) > 1, jansson = strcmp(site->call, "jansson") == 0;
	/* The first and the last time; jansson has one place for all its allocations; and every
	 * written file may be overwritten soon. */
	unsigned step = thorough || strcmp(site->call, "write") == 0 ? 1
			: jansson                                    ? 11
			: site->hits > 1                             ? site->hits - 1
								     : 1;
	const int *errors = failing_errors(site->call);

	for (size_t e = 0; errors[e] != 0 && (thorough || e < 3); e++) {
		for (unsigned nth = 1; nth <= site->hits && nth <= 500 &&
				       (thorough || e == 0 || nth == 1 || step == 1);
		     nth += step) {
			play(name, scene, site, nth, errors[e], false);
			tally->injected += failing_injected();
			tally->plays++;
		}
	}
	if ((lasting || thorough) && errors[0] != EINTR) { /* a signal cannot last */
		play(name, scene, site, 1, errors[0], true);
		tally->injected += failing_injected();
		tally->plays++;
	}
	tally->sites++;
}

static void play_all(const char *name, void (*scene)(void), size_t least)
{
	static struct failing_site sites[512];
	struct tally tally = {0};

	failing_take_jansson();
	play(name, scene, NULL, 0, 0, false);
	size_t count = failing_sites(sites, 512);
	for (size_t i = 0; i < count; i++) {
		bool first = true; /* among the places of this call */
		for (size_t j = 0; j < i; j++)
			first = first && strcmp(sites[j].call, sites[i].call) != 0;
		play_site(name, scene, &sites[i], first, &tally);
	}
	remove_scratch();
	/* It reports where the memory is from; that takes its time. */
	if (__lsan_do_recoverable_leak_check != NULL)
		ck_assert_msg(__lsan_do_recoverable_leak_check() == 0, "%s: leaks", name);
	printf("%s: %zu places, %zu lives, %u calls failed\n", name, tally.sites, tally.plays,
	       tally.injected);
	fflush(stdout);
	/* It must not silently do nothing. */
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

START_TEST(p9_every_call_fails_once_with_a_control_socket)
{
	play_all("controlled", controlled, 70);
}
END_TEST

START_TEST(p9_every_call_fails_once_with_a_lock)
{
	play_all("locked", locked, 45);
}
END_TEST

START_TEST(p9_every_call_fails_once_with_a_lock_that_is_shared)
{
	play_all("shared", shared, 35);
}
END_TEST

START_TEST(p9_every_call_fails_once_with_a_lock_that_is_shared_and_the_applications_own_loop)
{
	play_all("shared, driven", shared_driven, 35);
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

/* Nothing of a node is lost, whichever allocation of its reading fails; and jansson, whose readers
 * lose a byte then, is not asked. */
START_TEST(p9_no_byte_of_a_node_is_lost_for_want_of_memory)
{
	const char *document = "[{\"targets\":[\"storage-17.rack-4.example.org:8087\"],\"labels\":{"
			       "\"id\":\"storage-node-number-seventeen-of-them\",\"zone\":\"\"}},{"
			       "\"targets\":[\"nowhere\"]},{\"targets\":[\"x:1\"],\"labels\":{"
			       "\"id\":\"x\"}},{\"targets\":[\"x:2\"],\"labels\":{\"id\":\"x\"}}]";
	static struct failing_site sites[64];
	unsigned failed = 0;
	char why[256];

	failing_take_jansson();
	struct safestart *ss = open_with(NULL, "thread=no", "debounce=0", NULL);
	failing_forget();
	ck_assert_int_eq(safestart_nodes_replace(ss, document, NULL, why, sizeof(why)), 0);
	size_t count = failing_sites(sites, 64);
	for (size_t i = 0; i < count; i++) {
		ck_assert_str_ne(sites[i].call, "jansson");
		if (failing_errors(sites[i].call)[0] != ENOMEM)
			continue;
		for (unsigned nth = 1; nth <= sites[i].hits; nth++, failed++) {
			failing_forget();
			failing_arm(&sites[i], nth, ENOMEM, false);
			int error = safestart_nodes_replace(ss, document, NULL, why, sizeof(why));
			ck_assert_uint_eq(failing_injected(), 1);
			failing_stop();
			/* What cannot be given back is kept, which is no error. */
			ck_assert(error == 0 || (error == -ENOMEM && strstr(why, "out of memory")));
			ck_assert(error < 0 || strcmp(sites[i].call, "realloc") == 0);
			ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, 0);
			struct safestart_snapshot *live = safestart_snapshot_acquire(ss);
			const struct safestart_node *node =
				safestart_snapshot_find(live,
							"storage-node-number-seventeen-of-them");
			ck_assert_str_eq(safestart_node_host(node),
					 "storage-17.rack-4.example.org");
			safestart_snapshot_release(live);
		}
	}
	ck_assert_uint_ge(failed, 10);
	close_now(ss);
}
END_TEST

START_TEST(p9_an_announcement_without_memory_changes_nothing)
{
	static struct failing_site sites[64];
	unsigned failed = 0;

	struct safestart *ss = open_with(NULL, "thread=no", "debounce=0", NULL);
	failing_forget();
	ck_assert_int_eq(safestart_node_announce(ss, "a", "a:1", NULL, NULL), 0);
	size_t count = failing_sites(sites, 64);
	for (size_t i = 0; i < count; i++) {
		if (failing_errors(sites[i].call)[0] != ENOMEM)
			continue;
		for (unsigned nth = 1; nth <= sites[i].hits; nth++, failed++) {
			failing_forget();
			failing_arm(&sites[i], nth, ENOMEM, false);
			int error = safestart_node_announce(ss, "b", "b:1", NULL, NULL);
			unsigned injected = failing_injected();
			failing_stop();
			/* The set of the first announcement had to be made; the second one edits
			 * it. */
			ck_assert_int_eq(error, injected > 0 ? -ENOMEM : 0);
			ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, 0);
			ck_assert_str_eq(live_ids(ss), error < 0 ? "a" : "a b");
			ck_assert_int_eq(safestart_node_withdraw(ss, "b", NULL),
					 error < 0 ? -ENOENT : 0);
		}
	}
	ck_assert_uint_ge(failed, 4);
	close_now(ss);
}
END_TEST

static void every_withdrawal_without_memory(struct safestart *ss, int otherwise, unsigned *failed)
{
	static struct failing_site sites[64];

	failing_forget();
	ck_assert_int_eq(safestart_node_withdraw(ss, "a", NULL), otherwise);
	size_t count = failing_sites(sites, 64);
	for (size_t i = 0; i < count; i++) {
		if (failing_errors(sites[i].call)[0] != ENOMEM)
			continue;
		for (unsigned nth = 1; nth <= sites[i].hits; nth++, (*failed)++) {
			if (otherwise == 0)
				ck_assert_int_eq(safestart_node_announce(ss, "a", "a:1", NULL,
									 NULL),
						 0);
			failing_forget();
			failing_arm(&sites[i], nth, ENOMEM, false);
			ck_assert_int_eq(safestart_node_withdraw(ss, "a", NULL), -ENOMEM);
			failing_stop();
		}
	}
}

START_TEST(p9_a_withdrawal_without_memory_changes_nothing)
{
	unsigned failed = 0;

	struct safestart *ss = open_with(NULL, "thread=no", "debounce=0", NULL);
	every_withdrawal_without_memory(ss, -ENOENT, &failed); /* of what is live */
	ck_assert_uint_ge(failed, 1);
	ck_assert_int_eq(safestart_node_announce(ss, "b", "b:1", NULL, NULL), 0);
	ck_assert_int_eq(safestart_node_announce(ss, "a", "a:1", NULL, NULL), 0);
	every_withdrawal_without_memory(ss, 0, &failed);
	ck_assert_uint_ge(failed, 3);
	ck_assert_int_eq(answer(ss, safestart_request_restart(ss)).error, 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	close_now(ss);
}
END_TEST

/* Attaches data, for which there is no memory. */
static int attach(struct safestart_run *run, void *user_data)
{
	const struct failing_site any = {.call = "calloc"};

	failing_forget();
	failing_arm(&any, 1, ENOMEM, false);
	safestart_run_set_data(run, user_data);
	ck_assert_uint_eq(failing_injected(), 1);
	failing_stop();
	return 0;
}

static void *retired;

static void note(void *data, void *user_data)
{
	(void)user_data;
	retired = data;
}

START_TEST(p9_a_generation_that_lost_its_data_does_not_go_live)
{
	int data;

	for (int i = 0; i < 2; i++) { /* with a `retire`, and without one */
		const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
							      .prepare = attach,
							      .retire = i == 0 ? note : NULL};
		struct safestart *ss =
			open_calling(&callbacks, &data, "thread=no", "debounce=0", NULL);
		retired = NULL;
		ck_assert_int_eq(push_and_wait(ss, AB).error, -ENOMEM);
		ck_assert_uint_eq(safestart_generation(ss), 0);
		close_now(ss);
		ck_assert_ptr_eq(retired, i == 0 ? &data : NULL);
	}
}
END_TEST

static int reject_b(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	ck_assert_int_eq(safestart_run_reject(run, "b", "does not answer"), 0);
	return 0;
}

START_TEST(p9_what_is_known_of_a_node_is_true_or_there_is_no_memory_for_it)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = reject_b};
	static struct failing_site sites[64];
	unsigned failed = 0;

	struct safestart *ss =
		open_calling(&callbacks, NULL, "thread=no", "debounce=0", "retry_min=0", NULL);
	ck_assert_int_eq(push_and_wait(ss, AB).verdict, SAFESTART_APPLIED);
	failing_forget();
	ck_assert_int_eq(safestart_node_state(ss, "b", NULL, 0), SAFESTART_NODE_QUARANTINED);
	size_t count = failing_sites(sites, 64);
	for (size_t i = 0; i < count; i++) {
		if (failing_errors(sites[i].call)[0] != ENOMEM)
			continue;
		failing_forget();
		failing_arm(&sites[i], 1, ENOMEM, false);
		failed += safestart_node_state(ss, "b", NULL, 0) == -ENOMEM;
		failing_stop();
		ck_assert_int_eq(safestart_node_state(ss, "a", NULL, 0), SAFESTART_NODE_APPLIED);
	}
	ck_assert_uint_ge(failed, 3);
	close_now(ss);
}
END_TEST

START_TEST(p15_a_run_without_a_thread_begins_as_soon_as_there_is_one)
{
	const struct failing_site any = {.call = "pthread_create"};
	struct safestart *ss = open_with(NULL, "debounce=0", "retry_min=1ms", NULL);

	failing_forget();
	failing_arm(&any, 1, EAGAIN, false);
	struct safestart_outcome outcome = push_and_wait(ss, AB);
	ck_assert_int_eq(outcome.error, -EAGAIN);
	ck_assert_msg(strstr(outcome.message, "thread") != NULL, "%s", outcome.message);
	ck_assert_uint_eq(failing_injected(), 1);
	failing_stop();
	EVENTUALLY(strcmp(live_ids(ss), "a b") == 0);
	close_now(ss);
}
END_TEST

/* The one thread that there is does what is left to do. */
START_TEST(p16_close_needs_no_second_thread)
{
	const struct failing_site any = {.call = "pthread_create"};
	struct safestart *ss = open_with(NULL, "reconcile=0", NULL);

	failing_forget();
	failing_arm(&any, 2, EAGAIN, true); /* the first one waits for readers */
	close_now(ss);
	ck_assert_uint_ge(failing_injected(), 1);
	failing_stop();
}
END_TEST

START_TEST(p24_every_call_fails_once_while_events_are_pulled)
{
	play_all("pulled", pushed_and_pulled, 60);
}
END_TEST

SUITE("calls", p24_every_call_fails_once_while_events_are_pulled,
      p9_every_call_fails_once_in_a_life_by_push,
      p9_every_call_fails_once_in_a_life_by_push_with_the_applications_own_loop,
      p9_every_call_fails_once_in_a_life_by_file,
      p9_every_call_fails_once_in_a_life_by_file_with_the_applications_own_loop,
      p9_every_call_fails_once_while_last_good_steps_in,
      p9_every_call_fails_once_with_a_source_of_the_applications_that_finishes_later,
      p9_every_call_fails_once_with_a_control_socket, p9_every_call_fails_once_with_a_lock,
      p9_every_call_fails_once_with_a_lock_that_is_shared,
      p9_every_call_fails_once_with_a_lock_that_is_shared_and_the_applications_own_loop,
      p9_every_call_fails_once_when_nothing_is_asked,
      p9_a_handle_opens_after_fork_handlers_could_not_be_registered,
      p9_no_byte_of_a_node_is_lost_for_want_of_memory,
      p9_an_announcement_without_memory_changes_nothing,
      p9_a_withdrawal_without_memory_changes_nothing,
      p9_a_generation_that_lost_its_data_does_not_go_live,
      p9_what_is_known_of_a_node_is_true_or_there_is_no_memory_for_it,
      p16_close_needs_no_second_thread, p15_a_run_without_a_thread_begins_as_soon_as_there_is_one)
