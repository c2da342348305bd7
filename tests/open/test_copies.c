/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two copies of the library in one process: the program's, and one in a plugin, which share
 * liburcu. */
#include <dlfcn.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "open/plugin.h"
#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

static void *load(struct plugin *plugin)
{
	struct plugin (*functions)(void);
	void *object = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);

	ck_assert_msg(object != NULL, "%s", dlerror());
	*(void **)(void *)&functions = dlsym(object, "plugin_functions");
	ck_assert_msg(functions != NULL, "%s", dlerror());
	*plugin = functions();
	ck_assert_msg(plugin->open != safestart_open, "the plugin uses the program's copy");
	return object;
}

static struct safestart *open_one(const struct plugin *copy)
{
	struct safestart *ss;
	struct safestart_conf *conf = conf_with("debounce=0", "max_shrink=100%", NULL);
	char why[256];

	/* Settings and handles have the same layout in both. */
	ck_assert_msg(copy->open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	return ss;
}

static bool push(const struct plugin *copy, struct safestart *ss, const char *json)
{
	uint64_t ticket;

	return copy->replace(ss, json, &ticket, NULL, 0) == 0 &&
	       copy->wait(ss, ticket, -1, NULL) == 0;
}

static size_t read_size(const struct plugin *copy, struct safestart *ss)
{
	size_t size = copy->size(copy->read_lock(ss));

	copy->read_unlock(ss);
	return size;
}

/* ---- Fork ---- */

/* Everything that takes liburcu's locks, in both copies, while the process forks. */
struct busy {
	struct plugin copy;
	struct safestart *ss;
	_Atomic bool *stop;
	_Atomic int rounds;
};

static void *read_once(void *argument)
{
	struct busy *busy = argument;

	(void)read_size(&busy->copy, busy->ss); /* registers this thread */
	return NULL;
}

static void *keep_busy(void *argument)
{
	struct busy *busy = argument;
	pthread_t reader;

	for (int i = 0; !atomic_load(busy->stop); i++) {
		if (!push(&busy->copy, busy->ss, i % 2 ? TWO : ONE) ||
		    pthread_create(&reader, NULL, read_once, busy) != 0)
			break;
		pthread_join(reader, NULL);
		atomic_fetch_add(&busy->rounds, 1);
	}
	return NULL;
}

static int child(const struct busy *busy)
{
	for (int i = 0; i < 2; i++) {
		if (busy[i].copy.after_fork(busy[i].ss) < 0)
			return 1;
		if (!push(&busy[i].copy, busy[i].ss, TWO))
			return 2;
		if (read_size(&busy[i].copy, busy[i].ss) != 2)
			return 3;
		if (busy[i].copy.close(busy[i].ss) != 0)
			return 4;
	}
	return 0;
}

/* `first`: which copy has the first handle. */
static void fork_with_both(int first)
{
	struct busy busy[2] = {{.copy = functions_of_this_copy()}, {.rounds = 0}};
	_Atomic bool stop = false;
	pthread_t threads[2];

	(void)load(&busy[1].copy);
	busy[first].ss = open_one(&busy[first].copy);
	busy[1 - first].ss = open_one(&busy[1 - first].copy);
	for (int i = 0; i < 2; i++) {
		busy[i].stop = &stop;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_busy, &busy[i]), 0);
	}
	for (int i = 0; i < repeat(30); i++) {
		int status, rounds = busy[0].rounds;
		pid_t pid = fork();
		if (pid == 0)
			leave_child(child(busy));
		ck_assert_int_gt(pid, 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
		EVENTUALLY(busy[0].rounds > rounds);
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_eq(busy[i].copy.close(busy[i].ss), 0);
	}
}

START_TEST(p17_two_copies_of_the_library_fork_together)
{
	fork_with_both(0);
}
END_TEST

START_TEST(p17_two_copies_of_the_library_fork_together_whichever_was_first)
{
	fork_with_both(1);
}
END_TEST

/* ---- Unloading ---- */

struct reader {
	struct plugin plugin;
	struct safestart *ss;
	_Atomic bool has_read, end;
};

static void *read_and_stay(void *argument)
{
	struct reader *reader = argument;

	(void)read_size(&reader->plugin, reader->ss);
	atomic_store(&reader->has_read, true);
	while (!atomic_load(&reader->end))
		pause_a_moment();
	return NULL;
}

START_TEST(p16_a_plugin_may_be_unloaded_while_threads_that_have_read_live_on)
{
	for (int round = 0; round < 3; round++) {
		struct reader reader = {0};
		pthread_t thread;
		int status;
		void *object = load(&reader.plugin);

		reader.ss = open_one(&reader.plugin);
		ck_assert(push(&reader.plugin, reader.ss, ONE));
		ck_assert_int_eq(pthread_create(&thread, NULL, read_and_stay, &reader), 0);
		EVENTUALLY(reader.has_read);
		ck_assert_int_eq(reader.plugin.close(reader.ss), 0);
		ck_assert_int_eq(dlclose(object), 0);
		/* The plugin's copy was the first to register the fork handlers of both. */
		struct plugin own = functions_of_this_copy();
		struct safestart *ss = open_one(&own);
		ck_assert(push(&own, ss, ONE));
		pid_t pid = fork();
		if (pid == 0) {
			alarm(60);
			leave_child(own.after_fork(ss) == 0 && push(&own, ss, TWO) &&
						    own.close(ss) == 0
					    ? 0
					    : 1);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
		ck_assert_int_eq(own.close(ss), 0);
		atomic_store(&reader.end, true);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
}
END_TEST

SUITE("copies", p17_two_copies_of_the_library_fork_together,
      p17_two_copies_of_the_library_fork_together_whichever_was_first,
      p16_a_plugin_may_be_unloaded_while_threads_that_have_read_live_on)
