/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes that share a lock, stopped and killed between any two calls that touch its file: their
 * runs exclude each other, each request is answered, and by a run that began after it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/chance.h"
#include "support/support.h"

/* ---- The program's calls come before libc's, for the library too ---- */

/* Of a process that plays: what happens to it at which of its instants. */
static bool watched;
static int instant, stop_at, kill_at;

static void pass(void)
{
	int error = errno;

	if (!watched)
		return;
	if (instant == stop_at)
		(void)raise(SIGSTOP);
	if (instant == kill_at)
		(void)kill(getpid(), SIGKILL);
	instant++;
	errno = error;
}

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

int open(const char *path, int flags, ...)
{
	static int (*next)(const char *, int, ...);
	va_list rest;

	if (next == NULL)
		*(void **)&next = real("open");
	va_start(rest, flags);
	mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
	va_end(rest);
	pass();
	return next(path, flags, mode);
}

int fcntl(int fd, int command, ...)
{
	static int (*next)(int, int, ...);
	va_list rest;

	if (next == NULL)
		*(void **)&next = real("fcntl");
	va_start(rest, command);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	pass();
	return next(fd, command, argument);
}

#define CALL(type, name, parameters, ...)              \
	type name parameters                           \
	{                                              \
		static type(*next) parameters;         \
		if (next == NULL)                      \
			*(void **)&next = real(#name); \
		pass();                                \
		return next(__VA_ARGS__);              \
	}
CALL(int, close, (int fd), fd)
CALL(int, fstat, (int fd, struct stat *status), fd, status)
CALL(ssize_t, pread, (int fd, void *to, size_t size, off_t at), fd, to, size, at)
CALL(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), fd, from, size, at)
CALL(int, posix_fallocate, (int fd, off_t at, off_t size), fd, at, size)

/* ---- What all processes know ---- */

static struct world {
	_Atomic int clock; /* counts what happens: requests, and beginnings of runs */
	_Atomic int overlaps, stale, answered, unanswered;
	_Atomic int instants; /* in the life of one that nothing happened to */
	char why[256];
} * world;

/* A record lock goes with its process, however that ends. */
static int marker;

static bool mark(short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};

	return fcntl(marker, F_SETLK, &lock) == 0;
}

/* ---- One process ---- */

static int on_restart(struct safestart_run *run, void *user_data)
{
	(void)user_data;
	if (!mark(F_WRLCK))
		atomic_fetch_add(&world->overlaps, 1);
	safestart_run_set_status(run, atomic_fetch_add(&world->clock, 1) + 1);
	pass();
	(void)mark(F_UNLCK);
	return 0;
}

static void ask(struct safestart *ss)
{
	struct safestart_outcome outcome = {.size = sizeof(outcome)};
	int asked = atomic_fetch_add(&world->clock, 1) + 1;

	int error = safestart_wait(ss, safestart_request_restart(ss), 30000, &outcome);
	if (error == 0 && outcome.verdict == SAFESTART_APPLIED) {
		atomic_fetch_add(&world->answered, 1);
		atomic_fetch_add(&world->stale, outcome.status < asked);
	} else {
		atomic_fetch_add(&world->unanswered, 1);
		snprintf(world->why, sizeof(world->why), "%d, verdict %d: %.200s", error,
			 outcome.verdict, outcome.message);
	}
}

static const char *debounce = "debounce=0";

static _Noreturn void play(const char *share, int stop, int kill)
{
	struct safestart_conf *conf =
		conf_with("source=none", "thread=no", "retry_min=0", debounce, share, NULL);
	const struct safestart_callbacks callbacks = {.size = sizeof(callbacks),
						      .restart = on_restart};
	struct safestart *ss;

	stop_at = stop;
	kill_at = kill;
	/* Opened before the handle, so that the mark of a killed process goes before its lock. */
	marker = open(scratch_path("inside"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(safestart_conf_set(conf, "lock", scratch_path("lock"), NULL, 0), 0);
	ck_assert_int_eq(safestart_conf_set_callbacks(conf, &callbacks, NULL), 0);
	watched = true;
	if (safestart_open(&ss, conf, NULL, 0) < 0)
		leave_child(1);
	ask(ss);
	pass();
	ask(ss);
	int error = safestart_close(ss);
	watched = false;
	atomic_store(&world->instants, instant);
	safestart_conf_free(conf);
	leave_child(error < 0 ? 2 : 0);
}

/* ---- Several of them ---- */

struct player {
	pid_t pid;
	enum {
		PLAYS,
		STOPPED,
		ENDED
	} state;
};

#define NEVER (-1)
#define FOR_LONG 60000 /* moments */

static struct player begin(const char *share, int stop, int kill)
{
	struct player player = {.pid = fork(), .state = PLAYS};

	if (player.pid == 0)
		play(share, stop, kill);
	ck_assert_int_gt(player.pid, 0);
	return player;
}

/* Until it ends or stops, or for so many moments: one that needs another one waits for it. */
static void let_play(struct player *player, int moments)
{
	int status;

	while (player->state == PLAYS) {
		pid_t pid = waitpid(player->pid, &status, WUNTRACED | WNOHANG);
		if (pid == player->pid)
			player->state = WIFSTOPPED(status) ? STOPPED : ENDED;
		else if (moments-- == 0)
			return;
		else
			pause_a_moment();
	}
}

static void go_on(struct player *player)
{
	if (player->state != STOPPED)
		return;
	player->state = PLAYS;
	(void)kill(player->pid, SIGCONT);
}

static void finish(struct player *player)
{
	while (player->state != ENDED) {
		go_on(player);
		let_play(player, FOR_LONG);
		ck_assert_msg(player->state != PLAYS, "it hangs: %d", (int)player->pid);
	}
}

/* None waits for another that stops only now: a busy machine has not got so far before. */
static void finish_together(struct player *players, int count)
{
	int ended = 0;

	for (int rounds = 0; ended < count; rounds++) {
		ck_assert_msg(rounds < FOR_LONG, "%d of %d hang", count - ended, count);
		ended = 0;
		for (int i = 0; i < count; i++) {
			go_on(&players[i]);
			let_play(&players[i], 1);
			ended += players[i].state == ENDED;
		}
	}
}

static void set_up(void)
{
	(void)unlink(scratch_path("lock"));
	memset(world, 0, sizeof(*world));
}

static const char *const shares[] = {"lock_share=no", "lock_share=yes"};

/* `lives`: so many of them were not killed. */
static void hold(const char *what, const char *share, int one, int two, int lives)
{
	ck_assert_msg(world->overlaps == 0 && world->stale == 0 && world->unanswered == 0 &&
			      world->answered >= 2 * lives,
		      "%s, %s, at %d and %d: %d overlaps, %d stale, %d of %d answered; %s", what,
		      share, one, two, world->overlaps, world->stale, world->answered, 2 * lives,
		      world->why);
}

/* How many instants there are. */
static int whole_life(const char *share)
{
	set_up();
	struct player alone = begin(share, NEVER, NEVER);
	finish(&alone);
	hold("alone", share, NEVER, NEVER, 1);
	ck_assert_int_gt(world->instants, 10);
	return world->instants;
}

static void each_share(void (*what)(const char *share, int instants), size_t first)
{
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	ck_assert_ptr_ne(world, MAP_FAILED);
	(void)scratch();
	for (size_t i = first; i < sizeof(shares) / sizeof(shares[0]); i++)
		what(shares[i], whole_life(shares[i]));
}

static void kill_one(const char *share, int instants)
{
	for (int at = 0; at < instants; at++) {
		set_up();
		struct player killed = begin(share, NEVER, at), one, other;
		finish(&killed);
		one = begin(share, NEVER, NEVER);
		other = begin(share, NEVER, NEVER);
		finish(&one);
		finish(&other);
		hold("one is killed", share, at, NEVER, 2);
	}
}

START_TEST(p18_a_process_killed_at_any_instant_leaves_the_lock_usable)
{
	each_share(kill_one, 0);
}
END_TEST

/* The request of the one that is stopped is in the open batch. */
static bool has_entered(void)
{
	char text[512] = "";
	int fd = open(scratch_path("lock"), O_RDONLY | O_CLOEXEC);
	bool in = fd >= 0 && pread(fd, text, sizeof(text) - 1, 8192) > 0 &&
		  strstr(text, ": 1 requests") != NULL;

	if (fd >= 0)
		close(fd);
	return in;
}

/* An instant at which a process has entered a batch and holds nothing: another one can live. */
static int waits_at(const char *share, int instants)
{
	for (int at = 0; at < instants; at++) {
		set_up();
		struct player waits = begin(share, at, NEVER), other;
		let_play(&waits, FOR_LONG);
		bool found = has_entered();
		other = begin(share, NEVER, NEVER);
		let_play(&other, found ? 1000 : 0);
		found = found && other.state == ENDED;
		finish(&waits);
		finish(&other);
		if (found)
			return at;
	}
	ck_abort_msg("no process ever waits in a batch");
}

/* One waits in a batch; another one leads it, and is killed. */
static void kill_the_leader(const char *share, int instants)
{
	int stop = waits_at(share, instants);

	for (int at = 0; at < instants; at++) {
		set_up();
		struct player waits = begin(share, stop, NEVER), leads;
		let_play(&waits, FOR_LONG);
		leads = begin(share, NEVER, at);
		let_play(&leads, FOR_LONG);
		finish(&waits);
		hold("the leader is killed", share, at, stop, 1);
	}
}

START_TEST(p18_a_leader_killed_at_any_instant_leaves_nobody_unanswered)
{
	debounce = "debounce=3ms";
	each_share(kill_the_leader, 1);
	debounce = "debounce=0";
}
END_TEST

static void stop_one(const char *share, int instants)
{
	for (int at = 0; at < instants; at++) {
		set_up();
		struct player stopped = begin(share, at, NEVER), other;
		let_play(&stopped, FOR_LONG);
		other = begin(share, NEVER, NEVER);
		let_play(&other, 20);
		finish(&stopped);
		finish(&other);
		hold("one is stopped", share, at, NEVER, 2);
	}
}

START_TEST(p1_a_process_stopped_at_any_instant_shares_the_lock_with_no_other)
{
	each_share(stop_one, 0);
}
END_TEST

/* ---- Three, by chance ---- */

static uint64_t seed;

static void three(const char *share, int instants)
{
	for (int round = 0; round < repeat(40); round++) {
		struct player players[3];
		int killed = (int)below(4); /* 3: none */
		char words[64];

		set_up();
		for (int i = 0; i < 3; i++) {
			int stop = (int)below((unsigned)instants),
			    later = (int)below((unsigned)instants / 2);
			players[i] = begin(share, stop, i == killed ? stop + later : NEVER);
			let_play(&players[i], (int)below(10));
		}
		for (int steps = 0; steps < 30; steps++) {
			struct player *one = &players[below(3)];
			go_on(one);
			let_play(one, (int)below(4));
		}
		finish_together(players, 3);
		snprintf(words, sizeof(words), "SAFESTART_SEED=%llu", (unsigned long long)seed);
		hold(words, share, round, killed, killed == 3 ? 3 : 2);
	}
}

START_TEST(p1_three_processes_stopped_and_killed_by_chance_exclude_each_other)
{
	seed = chance_seed(20170419);
	chance_begin(seed);
	each_share(three, 0);
}
END_TEST

SUITE("lock_instants", p18_a_process_killed_at_any_instant_leaves_the_lock_usable,
      p18_a_leader_killed_at_any_instant_leaves_nobody_unanswered,
      p1_a_process_stopped_at_any_instant_shares_the_lock_with_no_other,
      p1_three_processes_stopped_and_killed_by_chance_exclude_each_other)
