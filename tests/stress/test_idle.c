/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A handle that has nothing to do takes no processor time: its threads are asleep, and the kernel
 * has no earlier time to wake them than the next re-read. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/support.h"

#define NEVER INT64_MAX

/* In how many ms this descriptor wakes somebody; NEVER: it is no timer, or it is not set. */
static int64_t wakes_in(const char *descriptor)
{
	char path[300], line[200];
	long long seconds, ns;
	int64_t in = NEVER;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", descriptor);
	FILE *told = fopen(path, "re");
	while (told != NULL && fgets(line, sizeof(line), told) != NULL) {
		if (sscanf(line, "it_value: (%lld, %lld)", &seconds, &ns) == 2 && seconds + ns > 0)
			in = seconds * 1000 + ns / 1000000;
	}
	if (told != NULL)
		fclose(told);
	return in;
}

/* The first of all timers of the process. */
static int64_t first_timer(void)
{
	DIR *descriptors = opendir("/proc/self/fdinfo");
	int64_t first = NEVER;

	ck_assert_ptr_nonnull(descriptors);
	for (const struct dirent *one; (one = readdir(descriptors)) != NULL;) {
		int64_t in = wakes_in(one->d_name);
		first = in < first ? in : first;
	}
	closedir(descriptors);
	return first;
}

static bool others_are_asleep(void)
{
	DIR *tasks = opendir("/proc/self/task");
	bool asleep = true;

	ck_assert_ptr_nonnull(tasks);
	for (const struct dirent *one; (one = readdir(tasks)) != NULL;) {
		pid_t task = (pid_t)strtol(one->d_name, NULL, 10);
		asleep = asleep && (task == 0 || task == gettid() || is_asleep(task));
	}
	closedir(tasks);
	return asleep;
}

static bool looks_idle(struct safestart *ss, bool driven, int64_t least)
{
	bool idle = true;

	for (int i = 0; idle && i < 10; i++) {
		idle = (!driven || safestart_dispatch(ss, 0) == 0) && others_are_asleep() &&
		       first_timer() >= least;
		pause_a_moment();
	}
	return idle;
}

static void idle(const char *thread, const char *reconcile, int64_t least)
{
	char source[300], control[300];
	struct app app;

	app_init(&app);
	write_file(scratch_path("nodes.json"), "[{\"targets\":[\"10.0.0.1:80\"]}]");
	snprintf(source, sizeof(source), "source=file:%s", scratch_path("nodes.json"));
	snprintf(control, sizeof(control), "control=%s", scratch_path("control"));
	struct safestart *ss = open_with(&app, source, control, thread, reconcile, NULL);
	ck_assert_int_eq(safestart_wait_ready(ss, 60000), 0);
	bool driven = strcmp(thread, "thread=no") == 0;
	/* Once what comes with the first load is done. A timer that has just expired, and whose
	 * thread has not run yet, looks like none: so it is looked at several times. */
	EVENTUALLY(looks_idle(ss, driven, least));
	close_now(ss);
}

START_TEST(p19_an_idle_handle_is_woken_by_nothing)
{
	idle("thread=yes", "reconcile=0", NEVER);
	idle("thread=no", "reconcile=0", NEVER);
}
END_TEST

/* Up to half of it is jitter. */
START_TEST(p19_an_idle_handle_is_woken_by_the_next_re_read_only)
{
	idle("thread=yes", "reconcile=1h", 1799000);
	idle("thread=no", "reconcile=1h", 1799000);
}
END_TEST

SUITE("idle", p19_an_idle_handle_is_woken_by_nothing,
      p19_an_idle_handle_is_woken_by_the_next_re_read_only)
