/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "support/support.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int repeat(int times)
{
	const char *soak = getenv("SAFESTART_SOAK");

	return soak != NULL && atoi(soak) > 0 ? times * atoi(soak) : times;
}

bool under_valgrind(void)
{
	return getenv("SAFESTART_VALGRIND") != NULL;
}

void pause_a_moment(void)
{
	poll(NULL, 0, 1);
}

static struct safestart_conf *conf_from(const char *setting, va_list rest)
{
	struct safestart_conf *conf = safestart_conf_new();
	char key[64], why[256];

	ck_assert_ptr_nonnull(conf);
	if (under_valgrind()) /* a document of ten megabytes may take longer than the default */
		ck_assert_int_eq(safestart_conf_set(conf, "run_timeout", "5m", NULL, 0), 0);
	for (; setting != NULL; setting = va_arg(rest, const char *)) {
		const char *equals = strchr(setting, '=');
		snprintf(key, sizeof(key), "%.*s", (int)(equals - setting), setting);
		/* Short timeouts are for runs that have to time out: because they wait, not
		 * because the machine is slow. */
		if (under_valgrind() && strcmp(key, "run_timeout") == 0)
			equals = "=3s";
		ck_assert_msg(safestart_conf_set(conf, key, equals + 1, why, sizeof(why)) == 0,
			      "%s: %s", setting, why);
	}
	return conf;
}

struct safestart_conf *conf_with(const char *first, ...)
{
	va_list rest;

	va_start(rest, first);
	struct safestart_conf *conf = conf_from(first, rest);
	va_end(rest);
	return conf;
}

/* ---- The recording application ---- */

static void enter(struct app *app)
{
	int inside = atomic_fetch_add(&app->inside, 1) + 1;

	if (inside > atomic_load(&app->most_inside))
		atomic_store(&app->most_inside, inside);
	if (atomic_load(&app->dawdle))
		pause_a_moment();
}

static void leave(struct app *app)
{
	atomic_fetch_sub(&app->inside, 1);
}

static int on_prepare(struct safestart_run *run, void *user_data)
{
	struct app *app = user_data;
	const struct safestart_node *node;
	const char *reject = atomic_load(&app->reject);
	bool refused = false;
	int kind;

	enter(app);
	atomic_store(&app->run, run);
	atomic_fetch_add(&app->prepares, 1);
	int64_t until = now_ms() + atomic_load(&app->hold_ms);
	while (atomic_load(&app->hold) || now_ms() < until)
		pause_a_moment();
	for (size_t i = 0; (node = safestart_run_change(run, i, &kind)) != NULL; i++) {
		if (kind == SAFESTART_REMOVED)
			continue;
		/* No ck_assert here: check takes a lock, and a child forked at that moment would
		 * wait for it for ever. */
		if (atomic_load(&app->hang_data) &&
		    safestart_run_set_node_data(run, node, malloc(16)) < 0)
			refused = true;
		if (reject != NULL && strcmp(reject, safestart_node_id(node)) == 0 &&
		    safestart_run_reject(run, reject, "told to") < 0)
			refused = true;
	}
	if (atomic_load(&app->hang_data))
		safestart_run_set_data(run, malloc(16));
	leave(app);
	return refused ? -EPROTO : atomic_load(&app->prepare_result);
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	struct app *app = user_data;

	(void)run;
	enter(app);
	atomic_fetch_add(&app->restarts, 1);
	leave(app);
	return atomic_load(&app->restart_result);
}

static void on_retire(void *data, void *user_data)
{
	struct app *app = user_data;

	enter(app);
	free(data);
	atomic_fetch_add(&app->retires, 1);
	leave(app);
}

static void on_retire_node(void *data, void *user_data)
{
	struct app *app = user_data;

	enter(app);
	free(data);
	atomic_fetch_add(&app->retired_nodes, 1);
	leave(app);
}

static void on_outcome(const struct safestart_outcome *outcome, void *user_data)
{
	struct app *app = user_data;

	enter(app);
	pthread_mutex_lock(&app->lock);
	app->newest = *outcome;
	if (app->outcomes == 0)
		app->first = *outcome;
	pthread_mutex_unlock(&app->lock);
	atomic_fetch_add(&app->outcomes, 1);
	leave(app);
}

static void on_log(int level, const char *message, void *user_data)
{
	struct app *app = user_data;

	atomic_fetch_add(&app->logs, 1);
	atomic_fetch_add(&app->warnings, level <= LOG_WARNING);
	pthread_mutex_lock(&app->lock);
	size_t length = strlen(app->log), more = strlen(message) + 2;
	if (length + more > sizeof(app->log)) {
		memmove(app->log, app->log + sizeof(app->log) / 2, sizeof(app->log) / 2);
		length = strlen(app->log);
	}
	snprintf(app->log + length, sizeof(app->log) - length, "%s\n", message);
	pthread_mutex_unlock(&app->lock);
}

void app_init(struct app *app)
{
	memset(app, 0, sizeof(*app));
	pthread_mutex_init(&app->lock, NULL);
}

void app_use(struct app *app, struct safestart_conf *conf)
{
	const struct safestart_callbacks callbacks = {
		.size = sizeof(callbacks),
		.prepare = on_prepare,
		.retire = on_retire,
		.log = on_log,
		.outcome = on_outcome,
		.retire_node = on_retire_node,
		.restart = app->restart_enabled ? on_restart : NULL,
	};

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, app), 0);
}

void app_after_fork(struct app *app)
{
	pthread_mutex_init(&app->lock, NULL);
}

_Noreturn void leave_child(int status)
{
	/* _exit() would lose what the child has covered. */
#ifdef COUNTED_BY_GCC
	extern void __gcov_dump(void);
	__gcov_dump();
#endif
#ifdef COUNTED_BY_CLANG
	extern int __llvm_profile_write_file(void);
	(void)__llvm_profile_write_file();
#endif
	_exit(status);
}

void await_child(pid_t child)
{
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		      "the child ended with %x (line %d mod 255)", (unsigned)status,
		      WEXITSTATUS(status) - 1);
}

void *borrow_until_told(void *argument)
{
	struct borrower *borrower = argument;

	safestart_read_lock(borrower->ss);
	borrower->inside = true;
	while (!borrower->leave)
		pause_a_moment();
	safestart_read_unlock(borrower->ss);
	return NULL;
}

bool app_logged(struct app *app, const char *words)
{
	pthread_mutex_lock(&app->lock);
	bool found = strstr(app->log, words) != NULL;
	pthread_mutex_unlock(&app->lock);
	return found;
}

/* Consumes the settings. */
static struct safestart *open_conf(struct safestart_conf *conf)
{
	struct safestart *ss;
	char why[256] = "";

	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	return ss;
}

struct safestart *open_with(struct app *app, const char *first, ...)
{
	va_list rest;

	va_start(rest, first);
	struct safestart_conf *conf = conf_from(first, rest);
	va_end(rest);
	if (app != NULL)
		app_use(app, conf);
	return open_conf(conf);
}

struct safestart *open_calling(const struct safestart_callbacks *callbacks, void *user_data,
			       const char *first, ...)
{
	va_list rest;

	va_start(rest, first);
	struct safestart_conf *conf = conf_from(first, rest);
	va_end(rest);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, callbacks, user_data), 0);
	return open_conf(conf);
}

void close_now(struct safestart *ss)
{
	int error;

	EVENTUALLY((error = safestart_close(ss)) != -ETIMEDOUT);
	ck_assert_int_eq(error, 0);
}

struct safestart_outcome answer(struct safestart *ss, uint64_t ticket)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};

	ck_assert_uint_ne(ticket, 0);
	int result = safestart_wait(ss, ticket, under_valgrind() ? 300000 : 30000, &outcome);
	ck_assert_msg(result == 0, "wait said %d: %s", result, outcome.message);
	return outcome;
}

struct safestart_outcome push_and_wait(struct safestart *ss, const char *json)
{
	uint64_t ticket = 0;
	char why[256] = "";

	ck_assert_msg(safestart_nodes_replace(ss, json, &ticket, why, sizeof(why)) == 0, "%s", why);
	return answer(ss, ticket);
}

char *document_of(int count)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	fputc('[', to);
	for (int i = 0; i < count; i++)
		fprintf(to, "%s{\"targets\":[\"10.0.%d.%d:8087\"],\"labels\":{\"id\":\"n%d\"}}",
			i > 0 ? "," : "", i / 250, i % 250 + 1, i);
	fputc(']', to);
	fclose(to);
	return text;
}

const char *live_ids(struct safestart *ss)
{
	static char ids[4096];
	const struct safestart_snapshot *live = safestart_read_lock(ss);

	ids[0] = '\0';
	for (size_t i = 0; i < safestart_snapshot_size(live); i++) {
		size_t length = strlen(ids);
		snprintf(ids + length, sizeof(ids) - length, "%s%s", i > 0 ? " " : "",
			 safestart_node_id(safestart_snapshot_at(live, i)));
	}
	safestart_read_unlock(ss);
	return ids;
}

/* ---- Files ---- */

static char directory[64];

const char *scratch(void)
{
	if (directory[0] == '\0') {
		snprintf(directory, sizeof(directory), "/tmp/safestart-test-XXXXXX");
		ck_assert_ptr_nonnull(mkdtemp(directory));
	}
	return directory;
}

const char *scratch_path(const char *name)
{
	static _Thread_local char paths[4][256];
	static _Thread_local unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", scratch(), name);
	return path;
}

void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	ck_assert_int_eq(fclose(file), 0);
}

void replace_file(const char *path, const char *text)
{
	char next[300];

	snprintf(next, sizeof(next), "%s.next", path);
	write_file(next, text);
	ck_assert_int_eq(rename(next, path), 0);
}

bool file_says(const char *path, const char *words)
{
	char text[4096] = "";
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return false;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return strstr(text, words) != NULL;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status, (void)kind, (void)where;
	return remove(path);
}

void remove_scratch(void)
{
	if (directory[0] != '\0')
		nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	directory[0] = '\0';
}

/* ---- Leaks ---- */

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	if (dir != NULL)
		closedir(dir);
	return count;
}

bool is_asleep(pid_t task)
{
	char path[64], state = '?';

	if (task == 0)
		return false;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)task);
	FILE *file = fopen(path, "re");
	if (file == NULL || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	if (file != NULL)
		fclose(file);
	return state == 'S';
}

int open_descriptors(void)
{
	return count_entries("/proc/self/fd");
}

int threads_alive(void)
{
	return count_entries("/proc/self/task") - 2;
}

size_t small_stack(void)
{
	/* The sanitizers' frames are larger than any server's. */
#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
	const long wanted = 1024 * 1024;
#else
	const long wanted = 64 * 1024;
#endif
	long least = sysconf(_SC_THREAD_STACK_MIN); /* 128 KiB on arm64 */

	return (size_t)(least > wanted ? least : wanted);
}

static int descriptors_before, threads_before;

void leak_setup(void)
{
	descriptors_before = open_descriptors();
	threads_before = threads_alive();
}

void leak_teardown(void)
{
	remove_scratch();
	ck_assert_int_eq(open_descriptors(), descriptors_before);
#ifndef UNDER_TSAN
	/* A joined thread may linger in /proc for a moment. */
	EVENTUALLY(threads_alive() == threads_before);
#else
	(void)threads_before;
#endif
}

/* $SAFESTART_PART, such as "2/3": of three parts of the tests the second. Each part has every third
 * test, so that tests which are alike are shared out. */
static bool is_in_this_part(size_t test)
{
	const char *text = getenv("SAFESTART_PART");
	size_t part, parts;

	if (text == NULL)
		return true;
	if (sscanf(text, "%zu/%zu", &part, &parts) != 2 || part < 1 || part > parts)
		abort();
	return test % parts == part - 1;
}

int run_suite(const char *name, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(name);

	for (size_t i = 0; i < count; i++) {
		if (!is_in_this_part(i))
			continue;
		TCase *tcase = tcase_create(tests[i]->name);
		tcase_add_checked_fixture(tcase, leak_setup, leak_teardown);
		tcase_set_timeout(tcase, repeat(under_valgrind() ? 600 : 120));
		tcase_add_test(tcase, tests[i]);
		suite_add_tcase(suite, tcase);
	}
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
