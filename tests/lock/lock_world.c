/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lock/lock_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* From any thread: each thread has its own buffers. The directory is created before there are
 * threads. */
const char *world_path(const char *name)
{
	static __thread char paths[4][256];
	static __thread unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", scratch(), name);
	return path;
}

/* The lock of the process that is in `restart`: an old record lock, which belongs to the process
 * even if others inherit the descriptor. Opened before the handle, so that it is closed first
 * when the process is killed. */
static int marker = -1;
static int guests;
static _Atomic int inside_here;

static bool mark(short type, int command)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};

	return fcntl(marker, command, &lock) == 0 && (command == F_SETLK || lock.l_type == F_UNLCK);
}

bool is_inside(void)
{
	int fd = marker;

	if (marker < 0)
		marker = open(world_path("inside"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	bool inside = atomic_load(&inside_here) > 0 || !mark(F_WRLCK, F_GETLK);
	if (fd < 0) {
		close(marker);
		marker = -1;
	}
	return inside;
}

static bool come_in(void)
{
	return atomic_fetch_add(&inside_here, 1) == 0 && mark(F_WRLCK, F_SETLK);
}

static void go_out(void)
{
	if (atomic_fetch_sub(&inside_here, 1) == 1)
		mark(F_UNLCK, F_SETLK);
}

static void breed(void)
{
	char *const arguments[] = {"sleep", "600", NULL};
	posix_spawnattr_t attributes;
	pid_t executed, forked = fork();
	char line[64];

	if (forked == 0) {
		for (;;)
			pause();
	}
	posix_spawnattr_init(&attributes);
	if (posix_spawnp(&executed, "sleep", NULL, &attributes, arguments, environ) != 0)
		executed = 0;
	int fd = open(world_path("children"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int length = snprintf(line, sizeof(line), "%d %d\n", (int)forked, (int)executed);
	if (write(fd, line, (size_t)length) != length)
		abort();
	close(fd);
}

static int on_restart(struct safestart_run *run, void *user_data)
{
	struct guest *guest = (struct guest *)user_data;

	atomic_store(&guest->run, run);
	int began = (int)(now_ms() & 0x3fffffff);
	if (guest->breeds)
		breed();
	if (!come_in())
		atomic_store(&guest->overlapped, true);
	do {
		pause_a_moment();
	} while (atomic_load(&guest->hold));
	FILE *runs = fopen(world_path("runs"), "ae");
	if (runs != NULL) {
		fputs("one\n", runs);
		fclose(runs);
	}
	safestart_run_set_status(run, guest->stamps ? began : atomic_load(&guest->status));
	atomic_fetch_add(&guest->restarts, 1);
	go_out();
	return guest->later ? SAFESTART_LATER : atomic_load(&guest->result);
}

static void on_log(int level, const char *message, void *user_data)
{
	struct app *app = &((struct guest *)user_data)->app;

	(void)level;
	pthread_mutex_lock(&app->lock);
	size_t length = strlen(app->log);
	snprintf(app->log + length, sizeof(app->log) - length, "%s\n", message);
	pthread_mutex_unlock(&app->lock);
}

/* "key=value", or several, with blanks in between. */
static bool set(struct safestart_conf *conf, const char *settings)
{
	char copy[400], *rest = copy, *one;
	bool fine = true;

	snprintf(copy, sizeof(copy), "%s", settings);
	while (fine && (one = strsep(&rest, " ")) != NULL) {
		char *equals = strchr(one, '=');
		if (equals == NULL)
			continue;
		*equals = '\0';
		fine = safestart_conf_set(conf, one, equals + 1, NULL, 0) == 0;
	}
	return fine;
}

static struct guest *arrive(const char *one, const char *two)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct safestart_conf *conf = safestart_conf_new();
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = on_restart,
						      .log = on_log};

	app_init(&guest->app);
	if (marker < 0) {
		marker = open(world_path("inside"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		(void)fchmod(marker, 0666); /* other users' guests, too */
	}
	guests++;
	bool fine = safestart_conf_set(conf, "lock", world_path("lock"), NULL, 0) == 0 &&
		    set(conf, "source=none") && set(conf, "debounce=0") &&
		    set(conf, "retry_min=10ms") && set(conf, "retry_max=50ms") &&
		    (one == NULL || set(conf, one)) && (two == NULL || set(conf, two)) &&
		    safestart_conf_set_callbacks(conf, &callbacks, guest) == 0 &&
		    safestart_open(&guest->ss, conf, NULL, 0) == 0;
	safestart_conf_free(conf);
	if (!fine) {
		free(guest);
		return NULL;
	}
	return guest;
}

struct guest *guest_here(const char *more)
{
	struct guest *guest = arrive(more, NULL);

	ck_assert_ptr_nonnull(guest);
	return guest;
}

void guest_leaves(struct guest *guest)
{
	atomic_store(&guest->hold, false);
	EVENTUALLY(safestart_close(guest->ss) == 0);
	free(guest);
	if (--guests == 0) {
		close(marker);
		marker = -1;
	}
}

void guest_after_fork(void)
{
	atomic_store(&inside_here, 0);
}

struct safestart_outcome guest_asks(struct guest *guest)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome), .verdict = SAFESTART_PENDING};

	safestart_wait(guest->ss, safestart_request_restart(guest->ss), -1, &outcome);
	return outcome;
}

pid_t process_of(uid_t uid, void (*what)(struct guest *guest), const char *one, const char *two)
{
	world_path("lock"); /* the directory is ours, not each child's own */
	pid_t pid = fork();

	if (pid != 0) {
		ck_assert_int_gt(pid, 0);
		return pid;
	}
	if (uid != 0 && (setgid(uid) < 0 || setuid(uid) < 0))
		leave_child(2);
	atomic_store(&inside_here, 0);
	struct guest *guest = arrive(one, two);
	if (guest == NULL)
		leave_child(3);
	what(guest);
	int status = guest->failed ? 4 : atomic_load(&guest->overlapped) ? 5 : 0;
	if (status == 0 && safestart_close(guest->ss) < 0)
		status = 6;
	leave_child(status);
}

pid_t process(void (*what)(struct guest *guest), const char *one, const char *two)
{
	return process_of(0, what, one, two);
}

int ends(pid_t pid)
{
	int status = 0;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool status_says(struct safestart *ss, const char *words)
{
	char *json = safestart_status_json(ss);
	bool says = strstr(json, words) != NULL;

	safestart_free(json);
	return says;
}

bool metrics_say(struct safestart *ss, const char *words)
{
	char *text = safestart_metrics_text(ss);
	bool says = strstr(text, words) != NULL;

	safestart_free(text);
	return says;
}

/* ---- A small disk ---- */

const char *small_disk(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/disk", scratch());
	return path;
}

bool mount_small_disk(void)
{
	if (mkdir(small_disk(), 0755) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	return mount("safestart-test", small_disk(), "tmpfs", 0, "size=32k") == 0;
}

void fill_disk(void)
{
	char path[160], page[4096] = "";

	snprintf(path, sizeof(path), "%s/filler", small_disk());
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	while (write(fd, page, sizeof(page)) > 0)
		continue;
	close(fd);
}

void empty_disk(void)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/filler", small_disk());
	ck_assert_int_eq(unlink(path), 0);
}

void unmount_small_disk(void)
{
	ck_assert_int_eq(umount2(small_disk(), MNT_DETACH), 0);
}
