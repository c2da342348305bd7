/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the tests: waiting for events, a recording application, files in a directory of
 * their own. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <check.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>

/* What the sanitizers change: they reserve address space, keep freed memory, and the thread
 * sanitizer starts a thread. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#elif __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif

/* Under valgrind (tests/valgrind says so): everything is some twenty times slower, and malloc is
 * valgrind's. */
bool under_valgrind(void);

/* Waits until the condition is true. Checks again every millisecond; the limit is generous and
 * only for hangs. */
#define EVENTUALLY(condition)                                                                    \
	do {                                                                                     \
		int64_t limit_ = now_ms() + 120000;                                              \
		while (!(condition)) {                                                           \
			ck_assert_msg(now_ms() < limit_, "%s:%d: never came true: %s", __FILE__, \
				      __LINE__, #condition);                                     \
			pause_a_moment();                                                        \
		}                                                                                \
	} while (0)

int64_t now_ms(void); /* CLOCK_MONOTONIC */

/* How often to repeat: `times` in the suite, `times` x $SAFESTART_SOAK in a soak (tests/soak). */
int repeat(int times);
void pause_a_moment(void);

/* Settings from "key=value" strings, ended by NULL. */
struct safestart_conf *conf_with(const char *first, ...);

/* An application that records its callbacks, and does in them what the test says. */
struct app {
	_Atomic int prepares, restarts, outcomes, retires, retired_nodes, logs;
	_Atomic int warnings;                       /* log lines that an operator sees */
	_Atomic int inside, most_inside;            /* callbacks (but log) at the same time */
	_Atomic int prepare_result, restart_result; /* what the callbacks return */
	_Atomic bool hold;                          /* prepare stays inside while set */
	_Atomic int hold_ms;                        /* or for so long */
	/* Prepare hangs an allocation on each added and changed node and on the generation. */
	_Atomic bool hang_data;
	_Atomic bool dawdle;               /* every callback takes a moment */
	bool restart_enabled;              /* before it is used */
	const char *_Atomic reject;        /* id that prepare rejects */
	struct safestart_run *_Atomic run; /* of the newest prepare */
	pthread_mutex_t lock;
	struct safestart_outcome first, newest; /* guarded by lock */
	char log[1 << 17]; /* guarded by lock; lines, the oldest go when it is full */
};

void app_init(struct app *app);
void app_use(struct app *app, struct safestart_conf *conf);
/* In a forked child: a callback of the parent may have held its lock. */
void app_after_fork(struct app *app);
/* A forked child ends here: without the parent's buffers and exit handlers. */
_Noreturn void leave_child(int status);
/* It says what is wrong by its exit code, the line; never 0. */
#define CHILD_CHECK(condition)                           \
	do {                                             \
		if (!(condition))                        \
			leave_child(__LINE__ % 255 + 1); \
	} while (0)
void await_child(pid_t child); /* fails the test unless nothing was wrong */

/* A thread that reads until it is told to leave. */
struct borrower {
	struct safestart *ss;
	_Atomic bool inside, leave;
};
void *borrow_until_told(void *borrower);

bool app_logged(struct app *app, const char *words);

/* Open with these settings and that application (NULL: none); fails the test with the reason. */
struct safestart *open_with(struct app *app, const char *first, ...);
/* The same with callbacks of the test's own. */
struct safestart *open_calling(const struct safestart_callbacks *callbacks, void *user_data,
			       const char *first, ...);
/* Fails the test unless it is 0; where run_timeout is short, a busy machine may need a second call.
 */
void close_now(struct safestart *ss);

/* Wait for a ticket's answer. */
struct safestart_outcome answer(struct safestart *ss, uint64_t ticket);
/* Push a document, wait, and return the answer. */
struct safestart_outcome push_and_wait(struct safestart *ss, const char *json);
/* A document of `count` nodes n0, n1, ... free() it. */
char *document_of(int count);
/* Ids of the live snapshot, separated by blanks; a static buffer. */
const char *live_ids(struct safestart *ss);

/* A directory of the test's own, removed at the end; a path in it (static buffers, four at a time).
 */
const char *scratch(void);
const char *scratch_path(const char *name);
void write_file(const char *path, const char *text);   /* in place */
void replace_file(const char *path, const char *text); /* by rename */
bool file_says(const char *path, const char *words);   /* in its first 4 KiB */
void remove_scratch(void);

/* Does this thread (0: not known yet) wait for something? */
bool is_asleep(pid_t task);

int open_descriptors(void);
int threads_alive(void);  /* an emulator and the sanitizers have some of their own: compare */
size_t small_stack(void); /* of a server's thread: 64 KiB, where the system allows so little */

/* Checked fixture: neither a descriptor nor a thread is left behind. */
void leak_setup(void);
void leak_teardown(void);

/* A suite's main. */
int run_suite(const char *name, const TTest *const *tests, size_t count);
#define SUITE(name, ...)                                                          \
	int main(void)                                                            \
	{                                                                         \
		const TTest *const tests_[] = {__VA_ARGS__};                      \
		return run_suite(name, tests_, sizeof(tests_) / sizeof(*tests_)); \
	}

#endif
