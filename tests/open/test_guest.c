/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an application may expect of the library in its process: signals, clocks, descriptors,
 * crashes; and that runs never overlap, whatever requests come. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* ---- P8: the program's clock_gettime() comes before libc's, for the library too ---- */

static _Atomic bool wall_clock_jumps;
static _Atomic unsigned wall_clock_reads;

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	if (clock == CLOCK_REALTIME && wall_clock_jumps)
		time->tv_sec +=
			(atomic_fetch_add(&wall_clock_reads, 1) % 2 ? 1 : -1) * 20L * 365 * 86400;
	return result;
}

START_TEST(p8_the_wall_clock_may_jump_by_decades)
{
	struct app app;
	const char *path = scratch_path("nodes.json");
	char setting[300];

	app_init(&app);
	wall_clock_jumps = true;
	write_file(path, ONE);
	snprintf(setting, sizeof(setting), "source=file:%s", path);
	app.prepare_result = -EIO;
	struct safestart *ss = open_with(&app, setting, "debounce=20ms", "retry_min=20ms",
					 "retry_max=20ms", "reconcile=50ms", NULL);
	int64_t begin = now_ms();
	EVENTUALLY(app.prepares >= 4); /* the first load, and retries 10 to 20 ms apart */
	ck_assert_int_ge(now_ms() - begin, 3 * 10 - 1);
	app.prepare_result = 0;
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	replace_file(path, TWO);
	EVENTUALLY(strcmp(live_ids(ss), "a b") == 0);
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	/* Debounce is 20 ms. */
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), 5, &outcome),
			 -ETIMEDOUT);
	ck_assert_int_eq(safestart_wait(ss, outcome.ticket + 1, 30000, &outcome), 0);
	close_now(ss);
}
END_TEST

/* ---- P1 ---- */

struct storm {
	struct safestart *ss;
	_Atomic bool stop;
};

static void *ask_all_the_time(void *argument)
{
	struct storm *storm = argument;
	uint32_t flags = 0;

	for (int i = 0; !storm->stop; i++) {
		flags = (flags + 1) % 4;
		safestart_request(storm->ss, flags, "storm");
		safestart_nodes_replace(storm->ss, i % 2 ? ONE : TWO, NULL, NULL, 0);
		if (i % 7 == 0)
			safestart_wait(storm->ss, safestart_request_restart(storm->ss), 50, NULL);
	}
	return NULL;
}

START_TEST(p1_runs_and_callbacks_never_overlap)
{
	struct app app;
	struct storm storm = {0};
	pthread_t threads[4];

	app_init(&app);
	app.hang_data = true;
	app.restart_enabled = true;
	app.dawdle = true;
	storm.ss = open_with(&app, "debounce=0", "retry_min=1ms", "retry_max=1ms", "run_timeout=1s",
			     NULL);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_all_the_time, &storm), 0);
	for (int i = 1; i <= 60; i++) {
		app.prepare_result = i % 3 == 0 ? -EIO : 0;
		app.restart_result = i % 5 == 0 ? -EIO : 0;
		EVENTUALLY(app.outcomes >= i * 5);
	}
	app.prepare_result = app.restart_result = 0;
	storm.stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(push_and_wait(storm.ss, TWO).verdict, SAFESTART_APPLIED);
	close_now(storm.ss);
	ck_assert_int_eq(app.most_inside, 1);
	ck_assert_int_eq(app.retires, app.prepares); /* p13 */
}
END_TEST

/* ---- P5 ---- */

static struct safestart *asked;
static _Atomic int signals_handled;

static _Atomic int signals_failed; /* ck_assert is not for signal handlers */

static void ask_from_handler(int signal)
{
	int saved = errno;

	(void)signal;
	errno = 12345;
	bool fine = safestart_request_restart(asked) != 0 &&
		    safestart_request(asked, SAFESTART_URGENT, "signal") != 0;
	safestart_snapshot_release(safestart_snapshot_acquire(asked));
	fine = fine && safestart_read_lock(asked) != NULL;
	safestart_read_unlock(asked);
	signals_failed += !fine || errno != 12345;
	signals_handled++;
	errno = saved;
}

START_TEST(p5_signal_handlers_may_ask_and_read_at_any_instant)
{
	struct sigaction action = {.sa_handler = ask_from_handler, .sa_flags = SA_RESTART};
	struct sigaction before;

	asked = open_with(NULL, "debounce=0", NULL);
	ck_assert_int_eq(sigaction(SIGHUP, &action, &before), 0);
	for (int i = 0; i < 300; i++) {
		uint64_t ticket;
		/* Only this thread can take it: the library's block every signal. */
		kill(getpid(), SIGHUP);
		ck_assert_int_eq(safestart_nodes_replace(asked, i % 2 ? ONE : TWO, &ticket, NULL,
							 0),
				 0);
		kill(getpid(), SIGHUP);
		answer(asked, ticket);
	}
	EVENTUALLY(signals_handled == 600);
	ck_assert_int_eq(signals_failed, 0);
	sigaction(SIGHUP, &before, NULL);
	close_now(asked);
}
END_TEST

/* ---- P16 ---- */

/* All but those that can't be blocked (KILL 9, STOP 19), the two libc keeps for itself (32, 33),
 * and crashes: ILL 4, TRAP 5, ABRT 6, BUS 7, FPE 8, SEGV 11, SYS 31. */
#define BLOCKED (~(0x0000000180040100ull | 0x00000000400004f8ull))

static bool blocks_as_it_should(const char *task)
{
	char path[300], line[256];
	unsigned long long blocked = BLOCKED; /* it has ended meanwhile */

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", task);
	FILE *file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "SigBlk: %llx", &blocked);
	if (file != NULL)
		fclose(file);
	return blocked == BLOCKED;
}

/* libc blocks all signals for a moment where a thread begins, or starts another. */
static void check_thread(const char *task)
{
	if (!under_valgrind()) /* it keeps masks of its own */
		EVENTUALLY(blocks_as_it_should(task));
}

static void check_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	char name[300], comm[64];

	while ((entry = readdir(dir)) != NULL) {
		snprintf(name, sizeof(name), "/proc/self/task/%s/comm", entry->d_name);
		FILE *file = entry->d_name[0] != '.' ? fopen(name, "re") : NULL;
		if (file == NULL)
			continue;
		if (fgets(comm, sizeof(comm), file) != NULL && strncmp(comm, "safestart-", 10) == 0)
			check_thread(entry->d_name);
		fclose(file);
	}
	closedir(dir);
}

START_TEST(p16_its_threads_block_signals_and_its_descriptors_close_on_exec)
{
	const char *path = scratch_path("nodes.json");
	char setting[300], control[300], socket_path[300];
	sigset_t before = {0}, after = {0};
	bool was_open[256];

	write_file(path, ONE);
	snprintf(setting, sizeof(setting), "source=file:%s", path);
	for (int fd = 0; fd < 256; fd++)
		was_open[fd] = fcntl(fd, F_GETFD) >= 0;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	snprintf(control, sizeof(control), "control=%s/ctl", scratch());
	snprintf(socket_path, sizeof(socket_path), "%s/ctl/api.%d.sock", scratch(), (int)getpid());
	struct safestart *ss = open_with(NULL, setting, control, "name=api", "debounce=0", NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
	replace_file(path, TWO);
	/* All four threads have started. */
	EVENTUALLY(safestart_generation(ss) == 2 && access(socket_path, F_OK) == 0);
	check_threads();
	for (int fd = 0; fd < 256; fd++)
		ck_assert(was_open[fd] || fcntl(fd, F_GETFD) < 0 ||
			  (fcntl(fd, F_GETFD) & FD_CLOEXEC));
	close_now(ss);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_int_eq(memcmp(&before, &after, sizeof(before)), 0);
}
END_TEST

static _Atomic int crashes_seen;

static void on_crash(int signal)
{
	(void)signal;
	crashes_seen++;
}

static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

#define CRASHES (sizeof(crash_signals) / sizeof(crash_signals[0]))

static int crash_in_prepare(struct safestart_run *run, void *user_data)
{
	(void)run, (void)user_data;
	for (size_t i = 0; i < CRASHES; i++)
		(void)raise(crash_signals[i]); /* to this thread */
	return 0;
}

START_TEST(p16_the_application_s_handler_sees_a_crash_in_a_callback)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = crash_in_prepare};
	struct sigaction handler = {.sa_handler = on_crash}, before[CRASHES];

	for (size_t i = 0; i < CRASHES; i++)
		sigaction(crash_signals[i], &handler, &before[i]);
	struct safestart *ss = open_calling(&callbacks, NULL, "debounce=0", NULL);
	ck_assert_int_eq(push_and_wait(ss, ONE).verdict, SAFESTART_APPLIED);
	ck_assert_int_eq(crashes_seen, CRASHES);
	close_now(ss);
	for (size_t i = 0; i < CRASHES; i++)
		sigaction(crash_signals[i], &before[i], NULL);
}
END_TEST

START_TEST(p16_two_handles_never_meet)
{
	struct app one, other;

	app_init(&one);
	app_init(&other);
	struct safestart *first = open_with(&one, "debounce=0", "name=one", NULL),
			 *second = open_with(&other, "debounce=0", "name=other", NULL);
	one.hold = true;
	ck_assert_int_eq(safestart_nodes_replace(first, ONE, NULL, NULL, 0), 0);
	EVENTUALLY(one.prepares == 1);
	/* While the first one's callback hangs. */
	ck_assert_int_eq(push_and_wait(second, TWO).verdict, SAFESTART_APPLIED);
	ck_assert_uint_eq(safestart_generation(first), 0);
	one.hold = false;
	close_now(second);
	EVENTUALLY(safestart_generation(first) == 1);
	close_now(first);
	ck_assert(app_logged(&one, "one: ") && !app_logged(&one, "other: "));
}
END_TEST

/* ---- A callback may come before open has returned ---- */

static struct safestart *handle; /* where most applications have it: written by open */
static _Atomic int early_callbacks, callbacks_without_handle;
static _Atomic bool opening_over;

static void use_the_handle(const struct safestart_outcome *outcome, void *user_data)
{
	(void)outcome, (void)user_data;
	if (handle == NULL)
		atomic_fetch_add(&callbacks_without_handle, 1);
	else
		safestart_read_lock(handle), safestart_read_unlock(handle);
	atomic_fetch_add(&early_callbacks, 1);
}

/* How many threads there are, by a call a signal handler may make. */
static nlink_t threads_now(void)
{
	struct stat status;

	return stat("/proc/self/task", &status) == 0 ? status.st_nlink : 0;
}

static nlink_t threads_before_open;
static volatile sig_atomic_t delayed;
static _Atomic unsigned handled;

/* Open unblocks signals again when its thread has started: a thread that is in this handler then
 * is late with the rest. */
static void on_delay(int signal)
{
	int saved = errno;

	(void)signal;
	atomic_fetch_add(&handled, 1);
	if (!delayed && threads_now() > threads_before_open) {
		delayed = 1;
		for (int i = 0; i < 5; i++)
			pause_a_moment();
	}
	errno = saved;
}

/* One signal at a time: it waits while open blocks them. */
static void *delay(void *opener)
{
	while (!atomic_load(&opening_over)) {
		unsigned before = atomic_load(&handled);
		pthread_kill(*(pthread_t *)opener, SIGUSR2);
		while (atomic_load(&handled) == before && !atomic_load(&opening_over))
			sched_yield();
	}
	return NULL;
}

START_TEST(a_callback_that_comes_before_open_has_returned_finds_the_handle)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .outcome = use_the_handle};
	struct sigaction slow = {.sa_handler = on_delay, .sa_flags = SA_RESTART};
	char setting[300], why[256];
	pthread_t opener = pthread_self(), delayer;

	write_file(scratch_path("nodes.json"), ONE);
	snprintf(setting, sizeof(setting), "source=file:%s", scratch_path("nodes.json"));
	struct safestart_conf *conf = conf_with(setting, NULL);
	safestart_conf_set_callbacks(conf, &callbacks, NULL);
	ck_assert_int_eq(sigaction(SIGUSR2, &slow, NULL), 0);
	for (int i = 0; i < repeat(40); i++) {
		int before = early_callbacks;

		atomic_store(&opening_over, false);
		ck_assert_int_eq(pthread_create(&delayer, NULL, delay, &opener), 0);
		handle = NULL;
		/* Ours, the delayer, and what a sanitizer has started. */
		if (i == 0)
			threads_before_open = threads_now();
		/* Those of the round before may linger. */
		EVENTUALLY(threads_now() == threads_before_open);
		delayed = 0;
		int error = safestart_open(&handle, conf, why, sizeof(why));
		atomic_store(&opening_over, true);
		pthread_join(delayer, NULL);
		ck_assert_msg(error == 0, "%s", why);
		EVENTUALLY(early_callbacks > before);
		close_now(handle);
	}
	safestart_conf_free(conf);
	ck_assert_int_eq(callbacks_without_handle, 0);
}
END_TEST

/* ---- P18 ---- */

static void apply_for_ever(const char *keep)
{
	char setting[300];

	snprintf(setting, sizeof(setting), "last_good=%s", keep);
	struct safestart *ss = open_with(NULL, "debounce=0", setting, NULL);
	for (int i = 0;; i++)
		push_and_wait(ss, i % 2 ? ONE : TWO);
}

START_TEST(p18_killed_at_any_instant_it_leaves_a_readable_last_good)
{
	const char *keep = scratch_path("last_good.json");
	char setting[300];

	snprintf(setting, sizeof(setting), "last_good=%s", keep);
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		if (child == 0) {
			apply_for_ever(keep);
			_exit(1);
		}
		EVENTUALLY(access(keep, R_OK) == 0);
		for (int moments = rand() % 20; moments > 0; moments--)
			pause_a_moment();
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		struct safestart *ss = open_with(NULL, setting, "debounce=0", NULL);
		ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
		ck_assert_ptr_nonnull(strstr("a b", live_ids(ss)));
		close_now(ss);
	}
}
END_TEST

SUITE("guest", p8_the_wall_clock_may_jump_by_decades, p1_runs_and_callbacks_never_overlap,
      p5_signal_handlers_may_ask_and_read_at_any_instant,
      p16_its_threads_block_signals_and_its_descriptors_close_on_exec,
      p16_the_application_s_handler_sees_a_crash_in_a_callback, p16_two_handles_never_meet,
      a_callback_that_comes_before_open_has_returned_finds_the_handle,
      p18_killed_at_any_instant_it_leaves_a_readable_last_good)
