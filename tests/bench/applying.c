/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench: waking and applying. Measures from a request until a callback begins, beside a bare
 * wake of a waiting thread; and from a request until a reader finds the new set, beside a bare
 * wake and the parse of the same document. */
#include "bench.h"
#include "held.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <safestart/safestart.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MOST 256

static int compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* The median of `times` rounds; each begins when every thread has gone to sleep. */
static double median_of(int64_t (*go)(void *argument), void *argument, size_t times)
{
	int64_t taken[MOST];

	for (size_t i = 0; i < times; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
		taken[i] = go(argument);
	}
	qsort(taken, times, sizeof(taken[0]), compare);
	return (double)taken[times / 2];
}

/* ---- The limit: a thread waits in epoll_wait() for an eventfd ---- */

struct bare {
	int epoll, wake;
	pthread_t thread;
	bool parses;
	const struct held_documents *documents;
	_Atomic bool stop;
	_Atomic int64_t begun;
	_Atomic uint64_t done;
	sem_t ran;
};

static void *bare_thread(void *argument)
{
	struct bare *bare = argument;
	struct epoll_event event;
	uint64_t count;

	while (epoll_wait(bare->epoll, &event, 1, -1) == 1 && !bare->stop) {
		bare->begun = bench_now();
		if (read(bare->wake, &count, sizeof(count)) < 0)
			break;
		json_t *root = bare->parses ? json_loadb(bare->documents->texts[0],
							 bare->documents->lengths[0],
							 JSON_REJECT_DUPLICATES, NULL)
					    : NULL;
		atomic_fetch_add(&bare->done, 1);
		json_decref(root); /* not part of the limit */
		sem_post(&bare->ran);
	}
	return NULL;
}

static void bare_start(struct bare *bare, const struct held_documents *documents)
{
	memset(bare, 0, sizeof(*bare));
	bare->parses = documents != NULL;
	bare->documents = documents;
	bare->epoll = epoll_create1(EPOLL_CLOEXEC);
	bare->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event event = {.events = EPOLLIN};
	epoll_ctl(bare->epoll, EPOLL_CTL_ADD, bare->wake, &event);
	sem_init(&bare->ran, 0, 0);
	if (pthread_create(&bare->thread, NULL, bare_thread, bare) != 0)
		abort();
}

static void bare_wake(const struct bare *bare)
{
	if (write(bare->wake, &(uint64_t){1}, sizeof(uint64_t)) < 0)
		abort();
}

static void bare_end(struct bare *bare)
{
	bare->stop = true;
	bare_wake(bare);
	pthread_join(bare->thread, NULL);
	sem_destroy(&bare->ran);
	close(bare->wake);
	close(bare->epoll);
}

static int64_t bare_once(void *argument)
{
	struct bare *bare = argument;
	int64_t from = bench_now();

	bare_wake(bare);
	sem_wait(&bare->ran);
	return bare->begun - from;
}

static double measure_bare(const void *bare)
{
	return median_of(bare_once, (void *)(uintptr_t)bare, 100);
}

/* ---- From a request until its callback begins ---- */

struct ours {
	struct safestart *ss;
	_Atomic int64_t begun;
	sem_t ran;
	pthread_t driver; /* thread=no */
};

static int note_restart(struct safestart_run *run, void *user_data)
{
	struct ours *ours = user_data;

	(void)run;
	ours->begun = bench_now();
	sem_post(&ours->ran);
	return 0;
}

static int64_t request_once(void *argument)
{
	struct ours *ours = argument;
	int64_t from = bench_now();

	uint64_t ticket = safestart_request_restart(ours->ss);
	sem_wait(&ours->ran);
	int64_t taken = ours->begun - from;
	safestart_wait(ours->ss, ticket, -1, NULL);
	return taken;
}

static double measure_request(const void *ours)
{
	return median_of(request_once, (void *)(uintptr_t)ours, 100);
}

static int64_t answer_once(void *argument)
{
	struct ours *ours = argument;
	int64_t from = bench_now();

	safestart_wait(ours->ss, safestart_request_restart(ours->ss), -1, NULL);
	int64_t taken = bench_now() - from;
	sem_wait(&ours->ran);
	return taken;
}

static double measure_answer(const void *ours)
{
	return median_of(answer_once, (void *)(uintptr_t)ours, 100);
}

static void *drive(void *argument)
{
	struct ours *ours = argument;

	while (safestart_dispatch(ours->ss, -1) == 0)
		;
	return NULL;
}

static const struct safestart_callbacks noting = {.size = sizeof(noting), .restart = note_restart};

static void bench_waking(void)
{
	struct bare bare;
	struct ours with = {0}, without = {0};

	bare_start(&bare, NULL);
	sem_init(&with.ran, 0, 0);
	sem_init(&without.ran, 0, 0);
	with.ss = held_open(NULL, &noting, &with, NULL);
	without.ss = held_open(NULL, &noting, &without, "thread=no", NULL);
	if (pthread_create(&without.driver, NULL, drive, &without) != 0)
		abort();
	struct way ways[] = {{.name = "bare wake: eventfd, epoll_wait",
			      .measure = measure_bare,
			      .argument = &bare},
			     {.name = "threads", .measure = measure_request, .argument = &with},
			     {.name = "no thread",
			      .measure = measure_request,
			      .argument = &without},
			     {.name = "answer", .measure = measure_answer, .argument = &with}};
	bench_ways(ways, 4);
	bench_section("Waking", "ns");
	bench_at_most("request → callback begins, thread=yes", &ways[1], &ways[0], 2);
	bench_at_most("request → callback begins, thread=no", &ways[2], &ways[0], 0);
	bench_at_most("request → its outcome, thread=yes, in safestart_wait()", &ways[3], &ways[0],
		      0);
	safestart_shutdown(without.ss);
	pthread_join(without.driver, NULL);
	held_close(with.ss);
	held_close(without.ss);
	bare_end(&bare);
}

/* ---- From a request until a reader finds the new set ---- */

struct applying {
	struct held_documents documents;
	struct safestart *ss;
	struct bare bare;
	size_t nodes, times;
	pthread_t reader;
	bool (*is_there)(const struct applying *applying);
	uint64_t before;
	sem_t look, seen;
	_Atomic bool looking, stop;
	int64_t seen_at;
};

/* A large set takes so long that the processor time of the whole program is the better figure:
 * other programs on the machine do not add to it. No thread may spin meanwhile. */
static bool is_large(const struct applying *applying)
{
	return applying->nodes > 1000;
}

/* The caller sleeps until the run is done, so the reader spins on another processor, as readers
 * of a server do. The processor is its own: otherwise the measurement would show how soon the
 * scheduler takes the reader off the processor on which another thread was woken. */
static void *look_for_it(void *argument)
{
	struct applying *applying = argument;

	bench_stay(1);
	while (sem_wait(&applying->look) == 0 && !applying->stop) {
		applying->looking = true;
		while (!applying->is_there(applying))
			;
		applying->seen_at = bench_now();
		applying->looking = false;
		sem_post(&applying->seen);
	}
	return NULL;
}

static void start_looking(struct applying *applying)
{
	sem_post(&applying->look);
	while (!applying->looking)
		;
}

static int64_t processor_time(void)
{
	struct timespec spent;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
	return (int64_t)spent.tv_sec * 1000000000 + spent.tv_nsec;
}

static bool is_parsed(const struct applying *applying)
{
	return applying->bare.done != applying->before;
}

static int64_t parse_once(void *argument)
{
	struct applying *applying = argument;
	bool large = is_large(applying);

	applying->before = applying->bare.done;
	applying->is_there = is_parsed;
	if (!large)
		start_looking(applying);
	int64_t from = large ? processor_time() : bench_now();
	bare_wake(&applying->bare);
	while (large && !is_parsed(applying))
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	int64_t taken = processor_time() - from;
	sem_wait(&applying->bare.ran);
	if (large)
		return taken;
	sem_wait(&applying->seen);
	return applying->seen_at - from;
}

static bool is_live(const struct applying *applying)
{
	return safestart_generation(applying->ss) != applying->before;
}

static int64_t apply_once(void *argument)
{
	struct applying *applying = argument;
	bool large = is_large(applying);

	applying->before = safestart_generation(applying->ss);
	applying->is_there = is_live;
	held_flip(&applying->documents);
	if (!large)
		start_looking(applying);
	int64_t from = large ? processor_time() : bench_now();
	uint64_t ticket = safestart_request_restart(applying->ss);
	while (large && !is_live(applying))
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	int64_t taken = processor_time() - from;
	safestart_wait(applying->ss, ticket, -1, NULL);
	if (large)
		return taken;
	sem_wait(&applying->seen);
	return applying->seen_at - from;
}

static double measure_parse(const void *argument)
{
	const struct applying *applying = argument;

	return median_of(parse_once, (void *)(uintptr_t)argument, applying->times);
}

static double measure_apply(const void *argument)
{
	const struct applying *applying = argument;

	return median_of(apply_once, (void *)(uintptr_t)argument, applying->times);
}

static void bench_set(size_t nodes, size_t times, double target)
{
	struct applying applying = {.nodes = nodes, .times = times};
	cpu_set_t before;
	char what[80];

	sched_getaffinity(0, sizeof(before), &before);
	held_make(&applying.documents, nodes);
	sem_init(&applying.look, 0, 0);
	sem_init(&applying.seen, 0, 0);
	if (pthread_create(&applying.reader, NULL, look_for_it, &applying) != 0)
		abort();
	if (!is_large(&applying))
		bench_stay(0);
	applying.ss = held_open(&applying.documents, NULL, NULL, NULL);
	bare_start(&applying.bare, &applying.documents);
	struct way ways[] = {{.name = "bare wake and json_loadb()",
			      .measure = measure_parse,
			      .argument = &applying},
			     {.name = "apply", .measure = measure_apply, .argument = &applying}};
	bench_ways(ways, 2);
	snprintf(what, sizeof(what), "request → live, %zu nodes, one changed", nodes);
	if (target > 0)
		bench_at_most(what, &ways[1], &ways[0], target);
	bench_point("applying", "request → live", (double)nodes, bench_median(&ways[1]));
	bench_point("applying", "bare wake and parse", (double)nodes, bench_median(&ways[0]));
	applying.stop = true;
	sem_post(&applying.look);
	pthread_join(applying.reader, NULL);
	sem_destroy(&applying.look);
	sem_destroy(&applying.seen);
	bare_end(&applying.bare);
	held_close(applying.ss);
	held_free(&applying.documents);
	sched_setaffinity(0, sizeof(before), &before);
}

/* ---- A file that did not change ---- */

struct file {
	char path[64];
	struct safestart *ss;
	char setting[80];
};

static void write_document(struct file *file, const char *directory, size_t nodes)
{
	struct held_documents documents;

	held_make(&documents, nodes);
	snprintf(file->path, sizeof(file->path), "%s/%zu.json", directory, nodes);
	snprintf(file->setting, sizeof(file->setting), "source=file:%s", file->path);
	FILE *to = fopen(file->path, "we");
	if (to == NULL ||
	    fwrite(documents.texts[0], 1, documents.lengths[0], to) != documents.lengths[0] ||
	    fclose(to) != 0)
		abort();
	held_free(&documents);
}

static int64_t unchanged_once(void *argument)
{
	struct file *file = argument;
	int64_t from = bench_now();

	safestart_wait(file->ss, safestart_request_restart(file->ss), -1, NULL);
	return bench_now() - from;
}

static double measure_unchanged(const void *file)
{
	return median_of(unchanged_once, (void *)(uintptr_t)file, 21);
}

/* The limit: the same file is read, into memory that is reused. */
static int64_t read_once(void *argument)
{
	static char block[16 << 10];
	const struct file *file = argument;
	int64_t from = bench_now();
	ssize_t n = 1;

	int fd = open(file->path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && n > 0)
		n = read(fd, block, sizeof(block));
	if (fd < 0 || n < 0)
		abort();
	close(fd);
	return bench_now() - from;
}

/* Or as a program would that keeps its text. */
static int64_t read_whole_once(void *argument)
{
	const struct file *file = argument;
	struct stat status;
	int64_t from = bench_now();

	int fd = open(file->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		abort();
	void *text = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (text == MAP_FAILED || read(fd, text, (size_t)status.st_size) != status.st_size)
		abort();
	munmap(text, (size_t)status.st_size);
	close(fd);
	return bench_now() - from;
}

static double measure_read(const void *file)
{
	return median_of(read_once, (void *)(uintptr_t)file, 21);
}

static double measure_read_whole(const void *file)
{
	return median_of(read_whole_once, (void *)(uintptr_t)file, 21);
}

static void bench_unchanged(struct file *file)
{
	file->ss = held_open(NULL, NULL, NULL, file->setting, NULL);
	struct way ways[] = {
		{.name = "reading it, block by block", .measure = measure_read, .argument = file},
		{.name = "reading it into fresh memory",
		 .measure = measure_read_whole,
		 .argument = file},
		{.name = "request", .measure = measure_unchanged, .argument = file},
	};
	bench_ways(ways, 3);
	bench_at_most("request → answer, unchanged file of 100,000 nodes", &ways[2], &ways[1], 1.3);
	bench_at_most("the same: open, read, hash, compare; no parse", &ways[2], &ways[0], 0);
	held_close(file->ss);
}

void bench_applying(void)
{
	char directory[] = "/tmp/safestart-bench-XXXXXX";
	struct file large;

	if (mkdtemp(directory) == NULL)
		abort();
	write_document(&large, directory, 100000);
	bench_waking();
	bench_section("Applying", "ns");
	bench_set(10, 41, 2);
	bench_set(100, 21, 0);
	bench_set(1000, 11, 1.3);
	bench_set(10000, 3, 0);
	bench_set(100000, 1, 1.3);
	bench_unchanged(&large);
	bench_growing();
	unlink(large.path);
	rmdir(directory);
}
