/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories for the control socket: missing, read-only, full, of another user, too long;
 * sockets of dead processes; other processes in the same directory; other users. What cannot be
 * set up here is skipped, with a message. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/ctl.h"

#define ONE "[{\"targets\":[\"10.0.0.1:1\"],\"labels\":{\"id\":\"a\"}}]"
#define NOBODY 65534

static struct app app;

static void skip(const char *words, int error)
{
	fprintf(stderr, "SKIPPED, and so not tested here: %s: %s\n", words, strerror(error));
}

/* In that directory; looked after every few milliseconds. */
static struct safestart *start_in(const char *directory)
{
	char setting[4400];

	app_init(&app);
	snprintf(setting, sizeof(setting), "control=%s", directory);
	return open_with(&app, "name=api", "debounce=0", "reconcile=10ms", setting, NULL);
}

static bool answers_at(const char *path)
{
	int fd = ctl_try(path);

	if (fd < 0)
		return false;
	close(fd);
	json_t *root = ctl_once(path, "{\"do\":\"status\"}");
	bool ok = ctl_true(root, "ok");
	json_decref(root);
	return ok;
}

static void serves_all_the_same(struct safestart *ss)
{
	ck_assert_int_le(push_and_wait(ss, ONE).verdict, SAFESTART_UNCHANGED);
	ck_assert_str_eq(live_ids(ss), "a");
}

/* ---- Directories ---- */

/* In the library's place of libc's: another server, started at the same moment, is quicker by a
 * hair. */
static atomic_bool outrun;

int mkdir(const char *path, mode_t mode)
{
	if (atomic_exchange(&outrun, false))
		mkdirat(AT_FDCWD, path, mode);
	return mkdirat(AT_FDCWD, path, mode);
}

START_TEST(p16_a_directory_that_another_process_makes_at_the_same_moment_is_shared)
{
	char directory[300], path[400];

	snprintf(directory, sizeof(directory), "%s/ctl", scratch());
	atomic_store(&outrun, true);
	struct safestart *ss = start_in(directory);
	snprintf(path, sizeof(path), "%s/api.%d.sock", directory, (int)getpid());
	EVENTUALLY(access(path, F_OK) == 0);
	ck_assert(answers_at(path));
	ck_assert(!atomic_load(&outrun));
	ck_assert(!app_logged(&app, "no control socket"));
	close_now(ss);
}
END_TEST

/* Likewise: a server in another container, where our process id belongs to no process, removes a
 * socket that is bound and refuses. */
static atomic_int sweeps; /* how many more */

int listen(int fd, int backlog)
{
	struct sockaddr_un address;
	socklen_t size = sizeof(address);

	if (atomic_load(&sweeps) > 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
		atomic_fetch_sub(&sweeps, 1);
		unlink(address.sun_path);
	}
	return (int)syscall(SYS_listen, fd, backlog);
}

START_TEST(p16_a_socket_that_another_container_sweeps_half_made_is_made_again)
{
	app_init(&app);
	atomic_store(&sweeps, 1);
	struct safestart *ss = open_with(&app, "name=api", ctl_setting(), NULL);
	EVENTUALLY(app_logged(&app, "control socket"));
	ck_assert(!app_logged(&app, "no control socket"));
	ck_assert_int_eq(atomic_load(&sweeps), 0);
	ck_assert(answers_at(ctl_path("api", getpid(), 1)));
	ck_assert_int_eq(ctl_count(), 1);
	close_now(ss);
}
END_TEST

START_TEST(p16_a_socket_that_is_swept_again_and_again_is_said_and_made_later)
{
	atomic_store(&sweeps, 12); /* eight are one attempt */
	struct safestart *ss = start_in(ctl_directory());
	EVENTUALLY(app_logged(&app, "no control socket"));
	serves_all_the_same(ss);
	EVENTUALLY(answers_at(ctl_path("api", getpid(), 1)));
	ck_assert_int_eq(atomic_load(&sweeps), 0);
	close_now(ss);
}
END_TEST

START_TEST(p16_a_directory_without_a_parent_is_said_and_used_as_soon_as_it_is_there)
{
	char parent[256], directory[300], path[400];

	snprintf(parent, sizeof(parent), "%s/ctl", scratch());
	snprintf(directory, sizeof(directory), "%s/sub", parent);
	struct safestart *ss = start_in(directory);
	EVENTUALLY(app_logged(&app, "create that; until then the `safestart` command does not see "
				    "this process"));
	serves_all_the_same(ss);
	ck_assert_int_eq(mkdir(parent, 0755), 0);
	snprintf(path, sizeof(path), "%s/api.%d.sock", directory, (int)getpid());
	EVENTUALLY(access(path, F_OK) == 0);
	ck_assert(answers_at(path));
	close_now(ss);
}
END_TEST

START_TEST(p15_the_socket_is_checked_however_rarely_the_source_is_read)
{
	static const char *const seldom[] = {"reconcile=0", "reconcile=1h", "reconcile=30s"};
	char setting[300];

	snprintf(setting, sizeof(setting), "control=%s/ctl/sub", scratch());
	for (size_t i = 0; i < 3; i++) {
		app_init(&app);
		struct safestart *ss = open_with(&app, seldom[i], setting, NULL);
		EVENTUALLY(app_logged(&app, "does not see this process, everything else works; "
					    "retrying in 30 s"));
		close_now(ss);
	}
}
END_TEST

START_TEST(what_can_never_be_a_directory_is_refused_at_once)
{
	struct safestart *ss;
	char why[256];

	struct safestart_conf *conf = conf_with("source=push", NULL);
	ck_assert_int_eq(safestart_conf_set(conf, "control", "", why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "must not be empty"));
	write_file(scratch_path("file"), "x");
	ck_assert_int_eq(safestart_conf_set(conf, "control", scratch_path("file"), why,
					    sizeof(why)),
			 0);
	ck_assert_int_eq(safestart_open(&ss, conf, why, sizeof(why)), -ENOTDIR);
	ck_assert_msg(strstr(why, "not a directory") != NULL, "%s", why);
	safestart_conf_free(conf);
}
END_TEST

START_TEST(a_relative_directory_is_the_one_of_open_and_its_path_may_be_long)
{
	char here[4096], part[201], deep[4096];

	ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
	ck_assert_int_eq(chdir(scratch()), 0);
	memset(part, 'd', 200);
	part[200] = '\0';
	ck_assert_int_eq(mkdir(part, 0755), 0);
	snprintf(deep, sizeof(deep), "%s/%s", part, "ctl");
	struct safestart *ss = start_in(deep);
	ck_assert_int_eq(chdir(here), 0);
	snprintf(deep, sizeof(deep), "%s/%s/ctl/api.%d.sock", scratch(), part, (int)getpid());
	EVENTUALLY(access(deep, F_OK) == 0);
	int directory = open(scratch(), O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(deep, sizeof(deep), "%s/%s/ctl", scratch(), part);
	int inner = open(deep, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(deep, sizeof(deep), "/proc/self/fd/%d/api.%d.sock", inner, (int)getpid());
	ck_assert(answers_at(deep));
	close_now(ss);
	ck_assert_int_eq(access(deep, F_OK), -1);
	close(inner);
	close(directory);
}
END_TEST

START_TEST(p16_any_name_becomes_a_file_of_the_directory)
{
	static const char *const names[][2] = {{"a/b", "a_b"},
					       {"../../x", "_._.._x"},
					       {".hidden", "_hidden"},
					       {"\xff\n\"", "___"},
					       {"caf\xc3\xa9", "caf__"},
					       {"/0-9:@AZ_[`az{.", "_0-9__AZ___az_."}};
	char setting[100], longest[301], cut[61];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(setting, sizeof(setting), "name=%s", names[i][0]);
		struct safestart *ss = open_with(NULL, setting, ctl_setting(), NULL);
		json_decref(ctl_once(ctl_wait(names[i][1], getpid(), 1), "{\"do\":\"status\"}"));
		/* It is a label there. */
		json_t *metrics =
			ctl_once(ctl_path(names[i][1], getpid(), 1), "{\"do\":\"metrics\"}");
		ck_assert_msg(ctl_true(metrics, "ok"), "%s: %s", names[i][1],
			      ctl_true(metrics, "ok") ? "" : ctl_string(metrics, "message"));
		json_decref(metrics);
		close_now(ss);
	}
	memset(longest, 'n', 300);
	longest[300] = '\0';
	memset(cut, 'n', 60);
	cut[60] = '\0';
	struct safestart_conf *conf = conf_with(ctl_setting(), NULL);
	struct safestart *ss;
	ck_assert_int_eq(safestart_conf_set(conf, "name", longest, NULL, 0), 0);
	ck_assert_int_eq(safestart_open(&ss, conf, NULL, 0), 0);
	safestart_conf_free(conf);
	EVENTUALLY(access(ctl_path(cut, getpid(), 1), F_OK) == 0);
	close_now(ss);
	ck_assert_int_eq(ctl_count(), 0);
}
END_TEST

START_TEST(p15_a_removed_socket_is_created_again_and_clients_stay)
{
	struct safestart *ss = start_in(ctl_directory());
	char moved[300];
	struct ctl ctl;

	ctl_connect(&ctl, ctl_wait("api", getpid(), 1));
	json_decref(ctl_ask(&ctl, "{\"do\":\"status\"}"));
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(unlink(ctl_wait("api", getpid(), 1)), 0);
		EVENTUALLY(answers_at(ctl_path("api", getpid(), 1)));
	}
	snprintf(moved, sizeof(moved), "%s.old", ctl_directory());
	ck_assert_int_eq(rename(ctl_directory(), moved), 0); /* the whole directory */
	EVENTUALLY(answers_at(ctl_path("api", getpid(), 1)));
	json_decref(ctl_ask(&ctl, "{\"do\":\"status\"}"));
	ctl_close(&ctl);
	snprintf(moved, sizeof(moved), "%s.older", ctl_directory());
	write_file(scratch_path("file"), "in its place");
	ck_assert_int_eq(rename(ctl_directory(), moved), 0);
	ck_assert_int_eq(rename(scratch_path("file"), ctl_directory()), 0);
	EVENTUALLY(app_logged(&app, "is a file; remove the file"));
	ck_assert_int_eq(unlink(ctl_directory()), 0);
	EVENTUALLY(answers_at(ctl_path("api", getpid(), 1)));
	close_now(ss);
	ck_assert_int_eq(ctl_count(), 0);
}
END_TEST

START_TEST(close_removes_no_socket_but_its_own)
{
	app_init(&app);
	struct safestart *ss = open_with(&app, "name=api", "debounce=0", ctl_setting(), NULL);
	const char *path = ctl_wait("api", getpid(), 1);

	json_decref(ctl_once(path, "{\"do\":\"status\"}"));
	ck_assert_int_eq(unlink(path), 0);
	write_file(path, "somebody else's");
	close_now(ss);
	ck_assert(file_says(path, "somebody else's"));
}
END_TEST

/* ---- File systems: in a child, for its mounts are its own ---- */

/* Run it in a process that may mount; its exit status is `judge`'s. */
static void with_mounts(int (*judge)(void))
{
	int status;
	const char *directory = ctl_directory();
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mkdir(directory, 0755) < 0 ||
		    mount("ctl", directory, "tmpfs", 0, "nr_inodes=3") < 0)
			leave_child(77);
		leave_child(judge());
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip("a file system of one's own", EPERM);
	else
		ck_assert_int_eq(WEXITSTATUS(status), 0);
}

/* No ck_assert in here: 0, or where it went wrong. */
#define SO(condition)                              \
	do {                                       \
		if (!(condition))                  \
			return __LINE__ % 250 + 1; \
	} while (0)
#define BECOMES(condition)                                \
	do {                                              \
		int64_t limit_ = now_ms() + 100000;       \
		while (!(condition) && now_ms() < limit_) \
			pause_a_moment();                 \
		SO(condition);                            \
	} while (0)

static bool connects(const char *path)
{
	int fd = ctl_try(path);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int on_a_read_only_file_system(void)
{
	SO(mount(NULL, ctl_directory(), NULL, MS_REMOUNT | MS_RDONLY, "nr_inodes=3") == 0);
	struct safestart *ss = start_in(ctl_directory());
	BECOMES(app_logged(&app, "its file system is read-only; mount it read-write"));
	SO(push_and_wait(ss, ONE).verdict == SAFESTART_APPLIED);
	SO(mount(NULL, ctl_directory(), NULL, MS_REMOUNT, "nr_inodes=3") == 0);
	BECOMES(connects(ctl_path("api", getpid(), 1)));
	SO(mount(NULL, ctl_directory(), NULL, MS_REMOUNT | MS_RDONLY, "nr_inodes=3") == 0 ||
	   errno == EBUSY);
	SO(safestart_close(ss) == 0);
	return 0;
}

static _Atomic bool file_system_hangs;

/* The library's calls come here. */
int unlinkat(int directory, const char *name, int flags)
{
	while (file_system_hangs)
		pause_a_moment();
	return (int)syscall(SYS_unlinkat, directory, name, flags);
}

START_TEST(p14_close_that_gives_up_on_a_hanging_file_system_says_so)
{
	char setting[300];

	app_init(&app);
	snprintf(setting, sizeof(setting), "control=%s", ctl_directory());
	struct safestart *ss = open_with(&app, "name=api", "run_timeout=500ms", setting, NULL);
	ctl_wait("api", getpid(), 1);
	file_system_hangs = true;
	ck_assert_int_eq(safestart_close(ss), -ETIMEDOUT);
	ck_assert_msg(app_logged(&app, "removing the control socket") &&
			      !app_logged(&app, "read_unlock"),
		      "%.400s", app.log);
	file_system_hangs = false;
	EVENTUALLY(safestart_close(ss) == 0);
	ck_assert_int_eq(ctl_count(), 0);
}
END_TEST

START_TEST(p16_a_read_only_file_system_stops_nothing_and_is_tried_again)
{
	with_mounts(on_a_read_only_file_system);
}
END_TEST

static int on_a_full_file_system(void)
{
	char filler[2][300];

	for (int i = 0; i < 2; i++) {
		snprintf(filler[i], sizeof(filler[i]), "%s/filler%d", ctl_directory(), i);
		int fd = open(filler[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		SO(fd >= 0);
		close(fd);
	}
	struct safestart *ss = start_in(ctl_directory());
	BECOMES(app_logged(&app, "its file system is full; free space or inodes there"));
	SO(push_and_wait(ss, ONE).verdict == SAFESTART_APPLIED);
	SO(unlink(filler[0]) == 0);
	BECOMES(connects(ctl_path("api", getpid(), 1)));
	SO(safestart_close(ss) == 0);
	SO(ctl_count() == 0);
	return 0;
}

START_TEST(p16_a_full_file_system_stops_nothing_and_is_tried_again)
{
	with_mounts(on_a_full_file_system);
}
END_TEST

/* ---- Other processes ---- */

/* A process with a handle; it ends when it is killed, or on command. */
static pid_t spawn(const char *name)
{
	const char *directory = ctl_setting(); /* the test's, not the child's */
	char setting[100];
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child != 0)
		return child;
	snprintf(setting, sizeof(setting), "name=%s", name);
	struct safestart *ss = open_with(NULL, setting, "debounce=0", directory, NULL);
	safestart_nodes_replace(ss, ONE, NULL, NULL, 0);
	for (;;)
		pause();
}

static void kill_off(pid_t child)
{
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

START_TEST(p18_a_killed_process_leaves_a_socket_that_refuses_and_does_no_harm)
{
	pid_t children[2 * 8];

	for (int i = 0; i < 16; i++) {
		children[i] = spawn("api");
		json_decref(ctl_once(ctl_wait("api", children[i], 1), "{\"do\":\"status\"}"));
		kill_off(children[i]);
		ck_assert_int_eq(ctl_try(ctl_path("api", children[i], 1)), -ECONNREFUSED);
	}
	/* Each start keeps the newest 8 of its name: so many can be shown as gone. */
	app_init(&app);
	struct safestart *ss = open_with(&app, "name=api", "debounce=0", ctl_setting(), NULL);
	json_decref(ctl_once(ctl_wait("api", getpid(), 1), "{\"do\":\"status\"}"));
	EVENTUALLY(ctl_count() == 8 + 1);
	ck_assert_int_eq(access(ctl_path("api", children[15], 1), F_OK), 0);
	serves_all_the_same(ss);
	close_now(ss);
	ck_assert_int_eq(ctl_count(), 8);
}
END_TEST

START_TEST(what_is_not_a_dead_socket_of_its_name_is_left_alone)
{
	char other[300], file[300], temporary[300];

	ck_assert_int_eq(mkdir(ctl_directory(), 0755), 0);
	pid_t gone = spawn("other");
	json_decref(ctl_once(ctl_wait("other", gone, 1), "{\"do\":\"status\"}"));
	kill_off(gone);
	snprintf(other, sizeof(other), "%s", ctl_path("other", gone, 1));
	/* A file, which connect() refuses, too. */
	snprintf(file, sizeof(file), "%s/api.%d.sock", ctl_directory(), (int)gone);
	write_file(file, "precious");
	/* Half a socket of a dead process. */
	snprintf(temporary, sizeof(temporary), "%s/.%d.77.tmp", ctl_directory(), (int)gone);
	ck_assert_int_eq(rename(other, temporary), 0);
	gone = spawn("other");
	json_decref(ctl_once(ctl_wait("other", gone, 1), "{\"do\":\"status\"}"));
	kill_off(gone);
	snprintf(other, sizeof(other), "%s", ctl_path("other", gone, 1));
	EVENTUALLY(access(temporary, F_OK) < 0); /* removed by the second one, or by the next */
	char taken[300];
	snprintf(taken, sizeof(taken), "%s", ctl_path("api", getpid(), 1));
	write_file(taken, "in the way");
	struct safestart *ss = open_with(NULL, "name=api", ctl_setting(), NULL);
	json_decref(ctl_once(ctl_wait("api", getpid(), 2), "{\"do\":\"status\"}"));
	close_now(ss);
	ck_assert(file_says(file, "precious") && file_says(taken, "in the way"));
	ck_assert_int_eq(access(other, F_OK), 0);
}
END_TEST

/* A socket in the directory that nobody listens at, from the second `made` of 1970. */
static void make_dead(const char *format, int pid, int number, time_t made)
{
	const struct timespec times[2] = {{.tv_sec = made}, {.tv_sec = made}};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char name[200], path[500];

	snprintf(name, sizeof(name), format, pid, number);
	snprintf(path, sizeof(path), "%s/%s", ctl_directory(), name);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.105s/s", scratch());
	ck_assert_int_eq(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(rename(address.sun_path, path), 0); /* which may be long */
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	close(dead);
}

START_TEST(what_is_not_named_as_a_dead_socket_of_its_name_is_left_alone)
{
	/* Each older than those that are more than may stay. The last but one is longer than any of
	 * ours; the last one is of another handle of this process, which may listen in a moment. */
	static const char *const names[] = {"api.%d.socket",   "api.%dx.sock", "api.%d-2x.sock",
					    "api-2.%d.sock",   "apix%d.sock",  "api.x%d.sock",
					    ".%d.77.tmp.sock", ".%dx.tmp",     "api.%d-%070d.sock",
					    ".%d.77.tmp"};
	const size_t count = sizeof(names) / sizeof(names[0]);

	ck_assert_int_eq(mkdir(ctl_directory(), 0755), 0);
	pid_t gone = fork();
	if (gone == 0)
		leave_child(0);
	ck_assert_int_eq(waitpid(gone, NULL, 0), gone);
	for (size_t i = 0; i < count; i++)
		make_dead(names[i], i < count - 1 ? gone : getpid(), 7, 1);
	for (int i = 0; i < 16; i++)
		make_dead("api.%d-%d.sock", gone, i + 2, i + 2);
	struct safestart *ss = open_with(NULL, "name=api", ctl_setting(), NULL);
	ctl_wait("api", getpid(), 1);
	EVENTUALLY(access(ctl_path("api", gone, 9), F_OK) < 0);
	for (size_t i = 0; i < count; i++) {
		char name[200], path[500];
		snprintf(name, sizeof(name), names[i], i < count - 1 ? gone : getpid(), 7);
		snprintf(path, sizeof(path), "%s/%s", ctl_directory(), name);
		ck_assert_msg(access(path, F_OK) == 0, "%s", path);
	}
	close_now(ss);
}
END_TEST

START_TEST(p18_a_dead_socket_of_its_very_name_makes_room)
{
	ck_assert_int_eq(mkdir(ctl_directory(), 0755), 0);
	make_dead("api.%d.sock", getpid(), 0, 1); /* of a process that had our number */
	struct safestart *ss = open_with(NULL, "name=api", ctl_setting(), NULL);
	EVENTUALLY(answers_at(ctl_path("api", getpid(), 1)));
	/* It stays under another name, so that the death can be seen. */
	char aside[300];
	snprintf(aside, sizeof(aside), "%s/api.%d-01.sock", ctl_directory(), (int)getpid());
	ck_assert_int_eq(access(aside, F_OK), 0);
	ck_assert_int_eq(ctl_count(), 2);
	close_now(ss);
	ck_assert_int_eq(ctl_count(), 1);
}
END_TEST

START_TEST(many_processes_share_a_directory)
{
	enum {
		MOST = 200
	};
	int count = getenv("SAFESTART_SOAK") != NULL ? MOST : 20;
	pid_t children[MOST];
	char digest[32] = "";

	for (int i = 0; i < count; i++)
		children[i] = spawn("api");
	for (int i = 0; i < count; i++) {
		const char *path = ctl_wait("api", children[i], 1);
		json_decref(ctl_once(path, "{\"do\":\"request\",\"wait\":true}"));
		json_t *root;
		for (;;) { /* its set, and the request's run */
			root = ctl_once(path, "{\"do\":\"nodes\"}");
			if (ctl_integer(root, "generation") == 1)
				break;
			json_decref(root);
		}
		ck_assert_int_eq(ctl_integer(root, "pid"), children[i]);
		ck_assert(i == 0 || strcmp(digest, ctl_string(root, "digest")) == 0);
		snprintf(digest, sizeof(digest), "%s", ctl_string(root, "digest"));
		json_decref(root);
	}
	ck_assert_int_eq(ctl_count(), count);
	for (int i = 0; i < count; i++)
		kill_off(children[i]);
}
END_TEST

/* ---- Other users ---- */

/* Exit status of a child that runs as the user nobody: errno of the connection, or the error of
 * the answer (0 for ok). */
static int as_nobody(const char *path, const char *line)
{
	char answer[200] = "";
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (child == 0) {
		if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			leave_child(255);
		int fd = ctl_try(path);
		if (fd < 0)
			leave_child(-fd);
		if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 ||
		    recv(fd, answer, sizeof(answer) - 1, 0) <= 0)
			leave_child(254);
		leave_child(strncmp(answer, "{\"ok\":true", 10) == 0
				    ? 0
				    : -atoi(strstr(answer, "\"error\":") + 8));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 254);
	return WEXITSTATUS(status);
}

START_TEST(p16_other_users_cannot_connect_and_one_with_access_may_only_read)
{
	struct safestart *ss = start_in(ctl_directory());
	const char *path = ctl_wait("api", getpid(), 1);

	if (geteuid() != 0) {
		skip("being another user", EPERM);
		close_now(ss);
		return;
	}
	ck_assert_int_eq(chmod(scratch(), 0755), 0);
	/* The directory's mode. */
	ck_assert_int_eq(as_nobody(path, "{\"do\":\"status\"}\n"), EACCES);
	ck_assert_int_eq(chmod(ctl_directory(), 0755), 0);
	ck_assert_int_eq(as_nobody(path, "{\"do\":\"status\"}\n"), EACCES); /* the socket's own */
	ck_assert_int_eq(chmod(path, 0666), 0);
	ck_assert_int_eq(as_nobody(path, "{\"do\":\"status\"}\n"), 0);
	ck_assert_int_eq(as_nobody(path, "{\"do\":\"nodes\"}\n"), 0);
	ck_assert_int_eq(as_nobody(path, "{\"do\":\"request\"}\n"), EPERM);
	ck_assert_int_eq(app.outcomes, 0);
	json_t *root = ctl_once(path, "{\"do\":\"request\"}"); /* root may */
	ck_assert(ctl_true(root, "ok"));
	json_decref(root);
	close_now(ss);
}
END_TEST

START_TEST(p16_the_host_s_umask_opens_nothing_and_is_left_as_it_is)
{
	struct stat status;

	for (int i = 0; i < 2; i++) {
		mode_t before = umask(i == 0 ? 0 : 0077);
		struct safestart *ss = open_with(NULL, "name=api", ctl_setting(), NULL);
		ck_assert_int_eq(stat(ctl_wait("api", getpid(), 1), &status), 0);
		ck_assert_int_eq(status.st_mode & 07777, 0600);
		close_now(ss);
		ck_assert_int_eq(umask(before), i == 0 ? 0 : 0077);
	}
}
END_TEST

SUITE("control_places", p16_a_directory_that_another_process_makes_at_the_same_moment_is_shared,
      p16_a_socket_that_another_container_sweeps_half_made_is_made_again,
      p16_a_socket_that_is_swept_again_and_again_is_said_and_made_later,
      p16_a_directory_without_a_parent_is_said_and_used_as_soon_as_it_is_there,
      p15_the_socket_is_checked_however_rarely_the_source_is_read,
      what_can_never_be_a_directory_is_refused_at_once,
      a_relative_directory_is_the_one_of_open_and_its_path_may_be_long,
      p16_any_name_becomes_a_file_of_the_directory,
      p15_a_removed_socket_is_created_again_and_clients_stay, close_removes_no_socket_but_its_own,
      p14_close_that_gives_up_on_a_hanging_file_system_says_so,
      p16_a_read_only_file_system_stops_nothing_and_is_tried_again,
      p16_a_full_file_system_stops_nothing_and_is_tried_again,
      p18_a_killed_process_leaves_a_socket_that_refuses_and_does_no_harm,
      what_is_not_a_dead_socket_of_its_name_is_left_alone,
      what_is_not_named_as_a_dead_socket_of_its_name_is_left_alone,
      p18_a_dead_socket_of_its_very_name_makes_room, many_processes_share_a_directory,
      p16_other_users_cannot_connect_and_one_with_access_may_only_read,
      p16_the_host_s_umask_opens_nothing_and_is_left_as_it_is)
