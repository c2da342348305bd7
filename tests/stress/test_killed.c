/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes killed at any instant, and between any two system calls that write last_good: shared
 * files stay complete, the files left behind by killed processes do not add up, and the next
 * process starts with the kept set. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/support.h"

/* ---- The program's system calls come before libc's, for the library too ---- */

/* This process writes last_good; set before a handle is opened. */
static bool watched, traced;
static _Atomic int instants_left;      /* system calls until it dies; 0: it lives */
static __thread bool writes_last_good; /* this thread has begun to write */
static char *trace;                    /* shared with the parent: one letter for each call */

#define TRACE 256

/* An instant between two system calls. */
static void pass(char call)
{
	if (!writes_last_good)
		return;
	if (traced && strlen(trace) < TRACE - 1)
		trace[strlen(trace)] = call;
	if (instants_left > 0 && --instants_left == 0)
		kill(getpid(), SIGKILL);
}

/* The thread sanitizer has to see these two calls, or it takes one file for another one that had
 * its number. */
static int (*real_open)(const char *path, int flags, ...);
static int (*real_close)(int fd);

static void __attribute__((constructor)) find_real_ones(void)
{
	*(void **)&real_open = dlsym(RTLD_NEXT, "open");
	*(void **)&real_close = dlsym(RTLD_NEXT, "close");
}

int open(const char *path, int flags, ...)
{
	va_list rest;

	va_start(rest, flags);
	mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
	va_end(rest);
	if (watched && (flags & O_CREAT))
		writes_last_good = true;
	pass('o');
	return real_open != NULL ? real_open(path, flags, mode)
				 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* Never more than half of it, so that there is an instant with half a document. */
ssize_t write(int fd, const void *data, size_t length)
{
	pass('w');
	if (writes_last_good && instants_left == 0)
		pause_a_moment(); /* time for other processes in between */
	return syscall(SYS_write, fd, data, writes_last_good && length > 1 ? length / 2 : length);
}

int fsync(int fd)
{
	struct stat status;

	pass(fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) ? 'd' : 's');
	return (int)syscall(SYS_fsync, fd);
}

int close(int fd)
{
	pass('c');
	return real_close != NULL ? real_close(fd) : (int)syscall(SYS_close, fd);
}

int rename(const char *from, const char *to)
{
	pass('r');
	return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path)
{
	pass('u');
	return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int at, const char *path, int flags)
{
	pass('u');
	return (int)syscall(SYS_unlinkat, at, path, flags);
}

/* ---- Sets that show whether they are complete ---- */

#define SETS 4

static char *documents[SETS]; /* set k: 10 + 7k nodes, all of them at 10.k.0.x */

static void make_documents(void)
{
	for (int k = 0; k < SETS; k++) {
		size_t size;
		FILE *to = open_memstream(&documents[k], &size);
		for (int i = 0; i < 10 + 7 * k; i++)
			fprintf(to,
				"%s{\"targets\":[\"10.%d.0.%d:1\"],\"labels\":{\"id\":\"n%d\"}}",
				i > 0 ? "," : "[", k, i + 1, i);
		fputc(']', to);
		fclose(to);
	}
}

static void free_documents(void)
{
	for (int k = 0; k < SETS; k++)
		free(documents[k]);
}

/* Which set is live; -1: none of these. */
static int live_set(struct safestart *ss)
{
	const struct safestart_snapshot *live = safestart_read_lock(ss);
	size_t size = safestart_snapshot_size(live);
	int k = -1, of;

	for (size_t i = 0; i < size; i++) {
		if (sscanf(safestart_node_host(safestart_snapshot_at(live, i)), "10.%d.0.", &of) !=
			    1 ||
		    (i > 0 && of != k)) {
			k = -1;
			break;
		}
		k = of;
	}
	safestart_read_unlock(ss);
	return k >= 0 && size == (size_t)(10 + 7 * k) ? k : -1;
}

/* ---- Starting, in whatever process ---- */

static char nodes[256], kept[256], kept_pushed[256];

static void name_files(void)
{
	snprintf(nodes, sizeof(nodes), "%s/nodes.json", scratch());
	snprintf(kept, sizeof(kept), "%s/kept.json", scratch());
	snprintf(kept_pushed, sizeof(kept_pushed), "%s/pushed.json", scratch());
}

static struct safestart *start_with(struct app *app, const char *source, const char *last_good)
{
	char set[300], keep[300];

	snprintf(set, sizeof(set), "source=%s%s", source,
		 strcmp(source, "file:") == 0 ? nodes : "");
	snprintf(keep, sizeof(keep), "last_good=%s", last_good);
	return open_with(app, set, keep, "debounce=0", "max_shrink=100%", "retry_min=1ms",
			 "retry_max=10ms", "reconcile=20ms", NULL);
}

static struct safestart *start(const char *source, const char *last_good)
{
	return start_with(NULL, source, last_good);
}

/* Which set a file has, completely; -1: none. */
static int set_in(const char *path)
{
	char text[16384];
	int count = 0, k = -1, of;

	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	for (const char *at = text; (at = strstr(at, "\"10.")) != NULL; at++, count++) {
		if (sscanf(at, "\"10.%d.0.", &of) != 1 || (count > 0 && of != k))
			return -1;
		k = of;
	}
	return k >= 0 && count == 10 + 7 * k && safestart_check(NULL, text, NULL, 0) == 0 ? k : -1;
}

/* Temporary files of any process. */
static int litter(void)
{
	DIR *dir = opendir(scratch());
	struct dirent *entry;
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)) != NULL)
		count += strstr(entry->d_name, ".safestart.") != NULL;
	closedir(dir);
	return count;
}

/* A later start without a usable source: it starts at once with the kept set, and the next good
 * set is applied and kept. */
static void start_again(const char *last_good, bool has_kept, int a, int b)
{
	unlink(nodes);
	if (has_kept) {
		struct safestart *ss = start("file:", last_good);
		ck_assert_int_eq(safestart_wait_ready(ss, 30000), 0);
		ck_assert_uint_eq(safestart_generation(ss), 1);
		int k = live_set(ss);
		ck_assert_msg(k >= 0 && (k == a || k == b || a < 0),
			      "set %d came back: neither %d nor %d", k, a, b);
		close_now(ss);
	}
	struct safestart *ss = start("file:", last_good);
	replace_file(nodes, documents[0]);
	EVENTUALLY(live_set(ss) == 0);
	close_now(ss);
	ck_assert_int_eq(set_in(last_good), 0);
}

/* ---- Between any two system calls ---- */

static void write_once_and_die(int instant)
{
	uint64_t ticket;

	alarm(60);
	watched = traced = true;
	instants_left = instant;
	struct safestart *ss = start("push", kept);
	bool fine = safestart_nodes_replace(ss, documents[1], &ticket, NULL, 0) == 0 &&
		    safestart_wait(ss, ticket, 30000, NULL) == 0;
	_exit(fine && safestart_close(ss) == 0 ? 0 : 1);
}

/* Forks a process that dies at this instant of writing set 1. False: it has finished. */
static bool dies_at(int instant)
{
	int status;

	memset(trace, 0, TRACE);
	pid_t child = fork();
	if (child == 0)
		write_once_and_die(instant);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
			      (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL),
		      "it ended with %x", (unsigned)status);
	return WIFSIGNALED(status);
}

static void begin(void)
{
	make_documents();
	name_files();
	trace = mmap(NULL, TRACE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(trace, MAP_FAILED);
}

static void end(void)
{
	munmap(trace, TRACE);
	free_documents();
}

static void keep_set_2(void)
{
	struct safestart *ss = start("push", kept);

	ck_assert_int_le(push_and_wait(ss, documents[2]).verdict, SAFESTART_UNCHANGED);
	close_now(ss);
}

START_TEST(p18_killed_between_any_two_system_calls_the_kept_set_is_the_old_or_the_new_one)
{
	int instant = 0;
	bool died;

	begin();
	do {
		keep_set_2();
		died = dies_at(++instant);
		start_again(kept, true, died ? 2 : 1, 1);
		ck_assert_msg(litter() <= 2, "%d temporary files lie about after the %dth death",
			      litter(), instant);
	} while (died);
	ck_assert_int_gt(instant, 8);
	end();
}
END_TEST

START_TEST(p18_the_first_kept_set_is_whole_or_not_there)
{
	int instant = 0;
	bool died;

	begin();
	do {
		unlink(kept);
		died = dies_at(++instant);
		start_again(kept, access(kept, F_OK) == 0, 1, 1);
	} while (died);
	end();
}
END_TEST

START_TEST(p18_a_kept_set_is_on_the_disk_before_it_has_its_name_and_the_name_follows)
{
	begin();
	ck_assert(!dies_at(0));
	const char *last_write = strrchr(trace, 'w'), *synced = strchr(trace, 's'),
		   *named = strchr(trace, 'r'), *name_synced = strchr(trace, 'd');
	ck_assert_msg(last_write != NULL && synced > last_write && named > synced &&
			      name_synced > named,
		      "%s", trace);
	end();
}
END_TEST

/* Every process dies at the moment in which its temporary file exists, and no process cleans up
 * in between. */
START_TEST(p18_the_temporary_files_of_the_dead_do_not_add_up)
{
	begin();
	ck_assert(!dies_at(0));
	int at_rename = (int)(strchr(trace, 'r') - trace) + 1;
	for (int i = 0; i < repeat(20); i++) {
		keep_set_2();
		ck_assert(dies_at(at_rename));
		ck_assert_int_ge(litter(), 1);
		ck_assert_msg(litter() <= 2, "%d temporary files lie about after %d deaths",
			      litter(), i + 1);
	}
	end();
}
END_TEST

/* Two handles, or two containers that share a volume and both are process 1, write the same file at
 * the same time. */
START_TEST(p18_two_that_keep_the_same_file_never_mix_their_sets)
{
	struct safestart *two[2];
	struct app apps[2];
	uint64_t tickets[2];

	begin();
	keep_set_2();
	watched = true;
	for (int i = 0; i < 2; i++) {
		app_init(&apps[i]);
		two[i] = start_with(&apps[i], "push", kept);
	}
	for (int round = 0; round < repeat(50); round++) {
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(safestart_nodes_replace(two[i],
								 documents[(round + i) % SETS],
								 &tickets[i], NULL, 0),
					 0);
		for (int look = 0; look < 100; look++)
			ck_assert_int_ge(set_in(kept), 0);
		for (int i = 0; i < 2; i++)
			answer(two[i], tickets[i]);
	}
	for (int i = 0; i < 2; i++) {
		close_now(two[i]);
		/* No process has removed the file that a living one was writing. */
		ck_assert(!app_logged(&apps[i], "is not up to date"));
	}
	ck_assert_int_eq(litter(), 0);
	end();
}
END_TEST

/* ---- At any instant ---- */

static void reload_until_killed(int started)
{
	alarm(60);
	struct safestart *pushed = start("push", kept_pushed), *read = start("file:", kept);
	if (write(started, "x", 1) != 1)
		_exit(1);
	for (int i = 0;; i++) {
		safestart_nodes_replace(pushed, documents[i % SETS], NULL, NULL, 0);
		replace_file(nodes, documents[(i + 1) % SETS]);
		uint64_t ticket = safestart_request_restart(read);
		if (i % 3 == 0)
			safestart_wait(read, ticket, 1000, NULL);
		if (i % 16 == 15) {
			safestart_close(pushed);
			pushed = start("push", kept_pushed);
		}
	}
}

static void pass_time(long ns)
{
	clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = ns}, NULL);
}

/* Some are killed on their way into open(), most while they are at work: the time only chooses the
 * instant. */
static void kill_one(unsigned *seed)
{
	int started[2], status;
	char byte;

	ck_assert_int_eq(pipe2(started, O_CLOEXEC), 0);
	pid_t child = fork();
	if (child == 0)
		reload_until_killed(started[1]);
	if (rand_r(seed) % 4 != 0)
		ck_assert_int_eq(read(started[0], &byte, 1), 1);
	pass_time(rand_r(seed) % 6000000);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
		      "it ended by itself with %x", (unsigned)status);
	close(started[0]), close(started[1]);
}

START_TEST(p18_killed_at_any_instant_the_next_start_has_a_whole_set)
{
	unsigned seed = (unsigned)now_ms();
	int deaths = repeat(20);

	make_documents();
	name_files();
	for (int i = 0; i < deaths; i++) {
		kill_one(&seed);
		start_again(kept, access(kept, F_OK) == 0, -1, -1);
		start_again(kept_pushed, access(kept_pushed, F_OK) == 0, -1, -1);
		ck_assert_msg(litter() <= 4, "%d temporary files lie about after %d deaths",
			      litter(), i + 1);
	}
	free_documents();
}
END_TEST

SUITE("killed", p18_killed_between_any_two_system_calls_the_kept_set_is_the_old_or_the_new_one,
      p18_the_first_kept_set_is_whole_or_not_there,
      p18_a_kept_set_is_on_the_disk_before_it_has_its_name_and_the_name_follows,
      p18_the_temporary_files_of_the_dead_do_not_add_up,
      p18_two_that_keep_the_same_file_never_mix_their_sets,
      p18_killed_at_any_instant_the_next_start_has_a_whole_set)
