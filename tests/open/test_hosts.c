/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile hosts: processes in which the library finds less than it is used to. What a host forbids
 * it forbids for good, so each test needs a process of its own. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "open/hostile.h"
#include "support/support.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define TWO                                                                                        \
	"[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}},{\"targets\":[\"10.0.0.2:1\"]," \
	"\"labels\":{\"id\":\"b\"}}]"

/* False: not here. The thread sanitizer has a thread of its own. */
static bool can_forbid_threads(void)
{
#ifdef UNDER_TSAN
	fprintf(stderr, "SKIPPED, and so not tested here: a sanitizer starts threads\n");
	return false;
#else
	bool forbidden = forbid_threads();
	if (!forbidden)
		fprintf(stderr, "SKIPPED, and so not tested here: seccomp: %s\n", strerror(errno));
	return forbidden;
#endif
}

/* ---- No threads ---- */

/* Lines that an operator sees about one thing. */
struct lines {
	const char *words;
	int seen, in_all;
};

static void count_lines(int level, const char *message, void *user_data)
{
	struct lines *lines = user_data;

	lines->in_all++;
	lines->seen += level <= LOG_WARNING && strstr(message, lines->words) != NULL;
}

static int hang_data(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	safestart_run_set_data(run, malloc(16));
	return 0;
}

static _Atomic int retired;

static void count_retired(void *data, void *user_data)
{
	(void)user_data;
	free(data);
	atomic_fetch_add(&retired, 1);
}

static struct safestart *open_driven(struct lines *lines)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .prepare = hang_data,
						      .retire = count_retired,
						      .log = count_lines};
	struct safestart_conf *conf = conf_with("thread=no", "debounce=0", "max_shrink=100%", NULL);
	struct safestart *ss;
	char why[256];

	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, lines), 0);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	return ss;
}

START_TEST(p13_without_threads_what_is_replaced_is_retired_by_the_thread_that_dispatches)
{
	struct lines lines = {.words = "cannot start the thread that waits for readers"};
	uint64_t ticket;
	int reloads = 40;

	if (!can_forbid_threads())
		return;
	struct safestart *ss = open_driven(&lines);
	for (int i = 0; i < reloads; i++) {
		ck_assert_int_eq(safestart_nodes_replace(ss, i % 2 ? TWO : ONE, &ticket, NULL, 0),
				 0);
		while (safestart_generation(ss) < (uint64_t)i + 1)
			ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	}
	while (atomic_load(&retired) < reloads - 1)
		ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	/* Nothing is due any more: the loop is quiet. */
	struct pollfd loop = {.fd = safestart_fd(ss), .events = POLLIN};
	while (poll(&loop, 1, 0) == 1)
		ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
	/* The 1st, 2nd, 4th, 8th … time. */
	ck_assert_int_ge(lines.seen, 1);
	ck_assert_int_le(lines.seen, 6);
	close_now(ss);
	ck_assert_int_eq(atomic_load(&retired), reloads);
	ck_assert_int_le(lines.seen, 6);
}
END_TEST

START_TEST(p13_without_threads_a_borrower_is_waited_for)
{
	struct lines lines = {.words = "cannot start the thread that waits for readers"};
	uint64_t ticket;

	if (!can_forbid_threads())
		return;
	struct safestart *ss = open_driven(&lines);
	ck_assert_int_eq(safestart_nodes_replace(ss, ONE, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	/* Owned: it has left the set, and is retired when it is released. */
	struct safestart_snapshot *owned = safestart_snapshot_acquire(ss);
	ck_assert_int_eq(safestart_nodes_replace(ss, TWO, &ticket, NULL, 0), 0);
	ck_assert_int_eq(safestart_wait(ss, ticket, -1, NULL), 0);
	struct pollfd loop = {.fd = safestart_fd(ss), .events = POLLIN};
	while (poll(&loop, 1, 0) == 1)
		ck_assert_int_eq(safestart_dispatch(ss, 0), 0);
	ck_assert_int_eq(atomic_load(&retired), 0);
	safestart_snapshot_release(owned);
	while (atomic_load(&retired) < 1)
		ck_assert_int_eq(safestart_dispatch(ss, 1000), 0);
	close_now(ss);
	ck_assert_int_eq(atomic_load(&retired), 2);
}
END_TEST

/* ---- A call that the host refuses ---- */

/* What the library and libc may use. membarrier() is not among them: liburcu ends the process when
 * it had it and loses it; nor is what libc cannot do without. */
static const long refused_calls[] = {
	SYS_accept4,        SYS_bind,
	SYS_clone3,         SYS_close,
	SYS_connect,        SYS_dup3,
	SYS_epoll_create1,  SYS_epoll_ctl,
	SYS_epoll_pwait,    SYS_eventfd2,
	SYS_fallocate,      SYS_fchmod,
	SYS_fcntl,          SYS_flock,
	SYS_fstat,          SYS_fsync,
	SYS_getcwd,         SYS_getdents64,
	SYS_getrandom,      SYS_inotify_add_watch,
	SYS_inotify_init1,  SYS_listen,
	SYS_lseek,          SYS_madvise,
	SYS_mkdirat,        SYS_openat,
	SYS_prctl,          SYS_pread64,
	SYS_prlimit64,      SYS_pwrite64,
	SYS_read,           SYS_recvfrom,
	SYS_renameat2,      SYS_sendto,
	SYS_socket,         SYS_statx,
	SYS_timerfd_create, SYS_timerfd_settime,
	SYS_uname,          SYS_unlinkat,
	SYS_write,
#ifdef __x86_64__ /* others have newer ones only, or other names */
	SYS_epoll_wait,     SYS_newfstatat,
	SYS_rename,
#endif
};
#define REFUSED (sizeof(refused_calls) / sizeof(refused_calls[0]))

static _Atomic int logged;

static void count_logged(int level, const char *message, void *user_data)
{
	(void)message, (void)user_data;
	atomic_fetch_add(&logged, level <= LOG_WARNING);
}

/* A whole life with everything that a handle has. The host may have taken what it cannot do
 * without: then it says so, fails in time, and closes. Returns 0, or the line that is wrong. */
static int live_without(long call, int error, struct safestart_conf *conf)
{
	struct safestart *ss;
	char why[256] = "";
	struct rusage used;

	alarm(100);
	if (!forbid_call(call, error))
		return 0;
	if (safestart_open(&ss, conf, why, sizeof(why)) < 0)
		return why[0] != '\0' ? 0 : __LINE__;
	(void)safestart_wait_ready(ss, 300);
	(void)safestart_wait(ss, safestart_request_restart(ss), 300, NULL);
	(void)safestart_read_lock(ss);
	safestart_read_unlock(ss);
	safestart_free(safestart_status_json(ss));
	int closed = -ETIMEDOUT; /* a busy machine may need a second call */
	for (int i = 0; i < 3 && closed == -ETIMEDOUT; i++)
		closed = safestart_close(ss);
	if (closed != 0 && closed != -ETIMEDOUT)
		return __LINE__;
	/* Nothing spins, in the processor or in the log. */
	if (getrusage(RUSAGE_SELF, &used) < 0 || used.ru_utime.tv_sec + used.ru_stime.tv_sec >= 2)
		return __LINE__;
	return atomic_load(&logged) < 60 ? 0 : __LINE__;
}

/* Not by leave_child(): a process that may not read or lock a file would overwrite what all others
 * have covered. */
static _Noreturn void end_without(int line)
{
	_exit(line == 0 ? 0 : line % 255 + 1);
}

START_TEST(p16_a_refused_system_call_ends_in_words_and_in_time)
{
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .log = count_logged};
	static const int errors[] = {EPERM, ENOSYS};
	char source[300], control[300], kept[300], lock[300];
	pid_t children[REFUSED][2];
	int status;

	if (under_valgrind()) /* it would be refused, too */
		return;
	for (size_t i = 0; i < REFUSED; i++) {
		for (size_t j = 0; j < 2; j++) {
			char name[64];
			snprintf(name, sizeof(name), "%ld.%d", refused_calls[i], errors[j]);
			const char *nodes = scratch_path(name);
			write_file(nodes, ONE);
			snprintf(source, sizeof(source), "source=file:%s", nodes);
			snprintf(control, sizeof(control), "control=%s.run", nodes);
			snprintf(kept, sizeof(kept), "last_good=%s.kept", nodes);
			snprintf(lock, sizeof(lock), "lock=%s.lock", nodes);
			struct safestart_conf *conf =
				conf_with("debounce=0", "run_timeout=1s", "retry_min=50ms", source,
					  control, kept, lock, NULL);
			safestart_conf_set_callbacks(conf, &callbacks, NULL);
			children[i][j] = fork();
			if (children[i][j] == 0)
				end_without(live_without(refused_calls[i], errors[j], conf));
			safestart_conf_free(conf);
		}
	}
	for (size_t i = 0; i < REFUSED; i++) {
		for (size_t j = 0; j < 2; j++) {
			ck_assert_int_eq(waitpid(children[i][j], &status, 0), children[i][j]);
			ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
				      "system call %ld, error %d: ended with %x (line %d mod 255)",
				      refused_calls[i], errors[j], (unsigned)status,
				      WEXITSTATUS(status) - 1);
		}
	}
}
END_TEST

/* ---- Threads with little, of a host that has set up its own ---- */

/* Everything that a handle does, with a document that is nested as deeply as one may be. */
static void *live(void *thread_setting)
{
	const char *nodes = scratch_path("nodes.json");
	char source[300], control[300], kept[300], document[200], why[256];
	struct safestart *ss;

	static const char open[] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
			  close[] = "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";

	snprintf(document, sizeof(document),
		 "[{\"targets\":[\"10.0.0.1:1\"],\"other\":%s%s,\"labels\":{\"id\":\"a\"}}]", open,
		 close);
	write_file(nodes, document);
	snprintf(source, sizeof(source), "source=file:%s", nodes);
	snprintf(control, sizeof(control), "control=%s.run", nodes);
	snprintf(kept, sizeof(kept), "last_good=%s.kept", nodes);
	struct safestart_conf *conf = conf_with("debounce=0", "max_shrink=100%", source, control,
						kept, thread_setting, NULL);
	ck_assert_msg(safestart_open(&ss, conf, why, sizeof(why)) == 0, "%s", why);
	safestart_conf_free(conf);
	ck_assert_int_eq(safestart_wait_ready(ss, -1), 0);
	replace_file(nodes, TWO);
	ck_assert_int_eq(safestart_wait(ss, safestart_request_restart(ss), -1, NULL), 0);
	ck_assert_str_eq(live_ids(ss), "a b");
	char *status = safestart_status_json(ss), *metrics = safestart_metrics_text(ss);
	ck_assert(status != NULL && metrics != NULL);
	safestart_free(status);
	safestart_free(metrics);
	close_now(ss);
	return NULL;
}

START_TEST(p16_small_stacks_are_enough)
{
	pthread_attr_t attributes;
	pthread_t thread;

	ck_assert_int_eq(pthread_attr_init(&attributes), 0);
	ck_assert_int_eq(pthread_attr_setstacksize(&attributes, small_stack()), 0);
	ck_assert_int_eq(pthread_setattr_default_np(&attributes), 0); /* the library's, too */
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_create(&thread, &attributes, live,
						i == 0 ? "thread=yes" : "thread=no"),
				 0);
		ck_assert_int_eq(pthread_join(thread, NULL), 0);
	}
	pthread_attr_destroy(&attributes);
}
END_TEST

START_TEST(p16_a_host_keeps_its_mask_and_the_signals_that_it_blocks)
{
	sigset_t all_but_one, mask, pending;

	sigfillset(&all_but_one);
	sigdelset(&all_but_one, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &all_but_one, NULL);
	kill(getpid(), SIGUSR1); /* for the host to take; any thread that does not block it dies */
	for (int i = 0; i < 2; i++)
		live(i == 0 ? "thread=yes" : "thread=no");
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&mask, SIGUSR2), 0);
	ck_assert_int_eq(sigismember(&mask, SIGUSR1), 1);
	ck_assert_int_eq(sigismember(&pending, SIGUSR1), 1);
}
END_TEST

SUITE("hosts", p13_without_threads_what_is_replaced_is_retired_by_the_thread_that_dispatches,
      p13_without_threads_a_borrower_is_waited_for,
      p16_a_refused_system_call_ends_in_words_and_in_time, p16_small_stacks_are_enough,
      p16_a_host_keeps_its_mask_and_the_signals_that_it_blocks)
