/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lock file by itself: which path and which file may be one, and what is said of its holder. */
#include "lock/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

#define MAGIC "safestart lock 1\n"
#define SECOND INT64_C(1000000000)

static struct lock_file file;
static char why[256];

/* What becomes of a file of these bytes. */
static int ready_with(const char *bytes, size_t length)
{
	int fd = open(scratch_path("lock"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
	close(fd);
	lock_file_init(&file, scratch_path("lock"));
	return lock_file_ready(&file, why, sizeof(why));
}

/* ---- Paths ---- */

START_TEST(a_path_that_can_never_be_a_file_is_refused)
{
	static const char *const directories[] = {"", "/", "a/", ".", "a/.", "..", "/run/.."};
	char base[NAME_MAX + 2], path[PATH_MAX + 1];

	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
		ck_assert_int_eq(lock_file_check_path(directories[i], why, sizeof(why)), -EINVAL);
		ck_assert_ptr_nonnull(strstr(why, "names a directory"));
	}
	ck_assert_int_eq(lock_file_check_path("a/..b", why, sizeof(why)), 0);
	memset(base, 'n', sizeof(base));
	base[NAME_MAX + 1] = '\0';
	ck_assert_int_eq(lock_file_check_path(base, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "longer than a path may be"));
	base[NAME_MAX] = '\0';
	ck_assert_int_eq(lock_file_check_path(base, why, sizeof(why)), 0);
	memset(path, '/', sizeof(path));
	memcpy(path + PATH_MAX - 1, "n", 2);
	ck_assert_int_eq(lock_file_check_path(path, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "longer than a path may be"));
	ck_assert_int_eq(lock_file_check_path(path + 1, why, sizeof(why)), 0);
}
END_TEST

START_TEST(a_path_through_a_file_is_said_as_one_through_nothing)
{
	char path[300];

	write_file(scratch_path("file"), "");
	snprintf(path, sizeof(path), "%s/lock", scratch_path("file"));
	lock_file_init(&file, path);
	ck_assert_int_eq(lock_file_ready(&file, why, sizeof(why)), -ENOTDIR);
	ck_assert_ptr_nonnull(strstr(why, "no such directory"));
	lock_file_clear(&file);
}
END_TEST

/* ---- Which file ---- */

START_TEST(p9_a_beginning_is_mended_only_where_nothing_else_is_in_the_file)
{
	static const struct {
		const char *bytes;
		size_t length;
		int result;
	} rows[] = {
		{"", 0, 0},
		{"\0\0\0", 3, 0},
		{MAGIC, 17, 0},
		{"safe", 4, 1},
		{"safe\0\0", 6, 1},
		{"safe\0other data", 15, -EINVAL},
		{"\0other data", 11, -EINVAL},
		{"safer", 5, -EINVAL},
		{"safestart lock 2\n", 17, -EINVAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_msg(ready_with(rows[i].bytes, rows[i].length) == rows[i].result,
			      "row %zu: %s", i, why);
		lock_file_clear(&file);
	}
}
END_TEST

START_TEST(p9_of_other_users_only_roots_file_is_used)
{
	if (geteuid() != 0) {
		printf("skipped: needs root to be somebody else\n");
		return;
	}
	ck_assert_int_eq(ready_with(MAGIC, 17), 0);
	lock_file_clear(&file);
	ck_assert_int_eq(chmod(scratch(), 0777), 0);
	ck_assert_int_eq(chmod(scratch_path("lock"), 0666), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	lock_file_init(&file, scratch_path("lock"));
	ck_assert_int_eq(lock_file_ready(&file, why, sizeof(why)), 0);
	lock_file_clear(&file);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(chown(scratch_path("lock"), 65533, 65533), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	lock_file_init(&file, scratch_path("lock"));
	ck_assert_int_eq(lock_file_ready(&file, why, sizeof(why)), -EPERM);
	ck_assert_ptr_nonnull(strstr(why, "belongs to user 65533"));
	lock_file_clear(&file);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(p16_a_file_larger_than_the_process_may_write_is_not_begun)
{
	struct rlimit limit, before;

	ck_assert_int_eq(ready_with("", 0), 0);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = LOCK_END - 1; /* SIGXFSZ would end this process */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(lock_file_allocate(&file), -EFBIG);
	ck_assert_int_eq(lock_file_write(&file, LOCK_OPEN, MAGIC, LOCK_END - LOCK_OPEN), -EFBIG);
	ck_assert_int_eq(lock_file_write(&file, LOCK_HEAD, MAGIC, 17), 0);
	limit.rlim_cur = LOCK_END;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(lock_file_allocate(&file), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	lock_file_clear(&file);
}
END_TEST

/* ---- Locks ---- */

START_TEST(what_cannot_be_asked_counts_as_free_so_that_trying_says_why)
{
	ck_assert_int_eq(ready_with(MAGIC, 17), 0);
	struct lock_file path_only = {.path = file.path, .fd = open(file.path, O_PATH | O_CLOEXEC)};
	struct lock_file other = {.path = file.path, .fd = open(file.path, O_RDWR | O_CLOEXEC)};
	ck_assert_int_eq(lock_file_try(&file, LOCK_RUN), 0);
	ck_assert(!lock_file_is_free(&other, LOCK_RUN));
	ck_assert_int_eq(lock_file_try(&other, LOCK_RUN), -EAGAIN);
	ck_assert(lock_file_is_free(&path_only, LOCK_RUN));
	ck_assert_int_eq(lock_file_try(&path_only, LOCK_RUN), -EBADF);
	lock_file_release(&file, LOCK_RUN);
	ck_assert(lock_file_is_free(&other, LOCK_RUN));
	close(path_only.fd);
	close(other.fd);
	lock_file_clear(&file);
}
END_TEST

/* ---- The holder ---- */

/* Since when and by whom a file with this first line is held, at 100 s after boot. */
static int64_t held(const char *line, char holder[LOCK_HOLDER_SIZE])
{
	char text[LOCK_HEAD_SIZE];
	int length = snprintf(text, sizeof(text), MAGIC "%s\n", line);

	ck_assert_int_eq(ready_with(text, (size_t)length), 0);
	int64_t since = lock_file_holder(&file, 100 * SECOND, holder, LOCK_HOLDER_SIZE);
	lock_file_clear(&file);
	return since;
}

START_TEST(the_holder_and_since_when_are_read_from_the_first_line)
{
	static const struct {
		const char *line, *holder;
		int64_t since;
	} rows[] = {
		{"held by api (pid 1) since 90.500 s after boot", "api (pid 1)", SECOND * 19 / 2},
		{"held by api (pid 1) since 90.500:", "api (pid 1)", SECOND * 19 / 2},
		{"held by since (pid 1) since 2 since 90.500", "since (pid 1) since 2",
		 SECOND * 19 / 2},
		{"held by api (pid 1)", "api (pid 1)", 0},
		{"held by api (pid 1) since 100.000", "api (pid 1)", 0}, /* just now */
		{"held by api (pid 1) since 200.000", "api (pid 1)", 0}, /* another boot */
		{"held by api (pid 1) since 99999999999999999999.000", "api (pid 1)", 0},
		{"free; was held by api (pid 1) until 90.500", "an unknown process", 0},
		{"held", "an unknown process", 0},
		/* Not as it is written: nothing is said of the process. */
		{"held by api", "api", 0},
		{"held by api (pod 2147483647)", "api (pod 2147483647)", 0},
		{"held by api (pid 2147483647", "api (pid 2147483647", 0},
		{"held by api (pid 0)", "api (pid 0)", 0},
		{"held by api (pid -7)", "api (pid -7)", 0},
		{"held by api (pid 2147483648)", "api (pid 2147483648)", 0},
		{"held by api (pid 2147483647)", "api (pid 2147483647, not running here)", 0},
	};
	char holder[LOCK_HOLDER_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_int_eq(held(rows[i].line, holder), rows[i].since);
		ck_assert_str_eq(holder, rows[i].holder);
	}
}
END_TEST

START_TEST(a_holder_of_another_user_is_not_called_gone)
{
	char holder[LOCK_HOLDER_SIZE], line[64];
	int waits[2], status;

	if (geteuid() != 0) {
		printf("skipped: needs root to be somebody else\n");
		return;
	}
	ck_assert_int_eq(pipe2(waits, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0) {
		close(waits[1]);
		leave_child((int)read(waits[0], &status, 1));
	}
	snprintf(line, sizeof(line), "held by root's (pid %d)", (int)child);
	ck_assert_int_eq(chmod(scratch(), 0777), 0);
	ck_assert_int_eq(setresuid(65534, 65534, 0), 0); /* may not signal it */
	(void)held(line, holder);
	ck_assert_str_eq(holder, line + strlen("held by "));
	ck_assert_int_eq(setresuid(0, 0, 0), 0);
	close(waits[1]);
	close(waits[0]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
}
END_TEST

START_TEST(without_a_file_to_read_the_holder_is_not_known)
{
	char holder[LOCK_HOLDER_SIZE];

	lock_file_init(&file, scratch_path("lock"));
	ck_assert_int_eq(lock_file_holder(&file, SECOND, holder, sizeof(holder)), 0);
	ck_assert_str_eq(holder, "an unknown process");
	lock_file_clear(&file);
	(void)held("held by api (pid 1) since 1.000 s after boot", holder);
	file = (struct lock_file){.fd = open(scratch_path("lock"), O_WRONLY | O_CLOEXEC)};
	ck_assert_int_eq(lock_file_holder(&file, SECOND, holder, sizeof(holder)), 0);
	ck_assert_str_eq(holder, "an unknown process");
	close(file.fd);
}
END_TEST

SUITE("lock_file", a_path_that_can_never_be_a_file_is_refused,
      a_path_through_a_file_is_said_as_one_through_nothing,
      p9_a_beginning_is_mended_only_where_nothing_else_is_in_the_file,
      p9_of_other_users_only_roots_file_is_used,
      p16_a_file_larger_than_the_process_may_write_is_not_begun,
      what_cannot_be_asked_counts_as_free_so_that_trying_says_why,
      the_holder_and_since_when_are_read_from_the_first_line,
      a_holder_of_another_user_is_not_called_gone, without_a_file_to_read_the_holder_is_not_known)
