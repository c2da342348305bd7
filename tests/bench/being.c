/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench: the cost of an open handle without requests, and of opening and closing one. */
#include "bench.h"
#include "held.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static unsigned entries(const char *path)
{
	DIR *directory = opendir(path);
	unsigned count = 0;

	while (directory != NULL && readdir(directory) != NULL)
		count++;
	if (directory != NULL)
		closedir(directory);
	return count;
}

static size_t figure_of(const char *path, const char *key)
{
	char line[160];
	size_t value = 0;
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoul(line + strlen(key), NULL, 10);
	}
	if (file != NULL)
		fclose(file);
	return value;
}

/* How often any thread except this one went to sleep or was preempted: each time it had been
 * awake. */
static size_t switches_of_others(void)
{
	DIR *tasks = opendir("/proc/self/task");
	char path[64];
	size_t sum = 0;
	struct dirent *task;

	while (tasks != NULL && (task = readdir(tasks)) != NULL) {
		if (task->d_name[0] == '.' || atoi(task->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", task->d_name);
		sum += figure_of(path, "voluntary_ctxt_switches:") +
		       figure_of(path, "nonvoluntary_ctxt_switches:");
	}
	if (tasks != NULL)
		closedir(tasks);
	return sum;
}

static void bench_idle(void)
{
	const struct timespec settle = {.tv_nsec = 300000000}, watch = {.tv_sec = 3};
	unsigned threads = entries("/proc/self/task"), descriptors = entries("/proc/self/fd");
	struct held_documents documents;

	held_make(&documents, 10);
	malloc_trim(0);
	size_t resident = figure_of("/proc/self/status", "VmRSS:");
	struct safestart *ss = held_open(&documents, NULL, NULL, NULL);
	safestart_wait(ss, safestart_request_restart(ss), -1, NULL);
	nanosleep(&settle, NULL);
	bench_figure("resident memory that an open handle of 10 nodes adds",
		     (double)(figure_of("/proc/self/status", "VmRSS:") - resident), "KiB");
	bench_figure("threads of an open handle", entries("/proc/self/task") - threads, "");
	bench_figure("descriptors of an open handle", entries("/proc/self/fd") - descriptors, "");
	size_t before = switches_of_others();
	nanosleep(&watch, NULL);
	bench_figure("wake-ups a minute, idle", (double)(switches_of_others() - before) * 20, "");
	safestart_shutdown(ss);
	nanosleep(&settle, NULL);
	before = switches_of_others();
	int64_t cpu = clock();
	nanosleep(&watch, NULL);
	bench_figure("wake-ups a minute, shut down and not closed",
		     (double)(switches_of_others() - before) * 20, "");
	bench_figure("processor time, shut down and not closed",
		     (double)(clock() - cpu) / CLOCKS_PER_SEC / 3 * 100, "%");
	held_close(ss);
	held_free(&documents);
}

static void bench_size(void)
{
	Dl_info info;
	void *extra;
	struct stat status;

	if (dladdr1((void *)(uintptr_t)safestart_open, &info, &extra, RTLD_DL_LINKMAP) == 0)
		return;
	const char *path = ((struct link_map *)extra)->l_name;
	const ElfW(Ehdr) *header = info.dli_fbase;
	const ElfW(Phdr) *segments = (const void *)((const char *)info.dli_fbase + header->e_phoff);
	size_t text = 0;

	for (int i = 0; i < header->e_phnum; i++) {
		if (segments[i].p_type == PT_LOAD && (segments[i].p_flags & PF_X))
			text += segments[i].p_memsz;
	}
	if (stat(path, &status) == 0)
		bench_figure("the library's file, with its symbols", (double)status.st_size / 1024,
			     "KiB");
	bench_figure("of this, code", (double)text / 1024, "KiB");
}

/* ---- Opening and closing ---- */

#define OPENINGS 50

static double measure_open(const void *argument)
{
	const char *thread = argument;
	int64_t from = bench_now();

	for (int i = 0; i < OPENINGS; i++) {
		struct safestart *ss = held_open(NULL, NULL, NULL, thread, NULL);
		held_close(ss);
	}
	return (double)(bench_now() - from) / OPENINGS;
}

static void *nothing(void *argument)
{
	return argument;
}

static double measure_thread(const void *argument)
{
	pthread_t thread;
	int64_t from = bench_now();

	(void)argument;
	for (int i = 0; i < OPENINGS; i++) {
		if (pthread_create(&thread, NULL, nothing, NULL) != 0)
			abort();
		pthread_join(thread, NULL);
	}
	return (double)(bench_now() - from) / OPENINGS;
}

static double measure_descriptors(const void *argument)
{
	int64_t from = bench_now();

	(void)argument;
	for (int i = 0; i < OPENINGS; i++) {
		int epoll = epoll_create1(EPOLL_CLOEXEC), wake = eventfd(0, EFD_CLOEXEC),
		    timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		struct epoll_event event = {.events = EPOLLIN};
		epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event);
		epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
		close(timer);
		close(wake);
		close(epoll);
	}
	return (double)(bench_now() - from) / OPENINGS;
}

void bench_being(void)
{
	struct way ways[] = {{.name = "pthread_create() and pthread_join()",
			      .measure = measure_thread},
			     {.name = "epoll, eventfd and timerfd, made and closed",
			      .measure = measure_descriptors},
			     {.name = "open", .measure = measure_open, .argument = "thread=yes"},
			     {.name = "open", .measure = measure_open, .argument = "thread=no"}};

	bench_section("Cost of being there", "ns");
	bench_idle();
	bench_size();
	bench_ways(ways, 4);
	bench_at_most("safestart_open() and safestart_close(), thread=yes", &ways[2], &ways[0], 0);
	bench_at_most("safestart_open() and safestart_close(), thread=no", &ways[3], &ways[1], 0);
}
